/* Policy harness: one policy on the virtual loop, with fake subchannels whose states the test sets.
 *
 *     policy_harness *h = harness_create("round_robin", NULL);
 *     harness_update(h, "10.0.0.1:1;weight=3,10.0.0.2:1");
 *     harness_set(h, "10.0.0.1:1", EVENER_READY);
 *     cr_assert_str_eq(harness_pick_one(h), "10.0.0.1:1");
 *     harness_destroy(h);
 *
 * The harness defines evener_subchannel_*() itself, so a test that links it must not use a channel. The fake
 * subchannels follow the contract of evener/subchannel.h and assert that the policy does too. Functions that change
 * something run the loop until it is idle, unless documented otherwise. */
#ifndef EVENER_TESTS_SUPPORT_POLICY_HARNESS_H
#define EVENER_TESTS_SUPPORT_POLICY_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/picker.h>
#include <evener/policy.h>

#include "tests/support/virtual_loop.h"

typedef struct policy_harness {
    virtual_loop *vl;
    evener_loop *loop;
    evener_policy_helper helper;
    evener_policy *policy;
    evener_policy_choice choice;
    evener_address **addresses; /* addresses of the last update */
    size_t address_count;

    /* last published by the policy */
    evener_connectivity_state state;
    evener_status status;
    evener_picker *picker;
    unsigned published; /* number of published pickers */
    unsigned reresolutions;

    /* behaviour of the fake subchannels */
    bool connect_succeeds; /* connect() leads to READY; otherwise to CONNECTING, and the test sets the next state */
    bool no_health;        /* the transport does not support health checking */
    bool create_fails;     /* subchannel creation fails */
    bool carries_calls;    /* return value of evener_subchannel_carries_calls() */
    evener_subchannel *subchannels; /* all that are not freed */
    size_t subchannel_count;        /* those not released */
    size_t created;                 /* since the start */
    struct connect_log {
        char text[EVENER_ADDRESS_BYTES_MAX];
        uint64_t at_ns;
    } * connect_log; /* all connection attempts, in order */
    size_t connect_count, connect_capacity;
    evener_subchannel *unreported, **unreported_tail;
    evener_task report_task;
    uint32_t lane; /* lane of the picks */
} policy_harness;

/* Create a harness for a registered policy with a JSON configuration (NULL: "{}"). Fails the test if the policy is
 * unknown. */
policy_harness *harness_create(const char *policy, const char *config);

/* Create it with the channel's own builders. */
policy_harness *harness_create_with(const evener_policy_set *set, const char *policy, const char *config);

/* Close the policy, assert that it has released everything, and free the harness. */
void harness_destroy(policy_harness *h);

/* Pass a list to the policy: "10.0.0.1:1;weight=3;zone=a,10.0.0.2:1", or "" for the empty list. The first function
 * does not run the loop. */
evener_status_code harness_update_quietly(policy_harness *h, const char *list, evener_status *status);
evener_status_code harness_update(policy_harness *h, const char *list);

/* Pass a generated list: "10.I.J.K:1" for each index from `first` on. */
evener_status_code harness_update_range(policy_harness *h, size_t first, size_t count);

/* Pass the same list with another configuration. */
void harness_configure(policy_harness *h, const char *config);

void harness_resolver_error(policy_harness *h, const char *message);
void harness_exit_idle(policy_harness *h);

void harness_run(policy_harness *h);
void harness_advance_ms(policy_harness *h, uint64_t ms);

/* Set the state of the addresses in the comma-separated list, all in one turn. With TRANSIENT_FAILURE the reason is
 * "ADDRESS: refused". An address without a subchannel fails the test. */
void harness_set(policy_harness *h, const char *list, evener_connectivity_state state);
void harness_set_all(policy_harness *h, evener_connectivity_state state);
void harness_fail(policy_harness *h, const char *address, const char *message);

/* A17 (client-side health checking): report this health to the address's watch; fails the test if there is no watch.
 * The second function returns the watched service; NULL without a watch. */
void harness_health(policy_harness *h, const char *address, evener_connectivity_state health);
const char *harness_watched_service(const policy_harness *h, const char *address);

/* A51 (out-of-band load reports): pass a report to the address's load watch; fails the test if there is none. The
 * second function returns the interval that the watch asks for; 0 without a watch. */
void harness_report_load(policy_harness *h, const char *address, const void *report, size_t report_bytes);
uint64_t harness_load_interval_ms(const policy_harness *h, const char *address);

/* Return the address's subchannel that is not released, or NULL. */
evener_subchannel *harness_find(const policy_harness *h, const char *address);

/* Return the number of connection attempts to an address; all attempts in order, as "ADDRESS@MS ADDRESS@MS" (valid
 * until the next call). */
size_t harness_connects(const policy_harness *h, const char *address);
const char *harness_connect_log(policy_harness *h);
void harness_connect_log_clear(policy_harness *h);

/* Pick. End a COMPLETE pick with harness_done(). `args` and `status` may be NULL. */
evener_pick_outcome harness_pick(policy_harness *h, const evener_pick_args *args, evener_pick *pick,
                                 evener_status *status);
void harness_done(policy_harness *h, evener_pick *pick, evener_status_code code);
void harness_done_with(policy_harness *h, evener_pick *pick, const evener_done_info *info);

/* Pick, end the pick with OK, and return the address; or "queue", "fail" or "drop". */
const char *harness_pick_one(policy_harness *h);

/* Make `picks` picks and count them by index in the last update's list. */
void harness_count_picks(policy_harness *h, size_t picks, size_t *counts);
/* The same, with each pick on a random lane; at most HARNESS_BACKENDS_MAX backends. */
#define HARNESS_BACKENDS_MAX 16
void harness_count_picks_on_any_lane(policy_harness *h, size_t picks, size_t *counts);

/* Return the calls in flight over all subchannels. */
uint64_t harness_in_flight(const policy_harness *h);

/* Low-level access: the index-th subchannel that is not released, its raw state, and state changes that do not run
 * the loop. */
evener_subchannel *harness_at(const policy_harness *h, size_t index);
bool harness_is_released(const evener_subchannel *subchannel);
evener_connectivity_state harness_subchannel_state(const evener_subchannel *subchannel);
void harness_set_quietly(evener_subchannel *subchannel, evener_connectivity_state state);
/* ignored without a watch */
void harness_health_quietly(evener_subchannel *subchannel, evener_connectivity_state health);

#endif
