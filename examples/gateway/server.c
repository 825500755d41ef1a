#include "examples/gateway/gateway.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 10000
#define SERVER_THREADS 2
#define PASS_MS 50           /* between attempts to cancel all calls */
#define LAST_ANSWERS_MS 2000 /* for the answers of cancelled calls */

/* ---- a request from its first byte on ---- */

/* Keep the target as it came: MHD's own is decoded, and "%2F" would become "/". The result is the request's. */
static void *begin(void *arg, const char *target, struct MHD_Connection *connection)
{
    gateway_request *request = calloc(1, sizeof *request);
    const char *mark = strchr(target, '?');
    char *path = mark != NULL ? strndup(target, (size_t)(mark - target)) : strdup(target);
    char *query = mark != NULL ? strdup(mark + 1) : NULL;
    if (request == NULL || path == NULL || (mark != NULL && query == NULL)) {
        free(request);
        free(path);
        free(query);
        return NULL;
    }
    request->owner = arg;
    request->connection = connection;
    request->target = path;
    request->query = query;
    request->details.size = sizeof request->details;
    atomic_init(&request->references, 1);
    pthread_mutex_init(&request->mutex, NULL);
    return request;
}

/* MHD keeps the target encoded. */
static size_t leave_encoded(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg;
    (void)connection;
    return strlen(text);
}

static void list(gateway_request *request)
{
    gateway *owner = request->owner;
    pthread_mutex_lock(&owner->mutex);
    request->next = owner->first;
    if (owner->first != NULL) {
        owner->first->previous = request;
    }
    owner->first = request;
    owner->request_count++;
    request->listed = true;
    pthread_mutex_unlock(&owner->mutex);
}

static void unlist(gateway_request *request)
{
    gateway *owner = request->owner;
    pthread_mutex_lock(&owner->mutex);
    if (request->previous != NULL) {
        request->previous->next = request->next;
    } else {
        owner->first = request->next;
    }
    if (request->next != NULL) {
        request->next->previous = request->previous;
    }
    owner->request_count--;
    pthread_cond_broadcast(&owner->changed);
    pthread_mutex_unlock(&owner->mutex);
}

static void completed(void *arg, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode how)
{
    (void)arg;
    (void)connection;
    (void)how;
    gateway_request *request = *state;
    *state = NULL;
    if (request == NULL) {
        return;
    }
    pthread_mutex_lock(&request->mutex);
    request->connection = NULL;
    request->suspended = false;
    const bool is_abandoned = request->call_started && !request->call_ended;
    pthread_mutex_unlock(&request->mutex);
    if (is_abandoned) {
        gateway_request_cancel(request); /* the client is gone */
    }
    if (request->listed) {
        unlist(request);
    }
    gateway_request_unref(request);
}

static void keep_body(gateway_request *request, const char *data, size_t length)
{
    if (length > GATEWAY_BODY_BYTES_MAX - request->body_length) {
        request->body_too_large = true;
        request->body_length = 0;
    }
    if (request->body_too_large || request->body_out_of_memory) {
        return;
    }
    if (length > request->body_room - request->body_length) {
        const size_t room = 2 * request->body_room + length;
        char *body = realloc(request->body, room);
        if (body == NULL) {
            request->body_out_of_memory = true;
            return;
        }
        request->body = body;
        request->body_room = room;
    }
    memcpy(request->body + request->body_length, data, length);
    request->body_length += length;
}

/* ---- what answers it ---- */

