/* The channel: creation, updates, service config, idleness, the end. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>
#include <evener/stats.h>

#include "lb/channel/channel_internal.h"
#include "lb/channel/reconfigure.h"
#include "lb/runtime/rcu.h"
#include "tests/support/channel_fixture.h"

#define A "127.0.0.1:1"
#define B "127.0.0.1:2"

/* ---- creation ---- */

static void expect_refusal(const char *target, const evener_channel_options *options, const char *part)
{
    evener_channel *channel = NULL;
    evener_status status;
    cr_assert_eq(evener_channel_create(target, options, &channel, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_null(channel);
    cr_assert_not_null(strstr(status.message, part), "\"%s\" does not say \"%s\"", status.message, part);
}

Test(channel_create, names_what_is_wrong)
{
    fixture *f = fixture_create(NULL);
    evener_channel_options good = {
        .size = sizeof good, .runtime = f->runtime, .transport = fake_transport_transport(f->transport)};
    evener_channel_options options = good;
    expect_refusal(NULL, &options, "target is NULL");
    expect_refusal("", &options, "target");
    expect_refusal("static:127.0.0.1", &options, "port");
    options.size = 0;
    expect_refusal("static:" A, &options, "sizeof(evener_channel_options)");
    options = good;
    options.policy = "no_such";
    expect_refusal("static:" A, &options, "no_such");
    options = good;
    options.default_port = 70000;
    expect_refusal("static:" A, &options, "70000");
    options = good;
    options.default_service_config = "{\"loadBalancingConfig\": 5}";
    expect_refusal("static:" A, &options, "loadBalancingConfig");
    options.default_service_config = "{\"loadBalancingPolicy\": \"no_such\"}";
    expect_refusal("static:" A, &options, "no_such");
    options.default_service_config = "{nonsense";
    expect_refusal("static:" A, &options, "line 1");
    options = good;
    options.resolver_count = 1;
    expect_refusal("static:" A, &options, "resolvers is NULL");
    const evener_resolver_builder *hole[] = {NULL};
    options.resolvers = hole;
    expect_refusal("static:" A, &options, "resolvers[0]");
    fixture_destroy(f);
}

Test(channel_create, a_bad_resolver_option_or_child_target_is_refused)
{
    fixture *f = fixture_create(NULL);
    evener_attribute option = {"dns.tries", "0"};
    evener_channel_options options = {.size = sizeof options,
                                      .runtime = f->runtime,
                                      .transport = fake_transport_transport(f->transport),
                                      .resolver_options = &option,
                                      .resolver_option_count = 1};
    expect_refusal("dns:///orders.prod", &options, "dns.tries");
    expect_refusal("srv:_grpc._tcp.orders.prod", &options, "dns.tries");
    expect_refusal("fallback:static:" A "|dns:orders.prod", &options, "fallback: target 2: resolver option dns.tries");
    expect_refusal("merge:static:" A "|fallback:static:" A "%257Cdns:orders.prod", &options,
                   "merge: target 2: fallback: target 2: resolver option dns.tries");
    option = (evener_attribute){"file.poll_ms", "soon"};
    expect_refusal("file:///no/such/file", &options, "file.poll_ms");
    option = (evener_attribute){"fallback.wait_ms", "0"};
    expect_refusal("fallback:static:" A "|static:" B, &options, "fallback.wait_ms");
    option = (evener_attribute){"merge.wait_ms", "0"};
    expect_refusal("merge:static:" A "|static:" B, &options, "merge.wait_ms");
    option = (evener_attribute){"other.option", "any"};
    expect_refusal("merge:static:" A "|static:10.0.0.1", &options, "merge: target 2: static");
    fixture_destroy(f);
}

/* The arguments that check() receives. */
static evener_status_code picky_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                      evener_status *status)
{
    cr_assert_str_eq(builder->scheme, "picky");
    cr_assert_eq(args->size, sizeof *args);
    cr_assert_str_eq(evener_target_endpoint(args->target), "x");
    cr_assert_eq(args->default_port, 4711);
    cr_assert_null(args->sink);
    cr_assert_null(args->runtime);
    cr_assert_null(args->loop);
    cr_assert_eq(evener_resolver_find(args->resolvers, "picky"), builder);
    const char *wanted = evener_resolver_option(args, "picky.value");
    cr_assert_not_null(wanted);
    return strcmp(wanted, "good") == 0
               ? evener_status_clear(status)
               : evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "picky.value = \"%s\"", wanted);
}

static evener_status_code picky_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                      evener_resolver **resolver, evener_status *status)
{
    (void)builder, (void)args, (void)resolver;
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "no descriptors");
}

static const evener_resolver_builder picky = {
    .size = sizeof picky, .scheme = "picky", .build = picky_build, .check = picky_check};

