/* The end of a call of p2c_ewma: how it changes what is known of the backend (p2c_load.h). */
#include "lb/policy/p2c_load.h"

/* Return the average after an answer that is slower than it. */
static inline float after_peak(float latency_ns, float rtt_ns, float by_time, bool news)
{
    const float least = news ? P2C_PEAK_WEIGHT_MIN : P2C_SAMPLE_WEIGHT_MIN;
    if (!news && rtt_ns > latency_ns * P2C_ECHO_MAX) {
        rtt_ns = latency_ns * P2C_ECHO_MAX;
    }
    return latency_ns + (rtt_ns - latency_ns) * (by_time > least ? by_time : least);
}

/* Return the average after an answer that is faster than it. */
static inline float after_relief(float latency_ns, float rtt_ns, float by_time)
{
    if (by_time > P2C_SILENCE) {
        const float middle_ns = sqrtf(latency_ns * rtt_ns);
        const float after_ns = latency_ns + (rtt_ns - latency_ns) * by_time;
        return middle_ns < after_ns ? middle_ns : after_ns;
    }
    return latency_ns + (rtt_ns - latency_ns) * (by_time > P2C_RELIEF_WEIGHT_MIN ? by_time : P2C_RELIEF_WEIGHT_MIN);
}

static inline float after_answer(float latency_ns, float rtt_ns, float by_time, bool news)
{
    return rtt_ns > latency_ns ? after_peak(latency_ns, rtt_ns, by_time, news)
                               : after_relief(latency_ns, rtt_ns, by_time);
}

/* Return the weight of an end by the time since the last answer. Below the least of all weights, the usual case, no
 * division is needed. */
static inline float by_time_of(float dt_ns, float decay_ns)
{
    return dt_ns > decay_ns * P2C_SAMPLE_WEIGHT_MIN ? dt_ns / (dt_ns + decay_ns) : 0.0F;
}

/* Make picks look at more than the average (p2c_is_calm()), and the next OK end what earlier ends left behind. */
static inline void leave_calm(p2c_stats *stats)
{
    if (p2c_get(&stats->success) == 1.0F) {
        p2c_set(&stats->success, P2C_NEARLY_ONE);
    }
}

static void count_early_end(p2c_stats *stats, bool early)
{
    const uint32_t ends = __atomic_load_n(&stats->early_ends, __ATOMIC_RELAXED);
    if (early ? ends < 2 * P2C_FORGOTTEN_ENDS : ends > 0) {
        __atomic_store_n(&stats->early_ends, early ? ends + 1 : ends - 1, __ATOMIC_RELAXED);
    }
}

/* Hold the place of a call that ended not OK after `rtt_ns`, where calls usually take `usual_ns`. A success below 1
 * makes picks read the held places (p2c_is_calm()). */
static void hold(p2c_stats *stats, uint64_t now_ns, float rtt_ns, float usual_ns)
{
    evener_held_add(&stats->held, now_ns, usual_ns, P2C_HELD_PLACES * (1.0F - rtt_ns / usual_ns));
    count_early_end(stats, true);
    leave_calm(stats);
}

/* Update the success after an answer. A code that is neither OK nor a failure only ages it. */
static __attribute__((noinline)) void update_success(p2c_stats *stats, uint64_t now_ns, float dt_ns,
                                                     evener_status_code code)
{
    const float decay_ns = p2c_decay_ns(stats);
    const float by_time = by_time_of(dt_ns, decay_ns);
    float after = p2c_relaxed_success(p2c_get(&stats->success), dt_ns, decay_ns);
    if (code == EVENER_STATUS_OK) {
        __atomic_store_n(&stats->early_ends, 0, __ATOMIC_RELAXED);
        p2c_set(&stats->usual_ns, 0.0F);
        after += (1.0F - after) * (by_time > P2C_SUCCESS_WEIGHT_MIN ? by_time : P2C_SUCCESS_WEIGHT_MIN);
    } else if (p2c_is_failure(stats, code)) {
        after -= after * (by_time > P2C_FAILURE_WEIGHT_MIN ? by_time : P2C_FAILURE_WEIGHT_MIN);
    }
    if (after > P2C_NEARLY_ONE) { /* picks take their short path again, unless something is left of ends not OK */
        const bool clean = evener_held_now(&stats->held, now_ns, p2c_usual_call_ns(stats)) == 0.0F &&
                           p2c_get(&stats->other_ns) == 0.0F;
        after = clean ? 1.0F : P2C_NEARLY_ONE;
    }
    p2c_set(&stats->success, after);
}

