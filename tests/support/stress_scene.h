/* What stress programs of a whole channel start from: a channel over a runtime with a thread of its own, a fake
 * transport that connects at once and a manual resolver. What goes wrong ends the program with a message. */
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
    const char *name; /* the program's, for messages */
    evener_runtime *runtime;
    fake_transport *transport;
    evener_manual_resolver *resolver;
    evener_channel *channel;
    bool stop; /* atomic */
} stress_scene;

/* Opens "orders:///x" with the options, adding runtime, transport and resolver. Callers are to be started by the
 * program and to end when stress_stopped() says so. */
void stress_open(stress_scene *scene, const char *name, const evener_channel_options *options);

/* Any thread. */
void stress_check(const stress_scene *scene, bool good, const char *what);

void stress_stop(stress_scene *scene);
bool stress_stopped(const stress_scene *scene);

/* Pushes 127.0.0.1 with port 1, and with those from 2 to `ports` that a toss of `random` (see rand_r()) leaves in; with
 * `weighted` these have weights. `config` may be NULL. */
void stress_push(stress_scene *scene, uint32_t ports, bool weighted, const char *config, unsigned *random);

/* The callers have ended: checks that no call is counted as under way, and gives everything back: no reference of a
 * connection may be left. Returns how many picks the backends of the last list were given. */
uint64_t stress_close(stress_scene *scene);

#endif