Test(channel_create, a_resolver_of_ones_own_checks_its_options)
{
    fixture *f = fixture_create(NULL);
    const evener_resolver_builder *own[] = {&picky};
    evener_attribute option = {"picky.value", "bad"};
    evener_channel_options options = {.size = sizeof options,
                                      .runtime = f->runtime,
                                      .transport = fake_transport_transport(f->transport),
                                      .resolvers = own,
                                      .resolver_count = 1,
                                      .resolver_options = &option,
                                      .resolver_option_count = 1,
                                      .default_port = 4711};
    expect_refusal("picky:x", &options, "picky.value = \"bad\"");
    option.value = "good";
    evener_channel *channel;
    cr_assert_eq(evener_channel_create("picky:x", &options, &channel, NULL), EVENER_STATUS_OK);
    evener_channel_unref(channel);
    fixture_destroy(f);
}

/* resolver.h: 1 s, x 1.6, +-20 %, at most 120 s */
Test(channel, a_resolver_that_cannot_be_built_is_built_again_after_a_backoff)
{
    fixture *f = fixture_create(NULL);
    const evener_resolver_builder *own[] = {&picky};
    const evener_attribute option = {"picky.value", "good"};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = f->runtime,
                                            .transport = fake_transport_transport(f->transport),
                                            .resolvers = own,
                                            .resolver_count = 1,
                                            .resolver_options = &option,
                                            .resolver_option_count = 1,
                                            .default_port = 4711};
    evener_channel *channel;
    cr_assert_eq(evener_channel_create("picky:x", &options, &channel, NULL), EVENER_STATUS_OK);
    evener_channel_connect(channel);
    virtual_loop_run_until_idle(f->loop);
    double expected_ms = 1000;
    for (uint64_t builds = 1; builds < 15; builds++) {
        evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof(evener_subchannel_stats)};
        uint64_t waited_ms = 0;
        do {
            cr_assert_eq(evener_channel_get_stats(channel, &stats, NULL), EVENER_STATUS_OK);
            cr_assert_eq(evener_channel_state(channel, false), EVENER_TRANSIENT_FAILURE);
            cr_assert(strstr(stats.last_resolver_error, "no descriptors") != NULL);
            evener_channel_stats_clear(&stats);
            evener_channel_get_stats(channel, &stats, NULL);
            const uint64_t errors = stats.resolver_errors;
            evener_channel_stats_clear(&stats);
            if (errors > builds) {
                break;
            }
            virtual_loop_advance_ms(f->loop, 1);
            waited_ms++;
        } while (waited_ms < 200000);
        cr_assert((double)waited_ms >= expected_ms * 0.8 - 1 && (double)waited_ms <= expected_ms * 1.2 + 1,
                  "build %d came %d ms after the one before it, not %d +-20 %%", (int)builds + 1, (int)waited_ms,
                  (int)expected_ms);
        expected_ms = expected_ms * 1.6 < 120000 ? expected_ms * 1.6 : 120000;
    }
    const uint64_t errors = channel->control.resolver_errors;
    evener_channel_reset_connect_backoff(channel);
    cr_expect_eq(channel->control.resolver_errors, errors);
    virtual_loop_run_until_idle(f->loop);
    cr_expect_eq(channel->control.resolver_errors, errors + 1, "at once");
    virtual_loop_advance_ms(f->loop, 799);
    cr_expect_eq(channel->control.resolver_errors, errors + 1);
    virtual_loop_advance_ms(f->loop, 402);
    cr_expect_eq(channel->control.resolver_errors, errors + 2, "the backoff begins anew");
    evener_channel_unref(channel);
    fixture_destroy(f);
}

Test(channel_create, without_credentials_is_refused_with_a_hint)
{
    const evener_channel_options options = {.size = sizeof options};
    expect_refusal("static:" A, &options, "evener_credentials_create_insecure");
    expect_refusal("static:" A, NULL, "evener_credentials_create_insecure");
}

/* Row F7: text that goes on the wire is checked at the door, whatever the transport. */
Test(channel_create, f7_text_that_cannot_be_sent_is_refused)
{
    static const char *const authorities[] = {"a b", "a\r\nb: c", "user@host", "h\303\244.example"};
    static const char *const user_agents[] = {"me\r\nb: c", "m\303\244", "a\177"};
    for (size_t i = 0; i < sizeof authorities / sizeof authorities[0]; i++) {
        const evener_channel_options options = {.size = sizeof options, .authority = authorities[i]};
        expect_refusal("static:" A, &options, "authority is no host name");
    }
    for (size_t i = 0; i < sizeof user_agents / sizeof user_agents[0]; i++) {
        const evener_channel_options options = {.size = sizeof options, .user_agent = user_agents[i]};
        expect_refusal("static:" A, &options, "user_agent holds bytes");
    }
}

