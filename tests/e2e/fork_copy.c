#include "tests/e2e/fork_copy.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include <evener/evener.h>

#define CALLERS 2

static evener_channel *channel;
static pthread_t callers[CALLERS];
static unsigned started;
static atomic_bool stopping;
static atomic_uint calls, failed;

static evener_status_code call_once(evener_channel *over, evener_status *status)
{
    const evener_call_options options = {
        .size = sizeof options, .timeout_ms = 60000, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    return evener_unary_call(over, "/grpcdemo.GrpcDemo/DemoImport", NULL, &options, NULL, status);
}

static void *call_without_pause(void *arg)
{
    while (!atomic_load(&stopping)) {
        evener_status status;
        if (call_once(channel, &status) != EVENER_STATUS_OK && atomic_fetch_add(&failed, 1) == 0) {
            fprintf(stderr, "a call failed: %s\n", status.message);
        }
        atomic_fetch_add(&calls, 1);
    }
    return arg;
}

static evener_channel *open_channel(const char *target)
{
    evener_status status;
    evener_credentials *insecure = NULL;
    evener_channel *opened = NULL;
    if (evener_credentials_create_insecure(&insecure, &status) != EVENER_STATUS_OK) {
        return NULL;
    }
    const evener_channel_options options = {.size = sizeof options, .credentials = insecure, .transport_name = "http2"};
    if (evener_channel_create(target, &options, &opened, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "no channel: %s\n", status.message);
        opened = NULL;
    }
    evener_credentials_destroy(insecure);
    return opened;
}

static bool start(const char *target)
{
    channel = open_channel(target);
    while (channel != NULL && started < CALLERS &&
           pthread_create(&callers[started], NULL, call_without_pause, NULL) == 0) {
        started++;
    }
    return started == CALLERS;
}

static unsigned calls_so_far(void)
{
    return atomic_load(&calls);
}

static unsigned failed_so_far(void)
{
    return atomic_load(&failed);
}

static void stop(void)
{
    atomic_store(&stopping, true);
    while (started > 0) {
        (void)pthread_join(callers[--started], NULL);
    }
    evener_channel_unref(channel);
    channel = NULL;
}

static bool works_in_child(const char *target)
{
    evener_status status;
    if (call_once(channel, &status) != EVENER_STATUS_FAILED_PRECONDITION) {
        return false;
    }
    evener_channel *own = open_channel(target);
    const bool works = own != NULL && call_once(own, &status) == EVENER_STATUS_OK;
    evener_channel_unref(own);
    return works;
}

static void leave_rcu(void)
{
    evener_fork_leave_rcu(true);
}

__attribute__((visibility("default"))) const fork_copy fork_copy_functions = {.start = start,
                                                                              .calls = calls_so_far,
                                                                              .failed = failed_so_far,
                                                                              .stop = stop,
                                                                              .works_in_child = works_in_child,
                                                                              .leave_rcu = leave_rcu};
