#include "tests/support/stress_scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void stress_check(const stress_scene *scene, bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "%s: %s\n", scene->name, what);
        abort();
    }
}

void stress_open(stress_scene *scene, const char *name, const evener_channel_options *options)
{
    *scene = (stress_scene){.name = name};
    evener_status status;
    stress_check(scene, evener_runtime_create(NULL, &scene->runtime, &status) == EVENER_STATUS_OK, status.message);
    scene->transport = fake_transport_create(evener_runtime_loop(scene->runtime), true);
    stress_check(scene, evener_manual_resolver_create("orders", &scene->resolver, &status) == EVENER_STATUS_OK,
                 status.message);
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(scene->resolver)};
    evener_channel_options own = *options;
    own.size = sizeof own;
    own.runtime = scene->runtime;
    own.transport = fake_transport_transport(scene->transport);
    own.resolvers = resolvers;
    own.resolver_count = 1;
    stress_check(scene, evener_channel_create("orders:///x", &own, &scene->channel, &status) == EVENER_STATUS_OK,
                 status.message);
}

void stress_stop(stress_scene *scene)
{
    __atomic_store_n(&scene->stop, true, __ATOMIC_RELAXED); /* the joins order all other shared data */
}

bool stress_stopped(const stress_scene *scene)
{
    return __atomic_load_n(&scene->stop, __ATOMIC_RELAXED);
}

void stress_push(stress_scene *scene, uint32_t ports, bool weighted, const char *config, unsigned *random)
{
    char list[1024] = "127.0.0.1:1";
    for (uint32_t port = 2; port <= ports; port++) {
        const size_t used = strlen(list);
        if (rand_r(random) % 2 == 0) {
            continue;
        }
        if (weighted) {
            snprintf(list + used, sizeof list - used, ",127.0.0.1:%u;weight=%d", port, 1 + rand_r(random) % 9);
        } else {
            snprintf(list + used, sizeof list - used, ",127.0.0.1:%u", port);
        }
    }
    evener_status status;
    stress_check(scene, evener_manual_resolver_set(scene->resolver, list, config, &status) == EVENER_STATUS_OK,
                 status.message);
}

uint64_t stress_close(stress_scene *scene)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    evener_status status;
    uint64_t picks = 0;
    stress_check(scene, evener_channel_get_stats(scene->channel, &stats, &status) == EVENER_STATUS_OK, status.message);
    for (size_t i = 0; i < stats.subchannel_count; i++) {
        stress_check(scene, stats.subchannels[i].in_flight == 0,
                     "calls are counted as in flight after the last one was done");
        picks += stats.subchannels[i].picks;
    }
    evener_channel_stats_clear(&stats);
    evener_channel_unref(scene->channel);
    stress_check(scene, fake_transport_unfreed(scene->transport) == 0, "a connection that was given up was not freed");
    fake_transport_destroy(scene->transport);
    evener_manual_resolver_destroy(scene->resolver);
    evener_runtime_unref(scene->runtime);
    return picks;
}
