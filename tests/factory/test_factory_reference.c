/* examples/evener.cfg names every setting, and the defaults that it names are the real ones. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <evener/factory.h>

#include "lb/base/read_file.h"
#include "lb/channel/channel_internal.h"
#include "lb/factory/config.h"
#include "resolver/dns/options.h"
#include "tests/support/fake_transport.h"
#include "tests/support/virtual_loop.h"

static char *reference_text(size_t *length)
{
    char *text = NULL;
    evener_status status;
    cr_assert_eq(evener_read_regular_file(EVENER_CFG, EVENER_FACTORY_FILE_BYTES_MAX, &text, length, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    return text;
}

Test(factory_reference, it_is_a_good_file)
{
    evener_factory_config config;
    evener_status status;
    cr_expect_eq(evener_factory_config_read(EVENER_CFG, &config, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(config.channel_count, 2);
    evener_factory_config_clear(&config);
}

/* Expect each setting that the parser lists in its message for an unknown one. Return how many. */
static unsigned count_named(const char *file, const char *reference)
{
    evener_factory_config config;
    evener_status status;
    cr_assert_neq(evener_factory_config_parse("x", file, strlen(file), NULL, &config, &status), EVENER_STATUS_OK);
    evener_factory_config_clear(&config);
    char *names = strstr(status.message, "there are: ");
    if (names == NULL) {
        cr_expect_not_null(strstr(status.message, "docs/factory.md lists them"), "%s", status.message);
        return 0;
    }
    unsigned count = 0;
    for (char *name = strtok(names + strlen("there are: "), ", "); name != NULL; name = strtok(NULL, ", ")) {
        char set[128];
        snprintf(set, sizeof set, " %s = ", name);
        cr_expect_not_null(strstr(reference, set), "%s is not in the reference file", name);
        count++;
    }
    return count;
}

static void expect_all_named(const char *file, const char *reference)
{
    cr_expect_geq(count_named(file, reference), 2);
}

/* A channel has more settings than a message can list: it lists those with the letter of the unknown one. */
static void expect_all_of_channel_named(const char *reference)
{
    unsigned count = 0;
    for (char letter = 'a'; letter <= 'z'; letter++) {
        char file[96];
        snprintf(file, sizeof file, "channels = { a = { target = \"x\"; %c_no_such = 1; }; };", letter);
        count += count_named(file, reference);
    }
    cr_expect_geq(count, 30, "%u", count);
}

Test(factory_reference, it_names_every_setting)
{
    size_t length;
    char *text = reference_text(&length);
    expect_all_of_channel_named(text);
    expect_all_named("channels = { a = { target = \"x\"; backoff = { no_such = 1; }; }; };", text);
    expect_all_named("channels = { a = { target = \"x\"; call_limits = { no_such = 1; }; }; };", text);
    expect_all_named("channels = { a = { target = \"x\"; keepalive = { no_such = 1; }; }; };", text);
    expect_all_named("channels = { a = { target = \"x\"; credentials = { no_such = 1; }; }; };", text);
    free(text);
}

