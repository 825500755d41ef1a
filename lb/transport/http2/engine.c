/* The engine: I/O threads, seats and nghttp2's tables, one per runtime. Made with the first connection, ended with the
 * runtime. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lb/base/fork.h"
#include "lb/transport/http2/internal.h"

/* ---- seats ---- */

evener_http2_seat *evener_http2_seat_create(void)
{
    evener_http2_seat *seat = malloc(sizeof *seat); /* its buffers are touched when used */
    if (seat == NULL) {
        return NULL;
    }
    seat->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (seat->event_fd < 0) {
        free(seat);
        return NULL;
    }
    evener_fork_close_in_child(seat->event_fd);
    atomic_init(&seat->asleep, 0);
    seat->next_free = NULL;
    evener_http2_output_reset(&seat->output);
    return seat;
}

static void seat_destroy(evener_http2_seat *seat)
{
    if (seat != NULL) {
        evener_fork_close(seat->event_fd);
        free(seat);
    }
}

evener_http2_seat *evener_http2_seat_take(evener_http2_engine *engine)
{
    pthread_mutex_lock(&engine->seats_lock);
    evener_http2_seat *seat = engine->free_seats;
    if (seat != NULL) {
        engine->free_seats = seat->next_free;
    }
    pthread_mutex_unlock(&engine->seats_lock);
    return seat != NULL ? seat : evener_http2_seat_create();
}

static void give_back(evener_http2_engine *engine, evener_http2_seat *seat)
{
    pthread_mutex_lock(&engine->seats_lock);
    seat->next_free = engine->free_seats;
    engine->free_seats = seat;
    pthread_mutex_unlock(&engine->seats_lock);
}

void evener_http2_seat_release(evener_connection *connection)
{
    evener_http2_seat *seat = atomic_exchange(&connection->seat, NULL);
    if (seat != NULL) {
        give_back(connection->engine, seat);
    }
}

void evener_http2_seat_spare(evener_http2_engine *engine)
{
    pthread_mutex_lock(&engine->seats_lock);
    const bool has_one = engine->free_seats != NULL;
    pthread_mutex_unlock(&engine->seats_lock);
    evener_http2_seat *seat = has_one ? NULL : evener_http2_seat_create();
    if (seat != NULL) {
        give_back(engine, seat);
    }
}

void evener_http2_seat_wake(evener_http2_seat *seat)
{
    if (atomic_load(&seat->asleep) != 0 && atomic_exchange(&seat->asleep, 0) != 0) {
        const uint64_t one = 1;
        (void)!write(seat->event_fd, &one, sizeof one); /* EAGAIN: a wake-up is pending already */
    }
}

void evener_http2_seat_woken(evener_http2_seat *seat)
{
    uint64_t count;
    (void)!read(seat->event_fd, &count, sizeof count);
}

/* ---- life ---- */

static void engine_free(evener_http2_engine *engine)
{
    for (uint32_t i = 0; i < engine->thread_count; i++) {
        seat_destroy(engine->threads[i].seat);
        if (engine->threads[i].epoll_fd >= 0) {
            evener_fork_close(engine->threads[i].epoll_fd);
        }
    }
    while (engine->free_seats != NULL) {
        evener_http2_seat *seat = engine->free_seats;
        engine->free_seats = seat->next_free;
        seat_destroy(seat);
    }
    nghttp2_session_callbacks_del(engine->callbacks);
    nghttp2_option_del(engine->option);
    pthread_mutex_destroy(&engine->seats_lock);
    free(engine);
}

void evener_http2_engine_connection_ended(evener_http2_engine *engine)
{
    if (atomic_fetch_sub(&engine->connections, 1) == 1 && engine->runtime_ended) {
        engine_free(engine);
    }
}

static void engine_destroy(void *object)
{
    evener_http2_engine *engine = object;
    engine->runtime_ended = true;
    for (uint32_t i = 0; i < engine->thread_count; i++) {
        evener_http2_io_thread_stop(&engine->threads[i]);
    }
    if (atomic_load(&engine->connections) == 0) {
        engine_free(engine);
    }
}

/* The number of threads for create(), as evener_runtime_shared() passes no argument on. Control thread. */
static _Thread_local uint32_t wanted_threads;

/* Processors on which this thread may run, by one system call: sysconf() reads a file, and counts those that a
 * container or taskset keeps from the process. */
static uint32_t default_threads(void)
{
    cpu_set_t usable;
    const long processors = sched_getaffinity(0, sizeof usable, &usable) == 0 ? CPU_COUNT(&usable) /* at most 1,024 */
                                                                              : sysconf(_SC_NPROCESSORS_ONLN);
    if (processors < 1) {
        return 1;
    }
    return processors < EVENER_HTTP2_THREADS_DEFAULT_MAX ? (uint32_t)processors : EVENER_HTTP2_THREADS_DEFAULT_MAX;
}

static void *engine_create(evener_runtime *runtime, evener_status *status)
{
    const uint32_t count = wanted_threads > 0 ? wanted_threads : default_threads();
    evener_http2_engine *engine = evener_cache_aligned_calloc(sizeof *engine + count * sizeof engine->threads[0]);
    if (engine == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "http2 transport: out of memory");
        return NULL;
    }
    pthread_mutex_init(&engine->seats_lock, NULL);
    engine->runtime = runtime;
    engine->loop = evener_runtime_loop(runtime);
    engine->thread_count = count;
    engine->callbacks = evener_http2_session_callbacks();
    engine->option = evener_http2_session_option();
    for (uint32_t i = 0; i < count; i++) {
        evener_http2_io_thread_init(&engine->threads[i], engine);
    }
    if (engine->callbacks == NULL || engine->option == NULL) {
        engine_free(engine);
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "http2 transport: out of memory");
        return NULL;
    }
    return engine;
}

static const evener_shared_key engine_key = {
    .name = "http2 engine", .create = engine_create, .destroy = engine_destroy};

evener_http2_engine *evener_http2_engine_get(evener_runtime *runtime, uint32_t threads, evener_status *status)
{
    wanted_threads = threads;
    return evener_runtime_shared(runtime, &engine_key, status);
}

uint32_t evener_http2_engine_first_thread(evener_http2_engine *engine)
{
    return engine->next_thread++ % engine->thread_count;
}

evener_http2_io_thread *evener_http2_engine_choose_thread(evener_http2_engine *engine, uint32_t first,
                                                          const uint32_t *connections)
{
    uint32_t best = first;
    for (uint32_t i = 1; i < engine->thread_count; i++) {
        const uint32_t candidate = (first + i) % engine->thread_count;
        if (connections[candidate] / EVENER_HTTP2_CONNECTIONS_TOGETHER <
            connections[best] / EVENER_HTTP2_CONNECTIONS_TOGETHER) {
            best = candidate;
        }
    }
    return &engine->threads[best];
}
