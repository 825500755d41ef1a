#include "bench/sim/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/sim/client.h"
#include "bench/sim/event_heap.h"
#include "bench/sim/numbers.h"

#define NONE UINT32_MAX
#define FAIL_FAST_NS (100 * EVENER_NS_PER_US)

enum { EVENT_ARRIVAL, EVENT_SCRIPT, EVENT_ANTAGONIST, EVENT_SERVED, EVENT_ANSWERED, EVENT_TIMEOUT };

typedef struct call {
    evener_pick pick;
    uint64_t stamp; /* number of the call; 0: free */
    uint64_t begun_ns;
    uint64_t service_ns;
    uint32_t server;
    uint32_t next, previous;   /* in the server's list, or the next free one */
    evener_status_code code;   /* how it will end */
    bool at_server, at_client; /* who still has it */
    bool hangs, timeout_set;
} call;

typedef struct call_list {
    uint32_t first, last;
} call_list;

typedef struct server {
    const sim_group *group;
    double factor; /* its own, of the group's spread */
    double extra_ns, slowdown, fail_share;
    bool present, hung, antagonist;
    uint32_t running_count, calls_now;
    call_list running, waiting;
} server;

/* What is collected of a span of time. */
typedef struct span {
    sim_slice slice;
    sim_histogram *times;
    uint32_t *calls; /* by server; NULL in the series */
    double *work_ns; /* by server: time of service begun */
    double *stay_ns; /* by server: time that calls spent there */
    uint32_t queue_max;
} span;

typedef struct engine {
    const sim_scenario *scenario;
    sim_world world;
    uint32_t server_count;
    server *servers;
    bool *refusing;
    uint32_t group_first[SIM_GROUPS_MAX];
    sim_client *clients;
    uint32_t *lists; /* each client's servers, one after the other; of all together without subsets */
    uint32_t list_length;
    uint32_t *scratch;
    call *calls;
    uint32_t call_capacity, free_call;
    uint64_t call_number;
    sim_heap heap;
    uint64_t start_ns, end_ns, timeout_ns, network_ns, events;
    double rate_factor;
    uint64_t arrivals, antagonists; /* streams of random numbers */
    span *windows, *series;
    uint32_t window_count;
    size_t series_count;
} engine;

static uint64_t now_ns(const engine *e)
{
    return virtual_loop_now_ns(e->world.vl);
}

static uint64_t after_s(const engine *e, double seconds)
{
    return e->start_ns + (uint64_t)(seconds * 1e9);
}

/* ---- collecting ---- */

static span *window_of(engine *e, uint64_t begun_ns)
{
    const double at_s = (double)(begun_ns - e->start_ns) * 1e-9;
    for (uint32_t i = 0; i < e->window_count; i++) {
        if (at_s >= e->windows[i].slice.from_s && at_s < e->windows[i].slice.to_s) {
            return &e->windows[i];
        }
    }
    return NULL;
}

static span *series_of(engine *e, uint64_t begun_ns)
{
    if (e->series_count == 0) {
        return NULL;
    }
    const size_t index = (size_t)((double)(begun_ns - e->start_ns) * 1e-9 / e->scenario->series_s);
    return index < e->series_count ? &e->series[index] : NULL;
}

static void collect_begin(engine *e, const call *c)
{
    const server *s = &e->servers[c->server];
    span *const spans[] = {window_of(e, c->begun_ns), series_of(e, c->begun_ns)};
    for (size_t i = 0; i < 2; i++) {
        if (spans[i] != NULL) {
            spans[i]->slice.calls++;
            spans[i]->slice.group_calls[s->group - e->scenario->groups]++;
        }
    }
    if (spans[0] != NULL) {
        spans[0]->calls[c->server]++;
        spans[0]->work_ns[c->server] += (double)c->service_ns;
        spans[0]->queue_max = s->calls_now > spans[0]->queue_max ? s->calls_now : spans[0]->queue_max;
    }
}

