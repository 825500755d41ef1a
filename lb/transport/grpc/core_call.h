/* One call of the core: a grpc_call with all memory that its batches read and write.
 *
 * It has memory of its own and counts references: one per operation under way, one for its owner. So an owner whose
 * deadline has passed can return although the core has not ended the call yet. */
#ifndef EVENER_LB_TRANSPORT_GRPC_CORE_CALL_H
#define EVENER_LB_TRANSPORT_GRPC_CORE_CALL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <grpc/grpc.h>

#include <evener/transport.h>

#include "lb/transport/grpc/connection.h"
#include "lb/transport/grpc/tag.h"

typedef struct evener_grpc_core_call evener_grpc_core_call;

/* What an operation of a call is tagged with. */
typedef struct evener_grpc_operation {
    evener_grpc_tag tag;
    evener_grpc_core_call *call;
} evener_grpc_operation;

#define EVENER_GRPC_METADATA_INLINE 5

struct evener_grpc_core_call {
    _Atomic uint32_t references;
    evener_connection *connection; /* a reference */
    grpc_call *core;
    grpc_metadata *metadata; /* to be sent; `inlined` or memory of its own; the slices are owned */
    size_t metadata_count;
    grpc_metadata inlined[EVENER_GRPC_METADATA_INLINE];
    uint64_t deadline_ns;
    uint64_t end_awaited_ns;  /* the connection's when this call began */
    size_t receive_bytes_max; /* 0: the channel's, which the core itself checks */
    size_t send_bytes_max;    /* 0: none */
    bool wants_metadata;

    evener_grpc_operation opening, headers, reading, writing, closing, status; /* unary calls use `status` only */

    /* what the core writes */
    grpc_byte_buffer *request;
    grpc_byte_buffer *response;
    grpc_byte_buffer *second; /* of a unary call that takes long: a message after its answer, see calls.c */
    grpc_metadata_array initial_metadata;
    grpc_metadata_array trailing_metadata;
    grpc_status_code code;
    grpc_slice message;
    const char *error_string;

    /* Events come one at a time: under the mutex. */
    pthread_mutex_t mutex;
    evener_transport_call *owner;     /* NULL once `ended` was delivered */
    const evener_call_events *events; /* the owner's */
    bool answered;                    /* a message was received */
    bool has_headers;                 /* of a stream: they were delivered, or are not wanted */
    size_t too_long_bytes;            /* the length of a received message above the limit; 0: none */
    bool message_is_lost;             /* there was no memory for a received message */
    bool status_known;
    bool second_asked, second_pending, second_came; /* the reading of `second` */
    _Atomic uint32_t under_way;                     /* operations of a stream that have not completed */

    bool is_unary;
    bool is_listed; /* was given to overdue.c */
    /* overdue.c's, under its mutex */
    bool was_removed;                 /* at its end; a look that has taken it does not put it back then */
    uint32_t looks;                   /* that have found it */
    evener_grpc_core_call *long_next; /* in a list of unary calls that take long */
    evener_grpc_core_call *overdue_next;
    evener_grpc_core_call **overdue_link; /* the pointer to this call; NULL: in no list */
};

/* Make a call on a connection that the calling thread has entered. Copy what `args` borrows, except the request.
 * Errors: INVALID_ARGUMENT (metadata that the core refuses, by name), RESOURCE_EXHAUSTED. Any thread. */
evener_status_code evener_grpc_core_call_create(evener_connection *connection, grpc_completion_queue *queue,
                                                const evener_call_begin_args *args, evener_grpc_core_call **call,
                                                evener_status *status);

void evener_grpc_core_call_unref(evener_grpc_core_call *call);

/* Fill one operation. */
void evener_grpc_core_call_send_metadata_op(const evener_grpc_core_call *call, grpc_op *operation);
void evener_grpc_core_call_status_op(evener_grpc_core_call *call, grpc_op *operation);
void evener_grpc_core_call_headers_op(evener_grpc_core_call *call, grpc_op *operation);

/* Start a batch on the connection that begin() entered, and leave it: a call whose first batch came after
 * grpc_channel_destroy() would wait for a resolution that never comes (the core's client_channel.cc,
 * CheckResolutionLocked). False: the core refuses it. */
bool evener_grpc_core_call_start(evener_grpc_core_call *call, const grpc_op *operations, size_t count, void *tag);

/* Take a received message (see evener_grpc_bytes_receive()). False: it is above the limit, or there is no memory; the
 * call must end, and its end says why. The mutex is held. */
bool evener_grpc_core_call_take_message(evener_grpc_core_call *call, grpc_byte_buffer *received, evener_bytes *message);

/* Deliver `ended`: the status has arrived, and everything else that the call waited for. The mutex is held. */
void evener_grpc_core_call_deliver_end(evener_grpc_core_call *call);

/* Cancel a call that the core does not end after its deadline, deliver `ended` and give the owner's reference back,
 * unless the call has ended meanwhile. The mutex is not held; the caller holds a reference. */
void evener_grpc_core_call_abandon(evener_grpc_core_call *call);
/* Abandon the call, unless an event of it is under way: then return false and do nothing. */
bool evener_grpc_core_call_try_abandon(evener_grpc_core_call *call);

/* Read a second message of a unary call that takes long (calls.c), unless that was done. Completes on a call thread.
 * The mutex is not held; the caller holds a reference. */
void evener_grpc_call_read_second(evener_grpc_core_call *call);

/* Deliver the server's headers, if the owner wants them. The core does not pass on those of the protocol, so there
 * may be none, as with a Trailers-Only answer (1.51). The mutex is held. */
void evener_grpc_core_call_deliver_headers(evener_grpc_core_call *call);

#endif
