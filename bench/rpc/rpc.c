/* Unary calls over loopback: evener over each of its transports and the C core's own policies, interleaved in one run.
 *
 *     bench_rpc [--quick] [--brief] [--output=FILE] [--in-flight=N] [--mode=blocking|asynchronous]
 *     bench_rpc --count=N --client=evener|http2|core --policy=NAME   (N blocking calls, for counting instructions)
 *
 * "evener" is evener over the C core's transport, "http2" evener over its own. Each server is a separate process, so
 * CPU time is the client's alone. Fails if a call fails. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/rpc/client.h"
#include "bench/rpc/load.h"
#include "bench/support/output.h"
#include "bench/support/servers.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define SERVERS 3
#define CALL_THREADS 2
#define COUNTED_BYTES 10
#define PEM_BYTES_MAX 16384
/* Many short passes: by chance the threads of a connection and of its server may run on well-placed processors, and
 * that connection is then a tenth faster. */
#define PASSES 26
#define PASS_NS 48000000
#define PASSES_QUICK 3
#define PASS_QUICK_NS 150000000
#define PASS_BRIEF_NS 20000000 /* for tests: each case runs, its figures say nothing */
/* Many threads take a while to start: fewer and longer passes. */
#define THREADS_MANY 16
#define THREADS_MANY_PASSES 9
#define THREADS_MANY_PASS_NS 150000000

/* The first array of results compares policies; in the second one, transports under p2c_ewma and other loads. */
static const rpc_case policy_cases[] = {
    {.in_flight = 1, .blocking = true, .payload_bytes = 10, .also_quick = true},
    {.in_flight = 2, .blocking = true, .payload_bytes = 10},
    {.in_flight = 4, .blocking = true, .payload_bytes = 10},
    {.in_flight = 8, .blocking = true, .payload_bytes = 10},
    {.in_flight = 1, .payload_bytes = 10},
    {.in_flight = 16, .payload_bytes = 10, .also_quick = true},
    {.in_flight = 64, .payload_bytes = 10, .also_quick = true},
    {.in_flight = 256, .payload_bytes = 10, .also_quick = true},
    {.in_flight = 1, .blocking = true, .payload_bytes = 65536},
    {.in_flight = 16, .payload_bytes = 65536},
};
static const rpc_case transport_cases[] = {
    {.in_flight = 1, .blocking = true, .payload_bytes = 10},
    {.in_flight = 16, .blocking = true, .payload_bytes = 10},
    {.in_flight = 64, .blocking = true, .payload_bytes = 10, .also_quick = true},
    {.in_flight = 256, .blocking = true, .payload_bytes = 10},
    {.in_flight = 1, .payload_bytes = 10},
    {.in_flight = 16, .payload_bytes = 10},
    {.in_flight = 64, .payload_bytes = 10, .also_quick = true},
    {.in_flight = 256, .payload_bytes = 10},
    {.in_flight = 1, .blocking = true, .payload_bytes = 65536},
    {.in_flight = 64, .blocking = true, .payload_bytes = 65536},
    {.in_flight = 1, .payload_bytes = 65536},
    {.in_flight = 64, .payload_bytes = 65536},
    {.in_flight = 1, .blocking = true, .tls = true, .payload_bytes = 10},
    {.in_flight = 64, .blocking = true, .tls = true, .payload_bytes = 10},
    {.in_flight = 64, .tls = true, .payload_bytes = 10, .also_quick = true},
    {.in_flight = 1, .blocking = true, .tls = true, .payload_bytes = 65536},
    {.in_flight = 16, .tls = true, .payload_bytes = 65536},
};

/* A client with a policy. Of the same case, `over` is compared with: the core's round_robin stands for p2c_ewma, which
 * the core does not have. */
typedef struct contestant {
    const char *client, *policy;
    const char *transport; /* NULL: the core's own client */
    const char *core_policy;
} contestant;

static const contestant policy_contestants[] = {
    {"evener", "round_robin", "grpc", "round_robin"},
    {"http2", "round_robin", "http2", "round_robin"},
    {"core", "round_robin", NULL, NULL},
    {"evener", "pick_first", "grpc", "pick_first"},
    {"http2", "pick_first", "http2", "pick_first"},
    {"core", "pick_first", NULL, NULL},
    {"evener", "p2c_ewma", "grpc", "round_robin"},
    {"http2", "p2c_ewma", "http2", "round_robin"},
};
static const contestant transport_contestants[] = {
    {"evener", "p2c_ewma", "grpc", "round_robin"},
    {"http2", "p2c_ewma", "http2", "round_robin"},
    {"core", "round_robin", NULL, NULL},
};
#define CONTESTANTS_MAX COUNT(policy_contestants)
#define CONTESTANTS_QUICK 3

