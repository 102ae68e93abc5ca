# Tangled from chapters/17-relations.md; edit there.
width = 14.6
height = 5.4
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
TOKENS = 10
set xrange [-20:64]
set yrange [-3:29]
array depth = [16, 8]
array left = [0, 46]
array name = ["teacher", "student"]
do for [i = 1:2] {
    # Draw the relation of one model
    eval box(left[i] - depth[i] - 2, 0, depth[i], TOKENS, 1)
    eval box(left[i], TOKENS + 2, TOKENS, depth[i], 1)
    eval box(left[i], 0, TOKENS, TOKENS, 2)
    eval box(left[i] - depth[i] - 2, 4, depth[i], 1, 4)
    eval box(left[i], 4, TOKENS, 1, 4)
    eval note(left[i] - depth[i] / 2 - 2, -1.6, name[i])
    eval note(left[i] + TOKENS / 2, -1.6, "relations")
    eval note(left[i] + TOKENS / 2, TOKENS + 2 + depth[i] / 2, "turned")
}
set arrow from TOKENS + 1, 4.5 to left[2] - depth[2] - 3, 4.5
eval note((TOKENS + left[2] - depth[2]) / 2 - 1, 6.3, "divergence")
plot NaN
