/* Health watches (A17) over the HTTP/2 transport on a virtual loop: the test is the owner of the connection, and the
 * health service at its other end. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "http2/bare_connection.h"
#include "lb/base/health_message.h"
#include "lb/transport/http2/health.h"

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, GOAWAY = 7 };
enum { END_STREAM = 1, END_HEADERS = 4 };
#define FIRST_BACKOFF_MS 1000 /* grpc: doc/connection-backoff.md, as for connections; 20 % jitter */
#define REPORTS_MAX 16

static bare_connection bare;

typedef struct watcher {
    evener_connectivity_state states[REPORTS_MAX];
    char reason[EVENER_STATUS_MESSAGE_BYTES];
    unsigned count;
} watcher;

static watcher first, second;

static void health_changed(void *arg, evener_connectivity_state state, const evener_status *status)
{
    watcher *self = arg;
    cr_assert_lt(self->count, REPORTS_MAX);
    cr_assert_eq(status->code, state == EVENER_TRANSIENT_FAILURE ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK);
    self->states[self->count++] = state;
    strcpy(self->reason, status->message);
}

/* Let the owner and the control thread do what they have to do now. */
static void work(void)
{
    do {
        bare_connection_work(&bare);
        virtual_loop_run_until_idle(bare.loop);
    } while (evener_http2_has_operations(bare.connection));
}

static void open_all(void)
{
    bare_connection_open(&bare, -1);
    virtual_loop_run_until_idle(bare.loop);
    atomic_store(&bare.connection->references, 1); /* READY was not taken */
}

static void close_all(void)
{
    evener_http2_health_stop(bare.connection);
    work();
    cr_expect_eq(atomic_load(&bare.connection->references), 1, "a watch that has ended holds no reference");
    bare_connection_close(&bare);
}

TestSuite(http2_health_watch, .init = open_all, .fini = close_all);

static evener_status_code watch(watcher *self, const char *service)
{
    const evener_status_code code = evener_http2_health_watch(NULL, bare.connection, service, health_changed, self);
    work();
    return code;
}

static void send_headers(uint32_t stream)
{
    static const char block[] = "\x88\x0f\x10\x10"
                                "application/grpc";
    bare_connection_feed(&bare, HEADERS, END_HEADERS, stream, block, sizeof block - 1);
}

static void send_message(uint32_t stream, const void *message, uint8_t bytes)
{
    uint8_t data[64] = {0, 0, 0, 0, bytes};
    memcpy(data + 5, message, bytes);
    bare_connection_feed(&bare, DATA, 0, stream, data, (uint8_t)(5 + bytes));
    work();
}

static void send_status(uint32_t stream, uint8_t status)
{
    send_message(stream, (uint8_t[]){8, status}, 2);
}

static void send_trailers(uint32_t stream, const char *grpc_status, const char *message)
{
    char block[128];
    const int bytes = snprintf(block, sizeof block, "%c\x0bgrpc-status%c%s%c\x0cgrpc-message%c%s", 0x10,
                               (int)strlen(grpc_status), grpc_status, 0x10, (int)strlen(message), message);
    bare_connection_feed(&bare, HEADERS, END_HEADERS | END_STREAM, stream, block, (uint8_t)bytes);
    work();
}

/* Answer without a message: headers that are trailers. */
static void refuse(uint32_t stream, const char *grpc_status, const char *message)
{
    send_headers(stream);
    send_trailers(stream, grpc_status, message);
}

static void advance_ms(uint64_t ms)
{
    virtual_loop_advance_ms(bare.loop, ms);
    work();
}

/* Return the last stream that was opened; 0: none is open. */
static uint32_t last_stream(void)
{
    const evener_http2_link *open = &bare.connection->open;
    if (evener_http2_link_is_empty(open)) {
        return 0;
    }
    const evener_http2_call *call = EVENER_CONTAINER_OF(open->previous, evener_http2_call, link);
    cr_assert(call->end_stream_sent);
    cr_assert_str_eq(call->method, "/grpc.health.v1.Health/Watch");
    return (uint32_t)call->stream_id;
}

