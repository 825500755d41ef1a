/* The factory file: its settings, and the message for each mistake. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lb/factory/config.h"

static evener_status_code parse(const char *text, evener_factory_config *config, evener_status *status)
{
    return evener_factory_config_parse("x.cfg", text, strlen(text), NULL, config, status);
}

static evener_factory_config good(const char *text)
{
    evener_factory_config config;
    evener_status status;
    cr_assert_eq(parse(text, &config, &status), EVENER_STATUS_OK, "%s", status.message);
    return config;
}

/* ---- what is read ---- */

Test(factory_config, every_setting_lands_in_its_place)
{
    evener_factory_config config =
        good("channels = { a = {\n"
             "  target = \"static:1.2.3.4:5\"; authority = \"auth\"; user_agent = \"me/1\";\n"
             "  credentials = \"insecure\"; default_port = 50051; wait_for_ready = true;\n"
             "  backoff = { initial_ms = 10; max_ms = 20; };\n"
             "  keepalive = { time_ms = 30; timeout_ms = 40; permit_without_calls = true; };\n"
             "  transport = \"http2\"; ignore_http_proxy = true; header_list_bytes_max = 1000; io_threads = 3;\n"
             "  attempts_max = 4; connections_per_backend_max = 12;\n"
             "  receive_bytes_max = \"unlimited\"; send_bytes_max = 2000; compression = \"deflate\";\n"
             "  callbacks_on_call_threads = true; own_connections = true;\n"
             "  idle_timeout_ms = \"never\"; connect_timeout_ms = 50;\n"
             "  empty_update = \"fail\"; empty_update_keep_ms = 60; queued_picks_max = 70;\n"
             "  ignore_service_config = true; cache_file = \"last/a.list\"; cache_max_age_ms = \"never\";\n"
             "  resolver = { dns = { min_refresh_ms = 80; on = true; }; };\n"
             "  policy = \"round_robin\";\n"
             "}; };");
    cr_assert_eq(config.channel_count, 1);
    const evener_factory_settings *s = &config.channels[0].settings;
    cr_expect_str_eq(config.channels[0].name, "a");
    cr_expect_str_eq(s->target, "static:1.2.3.4:5");
    cr_expect_str_eq(s->authority, "auth");
    cr_expect_str_eq(s->user_agent, "me/1");
    cr_expect_eq(s->security, EVENER_FACTORY_INSECURE);
    cr_expect_eq(s->default_port, 50051);
    cr_expect(s->wait_for_ready);
    cr_expect_eq(s->backoff_initial_ms, 10);
    cr_expect_eq(s->backoff_max_ms, 20);
    cr_expect_eq(s->keepalive_time_ms, 30);
    cr_expect_eq(s->keepalive_timeout_ms, 40);
    cr_expect(s->keepalive_permit_without_calls);
    cr_expect_str_eq(s->transport, "http2");
    cr_expect(s->ignore_http_proxy);
    cr_expect(s->callbacks_on_call_threads);
    cr_expect(s->own_connections);
    cr_expect_eq(s->header_list_bytes_max, 1000);
    cr_expect_eq(s->io_threads, 3);
    cr_expect_eq(s->attempts_max, 4);
    cr_expect_eq(s->connections_per_backend_max, 12);
    cr_expect_eq(s->receive_bytes_max, UINT64_MAX);
    cr_expect_eq(s->send_bytes_max, 2000);
    cr_expect_eq(s->compression, EVENER_COMPRESSION_DEFLATE);
    cr_expect_eq(s->idle_timeout_ms, EVENER_NEVER_MS);
    cr_expect_eq(s->connect_timeout_ms, 50);
    cr_expect_eq(s->empty_update, EVENER_EMPTY_UPDATE_FAIL);
    cr_expect_eq(s->empty_update_keep_ms, 60);
    cr_expect_eq(s->queued_picks_max, 70);
    cr_expect(s->ignore_service_config);
    cr_expect_not_null(strstr(s->cache_file, "/last/a.list"), "%s", s->cache_file);
    cr_expect_eq(s->cache_max_age_ms, EVENER_NEVER_MS);
    cr_expect_str_eq(json_string_value(json_object_get(s->resolver, "dns.min_refresh_ms")), "80");
    cr_expect_str_eq(json_string_value(json_object_get(s->resolver, "dns.on")), "true");
    cr_expect_str_eq(config.channels[0].full_service_config, "{\"loadBalancingConfig\":[{\"round_robin\":{}}]}");
    evener_factory_config_clear(&config);
}

