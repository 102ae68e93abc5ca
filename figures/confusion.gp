# Tangled from chapters/56-figures.md; edit there.
classes = results . "/figures/classes.tsv"
confusion = results . "/figures/confusion.tsv"
stats confusion using (0) nooutput
# Leave the picture empty where there is nothing to draw
if (STATS_records < 2) {
    load "figures/style.gp"
    unset border; unset tics
    set xrange [0:1]; set yrange [0:1]
    plot NaN notitle
    exit
}
stats classes using 1 nooutput; tasks = int(STATS_max) + 1
bands = (tasks + 3) / 4
across = (tasks + bands - 1) / bands
height = 3.2 * bands
load "figures/style.gp"
unset border; unset tics; unset colorbox
set key off
set margins at screen 0.05, at screen 1, at screen 0.10 / bands, at screen 1
set xrange [-0.6:2.7 * 2 * across - 1.1]
set yrange [1.8 - 3.8 * bands:1.8]
set cbrange [0:1]
set palette defined (0 "#ffffff", 1 "#a6a6a6")
array said = ["is 0", "is 1", "as"]
array height_of = [0, -1, -1.75]
do for [b = 0:bands - 1] {
    do for [i = 1:3] { set label said[i] at -0.75, height_of[i] - 3.8 * b right }
}
array model = ["teacher", "student"]
x(task, model, prediction) = 2.7 * (2 * (int(task) % across) + model) + prediction
y(task, line) = line - 3.8 * (int(task) / across)
plot confusion every ::1 using (x($1, $2, $3)):(y($1, -$4)):(0.5):(0.5):5 \
         with boxxyerror fillstyle solid linecolor palette, \
     confusion every ::1 using (x($1, $2, $3)):(y($1, -$4)):6 with labels, \
     classes using (x($1, 0.5, 0.5)):(y($1, 1.45)):2 with labels, \
     for [m = 0:1] classes using (x($1, m, 0.5)):(y($1, 0.85)):(model[m + 1]) \
         with labels textcolor linetype m + 1, \
     for [p = 0:1] for [m = 0:1] classes \
         using (x($1, m, p)):(y($1, -1.75)):(sprintf("%d", p)) with labels
