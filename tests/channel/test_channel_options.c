/* The options of a channel: each reaches its place, each default is the documented one, each bound is exact. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include <evener/interceptor.h>
#include <evener/stats.h>

#include "lb/channel/channel_internal.h"
#include "lb/channel/reconfigure.h"
#include "lb/runtime/rcu.h"
#include "tests/support/channel_fixture.h"

#define A "127.0.0.1:1"
#define MS EVENER_NS_PER_MS

static evener_policy_builder own_policy = {.size = sizeof own_policy, .name = "own"};
static const evener_policy_builder *const own_policies[] = {&own_policy};
static const evener_attribute resolver_options[] = {{"orders.first", "1"}, {"orders.second", "2"}};
static const evener_interceptor first = {.size = sizeof first}, second = {.size = sizeof second};
static const evener_interceptor *const interceptors[] = {&first, &second};

static evener_policy *build_nothing(const evener_policy_builder *builder, evener_policy_helper *helper)
{
    (void)builder, (void)helper;
    return NULL;
}

Test(channel_options, each_reaches_its_place)
{
    own_policy.build = build_nothing;
    fixture *f = fixture_create(&(evener_channel_options){
        .policies = own_policies,
        .policy_count = 1,
        .resolver_options = resolver_options,
        .resolver_option_count = 2,
        .ignore_service_config = true,
        .user_agent = "me/1",
        .default_port = 65535,
        .idle_timeout_ms = 11,
        .connect_timeout_ms = 12,
        .backoff_initial_ms = 13,
        .backoff_max_ms = 14,
        .empty_update = EVENER_EMPTY_UPDATE_KEEP,
        .empty_update_keep_ms = EVENER_NEVER_MS,
        .queued_picks_max = 15,
        .wait_for_ready = true,
        .receive_bytes_max = 16,
        .send_bytes_max = 17,
        .compression = EVENER_COMPRESSION_IDENTITY,
        .attempts_max = 18,
        .interceptors = interceptors,
        .interceptor_count = 2,
        .calls_in_flight_max = 19,
        .backend_calls_in_flight_max = 20,
        .calls_waiting_max = 21,
        .calls_wait_ms_max = 22,
        .connections_per_backend_max = EVENER_CONNECTIONS_PER_BACKEND_MAX,
    });
    const evener_channel_settings *s = &f->channel->settings;
    cr_expect_eq(s->resolvers.own_count, 1);
    cr_expect_eq(s->policies.own_count, 1);
    cr_expect_eq(s->policies.own[0], &own_policy);
    cr_assert_eq(s->resolver_option_count, 2);
    for (size_t i = 0; i < 2; i++) {
        cr_expect_str_eq(s->resolver_options[i].key, resolver_options[i].key);
        cr_expect_str_eq(s->resolver_options[i].value, resolver_options[i].value);
        cr_expect_eq(s->interceptors[i], interceptors[i]);
    }
    cr_expect(s->ignore_service_config);
    cr_expect_str_eq(s->user_agent, "me/1");
    cr_expect_eq(s->default_port, 65535);
    cr_expect_eq(s->idle_timeout_ns, 11 * MS);
    cr_expect_eq(f->channel->pool.connect_timeout_ns, 12 * MS);
    cr_expect_eq(f->channel->pool.backoff.initial_ms, 13);
    cr_expect_eq(f->channel->pool.backoff.max_ms, 14);
    cr_expect_eq(s->empty_update, EVENER_EMPTY_UPDATE_KEEP);
    cr_expect_eq(s->empty_update_keep_ns, UINT64_MAX);
    cr_expect_eq(f->channel->queue.count_max, 15);
    cr_expect(f->channel->hot.wait_for_ready);
    cr_expect_eq(f->channel->calls.receive_bytes_max, 16);
    cr_expect_eq(f->channel->calls.send_bytes_max, 17);
    cr_expect_eq(f->channel->calls.compression, (uint32_t)EVENER_COMPRESSION_IDENTITY);
    cr_expect_eq(f->channel->calls.interceptor_count, 2);
    cr_expect_eq(f->channel->retries.attempts_max, 18);
    cr_expect_eq(s->limits.in_flight_max, 19);
    cr_expect_eq(s->limits.backend_in_flight_max, 20);
    cr_expect_eq(s->limits.waiting_max, 21);
    cr_expect_eq(s->limits.wait_ns_max, 22 * MS);
    cr_expect_eq(s->connections_per_backend_max, EVENER_CONNECTIONS_PER_BACKEND_MAX);
    fixture_destroy(f);
}

/* As evener/channel.h says. */
Test(channel_options, each_default_is_the_documented_one)
{
    fixture *f = fixture_create(&(evener_channel_options){0});
    const evener_channel_settings *s = &f->channel->settings;
    cr_expect_str_eq(s->policy_builder->name, "pick_first");
    cr_expect_eq(s->default_port, 443);
    cr_expect_eq(s->idle_timeout_ns, UINT64_C(30) * 60 * 1000 * MS);
    cr_expect_eq(f->channel->pool.connect_timeout_ns, UINT64_C(20) * 1000 * MS);
    cr_expect_eq(s->empty_update_keep_ns, UINT64_C(5) * 60 * 1000 * MS);
    cr_expect_eq(f->channel->queue.count_max, 1000000);
    cr_expect_not(f->channel->hot.wait_for_ready);
    cr_expect_eq(f->channel->retries.attempts_max, EVENER_ATTEMPTS_MAX_DEFAULT);
    cr_expect_eq(s->limits.in_flight_max, 0);
    cr_expect_eq(s->limits.waiting_max, 1000);
    cr_expect_eq(s->limits.wait_ns_max, UINT64_C(1000) * MS);
    cr_expect_eq(s->connections_per_backend_max, 10);
    cr_expect_null(f->channel->calls.callback_threads);
    fixture_destroy(f);

    f = fixture_create(&(evener_channel_options){.calls_waiting_max = EVENER_NO_CALLS_WAITING});
    cr_expect_eq(f->channel->settings.limits.waiting_max, 0);
    fixture_destroy(f);
}

