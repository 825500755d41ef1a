/* What refused streams cost: one backend refuses 2 % of the streams with REFUSED_STREAM, which says nothing of its
 * connection (RFC 9113 section 8.7).
 *
 *     bench_refused [--quick] [--output=FILE]
 *
 * Over the C core evener's calls per second have to be within 20 % of those of the plain core, on the same server in
 * the same run, and no more of its calls may fail. Over "http2" they have to be at least 90 % of those at a server that
 * refuses nothing, and at most 0.1 % of the calls may fail; there the best rounds are compared, as "http2" has two
 * speeds, one half of the other, by which processors its threads happen to run on.
 *
 * The clients take turns: in each round both make a fixed number of calls, and change places in the next. Only the
 * turns of one round, one right after the other, are compared: what else runs on the machine meets both. */
#include <stdio.h>
#include <unistd.h>

#include <evener/evener.h>

#include "bench/rpc/client.h"
#include "bench/support/measure.h"
#include "bench/support/output.h"
#include "tests/support/call_load.h"
#include "tests/support/h2_script_server.h"

#define ROUNDS 51
#define ROUNDS_QUICK 11
#define IN_FLIGHT 8
#define TIMEOUT_MS 100

typedef struct comparison {
    const char *transport;
    uint64_t calls; /* of one client in one round */
    double ratio_min;
    double failed_max; /* share of the calls; on the core: beyond those of the plain core */
} comparison;

static const comparison comparisons[] = {{"grpc", 3000, 0.8, 0.005}, {"http2", 20000, 0.9, 0.001}};

static const h2_step refused[] = {
    {.kind = H2_AWAIT_END_STREAM}, {.kind = H2_RST_STREAM, .code = H2_REFUSED_STREAM}, {.kind = H2_END}};
static const h2_step ok[] = {
    {.kind = H2_AWAIT_END_STREAM},
    {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},
    {.kind = H2_DATA, .data = "\0\0\0\0", .data_bytes = 5},
    {.kind = H2_HEADERS, .headers = {{"grpc-status", "0"}}, .end_stream = true},
    {.kind = H2_END}};
static const h2_script scripts[] = {{.steps = ok, .plays = 49}, {.steps = refused, .plays = 1}};

/* Take the rounds. The first client is what the second is compared with. */
static json_t *measure(const comparison *c, bench_client *clients[2], int rounds)
{
    bench_figure ratios = {0};
    uint64_t failed[2] = {0};
    double best[2] = {0};
    for (int i = -1; i < rounds; i++) { /* the first round warms up */
        call_load_figures figures[2];
        for (int turn = 0; turn < 2; turn++) {
            const int which = (turn + i + 1) % 2;
            figures[which] = call_load_run(clients[which], IN_FLIGHT, c->calls);
        }
        bench_progress("refused %s: compared %.0f calls/s, evener %.0f calls/s", c->transport, figures[0].calls_per_s,
                       figures[1].calls_per_s);
        for (int which = 0; i >= 0 && which < 2; which++) {
            failed[which] += figures[which].failed;
            best[which] = figures[which].calls_per_s > best[which] ? figures[which].calls_per_s : best[which];
        }
        if (i >= 0) {
            bench_figure_add(&ratios, figures[1].calls_per_s / figures[0].calls_per_s);
        }
    }
    const bool core = c == &comparisons[0];
    const double judged = core ? bench_figure_median(&ratios) : best[1] / best[0];
    const double failed_max = (core ? (double)failed[0] : 0) + c->failed_max * (double)c->calls * rounds;
    if (rounds >= ROUNDS && judged < c->ratio_min) { /* a few rounds judge the machine's other load */
        bench_complain("refused %s: the throughput is %.3f of what it is compared with, below %.2f", c->transport,
                       judged, c->ratio_min);
    }
    if ((double)failed[1] > failed_max) {
        bench_complain("refused %s: %llu calls failed, at most %.0f may", c->transport, (unsigned long long)failed[1],
                       failed_max);
    }
    return json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:I, s:I}", "transport", c->transport, "calls",
                     (json_int_t)((uint64_t)rounds * c->calls), "compared_calls_per_s", best[0], "calls_per_s", best[1],
                     "ratio", bench_figure_median(&ratios), "ratio_best", best[1] / best[0], "compared_failed",
                     (json_int_t)failed[0], "failed", (json_int_t)failed[1]);
}

static json_t *compare(const comparison *c, int rounds, const char *refusing, const char *willing)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    bench_client_options options = {.servers = refusing,
                                    .policy = "round_robin",
                                    .transport = c->transport,
                                    .threads = processors > 4 ? 4 : (unsigned)processors,
                                    .payload = "",
                                    .timeout_ms = TIMEOUT_MS};
    bench_client *clients[2] = {NULL, bench_client_open_evener(&options)};
    if (c == &comparisons[0]) {
        clients[0] = bench_client_open_core(&options);
    } else {
        options.servers = willing;
        clients[0] = bench_client_open_evener(&options);
    }
    json_t *row = NULL;
    if (clients[0] != NULL && clients[1] != NULL) {
        row = measure(c, clients, rounds);
    } else {
        bench_complain("refused %s: a client cannot connect", c->transport);
    }
    for (int i = 0; i < 2; i++) {
        if (clients[i] != NULL) {
            clients[i]->close(clients[i]);
        }
    }
    return row;
}

int main(int argc, char **argv)
{
    bool quick;
    const char *output;
    if (!bench_arguments(argc, argv, "bench_refused", &quick, &output)) {
        return 2;
    }
    h2_script_server *server = h2_script_server_start(
        &(h2_script_server_options){.scripts = scripts, .count = sizeof scripts / sizeof *scripts, .cycle = true});
    h2_script_server *willing = h2_script_server_start(&(h2_script_server_options){.scripts = scripts, .count = 1});
    char address[32], willing_address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)h2_script_server_port(server));
    snprintf(willing_address, sizeof willing_address, "127.0.0.1:%u", (unsigned)h2_script_server_port(willing));
    json_t *rows = json_array();
    for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++) {
        json_t *row = compare(&comparisons[i], quick ? ROUNDS_QUICK : ROUNDS, address, willing_address);
        if (row != NULL) {
            json_array_append_new(rows, row);
        }
    }
    h2_script_server_stop(server);
    h2_script_server_stop(willing);
    return bench_finish(json_pack("{s:o}", "refused", rows), output);
}
