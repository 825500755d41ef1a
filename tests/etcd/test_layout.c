/* Layouts (resolver/etcd/layout.h): which values are read as which addresses, and which texts are written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "resolver/etcd/layout.h"

static evener_etcd_span span(const char *text)
{
    return (evener_etcd_span){(const uint8_t *)text, strlen(text)};
}

/* Read an entry in a block of its own, so that AddressSanitizer sees where it ends. Return the address with its
 * attributes, "none", or the error. */
static const char *read_bytes(const evener_etcd_layout *layout, const char *key, const char *value, size_t bytes)
{
    static char text[4096];
    uint8_t *copy = malloc(bytes > 0 ? bytes : 1);
    cr_assert_not_null(copy);
    memcpy(copy, value, bytes);
    const evener_etcd_key_value kv = {span(key), {copy, bytes}, 1};
    evener_address *address = NULL;
    evener_status status = {EVENER_STATUS_INTERNAL, "unchanged"};
    const evener_status_code code = evener_etcd_layout_read(layout, &kv, &address, &status);
    free(copy);
    if (code != EVENER_STATUS_OK) {
        cr_assert_eq(status.code, code);
        (void)snprintf(text, sizeof text, "%s", status.message);
        return text;
    }
    size_t used = (size_t)snprintf(text, sizeof text, "%s", address != NULL ? evener_address_text(address) : "none");
    for (size_t i = 0; address != NULL && i < evener_address_attribute_count(address) && used < 3000; i++) {
        const evener_attribute attribute = evener_address_attribute_at(address, i);
        used += (size_t)snprintf(text + used, sizeof text - used, ";%s=%s", attribute.key, attribute.value);
    }
    evener_address_unref(address);
    return text;
}

static void expect(const evener_etcd_layout *layout, const char *key, const char *value, const char *expected)
{
    const char *got = read_bytes(layout, key, value, strlen(value));
    cr_expect_str_eq(got, expected, "%s: %s: %s", key, value, got);
}

static evener_etcd_layout make(evener_etcd_layout_kind kind, const char *name_space)
{
    evener_etcd_layout layout;
    cr_assert(evener_etcd_layout_init(&layout, kind, "orders", name_space));
    return layout;
}

Test(etcd_layout, names_and_prefixes)
{
    static const char *const names[] = {"naming", "go-zero", "kratos", "plain"};
    for (size_t i = 0; i < 4; i++) {
        evener_etcd_layout_kind kind = EVENER_ETCD_LAYOUT_NAMING;
        cr_assert(evener_etcd_layout_find(names[i], &kind), "%s", names[i]);
        cr_assert_eq(kind, (evener_etcd_layout_kind)i);
        evener_etcd_layout layout = make(kind, NULL);
        cr_assert_str_eq(layout.prefix, i == 2 ? "/microservices/orders/" : "orders/");
        evener_etcd_layout_clear(&layout);
        cr_assert(layout.prefix == NULL && layout.service == NULL);
        layout = make(kind, "/own");
        cr_assert_str_eq(layout.prefix, i == 2 ? "/own/orders/" : "orders/");
        evener_etcd_layout_clear(&layout);
    }
    evener_etcd_layout_kind kind = EVENER_ETCD_LAYOUT_PLAIN;
    cr_assert_not(evener_etcd_layout_find("nacos", &kind));
    cr_assert_eq(kind, EVENER_ETCD_LAYOUT_PLAIN);
}

#define NAMING(metadata) "{\"Op\":0,\"Addr\":\"10.0.0.1:1\",\"Metadata\":" metadata "}"