/* docs/semantics.md, Targets: the channel's option wins over the resolver's, which wins over the default. */
Test(channel_create, authority)
{
    fixture *f = fixture_create(&(evener_channel_options){.authority = "chosen.example"});
    cr_assert_str_eq(evener_channel_authority(f->channel), "chosen.example");
    fixture_push(f, A);
    fixture_connect(f);
    cr_assert_str_eq(fake_transport_authority(f->transport, A), "chosen.example");
    fixture_destroy(f);
}

/* N9: whichever resolver serves the name. */
Test(channel_create, n9_authority_has_no_last_dot)
{
    static const char *const targets[][2] = {{"dns:///orders.test.:80", "orders.test:80"},
                                             {"dns:///orders.test.", "orders.test"},
                                             {"srv:///_grpc._tcp.orders.test.", "orders.test"},
                                             {"dns:///_grpc._tcp.orders.test.", "orders.test"},
                                             {"native:orders.test.:80", "orders.test:80"},
                                             {"merge:dns:///orders.test.:80|static:10.0.0.1:80", "orders.test:80"}};
    evener_credentials *insecure;
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        const evener_channel_options options = {.size = sizeof options, .credentials = insecure};
        evener_channel *channel;
        evener_status status;
        cr_assert_eq(evener_channel_create(targets[i][0], &options, &channel, &status), EVENER_STATUS_OK, "%s",
                     status.message);
        cr_expect_str_eq(evener_channel_authority(channel), targets[i][1], "%s", targets[i][0]);
        evener_channel_unref(channel);
    }
    evener_credentials_destroy(insecure);
}

/* ---- updates ---- */

Test(channel, resolver_error_without_addresses_fails_calls_with_its_message)
{
    fixture *f = fixture_create(NULL);
    fixture_connect(f);
    evener_status error;
    evener_status_set(&error, EVENER_STATUS_NOT_FOUND, "no such name");
    evener_manual_resolver_error(f->resolver, &error);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(fixture_pick(f), "UNAVAILABLE: name resolution of \"orders:///x\" failed: no such name"),
                       "%s", f->picked);
    fixture_push(f, A);
    cr_assert_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

Test(channel, resolver_error_with_addresses_changes_nothing)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    evener_status error;
    evener_status_set(&error, EVENER_STATUS_UNAVAILABLE, "server gone");
    evener_manual_resolver_error(f->resolver, &error);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), A);
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    evener_channel_get_stats(f->channel, &stats, NULL);
    cr_assert_eq(stats.resolver_errors, 1);
    cr_assert_str_eq(stats.last_resolver_error, "server gone");
    cr_assert_str_eq(stats.policy, "round_robin");
    evener_channel_stats_clear(&stats);
    fixture_destroy(f);
}

static void push_nothing(fixture *f)
{
    const evener_resolver_update update = {.size = sizeof update};
    evener_status status;
    cr_assert_eq(evener_manual_resolver_update(f->resolver, &update, &status), EVENER_STATUS_OK, "%s", status.message);
    virtual_loop_run_until_idle(f->loop);
}

/* go-zero 4941, grpc-go 8398: a wrong empty answer causes no outage, for a limited time. */
Test(channel, an_empty_update_keeps_the_last_list_for_a_while)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    push_nothing(f);
    cr_assert_str_eq(fixture_pick(f), A);
    virtual_loop_advance_ms(f->loop, 5 * 60 * 1000 - 1);
    cr_assert_str_eq(fixture_pick(f), A);
    virtual_loop_advance_ms(f->loop, 1);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_TRANSIENT_FAILURE);
    fixture_push(f, B);
    cr_assert_str_eq(fixture_pick(f), B);
    push_nothing(f);
    virtual_loop_advance_ms(f->loop, 1000);
    fixture_push(f, B);
    virtual_loop_advance_ms(f->loop, 10 * 60 * 1000);
    cr_assert_str_eq(fixture_pick(f), B, "a list ends the grace");
    fixture_destroy(f);
}

/* The resolver's list is not empty any more, whatever is wrong with what came beside it. */
Test(channel, an_empty_update_is_over_with_a_list_that_cannot_be_followed)
{
    fixture *f = fixture_create(NULL);
    fixture_connect(f);
    fixture_push(f, A);
    push_nothing(f);
    virtual_loop_advance_ms(f->loop, 60000);
    fixture_push_config(f, A "," B, "{");
    virtual_loop_advance_ms(f->loop, 360000);
    cr_expect_str_eq(fixture_pick(f), A);
    push_nothing(f);
    virtual_loop_advance_ms(f->loop, 290000);
    cr_expect_str_eq(fixture_pick(f), A, "the time of a further empty one begins anew");
    virtual_loop_advance_ms(f->loop, 20000);
    cr_expect_neq(strncmp(fixture_pick(f), "127.", 4), 0, "%s", f->picked);
    fixture_destroy(f);
}

