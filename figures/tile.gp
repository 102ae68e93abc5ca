# Tangled from chapters/42-attention-cuda.md; edit there.
width = 14.6
height = 6.6
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
WARPS = THREADS / WARP
pad = PADDING / HALF
left = -DEPTH - pad - 8
right = SPAN + 40
above = TILE + 8
top = above + DEPTH
set xrange [left - 1:right + DEPTH + pad + 1]
set yrange [-25:top + 27]
# Draw tiles of keys and of values
array state = ["past", "in use", "fetched", "to come"]
array dark = [1, 4, 3, 1]
eval box(left, 0, DEPTH, TILE, 3)
eval box(left + DEPTH, 0, pad, TILE, 2)
do for [i = 1:4] {
    eval box((i - 1) * TILE, above, TILE, DEPTH, dark[i])
    eval note((i - 0.5) * TILE, above + DEPTH / 2, state[i])
}
do for [i = 2:3] {
    eval box((i - 1) * TILE, top, TILE, pad, 2)
    eval box(right, above + (i - 2) * TILE, DEPTH, TILE, dark[i])
    eval box(right + DEPTH, above + (i - 2) * TILE, pad, TILE, 2)
    eval note(right + DEPTH / 2, above + (i - 1.5) * TILE, state[i])
}
# Draw a span of scores
rows = TILE / WARPS
do for [i = 2:3] {
    eval box(i * TILE, 0, TILE, TILE, 1)
}
eval box(SPAN, 0, PADDING / FLOAT, TILE, 2)
do for [warp = 0:WARPS - 1] {
    y = TILE - (warp + 1) * rows
    eval box(0, y, TILE, rows, 3)
    eval note(TILE / 2, y + rows / 2, sprintf("warp %d", warp))
    x = TILE + warp % 2 * SQUARE
    y = TILE - (warp / 2 + 1) * SQUARE
    eval box(x, y, SQUARE, SQUARE, 4)
    eval note(x + SQUARE / 2, y + SQUARE / 2, sprintf("%d", warp))
}
# Draw what is in registers
do for [i = 0:1] {
    eval box(SPAN + 13 + 8 * i, 0, 6, TILE, 1)
}
eval note(SPAN + 20, TILE + 5, "max, sum")
across = DEPTH / SQUARE
do for [i = 0:TILE / SQUARE * across - 1] {
    x = right + i % across * SQUARE
    y = TILE - (i / across + 1) * SQUARE
    eval box(x, y, SQUARE, SQUARE, 1)
    eval note(x + SQUARE / 2, y + SQUARE / 2, sprintf("%d", i % WARPS))
}
# Write sizes beside the boxes
tile = TILE * (DEPTH + pad) * HALF
scores = TILE * (SPAN + PADDING / FLOAT) * FLOAT
middle = left + DEPTH / 2
eval note(middle, top, "a block:")
eval note(middle, top - 10, sprintf("%d warps of %d threads", WARPS, WARP))
eval note(middle, top - 20, sprintf("%d bytes", 3 * tile + scores))
eval note(middle, top - 30, "of shared memory")
eval note(middle, -7, "queries")
eval note(middle, -17, sprintf("%d × %d, %d bytes", TILE, DEPTH, tile))
middle = SPAN / 2
eval note(middle, top + 23, "first round: keys pass")
eval note(middle, top + 14, sprintf("two places of %d bytes", tile))
eval note(middle, -7, "scores, then probabilities")
eval note(middle, -17, sprintf("%d × %d, %d bytes", TILE, SPAN, scores))
middle = right + DEPTH / 2
eval note(middle, top + 23, "second round: values pass")
eval note(middle, top + 14, "the same two places")
eval note(middle, -7, "sums")
eval note(middle, -17, sprintf("%d × %d, in registers", TILE, DEPTH))
plot NaN
