/* Three server processes that are killed, end and rotate connections under load: at most 16 more of evener's calls fail
 * than of the plain core's round_robin, which has the same servers at the same time, and as many calls in flight. Over
 * "http2" no more calls fail than were on the wire at a SIGKILL, and none by MAX_CONNECTION_AGE. */
#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <evener/evener.h>

#include "bench/rpc/client.h"
#include "tests/e2e/server_process.h"
#include "tests/support/call_load.h"
#include "tests/support/channel_client.h"
#include "tests/support/transport_choice.h"

#define SERVERS 3
#define IN_FLIGHT 16
#define MORE_FAILURES_MAX 16
#define TIMEOUT_MS 10000
#define WAIT_MS 60000

typedef struct scene {
    server_process servers[SERVERS];
    evener_manual_resolver *resolver;
    evener_channel *channel;
    bench_client *core, *evener;
    call_load *core_load, *evener_load;
    uint64_t core_failed, evener_failed; /* before the event that is looked at */
} scene;

/* Write the addresses of the servers whose bits are set. */
static void list_servers(const scene *s, unsigned servers, char list[128])
{
    *list = '\0';
    for (unsigned i = 0; i < SERVERS; i++) {
        if ((servers & (1u << i)) != 0) {
            const size_t used = strlen(list);
            snprintf(list + used, 128 - used, "%s127.0.0.1:%u", used > 0 ? "," : "", (unsigned)s->servers[i].port);
        }
    }
}

static void push(scene *s, unsigned servers)
{
    char list[128];
    evener_status status;
    list_servers(s, servers, list);
    cr_assert_eq(evener_manual_resolver_set(s->resolver, list, NULL, &status), EVENER_STATUS_OK, "%s", status.message);
}

