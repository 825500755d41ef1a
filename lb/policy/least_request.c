/* least_request: of a few READY backends drawn at random, the least loaded (A48, least request).
 *
 * `choiceCount` backends are drawn in proportion to their weights (the attribute "weight", 1 if none, less during a
 * slow start). The first one gets the call unless another one has fewer calls in flight. Where weights differ, they are
 * compared as if each was made of servers of the smaller weight, with its calls spread over them (part_of()): then
 * neither wins more often than the other, and the shares are those of the draws, at any load. An idle backend of
 * weight 3 and one of weight 1 get calls as they are drawn, 3 to 1; a comparison of (in flight + 1) / weight would give
 * the first one all of them.
 *
 * Calls in flight are counted in the subchannel's memory, so that the counts survive updates: one cache line per
 * candidate. Streams are counted apart and compared with streams: an open stream is no load for unary calls.
 *
 * What ends of calls change, and which calls are not counted: least_request_load.h. */
#include <evener/base_policy.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <evener/policy_config.h>

#include "lb/policy/alias_table.h"
#include "lb/policy/builtin.h"
#include "lb/policy/failure_codes.h"
#include "lb/policy/glance.h"
#include "lb/policy/least_request_load.h"
#include "lb/policy/weights.h"

#define CHOICES_DEFAULT 2
#define CHOICES_MIN 2
#define CHOICES_MAX 10 /* A48: a larger choiceCount counts as this */
/* Limit of the draws for a backend other than the first: with uneven weights mostly the first one comes again. */
#define DRAWS_MAX 4
/* Up to this many calls in flight are placed one by one, with two choices (part_of()). */
#define PLACED_CALLS_MAX 32
/* When a backend is overloaded (is_overloaded()). */
#define OVERLOAD_CALLS 3.0
#define OVERLOAD 2.0

/* The data of fewer backends stays in the cache. */
#define PREFETCH_FROM 256
#define TIMED_PICKS 256
/* One pick in this many passes the usual time on. */
#define SHARES_PICKS 64
/* Draws, and then backends in order, to look for one that is not failing. */
#define SOUND_DRAWS 8
#define SOUND_SEARCHED 64

typedef struct least_request_config {
    uint32_t choices;
    uint32_t failure_codes;
    evener_slow_start slow_start;
} least_request_config;

static const least_request_config default_config = {
    .choices = CHOICES_DEFAULT, .failure_codes = EVENER_FAILURE_CODES_DEFAULT, .slow_start = EVENER_SLOW_START_NONE};

typedef struct candidate {
    least_request_backend *backend;
    double weight, inverse; /* 1 / weight */
} candidate;

typedef struct least_request_picker {
    evener_picker base;
    uint32_t count, choices;
    bool is_plain;         /* for less_of_two() */
    float usual_ns;        /* atomic: that of a recently picked backend; 0: not known */
    evener_alias *aliases; /* behind the candidates; NULL: all weights are equal */
    evener_lane_random random;
    candidate candidates[];
} least_request_picker;

/* ---- load ---- */

/* Relaxed, here and below: no other data depends on the counts. */
static inline double load_of(const evener_pick_context *context, const candidate *c)
{
    const least_request_backend *b = c->backend;
    double load = __atomic_load_n(context->args->streaming ? &b->streams : &b->in_flight, __ATOMIC_RELAXED);
    if (__builtin_expect(!least_request_is_zero(&b->held.places), 0)) {
        load += least_request_held_load(b, evener_loop_now_fast_ns(context->loop));
    }
    if (evener_pick_is_traced(context)) {
        evener_pick_trace_candidate(context, b->subchannel, (load + 1) * c->inverse, NULL);
    }
    return load;
}

/* Return how many of `load` calls one of the servers has that a backend is made of, if each server has `ratio` of its
 * weight: a random number of the mean load * ratio.
 *
 * It has to vary as much as the count of a backend of that weight does, or else one of both wins more often. With two
 * choices, a count varies nearly as if each call had gone to any server: few calls are placed one by one. More choices
 * keep the counts nearly even, and so would they those of the servers: only the fraction of a call is drawn. The same
 * holds for many calls, as it is then the differences between backends that count. */
