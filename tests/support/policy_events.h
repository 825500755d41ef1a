/* Random events upon a policy in the harness, with what must hold checked after each: updates, changes of state, picks,
 * dones, changes of configuration, resolver errors, time, and close. */
#ifndef EVENER_TESTS_SUPPORT_POLICY_EVENTS_H
#define EVENER_TESTS_SUPPORT_POLICY_EVENTS_H

#include "tests/support/policy_harness.h"

typedef struct policy_events {
    const char *policy;
    const char *const *configs; /* to choose from; the first one is the beginning's */
    size_t config_count;
    bool ready_may_queue; /* READY does not promise that each pick completes (a policy that connects on demand) */
    /* Further checks after each event, with the loop idle; or NULL. */
    void (*check)(policy_harness *h, void *arg);
    void *arg;
} policy_events;

/* Fails the test when something does not hold. The seed is in the message. */
void policy_events_run(const policy_events *events, uint64_t seed, size_t event_count);

#endif