Test(etcd_layout, naming_reads_texts_whole_numbers_and_truth_values_as_attributes)
{
    evener_etcd_layout layout = make(EVENER_ETCD_LAYOUT_NAMING, NULL);
    expect(&layout, "orders/a", "{\"Addr\":\"10.0.0.1:1\"}", "10.0.0.1:1");
    expect(&layout, "orders/a", NAMING("null"), "10.0.0.1:1");
    expect(&layout, "orders/a", NAMING("7"), "10.0.0.1:1");
    expect(&layout, "orders/a", NAMING("{\"a\":\"x\",\"b\":\"\"}"), "10.0.0.1:1;a=x;b=");
    expect(&layout, "orders/a", NAMING("{\"a\":true,\"b\":false}"), "10.0.0.1:1;a=true;b=false");
    expect(&layout, "orders/a", NAMING("{\"a\":0,\"b\":3,\"c\":3.0,\"d\":-3,\"e\":3e2}"),
           "10.0.0.1:1;a=0;b=3;c=3;d=-3;e=300");
    expect(&layout, "orders/a", NAMING("{\"a\":1.5,\"b\":-0.5,\"c\":1e300,\"d\":-1e300}"), "10.0.0.1:1");
    expect(&layout, "orders/a", NAMING("{\"a\":9000000000000000,\"b\":-9000000000000000}"),
           "10.0.0.1:1;a=9000000000000000;b=-9000000000000000");
    expect(&layout, "orders/a", NAMING("{\"a\":9000000000000001,\"b\":-9000000000000001}"), "10.0.0.1:1");
    expect(&layout, "orders/a", NAMING("{\"a\":null,\"b\":[1],\"c\":{\"d\":1},\"\":\"x\",\"z\":1}"), "10.0.0.1:1;z=1");
    evener_etcd_layout_clear(&layout);
}

Test(etcd_layout, attributes_beyond_a_limit_are_left_out)
{
    evener_etcd_layout layout = make(EVENER_ETCD_LAYOUT_NAMING, NULL);
    char value[8192], long_text[EVENER_ATTRIBUTE_BYTES_MAX + 2];
    for (size_t bytes = EVENER_ATTRIBUTE_BYTES_MAX - 1; bytes <= EVENER_ATTRIBUTE_BYTES_MAX + 1; bytes++) {
        const bool fits = bytes <= EVENER_ATTRIBUTE_BYTES_MAX;
        memset(long_text, 'x', bytes);
        long_text[bytes] = '\0';
        (void)snprintf(value, sizeof value, NAMING("{\"a\":\"%s\",\"b\":1}"), long_text);
        const char *got = read_bytes(&layout, "orders/a", value, strlen(value));
        cr_expect_eq(strstr(got, ";a=") != NULL, fits, "%zu", bytes);
        cr_expect_not_null(strstr(got, ";b=1"));
        (void)snprintf(value, sizeof value, NAMING("{\"%s\":\"1\",\"b\":1}"), long_text);
        got = read_bytes(&layout, "orders/a", value, strlen(value));
        cr_expect_eq(strstr(got, "x=1") != NULL, fits, "%zu", bytes);
        cr_expect_not_null(strstr(got, ";b=1"));
    }
    for (int count = EVENER_ADDRESS_ATTRIBUTES_MAX; count <= EVENER_ADDRESS_ATTRIBUTES_MAX + 1; count++) {
        char members[4096] = "";
        for (int i = 0; i < count; i++) {
            (void)snprintf(members + strlen(members), sizeof members - strlen(members), "%s\"k%02d\":%d",
                           i > 0 ? "," : "", i, i);
        }
        (void)snprintf(value, sizeof value, NAMING("{%s}"), members);
        const char *got = read_bytes(&layout, "orders/a", value, strlen(value));
        size_t found = 0;
        for (const char *at = got; (at = strstr(at, ";k")) != NULL; at++) {
            found++;
        }
        cr_expect_eq(found, EVENER_ADDRESS_ATTRIBUTES_MAX, "%d: %s", count, got);
        cr_expect_not_null(strstr(got, ";k00=0;"), "each number has its own text: %s", got);
    }
    evener_etcd_layout_clear(&layout);
}

