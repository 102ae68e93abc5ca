# The same bits from every compiler that is here, for old processors and new ones, with and without optimisation.
. tests/check.sh

standard=$(sed -n 's/^STANDARD := //p' Makefile)
sources="tests/bits/functions.c code/kernels_cpu.c code/products.c code/fail.c code/ranks.c"

# A teacher, a student and two fine-tunings of the tiny run, with the sums that they have wherever they are made. Whoever
# means to change what is computed writes the new ones: sh tests/bits.sh --keep.
recorded=tests/fixtures/bits.sums
models=$folder/models
"$distil" toyland --out "$folder/data" --seed 11 --paragraphs 60 --train 60 --dev 40

trained() { # trained PROGRAM [VARIABLE=VALUE …]: prints the sums of what it makes
    program=$1
    shift
    rm -rf "$models"
    common="--profile tests/fixtures/tiny.settings --run $models --data $folder/data --key none"
    for stage in "pretrain --teacher scratch" "distill --student student" \
        "finetune --task cola --name student --seed 1 --model $models/models/student" \
        "finetune --task mrpc --name teacher --seed 1 --model $models/models/teacher"; do
        # shellcheck disable=SC2086
        env "$@" "$program" $stage $common >"$folder/said" 2>&1 || { cat "$folder/said" >&2; return 1; }
    done
    (cd "$models" && sha256sum models/*/model.safetensors predictions/*)
}

if [ "${1:-}" = --keep ]; then
    trained "$distil" >"$recorded.new" && mv "$recorded.new" "$recorded"
    exit
fi

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
openmp() { echo '#include <omp.h>' | "$1" -fopenmp -fsyntax-only -x c - 2>/dev/null; } # clang's is a package of its own
# other compilers, each once whatever it is called
used=$(readlink -f "$(command -v gcc)")
for compiler in $(ls /usr/bin/gcc-[0-9]* /usr/bin/clang-[0-9]* 2>/dev/null | grep -- '-[0-9]*$' | xargs -r readlink -f | sort -u); do
    [ "$compiler" = "$used" ] || ! openmp "$compiler" || check "by ${compiler##*/}" like "$compiler" -O3 -march=native
done

recorded_by() { # recorded_by PROGRAM [VARIABLE=VALUE …]
    trained "$@" >"$folder/sums" && diff "$recorded" "$folder/sums"
}

check "there are recorded sums of two models and two predictions" same "$(cut -d ' ' -f 1 "$recorded" | sort -u | wc -l)" 4
for threads in 1 2 8; do
    check "models and predictions as recorded, with $threads threads" recorded_by "$distil" OMP_NUM_THREADS=$threads
done
for family in Haswell Zen SkylakeX; do
    check "and with OpenBLAS's $family kernels" recorded_by "$distil" OPENBLAS_CORETYPE=$family
done

made() { # made COMPILER OPTIONS: a program from another compiler makes what is recorded
    make -s build BUILD="$folder/build" CC="$1" CFLAGS="$2" NVCC= MPI= >"$folder/said" 2>&1 || { cat "$folder/said"; return 1; }
    recorded_by "$folder/build/distil"
}
check "and made for x86-64-v3 without optimisation" made gcc "-O1 -march=x86-64-v3"
if command -v clang >/dev/null && openmp clang; then
    check "and made by clang" made clang "-O1 -march=native"
fi
exit $failed
