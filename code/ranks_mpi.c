/* Tangled from chapters/40-several-ranks.md; edit there. */
#include "fail.h"
#include "ranks.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct wire *ranks_mpi(int count);

/* Swap by MPI */
static int peer(int rank)
{
    return rank < 0 ? MPI_PROC_NULL : rank;
}

static void swap_mpi(int to, const void *out, size_t sent, int from, void *in,
                     size_t got)
{
    enum { TAG = 0 };
    MPI_Sendrecv(out, (int)sent, MPI_BYTE, peer(to), TAG, in, (int)got, MPI_BYTE,
                 peer(from), TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void close_mpi(void)
{
    MPI_Finalize();
}

/* End all ranks where one fails */
static void end_all(void)
{
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static void wait_for_first(void)
{
    sleep(3);
}

static void end_together(int rank, int count)
{
    static char name[32];
    snprintf(name, sizeof name, "rank %d: ", rank);
    if (rank > 0)
        fail_among(name, wait_for_first);
    if (count > 1 && at_quick_exit(end_all) != 0)
        fail("memory", "is out, and the other ranks could not be ended");
}

/* Open MPI's wire */
const struct wire *ranks_mpi(int count)
{
    static struct wire wire = {.swap = swap_mpi, .close = close_mpi};
    int provided;
    MPI_Comm machine;
    /* Make two of Open MPI's settings */
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &wire.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &wire.count);
    end_together(wire.rank, wire.count);
    if (wire.count != count)
        fail("--ranks", "expected %d processes, started by mpirun -n %d; found %d",
             count, count, wire.count);
    /* Count the ranks on this machine */
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL,
                        &machine);
    MPI_Comm_rank(machine, &wire.place);
    MPI_Comm_size(machine, &wire.places);
    MPI_Comm_free(&machine);
    return &wire;
}
