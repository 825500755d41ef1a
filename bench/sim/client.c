#include "bench/sim/client.h"

#include <stdlib.h>
#include <string.h>

#define BACKOFF_NS EVENER_NS_PER_S

struct evener_subchannel {
    sim_client *client;
    evener_subchannel_options options;
    const evener_address *address;
    uint32_t server;
    uint32_t references;
    uint32_t in_flight;
    uint8_t state, reported_state;
    bool released, wanted, unreported;
    evener_subchannel *next, **link; /* links in the client's list */
    evener_subchannel *unreported_next;
    evener_timer backoff;
    _Alignas(64) unsigned char data[];
};

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* ---- simulated subchannels ---- */

static void destroy_if_unused(evener_subchannel *s)
{
    if (s->references > 0 || s->in_flight > 0) {
        return;
    }
    if (s->options.data_destroy != NULL) {
        s->options.data_destroy(s->data);
    }
    free(s);
}

evener_subchannel *evener_subchannel_ref(evener_subchannel *s)
{
    s->references++;
    return s;
}

void evener_subchannel_unref(evener_subchannel *s)
{
    if (s != NULL) {
        s->references--;
        destroy_if_unused(s);
    }
}

static void report_later(evener_subchannel *s)
{
    sim_world *world = s->client->world;
    if (s->unreported || s->released) {
        return;
    }
    s->unreported = true;
    s->unreported_next = NULL;
    *world->unreported_tail = evener_subchannel_ref(s);
    world->unreported_tail = &s->unreported_next;
    evener_loop_post(world->loop, &world->report_task);
}

static void report_all(void *arg)
{
    sim_world *world = arg;
    evener_subchannel *list = world->unreported;
    world->unreported = NULL;
    world->unreported_tail = &world->unreported;
    while (list != NULL) {
        evener_subchannel *s = list;
        list = s->unreported_next;
        s->unreported = false;
        if (!s->released && s->reported_state != s->state) {
            evener_status status;
            evener_status_clear(&status);
            if (s->state == EVENER_TRANSIENT_FAILURE) {
                evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s: connection refused",
                                  evener_address_text(s->address));
            }
            s->reported_state = s->state;
            s->options.state_changed(s->options.arg, s, s->state, &status);
        }
        evener_subchannel_unref(s);
    }
}

static void backoff_over(void *arg)
{
    evener_subchannel *s = arg;
    s->state = EVENER_IDLE;
    if (s->wanted) {
        evener_subchannel_connect(s);
    } else {
        report_later(s);
    }
}

/* Connecting takes no time: a fresh server is READY in the next turn. */
void evener_subchannel_connect(evener_subchannel *s)
{
    const sim_world *world = s->client->world;
    if (s->state == EVENER_TRANSIENT_FAILURE) {
        s->wanted = true;
    } else if (s->state == EVENER_IDLE) {
        s->wanted = false;
        s->state = EVENER_READY;
        if (world->refusing[s->server]) {
            s->state = EVENER_TRANSIENT_FAILURE;
            evener_timer_start(world->loop, &s->backoff, BACKOFF_NS);
        }
        report_later(s);
    }
}

void evener_subchannel_release(evener_subchannel *s)
{
    s->released = true;
    evener_timer_stop(s->client->world->loop, &s->backoff);
    *s->link = s->next;
    if (s->next != NULL) {
        s->next->link = s->link;
    }
    if (s->options.released != NULL) {
        s->options.released(s->options.arg, s);
    }
    evener_subchannel_unref(s);
}

evener_status_code evener_subchannel_watch_load(evener_subchannel *s, uint64_t interval_ms,
                                                void (*load_reported)(void *arg, evener_subchannel *s,
                                                                      const void *report, size_t report_bytes),
                                                void *arg, evener_status *status)
{
    (void)s;
    (void)interval_ms;
    (void)load_reported;
    (void)arg;
    return evener_status_set(status, EVENER_STATUS_UNIMPLEMENTED, "the simulation has no load reports");
}

evener_status_code evener_subchannel_watch_health(evener_subchannel *s, const char *service,
                                                  void (*health_changed)(void *arg, evener_subchannel *s,
                                                                         evener_connectivity_state health,
                                                                         const evener_status *status),
                                                  void *arg, evener_status *status)
{
    (void)s;
    (void)service;
    (void)health_changed;
    (void)arg;
    return evener_status_set(status, EVENER_STATUS_UNIMPLEMENTED, "the simulation has no health checking");
}

evener_connectivity_state evener_subchannel_state(const evener_subchannel *s)
{
    return s->released ? EVENER_SHUTDOWN : s->state;
}

const evener_address *evener_subchannel_address(const evener_subchannel *s)
{
    return s->address;
}

void evener_subchannel_set_address(evener_subchannel *s, const evener_address *address)
{
    s->address = address; /* borrowed: the world's addresses outlive subchannels */
}

void *evener_subchannel_data(evener_subchannel *s)
{
    return s->data;
}

