# Nothing is believed because it is there: whatever is damaged in a run is named and made again, and whatever is changed in a
# packed run is named.
set -u
export OMP_NUM_THREADS=1
unset MAKEFLAGS MAKELEVEL TITLE AUTHOR
. tests/check.sh
house "$folder/tree"
small mrpc >"$folder/tree/tiny.settings"
cd "$folder/tree" || exit 1
run=results/tiny

makes() { make "$@" PROFILE=tiny.settings BUILD=build NVCC= CHECKED= >said 2>&1; }
experiment() { makes verify || { cat said; return 1; }; }
change() { # change FILE: another last digit in it, or another last letter but one if it has none
    awk -v digits="$(tr -dc 0-9 <"$1" | wc -c)" 'BEGIN { RS = ORS = "" } {
        at = length($0) - 1
        while (digits && substr($0, at, 1) !~ /[0-9]/) at--
        c = substr($0, at, 1)
        printf "%s%s%s", substr($0, 1, at - 1), c == "7" ? "8" : "7", substr($0, at + 1) }' RS='\001' "$1" >"$1.changed" && mv "$1.changed" "$1"
}
flip() { # flip FILE: another byte in its middle
    at=$(($(wc -c <"$1") / 2))
    byte=$(od -An -tu1 -j $at -N 1 "$1" | tr -d ' ')
    printf "$(printf '\\%03o' $((byte ^ 1)))" | dd of="$1" bs=1 seek=$at conv=notrunc 2>/dev/null
}
reseal() { # reseal RECORD FILE: gives the record the sum that a file of its run has now, and a sum of its own
    of=${1%/*} of=${of%/stages} is=$(sha256sum <"$of/$2" | cut -d ' ' -f 1) zeros=$(printf %064d 0)
    sed -i "s:\(\"$2\"\: \"\)[0-9a-f]*:\1$is:; s/^\(  \"sum\": \"\)[0-9a-f]*/\1$zeros/" "$1"
    own=$(sha256sum <"$1" | cut -d ' ' -f 1)
    sed -i "s/^\(  \"sum\": \"\)[0-9a-f]*/\1$own/" "$1"
}
halve() { truncate -s $(($(wc -c <"$1") / 2)) "$1"; }

# A run at home ------------------------------------------------------------------------------------------------------

check "an experiment runs and is verified" experiment
check "all of it was looked at" grep -qx "2 scores, $(ls $run/tables/*.tsv $run/figures/*.tsv | wc -l) tables: as computed again from the predictions" said
cp -r $run whole
timeless() { sed 's/"\(seconds\|memory\|sum\|finished\)":.*//; /"curves\//d' "$1"; }

mended() { # mended HOW FILE REASON: whether FILE, damaged by HOW, is due for this reason, named by verify, and made again the same
    "$1" "$run/$2"
    run 1 verify --run $run && cat "$folder/err" || return 1
    grep -q "${2##*/}" "$folder/err" || return 1
    experiment || return 1
    grep '^due' said
    grep -qx "due: $3" said || return 1
    case $2 in
    *.json | curves/*) true ;;
    *) cmp "whole/$2" "$run/$2" ;;
    esac && run 0 verify --run $run
}
check "a model with another bit" mended flip models/student/model.safetensors "distill-student: models/student/model.safetensors is damaged"
check "what was made again to the same bits touches nothing else" same "$(grep -c '^due' said)" 1
check "half of the predictions" mended halve predictions/mrpc-student-1.tsv "finetune-mrpc-student-1: predictions/mrpc-student-1.tsv is damaged"
check "predictions that are gone" mended rm predictions/mrpc-student-1.tsv "finetune-mrpc-student-1: predictions/mrpc-student-1.tsv is missing"
check "a curve" mended flip curves/teacher.tsv "teacher: curves/teacher.tsv is damaged"
check "a record" mended change stages/distill-student.json "distill-student: its record is damaged"
check "the record of the benchmark" mended change bench.json "bench: its record is damaged"

# made again, but to other bits: another student in the place of the one that the fine-tuning began with
build/distil distill --profile tiny.settings --run other --data build/tiny/data --teacher $run/models/teacher --student student \
    --run.seed 12 2>said && cp other/models/student/model.safetensors $run/models/student && rm -r other
reseal $run/stages/distill-student.json models/student/model.safetensors
check "what it touches is named" eval 'run 1 verify --run $run; grep "stages/finetune-mrpc-student-1.json: models/student/model.safetensors is another" "$folder/err"'
check "and is made again" eval 'experiment && grep "^due" said && grep -qx "due: finetune-mrpc-student-1: models/student/model.safetensors is another than it was made from" said'
check "alone" same "$(grep -c '^due' said)" 1

# results are computed anew each time, so damage does not last; verify names it all the same
results="tables/scores.tsv figures/seeds.tsv summary.json values.json verdicts.json run.settings results.json"
found() { # found FILE: whether its damage is named by verify; the file is whole again then
    cp "$run/$1" kept && flip "$run/$1" && run 1 verify --run $run && grep -q "$1" "$folder/err" && cp kept "$run/$1"
}
for file in $results; do
    check "damage is found in $file" found $file
done
for file in $results; do
    flip $run/$file
done
check "a damaged table is not woven" eval '! makes weave && grep "^tables/scores.tsv: FAILED" said && grep "make report" said'
check "and the next run writes all of it anew" eval 'experiment && ! grep "^due" said && run 0 verify --run $run'
echo "step	loss" >$run/predictions/mrpc-teacher-1.tsv.partial
cp $run/predictions/mrpc-teacher-1.tsv $run/curves/teacher.tsv.other
cp $run/curves/teacher.tsv $run/curves/later.tsv # of a stage that goes on, or was interrupted
check "what nobody reads is nobody's business" run 0 verify --run $run
rm $run/predictions/*.partial $run/curves/*.other $run/curves/later.tsv
record=stages/finetune-mrpc-student-1.json
cp $run/$record kept
sed -i 's/^    "curves.finetune-mrpc-student-1.tsv": .*//' $run/$record
reseal $run/$record predictions/mrpc-student-1.tsv
check "what no stage left is not believed" eval 'run 1 verify --run $run; grep "curves/finetune-mrpc-student-1.tsv: is of no stage: .*; remove it" "$folder/err"'
cp kept $run/$record

# the data that were generated
flip build/tiny/data/vocab.txt
check "generated data that are damaged are generated again" eval 'experiment && ! grep "^due" said'

# A run that is sent ---------------------------------------------------------------------------------------------------

check "without its report a run is not packed" eval '! makes $run/artifact.tar.xz && grep "report.pdf: is missing; make report" said'
echo "a report of 1 page" >$run/report.pdf
echo "a summary of 2 pages" >$run/summary.pdf
check "a finished run is packed" makes $run/artifact.tar.xz TITLE='A "title"' AUTHOR="A. Student"
cp $run/artifact.tar.xz first.tar.xz
check "once more" eval 'sleep 1 && touch $run/stages/* && makes $run/artifact.tar.xz TITLE="A \"title\"" AUTHOR="A. Student"'
check "it has the same bytes" cmp first.tar.xz $run/artifact.tar.xz
cp build/tiny/artifact/tiny/SHA256SUMS packed.sums
count=$(wc -l <packed.sums)
mkdir far && mv first.tar.xz far/run.tar.xz
cp -r $run home && rm -r results build/tiny
check "where nobody trained it is verified" makes verify ARTIFACT=far/run.tar.xz
check "in all its parts" eval 'grep -q "^$count files: as SHA256SUMS has them" said && grep -q "^2 scores, [0-9]* tables: as computed again" said && grep -q "^6 claims are held against this run: " said'
check "and without training" eval '! grep "^due" said && [ ! -e results ]'
check "what was unpacked is gone" eval '! ls -d build/unpacked*'
check "a folder is taken as well" makes verify ARTIFACT=home
mkdir sent && tar -xJf far/run.tar.xz -C sent
check "sha256sum agrees" sh -c 'cd sent/tiny && sha256sum --strict --quiet -c SHA256SUMS'
check "there are no weights in it" same "$(find sent -name '*.safetensors')" ""
check "its description has all files and the title" same "$(grep -c '"@type": "File"' sent/tiny/ro-crate-metadata.json) $(
    grep -cF '"name": "A \"title\""' sent/tiny/ro-crate-metadata.json)" "$count 1"
check "its citation names title, author, date and version" same "$(grep -cE '^(title: "A \\"title\\""|  - name: "A. Student"|date-released: 2|version: "[0-9a-f]{16}")' sent/tiny/CITATION.cff)" 4

# one digit, in each file in turn
named() { # named FILE: whether a digit changed in it is named, by the name of the file
    cp "sent/tiny/$1" kept && change "sent/tiny/$1"
    cmp -s kept "sent/tiny/$1" && { echo "nothing was changed"; return 1; }
    "$distil" verify --run sent/tiny >"$folder/out" 2>&1
    status=$?
    cp kept "sent/tiny/$1"
    [ $status = 1 ] && grep -qF "${1#./}" "$folder/out" || { echo "$1:"; cat "$folder/out"; return 1; }
}
each() {
    changed=0
    for file in $(cd sent/tiny && find . -type f | LC_ALL=C sort); do
        case $file in
        ./SHA256SUMS) continue ;;
        esac
        named "$file" && changed=$((changed + 1)) || return 1
    done
    same "$changed" "$count"
}
check "a changed digit is named in each file" each
check "in the list, too" named SHA256SUMS
check "and what was changed is well again" run 0 verify --run sent/tiny

