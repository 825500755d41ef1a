/* The load of p2c_ewma: what is known of one backend, its cost for a further call, and how the end of a call changes
 * it.
 *
 *     cost = latency x (1 + in_flight / weight / (1 + usual)) / success^4
 *
 * `latency` is the moving average of the answers' times, or half of the age of the oldest call that the backend has not
 * answered, whichever is more: a backend that hangs gets expensive before its calls time out. `weight` is relative to
 * the mean weight. docs/policies.md has the reasons and where this departs from go-zero.
 *
 * Hung calls. A call that was in flight when the backend last answered does not indicate a hang. Calls begun since then
 * are unanswered, and the oldest of them has been waiting since `progress_ns`. One that its caller cancelled later than
 * the usual latency remains unanswered.
 *
 * Streams are counted apart: an open stream is neither unanswered nor load for unary calls, and a stream is compared by
 * the streams open. Its first message is its response.
 *
 * Ends that are not OK never lower the average below that of the answers with OK. One that comes earlier than usual
 * keeps the call's place in the in-flight count until the usual time has passed (held.h): a backend that refuses quickly
 * must not look idle.
 *
 * Noise. `spread_ns` is the mean deviation of the answers' times. Where calls are rare, a backend that lost because of
 * a few slow answers would not be picked again soon. Therefore an average that no answer confirmed for a while counts
 * as exact only to within its spread (p2c_is_noise()).
 *
 * All members that the data plane changes are read and written with relaxed atomics. Threads that end calls on one
 * backend at the same moment may lose an update of an average: the next answer corrects it. Only the counts are changed
 * with read-modify-write: there an error would stay.
 *
 * Glances (glance.h). Where answers take less than P2C_BRIEF_NS and one has come within that time, a further call adds
 * nothing, and counting it would cost a second reading of the clock besides the shared cache line. Such a call is
 * neither counted nor timed unless it fails. */
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

#include "lb/policy/failure_codes.h"
#include "lb/policy/glance.h"
#include "lb/policy/held.h"

/* A new answer has the weight dt / (dt + decay) in the average, at least this. exp(-dt / decay), as in go-zero, would
 * cost 6 ns, and at 1,000 answers per second would weigh an answer 1/10,000: a slow backend would be noticed only after
 * seconds. */
#define P2C_SAMPLE_WEIGHT_MIN (1.0F / 32)
/* The minimum for an answer faster than the average: the traces of one pause of a machine fade in half the time. */
#define P2C_RELIEF_WEIGHT_MIN (1.0F / 16)
/* The minimum for an answer slower than the average ("peak"): it counts at once, but not in full as in Finagle's
 * PeakEwma, where one garbage collection empties a backend for seconds. It applies only if the call began after the
 * last answer: calls that were in flight together have waited for the same cause, so all after the first count as usual
 * (as TCP counts the losses of one round trip as one). */
#define P2C_PEAK_WEIGHT_MIN (1.0F / 4)
/* A slow answer that overlaps the previous one is capped at this multiple of the average: a pause of a whole machine,
 * this client's own included, must not make the fast backends look slower than slow ones without a call in flight. */
#define P2C_ECHO_MAX 2.0F
/* An answer after a silence of this share of the decay is mostly the result of a probe. A faster one moves the average
 * to the geometric mean of both: otherwise a bad moment would count until the next probe, and longer. */
#define P2C_SILENCE (1.0F / 16)
#define P2C_SPREAD_WEIGHT (1.0F / 8)
/* An average is uncertain by this many spreads when no answer has confirmed it for P2C_CERTAIN_NS; before, by less, and
 * just after an answer by this share of it. An average depends on how many calls overlap: peaks count in full where they
 * do not (P2C_PEAK_WEIGHT_MIN). With times that vary, a backend with few calls has up to twice the average of one with
 * many. Without a share for that, of weights 3 and 1 the second one got 0.8 % of the calls at times. */
#define P2C_NOISE 2.5F
#define P2C_UNCERTAIN_MIN 0.75F
#define P2C_CERTAIN_NS (250 * EVENER_NS_PER_MS)
/* This share of the age of the oldest unanswered call stands for the latency: a backend counts as hung when that
 * exceeds the average, and not for every millisecond in which a thread was not scheduled. */
