#!/bin/sh
# run.sh TEST …: runs test programs (cmocka, TAP) and test scripts, two at a time, shows what is not ok, and counts.
# Its last line is "N passed, N failed"; its status is 0 if nothing failed.
set -u
if [ "$1" = --one ]; then # run.sh --one FOLDER TEST: runs one of them, and leaves its counts in FOLDER
    folder=$2 test=$3 began=$(date +%s)
    log=$(mktemp "$folder/log.XXXXXX")
    case $test in
    *.sh) sh "$test" >"$log" 2>&1 ;;
    *) "./$test" >"$log" 2>&1 ;;
    esac
    status=$?
    good=$(grep -c '^ok' "$log")
    bad=$(grep -c '^not ok' "$log")
    # a test that dies without a word has failed, and so has one that tested nothing
    if [ "$bad" = 0 ] && { [ "$status" != 0 ] || [ "$good" = 0 ]; }; then
        bad=1
    fi
    echo "$good $bad" >"$log.counts"
    {
        if [ "$bad" = 0 ]; then
            echo "$test: $good ok, $(($(date +%s) - began)) s"
        else
            echo "$test: $good ok, $bad NOT OK (status $status)"
            sed 's/^/    /' "$log" | tail -n 60
        fi
    } >"$log.said"
    flock "$folder/turn" cat "$log.said"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export CMOCKA_MESSAGE_OUTPUT=TAP WAIT=1
printf '%s\n' "$@" | xargs -P 2 -n 1 sh "$0" --one "$folder"
counts=$(cat "$folder"/*.counts | awk '{ good += $1; bad += $2; tests++ } END { print good + 0, bad + 0, tests + 0 }')
passed=${counts%% *} failed=${counts#* } failed=${failed% *} tests=${counts##* }
[ "$tests" = $# ] || failed=$((failed + $# - tests)) # one that left no counts
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
