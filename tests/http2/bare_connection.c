#include "http2/bare_connection.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_HEADER_BYTES 9
#define SETTINGS 4
#define PAYLOAD_BYTES_MAX 255

void bare_put_frame(uint8_t **to, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, uint8_t bytes)
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

static void nothing(void *arg)
{
    (void)arg;
}

static void set_defaults(evener_http2_transport *transport)
{
    static char user_agent[] = "grpc-c-evener/1.0.0";
    transport->header_list_bytes_max = transport->header_list_bytes_max > 0 ? transport->header_list_bytes_max : 65536;
    transport->window_bytes = transport->window_bytes > 0 ? transport->window_bytes : 1 << 20;
    transport->user_agent = user_agent;
    transport->user_agent_bytes = sizeof user_agent - 1;
    if (transport->keepalive_time_ns == 0) {
        atomic_init(&transport->keepalive_time_ns, UINT64_MAX);
    }
}

void bare_connection_open(bare_connection *bare, int fd)
{
    static char address[] = "127.0.0.1:1", authority[] = "orders.test";
    set_defaults(&bare->transport);
    bare->loop = virtual_loop_create(1);
    bare->seat = calloc(1, sizeof *bare->seat);
    evener_http2_engine *engine = calloc(1, sizeof *engine);
    evener_connection *connection = evener_cache_aligned_calloc(sizeof *connection);
    if (bare->seat == NULL || engine == NULL || connection == NULL) {
        abort();
    }
    engine->loop = virtual_loop_loop(bare->loop);
    engine->callbacks = evener_http2_session_callbacks();
    engine->option = evener_http2_session_option();
    evener_http2_connection_init(connection, &bare->transport, engine);
    connection->address = address;
    connection->authority = authority;
    connection->authority_bytes = sizeof authority - 1;
    connection->events_task = (evener_task)EVENER_TASK_INIT(nothing, NULL);
    connection->free_task = (evener_task)EVENER_TASK_INIT(nothing, NULL);
    connection->fd = fd;
    atomic_store(&connection->owner, EVENER_HTTP2_OWNER_IO);
    bare->connection = connection;
    if (!evener_http2_session_start(connection)) {
        abort();
    }
    uint8_t settings[FRAME_HEADER_BYTES], *to = settings;
    bare_put_frame(&to, SETTINGS, 0, 0, NULL, 0);
    bare_connection_work(bare);
    evener_http2_connection_feed(connection, settings, sizeof settings);
    bare_connection_work(bare);
}

void bare_connection_feed(bare_connection *bare, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
                          uint8_t bytes)
{
    uint8_t frame[FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX], *to = frame;
    bare_put_frame(&to, type, flags, stream, payload, bytes);
    evener_http2_connection_feed(bare->connection, frame, (size_t)(to - frame));
}

void bare_connection_work(bare_connection *bare)
{
    evener_http2_connection_work(bare->connection, bare->seat, virtual_loop_now_ns(bare->loop));
}

void bare_connection_begin(bare_connection *bare, evener_http2_call *call, const evener_call_events *events,
                           const evener_bytes *request)
{
    const evener_call_begin_args args = {.size = sizeof args,
                                         .events = events,
                                         .method = "/orders.Orders/Get",
                                         .deadline_ns = UINT64_MAX - 1,
                                         .unary = true,
                                         .blocking = true,
                                         .request = request};
    evener_status status;
    if (evener_http2_calls.call_begin(bare->connection, &call->base, &args, &status) != EVENER_STATUS_OK) {
        abort();
    }
}

void bare_connection_close(bare_connection *bare)
{
    evener_http2_engine *engine = bare->connection->engine;
    evener_http2_connection_break(bare->connection, EVENER_STATUS_UNAVAILABLE, "the end");
    while (!evener_http2_link_is_empty(&bare->connection->open)) { /* answers that nobody reads */
        evener_http2_call *call = EVENER_CONTAINER_OF(bare->connection->open.next, evener_http2_call, link);
        evener_http2_call_end(bare->connection, call, EVENER_STATUS_CANCELLED, EVENER_FATE_PERHAPS_PROCESSED, "", 0);
    }
    evener_http2_connection_close(bare->connection);
    evener_http2_connection_free_failure(bare->connection);
    virtual_loop_destroy(bare->loop);
    nghttp2_session_callbacks_del(engine->callbacks);
    nghttp2_option_del(engine->option);
    free(engine);
    free(bare->connection);
    free(bare->seat);
}
