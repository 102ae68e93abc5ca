# Tangled from chapters/42-attention-cuda.md; edit there.
width = 14.6
height = 3.3
load "figures/style.gp"
# Read the code's constants
code(pattern) = \
    system("cat code/kernels.h code/kernels_cuda.cu | sed -n 's|.*" \
           . pattern . ".*|\\1|p'") + 0
WARP = code("{ WARP = \\([0-9]*\\),")
TILE = code("GPU_TILE = \\([0-9]*\\),")
THREADS = code("TILE_THREADS = \\([0-9]*\\),")
SPAN = code("GPU_SPAN = \\([0-9]*\\) }")
PADDING = code("columns + \\([0-9]*\\) / (int)sizeof(T)") # bytes
DEPTH = 64
SQUARE = 16
HALF = 2  # bytes, and so is the next
FLOAT = 4
BANKS = 32
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
set xrange [-6:2 * BANKS + 10]
set yrange [-2.5:10]
do for [padded = 0:1] {
    left = padded * (BANKS + 8)
    stride = DEPTH + padded * PADDING / HALF
    eval box(left, 0, BANKS, 8, 1)
    # Draw the first sixteen bytes of eight rows
    do for [row = 0:7] {
        bank = row * stride * HALF / 4 % BANKS
        eval box(left + bank, 7 - row, 16 / 4, 1, 4)
        eval note(left - 2.4, 7.5 - row, sprintf("row %d", row))
    }
    eval note(left + BANKS / 2, 9, sprintf("rows %d elements apart", stride))
    eval note(left + 2, -1.2, "bank 0")
    eval note(left + BANKS - 2, -1.2, sprintf("bank %d", BANKS - 1))
}
plot NaN
