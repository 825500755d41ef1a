/* JSON: errors with their places, options, limits, single fields, several values in one text. What the forms of values
 * are, test_json_vectors.c shows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/json.h>

#include "tests/protobuf/hand_made.h"
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

TestSuite(json, .init = set_up, .fini = tear_down);

static evener_status_code parse(const char *json, const evener_json_options *options, evener_bytes *bytes,
                                evener_status *status)
{
    return evener_json_to_bytes(everything, json, strlen(json), options, bytes, status);
}

/* Check that a text is refused with exactly this message. */
static void refuses(const char *json, const char *message)
{
    evener_status status;
    evener_bytes bytes;
    cr_assert_eq(parse(json, NULL, &bytes, &status), EVENER_STATUS_INVALID_ARGUMENT, "%s", json);
    cr_assert_str_eq(status.message, message);
}

/* Read a text and write it again. The result is to be freed. */
static char *again(const char *json, const evener_json_options *reading, const evener_json_options *writing)
{
    evener_status status;
    evener_bytes bytes;
    char *text;
    cr_assert_eq(parse(json, reading, &bytes, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_json_from_bytes(everything, &bytes, writing, &text, NULL, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    evener_bytes_clear(&bytes);
    return text;
}

static void gives(const char *json, const evener_json_options *options, const char *expected)
{
    char *text = again(json, options, options);
    cr_assert_str_eq(text, expected);
    free(text);
}

/* ---- errors ---- */

Test(json, wrong_types_are_refused_with_the_path_of_the_value)
{
    refuses("{\"aString\":1}", "aString: a string is needed");
    refuses("{\"stringMap\":{\"name\":1}}", "stringMap.name: a string is needed");
    refuses("{\"messages\":[{},{\"messageMap\":{\"x\":{\"aDouble\":\"y\"}}}]}",
            "messages[1].messageMap.x.aDouble: a number is needed");
    refuses("{\"nested\":{\"timestamp\":5}}", "nested.timestamp: a time such as \"2006-01-02T15:04:05.5Z\" is needed");
    refuses("[]", "an object is needed");
    refuses("{\"anInt32\":2147483648}", "anInt32: an integer of 32 bits is needed");
    refuses("{\"aUint64\":-1}", "aUint64: an integer of 64 bits, not negative, is needed");
    refuses("{\"light\":\"BRIGHT\"}", "light: the enum evener.test.Light has no such value");
    /* A NUL ends no name: what is behind the name in memory is not looked at. */
    refuses("{\"light\":\"LIGHT_DAY\\u0000\"}", "light: the enum evener.test.Light has no such value");
    refuses("{\"light\":\"LIGHT_DAY\\u0000\\u0000\\u0000\\u0000\"}",
            "light: the enum evener.test.Light has no such value");
    refuses("{\"structure\":{\"a\":[1,{\"b\":1e999}]}}", "structure.a[1].b: the number is too large");
    refuses("{\"any\":{\"@type\":\"x/evener.test.Everything\",\"anInt32\":\"y\"}}",
            "any.anInt32: an integer of 32 bits is needed");
}

Test(json, unknown_doubled_and_conflicting_fields_are_refused_by_name)
{
    refuses("{\"nested\":{\"typo\":1}}", "nested.typo: the message evener.test.Everything has no such field");
    refuses("{\"anInt32\":1,\"an_int32\":1}", "anInt32: it comes twice");
    refuses("{\"choiceString\":\"\",\"aBool\":true,\"choiceInt64\":1}", "choice: two fields of the oneof are set");
}

Test(json, malformed_text_is_refused_with_line_and_column)
{
    refuses("{\"anInt32\":1,}", "malformed JSON at line 1, column 14: a name in quotes is needed");
    refuses("{\n  \"anInt32\": 1\n  \"aBool\": true}", "malformed JSON at line 3, column 3: ',' or '}' is needed");
    refuses("{\"aString\":\"\xc3\xa9\xc3\xa9\" x", "malformed JSON at line 1, column 17: ',' or '}' is needed");
    refuses("{\"aString\":\"x", "malformed JSON at line 1, column 14: the string does not end (the text has ended)");
    refuses("{\"anInt32\":01}", "malformed JSON at line 1, column 14: a number does not begin with 0");
    refuses("{} {}", "malformed JSON at line 1, column 4: nothing may follow the value");
    /* No value at all is malformed, whatever type is needed here. */
    refuses("", "malformed JSON at line 1, column 1: a value is needed (the text has ended)");
    refuses("\xef\xbb\xbf{}", "malformed JSON at line 1, column 1: a value is needed");
    refuses("{\"nested\":", "malformed JSON at line 1, column 11: a value is needed (the text has ended)");
    refuses("{\"stringMap\":}", "malformed JSON at line 1, column 14: a value is needed");
    refuses("{\"strings\":x", "malformed JSON at line 1, column 12: a value is needed");
    refuses("{\"strings\":[nope]}", "malformed JSON at line 1, column 13: a value is needed");
    refuses("{\"aString\":'x'}", "malformed JSON at line 1, column 12: a value is needed");
    refuses("{\"anInt32\":tru}", "malformed JSON at line 1, column 12: a value is needed");
    refuses("{\"aBool\":", "malformed JSON at line 1, column 10: a value is needed (the text has ended)");
    refuses("{\"light\":+1}", "malformed JSON at line 1, column 10: a value is needed");
    refuses("{\"structure\":", "malformed JSON at line 1, column 14: a value is needed (the text has ended)");
    refuses("{\"any\":", "malformed JSON at line 1, column 8: a value is needed (the text has ended)");
    refuses("{\"aString\":[1,}", "malformed JSON at line 1, column 15: a value is needed");
    refuses("{\"aString\":\"\xff\"}", "malformed JSON at line 1, column 13: the string is not UTF-8");
    evener_status status;
    evener_bytes bytes;
    cr_assert_eq(evener_json_to_bytes(everything, "{}\0", 3, NULL, &bytes, &status), EVENER_STATUS_INVALID_ARGUMENT);
}

Test(json, a_value_of_another_type_is_looked_into_as_deep_as_is_allowed)
{
    const evener_json_options few = {.size = sizeof few, .depth_max = 3};
    static const char *const cases[][2] = {
        {"{\"aString\":[[x]]}", "malformed JSON at line 1, column 14: a value is needed"},
        {"{\"aString\":[[[x]]]}", "aString: a string is needed"},
        {"{\"aString\":[[[1]]]}", "aString: a string is needed"},
        {"{\"nested\":{\"aString\":[x]}}", "malformed JSON at line 1, column 23: a value is needed"},
        {"{\"nested\":{\"aString\":[[x]]}}", "nested.aString: a string is needed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        evener_status status;
        evener_bytes bytes;
        cr_assert_eq(parse(cases[i][0], &few, &bytes, &status), EVENER_STATUS_INVALID_ARGUMENT, "%s", cases[i][0]);
        cr_expect_str_eq(status.message, cases[i][1]);
    }
}

Test(json, a_path_is_cut_after_255_characters)
{
    static const char problem[] = ": the message evener.test.Everything has no such field";
    for (size_t length = 240; length <= 300; length++) {       /* of the whole path, whose last name is unknown */
        for (size_t before = 0; before <= 248; before += 31) { /* "nested." and so on: 7 characters each */
            const size_t levels = before / 7;
            if (levels * 7 >= length) {
                continue;
            }
            char json[2048] = "", path[512] = "", expected[1024];
            for (size_t i = 0; i < levels; i++) {
                strcat(json, "{\"nested\":");
                strcat(path, "nested.");
            }
            const size_t name = length - levels * 7;
            memset(path + levels * 7, 'x', name);
            path[length] = '\0';
            strcat(json, "{\"");
            strcat(json, path + levels * 7);
            strcat(json, "\":1");
            for (size_t i = 0; i <= levels; i++) {
                strcat(json, "}");
            }
            if (length >= 255) {
                memcpy(path + 252, "...", 4);
            }
            snprintf(expected, sizeof expected, "%s%s", path, problem);
            refuses(json, expected);
        }
    }
}

Test(json, nothing_is_stored_when_a_text_is_refused)
{
    static const uint8_t mine = 7;
    evener_bytes bytes = {.data = &mine, .length = 1};
    cr_assert_eq(parse("{\"anInt32\":1,\"aString\":2}", NULL, &bytes, NULL), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert(bytes.data == &mine && bytes.length == 1);
}

Test(json, nothing_is_stored_when_the_value_of_a_field_is_cut_off)
{
    static const uint8_t mine = 7;
    static const struct {
        const char *name, *json;
    } values[] = {
        {"value", "\"a\\u00e9b\""},
        {"value", "[1,{\"a\":[true,null,\"x\"]}]"},
        {"list", "[\"a\",[],-1.5e1]"},
        {"structure", "{\"a\":{\"b\":false},\"c\":\"d\"}"},
        {"any", "{\"@type\":\"x/evener.test.Everything\",\"strings\":[\"a\"]}"},
        {"any", "{\"@type\":\"x/google.protobuf.Value\",\"value\":\"a\"}"},
        {"timestamp", "\"1970-01-01T00:00:00Z\""},
        {"duration", "\"1.5s\""},
        {"mask", "\"aB,c\""},
        {"string_value", "\"a\""},
        {"bytes_value", "\"YQ==\""},
        {"bool_value", "false"},
        {"some_bytes", "\"YQ==\""},
        {"a_string", "\"\\ud83d\\ude00\""},
        {"a_bool", "true"},
        {"light", "\"LIGHT_DAY\""},
        {"an_int64", "\"12\""},
        {"a_double", "\"NaN\""},
        {"string_map", "{\"a\":\"b\"}"},
        {"bool_map", "{\"true\":\"LIGHT_DAY\"}"},
        {"message_map", "{\"a\":{\"aBool\":true}}"},
        {"int32s", "[1,2]"},
        {"lights", "[\"LIGHT_DAY\",1]"},
        {"nested", "{\"anInt32\":1,\"messages\":[{}]}"},
        {"empty", "{}"},
        {"choice_null", "null"},
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        const evener_field *field =
            evener_message_type_field_by_name(everything, values[i].name, strlen(values[i].name));
        cr_assert_not_null(field);
        evener_bytes bytes = {.data = &mine, .length = 1};
        evener_status status;
        for (size_t length = 0; length < strlen(values[i].json); length++) {
            cr_assert_eq(evener_json_field_to_bytes(field, values[i].json, length, NULL, &bytes, &status),
                         EVENER_STATUS_INVALID_ARGUMENT, "%.*s", (int)length, values[i].json);
            cr_assert(strcmp(values[i].name, "any") == 0 ||
                          strncmp(status.message, "malformed JSON at line 1", 24) == 0,
                      "%.*s: %s", (int)length, values[i].json, status.message);
            cr_assert(bytes.data == &mine && bytes.length == 1, "%.*s", (int)length, values[i].json);
        }
        cr_assert_eq(evener_json_field_to_bytes(field, values[i].json, strlen(values[i].json), NULL, &bytes, &status),
                     EVENER_STATUS_OK, "%s: %s", values[i].json, status.message);
        evener_bytes_clear(&bytes);
    }
}

Test(json, bytes_that_are_no_message_are_refused_with_the_path)
{
    static const uint8_t bad[] = {0x5a, 0x02, 0x08, 0xff}; /* nested (11): two bytes, a truncated varint */
    const evener_bytes bytes = {.data = bad, .length = sizeof bad};
    evener_status status;
    char *json;
    cr_assert_eq(evener_json_from_bytes(everything, &bytes, NULL, &json, NULL, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(status.message, "nested: the bytes are not a message of this type");
}

Test(json, nothing_is_stored_when_bytes_are_refused_at_any_place)
{
    static const char *const utf8 = "the string is not UTF-8";
    static const struct {
        const char *bytes;
        size_t length;
        const char *path, *problem;
    } cases[] = {
        {"\x4a\x01\xff", 3, "aString", utf8},
        {"\xea\x01\x01x\xea\x01\x01\xff", 8, "strings[1]", utf8},                 /* 29 */
        {"\xfa\x01\x00\xfa\x01\x03\x4a\x01\xff", 9, "messages[1].aString", utf8}, /* 31 */
        {"\xfa\x01\x03\x4a\x01\xff\xfa\x01\x00", 9, "messages[0].aString", utf8},
        {"\xca\x01\x01\x80", 4, "int32s", "the bytes are not a message of this type"}, /* 25, packed */
        {"\xca\x01\x03\x01\x02\xff", 6, "int32s", "the bytes are not a message of this type"},
        {"\xea\x03\x04\x0a\x01\xff\x12", 7, "stringMap", "the bytes are not a message of this type"}, /* 61 */
        {"\xea\x03\x03\x0a\x01\xff", 6, "stringMap", "a key is not UTF-8"},
        {"\xea\x03\x06\x0a\x01k\x12\x01\xff", 9, "stringMap.k", utf8},
        {"\x82\x04\x08\x0a\x01k\x12\x03\x4a\x01\xff", 11, "messageMap.k.aString", utf8}, /* 64 */
        {"\xd2\x04\x0a\x0a\x08\x0a\x01k\x12\x03\x1a\x01\xff", 13, "structure.k", utf8},  /* 74 */
        {"\xda\x04\x03\x1a\x01\xff", 6, "value", utf8},                                  /* 75 */
        {"\xda\x04\x09\x11\0\0\0\0\0\0\xf8\x7f", 12, "value", "a Value has no form of NaN and Infinity"},
        {"\xda\x04\x07\x32\x05\x0a\x03\x1a\x01\xff", 10, "value[0]", utf8},
        {"\xe2\x04\x09\x0a\x02\x20\x01\x0a\x03\x1a\x01\xff", 12, "list[1]", utf8}, /* 76 */
        {"\xe2\x04\x02\x0a\x05", 5, "list", "the bytes are not a message of this type"},
        {"\xea\x04\x04\x0a\x02\x61\x5f", 7, "mask", "a path of the mask has no form in lowerCamelCase"}, /* 77 */
        {"\xea\x04\x02\x0a\x05", 5, "mask", "the bytes are not a message of this type"},
        {"\xc2\x04\x06\x10\xff\xff\xff\xff\x0f", 9, "timestamp", "the time is out of range"}, /* 72 */
        {"\xca\x04\x02\x08\xff", 5, "duration", "the bytes are not a message of this type"},  /* 73 */
        {"\xba\x05\x03\x0a\x01\xff", 6, "stringValue", utf8},                                 /* 87 */
        {"\xba\x05\x02\x0a\x05", 5, "stringValue", "the bytes are not a message of this type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const evener_bytes bytes = {.data = (const uint8_t *)cases[i].bytes, .length = cases[i].length};
        evener_status status;
        char mine[] = "mine", *json = mine, expected[256];
        size_t length = 7;
        cr_expect_eq(evener_json_from_bytes(everything, &bytes, NULL, &json, &length, &status),
                     EVENER_STATUS_INVALID_ARGUMENT, "%zu", i);
        snprintf(expected, sizeof expected, "%s: %s", cases[i].path, cases[i].problem);
        cr_expect_str_eq(status.message, expected, "%zu", i);
        cr_expect(json == mine && length == 7, "%zu", i);
    }
}

/* ---- options ---- */

Test(json, unknown_fields_and_enum_values_are_ignored_if_asked_for)
{
    const evener_json_options options = {.size = sizeof options, .ignore_unknown = true};
    gives("{\"typo\":[1,{\"a\":\"b\"}],\"anInt32\":1,\"light\":\"BRIGHT\",\"lights\":[\"BRIGHT\",1],"
          "\"boolMap\":{\"true\":\"BRIGHT\"}}",
          &options, "{\"anInt32\":1,\"lights\":[\"LIGHT_DAY\"]}");
}

Test(json, writing_follows_names_numbers_and_indentation_of_the_options)
{
    const evener_json_options options = {
        .size = sizeof options, .original_names = true, .enums_as_numbers = true, .indent = 2};
    gives("{\"light\":1,\"int32s\":[1,2],\"nested\":{},\"stringMap\":{\"b\":\"2\",\"a\":\"1\"}}", &options,
          "{\n  \"nested\": {},\n  \"light\": 1,\n  \"int32s\": [\n    1,\n    2\n  ],\n  \"string_map\": {\n"
          "    \"a\": \"1\",\n    \"b\": \"2\"\n  }\n}");
}

Test(json, defaults_are_written_if_asked_for_but_not_of_fields_with_presence)
{
    const evener_json_options options = {.size = sizeof options, .emit_defaults = true};
    char *text = again("{\"inner\":{},\"anInt32\":5}", NULL, &options);
    cr_assert_not_null(strstr(text, "\"inner\":{\"text\":\"\",\"level\":\"LOW\"}"), "%s", text);
    cr_assert_not_null(strstr(text, "{\"aDouble\":0,\"aFloat\":0,\"anInt64\":\"0\",\"aUint64\":\"0\",\"anInt32\":5,"));
    cr_assert_not_null(strstr(text, "\"doubles\":[]"));
    cr_assert_not_null(strstr(text, "\"stringMap\":{}"));
    cr_assert_null(strstr(text, "optionalInt32"));
    cr_assert_null(strstr(text, "choiceString"));
    cr_assert_null(strstr(text, "timestamp\""));
    free(text);
}

Test(json, an_any_of_an_unknown_type_goes_as_base64_if_asked_for)
{
    const evener_json_options options = {.size = sizeof options, .opaque_any = true};
    gives("{\"any\":{\"@type\":\"type.googleapis.com/x.Y\",\"@value\":\"AQID\"}}", &options,
          "{\"any\":{\"@type\":\"type.googleapis.com/x.Y\",\"@value\":\"AQID\"}}");
    refuses("{\"any\":{\"@type\":\"type.googleapis.com/x.Y\",\"@value\":\"AQID\"}}",
            "any: the type \"x.Y\" is unknown");
}

/* Write the any (71) of these bytes, and check its text, or the error. */
static void writes_any(const char *url, size_t url_bytes, const char *value, const evener_json_options *options,
                       const char *expected)
{
    uint8_t content[2048];
    size_t length = 0;
    content[length++] = 0x0a;
    content[length++] = (uint8_t)(0x80 | (url_bytes & 0x7f));
    content[length++] = (uint8_t)(url_bytes >> 7);
    memcpy(content + length, url, url_bytes);
    length += url_bytes;
    if (value != NULL) {
        content[length++] = 0x12;
        content[length++] = (uint8_t)strlen(value);
        memcpy(content + length, value, strlen(value));
        length += strlen(value);
    }
    const evener_bytes bytes = {.data = content, .length = length};
    const evener_message_type *any = evener_descriptors_message(types, "google.protobuf.Any");
    evener_status status;
    char *text = NULL;
    const evener_status_code code = evener_json_from_bytes(any, &bytes, options, &text, NULL, &status);
    cr_expect_str_eq(code == EVENER_STATUS_OK ? text : status.message, expected);
    free(text);
}

Test(json, an_any_is_written_by_the_name_behind_the_last_slash)
{
    const evener_json_options opaque = {.size = sizeof opaque, .opaque_any = true};
    static char name[EVENER_DESCRIPTORS_NAME_BYTES_MAX + 3] = "/";
    writes_any("", 0, NULL, NULL, "{}");
    writes_any("", 0, "", &opaque, "{}");
    writes_any("", 0, "a", NULL, "the type \"\" is unknown");
    writes_any("", 0, "a", &opaque, "{\"@type\":\"\",\"@value\":\"YQ==\"}");
    writes_any("x", 1, NULL, NULL, "the type \"\" is unknown");
    writes_any("x", 1, NULL, &opaque, "{\"@type\":\"x\",\"@value\":\"\"}");
    writes_any("xy", 2, "b", &opaque, "{\"@type\":\"xy\",\"@value\":\"Yg==\"}");
    writes_any("/", 1, "b", NULL, "the type \"\" is unknown");
    writes_any("/", 1, "b", &opaque, "{\"@type\":\"/\",\"@value\":\"Yg==\"}");
    writes_any("/y", 2, "b", NULL, "the type \"y\" is unknown");
    writes_any("/evener.test.Everything", 23, NULL, NULL, "{\"@type\":\"/evener.test.Everything\"}");
    writes_any("/evener.test.Everything", 23, "\x28\x05", &opaque,
               "{\"@type\":\"/evener.test.Everything\",\"anInt32\":5}");
    writes_any("a/b/google.protobuf.Empty", 25, NULL, NULL, "{\"@type\":\"a/b/google.protobuf.Empty\"}");
    writes_any("x/google.protobuf.Duration", 26, "\x08\x05", NULL,
               "{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"5s\"}");
    writes_any("x/google.protobuf.Any", 21, NULL, NULL, "{\"@type\":\"x/google.protobuf.Any\",\"value\":{}}");
    writes_any("x/evener.test.Everything", 24, "\x4a\x01\xff", NULL, "aString: the string is not UTF-8");
    writes_any("x/google.protobuf.StringValue", 29, "\x0a\x01\xff", NULL, "value: the string is not UTF-8");
    writes_any("x/\xff", 3, NULL, &opaque, "the type's URL is not UTF-8, or contains NUL");
    writes_any("x\0/y", 4, NULL, &opaque, "the type's URL is not UTF-8, or contains NUL");
    writes_any("\0", 1, NULL, &opaque, "the type's URL is not UTF-8, or contains NUL");
    memset(name + 1, 'n', EVENER_DESCRIPTORS_NAME_BYTES_MAX + 1);
    char expected[256];
    snprintf(expected, sizeof expected, "the type \"%.160s\" is unknown", name + 1);
    writes_any(name, EVENER_DESCRIPTORS_NAME_BYTES_MAX + 1, NULL, NULL, expected);
    writes_any(name, EVENER_DESCRIPTORS_NAME_BYTES_MAX + 2, NULL, NULL, "the type \"\" is unknown");
}

Test(json, an_any_is_read_by_the_name_behind_the_last_slash)
{
    static const char *const needed = "any: a @type such as \"type.googleapis.com/package.Message\" is needed";
    const evener_json_options opaque = {.size = sizeof opaque, .opaque_any = true};
    refuses("{\"any\":{\"@type\":\"\"}}", needed);
    refuses("{\"any\":{\"@type\":\"x\"}}", needed);
    refuses("{\"any\":{\"@type\":\"x/\"}}", needed);
    refuses("{\"any\":{\"@type\":\"/\"}}", needed);
    refuses("{\"any\":{\"@type\":\"evener.test.Everything\"}}", needed);
    refuses("{\"any\":{\"@type\":\"x/google.protobuf.Empty\\u0000\"}}", needed);
    refuses("{\"any\":{\"@type\":\"x/y\"}}", "any: the type \"y\" is unknown");
    refuses("{\"any\":{\"@type\":1}}", "any: one @type, a string, is needed");
    refuses("{\"any\":{\"@type\":\"x/google.protobuf.Empty\",\"@type\":\"x/google.protobuf.Empty\"}}",
            "any: one @type, a string, is needed");
    refuses("{\"any\":{\"@type\":", "malformed JSON at line 1, column 17: a value is needed (the text has ended)");
    refuses("{\"any\":{\"@type\":x}}", "malformed JSON at line 1, column 17: a value is needed");
    refuses("{\"any\":{\"@type\":\"x\",\"@type\":",
            "malformed JSON at line 1, column 29: a value is needed (the text has ended)");
    refuses("{\"any\":{\"aBool\":true}}", "any: @type is needed");
    refuses("{\"any\":{\"@type\":\"x/google.protobuf.Duration\"}}", "any: \"value\" is needed");
    refuses("{\"any\":{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"1s\",\"value\":\"1s\"}}",
            "any.value: only \"@type\" and one \"value\" may be here");
    refuses("{\"any\":{\"@type\":\"x/google.protobuf.Duration\",\"other\":1,\"value\":\"1s\"}}",
            "any.other: only \"@type\" and one \"value\" may be here");
    refuses("{\"any\":{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"1\"}}",
            "any.value: a duration in seconds such as \"1.5s\" is needed");
    refuses("{\"any\":{\"@type\":\"x/google.protobuf.Empty\",\"other\":1}}",
            "any.other: the message google.protobuf.Empty has no such field");
    refuses("{\"any\":{\"@type\":\"x/google.protobuf.Empty\",\"value\":1}}", "any.value: an object is needed");
    refuses("{\"any\":{\"@type\":\"x/y\",\"@value\":\"YQ==\"}}", "any: the type \"y\" is unknown");
    gives("{\"any\":{}}", NULL, "{\"any\":{}}");
    gives("{\"any\":{\"aBool\":true,\"@type\":\"/evener.test.Everything\"}}", NULL,
          "{\"any\":{\"@type\":\"/evener.test.Everything\",\"aBool\":true}}");
    gives("{\"any\":{\"value\":\"1s\",\"@type\":\"a/b/google.protobuf.Duration\"}}", NULL,
          "{\"any\":{\"@type\":\"a/b/google.protobuf.Duration\",\"value\":\"1s\"}}");
    gives("{\"any\":{\"@type\":\"x/google.protobuf.Empty\",\"value\":{}}}", NULL,
          "{\"any\":{\"@type\":\"x/google.protobuf.Empty\"}}");
    gives("{\"any\":{\"@type\":\"x/google.protobuf.Empty\"}}", NULL,
          "{\"any\":{\"@type\":\"x/google.protobuf.Empty\"}}");
    gives("{\"any\":{\"@value\":\"YQ\",\"@type\":\"x\"}}", &opaque, "{\"any\":{\"@type\":\"x\",\"@value\":\"YQ==\"}}");
    gives("{\"any\":{\"@value\":\"\",\"@type\":\"x/\"},\"aBool\":true}", &opaque,
          "{\"aBool\":true,\"any\":{\"@type\":\"x/\",\"@value\":\"\"}}");
    static const char *const wrong[][2] = {
        {"{\"any\":{\"@type\":\"x\",\"@value\":1}}", "any: @value is needed in base64"},
        {"{\"any\":{\"@type\":\"x\",\"@value\":\"Y\"}}", "any: @value is needed in base64"},
        {"{\"any\":{\"@type\":\"x\",\"value\":\"YQ\"}}", needed},
        {"{\"any\":{\"@type\":\"x/y\"}}", "any: the type \"y\" is unknown"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        evener_status status;
        evener_bytes bytes;
        cr_assert_eq(parse(wrong[i][0], &opaque, &bytes, &status), EVENER_STATUS_INVALID_ARGUMENT, "%s", wrong[i][0]);
        cr_expect_str_eq(status.message, wrong[i][1]);
    }
    const evener_json_options lenient = {.size = sizeof lenient, .ignore_unknown = true};
    gives("{\"any\":{\"@type\":\"x/google.protobuf.Duration\",\"other\":[1],\"value\":\"1s\",\"value\":2}}", &lenient,
          "{\"any\":{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"1s\"}}");
}

Test(json, an_options_struct_without_a_size_is_refused)
{
    const evener_json_options options = {.indent = 2};
    evener_status status;
    evener_bytes bytes;
    cr_assert_eq(parse("{}", &options, &bytes, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_eq(strncmp(status.message, "JSON options", 12), 0, "%s", status.message);
}

/* ---- limits ---- */

/* Return `levels` messages inside each other. */
static char *nested(unsigned levels)
{
    char *text = malloc(levels * 12 + 3);
    text[0] = '\0';
    for (unsigned i = 1; i < levels; i++) {
        strcat(text, "{\"nested\":");
    }
    strcat(text, "{}");
    for (unsigned i = 1; i < levels; i++) {
        strcat(text, "}");
    }
    return text;
}

Test(json, depth_is_limited_both_ways)
{
    const evener_json_options more = {.size = sizeof more, .depth_max = 101};
    evener_status status;
    evener_bytes bytes;
    char *text = nested(100);
    gives(text, NULL, text);
    free(text);
    text = nested(101);
    cr_assert_eq(parse(text, NULL, &bytes, &status), EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_assert_not_null(strstr(status.message, "...: more than 100 levels"), "%s", status.message);
    cr_assert_eq(parse(text, &more, &bytes, &status), EVENER_STATUS_OK);
    char *out = NULL;
    cr_assert_eq(evener_json_from_bytes(everything, &bytes, NULL, &out, NULL, &status),
                 EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_assert_null(out);
    cr_assert_eq(evener_json_from_bytes(everything, &bytes, &more, &out, NULL, &status), EVENER_STATUS_OK);
    cr_assert_str_eq(out, text);
    free(out);
    evener_bytes_clear(&bytes);
    free(text);
    refuses("{\"typo\":1}", "typo: the message evener.test.Everything has no such field");
    /* What is skipped counts, too. */
    const evener_json_options few = {.size = sizeof few, .depth_max = 3, .ignore_unknown = true};
    cr_assert_eq(parse("{\"typo\":[[1]]}", &few, &bytes, &status), EVENER_STATUS_OK);
    evener_bytes_clear(&bytes);
    cr_assert_eq(parse("{\"typo\":[[[1]]]}", &few, &bytes, &status), EVENER_STATUS_RESOURCE_EXHAUSTED);
}

Test(json, the_size_of_the_result_is_limited_both_ways)
{
    evener_json_options options = {.size = sizeof options, .bytes_max = 12};
    evener_status status;
    evener_bytes bytes;
    char *text = NULL;
    cr_assert_eq(parse("{\"aString\":\"0123456789\"}", &options, &bytes, &status), EVENER_STATUS_OK); /* 12 bytes */
    cr_assert_eq(evener_json_from_bytes(everything, &bytes, &options, &text, NULL, &status),
                 EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_assert_str_eq(status.message, "the result is larger than 12 bytes");
    options.bytes_max = 24;
    cr_assert_eq(evener_json_from_bytes(everything, &bytes, &options, &text, NULL, &status), EVENER_STATUS_OK);
    cr_assert_str_eq(text, "{\"aString\":\"0123456789\"}");
    evener_bytes_clear(&bytes);
    free(text);
    options.bytes_max = 11;
    cr_assert_eq(parse("{\"aString\":\"0123456789\"}", &options, &bytes, &status), EVENER_STATUS_RESOURCE_EXHAUSTED);
}

/* ---- parts ---- */

Test(json, single_fields_are_read_and_written_alone)
{
    static const struct {
        const char *name, *json;
    } values[] = {
        {"nested", "{\"anInt32\":1}"}, {"doubles", "[1,2.5]"}, {"string_map", "{\"a\":\"b\"}"},
        {"a_string", "\"x\""},         {"an_int64", "\"5\""},  {"timestamp", "\"1970-01-01T00:00:01Z\""},
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        const evener_field *field =
            evener_message_type_field_by_name(everything, values[i].name, strlen(values[i].name));
        evener_bytes bytes;
        evener_status status;
        char *json, *whole;
        cr_assert_eq(evener_json_field_to_bytes(field, values[i].json, strlen(values[i].json), NULL, &bytes, &status),
                     EVENER_STATUS_OK, "%s", status.message);
        cr_assert_eq(evener_json_field_from_bytes(field, &bytes, NULL, &json, NULL, &status), EVENER_STATUS_OK);
        cr_assert_str_eq(json, values[i].json);
        cr_assert_eq(evener_json_from_bytes(everything, &bytes, NULL, &whole, NULL, &status), EVENER_STATUS_OK);
        char expected[128];
        snprintf(expected, sizeof expected, "{\"%s\":%s}", field->json_name, values[i].json);
        cr_assert_str_eq(whole, expected);
        free(json);
        free(whole);
        evener_bytes_clear(&bytes);
    }
    const evener_field *field = evener_message_type_field(everything, 9);
    evener_bytes bytes;
    evener_status status;
    cr_assert_eq(evener_json_field_to_bytes(field, "5", 1, NULL, &bytes, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(status.message, "aString: a string is needed");
}

Test(json, an_unset_field_alone_is_its_default_or_null)
{
    const evener_bytes nothing = {0};
    static const struct {
        uint32_t number;
        const char *json;
    } values[] = {{9, "\"\""}, {3, "\"0\""}, {11, "null"}, {21, "[]"}, {61, "{}"}, {14, "\"LIGHT_UNKNOWN\""}};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char *json;
        size_t length;
        cr_assert_eq(evener_json_field_from_bytes(evener_message_type_field(everything, values[i].number), &nothing,
                                                  NULL, &json, &length, NULL),
                     EVENER_STATUS_OK);
        cr_assert_str_eq(json, values[i].json);
        cr_assert_eq(length, strlen(json));
        free(json);
    }
}

/* Add a field of a proto2 message; `type` and `default_` may be NULL. */
static void put_field(buffer *b, uint32_t number_, uint64_t label, evener_field_kind kind, const char *type,
                      const char *default_)
{
    char name[16];
    snprintf(name, sizeof name, "%s%u", kind == EVENER_FIELD_MESSAGE ? "m" : "f", number_);
    const size_t start = begin(b, 2);
    text(b, 1, name);
    number(b, 3, number_);
    number(b, 4, label);
    number(b, 5, kind);
    if (type != NULL) {
        text(b, 6, type);
    }
    if (default_ != NULL) {
        text(b, 7, default_);
    }
    evener_wire_close(b, start);
}

typedef struct default_case {
    evener_field_kind kind;
    const char *text, *json;
} default_case;

/* Return types with the message M, whose field i + 1 is as cases[i] says, and whose last field is a map of the closed
 * enum E. */
static evener_descriptors *types_with_defaults(const default_case *cases, uint32_t count)
{
    buffer b = {0};
    const size_t in_file = begin(&b, 1);
    text(&b, 1, "defaults.proto");
    const size_t in_message = begin(&b, 4);
    text(&b, 1, "M");
    for (uint32_t i = 0; i < count; i++) {
        put_field(&b, i + 1, 1, cases[i].kind, cases[i].kind == EVENER_FIELD_ENUM ? ".E" : NULL, cases[i].text);
    }
    char name[16];
    snprintf(name, sizeof name, "M%uEntry", count + 1);
    char full_name[32];
    snprintf(full_name, sizeof full_name, ".M.%s", name);
    put_field(&b, count + 1, 3, EVENER_FIELD_MESSAGE, full_name, NULL);
    const size_t in_entry = begin(&b, 3);
    text(&b, 1, name);
    const size_t in_options = begin(&b, 7);
    number(&b, 7, 1); /* map_entry */
    evener_wire_close(&b, in_options);
    put_field(&b, 1, 1, EVENER_FIELD_INT32, NULL, NULL);
    put_field(&b, 2, 1, EVENER_FIELD_ENUM, ".E", NULL);
    evener_wire_close(&b, in_entry);
    evener_wire_close(&b, in_message);
    const size_t in_enum = begin(&b, 5);
    text(&b, 1, "E");
    static const char *const names[] = {"E_ONE", "E_TWO"};
    for (uint64_t i = 0; i < 2; i++) {
        const size_t in_value = begin(&b, 2);
        text(&b, 1, names[i]);
        number(&b, 2, i + 1);
        evener_wire_close(&b, in_value);
    }
    evener_wire_close(&b, in_enum);
    evener_wire_close(&b, in_file);
    evener_descriptors *made;
    evener_status status;
    cr_assert_eq(evener_descriptors_create(&made, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_descriptors_add_set(made, b.data, b.length, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_wire_clear(&b);
    return made;
}

Test(json, an_unset_field_alone_is_the_default_that_proto2_declares)
{
    static const default_case cases[] = {
        {EVENER_FIELD_DOUBLE, "1.5", "1.5"},
        {EVENER_FIELD_DOUBLE, "-1e+300", "-1e+300"},
        {EVENER_FIELD_DOUBLE, "-inf", "\"-Infinity\""},
        {EVENER_FIELD_FLOAT, "inf", "\"Infinity\""},
        {EVENER_FIELD_FLOAT, "nan", "\"NaN\""},
        {EVENER_FIELD_FLOAT, "0.1", "0.1"},
        {EVENER_FIELD_INT64, "-9223372036854775808", "\"-9223372036854775808\""},
        {EVENER_FIELD_UINT64, "18446744073709551615", "\"18446744073709551615\""},
        {EVENER_FIELD_INT32, "-5", "-5"},
        {EVENER_FIELD_FIXED64, "7", "\"7\""},
        {EVENER_FIELD_FIXED32, "7", "7"},
        {EVENER_FIELD_UINT32, "4294967295", "4294967295"},
        {EVENER_FIELD_SFIXED32, "-1", "-1"},
        {EVENER_FIELD_SFIXED64, "-1", "\"-1\""},
        {EVENER_FIELD_SINT32, "-3", "-3"},
        {EVENER_FIELD_SINT64, "-3", "\"-3\""},
        {EVENER_FIELD_BOOL, "true", "true"},
        {EVENER_FIELD_BOOL, "false", "false"},
        {EVENER_FIELD_STRING, "a\\\"b", "\"a\\\\\\\"b\""},
        {EVENER_FIELD_BYTES, "a\\377\\n\\\\", "\"Yf8KXA==\""},
        {EVENER_FIELD_ENUM, "E_TWO", "\"E_TWO\""},
        /* Nothing declared: zero, and the first value of an enum. */
        {EVENER_FIELD_ENUM, NULL, "\"E_ONE\""},
        {EVENER_FIELD_DOUBLE, NULL, "0"},
        {EVENER_FIELD_INT32, NULL, "0"},
        {EVENER_FIELD_SINT64, NULL, "\"0\""},
        {EVENER_FIELD_BOOL, NULL, "false"},
        {EVENER_FIELD_STRING, NULL, "\"\""},
        {EVENER_FIELD_BYTES, NULL, "\"\""},
        /* What no compiler writes is nothing. */
        {EVENER_FIELD_DOUBLE, "x", "0"},
        {EVENER_FIELD_INT32, "", "0"},
        {EVENER_FIELD_ENUM, "E_THREE", "\"E_ONE\""},
        {EVENER_FIELD_BYTES, "\\", "\"XA==\""},
    };
    const uint32_t count = sizeof cases / sizeof cases[0];
    evener_descriptors *made = types_with_defaults(cases, count);
    const evener_message_type *message = evener_descriptors_message(made, "M");
    const evener_bytes nothing = {0};
    for (uint32_t i = 0; i < count; i++) {
        const evener_field *field = evener_message_type_field(message, i + 1);
        evener_status status;
        char *json;
        cr_assert_eq(evener_json_field_from_bytes(field, &nothing, NULL, &json, NULL, &status), EVENER_STATUS_OK, "%s",
                     status.message);
        cr_expect_str_eq(json, cases[i].json, "%u: %s", i, json);
        free(json);
    }
    /* A value that is set is written, also 0; and an entry of a map may have none. */
    buffer b = {0};
    char *json;
    number(&b, 9, 0);
    const evener_bytes zero = {.data = b.data, .length = b.length};
    cr_assert_eq(evener_json_field_from_bytes(evener_message_type_field(message, 9), &zero, NULL, &json, NULL, NULL),
                 EVENER_STATUS_OK);
    cr_expect_str_eq(json, "0");
    free(json);
    evener_wire_clear(&b);
    const size_t in_entry = begin(&b, count + 1);
    number(&b, 1, 5);
    evener_wire_close(&b, in_entry);
    const evener_bytes entry = {.data = b.data, .length = b.length};
    cr_assert_eq(
        evener_json_field_from_bytes(evener_message_type_field(message, count + 1), &entry, NULL, &json, NULL, NULL),
        EVENER_STATUS_OK);
    cr_expect_str_eq(json, "{\"5\":\"E_ONE\"}");
    free(json);
    evener_wire_clear(&b);
    evener_descriptors_destroy(made);
}

Test(json, values_that_follow_each_other_are_found_one_by_one)
{
    static const char text[] = " {\"a\":[1,\"}\"]} 12\n\"x\"[]{}  ";
    static const char *const expected[] = {"{\"a\":[1,\"}\"]}", "12", "\"x\"", "[]", "{}"};
    size_t at = 0, start, end;
    evener_status status;
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(evener_json_next(text + at, sizeof text - 1 - at, &start, &end, &status), EVENER_STATUS_OK, "%s",
                     status.message);
        cr_assert_eq(end - start, strlen(expected[i]));
        cr_assert_eq(memcmp(text + at + start, expected[i], end - start), 0);
        at += end;
    }
    cr_assert_eq(evener_json_next(text + at, sizeof text - 1 - at, &start, &end, &status), EVENER_STATUS_OK);
    cr_assert_eq(start, end);
    cr_assert_eq(evener_json_next("{", 1, &start, &end, &status), EVENER_STATUS_INVALID_ARGUMENT);
}