/* core client_lb_end2end: RoundRobinManyUpdates / empty update, as gRPC does it */
Test(channel, an_empty_update_fails_calls_if_asked_for)
{
    fixture *f =
        fixture_create(&(evener_channel_options){.policy = "round_robin", .empty_update = EVENER_EMPTY_UPDATE_FAIL});
    fixture_push(f, A);
    fixture_connect(f);
    push_nothing(f);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_TRANSIENT_FAILURE);
    cr_assert_eq(strncmp(fixture_pick(f), "UNAVAILABLE", 11), 0);
    fixture_destroy(f);
}

/* P8: a call says what the resolver says of an empty list. */
Test(channel, p8_an_empty_list_comes_with_what_the_resolver_says)
{
    fixture *f = fixture_create(&(evener_channel_options){.policy = "round_robin"});
    const evener_resolver_update update = {.size = sizeof update, .source = "dns 10.0.0.53:53 (NXDOMAIN)"};
    evener_status status;
    cr_assert_eq(evener_manual_resolver_update(f->resolver, &update, &status), EVENER_STATUS_OK, "%s", status.message);
    fixture_connect(f);
    const char *end = fixture_pick(f);
    cr_assert_not_null(strstr(end, " is empty, says dns 10.0.0.53:53 (NXDOMAIN)"), "%s", end);
    fixture_destroy(f);
}

/* A resolver that pushes invalid updates; nothing is lost. */
typedef struct nonsense {
    evener_resolver base;
    evener_resolver_sink *sink;
} nonsense;

static nonsense *the_nonsense;

static void nonsense_start(evener_resolver *resolver)
{
    (void)resolver;
}
static void nonsense_close(evener_resolver *resolver)
{
    free(resolver);
}
static const evener_resolver_vtable nonsense_vtable = {
    .size = sizeof nonsense_vtable, .start = nonsense_start, .close = nonsense_close};

static evener_status_code nonsense_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                         evener_resolver **resolver, evener_status *status)
{
    (void)builder;
    (void)status;
    the_nonsense = calloc(1, sizeof *the_nonsense);
    the_nonsense->base.vtable = &nonsense_vtable;
    the_nonsense->sink = args->sink;
    *resolver = &the_nonsense->base;
    return EVENER_STATUS_OK;
}
static const evener_resolver_builder nonsense_builder = {
    .size = sizeof nonsense_builder, .scheme = "nonsense", .build = nonsense_build};

Test(channel, nonsense_from_a_resolver_is_refused_and_the_last_list_serves_on)
{
    fixture *f = fixture_create(NULL);
    const evener_resolver_builder *own[] = {&nonsense_builder};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = f->runtime,
                                            .transport = fake_transport_transport(f->transport),
                                            .resolvers = own,
                                            .resolver_count = 1,
                                            .policy = "round_robin"};
    evener_channel *channel;
    cr_assert_eq(evener_channel_create("nonsense:///", &options, &channel, NULL), EVENER_STATUS_OK);
    evener_channel_connect(channel);
    virtual_loop_run_until_idle(f->loop);
    evener_address *a;
    evener_address_create(A, NULL, 0, &a, NULL);
    evener_address *good[] = {a, a, a};
    evener_resolver_update update = {.size = sizeof update, .addresses = good, .address_count = 3};
    cr_assert(evener_resolver_sink_update(the_nonsense->sink, &update));
    evener_address *hole[] = {a, NULL};
    update.addresses = hole;
    update.address_count = 2;
    cr_assert_not(evener_resolver_sink_update(the_nonsense->sink, &update));
    update.addresses = NULL;
    cr_assert_not(evener_resolver_sink_update(the_nonsense->sink, &update));
    update.address_count = EVENER_RESOLVER_ADDRESSES_MAX + 1;
    cr_assert_not(evener_resolver_sink_update(the_nonsense->sink, &update));
    virtual_loop_run_until_idle(f->loop);
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    evener_channel_get_stats(channel, &stats, NULL);
    cr_assert_eq(stats.subchannel_count, 1, "duplicates are dropped");
    cr_assert_eq(stats.subchannels[0].state, EVENER_READY);
    cr_assert_eq(stats.resolver_errors, 3);
    evener_channel_stats_clear(&stats);
    evener_address_unref(a);
    evener_channel_unref(channel);
    fixture_destroy(f);
}

/* ---- service config ---- */

static const char *policy_of(fixture *f)
{
    static char name[64];
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    evener_channel_get_stats(f->channel, &stats, NULL);
    snprintf(name, sizeof name, "%s", stats.policy);
    evener_channel_stats_clear(&stats);
    return name;
}

