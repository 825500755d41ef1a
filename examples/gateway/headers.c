/* Headers of HTTP as deadline and metadata of calls, and back. */
#include "examples/gateway/gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define METADATA_PREFIX "Grpc-Metadata-"
#define METADATA_MAX 256

/* ---- base64 (RFC 4648), padding optional ---- */

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+' || c == '-' ? 62
           : c == '/' || c == '_' ? 63
                                  : -1;
}

/* Return the number of decoded bytes, or SIZE_MAX. `to` has room for 3/4 of the text. */
static size_t base64_decode(const char *text, char *to)
{
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '=') {
        length--;
    }
    unsigned bits = 0;
    unsigned bit_count = 0;
    size_t written = 0;
    for (size_t i = 0; i < length; i++) {
        const int digit = base64_digit(text[i]);
        if (digit < 0) {
            return SIZE_MAX;
        }
        bits = (bits << 6 | (unsigned)digit) & 0xffff;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            to[written++] = (char)(bits >> bit_count & 0xff);
        }
    }
    return length % 4 == 1 ? SIZE_MAX : written;
}

static void base64_encode(const char *data, size_t length, char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < length; i += 3) {
        const size_t left = length - i;
        const unsigned bits = (unsigned)(uint8_t)data[i] << 16 | (left > 1 ? (unsigned)(uint8_t)data[i + 1] << 8 : 0) |
                              (left > 2 ? (unsigned)(uint8_t)data[i + 2] : 0);
        *to++ = digits[bits >> 18];
        *to++ = digits[bits >> 12 & 63];
        *to++ = left > 1 ? digits[bits >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[bits & 63] : '=';
    }
    *to = '\0';
}

/* ---- requests ---- */

typedef struct collector {
    gateway_call_headers *headers;
    size_t room;         /* of the metadata */
    size_t memory_bytes; /* counted first, then used */
    const char *wrong;   /* a header's name */
} collector;

/* Return the key of the metadata that a header is, or NULL. */
static const char *metadata_key(const char *name)
{
    const size_t prefix = sizeof METADATA_PREFIX - 1;
    return strncasecmp(name, METADATA_PREFIX, prefix) == 0 && name[prefix] != '\0' ? name + prefix
           : strcasecmp(name, MHD_HTTP_HEADER_AUTHORIZATION) == 0                  ? name
                                                                                   : NULL;
}

static enum MHD_Result count_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    collector *self = arg;
    const char *key = metadata_key(name);
    if (key != NULL) {
        self->room++;
        self->memory_bytes += strlen(key) + 1 + (value != NULL ? strlen(value) : 0) + 1;
    }
    return MHD_YES;
}

static enum MHD_Result take_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    collector *self = arg;
    gateway_call_headers *headers = self->headers;
    const char *key = metadata_key(name);
    if (key == NULL || headers->metadata_count == self->room) {
        return MHD_YES;
    }
    value = value != NULL ? value : "";
    char *own_key = headers->memory + self->memory_bytes;
    const size_t key_bytes = strlen(key);
    for (size_t i = 0; i <= key_bytes; i++) {
        own_key[i] = key[i] >= 'A' && key[i] <= 'Z' ? (char)(key[i] - 'A' + 'a') : key[i];
    }
    self->memory_bytes += key_bytes + 1;
    evener_metadata *entry = &headers->metadata[headers->metadata_count++];
    *entry = (evener_metadata){.key = own_key, .value = value, .value_bytes = strlen(value)};
    if (key_bytes > 4 && strcmp(own_key + key_bytes - 4, "-bin") == 0) {
        char *decoded = headers->memory + self->memory_bytes;
        const size_t length = base64_decode(value, decoded);
        if (length == SIZE_MAX) {
            self->wrong = name;
            return MHD_NO;
        }
        self->memory_bytes += length + 1;
        *entry = (evener_metadata){.key = own_key, .value = decoded, .value_bytes = length};
    }
    return MHD_YES;
}

evener_status_code gateway_headers_read(struct MHD_Connection *connection, gateway_call_headers *headers,
                                        evener_status *status)
{
    *headers = (gateway_call_headers){0};
    const char *timeout = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Grpc-Timeout");
    if (timeout != NULL && !evener_timeout_parse(timeout, &headers->timeout_ms)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "Grpc-Timeout: up to 8 digits and a unit are needed: H, M, S, m, u or n");
    }
    collector collected = {.headers = headers};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, count_header, &collected);
    if (collected.room > METADATA_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "more than %d metadata headers", METADATA_MAX);
    }
    if (collected.room > 0) {
        headers->metadata = calloc(collected.room, sizeof *headers->metadata);
        headers->memory = malloc(collected.memory_bytes);
        if (headers->metadata == NULL || headers->memory == NULL) {
            gateway_headers_clear(headers);
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        }
        collected.memory_bytes = 0;
        MHD_get_connection_values(connection, MHD_HEADER_KIND, take_header, &collected);
        if (collected.wrong != NULL) {
            evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: base64 is needed", collected.wrong);
            gateway_headers_clear(headers);
            return EVENER_STATUS_INVALID_ARGUMENT;
        }
    }
    return evener_status_clear(status);
}

void gateway_headers_clear(gateway_call_headers *headers)
{
    free(headers->metadata);
    free(headers->memory);
    *headers = (gateway_call_headers){0};
}

/* ---- answers ---- */

static void add(struct MHD_Response *response, const char *prefix, const evener_metadata *entry)
{
    const size_t key_bytes = strlen(entry->key);
    const bool is_binary = key_bytes > 4 && strcmp(entry->key + key_bytes - 4, "-bin") == 0;
    char *name = NULL;
    char *value = malloc(entry->value_bytes / 3 * 4 + 5);
    if (value != NULL && strncmp(entry->key, "grpc-", 5) != 0 && strcmp(entry->key, "content-type") != 0 &&
        asprintf(&name, "%s%s", prefix, entry->key) > 0) {
        if (is_binary) {
            base64_encode(entry->value, entry->value_bytes, value);
        } else {
            memcpy(value, entry->value, entry->value_bytes);
            value[entry->value_bytes] = '\0';
        }
        MHD_add_response_header(response, name, value); /* refuses line breaks */
        free(name);
    }
    free(value);
}

void gateway_headers_add(struct MHD_Response *response, const evener_call_details *details)
{
    for (size_t i = 0; i < details->initial_metadata_count; i++) {
        add(response, METADATA_PREFIX, &details->initial_metadata[i]);
    }
    for (size_t i = 0; i < details->trailing_metadata_count; i++) {
        add(response, "Grpc-Trailer-", &details->trailing_metadata[i]);
    }
}
