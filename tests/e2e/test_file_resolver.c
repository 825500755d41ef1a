/* A channel over real servers, with the list of backends in a file. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <evener/evener.h>

#include "examples/demo_server/server.h"

#define SERVERS 3
#define CALLERS 2
#define EDITS 10000
#define LIST_BYTES 256

static struct {
    demo_server *servers[SERVERS];
    char directory[64], path[96], beside[96];
    evener_channel *channel;
    pthread_t callers[CALLERS];
    atomic_bool stop;
    atomic_uint calls, failed;
    atomic_uint last_port; /* of the last server that answered */
    pthread_mutex_t lock;
    char failure[EVENER_STATUS_MESSAGE_BYTES]; /* under `lock` */
    uint64_t random_state;
} s = {.lock = PTHREAD_MUTEX_INITIALIZER, .random_state = 7};

static unsigned random_below(unsigned bound)
{
    s.random_state = s.random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(s.random_state >> 33) % bound;
}

/* Write the list of servers, given as a bit mask, one per line. */
static void make_list(char text[LIST_BYTES], unsigned servers)
{
    text[0] = '\0';
    for (unsigned i = 0; i < SERVERS; i++) {
        if ((servers & (1u << i)) != 0) {
            const size_t used = strlen(text);
            snprintf(text + used, LIST_BYTES - used, "127.0.0.1:%u weight=%u\n", demo_server_port(s.servers[i]),
                     1 + random_below(5));
        }
    }
}

static void write_to(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void replace(unsigned servers)
{
    char text[LIST_BYTES];
    make_list(text, servers);
    write_to(s.beside, text);
    cr_assert_eq(rename(s.beside, s.path), 0);
}

static void set_up(void)
{
    char error[DEMO_SERVER_ERROR_BYTES], target[128];
    strcpy(s.directory, "/tmp/evener-e2e-XXXXXX");
    cr_assert_not_null(mkdtemp(s.directory));
    snprintf(s.path, sizeof s.path, "%s/list", s.directory);
    snprintf(s.beside, sizeof s.beside, "%s/beside", s.directory);
    snprintf(target, sizeof target, "file://%s", s.path);
    for (unsigned i = 0; i < SERVERS; i++) {
        s.servers[i] = demo_server_start(&(demo_server_options){.port = 0}, error);
        cr_assert_not_null(s.servers[i], "%s", error);
    }
    replace(1);
    evener_status status;
    evener_credentials *insecure;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK, "%s", status.message);
    /* Poll once per hour, so that only the watch can see a change. */
    const evener_attribute no_poll = {"file.poll_ms", "3600000"};
    const evener_channel_options options = {
        .size = sizeof options,
        .credentials = insecure,
        .policy = "round_robin",
        .resolver_options = &no_poll,
        .resolver_option_count = 1,
        .wait_for_ready = true,
    };
    cr_assert_eq(evener_channel_create(target, &options, &s.channel, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(insecure);
}

static void tear_down(void)
{
    evener_channel_unref(s.channel);
    for (unsigned i = 0; i < SERVERS; i++) {
        demo_server_stop(s.servers[i], 0);
    }
    (void)unlink(s.path);
    (void)unlink(s.beside);
    (void)rmdir(s.directory);
}

TestSuite(file_resolver_e2e, .init = set_up, .fini = tear_down, .timeout = 280);

/* Make a call. Return the port of the server that answered; 0 on failure. */
static unsigned call(void)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 20000};
    evener_bytes response = {.data = NULL};
    evener_status status;
    if (evener_unary_call(s.channel, "/grpcdemo.GrpcDemo/DemoImport", NULL, &options, &response, &status) !=
        EVENER_STATUS_OK) {
        pthread_mutex_lock(&s.lock);
        snprintf(s.failure, sizeof s.failure, "%s: %.400s", evener_status_code_name(status.code), status.message);
        pthread_mutex_unlock(&s.lock);
        return 0;
    }
    /* CustomMessage{custom_message = 1}: tag, length, then the port as text. */
    char port[8] = "";
    if (response.length > 2 && response.length - 2 < sizeof port) {
        memcpy(port, response.data + 2, response.length - 2);
    }
    evener_bytes_clear(&response);
    return (unsigned)atoi(port);
}

static void *call_without_pause(void *arg)
{
    while (!atomic_load(&s.stop)) {
        const unsigned port = call();
        atomic_fetch_add(port != 0 ? &s.calls : &s.failed, 1);
        atomic_store(&s.last_port, port);
    }
    return arg;
}

static void start_callers(void)
{
    for (int i = 0; i < CALLERS; i++) {
        cr_assert_eq(pthread_create(&s.callers[i], NULL, call_without_pause, NULL), 0);
    }
}

static void stop_callers(void)
{
    atomic_store(&s.stop, true);
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(s.callers[i], NULL);
    }
    cr_assert_eq(atomic_load(&s.failed), 0, "%u of %u calls failed, the last with %s", atomic_load(&s.failed),
                 atomic_load(&s.calls) + atomic_load(&s.failed), s.failure);
}

/* Requirement: a change reaches the first call within 50 ms. The test prints the time but does not assert it. */
Test(file_resolver_e2e, change_reaches_the_first_call)
{
    cr_assert_eq(call(), demo_server_port(s.servers[0]), "%s", s.failure);
    for (unsigned i = 1; i < 10; i++) {
        const unsigned server = i % SERVERS;
        struct timespec began, now;
        clock_gettime(CLOCK_MONOTONIC, &began);
        replace(1u << server);
        unsigned tries = 0;
        while (call() != demo_server_port(s.servers[server])) {
            cr_assert_lt(++tries, 20000, "the new backend gets no call: %s", s.failure);
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        cr_log_info("change %u reached a call after %.1f ms", i,
                    (double)(now.tv_sec - began.tv_sec) * 1e3 + (double)(now.tv_nsec - began.tv_nsec) / 1e6);
    }
}

/* Requirement: 10,000 random edits, truncations, renames and deletions of the file under load. No call fails while
 * one listed backend is alive, and the final list is the one in the file. */
Test(file_resolver_e2e, edits_under_load_fail_no_call)
{
    start_callers();
    for (int i = 0; i < EDITS; i++) {
        char text[LIST_BYTES];
        make_list(text, 1 + random_below((1u << SERVERS) - 1));
        switch (random_below(6)) {
        case 0:
            (void)unlink(s.path);
            break;
        case 1:
            write_to(s.path, random_below(2) == 0 ? "" : "nonsense\n");
            break;
        case 2:
            text[random_below((unsigned)strlen(text))] = '\0';
            write_to(s.path, text);
            break;
        case 3:
            write_to(s.path, text);
            break;
        default:
            write_to(s.beside, text);
            cr_assert_eq(rename(s.beside, s.path), 0);
        }
        if (i % 8 == 0) {
            nanosleep(&(struct timespec){.tv_nsec = (long)random_below(8000000)}, NULL);
        }
    }
    replace(1u << 2);
    for (unsigned waited_ms = 0; waited_ms < 20000; waited_ms++) {
        evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
        cr_assert_eq(evener_channel_get_stats(s.channel, &stats, NULL), EVENER_STATUS_OK);
        const bool settled = stats.subchannel_count == 1;
        evener_channel_stats_clear(&stats);
        if (settled && atomic_load(&s.last_port) == demo_server_port(s.servers[2])) {
            break;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    cr_assert_eq(atomic_load(&s.last_port), demo_server_port(s.servers[2]));
    stop_callers();
}
