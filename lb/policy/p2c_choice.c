#include "lb/policy/p2c_choice.h"

#include "lb/base/memory.h"
#include "lb/policy/p2c_slow_start.h"

/* Costs within this factor are alike. */
#define ALIKE 0.875F
/* More backends are drawn when the winner costs more than this multiple of the usual cost, and the difference exceeds
 * what a call costs its client anyway. */
#define DEAR 1.5F
#define DEAR_MIN_NS (20.0F * 1000)
/* A lane learns from one pick in LEARN_PICKS, with this weight. */
#define LEARN_PICKS 16
#define USUAL_WEIGHT (1.0F / 8)
/* At most one pick in this many is a probe: with two slow backends of four the 99th percentile must remain that of the
 * fast ones. */
#define PROBE_PICKS_MIN 256
/* The data of fewer backends stays in the cache. */
#define PREFETCH_FROM 256

/* One pick. */
typedef struct contest {
    const evener_pick_context *context;
    p2c_picker *picker;
    p2c_lane *lane;
    uint64_t now_ns;
    p2c_stats *best, *loser; /* NULL: none yet */
    float best_cost;
} contest;

/* ---- draw ---- */

static inline uint32_t place_of(const p2c_picker *picker, uint32_t random)
{
    return picker->aliases == NULL ? evener_random_scale(random, picker->count)
                                   : evener_alias_draw(picker->aliases, picker->count, random);
}

/* Draw two distinct backends from one random number. */
static inline void draw_pair(const p2c_picker *picker, uint64_t random, p2c_stats **a, p2c_stats **b)
{
    const uint32_t first = place_of(picker, (uint32_t)random);
    uint32_t second;
    if (picker->aliases == NULL) {
        second = evener_random_scale((uint32_t)(random >> 32), picker->count - 1);
        second += second >= first;
    } else {
        second = place_of(picker, (uint32_t)(random >> 32));
        if (second == first) {
            second = evener_random_scale((uint32_t)(random >> 16), picker->count - 1); /* any other one */
            second += second >= first;
        }
    }
    *a = picker->backends[first];
    *b = picker->backends[second];
}

/* Return the number of this pick, and prefetch the backends of the next pick: among thousands they are in no cache. */
static inline uint64_t draw_number(const p2c_picker *picker, p2c_lane *lane, uint32_t index)
{
    uint64_t to_come;
    const uint64_t number = evener_lane_generator_ahead(&lane->random, index, &to_come);
    if (picker->count >= PREFETCH_FROM) {
        p2c_stats *a;
        p2c_stats *b;
        draw_pair(picker, to_come, &a, &b);
        evener_prefetch_to_write(a); /* one of them will be */
        evener_prefetch_to_write(b);
        __builtin_prefetch(&a->picked_ns);
        __builtin_prefetch(&b->picked_ns);
    }
    return number;
}

/* Return a further number of the pick, also drawn ahead: so all lanes use their numbers in the same order. */
static uint64_t draw_further(const contest *c)
{
    uint64_t to_come;
    return evener_lane_generator_ahead(&c->lane->random, c->context->lane, &to_come);
}

static p2c_stats *draw_one(const contest *c)
{
    return c->picker->backends[place_of(c->picker, (uint32_t)draw_further(c))];
}

/* ---- compare ---- */

typedef struct costs {
    float a, b;
} costs;

static inline p2c_usual get_usual(const p2c_lane *lane)
{
    return (p2c_usual){.latency_ns = p2c_get(&lane->usual.latency_ns), .crowding = p2c_get(&lane->usual.crowding)};
}

static __attribute__((noinline)) costs costs_of(p2c_stats *a, p2c_stats *b, uint64_t now_ns, const p2c_lane *lane)
{
    const p2c_usual usual = get_usual(lane);
    return (costs){p2c_cost(a, b, now_ns, &usual), p2c_cost(b, a, now_ns, &usual)};
}

static costs costs_of_stream(p2c_stats *a, p2c_stats *b, uint64_t now_ns, const p2c_lane *lane)
{
    const p2c_usual usual = get_usual(lane);
    return (costs){p2c_cost_of_stream(a, b, now_ns, &usual), p2c_cost_of_stream(b, a, now_ns, &usual)};
}

static inline bool is_cheaper(float cost, float than)
{
    return cost < than * ALIKE;
}

/* Return whether `b` is cheaper because its latency is known to be lower, or would be at the same latency. */
static __attribute__((noinline)) bool is_surely_cheaper(const p2c_stats *a, const p2c_stats *b, costs cost,
                                                        uint64_t now_ns)
{
    const float latency_a = p2c_get(&a->latency_ns);
    const float latency_b = p2c_get(&b->latency_ns);
    return latency_b == 0.0F || latency_a <= latency_b || !p2c_is_noise(a, latency_a - latency_b, now_ns) ||
           is_cheaper(cost.b * (latency_a / latency_b), cost.a);
}

