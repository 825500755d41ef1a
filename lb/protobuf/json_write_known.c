/* Bytes to JSON: the messages of google/protobuf/ with forms of their own. Their fields' numbers are given here; that a
 * type has these fields was checked when it was added to its pool (message_type.c). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/protobuf/json_values.h"
#include "lb/protobuf/json_write.h"

static bool wrong(evener_json_output *out, const evener_json_path *path, const char *problem)
{
    return evener_json_wrong(path, EVENER_STATUS_INVALID_ARGUMENT, problem, out->status);
}

/* Find the last value of field `number` with that wire type. *found: all zero if there is none. */
static bool find(evener_json_output *out, const evener_json_path *path, evener_json_span from, uint32_t number,
                 evener_wire_type type, evener_wire_field *found)
{
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_wire_result result;
    *found = (evener_wire_field){0};
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        if (f.number == number && f.type == type) {
            *found = f;
        }
    }
    return result == EVENER_WIRE_END || evener_json_write_malformed(out, path);
}

static bool write_time(evener_json_output *out, const evener_json_path *path, evener_json_span from, bool timestamp)
{
    evener_wire_field seconds, nanos;
    char text[EVENER_TIME_BYTES];
    if (!find(out, path, from, 1, EVENER_WIRE_VARINT, &seconds) ||
        !find(out, path, from, 2, EVENER_WIRE_VARINT, &nanos)) {
        return false;
    }
    const int64_t s = (int64_t)seconds.value;
    const int32_t n = (int32_t)(uint32_t)nanos.value;
    if (!(timestamp ? evener_timestamp_write(s, n, text) : evener_duration_write(s, n, text))) {
        return wrong(out, path, timestamp ? "the time is out of range" : "the duration is out of range");
    }
    evener_json_put_string(&out->writer, text, strlen(text));
    return true;
}

static bool write_mask(evener_json_output *out, const evener_json_path *path, evener_json_span from)
{
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_wire_result result;
    evener_wire_buffer joined = {0};
    const char *problem = NULL;
    bool first = true;
    while (problem == NULL && (result = evener_wire_next(&reader, &f)) != EVENER_WIRE_END) {
        if (result == EVENER_WIRE_MALFORMED) {
            problem = "the bytes are not a message of this type";
        } else if (f.number == 1 && f.type == EVENER_WIRE_BYTES) {
            if (!first) {
                evener_wire_put_byte(&joined, ',');
            }
            first = false;
            if (!evener_utf8_is_valid(f.data, f.length) ||
                !evener_mask_path_write((const char *)f.data, f.length, &joined)) {
                problem = "a path of the mask has no form in lowerCamelCase";
            }
        }
    }
    if (problem == NULL) {
        evener_json_put_string(&out->writer, joined.data, joined.length);
        out->writer.text.failed = out->writer.text.failed || joined.failed;
    }
    evener_wire_clear(&joined);
    return problem == NULL || wrong(out, path, problem);
}

/* ---- Value and ListValue. Struct is written as the map that it consists of. ---- */

/* Find the field of Value's oneof that was set last. */
static bool find_kind(evener_json_output *out, const evener_json_path *path, const evener_message_type *type,
                      evener_json_span from, evener_wire_field *found)
{
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_wire_result result;
    *found = (evener_wire_field){0};
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        static const evener_wire_type types[] = {EVENER_WIRE_VARINT, EVENER_WIRE_FIXED64, EVENER_WIRE_BYTES,
                                                 EVENER_WIRE_VARINT, EVENER_WIRE_BYTES,   EVENER_WIRE_BYTES};
        if (f.number <= type->field_count && f.type == types[f.number - 1]) {
            *found = f;
        }
    }
    return result == EVENER_WIRE_END || evener_json_write_malformed(out, path);
}

static bool write_value(evener_json_output *out, const evener_json_path *path, const evener_message_type *type,
                        evener_json_span from)
{
    evener_wire_field f;
    if (!find_kind(out, path, type, from, &f)) {
        return false;
    }
    const evener_field *field = f.number != 0 ? evener_message_type_field(type, f.number) : NULL;
    if (field == NULL || f.number == 1) { /* null_value */
        evener_json_plain(&out->writer, "null");
        return true;
    }
    if (field->kind == EVENER_FIELD_DOUBLE) {
        double value;
        memcpy(&value, &f.value, sizeof value);
        if (!isfinite(value)) {
            return wrong(out, path, "a Value has no form of NaN and Infinity");
        }
    }
    const evener_json_span content = {f.data, f.length};
    return field->message != NULL ? evener_json_write_message(out, path, field->message, content)
                                  : evener_json_write_scalar(out, path, field, f.value, content);
}

