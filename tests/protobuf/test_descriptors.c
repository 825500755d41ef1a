/* Descriptor pools: what they read out of a FileDescriptorSet, what they refuse, and that they lose nothing. */
#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include <evener/descriptors.h>

#include "lb/protobuf/wire.h"
#include "tests/protobuf/hand_made.h"

static evener_descriptors *empty(void)
{
    evener_descriptors *types = NULL;
    cr_assert_eq(evener_descriptors_create(&types, NULL), EVENER_STATUS_OK);
    return types;
}

static evener_descriptors *recorded(void)
{
    evener_descriptors *types = empty();
    evener_status status;
    cr_assert_eq(evener_descriptors_add_set_file(types, TEST_DATA "/types.protoset", &status), EVENER_STATUS_OK, "%s",
                 status.message);
    return types;
}

static const evener_field *field_of(const evener_message_type *message, const char *name)
{
    const evener_field *field = evener_message_type_field_by_name(message, name, strlen(name));
    cr_assert_not_null(field, "%s", name);
    return field;
}

/* ---- what a set says ---- */

Test(descriptors, files_services_and_methods_are_found_by_name)
{
    evener_descriptors *types = recorded();
    size_t count;
    const evener_service_type *const *services = evener_descriptors_services(types, &count);
    cr_assert_eq(count, 1);
    cr_assert_str_eq(services[0]->full_name, "evener.test.Testing");
    cr_assert_eq(evener_descriptors_service(types, "evener.test.Testing"), services[0]);
    cr_assert_eq(services[0]->method_count, 4);
    static const char *const names[] = {"evener.test.Testing/Watch", "/evener.test.Testing/Watch",
                                        "evener.test.Testing.Watch"};
    for (size_t i = 0; i < 3; i++) {
        const evener_method *method = evener_descriptors_method(types, names[i]);
        cr_assert_not_null(method, "%s", names[i]);
        cr_assert_str_eq(method->path, "/evener.test.Testing/Watch");
        cr_assert_str_eq(method->input->full_name, "evener.test.Everything");
        cr_assert_str_eq(method->output->full_name, "evener.test.Everything.Inner");
        cr_assert(!method->client_streaming && method->server_streaming);
    }
    const evener_file_type *const *files = evener_descriptors_files(types, &count);
    cr_assert_eq(count, 9);
    cr_assert_str_eq(files[0]->name, "google/protobuf/any.proto");
    const evener_file_type *file = evener_descriptors_file(types, "types.proto");
    cr_assert_str_eq(file->package, "evener.test");
    cr_assert(file->proto3 && file->import_count == 7);
    cr_assert_str_eq(file->imports[1], "google/protobuf/duration.proto");
    cr_assert_null(evener_descriptors_message(types, "evener.test.Testing"));
    cr_assert_null(evener_descriptors_message(types, "evener.test.Nothing"));
    cr_assert_null(evener_descriptors_method(types, "evener.test.Testing"));
    evener_descriptors_destroy(types);
}

