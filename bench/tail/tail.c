/* Tail latency with real servers, some of which misbehave. Calls start at a fixed rate, whether or not earlier ones
 * have been answered. Latency counts from a call's intended start, so that queueing is included.
 *
 *     bench_tail [--brief] [--scenario=TEXT] [--quick] [--output=FILE]
 *
 * Four servers answer after 1 ms, unless the scenario says otherwise. Fails if a call fails in a scenario where all
 * servers answer. A full run also fails if p2c_ewma sends a hundredth of the calls or more to slow servers in every
 * turn, as these would then set the 99th percentile. (Not checked on a machine so busy that healthy servers have a 99th
 * percentile of 10 ms.)
 * With --scenario only those with an event whose name contains the text.
 * With --brief, which comes first, as in the tests, no check depends on time: a call may miss its deadline.
 *
 * How it is measured, and why:
 * - 1,000 calls per second, Poisson. A call costs client and server together half a millisecond of processor time: a
 *   quarter of two processors. Calls seldom queue for a processor, and some are always in flight.
 * - Servers delay an answer with a timer, not a sleeping thread, so that one delayed call does not hold up others.
 * - The processors are kept awake (support/awake.h) and timers are exact (PR_SET_TIMERSLACK, inherited by the
 *   servers). Otherwise the bench would measure wake-ups: up to 50 us by default, some milliseconds on a virtual
 *   machine.
 * - The sender is a separate thread; starting a server on it would delay calls by 20 ms. The 99th percentile of its
 *   own lateness is in each row: the machine adds it to every client alike.
 * - Scenarios without an event (healthy, slow): the servers of all these scenarios and the clients of all rows exist
 *   at once and take turns of 600 calls, after some uncounted ones that warm up caches and averages. A bad moment of
 *   the machine thus affects all rows, and with many turns every row has good ones. A row is the median over its
 *   turns, and the minimum; for the 99.9th percentile two turns are combined. A client's turns with healthy and with
 *   slow servers are consecutive, and their ratio is reported too. Clients that do not have a turn are idle.
 * - Scenarios with an event: a pass is one second with its own servers and client, and all calls count. The last two
 *   are checks of the bench itself: it is known what they have to show. */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "bench/rpc/client.h"
#include "bench/support/awake.h"
#include "bench/support/output.h"
#include "bench/support/servers.h"
#include "examples/evener/histogram.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define SERVERS_MAX 11
#define TIMEOUT_MS 1000
#define RATE_PER_S 1000
#define TURNS 8
#define TURNS_QUICK 2
#define TURN_CALLS 600
#define TURN_CALLS_AHEAD 60
#define P999_CALLS 1000 /* calls per 99.9th percentile, at least */
#define PASSES 2
#define PASS_CALLS 1000
#define PASS_CALLS_MAX 10000
#define STOP_NS 500000000u
#define BUSY_US 10000
#define SLOW_PERCENT_MAX 1.0
#define HEALTHY "--delay-ms=1"
#define SLOW "--delay-ms=6"
#define TOO_LATE "--delay-ms=2000"

typedef enum tail_event { NO_EVENT, HANGS, STARTS, IS_KILLED_AND_RESTARTED, STOPS_ONCE } tail_event;

static bool brief; /* check nothing that depends on time */

/* The servers' faults, and the first server's event after a third of the run. --quick runs only the steady
 * scenarios. */
static const struct scenario {
    const char *name;
    const char *options[SERVERS_MAX]; /* NULL: no further server */
    tail_event event;
    bool may_fail;
    bool steady;
    unsigned slow;      /* how many of the servers are slow; the first ones */
    size_t calls;       /* of a pass, if it is not steady; 0: PASS_CALLS */
    const char *policy; /* of the clients that it is for; NULL: all */
} scenarios[] = {
    /* must be first: the others are compared with it */
    {.name = "healthy", .options = {HEALTHY, HEALTHY, HEALTHY, HEALTHY}, .steady = true},
    {.name = "1 of 4 slow by 5 ms", .options = {SLOW, HEALTHY, HEALTHY, HEALTHY}, .steady = true, .slow = 1},
    {.name = "2 of 4 slow by 5 ms", .options = {SLOW, SLOW, HEALTHY, HEALTHY}, .steady = true, .slow = 2},
    {.name = "1 of 4 hangs", .options = {HEALTHY, HEALTHY, HEALTHY, HEALTHY}, .event = HANGS, .may_fail = true},
    {.name = "1 of 4 fails fast", .options = {"--fail=14", HEALTHY, HEALTHY, HEALTHY}, .may_fail = true},
    {.name = "1 of 4 joins", .options = {HEALTHY, HEALTHY, HEALTHY, HEALTHY}, .event = STARTS},
    {.name = "1 of 4 killed, restarted",
     .options = {HEALTHY, HEALTHY, HEALTHY, HEALTHY},
     .event = IS_KILLED_AND_RESTARTED,
     .may_fail = true},
    /* The answers of these two are known: a 99th percentile of 1 s, and of 400 ms. */
    {.name = "1 of 11 answers after 2 s",
     .options = {TOO_LATE, HEALTHY, HEALTHY, HEALTHY, HEALTHY, HEALTHY, HEALTHY, HEALTHY, HEALTHY, HEALTHY, HEALTHY},
     .may_fail = true,
     .policy = "round_robin"},
    {.name = "the only one stops for 500 ms",
     .options = {"--delay-ms=0"},
     .event = STOPS_ONCE,
     .calls = PASS_CALLS_MAX,
     .policy = "round_robin"},
};

