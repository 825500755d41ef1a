#include "tests/support/call_load.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WAIT_S 60

typedef struct place {
    call_load *load;
    uint64_t laps; /* calls that have ended in it */
} place;

struct call_load {
    bench_client *client;
    unsigned in_flight;
    place places[CALL_LOAD_IN_FLIGHT_MAX];
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* under mutex */
    uint64_t to_start; /* after which no further call begins */
    unsigned under_way;
    uint64_t ended, failed;
};

static void call_ended(void *arg, bool ok)
{
    place *p = arg;
    call_load *load = p->load;
    pthread_mutex_lock(&load->mutex);
    load->ended++;
    load->failed += ok ? 0 : 1;
    p->laps++;
    const bool again = load->to_start > 0;
    load->to_start -= again ? 1 : 0;
    load->under_way -= again ? 0 : 1;
    pthread_cond_signal(&load->changed);
    pthread_mutex_unlock(&load->mutex);
    if (again) {
        load->client->start(load->client, call_ended, p);
    }
}

static call_load *start(bench_client *client, unsigned in_flight, uint64_t calls)
{
    call_load *load = calloc(1, sizeof *load);
    if (load == NULL || in_flight == 0 || in_flight > CALL_LOAD_IN_FLIGHT_MAX || calls < in_flight) {
        fputs("call load: no memory, or not a number of calls\n", stderr);
        abort();
    }
    load->client = client;
    load->in_flight = in_flight;
    load->under_way = in_flight;
    load->to_start = calls - in_flight;
    pthread_mutex_init(&load->mutex, NULL);
    pthread_cond_init(&load->changed, NULL);
    for (unsigned i = 0; i < in_flight; i++) {
        load->places[i].load = load;
        client->start(client, call_ended, &load->places[i]);
    }
    return load;
}

/* Wait under the mutex for the next end of a call. */
static void wait_for_change(call_load *load, const char *what)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    const uint64_t ended = load->ended;
    if (pthread_cond_timedwait(&load->changed, &load->mutex, &until) != 0 && load->ended == ended) {
        fprintf(stderr, "call load: %s: no call has ended for %d s, %u are under way\n", what, WAIT_S, load->under_way);
        abort();
    }
}

/* Wait for the end of the calls that were begun, and free the load. */
static void join(call_load *load)
{
    pthread_mutex_lock(&load->mutex);
    while (load->under_way > 0) {
        wait_for_change(load, "the end");
    }
    pthread_mutex_unlock(&load->mutex);
    pthread_cond_destroy(&load->changed);
    pthread_mutex_destroy(&load->mutex);
    free(load);
}

call_load *call_load_start(bench_client *client, unsigned in_flight)
{
    return start(client, in_flight, UINT64_MAX);
}

void call_load_stop(call_load *load)
{
    if (load == NULL) {
        return;
    }
    pthread_mutex_lock(&load->mutex);
    load->to_start = 0;
    pthread_mutex_unlock(&load->mutex);
    join(load);
}

void call_load_let_pass(call_load *load, uint64_t calls)
{
    pthread_mutex_lock(&load->mutex);
    const uint64_t wanted = load->ended + calls;
    while (load->ended < wanted) {
        wait_for_change(load, "calls");
    }
    pthread_mutex_unlock(&load->mutex);
}

void call_load_settle(call_load *load)
{
    pthread_mutex_lock(&load->mutex);
    uint64_t laps[CALL_LOAD_IN_FLIGHT_MAX];
    for (unsigned i = 0; i < load->in_flight; i++) {
        laps[i] = load->places[i].laps;
    }
    for (unsigned i = 0; i < load->in_flight; i++) {
        while (load->places[i].laps == laps[i]) {
            wait_for_change(load, "one of the calls in flight");
        }
    }
    pthread_mutex_unlock(&load->mutex);
}

static uint64_t read_counter(call_load *load, const uint64_t *counter)
{
    pthread_mutex_lock(&load->mutex);
    const uint64_t value = *counter;
    pthread_mutex_unlock(&load->mutex);
    return value;
}

uint64_t call_load_ended(call_load *load)
{
    return read_counter(load, &load->ended);
}

uint64_t call_load_failed(call_load *load)
{
    return read_counter(load, &load->failed);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

call_load_figures call_load_run(bench_client *client, unsigned in_flight, uint64_t calls)
{
    const double begin_s = now_s();
    call_load *load = start(client, in_flight, calls);
    pthread_mutex_lock(&load->mutex);
    while (load->under_way > 0) {
        wait_for_change(load, "a fixed number of calls");
    }
    const call_load_figures figures = {(double)calls / (now_s() - begin_s), load->failed};
    pthread_mutex_unlock(&load->mutex);
    join(load);
    return figures;
}