static void expect(fixture *f, evener_channel_options options, const char *refusal)
{
    options.size = sizeof options;
    options.runtime = f->runtime;
    options.transport = fake_transport_transport(f->transport);
    evener_channel *channel = NULL;
    evener_status status;
    const evener_status_code code = evener_channel_create("static:" A, &options, &channel, &status);
    if (refusal == NULL) {
        cr_expect_eq(code, EVENER_STATUS_OK, "%s", status.message);
    } else {
        cr_expect_eq(code, EVENER_STATUS_INVALID_ARGUMENT, "%s", refusal);
        cr_expect_null(channel);
        cr_expect_not_null(strstr(status.message, refusal), "\"%s\" does not say \"%s\"", status.message, refusal);
    }
    evener_channel_unref(channel);
}

Test(channel_options, each_bound_is_exact)
{
    fixture *f = fixture_create(NULL);
    expect(f, (evener_channel_options){.default_port = 65535}, NULL);
    expect(f, (evener_channel_options){.default_port = 65536}, "default_port is 65536");
    expect(f, (evener_channel_options){.empty_update = EVENER_EMPTY_UPDATE_KEEP + 1}, "empty_update is");
    expect(f, (evener_channel_options){.compression = EVENER_COMPRESSION_IDENTITY + 1}, "compression is");
    expect(f, (evener_channel_options){.connections_per_backend_max = EVENER_CONNECTIONS_PER_BACKEND_MAX}, NULL);
    expect(f, (evener_channel_options){.connections_per_backend_max = EVENER_CONNECTIONS_PER_BACKEND_MAX + 1},
           "connections_per_backend_max is");
    expect(f, (evener_channel_options){.authority = ""}, "authority is empty");

    const evener_interceptor *many[EVENER_INTERCEPTORS_MAX + 1];
    for (size_t i = 0; i <= EVENER_INTERCEPTORS_MAX; i++) {
        many[i] = &first;
    }
    expect(f, (evener_channel_options){.interceptors = many, .interceptor_count = EVENER_INTERCEPTORS_MAX}, NULL);
    expect(f, (evener_channel_options){.interceptors = many, .interceptor_count = EVENER_INTERCEPTORS_MAX + 1},
           "interceptor_count is");
    expect(f, (evener_channel_options){.interceptor_count = 1}, "interceptors[0]: it is NULL");
    const evener_interceptor small = {.size = sizeof small - 1};
    many[1] = &small;
    expect(f, (evener_channel_options){.interceptors = many, .interceptor_count = 2}, "interceptors[1]: set size");
    many[1] = NULL;
    expect(f, (evener_channel_options){.interceptors = many, .interceptor_count = 2}, "interceptors[1]: it is NULL");
    fixture_destroy(f);
}

