/* Load schedule: when `evener load --rate` starts its calls, and from when their latency counts (open loop). Time is a
 * parameter, in nanoseconds of any clock, so a test can run it on a clock of its own. Not thread-safe. */
#ifndef EVENER_CLI_LOAD_SCHEDULE_H
#define EVENER_CLI_LOAD_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

/* Calls per second. A call in 11 days: less would soon be beyond what 64 bits of nanoseconds hold. */
#define LOAD_RATE_MIN 1e-6
#define LOAD_RATE_MAX 1e7

typedef struct load_schedule {
    double rate; /* calls per second */
    uint64_t began_ns;
    uint64_t end_ns; /* no call starts at this time or later; UINT64_MAX: no limit */
    uint64_t due;    /* calls in all that are due before the end */
    uint64_t started;
    uint64_t last_start_ns;
} load_schedule;

/* Return a schedule of calls at a rate from LOAD_RATE_MIN to LOAD_RATE_MAX, from began_ns to end_ns, at most
 * calls_max of them (0: no limit). At least one of end_ns and calls_max limits it. */
load_schedule load_schedule_begin(double rate, uint64_t began_ns, uint64_t end_ns, uint64_t calls_max);

/* Return when the next call is due, which may be in the past; UINT64_MAX if none is left. */
uint64_t load_schedule_next_ns(const load_schedule *s);

/* Count the next call as started now. Return the time from which its latency counts: when it was due, however much
 * later it starts; or UINT64_MAX, and count nothing, if none is left or the end has come. */
uint64_t load_schedule_start(load_schedule *s, uint64_t now_ns);

/* End the schedule now: calls that are not due yet never will be. */
void load_schedule_interrupt(load_schedule *s, uint64_t now_ns);

/* Return the calls that were due and have not been started. */
uint64_t load_schedule_not_started(const load_schedule *s);

/* Return for how many seconds the calls were spread: until the last one that was due, or until the last start if that
 * was later. */
double load_schedule_spread_s(const load_schedule *s);

#endif
