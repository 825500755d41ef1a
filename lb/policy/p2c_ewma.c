/* p2c_ewma: the power of two choices over a moving average of latencies, in the manner of go-zero's policy of that name
 * (zrpc/internal/balancer/p2c), with its faults mended. docs/policies.md gives the reasons.
 *
 * A pick. Two distinct backends are drawn, in proportion to their weights, and the one of lower cost (p2c_load.h) is
 * taken. Costs that differ by less than an eighth are alike: the one drawn first is taken, so that equal backends get
 * shares as their weights and no herd runs after the luckiest average. When even the better one is markedly dearer than
 * what this thread has got of late, more are drawn, up to `maxChoices` (all of them if there are no more): two choices
 * alone send a call in six to one of two slow backends of four.
 *
 * The probe. Once in PROBE_PICKS_MIN picks of a thread, a loser that nobody picked for `forcePickInterval` is taken
 * instead of the winner, so that one that recovered is found out; rarely one that failed, never one that is failing. One
 * that does not answer the calls it has gets another one only after pauses that double. go-zero probes without that bound:
 * with more backends than calls a second almost every pick takes the loser.
 *
 * Slow start. A backend that joins others (or comes back) starts from the mean latency of its peers, and is considered
 * only in a tenth of the cases in which it is drawn, rising to all within the window of its `slowStartConfig`. When most backends are new, at
 * the start above all, there is none.
 *
 * Statistics live in the subchannel, over any number of pickers. Each lane has its own random numbers and its own notion
 * of what a usual pick costs; threads share nothing but the backends' statistics, one cache line each. */
#include <stdio.h>
#include <stdlib.h>

#include "lb/base/memory.h"
#include "lb/policy/builtin.h"
#include "lb/policy/p2c_internal.h"
#include "lb/policy/ready_list.h"

/* Costs within this factor are alike. */
#define ALIKE 0.875F
/* A winner dearer than this many times the usual cost, and dearer by more than a call costs its client anyway, is worth
 * further draws. */
#define DEAR 1.5F
#define DEAR_MIN_NS (20.0F * 1000)
/* A lane learns from one pick in so many, and so fast. */
#define LEARN_PICKS 16
#define USUAL_WEIGHT (1.0F / 8)
/* At most one pick in so many is a probe: with two slow ones of four the 99th percentile is to stay that of the fast. */
#define PROBE_PICKS_MIN 256
/* Fewer backends stay in the cache. */
#define PREFETCH_FROM 256

/* What a lane knows by itself. */
typedef struct lane_state {
    _Alignas(EVENER_LANE_BYTES) uint64_t random;
    uint64_t drawn; /* a random number in store, for pick_plain() */
    p2c_usual usual;
    float usual_cost; /* 0: nothing picked yet */
    float dear_cost;  /* from here on a winner is worth further draws; 0 until the usual cost is known */
    float usual_in_flight;
    uint32_t picks; /* since the last probe */
} lane_state;

/* Walker's alias method: a column drawn evenly gives itself, or its alias when the random number reaches the threshold.
 * Weighted draws in constant time. */
typedef struct alias {
    uint32_t threshold;
    uint32_t other;
} alias;

typedef struct p2c_picker {
    evener_picker base;
    uint32_t count;
    uint32_t choices, choices_max;
    uint32_t force_pick_ticks;
    uint64_t calm_ns;     /* the decay: see p2c_is_calm() */
    uint64_t ramp_end_ns; /* no slow start after it */
    evener_slow_start slow_start;
    alias *aliases; /* NULL: all weights are alike */
    lane_state lanes[EVENER_LANES];
    p2c_stats *backends[];
} p2c_picker;

/* One pick under way. */
typedef struct contest {
    const evener_pick_context *context;
    p2c_picker *picker;
    lane_state *lane;
    uint64_t now_ns;
    uint32_t now_tick;
    bool shared;
    bool ramping;
    bool traced;
    p2c_stats *best, *loser; /* NULL: none yet */
    float best_cost;
} contest;

/* ---- data plane ---- */

/* One of the backends, in proportion to their weights, out of 32 random bits: times the number of columns they give a
 * column and, behind the point, a fraction that says whether it is the column itself or its alias. */
