/* One measurement of one client: "bench_scale_CLIENT MEASUREMENT SIZE PORT" writes a scale_result to its standard
 * output. bench_scale runs it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/scale/client.h"
#include "bench/scale/measured.h"
#include "bench/support/measure.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define WAIT_S 60
#define CHANNEL_BACKENDS 10

static uint16_t port;

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

static uint64_t thread_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Return "PREFIX:127.0.0.1:P,127.0.0.2:P,..."; the caller frees it. */
static char *make_target(size_t backends)
{
    const size_t room = 32 + backends * 24;
    char *target = malloc(room);
    if (target == NULL) {
        abort();
    }
    size_t length = (size_t)snprintf(target, room, "%s", scale_target_prefix);
    for (size_t i = 0; i < backends; i++) {
        length += (size_t)snprintf(target + length, room - length, "%s127.0.%zu.%zu:%u", i > 0 ? "," : "",
                                   (i + 1) >> 8 & 255, (i + 1) & 255, (unsigned)port);
    }
    return target;
}

static void measure_connect(size_t backends, scale_result *out)
{
    scale_client_start();
    char *target = make_target(backends);
    const uint64_t from_ns = bench_now_ns();
    const uint64_t cpu_from_ns = bench_cpu_ns();
    scale_connect(scale_open(target));
    uint64_t counting_ns = 0; /* of this thread, which is no part of what is measured */
    do {
        scale_turn(20);
        const uint64_t begin_ns = thread_cpu_ns();
        out->connections = scale_connections(port);
        counting_ns += thread_cpu_ns() - begin_ns;
        out->wall_us = (double)(bench_now_ns() - from_ns) / 1e3 / (double)backends;
    } while (out->connections < backends && bench_now_ns() - from_ns < WAIT_S * NS_PER_S);
    uint64_t before_ns;
    do { /* what is left of the handshakes */
        before_ns = bench_cpu_ns();
        scale_turn(100);
    } while (bench_cpu_ns() - before_ns > NS_PER_MS);
    out->cpu_us = (double)(bench_cpu_ns() - cpu_from_ns - counting_ns) / 1e3 / (double)backends;
    out->complete = out->connections >= backends;
    free(target);
}

static void measure_start(size_t backends, scale_result *out)
{
    char *target = make_target(backends);
    const uint64_t from_ns = bench_now_ns();
    const uint64_t cpu_from_ns = bench_cpu_ns();
    scale_client_start();
    out->complete = scale_call(scale_open(target));
    out->wall_us = (double)(bench_now_ns() - from_ns) / 1e3;
    out->cpu_us = (double)(bench_cpu_ns() - cpu_from_ns) / 1e3;
    free(target);
}

static void measure_channels(size_t count, scale_result *out)
{
    scale_client_start();
    scale_channel **channels = calloc(count, sizeof *channels);
    char *target = make_target(CHANNEL_BACKENDS);
    if (channels == NULL) {
        abort();
    }
    scale_close(scale_open(target)); /* libraries and threads are there */
    const double kib_before = resident_kib();
    const uint64_t from_ns = bench_now_ns();
    for (size_t i = 0; i < count; i++) {
        channels[i] = scale_open(target);
        scale_connect(channels[i]);
    }
    out->complete = true;
    for (size_t i = 0; i < count && out->complete; i++) {
        out->complete = scale_wait_ready(channels[i]);
    }
    out->wall_us = (double)(bench_now_ns() - from_ns) / 1e3;
    scale_turn(200);
    out->kib = resident_kib() - kib_before;
    out->connections = scale_connections(port);
    const uint64_t close_ns = bench_now_ns();
    for (size_t i = 0; i < count; i++) {
        scale_close(channels[i]);
    }
    out->close_us = (double)(bench_now_ns() - close_ns) / 1e3;
    free(channels);
    free(target);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*measure)(size_t size, scale_result *out);
    } measurements[] = {{"start", measure_start}, {"channels", measure_channels}, {"connect", measure_connect}};
    if (argc != 4) {
        (void)fprintf(stderr, "usage: %s MEASUREMENT SIZE PORT\n", argv[0]);
        return 2;
    }
    port = (uint16_t)strtoul(argv[3], NULL, 10);
    scale_result own = {0};
    for (size_t i = 0; i < sizeof measurements / sizeof *measurements; i++) {
        if (strcmp(argv[1], measurements[i].name) == 0) {
            measurements[i].measure(strtoul(argv[2], NULL, 10), &own);
        }
    }
    (void)!write(STDOUT_FILENO, &own, sizeof own);
    _exit(0); /* the end of the process is no part of what is measured */
}
