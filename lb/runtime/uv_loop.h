/* The production loop: libuv, run by the runtime's control thread. */
#ifndef EVENER_LB_RUNTIME_UV_LOOP_H
#define EVENER_LB_RUNTIME_UV_LOOP_H

#include <stdint.h>

#include <evener/loop.h>
#include <evener/status.h>

typedef struct evener_uv_loop evener_uv_loop;

/* Create a loop. `random_seed` 0: a seed from the system. Errors: RESOURCE_EXHAUSTED, INTERNAL. Any thread. */
evener_status_code evener_uv_loop_create(uint64_t random_seed, evener_uv_loop **loop, evener_status *status);

/* Return the loop as the rest of the library sees it. Borrowed: valid until evener_uv_loop_destroy(). */
evener_loop *evener_uv_loop_base(evener_uv_loop *loop);

/* Make the calling thread the control thread and run the loop until evener_uv_loop_stop(). */
void evener_uv_loop_run(evener_uv_loop *loop);

/* Look for a further task for some 5 us before the loop sleeps next. Control thread. */
void evener_uv_loop_expect_task(evener_uv_loop *loop);

/* Make evener_uv_loop_run() return after the current turn. Control thread. */
void evener_uv_loop_stop(evener_uv_loop *loop);

/* Run one turn without waiting: posted tasks and due timers. Return whether more tasks are posted already. Control
 * thread, after evener_uv_loop_run() has returned. */
bool evener_uv_loop_turn(evener_uv_loop *loop);

/* Cut the loop off from the thread and the descriptors of the parent: what is posted never runs. In the child of a
 * fork() only. */
void evener_uv_loop_cut_off(evener_uv_loop *loop);

/* Destroy the loop. A plug-in's handle that is still open is that plug-in's error: it is logged and closed. Control
 * thread after evener_uv_loop_run(), or the creating thread before it. */
void evener_uv_loop_destroy(evener_uv_loop *loop);

#endif