/* Update the mean deviation. One answer adds at most the average: a single pause says nothing about other calls. */
static inline void update_spread(p2c_stats *stats, float latency_ns, float rtt_ns)
{
    const float spread_ns = p2c_get(&stats->spread_ns);
    const float off_ns = fabsf(rtt_ns - latency_ns);
    p2c_set(&stats->spread_ns,
            spread_ns + ((off_ns < latency_ns ? off_ns : latency_ns) - spread_ns) * P2C_SPREAD_WEIGHT);
}

/* Update what the average would be without the ends that were not OK and raised it. */
static __attribute__((noinline)) void update_average_of_ok(p2c_stats *stats, float rtt_ns, float by_time, bool news)
{
    const float without_ns = p2c_get(&stats->other_ns);
    if (without_ns > 0.0F) {
        const float after_ns = after_answer(without_ns, rtt_ns, by_time, news);
        p2c_set(&stats->other_ns, after_ns < p2c_get(&stats->latency_ns) ? after_ns : 0.0F);
    }
}

/* Update the statistics after an answer with OK, `rtt_ns` after the call began. */
static inline __attribute__((always_inline)) void answer_ok(p2c_stats *stats, uint64_t now_ns, uint64_t started_ns,
                                                            float rtt_ns)
{
    const uint64_t updated_ns = __atomic_load_n(&stats->updated_ns, __ATOMIC_RELAXED);
    const bool news = (int64_t)(started_ns - updated_ns) >= 0;
    const float dt_ns = p2c_elapsed_ns(now_ns, updated_ns);
    const float by_time = by_time_of(dt_ns, p2c_decay_ns(stats));
    const float latency_ns = p2c_get(&stats->latency_ns);
    __atomic_store_n(&stats->updated_ns, now_ns, __ATOMIC_RELAXED);
    if (__builtin_expect(p2c_bits(&stats->latency_ns) == 0, 0)) { /* the first one */
        p2c_set(&stats->latency_ns, rtt_ns);
        p2c_set(&stats->spread_ns, rtt_ns / 2);
        p2c_set(&stats->usual_ns, 0.0F);
        p2c_set(&stats->other_ns, 0.0F);
    } else {
        update_spread(stats, latency_ns, rtt_ns);
        p2c_set(&stats->latency_ns, after_answer(latency_ns, rtt_ns, by_time, news));
    }
    if (__builtin_expect(p2c_bits(&stats->success) != P2C_BITS_OF_ONE, 0)) {
        update_average_of_ok(stats, rtt_ns, by_time, news);
        update_success(stats, now_ns, dt_ns, EVENER_STATUS_OK);
    }
}

/* Update the average after an answer that is not OK and takes longer than `least_ns`, the average or what is usual. */
static void raise_average(p2c_stats *stats, float least_ns, float rtt_ns, float by_time, bool news)
{
    const float latency_ns = p2c_get(&stats->latency_ns);
    const float after_ns = after_peak(least_ns, rtt_ns, by_time, news);
    if (latency_ns == 0.0F) {
        p2c_set(&stats->other_ns, after_ns);
        return;
    }
    if (p2c_get(&stats->other_ns) == 0.0F) {
        p2c_set(&stats->other_ns, latency_ns);
        leave_calm(stats);
    }
    p2c_set(&stats->latency_ns, after_ns);
}

/* Update the average after an answer that says nothing of the backend's health and is faster. It takes back what slower
 * answers of this kind have added, and no more: with answers of varying times the average would otherwise rise to the
 * slowest of them. */
