# Tangled from chapters/56-figures.md; edit there.
names = results . "/figures/models.tsv"
scores = results . "/figures/scores.tsv"
seeds = results . "/figures/seeds.tsv"
tasks = results . "/figures/tasks.tsv"
speed = results . "/figures/speed.tsv"
stats names using 1 nooutput; models = STATS_max
stats names using (strcol(2) eq "student" ? $1 : 0) nooutput; student_row = STATS_sum
stats tasks using 1 nooutput; panels = int(STATS_max) + 1
bands = (panels + 4) / 5
across = (panels + bands - 1) / bands
band = 2.0 + (models < 7 ? 0.33 * 7 : models < 10 ? 0.33 * models : 0.29 * models)
height = bands * band
stats speed using (0) nooutput
timed = STATS_records > 1
load "figures/style.gp"
set multiplot
# Space ticks by round numbers
tick(end) = end <= 0 ? 1 : (power = 10.0 ** floor(log10(end)), \
             end >= 4 * power ? 2 * power : end >= 2 * power ? power : power / 2)
set key off
step = ((timed ? 0.76 : 1.01) - 0.23) / across
do for [i = panels - 1:0:-1] { # the first band last: the times go on in it
    top = 1 - (0.62 + band * (i / across)) / height
    bottom = 1 - (band * (i / across + 1) - 1.1) / height
    left = 0.23 + step * (i % across)
    # Draw the names of the models
    if (i % across == 0) {
        unset border; unset tics; unset xlabel
        set xrange [0:1]; set yrange [models + 0.6:0.4]
        set margins at screen 0, at screen 0.22, at screen bottom, at screen top
        plot names using (1):1:2 with labels right
    }
    # Fit the axis of a task
    set xrange [*:*]; set yrange [*:*]
    stats scores using ($1 == i ? $4 : NaN) nooutput; low = STATS_min
    stats scores using ($1 == i ? $5 : NaN) nooutput; high = STATS_max
    if (high - low < 0.1) { low = low - 1; high = high + 1 } # all scored the same
    stats scores using ($1 == i && $2 == student_row) nooutput; answered = STATS_sum
    stats scores using ($1 == i && $2 == student_row ? $3 : 0) nooutput; student = STATS_sum
    set margins at screen left, at screen left + step - 0.03, at screen bottom, \
        at screen top
    set border 3; set grid noytics xtics
    set xtics nomirror scale 0.6; set ytics nomirror scale 0; set format y ""
    set xrange [low - 0.05 * (high - low):high + 0.05 * (high - low)]
    set yrange [models + 0.6:0.4]
    space = tick(high - low)
    set xtics space < 1 || across > 3 ? tick(2 * (high - low)) : space
    set xlabel "score, " . percent offset 0, 0.45
    # Draw a panel of scores
    set x2range [low:high]
    set x2tics scale 0 offset 0, -0.5 textcolor rgb "black"
    if (answered) {
        set arrow 1 from student, graph 0 to student, graph 1 nohead linetype 2 \
            linewidth 1 dashtype 3
    }
    plot tasks every ::i::i using ((low + high) / 2):(1):x2ticlabels(2) with dots \
             axes x2y1 linecolor rgb "#ffffff", \
         for [m = 1:models] scores using ($1 == i && $2 == m ? $3 : NaN):2:4:5 \
             with xerrorbars linetype m dashtype 1 linewidth 1.5 pointsize 0.7, \
         for [m = 1:models] seeds using ($1 == i && $2 == m ? $3 : NaN):($2 + 0.34) \
             with points linetype m pointtype 7 pointsize 0.3
    unset arrow; unset x2tics
}
if (timed) {
    # Draw size against time
    set margins at screen 0.80, at screen 0.99, at screen bottom, at screen top
    set title "seconds a pass" offset 0, -1.1
    set xlabel "millions of parameters" offset 0, 0.45
    set format y; set grid noxtics ytics; set ytics scale 0.6
    set xrange [*:*]; set yrange [*:*]
    stats speed every ::1 using 2 nooutput
    last = 1.25 * STATS_max
    set xtics 0, tick(2 * last); set xrange [0:last]
    stats speed every ::1 using ($3 > $4 ? $3 : $4) nooutput
    set yrange [0:1.3 * STATS_max]; set ytics 0, tick(STATS_max)
    hue(name) = name eq "teacher" ? 1 : name eq "student" ? 2 : 3
    plot speed every ::1 using 2:3:(hue(strcol(1))) with points pointtype 7 \
             linecolor variable, \
         speed every ::1 using 2:4:(hue(strcol(1))) with points pointtype 5 \
             linecolor variable, \
         speed every ::1 using 2:($3 > $4 ? $3 : $4):1 with labels offset 0, 0.9
}
unset multiplot
