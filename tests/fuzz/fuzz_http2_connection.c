/* What a server may send, fed to a connection of the HTTP/2 transport without sockets or threads: unary calls and
 * streams are under way, and each must end exactly once. The first byte of the input says how it is cut into pieces. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <evener/address.h>

#include "lb/transport/http2/internal.h"
#include "tests/support/virtual_loop.h"

#define CALLS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct scene_call {
    evener_http2_call call; /* first: aligned */
    unsigned begun, ended;
    bool stream;
} scene_call;

static void on_headers(evener_transport_call *call, const evener_metadata *metadata, size_t count)
{
    (void)call;
    for (size_t i = 0; i < count; i++) {
        if (strlen(metadata[i].key) == 0 || metadata[i].value[metadata[i].value_bytes] != '\0') {
            abort();
        }
    }
}

static void on_message(evener_transport_call *call, evener_bytes *message)
{
    evener_bytes_clear(message);
    evener_http2_calls.call_read(call);
}

static void on_written(evener_transport_call *call)
{
    (void)call;
}

static void on_ended(evener_transport_call *call, const evener_call_end *end)
{
    scene_call *self = call->arg;
    self->ended++;
    if (self->ended != 1 || strlen(end->message) > end->message_bytes) {
        abort();
    }
    if (!self->stream && end->code == EVENER_STATUS_OK && end->response == NULL) {
        abort();
    }
    on_headers(call, end->trailing, end->trailing_count);
}

static const evener_call_events events = {
    .size = sizeof events, .headers = on_headers, .message = on_message, .written = on_written, .ended = on_ended};

static const evener_bytes request = {.data = (const uint8_t *)"hello", .length = 5};

static void begin(evener_connection *connection, scene_call *self, unsigned index)
{
    const evener_transport_calls *calls = &evener_http2_calls;
    self->stream = index % 2 == 1;
    self->call.base.arg = self;
    const evener_call_begin_args args = {.size = sizeof args,
                                         .events = &events,
                                         .method = "/fuzz.Service/Method",
                                         .deadline_ns = UINT64_MAX,
                                         .unary = !self->stream,
                                         .blocking = true, /* so that no thread is woken */
                                         .wants_metadata = true,
                                         .request = &request,
                                         .receive_bytes_max = 100000};
    evener_status status;
    if (calls->call_begin(connection, &self->call.base, &args, &status) == EVENER_STATUS_OK) {
        self->begun = 1;
        if (self->stream) {
            calls->call_write(&self->call.base, &request, index % 4 == 1);
            if (index != CALLS - 1) { /* one is never read */
                calls->call_read(&self->call.base);
            }
        }
    }
}

static void nothing(void *arg)
{
    (void)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static evener_http2_seat *seat;
    static evener_http2_engine *engine;
    static virtual_loop *loop;
    if (seat == NULL) {
        seat = calloc(1, sizeof *seat);
        loop = virtual_loop_create(1);
        engine = calloc(1, sizeof *engine);
        engine->loop = virtual_loop_loop(loop);
        engine->callbacks = evener_http2_session_callbacks();
        engine->option = evener_http2_session_option();
    }
    static char user_agent[] = "fuzz";
    static evener_http2_transport transport = {.keepalive_time_ns = UINT64_MAX,
                                               .header_list_bytes_max = 8192,
                                               .window_bytes = 65536,
                                               .user_agent = user_agent,
                                               .user_agent_bytes = 4};
    static char address[] = "127.0.0.1:1";
    static char authority[] = "fuzz.test";
    evener_connection *connection = evener_cache_aligned_calloc(sizeof *connection);
    evener_http2_connection_init(connection, &transport, engine);
    connection->address = address;
    connection->authority = authority;
    connection->authority_bytes = sizeof authority - 1;
    connection->events_task = (evener_task)EVENER_TASK_INIT(nothing, NULL);
    connection->free_task = (evener_task)EVENER_TASK_INIT(nothing, NULL);
    atomic_store(&connection->owner, EVENER_HTTP2_OWNER_IO);
    if (!evener_http2_session_start(connection)) {
        abort();
    }
    scene_call *calls = evener_cache_aligned_calloc(sizeof(scene_call) * CALLS);
    const size_t piece = size > 0 ? (size_t)data[0] + 1 : 1;
    unsigned begun = 0;
    uint64_t now_ns = 1;
    for (size_t at = 1; at < size; at += piece) {
        evener_http2_connection_work(connection, seat, now_ns++);
        if (connection->phase == EVENER_HTTP2_PHASE_OPEN) {
            while (begun < CALLS) {
                begin(connection, &calls[begun], begun);
                begun++;
            }
            evener_http2_connection_work(connection, seat, now_ns++);
        }
        if (connection->phase == EVENER_HTTP2_PHASE_CLOSED) {
            break;
        }
        evener_http2_connection_feed(connection, data + at, size - at < piece ? size - at : piece);
    }
    if (connection->phase != EVENER_HTTP2_PHASE_CLOSED) {
        evener_http2_connection_work(connection, seat, now_ns);
    }
    evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "the end");
    if (calls[CALLS - 1].begun != 0) {
        evener_http2_calls.call_read(&calls[CALLS - 1].call.base); /* its answer may be complete */
    }
    evener_http2_connection_operate(connection);
    for (unsigned i = 0; i < CALLS; i++) {
        if (calls[i].begun != calls[i].ended) {
            abort();
        }
    }
    evener_http2_connection_close(connection);
    evener_http2_connection_free_failure(connection);
    (void)virtual_loop_run_until_idle(loop);
    free(calls);
    free(connection);
    return 0;
}
