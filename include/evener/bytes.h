/* Bytes: one message of a call.
 *
 *     evener_bytes request;
 *     uint8_t *to = evener_bytes_create(length, &request);
 *     ... write `length` bytes to `to` ...
 *     evener_unary_call(channel, method, &request, NULL, &response, &status);
 *     evener_bytes_clear(&request); */
#ifndef EVENER_BYTES_H
#define EVENER_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include <evener/export.h>

EVENER_BEGIN_DECLS

/* Counted memory that a message lies in. A transport that receives messages into memory of its own embeds this struct
 * first in it. */
typedef struct evener_buffer {
    uint32_t references; /* atomic; starts at 1 */
    /* Free the memory after the last reference. Any thread. */
    void (*release)(struct evener_buffer *buffer);
} evener_buffer;

/* A message. A plain value: it may be moved by assignment, but only one of the copies is cleared. With an `owner` it
 * holds a reference to counted memory, and is sent and received without a copy. Without an owner it only points at
 * memory of the caller's ({.data = text, .length = 5}): clearing it does nothing. */
typedef struct evener_bytes {
    const uint8_t *data; /* never NULL when length > 0 */
    size_t length;
    void *owner; /* an evener_buffer, or NULL */
} evener_bytes;

/* Make an owned message of `length` bytes and return where to write them. Write before the message is first used in a
 * call; the bytes must not change afterwards. NULL if out of memory: then *bytes is empty. Any thread. */
EVENER_API uint8_t *evener_bytes_create(size_t length, evener_bytes *bytes);

/* Give the message's reference back and make it empty. NULL is allowed. Any thread. */
EVENER_API void evener_bytes_clear(evener_bytes *bytes);

/* Return another reference to the same message; a copy if it has no owner. The caller clears the result. Without memory
 * the result is empty and has no owner. Any thread. */
EVENER_API evener_bytes evener_bytes_ref(const evener_bytes *bytes);

EVENER_END_DECLS

#endif
