#!/bin/sh
# The command `distil toyland`, as one types it.
. tests/check.sh
check "help is an answer" run 0 toyland --help
check "help names the options" grep -q -e --paragraphs "$folder/out"
check "a seed is needed" run 2 toyland --out "$folder/data"
check "an unknown option is wrong usage" run 2 toyland --out "$folder/data" --seed 1 --rows 5
check "a number is needed" run 1 toyland --out "$folder/data" --seed 1 --dev few
check "the option is named" grep -q '^distil: --dev: expected a number, found "few"' "$folder/err"
check "nothing was written so far" [ ! -e "$folder/data" ]
check "it writes" run 0 toyland --out "$folder/data" --seed 7 --paragraphs 100 --train 30 --dev 20
check "it says nothing" [ ! -s "$folder/out" -a ! -s "$folder/err" ]
check "all files are there" [ "$(cd "$folder/data" && find . -type f | grep -cv imdb)" = 8 ]
check "all reviews are there" [ "$(find "$folder/data/imdb" -name '*_*.txt' | wc -l)" = 50 ]
check "nothing half-written is left" [ -z "$(find "$folder" -name '*.partial')" ]
: >"$folder/file"
check "a folder that cannot be made is named" run 1 toyland --out "$folder/file/data" --seed 1
check "by its name" grep -q "^distil: $folder/file" "$folder/err"
exit $failed
