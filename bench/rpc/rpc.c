/* Unary calls over loopback: evener and the C core's own policies, interleaved in one run.
 *
 *     bench_rpc [--quick] [--output=FILE]
 *     bench_rpc --count=N --client=evener|core --policy=NAME     (N blocking calls, for counting instructions)
 *
 * Each server is a separate process. Fails if a call fails. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/rpc/client.h"
#include "bench/support/output.h"
#include "bench/support/servers.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define IN_FLIGHT_MAX 256
#define SERVERS 3
#define CALL_THREADS 2
#define COUNTED_BYTES 10
/* Many short passes: by chance the threads of a connection and of its server may run on well-placed processors, and
 * that connection is then a tenth faster. */
#define PASSES 26
#define PASS_NS 48000000
#define PASSES_QUICK 3
#define PASS_QUICK_NS 150000000

typedef struct rpc_case {
    unsigned in_flight;
    bool blocking; /* one thread per call in flight */
    size_t payload_bytes;
    bool also_quick;
} rpc_case;

static const rpc_case cases[] = {
    {1, true, 10, true},     {2, true, 10, false},      {4, true, 10, false},  {8, true, 10, false},
    {1, false, 10, false},   {16, false, 10, true},     {64, false, 10, true}, {256, false, 10, true},
    {1, true, 65536, false}, {16, false, 65536, false},
};

/* The compared policies. */
static const struct {
    const char *evener;
    const char *core;
} policies[] = {{"round_robin", "round_robin"}, {"pick_first", "pick_first"}, {"p2c_ewma", NULL}};

typedef struct rpc_load {
    bench_client *client;
    uint64_t end_ns;
    atomic_uint slots_running;
    atomic_uint_fast64_t failed;
    pthread_mutex_t mutex;
    pthread_cond_t idle;
} rpc_load;

/* One of the calls in flight: when it ends, the next one starts. */
typedef struct slot {
    rpc_load *load;
    uint64_t from_ns;
    bench_histogram histogram; /* in ns */
    pthread_t thread;
} slot;

static void count(slot *self, bool ok)
{
    uint64_t now_ns = bench_now_ns();
    if (ok) {
        bench_histogram_add(&self->histogram, now_ns - self->from_ns);
    } else {
        atomic_fetch_add_explicit(&self->load->failed, 1, memory_order_relaxed);
    }
    self->from_ns = now_ns;
}

static void slot_done(void *arg, bool ok)
{
    slot *self = arg;
    rpc_load *load = self->load;
    count(self, ok);
    if (self->from_ns < load->end_ns) {
        load->client->start(load->client, slot_done, self);
        return;
    }
    pthread_mutex_lock(&load->mutex);
    if (atomic_fetch_sub_explicit(&load->slots_running, 1, memory_order_acq_rel) == 1) {
        pthread_cond_signal(&load->idle);
    }
    pthread_mutex_unlock(&load->mutex);
}

static void *slot_thread(void *arg)
{
    slot *self = arg;
    self->from_ns = bench_now_ns();
    do {
        count(self, self->load->client->call(self->load->client));
    } while (self->from_ns < self->load->end_ns);
    return NULL;
}

typedef struct rpc_outcome {
    bench_figure calls_per_s, p50_us, p99_us, cpu_us_per_call;
    uint64_t failed;
} rpc_outcome;

static void run_slots(slot *slots, rpc_load *load, const rpc_case *rpc)
{
    if (rpc->blocking) {
        unsigned running = 0;
        while (running < rpc->in_flight &&
               pthread_create(&slots[running].thread, NULL, slot_thread, &slots[running]) == 0) {
            running++;
        }
        for (unsigned i = 0; i < running; i++) {
            pthread_join(slots[i].thread, NULL);
        }
        return;
    }
    atomic_store_explicit(&load->slots_running, rpc->in_flight, memory_order_relaxed);
    for (unsigned i = 0; i < rpc->in_flight; i++) {
        slots[i].from_ns = bench_now_ns();
        load->client->start(load->client, slot_done, &slots[i]);
    }
    pthread_mutex_lock(&load->mutex);
    while (atomic_load_explicit(&load->slots_running, memory_order_acquire) > 0) {
        pthread_cond_wait(&load->idle, &load->mutex);
    }
    pthread_mutex_unlock(&load->mutex);
}

