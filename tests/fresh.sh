# What is done is done wherever it lies, whatever the times of its files and the habits of its user; what is due says why.
set -u
export OMP_NUM_THREADS=1
unset MAKEFLAGS MAKELEVEL
. tests/check.sh
house "$folder/tree"
small cola >"$folder/tree/tiny.settings"
cd "$folder/tree" || exit 1

experiment() { make verify "$@" PROFILE=tiny.settings BUILD=build NVCC= CHECKED= >said 2>&1; }
due() { experiment "$@" || { cat said; return 1; }; grep '^due: ' said; }
nothing() { same "$(due "$@")" ""; }
in_locale() { # a locale whose order of letters is not that of their codes
    localedef -i de_DE -f UTF-8 "$folder/de_DE.UTF-8" 2>/dev/null || echo "# no locales here to try"
    LOCPATH=$folder LC_ALL=de_DE.UTF-8 nothing
}
strict() { umask 077 && nothing && umask 022; }
unpacked() { # as from an archive that keeps no times
    (cd "$folder" && tar -cf tree.tar --mtime=1999-01-01 tree && rm -rf tree && tar -xf tree.tar && rm tree.tar)
    cd "$folder/tree" && nothing
}
elsewhere="$folder/it's a \"Größe\" & \$HOME"
moved() { (cd "$folder" && cp -r tree copy && rm -rf tree && mv copy "$elsewhere"); cd "$elsewhere" && nothing; }
touched() { find . -type f | awk -v to="$1" 'NR % 2 == to' | xargs touch -d "$2"; nothing; }

dry() { # dry BUILD STAGES: what make -n says of a report; it ends, names each stage, and leaves nothing where models would be
    timeout 60 make -n report PROFILE=tiny.settings BUILD="$1" NVCC= CHECKED= >said 2>&1 || { cat said; return 1; }
    same "$(grep -c "code/due.sh run results/tiny/stages/" said)" "$2" && same "$(find results "$1/tiny" -name '*.json' -o -name '*.safetensors')" ""
}
make build BUILD=build NVCC= >said 2>&1 || cat said
check "make -n report ends" dry build 6
check "where no program is built as well" dry none 0
check "an experiment runs" experiment
check "it is done" nothing
check "and so is the benchmark when it was asked for" eval 'make bench PROFILE=tiny.settings BUILD=build NVCC= >said 2>&1 && nothing'
check "in another locale" in_locale
check "in another time zone" eval TZ=Asia/Kolkata nothing
check "with another umask" strict
check "with folders that cd looks through" eval CDPATH=.:.. nothing
check "with tools that keep to POSIX" eval POSIXLY_CORRECT=1 nothing
check "with another shell" nothing SHELL=/bin/bash
check "on another number of cores" taskset -c 0 make -s verify PROFILE=tiny.settings BUILD=build NVCC= CHECKED=
check "with more stages side by side, and fewer checkpoints" nothing SET="--run.jobs 2 --run.checkpoint 60"
check "when half of its files are from the future" touched 0 2099-01-01
check "and the others from the past" touched 1 1999-01-01
check "unpacked from an archive" unpacked
check "copied and moved" moved

says() { due >"$folder/due"; grep -qxF "due: $1" "$folder/due" || { cat "$folder/due"; return 1; }; }
sed -i '/^\[finetune\]/,$s/^rate = .*/rate = 5e-4/' tiny.settings
check "a setting that has changed is named" says "finetune-cola-student-1: [finetune] rate = 5e-4, was 3e-4"
check "and only what depends on it is run" same "$(cut -d : -f 2 "$folder/due" | xargs)" "finetune-cola-teacher-1 finetune-cola-student-1 bench"
check "an override is named" eval 'due SET="--distill.kl 4" >"$folder/due"; grep -qxF "due: distill-student: [distill] kl = 4, was 5" "$folder/due"'
check "and its end" says "distill-student: [distill] kl = 5, was 4"
rm results/tiny/stages/finetune-cola-student-1.json
check "what was interrupted is due" says "finetune-cola-student-1: it was not finished"
chapter=$(echo chapters/*-fine-tuning.md)
sed -i '0,/^#include "fail.h"/s//&\n&/' "$chapter"
check "code is named with its chapter" says "finetune-cola-student-1: code/finetune.c has changed, $chapter"
sed -i 's/^train = 60/train = 61/' tiny.settings
check "so are data" says "finetune-cola-student-1: the data of cola have changed"

# the generated language, killed when half of it is written
mv build/distil build/whole && cat >build/distil <<'END'
#!/bin/sh
[ "$1" = toyland ] || exec build/whole "$@"
build/whole "$@" && rm -r "$3/imdb/aclImdb/test" "$3/vocab.txt" && kill -s KILL $PPID
END
chmod +x build/distil
sed -i 's/^train = 61/train = 62/' tiny.settings
before=$(cd build/tiny/data && find . -type f | sort | xargs sha256sum)
killed() { ! make data PROFILE=tiny.settings BUILD=build NVCC= CHECKED= && same "$(cd build/tiny/data && find . -type f | sort | xargs sha256sum)" "$before"; }
check "half a language is none" killed
mv build/whole build/distil
check "and is made again" experiment
check "whole" same "$(ls build/tiny/data/imdb/aclImdb/test/*/* | wc -l)" 40

# code that is older than what was compiled of it: from an archive, or by a clock that is wrong
object=build/metrics.o
sed -i '0,/^#include "fail.h"/s//#include "fail.h" \/* other *\//' code/metrics.c
touch -d 1999-01-01 code/metrics.c
check "older code is compiled all the same" sh -c "
    make compile BUILD=build NVCC= && [ -n \"\$(find $object -newer build/compiled.from)\" ]"

# a tool that ends half-way leaves nothing under the name of what it makes
mkdir bin
cat >bin/cc <<'END'
#!/bin/sh
for word; do [ "${option:-}" != -o ] || made=$word; option=$word; done
printf half >"$made"
kill -s KILL $PPID
END
chmod +x bin/cc && cp bin/cc bin/pandoc
halves() { # halves FILE TARGET: whether FILE is not there after its tool was killed
    rm -f "$1"
    ! PATH=$PWD/bin:$PATH make "$2" PROFILE=tiny.settings BUILD=build NVCC= CHECKED= && [ ! -e "$1" ]
}
rm build/distil
check "half an object is none" halves build/batch.o compile
check "half a tangler is none" halves build/tangle tangle
check "the object is made again" make compile BUILD=build NVCC=
check "half a program is none" halves build/distil compile
check "half a book is none" halves build/tiny/weave/summary.tex results/tiny/summary.pdf
exit $failed
