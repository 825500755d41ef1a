/* weighted_random: a READY backend with a chance proportional to its weight (attribute "weight", 1 if none), in constant
 * time by an alias table (Walker 1977; Vose 1991).
 *
 * The table has a column for each backend. A column is of the mean weight: its own backend fills it up to `threshold`,
 * the rest is lent to the backend `alias`. A pick draws a column and a height in it. */
#include <evener/base_policy.h>

#include <evener/policy_config.h>

#include "lb/policy/builtin.h"
#include "lb/policy/ready_list.h"
#include "lb/policy/weights.h"

typedef struct weighted_random_config {
    evener_slow_start slow_start;
} weighted_random_config;

static const weighted_random_config default_config = {EVENER_SLOW_START_NONE};

typedef struct column {
    evener_subchannel *own, *alias;
    uint32_t threshold; /* a height below it is the own backend's; of 2^32 */
} column;

typedef struct weighted_random_picker {
    evener_picker base;
    uint32_t count;
    evener_lane_random random;
    column columns[];
} weighted_random_picker;

static evener_pick_outcome weighted_random_pick(evener_picker *base, const evener_pick_context *context,
                                                evener_pick *pick)
{
    weighted_random_picker *picker = (weighted_random_picker *)base;
    const uint64_t draw = evener_lane_random_next(&picker->random, context->lane);
    const column *c = &picker->columns[evener_random_scale((uint32_t)(draw >> 32), picker->count)];
    pick->subchannel = (uint32_t)draw < c->threshold ? c->own : c->alias;
    return EVENER_PICK_COMPLETE;
}

static void weighted_random_destroy(evener_picker *base)
{
    weighted_random_picker *picker = (weighted_random_picker *)base;
    for (uint32_t i = 0; i < picker->count; i++) {
        evener_subchannel_unref(picker->columns[i].own);
    }
    free(picker);
}

static const evener_picker_vtable picker_vtable = {
    .size = sizeof picker_vtable, .pick = weighted_random_pick, .destroy = weighted_random_destroy};

/* Vose's way: columns that are too low are filled up by ones that are too high. `heights` are the weights with a mean
 * of 1; `order` is scratch: the low ones from the front, the high ones from the back. */
static void fill_columns(column *columns, double *heights, uint32_t *order, uint32_t count)
{
    uint32_t low = 0;
    uint32_t high = count;
    for (uint32_t i = 0; i < count; i++) {
        if (heights[i] < 1) {
            order[low++] = i;
        } else {
            order[--high] = i;
        }
    }
    /* order[0, low) are the low ones still to fill, order[high, count) the high ones that may still give. */
    while (low > 0 && high < count) {
        const uint32_t needy = order[--low];
        const uint32_t giver = order[high];
        columns[needy].threshold = (uint32_t)(heights[needy] * 4294967296.0);
        columns[needy].alias = columns[giver].own;
        heights[giver] -= 1 - heights[needy];
        if (heights[giver] < 1) {
            high++;
            order[low++] = giver;
        }
    }
    /* What is left is full but for rounding: it keeps its alias, itself. */
}

static evener_picker *weighted_random_build_picker(const evener_base_ready *ready)
{
    const weighted_random_config *config = ready->config != NULL ? ready->config : &default_config;
    const uint32_t count = (uint32_t)ready->count;
    weighted_random_picker *picker = evener_picker_alloc(sizeof *picker + count * sizeof(column));
    double *heights = malloc(count * sizeof(double));
    uint32_t *order = malloc(count * sizeof(uint32_t));
    if (picker == NULL || heights == NULL || order == NULL) {
        free(picker);
        free(heights);
        free(order);
        return NULL;
    }
    evener_picker_init(&picker->base, &picker_vtable);
    picker->count = count;
    evener_lane_random_init(&picker->random, ready->helper->loop);
    evener_ready_weights(ready, &config->slow_start, heights);
    double total = 0;
    for (uint32_t i = 0; i < count; i++) {
        evener_subchannel *own = evener_subchannel_ref(ready->subchannels[i]);
        picker->columns[i] = (column){.own = own, .alias = own};
        total += heights[i];
    }
    for (uint32_t i = 0; i < count; i++) {
        heights[i] *= (double)count / total;
    }
    fill_columns(picker->columns, heights, order, count);
    free(heights);
    free(order);
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