static bool write_list_value(evener_json_output *out, const evener_json_path *path, const evener_field *values,
                             evener_json_span from)
{
    evener_wire_reader reader = evener_wire_read(from.data, from.length);
    evener_wire_field f;
    evener_wire_result result;
    evener_json_path element = {.up = path};
    evener_json_open(&out->writer, '[');
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        if (f.number != 1 || f.type != EVENER_WIRE_BYTES) {
            continue;
        }
        evener_json_element(&out->writer);
        if (!evener_json_write_message(out, &element, values->message, (evener_json_span){f.data, f.length})) {
            return false;
        }
        out->writer.separate = true;
        element.length++;
    }
    evener_json_close(&out->writer, ']');
    return result == EVENER_WIRE_END || evener_json_write_malformed(out, path);
}

/* ---- Any ---- */

static bool write_any(evener_json_output *out, const evener_json_path *path, const evener_message_type *any,
                      evener_json_span from)
{
    evener_wire_field url, value;
    static const uint8_t nothing;
    if (!find(out, path, from, 1, EVENER_WIRE_BYTES, &url) || !find(out, path, from, 2, EVENER_WIRE_BYTES, &value)) {
        return false;
    }
    evener_json_open(&out->writer, '{');
    if (url.length == 0 && value.length == 0) {
        evener_json_close(&out->writer, '}');
        return true;
    }
    if (!evener_utf8_is_valid(url.data, url.length) || (url.length > 0 && memchr(url.data, '\0', url.length) != NULL)) {
        return wrong(out, path, "the type's URL is not UTF-8, or contains NUL");
    }
    char name[EVENER_DESCRIPTORS_NAME_BYTES_MAX + 1] = "";
    const uint8_t *slash = url.length > 0 ? memrchr(url.data, '/', url.length) : NULL;
    const size_t length = slash != NULL ? (size_t)(url.data + url.length - slash) - 1 : 0;
    if (length > 0 && length < sizeof name) {
        memcpy(name, slash + 1, length);
    }
    const evener_message_type *type = evener_descriptors_message(evener_message_node_of(any)->descriptors, name);
    if (type == NULL && !out->options.opaque_any) {
        char problem[256];
        snprintf(problem, sizeof problem, "the type \"%.160s\" is unknown", name);
        return wrong(out, path, problem);
    }
    evener_json_member(&out->writer, "@type", 5);
    evener_json_put_string(&out->writer, url.data, url.length);
    out->writer.separate = true;
    const evener_json_span content = {value.length > 0 ? value.data : &nothing, value.length};
    const evener_known_type known = type != NULL ? evener_message_node_of(type)->known : EVENER_KNOWN_NONE;
    bool ok = true;
    if (type == NULL) {
        evener_json_member(&out->writer, "@value", 6);
        evener_json_put_base64(&out->writer, content.data, content.length);
    } else if (known == EVENER_KNOWN_NONE || known == EVENER_KNOWN_EMPTY) {
        ok = evener_json_write_members(out, path, type, content);
    } else {
        const evener_json_path member = {path, "value", 5};
        evener_json_member(&out->writer, "value", 5);
        ok = evener_json_write_message(out, &member, type, content);
    }
    out->writer.separate = true;
    evener_json_close(&out->writer, '}');
    return ok;
}

/* ---- Struct, wrappers ---- */

/* Write the value of the only field of `type` in its place. */
static bool write_only_field(evener_json_output *out, const evener_json_path *path, const evener_message_type *type,
                             evener_json_span from)
{
    const evener_field *field = type->fields[0];
    const evener_wire_type wire_type = field->kind == EVENER_FIELD_DOUBLE  ? EVENER_WIRE_FIXED64
                                       : field->kind == EVENER_FIELD_FLOAT ? EVENER_WIRE_FIXED32
                                       : field->kind == EVENER_FIELD_STRING || field->kind == EVENER_FIELD_BYTES
                                           ? EVENER_WIRE_BYTES
                                           : EVENER_WIRE_VARINT;
    evener_wire_field f;
    return find(out, path, from, 1, wire_type, &f) &&
           evener_json_write_scalar(out, path, field, f.value, (evener_json_span){f.data, f.length});
}

bool evener_json_write_known(evener_json_output *out, const evener_json_path *path, const evener_message_type *type,
                             evener_known_type known, evener_json_span from)
{
    switch (known) {
    case EVENER_KNOWN_ANY:
        return write_any(out, path, type, from);
    case EVENER_KNOWN_TIMESTAMP:
    case EVENER_KNOWN_DURATION:
        return write_time(out, path, from, known == EVENER_KNOWN_TIMESTAMP);
    case EVENER_KNOWN_FIELD_MASK:
        return write_mask(out, path, from);
    case EVENER_KNOWN_STRUCT:
        return evener_json_write_map_field(out, path, type->fields[0], from);
    case EVENER_KNOWN_LIST_VALUE:
        return write_list_value(out, path, type->fields[0], from);
    case EVENER_KNOWN_VALUE:
        return write_value(out, path, type, from);
    case EVENER_KNOWN_WRAPPER:
        return write_only_field(out, path, type, from);
    default:
        return evener_json_write_malformed(out, path);
    }
}
