#!/bin/sh
# code/data.sh against a server on the loopback interface that does what servers do on a bad day.
set -u
unset MAKEFLAGS MAKELEVEL DATA_DIR DATA_MIRROR http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
root=$PWD
room=$(mktemp -d)
here=$room/"it's a \"Größe\" & \$HOME" # people have such folders
mkdir "$here"
servers=
trap 'kill $servers 2>/dev/null; rm -rf "$room"' EXIT
failed=0

check() { # check NAME COMMAND…: one test
    name=$1
    shift
    if "$@" >"$here/log" 2>&1; then
        echo "ok - $name"
    else
        echo "not ok - $name"
        sed 's/^/    /' "$here/log"
        failed=1
    fi
}

cc -std=c11 -D_DEFAULT_SOURCE -o "$here/server" tests/loopback/server.c || exit 1
serve() { # serve NAME: starts a server of $here/served; its port goes to $port
    "$here/server" "$here/served" "$here/$1.requests" 5 >"$here/$1.port" &
    servers="$servers $!"
    while [ ! -s "$here/$1.port" ]; do sleep 0.02; done
    port=$(cat "$here/$1.port")
    : >"$here/$1.requests"
}
mkdir -p "$here/served/set"
seq 30000 >"$here/served/set/big"
seq 100 130 >"$here/served/set/small"
printf 'ab' >"$here/served/set/tiny"
printf 'first review\nsecond review' >"$here/served/set/lines.txt"
serve one
one=http://127.0.0.1:$port
serve two
two=http://127.0.0.1:$port
closed=http://127.0.0.1:9 # where nobody listens

big=$(sha256sum <"$here/served/set/big" | cut -c 1-64)
small=$(sha256sum <"$here/served/set/small" | cut -c 1-64)

# fresh: an empty project, with a list of homes from standard input
fresh() {
    rm -rf "$here/project"
    mkdir -p "$here/project/code"
    cd "$here/project" || exit 1
    cat >code/data.sources
    : >"$here/one.requests"
    : >"$here/two.requests"
}

data() { # data WANT…: runs the script; $status
    DATA_PATIENCE=1 sh "$root/code/data.sh" build/run/data build/run/keys "$@" >"$here/said" 2>&1
    status=$?
}

# had FILE…: the run went well, and the view has these files of the server
had() {
    [ $status = 0 ] || { echo "status $status"; cat "$here/said"; return 1; }
    for file; do
        cmp "build/run/data/$file" "$here/served/$file" || return 1
    done
    clean
}

# lacks TEXT…: the run failed, said these things, and has made neither view nor keys nor half a file
lacks() {
    cat "$here/said"
    [ $status = 1 ] || { echo "status $status"; return 1; }
    for text; do grep -qF -- "$text" "$here/said" || { echo "expected: $text"; return 1; }; done
    [ ! -e build/run/data ] && [ -z "$(ls build/run/keys)" ] && clean
}

clean() { [ -z "$(find . -name '*.partial*' -o -name '*.new')" ] || { find . -name '*.partial*'; return 1; }; }
said() { grep -qF -- "$1" "$here/said" || { cat "$here/said"; echo "expected: $1"; return 1; }; }
silent() { ! grep -F -- "$1" "$here/said"; }
requests() { sed 's/^GET //' "$here/$1.requests" | xargs; }
same() { [ "$1" = "$2" ] || { echo "expected: $2"; echo "found:    $1"; return 1; }; }

# what goes well
fresh <<END
file set/big
    sha256 $big
    home $one/plain/set/big
file set/small
    home $one/plain/set/small