Test(etcd_layout, what_is_no_endpoint_and_what_cannot_be_read)
{
    evener_etcd_layout layout = make(EVENER_ETCD_LAYOUT_NAMING, NULL);
    expect(&layout, "orders/a", "{\"Op\":1,\"Addr\":\"10.0.0.1:1\"}", "none");
    expect(&layout, "orders/a", "{\"Op\":\"0\",\"Addr\":\"10.0.0.1:1\"}", "none");
    expect(&layout, "orders/a", "{\"Op\":1}", "none");
    expect(&layout, "orders/a", "{\"Op\":0}", "the member \"Addr\" is no text");
    expect(&layout, "orders/a", "{\"Addr\":7}", "the member \"Addr\" is no text");
    expect(&layout, "orders/a", "[]", "the value is no JSON object");
    cr_expect_eq(strncmp(read_bytes(&layout, "orders/a", "", 0), "the value is no JSON object: ", 29), 0);
    expect(&layout, "orders/", "{\"Addr\":\"10.0.0.1:1\"}", "10.0.0.1:1");
    expect(&layout, "orders", "{\"Addr\":\"10.0.0.1:1\"}", "none");
    expect(&layout, "orders0a", "{\"Addr\":\"10.0.0.1:1\"}", "none");
    expect(&layout, "ordert/a", "not read", "none");
    char *value = malloc(EVENER_ETCD_VALUE_BYTES_MAX + 1);
    cr_assert_not_null(value);
    memset(value, ' ', EVENER_ETCD_VALUE_BYTES_MAX + 1);
    memcpy(value, "{\"Addr\":\"10.0.0.1:1\"}", 21);
    cr_expect_str_eq(read_bytes(&layout, "orders/a", value, EVENER_ETCD_VALUE_BYTES_MAX), "10.0.0.1:1");
    cr_expect_str_eq(read_bytes(&layout, "orders/a", value, EVENER_ETCD_VALUE_BYTES_MAX + 1),
                     "the value has more than 65536 bytes");
    free(value);
    evener_etcd_layout_clear(&layout);
}

#define KRATOS(endpoints) "{\"name\":\"orders\",\"endpoints\":[" endpoints "]}"
#define NO_ENDPOINT "no endpoint is a grpc one without TLS (etcd.secure)"

