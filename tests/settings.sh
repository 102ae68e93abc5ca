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

# the first stage refuses what only a later one would read
check "a slip in a later stage's settings" refused row pretrain $(of slip) --teacher scratch --finetune.row 9
check "or in a student's that has no turn yet" refused lawyers pretrain $(of slip) --teacher scratch --student-alone.lawyers 1
printf '[mrcp]\nseeds = 1\n' >>"$folder/headed.settings"
check "a section that nothing reads" run 1 pretrain $(of slip) --teacher scratch
check "it is named" grep -qF "headed.settings: [mrcp] is no section that any stage reads" "$folder/err"
exit $failed
