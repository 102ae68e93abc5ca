#!/bin/sh
# No measured number is typed into a chapter: they all come as {{key}} from values.json or published.json.
# What counts as typed: in the report and in the appendix for those who repeat it every decimal, percentage and number of
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
-measures	2.5 %	what such an interval leaves out at each end
-(methodology|corpus|masked-lm)	15 %	BERT's masking: chosen
-(methodology|corpus|masked-lm)	80 %	BERT's masking: replaced by [MASK]
-(methodology|corpus|masked-lm)	10 %	BERT's masking: replaced by a random token, and as many left alone
.	100 ×	makes a ratio a percentage
.	\frac{100}{K}	makes a ratio a percentage
.	SQuAD 1.1	the name of a data set
.	SHA-256	the name of a hash
END

# the chapters of these two parts of the book, a|b|c
strict=$(awk '/^::: part/ { getline; strict = /^The report$|for those who repeat it$/ }
    strict && !seen[FILENAME]++ { name = FILENAME; sub(/.*\//, "", name); print name }' chapters/*.md | paste -sd '|')

typed() { # typed FILE…: prints "FILE:LINE: NUMBER" for each number that should be a {{key}}
    awk -v allowed="$allowed" -v all_strict="/($strict)$" '
    BEGIN { while ((getline line < allowed) > 0) { split(line, part, "\t"); where[++exempts] = part[1]; exempt[exempts] = part[2] } }
    FNR == 1 { code = math = 0; strict = FILENAME ~ all_strict }
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
    chapter=$(basename chapters/*-"$1".md)
    cp "chapters/$chapter" "$copy"
    printf '\n%s\n' "$2" >>"$copy/$chapter"
    [ -n "$(typed "$copy/$chapter")" ]
}
check "a typed retention is found" finds results "The student keeps 96.4 percent of it."
check "a typed percentage is found" finds introduction "It is 40 % smaller."
check "a typed count is found" finds tables "| teacher | 66,955,010 |"
check "a typed score in a table is found" finds chosen-result "| CoLA | 48.95 |"
check "a typed time in the program's chapters is found" finds results-program "It took 12.5 seconds."
check "a typed share in the program's chapters is found" finds results-program "That is 62 % of the time."
exit $failed
