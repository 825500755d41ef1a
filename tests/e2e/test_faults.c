/* Three server processes under load with 16 calls in flight, and the faults of real servers. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <evener/evener.h>

#include "tests/e2e/server_process.h"
#include "tests/grpc/call_load.h"
#include "tests/grpc/core_client.h"

#define SERVERS 3
#define CALLERS 16

typedef struct scene {
    server_process servers[SERVERS];
    evener_manual_resolver *resolver;
    evener_channel *channel;
    pthread_t callers[CALLERS];
    atomic_bool stop;
    atomic_uint_fast64_t calls, failed;
    atomic_uint next_caller;
    atomic_uint_fast64_t laps[CALLERS]; /* calls of each caller that have ended and are counted */
    pthread_mutex_t lock;
    char failure[EVENER_STATUS_MESSAGE_BYTES]; /* the latest failure; under the lock */
    uint64_t timeout_ms;
} scene;

static void *call_without_pause(void *arg)
{
    scene *s = arg;
    const unsigned self = atomic_fetch_add(&s->next_caller, 1);
    while (!atomic_load(&s->stop)) {
        const evener_call_options options = {.size = sizeof options, .timeout_ms = s->timeout_ms};
        evener_status status;
        if (evener_unary_call(s->channel, "/grpcdemo.GrpcDemo/DemoImport", NULL, &options, NULL, &status) !=
            EVENER_STATUS_OK) {
            atomic_fetch_add(&s->failed, 1);
            pthread_mutex_lock(&s->lock);
            snprintf(s->failure, sizeof s->failure, "%s: %.400s", evener_status_code_name(status.code), status.message);
            pthread_mutex_unlock(&s->lock);
        }
        atomic_fetch_add(&s->calls, 1);
        atomic_fetch_add(&s->laps[self], 1);
    }
    return NULL;
}

static void push(scene *s, unsigned servers)
{
    char list[256] = "";
    for (unsigned i = 0; i < SERVERS; i++) {
        if ((servers & (1u << i)) != 0) {
            const size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s127.0.0.1:%u", used > 0 ? "," : "", s->servers[i].port);
        }
    }
    evener_status status;
    cr_assert_eq(evener_manual_resolver_set(s->resolver, list, NULL, &status), EVENER_STATUS_OK, "%s", status.message);
}

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
}

/* Wait until the backend has had `more` further picks; at most 20 s. */
static bool gets_calls(scene *s, unsigned server, uint64_t more)
{
    uint64_t first = UINT64_MAX;
    for (int tries = 0; tries < 2000; tries++) {
        evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
        cr_assert_eq(evener_channel_get_stats(s->channel, &stats, NULL), EVENER_STATUS_OK);
        const uint64_t picks = server < stats.subchannel_count ? stats.subchannels[server].picks : 0;
        evener_channel_stats_clear(&stats);
        if (first == UINT64_MAX) {
            first = picks;
        }
        if (picks >= first + more) {
            return true;
        }
        pause_ms(10);
    }
    return false;
}

/* Wait until a dead server has no call in flight and every caller has counted its last call to it; at most 20 s. */
static bool has_lost_all_calls(scene *s, unsigned server)
{
    bool over = false;
    for (int tries = 0; tries < 2000 && !over; tries++) {
        evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
        cr_assert_eq(evener_channel_get_stats(s->channel, &stats, NULL), EVENER_STATUS_OK);
        over = stats.subchannels[server].state != EVENER_READY && stats.subchannels[server].in_flight == 0;
        evener_channel_stats_clear(&stats);
        pause_ms(over ? 0 : 10);
    }
    uint64_t laps[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        laps[i] = atomic_load(&s->laps[i]);
    }
    for (int tries = 0, i = 0; over && i < CALLERS; i += atomic_load(&s->laps[i]) != laps[i]) {
        over = ++tries < 20000;
        pause_ms(1);
    }
    return over;
}

static void open_scene(scene *s, const char *policy)
{
    pthread_mutex_init(&s->lock, NULL);
    s->timeout_ms = 10000;
    for (int i = 0; i < SERVERS; i++) {
        cr_assert(server_process_start(&s->servers[i], 0));
    }
    evener_status status;
    cr_assert_eq(evener_manual_resolver_create("orders", &s->resolver, &status), EVENER_STATUS_OK);
    evener_credentials *insecure;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    const evener_resolver_builder *own[] = {evener_manual_resolver_builder(s->resolver)};
    const evener_channel_options options = {
        .size = sizeof options, .credentials = insecure, .resolvers = own, .resolver_count = 1, .policy = policy};
    push(s, 7);
    cr_assert_eq(evener_channel_create("orders:///x", &options, &s->channel, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    evener_credentials_destroy(insecure);
    for (int i = 0; i < CALLERS; i++) {
        pthread_create(&s->callers[i], NULL, call_without_pause, s);
    }
    for (unsigned i = 0; i < SERVERS; i++) {
        cr_assert(gets_calls(s, i, 100), "every server gets calls");
    }
}

static void close_scene(scene *s)
{
    atomic_store(&s->stop, true);
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(s->callers[i], NULL);
    }
    evener_channel_unref(s->channel);
    evener_manual_resolver_destroy(s->resolver);
    for (int i = 0; i < SERVERS; i++) {
        server_process_end(&s->servers[i]);
    }
}

/* ---- the plain core under the same faults, which cannot know either what a server did with a call ---- */

static call_load cores = CALL_LOAD_INIT;
static core_client *core;

static void open_core(const scene *s, const char *policy)
{
    char target[128];
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u", s->servers[0].port,
             s->servers[1].port, s->servers[2].port);
    core = core_client_create(target, policy);
    call_load_begin(&cores, core_client_start_call, core);
    call_load_wait_for_answers_of(&cores, s->servers[0].port);
}

