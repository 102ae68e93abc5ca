# Reports on any list of tasks: a dozen runs that never happened, each woven into the plain text of its summary. Whatever
# a run has and lacks, its report names no task of another run, compares no percentages of different tasks, and is
# English. The runs are made up here: so many rows in a hundred are answered right.
set -u
. tests/check.sh
export OMP_NUM_THREADS=1
grep -oh '{{check\.[^}]*}}' chapters/*.md | sed 's/[{}]//g; s/$/\t0/' | sort -u >"$folder/checks.tsv"
"${BUILD:-build}/tangle" --xref "$folder/xref.json" -o "$folder/tangled" chapters/*.md 2>/dev/null

# answers TASK QUALITY: rows of predictions. QUALITY: a number of a hundred, or "constant" for a model that says the same of
# each row
answers() {
    awk -v task="$1" -v quality="$2" -v seed="$3" -v OFS='\t' '
    function right(row) { return (row * 37 + seed * 11) % 100 < quality }
    BEGIN {
        constant = quality == "constant"
        print task == "squad" ? "index\tid\tf1\texact\tscore\tprediction" : "index\tlabel\tprediction\tscore"
        for (row = 0; row < 120; row++)
            if (task == "squad")
                print row, "q" row, right(row), right(row), "3.5", "an answer"
            else if (task == "stsb") {
                label = row * 7 % 51 / 10
                told = constant ? 2.5 : right(row) ? label : 5 - label
                print row, label, told, told
            } else {
                classes = task ~ /mnli/ ? 3 : 2
                label = classes == 3 ? row % 3 : task == "mrpc" || task == "cola" ? row % 3 > 0 : row % 20 > 8
                print row, label, constant ? 1 : right(row) ? label : (label + 1) % classes, "0.5"
            }
    }'
}

# record STAGE SETTINGS MORE: the record of a stage
record() {
    cat >"$run/stages/$1.json" <<END
{"stage": "$1", "key": "0", "device": "Difference Engine No. 2, 1 crank", "threads": 1, "finished": "1849-01-01",
 "seconds": 700, "steps": ${4:-240}, "tokens": 120000, "cuts": [], "data": {}, "settings": {"run.seed": "1", $2}$3}
END
}

# make_up NAME DATA TASKS MODELS SEEDS EPOCHS QUALITIES: a run. QUALITIES: a list of MODEL:QUALITY or MODEL/TASK:QUALITY;
# who is not listed has 80. "bare" among them leaves out curves and benchmark
make_up() {
    run=$folder/$1
    mkdir -p "$run/stages" "$run/predictions" "$run/curves"
    cp -r tests/fixtures/run/models tests/fixtures/run/bench.json "$run"
    printf 'base = code/mini.settings\n[run]\ndata = %s\n[finetune]\ntasks = %s\nmodels = %s\nseeds = %s\n[distill]\nseeds = 1\n[student-ensemble]\nteachers = 1\n' "$2" \
        "$(echo "$3" | sed 's/ mnlimm//')" "$4" "$5" >"$run/made-up.settings"
    record teacher '"corpus.length": "48"' ', "beginning": "from scratch"'
    for model in $4; do
        taught=$(echo "\"corpus.length\": \"48\", \"distill.epochs\": \"$6\", \"distill.batch\": \"32\", \"distill.rate\": \"1e-3\"," \
            '"distill.schedule": "linear", "distill.mlm": "2", "distill.kl": "5", "distill.cosine": "1", "distill.temperature": "2"')
        [ "$model" = teacher ] || record "distill-$model" "$taught" ', "teacher_accuracy": 0.61' "$([ "$6" != 0 ] || echo 0)"
        [ "$model" = teacher ] || sed "$([ "$6" != 0 ] || echo 2q)" \
            tests/fixtures/run/curves/distill-student-validation.tsv >"$run/curves/distill-$model-validation.tsv"
        for task in $3; do
            quality=80
            for wish in $7; do
                case $wish in "$model:"* | "$model/$task:"*) quality=${wish##*:} ;; esac
            done
            section=finetune lasts=1
            [ "$task" != squad ] || section=squad lasts=2
            for seed in $5; do
                record "finetune-$task-$model-$seed" \
                    "\"$section.length\": \"64\", \"$section.epochs\": \"$lasts\", \"$section.batch\": \"16\", \"$section.rate\": \"3e-4\"" ''
                answers "$task" "$quality" "$seed" >"$run/predictions/$task-$model-$seed.tsv"
            done
        done
    done
    [ "$6" = 0 ] || cp tests/fixtures/run/curves/distill-student.tsv "$run/curves"
    case $7 in *bare*) rm -r "$run/curves" "$run/bench.json" ;; esac
}

# book NAME ARGUMENT …: the chapters with the numbers of a run, in HTML
book() {
    name=$1
    shift
    pandoc --wrap=none --lua-filter code/weave.lua --citeproc -M bibliography=chapters/references.bib -M figures=. \
        -M values="$folder/$name/values.json" -M values=chapters/published.json -M results="$folder/$name" \
        -M xref="$folder/xref.json" -M command='make report' -t html "$@" chapters/*.md 2>"$folder/$name/warnings"
    ! grep error "$folder/$name/warnings"
}

# weave NAME: its summary as plain text, a paragraph a line
weave() {
    "$distil" results --profile "$folder/$1/made-up.settings" --run "$folder/$1" --checks "$folder/checks.tsv" &&
        book "$1" -M summary=true >"$folder/summary.html" &&
        pandoc -f html -t plain --wrap=none "$folder/summary.html" 2>/dev/null | sed 's/\xC2\xA0/ /g' >"$folder/$1/text" &&
        [ -s "$folder/$1/text" ]
}

# The text in three parts: what is prose; what of it is about this run, and not about the paper; and one of its sentences a line.
prose() { sed '/^References$/,$d' "$folder/$1/text" | grep -vE '^( |make report|\[\]$|$)'; }
own() {
    prose "$1" | awk '/^Introduction$/ { theirs = 1 } /^Methodology$/ { theirs = 0 } /^Reflections$/ { theirs = 1 } !theirs' |
        sed 's/\([.:?]\) /\1\n/g' | grep -vE "paper|transformers|course project"
}

titles="cola:CoLA mrpc:MRPC imdb:IMDb sst2:SST-2 qqp:QQP stsb:STS-B mnli:MNLI qnli:QNLI rte:RTE wnli:WNLI squad:SQuAD"

# reads_well NAME TASKS: is it English, and about these tasks?
reads_well() {
    prose "$1" >"$folder/prose"
    own "$1" >"$folder/own"
    bad='(^|[^a-z])nan([^a-z]|$)|undefined|\{\{|\(\)|  |– (%|layer|epoch)|(^|[^0-9.,])[01] (epoch|seed|layer|start|task|row|claim|run)s'
    bad="$bad|[.?!] [a-z]|[ ][.,;]|[.]{2}|,,|[^a-z]and and"
    sed 's/^-  *//; s/make report/Make report/' "$folder/prose" | grep -oE ".{0,40}($bad).{0,40}" && return 1
    for title in $titles; do
        case " $2 " in *" ${title%:*} "*) continue ;; esac
        grep -n "${title#*:}" "$folder/own" && return 1
    done
    return 0
}

