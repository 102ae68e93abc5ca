# Tangled from chapters/09-parameters.md; edit there.
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
# List what is in the vector
LAYERS = 6
array large = [23445504, 393216, 7077888, 589824]
array matrix = [589824, 589824, 589824, 589824, 2359296, 2359296]
array small = [1536, 9984, 32832]
array letter = ["q", "k", "v", "a", "inner", "outer"]
sum_small = small[1] + LAYERS * small[2] + small[3]
decayed = large[1] + large[2] + LAYERS * large[3] + large[4]
total = 1.0 * (decayed + sum_small)
set xrange [0:1]
set yrange [-12.2:6]
# Draw the vectors of one layout
array name = ["parameters", "gradient", "first moment", "second moment"]
begin = (large[1] + large[2]) / total
step = large[3] / total
eval note(large[1] / total / 2, 5.3, sprintf("words, %.1f", 1e-6 * large[1]))
eval note(begin + 3 * step, 5.3, sprintf("layers, 6 × %.1f", 1e-6 * large[3]))
do for [i = 1:4] {
    y = 4.5 - 1.2 * i
    eval box(0, y, large[1] / total, 1.2, i == 1 ? 3 : 1)
    eval box(large[1] / total, y, large[2] / total, 1.2, i == 1 ? 3 : 1)
    do for [l = 0:LAYERS - 1] {
        eval box(begin + l * step, y, step, 1.2, i == 1 ? 2 : 1)
    }
    eval box(begin + LAYERS * step, y, large[4] / total, 1.2, i == 1 ? 3 : 1)
    eval box(decayed / total, y, 1 - decayed / total, 1.2, 4)
    eval note(large[1] / total / 2, y + 0.6, name[i])
}
# Draw the matrices of a layer
set arrow from begin, -0.3 to 0, -2.2 nohead linecolor rgb "#8c8c8c"
set arrow from begin + step, -0.3 to 0.95, -2.2 nohead linecolor rgb "#8c8c8c"
x = 0
do for [i = 1:|matrix|] {
    across = 0.95 * matrix[i] / large[3]
    eval box(x, -4, across, 1.8, 2)
    eval note(x + across / 2, -3.1, letter[i])
    x = x + across
}
eval note(0.475, -4.9, sprintf("matrices of a layer, %.1f", 1e-6 * large[3]))
# Draw the vectors at the end
set arrow from decayed / total, -0.3 to decayed / total, -6.2 nohead \
    linecolor rgb "#8c8c8c"
set arrow from decayed / total, -6.2 to 0, -7.8 nohead linecolor rgb "#8c8c8c"
set arrow from 1, -0.3 to 1, -7.8 nohead linecolor rgb "#8c8c8c"
eval sprintf("set label '%s' at 0.97,-6 right", mono("decayed"))
x = 0
do for [i = 1:LAYERS + 2] {
    across = 1.0 * small[i == 1 ? 1 : i < LAYERS + 2 ? 2 : 3] / sum_small
    eval box(x, -9.6, across, 1.8, 4)
    x = x + across
}
x = (small[1] + LAYERS * small[2] / 2.0) / sum_small
eval note(x, -10.5, sprintf("layers, 6 × %.2f", 1e-6 * small[2]))
eval note(1 - small[3] / 2.0 / sum_small, -10.5, sprintf("head, %.2f", 1e-6 * small[3]))
eval note(0.5, -11.6, sprintf("vectors, %.2f of %.1f", 1e-6 * sum_small, 1e-6 * total))
plot NaN
