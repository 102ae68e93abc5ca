#!/bin/sh
# From a finished run to its numbers: distil results on a run that never happened (tests/fixtures/run).
. tests/check.sh
run=$folder/made-up

fresh() { rm -rf "$run"; cp -r tests/fixtures/run "$run"; }
settings=made-up.settings
results() { "$distil" results --profile "$run/$settings" --run "$run" --checks "$run/checks.tsv" --key 0123 "$@"; }
value() { awk -F '"' -v key="$1" '$2 == key { print $4 }' "$run/values.json"; }
is() { [ "$(value "$1")" = "$2" ] || { echo "$1 is \"$(value "$1")\", expected \"$2\""; return 1; }; }
refuses() { # refuses MESSAGE: results must fail with it and leave no values
    results >"$folder/out" 2>&1; status=$?
    cat "$folder/out"
    [ "$status" = 1 ] && grep -qF "$1" "$folder/out" && [ ! -e "$run/values.json" ] && ! ls "$run"/*.partial 2>/dev/null
}
no_nan() { [ -s "$run/values.json" ] && ! grep -rniE '(^|[^a-z])(-?nan|-?inf)([^a-z]|$)' "$run/values.json" "$run/summary.json" "$run/tables" "$run/figures"; }

# the same scores by other means: medians over seeds, and their ratios, in awk
again() {
    for task in cola mrpc imdb; do
        for model in teacher student; do
            for seed in 1 2 3; do
                awk -v task=$task 'NR > 1 { c[$2 $3]++ }
                    END { n = c["00"] + c["01"] + c["10"] + c["11"]
                        accuracy = (c["00"] + c["11"]) / n; f1 = 2 * c["11"] / (2 * c["11"] + c["01"] + c["10"])
                        matthews = (c["11"] * c["00"] - c["01"] * c["10"]) / sqrt((c["11"] + c["01"]) * \
                            (c["11"] + c["10"]) * (c["00"] + c["01"]) * (c["00"] + c["10"]))
                        print 100 * (task == "cola" ? matthews : task == "mrpc" ? (accuracy + f1) / 2 : accuracy) }' \
                    "$run/predictions/$task-$model-$seed.tsv"
            done | sort -g | sed -n 2p
        done
    done | awk '{ if (NR % 2) teacher = $1; else sum += 100 * $1 / teacher } END { printf "%.1f\n", sum / 3 }'
}

fresh
check "a finished run is summed up" results
check "retention is what awk makes of the predictions" is retention.mean.student "$(again)"
check "the toy tasks are called toys" is retention.student.tasks "toy CoLA, toy MRPC and toy IMDb"
check "figures of the tests are taken over" is check.cosine.error 1.2e-9
check "the day is that of the latest stage" is run.date 1849-01-01
check "cuts are stated once" is cuts \
    "made-up corpus train: the first 400,000 of 1,000,000 tokens; IMDb test: 80 of 25,000 rows"
check "a few cuts are told in full" is cuts.brief "$(value cuts)"
sed -i 's/"cuts": \[\]/"cuts": ["a", "b", "c", "d", "e", "f"]/' "$run/stages/distill-student.json"
results
check "of many only the first few" is cuts.brief "$(value cuts | cut -d ";" -f -6); 2 more"
fresh
results
check "students that lack a part are told apart by what is decided" is ablation.parts.sentence \
    "worse than the student are “no teacher at all” ($(value ablation.student-alone)) and “no soft targets” ($(value ablation.student-no-kl))"
check "there are none of other kinds" same "$(value ablation.further) $(wc -l <"$run/tables/students.tsv")" " 2"
check "one that was not run has nothing to say" same "$(grep -c 'student-no-mlm' "$run/values.json")" 0
check "and no row" same "$(cut -f 1 "$run/tables/ablation.tsv" | tr '\n' /)" \
    "Student/student, all terms/student, no soft targets/student, no teacher at all/"
check "what the settings ask for and the run lacks is named" sh -c \
    "grep -q 'IMDb of the student, no soft targets, seed 1' $run/values.json"
check "the models' shapes are read from their folders" is teacher.shape "4 layers of width 128"
check "no value is a NaN" no_nan
check "without more of GLUE its table is the paper's" same "$(sed 's/\t.*//' "$run/tables/glue.tsv" | xargs)" \
    "Model paper: ELMo paper: BERT paper: DistilBERT"
row() { grep -P "^finetune-cola-student\t" "$run/tables/stages.tsv" | cut -f 6; }
check "memory that no record knows is not made up" same "$(row)" "–"
sed -i 's/"seconds"/"memory": 4931000000, "seconds"/' "$run/stages/finetune-cola-student-2.json"
results
check "of the runs in a row the largest counts" same "$(row)" 4.93
check "the table of speed is the paper's and ours" same "$(sed 1d "$run/tables/speed.tsv" | cut -f 2- | tr '\t\n' ' /')" \
    "{{paper.table3.elmo.parameters}} {{paper.table3.elmo.seconds}} –/{{paper.table3.bert.parameters}} \
{{paper.table3.bert.seconds}} 1.00/{{paper.table3.distilbert.parameters}} {{paper.table3.distilbert.seconds}} \
{{paper.ratio.speed}}/1.10 12.5 1.00/0.600 6.50 1.92/1.10 8.25 1.00/0.600 4.50 1.83/"
check "the losses are thinned for print" [ "$(wc -l <"$run/figures/losses.tsv")" = 101 ]
cp -r "$run" "$folder/first"
OMP_NUM_THREADS=3 results >"$folder/log" 2>&1
check "the same run gives the same bytes" diff -r "$folder/first" "$run"

# two lanes: the same steps with the teacher reading in turn
check "a device of one lane has nothing to say of two" is bench.distillation.lanes ""
sed -i 's/"distillation": {/&"seconds": 0.4, "seconds_in_turn": 0.5,/' "$run/bench.json"
results >"$folder/log" 2>&1
check "what two lanes are worth is said" is bench.distillation.lanes 1.25
cp "$folder/first/bench.json" "$run/bench.json"
results >"$folder/log" 2>&1

# a committed run on a GPU: what it measured and counted, twice as long for products and half as long for the optimiser
check "without a committed run on a GPU none is quoted" is gpu.run ""
mkdir -p "$folder/reference/a-cpu" "$folder/reference/b-gpu"
echo '{"gpu": "no"}' >"$folder/reference/a-cpu/bench.json"
step='"steps": 10, "seconds": 0.05, "tokens_per_second": 200000, "share": 0.25,
    "families": {"gemm": {"seconds": 0.02, "counted": 0.01}, "optimiser": {"seconds": 0.005, "counted": 0.01}}'
cat >"$folder/reference/b-gpu/bench.json" <<END
{"gpu": "yes", "device": "A GPU", "squares": {"rate": 7e14}, "distillation": {$step}, "finetuning": {$step},
 "estimate": {"minutes": 30, "families": {"gemm": {"minutes": 20, "distillation": 10, "teacher": 6, "student": 4},
    "optimiser": {"minutes": 10, "distillation": 8, "teacher": 1, "student": 1}}}}
END
results --reference "$folder/reference" >"$folder/log" 2>&1
check "a committed run on a GPU is quoted" same "$(value gpu.run) $(value gpu.device) $(value gpu.distillation.milliseconds) \
$(value gpu.distillation.counted) $(value gpu.estimate.all.minutes) $(value gpu.estimate.all.stretched)" "b-gpu A GPU 5.00 2.00 30.0 45.0"
check "its table has measured and counted times" same "$(sed 1d "$run/tables/gpu.tsv" | tr '\t\n' ' /')" \
    "matrix products 2.00 1.00 2.00 1.00 20.0 40.0/optimiser 0.500 1.00 0.500 1.00 10.0 5.0/"
results >"$folder/log" 2>&1
cp "$run/predictions/cola-teacher-1.tsv" "$run/predictions/cola-teacher-9.tsv"
sed 's/\t1\t0\./\t0\t0./' "$run/predictions/cola-teacher-1.tsv" >"$run/predictions/sst2-teacher-1.tsv"
results >"$folder/log" 2>&1
check "leftovers of other settings are not counted" diff "$folder/first/values.json" "$run/values.json"

fresh
for seed in 1 2 3; do # a teacher that always says 1
    awk -F '\t' -v OFS='\t' 'NR > 1 { $3 = 1 } 1' "$run/predictions/cola-teacher-$seed.tsv" >"$folder/constant"
    cp "$folder/constant" "$run/predictions/cola-teacher-$seed.tsv"
done
check "a teacher that scores nothing is summed up" results
check "and its task has no retention" same "$(value retention.cola.student): $(value retention.student.left-out)" \
    "not defined: the teacher is not above a constant answer on toy CoLA"
check "and the mean is over the other tasks" is retention.student.tasks "toy MRPC and toy IMDb"
check "and no NaN comes of it" no_nan

check "its fine-tunings are counted as collapsed" is collapsed.count "3 fine-tunings"
check "they touch the median" is collapsed.medians yes
check "the table of seeds names them" same "$(grep -P '^toy CoLA\tteacher' "$run/tables/seeds.tsv" | cut -f 6)" "1, 2 and 3"
check "the score has a mark" same "$(grep -P '^teacher' "$run/tables/scores.tsv" | cut -f 2)" "0.0 ± 0.0 †"
fresh
cp "$folder/constant" "$run/predictions/cola-teacher-3.tsv"
results >"$folder/log"
check "one of three that collapsed is counted" is collapsed.count "1 fine-tuning"
check "and does not touch the median" same "$(value collapsed.medians) $(grep -c † "$run/tables/scores.tsv")" " 0"

# a student of several distillations: its fine-tunings come from one after the other
fresh; results >"$folder/log"; narrow=$(value score.mrpc.student.interval)
for seed in 4 5 6; do
    for task in cola mrpc imdb; do
        cp "$run/predictions/$task-teacher-$((seed - 3)).tsv" "$run/predictions/$task-teacher-$seed.tsv"
        cp "$run/predictions/$task-teacher-$((seed - 3)).tsv" "$run/predictions/$task-student-$seed.tsv"
    done
done
sed -i '/^\[finetune/,$s/^seeds = .*/seeds = 1 4 2 5 3 6/' "$run/$settings"
results --student.seeds "1 2" >"$folder/log"
check "an interval knows of the student's distillations" same "$(value distillations.starts)" "2 random starts"
wide=$(value score.mrpc.student.interval); results --student.seeds 1 >"$folder/log"
width() { echo "$1" | awk '{ print $3 - $1 }'; }
check "and is wider for that" awk -v known="$(width "$wide")" -v ignored="$(width "$(value score.mrpc.student.interval)")" \
    'BEGIN { exit !(known > ignored) }'
check "where each fine-tuning is taken for one of its own, it is not told of" is distillations.starts ""

fresh
rm "$run"/predictions/mrpc-* "$run"/predictions/imdb-*
for seed in 1 2 3; do
    awk -F '\t' -v OFS='\t' 'NR > 1 { $3 = 1 - $2 } 1' "$run/predictions/cola-teacher-$seed.tsv" >"$folder/wrong"
    cp "$folder/wrong" "$run/predictions/cola-teacher-$seed.tsv"
done
check "a teacher that is always wrong, on the only task" results
check "the mean retention is not defined" same "$(value retention.mean.student): $(value retention.student.left-out)" \
    "not defined: the teacher is not above a constant answer on toy CoLA"
check "nor can it be compared" is retention.student.paper ""
check "the summary holds null" grep -q '"mean": null' "$run/summary.json"
check "and no NaN comes of that" no_nan

fresh
rm "$run"/predictions/*-student-[0-9].tsv "$run/bench.json"; rm -r "$run/curves"
check "a run without student, curves and benchmark is summed up" results
check "and says what it lacks" is retention.student.left-out "the student did not answer toy CoLA, toy MRPC and toy IMDb"
check "what it lacks has no row" same "$(grep -cP '^student\t' "$run/tables/scores.tsv" "$run/tables/retention.tsv" | cut -d : -f 2 | xargs)" "0 0"

fresh; rm "$run/stages/distill-student-no-kl.json"
check "a stage that has not ended is no obstacle" results
check "and half of its curve is not drawn" eval '! grep -q "no soft targets" "$run/figures/accuracy.tsv"'

fresh; rm "$run/predictions/cola-student-2.tsv"
check "a missing seed is no obstacle" results
check "a missing seed is named" sh -c "grep -q 'CoLA of the student, seed 2' $run/values.json"

# what keeps more: a student of another recipe, and one that hears a teacher, with what they took
fresh
check "without such students nobody asks for an hour" same "$(results >"$folder/log"; grep -c '"hour"\|"minutes"' "$run/verdicts.json" "$run/summary.json" | cut -d : -f 2 | xargs)" "0 0"
further() { # further SECONDS: of the distillation of the student with relations
    fresh
    for seed in 1 2 3; do
        for task in cola mrpc imdb; do
            for model in student-relations student-twice; do
                cp "$run/predictions/$task-teacher-$seed.tsv" "$run/predictions/$task-$model-$seed.tsv"
            done
            for model in teacher student student-relations student-twice; do # 100, 101, … seconds; a teacher 500 more
                more=$([ $model = teacher ] && echo 500 || echo 0)
                sed "s/\"seconds\": [0-9.]*/\"seconds\": $((100 + seed + more))/" "$run/stages/finetune-cola-teacher-1.json" >"$folder/record"
                cp "$folder/record" "$run/stages/finetune-$task-$model-$seed.json"
            done
        done
    done
    sed "s/\"seconds\": [0-9.]*/\"seconds\": $1/" "$run/stages/distill-student.json" >"$run/stages/distill-student-relations.json"
    sed -i 's/^models = .*/models = teacher student student-relations student-twice/; s/^data = .*/data = real/' "$run/$settings"
    results >"$folder/log"
}
further 600
own=$(awk -F '[:,]' '/"seconds"/ { print $2 }' "$run/stages/distill-student.json")
check "a student takes a distillation, and the mean fine-tuning of each task" is minutes.student-relations "$(awk 'BEGIN { printf "%.1f", (600 + 3 * 102) / 60 }')"
check "one that is taught twice takes the first student's, and the teachers'" is minutes.student-twice \
    "$(awk -v own="$own" 'BEGIN { printf "%.1f", (own + 3 * (102 + 602)) / 60 }')"
