/* A client that bench_scale measures. Each is linked into a program of its own, with the libraries that a program of its
 * kind links. */
#ifndef BENCH_SCALE_CLIENT_H
#define BENCH_SCALE_CLIENT_H

#include <stdbool.h>

/* Before a target's addresses. */
extern const char *const scale_target_prefix;

typedef struct scale_channel scale_channel;

/* Make what all channels need. Before the first of the following; a part of what is measured only for "start". */
void scale_client_start(void);

/* Return a channel with round_robin and without TLS, not yet connecting. Ends the process if that fails. */
scale_channel *scale_open(const char *target);
void scale_connect(scale_channel *channel);
/* Return false after a minute. */
bool scale_wait_ready(scale_channel *channel);
void scale_close(scale_channel *channel);

/* Let time pass; the core connects on threads that wait for events. */
void scale_turn(long ms);

/* Make a unary call that waits until the channel is ready. Return true if it has succeeded. */
bool scale_call(scale_channel *channel);

#endif
