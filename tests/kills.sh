# An experiment that is killed at random moments ends as one that was left alone, bit for bit: every file of the results but
# what a clock measured, and the PDF. `make test` kills a few times, on a small experiment and its summary; what a report goes
# through from an empty folder, compiler and whole book included, takes minutes: KILLS=50 WHOLE=1 sh tests/kills.sh.
set -u
export OMP_NUM_THREADS=1
unset MAKEFLAGS MAKELEVEL
. tests/check.sh
kills=${KILLS:-6} whole=${WHOLE:-} seed=${SEED:-1}

tree() { # tree NAME: a tree of its own, with the program built unless it is part of the test
    house "$folder/$1"
    mkdir "$folder/$1/tests" "$folder/$1/build/tiny" && cp tests/*.c tests/*.h "$folder/$1/tests"
    grep -oh '{{check\.[^}]*}}' chapters/*.md | sed 's/[{}]//g; s/$/\t0/' | sort -u >"$folder/$1/build/tiny/checks.tsv"
    if [ -n "$whole" ]; then
        rm "$folder/$1"/build/*.* "$folder/$1/build/distil" "$folder/$1/build/tangle"
        find "$folder/$1/code" -name '*.c' ! -name tangle.c -delete
        cp tests/fixtures/tiny.settings "$folder/$1"
    else
        rm "$folder/$1/build/batch.o" "$folder/$1/build/tangle" # so something is left to be compiled
        small cola >"$folder/$1/tiny.settings"
    fi
}

# its processes are a group of their own, whose number is in the file `group`
experiment() {
    setsid --wait sh -c 'echo $$ >group; exec make "$@" PROFILE=tiny.settings BUILD=build NVCC= CHECKED=' sh "$@" >>said 2>&1
}

# killed TARGET KILLS HUNDREDTHS: makes it, and kills make and all that it has started so many times, each time after a part
# of this time that a sequence of numbers chooses; by turns at once and by a request that tools may answer
killed() {
    left=$2 status=1
    while [ "$left" -gt 0 ] && [ $status != 0 ]; do
        seed=$(((seed * 1103515245 + 12345) % 2147483648))
        delay=$((seed / 65536 % $3 + 1)) signal=KILL
        [ $((left % 2)) = 0 ] || signal=TERM
        experiment "$1" &
        maker=$!
        sleep "$((delay / 100)).$(printf %02d $((delay % 100)))"
        kill -s $signal -- -"$(cat group)" && left=$((left - 1)) count=$((count + 1))
        wait $maker
        status=$?
        echo "after $delay hundredths: SIG$signal, $(tail -n 1 said)" >>moments
        find build code figures results -type f -empty ! -name '*.new' ! -name '*.partial' ! -name '*.log' ! -name '*.txt' ! -name '*.aux' \
            ! -name '*.toc' ! -name '*.out' >>empty
    done
    [ $status = 0 ] || experiment "$1"
}

# what a clock measured is no part of the comparison: speeds, times, memory
measured='s/\t[^\t]*$//'
timeless() { sed '/^  "\(seconds\|memory\|finished\|sum\)":/d; /^    "curves\//d' "$1"; }
equals_whole() { # equals_whole FOLDER: whether what the two runs left there is the same
    (cd "$folder/alone/results/tiny" && find $1 -type f | LC_ALL=C sort) >"$folder/files"
    (cd "$folder/$dead/results/tiny" && find $1 -type f | LC_ALL=C sort) | diff "$folder/files" - || return 1
    while read -r file; do
        for tree in alone "$dead"; do
            case $file in
            *-validation.tsv) cat "$folder/$tree/results/tiny/$file" ;;
            curves/*) sed "$measured" "$folder/$tree/results/tiny/$file" ;;
            *.json) timeless "$folder/$tree/results/tiny/$file" ;;
            *) cat "$folder/$tree/results/tiny/$file" ;;
            esac >"$folder/$tree.part"
        done
        cmp "$folder/alone.part" "$folder/$dead.part" || { echo "$file"; return 1; }
    done <"$folder/files"
}

count=0
if [ -n "$whole" ]; then book=weave early=$((kills * 3 / 4)) late=$((kills / 4)); else book=results/tiny/summary.pdf early=$((kills - 2)) late=2; fi
dead="it's \"Größe\" & \$HOME" # a path may be anything
tree alone && tree "$dead"
cd "$folder/alone" || exit 1
began=$(date +%s%N)
check "an experiment is left alone" experiment verify
took=$((($(date +%s%N) - began) / 10000000))
began=$(date +%s%N)
check "and woven" experiment $book
weaving=$((($(date +%s%N) - began) / 10000000))

cd "$folder/$dead" || exit 1
check "another ends, though it is killed" killed verify "$early" $((took * 3 / (early + 1) + 200))
check "with the same models, curves, predictions and records" equals_whole "models curves predictions stages"
# from here on both have the same clock
for file in bench.json bench stages curves; do rm -rf results/tiny/$file && cp -r "$folder/alone/results/tiny/$file" results/tiny; done
check "the same experiment is not run again for having been copied" sh -c '
    make verify PROFILE=tiny.settings BUILD=build NVCC= CHECKED= >again 2>&1 && ! grep "^due" again'
check "its book is woven, though that is killed" killed $book "$late" $((weaving * 3 / (late + 1) + 50))
for pdf in summary.pdf ${whole:+report.pdf}; do
    check "$pdf is the same, after $count kills" cmp "$folder/alone/results/tiny/$pdf" results/tiny/$pdf
done
check "so are tables, figures and values" equals_whole "tables figures values.json summary.json verdicts.json"
check "no file was ever there before it was whole" same "$(cat empty)" ""
[ -z "$whole" ] || cat moments
exit $failed