#define P2C_QUIET_WEIGHT (1.0F / 2)
#define P2C_SUCCESS_WEIGHT_MIN (1.0F / 16)
#define P2C_FAILURE_WEIGHT_MIN (1.0F / 8)
/* The least success in a cost, so that costs stay finite. */
#define P2C_SUCCESS_FLOOR 0.01F
/* A backend with less success is failing, and is not probed. */
#define P2C_HEALTHY_SUCCESS 0.5F
/* From here on success counts as complete. This value itself: complete, but places are held for the backend. */
#define P2C_NEARLY_ONE 0.9999F
/* After this number of early ends in a row that are not OK the average is stale: it is too old to be compared with the
 * others' averages, and would attract all calls or none. */
#define P2C_STALE_ENDS 4
/* From this number on the average is forgotten: measured at a bad moment, it would otherwise be in force until the next
 * OK, which may never come. */
#define P2C_FORGOTTEN_ENDS 16
/* Places that are held per early end. The in-flight counts of other backends vary and the held places do not, so that
 * with one place per end the backend would win more than its share of the comparisons. */
#define P2C_HELD_PLACES 1.75F
/* Stands for a latency while none is known at all: then only the calls in flight count. Known ones are 1 or more. */
#define P2C_UNKNOWN_NS 0.5F

/* What the backends of a policy have in common. */
typedef struct p2c_common {
    evener_loop *loop; /* done needs the time */
    float decay_ns;    /* of the configuration in force, as the next one */
    uint32_t failure_codes;
    uint32_t references; /* of the policy and of backends; control thread only */
    bool is_go_zero;     /* it begins a p2c_go_zero_stats (p2c_internal.h), of one backend */
} p2c_common;

/* The first cache line is what a pick compares. */
typedef struct p2c_stats {
    evener_subchannel *subchannel; /* the first member, which the base policy writes (base_lean.h) */
    p2c_common *common;            /* owned; NULL until its first picker. The control thread writes */
    uint64_t progress_ns;          /* the last answer, or when the oldest call begun since then began */
    uint64_t updated_ns;           /* the last answer: any end but that of a call cancelled or not sent */
    float latency_ns;              /* average; 0: nothing known */
    float spread_ns;               /* mean deviation from it */
    float success;                 /* average, 0 to 1 */
    float weight_inverse;          /* mean weight / weight; set by the control thread */
    uint32_t in_flight;            /* unary calls */
    uint32_t answered_around;      /* of these, the ones that began before the last answer */
    uint32_t streams;              /* open */
    uint32_t early_ends; /* ends not OK earlier than usual, less those later than others' usual; an OK resets it */

    /* The second one is written by a backend's first pick in a millisecond and read when calls end not OK. */
    uint64_t picked_ns; /* the last pick, for the probe */
    uint64_t ready_ns;  /* where its slow start began; the control thread writes */
    evener_held held;   /* for calls that ended early and not OK; see p2c_generation() */
    float usual_ns;     /* others' usual latency, stored by picks while the average is unknown or stale; otherwise 0 */
    float other_ns;     /* while latency_ns is 0: average of ends that were not OK; otherwise what latency_ns would be
                            without such ends that raised it; 0: there are none */
} p2c_stats;

_Static_assert(offsetof(p2c_stats, picked_ns) == 64, "a pick compares one cache line per candidate");
/* With the base policy's and the subchannel's own data, three cache lines per backend. */
_Static_assert(sizeof(p2c_stats) <= 104, "24 bytes of the second cache line are for others");

