#include "lb/protobuf/nesting.h"

/* Read a varint at *at and advance. False: it is cut off or longer than 64 bits. */
static bool read_varint(const uint8_t *data, size_t length, size_t *at, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && *at < length; shift += 7) {
        const uint8_t byte = data[(*at)++];
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

bool evener_protobuf_c_nesting_is_bounded(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t length,
                                          unsigned depth)
{
    size_t at = 0;
    uint64_t tag;
    uint64_t value;
    while (read_varint(data, length, &at, &tag)) {
        size_t bytes = 0;
        switch (tag & 7) {
        case PROTOBUF_C_WIRE_TYPE_VARINT:
            if (!read_varint(data, length, &at, &value)) {
                return true;
            }
            break;
        case PROTOBUF_C_WIRE_TYPE_64BIT:
            bytes = 8;
            break;
        case PROTOBUF_C_WIRE_TYPE_32BIT:
            bytes = 4;
            break;
        case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED: {
            if (!read_varint(data, length, &at, &value) || value > length - at) {
                return true;
            }
            bytes = (size_t)value;
            const uint64_t number = tag >> 3;
            const ProtobufCFieldDescriptor *field =
                number <= UINT32_MAX ? protobuf_c_message_descriptor_get_field(type, (unsigned)number) : NULL;
            if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE &&
                (depth == 0 || !evener_protobuf_c_nesting_is_bounded(field->descriptor, data + at, bytes, depth - 1))) {
                return false;
            }
            break;
        }
        default:
            return true;
        }
        if (bytes > length - at) {
            return true;
        }
        at += bytes;
    }
    return true;
}
