/* 1,000 shuffled updates of the list while 8 threads call: no call fails while one backend of the current list lives,
 * over real connections. A plain program, so that it also runs under ThreadSanitizer. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "demo_server/server.h"

#define SERVERS 4
#define THREADS 8
#define UPDATES 1000

static evener_channel *channel;
static atomic_bool stop;
static atomic_uint_fast64_t calls, failures;

static void *call_all_the_time(void *arg)
{
    (void)arg;
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 20000};
    while (!atomic_load(&stop)) {
        evener_status status;
        if (evener_unary_call(channel, "/evener.demo.Echo/Unary", NULL, &options, NULL, &status) != EVENER_STATUS_OK) {
            fprintf(stderr, "%s: %s\n", evener_status_code_name(status.code), status.message);
            atomic_fetch_add(&failures, 1);
        }
        atomic_fetch_add(&calls, 1);
    }
    return NULL;
}

/* A random part of the servers, at least one, in a random order. */
static void random_list(demo_server *const *servers, unsigned *seed, char *list, size_t list_bytes)
{
    unsigned order[SERVERS];
    for (unsigned i = 0; i < SERVERS; i++) {
        unsigned other = (unsigned)rand_r(seed) % (i + 1);
        order[i] = order[other];
        order[other] = i;
    }
    unsigned count = 1 + (unsigned)rand_r(seed) % SERVERS;
    list[0] = '\0';
    for (unsigned i = 0; i < count; i++) {
        size_t used = strlen(list);
        snprintf(list + used, list_bytes - used, "%s127.0.0.1:%u", i > 0 ? "," : "",
                 (unsigned)demo_server_port(servers[order[i]]));
    }
}

int main(void)
{
    demo_server *servers[SERVERS];
    for (int i = 0; i < SERVERS; i++) {
        char error[DEMO_SERVER_ERROR_BYTES];
        servers[i] = demo_server_start(&(demo_server_options){0}, error);
        if (servers[i] == NULL) {
            fprintf(stderr, "%s\n", error);
            return 1;
        }
    }
    evener_manual_resolver *manual;
    evener_credentials *insecure;
    if (evener_manual_resolver_create("servers", &manual, NULL) != EVENER_STATUS_OK ||
        evener_credentials_create_insecure(&insecure, NULL) != EVENER_STATUS_OK) {
        return 1;
    }
    unsigned seed = 1;
    char list[256];
    random_list(servers, &seed, list, sizeof list);
    evener_manual_resolver_set(manual, list, NULL, NULL);
    const evener_resolver_builder *const resolvers[] = {evener_manual_resolver_builder(manual)};
    const evener_channel_options options = {.size = sizeof options,
                                            .credentials = insecure,
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .policy = "round_robin"};
    evener_status status;
    if (evener_channel_create("servers:///x", &options, &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return 1;
    }
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, call_all_the_time, NULL);
    }
    const struct timespec pause = {.tv_nsec = 1000 * 1000};
    for (int i = 0; i < UPDATES; i++) {
        random_list(servers, &seed, list, sizeof list);
        evener_manual_resolver_set(manual, list, NULL, NULL);
        nanosleep(&pause, NULL);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    evener_channel_unref(channel);
    evener_manual_resolver_destroy(manual);
    evener_credentials_destroy(insecure);
    for (int i = 0; i < SERVERS; i++) {
        demo_server_stop(servers[i], 0);
    }
    printf("stress_updates: %llu calls over %d updates, %llu failed\n", (unsigned long long)calls, UPDATES,
           (unsigned long long)failures);
    return failures == 0 ? 0 : 1;
}
