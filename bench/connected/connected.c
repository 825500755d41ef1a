/* Cost per connected backend on each transport: memory and processor time of this process, and time until all are
 * connected. The transports take turns; the median of the rounds stands.
 *
 *     bench_connected [--quick] [--output=FILE]
 *
 * The backends are loopback addresses from 127.0.0.1 on; one server listens on all of them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <evener/evener.h>

#include "bench/support/measure.h"
#include "bench/support/output.h"
#include "bench/support/servers.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define POLICY "round_robin"
#define CONNECT_S 60
#define FILES_BESIDES 256 /* file descriptors other than connections */

#define ROUNDS 5

static const size_t all_backends[] = {100, 1000};

typedef struct connected_transport {
    const char *name;
    const char *text;
} connected_transport;

static const connected_transport transports[] = {{"grpc", "gRPC C core, connected"}, {"http2", "http2, connected"}};

typedef struct outcome {
    bench_figure bytes, us, cpu_us;
} outcome;

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

/* Connect a channel to all backends once. False: it complained. */
static bool connect_once(const connected_transport *transport, size_t backends, const char *target, outcome *to)
{
    evener_status status;
    evener_credentials *insecure = NULL;
    evener_channel *channel = NULL;
    if (evener_credentials_create_insecure(&insecure, &status) != EVENER_STATUS_OK) {
        bench_complain("%s", status.message);
        return false;
    }
    const evener_channel_options options = {
        .size = sizeof options, .credentials = insecure, .policy = POLICY, .transport_name = transport->name};
    const size_t before = bench_bytes_in_use();
    const uint64_t from_ns = bench_now_ns(), from_cpu_ns = bench_cpu_ns();
    bool ok = evener_channel_create(target, &options, &channel, &status) == EVENER_STATUS_OK;
    if (ok) {
        evener_channel_connect(channel);
        ok = evener_channel_wait_ready_backends(channel, backends, CONNECT_S * 1000, &status) == EVENER_STATUS_OK;
    }
    if (ok) {
        const double count = (double)backends;
        bench_figure_add(&to->us, (double)(bench_now_ns() - from_ns) / 1e3 / count);
        bench_figure_add(&to->cpu_us, (double)(bench_cpu_ns() - from_cpu_ns) / 1e3 / count);
        bench_figure_add(&to->bytes, (double)(bench_bytes_in_use() - before) / count);
    } else {
        bench_complain("%s, %zu backends: %s", transport->name, backends, status.message);
    }
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
    return ok;
}

static void append_row(json_t *rows, const connected_transport *transport, size_t backends, const outcome *from)
{
    const double bytes = bench_figure_median(&from->bytes), us = bench_figure_median(&from->us),
                 cpu_us = bench_figure_median(&from->cpu_us);
    json_array_append_new(rows, json_pack("{s:s, s:I, s:I, s:s, s:I, s:I}", "policy", POLICY, "backends",
                                          (json_int_t)backends, "bytes_per_backend", (json_int_t)bytes, "transport",
                                          transport->text, "connect_us_per_backend", (json_int_t)us,
                                          "cpu_us_per_backend", (json_int_t)cpu_us));
    bench_progress("memory  %-5s connected %6zu backends %7.0f bytes per backend; per connection %.0f us, %.0f us cpu",
                   transport->name, backends, bytes, us, cpu_us);
}

static void measure(json_t *rows, size_t backends, uint16_t port, unsigned rounds)
{
    static outcome outcomes[COUNT(transports)];
    memset(outcomes, 0, sizeof outcomes);
    char *target = make_target(backends, port);
    bool ok = target != NULL;
    for (size_t i = 0; i < COUNT(transports) && ok; i++) { /* what stays: threads, code, the core's own state */
        static outcome ignored;
        ok = connect_once(&transports[i], backends, target, &ignored);
    }
    for (unsigned round = 0; round < rounds && ok; round++) {
        for (size_t i = 0; i < COUNT(transports) && ok; i++) {
            ok = connect_once(&transports[i], backends, target, &outcomes[i]);
        }
    }
    for (size_t i = 0; i < COUNT(transports) && ok; i++) {
        append_row(rows, &transports[i], backends, &outcomes[i]);
    }
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
                measure(rows, all_backends[i], server.port, quick ? 1 : ROUNDS);
            }
        }
        bench_server_signal(&server, SIGTERM);
    } else {
        bench_complain("no server");
    }
    return bench_finish(json_pack("{s:o}", "memory", rows), output);
}
