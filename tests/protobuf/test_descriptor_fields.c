/* Declarations made by hand: fields and enums at their limits, lookups in sparse messages, and the messages that have a
 * JSON form of their own only if they have its fields. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/descriptors.h>

#include "lb/protobuf/pool.h"
#include "lb/protobuf/wire.h"
#include "tests/protobuf/hand_made.h"

/* A field of a declaration; without a type name `type` is NULL. */
typedef struct declared {
    const char *name;
    uint64_t number, label, kind;
    const char *type;
} declared;

static void put_field(buffer *b, const declared *field)
{
    const size_t start = begin(b, 2);
    text(b, 1, field->name);
    number(b, 3, field->number);
    if (field->label != 0) {
        number(b, 4, field->label);
    }
    if (field->kind != 0) {
        number(b, 5, field->kind);
    }
    if (field->type != NULL) {
        text(b, 6, field->type);
    }
    evener_wire_close(b, start);
}

static void put_message(buffer *b, uint32_t at, const char *name, const declared *fields, size_t count, bool map_entry)
{
    const size_t start = begin(b, at);
    text(b, 1, name);
    for (size_t i = 0; i < count; i++) {
        put_field(b, &fields[i]);
    }
    if (map_entry) {
        const size_t options = begin(b, 7);
        number(b, 7, 1);
        evener_wire_close(b, options);
    }
    evener_wire_close(b, start);
}

static size_t begin_file(buffer *b, const char *name, const char *package)
{
    const size_t start = begin(b, 1);
    text(b, 1, name);
    text(b, 2, package);
    text(b, 12, "proto3");
    return start;
}

static evener_descriptors *add(buffer *b, evener_status *status)
{
    evener_descriptors *types = NULL;
    cr_assert_eq(evener_descriptors_create(&types, NULL), EVENER_STATUS_OK);
    (void)evener_status_clear(status);
    if (evener_descriptors_add_set(types, b->data, b->length, status) != EVENER_STATUS_OK) {
        evener_descriptors_destroy(types);
        types = NULL;
    }
    evener_wire_clear(b);
    return types;
}

/* Declare the message M with these fields, and an enum E and a message N that they may use. */
static evener_descriptors *declare(const declared *fields, size_t count, evener_status *status)
{
    buffer b = {0};
    const size_t start = begin_file(&b, "a.proto", "p");
    put_message(&b, 4, "M", fields, count, false);
    put_message(&b, 4, "N", NULL, 0, false);
    const size_t in_enum = begin(&b, 5);
    text(&b, 1, "E");
    const size_t in_value = begin(&b, 2);
    text(&b, 1, "ZERO");
    evener_wire_close(&b, in_value);
    evener_wire_close(&b, in_enum);
    evener_wire_close(&b, start);
    return add(&b, status);
}

static void expect_field(declared field, const char *problem)
{
    evener_status status;
    evener_descriptors *types = declare(&field, 1, &status);
    cr_assert_eq(types != NULL, problem == NULL, "%s: %s", field.name, status.message);
    if (problem != NULL) {
        cr_assert_not_null(strstr(status.message, problem), "%s", status.message);
    } else {
        const evener_field *found = evener_descriptors_message(types, "p.M")->fields[0];
        cr_assert_eq(found->number, field.number);
        cr_assert_eq(found->repeated, field.label == 3);
        cr_assert_eq(found->required, field.label == 2);
    }
    evener_descriptors_destroy(types);
}

