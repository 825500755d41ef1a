#include "bench/sim/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/sim/engine_internal.h"

#define FAIL_FAST_NS (100 * EVENER_NS_PER_US)

/* ---- collecting ---- */

void sim_account(engine *e, uint32_t index)
{
    server *s = &e->servers[index];
    const uint64_t now_ns = sim_now_ns(e);
    server_share *shares = &e->shares[(size_t)index * e->window_count];
    for (uint32_t i = 0; s->calls_now > 0 && s->accounted_ns < now_ns && i < e->window_count; i++) {
        const span *w = &e->windows[i];
        const uint64_t from_ns = s->accounted_ns > w->from_ns ? s->accounted_ns : w->from_ns;
        const uint64_t to_ns = now_ns < w->to_ns ? now_ns : w->to_ns;
        if (from_ns < to_ns) {
            shares[i].busy_ns += (double)s->running_count * (double)(to_ns - from_ns);
            shares[i].load_ns += (double)s->calls_now * (double)(to_ns - from_ns);
        }
    }
    s->accounted_ns = now_ns;
}

static bool is_in(const span *s, uint64_t time_ns)
{
    return time_ns >= s->from_ns && time_ns < s->to_ns;
}

static span *series_of(engine *e, uint64_t begun_ns)
{
    if (e->series_count == 0) {
        return NULL;
    }
    const size_t index = (size_t)((double)(begun_ns - e->start_ns) * 1e-9 / e->scenario->series_s);
    return index < e->series_count ? &e->series[index] : NULL;
}

/* Count the start of a call. `index`: its server; NONE: it found none. */
static void collect_begin(engine *e, uint64_t begun_ns, uint32_t index)
{
    const server *s = index != NONE ? &e->servers[index] : NULL;
    span *series = series_of(e, begun_ns);
    if (series != NULL) {
        series->slice.calls++;
        series->slice.group_calls[s != NULL ? s->group - e->scenario->groups : 0] += s != NULL;
    }
    for (uint32_t i = 0; i < e->window_count; i++) {
        span *w = &e->windows[i];
        if (is_in(w, begun_ns)) {
            w->slice.calls++;
            if (s != NULL) {
                w->slice.group_calls[s->group - e->scenario->groups]++;
                e->shares[(size_t)index * e->window_count + i].calls++;
                w->queue_max = s->calls_now > w->queue_max ? s->calls_now : w->queue_max;
            }
        }
    }
}

