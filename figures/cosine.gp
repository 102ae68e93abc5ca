# Tangled from chapters/15-cosine.md; edit there.
width = 14.6
height = 6.4
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
set xrange [-7:9]
set yrange [-1.7:5.3]
array s_x = [4, -2, 1.2, -4.5]
array s_y = [3, 1.5, 4.8, -1]
do for [i = 1:4] {
    # Draw a student and where it is sent
    length_s = sqrt(s_x[i]**2 + s_y[i]**2)
    c = s_y[i] / length_s
    turn_x = -c * s_x[i] / length_s**2
    turn_y = (1 - c * s_y[i] / length_s) / length_s
    angle = atan2(s_y[i], s_x[i]) * 180 / pi
    set object circle at 0, 0 size length_s arc [angle - 20:angle + 20] nowedge \
        fillstyle empty border linecolor rgb "#8c8c8c"
    set arrow from 0, 0 to s_x[i], s_y[i] linetype 2
    set arrow from s_x[i], s_y[i] to s_x[i] + 8 * turn_x, s_y[i] + 8 * turn_y \
        linecolor rgb STROKE linewidth 1.2
}
set arrow from 0, 0 to 0, 2 linetype 1 linewidth 3
# Name the vectors of the example
eval note(-0.35, 1.9, "t")
eval note(5.2, 3, "s = (4, 3)")
plot NaN
