# The same bits from every compiler that is here, for old processors and new ones, with and without optimisation.
. tests/check.sh

standard=$(sed -n 's/^STANDARD := //p' Makefile)
sources="tests/bits/functions.c code/kernels_cpu.c code/fail.c code/ranks.c"

built() { # built COMPILER OPTION …: prints the sums that the program makes when it is built like that
    program=$folder/program
    # shellcheck disable=SC2086
    "$@" $standard -Icode -o "$program" $sources -lopenblas -lm && OMP_NUM_THREADS=2 "$program"
}

built gcc -O0 >"$folder/reference" || exit 1
check "there are sums to compare" test "$(sort -u "$folder/reference" | wc -l)" -ge 15

like() { # like COMPILER OPTION …
    built "$@" >"$folder/sums" && diff "$folder/reference" "$folder/sums"
}

check "optimised for this processor" like gcc -O3 -march=native -fno-math-errno -fno-trapping-math
check "without a fused instruction" like gcc -O3 -march=x86-64 -fno-math-errno -fno-trapping-math
if grep -q -w avx2 /proc/cpuinfo 2>/dev/null; then
    check "for x86-64-v3" like gcc -O3 -march=x86-64-v3 -fno-math-errno -fno-trapping-math
    check "for x86-64-v3, not vectorised" like gcc -O1 -march=x86-64-v3
fi
# other compilers, each once whatever it is called
used=$(readlink -f "$(command -v gcc)")
for compiler in $(ls /usr/bin/gcc-[0-9]* /usr/bin/clang-[0-9]* 2>/dev/null | grep -- '-[0-9]*$' | xargs -r readlink -f | sort -u); do
    [ "$compiler" = "$used" ] || check "by ${compiler##*/}" like "$compiler" -O3 -march=native
done
exit $failed
