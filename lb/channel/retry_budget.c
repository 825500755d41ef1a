#include "lb/channel/retry_budget.h"

#include <evener/loop.h>

#define MILLI 1000
/* What is not used is kept for this long, and up to RATIO_KEPT retries of the calls' share. */
#define SECONDS_KEPT 10
#define RATIO_KEPT 100

static uint32_t load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static int64_t max_milli(const evener_retry_budget *budget)
{
    return (int64_t)load(&budget->second_milli) * SECONDS_KEPT + (int64_t)RATIO_KEPT * MILLI;
}

static void add(evener_retry_budget *budget, int64_t more)
{
    const int64_t max = max_milli(budget);
    int64_t milli = __atomic_load_n(&budget->milli, __ATOMIC_RELAXED);
    while (milli < max) {
        const int64_t sum = milli + more < max ? milli + more : max;
        if (__atomic_compare_exchange_n(&budget->milli, &milli, sum, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            return;
        }
    }
}

void evener_retry_budget_configure(evener_retry_budget *budget, const evener_retry_budget_config *config,
                                   uint64_t now_ns)
{
    const bool was_on = load(&budget->is_on) != 0;
    __atomic_store_n(&budget->ratio_milli, config->ratio_milli, __ATOMIC_RELAXED);
    __atomic_store_n(&budget->second_milli, config->second_milli, __ATOMIC_RELAXED);
    if (config->is_on && !was_on) {
        __atomic_store_n(&budget->milli, (int64_t)config->second_milli * SECONDS_KEPT, __ATOMIC_RELAXED);
        __atomic_store_n(&budget->filled_ns, now_ns, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&budget->is_on, config->is_on, __ATOMIC_RELAXED);
}

void evener_retry_budget_earn(evener_retry_budget *budget)
{
    if (__builtin_expect(load(&budget->is_on) != 0, 0)) {
        add(budget, load(&budget->ratio_milli));
    }
}

/* Add the share of the time that has passed. Time that has earned nothing yet goes on counting. */
static void fill(evener_retry_budget *budget, uint64_t now_ns)
{
    const uint64_t second_milli = load(&budget->second_milli);
    uint64_t filled_ns = __atomic_load_n(&budget->filled_ns, __ATOMIC_RELAXED);
    const uint64_t passed_ms = now_ns > filled_ns ? (now_ns - filled_ns) / EVENER_NS_PER_MS : 0;
    const bool is_long = passed_ms >= SECONDS_KEPT * 1000;
    const uint64_t more = (is_long ? SECONDS_KEPT * 1000 : passed_ms) * second_milli / 1000;
    if (more == 0) {
        return;
    }
    const uint64_t used_ns = more * EVENER_NS_PER_S / second_milli; /* the remainder stays for the next time */
    if (__atomic_compare_exchange_n(&budget->filled_ns, &filled_ns, is_long ? now_ns : filled_ns + used_ns, false,
                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED)) { /* otherwise another thread adds it */
        add(budget, (int64_t)more);
    }
}

bool evener_retry_budget_take(evener_retry_budget *budget, uint64_t now_ns)
{
    if (load(&budget->is_on) == 0) {
        return true;
    }
    fill(budget, now_ns);
    int64_t milli = __atomic_load_n(&budget->milli, __ATOMIC_RELAXED);
    while (milli >= MILLI) {
        if (__atomic_compare_exchange_n(&budget->milli, &milli, milli - MILLI, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
            return true;
        }
    }
    return false;
}
