#include "tests/support/policy_events.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define ADDRESSES 12
#define OUTSTANDING_MAX 64

typedef struct run {
    const policy_events *events;
    policy_harness *h;
    uint64_t seed;
    size_t event;
    evener_pick outstanding[OUTSTANDING_MAX];
    size_t outstanding_count;
    size_t completed; /* picks */
} run;

static size_t below(run *r, size_t bound)
{
    return (size_t)evener_loop_random_below(r->h->loop, bound);
}

/* ---- events ---- */

static void event_update(run *r)
{
    char list[1024] = "";
    const size_t keep_in_16 = below(r, 17);
    for (size_t i = 0; i < ADDRESSES; i++) {
        if (below(r, 16) < keep_in_16) {
            char item[64];
            snprintf(item, sizeof item, "%s10.0.0.%zu:1;weight=%zu", list[0] != '\0' ? "," : "",
                     (i * 5 + below(r, 2)) % ADDRESSES + 1, 1 + below(r, 4));
            strcat(list, item);
        }
    }
    evener_status status;
    const evener_status_code code = harness_update_quietly(r->h, list, &status);
    cr_assert_eq(code, list[0] != '\0' ? EVENER_STATUS_OK : EVENER_STATUS_UNAVAILABLE, "%s", status.message);
}

/* Make one subchannel change state in a way that a real one can. */
static void event_state(run *r)
{
    policy_harness *h = r->h;
    if (h->subchannel_count == 0) {
        return;
    }
    evener_subchannel *s = harness_at(h, below(r, h->subchannel_count));
    switch (harness_subchannel_state(s)) {
    case EVENER_CONNECTING:
        harness_set_quietly(s, below(r, 3) > 0 ? EVENER_READY : EVENER_TRANSIENT_FAILURE);
        break;
    case EVENER_READY:
        if (below(r, 4) > 0) { /* only policies that watch health get it */
            static const evener_connectivity_state healths[] = {EVENER_READY, EVENER_READY, EVENER_READY,
                                                                EVENER_TRANSIENT_FAILURE, EVENER_CONNECTING};
            harness_health_quietly(s, healths[below(r, sizeof healths / sizeof healths[0])]);
            if (below(r, 2) == 0) {
                break;
            }
        }
        harness_set_quietly(s, EVENER_IDLE);
        break;
    case EVENER_TRANSIENT_FAILURE:
        harness_set_quietly(s, EVENER_IDLE);
        break;
    default:
        break;
    }
}

static void event_done(run *r)
{
    static const evener_status_code codes[] = {EVENER_STATUS_OK, EVENER_STATUS_OK, EVENER_STATUS_UNAVAILABLE,
                                               EVENER_STATUS_DEADLINE_EXCEEDED, EVENER_STATUS_NOT_FOUND};
    if (r->outstanding_count == 0) {
        return;
    }
    const size_t i = below(r, r->outstanding_count);
    evener_pick pick = r->outstanding[i];
    r->outstanding[i] = r->outstanding[--r->outstanding_count];
    r->h->lane = (uint32_t)below(r, EVENER_LANES);
    const evener_done_info info = {
        .size = sizeof info, .code = codes[below(r, sizeof codes / sizeof codes[0])], .not_sent = below(r, 10) == 0};
    harness_done_with(r->h, &pick, &info);
}

/* Check that an ejected backend is not picked once the policy has run. */
static void check_not_ejected(run *r, evener_subchannel *subchannel)
{
    char text[256] = "";
    if (virtual_loop_has_posted(r->h->vl) || r->h->policy->vtable->describe == NULL) {
        return;
    }
    r->h->policy->vtable->describe(r->h->policy, subchannel, text, sizeof text);
    cr_assert_null(strstr(text, "ejected"), "seed %llu, event %zu: picked %s, which is %s", (unsigned long long)r->seed,
                   r->event, evener_subchannel_address_text(subchannel), text);
}

