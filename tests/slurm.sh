# Stages by a Slurm of this test's own, on the loopback address, where Slurm is installed: the bits of a plain run, also after a
# stage was cancelled. Its GPUs are none; its processors are as many as it says.
set -u
export OMP_NUM_THREADS=1
unset MAKEFLAGS MAKELEVEL LAUNCH RANKED $(env | sed -n 's/^\(SLURM_[A-Z0-9_]*\)=.*/\1/p')
. tests/check.sh
PATH=$PATH:/usr/sbin
for program in munged slurmctld slurmd srun scancel squeue; do
    if ! command -v $program >/dev/null; then
        echo "ok - $program is not here, and no stage is run by Slurm"
        exit $failed
    fi
done

# two ports at which nobody listens
ports=$(awk 'FNR > 1 { sub(/.*:/, "", $2); print $2 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null | sort -u |
    while read -r hex; do echo $((0x$hex)); done | awk -v first=$((20000 + $$ % 10000)) '{ used[$1] }
    END { for (p = first; count < 2; p++) if (!(p in used)) { print p; count++ } }')
slurm=$folder/slurm
mkdir -p "$slurm/state" "$slurm/spool"
export SLURM_CONF=$slurm/slurm.conf
cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$(echo "$ports" | sed -n 1p)
SlurmdPort=$(echo "$ports" | sed -n 2p)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$slurm/munge.socket
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool
SlurmctldPidFile=$slurm/slurmctld.pid
SlurmdPidFile=$slurm/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
GresTypes=gpu
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=4 Gres=gpu:2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
END
slurmd -V | grep -q ' 2[0-2][.]' || echo CgroupPlugin=disabled >"$slurm/cgroup.conf" # from 23 on it can do without systemd
printf "Name=gpu File=%s\n" /dev/null /dev/zero >"$slurm/gres.conf"
(umask 077 && head -c 1024 /dev/urandom >"$slurm/munge.key")

daemons=
start() { # start DAEMON OPTION …
    "$@" </dev/null >"$slurm/$1.out" 2>&1 &
    daemons="$daemons $!"
}
# jobs first: what a job runs is no child of a daemon that ends
stop() {
    [ -z "$daemons" ] || { timeout 5 scancel -u "$(id -un)" && no_jobs; } >/dev/null 2>&1
    for daemon in $daemons; do kill "$daemon"; done 2>/dev/null
    wait
    daemons=
}
no_jobs() { for try in $(seq 40); do [ -n "$(timeout 5 squeue -h)" ] || return 0; sleep 0.1; done; squeue; return 1; }
trap 'stop; rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
start munged -F --force --key-file="$slurm/munge.key" --socket="$slurm/munge.socket" --pid-file="$slurm/munged.pid" \
    --log-file="$slurm/munged.log" --seed-file="$slurm/munged.seed"
for try in $(seq 100); do [ ! -S "$slurm/munge.socket" ] || break; sleep 0.05; done
start slurmctld -D
start slurmd -D
idle() { for try in $(seq 100); do ! sinfo -h -o %T | grep -qx idle || return 0; sleep 0.1; done; cat "$slurm"/*.out; return 1; }
check "Slurm has a machine" idle
[ "$failed" = 0 ] || exit "$failed"

# a program whose pretraining waits as long as there is a file of this name
house "$folder/house"
small cola >"$folder/house/tiny.settings"
cd "$folder/house" || exit 1
cp tiny.settings plain.settings
make build BUILD=build NVCC= >built 2>&1 || cat built
mv build/distil build/whole
cat >build/distil <<'END'
#!/bin/sh
[ -z "${SLURM_JOB_ID:-}" ] || echo "$1 $OMP_NUM_THREADS ${CUDA_VISIBLE_DEVICES:-}" >>ran
while [ "$1" = pretrain ] && [ -e hold ]; do : >held && sleep 0.1; done
exec build/whole "$@"
END
chmod +x build/distil

experiment() { # experiment PROFILE [ARGUMENT …]: in place of this shell, in a group of its own
    profile=$1
    shift
    exec setsid --wait make verify PROFILE=$profile.settings BUILD=build NVCC= CHECKED= JOBS=2 "$@" >said 2>&1
}
whole() { (experiment "$@") || { cat said; return 1; }; }
begin() { # in the background, until its job is held where it would train
    rm -f held && : >hold
    (experiment tiny LAUNCH="$LAUNCH") &
    maker=$!
    for try in $(seq 200); do [ ! -e held ] || return 0; sleep 0.1; done
    cat said
    return 1
}
cancelled() {
    same "$(squeue -h -o %j)" teacher && scancel -n teacher || return 1
    wait $maker
    same $? 2 && rm hold && grep -qx "due: teacher: signal 15 has ended it; the next make goes on with it" said &&
        [ ! -e results/tiny/stages/teacher.json ] || { cat said; return 1; }
}
ended() {
    begin && kill -- -$maker || return 1
    wait $maker
    rm hold
    no_jobs
}
LAUNCH="srun -n1 -c2 --gpus=1"
check "a stage is a job" begin
check "one that is cancelled ends make, which says so" cancelled
check "who ends make ends the job" ended
check "the next make runs it again, and all others" whole tiny LAUNCH="$LAUNCH"
check "each with its share of the machine" same "$(sed 's/[01]$/N/' ran | sort -u | xargs)" \
    "distill 2 N finetune 2 N pretrain 2 N"
check "a run without Slurm ends well" whole plain
same_run() { for kind in models predictions; do diff -r -x README.md results/tiny/$kind results/plain/$kind || return 1; done; }
check "both have the same bits" same_run
check "then nothing is due" eval 'whole tiny LAUNCH="$LAUNCH" && ! grep "^due: " said'
stop
check "nothing that was started is left" eval '! pgrep -f "$folder"'
exit $failed
