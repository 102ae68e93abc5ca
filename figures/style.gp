# Tangled from chapters/66-weaver.md; edit there.
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
# Choose colours that stay apart
set linetype 1 linecolor rgb "#1a4073" linewidth 2 pointtype 7
set linetype 2 linecolor rgb "#d95f02" linewidth 2 pointtype 5
set linetype 3 linecolor rgb "#2a8f5b" linewidth 2 pointtype 9
set linetype 4 linecolor rgb "#56b4e9" linewidth 2 pointtype 11
set linetype 5 linecolor rgb "#8e5ea2" linewidth 2 pointtype 13
set linetype 6 linecolor rgb "#888888" linewidth 2 pointtype 6
set linetype 7 linecolor rgb "#a6761d" linewidth 2 pointtype 8
set linetype 8 linecolor rgb "#e7298a" linewidth 2 pointtype 10
set linetype 9 linecolor rgb "#444444" linewidth 2 pointtype 12
set linetype 10 linecolor rgb "#1a4073" linewidth 2 dashtype 3 pointtype 7
set linetype 11 linecolor rgb "#d95f02" linewidth 2 dashtype 3 pointtype 5
set linetype 12 linecolor rgb "#2a8f5b" linewidth 2 dashtype 3 pointtype 9
set linetype 13 linecolor rgb "#56b4e9" linewidth 2 dashtype 3 pointtype 11
set linetype 14 linecolor rgb "#8e5ea2" linewidth 2 dashtype 3 pointtype 13
set linetype 15 linecolor rgb "#888888" linewidth 2 dashtype 3 pointtype 6
set linetype 16 linecolor rgb "#a6761d" linewidth 2 dashtype 3 pointtype 8
