/* evener load TARGET /package.Service/Method: drives calls and shows what each backend made of them.
 *
 * Closed loop (--concurrency): so many calls are under way at any time; each one that ends starts the next. Open loop
 * (--rate): calls start by the clock whether earlier ones have ended or not, and latency counts from when a call should
 * have started: a stalled service cannot hide its stall by slowing the generator down (coordinated omission). */
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "examples/evener/cli.h"
#include "examples/evener/commands.h"
#include "examples/evener/load_stats.h"

#define CONCURRENCY_MAX 100000
#define OTHERS_WAIT_MS 2000
#define SLICE_NS 200000000u
#define OPEN_LOOP_SLOTS 10000 /* calls under way with --rate, unless --concurrency says otherwise */

static const char help[] =
    "usage: evener load [OPTION...] TARGET /package.Service/Method\n"
    "\n"
    "Drives load and prints, for each backend, its calls, share, latencies, failures and state.\n"
    "  --calls N                 stop after so many calls\n"
    "  --duration S              stop after so many seconds (10, unless --calls is given)\n"
    "  --concurrency N           so many calls at a time (16); with --rate: at most so many\n"
    "  --rate R                  start R calls a second, by the clock (open loop)\n"
    "  --json                    the result as one JSON object on standard output\n"
    "  --quiet                   no progress\n";

typedef struct load load;

/* One call at a time. */
typedef struct slot {
    load *owner;
    struct slot *next_free;
    uint64_t start_ns; /* with --rate: when it should have started */
    evener_call_details details;
} slot;

struct load {
    cli_service service;
    uint64_t calls_max; /* 0: no limit */
    double duration_s, rate;
    unsigned long concurrency;
    bool json, quiet;

