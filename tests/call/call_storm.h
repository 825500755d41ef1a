/* Many calls at random, by seed, over the simulated transport: answers, losses, refusals, hung attempts, pushbacks,
 * connections that end, changes of the list, cancellations, handles given back. Whatever the channel's options are, each
 * call ends once, by its deadline, is executed at most as often as it may be, and leaves no attempt behind. */
#ifndef EVENER_TESTS_CALL_CALL_STORM_H
#define EVENER_TESTS_CALL_CALL_STORM_H

#include <evener/evener.h>

typedef struct call_storm {
    evener_channel_options channel; /* policy, service config, limits, interceptors */
    uint32_t executions_max;        /* of one call; also of its attempts by policy */
    uint64_t timeout_ms_max;        /* each call's is at most this */
    uint64_t late_ns_max;           /* picks that wait do so for whole milliseconds, rounded up */
    /* Called after each start, with a random number; NULL: nothing. */
    void (*meanwhile)(uint64_t random);
    /* Called when no further call is started: for what calls may still wait for. NULL: nothing. */
    void (*at_end)(void);
} call_storm;

/* Run one seed; asserts. */
void call_storm_run(const call_storm *of, uint64_t seed);

#endif
