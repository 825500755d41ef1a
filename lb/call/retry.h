/* Retries (A6, client retries): the decision what follows an attempt that has ended, or a pick that failed.
 *
 * Transparent retries are made at once, and are not counted: the transport reports that the attempt was certainly not
 * processed. Retries by policy are made after a delay, as long as the policy, the throttle and the server's pushback
 * allow another one, and nothing of an answer was given to the application (the call is not committed).
 *
 * The state of an RPC that was retried comes out of a pool with the first failure: calls that succeed pay nothing. */
#ifndef EVENER_LB_CALL_RETRY_H
#define EVENER_LB_CALL_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lb/call/rpc.h"
#include "lb/channel/channel_internal.h"

/* A6: messages that were sent are kept for further attempts up to this sum per call; above it the call is committed. */
#define EVENER_RETRY_BUFFER_BYTES ((size_t)256 * 1024)

/* Backends that a call avoids, the latest ones. */
#define EVENER_TRIED_MAX 8

struct evener_retry {
    uint32_t backoffs;  /* since the start, or since the server's last pushback */
    evener_status last; /* of the latest attempt, with its backend */
    size_t tried_count;
    const char *tried[EVENER_TRIED_MAX]; /* into `addresses` */
    char addresses[EVENER_TRIED_MAX][EVENER_ADDRESS_BYTES_MAX];
};

typedef enum evener_retry_step {
    EVENER_RETRY_FINISH = 0,  /* the result stands */
    EVENER_RETRY_AT_ONCE = 1, /* pick again now: a transparent retry */
    EVENER_RETRY_LATER = 2    /* pick again when the delay has passed, unless the deadline comes first */
} evener_retry_step;

/* What the owner of the RPC knows. */
typedef struct evener_retry_facts {
    bool cancelled;
    bool may_repeat; /* the request can be sent again */
    bool committed;  /* the application has seen a part of the answer, or cannot wait: no retry by policy */
} evener_retry_facts;

/* Return whether the result of an attempt stands and nothing is to be counted: success without throttling, the usual
 * case. */
static inline bool evener_retry_is_over(const evener_rpc *rpc, const evener_call_end *end)
{
    return end->code == EVENER_STATUS_OK &&
           __atomic_load_n(&evener_channel_throttle(rpc->channel)->max_milli, __ATOMIC_RELAXED) == 0;
}

/* Judge an attempt that has ended; once per attempt, before its pick is ended: it counts. With LATER set *delay_ns. */
evener_retry_step evener_retry_after_attempt(evener_rpc *rpc, const evener_pick *pick, const evener_call_end *end,
                                             evener_retry_facts facts, uint64_t *delay_ns);

/* Judge a pick that found no backend; once per pick. */
evener_retry_step evener_retry_after_pick(evener_rpc *rpc, const evener_pick *pick, const evener_status *status,
                                          evener_retry_facts facts, uint64_t *delay_ns);

/* Sleep for the delay, or until the deadline: false. For blocking callers. */
bool evener_retry_sleep(const evener_rpc *rpc, uint64_t delay_ns);

/* Return a number uniform in [0, 1): one sequence per channel (splitmix64). Any thread. */
double evener_retry_random(evener_channel *channel);

/* Free the state of retries. Any thread; once nothing of the RPC is under way. */
void evener_retry_free(evener_rpc *rpc);
static inline void evener_retry_clear(evener_rpc *rpc)
{
    if (__builtin_expect(rpc->retry != NULL, 0)) {
        evener_retry_free(rpc);
    }
}

/* Return whether an attempt ended because of its own timeout, before the RPC's. */
bool evener_retry_attempt_timed_out(const evener_rpc *rpc, const evener_call_end *end);

/* Return whether the end commits the call: the server's headers came. */
bool evener_retry_headers_came(const evener_call_end *end);

/* Return the server's pushback (A6) in *ms, -1: never again. False: it sent none. */
bool evener_retry_pushback(const evener_call_end *end, int32_t *ms);

#endif