static enum MHD_Result answer_document(gateway_request *request, const char *type, const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Content-Security-Policy",
                            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
                            "connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'");
    const enum MHD_Result queued = MHD_queue_response(request->connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result start_call(gateway_request *request)
{
    const evener_http_route *route = evener_http_match_route(request->match);
    evener_status status;
    evener_bytes message = {0};
    gateway_call_headers headers = {0};
    if (route->method->client_streaming) {
        evener_status_set(&status, EVENER_STATUS_UNIMPLEMENTED,
                          "%s takes a stream of requests, and HTTP/1.1 carries one", route->method->full_name);
        return gateway_answer_error(request, 0, &status, NULL);
    }
    evener_status_code code = evener_http_match_request(request->match, request->query, request->body,
                                                        request->body_length, &message, &status);
    /* JSON beyond a limit is the client's doing: 400, not 429. */
    const unsigned http_status = code == EVENER_STATUS_RESOURCE_EXHAUSTED ? MHD_HTTP_BAD_REQUEST : 0;
    if (code == EVENER_STATUS_OK) {
        code = gateway_headers_read(request->connection, &headers, &status);
    }
    if (code == EVENER_STATUS_OK) {
        const evener_call_options options = {.size = sizeof options,
                                             .timeout_ms = headers.timeout_ms,
                                             .metadata = headers.metadata,
                                             .metadata_count = headers.metadata_count,
                                             .details = &request->details};
        code = route->method->server_streaming ? gateway_stream_start(request, &message, &options, &status)
                                               : gateway_unary_start(request, &message, &options, &status);
    }
    gateway_headers_clear(&headers);
    evener_bytes_clear(&message);
    return code == EVENER_STATUS_OK ? MHD_YES : gateway_answer_error(request, http_status, &status, NULL);
}

/* Note that the request's call is being started, after which it may sleep. False: no call may start any more. */
static bool may_start(gateway_request *request)
{
    gateway *owner = request->owner;
    pthread_mutex_lock(&owner->mutex);
    request->starting = !owner->no_calls;
    pthread_mutex_unlock(&owner->mutex);
    return request->starting;
}

static void has_started(gateway_request *request)
{
    pthread_mutex_lock(&request->owner->mutex);
    request->starting = false;
    pthread_mutex_unlock(&request->owner->mutex);
}

static enum MHD_Result dispatch(gateway_request *request, const char *verb)
{
    const gateway *owner = request->owner;
    evener_status status;
    if (request->body_too_large) {
        evener_status_set(&status, EVENER_STATUS_RESOURCE_EXHAUSTED, "the body has more than %d bytes",
                          GATEWAY_BODY_BYTES_MAX);
        return gateway_answer_error(request, MHD_HTTP_CONTENT_TOO_LARGE, &status, NULL);
    }
    if (request->body_out_of_memory) {
        evener_status_set(&status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return gateway_answer_error(request, 0, &status, NULL);
    }
    const evener_status_code code =
        evener_http_routes_find(owner->routes, verb, request->target, &request->match, &status);
    if (code == EVENER_STATUS_OK && !may_start(request)) {
        evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "the gateway is stopping");
        return gateway_answer_error(request, 0, &status, NULL);
    }
    if (code == EVENER_STATUS_OK) {
        const enum MHD_Result result = start_call(request);
        has_started(request);
        return result;
    }
    const bool reads = strcmp(verb, MHD_HTTP_METHOD_GET) == 0 || strcmp(verb, MHD_HTTP_METHOD_HEAD) == 0;
    if (reads && strcmp(request->target, "/") == 0) {
        return answer_document(request, "text/html; charset=utf-8", owner->page);
    }
    if (reads && strcmp(request->target, "/openapi.yaml") == 0) {
        return answer_document(request, "application/yaml", owner->openapi);
    }
    return gateway_answer_error(request, code == EVENER_STATUS_UNIMPLEMENTED ? MHD_HTTP_METHOD_NOT_ALLOWED : 0, &status,
                                NULL);
}

/* MHD calls this for the headers, for each piece of the body, at its end, and when a sleeping request is woken. */
static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url, const char *verb,
                              const char *version, const char *data, size_t *data_bytes, void **state)
{
    (void)arg;
    (void)connection;
    (void)url;
    (void)version;
    gateway_request *request = *state;
    if (request == NULL) {
        return MHD_NO; /* no memory */
    }
    if (!request->listed) {
        list(request);
        return MHD_YES;
    }
    if (*data_bytes > 0) {
        keep_body(request, data, *data_bytes);
        *data_bytes = 0;
        return MHD_YES;
    }
    if (request->stream != NULL) {
        return gateway_stream_answer(request);
    }
    return request->call_started ? gateway_unary_answer(request) : dispatch(request, verb);
}

/* ---- start and stop ---- */

/* getaddrinfo() takes 99999 for 34463. */
static bool is_port(const char *text)
{
    const size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits <= 5 && text[digits] == '\0' && strtoul(text, NULL, 10) <= UINT16_MAX;
}

