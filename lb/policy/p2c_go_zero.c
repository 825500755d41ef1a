/* p2c_ewma with "compat": "go-zero": the arithmetic of go-zero's zrpc/internal/balancer/p2c, with its faults.
 *
 * Two backends are drawn, up to three times, until both are healthy. The one with the lower
 * `isqrt(lag + 1) * (in_flight + 1)` is taken, unless the other has not been picked for the force-pick interval. An
 * answer moves lag and success by `w = exp(-dt / decay)`, in whole numbers. The statistics begin anew with every
 * picker: here they live in the subchannel's memory (calls that are under way still reach them) and are distinguished
 * by the picker's generation.
 *
 * The one difference is the mutex around go-zero's pick: here none is taken. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lb/base/c_locale.h"
#include "lb/base/memory.h"
#include "lb/policy/p2c_internal.h"
#include "lb/policy/ready_list.h"

#define SUCCESS_INITIAL 1000
#define SUCCESS_THROTTLE (SUCCESS_INITIAL / 2)
#define DRAWS_MAX 3
#define PENALTY INT64_C(2147483647)
/* "Never": go-zero's clock starts a year before the process. */
#define LONG_AGO_NS (-INT64_C(366) * 24 * 3600 * 1000000000)

typedef struct go_zero_picker {
    evener_picker base;
    uint32_t count;
    int64_t force_pick_ns;
    evener_lane_random random;
    p2c_go_zero_stats *backends[];
} go_zero_picker;

static int64_t now_ns(evener_loop *loop)
{
    return (int64_t)evener_loop_now_fast_ns(loop);
}

static bool healthy(const p2c_go_zero_stats *stats)
{
    return __atomic_load_n(&stats->success, __ATOMIC_RELAXED) > SUCCESS_THROTTLE;
}

static int64_t load(const p2c_go_zero_stats *stats)
{
    const uint64_t lag_ns = __atomic_load_n(&stats->lag_ns, __ATOMIC_RELAXED);
    const int64_t root = (int64_t)sqrt((double)(lag_ns + 1));
    const int64_t product = root * (__atomic_load_n(&stats->in_flight, __ATOMIC_RELAXED) + 1);
    return product == 0 ? PENALTY : product;
}

/* Return whether a backend has go-zero's statistics. */
static bool has_go_zero(const p2c_stats *backend)
{
    const p2c_common *common = p2c_common_of(backend);
    return common != NULL && common->is_go_zero;
}

/* Return the statistics of a backend that has them. */
static p2c_go_zero_stats *go_zero_of(const p2c_stats *backend)
{
    return EVENER_CONTAINER_OF(p2c_common_of(backend), p2c_go_zero_stats, common);
}

static void go_zero_done(void *data, uint64_t word, const evener_done_info *info, uint32_t lane)
{
    (void)lane;
    p2c_go_zero_stats *stats = go_zero_of(data);
    /* The word: 16 bits of the generation, 48 of the time, enough for calls of up to 3 days. */
    if ((word >> 48) != (__atomic_load_n(&stats->generation, __ATOMIC_RELAXED) & 0xFFFF)) {
        return;
    }
    const int64_t now = now_ns(stats->common.loop);
    (void)__atomic_fetch_sub(&stats->in_flight, 1, __ATOMIC_RELAXED);
    if (info->not_sent) {
        return;
    }
    const int64_t last = __atomic_exchange_n(&stats->last_ns, now, __ATOMIC_RELAXED);
    const int64_t elapsed = now > last ? now - last : 0;
    const uint64_t lag = ((uint64_t)now - word) & ((UINT64_C(1) << 48) - 1);
    const uint64_t old_lag = __atomic_load_n(&stats->lag_ns, __ATOMIC_RELAXED);
    const double w = old_lag == 0 ? 0 : exp(-(double)elapsed / (double)p2c_get(&stats->common.decay_ns));
    __atomic_store_n(&stats->lag_ns, (uint64_t)((double)old_lag * w + (double)lag * (1 - w)), __ATOMIC_RELAXED);
    const double success = evener_is_failure(EVENER_GO_ZERO_FAILURES, info->code) ? 0 : SUCCESS_INITIAL;
    const double old_success = (double)__atomic_load_n(&stats->success, __ATOMIC_RELAXED);
    __atomic_store_n(&stats->success, (uint64_t)(old_success * w + success * (1 - w)), __ATOMIC_RELAXED);
}

