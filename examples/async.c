/* async PORT...: makes a thousand concurrent calls over all servers and prints how many each server has answered. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "grpcdemo/grpcdemo.evener.h"

#define CALLS 1000

/* Callbacks run on several threads. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int ended, failed;
    unsigned counts[65536]; /* by port */
} results = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* Evener calls this on a thread of its own: it must be short and must not block. */
static void answered(void *arg, const evener_status *status, Grpcdemo__CustomMessage *response)
{
    (void)arg;
    const unsigned long port = response != NULL ? strtoul(response->custom_message, NULL, 10) : 0;
    pthread_mutex_lock(&results.mutex);
    results.ended++;
    results.failed += response == NULL;
    if (response == NULL) {
        fprintf(stderr, "%s: %s\n", evener_status_code_name(status->code), status->message);
    } else if (port < 65536) {
        results.counts[port]++;
    }
    pthread_cond_signal(&results.changed);
    pthread_mutex_unlock(&results.mutex);
    grpcdemo__custom_message__free_unpacked(response, NULL);
}

static void call_all(evener_channel *channel)
{
    const evener_call_options options = {
        .size = sizeof options, .timeout_ms = 5000, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    /* Wait until the channel is connected: calls that wait for the first backend would all go to it. */
    evener_channel_wait_ready(channel, 5000, NULL);
    nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
    int started = 0;
    for (int i = 0; i < CALLS; i++) {
        evener_status status;
        if (grpcdemo_grpc_demo_demo_import_start(channel, NULL, &options, answered, NULL, NULL, &status) ==
            EVENER_STATUS_OK) {
            started++;
        } else {
            fprintf(stderr, "not started: %s\n", status.message); /* the callback is not called in this case */
        }
    }
    pthread_mutex_lock(&results.mutex);
    results.failed += CALLS - started;
    while (results.ended < started) {
        pthread_cond_wait(&results.changed, &results.mutex);
    }
    pthread_mutex_unlock(&results.mutex);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: async PORT...\n");
        return 2;
    }
    char target[1024] = "ipv4:";
    for (int i = 1; i < argc; i++) {
        size_t used = strlen(target);
        snprintf(target + used, sizeof target - used, "%s127.0.0.1:%s", i > 1 ? "," : "", argv[i]);
    }
    evener_credentials *insecure;
    evener_channel *channel;
    evener_status status;
    evener_credentials_create_insecure(&insecure, NULL);
    const evener_channel_options options = {.size = sizeof options, .credentials = insecure, .policy = "round_robin"};
    if (evener_channel_create(target, &options, &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return 1;
    }
    call_all(channel);
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
    for (unsigned port = 0; port < 65536; port++) {
        if (results.counts[port] > 0) {
            printf("%u: %u calls\n", port, results.counts[port]);
        }
    }
    return results.failed == 0 ? 0 : 1;
}
