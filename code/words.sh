# Tangled from chapters/49-start.md; edit there.
# usage: sh code/words.sh TEXT
# Prints the words of TEXT, --SECTION.SETTING VALUE and so on, each quoted for a shell.
# A word with spaces stands in quotes in TEXT; a backslash outside of quotes takes the
# meaning from what follows. Exits with 1, saying why, on any other text.
set -u
words=$(printf '%s\n' "$1" | xargs -r printf '%s\n' 2>/dev/null && echo end) || {
    echo "SET: expected a closing quote on the same line, found $1" >&2
    exit 1
}
printf '%s\n' "$words" | awk -v quote="'" '
    NR > 1 { word[NR - 1] = last }
    { last = $0 }
    function refuse(what) { print "SET: expected " what >"/dev/stderr"; exit 1 }
    END {
        # Print each setting with its value, quoted
        for (i = 1; i < NR; i += 2) {
            if (word[i] !~ /^--[A-Za-z0-9_-]+[.][A-Za-z0-9_-]+$/)
                refuse("--SECTION.SETTING VALUE, found " word[i])
            if (i + 1 == NR)
                refuse("a value after " word[i])
            gsub(quote, quote "\\" quote quote, word[i + 1])
            all = all word[i] " " quote word[i + 1] quote "\n"
        }
        printf "%s", all
    }'
