/* Texts of a request's path and query: which field they name, and which value they mean for a field of each kind. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/json.h>

#include "lb/protobuf/http_routes_internal.h"
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

TestSuite(http_values, .init = set_up, .fini = tear_down);

static evener_status_code add(const char *name, const char *text, size_t length, evener_wire_buffer *into,
                              evener_status *status)
{
    evener_http_field_path path;
    const evener_status_code code = evener_http_field_path_find(everything, name, strlen(name), "", &path, status);
    return code == EVENER_STATUS_OK ? evener_http_add_value(everything, &path, text, length, into, status) : code;
}

/* Check what a text means for the field of that name: the message in JSON, or an error that begins with `error`. */
static void expect(const char *name, const char *text, const char *json, const char *error)
{
    evener_wire_buffer into = {0};
    evener_status status;
    const evener_status_code code = add(name, text, strlen(text), &into, &status);
    if (json == NULL) {
        cr_expect_eq(code, EVENER_STATUS_INVALID_ARGUMENT, "%s=%s", name, text);
        cr_expect_eq(strncmp(status.message, error, strlen(error)), 0, "%s=%s: %s", name, text, status.message);
        cr_expect_eq(into.length, 0);
    } else {
        char *written = NULL;
        const evener_bytes bytes = {.data = into.data, .length = into.length};
        cr_assert_eq(code, EVENER_STATUS_OK, "%s=%s: %s", name, text, status.message);
        cr_assert_eq(evener_json_from_bytes(everything, &bytes, NULL, &written, NULL, &status), EVENER_STATUS_OK);
        cr_expect_str_eq(written, json, "%s=%s", name, text);
        free(written);
    }
    evener_wire_clear(&into);
}

