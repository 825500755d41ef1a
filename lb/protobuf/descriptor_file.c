/* FileDescriptorProto to the structs of evener/descriptors.h (protobuf: src/google/protobuf/descriptor.proto). Numbers
 * of fields stand where they are read, named as there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/protobuf/pool.h"
#include "lb/protobuf/source_info.h"
#include "lb/protobuf/wire.h"

typedef struct span {
    const uint8_t *data;
    size_t length;
} span;

typedef struct parser {
    evener_batch *batch;
    evener_file_type *file;
    evener_source_info comments;
    evener_status *status;
    unsigned depth; /* of messages inside each other */
} parser;

/* ---- errors ---- */

static evener_status_code no_memory(parser *p)
{
    return evener_status_set(p->status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                             "%s: out of memory, or the descriptors need more than %d MiB", p->file->name,
                             EVENER_DESCRIPTORS_MEMORY_MAX / 1024 / 1024);
}

/* Fail with "FILE: SCOPE.NAME: REASON". */
static evener_status_code wrong(parser *p, const char *scope, const char *name, const char *reason)
{
    const bool both = scope[0] != '\0' && name[0] != '\0';
    const bool none = scope[0] == '\0' && name[0] == '\0';
    return evener_status_set(p->status, EVENER_STATUS_INVALID_ARGUMENT, "%s: %s%s%s%s%s", p->file->name, scope,
                             both ? "." : "", name, none ? "" : ": ", reason);
}

static evener_status_code malformed(parser *p, const char *where)
{
    return wrong(p, where, "", "the descriptor is not well-formed");
}

/* ---- values ---- */

/* Whether `text` is an identifier, or with `dots` several ones joined by dots. */
static bool is_name(const char *text, bool dots)
{
    bool begins = true;
    for (const char *c = text; *c != '\0'; c++) {
        const bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
        if (!(letter || (!begins && *c >= '0' && *c <= '9') || (dots && !begins && *c == '.'))) {
            return false;
        }
        begins = *c == '.';
    }
    return !begins;
}

/* Copy text; what is not UTF-8 or holds NUL fails. */
static evener_status_code take_text(parser *p, const char *where, const evener_wire_field *f, const char **text)
{
    if (f->type != EVENER_WIRE_BYTES || !evener_utf8_is_valid(f->data, f->length) ||
        (f->length > 0 && memchr(f->data, '\0', f->length) != NULL)) {
        return malformed(p, where);
    }
    *text = evener_arena_text(p->batch->arena, f->data, f->length);
    return *text != NULL ? EVENER_STATUS_OK : no_memory(p);
}

/* Append to options: several occurrences of a message field are merged, which concatenation does. */
static evener_status_code take_options(parser *p, const char *where, const evener_wire_field *f,
                                       evener_raw_options *options)
{
    if (f->type != EVENER_WIRE_BYTES) {
        return malformed(p, where);
    }
    uint8_t *joined = evener_arena_alloc(p->batch->arena, options->length + f->length);
    if (joined == NULL) {
        return no_memory(p);
    }
    if (options->length > 0) {
        memcpy(joined, options->data, options->length);
    }
    if (f->length > 0) {
        memcpy(joined + options->length, f->data, f->length);
    }
    *options = (evener_raw_options){joined, options->length + f->length};
    return EVENER_STATUS_OK;
}

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

static const char *full_name(parser *p, const char *scope, const char *name, evener_status_code *code)
{
    const size_t scope_bytes = strlen(scope);
    const size_t bytes = scope_bytes + strlen(name) + 1;
    if (bytes > EVENER_DESCRIPTORS_NAME_BYTES_MAX) {
        *code =
            evener_status_set(p->status, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: a name is longer than %d bytes: %.64s",
                              p->file->name, EVENER_DESCRIPTORS_NAME_BYTES_MAX, name);
        return NULL;
    }
    char *joined = evener_arena_alloc(p->batch->arena, bytes + 1);
    if (joined == NULL) {
        *code = no_memory(p);
        return NULL;
    }
    snprintf(joined, bytes + 1, "%s%s%s", scope, scope_bytes > 0 ? "." : "", name);
    *code = EVENER_STATUS_OK;
    return joined;
}

