# Runs that say the same end with the same bits: one that was killed over and over, with SIGKILL at moments of its own and as
# many checkpoints as the disk takes, and one that was left alone; a student that hears its teacher with a share of nothing
# and one that hears none; an ensemble of one and its teacher; a teacher and who has yet to replace all of its layers.
set -u
export OMP_NUM_THREADS=1
. tests/check.sh
settings=tests/fixtures/tiny.settings
[ "${DEVICE:-cpu}" = cpu ] || settings="$settings --run.bits any" # the same bits everywhere are the CPU's promise

$distil toyland --out "$folder/data" --seed 3 --paragraphs 60 --train 60 --dev 40 || exit 1

# tune RUN MODEL NAME [OPTION…]: fine-tune a model for CoLA, or have it replace the layers of one that is
tune() {
    r=$folder/$1 model=$2 name=$3
    shift 3
    $distil finetune --profile $settings --run "$r" --data "$folder/data" --resume --lines --run.device "${DEVICE:-cpu}" \
        --task cola --model "$r/$model" --name "$name" --seed 5 "$@" 2>>"$folder/log"
}

# stages RUN: the four kinds of training, each going on from its checkpoint, as make would call them
stages() {
    run="--profile $settings --run $folder/$1 --data $folder/data --resume --lines --run.device ${DEVICE:-cpu}"
    [ -f "$folder/$1/stages/teacher.json" ] || $distil pretrain $run --teacher scratch 2>>"$folder/log" || return
    [ -f "$folder/$1/stages/distill-student.json" ] || $distil distill $run --student student 2>>"$folder/log" || return
    done="$folder/$1/stages/finetune-cola"
    [ -f "$done-student-5.json" ] || tune "$1" models/student student --out "$folder/$1/models/cola" || return
    [ -f "$done-teacher-5.json" ] || tune "$1" models/teacher teacher --out "$folder/$1/teachers/cola-5" || return
    [ -f "$done-student-twice-5.json" ] || tune "$1" models/student student-twice --out "$folder/$1/models/twice" || return
    [ -f "$done-student-theseus-5.json" ] || tune "$1" teachers/cola-5 student-theseus --out "$folder/$1/models/theseus"
}

# equals_whole RUN: whether everything but times is the same as in the run that was left alone
equals_whole() {
    for file in models/teacher/model.safetensors models/student/model.safetensors models/cola/model.safetensors \
        models/twice/model.safetensors models/theseus/model.safetensors predictions/cola-student-5.tsv \
        predictions/cola-student-twice-5.tsv predictions/cola-student-theseus-5.tsv; do
        cmp "$folder/whole/$file" "$folder/$1/$file" || return 1
    done
    for curve in teacher teacher-validation distill-student finetune-cola-student-5 finetune-cola-student-twice-5 \
        finetune-cola-student-theseus-5; do
        # the last column of a training curve is tokens per second
        for r in whole "$1"; do
            case $curve in
            *-validation) cat "$folder/$r/curves/$curve.tsv" ;;
            *) sed 's/\t[^\t]*$//' "$folder/$r/curves/$curve.tsv" ;;
            esac >"$folder/$r.curve"
        done
        cmp "$folder/whole.curve" "$folder/$1.curve" || return 1
    done
}

stages whole || { cat "$folder/log"; exit 1; }
check "a run tells what it left out" grep -q '"train corpus wiki.train.tokens: the first [0-9],[0-9]* of [0-9],[0-9]* tokens"' \
    "$folder/whole/stages/teacher.json"
stages again
check "the same seed gives the same bits" equals_whole again

# killed over and over, each time a little later, in a step or half-way through a checkpoint; sooner, if it was done before
kill_over_and_over() { # kill_over_and_over HUNDREDTHS: counts in $kills; the first time after so many hundredths of a second
    kills=0 delay=$1
    rm -rf "$folder/killed"
    while [ $kills -le 24 ]; do
        stages killed &
        shell=$!
        sleep "$((delay / 100)).$(printf %02d $((delay % 100)))"
        for try in 1 2 3 4 5 6 7 8 9; do # one stage may just have ended and the next not begun
            pkill -KILL -f -- "--run $folder/killed" && kills=$((kills + 1)) && break
            sleep 0.01
        done
        wait $shell && return
        delay=$((delay + 2))
    done
    stages killed
}
kills=0 first=${DELAY:-8} # DEVICE=cuda takes longer to begin
while [ $kills -le 2 ] && [ $first -gt 0 ]; do
    kill_over_and_over $first
    first=$((first / 2))
done
check "killed $kills times, the bits are the same" equals_whole killed
check "it was killed more than twice" test $kills -gt 2
check "no checkpoint is left behind" same "$(ls "$folder/whole/checkpoints" 2>/dev/null)" ""

# bits MODEL SAID: the last fine-tuning of MODEL, and one that this file was kept of
bits() { cmp "$folder/whole/predictions/cola-$1-5.tsv" "$2"; }
differ() { ! bits "$@"; }
said=$folder/whole/predictions
check "a second distillation changes what is said" differ student "$said/cola-student-twice-5.tsv"
cp "$said/cola-student-twice-5.tsv" "$folder/twice.tsv"
tune whole models/student student-ensemble --finetune.seeds 5 --student-ensemble.teachers 1
check "an ensemble of one teaches what its teacher does" bits student-ensemble "$folder/twice.tsv"
tune whole models/student student-twice --student-twice.soft 0
check "a teacher with no share in the loss teaches nothing" bits student-twice "$said/cola-student-5.tsv"
tune whole teachers/cola-5 student-theseus --student-theseus.layers "0 1" --student-theseus.epochs 0
check "who would replace all layers begins as the teacher" bits student-theseus "$said/cola-teacher-5.tsv"
exit $failed
