/* One backend refuses 2 % of the streams with REFUSED_STREAM, which says nothing of its connection (RFC 9113 section
 * 8.7): evener's calls per second are within 20 % of those of the plain core, on the same server in the same run, and no
 * more of its calls fail.
 *
 * The clients take turns: in each round both make a fixed number of calls, and change places in the next. Only the turns
 * of one round, one right after the other, are compared, and what counts is the median of the rounds' ratios: what else
 * runs on the machine meets both, and a single burst meets one ratio. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <evener/evener.h>

#include "bench/rpc/client.h"
#include "tests/support/call_load.h"
#include "tests/support/h2_script_server.h"

#define ROUNDS 51
#define CALLS 3000 /* of one client in one round: 60 are refused */
#define IN_FLIGHT 8
#define TIMEOUT_MS 100
#define RATIO_MIN 0.8
#define RATIO_HOPELESS 0.1 /* a round below this is not noise, and would go on for minutes */
/* Calls that a machine under load may let miss their deadline of 100 ms, of all. */
#define MISSED_MAX (ROUNDS * CALLS / 200)

static const h2_step refused[] = {
    {.kind = H2_AWAIT_END_STREAM}, {.kind = H2_RST_STREAM, .code = H2_REFUSED_STREAM}, {.kind = H2_END}};
static const h2_step ok[] = {
    {.kind = H2_AWAIT_END_STREAM},
    {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},
    {.kind = H2_DATA, .data = "\0\0\0\0", .data_bytes = 5},
    {.kind = H2_HEADERS, .headers = {{"grpc-status", "0"}}, .end_stream = true},
    {.kind = H2_END}};
static const h2_script scripts[] = {{.steps = ok, .plays = 49}, {.steps = refused, .plays = 1}};

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int judge(double ratios[ROUNDS], const uint64_t failed[2])
{
    qsort(ratios, ROUNDS, sizeof *ratios, compare);
    const double median = ratios[ROUNDS / 2];
    int result = 0;
    printf("ratio: median %.3f, quartiles %.3f and %.3f; failed: core %llu, evener %llu of %d\n", median,
           ratios[ROUNDS / 4], ratios[ROUNDS - 1 - ROUNDS / 4], (unsigned long long)failed[0],
           (unsigned long long)failed[1], ROUNDS * CALLS);
    if (median < RATIO_MIN) {
        fprintf(stderr, "evener's throughput is %.3f of the core's, below %.2f\n", median, RATIO_MIN);
        result = 1;
    }
    if (failed[1] > failed[0] + MISSED_MAX) {
        fprintf(stderr, "%llu of evener's calls failed, %llu of the core's\n", (unsigned long long)failed[1],
                (unsigned long long)failed[0]);
        result = 1;
    }
    return result;
}

int main(void)
{
    h2_script_server *server = h2_script_server_start(
        &(h2_script_server_options){.scripts = scripts, .count = sizeof scripts / sizeof *scripts, .cycle = true});
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)h2_script_server_port(server));
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    const bench_client_options options = {.servers = address,
                                          .policy = "round_robin",
                                          .threads = processors > 4 ? 4 : (unsigned)processors,
                                          .payload = "",
                                          .timeout_ms = TIMEOUT_MS};
    bench_client *const clients[] = {bench_client_open_core(&options), bench_client_open_evener(&options)};
    if (clients[0] == NULL || clients[1] == NULL) {
        return 1;
    }
    double ratios[ROUNDS];
    uint64_t failed[2] = {0};
    int result = 0;
    for (int i = -1; i < ROUNDS && result == 0; i++) { /* the first round warms up */
        call_load_figures figures[2];
        for (int turn = 0; turn < 2; turn++) {
            const int which = (turn + i + 1) % 2;
            figures[which] = call_load_run(clients[which], IN_FLIGHT, CALLS);
        }
        const double ratio = figures[1].calls_per_s / figures[0].calls_per_s;
        printf("%2d: core %6.0f calls/s, %4llu failed; evener %6.0f calls/s, %4llu failed; ratio %.3f\n", i,
               figures[0].calls_per_s, (unsigned long long)figures[0].failed, figures[1].calls_per_s,
               (unsigned long long)figures[1].failed, ratio);
        fflush(stdout);
        if (ratio < RATIO_HOPELESS) {
            fprintf(stderr, "a ratio of %.3f is far below %.2f\n", ratio, RATIO_MIN);
            result = 1;
        }
        if (i >= 0) {
            ratios[i] = ratio;
            failed[0] += figures[0].failed;
            failed[1] += figures[1].failed;
        }
    }
    for (int i = 0; i < 2; i++) {
        clients[i]->close(clients[i]);
    }
    h2_script_server_stop(server);
    return result != 0 ? result : judge(ratios, failed);
}
