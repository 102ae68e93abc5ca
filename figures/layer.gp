# Tangled from chapters/11-encoder.md; edit there.
width = 7.4
height = 11.6
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
# List what a layer keeps
array kept = ["hidden[l]", "qkv", "logsum", "context", "attention", "middle", \
              "wide", "active", "outer", "hidden[l + 1]"]
array shape = ["[tokens, width]", "[tokens, 3 width]", "[tokens, heads]", \
               "[tokens, width]", "[tokens, width]", "[tokens, width]", \
               "[tokens, inner]", "[tokens, inner]", "[tokens, width]", \
               "[tokens, width]"]
array after = ["map", "attention", "", "map, drop, add", "norm", "map", "GELU", \
               "map, drop, add", "norm", ""]
array place = [0, 3.6, 7.2, 9.2, 12.8, 16.4, 20, 23.6, 27.2, 30.8]
# List the gradients that are under way
array passed = ["hidden", "dense", "wide", "wide", "hidden", "dense", "context", \
                "qkv", "hidden"]
array size = ["[tokens, width]", "[tokens, width]", "[tokens, inner]", \
              "[tokens, inner]", "[tokens, width]", "[tokens, width]", \
              "[tokens, width]", "[tokens, 3 width]", "[tokens, width]"]
array beside = [10, 9, 8, 7, 6, 5, 4, 2, 1]
set xrange [-2:52]
set yrange [-33:2]
eval note(11.5, 1.2, "forward")
eval note(38.5, 1.2, "back")
do for [i = 1:|kept|] {
    # Draw what a layer keeps
    y = -place[i]
    arrow = "set arrow from %g,%g to %g,%g size 0.9,20 filled linecolor rgb '#333333'"
    eval box(0, y - 2, 23, 2, i == 1 || i == |kept| ? 3 : 1)
    eval note(11.5, y - 0.6, mono(kept[i]))
    eval note(11.5, y - 1.5, shape[i])
    if (after[i] ne "") {
        eval sprintf(arrow, 3, y - 2, 3, y - 3.6)
        eval note(12.5, y - 2.8, after[i])
    }
}
do for [i = 1:|passed|] {
    # Draw a gradient
    y = -place[beside[i]]
    eval box(27, y - 2, 23, 2, passed[i] eq "hidden" ? 3 : 1)
    eval note(38.5, y - 0.6, mono(passed[i]))
    eval note(38.5, y - 1.5, size[i])
    if (i > 1) {
        eval sprintf(arrow, 47, -place[beside[i - 1]], 47, y - 2)
    }
}
# Draw what goes around each half
array half = [1, 6, 10]
do for [i = 1:2] {
    y = -place[half[i]] - 1
    z = -place[half[i + 1] - 1] - 1
    set arrow from 0, y to -1.3, y nohead
    set arrow from -1.3, y to -1.3, z nohead
    eval sprintf(arrow, -1.3, z, 0, z)
    z = -place[half[i + 1]] - 1
    set arrow from 50, z to 51.3, z nohead
    set arrow from 51.3, z to 51.3, y nohead
    eval sprintf(arrow, 51.3, y, 50, y)
}
plot NaN
