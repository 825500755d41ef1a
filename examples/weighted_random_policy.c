/* A custom policy on evener's base policy. The base keeps a connection to every backend and asks for a new picker
 * whenever the set of READY backends changes. This picker draws a backend with a probability proportional to its
 * weight. */
#include "weighted_random_policy.h"

#include <stdlib.h>

typedef struct dice_picker {
    evener_picker base; /* first member, so that an evener_picker * can be cast to a dice_picker * */
    uint64_t total;
    size_t count;
    struct {
        evener_subchannel *subchannel;
        uint64_t up_to; /* the sum of the weights up to and including this one */
    } faces[];
} dice_picker;

/* Any thread, several at once: no lock, no allocation. */
static evener_pick_outcome dice_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    (void)context;
    static _Thread_local uint64_t state = 88172645463325252u; /* xorshift64 */
    const dice_picker *picker = (const dice_picker *)base;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    const uint64_t throw = state % picker->total;
    size_t face = 0;
    while (picker->faces[face].up_to <= throw) {
        face++;
    }
    pick->subchannel = picker->faces[face].subchannel;
    return EVENER_PICK_COMPLETE;
}

static void dice_destroy(evener_picker *base)
{
    dice_picker *picker = (dice_picker *)base;
    for (size_t i = 0; i < picker->count; i++) {
        evener_subchannel_unref(picker->faces[i].subchannel);
    }
    free(picker);
}

static const evener_picker_vtable dice_vtable = {
    .size = sizeof dice_vtable, .pick = dice_pick, .destroy = dice_destroy};

static evener_picker *dice_build_picker(const evener_base_ready *ready)
{
    dice_picker *picker = malloc(sizeof *picker + ready->count * sizeof picker->faces[0]);
    if (picker == NULL) {
        return NULL;
    }
    evener_picker_init(&picker->base, &dice_vtable);
    picker->count = ready->count;
    picker->total = 0;
    for (size_t i = 0; i < ready->count; i++) {
        const evener_address *address = evener_subchannel_address(ready->subchannels[i]);
        const uint32_t weight = evener_address_attribute_u32(address, "weight", 1);
        picker->total += weight > 0 ? weight : 1;
        picker->faces[i].subchannel = evener_subchannel_ref(ready->subchannels[i]);
        picker->faces[i].up_to = picker->total;
    }
    return &picker->base;
}

static const evener_base_policy dice_base = {.size = sizeof dice_base, .build_picker = dice_build_picker};

const evener_policy_builder weighted_dice = {.size = sizeof weighted_dice,
                                             .name = "weighted_dice",
                                             .build = evener_base_policy_build,
                                             .user_data = (void *)&dice_base};
