/* Call threads that park and are woken: operations begun from many threads at once each end once, whatever moment the
 * thread that serves them has chosen to fall asleep, and stopping wakes those that sleep. A plain program, so that it
 * also runs under ThreadSanitizer. The operation is one that needs no server: watching a channel that does nothing,
 * with a deadline that is over. */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <evener/runtime.h>

#include "lb/transport/grpc/call_threads.h"

#define ROUNDS 20
#define STARTERS 4
#define OPERATIONS 50
#define CALL_THREADS 3
#define CONNECTIONS 16

typedef struct operation {
    evener_grpc_tag tag;
    atomic_uint ended;
} operation;

typedef struct starter {
    pthread_t thread;
    evener_grpc_call_threads *threads;
    grpc_channel *channel;
    operation operations[OPERATIONS];
} starter;

static void pause_us(long us)
{
    const struct timespec pause = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    nanosleep(&pause, NULL);
}

static void ended(evener_grpc_tag *tag, bool ok)
{
    (void)ok;
    atomic_fetch_add(&((operation *)(void *)tag)->ended, 1);
}

static void begin(evener_grpc_call_threads *threads, grpc_channel *channel, operation *one)
{
    one->tag.done = ended;
    assert(evener_grpc_call_threads_take(threads, CONNECTIONS, NULL) == EVENER_STATUS_OK);
    EVENER_GRPC_HANDS_OVER(&one->tag);
    grpc_channel_watch_connectivity_state(channel, GRPC_CHANNEL_IDLE, gpr_inf_past(GPR_CLOCK_MONOTONIC),
                                          evener_grpc_call_threads_queue(threads), &one->tag);
}

static void wait_for(operation *one)
{
    while (atomic_load(&one->ended) == 0) {
        pause_us(20);
    }
}

static void *start_operations(void *arg)
{
    starter *self = arg;
    for (int i = 0; i < OPERATIONS; i++) {
        if (i % 3 == 0) {
            /* A call that comes to nothing may be what wakes the thread. */
            assert(evener_grpc_call_threads_take(self->threads, CONNECTIONS, NULL) == EVENER_STATUS_OK);
            evener_grpc_call_threads_drop(self->threads);
        }
        begin(self->threads, self->channel, &self->operations[i]);
        if (i % 2 == 0) {
            wait_for(&self->operations[i]); /* so that threads run out of calls again and again */
        }
    }
    for (int i = 0; i < OPERATIONS; i++) {
        wait_for(&self->operations[i]);
    }
    return NULL;
}

static void wait_until_all_sleep(const evener_grpc_call_threads *threads)
{
    while (evener_grpc_call_threads_awake(threads) > 0) {
        pause_us(100);
    }
}

static void run_round(evener_runtime *runtime, grpc_channel *channel, bool first_is_full)
{
    static starter starters[STARTERS];
    evener_grpc_overdue *overdue = evener_grpc_overdue_create(NULL); /* stays empty */
    evener_grpc_call_threads *threads = evener_grpc_call_threads_create(runtime, overdue, NULL);
    assert(threads != NULL);
    assert(evener_grpc_call_threads_set_count(threads, CALL_THREADS, NULL) == EVENER_STATUS_OK);
    /* With the first thread full the others come and go as well. */
    const uint32_t held = first_is_full ? EVENER_GRPC_FEW_CALLS : 0;
    for (uint32_t i = 0; i < held; i++) {
        assert(evener_grpc_call_threads_take(threads, CONNECTIONS, NULL) == EVENER_STATUS_OK);
    }
    for (int i = 0; i < STARTERS; i++) {
        starters[i] = (starter){.threads = threads, .channel = channel};
        pthread_create(&starters[i].thread, NULL, start_operations, &starters[i]);
    }
    for (int i = 0; i < STARTERS; i++) {
        pthread_join(starters[i].thread, NULL);
    }
    for (uint32_t i = 0; i < held; i++) {
        evener_grpc_call_threads_drop(threads);
    }
    /* One waits in the core for the calls that were dropped just now, until it has something to do. */
    operation early = {0};
    begin(threads, channel, &early);
    wait_for(&early);
    /* Sleeping threads are woken by a call, and by the end. */
    wait_until_all_sleep(threads);
    operation late = {0};
    begin(threads, channel, &late);
    wait_for(&late);
    if (first_is_full) {
        wait_until_all_sleep(threads);
    }
    evener_grpc_call_threads_stop(threads);
    evener_grpc_call_threads_destroy(threads);
    evener_grpc_overdue_destroy(overdue);
    for (int i = 0; i < STARTERS; i++) {
        for (int j = 0; j < OPERATIONS; j++) {
            assert(atomic_load(&starters[i].operations[j].ended) == 1);
        }
    }
}

int main(void)
{
    grpc_init();
    evener_runtime *runtime;
    assert(evener_runtime_create(NULL, &runtime, NULL) == EVENER_STATUS_OK);
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create("ipv4:127.0.0.1:1", credentials, NULL);
    grpc_channel_credentials_release(credentials);
    for (int round = 0; round < ROUNDS; round++) {
        run_round(runtime, channel, round % 2 == 0);
    }
    grpc_channel_destroy(channel);
    evener_runtime_unref(runtime);
    grpc_shutdown();
    printf("ok: %d operations in %d rounds\n", ROUNDS * (STARTERS * OPERATIONS + 2), ROUNDS);
    return 0;
}
