# make runs each stage of an experiment once, and again only if what it is made from has changed.
set -u
export OMP_NUM_THREADS=1
. tests/check.sh
house "$folder/tree"
cp tests/fixtures/tiny.settings "$folder/tree"
cd "$folder/tree" || exit 1

experiment() { # experiment [VARIABLE=VALUE]: up to its verdicts, without the checks of the book
    make verify "$@" BUILD=build PROFILE=tiny.settings NVCC= CHECKED= >"$folder/said" 2>&1 || { cat "$folder/said"; return 1; }
}
# trained: which stages the last experiment ran, by the folders of curves that are newer than the mark
trained() { find results/tiny/stages -newer "$folder/mark" -name '*.json' | sed 's:.*/::; s:\.json$::' | LC_ALL=C sort; }
mark() { touch "$folder/mark" && sleep 0.1; }
scores() { grep -cE '^[a-z0-9]+-[a-z-]+-[0-9]+: ' "$folder/said"; }

mark
check "the experiment runs" experiment
all=$(find results/tiny/stages -name 'finetune-*.json' | wc -l)
check "each model is fine-tuned once for a task and a seed" same "$(scores)" "$all"

mark
check "the experiment runs again" experiment
check "nothing is due then" same "$(trained)" ""

# key: what the first stage would be made from, if code/encoder.c were as SED leaves it
key() {
    cp code/encoder.c "$folder/encoder.c" && sed -i "$1" code/encoder.c && mkdir -p "$folder/keys" &&
        build/distil plan --profile tiny.settings --run results/tiny --data build/tiny/data --keys "$folder/keys" --make >/dev/null
    cp "$folder/encoder.c" code/encoder.c
    cat "$folder/keys/teacher.key"
}
words=$(key '')
check "a chunk of another name trains nothing, nor a comment that is gone, nor another indentation" \
    same "$(key 's:/\* .* \*/$:/* Another */:') $(key 's:/\*.*\*/::; s:^ *::') $(key 's:^/\* .* \*/$:&\n// "more:')" "$words $words $words"
check "another word does, if only between quotes" sh -c '[ "$1" != "$2" ] && [ "$1" != "$3" ]' - "$words" \
    "$(key '0,/ 0;/s// 1;/')" "$(key '0,/"[a-z]/s//" &/')"

sed -i '/^\[student-alone\]/,/^kl/s/^kl = .*/kl = 0.25/' tiny.settings
mark
check "the experiment runs with another weight in one student's loss" experiment
check "only that student is distilled again, and fine-tuned" same \
    "$(trained | sed 's/-[0-9]*$//' | uniq | tr '\n' ' ')" \
    "distill-student-alone finetune-cola-student-alone finetune-imdb-student-alone finetune-mrpc-student-alone "

printf '\n[mrpc]\nmodels = teacher student\nseeds = 3\n' >>tiny.settings
mark
check "the experiment runs with one task's own models and seeds" experiment
check "only these are trained" same "$(trained | tr '\n' ' ')" "finetune-mrpc-student-3 finetune-mrpc-teacher-3 "
check "only these are in the results" same "$(cut -f 1,3 results/tiny/tables/seeds.tsv | grep -c '^toy MRPC')" 2
sed -i 's/^seeds = 3$/seeds = 3 4/' tiny.settings
mark
check "the experiment runs with one seed more" experiment
check "only that seed is trained" same "$(trained | tr '\n' ' ')" "finetune-mrpc-student-4 finetune-mrpc-teacher-4 "
check "the results know both" grep -q '"mrpc.seeds": "3 4"' results/tiny/summary.json
mark
check "the experiment runs with students that are distilled twice" experiment EXTENDED=1
check "the teachers that they hear are trained again, to be kept" same \
    "$(trained | sed 's/^finetune-//; s/cola-//; s/imdb-//; s/mrpc-//' | sort | uniq -c | sed 's/^ *//' | tr '\n' ' ')" \
    "2 student-ensemble-1 2 student-ensemble-2 2 student-twice-1 2 student-twice-2 2 teacher-1 2 teacher-2 "
check "such students are in the results" grep -q "distilled twice" results/tiny/tables/students.tsv
mark
check "the experiment runs again with them" experiment EXTENDED=1
check "nothing is due then, either" same "$(trained)" ""
rm -r results build/tiny
check "the experiment runs with them from the beginning" experiment EXTENDED=1
all=$(find results/tiny/stages -name 'finetune-*.json' | wc -l)
check "then each teacher is trained once" same "$(scores)" "$all"