name both set/big set/small
END
data a:both b:set/small
check "files are fetched" had set/big set/small
check "and their sums recorded" sh -c "cd data && sha256sum -c --strict SHA256SUMS"
check "all of them" same "$(cut -c 67- data/SHA256SUMS | xargs)" "set/big set/small"
check "each label has a key" same "$(cat build/run/keys/data-b.key)" "$small set/small"
check "and all together have one" same "$(wc -l <build/run/keys/data.key)" 2
touch -d 2001-01-01 build/run/keys/*
data a:both b:set/small
check "what is there is not asked for again" same "$(requests one)" "/plain/set/big 0 /plain/set/small 0"
touch data/set/small
data a:both b:set/small
check "a file that is only younger changes no key" same "$(find build/run/keys -newermt 2001-01-02 -type f)" ""
echo more >>data/set/small
data a:both b:set/small
check "one that has changed is not taken" said "data/set/small: expected sha256 $small, found"
check "and the run ends" [ $status = 1 ]
rm data/set/small
echo other >>"$here/served/set/small"
data a:both b:set/small
check "the recorded sum is held the next time" said "set/small: expected sha256 $small, found"
check "the other file is not kept" [ ! -e data/set/small ]
check "nor half of it" clean
seq 100 130 >"$here/served/set/small"
data a:both b:set/small
check "the right one is" had set/big set/small

# bad days
fresh <<END
file set/big
    sha256 $big
    home $one/cut/set/big
END
data a:set/big
check "a server that stops in the middle is asked for the rest" had set/big
check "from where it stopped" [ "$(head -n 2 "$here/one.requests" | tail -n 1 | cut -d ' ' -f 3)" = \
    "$((($(stat -c %s "$here/served/set/big") + 1) / 2))" ]

fresh <<END
file set/big
    sha256 $big
    home $one/slow/set/big
END
DATA_PATIENCE=1 timeout -s KILL 1 sh "$root/code/data.sh" build/run/data build/run/keys a:set/big >"$here/said" 2>&1
check "a download that is killed leaves no file" [ ! -e data/set/big ]
check "but what it had" [ -s data/set/big.*.partial ]
data a:set/big
check "the next run goes on" had set/big
check "and does not begin again" awk 'NR == 2 && $3 > 1000 { found = 1 } END { exit !found || NR != 2 }' "$here/one.requests"

fresh <<END
file set/big
    sha256 $big
    home $one/slow/set/big
    home $two/plain/set/big
END
DATA_PATIENCE=1 timeout -s KILL 1 sh "$root/code/data.sh" build/run/data build/run/keys a:set/big >"$here/said" 2>&1
sed -i '/slow/d' code/data.sources
data a:set/big
check "one home does not go on with another one's half" same "$(requests two)" "/plain/set/big 0"
check "whose half goes" had set/big

fresh <<END
file set/big
    home $one/cut/set/big
END
mkdir -p data/set
half=data/set/big.$(echo "$one/cut/set/big" | cksum | cut -d ' ' -f 1).partial
head -c 1000 "$here/served/set/big" | tr 1 7 >"$half"
sed -i "s:home:sha256 $big\n home:" code/data.sources
data a:set/big
check "a half that does not fit is begun anew" had set/big

fresh <<END
file set/big
    sha256 $big
    home $one/whole/set/big
END
mkdir -p data/set
head -c 1000 "$here/served/set/big" >data/set/big."$(echo "$one/whole/set/big" | cksum | cut -d ' ' -f 1)".partial
data a:set/big
check "a server without ranges begins at the beginning" had set/big

fresh <<END
file set/big
    sha256 $big
    home $one/hole/set/big
    home $two/plain/set/big
END
data a:set/big
check "one without ranges that stops is given up" had set/big
check "after a second chance" [ "$(wc -l <"$here/one.requests")" -le 3 ]

fresh <<END
file set/tiny
    home $one/stall/set/tiny
END
data a:set/tiny
check "a server that falls asleep is asked again" had set/tiny

fresh <<END
file set/big
    sha256 $big
    home $one/wrong/set/big
    home $two/plain/set/big
END
data a:set/big
check "after a wrong file the second home is asked" had set/big
check "the wrong one is refused by name and sums" said "set/big: expected sha256 $big, found"
check "and by home" said "from $one/wrong/set/big"

fresh <<END
file set/big
    sha256 $big
    home $one/wrong/set/big
END
data a:set/big
check "nothing of a wrong file is left" lacks "expected sha256 $big" "a: set/big"

fresh <<END
file set/big
    home $one/page/set/big
    home $one/busy/set/big
    home $one/plain/set/none
    home $one/moved/set/big
END
data a:set/big
check "a page, a 503 and a 404 are passed over, a 302 is followed" had set/big
check "a page is no file" said "set/big: expected the file, found a web page, from $one/page/set/big"

fresh <<END
file set/big
    home $one/never/set/big
    home $one/soon/set/big
file set/small
    home $one/date/set/small
END
data a:set/big a:set/small
check "a server that asks for patience is asked again when it said" had set/big set/small
check "by seconds" said "$one/soon/set/big asks to be left alone for 1 seconds"
check "or by a date" said "$one/date/set/small asks to be left alone for"
check "but not for an hour" silent "$one/never/set/big asks"

fresh <<END
file set/big
    home $one/mute/set/big
    home $two/plain/set/big
file set/small
    home $one/plain/set/small
    home $two/plain/set/small
END
data a:set/big a:set/small
check "a server that says nothing is given up" had set/big set/small
check "and not asked again" same "$(requests one)" "/mute/set/big 0"

fresh <<END
place closed $closed/x
place closed $closed/y
name pair set/big set/small
file set/big
    home closed/big
file set/small
    home closed/small
    home $one/plain/set/none
END
begun=$(date +%s)
data a:pair c:set/none.txt
check "what cannot be had is listed" lacks "a: set/big set/small" "from $closed/y/big" "from $one/plain/set/none" \
    "c: set/none.txt" DATA_DIR=FOLDER DATA_MIRROR=URL "fewer tasks and models" "no answer from 127.0.0.1:9"
check "soon" [ $(($(date +%s) - begun)) -lt 4 ]

# what is optional
fresh <<END
place closed $closed/x
name pair set/big set/small
name two set/none set/lines.txt
file set/big
    home $one/plain/set/big
file set/small
    home closed/small
    home $one/plain/set/later
file set/none
    home $one/mute/set/none
file set/more
    home $one/mute/set/more
END
left_out() { # left_out LABEL SENTENCE: the label is missing, for this reason
    grep -qxF "$1	$2" build/run/keys/missing || { cat build/run/keys/missing; return 1; }
    [ ! -e "build/run/keys/data-$1.key" ] && said "$1: "
}
begun=$(date +%s)
data a:set/big 'p?:pair' 't?:set/tiny*' 't?:two|set/lost' 'm?:set/more' 'b?:set/big'
check "what is optional and cannot be had ends no run" had set/big
check "each label that is left out has a sentence" same "$(cut -f 1 build/run/keys/missing | xargs)" "m p t"
check "it tells the file and all its homes" left_out p \
    "Missing: set/small; may be found at $closed/x/small, or $one/plain/set/later."
check "of several wants and ways" left_out t \
    "Missing: set/tiny*, and set/none, set/lines.txt, or set/lost; may be found at $one/mute/set/none."
check "and it is said at once" said "what cannot be had is left out, and asked for the next time:"
check "the others have their keys" same "$(cd build/run/keys && echo data*.key)" "data-a.key data-b.key data.key"
check "and nothing else is shown" same "$(cd build/run/data && find . -type l)" ./set/big
check "one home that does not answer costs its patience once" same "$(requests one | tr ' ' '\n' | grep -c mute)" 1
check "and the run no more than that" [ $(($(date +%s) - begun)) -lt 4 ]
cp "$here/served/set/small" "$here/served/set/later"
data a:set/big 'p?:pair'
check "the next run asks again" same "$(cat build/run/keys/missing)" ""
check "and gets it" cmp build/run/data/set/small "$here/served/set/small"
check "with a key" same "$(wc -l <build/run/keys/data-p.key)" 2
rm data/set/small "$here/served/set/later"
data a:set/big 'p?:pair'
check "the key of a better day goes" left_out p \
    "Missing: set/small; may be found at $closed/x/small, or $one/plain/set/later."
data 'p?:pair'
check "a run may be left with nothing" same "$(find build/run/data -type l)" ""
rm -r build
data p:pair 'q?:wiki/a.txt'
check "what is needed ends it, and all that is missing is told" lacks "p: set/big set/small" "q: wiki/a.txt"
data a:set/big 'q?:wiki/a.txt'
check "no home is told where none is known" left_out q "Missing: wiki/a.txt; no home of it is known."

# mirrors
fresh <<END
file set/big
    sha256 $big
    home $one/plain/set/big
file set/small
    home $one/plain/set/small
END
rm "$here/served/set/small"
DATA_MIRROR=$two/plain/ data a:set/big a:set/small
seq 100 130 >"$here/served/set/small"
check "a mirror is asked first" same "$(requests two)" "/plain/set/big 0 /plain/set/small 0"
check "a home where the mirror has nothing" same "$(requests one)" "/plain/set/small 0"
rm -rf data
DATA_MIRROR=file://$here/served data a:set/big a:set/small
check "a mirror may be a folder" had set/big set/small

# archives
fresh <<END
file set/two.zip
    home $one/plain/set/two.zip
    gives set/Two/train.tsv set/Two/dev.tsv
file set/tree.tar.gz
    home $one/plain/set/tree.tar.gz
    gives set/tree/pos set/tree/none
file set/joined.txt
    joins set/tree/pos
name two set/Two/train.tsv set/Two/dev.tsv
END
cp "$root/tests/fixtures/data/two.zip" "$here/served/set"
mkdir -p "$here/tree/pos"
for i in 10 9 100; do printf 'review %s' $i >"$here/tree/pos/${i}_5.txt"; done
tar czf "$here/served/set/tree.tar.gz" -C "$here" tree
data t:two j:set/joined.txt
check "archives are unpacked" had
check "a zip file" same "$(cat build/run/data/set/Two/train.tsv)" "$(printf 'a\t1\nb\t0')"
check "the texts of a folder are joined in their order" same "$(cat build/run/data/set/joined.txt)" \
    "$(printf 'review 9\nreview 10\nreview 100')"
data t:two j:set/joined.txt
check "once" silent unpacking
rm -r build/data/set/two.zip build/data/set/joined.txt
data t:two j:set/joined.txt
check "what was derived is made again" had
check "without fetching it again" same "$(requests one)" "/plain/set/two.zip 0 /plain/set/tree.tar.gz 0"
echo 'review 8' >"$here/tree/pos/8_5.txt"
mkdir -p mine
tar czf mine/tree.tar.gz -C "$here" tree
sed -i 's:set/tree:tree:g' code/data.sources
DATA_DIR=$PWD/mine data t:two j:set/joined.txt
check "another edition is unpacked anew" same "$(head -n 1 build/run/data/set/joined.txt)" "review 8"
DATA_DIR=$PWD/mine data n:tree/none
check "an archive without what it should give is named" said "tree.tar.gz: expected tree/none in it"
head -c 150 mine/tree.tar.gz >"$here/short"
rm -rf build mine/tree.tar.gz
cp "$here/short" mine/tree.tar.gz
DATA_DIR=$PWD/mine data j:tree/pos
check "half an archive is named" lacks "mine/tree.tar.gz: could not be unpacked"
check "and not half unpacked" [ ! -e build/data/tree.tar.gz ]

# the reader's own folder
fresh <<END
file glue/A/train.tsv
    sha256 $big
    home $one/plain/set/big
name a glue/A/dev.tsv
name a glue/A/train.tsv
END
mkdir -p mine/A "mine/wiki pedia" mine/wiki
printf 'x\t1\n' >mine/A/train.tsv
seq 7 | xz >mine/wiki/a.txt.xz
seq 9 >mine/wiki/b.txt
chmod -R a-w mine
DATA_DIR=$PWD/mine data a:a "w:wiki/*.txt" "v:wiki/none|wiki/b.txt"
check "the reader's folder serves" [ $status = 0 ]
check "without the outer folder" cmp build/run/data/glue/A/train.tsv mine/A/train.tsv
check "other sums than the published get a remark" said "where $big is published; used all the same"
check "a pattern finds all, compressed or not" same "$(cat build/run/data/wiki/*.txt | xargs)" "1 2 3 4 5 6 7 1 2 3 4 5 6 7 8 9"
check "nothing is fetched that is there in another edition" same "$(requests one)" ""
chmod -R u+w mine
DATA_DIR=$PWD/mine data "v:wiki/b.txt"
check "the view has what is wanted and no more" same "$(cd build/run/data && find . -type l)" ./wiki/b.txt

# a file system without links
mkdir "$here/bin"
printf '#!/bin/sh\necho "ln: Operation not permitted" >&2\nexit 1\n' >"$here/bin/ln"
chmod +x "$here/bin/ln"
unlinked() { PATH=$here/bin:$PATH DATA_DIR=$PWD/mine data "v:wiki/b.txt" "f:A"; }
rm -r build
unlinked
check "where no links can be made there are copies" same "$(cd build/run/data && find . -type f | sort | xargs)" "./A/train.tsv ./wiki/b.txt"
check "and a word on it" said "no links can be made in build/run, so the data is copied there"
unlinked
check "once" silent copied
seq 8 >mine/wiki/b.txt
unlinked
check "a copy follows its original" cmp build/run/data/wiki/b.txt mine/wiki/b.txt
printf '#!/bin/sh\necho "cp: No space left on device" >&2\nexit 1\n' >"$here/bin/cp"
chmod +x "$here/bin/cp"
rm -r build
unlinked
check "without room for copies there is no view" lacks "No space left on device"
rm -r build
data "w:wiki/*.txt"
check "a pattern that fits nothing is missing" lacks "w: wiki/*.txt"

# the list of the book, and make
cd "$root" || exit 1
check "every file of the list has a home, comes in an archive or is only checked" awk '
    /^ *#/ { next }
    { while (/\\$/) { sub(/\\$/, ""); getline line; $0 = $0 line } }
    $1 == "place" && $3 !~ /^https:/ { print; bad = 1 }
    $1 == "place" { place[$2] }
    $1 == "file" { file = $2 }
    $1 == "sha256" && (length($2) != 64 || $2 ~ /[^0-9a-f]/) { print; bad = 1 }
    $1 == "home" { split($2, part, "/"); if ($2 !~ /^https:/ && !(part[1] in place)) { print; bad = 1 } had[file] }
    $1 == "gives" { for (i = 2; i <= NF; i++) given[$i] = given[$i] " " file }
    $1 == "name" { ways[$2] = ways[$2] "|"; for (i = 3; i <= NF; i++) ways[$2] = ways[$2] " " $i }
    END {
        for (name in ways) {
            good = 0
            for (n = split(ways[name], way, "|"); n > 1; n--) {
                missing = 0
                for (i = split(way[n], files, " "); i; i--)
                    {
                    found = files[i] in had
                    for (g = split(given[files[i]], archive, " "); g; g--) found += archive[g] in had
                    missing += !found
                }
                good += !missing
            }
            if (!good) { print name ": cannot be fetched"; bad = 1 }
            names++
        }
        exit bad || names < 13
    }' code/data.sources

tasks=$("${BUILD:-build}/distil" finetune --profile tests/fixtures/tiny.settings --run "$here/x" --data "$here/x" \
    --task none --model none --name teacher --seed 1 2>&1 | sed -n 's/.*the tasks are//p')
for task in ${tasks:-none}; do
    check "the list knows what $task is" grep -q "^name $task " code/data.sources
done

cat >"$room/real.settings" <<'END'
base = code/defaults.settings
[corpus]
train = wiki/a.raw|wiki/a.tokens more/*.txt
validation = wiki/b.raw
[teacher]
source = small-bert
vocabulary = small-bert/vocab.txt
[distill]
layers = 0
epochs = 1
batch = 1
rate = 1
[student-released]
folder = smaller-bert
[finetune]
tasks = cola
models = teacher student student-released
length = 8
epochs = 1
rate = 1
END
made() { # made ARGUMENT…: make data for that profile, everything downloaded going to an empty folder
    DATA_STORE=$here/store DATA_SOURCES=$here/no.sources make -s BUILD="${BUILD:-build}" RUN="$room/run" data PROFILE="$room/real.settings" "$@" \
        >"$here/said" 2>&1
    status=$?
}
: >"$here/no.sources"
made
check "make says what a profile lacks" grep -qF 'corpus: wiki/a.raw' "$here/said"
for want in 'or wiki/a.tokens' 'corpus: more/*.txt' 'teacher: small-bert' 'student-released: smaller-bert' 'cola: cola'; do
    check "… and $want" said "$want"
done
check "and fails" [ $status != 0 ]
made TEACHER=scratch CORPUS='web/*.txt'
check "a teacher from scratch wants its corpus" said 'teacher: web/*.txt'
check "and a vocabulary" said 'teacher: small-bert/vocab.txt'
mkdir -p "$here/mine/wiki" "$here/mine/more" "$here/mine/small-bert" "$here/mine/smaller-bert" "$here/mine/cola"
touch "$here/mine/wiki/a.tokens" "$here/mine/wiki/b.raw" "$here/mine/more/1.txt" "$here/mine/more/2.txt"
made DATA_DIR="$here/mine"
check "make is content with a folder that has it all" [ $status = 0 ]
check "and shows that to the trainer" same "$(cd "${BUILD:-build}/real/data" && find . -type l | sort | xargs)" \
    "./cola ./more/1.txt ./more/2.txt ./small-bert ./smaller-bert ./wiki/a.tokens ./wiki/b.raw"
rm -rf "${BUILD:-build}/real"

# what is run again when data changes
keys=${BUILD:-build}/keyed/keys
sed 's/^data = toyland/data = real/; s/^tasks = .*/tasks = cola/' tests/fixtures/tiny.settings >"$room/keyed.settings"
"${BUILD:-build}/distil" toyland --out "$here/toy" --seed 3 --paragraphs 60 --train 60 --dev 40
keyed() { # keyed: the keys of three stages, after one another
    make -s BUILD="${BUILD:-build}" PROFILE="$room/keyed.settings" DATA_DIR="$here/toy" data >"$here/said" 2>&1 &&
        "${BUILD:-build}/distil" plan --make --profile "$room/keyed.settings" --run results/keyed --data "${BUILD:-build}/keyed/data" \
            --keys "$keys" >"$here/said" 2>&1
    cat "$keys/teacher.key" "$keys/distill-student.key" "$keys/finetune-cola-student-1.key" | xargs
}
first=$(keyed)
check "stages have keys" [ "$(echo "$first" | wc -w)" = 3 ]
sed -i 's/^tasks = .*/tasks = cola mrpc/' "$room/keyed.settings"
touch "$here/toy/corpus/wiki.train.tokens"
mrpc=$(keyed >/dev/null; cat "$keys/finetune-mrpc-student-1.key")
check "another task, or a younger file, runs no old distillation again" same \
    "$(keyed | cut -d ' ' -f 1,2)" "$(echo "$first" | cut -d ' ' -f 1,2)"
