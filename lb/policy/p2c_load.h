/* The arithmetic of p2c_ewma: what is known of one backend, what it says of the backend's load, and how an answer
 * changes it. Shared by the picker and its tests.
 *
 *     cost = latency x (1 + in_flight / weight) / success^4
 *
 * `latency` is the moving average of the answers' times, or half the time for which calls have gone unanswered, whichever
 * is more: a backend that hangs gets expensive before its calls time out. `weight` is relative to the mean weight.
 * docs/policies.md has the reasons and where this departs from go-zero.
 *
 * Streams. A policy is not notified of which calls are streams, and an open stream must neither look like a hung call nor
 * like load. Three rules replace that knowledge:
 *   - A call that was under way when the backend last answered is no sign of a hang. Only calls begun since that answer
 *     are "unanswered", and a single one of them may be a stream: the time counts from the start of the second.
 *   - A call that has been under way for longer than about P2C_LONG_CALL average calls, while the backend kept answering
 *     others ("long"), is not counted as load.
 *   - A backend that looks hung gets another call after a pause that doubles (p2c_ewma.c), so that streams opened on an
 *     idle backend are recognised by the first answer.
 *
 * Ends that are not OK. They never lower the average. One that comes earlier than usual keeps the call's place in the
 * in-flight count until the usual time has passed ("held"): a backend that refuses quickly must not look idle.
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
#include <stddef.h>
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
/* From here on success counts as complete. As a value: nothing is held against the backend, but places are held for it. */
#define P2C_NEARLY_ONE 0.9999F
/* So many calls begun since the last answer are a sign of a hang; fewer may be streams. */
#define P2C_UNANSWERED_MIN 2
/* A call under way for longer than this many average calls is taken for a stream, within these bounds. */
#define P2C_LONG_CALL 8.0F
#define P2C_LONG_CALL_MIN_NS (64 * EVENER_NS_PER_MS)
#define P2C_LONG_CALL_MAX_NS (60 * EVENER_NS_PER_S)
/* After so many early ends in a row that are not OK, the average is stale: it is from another time, and as others come and
 * go above and below it, it would draw all calls or none. */
#define P2C_STALE_ENDS 4
/* Fewer places held than this are none. */
#define P2C_HELD_MIN (1.0F / 64)
/* Stands in for a latency while no latency is known at all: only calls under way count then. */
#define P2C_UNKNOWN_NS 1.0F

/* The first cache line is what a pick reads of a candidate. */
typedef struct p2c_stats {
    evener_subchannel *subchannel; /* written once, before any pick */
    evener_loop *loop;             /* likewise: done() needs the time */
    uint64_t progress_ns;          /* the last answer, or when calls begun since then became a sign of a hang */
    uint64_t updated_ns;           /* the last answer: any end but that of a call cancelled or not sent */
    float latency_ns;              /* average; 0: nothing known */
    float success;                 /* average, 0 to 1 */
    uint32_t in_flight;
    float weight_inverse;     /* mean weight / weight; set by the control thread */
    uint32_t picked_tick;     /* the last pick, for the probe */
    float decay_ns;           /* of the configuration in force */
    uint32_t answered_around; /* calls under way that began before the last answer */
    uint32_t long_calls;      /* calls under way that began before epoch_before_ns */

    /* The second one is read when a call ends, and by picks in rare cases. Epochs follow each other at least as far apart
     * as a call must be old to be long, and begin with an answer. */
    uint64_t epoch_ns;
    uint64_t epoch_length_ns; /* the next one begins with an answer to a call that began so much later */
    uint64_t epoch_before_ns;
    uint64_t held_ns;     /* when `held` was right */
    float held;           /* places held for calls that ended early and not OK; they fade within the usual time */
    float usual_ns;       /* what is usual elsewhere, noted by picks while the average is unknown or stale; else 0 */
    float at_least_ns;    /* while latency_ns is 0: calls that ended not OK took about so long; 0: they say nothing */
    uint32_t early_ends;  /* ends in a row that were not OK and earlier than usual */
    uint32_t epoch_calls; /* calls under way that began before epoch_ns */
    uint32_t ready_tick;  /* where its slow start began; control thread writes */
    uint32_t generation;  /* of the last picker that held it; 0: none yet. Control thread only */
} p2c_stats;

