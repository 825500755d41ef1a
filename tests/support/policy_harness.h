/* Policy harness: one policy on the virtual loop, its subchannels doubles whose states the test sets by hand.
 *
 *     policy_harness *h = harness_create("round_robin", NULL);
 *     harness_update(h, "10.0.0.1:1;weight=3,10.0.0.2:1");
 *     harness_set(h, "10.0.0.1:1", EVENER_READY);
 *     cr_assert_str_eq(harness_pick_one(h), "10.0.0.1:1");
 *     harness_destroy(h);
 *
 * The harness defines evener_subchannel_*() itself: a test that links it must not use a channel. The doubles keep the
 * contract of evener/subchannel.h and assert that the policy keeps its side. Functions that change something run the
 * loop until it is idle, unless they say otherwise. */
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
    evener_address **addresses; /* of the last update */
    size_t address_count;

    /* what the policy published last */
    evener_connectivity_state state;
    evener_status status;
    evener_picker *picker;
    unsigned published; /* how often */
    unsigned reresolutions;

    /* what the doubles do */
    bool connect_succeeds; /* connect() leads to READY by itself; else to CONNECTING, and the test goes on from there */
    bool no_health;        /* the transport has no health checking */
    bool create_fails;     /* no subchannel can be made */
    bool carries_calls;    /* what evener_subchannel_carries_calls() says */
    evener_subchannel *subchannels; /* all whose memory lives */
    size_t subchannel_count;        /* not released */
    size_t created;                 /* ever */
    struct connect_log {
        char text[EVENER_ADDRESS_BYTES_MAX];
        uint64_t at_ns;
    } * connect_log; /* every attempt to connect, in order */
    size_t connect_count, connect_capacity;
    evener_subchannel *untold, **untold_tail;
    evener_task tell_task;
    uint32_t lane; /* that picks are made on */
} policy_harness;

/* A policy of the registry with the JSON text of its configuration (NULL: "{}"). Fails the test if there is none. */
policy_harness *harness_create(const char *policy, const char *config);

/* The same with builders of the channel's own. */
policy_harness *harness_create_with(const evener_policy_set *set, const char *policy, const char *config);

/* Closes the policy, and asserts that it has let go of everything. */
void harness_destroy(policy_harness *h);

/* "10.0.0.1:1;weight=3;zone=a,10.0.0.2:1"; "" is the empty list. Does not run the loop. */
evener_status_code harness_update_quietly(policy_harness *h, const char *list, evener_status *status);
evener_status_code harness_update(policy_harness *h, const char *list);

/* A list made by the caller: "10.I.J.K:1" for each index from `first` on. */
evener_status_code harness_update_range(policy_harness *h, size_t first, size_t count);

/* The same list with another configuration. */
void harness_configure(policy_harness *h, const char *config);

void harness_resolver_error(policy_harness *h, const char *message);
void harness_exit_idle(policy_harness *h);

void harness_run(policy_harness *h);
void harness_advance_ms(policy_harness *h, uint64_t ms);

/* Sets the state of the addresses in the comma-separated list, all in one turn. With TRANSIENT_FAILURE the reason is
 * "ADDRESS: refused". An address without a subchannel fails the test. */
void harness_set(policy_harness *h, const char *list, evener_connectivity_state state);
void harness_set_all(policy_harness *h, evener_connectivity_state state);
void harness_fail(policy_harness *h, const char *address, const char *message);

/* A17: what the health watch of an address tells; the test fails if there is no watch. And the service it is of; NULL
 * without a watch. */
void harness_health(policy_harness *h, const char *address, evener_connectivity_state health);
const char *harness_watched_service(const policy_harness *h, const char *address);

/* The subchannel of an address that is not released, or NULL. */
evener_subchannel *harness_find(const policy_harness *h, const char *address);

/* Attempts to connect to an address; all of them in order, as "ADDRESS@MS ADDRESS@MS" (valid until the next call). */
size_t harness_connects(const policy_harness *h, const char *address);
const char *harness_connect_log(policy_harness *h);
void harness_connect_log_clear(policy_harness *h);

/* Picks; on COMPLETE the pick is to be ended with harness_done(). `args` and `status` may be NULL. */
evener_pick_outcome harness_pick(policy_harness *h, const evener_pick_args *args, evener_pick *pick,
                                 evener_status *status);
void harness_done(policy_harness *h, evener_pick *pick, evener_status_code code);
void harness_done_with(policy_harness *h, evener_pick *pick, const evener_done_info *info);

/* Picks, ends the pick OK, and returns the address; or "queue", "fail" or "drop". */
const char *harness_pick_one(policy_harness *h);

/* Counts of `picks` picks by index in the last update's list. */
void harness_count_picks(policy_harness *h, size_t picks, size_t *counts);
/* The same, each pick on a lane that is drawn; of at most HARNESS_BACKENDS_MAX backends. */
#define HARNESS_BACKENDS_MAX 16
void harness_count_picks_on_any_lane(policy_harness *h, size_t picks, size_t *counts);

/* Calls under way over all subchannels. */
uint64_t harness_in_flight(const policy_harness *h);

/* For tests that look behind the doubles: the index-th that is not released, raw state, and a change of it that does
 * not run the loop. */
evener_subchannel *harness_at(const policy_harness *h, size_t index);
bool harness_is_released(const evener_subchannel *subchannel);
evener_connectivity_state harness_subchannel_state(const evener_subchannel *subchannel);
void harness_set_quietly(evener_subchannel *subchannel, evener_connectivity_state state);
void harness_health_quietly(evener_subchannel *subchannel, evener_connectivity_state health); /* if it is watched */

#endif