static void lower_average(p2c_stats *stats, float rtt_ns, float by_time)
{
    const float latency_ns = p2c_get(&stats->latency_ns);
    const float other_ns = p2c_get(&stats->other_ns);
    if (latency_ns == 0.0F && rtt_ns < other_ns) {
        p2c_set(&stats->other_ns, after_relief(other_ns, rtt_ns, by_time));
    } else if (other_ns > 0.0F && other_ns < latency_ns && rtt_ns < latency_ns) {
        const float after_ns = after_relief(latency_ns, rtt_ns, by_time);
        p2c_set(&stats->latency_ns, after_ns > other_ns ? after_ns : other_ns);
    }
}

/* Update the statistics after a call that ended not OK. It took at least this long, whatever the code: its time may
 * raise the average and never lowers it below that of the answers with OK. A cancelled call is no answer: it changes
 * neither the success nor the time of the last answer. */
static void answer_not_ok(p2c_stats *stats, uint64_t now_ns, uint64_t started_ns, evener_status_code code)
{
    const uint64_t updated_ns = __atomic_load_n(&stats->updated_ns, __ATOMIC_RELAXED);
    const bool news = (int64_t)(started_ns - updated_ns) >= 0;
    const bool failed = p2c_is_failure(stats, code);
    const float dt_ns = p2c_elapsed_ns(now_ns, updated_ns);
    const float by_time = by_time_of(dt_ns, p2c_decay_ns(stats));
    const float rtt_ns = p2c_elapsed_ns(now_ns, started_ns) + 1.0F;
    const float usual_ns = p2c_usual_call_ns(stats);
    const float known_ns = p2c_get(&stats->latency_ns) > 0.0F ? usual_ns : p2c_get(&stats->other_ns);
    const float least_ns = known_ns > usual_ns ? known_ns : usual_ns;
    if (usual_ns > 0.0F && rtt_ns > least_ns) {
        raise_average(stats, least_ns, rtt_ns, by_time, news);
    } else if (!failed && code != EVENER_STATUS_CANCELLED) {
        lower_average(stats, rtt_ns, by_time);
    }
    const float others_ns = p2c_get(&stats->usual_ns);
    if (usual_ns > rtt_ns) {
        hold(stats, now_ns, rtt_ns, usual_ns);
    }
    if (others_ns > 0.0F && rtt_ns > others_ns) {
        count_early_end(stats, false);
    }
    if (code != EVENER_STATUS_CANCELLED) {
        __atomic_store_n(&stats->updated_ns, now_ns, __ATOMIC_RELAXED);
        if (failed || p2c_get(&stats->success) < 1.0F) {
            update_success(stats, now_ns, dt_ns, code);
        }
    }
}

/* End a call that the backend did not answer, and that is no evidence against it. Its other unanswered calls are taken
 * to have begun later. */
static inline void end_unanswered(p2c_stats *stats, uint64_t started_ns)
{
    if (started_ns < (__atomic_load_n(&stats->updated_ns, __ATOMIC_RELAXED) & ~P2C_KIND)) {
        (void)__atomic_fetch_sub(&stats->answered_around, 1, __ATOMIC_RELAXED);
    } else if (started_ns > __atomic_load_n(&stats->progress_ns, __ATOMIC_RELAXED)) {
        __atomic_store_n(&stats->progress_ns, started_ns, __ATOMIC_RELAXED);
    }
}

/* End a call that its caller cancelled. If it waited longer than usual, it counts as unanswered until the backend
 * answers another one: a backend that hangs looks the same whether callers cancel or wait for a deadline. A success
 * below 1 makes picks look at it (p2c_is_calm()). */
static void end_cancelled(p2c_stats *stats, uint64_t started_ns)
{
    const float usual_ns = p2c_usual_call_ns(stats);
    const float waited_ns = p2c_elapsed_ns(evener_loop_now_fast_ns(p2c_common_of(stats)->loop), started_ns);
    if (usual_ns == 0.0F || waited_ns <= usual_ns) {
        end_unanswered(stats, started_ns);
        return;
    }
    (void)__atomic_fetch_sub(&stats->answered_around, 1, __ATOMIC_RELAXED);
    leave_calm(stats);
}

