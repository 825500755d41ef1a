#include "lb/policy/least_request_load.h"

#include <math.h>

#include "lb/policy/failure_codes.h"
#include "lb/policy/glance.h"

/* About the time in which another thread sees a change; no call over a network is as short. */
#define BRIEF_NS (10 * EVENER_NS_PER_US)
/* One call in eight, by its start, updates the usual time. */
#define LEARNS_FROM UINT64_C(0x38)
/* Held for a call that ended with a failure code: the backend gets less than a tenth of its share. */
#define FAILED_PLACES 16.0F
/* The time of these places doubles with each such code in a row above FAILURES_FEW, up to this (or the usual time, if
 * that is longer). From FAILING_FROM in a row on the backend is failing. An OK halves their number. */
#define FAILED_HOLD_NS ((float)EVENER_NS_PER_S)
#define FAILURES_FEW 4
#define FAILING_FROM 8
/* Stands for the usual time of a backend that failed before any answer of a peer. */
#define UNKNOWN_USUAL_NS ((float)(10 * EVENER_NS_PER_MS))
#define FAILURES_MAX 30
/* Held for a call that ended early with another code: with one place alone the backend would win more than its share,
 * as other counts vary and held places do not. */
#define EARLY_PLACES 4.0F

double least_request_held_load(const least_request_backend *b, uint64_t now_ns)
{
    const unsigned failures = __atomic_load_n(&b->failures, __ATOMIC_RELAXED);
    const unsigned more = failures > FAILURES_FEW ? failures - FAILURES_FEW : 0;
    const float usual_ns = least_request_is_zero(&b->usual_ns) ? UNKNOWN_USUAL_NS : least_request_get(&b->usual_ns);
    const float longest_ns = usual_ns > FAILED_HOLD_NS ? usual_ns : FAILED_HOLD_NS;
    const float hold_ns = fminf(usual_ns * (float)(1U << more), longest_ns);
    const double places = (double)evener_held_now(&b->held, now_ns, hold_ns);
    return failures >= FAILING_FROM && places > 0 ? LEAST_REQUEST_FAILING_LOAD + places : places;
}

/* Hold the place of a call that ended not OK. */
static __attribute__((noinline)) void hold(least_request_backend *chosen, uint64_t word, evener_status_code code)
{
    const uint64_t now_ns = evener_loop_now_fast_ns(chosen->loop);
    const float usual_ns = least_request_get(&chosen->usual_ns);
    const bool timed = word >= LEAST_REQUEST_WORD_TIME_MIN && word != LEAST_REQUEST_WORD_STREAM;
    const float took_ns = timed ? (float)(int64_t)(now_ns - word) : 0.0F;
    const bool failed = evener_is_failure(__atomic_load_n(&chosen->failure_codes, __ATOMIC_RELAXED), code);
    if (failed) {
        const uint8_t failures = __atomic_load_n(&chosen->failures, __ATOMIC_RELAXED);
        __atomic_store_n(&chosen->failures, (uint8_t)(failures < FAILURES_MAX ? failures + 1 : FAILURES_MAX),
                         __ATOMIC_RELAXED);
        __atomic_store_n(&chosen->brief, false, __ATOMIC_RELAXED); /* time all calls: an OK is to be noticed */
        evener_held_add(&chosen->held, now_ns, usual_ns == 0.0F ? UNKNOWN_USUAL_NS : usual_ns, FAILED_PLACES);
    } else if (took_ns < usual_ns && word != LEAST_REQUEST_WORD_STREAM) {
        evener_held_add(&chosen->held, now_ns, usual_ns, EARLY_PLACES * (1.0F - took_ns / usual_ns));
    }
}

/* Halve the number of failures in a row, after an OK. Return whether there were any. */
static inline bool forgive_half(least_request_backend *chosen)
{
    const uint8_t failures = __atomic_load_n(&chosen->failures, __ATOMIC_RELAXED);
    if (__builtin_expect(failures != 0, 0)) {
        __atomic_store_n(&chosen->failures, (uint8_t)(failures / 2), __ATOMIC_RELAXED);
    }
    return failures != 0;
}

static void learn(least_request_backend *chosen, float took_ns)
{
    const float usual_ns = least_request_get(&chosen->usual_ns);
    least_request_set(&chosen->usual_ns,
                      usual_ns == 0.0F ? took_ns : usual_ns + (took_ns - usual_ns) * LEAST_REQUEST_USUAL_WEIGHT);
    __atomic_store_n(&chosen->knows_usual, true, __ATOMIC_RELAXED);
}

void least_request_call_is_done(void *data, uint64_t word, const evener_done_info *info, uint32_t lane)
{
    least_request_backend *chosen = data;
    if (__builtin_expect(word == LEAST_REQUEST_WORD_GLANCE, 1)) {
        evener_glance_end(lane);
    } else if (word == LEAST_REQUEST_WORD_STREAM) {
        (void)__atomic_fetch_sub(&chosen->streams, 1, __ATOMIC_RELAXED);
        if (info->code == EVENER_STATUS_OK && !info->not_sent) {
            (void)forgive_half(chosen);
        }
    } else {
        (void)__atomic_fetch_sub(&chosen->in_flight, 1, __ATOMIC_RELAXED);
    }
    if (__builtin_expect(info->code != EVENER_STATUS_OK, 0)) {
        if (!info->not_sent) {
            hold(chosen, word, info->code);
        }
        return;
    }
    if (word >= LEAST_REQUEST_WORD_TIME_MIN && word != LEAST_REQUEST_WORD_STREAM && !info->not_sent) {
        const uint64_t took_ns = evener_loop_now_fast_ns(chosen->loop) - word;
        const bool brief = !forgive_half(chosen) && (int64_t)took_ns < (int64_t)BRIEF_NS &&
                           least_request_get(&chosen->usual_ns) < (float)BRIEF_NS;
        if (__atomic_load_n(&chosen->brief, __ATOMIC_RELAXED) != brief) {
            __atomic_store_n(&chosen->brief, brief, __ATOMIC_RELAXED);
        }
        if (((word & LEARNS_FROM) == 0 || least_request_is_zero(&chosen->usual_ns)) && (int64_t)took_ns > 0) {
            learn(chosen, (float)took_ns);
        }
    }
}

void least_request_forgive_after_reconnect(least_request_backend *known, uint64_t ready_since_ns)
{
    if (__atomic_load_n(&known->failures, __ATOMIC_RELAXED) != 0 &&
        __atomic_load_n(&known->held.at_ns, __ATOMIC_RELAXED) < ready_since_ns) {
        __atomic_store_n(&known->failures, 0, __ATOMIC_RELAXED);
        least_request_set(&known->held.places, 0.0F);
    }
}