Test(factory_config, defaults_hold_where_a_channel_says_nothing)
{
    evener_factory_config config = good(
        "defaults = { credentials = \"insecure\"; backoff = { initial_ms = 5; max_ms = 50; };\n"
        "  resolver = { dns = { a = 1; b = 2; }; }; policy = \"round_robin\"; };\n"
        "channels = { z = { target = \"x\"; }; a = { target = \"y\"; credentials = \"tls\"; policy = \"p2c_ewma\";\n"
        "  backoff = { max_ms = 60; }; resolver = { dns = { b = 3; }; }; }; };");
    cr_assert_eq(config.channel_count, 2);
    const evener_factory_settings *a = &config.channels[0].settings;
    const evener_factory_settings *z = &config.channels[1].settings;
    cr_expect_eq(z->security, EVENER_FACTORY_INSECURE);
    cr_expect_eq(a->security, EVENER_FACTORY_TLS);
    cr_expect_eq(a->backoff_initial_ms, 5);
    cr_expect_eq(a->backoff_max_ms, 60);
    cr_expect_eq(z->backoff_max_ms, 50);
    cr_expect_str_eq(json_string_value(json_object_get(a->resolver, "dns.a")), "1");
    cr_expect_str_eq(json_string_value(json_object_get(a->resolver, "dns.b")), "3");
    cr_expect_str_eq(json_string_value(json_object_get(z->resolver, "dns.b")), "2");
    cr_expect_str_eq(a->policy, "[{\"p2c_ewma\":{}}]");
    cr_expect_str_eq(z->policy, "[{\"round_robin\":{}}]");
    evener_factory_config_clear(&config);
}

/* Plain text must be asked for. */
Test(factory_config, tls_is_the_default)
{
    evener_factory_config config = good("channels = { a = { target = \"x\"; }; };");
    cr_expect_eq(config.channels[0].settings.security, EVENER_FACTORY_TLS);
    cr_expect_null(config.channels[0].full_service_config);
    evener_factory_config_clear(&config);
}

Test(factory_config, libconfig_maps_one_to_one_to_service_config)
{
    evener_factory_config config =
        good("channels = { a = { target = \"x\";\n"
             "  policy = ( { mine = { }; }, { p2c_ewma = { choices = 4; decay = \"5s\"; deep = ( 1, [2, 3], 1.5, false "
             "); }; } );\n"
             "  service_config = { methodConfig = ( { name = ( { service = \"s\"; } ); waitForReady = true; } ); };\n"
             "}; };");
    cr_expect_str_eq(config.channels[0].full_service_config,
                     "{\"loadBalancingConfig\":[{\"mine\":{}},{\"p2c_ewma\":{\"choices\":4,\"decay\":\"5s\","
                     "\"deep\":[1,[2,3],1.5,false]}}],"
                     "\"methodConfig\":[{\"name\":[{\"service\":\"s\"}],\"waitForReady\":true}]}");
    evener_factory_config_clear(&config);
}

