#include "http2/fixture.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/address.h>

#define WAIT_S 20

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "http2 fixture: %s: %s\n", what, why);
    abort();
}

static void await(const char *what, bool (*is_so)(void *), void *arg)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&lock);
    while (!is_so(arg)) {
        if (pthread_cond_timedwait(&changed, &lock, &until) != 0) {
            die(what, "did not come");
        }
    }
    pthread_mutex_unlock(&lock);
}

/* ---- fixture ---- */

void h2_open(h2_fixture *fixture, const evener_http2_transport_options *options)
{
    static const evener_http2_transport_options none = {.size = sizeof none};
    evener_status status;
    if (evener_runtime_create(NULL, &fixture->runtime, &status) != EVENER_STATUS_OK ||
        evener_http2_transport_create(fixture->runtime, options != NULL ? options : &none, &fixture->transport,
                                      &status) != EVENER_STATUS_OK) {
        die("open", status.message);
    }
}

static void destroy_transport(void *arg)
{
    h2_fixture *fixture = arg;
    fixture->transport->vtable->destroy(fixture->transport);
}

void h2_close(h2_fixture *fixture)
{
    evener_runtime_call(fixture->runtime, destroy_transport, fixture);
    evener_runtime_unref(fixture->runtime);
}

/* ---- connections ---- */

static void state_changed(void *arg, evener_connectivity_state state, const evener_status *status)
{
    h2_peer *peer = arg;
    pthread_mutex_lock(&lock);
    assert(peer->count < H2_EVENTS_MAX);
    peer->states[peer->count] = state;
    peer->statuses[peer->count++] = *status;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

typedef struct connect_request {
    h2_peer *peer;
    evener_connect_args args;
    evener_status_code code;
    evener_status status;
} connect_request;

static void connect_now(void *arg)
{
    connect_request *request = arg;
    evener_transport *transport = request->peer->fixture->transport;
    request->code = transport->vtable->connect(transport, &request->args, &request->peer->connection, &request->status);
}

h2_peer *h2_connect(h2_fixture *fixture, const char *address_text, const char *authority)
{
    evener_status status;
    evener_address *address;
    if (evener_address_create(address_text, NULL, 0, &address, &status) != EVENER_STATUS_OK) {
        die("address", status.message);
    }
    h2_peer *peer = calloc(1, sizeof *peer);
    peer->fixture = fixture;
    connect_request request = {.peer = peer,
                               .args = {.size = sizeof request.args,
                                        .address = address,
                                        .authority = authority != NULL ? authority : "orders.test",
                                        .timeout_ms = 20000,
                                        .state_changed = state_changed,
                                        .arg = peer}};
    evener_runtime_call(fixture->runtime, connect_now, &request);
    evener_address_unref(address);
    if (request.code != EVENER_STATUS_OK) {
        die("connect", request.status.message);
    }
    return peer;
}

h2_peer *h2_connect_port(h2_fixture *fixture, uint16_t port)
{
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)port);
    return h2_connect(fixture, address, NULL);
}

typedef struct wanted_count {
    h2_peer *peer;
    unsigned count;
} wanted_count;

static bool has_count(void *arg)
{
    const wanted_count *wanted = arg;
    return wanted->peer->count >= wanted->count;
}

evener_connectivity_state h2_wait_state(h2_peer *peer, unsigned count)
{
    wanted_count wanted = {peer, count};
    await("a state", has_count, &wanted);
    return peer->states[count - 1];
}

const char *h2_state_message(h2_peer *peer, unsigned count)
{
    (void)h2_wait_state(peer, count);
    return peer->statuses[count - 1].message;
}

unsigned h2_state_count(h2_peer *peer)
{
    pthread_mutex_lock(&lock);
    const unsigned count = peer->count;
    pthread_mutex_unlock(&lock);
    return count;
}

static void disconnect_now(void *arg)
{
    h2_peer *peer = arg;
    if (!peer->given_up) {
        peer->given_up = true;
        peer->fixture->transport->vtable->disconnect(peer->fixture->transport, peer->connection);
    }
}

void h2_disconnect(h2_peer *peer)
{
    evener_runtime_call(peer->fixture->runtime, disconnect_now, peer);
}

void h2_forget(h2_peer *peer)
{
    h2_disconnect(peer);
    free(peer);
}

/* ---- calls ---- */

