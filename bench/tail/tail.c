/* Tail latency with real servers when some misbehave: calls come at a fixed rate, whether or not earlier ones have been
 * answered, and latency counts from when a call should have been sent, so that waiting is not left out.
 *
 *     bench_tail [--quick] [--output=FILE]
 *
 * Four servers answer after 1 ms. Fails if a call fails where all servers are healthy. */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <evener/policy.h>

#include "bench/rpc/client.h"
#include "bench/support/output.h"
#include "bench/support/servers.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define SERVERS 4
#define TIMEOUT_MS 1000
#define RATE_PER_S 1000
#define HEALTHY "--delay-ms=1"
#define SLOW "--delay-ms=6"

typedef enum tail_event { NO_EVENT, HANGS, STARTS, IS_KILLED_AND_RESTARTED } tail_event;

/* What is wrong, and with the first server what happens a third into the run. */
static const struct scenario {
    const char *name;
    const char *options[SERVERS];
    tail_event event;
    bool may_fail;
    bool also_quick;
} scenarios[] = {
    {"healthy", {HEALTHY, HEALTHY, HEALTHY, HEALTHY}, NO_EVENT, false, true},
    {"1 of 4 slow by 5 ms", {SLOW, HEALTHY, HEALTHY, HEALTHY}, NO_EVENT, false, true},
    {"2 of 4 slow by 5 ms", {SLOW, SLOW, HEALTHY, HEALTHY}, NO_EVENT, false, true},
    {"1 of 4 hangs", {HEALTHY, HEALTHY, HEALTHY, HEALTHY}, HANGS, true, false},
    {"1 of 4 fails fast", {"--fail=14", HEALTHY, HEALTHY, HEALTHY}, NO_EVENT, true, false},
    {"1 of 4 joins", {HEALTHY, HEALTHY, HEALTHY, HEALTHY}, STARTS, false, false},
    {"1 of 4 killed, restarted", {HEALTHY, HEALTHY, HEALTHY, HEALTHY}, IS_KILLED_AND_RESTARTED, true, false},
};

static const struct {
    const char *name;
    bench_client *(*open)(const bench_client_options *options);
    const char *policy;
    bool also_quick;
} clients[] = {
    {"core", bench_client_open_core, "round_robin", true},
    {"evener", bench_client_open_evener, "round_robin", false},
    {"evener", bench_client_open_evener, "least_request", false},
    {"evener", bench_client_open_evener, "p2c_ewma", true},
};

typedef struct tail_run tail_run;

typedef struct tail_call {
    tail_run *run;
    uint64_t intended_ns;
    uint64_t latency_ns; /* 0: failed */
} tail_call;

struct tail_run {
    pthread_mutex_t mutex;
    pthread_cond_t idle;
    size_t under_way;
};

typedef struct tail_figures {
    bench_figure p50_us, p99_us, p999_us;
    uint64_t calls, failed;
} tail_figures;

static void call_done(void *arg, bool ok)
{
    tail_call *call = arg;
    tail_run *run = call->run;
    call->latency_ns = ok ? bench_now_ns() - call->intended_ns : 0;
    pthread_mutex_lock(&run->mutex);
    if (--run->under_way == 0) {
        pthread_cond_signal(&run->idle);
    }
    pthread_mutex_unlock(&run->mutex);
}

static void sleep_until(uint64_t ns)
{
    struct timespec at = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* Steele, Lea, Flood: SplitMix64, as a number in (0, 1]. */
static double random_unit(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)(((z ^ (z >> 31)) >> 11) + 1) * 0x1p-53;
}

static void happen(tail_event event, const char *option, bench_server *server)
{
    uint16_t port = server->port;
    switch (event) {
    case NO_EVENT:
        break;
    case HANGS:
        bench_server_signal(server, SIGSTOP);
        break;
    case IS_KILLED_AND_RESTARTED:
        bench_server_signal(server, SIGKILL);
        bench_server_start(server, port, option);
        break;
    case STARTS:
        bench_server_start(server, port, option);
        break;
    }
}

/* Sends all calls at their times and waits for their ends. */
static void send_all(bench_client *client, tail_call *calls, size_t count, const struct scenario *scenario,
                     bench_server *servers)
{
    tail_run run = {.under_way = count};
    uint64_t random = 1;
    pthread_mutex_init(&run.mutex, NULL);
    pthread_cond_init(&run.idle, NULL);
    double at_ns = (double)bench_now_ns();
    for (size_t i = 0; i < count; i++) {
        at_ns -= log(random_unit(&random)) * 1e9 / RATE_PER_S; /* Poisson: exponential gaps */
        calls[i] = (tail_call){.run = &run, .intended_ns = (uint64_t)at_ns};
        if (i == count / 3) {
            happen(scenario->event, scenario->options[0], &servers[0]);
        }
        if (bench_now_ns() < calls[i].intended_ns) {
            sleep_until(calls[i].intended_ns);
        }
        client->start(client, call_done, &calls[i]);
    }
    pthread_mutex_lock(&run.mutex);
    while (run.under_way > 0) {
        pthread_cond_wait(&run.idle, &run.mutex);
    }
    pthread_mutex_unlock(&run.mutex);
    pthread_cond_destroy(&run.idle);
    pthread_mutex_destroy(&run.mutex);
}

