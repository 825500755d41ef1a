/* evener load TARGET /package.Service/Method: send calls and print what each backend got.
 *
 * Closed loop (--concurrency): a fixed number of calls is in flight; each one that ends starts the next. Open loop
 * (--rate): calls start by the clock, whether earlier ones have ended or not, and latency counts from the time when a
 * call was due. So a stalled service cannot hide its stall by slowing the generator down (coordinated omission). */
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "examples/evener/cli.h"
#include "examples/evener/commands.h"
#include "examples/evener/load_schedule.h"
#include "examples/evener/load_stats.h"
#include "examples/evener/messages.h"
#include "examples/evener/service.h"
#include "examples/evener/types.h"

#define OTHERS_WAIT_MS 2000
#define SLICE_NS 200000000u
#define INTERRUPTED_WAIT_NS                                                                                            \
    1000000000u /* time that an interrupt leaves for calls in flight, before they are cancelled */
#define DURATION_MS_DEFAULT 10000
#define RATE_SHORTFALL_MAX 0.01 /* warn beyond */
#define SLOTS_CLOSED 16
#define SLOTS_OPEN 10000 /* limit of calls in flight with --rate */

typedef struct load load;

/* Carries one call at a time. */
typedef struct slot {
    load *owner;
    struct slot *next_free;
    uint64_t start_ns; /* with --rate: when the call was due */
    evener_call_details details;
    pthread_mutex_t mutex; /* a call may end, and start the next one, before the start of it has returned */
    evener_call *call;     /* the last one that was started: a reference; under mutex */
} slot;

struct load {
    const cli_options *options;
    cli_service service;
    char *method;         /* "/package.Service/Method"; owned */
    evener_bytes request; /* owned */
    uint64_t duration_ms; /* 0: no limit */
    size_t slot_count;
    bool progress;

    load_stats stats;
    uint64_t started; /* without --rate; atomic: number of calls started, and of attempts to start more than --calls */
    load_schedule schedule; /* with --rate */
    uint64_t began_ns;
    uint64_t end_ns; /* no call starts later; UINT64_MAX: no limit */
    bool cut_short;  /* atomic: an interrupt has kept a call from starting */
    slot *slots;
    uint64_t in_flight; /* atomic: slots in use */
    sem_t over;         /* posted when the last call has ended */
    pthread_mutex_t free_mutex;
    slot *free_slots; /* with --rate */
};

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Sleep until a time. False: interrupted. Another thread may take the signal, which does not end this thread's sleep:
 * sleep in slices. */
static bool sleep_until(uint64_t time_ns)
{
    uint64_t now = now_ns();
    while (!interrupted && now < time_ns) {
        const uint64_t until_ns = time_ns - now > SLICE_NS ? now + SLICE_NS : time_ns;
        const struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
                                       .tv_nsec = (long)(until_ns % 1000000000u)};
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        now = now_ns();
    }
    return !interrupted;
}

/* ---- calls ---- */

static void call_ended(void *arg, const evener_status *status, evener_bytes *response);

/* Return whether another call may start, and count it. */
static bool count_start(load *l)
{
    const bool is_over = now_ns() >= l->end_ns;
    if (interrupted || is_over) {
        if (!is_over) {
            __atomic_store_n(&l->cut_short, true, __ATOMIC_RELAXED);
        }
        return false;
    }
    const uint64_t number = __atomic_fetch_add(&l->started, 1, __ATOMIC_RELAXED);
    return l->options->calls_max == 0 || number < l->options->calls_max;
}

/* Start a call. False: it could not start, and was counted as failed. */
static bool start_call(slot *s)
{
    load *l = s->owner;
    const evener_call_options options = {
        .size = sizeof options,
        .timeout_ms = l->options->timeout_ms,
        .wait_for_ready = l->options->wait_for_ready ? EVENER_WAIT_FOR_READY_YES : EVENER_WAIT_FOR_READY_DEFAULT,
        .metadata = l->options->headers,
        .metadata_count = l->options->header_count,
        .details = &s->details,
    };
    evener_status status;
    evener_call *call = NULL;
    pthread_mutex_lock(&s->mutex);
    const evener_status_code code =
        evener_call_start(l->service.channel, l->method, &l->request, &options, call_ended, s, &call, &status);
    if (code == EVENER_STATUS_OK) {
        evener_call_unref(s->call);
        s->call = call;
    }
    pthread_mutex_unlock(&s->mutex);
    if (code != EVENER_STATUS_OK) {
        load_stats_add(&l->stats, NULL, &status, now_ns() - s->start_ns);
    }
    return code == EVENER_STATUS_OK;
}

