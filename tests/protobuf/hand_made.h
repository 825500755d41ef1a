/* Parts of a set of declarations (google/protobuf/descriptor.proto) that a test makes by hand. */
#ifndef EVENER_TESTS_PROTOBUF_HAND_MADE_H
#define EVENER_TESTS_PROTOBUF_HAND_MADE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lb/protobuf/wire.h"

/* A set under construction: the functions append to it. */
typedef evener_wire_buffer buffer;

static inline size_t begin(buffer *b, uint32_t number)
{
    evener_wire_put_tag(b, number, EVENER_WIRE_BYTES);
    return b->length;
}

static inline void text(buffer *b, uint32_t number, const char *value)
{
    evener_wire_put_bytes(b, number, value, strlen(value));
}

static inline void number(buffer *b, uint32_t field, uint64_t value)
{
    evener_wire_put_tag(b, field, EVENER_WIRE_VARINT);
    evener_wire_put_varint(b, value);
}

#endif
