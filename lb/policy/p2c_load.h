/* The arithmetic of p2c_ewma: what is known of one backend, what it says of the backend's load, and how an answer
 * changes it. Shared by the picker and its tests.
 *
 *     cost = latency x (1 + in_flight / weight) / success^4
 *
 * `latency` is the moving average of the answers' times, or half the time since the backend last made progress while
 * calls are under way, whichever is more: a backend that hangs gets expensive before its calls time out. `weight` is
 * relative to the mean weight. docs/policies.md has the reasons and where this departs from go-zero.
 *
 * All members that the data plane changes are read and written with relaxed atomics, and a lost update of an average
 * among threads that end calls on one backend at the same moment is accepted: the next answer corrects it. Only
 * `in_flight` is counted with read-modify-write: there an error would stay.
 *
 * Glances (glance.h). Where answers come in less than P2C_BRIEF_NS and one has come within that time, a further call says
 * nothing new, and telling would take a second look at the clock besides the shared cache line. Such a call is neither
 * counted nor timed unless it fails. */
#ifndef EVENER_LB_POLICY_P2C_LOAD_H
#define EVENER_LB_POLICY_P2C_LOAD_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <evener/loop.h>
#include <evener/picker.h>
#include <evener/subchannel.h>

#include "lb/policy/glance.h"

/* Weight of a new answer in the average is dt / (dt + decay), at least this. exp(-dt / decay), as in go-zero, would cost
 * 6 ns and at 1,000 answers a second gives an answer a 10,000th: a backend gone slow would be noticed in seconds. */
#define P2C_SAMPLE_WEIGHT_MIN (1.0F / 32)
/* The same for an answer faster than the average: what one pause of a machine has spoilt is forgotten in half the time. */
#define P2C_RELIEF_WEIGHT_MIN (1.0F / 16)
/* The same for an answer slower than the average ("peak"): bad news counts at once. Not all of it, as in Finagle's
 * PeakEwma, where one garbage collection empties a backend for seconds; and it is news only if the call began after the
 * last answer: calls that were under way together have waited for the same thing, and all but the first count as any
 * other (as TCP takes the losses of one round trip for one). */
#define P2C_PEAK_WEIGHT_MIN (1.0F / 4)
/* One that is no news counts at most as so many averages: a pause of a whole machine, this client's own included, must
 * not make the fast backends look slower than the slow ones, which had no call under way in it. */
#define P2C_ECHO_MAX 2.0F
/* An answer after a silence of this share of the decay is the result of a probe, about: a faster one halves the average
 * on a scale of powers. What was learned in a bad moment is else in force for as long as nobody asks. */
#define P2C_SILENCE (1.0F / 16)
/* Of the time since the last sign of life, half stands for the latency while calls are under way: a backend is taken
 * for hung when that is more than the average, and not for every millisecond in which nobody was scheduled. */
#define P2C_QUIET_WEIGHT (1.0F / 2)
#define P2C_SUCCESS_WEIGHT_MIN (1.0F / 16)
#define P2C_FAILURE_WEIGHT_MIN (1.0F / 8)
/* The worst success that is calculated with: a cost stays a number. */
#define P2C_SUCCESS_FLOOR 0.01F
/* Below, a backend counts as failing and is spared the probes. */
#define P2C_HEALTHY_SUCCESS 0.5F

/* One cache line: a pick touches one line a candidate. */
typedef struct p2c_stats {
    evener_subchannel *subchannel; /* written once, before any pick */
    evener_loop *loop;             /* likewise: done() needs the time */
    uint64_t progress_ns;          /* the last answer, or when the first of the calls under way began */
    uint64_t updated_ns;           /* the last answer that went into the averages */
    float latency_ns;              /* average; 0: nothing known */
    float success;                 /* average, 0 to 1 */
    uint32_t in_flight;
    float weight_inverse; /* mean weight / weight; set by the control thread */
    uint32_t picked_tick; /* the last pick, for the probe */
    uint32_t ready_tick;  /* where its slow start began; control thread writes */
    float decay_ns;       /* of the configuration in force */
    uint32_t generation;  /* of the last picker that held it; 0: none yet. Control thread only */
} p2c_stats;