static evener_status_code build_no_resolver(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                            evener_resolver **resolver, evener_status *status)
{
    (void)builder, (void)args, (void)resolver;
    return evener_status_set(status, EVENER_STATUS_UNIMPLEMENTED, "no resolver");
}

Test(channel_options, each_entry_of_an_array_has_to_be_complete)
{
    fixture *f = fixture_create(NULL);
    const evener_attribute keyless[] = {{"a.b", "c"}, {NULL, "c"}}, valueless[] = {{"a.b", NULL}};
    expect(f, (evener_channel_options){.resolver_options = keyless, .resolver_option_count = 2}, "resolver_options[1]");
    expect(f, (evener_channel_options){.resolver_options = keyless, .resolver_option_count = 1}, NULL);
    expect(f, (evener_channel_options){.resolver_options = valueless, .resolver_option_count = 1},
           "resolver_options[0]");

    const evener_policy_builder nameless = {.size = sizeof nameless, .build = build_nothing},
                                buildless = {.size = sizeof buildless, .name = "own"};
    const evener_policy_builder *policies[] = {&nameless, &buildless, NULL};
    for (size_t i = 0; i < 3; i++) {
        expect(f, (evener_channel_options){.policies = policies + i, .policy_count = 1}, "policies[0]");
    }

    const evener_resolver_builder schemeless = {.size = sizeof schemeless, .build = build_no_resolver},
                                  useless = {.size = sizeof useless, .scheme = "own"};
    const evener_resolver_builder *resolvers[] = {&schemeless, &useless, NULL};
    for (size_t i = 0; i < 3; i++) {
        expect(f, (evener_channel_options){.resolvers = resolvers + i, .resolver_count = 1}, "resolvers[0]");
    }
    fixture_destroy(f);
}

/* grpc: naming.md: the endpoint of the target, percent-encoded, except what RFC 3986 allows there. */
Test(channel_options, the_authority_of_a_target_is_encoded)
{
    static const char *const names[][2] = {{"azAZ09", "azAZ09"},
                                           {"-._~!$&'()*+,;=:@[]", "-._~!$&'()*+,;=:@[]"},
                                           {"a/b", "a%2Fb"},
                                           {"`{|}^", "%60%7B%7C%7D%5E"},
                                           {"\303\277", "%C3%BF"}};
    fixture *f = fixture_create(NULL);
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(f->resolver)};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const evener_channel_options options = {.size = sizeof options,
                                                .runtime = f->runtime,
                                                .transport = fake_transport_transport(f->transport),
                                                .resolvers = resolvers,
                                                .resolver_count = 1};
        char target[64];
        (void)snprintf(target, sizeof target, "orders:///%s", names[i][0]);
        evener_channel *channel = NULL;
        evener_status status;
        cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s",
                     status.message);
        cr_expect_str_eq(evener_channel_authority(channel), names[i][1]);
        evener_channel_unref(channel);
    }
    fixture_destroy(f);
}

/* It may have 4,095 bytes, of which the check keeps three free for an escape. */
Test(channel_options, an_authority_that_is_too_long_is_refused)
{
    static const struct {
        size_t bytes;
        const char *end; /* of the endpoint, after its `bytes` */
        bool fits;
    } cases[] = {{4092, "", true}, {4093, "", true}, {4094, "", false}, {4092, "|", true}, {4093, "|", false}};
    fixture *f = fixture_create(NULL);
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(f->resolver)};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const evener_channel_options options = {.size = sizeof options,
                                                .runtime = f->runtime,
                                                .transport = fake_transport_transport(f->transport),
                                                .resolvers = resolvers,
                                                .resolver_count = 1};
        static char target[8192];
        (void)snprintf(target, sizeof target, "orders:///%0*d%s", (int)cases[i].bytes, 0, cases[i].end);
        evener_channel *channel = NULL;
        evener_status status;
        const evener_status_code code = evener_channel_create(target, &options, &channel, &status);
        if (cases[i].fits) {
            cr_assert_eq(code, EVENER_STATUS_OK, "%zu: %s", i, status.message);
            cr_expect_eq(strlen(evener_channel_authority(channel)), cases[i].bytes + 3 * strlen(cases[i].end));
        } else {
            cr_assert_eq(code, EVENER_STATUS_INVALID_ARGUMENT, "%zu", i);
            cr_expect_not_null(strstr(status.message, "too long for an :authority"), "%s", status.message);
        }
        evener_channel_unref(channel);
    }
    fixture_destroy(f);
}

