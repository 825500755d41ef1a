/* Virtual loop: a loop whose time is stepped by hand, so that what takes hours runs in a moment and the same way each
 * time.
 *
 *     virtual_loop *loop = virtual_loop_create(1);
 *     evener_runtime_options options = {.size = sizeof(options), .loop = virtual_loop_loop(loop)};
 *     ...
 *     virtual_loop_run_until_idle(loop);     // what is posted or due now
 *     virtual_loop_advance_ms(loop, 250);    // and what comes within 250 ms, each at its own time
 *     ...
 *     virtual_loop_destroy(loop);            // after the runtime's last reference
 *
 * The control thread is whoever made the loop or drove it last. Posting and now are for any thread, the rest for the
 * control thread. Running out of memory ends the program: this is for tests and simulations. */
#ifndef EVENER_TESTS_SUPPORT_VIRTUAL_LOOP_H
#define EVENER_TESTS_SUPPORT_VIRTUAL_LOOP_H

#include <stddef.h>
#include <stdint.h>

#include <evener/loop.h>

/* Where time begins: 1 s, so that "a little before" is a valid time too. */
#define VIRTUAL_LOOP_START_NS EVENER_NS_PER_S

typedef struct virtual_loop virtual_loop;

/* The same seed gives the same random numbers; 0 is taken as 1. */
virtual_loop *virtual_loop_create(uint64_t seed);

/* Runs what is still posted, and what that posts, then frees. Timers do not ring any more. NULL is allowed. */
void virtual_loop_destroy(virtual_loop *loop);

evener_loop *virtual_loop_loop(virtual_loop *loop);

uint64_t virtual_loop_now_ns(const virtual_loop *loop);

/* When the next timer rings; UINT64_MAX when none is set. */
uint64_t virtual_loop_next_deadline_ns(const virtual_loop *loop);

/* Whether a task waits. */
bool virtual_loop_has_posted(const virtual_loop *loop);

/* Runs posted tasks and timers that are due now, and what they post and start for now, until nothing is left. Returns
 * how many ran. */
size_t virtual_loop_run_until_idle(virtual_loop *loop);

/* The same, then steps from timer to timer until `delay` has passed. Returns how many tasks and timers ran. */
size_t virtual_loop_advance_ns(virtual_loop *loop, uint64_t delay_ns);
size_t virtual_loop_advance_ms(virtual_loop *loop, uint64_t delay_ms);

/* Steps to the next timer and runs what is due then. False when no timer is set. */
bool virtual_loop_step(virtual_loop *loop);

#endif