static double part_of(least_request_picker *picker, uint32_t lane, double load, double ratio)
{
    if (ratio >= 1) {
        return load;
    }
    if (picker->choices > 2 || load > PLACED_CALLS_MAX) {
        const double fraction = (double)(evener_lane_random_next(&picker->random, lane) >> 32) * 0x1p-32;
        return floor(load * ratio + fraction);
    }
    const uint32_t calls = (uint32_t)(load + 0.5);
    const uint32_t below = (uint32_t)(ratio * 0x1p16);
    uint64_t random = 0;
    uint32_t part = 0;
    for (uint32_t i = 0; i < calls; i++) {
        random = i % 4 == 0 ? evener_lane_random_next(&picker->random, lane) : random >> 16;
        part += (random & 0xFFFF) < below;
    }
    return part;
}

/* Return whether `first` has more calls than chance explains, for instance as it hangs: OVERLOAD_CALLS and OVERLOAD
 * standard deviations more than its part of the calls of both. */
static bool is_overloaded(const candidate *first, double load, const candidate *other, double load_of_other)
{
    const double share = first->weight / (first->weight + other->weight);
    const double sum = load + load_of_other;
    const double above = load - sum * share - OVERLOAD_CALLS;
    return above > 0 && above * above > OVERLOAD * OVERLOAD * sum * share * (1 - share);
}

/* ---- draw ---- */

static inline uint32_t place_of(const least_request_picker *picker, uint32_t random)
{
    return picker->aliases == NULL ? evener_random_scale(random, picker->count)
                                   : evener_alias_draw(picker->aliases, picker->count, random);
}

/* Draw a backend other than `first`; return `first` if weights are so uneven that none is drawn. */
static inline uint32_t draw_other(least_request_picker *picker, uint32_t lane, uint32_t first, uint32_t random)
{
    if (picker->aliases == NULL || picker->count == 2) {
        const uint32_t other = evener_random_scale(random, picker->count - 1);
        return other + (other >= first);
    }
    uint32_t other = place_of(picker, random);
    for (uint32_t draws = 1; other == first && draws < DRAWS_MAX; draws++) {
        other = place_of(picker, (uint32_t)(evener_lane_random_next(&picker->random, lane) >> 32));
    }
    return other;
}

/* Prefetch the candidates of the next pick: of thousands of backends, they are in no cache. */
static inline void prefetch_next(least_request_picker *picker, uint32_t lane, uint64_t draw)
{
    const uint32_t first = place_of(picker, (uint32_t)draw);
    __builtin_prefetch(picker->candidates[first].backend);
    if (picker->aliases == NULL) {
        __builtin_prefetch(picker->candidates[draw_other(picker, lane, first, (uint32_t)(draw >> 32))].backend);
    }
}

/* Compare all backends, where weights are equal and there are no more backends than choices: A48 draws some twice. */
static const candidate *least_of_all(const least_request_picker *picker, const evener_pick_context *context,
                                     uint64_t draw)
{
    uint32_t index = evener_random_scale((uint32_t)draw, picker->count);
    const candidate *best = &picker->candidates[index];
    double best_load = load_of(context, best);
    for (uint32_t i = 1; i < picker->count; i++) {
        index = index + 1 < picker->count ? index + 1 : 0;
        const double load = load_of(context, &picker->candidates[index]);
        if (load < best_load) {
            best = &picker->candidates[index];
            best_load = load;
        }
    }
    return best;
}

/* Choose among backends of equal weight: those drawn first are two different ones. */
static const candidate *least_of_drawn(least_request_picker *picker, const evener_pick_context *context, uint64_t draw)
{
    uint32_t first = place_of(picker, (uint32_t)draw);
    double load = load_of(context, &picker->candidates[first]);
    uint32_t other = draw_other(picker, context->lane, first, (uint32_t)(draw >> 32));
    for (uint32_t choice = 2;; choice++) {
        const double load_of_other = load_of(context, &picker->candidates[other]);
        if (load_of_other < load) {
            first = other;
            load = load_of_other;
        }
        if (choice == picker->choices) {
            return &picker->candidates[first];
        }
        other = draw_other(picker, context->lane, first,
                           (uint32_t)(evener_lane_random_next(&picker->random, context->lane) >> 32));
    }
}

/* Choose among backends of different weights. All draws are alike, so that shares follow the weights; a backend may be
 * drawn twice. One that is overloaded is compared with a different one at the end. */
