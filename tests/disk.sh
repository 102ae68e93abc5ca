# A stage on a disk that takes nothing, on one that is full, on one that forgets, and killed half-way through a checkpoint. The disk is what
# stands where the checkpoint is written before it has its name: a pipe that nobody reads, or the device that is always full.
set -u
. tests/check.sh

$distil toyland --out "$folder/data" --seed 3 --paragraphs 60 --train 60 --dev 40 || exit 1

train() { # train RUN: the teacher, from the checkpoint if there is one; what it says stays in RUN.said
    exec "$distil" pretrain --profile tests/fixtures/tiny.settings --run "$folder/$1" --data "$folder/data" --resume --lines \
        --teacher scratch 2>"$folder/$1.said"
}
stage() { (train "$1"); }

from_early() { # from_early RUN: a run that was interrupted after its first checkpoint
    mkdir -p "$folder/$1/checkpoints"
    cp -r "$folder/whole/curves" "$folder/$1"
    cp "$folder/early" "$folder/$1/checkpoints/teacher.safetensors"
}
partial() { echo "$folder/$1/checkpoints/teacher.safetensors.partial"; }
early_is_whole() { cmp "$folder/early" "$folder/$1/checkpoints/teacher.safetensors"; }
equals_whole() { cmp "$folder/whole/models/teacher/model.safetensors" "$folder/$1/models/teacher/model.safetensors"; }
said() { cat "$folder/$1.said"; grep -q "$2" "$folder/$1.said"; }

# the first checkpoint of a run, which the pipe gives out
stage whole || { said whole .; exit 1; }
mkdir -p "$folder/piped/checkpoints"
mkfifo "$(partial piped)"
timeout 60 cat "$(partial piped)" >"$folder/early" &
reader=$!
stage piped
wait $reader
check "a checkpoint on the way changes no bit" equals_whole piped

# nobody reads this pipe
from_early still
mkfifo "$(partial still)"
train still &
pid=$!
tries=0
until grep -q '100 %' "$folder/still.said" 2>/dev/null || [ $tries -gt 600 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
check "no step waits for a disk that takes nothing" said still '100 %'
check "but the stage waits before it leaves its model" test ! -e "$folder/still/models"
kill -KILL $pid
wait $pid 2>"$folder/log"
check "killed while it writes, it leaves the checkpoint before" early_is_whole still
rm "$(partial still)"
stage still
check "and goes on from there to the same bits" equals_whole still
steps() { grep -a -o '"progress" *: *"[0-9]*' "$1" | grep -o '[0-9]*$'; }
check "which is not the beginning" test "$(steps "$folder/early")" -gt 0

# a bit that the disk forgot, and a file that ends early
check "a damaged checkpoint is no stop" eval 'from_early forgot && printf X | dd of="$folder/forgot/checkpoints/teacher.safetensors" \
    bs=1 seek=60000 conv=notrunc && stage forgot'
check "it is named, in a line" same "$(grep -c "^distil: $folder/forgot/checkpoints/teacher.safetensors: the checkpoint is of no use" "$folder/forgot.said")" 1
check "and what comes of it are the same bits" equals_whole forgot
check "nor is one that is too short" eval 'from_early short && truncate -s 5000 "$folder/short/checkpoints/teacher.safetensors" && stage short'
check "the bits are the same again" equals_whole short

from_early full
ln -s /dev/full "$(partial full)"
stage full
check "a full disk ends the stage with status 1" same $? 1
check "says where" said full "^distil: $folder/full/checkpoints/teacher.safetensors: could not be written whole: No space left on device$"
check "says nothing else" same "$(grep -c '^distil' "$folder/full.said")" 1
nothing_half() { [ ! -L "$(partial full)" ] && [ ! -e "$folder/full/models" ] && [ ! -e "$folder/full/stages" ]; }
check "leaves nothing half-written" nothing_half
check "and the checkpoint before" early_is_whole full
exit $failed