static inline uint32_t place_of(const p2c_picker *picker, uint32_t random)
{
    const uint64_t product = (uint64_t)random * picker->count;
    const uint32_t column = (uint32_t)(product >> 32);
    if (picker->aliases == NULL) {
        return column;
    }
    const alias *a = &picker->aliases[column];
    return (uint32_t)product < a->threshold ? column : a->other;
}

static inline uint32_t draw(contest *c)
{
    return place_of(c->picker, (uint32_t)p2c_random(&c->lane->random, c->shared));
}

/* Two distinct ones. */
static inline void draw_pair(const p2c_picker *picker, uint64_t random, p2c_stats **a, p2c_stats **b)
{
    const uint32_t first = place_of(picker, (uint32_t)random);
    uint32_t second;
    if (picker->aliases == NULL) {
        second = p2c_below((uint32_t)(random >> 32), picker->count - 1);
        second += second >= first;
    } else {
        second = place_of(picker, (uint32_t)(random >> 32));
        if (second == first) {
            second = first + 1 == picker->count ? 0 : first + 1;
        }
    }
    *a = picker->backends[first];
    *b = picker->backends[second];
}

/* Whether slow start lets this one be considered. */
static bool passes_ramp(contest *c, const p2c_stats *stats)
{
    const uint32_t age = c->now_tick - __atomic_load_n(&stats->ready_tick, __ATOMIC_RELAXED);
    const double share = evener_slow_start_factor(&c->picker->slow_start, (uint64_t)age << P2C_TICK_SHIFT);
    return (double)(uint32_t)(p2c_random(&c->lane->random, c->shared) >> 32) < share * 0x1p32;
}

static inline p2c_usual get_usual(const lane_state *lane)
{
    return (p2c_usual){.latency_ns = p2c_get(&lane->usual.latency_ns), .crowding = p2c_get(&lane->usual.crowding)};
}

static inline void consider(contest *c, p2c_stats *stats)
{
    if (__builtin_expect(c->ramping, 0) && !passes_ramp(c, stats)) {
        return;
    }
    const p2c_usual usual = get_usual(c->lane);
    const float cost = p2c_cost(stats, c->best, c->now_ns, &usual);
    if (__builtin_expect(c->traced, 0)) {
        evener_pick_trace_candidate(c->context, stats->subchannel, (double)cost, NULL);
    }
    if (c->best == NULL) {
        c->best = stats;
        c->best_cost = cost;
    } else if (cost < c->best_cost * ALIKE) {
        c->loser = c->best;
        c->best = stats;
        c->best_cost = cost;
    } else if (stats != c->best) {
        c->loser = stats;
    }
}

static void consider_all(contest *c)
{
    const p2c_picker *picker = c->picker;
    uint32_t index = draw(c);
    for (uint32_t i = 0; i < picker->count; i++) {
        consider(c, picker->backends[index]);
        index = index + 1 == picker->count ? 0 : index + 1;
    }
}

/* The usual case: two. */
static inline void consider_pair(contest *c)
{
    p2c_stats *a;
    p2c_stats *b;
    draw_pair(c->picker, p2c_random(&c->lane->random, c->shared), &a, &b);
    __builtin_prefetch(b);
    consider(c, a);
    consider(c, b);
}

static bool too_dear(const contest *c)
{
    const float dear_cost = p2c_get(&c->lane->dear_cost);
    return c->best == NULL || (dear_cost > 0 && c->best_cost > dear_cost);
}

static __attribute__((noinline)) void consider_more(contest *c)
{
    const p2c_picker *picker = c->picker;
    if (picker->count <= picker->choices_max) {
        consider_all(c);
    } else {
        for (uint32_t i = picker->choices; i < picker->choices_max && too_dear(c); i++) {
            consider(c, picker->backends[draw(c)]);
        }
    }
    if (c->best == NULL) { /* all in slow start, and all refused */
        const p2c_usual usual = get_usual(c->lane);
        c->best = picker->backends[draw(c)];
        c->best_cost = p2c_cost(c->best, NULL, c->now_ns, &usual);
    }
}