/* A24 (policy configuration): the service config wins over the option, the option over pick_first. A21 (service
 * config error handling): a bad one keeps the last good one. */
Test(channel, service_config_chooses_the_policy)
{
    fixture *f = fixture_create(&(evener_channel_options){.policy = NULL});
    fixture_push(f, A "," B);
    fixture_connect(f);
    cr_assert_str_eq(policy_of(f), "pick_first");
    fixture_push_config(f, A "," B, "{\"loadBalancingPolicy\":\"ROUND_ROBIN\"}");
    virtual_loop_advance_ms(f->loop, 10);
    cr_assert_str_eq(policy_of(f), "round_robin");
    cr_assert_eq(fake_transport_attempts(f->transport, A), 1, "the switch reconnects nothing");
    fixture_push_config(f, A "," B, "{\"loadBalancingConfig\": \"bad\"}");
    cr_assert_str_eq(policy_of(f), "round_robin");
    fixture_push(f, A "," B);
    cr_assert_str_eq(policy_of(f), "pick_first");
    fixture_destroy(f);
}

Test(channel, a_bad_first_service_config_fails_calls_until_a_good_one)
{
    fixture *f = fixture_create(NULL);
    fixture_push_config(f, A, "{\"loadBalancingConfig\": [{\"no_such\": {}}]}");
    fixture_connect(f);
    cr_assert_not_null(strstr(fixture_pick(f), "no_such"), "%s", f->picked);
    fixture_push_config(f, A, "{\"loadBalancingConfig\": [{\"no_such\": {}}, {\"round_robin\": {}}]}");
    cr_assert_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

Test(channel, the_resolvers_service_config_can_be_ignored)
{
    fixture *f = fixture_create(&(evener_channel_options){.ignore_service_config = true});
    fixture_push_config(f, A, "{\"loadBalancingPolicy\":\"round_robin\"}");
    fixture_connect(f);
    cr_assert_str_eq(policy_of(f), "pick_first");
    fixture_destroy(f);
}

Test(channel, default_service_config_changes_on_a_live_channel)
{
    fixture *f = fixture_create(
        &(evener_channel_options){.default_service_config = "{\"loadBalancingPolicy\":\"round_robin\"}"});
    fixture_push(f, A);
    fixture_connect(f);
    cr_assert_str_eq(policy_of(f), "round_robin");
    evener_status status;
    cr_assert_eq(evener_channel_set_default_service_config(f->channel, "{", &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(
        evener_channel_set_default_service_config(f->channel, "{\"loadBalancingPolicy\":\"pick_first\"}", &status),
        EVENER_STATUS_OK);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(policy_of(f), "pick_first");
    cr_assert_eq(fake_transport_attempts(f->transport, A), 1);
    fixture_destroy(f);
}

/* A17 (client-side health checking): healthCheckConfig asks the servers with any policy, the channel's own one
 * included, except pick_first. */
Test(channel, health_check_config_wraps_the_policy)
{
    fixture *f = fixture_create(NULL);
    fixture_push_config(f, A "," B, "{\"healthCheckConfig\":{\"serviceName\":\"orders\"}}");
    fixture_connect(f);
    cr_assert_str_eq(policy_of(f), "health_check");
    cr_assert_str_eq(fake_transport_watched_service(f->transport, A), "orders");
    cr_assert_str_eq(fixture_pick(f), "queue");
    fake_transport_health(f->transport, B, EVENER_READY);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), B);
    cr_assert_str_eq(fixture_pick(f), B);
    fixture_push_config(f, A "," B, "{\"healthCheckConfig\":{\"serviceName\":5}}");
    cr_assert_str_eq(policy_of(f), "health_check", "a bad one keeps the last good one");
    fixture_push_config(f, A "," B, "{}");
    virtual_loop_advance_ms(f->loop, 10);
    cr_assert_str_eq(policy_of(f), "round_robin");
    fixture_destroy(f);
}

Test(channel, method_settings_for_calls)
{
    fixture *f = fixture_create(&(evener_channel_options){
        .default_service_config = "{\"methodConfig\":[{\"name\":[{\"service\":\"s\",\"method\":\"m\"}],\"timeout\":"
                                  "\"1.5s\"},{\"name\":[{\"service\":\"s\"}],\"waitForReady\":true},"
                                  "{\"name\":[{}],\"timeout\":\"7s\",\"maxRequestMessageBytes\":0,"
                                  "\"maxResponseMessageBytes\":\"4294967295\"}]}"});
    cr_assert_eq(evener_channel_method_settings(f->channel, "/s/m").timeout_ms, 1500);
    cr_assert_eq(evener_channel_method_settings(f->channel, "/s/m").request_bytes_max, 0, "not set");
    cr_assert_eq(evener_channel_method_settings(f->channel, "/t/m").request_bytes_max, 1);
    cr_assert_eq(evener_channel_method_settings(f->channel, "/t/m").response_bytes_max, UINT32_MAX);
    cr_assert(evener_channel_method_settings(f->channel, "/s/other").wait_for_ready);
    cr_assert_eq(evener_channel_method_settings(f->channel, "/t/m").timeout_ms, 7000);
    fixture_destroy(f);
}

Test(channel, message_limits_that_are_none_are_refused)
{
    static const char *const bad[] = {"-1", "4294967296", "1.5", "true", "\"\"", "\"x\"", "\"-1\"", "\"99999999999\""};
    fixture *f = fixture_create(NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char config[256];
        evener_status status;
        snprintf(config, sizeof config, "{\"methodConfig\":[{\"name\":[{}],\"maxResponseMessageBytes\":%s}]}", bad[i]);
        cr_expect_eq(evener_channel_set_default_service_config(f->channel, config, &status),
                     EVENER_STATUS_INVALID_ARGUMENT, "%s", bad[i]);
        cr_expect(strstr(status.message, "methodConfig[0].maxResponseMessageBytes") != NULL, "%s", status.message);
    }
    fixture_destroy(f);
}

static char warnings[4096];

static void collect_warning(void *arg, evener_log_level level, const char *component, const char *message)
{
    (void)arg;
    (void)level;
    (void)component;
    strcat(strcat(warnings, message), "\n");
}

#define NO_EFFECT ", which the channel's transport ignores: \"http2\" follows it\n"
#define UNKNOWN ", which evener does not know: it has no effect\n"

Test(channel, what_a_service_config_asks_for_in_vain_is_warned_of_once)
{
    evener_log_set_sink(collect_warning, NULL, EVENER_LOG_WARNING);
    fixture *f = fixture_create(&(evener_channel_options){
        .policy = "round_robin",
        .default_service_config = "{\"connectionScaling\": {\"maxConnectionsPerSubchannel\": 2}}"});
    fixture_connect(f);
    cr_assert_str_eq(warnings, "", "nothing is in force yet");
    fixture_push(f, A);
    cr_assert_str_eq(warnings, "orders:///x: the service config sets connectionScaling, which the channel's transport "
                               "ignores: \"http2\" follows it\n");
    warnings[0] = '\0';
    fixture_push_config(f, A,
                        "{\"methodConfig\": [{\"name\": [{}], \"timeout\": \"1s\"}], \"connectionScaling\": null}");
    cr_assert_str_eq(warnings, "", "it asks for nothing in vain");
    fixture_push(f, A);
    fixture_push_config(f, B, "{\"connectionScaling\": {}}");
    cr_assert_str_eq(warnings, "", "once per channel and field");
    fixture_destroy(f);
    evener_log_set_sink(NULL, NULL, EVENER_LOG_NONE);
}

/* Row L5: a mistyped field has no effect, but not in silence. */
Test(channel, l5_fields_that_evener_does_not_know_are_warned_of_once)
{
    static const char config[] =
        "{\"methdConfig\": [], \"methodConfig\": [{\"name\": [{\"servce\": \"a\"}], \"timeOut\": \"1s\","
        "  \"evenerBreaker\": {\"k\": 2}}], \"evenerRetryBudget\": {\"ratio\": 0.1},"
        " \"loadBalancingConfig\": [{\"p2c_ewma\": {\"decayy\": \"1s\"}}]}";
    evener_log_set_sink(collect_warning, NULL, EVENER_LOG_WARNING);
    for (int i = 0; i < 2; i++) {
        fixture *f = fixture_create(&(evener_channel_options){.default_service_config = config});
        fixture_destroy(f);
    }
    cr_expect_str_eq(warnings, "a policy's configuration has the field \"decayy\"" UNKNOWN
                               "a service config has the field \"methdConfig\"" UNKNOWN
                               "a service config has the field \"methodConfig.timeOut\"" UNKNOWN
                               "a service config has the field \"methodConfig.name.servce\"" UNKNOWN);
    evener_log_set_sink(NULL, NULL, EVENER_LOG_NONE);
}

/* ---- idle ---- */

Test(channel, goes_idle_without_calls_and_wakes_with_one)
{
    fixture *f = fixture_create(&(evener_channel_options){.policy = "round_robin", .idle_timeout_ms = 60000});
    fixture_push(f, A);
    fixture_connect(f);
    for (int i = 0; i < 20; i++) {
        virtual_loop_advance_ms(f->loop, 10000);
        cr_assert_str_eq(fixture_pick(f), A, "calls keep it awake");
    }
    evener_pick pick;
    evener_channel_try_pick(f->channel, NULL, &pick, NULL);
    virtual_loop_advance_ms(f->loop, 300000);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_READY, "a call under way keeps it awake");
    evener_pick_done(&pick, NULL);
    virtual_loop_advance_ms(f->loop, 80000);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_IDLE);
    cr_assert_eq(fake_transport_open_count(f->transport, NULL), 0, "an idle channel lets go of everything");
    cr_assert_str_eq(fixture_pick(f), "queue");
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

