/* JSON to bytes: a single value of a field, of any kind. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lb/protobuf/json_read.h"
#include "lb/protobuf/json_values.h"

#define WIRE_GROUP_END 4

bool evener_json_read_text(evener_json_input *in, const evener_json_path *path, const char *needed)
{
    evener_json_slice raw;
    if (evener_json_peek(&in->reader) != '"') {
        return evener_json_read_other(in, path, needed);
    }
    if (!evener_json_string(&in->reader, &raw)) {
        return evener_json_read_malformed(in);
    }
    in->text.length = 0;
    evener_json_unescape(raw, &in->text);
    evener_wire_put_byte(&in->text, 0); /* so that empty text has an address, too */
    if (in->text.failed) {
        evener_json_no_room(in->text.too_long, &in->options, in->status);
        return false;
    }
    in->text.length--;
    return true;
}

/* Read a number or a string that holds one. */
static bool read_number(evener_json_input *in, const evener_json_path *path, const char *needed,
                        evener_json_slice *number, bool *quoted)
{
    const char c = evener_json_peek(&in->reader);
    *quoted = c == '"';
    if (*quoted) {
        if (!evener_json_read_text(in, path, needed)) {
            return false;
        }
        *number = (evener_json_slice){(const char *)in->text.data, in->text.length};
        return true;
    }
    if (c != '-' && (c < '0' || c > '9')) {
        return evener_json_read_other(in, path, needed);
    }
    return evener_json_number(&in->reader, number) || evener_json_read_malformed(in);
}

/* Whether a magnitude is in the range of a kind of integer; store its 64-bit form. */
static bool fits(evener_field_kind kind, bool negative, uint64_t magnitude, uint64_t *value)
{
    uint64_t max;
    bool is_signed = true;
    switch (kind) {
    case EVENER_FIELD_INT64:
    case EVENER_FIELD_SINT64:
    case EVENER_FIELD_SFIXED64:
        max = INT64_MAX;
        break;
    case EVENER_FIELD_UINT64:
    case EVENER_FIELD_FIXED64:
        max = UINT64_MAX;
        is_signed = false;
        break;
    case EVENER_FIELD_UINT32:
    case EVENER_FIELD_FIXED32:
        max = UINT32_MAX;
        is_signed = false;
        break;
    default: /* also enums */
        max = INT32_MAX;
        break;
    }
    if (negative && magnitude > 0 && (!is_signed || magnitude - 1 > max)) {
        return false;
    }
    if (!negative && magnitude > max) {
        return false;
    }
    *value = negative ? 0 - magnitude : magnitude;
    return true;
}

static const char *needed_integer(evener_field_kind kind)
{
    switch (kind) {
    case EVENER_FIELD_INT64:
    case EVENER_FIELD_SINT64:
    case EVENER_FIELD_SFIXED64:
        return "an integer of 64 bits is needed";
    case EVENER_FIELD_UINT64:
    case EVENER_FIELD_FIXED64:
        return "an integer of 64 bits, not negative, is needed";
    case EVENER_FIELD_UINT32:
    case EVENER_FIELD_FIXED32:
        return "an integer of 32 bits, not negative, is needed";
    default:
        return "an integer of 32 bits is needed";
    }
}

static bool read_integer(evener_json_input *in, const evener_json_path *path, evener_field_kind kind, uint64_t *value)
{
    evener_json_slice number = {0};
    bool quoted, negative;
    uint64_t magnitude;
    const char *needed = needed_integer(kind);
    if (!read_number(in, path, needed, &number, &quoted)) {
        return false;
    }
    return (evener_integer_read(number.text, number.length, &negative, &magnitude) &&
            fits(kind, negative, magnitude, value)) ||
           evener_json_read_wrong(in, path, needed);
}

static bool read_real(evener_json_input *in, const evener_json_path *path, evener_field_kind kind, uint64_t *value)
{
    static const char needed[] = "a number is needed";
    evener_json_slice number = {0};
    bool quoted;
    double real;
    if (!read_number(in, path, needed, &number, &quoted)) {
        return false;
    }
    if (!evener_double_read(number.text, number.length, quoted, &real)) {
        return evener_json_read_wrong(in, path, quoted ? needed : "the number is too large");
    }
    if (kind == EVENER_FIELD_DOUBLE) {
        memcpy(value, &real, sizeof real);
        return true;
    }
    const float single = (float)real;
    uint32_t bits;
    if (isinf(single) && !isinf(real)) {
        return evener_json_read_wrong(in, path, "the number is too large");
    }
    memcpy(&bits, &single, sizeof bits);
    *value = bits;
    return true;
}

bool evener_json_is_null_value(const evener_field *field)
{
    return field->kind == EVENER_FIELD_ENUM && strcmp(field->enumeration->full_name, "google.protobuf.NullValue") == 0;
}