Test(descriptors, fields_know_their_kind_presence_oneof_and_names)
{
    evener_descriptors *types = recorded();
    const evener_message_type *message = evener_descriptors_message(types, "evener.test.Everything");
    cr_assert(!field_of(message, "an_int32")->has_presence && !field_of(message, "an_int32")->optional);
    cr_assert(field_of(message, "optional_int32")->has_presence && field_of(message, "optional_int32")->optional);
    cr_assert_null(field_of(message, "optional_int32")->oneof);
    cr_assert(field_of(message, "nested")->has_presence);
    cr_assert_eq(field_of(message, "nested")->message, message);
    cr_assert_eq(message->oneof_count, 1);
    cr_assert_str_eq(message->oneofs[0]->name, "choice");
    cr_assert_eq(message->oneofs[0]->field_count, 4);
    cr_assert_eq(field_of(message, "choice_int64")->oneof, message->oneofs[0]);
    cr_assert(field_of(message, "choice_int64")->has_presence);
    cr_assert(field_of(message, "doubles")->packed && field_of(message, "lights")->packed);
    cr_assert(!field_of(message, "unpacked")->packed && !field_of(message, "strings")->packed);
    cr_assert(field_of(message, "string_map")->repeated && field_of(message, "string_map")->message->map_entry);
    cr_assert_str_eq(field_of(message, "light")->enumeration->full_name, "evener.test.Light");
    cr_assert_str_eq(field_of(message, "a_double")->json_name, "aDouble");
    cr_assert_str_eq(field_of(message, "_leading__and_2digits")->json_name, "LeadingAnd2digits");
    cr_assert_str_eq(field_of(message, "renamed")->json_name, "@other name");
    const evener_field *renamed = field_of(message, "renamed");
    cr_assert_eq(evener_message_type_field_by_json_name(message, "@other name", 11), renamed);
    cr_assert_eq(evener_message_type_field_by_json_name(message, "renamed", 7), renamed);
    cr_assert_null(evener_message_type_field_by_json_name(message, "@other", 6));
    for (size_t i = 0; i < message->field_count; i++) {
        cr_assert_eq(evener_message_type_field(message, message->fields[i]->number), message->fields[i]);
    }
    cr_assert_null(evener_message_type_field(message, 10));
    cr_assert_null(evener_message_type_field(message, 0));
    cr_assert_str_eq(message->messages[message->message_count - 1]->full_name, "evener.test.Everything.Inner");
    cr_assert_eq(message->messages[message->message_count - 1]->parent, message);
    evener_descriptors_destroy(types);
}

Test(descriptors, enums_find_values_by_name_and_by_negative_numbers)
{
    evener_descriptors *types = recorded();
    const evener_enum_type *light = evener_descriptors_enum(types, "evener.test.Light");
    cr_assert(light->value_count == 4 && !light->closed);
    cr_assert_str_eq(evener_enum_type_value(light, -1)->name, "LIGHT_DARK");
    cr_assert_str_eq(evener_enum_type_value(light, 2)->name, "LIGHT_NIGHT");
    cr_assert_null(evener_enum_type_value(light, 3));
    cr_assert_eq(evener_enum_type_value_by_name(light, "LIGHT_DAY", 9)->number, 1);
    cr_assert_null(evener_enum_type_value_by_name(light, "LIGHT_DA", 8));
    cr_assert(evener_descriptors_enum(types, "evener.legacy.Old")->closed);
    evener_descriptors_destroy(types);
}

Test(descriptors, proto2_has_required_fields_groups_and_defaults)
{
    evener_descriptors *types = recorded();
    const evener_message_type *message = evener_descriptors_message(types, "evener.legacy.Legacy");
    cr_assert(!message->file->proto3 && message->field_count == 7);
    cr_assert(field_of(message, "needed")->required && field_of(message, "number")->has_presence);
    cr_assert_str_eq(field_of(message, "number")->default_text, "7");
    cr_assert(!field_of(message, "plain")->packed && field_of(message, "packed")->packed);
    cr_assert_eq(field_of(message, "pair")->kind, EVENER_FIELD_GROUP);
    cr_assert_str_eq(field_of(message, "pair")->message->full_name, "evener.legacy.Legacy.Pair");
    evener_descriptors_destroy(types);
}

Test(descriptors, comments_of_every_declaration_are_kept)
{
    evener_descriptors *types = recorded();
    const evener_service_type *service = evener_descriptors_service(types, "evener.test.Testing");
    cr_assert_str_eq(service->comments.leading, " A service of the tests.\n");
    cr_assert_str_eq(service->methods[0]->comments.leading, " Answers its request.\n");
    cr_assert_str_eq(service->methods[3]->comments.trailing, " both ways\n");
    cr_assert_str_eq(service->methods[1]->comments.leading, "");
    cr_assert_str_eq(evener_descriptors_message(types, "evener.test.Everything")->comments.leading,
                     " All kinds of fields.\n");
    const evener_enum_type *light = evener_descriptors_enum(types, "evener.test.Light");
    cr_assert_str_eq(light->comments.leading, " How much light there is.\n");
    cr_assert_str_eq(evener_enum_type_value(light, 1)->comments.trailing, " before sunset\n");
    evener_descriptors_destroy(types);
}

/* ---- sets made by hand ---- */

