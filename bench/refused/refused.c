/* What refused streams cost: one backend refuses 2 % of the streams with REFUSED_STREAM, which says nothing of its
 * connection (RFC 9113 section 8.7).
 *
 *     bench_refused [--quick] [--output=FILE]
 *
 * Over the C core evener's calls per second have to be within 20 % of those of the plain core, on the same server in
 * the same run, and no more of its calls may fail. Over "http2" they have to be at least 90 % of those at a server that
 * refuses nothing, and at most 0.1 % of the calls may fail.
 *
 * The clients take turns: in each round both make a fixed number of calls, and change places in the next. Only the
 * turns of one round, one right after the other, are compared: what else runs on the machine meets both. The
 * throughput is too low if more rounds are below the limit than chance explains, and if the best rounds are below it
 * too: "http2" has two speeds, one half of the other, by which processors its threads happen to run on, and one client
 * may keep to the lower one for many rounds. */
#include <stdio.h>
#include <unistd.h>

#include <evener/evener.h>

#include "bench/rpc/client.h"
#include "bench/support/measure.h"
#include "bench/support/output.h"
#include "tests/support/call_load.h"
#include "tests/support/refusing_server.h"

#define ROUNDS 51
#define ROUNDS_QUICK 11
#define CHANCE 0.001 /* of a complaint about a throughput that is at the limit */
#define REFUSED_EVERY 50
#define IN_FLIGHT 8
#define TIMEOUT_MS 100

typedef struct comparison {
    const char *transport;
    uint64_t calls; /* of one client in one round */
    double ratio_min;
    double failed_max; /* share of the calls; on the core: beyond those of the plain core */
} comparison;

static const comparison comparisons[] = {{"grpc", 3000, 0.8, 0.005}, {"http2", 20000, 0.9, 0.001}};

/* Return the probability that a fair coin shows heads in at least `heads` of `throws`, at most 64. */
static double coin_probability(unsigned heads, unsigned throws)
{
    double ways = 1, sum = 0, all = 1; /* `ways`: to choose that many heads */
    for (unsigned i = 0; i <= throws; i++) {
        sum += i >= heads ? ways : 0;
        ways = ways * (throws - i) / (i + 1);
        all *= i > 0 ? 2 : 1;
    }
    return sum / all;
}

/* Return whether the throughput is known to be below the limit: it was so in more rounds than chance explains. Other
 * load meets both turns of a round alike, so if the throughput is at the limit, half of the rounds are below it. */
static bool is_below(const bench_figure *ratios, double ratio_min)
{
    unsigned below = 0;
    for (unsigned i = 0; i < ratios->count; i++) {
        below += ratios->values[i] < ratio_min;
    }
    return coin_probability(below, ratios->count) < CHANCE;
}

/* Take the rounds, and further ones up to ROUNDS while the throughput seems to be below the limit and that may be
 * chance. The first client is what the second is compared with. */
static json_t *measure(const comparison *c, bench_client *clients[2], int rounds)
{
    bench_figure ratios = {0};
    uint64_t failed[2] = {0};
    double best[2] = {0};
    int taken = -1; /* the first round warms up */
    for (; taken < rounds ||
           (taken < ROUNDS && bench_figure_median(&ratios) < c->ratio_min && !is_below(&ratios, c->ratio_min));
         taken++) {
        call_load_figures figures[2];
        for (int turn = 0; turn < 2; turn++) {
            const int which = (turn + taken + 1) % 2;
            figures[which] = call_load_run(clients[which], IN_FLIGHT, c->calls);
        }
        bench_progress("refused %s: compared %.0f calls/s, evener %.0f calls/s", c->transport, figures[0].calls_per_s,
                       figures[1].calls_per_s);
        for (int which = 0; taken >= 0 && which < 2; which++) {
            failed[which] += figures[which].failed;
            best[which] = figures[which].calls_per_s > best[which] ? figures[which].calls_per_s : best[which];
        }
        if (taken >= 0) {
            bench_figure_add(&ratios, figures[1].calls_per_s / figures[0].calls_per_s);
        }
    }
    const bool core = c == &comparisons[0];
    const double failed_max = (core ? (double)failed[0] : 0) + c->failed_max * (double)c->calls * taken;
    if (is_below(&ratios, c->ratio_min) && best[1] / best[0] < c->ratio_min) {
        bench_complain(
            "refused %s: the throughput is %.3f of what it is compared with (median of %d rounds), below %.2f",
            c->transport, bench_figure_median(&ratios), taken, c->ratio_min);
    }
    if ((double)failed[1] > failed_max) {
        bench_complain("refused %s: %llu calls failed, at most %.0f may", c->transport, (unsigned long long)failed[1],
                       failed_max);
    }
    return json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:I, s:I}", "transport", c->transport, "calls",
                     (json_int_t)((uint64_t)taken * c->calls), "compared_calls_per_s", best[0], "calls_per_s", best[1],
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
    h2_script_server *server = refusing_server_start(REFUSED_EVERY);
    h2_script_server *willing = refusing_server_start(0);
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
