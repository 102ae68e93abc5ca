# What the end needs is asked for at the beginning: programs, TeX's files, and the letters of a title.
set -u
unset MAKEFLAGS MAKELEVEL DISTIL_LOCKS TITLE AUTHOR COURSE
. tests/check.sh
house "$folder/tree"
cp tests/fixtures/tiny.settings "$folder/tree"
cd "$folder/tree" || exit 1

ready() { sh code/ready.sh book page >said 2>&1 || { cat said; return 1; }; }
refused() { # refused WHAT: whether all that is said is that this cannot be had
    ! ready && same "$(cat said)" "$1"
}
with() { # with VARIABLE=VALUE … COMMAND …: a function with variables that are gone after it
    (
        while :; do
            case $1 in [A-Z]*=*) export "$1" ;; *) break ;; esac
            shift
        done
        "$@"
    )
}
refused_with() { # refused_with PROGRAM SCRIPT WHAT: where the program does this instead, or without a script is not there
    rm -rf bin && mkdir bin && ln -s /bin/* /usr/bin/* bin 2>/dev/null
    rm "bin/$1" # a link, so nothing is written through it
    [ -z "$2" ] || { printf '#!/bin/sh\n%s\n' "$2" >"bin/$1" && chmod +x "bin/$1"; }
    with PATH="$PWD/bin" refused "$3"
}
lacks() { # lacks WHAT PROGRAM [SCRIPT]
    refused_with "$2" "${3:-}" "ready: not all is there that the report needs; make deps installs it:
    $1"
}
check "here all is there" ready
check "a title is set" eval 'with TITLE="Käse ß Łódź, 5 € – “so…” α → ½" AUTHOR="É. & B." COURSE="100 % _ ^ ~ # \\ {}" ready'
check "a set title is not set again" eval 'touch mark && with TITLE="Käse ß Łódź, 5 € – “so…” α → ½" AUTHOR="É. & B." \
    COURSE="100 % _ ^ ~ # \\ {}" ready && [ ! page/page.pdf -nt mark ]'
check "pandoc is named" lacks "pandoc, of the package pandoc" pandoc
check "Lua" lacks "lua5.4, of the package lua5.4" lua5.4
check "a gnuplot without TikZ" lacks "gnuplot's terminal tikz, of the package gnuplot-nox" gnuplot 'case $* in *tikz*) exit 1 ;; esac'
check "TeX" lacks "pdflatex, of the package texlive-latex-recommended" pdflatex
check "a file of TeX" lacks "adjustbox.sty, of the package texlive-latex-extra" kpsewhich '[ "$1" != adjustbox.sty ]'
check "TikZ" lacks "tikz.sty, of the package texlive-pictures" kpsewhich '[ "$1" != tikz.sty ]'
old="$(lua5.4 -e 'PANDOC_VERSION = "2.9.2"' code/weave.lua 2>&1)"
check "an old pandoc" refused_with pandoc 'echo pandoc 2.9.2' "$old"
check "an old gnuplot" refused_with gnuplot 'echo gnuplot 4.6 patchlevel 6' \
    "ready: gnuplot 5.4 or newer is needed; this is gnuplot 4.6 patchlevel 6"
set_by() { echo "ready: TITLE, AUTHOR or COURSE: TeX here cannot set $1"; }
check "an emoji is named" eval 'with TITLE="So 🎉" refused "$(set_by "🎉 (U+1F389)")"'
check "letters from right to left" eval 'with AUTHOR=של refused "$(set_by "ל (U+05DC) ש (U+05E9)")"'
check "a letter of another alphabet" eval 'with COURSE=日 refused "$(set_by "日 (U+65E5)")"'
check "a letter that is none" eval 'with TITLE=$(printf "a\001") refused "$(set_by "^^A (U+0001)")"'
check "make report says so before any stage" eval '! make report TITLE="So 🎉" PROFILE=tiny.settings BUILD=build NVCC= CHECKED= >said 2>&1 &&
    cat said && grep -qxF "$(set_by "🎉 (U+1F389)")" said && [ ! -e results/tiny ] && [ ! -e build/tiny/data ]'
no_tex() { rm -rf bin && mkdir bin && ln -s /bin/* /usr/bin/* bin 2>/dev/null; rm bin/pdflatex && with PATH="$PWD/bin" sh code/ready.sh page; }
check "the page of HTML needs no TeX" no_tex
exit $failed