static void collect_stay(engine *e, const call *c)
{
    span *window = window_of(e, c->begun_ns);
    if (window != NULL) {
        window->stay_ns[c->server] += (double)(now_ns(e) - c->begun_ns);
    }
}

static void collect_end(engine *e, uint64_t begun_ns, uint64_t took_ns, evener_status_code code)
{
    span *const spans[] = {window_of(e, begun_ns), series_of(e, begun_ns)};
    for (size_t i = 0; i < 2; i++) {
        if (spans[i] != NULL) {
            spans[i]->slice.failed += code != EVENER_STATUS_OK;
            sim_record(spans[i]->times, took_ns);
        }
    }
}

/* ---- calls ---- */

static void list_append(engine *e, call_list *list, uint32_t index)
{
    e->calls[index].next = NONE;
    e->calls[index].previous = list->last;
    *(list->last != NONE ? &e->calls[list->last].next : &list->first) = index;
    list->last = index;
}

static void list_remove(engine *e, call_list *list, uint32_t index)
{
    const call *c = &e->calls[index];
    *(c->previous != NONE ? &e->calls[c->previous].next : &list->first) = c->next;
    *(c->next != NONE ? &e->calls[c->next].previous : &list->last) = c->previous;
}

static uint32_t take_call(engine *e)
{
    if (e->free_call == NONE) {
        const uint32_t old = e->call_capacity;
        e->call_capacity = old == 0 ? 1024 : old * 2;
        e->calls = realloc(e->calls, e->call_capacity * sizeof *e->calls);
        if (e->calls == NULL) {
            abort();
        }
        for (uint32_t i = e->call_capacity; i-- > old;) {
            e->calls[i] = (call){.next = e->free_call};
            e->free_call = i;
        }
    }
    const uint32_t index = e->free_call;
    e->free_call = e->calls[index].next;
    return index;
}

static void free_if_over(engine *e, uint32_t index)
{
    call *c = &e->calls[index];
    if (!c->at_server && !c->at_client) {
        c->stamp = 0;
        c->next = e->free_call;
        e->free_call = index;
    }
}

static void end_at_client(engine *e, uint32_t index, evener_status_code code)
{
    call *c = &e->calls[index];
    collect_end(e, c->begun_ns, now_ns(e) - c->begun_ns, code);
    sim_pick_done(&c->pick, code);
    c->at_client = false;
    free_if_over(e, index);
}

static void set_timeout(engine *e, uint32_t index)
{
    call *c = &e->calls[index];
    if (e->timeout_ns > 0 && !c->timeout_set) {
        c->timeout_set = true;
        const uint64_t at_ns = c->begun_ns + e->timeout_ns;
        sim_heap_push(&e->heap, at_ns > now_ns(e) ? at_ns : now_ns(e), EVENT_TIMEOUT, index, c->stamp);
    }
}

/* ---- servers ---- */

static double draw_service_ns(const sim_group *group, uint64_t *random)
{
    const double mean_ns = group->service_us * 1e3;
    switch (group->distribution) {
    case SIM_EXPONENTIAL:
        return mean_ns * sim_exponential(random);
    case SIM_LOGNORMAL:
        return mean_ns * exp(group->sigma * sim_normal(random) - group->sigma * group->sigma / 2);
    default:
        return mean_ns;
    }
}

/* What the call will cost its server, if it began now. */
static void draw_outcome(engine *e, call *c)
{
    const server *s = &e->servers[c->server];
    uint64_t random = sim_mix(e->scenario->seed * UINT64_C(0x9E3779B97F4A7C15) + c->stamp);
    double service_ns = draw_service_ns(s->group, &random) * s->factor * s->slowdown + s->extra_ns;
    service_ns *= s->antagonist ? s->group->antagonist_slowdown : 1;
    c->code = EVENER_STATUS_OK;
    if (s->fail_share > 0 && sim_unit(&random) <= s->fail_share) {
        c->code = EVENER_STATUS_UNAVAILABLE;
        service_ns = (double)FAIL_FAST_NS;
    }
    c->service_ns = (uint64_t)service_ns;
}

