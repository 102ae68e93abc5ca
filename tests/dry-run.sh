# A dry run: make -n of every target that make help lists ends and changes nothing, in a fresh clone and in a built one
# where a run has left its results.
set -u
. tests/check.sh
unset MAKEFLAGS MAKELEVEL
house=$folder/house
mkdir "$house"
cp -r Makefile README.md chapters code figures tests "$house"
cd "$house" || exit 1
targets=$(make help | awk '{ print $2 }')

state() {
    find . -type f -exec sha256sum {} + | LC_ALL=C sort
    find . -exec stat -c '%n %Y' {} + | LC_ALL=C sort
}

# dry ARGUMENT …: make -n ends well, in time, says what it would do, and leaves everything as it was
dry() {
    state >"$folder/before"
    timeout 60 make -n BUILD=build "$@" >"$folder/said" 2>&1 || { echo "status $?"; tail "$folder/said"; return 1; }
    [ -s "$folder/said" ] || { echo "said nothing"; return 1; }
    state | diff "$folder/before" -
}

check "a dry run of all targets ends and changes nothing in a fresh clone" dry PROFILE=mini $targets
make -s BUILD=build tangle >/dev/null 2>&1
make -s -t BUILD=build compile >/dev/null 2>&1
cp -r tests/fixtures/run run && mkdir results && mv run results/mini
check "in a built one with results it does, too" dry PROFILE=mini $targets
check "even if everything is to be made" dry -B tangle
touch code/tangle.c
check "and if the tangler is to be built again" dry tangle
check "make -B tangle ends" timeout 60 make -s -B BUILD=build tangle
cd "$root" || exit 1
exit $failed
