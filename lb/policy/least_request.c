/* least_request: of a few READY backends drawn at random, the one with the fewest calls under way (A48).
 *
 * `choiceCount` backends are drawn (2 to 10, more counts as 10); with no more backends than that, all are looked at. The
 * first two are distinct, where A48 may draw one twice and then learns nothing. The lowest (calls under way + 1) / weight
 * wins, with the attribute "weight" (1 if none), less during a slow start; of equals, the one drawn first.
 *
 * Calls under way are those that the channel counts itself (evener_subchannel_in_flight()): a pick of this policy writes
 * nothing that another thread reads or writes, but what the channel writes anyway on the thread's own lane. */
#include <evener/base_policy.h>

#include <stdio.h>

#include "lb/policy/builtin.h"
#include "lb/policy/json_fields.h"
#include "lb/policy/lane_random.h"
#include "lb/policy/ready_list.h"
#include "lb/policy/weights.h"

#define CHOICES_DEFAULT 2
#define CHOICES_MIN 2
#define CHOICES_MAX 10 /* A48: more is taken as this */

typedef struct least_request_config {
    uint32_t choices;
    evener_slow_start slow_start;
} least_request_config;

static const least_request_config default_config = {.choices = CHOICES_DEFAULT, .slow_start = EVENER_SLOW_START_NONE};

typedef struct candidate {
    evener_subchannel *subchannel;
    double cost; /* of one call: 1 / weight */
} candidate;

typedef struct least_request_picker {
    evener_picker base;
    uint32_t count, choices;
    evener_lane_random random;
    candidate candidates[];
} least_request_picker;

static double weigh(const evener_pick_context *context, const candidate *c)
{
    const double load = (double)(evener_subchannel_in_flight(c->subchannel) + 1) * c->cost;
    if (evener_pick_is_traced(context)) {
        evener_pick_trace_candidate(context, c->subchannel, load, NULL);
    }
    return load;
}

static const candidate *least_of_all(const least_request_picker *picker, const evener_pick_context *context,
                                     uint64_t draw)
{
    uint32_t index = evener_random_scale((uint32_t)draw, picker->count);
    const candidate *best = &picker->candidates[index];
    double best_load = weigh(context, best);
    for (uint32_t i = 1; i < picker->count; i++) {
        index = index + 1 < picker->count ? index + 1 : 0;
        const double load = weigh(context, &picker->candidates[index]);
        if (load < best_load) {
            best = &picker->candidates[index];
            best_load = load;
        }
    }
    return best;
}

static const candidate *least_of_drawn(least_request_picker *picker, const evener_pick_context *context, uint64_t draw)
{
    const uint32_t count = picker->count;
    const uint32_t first = evener_random_scale((uint32_t)draw, count);
    uint32_t other = evener_random_scale((uint32_t)(draw >> 32), count - 1);
    other += other >= first;
    const candidate *best = &picker->candidates[first];
    double best_load = weigh(context, best);
    for (uint32_t choice = 2;; choice++) {
        const double load = weigh(context, &picker->candidates[other]);
        if (load < best_load) {
            best = &picker->candidates[other];
            best_load = load;
        }
        if (choice == picker->choices) {
            return best;
        }
        other = evener_random_scale((uint32_t)(evener_lane_random_next(&picker->random, context->lane) >> 32), count);
    }
}

static evener_pick_outcome least_request_pick(evener_picker *base, const evener_pick_context *context,
                                              evener_pick *pick)
{
    least_request_picker *picker = (least_request_picker *)base;
    const uint64_t draw = evener_lane_random_next(&picker->random, context->lane);
    const candidate *best =
        picker->count <= picker->choices ? least_of_all(picker, context, draw) : least_of_drawn(picker, context, draw);
    pick->subchannel = best->subchannel;
    if (evener_pick_is_traced(context)) {
        evener_pick_trace_reason(context, "fewest calls");
    }
    return EVENER_PICK_COMPLETE;
}

static void least_request_destroy(evener_picker *base)
{
    least_request_picker *picker = (least_request_picker *)base;
    for (uint32_t i = 0; i < picker->count; i++) {
        evener_subchannel_unref(picker->candidates[i].subchannel);
    }
    free(picker);
}

static const evener_picker_vtable picker_vtable = {
    .size = sizeof picker_vtable, .pick = least_request_pick, .destroy = least_request_destroy};

static evener_picker *least_request_build_picker(const evener_base_ready *ready)
{
    const least_request_config *config = ready->config != NULL ? ready->config : &default_config;
    least_request_picker *picker = evener_picker_alloc(sizeof *picker + ready->count * sizeof(candidate));
    double *weights = malloc(ready->count * sizeof(double));
    if (picker == NULL || weights == NULL) {
        free(picker);
        free(weights);
        return NULL;
    }
    evener_picker_init(&picker->base, &picker_vtable);
    picker->count = (uint32_t)ready->count;
    picker->choices = config->choices;
    evener_lane_random_init(&picker->random, ready->helper->loop);
    evener_ready_weights(ready, &config->slow_start, weights);
    for (size_t i = 0; i < ready->count; i++) {
        evener_subchannel *subchannel = evener_subchannel_ref(ready->subchannels[i]);
        picker->candidates[i] = (candidate){subchannel, 1 / weights[i]};
    }
    free(weights);
    return &picker->base;
}

static void describe(void *state, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes)
{
    (void)state;
    snprintf(buffer, buffer_bytes, "weight=%u under_way=%llu", evener_static_weight(subchannel),
             (unsigned long long)evener_subchannel_in_flight(subchannel));
}

static evener_status_code read_config(const json_t *object, evener_policy_config *parsed, evener_status *status)
{
    least_request_config *config = parsed;
    const evener_status_code code =
        evener_json_u32(object, "choiceCount", CHOICES_MIN, UINT32_MAX, &config->choices, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    config->choices = config->choices > CHOICES_MAX ? CHOICES_MAX : config->choices;
    return evener_slow_start_parse(object, &config->slow_start, status);
}

static evener_status_code parse_config(const evener_policy_builder *builder, const evener_policy_set *policies,
                                       const char *json, evener_policy_config **config, evener_status *status)
{
    (void)builder;
    (void)policies;
    return evener_json_config(json, &default_config, sizeof default_config, read_config, config, status);
}

static const evener_base_policy least_request = {
    .size = sizeof least_request,
    .build_picker = least_request_build_picker,
    .describe = describe,
};

/* A48's name in service configs is the second one, as long as gRPC calls it experimental. */
const evener_policy_builder evener_policy_least_request = {
    .size = sizeof evener_policy_least_request,
    .name = "least_request",
    .build = evener_base_policy_build,
    .parse_config = parse_config,
    .config_destroy = free,
    .user_data = (void *)&least_request,
};

const evener_policy_builder evener_policy_least_request_experimental = {
    .size = sizeof evener_policy_least_request_experimental,
    .name = "least_request_experimental",
    .build = evener_base_policy_build,
    .parse_config = parse_config,
    .config_destroy = free,
    .user_data = (void *)&least_request,
};
