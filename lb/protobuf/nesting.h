/* Nesting: how deep a packed message is nested. protobuf-c unpacks recursively and without a limit, so bytes of a peer
 * could exhaust the stack. */
#ifndef EVENER_LB_PROTOBUF_NESTING_H
#define EVENER_LB_PROTOBUF_NESTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

/* The limit of other implementations of protobuf. */
#define EVENER_PROTOBUF_DEPTH_MAX 100

/* Return whether no message in these bytes is nested deeper than `depth`, as a message of that type. Groups are of no
 * type that protobuf-c knows. Malformed bytes are not reported: unpacking refuses them. */
bool evener_protobuf_c_nesting_is_bounded(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t length,
                                          unsigned depth);

#endif