static void serve(engine *e, uint32_t index)
{
    call *c = &e->calls[index];
    server *s = &e->servers[c->server];
    list_append(e, &s->running, index);
    s->running_count++;
    c->hangs = s->hung;
    if (c->hangs) {
        set_timeout(e, index);
        return;
    }
    const uint64_t served_ns = now_ns(e) + c->service_ns;
    sim_heap_push(&e->heap, served_ns, EVENT_SERVED, index, c->stamp);
    if (e->timeout_ns > 0 && served_ns + e->network_ns > c->begun_ns + e->timeout_ns) {
        set_timeout(e, index);
    }
}

static void arrive(engine *e, uint32_t index)
{
    server *s = &e->servers[e->calls[index].server];
    s->calls_now++;
    if (s->group->workers == 0 || s->running_count < s->group->workers) {
        serve(e, index);
    } else {
        list_append(e, &s->waiting, index);
        set_timeout(e, index);
    }
}

/* The server is done with a running call: the next one that somebody still waits for. */
static void leave_server(engine *e, uint32_t index)
{
    server *s = &e->servers[e->calls[index].server];
    list_remove(e, &s->running, index);
    s->running_count--;
    s->calls_now--;
    e->calls[index].at_server = false;
    collect_stay(e, &e->calls[index]);
    while (s->waiting.first != NONE && (s->group->workers == 0 || s->running_count < s->group->workers)) {
        const uint32_t next = s->waiting.first;
        list_remove(e, &s->waiting, next);
        if (e->calls[next].at_client) {
            serve(e, next);
        } else {
            s->calls_now--;
            e->calls[next].at_server = false;
            collect_stay(e, &e->calls[next]);
            free_if_over(e, next);
        }
    }
}

static void served(engine *e, uint32_t index)
{
    call *c = &e->calls[index];
    if (c->hangs) {
        return;
    }
    leave_server(e, index);
    c = &e->calls[index];
    if (!c->at_client) {
        free_if_over(e, index);
    } else if (e->network_ns > 0) {
        sim_heap_push(&e->heap, now_ns(e) + e->network_ns, EVENT_ANSWERED, index, c->stamp);
    } else {
        end_at_client(e, index, c->code);
    }
}

static void hang(engine *e, server *s)
{
    s->hung = true;
    for (uint32_t i = s->running.first; i != NONE; i = e->calls[i].next) {
        e->calls[i].hangs = true;
        set_timeout(e, i);
    }
}

static void recover(engine *e, server *s)
{
    s->extra_ns = 0;
    s->slowdown = 1;
    s->fail_share = 0;
    s->hung = false;
    for (uint32_t i = s->running.first; i != NONE; i = e->calls[i].next) {
        if (e->calls[i].hangs) {
            e->calls[i].hangs = false;
            sim_heap_push(&e->heap, now_ns(e) + e->calls[i].service_ns, EVENT_SERVED, i, e->calls[i].stamp);
        }
    }
}

static void kill_server(engine *e, uint32_t index)
{
    server *s = &e->servers[index];
    e->refusing[index] = true;
    for (uint32_t i = 0; i < e->scenario->clients; i++) {
        sim_client_drop(&e->clients[i], index);
    }
    call_list *const lists[] = {&s->waiting, &s->running};
    for (size_t l = 0; l < 2; l++) {
        while (lists[l]->first != NONE) {
            const uint32_t i = lists[l]->first;
            list_remove(e, lists[l], i);
            e->calls[i].at_server = false;
            if (e->calls[i].at_client) {
                end_at_client(e, i, EVENER_STATUS_UNAVAILABLE);
            } else {
                free_if_over(e, i);
            }
        }
    }
    s->running_count = 0;
    s->calls_now = 0;
}