/* Row F5: libconfig alone takes these for 32 bits, and wraps them without a word. */
Test(factory_config, f5_numbers_have_64_bits_without_a_suffix)
{
    evener_factory_config config = good(
        "channels = { a = { target = \"static:1.2.3.4:5\"; queued_picks_max = 4294967295;\n"
        " keepalive = { time_ms = 2147483647; timeout_ms = 0x10; }; /* 99999999999999999999 */ # 99999999999999999999\n"
        " policy = { ring_hash = { minRingSize = 4294968320; e = -4294967297; f = 1.5e3; x = 0x100000001;"
        " l = [4294967297, 5L, 7]; text = \"4294967297 99999999999999999999\"; }; };\n}; };");
    const evener_factory_settings *s = &config.channels[0].settings;
    cr_expect_eq(s->queued_picks_max, 4294967295);
    cr_expect_eq(s->keepalive_time_ms, 2147483647);
    cr_expect_str_eq(s->policy, "[{\"ring_hash\":{\"e\":-4294967297,\"f\":1500.0,\"l\":[4294967297,5,7],"
                                "\"minRingSize\":4294968320,\"text\":\"4294967297 99999999999999999999\","
                                "\"x\":4294967297}}]");
    evener_factory_config_clear(&config);
}

Test(factory_config, f5_numbers_beyond_64_bits_are_named_with_their_place)
{
    static const char *const texts[] = {"channels = {\n a = { target = \"static:1.2.3.4:5\";\n"
                                        " idle_timeout_ms = 9223372036854775808; }; };",
                                        "channels = {\n a = { target = \"static:1.2.3.4:5\";\n"
                                        " policy = { p = { n = -9223372036854775809; }; }; }; };",
                                        "channels = {\n a = { target = \"static:1.2.3.4:5\";\n"
                                        " policy = { p = { n = 0x10000000000000000; }; }; }; };",
                                        "channels = {\n a = { target = \"static:1.2.3.4:5\";\n"
                                        " policy = { p = { n = 99999999999999999999L; }; }; }; };"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        evener_factory_config config;
        evener_status status;
        cr_expect_eq(parse(texts[i], &config, &status), EVENER_STATUS_INVALID_ARGUMENT);
        cr_expect_str_eq(status.message, "x.cfg:3: a number is out of range: 64 bits do not hold it");
        evener_factory_config_clear(&config);
    }
}

Test(factory_config, no_channels_at_all_is_a_config)
{
    evener_factory_config config = good("channels = { };");
    cr_expect_eq(config.channel_count, 0);
    evener_factory_config_clear(&config);
}

/* ---- mistakes: file, line and field ---- */

#define CHANNEL(settings) "channels = { a = { target = \"x\";\n" settings "\n}; };"

struct mistake {
    const char *text;
    const char *message; /* its beginning */
};

