/* The server: start and stop, its threads, its settings, and the lists of calls that wait for a deadline or for a
 * change of health. */
#include "demo_server/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <grpc/slice.h>

#define CALLS_AWAITED 64 /* calls that can arrive at once without waiting for a serving thread */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct timespec to_timespec(uint64_t time_ns)
{
    return (struct timespec){.tv_sec = (time_t)(time_ns / 1000000000u), .tv_nsec = (long)(time_ns % 1000000000u)};
}

/* ---- lists; under the server's mutex ---- */

static void list_insert(demo_call **first, demo_call *after, demo_call *call)
{
    call->previous = after;
    call->next = after != NULL ? after->next : *first;
    if (after != NULL) {
        after->next = call;
    } else {
        *first = call;
    }
    if (call->next != NULL) {
        call->next->previous = call;
    }
}

static bool list_remove(demo_server *server, demo_call *call)
{
    if (call->list == DEMO_LIST_NONE) {
        return false;
    }
    if (call->previous != NULL) {
        call->previous->next = call->next;
    } else if (call->list == DEMO_LIST_TIMERS) {
        server->first_timer = call->next;
    } else {
        server->watchers = call->next;
    }
    if (call->next != NULL) {
        call->next->previous = call->previous;
    }
    call->list = DEMO_LIST_NONE;
    return true;
}

void demo_server_forget(demo_server *server, demo_call *call)
{
    pthread_mutex_lock(&server->mutex);
    call->is_closed = true;
    bool was_listed = list_remove(server, call);
    pthread_mutex_unlock(&server->mutex);
    if (was_listed) {
        demo_call_unref(call);
    }
}

/* ---- delays ---- */

void demo_server_delay(demo_server *server, demo_call *call, uint64_t delay_ms)
{
    bool wanted;
    pthread_mutex_lock(&server->mutex);
    wanted = !call->is_closed;
    if (wanted) {
        call->deadline_ns = delay_ms > UINT32_MAX ? UINT64_MAX : now_ns() + delay_ms * 1000000u;
        demo_call *after = NULL;
        for (demo_call *other = server->first_timer; other != NULL && other->deadline_ns <= call->deadline_ns;
             other = other->next) {
            after = other;
        }
        call->list = DEMO_LIST_TIMERS;
        list_insert(&server->first_timer, after, call);
        pthread_cond_broadcast(&server->changed);
    }
    pthread_mutex_unlock(&server->mutex);
    if (!wanted) {
        demo_call_unref(call);
    }
}

static void *run_timers(void *arg)
{
    demo_server *server = arg;
    pthread_mutex_lock(&server->mutex);
    while (!server->stopped) {
        demo_call *call = server->first_timer;
        if (call == NULL || call->deadline_ns == UINT64_MAX) {
            pthread_cond_wait(&server->changed, &server->mutex);
        } else if (call->deadline_ns > now_ns()) {
            struct timespec deadline = to_timespec(call->deadline_ns);
            pthread_cond_timedwait(&server->changed, &server->mutex, &deadline);
        } else {
            list_remove(server, call);
            pthread_mutex_unlock(&server->mutex);
            demo_call_process(call);
            demo_call_unref(call);
            pthread_mutex_lock(&server->mutex);
        }
    }
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

/* ---- serving ---- */

/* Keep this thread out of the core until the shutdown has begun. */
static void pause_until_shutdown(demo_server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->paused_threads++;
    pthread_cond_broadcast(&server->changed);
    while (!server->shutdown_begun) {
        pthread_cond_wait(&server->changed, &server->mutex);
    }
    pthread_mutex_unlock(&server->mutex);
}

static void *run_poller(void *arg)
{
    demo_server *server = arg;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN) {
            return NULL;
        }
        if (event.type != GRPC_OP_COMPLETE) {
            continue;
        }
        if (event.tag == server) {
            pthread_mutex_lock(&server->mutex);
            server->shut_down = true;
            pthread_cond_broadcast(&server->changed);
            pthread_mutex_unlock(&server->mutex);
        } else if (event.tag == &server->paused_threads) {
            pause_until_shutdown(server);
        } else {
            demo_call_event(event.tag, event.success != 0);
        }
    }
}

