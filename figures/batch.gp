# Tangled from chapters/08-batch.md; edit there.
width = 7.4
height = 3.6
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
array ids = ["CLS", "a", "b", "SEP", "CLS", "c", "SEP", "d", "SEP"]
array positions = [0, 1, 2, 3, 0, 1, 2, 3, 4]
array segments = [0, 0, 0, 0, 0, 0, 0, 1, 1]
array offsets = [0, 4, 9]
set xrange [-2.6:9.1]
set yrange [-2.6:4.4]
do for [s = 1:2] {
    # Draw a sequence
    eval note((offsets[s] + offsets[s + 1]) / 2.0, 3.6, sprintf("sequence %d", s - 1))
    do for [t = offsets[s] + 1:offsets[s + 1]] {
        eval box(t - 1, 2, 1, 1, s)
        eval box(t - 1, 1, 1, 1, s)
        eval box(t - 1, 0, 1, 1, s)
        eval note(t - 0.5, 2.5, ids[t])
        eval note(t - 0.5, 1.5, sprintf("%d", positions[t]))
        eval note(t - 0.5, 0.5, sprintf("%d", segments[t]))
    }
}
do for [s = 1:3] {
    # Draw where a sequence begins
    x = offsets[s]
    set arrow from x, -1.1 to x, -0.1 size 0.2, 20 filled linecolor rgb "#333333"
    eval note(s < 3 ? x : x - 0.2, -1.6, sprintf("%d", x))
}
eval note(-1.3, 2.5, mono("ids"))
eval note(-1.3, 1.5, mono("positions"))
eval note(-1.3, 0.5, mono("segments"))
eval note(-1.3, -1.6, mono("offsets"))
plot NaN
