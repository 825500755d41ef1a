#include "lb/protobuf/wire.h"

#include <stdlib.h>
#include <string.h>

#define WIRE_GROUP_END 4
#define VARINT_BYTES_MAX 10

/* ---- reading ---- */

static bool read_varint(evener_wire_reader *reader, uint64_t *value)
{
    uint64_t read = 0;
    for (unsigned i = 0; i < VARINT_BYTES_MAX && reader->at < reader->end; i++) {
        const uint8_t byte = *reader->at++;
        read |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *value = read;
            return i < VARINT_BYTES_MAX - 1 || byte <= 1; /* the last byte has one bit of 64 */
        }
    }
    return false;
}

static bool read_fixed(evener_wire_reader *reader, size_t bytes, uint64_t *value)
{
    if ((size_t)(reader->end - reader->at) < bytes) {
        return false;
    }
    *value = 0;
    for (size_t i = 0; i < bytes; i++) {
        *value |= (uint64_t)reader->at[i] << (8 * i);
    }
    reader->at += bytes;
    return true;
}

static bool read_tag(evener_wire_reader *reader, uint32_t *number, unsigned *type)
{
    uint64_t tag;
    if (!read_varint(reader, &tag) || tag >> 3 == 0 || tag >> 3 > EVENER_WIRE_NUMBER_MAX) {
        return false;
    }
    *number = (uint32_t)(tag >> 3);
    *type = (unsigned)(tag & 7);
    return true;
}

static bool read_content(evener_wire_reader *reader, unsigned type, evener_wire_field *field)
{
    uint64_t length;
    switch (type) {
    case EVENER_WIRE_VARINT:
        return read_varint(reader, &field->value);
    case EVENER_WIRE_FIXED64:
        return read_fixed(reader, 8, &field->value);
    case EVENER_WIRE_FIXED32:
        return read_fixed(reader, 4, &field->value);
    case EVENER_WIRE_BYTES:
        if (!read_varint(reader, &length) || length > (size_t)(reader->end - reader->at)) {
            return false;
        }
        field->data = reader->at;
        field->length = (size_t)length;
        reader->at += length;
        return true;
    default:
        return false;
    }
}

/* Read the content of a group, whose start was read, and its end. */
static bool read_group(evener_wire_reader *reader, evener_wire_field *field)
{
    uint32_t open[EVENER_WIRE_GROUP_DEPTH_MAX] = {field->number};
    unsigned depth = 1;
    field->data = reader->at;
    while (depth > 0) {
        const uint8_t *before = reader->at;
        uint32_t number;
        unsigned type;
        evener_wire_field skipped;
        if (!read_tag(reader, &number, &type)) {
            return false;
        }
        if (type == EVENER_WIRE_GROUP) {
            if (depth == EVENER_WIRE_GROUP_DEPTH_MAX) {
                return false;
            }
            open[depth++] = number;
        } else if (type == WIRE_GROUP_END) {
            if (open[--depth] != number) {
                return false;
            }
            field->length = (size_t)(before - field->data);
        } else if (!read_content(reader, type, &skipped)) {
            return false;
        }
    }
    return true;
}

evener_wire_result evener_wire_next(evener_wire_reader *reader, evener_wire_field *field)
{
    unsigned type;
    if (reader->at == reader->end) {
        return EVENER_WIRE_END;
    }
    *field = (evener_wire_field){.start = reader->at};
    if (!read_tag(reader, &field->number, &type)) {
        return EVENER_WIRE_MALFORMED;
    }
    field->type = (evener_wire_type)type;
    const bool ok = type == EVENER_WIRE_GROUP ? read_group(reader, field) : read_content(reader, type, field);
    return ok ? EVENER_WIRE_FIELD : EVENER_WIRE_MALFORMED;
}

evener_wire_result evener_wire_next_packed(evener_wire_reader *reader, evener_wire_type type, uint64_t *value)
{
    if (reader->at == reader->end) {
        return EVENER_WIRE_END;
    }
    const bool ok = type == EVENER_WIRE_VARINT    ? read_varint(reader, value)
                    : type == EVENER_WIRE_FIXED64 ? read_fixed(reader, 8, value)
                                                  : read_fixed(reader, 4, value);
    return ok ? EVENER_WIRE_FIELD : EVENER_WIRE_MALFORMED;
}

