/* least_request: of a few READY backends drawn at random, the one with the fewest calls under way (A48).
 *
 * `choiceCount` backends are drawn (2 to 10, more counts as 10); with no more backends than that, all are looked at. The
 * first two are distinct, where A48 may draw one twice and then learns nothing. The lowest (calls under way + 1) / weight
 * wins, with the attribute "weight" (1 if none), less during a slow start; of equals, the one drawn first.
 *
 * Calls under way are counted in the subchannel's memory, so that the counts survive updates: one cache line a candidate.
 * Where calls take less than BRIEF_NS the counting would cost more than the call, and the threads would fight for the
 * lines: of these each thread leaves one at a time out (glance.h). Whether a backend's calls are so short is known from
 * those that are timed: all, until one was short, then one in TIMED_PICKS. */
#include <evener/base_policy.h>

#include <stdio.h>

#include <evener/policy_config.h>

#include "lb/policy/builtin.h"
#include "lb/policy/glance.h"
#include "lb/policy/ready_list.h"
#include "lb/policy/weights.h"

#define CHOICES_DEFAULT 2
#define CHOICES_MIN 2
#define CHOICES_MAX 10 /* A48: more is taken as this */

/* About what it takes two threads to exchange news; no call over a network is as short. */
#define BRIEF_NS (10 * EVENER_NS_PER_US)
/* Fewer backends stay in the cache. */
#define PREFETCH_FROM 256
#define TIMED_PICKS 256

/* The word of a pick: a glance, counted only, or else counted and timed: when it began, to 2 ns. */
#define WORD_COUNTED UINT64_C(0)
#define WORD_GLANCE UINT64_C(1)
#define WORD_TIME_MIN UINT64_C(2)

typedef struct least_request_config {
    uint32_t choices;
    evener_slow_start slow_start;
} least_request_config;

static const least_request_config default_config = {.choices = CHOICES_DEFAULT, .slow_start = EVENER_SLOW_START_NONE};

/* What is known of one backend: evener_subchannel_data(). */
typedef struct backend {
    evener_subchannel *subchannel; /* set with the first picker that has it, before any pick */
    evener_loop *loop;             /* likewise */
    uint32_t in_flight;            /* atomic; calls under way, but for glances */
    bool brief;                    /* atomic; the last call that was timed was short */
} backend;

typedef struct candidate {
    backend *backend;
    double cost; /* of one call: 1 / weight */
} candidate;

typedef struct least_request_picker {
    evener_picker base;
    uint32_t count, choices;
    evener_lane_random random;
    candidate candidates[];
} least_request_picker;

/* Relaxed, here and below: the counts and the flag are all there is to see. */
static inline double weigh(const evener_pick_context *context, const candidate *c)
{
    const double load = (double)(__atomic_load_n(&c->backend->in_flight, __ATOMIC_RELAXED) + UINT32_C(1)) * c->cost;
    if (evener_pick_is_traced(context)) {
        evener_pick_trace_candidate(context, c->backend->subchannel, load, NULL);
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

/* The first two of many, both distinct. */
static inline void draw_pair(const least_request_picker *picker, uint64_t draw, uint32_t *first, uint32_t *second)
{
    *first = evener_random_scale((uint32_t)draw, picker->count);
    *second = evener_random_scale((uint32_t)(draw >> 32), picker->count - 1);
    *second += *second >= *first;
}

/* Of thousands, those that will be looked at next are in no cache. */
static inline void prefetch_pair(const least_request_picker *picker, uint64_t draw)
{
    uint32_t first;
    uint32_t second;
    draw_pair(picker, draw, &first, &second);
    __builtin_prefetch(picker->candidates[first].backend);
    __builtin_prefetch(picker->candidates[second].backend);
}

static const candidate *least_of_drawn(least_request_picker *picker, const evener_pick_context *context, uint64_t draw)
{
    const uint32_t count = picker->count;
    uint32_t first;
    uint32_t other;
    draw_pair(picker, draw, &first, &other);
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

/* A call begins. Returns the pick's word. */
static inline uint64_t call_begins(backend *chosen, const evener_pick_context *context, uint64_t draw)
{
    const bool timed = !__atomic_load_n(&chosen->brief, __ATOMIC_RELAXED) || draw % TIMED_PICKS == 0;
    if (__builtin_expect(!timed && evener_glance_may_begin(context->lane), 1)) {
        evener_glance_begin(context->lane);
        return WORD_GLANCE;
    }
    (void)__atomic_fetch_add(&chosen->in_flight, 1, __ATOMIC_RELAXED);
    return timed ? evener_loop_now_fast_ns(context->loop) | WORD_TIME_MIN : WORD_COUNTED;
}

static void call_is_done(void *data, uint64_t word, const evener_done_info *info, uint32_t lane)
{
    backend *chosen = data;
    if (__builtin_expect(word == WORD_GLANCE, 1)) {
        evener_glance_end(lane);
        return;
    }
    (void)__atomic_fetch_sub(&chosen->in_flight, 1, __ATOMIC_RELAXED);
    if (word >= WORD_TIME_MIN && !info->not_sent) {
        const bool brief = evener_loop_now_fast_ns(chosen->loop) < word + BRIEF_NS;
        if (__atomic_load_n(&chosen->brief, __ATOMIC_RELAXED) != brief) {
            __atomic_store_n(&chosen->brief, brief, __ATOMIC_RELAXED);
        }
    }
}

static evener_pick_outcome least_request_pick(evener_picker *base, const evener_pick_context *context,
                                              evener_pick *pick)
{
    least_request_picker *picker = (least_request_picker *)base;
    uint64_t to_come;
    const uint64_t draw = evener_lane_random_ahead(&picker->random, context->lane, &to_come);
    const candidate *best =
        picker->count <= picker->choices ? least_of_all(picker, context, draw) : least_of_drawn(picker, context, draw);
    if (picker->count >= PREFETCH_FROM) {
        prefetch_pair(picker, to_come);
    }
    backend *chosen = best->backend;
    evener_pick_layer *layer = evener_pick_add_layer(pick, call_is_done, chosen);
    if (layer != NULL) {
        layer->word = call_begins(chosen, context, draw);
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
        backend *known = evener_subchannel_data(subchannel);
        if (known->subchannel == NULL) { /* nobody reads it yet */
            known->subchannel = subchannel;
            known->loop = ready->helper->loop;
        }
        picker->candidates[i] = (candidate){known, 1 / weights[i]};
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
    .size = sizeof least_request,
    .build_picker = least_request_build_picker,
    .subchannel_data_bytes = sizeof(backend),
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
