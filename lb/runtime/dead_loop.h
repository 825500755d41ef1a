/* The loop of objects from before a fork(), in the child: it has a clock, and what is posted or started never runs.
 * The parent's loop has no thread here, and posting to it would write to descriptors that are shared with the
 * parent. */
#ifndef EVENER_LB_RUNTIME_DEAD_LOOP_H
#define EVENER_LB_RUNTIME_DEAD_LOOP_H

#include <evener/loop.h>

extern evener_loop evener_dead_loop;

#endif