/* Read an enum by name or number. *known: false if the name is unknown and to be ignored. */
static bool read_enum(evener_json_input *in, const evener_json_path *path, const evener_field *field, uint64_t *value,
                      bool *known)
{
    const evener_enum_type *type = field->enumeration;
    const char c = evener_json_peek(&in->reader);
    *known = true;
    *value = 0;
    if (c == 'n' && evener_json_is_null_value(field)) {
        return evener_json_word(&in->reader, "null") || evener_json_read_malformed(in);
    }
    if (c == '"') {
        bool negative;
        uint64_t magnitude;
        if (!evener_json_read_text(in, path, "")) {
            return false;
        }
        const char *text = (const char *)in->text.data;
        const evener_enum_value *named =
            in->text.length > 0 ? evener_enum_type_value_by_name(type, text, in->text.length) : NULL;
        if (named != NULL) {
            *value = (uint64_t)(int64_t)named->number;
            return true;
        }
        if (in->text.length == 0 || !evener_integer_read(text, in->text.length, &negative, &magnitude) ||
            !fits(EVENER_FIELD_ENUM, negative, magnitude, value)) {
            *known = false;
        }
    } else if (!read_integer(in, path, EVENER_FIELD_ENUM, value)) {
        return in->reader.problem == NULL
                   ? evener_json_read_wrong(in, path, "a name or number of an enum value is needed")
                   : false;
    }
    if (*known && type->closed && evener_enum_type_value(type, (int32_t)(int64_t)*value) == NULL) {
        *known = false;
    }
    if (!*known && !in->options.ignore_unknown) {
        char problem[256];
        snprintf(problem, sizeof problem, "the enum %.128s has no such value", type->full_name);
        return evener_json_read_wrong(in, path, problem);
    }
    return true;
}

bool evener_json_read_simple(evener_json_input *in, const evener_json_path *path, const evener_field *field,
                             uint64_t *value, bool *known)
{
    *known = true;
    *value = 0;
    switch (field->kind) {
    case EVENER_FIELD_DOUBLE:
    case EVENER_FIELD_FLOAT:
        return read_real(in, path, field->kind, value);
    case EVENER_FIELD_ENUM:
        return read_enum(in, path, field, value, known);
    case EVENER_FIELD_BOOL: {
        const char c = evener_json_peek(&in->reader);
        *value = c == 't';
        if (c != 't' && c != 'f') {
            return evener_json_read_other(in, path, "true or false is needed");
        }
        return evener_json_word(&in->reader, c == 't' ? "true" : "false") || evener_json_read_malformed(in);
    }
    default:
        return read_integer(in, path, field->kind, value);
    }
}

void evener_json_put_simple(evener_json_input *in, evener_field_kind kind, uint64_t value)
{
    switch (evener_field_wire_type(kind)) {
    case EVENER_WIRE_FIXED64:
        evener_wire_put_fixed(&in->out, value, 8);
        break;
    case EVENER_WIRE_FIXED32:
        evener_wire_put_fixed(&in->out, value, 4);
        break;
    default:
        evener_wire_put_varint(&in->out, kind == EVENER_FIELD_SINT32 || kind == EVENER_FIELD_SINT64
                                             ? evener_wire_zigzag((int64_t)value)
                                             : value);
        break;
    }
}

/* Read a string or bytes, and append the tag and the value. */
static bool read_bytes(evener_json_input *in, const evener_json_path *path, const evener_field *field,
                       evener_json_mode mode)
{
    const bool text = field->kind == EVENER_FIELD_STRING;
    if (!evener_json_read_text(in, path, text ? "a string is needed" : "a string in base64 is needed") ||
        (in->text.length == 0 && mode == EVENER_JSON_IMPLICIT)) {
        return in->status->code == EVENER_STATUS_OK;
    }
    if (text) {
        evener_wire_put_bytes(&in->out, field->number, in->text.data, in->text.length);
        return true;
    }
    evener_wire_put_tag(&in->out, field->number, EVENER_WIRE_BYTES);
    const size_t start = in->out.length;
    if (!evener_base64_read((const char *)in->text.data, in->text.length, &in->out)) {
        return evener_json_read_wrong(in, path, "a string in base64 is needed");
    }
    evener_wire_close(&in->out, start);
    return true;
}

bool evener_json_read_single(evener_json_input *in, const evener_json_path *path, const evener_field *field,
                             evener_json_mode mode)
{
    if (field->kind == EVENER_FIELD_STRING || field->kind == EVENER_FIELD_BYTES) {
        return read_bytes(in, path, field, mode);
    }
    if (field->kind == EVENER_FIELD_MESSAGE || field->kind == EVENER_FIELD_GROUP) {
        evener_wire_put_tag(&in->out, field->number, evener_field_wire_type(field->kind));
        const size_t start = in->out.length;
        if (!evener_json_read_message(in, path, field->message)) {
            return false;
        }
        if (field->kind == EVENER_FIELD_MESSAGE) {
            evener_wire_close(&in->out, start);
        } else {
            evener_wire_put_tag(&in->out, field->number, WIRE_GROUP_END);
        }
        return true;
    }
    uint64_t value;
    bool known;
    if (!evener_json_read_simple(in, path, field, &value, &known)) {
        return false;
    }
    if (known && (value != 0 || mode == EVENER_JSON_TAGGED)) {
        evener_wire_put_tag(&in->out, field->number, evener_field_wire_type(field->kind));
        evener_json_put_simple(in, field->kind, value);
    }
    return true;
}

bool evener_json_put_key(evener_json_input *in, const evener_json_path *path, const evener_field *key)
{
    const char *text = (const char *)in->text.data;
    const size_t length = in->text.length;
    bool negative;
    uint64_t value;
    if (key->kind == EVENER_FIELD_STRING) {
        evener_wire_put_bytes(&in->out, 1, text, length);
        return true;
    }
    if (key->kind == EVENER_FIELD_BOOL) {
        value = length == 4 && memcmp(text, "true", 4) == 0;
        if (value == 0 && !(length == 5 && memcmp(text, "false", 5) == 0)) {
            return evener_json_read_wrong(in, path, "the key \"true\" or \"false\" is needed");
        }
    } else if (length == 0 || !evener_integer_read(text, length, &negative, &value) ||
               !fits(key->kind, negative, value, &value)) {
        return evener_json_read_wrong(in, path, needed_integer(key->kind));
    }
    evener_wire_put_tag(&in->out, 1, evener_field_wire_type(key->kind));
    evener_json_put_simple(in, key->kind, value);
    return true;
}
