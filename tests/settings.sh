# Settings through the whole program: a slip of the pen is refused before anything is trained; and a teacher that comes
# with its head needs none of the settings that would train one.
set -u
export OMP_NUM_THREADS=1
. tests/check.sh
$distil toyland --out "$folder/data" --seed 5 --paragraphs 60 --train 60 --dev 40 || exit 1
sed '/^\[distill\]/i[head]\nepochs = 1\nbatch = 8\naccumulate = 1\npad = 0\nrate = 5e-4\nwarmup = 0\nschedule = linear\
beta1 = 0.9\nbeta2 = 0.98\nepsilon = 1e-6\ndecay = 0\nclip = 1\n' tests/fixtures/tiny.settings >"$folder/headed.settings"
of() { echo "--profile $folder/headed.settings --run $folder/$1 --data $folder/data"; } # of RUN

check "a teacher is made" run 0 pretrain $(of scratch) --teacher scratch
check "with its head it is adopted" run 0 pretrain $(of adopted) --teacher "$folder/scratch/models/teacher"
check "the memory that it took is in the record" grep -qE '"memory": [0-9]{7,10},' "$folder/adopted/stages/teacher.json"
check "its weights are what they were" cmp "$folder/scratch/models/teacher/model.safetensors" \
    "$folder/adopted/models/teacher/model.safetensors"
check "that is in the record" grep -q '"beginning": "adopted"' "$folder/adopted/stages/teacher.json"

refused() { # refused KEY STAGE ARGUMENT …: before there is a curve or a checkpoint
    key=$1; shift
    rm -rf "$folder/slip" && mkdir "$folder/slip" && cp -r "$folder/scratch/models" "$folder/slip"
    run 1 "$@" && grep -qF "the setting \"$key\" of [" "$folder/err" && ! grep -q "loss" "$folder/err" &&
        same "$(ls "$folder/slip")" models
}
check "a slip in the teacher's settings" refused epoch pretrain $(of slip) --teacher scratch --teacher.epoch 3
check "in a student's" refused kl-position distill $(of slip) --student student-alone \
    --student-alone.kl-position all
check "in a task's" refused row finetune $(of slip) --task cola --model "$folder/slip/models/teacher" --name teacher \
    --seed 1 --finetune.row 9

# settings are chosen by rows that are neither trained on nor reported: another part of the training set
of_held_back="$(of held) --task mrpc --model $folder/scratch/models/teacher --name teacher --seed 1 --finetune.exam held-back"
check "rows are held back before they are predicted" run 1 finetune $of_held_back
check "that is said" grep -qF "exam: expected held-back to be 1 or more" "$folder/err"
check "held-back rows are predicted" run 0 finetune $of_held_back --finetune.held-back 20
check "as many as were asked for" same "$(wc -l <"$folder/held/predictions/mrpc-teacher-1.tsv")" 21
# a student of each other recipe; three epochs are not one, so that "more" differs here in reading less
check "the plain student is distilled" run 0 distill $(of scratch) --student student --distill.schedule constant --distill.rate 1e-4
for recipe in weights schedule more tasks every combined; do
    check "so is the one of another recipe, $recipe" run 0 distill $(of scratch) --student "student-$recipe" \
        --distill.schedule constant --distill.rate 1e-4 --distill.mlm 0.5 --distill.layers "0 1"
    cp "$folder/scratch/models/student-$recipe/model.safetensors" "$folder/$recipe"
done
check "they are all different" same "$(cd "$folder" && sha256sum weights schedule more tasks every combined scratch/models/student/model.safetensors |
    cut -c 1-64 | sort -u | wc -l)" 7

# a student reads the training rows of tasks as text, but none that is held back
reads() { run 0 distill $(of scratch) --student student-tasks --student-tasks.train-tokens 0 --student-tasks.epochs 1 "$@"; }
tokens() { sed -n 's/^  "tokens": \([0-9]*\),*$/\1/p' "$folder/scratch/stages/distill-student-tasks.json"; }
check "a student reads the text of tasks" reads
all=$(tokens)
check "with the corpus beside it" reads --student-tasks.train corpus/wiki.train.tokens
check "that is more" [ "$(tokens)" -gt "$all" ]
check "all rows of a task but one are held back" run 0 finetune $(of held) --task cola --model "$folder/scratch/models/teacher" \
    --name teacher --seed 1 --finetune.exam held-back --finetune.held-back 59
check "a student reads that one" reads --student-tasks.tasks cola --finetune.held-back 59
left=$(seq 0 59 | grep -vxF "$(sed 1d "$folder/held/predictions/cola-teacher-1.tsv" | cut -f 1)")
check "and no other" same "$(tokens)" \
    "$(sed -n "$((left + 1))p" "$folder/data/glue/CoLA/train.tsv" | cut -f 4 | $distil tokenize --vocab "$folder/data/vocab.txt" | wc -w)"
check "too few tokens for a row are refused" run 1 distill $(of scratch) --student student-tasks --student-tasks.train-tokens 3
check "that is said" grep -qF "train-tokens: 3 are too few for a sequence of CoLA, MRPC, IMDb" "$folder/err"
check "so is a text that is not there" run 1 distill $(of scratch) --student student-more --student-more.train wikitext-103/none
check "by its name" grep -qF "expected the train corpus there: wikitext-103/none" "$folder/err"
mkdir -p "$folder/tiny" && mv "$folder/data" "$folder/tiny/data" && ln -s "$distil" "$folder/distil"
choose() { BUILD=$folder sh code/choose.sh tests/fixtures/tiny.settings "1e-3" "1 2" --finetune.held-back 20 >"$folder/choice"; }
check "a choice is tried" choose
check "each task and number of epochs has its scores" same "$(cut -f 1-3 "$folder/choice" | tr '\t\n' '  ')" \
    "task rate epochs cola 1e-3 1 cola 1e-3 2 imdb 1e-3 1 imdb 1e-3 2 mrpc 1e-3 1 mrpc 1e-3 2 "
check "the mean is that of teacher and student" awk 'NR > 1 && ($4 + $5 - 2 * $6) ^ 2 > 1e-3 { exit 1 }' "$folder/choice"
cp "$folder/choice" "$folder/first"
check "what was tried is not tried again" sh -c "BUILD=$folder DISTIL_CACHE= timeout 3 sh code/choose.sh \
    tests/fixtures/tiny.settings 1e-3 '1 2' --finetune.held-back 20 | cmp - $folder/first"
mv "$folder/tiny/data" "$folder/data"

# the first stage refuses what only a later one would read
check "a slip in a later stage's settings" refused row pretrain $(of slip) --teacher scratch --finetune.row 9
check "or in a student's that has no turn yet" refused lawyers pretrain $(of slip) --teacher scratch --student-alone.lawyers 1
printf '[mrcp]\nseeds = 1\n' >>"$folder/headed.settings"
check "a section that nothing reads" run 1 pretrain $(of slip) --teacher scratch
check "it is named" grep -qF "headed.settings: [mrcp] is no section that any stage reads" "$folder/err"
exit $failed
