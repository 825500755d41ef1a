/* random: each READY backend with the same probability. Picks are independent: of n picks a backend with the share p
 * gets n p +- sqrt(n p). */
#include <evener/base_policy.h>

#include <stdlib.h>

#include "lb/policy/builtin.h"
#include "lb/policy/ready_list.h"

typedef struct random_picker {
    evener_picker base;
    uint32_t count;
    evener_lane_random random;
    evener_base_hold *hold;
    evener_subchannel *subchannels[];
} random_picker;

static inline uint32_t draw(random_picker *picker, const evener_pick_context *context)
{
    const uint32_t high = (uint32_t)(evener_lane_random_next(&picker->random, context->lane) >> 32);
    return evener_random_scale(high, picker->count);
}

/* Draw again while the call was tried at the backend drawn, so that the others keep equal chances; then take the next
 * one in the list. Called last, so that the pick itself saves no registers for it. */
static __attribute__((noinline)) evener_pick_outcome draw_untried(random_picker *picker,
                                                                  const evener_pick_context *context, evener_pick *pick)
{
    evener_subchannel *drawn = pick->subchannel;
    uint32_t index = 0;
    for (int i = 0; i < EVENER_UNTRIED_DRAWS && evener_pick_avoids(context, drawn); i++) {
        index = draw(picker, context);
        drawn = picker->subchannels[index];
    }
    pick->subchannel = evener_pick_avoids(context, drawn)
                           ? evener_pick_other(context, drawn, picker->subchannels, picker->count, index)
                           : drawn;
    return EVENER_PICK_COMPLETE;
}

static evener_pick_outcome random_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    random_picker *picker = (random_picker *)base;
    pick->subchannel = picker->subchannels[draw(picker, context)];
    if (__builtin_expect(context->args->tried_count != 0, 0)) {
        return draw_untried(picker, context, pick);
    }
    return EVENER_PICK_COMPLETE;
}

static void random_destroy(evener_picker *base)
{
    random_picker *picker = (random_picker *)base;
    evener_base_hold_unref(picker->hold);
    free(picker);
}

static const evener_picker_vtable picker_vtable = {
    .size = sizeof picker_vtable, .pick = random_pick, .destroy = random_destroy};

static evener_picker *random_build_picker(const evener_base_ready *ready)
{
    random_picker *picker = evener_picker_alloc(sizeof *picker + ready->count * sizeof(evener_subchannel *));
    if (picker == NULL) {
        return NULL;
    }
    evener_picker_init(&picker->base, &picker_vtable);
    picker->count = (uint32_t)ready->count;
    evener_lane_random_init(&picker->random, ready->helper->loop);
    picker->hold = evener_ready_list_take(picker->subchannels, ready);
    return &picker->base;
}

static const evener_base_policy random_policy = {
    .size = sizeof random_policy,
    .build_picker = random_build_picker,
};

const evener_policy_builder evener_policy_random = {
    .size = sizeof evener_policy_random,
    .name = "random",
    .build = evener_base_policy_build,
    .user_data = (void *)&random_policy,
};
