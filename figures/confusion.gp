# Tangled from chapters/57-figures.md; edit there.
width = 14.6
height = 3.2
load "figures/style.gp"
confusion = results . "/figures/confusion.tsv"
stats confusion using (0) nooutput
# Leave the picture empty where there is nothing to draw
if (STATS_records < 2) {
    load "figures/style.gp"
    unset border
    unset tics
    set xrange [0:1]
    set yrange [0:1]
    plot NaN notitle
    exit
}
tasks = results . "/figures/classes.tsv"
array model = ["teacher", "student"]
stats tasks using 1 nooutput
matrices = 2 * (STATS_max + 1)
# Leave axes and frames away
unset border
unset tics
unset colorbox
set key off
set lmargin at screen 0.05
set rmargin at screen 1
set tmargin at screen 1
set bmargin at screen 0.10
set xrange [-0.6:2.7 * matrices - 1.1]
set yrange [-2:1.8]
set cbrange [0:1]
set palette defined (0 "#ffffff", 1 "#8fb2d9")
set label "is 0" at -0.75, 0 right
set label "is 1" at -0.75, -1 right
set label "as" at -0.75, -1.75 right
x(task, model, prediction) = 2.7 * (2 * task + model) + prediction
plot confusion every ::1 using (x($1, $2, $3)):(-$4):(0.5):(0.5):5 with boxxyerror \
         fillstyle solid linecolor palette, \
     confusion every ::1 using (x($1, $2, $3)):(-$4):6 with labels, \
     tasks using (2.7 * (2 * $1 + 0.5) + 0.5):(1.45):2 with labels, \
     for [m = 0:1] tasks using (2.7 * (2 * $1 + m) + 0.5):(0.85):(model[m + 1]) \
         with labels, \
     for [p = 0:1] for [m = 0:1] tasks \
         using (2.7 * (2 * $1 + m) + p):(-1.75):(sprintf("%d", p)) with labels