Test(http_values, each_kind_of_field_reads_its_texts)
{
    static const char *const cases[][3] = {
        {"a_string", "true", "{\"aString\":\"true\"}"},
        {"aString", "a\"\\\n\x7f~\xc3\xa9", "{\"aString\":\"a\\\"\\\\\\n\\u007f~\xc3\xa9\"}"},
        {"aString", "\x1f ", "{\"aString\":\"\\u001f \"}"},
        {"an_int32", "-5", "{\"anInt32\":-5}"},
        {"anInt64", "9223372036854775807", "{\"anInt64\":\"9223372036854775807\"}"},
        {"a_double", "-1.5e1", "{\"aDouble\":-15}"},
        {"a_double", "NaN", "{\"aDouble\":\"NaN\"}"},
        {"a_bool", "true", "{\"aBool\":true}"},
        {"a_bool", "false", "{}"},
        {"boolValue", "true", "{\"boolValue\":true}"},
        {"bool_value", "false", "{\"boolValue\":false}"},
        {"string_value", "true", "{\"stringValue\":\"true\"}"},
        {"int32_value", "7", "{\"int32Value\":7}"},
        {"mask", "true", "{\"mask\":\"true\"}"},
        {"mask", "aB,c", "{\"mask\":\"aB,c\"}"},
        {"duration", "1.5s", "{\"duration\":\"1.500s\"}"},
        {"timestamp", "1970-01-01T00:00:00Z", "{\"timestamp\":\"1970-01-01T00:00:00Z\"}"},
        {"value", "12", "{\"value\":\"12\"}"},
        {"some_bytes", "YQ==", "{\"someBytes\":\"YQ==\"}"},
        {"light", "LIGHT_DAY", "{\"light\":\"LIGHT_DAY\"}"},
        {"light", "1", "{\"light\":\"LIGHT_DAY\"}"},
        {"light", "-1", "{\"light\":\"LIGHT_DARK\"}"},
        {"light", "1900000009", "{\"light\":1900000009}"},
        {"light", "-2147483648", "{\"light\":-2147483648}"},
        {"optional_int32", "0", "{\"optionalInt32\":0}"},
        {"choice_string", "", "{\"choiceString\":\"\"}"},
        {"strings", "a,b", "{\"strings\":[\"a,b\"]}"},
        {"int32s", "3", "{\"int32s\":[3]}"},
        {"bools", "true", "{\"bools\":[true]}"},
        {"lights", "2", "{\"lights\":[\"LIGHT_NIGHT\"]}"},
        {"string_map[]", "x", "{\"stringMap\":{\"\":\"x\"}}"},
        {"stringMap[a]", "x", "{\"stringMap\":{\"a\":\"x\"}}"},
        {"stringMap[a.b[\"]", "x", "{\"stringMap\":{\"a.b[\\\"\":\"x\"}}"},
        {"int_map[-3]", "4", "{\"intMap\":{\"-3\":\"4\"}}"},
        {"bool_map[true]", "1", "{\"boolMap\":{\"true\":\"LIGHT_DAY\"}}"},
        {"nested.nested.aBool", "true", "{\"nested\":{\"nested\":{\"aBool\":true}}}"},
        {"nested.string_map[a]", "x", "{\"nested\":{\"stringMap\":{\"a\":\"x\"}}}"},
    };
    static const char *const refused[][3] = {
        {"a_bool", "True", "aBool: true or false is needed"},
        {"a_bool", "", "aBool: true or false is needed"},
        {"a_bool", "truer", "aBool: true or false is needed"},
        {"bool_value", "1", "boolValue: true or false is needed"},
        {"an_int32", "", "anInt32: an integer of 32 bits is needed"},
        {"an_int32", "x", "anInt32: an integer of 32 bits is needed"},
        {"light", "", "light: the enum evener.test.Light has no such value"},
        {"light", "-", "light: the enum evener.test.Light has no such value"},
        {"light", "/", "light: "},
        {"light", ":", "light: "},
        {"light", "1x", "light: "},
        {"light", "2147483648", "light: "},
        {"light", "99999999999", "light: "},
        {"light", "100000000000", "light: "},
        {"a_string", "\xff", "aString: the value is not UTF-8"},
        {"a_string", "a\xc3", "aString: the value is not UTF-8"},
        {"nothing", "", "nothing: evener.test.Everything has no field nothing"},
        {"nested", "x", "nested: an object is needed"},
        {"", "", ": evener.test.Everything has no field "},
        {".a_bool", "", ".a_bool: evener.test.Everything has no field "},
        {"nested.", "", "nested.: evener.test.Everything has no field "},
        {"nested..a_bool", "", "nested..a_bool: evener.test.Everything has no field "},
        {"a_bool.x", "", "a_bool.x: a value has no field x"},
        {"light.x", "", "light.x: a value has no field x"},
        {"messages.a_bool", "", "messages.a_bool: messages is a list"},
        {"string_map", "", "string_map: string_map is a map, whose key stands in brackets"},
        {"string_map.a", "", "string_map.a: string_map is a map, whose key stands in brackets"},
        {"string_map[a", "", "string_map[a: evener.test.Everything has no field string_map[a"},
        {"a_string[a]", "", "a_string[a]: a_string is no map"},
        {"[a]", "", "[a]: evener.test.Everything has no field "},
        {"timestamp.seconds", "5", "timestamp: a time such as"},
        {"int_map[x]", "4", "intMap.x: an integer of 32 bits is needed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect(cases[i][0], cases[i][1], cases[i][2], NULL);
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        expect(refused[i][0], refused[i][1], NULL, refused[i][2]);
    }
}

Test(http_values, a_default_is_written_too_so_that_it_replaces_what_was_before)
{
    static const struct {
        const char *name, *text, *bytes;
        size_t length;
    } cases[] = {{"an_int32", "0", "\x28\x00", 2},
                 {"a_bool", "false", "\x40\x00", 2},
                 {"a_string", "", "\x4a\x00", 2},
                 {"light", "0", "\x70\x00", 2},
                 {"light", "LIGHT_UNKNOWN", "\x70\x00", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        evener_wire_buffer into = {0};
        evener_status status;
        cr_assert_eq(add(cases[i].name, cases[i].text, strlen(cases[i].text), &into, &status), EVENER_STATUS_OK, "%s",
                     status.message);
        cr_assert_eq(into.length, cases[i].length, "%s", cases[i].name);
        cr_expect_eq(memcmp(into.data, cases[i].bytes, cases[i].length), 0, "%s", cases[i].name);
        evener_wire_clear(&into);
    }
}

Test(http_values, a_path_of_fields_has_at_most_32_of_them)
{
    for (size_t depth = EVENER_HTTP_FIELD_DEPTH_MAX - 1; depth <= EVENER_HTTP_FIELD_DEPTH_MAX + 1; depth++) {
        char name[512] = "";
        evener_http_field_path path;
        evener_status status;
        for (size_t i = 1; i < depth; i++) {
            strcat(name, "nested.");
        }
        strcat(name, "a_bool");
        const bool fits = depth <= EVENER_HTTP_FIELD_DEPTH_MAX;
        cr_assert_eq(evener_http_field_path_find(everything, name, strlen(name), "it is ", &path, &status),
                     fits ? EVENER_STATUS_OK : EVENER_STATUS_INVALID_ARGUMENT);
        if (fits) {
            cr_assert_eq(path.depth, depth);
            cr_assert_str_eq(path.fields[depth - 1]->name, "a_bool");
        } else {
            cr_assert_eq(strncmp(status.message, "it is nested.", 13), 0, "%s", status.message);
            cr_assert_not_null(strstr(status.message, ".a_bool: deeper than 32"), "%s", status.message);
        }
    }
}

Test(http_values, what_is_no_utf8_is_replaced_in_strings)
{
    static const char *const cases[][2] = {
        {"", "\"\""},
        {"\xff", "\"\\ufffd\""},
        {"a\xc3z", "\"a\\ufffdz\""},
        {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
        {"\xf0\x9f\x98", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xe2\x82\xac\xc3\xa9", "\"\xe2\x82\xac\xc3\xa9\""},
        {"\x01\x1f\x20\x7e\x7f", "\"\\u0001\\u001f ~\\u007f\""},
        {"\"\\/", "\"\\\"\\\\/\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        evener_wire_buffer to = {0};
        evener_http_put_string(&to, cases[i][0], strlen(cases[i][0]));
        evener_wire_put_byte(&to, '\0');
        cr_expect_str_eq((const char *)to.data, cases[i][1], "%zu", i);
        evener_wire_clear(&to);
    }
    evener_wire_buffer to = {0};
    evener_http_put_string(&to, "\xf0\x9f\x98\x80", 3); /* only what belongs to the text is looked at */
    evener_wire_put_byte(&to, '\0');
    cr_expect_str_eq((const char *)to.data, "\"\\ufffd\\ufffd\\ufffd\"");
    evener_wire_clear(&to);
}

/* ---- a message in the path, inside of a group ---- */

static void put_field(buffer *b, const char *name, uint32_t number_, uint64_t kind, const char *type)
{
    const size_t start = begin(b, 2);
    text(b, 1, name);
    number(b, 3, number_);
    number(b, 5, kind);
    if (type != NULL) {
        text(b, 6, type);
    }
    evener_wire_close(b, start);
}

/* Add the message `name`, as field `field` of what is around it, with the duration d and the integer x. */
static void put_holder(buffer *b, uint32_t field, const char *name)
{
    const size_t start = begin(b, field);
    text(b, 1, name);
    put_field(b, "d", 1, EVENER_FIELD_MESSAGE, ".google.protobuf.Duration");
    put_field(b, "x", 2, EVENER_FIELD_INT32, NULL);
    evener_wire_close(b, start);
}

/* Make a set with a method whose request has a group and a message, and a variable of the path in it. */
static evener_descriptors *groups(const char *path)
{
    buffer b = {0};
    size_t in_file = begin(&b, 1);
    text(&b, 1, "google/protobuf/duration.proto");
    text(&b, 2, "google.protobuf");
    size_t in_message = begin(&b, 4);
    text(&b, 1, "Duration");
    put_field(&b, "seconds", 1, EVENER_FIELD_INT64, NULL);
    put_field(&b, "nanos", 2, EVENER_FIELD_INT32, NULL);
    evener_wire_close(&b, in_message);
    evener_wire_close(&b, in_file);
    in_file = begin(&b, 1);
    text(&b, 1, "q.proto");
    in_message = begin(&b, 4);
    text(&b, 1, "Q");
    put_field(&b, "g", 1, EVENER_FIELD_GROUP, ".Q.G");
    put_field(&b, "m", 2, EVENER_FIELD_MESSAGE, ".M");
    put_field(&b, "y", 3, EVENER_FIELD_INT32, NULL);
    put_holder(&b, 3, "G");
    evener_wire_close(&b, in_message);
    put_holder(&b, 4, "M");
    const size_t in_service = begin(&b, 6);
    text(&b, 1, "S");
    const size_t in_method = begin(&b, 2);
    text(&b, 1, "Do");
    text(&b, 2, "Q");
    text(&b, 3, "Q");
    const size_t in_options = begin(&b, 4);
    const size_t in_http = begin(&b, 72295728);
    text(&b, 4, path); /* post */
    text(&b, 7, "*");
    evener_wire_close(&b, in_http);
    evener_wire_close(&b, in_options);
    evener_wire_close(&b, in_method);
    evener_wire_close(&b, in_service);
    evener_wire_close(&b, in_file);
    evener_descriptors *made;
    evener_status status;
    cr_assert_eq(evener_descriptors_create(&made, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_descriptors_add_set(made, b.data, b.length, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_wire_clear(&b);
    return made;
}

Test(http_values, a_message_in_the_path_replaces_only_itself)
{
    static const char body[] = "{\"g\":{\"d\":\"1.5s\",\"x\":7},\"m\":{\"d\":\"2.5s\",\"x\":8},\"y\":9}";
    static const char *const cases[][2] = {
        {"/q/{g.d}", "{\"g\":{\"d\":\"5s\",\"x\":7},\"m\":{\"d\":\"2.500s\",\"x\":8},\"y\":9}"},
        {"/q/{m.d}", "{\"g\":{\"d\":\"1.500s\",\"x\":7},\"m\":{\"d\":\"5s\",\"x\":8},\"y\":9}"},
    };
    for (size_t i = 0; i < 2; i++) {
        evener_descriptors *made = groups(cases[i][0]);
        evener_http_routes *routes;
        evener_http_match *match;
        evener_bytes bytes;
        evener_status status;
        char *json = NULL;
        cr_assert_eq(evener_http_routes_create(made, NULL, &routes, &status), EVENER_STATUS_OK, "%s", status.message);
        cr_assert_eq(evener_http_routes_find(routes, "POST", "/q/5s", &match, &status), EVENER_STATUS_OK);
        cr_assert_eq(evener_http_match_request(match, NULL, body, strlen(body), &bytes, &status), EVENER_STATUS_OK,
                     "%s", status.message);
        cr_assert_eq(evener_json_from_bytes(evener_descriptors_message(made, "Q"), &bytes, NULL, &json, NULL, &status),
                     EVENER_STATUS_OK, "%s", status.message);
        cr_expect_str_eq(json, cases[i][1]);
        free(json);
        evener_bytes_clear(&bytes);
        evener_http_match_destroy(match);
        evener_http_routes_destroy(routes);
        evener_descriptors_destroy(made);
    }
}
