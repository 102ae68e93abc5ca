# An nvcc too old for this machine's g++ gets the newest g++-N that it takes, or the build says what to install. The nvcc of
# this test only refuses what is too new, in the words of the true one, and notes what it is asked.
set -u
. tests/check.sh
bin=$folder/bin
mkdir "$bin"
PATH=$bin:$PATH
unset MAKEFLAGS MAKEOVERRIDES HOSTCXX CXX

cat >"$bin/nvcc" <<'END'
#!/bin/sh
echo "$*" >>"$ASKED"
case $1 in
--version) echo "Cuda compilation tools, release 11.8, V11.8.89"; exit ;;
-ccbin) cxx=$2 ;;
*) cxx=g++ ;;
esac
if [ "$("$cxx" -dumpversion)" -gt "$NEWEST" ]; then
    echo "host_config.h:132:2: error: #error -- unsupported GNU version! gcc versions later than $NEWEST are not supported! The nvcc" >&2
    exit 1
fi
while [ $# -gt 1 ]; do
    [ "$1" = -o ] && [ "$2" != /dev/null ] && : >"$2"
    shift
done
END
for version in 1 2 3 99; do
    printf '#!/bin/sh\necho %s\n' $version >"$bin/g++-$version"
done
printf '#!/bin/sh\ncase $1 in *full*) echo 98.7.6 ;; *) echo 98 ;; esac\n' >"$bin/g++"
chmod +x "$bin"/*

compile() { # compile NEWEST [ARGUMENT …]: makes the kernels with an nvcc that takes g++ up to NEWEST
    : >"$folder/asked"
    newest=$1
    shift
    ASKED=$folder/asked NEWEST=$newest make --no-print-directory BUILD="$folder/build" NUMBERED=code NVCC="$bin/nvcc" \
        "$folder/build/kernels_cuda.o" "$@" >"$folder/said" 2>&1 || { cat "$folder/said"; return 1; }
}
anew() { rm -f "$folder/build/kernels_cuda.o"; compile "$@"; }
asked() { cat "$folder/asked"; grep -q -- "$1" "$folder/asked"; }
refused() { ! anew "$@"; }

check "an nvcc that takes g++ compiles with it" anew 98
check "and is not told of another" asked '^-O3 .*kernels_cuda.cu'
compile 98
check "nothing is asked where nothing is to be compiled" same "$(cat "$folder/asked")" ""
check "an nvcc that does not take g++ compiles all the same" anew 2
check "with the newest g++-N that it takes" asked '^-ccbin g++-2 -O3 .*kernels_cuda.cu'
check "one that is told which compiles" anew 2 HOSTCXX=g++-1
check "with that" asked '^-ccbin g++-1 -O3 .*kernels_cuda.cu'
check "one that takes none does not compile" refused 0
check "and it is said what would help" grep -q \
    '^build: nvcc 11.8 does not take g++ 98.7.6: install g++-0 (or older), or say NVCC= to leave CUDA out$' "$folder/said"
check "nothing is left of it" test ! -e "$folder/build/kernels_cuda.o"

# a program with CUDA, then without, then with it again; the nvcc of this part has compiled the kernels before
if [ -n "${NVCC:-}" ]; then
    house=$folder/house build=$PWD/${BUILD:-build}
    house "$house"
    printf '#!/bin/sh\nwhile [ $# -gt 1 ]; do [ "$1" != -o ] || [ "$2" = /dev/null ] || cp "%s" "$2"; shift; done\n' \
        "$build/kernels_cuda.o" >"$bin/nvcc"
    cd "$house" || exit 1
    linked() { make build BUILD=build NVCC="$1" CUDA_HOME="$CUDA_HOME" >said 2>&1 || { cat said; return 1; }; }
    check "a build with CUDA" linked "$bin/nvcc"
    check "has CUDA" grep -q 'libcublasLt\.so' build/distil
    check "then one without" linked ""
    check "has none" eval '! grep -q "libcublasLt\.so" build/distil'
    check "with it again" linked "$bin/nvcc"
    check "it has it again" grep -q 'libcublasLt\.so' build/distil
fi
exit $failed
