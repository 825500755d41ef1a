/* Reclaim: frees objects that RCU readers may still use, after a grace period, on the control thread.
 *
 *     evener_rcu_assign(self->thing, NULL);
 *     old->reclaim.fn = thing_free;
 *     old->reclaim.arg = old;
 *     evener_runtime_reclaim(runtime, &old->reclaim);
 *
 * With the runtime's own loop, a reclaimer thread waits for grace periods, one per batch of items, and the control
 * thread never waits; the thread is started for the first batch. On a caller's loop, or if that thread cannot be
 * started, a posted task waits on the control thread; read-side sections are short. */
#ifndef EVENER_LB_RUNTIME_RECLAIM_H
#define EVENER_LB_RUNTIME_RECLAIM_H

#include <stdbool.h>

#include <evener/loop.h>
#include <evener/runtime.h>
#include <evener/status.h>

/* Embedded in the object to free: reclaiming allocates nothing and cannot fail. The caller sets `fn` and `arg`. */
typedef struct evener_reclaim {
    evener_task_fn fn;
    void *arg;
    struct evener_reclaim *next;
} evener_reclaim;

/* Run item->fn(item->arg) after a grace period, on the control thread, in the order of the calls. Items still queued
 * when the runtime ends run at its end. Control thread. */
void evener_runtime_reclaim(evener_runtime *runtime, evener_reclaim *item);

/* The same without a grace period, in a task: for what no reader can have found, as its last user has left. Items of
 * the two functions run in no particular order. Control thread. */
void evener_runtime_reclaim_unread(evener_runtime *runtime, evener_reclaim *item);

/* Somebody waits for what was queued: begin its grace period now, also if it is the first of the runtime. Control
 * thread. */
void evener_runtime_reclaim_hurry(evener_runtime *runtime);

/* ---- for the runtime ---- */

typedef struct evener_reclaimer evener_reclaimer;

/* Create a reclaimer. A thread of this name waits for grace periods, started for the first item; NULL: tasks on `loop`
 * wait. If it cannot be started, that is logged, and tasks wait instead. Errors: RESOURCE_EXHAUSTED. Any thread. */
evener_status_code evener_reclaimer_create(evener_loop *loop, const char *thread_name, evener_reclaimer **reclaimer,
                                           evener_status *status);

/* Queue an item. Control thread. */
void evener_reclaimer_add(evener_reclaimer *reclaimer, evener_reclaim *item);

/* Start the thread now if items wait for its start. Control thread. */
void evener_reclaimer_hurry(evener_reclaimer *reclaimer);

/* Queue an item that needs no grace period. Control thread. */
void evener_reclaimer_add_unread(evener_reclaimer *reclaimer, evener_reclaim *item);

/* Return whether no grace period is in progress and no item runs or waits. Control thread. */
bool evener_reclaimer_is_idle(const evener_reclaimer *reclaimer);

/* Stop and join the thread. Items that wait, including those of a grace period in progress, are left to
 * evener_reclaimer_flush(). Control thread; any thread while the loop does not run. */
void evener_reclaimer_stop(evener_reclaimer *reclaimer);

/* After stop: wait for a grace period and run the queued items. Return whether there were any. Control thread. */
bool evener_reclaimer_flush(evener_reclaimer *reclaimer);

/* Free a reclaimer that is stopped and idle, after the loop has run all posted tasks. */
void evener_reclaimer_destroy(evener_reclaimer *reclaimer);

#endif
