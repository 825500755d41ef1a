/* Attempts: the loop of an asynchronous RPC, until the result of one attempt is final.
 *
 *  (metadata that comes later: late_metadata.h)
 *    ▼
 *   pick ──COMPLETE──▶ begin ──▶ on the wire ──ended──▶ finished
 *    │ ▲                             │
 *    │ ├──── transparent retry ──────┤
 *    │ └──── backoff ◀── retry by policy (retry.h), also after a pick that failed
 *    └─QUEUE─▶ the channel calls back on the control thread with the pick, or with the reason to finish
 *
 * The thread that runs a step owns the RPC. Only cancellation comes from other threads: the mutex protects the
 * transport's call and the queued pick against it. Asynchronous unary calls (async.c) and streams (stream.c) embed an
 * evener_attempts. */
#ifndef EVENER_LB_CALL_ATTEMPTS_H
#define EVENER_LB_CALL_ATTEMPTS_H

#include <pthread.h>
#include <stdbool.h>

#include "lb/call/late_metadata.h"
#include "lb/call/rpc.h"

typedef struct evener_attempts evener_attempts;

/* What the owner adds. One function at a time per RPC, except `ref` and `unref`; never from inside
 * evener_attempts_start(). */
typedef struct evener_attempts_hooks {
    const evener_call_events *events; /* given to every attempt; `ended` is evener_attempts_ended() */
    /* Handle an attempt that has begun on a connection. Under the mutex. NULL: nothing to do. */
    void (*begun)(evener_attempts *attempts);
    /* Return whether the request can be sent again; may set is_committed. NULL: always. */
    bool (*may_repeat)(evener_attempts *attempts);
    /* Make the first attempt after metadata that came later. Control thread. NULL: pick. */
    void (*resumed)(evener_attempts *attempts);
    /* Handle the end, exactly once, after the pick was ended. `end` is that of the final attempt; NULL: none was
     * begun. */
    void (*finished)(evener_attempts *attempts, const evener_status *status, const evener_call_end *end);
    /* Take or give back a reference to the owner, held over steps after which the RPC may be freed. */
    void (*ref)(evener_attempts *attempts);
    void (*unref)(evener_attempts *attempts);
    const struct evener_hedge_hooks *hedged; /* what a hedged stream adds (hedge.h); NULL: the RPC is none */
} evener_attempts_hooks;

/* Where the RPC can be reached by evener_attempts_cancel(). */
typedef enum evener_attempts_place {
    EVENER_ATTEMPTS_NOWHERE = 0,    /* between two steps: the next one looks at `cancelled` */
    EVENER_ATTEMPTS_PICK_ASKED = 1, /* evener_channel_pick_async() has not returned */
    EVENER_ATTEMPTS_QUEUED = 2,     /* the channel's callback will come */
    EVENER_ATTEMPTS_WIRE = 3,       /* begun on a connection, `ended` has not come */
    EVENER_ATTEMPTS_FINISHED = 4,
    EVENER_ATTEMPTS_AGAIN = 5,    /* the task will pick */
    EVENER_ATTEMPTS_BACKOFF = 6,  /* the timer will pick, or the task finish if cancelled */
    EVENER_ATTEMPTS_METADATA = 7, /* the answer will come; timer or task finish at the deadline, or if cancelled */
    EVENER_ATTEMPTS_RESUMED = 8   /* the task will go on with the metadata that came */
} evener_attempts_place;

struct evener_attempts {
    const evener_attempts_hooks *hooks;
    evener_rpc rpc;
    evener_pick pick;
    evener_transport_call *wire; /* the owner's memory; its `arg` is this struct */
    evener_call_details *details;
    evener_call_begin_args begin; /* what the owner wants of every attempt; the rest is filled in */
    evener_pick_request pick_request;
    evener_task task;           /* holds a reference while it is pending */
    evener_timer backoff_timer; /* the control thread's; also for other waits */
    uint64_t again_at_ns;       /* with BACKOFF */
    bool is_committed;          /* no retry by policy */
    bool may_wait;              /* false: the caller blocks the control thread, so nothing may need it */
    uint32_t at_once;           /* attempts that followed one another on one stack */
    evener_late *late;          /* a reference; NULL: no metadata comes later */
    bool times_attempt; /* the timer runs for the timeout of an attempt, and holds a reference. Control thread */

    pthread_mutex_t mutex;
    bool cancelled;              /* under mutex, as the next three */
    bool is_answered;            /* a part of the answer to the attempt has come: its own timeout does not apply */
    uint64_t attempt_ends_ns;    /* of a stream's attempt: its own timeout; 0: none */
    evener_attempts_place place; /* under mutex */
    uint32_t pick_round;         /* under mutex: distinguishes one queued pick from the next */
};

/* Initialise the loop; hooks, rpc, wire, begin and details are set before. */
void evener_attempts_init(evener_attempts *attempts);
void evener_attempts_clear(evener_attempts *attempts);

/* Wait for metadata that comes later, and then call `resumed`. As evener_attempts_start(). */
evener_status_code evener_attempts_begin_late(evener_attempts *attempts, bool may_wait, evener_status *status);

/* Return whether metadata comes later. */
static inline bool evener_attempts_has_late(const evener_attempts *attempts)
{
    return __builtin_expect(attempts->late != NULL, 0);
}

/* Finish an RPC for which nothing is under way, from `resumed`. */
void evener_attempts_fail(evener_attempts *attempts, const evener_status *status);

/* Return whether the caller of the RPC has cancelled it. */
bool evener_attempts_is_cancelled(evener_attempts *attempts);

/* Start the first pick. Without `may_wait` neither it nor a later one waits for a backend: FAILED_PRECONDITION when
 * there is none then; the owner allows no retry by policy. Not OK: nothing is under way, and `finished` is not
 * called. */
evener_status_code evener_attempts_start(evener_attempts *attempts, bool may_wait, evener_status *status);

/* Start the RPC: wait for metadata that comes later, if any, or start the first pick. As evener_attempts_start(). */
static inline evener_status_code evener_attempts_begin(evener_attempts *attempts, bool may_wait, evener_status *status)
{
    return evener_attempts_has_late(attempts) ? evener_attempts_begin_late(attempts, may_wait, status)
                                              : evener_attempts_start(attempts, may_wait, status);
}

/* Ask for the end with CANCELLED. Any number of times, until the owner's memory goes. Any thread. */
void evener_attempts_cancel(evener_attempts *attempts);

/* Handle the event `ended` of the transport's call. */
void evener_attempts_ended(evener_transport_call *wire, const evener_call_end *end);

#endif