check "the best of them is named" same "$(value more.quick): $(value more.best), $(value kept.most) ($(value kept.most.interval))" \
    "3 students: with relations, 100.0 (100.0 to 100.0)"
check "the claim passes" same "$("$distil" verdicts --run "$run" | grep 'within an hour' | tr -s ' ')" \
    "PASS half the layers can keep 97 % within an hour: 100.0; asked: at least 96.4; lies wholly at or above"
check "the figure has a point for each, the best first" same "$(cut -f 1,6 "$run/figures/kept.tsv" | tr '\t\n' ' /')" \
    "difference student/4 100.0 with relations/3 100.0 distilled twice/0 $(value retention.mean.student) student/"
check "and what was claimed" same "$(xargs <"$run/figures/claimed.tsv")" "retention whose 97 paper 94.35 course"
check "their table has the minutes" same "$(cut -f 1,7 "$run/tables/students.tsv" | tr '\t\n' ' /')" \
    "Student Minutes/student $(value minutes.student)/student, with relations 15.1/student, distilled twice $(value minutes.student-twice)/"
further 7000
check "who takes longer than an hour is no candidate" same "$(value more.quick): $(value more.best)" "2 students: distilled twice"
sed -i 's/"seconds": [0-9.]*/"seconds": 7000/' "$run/stages/distill-student.json"; results >"$folder/log"
check "where all do, there is none" same "$(value more.quick): $(value more.best)$(value kept.most)" "no students: "
check "and nothing is decided" same "$("$distil" verdicts --run "$run" | grep 'within an hour' | tr -s ' ')" \
    "not decided half the layers can keep 97 % within an hour: –; asked: at least 96.4; no small student took an hour or less"
