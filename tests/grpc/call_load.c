#include "tests/grpc/call_load.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_S 200 /* a safety net */

/* CustomMessage{custom_message = 1}: the port as text. */
static unsigned answering_port(const char *response, size_t bytes)
{
    char text[8] = "";
    if (bytes > 2 && bytes - 2 < sizeof text) {
        memcpy(text, response + 2, bytes - 2);
    }
    return (unsigned)strtoul(text, NULL, 10) % 65536;
}

void call_load_begin(call_load *load, void (*start_call)(call_load *load), void *client)
{
    load->start_call = start_call;
    load->client = client;
    load->under_way = CALL_LOAD_IN_FLIGHT;
    for (int i = 0; i < CALL_LOAD_IN_FLIGHT; i++) {
        start_call(load);
    }
}

void call_load_ended(call_load *load, evener_status_code code, const char *message, const void *response, size_t bytes)
{
    pthread_mutex_lock(&load->mutex);
    load->ended++;
    if (code == EVENER_STATUS_OK) {
        load->answered[answering_port(response, bytes)]++;
    } else {
        load->failed++;
        snprintf(load->failure, sizeof load->failure, "%s: %s", evener_status_code_name(code), message);
    }
    const bool stop = load->stop;
    if (stop) {
        load->under_way--;
    }
    pthread_cond_broadcast(&load->changed);
    pthread_mutex_unlock(&load->mutex);
    if (!stop) {
        load->start_call(load);
    }
}

static void wait_for_more(call_load *load, const uint64_t *counter, uint64_t more, const char *what)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&load->mutex);
    const uint64_t wanted = *counter + more;
    int error = 0;
    while (*counter < wanted && error == 0) {
        error = pthread_cond_timedwait(&load->changed, &load->mutex, &until);
    }
    CHECK(*counter >= wanted, "%s: %llu of %llu; last failure: %s", what, (unsigned long long)*counter,
          (unsigned long long)wanted, load->failure);
    pthread_mutex_unlock(&load->mutex);
}

void call_load_wait(call_load *load, uint64_t count)
{
    wait_for_more(load, &load->ended, count, "calls");
}

void call_load_wait_for_answers_of(call_load *load, unsigned port)
{
    wait_for_more(load, &load->answered[port], 10, "answers of one server");
}

uint64_t call_load_answered(call_load *load, unsigned port)
{
    pthread_mutex_lock(&load->mutex);
    const uint64_t answered = load->answered[port];
    pthread_mutex_unlock(&load->mutex);
    return answered;
}

uint64_t call_load_take_failures(call_load *load)
{
    pthread_mutex_lock(&load->mutex);
    const uint64_t failed = load->failed;
    load->failed = 0;
    pthread_mutex_unlock(&load->mutex);
    return failed;
}

void call_load_stop(call_load *load)
{
    pthread_mutex_lock(&load->mutex);
    load->stop = true;
    while (load->under_way > 0) {
        pthread_cond_wait(&load->changed, &load->mutex);
    }
    pthread_mutex_unlock(&load->mutex);
}
