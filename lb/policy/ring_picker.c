#include "lb/policy/ring_picker.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lb/policy/xxh64.h"

#define HEADER_VALUES_BYTES 4096 /* of several values joined; what is longer is cut */

static void ask_to_connect(const ring_picker *picker, evener_loop *loop, const target *t)
{
    __atomic_store_n(&t->data->wanted, 1, __ATOMIC_RELAXED);
    /* Release: whoever runs the task sees `wanted`. */
    if (__atomic_exchange_n(&picker->request->posted, 1, __ATOMIC_ACQ_REL) == 0) {
        (void)evener_loop_post(loop, &picker->request->task);
    }
}

/* The hash of the header's values, joined by commas if there are several. False: the call has no such header. */
static bool hash_header(const ring_picker *picker, const evener_pick_args *args, uint64_t *hash)
{
    char joined[HEADER_VALUES_BYTES];
    size_t bytes = 0;
    const evener_metadata *first = NULL;
    bool several = false;
    for (size_t i = 0; i < args->metadata_count; i++) {
        const evener_metadata *m = &args->metadata[i];
        if (strcmp(m->key, picker->header) != 0) {
            continue;
        }
        if (first == NULL) {
            first = m;
            continue;
        }
        if (!several) {
            several = true;
            bytes = first->value_bytes < sizeof joined ? first->value_bytes : sizeof joined;
            memcpy(joined, first->value, bytes);
        }
        if (bytes < sizeof joined) {
            joined[bytes++] = ',';
        }
        const size_t room = sizeof joined - bytes;
        const size_t added = m->value_bytes < room ? m->value_bytes : room;
        memcpy(joined + bytes, m->value, added);
        bytes += added;
    }
    if (first == NULL) {
        return false;
    }
    *hash = several ? evener_xxh64(joined, bytes, 0) : evener_xxh64(first->value, first->value_bytes, 0);
    return true;
}

static evener_pick_outcome fail(const ring_picker *picker, const evener_pick_context *context)
{
    if (context->status != NULL) {
        *context->status = picker->error;
    }
    return EVENER_PICK_FAIL;
}

static void call_done(void *data, uint64_t word, const evener_done_info *info, uint32_t lane)
{
    (void)word;
    (void)info;
    (void)lane;
    endpoint_data *endpoint = data;
    (void)__atomic_fetch_sub(&endpoint->in_flight, 1, __ATOMIC_RELAXED);
    (void)__atomic_fetch_sub(&endpoint->load->in_flight, 1, __ATOMIC_RELAXED);
}

/* Whether a call more would take the backend above its bound: maxLoadFactor times the mean, the new call included
 * (Mirrokni, Thorup, Zadimoghaddam 2016, consistent hashing with bounded loads). */
static bool is_full(const ring_picker *picker, const target *t)
{
    /* Of those that calls can go to: otherwise all are full when some have failed, and the bound is none. */
    const double mean =
        ((double)__atomic_load_n(&picker->load->in_flight, __ATOMIC_RELAXED) + 1) / (double)picker->usable;
    return __atomic_load_n(&t->data->in_flight, __ATOMIC_RELAXED) >= ceil(picker->load_factor_max * mean);
}

static evener_pick_outcome take(const ring_picker *picker, const target *t, evener_pick *pick)
{
    pick->subchannel = t->subchannel;
    if (__builtin_expect(picker->bounded, 0) && evener_pick_add_layer(pick, call_done, t->data) != NULL) {
        (void)__atomic_fetch_add(&t->data->in_flight, 1, __ATOMIC_RELAXED);
        (void)__atomic_fetch_add(&t->data->load->in_flight, 1, __ATOMIC_RELAXED);
    }
    return EVENER_PICK_COMPLETE;
}

/* All backends with places have failed: then a READY one without a place, of weight 0, serves. */
static evener_pick_outcome pick_without_place(const ring_picker *picker, const evener_pick_context *context,
                                              evener_pick *pick, uint32_t first)
{
    for (uint32_t i = 0; i < picker->count; i++) {
        const target *t = &picker->targets[(first + i) % picker->count];
        if (t->state == EVENER_READY) {
            if (evener_pick_is_traced(context)) {
                evener_pick_trace_reason(context, "no place on the ring");
            }
            return take(picker, t, pick);
        }
    }
    return fail(picker, context);
}

static evener_pick_outcome pick_by_hash(const ring_picker *picker, const evener_pick_context *context,
                                        evener_pick *pick, uint32_t first)
{
    const target *full = NULL; /* the first one; taken if all that are READY are full */
    for (uint32_t i = 0; i < picker->ring->size; i++) {
        const uint32_t at = first + i < picker->ring->size ? first + i : first + i - picker->ring->size;
        const target *t = &picker->targets[picker->ring->entries[at].endpoint];
        switch (t->state) {
        case EVENER_READY:
            if (__builtin_expect(picker->bounded, 0) && is_full(picker, t)) {
                full = full != NULL ? full : t;
                break;
            }
            if (evener_pick_is_traced(context)) {
                evener_pick_trace_reason(context, i == 0 ? "place on the ring" : "next place on the ring");
            }
            return take(picker, t, pick);
        case EVENER_IDLE:
            ask_to_connect(picker, context->loop, t);
            return EVENER_PICK_QUEUE;
        case EVENER_CONNECTING:
            return EVENER_PICK_QUEUE;
        default:
            break;
        }
    }
    return full != NULL ? take(picker, full, pick) : pick_without_place(picker, context, pick, first);
}

