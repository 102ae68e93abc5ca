# The GPU's kernels beside a cuBLASLt that refuses more, or rounds otherwise, than the harness's usual one (tests/cuda/cublasLt.h
# has the words): every operation and model, in fp16.
set -u
. tests/check.sh
refuses() { CUBLASLT_HOSTILE="unit bias absent" "${BUILD:-build}/tests/cuda" cuda; }
sized() { CUBLASLT_HOSTILE="unit bias absent" "${BUILD:-build}/tests/dry"; }
rounds() { CUBLASLT_HOSTILE="rounds truncates" "${BUILD:-build}/tests/cuda" cuda; }
check "what the library refuses is done without it" refuses
check "at base size as well, in launches that a GPU takes" sized
check "a library that rounds twice and cuts its sums is within the bounds" rounds

# a GPU beside which the library is not to be found
without() { CUBLASLT_HOSTILE=missing "${BUILD:-build}/tests/cuda" "$1" >"$folder/out" 2>"$folder/err"; }
why="distil: cuda: libcublasLt.so.missing: cannot open shared object file: No such file or directory"
check "with the library a GPU is found" eval '"${BUILD:-build}/tests/cuda" auto | grep "fp16$"'
check "without the library there is the CPU" without auto
check "which is said" same "$(sed 's/, [0-9]* threads*//' "$folder/out" "$folder/err")" "$(printf 'CPU\n%s; the CPU computes instead' "$why")"
check "who insists on the GPU is told why not" eval '! without cuda && same "$(cat "$folder/err")" "$why"'

# the same with the true library, where the program was built with CUDA and there is no GPU
if [ -n "${NVCC:-}" ]; then
    grep -q 'libcublasLt\.so' "$distil" && sed 's/libcublasLt\.so/libcublasLx.so/' "$distil" >"$folder/distil" && chmod +x "$folder/distil"
    sed 's/^device = cpu/device = auto/' tests/fixtures/tiny.settings >"$folder/auto.settings"
    "$distil" toyland --out "$folder/data" --seed 3 --paragraphs 60 --train 60 --dev 40
    train() { # train PROGRAM RUN
        OMP_NUM_THREADS=1 "$1" pretrain --profile "$folder/auto.settings" --run "$folder/$2" --data "$folder/data" --teacher scratch --lines \
            2>"$folder/err" || { cat "$folder/err"; return 1; }
    }
    check "the program does not need the library to start" eval '! ldd "$distil" | grep cublasLt'
    check "it trains without it" train "$folder/distil" without
    check "says so once" same "$(grep -c '^distil: cuda: libcublasLx.so.*No such file or directory; the CPU computes instead$' "$folder/err")" 1
    check "on the CPU" grep -q '"device": ".*CPU\|"device": ".* cores\{0,1\}"' "$folder/without/stages/teacher.json"
fi
exit $failed
