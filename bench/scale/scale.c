/* What connections and channels cost, beside the plain gRPC C core in the same run:
 *
 *     bench_scale [--quick] [--only=start|channels|connect] [--output=FILE]
 *
 *   start     from the first function that a process calls of the library (the core's grpc_init() included) to the
 *             first answer: create a channel, connect, call; not the loading of the program
 *   channels  1,000 channels to the same 10 backends: resident memory, time until all are READY, time to close them,
 *             and the connections at the servers
 *   connect   3,000 backends of one round_robin channel: processor time and wall time per backend until all are
 *             connected, as the kernel sees it
 *
 * Each measurement runs in a process of its own, in turns over the clients, and each client is a program of its own,
 * which links what it needs: that of evener on http2 does not contain the core. The backends are loopback addresses from
 * 127.0.0.1 on; one server process listens on all of them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/scale/measured.h"
#include "bench/support/output.h"
#include "bench/support/servers.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define FILES_BESIDES 256

typedef enum client { CORE, HTTP2, GRPC, CLIENTS } client;

static const char *const names[CLIENTS] = {"gRPC C core", "evener http2", "evener over the core"};
/* From the build. */
static const char *const programs[CLIENTS] = {BENCH_SCALE_CORE, BENCH_SCALE_HTTP2, BENCH_SCALE_GRPC};

typedef struct measurement {
    const char *name;
    size_t size, quick_size;
    unsigned passes;
} measurement;

static const measurement measurements[] = {{"start", 1, 1, 25}, {"channels", 1000, 20, 3}, {"connect", 3000, 100, 3}};

static uint16_t port;

static scale_result run(const measurement *m, client kind, size_t size)
{
    scale_result got = {0};
    int ends[2];
    if (pipe(ends) != 0) {
        return got;
    }
    char size_text[24], port_text[8];
    (void)snprintf(size_text, sizeof size_text, "%zu", size);
    (void)snprintf(port_text, sizeof port_text, "%u", (unsigned)port);
    char *const arguments[] = {(char *)programs[kind], (char *)m->name, size_text, port_text, NULL};
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        execv(programs[kind], arguments);
        _exit(127);
    }
    (void)close(ends[1]);
    if (child < 0 || read(ends[0], &got, sizeof got) != sizeof got || !got.complete) {
        bench_complain("%s: the measurement of %zu has failed (%u connections)", names[kind], size, got.connections);
    }
    (void)close(ends[0]);
    (void)waitpid(child, NULL, 0);
    for (int i = 0; i < 500 && scale_connections(port) > 0; i++) {
        scale_pause_ms(10);
    }
    return got;
}

typedef struct figures {
    bench_figure wall_us, cpu_us, close_us, kib;
    unsigned connections;
} figures;

static void measure_all(json_t *rows, const measurement *m, size_t size, unsigned passes)
{
    figures of[CLIENTS] = {0};
    for (unsigned pass = 0; pass < passes; pass++) {
        for (client kind = 0; kind < CLIENTS; kind++) {
            const scale_result got = run(m, kind, size);
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
            m->name, size, names[kind], bench_figure_median(&f->wall_us), bench_figure_median(&f->cpu_us),
            bench_figure_median(&f->close_us), bench_figure_median(&f->kib), f->connections);
        json_t *row = json_pack("{s:s, s:I, s:s, s:I}", "what", m->name, "size", (json_int_t)size, "client",
                                names[kind], "connections", (json_int_t)f->connections);
        bench_set_figure(row, "wall_us", &f->wall_us);
        bench_set_figure(row, "cpu_us", &f->cpu_us);
        bench_set_figure(row, "close_us", &f->close_us);
        bench_set_figure(row, "kib", &f->kib);
        json_array_append_new(rows, row);
    }
}

int main(int argc, char **argv)
{
    bool quick = false;
    const char *output = NULL, *only = NULL;
    for (int i = 1; i < argc; i++) {
        const char *value;
        if ((value = bench_option(argv[i], "--output")) != NULL) {
            output = value;
        } else if ((value = bench_option(argv[i], "--only")) != NULL) {
            only = value;
        } else if (strcmp(argv[i], "--quick") == 0) {
            quick = true;
        } else {
            fprintf(stderr, "bench_scale: unknown argument %s\n", argv[i]);
            return 2;
        }
    }
    struct rlimit files; /* the server inherits it */
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    bench_server server;
    json_t *rows = json_array();
    if (!bench_server_start(&server, 0, "--host=0.0.0.0")) {
        bench_complain("no server");
    } else {
        port = server.port;
        for (size_t i = 0; i < COUNT(measurements); i++) {
            const measurement *m = &measurements[i];
            const size_t size = quick ? m->quick_size : m->size;
            if ((only == NULL || strcmp(only, m->name) == 0) && size + FILES_BESIDES <= files.rlim_cur) {
                measure_all(rows, m, size, quick ? 1 : m->passes);
            }
        }
        bench_server_signal(&server, SIGTERM);
    }
    return bench_finish(json_pack("{s:o}", "scale", rows), output);
}
