/* Client CPU per unary call over the HTTP/2 transport alone, round robin over three servers, each a process of its own:
 *
 *     bench_http2_calls [--ms=N] [--bytes=N] [--in-flight=N] [--blocking] [--threads=N]
 *     bench_http2_calls --connections=N     CPU and memory per connection made
 *
 * Without --in-flight: the whole table. Fails if a call fails. */
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "bench/support/servers.h"
#include "http2/fixture.h"

#define SERVERS 3
#define IN_FLIGHT_MAX 1024

static h2_peer *peers[SERVERS];
static const evener_transport_calls *calls;
static evener_bytes request;
static _Atomic bool stopping;
static _Atomic unsigned failed;

typedef struct slot {
    evener_transport_call *call;
    uint64_t count;
    unsigned next;
    _Atomic bool is_over;
    uint32_t word;
    bool ok;
    pthread_t thread;
} slot;

static uint64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void on_ended(evener_transport_call *call, const evener_call_end *end);
static const evener_call_events events = {.size = sizeof events, .ended = on_ended};

static bool begin(slot *self, bool blocking)
{
    const evener_call_begin_args args = {.size = sizeof args,
                                         .events = &events,
                                         .method = H2_ECHO,
                                         .deadline_ns = now_ns(CLOCK_MONOTONIC) + 10000000000u,
                                         .unary = true,
                                         .blocking = blocking,
                                         .request = &request};
    evener_status status;
    h2_peer *peer = peers[self->next++ % SERVERS];
    return calls->call_begin(peer->connection, self->call, &args, &status) == EVENER_STATUS_OK;
}

static void on_ended(evener_transport_call *call, const evener_call_end *end)
{
    slot *self = call->arg;
    self->ok = end->code == EVENER_STATUS_OK;
    if (self->thread != 0) {
        evener_wait_word_set(&self->word, 1);
        return;
    }
    self->count++;
    if (!self->ok) {
        atomic_fetch_add(&failed, 1);
    }
    if (atomic_load_explicit(&stopping, memory_order_relaxed) || !begin(self, false)) {
        atomic_store(&self->is_over, true);
    }
}

static void *block(void *arg)
{
    slot *self = arg;
    self->thread = pthread_self();
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        __atomic_store_n(&self->word, 0, __ATOMIC_RELAXED);
        if (!begin(self, true)) {
            atomic_fetch_add(&failed, 1);
            break;
        }
        while ((__atomic_load_n(&self->word, __ATOMIC_ACQUIRE) & ~EVENER_WAIT_BITS) == 0) {
            calls->call_wait(self->call, &self->word, 0, UINT64_MAX);
        }
        self->count++;
        if (!self->ok) {
            atomic_fetch_add(&failed, 1);
        }
    }
    atomic_store(&self->is_over, true);
    return NULL;
}

static void run(unsigned in_flight, bool blocking, unsigned ms)
{
    slot *slots = calloc(in_flight, sizeof *slots);
    const size_t bytes = (calls->call_bytes + 63) & ~(size_t)63;
    atomic_store(&stopping, false);
    for (unsigned i = 0; i < in_flight; i++) {
        slots[i].call = aligned_alloc(64, bytes);
        memset(slots[i].call, 0, bytes);
        slots[i].call->arg = &slots[i];
        slots[i].next = i;
        if (blocking) {
            pthread_create(&slots[i].thread, NULL, block, &slots[i]);
        } else if (!begin(&slots[i], false)) {
            atomic_fetch_add(&failed, 1);
            atomic_store(&slots[i].is_over, true);
        }
    }
    const struct timespec warm = {.tv_nsec = 100000000};
    nanosleep(&warm, NULL);
    uint64_t before = 0, after = 0;
    for (unsigned i = 0; i < in_flight; i++) {
        before += __atomic_load_n(&slots[i].count, __ATOMIC_RELAXED);
    }
    const uint64_t cpu = cpu_us(), from_ns = now_ns(CLOCK_MONOTONIC);
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
    const uint64_t used_us = cpu_us() - cpu, took_ns = now_ns(CLOCK_MONOTONIC) - from_ns;
    for (unsigned i = 0; i < in_flight; i++) {
        after += __atomic_load_n(&slots[i].count, __ATOMIC_RELAXED);
    }
    atomic_store(&stopping, true);
    for (unsigned i = 0; i < in_flight; i++) {
        if (blocking) {
            pthread_join(slots[i].thread, NULL);
        }
        const struct timespec moment = {.tv_nsec = 1000000};
        while (!atomic_load(&slots[i].is_over)) {
            nanosleep(&moment, NULL);
        }
        free(slots[i].call);
    }
    free(slots);
    const double count = (double)(after - before);
    printf("%-9s %4u in flight  %6.2f us CPU per call  %8.0f calls/s\n", blocking ? "blocking" : "callbacks", in_flight,
           (double)used_us / count, count * 1e9 / (double)took_ns);
    fflush(stdout);
}

