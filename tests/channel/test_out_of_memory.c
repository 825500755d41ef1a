/* Every allocation of the library fails in turn, alone or with all that follow, while a channel goes through its
 * life: nothing crashes or leaks, functions return RESOURCE_EXHAUSTED, and when memory is back the channel serves
 * again. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <evener/evener.h>
#include <evener/interceptor.h>

#include "lb/channel/channel_internal.h"
#include "lb/channel/saved_list.h"
#include "tests/support/failing_memory.h"
#include "tests/support/virtual_loop.h"

/* ---- a transport that needs no memory ---- */

#define CONNECTIONS 64

struct evener_connection {
    evener_task task;
    void (*state_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    evener_connectivity_state next;
    bool used;
};

static evener_connection connections[CONNECTIONS];
static virtual_loop *loop;

static void report(void *arg)
{
    evener_connection *connection = arg;
    if (connection->used) {
        connection->state_changed(connection->arg, connection->next, NULL);
    }
}

static evener_status_code steady_connect(evener_transport *transport, const evener_connect_args *args,
                                         evener_connection **connection, evener_status *status)
{
    (void)transport;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        evener_connection *c = &connections[i];
        if (!c->used && c->task.pending == 0) {
            *c = (evener_connection){EVENER_TASK_INIT(report, c), args->state_changed, args->arg, EVENER_READY, true};
            evener_loop_post(virtual_loop_loop(loop), &c->task);
            *connection = c;
            return EVENER_STATUS_OK;
        }
    }
    return evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "all connections are in use");
}

static void steady_disconnect(evener_transport *transport, evener_connection *connection)
{
    (void)transport;
    cr_assert(connection->used);
    connection->used = false;
}

static const evener_transport_vtable steady_vtable = {
    .size = sizeof(evener_transport_vtable), .connect = steady_connect, .disconnect = steady_disconnect};
static evener_transport steady = {&steady_vtable};

static void drop_one_connection(void)
{
    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (connections[i].used && connections[i].task.pending == 0) {
            connections[i].next = EVENER_IDLE;
            evener_loop_post(virtual_loop_loop(loop), &connections[i].task);
            return;
        }
    }
}

static size_t connections_in_use(void)
{
    size_t count = 0;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        count += connections[i].used;
    }
    return count;
}

/* As after a change of the authority: the serving connections serve on. */
static void renew_connections(evener_channel *channel)
{
    const bool served = evener_channel_state(channel, false) == EVENER_READY;
    evener_subchannel_pool *pool = &channel->pool;
    pool->generation++;
    evener_subchannel_pool_renew(pool, channel->control.list.addresses, channel->control.list.count);
    cr_assert(!served || evener_channel_state(channel, false) == EVENER_READY);
}

/* ---- a channel's life ---- */

static void expect_ok_or_exhausted(evener_status_code code, const evener_status *status)
{
    cr_assert(code == EVENER_STATUS_OK || code == EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: %s",
              evener_status_code_name(code), status->message);
}

static void pick_and_end(evener_channel *channel)
{
    evener_pick pick;
    evener_status status;
    if (evener_channel_try_pick(channel, NULL, &pick, &status) == EVENER_PICK_COMPLETE) {
        evener_pick_done(&pick, NULL);
    }
}

static void async_done(void *arg, evener_status_code code, const evener_status *status)
{
    (void)status;
    evener_pick_request *request = arg;
    if (code == EVENER_STATUS_OK) {
        evener_pick_done(request->pick, NULL);
    }
    request->arg = NULL;
}

static evener_policy *build_nothing(const evener_policy_builder *builder, evener_policy_helper *helper)
{
    (void)builder, (void)helper;
    return NULL;
}

static const evener_policy_builder own_policy = {.size = sizeof own_policy, .name = "own", .build = build_nothing};
static const evener_policy_builder *const own_policies[] = {&own_policy};
static const evener_attribute resolver_options[] = {{"orders.first", "1"}, {"orders.second", "2"}};
static const evener_interceptor own_interceptor = {.size = sizeof own_interceptor};
static const evener_interceptor *const interceptors[] = {&own_interceptor};