static const candidate *least_of_weighted(least_request_picker *picker, const evener_pick_context *context,
                                          uint64_t draw)
{
    const uint32_t lane = context->lane;
    uint32_t drawn[CHOICES_MAX] = {place_of(picker, (uint32_t)draw), place_of(picker, (uint32_t)(draw >> 32))};
    double weight_min = picker->candidates[drawn[0]].weight;
    for (uint32_t i = 1; i < picker->choices; i++) {
        if (i >= 2) {
            drawn[i] = place_of(picker, (uint32_t)(evener_lane_random_next(&picker->random, lane) >> 32));
        }
        weight_min = fmin(weight_min, picker->candidates[drawn[i]].weight);
    }
    uint32_t first = drawn[0];
    double load = load_of(context, &picker->candidates[first]);
    double part = part_of(picker, lane, load, weight_min * picker->candidates[first].inverse);
    for (uint32_t i = 1; i < picker->choices && (part > 0 || evener_pick_is_traced(context)); i++) {
        const candidate *other = &picker->candidates[drawn[i]];
        const double load_of_other = load_of(context, other);
        const double part_of_other = part_of(picker, lane, load_of_other, weight_min * other->inverse);
        if (part_of_other < part) {
            first = drawn[i];
            load = load_of_other;
            part = part_of_other;
        }
    }
    if (load > OVERLOAD_CALLS) {
        const uint32_t other =
            draw_other(picker, lane, first, (uint32_t)(evener_lane_random_next(&picker->random, lane) >> 32));
        const double load_of_other = load_of(context, &picker->candidates[other]);
        first =
            other != first && is_overloaded(&picker->candidates[first], load, &picker->candidates[other], load_of_other)
                ? other
                : first;
    }
    return &picker->candidates[first];
}

/* Choose in the usual case, in whole numbers: two of many backends of equal weight, for a unary call. NULL: places are
 * held. */
static inline const candidate *less_of_two(const least_request_picker *picker, uint64_t draw)
{
    const uint32_t first = evener_random_scale((uint32_t)draw, picker->count);
    const uint32_t drawn = evener_random_scale((uint32_t)(draw >> 32), picker->count - 1);
    const candidate *a = &picker->candidates[first];
    const candidate *b = &picker->candidates[drawn + (drawn >= first)];
    const least_request_backend *x = a->backend;
    const least_request_backend *y = b->backend;
    if (__builtin_expect(!least_request_is_zero(&x->held.places) || !least_request_is_zero(&y->held.places), 0)) {
        return NULL;
    }
    return __atomic_load_n(&y->in_flight, __ATOMIC_RELAXED) < __atomic_load_n(&x->in_flight, __ATOMIC_RELAXED) ? b : a;
}

static bool is_failing(const evener_pick_context *context, const candidate *c)
{
    return !least_request_is_zero(&c->backend->held.places) &&
           least_request_held_load(c->backend, evener_loop_now_fast_ns(context->loop)) >= LEAST_REQUEST_FAILING_LOAD;
}

/* Return a backend that is not failing: one drawn, if a few draws find one, otherwise the next in order. Without any in
 * reach, `chosen`. */
static __attribute__((noinline)) const candidate *sound_one(least_request_picker *picker,
                                                            const evener_pick_context *context, const candidate *chosen)
{
    uint32_t index = 0;
    for (uint32_t draws = 0; draws < SOUND_DRAWS; draws++) {
        index = place_of(picker, (uint32_t)(evener_lane_random_next(&picker->random, context->lane) >> 32));
        if (!is_failing(context, &picker->candidates[index])) {
            return &picker->candidates[index];
        }
    }
    for (uint32_t i = 0; i < picker->count && i < SOUND_SEARCHED; i++) {
        index = index + 1 < picker->count ? index + 1 : 0;
        if (!is_failing(context, &picker->candidates[index])) {
            return &picker->candidates[index];
        }
    }
    return chosen;
}

static __attribute__((noinline)) const candidate *choose(least_request_picker *picker,
                                                         const evener_pick_context *context, uint64_t draw)
{
    if (picker->count == 1) {
        return picker->candidates;
    }
    const candidate *best = picker->aliases != NULL            ? least_of_weighted(picker, context, draw)
                            : picker->count <= picker->choices ? least_of_all(picker, context, draw)
                                                               : least_of_drawn(picker, context, draw);
    return is_failing(context, best) ? sound_one(picker, context, best) : best;
}