/* evener's clients of that name. */
#define RETRIES                                                                                                        \
    "{\"methodConfig\":[{\"name\":[{}],\"retryPolicy\":{\"maxAttempts\":3,\"initialBackoff\":\"0.005s\","              \
    "\"maxBackoff\":"                                                                                                  \
    "\"0.05s\",\"backoffMultiplier\":2,\"retryableStatusCodes\":[\"UNAVAILABLE\"]}}]}"
#define HEDGING                                                                                                        \
    "{\"methodConfig\":[{\"name\":[{}],\"hedgingPolicy\":{\"maxAttempts\":2,\"hedgingDelay\":\"0.1s\","                \
    "\"evenerHedgingQuantile\":0.99}}]}"

static const struct {
    const char *name;
    bench_client *(*open)(const bench_client_options *options);
    const char *policy;
    bool also_quick;
    bool avoids_slow; /* checked by check_slow() */
    const char *service_config;
} clients[] = {
    {"core", bench_client_open_core, "round_robin", true, false, NULL},
    {"evener", bench_client_open_evener, "round_robin", false, false, NULL},
    {"evener", bench_client_open_evener, "least_request", false, false, NULL},
    {"evener", bench_client_open_evener, "p2c_ewma", true, true, NULL},
    {"retries", bench_client_open_evener, "p2c_ewma", false, true, RETRIES},
    {"hedging", bench_client_open_evener, "p2c_ewma", false, false, HEDGING},
};

typedef struct tail_run tail_run;

typedef struct tail_call {
    tail_run *run;
    uint64_t intended_ns;
    uint64_t late_ns;    /* delay of the actual start */
    uint64_t latency_ns; /* 0: failed */
} tail_call;

struct tail_run {
    bench_client *client;
    tail_call *calls;
    size_t count;
    uint64_t seed;
    uint64_t began_ns;
    pthread_mutex_t mutex; /* for the members below */
    pthread_cond_t idle;
    size_t calls_left;
};

typedef struct tail_figures {
    bench_figure p50_us, p99_us, p999_us;
    histogram for_p999; /* calls not yet part of a 99.9th percentile */
    bench_figure late_p99_us;
    bench_figure slow_percent; /* share of calls to slow servers; empty: not known */
    uint64_t calls, failed;
} tail_figures;

/* Servers and their clients. */
typedef struct tail_stage {
    const struct scenario *scenario;
    bench_server servers[SERVERS_MAX];
    unsigned server_count;
    unsigned started;
    bench_client *clients[COUNT(clients)]; /* NULL: not wanted */
} tail_stage;

static void call_done(void *arg, bool ok)
{
    tail_call *call = arg;
    tail_run *run = call->run;
    call->latency_ns = ok ? bench_now_ns() - call->intended_ns : 0;
    pthread_mutex_lock(&run->mutex);
    if (--run->calls_left == 0) {
        pthread_cond_signal(&run->idle);
    }
    pthread_mutex_unlock(&run->mutex);
}

static void sleep_until(uint64_t ns)
{
    struct timespec at = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* Return a number in (0, 1] (SplitMix64: Steele, Lea, Flood 2014). */
static double random_unit(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)(((z ^ (z >> 31)) >> 11) + 1) * 0x1p-53;
}

static void happen(const struct scenario *scenario, bench_server *server)
{
    uint16_t port = server->port;
    if (scenario->event == HANGS) {
        bench_server_signal(server, SIGSTOP);
        return;
    }
    if (scenario->event == STOPS_ONCE) {
        bench_server_signal(server, SIGSTOP);
        sleep_until(bench_now_ns() + STOP_NS);
        bench_server_signal(server, SIGCONT);
        return;
    }
    bench_server_signal(server, SIGKILL); /* does nothing if it is not running */
    if (!bench_server_start(server, port, scenario->options[0])) {
        bench_complain("%s: the server did not start", scenario->name);
    }
}

