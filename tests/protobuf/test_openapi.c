/* OpenAPI of HTTP routes: the form of each kind of field, and the parameters of messages inside each other. The whole
 * of a document is compared in test_http_routes.c. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/http_routes.h>

#include "tests/protobuf/hand_made.h"
#include "tests/protobuf/types.h"

/* Return the document of all routes, to be freed. */
static char *document_of(const evener_descriptors *types)
{
    evener_http_routes *routes;
    evener_status status;
    char *yaml = NULL;
    cr_assert_eq(evener_http_routes_create(types, NULL, &routes, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_http_routes_openapi(routes, "title", &yaml, &status), EVENER_STATUS_OK);
    evener_http_routes_destroy(routes);
    return yaml;
}

/* Return how often `part` is in the text. */
static unsigned places_of(const char *text, const char *part)
{
    unsigned places = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++) {
        places++;
    }
    return places;
}

Test(openapi, each_kind_of_field_has_a_form)
{
    static const struct {
        const char *name, *type, *format; /* of one value; type NULL: any */
        bool is_list, is_map;
    } fields[] = {
        {"aDouble", "number", "double", false, false},
        {"aFloat", "number", "float", false, false},
        {"anInt64", "string", "int64", false, false},
        {"aUint64", "string", "uint64", false, false},
        {"anInt32", "integer", "int32", false, false},
        {"aFixed64", "string", "uint64", false, false},
        {"aFixed32", "integer", "int64", false, false},
        {"aBool", "boolean", NULL, false, false},
        {"aString", "string", NULL, false, false},
        {"someBytes", "string", "byte", false, false},
        {"aUint32", "integer", "int64", false, false},
        {"anSfixed32", "integer", "int32", false, false},
        {"anSfixed64", "string", "int64", false, false},
        {"anSint32", "integer", "int32", false, false},
        {"anSint64", "string", "int64", false, false},
        {"bytesList", "string", "byte", true, false},
        {"intMap", "string", "int64", false, true},
        {"timestamp", "string", "date-time", false, false},
        {"duration", "string", NULL, false, false},
        {"structure", "object", NULL, false, false},
        {"value", NULL, NULL, false, false},
        {"mask", "string", NULL, false, false},
        {"boolValue", "boolean", NULL, false, false},
        {"bytesValue", "string", "byte", false, false},
        {"doubleValue", "number", "double", false, false},
        {"floatValue", "number", "float", false, false},
        {"int32Value", "integer", "int32", false, false},
        {"int64Value", "string", "int64", false, false},
        {"stringValue", "string", NULL, false, false},
        {"uint32Value", "integer", "int64", false, false},
        {"uint64Value", "string", "uint64", false, false},
        {"values", NULL, NULL, true, false},
        {"durationMap", "string", NULL, false, true},
    };
    evener_descriptors *types = types_read();
    char *yaml = document_of(types);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        char expected[512];
        const char *indent = fields[i].is_list || fields[i].is_map ? "          " : "        ";
        int used = snprintf(expected, sizeof expected, "\n      \"%s\":\n%s", fields[i].name,
                            fields[i].is_list  ? "        type: \"array\"\n        items:\n"
                            : fields[i].is_map ? "        type: \"object\"\n        additionalProperties:\n"
                                               : "");
        if (fields[i].type == NULL) {
            used += snprintf(expected + used, sizeof expected - (size_t)used, "%sdescription: \"Any JSON value.\"\n",
                             indent);
        } else {
            used +=
                snprintf(expected + used, sizeof expected - (size_t)used, "%stype: \"%s\"\n", indent, fields[i].type);
        }
        if (fields[i].format != NULL) {
            used += snprintf(expected + used, sizeof expected - (size_t)used, "%sformat: \"%s\"\n", indent,
                             fields[i].format);
        }
        (void)snprintf(expected + used, sizeof expected - (size_t)used, "      \""); /* the next one */
        cr_expect_eq(places_of(yaml, expected), 1, "%s", expected);
    }
    static const char *const others[] = {
        "\n      \"list\":\n        type: \"array\"\n        items: {}\n      \"",
        "\n      \"nested\":\n        $ref: \"#/definitions/evener.test.Everything\"\n      \"",
        "\n      \"messageMap\":\n        type: \"object\"\n        additionalProperties:\n"
        "          $ref: \"#/definitions/evener.test.Everything\"\n      \"",
        "\n      \"choiceNull\":\n        type: \"string\"\n        enum:\n        - \"NULL_VALUE\"\n      \"",
        "\n  \"google.protobuf.Any\":\n    type: \"object\"\n",
        "    properties:\n      \"@type\":\n        type: \"string\"\n    additionalProperties: {}\n",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        cr_expect_eq(places_of(yaml, others[i]), 1, "%s", others[i]);
    }
    free(yaml);
    evener_descriptors_destroy(types);
}