/* The pick's thread has a lane and the transport counts no connections: the shortest way. It wakes the channel, too. */
/* The last call is made just before the channel looks, which it does several times in its idle timeout. */
Test(channel, goes_idle_when_its_timeout_is_over_and_not_before)
{
    const uint64_t timeout_ns = 1000 * EVENER_NS_PER_MS;
    fixture *f = fixture_create(&(evener_channel_options){.policy = "round_robin", .idle_timeout_ms = 1000});
    fixture_push(f, A);
    fixture_connect(f);
    for (int round = 0; round < 3; round++) {
        const evener_timer *timer = &f->channel->control.idle_timer;
        if (round < 2) { /* otherwise they are made at once */
            (void)virtual_loop_advance_ns(f->loop, timer->deadline_ns - virtual_loop_now_ns(f->loop) - 1);
        }
        cr_assert_str_eq(fixture_pick(f), A);
        (void)virtual_loop_advance_ns(f->loop, timeout_ns);
        cr_assert_eq(evener_channel_state(f->channel, false), EVENER_READY, "round %d", round);
        (void)virtual_loop_advance_ns(f->loop, timeout_ns / 2);
        cr_assert_eq(evener_channel_state(f->channel, false), EVENER_IDLE, "round %d", round);
        fixture_connect(f);
        cr_assert_eq(evener_channel_state(f->channel, false), EVENER_READY);
    }
    fixture_destroy(f);
}