/* A76: a random hash has no backend of its own: the first READY one does. */
static evener_pick_outcome pick_any(const ring_picker *picker, const evener_pick_context *context, evener_pick *pick,
                                    uint32_t first)
{
    bool waits = picker->any_connecting;
    for (uint32_t i = 0; i < picker->ring->size; i++) {
        const uint32_t at = first + i < picker->ring->size ? first + i : first + i - picker->ring->size;
        const target *t = &picker->targets[picker->ring->entries[at].endpoint];
        if (t->state == EVENER_READY) {
            if (evener_pick_is_traced(context)) {
                evener_pick_trace_reason(context, "random hash");
            }
            return take(picker, t, pick);
        }
        if (t->state == EVENER_IDLE && !waits) {
            ask_to_connect(picker, context->loop, t);
            waits = true;
        }
    }
    return waits ? EVENER_PICK_QUEUE : pick_without_place(picker, context, pick, first);
}

/* Take the first READY backend from the place on that the call was not tried at, and that is not full if there is such
 * a one. False: there is none. */
static bool pick_untried(const ring_picker *picker, const evener_pick_context *context, evener_pick *pick,
                         uint32_t first)
{
    const target *full = NULL;
    for (uint32_t i = 0; i < picker->ring->size; i++) {
        const uint32_t at = first + i < picker->ring->size ? first + i : first + i - picker->ring->size;
        const target *t = &picker->targets[picker->ring->entries[at].endpoint];
        if (t->state != EVENER_READY || evener_pick_is_tried(context, t->subchannel)) {
            continue;
        }
        if (!picker->bounded || !is_full(picker, t)) {
            (void)take(picker, t, pick);
            return true;
        }
        full = full != NULL ? full : t;
    }
    if (full != NULL) {
        (void)take(picker, full, pick);
    }
    return full != NULL;
}

/* Any pick but the usual one. */
static __attribute__((noinline)) evener_pick_outcome pick_in_full(ring_picker *picker,
                                                                  const evener_pick_context *context, evener_pick *pick)
{
    uint64_t hash = context->args->hash;
    if (__builtin_expect(context->args->tried_count != 0, 0)) {
        const bool has_hash =
            context->args->has_hash || (picker->header[0] != '\0' && hash_header(picker, context->args, &hash));
        const uint64_t from = has_hash ? hash : evener_lane_random_next(&picker->random, context->lane);
        if (pick_untried(picker, context, pick, evener_hash_ring_find(picker->ring, from))) {
            return EVENER_PICK_COMPLETE;
        }
    }
    if (context->args->has_hash || (picker->header[0] != '\0' && hash_header(picker, context->args, &hash))) {
        return pick_by_hash(picker, context, pick, evener_hash_ring_find(picker->ring, hash));
    }
    hash = evener_lane_random_next(&picker->random, context->lane);
    return pick_any(picker, context, pick, evener_hash_ring_find(picker->ring, hash));
}

/* The usual pick: it has a hash, and the backend of its place is READY. */
static evener_pick_outcome ring_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    ring_picker *picker = (ring_picker *)base;
    if (__builtin_expect(context->args->has_hash && !picker->bounded && !evener_pick_is_traced(context), 1)) {
        const uint32_t place = evener_hash_ring_find(picker->ring, context->args->hash);
        const target *t = &picker->targets[picker->ring->entries[place].endpoint];
        if (__builtin_expect(t->state == EVENER_READY && context->args->tried_count == 0, 1)) {
            pick->subchannel = t->subchannel;
            return EVENER_PICK_COMPLETE;
        }
    }
    return pick_in_full(picker, context, pick);
}

void connect_request_unref(connect_request *request)
{
    if (--request->references == 0 && __atomic_load_n(&request->posted, __ATOMIC_ACQUIRE) == 0) {
        free(request); /* else its task does */
    }
}

static void ring_picker_destroy(evener_picker *base)
{
    ring_picker *picker = (ring_picker *)base;
    for (uint32_t i = 0; i < picker->count; i++) {
        evener_subchannel_unref(picker->targets[i].subchannel);
    }
    evener_hash_ring_unref(picker->ring);
    connect_request_unref(picker->request);
    free(picker);
}

const evener_picker_vtable ring_picker_vtable = {
    .size = sizeof ring_picker_vtable, .pick = ring_pick, .destroy = ring_picker_destroy};

void ring_load_unref(ring_load *load)
{
    if (load != NULL && --load->references == 0) {
        free(load);
    }
}