Test(descriptor_fields, numbers_labels_and_types_have_limits)
{
    expect_field((declared){"a", 1, 1, 9, NULL}, NULL);
    expect_field((declared){"a", 536870911, 3, 18, NULL}, NULL);
    expect_field((declared){"a", 1, 2, 1, NULL}, NULL);
    expect_field((declared){"a", 1, 0, 5, NULL}, NULL);
    expect_field((declared){"a", 1, 1, 11, ".p.N"}, NULL);
    expect_field((declared){"a", 1, 1, 14, ".p.E"}, NULL);
    expect_field((declared){"a", 1, 1, 0, ".p.N"}, NULL);
    expect_field((declared){"a", 0, 1, 9, NULL}, "M.a: the number is out of range");
    expect_field((declared){"a", 536870912, 1, 9, NULL}, "M.a: the number is out of range");
    expect_field((declared){"a", UINT64_C(0x100000001), 1, 9, NULL}, "M.a: the number is out of range");
    expect_field((declared){"a", 1, 4, 9, NULL}, "M.a: its label or type is unknown");
    expect_field((declared){"a", 1, 1, 19, NULL}, "M.a: its label or type is unknown");
    expect_field((declared){"a", 1, 1, 0, NULL}, "M.a: its label or type is unknown");
    expect_field((declared){"a", 1, 1, 11, NULL}, "M.a: it has no type name");
    expect_field((declared){"a", 1, 1, 14, NULL}, "M.a: it has no type name");
    expect_field((declared){"a", 1, 1, 10, NULL}, "M.a: it has no type name");
    expect_field((declared){"a", 1, 1, 11, ".p.Lost"}, ".p.Lost is unknown");
    expect_field((declared){"", 1, 1, 9, NULL}, "no valid name");
    expect_field((declared){"a.b", 1, 1, 9, NULL}, "no valid name");
}

Test(descriptor_fields, a_label_of_zero_is_none)
{
    buffer b = {0};
    const size_t start = begin_file(&b, "a.proto", "");
    const size_t in_message = begin(&b, 4);
    text(&b, 1, "M");
    const size_t in_field = begin(&b, 2);
    text(&b, 1, "a");
    number(&b, 3, 1);
    number(&b, 4, 0);
    number(&b, 5, 9);
    evener_wire_close(&b, in_field);
    evener_wire_close(&b, in_message);
    evener_wire_close(&b, start);
    evener_status status;
    cr_assert_null(add(&b, &status));
    cr_assert_not_null(strstr(status.message, "its label or type is unknown"), "%s", status.message);
}

Test(descriptor_fields, numbers_and_names_are_used_once)
{
    evener_status status;
    const declared same_number[] = {{"a", 1, 1, 9, NULL}, {"b", 2, 1, 9, NULL}, {"c", 1, 1, 9, NULL}};
    cr_assert_null(declare(same_number, 3, &status));
    cr_assert_not_null(strstr(status.message, "c: another field has the same number"), "%s", status.message);
    const declared same_name[] = {{"a", 1, 1, 9, NULL}, {"b", 2, 1, 9, NULL}, {"a", 3, 1, 9, NULL}};
    cr_assert_null(declare(same_name, 3, &status));
    cr_assert_not_null(strstr(status.message, "a: the name is declared twice"), "%s", status.message);
}

Test(descriptor_fields, fields_are_found_whatever_their_numbers)
{
    declared fields[40];
    char names[40][16];
    evener_status status;
    for (uint64_t i = 0; i < 40; i++) { /* backwards, 1 2 3, then with gaps */
        (void)snprintf(names[i], sizeof names[i], "f_%c%u", (char)('a' + i % 7), (unsigned)i);
        fields[39 - i] = (declared){names[i], i < 3 ? i + 1 : i * i, 1, 9, NULL};
    }
    evener_descriptors *types = declare(fields, 40, &status);
    cr_assert_not_null(types, "%s", status.message);
    const evener_message_type *message = evener_descriptors_message(types, "p.M");
    size_t found = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        const evener_field *field = evener_message_type_field(message, i);
        found += field != NULL;
        cr_assert(field == NULL || field->number == i, "%u", i);
    }
    cr_assert_eq(found, 40);
    cr_assert_null(evener_message_type_field(message, UINT32_MAX));
    for (uint32_t i = 0; i < 40; i++) {
        char json[16];
        const char *name = names[i];
        const size_t length = strlen(name);
        (void)snprintf(json, sizeof json, "f%c%u", 'A' + (int)(i % 7), i);
        const evener_field *field = evener_message_type_field_by_name(message, name, length);
        cr_assert_not_null(field);
        cr_assert_str_eq(field->name, name);
        cr_assert_str_eq(field->json_name, json);
        cr_assert_eq(evener_message_type_field_by_json_name(message, json, strlen(json)), field);
        cr_assert_eq(evener_message_type_field_by_json_name(message, name, length), field);
        cr_assert_null(evener_message_type_field_by_name(message, name, 2));
        cr_assert_null(evener_message_type_field_by_name(message, json, strlen(json)));
    }
    cr_assert_null(evener_message_type_field_by_name(message, "", 0));
    cr_assert_null(evener_message_type_field_by_name(message, "f_a0x", 5));
    cr_assert_null(evener_message_type_field_by_name(message, "z", 1));
    evener_descriptors_destroy(types);
}

