/* All policies on real threads: callers pick without pause while list, weights, parameters and the policy itself change
 * and connections drop. What pickers share with the control thread (cursors, counters, reports, requests to connect) is
 * what ThreadSanitizer looks at here. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/stress_scene.h"

#define THREADS 4
#define UPDATES 600
#define PORTS 10

#define OUTLIERS                                                                                                       \
    "\"interval\":\"0.01s\",\"baseEjectionTime\":\"0.01s\",\"maxEjectionPercent\":50,"                                 \
    "\"failurePercentageEjection\":{\"threshold\":20,\"minimumHosts\":1,\"requestVolume\":1}"

static const char *const policies[] = {
    "{\"round_robin\":{}}",
    "{\"weighted_round_robin\":{\"blackoutPeriod\":\"0s\",\"weightUpdatePeriod\":\"0.1s\"}}",
    "{\"weighted_round_robin\":{\"slowStartConfig\":{\"window\":\"1s\"}}}",
    "{\"least_request\":{\"choiceCount\":3}}",
    "{\"weighted_random\":{}}",
    "{\"random\":{}}",
    "{\"ring_hash\":{}}",
    "{\"p2c_ewma\":{}}",
    "{\"pick_first\":{}}",
    "{\"outlier_detection\":{" OUTLIERS ",\"childPolicy\":[{\"weighted_round_robin\":{}}]}}",
    "{\"outlier_detection\":{" OUTLIERS ",\"childPolicy\":[{\"least_request\":{}}]}}",
    "{\"outlier_detection\":{\"childPolicy\":[{\"ring_hash\":{}}]}}",
    "{\"health_check\":{\"childPolicy\":[{\"outlier_detection\":{" OUTLIERS ",\"childPolicy\":[{\"p2c_ewma\":{}}]}}]}}",
};
#define POLICIES (sizeof policies / sizeof policies[0])

typedef struct caller {
    stress_scene *s;
    pthread_t thread;
    uint64_t calls;
} caller;

/* rps_fractional 100, application_utilization 0.5 (A58) */
static const uint8_t load_report[] = {0x31, 0, 0, 0, 0, 0, 0, 0x59, 0x40, 0x49, 0, 0, 0, 0, 0, 0, 0xE0, 0x3F};

static void *call_without_pause(void *arg)
{
    caller *c = arg;
    while (!stress_stopped(c->s)) {
        const evener_pick_args args = {.size = sizeof args,
                                       .timeout_ms = 60000,
                                       .wait_for_ready = true,
                                       .has_hash = c->calls % 3 == 0,
                                       .hash = c->calls * UINT64_C(0x9E3779B97F4A7C15)};
        evener_pick pick;
        evener_status status;
        if (evener_channel_pick(c->s->channel, &args, &pick, &status) != EVENER_STATUS_OK) {
            stress_check(c->s, false, status.message);
        }
        c->calls++;
        const evener_done_info info = {.size = sizeof info,
                                       .code = c->calls % 5 == 0 ? EVENER_STATUS_UNAVAILABLE : EVENER_STATUS_OK,
                                       .not_sent = c->calls % 50 == 0,
                                       .load_report = c->calls % 2 == 0 ? load_report : NULL,
                                       .load_report_bytes = sizeof load_report};
        evener_pick_done(&pick, &info);
    }
    return NULL;
}

static void disturb(void *arg)
{
    stress_scene *s = arg;
    for (int port = 2; port <= PORTS; port++) {
        char address[32];
        snprintf(address, sizeof address, "127.0.0.1:%d", port);
        if (rand() % 4 == 0) {
            (void)fake_transport_drop(s->transport, address);
        } else {
            (void)fake_transport_health(s->transport, address,
                                        rand() % 4 == 0 ? EVENER_TRANSIENT_FAILURE : EVENER_READY);
        }
    }
    (void)fake_transport_health(s->transport, "127.0.0.1:1", EVENER_READY); /* never hurt */
}

static void update(stress_scene *s, int round, unsigned *random)
{
    char config[1024];
    snprintf(config, sizeof config, "{\"loadBalancingConfig\":[%s]}", policies[(size_t)round / 8 % POLICIES]);
    stress_push(s, PORTS, true, config, random);
    evener_runtime_call(s->runtime, disturb, s);
}

int main(void)
{
    stress_scene s;
    stress_open(&s, "stress_policies", &(evener_channel_options){.backoff_initial_ms = 10});
    srand(1);
    unsigned random = 1;
    update(&s, 0, &random);
    caller callers[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        callers[i].s = &s;
        pthread_create(&callers[i].thread, NULL, call_without_pause, &callers[i]);
    }
    for (int i = 0; i < UPDATES; i++) {
        update(&s, i, &random);
        usleep(1000);
    }
    evener_runtime_call(s.runtime, disturb, &s);
    stress_stop(&s);
    uint64_t calls = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(callers[i].thread, NULL);
        calls += callers[i].calls;
    }
    (void)stress_close(&s);
    printf("stress_policies: %llu calls over %d updates, none failed\n", (unsigned long long)calls, UPDATES);
    return calls > 0 ? 0 : 1;
}