/* Note an answer of the backend, with `in_flight` calls in flight. */
static inline void note_answer(p2c_stats *stats, uint64_t now_ns, uint32_t in_flight)
{
    __atomic_store_n(&stats->progress_ns, now_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&stats->answered_around, in_flight, __ATOMIC_RELAXED);
}

/* End a counted unary call that is not OK, or a glance that failed. */
static __attribute__((noinline)) void done_not_ok(p2c_stats *stats, uint64_t word, const evener_done_info *info)
{
    const bool answered = !info->not_sent && info->code != EVENER_STATUS_CANCELLED;
    const uint64_t started_ns = word & ~P2C_KIND;
    uint32_t in_flight = __atomic_load_n(&stats->in_flight, __ATOMIC_RELAXED);
    if ((word & P2C_GLANCE) == 0) {
        in_flight = __atomic_sub_fetch(&stats->in_flight, 1, __ATOMIC_RELAXED);
        if (info->not_sent) {
            end_unanswered(stats, started_ns);
        } else if (!answered) {
            end_cancelled(stats, started_ns);
        }
    }
    if (info->not_sent) {
        return;
    }
    const uint64_t now_ns = evener_loop_now_fast_ns(p2c_common_of(stats)->loop);
    if (answered) {
        note_answer(stats, now_ns, in_flight);
    }
    answer_not_ok(stats, now_ns, started_ns, info->code);
}

/* End a stream. Its first message was its answer, which is ignored if it is older than the decay. The time of the end
 * says nothing about latency: the server, the caller or a deadline chose it. */
static __attribute__((noinline)) void stream_done(p2c_stats *stats, uint64_t word, const evener_done_info *info)
{
    (void)__atomic_fetch_sub(&stats->streams, 1, __ATOMIC_RELAXED);
    if (info->not_sent) {
        return;
    }
    const uint64_t started_ns = word & ~P2C_KIND;
    const uint64_t now_ns = evener_loop_now_fast_ns(p2c_common_of(stats)->loop);
    const float dt_ns = p2c_elapsed_ns(now_ns, __atomic_load_n(&stats->updated_ns, __ATOMIC_RELAXED));
    const bool recent =
        info->first_message_ns != 0 && p2c_elapsed_ns(now_ns, info->first_message_ns) < p2c_decay_ns(stats);
    if (info->code == EVENER_STATUS_OK && recent) {
        answer_ok(stats, now_ns, started_ns, p2c_elapsed_ns(info->first_message_ns, started_ns) + 1.0F);
    } else if (info->code != EVENER_STATUS_CANCELLED &&
               (p2c_get(&stats->success) < 1.0F || p2c_is_failure(stats, info->code))) {
        update_success(stats, now_ns, dt_ns, info->code);
    }
}

/* End a call, other than a glance that ended OK. */
static __attribute__((noinline)) void done_reported(p2c_stats *stats, uint64_t word, const evener_done_info *info)
{
    if (__builtin_expect((info->code != EVENER_STATUS_OK) | info->not_sent | ((int64_t)word < 0), 0)) {
        if ((word & P2C_STREAM) != 0) {
            stream_done(stats, word, info);
        } else {
            done_not_ok(stats, word, info);
        }
        return;
    }
    const uint32_t in_flight = __atomic_sub_fetch(&stats->in_flight, 1, __ATOMIC_RELAXED);
    const uint64_t now_ns = evener_loop_now_fast_ns(p2c_common_of(stats)->loop);
    note_answer(stats, now_ns, in_flight);
    answer_ok(stats, now_ns, word, p2c_elapsed_ns(now_ns, word) + 1.0F); /* 0 would mean unknown */
}

void p2c_done(void *data, uint64_t word, const evener_done_info *info, uint32_t lane)
{
    if ((word & P2C_GLANCE) != 0) {
        evener_glance_end(lane);
        if (__builtin_expect(info->code == EVENER_STATUS_OK, 1)) {
            return;
        }
    }
    done_reported(data, word, info);
}
