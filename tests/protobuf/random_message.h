/* Random messages: any message of a type, as a writer of the canonical form writes it, so that JSON there and back
 * gives the same bytes. */
#ifndef EVENER_TESTS_PROTOBUF_RANDOM_MESSAGE_H
#define EVENER_TESTS_PROTOBUF_RANDOM_MESSAGE_H

#include <evener/descriptors.h>

#include "lb/protobuf/wire.h"

typedef struct random_source {
    uint64_t state; /* the seed, to begin with */
    const evener_descriptors *types;
} random_source;

/* Append a message with at most `depth` further messages inside each other. */
void random_message(random_source *source, const evener_message_type *type, unsigned depth, evener_wire_buffer *to);

#endif