Test(factory_reference, what_it_names_are_the_defaults)
{
    size_t length;
    char *text = reference_text(&length);
    char *end = strstr(text, "\n# The channels by name,");
    cr_assert_not_null(end);
    *end = '\0';

    virtual_loop *loop = virtual_loop_create(1);
    const evener_runtime_options runtime_options = {.size = sizeof runtime_options, .loop = virtual_loop_loop(loop)};
    evener_runtime *runtime;
    cr_assert_eq(evener_runtime_create(&runtime_options, &runtime, NULL), EVENER_STATUS_OK);
    fake_transport *fake = fake_transport_create(virtual_loop_loop(loop), false);
    const evener_factory_options options = {
        .size = sizeof options, .runtime = runtime, .transport = fake_transport_transport(fake)};
    evener_channel *channels[2];
    evener_factory *factories[2];
    for (int i = 0; i < 2; i++) {
        char path[] = "/tmp/evener-reference-XXXXXX";
        const int fd = mkstemp(path);
        FILE *file = fdopen(fd, "w");
        cr_assert_not_null(file);
        fprintf(file, "%s\nchannels = { a = { target = \"static:1.2.3.4:5\"; }; };\n", i == 0 ? text : "");
        fclose(file);
        evener_status status;
        cr_assert_eq(evener_factory_open(path, &options, &factories[i], &status), EVENER_STATUS_OK, "%s",
                     status.message);
        cr_assert_eq(evener_factory_channel(factories[i], "a", &channels[i], &status), EVENER_STATUS_OK);
        unlink(path);
    }
    const evener_channel *named = channels[0];
    const evener_channel *plain = channels[1];
    cr_expect_eq(named->hot.wait_for_ready, plain->hot.wait_for_ready);
    cr_expect_eq(named->settings.ignore_service_config, plain->settings.ignore_service_config);
    cr_expect_eq(named->settings.default_port, plain->settings.default_port);
    cr_expect_eq(named->settings.idle_timeout_ns, plain->settings.idle_timeout_ns);
    cr_expect_eq(named->pool.connect_timeout_ns, plain->pool.connect_timeout_ns);
    evener_backoff first[2] = {{0}, {0}};
    evener_backoff last[2] = {{UINT64_MAX / 2}, {UINT64_MAX / 2}};
    cr_expect_eq(evener_backoff_advance_ns(&first[0], &named->pool.backoff),
                 evener_backoff_advance_ns(&first[1], &plain->pool.backoff));
    cr_expect_eq(evener_backoff_advance_ns(&last[0], &named->pool.backoff),
                 evener_backoff_advance_ns(&last[1], &plain->pool.backoff));
    cr_expect_eq(named->queue.count_max, plain->queue.count_max);
    cr_expect_eq(named->settings.limits.in_flight_max, plain->settings.limits.in_flight_max);
    cr_expect_eq(named->settings.limits.backend_in_flight_max, plain->settings.limits.backend_in_flight_max);
    cr_expect_eq(named->settings.limits.waiting_max, plain->settings.limits.waiting_max);
    cr_expect_eq(named->settings.limits.wait_ns_max, plain->settings.limits.wait_ns_max);
    cr_expect_eq(named->settings.empty_update_keep_ns, plain->settings.empty_update_keep_ns);
    cr_expect_eq(named->settings.empty_update, EVENER_EMPTY_UPDATE_KEEP);
    cr_expect_eq(plain->settings.empty_update, EVENER_EMPTY_UPDATE_DEFAULT, "which is KEEP, see evener/channel.h");
    cr_expect_str_eq(evener_service_config_policy(named->control.default_config)->builder->name,
                     plain->settings.policy_builder->name);
    for (int i = 0; i < 2; i++) {
        evener_channel_unref(channels[i]);
        evener_factory_close(factories[i]);
    }
    virtual_loop_run_until_idle(loop);
    evener_runtime_unref(runtime);
    virtual_loop_run_until_idle(loop);
    fake_transport_destroy(fake);
    virtual_loop_destroy(loop);
    free(text);

    /* Credentials and keepalive are options of the transport, not of the channel. */
    evener_factory_config config;
    evener_status status;
    cr_assert_eq(evener_factory_config_read(EVENER_CFG, &config, &status), EVENER_STATUS_OK);
    cr_expect_eq(config.channels[0].settings.security, EVENER_FACTORY_TLS);
    cr_expect_eq(config.channels[0].settings.keepalive_time_ms, 0, "the core's default: never");
    cr_expect_eq(config.channels[0].settings.keepalive_timeout_ms, 20000, "the core's default");
    cr_expect_not(config.channels[0].settings.keepalive_permit_without_calls);
    cr_expect_not(config.channels[0].settings.ignore_http_proxy);
    cr_expect_not(config.channels[0].settings.callbacks_on_call_threads);
    cr_expect_not(config.channels[0].settings.own_connections);
    cr_expect_eq(config.channels[0].settings.receive_bytes_max, 4 << 20, "the transports' default");
    cr_expect_eq(config.channels[0].settings.send_bytes_max, UINT64_MAX);
    cr_expect_eq(config.channels[0].settings.compression, EVENER_COMPRESSION_NONE);
    evener_factory_config_clear(&config);
}

/* Every option of dns: the reference file's values give the same as no options. */
Test(factory_reference, the_options_of_dns_are_its_defaults)
{
    evener_factory_config config;
    evener_status status;
    cr_assert_eq(evener_factory_config_read(EVENER_CFG, &config, &status), EVENER_STATUS_OK);
    evener_attribute options[32];
    size_t count = 0;
    const char *key;
    json_t *value;
    json_object_foreach(config.channels[0].settings.resolver, key, value)
    {
        options[count++] = (evener_attribute){.key = key, .value = json_string_value(value)};
    }
    cr_expect_geq(count, 7);
    evener_target *target;
    cr_assert_eq(evener_target_parse("dns:///orders.prod:50051", &target, &status), EVENER_STATUS_OK);
    evener_dns_options named;
    evener_dns_options plain;
    memset(&named, 0, sizeof named);
    memset(&plain, 0, sizeof plain);
    evener_resolver_args args = {.size = sizeof args, .target = target};
    cr_expect_eq(evener_dns_options_read(&args, &plain, &status), EVENER_STATUS_OK);
    args.options = options;
    args.option_count = count;
    cr_expect_eq(evener_dns_options_read(&args, &named, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(named.min_refresh_ms, plain.min_refresh_ms);
    cr_expect_eq(named.max_refresh_ms, plain.max_refresh_ms);
    cr_expect_eq(named.resolve_now_min_ms, plain.resolve_now_min_ms);
    cr_expect_eq(named.timeout_ms, plain.timeout_ms);
    cr_expect_eq(named.tries, plain.tries);
    cr_expect_eq(named.txt_service_config, plain.txt_service_config);
    cr_expect_eq(named.all_tiers, plain.all_tiers);
    evener_target_destroy(target);
    evener_factory_config_clear(&config);
}