# lists come from SET before the profile, and a task's own before [finetune]'s
set='--finetune.models "teacher student" --finetune.tasks "cola mrpc" --mrpc.seeds "2"'
rm -r results build/tiny
check "the experiment runs with lists from SET" experiment SET="$set"
check "these are trained, and no others" same "$(find results/tiny/stages -name 'finetune-*.json' | sed 's:.*/finetune-::' | LC_ALL=C sort | xargs)" \
    "cola-student-1.json cola-student-2.json cola-teacher-1.json cola-teacher-2.json mrpc-student-2.json mrpc-teacher-2.json"
check "they are in the results" same "$(cut -f 1 results/tiny/tables/seeds.tsv | sed 1d | sort | uniq -c | xargs)" "2 toy CoLA 2 toy MRPC"
cp tiny.settings own.settings && printf '\n[imdb]\nextended = student-twice\n' >>own.settings
listed() { build/distil plan --profile own.settings --run results/own --data data --list "$@" | sed -n 's/^finetune-imdb-\(.*\)-1 .*/\1/p' | sort | xargs; }
extended() { build/distil plan --profile own.settings --run results/own --data data --make --run.extended 1 | sed -n 's/.*stages.finetune-imdb-\(.*\)-1.json:.*/\1/p' | sort | xargs; }
check "a task that lists only extended models has those of all" same "$(listed)" "student student-alone teacher"
check "and its own extended ones" same "$(extended)" "student student-alone student-twice teacher"
quoted() { build/distil plan --profile own.settings --run "it's a run" --data data --list --run.extended 1 |
    grep "^finetune-cola-teacher-1 .* --out 'it'.''s a run/teachers/cola-1'$"; }
check "a folder of any name is quoted" quoted
check "a task that lists only models has no extended ones" same "$(sed -i 's/^extended = student-twice$/models = teacher/' own.settings
    extended)" teacher
refused() { ! make verify BUILD=build PROFILE=tiny.settings NVCC= CHECKED= "$@" >"$folder/said" 2>&1 && grep -qF "$message" "$folder/said" &&
    ! grep -q loss "$folder/said" || { cat "$folder/said"; return 1; }; }
rm -rf results
message="student-ensemble hears 2 teachers of cola, which has 1"
check "an ensemble larger than the seeds is refused before any training" refused EXTENDED=1 SET="--cola.seeds 1"
message="student-ensemble hears 2 teachers of mrpc, which has 0"
check "so is one of a task that has no teacher" refused EXTENDED=1 SET='--mrpc.models student --mrpc.extended student-ensemble'
mkdir -p results

# the same stages on a machine without make, by the plan that goes into the bundle; the results come home
rm -rf results build/tiny
set="--finetune.epochs 0.5 --mrpc.models 'teacher student student-twice'" # who hears teachers finds them kept
check "the stages are planned for another machine" make gpu-plan BUILD=build PROFILE=tiny.settings NVCC= CHECKED= SET="$set"
away=$folder/away
cp -a build/gpu "$away" && cp build/distil "$away/build" && mkdir "$away/tests" && cp "$root/tests/gpu-day.sh" "$away/tests"
check "they run there" sh -c "cd '$away' && sh tests/gpu-day.sh experiments"
mkdir -p results && cp -a "$away/results/tiny" results
mark
check "the experiment goes on at home" experiment SET="$set"
check "nothing that ran there is due" same "$(trained)" ""
check "and it ran with what was overridden" grep -q '"finetune.epochs": "0.5"' results/tiny/summary.json
check "a teacher and a corpus of one's own are packed" sh -c 'make gpu-plan BUILD=build PROFILE=tiny.settings NVCC= CHECKED= \
    TEACHER=results/tiny/models/teacher && test -f build/gpu/data/teacher/config.json &&
    grep -q "^teacher pretrain --teacher .data/teacher" build/gpu/stages/tiny &&
    make gpu-plan BUILD=build PROFILE=tiny.settings NVCC= CHECKED= CORPUS="corpus/*.tokens vocab.txt" &&
    grep -q "^train = corpus/[*].tokens vocab.txt " build/gpu/settings/tiny.settings'
exit $failed