/* A channel that was created has all of its options. */
static void expect_copies(const evener_channel *channel)
{
    const evener_channel_settings *settings = &channel->settings;
    cr_assert_not_null(settings->resolvers.own);
    cr_assert_not_null(settings->policies.own);
    cr_assert_eq(settings->resolver_option_count, 2);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_not_null(settings->resolver_options[i].key);
        cr_assert_not_null(settings->resolver_options[i].value);
    }
    cr_assert_not_null(settings->interceptors);
    cr_assert_not_null(settings->user_agent);
    cr_assert_not_null(settings->authority);
}

/* Fail from the allocation `fail_at` on; at the end memory is back and the channel must serve. */
static void live(const char *config, uint64_t fail_at, bool for_good, uint64_t *allocations)
{
    loop = virtual_loop_create(3);
    evener_status status = {0};
    evener_runtime *runtime = NULL;
    evener_manual_resolver *manual = NULL;
    evener_channel *channel = NULL;
    evener_pick pick;
    evener_pick_request request = {.size = sizeof request, .pick = &pick, .callback = async_done, .arg = &request};
    failing_memory_arm(fail_at, for_good);

    const evener_runtime_options runtime_options = {.size = sizeof(runtime_options), .loop = virtual_loop_loop(loop)};
    evener_status_code code = evener_runtime_create(&runtime_options, &runtime, &status);
    expect_ok_or_exhausted(code, &status);
    if (code == EVENER_STATUS_OK) {
        code = evener_manual_resolver_create("orders", &manual, &status);
        expect_ok_or_exhausted(code, &status);
    }
    if (code == EVENER_STATUS_OK) {
        expect_ok_or_exhausted(evener_manual_resolver_set(manual, "10.0.0.1:1,10.0.0.2:1", NULL, &status), &status);
        const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(manual)};
        const evener_channel_options options = {.size = sizeof(options),
                                                .runtime = runtime,
                                                .transport = &steady,
                                                .resolvers = resolvers,
                                                .resolver_count = 1,
                                                .policies = own_policies,
                                                .policy_count = 1,
                                                .resolver_options = resolver_options,
                                                .resolver_option_count = 2,
                                                .interceptors = interceptors,
                                                .interceptor_count = 1,
                                                .user_agent = "me/1",
                                                .default_service_config = config};
        code = evener_channel_create("orders:///x", &options, &channel, &status);
        expect_ok_or_exhausted(code, &status);
    }
    if (code == EVENER_STATUS_OK) {
        expect_copies(channel);
    }
    if (code == EVENER_STATUS_OK) {
        const evener_pick_args args = {.size = sizeof(args), .wait_for_ready = true, .timeout_ms = 60000};
        const bool queued = evener_channel_pick_async(channel, &args, &request, &status) == EVENER_PICK_QUEUE;
        virtual_loop_advance_ms(loop, 300);
        pick_and_end(channel);
        expect_ok_or_exhausted(evener_manual_resolver_set(manual, "10.0.0.2:1,10.0.0.3:1;weight=2", NULL, &status),
                               &status);
        virtual_loop_advance_ms(loop, 300);
        renew_connections(channel);
        virtual_loop_advance_ms(loop, 300);
        drop_one_connection();
        virtual_loop_advance_ms(loop, 2000);
        pick_and_end(channel);
        expect_ok_or_exhausted(
            evener_channel_set_default_service_config(
                channel, "{\"loadBalancingConfig\":[{\"pick_first\":{}}],\"methodConfig\":[{\"name\":[{}]}]}", &status),
            &status);
        virtual_loop_advance_ms(loop, 300);
        evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
        code = evener_channel_get_stats(channel, &stats, &status);
        expect_ok_or_exhausted(code, &status);
        if (code == EVENER_STATUS_OK) {
            evener_channel_stats_clear(&stats);
        }
        code = evener_channel_set_default_service_config(channel, config, &status);
        expect_ok_or_exhausted(code, &status);
        virtual_loop_advance_ms(loop, 300);
        *allocations = failing_memory_disarm();

        /* Memory is back. */
        cr_assert_eq(evener_manual_resolver_set(manual, "10.0.0.4:1,10.0.0.5:1", NULL, &status), EVENER_STATUS_OK);
        virtual_loop_advance_ms(loop, 600000);
        cr_assert_eq(evener_channel_set_default_service_config(channel, config, &status), EVENER_STATUS_OK);
        evener_channel_connect(channel);
        virtual_loop_advance_ms(loop, 1000);
        cr_assert_eq(evener_channel_try_pick(channel, NULL, &pick, &status), EVENER_PICK_COMPLETE,
                     "%s, allocation %lu%s: %s: %s", config, (unsigned long)fail_at, for_good ? " and on" : "",
                     evener_connectivity_state_name(evener_channel_state(channel, false)), status.message);
        const char *address = evener_subchannel_address_text(pick.subchannel);
        cr_assert(strcmp(address, "10.0.0.4:1") == 0 || strcmp(address, "10.0.0.5:1") == 0, "%s", address);
        evener_pick_done(&pick, NULL);
        cr_assert(!queued || request.arg == NULL, "the queued pick has been called back");
    } else {
        *allocations = failing_memory_disarm();
    }
    evener_channel_unref(channel);
    virtual_loop_run_until_idle(loop);
    evener_manual_resolver_destroy(manual);
    evener_runtime_unref(runtime);
    virtual_loop_destroy(loop);
    cr_assert_eq(connections_in_use(), 0);
}