static void expect(const watcher *self, unsigned count, evener_connectivity_state state, const char *reason)
{
    cr_assert_eq(self->count, count, "%u reports", self->count);
    cr_assert_eq(self->states[count - 1], state, "state %d", (int)self->states[count - 1]);
    cr_assert_str_eq(self->reason, reason);
}

Test(http2_health_watch, each_message_is_reported)
{
    cr_assert_eq(watch(&first, "orders"), EVENER_STATUS_OK);
    cr_assert_eq(last_stream(), 1);
    cr_assert_eq(first.count, 0);
    send_headers(1);
    send_status(1, 1);
    expect(&first, 1, EVENER_READY, "");
    send_status(1, 2);
    expect(&first, 2, EVENER_TRANSIENT_FAILURE,
           "backend 127.0.0.1:1 is unhealthy: its health service does not say SERVING");
    send_status(1, 3);
    expect(&first, 3, EVENER_TRANSIENT_FAILURE,
           "backend 127.0.0.1:1 is unhealthy: its health service does not say SERVING");
    send_message(1, "\x08", 1);
    expect(&first, 4, EVENER_TRANSIENT_FAILURE,
           "backend 127.0.0.1:1 is unhealthy: its health service sent what cannot be read");
    send_status(1, 1);
    expect(&first, 5, EVENER_READY, "");
    cr_assert_eq(bare.connection->foreground, 0, "no caller waits for it");
}

Test(http2_health_watch, an_end_without_a_message_is_followed_after_the_backoff)
{
    (void)watch(&first, "");
    refuse(1, "14", "not yet");
    expect(&first, 1, EVENER_TRANSIENT_FAILURE,
           "backend 127.0.0.1:1 is unhealthy: its health service ended with UNAVAILABLE: not yet");
    advance_ms(FIRST_BACKOFF_MS * 8 / 10 - 1);
    cr_assert_eq(last_stream(), 0);
    advance_ms(FIRST_BACKOFF_MS * 4 / 10 + 1);
    cr_assert_eq(last_stream(), 3);
    expect(&first, 2, EVENER_CONNECTING, "");
    /* The backoff grows. */
    refuse(3, "2", "again");
    expect(&first, 3, EVENER_TRANSIENT_FAILURE,
           "backend 127.0.0.1:1 is unhealthy: its health service ended with UNKNOWN: again");
    advance_ms(FIRST_BACKOFF_MS * 16 / 10 * 8 / 10 - 1);
    cr_assert_eq(last_stream(), 0);
    advance_ms(FIRST_BACKOFF_MS * 16 / 10 * 4 / 10 + 1);
    cr_assert_eq(last_stream(), 5);
    expect(&first, 4, EVENER_CONNECTING, "");
}

Test(http2_health_watch, an_end_after_a_message_is_followed_at_once_by_a_new_backoff)
{
    (void)watch(&first, "");
    refuse(1, "14", "not yet");
    advance_ms(FIRST_BACKOFF_MS * 12 / 10);
    expect(&first, 2, EVENER_CONNECTING, "");
    send_headers(3);
    send_status(3, 1);
    send_trailers(3, "14", "a restart");
    cr_assert_eq(last_stream(), 5);
    cr_assert_eq(first.count, 5);
    cr_assert_eq(first.states[2], EVENER_READY);
    cr_assert_eq(first.states[3], EVENER_TRANSIENT_FAILURE);
    cr_assert_eq(first.states[4], EVENER_CONNECTING);
    refuse(5, "14", "without a message");
    cr_assert_eq(last_stream(), 0);
    advance_ms(FIRST_BACKOFF_MS * 16 / 10 * 8 / 10 - 1);
    cr_assert_eq(last_stream(), 0, "the end of the call before has advanced it");
    advance_ms(FIRST_BACKOFF_MS * 16 / 10 * 4 / 10 + 1);
    cr_assert_eq(last_stream(), 7);
}

