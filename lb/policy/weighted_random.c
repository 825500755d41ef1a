/* weighted_random: a READY backend with a chance proportional to its weight (attribute "weight", 1 if none), in
 * constant time by an alias table (lb/policy/alias_table.h). */
#include <evener/base_policy.h>

#include <stdlib.h>

#include <evener/policy_config.h>

#include "lb/policy/alias_table.h"
#include "lb/policy/builtin.h"
#include "lb/policy/ready_list.h"
#include "lb/policy/weights.h"

typedef struct weighted_random_config {
    evener_slow_start slow_start;
} weighted_random_config;

static const weighted_random_config default_config = {EVENER_SLOW_START_NONE};

typedef struct weighted_random_picker {
    evener_picker base;
    uint32_t count;
    evener_lane_random random;
    evener_alias *aliases; /* behind the subchannels */
    evener_base_hold *hold;
    evener_subchannel *subchannels[];
} weighted_random_picker;

static inline uint32_t draw(weighted_random_picker *picker, const evener_pick_context *context)
{
    const uint32_t high = (uint32_t)(evener_lane_random_next(&picker->random, context->lane) >> 32);
    return evener_alias_draw(picker->aliases, picker->count, high);
}

/* Draw again while the call was tried at the backend drawn, so that the others keep their weights; then take the next
 * one in the list. */
static __attribute__((noinline)) evener_subchannel *draw_untried(weighted_random_picker *picker,
                                                                 const evener_pick_context *context,
                                                                 evener_subchannel *drawn)
{
    uint32_t index = 0;
    for (int i = 0; i < EVENER_UNTRIED_DRAWS && evener_pick_avoids(context, drawn); i++) {
        index = draw(picker, context);
        drawn = picker->subchannels[index];
    }
    return evener_pick_avoids(context, drawn)
               ? evener_pick_other(context, drawn, picker->subchannels, picker->count, index)
               : drawn;
}

static evener_pick_outcome weighted_random_pick(evener_picker *base, const evener_pick_context *context,
                                                evener_pick *pick)
{
    weighted_random_picker *picker = (weighted_random_picker *)base;
    pick->subchannel = picker->subchannels[draw(picker, context)];
    if (__builtin_expect(context->args->tried_count != 0, 0)) {
        pick->subchannel = draw_untried(picker, context, pick->subchannel);
    }
    return EVENER_PICK_COMPLETE;
}

static void weighted_random_destroy(evener_picker *base)
{
    weighted_random_picker *picker = (weighted_random_picker *)base;
    evener_base_hold_unref(picker->hold);
    free(picker);
}

static const evener_picker_vtable picker_vtable = {
    .size = sizeof picker_vtable, .pick = weighted_random_pick, .destroy = weighted_random_destroy};

static evener_picker *weighted_random_build_picker(const evener_base_ready *ready)
{
    const weighted_random_config *config = ready->config != NULL ? ready->config : &default_config;
    const uint32_t count = (uint32_t)ready->count;
    const size_t columns_at = sizeof(weighted_random_picker) + count * sizeof(evener_subchannel *);
    weighted_random_picker *picker = evener_picker_alloc(columns_at + count * sizeof(evener_alias));
    double *weights = malloc(count * sizeof(double));
    bool enough = picker != NULL && weights != NULL;
    if (enough) {
        picker->aliases = (evener_alias *)(void *)((char *)picker + columns_at);
        evener_ready_weights(ready, &config->slow_start, weights);
        enough = evener_alias_fill(picker->aliases, weights, count);
    }
    free(weights);
    if (!enough) {
        free(picker);
        return NULL;
    }
    evener_picker_init(&picker->base, &picker_vtable);
    picker->count = count;
    evener_lane_random_init(&picker->random, ready->helper->loop);
    picker->hold = evener_ready_list_take(picker->subchannels, ready);
    return &picker->base;
}

static void read_config(evener_policy_fields *fields, const evener_policy_set *policies, evener_policy_config *parsed)
{
    (void)policies;
    evener_slow_start_read(fields, &((weighted_random_config *)parsed)->slow_start);
}

static const evener_policy_config_type config_type = {.size = sizeof config_type,
                                                      .config_bytes = sizeof(weighted_random_config),
                                                      .defaults = &default_config,
                                                      .read = read_config};

static evener_status_code parse_config(const evener_policy_builder *builder, const evener_policy_set *policies,
                                       const char *json, evener_policy_config **config, evener_status *status)
{
    (void)builder;
    return evener_policy_config_parse(&config_type, policies, json, config, status);
}

static const evener_base_policy weighted_random = {
    .by_weight = true,
    .size = sizeof weighted_random,
    .build_picker = weighted_random_build_picker,
};

const evener_policy_builder evener_policy_weighted_random = {
    .size = sizeof evener_policy_weighted_random,
    .name = "weighted_random",
    .build = evener_base_policy_build,
    .parse_config = parse_config,
    .config_destroy = free,
    .user_data = (void *)&weighted_random,
};
