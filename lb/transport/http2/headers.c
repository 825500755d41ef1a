#include "lb/transport/http2/headers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "lb/base/metadata_rules.h"

/* ---- grpc-timeout ---- */

#define TIMEOUT_MAX UINT64_C(99999999)

size_t evener_http2_timeout_write(uint64_t timeout_ns, char text[EVENER_HTTP2_TIMEOUT_BYTES])
{
    static const struct {
        char unit;
        uint64_t factor; /* of the one before */
    } units[] = {{'n', 1}, {'u', 1000}, {'m', 1000}, {'S', 1000}, {'M', 60}, {'H', 60}};
    uint64_t value = timeout_ns;
    size_t i = 0;
    while (value > TIMEOUT_MAX && i + 1 < sizeof units / sizeof *units) {
        i++;
        value = value / units[i].factor + (value % units[i].factor != 0);
    }
    if (value > TIMEOUT_MAX) {
        value = TIMEOUT_MAX;
    }
    char digits[8];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t at = 0; at < count; at++) {
        text[at] = digits[count - 1 - at];
    }
    text[count] = units[i].unit;
    text[count + 1] = '\0';
    return count + 1;
}

/* ---- percent encoding ---- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

size_t evener_http2_percent_decode(const uint8_t *from, size_t bytes, uint8_t *to)
{
    size_t used = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (from[i] == '%' && bytes - i > 2 && hex_digit(from[i + 1]) >= 0 && hex_digit(from[i + 2]) >= 0) {
            to[used++] = (uint8_t)(hex_digit(from[i + 1]) << 4 | hex_digit(from[i + 2]));
            i += 2;
        } else {
            to[used++] = from[i];
        }
    }
    return used;
}

/* ---- base64 ---- */

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t evener_http2_base64_encode(const uint8_t *from, size_t bytes, char *to)
{
    size_t used = 0;
    size_t i = 0;
    for (; bytes - i >= 3; i += 3) {
        const uint32_t bits = (uint32_t)from[i] << 16 | (uint32_t)from[i + 1] << 8 | from[i + 2];
        to[used++] = base64_digits[bits >> 18];
        to[used++] = base64_digits[bits >> 12 & 63];
        to[used++] = base64_digits[bits >> 6 & 63];
        to[used++] = base64_digits[bits & 63];
    }
    if (bytes - i > 0) {
        const uint32_t bits = (uint32_t)from[i] << 16 | (bytes - i == 2 ? (uint32_t)from[i + 1] << 8 : 0);
        to[used++] = base64_digits[bits >> 18];
        to[used++] = base64_digits[bits >> 12 & 63];
        if (bytes - i == 2) {
            to[used++] = base64_digits[bits >> 6 & 63];
        }
    }
    return used;
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '+') {
        return 62;
    }
    return c == '/' ? 63 : -1;
}

bool evener_http2_base64_decode(const uint8_t *from, size_t bytes, uint8_t *to, size_t *decoded_bytes)
{
    if (bytes % 4 == 0) {
        for (int i = 0; i < 2 && bytes > 0 && from[bytes - 1] == '='; i++) {
            bytes--;
        }
    }
    if (bytes % 4 == 1) {
        return false;
    }
    uint32_t bits = 0;
    unsigned bit_count = 0;
    size_t used = 0;
    for (size_t i = 0; i < bytes; i++) {
        const int value = base64_value(from[i]);
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            to[used++] = (uint8_t)(bits >> bit_count);
        }
    }
    *decoded_bytes = used;
    return true;
}

/* ---- statuses ---- */

evener_status_code evener_http2_status_of_http(unsigned http_status)
{
    switch (http_status) {
    case 400:
        return EVENER_STATUS_INTERNAL;
    case 401:
        return EVENER_STATUS_UNAUTHENTICATED;
    case 403:
        return EVENER_STATUS_PERMISSION_DENIED;
    case 404:
        return EVENER_STATUS_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return EVENER_STATUS_UNAVAILABLE;
    default:
        return EVENER_STATUS_UNKNOWN;
    }
}

evener_status_code evener_http2_status_of_reset(uint32_t error_code)
{
    switch (error_code) {
    case NGHTTP2_NO_ERROR:
    case NGHTTP2_PROTOCOL_ERROR:
    case NGHTTP2_INTERNAL_ERROR:
    case NGHTTP2_FLOW_CONTROL_ERROR:
    case NGHTTP2_SETTINGS_TIMEOUT:
    case NGHTTP2_FRAME_SIZE_ERROR:
    case NGHTTP2_COMPRESSION_ERROR:
    case NGHTTP2_CONNECT_ERROR:
        return EVENER_STATUS_INTERNAL;
    case NGHTTP2_REFUSED_STREAM:
        return EVENER_STATUS_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return EVENER_STATUS_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return EVENER_STATUS_PERMISSION_DENIED;
    default:
        return EVENER_STATUS_UNKNOWN;
    }
}