static void *send_calls(void *arg)
{
    tail_run *run = arg;
    double at_ns = (double)run->began_ns;
    for (size_t i = 0; i < run->count; i++) {
        tail_call *call = &run->calls[i];
        at_ns -= log(random_unit(&run->seed)) * 1e9 / RATE_PER_S; /* Poisson: exponential gaps */
        *call = (tail_call){.run = run, .intended_ns = (uint64_t)at_ns};
        if (bench_now_ns() < call->intended_ns) {
            sleep_until(call->intended_ns);
        }
        call->late_ns = bench_now_ns() - call->intended_ns;
        run->client->start(run->client, call_done, call);
    }
    return NULL;
}

/* Send all calls at their times and wait until they have ended. The sender is a separate thread, because starting a
 * server takes longer than a call may be late. Servers are started here on the main thread: a server dies with the
 * thread that started it. */
static void send_all(tail_stage *stage, bench_client *client, tail_call *calls, size_t count, uint64_t seed)
{
    tail_run run = {.client = client,
                    .calls = calls,
                    .count = count,
                    .seed = seed,
                    .began_ns = bench_now_ns(),
                    .calls_left = count};
    pthread_t sender;
    pthread_mutex_init(&run.mutex, NULL);
    pthread_cond_init(&run.idle, NULL);
    if (pthread_create(&sender, NULL, send_calls, &run) != 0) {
        abort();
    }
    if (stage->scenario->event != NO_EVENT) {
        sleep_until(run.began_ns + count * 1000000000u / RATE_PER_S / 3);
        happen(stage->scenario, &stage->servers[0]);
    }
    pthread_join(sender, NULL);
    pthread_mutex_lock(&run.mutex);
    while (run.calls_left > 0) {
        pthread_cond_wait(&run.idle, &run.mutex);
    }
    pthread_mutex_unlock(&run.mutex);
    pthread_cond_destroy(&run.idle);
    pthread_mutex_destroy(&run.mutex);
}

static void gather(const tail_call *calls, size_t count, tail_figures *figures)
{
    histogram *histograms = calloc(2, sizeof *histograms);
    if (histograms == NULL) {
        abort();
    }
    histogram *latency = &histograms[0], *late = &histograms[1];
    for (size_t i = 0; i < count; i++) {
        /* A failed call counts as the timeout. */
        histogram_add(latency, calls[i].latency_ns > 0 ? calls[i].latency_ns : TIMEOUT_MS * 1000000u);
        histogram_add(late, calls[i].late_ns);
        figures->failed += calls[i].latency_ns == 0;
    }
    figures->calls += count;
    bench_figure_add(&figures->p50_us, (double)histogram_quantile(latency, 0.5) / 1e3);
    bench_figure_add(&figures->p99_us, (double)histogram_quantile(latency, 0.99) / 1e3);
    histogram_merge(&figures->for_p999, latency);
    if (figures->for_p999.count >= P999_CALLS) {
        bench_figure_add(&figures->p999_us, (double)histogram_quantile(&figures->for_p999, 0.999) / 1e3);
        figures->for_p999 = (histogram){0};
    }
    bench_figure_add(&figures->late_p99_us, (double)histogram_quantile(late, 0.99) / 1e3);
    free(histograms);
}

/* Return how many calls the client has sent to slow servers so far. */
static uint64_t calls_to_slow(const tail_stage *stage, bench_client *client)
{
    uint64_t calls = 0;
    for (unsigned i = 0; i < stage->scenario->slow; i++) {
        char server[32];
        bench_servers_list(&stage->servers[i], 1, server, sizeof server);
        calls += client->calls_to(client, server);
    }
    return calls;
}

static void take_turn(tail_stage *stage, bench_client *client, uint64_t seed, tail_figures *figures)
{
    tail_call calls[TURN_CALLS];
    const bool counts_slow = stage->scenario->slow > 0 && client->calls_to != NULL;
    send_all(stage, client, calls, TURN_CALLS_AHEAD, ~seed);
    for (size_t i = 0; i < TURN_CALLS_AHEAD; i++) {
        figures->failed += calls[i].latency_ns == 0;
    }
    const uint64_t before = counts_slow ? calls_to_slow(stage, client) : 0;
    send_all(stage, client, calls, TURN_CALLS, seed);
    gather(calls, TURN_CALLS, figures);
    if (counts_slow) {
        const uint64_t slow = calls_to_slow(stage, client) - before;
        bench_figure_add(&figures->slow_percent, 100.0 * (double)slow / TURN_CALLS);
    }
}

