/* Memory of received messages: small ones from the object pool, so that a call allocates nothing in the steady
 * state. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_MESSAGE_BUFFER_H
#define EVENER_LB_TRANSPORT_HTTP2_MESSAGE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include <evener/bytes.h>

/* Store an owned message of `length` bytes in *bytes and return where it is to be written; any thread may clear it.
 * NULL if out of memory: *bytes is empty then. Any thread. */
uint8_t *evener_http2_message_create(size_t length, evener_bytes *bytes);

#endif
