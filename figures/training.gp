# Tangled from chapters/56-figures.md; edit there.
losses = results . "/figures/losses.tsv"
accuracy = results . "/figures/accuracy.tsv"
stats losses using (0) nooutput
# Leave the picture empty where there is nothing to draw
if (STATS_records < 2) {
    load "figures/style.gp"
    unset border; unset tics
    set xrange [0:1]; set yrange [0:1]
    plot NaN notitle
    exit
}
set datafile separator "\t" # names have spaces
stats accuracy using (strlen(strcol(4))) nooutput; models = STATS_blocks
columns = STATS_max > 20 ? 3 : 4
lines = (models + columns - 1) / columns
height = 3.65 + 0.38 * lines
load "figures/style.gp"
set multiplot
# Space ticks by round numbers
tick(end) = end <= 0 ? 1 : (power = 10.0 ** floor(log10(end)), \
             end >= 4 * power ? 2 * power : end >= 2 * power ? power : power / 2)
# Draw the loss terms
bottom = (1.01 + 0.38 * lines) / height
top = 1 - 0.62 / height
set xlabel "step" offset 0, 0.45
stats losses every ::1 using 1 nooutput; last = STATS_max
terms = STATS_columns - 2 # between the step and the accuracy
left(i) = 0.055 + 0.992 / (terms + 1) * i
right(i) = left(i) + 0.992 / (terms + 1) - 0.063
set xtics 0, tick(2 * last); set xrange [0:last]
minus = paper ? "$-$" : "−"
array term = ["masked words, nats", "soft targets, nats", "1 " . minus . " cosine", \
              "relations, nats"]
set key off
do for [i = 0:terms - 1] {
    set margins at screen left(i), at screen right(i), at screen bottom, at screen top
    set title term[i + 1] offset 0, -0.7
    set yrange [*:*]
    stats losses every ::1 using (column(i + 2)) nooutput
    set yrange [0:1.05 * STATS_max]; set ytics 0, tick(STATS_max)
    plot losses every ::1 using 1:(column(i + 2)) with lines linetype 2
}
# Draw the accuracy of the students
set margins at screen left(terms), at screen right(terms), at screen bottom, \
    at screen top
set title "guessed right, " . percent
set yrange [*:*]
array number[models]
do for [i = 1:models] {
    stats accuracy index i - 1 using 3 nooutput
    number[i] = int(STATS_min)
}
stats accuracy using 2 nooutput
set yrange [0:STATS_max > 0 ? 1.05 * STATS_max : 1]
set ytics 0, tick(STATS_max)
dash(i) = number[i] == 1 ? 2 : number[i] == 2 ? 1 : (number[i] - 3) % 3 + 1
spacing = int(STATS_records / models / 5) + 1
plot for [i = models:1:-1] accuracy index i - 1 using 1:2 with linespoints \
         linetype number[i] dashtype dash(i) linewidth 1.5 \
         pointsize number[i] < 3 ? 0 : 0.6 pointinterval spacing
# Draw the key below all panels
set margins at screen 0.03, at screen 1, at screen 0, at screen 0.38 * lines / height
unset border; unset tics; unset title; unset xlabel
set xrange [0:columns]; set yrange [-lines:0]
column_of(i) = (i - 1) % columns
line_of(i) = -0.5 - (i - 1) / columns
plot for [i = 1:models] accuracy index i - 1 every ::0::0 \
         using (column_of(i)):(line_of(i)):(0.12):(0) with vectors nohead \
         linetype number[i] dashtype dash(i) linewidth 1.5, \
     for [i = 1:models] accuracy index i - 1 every ::0::0 \
         using (column_of(i) + 0.06):(line_of(i)) with points \
         linetype number[i] pointsize number[i] < 3 ? 0 : 0.6, \
     for [i = 1:models] accuracy index i - 1 every ::0::0 \
         using (column_of(i) + 0.15):(line_of(i)):4 with labels left
unset multiplot
