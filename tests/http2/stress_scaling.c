/* Connection scaling (A105) under load: servers that allow two streams per connection and end connections all the time,
 * and 8 threads with blocking and asynchronous calls, some of which are cancelled, on two channels that share the
 * connections. No call fails that was not cancelled. A plain program, so that it also runs under ThreadSanitizer. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <evener/evener.h>

#include "demo_server/server.h"

#define THREADS 8
#define CHANNELS 2
#define BURST 6
#define SECONDS 3

static evener_channel *channels[CHANNELS];
static atomic_bool stop;
static atomic_uint_fast64_t calls, failures, cancelled, open_calls;

static void note(const evener_status *status, bool is_cancelled)
{
    atomic_fetch_add(&calls, 1);
    if (is_cancelled) { /* which may come too late, or as an attempt has just failed */
        atomic_fetch_add(&cancelled, 1);
    } else if (status->code != EVENER_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", evener_status_code_name(status->code), status->message);
        atomic_fetch_add(&failures, 1);
    }
}

static void on_done(void *arg, const evener_status *status, evener_bytes *response)
{
    (void)response;
    note(status, arg != NULL);
    atomic_fetch_sub(&open_calls, 1);
}

static void *call_all_the_time(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    const evener_call_options options = {
        .size = sizeof options, .timeout_ms = 120000, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    while (!atomic_load(&stop)) {
        evener_channel *channel = channels[(unsigned)rand_r(&seed) % CHANNELS];
        evener_status status;
        if (rand_r(&seed) % 3 == 0) {
            (void)evener_unary_call(channel, "/evener.demo.Echo/Unary", NULL, &options, NULL, &status);
            note(&status, false);
            continue;
        }
        while (atomic_load(&open_calls) > THREADS * BURST && !atomic_load(&stop)) {
            const struct timespec moment = {.tv_nsec = 100000};
            nanosleep(&moment, NULL);
        }
        for (int i = 0; i < BURST; i++) {
            evener_call *call = NULL;
            const bool is_cancelled = rand_r(&seed) % 16 == 0;
            atomic_fetch_add(&open_calls, 1);
            if (evener_call_start(channel, "/evener.demo.Echo/Unary", NULL, &options, on_done,
                                  is_cancelled ? &stop : NULL, &call, &status) != EVENER_STATUS_OK) {
                atomic_fetch_sub(&open_calls, 1);
                note(&status, false);
                continue;
            }
            if (is_cancelled) {
                evener_call_cancel(call);
            }
            evener_call_unref(call);
        }
    }
    return NULL;
}

int main(void)
{
    char error[DEMO_SERVER_ERROR_BYTES], target[64];
    demo_server *server = demo_server_start(
        &(demo_server_options){.threads = 1, .max_concurrent_streams = 2, .max_connection_age_ms = 250}, error);
    evener_credentials *insecure = NULL;
    evener_status status;
    if (server == NULL || evener_credentials_create_insecure(&insecure, &status) != EVENER_STATUS_OK) {
        return 1;
    }
    (void)snprintf(target, sizeof target, "static:127.0.0.1:%u", demo_server_port(server));
    for (int i = 0; i < CHANNELS; i++) {
        const evener_channel_options options = {
            .size = sizeof options,
            .credentials = insecure,
            .transport_name = "http2",
            .default_service_config = i == 0 ? "{\"connectionScaling\":{\"maxConnectionsPerSubchannel\":4}}" : NULL,
        };
        if (evener_channel_create(target, &options, &channels[i], &status) != EVENER_STATUS_OK) {
            fprintf(stderr, "%s\n", status.message);
            return 1;
        }
    }
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, call_all_the_time, (void *)(i + 1));
    }
    const struct timespec pause = {.tv_sec = SECONDS};
    nanosleep(&pause, NULL);
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < 60000 && atomic_load(&open_calls) > 0; i++) {
        const struct timespec moment = {.tv_nsec = 1000000};
        nanosleep(&moment, NULL);
    }
    printf("%" PRIu64 " calls, %" PRIu64 " cancelled, %" PRIu64 " failed, %" PRIu64 " never ended\n", calls, cancelled,
           failures, open_calls);
    for (int i = 0; i < CHANNELS; i++) {
        evener_channel_unref(channels[i]);
    }
    evener_credentials_destroy(insecure);
    demo_server_stop(server, 0);
    return failures == 0 && open_calls == 0 && calls > 0 ? 0 : 1;
}
