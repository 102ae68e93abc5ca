# What only a machine with a GPU can show; make test runs it where nvidia-smi finds one, and never elsewhere.
set -u
. tests/check.sh
build=${BUILD:-build}
PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin # where nvcc is, there is the checker

check "the same tests pass on the GPU" "$build/tests/cuda-gpu"
for tool in memcheck racecheck synccheck initcheck; do
    check "$tool finds nothing in our kernels" sh tests/gpu-day.sh "do" checker "$tool" cuda
done

# the build for a T4, as PTX alone, which the driver compiles for whatever GPU is here
ptx=$build/tests/cuda-gpu-ptx # as it is in a bundle
[ -x "$ptx" ] || { ptx=$build/ptx/tests/cuda-gpu && make NUMBERED="$build/src" BUILD="$build/ptx" CUDA_ARCH=75-ptx "$ptx"; }
check "the build for a T4, as PTX, passes them too" "$ptx"

# the whole program: same seed, same bits, killed or not
check "runs on the GPU are repeatable and resumable" sh tests/gpu-day.sh "do" resume
exit $failed