/* How a pick takes its connection depends on whether the transport counts the users of connections. */
Test(channel_options, the_way_of_picks_is_that_of_the_transport)
{
    fixture *f = fixture_create(NULL);
    cr_expect(f->channel->pool.has_users);
    cr_expect(f->channel->hot.picks_as_user);
    cr_expect(f->channel->hot.users_shortly);
    cr_expect_not(f->channel->hot.picks_shortly);
    cr_expect_not_null(f->channel->hot.takes_calls);
    fixture_destroy(f);
    f = fixture_create_uncounted(NULL);
    cr_expect_not(f->channel->pool.has_users);
    cr_expect_not(f->channel->hot.picks_as_user);
    cr_expect_not(f->channel->hot.users_shortly);
    cr_expect_eq(f->channel->hot.picks_shortly, evener_rcu_may_enter_outermost());
    fixture_destroy(f);
}

/* All that needs neither another resolver nor another connection. */
Test(channel_options, a_live_channel_takes_new_ones)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(f->resolver)};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = f->runtime,
                                            .transport = fake_transport_transport(f->transport),
                                            .policy = "round_robin",
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .resolver_options = resolver_options,
                                            .resolver_option_count = 2,
                                            .default_port = 1234,
                                            .idle_timeout_ms = 11,
                                            .connect_timeout_ms = 12,
                                            .backoff_initial_ms = 13,
                                            .backoff_max_ms = 14,
                                            .empty_update = EVENER_EMPTY_UPDATE_FAIL,
                                            .empty_update_keep_ms = 10,
                                            .queued_picks_max = 15,
                                            .wait_for_ready = true,
                                            .receive_bytes_max = 16,
                                            .send_bytes_max = 17,
                                            .compression = EVENER_COMPRESSION_IDENTITY,
                                            .attempts_max = 18,
                                            .calls_in_flight_max = 19,
                                            .backend_calls_in_flight_max = 20,
                                            .calls_waiting_max = 21,
                                            .calls_wait_ms_max = 22,
                                            .connections_per_backend_max = 23};
    evener_status status;
    for (int restarts = 0; restarts < 2; restarts++) {
        evener_channel *prepared = NULL;
        cr_assert_eq(evener_channel_create("orders:///x", &options, &prepared, &status), EVENER_STATUS_OK);
        cr_assert_eq(evener_channel_reconfigure(f->channel, prepared, restarts == 1, false, &status), EVENER_STATUS_OK);
        evener_channel_unref(prepared);
        const evener_channel *c = f->channel;
        cr_expect_eq(c->settings.idle_timeout_ns, 11 * MS);
        cr_expect(c->control.idle_timer.active &&
                      c->control.idle_timer.deadline_ns < virtual_loop_now_ns(f->loop) + 11 * MS,
                  "it applies at once");
        cr_expect_eq(c->pool.connect_timeout_ns, 12 * MS);
        cr_expect_eq(c->pool.backoff.initial_ms, 13);
        cr_expect_eq(c->pool.backoff.max_ms, 14);
        cr_expect_eq(c->settings.empty_update, EVENER_EMPTY_UPDATE_FAIL);
        cr_expect_eq(c->settings.empty_update_keep_ns, 10 * MS);
        cr_expect_eq(c->queue.count_max, 15);
        cr_expect(c->hot.wait_for_ready);
        cr_expect_eq(c->calls.receive_bytes_max, 16);
        cr_expect_eq(c->calls.send_bytes_max, 17);
        cr_expect_eq(c->calls.compression, (uint32_t)EVENER_COMPRESSION_IDENTITY);
        cr_expect_eq(c->retries.attempts_max, 18);
        cr_expect_eq(c->settings.limits.in_flight_max, 19);
        cr_expect_eq(c->limits.in_flight_max, 19, "in force");
        cr_expect_eq(c->limits.backend_in_flight_max, 20);
        cr_expect_eq(c->limits.waiting_max, 21);
        cr_expect_eq(c->limits.wait_ns_max, 22 * MS);
        cr_expect(c->hot.is_limited);
        cr_expect_eq(c->settings.connections_per_backend_max, 23);
        cr_expect_eq(c->settings.default_port, restarts == 1 ? 1234 : 443, "a matter of the resolver");
        cr_expect_eq(c->settings.resolver_option_count, restarts == 1 ? 2 : 0);
    }
    cr_expect_str_eq(f->channel->settings.resolver_options[1].key, resolver_options[1].key);
    virtual_loop_run_until_idle(f->loop);
    cr_expect_str_eq(fixture_pick(f), A);
    cr_expect_eq(fake_transport_attempts(f->transport, A), 1, "no connection is lost");
    evener_channel_close(f->channel);
    virtual_loop_run_until_idle(f->loop);
    evener_channel *prepared = NULL;
    cr_assert_eq(evener_channel_create("orders:///y", &options, &prepared, &status), EVENER_STATUS_OK);
    cr_expect_eq(evener_channel_reconfigure(f->channel, prepared, true, true, &status), EVENER_STATUS_OK);
    evener_channel_unref(prepared);
    cr_expect_str_eq(evener_channel_target(f->channel), "orders:///x", "a closed one changes no more");
    fixture_destroy(f);
}

