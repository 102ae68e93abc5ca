# Tangled from chapters/67-weaver.md; edit there.
if (!exists("width")) { width = 14.6 }
if (!exists("height")) { height = 5 }
paper = terminal eq "tikz"
options = paper ? sprintf(" font '\\footnotesize' size %gcm,%gcm", width, height) \
    : sprintf(" font 'serif,12' background 'white' size %d,%d", 50 * width, 50 * height)
eval "set terminal " . terminal . options
set output output
percent = paper ? "\\%" : "%"
set border 3 linecolor rgb "#666666"
set tics nomirror scale 0.6
set grid ytics linecolor rgb "#dddddd" linetype 1 linewidth 0.5
set key above left horizontal samplen 2 height 0.3
set datafile separator "\t"
# Give each meaning a colour
set linetype 1 linecolor rgb "#1a4073" linewidth 2 pointtype 7
set linetype 2 linecolor rgb "#c45500" linewidth 2 pointtype 5
array green = ["#0f5b32", "#23854f", "#3aa66e"]
array shape = [9, 11, 13, 6, 8, 10, 12, 4]
do for [i = 0:29] {
    set linetype 3 + i linecolor rgb green[i % 3 + 1] linewidth 2 \
        dashtype i % 3 + 1 pointtype shape[i % 8 + 1]
}
published(whose) = whose eq "paper" ? 0x7b4ea3 : 0x8a5a00 # else the course project
GUIDE = 0x8c8c8c
STROKE = 0x333333
