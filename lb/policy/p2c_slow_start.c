#include "lb/policy/p2c_slow_start.h"

bool p2c_passes_slow_start(const p2c_stats *stats, const evener_slow_start *slow_start, uint64_t now_ns,
                           uint64_t random)
{
    const uint64_t age_ns = now_ns - __atomic_load_n(&stats->ready_ns, __ATOMIC_RELAXED);
    const double share = evener_slow_start_factor(slow_start, age_ns);
    return (double)(uint32_t)(random >> 32) < share * 0x1p32;
}

/* Prepare a backend that was not in the last picker. Its earlier failures still count. */
static void join(p2c_stats *stats, uint64_t now_ns, float peers_latency_ns, uint64_t age_ns)
{
    if (*p2c_generation(stats) == 0) {
        p2c_set(&stats->success, 1.0F);
        __atomic_store_n(&stats->updated_ns, now_ns, __ATOMIC_RELAXED);
        __atomic_store_n(&stats->progress_ns, now_ns, __ATOMIC_RELAXED);
    }
    if (p2c_get(&stats->latency_ns) == 0.0F) {
        p2c_set(&stats->spread_ns, peers_latency_ns / 2);
        p2c_set(&stats->latency_ns, peers_latency_ns);
        p2c_set(&stats->other_ns, 0.0F);
    }
    __atomic_store_n(&stats->picked_ns, now_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&stats->ready_ns, now_ns - age_ns, __ATOMIC_RELAXED);
}

void p2c_let_join(p2c_picker *picker, const evener_base_ready *ready, const p2c_config *config,
                  const uint32_t *newcomers, uint32_t newcomer_count, float peers_latency_ns)
{
    p2c_state *state = ready->state;
    const uint64_t window_ns = config->slow_start.window_ns;
    const uint64_t now_ns = evener_loop_now_ns(ready->helper->loop);
    if (newcomer_count == picker->count) {
        state->first_ready_ns = now_ns;
    }
    /* When more than half are newcomers they share the rush of calls: none gets 1.5 times its share. */
    const bool ramp =
        newcomer_count * 2 < picker->count && window_ns > 0 && now_ns - state->first_ready_ns >= window_ns;
    if (ramp && newcomer_count > 0) {
        state->ramp_end_ns = now_ns + window_ns;
    }
    for (uint32_t i = 0; i < newcomer_count; i++) {
        p2c_stats *stats = picker->backends[newcomers[i]];
        join(stats, now_ns, peers_latency_ns, ramp ? 0 : window_ns);
        *p2c_generation(stats) = state->generation;
    }
    picker->ramp_end_ns = state->ramp_end_ns;
    picker->slow_start = config->slow_start;
}