says() { # says NAME TEXT …: each stands in the report
    for text in "$@"; do
        [ "$text" = "$1" ] || grep -qF -- "$text" "$folder/$1/text" || { echo "not there: $text"; return 1; }
    done
}
never() { ! grep -F -- "$2" "$folder/$1/text"; }
row() { tr '\t' '|' <"$folder/$1/tables/$2.tsv" | grep -m 1 "^$3"; } # row NAME TABLE BEGINNING: a row of a table, cells apart by |

# a run a line: its name, and what make_up takes
runs() {
    while IFS='|' read -r name data tasks models seeds epochs qualities; do
        "$1" $name $data "$tasks" "$models" "$seeds" "$epochs" "$qualities"
    done <<END
chance|real|rte wnli|teacher student|1 2 3|10|teacher:constant student:constant
half|real|rte wnli|teacher student|1 2 3|10|teacher/wnli:constant student:70
one|real|cola|teacher student|1|1|student:60
squad|real|squad|teacher student|1|3|student:70
stsb|real|stsb|teacher student student-random|1 2|3|student:70
few|real|imdb squad|teacher student|1|0.5|student:70
untaught|toyland|cola mrpc imdb|teacher student student-alone|1 2 3|0|student:70
three|real|cola mrpc imdb|teacher student|1 2 3 4 5|10|student:75
two-of-three|real|cola mrpc imdb|teacher student|1 2 3|10|teacher/mrpc:constant student:75
all-chance|toyland|cola mrpc imdb|teacher student|1 2|3|teacher:constant student:constant
beyond|real|cola mrpc imdb rte squad|teacher student student-released|1 2|3|student:76
toy-one|toyland|mrpc|teacher student student-no-kl|1|2|student:75 student-no-kl:60
bare|real|rte sst2|teacher student|1 2|3|bare
teacher|real|rte|teacher|1|3|bare
student|real|rte wnli|student|1|3|
every|real|cola mrpc sst2 qqp stsb mnli mnlimm qnli rte wnli squad|teacher student student-released student-course student-random student-no-mlm student-no-kl student-no-cosine student-undistilled student-paper student-first student-last student-ends student-relations student-twice student-ensemble|1|10|student:75 student-no-kl:60 student-ensemble:75
END
}
runs make_up

