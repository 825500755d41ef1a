/* A server ends its connections: how many are made for it, and what is remembered. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <grpc/support/log.h>

#include "grpc/call_fixture.h"
#include "grpc/transport_fixture.h"
#include "tests/support/h2_script_server.h"
#include "tests/support/transport_choice.h"

#define CALLERS 4
#define ROTATIONS 3 /* fewer than the short-lived connections in a row that count as a failure */

static const h2_step ok[] = {
    {.kind = H2_AWAIT_END_STREAM},
    {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},
    {.kind = H2_DATA, .data_bytes = 5},
    {.kind = H2_HEADERS, .headers = {{"grpc-status", "0"}}, .end_stream = true},
    {.kind = H2_END}};
/* As servers do at MAX_CONNECTION_AGE: what is in flight ends as usual. */
static const h2_step ok_and_goaway[] = {
    {.kind = H2_AWAIT_END_STREAM},
    {.kind = H2_GOAWAY, .last_stream = H2_ALL_STREAMS},
    {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},
    {.kind = H2_DATA, .data_bytes = 5},
    {.kind = H2_HEADERS, .headers = {{"grpc-status", "0"}}, .end_stream = true},
    {.kind = H2_END}};

typedef struct caller {
    evener_channel *channel;
    bool *stopping; /* atomic */
    pthread_t thread;
    uint64_t failed;
    evener_status failure;
} caller;

static void *keep_calling(void *arg)
{
    caller *self = arg;
    while (!__atomic_load_n(self->stopping, __ATOMIC_RELAXED)) {
        evener_status status;
        const evener_call_options options = {.size = sizeof options, .timeout_ms = 60000};
        if (evener_unary_call(self->channel, "/any.Service/Method", NULL, &options, NULL, &status) !=
            EVENER_STATUS_OK) {
            self->failed++;
            self->failure = status;
        }
    }
    return NULL;
}

/* C6. Over the core a call on its way to the server at the GOAWAY may fail, as in a client of the plain core. */
Test(reconnect, a_connection_that_a_server_ends_gracefully_is_replaced_by_one)
{
    static const h2_script scripts[] = {{.steps = ok, .plays = 300},
                                        {.steps = ok_and_goaway, .plays = 1},
                                        {.steps = ok, .plays = 300},
                                        {.steps = ok_and_goaway, .plays = 1},
                                        {.steps = ok, .plays = 300},
                                        {.steps = ok_and_goaway, .plays = 1},
                                        {.steps = ok}};
    h2_script_server *server =
        h2_script_server_start(&(h2_script_server_options){.scripts = scripts, .count = 2 * ROTATIONS + 1});
    call_fixture f;
    char target[64];
    bool stopping = false;
    caller callers[CALLERS];
    call_fixture_open(&f, 0, NULL);
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(h2_script_server_port(server)));
    evener_channel *channel = call_fixture_channel(&f, target);
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (caller){.channel = channel, .stopping = &stopping};
        cr_assert_eq(pthread_create(&callers[i].thread, NULL, keep_calling, &callers[i]), 0);
    }
    cr_assert(h2_script_server_wait(server, H2_REQUESTS_OF_SCRIPT + 2 * ROTATIONS, 1000));
    __atomic_store_n(&stopping, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        cr_expect_leq(callers[i].failed, on_core() ? ROTATIONS : 0, "%llu calls failed: %s",
                      (unsigned long long)callers[i].failed, callers[i].failure.message);
    }
    const uint64_t connections = h2_script_server_count(server, H2_CONNECTIONS);
    /* Over the core an attempt is given up if the end is noticed while the core still connects: at worst each time. */
    cr_expect_leq(connections, on_core() ? 2 * ROTATIONS + 1 : ROTATIONS + 1, "%llu connections",
                  (unsigned long long)connections);
    cr_log_info("%llu connections for %d rotations", (unsigned long long)connections, ROTATIONS);
    evener_channel_unref(channel);
    call_fixture_close(&f);
    h2_script_server_stop(server);
}

static evener_subchannel_stats stats_of(evener_channel *channel)
{
    evener_status status;
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof(evener_subchannel_stats)};
    cr_assert_eq(evener_channel_get_stats(channel, &stats, &status), EVENER_STATUS_OK, "%s", status.message);
    const evener_subchannel_stats first = stats.subchannels[0];
    evener_channel_stats_clear(&stats);
    return first;
}

/* ---- keepalive ---- */

#define KEEPALIVE_MS 20
#define ENDED_CONNECTIONS 2

static int logged_ms; /* atomic: the keepalive time that the core wrote last, of a connection that a server ended */

static void note_time(gpr_log_func_args *args)
{
    static const char before[] = "Current keepalive time (before throttling): ";
    const char *text = strstr(args->message, before);
    if (text != NULL) {
        __atomic_store_n(&logged_ms, atoi(text + strlen(before)), __ATOMIC_RELAXED);
    }
}

/* C5, A8: a server of the core permits a ping each two hours on a connection without calls. */
Test(reconnect, keepalive_is_doubled_when_a_server_ends_connections_for_too_many_pings)
{
    call_fixture f;
    char target[64];
    evener_status status;
    evener_channel *channel;
    ONLY_ON_CORE("tests/http2/test_keepalive.c has it for \"http2\"");
    gpr_set_log_function(note_time);
    call_fixture_open(&f, 1, NULL);
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", demo_server_port(f.servers[0]));
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = f.runtime,
                                            .credentials = f.insecure,
                                            .policy = "round_robin",
                                            .own_connections = true,
                                            .keepalive_time_ms = KEEPALIVE_MS,
                                            .keepalive_permit_without_calls = true};
    cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_channel_wait_ready(channel, 60000, &status), EVENER_STATUS_OK, "%s", status.message);
    /* A connection may be reset before the core has read why the server ends it: that one doubles nothing. */
    for (int tries = 0; tries < 60000 && (stats_of(channel).connects < ENDED_CONNECTIONS + 1 ||
                                          __atomic_load_n(&logged_ms, __ATOMIC_RELAXED) < 2 * KEEPALIVE_MS);
         tries++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    cr_expect_geq(stats_of(channel).connects, ENDED_CONNECTIONS + 1);
    cr_expect_geq(__atomic_load_n(&logged_ms, __ATOMIC_RELAXED), 2 * KEEPALIVE_MS);
    evener_channel_unref(channel);
    call_fixture_close(&f);
}
