# Tangled from chapters/42-attention-cuda.md; edit there.
width = 14.6
height = 4.6
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
set xrange [0:25]
set yrange [-1.4:6.2]
do for [i = 0:4] {
    do for [j = 0:4] {
        eval box(4 + j, 4 - i, 1, 1, i != 2 || j > 2 ? 1 : j == 2 ? 4 : 3)
        eval box(17 + j, 4 - i, 1, 1, j != 2 || i > 2 ? 1 : i == 2 ? 4 : 3)
    }
    eval box(4 + i, 5.2, 1, 0.6, i == 2 ? 4 : 1)
    eval box(15.8, 4 - i, 1, 1, i == 2 ? 4 : 1)
}
# Draw what stays and what is summed
eval box(2.8, 2, 1, 1, 4)
eval box(9.2, 2, 1, 1, 3)
eval note(1.6, 2.5, "q, dy stay")
eval note(6.5, 6.1, "k, v pass")
eval note(11.2, 2.5, "sum: dq")
eval box(19, 5.2, 1, 0.6, 4)
eval box(19, -0.8, 1, 0.6, 3)
eval note(14.3, 2.5, "q, dy pass")
eval note(19.5, 6.1, "k, v stay")
eval note(19.5, -1.2, "sums: dk, dv")
set arrow 1 from 7.1, 2.5 to 8.9, 2.5
set arrow 2 from 19.5, 1.9 to 19.5, 0.1
plot NaN
