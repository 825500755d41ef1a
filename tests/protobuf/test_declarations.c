/* Declarations made by hand: names at their limits, services, enums, oneofs, options in pieces, and what is
 * malformed. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include <evener/descriptors.h>

#include "lb/protobuf/wire.h"
#include "tests/protobuf/hand_made.h"

/* A file of the package `package` under construction. */
typedef struct scene {
    buffer set;
    size_t in_file;
    evener_descriptors *types; /* of add_file() */
    evener_status status;
} scene;

static void begin_file(scene *s, const char *package, const char *syntax)
{
    *s = (scene){0};
    s->in_file = begin(&s->set, 1);
    text(&s->set, 1, "a.proto");
    text(&s->set, 2, package);
    text(&s->set, 12, syntax);
}

static evener_status_code add_file(scene *s)
{
    evener_wire_close(&s->set, s->in_file);
    cr_assert_eq(evener_descriptors_create(&s->types, NULL), EVENER_STATUS_OK);
    const evener_status_code code = evener_descriptors_add_set(s->types, s->set.data, s->set.length, &s->status);
    evener_wire_clear(&s->set);
    return code;
}

static void expect_added(scene *s)
{
    cr_assert_eq(add_file(s), EVENER_STATUS_OK, "%s", s->status.message);
}

/* Check that the file is refused with this message. */
static void expect_refused(scene *s, evener_status_code code, const char *message)
{
    cr_expect_eq(add_file(s), code, "%s", message);
    cr_expect_str_eq(s->status.message, message);
    size_t count;
    evener_descriptors_files(s->types, &count);
    cr_expect_eq(count, 0);
    evener_descriptors_destroy(s->types);
}

#define EXPECT_WRONG(s, message) expect_refused(s, EVENER_STATUS_INVALID_ARGUMENT, message)

/* Begin a declaration that has a name: a message (4), an enum (5), a service (6) of the file, or what is inside. */
static size_t begin_named(scene *s, uint32_t field, const char *name)
{
    const size_t start = begin(&s->set, field);
    text(&s->set, 1, name);
    return start;
}

static void end(scene *s, size_t start)
{
    evener_wire_close(&s->set, start);
}

/* Add a message of the file, without fields. */
static void put_message(scene *s, const char *name)
{
    end(s, begin_named(s, 4, name));
}

/* Add a field to a message: its kind, 0: none, and its type's name, NULL: none. */
static void put_field(scene *s, const char *name, uint64_t number_, uint64_t kind, const char *type)
{
    const size_t start = begin_named(s, 2, name);
    number(&s->set, 3, number_);
    if (kind != 0) {
        number(&s->set, 5, kind);
    }
    if (type != NULL) {
        text(&s->set, 6, type);
    }
    end(s, start);
}

/* Add an enum of the file with one value per name, whose numbers count from 0. */
static void put_enum(scene *s, const char *name, const char *const *values, size_t count)
{
    const size_t start = begin_named(s, 5, name);
    for (size_t i = 0; i < count; i++) {
        const size_t in_value = begin_named(s, 2, values[i]);
        number(&s->set, 2, i);
        end(s, in_value);
    }
    end(s, start);
}

/* ---- names ---- */

