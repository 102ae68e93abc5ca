#!/bin/sh
# No measured number is typed into a chapter: they all come as {{key}} from values.json or published.json.
# What counts as typed: in the report and the appendices (chapters 0* and 9*) every decimal, percentage and number of
# three digits or more; in the rest of the book every percentage and every number with a unit of measurement.
# Looked at is what a reader reads: not code, not keys, not the lines that open a ::: block, not the formulas of the program.

# A number that is typed on purpose is a choice of the design or somebody else's definition: the chapters that may hold
# it (a regular expression), the text, and why.
. tests/check.sh
allowed=$folder/allowed
cat >"$allowed" <<'END'
.	95 % interval	the level of all intervals
.	95 % percentile	the level of all intervals
.	95 % bootstrap	the level of all intervals
55-measures	2.5 %	what such an interval leaves out at each end
03-|31-|45-	15 %	BERT's masking: chosen
03-|31-|45-	80 %	BERT's masking: replaced by [MASK]
03-|31-|45-	10 %	BERT's masking: replaced by a random token, and as many left alone
.	100 ×	makes a ratio a percentage
.	\frac{100}{K}	makes a ratio a percentage
.	SQuAD 1.1	the name of a data set
.	SHA-256	the name of a hash
END

typed() { # typed FILE…: prints "FILE:LINE: NUMBER" for each number that should be a {{key}}
    awk -v allowed="$allowed" '
    BEGIN { while ((getline line < allowed) > 0) { split(line, part, "\t"); where[++exempts] = part[1]; exempt[exempts] = part[2] } }
    FNR == 1 { code = math = 0; strict = FILENAME ~ /\/[09][0-9]-/ }
    /^ *```/ { code = !code; next }
    code || /^:::/ { next }
    /^\$\$/ { math = !math; next }
    math && !strict { next }
    {
        text = $0
        gsub(/`[^`]*`/, "", text); gsub(/[{][{][^}]*[}][}]/, "KEY", text); gsub(/[{]#[^}]*[}]/, "", text)
        if (!strict) gsub(/\$[^$]*\$/, "", text)
        gsub(/\[@[^\]]*\]/, "", text); gsub(/<https?:[^>]*>/, "", text)
        for (i = 1; i <= exempts; i++)
            while (FILENAME ~ where[i] && (at = index(text, exempt[i]))) text = substr(text, 1, at - 1) substr(text, at + length(exempt[i]))
        unit = "(%|percent|seconds?|minutes?|hours?|ms|points|[kMGT]?FLOP|[kMGT]B\\/s|tokens per second|times (faster|slower))"
        number = strict ? "([0-9]+\\.[0-9]+|[0-9][0-9,]*[0-9][0-9]|[0-9]+ ?" unit ")" : "[0-9][0-9.,]* ?" unit "([^a-z]|$)"
        while (match(text, number)) {
            print FILENAME ":" FNR ": " substr(text, RSTART, RLENGTH)
            text = substr(text, RSTART + RLENGTH)
        }
    }' "$@"
}

none_typed() { found=$(typed chapters/*.md); [ -z "$found" ] || { echo "$found"; return 1; }; }
check "no chapter holds a measured number" none_typed

# a test that cannot fail proves nothing: type numbers into a copy, and they must be found
copy=$folder/copy
mkdir "$copy"
finds() { # finds CHAPTER LINE: the line, appended to a copy of the chapter, is reported
    cp "chapters/$1" "$copy/$1"
    printf '\n%s\n' "$2" >>"$copy/$1"
    [ -n "$(typed "$copy/$1")" ]
}
check "a typed retention is found" finds 04-results.md "The student keeps 96.4 percent of it."
check "a typed percentage is found" finds 01-introduction.md "It is 40 % smaller."
check "a typed count is found" finds 65-tables.md "| teacher | 66,955,010 |"
check "a typed score in a table is found" finds 02-chosen-result.md "| CoLA | 48.95 |"
check "a typed time in the program's chapters is found" finds 51-results-program.md "It took 12.5 seconds."
check "a typed share in the program's chapters is found" finds 51-results-program.md "That is 62 % of the time."
exit $failed
