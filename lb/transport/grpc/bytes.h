/* Messages between evener_bytes and the core's slices. */
#ifndef EVENER_LB_TRANSPORT_GRPC_BYTES_H
#define EVENER_LB_TRANSPORT_GRPC_BYTES_H

#include <stdbool.h>

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>

#include <evener/bytes.h>

/* Return a slice that holds a reference to the message, or a copy if the message has no owner or is short. NULL: empty.
 * Any thread. */
grpc_slice evener_grpc_bytes_to_slice(const evener_bytes *bytes);

/* Take a received message out of `buffer` (which may be NULL: an empty one) and destroy the buffer. False: there is no
 * memory, and the message is lost; *bytes is empty. Any thread. */
bool evener_grpc_bytes_receive(grpc_byte_buffer *buffer, evener_bytes *bytes);

#endif