static const struct mistake mistakes[] = {
    {"", "x.cfg: no \"channels\""},
    {"channels = {", "x.cfg:1: syntax error"},
    {"\n\nchannels = { a = 3 b }; };", "x.cfg:3: syntax error"},
    {"channels = ( );", "x.cfg:1: channels: a group"},
    {"channel = { };", "x.cfg:1: channel: no such setting; at the top there are"},
    {"channels = { a = \"x\"; };", "x.cfg:1: channels.a: a group is needed"},
    {"channels = {\n a = { };\n};", "x.cfg:2: channels.a: no target"},
    {"defaults = { target = \"x\"; }; channels = { };", "x.cfg:1: defaults.target: a target belongs to one channel"},
    {"defaults = { cache_file = \"x\"; }; channels = { };",
     "x.cfg:1: defaults.cache_file: a cache file belongs to one channel"},
    {CHANNEL("cache_file = \"x/\";"), "x.cfg:2: channels.a.cache_file: the name of a file"},
    {"channels = { a = { target = 3; }; };", "x.cfg:1: channels.a.target: a text in"},
    {"channels = { a = { target = \"\"; }; };", "x.cfg:1: channels.a.target: a text in"},
    {CHANNEL("tarjet = 3;"),
     "x.cfg:2: channels.a.tarjet: no such setting; with this letter there are: target, transport"},
    {CHANNEL("backoff = 3;"), "x.cfg:2: channels.a.backoff: a group"},
    {CHANNEL("backoff = { initial = 3; };"),
     "x.cfg:2: channels.a.backoff.initial: no such setting; there are: initial_ms"},
    {CHANNEL("backoff = {\n initial_ms = 0; };"), "x.cfg:3: channels.a.backoff.initial_ms: a whole number from 1"},
    {CHANNEL("backoff = { initial_ms = -1; };"), "x.cfg:2: channels.a.backoff.initial_ms: a whole number from 1"},
    {CHANNEL("backoff = { initial_ms = 1.5; };"), "x.cfg:2: channels.a.backoff.initial_ms: a whole number from 1"},
    {CHANNEL("backoff = { initial_ms = \"never\"; };"),
     "x.cfg:2: channels.a.backoff.initial_ms: a whole number from 1"},
    {CHANNEL("backoff = { initial_ms = 5; max_ms = 4; };"),
     "x.cfg:2: channels.a.backoff: max_ms is less than initial_ms"},
    {CHANNEL("idle_timeout_ms = \"soon\";"), "x.cfg:2: channels.a.idle_timeout_ms: a whole number from 1 to"},
    {CHANNEL("default_port = 65536;"), "x.cfg:2: channels.a.default_port: a whole number from 1 to 65535"},
    {CHANNEL("queued_picks_max = 4294967296L;"), "x.cfg:2: channels.a.queued_picks_max: a whole number"},
    {CHANNEL("wait_for_ready = 1;"), "x.cfg:2: channels.a.wait_for_ready: true or false"},
    {CHANNEL("empty_update = \"drop\";"), "x.cfg:2: channels.a.empty_update: \"keep\" or \"fail\""},
    {CHANNEL("credentials = \"ssl\";"), "x.cfg:2: channels.a.credentials: \"tls\" or \"insecure\""},
    {CHANNEL("credentials = { ca = \"/nowhere/ca.pem\"; };"),
     "x.cfg:2: channels.a.credentials.ca: /nowhere/ca.pem: cannot be read: No such file"},
    {CHANNEL("credentials = { ca = 3; };"), "x.cfg:2: channels.a.credentials.ca: the name of a PEM file"},
    {CHANNEL("credentials = { ca = \"/dev/null\"; };"),
     "x.cfg:2: channels.a.credentials.ca: /dev/null: it is a device; a regular file is needed"},
    {CHANNEL("credentials = { ca = \"/proc/version\"; };"), /* st_size is 0 although it has content */
     "x.cfg:2: channels.a.credentials.ca: \"/proc/version\" holds no PEM"},
    {CHANNEL("credentials = { pem = \"x\"; };"), "x.cfg:2: channels.a.credentials.pem: no such setting; there are: ca"},
    {CHANNEL("policy = 3;"), "x.cfg:2: channels.a.policy: a policy is a name"},
    {CHANNEL("policy = \"\";"), "x.cfg:2: channels.a.policy: a policy is a name"},
    {CHANNEL("policy = { };"), "x.cfg:2: channels.a.policy: a policy is a name"},
    {CHANNEL("policy = { a = { }; b = { }; };"), "x.cfg:2: channels.a.policy: a policy is a name"},
    {CHANNEL("policy = ( );"), "x.cfg:2: channels.a.policy: a policy is a name"},
    {CHANNEL("policy = { a = { f = \"\xff\"; }; };"), "x.cfg:2: channels.a.policy: cannot be written as JSON"},
    {CHANNEL("policy = \"a\"; service_config = { loadBalancingPolicy = \"b\"; };"),
     "x.cfg:2: the policy is named twice"},
    {CHANNEL("service_config = ( );"), "x.cfg:2: channels.a.service_config: a group"},
    {CHANNEL("resolver = 3;"), "x.cfg:2: channels.a.resolver: a group"},
    {CHANNEL("resolver = { dns = 3; };"), "x.cfg:2: channels.a.resolver.dns: a group with the options"},
    {CHANNEL("resolver = { dns = { a = ( ); }; };"), "x.cfg:2: channels.a.resolver.dns.a: a number, true, false"},
    {CHANNEL("a = 1; a = 2;"), "x.cfg:2: duplicate setting name"},
    {"\n @include \"/nowhere.cfg\"\n", "x.cfg:2: @include: /nowhere.cfg: cannot be read: No such file"},
    {"@include \"\"\n", "x.cfg:1: @include: the name is empty"},
    {"channels = {\n@include \"/\"\n};", "x.cfg:2: @include: /: it is a directory; a regular file is needed"},
};