static int server_bind(demo_server *server, const demo_server_options *options, char error[DEMO_SERVER_ERROR_BYTES])
{
    char address[256];
    if (options->address != NULL) {
        snprintf(address, sizeof address, "%s", options->address);
    } else {
        snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)options->port);
    }
    grpc_server_credentials *insecure = NULL;
    if (options->credentials == NULL) {
        insecure = grpc_insecure_server_credentials_create();
    }
    int port = grpc_server_add_http2_port(server->core, address, insecure != NULL ? insecure : options->credentials);
    if (insecure != NULL) {
        grpc_server_credentials_release(insecure);
    }
    if (port <= 0) {
        snprintf(error, DEMO_SERVER_ERROR_BYTES, "cannot listen on %.200s: is it in use?", address);
    }
    return port;
}

static grpc_arg integer_arg(const char *name, uint64_t value)
{
    return (grpc_arg){
        .type = GRPC_ARG_INTEGER, .key = (char *)name, .value.integer = value > INT32_MAX ? INT32_MAX : (int)value};
}

static void create_core(demo_server *server, const demo_server_options *options)
{
    grpc_arg args[5];
    grpc_channel_args list = {.args = args};
    /* Fail if the port is in use: two servers on one port would share its calls. */
    args[list.num_args++] = integer_arg(GRPC_ARG_ALLOW_REUSEPORT, 0);
    if (options->max_connection_age_ms > 0) {
        args[list.num_args++] = integer_arg(GRPC_ARG_MAX_CONNECTION_AGE_MS, options->max_connection_age_ms);
    }
    if (options->max_connection_age_grace_ms > 0) {
        args[list.num_args++] = integer_arg(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, options->max_connection_age_grace_ms);
    }
    if (options->max_concurrent_streams > 0) {
        args[list.num_args++] = integer_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, options->max_concurrent_streams);
    }
    if (options->message_bytes_max > 0) {
        args[list.num_args++] = integer_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, options->message_bytes_max);
    }
    server->queue = grpc_completion_queue_create_for_next(NULL);
    server->core = grpc_server_create(&list, NULL);
    grpc_server_register_completion_queue(server->core, server->queue, NULL);
}

static void destroy(demo_server *server)
{
    grpc_server_destroy(server->core);
    grpc_completion_queue_destroy(server->queue);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->mutex);
    free(server->pollers);
    free(server);
    grpc_shutdown();
}

demo_server *demo_server_start(const demo_server_options *options, char error[DEMO_SERVER_ERROR_BYTES])
{
    demo_server *server = calloc(1, sizeof *server);
    unsigned threads = options->threads > 0 ? options->threads : 1;
    pthread_t *pollers = calloc(threads, sizeof *pollers);
    if (server == NULL || pollers == NULL) {
        snprintf(error, DEMO_SERVER_ERROR_BYTES, "out of memory");
        free(pollers);
        free(server);
        return NULL;
    }
    server->pollers = pollers;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&server->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&server->mutex, NULL);
    demo_server_set_health(server, "", DEMO_SERVER_SERVING);

    grpc_init();
    create_core(server, options);
    int port = server_bind(server, options, error);
    grpc_server_start(server->core);
    bool ok = port > 0;
    if (ok) {
        server->port = (uint16_t)port;
        for (int i = 0; i < CALLS_AWAITED; i++) {
            demo_call_request(server);
        }
    }
    bool timers_run = ok && pthread_create(&server->timer_thread, NULL, run_timers, server) == 0;
    ok = timers_run;
    while (ok && server->poller_count < threads) {
        ok = pthread_create(&server->pollers[server->poller_count], NULL, run_poller, server) == 0;
        server->poller_count += ok;
    }
    if (ok) {
        return server;
    }
    if (port > 0) {
        snprintf(error, DEMO_SERVER_ERROR_BYTES, "cannot start a thread");
    }
    if (server->poller_count == 0) { /* this thread gets the end of the shutdown itself */
        grpc_server_shutdown_and_notify(server->core, server->queue, server);
        grpc_completion_queue_shutdown(server->queue);
        run_poller(server);
        server->stopped = true;
        if (timers_run) {
            pthread_cond_signal(&server->changed);
            pthread_join(server->timer_thread, NULL);
        }
        destroy(server);
    } else {
        demo_server_stop(server, 0);
    }
    return NULL;
}

/* At shutdown the core (1.51) first refuses the waiting calls and then marks itself as shutting down; a call that
 * arrives in between is kept until all calls are cancelled. So no thread may read the sockets meanwhile. To wake the
 * serving threads, an event is put into their queue: a watch, with a deadline in the past, on the state of a channel
 * that goes nowhere; the core's public functions offer nothing simpler. */