const char *evener_subchannel_address_text(const evener_subchannel *s)
{
    return evener_address_text(s->address);
}

/* A client is a single thread, so its cursor is not shared anyway. */
bool evener_subchannel_carries_calls(const evener_subchannel *s)
{
    (void)s;
    return true;
}

uint64_t evener_subchannel_in_flight(const evener_subchannel *s)
{
    return s->in_flight;
}

/* ---- policy helper ---- */

static sim_client *client_of(evener_policy_helper *helper)
{
    return (sim_client *)helper; /* helper is the first member */
}

static evener_subchannel *create_subchannel(evener_policy_helper *helper, const evener_address *address,
                                            const evener_subchannel_options *options)
{
    sim_client *client = client_of(helper);
    const size_t bytes = rounded(sizeof(evener_subchannel) + options->data_bytes);
    evener_subchannel *s = aligned_alloc(64, bytes);
    if (s == NULL) {
        return NULL;
    }
    memset(s, 0, bytes);
    s->client = client;
    s->options = *options;
    s->address = address;
    s->server = sim_server_of(address);
    s->references = 1;
    s->backoff = (evener_timer)EVENER_TIMER_INIT(backoff_over, s);
    s->next = client->subchannels;
    s->link = &client->subchannels;
    if (s->next != NULL) {
        s->next->link = &s->next;
    }
    client->subchannels = s;
    return s;
}

static void publish(evener_policy_helper *helper, evener_connectivity_state state, const evener_status *status,
                    evener_picker *picker)
{
    (void)state;
    (void)status;
    sim_client *client = client_of(helper);
    if (picker != NULL) {
        evener_picker_unref(client->picker);
        client->picker = picker;
    }
}

static void request_reresolution(evener_policy_helper *helper)
{
    (void)helper; /* lists are always up to date here */
}

static const evener_policy_helper_vtable helper_vtable = {
    .size = sizeof helper_vtable,
    .create_subchannel = create_subchannel,
    .publish = publish,
    .request_reresolution = request_reresolution,
};

/* ---- client ---- */

void sim_world_init(sim_world *world)
{
    world->unreported_tail = &world->unreported;
    world->report_task = (evener_task)EVENER_TASK_INIT(report_all, world);
}

bool sim_client_open(sim_client *client, sim_world *world)
{
    *client = (sim_client){.helper = {.size = sizeof client->helper,
                                      .vtable = &helper_vtable,
                                      .loop = world->loop,
                                      .target = "sim:///servers",
                                      .authority = "servers"},
                           .world = world};
    client->policy = world->choice->builder->build(world->choice->builder, &client->helper);
    return client->policy != NULL;
}

void sim_client_close(sim_client *client)
{
    if (client->policy != NULL) {
        client->policy->vtable->close(client->policy);
        evener_picker_unref(client->picker);
    }
}

void sim_client_update(sim_client *client, const uint32_t *servers, uint32_t count)
{
    const sim_world *world = client->world;
    evener_address **list = malloc((count + 1) * sizeof(evener_address *));
    if (list == NULL) {
        abort();
    }
    for (uint32_t i = 0; i < count; i++) {
        list[i] = world->addresses[servers[i]];
    }
    const evener_policy_update update = {
        .size = sizeof update, .addresses = list, .address_count = count, .config = world->choice->config};
    (void)client->policy->vtable->update(client->policy, &update, NULL);
    free(list);
}

uint32_t sim_client_pick(sim_client *client, evener_pick *pick)
{
    static const evener_pick_args args = {.size = sizeof args};
    const evener_pick_context context = {.args = &args, .loop = client->world->loop};
    pick->layer_count = 0;
    if (client->picker == NULL ||
        client->picker->vtable->pick(client->picker, &context, pick) != EVENER_PICK_COMPLETE) {
        return UINT32_MAX;
    }
    pick->subchannel->in_flight++;
    return pick->subchannel->server;
}

void sim_pick_done(evener_pick *pick, evener_status_code code)
{
    const evener_done_info info = {.size = sizeof info, .code = code};
    for (uint32_t i = 0; i < pick->layer_count; i++) {
        pick->layers[i].done(pick->layers[i].data, pick->layers[i].word, &info, 0);
    }
    pick->subchannel->in_flight--;
    destroy_if_unused(pick->subchannel);
}

void sim_pick_prefetch(const evener_pick *pick)
{
    __builtin_prefetch(&pick->subchannel->in_flight, 1);
    __builtin_prefetch(pick->subchannel->data, 1);
}

void sim_picker_prefetch(const evener_picker *picker)
{
    __builtin_prefetch(picker);
    __builtin_prefetch((const char *)picker + 64);
}

void sim_client_drop(sim_client *client, uint32_t server)
{
    for (evener_subchannel *s = client->subchannels; s != NULL; s = s->next) {
        if (s->server == server && s->state == EVENER_READY) {
            s->state = EVENER_IDLE;
            report_later(s);
        }
    }
}
