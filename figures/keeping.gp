# Tangled from chapters/57-students.md; edit there.
kept = results . "/figures/kept.tsv"
claimed = results . "/figures/claimed.tsv"
set datafile separator "\t"
stats kept using (0) nooutput
# Leave the picture empty where there is nothing to draw
if (STATS_records < 2) {
    load "figures/style.gp"
    unset border; unset tics
    set xrange [0:1]; set yrange [0:1]
    plot NaN notitle
    exit
}
students = int(STATS_records) - 1 # below the header
line = 0.3
panel = line * students > 3 ? line * students : 3
height = panel + 1.1
load "figures/style.gp"
tex(s) = strlen(s) == 0 ? "" \
         : (paper && strstrt("_%&#$", s[1:1]) ? "\\" : "") . s[1:1] . tex(s[2:*])
array kind[students]; array minutes[students]; array share[students]
array name[students]; array place[students]
stats kept every ::::0 using (axis = tex(strcol(2)), 0) nooutput
do for [i = 1:students] {
    stats kept every ::i::i using (kind[i] = $1, minutes[i] = $2, share[i] = $3, \
        name[i] = tex(strcol(6)), 0) nooutput
}
# Draw the levels of what was claimed
stats kept every ::1 using 4 nooutput; low = STATS_min
stats kept every ::1 using 5 nooutput; high = STATS_max
stats claimed using (0) nooutput; levels = int(STATS_records) - 1
do for [i = 1:levels] {
    stats claimed every ::i::i using (level = $1, whose = strcol(2), 0) nooutput
    low = level < low ? level : low
    high = level > high ? level : high
    set arrow students + i from graph 0, first level to graph 1, first level \
        nohead dashtype 2 linecolor rgb published(whose)
    set label students + i sprintf("%s: %g ", whose, level) . percent \
        at graph 0.01, first level offset 0, (i == 1 ? 0.6 : -0.6) \
        textcolor rgb published(whose)
}
# Choose the axes of what is kept
stats kept every ::1 using 2 nooutput
if (STATS_max > 5 * STATS_min) {
    set logscale x
    set xtics (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
    set xrange [(levels > 0 ? 0.4 : 0.8) * STATS_min:1.25 * STATS_max]
} else {
    set xrange [0:1.08 * STATS_max]
}
space = high - low < 1 ? 1 : high - low
bottom = low - 0.04 * space
top = high + (levels > 0 ? 0.1 : 0.04) * space
set yrange [bottom:top]
set ylabel "retention, " . percent offset -0.3, 0
set xlabel axis offset 0, 0.4
set key off
set margins at screen 0.1, at screen 0.64, at screen 0.95 / height, \
    at screen 1 - 0.15 / height
# Draw what is kept
gap = (top - bottom) * line / panel
above = top + gap / 2
do for [i = 1:students] {
    place[i] = share[i] < above - gap ? share[i] : above - gap
    above = place[i]
}
below = bottom - gap / 2
do for [i = students:1:-1] {
    place[i] = place[i] > below + gap ? place[i] : below + gap
    below = place[i]
    set arrow i from minutes[i], share[i] to graph 1.03, first place[i] nohead \
        linecolor rgb GUIDE linewidth 0.5 back
    set label i name[i] at graph 1.04, first place[i]
}
# no difference, a part, other layers, fine-tuned teachers, another recipe
array form[5] = [5, 5, 9, 13, 7]
plot for [i = 1:students] kept every ::i::i using 2:3:4:5 with yerrorbars \
         linetype (kind[i] == 0 ? 2 : 3) pointtype form[kind[i] + 1] \
         linewidth 0.7 pointsize 0.9