struct h2_call {
    evener_transport_call *call;
    const evener_transport_calls *calls;
    h2_peer *peer;
    h2_call_options options;
    evener_bytes request;
    evener_bytes writing;
    uint32_t word; /* 1: ended */
    h2_result result;
    bool ended, is_blocking;
    unsigned written, writes;
    unsigned reads;
    char *message;
    size_t message_bytes;
    bool has_message;
};

static void append(char **text, const evener_metadata *metadata, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const size_t before = *text != NULL ? strlen(*text) : 0;
        const size_t bytes = strlen(metadata[i].key) + metadata[i].value_bytes + 3;
        *text = realloc(*text, before + bytes);
        snprintf(*text + before, bytes, "%s=%.*s\n", metadata[i].key, (int)metadata[i].value_bytes, metadata[i].value);
    }
}

static void on_headers(evener_transport_call *call, const evener_metadata *metadata, size_t count)
{
    h2_call *self = call->arg;
    pthread_mutex_lock(&lock);
    append(&self->result.headers, metadata, count);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void on_message(evener_transport_call *call, evener_bytes *message)
{
    h2_call *self = call->arg;
    pthread_mutex_lock(&lock);
    assert(!self->has_message && self->reads > 0);
    self->reads--;
    self->message = malloc(message->length + 1);
    memcpy(self->message, message->data, message->length);
    self->message[message->length] = '\0';
    self->message_bytes = message->length;
    self->has_message = true;
    evener_bytes_clear(message);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void on_written(evener_transport_call *call)
{
    h2_call *self = call->arg;
    pthread_mutex_lock(&lock);
    self->written++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void fill(h2_result *result, const evener_call_end *end)
{
    assert(strlen(end->message) == end->message_bytes);
    result->code = end->code;
    result->message = strdup(end->message);
    result->fate = end->fate;
    result->connection_gone = end->connection_gone;
    append(&result->trailers, end->trailing, end->trailing_count);
    if (end->load_report != NULL) {
        result->load_report_bytes = end->load_report_bytes < 64 ? end->load_report_bytes : 64;
        memcpy(result->load_report, end->load_report, result->load_report_bytes);
    }
    if (end->response != NULL) {
        result->response_bytes = end->response->length;
        result->response = malloc(end->response->length + 1);
        memcpy(result->response, end->response->data, end->response->length);
    }
}

static void on_ended(evener_transport_call *call, const evener_call_end *end)
{
    h2_call *self = call->arg;
    fill(&self->result, end);
    void (*const ended)(void *) = self->options.ended;
    if (self->is_blocking) {
        if (ended != NULL) {
            ended(self->options.arg);
        }
        evener_wait_word_set(&self->word, 1);
        return;
    }
    void *const arg = self->options.arg;
    pthread_mutex_lock(&lock);
    assert(!self->ended);
    self->ended = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (ended != NULL) {
        ended(arg);
    }
}

static const evener_call_events events = {
    .size = sizeof events, .headers = on_headers, .message = on_message, .written = on_written, .ended = on_ended};

static h2_call *make(h2_peer *peer, const h2_call_options *options, bool is_blocking)
{
    h2_call *self = calloc(1, sizeof *self);
    self->calls = &evener_http2_calls;
    const size_t bytes = (self->calls->call_bytes + 63) & ~(size_t)63;
    self->call = aligned_alloc(64, bytes);
    memset(self->call, 0, bytes);
    self->call->arg = self;
    self->peer = peer;
    self->options = *options;
    self->is_blocking = is_blocking;
    self->request = (evener_bytes){.data = options->request, .length = options->request_bytes};
    return self;
}

static evener_status_code start(h2_call *self, evener_status *status, uint64_t *deadline_ns)
{
    const h2_call_options *options = &self->options;
    *deadline_ns = options->timeout_ms > 0 ? evener_loop_now_ns(evener_runtime_loop(self->peer->fixture->runtime)) +
                                                 options->timeout_ms * EVENER_NS_PER_MS
                                           : UINT64_MAX;
    const evener_call_begin_args args = {
        .size = sizeof args,
        .events = &events,
        .method = options->method != NULL ? options->method
                  : options->stream       ? H2_ECHO_STREAM
                                          : H2_ECHO,
        .authority = options->authority,
        .metadata = options->metadata,
        .metadata_count = options->metadata_count,
        .deadline_ns = *deadline_ns,
        .unary = !options->stream,
        .blocking = self->is_blocking,
        .wants_metadata = options->wants_metadata,
        .request = options->request != NULL ? &self->request : NULL,
        .compression = options->compression,
        .receive_bytes_max = options->receive_bytes_max,
        .send_bytes_max = options->send_bytes_max,
        .previous_attempts = options->previous_attempts,
    };
    return self->calls->call_begin(self->peer->connection, self->call, &args, status);
}

h2_call *h2_call_start(h2_peer *peer, const h2_call_options *options, evener_status *status)
{
    h2_call *self = make(peer, options, false);
    uint64_t deadline_ns;
    evener_status ignored;
    if (start(self, status != NULL ? status : &ignored, &deadline_ns) != EVENER_STATUS_OK) {
        h2_call_free(self);
        return NULL;
    }
    return self;
}

evener_status_code h2_call_blocking(h2_peer *peer, const h2_call_options *options, h2_result *result)
{
    h2_call *self = make(peer, options, true);
    evener_status status;
    uint64_t deadline_ns;
    const evener_status_code code = start(self, &status, &deadline_ns);
    if (code != EVENER_STATUS_OK) {
        *result = (h2_result){.code = code,
                              .message = strdup(status.message),
                              .fate = EVENER_FATE_NEVER_LEFT,
                              .connection_gone = code == EVENER_STATUS_UNAVAILABLE};
    } else {
        while ((__atomic_load_n(&self->word, __ATOMIC_ACQUIRE) & ~EVENER_WAIT_BITS) == 0) {
            self->calls->call_wait(self->call, &self->word, 0, UINT64_MAX);
        }
        *result = self->result;
        self->result = (h2_result){0};
    }
    h2_call_free(self);
    return result->code;
}

static bool has_ended(void *arg)
{
    return ((h2_call *)arg)->ended;
}

const h2_result *h2_call_wait(h2_call *self)
{
    await("the end of a call", has_ended, self);
    return &self->result;
}

bool h2_call_has_ended(h2_call *self)
{
    pthread_mutex_lock(&lock);
    const bool ended = self->ended;
    pthread_mutex_unlock(&lock);
    return ended;
}

void h2_call_cancel(h2_call *self, evener_status_code code, const char *message)
{
    self->calls->call_cancel(self->call, code, message);
}

void h2_result_clear(h2_result *result)
{
    free(result->message);
    free(result->response);
    free(result->headers);
    free(result->trailers);
    *result = (h2_result){0};
}

void h2_call_free(h2_call *self)
{
    if (self != NULL) {
        h2_result_clear(&self->result);
        free(self->message);
        free(self->call);
        free(self);
    }
}

/* ---- streams ---- */

static bool has_written(void *arg)
{
    const h2_call *self = arg;
    return self->ended || self->written == self->writes;
}

bool h2_stream_write(h2_call *self, const void *message, size_t bytes, bool last)
{
    self->writing = (evener_bytes){.data = message, .length = bytes};
    pthread_mutex_lock(&lock);
    self->writes++;
    pthread_mutex_unlock(&lock);
    self->calls->call_write(self->call, &self->writing, last);
    await("a write", has_written, self);
    pthread_mutex_lock(&lock);
    const bool is_written = self->written == self->writes; /* the call may have ended after that */
    pthread_mutex_unlock(&lock);
    return is_written;
}

void h2_stream_half_close(h2_call *self)
{
    self->calls->call_half_close(self->call);
}

static bool has_message(void *arg)
{
    const h2_call *self = arg;
    return self->ended || self->has_message;
}

void h2_stream_read_start(h2_call *self)
{
    pthread_mutex_lock(&lock);
    self->reads++;
    pthread_mutex_unlock(&lock);
    self->calls->call_read(self->call);
}

char *h2_stream_read_wait(h2_call *self, size_t *bytes)
{
    await("a message", has_message, self);
    pthread_mutex_lock(&lock);
    char *message = NULL;
    if (self->has_message) {
        message = self->message;
        self->message = NULL;
        self->has_message = false;
        if (bytes != NULL) {
            *bytes = self->message_bytes;
        }
    }
    pthread_mutex_unlock(&lock);
    return message;
}

char *h2_stream_read(h2_call *self, size_t *bytes)
{
    h2_stream_read_start(self);
    return h2_stream_read_wait(self, bytes);
}