/* Cancel the calls in flight. Called again until there are none: one may be about to start. */
static void cancel_calls(load *l)
{
    for (size_t i = 0; i < l->slot_count; i++) {
        slot *s = &l->slots[i];
        pthread_mutex_lock(&s->mutex);
        if (s->call != NULL) {
            evener_call_cancel(s->call); /* nothing happens if it has ended */
        }
        pthread_mutex_unlock(&s->mutex);
    }
}

/* Closed loop: start calls until one is in flight. False: no further call may start. */
static bool start_next(slot *s)
{
    while (count_start(s->owner)) {
        s->start_ns = now_ns();
        if (start_call(s)) {
            return true;
        }
    }
    return false;
}

static void slot_done(slot *s)
{
    load *l = s->owner;
    if (l->options->rate > 0) {
        pthread_mutex_lock(&l->free_mutex);
        s->next_free = l->free_slots;
        l->free_slots = s;
        pthread_mutex_unlock(&l->free_mutex);
    }
    if (__atomic_sub_fetch(&l->in_flight, 1, __ATOMIC_ACQ_REL) == 0) {
        sem_post(&l->over);
    }
}

static void call_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    slot *s = arg;
    load *l = s->owner;
    (void)response;
    load_stats_add(&l->stats, s->details.peer, status, now_ns() - s->start_ns);
    if (l->options->rate > 0 || !start_next(s)) {
        slot_done(s);
    }
}

/* ---- driving ---- */

static void progress(load *l, uint64_t began_ns, uint64_t *last_ns)
{
    const uint64_t now = now_ns();
    if (l->progress && now - *last_ns >= 1000000000u) {
        load_stats_print_progress(&l->stats, stderr, (double)(now - began_ns) / 1e9, (double)(now - *last_ns) / 1e9);
        *last_ns = now;
    }
}

static void drive_closed(load *l)
{
    /* One more than the slots: the count cannot reach 0 before all of them have started. */
    l->in_flight = l->slot_count + 1;
    for (size_t i = 0; i < l->slot_count; i++) {
        if (!start_next(&l->slots[i])) {
            slot_done(&l->slots[i]);
        }
    }
    if (__atomic_sub_fetch(&l->in_flight, 1, __ATOMIC_ACQ_REL) == 0) {
        sem_post(&l->over);
    }
}

static slot *take_free_slot(load *l)
{
    pthread_mutex_lock(&l->free_mutex);
    slot *s = l->free_slots;
    if (s != NULL) {
        l->free_slots = s->next_free;
    }
    pthread_mutex_unlock(&l->free_mutex);
    return s;
}

/* Start each call when it is due, or later if it has to wait for a slot; none after the end of the duration. */
static void drive_open(load *l, uint64_t *last_ns)
{
    for (size_t i = 0; i < l->slot_count; i++) {
        l->slots[i].next_free = l->free_slots;
        l->free_slots = &l->slots[i];
    }
    l->in_flight = 1;
    load_schedule *schedule = &l->schedule;
    *schedule = load_schedule_begin(l->options->rate, l->began_ns, l->end_ns, l->options->calls_max);
    uint64_t next_ns;
    while ((next_ns = load_schedule_next_ns(schedule)) != UINT64_MAX && sleep_until(next_ns)) {
        slot *s;
        progress(l, l->began_ns, last_ns);
        while ((s = take_free_slot(l)) == NULL && !interrupted && now_ns() < l->end_ns) {
            (void)sleep_until(now_ns() + 100000);
        }
        const uint64_t due_ns = s != NULL ? load_schedule_start(schedule, now_ns()) : UINT64_MAX;
        if (due_ns == UINT64_MAX) {
            break; /* those that are due and left are counted as not started */
        }
        s->start_ns = due_ns;
        (void)__atomic_fetch_add(&l->in_flight, 1, __ATOMIC_RELAXED);
        if (!start_call(s)) {
            slot_done(s);
        }
    }
    if (interrupted) {
        l->cut_short = now_ns() < l->end_ns;
        load_schedule_interrupt(schedule, now_ns());
    }
    if (__atomic_sub_fetch(&l->in_flight, 1, __ATOMIC_ACQ_REL) == 0) {
        sem_post(&l->over);
    }
}