static void begin_shutdown(demo_server *server)
{
    grpc_channel *nowhere = grpc_lame_client_channel_create("nowhere", GRPC_STATUS_UNAVAILABLE, "goes nowhere");
    for (unsigned i = 0; i < server->poller_count; i++) {
        grpc_channel_watch_connectivity_state(nowhere, GRPC_CHANNEL_TRANSIENT_FAILURE,
                                              gpr_inf_past(GPR_CLOCK_MONOTONIC), server->queue,
                                              &server->paused_threads);
    }
    pthread_mutex_lock(&server->mutex);
    while (server->paused_threads < server->poller_count) {
        pthread_cond_wait(&server->changed, &server->mutex);
    }
    pthread_mutex_unlock(&server->mutex);
    grpc_server_shutdown_and_notify(server->core, server->queue, server);
    pthread_mutex_lock(&server->mutex);
    server->shutdown_begun = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->mutex);
    grpc_channel_destroy(nowhere);
}

void demo_server_stop(demo_server *server, uint64_t grace_ms)
{
    if (server == NULL) {
        return;
    }
    begin_shutdown(server);
    struct timespec end = to_timespec(now_ns() + (grace_ms > UINT32_MAX ? UINT32_MAX : grace_ms) * 1000000u);
    pthread_mutex_lock(&server->mutex);
    int waited = 0;
    while (!server->shut_down && waited != ETIMEDOUT && grace_ms > 0) {
        waited = grace_ms == DEMO_SERVER_NEVER_MS ? pthread_cond_wait(&server->changed, &server->mutex)
                                                  : pthread_cond_timedwait(&server->changed, &server->mutex, &end);
    }
    if (!server->shut_down) {
        pthread_mutex_unlock(&server->mutex);
        grpc_server_cancel_all_calls(server->core);
        pthread_mutex_lock(&server->mutex);
    }
    /* The core (1.51) reports the shutdown when the last connection has gone, not when the last call has ended: events
     * of calls may follow, and their handlers start batches. A batch on a queue that was shut down aborts the process.
     * Only holders of a reference to a call start batches, so the queue is shut down after the last call. */
    while (!server->shut_down || atomic_load_explicit(&server->calls_alive, memory_order_acquire) > 0) {
        pthread_cond_wait(&server->changed, &server->mutex);
    }
    server->stopped = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->mutex);
    pthread_join(server->timer_thread, NULL);
    grpc_completion_queue_shutdown(server->queue);
    for (unsigned i = 0; i < server->poller_count; i++) {
        pthread_join(server->pollers[i], NULL);
    }
    destroy(server);
}

/* ---- settings ---- */

uint16_t demo_server_port(const demo_server *server)
{
    return server->port;
}

void demo_server_set_delay_ms(demo_server *server, uint64_t delay_ms)
{
    atomic_store_explicit(&server->delay_ms, delay_ms, memory_order_relaxed);
}

uint64_t demo_server_calls(const demo_server *server)
{
    return atomic_load_explicit(&server->calls, memory_order_relaxed);
}

uint64_t demo_server_calls_in_flight(const demo_server *server)
{
    return atomic_load_explicit(&server->calls_in_flight, memory_order_relaxed);
}

void demo_server_set_failure(demo_server *server, grpc_status_code code, const char *message)
{
    pthread_mutex_lock(&server->mutex);
    server->failure = code;
    snprintf(server->failure_message, sizeof server->failure_message, "%s", message != NULL ? message : "");
    pthread_mutex_unlock(&server->mutex);
}

grpc_status_code demo_server_failure(demo_server *server, char message[128])
{
    pthread_mutex_lock(&server->mutex);
    grpc_status_code code = server->failure;
    memcpy(message, server->failure_message, sizeof server->failure_message);
    pthread_mutex_unlock(&server->mutex);
    return code;
}

void demo_server_set_load_report(demo_server *server, const void *report, size_t report_bytes)
{
    pthread_mutex_lock(&server->mutex);
    server->load_report_bytes = 0;
    if (report != NULL && report_bytes <= sizeof server->load_report) {
        memcpy(server->load_report, report, report_bytes);
        server->load_report_bytes = report_bytes;
    }
    pthread_mutex_unlock(&server->mutex);
}

grpc_slice demo_server_load_report(demo_server *server)
{
    pthread_mutex_lock(&server->mutex);
    grpc_slice report = grpc_slice_from_copied_buffer((const char *)server->load_report, server->load_report_bytes);
    pthread_mutex_unlock(&server->mutex);
    return report;
}

