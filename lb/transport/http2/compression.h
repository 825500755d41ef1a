/* Compression of messages (grpc: doc/compression.md): gzip and deflate (the zlib format), by zlib. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_COMPRESSION_H
#define EVENER_LB_TRANSPORT_HTTP2_COMPRESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/call.h>

/* Store the compression that a grpc-encoding names; false: unknown. "identity" is NONE. */
bool evener_http2_compression_named(const uint8_t *name, size_t bytes, uint8_t *compression);

/* Compress into an owned message. False: it would not be smaller, or there is no memory; `to` is untouched. */
bool evener_http2_compress(uint8_t compression, const evener_bytes *from, evener_bytes *to);

/* Decompress into an owned message of at most `bytes_max`. Errors: INTERNAL (not of that format, or not complete),
 * RESOURCE_EXHAUSTED (larger than bytes_max, or no memory); `to` is untouched. */
evener_status_code evener_http2_decompress(uint8_t compression, const evener_bytes *from, size_t bytes_max,
                                           evener_bytes *to);

#endif