static void close_stage(tail_stage *stage)
{
    for (size_t c = 0; c < COUNT(clients); c++) {
        if (stage->clients[c] != NULL) {
            stage->clients[c]->close(stage->clients[c]);
        }
    }
    for (unsigned i = 0; i < stage->started; i++) {
        bench_server_signal(&stage->servers[i], SIGKILL);
    }
}

/* Start the servers of a scenario and the clients `first` to `last`; with `quick` only the clients of --quick.
 * Return false after complaining; the stage must be closed in either case. */
static bool open_stage(tail_stage *stage, const struct scenario *scenario, size_t first, size_t last, bool quick)
{
    static const uint8_t payload[10];
    char list[256];
    bool ok = true;
    *stage = (tail_stage){.scenario = scenario};
    while (stage->server_count < SERVERS_MAX && scenario->options[stage->server_count] != NULL) {
        stage->server_count++;
    }
    while (stage->started < stage->server_count && ok) {
        ok = bench_server_start(&stage->servers[stage->started], 0, scenario->options[stage->started]);
        stage->started += ok;
    }
    if (!ok) {
        bench_complain("%s: the servers did not start", scenario->name);
        return false;
    }
    bench_servers_list(stage->servers, stage->server_count, list, sizeof list);
    if (scenario->event == STARTS) { /* its port is known, but nothing listens on it */
        bench_server_signal(&stage->servers[0], SIGKILL);
    }
    for (size_t c = first; c <= last && ok; c++) {
        if (quick && !clients[c].also_quick) {
            continue;
        }
        stage->clients[c] = clients[c].open(&(bench_client_options){
            .servers = list,
            .policy = clients[c].policy,
            .threads = 2,
            .payload = payload,
            .payload_bytes = sizeof payload,
            .timeout_ms = TIMEOUT_MS,
            .service_config = clients[c].service_config,
        });
        ok = stage->clients[c] != NULL;
        if (!ok) {
            bench_complain("%s: %s %s did not connect", scenario->name, clients[c].name, clients[c].policy);
        }
    }
    sleep_until(bench_now_ns() + 200000000); /* gives the other connections time */
    return ok;
}

/* Compare within each turn, so that the machine's influence on both cancels out. */
static void set_over_healthy(json_t *row, const tail_figures *figures, const tail_figures *healthy)
{
    bench_figure ratio = {0};
    for (unsigned turn = 0; turn < figures->p99_us.count && turn < healthy->p99_us.count; turn++) {
        bench_figure_add(&ratio, figures->p99_us.values[turn] / healthy->p99_us.values[turn]);
    }
    bench_set_figure(row, "p99_over_healthy", &ratio);
}

/* Report a row. `healthy` holds the figures to compare with, or NULL. */
static void report_row(json_t *rows, const struct scenario *scenario, size_t client, const tail_figures *figures,
                       const tail_figures *healthy)
{
    const char *name = clients[client].name, *policy = clients[client].policy;
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:i, s:I, s:I}", "scenario", scenario->name, "client", name, "policy", policy,
                  "rate_per_s", RATE_PER_S, "calls", (json_int_t)figures->calls, "failed", (json_int_t)figures->failed);
    bench_set_figure(row, "p50_us", &figures->p50_us);
    bench_set_figure(row, "p99_us", &figures->p99_us);
    bench_set_figure(row, "p999_us", &figures->p999_us);
    bench_set_figure(row, "late_p99_us", &figures->late_p99_us);
    if (healthy != NULL) {
        set_over_healthy(row, figures, healthy);
    }
    char slow[64] = "";
    if (figures->slow_percent.count > 0) {
        bench_set_figure(row, "slow_percent", &figures->slow_percent);
        snprintf(slow, sizeof slow, "  %.1f %% to slow servers", bench_figure_median(&figures->slow_percent));
    }
    json_array_append_new(rows, row);
    bench_progress("tail    %-24s %-6s %-13s p50 %7.0f us  p99 %7.0f us  p99.9 %7.0f us  late %5.0f us  %llu of %llu "
                   "failed%s",
                   scenario->name, name, policy, bench_figure_median(&figures->p50_us),
                   bench_figure_median(&figures->p99_us), bench_figure_median(&figures->p999_us),
                   bench_figure_median(&figures->late_p99_us), (unsigned long long)figures->failed,
                   (unsigned long long)figures->calls, slow);
    if (figures->failed > 0 && !scenario->may_fail && !brief) {
        bench_complain("%s: %s %s: %llu calls failed", scenario->name, name, policy,
                       (unsigned long long)figures->failed);
    }
}