static void run_pass(bench_client *client, const rpc_case *rpc, uint64_t duration_ns, rpc_outcome *outcome)
{
    slot *slots = calloc(rpc->in_flight, sizeof *slots);
    bench_histogram *all = calloc(1, sizeof *all);
    rpc_load load = {.client = client};
    if (slots == NULL || all == NULL) {
        abort();
    }
    pthread_mutex_init(&load.mutex, NULL);
    pthread_cond_init(&load.idle, NULL);
    for (unsigned i = 0; i < rpc->in_flight; i++) {
        slots[i].load = &load;
    }
    uint64_t from_ns = bench_now_ns(), from_cpu_ns = bench_cpu_ns();
    load.end_ns = from_ns + duration_ns;
    run_slots(slots, &load, rpc);
    double elapsed_ns = (double)(bench_now_ns() - from_ns), cpu_ns = (double)(bench_cpu_ns() - from_cpu_ns);
    for (unsigned i = 0; i < rpc->in_flight; i++) {
        bench_histogram_merge(all, &slots[i].histogram);
    }
    double calls = all->count > 0 ? (double)all->count : 1;
    bench_figure_add(&outcome->calls_per_s, calls / elapsed_ns * 1e9);
    bench_figure_add(&outcome->cpu_us_per_call, cpu_ns / calls / 1e3);
    bench_figure_add(&outcome->p50_us, (double)bench_histogram_percentile(all, 0.5) / 1e3);
    bench_figure_add(&outcome->p99_us, (double)bench_histogram_percentile(all, 0.99) / 1e3);
    outcome->failed += load.failed;
    pthread_cond_destroy(&load.idle);
    pthread_mutex_destroy(&load.mutex);
    free(all);
    free(slots);
}

/* Set evener's figure over the core's, per pair of consecutive passes, so that the machine's influence on both
 * cancels out. */
static void set_ratio(json_t *row, const char *name, const bench_figure *evener, const bench_figure *core)
{
    bench_figure of_pairs = {.count = 0};
    for (unsigned i = 0; i < evener->count && i < core->count; i++) {
        bench_figure_add(&of_pairs, evener->values[i] / core->values[i]);
    }
    bench_set_quartiles(row, name, &of_pairs);
}

static json_t *append_row(json_t *rows, const char *client, const char *policy, const rpc_case *rpc,
                          const rpc_outcome *outcome)
{
    json_t *row = json_pack("{s:s, s:s, s:i, s:i, s:s, s:I}", "client", client, "policy", policy, "backends", SERVERS,
                            "in_flight", (int)rpc->in_flight, "mode", rpc->blocking ? "blocking" : "asynchronous",
                            "payload_bytes", (json_int_t)rpc->payload_bytes);
    bench_set_figure(row, "calls_per_s", &outcome->calls_per_s);
    bench_set_figure(row, "p50_us", &outcome->p50_us);
    bench_set_figure(row, "p99_us", &outcome->p99_us);
    bench_set_figure(row, "cpu_us_per_call", &outcome->cpu_us_per_call);
    json_object_set_new(row, "failed", json_integer((json_int_t)outcome->failed));
    json_array_append_new(rows, row);
    bench_progress("rpc     %-6s %-12s %3u %-12s %5zu bytes  %8.0f calls/s  p50 %6.0f us  p99 %6.0f us  %5.1f us cpu",
                   client, policy, rpc->in_flight, rpc->blocking ? "blocking" : "asynchronous", rpc->payload_bytes,
                   bench_figure_median(&outcome->calls_per_s), bench_figure_median(&outcome->p50_us),
                   bench_figure_median(&outcome->p99_us), bench_figure_median(&outcome->cpu_us_per_call));
    if (outcome->failed > 0) {
        bench_complain("%s %s: %llu calls failed", client, policy, (unsigned long long)outcome->failed);
    }
    return row;
}

typedef bench_client *(*client_open)(const bench_client_options *options);

/* Only one client exists at a time. The core lets every waiting thread of a process poll all sockets: idle threads
 * of another client would take turns at polling this client's sockets, and each call would pay for waking the right
 * thread. For the same reason a blocking client has no threads for asynchronous calls. */
static bool run_alone(client_open open, const bench_client_options *options, const rpc_case *rpc, uint64_t duration_ns,
                      rpc_outcome *outcome)
{
    bench_client *client = open(options);
    if (client == NULL) {
        return false;
    }
    rpc_outcome *warm = calloc(1, sizeof *warm);
    if (warm == NULL) {
        abort();
    }
    run_pass(client, rpc, duration_ns / 4, warm);
    run_pass(client, rpc, duration_ns, outcome);
    outcome->failed += warm->failed;
    client->close(client);
    free(warm);
    return true;
}