typedef struct rpc_arguments {
    bool quick, brief; /* brief: quick, with shorter passes */
    const char *output, *client, *policy;
    const char *mode;   /* NULL: both */
    uint64_t in_flight; /* 0: all */
    uint64_t count;     /* 0: run the comparison */
} rpc_arguments;

/* What all passes share. */
typedef struct rpc_bench {
    rpc_arguments arguments;
    char plain[256], tls[256]; /* the servers */
    char root[PEM_BYTES_MAX];
} rpc_bench;

static const char *mode_of(const rpc_case *rpc)
{
    return rpc->blocking ? "blocking" : "asynchronous";
}

/* Set the figure over the core's, per pair of passes of one turn, so that the machine's influence on both cancels
 * out. */
static void set_ratio(json_t *row, const char *name, const bench_figure *ours, const bench_figure *core)
{
    bench_figure of_pairs = {.count = 0};
    for (unsigned i = 0; i < ours->count && i < core->count; i++) {
        bench_figure_add(&of_pairs, ours->values[i] / core->values[i]);
    }
    bench_set_quartiles(row, name, &of_pairs);
}

static json_t *append_row(json_t *rows, const contestant *who, const rpc_case *rpc, const rpc_outcome *outcome)
{
    json_t *row = json_pack("{s:s, s:s, s:i, s:i, s:s, s:I, s:b}", "client", who->client, "policy", who->policy,
                            "backends", SERVERS, "in_flight", (int)rpc->in_flight, "mode", mode_of(rpc),
                            "payload_bytes", (json_int_t)rpc->payload_bytes, "tls", rpc->tls);
    bench_set_figure(row, "calls_per_s", &outcome->calls_per_s);
    bench_set_figure(row, "p50_us", &outcome->p50_us);
    bench_set_figure(row, "p99_us", &outcome->p99_us);
    bench_set_figure(row, "cpu_us_per_call", &outcome->cpu_us_per_call);
    bench_set_figure(row, "system_calls_per_call", &outcome->system_calls_per_call);
    bench_set_figure(row, "hand_overs_per_call", &outcome->hand_overs_per_call);
    bench_set_figure(row, "allocations_per_call", &outcome->allocations_per_call);
    json_object_set_new(row, "failed", json_integer((json_int_t)outcome->failed));
    json_array_append_new(rows, row);
    bench_progress("rpc %-6s %-11s %3u %-12s %5zu bytes%s %7.0f calls/s p50 %5.0f us p99 %5.0f us; per call %5.1f us "
                   "cpu, %5.2f system calls, %5.2f hand-overs, %5.2f allocations",
                   who->client, who->policy, rpc->in_flight, mode_of(rpc), rpc->payload_bytes, rpc->tls ? " TLS" : "",
                   bench_figure_median(&outcome->calls_per_s), bench_figure_median(&outcome->p50_us),
                   bench_figure_median(&outcome->p99_us), bench_figure_median(&outcome->cpu_us_per_call),
                   bench_figure_median(&outcome->system_calls_per_call),
                   bench_figure_median(&outcome->hand_overs_per_call),
                   bench_figure_median(&outcome->allocations_per_call));
    if (outcome->failed > 0) {
        bench_complain("%s %s: %llu calls failed", who->client, who->policy, (unsigned long long)outcome->failed);
    }
    return row;
}

static bench_client *open_client(const contestant *who, const bench_client_options *options)
{
    return who->transport != NULL ? bench_client_open_evener(options) : bench_client_open_core(options);
}

/* Only one client exists at a time. The core lets every waiting thread of a process poll all sockets: idle threads
 * of another client would take turns at polling this client's sockets, and each call would pay for waking the right
 * thread. For the same reason a blocking client has no threads for asynchronous calls. */
static bool run_alone(const contestant *who, const bench_client_options *options, const rpc_case *rpc,
                      uint64_t duration_ns, rpc_outcome *outcome)
{
    bench_client *client = open_client(who, options);
    if (client == NULL) {
        return false;
    }
    rpc_outcome *warm = calloc(1, sizeof *warm);
    if (warm == NULL) {
        abort();
    }
    rpc_run_pass(client, rpc, duration_ns / 4, warm);
    rpc_run_pass(client, rpc, duration_ns, outcome);
    outcome->failed += warm->failed;
    client->close(client);
    free(warm);
    return true;
}

