# Tangled from chapters/11-encoder.md; edit there.
width = 7.4
height = 6.2
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
# Set names of the code in letters of their own
mono(name) = paper ? "\\texttt{" . name . "}" : "{/Monospace " . name . "}"
# List the sizes in the arena
array kept = [3.00, 0.02, 1.00, 1.00, 1.00, 4.00, 1.00, 4.00]
shared = 11.02
under_way = 10.00
embedded = 1.00
array array_name = ["qkv", "", "context", "attention", "middle", "wide", "outer", \
                    "active"]
layer = 0
do for [i = 1:|kept|] { layer = layer + kept[i] }
LAYERS = 6
whole = embedded + LAYERS + 1 + LAYERS * layer + under_way
set xrange [0:whole]
set yrange [-9:8.8]
# Draw the arena of a student
begin = embedded + LAYERS + 1
eval sprintf("set label 'student, %.0f' at 0,8.2", whole)
eval box(0, 4, embedded, 2, 1)
do for [l = 0:LAYERS] {
    eval box(embedded + l, 4, 1, 2, 3)
}
do for [l = 0:LAYERS - 1] {
    eval box(begin + l * layer, 4, layer, 2, 2)
    eval note(begin + (l + 0.5) * layer, 5, sprintf("%d", l))
}
eval box(begin + LAYERS * layer, 4, under_way, 2, 1)
set label 'hidden' at 0,6.8
eval note(begin + LAYERS * layer / 2, 6.8, "layers")
eval sprintf("set label 'backward' at %g,6.8 right", whole)
# Draw a layer in the arena
last = begin + (LAYERS - 1) * layer
set arrow from last, 3.7 to 0, 1.6 nohead linecolor rgb "#8c8c8c"
set arrow from last + layer, 3.7 to whole, 1.6 nohead linecolor rgb "#8c8c8c"
x = 0
do for [i = 1:|kept|] {
    across = whole * kept[i] / layer
    eval box(x, -3.4, across, 5, i == 2 ? 4 : 2)
    eval sprintf("set label '%s' at %g,-0.9 center rotate by %d", \
                 mono(array_name[i]), x + across / 2, kept[i] > 1 ? 0 : 90)
    x = x + across
}
eval sprintf("set label '%s' at %g,-4.2 center", mono("logsum"), whole * 3.0 / layer)
# Draw the arena of a teacher
answering = embedded + 2 * LAYERS + 1 + shared
eval sprintf("set label 'teacher, %.0f' at 0,-5.8", answering)
eval box(0, -8.6, embedded, 2, 1)
do for [l = 0:2 * LAYERS] {
    eval box(embedded + l, -8.6, 1, 2, 3)
}
eval box(embedded + 2 * LAYERS + 1, -8.6, shared, 2, 2)
eval sprintf("set label 'one room for all layers' at %g,-7.6", answering + 2)
plot NaN