further 600
rm "$run/models/teacher/config.json"; results --teacher.source bert-base-uncased >"$folder/log"
check "where nobody knows how deep the teacher is, nothing is said of half its layers" same "$(value more.quick) $("$distil" verdicts --run "$run" |
    grep 'within an hour' | tr -s ' ')" " not decided half the layers can keep 97 % within an hour: –; asked: at least 96.4; not measured in this run"
further 600
sed -i 's/^data = .*/data = toyland/' "$run/$settings"; results >"$folder/log"
check "of a generated language it is not asked" same "$(grep -c '"hour"' "$run/verdicts.json") $(wc -l <"$run/figures/claimed.tsv")" "0 1"
check "but minutes are drawn" same "$(wc -l <"$run/figures/kept.tsv")" 4
rm "$run"/stages/finetune-mrpc-student-relations-*; results >"$folder/log"
check "whose records are not there has none" same "$(value minutes.student-relations)" ""

# all of GLUE, and SQuAD: the same numbers by awk
count() { awk -F '\t' "NR > 1 { n++; $2 } END { printf \"%.1f\n\", 100 * ($3) }" "$run/predictions/$1-1.tsv"; }
accuracy() { for task; do count "$task" 'same += $2 == $3' 'same / n'; done; }
f1() { count "$1" 'hit += $2 && $3; told += $2 + $3' '2 * hit / told'; }
mean() { awk '{ sum += $1 } END { printf "%.2f\n", sum / NR }'; }
near() { awk -v a="$(value "$1")" -v b="$2" 'BEGIN { exit !(a ~ /^[0-9.]+$/ && (a - b) ^ 2 <= 0.1001 ^ 2) }' ||
    { echo "$1 is \"$(value "$1")\", expected about $2"; return 1; }; }