static void append_rows(json_t *rows, const contestant *contestants, size_t count, const rpc_case *rpc,
                        const rpc_outcome *outcomes)
{
    for (size_t i = 0; i < count; i++) {
        json_t *row = append_row(rows, &contestants[i], rpc, &outcomes[i]);
        for (size_t j = 0; j < count && contestants[i].core_policy != NULL; j++) {
            if (contestants[j].transport == NULL && strcmp(contestants[j].policy, contestants[i].core_policy) == 0) {
                json_object_set_new(row, "core_policy", json_string(contestants[j].policy));
                set_ratio(row, "calls_ratio", &outcomes[i].calls_per_s, &outcomes[j].calls_per_s);
                set_ratio(row, "p50_ratio", &outcomes[i].p50_us, &outcomes[j].p50_us);
                set_ratio(row, "cpu_ratio", &outcomes[i].cpu_us_per_call, &outcomes[j].cpu_us_per_call);
            }
        }
    }
}

/* Run a case: in each turn every contestant has one pass, and another one begins. */
static void compare(json_t *rows, const rpc_bench *bench, const rpc_case *rpc, const contestant *contestants,
                    size_t count)
{
    const bool quick = bench->arguments.quick;
    const bool many_threads = rpc->blocking && rpc->in_flight >= THREADS_MANY;
    const unsigned passes = quick ? PASSES_QUICK : many_threads ? THREADS_MANY_PASSES : PASSES;
    const uint64_t duration_ns = bench->arguments.brief ? PASS_BRIEF_NS
                                 : quick                ? PASS_QUICK_NS
                                 : many_threads         ? THREADS_MANY_PASS_NS
                                                        : PASS_NS;
    uint8_t *payload = calloc(1, rpc->payload_bytes);
    rpc_outcome *outcomes = calloc(count, sizeof *outcomes);
    if (payload == NULL || outcomes == NULL) {
        abort();
    }
    bool connected = true;
    for (unsigned pass = 0; pass < passes && connected; pass++) {
        for (size_t turn = 0; turn < count && connected; turn++) {
            const size_t i = (turn + pass) % count;
            const bench_client_options options = {.servers = rpc->tls ? bench->tls : bench->plain,
                                                  .policy = contestants[i].policy,
                                                  .transport = contestants[i].transport,
                                                  .root_certificates = rpc->tls ? bench->root : NULL,
                                                  .threads = rpc->blocking ? 0 : CALL_THREADS,
                                                  .payload = payload,
                                                  .payload_bytes = rpc->payload_bytes};
            connected = run_alone(&contestants[i], &options, rpc, duration_ns, &outcomes[i]);
            if (!connected) {
                bench_complain("%s %s: the client did not connect", contestants[i].client, contestants[i].policy);
            }
        }
    }
    if (connected) {
        append_rows(rows, contestants, count, rpc, outcomes);
    }
    free(outcomes);
    free(payload);
}

static void compare_all(json_t *rows, const rpc_bench *bench, const rpc_case *cases, size_t case_count,
                        const contestant *contestants, size_t count)
{
    const rpc_arguments *arguments = &bench->arguments;
    for (size_t c = 0; c < case_count; c++) {
        if ((!arguments->quick || cases[c].also_quick) &&
            (arguments->in_flight == 0 || arguments->in_flight == cases[c].in_flight) &&
            (arguments->mode == NULL || strcmp(arguments->mode, mode_of(&cases[c])) == 0)) {
            compare(rows, bench, &cases[c], contestants, count);
        }
    }
}

/* For `valgrind --tool=callgrind`: the difference of two runs with different counts is the cost of the calls alone. */
static void count_only(const rpc_bench *bench)
{
    static const uint8_t payload[COUNTED_BYTES];
    const rpc_arguments *arguments = &bench->arguments;
    const bool is_core = strcmp(arguments->client, "core") == 0;
    const contestant who = {.transport = is_core ? NULL : strcmp(arguments->client, "http2") == 0 ? "http2" : "grpc"};
    const bench_client_options options = {.servers = bench->plain,
                                          .policy = arguments->policy,
                                          .transport = who.transport,
                                          .payload = payload,
                                          .payload_bytes = sizeof payload};
    bench_client *client = open_client(&who, &options);
    if (client == NULL) {
        bench_complain("%s: the client did not connect", arguments->client);
        return;
    }
    for (uint64_t i = 0; i < arguments->count; i++) {
        if (!client->call(client)) {
            bench_complain("%s: call %llu failed", arguments->client, (unsigned long long)i);
        }
    }
    client->close(client);
}