Test(etcd_layout, kratos_takes_the_first_endpoint_of_the_scheme)
{
    evener_etcd_layout layout = make(EVENER_ETCD_LAYOUT_KRATOS, "n");
    static const char *const taken[] = {
        "\"grpc://10.0.0.2:2\",\"grpc://10.0.0.3:3\"",
        "\"http://10.0.0.1:1\",\"grpc://10.0.0.2:2\"",
        "\"grpcx://10.0.0.1:1\",\"grpc://10.0.0.2:2\"",
        "\"grpc:/10.0.0.1:1\",\"grpc://10.0.0.2:2\"",
        "\"grp://10.0.0.1:1\",\"grpc://10.0.0.2:2\"",
        "\"grpcs://10.0.0.1:1\",\"grpc://10.0.0.2:2\"",
        "\"grpc://10.0.0.1:1?isSecure=true\",\"grpc://10.0.0.2:2?isSecure=false\"",
        "7,null,\"grpc://10.0.0.2:2/path\"",
        "\"grpc://10.0.0.2:2#isSecure=no\"",
        "\"\",\"grpc\",\"grpc:\",\"grpc://10.0.0.2:2\"",
    };
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        char value[256];
        (void)snprintf(value, sizeof value, KRATOS("%s"), taken[i]);
        expect(&layout, "n/orders/a", value, "10.0.0.2:2");
    }
    static const char *const left[] = {"grpcx://10.0.0.1:1", "grpc:/10.0.0.1:1",  "grp://10.0.0.1:1",
                                       "grpcs://10.0.0.1:1", "http://10.0.0.1:1", "grpc://10.0.0.1:1?isSecure=true"};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        char value[256];
        (void)snprintf(value, sizeof value, KRATOS("\"%s\""), left[i]);
        expect(&layout, "n/orders/a", value, NO_ENDPOINT);
    }
    expect(&layout, "n/orders/a", KRATOS(""), NO_ENDPOINT);
    expect(&layout, "n/orders/a", KRATOS("\"grpcs://10.0.0.1:1\",\"http://10.0.0.2:2\""), NO_ENDPOINT);
    expect(&layout, "n/orders/a", "{\"name\":\"orders2\",\"endpoints\":[\"grpc://10.0.0.1:1\"]}", "none");
    expect(&layout, "n/orders/a", "{\"name\":\"orders\"}", "the members \"name\" and \"endpoints\" are needed");
    expect(&layout, "n/orders/a", "{\"name\":\"orders\",\"endpoints\":{}}",
           "the members \"name\" and \"endpoints\" are needed");
    expect(&layout, "n/orders/a", "{\"endpoints\":[]}", "the members \"name\" and \"endpoints\" are needed");
    expect(
        &layout, "n/orders/a",
        "{\"name\":\"orders\",\"version\":\"v2\",\"metadata\":{\"zone\":\"b\"},\"endpoints\":[\"grpc://10.0.0.1:1\"]}",
        "10.0.0.1:1;version=v2;zone=b");
    layout.secure = true;
    expect(&layout, "n/orders/a", KRATOS("\"grpc://10.0.0.1:1\",\"grpcs://10.0.0.2:2\""), "10.0.0.2:2");
    expect(&layout, "n/orders/a", KRATOS("\"grpc://10.0.0.1:1?isSecure=false\",\"grpc://10.0.0.2:2?isSecure=true\""),
           "10.0.0.2:2");
    expect(&layout, "n/orders/a", KRATOS("\"grpc://10.0.0.1:1\""), "no endpoint is a grpc one with TLS (etcd.secure)");
    evener_etcd_layout_clear(&layout);
}

Test(etcd_layout, kratos_leaves_out_an_endpoint_that_is_too_long)
{
    evener_etcd_layout layout = make(EVENER_ETCD_LAYOUT_KRATOS, "n");
    char value[1024], host[EVENER_ADDRESS_BYTES_MAX + 2];
    for (size_t bytes = EVENER_ADDRESS_BYTES_MAX; bytes <= EVENER_ADDRESS_BYTES_MAX + 1; bytes++) {
        memset(host, '1', bytes);
        host[bytes] = '\0';
        (void)snprintf(value, sizeof value, KRATOS("\"grpc://%s\",\"grpc://10.0.0.2:2\""), host);
        const char *got = read_bytes(&layout, "n/orders/a", value, strlen(value));
        cr_expect_eq(strcmp(got, "10.0.0.2:2") == 0, bytes > EVENER_ADDRESS_BYTES_MAX, "%zu: %s", bytes, got);
    }
    evener_etcd_layout_clear(&layout);
}

Test(etcd_layout, go_zero_and_plain_read_an_address)
{
    evener_etcd_layout go_zero = make(EVENER_ETCD_LAYOUT_GO_ZERO, NULL);
    evener_etcd_layout plain = make(EVENER_ETCD_LAYOUT_PLAIN, NULL);
    static const char needed[] = "an address with its port is needed";
    char text[EVENER_ADDRESS_BYTES_MAX + 2];
    expect(&go_zero, "orders/7", "10.0.0.1:1", "10.0.0.1:1");
    expect(&go_zero, "orders/10.0.0.2:2", "", needed);
    cr_expect_str_eq(read_bytes(&go_zero, "orders/7", "10.0.0.1:1\0", 11), needed);
    for (size_t bytes = EVENER_ADDRESS_BYTES_MAX; bytes <= EVENER_ADDRESS_BYTES_MAX + 1; bytes++) {
        memset(text, '1', bytes);
        const char *got = read_bytes(&go_zero, "orders/7", text, bytes);
        cr_expect_eq(strcmp(got, needed) == 0, bytes > EVENER_ADDRESS_BYTES_MAX, "%zu: %s", bytes, got);
    }
    expect(&plain, "orders/10.0.0.2:2", "10.0.0.1:1", "10.0.0.1:1");
    expect(&plain, "orders/10.0.0.2:2", "", "10.0.0.2:2");
    expect(&plain, "orders/10.0.0.2:2", "up", "10.0.0.2:2");
    expect(&plain, "orders/", "", needed);
    expect(&plain, "orders/a", "", needed); /* the reason of the value is the one that is shown */
    evener_etcd_layout_clear(&go_zero);
    evener_etcd_layout_clear(&plain);
}