/* ---- lists ---- */

static void update_clients(engine *e)
{
    for (uint32_t i = 0; i < e->scenario->clients; i++) {
        const uint32_t *list = e->lists + (e->scenario->subset > 0 ? (size_t)i * e->list_length : 0);
        uint32_t count = 0;
        for (uint32_t j = 0; j < e->list_length; j++) {
            if (e->servers[list[j]].present) {
                e->scratch[count++] = list[j];
            }
        }
        sim_client_update(&e->clients[i], e->scratch, count);
        virtual_loop_run_until_idle(e->world.vl);
    }
}

/* ---- events ---- */

static void run_script(engine *e, const sim_event *event)
{
    const sim_group *group = &e->scenario->groups[event->group];
    const uint32_t count = event->count > 0 ? event->count : group->count - event->first;
    const uint32_t first = e->group_first[event->group] + event->first;
    if (event->action == SIM_RATE) {
        e->rate_factor = event->value;
        return;
    }
    for (uint32_t i = first; i < first + count && i < e->server_count; i++) {
        server *s = &e->servers[i];
        switch (event->action) {
        case SIM_EXTRA:
            s->extra_ns = event->value * 1e3;
            break;
        case SIM_SLOWDOWN:
            s->slowdown = event->value;
            break;
        case SIM_FAIL:
            s->fail_share = event->value;
            break;
        case SIM_HANG:
            hang(e, s);
            break;
        case SIM_RECOVER:
            recover(e, s);
            break;
        case SIM_KILL:
            kill_server(e, i);
            break;
        case SIM_RESTART:
            e->refusing[i] = false;
            break;
        default:
            s->present = event->action == SIM_JOIN;
            break;
        }
    }
    if (event->action == SIM_JOIN || event->action == SIM_LEAVE) {
        update_clients(e);
    }
    virtual_loop_run_until_idle(e->world.vl);
}

static void push_arrival(engine *e)
{
    const double rate = e->scenario->rate_per_s * e->rate_factor;
    const double gap_s = (e->scenario->even ? 1 : sim_exponential(&e->arrivals)) / rate;
    sim_heap_push(&e->heap, now_ns(e) + 1 + (uint64_t)(gap_s * 1e9), EVENT_ARRIVAL, 0, 0);
}

static void begin_call(engine *e)
{
    push_arrival(e);
    sim_client *client = &e->clients[sim_below(&e->arrivals, e->scenario->clients)];
    const uint32_t index = take_call(e);
    call *c = &e->calls[index];
    const uint64_t stamp = ++e->call_number;
    const uint32_t picked = sim_client_pick(client, &c->pick);
    *c = (call){.pick = c->pick, .stamp = stamp, .begun_ns = now_ns(e), .server = picked};
    if (picked == NONE) { /* no backend: a call that is not wait-for-ready */
        span *window = window_of(e, c->begun_ns);
        if (window != NULL) {
            window->slice.calls++;
        }
        collect_end(e, c->begun_ns, 0, EVENER_STATUS_UNAVAILABLE);
        free_if_over(e, index);
        return;
    }
    c->at_server = true;
    c->at_client = true;
    draw_outcome(e, c);
    arrive(e, index);
    collect_begin(e, &e->calls[index]);
}

static void switch_antagonist(engine *e, uint32_t index)
{
    server *s = &e->servers[index];
    const double share = s->group->antagonist_share;
    const double spell_s = s->group->antagonist_spell_s;
    s->antagonist = !s->antagonist;
    const double mean_s = s->antagonist ? spell_s : spell_s * (1 - share) / share;
    sim_heap_push(&e->heap, now_ns(e) + (uint64_t)(mean_s * sim_exponential(&e->antagonists) * 1e9), EVENT_ANTAGONIST,
                  index, 0);
}