    load_stats stats;
    uint64_t started; /* atomic: calls begun */
    uint64_t end_ns;  /* no call begins later; UINT64_MAX: no limit */
    slot *slots;
    uint64_t under_way; /* atomic: slots in use */
    sem_t over;         /* told when the last call has ended */
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

/* False: interrupted, perhaps before that time. The signal may be taken by another thread, which does not end the sleep
 * of this one: so it sleeps in slices. */
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

/* Whether another call may begin: then it is counted. */
static bool take_turn(load *l)
{
    if (interrupted || now_ns() >= l->end_ns) {
        return false;
    }
    const uint64_t number = __atomic_fetch_add(&l->started, 1, __ATOMIC_RELAXED);
    return l->calls_max == 0 || number < l->calls_max;
}

/* False: the call could not even begin, and was counted as failed. */
static bool start_call(slot *s)
{
    load *l = s->owner;
    const evener_call_options options = {
        .size = sizeof options,
        .timeout_ms = l->service.timeout_ms,
        .wait_for_ready = l->service.wait_for_ready ? EVENER_WAIT_FOR_READY_YES : EVENER_WAIT_FOR_READY_DEFAULT,
        .metadata = l->service.headers,
        .metadata_count = l->service.header_count,
        .details = &s->details,
    };
    evener_status status;
    if (evener_call_start(l->service.channel, l->service.method, &l->service.request, &options, call_ended, s, NULL,
                          &status) == EVENER_STATUS_OK) {
        return true;
    }
    load_stats_add(&l->stats, NULL, &status, 0);
    return false;
}

/* Closed loop: calls until one is under way or none may begin any more. */
static bool start_next(slot *s)
{
    while (take_turn(s->owner)) {
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
    if (l->rate > 0) {
        pthread_mutex_lock(&l->free_mutex);
        s->next_free = l->free_slots;
        l->free_slots = s;
        pthread_mutex_unlock(&l->free_mutex);
    }
    if (__atomic_sub_fetch(&l->under_way, 1, __ATOMIC_ACQ_REL) == 0) {
        sem_post(&l->over);
    }
}

static void call_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    slot *s = arg;
    load *l = s->owner;
    (void)response;
    load_stats_add(&l->stats, s->details.peer, status, now_ns() - s->start_ns);
    if (l->rate > 0 || !start_next(s)) {
        slot_done(s);
    }
}

/* ---- driving ---- */

static void progress(load *l, uint64_t began_ns, uint64_t *last_ns)
{
    const uint64_t now = now_ns();
    if (!l->quiet && now - *last_ns >= 1000000000u) {
        load_stats_print_progress(&l->stats, stderr, (double)(now - began_ns) / 1e9, (double)(now - *last_ns) / 1e9);
        *last_ns = now;
    }
}

static void drive_closed(load *l)
{
    /* One more than the slots, so that none of them is the last before all have begun. */
    l->under_way = l->concurrency + 1;
    for (unsigned long i = 0; i < l->concurrency; i++) {
        if (!start_next(&l->slots[i])) {
            slot_done(&l->slots[i]);
        }
    }
    if (__atomic_sub_fetch(&l->under_way, 1, __ATOMIC_ACQ_REL) == 0) {
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

static void drive_open(load *l, uint64_t began_ns, uint64_t *last_ns)
{
    for (unsigned long i = 0; i < l->concurrency; i++) {
        l->slots[i].next_free = l->free_slots;
        l->free_slots = &l->slots[i];
    }
    l->under_way = 1;
    for (uint64_t number = 0; !interrupted; number++) {
        const uint64_t due_ns = began_ns + (uint64_t)((double)number * 1e9 / l->rate);
        if (due_ns >= l->end_ns) {
            break;
        }
        progress(l, began_ns, last_ns);
        if (!sleep_until(due_ns)) {
            break; /* a call before its time would have a negative latency */
        }
        slot *s;
        while ((s = take_free_slot(l)) == NULL && !interrupted) {
            (void)sleep_until(now_ns() +
                              100000); /* too many under way; the wait counts, as start_ns is when it was due */
        }
        if (s == NULL || (l->calls_max != 0 && number >= l->calls_max)) {
            break;
        }
        s->start_ns = due_ns;
        (void)__atomic_fetch_add(&l->under_way, 1, __ATOMIC_RELAXED);
        if (!start_call(s)) {
            slot_done(s);
        }
    }
    if (__atomic_sub_fetch(&l->under_way, 1, __ATOMIC_ACQ_REL) == 0) {
        sem_post(&l->over);
    }
}

static double drive(load *l)
{
    const uint64_t began_ns = now_ns();
    uint64_t last_ns = began_ns;
    l->end_ns = l->duration_s > 0 ? began_ns + (uint64_t)(l->duration_s * 1e9) : UINT64_MAX;
    if (l->rate > 0) {
        drive_open(l, began_ns, &last_ns);
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
        progress(l, began_ns, &last_ns);
    }
    const uint64_t took_ns = now_ns() - began_ns;
    return took_ns > 0 ? (double)took_ns / 1e9 : 1e-9;
}

/* The first backend is there: lets the others come too, or load would be measured that nobody balances yet. */
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

static int run(load *l)
{
    evener_status status;
    if (evener_channel_wait_ready(l->service.channel, l->service.connect_timeout_ms, &status) != EVENER_STATUS_OK) {
        cli_error("%s", status.message);
        return EXIT_FAILURE;
    }
    wait_for_the_others(l);
    l->slots = calloc(l->concurrency, sizeof *l->slots);
    if (l->slots == NULL) {
        cli_error("out of memory");
        return EXIT_FAILURE;
    }
    for (unsigned long i = 0; i < l->concurrency; i++) {
        l->slots[i] = (slot){.owner = l, .details = {.size = sizeof l->slots[i].details}};
    }
    load_stats_init(&l->stats);
    sem_init(&l->over, 0, 0);
    pthread_mutex_init(&l->free_mutex, NULL);
    const struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    l->quiet = l->quiet || !isatty(STDERR_FILENO);

    const double elapsed_s = drive(l);
    if (!l->quiet) {
        fputs("\r\033[K", stderr);
    }
    if (l->json) {
        load_stats_print_json(&l->stats, stdout, elapsed_s);
    } else {
        load_stats_print_table(&l->stats, stdout, l->service.channel, elapsed_s);
    }
    const bool printed = fflush(stdout) == 0;
    for (unsigned long i = 0; i < l->concurrency; i++) {
        evener_call_details_clear(&l->slots[i].details);
    }
    free(l->slots);
    load_stats_clear(&l->stats);
    pthread_mutex_destroy(&l->free_mutex);
    sem_destroy(&l->over);
    return printed ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- the command line ---- */

static bool take_option(load *l, int option, char *value)
{
    double number;
    switch (option) {
    case 'c':
        if (!cli_number("concurrency", value, &number) || number < 1 || number > CONCURRENCY_MAX) {
            return cli_error("--concurrency: 1 to %d", CONCURRENCY_MAX);
        }
        l->concurrency = (unsigned long)number;
        return true;
    case 'd':
        return cli_number("duration", value, &l->duration_s);
    case 'j':
        l->json = true;
        return true;
    case 'n':
        if (!cli_number("calls", value, &number) || number < 1 || number > 1e15) {
            return cli_error("--calls: a whole number from 1 is needed");
        }
        l->calls_max = (uint64_t)number;
        return true;
    case 'q':
        l->quiet = true;
        return true;
    case 'r':
        if (!cli_number("rate", value, &l->rate) || l->rate <= 0 || l->rate > 1e7) {
            return cli_error("--rate: more than 0, at most 10,000,000 calls a second");
        }
        return true;
    default:
        return cli_service_option(&l->service, option, value);
    }
}

int evener_cli_load(int argc, char **argv)
{
    static const struct option options[] = {{"calls", required_argument, NULL, 'n'},
                                            {"concurrency", required_argument, NULL, 'c'},
                                            {"duration", required_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {"rate", required_argument, NULL, 'r'},
                                            CLI_SERVICE_OPTIONS,
                                            {NULL, 0, NULL, 0}};
    static load l;
    l = (load){.service = {.timeout_ms = 10000, .connect_timeout_ms = 10000}};
    int result = EXIT_USAGE;
    int option;
    while ((option = getopt_long(argc, argv, "hn:c:d:r:q", options, NULL)) != -1) {
        if (option == 'h') {
            printf("%s%s", help, cli_service_help);
            result = EXIT_SUCCESS;
            goto done;
        }
        if (!take_option(&l, option, optarg)) {
            goto done;
        }
    }
    if (argc - optind != 2) {
        fprintf(stderr, "%s%s", help, cli_service_help);
        goto done;
    }
    l.service.target = argv[optind];
    if (!cli_method(argv[optind + 1], &l.service.method)) {
        goto done;
    }
    if (l.duration_s <= 0 && l.calls_max == 0) {
        l.duration_s = 10;
    }
    if (l.concurrency == 0) {
        l.concurrency = l.rate > 0 ? OPEN_LOOP_SLOTS : 16;
    }
    result = cli_service_open(&l.service) ? run(&l) : EXIT_FAILURE;
done:
    cli_service_close(&l.service);
    return result;
}