static void gather(const tail_call *calls, size_t count, tail_figures *figures)
{
    bench_histogram *histogram = calloc(1, sizeof *histogram);
    if (histogram == NULL) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        /* A failed call was not answered in time: it counts as the timeout, not as nothing. */
        bench_histogram_add(histogram, calls[i].latency_ns > 0 ? calls[i].latency_ns : TIMEOUT_MS * 1000000u);
        figures->failed += calls[i].latency_ns == 0;
    }
    figures->calls += count;
    bench_figure_add(&figures->p50_us, (double)bench_histogram_percentile(histogram, 0.5) / 1e3);
    bench_figure_add(&figures->p99_us, (double)bench_histogram_percentile(histogram, 0.99) / 1e3);
    bench_figure_add(&figures->p999_us, (double)bench_histogram_percentile(histogram, 0.999) / 1e3);
    free(histogram);
}

static bool run_pass(const struct scenario *scenario, size_t client_index, size_t count, tail_figures *figures)
{
    static const uint8_t payload[10];
    bench_server servers[SERVERS];
    char list[256];
    bool ok = true;
    unsigned started = 0;
    while (started < SERVERS && ok) {
        ok = bench_server_start(&servers[started], 0, scenario->options[started]);
        started += ok;
    }
    if (ok) {
        bench_servers_list(servers, SERVERS, list, sizeof list);
        if (scenario->event == STARTS) { /* its port is known, it is not there */
            bench_server_signal(&servers[0], SIGKILL);
        }
        bench_client *client = clients[client_index].open(&(bench_client_options){
            .servers = list,
            .policy = clients[client_index].policy,
            .threads = 2,
            .payload = payload,
            .payload_bytes = sizeof payload,
            .timeout_ms = TIMEOUT_MS,
        });
        tail_call *calls = calloc(count, sizeof *calls);
        ok = client != NULL && calls != NULL;
        if (ok) {
            sleep_until(bench_now_ns() + 200000000); /* for the others to connect */
            send_all(client, calls, count, scenario, servers);
            gather(calls, count, figures);
        }
        if (client != NULL) {
            client->close(client);
        }
        free(calls);
    }
    for (unsigned i = 0; i < started; i++) {
        bench_server_signal(&servers[i], SIGKILL);
    }
    return ok;
}

static void measure(json_t *rows, const struct scenario *scenario, size_t client, unsigned passes, size_t calls)
{
    tail_figures figures = {.calls = 0};
    bool ok = true;
    for (unsigned pass = 0; pass < passes && ok; pass++) {
        ok = run_pass(scenario, client, calls, &figures);
    }
    if (!ok) {
        bench_complain("%s: %s %s does not run", scenario->name, clients[client].name, clients[client].policy);
        return;
    }
    json_t *row = json_pack("{s:s, s:s, s:s, s:i, s:I, s:I}", "scenario", scenario->name, "client",
                            clients[client].name, "policy", clients[client].policy, "rate_per_s", RATE_PER_S, "calls",
                            (json_int_t)figures.calls, "failed", (json_int_t)figures.failed);
    bench_set_figure(row, "p50_us", &figures.p50_us);
    bench_set_figure(row, "p99_us", &figures.p99_us);
    bench_set_figure(row, "p999_us", &figures.p999_us);
    json_array_append_new(rows, row);
    bench_progress("tail    %-24s %-6s %-13s p50 %7.0f us  p99 %7.0f us  p99.9 %7.0f us  %llu of %llu failed",
                   scenario->name, clients[client].name, clients[client].policy, bench_figure_median(&figures.p50_us),
                   bench_figure_median(&figures.p99_us), bench_figure_median(&figures.p999_us),
                   (unsigned long long)figures.failed, (unsigned long long)figures.calls);
    if (figures.failed > 0 && !scenario->may_fail) {
        bench_complain("%s: %s %s: %llu calls failed", scenario->name, clients[client].name, clients[client].policy,
                       (unsigned long long)figures.failed);
    }
}

int main(int argc, char **argv)
{
    bool quick;
    const char *output;
    if (!bench_arguments(argc, argv, "bench_tail", &quick, &output)) {
        return 2;
    }
    json_t *rows = json_array();
    for (size_t s = 0; s < COUNT(scenarios); s++) {
        for (size_t c = 0; c < COUNT(clients); c++) {
            bool is_there =
                clients[c].open == bench_client_open_core || evener_policy_find(NULL, clients[c].policy) != NULL;
            if (is_there && (!quick || (scenarios[s].also_quick && clients[c].also_quick))) {
                measure(rows, &scenarios[s], c, quick ? 1 : 2, RATE_PER_S);
            }
        }
    }
    return bench_finish(json_pack("{s:o}", "tail", rows), output);
}