parts() { for task in cola mnli mrpc qnli qqp rte sst2 stsb wnli; do value "glue.$task.$1"; done; }

fresh; settings=made-up-full.settings
check "a run of all tasks is summed up" results
for model in teacher student; do
    check "F1 stands beside the mean with accuracy: MRPC, $model" is second.mrpc.$model "$(f1 mrpc-$model)"
    check "and so for QQP, $model" is second.qqp.$model "$(f1 qqp-$model)"
    check "GLUE counts F1 alone, $model" is glue.qqp.$model "$(f1 qqp-$model)"
    check "the score is the mean of both, $model" near score.qqp.$model "$({ f1 qqp-$model; accuracy qqp-$model; } | mean)"
    check "MNLI is the mean of both of its sets, $model" near glue.mnli.$model "$(accuracy mnli-$model mnlimm-$model | mean)"
    check "SQuAD's score is the overlap, $model" is score.squad.$model "$(count squad-$model 'sum += $3' 'sum / n')"
    check "exact matches stand beside it, $model" is second.squad.$model "$(count squad-$model 'sum += $4' 'sum / n')"
    check "the GLUE score is the mean of nine, $model" near glue.mean.$model "$(parts $model | mean)"
done
check "GLUE's table has the paper's rows and ours" same "$(cut -f 1 "$run/tables/glue.tsv" | tr '\n' /)" \
    "Model/paper: ELMo/paper: BERT/paper: DistilBERT/teacher/student/"
