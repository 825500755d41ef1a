/* round_robin: every backend in turn (grpc: round_robin.cc).
 *
 * One counter that two threads write costs each of them some 18 ns, so each lane has a cursor of its own, and a pick is
 * a few plain loads and stores. n picks by one thread on a picker of n backends give each backend exactly one; over T
 * threads, each backend has had, after any number of picks, at most T more than any other, as a thread's share differs
 * by at most one. (All threads on the shared lane count as one.)
 *
 * Where picks are followed by calls, cursors that go round in the same order come to be in step: two calls that meet on
 * one connection are answered together and move on together, while the other backends idle. Two blocking threads on
 * three servers made a fifth to a third fewer calls. Therefore lanes go round in different orders: lane 0 in that of
 * the list, lane 1 backwards, and further ones by other strides that have no factor in common with the number of
 * backends. Threads that meet part with the next pick. The lanes start spread over the list.
 *
 * The start is random for every picker: a start at 0 gave the first backends of short-lived pickers 3-4 times the load
 * (grpc-java 4462). */
#include <evener/base_policy.h>

#include <stdlib.h>

#include "lb/policy/builtin.h"

/* The backend to come is at hand before it is asked for: the channel counts the pick at an address that depends on it,
 * and what follows waits until that address is known (0.6 ns of 8.5). */
typedef struct cursor {
    _Alignas(EVENER_LANE_BYTES) uint64_t next; /* the index to come; on the shared lane, a count that only grows */
    evener_subchannel *subchannel;             /* the one at `next`; not on the shared lane */
    uint64_t stride;                           /* down from one index to the next */
} cursor;

typedef struct round_robin_picker {
    evener_picker base;
    uint32_t count;
    evener_base_hold *hold; /* of the subchannels */
    cursor cursors[EVENER_LANES];
    evener_subchannel *subchannels[]; /* the list backwards */
} round_robin_picker;

/* Take the next backend in the list's order that the call was not tried at. */
static __attribute__((noinline)) evener_pick_outcome pick_untried(const round_robin_picker *picker,
                                                                  const evener_pick_context *context, evener_pick *pick,
                                                                  uint64_t next)
{
    if (evener_pick_avoids(context, pick->subchannel)) {
        pick->subchannel = evener_pick_other(context, pick->subchannel, picker->subchannels, picker->count, next);
    }
    return EVENER_PICK_COMPLETE;
}

static evener_pick_outcome pick_on_shared_lane(round_robin_picker *picker, const evener_pick_context *context,
                                               evener_pick *pick)
{
    const uint64_t next = __atomic_fetch_add(&picker->cursors[EVENER_LANE_SHARED].next, 1, __ATOMIC_RELAXED);
    pick->subchannel = picker->subchannels[next % picker->count];
    return pick_untried(picker, context, pick, next);
}

static evener_pick_outcome round_robin_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    round_robin_picker *picker = (round_robin_picker *)base;
    if (__builtin_expect(context->lane == EVENER_LANE_SHARED, 0)) {
        return pick_on_shared_lane(picker, context, pick);
    }
    cursor *own = &picker->cursors[context->lane];
    pick->subchannel = __atomic_load_n(&own->subchannel, __ATOMIC_RELAXED);
    uint64_t next; /* downwards: the borrow of the subtraction is the test for the end of the list */
    if (__builtin_sub_overflow(__atomic_load_n(&own->next, __ATOMIC_RELAXED), own->stride, &next)) {
        next += picker->count;
    }
    __atomic_store_n(&own->next, next, __ATOMIC_RELAXED);
    __atomic_store_n(&own->subchannel, picker->subchannels[next], __ATOMIC_RELAXED);
    if (__builtin_expect(context->args->tried_count != 0, 0)) {
        return pick_untried(picker, context, pick, next);
    }
    return EVENER_PICK_COMPLETE;
}

static void round_robin_destroy(evener_picker *base)
{
    round_robin_picker *picker = (round_robin_picker *)base;
    evener_base_hold_unref(picker->hold);
    free(picker);
}

static const evener_picker_vtable vtable = {
    .size = sizeof vtable, .pick = round_robin_pick, .destroy = round_robin_destroy};

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Return the smallest stride above `stride` and up to half the list that visits all `count` backends, or 1. */
static uint64_t next_stride(uint64_t stride, uint64_t count)
{
    do {
        stride++;
    } while (stride <= count / 2 && greatest_common_divisor(count, stride) != 1);
    return stride <= count / 2 ? stride : 1;
}

static void place_cursors(round_robin_picker *picker, uint64_t start)
{
    const uint64_t count = picker->count;
    uint64_t stride = 1;
    for (uint32_t lane = 0; lane < EVENER_LANES; lane++) {
        const uint64_t next = (start + evener_lane_start(lane, count)) % count;
        const bool backwards = lane % 2 == 1;
        picker->cursors[lane] = (cursor){next, picker->subchannels[next], backwards ? count - stride : stride};
        stride = backwards ? next_stride(stride, count) : stride;
    }
}

static evener_picker *round_robin_build_picker(const evener_base_ready *ready)
{
    round_robin_picker *picker = evener_picker_alloc(sizeof *picker + ready->count * sizeof(evener_subchannel *));
    if (picker == NULL) {
        return NULL;
    }
    evener_picker_init(&picker->base, &vtable);
    picker->count = (uint32_t)ready->count;
    for (size_t i = 0; i < ready->count; i++) {
        picker->subchannels[i] = ready->subchannels[ready->count - 1 - i];
    }
    picker->hold = evener_base_hold_ref(ready->hold);
    place_cursors(picker, evener_loop_random_below(ready->helper->loop, ready->count));
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
