/* What connections and channels cost, beside the plain gRPC C core in the same run:
 *
 *     bench_scale [--quick] [--output=FILE]
 *
 *   connect   3,000 backends of one round_robin channel: processor time and wall time per backend until all are
 *             connected, as the kernel sees it
 *   start     from the creation of the first channel of a process to its first answer
 *   channels  1,000 channels to the same 10 backends: resident memory, time until all are READY, time to close them,
 *             and the connections at the servers
 *
 * Each measurement runs in a process of its own, in turns over the clients. The backends are loopback addresses from
 * 127.0.0.1 on; one server process listens on all of them. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <evener/evener.h>

#include "bench/support/output.h"
#include "bench/support/servers.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ECHO "/evener.demo.Echo/Unary"
#define ROUND_ROBIN "{\"loadBalancingConfig\":[{\"round_robin\":{}}]}"
#define WAIT_S 60
#define CHANNEL_BACKENDS 10
#define FILES_BESIDES 256

typedef enum client { CORE, HTTP2, GRPC, CLIENTS } client;

static const char *const names[CLIENTS] = {"gRPC C core", "evener http2", "evener over the core"};
static const char *const transports[CLIENTS] = {NULL, "http2", "grpc"};

/* What a child process reports. */
typedef struct result {
    bool complete;
    double wall_us, cpu_us, close_us;
    double kib; /* growth of the resident memory */
    unsigned connections;
} result;

static uint16_t port;

/* ---- the machine ---- */

/* Return the number of connections that the server has accepted and that neither side has closed. */
static unsigned connections(void)
{
    unsigned count = 0;
    static const char *const files[] = {"/proc/net/tcp", "/proc/net/tcp6"};
    for (size_t i = 0; i < COUNT(files); i++) {
        char line[256];
        FILE *table = fopen(files[i], "re");
        while (table != NULL && fgets(line, sizeof line, table) != NULL) {
            unsigned local, state;
            count += sscanf(line, " %*u: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x", &local, &state) == 2 && state == 1 &&
                     local == port;
        }
        if (table != NULL) {
            (void)fclose(table);
        }
    }
    return count;
}

static double resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL) {
        (void)!fscanf(file, "%*s %ld", &pages);
        (void)fclose(file);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static void pause_ms(long ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * EVENER_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Return "PREFIX127.0.0.1:P,127.0.0.2:P,..."; the caller frees it. */
static char *make_target(const char *prefix, size_t backends)
{
    const size_t room = 32 + backends * 24;
    char *target = malloc(room);
    if (target == NULL) {
        abort();
    }
    size_t length = (size_t)snprintf(target, room, "%s", prefix);
    for (size_t i = 0; i < backends; i++) {
        length += (size_t)snprintf(target + length, room - length, "%s127.0.%zu.%zu:%u", i > 0 ? "," : "",
                                   (i + 1) >> 8 & 255, (i + 1) & 255, (unsigned)port);
    }
    return target;
}

/* ---- channels of either kind ---- */

typedef struct any_channel {
    evener_channel *evener;
    grpc_channel *core;
} any_channel;

static evener_credentials *insecure;

static any_channel open_channel(client kind, size_t backends)
{
    any_channel made = {0};
    char *target = make_target(kind == CORE ? "ipv4:" : "static:", backends);
    if (kind == CORE) {
        grpc_arg arg = {
            .type = GRPC_ARG_STRING, .key = GRPC_ARG_SERVICE_CONFIG, .value = {.string = (char *)ROUND_ROBIN}};
        const grpc_channel_args args = {1, &arg};
        grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
        made.core = grpc_channel_create(target, credentials, &args);
        grpc_channel_credentials_release(credentials);
    } else {
        evener_status status;
        const evener_channel_options options = {.size = sizeof options,
                                                .credentials = insecure,
                                                .policy = "round_robin",
                                                .transport_name = transports[kind]};
        if (evener_channel_create(target, &options, &made.evener, &status) != EVENER_STATUS_OK) {
            fprintf(stderr, "bench_scale: %s\n", status.message);
            exit(1);
        }
    }
    free(target);
    return made;
}

static void close_channel(any_channel channel)
{
    evener_channel_unref(channel.evener);
    if (channel.core != NULL) {
        grpc_channel_destroy(channel.core);
    }
}

static void connect_channel(any_channel channel)
{
    if (channel.evener != NULL) {
        evener_channel_connect(channel.evener);
    } else {
        (void)grpc_channel_check_connectivity_state(channel.core, 1);
    }
}

/* Drive the core, which connects on threads that wait for events. */
static void core_turn(grpc_completion_queue *queue, long ms)
{
    (void)grpc_completion_queue_next(
        queue, gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN)), NULL);
}

