# Tangled from chapters/57-figures.md; edit there.
width = 14.6
height = 4.6
load "figures/style.gp"
losses = results . "/figures/losses.tsv"
accuracy = results . "/figures/accuracy.tsv"
set multiplot
# Space ticks by round numbers
tick(end) = end <= 0 ? 1 : (power = 10.0 ** floor(log10(end)), \
             end >= 4 * power ? 2 * power : end >= 2 * power ? power : power / 2)
# Leave room for four panels
set tmargin at screen 0.86
set bmargin at screen 0.36
left(i) = 0.055 + 0.248 * i
right(i) = left(i) + 0.185
stats losses every ::1 using 1 nooutput
last = STATS_max
set xtics 0, tick(2 * last)
set xrange [0:last]
# Draw the three loss terms
array term = ["masked words", "soft targets", "cosine"]
set key off
do for [i = 0:2] {
    set lmargin at screen left(i)
    set rmargin at screen right(i)
    set title term[i + 1] offset 0, -0.7
    set yrange [*:*]
    stats losses every ::1 using (column(i + 2)) nooutput
    set yrange [0:1.05 * STATS_max]
    set ytics 0, tick(STATS_max)
    plot losses every ::1 using 1:(column(i + 2)) with lines linestyle 2
}
# Draw the accuracy of the students
set lmargin at screen left(3)
set rmargin at screen right(3)
set title "guessed right, " . percent
set yrange [*:*]
stats accuracy using 2 nooutput
students = STATS_blocks - 1
set yrange [0:STATS_max > 0 ? 1.05 * STATS_max : 1]
set ytics 0, tick(STATS_max)
plot for [i = 0:students - 1] accuracy index i using 1:2 with lines linestyle i + 2, \
     accuracy index students using 1:2 with lines linewidth 2 dashtype 2 \
         linecolor rgb "#444444"
# Draw the key below all panels
set lmargin at screen 0
set rmargin at screen 1
unset border
unset tics
unset title
set yrange [0:1]
set key at screen 0.5, 0.12 center center horizontal maxcols 4 Left reverse
plot for [i = 0:students - 1] accuracy index i using 1:(-1) with lines linestyle i + 2 \
         title columnheader(1), \
     accuracy index students using 1:(-1) with lines linewidth 2 dashtype 2 \
         linecolor rgb "#444444" title columnheader(1)
unset multiplot
