/* The test cases of the C core's client_lb_end2end_test.cc, with the same names, against real servers in this
 * process. */
#include <criterion/criterion.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <evener/evener.h>

#include "demo_server/server.h"
#include "tests/support/held_port.h"

#define SERVERS_MAX 4
#define METHOD "/grpcdemo.GrpcDemo/DemoImport"

typedef struct scene {
    demo_server *servers[SERVERS_MAX];
    uint16_t ports[SERVERS_MAX]; /* stay reserved while a server is stopped */
    int held[SERVERS_MAX];       /* the sockets that reserve the ports */
    evener_runtime *runtime;
    evener_manual_resolver *resolver;
    evener_channel *channel;
} scene;

static void start_server(scene *s, int index)
{
    char error[DEMO_SERVER_ERROR_BYTES];
    if (s->ports[index] == 0) {
        s->held[index] = held_port(&s->ports[index]);
    }
    const demo_server_options options = {.port = s->ports[index]};
    s->servers[index] = demo_server_start(&options, error);
    cr_assert_not_null(s->servers[index], "%s", error);
}

static void stop_server(scene *s, int index)
{
    demo_server_stop(s->servers[index], 0);
    s->servers[index] = NULL;
}

/* Open a channel with a policy; no list is pushed yet. Backoffs are short, as in the C core's tests. */
static void open_scene(scene *s, const char *policy, int servers)
{
    memset(s, 0, sizeof *s);
    for (int i = 0; i < servers; i++) {
        start_server(s, i);
    }
    evener_status status;
    evener_credentials *insecure;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_runtime_create(NULL, &s->runtime, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_manual_resolver_create("orders", &s->resolver, &status), EVENER_STATUS_OK);
    const evener_resolver_builder *own[] = {evener_manual_resolver_builder(s->resolver)};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = s->runtime,
                                            .credentials = insecure,
                                            .resolvers = own,
                                            .resolver_count = 1,
                                            .policy = policy,
                                            .backoff_initial_ms = 50,
                                            .backoff_max_ms = 100,
                                            .empty_update = EVENER_EMPTY_UPDATE_FAIL};
    cr_assert_eq(evener_channel_create("orders:///server.example", &options, &s->channel, &status), EVENER_STATUS_OK,
                 "%s", status.message);
    evener_credentials_destroy(insecure);
}

static void close_scene(scene *s)
{
    evener_channel_unref(s->channel);
    evener_manual_resolver_destroy(s->resolver);
    evener_runtime_unref(s->runtime);
    for (int i = 0; i < SERVERS_MAX; i++) {
        demo_server_stop(s->servers[i], 0);
        if (s->ports[i] != 0) {
            close(s->held[i]);
        }
    }
}

/* Wait for the control thread to run all posted tasks and those that they post. */
static void settle(scene *s)
{
    for (int i = 0; i < 3; i++) {
        evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
        cr_assert_eq(evener_channel_get_stats(s->channel, &stats, NULL), EVENER_STATUS_OK);
        evener_channel_stats_clear(&stats);
    }
}

/* Push the servers with these digits, in this order ("021"), and wait until the channel has the list. */
static void push(scene *s, const char *indices)
{
    char list[256] = "";
    evener_status status;
    for (const char *c = indices; *c != '\0'; c++) {
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s127.0.0.1:%u", used > 0 ? "," : "", s->ports[*c - '0']);
    }
    if (*indices == '\0') {
        const evener_resolver_update nothing = {.size = sizeof nothing};
        cr_assert_eq(evener_manual_resolver_update(s->resolver, &nothing, &status), EVENER_STATUS_OK);
    } else {
        cr_assert_eq(evener_manual_resolver_set(s->resolver, list, NULL, &status), EVENER_STATUS_OK, "%s",
                     status.message);
    }
    settle(s);
}

static evener_status_code call(scene *s, bool wait_for_ready, evener_status *status)
{
    const evener_call_options options = {.size = sizeof options,
                                         .timeout_ms = 20000,
                                         .wait_for_ready =
                                             wait_for_ready ? EVENER_WAIT_FOR_READY_YES : EVENER_WAIT_FOR_READY_NO};
    return evener_unary_call(s->channel, METHOD, NULL, &options, NULL, status);
}

