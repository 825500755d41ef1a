/* Server streams: each message is a line, {"result":...}; a failure after the first message is the last line,
 * {"error":...}. The next message is asked for when the one before has gone to the client, so a slow client holds
 * the server back. */
#include "examples/gateway/gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gateway_stream {
    gateway_request *request;
    evener_stream *stream;
    bool has_message; /* with the request's mutex, as `message` */
    evener_bytes message;
    /* on the thread of the HTTP server: */
    char *line;
    size_t line_length, line_sent;
    bool last_line;
};

/* ---- evener's callbacks ---- */

static void message_came(void *arg, evener_bytes *message)
{
    gateway_stream *self = arg;
    pthread_mutex_lock(&self->request->mutex);
    self->message = *message;
    self->has_message = true;
    gateway_request_wake(self->request);
    pthread_mutex_unlock(&self->request->mutex);
}

static void stream_ended(void *arg, const evener_status *status)
{
    gateway_stream *self = arg;
    gateway_request *request = self->request;
    pthread_mutex_lock(&request->mutex);
    request->status = *status;
    request->call_ended = true;
    gateway_request_wake(request);
    pthread_mutex_unlock(&request->mutex);
    gateway_request_unref(request);
}

evener_status_code gateway_stream_start(gateway_request *request, const evener_bytes *message,
                                        const evener_call_options *options, evener_status *status)
{
    static const evener_stream_callbacks callbacks = {
        .size = sizeof callbacks, .message = message_came, .ended = stream_ended};
    gateway_stream *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    self->request = request;
    gateway_request_ref(request); /* the call's */
    pthread_mutex_lock(&request->mutex);
    gateway_request_sleep(request);
    const evener_status_code code =
        evener_stream_start(request->owner->channel, evener_http_match_route(request->match)->method->path, message,
                            options, &callbacks, self, &self->stream, status);
    if (code != EVENER_STATUS_OK) {
        free(self);
        gateway_request_wake(request);
        gateway_request_unref(request);
    } else {
        request->stream = self;
        request->call_started = true;
    }
    pthread_mutex_unlock(&request->mutex);
    if (code == EVENER_STATUS_OK) {
        (void)evener_stream_ask(self->stream); /* false: it has ended, which is reported */
    }
    return code;
}

void gateway_stream_cancel(gateway_stream *self)
{
    evener_stream_cancel(self->stream);
}

void gateway_stream_free(gateway_stream *self)
{
    if (self != NULL) {
        evener_stream_unref(self->stream);
        evener_bytes_clear(&self->message);
        free(self->line);
        free(self);
    }
}

/* ---- the answer ---- */

/* Make a line of `{"KEY":JSON}`; takes over the JSON. False: out of memory. */
static bool make_line(gateway_stream *self, const char *key, char *json)
{
    free(self->line);
    self->line = NULL;
    const int length = json != NULL ? asprintf(&self->line, "{\"%s\":%s}\n", key, json) : -1;
    if (length < 0) {
        self->line = NULL;
    }
    free(json);
    self->line_length = length > 0 ? (size_t)length : 0;
    self->line_sent = 0;
    return length >= 0;
}

/* Make the last line. `details` are those of the ended call, or NULL. */
static bool make_error_line(gateway_stream *self, const evener_status *status, const evener_call_details *details)
{
    self->last_line = true;
    return make_line(self, "error", gateway_error_json(self->request, status, details));
}

/* Turn a message into the next line. A message that is none ends the answer with an error. */
static bool make_message_line(gateway_stream *self, evener_bytes *message)
{
    const gateway_request *request = self->request;
    evener_status status;
    char *json = NULL;
    const evener_status_code code = evener_http_routes_response(
        request->owner->routes, evener_http_match_route(request->match), message, &json, &status);
    evener_bytes_clear(message);
    if (code != EVENER_STATUS_OK) {
        evener_stream_cancel(self->stream);
        return make_error_line(self, &status, NULL);
    }
    return make_line(self, "result", json);
}

/* Deliver what is there to the HTTP server, or let the connection sleep until there is something. */
static ssize_t read_answer(void *arg, uint64_t position, char *to, size_t room)
{
    (void)position;
    gateway_stream *self = arg;
    gateway_request *request = self->request;
    bool ok = true;
    if (self->line_sent == self->line_length) {
        if (self->last_line) {
            return MHD_CONTENT_READER_END_OF_STREAM;
        }
        pthread_mutex_lock(&request->mutex);
        const bool has_message = self->has_message;
        const bool ended = !has_message && request->call_ended;
        evener_bytes message = self->message;
        if (has_message) {
            self->message = (evener_bytes){0};
            self->has_message = false;
        } else if (!ended) {
            gateway_request_sleep(request);
        }
        const evener_status status = request->status;
        pthread_mutex_unlock(&request->mutex);
        if (has_message) {
            ok = make_message_line(self, &message);
            (void)evener_stream_ask(self->stream);
        } else if (!ended) {
            return 0;
        } else if (status.code == EVENER_STATUS_OK) {
            return MHD_CONTENT_READER_END_OF_STREAM;
        } else {
            ok = make_error_line(self, &status, &request->details);
        }
        if (!ok) {
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
    }
    size_t length = self->line_length - self->line_sent;
    length = length < room ? length : room;
    memcpy(to, self->line + self->line_sent, length);
    self->line_sent += length;
    return (ssize_t)length;
}

enum MHD_Result gateway_stream_answer(gateway_request *request)
{
    gateway_stream *self = request->stream;
    pthread_mutex_lock(&request->mutex);
    const bool has_message = self->has_message;
    const bool ended = request->call_ended;
    const evener_status status = request->status;
    if (!has_message && !ended) {
        gateway_request_sleep(request); /* woken for nothing */
    }
    pthread_mutex_unlock(&request->mutex);
    if (!has_message && !ended) {
        return MHD_YES;
    }
    if (!has_message && status.code != EVENER_STATUS_OK) {
        return gateway_answer_error(request, 0, &status, &request->details);
    }
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read_answer, self, NULL);
    if (response == NULL) {
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/x-ndjson");
    evener_call_details known = {.size = sizeof known};
    /* Does not wait: the server's headers come before its first message, and none come after the end. */
    if (evener_stream_headers(self->stream, &known.initial_metadata, &known.initial_metadata_count)) {
        gateway_headers_add(response, &known);
    }
    const enum MHD_Result queued = MHD_queue_response(request->connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return queued;
}