/* ---- calls ---- */

/* Pass the usual time on to backends that have none of their own. */
static __attribute__((noinline)) void share_usual(least_request_picker *picker, least_request_backend *chosen)
{
    const float peers_ns = least_request_get(&picker->usual_ns);
    if (!__atomic_load_n(&chosen->knows_usual, __ATOMIC_RELAXED)) {
        least_request_set(&chosen->usual_ns, peers_ns);
        return;
    }
    const float usual_ns = least_request_get(&chosen->usual_ns);
    least_request_set(&picker->usual_ns,
                      peers_ns == 0.0F ? usual_ns : peers_ns + (usual_ns - peers_ns) * LEAST_REQUEST_USUAL_WEIGHT);
}

/* Begin a call. Return the pick's word. */
static inline uint64_t call_begins(least_request_picker *picker, least_request_backend *chosen,
                                   const evener_pick_context *context, uint64_t draw)
{
    if (__builtin_expect(context->args->streaming, 0)) {
        (void)__atomic_fetch_add(&chosen->streams, 1, __ATOMIC_RELAXED);
        return LEAST_REQUEST_WORD_STREAM;
    }
    const bool timed = !__atomic_load_n(&chosen->brief, __ATOMIC_RELAXED) || draw % TIMED_PICKS == 0;
    if (__builtin_expect(!timed && evener_glance_may_begin(context->lane), 1)) {
        evener_glance_begin(context->lane);
        return LEAST_REQUEST_WORD_GLANCE;
    }
    (void)__atomic_fetch_add(&chosen->in_flight, 1, __ATOMIC_RELAXED);
    if (__builtin_expect(draw % SHARES_PICKS == 0 || least_request_is_zero(&chosen->usual_ns), 0)) {
        share_usual(picker, chosen);
    }
    return timed ? evener_loop_now_fast_ns(context->loop) | LEAST_REQUEST_WORD_TIME_MIN : LEAST_REQUEST_WORD_COUNTED;
}

/* Return the backend with the least load for its weight of those that the call was not tried at; `best` without any. */
static __attribute__((noinline)) const candidate *least_untried(least_request_picker *picker,
                                                                const evener_pick_context *context,
                                                                const candidate *best)
{
    if (!evener_pick_avoids(context, best->backend->subchannel)) {
        return best;
    }
    const candidate *least = NULL;
    double least_part = 0;
    uint32_t alike = 0; /* how many have the least part: each of them is as likely */
    for (uint32_t i = 0; i < picker->count; i++) {
        const candidate *other = &picker->candidates[i];
        if (evener_pick_avoids(context, other->backend->subchannel)) {
            continue;
        }
        const double part = (load_of(context, other) + 1) * other->inverse;
        if (least == NULL || part < least_part) {
            least = other;
            least_part = part;
            alike = 1;
        } else if (part == least_part &&
                   evener_random_scale((uint32_t)(evener_lane_random_next(&picker->random, context->lane) >> 32),
                                       ++alike) == 0) {
            least = other;
        }
    }
    return least != NULL ? least : best;
}

static evener_pick_outcome least_request_pick(evener_picker *base, const evener_pick_context *context,
                                              evener_pick *pick)
{
    least_request_picker *picker = (least_request_picker *)base;
    uint64_t to_come;
    const uint64_t draw = evener_lane_random_ahead(&picker->random, context->lane, &to_come);
    const bool plain = picker->is_plain && !context->args->streaming && !evener_pick_is_traced(context);
    const candidate *best = __builtin_expect(plain, 1) ? less_of_two(picker, draw) : NULL;
    if (__builtin_expect(best == NULL, 0)) {
        best = choose(picker, context, draw);
    }
    if (__builtin_expect(context->args->tried_count != 0, 0)) {
        best = least_untried(picker, context, best);
    }
    if (picker->count >= PREFETCH_FROM) {
        prefetch_next(picker, context->lane, to_come);
    }
    least_request_backend *chosen = best->backend;
    evener_pick_layer *layer = evener_pick_add_layer(pick, least_request_call_is_done, chosen);
    if (layer != NULL) {
        layer->word = call_begins(picker, chosen, context, draw);
    }
    pick->subchannel = chosen->subchannel;
    if (evener_pick_is_traced(context)) {
        evener_pick_trace_reason(context, "fewest calls");
    }
    return EVENER_PICK_COMPLETE;
}

