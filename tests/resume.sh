# A run that was killed and went on ends with the same bits as one that was left alone.
# Once it is killed at fixed steps, once with SIGKILL at moments of its own, checkpoints being written at every step.
set -u
export OMP_NUM_THREADS=1
. tests/check.sh
settings=tests/fixtures/tiny.settings

$distil toyland --out "$folder/data" --seed 3 --paragraphs 60 --train 60 --dev 40 || exit 1

# stages RUN: the three kinds of training, each going on from its checkpoint, as make would call them
stages() {
    run="--profile $settings --run $folder/$1 --data $folder/data --resume --lines --run.device ${DEVICE:-cpu}"
    [ -f "$folder/$1/stages/teacher.json" ] || $distil pretrain $run --teacher scratch 2>>"$folder/log" || return
    [ -f "$folder/$1/stages/distill-student.json" ] || $distil distill $run --student student 2>>"$folder/log" || return
    [ -f "$folder/$1/stages/finetune-cola-student-5.json" ] ||
        $distil finetune $run --task cola --model "$folder/$1/models/student" --name student --seed 5 \
            --out "$folder/$1/models/cola" 2>>"$folder/log"
}

# equals_whole RUN: whether everything but times is the same as in the run that was left alone
equals_whole() {
    for file in models/teacher/model.safetensors models/student/model.safetensors models/cola/model.safetensors \
        predictions/cola-student-5.tsv; do
        cmp "$folder/whole/$file" "$folder/$1/$file" || return 1
    done
    for curve in teacher teacher-validation distill-student finetune-cola-student-5; do
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

# killed over and over, each time a little later, in a step or half-way through a checkpoint
kills=0 delay=${DELAY:-5} # in hundredths of a second: DEVICE=cuda takes longer to begin
while :; do
    stages killed &
    shell=$!
    sleep "$((delay / 100)).$(printf %02d $((delay % 100)))"
    pkill -KILL -f -- "--run $folder/killed" && kills=$((kills + 1))
    wait $shell && break
    delay=$((delay + 2))
    if [ $kills -gt 12 ]; then
        stages killed
        break
    fi
done
check "killed $kills times, the bits are the same" equals_whole killed
check "it was killed more than twice" test $kills -gt 2
check "no checkpoint is left behind" same "$(ls "$folder/whole/checkpoints" 2>/dev/null)" ""
exit $failed
