# Little address space (ulimit -v) ends in a message, never in a program that hangs: at each limit it says what it needs, or
# works.
set -u
. tests/check.sh
"$distil" toyland --out "$folder/data" --seed 3 --paragraphs 60 --train 60 --dev 40 || exit 1

train() { # train KILOBYTES THREADS [OPTION VALUE…]: what it says stays in `said`
    kilobytes=$1 threads=$2
    shift 2
    rm -rf "$folder/run"
    (
        ulimit -v "$kilobytes"
        OMP_NUM_THREADS=$threads exec timeout 60 "$distil" pretrain --profile tests/fixtures/tiny.settings --run "$folder/run" \
            --data "$folder/data" --teacher scratch --lines "$@"
    ) >"$folder/said" 2>&1
}
said() { cat "$folder/said"; grep -q "$1" "$folder/said"; }
refused() { # refused KILOBYTES THREADS: with both numbers, in one line
    train "$@"
    same $? 1 && said "^distil: memory: expected [0-9]* MB of address space for $2 threads, found a limit of $(($1 * 1024 / 1000000));" &&
        same "$(wc -l <"$folder/said")" 1
}
# with much less than the first of these, the libraries of some systems cannot be loaded, and the program never begins
for kilobytes in 100000 200000 300000 330000 400000 500000; do
    check "$kilobytes kB are refused" refused $kilobytes 2
done
for threads in 1 2 3 4; do
    check "$((threads * 140000 + 400000)) kB are enough for $threads threads" train $((threads * 140000 + 400000)) $threads
done
larger() { ! train 900000 2 --teacher.width 768 --teacher.heads 12 --teacher.inner 3072 --teacher.layers 12 &&
    said '^distil: memory: this run needs [0-9]* bytes and the machine has [0-9]* left; lower \|^distil: memory: [0-9]* bytes could not be had$'; }
check "a model that would fit the machine, but not the limit, is refused" larger
exit $failed
