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
exit $failed