static void least_request_destroy(evener_picker *base)
{
    least_request_picker *picker = (least_request_picker *)base;
    for (uint32_t i = 0; i < picker->count; i++) {
        evener_subchannel_unref(picker->candidates[i].backend->subchannel);
    }
    free(picker);
}

static const evener_picker_vtable picker_vtable = {
    .size = sizeof picker_vtable, .pick = least_request_pick, .destroy = least_request_destroy};

static bool is_uneven(const double *weights, size_t count)
{
    size_t i = 1;
    while (i < count && weights[i] == weights[0]) {
        i++;
    }
    return i < count;
}

/* Return a picker with its draws; its candidates are not filled yet. NULL: out of memory. */
static least_request_picker *allocate_picker(const double *weights, uint32_t count)
{
    const bool uneven = is_uneven(weights, count);
    const size_t aliases_at = sizeof(least_request_picker) + count * sizeof(candidate);
    least_request_picker *picker = evener_picker_alloc(aliases_at + (uneven ? count * sizeof(evener_alias) : 0));
    if (picker == NULL) {
        return NULL;
    }
    picker->count = count;
    picker->aliases = uneven ? (evener_alias *)(void *)((char *)picker + aliases_at) : NULL;
    if (uneven && !evener_alias_fill(picker->aliases, weights, count)) {
        free(picker);
        return NULL;
    }
    return picker;
}

static evener_picker *least_request_build_picker(const evener_base_ready *ready)
{
    const least_request_config *config = ready->config != NULL ? ready->config : &default_config;
    double *weights = malloc(ready->count * sizeof(double));
    if (weights == NULL) {
        return NULL;
    }
    evener_ready_weights(ready, &config->slow_start, weights);
    least_request_picker *picker = allocate_picker(weights, (uint32_t)ready->count);
    if (picker == NULL) {
        free(weights);
        return NULL;
    }
    evener_picker_init(&picker->base, &picker_vtable);
    picker->choices = config->choices;
    picker->is_plain = config->choices == 2 && picker->aliases == NULL && picker->count > 2;
    least_request_set(&picker->usual_ns, 0.0F);
    evener_lane_random_init(&picker->random, ready->helper->loop);
    for (size_t i = 0; i < ready->count; i++) {
        evener_subchannel *subchannel = evener_subchannel_ref(ready->subchannels[i]);
        least_request_backend *known = evener_subchannel_data(subchannel);
        if (known->subchannel == NULL) { /* no pick reads it yet */
            known->subchannel = subchannel;
            known->loop = ready->helper->loop;
        }
        __atomic_store_n(&known->failure_codes, config->failure_codes, __ATOMIC_RELAXED);
        least_request_forgive_after_reconnect(known, ready->ready_since_ns[i]);
        picker->candidates[i] = (candidate){known, weights[i], 1 / weights[i]};
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

static void read_config(evener_policy_fields *fields, const evener_policy_set *policies, evener_policy_config *parsed)
{
    (void)policies;
    least_request_config *config = parsed;
    evener_policy_fields_get_u32(fields, "choiceCount", CHOICES_MIN, UINT32_MAX, &config->choices);
    config->choices = config->choices > CHOICES_MAX ? CHOICES_MAX : config->choices;
    evener_slow_start_read(fields, &config->slow_start);
    evener_policy_fields_get_status_codes(fields, "failureCodes", &config->failure_codes);
}

static const evener_policy_config_type config_type = {.size = sizeof config_type,
                                                      .config_bytes = sizeof(least_request_config),
                                                      .defaults = &default_config,
                                                      .read = read_config};

static evener_status_code parse_config(const evener_policy_builder *builder, const evener_policy_set *policies,
                                       const char *json, evener_policy_config **config, evener_status *status)
{
    (void)builder;
    return evener_policy_config_parse(&config_type, policies, json, config, status);
}

static const evener_base_policy least_request = {
    .by_weight = true,
    .size = sizeof least_request,
    .build_picker = least_request_build_picker,
    .subchannel_data_bytes = sizeof(least_request_backend),
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