check "a row of it is the score and its parts" same "$(sed -n 's/^student\t//p' "$run/tables/glue.tsv" | xargs)" \
    "$({ value glue.mean.student; parts student; } | xargs)"
check "SQuAD's table has IMDb, exact matches and F1" same "$(sed -n 's/^teacher\t//p' "$run/tables/squad.tsv" | xargs)" \
    "$(for key in score.imdb second.squad score.squad; do value $key.teacher; done | xargs)"
check "the student's GLUE score is a share of the teacher's" near glue.kept.student \
    "$(awk -v s="$(value glue.mean.student)" -v t="$(value glue.mean.teacher)" 'BEGIN { print 100 * s / t }')"
check "with an interval" sh -c "echo '$(value glue.kept.student.interval)' | grep -qE '^[0-9.]+ to [0-9.]+$'"
check "retention is of the three tasks alone" is retention.student.tasks "CoLA, MRPC and IMDb"
check "retention of another task is told all the same" sh -c "echo '$(value retention.rte.student)' | grep -qE '^[0-9.]+$'"
check "confusions are of two classes" same "$(cut -f 1 "$run/tables/confusion.tsv" | uniq | xargs)" \
    "Task CoLA MRPC IMDb SST-2 QQP QNLI RTE WNLI"
check "the figures show the three tasks alone" same "$(cut -f 2 "$run/figures/tasks.tsv" | xargs)" "CoLA MRPC IMDb"
check "no value of them is a NaN" no_nan
retained=$(value retention.mean.student)

