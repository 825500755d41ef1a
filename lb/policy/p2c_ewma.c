/* p2c_ewma: the power of two choices over a moving average of latencies, in the manner of go-zero's policy of that name
 * (zrpc/internal/balancer/p2c), without its faults. docs/policies.md gives the reasons.
 *
 *     p2c_load.h        what is known of one backend, and its cost
 *     p2c_choice.h      the pick: draw, compare, probe
 *     p2c_slow_start.h  how a backend joins
 *     this file         the pickers' making, and the builder
 *
 * Statistics live in the subchannel and outlive pickers. Each lane has its own random numbers and its own measure of
 * the usual cost of a pick; threads share only the backends' statistics, one cache line each. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lb/base/c_locale.h"
#include "lb/base/memory.h"
#include "lb/policy/base_lean.h"
#include "lb/policy/builtin.h"
#include "lb/policy/p2c_choice.h"
#include "lb/policy/p2c_internal.h"
#include "lb/policy/p2c_slow_start.h"
#include "lb/policy/ready_list.h"

static void p2c_destroy(evener_picker *base)
{
    p2c_picker *picker = (p2c_picker *)base;
    for (uint32_t i = 0; i < picker->count; i++) {
        evener_subchannel_unref(picker->backends[i]->subchannel);
    }
    free(picker->aliases);
    free(picker);
}

static const evener_picker_vtable picker_vtable = {
    .size = sizeof picker_vtable, .pick = p2c_pick, .destroy = p2c_destroy};

/* Sums over all backends, needed before a single one can be prepared. */
typedef struct survey {
    double *weights;     /* of the backends */
    uint32_t *newcomers; /* their indices */
    uint32_t newcomer_count, known;
    double least, most;
    double weight_sum, latency_sum; /* latencies: of the `known` among those that stay */
    bool was_uneven;                /* a weight that is not the mean is in force */
} survey;

/* Create what the backends have in common, in a cache line that nothing else writes: the end of each call reads it.
 * Return false if out of memory. */
static bool make_common(p2c_state *state, evener_loop *loop)
{
    if (state->common == NULL) {
        state->common = evener_cache_aligned_calloc(sizeof *state->common);
        if (state->common == NULL) {
            return false;
        }
        state->common->loop = loop;
        state->common->references = 1;
    }
    return true;
}

static void common_unref(p2c_common *common)
{
    if (common != NULL && --common->references == 0) {
        free(common);
    }
}

/* Let a backend have the common data. One that has go-zero's statistics, of a former configuration, keeps its copy. */
static void take_common(p2c_state *state, p2c_stats *stats, const p2c_config *config)
{
    if (stats->common != NULL) {
        p2c_common_configure(stats->common, config);
        return;
    }
    state->common->references++;
    __atomic_store_n(&stats->common, state->common, __ATOMIC_RELEASE);
}

/* Take the backends and a reference of each. An update mostly changes few of many: a backend that stays as it is
 * is looked at once, here. */
static void take_backends(p2c_picker *picker, const evener_base_ready *ready, const p2c_config *config, survey *found)
{
    p2c_state *state = ready->state;
    const uint32_t last = state->generation;
    state->generation = last + 1 == 0 ? 1 : last + 1;
    found->least = INFINITY;
    for (uint32_t i = 0; i < picker->count; i++) {
        evener_subchannel *subchannel = evener_subchannel_ref(ready->subchannels[i]);
        p2c_stats *stats = evener_subchannel_data(subchannel);
        picker->backends[i] = stats;
        const double weight = (double)evener_static_weight(subchannel);
        found->weights[i] = weight;
        found->weight_sum += weight;
        found->least = weight < found->least ? weight : found->least;
        found->most = weight > found->most ? weight : found->most;
        found->was_uneven |= p2c_get(&stats->weight_inverse) != 1.0F;
        if (stats->common != state->common) {
            take_common(state, stats, config);
        }
        if (*p2c_generation(stats) == 0 || *p2c_generation(stats) != last) {
            found->newcomers[found->newcomer_count++] = i;
            continue;
        }
        *p2c_generation(stats) = state->generation;
        const float latency_ns = p2c_get(&stats->latency_ns);
        if (latency_ns > 0) {
            found->known++;
            found->latency_sum += (double)latency_ns;
        }
    }
}

/* Store the weights in the statistics and the alias table; false: out of memory. */
static bool take_weights(p2c_picker *picker, const survey *found)
{
    if (found->least == found->most) {
        for (uint32_t i = 0; found->was_uneven && i < picker->count; i++) {
            p2c_set(&picker->backends[i]->weight_inverse, 1.0F);
        }
        return true;
    }
    const double mean = found->weight_sum / picker->count;
    picker->aliases = malloc(picker->count * sizeof *picker->aliases);
    for (uint32_t i = 0; i < picker->count; i++) {
        p2c_set(&picker->backends[i]->weight_inverse, (float)(mean / found->weights[i]));
    }
    return picker->aliases != NULL && evener_alias_fill(picker->aliases, found->weights, picker->count);
}

