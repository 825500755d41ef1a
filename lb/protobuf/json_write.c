/* Bytes to JSON: messages and fields. The fields of a message may come in any order, several times and in pieces, so
 * they are collected first, and sorted by their numbers. */
#include "lb/protobuf/json_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/c_locale.h"
#include "lb/protobuf/json_values.h"

typedef evener_json_occurrence occurrence;

/* ---- errors, depth ---- */

bool evener_json_write_malformed(evener_json_output *out, const evener_json_path *path)
{
    return evener_json_wrong(path, EVENER_STATUS_INVALID_ARGUMENT, "the bytes are not a message of this type",
                             out->status);
}

bool evener_json_write_enter(evener_json_output *out, const evener_json_path *path)
{
    if (++out->depth > out->options.depth_max) {
        char problem[64];
        snprintf(problem, sizeof problem, "more than %u levels", out->options.depth_max);
        return evener_json_wrong(path, EVENER_STATUS_RESOURCE_EXHAUSTED, problem, out->status);
    }
    return true;
}

/* ---- collecting ---- */

bool evener_json_is_unknown_value(const evener_field *field, uint64_t value)
{
    return field->kind == EVENER_FIELD_ENUM && field->enumeration->closed &&
           evener_enum_type_value(field->enumeration, (int32_t)(int64_t)value) == NULL;
}

/* Whether a field on the wire is a value of `field`; else it counts as unknown. */
static bool belongs(const evener_field *field, const evener_wire_field *wire)
{
    const evener_wire_type type = evener_field_wire_type(field->kind);
    if (wire->type == type) {
        return type != EVENER_WIRE_VARINT || !evener_json_is_unknown_value(field, wire->value);
    }
    return field->repeated && wire->type == EVENER_WIRE_BYTES && type != EVENER_WIRE_GROUP; /* packed */
}

static bool push(evener_json_output *out, const occurrence *item)
{
    if (out->item_count == out->item_room) {
        const size_t room = out->item_room == 0 ? 64 : 2 * out->item_room;
        occurrence *grown = realloc(out->items, room * sizeof *grown);
        if (grown == NULL) {
            evener_json_no_room(false, &out->options, out->status);
            return false;
        }
        out->items = grown;
        out->item_room = room;
    }
    out->items[out->item_count++] = *item;
    return true;
}

/* Of each oneof, keep only the last run of one field: setting another field clears what was set before. */
static bool drop_cleared(evener_json_output *out, const evener_message_type *type, size_t base)
{
    struct {
        const evener_field *field;
        bool closed;
    } few[16] = {0}, *state = few;
    if (type->oneof_count > 16 && (state = calloc(type->oneof_count, sizeof *state)) == NULL) {
        evener_json_no_room(false, &out->options, out->status);
        return false;
    }
    for (size_t i = out->item_count; type->oneof_count > 0 && i-- > base;) {
        occurrence *item = &out->items[i];
        if (item->field->oneof == NULL) {
            continue;
        }
        const size_t oneof = item->field->oneof->index;
        if (state[oneof].field == NULL) {
            state[oneof].field = item->field;
        } else if (state[oneof].closed || state[oneof].field != item->field) {
            state[oneof].closed = true;
            item->field = NULL;
        }
    }
    if (state != few) {
        free(state);
    }
    size_t kept = base;
    for (size_t i = base; i < out->item_count; i++) {
        if (out->items[i].field != NULL) {
            out->items[kept++] = out->items[i];
        }
    }
    out->item_count = kept;
    return true;
}

static int compare_occurrences(const void *left, const void *right)
{
    const occurrence *l = left, *r = right;
    if (l->field->number != r->field->number) {
        return l->field->number < r->field->number ? -1 : 1;
    }
    return (l->wire.start > r->wire.start) - (l->wire.start < r->wire.start);
}