/* Return whether as many calls as --calls says have begun. False without --calls. */
static bool made_all_calls(const load *l)
{
    const uint64_t begun = l->options->rate > 0 ? l->schedule.started : l->started;
    return l->options->calls_max != 0 && begun >= l->options->calls_max;
}

/* Return how the run went; all calls have ended. */
static load_run summary(const load *l)
{
    const uint64_t elapsed_ns = now_ns() - l->began_ns;
    load_run run = {.elapsed_s = elapsed_ns > 0 ? (double)elapsed_ns / 1e9 : 1e-9};
    const double duration_s = (double)l->duration_ms / 1e3;
    const bool timed = l->duration_ms > 0 && !interrupted;
    if (l->options->rate > 0) {
        const double spread_s = load_schedule_spread_s(&l->schedule);
        run.asked_rate = l->options->rate;
        run.achieved_rate = spread_s > 0 ? (double)l->schedule.started / spread_s : 0;
        run.not_started = load_schedule_not_started(&l->schedule);
        run.window_s = timed && duration_s < spread_s ? duration_s : spread_s;
    } else {
        run.window_s = timed && !made_all_calls(l) ? duration_s : run.elapsed_s;
    }
    run.window_s = run.window_s > 0 ? run.window_s : run.elapsed_s;
    return run;
}

static load_run drive(load *l)
{
    l->began_ns = now_ns();
    uint64_t last_ns = l->began_ns;
    uint64_t interrupted_ns = 0;
    l->end_ns = l->duration_ms > 0 ? l->began_ns + l->duration_ms * UINT64_C(1000000) : UINT64_MAX;
    if (l->options->rate > 0) {
        drive_open(l, &last_ns);
    } else {
        drive_closed(l);
    }
    for (;;) {
        struct timespec soon;
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_nsec += 200000000;
        if (soon.tv_nsec >= 1000000000) {
            soon.tv_sec++;
            soon.tv_nsec -= 1000000000;
        }
        if (sem_timedwait(&l->over, &soon) == 0) {
            break;
        }
        if (interrupted && interrupted_ns == 0) {
            interrupted_ns = now_ns();
        } else if (interrupted && now_ns() - interrupted_ns >= INTERRUPTED_WAIT_NS) {
            cancel_calls(l);
        }
        progress(l, l->began_ns, &last_ns);
    }
    return summary(l);
}

/* The first backend is READY: wait for the others too, otherwise the first calls would not be balanced. */
static void wait_for_the_others(load *l)
{
    const uint64_t until_ns = now_ns() + OTHERS_WAIT_MS * UINT64_C(1000000);
    bool connecting = true;
    while (connecting && !interrupted && now_ns() < until_ns) {
        evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
        if (evener_channel_get_stats(l->service.channel, &stats, NULL) != EVENER_STATUS_OK) {
            return;
        }
        connecting = false;
        for (size_t i = 0; i < stats.subchannel_count; i++) {
            connecting = connecting || stats.subchannels[i].state == EVENER_CONNECTING;
        }
        evener_channel_stats_clear(&stats);
        if (connecting) {
            (void)sleep_until(now_ns() + 5000000);
        }
    }
}

/* Find out what to send: the bytes of the command line, or those that its JSON stands for. */
static bool prepare(load *l)
{
    const cli_options *options = l->options;
    if (!cli_is_typed(options)) {
        l->method = strdup(options->method);
        l->request = evener_bytes_ref(&options->request);
        return l->method != NULL || cli_error("out of memory");
    }
    evener_descriptors *types = NULL;
    char *name = cli_service_name(options->method);
    const evener_method *method = name != NULL && cli_types_open(options, &l->service, name, &types, NULL)
                                      ? cli_types_method(options, types)
                                      : NULL;
    bool ok = method != NULL;
    if (ok && (method->client_streaming || method->server_streaming)) {
        ok = cli_error("%s: load makes unary calls only", method->full_name);
    }
    if (ok) {
        ok = cli_messages_take_one(options, method, &l->request) &&
             ((l->method = strdup(method->path)) != NULL || cli_error("out of memory"));
    }
    free(name);
    evener_descriptors_destroy(types);
    return ok;
}