_Static_assert(sizeof(p2c_stats) <= 64, "one cache line a backend");

/* Some points in time need no nanoseconds: ticks of 2^20 ns, about a millisecond, in 32 bits that wrap after 52 days.
 * Differences of two are right as long as they are below that. */
#define P2C_TICK_SHIFT 20

static inline uint32_t p2c_tick(uint64_t time_ns)
{
    return (uint32_t)(time_ns >> P2C_TICK_SHIFT);
}

static inline float p2c_get(const float *value)
{
    float copy;
    __atomic_load(value, &copy, __ATOMIC_RELAXED);
    return copy;
}

static inline void p2c_set(float *value, float number)
{
    __atomic_store(value, &number, __ATOMIC_RELAXED);
}

/* Clocks of two threads may differ by a little: never negative. */
static inline float p2c_elapsed_ns(uint64_t now_ns, uint64_t since_ns)
{
    const int64_t elapsed = (int64_t)(now_ns - since_ns);
    return elapsed > 0 ? (float)elapsed : 0.0F;
}

/* What is held against a backend fades while nothing is heard of it: else one that was left alone could never show that
 * it is well again. */
static inline float p2c_relaxed_success(float success, float quiet_ns, float decay_ns)
{
    const float kept = decay_ns / (decay_ns + quiet_ns);
    return 1.0F - (1.0F - success) * kept * kept;
}

/* What is usual among the backends that get picked. */
typedef struct p2c_usual {
    float latency_ns; /* stands in for a latency that is unknown, and draws one that is old to itself */
    float crowding;   /* 1 / (1 + calls under way) */
} p2c_usual;

/* Its load, in nanoseconds: how long a further call would take, about. */
static inline float p2c_cost(const p2c_stats *stats, uint64_t now_ns, const p2c_usual *usual)
{
    const uint32_t in_flight = __atomic_load_n(&stats->in_flight, __ATOMIC_RELAXED);
    const float quiet_ns = p2c_elapsed_ns(now_ns, __atomic_load_n(&stats->progress_ns, __ATOMIC_RELAXED));
    const float decay_ns = p2c_get(&stats->decay_ns);
    const float success = p2c_get(&stats->success);
    float latency_ns = p2c_get(&stats->latency_ns);
    if (latency_ns == 0.0F) {
        latency_ns = usual->latency_ns;
    }
    if (in_flight > 0) {
        const float waited_ns = quiet_ns * P2C_QUIET_WEIGHT;
        latency_ns = waited_ns > latency_ns ? waited_ns : latency_ns;
    } else if (quiet_ns > decay_ns) {
        latency_ns = usual->latency_ns + (latency_ns - usual->latency_ns) * (decay_ns / quiet_ns);
    }
    float cost = latency_ns * (1.0F + (float)in_flight * p2c_get(&stats->weight_inverse) * usual->crowding);
    if (success < 1.0F) {
        float relaxed = p2c_relaxed_success(success, quiet_ns, decay_ns);
        relaxed = relaxed > P2C_SUCCESS_FLOOR ? relaxed : P2C_SUCCESS_FLOOR;
        const float squared = relaxed * relaxed;
        cost /= squared * squared;
    }
    return cost;
}

