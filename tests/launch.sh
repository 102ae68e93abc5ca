# What stands before a stage's command: launchers that are not there, their words, how many threads a stage has, signals; and
# the launcher that takes a free GPU.
set -u
unset MAKEFLAGS MAKELEVEL CUDA_VISIBLE_DEVICES LAUNCH RANKED
. tests/check.sh
bin=$folder/bin
mkdir -p "$bin" "$folder/stages"
PATH=$bin:$PATH

# a stage that is always due, and tells what it was given; and launchers
cat >"$folder/program" <<'END'
#!/bin/sh
[ "$1" != due ] || { echo "it is due"; exit; }
[ "$1" != sleep ] || { echo $$ >"$2" && exec sleep 60; }
printf '%s\n' "${OMP_NUM_THREADS:-}" "${TOLD:-}" "$@" >"${0%/*}/told"
END
cat >"$bin/a launcher" <<'END'
#!/bin/sh
printf '%s\n' "$SLURM_JOB_NAME" "$1" "$2" "$3" >"${0%/*}/words"
shift 3
exec "$@"
END
printf '#!/bin/sh\nwhile [ ! -x "$1" ]; do shift; done\nexec "$@"\n' >"$bin/mpirun" # of so many ranks, one
chmod +x "$folder/program" "$bin"/*
: >"$folder/teacher.from"
echo key >"$folder/teacher.key"

due() { # due LAUNCH [ARGUMENT …]: the stage, as make runs it
    echo old >"$folder/stages/teacher.json"
    LAUNCH=$1 && shift
    export LAUNCH
    OMP_NUM_THREADS=7 SLURM_CPUS_PER_TASK=9 exec sh code/due.sh run "$folder/stages/teacher.json" "$folder" \
        "$folder/program" "$@" >"$folder/said" 2>&1
}
launch() { (due "$@") || { cat "$folder/said"; return 1; }; }
refused() { # refused LAUNCH WORDS: in one line, and the old record is there
    ! launch "$1" train && same "$(cat "$folder/said")" "LAUNCH: $2" && same "$(cat "$folder/stages/teacher.json")" old
}
check "a launcher that is not there is refused" refused "nowhere -n1" "expected a program, found nowhere, which is not here"
check "so is one behind variables" refused "ONE=1 TWO='2 3' ./nowhere" "expected a program, found ./nowhere, which is not here"
check "and a quote that does not end" refused "srun -J 'one" "expected a closing quote on the same line, found srun -J 'one"

told() { launch "$1" train "two  words" && same "$(sed 1d "$folder/told")" "$(printf '%s\n' "$2" train "two  words" --key key)"; }
check "a launcher runs the stage" told "nice -n 1" ""
check "blanks are no launcher" told " " ""
check "a variable before it arrives" told "TOLD=\"it's  a \$value; \`here\`\" nice" "it's  a \$value; \`here\`"
check "words are what their quotes say" told "'a launcher' 'one  word' \"it's\" *" ""
check "all of them, and the name of the stage" same "$(cat "$bin/words")" "$(printf '%s\n' teacher 'one  word' "it's" '*')"

threads() { launch "$1" train && same "$(head -n 1 "$folder/told")" "$2"; }
check "a stage that is not launched has the threads that make says" threads "" 7
check "one that is launched has those of its processors" threads "taskset -c 0" 1
check "or of its Slurm task" threads "SLURM_CPUS_PER_TASK=3 SLURM_CPUS_ON_NODE=4 nice" 3
check "or of its share of a machine" threads "SLURM_CPUS_ON_NODE=4 nice" 4
check "or as many as the launcher says" threads "SLURM_CPUS_PER_TASK=3 OMP_NUM_THREADS=5 nice" 5
export RANKED="sh code/ranks.sh 2"
check "ranks share them" threads "SLURM_CPUS_PER_TASK=6 nice" 3
check "and have one at least" threads "taskset -c 0" 1
unset RANKED
tasks() { ! launch "SLURM_STEP_NUM_TASKS=2 nice" train && grep -qx "LAUNCH: expected one task for a stage, as by srun -n1; found 2" "$folder/said"; }
check "several tasks for one stage are refused" tasks

killed() { ! launch "sh -c 'kill -9 \$\$'" train && grep -qx "due: teacher: signal 9 has ended it; the next make goes on with it" "$folder/said"; }
check "a signal that ends a stage is told" killed
until_there() { for try in $(seq 100); do [ ! -s "$1" ] || return 0; sleep 0.05; done; return 1; }
ended() { # ended LAUNCH: whether who ends make's command ends the stage
    rm -f "$folder/pid"
    (due "$1" sleep "$folder/pid") &
    until_there "$folder/pid"
    kill $!
    wait $!
    same $? 143 && ! kill -0 "$(cat "$folder/pid")"
}
check "one that ends make ends the stage" ended ""
check "and a stage that was launched" ended nice

# two GPUs
gpus() { exec sh code/gpu.sh sh -c "$@" >"$gpu" 2>&1; }
check "where there is no GPU, none is taken" sh -c "! CUDA_VISIBLE_DEVICES= sh code/gpu.sh true >'$folder/gpu' 2>&1"
check "in one line" same "$(cat "$folder/gpu")" "gpu: expected a GPU that nvidia-smi -L lists, found none"
one=GPU-test-a-$$ two=GPU-test-b-$$
trap 'rm -rf "$folder" /tmp/distil-$one.lock /tmp/distil-$two.lock' EXIT
printf '#!/bin/sh\necho "GPU 0: Tesla T4 (UUID: %s)"\necho "GPU 1: Tesla T4 (UUID: %s)"\n' $one $two >"$bin/nvidia-smi"
chmod +x "$bin/nvidia-smi"
mkfifo "$folder/end-1" "$folder/end-2"
gpu=$folder/gpu-1 && gpus 'echo $CUDA_VISIBLE_DEVICES && read line <"$0"' "$folder/end-1" &
until_there "$folder/gpu-1"
gpu=$folder/gpu-2 && gpus 'echo $CUDA_VISIBLE_DEVICES && read line <"$0"' "$folder/end-2" &
until_there "$folder/gpu-2"
check "two commands have a GPU each" same "$(cat "$folder/gpu-1" "$folder/gpu-2" | xargs)" "$one $two"
gpu=$folder/gpu-3 && gpus 'echo "$CUDA_VISIBLE_DEVICES $OMP_NUM_THREADS $1"; exit 3' sh "two  words" &
third=$!
sleep 0.3
check "the third waits" test ! -s "$folder/gpu-3"
echo >"$folder/end-2"
wait $third
check "and its status is the command's" same $? 3
half=$(expr "$(nproc)" / 2 '|' 1)
check "it had the one that was free first, and its share of the processors" same "$(cat "$folder/gpu-3")" "$two $half two  words"
(CUDA_VISIBLE_DEVICES=$two && export CUDA_VISIBLE_DEVICES && gpu=$folder/gpu-4 && gpus 'echo $CUDA_VISIBLE_DEVICES $OMP_NUM_THREADS')
check "of GPUs that were chosen, one of these" same "$(cat "$folder/gpu-4")" "$two $(nproc)"
echo >"$folder/end-1"
wait
rm "$bin/nvidia-smi"

# by make: all stages are launched, the benchmark is not
house "$folder/house"
small cola >"$folder/house/tiny.settings"
cd "$folder/house" || exit 1
printf '#!/bin/sh\necho "$SLURM_JOB_NAME" >>launched\nexec "$@"\n' >"$bin/noting" && chmod +x "$bin/noting"
experiment() { make verify PROFILE=tiny.settings BUILD=build NVCC= CHECKED= JOBS=2 "$@" >said 2>&1 || { cat said; return 1; }; }
early() { ! experiment LAUNCH="nowhere -n1" && same "$(grep -c LAUNCH: said)" 1 && same "$(find results build/tiny -type f ! -name '.*.lock')" ""; }
check "make refuses a launcher that is not there before it has data" early
export LAUNCH=noting
check "make has a launcher run its stages" experiment
check "and each says where the run stands" same "$(grep -c '^plan: core, [0-3] of 4 stages done, about .* left$' said)" 4
check "all of them, and not the benchmark" same "$(sort launched | xargs)" \
    "distill-student finetune-cola-student-1 finetune-cola-teacher-1 teacher"
exit $failed
