# A run that would fill the disk or the memory is refused before its first stage, with both numbers; what is foretold is what
# comes.
set -u
export OMP_NUM_THREADS=1
unset MAKEFLAGS MAKELEVEL DISTIL_LOCKS
. tests/check.sh
house "$folder/tree"
mkdir "$folder/tree/bin"
small cola | sed 's/^extended = .*/extended = student-twice student-theseus/' >"$folder/tree/tiny.settings"
cd "$folder/tree" || exit 1
cat >bin/df <<'END'
#!/bin/sh
echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
echo "disk 1000000 $((1000000 - $FREE)) $FREE 99% /"
END
chmod +x bin/df

experiment() { make verify PROFILE=tiny.settings BUILD=build NVCC= CHECKED= "$@" >said 2>&1 || { cat said; return 1; }; }
on_disk() { # on_disk KILOBYTES [ARGUMENT…]: the experiment where so many are free
    free=$1
    shift
    (export FREE="$free" PATH="$PWD/bin:$PATH" && experiment "$@")
}
room() { build/distil plan --room --profile tiny.settings --run results/tiny --data build/tiny/data "$@"; }
full() { ! on_disk 20000 && grep -q '^room: results/tiny: this run needs [0-9]* MB more on the disk, and 20 MB are free$' said && ! grep '^due' said; }
check "a run that would fill the disk is refused before any stage" full
before=$(room --run.extended 1)
check "one that will not runs" on_disk 200000 EXTENDED=1
after=$(room --run.extended 1)
models=$(find results/tiny/models results/tiny/teachers -name model.safetensors -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
check "its models take what was foretold" awk -v foretold=$((before - after)) -v taken="$models" \
    'BEGIN { print foretold, taken; exit !(taken > 0.9 * foretold && taken < 1.2 * foretold) }'
check "who has them needs no room for them" test "$after" -lt "$before"
check "a run that is done needs no room at all" on_disk 0 EXTENDED=1
check "the memory is asked as well" eval '! room --run.jobs 1000000 >said 2>&1 && cat said &&
    grep -q "^distil: memory: this run needs [0-9]* bytes and the machine has [0-9]* left; lower \[run\] jobs" said'
check "but not where each stage has a machine of its own" eval 'room --run.jobs 1000000 --launched >said 2>&1 || { cat said; false; }'
check "a loss that does not suit the teacher is refused here" eval '! room --student.relations 1 --distill.relation-heads 5 >said 2>&1 &&
    cat said && grep -q "^distil: teacher: has width 32 and its student 32; expected relation heads that divide both, found 5$" said'
check "a teacher whose layers are not equal blocks is, too" eval '! room --run.extended 1 --student-theseus.layers "0 1 1" >said 2>&1 &&
    cat said && grep -q "^distil: student-theseus: has 3 layers; expected as many equal blocks in the teacher.s 2$" said'
check "a larger model needs more" test "$(room --teacher.layers 6)" -gt "$before"
exit $failed