look() { # look NAME DATA TASKS …: what every report has to be
    check "$1: it weaves" weave "$1"
    check "$1: it is English, and about its own tasks" reads_well "$1" "$3"
    check "$1: no number is made up" sh -c "! grep -rniE '(^|[^a-z])(-?nan|-?inf)([^a-z]|$)' '$folder/$1/values.json' '$folder/$1/summary.json' '$folder/$1/tables'"
    for figure in training scores confusion keeping; do
        check "$1: $figure is drawn" draws "$1" $figure
    done
}
draws() {
    gnuplot -e "results='$folder/$1'; output='$folder/$2.tikz'; terminal='tikz'" "figures/$2.gp" >"$folder/said" 2>&1 &&
        same "$(cat "$folder/said")" "" && [ -s "$folder/$2.tikz" ]
}
runs look

check "no task counts: the abstract says so, and why" says chance \
    "What our student keeps of its teacher’s score is not defined (table 1): the teacher is not above a constant answer on RTE and WNLI." \
    "So nothing can be held against the paper’s 97 % or the 94.35 % of the course project" "No task of this run counts"
check "and no percentage is praised" never chance "% of its teacher’s score ("
check "nor is one in the tables" same "$(row chance claim RTE | cut -d '|' -f 8-) $(row chance retention 'student|mean')" \
    "55.0|55.0|not defined student|mean||||not defined|–"
check "nor is there a verdict" same "$(grep -c 'not decided.no task counts' "$folder/chance/tables/verdicts.tsv")" 2
check "table 1 has our rows" same "$(row chance glue teacher)" "teacher|–|–|–|–|–|–|55.0|–|–|55.0"

check "one task counts: the abstract names it, and the other" says half "On RTE our student keeps 87.5 % of its teacher's score" \
    "No other task counts: the teacher is not above a constant answer on WNLI." \
    "of the course project whose experiment we follow are means over other tasks, with which it is not compared." \
    "The mean of this run is over RTE." "The mean is over RTE alone: the teacher is not above a constant answer on WNLI."
check "the paper's figures of both tasks stand beside ours" same "$(row half claim RTE) $(row half claim WNLI | cut -d '|' -f 8-)" \
    "RTE|{{paper.table1.bert.rte}}|{{paper.table1.distilbert.rte}}|{{paper.ratio.rte}}|–|–|–|80.0|70.0|87.5 55.0|70.0|not defined"