static void open_channel(scene *s)
{
    evener_status status;
    evener_credentials *insecure;
    cr_assert_eq(evener_manual_resolver_create("orders", &s->resolver, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    const evener_resolver_builder *own[] = {evener_manual_resolver_builder(s->resolver)};
    const evener_channel_options options = {.size = sizeof options,
                                            .credentials = insecure,
                                            .resolvers = own,
                                            .resolver_count = 1,
                                            .policy = "round_robin"};
    push(s, 7);
    cr_assert_eq(evener_channel_create("orders:///x", &options, &s->channel, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    evener_credentials_destroy(insecure);
    cr_assert_eq(evener_channel_wait_ready(s->channel, WAIT_MS, &status), EVENER_STATUS_OK, "%s", status.message);
}

/* The most connections that a backend has had. */
static uint64_t connects_until_now(const scene *s)
{
    uint64_t most = 0;
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof(evener_subchannel_stats)};
    cr_assert_eq(evener_channel_get_stats(s->channel, &stats, NULL), EVENER_STATUS_OK);
    for (size_t i = 0; i < stats.subchannel_count; i++) {
        most = stats.subchannels[i].connects > most ? stats.subchannels[i].connects : most;
    }
    evener_channel_stats_clear(&stats);
    return most;
}

/* Wait until each backend has had that many connections, and is READY. */
static void wait_for_connects(scene *s, uint64_t connects)
{
    bool all = false;
    for (int tries = 0; !all && tries < WAIT_MS / 10; tries++) {
        evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof(evener_subchannel_stats)};
        cr_assert_eq(evener_channel_get_stats(s->channel, &stats, NULL), EVENER_STATUS_OK);
        all = true;
        for (size_t i = 0; i < stats.subchannel_count; i++) {
            all = all && stats.subchannels[i].state == EVENER_READY && stats.subchannels[i].connects >= connects;
        }
        evener_channel_stats_clear(&stats);
        if (!all) {
            (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        }
    }
    cr_assert(all, "not every backend is READY with %llu connections", (unsigned long long)connects);
}

static void let_calls_pass(scene *s, uint64_t calls)
{
    call_load_let_pass(s->core_load, calls);
    call_load_let_pass(s->evener_load, calls);
}

static void open_scene(scene *s, const char *server_option)
{
    char list[128];
    for (int i = 0; i < SERVERS; i++) {
        s->servers[i].option = server_option;
        cr_assert(server_process_start(&s->servers[i], 0));
    }
    open_channel(s);
    s->evener = channel_client_open(s->channel, TIMEOUT_MS);
    list_servers(s, 7, list);
    s->core = bench_client_open_core(&(bench_client_options){
        .servers = list, .policy = "round_robin", .threads = 2, .payload = "", .timeout_ms = TIMEOUT_MS});
    cr_assert_not_null(s->core);
    wait_for_connects(s, 1);
    s->core_load = call_load_start(s->core, IN_FLIGHT);
    s->evener_load = call_load_start(s->evener, IN_FLIGHT);
    let_calls_pass(s, 600);
}

static void close_scene(scene *s)
{
    call_load_stop(s->core_load);
    call_load_stop(s->evener_load);
    s->core->close(s->core);
    s->evener->close(s->evener);
    evener_channel_unref(s->channel);
    evener_manual_resolver_destroy(s->resolver);
    for (int i = 0; i < SERVERS; i++) {
        server_process_end(&s->servers[i]);
    }
}

static void before_event(scene *s)
{
    s->core_failed = call_load_failed(s->core_load);
    s->evener_failed = call_load_failed(s->evener_load);
}

/* After the calls that were in flight at the event, and many that began after it, have ended. `http2_failed_max`: over
 * "http2". */
static void after_event(scene *s, const char *event, uint64_t http2_failed_max)
{
    call_load_settle(s->core_load);
    call_load_settle(s->evener_load);
    let_calls_pass(s, 1000);
    const uint64_t core = call_load_failed(s->core_load) - s->core_failed;
    const uint64_t evener = call_load_failed(s->evener_load) - s->evener_failed;
    const char *const failure = channel_client_last_failure(s->evener);
    printf("%s: failed: core %llu, evener %llu%s%s\n", event, (unsigned long long)core, (unsigned long long)evener,
           evener > 0 ? ", the last: " : "", evener > 0 ? failure : "");
    cr_expect_leq(evener, on_core() ? core + MORE_FAILURES_MAX : http2_failed_max,
                  "%s: %llu of evener's calls failed, %llu of the core's; the last: %s", event,
                  (unsigned long long)evener, (unsigned long long)core, failure);
}

/* Each server once, with new servers and new clients: how soon the core connects again is not known here, and without a
 * backend all of its calls would fail. */
static void end_each_server(int with_signal, const char *event, uint64_t http2_failed_max)
{
    for (int i = 0; i < SERVERS; i++) {
        scene s = {0};
        open_scene(&s, NULL);
        before_event(&s);
        server_process_signal(&s.servers[i], with_signal);
        server_process_wait(&s.servers[i]);
        after_event(&s, event, http2_failed_max);
        close_scene(&s);
    }
}

Test(like_core, sigkill)
{
    end_each_server(SIGKILL, "SIGKILL", IN_FLIGHT);
}

/* These servers, built on the core, answer CANCELLED while they shut down, which may be anybody's word. For servers
 * that refuse instead: test_graceful_end.c. */
Test(like_core, sigterm)
{
    end_each_server(SIGTERM, "SIGTERM", IN_FLIGHT);
}

/* Three rotations of each connection. */
Test(like_core, max_connection_age)
{
    scene s = {0};
    open_scene(&s, "--max-age-ms=1000");
    before_event(&s);
    wait_for_connects(&s, connects_until_now(&s) + 3);
    after_event(&s, "MAX_CONNECTION_AGE", 0);
    close_scene(&s);
}

/* Without the core, which cannot be given another list. */
Test(like_core, a_removed_address_fails_nothing)
{
    scene s = {0};
    open_scene(&s, NULL);
    for (unsigned i = 0; i < 60; i++) {
        push(&s, i % 2 == 0 ? 7u & ~(1u << (i / 2 % SERVERS)) : 7u);
        call_load_let_pass(s.evener_load, 100);
    }
    call_load_settle(s.evener_load);
    cr_expect_eq(call_load_failed(s.evener_load), 0, "%s", channel_client_last_failure(s.evener));
    close_scene(&s);
}