/* Names that a program may hold stay valid, and those that come back are used again. */
Test(channel_options, former_names_of_a_live_channel_stay_valid)
{
    static const struct {
        const char *target, *authority;
    } names[] = {{"orders:///b", NULL}, {"orders:///c", "d"},  {"orders:///x", "d"},
                 {"orders:///b", "e"},  {"orders:///x", NULL}, {"orders:///c", "d"}};
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(f->resolver)};
    const char *targets[7] = {evener_channel_target(f->channel)},
               *authorities[7] = {evener_channel_authority(f->channel)};
    const char *target_texts[7] = {"orders:///x"}, *authority_texts[7] = {"x"};
    for (size_t i = 0; i < 6; i++) {
        const evener_channel_options options = {.size = sizeof options,
                                                .runtime = f->runtime,
                                                .transport = fake_transport_transport(f->transport),
                                                .policy = "round_robin",
                                                .resolvers = resolvers,
                                                .resolver_count = 1,
                                                .authority = names[i].authority};
        evener_channel *prepared = NULL;
        evener_status status;
        cr_assert_eq(evener_channel_create(names[i].target, &options, &prepared, &status), EVENER_STATUS_OK);
        cr_assert_eq(evener_channel_reconfigure(f->channel, prepared, true, false, &status), EVENER_STATUS_OK);
        evener_channel_unref(prepared);
        virtual_loop_run_until_idle(f->loop);
        targets[i + 1] = evener_channel_target(f->channel);
        authorities[i + 1] = evener_channel_authority(f->channel);
        target_texts[i + 1] = names[i].target;
        authority_texts[i + 1] =
            names[i].authority != NULL ? names[i].authority : names[i].target + strlen("orders:///");
        for (size_t j = 0; j <= i + 1; j++) {
            cr_expect_str_eq(targets[j], target_texts[j], "%zu after %zu", j, i);
            cr_expect_str_eq(authorities[j], authority_texts[j], "%zu after %zu", j, i);
        }
        cr_expect_eq(f->channel->control.helper.target, targets[i + 1]);
        cr_expect_eq(f->channel->control.helper.authority, authorities[i + 1]);
        cr_expect_eq(f->channel->pool.authority, authorities[i + 1]);
        cr_expect_str_eq(fixture_pick(f), A);
    }
    cr_expect_eq(targets[4], targets[1], "not a copy");
    cr_expect_eq(targets[5], targets[0]);
    cr_expect_eq(authorities[5], authorities[0]);
    cr_expect_eq(authorities[6], authorities[2]);
    fixture_destroy(f);
}

static unsigned credentials_set;

