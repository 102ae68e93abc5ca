# Tangled from chapters/58-live.md; edit there.
terminal = "svg"
width = 9
# Space ticks by round numbers
tick(end) = end <= 0 ? 1 : (power = 10.0 ** floor(log10(end)), \
             end >= 4 * power ? 2 * power : end >= 2 * power ? power : power / 2)
do for [panel in panels] {
    table = folder . "/" . panel . ".tsv"
    output = folder . "/" . panel . ".svg"
    reset
    stats table using 1 nooutput
    blocks = STATS_blocks
    last = STATS_max
    # Make the picture as high as its key asks for
    height = 5.5 + 0.4 * (panel[1:5] eq "loss-" ? 1 : blocks)
    load "figures/style.gp"
    set yrange [0:*]
    set xtics 0, tick(last)
    set xrange [0:last > 0 ? last : 1]
    # Draw what the panel is about
    if (panel[1:5] eq "loss-") {
        # Draw the terms of a loss
        array term = ["loss", "masked words", "soft targets", "cosine", "relations"]
        array most[5]
        stats table every ::1 using 1 nooutput
        terms = STATS_columns - 1
        do for [i = 1:terms] {
            stats table every ::1 using (column(i + 1)) nooutput
            most[i] = STATS_max
        }
        set title panel[6:*]
        plot for [i = 1:terms] table every ::1 using 1:(most[i] > 0 ? column(i + 1) : NaN) \
                 with lines linecolor rgb STROKE linewidth 1.5 dashtype i \
                 title (most[i] > 0 ? term[i] : "")
    } else {
        # Choose colours by name
        array hue[blocks + 1]
        others = 0
        do for [i = 1:blocks] {
            stats table index i - 1 every ::::0 using (whose = strcol(1), 0) nooutput
            whose = whose[1:8] eq "distill-" ? whose[9:*] : whose
            known = whose eq "teacher" ? 1 : whose eq "student" ? 2 : 0
            others = others + (known == 0)
            hue[i] = known ? known : 2 + others
        }
    }
    if (panel eq "accuracy") {
        # Draw the accuracy of the validations
        set title "masked words guessed right, %"
        plot for [i = 1:blocks] table index i - 1 using 1:(100 * column(2)) \
                 with linespoints linetype hue[i] pointsize 0.4 title columnheader(1)
    }
    if (panel eq "speed") {
        # Draw the tokens a second
        set title "tokens a second"
        plot for [i = 1:blocks] table index i - 1 using 1:2 \
                 with lines linetype hue[i] title columnheader(1)
    }
    if (panel eq "scores") {
        # Draw the scores
        set title "scores"
        set xtics autofreq
        set xrange [*:*]
        set yrange [*:*]
        set offsets 0.5, 0.5, 0, 0
        spread(i) = blocks > 2 ? 0.6 * ((i - 1.0) / (blocks - 2) - 0.5) : 0
        plot table index 0 every ::1 using 1:3:xtic(2) with points pointsize 0 notitle, \
             for [i = 1:blocks - 1] table index i using ($1 + spread(i)):3 \
                 with points linetype hue[i + 1] pointsize 0.6 title columnheader(1)
    }
}