static void call_ok(scene *s)
{
    evener_status status;
    cr_assert_eq(call(s, true, &status), EVENER_STATUS_OK, "%s", status.message);
}

static uint64_t calls_of(const scene *s, int index)
{
    return s->servers[index] != NULL ? demo_server_calls(s->servers[index]) : 0;
}

/* Make calls until one more reaches the server; at most 20 s. */
static void wait_for_server(scene *s, int index)
{
    const uint64_t before = calls_of(s, index);
    const time_t end = time(NULL) + 20;
    while (calls_of(s, index) == before) {
        cr_assert(time(NULL) < end, "no call reaches server %d", index);
        evener_status status;
        (void)call(s, true, &status);
    }
}

static void wait_for_servers(scene *s, const char *indices)
{
    for (; *indices != '\0'; indices++) {
        wait_for_server(s, *indices - '0');
    }
}

static void wait_for_state(scene *s, evener_connectivity_state wanted)
{
    const time_t end = time(NULL) + 20;
    evener_connectivity_state state = evener_channel_state(s->channel, false);
    while (state != wanted) {
        cr_assert(time(NULL) < end, "the channel is %s, not %s", evener_connectivity_state_name(state),
                  evener_connectivity_state_name(wanted));
        state = evener_channel_wait_for_state_change(s->channel, state, 100);
    }
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- pick_first ---- */

Test(client_lb, PickFirst)
{
    scene s;
    open_scene(&s, "pick_first", 3);
    push(&s, "012");
    for (int i = 0; i < 3; i++) {
        call_ok(&s);
    }
    cr_assert_eq(calls_of(&s, 0) + calls_of(&s, 1) + calls_of(&s, 2), 3);
    cr_assert(calls_of(&s, 0) == 3 || calls_of(&s, 1) == 3 || calls_of(&s, 2) == 3, "all calls go to one server");
    close_scene(&s);
}

Test(client_lb, PickFirstProcessPending)
{
    scene s;
    open_scene(&s, "pick_first", 1);
    push(&s, "0");
    call_ok(&s);
    call_ok(&s);
    cr_assert_eq(calls_of(&s, 0), 2);
    close_scene(&s);
}

Test(client_lb, PickFirstUpdates)
{
    scene s;
    open_scene(&s, "pick_first", 3);
    push(&s, "0");
    wait_for_server(&s, 0);
    cr_assert_eq(calls_of(&s, 1), 0);
    push(&s, "1");
    wait_for_server(&s, 1);
    push(&s, "2");
    wait_for_server(&s, 2);
    const uint64_t before = calls_of(&s, 0) + calls_of(&s, 1);
    call_ok(&s);
    cr_assert_eq(calls_of(&s, 0) + calls_of(&s, 1), before);
    close_scene(&s);
}

/* An update that still contains the selected address keeps its connection (A113, pick_first). */
Test(client_lb, PickFirstUpdateSuperset)
{
    scene s;
    open_scene(&s, "pick_first", 3);
    push(&s, "0");
    wait_for_server(&s, 0);
    push(&s, "102");
    for (int i = 0; i < 10; i++) {
        call_ok(&s);
    }
    cr_assert_eq(calls_of(&s, 1) + calls_of(&s, 2), 0);
    close_scene(&s);
}

Test(client_lb, PickFirstManyUpdates)
{
    scene s;
    open_scene(&s, "pick_first", 3);
    static const char *const lists[] = {"012", "120", "201", "210", "102", "021"};
    for (int i = 0; i < 1000; i++) {
        push(&s, lists[i % 6]);
        if (i % 10 == 0) {
            call_ok(&s);
        }
    }
    cr_assert_eq(calls_of(&s, 0) + calls_of(&s, 1) + calls_of(&s, 2), 100);
    close_scene(&s);
}

Test(client_lb, PickFirstReresolutionNoSelected)
{
    scene s;
    open_scene(&s, "pick_first", 3);
    stop_server(&s, 1);
    stop_server(&s, 2);
    push(&s, "12");
    evener_status status;
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(call(&s, false, &status), EVENER_STATUS_UNAVAILABLE);
    }
    settle(&s);
    cr_assert_gt(evener_manual_resolver_resolve_now_count(s.resolver), 0);
    push(&s, "120");
    wait_for_server(&s, 0);
    close_scene(&s);
}