static void expect_written(const evener_etcd_layout *layout, const evener_attribute *attributes, size_t count,
                           const char *expected)
{
    char *key = NULL, *value = NULL;
    evener_status status;
    cr_assert_eq(evener_etcd_layout_write(layout, "me", "10.0.0.1:1", attributes, count, &key, &value, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    char text[1024];
    (void)snprintf(text, sizeof text, "%s %s", key, value);
    cr_expect_str_eq(text, expected, "%s", text);
    free(key);
    free(value);
}

Test(etcd_layout, values_are_written_as_their_programs_read_them)
{
    static const evener_attribute attributes[] = {
        {"a", "0"},  {"b", "10"},  {"c", "01"}, {"d", "123456789012345"}, {"e", "1234567890123456"}, {"f", ""},
        {"g", "-1"}, {"h", "1.0"}, {"i", "1x"}, {"version", "v2"},
    };
    const size_t count = sizeof attributes / sizeof attributes[0];
    evener_etcd_layout layout = make(EVENER_ETCD_LAYOUT_NAMING, NULL);
    expect_written(&layout, NULL, 0, "orders/me {\"Op\":0,\"Addr\":\"10.0.0.1:1\",\"Metadata\":null}");
    expect_written(&layout, attributes, count,
                   "orders/me {\"Op\":0,\"Addr\":\"10.0.0.1:1\",\"Metadata\":{\"a\":0,\"b\":10,\"c\":\"01\","
                   "\"d\":123456789012345,\"e\":\"1234567890123456\",\"f\":\"\",\"g\":\"-1\",\"h\":\"1.0\","
                   "\"i\":\"1x\",\"version\":\"v2\"}}");
    const evener_attribute bad = {"a", "\xff"};
    char *key = NULL, *value = NULL;
    evener_status status;
    cr_assert_eq(evener_etcd_layout_write(&layout, "me", "10.0.0.1:1", &bad, 1, &key, &value, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "UTF-8"), "%s", status.message);
    cr_assert(key == NULL && value == NULL);
    evener_etcd_layout_clear(&layout);
    layout = make(EVENER_ETCD_LAYOUT_KRATOS, "n");
    expect_written(&layout, NULL, 0,
                   "n/orders/me {\"id\":\"me\",\"name\":\"orders\",\"version\":\"\",\"metadata\":{},"
                   "\"endpoints\":[\"grpc://10.0.0.1:1\"]}");
    layout.secure = true;
    expect_written(&layout, attributes + 8, 2,
                   "n/orders/me {\"id\":\"me\",\"name\":\"orders\",\"version\":\"v2\",\"metadata\":{\"i\":\"1x\","
                   "\"version\":\"v2\"},\"endpoints\":[\"grpcs://10.0.0.1:1\"]}");
    evener_etcd_layout_clear(&layout);
    layout = make(EVENER_ETCD_LAYOUT_PLAIN, NULL);
    expect_written(&layout, attributes, count, "orders/me 10.0.0.1:1");
    evener_etcd_layout_clear(&layout);
    layout = make(EVENER_ETCD_LAYOUT_GO_ZERO, NULL);
    expect_written(&layout, NULL, 0, "orders/me 10.0.0.1:1");
    evener_etcd_layout_clear(&layout);
}