static evener_status_code set_credentials(evener_transport *transport, const evener_credentials *credentials,
                                          evener_status *status)
{
    (void)transport;
    cr_assert_not_null(credentials);
    if (++credentials_set > 1) {
        return evener_status_set(status, EVENER_STATUS_UNAUTHENTICATED, "no second time");
    }
    return evener_status_clear(status);
}

/* A transport may be unable to replace them: an older one, whose table ends before that function, or one without it. */
Test(channel_options, credentials_are_replaced_where_the_transport_can)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    evener_transport *transport = fake_transport_transport(f->transport);
    const evener_transport_vtable *const its_own = transport->vtable;
    evener_transport_vtable vtable = *its_own;
    transport->vtable = &vtable;
    evener_credentials *insecure = NULL;
    evener_status status;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, &status), EVENER_STATUS_OK);

    vtable.set_credentials = NULL;
    cr_expect_eq(evener_channel_set_credentials(f->channel, insecure, &status), EVENER_STATUS_FAILED_PRECONDITION);
    cr_expect_str_eq(status.message, "credentials of \"orders:///x\": its transport cannot replace them");
    vtable.set_credentials = set_credentials;
    vtable.size = offsetof(evener_transport_vtable, set_credentials) + sizeof vtable.set_credentials - 1;
    cr_expect_eq(evener_channel_set_credentials(f->channel, insecure, &status), EVENER_STATUS_FAILED_PRECONDITION);
    cr_expect_eq(credentials_set, 0);
    virtual_loop_run_until_idle(f->loop);
    cr_expect_eq(fake_transport_attempts(f->transport, A), 1, "nothing has changed");

    vtable.size++;
    cr_expect_eq(evener_channel_set_credentials(f->channel, insecure, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(credentials_set, 1);
    virtual_loop_run_until_idle(f->loop);
    cr_expect_eq(fake_transport_attempts(f->transport, A), 2, "it has connected anew");
    cr_expect_eq(evener_channel_set_credentials(f->channel, insecure, &status), EVENER_STATUS_UNAUTHENTICATED);
    cr_expect_str_eq(status.message, "no second time");
    virtual_loop_run_until_idle(f->loop);
    cr_expect_eq(fake_transport_attempts(f->transport, A), 2, "nothing has changed");

    cr_expect_eq(evener_channel_set_credentials(NULL, insecure, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "`channel`"), "%s", status.message);
    cr_expect_eq(evener_channel_set_credentials(f->channel, NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "`credentials`"), "%s", status.message);
    evener_channel_close(f->channel);
    virtual_loop_run_until_idle(f->loop);
    cr_expect_eq(evener_channel_set_credentials(f->channel, insecure, &status), EVENER_STATUS_UNAVAILABLE);
    cr_expect_str_eq(status.message, "channel closed");
    cr_expect_eq(credentials_set, 2);
    virtual_loop_run_until_idle(f->loop);
    transport->vtable = its_own;
    evener_credentials_destroy(insecure);
    fixture_destroy(f);
}

static void expect_policy(fixture *f, const char *policy)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    cr_assert_eq(evener_channel_get_stats(f->channel, &stats, NULL), EVENER_STATUS_OK);
    cr_expect_str_eq(stats.policy, policy);
    evener_channel_stats_clear(&stats);
}

/* The resolver's service config goes out of force when a channel begins to ignore it. */
Test(channel_options, the_service_config_may_be_ignored_from_now_on)
{
    fixture *f = fixture_create(NULL);
    fixture_connect(f);
    fixture_push_config(f, A, "{\"loadBalancingPolicy\": \"random\"}");
    expect_policy(f, "random");
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(f->resolver)};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = f->runtime,
                                            .transport = fake_transport_transport(f->transport),
                                            .policy = "round_robin",
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .ignore_service_config = true};
    evener_channel *prepared = NULL;
    evener_status status;
    cr_assert_eq(evener_channel_create("orders:///x", &options, &prepared, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_channel_reconfigure(f->channel, prepared, false, false, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    evener_channel_unref(prepared);
    virtual_loop_run_until_idle(f->loop);
    expect_policy(f, "round_robin");
    fixture_push_config(f, A, "{\"loadBalancingPolicy\": \"random\"}");
    expect_policy(f, "round_robin");
    fixture_destroy(f);
}