static bool call_core(grpc_channel *channel, grpc_completion_queue *queue)
{
    grpc_slice payload = grpc_slice_from_static_string("x");
    grpc_byte_buffer *request = grpc_raw_byte_buffer_create(&payload, 1);
    grpc_byte_buffer *response = NULL;
    grpc_metadata_array initial, trailing;
    grpc_status_code code = GRPC_STATUS_UNKNOWN;
    grpc_slice details = grpc_empty_slice();
    grpc_metadata_array_init(&initial);
    grpc_metadata_array_init(&trailing);
    grpc_call *call = grpc_channel_create_call(channel, NULL, 0, queue, grpc_slice_from_static_string(ECHO), NULL,
                                               gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    const grpc_op operations[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA, .flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = request},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &initial},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &response},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
         .data.recv_status_on_client = {.trailing_metadata = &trailing, .status = &code, .status_details = &details}}};
    if (grpc_call_start_batch(call, operations, COUNT(operations), &code, NULL) == GRPC_CALL_OK) {
        (void)grpc_completion_queue_pluck(queue, &code, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    }
    grpc_byte_buffer_destroy(request);
    grpc_byte_buffer_destroy(response);
    grpc_metadata_array_destroy(&initial);
    grpc_metadata_array_destroy(&trailing);
    grpc_slice_unref(details);
    grpc_call_unref(call);
    return code == GRPC_STATUS_OK;
}

