/* Picks over connections: pick + done of a channel on http2 with 10 backends READY, beside the bare picker (the same
 * channel over a transport that carries nothing), in turns in the same run:
 *
 *     bench_connected_picks [--quick] [--output=FILE]
 *
 * Times are of the clock on the wall, of all threads together. A pick over connections also holds its connection until
 * its end. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <evener/evener.h>

#include "bench/picker/picker_load.h"
#include "bench/support/bench_channel.h"
#include "bench/support/output.h"
#include "bench/support/servers.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BACKENDS 10
#define WAIT_MS 60000

static const char *const policies[] = {"round_robin", "p2c_ewma"};

typedef enum picked { BARE, HTTP2, PICKED } picked;

static const char *const names[PICKED] = {"bare", "http2"};

/* Return a channel whose backends are all READY, or NULL. */
static evener_channel *connect_all(const char *policy, uint16_t port)
{
    char target[BACKENDS * 24] = "static:";
    evener_status status;
    evener_credentials *insecure = NULL;
    evener_channel *channel = NULL;
    for (unsigned i = 1; i <= BACKENDS; i++) {
        const size_t used = strlen(target);
        (void)snprintf(target + used, sizeof target - used, "%s127.0.0.%u:%u", i > 1 ? "," : "", i, (unsigned)port);
    }
    (void)evener_credentials_create_insecure(&insecure, &status);
    const evener_channel_options options = {
        .size = sizeof options, .credentials = insecure, .policy = policy, .transport_name = "http2"};
    if (evener_channel_create(target, &options, &channel, &status) != EVENER_STATUS_OK) {
        (void)fprintf(stderr, "bench_connected_picks: %s\n", status.message);
        return NULL;
    }
    evener_credentials_destroy(insecure);
    evener_channel_connect(channel);
    if (evener_channel_wait_ready_backends(channel, BACKENDS, WAIT_MS, &status) != EVENER_STATUS_OK) {
        (void)fprintf(stderr, "bench_connected_picks: %s\n", status.message);
        evener_channel_unref(channel);
        return NULL;
    }
    return channel;
}

static double measure(evener_channel *channel, unsigned threads, uint64_t duration_ns)
{
    picker_result got = {0};
    const picker_load load = {.channel = channel, .threads = threads, .duration_ns = duration_ns};
    if (!picker_load_run(&load, PICKER_LOAD_PICK_DONE, &got, NULL) || got.not_complete > 0 || got.allocations > 0) {
        bench_complain("picks over connections: %llu without a backend, %llu allocations",
                       (unsigned long long)got.not_complete, (unsigned long long)got.allocations);
    }
    return got.ns;
}

static void measure_policy(json_t *rows, const char *policy, uint16_t port, bool quick)
{
    bench_channel bare;
    evener_channel *connected = connect_all(policy, port);
    if (connected == NULL || !bench_channel_open(&bare, policy, BACKENDS)) {
        bench_complain("%s: not all of %d backends are READY", policy, BACKENDS);
        evener_channel_unref(connected);
        return;
    }
    evener_channel *const channels[PICKED] = {bare.channel, connected};
    const unsigned passes = quick ? 2 : 40;
    const uint64_t duration_ns = (quick ? 5 : 40) * EVENER_NS_PER_MS;
    bench_figure one[PICKED] = {0}, two[PICKED] = {0}, speedup[PICKED] = {0}, over_bare[PICKED] = {0};
    for (unsigned pass = 0; pass < passes; pass++) {
        double bare_ns = 0;
        for (picked which = 0; which < PICKED; which++) {
            const double one_ns = measure(channels[which], 1, duration_ns);
            const double two_ns = measure(channels[which], 2, duration_ns);
            bare_ns = which == BARE ? one_ns : bare_ns;
            bench_figure_add(&one[which], one_ns);
            bench_figure_add(&two[which], two_ns);
            bench_figure_add(&speedup[which], one_ns / two_ns);
            bench_figure_add(&over_bare[which], one_ns / bare_ns);
        }
    }
    for (picked which = 0; which < PICKED; which++) {
        bench_progress(
            "connected_picks  %-12s %-6s one thread %6.2f ns  two threads %6.2f ns  speed-up %5.2f  over bare "
            "%5.2f",
            policy, names[which], bench_figure_median(&one[which]), bench_figure_median(&two[which]),
            bench_figure_median(&speedup[which]), bench_figure_median(&over_bare[which]));
        json_t *row = json_pack("{s:s, s:s}", "policy", policy, "transport", names[which]);
        bench_set_figure(row, "one_thread_ns", &one[which]);
        bench_set_figure(row, "two_threads_ns", &two[which]);
        bench_set_quartiles(row, "speedup", &speedup[which]);
        bench_set_quartiles(row, "over_bare", &over_bare[which]);
        json_array_append_new(rows, row);
    }
    bench_channel_close(&bare);
    evener_channel_unref(connected);
}

int main(int argc, char **argv)
{
    bool quick;
    const char *output;
    bench_server server;
    json_t *rows = json_array();
    if (!bench_arguments(argc, argv, "bench_connected_picks", &quick, &output)) {
        return 2;
    }
    if (!bench_server_start(&server, 0, "--host=0.0.0.0")) {
        bench_complain("no server");
    } else {
        for (size_t i = 0; i < COUNT(policies); i++) {
            measure_policy(rows, policies[i], server.port, quick);
        }
        bench_server_signal(&server, SIGTERM);
    }
    return bench_finish(json_pack("{s:o}", "connected_picks", rows), output);
}