Test(client_lb, PickFirstReconnectWithoutNewResolverResult)
{
    scene s;
    open_scene(&s, "pick_first", 1);
    push(&s, "0");
    wait_for_server(&s, 0);
    stop_server(&s, 0);
    wait_for_state(&s, EVENER_IDLE);
    start_server(&s, 0);
    wait_for_server(&s, 0);
    close_scene(&s);
}

Test(client_lb, PickFirstReconnectWithoutNewResolverResultStartsFromTopOfList)
{
    scene s;
    open_scene(&s, "pick_first", 2);
    stop_server(&s, 0);
    push(&s, "01");
    wait_for_server(&s, 1);
    start_server(&s, 0);
    stop_server(&s, 1);
    wait_for_server(&s, 0);
    close_scene(&s);
}

Test(client_lb, PickFirstIdleOnDisconnect)
{
    scene s;
    open_scene(&s, "pick_first", 1);
    push(&s, "0");
    call_ok(&s);
    stop_server(&s, 0);
    wait_for_state(&s, EVENER_IDLE);
    settle(&s);
    cr_assert_gt(evener_manual_resolver_resolve_now_count(s.resolver), 0);
    close_scene(&s);
}

/* A62 (pick_first, sticky TRANSIENT_FAILURE) */
Test(client_lb, PickFirstStaysTransientFailureOnFailedConnectionAttemptUntilReady)
{
    scene s;
    open_scene(&s, "pick_first", 1);
    stop_server(&s, 0);
    push(&s, "0");
    evener_channel_connect(s.channel);
    wait_for_state(&s, EVENER_TRANSIENT_FAILURE);
    for (int i = 0; i < 20; i++) { /* several backoffs */
        pause_ms(20);
        const evener_connectivity_state state = evener_channel_state(s.channel, false);
        cr_assert_eq(state, EVENER_TRANSIENT_FAILURE, "%s", evener_connectivity_state_name(state));
    }
    evener_status status;
    cr_assert_eq(call(&s, false, &status), EVENER_STATUS_UNAVAILABLE);
    cr_assert_not_null(strstr(status.message, "failed to connect to all addresses"), "%s", status.message);
    start_server(&s, 0);
    wait_for_state(&s, EVENER_READY);
    close_scene(&s);
}

Test(client_lb, PickFirstEmptyUpdate)
{
    scene s;
    open_scene(&s, "pick_first", 1);
    push(&s, "0");
    call_ok(&s);
    push(&s, "");
    wait_for_state(&s, EVENER_TRANSIENT_FAILURE);
    evener_status status;
    cr_assert_eq(call(&s, false, &status), EVENER_STATUS_UNAVAILABLE);
    push(&s, "0");
    wait_for_server(&s, 0);
    close_scene(&s);
}

/* ---- round_robin ---- */

Test(client_lb, RoundRobin)
{
    scene s;
    open_scene(&s, "round_robin", 3);
    push(&s, "012");
    wait_for_servers(&s, "012");
    uint64_t before[3];
    for (int i = 0; i < 3; i++) {
        before[i] = calls_of(&s, i);
    }
    for (int i = 0; i < 30; i++) {
        call_ok(&s);
    }
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(calls_of(&s, i) - before[i], 10, "each backend in turn");
    }
    close_scene(&s);
}

Test(client_lb, RoundRobinProcessPending)
{
    scene s;
    open_scene(&s, "round_robin", 1);
    push(&s, "0");
    call_ok(&s);
    call_ok(&s);
    close_scene(&s);
}