Test(http2_health_watch, a_server_without_the_service_is_healthy_for_good)
{
    (void)watch(&first, "");
    refuse(1, "12", "");
    expect(&first, 1, EVENER_READY, "");
    cr_assert_eq(virtual_loop_next_deadline_ns(bare.loop), UINT64_MAX);
    advance_ms(3600000);
    cr_assert_eq(last_stream(), 0);
    cr_assert_eq(first.count, 1);
}

Test(http2_health_watch, the_watch_of_one_ends_with_NULL_and_the_others_go_on)
{
    watcher third = {0};
    (void)watch(&first, "a");
    (void)watch(&second, "b");
    (void)watch(&third, "c");
    for (uint32_t stream = 1; stream <= 5; stream += 2) {
        send_headers(stream);
        send_status(stream, 1);
    }
    cr_assert(first.count == 1 && second.count == 1 && third.count == 1);
    cr_assert_eq(watch(&second, NULL), EVENER_STATUS_OK);
    cr_assert_eq(bare.connection->streams, 2);
    send_status(1, 2);
    send_status(5, 2);
    cr_assert(first.count == 2 && second.count == 1 && third.count == 2);
    cr_assert_eq(watch(&second, NULL), EVENER_STATUS_OK, "twice does nothing");
    cr_assert_eq(bare.connection->streams, 2);
    (void)watch(&first, NULL);
    (void)watch(&third, NULL);
    cr_assert_eq(bare.connection->streams, 0);
    cr_assert_eq(atomic_load(&bare.connection->references), 1);
}

Test(http2_health_watch, another_service_takes_the_place)
{
    (void)watch(&first, "a");
    (void)watch(&first, "b");
    cr_assert_eq(bare.connection->streams, 1);
    cr_assert_eq(last_stream(), 3);
    send_headers(3);
    send_status(3, 1);
    expect(&first, 1, EVENER_READY, "");
}

Test(http2_health_watch, nothing_is_reported_after_its_end)
{
    (void)watch(&first, "");
    send_headers(1);
    bare_connection_feed(&bare, DATA, 0, 1, "\0\0\0\0\2\x08\1", 7); /* on its way to the control thread */
    evener_http2_health_stop(bare.connection);
    work();
    cr_assert_eq(first.count, 0);
    cr_assert_eq(bare.connection->streams, 0);
    cr_assert_eq(atomic_load(&bare.connection->references), 1);
}

Test(http2_health_watch, nothing_is_tried_again_after_its_end)
{
    (void)watch(&first, "");
    refuse(1, "14", "not yet");
    cr_assert_neq(virtual_loop_next_deadline_ns(bare.loop), UINT64_MAX);
    evener_http2_health_stop(bare.connection);
    cr_assert_eq(virtual_loop_next_deadline_ns(bare.loop), UINT64_MAX);
    cr_assert_eq(atomic_load(&bare.connection->references), 1);
    cr_assert_eq(first.count, 1);
}

Test(http2_health_watch, names_of_services_are_limited)
{
    static char service[EVENER_HEALTH_SERVICE_BYTES_MAX + 2];
    memset(service, 's', EVENER_HEALTH_SERVICE_BYTES_MAX + 1);
    cr_assert_eq(watch(&first, service), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(bare.connection->streams, 0);
    cr_assert_null(bare.connection->health);
    service[EVENER_HEALTH_SERVICE_BYTES_MAX] = '\0';
    cr_assert_eq(watch(&first, service), EVENER_STATUS_OK);
    cr_assert_eq(last_stream(), 1);
}

Test(http2_health_watch, on_a_connection_that_takes_no_calls_it_reports_nothing)
{
    bare_connection_feed(&bare, GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0", 8);
    cr_assert_eq(atomic_load(&bare.connection->closed_to_calls), 1);
    virtual_loop_run_until_idle(bare.loop);
    atomic_store(&bare.connection->references, 1); /* DROPPED was not taken */
    cr_assert_eq(evener_http2_health_watch(NULL, bare.connection, "", health_changed, &first), EVENER_STATUS_OK);
    virtual_loop_advance_ms(bare.loop, 3600000);
    cr_assert_eq(first.count, 0);
    evener_http2_health_stop(bare.connection);
    cr_assert_eq(atomic_load(&bare.connection->references), 1);
}