static void run_event(engine *e, const sim_heap_event *event)
{
    const bool open = event->at_ns < e->end_ns;
    if (event->kind >= EVENT_SERVED) {
        if (e->calls[event->index].stamp != event->stamp) {
            return;
        }
        if (event->kind == EVENT_SERVED) {
            if (e->calls[event->index].at_server) {
                served(e, event->index);
            }
        } else if (e->calls[event->index].at_client) {
            end_at_client(e, event->index,
                          event->kind == EVENT_TIMEOUT ? EVENER_STATUS_DEADLINE_EXCEEDED : e->calls[event->index].code);
        }
    } else if (open && event->kind == EVENT_ARRIVAL) {
        begin_call(e);
    } else if (open && event->kind == EVENT_ANTAGONIST) {
        switch_antagonist(e, event->index);
    } else if (open && event->kind == EVENT_SCRIPT) {
        const sim_event *script = &e->scenario->events[event->index];
        run_script(e, script);
        if (script->every_s > 0) {
            sim_heap_push(&e->heap, event->at_ns + (uint64_t)(script->every_s * 1e9), EVENT_SCRIPT, event->index, 0);
        }
    }
}

static void run_events(engine *e)
{
    while (e->heap.count > 0) {
        const sim_heap_event event = sim_heap_pop(&e->heap);
        if (event.at_ns > now_ns(e)) {
            virtual_loop_advance_ns(e->world.vl, event.at_ns - now_ns(e));
        }
        e->events++;
        run_event(e, &event);
    }
    /* What hangs for good has failed. */
    for (uint32_t i = 0; i < e->call_capacity; i++) {
        if (e->calls[i].stamp != 0 && e->calls[i].at_client) {
            end_at_client(e, i, EVENER_STATUS_CANCELLED);
        }
    }
}

/* ---- set up ---- */

static void *zeroed(size_t count, size_t bytes)
{
    void *memory = calloc(count > 0 ? count : 1, bytes);
    if (memory == NULL) {
        abort(); /* a simulation has no use for less */
    }
    return memory;
}

static void set_up_servers(engine *e)
{
    uint64_t random = sim_mix(e->scenario->seed + 2);
    for (uint32_t g = 0; g < e->scenario->group_count; g++) {
        e->group_first[g] = e->server_count;
        e->server_count += e->scenario->groups[g].count;
    }
    e->servers = zeroed(e->server_count, sizeof *e->servers);
    e->refusing = zeroed(e->server_count, sizeof *e->refusing);
    e->world.addresses = zeroed(e->server_count, sizeof *e->world.addresses);
    e->world.refusing = e->refusing;
    e->world.server_count = e->server_count;
    for (uint32_t i = 0, g = 0; i < e->server_count; i++) {
        while (i - e->group_first[g] >= e->scenario->groups[g].count) {
            g++;
        }
        const sim_group *group = &e->scenario->groups[g];
        const double spread = group->spread > 1 ? group->spread : 1;
        e->servers[i] = (server){.group = group,
                                 .factor = pow(spread, 2 * sim_unit(&random) - 1),
                                 .slowdown = 1,
                                 .present = !group->absent,
                                 .running = {NONE, NONE},
                                 .waiting = {NONE, NONE}};
        char text[32], weight[16];
        snprintf(text, sizeof text, "10.%u.%u.%u:1", i >> 16 & 255, i >> 8 & 255, i & 255);
        snprintf(weight, sizeof weight, "%u", group->weight);
        const evener_attribute attribute = {"weight", weight};
        if (evener_address_create(text, &attribute, group->weight > 0, &e->world.addresses[i], NULL) !=
            EVENER_STATUS_OK) {
            abort();
        }
        if (group->antagonist_slowdown > 0 && group->antagonist_share > 0) {
            e->servers[i].antagonist = sim_unit(&random) > group->antagonist_share; /* switched over at once */
            sim_heap_push(&e->heap, e->start_ns, EVENT_ANTAGONIST, i, 0);
        }
    }
}