Test(factory_config, each_mistake_is_named_with_its_place)
{
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        evener_factory_config config;
        evener_status status;
        cr_expect_neq(parse(mistakes[i].text, &config, &status), EVENER_STATUS_OK, "accepted: %s", mistakes[i].text);
        cr_expect_eq(strncmp(status.message, mistakes[i].message, strlen(mistakes[i].message)), 0,
                     "\"%s\"\n is not\n\"%s...\"\nfor %s", status.message, mistakes[i].message, mistakes[i].text);
        cr_expect_eq(config.channel_count, 0);
        evener_factory_config_clear(&config);
    }
}

Test(factory_config, a_zero_byte_does_not_cut_the_file_short)
{
    static const char text[] = "channels = { };\n\0channels";
    evener_factory_config config;
    evener_status status;
    cr_expect_eq(evener_factory_config_parse("x.cfg", text, sizeof text - 1, NULL, &config, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(status.message, "x.cfg:2: a zero byte");
    evener_factory_config_clear(&config);
}

Test(factory_config, hostile_nesting_is_refused_before_it_is_parsed)
{
    static char text[200000];
    memset(text, '(', sizeof text - 1);
    memcpy(text, "a = ", 4);
    evener_factory_config config;
    evener_status status;
    cr_expect_eq(parse(text, &config, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(status.message, "x.cfg:1: more than 64 brackets are open");
    evener_factory_config_clear(&config);
}

/* ---- files ---- */

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void remove_file(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

Test(factory_config, includes_are_relative_to_the_file_and_named_in_messages)
{
    char folder[] = "/tmp/evener-factory-XXXXXX";
    cr_assert_not_null(mkdtemp(folder));
    char path[512];
    snprintf(path, sizeof path, "%s/main.cfg", folder);
    write_file(folder, "main.cfg", "@include \"shared.cfg\"\nchannels = { a = { target = \"x\"; }; };\n");
    write_file(folder, "shared.cfg", "defaults = { credentials = \"insecure\"; };\n");
    evener_factory_config config;
    evener_status status;
    cr_assert_eq(evener_factory_config_read(path, &config, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(config.channels[0].settings.security, EVENER_FACTORY_INSECURE);
    cr_expect_eq(config.files.count, 2);
    evener_factory_config_clear(&config);

    write_file(folder, "shared.cfg", "defaults = {\n credentials = \"ssl\"; };\n");
    cr_assert_eq(evener_factory_config_read(path, &config, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "/shared.cfg:2: defaults.credentials: "), "%s", status.message);
    cr_expect_eq(config.files.count, 2, "the repair may come in either file");
    evener_factory_config_clear(&config);

    remove_file(folder, "main.cfg");
    cr_assert_eq(evener_factory_config_read(path, &config, &status), EVENER_STATUS_NOT_FOUND);
    cr_expect_eq(config.files.count, 1);
    evener_factory_config_clear(&config);
    remove_file(folder, "shared.cfg");
    rmdir(folder);
}

/* ---- comparing settings ---- */

static const evener_factory_settings some = {.target = (char *)"t",
                                             .authority = (char *)"a",
                                             .user_agent = (char *)"u",
                                             .transport = (char *)"x",
                                             .cache_file = (char *)"c",
                                             .roots = (char *)"r",
                                             .certificate = (char *)"e",
                                             .key = (char *)"k",
                                             .policy = (char *)"p",
                                             .service_config = (char *)"s"};

/* How much two settings that differ in one member have in common. */
static void differ(const char *member, const evener_factory_settings *other, bool same_connection, bool same_resolver)
{
    cr_expect_not(evener_factory_settings_equal(&some, other), "%s", member);
    cr_expect_not(evener_factory_settings_equal(other, &some), "%s", member);
    cr_expect_eq(evener_factory_settings_same_connection(&some, other), same_connection, "%s", member);
    cr_expect_eq(evener_factory_settings_same_resolver(&some, other), same_resolver, "%s", member);
}

#define TEXT(member, connection, resolver)                                                                             \
    do {                                                                                                               \
        evener_factory_settings other = some;                                                                          \
        other.member = (char *)"other";                                                                                \
        differ(#member, &other, connection, resolver);                                                                 \
        other.member = NULL;                                                                                           \
        differ(#member, &other, connection, resolver);                                                                 \
    } while (0)

#define NUMBER(member, connection, resolver)                                                                           \
    do {                                                                                                               \
        evener_factory_settings other = some;                                                                          \
        other.member = 1;                                                                                              \
        differ(#member, &other, connection, resolver);                                                                 \
    } while (0)

Test(factory_config, settings_that_differ_in_one_member_are_not_equal)
{
    evener_factory_settings same = some;
    char copy[] = "t";
    same.target = copy;
    cr_expect(evener_factory_settings_equal(&some, &same), "equal texts");
    TEXT(target, true, false);
    TEXT(authority, true, true);
    TEXT(user_agent, false, true);
    TEXT(transport, true, true);
    TEXT(cache_file, true, true);
    TEXT(roots, false, true);
    TEXT(certificate, false, true);
    TEXT(key, false, true);
    TEXT(policy, true, true);
    TEXT(service_config, true, true);
    NUMBER(security, false, true);
    NUMBER(idle_timeout_ms, true, true);
    NUMBER(connect_timeout_ms, true, true);
    NUMBER(backoff_initial_ms, true, true);
    NUMBER(backoff_max_ms, true, true);
    NUMBER(keepalive_time_ms, false, true);
    NUMBER(keepalive_timeout_ms, false, true);
    NUMBER(empty_update_keep_ms, true, true);
    NUMBER(cache_max_age_ms, true, true);
    NUMBER(default_port, true, false);
    NUMBER(queued_picks_max, true, true);
    NUMBER(receive_bytes_max, false, true);
    NUMBER(send_bytes_max, true, true);
    NUMBER(header_list_bytes_max, false, true);
    NUMBER(io_threads, true, true);
    NUMBER(attempts_max, true, true);
    NUMBER(calls_in_flight_max, true, true);
    NUMBER(backend_calls_in_flight_max, true, true);
    NUMBER(calls_waiting_max, true, true);
    NUMBER(calls_wait_ms_max, true, true);
    NUMBER(connections_per_backend_max, true, true);
    NUMBER(compression, true, true);
    NUMBER(empty_update, true, true);
    NUMBER(wait_for_ready, true, true);
    NUMBER(ignore_service_config, true, true);
    NUMBER(keepalive_permit_without_calls, false, true);
    NUMBER(ignore_http_proxy, false, true);
    NUMBER(own_connections, false, true);
    NUMBER(callbacks_on_call_threads, true, true);
    evener_factory_settings other = some;
    other.resolver = json_pack("{s:s}", "a", "1");
    differ("resolver", &other, true, false);
    same.resolver = json_pack("{s:s}", "a", "1");
    cr_expect(evener_factory_settings_equal(&other, &same), "equal options");
    json_decref(same.resolver);
    same.resolver = json_pack("{s:s}", "a", "2");
    cr_expect_not(evener_factory_settings_equal(&other, &same));
    json_decref(same.resolver);
    json_decref(other.resolver);
    evener_factory_settings place = some; /* only for messages */
    place.policy_line = 7;
    cr_expect(evener_factory_settings_equal(&some, &place));
}