static void collect_end(engine *e, uint64_t begun_ns, uint64_t took_ns, evener_status_code code)
{
    span *series = series_of(e, begun_ns);
    if (series != NULL) {
        series->slice.failed += code != EVENER_STATUS_OK;
        histogram_add(series->times, took_ns);
    }
    for (uint32_t i = 0; i < e->window_count; i++) {
        if (is_in(&e->windows[i], begun_ns)) {
            e->windows[i].slice.failed += code != EVENER_STATUS_OK;
            histogram_add(e->windows[i].times, took_ns);
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
    collect_end(e, c->begun_ns, sim_now_ns(e) - c->begun_ns, code);
    sim_pick_done(&c->pick, code);
    c->at_client = false;
    free_if_over(e, index);
}

static void set_timeout(engine *e, uint32_t index)
{
    call *c = &e->calls[index];
    if (e->timeout_ns > 0 && !c->timeout_set) {
        c->timeout_set = true;
        const uint64_t at_ns = c->begun_ns + e->timeout_ns, now_ns = sim_now_ns(e);
        if (c->begun_ns == now_ns) {
            sim_queue_add(&e->timeouts, at_ns, EVENT_TIMEOUT, index, c->stamp);
        } else {
            sim_heap_push(&e->heap, at_ns > now_ns ? at_ns : now_ns, EVENT_TIMEOUT, index, c->stamp);
        }
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

/* Draw the call's service time and status for a start now. */
static void draw_outcome(engine *e, call *c)
{
    const server *s = &e->servers[c->server];
    uint64_t random = sim_mix(e->services + c->stamp);
    double service_ns = draw_service_ns(s->group, &random) * s->factor * s->slowdown + s->extra_ns;
    service_ns *= s->antagonist ? s->group->antagonist_slowdown : 1;
    c->code = EVENER_STATUS_OK;
    if (s->fail_share > 0 && sim_unit(&random) <= s->fail_share) {
        c->code = s->fail_code;
        service_ns = (double)FAIL_FAST_NS;
    }
    c->service_ns = (uint64_t)service_ns;
}

static void serve(engine *e, uint32_t index)
{
    call *c = &e->calls[index];
    server *s = &e->servers[c->server];
    sim_account(e, c->server);
    list_append(e, &s->running, index);
    s->running_count++;
    c->hangs = s->hung;
    if (c->hangs) {
        set_timeout(e, index);
        return;
    }
    const uint64_t served_ns = sim_now_ns(e) + c->service_ns;
    sim_heap_push(&e->heap, served_ns, EVENT_SERVED, index, c->stamp);
    if (e->timeout_ns > 0 && served_ns + e->network_ns > c->begun_ns + e->timeout_ns) {
        set_timeout(e, index);
    }
}

static void arrive(engine *e, uint32_t index)
{
    const uint32_t at = e->calls[index].server;
    server *s = &e->servers[at];
    sim_account(e, at);
    s->calls_now++;
    if (s->group->workers == 0 || s->running_count < s->group->workers) {
        serve(e, index);
    } else {
        list_append(e, &s->waiting, index);
        set_timeout(e, index);
    }
}

/* End a running call at the server; start the next queued call whose client still waits. */
static void leave_server(engine *e, uint32_t index)
{
    const uint32_t at = e->calls[index].server;
    server *s = &e->servers[at];
    sim_account(e, at);
    list_remove(e, &s->running, index);
    s->running_count--;
    s->calls_now--;
    e->calls[index].at_server = false;
    while (s->waiting.first != NONE && (s->group->workers == 0 || s->running_count < s->group->workers)) {
        const uint32_t next = s->waiting.first;
        list_remove(e, &s->waiting, next);
        if (e->calls[next].at_client) {
            serve(e, next);
        } else {
            s->calls_now--;
            e->calls[next].at_server = false;
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
        sim_heap_push(&e->heap, sim_now_ns(e) + e->network_ns, EVENT_ANSWERED, index, c->stamp);
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
            sim_heap_push(&e->heap, sim_now_ns(e) + e->calls[i].service_ns, EVENT_SERVED, i, e->calls[i].stamp);
        }
    }
}

static void kill_server(engine *e, uint32_t index)
{
    server *s = &e->servers[index];
    sim_account(e, index);
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

void sim_update_clients(engine *e)
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
            s->fail_code = event->code != EVENER_STATUS_OK ? event->code : EVENER_STATUS_UNAVAILABLE;
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
        sim_update_clients(e);
    }
    virtual_loop_run_until_idle(e->world.vl);
}

void sim_set_arrival(engine *e)
{
    const double rate = e->scenario->rate_per_s * e->rate_factor;
    const double gap_s = (e->scenario->even ? 1 : sim_exponential(&e->arrivals)) / rate;
    const uint64_t at_ns = sim_now_ns(e) + 1 + (uint64_t)(gap_s * 1e9);
    e->next_arrival_ns = at_ns < e->end_ns ? at_ns : UINT64_MAX;
}

static void begin_call(engine *e)
{
    sim_set_arrival(e);
    sim_client *client = &e->clients[sim_below(&e->arrivals, e->scenario->clients)];
    const uint32_t index = take_call(e);
    call *c = &e->calls[index];
    const uint64_t stamp = ++e->call_number;
    const uint32_t picked = sim_client_pick(client, &c->pick);
    *c = (call){.pick = c->pick, .stamp = stamp, .begun_ns = sim_now_ns(e), .server = picked};
    if (picked == NONE) { /* no backend: the call is not wait-for-ready, so it fails */
        collect_begin(e, c->begun_ns, NONE);
        collect_end(e, c->begun_ns, 0, EVENER_STATUS_UNAVAILABLE);
        free_if_over(e, index);
        return;
    }
    c->at_server = true;
    c->at_client = true;
    draw_outcome(e, c);
    arrive(e, index);
    collect_begin(e, e->calls[index].begun_ns, picked);
}

static void switch_antagonist(engine *e, uint32_t index)
{
    server *s = &e->servers[index];
    const double share = s->group->antagonist_share;
    const double spell_s = s->group->antagonist_spell_s;
    s->antagonist = !s->antagonist;
    const double mean_s = s->antagonist ? spell_s : spell_s * (1 - share) / share;
    sim_heap_push(&e->heap, sim_now_ns(e) + (uint64_t)(mean_s * sim_exponential(&e->antagonists) * 1e9),
                  EVENT_ANTAGONIST, index, 0);
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

static void advance_to(engine *e, uint64_t at_ns)
{
    if (at_ns > sim_now_ns(e)) {
        virtual_loop_advance_ns(e->world.vl, at_ns - sim_now_ns(e));
    }
    e->events++;
}

/* At the same time: events of the heap, then timeouts, then the arrival. */
static void run_events(engine *e)
{
    for (;;) {
        const sim_heap_event *timeout = sim_queue_first(&e->timeouts);
        const uint64_t in_heap_ns = e->heap.count > 0 ? e->heap.events[0].at_ns : UINT64_MAX;
        const uint64_t timeout_ns = timeout != NULL ? timeout->at_ns : UINT64_MAX;
        if (in_heap_ns != UINT64_MAX && in_heap_ns <= timeout_ns && in_heap_ns <= e->next_arrival_ns) {
            const sim_heap_event event = sim_heap_pop(&e->heap);
            advance_to(e, event.at_ns);
            run_event(e, &event);
        } else if (timeout != NULL && timeout_ns <= e->next_arrival_ns) {
            const sim_heap_event event = *timeout;
            e->timeouts.first++;
            advance_to(e, event.at_ns);
            run_event(e, &event);
        } else if (e->next_arrival_ns != UINT64_MAX) {
            advance_to(e, e->next_arrival_ns);
            begin_call(e);
        } else {
            break;
        }
    }
    for (uint32_t i = 0; i < e->server_count; i++) {
        sim_account(e, i);
    }
    /* Calls that still hang have failed. */
    for (uint32_t i = 0; i < e->call_capacity; i++) {
        if (e->calls[i].stamp != 0 && e->calls[i].at_client) {
            end_at_client(e, i, EVENER_STATUS_CANCELLED);
        }
    }
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

static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

sim_result *sim_run(const sim_scenario *scenario, const sim_policy *policy, char *message, size_t message_bytes)
{
    const double began_s = cpu_s();
    evener_policy_choice choice = {0};
    if (!choose_policy(policy, &choice, message, message_bytes)) {
        return NULL;
    }
    engine e = {.scenario = scenario, .world = {.choice = &choice}};
    sim_result *result = NULL;
    if (sim_set_up(&e)) {
        run_events(&e);
        result = sim_make_result(&e);
        result->cpu_s = cpu_s() - began_s;
    } else {
        snprintf(message, message_bytes, "%s: the policy cannot be created", policy->name);
    }
    sim_tear_down(&e);
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
