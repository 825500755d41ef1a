/* Wire: protobuf's binary format (protobuf.dev/programming-guides/encoding), read and written without descriptors. */
#ifndef EVENER_LB_PROTOBUF_WIRE_H
#define EVENER_LB_PROTOBUF_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum evener_wire_type {
    EVENER_WIRE_VARINT = 0,
    EVENER_WIRE_FIXED64 = 1,
    EVENER_WIRE_BYTES = 2,
    EVENER_WIRE_GROUP = 3, /* its end, type 4, is only inside the format */
    EVENER_WIRE_FIXED32 = 5
} evener_wire_type;

#define EVENER_WIRE_GROUP_DEPTH_MAX 100
#define EVENER_WIRE_NUMBER_MAX 536870911u

/* ---- reading ---- */

/* What is left of a message. Start with evener_wire_read(). */
typedef struct evener_wire_reader {
    const uint8_t *at, *end;
} evener_wire_reader;

/* Return a reader of `length` bytes; `data` may be NULL if there are none. */
static inline evener_wire_reader evener_wire_read(const uint8_t *data, size_t length)
{
    static const uint8_t nothing;
    data = data != NULL ? data : &nothing;
    return (evener_wire_reader){data, data + length};
}

typedef struct evener_wire_field {
    uint32_t number;
    evener_wire_type type;
    uint64_t value;      /* of VARINT, FIXED64, FIXED32 */
    const uint8_t *data; /* of BYTES and GROUP: the content, inside the message */
    size_t length;
    const uint8_t *start; /* the whole field, from its tag on, ends where the reader is */
} evener_wire_field;

typedef enum evener_wire_result { EVENER_WIRE_END, EVENER_WIRE_FIELD, EVENER_WIRE_MALFORMED } evener_wire_result;

/* Read the next field. MALFORMED: the reader is useless afterwards. */
evener_wire_result evener_wire_next(evener_wire_reader *reader, evener_wire_field *field);

/* Read the next element of a packed field: the content of a BYTES field whose elements have `type`. */
evener_wire_result evener_wire_next_packed(evener_wire_reader *reader, evener_wire_type type, uint64_t *value);

/* Return whether the bytes are UTF-8 without surrogates and overlong forms (RFC 3629). */
bool evener_utf8_is_valid(const uint8_t *text, size_t length);

/* ---- writing ---- */

/* Bytes that grow. Zeroed is empty. After a failed allocation, or beyond `bytes_max`, everything written is dropped and
 * `failed` is set, so that only the end needs a check. */
typedef struct evener_wire_buffer {
    uint8_t *data; /* malloc */
    size_t length, room;
    size_t bytes_max; /* 0: no limit */
    bool failed;      /* no memory */
    bool too_long;    /* beyond bytes_max; `failed` is set, too */
} evener_wire_buffer;

void evener_wire_clear(evener_wire_buffer *buffer);

/* Return where `length` further bytes are to be written; NULL: failed. */
uint8_t *evener_wire_extend(evener_wire_buffer *buffer, size_t length);

void evener_wire_put(evener_wire_buffer *buffer, const void *data, size_t length);
void evener_wire_put_byte(evener_wire_buffer *buffer, uint8_t byte);
void evener_wire_put_varint(evener_wire_buffer *buffer, uint64_t value);
void evener_wire_put_fixed(evener_wire_buffer *buffer, uint64_t value, size_t bytes); /* little-endian */
void evener_wire_put_tag(evener_wire_buffer *buffer, uint32_t number, unsigned type);
void evener_wire_put_bytes(evener_wire_buffer *buffer, uint32_t number, const void *data, size_t length);

/* Turn what was written since `start`, a former `length`, into the content of a BYTES field: insert its length
 * there. */
void evener_wire_close(evener_wire_buffer *buffer, size_t start);

/* Return the bytes that a varint needs. */
size_t evener_wire_varint_bytes(uint64_t value);

static inline uint64_t evener_wire_zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static inline int64_t evener_wire_unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1 ^ (0 - (value & 1)));
}

#endif
