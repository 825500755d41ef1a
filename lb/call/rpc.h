/* RPC: what all kinds of calls have in common: the part that outlives its attempts, the pick and the start of one
 * attempt, and the decision what the attempt's end means.
 *
 *     pick ──▶ begin on the connection ──▶ `ended` ──▶ done, or pick again (retry.h)
 *
 * Only what the transport *knows* decides whether an attempt is made again: see evener_fate. */
#ifndef EVENER_LB_CALL_RPC_H
#define EVENER_LB_CALL_RPC_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/call.h>
#include <evener/transport.h>

#include "lb/base/sibling.h"
#include "lb/channel/call_policy.h"

struct evener_retry;

typedef struct evener_rpc {
    evener_channel *channel; /* not counted here */
    const evener_transport_calls *calls;
    evener_pick_args pick_args; /* method and metadata: the caller's memory, or the asynchronous call's */
    const char *authority;      /* likewise; NULL: the connection's */
    uint64_t timeout_ms;        /* 0: no deadline */
    uint64_t deadline_ns;       /* of the loop's clock; UINT64_MAX: none */
    size_t receive_bytes_max;   /* of one message; 0: the transport's default */
    size_t send_bytes_max;      /* 0: none */
    evener_compression compression;
    uint32_t attempts;                 /* picks that were made */
    uint64_t first_message_ns;         /* of a stream: when the attempt's first message came; 0: none did */
    bool attempt_timed_out;            /* a stream's attempt was cancelled, as its own timeout has passed */
    bool refused_once;                 /* a server has refused the call unprocessed (A6: made again once) */
    uint32_t retries;                  /* attempts after the first one that the policy allowed */
    uint32_t attempts_max;             /* first one included; the policy's or the channel's limit */
    double breaker_k;                  /* 0: no breaker */
    uint64_t attempt_deadline_ns;      /* of the attempt under way; at most deadline_ns */
    evener_call_policy policy;         /* kind NONE: no retries by policy */
    struct evener_method_state *state; /* the channel's counters; NULL: none */
    struct evener_retry *retry;        /* NULL until the first of them; freed by evener_retry_clear() */
} evener_rpc;

/* Check what a call was given, and store its options (`given` may be NULL, or an older program's) as this library knows
 * them in *options. Errors: INVALID_ARGUMENT, FAILED_PRECONDITION (the transport carries no calls). Any thread. */
EVENER_SIBLING evener_status_code evener_rpc_check(evener_channel *channel, const char *method,
                                                   const evener_call_options *given, evener_call_options *options,
                                                   evener_status *status);

/* Start the clock: the deadline runs from here. Any thread. */
EVENER_SIBLING void evener_rpc_init(evener_rpc *rpc, evener_channel *channel, const char *method,
                                    const evener_call_options *options);

/* Count the call, and ask the breaker if the method has one; once, after evener_rpc_init(). Not OK: the call must not be
 * made. Errors: UNAVAILABLE. */
evener_status_code evener_rpc_admit_counted(evener_rpc *rpc, evener_status *status);
static inline evener_status_code evener_rpc_admit(evener_rpc *rpc, evener_status *status)
{
    return __builtin_expect(rpc->state == NULL, 1) ? EVENER_STATUS_OK : evener_rpc_admit_counted(rpc, status);
}

/* Report the end of a call that was admitted to the breaker, if there is one; once. */
void evener_rpc_report_to_breaker(const evener_rpc *rpc, evener_status_code code);
static inline void evener_rpc_report(const evener_rpc *rpc, evener_status_code code)
{
    if (__builtin_expect(rpc->breaker_k > 0, 0)) {
        evener_rpc_report_to_breaker(rpc, code);
    }
}

/* Set the time that is left for the next pick; call it before every pick. False: no time is left. */
EVENER_SIBLING bool evener_rpc_set_pick_timeout(evener_rpc *rpc);

/* Fill and return the status of a call whose deadline passed before it had a backend. */
EVENER_SIBLING evener_status_code evener_rpc_deadline_status(const evener_rpc *rpc, evener_status *status);

/* Fill what the RPC knows into the arguments of an attempt on the pick; the rest is the caller's to set. Counts the
 * attempt, and starts the timeout of a unary call's attempt. */
void evener_rpc_fill_begin_args(evener_rpc *rpc, const evener_pick *pick, evener_call_begin_args *args);

/* Return whether it is `deadline_ns`, or nearly: a server that counts a timeout in its own milliseconds may be early by
 * one or two. */
bool evener_rpc_is_about(const evener_rpc *rpc, uint64_t deadline_ns);

/* Set the status that the application gets for a final attempt. */
void evener_rpc_set_status(const evener_rpc *rpc, const evener_pick *pick, const evener_call_end *end,
                           evener_status *status);

/* Fill the details, which may be NULL, of an attempt that stands and has this status. */
void evener_rpc_fill_details(const evener_pick *pick, const evener_call_end *end, const evener_status *status,
                             evener_call_details *details);

/* End the attempt's pick: policies and statistics learn how it went at the picked backend. */
void evener_rpc_end_pick(const evener_rpc *rpc, evener_pick *pick, const evener_call_end *end);

/* End a pick on which nothing was begun. */
EVENER_SIBLING void evener_rpc_drop_pick(evener_pick *pick, evener_status_code code);

/* Return whether a wait for a backend on this thread would wait for the thread itself: the control thread, or one that
 * drives the loop. */
bool evener_rpc_waits_for_itself(const evener_rpc *rpc);

/* Return the size of the transport's part of a call, rounded up to its alignment. */
static inline size_t evener_rpc_call_bytes(const evener_transport_calls *calls)
{
    return (calls->call_bytes + 63) & ~(size_t)63;
}

#endif