/* Append a file with one message of one field of a message type. `import` may be NULL. */
static void file(buffer *b, const char *name, const char *import, const char *message, const char *type)
{
    const size_t start = begin(b, 1);
    text(b, 1, name);
    if (import != NULL) {
        text(b, 3, import);
    }
    const size_t in_message = begin(b, 4);
    text(b, 1, message);
    if (type != NULL) {
        const size_t in_field = begin(b, 2);
        text(b, 1, "f");
        number(b, 3, 1);
        number(b, 4, 1);
        number(b, 5, EVENER_FIELD_MESSAGE);
        text(b, 6, type);
        evener_wire_close(b, in_field);
    }
    evener_wire_close(b, in_message);
    text(b, 12, "proto3");
    evener_wire_close(b, start);
}

static evener_status_code add(evener_descriptors *types, buffer *b, evener_status *status)
{
    const evener_status_code code = evener_descriptors_add_set(types, b->data, b->length, status);
    evener_wire_clear(b);
    return code;
}

#define FAILS(types, set, expected, words)                                                                             \
    do {                                                                                                               \
        evener_status s;                                                                                               \
        cr_assert_eq(add(types, set, &s), expected, "%s", s.message);                                                  \
        cr_assert_eq(s.code, expected);                                                                                \
        cr_assert_not_null(strstr(s.message, words), "%s", s.message);                                                 \
    } while (0)

Test(descriptors, files_come_in_any_order_and_may_import_each_other)
{
    evener_descriptors *types = empty();
    buffer b = {0};
    file(&b, "a.proto", "b.proto", "A", ".B");
    file(&b, "b.proto", "a.proto", "B", ".A");
    evener_status status;
    cr_assert_eq(add(types, &b, &status), EVENER_STATUS_OK, "%s", status.message);
    const evener_message_type *a = evener_descriptors_message(types, "A");
    cr_assert_eq(a->fields[0]->message->fields[0]->message, a);
    evener_descriptors_destroy(types);
}