Test(client_lb, RoundRobinUpdates)
{
    scene s;
    open_scene(&s, "round_robin", 3);
    push(&s, "0");
    wait_for_server(&s, 0);
    cr_assert_eq(calls_of(&s, 1), 0);
    push(&s, "1");
    wait_for_server(&s, 1);
    const uint64_t before = calls_of(&s, 0);
    for (int i = 0; i < 5; i++) {
        call_ok(&s);
    }
    cr_assert_eq(calls_of(&s, 0), before);
    push(&s, "012");
    wait_for_servers(&s, "012");
    push(&s, "");
    wait_for_state(&s, EVENER_TRANSIENT_FAILURE);
    push(&s, "1");
    wait_for_server(&s, 1);
    close_scene(&s);
}

Test(client_lb, RoundRobinUpdateInError)
{
    scene s;
    open_scene(&s, "round_robin", 3);
    push(&s, "0");
    wait_for_server(&s, 0);
    stop_server(&s, 2);
    push(&s, "012"); /* one of them is down */
    wait_for_servers(&s, "01");
    for (int i = 0; i < 20; i++) {
        evener_status status;
        cr_assert_eq(call(&s, false, &status), EVENER_STATUS_OK, "%s", status.message);
    }
    close_scene(&s);
}

Test(client_lb, RoundRobinManyUpdates)
{
    scene s;
    open_scene(&s, "round_robin", 3);
    static const char *const lists[] = {"012", "120", "201", "210", "102", "021"};
    for (int i = 0; i < 1000; i++) {
        push(&s, lists[i % 6]);
        if (i % 10 == 0) {
            call_ok(&s);
        }
    }
    close_scene(&s);
}

Test(client_lb, RoundRobinReresolve)
{
    scene s;
    open_scene(&s, "round_robin", 3);
    push(&s, "012");
    wait_for_servers(&s, "012");
    for (int i = 0; i < 3; i++) {
        stop_server(&s, i);
    }
    wait_for_state(&s, EVENER_TRANSIENT_FAILURE);
    evener_status status;
    cr_assert_eq(call(&s, false, &status), EVENER_STATUS_UNAVAILABLE);
    settle(&s);
    cr_assert_gt(evener_manual_resolver_resolve_now_count(s.resolver), 0);
    for (int i = 0; i < 3; i++) {
        start_server(&s, i);
    }
    wait_for_servers(&s, "012");
    close_scene(&s);
}

Test(client_lb, RoundRobinTransientFailure)
{
    scene s;
    open_scene(&s, "round_robin", 3);
    push(&s, "012");
    wait_for_servers(&s, "012");
    for (int i = 0; i < 3; i++) {
        stop_server(&s, i);
    }
    wait_for_state(&s, EVENER_TRANSIENT_FAILURE);
    evener_status status;
    cr_assert_eq(call(&s, false, &status), EVENER_STATUS_UNAVAILABLE);
    cr_assert_not_null(strstr(status.message, "connections to all backends failing; last error: "), "%s",
                       status.message);
    close_scene(&s);
}

Test(client_lb, RoundRobinTransientFailureAtStartup)
{
    scene s;
    open_scene(&s, "round_robin", 1);
    stop_server(&s, 0);
    push(&s, "0");
    evener_status status;
    cr_assert_eq(call(&s, false, &status), EVENER_STATUS_UNAVAILABLE);
    cr_assert_not_null(strstr(status.message, "connections to all backends failing; last error: "), "%s",
                       status.message);
    close_scene(&s);
}

Test(client_lb, RoundRobinSingleReconnect)
{
    scene s;
    open_scene(&s, "round_robin", 3);
    push(&s, "012");
    wait_for_servers(&s, "012");
    stop_server(&s, 0);
    for (int i = 0; i < 20; i++) { /* calls are sequential, so at most the one on the wire fails */
        evener_status status;
        (void)call(&s, true, &status);
    }
    for (int i = 0; i < 10; i++) {
        call_ok(&s);
    }
    start_server(&s, 0);
    wait_for_server(&s, 0);
    close_scene(&s);
}

