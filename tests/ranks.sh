# Ranks by Open MPI, where it is: a distillation by two, with the same bits each time; one of them killed; what is refused in
# one line. tests/ranks.c has the same without MPI.
set -u
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_btl=^tcp OMPI_MCA_orte_execute_quiet=1 # all ranks are on this machine
unset MAKEFLAGS MAKELEVEL
. tests/check.sh

# Open MPI 5 cannot be kept quiet: it says between two rules what was said already
mpirun --version 2>/dev/null | grep -q ' 5[.]' && twice='/^-----/,/^-----/d; /^$/d' || twice=
# refused TEXT COMMAND …: whether the command ends with 1, one line that has the text, and nothing in the run's folder
refused() {
    text=$1
    shift
    rm -rf "$folder/none"
    "$@" >"$folder/out" 2>&1
    same $? 1 && grep -qF -- "$text" "$folder/out" && same "$(sed "$twice" "$folder/out" | wc -l)" 1 &&
        same "$(find "$folder/none" -type f 2>/dev/null)" "" || { cat "$folder/out"; return 1; }
}

# options RUN OPTION …: those of a distillation
options() {
    r=$folder/$1
    shift
    echo "--profile tests/fixtures/tiny.settings --run $r --data $folder/data --teacher $folder/teacher/models/teacher" \
        "--student student --lines --corpus.train-tokens 1484 $*"
}
ranks() { sh code/ranks.sh 2 "$distil" distill $(options "$@"); }

check "ranks are more than none" refused "--ranks: expected 1 or more" "$distil" distill --ranks 0 $(options none)
if ! ldd "$distil" | grep -q libmpi; then
    check "a program without MPI says so" refused "--ranks: this program was built without MPI, which 2 ranks need" ranks none
    echo "ok - Open MPI is not here, and no ranks speak by it"
    exit $failed
fi
check "ranks that nobody has started are refused" refused "--ranks: expected 2 processes, started by mpirun -n 2; found 1" \
    "$distil" distill --ranks 2 $(options none)
if ! command -v mpirun >/dev/null; then
    echo "ok - mpirun is not here, and no ranks speak by it"
    exit $failed
fi

$distil toyland --out "$folder/data" --seed 3 --paragraphs 60 --train 60 --dev 40 || exit 1
$distil pretrain --profile tests/fixtures/tiny.settings --run "$folder/teacher" --data "$folder/data" --teacher scratch --lines \
    2>"$folder/log" || { cat "$folder/log"; exit 1; }
check "what all ranks meet is said once" refused "expected the train corpus there: nowhere" ranks none --corpus.train nowhere
check "a batch that they cannot share is refused" refused "expected a batch that 2 ranks can share evenly, found 7" \
    ranks none --distill.batch 7
check "another number than was started is refused" refused "--ranks: expected 3 processes, started by mpirun -n 3; found 2" \
    mpirun -n 2 --map-by slot:OVERSUBSCRIBE "$distil" distill --ranks 3 $(options none)

# equal FOLDER OTHER: whether two runs left the same but for the clock's times
equal() {
    cmp "$folder/$1/models/student/model.safetensors" "$folder/$2/models/student/model.safetensors" &&
        same "$(cd "$folder/$1" && find . -type f | sort)" "$(cd "$folder/$2" && find . -type f | sort)"
}
check "two ranks distil" ranks two --distill.epochs 6
check "with the same bits each time" ranks again --distill.epochs 6
check "and the same files" equal two again
check "and say how many they were" grep -q '"ranks": 2' "$folder/two/stages/distill-student.json"
check "one rank does the same in halves" run 0 distill $(options one --distill.epochs 6 --distill.batch 4 --distill.accumulate 2)
# the loss of each step, and the number of its tokens
near() {
    paste "$folder/one/curves/distill-student.tsv" "$folder/two/curves/distill-student.tsv" | awk -F '\t' '
        NR > 1 && ($1 != $10 || $2 != $11 || ($3 - $12) ^ 2 > (2e-5 * $3) ^ 2) { print; bad = 1 } END { exit bad || NR != 49 }'
}
check "and sees the same losses" near

# one rank is killed after some checkpoints
dies() {
    ranks killed --distill.epochs 60 --resume >"$folder/said" 2>&1 &
    running=$!
    for try in $(seq 1000); do # a hundredth of the steps; the curve is saved with the checkpoint
        [ "$(tail -n 1 "$folder/killed/curves/distill-student.tsv" 2>/dev/null | cut -f 1)" -ge 10 ] 2>/dev/null && break
        sleep 0.01
    done
    kill -9 "$(pgrep -f "^$distil distill .*--run $folder/killed " | tail -n 1)" || return 1
    began=$(date +%s)
    wait $running
    same $? 1 && grep -q "^ranks: distill: signal 9 has ended one of 2 ranks" "$folder/said" || { cat "$folder/said"; return 1; }
    [ $(($(date +%s) - began)) -le 5 ] && same "$(pgrep -f "^$distil distill .*--run $folder/killed ")" ""
}
check "a rank that is killed ends the other, with a word, within seconds" dies
check "the checkpoint that it leaves is whole" ranks killed --distill.epochs 60 --resume
check "which is where they go on" sh -c '! grep -q "of no use" "$1" && ! grep -q "  0 %" "$1"' sh "$folder/log"
check "to the same files" ranks whole --distill.epochs 60
check "and bits" equal whole killed

# make has ranks train a stage, and takes what they left for what one would have left
house "$folder/house"
small cola >"$folder/house/tiny.settings"
cd "$folder/house" || exit 1
stage() { make results/tiny/stages/teacher.json PROFILE=tiny.settings BUILD=build NVCC= "$@" >said 2>&1 || { cat said; return 1; }; }
check "make has data" make data PROFILE=tiny.settings BUILD=build NVCC=
check "and two ranks train" stage RANKS=2 V=1
check "by mpirun" grep -q "code/ranks.sh 2" said
check "one rank has nothing to do then" stage
check "and does nothing" sh -c '! grep "^due" said'
wrong() { ! stage RANKS="$1" && same "$(grep -c RANKS said)" 1 && grep -q "RANKS: expected .*, found $1" said; }
check "ranks are a number" wrong two
check "and nothing that a shell would run" wrong '2;touch here2'
exit $failed
