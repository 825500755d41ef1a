/* Wire: protobuf's wire format, as much of it as etcd's messages need (protobuf.dev: programming-guides/encoding).
 *
 * The reader takes foreign bytes: nothing is read beyond the end, and what is malformed ends the loop.
 *
 *     evener_etcd_reader reader = {bytes, bytes + length, false};
 *     for (evener_etcd_field f; evener_etcd_next(&reader, &f);) {
 *         if (f.number == 1 && f.bytes != NULL) ...
 *     }
 *     if (reader.bad) ...
 *
 * Any thread. */
#ifndef EVENER_RESOLVER_ETCD_WIRE_H
#define EVENER_RESOLVER_ETCD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/bytes.h>

typedef struct evener_etcd_reader {
    const uint8_t *next, *end;
    bool bad; /* malformed */
} evener_etcd_reader;

typedef struct evener_etcd_field {
    uint32_t number;
    const uint8_t *bytes; /* of a length-delimited field, never NULL then; NULL: of another one */
    size_t length;
    uint64_t value; /* of a varint or a fixed field */
} evener_etcd_field;

/* Read the next field. False: the end, or the message is malformed. */
bool evener_etcd_next(evener_etcd_reader *reader, evener_etcd_field *field);

/* A growing message. Zeroed: empty. */
typedef struct evener_etcd_writer {
    uint8_t *bytes;
    size_t used, room;
    bool failed; /* no memory */
} evener_etcd_writer;

/* Append a field. As in proto3, zero and empty values are not written. */
void evener_etcd_put_number(evener_etcd_writer *writer, uint32_t number, uint64_t value);
void evener_etcd_put_bytes(evener_etcd_writer *writer, uint32_t number, const void *bytes, size_t length);
/* Append a message as a field, also an empty one, and free it. */
void evener_etcd_put_message(evener_etcd_writer *writer, uint32_t number, evener_etcd_writer *message);

/* Turn the message into an owned one for a call, and free the writer. False: no memory. */
bool evener_etcd_finish(evener_etcd_writer *writer, evener_bytes *message);

#endif
