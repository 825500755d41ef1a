#include "bench/sim/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/sim/engine_internal.h"

#define FAIL_FAST_NS (100 * EVENER_NS_PER_US)

/* The start of an attempt at its server. */
typedef struct sim_start {
    uint64_t serving;
    uint32_t index;
} sim_start;

/* ---- collecting ---- */

void sim_account(engine *e, uint32_t index)
{
    sim_server *s = &e->servers[index];
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

void sim_collect_call(engine *e, uint64_t begun_ns)
{
    span *series = series_of(e, begun_ns);
    if (series != NULL) {
        series->slice.calls++;
    }
    for (uint32_t i = 0; i < e->window_count; i++) {
        e->windows[i].slice.calls += is_in(&e->windows[i], begun_ns);
    }
}

/* Count an attempt that has arrived at its server. */
static void collect_attempt(engine *e, uint64_t begun_ns, const sim_sending *sending)
{
    const sim_server *s = &e->servers[sending->server];
    const size_t group = (size_t)(s->group - e->scenario->groups);
    span *series = series_of(e, begun_ns);
    if (series != NULL) {
        series->slice.attempts++;
        series->slice.repeated += sending->repeated;
        series->slice.group_calls[group]++;
    }
    for (uint32_t i = 0; i < e->window_count; i++) {
        span *w = &e->windows[i];
        if (is_in(w, begun_ns)) {
            w->slice.attempts++;
            w->slice.repeated += sending->repeated;
            w->slice.group_calls[group]++;
            e->shares[(size_t)sending->server * e->window_count + i].calls++;
            w->queue_max = s->calls_now > w->queue_max ? s->calls_now : w->queue_max;
        }
    }
}

void sim_collect_end(engine *e, uint64_t begun_ns, uint64_t took_ns, evener_status_code code)
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

static void queue_append(engine *e, call_list *list, uint32_t index)
{
    e->calls[index].next = NONE;
    *(list->last != NONE ? &e->calls[list->last].next : &list->first) = index;
    list->last = index;
}

static uint32_t queue_take(const engine *e, call_list *list)
{
    const uint32_t index = list->first;
    list->first = e->calls[index].next;
    if (list->first == NONE) {
        list->last = NONE;
    }
    return index;
}

static void grow(engine *e)
{
    const uint32_t old = e->call_capacity, capacity = old == 0 ? 1024 : old * 2;
    sim_attempt *calls = aligned_alloc(SIM_CACHE_LINE, capacity * sizeof *calls);
    if (calls == NULL) {
        abort();
    }
    if (old > 0) {
        memcpy(calls, e->calls, old * sizeof *calls);
    }
    free(e->calls);
    e->calls = calls;
    e->call_capacity = capacity;
    for (uint32_t i = capacity; i-- > old;) {
        e->calls[i] = (sim_attempt){.next = e->free_call};
        e->free_call = i;
    }
}

uint32_t sim_take(engine *e)
{
    if (e->free_call == NONE) {
        grow(e);
    }
    const uint32_t index = e->free_call;
    e->free_call = e->calls[index].next;
    return index;
}

static void free_if_over(engine *e, uint32_t index)
{
    sim_attempt *c = &e->calls[index];
    if (!c->at_server && !c->at_client) {
        c->stamp = 0;
        c->next = e->free_call;
        e->free_call = index;
    }
}

void sim_forget(engine *e, uint32_t index)
{
    e->calls[index].at_client = false;
    free_if_over(e, index);
}

static void set_timeout(engine *e, uint32_t index)
{
    sim_attempt *c = &e->calls[index];
    if (c->deadline_ns != UINT64_MAX && !c->timeout_set) {
        c->timeout_set = true;
        const uint64_t at_ns = c->deadline_ns, now_ns = sim_now_ns(e);
        if (at_ns == now_ns + e->timeout_ns) {
            sim_queue_add(&e->timeouts, at_ns, EVENT_TIMEOUT, index, c->stamp);
        } else {
            sim_agenda_push(&e->agenda, at_ns > now_ns ? at_ns : now_ns, EVENT_TIMEOUT, index, c->stamp);
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
static void draw_outcome(engine *e, sim_attempt *c, uint64_t draw)
{
    const sim_server *s = &e->servers[c->server];
    uint64_t random = sim_mix(e->services + draw);
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
    sim_attempt *c = &e->calls[index];
    sim_server *s = &e->servers[c->server];
    sim_account(e, c->server);
    c->serving = ++e->servings;
    s->running_count++;
    c->hangs = s->hung;
    if (c->hangs) {
        set_timeout(e, index);
        return;
    }
    const uint64_t served_ns = sim_now_ns(e) + c->service_ns;
    sim_agenda_push(&e->agenda, served_ns, EVENT_SERVED, index, c->stamp);
    if (c->deadline_ns < served_ns + e->network_ns) {
        set_timeout(e, index);
    }
}

static void arrive(engine *e, uint32_t index)
{
    const uint32_t at = e->calls[index].server;
    sim_server *s = &e->servers[at];
    sim_account(e, at);
    s->calls_now++;
    if (s->group->workers == 0 || s->running_count < s->group->workers) {
        serve(e, index);
    } else {
        queue_append(e, &s->waiting, index);
        set_timeout(e, index);
    }
}

void sim_send(engine *e, uint32_t index, const sim_sending *sending)
{
    sim_attempt *c = &e->calls[index];
    c->stamp = ++e->stamps;
    c->begun_ns = sending->begun_ns;
    c->deadline_ns = sending->deadline_ns;
    c->serving = 0;
    c->server = sending->server;
    c->at_server = true;
    c->at_client = true;
    c->hangs = false;
    c->timeout_set = false;
    draw_outcome(e, c, sending->draw);
    arrive(e, index);
    collect_attempt(e, sim_now_ns(e), sending);
}

/* End a running call at the server; start the next queued call whose client still waits. */
static void leave_server(engine *e, uint32_t index)
{
    const uint32_t at = e->calls[index].server;
    sim_server *s = &e->servers[at];
    sim_account(e, at);
    s->running_count--;
    s->calls_now--;
    e->calls[index].at_server = false;
    while (s->waiting.first != NONE && (s->group->workers == 0 || s->running_count < s->group->workers)) {
        const uint32_t next = queue_take(e, &s->waiting);
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
    sim_attempt *c = &e->calls[index];
    if (c->hangs) {
        return;
    }
    leave_server(e, index);
    c = &e->calls[index];
    if (!c->at_client) {
        free_if_over(e, index);
    } else if (e->network_ns > 0) {
        sim_agenda_push(&e->agenda, sim_now_ns(e) + e->network_ns, EVENT_ANSWERED, index, c->stamp);
    } else {
        sim_driver_end(e, index, c->code);
    }
}

static int compare_starts(const void *a, const void *b)
{
    const sim_start *x = a, *y = b;
    return (x->serving > y->serving) - (x->serving < y->serving);
}

/* Return the attempts in service at a server, in the order of their starts; free them. It reads all attempts: scripts ask
 * for it seldom, and a list would cost each call more. */
static sim_start *in_service(const engine *e, uint32_t server, size_t *count)
{
    sim_start *starts = malloc((e->servers[server].running_count + 1) * sizeof *starts);
    if (starts == NULL) {
        abort();
    }
    *count = 0;
    for (uint32_t i = 0; i < e->call_capacity && *count < e->servers[server].running_count; i++) {
        const sim_attempt *c = &e->calls[i];
        if (c->stamp != 0 && c->at_server && c->serving != 0 && c->server == server) {
            starts[(*count)++] = (sim_start){c->serving, i};
        }
    }
    qsort(starts, *count, sizeof *starts, compare_starts);
    return starts;
}

static void hang(engine *e, uint32_t server)
{
    size_t count;
    sim_start *starts = in_service(e, server, &count);
    e->servers[server].hung = true;
    for (size_t i = 0; i < count; i++) {
        e->calls[starts[i].index].hangs = true;
        set_timeout(e, starts[i].index);
    }
    free(starts);
}

static void recover(engine *e, uint32_t server)
{
    sim_server *s = &e->servers[server];
    size_t count;
    sim_start *starts = in_service(e, server, &count);
    s->extra_ns = 0;
    s->slowdown = 1;
    s->fail_share = 0;
    s->hung = false;
    for (size_t i = 0; i < count; i++) {
        sim_attempt *c = &e->calls[starts[i].index];
        if (c->hangs) {
            c->hangs = false;
            sim_agenda_push(&e->agenda, sim_now_ns(e) + c->service_ns, EVENT_SERVED, starts[i].index, c->stamp);
        }
    }
    free(starts);
}

static void lose(engine *e, uint32_t index)
{
    e->calls[index].at_server = false;
    if (e->calls[index].at_client) {
        sim_driver_end(e, index, EVENER_STATUS_UNAVAILABLE);
    } else {
        free_if_over(e, index);
    }
}

static void kill_server(engine *e, uint32_t index)
{
    sim_server *s = &e->servers[index];
    size_t count;
    sim_account(e, index);
    e->refusing[index] = true;
    sim_driver_drop(e, index);
    while (s->waiting.first != NONE) {
        lose(e, queue_take(e, &s->waiting));
    }
    sim_start *starts = in_service(e, index, &count);
    for (size_t i = 0; i < count; i++) {
        lose(e, starts[i].index);
    }
    free(starts);
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
        sim_driver_update(e, i, e->scratch, count);
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
        sim_server *s = &e->servers[i];
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
            hang(e, i);
            break;
        case SIM_RECOVER:
            recover(e, i);
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

/* Fetch what the next two arrivals will read: their clients follow from the state of the random numbers. */
static void prefetch_clients(const engine *e)
{
    uint64_t next = e->arrivals, after;
    if (!e->scenario->even) {
        (void)sim_random(&next); /* the gap */
    }
    const uint32_t client = sim_below(&next, e->scenario->clients);
    after = next;
    if (!e->scenario->even) {
        (void)sim_random(&after);
    }
    sim_driver_prefetch_client(e, client, sim_below(&after, e->scenario->clients));
}

static void begin_call(engine *e)
{
    sim_set_arrival(e);
    const uint32_t client = sim_below(&e->arrivals, e->scenario->clients);
    prefetch_clients(e);
    sim_driver_call(e, client);
}

static void switch_antagonist(engine *e, uint32_t index)
{
    sim_server *s = &e->servers[index];
    const double share = s->group->antagonist_share;
    const double spell_s = s->group->antagonist_spell_s;
    s->antagonist = !s->antagonist;
    const double mean_s = s->antagonist ? spell_s : spell_s * (1 - share) / share;
    sim_agenda_push(&e->agenda, sim_now_ns(e) + (uint64_t)(mean_s * sim_exponential(&e->antagonists) * 1e9),
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
            sim_driver_end(e, event->index,
                           event->kind == EVENT_TIMEOUT ? EVENER_STATUS_DEADLINE_EXCEEDED
                                                        : e->calls[event->index].code);
        }
    } else if (open && event->kind == EVENT_ANTAGONIST) {
        switch_antagonist(e, event->index);
    } else if (open && event->kind == EVENT_SCRIPT) {
        const sim_event *script = &e->scenario->events[event->index];
        run_script(e, script);
        if (script->every_s > 0) {
            sim_agenda_push(&e->agenda, event->at_ns + (uint64_t)(script->every_s * 1e9), EVENT_SCRIPT, event->index,
                            0);
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

/* Run the loop's next tasks and timers if they are due before anything else: they may begin attempts. */
static bool run_loop_before(engine *e, uint64_t next_ns)
{
    const uint64_t posted_ns = virtual_loop_has_posted(e->world.vl) ? sim_now_ns(e) : UINT64_MAX;
    const uint64_t timer_ns = virtual_loop_next_deadline_ns(e->world.vl);
    const uint64_t due_ns = posted_ns < timer_ns ? posted_ns : timer_ns;
    if (!e->loop_begins_attempts || due_ns > next_ns || (next_ns == UINT64_MAX && e->open_calls == 0)) {
        return false;
    }
    virtual_loop_advance_ns(e->world.vl, due_ns > sim_now_ns(e) ? due_ns - sim_now_ns(e) : 0);
    return true;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Fetch what the next events of the heap will read: with thousands of servers most of it is not in a cache. The root is
 * the next event, of which a child of the last root brought the attempt. */
static void prefetch_next(const engine *e)
{
    const sim_heap_event *events = e->agenda.near.events;
    for (size_t i = 1; i < 5 && i < e->agenda.near.count; i++) {
        if (events[i].kind >= EVENT_SERVED) {
            __builtin_prefetch(&e->calls[events[i].index]);
            __builtin_prefetch(&e->calls[events[i].index].pick);
        }
    }
    if (e->agenda.near.count > 0 && events[0].kind >= EVENT_SERVED) {
        const sim_attempt *c = &e->calls[events[0].index];
        __builtin_prefetch(&e->servers[c->server]);
        __builtin_prefetch(&e->shares[(size_t)c->server * e->window_count]);
        __builtin_prefetch(&e->shares[(size_t)c->server * e->window_count + e->window_count - 1]);
        sim_driver_prefetch(c);
    }
}

/* At the same time: the loop, events of the agenda, then timeouts, then the arrival. */
static void run_events(engine *e)
{
    for (;;) {
        const sim_heap_event *timeout = sim_queue_first(&e->timeouts);
        const sim_heap_event *first = sim_agenda_first(&e->agenda);
        const uint64_t in_agenda_ns = first != NULL ? first->at_ns : UINT64_MAX;
        const uint64_t timeout_ns = timeout != NULL ? timeout->at_ns : UINT64_MAX;
        if (run_loop_before(e, least(least(in_agenda_ns, timeout_ns), e->next_arrival_ns))) {
            continue;
        }
        if (in_agenda_ns != UINT64_MAX && in_agenda_ns <= timeout_ns && in_agenda_ns <= e->next_arrival_ns) {
            const sim_heap_event event = sim_heap_pop(&e->agenda.near);
            prefetch_next(e);
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
            sim_driver_end(e, i, EVENER_STATUS_CANCELLED);
        }
    }
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
    engine e = {.scenario = scenario, .policy = policy};
    sim_result *result = NULL;
    if (sim_set_up(&e, message, message_bytes)) {
        run_events(&e);
        result = sim_make_result(&e);
        result->cpu_s = cpu_s() - began_s;
    }
    sim_tear_down(&e);
    return result;
}

void sim_result_destroy(sim_result *result)
{
    if (result != NULL) {
        free(result->series);
        free(result);
    }
}