bool evener_utf8_is_valid(const uint8_t *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        const uint8_t first = text[i];
        if (first < 0x80) {
            i++;
            continue;
        }
        const size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if (first < 0xc2 || first > 0xf4 || length - i <= more) {
            return false;
        }
        /* The second byte excludes overlong forms, surrogates, and what is beyond U+10FFFF. */
        const uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        const uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        if (text[i + 1] < low || text[i + 1] > high) {
            return false;
        }
        for (size_t k = 2; k <= more; k++) {
            if ((text[i + k] & 0xc0) != 0x80) {
                return false;
            }
        }
        i += more + 1;
    }
    return true;
}

/* ---- writing ---- */

void evener_wire_clear(evener_wire_buffer *buffer)
{
    free(buffer->data);
    *buffer = (evener_wire_buffer){.bytes_max = buffer->bytes_max};
}

static void fail(evener_wire_buffer *buffer)
{
    buffer->failed = true;
    buffer->length = 0;
}

uint8_t *evener_wire_extend(evener_wire_buffer *buffer, size_t length)
{
    if (buffer->failed) {
        return NULL;
    }
    if (length > SIZE_MAX / 4 || (buffer->bytes_max > 0 && length > buffer->bytes_max - buffer->length)) {
        buffer->too_long = true;
        fail(buffer);
        return NULL;
    }
    if (length > buffer->room - buffer->length) {
        size_t room = buffer->room < 64 ? 64 : 2 * buffer->room;
        room = room < buffer->length + length ? buffer->length + length : room;
        uint8_t *grown = realloc(buffer->data, room);
        if (grown == NULL) {
            fail(buffer);
            return NULL;
        }
        buffer->data = grown;
        buffer->room = room;
    }
    uint8_t *to = buffer->data + buffer->length;
    buffer->length += length;
    return to;
}

void evener_wire_put(evener_wire_buffer *buffer, const void *data, size_t length)
{
    uint8_t *to = length > 0 ? evener_wire_extend(buffer, length) : NULL;
    if (to != NULL) {
        memcpy(to, data, length);
    }
}

void evener_wire_put_byte(evener_wire_buffer *buffer, uint8_t byte)
{
    evener_wire_put(buffer, &byte, 1);
}

static size_t write_varint(uint64_t value, uint8_t bytes[VARINT_BYTES_MAX])
{
    size_t length = 0;
    while (value >= 0x80) {
        bytes[length++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[length++] = (uint8_t)value;
    return length;
}

size_t evener_wire_varint_bytes(uint64_t value)
{
    uint8_t bytes[VARINT_BYTES_MAX];
    return write_varint(value, bytes);
}

void evener_wire_put_varint(evener_wire_buffer *buffer, uint64_t value)
{
    uint8_t bytes[VARINT_BYTES_MAX];
    evener_wire_put(buffer, bytes, write_varint(value, bytes));
}

void evener_wire_put_fixed(evener_wire_buffer *buffer, uint64_t value, size_t bytes)
{
    uint8_t *to = evener_wire_extend(buffer, bytes);
    for (size_t i = 0; to != NULL && i < bytes; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}

void evener_wire_put_tag(evener_wire_buffer *buffer, uint32_t number, unsigned type)
{
    evener_wire_put_varint(buffer, (uint64_t)number << 3 | type);
}

void evener_wire_put_bytes(evener_wire_buffer *buffer, uint32_t number, const void *data, size_t length)
{
    evener_wire_put_tag(buffer, number, EVENER_WIRE_BYTES);
    evener_wire_put_varint(buffer, length);
    evener_wire_put(buffer, data, length);
}

void evener_wire_close(evener_wire_buffer *buffer, size_t start)
{
    if (buffer->failed) {
        return;
    }
    uint8_t bytes[VARINT_BYTES_MAX];
    const size_t length = buffer->length - start;
    const size_t prefix = write_varint(length, bytes);
    if (evener_wire_extend(buffer, prefix) != NULL) {
        memmove(buffer->data + start + prefix, buffer->data + start, length);
        memcpy(buffer->data + start, bytes, prefix);
    }
}
