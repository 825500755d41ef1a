/* The scene of a simulation (servers, clients, lists, collected data) and its result. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/sim/engine_internal.h"

static void *zeroed(size_t count, size_t bytes)
{
    void *memory = calloc(count > 0 ? count : 1, bytes);
    if (memory == NULL) {
        abort(); /* a simulation cannot run with less memory */
    }
    return memory;
}

static void set_up_servers(engine *e)
{
    uint64_t random = sim_stream(e->scenario->seed, 2);
    for (uint32_t g = 0; g < e->scenario->group_count; g++) {
        e->group_first[g] = e->server_count;
        e->server_count += e->scenario->groups[g].count;
    }
    e->servers = aligned_alloc(SIM_CACHE_LINE, (e->server_count + 1) * sizeof *e->servers);
    if (e->servers == NULL) {
        abort();
    }
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
        e->servers[i] = (sim_server){.group = group,
                                     .factor = pow(spread, 2 * sim_unit(&random) - 1),
                                     .slowdown = 1,
                                     .present = !group->absent,
                                     .waiting = {NONE, NONE},
                                     .accounted_ns = e->start_ns};
        char text[32], weight[16];
        snprintf(text, sizeof text, "10.%u.%u.%u:1", i >> 16 & 255, i >> 8 & 255, i & 255);
        snprintf(weight, sizeof weight, "%u", group->weight);
        const evener_attribute attribute = {"weight", weight};
        if (evener_address_create(text, &attribute, group->weight > 0, &e->world.addresses[i], NULL) !=
            EVENER_STATUS_OK) {
            abort();
        }
        if (group->antagonist_slowdown > 0 && group->antagonist_share > 0) {
            /* inverted: the first event switches it at once */
            e->servers[i].antagonist = sim_unit(&random) > group->antagonist_share;
            sim_agenda_push(&e->agenda, e->start_ns, EVENT_ANTAGONIST, i, 0);
        }
    }
}

/* Give each client a random subset (a partial shuffle), or all clients one list. */
static void set_up_lists(engine *e)
{
    const uint32_t subset = e->scenario->subset;
    const bool all = subset == 0 || subset >= e->server_count;
    uint64_t random = sim_stream(e->scenario->seed, 3);
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
    e->shares = zeroed((size_t)e->window_count * e->server_count, sizeof *e->shares);
    for (uint32_t i = 0; i < e->window_count; i++) {
        span *w = &e->windows[i];
        w->slice.from_s = scenario->window_count > 0 ? scenario->windows[i].from_s : 0;
        w->slice.to_s = scenario->window_count > 0 ? scenario->windows[i].to_s : scenario->duration_s;
        w->from_ns = sim_after_s(e, w->slice.from_s);
        w->to_ns = sim_after_s(e, w->slice.to_s);
        w->times = zeroed(1, sizeof *w->times);
    }
    e->series_count = scenario->series_s > 0 ? (size_t)ceil(scenario->duration_s / scenario->series_s) : 0;
    e->series = zeroed(e->series_count, sizeof *e->series);
    for (size_t i = 0; i < e->series_count; i++) {
        e->series[i].slice.from_s = (double)i * scenario->series_s;
        e->series[i].slice.to_s = (double)(i + 1) * scenario->series_s;
        e->series[i].times = zeroed(1, sizeof(histogram));
    }
}

bool sim_set_up(engine *e, char *message, size_t message_bytes)
{
    const sim_scenario *scenario = e->scenario;
    e->world.vl = virtual_loop_create(sim_stream(scenario->seed, 1));
    e->world.loop = virtual_loop_loop(e->world.vl);
    e->start_ns = sim_now_ns(e);
    e->end_ns = sim_after_s(e, scenario->duration_s);
    e->timeout_ns = (uint64_t)(scenario->timeout_ms * 1e6);
    e->network_ns = (uint64_t)(scenario->network_us * 1e3);
    e->free_call = NONE;
    e->rate_factor = 1;
    e->arrivals = sim_stream(scenario->seed, 4);
    e->antagonists = sim_stream(scenario->seed, 5);
    e->services = sim_stream(scenario->seed, 6);
    set_up_servers(e);
    set_up_lists(e);
    set_up_spans(e);
    if (!sim_driver_open(e, message, message_bytes)) {
        return false;
    }
    sim_update_clients(e);
    for (uint32_t i = 0; i < scenario->event_count; i++) {
        sim_agenda_push(&e->agenda, sim_after_s(e, scenario->events[i].at_s), EVENT_SCRIPT, i, 0);
    }
    sim_set_arrival(e);
    return true;
}

void sim_tear_down(engine *e)
{
    sim_driver_close(e);
    virtual_loop_destroy(e->world.vl);
    for (uint32_t i = 0; i < e->server_count; i++) {
        evener_address_unref(e->world.addresses[i]);
    }
    for (uint32_t i = 0; i < e->window_count; i++) {
        free(e->windows[i].times);
    }
    for (size_t i = 0; i < e->series_count; i++) {
        free(e->series[i].times);
    }
    sim_agenda_clear(&e->agenda);
    void *const memory[] = {e->world.addresses, e->windows, e->series,  e->servers,         e->refusing,
                            e->lists,           e->calls,   e->scratch, e->timeouts.events, e->shares};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
        free(memory[i]);
    }
}

/* ---- result ---- */

static sim_slice slice_of(const span *s)
{
    sim_slice slice = s->slice;
    slice.mean_us = histogram_mean(s->times) * 1e-3;
    slice.p50_us = (double)histogram_quantile(s->times, 0.5) * 1e-3;
    slice.p99_us = (double)histogram_quantile(s->times, 0.99) * 1e-3;
    slice.p999_us = (double)histogram_quantile(s->times, 0.999) * 1e-3;
    return slice;
}

static sim_window_result window_result(const engine *e, const span *w)
{
    sim_window_result result = {.slice = slice_of(w), .queue_max = w->queue_max};
    double calls_sum = 0, calls_max = 0, load_sum = 0, load_max = 0, busy_sum = 0;
    const double span_ns = (double)(w->to_ns - w->from_ns);
    uint32_t present = 0;
    for (uint32_t i = 0; i < e->server_count; i++) {
        const sim_server *s = &e->servers[i];
        if (s->present) {
            const server_share *of = &e->shares[(size_t)i * e->window_count + (size_t)(w - e->windows)];
            const double busy = of->busy_ns / span_ns / (s->group->workers > 0 ? s->group->workers : 1);
            present++;
            calls_sum += of->calls;
            load_sum += of->load_ns;
            busy_sum += busy;
            calls_max = of->calls > calls_max ? of->calls : calls_max;
            load_max = of->load_ns > load_max ? of->load_ns : load_max;
            result.busy_share_max = busy > result.busy_share_max ? busy : result.busy_share_max;
        }
    }
    result.calls_max_over_mean = calls_sum > 0 ? calls_max * present / calls_sum : 0;
    result.load_max_over_mean = load_sum > 0 ? load_max * present / load_sum : 0;
    result.busy_share_mean = present > 0 ? busy_sum / present : 0;
    return result;
}

sim_result *sim_make_result(const engine *e)
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