bool evener_http2_grpc_status_read(const uint8_t *text, size_t bytes, uint32_t *code)
{
    if (bytes == 0) {
        return false;
    }
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        if (value <= EVENER_STATUS_UNAUTHENTICATED) { /* further digits make it no smaller */
            value = value * 10 + (uint32_t)(text[i] - '0');
        }
    }
    *code = value <= EVENER_STATUS_UNAUTHENTICATED ? value : EVENER_STATUS_UNKNOWN;
    return true;
}

bool evener_http2_content_type_is_grpc(const uint8_t *text, size_t bytes)
{
    static const char wanted[] = "application/grpc";
    const size_t wanted_bytes = sizeof wanted - 1;
    return bytes >= wanted_bytes && memcmp(text, wanted, wanted_bytes) == 0 &&
           (bytes == wanted_bytes || text[wanted_bytes] == '+' || text[wanted_bytes] == ';');
}

/* ---- received metadata ---- */

#define CAPACITY_FIRST 512

typedef struct entry_lengths {
    uint32_t key_bytes, value_bytes;
} entry_lengths;

static uint8_t *reserve(evener_http2_metadata_in *in, size_t bytes)
{
    if (in->capacity - in->used < bytes) {
        size_t capacity = in->capacity > 0 ? in->capacity : CAPACITY_FIRST;
        while (capacity - in->used < bytes) {
            capacity *= 2;
        }
        uint8_t *larger = realloc(in->bytes, capacity);
        if (larger == NULL) {
            return NULL;
        }
        in->bytes = larger;
        in->capacity = capacity;
    }
    return in->bytes + in->used;
}

static bool add_one(evener_http2_metadata_in *in, const uint8_t *key, size_t key_bytes, const uint8_t *value,
                    size_t value_bytes, bool is_binary)
{
    /* Base64 is longer than its result, and the decoder may write up to three bytes past the result. */
    uint8_t *to = reserve(in, sizeof(entry_lengths) + key_bytes + value_bytes + 8);
    if (to == NULL) {
        return false;
    }
    entry_lengths lengths = {.key_bytes = (uint32_t)key_bytes, .value_bytes = (uint32_t)value_bytes};
    uint8_t *key_at = to + sizeof lengths;
    memcpy(key_at, key, key_bytes);
    key_at[key_bytes] = '\0';
    uint8_t *value_at = key_at + key_bytes + 1;
    if (is_binary) {
        size_t decoded_bytes;
        if (!evener_http2_base64_decode(value, value_bytes, value_at, &decoded_bytes)) {
            return true; /* left out */
        }
        lengths.value_bytes = (uint32_t)decoded_bytes;
    } else if (value_bytes > 0) {
        memcpy(value_at, value, value_bytes);
    }
    value_at[lengths.value_bytes] = '\0';
    memcpy(to, &lengths, sizeof lengths);
    in->used += sizeof lengths + key_bytes + 1 + lengths.value_bytes + 1;
    in->count++;
    return true;
}

bool evener_http2_metadata_in_add(evener_http2_metadata_in *in, const uint8_t *key, size_t key_bytes,
                                  const uint8_t *value, size_t value_bytes)
{
    if (!evener_metadata_key_is_binary((const char *)key, key_bytes)) {
        return add_one(in, key, key_bytes, value, value_bytes, false);
    }
    for (;;) {
        const uint8_t *comma = value_bytes > 0 ? memchr(value, ',', value_bytes) : NULL;
        const size_t part_bytes = comma != NULL ? (size_t)(comma - value) : value_bytes;
        if (!add_one(in, key, key_bytes, value, part_bytes, true)) {
            return false;
        }
        if (comma == NULL) {
            return true;
        }
        value_bytes -= part_bytes + 1;
        value = comma + 1;
    }
}

void evener_http2_metadata_in_list(const evener_http2_metadata_in *in, evener_metadata *entries)
{
    const uint8_t *at = in->bytes;
    for (size_t i = 0; i < in->count; i++) {
        entry_lengths lengths;
        memcpy(&lengths, at, sizeof lengths);
        at += sizeof lengths;
        entries[i].key = (const char *)at;
        at += lengths.key_bytes + 1;
        entries[i].value = (const char *)at;
        entries[i].value_bytes = lengths.value_bytes;
        at += lengths.value_bytes + 1;
    }
}

void evener_http2_metadata_in_clear(evener_http2_metadata_in *in)
{
    free(in->bytes);
    *in = (evener_http2_metadata_in){0};
}