check "the mean of the three is not ours" same "$(row half claim 'mean of the three' | cut -d '|' -f 10) $(row half claim 'mean of those' |
    cut -d '|' -f 10)" "– 87.5"
check "claims about other tasks are not decided" same \
    "$(grep -c 'not decided.other tasks count than the claim' "$folder/half/tables/verdicts.tsv")" 2
check "the retention table says by name what does not count" same "$(row half retention 'student|WNLI')" "student|WNLI|55.0|55.0|70.0|not defined|–"

check "one epoch, one seed" says one "learns for 1 epoch of the corpus" "from 1 random start. A batch has 16 rows of at most 64 tokens," \
    "the rate is 3e-4, and the number of epochs 1, where a task has no settings of its own" "each of one seed" \
    "a score is Matthews correlation for CoLA (Warstadt, Singh, and Bowman 2019), the mean of accuracy and F1 for MRPC"
check "without a spread" same "$(grep -c ± "$folder/one/tables/scores.tsv")" 0
check "SQuAD alone" says squad "On SQuAD our student keeps 87.5 %" "The settings of each task are in"
check "has no confusions" never squad "Confusion"
check "STS-B alone" says stsb "On STS-B our student" "from 2 random starts"
check "a task with settings of its own" says few "the number of epochs 1, where a task has no" "for 0.5 epochs of the corpus" "IMDb and SQuAD our student"
check "a student that was not distilled" says untaught "This student was not distilled, since the settings ask for no epochs of it" \
    "There was none: the settings ask for no epochs." "The student took no step" "no part of the recipe can be missed"
check "is held against no claim about English" same "$(grep -c 'keeps' "$folder/untaught/tables/verdicts.tsv")" 0
check "nor has it a figure of its training" never untaught "The distillation over its steps"
check "the three tasks are compared as ever" says three "On CoLA, MRPC and IMDb our student keeps" "the paper’s 97 % and" "Task by task, it keeps between 81.2 % of CoLA and 94.6 % of MRPC."
check "and their mean is that of the three" same "$(row three claim 'mean of the three' | cut -d '|' -f 10) $(row three claim 'mean of those')" \
    "$(sed -n 's/.*"retention.mean.student": "\(.*\)",/\1/p' "$folder/three/values.json") "
check "where one of the three does not count, the others are compared with nothing" says two-of-three \
    "On CoLA and IMDb our student keeps" "No other task counts: the teacher is not above a constant answer on MRPC." "means over other tasks"
check "all at chance on Toyland" says all-chance "is not defined: the teacher is not above a constant answer on toy CoLA, toy MRPC and toy IMDb."
check "further tasks stand apart" says beyond "as it was published, from which the course project’s code set out, keeps" "The other tasks of GLUE (table 2) are not" "On CoLA, MRPC and IMDb our student" \
    "not distinguishable from the course project’s"
check "one toy task" says toy-one "On toy MRPC our student keeps" "By the mean score (in brackets, its change), worse than the student is “no soft targets”"
check "without benchmark and curves" says bare "The size and the speed of the student were not measured." "kept no curve of the student’s training"
check "without a student" says teacher "is not defined: the student did not answer RTE." "This run has no student"
whole() { book "$1" >"$folder/book.html" && grep -q 'id="sec:results-program"' "$folder/book.html"; }
check "the whole book weaves with as little" whole teacher