/* Return whether `b` beats `a`, which was drawn before it. */
static inline bool beats(const p2c_stats *a, const p2c_stats *b, costs cost, uint64_t now_ns)
{
    return is_cheaper(cost.b, cost.a) && is_surely_cheaper(a, b, cost, now_ns);
}

static void trace(const contest *c, const p2c_stats *stats, float cost)
{
    if (evener_pick_is_traced(c->context)) {
        evener_pick_trace_candidate(c->context, stats->subchannel, (double)cost, NULL);
    }
}

static float cost_of_one(const contest *c, p2c_stats *stats)
{
    const p2c_usual usual = get_usual(c->lane);
    return c->context->args->streaming ? p2c_cost_of_stream(stats, NULL, c->now_ns, &usual)
                                       : p2c_cost(stats, NULL, c->now_ns, &usual);
}

static void consider(contest *c, p2c_stats *stats)
{
    if (stats == c->best || (c->now_ns < c->picker->ramp_end_ns &&
                             !p2c_passes_slow_start(stats, &c->picker->slow_start, c->now_ns, draw_further(c)))) {
        return;
    }
    if (c->best == NULL) {
        c->best = stats;
        c->best_cost = cost_of_one(c, stats);
        trace(c, stats, c->best_cost);
        return;
    }
    const costs cost = c->context->args->streaming ? costs_of_stream(c->best, stats, c->now_ns, c->lane)
                                                   : costs_of(c->best, stats, c->now_ns, c->lane);
    const bool wins = beats(c->best, stats, cost, c->now_ns);
    trace(c, stats, cost.b);
    c->loser = wins ? c->best : stats;
    c->best = wins ? stats : c->best;
    c->best_cost = wins ? cost.b : cost.a;
}

static void consider_all(contest *c, uint64_t number)
{
    const p2c_picker *picker = c->picker;
    uint32_t index = place_of(picker, (uint32_t)number);
    for (uint32_t i = 0; i < picker->count; i++) {
        consider(c, picker->backends[index]);
        index = index + 1 == picker->count ? 0 : index + 1;
    }
}

static bool is_dear(const contest *c)
{
    return c->best == NULL || c->best_cost > p2c_get(&c->lane->dear_cost);
}

static __attribute__((noinline)) void consider_more(contest *c)
{
    const p2c_picker *picker = c->picker;
    if (picker->count <= picker->choices_max) {
        consider_all(c, draw_further(c));
    } else {
        for (uint32_t i = picker->choices; i < picker->choices_max && is_dear(c); i++) {
            consider(c, draw_one(c));
        }
    }
    if (c->best == NULL) { /* all in slow start, and none was considered */
        c->best = draw_one(c);
        c->best_cost = cost_of_one(c, c->best);
    }
}

/* ---- probe ---- */

/* Return whether the loser's unanswered calls allow a probe. Without any, once in PROBE_PICKS_MIN picks. With some,
 * regardless of PROBE_PICKS_MIN, after a pause as long as the time from its last answer to its last pick: the pauses
 * double, so that a hung backend takes few calls. */
static bool may_probe(const contest *c, uint32_t picks, uint64_t picked_ns)
{
    const p2c_stats *loser = c->loser;
    const uint32_t in_flight = __atomic_load_n(&loser->in_flight, __ATOMIC_RELAXED);
    if (in_flight == 0 || p2c_unanswered(loser, in_flight) <= 0) {
        return picks >= PROBE_PICKS_MIN;
    }
    const uint64_t progress_ns = __atomic_load_n(&loser->progress_ns, __ATOMIC_RELAXED);
    return (int64_t)(c->now_ns - picked_ns) > (int64_t)(picked_ns - progress_ns);
}

/* Return whether to take the loser as a probe. Only one thread takes it. The more a backend failed, the less often it
 * is probed; one that is failing is not probed at all. */