static p2c_go_zero_stats *choose(const go_zero_picker *picker, p2c_go_zero_stats *a, p2c_go_zero_stats *b, int64_t now)
{
    if (load(a) > load(b)) {
        p2c_go_zero_stats *lower = b;
        b = a;
        a = lower;
    }
    int64_t picked = __atomic_load_n(&b->pick_ns, __ATOMIC_RELAXED);
    if (now - picked > picker->force_pick_ns &&
        __atomic_compare_exchange_n(&b->pick_ns, &picked, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        return b;
    }
    __atomic_store_n(&a->pick_ns, now, __ATOMIC_RELAXED);
    return a;
}

static p2c_go_zero_stats *draw(go_zero_picker *picker, uint32_t lane, int64_t now)
{
    p2c_go_zero_stats *a = picker->backends[0], *b = picker->backends[1];
    for (int i = 0; picker->count > 2 && i < DRAWS_MAX; i++) {
        const uint64_t random = evener_lane_random_next(&picker->random, lane);
        const uint32_t first = evener_random_scale((uint32_t)random, picker->count);
        uint32_t second = evener_random_scale((uint32_t)(random >> 32), picker->count - 1);
        second += second >= first;
        a = picker->backends[first];
        b = picker->backends[second];
        if (healthy(a) && healthy(b)) {
            break;
        }
    }
    return choose(picker, a, b, now);
}

/* Return the backend with the lowest load of those that the call was not tried at; `chosen` without any. */
static __attribute__((noinline)) p2c_go_zero_stats *least_untried(const go_zero_picker *picker,
                                                                  const evener_pick_context *context,
                                                                  p2c_go_zero_stats *chosen)
{
    if (!evener_pick_avoids(context, chosen->subchannel)) {
        return chosen;
    }
    p2c_go_zero_stats *best = NULL;
    for (uint32_t i = 0; i < picker->count; i++) {
        p2c_go_zero_stats *stats = picker->backends[i];
        if (!evener_pick_avoids(context, stats->subchannel) && (best == NULL || load(stats) < load(best))) {
            best = stats;
        }
    }
    return best != NULL ? best : chosen;
}

static evener_pick_outcome go_zero_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    go_zero_picker *picker = (go_zero_picker *)base;
    const int64_t now = now_ns(context->loop);
    p2c_go_zero_stats *chosen = picker->backends[0];
    if (picker->count > 1) {
        chosen = draw(picker, context->lane, now);
    } else {
        __atomic_store_n(&chosen->pick_ns, now, __ATOMIC_RELAXED);
    }
    if (__builtin_expect(context->args->tried_count != 0, 0)) {
        chosen = least_untried(picker, context, chosen);
    }
    const uint64_t generation = __atomic_load_n(&chosen->generation, __ATOMIC_RELAXED);
    const uint64_t word = (generation << 48) | ((uint64_t)now & ((UINT64_C(1) << 48) - 1));
    if (evener_pick_on_done(pick, go_zero_done, evener_subchannel_data(chosen->subchannel), word)) {
        (void)__atomic_fetch_add(&chosen->in_flight, 1, __ATOMIC_RELAXED);
    }
    pick->subchannel = chosen->subchannel;
    return EVENER_PICK_COMPLETE;
}

static void go_zero_destroy(evener_picker *base)
{
    go_zero_picker *picker = (go_zero_picker *)base;
    for (uint32_t i = 0; i < picker->count; i++) {
        evener_subchannel_unref(picker->backends[i]->subchannel);
    }
    free(picker);
}

static const evener_picker_vtable picker_vtable = {
    .size = sizeof picker_vtable, .pick = go_zero_pick, .destroy = go_zero_destroy};

static void begin_anew(p2c_go_zero_stats *stats, evener_subchannel *subchannel)
{
    if (stats->generation == 0) { /* no pick reads them yet */
        stats->subchannel = subchannel;
    }
    __atomic_store_n(&stats->lag_ns, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&stats->success, SUCCESS_INITIAL, __ATOMIC_RELAXED);
    __atomic_store_n(&stats->in_flight, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&stats->last_ns, LONG_AGO_NS, __ATOMIC_RELAXED);
    __atomic_store_n(&stats->pick_ns, LONG_AGO_NS, __ATOMIC_RELAXED);
    __atomic_store_n(&stats->generation, stats->generation + 1, __ATOMIC_RELAXED);
}

/* Create the statistics of backends that have none. False: out of memory; those created so far stay. */
static bool make_stats(const evener_base_ready *ready, const p2c_config *config)
{
    for (size_t i = 0; i < ready->count; i++) {
        p2c_stats *backend = evener_subchannel_data(ready->subchannels[i]);
        if (has_go_zero(backend)) {
            continue;
        }
        p2c_go_zero_stats *made = evener_cache_aligned_calloc(sizeof *made);
        if (made == NULL) {
            return false;
        }
        made->common = (p2c_common){.loop = ready->helper->loop, .is_go_zero = true};
        made->former = backend->common;
        p2c_common_configure(&made->common, config);
        __atomic_store_n(&backend->common, &made->common, __ATOMIC_RELEASE); /* calls under way read it */
    }
    return true;
}

p2c_common *p2c_go_zero_free(p2c_common *common)
{
    p2c_go_zero_stats *stats = EVENER_CONTAINER_OF(common, p2c_go_zero_stats, common);
    p2c_common *former = stats->former;
    free(stats);
    return former;
}

evener_picker *p2c_go_zero_build_picker(const evener_base_ready *ready, const p2c_config *config)
{
    const size_t bytes = sizeof(go_zero_picker) + ready->count * sizeof(p2c_go_zero_stats *);
    go_zero_picker *picker = make_stats(ready, config) ? evener_picker_alloc(bytes) : NULL;
    if (picker == NULL) {
        return NULL;
    }
    evener_picker_init(&picker->base, &picker_vtable);
    picker->count = (uint32_t)ready->count;
    picker->force_pick_ns = (int64_t)config->force_pick_ns;
    for (size_t i = 0; i < ready->count; i++) {
        p2c_go_zero_stats *stats = go_zero_of(evener_subchannel_data(evener_subchannel_ref(ready->subchannels[i])));
        p2c_common_configure(&stats->common, config);
        begin_anew(stats, ready->subchannels[i]);
        picker->backends[i] = stats;
    }
    evener_lane_random_init(&picker->random, ready->helper->loop);
    return &picker->base;
}

void p2c_go_zero_describe(const p2c_stats *backend, char *buffer, size_t buffer_bytes)
{
    if (!has_go_zero(backend)) { /* it was never READY */
        return;
    }
    const p2c_go_zero_stats *stats = go_zero_of(backend);
    evener_snprintf(buffer, buffer_bytes, "ewma_us=%.0f success=%.3f",
                    (double)__atomic_load_n(&stats->lag_ns, __ATOMIC_RELAXED) / 1000,
                    (double)__atomic_load_n(&stats->success, __ATOMIC_RELAXED) / SUCCESS_INITIAL);
}
