/* Messages between evener_bytes and the core's slices. */
#ifndef EVENER_LB_CALL_GRPC_BYTES_H
#define EVENER_LB_CALL_GRPC_BYTES_H

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>

#include <evener/call.h>

/* A slice with a reference of its own: the same memory if it is owned, else a copy. NULL: empty. Any thread. */
grpc_slice evener_grpc_bytes_to_slice(const evener_bytes *bytes);

/* Takes a received message out of `buffer` (which may be NULL: an empty one) and destroys the buffer. Any thread. */
void evener_grpc_bytes_receive(grpc_byte_buffer *buffer, evener_bytes *bytes);

#endif
