/* Tangled from chapters/60-bench.md; edit there. */
#ifndef BENCHMARK_H
#define BENCHMARK_H

#include <jansson.h>

/* benchmark_told: bench.json, which may be NULL, with what it comes to; for the caller
   to free. */
json_t *benchmark_told(const json_t *bench);

#endif