Test(channel, a_pick_on_the_short_way_wakes_an_idle_channel)
{
    fixture *f = fixture_create_uncounted(&(evener_channel_options){.policy = "round_robin", .idle_timeout_ms = 60000});
    fixture_push(f, A);
    fixture_connect(f);
    cr_assert_str_eq(fixture_pick(f), A);
    virtual_loop_advance_ms(f->loop, 80000);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_IDLE);
    cr_assert_str_eq(fixture_pick(f), "queue");
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_READY);
    fixture_destroy(f);
}

/* ---- the end ---- */

Test(channel, a_closed_channel_refuses_calls_and_twice_is_allowed)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    evener_channel_close(f->channel);
    cr_assert_str_eq(fixture_pick(f), "UNAVAILABLE: channel closed", "from the moment of closing");
    evener_channel_close(f->channel);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(evener_channel_state(f->channel, true), EVENER_SHUTDOWN);
    cr_assert_str_eq(fixture_pick(f), "UNAVAILABLE: channel closed");
    evener_channel_connect(f->channel);
    evener_channel_resolve_now(f->channel);
    evener_channel_reset_connect_backoff(f->channel);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(fake_transport_open_count(f->transport, NULL), 0);
    fixture_destroy(f);
}

Test(channel, closes_gracefully_while_connecting)
{
    fixture *f = fixture_create(NULL);
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    fixture_push(f, A "," B);
    fixture_connect(f);
    fixture_destroy(f);
}

/* brpc's "update while selecting", in one thread: any list, in any order, never fails a call while one backend of the
 * list is alive. */
/* Without a reference nobody picks from the channel; readers of others do not hold its end up. A closing that waited for
 * a grace period would never end here. */
Test(channel, the_end_waits_for_no_reader)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, "127.0.0.1:1,127.0.0.1:2");
    fixture_connect(f);
    cr_assert_str_eq(fixture_pick(f), "127.0.0.1:1");
    evener_rcu_read_lock();
    evener_channel_unref(f->channel);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(fake_transport_unfreed(f->transport), 0);
    evener_rcu_read_unlock();
    f->channel = NULL;
    fixture_destroy(f);
}

Test(channel, thousand_shuffled_updates)
{
    fixture *f = fixture_create(NULL);
    uint32_t random = 12345;
    fixture_push(f, "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3");
    fixture_connect(f);
    for (int i = 0; i < 1000; i++) {
        char list[512] = "127.0.0.1:1";
        for (int port = 2; port < 12; port++) {
            random = random * 1664525 + 1013904223;
            if ((random >> 16) % 2 == 0) {
                const size_t used = strlen(list);
                snprintf(list + used, sizeof list - used, ",127.0.0.1:%d", port);
            }
        }
        evener_manual_resolver_set(f->resolver, list, NULL, NULL);
        for (int step = 0; step < 3; step++) {
            cr_assert_eq(strncmp(fixture_pick(f), "127.", 4), 0, "%s", f->picked);
            virtual_loop_advance_ms(f->loop, 1);
        }
    }
    fixture_destroy(f);
}