static bool probe(const contest *c, uint32_t picks)
{
    p2c_stats *loser = c->loser;
    uint64_t picked_ns = __atomic_load_n(&loser->picked_ns, __ATOMIC_RELAXED);
    const float quiet_ns = p2c_elapsed_ns(c->now_ns, picked_ns);
    if (quiet_ns <= c->picker->force_pick_ns) {
        return false;
    }
    const float success = p2c_success(loser, c->now_ns);
    const float patience = success * success * success * success;
    return quiet_ns * patience > c->picker->force_pick_ns && success >= P2C_HEALTHY_SUCCESS &&
           may_probe(c, picks, picked_ns) &&
           __atomic_compare_exchange_n(&loser->picked_ns, &picked_ns, c->now_ns, false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}

/* ---- learn ---- */

/* Update the lane's usual cost of a pick, from winners only. While no latency is known, losers count too: a winner of
 * which nothing is known must not make the usual cost low. */
static void learn(p2c_lane *lane, const p2c_stats *best, const p2c_stats *loser, float best_cost)
{
    float latency_ns = p2c_get(&best->latency_ns);
    const float usual_ns = p2c_get(&lane->usual.latency_ns);
    if (usual_ns == P2C_UNKNOWN_NS) {
        if (latency_ns == 0.0F && loser != NULL) {
            latency_ns = p2c_get(&loser->latency_ns);
        }
        if (latency_ns > 0) { /* costs learned before any latency was known are discarded */
            p2c_set(&lane->usual.latency_ns, latency_ns);
            p2c_set(&lane->usual_cost, 0.0F);
            p2c_set(&lane->dear_cost, 0.0F);
        }
        return;
    }
    if (latency_ns > 0) {
        p2c_set(&lane->usual.latency_ns, usual_ns + (latency_ns - usual_ns) * USUAL_WEIGHT);
    }
    const float now_in_flight =
        (float)__atomic_load_n(&best->in_flight, __ATOMIC_RELAXED) * p2c_get(&best->weight_inverse);
    float in_flight = p2c_get(&lane->usual_in_flight);
    in_flight += (now_in_flight - in_flight) * USUAL_WEIGHT;
    p2c_set(&lane->usual_in_flight, in_flight);
    p2c_set(&lane->usual.crowding, 1.0F / (1.0F + in_flight));
    float cost = p2c_get(&lane->usual_cost);
    cost = cost > 0 ? cost + (best_cost - cost) * USUAL_WEIGHT : best_cost;
    p2c_set(&lane->usual_cost, cost);
    p2c_set(&lane->dear_cost, cost * DEAR + DEAR_MIN_NS);
}

/* ---- pick ---- */

/* Return whether the pick ends with its first draw: the winner costs no more than usual, and the lane need not learn or
 * probe with this pick. */
static inline bool is_settled(const p2c_lane *lane, uint32_t picks, float best_cost)
{
    return __builtin_expect(!(best_cost > p2c_get(&lane->dear_cost)), 1) &&
           __builtin_expect(picks % LEARN_PICKS != 0, 1);
}

static __attribute__((noinline)) p2c_stats *settle(contest *c, uint32_t picks)
{
    const bool known = p2c_get(&c->lane->dear_cost) > 0;
    const bool dear = is_dear(c);
    if (c->best == NULL || (known && dear)) {
        consider_more(c);
    }
    if (!c->context->args->streaming) { /* costs of streams and of calls are not comparable */
        learn(c->lane, c->best, c->loser, c->best_cost);
    }
    const bool probes = c->loser != NULL && probe(c, picks);
    if (probes) {
        __atomic_store_n(&c->lane->picks, 0, __ATOMIC_RELAXED);
    }
    if (evener_pick_is_traced(c->context)) {
        evener_pick_trace_reason(c->context, probes ? "force pick" : "lower load");
    }
    return probes ? c->loser : c->best;
}

/* Choose a backend for any kind of pick. */
static __attribute__((noinline)) p2c_stats *choose(p2c_picker *picker, const evener_pick_context *context,
                                                   uint64_t now_ns, uint32_t picks)
{
    contest c = {
        .context = context, .picker = picker, .lane = &picker->lanes[context->lane], .now_ns = now_ns, .best = NULL};
    if (picker->count == 1) {
        return picker->backends[0];
    }
    const uint64_t number = draw_number(picker, c.lane, context->lane);
    if (picker->count <= picker->choices) {
        consider_all(&c, number);
    } else {
        p2c_stats *a;
        p2c_stats *b;
        draw_pair(picker, number, &a, &b);
        consider(&c, a);
        consider(&c, b);
        for (uint32_t i = 2; i < picker->choices; i++) {
            consider(&c, draw_one(&c));
        }
    }
    if (c.best == NULL || !is_settled(c.lane, picks, c.best_cost)) {
        return settle(&c, picks);
    }
    if (evener_pick_is_traced(context)) {
        evener_pick_trace_reason(context, "lower load");
    }
    return c.best;
}

static __attribute__((noinline)) p2c_stats *settle_plain(p2c_picker *picker, const evener_pick_context *context,
                                                         uint64_t now_ns, uint32_t picks, p2c_stats *best,
                                                         p2c_stats *loser, float best_cost)
{
    p2c_lane *lane = &picker->lanes[context->lane];
    const uint64_t picked_ns = __atomic_load_n(&loser->picked_ns, __ATOMIC_RELAXED);
    if (best_cost <= p2c_get(&lane->dear_cost) && p2c_elapsed_ns(now_ns, picked_ns) <= picker->force_pick_ns) {
        learn(lane, best, loser, best_cost); /* settle() would do no more: the usual case */
        return best;
    }
    contest c = {.context = context,
                 .picker = picker,
                 .lane = lane,
                 .now_ns = now_ns,
                 .best = best,
                 .loser = loser,
                 .best_cost = best_cost};
    return settle(&c, picks);
}

/* Make the decision of choose() for two backends and a unary call, without slow start and trace: short, in
 * registers. */
static inline p2c_stats *choose_plain(p2c_picker *picker, const evener_pick_context *context, uint64_t now_ns,
                                      uint32_t picks)
{
    p2c_lane *lane = &picker->lanes[context->lane];
    p2c_stats *a;
    p2c_stats *b;
    draw_pair(picker, draw_number(picker, lane, context->lane), &a, &b);
    costs cost = {p2c_get(&a->latency_ns), p2c_get(&b->latency_ns)};
    const bool calm_a = p2c_is_calm(a, now_ns, picker->calm_ns);
    const bool calm_b = p2c_is_calm(b, now_ns, picker->calm_ns);
    if (__builtin_expect(!(calm_a & calm_b), 0)) {
        cost = costs_of(a, b, now_ns, lane);
    }
    const bool b_wins = beats(a, b, cost, now_ns);
    p2c_stats *best = b_wins ? b : a;
    const float best_cost = b_wins ? cost.b : cost.a;
    if (!is_settled(lane, picks, best_cost)) {
        return settle_plain(picker, context, now_ns, picks, best, b_wins ? a : b, best_cost);
    }
    return best;
}

static inline uint32_t count_pick(p2c_lane *lane)
{
    const uint32_t picks = __atomic_load_n(&lane->picks, __ATOMIC_RELAXED) + 1;
    __atomic_store_n(&lane->picks, picks, __ATOMIC_RELAXED);
    return picks;
}

/* Return the cheapest backend of those that the call was not tried at: of all, or of as many as a pick compares at most.
 * `chosen` without any. */
static __attribute__((noinline)) p2c_stats *cheapest_untried(p2c_picker *picker, const evener_pick_context *context,
                                                             p2c_stats *chosen, uint64_t now_ns)
{
    if (!evener_pick_avoids(context, chosen->subchannel)) {
        return chosen;
    }
    contest c = {.context = context, .picker = picker, .lane = &picker->lanes[context->lane], .now_ns = now_ns};
    uint32_t index = place_of(picker, (uint32_t)draw_further(&c));
    uint32_t compared = 0;
    for (uint32_t i = 0; i < picker->count && compared < picker->choices_max; i++) {
        p2c_stats *stats = picker->backends[index];
        if (!evener_pick_avoids(context, stats->subchannel)) {
            const float cost = cost_of_one(&c, stats);
            trace(&c, stats, cost);
            const bool is_best = c.best == NULL || cost < c.best_cost;
            c.best = is_best ? stats : c.best;
            c.best_cost = is_best ? cost : c.best_cost;
            compared++;
        }
        index = index + 1 == picker->count ? 0 : index + 1;
    }
    return c.best != NULL ? c.best : chosen;
}

static __attribute__((noinline)) evener_pick_outcome pick_stream(p2c_picker *picker, const evener_pick_context *context,
                                                                 evener_pick *pick)
{
    const uint64_t now_ns = evener_loop_now_fast_ns(context->loop);
    p2c_stats *best = choose(picker, context, now_ns, count_pick(&picker->lanes[context->lane]));
    best = cheapest_untried(picker, context, best, now_ns);
    evener_pick_layer *layer = evener_pick_add_layer(pick, p2c_done, best);
    if (layer != NULL) {
        layer->word = p2c_start_stream(best, now_ns);
    }
    pick->subchannel = best->subchannel;
    return EVENER_PICK_COMPLETE;
}

evener_pick_outcome p2c_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    p2c_picker *picker = (p2c_picker *)base;
    if (__builtin_expect(context->args->streaming, 0)) {
        return pick_stream(picker, context, pick);
    }
    const uint64_t now_ns = evener_loop_now_fast_ns(context->loop);
    const uint32_t picks = count_pick(&picker->lanes[context->lane]);
    const bool plain = picker->chooses_of_two && now_ns >= picker->ramp_end_ns && !evener_pick_is_traced(context);
    p2c_stats *best = __builtin_expect(plain, 1) ? choose_plain(picker, context, now_ns, picks)
                                                 : choose(picker, context, now_ns, picks);
    if (__builtin_expect(context->args->tried_count != 0, 0)) {
        best = cheapest_untried(picker, context, best, now_ns);
    }
    evener_pick_layer *layer = evener_pick_add_layer(pick, p2c_done, best);
    if (__builtin_expect(layer != NULL, 1)) {
        layer->word = p2c_start(best, now_ns, context->lane);
    }
    pick->subchannel = best->subchannel;
    return EVENER_PICK_COMPLETE;
}