/* A random subset for each client (a shuffle that stops early), or one list of all. */
static void set_up_lists(engine *e)
{
    const uint32_t subset = e->scenario->subset;
    const bool all = subset == 0 || subset >= e->server_count;
    uint64_t random = sim_mix(e->scenario->seed + 3);
    e->list_length = all ? e->server_count : subset;
    e->lists = zeroed(all ? e->server_count : (size_t)subset * e->scenario->clients, sizeof *e->lists);
    e->scratch = zeroed(e->server_count, sizeof *e->scratch);
    uint32_t *order = zeroed(e->server_count, sizeof *order);
    for (uint32_t i = 0; i < e->server_count; i++) {
        order[i] = i;
    }
    if (all) {
        memcpy(e->lists, order, e->server_count * sizeof *order);
    }
    for (uint32_t c = 0; !all && c < e->scenario->clients; c++) {
        for (uint32_t i = 0; i < subset; i++) {
            const uint32_t j = i + sim_below(&random, e->server_count - i);
            const uint32_t drawn = order[j];
            order[j] = order[i];
            order[i] = drawn;
        }
        memcpy(e->lists + (size_t)c * subset, order, subset * sizeof *order);
    }
    free(order);
}

static void set_up_spans(engine *e)
{
    const sim_scenario *scenario = e->scenario;
    e->window_count = scenario->window_count > 0 ? scenario->window_count : 1;
    e->windows = zeroed(e->window_count, sizeof *e->windows);
    for (uint32_t i = 0; i < e->window_count; i++) {
        span *w = &e->windows[i];
        w->slice.from_s = scenario->window_count > 0 ? scenario->windows[i].from_s : 0;
        w->slice.to_s = scenario->window_count > 0 ? scenario->windows[i].to_s : scenario->duration_s;
        w->times = zeroed(1, sizeof *w->times);
        w->calls = zeroed(e->server_count, sizeof *w->calls);
        w->work_ns = zeroed(e->server_count, sizeof *w->work_ns);
        w->stay_ns = zeroed(e->server_count, sizeof *w->stay_ns);
    }
    e->series_count = scenario->series_s > 0 ? (size_t)ceil(scenario->duration_s / scenario->series_s) : 0;
    e->series = zeroed(e->series_count, sizeof *e->series);
    for (size_t i = 0; i < e->series_count; i++) {
        e->series[i].slice.from_s = (double)i * scenario->series_s;
        e->series[i].slice.to_s = (double)(i + 1) * scenario->series_s;
        e->series[i].times = zeroed(1, sizeof(sim_histogram));
    }
}

static bool set_up(engine *e)
{
    const sim_scenario *scenario = e->scenario;
    e->world.vl = virtual_loop_create(scenario->seed + 1);
    e->world.loop = virtual_loop_loop(e->world.vl);
    sim_world_init(&e->world);
    e->start_ns = now_ns(e);
    e->end_ns = after_s(e, scenario->duration_s);
    e->timeout_ns = (uint64_t)(scenario->timeout_ms * 1e6);
    e->network_ns = (uint64_t)(scenario->network_us * 1e3);
    e->free_call = NONE;
    e->rate_factor = 1;
    e->arrivals = sim_mix(scenario->seed + 4);
    e->antagonists = sim_mix(scenario->seed + 5);
    set_up_servers(e);
    set_up_lists(e);
    set_up_spans(e);
    e->clients = zeroed(scenario->clients, sizeof *e->clients);
    for (uint32_t i = 0; i < scenario->clients; i++) {
        if (!sim_client_open(&e->clients[i], &e->world)) {
            return false;
        }
    }
    update_clients(e);
    for (uint32_t i = 0; i < scenario->event_count; i++) {
        sim_heap_push(&e->heap, after_s(e, scenario->events[i].at_s), EVENT_SCRIPT, i, 0);
    }
    push_arrival(e);
    return true;
}