static int report(load *l, const load_run *outcome)
{
    if (l->progress) {
        fputs("\r\033[K", stderr);
    }
    if (l->options->json) {
        load_stats_print_json(&l->stats, l->service.channel, outcome);
    } else {
        load_stats_print_table(&l->stats, stdout, l->service.channel, outcome);
    }
    if (outcome->achieved_rate < outcome->asked_rate * (1 - RATE_SHORTFALL_MAX)) {
        cli_error(
            "warning: %.6g calls per second were asked for, %.6g were achieved; %llu calls that were due were not "
            "started: raise --concurrency, lower --rate, or use several programs",
            outcome->asked_rate, outcome->achieved_rate, (unsigned long long)outcome->not_started);
    }
    if (l->options->has_failures_max && l->stats.failed > l->options->failures_max) {
        cli_error("%llu calls failed, more than --max-failures %llu", (unsigned long long)l->stats.failed,
                  (unsigned long long)l->options->failures_max);
        return EXIT_FAILURE;
    }
    if (l->options->has_failures_max && l->cut_short && !made_all_calls(l)) {
        cli_error("interrupted after %llu calls: --max-failures needs a whole run", (unsigned long long)l->stats.calls);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static int run(load *l)
{
    evener_status status;
    if (evener_channel_wait_ready(l->service.channel, l->options->connect_timeout_ms, &status) != EVENER_STATUS_OK) {
        cli_error("%s", status.message);
        cli_service_hint(l->options, &l->service, status.message);
        return EXIT_FAILURE;
    }
    wait_for_the_others(l);
    if (!prepare(l)) {
        return EXIT_FAILURE;
    }
    l->slots = calloc(l->slot_count, sizeof *l->slots);
    if (l->slots == NULL) {
        cli_error("out of memory");
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < l->slot_count; i++) {
        l->slots[i] = (slot){.owner = l, .details = {.size = sizeof l->slots[i].details}};
        pthread_mutex_init(&l->slots[i].mutex, NULL);
    }
    load_stats_init(&l->stats);
    sem_init(&l->over, 0, 0);
    pthread_mutex_init(&l->free_mutex, NULL);
    /* The first signal ends the run after the calls in flight; a second one ends the program. */
    const struct sigaction action = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    l->progress = !l->options->quiet && isatty(STDERR_FILENO);

    const load_run outcome = drive(l);
    const int result = report(l, &outcome);
    for (size_t i = 0; i < l->slot_count; i++) {
        pthread_mutex_lock(&l->slots[i].mutex); /* the last call may have ended before its start_call() has */
        evener_call_unref(l->slots[i].call);
        pthread_mutex_unlock(&l->slots[i].mutex);
        pthread_mutex_destroy(&l->slots[i].mutex);
        evener_call_details_clear(&l->slots[i].details);
    }
    free(l->slots);
    load_stats_clear(&l->stats);
    pthread_mutex_destroy(&l->free_mutex);
    sem_destroy(&l->over);
    return result;
}

int cli_load(const cli_options *options)
{
    static load l; /* its histogram is large for a stack */
    l = (load){.options = options, .duration_ms = options->duration_ms, .slot_count = options->concurrency};
    if (options->duration_ms == 0 && options->calls_max == 0) {
        l.duration_ms = DURATION_MS_DEFAULT;
    }
    if (l.slot_count == 0) {
        l.slot_count = options->rate > 0 ? SLOTS_OPEN : SLOTS_CLOSED;
    }
    const int result = cli_service_open(options, &l.service) ? run(&l) : EXIT_FAILURE;
    cli_service_close(&l.service);
    evener_bytes_clear(&l.request);
    free(l.method);
    return result;
}
