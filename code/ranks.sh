# Tangled from chapters/40-several-ranks.md; edit there.
# usage: sh code/ranks.sh RANKS PROGRAM COMMAND OPTION...
# Has so many ranks run PROGRAM COMMAND together, by Open MPI's mpirun, and exits with
# their status; 1, saying so, if a signal has ended one of them. Where something is
# missing, PROGRAM says what.
set -u
ranks=$1 program=$2 command=$3
shift 3
set -- "$program" "$command" --ranks "$ranks" "$@"
[ "$ranks" -gt 0 ] 2>/dev/null || exec "$@"
threads=$(($(nproc) / ranks))
export OMP_NUM_THREADS=$((threads > 0 ? threads : 1))
command -v mpirun >/dev/null && ldd "$program" 2>/dev/null | grep -q libmpi || exec "$@"
# Run a command, and hand signals on to it
# attend COMMAND...: runs it, and has it end when this script is asked to; its status
attend() {
    "$@" </dev/null &
    child=$!
    trap 'kill $child 2>/dev/null; wait $child' HUP INT TERM
    wait $child
}

export OMPI_MCA_orte_execute_quiet=1
attend mpirun -n "$ranks" -x OMP_NUM_THREADS --bind-to none \
    --map-by slot:OVERSUBSCRIBE "$@"
status=$?
# Say it if a signal has ended one
[ $status -gt 128 ] || exit $status
echo "ranks: $command: signal $((status - 128)) has ended one of $ranks ranks," \
    "and so all; the next make goes on from the last checkpoint" >&2
exit 1