/* Split "ADDRESS:PORT" and resolve it. */
static bool find_address(const char *text, struct sockaddr_storage *address, char *error, size_t error_room)
{
    char host[256];
    const char *colon = strrchr(text, ':');
    size_t length = colon != NULL ? (size_t)(colon - text) : 0;
    const bool in_brackets = length >= 2 && text[0] == '[' && text[length - 1] == ']';
    if (colon == NULL || length >= sizeof host || colon[1] == '\0') {
        snprintf(error, error_room, "--listen %s: ADDRESS:PORT is needed", text);
        return false;
    }
    if (!is_port(colon + 1)) {
        snprintf(error, error_room, "--listen %s: a port is a number from 0 to 65535", text);
        return false;
    }
    length -= in_brackets ? 2 : 0;
    memcpy(host, text + (in_brackets ? 1 : 0), length);
    host[length] = '\0';
    struct addrinfo *found;
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    const int failure = getaddrinfo(length > 0 ? host : NULL, colon + 1, &hints, &found);
    if (failure != 0) {
        snprintf(error, error_room, "--listen %s: %s", text, gai_strerror(failure));
        return false;
    }
    memset(address, 0, sizeof *address);
    memcpy(address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

static void quiet(void *arg, const char *format, va_list arguments)
{
    (void)arg;
    (void)format;
    (void)arguments;
}

/* Return whether a new connection is served. MHD_quiesce_daemon() is no way to end that: with it libmicrohttpd 0.9.75 ends
 * the program now and then, by "Failed to remove listen FD from epoll set", also if the socket stays open. */
static enum MHD_Result accepts(void *arg, const struct sockaddr *peer, socklen_t bytes)
{
    gateway *self = arg;
    (void)peer, (void)bytes;
    return atomic_load_explicit(&self->closed, memory_order_relaxed) ? MHD_NO : MHD_YES;
}

bool gateway_start(gateway *self, const char *text, char *error, size_t error_room)
{
    struct sockaddr_storage address;
    if (!find_address(text, &address, error, error_room)) {
        return false;
    }
    pthread_mutex_init(&self->mutex, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&self->changed, &clock);
    pthread_condattr_destroy(&clock);
    unsigned flags =
        MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    flags |= address.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0;
    struct MHD_OptionItem tls[] = {{MHD_OPTION_END, 0, NULL}, {MHD_OPTION_END, 0, NULL}, {MHD_OPTION_END, 0, NULL}};
    if (self->certificate != NULL) {
        if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) {
            snprintf(error, error_room, "--tls-cert: libmicrohttpd was built without TLS");
            pthread_cond_destroy(&self->changed);
            pthread_mutex_destroy(&self->mutex);
            return false;
        }
        flags |= MHD_USE_TLS;
        tls[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)self->certificate};
        tls[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)self->key};
    }
    errno = 0;
    self->daemon = MHD_start_daemon(
        flags, 0, accepts, self, handle, self, MHD_OPTION_EXTERNAL_LOGGER, quiet, NULL, MHD_OPTION_SOCK_ADDR, &address,
        MHD_OPTION_URI_LOG_CALLBACK, begin, self, MHD_OPTION_UNESCAPE_CALLBACK, leave_encoded, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, completed, self, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)GATEWAY_HEADER_BYTES_MAX, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)GATEWAY_IDLE_S, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)SERVER_THREADS,
        MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (self->daemon == NULL) {
        /* libmicrohttpd returns no reason, and errno is of the last system call that it made: a hint only. */
        const char *hint = errno != 0 ? strerror(errno) : "no reason is known";
        snprintf(error, error_room, "--listen %s: the server cannot start: %s%s", text, hint,
                 self->certificate != NULL ? "; if the address is free, are certificate and key a pair in PEM?" : "");
        pthread_cond_destroy(&self->changed);
        pthread_mutex_destroy(&self->mutex);
        return false;
    }
    const union MHD_DaemonInfo *port = MHD_get_daemon_info(self->daemon, MHD_DAEMON_INFO_BIND_PORT);
    self->port = port != NULL ? port->port : 0;
    return true;
}

/* Wait until no request is under way, at most until `deadline`. With the mutex. */
static void wait_for_requests(gateway *self, const struct timespec *deadline)
{
    int result = 0;
    while (self->request_count > 0 && result != ETIMEDOUT) {
        result = pthread_cond_timedwait(&self->changed, &self->mutex, deadline);
    }
}

static struct timespec after_ms(uint64_t ms)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += (time_t)(ms / 1000);
    time.tv_nsec += (long)(ms % 1000 * 1000000);
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

/* Cancel the calls of all requests. Return whether a connection may sleep: a call starts, or has not ended. With the
 * mutex. */
static bool cancel_calls(gateway *self)
{
    bool may_sleep = false;
    for (gateway_request *request = self->first; request != NULL; request = request->next) {
        gateway_request_cancel(request);
        pthread_mutex_lock(&request->mutex);
        may_sleep |= request->starting || (request->call_started && !request->call_ended);
        pthread_mutex_unlock(&request->mutex);
    }
    return may_sleep;
}

void gateway_stop(gateway *self, uint64_t grace_ms)
{
    atomic_store_explicit(&self->closed, true, memory_order_relaxed);
    struct timespec deadline = after_ms(grace_ms);
    pthread_mutex_lock(&self->mutex);
    self->stopping = true;
    wait_for_requests(self, &deadline);
    self->no_calls = true;
    /* MHD must not be stopped while connections sleep: cancelled calls wake them. Requests without a call, which arrive
     * slowly, do not sleep, and like answers that are read slowly, they get a moment. */
    for (unsigned pass = 0; cancel_calls(self) || (self->request_count > 0 && pass < LAST_ANSWERS_MS / PASS_MS);
         pass++) {
        deadline = after_ms(PASS_MS);
        wait_for_requests(self, &deadline);
    }
    pthread_mutex_unlock(&self->mutex);
    MHD_stop_daemon(self->daemon);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->mutex);
}
