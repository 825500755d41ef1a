#include "lb/base/health_message.h"

#include <string.h>

enum { SERVICE_FIELD = 1 }; /* of HealthCheckRequest */
enum { STATUS_FIELD = 1 };  /* of HealthCheckResponse */
enum { STATUS_SERVING = 1 };
/* Wire types (protobuf: encoding). */
enum { VARINT = 0, FIXED64 = 1, LENGTH_DELIMITED = 2, FIXED32 = 5 };

static bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    uint64_t result = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        result |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *value = result;
            return true;
        }
    }
    return false;
}

/* Pass over a field that is not known (protobuf encoding: wire types). */
static bool skip_field(const uint8_t **at, const uint8_t *end, uint64_t wire_type)
{
    uint64_t bytes = 0;
    switch (wire_type) {
    case VARINT:
        return read_varint(at, end, &bytes);
    case FIXED64:
        bytes = 8;
        break;
    case LENGTH_DELIMITED:
        if (!read_varint(at, end, &bytes)) {
            return false;
        }
        break;
    case FIXED32:
        bytes = 4;
        break;
    default:
        return false;
    }
    if (bytes > (uint64_t)(end - *at)) {
        return false;
    }
    *at += bytes;
    return true;
}

size_t evener_health_request_write(const char *service, uint8_t request[EVENER_HEALTH_REQUEST_BYTES_MAX])
{
    const size_t bytes = strlen(service);
    size_t used = 0;
    request[used++] = SERVICE_FIELD << 3 | LENGTH_DELIMITED;
    size_t rest = bytes;
    for (; rest >= 0x80; rest >>= 7) {
        request[used++] = (uint8_t)(rest | 0x80);
    }
    request[used++] = (uint8_t)rest;
    memcpy(request + used, service, bytes); /* NOLINT(bugprone-not-null-terminated-result): a field has no NUL */
    return used + bytes;
}

bool evener_health_response_parse(const uint8_t *message, size_t bytes, bool *serving)
{
    const uint8_t *end = message + bytes;
    uint64_t found = 0;
    while (message < end) {
        uint64_t key;
        if (!read_varint(&message, end, &key)) {
            return false;
        }
        bool is_status = key == (STATUS_FIELD << 3 | VARINT);
        if (is_status ? !read_varint(&message, end, &found) : !skip_field(&message, end, key & 7)) {
            return false;
        }
    }
    *serving = found == STATUS_SERVING;
    return true;
}
