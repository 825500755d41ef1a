/* The load of least_request: what is known of one backend, and how the end of a call changes it.
 *
 * Ends that are not OK. One that comes earlier than usual keeps its place in the count until the usual time has passed
 * (held.h): a backend that refuses at once must not look idle. A code of `failureCodes` holds FAILED_PLACES places, the
 * longer the more such codes came in a row, up to FAILED_HOLD_NS. From FAILING_FROM on the backend is failing: while
 * places are held it gets calls only if all others that a pick looks at are failing, too. So it gets a call every few
 * seconds, however few the calls and however large its weight. A new connection starts without failures.
 *
 * Where calls take less than BRIEF_NS, counting would cost more than the call, and the threads would contend for the
 * cache lines. Of these calls each thread leaves one at a time uncounted (glance.h). Calls are timed to know whether
 * they are so short: all until one was, then one in TIMED_PICKS. */
#ifndef EVENER_LB_POLICY_LEAST_REQUEST_LOAD_H
#define EVENER_LB_POLICY_LEAST_REQUEST_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <evener/loop.h>
#include <evener/picker.h>
#include <evener/subchannel.h>

#include "lb/policy/held.h"

/* Added to the load of a failing backend: more calls than any other has in flight. */
#define LEAST_REQUEST_FAILING_LOAD 0x1p28

/* Weight of a new time in an average of usual times. */
#define LEAST_REQUEST_USUAL_WEIGHT (1.0F / 8)

/* The word of a pick: a glance; counted only; counted and timed (when it began, to 2 ns); a stream. */
#define LEAST_REQUEST_WORD_COUNTED UINT64_C(0)
#define LEAST_REQUEST_WORD_GLANCE UINT64_C(1)
#define LEAST_REQUEST_WORD_TIME_MIN UINT64_C(2)
#define LEAST_REQUEST_WORD_STREAM UINT64_MAX

/* What is known of one backend: evener_subchannel_data(). */
typedef struct least_request_backend {
    evener_subchannel *subchannel; /* set with the first picker that has it, before any pick */
    evener_loop *loop;             /* likewise */
    /* atomic */
    uint32_t in_flight; /* unary calls without glances */
    uint32_t streams;   /* open */
    uint32_t failure_codes;
    float usual_ns;   /* average time of calls that end OK; that of peers before the first one; 0: not known */
    evener_held held; /* for calls that ended early and not OK */
    uint8_t failures; /* ends in a row with a code of failure_codes */
    bool knows_usual; /* usual_ns is its own */
    bool brief;       /* calls are short: the last timed one, and the average */
} least_request_backend;

_Static_assert(sizeof(least_request_backend) <= 64, "one cache line per candidate");

static inline float least_request_get(const float *value)
{
    float copy;
    __atomic_load(value, &copy, __ATOMIC_RELAXED);
    return copy;
}

static inline void least_request_set(float *value, float number)
{
    __atomic_store(value, &number, __ATOMIC_RELAXED);
}

/* Return whether a number that is not below 0 is 0, without a floating-point register. */
static inline bool least_request_is_zero(const float *value)
{
    const float copy = least_request_get(value);
    uint32_t bits;
    memcpy(&bits, &copy, sizeof bits);
    return bits == 0;
}

/* Return the places that are held; if the backend is failing, LEAST_REQUEST_FAILING_LOAD and more. */
double least_request_held_load(const least_request_backend *b, uint64_t now_ns);

/* End a call: `done` of the pick's layer, with the backend as its data. */
void least_request_call_is_done(void *data, uint64_t word, const evener_done_info *info, uint32_t lane);

/* Forget the failures from before the connection: the backend may be another process, of which they say nothing. */
void least_request_forgive_after_reconnect(least_request_backend *known, uint64_t ready_since_ns);

#endif