/* ---- servers ---- */

/* Make a certificate for the servers and start them with it; the same certificate is the clients' root. Its files are
 * gone when this returns. */
static bool start_tls_servers(bench_server servers[SERVERS], unsigned *started, char root[PEM_BYTES_MAX])
{
    char folder[] = "/tmp/evener_bench_XXXXXX", command[PATH_MAX], certificate[128], key[128];
    if (mkdtemp(folder) == NULL) {
        perror("bench_rpc: mkdtemp");
        return false;
    }
    snprintf(certificate, sizeof certificate, "%s/certificate.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=%s -addext "
             "subjectAltName=DNS:%s -keyout %s -out %s 2>/dev/null",
             BENCH_SERVER_NAME, BENCH_SERVER_NAME, key, certificate);
    FILE *file = system(command) == 0 ? fopen(certificate, "r") : NULL;
    bool ok = file != NULL && fread(root, 1, PEM_BYTES_MAX - 1, file) > 0;
    if (file != NULL) {
        fclose(file);
    }
    while (*started < SERVERS && ok) {
        ok = bench_server_start_tls(&servers[*started], certificate, key);
        *started += ok;
    }
    unlink(certificate);
    unlink(key);
    rmdir(folder);
    return ok;
}

static bool start_plain_servers(bench_server servers[SERVERS], unsigned *started)
{
    bool ok = true;
    while (*started < SERVERS && ok) {
        ok = bench_server_start(&servers[*started], 0, NULL);
        *started += ok;
    }
    return ok;
}

static json_t *run(rpc_bench *bench)
{
    json_t *by_policy = json_array(), *by_transport = json_array();
    if (bench->arguments.count > 0) {
        count_only(bench);
    } else {
        compare_all(by_policy, bench, policy_cases, COUNT(policy_cases), policy_contestants,
                    bench->arguments.quick ? CONTESTANTS_QUICK : CONTESTANTS_MAX);
        compare_all(by_transport, bench, transport_cases, COUNT(transport_cases), transport_contestants,
                    COUNT(transport_contestants));
    }
    return json_pack("{s:o, s:o}", "rpc", by_policy, "rpc_transports", by_transport);
}

static bool read_arguments(int argc, char **argv, rpc_arguments *arguments)
{
    *arguments = (rpc_arguments){.client = "evener", .policy = "round_robin"};
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (strcmp(argv[i], "--quick") == 0) {
            arguments->quick = true;
        } else if (strcmp(argv[i], "--brief") == 0) {
            arguments->quick = arguments->brief = true;
        } else if ((value = bench_option(argv[i], "--output")) != NULL) {
            arguments->output = value;
        } else if ((value = bench_option(argv[i], "--client")) != NULL) {
            arguments->client = value;
        } else if ((value = bench_option(argv[i], "--policy")) != NULL) {
            arguments->policy = value;
        } else if ((value = bench_option(argv[i], "--mode")) != NULL) {
            arguments->mode = value;
        } else if ((value = bench_option(argv[i], "--in-flight")) != NULL) {
            arguments->in_flight = strtoull(value, NULL, 10);
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
    static rpc_bench bench;
    if (!read_arguments(argc, argv, &bench.arguments)) {
        return 2;
    }
    bench_server plain[SERVERS], tls[SERVERS];
    unsigned plain_started = 0, tls_started = 0;
    json_t *results = NULL;
    if (start_plain_servers(plain, &plain_started) &&
        (bench.arguments.count > 0 || start_tls_servers(tls, &tls_started, bench.root))) {
        bench_servers_list(plain, plain_started, bench.plain, sizeof bench.plain);
        bench_servers_list(tls, tls_started, bench.tls, sizeof bench.tls);
        results = run(&bench);
    } else {
        bench_complain("no servers");
    }
    for (unsigned i = 0; i < plain_started; i++) {
        bench_server_signal(&plain[i], SIGTERM);
    }
    for (unsigned i = 0; i < tls_started; i++) {
        bench_server_signal(&tls[i], SIGTERM);
    }
    return bench_finish(results != NULL ? results : json_object(), bench.arguments.output);
}