static p2c_picker *allocate_picker(const evener_base_ready *ready, survey *found)
{
    const size_t bytes = sizeof(p2c_picker) + ready->count * sizeof(p2c_stats *);
    p2c_picker *picker = evener_picker_alloc(bytes);
    *found = (survey){.weights = malloc(ready->count * (sizeof *found->weights + sizeof *found->newcomers))};
    if (picker == NULL || found->weights == NULL) {
        free(picker);
        free(found->weights);
        return NULL;
    }
    found->newcomers = (uint32_t *)(void *)(found->weights + ready->count);
    return picker;
}

static evener_picker *p2c_build_picker(const evener_base_ready *ready)
{
    const p2c_config *config = ready->config != NULL ? ready->config : &p2c_config_default;
    p2c_state *state = ready->state;
    state->go_zero = config->go_zero;
    if (config->go_zero) {
        return p2c_go_zero_build_picker(ready, config);
    }
    survey found;
    p2c_picker *picker = make_common(state, ready->helper->loop) ? allocate_picker(ready, &found) : NULL;
    if (picker == NULL) {
        return NULL;
    }
    p2c_common_configure(state->common, config);
    evener_picker_init(&picker->base, &picker_vtable);
    picker->count = (uint32_t)ready->count;
    picker->choices = config->choices;
    picker->choices_max = config->choices_max;
    picker->chooses_of_two = config->choices == 2 && ready->count > 1;
    picker->force_pick_ns = (float)config->force_pick_ns;
    picker->calm_ns = config->decay_ns;
    picker->aliases = NULL;
    take_backends(picker, ready, config, &found);
    if (!take_weights(picker, &found)) {
        free(found.weights);
        p2c_destroy(&picker->base); /* backends that have not joined are newcomers again the next time */
        return NULL;
    }
    const float latency_ns = found.known > 0 ? (float)(found.latency_sum / found.known) : 0.0F;
    p2c_let_join(picker, ready, config, found.newcomers, found.newcomer_count, latency_ns);
    free(found.weights);
    for (size_t lane = 0; lane < EVENER_LANES; lane++) {
        picker->lanes[lane] =
            (p2c_lane){.usual = {.latency_ns = latency_ns > 0 ? latency_ns : P2C_UNKNOWN_NS, .crowding = 1.0F}};
        evener_lane_generator_init(&picker->lanes[lane].random, ready->helper->loop);
    }
    return &picker->base;
}

static void p2c_describe(void *state_memory, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes)
{
    const p2c_state *state = state_memory;
    p2c_stats *stats = evener_subchannel_data(subchannel);
    if (state->go_zero) {
        p2c_go_zero_describe(stats, buffer, buffer_bytes);
    } else if (*p2c_generation(stats) != 0) {
        const uint64_t now_ns = evener_loop_now_ns(p2c_common_of(stats)->loop);
        const float cost_ns = p2c_cost(stats, NULL, now_ns, &(p2c_usual){.crowding = 1.0F});
        evener_snprintf(buffer, buffer_bytes, "ewma_us=%.0f success=%.3f cost_us=%.0f%s",
                        (double)p2c_get(&stats->latency_ns) / 1000, (double)p2c_get(&stats->success),
                        (double)cost_ns / 1000, p2c_success(stats, now_ns) < P2C_HEALTHY_SUCCESS ? " failing" : "");
    }
}

static void data_destroy(void *data)
{
    const p2c_stats *stats = data;
    p2c_common *common = stats->common;
    common_unref(common != NULL && common->is_go_zero ? p2c_go_zero_free(common) : common);
}

static void state_destroy(void *state_memory)
{
    const p2c_state *state = state_memory;
    common_unref(state->common);
}

static const evener_base_policy p2c = {
    .by_weight = true,
    .size = sizeof p2c,
    .build_picker = p2c_build_picker,
    .subchannel_data_bytes = sizeof(p2c_stats),
    .subchannel_data_destroy = data_destroy,
    .state_bytes = sizeof(p2c_state),
    .state_destroy = state_destroy,
    .describe = p2c_describe,
};

const evener_policy_builder evener_policy_p2c_ewma = {
    .size = sizeof evener_policy_p2c_ewma,
    .name = "p2c_ewma",
    .build = evener_base_policy_build_lean,
    .parse_config = p2c_config_parse,
    .config_destroy = p2c_config_destroy,
    .user_data = (void *)&p2c,
};

/* The short name. */
const evener_policy_builder evener_policy_p2c = {
    .size = sizeof evener_policy_p2c,
    .name = "p2c",
    .build = evener_base_policy_build_lean,
    .parse_config = p2c_config_parse,
    .config_destroy = p2c_config_destroy,
    .user_data = (void *)&p2c,
};