_Static_assert(offsetof(p2c_stats, epoch_ns) == 64, "a pick reads one cache line per candidate");
_Static_assert(sizeof(p2c_stats) <= 128, "two cache lines per backend");

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

/* The bits of a number that is not below 0: they compare as it does, and need no register of another kind. */
static inline uint32_t p2c_bits(const float *value)
{
    const float number = p2c_get(value);
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

#define P2C_BITS_OF_ONE UINT32_C(0x3F800000)

/* Clocks of two threads may differ by a little: never negative. */
static inline float p2c_elapsed_ns(uint64_t now_ns, uint64_t since_ns)
{
    const float elapsed_ns = (float)(int64_t)(now_ns - since_ns);
    return elapsed_ns > 0.0F ? elapsed_ns : 0.0F;
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

/* Calls begun since the last answer. Threads that start and end calls at the same moment may make it wrong by some, below
 * 0 too, until the next answer. */
static inline int32_t p2c_unanswered(const p2c_stats *stats, uint32_t in_flight)
{
    return (int32_t)(in_flight - __atomic_load_n(&stats->answered_around, __ATOMIC_RELAXED));
}

static inline float p2c_long_call_ns(float latency_ns)
{
    const float long_ns = (float)P2C_LONG_CALL_MIN_NS + latency_ns * P2C_LONG_CALL;
    return long_ns < (float)P2C_LONG_CALL_MAX_NS ? long_ns : (float)P2C_LONG_CALL_MAX_NS;
}

/* Calls under way that are load: all but the long ones. */
static inline float p2c_busy(const p2c_stats *stats, uint32_t in_flight)
{
    const float busy = (float)(int32_t)(in_flight - __atomic_load_n(&stats->long_calls, __ATOMIC_RELAXED));
    return busy > 0.0F ? busy : 0.0F;
}

/* How long its calls take, or if that is unknown or stale and less, those of others; 0: nothing known at all. */
static inline float p2c_usual_call_ns(const p2c_stats *stats)
{
    const float latency_ns = p2c_get(&stats->latency_ns);
    const float usual_ns = p2c_get(&stats->usual_ns);
    return latency_ns > usual_ns ? latency_ns : usual_ns;
}

/* Places held at this time. Each fades with the usual time of a call: their mean is what calls that take that time would
 * have under way (Little's law), without a timer per call. */
static __attribute__((noinline)) float p2c_held(const p2c_stats *stats, uint64_t now_ns, float latency_ns)
{
    const float held = p2c_get(&stats->held);
    if (held == 0.0F || latency_ns == 0.0F) {
        return 0.0F;
    }
    const float age_ns = p2c_elapsed_ns(now_ns, __atomic_load_n(&stats->held_ns, __ATOMIC_RELAXED));
    const float left = held * expf(-age_ns / latency_ns);
    return left > P2C_HELD_MIN ? left : 0.0F;
}

/* The latency that a pick calculates with. One that is unknown or stale is no reason to prefer the backend: it counts as
 * that of its opponent, if that is more. What is usual then is noted, for the ends of its calls. */
static inline float p2c_latency(p2c_stats *stats, const p2c_stats *opponent, float success, const p2c_usual *usual)
{
    const float latency_ns = p2c_get(&stats->latency_ns);
    const bool stale = success < 1.0F && __atomic_load_n(&stats->early_ends, __ATOMIC_RELAXED) >= P2C_STALE_ENDS;
    if (latency_ns != 0.0F && !stale) {
        return latency_ns;
    }
    const float opponent_ns = opponent != NULL ? p2c_get(&opponent->latency_ns) : 0.0F;
    const float usual_ns = opponent_ns > 0.0F ? opponent_ns : usual->latency_ns;
    const float least_ns = latency_ns != 0.0F ? latency_ns : p2c_get(&stats->at_least_ns);
    if (usual_ns > P2C_UNKNOWN_NS && p2c_get(&stats->usual_ns) != usual_ns) {
        p2c_set(&stats->usual_ns, usual_ns);
    }
    return least_ns > usual_ns ? least_ns : usual_ns;
}

/* p2c_cost() of any backend. */
static __attribute__((noinline)) float p2c_cost_of_any(p2c_stats *stats, const p2c_stats *opponent, uint64_t now_ns,
                                                       const p2c_usual *usual)
{
    const uint32_t in_flight = __atomic_load_n(&stats->in_flight, __ATOMIC_RELAXED);
    const float quiet_ns = p2c_elapsed_ns(now_ns, __atomic_load_n(&stats->progress_ns, __ATOMIC_RELAXED));
    const float success = p2c_get(&stats->success);
    float busy = p2c_busy(stats, in_flight);
    float latency_ns = p2c_latency(stats, opponent, success, usual);
    if (success < 1.0F) {
        busy += p2c_held(stats, now_ns, latency_ns);
    }
    if (p2c_unanswered(stats, in_flight) >= P2C_UNANSWERED_MIN) {
        const float waited_ns = quiet_ns * P2C_QUIET_WEIGHT;
        latency_ns = waited_ns > latency_ns ? waited_ns : latency_ns;
    } else if (quiet_ns > (float)P2C_LONG_CALL_MIN_NS) {
        const float decay_ns = p2c_get(&stats->decay_ns);
        busy = quiet_ns > p2c_long_call_ns(latency_ns) ? 0.0F : busy; /* all under way are long by now */
        if (quiet_ns > decay_ns) {
            latency_ns = usual->latency_ns + (latency_ns - usual->latency_ns) * (decay_ns / quiet_ns);
        }
    }
    float cost = latency_ns * (1.0F + busy * p2c_get(&stats->weight_inverse) * usual->crowding);
    if (success < 1.0F) {
        float relaxed = p2c_relaxed_success(success, quiet_ns, p2c_get(&stats->decay_ns));
        relaxed = relaxed > P2C_SUCCESS_FLOOR ? relaxed : P2C_SUCCESS_FLOOR;
        const float squared = relaxed * relaxed;
        cost /= squared * squared;
    }
    return cost;
}

/* Its load, in nanoseconds: how long a further call would take, about; `opponent` is the backend it is compared with, or
 * NULL. The short way is for a backend with calls under way
 * that answers, and against which nothing is held. */
static inline float p2c_cost(p2c_stats *stats, const p2c_stats *opponent, uint64_t now_ns, const p2c_usual *usual)
{
    const float latency_ns = p2c_get(&stats->latency_ns);
    const uint64_t quiet_ns = now_ns - __atomic_load_n(&stats->progress_ns, __ATOMIC_RELAXED);
    if (quiet_ns > P2C_LONG_CALL_MIN_NS || !((float)(int64_t)quiet_ns * P2C_QUIET_WEIGHT < latency_ns) ||
        p2c_bits(&stats->success) != P2C_BITS_OF_ONE) {
        return p2c_cost_of_any(stats, opponent, now_ns, usual);
    }
    const float busy = p2c_busy(stats, __atomic_load_n(&stats->in_flight, __ATOMIC_RELAXED));
    return latency_ns * (1.0F + busy * p2c_get(&stats->weight_inverse) * usual->crowding);
}

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

/* Codes that speak against the backend: go-zero's (codes.Acceptable) and UNKNOWN, which is what servers of most languages
 * answer when a handler throws. */
#define P2C_GO_ZERO_FAILURES                                                                                           \
    (1U << EVENER_STATUS_DEADLINE_EXCEEDED | 1U << EVENER_STATUS_RESOURCE_EXHAUSTED |                                  \
     1U << EVENER_STATUS_UNIMPLEMENTED | 1U << EVENER_STATUS_INTERNAL | 1U << EVENER_STATUS_UNAVAILABLE |              \
     1U << EVENER_STATUS_DATA_LOSS)
#define P2C_FAILURES (P2C_GO_ZERO_FAILURES | 1U << EVENER_STATUS_UNKNOWN)

static inline bool p2c_is_one_of(uint32_t codes, evener_status_code code)
{
    return (codes >> ((uint32_t)code & 31U) & 1U) != 0;
}

static inline bool p2c_is_failure(evener_status_code code)
{
    return p2c_is_one_of(P2C_FAILURES, code);
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
    const uint32_t in_flight = __atomic_fetch_add(&stats->in_flight, 1, __ATOMIC_RELAXED);
    if (p2c_unanswered(stats, in_flight) < P2C_UNANSWERED_MIN) {
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

/* ---- the end of a call ---- */

/* How much an end counts, by the time since the last answer. Below the least weight of all the division is spared: the
 * usual case. */
static inline float p2c_by_time(float dt_ns, float decay_ns)
{
    return dt_ns > decay_ns * P2C_SAMPLE_WEIGHT_MIN ? dt_ns / (dt_ns + decay_ns) : 0.0F;
}

/* Hold the place of a call that ended not OK after `rtt_ns`, where `usual_ns` is usual. A success below 1 makes picks look
 * at it (p2c_is_calm()). */
static inline void p2c_hold(p2c_stats *stats, uint64_t now_ns, float rtt_ns, float usual_ns)
{
    const float held = p2c_held(stats, now_ns, usual_ns) + 1.0F - rtt_ns / usual_ns;
    p2c_set(&stats->held, held);
    (void)__atomic_fetch_add(&stats->early_ends, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&stats->held_ns, now_ns, __ATOMIC_RELAXED);
    if (p2c_get(&stats->success) == 1.0F) {
        p2c_set(&stats->success, P2C_NEARLY_ONE);
    }
}

/* Update the success after an answer. One that is neither OK nor a failure says nothing of it, but that time went by. */
static __attribute__((noinline)) void p2c_update_success(p2c_stats *stats, uint64_t now_ns, float dt_ns,
                                                         evener_status_code code)
{
    const float decay_ns = p2c_get(&stats->decay_ns);
    const float by_time = p2c_by_time(dt_ns, decay_ns);
    float after = p2c_relaxed_success(p2c_get(&stats->success), dt_ns, decay_ns);
    if (code == EVENER_STATUS_OK) {
        __atomic_store_n(&stats->early_ends, 0, __ATOMIC_RELAXED);
        p2c_set(&stats->usual_ns, 0.0F);
        after += (1.0F - after) * (by_time > P2C_SUCCESS_WEIGHT_MIN ? by_time : P2C_SUCCESS_WEIGHT_MIN);
    } else if (p2c_is_failure(code)) {
        after -= after * (by_time > P2C_FAILURE_WEIGHT_MIN ? by_time : P2C_FAILURE_WEIGHT_MIN);
    }
    if (after > P2C_NEARLY_ONE) { /* back on the short way of picks, unless places are held */
        after = p2c_held(stats, now_ns, p2c_usual_call_ns(stats)) > 0.0F ? P2C_NEARLY_ONE : 1.0F;
    }
    p2c_set(&stats->success, after);
}

/* An answer came that is OK. */
static inline void p2c_answer_ok(p2c_stats *stats, uint64_t now_ns, uint64_t started_ns)
{
    const uint64_t updated_ns = __atomic_load_n(&stats->updated_ns, __ATOMIC_RELAXED);
    const bool news = (int64_t)(started_ns - updated_ns) >= 0;
    const float dt_ns = p2c_elapsed_ns(now_ns, updated_ns);
    const float rtt_ns = p2c_elapsed_ns(now_ns, started_ns) + 1.0F; /* 0 means unknown */
    const float by_time = p2c_by_time(dt_ns, p2c_get(&stats->decay_ns));
    float latency_ns = p2c_get(&stats->latency_ns);
    __atomic_store_n(&stats->updated_ns, now_ns, __ATOMIC_RELAXED);
    if (!(rtt_ns > latency_ns)) {
        latency_ns = p2c_after_relief(latency_ns, rtt_ns, by_time);
    } else if (latency_ns > 0.0F) {
        latency_ns = p2c_after_peak(latency_ns, rtt_ns, by_time, news);
    } else { /* the first one */
        latency_ns = rtt_ns;
        p2c_set(&stats->usual_ns, 0.0F);
    }
    p2c_set(&stats->latency_ns, latency_ns);
    if (p2c_get(&stats->success) < 1.0F) {
        p2c_update_success(stats, now_ns, dt_ns, EVENER_STATUS_OK);
    }
}

/* A call ended not OK. It took at least that long, whatever the code, so its time may raise the average; it never lowers
 * it. A cancelled call is no answer: it says nothing of success, and the next one is as much news as it was. */
static inline void p2c_answer_not_ok(p2c_stats *stats, uint64_t now_ns, uint64_t started_ns, evener_status_code code)
{
    const uint64_t updated_ns = __atomic_load_n(&stats->updated_ns, __ATOMIC_RELAXED);
    const bool news = (int64_t)(started_ns - updated_ns) >= 0;
    const float dt_ns = p2c_elapsed_ns(now_ns, updated_ns);
    const float rtt_ns = p2c_elapsed_ns(now_ns, started_ns) + 1.0F;
    const float usual_ns = p2c_usual_call_ns(stats);
    float *average_ns = p2c_get(&stats->latency_ns) > 0.0F ? &stats->latency_ns : &stats->at_least_ns;
    const float least_ns = p2c_get(average_ns) > usual_ns ? p2c_get(average_ns) : usual_ns;
    if (usual_ns > 0.0F && rtt_ns > least_ns) {
        const float by_time = p2c_by_time(dt_ns, p2c_get(&stats->decay_ns));
        p2c_set(average_ns, p2c_after_peak(least_ns, rtt_ns, by_time, news));
    } else if (usual_ns > rtt_ns) {
        p2c_hold(stats, now_ns, rtt_ns, usual_ns);
    }
    if (code != EVENER_STATUS_CANCELLED) {
        __atomic_store_n(&stats->updated_ns, now_ns, __ATOMIC_RELAXED);
        if (p2c_get(&stats->success) < 1.0F || p2c_is_failure(code)) {
            p2c_update_success(stats, now_ns, dt_ns, code);
        }
    }
}

/* Whether a call has to do with epochs when it ends: it began before the last one, or the next one may begin. One
 * comparison, as what began before wraps. */
static inline bool p2c_touches_epoch(const p2c_stats *stats, uint64_t started_ns)
{
    return started_ns - __atomic_load_n(&stats->epoch_ns, __ATOMIC_RELAXED) >=
           __atomic_load_n(&stats->epoch_length_ns, __ATOMIC_RELAXED);
}

/* Take a call that ends out of the counts of those that began before an epoch. */
static inline void p2c_leave_epochs(p2c_stats *stats, uint64_t started_ns)
{
    if (started_ns < __atomic_load_n(&stats->epoch_ns, __ATOMIC_RELAXED)) {
        (void)__atomic_fetch_sub(&stats->epoch_calls, 1, __ATOMIC_RELAXED);
        if (started_ns < __atomic_load_n(&stats->epoch_before_ns, __ATOMIC_RELAXED)) {
            (void)__atomic_fetch_sub(&stats->long_calls, 1, __ATOMIC_RELAXED);
        }
    }
}

/* Begin an epoch with an answer, unless it is too early or another thread did: what began before the last one is long
 * now. */
static inline void p2c_begin_epoch(p2c_stats *stats, uint64_t now_ns, uint64_t started_ns, uint32_t in_flight)
{
    uint64_t last_ns = __atomic_load_n(&stats->epoch_ns, __ATOMIC_RELAXED);
    const int64_t length_ns = (int64_t)__atomic_load_n(&stats->epoch_length_ns, __ATOMIC_RELAXED);
    if ((int64_t)(started_ns - last_ns) >= length_ns &&
        __atomic_compare_exchange_n(&stats->epoch_ns, &last_ns, now_ns & ~P2C_GLANCE, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
        const float long_ns = p2c_long_call_ns(p2c_usual_call_ns(stats));
        __atomic_store_n(&stats->epoch_length_ns, (uint64_t)long_ns, __ATOMIC_RELAXED);
        __atomic_store_n(&stats->long_calls, __atomic_load_n(&stats->epoch_calls, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
        __atomic_store_n(&stats->epoch_before_ns, last_ns, __ATOMIC_RELAXED);
        __atomic_store_n(&stats->epoch_calls, in_flight, __ATOMIC_RELAXED);
    }
}

static __attribute__((noinline)) void p2c_turn_epochs(p2c_stats *stats, uint64_t now_ns, uint64_t started_ns,
                                                      uint32_t in_flight)
{
    p2c_leave_epochs(stats, started_ns);
    p2c_begin_epoch(stats, now_ns, started_ns, in_flight);
}

/* A call ended that the backend did not answer. The others that it did not answer either began later, as far as is
 * known. */
static inline void p2c_end_unanswered(p2c_stats *stats, uint64_t started_ns)
{
    if (started_ns < (__atomic_load_n(&stats->updated_ns, __ATOMIC_RELAXED) & ~P2C_GLANCE)) {
        (void)__atomic_fetch_sub(&stats->answered_around, 1, __ATOMIC_RELAXED);
    } else if (started_ns > __atomic_load_n(&stats->progress_ns, __ATOMIC_RELAXED)) {
        __atomic_store_n(&stats->progress_ns, started_ns, __ATOMIC_RELAXED);
    }
}

/* The backend answered, and `in_flight` calls are under way. */
static inline void p2c_note_answer(p2c_stats *stats, uint64_t now_ns, uint32_t in_flight)
{
    __atomic_store_n(&stats->progress_ns, now_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&stats->answered_around, in_flight, __ATOMIC_RELAXED);
}

/* A call ended not OK that was counted, or a glance failed. */
static __attribute__((noinline)) void p2c_done_not_ok(p2c_stats *stats, uint64_t word, const evener_done_info *info)
{
    const bool answered = !info->not_sent && info->code != EVENER_STATUS_CANCELLED;
    uint32_t in_flight = __atomic_load_n(&stats->in_flight, __ATOMIC_RELAXED);
    if ((word & P2C_GLANCE) == 0) {
        in_flight = __atomic_sub_fetch(&stats->in_flight, 1, __ATOMIC_RELAXED);
        p2c_leave_epochs(stats, word);
        if (!answered) {
            p2c_end_unanswered(stats, word);
        }
    }
    if (info->not_sent) {
        return;
    }
    const uint64_t now_ns = evener_loop_now_fast_ns(stats->loop);
    if (answered) {
        p2c_note_answer(stats, now_ns, in_flight);
        p2c_begin_epoch(stats, now_ns, word, in_flight);
    }
    p2c_answer_not_ok(stats, now_ns, word, info->code);
}

/* A call ended that was counted, or a glance failed. */
static __attribute__((noinline)) void p2c_done_told(p2c_stats *stats, uint64_t word, const evener_done_info *info)
{
    if (__builtin_expect((info->code != EVENER_STATUS_OK) | info->not_sent, 0)) {
        p2c_done_not_ok(stats, word, info);
        return;
    }
    const uint32_t in_flight = __atomic_sub_fetch(&stats->in_flight, 1, __ATOMIC_RELAXED);
    const uint64_t now_ns = evener_loop_now_fast_ns(stats->loop);
    p2c_note_answer(stats, now_ns, in_flight);
    if (__builtin_expect(p2c_touches_epoch(stats, word), 0)) {
        p2c_turn_epochs(stats, now_ns, word, in_flight);
    }
    p2c_answer_ok(stats, now_ns, word);
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