# changed, and its sum with it
again() { # again FILE: gives the list, and the description, the sum that the file has now
    was=$(sed -n "s:^\([0-9a-f]*\)  $1\$:\1:p" sent/tiny/SHA256SUMS) is=$(sha256sum <"sent/tiny/$1" | cut -d ' ' -f 1)
    sed -i "s/$was/$is/" sent/tiny/SHA256SUMS
    [ "$1" = ro-crate-metadata.json ] || { sed -i "s/$was/$is/" sent/tiny/ro-crate-metadata.json && again ro-crate-metadata.json; }
}
forged() { # forged FILE MESSAGE: whether this is what is said of the packed run now, which is then made whole
    again "$1"
    run 1 verify --run sent/tiny && cat "$folder/err" && grep -q "$2" "$folder/err"
    found=$?
    rm -r sent/tiny && tar -xJf far/run.tar.xz -C sent
    return $found
}
change sent/tiny/predictions/mrpc-student-1.tsv
check "a prediction is held to its record" forged predictions/mrpc-student-1.tsv "predictions/mrpc-student-1.tsv is damaged"
change sent/tiny/stages/teacher.json
check "a record to its own sum" forged stages/teacher.json "stages/teacher.json: is damaged"
change sent/tiny/summary.json
check "the summary to the record of the results" forged summary.json "summary.json is damaged"
sed -i 's/"rows": 40/"rows": 41/' sent/tiny/summary.json
reseal sent/tiny/results.json summary.json && again results.json
again summary.json
cp -r sent/tiny other
check "and a number to what comes out of the predictions" forged summary.json "tasks.mrpc.rows is 41, but 40 comes out"
check "where the code is another one, that is told" eval 'run 1 verify --run other --key 0123; grep "but 40 comes out by this code, 0123, and the run is of [0-9a-f]\{16\};" "$folder/err"'
sed -i '2s/\t[01]\t\([01]\)\t/\t0\t\1\t/; 3s/\t[01]\t\([01]\)\t/\t1\t\1\t/; 4s/\t[01]\t/\t1\t/' sent/tiny/predictions/mrpc-student-1.tsv
check "so is every prediction" eval 'again predictions/mrpc-student-1.tsv;
    reseal sent/tiny/stages/finetune-mrpc-student-1.json predictions/mrpc-student-1.tsv; again stages/finetune-mrpc-student-1.json;
    forged predictions/mrpc-student-1.tsv "expected the rows and labels of the other\|comes out"'