Test(declarations, names_have_letters_digits_and_underscores)
{
    static const char *const cases[][2] = {/* name, name in JSON */
                                           {"a", "a"},         {"z", "z"},    {"A", "A"},      {"Z", "Z"},
                                           {"_", ""},          {"a0", "a0"},  {"a9", "a9"},    {"azAZ09_", "azAZ09"},
                                           {"x_a", "xA"},      {"x_z", "xZ"}, {"x__b", "xB"},  {"_a", "A"},
                                           {"x_1", "x1"},      {"x_A", "xA"}, {"x_1a", "x1a"}, {"a_b_c", "aBC"},
                                           {"xyZ_aB", "xyZAB"}};
    static const char *const refused[] = {"",  "0",  "9",  "9a",  "a-b", "a`", "a{",       "`",
                                          "{", "@",  "[",  "a@",  "a[",  "a/", "a:",       "/",
                                          ":", "a.", ".a", "a.b", "a b", "a^", "\xc3\xa9", "a,"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene s;
        begin_file(&s, "", "proto3");
        const size_t in_message = begin_named(&s, 4, cases[i][0]);
        put_field(&s, cases[i][0], 1, 5, NULL);
        end(&s, in_message);
        expect_added(&s);
        const evener_message_type *message = evener_descriptors_message(s.types, cases[i][0]);
        cr_assert_not_null(message, "%s", cases[i][0]);
        cr_expect_str_eq(message->fields[0]->name, cases[i][0]);
        cr_expect_str_eq(message->fields[0]->json_name, cases[i][1]);
        evener_descriptors_destroy(s.types);
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        scene s;
        begin_file(&s, "", "proto3");
        put_message(&s, refused[i]);
        EXPECT_WRONG(&s, "a.proto: a declaration has no valid name");
        begin_file(&s, "p", "proto3");
        const size_t in_message = begin_named(&s, 4, "M");
        put_field(&s, refused[i], 1, 5, NULL);
        end(&s, in_message);
        EXPECT_WRONG(&s, "a.proto: p.M: a declaration has no valid name");
    }
}

Test(declarations, packages_have_names_with_dots_between)
{
    static const char *const good[] = {"", "p", "p.q", "_p.q1.Z", "google.protobuf"};
    static const char *const refused[] = {".", "p.", ".p", "p..q", "1p", "p.1q", "p-q", "p q", "p/"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        scene s;
        char name[64];
        begin_file(&s, good[i], "proto2");
        put_message(&s, "M");
        expect_added(&s);
        (void)snprintf(name, sizeof name, "%s%sM", good[i], i > 0 ? "." : "");
        cr_expect_not_null(evener_descriptors_message(s.types, name), "%s", name);
        evener_descriptors_destroy(s.types);
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        scene s;
        begin_file(&s, refused[i], "proto2");
        EXPECT_WRONG(&s, "a.proto: package: the name is not valid");
    }
}

Test(declarations, a_full_name_has_at_most_1024_bytes)
{
    char package[EVENER_DESCRIPTORS_NAME_BYTES_MAX + 2], name[EVENER_DESCRIPTORS_NAME_BYTES_MAX + 8];
    memset(package, 'p', sizeof package);
    for (size_t length = sizeof package - 4; length < sizeof package; length++) {
        scene s;
        package[length] = '\0';
        begin_file(&s, package, "proto3");
        if (length > EVENER_DESCRIPTORS_NAME_BYTES_MAX) {
            EXPECT_WRONG(&s, "a.proto: package: the name is not valid");
        } else {
            expect_added(&s); /* nothing in it has a name */
            evener_descriptors_destroy(s.types);
        }
        begin_file(&s, package, "proto3");
        put_message(&s, "M");
        if (length + 2 <= EVENER_DESCRIPTORS_NAME_BYTES_MAX) {
            expect_added(&s);
            (void)snprintf(name, sizeof name, "%s.M", package);
            cr_expect_not_null(evener_descriptors_message(s.types, name));
            cr_expect_null(evener_descriptors_method(s.types, name));
            evener_descriptors_destroy(s.types);
        } else if (length <= EVENER_DESCRIPTORS_NAME_BYTES_MAX) {
            expect_refused(&s, EVENER_STATUS_RESOURCE_EXHAUSTED, "a.proto: a name is longer than 1024 bytes: M");
        } else {
            EXPECT_WRONG(&s, "a.proto: package: the name is not valid");
        }
        package[length] = 'p';
    }
}