/* Whether the loser may be probed, by its calls without an answer. With none it may, once in PROBE_PICKS_MIN picks. With
 * some it gets another one only after a pause as long as it has been waited for until its last pick: the pauses double, so
 * that a hung backend takes few calls, and one that has nothing but streams under way soon shows it. Those that look hung
 * for it are not made to wait for PROBE_PICKS_MIN. */
static bool may_probe(const contest *c, uint32_t picks, uint32_t picked)
{
    const p2c_stats *loser = c->loser;
    const int32_t unanswered = p2c_unanswered(loser, __atomic_load_n(&loser->in_flight, __ATOMIC_RELAXED));
    const uint32_t progress = p2c_tick(__atomic_load_n(&loser->progress_ns, __ATOMIC_RELAXED));
    return (picks >= PROBE_PICKS_MIN || unanswered >= P2C_UNANSWERED_MIN) &&
           (unanswered <= 0 || (int32_t)(c->now_tick - picked) > (int32_t)(picked - progress));
}

/* Whether the loser is to be taken, to see how it does now; only one thread takes it. One that failed is asked less often
 * the more it failed, one that is failing not at all. */
static bool probe(const contest *c, uint32_t picks)
{
    p2c_stats *loser = c->loser;
    uint32_t picked = __atomic_load_n(&loser->picked_tick, __ATOMIC_RELAXED);
    if (c->now_tick - picked <= c->picker->force_pick_ticks) {
        return false;
    }
    const float success = p2c_success(loser, c->now_ns);
    const float patience = success * success * success * success;
    return (float)(c->now_tick - picked) * patience > (float)c->picker->force_pick_ticks &&
           success >= P2C_HEALTHY_SUCCESS && may_probe(c, picks, picked) &&
           __atomic_compare_exchange_n(&loser->picked_tick, &picked, c->now_tick, false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}

/* The lane learns what a pick costs now, from winners only; but as long as it knows no latency at all, from a loser too:
 * the winner may be one of which nothing is known, and must not stay cheap for that. */
static void learn(lane_state *lane, const p2c_stats *best, const p2c_stats *loser, float best_cost)
{
    float latency_ns = p2c_get(&best->latency_ns);
    const float usual_ns = p2c_get(&lane->usual.latency_ns);
    if (usual_ns == P2C_UNKNOWN_NS) {
        if (latency_ns == 0.0F && loser != NULL) {
            latency_ns = p2c_get(&loser->latency_ns);
        }
        if (latency_ns > 0) { /* what costs were learned in the dark is no measure */
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
        p2c_busy(best, __atomic_load_n(&best->in_flight, __ATOMIC_RELAXED)) * p2c_get(&best->weight_inverse);
    float in_flight = p2c_get(&lane->usual_in_flight);
    in_flight += (now_in_flight - in_flight) * USUAL_WEIGHT;
    p2c_set(&lane->usual_in_flight, in_flight);
    p2c_set(&lane->usual.crowding, 1.0F / (1.0F + in_flight));
    float cost = p2c_get(&lane->usual_cost);
    cost = cost > 0 ? cost + (best_cost - cost) * USUAL_WEIGHT : best_cost;
    p2c_set(&lane->usual_cost, cost);
    p2c_set(&lane->dear_cost, cost * DEAR + DEAR_MIN_NS);
}

/* What a pick does after its first draw. */
static void settle(contest *c)
{
    const bool dear = too_dear(c);
    if (dear) {
        consider_more(c);
    }
    const uint32_t picks = __atomic_load_n(&c->lane->picks, __ATOMIC_RELAXED);
    if (dear || picks % LEARN_PICKS == 0 || p2c_get(&c->lane->dear_cost) == 0) {
        learn(c->lane, c->best, c->loser, c->best_cost);
    }
    const bool probes = c->loser != NULL && probe(c, picks);
    if (probes) {
        __atomic_store_n(&c->lane->picks, 0, __ATOMIC_RELAXED);
        c->best = c->loser;
    }
    if (c->traced) {
        evener_pick_trace_reason(c->context, probes ? "force pick" : "lower load");
    }
}

/* Any pick. */
static __attribute__((noinline)) p2c_stats *pick_general(p2c_picker *picker, const evener_pick_context *context,
                                                         uint64_t now_ns)
{
    contest c = {.context = context,
                 .picker = picker,
                 .lane = &picker->lanes[context->lane],
                 .now_ns = now_ns,
                 .now_tick = p2c_tick(now_ns),
                 .shared = context->lane == EVENER_LANE_SHARED,
                 .ramping = now_ns < picker->ramp_end_ns,
                 .traced = evener_pick_is_traced(context)};
    if (picker->count <= picker->choices) {
        consider_all(&c);
    } else if (picker->choices == 2) {
        consider_pair(&c);
    } else {
        for (uint32_t i = 0; i < picker->choices; i++) {
            consider(&c, picker->backends[draw(&c)]);
        }
    }
    settle(&c);
    return c.best;
}

/* Now and then the lane learns; false if the loser may be due for a probe: others see to both. */
static __attribute__((noinline)) bool learn_plain(const p2c_picker *picker, lane_state *lane, const p2c_stats *best,
                                                  const p2c_stats *loser, float best_cost, uint64_t now_ns)
{
    const uint32_t quiet_ticks = p2c_tick(now_ns) - __atomic_load_n(&loser->picked_tick, __ATOMIC_RELAXED);
    if (quiet_ticks > picker->force_pick_ticks) {
        return false;
    }
    learn(lane, best, loser, best_cost);
    return true;
}

/* The rest of a plain pick, when it is not over with its first draw. */
static __attribute__((noinline)) p2c_stats *pick_settled(p2c_picker *picker, const evener_pick_context *context,
                                                         uint64_t now_ns, p2c_stats *best, p2c_stats *loser,
                                                         float best_cost)
{
    contest c = {.context = context,
                 .picker = picker,
                 .lane = &picker->lanes[context->lane],
                 .now_ns = now_ns,
                 .now_tick = p2c_tick(now_ns),
                 .shared = context->lane == EVENER_LANE_SHARED,
                 .best = best,
                 .loser = loser,
                 .best_cost = best_cost};
    settle(&c);
    return c.best;
}

/* The random number that the last call made: the long arithmetic of the next one is nothing that this pick waits for. Of
 * thousands of backends, those that it will look at are in no cache: they are asked for. */
static inline uint64_t draw_ahead(const p2c_picker *picker, lane_state *lane, bool shared)
{
    if (__builtin_expect(shared, 0)) {
        return p2c_random(&lane->random, true);
    }
    const uint64_t drawn = __atomic_load_n(&lane->drawn, __ATOMIC_RELAXED);
    const uint64_t to_come = p2c_random(&lane->random, false);
    __atomic_store_n(&lane->drawn, to_come, __ATOMIC_RELAXED);
    if (picker->count >= PREFETCH_FROM) {
        p2c_stats *a;
        p2c_stats *b;
        draw_pair(picker, to_come, &a, &b);
        evener_prefetch_to_write(a); /* one of them will be */
        evener_prefetch_to_write(b);
        __builtin_prefetch(&a->epoch_ns); /* for the end of the call */
        __builtin_prefetch(&b->epoch_ns);
    }
    return drawn;
}

typedef struct costs {
    float a, b;
} costs;

/* Of two backends that are not both calm. */
static __attribute__((noinline)) costs costs_of(p2c_stats *a, p2c_stats *b, uint64_t now_ns, const lane_state *lane)
{
    const p2c_usual usual = get_usual(lane);
    return (costs){p2c_cost(a, b, now_ns, &usual), p2c_cost(b, a, now_ns, &usual)};
}

/* Two choices: short, and in registers. */
static inline p2c_stats *pick_plain(p2c_picker *picker, const evener_pick_context *context, uint64_t now_ns,
                                    uint32_t picks)
{
    lane_state *lane = &picker->lanes[context->lane];
    p2c_stats *a;
    p2c_stats *b;
    draw_pair(picker, draw_ahead(picker, lane, context->lane == EVENER_LANE_SHARED), &a, &b);
    costs cost = {p2c_get(&a->latency_ns), p2c_get(&b->latency_ns)};
    const bool calm_a = p2c_is_calm(a, now_ns, picker->calm_ns);
    const bool calm_b = p2c_is_calm(b, now_ns, picker->calm_ns);
    if (__builtin_expect(!(calm_a & calm_b), 0)) {
        cost = costs_of(a, b, now_ns, lane);
    }
    const bool b_wins = cost.b < cost.a * ALIKE;
    p2c_stats *best = b_wins ? b : a;
    const float best_cost = b_wins ? cost.b : cost.a;
    p2c_stats *loser = b_wins ? a : b;
    if (__builtin_expect(best_cost > p2c_get(&lane->dear_cost), 0) ||
        (__builtin_expect(picks % LEARN_PICKS == 0, 0) && !learn_plain(picker, lane, best, loser, best_cost, now_ns))) {
        return pick_settled(picker, context, now_ns, best, loser, best_cost);
    }
    return best;
}

static evener_pick_outcome p2c_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    p2c_picker *picker = (p2c_picker *)base;
    const uint64_t now_ns = evener_loop_now_fast_ns(context->loop);
    p2c_stats *best = picker->backends[0];
    if (__builtin_expect(picker->count > 1, 1)) {
        uint32_t *counter = &picker->lanes[context->lane].picks;
        const uint32_t picks = __atomic_load_n(counter, __ATOMIC_RELAXED) + 1;
        __atomic_store_n(counter, picks, __ATOMIC_RELAXED);
        const bool plain = picker->choices == 2 && now_ns >= picker->ramp_end_ns && !evener_pick_is_traced(context);
        best = __builtin_expect(plain, 1) ? pick_plain(picker, context, now_ns, picks)
                                          : pick_general(picker, context, now_ns);
    }
    if (evener_pick_on_done(pick, p2c_done, best, 0)) {
        pick->layers[pick->layer_count - 1].word = p2c_start(best, now_ns, context->lane);
    }
    pick->subchannel = best->subchannel;
    return EVENER_PICK_COMPLETE;
}

/* ---- control plane ---- */

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

/* Fills the columns (Vose). `shares` holds each backend's weight over the mean and is used up; `order` is scratch. */
static void fill_aliases(alias *aliases, double *shares, uint32_t *order, uint32_t count)
{
    uint32_t small = 0, large = count; /* light ones grow from the left of `order`, heavy ones from the right */
    for (uint32_t i = 0; i < count; i++) {
        order[shares[i] < 1 ? small++ : --large] = i;
        aliases[i] = (alias){UINT32_MAX, i};
    }
    while (small > 0 && large < count) {
        const uint32_t light = order[--small];
        const uint32_t heavy = order[large];
        aliases[light] = (alias){(uint32_t)(shares[light] * 4294967295.0), heavy};
        shares[heavy] -= 1 - shares[light];
        if (shares[heavy] < 1) {
            large++;
            order[small++] = heavy;
        }
    }
}

/* What is to be known of all backends before anything can be said of one of them. */
typedef struct survey {
    uint32_t *weights;   /* of the backends */
    uint32_t *newcomers; /* their indices */
    uint32_t newcomer_count, known;
    uint32_t least, most;
    double weight_sum, latency_sum; /* latencies: of the `known` among those that stay */
    bool was_uneven;                /* some weight is in force that is not that of all */
} survey;

/* Takes the backends and a reference of each. An update mostly changes few of many: each is looked at once here, and no
 * more if it stays as it is. */
static void take_backends(p2c_picker *picker, const evener_base_ready *ready, const p2c_config *config, survey *found)
{
    p2c_state *state = ready->state;
    const uint32_t last = state->generation;
    state->generation = last + 1 == 0 ? 1 : last + 1;
    found->least = UINT32_MAX;
    for (uint32_t i = 0; i < picker->count; i++) {
        evener_subchannel *subchannel = evener_subchannel_ref(ready->subchannels[i]);
        p2c_stats *stats = &((p2c_data *)evener_subchannel_data(subchannel))->stats;
        picker->backends[i] = stats;
        const uint32_t weight = evener_static_weight(subchannel);
        found->weights[i] = weight;
        found->weight_sum += weight;
        found->least = weight < found->least ? weight : found->least;
        found->most = weight > found->most ? weight : found->most;
        found->was_uneven |= p2c_get(&stats->weight_inverse) != 1.0F;
        if (p2c_get(&stats->decay_ns) != (float)config->decay_ns) {
            p2c_set(&stats->decay_ns, (float)config->decay_ns);
        }
        if (stats->generation == 0) { /* nobody reads it yet */
            stats->subchannel = subchannel;
        }
        if (stats->generation == 0 || stats->generation != last) {
            found->newcomers[found->newcomer_count++] = i;
            continue;
        }
        stats->generation = state->generation;
        const float latency_ns = p2c_get(&stats->latency_ns);
        if (latency_ns > 0) {
            found->known++;
            found->latency_sum += (double)latency_ns;
        }
    }
}

/* Weights into the statistics and the aliases; false without memory. */
static bool take_weights(p2c_picker *picker, const survey *found)
{
    if (found->least == found->most) {
        for (uint32_t i = 0; found->was_uneven && i < picker->count; i++) {
            p2c_set(&picker->backends[i]->weight_inverse, 1.0F);
        }
        return true;
    }
    const double mean = found->weight_sum / picker->count;
    double *shares = malloc(picker->count * sizeof *shares);
    uint32_t *order = malloc(picker->count * sizeof *order);
    picker->aliases = malloc(picker->count * sizeof *picker->aliases);
    const bool enough = shares != NULL && order != NULL && picker->aliases != NULL;
    for (uint32_t i = 0; enough && i < picker->count; i++) {
        shares[i] = found->weights[i] / mean;
        p2c_set(&picker->backends[i]->weight_inverse, (float)(1 / shares[i]));
    }
    if (enough) {
        fill_aliases(picker->aliases, shares, order, picker->count);
    }
    free(shares);
    free(order);
    return enough;
}

/* A backend that was not in the last picker: nothing held against it but what it earned before. */
static void join(p2c_stats *stats, const evener_base_ready *ready, uint64_t now_ns, float peers_latency_ns, bool ramp,
                 uint32_t ramp_ticks)
{
    if (stats->generation == 0) {
        stats->loop = ready->helper->loop;
        p2c_set(&stats->success, 1.0F);
        __atomic_store_n(&stats->updated_ns, now_ns, __ATOMIC_RELAXED);
        __atomic_store_n(&stats->progress_ns, now_ns, __ATOMIC_RELAXED);
        __atomic_store_n(&stats->epoch_ns, now_ns & ~P2C_GLANCE, __ATOMIC_RELAXED);
    }
    if (p2c_get(&stats->latency_ns) == 0.0F) {
        p2c_set(&stats->latency_ns, peers_latency_ns);
    }
    const uint32_t now_tick = p2c_tick(now_ns);
    __atomic_store_n(&stats->picked_tick, now_tick, __ATOMIC_RELAXED);
    __atomic_store_n(&stats->ready_tick, ramp ? now_tick : now_tick - ramp_ticks - 1, __ATOMIC_RELAXED);
}

/* Lets the newcomers start. Returns the mean latency of those that stay. */
static float let_join(p2c_picker *picker, const evener_base_ready *ready, const p2c_config *config, const survey *found)
{
    p2c_state *state = ready->state;
    const uint64_t now_ns = evener_loop_now_ns(ready->helper->loop);
    const uint32_t ramp_ticks = p2c_tick(config->slow_start.window_ns);
    const float peers_latency_ns = found->known > 0 ? (float)(found->latency_sum / found->known) : 0.0F;
    if (found->newcomer_count == picker->count) {
        state->first_ready_ns = now_ns;
    }
    /* More newcomers than that share their herd among themselves: none gets 1.5 times its share. */
    const bool ramp = found->newcomer_count * 2 < picker->count && config->slow_start.window_ns > 0 &&
                      now_ns - state->first_ready_ns >= config->slow_start.window_ns;
    if (ramp && found->newcomer_count > 0) {
        state->ramp_end_ns = now_ns + config->slow_start.window_ns;
    }
    for (uint32_t i = 0; i < found->newcomer_count; i++) {
        p2c_stats *stats = picker->backends[found->newcomers[i]];
        join(stats, ready, now_ns, peers_latency_ns, ramp, ramp_ticks);
        stats->generation = state->generation;
    }
    picker->ramp_end_ns = state->ramp_end_ns;
    picker->slow_start = config->slow_start;
    return peers_latency_ns;
}

static p2c_picker *allocate_picker(const evener_base_ready *ready, survey *found)
{
    const size_t bytes = sizeof(p2c_picker) + ready->count * sizeof(p2c_stats *);
    p2c_picker *picker = evener_picker_alloc(bytes);
    *found = (survey){.weights = malloc(2 * ready->count * sizeof *found->weights)};
    if (picker == NULL || found->weights == NULL) {
        free(picker);
        free(found->weights);
        return NULL;
    }
    found->newcomers = found->weights + ready->count;
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
    p2c_picker *picker = allocate_picker(ready, &found);
    if (picker == NULL) {
        return NULL;
    }
    evener_picker_init(&picker->base, &picker_vtable);
    picker->count = (uint32_t)ready->count;
    picker->choices = config->choices;
    picker->choices_max = config->choices_max;
    picker->force_pick_ticks = p2c_tick(config->force_pick_ns);
    picker->calm_ns = config->decay_ns;
    picker->aliases = NULL;
    take_backends(picker, ready, config, &found);
    if (!take_weights(picker, &found)) {
        free(found.weights);
        p2c_destroy(&picker->base); /* those that did not join yet are newcomers the next time, too */
        return NULL;
    }
    const float latency_ns = let_join(picker, ready, config, &found);
    free(found.weights);
    for (size_t lane = 0; lane < EVENER_LANES; lane++) {
        const uint64_t random = evener_loop_random(ready->helper->loop);
        picker->lanes[lane] =
            (lane_state){.random = random,
                         .drawn = random,
                         .usual = {.latency_ns = latency_ns > 0 ? latency_ns : P2C_UNKNOWN_NS, .crowding = 1.0F}};
    }
    return &picker->base;
}

static void p2c_describe(void *state_memory, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes)
{
    const p2c_state *state = state_memory;
    p2c_data *data = evener_subchannel_data(subchannel);
    p2c_stats *stats = &data->stats;
    if (state->go_zero) {
        p2c_go_zero_describe(data, buffer, buffer_bytes);
    } else if (stats->generation != 0) {
        const uint64_t now_ns = evener_loop_now_ns(stats->loop);
        const float cost_ns = p2c_cost(stats, NULL, now_ns, &(p2c_usual){.crowding = 1.0F});
        snprintf(buffer, buffer_bytes, "ewma_us=%.0f success=%.3f cost_us=%.0f%s",
                 (double)p2c_get(&stats->latency_ns) / 1000, (double)p2c_get(&stats->success), (double)cost_ns / 1000,
                 p2c_success(stats, now_ns) < P2C_HEALTHY_SUCCESS ? " failing" : "");
    }
}

static void data_destroy(void *data)
{
    p2c_go_zero_free(data);
}

static const evener_base_policy p2c = {
    .size = sizeof p2c,
    .build_picker = p2c_build_picker,
    .subchannel_data_bytes = sizeof(p2c_data),
    .subchannel_data_destroy = data_destroy,
    .state_bytes = sizeof(p2c_state),
    .describe = p2c_describe,
};

const evener_policy_builder evener_policy_p2c_ewma = {
    .size = sizeof evener_policy_p2c_ewma,
    .name = "p2c_ewma",
    .build = evener_base_policy_build,
    .parse_config = p2c_config_parse,
    .config_destroy = p2c_config_destroy,
    .user_data = (void *)&p2c,
};

/* The short name. */
const evener_policy_builder evener_policy_p2c = {
    .size = sizeof evener_policy_p2c,
    .name = "p2c",
    .build = evener_base_policy_build,
    .parse_config = p2c_config_parse,
    .config_destroy = p2c_config_destroy,
    .user_data = (void *)&p2c,
};
