# Tangled from chapters/57-figures.md; edit there.
width = 14.6
height = 5.8
load "figures/style.gp"
scores = results . "/figures/scores.tsv"
seeds = results . "/figures/seeds.tsv"
tasks = results . "/figures/tasks.tsv"
speed = results . "/figures/speed.tsv"
set multiplot
set tmargin at screen 0.90
# Space ticks by round numbers
tick(end) = end <= 0 ? 1 : (power = 10.0 ** floor(log10(end)), \
             end >= 4 * power ? 2 * power : end >= 2 * power ? power : power / 2)
# Draw the scores by task
set lmargin at screen 0.055
set rmargin at screen 0.62
set bmargin at screen 0.37
set title "score, " . percent offset 0, -0.7
set key at screen 0.33, 0.13 center center horizontal maxcols 3 Left reverse
stats scores using 1 nooutput
models = STATS_blocks
stats tasks using 1 nooutput
set xrange [-0.5:STATS_max + 0.5]
plot tasks using 1:3:xticlabels(2) with dots linecolor rgb "#ffffff" notitle, \
     for [i = 0:models - 1] scores index i using 1:2:3:4:(0) with yerrorbars \
         linestyle i + 1 pointsize 0.8 title columnheader(1), \
     seeds using ($1 + 0.03):2 with points pointtype 7 pointsize 0.25 \
         linecolor rgb "#777777" notitle
stats speed using (0) nooutput
if (STATS_records > 1) {
    # Draw size against time
    set lmargin at screen 0.72
    set rmargin at screen 0.98
    set title "seconds a pass"
    set xlabel "millions of parameters" offset 0, 0.5
    set key at screen 0.86, 0.09 center center vertical Left reverse
    stats speed every ::1 using 2 nooutput
    last = 1.25 * STATS_max
    set xtics 0, tick(2 * last)
    set xrange [0:last]
    stats speed every ::1 using 3 nooutput
    first_highest = STATS_max
    stats speed every ::1 using 4 nooutput
    highest = STATS_max > first_highest ? STATS_max : first_highest
    set yrange [0:1.3 * highest]
    set ytics 0, tick(highest)
    plot speed every ::1 using 2:3 with points linestyle 1 title "one core", \
         speed every ::1 using 2:4 with points linestyle 2 title "all cores", \
         speed every ::1 using 2:($3 > $4 ? $3 : $4):1 with labels offset 0, 0.9 notitle
}
unset multiplot
