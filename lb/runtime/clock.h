/* Clock: nanoseconds of CLOCK_MONOTONIC, exact or fast. */
#ifndef EVENER_LB_RUNTIME_CLOCK_H
#define EVENER_LB_RUNTIME_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "lb/base/sibling.h"

/* Return CLOCK_MONOTONIC in nanoseconds; about 30 ns per call. Never 0. Any thread. */
EVENER_SIBLING uint64_t evener_clock_now_ns(void);

/* Return the same clock, extrapolated from the processor's cycle counter where its rate is constant; about 11 ns per
 * call. Normally within a microsecond of evener_clock_now_ns(), and within 1 ms as long as the counter does not become
 * slower (fast_clock.c). Never goes backwards on one thread. Never 0. Any thread. */
EVENER_SIBLING uint64_t evener_clock_now_fast_ns(void);

/* Return the time of CLOCK_MONOTONIC that is `timeout_ms` from now, for pthread_cond_timedwait() on a condition that
 * uses that clock. A timeout of more than 31 years counts as 31 years. Any thread. */
EVENER_SIBLING struct timespec evener_clock_deadline(uint64_t timeout_ms);

#endif