change sent/tiny/CITATION.cff
check "a sum that only the list knows is not believed" eval 'is=$(sha256sum <sent/tiny/CITATION.cff | cut -d " " -f 1);
    sed -i "s/^[0-9a-f]*  CITATION.cff/$is  CITATION.cff/" sent/tiny/SHA256SUMS; run 1 verify --run sent/tiny; cat "$folder/err";
    grep -q "ro-crate-metadata.json: has another sum of CITATION.cff than SHA256SUMS" "$folder/err"'
rm -r sent/tiny && tar -xJf far/run.tar.xz -C sent
echo more >sent/tiny/tables/more.tsv
check "a file more is named" eval 'run 1 verify --run sent/tiny; grep "tables/more.tsv: is not in SHA256SUMS" "$folder/err"'
rm sent/tiny/tables/more.tsv sent/tiny/curves/teacher.tsv
check "and one less" eval 'run 1 verify --run sent/tiny; grep "curves/teacher.tsv is missing" "$folder/err"'
sed 's/^\([0-9a-f]*\)  .*/\1  ..\/..\/tiny.settings/' packed.sums | head -n 1 >sent/tiny/SHA256SUMS
check "nothing outside is looked at" eval 'run 1 verify --run sent/tiny; grep "leads out of the folder" "$folder/err"'

refused() { # refused MESSAGE: of what happens to the archive
    ! makes verify ARTIFACT=far/other.tar.xz && grep -F "$1" said && ! ls -d build/unpacked*
}
cp far/run.tar.xz far/other.tar.xz && flip far/other.tar.xz
check "a damaged archive is named" refused "far/other.tar.xz: is damaged"
cp far/run.tar.xz far/other.tar.xz && halve far/other.tar.xz
check "so is half an archive" refused "far/other.tar.xz: is damaged"
rm far/other.tar.xz
check "one that is not there" refused "far/other.tar.xz: expected a run, or what make artifact packed"
rm sent/tiny/SHA256SUMS && tar -cJf far/other.tar.xz -C sent tiny
check "and one without a list" refused "SHA256SUMS"
exit $failed
