/* One of three real servers is paused (SIGSTOP) under load with p2c_ewma. Its connection stays READY, so only the
 * balancing can detect it. Once its first calls have timed out, 99.9 % of the calls succeed within their deadline of
 * 1 s. When it continues (SIGCONT), it gets calls again. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include <evener/evener.h>

#include "tests/e2e/server_process.h"

#define SERVERS 3
#define CALLERS 8
#define CALLS_AFTER_DETECTION 10000

typedef struct scene {
    server_process servers[SERVERS];
    evener_channel *channel;
    pthread_t callers[CALLERS];
    atomic_bool stop;
    atomic_uint_fast64_t calls, failed;
} scene;

static void *call_without_pause(void *arg)
{
    scene *s = arg;
    while (!atomic_load(&s->stop)) {
        const evener_call_options options = {.size = sizeof options, .timeout_ms = 1000};
        if (evener_unary_call(s->channel, "/grpcdemo.GrpcDemo/DemoImport", NULL, &options, NULL, NULL) !=
            EVENER_STATUS_OK) {
            atomic_fetch_add(&s->failed, 1);
        }
        atomic_fetch_add(&s->calls, 1);
    }
    return NULL;
}

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
}

static uint64_t picks_of(const scene *s, unsigned server)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    cr_assert_eq(evener_channel_get_stats(s->channel, &stats, NULL), EVENER_STATUS_OK);
    const uint64_t picks = server < stats.subchannel_count ? stats.subchannels[server].picks : 0;
    evener_channel_stats_clear(&stats);
    return picks;
}

/* Wait until the counter reaches `wanted`; at most 60 s. */
static bool reaches(const atomic_uint_fast64_t *counter, uint64_t wanted)
{
    for (int tries = 0; tries < 6000 && atomic_load(counter) < wanted; tries++) {
        pause_ms(10);
    }
    return atomic_load(counter) >= wanted;
}

static bool gets_picks(const scene *s, unsigned server, uint64_t more)
{
    const uint64_t wanted = picks_of(s, server) + more;
    for (int tries = 0; tries < 6000 && picks_of(s, server) < wanted; tries++) {
        pause_ms(10);
    }
    return picks_of(s, server) >= wanted;
}

static void open_scene(scene *s)
{
    char target[128];
    evener_status status;
    for (int i = 0; i < SERVERS; i++) {
        cr_assert(server_process_start(&s->servers[i], 0));
    }
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u", s->servers[0].port,
             s->servers[1].port, s->servers[2].port);
    evener_credentials *insecure;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    /* A decay of 1 s: with the default the recovery would take 10 s. */
    const evener_channel_options options = {.size = sizeof options,
                                            .credentials = insecure,
                                            .default_service_config =
                                                "{\"loadBalancingConfig\":[{\"p2c_ewma\":{\"decay\":\"1s\"}}]}"};
    cr_assert_eq(evener_channel_create(target, &options, &s->channel, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(insecure);
    for (int i = 0; i < CALLERS; i++) {
        cr_assert_eq(pthread_create(&s->callers[i], NULL, call_without_pause, s), 0);
    }
    for (unsigned i = 0; i < SERVERS; i++) {
        cr_assert(gets_picks(s, i, 100), "every server gets calls");
    }
}

static void close_scene(scene *s)
{
    atomic_store(&s->stop, true);
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(s->callers[i], NULL);
    }
    evener_channel_unref(s->channel);
    for (int i = 0; i < SERVERS; i++) {
        server_process_end(&s->servers[i]);
    }
}

Test(pause, a_paused_server_costs_a_thousandth_of_the_calls_and_comes_back)
{
    scene s = {0};
    open_scene(&s);
    server_process_signal(&s.servers[1], SIGSTOP);
    cr_assert(reaches(&s.failed, 1), "the calls on the wire to it time out");
    const uint64_t calls = atomic_load(&s.calls), failed = atomic_load(&s.failed);
    cr_assert_leq(failed, CALLERS, "%lu calls failed before detection", (unsigned long)failed);
    cr_assert(reaches(&s.calls, calls + CALLS_AFTER_DETECTION));
    const uint64_t more_calls = atomic_load(&s.calls) - calls, more_failed = atomic_load(&s.failed) - failed;
    /* When the first call had failed, each caller may still have had one on the wire: those count as detection too. */
    cr_assert_leq(more_failed, CALLERS + more_calls / 1000, "%lu of %lu", (unsigned long)more_failed,
                  (unsigned long)more_calls);
    server_process_signal(&s.servers[1], SIGCONT);
    cr_assert(gets_picks(&s, 1, 1000), "it gets calls again");
    close_scene(&s);
}