Test(descriptors, a_missing_type_is_named_with_its_user_and_the_missing_imports)
{
    evener_descriptors *types = empty();
    buffer b = {0};
    file(&b, "a.proto", "lost.proto", "A", ".lost.B");
    evener_status status;
    cr_assert_eq(add(types, &b, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(status.message, "a.proto: A.f: the type .lost.B is unknown; missing imports: lost.proto");
    /* An import that nothing needs may be missing. */
    file(&b, "a.proto", "options.proto", "A", NULL);
    cr_assert_eq(add(types, &b, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_descriptors_destroy(types);
}

Test(descriptors, a_long_list_of_missing_imports_is_cut)
{
    evener_descriptors *types = empty();
    buffer b = {0};
    char import[101];
    evener_status status;
    memset(import, 'i', 100);
    import[100] = '\0';
    const size_t start = begin(&b, 1);
    text(&b, 1, "a.proto");
    for (int i = 0; i < 4; i++) {
        import[0] = (char)('a' + i);
        text(&b, 3, import);
    }
    const size_t in_message = begin(&b, 4);
    text(&b, 1, "A");
    const size_t in_field = begin(&b, 2);
    text(&b, 1, "f");
    number(&b, 3, 1);
    text(&b, 6, ".B");
    evener_wire_close(&b, in_field);
    evener_wire_close(&b, in_message);
    evener_wire_close(&b, start);
    cr_assert_eq(add(types, &b, &status), EVENER_STATUS_INVALID_ARGUMENT);
    const char *list = strchr(status.message, ';');
    cr_assert_not_null(list, "%s", status.message);
    cr_expect_eq(strstr(status.message, "a.proto: A.f: the type .B is unknown; missing imports: aiii"), status.message);
    cr_expect_eq(strlen(list), 255, "%s", list);
    cr_expect_str_eq(list + 253, "ii", "%s", list);
    cr_expect_not_null(strstr(list, "ii, bi"));
    cr_expect_not_null(strstr(list, "ii, ci"));
    evener_descriptors_destroy(types);
}

/* Add a location of source information: its path, and its comments, which may be NULL. */
static void location(buffer *b, const char *path, size_t path_bytes, const char *leading, const char *trailing)
{
    const size_t start = begin(b, 1);
    evener_wire_put_bytes(b, 1, path, path_bytes);
    if (leading != NULL) {
        text(b, 3, leading);
    }
    if (trailing != NULL) {
        text(b, 4, trailing);
    }
    evener_wire_close(b, start);
}

/* Begin a file of the message M, with the enum E in it, and its source information. */
static size_t commented_file(buffer *b, size_t *in_file)
{
    *in_file = begin(b, 1);
    text(b, 1, "a.proto");
    const size_t in_message = begin(b, 4);
    text(b, 1, "M");
    const size_t in_enum = begin(b, 4);
    text(b, 1, "E");
    const size_t in_value = begin(b, 2);
    text(b, 1, "V");
    evener_wire_close(b, in_value);
    evener_wire_close(b, in_enum);
    evener_wire_close(b, in_message);
    return begin(b, 9);
}

Test(descriptors, comments_belong_to_the_declaration_at_their_path)
{
    evener_descriptors *types = empty();
    buffer b = {0};
    size_t in_file, info = commented_file(&b, &in_file);
    evener_status status;
    location(&b, "\4\0", 2, "only", NULL);
    evener_wire_close(&b, info);
    evener_wire_close(&b, in_file);
    cr_assert_eq(add(types, &b, &status), EVENER_STATUS_OK, "%s", status.message);
    const evener_message_type *message = evener_descriptors_message(types, "M");
    cr_assert_str_eq(message->comments.leading, "only");
    cr_assert_str_eq(message->comments.trailing, "");
    cr_assert_str_eq(message->enums[0]->comments.leading, "");
    evener_descriptors_destroy(types);

    types = empty();
    info = commented_file(&b, &in_file);
    location(&b, "\4\0\4\0\2\0", 6, "of the value", "behind the value");
    location(&b, "\4\0\4\1", 4, "of no enum", NULL);
    location(&b, "\4\0\4\0", 4, NULL, "behind the enum");
    location(&b, "\4\0\4", 3, "of the list", NULL);
    location(&b, "\4\0", 2, NULL, NULL);
    location(&b, "", 0, "of the file", NULL);
    char path[80];
    for (size_t length = 66; length <= 74; length++) { /* longer than any declaration's: ignored */
        memset(path, 0, sizeof path);
        path[0] = 4;
        location(&b, path, length, "too long", NULL);
    }
    location(&b, "\4\0", 2, "not UTF-8 \xff", NULL);
    evener_wire_put_tag(&b, 7, EVENER_WIRE_VARINT); /* unknown */
    evener_wire_put_varint(&b, 1);
    evener_wire_close(&b, info);
    evener_wire_close(&b, in_file);
    cr_assert_eq(add(types, &b, &status), EVENER_STATUS_OK, "%s", status.message);
    message = evener_descriptors_message(types, "M");
    cr_assert_str_eq(message->comments.leading, "");
    cr_assert_str_eq(message->comments.trailing, "");
    cr_assert_str_eq(message->enums[0]->comments.leading, "");
    cr_assert_str_eq(message->enums[0]->comments.trailing, "behind the enum");
    cr_assert_str_eq(message->enums[0]->values[0]->comments.leading, "of the value");
    cr_assert_str_eq(message->enums[0]->values[0]->comments.trailing, "behind the value");
    evener_descriptors_destroy(types);
}

Test(descriptors, the_deepest_declarations_have_comments)
{
    evener_descriptors *types = empty();
    buffer b = {0};
    size_t starts[EVENER_DESCRIPTORS_DEPTH_MAX];
    char name[2 * EVENER_DESCRIPTORS_DEPTH_MAX + 2] = "", path[2 * EVENER_DESCRIPTORS_DEPTH_MAX + 4] = "";
    const size_t in_file = begin(&b, 1);
    text(&b, 1, "deep.proto");
    for (size_t i = 0; i < EVENER_DESCRIPTORS_DEPTH_MAX; i++) {
        starts[i] = begin(&b, i == 0 ? 4 : 3);
        text(&b, 1, "M");
        strcat(name, i == 0 ? "M" : ".M");
        path[2 * i] = i == 0 ? 4 : 3; /* each the first one: index 0 */
    }
    const size_t in_enum = begin(&b, 4);
    text(&b, 1, "E");
    const size_t in_value = begin(&b, 2);
    text(&b, 1, "V");
    evener_wire_close(&b, in_value);
    evener_wire_close(&b, in_enum);
    for (size_t i = EVENER_DESCRIPTORS_DEPTH_MAX; i-- > 0;) {
        evener_wire_close(&b, starts[i]);
    }
    const size_t info = begin(&b, 9);
    size_t length = 2 * EVENER_DESCRIPTORS_DEPTH_MAX;
    location(&b, path, length, "of the message", NULL);
    path[length] = 4;
    location(&b, path, length + 2, "of the enum", NULL);
    path[length + 2] = 2;
    location(&b, path, length + 4, NULL, "of the value");
    evener_wire_close(&b, info);
    evener_wire_close(&b, in_file);
    evener_status status;
    cr_assert_eq(add(types, &b, &status), EVENER_STATUS_OK, "%s", status.message);
    const evener_message_type *message = evener_descriptors_message(types, name);
    cr_assert_not_null(message);
    cr_expect_str_eq(message->comments.leading, "of the message");
    cr_expect_str_eq(message->enums[0]->comments.leading, "of the enum");
    cr_expect_str_eq(message->enums[0]->values[0]->comments.trailing, "of the value");
    evener_descriptors_destroy(types);
}

Test(descriptors, malformed_source_information_is_refused)
{
    static const struct {
        const char *bytes;
        size_t length;
    } cases[] = {{"\x08\x01", 2},
                 {"\x0a\x02\x0a\x05", 4},
                 {"\x0a\x03\x0a\x01\x80", 5},
                 {"\x0a", 1},
                 {"\x0a\x05\x0d\0\0\0\0", 7}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        evener_descriptors *types = empty();
        buffer b = {0};
        size_t in_file;
        const size_t info = commented_file(&b, &in_file);
        evener_wire_put(&b, cases[i].bytes, cases[i].length);
        evener_wire_close(&b, info);
        evener_wire_close(&b, in_file);
        FAILS(types, &b, EVENER_STATUS_INVALID_ARGUMENT, "a.proto: source info: the descriptor is not well-formed");
        evener_descriptors_destroy(types);
    }
    /* A path whose elements are not packed. */
    evener_descriptors *types = empty();
    buffer b = {0};
    size_t in_file;
    const size_t info = commented_file(&b, &in_file);
    const size_t start = begin(&b, 1);
    number(&b, 1, 4);
    number(&b, 1, 0);
    text(&b, 3, "one by one");
    evener_wire_close(&b, start);
    evener_wire_close(&b, info);
    evener_wire_close(&b, in_file);
    cr_assert_eq(add(types, &b, NULL), EVENER_STATUS_OK);
    cr_assert_str_eq(evener_descriptors_message(types, "M")->comments.leading, "one by one");
    evener_descriptors_destroy(types);
}

Test(descriptors, a_set_and_the_files_of_one_call_have_at_most_64_mib)
{
    /* Field 2 of a set is unknown, and takes the rest of the room. */
    for (size_t length = EVENER_DESCRIPTORS_BYTES_MAX; length <= EVENER_DESCRIPTORS_BYTES_MAX + 1; length++) {
        evener_descriptors *types = empty();
        buffer b = {0};
        file(&b, "a.proto", NULL, "A", NULL);
        evener_wire_put_tag(&b, 2, EVENER_WIRE_BYTES);
        evener_wire_put_varint(&b, length - b.length - 4);
        const size_t left = length - b.length;
        cr_assert_not_null(evener_wire_extend(&b, left));
        cr_assert_eq(b.length, length);
        const bool fits = length == EVENER_DESCRIPTORS_BYTES_MAX;
        evener_status status;
        cr_assert_eq(add(types, &b, &status), fits ? EVENER_STATUS_OK : EVENER_STATUS_RESOURCE_EXHAUSTED, "%s",
                     status.message);
        if (!fits) {
            cr_assert_str_eq(status.message, "descriptor set: larger than 64 MiB");
        }
        cr_assert_eq(evener_descriptors_message(types, "A") != NULL, fits);
        evener_descriptors_destroy(types);
    }
}

/* Append the file of package p.q whose message A.Mid has a field of the type of that name, and the messages A.In,
 * A.Mid.In and Out; and a file without a package with the messages In, Out and Top. */
static void scopes(buffer *b, const char *type)
{
    static const char *const without[] = {"In", "Out", "Top"};
    size_t start = begin(b, 1);
    text(b, 1, "top.proto");
    for (size_t i = 0; i < 3; i++) {
        const size_t in_message = begin(b, 4);
        text(b, 1, without[i]);
        evener_wire_close(b, in_message);
    }
    evener_wire_close(b, start);
    start = begin(b, 1);
    text(b, 1, "a.proto");
    text(b, 2, "p.q");
    const size_t in_a = begin(b, 4);
    text(b, 1, "A");
    const size_t in_mid = begin(b, 3);
    text(b, 1, "Mid");
    const size_t in_field = begin(b, 2);
    text(b, 1, "f");
    number(b, 3, 1);
    text(b, 6, type);
    evener_wire_close(b, in_field);
    size_t in_in = begin(b, 3);
    text(b, 1, "In");
    evener_wire_close(b, in_in);
    evener_wire_close(b, in_mid);
    in_in = begin(b, 3);
    text(b, 1, "In");
    evener_wire_close(b, in_in);
    evener_wire_close(b, in_a);
    const size_t in_out = begin(b, 4);
    text(b, 1, "Out");
    evener_wire_close(b, in_out);
    evener_wire_close(b, start);
}

Test(descriptors, a_relative_name_is_looked_for_from_the_innermost_scope_on)
{
    static const char *const cases[][2] = {
        {"In", "p.q.A.Mid.In"},
        {"Mid.In", "p.q.A.Mid.In"},
        {"A.In", "p.q.A.In"},
        {"q.A.In", "p.q.A.In"},
        {"p.q.A.In", "p.q.A.In"},
        {".p.q.A.In", "p.q.A.In"},
        {".In", "In"},
        {"Out", "p.q.Out"},
        {"q.Out", "p.q.Out"},
        {".Out", "Out"},
        {"Top", "Top"},
        {"Mid", "p.q.A.Mid"},
        {"A", "p.q.A"},
        {"Nothing", NULL},
        {"q.In", NULL},
        {".q.Out", NULL},
        {"id.In", NULL},
        {"", NULL},
        {".", NULL},
        {"p", NULL},
        {"p.q", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        evener_descriptors *types = empty();
        buffer b = {0};
        evener_status status;
        scopes(&b, cases[i][0]);
        const evener_status_code code = add(types, &b, &status);
        if (cases[i][1] == NULL) {
            char expected[128];
            cr_assert_eq(code, EVENER_STATUS_INVALID_ARGUMENT, "%s", cases[i][0]);
            (void)snprintf(expected, sizeof expected, "a.proto: p.q.A.Mid.f: the type %s is unknown", cases[i][0]);
            cr_assert_str_eq(status.message, expected);
        } else {
            cr_assert_eq(code, EVENER_STATUS_OK, "%s: %s", cases[i][0], status.message);
            const evener_message_type *mid = evener_descriptors_message(types, "p.q.A.Mid");
            cr_assert_str_eq(mid->fields[0]->message->full_name, cases[i][1], "%s", cases[i][0]);
            cr_assert_eq(mid->fields[0]->message, evener_descriptors_message(types, cases[i][1]));
        }
        evener_descriptors_destroy(types);
    }
}

Test(descriptors, the_lengths_of_files_are_added_up)
{
    evener_descriptors *types = empty();
    uint8_t *bytes = calloc(1, EVENER_DESCRIPTORS_BYTES_MAX);
    cr_assert_not_null(bytes);
    evener_status status;
    evener_bytes files[] = {{.data = bytes, .length = 2}, {.data = bytes, .length = EVENER_DESCRIPTORS_BYTES_MAX - 1}};
    cr_assert_eq(evener_descriptors_add_files(types, files, 2, &status), EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_assert_str_eq(status.message, "descriptors: larger than 64 MiB");
    files[0].length = 1; /* the room is enough; the content is wrong */
    cr_assert_eq(evener_descriptors_add_files(types, files, 2, &status), EVENER_STATUS_INVALID_ARGUMENT, "%s",
                 status.message);
    free(bytes);
    cr_assert_eq(evener_descriptors_add_files(types, NULL, 0, &status), EVENER_STATUS_OK);
    evener_descriptors_destroy(types);
}

Test(descriptors, a_set_that_fails_leaves_the_pool_as_it_was)
{
    evener_descriptors *types = empty();
    buffer b = {0};
    file(&b, "a.proto", NULL, "A", NULL);
    cr_assert_eq(add(types, &b, NULL), EVENER_STATUS_OK);
    const evener_message_type *a = evener_descriptors_message(types, "A");
    file(&b, "b.proto", NULL, "B", ".A");
    file(&b, "c.proto", NULL, "C", ".Nothing");
    FAILS(types, &b, EVENER_STATUS_INVALID_ARGUMENT, ".Nothing");
    size_t count;
    evener_descriptors_files(types, &count);
    cr_assert_eq(count, 1);
    cr_assert_null(evener_descriptors_message(types, "B"));
    cr_assert_eq(evener_descriptors_message(types, "A"), a);
    file(&b, "b.proto", NULL, "B", ".A");
    cr_assert_eq(add(types, &b, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_descriptors_message(types, "B")->fields[0]->message, a);
    evener_descriptors_destroy(types);
}

Test(descriptors, a_file_again_is_skipped_but_another_one_of_its_name_or_type_is_refused)
{
    evener_descriptors *types = empty();
    buffer b = {0};
    file(&b, "a.proto", NULL, "A", NULL);
    cr_assert_eq(add(types, &b, NULL), EVENER_STATUS_OK);
    file(&b, "a.proto", NULL, "A", NULL);
    file(&b, "b.proto", NULL, "B", ".A");
    cr_assert_eq(add(types, &b, NULL), EVENER_STATUS_OK);
    file(&b, "a.proto", NULL, "A", ".B");
    FAILS(types, &b, EVENER_STATUS_ALREADY_EXISTS, "a.proto: the file was added before, with other content");
    file(&b, "c.proto", NULL, "A", NULL);
    FAILS(types, &b, EVENER_STATUS_ALREADY_EXISTS, "A is declared in");
    file(&b, "d.proto", NULL, "D", NULL);
    file(&b, "d.proto", NULL, "D", NULL);
    FAILS(types, &b, EVENER_STATUS_ALREADY_EXISTS, "d.proto: the file is in the set twice");
    evener_descriptors_destroy(types);
}

/* Add a file whose options take 4 MiB. The name comes twice: the last one counts. */
static void large_file(buffer *b, const char *name, const char *message)
{
    const size_t bytes = (size_t)4 << 20;
    text(b, 1, "another.proto");
    const size_t in_message = begin(b, 4);
    text(b, 1, message);
    evener_wire_close(b, in_message);
    evener_wire_put_tag(b, 8, EVENER_WIRE_BYTES);
    evener_wire_put_varint(b, bytes);
    uint8_t *options = evener_wire_extend(b, bytes);
    cr_assert_not_null(options);
    memset(options, 'o', bytes);
    text(b, 1, name);
}

Test(descriptors, a_file_again_takes_no_memory)
{
    evener_descriptors *types = empty();
    buffer a = {0}, other = {0};
    evener_status status;
    large_file(&a, "a.proto", "A");
    large_file(&other, "a.proto", "B");
    const evener_bytes again = {.data = a.data, .length = a.length};
    const evener_bytes changed = {.data = other.data, .length = other.length};
    for (int i = 0; i < 200; i++) {
        cr_assert_eq(evener_descriptors_add_files(types, &again, 1, &status), EVENER_STATUS_OK, "%d: %s", i,
                     status.message);
    }
    cr_expect_eq(evener_descriptors_add_files(types, &changed, 1, &status), EVENER_STATUS_ALREADY_EXISTS);
    cr_expect_str_eq(status.message, "a.proto: the file was added before, with other content");
    size_t count;
    (void)evener_descriptors_files(types, &count);
    cr_expect_eq(count, 1);
    cr_expect_not_null(evener_descriptors_message(types, "A"));
    evener_wire_clear(&a);
    evener_wire_clear(&other);
    evener_descriptors_destroy(types);
}

/* Names that begin alike, and one that is the beginning of others. */
Test(descriptors, files_again_are_found_among_many)
{
    static const char *const names[] = {"b", "a", "aa", "ab", "a.proto", "a\xc3\xa9", "b.proto", "ba"};
    evener_descriptors *types = empty();
    evener_status status;
    buffer all = {0};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        buffer one = {0};
        char message[8];
        snprintf(message, sizeof message, "M%zu", i);
        file(&one, names[i], NULL, message, NULL);
        cr_assert_eq(add(types, &one, &status), EVENER_STATUS_OK, "%s: %s", names[i], status.message);
        file(&all, names[i], NULL, message, NULL);
        file(&all, names[i], NULL, message, NULL); /* twice in one set, but the pool has it */
    }
    cr_assert_eq(add(types, &all, &status), EVENER_STATUS_OK, "%s", status.message);
    /* Bytes with a NUL in the name, or without any name, are of no file that the pool has. */
    buffer b = {0};
    size_t start = begin(&b, 1);
    evener_wire_put_bytes(&b, 1, "a\0a", 3);
    evener_wire_close(&b, start);
    FAILS(types, &b, EVENER_STATUS_INVALID_ARGUMENT, "not well-formed");
    start = begin(&b, 1);
    text(&b, 2, "package");
    evener_wire_close(&b, start);
    FAILS(types, &b, EVENER_STATUS_INVALID_ARGUMENT, "no name");
    evener_descriptors_destroy(types);
}

Test(descriptors, messages_too_deep_inside_each_other_are_refused)
{
    for (unsigned depth = EVENER_DESCRIPTORS_DEPTH_MAX; depth <= EVENER_DESCRIPTORS_DEPTH_MAX + 1; depth++) {
        evener_descriptors *types = empty();
        buffer b = {0};
        size_t starts[EVENER_DESCRIPTORS_DEPTH_MAX + 1];
        const size_t start = begin(&b, 1);
        text(&b, 1, "deep.proto");
        for (unsigned i = 0; i < depth; i++) {
            starts[i] = begin(&b, i == 0 ? 4 : 3);
            text(&b, 1, "M");
        }
        for (unsigned i = depth; i-- > 0;) {
            evener_wire_close(&b, starts[i]);
        }
        evener_wire_close(&b, start);
        if (depth == EVENER_DESCRIPTORS_DEPTH_MAX) {
            cr_assert_eq(add(types, &b, NULL), EVENER_STATUS_OK);
        } else {
            FAILS(types, &b, EVENER_STATUS_RESOURCE_EXHAUSTED, "more than 32 messages");
        }
        evener_descriptors_destroy(types);
    }
}

Test(descriptors, what_is_no_descriptor_set_is_refused_with_a_reason)
{
    evener_descriptors *types = empty();
    evener_status status;
    cr_assert_eq(evener_descriptors_add_set(types, "", 0, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, "--descriptor_set_out"), "%s", status.message);
    cr_assert_eq(evener_descriptors_add_set(types, "\n\xff", 2, &status), EVENER_STATUS_INVALID_ARGUMENT);
    buffer b = {0};
    file(&b, "a.proto", NULL, "not a name", NULL);
    FAILS(types, &b, EVENER_STATUS_INVALID_ARGUMENT, "a.proto: a declaration has no valid name");
    file(&b, "", NULL, "A", NULL);
    FAILS(types, &b, EVENER_STATUS_INVALID_ARGUMENT, "no name");
    const size_t start = begin(&b, 1);
    text(&b, 1, "new.proto");
    text(&b, 12, "editions");
    evener_wire_close(&b, start);
    FAILS(types, &b, EVENER_STATUS_INVALID_ARGUMENT, "new.proto: syntax \"editions\" is not supported");
    cr_assert_eq(evener_descriptors_add_set_file(types, "/nowhere.protoset", &status), EVENER_STATUS_NOT_FOUND);
    cr_assert_eq(strncmp(status.message, "/nowhere.protoset", 17), 0);
    evener_descriptors_destroy(types);
}