static evener_status_code add_symbol(parser *p, const char *name, evener_symbol_kind kind, const void *thing)
{
    evener_batch *batch = p->batch;
    if (batch->symbol_count == batch->symbol_room) {
        const size_t room = batch->symbol_room == 0 ? 64 : 2 * batch->symbol_room;
        evener_symbol *grown = realloc(batch->symbols, room * sizeof *grown);
        if (grown == NULL) {
            return no_memory(p);
        }
        batch->symbols = grown;
        batch->symbol_room = room;
    }
    batch->symbols[batch->symbol_count++] = (evener_symbol){name, kind, thing, p->file};
    return EVENER_STATUS_OK;
}

static evener_type_reference *add_reference(parser *p, const char *scope, const char *user, const char *type_name)
{
    evener_type_reference *reference = evener_arena_alloc(p->batch->arena, sizeof *reference);
    if (reference != NULL) {
        *reference = (evener_type_reference){
            .next = p->batch->references, .file = p->file, .scope = scope, .user = user, .type_name = type_name};
        p->batch->references = reference;
    }
    return reference;
}

/* ---- lists ---- */

/* Parse one element into `node`. `scope`: the full name of what contains it; `owner`: its struct. */
typedef evener_status_code parse_element(parser *p, span from, const char *scope, void *owner, void *node);

/* Parse all elements of field `number` into nodes of `node_bytes`, which are adjacent, and store a list of pointers to
 * them: a public struct is the first member of its node. */
static evener_status_code parse_list(parser *p, span from, uint32_t number, size_t node_bytes, parse_element *parse,
                                     const char *scope, void *owner, void *list, size_t *count)
{
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_wire_result result;
    size_t elements = 0;
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        if (f.number == number) {
            if (f.type != EVENER_WIRE_BYTES) {
                return malformed(p, scope);
            }
            elements++;
        }
    }
    if (result == EVENER_WIRE_MALFORMED) {
        return malformed(p, scope);
    }
    if (elements == 0) {
        return EVENER_STATUS_OK;
    }
    if (elements > EVENER_DESCRIPTORS_MEMORY_MAX / node_bytes) {
        return no_memory(p);
    }
    char *nodes = evener_arena_alloc(p->batch->arena, elements * node_bytes);
    void **pointers = evener_arena_alloc(p->batch->arena, elements * sizeof *pointers);
    if (nodes == NULL || pointers == NULL) {
        return no_memory(p);
    }
    reader = evener_wire_read(from.data, from.length);
    for (size_t i = 0; i < elements;) {
        evener_wire_next(&reader, &f);
        if (f.number != number) {
            continue;
        }
        pointers[i] = nodes + i * node_bytes;
        evener_source_info_enter(&p->comments, number, (uint32_t)i);
        const evener_status_code code = parse(p, (span){f.data, f.length}, scope, owner, pointers[i]);
        evener_source_info_leave(&p->comments);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
        i++;
    }
    memcpy(list, &pointers, sizeof pointers);
    *count = elements;
    return EVENER_STATUS_OK;
}

static evener_status_code take_comments(parser *p, evener_comments *comments)
{
    return evener_source_info_find(&p->comments, p->batch->arena, comments) ? EVENER_STATUS_OK : no_memory(p);
}

/* Read the name of a declaration, field 1 of all of them, so that errors can name it. */
static evener_status_code parse_name(parser *p, span from, const char *scope, const char **name)
{
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_wire_result result;
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        if (f.number == 1 && take_text(p, scope, &f, name) != EVENER_STATUS_OK) {
            return p->status->code;
        }
    }
    if (result == EVENER_WIRE_MALFORMED) {
        return malformed(p, scope);
    }
    return *name != NULL && is_name(*name, false) ? EVENER_STATUS_OK
                                                  : wrong(p, scope, "", "a declaration has no valid name");
}

/* ---- enums ---- */

