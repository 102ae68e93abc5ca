# Tangled from chapters/19-products.md; edit there.
width = 14.6
height = 5.6
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
LANES = 16
ROWS = 12
INNER = 22
set xrange [-INNER - 3:2 * LANES + 3]
set yrange [-3.5:ROWS + INNER + 1.5]
eval box(-INNER - 2, 0, INNER, ROWS, 1)
eval box(0, ROWS + 2, 2 * LANES, INNER - 2, 1)
eval box(-INNER / 2, 0, 1, ROWS, 3)
eval box(0, ROWS + INNER / 2, 2 * LANES, 1, 3)
do for [i = 0:ROWS - 1] {
    eval box(0, i, LANES, 1, 2)
    eval box(LANES, i, LANES, 1, 2)
}
eval note(-INNER / 2 - 6, ROWS / 2, "A")
eval note(LANES, ROWS + INNER / 2 + 4, "B")
eval note(2 * LANES + 1.5, ROWS / 2, "C")
eval note(LANES / 2, -2, "a register of chains")
eval note(3 * LANES / 2, -2, "a register of chains")
eval note(-INNER / 2, -2, sprintf("%d rows", ROWS))
eval note(-INNER / 2 + 0.5, ROWS + 1.5, "k")
eval note(2 * LANES + 1.5, ROWS + INNER / 2 + 0.5, "k")
plot NaN
