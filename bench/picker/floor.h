/* The floor: what the machine itself takes for the pieces that a pick is made of, measured in the same run. */
#ifndef BENCH_PICKER_FLOOR_H
#define BENCH_PICKER_FLOOR_H

#include <stdint.h>

#include <jansson.h>

#include "bench/support/measure.h"

/* Appends a row {"what", "threads", "ns", "ns_min"} for each piece. */
void bench_floors(json_t *rows, unsigned threads, unsigned passes, uint64_t duration_ns);

/* What two threads get out of the machine right now where they share nothing at all: how many times as much arithmetic as
 * one. Takes three times as long as a pass. */
double bench_arithmetic_speedup(uint64_t duration_ns);

#endif