Test(declarations, a_method_is_found_by_a_name_of_up_to_1024_bytes)
{
    char service[EVENER_DESCRIPTORS_NAME_BYTES_MAX], name[EVENER_DESCRIPTORS_NAME_BYTES_MAX + 8];
    scene s;
    memset(service, 's', sizeof service);
    service[sizeof service - 2] = '\0'; /* ".G" is behind it */
    begin_file(&s, "", "proto3");
    put_message(&s, "M");
    const size_t in_service = begin_named(&s, 6, service);
    const size_t in_method = begin_named(&s, 2, "G");
    text(&s.set, 2, ".M");
    text(&s.set, 3, "M");
    end(&s, in_method);
    end(&s, in_service);
    expect_added(&s);
    (void)snprintf(name, sizeof name, "/%s/G", service);
    const evener_method *method = evener_descriptors_method(s.types, name);
    cr_assert_not_null(method);
    cr_expect_str_eq(method->path, name);
    cr_expect_eq(evener_descriptors_method(s.types, name + 1), method);
    strcat(name, "x");
    cr_expect_null(evener_descriptors_method(s.types, name));
    cr_expect_null(evener_descriptors_method(s.types, name + 1));
    cr_expect_null(evener_descriptors_method(s.types, NULL));
    cr_expect_null(evener_descriptors_method(s.types, ""));
    cr_expect_null(evener_descriptors_method(s.types, "/"));
    evener_descriptors_destroy(s.types);
}

/* ---- services ---- */

/* Begin a file with the message M, the enum E, and the service S with a method Get of these types; NULL: none. */
static void method_of(scene *s, const char *input, const char *output)
{
    static const char *const values[] = {"ZERO"};
    begin_file(s, "p", "proto3");
    put_message(s, "M");
    put_enum(s, "E", values, 1);
    const size_t in_service = begin_named(s, 6, "S");
    const size_t in_method = begin_named(s, 2, "Get");
    if (input != NULL) {
        text(&s->set, 2, input);
    }
    if (output != NULL) {
        text(&s->set, 3, output);
    }
    end(s, in_method);
    end(s, in_service);
}

Test(declarations, a_method_needs_messages_as_its_types)
{
    scene s;
    method_of(&s, ".p.M", "M");
    expect_added(&s);
    const evener_method *method = evener_descriptors_method(s.types, "p.S/Get");
    cr_assert_not_null(method);
    cr_expect(!method->client_streaming && !method->server_streaming);
    cr_expect_str_eq(method->service->full_name, "p.S");
    cr_expect_eq(method->output, method->input);
    cr_expect_null(evener_descriptors_service(s.types, "p.M"));
    cr_expect_null(evener_descriptors_enum(s.types, "p.M"));
    cr_expect_null(evener_descriptors_message(s.types, NULL));
    evener_descriptors_destroy(s.types);
    method_of(&s, NULL, "M");
    EXPECT_WRONG(&s, "a.proto: p.S.Get: the method has no input or output type");
    method_of(&s, "M", NULL);
    EXPECT_WRONG(&s, "a.proto: p.S.Get: the method has no input or output type");
    method_of(&s, "E", "M");
    EXPECT_WRONG(&s, "a.proto: p.S.Get: E is no message");
    method_of(&s, "M", ".p.S");
    EXPECT_WRONG(&s, "a.proto: p.S.Get: .p.S is no message");
    method_of(&s, "M", "Lost");
    EXPECT_WRONG(&s, "a.proto: p.S.Get: the type Lost is unknown");
}