/* ---- phases (channel_internal.h) ---- */

static evener_channel_phase phase_of(const fixture *f)
{
    return f->channel->control.phase;
}

Test(channel_phases, from_idle_to_serving_to_idle_to_closed)
{
    fixture *f = fixture_create(&(evener_channel_options){.policy = "round_robin", .idle_timeout_ms = 1000});
    evener_channel *channel = evener_channel_ref(f->channel);
    cr_assert_eq(phase_of(f), EVENER_CHANNEL_IDLE);
    fixture_connect(f);
    cr_assert_eq(phase_of(f), EVENER_CHANNEL_RESOLVING);
    fixture_push(f, A);
    cr_assert_eq(phase_of(f), EVENER_CHANNEL_SERVING);
    virtual_loop_advance_ms(f->loop, 3000);
    cr_assert_eq(phase_of(f), EVENER_CHANNEL_IDLE);
    fixture_connect(f);
    cr_assert_eq(phase_of(f), EVENER_CHANNEL_SERVING, "the manual resolver pushes its list at once");
    evener_channel_close(channel);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(phase_of(f), EVENER_CHANNEL_CLOSED);
    fixture_connect(f);
    cr_assert_eq(phase_of(f), EVENER_CHANNEL_CLOSED, "for good");
    evener_channel_unref(channel);
    fixture_destroy(f);
}

/* A builder around the nonsense resolver that can be made to fail. */
static bool broken;

static evener_status_code fragile_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_resolver **resolver, evener_status *status)
{
    return broken ? evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "no descriptors")
                  : nonsense_build(builder, args, resolver, status);
}

static const evener_resolver_builder fragile = {.size = sizeof fragile, .scheme = "fragile", .build = fragile_build};

/* While the resolver is being rebuilt, a pick_first that went idle connects as soon as it is asked to. */
Test(channel_phases, an_idle_policy_connects_while_the_resolver_is_built_anew)
{
    fixture *f = fixture_create(NULL);
    const evener_resolver_builder *own[] = {&fragile};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = f->runtime,
                                            .transport = fake_transport_transport(f->transport),
                                            .resolvers = own,
                                            .resolver_count = 1,
                                            .policy = "pick_first"};
    evener_channel *channel;
    evener_channel *prepared;
    broken = false;
    cr_assert_eq(evener_channel_create("fragile:x", &options, &channel, NULL), EVENER_STATUS_OK);
    evener_channel_connect(channel);
    virtual_loop_run_until_idle(f->loop);
    evener_address *a;
    evener_address_create(A, NULL, 0, &a, NULL);
    evener_address *list[] = {a};
    const evener_resolver_update update = {.size = sizeof update, .addresses = list, .address_count = 1};
    cr_assert(evener_resolver_sink_update(the_nonsense->sink, &update));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(evener_channel_state(channel, false), EVENER_READY);

    broken = true;
    cr_assert_eq(evener_channel_create("fragile:x", &options, &prepared, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_channel_reconfigure(channel, prepared, true, false, NULL), EVENER_STATUS_OK);
    evener_channel_unref(prepared);
    cr_assert_eq(channel->control.phase, EVENER_CHANNEL_REBUILDING);
    fake_transport_drop(f->transport, A);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(evener_channel_state(channel, true), EVENER_IDLE);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(evener_channel_state(channel, false), EVENER_READY);
    cr_assert_eq(channel->control.phase, EVENER_CHANNEL_REBUILDING);
    broken = false;
    virtual_loop_advance_ms(f->loop, 1200);
    cr_assert_eq(channel->control.phase, EVENER_CHANNEL_SERVING);
    evener_address_unref(a);
    evener_channel_unref(channel);
    fixture_destroy(f);
}

/* The first part of a composition names the backends, also when only this channel knows its resolver. */
Test(channel_create, a_resolver_of_the_channel_is_the_first_part_of_compositions)
{
    fixture *f = fixture_create(NULL);
    const evener_resolver_builder *own[] = {&fragile};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = f->runtime,
                                            .transport = fake_transport_transport(f->transport),
                                            .resolvers = own,
                                            .resolver_count = 1};
    static const char *const targets[] = {"fallback:fragile:orders|static:" A, "merge:fragile:orders|static:" A,
                                          "fallback:merge:fragile:orders%257Cstatic:" A "|static:" B};
    broken = false;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        evener_channel *channel = NULL;
        evener_status status;
        cr_assert_eq(evener_channel_create(targets[i], &options, &channel, &status), EVENER_STATUS_OK, "%s: %s",
                     targets[i], status.message);
        cr_expect_str_eq(evener_channel_authority(channel), "orders", "%s", targets[i]);
        evener_channel_unref(channel);
    }
    fixture_destroy(f);
}
