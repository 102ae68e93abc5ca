#!/bin/sh
# run.sh TEST …: runs test programs (cmocka, TAP) and test scripts, shows what is not ok, and counts.
# Its last line is "N passed, N failed"; its status is 0 if nothing failed.
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export CMOCKA_MESSAGE_OUTPUT=TAP
for test; do
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
    if [ "$bad" = 0 ]; then
        echo "$test: $good ok"
    else
        echo "$test: $good ok, $bad NOT OK (status $status)"
        sed 's/^/    /' "$log" | tail -n 60
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
