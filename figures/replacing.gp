# Tangled from chapters/38-replacing-layers.md; edit there.
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
set xrange [-2:62]
set yrange [-3.4:14]
array route = ["000", "010", "001", "101", "110", "111"]
do for [i = 1:6] {
    do for [b = 0:2] {
        # Draw who stands in one block
        x = 10 * (i - 1)
        y = 4.5 * b
        if (route[i][b + 1:b + 1] eq "1") {
            eval box(x, y + 1, 8, 2, 4)
        } else {
            eval box(x, y, 8, 1.8, 2)
            eval box(x, y + 2.2, 8, 1.8, 2)
        }
    }
}
eval note(4, -2.2, "early")
eval note(54, -2.2, "in the end")
set arrow from 12, -2.2 to 46, -2.2
plot NaN
