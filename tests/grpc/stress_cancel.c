/* Calls of every kind cancelled from other threads at every moment, on channels that open and close meanwhile and whose
 * servers come and go: each call ends exactly once, and nothing is left. A plain program, so that it also runs under
 * ThreadSanitizer. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "demo_server/server.h"

#define ROUNDS 12
#define THREADS 4
#define CALLS 60
#define SERVERS 2

typedef struct round_state {
    evener_channel *channel;
    unsigned seed;
    atomic_uint started, ended, statuses[17];
} round_state;

static atomic_uint_fast64_t all_calls;

static void pause_us(unsigned us)
{
    const struct timespec pause = {.tv_nsec = (long)us * 1000};
    nanosleep(&pause, NULL);
}

/* ---- asynchronous calls: one thread starts, waits a moment and cancels ---- */

static void on_end(void *arg, const evener_status *status, evener_bytes *response)
{
    (void)response;
    round_state *round = arg;
    atomic_fetch_add(&round->statuses[status->code], 1);
    atomic_fetch_add(&round->ended, 1);
}

static void *start_and_cancel(void *arg)
{
    round_state *round = arg;
    unsigned seed = round->seed + (unsigned)(uintptr_t)&seed;
    const evener_bytes request = {.data = (const uint8_t *)"cancel me", .length = 9};
    for (int i = 0; i < CALLS; i++) {
        const evener_metadata metadata[] = {{"echo-metadata", "that the call has to copy", 25}};
        const evener_call_options options = {.size = sizeof options,
                                             .timeout_ms = 1 + (uint64_t)rand_r(&seed) % 50,
                                             .wait_for_ready = (evener_wait_for_ready)(1 + rand_r(&seed) % 2),
                                             .metadata = metadata,
                                             .metadata_count = 1};
        evener_call *call;
        if (evener_call_start(round->channel, "/evener.demo.Echo/Unary", &request, &options, on_end, round, &call,
                              NULL) != EVENER_STATUS_OK) {
            continue;
        }
        atomic_fetch_add(&round->started, 1);
        if (rand_r(&seed) % 3 != 0) {
            pause_us((unsigned)rand_r(&seed) % 400);
            evener_call_cancel(call);
        }
        evener_call_unref(call);
    }
    return NULL;
}

/* ---- streams: one thread reads, one writes, one cancels ---- */

static void *read_until_end(void *arg)
{
    evener_bytes message;
    while (evener_stream_read(arg, &message)) {
        evener_bytes_clear(&message);
    }
    return NULL;
}

static void *cancel_after_a_moment(void *arg)
{
    pause_us(300);
    evener_stream_cancel(arg);
    return NULL;
}

static void *stream_and_cancel(void *arg)
{
    round_state *round = arg;
    for (int i = 0; i < CALLS / 6; i++) {
        const evener_call_options options = {.size = sizeof options, .timeout_ms = 100};
        evener_stream *stream;
        if (evener_stream_open(round->channel, "/evener.demo.Echo/Stream", NULL, &options, &stream, NULL) !=
            EVENER_STATUS_OK) {
            continue;
        }
        pthread_t reader;
        pthread_t canceller;
        pthread_create(&reader, NULL, read_until_end, stream);
        pthread_create(&canceller, NULL, cancel_after_a_moment, stream);
        const evener_bytes message = {.data = (const uint8_t *)"to and fro", .length = 10};
        while (evener_stream_write(stream, &message)) {
        }
        pthread_join(reader, NULL);
        if (i % 2 == 0) {
            (void)evener_stream_finish(stream, NULL);
        }
        pthread_join(canceller, NULL);
        evener_stream_unref(stream);
    }
    return NULL;
}

static void *block(void *arg)
{
    round_state *round = arg;
    for (int i = 0; i < CALLS; i++) {
        const evener_call_options options = {.size = sizeof options, .timeout_ms = 20};
        (void)evener_unary_call(round->channel, "/evener.demo.Echo/Unary", NULL, &options, NULL, NULL);
    }
    return NULL;
}

/* ---- a round: a channel, its callers, and a close in their midst ---- */

static int run_round(unsigned number, demo_server *const *servers, const evener_credentials *credentials)
{
    round_state round = {.seed = number};
    char target[128];
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u,127.0.0.1:%u", (unsigned)demo_server_port(servers[0]),
             (unsigned)demo_server_port(servers[1]));
    const evener_channel_options options = {
        .size = sizeof options, .credentials = credentials, .policy = "round_robin", .backoff_initial_ms = 5};
    evener_status status;
    if (evener_channel_create(target, &options, &round.channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return 1;
    }
    void *(*const kinds[THREADS])(void *) = {start_and_cancel, start_and_cancel, stream_and_cancel, block};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, kinds[i], &round);
    }
    if (number % 3 == 0) {
        pause_us(20000);
        evener_channel_close(round.channel);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    /* Calls under way hold the channel: their callbacks come after this, too. */
    evener_channel_unref(round.channel);
    for (int i = 0; i < 10000 && atomic_load(&round.ended) < atomic_load(&round.started); i++) {
        pause_us(1000);
    }
    pause_us(2000); /* a second callback of a call would come now */
    const unsigned started = atomic_load(&round.started);
    const unsigned ended = atomic_load(&round.ended);
    atomic_fetch_add(&all_calls, started);
    if (started != ended) {
        fprintf(stderr, "round %u: %u calls started, %u ended\n", number, started, ended);
        return 1;
    }
    return 0;
}

int main(void)
{
    demo_server *servers[SERVERS];
    for (int i = 0; i < SERVERS; i++) {
        char error[DEMO_SERVER_ERROR_BYTES];
        /* Their connections end all the time, too. */
        servers[i] = demo_server_start(&(demo_server_options){.max_connection_age_ms = 30}, error);
        if (servers[i] == NULL) {
            fprintf(stderr, "%s\n", error);
            return 1;
        }
        demo_server_set_delay_ms(servers[i], i == 0 ? 0 : 1);
    }
    evener_credentials *insecure;
    evener_status status;
    if (evener_credentials_create_insecure(&insecure, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return 1;
    }
    int failed = 0;
    for (unsigned number = 0; number < ROUNDS && failed == 0; number++) {
        failed = run_round(number, servers, insecure);
    }
    evener_credentials_destroy(insecure);
    for (int i = 0; i < SERVERS; i++) {
        demo_server_stop(servers[i], 0);
    }
    printf("stress_cancel: %s, %llu asynchronous calls\n", failed ? "FAILED" : "ok", (unsigned long long)all_calls);
    return failed;
}