static evener_status_code parse_enum_value(parser *p, span from, const char *scope, void *owner, void *node)
{
    evener_enum_value *value = node;
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    (void)owner;
    evener_status_code code = parse_name(p, from, scope, &value->name);
    while (code == EVENER_STATUS_OK && evener_wire_next(&reader, &f) == EVENER_WIRE_FIELD) {
        if (f.number == 2) { /* number */
            value->number = (int32_t)(uint32_t)f.value;
        } else if (f.number == 3) { /* options */
            code = take_options(p, scope, &f, &value->options);
        }
    }
    return code == EVENER_STATUS_OK ? take_comments(p, &value->comments) : code;
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
static void *sorted(parser *p, const void *list, size_t count, int (*compare)(const void *, const void *))
{
    void **copy = evener_arena_alloc(p->batch->arena, count * sizeof *copy);
    if (copy != NULL && count > 0) {
        memcpy(copy, list, count * sizeof *copy);
        qsort(copy, count, sizeof *copy, compare);
    }
    return copy;
}

static evener_status_code parse_enum(parser *p, span from, const char *scope, void *owner, void *node)
{
    evener_enum_node *enumeration = node;
    evener_enum_type *type = &enumeration->type;
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_status_code code = parse_name(p, from, scope, &type->name);
    if (code != EVENER_STATUS_OK || (type->full_name = full_name(p, scope, type->name, &code)) == NULL) {
        return code;
    }
    type->file = p->file;
    type->parent = owner;
    type->closed = !p->file->proto3;
    while (code == EVENER_STATUS_OK && evener_wire_next(&reader, &f) == EVENER_WIRE_FIELD) {
        if (f.number == 3) { /* options */
            code = take_options(p, type->full_name, &f, &type->options);
        }
    }
    if (code != EVENER_STATUS_OK || (code = take_comments(p, &type->comments)) != EVENER_STATUS_OK ||
        (code = parse_list(p, from, 2, sizeof(evener_enum_value), parse_enum_value, type->full_name, NULL,
                           &type->values, &type->value_count)) != EVENER_STATUS_OK) {
        return code;
    }
    if (type->value_count == 0) {
        return wrong(p, type->full_name, "", "the enum has no values");
    }
    enumeration->by_number = sorted(p, type->values, type->value_count, compare_value_numbers);
    enumeration->by_name = sorted(p, type->values, type->value_count, compare_value_names);
    if (enumeration->by_number == NULL || enumeration->by_name == NULL) {
        return no_memory(p);
    }
    for (size_t i = 1; i < type->value_count; i++) {
        if (strcmp(enumeration->by_name[i - 1]->name, enumeration->by_name[i]->name) == 0) {
            return wrong(p, type->full_name, enumeration->by_name[i]->name, "the name is declared twice");
        }
    }
    return add_symbol(p, type->full_name, EVENER_SYMBOL_ENUM, type);
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

static evener_status_code parse_oneof(parser *p, span from, const char *scope, void *owner, void *node)
{
    oneof_node *oneof = node;
    (void)owner;
    const evener_status_code code = parse_name(p, from, scope, &oneof->oneof.name);
    return code == EVENER_STATUS_OK ? take_comments(p, &oneof->oneof.comments) : code;
}

/* Return the lowerCamelCase form of a name, as protoc derives json_name. */
static const char *json_name(parser *p, const char *name)
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

static evener_status_code read_field(parser *p, span from, const char *scope, evener_field *field, field_facts *facts)
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
            code = take_text(p, scope, &f, &facts->type_name);
            break;
        case 7: /* default_value */
            code = take_text(p, scope, &f, &field->default_text);
            break;
        case 8: /* options */
            code = take_options(p, scope, &f, &field->options);
            break;
        case 9: /* oneof_index */
            facts->oneof_index = f.value;
            facts->has_oneof = true;
            break;
        case 10: /* json_name */
            code = take_text(p, scope, &f, &field->json_name);
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
static evener_status_code join_oneof(parser *p, const message_parts *parts, evener_field *field, uint64_t index)
{
    if (index >= parts->oneof_count || field->repeated) {
        return wrong(p, parts->type->full_name, field->name, "its oneof does not exist, or it is repeated");
    }
    oneof_node *oneof = parts->oneofs[index];
    field->oneof = &oneof->oneof;
    oneof->member_count++; /* `members` is filled when all fields are known */
    oneof->synthetic = field->optional;
    return EVENER_STATUS_OK;
}

static evener_status_code parse_field(parser *p, span from, const char *scope, void *owner, void *node)
{
    const message_parts *parts = owner;
    evener_field *field = node;
    field_facts facts = {.label = 1};
    evener_status_code code = parse_name(p, from, scope, &field->name);
    if (code != EVENER_STATUS_OK || (code = read_field(p, from, scope, field, &facts)) != EVENER_STATUS_OK ||
        (code = take_comments(p, &field->comments)) != EVENER_STATUS_OK) {
        return code;
    }
    if (facts.number == 0 || facts.number > EVENER_WIRE_NUMBER_MAX) {
        return wrong(p, scope, field->name, "the number is out of range");
    }
    if (facts.label < 1 || facts.label > 3 || facts.kind > EVENER_FIELD_SINT64 ||
        (facts.kind == 0 && facts.type_name == NULL)) {
        return wrong(p, scope, field->name, "its label or type is unknown");
    }
    field->number = (uint32_t)facts.number;
    field->kind = (evener_field_kind)facts.kind;
    field->repeated = facts.label == 3;
    field->required = facts.label == 2;
    field->parent = parts->type;
    if (field->json_name == NULL && (field->json_name = json_name(p, field->name)) == NULL) {
        return no_memory(p);
    }
    if (facts.has_oneof && (code = join_oneof(p, parts, field, facts.oneof_index)) != EVENER_STATUS_OK) {
        return code;
    }
    const bool typed = facts.kind == 0 || facts.kind == EVENER_FIELD_MESSAGE || facts.kind == EVENER_FIELD_GROUP ||
                       facts.kind == EVENER_FIELD_ENUM;
    if (typed) {
        if (facts.type_name == NULL) {
            return wrong(p, scope, field->name, "it has no type name");
        }
        evener_type_reference *reference = add_reference(p, scope, field->name, facts.type_name);
        if (reference == NULL) {
            return no_memory(p);
        }
        reference->field = field;
    }
    field->packed = can_be_packed(field) && option_bool(&field->options, 2, p->file->proto3); /* [packed = ...] */
    field->has_presence = !field->repeated && (!p->file->proto3 || facts.has_oneof);
    return EVENER_STATUS_OK;
}

/* ---- messages ---- */

/* Give the oneofs their fields, and make the public list without the synthetic ones. */
static evener_status_code finish_oneofs(parser *p, const message_parts *parts)
{
    evener_message_type *type = parts->type;
    const evener_oneof **list = evener_arena_alloc(p->batch->arena, parts->oneof_count * sizeof *list);
    if (list == NULL) {
        return no_memory(p);
    }
    type->oneofs = list;
    for (size_t i = 0; i < parts->oneof_count; i++) {
        oneof_node *oneof = parts->oneofs[i];
        oneof->members = evener_arena_alloc(p->batch->arena, oneof->member_count * sizeof(const evener_field *));
        if (oneof->members == NULL) {
            return no_memory(p);
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

static evener_status_code sort_fields(parser *p, evener_message_node *node)
{
    const evener_message_type *type = &node->type;
    node->by_number = sorted(p, type->fields, type->field_count, compare_field_numbers);
    node->by_name = sorted(p, type->fields, type->field_count, compare_field_names);
    node->by_json_name = sorted(p, type->fields, type->field_count, compare_field_json_names);
    if (node->by_number == NULL || node->by_name == NULL || node->by_json_name == NULL) {
        return no_memory(p);
    }
    for (size_t i = 1; i < type->field_count; i++) {
        if (node->by_number[i - 1]->number == node->by_number[i]->number) {
            return wrong(p, type->full_name, node->by_number[i]->name, "another field has the same number");
        }
        if (strcmp(node->by_name[i - 1]->name, node->by_name[i]->name) == 0) {
            return wrong(p, type->full_name, node->by_name[i]->name, "the name is declared twice");
        }
    }
    return EVENER_STATUS_OK;
}

static evener_status_code parse_message(parser *p, span from, const char *scope, void *owner, void *node)
{
    evener_message_node *message = node;
    evener_message_type *type = &message->type;
    message_parts parts = {.type = type};
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_status_code code = parse_name(p, from, scope, &type->name);
    if (code != EVENER_STATUS_OK || (type->full_name = full_name(p, scope, type->name, &code)) == NULL) {
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
            code = take_options(p, type->full_name, &f, &type->options);
        }
    }
    if (code != EVENER_STATUS_OK || (code = take_comments(p, &type->comments)) != EVENER_STATUS_OK ||
        (code = add_symbol(p, type->full_name, EVENER_SYMBOL_MESSAGE, type)) != EVENER_STATUS_OK) {
        return code;
    }
    type->map_entry = option_bool(&type->options, 7, false);
    p->depth++;
    if ((code = parse_list(p, from, 8, sizeof(oneof_node), parse_oneof, type->full_name, type, &parts.oneofs,
                           &parts.oneof_count)) == EVENER_STATUS_OK &&
        (code = parse_list(p, from, 2, sizeof(evener_field), parse_field, type->full_name, &parts, &type->fields,
                           &type->field_count)) == EVENER_STATUS_OK &&
        (code = finish_oneofs(p, &parts)) == EVENER_STATUS_OK && (code = sort_fields(p, message)) == EVENER_STATUS_OK &&
        (code = parse_list(p, from, 3, sizeof(evener_message_node), parse_message, type->full_name, type,
                           &type->messages, &type->message_count)) == EVENER_STATUS_OK) {
        code = parse_list(p, from, 4, sizeof(evener_enum_node), parse_enum, type->full_name, type, &type->enums,
                          &type->enum_count);
    }
    p->depth--;
    return code;
}

/* ---- services ---- */

static evener_status_code parse_method(parser *p, span from, const char *scope, void *owner, void *node)
{
    evener_method *method = node;
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    const char *types[2] = {NULL, NULL}; /* input, output */
    evener_status_code code = parse_name(p, from, scope, &method->name);
    if (code != EVENER_STATUS_OK || (method->full_name = full_name(p, scope, method->name, &code)) == NULL) {
        return code;
    }
    while (code == EVENER_STATUS_OK && evener_wire_next(&reader, &f) == EVENER_WIRE_FIELD) {
        if (f.number == 2 || f.number == 3) { /* input_type, output_type */
            code = take_text(p, method->full_name, &f, &types[f.number - 2]);
        } else if (f.number == 4) { /* options */
            code = take_options(p, method->full_name, &f, &method->options);
        } else if (f.number == 5) { /* client_streaming */
            method->client_streaming = f.value != 0;
        } else if (f.number == 6) { /* server_streaming */
            method->server_streaming = f.value != 0;
        }
    }
    if (code != EVENER_STATUS_OK || (code = take_comments(p, &method->comments)) != EVENER_STATUS_OK) {
        return code;
    }
    if (types[0] == NULL || types[1] == NULL) {
        return wrong(p, scope, method->name, "the method has no input or output type");
    }
    const size_t path_bytes = strlen(method->full_name) + 2;
    char *path = evener_arena_alloc(p->batch->arena, path_bytes);
    evener_type_reference *input = add_reference(p, scope, method->name, types[0]);
    evener_type_reference *output = add_reference(p, scope, method->name, types[1]);
    if (path == NULL || input == NULL || output == NULL) {
        return no_memory(p);
    }
    input->message = &method->input;
    output->message = &method->output;
    snprintf(path, path_bytes, "/%s/%s", scope, method->name);
    method->path = path;
    method->service = owner;
    return add_symbol(p, method->full_name, EVENER_SYMBOL_METHOD, method);
}

static evener_status_code parse_service(parser *p, span from, const char *scope, void *owner, void *node)
{
    evener_service_type *service = node;
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    (void)owner;
    evener_status_code code = parse_name(p, from, scope, &service->name);
    if (code != EVENER_STATUS_OK || (service->full_name = full_name(p, scope, service->name, &code)) == NULL) {
        return code;
    }
    service->file = p->file;
    while (code == EVENER_STATUS_OK && evener_wire_next(&reader, &f) == EVENER_WIRE_FIELD) {
        if (f.number == 3) { /* options */
            code = take_options(p, service->full_name, &f, &service->options);
        }
    }
    if (code != EVENER_STATUS_OK || (code = take_comments(p, &service->comments)) != EVENER_STATUS_OK ||
        (code = add_symbol(p, service->full_name, EVENER_SYMBOL_SERVICE, service)) != EVENER_STATUS_OK) {
        return code;
    }
    return parse_list(p, from, 2, sizeof(evener_method), parse_method, service->full_name, service, &service->methods,
                      &service->method_count);
}

/* ---- files ---- */

static evener_status_code parse_import(parser *p, span from, const char *scope, void *owner, void *node)
{
    (void)scope;
    (void)owner;
    const evener_wire_field f = {.type = EVENER_WIRE_BYTES, .data = from.data, .length = from.length};
    const char *name;
    const evener_status_code code = take_text(p, "", &f, &name);
    if (code == EVENER_STATUS_OK) {
        memcpy(node, &name, sizeof name);
    }
    return code;
}

static evener_status_code read_file_facts(parser *p, span from)
{
    evener_file_type *file = p->file;
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_wire_result result;
    const char *syntax = "";
    evener_status_code code = EVENER_STATUS_OK;
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD && code == EVENER_STATUS_OK) {
        switch (f.number) {
        case 1: /* name */
            code = take_text(p, "", &f, &file->name);
            break;
        case 2: /* package */
            code = take_text(p, "", &f, &file->package);
            break;
        case 8: /* options */
            code = take_options(p, "", &f, &file->options);
            break;
        case 9: /* source_code_info */
            if (f.type != EVENER_WIRE_BYTES || !evener_source_info_read(&p->comments, f.data, f.length)) {
                code = malformed(p, "source info");
            }
            break;
        case 12: /* syntax */
            code = take_text(p, "", &f, &syntax);
            break;
        default:
            break;
        }
    }
    if (code != EVENER_STATUS_OK || result == EVENER_WIRE_MALFORMED) {
        return code != EVENER_STATUS_OK ? code : malformed(p, file->name);
    }
    if (file->name[0] == '\0') {
        return evener_status_set(p->status, EVENER_STATUS_INVALID_ARGUMENT, "a file descriptor has no name");
    }
    if (strcmp(syntax, "") != 0 && strcmp(syntax, "proto2") != 0 && strcmp(syntax, "proto3") != 0) {
        return evener_status_set(p->status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "%s: syntax \"%.32s\" is not supported, only proto2 and proto3", file->name, syntax);
    }
    file->proto3 = strcmp(syntax, "proto3") == 0;
    if (file->package[0] != '\0' &&
        (!is_name(file->package, true) || strlen(file->package) > EVENER_DESCRIPTORS_NAME_BYTES_MAX)) {
        return wrong(p, "package", "", "the name is not valid");
    }
    return EVENER_STATUS_OK;
}

evener_status_code evener_file_parse(evener_batch *batch, const uint8_t *data, size_t length, evener_file_type *file,
                                     evener_status *status)
{
    evener_status own;
    parser p = {.batch = batch, .file = file, .status = status != NULL ? status : &own};
    const span from = {data, length};
    struct import_node {
        const char *name;
    };
    struct import_node *const *imports = NULL;
    file->name = "";
    file->package = "";
    evener_status_code code = read_file_facts(&p, from);
    if (code == EVENER_STATUS_OK &&
        (code = parse_list(&p, from, 3, sizeof(struct import_node), parse_import, "", NULL, &imports,
                           &file->import_count)) == EVENER_STATUS_OK &&
        (code = parse_list(&p, from, 4, sizeof(evener_message_node), parse_message, file->package, NULL,
                           &file->messages, &file->message_count)) == EVENER_STATUS_OK &&
        (code = parse_list(&p, from, 5, sizeof(evener_enum_node), parse_enum, file->package, NULL, &file->enums,
                           &file->enum_count)) == EVENER_STATUS_OK) {
        code = parse_list(&p, from, 6, sizeof(evener_service_type), parse_service, file->package, NULL, &file->services,
                          &file->service_count);
    }
    if (imports != NULL) { /* nodes are adjacent: they are the list of names */
        file->imports = &imports[0]->name;
    }
    evener_source_info_clear(&p.comments);
    return code;
}