static void compare(json_t *rows, const char *servers, const rpc_case *rpc, size_t policy, unsigned passes,
                    uint64_t duration_ns)
{
    static const client_open opens[2] = {bench_client_open_evener, bench_client_open_core};
    static const char *const names[2] = {"evener", "core"};
    const char *const policy_of[2] = {policies[policy].evener, policies[policy].core};
    uint8_t *payload = calloc(1, rpc->payload_bytes);
    rpc_outcome *outcomes = calloc(2, sizeof *outcomes);
    if (payload == NULL || outcomes == NULL) {
        abort();
    }
    bool connected = true;
    for (unsigned pass = 0; pass < passes && connected; pass++) {
        for (unsigned turn = 0; turn < 2 && connected; turn++) {
            const unsigned i = (turn + pass) % 2; /* each client is first in half of the passes */
            const bench_client_options options = {.servers = servers,
                                                  .policy = policy_of[i],
                                                  .threads = rpc->blocking ? 0 : CALL_THREADS,
                                                  .payload = payload,
                                                  .payload_bytes = rpc->payload_bytes};
            connected = policy_of[i] == NULL || run_alone(opens[i], &options, rpc, duration_ns, &outcomes[i]);
        }
    }
    if (!connected) {
        bench_complain("%s: a client did not connect", policies[policy].evener);
    }
    for (unsigned i = 0; i < 2 && connected; i++) {
        if (policy_of[i] != NULL) {
            json_t *row = append_row(rows, names[i], policies[policy].evener, rpc, &outcomes[i]);
            if (i == 0 && policy_of[1] != NULL) {
                set_ratio(row, "calls_ratio", &outcomes[0].calls_per_s, &outcomes[1].calls_per_s);
                set_ratio(row, "p50_ratio", &outcomes[0].p50_us, &outcomes[1].p50_us);
                set_ratio(row, "cpu_ratio", &outcomes[0].cpu_us_per_call, &outcomes[1].cpu_us_per_call);
            }
        }
    }
    free(outcomes);
    free(payload);
}

/* For `valgrind --tool=callgrind`: the difference of two runs with different counts is the cost of the calls alone. */
static void count_only(const char *servers, const char *client_name, const char *policy, uint64_t calls)
{
    static const uint8_t payload[COUNTED_BYTES];
    const bench_client_options options = {
        .servers = servers, .policy = policy, .payload = payload, .payload_bytes = sizeof payload};
    bench_client *client =
        strcmp(client_name, "core") == 0 ? bench_client_open_core(&options) : bench_client_open_evener(&options);
    if (client == NULL) {
        bench_complain("%s: the client did not connect", client_name);
        return;
    }
    for (uint64_t i = 0; i < calls; i++) {
        if (!client->call(client)) {
            bench_complain("%s: call %llu failed", client_name, (unsigned long long)i);
        }
    }
    client->close(client);
}

static void compare_all(json_t *rows, const char *servers, bool quick)
{
    for (size_t p = 0; p < COUNT(policies); p++) {
        for (size_t c = 0; c < COUNT(cases); c++) {
            const bool wanted = quick ? cases[c].also_quick && p == 0 : cases[c].also_quick || policies[p].core != NULL;
            if (wanted) {
                compare(rows, servers, &cases[c], p, quick ? PASSES_QUICK : PASSES, quick ? PASS_QUICK_NS : PASS_NS);
            }
        }
    }
}

typedef struct rpc_arguments {
    bool quick;
    const char *output, *client, *policy;
    uint64_t count; /* 0: run the comparison */
} rpc_arguments;

static bool read_arguments(int argc, char **argv, rpc_arguments *arguments)
{
    *arguments = (rpc_arguments){.client = "evener", .policy = "round_robin"};
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (strcmp(argv[i], "--quick") == 0) {
            arguments->quick = true;
        } else if ((value = bench_option(argv[i], "--output")) != NULL) {
            arguments->output = value;
        } else if ((value = bench_option(argv[i], "--client")) != NULL) {
            arguments->client = value;
        } else if ((value = bench_option(argv[i], "--policy")) != NULL) {
            arguments->policy = value;
        } else if ((value = bench_option(argv[i], "--count")) != NULL) {
            arguments->count = strtoull(value, NULL, 10);
        } else {
            fprintf(stderr, "bench_rpc: unknown argument %s\n", argv[i]);
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    rpc_arguments arguments;
    if (!read_arguments(argc, argv, &arguments)) {
        return 2;
    }
    bench_server servers[SERVERS];
    char list[256];
    bool ok = true;
    unsigned started = 0;
    while (started < SERVERS && ok) {
        ok = bench_server_start(&servers[started], 0, NULL);
        started += ok;
    }
    json_t *rows = json_array();
    if (ok) {
        bench_servers_list(servers, SERVERS, list, sizeof list);
        if (arguments.count > 0) {
            count_only(list, arguments.client, arguments.policy, arguments.count);
        } else {
            compare_all(rows, list, arguments.quick);
        }
    } else {
        bench_complain("no servers");
    }
    for (unsigned i = 0; i < started; i++) {
        bench_server_signal(&servers[i], SIGTERM);
    }
    return bench_finish(json_pack("{s:o}", "rpc", rows), arguments.output);
}
