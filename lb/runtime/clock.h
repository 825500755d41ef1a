/* Clock: nanoseconds of CLOCK_MONOTONIC, exactly and cheaply. */
#ifndef EVENER_LB_RUNTIME_CLOCK_H
#define EVENER_LB_RUNTIME_CLOCK_H

#include <stdint.h>
#include <time.h>

/* CLOCK_MONOTONIC: some 30 ns a call. Never 0. Any thread. */
uint64_t evener_clock_now_ns(void);

/* The same clock, from the processor's cycle counter where that ticks evenly: some 11 ns a call, normally within a
 * microsecond of evener_clock_now_ns() and never 1 ms off; never goes back on one thread. Never 0. Any thread. */
uint64_t evener_clock_now_fast_ns(void);

/* Return the time of CLOCK_MONOTONIC that is `timeout_ms` from now, for pthread_cond_timedwait() on a condition with that
 * clock. A timeout of more than 31 years counts as 31 years. Any thread. */
struct timespec evener_clock_deadline(uint64_t timeout_ms);

#endif
