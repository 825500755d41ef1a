/* DescriptorProto and EnumDescriptorProto to the structs of evener/descriptors.h. Numbers of fields stand where they
 * are read, named as in descriptor.proto. */
#include <stdio.h>
#include <string.h>

#include "lb/protobuf/descriptor_parse.h"

/* Return the last value of a boolean option, or `otherwise`. */
static bool option_bool(const evener_raw_options *options, uint32_t number, bool otherwise)
{
    evener_wire_reader reader = evener_wire_read(options->data, options->length);
    evener_wire_field f;
    while (options->length > 0 && evener_wire_next(&reader, &f) == EVENER_WIRE_FIELD) {
        if (f.number == number && f.type == EVENER_WIRE_VARINT) {
            otherwise = f.value != 0;
        }
    }
    return otherwise;
}

/* ---- enums ---- */

static evener_status_code parse_enum_value(evener_descriptor_parser *p, evener_parse_span from, const char *scope,
                                           void *owner, void *node)
{
    evener_enum_value *value = node;
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    (void)owner;
    evener_status_code code = evener_parse_name(p, from, scope, &value->name);
    while (code == EVENER_STATUS_OK && evener_wire_next(&reader, &f) == EVENER_WIRE_FIELD) {
        if (f.number == 2) { /* number */
            value->number = (int32_t)(uint32_t)f.value;
        } else if (f.number == 3) { /* options */
            code = evener_parse_options(p, scope, &f, &value->options);
        }
    }
    return code == EVENER_STATUS_OK ? evener_parse_comments(p, &value->comments) : code;
}

static int compare_numbers(uint32_t a, uint32_t b, const void *left, const void *right)
{
    const uintptr_t l = (uintptr_t)left, r = (uintptr_t)right; /* of one block: in the order of declaration */
    return a != b ? (a < b ? -1 : 1) : (l > r) - (l < r);
}

static int compare_texts(const char *a, const char *b, const void *left, const void *right)
{
    const int difference = strcmp(a, b);
    const uintptr_t l = (uintptr_t)left, r = (uintptr_t)right;
    return difference != 0 ? difference : (l > r) - (l < r);
}

#define VALUE(side) (*(const evener_enum_value *const *)(side))
#define FIELD(side) (*(const evener_field *const *)(side))

static int compare_value_numbers(const void *l, const void *r)
{
    return compare_numbers((uint32_t)VALUE(l)->number, (uint32_t)VALUE(r)->number, VALUE(l), VALUE(r));
}

static int compare_value_names(const void *l, const void *r)
{
    return compare_texts(VALUE(l)->name, VALUE(r)->name, VALUE(l), VALUE(r));
}

static int compare_field_numbers(const void *l, const void *r)
{
    return compare_numbers(FIELD(l)->number, FIELD(r)->number, FIELD(l), FIELD(r));
}

static int compare_field_names(const void *l, const void *r)
{
    return compare_texts(FIELD(l)->name, FIELD(r)->name, FIELD(l), FIELD(r));
}

static int compare_field_json_names(const void *l, const void *r)
{
    return compare_texts(FIELD(l)->json_name, FIELD(r)->json_name, FIELD(l), FIELD(r));
}

/* Return a sorted copy of a list of pointers; NULL: no memory. */
static void *sorted(evener_descriptor_parser *p, const void *list, size_t count,
                    int (*compare)(const void *, const void *))
{
    void **copy = evener_arena_alloc(p->batch->arena, count * sizeof *copy);
    if (copy != NULL && count > 0) {
        memcpy(copy, list, count * sizeof *copy);
        qsort(copy, count, sizeof *copy, compare);
    }
    return copy;
}

