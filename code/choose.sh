# Tangled from chapters/36-fine-tuning.md; edit there.
# usage: sh code/choose.sh PROFILE 'RATE...' 'EPOCHS...' [--SECTION.SETTING VALUE]...
# Fine-tunes teacher and student of a profile, by its name or its path, with each rate
# and number of epochs, and prints for each task the median score on the rows held back,
# the mean of the two medians, and the spread of the student's scores from the lowest to
# the highest. Reads build/PROFILE/data, which make data PROFILE=... writes; keeps what
# it trains in build/PROFILE/choice, and goes on there if it was interrupted.
set -eu
# Read what is to be tried
export LC_ALL=C OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
profile=$1 rates=$2 epochs=$3
shift 3
case $profile in
*.settings) settings=$profile ;;
*) settings=code/$profile.settings ;;
esac
name=${settings##*/} build=${BUILD:-build} distil=${BUILD:-build}/distil
folder=$build/${name%.settings}
run=$folder/choice given="--profile $settings --data $folder/data"

# Train what settings are chosen with
[ -d "$run/models/teacher" ] ||
    $distil pretrain $given --run "$run" --teacher scratch "$@" >/dev/null
[ -d "$run/models/student" ] ||
    $distil distill $given --run "$run" --student student "$@" >/dev/null

# Try one choice
if [ "$rates" = one ]; then
    set -- $epochs "$@"
    task=$1 rate=$2 length=$3 model=$4 seed=$5
    shift 5
    folder=$run/$task-$rate-$length$(printf %s "$*" | tr ' /' '__')
    record=$folder/stages/finetune-$task-$model-$seed.json
    [ -f "$record" ] || $distil finetune $given --run "$folder" --task "$task" \
        --model "$run/models/$model" --name "$model" --seed "$seed" \
        --finetune.exam held-back --"$task.rate" "$rate" --"$task.epochs" "$length" \
        "$@" >/dev/null 2>&1
    score=$(sed -n "s/.*\"$task\": \([0-9.]*\)$/\1/p" "$record")
    echo "$task $rate $length $model $score"
    exit
fi

# Try all choices, two at a time
for task in cola mrpc imdb; do
    for rate in $rates; do
        for length in $epochs; do
            for model in teacher student; do
                for seed in 1 2 3; do
                    echo "'$task $rate $length $model $seed'"
                done
            done
        done
    done
done | xargs -P 2 -I CHOICE sh "$0" "$profile" one CHOICE "$@" | sort -k 1,4 -k 5n |
    # Print the medians of every six scores
    awk 'BEGIN { print "task\trate\tepochs\tteacher\tstudent\tmean\tspread"
                 OFS = "\t"; OFMT = "%.2f" }
         NR % 6 == 1 { low = $5 }
         NR % 6 == 2 { student = $5 + 0 }
         NR % 6 == 3 { spread = $5 - low }
         NR % 6 == 5 { print $1, $2, $3, $5 + 0, student, (student + $5) / 2, spread }'
