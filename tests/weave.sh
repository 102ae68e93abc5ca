# The weaver. First its golden cases: each folder of tests/weave/ holds chapters, perhaps the arguments to call pandoc
# with, and in `expected` what came out, with messages and exit status. Then the PDF: no trace of time and place.
set -u
. tests/check.sh

# weave ARGUMENT …: what pandoc makes of the chapters in this folder. What pandocs of different age write differently
# (the target of a heading, the class of a row) is made the same.
weave() {
    "$root/${BUILD:-build}/tangle" --xref xref.json -o tangled *.md 2>/dev/null
    TITLE='A "title" of 100 %' AUTHOR='A. & B.' COURSE='' pandoc --preserve-tabs --wrap=none --citeproc \
        --top-level-division=chapter --template template.tex --lua-filter "$root/code/weave.lua" \
        -M values=values.json -M values=published.json -M bibliography=references.bib -M results=run -M figures=figures \
        -M xref=xref.json -M command='make report' -M suppress-bibliography=true "$@" *.md >out 2>messages
    echo "exit status $?" >>messages
    grep -v '^.WARNING' messages
    sed '/^\\hypertarget{[^}]*}{%$/d; s/\(\\label{sec:[^}]*}\)}$/\1/; s/<tr class="[a-z]*">/<tr>/' out
}

cp -r tests/weave "$folder"
for case in tests/weave/*/; do
    name=$(basename "$case")
    [ "$name" != run ] || continue
    cd "$folder/weave/$name" || exit 1
    ln -s ../run ../*.json ../references.bib ../template.tex .
    weave $(sed "s:@:$root/:" arguments 2>/dev/null || echo '-t latex') >"$folder/$name.out"
    check "$name" diff -u "$root/$case/expected" "$folder/$name.out"
    cd "$root" || exit 1
done

# cross references that lack what pandoc sees
cd "$folder/weave/parts" || exit 1
echo '{"chunks": [], "identifiers": []}' >nothing.json
cp ../chunk-and-use/1.md chunks.md
pandoc --lua-filter "$root/code/weave.lua" -M values=values.json -M values=published.json -M bibliography=references.bib \
    -M results=run -M figures=figures -M xref=nothing.json -M command='make report' -t latex chunks.md >out 2>messages
check "chunks that only pandoc sees are refused by line" \
    grep -q '^chunks.md:[0-9]*: error: chunk ".*" is program to pandoc, but not to the tangler$' messages
cd "$root" || exit 1

# an older pandoc, and a run without results
lua5.4 -e 'PANDOC_VERSION = "2.9.2"' code/weave.lua >"$folder/old" 2>&1
check "an old pandoc is refused by number" \
    same "$(cat "$folder/old")" "weave: pandoc 2.17 or newer is needed, as Debian 12 and Ubuntu 24.04 have it; this is 2.9.2"
unset MAKEFLAGS MAKELEVEL
make weave RUN="$folder/nowhere" >"$folder/none" 2>&1
check "without results, weave says what makes them" grep -q "^weave: .*values.json is not there; 'make report" "$folder/none"

# the PDF: the report from a run that never happened, and a small book, each in two folders
for house in one two/deeper; do
    run=results/made-up
    mkdir -p "$folder/$house/build" "$folder/$house/results"
    cp -r Makefile chapters code figures tests/weave "$folder/$house"
    cp -r tests/fixtures/run "$folder/$house/$run"
    cd "$folder/$house" || exit 1
    grep -oh '{{check\.[^}]*}}' chapters/*.md | sed 's/[{}]//g; s/$/\t0/' | sort -u >checks.tsv
    "$root/${BUILD:-build}/distil" results --profile $run/made-up.settings --run $run --checks checks.tsv >/dev/null
    "$root/${BUILD:-build}/tangle" --xref build/xref.json -o tangled chapters/*.md
    AUTHOR='A. & B.' make -s BUILD=build PROFILE=$run/made-up.settings CHECKED= $run/summary.pdf >said 2>&1
    printf '\n| a | b |\n|---|---|\n| 1 | 2 |\n' >weave/unnumbered.md
    cases='weave/parts/1.md weave/unnumbered.md weave/chunk-and-use/1.md weave/long-line/1.md weave/characters/1.md weave/table-by-hand/1.md'
    cat chapters/references.bib >>weave/references.bib
    cp weave/references.bib chapters/
    "$root/${BUILD:-build}/tangle" --xref build/xref.json -o tangled $cases
    make -s BUILD=build PROFILE=$run/made-up.settings CHAPTERS="$cases" DRAWN= CHECKED= $run/report.pdf >>said 2>&1
    cd "$root" || exit 1
done
one=$folder/one/results/made-up
two=$folder/two/deeper/results/made-up
# all tasks of the same run: more rows in the paper's tables
cd "$folder/one" || exit 1
all=results/made-up-full
cp -r "$root/tests/fixtures/run" $all
"$root/${BUILD:-build}/distil" results --profile $all/made-up-full.settings --run $all --checks checks.tsv >/dev/null
cp "$root/chapters/references.bib" chapters/
"$root/${BUILD:-build}/tangle" --xref build/xref.json -o tangled chapters/*.md
make -s BUILD=build PROFILE=$all/made-up-full.settings CHECKED= $all/summary.pdf >said-full 2>&1
# and all students of an extended run of the profile full, which has not read all of the data
every=results/made-up-every
cp -r $all $every && rm -r $every/tables $every/figures
students="student-released student-course student-random student-no-mlm student-no-kl student-no-cosine student-undistilled
    student-paper student-first student-last student-ends student-relations student-twice student-ensemble student-theseus
    student-shortened student-weights student-schedule student-more student-tasks student-every student-combined
    student-combined-twice student-longer student-best"
for model in $students; do
    case $model in *-released | *-random) more='sst2 qqp stsb mnli mnlimm qnli rte wnli squad' ;; *-twice) more='stsb squad' ;; *) more= ;; esac
    for task in cola mrpc imdb $more; do
        cp $every/predictions/$task-student-1.tsv $every/predictions/$task-$model-1.tsv
        for who in $model student teacher; do cp $every/stages/finetune-cola-teacher-2.json $every/stages/finetune-$task-$who-1.json; done
    done
    case $model in *twice | *ensemble | *theseus | *shortened | *longer | *best) continue ;; esac
    cp $every/stages/distill-student.json $every/stages/distill-$model.json
    cp $every/curves/distill-student-validation.tsv $every/curves/distill-$model-validation.tsv
done
{ sed "s/^models = .*/models = teacher student $(echo $students)/" $every/made-up-full.settings && printf "[student-ensemble]\nteachers = 1\n"
    for task in rte wnli sst2 qnli qqp mnli; do printf "[$task]\nmodels = teacher student student-released student-random\n"; done
    for task in stsb squad; do printf "[$task]\nmodels = teacher student student-released student-random student-twice student-combined-twice\n"; done; } >$every/made-up-every.settings
