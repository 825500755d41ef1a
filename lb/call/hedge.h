/* Hedging (A6): a call that is attempted several times at once. The first attempt starts with the call, a further
 * one after each hedging delay, and at once when one ends with a non-fatal status. OK, or a fatal status, is the answer
 * and cancels the others. When all have failed the last one's status is the answer. One that gets no backend for a
 * reason of the channel's (it closes, a limit, memory) leaves those under way alone, and is the last one.
 *
 *              ┌─ child 0: evener_attempts ─┐
 *     call ──▶ hedge ─ child 1 ...          ├─▶ the first decisive end ──▶ the call's `finished`, once
 *              └─ timer, control thread     ┘   the others are cancelled and freed when they have ended
 *
 * Each child is the loop of attempts without a policy of its own, so it makes transparent retries by itself.
 *
 * A stream is committed before its end, to the child whose answer begins first: evener_hedge_commit(). That child's end
 * is the stream's, whatever it is. */
#ifndef EVENER_LB_CALL_HEDGE_H
#define EVENER_LB_CALL_HEDGE_H

#include "lb/call/attempts.h"
#include "lb/call/line.h"

/* Attempts of one hedged call at most, whatever policy and channel say. */
#define EVENER_HEDGES_MAX 16

typedef struct evener_hedge evener_hedge;

/* What a stream adds. Functions of different children run at the same time. */
typedef struct evener_hedge_hooks {
    const evener_call_events *events; /* of every attempt; `ended` ends with evener_attempts_ended() */
    /* Handle an attempt of the child that has begun. Under the child's mutex. */
    void (*begun)(evener_attempts *child);
    /* As may_repeat of evener_attempts_hooks. */
    bool (*may_repeat)(evener_attempts *child);
    /* Note that the end of this child is the stream's; before `finished`. */
    void (*chosen)(evener_attempts *child);
} evener_hedge_hooks;

/* Return whether the call is hedged. */
bool evener_hedge_is_wanted(const evener_rpc *rpc);

/* Start a hedged call. `call` is what a loop of one attempt would have been started with; its memory is held (hooks
 * ref, unref) until all attempts have ended, and hooks->finished is called once. Store the hedge in *hedge, for
 * cancelling; it is freed with the call's memory. Not OK: nothing is under way, and `finished` is not called. */
evener_status_code evener_hedge_start(evener_attempts *call, evener_hedge **hedge, evener_status *status);

/* Free the hedge of a call whose last reference has gone. NULL is allowed. */
void evener_hedge_free(evener_hedge *hedge);

/* Return what a child (its attempts) is of: the call that evener_hedge_start() was given. */
evener_attempts *evener_hedge_call_of(evener_attempts *attempts);

/* Return the child's line, which lives as long as the hedge. */
evener_line *evener_hedge_line_of(evener_attempts *attempts);

/* Commit a stream to the child: the others are cancelled soon, by the control thread, and no further one starts.
 * `has_answer`: because its answer has begun. False: another child was chosen, or the stream ends. The caller makes sure that the child does not end meanwhile. Any thread. */
bool evener_hedge_commit(evener_attempts *attempts, bool has_answer);

/* Ask for the end with CANCELLED. Any number of times; any thread that holds the call. */
void evener_hedge_cancel(evener_hedge *hedge);

#endif