/* ---- declarations made by hand ---- */

/* Add a field of the type of that name; NULL: an int32. */
static void put_field(buffer *b, const char *name, uint32_t number_, const char *type)
{
    const size_t start = begin(b, 2);
    text(b, 1, name);
    number(b, 3, number_);
    number(b, 4, 1);
    number(b, 5, type != NULL ? 11 : 5);
    if (type != NULL) {
        text(b, 6, type);
    }
    evener_wire_close(b, start);
}

/* Begin a message with `count` fields of int32: f1, f2 and so on. Return what evener_wire_close() needs. */
static size_t begin_message(buffer *b, const char *name, unsigned count)
{
    const size_t start = begin(b, 4);
    text(b, 1, name);
    for (unsigned i = 1; i <= count; i++) {
        char field[16];
        (void)snprintf(field, sizeof field, "f%u", i);
        put_field(b, field, i, NULL);
    }
    return start;
}

/* Add a service whose method Get takes and returns Q, at GET /q. */
static void put_method(buffer *b)
{
    const size_t in_service = begin(b, 6);
    text(b, 1, "S");
    const size_t in_method = begin(b, 2);
    text(b, 1, "Get");
    text(b, 2, ".Q");
    text(b, 3, ".Q");
    const size_t in_options = begin(b, 4);
    const size_t in_http = begin(b, 72295728);
    text(b, 2, "/q");
    evener_wire_close(b, in_http);
    evener_wire_close(b, in_options);
    evener_wire_close(b, in_method);
    evener_wire_close(b, in_service);
}