check "and has a key" [ -n "$mrpc" ]
printf 'x\t1\t\tone more\n' >>"$here/toy/glue/CoLA/dev.tsv"
second=$(keyed)
check "a task that has changed distils nothing" same "$(echo "$second" | cut -d ' ' -f 1,2)" "$(echo "$first" | cut -d ' ' -f 1,2)"
check "but is run again" [ "$(echo "$second" | cut -d ' ' -f 3)" != "$(echo "$first" | cut -d ' ' -f 3)" ]
sed -i 's/^models = .*/& student-tasks student-more/' "$room/keyed.settings"
printf '\n[student-more]\ntrain = none/wiki.txt\n' >>"$room/keyed.settings"
check "students with texts of their own change no other key" same "$(keyed)" "$second"
check "one whose text cannot be had is left out" eval '! grep -q "distill-student-more.json:" "$here/said"'
check "that is said" grep -q "^student-more	Missing: none/wiki.txt; no home" "$keys/missing"
check "one who reads tasks is not" grep -q "distill-student-tasks.json:" "$here/said"
reader=$(cat "$keys/distill-student-tasks.key")
printf 'x\t1\t\tone more\n' >>"$here/toy/glue/CoLA/train.tsv"
check "rows more of a task distil no other student again" same "$(keyed | cut -d ' ' -f 1,2)" "$(echo "$second" | cut -d ' ' -f 1,2)"
check "but the one who reads them" [ "$(cat "$keys/distill-student-tasks.key")" != "$reader" ]
echo 'one more line' >>"$here/toy/corpus/wiki.train.tokens"
check "a corpus that has changed runs all again" [ -z "$(keyed | tr ' ' '\n' | grep -F "$(echo "$second" | tr ' ' '\n')")" ]
rm -rf "${BUILD:-build}/keyed"
exit $failed
