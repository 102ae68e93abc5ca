# Tangled from chapters/07-house.md; edit there.
width = 7.4
height = 10.6
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
# List the rooms and who lives there
array room = ["findings", "forecast and probes", "training", "plan", "model", \
              "text", "kernels", "helpers"]
array file = [ \
    "measure findings results values plots " \
        . "verdicts live trust verify artifact", \
    "forecast rules room estimate bench inspect gradients", \
    "pretrain distill finetune ensemble theseus training feed loader checkpoint card", \
    "settings plan stage record seal run benchmark", \
    "encoder parts arena heads losses optimizer parameters model safetensors", \
    "batch tokenizer tokenize vocabulary corpus task questions metrics toyland cache", \
    "kernels device products lanes ranks watch", \
    "fail file grid json said sum foreign random elementary"]
array left = [0, 26, 26, 0, 0, 0, 26, 0]
array top = [0, 0, 5.6, 12.2, 15.8, 20.4, 20.4, 27.0]
array across = [24, 24, 24, 50, 50, 24, 24, 50]
array lines = [4, 3, 4, 1, 2, 4, 4, 1]
# List who includes whom
array from = [1, 2, 3, 4, 5, 5, 6, 7]
array to = [4, 3, 4, 5, 6, 7, 8, 8]
set xrange [0:50]
set yrange [-31:0.5]
do for [i = 1:|room|] {
    # Draw a room
    bottom = i == 1 ? 11.2 : top[i] + lines[i] + 1.6
    middle = left[i] + across[i] / 2
    eval box(left[i], -bottom, across[i], bottom - top[i], i % 2 ? 2 : 1)
    eval note(middle, -top[i] - 0.9, room[i])
    line = ""
    y = -top[i] - 2
    do for [k = 1:words(file[i])] {
        if (strlen(line . word(file[i], k)) > across[i] - 3) {
            eval note(middle, y, mono(line))
            y = y - 1
            line = ""
        }
        line = line . (line eq "" ? "" : " ") . word(file[i], k)
    }
    eval note(middle, y, mono(line))
}
do for [i = 1:|from|] {
    # Draw an arrow between rooms
    a = from[i]
    b = to[i]
    x = across[a] < across[b] ? left[a] + across[a] / 2 : left[b] + across[b] / 2
    y = a == 1 ? 11.2 : top[a] + lines[a] + 1.6
    set arrow from x, -y to x, -top[b] size 1, 20 filled linecolor rgb "#333333"
}
plot NaN