static void close_core(void)
{
    call_load_stop(&cores);
    core_client_destroy(core);
}

/* Since the last time, at most `rounds` calls of each caller more than the core's failed. */
static void expect_few_failed(scene *s, uint64_t rounds)
{
    call_load_wait(&cores, 1000);
    const uint64_t of_cores = call_load_take_failures(&cores);
    const uint64_t failed = atomic_exchange(&s->failed, 0);
    cr_assert_leq(failed, of_cores + rounds * CALLERS, "%llu calls failed, and %llu of the core's; the last: %s",
                  (unsigned long long)failed, (unsigned long long)of_cores, s->failure);
}

Test(faults, a_killed_server_fails_few_and_comes_back)
{
    scene s = {0};
    open_scene(&s, "round_robin");
    open_core(&s, "round_robin");
    cr_assert_eq(atomic_load(&s.failed), 0, "%s", s.failure);
    server_process_signal(&s.servers[1], SIGKILL);
    server_process_wait(&s.servers[1]);
    cr_assert(gets_calls(&s, 0, 200), "the other servers still get calls");
    cr_assert(has_lost_all_calls(&s, 1));
    expect_few_failed(&s, 1);
    cr_assert(server_process_start(&s.servers[1], s.servers[1].port));
    cr_assert(gets_calls(&s, 1, 100), "back on its port, it gets calls within its backoff");
    cr_assert_eq(atomic_load(&s.failed), 0, "%s", s.failure);
    close_core();
    close_scene(&s);
}

/* GOAWAY drains (docs/semantics.md, Subchannels); what the server did not look at any more it cancels, and says no more
 * of it. */
Test(faults, a_server_that_ends_gracefully_fails_few)
{
    scene s = {0};
    open_scene(&s, "round_robin");
    open_core(&s, "round_robin");
    for (int i = 0; i < SERVERS; i++) {
        server_process_signal(&s.servers[i], SIGTERM);
        server_process_wait(&s.servers[i]);
        cr_assert(gets_calls(&s, (unsigned)(i + 1) % SERVERS, 50));
        expect_few_failed(&s, 1);
        cr_assert(server_process_start(&s.servers[i], s.servers[i].port));
        cr_assert(gets_calls(&s, (unsigned)i, 50));
        cr_assert_eq(atomic_load(&s.failed), 0, "%s", s.failure);
        call_load_wait_for_answers_of(&cores, s.servers[i].port);
    }
    close_core();
    close_scene(&s);
}

Test(faults, a_removed_address_fails_nothing)
{
    scene s = {0};
    open_scene(&s, "round_robin");
    for (int i = 0; i < 60; i++) {
        push(&s, i % 2 == 0 ? 7u & ~(1u << (i / 2 % 3)) : 7u);
        pause_ms(10);
    }
    cr_assert(gets_calls(&s, 0, 50));
    cr_assert_eq(atomic_load(&s.failed), 0, "%s", s.failure);
    close_scene(&s);
}

Test(faults, pick_first_moves_on_from_a_killed_server)
{
    scene s = {0};
    for (int i = 0; i < SERVERS; i++) {
        s.servers[i].pid = 0;
    }
    open_scene(&s, "round_robin");
    push(&s, 3); /* the policy would move on to a third server, if the second one took 250 ms to answer */
    evener_status status;
    cr_assert_eq(
        evener_channel_set_default_service_config(s.channel, "{\"loadBalancingPolicy\":\"pick_first\"}", &status),
        EVENER_STATUS_OK);
    cr_assert(gets_calls(&s, 0, 2000));
    open_core(&s, "pick_first");
    server_process_signal(&s.servers[0], SIGKILL);
    server_process_wait(&s.servers[0]);
    cr_assert(gets_calls(&s, 1, 200));
    /* All calls go to the one that ends, those as well that follow before the core says that it has ended. */
    expect_few_failed(&s, 2);
    close_core();
    close_scene(&s);
}
