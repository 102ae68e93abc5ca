# What is typed arrives as it was typed, and never runs: SET and CORPUS at the program and in the keys, a title on the page.
set -u
export OMP_NUM_THREADS=1
unset MAKEFLAGS MAKELEVEL DISTIL_LOCKS
. tests/check.sh
house "$folder/tree"
cp -a tests/weave "$folder/tree"
cp -r tests/fixtures/run "$folder/tree/results/made-up"
cp tests/fixtures/tiny.settings "$folder/tree"
cd "$folder/tree" || exit 1
made() { make "$@" PROFILE=tiny.settings BUILD=build NVCC= CHECKED= >said 2>&1 || { cat said; return 1; }; }

# a program that writes down what a teacher is told, an argument a line
check "the program is built" made build
check "its language is made" made data
mv build/distil build/whole
cat >build/distil <<'END'
#!/bin/sh
[ "$1" = pretrain ] || exec build/whole "$@"
printf '%s\n' "$@" >told
exit 1
END
chmod +x build/distil

nasty='a/*.txt b|c; $HOME $(touch bad) `touch bad` ${x} $$ "e" it'\''s \ & (~) 100 %'
quoted=$(printf %s "$nasty" | sed "s/'/'\\\\''/g; s/^/'/; s/\$/'/")
told() { # told OPTION VALUE: whether the program was told so
    cat told
    grep -qxF -A 1 -e "$1" told && same "$(grep -xF -A 1 -e "$1" told | tail -n 1)" "$2"
}
tell() { rm -f told && ! made results/tiny/stages/teacher.json "$@" && [ -f told ]; }
check "SET reaches the program" tell SET="--run.seed 4 --teacher.train $quoted --teacher.epochs \"3\""
check "a value with everything in it as it is" told --teacher.train "$nasty"
check "and the others" told --teacher.epochs 3
check "the key of the stage has it, too" grep -qxF "[corpus] train = $nasty" build/tiny/keys/teacher.from
check "CORPUS reaches the program" tell CORPUS="$nasty"
check "as it is" told --teacher.train "$nasty"
check "from the environment, too" eval 'CORPUS=$nasty tell && told --teacher.train "$nasty"'
planned() { made gpu-plan "$@" && sed -n 's/^train = \(.*\) # --teacher.train$/\1/p' build/gpu/settings/tiny.settings | sed 's/ *$//' >told; }
check "the plan for another machine has it" planned SET="--teacher.train $quoted"
check "as it is" eval 'cat told; grep -qxF -e "$nasty" told'
check "empty values are values" same "$(sh code/words.sh '--a.b "" --c.d "x"')" "$(printf '%s\n' "--a.b ''" "--c.d 'x'")"
refused() { # refused SAID ARGUMENT…
    said=$1
    shift
    ! made verify "$@" && grep -F "$said" said
}
check "a number that is a command is refused" refused '[run] jobs: expected a whole number, 0 or more, found "1; touch bad"' \
    SET='--run.jobs "1; touch bad"'
check "so is a task" refused 'finetune.tasks: expected plain words' SET='--finetune.tasks "cola `touch bad`"'
check "a value without its setting" refused 'SET: expected --SECTION.SETTING VALUE, found 2' SET='--run.jobs 1 2'
check "a setting without its value" refused 'SET: expected a value after --run.jobs' SET=--run.jobs
check "a quote that is left open" refused 'SET: expected a closing quote' SET='--run.jobs "1'
check "a teacher with a semicolon" refused 'x;touch${IFS}bad: expected a model folder there' TEACHER='x;touch${IFS}bad'
check "a teacher that make would run" refused '$(shell touch bad): expected a model folder there' TEACHER='$(shell touch bad)'
check "a profile of two words" eval '! make verify PROFILE="\$(shell touch bad)" >said 2>&1 && grep "PROFILE: expected one path without spaces" said'
check "and nothing of all this has run" test ! -e bad

# the page, small books of the weaver's golden cases
run=results/made-up
cat weave/references.bib >>chapters/references.bib
book="weave/parts/1.md weave/table-by-hand/1.md"
build/tangle --xref build/xref.json -o tangled $book
grep -oh '{{check\.[^}]*}}' chapters/*.md | sed 's/[{}]//g; s/$/\t0/' | sort -u >checks.tsv
build/whole results --profile $run/made-up.settings --run $run --checks checks.tsv >/dev/null
title='It costs $5 & 50 % of "all" \ #1_{2}' author="O'Neil \$HOME \`touch bad\` <i>" course='$(touch bad) *not bold*'
print() {
    make -s "$run/$1" BUILD=build PROFILE=$run/made-up.settings CHECKED= CHAPTERS="$book" DRAWN= TITLE="$title" AUTHOR="$author" \
        COURSE="$course"
}
check "a title with everything in it is printed" print report.pdf
pdftotext $run/report.pdf - | head -n 3 >page
check "the title as it is" same "$(sed -n 1p page)" "$title"
check "the author, by whichever apostrophe the font has" same "$(sed -n "2{s/’/'/g;p}" page)" "O'Neil \$HOME ‘touch bad‘ <i>"
check "the course" same "$(sed -n 3p page)" "$course"
pdfinfo $run/report.pdf >info
check "what the file says of itself" same "$(sed -n 's/^\(Title\|Author\): *//p' info)" "$(printf '%s\n' "$title" "$author")"
check "it is on the page of the browser" print html/index.html
heading() { sed -n "s/.*<$1>\(.*\)<\/[a-z0-9]*>.*/\1/p" $run/html/index.html | sed 's/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g; s/&#39;/'"'"'/g; s/&amp;/\&/g'; }
check "in the window's title" same "$(heading title)" "$title"
check "at the head of the text" same "$(heading 'h1 class="title"')" "$title"
check "with the author" same "$(heading 'p class="author"')" "$author"
check "and the course" same "$(heading 'p class="subtitle"')" "$course"
check "and nothing of it has run" test ! -e bad
exit $failed
