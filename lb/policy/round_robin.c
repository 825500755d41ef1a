/* round_robin: every backend in turn (grpc: round_robin.cc).
 *
 * A picker goes round its list of READY subchannels in one of two ways.
 *
 * Where picks are followed by calls, all threads share one cursor: n picks on a picker of n backends give each exactly
 * one. With a cursor each, threads come to be in step: two calls that meet on one connection are answered together and
 * move on together, while the other backends idle. Two blocking threads on three servers made a fifth to a third fewer
 * calls.
 *
 * Where a pick may be all there is, one counter that two threads write costs each of them some 18 ns. There each lane
 * has a cursor of its own, and a pick is a few plain loads and stores. n picks by one thread still give each
 * backend exactly one; over T threads, each backend has had, after any number of picks, at most T more than any other,
 * as a thread's share differs by at most one. (All threads on the shared lane count as one.) The lanes start spread
 * over the list.
 *
 * The start is random for every picker: a start at 0 gave the first backends of short-lived pickers 3-4 times the load
 * (grpc-java 4462). */
#include <evener/base_policy.h>

#include <stdlib.h>

#include "lb/policy/builtin.h"
#include "lb/policy/ready_list.h"

/* The backend to come is at hand before it is asked for: the channel counts the pick at an address that depends on it,
 * and what follows waits until that address is known (0.6 ns of 8.5). */
typedef struct cursor {
    _Alignas(EVENER_LANE_BYTES) uint64_t next; /* the index to come; on the shared lane, a count that only grows */
    evener_subchannel *subchannel;             /* the one at `next`; not on the shared lane */
} cursor;

typedef struct round_robin_picker {
    evener_picker base;
    uint32_t count;
    cursor cursors[EVENER_LANES];
    evener_subchannel *subchannels[];
} round_robin_picker;

/* All threads in one order. */
static evener_pick_outcome pick_in_order(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    (void)context;
    round_robin_picker *picker = (round_robin_picker *)base;
    uint64_t *next = &picker->cursors[EVENER_LANE_SHARED].next;
    pick->subchannel = picker->subchannels[__atomic_fetch_add(next, 1, __ATOMIC_RELAXED) % picker->count];
    return EVENER_PICK_COMPLETE;
}

/* Each lane in an order of its own. */
static evener_pick_outcome pick_on_lane(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    round_robin_picker *picker = (round_robin_picker *)base;
    if (__builtin_expect(context->lane == EVENER_LANE_SHARED, 0)) {
        return pick_in_order(base, context, pick);
    }
    cursor *own = &picker->cursors[context->lane];
    pick->subchannel = __atomic_load_n(&own->subchannel, __ATOMIC_RELAXED);
    const uint64_t after = __atomic_load_n(&own->next, __ATOMIC_RELAXED) + 1;
    const uint64_t next = after == picker->count ? 0 : after;
    __atomic_store_n(&own->next, next, __ATOMIC_RELAXED);
    __atomic_store_n(&own->subchannel, picker->subchannels[next], __ATOMIC_RELAXED);
    return EVENER_PICK_COMPLETE;
}

static void round_robin_destroy(evener_picker *base)
{
    round_robin_picker *picker = (round_robin_picker *)base;
    evener_ready_list_unref(picker->subchannels, picker->count);
    free(picker);
}

static const evener_picker_vtable ordered_vtable = {
    .size = sizeof ordered_vtable, .pick = pick_in_order, .destroy = round_robin_destroy};
static const evener_picker_vtable lanes_vtable = {
    .size = sizeof lanes_vtable, .pick = pick_on_lane, .destroy = round_robin_destroy};

static evener_picker *round_robin_build_picker(const evener_base_ready *ready)
{
    round_robin_picker *picker = evener_picker_alloc(sizeof *picker + ready->count * sizeof(evener_subchannel *));
    if (picker == NULL) {
        return NULL;
    }
    evener_picker_init(&picker->base,
                       evener_subchannel_carries_calls(ready->subchannels[0]) ? &ordered_vtable : &lanes_vtable);
    picker->count = (uint32_t)ready->count;
    evener_ready_list_ref(picker->subchannels, ready);
    const uint64_t start = evener_loop_random_below(ready->helper->loop, ready->count);
    for (size_t lane = 0; lane < EVENER_LANES; lane++) {
        const uint64_t next = (start + evener_lane_start((uint32_t)lane, ready->count)) % ready->count;
        picker->cursors[lane] = (cursor){next, picker->subchannels[next]};
    }
    return &picker->base;
}

static const evener_base_policy round_robin = {
    .size = sizeof round_robin,
    .build_picker = round_robin_build_picker,
};

const evener_policy_builder evener_policy_round_robin = {
    .size = sizeof evener_policy_round_robin,
    .name = "round_robin",
    .build = evener_base_policy_build,
    .user_data = (void *)&round_robin,
};