rm "$run"/predictions/wnli-student-1.tsv; results >"$folder/log"
check "what is missing is named" is missing "WNLI of the student, seed 1"
check "eight tasks give no GLUE score" same "$(value glue.mean.student)" ""
check "and no share of it" same "$(value glue.kept.student)" ""
check "the teacher has one still" near glue.mean.teacher "$(parts teacher | mean)"
check "retention is the same" is retention.mean.student "$retained"
fresh; rm "$run"/predictions/mnlimm-*; results >"$folder/log"
check "what no model answered is missing" is missing "MNLI mismatched of the teacher, seed 1; MNLI mismatched of the student, seed 1"
check "one half of MNLI is not MNLI" same "$(value glue.mnli.teacher)" ""
check "and without MNLI there is no GLUE score" same "$(value glue.mean.teacher)" ""
fresh; rm "$run"/predictions/imdb-*; results >"$folder/log"
for file in "$run"/predictions/*-student-1.tsv; do
    case $file in *mrpc*) ;; *) rm "$file" ;; esac
done
results >"$folder/log"
check "of much that is missing a few are named" is missing "CoLA of the student, seed 1; IMDb of the teacher, seed 1; \
IMDb of the student, seed 1; RTE of the student, seed 1; STS-B of the student, seed 1; 7 more"
fresh; rm "$run"/predictions/imdb-*; results >"$folder/log"
check "where one of the three is missing, every task counts that has a training set" is retention.student.tasks \
    "CoLA, MRPC, SST-2, QQP, STS-B, MNLI, QNLI, RTE, WNLI and SQuAD"
fresh; sed -i '1s/\texact/\tmatch/' "$run/predictions/squad-student-1.tsv"
check "spans without exact matches are refused" refuses 'squad-student-1.tsv: expected a column "exact" in the header'
settings=made-up.settings

fresh; sed -i 1d "$run/predictions/mrpc-student-2.tsv"
check "predictions without a header are refused" refuses 'mrpc-student-2.tsv: expected a column "index" in the header'
fresh; sed -i 5d "$run/predictions/mrpc-student-2.tsv"
check "other rows are refused" refuses "mrpc-student-2.tsv: expected the rows and labels of the other toy MRPC predictions"
fresh; sed -i '3s/\t[01]\t0/\t2\t0/' "$run/predictions/cola-teacher-1.tsv"
check "an unknown class is refused" refuses 'cola-teacher-1.tsv: line 3: expected a class from 0 to 1, found "2"'
fresh; sed -i '1s/prediction/label/' "$run/predictions/cola-teacher-1.tsv"
check "a column named twice is refused" refuses 'cola-teacher-1.tsv: line 1: the column "label" is named twice'
settings=made-up-full.settings
fresh; sed -i '3s/\t2.811\t/\t5.1\t/' "$run/predictions/stsb-teacher-1.tsv"
check "a label outside the task's range is refused" refuses 'stsb-teacher-1.tsv: line 3: expected a number from 0 to 5, found "5.1"'
fresh; sed -i '3s/\t1\t1\t/\t1.5\t1\t/' "$run/predictions/squad-teacher-1.tsv"
check "more than all of an answer is refused" refuses 'squad-teacher-1.tsv: line 3: expected a number from 0 to 1, found "1.5"'
settings=made-up.settings
fresh; echo '{"stage": ' >"$run/stages/teacher.json"
check "a broken record is refused" refuses "stages/teacher.json: expected a JSON object"
fresh; rm -r "$run/predictions"
check "a run without predictions is refused" refuses "expected predictions of at least one model"
fresh; sed -i 's/\t.*//' "$run/checks.tsv"
check "checks without a text are refused" refuses "checks.tsv: expected a key, a tab and a text"
exit $failed