static long resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1) {
        abort();
    }
    fclose(file);
    return pages * 4096;
}

static void connect_many(h2_fixture *fixture, uint16_t port, unsigned count)
{
    h2_peer **made = calloc(count, sizeof *made);
    for (int round = 0; round < 2; round++) { /* the first brings what stays: buffers, code */
        const long resident = resident_bytes();
        const uint64_t cpu = cpu_us();
        for (unsigned i = 0; i < count; i++) {
            made[i] = h2_connect_port(fixture, port);
            if (i % 64 == 63) { /* the server's backlog is bounded */
                assert(h2_wait_state(made[i], 1) == EVENER_READY);
            }
        }
        for (unsigned i = 0; i < count; i++) {
            assert(h2_wait_state(made[i], 1) == EVENER_READY);
        }
        printf("%u connections: %.1f us CPU and %.1f KB resident each (the fixture's included)\n", count,
               (double)(cpu_us() - cpu) / count, (double)(resident_bytes() - resident) / count / 1024);
        if (round == 0) {
            for (unsigned i = 0; i < count; i++) {
                h2_forget(made[i]);
            }
            const struct timespec pause = {.tv_nsec = 500000000};
            nanosleep(&pause, NULL);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        h2_forget(made[i]);
    }
    free(made);
}

static unsigned number(const char *text, const char *name, unsigned otherwise)
{
    const size_t bytes = strlen(name);
    return strncmp(text, name, bytes) == 0 ? (unsigned)strtoul(text + bytes, NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    unsigned ms = 1000, bytes = 10, in_flight = 0, threads = 0, connections = 0;
    bool blocking = false;
    for (int i = 1; i < argc; i++) {
        ms = number(argv[i], "--ms=", ms);
        bytes = number(argv[i], "--bytes=", bytes);
        in_flight = number(argv[i], "--in-flight=", in_flight);
        threads = number(argv[i], "--threads=", threads);
        connections = number(argv[i], "--connections=", connections);
        blocking = blocking || strcmp(argv[i], "--blocking") == 0;
    }
    bench_server servers[SERVERS]; /* forked before the first thread */
    h2_fixture fixture;
    h2_open(&fixture,
            &(evener_http2_transport_options){.size = sizeof(evener_http2_transport_options), .io_threads = threads});
    calls = &evener_http2_calls;
    for (unsigned i = 0; i < SERVERS; i++) {
        if (!bench_server_start(&servers[i], 0, NULL)) {
            return 1;
        }
        peers[i] = h2_connect_port(&fixture, servers[i].port);
        assert(h2_wait_state(peers[i], 1) == EVENER_READY);
    }
    request = (evener_bytes){.data = calloc(1, bytes + 1), .length = bytes};
    if (connections > 0) {
        connect_many(&fixture, servers[0].port, connections);
    } else if (in_flight > 0) {
        run(in_flight, blocking, ms);
    } else {
        static const unsigned all[] = {1, 16, 64, 256};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            run(all[i], false, ms);
            run(all[i], true, ms);
        }
    }
    for (unsigned i = 0; i < SERVERS; i++) {
        h2_forget(peers[i]);
        bench_server_signal(&servers[i], SIGKILL);
    }
    h2_close(&fixture);
    free((void *)(uintptr_t)request.data);
    return atomic_load(&failed) > 0;
}