Test(descriptor_fields, enum_values_are_found_by_number_and_name)
{
    static const int32_t numbers[] = {5, 0, -1, INT32_MIN, INT32_MAX, 5, 1000};
    buffer b = {0};
    const size_t start = begin_file(&b, "a.proto", "p");
    const size_t in_enum = begin(&b, 5);
    text(&b, 1, "E");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "V%zu", i);
        const size_t in_value = begin(&b, 2);
        text(&b, 1, name);
        number(&b, 2, (uint64_t)(int64_t)numbers[i]);
        evener_wire_close(&b, in_value);
    }
    evener_wire_close(&b, in_enum);
    evener_wire_close(&b, start);
    evener_status status;
    evener_descriptors *types = add(&b, &status);
    cr_assert_not_null(types, "%s", status.message);
    const evener_enum_type *found = evener_descriptors_enum(types, "p.E");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "V%zu", i);
        const evener_enum_value *value = evener_enum_type_value_by_name(found, name, 2);
        cr_assert_not_null(value);
        cr_assert_eq(value->number, numbers[i]);
        cr_assert_eq(evener_enum_type_value(found, numbers[i]),
                     i == 5 ? evener_enum_type_value_by_name(found, "V0", 2) : value);
    }
    cr_assert_null(evener_enum_type_value(found, 4));
    cr_assert_null(evener_enum_type_value(found, -2));
    cr_assert_null(evener_enum_type_value_by_name(found, "V", 1));
    cr_assert_null(evener_enum_type_value_by_name(found, "V7", 2));
    evener_descriptors_destroy(types);
}

/* ---- messages with a JSON form of their own ---- */

/* Declare a message of google.protobuf with these fields, beside entries of maps and other
 * messages that they may use, and return as what it is known. */
static evener_known_type known_as(const char *name, const declared *fields, size_t count)
{
    static const declared entry[] = {{"key", 1, 1, 9, NULL}, {"value", 2, 1, 11, ".google.protobuf.Value"}};
    static const declared no_key[] = {{"key", 1, 1, 1, NULL}, {"value", 2, 1, 11, ".google.protobuf.Value"}};
    static const declared to_other[] = {{"key", 1, 1, 9, NULL}, {"value", 2, 1, 11, ".google.protobuf.Other"}};
    static const declared of_bools[] = {{"key", 1, 1, 8, NULL}, {"value", 2, 1, 11, ".google.protobuf.Value"}};
    char full_name[64];
    buffer b = {0};
    const size_t start = begin_file(&b, "google/protobuf/x.proto", "google.protobuf");
    put_message(&b, 4, name, fields, count, false);
    put_message(&b, 4, "Entry", entry, 2, true);
    put_message(&b, 4, "Plain", entry, 2, false);
    put_message(&b, 4, "NoKey", no_key, 2, true);
    put_message(&b, 4, "ToOther", to_other, 2, true);
    put_message(&b, 4, "OfBools", of_bools, 2, true);
    if (strcmp(name, "Value") != 0) {
        put_message(&b, 4, "Value", NULL, 0, false);
    }
    put_message(&b, 4, "Other", NULL, 0, false);
    evener_wire_close(&b, start);
    evener_status status;
    evener_descriptors *types = add(&b, &status);
    cr_assert_not_null(types, "%s", status.message);
    (void)snprintf(full_name, sizeof full_name, "google.protobuf.%s", name);
    const evener_known_type known = evener_message_node_of(evener_descriptors_message(types, full_name))->known;
    evener_descriptors_destroy(types);
    return known;
}