/* Push the known fields of a message, by number, then as they stand in it. `only`: just this field; NULL: all. */
static bool collect(evener_json_output *out, const evener_json_path *path, const evener_message_type *type,
                    const evener_field *only, evener_json_span from)
{
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_result result;
    const size_t base = out->item_count;
    occurrence item;
    while ((result = evener_wire_next(&reader, &item.wire)) == EVENER_WIRE_FIELD) {
        item.field = evener_message_type_field(type, item.wire.number);
        if (item.field != NULL && belongs(item.field, &item.wire) && !push(out, &item)) {
            return false;
        }
    }
    if (result == EVENER_WIRE_MALFORMED) {
        return evener_json_write_malformed(out, path);
    }
    if (!drop_cleared(out, type, base)) {
        return false;
    }
    size_t kept = base;
    for (size_t i = base; only != NULL && i < out->item_count; i++) {
        if (out->items[i].field == only) {
            out->items[kept++] = out->items[i];
        }
    }
    out->item_count = only != NULL ? kept : out->item_count;
    if (out->item_count > base) {
        qsort(out->items + base, out->item_count - base, sizeof out->items[0], compare_occurrences);
    }
    return true;
}

/* ---- scalars ---- */

static void put_number(evener_json_output *out, const char *format, long long value)
{
    char text[EVENER_NUMBER_BYTES];
    snprintf(text, sizeof text, format, value);
    evener_json_plain(&out->writer, text);
}

static void put_enum(evener_json_output *out, const evener_enum_type *type, int32_t number)
{
    const evener_enum_value *value = evener_enum_type_value(type, number);
    if (strcmp(type->full_name, "google.protobuf.NullValue") == 0) {
        evener_json_plain(&out->writer, "null");
    } else if (value != NULL && !out->options.enums_as_numbers) {
        evener_json_put_string(&out->writer, value->name, strlen(value->name));
    } else {
        put_number(out, "%lld", number);
    }
}

int64_t evener_json_integer_of(evener_field_kind kind, uint64_t value)
{
    switch (kind) {
    case EVENER_FIELD_INT32:
    case EVENER_FIELD_SFIXED32:
    case EVENER_FIELD_ENUM:
        return (int32_t)(uint32_t)value;
    case EVENER_FIELD_UINT32:
    case EVENER_FIELD_FIXED32:
        return (uint32_t)value;
    case EVENER_FIELD_SINT32:
        return (int32_t)evener_wire_unzigzag((uint32_t)value);
    case EVENER_FIELD_SINT64:
        return evener_wire_unzigzag(value);
    case EVENER_FIELD_BOOL:
        return value != 0;
    default:
        return (int64_t)value;
    }
}

bool evener_json_write_scalar(evener_json_output *out, const evener_json_path *path, const evener_field *field,
                              uint64_t value, evener_json_span bytes)
{
    char text[EVENER_NUMBER_BYTES];
    switch (field->kind) {
    case EVENER_FIELD_DOUBLE: {
        double real;
        memcpy(&real, &value, sizeof real);
        evener_double_write(real, text);
        evener_json_plain(&out->writer, text);
        return true;
    }
    case EVENER_FIELD_FLOAT: {
        const uint32_t bits = (uint32_t)value;
        float real;
        memcpy(&real, &bits, sizeof real);
        evener_float_write(real, text);
        evener_json_plain(&out->writer, text);
        return true;
    }
    case EVENER_FIELD_BOOL:
        evener_json_plain(&out->writer, value != 0 ? "true" : "false");
        return true;
    case EVENER_FIELD_ENUM:
        put_enum(out, field->enumeration, (int32_t)(uint32_t)value);
        return true;
    case EVENER_FIELD_STRING:
        if (!evener_utf8_is_valid(bytes.data, bytes.length)) {
            return evener_json_wrong(path, EVENER_STATUS_INVALID_ARGUMENT, "the string is not UTF-8", out->status);
        }
        evener_json_put_string(&out->writer, bytes.data, bytes.length);
        return true;
    case EVENER_FIELD_BYTES:
        evener_json_put_base64(&out->writer, bytes.data, bytes.length);
        return true;
    case EVENER_FIELD_UINT64:
    case EVENER_FIELD_FIXED64:
        put_number(out, "\"%llu\"", (long long)value);
        return true;
    case EVENER_FIELD_INT64:
    case EVENER_FIELD_SINT64:
    case EVENER_FIELD_SFIXED64:
        put_number(out, "\"%lld\"", evener_json_integer_of(field->kind, value));
        return true;
    default:
        put_number(out, "%lld", evener_json_integer_of(field->kind, value));
        return true;
    }
}