/* The generation of the last picker that held the backend; 0: none yet. Control thread only. */
static inline uint32_t *p2c_generation(p2c_stats *stats)
{
    return &stats->held.of_owner;
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

/* Return the common data of a backend that a picker held. */
static inline p2c_common *p2c_common_of(const p2c_stats *stats)
{
    return __atomic_load_n(&stats->common, __ATOMIC_ACQUIRE);
}

static inline float p2c_decay_ns(const p2c_stats *stats)
{
    return p2c_get(&p2c_common_of(stats)->decay_ns);
}

/* Return whether a code counts as a failure of the backend. */
static inline bool p2c_is_failure(const p2c_stats *stats, evener_status_code code)
{
    return evener_is_failure(__atomic_load_n(&p2c_common_of(stats)->failure_codes, __ATOMIC_RELAXED), code);
}

/* The bits of a number that is not below 0: they compare as the number does, and need no register of another kind. */
static inline uint32_t p2c_bits(const float *value)
{
    const float number = p2c_get(value);
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

#define P2C_BITS_OF_ONE UINT32_C(0x3F800000)

/* Return the time from `since_ns` to `now_ns`, never below 0: the clocks of two threads may differ by a little. */
static inline float p2c_elapsed_ns(uint64_t now_ns, uint64_t since_ns)
{
    const float elapsed_ns = (float)(int64_t)(now_ns - since_ns);
    return elapsed_ns > 0.0F ? elapsed_ns : 0.0F;
}

/* Return the success after a silence: failures fade, as a backend without calls cannot show that it has recovered. */
static inline float p2c_relaxed_success(float success, float quiet_ns, float decay_ns)
{
    const float kept = decay_ns / (decay_ns + quiet_ns);
    return 1.0F - (1.0F - success) * kept * kept;
}

/* ---- the cost of a backend ---- */

/* What is usual among the backends that get picked. */
typedef struct p2c_usual {
    float latency_ns; /* stands for an unknown latency; a stale one is raised to it */
    float crowding;   /* 1 / (1 + calls in flight) */
} p2c_usual;

/* Return the unary calls begun since the last answer. Threads that begin and end calls at the same moment may make it
 * wrong by some, below 0 too, until the next answer. */
static inline int32_t p2c_unanswered(const p2c_stats *stats, uint32_t in_flight)
{
    return (int32_t)(in_flight - __atomic_load_n(&stats->answered_around, __ATOMIC_RELAXED));
}

/* Return for how long calls have gone unanswered. If all of them were cancelled, only until the last one began: a
 * backend that gets no calls is not hung. */
static inline float p2c_waited_ns(const p2c_stats *stats, uint32_t in_flight, uint64_t now_ns)
{
    const uint64_t until_ns = in_flight > 0 ? now_ns : __atomic_load_n(&stats->picked_ns, __ATOMIC_RELAXED);
    return p2c_elapsed_ns(until_ns, __atomic_load_n(&stats->progress_ns, __ATOMIC_RELAXED));
}

/* Return the average, or the usual latency of others where that is more and the average is unknown or stale; 0: nothing
 * is known at all. */
static inline float p2c_usual_call_ns(const p2c_stats *stats)
{
    const float latency_ns = p2c_get(&stats->latency_ns);
    const float usual_ns = p2c_get(&stats->usual_ns);
    return latency_ns > usual_ns ? latency_ns : usual_ns;
}

/* Return the latency for a cost. One that is unknown or stale is no reason to prefer the backend: it counts as that of
 * its opponent or as the usual one, whichever is more. That is then noted, for the ends of the backend's calls. */
static inline float p2c_latency(p2c_stats *stats, const p2c_stats *opponent, float success, const p2c_usual *usual)
{
    const float latency_ns = p2c_get(&stats->latency_ns);
    const uint32_t early_ends = success < 1.0F ? __atomic_load_n(&stats->early_ends, __ATOMIC_RELAXED) : 0;
    const bool stale = early_ends >= P2C_STALE_ENDS;
    if (latency_ns != 0.0F && !stale) {
        return latency_ns;
    }
    const float opponent_ns = opponent != NULL ? p2c_get(&opponent->latency_ns) : 0.0F;
    const float usual_ns = opponent_ns > usual->latency_ns ? opponent_ns : usual->latency_ns;
    const bool forgotten = early_ends >= P2C_FORGOTTEN_ENDS && usual_ns > P2C_UNKNOWN_NS;
    const float known_ns = forgotten ? 0.0F : latency_ns;
    const float least_ns = latency_ns != 0.0F ? known_ns : p2c_get(&stats->other_ns);
    if (usual_ns > P2C_UNKNOWN_NS && p2c_get(&stats->usual_ns) != usual_ns) {
        p2c_set(&stats->usual_ns, usual_ns);
    }
    return least_ns > usual_ns ? least_ns : usual_ns;
}

/* Return p2c_cost() of any backend, with `busy` calls as its load. */
static __attribute__((noinline)) float p2c_cost_of_any(p2c_stats *stats, const p2c_stats *opponent, uint64_t now_ns,
                                                       const p2c_usual *usual, uint32_t busy)
{
    const uint32_t in_flight = __atomic_load_n(&stats->in_flight, __ATOMIC_RELAXED);
    const float quiet_ns = p2c_elapsed_ns(now_ns, __atomic_load_n(&stats->progress_ns, __ATOMIC_RELAXED));
    const float success = p2c_get(&stats->success);
    float load = (float)busy;
    float latency_ns = p2c_latency(stats, opponent, success, usual);
    if (success < 1.0F) {
        load += evener_held_now(&stats->held, now_ns, latency_ns);
    }
    if (p2c_unanswered(stats, in_flight) > 0) {
        const float waited_ns = p2c_waited_ns(stats, in_flight, now_ns) * P2C_QUIET_WEIGHT;
        latency_ns = waited_ns > latency_ns ? waited_ns : latency_ns;
    } else {
        const float decay_ns = p2c_decay_ns(stats);
        if (quiet_ns > decay_ns) {
            latency_ns = usual->latency_ns + (latency_ns - usual->latency_ns) * (decay_ns / quiet_ns);
        }
    }
    float cost = latency_ns * (1.0F + load * p2c_get(&stats->weight_inverse) * usual->crowding);
    if (success < 1.0F) {
        float relaxed = p2c_relaxed_success(success, quiet_ns, p2c_decay_ns(stats));
        relaxed = relaxed > P2C_SUCCESS_FLOOR ? relaxed : P2C_SUCCESS_FLOOR;
        const float squared = relaxed * relaxed;
        cost /= squared * squared;
    }
    return cost;
}

/* Return the cost for a unary call, in nanoseconds: about how long a further one would take. `opponent` is the backend
 * it is compared with, or NULL. The short path is for a backend that answers and has no failures. */
static inline float p2c_cost(p2c_stats *stats, const p2c_stats *opponent, uint64_t now_ns, const p2c_usual *usual)
{
    const float latency_ns = p2c_get(&stats->latency_ns);
    const uint64_t quiet_ns = now_ns - __atomic_load_n(&stats->progress_ns, __ATOMIC_RELAXED);
    const uint32_t in_flight = __atomic_load_n(&stats->in_flight, __ATOMIC_RELAXED);
    if (!((float)(int64_t)quiet_ns * P2C_QUIET_WEIGHT < latency_ns) || p2c_bits(&stats->success) != P2C_BITS_OF_ONE) {
        return p2c_cost_of_any(stats, opponent, now_ns, usual, in_flight);
    }
    return latency_ns * (1.0F + (float)in_flight * p2c_get(&stats->weight_inverse) * usual->crowding);
}

/* Return the cost for a stream; the load is the number of open streams. */
static inline float p2c_cost_of_stream(p2c_stats *stats, const p2c_stats *opponent, uint64_t now_ns,
                                       const p2c_usual *usual)
{
    return p2c_cost_of_any(stats, opponent, now_ns, usual, __atomic_load_n(&stats->streams, __ATOMIC_RELAXED));
}

/* Return whether the cost for a unary call is the plain latency: no call in flight, no failures, and an answer within
 * the decay. One branch for all conditions, as they nearly always hold. */
static inline bool p2c_is_calm(const p2c_stats *stats, uint64_t now_ns, uint64_t decay_ns)
{
    const uint32_t in_flight = __atomic_load_n(&stats->in_flight, __ATOMIC_RELAXED);
    const uint32_t against = p2c_bits(&stats->success) ^ P2C_BITS_OF_ONE;
    const uint64_t quiet_ns = now_ns - __atomic_load_n(&stats->progress_ns, __ATOMIC_RELAXED);
    return ((in_flight | against) == 0) & (p2c_bits(&stats->latency_ns) != 0) & (quiet_ns <= decay_ns);
}

/* Return whether an average may be higher than another by `difference_ns` by chance: within the uncertainty that
 * results from the time since its last answer. */
static inline bool p2c_is_noise(const p2c_stats *higher, float difference_ns, uint64_t now_ns)
{
    const float quiet_ns = p2c_elapsed_ns(now_ns, __atomic_load_n(&higher->updated_ns, __ATOMIC_RELAXED));
    const float certain_ns = (float)P2C_CERTAIN_NS;
    const float by_time = quiet_ns < certain_ns ? quiet_ns / certain_ns : 1.0F;
    const float uncertain = by_time > P2C_UNCERTAIN_MIN ? by_time : P2C_UNCERTAIN_MIN;
    return difference_ns < p2c_get(&higher->spread_ns) * P2C_NOISE * uncertain;
}

/* Return the success as it counts now. */
static inline float p2c_success(const p2c_stats *stats, uint64_t now_ns)
{
    const float quiet_ns = p2c_elapsed_ns(now_ns, __atomic_load_n(&stats->progress_ns, __ATOMIC_RELAXED));
    return p2c_relaxed_success(p2c_get(&stats->success), quiet_ns, p2c_decay_ns(stats));
}

/* ---- the beginning of a call ---- */

/* Shorter than any call over a network, and about the time in which another thread sees a change. */
#define P2C_BRIEF_NS 65536
#define P2C_BITS_OF_BRIEF UINT32_C(0x47800000)
/* The word of a pick: when it began, to 2 ns, and whether its call is a glance or a stream. */
#define P2C_GLANCE UINT64_C(1)
#define P2C_STREAM (UINT64_C(1) << 63)
#define P2C_KIND (P2C_GLANCE | P2C_STREAM)
/* picked_ns is written if it is older than this: the cache line stays shared. */
#define P2C_PICKED_STEP_NS EVENER_NS_PER_MS

/* Return whether the call may be a glance. Compared as bits: one comparison covers "known" (not 0) and "brief". */
static inline bool p2c_may_glance(const p2c_stats *stats, uint64_t now_ns, uint32_t lane)
{
    const uint64_t quiet_ns = now_ns - __atomic_load_n(&stats->updated_ns, __ATOMIC_RELAXED);
    return quiet_ns < P2C_BRIEF_NS && p2c_bits(&stats->latency_ns) - 1 < P2C_BITS_OF_BRIEF - 1 &&
           p2c_bits(&stats->success) == P2C_BITS_OF_ONE && evener_glance_may_begin(lane);
}

static inline void p2c_note_pick(p2c_stats *stats, uint64_t now_ns)
{
    if (now_ns - __atomic_load_n(&stats->picked_ns, __ATOMIC_RELAXED) > P2C_PICKED_STEP_NS) {
        __atomic_store_n(&stats->picked_ns, now_ns, __ATOMIC_RELAXED);
    }
}

/* Begin a unary call. Return the pick's word. */
static inline uint64_t p2c_start(p2c_stats *stats, uint64_t now_ns, uint32_t lane)
{
    p2c_note_pick(stats, now_ns);
    if (p2c_may_glance(stats, now_ns, lane)) {
        evener_glance_begin(lane);
        return now_ns | P2C_GLANCE;
    }
    const uint32_t in_flight = __atomic_fetch_add(&stats->in_flight, 1, __ATOMIC_RELAXED);
    if (p2c_unanswered(stats, in_flight) <= 0) {
        __atomic_store_n(&stats->progress_ns, now_ns, __ATOMIC_RELAXED);
    }
    return now_ns & ~P2C_GLANCE;
}

/* Begin a stream. Return the pick's word. */
static inline uint64_t p2c_start_stream(p2c_stats *stats, uint64_t now_ns)
{
    p2c_note_pick(stats, now_ns);
    (void)__atomic_fetch_add(&stats->streams, 1, __ATOMIC_RELAXED);
    return (now_ns & ~P2C_KIND) | P2C_STREAM;
}

/* evener_pick_layer.done, with the p2c_stats as data and the word of p2c_start() or p2c_start_stream(). */
void p2c_done(void *data, uint64_t word, const evener_done_info *info, uint32_t lane);

#endif
