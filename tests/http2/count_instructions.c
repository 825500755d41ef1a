/* Unary calls over a connection of the HTTP/2 transport without sockets or threads, against recorded bytes: for
 * counting instructions under callgrind, which are the same in every run.
 *
 *     count_instructions CALLS [IN_FLIGHT]
 *
 * Fails if a call fails. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/transport/http2/internal.h"
#include "tests/support/virtual_loop.h"

#define IN_FLIGHT_MAX 64
#define FRAME_HEADER_BYTES 9
#define DATA 0
#define HEADERS 1
#define SETTINGS 4
#define END_STREAM 1
#define END_HEADERS 4

static unsigned long failed, answered;

static void on_ended(evener_transport_call *call, const evener_call_end *end)
{
    (void)call;
    answered++;
    failed += end->code != EVENER_STATUS_OK || end->response == NULL || end->response->length != 10;
}

static const evener_call_events events = {.size = sizeof events, .ended = on_ended};
static const evener_bytes request = {.data = (const uint8_t *)"0123456789", .length = 10};

static void put_frame(uint8_t **to, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, uint8_t bytes)
{
    const uint8_t header[FRAME_HEADER_BYTES] = {0,
                                                0,
                                                bytes,
                                                type,
                                                flags,
                                                (uint8_t)(stream >> 24),
                                                (uint8_t)(stream >> 16),
                                                (uint8_t)(stream >> 8),
                                                (uint8_t)stream};
    memcpy(*to, header, sizeof header);
    *to += sizeof header;
    if (bytes > 0) {
        memcpy(*to, payload, bytes);
    }
    *to += bytes;
}

/* What a server of the gRPC core sends, once its header table is warm: names and values by index. */
static void put_answer(uint8_t **to, uint32_t stream, bool is_first)
{
    /* :status 200 (static 8); content-type (static 31), then grpc-status: literals that enter the table, or its
     * indexes */
    static const uint8_t first_headers[] = "\x88\x5f\x10"
                                           "application/grpc";
    static const uint8_t first_trailers[] = "\x40\x0b"
                                            "grpc-status"
                                            "\x01"
                                            "0";
    static const uint8_t headers[] = {0x88, 0xbf}, trailers[] = {0xbe};
    static const uint8_t message[] = "\0\0\0\0\x0a"
                                     "0123456789";
    put_frame(to, HEADERS, END_HEADERS, stream, is_first ? first_headers : headers,
              is_first ? sizeof first_headers - 1 : sizeof headers);
    put_frame(to, DATA, 0, stream, message, sizeof message - 1);
    put_frame(to, HEADERS, END_HEADERS | END_STREAM, stream, is_first ? first_trailers : trailers,
              is_first ? sizeof first_trailers - 1 : sizeof trailers);
}

static void nothing(void *arg)
{
    (void)arg;
}

static evener_connection *make_connection(evener_http2_transport *transport, virtual_loop *loop)
{
    static char user_agent[] = "grpc-c-evener/1.0.0", address[] = "127.0.0.1:1", authority[] = "orders.test";
    transport->header_list_bytes_max = 65536;
    transport->window_bytes = 1 << 20;
    transport->user_agent = user_agent;
    transport->user_agent_bytes = sizeof user_agent - 1;
    atomic_init(&transport->keepalive_time_ns, UINT64_MAX);
    evener_http2_engine *engine = calloc(1, sizeof *engine);
    evener_connection *connection = evener_cache_aligned_calloc(sizeof *connection);
    if (engine == NULL || connection == NULL) {
        abort();
    }
    engine->loop = virtual_loop_loop(loop);
    engine->callbacks = evener_http2_session_callbacks();
    engine->option = evener_http2_session_option();
    evener_http2_connection_init(connection, transport, engine);
    connection->address = address;
    connection->authority = authority;
    connection->authority_bytes = sizeof authority - 1;
    connection->events_task = (evener_task)EVENER_TASK_INIT(nothing, NULL);
    connection->free_task = (evener_task)EVENER_TASK_INIT(nothing, NULL);
    atomic_store(&connection->owner, EVENER_HTTP2_OWNER_IO);
    if (!evener_http2_session_start(connection)) {
        abort();
    }
    return connection;
}

int main(int argc, char **argv)
{
    static evener_http2_transport transport;
    static evener_http2_call calls[IN_FLIGHT_MAX];
    static uint8_t bytes[IN_FLIGHT_MAX * 128];
    const unsigned long wanted = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    const unsigned in_flight = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 16;
    if (in_flight == 0 || in_flight > IN_FLIGHT_MAX) {
        fprintf(stderr, "count_instructions: 1 to %d calls in flight\n", IN_FLIGHT_MAX);
        return 2;
    }
    virtual_loop *loop = virtual_loop_create(1);
    evener_connection *connection = make_connection(&transport, loop);
    evener_http2_seat *seat = calloc(1, sizeof *seat);
    uint8_t *to = bytes;
    uint64_t now_ns = 1;
    put_frame(&to, SETTINGS, 0, 0, NULL, 0);
    evener_http2_connection_work(connection, seat, now_ns);
    evener_http2_connection_feed(connection, bytes, (size_t)(to - bytes));
    for (uint32_t stream = 1; answered < wanted && failed == 0;) {
        to = bytes;
        for (unsigned i = 0; i < in_flight; i++) {
            const evener_call_begin_args args = {.size = sizeof args,
                                                 .events = &events,
                                                 .method = "/orders.Orders/Get",
                                                 .deadline_ns = UINT64_MAX - 1,
                                                 .unary = true,
                                                 .blocking = true, /* so that no thread is woken */
                                                 .request = &request};
            evener_status status;
            failed += evener_http2_calls.call_begin(connection, &calls[i].base, &args, &status) != EVENER_STATUS_OK;
            put_answer(&to, stream, stream == 1);
            stream += 2;
        }
        evener_http2_connection_work(connection, seat, ++now_ns);
        evener_http2_connection_feed(connection, bytes, (size_t)(to - bytes));
    }
    evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "the end");
    evener_http2_connection_close(connection);
    if (failed > 0 || answered < wanted) {
        fprintf(stderr, "count_instructions: %lu of %lu calls failed\n", failed, answered);
        return 1;
    }
    return 0;
}
