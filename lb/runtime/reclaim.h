/* Reclaim: ends what readers under RCU may still see, after a grace period, on the control thread.
 *
 *     evener_rcu_assign(self->thing, NULL);
 *     old->reclaim.fn = thing_free;
 *     old->reclaim.arg = old;
 *     evener_runtime_reclaim(runtime, &old->reclaim);
 *
 * The control thread never waits for the grace period: a runtime with its own loop has a reclaimer thread that does, a
 * batch at a time. On a caller's loop a posted task waits for it (readers are short). */
#ifndef EVENER_LB_RUNTIME_RECLAIM_H
#define EVENER_LB_RUNTIME_RECLAIM_H

#include <stdbool.h>

#include <evener/loop.h>
#include <evener/runtime.h>
#include <evener/status.h>

/* Embedded in what is to be ended: reclaiming allocates nothing and cannot fail. `fn` and `arg` are the caller's. */
typedef struct evener_reclaim {
    evener_task_fn fn;
    void *arg;
    struct evener_reclaim *next;
} evener_reclaim;

/* Runs item->fn(item->arg) after a grace period, on the control thread, in the order of the calls. Items that still
 * wait when the runtime ends run then. Control thread. */
void evener_runtime_reclaim(evener_runtime *runtime, evener_reclaim *item);

/* ---- for the runtime ---- */

typedef struct evener_reclaimer evener_reclaimer;

/* With `own_thread` starts a thread of that name, else waits in tasks on `loop`. Errors: RESOURCE_EXHAUSTED, INTERNAL.
 * Any thread. */
evener_status_code evener_reclaimer_create(evener_loop *loop, bool own_thread, const char *thread_name,
                                           evener_reclaimer **reclaimer, evener_status *status);

/* Control thread. */
void evener_reclaimer_add(evener_reclaimer *reclaimer, evener_reclaim *item);

/* Whether no grace period is under way and nothing runs or waits. Control thread. */
bool evener_reclaimer_is_idle(const evener_reclaimer *reclaimer);

/* Joins the thread. From now on what waits, and a grace period under way, is left to evener_reclaimer_flush(). Control
 * thread, or any when the loop does not run. */
void evener_reclaimer_stop(evener_reclaimer *reclaimer);

/* After stop: waits for a grace period and runs what waits. Returns whether there was anything. Control thread. */
bool evener_reclaimer_flush(evener_reclaimer *reclaimer);

/* Frees a reclaimer that is stopped and idle, after the loop has run what was posted. */
void evener_reclaimer_destroy(evener_reclaimer *reclaimer);

#endif
