/* Cost per connected backend on the gRPC C core: memory of this process, and time until all are connected.
 *
 *     bench_connected [--quick] [--output=FILE]
 *
 * The backends are loopback addresses from 127.0.0.1 on; one server listens on all of them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include <evener/evener.h>

#include "bench/support/output.h"
#include "bench/support/servers.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define POLICY "round_robin"
#define CONNECT_S 60
#define FILES_BESIDES 256 /* file descriptors other than connections */

static const size_t all_backends[] = {100, 1000};

/* Return "127.0.0.1:P,127.0.0.2:P,..."; NULL on out of memory. The caller frees it. */
static char *make_target(size_t backends, uint16_t port)
{
    size_t room = 16 + backends * 24, length;
    char *target = malloc(room);
    if (target == NULL) {
        return NULL;
    }
    length = (size_t)snprintf(target, room, "static:");
    for (size_t i = 0; i < backends; i++) {
        length += (size_t)snprintf(target + length, room - length, "%s127.0.%zu.%zu:%u", i > 0 ? "," : "",
                                   (i + 1) >> 8 & 255, (i + 1) & 255, (unsigned)port);
    }
    return target;
}

static size_t count_ready(evener_channel *channel)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    size_t ready = 0;
    if (evener_channel_get_stats(channel, &stats, NULL) != EVENER_STATUS_OK) {
        return 0;
    }
    for (size_t i = 0; i < stats.subchannel_count; i++) {
        ready += stats.subchannels[i].state == EVENER_READY;
    }
    evener_channel_stats_clear(&stats);
    return ready;
}

static bool wait_until_ready(evener_channel *channel, size_t backends, uint64_t from_ns)
{
    evener_channel_connect(channel);
    while (count_ready(channel) < backends) {
        struct timespec pause = {.tv_nsec = 2000000};
        nanosleep(&pause, NULL);
        if (bench_now_ns() - from_ns > CONNECT_S * EVENER_NS_PER_S) {
            return false;
        }
    }
    return true;
}

static void measure(json_t *rows, size_t backends, uint16_t port)
{
    evener_status status;
    evener_credentials *insecure = NULL;
    evener_channel *channel = NULL;
    char *target = make_target(backends, port);
    if (target == NULL || evener_credentials_create_insecure(&insecure, &status) != EVENER_STATUS_OK) {
        bench_complain("out of memory for %zu backends", backends);
        free(target);
        return;
    }
    evener_channel_options options = {.size = sizeof options, .credentials = insecure, .policy = POLICY};
    size_t before = bench_bytes_in_use();
    uint64_t from_ns = bench_now_ns();
    if (evener_channel_create(target, &options, &channel, &status) != EVENER_STATUS_OK) {
        bench_complain("%zu backends: %s", backends, status.message);
    } else if (!wait_until_ready(channel, backends, from_ns)) {
        bench_complain("%zu of %zu backends are connected after %d s", count_ready(channel), backends, CONNECT_S);
    } else {
        double us = (double)(bench_now_ns() - from_ns) / 1e3 / (double)backends;
        double bytes = (double)(bench_bytes_in_use() - before) / (double)backends;
        json_array_append_new(rows, json_pack("{s:s, s:I, s:I, s:s, s:I}", "policy", POLICY, "backends",
                                              (json_int_t)backends, "bytes_per_backend", (json_int_t)bytes, "transport",
                                              "gRPC C core, connected", "connect_us_per_backend", (json_int_t)us));
        bench_progress("memory  connected    %6zu backends %7.0f bytes per backend, %.0f us per connection", backends,
                       bytes, us);
    }
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
    free(target);
}

int main(int argc, char **argv)
{
    bool quick;
    const char *output;
    if (!bench_arguments(argc, argv, "bench_connected", &quick, &output)) {
        return 2;
    }
    struct rlimit files; /* the server inherits it */
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    bench_server server;
    json_t *rows = json_array();
    if (bench_server_start(&server, 0, "--host=0.0.0.0")) {
        for (size_t i = 0; i < COUNT(all_backends); i++) {
            if ((!quick || i == 0) && all_backends[i] + FILES_BESIDES <= files.rlim_cur) {
                measure(rows, all_backends[i], server.port);
            }
        }
        bench_server_signal(&server, SIGTERM);
    } else {
        bench_complain("no server");
    }
    return bench_finish(json_pack("{s:o}", "memory", rows), output);
}