/* ---- fields ---- */

static bool is_message(const evener_field *field)
{
    return field->kind == EVENER_FIELD_MESSAGE || field->kind == EVENER_FIELD_GROUP;
}

bool evener_json_write_element(evener_json_output *out, const evener_json_path *path, const evener_field *field,
                               const evener_wire_field *wire)
{
    const evener_json_span content = {wire->data, wire->length};
    return is_message(field) ? evener_json_write_message(out, path, field->message, content)
                             : evener_json_write_scalar(out, path, field, wire->value, content);
}

/* Write a message that came in pieces, which merge when they are appended to each other. */
static bool write_pieces(evener_json_output *out, const evener_json_path *path, size_t first, size_t count,
                         const evener_field *field)
{
    evener_wire_buffer joined = {0};
    for (size_t i = first; i < first + count; i++) {
        evener_wire_put(&joined, out->items[i].wire.data, out->items[i].wire.length);
    }
    bool ok = !joined.failed;
    if (ok) {
        ok = evener_json_write_message(out, path, field->message, (evener_json_span){joined.data, joined.length});
    } else {
        evener_json_no_room(false, &out->options, out->status);
    }
    evener_wire_clear(&joined);
    return ok;
}

/* Write the value of a field out of its `count` items from `first` on. */
static bool write_value(evener_json_output *out, const evener_json_path *path, const evener_field *field, size_t first,
                        size_t count)
{
    if (field->repeated) {
        return field->message != NULL && field->message->map_entry
                   ? evener_json_write_map(out, path, first, count, field)
                   : evener_json_write_list(out, path, first, count, field);
    }
    if (count == 0 && is_message(field)) {
        evener_json_plain(&out->writer, "null");
        return true;
    }
    if (count == 0) {
        return evener_json_write_default(out, path, field);
    }
    if (is_message(field) && count > 1) {
        return write_pieces(out, path, first, count, field);
    }
    const evener_wire_field wire = out->items[first + count - 1].wire;
    return evener_json_write_element(out, path, field, &wire);
}

/* Whether the last of the items is the default of a field without presence, or a list has no elements. */
static bool is_default(const evener_json_output *out, const evener_field *field, size_t first, size_t count)
{
    if (field->repeated) {
        for (size_t i = first; i < first + count; i++) {
            if (evener_json_has_element(field, &out->items[i].wire)) {
                return false;
            }
        }
        return true;
    }
    if (field->has_presence) {
        return false;
    }
    const evener_wire_field *wire = &out->items[first + count - 1].wire;
    const bool narrow = field->kind == EVENER_FIELD_INT32 || field->kind == EVENER_FIELD_UINT32 ||
                        field->kind == EVENER_FIELD_SINT32 || field->kind == EVENER_FIELD_ENUM;
    return wire->length == 0 && (narrow ? (uint32_t)wire->value == 0 : wire->value == 0);
}

static bool write_member(evener_json_output *out, const evener_json_path *path, const evener_field *field, size_t first,
                         size_t count)
{
    const char *name = out->options.original_names ? field->name : field->json_name;
    const evener_json_path member = {path, name, strlen(name)};
    if ((count == 0 || is_default(out, field, first, count)) &&
        !(out->options.emit_defaults && (field->repeated || !field->has_presence))) {
        return true;
    }
    evener_json_member(&out->writer, name, member.length);
    const bool ok = write_value(out, &member, field, first, count);
    out->writer.separate = true;
    return ok;
}

