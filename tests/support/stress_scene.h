/* The common setup of stress programs for a whole channel: a channel on a runtime with its own thread, a fake
 * transport that connects at once, and a manual resolver. A failed check ends the program with a message. */
#ifndef EVENER_TESTS_SUPPORT_STRESS_SCENE_H
#define EVENER_TESTS_SUPPORT_STRESS_SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/channel.h>
#include <evener/manual_resolver.h>
#include <evener/stats.h>

#include "tests/support/fake_transport.h"

typedef struct stress_scene {
    const char *name; /* the program's name, for messages */
    evener_runtime *runtime;
    fake_transport *transport;
    evener_manual_resolver *resolver;
    evener_channel *channel;
    bool stop; /* atomic */
} stress_scene;

/* Open "orders:///x" with the options plus runtime, transport and resolver. The program starts its own callers,
 * which must end when stress_stopped() returns true. */
void stress_open(stress_scene *scene, const char *name, const evener_channel_options *options);

/* End the program with a message unless `good`. Any thread. */
void stress_check(const stress_scene *scene, bool good, const char *what);

void stress_stop(stress_scene *scene);
bool stress_stopped(const stress_scene *scene);

/* Push 127.0.0.1 with port 1 and a random subset of the ports 2 to `ports`; `random` is the state of rand_r(). With
 * `weighted` the addresses of this subset have weights. `config` may be NULL. */
void stress_push(stress_scene *scene, uint32_t ports, bool weighted, const char *config, unsigned *random);

/* After the callers have ended: check that no call is counted as in flight and no connection reference is left, and
 * free everything. Return the number of picks of the last list's backends. */
uint64_t stress_close(stress_scene *scene);

#endif