static bool call_evener(evener_channel *channel)
{
    evener_status status;
    const evener_call_options options = {.size = sizeof options, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    return evener_unary_call(channel, ECHO, NULL, &options, NULL, &status) == EVENER_STATUS_OK;
}

/* ---- measurements, each in a process of its own ---- */

static void measure_connect(client kind, size_t backends, result *out)
{
    grpc_completion_queue *queue = kind == CORE ? grpc_completion_queue_create_for_next(NULL) : NULL;
    const uint64_t from_ns = bench_now_ns();
    const uint64_t cpu_from_ns = bench_cpu_ns();
    const any_channel channel = open_channel(kind, backends);
    connect_channel(channel);
    uint64_t counting_ns = 0; /* of this thread, which is no part of what is measured */
    do {
        if (queue != NULL) {
            core_turn(queue, 20);
        } else {
            pause_ms(20);
        }
        const uint64_t begin_ns = thread_cpu_ns();
        out->connections = connections();
        counting_ns += thread_cpu_ns() - begin_ns;
        out->wall_us = (double)(bench_now_ns() - from_ns) / 1e3 / (double)backends;
    } while (out->connections < backends && bench_now_ns() - from_ns < WAIT_S * EVENER_NS_PER_S);
    uint64_t before_ns;
    do { /* what is left of the handshakes */
        before_ns = bench_cpu_ns();
        if (queue != NULL) {
            core_turn(queue, 100);
        } else {
            pause_ms(100);
        }
    } while (bench_cpu_ns() - before_ns > EVENER_NS_PER_MS);
    out->cpu_us = (double)(bench_cpu_ns() - cpu_from_ns - counting_ns) / 1e3 / (double)backends;
    out->complete = out->connections >= backends;
}

static void measure_start(client kind, size_t backends, result *out)
{
    const uint64_t from_ns = bench_now_ns();
    if (kind == CORE) {
        grpc_init();
    }
    grpc_completion_queue *queue = kind == CORE ? grpc_completion_queue_create_for_pluck(NULL) : NULL;
    const any_channel channel = open_channel(kind, backends);
    out->complete = kind == CORE ? call_core(channel.core, queue) : call_evener(channel.evener);
    out->wall_us = (double)(bench_now_ns() - from_ns) / 1e3;
    out->cpu_us = (double)bench_cpu_ns() / 1e3;
}

static void measure_channels(client kind, size_t count, result *out)
{
    any_channel *channels = calloc(count, sizeof *channels);
    grpc_completion_queue *queue = kind == CORE ? grpc_completion_queue_create_for_next(NULL) : NULL;
    close_channel(open_channel(kind, CHANNEL_BACKENDS)); /* libraries and threads are there */
    const double kib_before = resident_kib();
    const uint64_t from_ns = bench_now_ns();
    for (size_t i = 0; i < count; i++) {
        channels[i] = open_channel(kind, CHANNEL_BACKENDS);
        connect_channel(channels[i]);
    }
    out->complete = true;
    for (size_t i = 0; i < count && out->complete; i++) {
        evener_status status;
        if (kind != CORE) {
            out->complete = evener_channel_wait_ready(channels[i].evener, WAIT_S * 1000, &status) == EVENER_STATUS_OK;
            continue;
        }
        while (grpc_channel_check_connectivity_state(channels[i].core, 1) != GRPC_CHANNEL_READY) {
            core_turn(queue, 1);
        }
    }
    out->wall_us = (double)(bench_now_ns() - from_ns) / 1e3;
    pause_ms(200);
    out->kib = resident_kib() - kib_before;
    out->connections = connections();
    const uint64_t close_ns = bench_now_ns();
    for (size_t i = 0; i < count; i++) {
        close_channel(channels[i]);
    }
    out->close_us = (double)(bench_now_ns() - close_ns) / 1e3;
}

/* ---- runs ---- */

typedef void (*measure_fn)(client kind, size_t size, result *out);

static result run(measure_fn measure, client kind, size_t size)
{
    result got = {0};
    int ends[2];
    if (pipe(ends) != 0) {
        return got;
    }
    const pid_t child = fork();
    if (child == 0) {
        evener_status status;
        result own = {0};
        if (kind == CORE && measure != measure_start) {
            grpc_init();
        }
        (void)evener_credentials_create_insecure(&insecure, &status);
        measure(kind, size, &own);
        (void)!write(ends[1], &own, sizeof own);
        _exit(0);
    }
    (void)close(ends[1]);
    if (child < 0 || read(ends[0], &got, sizeof got) != sizeof got || !got.complete) {
        bench_complain("%s: the measurement of %zu has failed (%u connections)", names[kind], size, got.connections);
    }
    (void)close(ends[0]);
    (void)waitpid(child, NULL, 0);
    for (int i = 0; i < 500 && connections() > 0; i++) {
        pause_ms(10);
    }
    return got;
}

typedef struct figures {
    bench_figure wall_us, cpu_us, close_us, kib;
    unsigned connections;
} figures;

static void measure_all(json_t *rows, const char *what, measure_fn measure, size_t size, unsigned passes)
{
    figures of[CLIENTS] = {0};
    for (unsigned pass = 0; pass < passes; pass++) {
        for (client kind = 0; kind < CLIENTS; kind++) {
            const result got = run(measure, kind, size);
            bench_figure_add(&of[kind].wall_us, got.wall_us);
            bench_figure_add(&of[kind].cpu_us, got.cpu_us);
            bench_figure_add(&of[kind].close_us, got.close_us);
            bench_figure_add(&of[kind].kib, got.kib);
            of[kind].connections = got.connections;
        }
    }
    for (client kind = 0; kind < CLIENTS; kind++) {
        const figures *f = &of[kind];
        bench_progress(
            "scale  %-9s %5zu  %-22s wall %9.0f us  cpu %9.0f us  close %9.0f us  memory %8.0f KiB  %u connections",
            what, size, names[kind], bench_figure_median(&f->wall_us), bench_figure_median(&f->cpu_us),
            bench_figure_median(&f->close_us), bench_figure_median(&f->kib), f->connections);
        json_t *row = json_pack("{s:s, s:I, s:s, s:I}", "what", what, "size", (json_int_t)size, "client", names[kind],
                                "connections", (json_int_t)f->connections);
        bench_set_figure(row, "wall_us", &f->wall_us);
        bench_set_figure(row, "cpu_us", &f->cpu_us);
        bench_set_figure(row, "close_us", &f->close_us);
        bench_set_figure(row, "kib", &f->kib);
        json_array_append_new(rows, row);
    }
}

int main(int argc, char **argv)
{
    bool quick;
    const char *output;
    if (!bench_arguments(argc, argv, "bench_scale", &quick, &output)) {
        return 2;
    }
    struct rlimit files; /* the server inherits it */
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    bench_server server;
    json_t *rows = json_array();
    const size_t backends = quick ? 100 : 3000;
    if (!bench_server_start(&server, 0, "--host=0.0.0.0")) {
        bench_complain("no server");
    } else {
        port = server.port;
        measure_all(rows, "start", measure_start, 1, quick ? 1 : 25);
        measure_all(rows, "channels", measure_channels, quick ? 20 : 1000, quick ? 1 : 3);
        if (backends + FILES_BESIDES <= files.rlim_cur) {
            measure_all(rows, "connect", measure_connect, backends, quick ? 1 : 3);
        }
        bench_server_signal(&server, SIGTERM);
    }
    return bench_finish(json_pack("{s:o}", "scale", rows), output);
}
