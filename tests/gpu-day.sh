# gpu-day.sh PART …: what only a GPU can show, on a machine without make, headers, pandoc or a network.
#
# Run it in the folder that `make gpu-bundle` packed, with a CUDA driver, and where PyTorch and NVIDIA's tools are, with
# them. Each step has a time limit and a log of its own in build/gpu-day; a step that fails stops none of the others. The
# last lines are a summary, a line for each step.
#
#   right     every test of the kernels, from native code and from PTX; models of base size in fp16, in fp32 and in PyTorch
#   resumed   runs that are killed over and over, and go on
#   fast      the steps of training beside PyTorch's, the rate of large products, each kernel's time
#   experiments   the stages of the profiles that were packed; results/ is to be taken home
#   checked   the checkers of memory, races, barriers and reads, on the project's own kernels
set -u
logs=$PWD/build/gpu-day
work=$logs/work # models and data, which nobody takes home
data=$PWD/data
mkdir -p "$logs" "$work"
if [ -z "${GPU_DAY:-}" ]; then
    torch=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))' 2>/dev/null)
    for folder in "$PWD/lib" /usr/local/cuda/lib64 ${torch:+"$torch"/../nvidia/*/lib}; do
        LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
    done
    export LD_LIBRARY_PATH PATH="$PATH:/usr/local/cuda/bin" DISTIL_CACHE="$work/tokens" GPU_DAY=1
fi

# step NAME SECONDS COMMAND …: runs it, which may be a function of this file, under the limit and with a log
step() {
    name=$1 limit=$2
    shift 2
    began=$(date +%s)
    timeout -k 5 "$limit" sh tests/gpu-day.sh "do" "$@" >"$logs/$name.log" 2>&1
    status=$?
    [ $status = 0 ] && said=ok || said="FAILED ($status)"
    echo "$(($(date +%s) - began)) s  $name  $said" >>"$logs/summary"
    [ $status = 0 ]
}

# The data that are packed are unpacked once.
unpack() {
    for archive in "$data"/*.xz "$data"/*/*.xz; do
        [ -f "$archive" ] || continue
        case $archive in
        *.tar.xz) tar -xJf "$archive" -C "${archive%/*}" ;;
        *) xz -dk "$archive" ;;
        esac && rm "$archive"
    done
}

# Is it right? -------------------------------------------------------------------------------------------------------

# each COMMAND LOG: the command with each test of tests/cuda.c, in a process of its own, eight at a time; fails if one does
each() {
    sed -n 's/.*TEST(\([a-z_0-9]*\))[,}].*/\1/p' tests/cuda.c | sort -u |
        CMOCKA_MESSAGE_OUTPUT=TAP OMP_NUM_THREADS=1 xargs -P 8 -I NAME sh -c \
            'timeout 100 $0 NAME >"$1.NAME" 2>&1 && grep -q "^ok" "$1.NAME" || { cat "$1.NAME"; echo "not ok - NAME"; exit 1; }
             echo "ok - NAME"' "$1" "$logs/test-$2"
}

# tests BINARY DEVICE: each test, with what the library has to say
tests() {
    CUBLASLT_LOG_LEVEL=2 each "$1 $2" "$(basename "$1")-$2"
}

# base FOLDER DEVICE: a BERT of base size that learns for 200 steps
base() {
    build/distil pretrain --profile code/full.settings --run "$work/$1" --data "$data" --teacher scratch --lines \
        --run.device "$2" --run.checkpoint 0 --corpus.validation-tokens 2000 \
        --teacher.train wikitext-2/wiki.train.tokens --teacher.batch 16 --teacher.accumulate 1 --teacher.epochs 0.135
}

# student FOLDER: its student, for 300 steps
student() {
    build/distil distill --profile code/full.settings --run "$work/$1" --data "$data" --student student --lines \
        --run.device cuda --run.checkpoint 0 --corpus.validation-tokens 2000 --distill.epochs 0.2
}

# curves: the largest difference between the two curves of losses, as means of twenty steps, relative; more than 1 % fails.
# Step by step they agree to 1e-5 at first; then rounding has grown, as it does in training, and single batches differ.
curves() {
    paste "$work/base/curves/teacher.tsv" "$work/base32/curves/teacher.tsv" | awk '
        NR == 1 { most = 0; for (i = 1; i <= NF; i++) if ($i == "loss") column[++n] = i; next }
        { a += $column[1]; b += $column[2] }
        NR % 20 == 1 { off = (a - b) / b; if (off < 0) off = -off; if (!(off <= most)) most = off; a = b = 0 }
        END { print NR - 1 " rows, largest difference " most; exit !(most <= 0.01) }'
}

# parity DEVICE: hidden states, logits and gradients of base size beside PyTorch in double precision
parity() {
    python3 tests/reference/parity.py base "$work/base/models/teacher" "$work/base/models/student" build/distil "$1"
}

