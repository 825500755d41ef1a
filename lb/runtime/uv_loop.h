/* The real loop: libuv, driven by the runtime's control thread. */
#ifndef EVENER_LB_RUNTIME_UV_LOOP_H
#define EVENER_LB_RUNTIME_UV_LOOP_H

#include <stdint.h>

#include <evener/loop.h>
#include <evener/status.h>

typedef struct evener_uv_loop evener_uv_loop;

/* `random_seed` 0: from the system. Errors: RESOURCE_EXHAUSTED, INTERNAL. Any thread. */
evener_status_code evener_uv_loop_create(uint64_t random_seed, evener_uv_loop **loop, evener_status *status);

evener_loop *evener_uv_loop_base(evener_uv_loop *loop);

/* The calling thread becomes the control thread, and runs what comes until evener_uv_loop_stop(). */
void evener_uv_loop_run(evener_uv_loop *loop);

/* Lets evener_uv_loop_run() return after the present turn. Control thread. */
void evener_uv_loop_stop(evener_uv_loop *loop);

/* One turn without waiting: what is posted or due now. Returns whether more is posted already. Control thread, after
 * evener_uv_loop_run() has returned. */
bool evener_uv_loop_turn(evener_uv_loop *loop);

/* Ends the loop. Handles of plug-ins that are still open are an error of theirs: closed, and logged. Control thread
 * after evener_uv_loop_run(), or the creator's before. */
void evener_uv_loop_destroy(evener_uv_loop *loop);

#endif
