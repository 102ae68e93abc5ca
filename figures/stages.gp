# Tangled from chapters/45-plan.md; edit there.
width = 7.4
height = 5.2
stages = results . "/figures/stages.tsv"
needs = results . "/figures/needs.tsv"
load "figures/style.gp"
# Draw boxes and words instead of curves
set encoding utf8
unset border
unset tics
unset key
set lmargin 0
set rmargin 0
set tmargin 0
set bmargin 0
array grey = ["#ffffff", "#e6e6e6", "#c4c4c4", "#8c8c8c"]
rectangle = "set object rectangle from %g,%g to %g,%g fillstyle solid 1 " \
    . "fillcolor rgb '%s' linecolor rgb '#333333' linewidth 0.8"
box(x, y, width, height, dark) = \
    sprintf(rectangle, x, y, x + width, y + height, grey[dark])
note(x, y, what) = sprintf("set label '%s' at %g,%g center", what, x, y)
stats stages every ::1 using 1 nooutput
bottom = STATS_max
set xrange [0:1]
set yrange [-bottom - 0.75:0.3]
x(place, beside) = (place + 0.5) / beside
line(l) = -column(1) + 0.17 - 0.17 * l
word_of(l) = l < 2 || strcol(4) eq "fine-tune" ? strcol(4 + l) : "" # a task
set style fill solid 1 border linecolor rgb "#333333"
# Draw the stages of the plan
plot needs every ::1 using (x($2, $3)):(-$1 - 0.3):(x($5, $6) - x($2, $3)): \
         (-$4 + $1 + 0.6) with vectors size 0.02, 20 filled linecolor rgb "#666666" \
         linewidth 0.8, \
     stages every ::1 using (x($2, $3)):(-$1):(0.115):(0.28) with boxxyerror \
         fillcolor rgb "#e6e6e6" linewidth 0.8, \
     for [l = 0:2] stages every ::1 using (x($2, $3)):(line(l)): \
         (word_of(l)) with labels
