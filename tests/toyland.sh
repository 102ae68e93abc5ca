#!/bin/sh
# The command `distil toyland`, as one types it.
distil=${BUILD:-build}/distil
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0
check() { # check NAME COMMAND …: ok if the command succeeds
    name=$1
    shift
    if "$@"; then echo "ok - $name"; else echo "not ok - $name"; failed=1; fi
}
status() { # status N COMMAND …: whether the command exits with N
    want=$1
    shift
    "$@" >"$folder/out" 2>"$folder/err"
    [ $? = "$want" ]
}
check "help is an answer" status 0 "$distil" toyland --help
check "help names the options" grep -q -e --paragraphs "$folder/out"
check "a seed is needed" status 2 "$distil" toyland --out "$folder/data"
check "an unknown option is wrong usage" status 2 "$distil" toyland --out "$folder/data" --seed 1 --rows 5
check "a number is needed" status 1 "$distil" toyland --out "$folder/data" --seed 1 --dev few
check "the option is named" grep -q '^distil: --dev: expected a number, found "few"' "$folder/err"
check "nothing was written so far" [ ! -e "$folder/data" ]
check "it writes" status 0 "$distil" toyland --out "$folder/data" --seed 7 --paragraphs 100 --train 30 --dev 20
check "it says nothing" [ ! -s "$folder/out" -a ! -s "$folder/err" ]
check "all files are there" [ "$(cd "$folder/data" && find . -type f | grep -cv imdb)" = 8 ]
check "all reviews are there" [ "$(find "$folder/data/imdb" -name '*_*.txt' | wc -l)" = 50 ]
check "nothing half-written is left" [ -z "$(find "$folder" -name '*.partial')" ]
: >"$folder/file"
check "a folder that cannot be made is named" status 1 "$distil" toyland --out "$folder/file/data" --seed 1
check "by its name" grep -q "^distil: $folder/file" "$folder/err"
exit $failed