numbered() { # where the book refers to a chapter, it is by the number of the chapter's file
    for file in chapters/*.md; do
        id=$(sed -n 's/^# .*{#\(.*\)}$/\1/p' "$file" | head -n 1)
        number=$(basename "$file" | sed 's/^0//; s/-.*//')
        grep -oE "href=\"#$id\">[0-9.]+<" "$folder/book.html" | sed 's/.*>\(.*\)</\1/' | sort -u >"$folder/numbers"
        [ ! -s "$folder/numbers" ] || echo "$id $number" "$(paste -sd ' ' "$folder/numbers")"
    done >"$folder/numbered"
    [ "$(wc -l <"$folder/numbered")" -gt 50 ] && ! awk '$2 != $3 || NF != 3' "$folder/numbered" | grep .
}
check "a chapter's number in the book is that of its file" numbered
check "without a teacher" says student "is not defined: the teacher did not answer RTE and WNLI."
check "ten tasks and fifteen models" says every "and SQuAD our student keeps" "QNLI, RTE, WNLI and SQuAD the teacher’s whole interval is above a constant answer" \
    "worse than the student is “no soft targets” (−" "better than it are “random start” (+" "With other layers than the teacher’s layers 0 and 2, better than the student are" \
    "No student of half the layers took at most an hour (table" \
    "With fine-tuned teachers to hear while a task is learned" "; not distinguishable from it is “taught by an ensemble”"

# a run that has come no further than its first tier: one seed of teacher and student
make_up core toyland "cola mrpc imdb" "teacher student student-no-kl" "1 2 3" 3 student:75
rm -f "$folder"/core/predictions/*-[23].tsv "$folder"/core/*/*-no-kl*
check "a run of which only the core is there weaves" weave core
check "in English" reads_well core "cola mrpc imdb"
check "it says how far it has come" says core "This report has: teacher and student, one seed. Still to come: further seeds; ablations." "each of one seed"
check "and calls nothing missing that is to come" never core "Not everything"
check "what is not there has no row" same "$(cut -f 1 "$folder"/core/tables/scores.tsv | xargs) $(sed 1d "$folder"/core/tables/ablation.tsv | cut -f 1)" \
    "Model a constant answer teacher student student, all terms"

# students that took less than an hour
make_up hour real "cola mrpc imdb" "teacher student student-first" 1 10 "student:75 student-first:78"
sed -i 's/"seconds": 700/"seconds": 70/' "$folder"/hour/stages/*
check "what an hour can buy weaves" weave hour
check "in English" reads_well hour "cola mrpc imdb"
check "and names the best of several" says hour "Of 2 students of half the layers that took at most an hour, “the first half of the layers” keeps most: "
rm "$folder"/hour/*/*student-first* && sed -i 's/^models = .*/models = teacher student/' "$folder/hour/made-up.settings"
check "without others nobody asks" eval 'weave hour && never hour "at most an hour"'

# a misspelt key would leave its block out for ever, or in: each key that a condition names some run has, or it is one of
# these, which want what no run here has
conditions() {
    grep -ohE '^::: [{][.]when [^}]*' "$@" | sed -E 's/^::: [{][.]when//; s/ [.]on//; s/(has|lacks)="([^"]*)"/\2/g; s/(has|lacks)=//g
        s/="[^"]*"//g; s/=[^ ]*//g' | tr ' ' '\n' | grep . | sort -u
}
{
    sed -n 's/^  "\([^"]*\)": .*/\1/p' "$folder"/*/values.json results/reference/*/values.json
    printf '%s\n' bench.aimed.share bench.onnxruntime.pass_one_core.student.speed_ratio kept.most.interval more.best unavailable \
        bench.pytorch.pass_one_core.student.speed_ratio bench.pytorch.usual.distillation.speed_ratio held-back.scored
} | sort -u >"$folder/keys"
unheard() { conditions "$@" | comm -23 - "$folder/keys" | xargs; }
check "the keys of conditions are those of runs" same "$(unheard chapters/*.md)" ""
echo '::: {.when .on run.data=real has="cuts retention.student.task" lacks=missing}' >"$folder/misspelt"
check "a misspelt one is found" same "$(unheard "$folder/misspelt")" retention.student.task

# what looks for bad English finds it
finds() { sed "s/^Models\. /&$1 /" "$folder/one/text" >"$folder/chance/text" && ! reads_well chance "cola rte wnli"; }
for slip in "On SST-2 it is so." "It has 1 epochs." "It is nan." "{{key}} is so." "It is so. so it is." "It is so ." "It took – layers." "Two  spaces."; do
    check "a slip is found: $slip" finds "$slip"
done
exit $failed