Test(declarations, a_field_needs_a_type_of_its_kind)
{
    static const struct {
        uint64_t kind;
        const char *type, *problem;
    } cases[] = {
        {EVENER_FIELD_MESSAGE, ".p.N", NULL},
        {EVENER_FIELD_GROUP, ".p.N", NULL},
        {EVENER_FIELD_ENUM, ".p.E", NULL},
        {0, ".p.N", NULL},
        {0, "E", NULL},
        {EVENER_FIELD_MESSAGE, ".p.E", "a.proto: p.M.f: .p.E is not of the kind of type that is needed here"},
        {EVENER_FIELD_GROUP, ".p.E", "a.proto: p.M.f: .p.E is not of the kind of type that is needed here"},
        {EVENER_FIELD_ENUM, ".p.N", "a.proto: p.M.f: .p.N is not of the kind of type that is needed here"},
        {0, ".p.S", "a.proto: p.M.f: .p.S is not of the kind of type that is needed here"},
        {EVENER_FIELD_ENUM, ".p.S", "a.proto: p.M.f: .p.S is not of the kind of type that is needed here"},
        {EVENER_FIELD_MESSAGE, ".p.S", "a.proto: p.M.f: .p.S is not of the kind of type that is needed here"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static const char *const values[] = {"ZERO"};
        scene s;
        begin_file(&s, "p", "proto3");
        const size_t in_message = begin_named(&s, 4, "M");
        put_field(&s, "f", 1, cases[i].kind, cases[i].type);
        end(&s, in_message);
        put_message(&s, "N");
        put_enum(&s, "E", values, 1);
        end(&s, begin_named(&s, 6, "S"));
        if (cases[i].problem != NULL) {
            EXPECT_WRONG(&s, cases[i].problem);
            continue;
        }
        expect_added(&s);
        const evener_field *field = evener_descriptors_message(s.types, "p.M")->fields[0];
        const bool is_enum = strchr(cases[i].type, 'E') != NULL;
        cr_expect_eq(field->kind, cases[i].kind != 0 ? (evener_field_kind)cases[i].kind
                                  : is_enum          ? EVENER_FIELD_ENUM
                                                     : EVENER_FIELD_MESSAGE);
        cr_expect_eq(field->enumeration != NULL, is_enum);
        cr_expect_eq(field->message != NULL, !is_enum);
        cr_expect_eq(field->has_presence, !is_enum);
        evener_descriptors_destroy(s.types);
    }
}

/* ---- enums, oneofs ---- */

Test(declarations, an_enum_has_values_of_different_names)
{
    static const char *const twice[] = {"B", "A", "C", "A"}, *const once[] = {"B", "A", "C"};
    scene s;
    begin_file(&s, "p", "proto3");
    put_enum(&s, "E", NULL, 0);
    EXPECT_WRONG(&s, "a.proto: p.E: the enum has no values");
    begin_file(&s, "p", "proto3");
    put_enum(&s, "E", twice, 4);
    EXPECT_WRONG(&s, "a.proto: p.E.A: the name is declared twice");
    for (unsigned proto3 = 0; proto3 < 2; proto3++) {
        begin_file(&s, "p", proto3 ? "proto3" : "");
        put_enum(&s, "E", once, 3);
        expect_added(&s);
        const evener_enum_type *type = evener_descriptors_enum(s.types, "p.E");
        cr_expect_eq(type->closed, !proto3);
        cr_expect_null(type->parent);
        for (int32_t i = 0; i < 3; i++) {
            cr_expect_str_eq(type->values[i]->name, once[i]);
            cr_expect_eq(evener_enum_type_value(type, i), type->values[i]);
            cr_expect_eq(evener_enum_type_value_by_name(type, once[i], 1), type->values[i]);
        }
        cr_expect_null(evener_enum_type_value(type, 3));
        cr_expect_null(evener_enum_type_value(type, -1));
        cr_expect_null(evener_enum_type_value_by_name(type, "", 0));
        cr_expect_null(evener_enum_type_value_by_name(type, "AB", 2));
        cr_expect_null(evener_enum_type_value_by_name(type, "D", 1));
        evener_descriptors_destroy(s.types);
    }
}

/* Add a field of a oneof. */
static void put_member(scene *s, const char *name, uint64_t number_, uint64_t label, uint64_t oneof, bool optional)
{
    const size_t start = begin_named(s, 2, name);
    number(&s->set, 3, number_);
    number(&s->set, 4, label);
    number(&s->set, 5, 5);
    number(&s->set, 9, oneof);
    number(&s->set, 17, optional);
    end(s, start);
}

Test(declarations, oneofs_have_their_fields_and_optional_ones_are_none)
{
    scene s;
    begin_file(&s, "p", "proto3");
    const size_t in_message = begin_named(&s, 4, "M");
    put_member(&s, "a", 1, 1, 2, false);
    put_member(&s, "alone", 2, 1, 0, true);
    put_member(&s, "b", 3, 1, 2, false);
    put_member(&s, "c", 4, 1, 1, false);
    put_member(&s, "d", 5, 1, 3, true); /* two of them: no oneof of `optional` */
    put_member(&s, "e", 6, 1, 3, true);
    put_field(&s, "f", 7, 5, NULL);
    static const char *const names[] = {"_alone", "second", "third", "fourth"};
    for (size_t i = 0; i < 4; i++) {
        end(&s, begin_named(&s, 8, names[i]));
    }
    end(&s, in_message);
    expect_added(&s);
    const evener_message_type *message = evener_descriptors_message(s.types, "p.M");
    cr_assert_eq(message->oneof_count, 3);
    static const char *const fields[] = {"c", "ab", "de"};
    for (uint32_t i = 0; i < 3; i++) {
        const evener_oneof *oneof = message->oneofs[i];
        cr_expect_str_eq(oneof->name, names[i + 1]);
        cr_expect_eq(oneof->index, i);
        cr_assert_eq(oneof->field_count, strlen(fields[i]));
        for (size_t k = 0; k < oneof->field_count; k++) {
            cr_expect_eq(oneof->fields[k]->name[0], fields[i][k]);
            cr_expect_eq(oneof->fields[k]->oneof, oneof);
            cr_expect(oneof->fields[k]->has_presence);
        }
    }
    cr_expect(message->fields[1]->has_presence && message->fields[1]->optional && message->fields[1]->oneof == NULL);
    cr_expect(!message->fields[6]->has_presence && message->fields[6]->oneof == NULL);
    for (uint32_t i = 0; i < 7; i++) {
        cr_expect_eq(message->fields[i]->index, i);
    }
    evener_descriptors_destroy(s.types);
}

Test(declarations, a_field_is_in_a_oneof_that_exists_and_not_repeated)
{
    static const char problem[] = "a.proto: p.M.a: its oneof does not exist, or it is repeated";
    scene s;
    begin_file(&s, "p", "proto3");
    size_t in_message = begin_named(&s, 4, "M");
    put_member(&s, "a", 1, 1, 1, false);
    end(&s, begin_named(&s, 8, "o"));
    end(&s, in_message);
    EXPECT_WRONG(&s, problem);
    begin_file(&s, "p", "proto3");
    in_message = begin_named(&s, 4, "M");
    put_member(&s, "a", 1, 3, 0, false);
    end(&s, begin_named(&s, 8, "o"));
    end(&s, in_message);
    EXPECT_WRONG(&s, problem);
}

/* ---- options ---- */

static void expect_options(const evener_raw_options *options, const char *expected)
{
    cr_assert_eq(options->length, strlen(expected));
    cr_expect_eq(memcmp(options->length > 0 ? (const char *)options->data : "", expected, options->length), 0);
}

Test(declarations, options_in_pieces_are_joined)
{
    scene s;
    begin_file(&s, "p", "proto3");
    size_t in_message = begin_named(&s, 4, "M");
    size_t in_inner = begin_named(&s, 2, "f");
    number(&s.set, 3, 1);
    number(&s.set, 5, 5);
    text(&s.set, 8, "\x58\x01");
    text(&s.set, 8, "");
    text(&s.set, 8, "\x60\x02");
    end(&s, in_inner);
    text(&s.set, 7, "\x58\x03");
    text(&s.set, 7, "\x60\x04");
    end(&s, in_message);
    const size_t in_enum = begin_named(&s, 5, "E");
    in_inner = begin_named(&s, 2, "V");
    text(&s.set, 3, "\x58\x05");
    text(&s.set, 3, "\x60\x06");
    end(&s, in_inner);
    text(&s.set, 3, "\x58\x07");
    text(&s.set, 3, "\x60\x08");
    end(&s, in_enum);
    const size_t in_service = begin_named(&s, 6, "S");
    in_inner = begin_named(&s, 2, "Get");
    text(&s.set, 2, "M");
    text(&s.set, 3, "M");
    text(&s.set, 4, "\x58\x09");
    text(&s.set, 4, "\x60\x0a");
    number(&s.set, 5, 1);
    number(&s.set, 6, 0);
    end(&s, in_inner);
    text(&s.set, 3, "\x58\x0b");
    text(&s.set, 3, "\x60\x0c");
    end(&s, in_service);
    text(&s.set, 8, "\x58\x0d");
    text(&s.set, 8, "\x60\x0e");
    expect_added(&s);
    const evener_message_type *message = evener_descriptors_message(s.types, "p.M");
    const evener_enum_type *type = evener_descriptors_enum(s.types, "p.E");
    const evener_service_type *service = evener_descriptors_service(s.types, "p.S");
    expect_options(&message->fields[0]->options, "\x58\x01\x60\x02");
    expect_options(&message->options, "\x58\x03\x60\x04");
    expect_options(&type->values[0]->options, "\x58\x05\x60\x06");
    expect_options(&type->options, "\x58\x07\x60\x08");
    expect_options(&service->methods[0]->options, "\x58\x09\x60\x0a");
    expect_options(&service->options, "\x58\x0b\x60\x0c");
    expect_options(&message->file->options, "\x58\x0d\x60\x0e");
    cr_expect(service->methods[0]->client_streaming && !service->methods[0]->server_streaming);
    evener_descriptors_destroy(s.types);
}

Test(declarations, the_last_value_of_packed_counts)
{
    static const struct {
        const char *syntax, *options; /* NULL: none */
        bool packed;
    } cases[] = {{"proto3", NULL, true},         {"proto2", NULL, false},
                 {"proto3", "\x10\x01", true},   {"proto2", "\x10\x01", true},
                 {"proto2", "\x10\x07", true},   {"proto2", "\x18\x01", false},
                 {"proto2", "\x12\x01x", false}, {"proto2", "\x10\x01\x18\x01", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene s;
        begin_file(&s, "", cases[i].syntax);
        const size_t in_message = begin_named(&s, 4, "M");
        const size_t in_field = begin_named(&s, 2, "f");
        number(&s.set, 3, 1);
        number(&s.set, 4, 3);
        number(&s.set, 5, 5);
        if (cases[i].options != NULL) {
            text(&s.set, 8, cases[i].options);
        }
        end(&s, in_field);
        end(&s, in_message);
        expect_added(&s);
        cr_expect_eq(evener_descriptors_message(s.types, "M")->fields[0]->packed, cases[i].packed, "%zu", i);
        evener_descriptors_destroy(s.types);
    }
}

/* ---- malformed ---- */

Test(declarations, malformed_parts_are_refused_with_their_place)
{
    /* What stands in the file behind its name, package and syntax. */
    static const struct {
        const char *bytes;
        size_t length;
        const char *message;
    } cases[] = {
        {"\x20\x01", 2, "a.proto: p: the descriptor is not well-formed"},                    /* a message as a number */
        {"\x22\x01\xff", 3, "a.proto: p: the descriptor is not well-formed"},                /* cut off */
        {"\x22\x02\x08\x01", 4, "a.proto: p: the descriptor is not well-formed"},            /* its name is a number */
        {"\x22\x04\x0a\x02\x61\x00", 6, "a.proto: p: the descriptor is not well-formed"},    /* NUL in the name */
        {"\x22\x03\x0a\x01\xff", 5, "a.proto: p: the descriptor is not well-formed"},        /* no UTF-8 */
        {"\x22\x00", 2, "a.proto: p: a declaration has no valid name"},                      /* no name */
        {"\x22\x05\x0a\x01M\x38\x01", 7, "a.proto: p.M: the descriptor is not well-formed"}, /* options: a number */
        {"\x22\x05\x0a\x01M\x10\x01", 7, "a.proto: p.M: the descriptor is not well-formed"}, /* a field: a number */
        {"\x22\x06\x0a\x01M\x12\x01\xff", 8, "a.proto: p.M: the descriptor is not well-formed"},
        {"\x22\x0a\x0a\x01M\x12\x05\x0a\x01"
         "f\x30\x01",
         12, "a.proto: p.M: the descriptor is not well-formed"},
        {"\x22\x0a\x0a\x01M\x12\x05\x0a\x01"
         "f\x40\x01",
         12, "a.proto: p.M: the descriptor is not well-formed"},
        {"\x22\x0a\x0a\x01M\x12\x05\x0a\x01"
         "f\x50\x01",
         12, "a.proto: p.M: the descriptor is not well-formed"},
        {"\x22\x0a\x0a\x01M\x12\x05\x0a\x01"
         "f\x38\x01",
         12, "a.proto: p.M: the descriptor is not well-formed"},
        {"\x22\x05\x0a\x01M\x40\x01", 7, "a.proto: p.M: the descriptor is not well-formed"}, /* a oneof: a number */
        {"\x22\x05\x0a\x01M\x42\x00", 7, "a.proto: p.M: a declaration has no valid name"},
        {"\x28\x01", 2, "a.proto: p: the descriptor is not well-formed"},
        {"\x2a\x05\x0a\x01"
         "E\x18\x01",
         7, "a.proto: p.E: the descriptor is not well-formed"},
        {"\x2a\x05\x0a\x01"
         "E\x12\x00",
         7, "a.proto: p.E: a declaration has no valid name"},
        {"\x2a\x0a\x0a\x01"
         "E\x12\x05\x0a\x01V\x18\x01",
         12, "a.proto: p.E: the descriptor is not well-formed"},
        {"\x30\x01", 2, "a.proto: p: the descriptor is not well-formed"},
        {"\x32\x00", 2, "a.proto: p: a declaration has no valid name"},
        {"\x32\x05\x0a\x01S\x18\x01", 7, "a.proto: p.S: the descriptor is not well-formed"},
        {"\x32\x05\x0a\x01S\x12\x00", 7, "a.proto: p.S: a declaration has no valid name"},
        {"\x32\x0a\x0a\x01S\x12\x05\x0a\x01G\x10\x01", 12, "a.proto: p.S.G: the descriptor is not well-formed"},
        {"\x32\x0a\x0a\x01S\x12\x05\x0a\x01G\x20\x01", 12, "a.proto: p.S.G: the descriptor is not well-formed"},
        {"\x18\x01", 2, "a.proto: the descriptor is not well-formed"}, /* an import: a number */
        {"\x1a\x01\xff", 3, "a.proto: the descriptor is not well-formed"},
        {"\x40\x01", 2, "a.proto: the descriptor is not well-formed"}, /* options: a number */
        {"\x48\x01", 2, "a.proto: source info: the descriptor is not well-formed"},
        {"\x62\x06"
         "proto4",
         8, "a.proto: syntax \"proto4\" is not supported, only proto2 and proto3"},
        {"\x08\x01", 2, "a.proto: the descriptor is not well-formed"}, /* the file's name */
        {"\x10\x01", 2, "a.proto: the descriptor is not well-formed"}, /* its package */
        {"\x60\x01", 2, "a.proto: the descriptor is not well-formed"}, /* its syntax */
        {"\xff", 1, "a.proto: a.proto: the descriptor is not well-formed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene s;
        begin_file(&s, "p", "proto3");
        evener_wire_put(&s.set, cases[i].bytes, cases[i].length);
        EXPECT_WRONG(&s, cases[i].message);
    }
}