/* Close the set, and return the document of its routes, to be freed. */
static char *close_file(buffer *b, size_t in_file)
{
    evener_descriptors *types;
    evener_status status;
    evener_wire_close(b, in_file);
    cr_assert_eq(evener_descriptors_create(&types, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_descriptors_add_set(types, b->data, b->length, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    char *yaml = document_of(types);
    evener_wire_clear(b);
    evener_descriptors_destroy(types);
    return yaml;
}

static size_t begin_file(buffer *b)
{
    const size_t start = begin(b, 1);
    text(b, 1, "q.proto");
    text(b, 12, "proto3");
    return start;
}

Test(openapi, a_message_without_fields_has_no_parameters)
{
    buffer b = {0};
    const size_t in_file = begin_file(&b);
    evener_wire_close(&b, begin_message(&b, "Q", 0));
    put_method(&b);
    char *yaml = close_file(&b, in_file);
    cr_expect_eq(places_of(yaml, "parameters:"), 0);
    cr_expect_eq(places_of(yaml, "\n      responses:\n"), 1);
    free(yaml);
}

Test(openapi, messages_share_1000_parameters)
{
    static const struct {
        unsigned own, inner, expected; /* fields of Q beside two messages, fields of each of these, parameters */
    } cases[] = {{998, 1, 998}, {999, 1, 999}, {1000, 1, 1000}, {1001, 1, 1000},
                 {1, 5, 11},    {8, 98, 204},  {8, 99, 206},    {8, 100, 206}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buffer b = {0};
        const size_t in_file = begin_file(&b);
        const size_t in_message = begin_message(&b, "Q", cases[i].own);
        put_field(&b, "m", 2000, ".M");
        put_field(&b, "n", 2001, ".M");
        evener_wire_close(&b, in_message);
        evener_wire_close(&b, begin_message(&b, "M", cases[i].inner));
        put_method(&b);
        char *yaml = close_file(&b, in_file);
        cr_expect_eq(places_of(yaml, "in: \"query\""), cases[i].expected, "%zu: %u", i,
                     places_of(yaml, "in: \"query\""));
        cr_expect_eq(places_of(yaml, "- name: \"f1\"\n"), 1);
        cr_expect_eq(places_of(yaml, "- name: \"n.f1\"\n"), cases[i].own < 900);
        free(yaml);
    }
}

Test(openapi, messages_inside_have_parameters_but_not_inside_of_themselves)
{
    buffer b = {0};
    const size_t in_file = begin_file(&b);
    size_t in_message = begin_message(&b, "Q", 1);
    put_field(&b, "q", 2, ".Q");
    put_field(&b, "a", 3, ".A");
    evener_wire_close(&b, in_message);
    static const char *const names[] = {"A", "B", "C", "D", "E"}, *const types[] = {".B", ".C", ".D", ".E", ".A"};
    for (size_t i = 0; i < 5; i++) {
        in_message = begin_message(&b, names[i], 1);
        put_field(&b, "next", 2, types[i]);
        put_field(&b, "q", 3, ".Q");
        put_field(&b, "self", 4, i == 2 ? ".C" : ".Q");
        evener_wire_close(&b, in_message);
    }
    put_method(&b);
    char *yaml = close_file(&b, in_file);
    static const char *const expected[] = {"f1", "a.f1", "a.next.f1", "a.next.next.f1", "a.next.next.next.f1"};
    for (size_t i = 0; i < 5; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "- name: \"%s\"\n        in: \"query\"\n        required: false\n",
                       expected[i]);
        cr_expect_eq(places_of(yaml, line), 1, "%s", line);
    }
    cr_expect_eq(places_of(yaml, "in: \"query\""), 5, "%s", yaml);
    free(yaml);
}

/* ---- operation ids ---- */

/* Add a method that takes and returns Q, at GET `path`, and also at `other` unless that is NULL. */
static void put_bound(buffer *b, const char *name, const char *path, const char *other)
{
    const size_t in_method = begin(b, 2);
    text(b, 1, name);
    text(b, 2, ".Q");
    text(b, 3, ".Q");
    const size_t in_options = begin(b, 4);
    const size_t in_http = begin(b, 72295728);
    text(b, 2, path);
    if (other != NULL) {
        const size_t in_other = begin(b, 11);
        text(b, 2, other);
        evener_wire_close(b, in_other);
    }
    evener_wire_close(b, in_http);
    evener_wire_close(b, in_options);
    evener_wire_close(b, in_method);
}

static void expect_id(const char *yaml, const char *path, const char *id)
{
    char lines[128];
    (void)snprintf(lines, sizeof lines, "\n  \"%s\":\n    get:\n      operationId: \"%s\"\n", path, id);
    cr_expect_eq(places_of(yaml, lines), 1, "%s", lines);
    (void)snprintf(lines, sizeof lines, "operationId: \"%s\"\n", id);
    cr_expect_eq(places_of(yaml, lines), 1, "%s", lines);
}

Test(openapi, no_two_operations_have_one_id)
{
    static const struct {
        const char *package, *service, *method, *path, *id, *other, *other_id;
    } methods[] = {
        /* A service in two packages, and one with the name that this makes of another. */
        {"a.v1", "S", "Get", "/a/1", "a_v1_S_Get", "/a/2", "a_v1_S_Get3"},
        {"a.v1", "S", "Put", "/a/3", "S_Put", "/a/4", "S_Put2"},
        {"a.v2", "S", "Get", "/a/5", "a_v2_S_Get", "/a/6", "a_v2_S_Get2"},
        {"", "a_v1_S", "Get", "/a/7", "a_v1_S_Get2", NULL, NULL},
        /* Methods with the names that further bindings of others would have. */
        {"b", "T", "Get", "/b/1", "T_Get", "/b/2", "T_Get3"},
        {"b", "T", "Get2", "/b/3", "T_Get2", "/b/4", "T_Get22"},
        /* An underscore that belongs to the service, and one that belongs to the method. */
        {"c", "A_B", "C", "/c/1", "A_B_C", NULL, NULL},
        {"c", "A", "B_C", "/c/2", "A_B_C2", NULL, NULL},
    };
    const size_t count = sizeof methods / sizeof methods[0];
    buffer b = {0};
    size_t in_file = 0, in_service = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(methods[i].package, methods[i - 1].package) != 0 ||
            strcmp(methods[i].service, methods[i - 1].service) != 0) {
            char name[32];
            (void)snprintf(name, sizeof name, "%s.%s", methods[i].package, methods[i].service);
            in_file = begin(&b, 1);
            text(&b, 1, name);
            text(&b, 2, methods[i].package);
            text(&b, 12, "proto3");
            in_service = begin(&b, 6);
            text(&b, 1, methods[i].service);
        }
        put_bound(&b, methods[i].method, methods[i].path, methods[i].other);
        if (i + 1 == count || strcmp(methods[i].package, methods[i + 1].package) != 0 ||
            strcmp(methods[i].service, methods[i + 1].service) != 0) {
            evener_wire_close(&b, in_service);
            evener_wire_close(&b, in_file);
        }
    }
    in_file = begin_file(&b);
    evener_wire_close(&b, begin_message(&b, "Q", 0));
    char *yaml = close_file(&b, in_file);
    for (size_t i = 0; i < count; i++) {
        expect_id(yaml, methods[i].path, methods[i].id);
        if (methods[i].other != NULL) {
            expect_id(yaml, methods[i].other, methods[i].other_id);
        }
    }
    free(yaml);
}