Test(descriptor_fields, messages_are_known_by_their_fields_too)
{
    static const declared time[] = {{"seconds", 1, 1, 3, NULL}, {"nanos", 2, 1, 5, NULL}, {"more", 3, 1, 5, NULL}};
    static const declared swapped[] = {{"seconds", 2, 1, 3, NULL}, {"nanos", 1, 1, 5, NULL}};
    static const declared repeated[] = {{"seconds", 1, 3, 3, NULL}, {"nanos", 2, 1, 5, NULL}};
    cr_assert_eq(known_as("Duration", time, 2), EVENER_KNOWN_DURATION);
    cr_assert_eq(known_as("Timestamp", time, 2), EVENER_KNOWN_TIMESTAMP);
    cr_assert_eq(known_as("Timestamps", time, 2), EVENER_KNOWN_NONE);
    cr_assert_eq(known_as("Duration", time, 1), EVENER_KNOWN_NONE);
    cr_assert_eq(known_as("Duration", time, 3), EVENER_KNOWN_NONE);
    cr_assert_eq(known_as("Duration", swapped, 2), EVENER_KNOWN_NONE);
    cr_assert_eq(known_as("Duration", repeated, 2), EVENER_KNOWN_NONE);
    cr_assert_eq(known_as("Empty", NULL, 0), EVENER_KNOWN_EMPTY);
    cr_assert_eq(known_as("Empty", time, 1), EVENER_KNOWN_NONE);
    cr_assert_eq(known_as("Int64Value", time, 1), EVENER_KNOWN_WRAPPER);
    cr_assert_eq(known_as("Int32Value", time, 1), EVENER_KNOWN_NONE);
}

Test(descriptor_fields, lists_and_structs_hold_values)
{
    static const declared values[] = {{"v", 1, 3, 11, ".google.protobuf.Value"}, {"w", 2, 1, 5, NULL}};
    static const declared one[] = {{"v", 1, 1, 11, ".google.protobuf.Value"}};
    static const declared others[] = {{"v", 1, 3, 11, ".google.protobuf.Other"}};
    static const declared maps[][1] = {
        {{"fields", 1, 3, 11, ".google.protobuf.Entry"}},   {{"fields", 1, 3, 11, ".google.protobuf.Plain"}},
        {{"fields", 1, 3, 11, ".google.protobuf.NoKey"}},   {{"fields", 1, 3, 11, ".google.protobuf.ToOther"}},
        {{"fields", 1, 3, 11, ".google.protobuf.OfBools"}}, {{"fields", 1, 3, 11, ".google.protobuf.Other"}}};
    cr_assert_eq(known_as("ListValue", values, 1), EVENER_KNOWN_LIST_VALUE);
    cr_assert_eq(known_as("ListValue", values, 2), EVENER_KNOWN_NONE);
    cr_assert_eq(known_as("ListValue", one, 1), EVENER_KNOWN_NONE);
    cr_assert_eq(known_as("ListValue", others, 1), EVENER_KNOWN_NONE);
    for (size_t i = 0; i < 6; i++) {
        cr_assert_eq(known_as("Struct", maps[i], 1), i == 0 ? EVENER_KNOWN_STRUCT : EVENER_KNOWN_NONE, "%zu", i);
    }
    static const declared two[] = {{"fields", 1, 3, 11, ".google.protobuf.Entry"}, {"w", 2, 1, 5, NULL}};
    cr_assert_eq(known_as("Struct", two, 2), EVENER_KNOWN_NONE);
}
