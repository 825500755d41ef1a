/* JSON's limits of depth and size: each form at its limit, and one step beyond, both ways. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/json.h>

#include "tests/protobuf/types.h"

static evener_descriptors *types;
static const evener_message_type *everything;

static void set_up(void)
{
    types = types_read();
    everything = evener_descriptors_message(types, "evener.test.Everything");
}

static void tear_down(void)
{
    evener_descriptors_destroy(types);
}

TestSuite(json_limits, .init = set_up, .fini = tear_down);

/* Read a text of which unknown members are ignored. */
static evener_status_code read_text(const char *json, unsigned depth_max, size_t bytes_max, evener_bytes *bytes,
                                    evener_status *status)
{
    const evener_json_options options = {
        .size = sizeof options, .depth_max = depth_max, .bytes_max = bytes_max, .ignore_unknown = true};
    return evener_json_to_bytes(everything, json, strlen(json), &options, bytes, status);
}

static evener_status_code write_text(const evener_bytes *bytes, unsigned depth_max, size_t bytes_max, char **json,
                                     evener_status *status)
{
    const evener_json_options options = {.size = sizeof options, .depth_max = depth_max, .bytes_max = bytes_max};
    return evener_json_from_bytes(everything, bytes, &options, json, NULL, status);
}

static void expect_beyond(evener_status_code code, const evener_status *status, const char *what, unsigned long limit)
{
    char expected[64];
    (void)snprintf(expected, sizeof expected, what, limit);
    cr_expect_eq(code, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: %s", expected, status->message);
    cr_expect_not_null(strstr(status->message, expected), "%s: %s", expected, status->message);
}

/* Check that a text needs this depth to be read, and its bytes that one to be written. */
static void expect_depth(const char *json, unsigned reading, unsigned writing)
{
    evener_bytes bytes;
    evener_status status;
    char *again = NULL;
    for (unsigned depth = 1; depth < reading; depth++) {
        expect_beyond(read_text(json, depth, 0, &bytes, &status), &status, "levels", 0);
    }
    cr_assert_eq(read_text(json, reading, 0, &bytes, &status), EVENER_STATUS_OK, "%s: %s", json, status.message);
    for (unsigned depth = 1; depth < writing; depth++) {
        expect_beyond(write_text(&bytes, depth, 0, &again, &status), &status, "more than %lu levels", depth);
    }
    cr_assert_eq(write_text(&bytes, writing, 0, &again, &status), EVENER_STATUS_OK, "%s: %s", json, status.message);
    free(again);
    evener_bytes_clear(&bytes);
}

Test(json_limits, each_form_has_its_depth)
{
    expect_depth("{}", 1, 1);
    expect_depth("{\"aBool\":true}", 1, 1);
    expect_depth("{\"nested\":{}}", 2, 2);
    expect_depth("{\"int32s\":[1]}", 2, 2);
    expect_depth("{\"strings\":[\"a\",\"b\"]}", 2, 2);
    expect_depth("{\"messages\":[{},{}]}", 3, 3);
    expect_depth("{\"stringMap\":{\"a\":\"b\",\"c\":\"d\"}}", 2, 2);
    expect_depth("{\"messageMap\":{\"a\":{},\"b\":{}}}", 3, 3);
    expect_depth("{\"timestamp\":\"1970-01-01T00:00:00Z\"}", 2, 2);
    expect_depth("{\"mask\":\"a\"}", 2, 2);
    expect_depth("{\"boolValue\":true}", 2, 2);
    expect_depth("{\"value\":1}", 2, 2);
    expect_depth("{\"value\":[]}", 2, 3);
    expect_depth("{\"value\":[1,2]}", 3, 4);
    expect_depth("{\"value\":{\"a\":1,\"b\":2}}", 3, 5);
    expect_depth("{\"structure\":{\"a\":1,\"b\":2}}", 3, 4);
    expect_depth("{\"list\":[1,2]}", 3, 3);
    expect_depth("{\"any\":{}}", 2, 2);
    expect_depth("{\"any\":{\"@type\":\"x/evener.test.Everything\",\"nested\":{}}}", 3, 3);
    expect_depth("{\"any\":{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"1s\"}}", 3, 3);
    expect_depth("{\"unknown\":1}", 1, 1);
    expect_depth("{\"unknown\":[]}", 2, 1);
    expect_depth("{\"unknown\":{\"a\":[1],\"b\":{}}}", 3, 1);
    expect_depth("{\"nested\":{\"unknown\":[[1],[2]]}}", 4, 2);
    /* What is beside each other is not inside each other. */
    expect_depth("{\"nested\":{\"int32s\":[1]},\"messages\":[{},{\"int32s\":[1,2]}],\"stringMap\":{\"a\":\"b\"},"
                 "\"value\":[1],\"list\":[[1],[2]],\"structure\":{\"a\":1},\"any\":{\"@type\":"
                 "\"x/evener.test.Everything\",\"nested\":{}},\"messageMap\":{\"a\":{},\"b\":{\"nested\":{}}}}",
                 4, 5);
}

Test(json_limits, each_form_counts_its_bytes)
{
    static const char *const texts[] = {
        "{\"aBool\":true,\"anInt64\":\"-1\",\"aDouble\":0.5,\"aFloat\":1}",
        "{\"aString\":\"a\\u00e9\\n\",\"someBytes\":\"YWI=\",\"light\":\"LIGHT_DAY\"}",
        "{\"nested\":{\"nested\":{\"anInt32\":5}},\"inner\":{\"level\":\"HIGH\"}}",
        "{\"int32s\":[1,200,30000],\"doubles\":[],\"strings\":[\"a\",\"\"],\"lights\":[1,2]}",
        "{\"messages\":[{},{\"aBool\":true}],\"unpacked\":[\"1\",\"2\"]}",
        "{\"stringMap\":{\"a\":\"b\",\"c\":\"\"},\"boolMap\":{\"true\":1},\"messageMap\":{\"k\":{\"aBool\":true}}}",
        "{\"value\":[1,\"a\",null,true,{\"b\":{}}],\"list\":[[],2],\"structure\":{\"a\":{\"b\":1}}}",
        "{\"any\":{\"@type\":\"x/evener.test.Everything\",\"nested\":{\"aBool\":true}}}",
        "{\"any\":{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"1.5s\"},\"mask\":\"aB,c\",\"empty\":{}}",
        "{\"timestamp\":\"1970-01-01T00:00:01.5Z\",\"stringValue\":\"\",\"boolValue\":true,\"durationMap\":{\"a\":"
        "\"1s\"}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        evener_bytes whole, bytes;
        evener_status status;
        char *text = NULL, *again = NULL;
        cr_assert_eq(read_text(texts[i], 0, 0, &whole, &status), EVENER_STATUS_OK, "%s", status.message);
        for (size_t limit = 1; limit < whole.length; limit++) {
            expect_beyond(read_text(texts[i], 0, limit, &bytes, &status), &status,
                          "the result is larger than %lu bytes", limit);
        }
        cr_assert_eq(read_text(texts[i], 0, whole.length, &bytes, &status), EVENER_STATUS_OK, "%s", status.message);
        cr_assert(bytes.length == whole.length && memcmp(bytes.data, whole.data, whole.length) == 0);
        evener_bytes_clear(&bytes);
        cr_assert_eq(write_text(&whole, 0, 0, &text, &status), EVENER_STATUS_OK, "%s", status.message);
        for (size_t limit = 1; limit < strlen(text); limit++) {
            expect_beyond(write_text(&whole, 0, limit, &again, &status), &status, "the result is larger than %lu bytes",
                          limit);
        }
        cr_assert_eq(write_text(&whole, 0, strlen(text), &again, &status), EVENER_STATUS_OK, "%s", status.message);
        cr_expect_str_eq(again, text);
        free(again);
        free(text);
        evener_bytes_clear(&whole);
    }
}

Test(json_limits, options_have_limits_of_their_own)
{
    evener_bytes bytes;
    evener_status status;
    cr_assert_eq(read_text("{}", EVENER_JSON_DEPTH_MAX, 0, &bytes, &status), EVENER_STATUS_OK);
    evener_bytes_clear(&bytes);
    cr_assert_eq(read_text("{}", EVENER_JSON_DEPTH_MAX + 1, 0, &bytes, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(strncmp(status.message, "JSON options: depth_max: at most ", 33), 0, "%s", status.message);
}
