#include "resolver/etcd/wire.h"

#include <stdlib.h>
#include <string.h>

enum {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5,
};

static bool bad(evener_etcd_reader *reader)
{
    reader->bad = true;
    return false;
}

static bool read_varint(evener_etcd_reader *reader, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (reader->next == reader->end) {
            return bad(reader);
        }
        const uint8_t byte = *reader->next++;
        *value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if ((byte & 0x80) == 0) {
            return true;
        }
    }
    return bad(reader);
}

static bool read_fixed(evener_etcd_reader *reader, size_t length, uint64_t *value)
{
    if ((size_t)(reader->end - reader->next) < length) {
        return bad(reader);
    }
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        *value |= (uint64_t)reader->next[i] << (8 * i);
    }
    reader->next += length;
    return true;
}

bool evener_etcd_next(evener_etcd_reader *reader, evener_etcd_field *field)
{
    uint64_t tag = 0;
    uint64_t length = 0;
    *field = (evener_etcd_field){0};
    if (reader->bad || reader->next == reader->end || !read_varint(reader, &tag)) {
        return false;
    }
    if (tag >> 3 == 0 || tag >> 3 > UINT32_MAX >> 3) {
        return bad(reader);
    }
    field->number = (uint32_t)(tag >> 3);
    switch (tag & 7) {
    case WIRE_VARINT:
        return read_varint(reader, &field->value);
    case WIRE_FIXED64:
        return read_fixed(reader, 8, &field->value);
    case WIRE_FIXED32:
        return read_fixed(reader, 4, &field->value);
    case WIRE_BYTES:
        if (!read_varint(reader, &length) || length > (size_t)(reader->end - reader->next)) {
            return bad(reader);
        }
        field->bytes = reader->next;
        field->length = (size_t)length;
        reader->next += length;
        return true;
    default:
        return bad(reader); /* groups are of proto2 */
    }
}

/* ---- writing ---- */

static void put(evener_etcd_writer *writer, const void *bytes, size_t length)
{
    if (writer->failed || length == 0) {
        return;
    }
    if (writer->room - writer->used < length) {
        const size_t room = (writer->room + length) * 2;
        uint8_t *grown = realloc(writer->bytes, room);
        if (grown == NULL) {
            writer->failed = true;
            return;
        }
        writer->bytes = grown;
        writer->room = room;
    }
    memcpy(writer->bytes + writer->used, bytes, length);
    writer->used += length;
}

static void put_varint(evener_etcd_writer *writer, uint64_t value)
{
    uint8_t bytes[10];
    size_t length = 0;
    while (value >= 0x80) {
        bytes[length++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[length++] = (uint8_t)value;
    put(writer, bytes, length);
}

static void put_tag(evener_etcd_writer *writer, uint32_t number, unsigned type)
{
    put_varint(writer, (uint64_t)number << 3 | type);
}

void evener_etcd_put_number(evener_etcd_writer *writer, uint32_t number, uint64_t value)
{
    if (value != 0) {
        put_tag(writer, number, WIRE_VARINT);
        put_varint(writer, value);
    }
}

void evener_etcd_put_bytes(evener_etcd_writer *writer, uint32_t number, const void *bytes, size_t length)
{
    if (length > 0) {
        put_tag(writer, number, WIRE_BYTES);
        put_varint(writer, length);
        put(writer, bytes, length);
    }
}

void evener_etcd_put_message(evener_etcd_writer *writer, uint32_t number, evener_etcd_writer *message)
{
    put_tag(writer, number, WIRE_BYTES);
    put_varint(writer, message->used);
    put(writer, message->bytes, message->used);
    writer->failed |= message->failed;
    free(message->bytes);
    *message = (evener_etcd_writer){0};
}

bool evener_etcd_finish(evener_etcd_writer *writer, evener_bytes *message)
{
    *message = (evener_bytes){0};
    uint8_t *to = writer->failed ? NULL : evener_bytes_create(writer->used, message);
    if (to != NULL && writer->used > 0) {
        memcpy(to, writer->bytes, writer->used);
    }
    free(writer->bytes);
    *writer = (evener_etcd_writer){0};
    return to != NULL;
}