/* In its best turn the client must avoid the slow servers. Not checked if the machine is so busy that healthy
 * servers are slower most of the time, nor with the single turn of a quick run among other tests. */
static void check_slow(const struct scenario *scenario, size_t client, const tail_figures *figures,
                       const tail_figures *healthy)
{
    const char *name = clients[client].name, *policy = clients[client].policy;
    if (!clients[client].avoids_slow || figures->slow_percent.count == 0) {
        return;
    }
    const double percent = bench_figure_min(&figures->slow_percent);
    if (bench_figure_median(&healthy->p99_us) >= BUSY_US) {
        bench_progress("tail    %s: %s %s: not checked: this machine is too busy", scenario->name, name, policy);
    } else if (percent >= SLOW_PERCENT_MAX) {
        bench_complain("%s: %s %s: %.1f %% of the calls go to slow servers", scenario->name, name, policy, percent);
    }
}

/* Measure the scenarios without an event: all rows take turns. */
static void measure_steady(json_t *rows, bool quick)
{
    static tail_stage stages[COUNT(scenarios)];
    static tail_figures figures[COUNT(scenarios)][COUNT(clients)];
    const unsigned turns = quick ? TURNS_QUICK : TURNS;
    bool ok = true;
    for (size_t s = 0; s < COUNT(scenarios); s++) {
        ok = ok && (!scenarios[s].steady || open_stage(&stages[s], &scenarios[s], 0, COUNT(clients) - 1, quick));
    }
    for (unsigned turn = 0; turn < turns && ok; turn++) {
        bench_progress("tail    turn %u of %u", turn + 1, turns);
        for (size_t c = 0; c < COUNT(clients); c++) {
            for (size_t s = 0; s < COUNT(scenarios); s++) {
                if (stages[s].clients[c] != NULL) {
                    take_turn(&stages[s], stages[s].clients[c], turn, &figures[s][c]);
                }
            }
        }
    }
    for (size_t s = 0; s < COUNT(scenarios); s++) {
        for (size_t c = 0; c < COUNT(clients) && ok; c++) {
            if (stages[s].clients[c] != NULL) {
                report_row(rows, &scenarios[s], c, &figures[s][c], s > 0 ? &figures[0][c] : NULL);
                if (!quick) {
                    check_slow(&scenarios[s], c, &figures[s][c], &figures[0][c]);
                }
            }
        }
        close_stage(&stages[s]);
    }
}

/* Measure a scenario with an event in each pass. */
static void measure_event(json_t *rows, const struct scenario *scenario, size_t client)
{
    static tail_call calls[PASS_CALLS_MAX];
    const size_t count = scenario->calls > 0 ? scenario->calls : PASS_CALLS;
    tail_figures figures = {.calls = 0};
    bool ok = true;
    for (unsigned pass = 0; pass < PASSES && ok; pass++) {
        tail_stage stage;
        ok = open_stage(&stage, scenario, client, client, false);
        if (ok) {
            send_all(&stage, stage.clients[client], calls, count, pass);
            gather(calls, count, &figures);
        }
        close_stage(&stage);
    }
    if (ok) {
        report_row(rows, scenario, client, &figures, NULL);
    }
}

int main(int argc, char **argv)
{
    bool quick;
    if (argc > 1 && strcmp(argv[1], "--brief") == 0) {
        brief = true;
        argc--;
        argv++;
    }
    const char *only = NULL, *output;
    if (argc > 1 && strncmp(argv[1], "--scenario=", 11) == 0) {
        only = argv[1] + 11;
        argc--;
        argv++;
    }
    if (!bench_arguments(argc, argv, "bench_tail", &quick, &output)) {
        return 2;
    }
    prctl(PR_SET_TIMERSLACK, 1);
    bench_awake_begin();
    json_t *rows = json_array();
    if (only == NULL) {
        measure_steady(rows, quick);
    }
    for (size_t s = 0; s < COUNT(scenarios) && !quick; s++) {
        if (only != NULL && strstr(scenarios[s].name, only) == NULL) {
            continue;
        }
        for (size_t c = 0; c < COUNT(clients) && !scenarios[s].steady; c++) {
            if (scenarios[s].policy == NULL || strcmp(scenarios[s].policy, clients[c].policy) == 0) {
                measure_event(rows, &scenarios[s], c);
            }
        }
    }
    bench_awake_end();
    return bench_finish(json_pack("{s:o}", "tail", rows), output);
}