bool evener_json_write_members(evener_json_output *out, const evener_json_path *path, const evener_message_type *type,
                               evener_json_span from)
{
    const evener_message_node *node = evener_message_node_of(type);
    const size_t base = out->item_count;
    if (!collect(out, path, type, NULL, from)) {
        return false;
    }
    const size_t end = out->item_count;
    size_t next_default = 0; /* in node->by_number */
    for (size_t i = base; i < end || (out->options.emit_defaults && next_default < type->field_count);) {
        const evener_field *field = i < end ? out->items[i].field : NULL;
        if (out->options.emit_defaults && (field == NULL || node->by_number[next_default] != field)) {
            if (!write_member(out, path, node->by_number[next_default++], i, 0)) {
                return false;
            }
            continue;
        }
        size_t count = 1;
        while (i + count < end && out->items[i + count].field == field) {
            count++;
        }
        if (!write_member(out, path, field, i, count)) {
            return false;
        }
        i += count;
        next_default++;
    }
    out->item_count = base;
    return true;
}

bool evener_json_write_map_field(evener_json_output *out, const evener_json_path *path, const evener_field *field,
                                 evener_json_span from)
{
    const size_t base = out->item_count;
    const bool ok =
        collect(out, path, field->parent, field, from) && write_value(out, path, field, base, out->item_count - base);
    out->item_count = base;
    return ok;
}

bool evener_json_write_message(evener_json_output *out, const evener_json_path *path, const evener_message_type *type,
                               evener_json_span from)
{
    const evener_known_type known = evener_message_node_of(type)->known;
    bool ok = evener_json_write_enter(out, path);
    if (ok && known != EVENER_KNOWN_NONE && known != EVENER_KNOWN_EMPTY) {
        ok = evener_json_write_known(out, path, type, known, from);
    } else if (ok) {
        evener_json_open(&out->writer, '{');
        ok = evener_json_write_members(out, path, type, from);
        evener_json_close(&out->writer, '}');
    }
    out->depth--;
    return ok;
}

/* ---- the public functions ---- */

static evener_status_code convert(const evener_message_type *type, const evener_field *field,
                                  const evener_bytes *message, const evener_json_options *given, char **json,
                                  size_t *length, evener_status *status)
{
    static const uint8_t nothing;
    evener_status own;
    evener_json_output out = {.status = status != NULL ? status : &own};
    const evener_json_span from = {message->length > 0 ? message->data : &nothing, message->length};
    evener_status_code code = evener_json_options_read(given, &out.options, out.status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_status_clear(out.status);
    evener_wire_buffer *text = &out.writer.text;
    out.writer.indent = out.options.indent;
    text->bytes_max = out.options.bytes_max;
    bool ok;
    if (field == NULL) {
        ok = evener_json_write_message(&out, NULL, type, from);
    } else {
        const evener_json_path path = {NULL, field->json_name, strlen(field->json_name)};
        ok = collect(&out, NULL, field->parent, field, from) && write_value(&out, &path, field, 0, out.item_count);
    }
    const size_t written = text->length;
    text->bytes_max = 0;
    evener_wire_put_byte(text, '\0');
    if (ok && text->failed) {
        evener_json_no_room(text->too_long, &out.options, out.status);
    } else if (ok) {
        *json = (char *)text->data;
        *text = (evener_wire_buffer){0};
        if (length != NULL) {
            *length = written;
        }
    }
    code = out.status->code;
    evener_wire_clear(text);
    free(out.items);
    return code;
}

evener_status_code evener_json_from_bytes(const evener_message_type *type, const evener_bytes *message,
                                          const evener_json_options *options, char **json, size_t *length,
                                          evener_status *status)
{
    return convert(type, NULL, message, options, json, length, status);
}

evener_status_code evener_json_field_from_bytes(const evener_field *field, const evener_bytes *message,
                                                const evener_json_options *options, char **json, size_t *length,
                                                evener_status *status)
{
    return convert(field->parent, field, message, options, json, length, status);
}
