/* The simulator's clients as policies alone: a call is one pick, and nothing is retried. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/sim/engine_internal.h"

struct sim_driver {
    evener_policy_choice choice;
    uint64_t calls;
    uint32_t open_count;
    sim_client clients[];
};

static bool choose_policy(const sim_policy *policy, evener_policy_choice *choice, char *message, size_t message_bytes)
{
    char json[SIM_NAME_BYTES + SIM_CONFIG_BYTES + 16];
    evener_status status;
    snprintf(json, sizeof json, "[{\"%s\":%s}]", policy->name, policy->config[0] != '\0' ? policy->config : "{}");
    if (evener_policy_choose(NULL, json, policy->name, choice, &status) != EVENER_STATUS_OK) {
        snprintf(message, message_bytes, "%s", status.message);
        return false;
    }
    return true;
}

bool sim_driver_open(engine *e, char *message, size_t message_bytes)
{
    const uint32_t count = e->scenario->clients;
    if (e->scenario->channel) {
        snprintf(message, message_bytes, "channel = true: bench_sim_calls runs it");
        return false;
    }
    sim_driver *d = calloc(1, sizeof *d + count * sizeof d->clients[0]);
    if (d == NULL) {
        abort(); /* a simulation cannot run with less memory */
    }
    e->driver = d;
    if (!choose_policy(e->policy, &d->choice, message, message_bytes)) {
        return false;
    }
    e->world.choice = &d->choice;
    sim_world_init(&e->world);
    for (; d->open_count < count; d->open_count++) {
        if (!sim_client_open(&d->clients[d->open_count], &e->world)) {
            snprintf(message, message_bytes, "%s: the policy cannot be created", e->policy->name);
            return false;
        }
    }
    return true;
}

void sim_driver_close(engine *e)
{
    sim_driver *d = e->driver;
    if (d == NULL) {
        return;
    }
    for (uint32_t i = 0; i < d->open_count; i++) {
        sim_client_close(&d->clients[i]);
    }
    virtual_loop_run_until_idle(e->world.vl);
    evener_policy_choice_clear(&d->choice);
    free(d);
    e->driver = NULL;
}

void sim_driver_update(engine *e, uint32_t client, const uint32_t *servers, uint32_t count)
{
    sim_client_update(&e->driver->clients[client], servers, count);
}

void sim_driver_drop(engine *e, uint32_t server)
{
    for (uint32_t i = 0; i < e->driver->open_count; i++) {
        sim_client_drop(&e->driver->clients[i], server);
    }
}

void sim_driver_call(engine *e, uint32_t client)
{
    sim_driver *d = e->driver;
    const uint64_t now_ns = sim_now_ns(e);
    const uint32_t index = sim_take(e);
    const uint32_t picked = sim_client_pick(&d->clients[client], &e->calls[index].pick);
    d->calls++;
    sim_collect_call(e, now_ns);
    if (picked == NONE) { /* no backend: the call is not wait-for-ready, so it fails */
        sim_collect_end(e, now_ns, 0, EVENER_STATUS_UNAVAILABLE);
        sim_forget(e, index);
        return;
    }
    const uint64_t deadline_ns = e->timeout_ns > 0 ? now_ns + e->timeout_ns : UINT64_MAX;
    sim_send(e, index,
             &(sim_sending){.server = picked, .begun_ns = now_ns, .deadline_ns = deadline_ns, .draw = d->calls});
}

void sim_driver_end(engine *e, uint32_t index, evener_status_code code)
{
    sim_attempt *c = &e->calls[index];
    sim_collect_end(e, c->begun_ns, sim_now_ns(e) - c->begun_ns, code);
    sim_pick_done(&c->pick, code);
    sim_forget(e, index);
}

void sim_driver_prefetch(const sim_attempt *attempt)
{
    sim_pick_prefetch(&attempt->pick);
}

void sim_driver_prefetch_client(const engine *e, uint32_t client, uint32_t after)
{
    const sim_client *clients = e->driver->clients;
    __builtin_prefetch(&clients[after].picker);
    sim_picker_prefetch(clients[client].picker);
}
