/* Changes a factory file 1,000 times at random, to good and bad, while calls run. No call fails, only good
 * configurations take effect, and the last good one is in force at the end. */
#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <evener/evener.h>

#include "examples/demo_server/server.h"

#define CHANGES 1000
#define CALLERS 3
#define SERVERS 3
#define METHOD "/evener.demo.Echo/Unary"

static evener_factory *factory;
static char path[64];
static uint16_t ports[SERVERS];
static bool stop;            /* atomic */
static uint64_t calls, lost; /* atomic */

/* ---- calls ---- */

static void *caller(void *arg)
{
    const bool keeps_handle = arg != NULL;
    evener_channel *channel = NULL;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        evener_status status;
        if (channel == NULL && evener_factory_channel(factory, "orders", &channel, &status) != EVENER_STATUS_OK) {
            fprintf(stderr, "no channel: %s\n", status.message);
            abort();
        }
        const evener_call_options options = {.size = sizeof options, .timeout_ms = 60000};
        const evener_bytes request = {.data = (const uint8_t *)"hello", .length = 5};
        if (evener_unary_call(channel, METHOD, &request, &options, NULL, &status) != EVENER_STATUS_OK) {
            fprintf(stderr, "a call failed: %s: %s\n", evener_status_code_name(status.code), status.message);
            (void)__atomic_fetch_add(&lost, 1, __ATOMIC_RELAXED);
        }
        (void)__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
        if (!keeps_handle) {
            evener_channel_unref(channel);
            channel = NULL;
        }
    }
    evener_channel_unref(channel);
    return NULL;
}

/* ---- files ---- */

static unsigned below(unsigned *seed, unsigned bound)
{
    return (unsigned)rand_r(seed) % bound;
}

static void write_file(const char *text, bool in_place)
{
    char next[80];
    snprintf(next, sizeof next, "%s.next", path);
    FILE *file = fopen(in_place ? path : next, "w");
    assert(file != NULL);
    fputs(text, file);
    fclose(file);
    assert(in_place || rename(next, path) == 0);
}

/* Write a good file, and store its target. */
static void good_file(unsigned *seed, char *text, size_t bytes, char *target, size_t target_bytes)
{
    static const char *const policies[] = {"\"round_robin\"", "\"pick_first\"", "{ p2c_ewma = { }; }", "\"random\"",
                                           "( { unknown = { }; }, { round_robin = { }; } )"};
    static const char *const others[] = {"",
                                         "wait_for_ready = true;",
                                         "backoff = { initial_ms = 50; max_ms = 1000; };",
                                         "keepalive = { time_ms = 60000; };",
                                         "idle_timeout_ms = \"never\";",
                                         "connect_timeout_ms = 30000;",
                                         "user_agent = \"stress/1\";"};
    static const char *const authorities[] = {"", "authority = \"one.test\";", "authority = \"two.test\";"};
    size_t used = (size_t)snprintf(target, target_bytes, "static:");
    const unsigned first = below(seed, SERVERS);
    for (unsigned i = 0; i <= below(seed, SERVERS); i++) {
        used += (size_t)snprintf(target + used, target_bytes - used, "%s127.0.0.1:%u", i > 0 ? "," : "",
                                 (unsigned)ports[(first + i) % SERVERS]);
    }
    snprintf(text, bytes,
             "defaults = { credentials = \"insecure\"; };\n"
             "channels = { orders = { target = \"%s\"; policy = %s; %s %s }; };\n",
             target, policies[below(seed, 5)], others[below(seed, 7)], authorities[below(seed, 3)]);
}

/* Turn a good file into one that must be refused. */
static void spoil(unsigned *seed, char *text)
{
    static const char *const tails[] = {"nonsense", "other = 1;\n", "channels = { };\n", "}"};
    if (below(seed, 2) == 0) {
        text[strlen(text) - 3 - below(seed, 10)] = '\0'; /* cut before the last bracket */
    } else {
        strcat(text, tails[below(seed, 4)]);
    }
}

static void check_in_force(const char *target)
{
    evener_channel *channel;
    evener_status status;
    if (evener_factory_channel(factory, "orders", &channel, &status) != EVENER_STATUS_OK ||
        strcmp(evener_channel_target(channel), target) != 0) {
        fprintf(stderr, "in force is not the last good file: %s, not %s\n",
                status.code == EVENER_STATUS_OK ? evener_channel_target(channel) : status.message, target);
        abort();
    }
    evener_channel_unref(channel);
}

int main(int argc, char **argv)
{
    const int changes = argc > 1 ? atoi(argv[1]) : CHANGES;
    unsigned seed = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    demo_server *servers[SERVERS];
    char error[DEMO_SERVER_ERROR_BYTES];
    char text[2048];
    char target[256];
    char next[256];
    for (unsigned i = 0; i < SERVERS; i++) {
        const demo_server_options options = {.port = 0};
        servers[i] = demo_server_start(&options, error);
        if (servers[i] == NULL) {
            fprintf(stderr, "%s\n", error);
            return 1;
        }
        ports[i] = demo_server_port(servers[i]);
    }
    strcpy(path, "/tmp/evener-stress-XXXXXX");
    close(mkstemp(path));
    good_file(&seed, text, sizeof text, target, sizeof target);
    write_file(text, false);
    const evener_factory_options options = {.size = sizeof options, .watch_interval_ms = 10};
    evener_status status;
    if (evener_factory_open(path, &options, &factory, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return 1;
    }
    pthread_t threads[CALLERS];
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_create(&threads[i], NULL, caller, i % 2 == 0 ? &seed : NULL);
    }
    for (int i = 0; i < changes; i++) {
        good_file(&seed, text, sizeof text, next, sizeof next);
        const bool bad = below(&seed, 3) == 0;
        if (bad) {
            spoil(&seed, text);
        }
        write_file(text, below(&seed, 2) == 0);
        const evener_status_code code = evener_factory_reload(factory, &status);
        if ((code == EVENER_STATUS_OK) == bad) {
            fprintf(stderr, "%s file: %s\n%s\n", bad ? "bad" : "good", status.message, text);
            return 1;
        }
        if (!bad) {
            strcpy(target, next);
        }
        check_in_force(target);
        usleep(below(&seed, 3000));
    }
    good_file(&seed, text, sizeof text, target, sizeof target);
    write_file(text, false);
    next[0] = '\0';                                               /* may still contain the target of a refused file */
    for (int i = 0; i < 2000 && strcmp(next, target) != 0; i++) { /* the watch notices the last change */
        evener_channel *channel;
        if (evener_factory_channel(factory, "orders", &channel, NULL) == EVENER_STATUS_OK) {
            snprintf(next, sizeof next, "%s", evener_channel_target(channel));
            evener_channel_unref(channel);
        }
        usleep(10000);
    }
    check_in_force(target);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%d changes, %llu taken over, %llu refused, %llu calls, %llu failed\n", changes,
           (unsigned long long)evener_factory_reload_count(factory),
           (unsigned long long)evener_factory_refused_count(factory), (unsigned long long)calls,
           (unsigned long long)lost);
    evener_factory_close(factory);
    for (unsigned i = 0; i < SERVERS; i++) {
        demo_server_stop(servers[i], 0);
    }
    unlink(path);
    return lost == 0 && calls > 0 ? 0 : 1;
}