cuts=$(for task in CoLA MRPC IMDb SST-2 QQP STS-B MNLI QNLI RTE WNLI; do printf '"%s train: 6,000 of 60,000 rows", ' $task; done)
sed -i "s/\"cuts\": \[\]/\"cuts\": [${cuts%, }]/" $every/stages/teacher.json
"$root/${BUILD:-build}/distil" results --profile $every/made-up-every.settings --run $every --checks checks.tsv >/dev/null
make -s BUILD=build PROFILE=$every/made-up-every.settings RUN=$every CHECKED= $every/summary.pdf >said-every 2>&1
cd "$root" || exit 1
for summary in "$one/summary.pdf" "$folder/one/$all/summary.pdf" "$folder/one/$every/summary.pdf"; do
    pdftotext -layout -l 5 "$summary" "$folder/pages"
    for table in 'Table 2: The paper’s table 1' 'Table 3: The paper’s table 2' 'Table 4: The paper’s table 3'; do
        check "$(basename "$(dirname "$summary")"): $table is within five pages" grep -q "$table" "$folder/pages"
    done
    check "and there are at most six" test "$(pdfinfo "$summary" | awk '/^Pages/ { print $2 }')" -le 6
done
check "all tasks weave without a complaint" same "$(cat "$folder/one/said-full")" "weave: $all/summary.pdf"
check "all students do, too" same "$(cat "$folder/one/said-every")" "weave: $every/summary.pdf"
pdftotext "$folder/one/$every/summary.pdf" - | tr '\n' ' ' >"$folder/flat"
check "those that are alike are told in one sentence of a kind" grep -q 'does without a part of the recipe\. By the mean score[^;]*not distinguishable from the student are “random start”, [^;]* and 2 more\.' "$folder/flat"
check "the report weaves without a complaint" same "$(cat "$folder/one/said")" \
    "$(printf 'weave: results/made-up/summary.pdf\nweave: results/made-up/report.pdf')"
check "the summary has the same bytes in another folder" cmp "$one/summary.pdf" "$two/summary.pdf"
check "and so has a book of chunks" cmp "$one/report.pdf" "$two/report.pdf"
check "a PDF tells no date" same "$(pdfinfo "$one/report.pdf" | grep Date)" ""
check "its author is the command line's" grep -q '^Author: *A. & B.$' "$(pdfinfo "$one/summary.pdf" >"$folder/info"; echo "$folder/info")"
pdftotext -layout "$one/report.pdf" "$folder/text"
check "the line of a chunk's name tells where it is used" grep -q 'Weigh the anchor.*used in 3' "$folder/text"
check "a table without a caption takes no number" grep -q 'Table 2: By hand, no source' "$folder/text"
printf 'One [@sanh2019].\n\n::: {#refs}\n:::\n\nTwo [@sun2019] [@sanh2019].\n' | pandoc -t latex --citeproc -M bibliography=chapters/references.bib \
    --lua-filter code/works.lua | grep -oE '^(Sanh|Sun), |label.works.' | xargs >"$folder/works"
check "what the report does not cite is at the end of the book" same "$(cat "$folder/works")" "Sanh, label{works} Sun,"
check "no reference is left open" same "$(grep -n '??' "$folder/text")" ""
exit $failed
