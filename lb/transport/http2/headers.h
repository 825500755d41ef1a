/* Headers: how gRPC encodes deadlines, status messages, statuses and binary metadata into HTTP/2 headers (grpc:
 * doc/PROTOCOL-HTTP2.md, doc/http-grpc-status-mapping.md). Pure functions over bytes. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_HEADERS_H
#define EVENER_LB_TRANSPORT_HTTP2_HEADERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/picker.h>
#include <evener/status.h>

/* ---- grpc-timeout ---- */

#define EVENER_HTTP2_TIMEOUT_BYTES 10 /* 8 digits, unit, NUL */

/* Write a grpc-timeout of at least `timeout_ns`: at most 8 digits, the finest unit of n, u, m, S, M, H that has room,
 * rounded up. Return its length. */
size_t evener_http2_timeout_write(uint64_t timeout_ns, char text[EVENER_HTTP2_TIMEOUT_BYTES]);

/* ---- grpc-message: percent encoding ---- */

/* Decode into `to` (room for `bytes`; may be `from`); a "%" without two hexadecimal digits
 * stays as it is. Return the decoded length. */
size_t evener_http2_percent_decode(const uint8_t *from, size_t bytes, uint8_t *to);

/* ---- "-bin" values: base64 (RFC 4648 section 4) ---- */

#define EVENER_HTTP2_BASE64_BYTES(bytes) (((bytes) + 2) / 3 * 4)

/* Write base64 without padding. Return the length, at most EVENER_HTTP2_BASE64_BYTES(bytes). */
size_t evener_http2_base64_encode(const uint8_t *from, size_t bytes, char *to);

/* Decode padded or unpadded base64 into `to` (room for bytes / 4 * 3 + 3; may be `from`). False: not base64. */
bool evener_http2_base64_decode(const uint8_t *from, size_t bytes, uint8_t *to, size_t *decoded_bytes);

/* ---- statuses ---- */

/* Return the status of an answer that is not gRPC's, by its HTTP status. */
evener_status_code evener_http2_status_of_http(unsigned http_status);

/* Return the status of a stream that the peer reset, by the code of its RST_STREAM. */
evener_status_code evener_http2_status_of_reset(uint32_t error_code);

/* Read a grpc-status value: a number that is no code is UNKNOWN. False: not a number. */
bool evener_http2_grpc_status_read(const uint8_t *text, size_t bytes, uint32_t *code);

/* Return whether a content-type is gRPC's: application/grpc, alone or with "+..." or ";...". */
bool evener_http2_content_type_is_grpc(const uint8_t *text, size_t bytes);

/* ---- received metadata ---- */

/* Received metadata of one header block, decoded and copied. Zeroed: empty. */
typedef struct evener_http2_metadata_in {
    uint8_t *bytes; /* per entry: key length, value length, key, NUL, value, NUL */
    size_t used, capacity;
    size_t count;
} evener_http2_metadata_in;

/* Add an entry. Values of "-bin" keys are decoded, each part of a comma-joined list as an entry of its own; one that
 * is not base64 is left out. False: out of memory. */
bool evener_http2_metadata_in_add(evener_http2_metadata_in *in, const uint8_t *key, size_t key_bytes,
                                  const uint8_t *value, size_t value_bytes);

/* Write the entries to `entries` (room for in->count); they point into `in`. */
void evener_http2_metadata_in_list(const evener_http2_metadata_in *in, evener_metadata *entries);

void evener_http2_metadata_in_clear(evener_http2_metadata_in *in);

#endif
