# Two makes never write into the same folder: the second says who is there and ends, or waits; two profiles go side by side.
set -u
export OMP_NUM_THREADS=1
unset MAKEFLAGS MAKELEVEL DISTIL_LOCKS WAIT
. tests/check.sh
house "$folder/tree"
small cola >"$folder/tree/tiny.settings"
cd "$folder/tree" || exit 1
cp tiny.settings other.settings

# a program whose pretraining waits as long as there is a file of this name
make build BUILD=build NVCC= >built 2>&1 || cat built
mv build/distil build/whole
cat >build/distil <<'END'
#!/bin/sh
while [ "$1" = pretrain ] && [ -e "hold-$3" ]; do
    : >"held-$3"
    sleep 0.1
done
exec build/whole "$@"
END
chmod +x build/distil

experiment() { # experiment PROFILE [ARGUMENT…]: the make of it, in place of this shell
    profile=$1
    shift
    exec setsid --wait make verify "$@" PROFILE=$profile.settings BUILD=build NVCC= CHECKED=
}
begin() { # begin PROFILE SAID: in the background, as a group of its own, until it is held where it would train
    : >"hold-$1.settings"
    rm -f "held-$1.settings"
    setsid make verify PROFILE="$1.settings" BUILD=build NVCC= CHECKED= >"$2" 2>&1 &
    maker=$!
    until [ -e "held-$1.settings" ] || ! kill -0 $maker 2>/dev/null; do sleep 0.1; done
}
says() { for try in 1 2 3 4 5 6 7 8 9 10; do ! grep -q "$2" "$1" || return 0; sleep 0.5; done; cat "$1"; return 1; }
state() { find build results -type f ! -name '.*.lock' -exec sha256sum {} + | LC_ALL=C sort; }
refused() { # refused WHERE COMMAND…: ends badly, changes nothing, and says who is there
    where=$1
    shift
    state >"$folder/before"
    ("$@") >refusal 2>&1 && return 1
    cat refusal
    grep -q "^lock: $where: is in use by process [0-9]*, since 20[0-9][0-9]-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9]; WAIT=1" refusal &&
        grep -q 'Error 1$' refusal && state | diff "$folder/before" - && kill -0 "$(sed -n 's/.* process \([0-9]*\), .*/\1/p' refusal)"
}
ends() { wait "$1" || { cat "$2"; return 1; }; }
same_run() { # same_run RUN RUN: what both have trained and predicted is the same
    for kind in models predictions; do diff -r -x README.md "results/$1/$kind" "results/$2/$kind" || return 1; done
}

begin tiny first
first=$maker
check "a second make of the same run is refused" refused results/tiny experiment tiny
check "so is one that only weaves it" refused results/tiny make weave PROFILE=tiny.settings BUILD=build NVCC= CHECKED=
check "another profile runs meanwhile" eval '(experiment other) >other 2>&1 || { cat other; false; }'
(experiment tiny WAIT=1) >second 2>&1 &
waiter=$!
check "a third make waits if it is asked to" says second '^lock: results/tiny: waiting for process [0-9]*, since 20'
rm -f hold-*
check "the first ends well" ends $first first
check "then the third" ends $waiter second
check "which has nothing left to do" eval '(experiment tiny) >third 2>&1 && ! grep "^due: " third'
check "both profiles have the same results" same_run tiny other

rm -r results/tiny
begin tiny killed
kill -s KILL -- -$maker
check "a lock whose owner was killed is taken over" eval 'rm -f hold-* && (experiment tiny) >after 2>&1 || { cat after; false; }'
check "with the same results" same_run tiny other

rm -r results/tiny
begin tiny ended
kill $maker && wait $maker 2>/dev/null
check "who asks make alone to end has ended all that it began" flock -w 5 results/.tiny.lock true
between() { grep -nE '[$][(]Q[)]([A-Za-z_]+=[^ ;]* )+sh ' Makefile; }
check "no shell waits between make and what it runs with variables" same "$(between)" ""
check "and the next make goes on" eval 'rm -f hold-* && (experiment tiny) >after 2>&1 || { cat after; false; }'

rm -r results/tiny
begin tiny killed
(experiment tiny) >refusal 2>&1
owner=$(sed -n 's/.*process \([0-9]*\), .*/\1/p' refusal)
kill -s KILL $maker "$owner" && wait $maker 2>/dev/null
for try in $(seq 50); do [ -d "/proc/$owner" ] || break; sleep 0.1; done # until it has been seen to be dead
left() { ! (experiment tiny) >refusal 2>&1 && cat refusal && grep -q "^lock: results/tiny: is in use by what process $owner, of 20.*, has left running" refusal; }
check "but what it has left running keeps the lock" left
rm -f hold-*
flock -w 120 results/.tiny.lock true
check "until it ends" eval '(experiment tiny) >after 2>&1 || { cat after; false; }'
check "again with the same results" same_run tiny other

sh code/lock.sh build sleep 60 &
holder=$!
until [ -s .build.lock ] && ! flock -n .build.lock true; do sleep 0.1; done
check "a build is refused while the build is in use" refused build make build BUILD=build NVCC=
setsid make verify PROFILE=tiny.settings BUILD=build NVCC= CHECKED= >waits 2>&1 &
maker=$!
check "a run waits for it" says waits '^lock: build: waiting for process'
kill "$(cut -d ' ' -f 1 .build.lock)"
check "and goes on" ends $maker waits
wait $holder

# from nothing but the objects, both at once
rm -r results build/tiny build/other build/distil build/batch.o
(experiment tiny) >first 2>&1 &
first=$!
(experiment other) >second 2>&1 &
second=$!
check "of two profiles that begin at the same moment one ends" ends $first first
check "and so does the other" ends $second second
check "with the same results" same_run tiny other
nowhere() { ! make weave RUN=/proc/nowhere BUILD=build NVCC= CHECKED= >refusal 2>&1 && cat refusal && grep -q '^lock: /proc/nowhere: expected to write' refusal; }
check "a folder that takes no lock is named" nowhere
mkdir bin && printf '#!/bin/sh\necho "flock: $4: No locks available" >&2\nexit 71\n' >bin/flock && chmod +x bin/flock
lockless() { ! (PATH=$PWD/bin:$PATH && experiment tiny) >refusal 2>&1 && cat refusal && grep -q '^lock: results/tiny: expected a disk where flock' refusal; }
check "so is a disk that knows no locks" lockless
exit $failed