/* ---- load reports out of band ---- */

/* Watchers of the load, among those of health services. */
static const char watches_load[] = "StreamCoreMetrics";

void demo_server_stream_load_report(demo_server *server, const void *report, size_t report_bytes)
{
    pthread_mutex_lock(&server->mutex);
    server->streams_reports = report != NULL && report_bytes <= sizeof server->streamed_report;
    if (server->streams_reports) {
        memcpy(server->streamed_report, report, report_bytes);
        server->streamed_report_bytes = report_bytes;
    }
    for (demo_call *call = server->watchers; call != NULL && server->streams_reports; call = call->next) {
        if (strcmp(call->watched, watches_load) == 0) {
            demo_call_reply(call, server->streamed_report, server->streamed_report_bytes);
        }
    }
    pthread_mutex_unlock(&server->mutex);
}

void demo_call_stream_load(demo_call *call)
{
    demo_server *server = call->server;
    pthread_mutex_lock(&server->mutex);
    atomic_fetch_add_explicit(&server->load_streams, 1, memory_order_relaxed);
    const bool streams = server->streams_reports;
    if (streams) {
        demo_call_reply(call, server->streamed_report, server->streamed_report_bytes);
        if (!call->is_closed && call->list == DEMO_LIST_NONE) {
            atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed); /* the list's reference */
            snprintf(call->watched, sizeof call->watched, "%s", watches_load);
            call->list = DEMO_LIST_WATCHERS;
            list_insert(&server->watchers, NULL, call);
        }
    }
    pthread_mutex_unlock(&server->mutex);
    if (!streams) {
        demo_call_finish(call, GRPC_STATUS_UNIMPLEMENTED, "no load reports here");
    }
}

uint64_t demo_server_load_streams(const demo_server *server)
{
    return atomic_load_explicit(&server->load_streams, memory_order_relaxed);
}

uint64_t demo_server_load_streams_open(demo_server *server)
{
    uint64_t open = 0;
    pthread_mutex_lock(&server->mutex);
    for (const demo_call *call = server->watchers; call != NULL; call = call->next) {
        open += strcmp(call->watched, watches_load) == 0;
    }
    pthread_mutex_unlock(&server->mutex);
    return open;
}

/* ---- health ---- */

/* Return the health of a service. The caller holds the server's mutex. */
static demo_server_health find_health(const demo_server *server, const char *service)
{
    for (size_t i = 0; i < server->health_count; i++) {
        if (strcmp(server->healths[i].service, service) == 0) {
            return server->healths[i].health;
        }
    }
    return DEMO_SERVER_SERVICE_UNKNOWN;
}

void demo_server_set_health(demo_server *server, const char *service, demo_server_health health)
{
    pthread_mutex_lock(&server->mutex);
    size_t i = 0;
    while (i < server->health_count && strcmp(server->healths[i].service, service) != 0) {
        i++;
    }
    if (i < HEALTH_SERVICES_MAX) {
        snprintf(server->healths[i].service, sizeof server->healths[i].service, "%s", service);
        server->healths[i].health = health;
        server->health_count += i == server->health_count;
    }
    for (demo_call *call = server->watchers; call != NULL; call = call->next) {
        if (strcmp(call->watched, service) == 0) {
            demo_reply_health(call, health);
        }
    }
    pthread_mutex_unlock(&server->mutex);
}

void demo_call_answer_health(demo_call *call, const char *service, bool watch)
{
    demo_server *server = call->server;
    pthread_mutex_lock(&server->mutex);
    demo_server_health health = find_health(server, service);
    if (watch) {
        demo_reply_health(call, health); /* under the mutex, so that it comes before any change */
        if (!call->is_closed && call->list == DEMO_LIST_NONE) {
            atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed); /* the list's reference */
            snprintf(call->watched, sizeof call->watched, "%s", service);
            call->list = DEMO_LIST_WATCHERS;
            list_insert(&server->watchers, NULL, call);
        }
    }
    pthread_mutex_unlock(&server->mutex);
    if (!watch && health == DEMO_SERVER_SERVICE_UNKNOWN) {
        demo_call_finish(call, GRPC_STATUS_NOT_FOUND, "unknown service");
    } else if (!watch) {
        demo_reply_health(call, health);
        demo_call_finish(call, GRPC_STATUS_OK, NULL);
    }
}