static void event_pick(run *r)
{
    policy_harness *h = r->h;
    if (r->outstanding_count == OUTSTANDING_MAX) {
        event_done(r);
    }
    const evener_pick_args args = {.size = sizeof args, .has_hash = below(r, 2) == 0, .hash = below(r, SIZE_MAX)};
    h->lane = (uint32_t)below(r, EVENER_LANES);
    evener_pick *pick = &r->outstanding[r->outstanding_count];
    evener_status status;
    evener_status_clear(&status);
    const evener_pick_outcome outcome = harness_pick(h, &args, pick, &status);
    switch (outcome) {
    case EVENER_PICK_COMPLETE:
        r->outstanding_count++;
        r->completed++;
        check_not_ejected(r, pick->subchannel);
        if (!virtual_loop_has_posted(h->vl)) {
            cr_assert(!harness_is_released(pick->subchannel), "seed %llu, event %zu: picked a removed backend",
                      (unsigned long long)r->seed, r->event);
            cr_assert_eq(harness_subchannel_state(pick->subchannel), EVENER_READY,
                         "seed %llu, event %zu: picked a backend that is not READY", (unsigned long long)r->seed,
                         r->event);
        }
        break;
    case EVENER_PICK_QUEUE:
        if (h->state == EVENER_IDLE) { /* as a channel does for a waiting call */
            harness_exit_idle(h);
            break;
        }
        cr_assert(h->state != EVENER_READY || r->events->ready_may_queue, "seed %llu, event %zu: a READY policy queues",
                  (unsigned long long)r->seed, r->event);
        break;
    default:
        cr_assert_neq(status.code, EVENER_STATUS_OK);
        cr_assert(h->state == EVENER_TRANSIENT_FAILURE || r->events->ready_may_queue,
                  "seed %llu, event %zu: fails in state %s: %s", (unsigned long long)r->seed, r->event,
                  evener_connectivity_state_name(h->state), status.message);
        break;
    }
}

static void one_event(run *r)
{
    policy_harness *h = r->h;
    const size_t die = below(r, 100);
    if (die < 30) {
        event_state(r);
    } else if (die < 60) {
        event_pick(r);
    } else if (die < 88) {
        event_done(r);
    } else if (die < 92) {
        event_update(r);
    } else if (die < 93) {
        harness_configure(h, r->events->configs[below(r, r->events->config_count)]);
    } else if (die < 94) {
        harness_resolver_error(h, "random resolver error");
    } else if (die < 96) {
        harness_exit_idle(h);
    } else if (die < 99) {
        harness_advance_ms(h, below(r, 400));
    } else {
        harness_advance_ms(h, below(r, 40000));
    }
}

/* ---- invariants ---- */

static void check(run *r)
{
    policy_harness *h = r->h;
    cr_assert_eq(harness_in_flight(h), r->outstanding_count, "seed %llu, event %zu", (unsigned long long)r->seed,
                 r->event);
    if (below(r, 2) == 0) {
        return; /* several events may happen in one turn */
    }
    harness_run(h);
    bool any_ready = false;
    for (size_t i = 0; i < h->subchannel_count; i++) {
        any_ready |= harness_subchannel_state(harness_at(h, i)) == EVENER_READY;
    }
    cr_assert(h->state != EVENER_READY || any_ready, "seed %llu, event %zu: READY without a READY subchannel",
              (unsigned long long)r->seed, r->event);
    if (r->events->check != NULL) {
        r->events->check(h, r->events->arg);
    }
}

void policy_events_run(const policy_events *events, uint64_t seed, size_t event_count)
{
    run r = {.events = events, .seed = seed};
    r.h = harness_create(events->policy, events->configs[0]);
    for (uint64_t i = 0; i < seed; i++) {
        (void)evener_loop_random(r.h->loop);
    }
    for (r.event = 0; r.event < event_count; r.event++) {
        one_event(&r);
        check(&r);
    }
    while (r.outstanding_count > 0) {
        event_done(&r);
    }
    cr_assert_gt(r.completed, event_count / 50, "too few picks completed: %zu", r.completed);
    cr_assert_eq(harness_in_flight(r.h), 0);
    harness_destroy(r.h);
}