/* ---- the tests ---- */

static void fail_config_in_turn(const char *config)
{
    uint64_t allocations = 0;
    live(config, 0, false, &allocations);
    cr_assert_gt(allocations, 50);
    for (int for_good = 0; for_good < 2; for_good++) {
        uint64_t fail_at = 0;
        do {
            fail_at++;
            live(config, fail_at, for_good == 1, &allocations);
        } while (allocations >= fail_at); /* otherwise the scenario ended before the allocation that was to fail */
        cr_assert_gt(fail_at, 50);
    }
}

static void fail_in_turn(const char *policy)
{
    if (evener_policy_find(NULL, policy) == NULL) {
        cr_skip_test("%s is not built in", policy);
    }
    char config[128];
    (void)snprintf(config, sizeof(config), "{\"loadBalancingConfig\":[{\"%s\":{}}]}", policy);
    fail_config_in_turn(config);
}

Test(out_of_memory, pick_first)
{
    fail_in_turn("pick_first");
}

Test(out_of_memory, round_robin)
{
    fail_in_turn("round_robin");
}

Test(out_of_memory, weighted_random)
{
    fail_in_turn("weighted_random");
}

Test(out_of_memory, p2c_ewma)
{
    fail_in_turn("p2c_ewma");
}

Test(out_of_memory, least_request)
{
    fail_in_turn("least_request");
}

Test(out_of_memory, random)
{
    fail_in_turn("random");
}

Test(out_of_memory, ring_hash)
{
    fail_in_turn("ring_hash");
}

Test(out_of_memory, weighted_round_robin)
{
    fail_in_turn("weighted_round_robin");
}

Test(out_of_memory, outlier_detection)
{
    fail_config_in_turn("{\"loadBalancingConfig\":[{\"outlier_detection\":{\"interval\":\"0.1s\","
                        "\"failurePercentageEjection\":{},\"childPolicy\":[{\"round_robin\":{}}]}}]}");
}

Test(out_of_memory, health_check_of_outlier_detection)
{
    fail_config_in_turn("{\"loadBalancingConfig\":[{\"health_check\":{\"childPolicy\":[{\"outlier_detection\":"
                        "{\"childPolicy\":[{\"weighted_round_robin\":{}}]}}]}}]}");
}

/* ---- a list that never changes: nobody gives it again but its resolver ---- */