evener_status_code evener_parse_enum(evener_descriptor_parser *p, evener_parse_span from, const char *scope,
                                     void *owner, void *node)
{
    evener_enum_node *enumeration = node;
    evener_enum_type *type = &enumeration->type;
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_status_code code = evener_parse_name(p, from, scope, &type->name);
    if (code != EVENER_STATUS_OK || (type->full_name = evener_parse_full_name(p, scope, type->name, &code)) == NULL) {
        return code;
    }
    type->file = p->file;
    type->parent = owner;
    type->closed = !p->file->proto3;
    while (code == EVENER_STATUS_OK && evener_wire_next(&reader, &f) == EVENER_WIRE_FIELD) {
        if (f.number == 3) { /* options */
            code = evener_parse_options(p, type->full_name, &f, &type->options);
        }
    }
    if (code != EVENER_STATUS_OK || (code = evener_parse_comments(p, &type->comments)) != EVENER_STATUS_OK ||
        (code = evener_parse_list(p, from, 2, sizeof(evener_enum_value), parse_enum_value, type->full_name, NULL,
                                  &type->values, &type->value_count)) != EVENER_STATUS_OK) {
        return code;
    }
    if (type->value_count == 0) {
        return evener_parse_wrong(p, type->full_name, "", "the enum has no values");
    }
    enumeration->by_number = sorted(p, type->values, type->value_count, compare_value_numbers);
    enumeration->by_name = sorted(p, type->values, type->value_count, compare_value_names);
    if (enumeration->by_number == NULL || enumeration->by_name == NULL) {
        return evener_parse_no_memory(p);
    }
    for (size_t i = 1; i < type->value_count; i++) {
        if (strcmp(enumeration->by_name[i - 1]->name, enumeration->by_name[i]->name) == 0) {
            return evener_parse_wrong(p, type->full_name, enumeration->by_name[i]->name, "the name is declared twice");
        }
    }
    return evener_parse_add_symbol(p, type->full_name, EVENER_SYMBOL_ENUM, type);
}

/* ---- fields and oneofs ---- */

typedef struct oneof_node {
    evener_oneof oneof;
    const evener_field **members;
    size_t member_count;
    bool synthetic; /* stands for `optional` in proto3 */
} oneof_node;

/* What a message's fields need while it is parsed. */
typedef struct message_parts {
    evener_message_type *type;
    oneof_node *const *oneofs; /* with the synthetic ones, as oneof_index counts */
    size_t oneof_count;
} message_parts;

static evener_status_code parse_oneof(evener_descriptor_parser *p, evener_parse_span from, const char *scope,
                                      void *owner, void *node)
{
    oneof_node *oneof = node;
    (void)owner;
    const evener_status_code code = evener_parse_name(p, from, scope, &oneof->oneof.name);
    return code == EVENER_STATUS_OK ? evener_parse_comments(p, &oneof->oneof.comments) : code;
}

