#include "tests/protobuf/random_message.h"

#include <stdio.h>
#include <string.h>

#include "lb/protobuf/pool.h"

/* Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (SplitMix64). */
static uint64_t next(random_source *source)
{
    uint64_t z = (source->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t below(random_source *source, uint64_t bound)
{
    return next(source) % bound;
}

/* Small and large numbers, and the edges between them. */
static uint64_t number(random_source *source)
{
    const uint64_t shift = below(source, 64);
    return below(source, 4) == 0 ? (uint64_t)0 - (next(source) >> shift) : next(source) >> shift;
}

static uint64_t double_bits(random_source *source, bool finite)
{
    static const uint64_t special[] = {
        0x7ff8000000000000u, 0x7ff0000000000000u, 0xfff0000000000000u, 0x8000000000000000u, 1, 0x7fefffffffffffffu};
    uint64_t bits = below(source, 4) == 0 ? special[below(source, 6)] : next(source);
    if ((bits >> 52 & 0x7ff) == 0x7ff && (finite || (bits & 0xfffffffffffffu) != 0)) {
        bits = finite ? 0x3ff8000000000000u : special[0];
    }
    return bits;
}

static uint32_t float_bits(random_source *source)
{
    static const uint32_t special[] = {0x7fc00000u, 0x7f800000u, 0xff800000u, 0x80000000u, 1, 0x7f7fffffu};
    uint32_t bits = below(source, 4) == 0 ? special[below(source, 6)] : (uint32_t)next(source);
    if ((bits >> 23 & 0xff) == 0xff && (bits & 0x7fffffu) != 0) {
        bits = special[0];
    }
    return bits;
}

/* Write UTF-8 text of up to 11 characters, with what JSON escapes, and return its length. */
static size_t text(random_source *source, char to[64])
{
    static const char *const pieces[] = {
        "a", "Z", "\"", "\\", "\n", "\x01", "\x7f", "/", "\xc3\xa9", "\xe2\x80\xa8", "\xf0\x9f\x98\x80", " "};
    size_t length = 0;
    for (uint64_t i = below(source, 12); i > 0; i--) {
        const char *piece = pieces[below(source, 12)];
        memcpy(to + length, piece, strlen(piece));
        length += strlen(piece);
    }
    return length;
}

static void put_varint(evener_wire_buffer *to, uint32_t field, uint64_t value)
{
    evener_wire_put_tag(to, field, EVENER_WIRE_VARINT);
    evener_wire_put_varint(to, value);
}

/* Return the value of a number as it stands in a varint. */
static uint64_t varint(random_source *source, const evener_field *field)
{
    const uint64_t value = number(source);
    switch (field->kind) {
    case EVENER_FIELD_BOOL:
        return value & 1;
    case EVENER_FIELD_INT32:
        return (uint64_t)(int64_t)(int32_t)(uint32_t)value;
    case EVENER_FIELD_UINT32:
        return (uint32_t)value;
    case EVENER_FIELD_SINT32:
        return (uint32_t)value;
    case EVENER_FIELD_ENUM: {
        const evener_enum_type *type = field->enumeration;
        if (!type->closed && type->value_count > 1 && below(source, 4) == 0) {
            return (uint64_t)(int64_t)(int32_t)(uint32_t)value; /* mostly a number without a name */
        }
        return (uint64_t)(int64_t)type->values[below(source, type->value_count)]->number;
    }
    default:
        return value;
    }
}

/* Append a number without its tag; return whether it is 0. */
static bool put_number(random_source *source, const evener_field *field, evener_wire_buffer *to, unsigned *wire_type)
{
    uint64_t value;
    switch (field->kind) {
    case EVENER_FIELD_DOUBLE:
    case EVENER_FIELD_FIXED64:
    case EVENER_FIELD_SFIXED64:
        value = field->kind == EVENER_FIELD_DOUBLE ? double_bits(source, false) : number(source);
        *wire_type = EVENER_WIRE_FIXED64;
        evener_wire_put_fixed(to, value, 8);
        break;
    case EVENER_FIELD_FLOAT:
    case EVENER_FIELD_FIXED32:
    case EVENER_FIELD_SFIXED32:
        value = field->kind == EVENER_FIELD_FLOAT ? float_bits(source) : (uint32_t)number(source);
        *wire_type = EVENER_WIRE_FIXED32;
        evener_wire_put_fixed(to, value, 4);
        break;
    default:
        value = varint(source, field);
        *wire_type = EVENER_WIRE_VARINT;
        evener_wire_put_varint(to, value);
        break;
    }
    return value == 0;
}

static bool is_number(const evener_field *field)
{
    return field->message == NULL && field->kind != EVENER_FIELD_STRING && field->kind != EVENER_FIELD_BYTES;
}

/* Append one value with its tag. `implicit`: leave out the default. */
static void put_value(random_source *source, const evener_field *field, unsigned depth, bool implicit,
                      evener_wire_buffer *to)
{
    const size_t before = to->length;
    char string[64];
    if (field->kind == EVENER_FIELD_GROUP) {
        evener_wire_put_tag(to, field->number, EVENER_WIRE_GROUP);
        random_message(source, field->message, depth, to);
        evener_wire_put_tag(to, field->number, 4);
    } else if (field->message != NULL) {
        evener_wire_put_tag(to, field->number, EVENER_WIRE_BYTES);
        const size_t start = to->length;
        random_message(source, field->message, depth, to);
        evener_wire_close(to, start);
    } else if (is_number(field)) {
        evener_wire_buffer value = {0};
        unsigned wire_type;
        const bool zero = put_number(source, field, &value, &wire_type);
        evener_wire_put_tag(to, field->number, wire_type);
        evener_wire_put(to, value.data, value.length);
        evener_wire_clear(&value);
        if (zero && implicit) {
            to->length = before;
        }
    } else {
        size_t length = text(source, string);
        for (size_t i = 0; field->kind == EVENER_FIELD_BYTES && i < length; i++) {
            string[i] = (char)next(source);
        }
        if (length > 0 || !implicit) {
            evener_wire_put_bytes(to, field->number, string, length);
        }
    }
}

static void put_packed(random_source *source, const evener_field *field, evener_wire_buffer *to)
{
    const size_t before = to->length;
    evener_wire_put_tag(to, field->number, EVENER_WIRE_BYTES);
    const size_t start = to->length;
    unsigned ignored;
    for (uint64_t i = below(source, 5); i > 0; i--) {
        put_number(source, field, to, &ignored);
    }
    if (to->length == start) {
        to->length = before;
    } else {
        evener_wire_close(to, start);
    }
}

/* Append up to three entries of a map, their keys in order. */
static void put_map(random_source *source, const evener_field *field, unsigned depth, evener_wire_buffer *to)
{
    const evener_field *key = field->message->fields[0];
    const uint64_t count = below(source, key->kind == EVENER_FIELD_BOOL ? 3 : 4);
    for (uint64_t i = 0; i < count; i++) {
        char name[32];
        evener_wire_put_tag(to, field->number, EVENER_WIRE_BYTES);
        const size_t start = to->length;
        if (key->kind == EVENER_FIELD_STRING) {
            evener_wire_put_bytes(to, 1, name, (size_t)snprintf(name, sizeof name, "%s%d\"", i > 0 ? "k" : "", (int)i));
        } else {
            put_varint(to, 1, i);
        }
        put_value(source, field->message->fields[1], depth, false, to);
        evener_wire_close(to, start);
    }
}

static void put_time(random_source *source, bool timestamp, evener_wire_buffer *to)
{
    static const uint32_t nanos[] = {0, 0, 500000000, 1000000, 123456000, 999999999, 1};
    const int64_t seconds = timestamp ? (int64_t)below(source, 315537897600u) - INT64_C(62135596800)
                                      : (int64_t)below(source, 631152000001u) - INT64_C(315576000000);
    int64_t rest = nanos[below(source, 7)];
    rest = !timestamp && seconds < 0 ? -rest : rest;
    if (seconds != 0) {
        put_varint(to, 1, (uint64_t)seconds);
    }
    if (rest != 0) {
        put_varint(to, 2, (uint64_t)rest);
    }
}

static void put_any(random_source *source, unsigned depth, evener_wire_buffer *to)
{
    static const char *const names[] = {"evener.test.Everything", "google.protobuf.Duration", "google.protobuf.Value",
                                        "google.protobuf.Empty", "google.protobuf.Int64Value"};
    const char *name = names[below(source, depth > 0 ? 5 : 2)];
    char url[64];
    if (below(source, 8) == 0) {
        return;
    }
    const int length = snprintf(url, sizeof url, "type.googleapis.com/%s", name);
    evener_wire_put_bytes(to, 1, url, (size_t)length);
    const size_t before = to->length;
    evener_wire_put_tag(to, 2, EVENER_WIRE_BYTES);
    const size_t start = to->length;
    random_message(source, evener_descriptors_message(source->types, name), depth > 0 ? depth - 1 : 0, to);
    if (to->length == start) {
        to->length = before;
    } else {
        evener_wire_close(to, start);
    }
}

static void put_google_value(random_source *source, const evener_message_type *type, unsigned depth,
                             evener_wire_buffer *to)
{
    const uint32_t kind = 1 + (uint32_t)below(source, depth > 0 ? 6 : 4);
    if (kind == 1) {
        put_varint(to, 1, 0);
    } else if (kind == 2) {
        evener_wire_put_tag(to, 2, EVENER_WIRE_FIXED64);
        evener_wire_put_fixed(to, double_bits(source, true), 8);
    } else {
        put_value(source, evener_message_type_field(type, kind), depth - (depth > 0), false, to);
    }
}

static void put_fields(random_source *source, const evener_message_type *type, unsigned depth, evener_wire_buffer *to)
{
    const evener_message_node *node = evener_message_node_of(type);
    const uint64_t share = 1 + below(source, 12); /* one field of this number is set */
    const evener_oneof *done = NULL;
    for (size_t i = 0; i < type->field_count; i++) {
        const evener_field *field = node->by_number[i];
        if (below(source, share) != 0 || (field->oneof != NULL && field->oneof == done) ||
            (field->message != NULL && !field->message->map_entry && depth == 0)) {
            continue;
        }
        done = field->oneof != NULL ? field->oneof : done;
        if (field->repeated && field->message != NULL && field->message->map_entry) {
            if (depth > 0) {
                put_map(source, field, depth - 1, to);
            }
        } else if (field->packed) {
            put_packed(source, field, to);
        } else {
            for (uint64_t k = field->repeated ? below(source, 3) : 1; k > 0; k--) {
                put_value(source, field, depth - (depth > 0), !field->repeated && !field->has_presence, to);
            }
        }
    }
}

void random_message(random_source *source, const evener_message_type *type, unsigned depth, evener_wire_buffer *to)
{
    const evener_known_type known = evener_message_node_of(type)->known;
    switch (known) {
    case EVENER_KNOWN_TIMESTAMP:
    case EVENER_KNOWN_DURATION:
        put_time(source, known == EVENER_KNOWN_TIMESTAMP, to);
        break;
    case EVENER_KNOWN_FIELD_MASK:
        for (uint64_t i = below(source, 3); i > 0; i--) {
            evener_wire_put_bytes(to, 1, "a_b.cd", below(source, 2) == 0 ? 1 : 6);
        }
        break;
    case EVENER_KNOWN_ANY:
        put_any(source, depth, to);
        break;
    case EVENER_KNOWN_VALUE:
        put_google_value(source, type, depth, to);
        break;
    default: /* Struct and ListValue, too, consist of fields */
        put_fields(source, type, depth, to);
        break;
    }
}
