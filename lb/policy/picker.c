/* Pickers: references, and the three constant ones. */
#include <evener/picker.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lb/policy/avoided.h"

void *evener_picker_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX - EVENER_LANE_BYTES) {
        return NULL;
    }
    return aligned_alloc(EVENER_LANE_BYTES, (bytes + EVENER_LANE_BYTES - 1) / EVENER_LANE_BYTES * EVENER_LANE_BYTES);
}

void evener_pick_undo(evener_pick *pick, uint32_t lane)
{
    static const evener_done_info unsent = {.size = sizeof unsent, .code = EVENER_STATUS_UNAVAILABLE, .not_sent = true};
    for (uint32_t i = 0; i < pick->layer_count; i++) {
        pick->layers[i].done(pick->layers[i].data, pick->layers[i].word, &unsent, lane);
    }
    pick->layer_count = 0;
    pick->subchannel = NULL;
}

evener_picker *evener_picker_ref(evener_picker *picker)
{
    picker->references++;
    return picker;
}

void evener_picker_unref(evener_picker *picker)
{
    if (picker == NULL) {
        return;
    }
    assert(picker->references > 0);
    if (--picker->references == 0) {
        picker->vtable->destroy(picker);
    }
}

typedef struct constant_picker {
    evener_picker base;
    evener_status status;
} constant_picker;

static void constant_destroy(evener_picker *picker)
{
    free(picker);
}

static evener_pick_outcome pick_queue(evener_picker *picker, const evener_pick_context *context, evener_pick *pick)
{
    (void)picker;
    (void)context;
    (void)pick;
    return EVENER_PICK_QUEUE;
}

static evener_pick_outcome fill_status(const evener_picker *picker, const evener_pick_context *context,
                                       evener_pick_outcome outcome)
{
    const evener_status *status = &((const constant_picker *)picker)->status;
    if (context->status != NULL) {
        *context->status = *status;
    }
    return outcome;
}

static evener_pick_outcome pick_fail(evener_picker *picker, const evener_pick_context *context, evener_pick *pick)
{
    (void)pick;
    return fill_status(picker, context, EVENER_PICK_FAIL);
}

static evener_pick_outcome pick_drop(evener_picker *picker, const evener_pick_context *context, evener_pick *pick)
{
    (void)pick;
    return fill_status(picker, context, EVENER_PICK_DROP);
}

static const evener_picker_vtable queue_vtable = {
    .size = sizeof queue_vtable, .pick = pick_queue, .destroy = constant_destroy};
static const evener_picker_vtable fail_vtable = {
    .size = sizeof fail_vtable, .pick = pick_fail, .destroy = constant_destroy};
static const evener_picker_vtable drop_vtable = {
    .size = sizeof drop_vtable, .pick = pick_drop, .destroy = constant_destroy};

static evener_picker *create(const evener_picker_vtable *vtable, const evener_status *status)
{
    constant_picker *picker = malloc(sizeof *picker);
    if (picker == NULL) {
        return NULL;
    }
    evener_picker_init(&picker->base, vtable);
    if (status != NULL) {
        picker->status = *status;
    } else {
        evener_status_clear(&picker->status);
    }
    return &picker->base;
}

evener_picker *evener_picker_create_queue(void)
{
    return create(&queue_vtable, NULL);
}

evener_picker *evener_picker_create_fail(const evener_status *status)
{
    return create(&fail_vtable, status);
}

evener_picker *evener_picker_create_drop(const evener_status *status)
{
    return create(&drop_vtable, status);
}

/* ---- tried backends ---- */

bool evener_pick_is_tried(const evener_pick_context *context, const evener_subchannel *subchannel)
{
    const char *address = evener_subchannel_address_text(subchannel);
    for (size_t i = 0; i < context->args->tried_count; i++) {
        const char *tried = context->args->tried[i];
        if (__builtin_expect(tried[0] == EVENER_AVOIDED_MARK, 0)) {
            const evener_avoided *avoided = (const evener_avoided *)(const void *)tried;
            if (avoided->applies(avoided, subchannel)) {
                return true;
            }
        } else if (strcmp(tried, address) == 0) {
            return true;
        }
    }
    return false;
}

evener_subchannel *evener_pick_other(const evener_pick_context *context, evener_subchannel *chosen,
                                     evener_subchannel *const *subchannels, size_t count, size_t start)
{
    for (size_t i = 0; i < count; i++) {
        evener_subchannel *other = subchannels[(start + i) % count];
        if (!evener_pick_is_tried(context, other)) {
            return other;
        }
    }
    return chosen;
}
