/* Random events for a policy in the harness: updates, state changes, picks, dones, configuration changes, resolver
 * errors, time steps, and close. The invariants are checked after each event. */
#ifndef EVENER_TESTS_SUPPORT_POLICY_EVENTS_H
#define EVENER_TESTS_SUPPORT_POLICY_EVENTS_H

#include "tests/support/policy_harness.h"

typedef struct policy_events {
    const char *policy;
    const char *const *configs; /* the configurations to choose from; the first is the initial one */
    size_t config_count;
    bool ready_may_queue; /* a READY policy may queue picks (a policy that connects on demand) */
    /* Additional checks after each event, while the loop is idle; or NULL. */
    void (*check)(policy_harness *h, void *arg);
    void *arg;
} policy_events;

/* Run the events. A violated invariant fails the test; the message contains the seed. */
void policy_events_run(const policy_events *events, uint64_t seed, size_t event_count);

#endif