linked() {
    ldd build/distil build/tests/*
    ! ldd build/distil build/tests/* | grep "not found"
}

resume() {
    DEVICE=cuda DELAY=150 sh tests/resume.sh >"$work/resume" 2>&1
    cat "$work/resume"
    grep -q '^ok' "$work/resume" && ! grep -q '^not ok' "$work/resume"
}

right() {
    step device 20 nvidia-smi
    step libraries 20 linked
    step tests-fp32 120 tests build/tests/cuda-gpu cuda-fp32
    step tests-fp16 120 tests build/tests/cuda-gpu cuda
    step base-fp16 120 base base cuda
    step base-student 120 student base
    step ptx-fp16 200 tests build/tests/cuda-gpu-ptx cuda & # nothing is timed here, so it may run side by side
    step ptx-fp32 200 tests build/tests/cuda-gpu-ptx cuda-fp32 &
    { step base-fp32 120 base base32 cuda-fp32 && step curves 10 curves; } &
    step parity-fp16 150 parity cuda &
    step parity-fp32 150 parity cuda-fp32 &
    step compiled 400 compiled &
    wait
}

resumed() {
    step resume 250 resume
}

# Is it fast? --------------------------------------------------------------------------------------------------------

# bench BATCH NAME: the steps of training beside PyTorch's two recipes, the models being those of `right`. MRPC is cut to
# twenty rows, because a pass over it on the processor is not what is asked for here.
bench() {
    few=$work/few-$2-$1 run=$work/$2-$1
    rm -rf "$few" "$run" && mkdir -p "$few/glue" "$run" && cp -r "$data/glue/MRPC" "$data"/wikitext-2* "$data/bert-base-uncased" "$few" &&
        mv "$few/MRPC" "$few/glue" && ln -s "$work/base/models" "$run/models" || return
    head -n 21 "$data/glue/MRPC/mrpc_dev_ids.tsv" >"$few/glue/MRPC/mrpc_dev_ids.tsv"
    TORCHINDUCTOR_CACHE_DIR=$work/inductor python3 tests/reference/bench.py --rounds 1 --no-pass --run "$run" \
        --teacher "$work/base/models/teacher" -- \
        build/distil bench --profile code/full.settings --run "$run" --data "$few" --student student \
        --model "$work/base/models/teacher" --full code/full.settings --published chapters/published.json \
        --run.device cuda --finetune.tasks "mrpc" --distill.batch "$1" --finetune.batch "$1" || return
    cp "$run/bench.json" "$logs/$2-$1.json"
}

# compiled: what PyTorch's compiler makes of the recipes takes minutes, and is kept. So it is made beside what is not timed.
compiled() {
    bench 16 compiled && bench 64 compiled
}

# kernels: the time of each kernel of a step of distillation, one after the other
kernels() {
    ncu --clock-control none --cache-control none --metrics gpu__time_duration.sum --csv --launch-skip "$1" --launch-count "$2" \
        build/distil distill --profile code/full.settings --run "$work/base" --data "$data" --student student-paper --lines \
        --run.device cuda --run.checkpoint 0 --corpus.validation-tokens 200 --distill.epochs 0.01
}

benches() {
    step bench-16 300 bench 16 bench
    step bench-64 300 bench 64 bench
}

fast() {
    benches
    step kernels 100 kernels 3000 1000
}

# Is it clean? -------------------------------------------------------------------------------------------------------

# checker TOOL DEVICE: each test on the project's own kernels; the library's are known to raise false alarms, or to end the
# checker. The tests ask for more memory than there is, and see that they are refused: such answers are no faults.
checker() {
    only="--kernel-name kns=_kernel" # older ones call it --filter
    compute-sanitizer --help | grep -q -e --kernel-name || only="--filter kns=_kernel"
    compute-sanitizer --help | grep -q -e --kernel-name-exclude && only="$only --kernel-name-exclude kns=cublas"
    each "compute-sanitizer --tool $1 $only --report-api-errors no --error-exitcode 9 ${BUILD:-build}/tests/cuda-gpu $2" "$1"
}

checked() {
    for tool in memcheck racecheck synccheck initcheck; do
        step "$tool" 250 checker "$tool" cuda &
    done
    wait
}

# Is it true? --------------------------------------------------------------------------------------------------------

# stage NAME KEY COMMAND OPTION …: one stage of the profile NAME, as make would call it
stage() {
    profile=$1 key=keys/$1/$2.key command=$3
    shift 3
    OMP_NUM_THREADS=2 build/distil "$command" --profile "settings/$profile.settings" --run "results/$profile" --data data \
        --resume --lines --key "$(cat "$key")" "$@"
}

# experiment NAME LANES: all stages of a profile, so many side by side. Small models leave most of a GPU idle; where NVIDIA's
# daemon for it can be had, the kernels of several processes run at the same time instead of in turns.
experiment() {
    if command -v nvidia-cuda-mps-control >/dev/null; then
        export CUDA_MPS_PIPE_DIRECTORY="$work/mps" CUDA_MPS_LOG_DIRECTORY="$work/mps"
        mkdir -p "$work/mps"
        nvidia-cuda-mps-control -d # if it is there already, it stays
    fi
    missed=0
    for kind in pretrain 'distill\|finetune.* --name teacher' 'finetune.* --name [^t]'; do
        grep " \($kind\)" "stages/$1" | xargs -P "$2" -L 1 sh tests/gpu-day.sh "do" stage "$1" || missed=1
        echo "$1: $kind done at $(date +%T)"
    done
    return $missed
}

experiments() {
    for list in stages/*; do
        step "experiment-${list#*/}" 86400 experiment "${list#*/}" 12
    done
    if [ -e "$work/mps/nvidia-cuda-mps-control.pid" ]; then
        echo quit | CUDA_MPS_PIPE_DIRECTORY=$work/mps nvidia-cuda-mps-control
    fi
}

[ $# -gt 0 ] || set -- right
if [ "$1" = "do" ]; then
    shift
    "$@"
    exit
fi
unpack
for part; do
    "$part"
done
cat "$logs/summary"
! grep -q FAILED "$logs/summary"