/* The bits of a number that is not below 0: they compare as it does, and need no register of another kind. */
static inline uint32_t p2c_bits(const float *value)
{
    const float number = p2c_get(value);
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

#define P2C_BITS_OF_ONE UINT32_C(0x3F800000)

/* Whether the cost is the plain latency: nothing under way, nothing held against it, and heard of within the decay. All
 * is looked at and one branch taken: it nearly always holds. */
static inline bool p2c_is_calm(const p2c_stats *stats, uint64_t now_ns, uint64_t decay_ns)
{
    const uint32_t in_flight = __atomic_load_n(&stats->in_flight, __ATOMIC_RELAXED);
    const uint32_t against = p2c_bits(&stats->success) ^ P2C_BITS_OF_ONE;
    const uint64_t quiet_ns = now_ns - __atomic_load_n(&stats->progress_ns, __ATOMIC_RELAXED);
    return ((in_flight | against) == 0) & (p2c_bits(&stats->latency_ns) != 0) & (quiet_ns <= decay_ns);
}

/* Success as it is now held against the backend. */
static inline float p2c_success(const p2c_stats *stats, uint64_t now_ns)
{
    const float quiet_ns = p2c_elapsed_ns(now_ns, __atomic_load_n(&stats->progress_ns, __ATOMIC_RELAXED));
    return p2c_relaxed_success(p2c_get(&stats->success), quiet_ns, p2c_get(&stats->decay_ns));
}

/* Shorter than any call over a network, and about what it takes threads to exchange news. */
#define P2C_BRIEF_NS 65536
/* In the word of a pick: its call is a glance. The rest is when it began, to 2 ns. */
#define P2C_GLANCE UINT64_C(1)

/* Codes that speak against the backend (go-zero: codes.Acceptable). */
static inline bool p2c_is_failure(evener_status_code code)
{
    const uint32_t failures = 1U << EVENER_STATUS_DEADLINE_EXCEEDED | 1U << EVENER_STATUS_RESOURCE_EXHAUSTED |
                              1U << EVENER_STATUS_UNIMPLEMENTED | 1U << EVENER_STATUS_INTERNAL |
                              1U << EVENER_STATUS_UNAVAILABLE | 1U << EVENER_STATUS_DATA_LOSS;
    return (failures >> ((uint32_t)code & 31U) & 1U) != 0;
}

static inline bool p2c_may_glance(const p2c_stats *stats, uint64_t now_ns, uint32_t lane)
{
    const float latency_ns = p2c_get(&stats->latency_ns);
    const uint64_t quiet_ns = now_ns - __atomic_load_n(&stats->updated_ns, __ATOMIC_RELAXED);
    return quiet_ns < P2C_BRIEF_NS && latency_ns > 0.0F && latency_ns < (float)P2C_BRIEF_NS &&
           p2c_get(&stats->success) == 1.0F && evener_glance_may_begin(lane);
}

/* A call begins. Returns the pick's word. */
static inline uint64_t p2c_start(p2c_stats *stats, uint64_t now_ns, uint32_t lane)
{
    const uint32_t now_tick = p2c_tick(now_ns);
    if (__atomic_load_n(&stats->picked_tick, __ATOMIC_RELAXED) != now_tick) {
        __atomic_store_n(&stats->picked_tick, now_tick, __ATOMIC_RELAXED);
    }
    if (p2c_may_glance(stats, now_ns, lane)) {
        evener_glance_begin(lane);
        return now_ns | P2C_GLANCE;
    }
    if (__atomic_fetch_add(&stats->in_flight, 1, __ATOMIC_RELAXED) == 0) {
        __atomic_store_n(&stats->progress_ns, now_ns, __ATOMIC_RELAXED);
    }
    return now_ns & ~P2C_GLANCE;
}

/* The average after an answer slower than it. */
static inline float p2c_after_peak(float latency_ns, float rtt_ns, float by_time, bool news)
{
    const float least = news ? P2C_PEAK_WEIGHT_MIN : P2C_SAMPLE_WEIGHT_MIN;
    if (!news && rtt_ns > latency_ns * P2C_ECHO_MAX) {
        rtt_ns = latency_ns * P2C_ECHO_MAX;
    }
    return latency_ns + (rtt_ns - latency_ns) * (by_time > least ? by_time : least);
}

/* The average after an answer faster than it. */
static inline float p2c_after_relief(float latency_ns, float rtt_ns, float by_time)
{
    if (by_time > P2C_SILENCE) {
        const float middle_ns = sqrtf(latency_ns * rtt_ns);
        const float after_ns = latency_ns + (rtt_ns - latency_ns) * by_time;
        return middle_ns < after_ns ? middle_ns : after_ns;
    }
    return latency_ns + (rtt_ns - latency_ns) * (by_time > P2C_RELIEF_WEIGHT_MIN ? by_time : P2C_RELIEF_WEIGHT_MIN);
}

/* An answer came. A failure's time counts only if it was slow (failing fast must not look fast), so does that of a call
 * that the caller gave up, which says nothing of success. */
static inline void p2c_answer(p2c_stats *stats, uint64_t now_ns, uint64_t started_ns, evener_status_code code)
{
    const bool failure = p2c_is_failure(code);
    const bool cancelled = code == EVENER_STATUS_CANCELLED;
    const float decay_ns = p2c_get(&stats->decay_ns);
    const uint64_t updated_ns = __atomic_load_n(&stats->updated_ns, __ATOMIC_RELAXED);
    const bool news = (int64_t)(started_ns - updated_ns) >= 0;
    const float dt_ns = p2c_elapsed_ns(now_ns, updated_ns);
    const float rtt_ns = p2c_elapsed_ns(now_ns, started_ns) + 1.0F; /* 0 means unknown */
    /* Below the least weight of all the division is spared: the usual case. */
    const float by_time = dt_ns > decay_ns * P2C_SAMPLE_WEIGHT_MIN ? dt_ns / (dt_ns + decay_ns) : 0.0F;
    const float latency_ns = p2c_get(&stats->latency_ns);
    __atomic_store_n(&stats->updated_ns, now_ns, __ATOMIC_RELAXED);
    if (latency_ns == 0.0F) {
        if (!failure && !cancelled) {
            p2c_set(&stats->latency_ns, rtt_ns);
        }
    } else if (rtt_ns > latency_ns) {
        p2c_set(&stats->latency_ns, p2c_after_peak(latency_ns, rtt_ns, by_time, news));
    } else if (!failure && !cancelled) {
        p2c_set(&stats->latency_ns, p2c_after_relief(latency_ns, rtt_ns, by_time));
    }
    const float success = p2c_get(&stats->success);
    if (!cancelled && (failure || success < 1.0F)) {
        const float relaxed = p2c_relaxed_success(success, dt_ns, decay_ns);
        const float least = failure ? P2C_FAILURE_WEIGHT_MIN : P2C_SUCCESS_WEIGHT_MIN;
        const float weight = by_time > least ? by_time : least;
        float after = relaxed + ((failure ? 0.0F : 1.0F) - relaxed) * weight;
        after = after > 0.9999F ? 1.0F : after; /* back on the short way of p2c_cost() */
        p2c_set(&stats->success, after);
    }
}

/* A call ended that was counted, or a glance failed. */
static __attribute__((noinline)) void p2c_done_told(p2c_stats *stats, uint64_t word, const evener_done_info *info)
{
    if ((word & P2C_GLANCE) == 0) {
        (void)__atomic_fetch_sub(&stats->in_flight, 1, __ATOMIC_RELAXED);
    }
    if (info->not_sent) {
        return;
    }
    const uint64_t now_ns = evener_loop_now_fast_ns(stats->loop);
    __atomic_store_n(&stats->progress_ns, now_ns, __ATOMIC_RELAXED);
    p2c_answer(stats, now_ns, word, info->code);
}

/* A call ended: evener_pick_on_done() with the p2c_stats as data and the time of the pick as word. */
static inline void p2c_done(void *data, uint64_t word, const evener_done_info *info, uint32_t lane)
{
    if ((word & P2C_GLANCE) != 0) {
        evener_glance_end(lane);
        if (__builtin_expect(!p2c_is_failure(info->code), 1)) {
            return;
        }
    }
    p2c_done_told(data, word, info);
}

#endif