/* Return how many allocations there were. */
static uint64_t live_with_fixed_list(const char *config, uint64_t fail_at, bool for_good)
{
    loop = virtual_loop_create(3);
    evener_status status = {0};
    evener_runtime *runtime = NULL;
    evener_channel *channel = NULL;
    const evener_runtime_options runtime_options = {.size = sizeof runtime_options, .loop = virtual_loop_loop(loop)};
    cr_assert_eq(evener_runtime_create(&runtime_options, &runtime, &status), EVENER_STATUS_OK);
    const evener_channel_options options = {
        .size = sizeof options, .runtime = runtime, .transport = &steady, .default_service_config = config};
    failing_memory_arm(fail_at, for_good);
    const evener_status_code code = evener_channel_create("ipv4:10.0.0.1:1,10.0.0.2:1", &options, &channel, &status);
    expect_ok_or_exhausted(code, &status);
    if (code == EVENER_STATUS_OK) {
        evener_channel_connect(channel);
        virtual_loop_advance_ms(loop, 300);
        drop_one_connection();
        virtual_loop_advance_ms(loop, 300);
        evener_channel_connect(channel);
        virtual_loop_advance_ms(loop, 300);
    }
    const uint64_t allocations = failing_memory_disarm();
    if (code == EVENER_STATUS_OK) {
        evener_pick pick;
        virtual_loop_advance_ms(loop, 600000);
        evener_channel_connect(channel);
        virtual_loop_advance_ms(loop, 1000);
        cr_assert_eq(evener_channel_try_pick(channel, NULL, &pick, &status), EVENER_PICK_COMPLETE,
                     "%s, allocation %lu%s: %s", config, (unsigned long)fail_at, for_good ? " and on" : "",
                     status.message);
        evener_pick_done(&pick, NULL);
    }
    evener_channel_unref(channel);
    virtual_loop_run_until_idle(loop);
    evener_runtime_unref(runtime);
    virtual_loop_destroy(loop);
    cr_assert_eq(connections_in_use(), 0);
    return allocations;
}

static void fail_fixed_list_in_turn(const char *config)
{
    for (int for_good = 0; for_good < 2; for_good++) {
        uint64_t fail_at = 0;
        do {
            fail_at++;
        } while (live_with_fixed_list(config, fail_at, for_good == 1) >= fail_at);
        cr_assert_gt(fail_at, 30);
    }
}

Test(out_of_memory, a_fixed_list_with_pick_first)
{
    fail_fixed_list_in_turn("{\"loadBalancingConfig\":[{\"pick_first\":{}}]}");
}

/* What comes to the disk is no matter here. */
int fsync(int descriptor)
{
    (void)descriptor;
    return 0;
}

static evener_channel *open_with_cache(evener_runtime *runtime, evener_manual_resolver *manual, const char *path)
{
    evener_channel *channel = NULL;
    evener_status status;
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(manual)};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = runtime,
                                            .transport = &steady,
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .cache_file = path};
    cr_assert_eq(evener_channel_create("orders:///x", &options, &channel, &status), EVENER_STATUS_OK);
    return channel;
}

static void expect_picked(evener_channel *channel, const char *address)
{
    evener_pick pick;
    evener_status status = {0};
    evener_channel_connect(channel);
    virtual_loop_advance_ms(loop, 1000);
    cr_assert_eq(evener_channel_try_pick(channel, NULL, &pick, &status), EVENER_PICK_COMPLETE, "%s: %s", address,
                 status.message);
    cr_assert_str_eq(evener_subchannel_address_text(pick.subchannel), address);
    evener_pick_done(&pick, NULL);
}

/* Expect that the file is absent if it may be, and otherwise that it has a list of this length. */
static void expect_saved(const char *path, bool may_be_absent, size_t count, const char *config)
{
    evener_saved_list list = {0};
    evener_status status;
    const evener_status_code code = evener_saved_list_read(path, &list, &status);
    cr_assert(code == EVENER_STATUS_OK || (may_be_absent && code == EVENER_STATUS_NOT_FOUND), "%s", status.message);
    if (code == EVENER_STATUS_OK) {
        cr_assert_eq(list.count, count);
        cr_assert_str_eq(list.service_config, config);
    }
    evener_saved_list_clear(&list);
}

