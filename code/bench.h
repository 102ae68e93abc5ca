/* Tangled from chapters/60-bench.md; edit there. */
#ifndef BENCH_H
#define BENCH_H

/* bench_rows: which of `count` rows, of `each` seconds, a pass goes over, in order; how
   many in *chosen. The caller frees them. */
int *bench_rows(int count, double each, int *chosen);

#endif