static void tear_down(engine *e)
{
    for (uint32_t i = 0; i < e->scenario->clients; i++) {
        sim_client_close(&e->clients[i]);
    }
    virtual_loop_destroy(e->world.vl);
    for (uint32_t i = 0; i < e->server_count; i++) {
        evener_address_unref(e->world.addresses[i]);
    }
    for (uint32_t i = 0; i < e->window_count; i++) {
        free(e->windows[i].times);
        free(e->windows[i].calls);
        free(e->windows[i].work_ns);
        free(e->windows[i].stay_ns);
    }
    for (size_t i = 0; i < e->series_count; i++) {
        free(e->series[i].times);
    }
    void *const memory[] = {e->world.addresses, e->windows, e->series, e->servers,     e->refusing,
                            e->clients,         e->lists,   e->calls,  e->heap.events, e->scratch};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
        free(memory[i]);
    }
}

/* ---- result ---- */

static sim_slice slice_of(const span *s)
{
    sim_slice slice = s->slice;
    slice.mean_us = s->times->total > 0 ? s->times->sum_ns / (double)s->times->total * 1e-3 : 0;
    slice.p50_us = sim_quantile_us(s->times, 0.5);
    slice.p99_us = sim_quantile_us(s->times, 0.99);
    slice.p999_us = sim_quantile_us(s->times, 0.999);
    return slice;
}

static sim_window_result window_result(const engine *e, const span *w)
{
    sim_window_result result = {.slice = slice_of(w), .queue_max = w->queue_max};
    double calls_sum = 0, calls_max = 0, stay_sum = 0, stay_max = 0;
    const double span_ns = (w->slice.to_s - w->slice.from_s) * 1e9;
    uint32_t present = 0;
    for (uint32_t i = 0; i < e->server_count; i++) {
        const server *s = &e->servers[i];
        if (s->present) {
            const double utilization = w->work_ns[i] / span_ns / (s->group->workers > 0 ? s->group->workers : 1);
            present++;
            calls_sum += w->calls[i];
            stay_sum += w->stay_ns[i];
            calls_max = w->calls[i] > calls_max ? w->calls[i] : calls_max;
            stay_max = w->stay_ns[i] > stay_max ? w->stay_ns[i] : stay_max;
            result.utilization_max = utilization > result.utilization_max ? utilization : result.utilization_max;
        }
    }
    result.calls_max_over_mean = calls_sum > 0 ? calls_max * present / calls_sum : 0;
    result.load_max_over_mean = stay_sum > 0 ? stay_max * present / stay_sum : 0;
    return result;
}

static sim_result *make_result(const engine *e)
{
    sim_result *result = zeroed(1, sizeof *result);
    result->window_count = e->window_count;
    for (uint32_t i = 0; i < e->window_count; i++) {
        result->windows[i] = window_result(e, &e->windows[i]);
    }
    result->series = zeroed(e->series_count, sizeof *result->series);
    result->series_count = e->series_count;
    for (size_t i = 0; i < e->series_count; i++) {
        result->series[i] = slice_of(&e->series[i]);
    }
    result->events = e->events;
    return result;
}

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

static double wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

sim_result *sim_run(const sim_scenario *scenario, const sim_policy *policy, char *message, size_t message_bytes)
{
    const double began_s = wall_s();
    evener_policy_choice choice = {0};
    if (!choose_policy(policy, &choice, message, message_bytes)) {
        return NULL;
    }
    engine e = {.scenario = scenario, .world = {.choice = &choice}};
    sim_result *result = NULL;
    if (set_up(&e)) {
        run_events(&e);
        result = make_result(&e);
        result->wall_s = wall_s() - began_s;
    } else {
        snprintf(message, message_bytes, "%s: the policy could not be made", policy->name);
    }
    tear_down(&e);
    evener_policy_choice_clear(&choice);
    return result;
}

void sim_result_destroy(sim_result *result)
{
    if (result != NULL) {
        free(result->series);
        free(result);
    }
}
