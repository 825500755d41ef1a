/* Virtual loop: a loop whose time the test advances. Hours pass in a moment, and every run is the same.
 *
 *     virtual_loop *loop = virtual_loop_create(1);
 *     evener_runtime_options options = {.size = sizeof(options), .loop = virtual_loop_loop(loop)};
 *     ...
 *     virtual_loop_run_until_idle(loop);     // tasks and timers that are due now
 *     virtual_loop_advance_ms(loop, 250);    // and all that become due within 250 ms, each at its time
 *     ...
 *     virtual_loop_destroy(loop);            // after the runtime's last reference
 *
 * The control thread is the thread that created the loop or drove it last. Any thread may post tasks and read the
 * time; all other functions are for the control thread. Out of memory aborts the program: the loop is for tests and
 * simulations. */
#ifndef EVENER_TESTS_SUPPORT_VIRTUAL_LOOP_H
#define EVENER_TESTS_SUPPORT_VIRTUAL_LOOP_H

#include <stddef.h>
#include <stdint.h>

#include <evener/loop.h>

/* The initial time: 1 s, so that a slightly earlier time is valid too. */
#define VIRTUAL_LOOP_START_NS EVENER_NS_PER_S

typedef struct virtual_loop virtual_loop;

/* Create a loop. The same seed gives the same random numbers; 0 is taken as 1. */
virtual_loop *virtual_loop_create(uint64_t seed);

/* Run all posted tasks, including those that they post, then free the loop. Timers do not fire. NULL is allowed. */
void virtual_loop_destroy(virtual_loop *loop);

evener_loop *virtual_loop_loop(virtual_loop *loop);

uint64_t virtual_loop_now_ns(const virtual_loop *loop);

/* Return the deadline of the next timer; UINT64_MAX if there is none. */
uint64_t virtual_loop_next_deadline_ns(const virtual_loop *loop);

/* Return whether a task is posted. */
bool virtual_loop_has_posted(const virtual_loop *loop);

/* Run posted tasks and due timers, including those that they post or start without a delay, until none is left.
 * Return how many ran. */
size_t virtual_loop_run_until_idle(virtual_loop *loop);

/* Run what is due, then advance from timer to timer until `delay` has passed. Return how many tasks and timers ran. */
size_t virtual_loop_advance_ns(virtual_loop *loop, uint64_t delay_ns);
size_t virtual_loop_advance_ms(virtual_loop *loop, uint64_t delay_ms);

/* Advance to the next timer and run everything that is due then. Return false if no timer is set. */
bool virtual_loop_step(virtual_loop *loop);

#endif
