/* The floor: the machine's own cost of the pieces of a pick, measured in the same run. */
#ifndef BENCH_PICKER_FLOOR_H
#define BENCH_PICKER_FLOOR_H

#include <stdint.h>

#include <jansson.h>

#include "bench/support/measure.h"

/* Append a row {"what", "threads", "ns", "ns_min"} per piece. */
void bench_floors(json_t *rows, unsigned threads, unsigned passes, uint64_t duration_ns);

/* Return how many times as much arithmetic two threads do now as one, where they share no data. Takes three passes. */
double bench_arithmetic_speedup(uint64_t duration_ns);

#endif