/* Return how many allocations there were. */
static uint64_t write_and_read_cache(const char *path, uint64_t fail_at, bool for_good)
{
    static const char config[] = "{\"loadBalancingConfig\":[{\"pick_first\":{}}]}";
    loop = virtual_loop_create(3);
    evener_status status = {0};
    evener_runtime *runtime = NULL;
    evener_manual_resolver *manual = NULL;
    const evener_runtime_options runtime_options = {.size = sizeof(runtime_options), .loop = virtual_loop_loop(loop)};
    cr_assert_eq(evener_runtime_create(&runtime_options, &runtime, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_manual_resolver_create("orders", &manual, &status), EVENER_STATUS_OK);

    evener_channel *channel = open_with_cache(runtime, manual, path);
    evener_channel_connect(channel);
    virtual_loop_advance_ms(loop, 10);
    failing_memory_arm(fail_at, for_good);
    const evener_status_code pushed = evener_manual_resolver_set(manual, "10.0.0.1:1,10.0.0.2:1", config, &status);
    expect_ok_or_exhausted(pushed, &status);
    virtual_loop_run_until_idle(loop);
    const uint64_t of_writing = failing_memory_disarm();
    expect_saved(path, of_writing >= fail_at, 2, config);
    const evener_channel_cache *cache = &channel->control.cache;
    cr_assert(cache->write_errors == 0 || strstr(cache->last_error, "out of memory") != NULL, "%s", cache->last_error);
    if (pushed == EVENER_STATUS_OK) {
        virtual_loop_advance_ms(loop, 20000);
        expect_saved(path, false, 2, config);
    }
    cr_assert_eq(evener_manual_resolver_set(manual, "10.0.0.3:1", config, &status), EVENER_STATUS_OK);
    virtual_loop_advance_ms(loop, 60000);
    expect_picked(channel, "10.0.0.3:1");
    expect_saved(path, false, 1, config);
    evener_channel_unref(channel);
    virtual_loop_run_until_idle(loop);

    evener_manual_resolver_destroy(manual); /* the next one has no list yet */
    cr_assert_eq(evener_manual_resolver_create("orders", &manual, &status), EVENER_STATUS_OK);
    channel = open_with_cache(runtime, manual, path);
    failing_memory_arm(fail_at, for_good);
    evener_channel_connect(channel);
    virtual_loop_advance_ms(loop, 1000);
    const uint64_t of_reading = failing_memory_disarm();
    virtual_loop_advance_ms(loop, 1000);
    if (of_reading < fail_at) {
        expect_picked(channel, "10.0.0.3:1");
    }
    cr_assert_eq(evener_manual_resolver_set(manual, "10.0.0.4:1", config, &status), EVENER_STATUS_OK);
    virtual_loop_advance_ms(loop, 600000);
    expect_picked(channel, "10.0.0.4:1");
    evener_channel_unref(channel);
    virtual_loop_run_until_idle(loop);
    evener_manual_resolver_destroy(manual);
    evener_runtime_unref(runtime);
    virtual_loop_destroy(loop);
    cr_assert_eq(unlink(path), 0);
    return of_writing > of_reading ? of_writing : of_reading;
}

/* A cache file is a convenience: without memory for it the channel serves all the same, and a later list is written. */
Test(out_of_memory, a_cache_file)
{
    char folder[] = "/tmp/evener-no-memory-XXXXXX", path[64];
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/a.list", folder);
    for (int for_good = 0; for_good < 2; for_good++) {
        uint64_t fail_at = 0;
        do {
            fail_at++;
        } while (write_and_read_cache(path, fail_at, for_good == 1) >= fail_at);
        cr_assert_gt(fail_at, 20);
    }
    (void)unlink(path);
    char beside[80];
    (void)snprintf(beside, sizeof beside, "%s.new", path);
    (void)unlink(beside);
    cr_expect_eq(rmdir(folder), 0);
}

/* Have each allocation of the encoding fail, then each of the parsing. */
Test(out_of_memory, a_saved_list)
{
    evener_address *addresses[70];
    evener_status status;
    for (unsigned i = 0; i < 70; i++) {
        char text[32];
        const evener_attribute attributes[] = {{"zone", "a b"}, {"weight", "7"}};
        (void)snprintf(text, sizeof text, "10.0.0.%u:80", i + 1);
        cr_assert_eq(evener_address_create(text, attributes, 2, &addresses[i], &status), EVENER_STATUS_OK);
    }
    const evener_saved_list list = {.time_ms = 1234,
                                    .target = (char *)(uintptr_t) "orders:///x",
                                    .service_config = (char *)(uintptr_t) "{ }",
                                    .addresses = addresses,
                                    .count = 70};
    char *text = NULL;
    size_t bytes = 0;
    uint64_t content;
    unsigned refused = 0;
    for (int for_good = 0; for_good < 2; for_good++) {
        free(text);
        text = NULL;
        bool encoded = false;
        for (uint64_t fail_at = 1; !encoded; fail_at++) {
            failing_memory_arm(fail_at, for_good == 1);
            encoded = evener_saved_list_encode(&list, &text, &bytes, &content);
            (void)failing_memory_disarm();
            cr_assert_eq(encoded, text != NULL);
            refused += !encoded;
        }
    }
    cr_expect_geq(refused, 10, "%u", refused);

    char *copy = malloc(bytes);
    for (int for_good = 0; for_good < 2; for_good++) {
        evener_status_code code = EVENER_STATUS_RESOURCE_EXHAUSTED;
        for (uint64_t fail_at = 1; code != EVENER_STATUS_OK; fail_at++) {
            evener_saved_list read = {0};
            memcpy(copy, text, bytes);
            failing_memory_arm(fail_at, for_good == 1);
            code = evener_saved_list_parse(copy, bytes, &read, &status);
            (void)failing_memory_disarm();
            expect_ok_or_exhausted(code, &status);
            cr_assert_eq(read.count, code == EVENER_STATUS_OK ? 70 : 0);
            cr_assert(code == EVENER_STATUS_OK || strstr(status.message, "memory") != NULL, "%s", status.message);
            cr_assert(code == EVENER_STATUS_OK || fail_at < 1000);
            evener_saved_list_clear(&read);
        }
    }
    free(copy);
    free(text);
    for (unsigned i = 0; i < 70; i++) {
        evener_address_unref(addresses[i]);
    }
}

static void *make_nothing(evener_runtime *runtime, evener_status *status)
{
    (void)runtime;
    (void)status;
    static int nothing;
    return &nothing;
}

static void end_nothing(void *object)
{
    (void)object;
}

static const evener_shared_key nothing_key = {.name = "nothing", .create = make_nothing, .destroy = end_nothing};

static void share(void *arg)
{
    evener_runtime *runtime = arg;
    evener_status status;
    failing_memory_arm(1, false);
    cr_assert_null(evener_runtime_shared(runtime, &nothing_key, &status));
    (void)failing_memory_disarm();
    cr_assert_eq(status.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_assert_not_null(evener_runtime_shared(runtime, &nothing_key, &status));
}

Test(out_of_memory, a_runtime_with_threads)
{
    evener_runtime *runtime = NULL;
    uint64_t fail_at = 0;
    evener_status_code code = EVENER_STATUS_RESOURCE_EXHAUSTED;
    while (code != EVENER_STATUS_OK) {
        evener_status status;
        failing_memory_arm(++fail_at, false);
        code = evener_runtime_create(NULL, &runtime, &status);
        (void)failing_memory_disarm();
        expect_ok_or_exhausted(code, &status);
    }
    cr_assert_gt(fail_at, 3, "runtime, loop and reclaimer");
    evener_runtime_call(runtime, share, runtime);
    evener_runtime_unref(runtime);
}
