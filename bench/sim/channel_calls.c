/* The simulator's clients as channels: resolver, policy, connectors with their backoff, pick queue and call layer, over a
 * transport of the simulation. Each has connections of its own, as if it were a process. */
#include <stdio.h>
#include <stdlib.h>

#include <evener/call.h>
#include <evener/channel.h>
#include <evener/manual_resolver.h>

#include "bench/sim/transport.h"

struct sim_driver {
    evener_runtime *runtime;
    sim_transport transport;
    uint64_t calls;
    uint32_t open_count;
    bool own_lists; /* each channel has a resolver of its own; otherwise all have the first */
    evener_manual_resolver **resolvers;
    evener_channel **channels;
};

static void *zeroed(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    if (memory == NULL) {
        abort(); /* a simulation cannot run with less memory */
    }
    return memory;
}

static bool open_channel(engine *e, uint32_t client, const char *service_config, evener_status *status)
{
    sim_driver *d = e->driver;
    const uint32_t with = d->own_lists ? client : 0;
    if (d->resolvers[with] == NULL &&
        evener_manual_resolver_create("sim", &d->resolvers[with], status) != EVENER_STATUS_OK) {
        return false;
    }
    const evener_resolver_builder *const resolvers[] = {evener_manual_resolver_builder(d->resolvers[with])};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = d->runtime,
                                            .transport = &d->transport.base,
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .default_service_config = service_config,
                                            .own_connections = true};
    char target[32];
    snprintf(target, sizeof target, "sim:///client-%u", client);
    if (evener_channel_create(target, &options, &d->channels[client], status) != EVENER_STATUS_OK) {
        return false;
    }
    evener_channel_connect(d->channels[client]);
    return true;
}

bool sim_driver_open(engine *e, char *message, size_t message_bytes)
{
    const sim_policy *policy = e->policy;
    const uint32_t count = e->scenario->clients;
    if (!e->scenario->channel) {
        snprintf(message, message_bytes, "without channel = true: bench_sim runs it");
        return false;
    }
    char service_config[SIM_NAME_BYTES + SIM_CONFIG_BYTES + SIM_METHODS_BYTES + 64];
    snprintf(service_config, sizeof service_config, "{\"loadBalancingConfig\": [{\"%s\": %s}], \"methodConfig\": %s}",
             policy->name, policy->config[0] != '\0' ? policy->config : "{}",
             policy->method_config[0] != '\0' ? policy->method_config : "[]");
    sim_driver *d = zeroed(1, sizeof *d);
    e->driver = d;
    e->loop_begins_attempts = true;
    d->own_lists = e->scenario->subset > 0;
    d->resolvers = zeroed(count, sizeof(evener_manual_resolver *));
    d->channels = zeroed(count, sizeof(evener_channel *));
    sim_transport_init(&d->transport, e);
    evener_status status;
    const evener_runtime_options options = {.size = sizeof options, .loop = e->world.loop};
    bool is_open = evener_runtime_create(&options, &d->runtime, &status) == EVENER_STATUS_OK;
    while (is_open && d->open_count < count) {
        is_open = open_channel(e, d->open_count, service_config, &status);
        d->open_count += is_open;
    }
    if (!is_open) {
        snprintf(message, message_bytes, "%s", status.message);
    }
    return is_open;
}

void sim_driver_close(engine *e)
{
    sim_driver *d = e->driver;
    if (d == NULL) {
        return;
    }
    for (uint32_t i = 0; i < d->open_count; i++) {
        evener_channel_unref(d->channels[i]);
    }
    virtual_loop_run_until_idle(e->world.vl);
    for (uint32_t i = 0; i < e->scenario->clients; i++) {
        evener_manual_resolver_destroy(d->resolvers[i]);
    }
    evener_runtime_unref(d->runtime);
    virtual_loop_run_until_idle(e->world.vl);
    sim_transport_clear(&d->transport);
    free(d->resolvers);
    free(d->channels);
    free(d);
    e->driver = NULL;
}

void sim_driver_update(engine *e, uint32_t client, const uint32_t *servers, uint32_t count)
{
    sim_driver *d = e->driver;
    if (client > 0 && !d->own_lists) {
        return;
    }
    evener_address **list = zeroed(count + 1, sizeof(evener_address *));
    for (uint32_t i = 0; i < count; i++) {
        list[i] = e->world.addresses[servers[i]];
    }
    const evener_resolver_update update = {.size = sizeof update, .addresses = list, .address_count = count};
    if (evener_manual_resolver_update(d->resolvers[client], &update, NULL) != EVENER_STATUS_OK) {
        abort(); /* out of memory */
    }
    free(list);
}

void sim_driver_drop(engine *e, uint32_t server)
{
    sim_transport_drop(&e->driver->transport, server);
}

static void ended(void *arg, const evener_status *status, evener_bytes *response)
{
    sim_channel_call *call = arg;
    engine *e = call->engine;
    (void)response;
    sim_collect_end(e, call->begun_ns, sim_now_ns(e) - call->begun_ns, status->code);
    e->open_calls--;
    free(call);
}

void sim_driver_call(engine *e, uint32_t client)
{
    sim_driver *d = e->driver;
    sim_channel_call *call = zeroed(1, sizeof *call);
    *call = (sim_channel_call){.engine = e, .number = ++d->calls, .begun_ns = sim_now_ns(e)};
    const evener_metadata metadata = {SIM_CALL_KEY, (const char *)&call, sizeof call};
    const evener_call_options options = {.size = sizeof options,
                                         .timeout_ms = (uint64_t)e->scenario->timeout_ms,
                                         .metadata = &metadata,
                                         .metadata_count = 1};
    evener_status status;
    sim_collect_call(e, call->begun_ns);
    e->open_calls++;
    if (evener_call_start(d->channels[client], "/sim.Sim/Call", NULL, &options, ended, call, NULL, &status) !=
        EVENER_STATUS_OK) {
        ended(call, &status, NULL);
    }
}

void sim_driver_end(engine *e, uint32_t index, evener_status_code code)
{
    sim_transport_end(e, index, code);
}

void sim_driver_prefetch_client(const engine *e, uint32_t client, uint32_t after)
{
    (void)e;
    (void)client;
    (void)after;
}