/* Return the lowerCamelCase form of a name, as protoc derives json_name. */
static const char *json_name(evener_descriptor_parser *p, const char *name)
{
    char *json = evener_arena_alloc(p->batch->arena, strlen(name) + 1);
    bool upper = false;
    size_t length = 0;
    for (const char *c = name; json != NULL && *c != '\0'; c++) {
        if (*c == '_') {
            upper = true;
        } else {
            json[length++] = (char)(upper && *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
            upper = false;
        }
    }
    return json;
}

static bool can_be_packed(const evener_field *field)
{
    return field->repeated && field->kind != EVENER_FIELD_STRING && field->kind != EVENER_FIELD_BYTES &&
           field->kind != EVENER_FIELD_MESSAGE && field->kind != EVENER_FIELD_GROUP;
}

typedef struct field_facts {
    uint64_t label, kind, number;
    const char *type_name;
    uint64_t oneof_index;
    bool has_oneof;
} field_facts;

static evener_status_code read_field(evener_descriptor_parser *p, evener_parse_span from, const char *scope,
                                     evener_field *field, field_facts *facts)
{
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_status_code code = EVENER_STATUS_OK;
    while (code == EVENER_STATUS_OK && evener_wire_next(&reader, &f) == EVENER_WIRE_FIELD) {
        switch (f.number) {
        case 3: /* number */
            facts->number = f.value;
            break;
        case 4: /* label */
            facts->label = f.value;
            break;
        case 5: /* type */
            facts->kind = f.value;
            break;
        case 6: /* type_name */
            code = evener_parse_text(p, scope, &f, &facts->type_name);
            break;
        case 7: /* default_value */
            code = evener_parse_text(p, scope, &f, &field->default_text);
            break;
        case 8: /* options */
            code = evener_parse_options(p, scope, &f, &field->options);
            break;
        case 9: /* oneof_index */
            facts->oneof_index = f.value;
            facts->has_oneof = true;
            break;
        case 10: /* json_name */
            code = evener_parse_text(p, scope, &f, &field->json_name);
            break;
        case 17: /* proto3_optional */
            field->optional = f.value != 0;
            break;
        default:
            break;
        }
    }
    return code;
}

/* Put a field into its oneof. */
static evener_status_code join_oneof(evener_descriptor_parser *p, const message_parts *parts, evener_field *field,
                                     uint64_t index)
{
    if (index >= parts->oneof_count || field->repeated) {
        return evener_parse_wrong(p, parts->type->full_name, field->name,
                                  "its oneof does not exist, or it is repeated");
    }
    oneof_node *oneof = parts->oneofs[index];
    field->oneof = &oneof->oneof;
    oneof->member_count++; /* `members` is filled when all fields are known */
    oneof->synthetic = field->optional;
    return EVENER_STATUS_OK;
}

static evener_status_code parse_field(evener_descriptor_parser *p, evener_parse_span from, const char *scope,
                                      void *owner, void *node)
{
    const message_parts *parts = owner;
    evener_field *field = node;
    field_facts facts = {.label = 1};
    evener_status_code code = evener_parse_name(p, from, scope, &field->name);
    if (code != EVENER_STATUS_OK || (code = read_field(p, from, scope, field, &facts)) != EVENER_STATUS_OK ||
        (code = evener_parse_comments(p, &field->comments)) != EVENER_STATUS_OK) {
        return code;
    }
    if (facts.number == 0 || facts.number > EVENER_WIRE_NUMBER_MAX) {
        return evener_parse_wrong(p, scope, field->name, "the number is out of range");
    }
    if (facts.label < 1 || facts.label > 3 || facts.kind > EVENER_FIELD_SINT64 ||
        (facts.kind == 0 && facts.type_name == NULL)) {
        return evener_parse_wrong(p, scope, field->name, "its label or type is unknown");
    }
    field->number = (uint32_t)facts.number;
    field->kind = (evener_field_kind)facts.kind;
    field->repeated = facts.label == 3;
    field->required = facts.label == 2;
    field->parent = parts->type;
    if (field->json_name == NULL && (field->json_name = json_name(p, field->name)) == NULL) {
        return evener_parse_no_memory(p);
    }
    if (facts.has_oneof && (code = join_oneof(p, parts, field, facts.oneof_index)) != EVENER_STATUS_OK) {
        return code;
    }
    const bool typed = facts.kind == 0 || facts.kind == EVENER_FIELD_MESSAGE || facts.kind == EVENER_FIELD_GROUP ||
                       facts.kind == EVENER_FIELD_ENUM;
    if (typed) {
        if (facts.type_name == NULL) {
            return evener_parse_wrong(p, scope, field->name, "it has no type name");
        }
        evener_type_reference *reference = evener_parse_add_reference(p, scope, field->name, facts.type_name);
        if (reference == NULL) {
            return evener_parse_no_memory(p);
        }
        reference->field = field;
    }
    field->packed = can_be_packed(field) && option_bool(&field->options, 2, p->file->proto3); /* [packed = ...] */
    field->has_presence = !field->repeated && (!p->file->proto3 || facts.has_oneof);
    return EVENER_STATUS_OK;
}

/* ---- messages ---- */

/* Give the oneofs their fields, and make the public list without the synthetic ones. */
static evener_status_code finish_oneofs(evener_descriptor_parser *p, const message_parts *parts)
{
    evener_message_type *type = parts->type;
    const evener_oneof **list = evener_arena_alloc(p->batch->arena, parts->oneof_count * sizeof *list);
    if (list == NULL) {
        return evener_parse_no_memory(p);
    }
    type->oneofs = list;
    for (size_t i = 0; i < parts->oneof_count; i++) {
        oneof_node *oneof = parts->oneofs[i];
        oneof->members = evener_arena_alloc(p->batch->arena, oneof->member_count * sizeof(const evener_field *));
        if (oneof->members == NULL) {
            return evener_parse_no_memory(p);
        }
        oneof->oneof.fields = oneof->members;
        oneof->synthetic = oneof->synthetic && oneof->member_count == 1;
        if (!oneof->synthetic) {
            oneof->oneof.index = (uint32_t)type->oneof_count;
            list[type->oneof_count++] = &oneof->oneof;
        }
    }
    for (size_t i = 0; i < type->field_count; i++) {
        evener_field *field = (evener_field *)(uintptr_t)type->fields[i]; /* this file's own node */
        field->index = (uint32_t)i;
        if (field->oneof != NULL) {
            oneof_node *oneof = (oneof_node *)(uintptr_t)EVENER_CONTAINER_OF(field->oneof, const oneof_node, oneof);
            oneof->members[oneof->oneof.field_count++] = field;
            if (oneof->synthetic) {
                field->oneof = NULL;
            }
        }
    }
    return EVENER_STATUS_OK;
}

static evener_status_code sort_fields(evener_descriptor_parser *p, evener_message_node *node)
{
    const evener_message_type *type = &node->type;
    node->by_number = sorted(p, type->fields, type->field_count, compare_field_numbers);
    node->by_name = sorted(p, type->fields, type->field_count, compare_field_names);
    node->by_json_name = sorted(p, type->fields, type->field_count, compare_field_json_names);
    if (node->by_number == NULL || node->by_name == NULL || node->by_json_name == NULL) {
        return evener_parse_no_memory(p);
    }
    for (size_t i = 1; i < type->field_count; i++) {
        if (node->by_number[i - 1]->number == node->by_number[i]->number) {
            return evener_parse_wrong(p, type->full_name, node->by_number[i]->name,
                                      "another field has the same number");
        }
        if (strcmp(node->by_name[i - 1]->name, node->by_name[i]->name) == 0) {
            return evener_parse_wrong(p, type->full_name, node->by_name[i]->name, "the name is declared twice");
        }
    }
    return EVENER_STATUS_OK;
}

evener_status_code evener_parse_message(evener_descriptor_parser *p, evener_parse_span from, const char *scope,
                                        void *owner, void *node)
{
    evener_message_node *message = node;
    evener_message_type *type = &message->type;
    message_parts parts = {.type = type};
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_status_code code = evener_parse_name(p, from, scope, &type->name);
    if (code != EVENER_STATUS_OK || (type->full_name = evener_parse_full_name(p, scope, type->name, &code)) == NULL) {
        return code;
    }
    if (p->depth == EVENER_DESCRIPTORS_DEPTH_MAX) {
        return evener_status_set(p->status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                 "%s: %.64s...: more than %d messages are declared inside each other", p->file->name,
                                 type->full_name, EVENER_DESCRIPTORS_DEPTH_MAX);
    }
    type->file = p->file;
    type->parent = owner;
    message->descriptors = p->batch->descriptors;
    while (code == EVENER_STATUS_OK && evener_wire_next(&reader, &f) == EVENER_WIRE_FIELD) {
        if (f.number == 7) { /* options */
            code = evener_parse_options(p, type->full_name, &f, &type->options);
        }
    }
    if (code != EVENER_STATUS_OK || (code = evener_parse_comments(p, &type->comments)) != EVENER_STATUS_OK ||
        (code = evener_parse_add_symbol(p, type->full_name, EVENER_SYMBOL_MESSAGE, type)) != EVENER_STATUS_OK) {
        return code;
    }
    type->map_entry = option_bool(&type->options, 7, false);
    p->depth++;
    if ((code = evener_parse_list(p, from, 8, sizeof(oneof_node), parse_oneof, type->full_name, type, &parts.oneofs,
                                  &parts.oneof_count)) == EVENER_STATUS_OK &&
        (code = evener_parse_list(p, from, 2, sizeof(evener_field), parse_field, type->full_name, &parts, &type->fields,
                                  &type->field_count)) == EVENER_STATUS_OK &&
        (code = finish_oneofs(p, &parts)) == EVENER_STATUS_OK && (code = sort_fields(p, message)) == EVENER_STATUS_OK &&
        (code = evener_parse_list(p, from, 3, sizeof(evener_message_node), evener_parse_message, type->full_name, type,
                                  &type->messages, &type->message_count)) == EVENER_STATUS_OK) {
        code = evener_parse_list(p, from, 4, sizeof(evener_enum_node), evener_parse_enum, type->full_name, type,
                                 &type->enums, &type->enum_count);
    }
    p->depth--;
    return code;
}