Test(client_lb, RoundRobinStaysInTransientFailureInSubsequentConnecting)
{
    scene s;
    open_scene(&s, "round_robin", 1);
    stop_server(&s, 0);
    push(&s, "0");
    evener_channel_connect(s.channel);
    wait_for_state(&s, EVENER_TRANSIENT_FAILURE);
    for (int i = 0; i < 40; i++) {
        pause_ms(10);
        cr_assert_eq(evener_channel_state(s.channel, false), EVENER_TRANSIENT_FAILURE);
    }
    close_scene(&s);
}

Test(client_lb, RoundRobinDoesNotFailRpcsUponDisconnection)
{
    scene s;
    open_scene(&s, "round_robin", 1);
    push(&s, "0");
    for (int i = 0; i < 5; i++) {
        call_ok(&s);
        demo_server_stop(s.servers[0], 1000); /* graceful: sends GOAWAY */
        s.servers[0] = NULL;
        start_server(&s, 0);
    }
    call_ok(&s);
    close_scene(&s);
}

/* ---- authority, attributes ---- */

static const char *host_seen(scene *s)
{
    static char host[256];
    evener_call_details details = {.size = sizeof details};
    const evener_metadata asking = {.key = "echo-me", .value = "x", .value_bytes = 1};
    const evener_call_options options = {.size = sizeof options,
                                         .timeout_ms = 20000,
                                         .metadata = &asking,
                                         .metadata_count = 1,
                                         .wait_for_ready = EVENER_WAIT_FOR_READY_YES,
                                         .details = &details};
    evener_status status;
    cr_assert_eq(evener_unary_call(s->channel, METHOD, NULL, &options, NULL, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    const evener_metadata *seen =
        evener_metadata_find(details.initial_metadata, details.initial_metadata_count, "host-seen");
    cr_assert_not_null(seen);
    snprintf(host, sizeof host, "%.*s", (int)seen->value_bytes, seen->value);
    evener_call_details_clear(&details);
    return host;
}

/* C core: ClientLbAuthorityTest */
Test(client_lb, Authority)
{
    scene s;
    open_scene(&s, "round_robin", 1);
    push(&s, "0");
    cr_assert_str_eq(host_seen(&s), "server.example");
    char list[128];
    snprintf(list, sizeof list, "127.0.0.1:%u;authority=backend.example", s.ports[0]);
    evener_status status;
    cr_assert_eq(evener_manual_resolver_set(s.resolver, list, NULL, &status), EVENER_STATUS_OK);
    const time_t end = time(NULL) + 20;
    while (strcmp(host_seen(&s), "backend.example") != 0) {
        cr_assert(time(NULL) < end, "the address's own authority is used");
    }
    close_scene(&s);
}

/* C core: ClientLbAddressTest. A change of attributes alone does not reconnect. */
Test(client_lb, Attributes)
{
    scene s;
    open_scene(&s, "round_robin", 1);
    push(&s, "0");
    call_ok(&s);
    for (int i = 0; i < 20; i++) {
        char list[128];
        snprintf(list, sizeof list, "127.0.0.1:%u;weight=%d;zone=z%d", s.ports[0], i + 1, i);
        cr_assert_eq(evener_manual_resolver_set(s.resolver, list, NULL, NULL), EVENER_STATUS_OK);
        call_ok(&s);
    }
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    cr_assert_eq(evener_channel_get_stats(s.channel, &stats, NULL), EVENER_STATUS_OK);
    cr_assert_eq(stats.subchannels[0].connects, 1);
    cr_assert_eq(stats.subchannels[0].picks, 21);
    evener_channel_stats_clear(&stats);
    close_scene(&s);
}

/* C core: ChannelIdleness. Eight channels share a runtime's objects without disturbing each other. */
Test(client_lb, ManyChannels)
{
    scene scenes[8];
    for (int i = 0; i < 8; i++) {
        open_scene(&scenes[i], i % 2 == 0 ? "round_robin" : "pick_first", 2);
        push(&scenes[i], "01");
        call_ok(&scenes[i]);
    }
    for (int i = 0; i < 8; i++) {
        close_scene(&scenes[i]);
    }
}
