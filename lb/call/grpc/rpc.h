/* What all kinds of calls have in common: the part of an RPC that stays over its attempts, one attempt on one
 * connection, and the judgement on how that ended. */
#ifndef EVENER_LB_CALL_GRPC_RPC_H
#define EVENER_LB_CALL_GRPC_RPC_H

#include <stdbool.h>
#include <stdint.h>

#include <grpc/grpc.h>
#include <grpc/slice.h>

#include <evener/call.h>

#include "lb/transport/grpc/connection.h"

/* Attempts that follow one another at once; before further ones evener_grpc_rpc_pause_ns() lets the control plane
 * learn what is wrong. */
#define EVENER_GRPC_ATTEMPTS_AT_ONCE 3

typedef struct evener_grpc_rpc {
    evener_channel *channel;    /* not counted here */
    evener_pick_args pick_args; /* method and metadata: the caller's memory, or the asynchronous call's */
    gpr_timespec deadline;
    bool has_deadline;
    grpc_slice method;
    grpc_slice authority; /* used if has_authority */
    bool has_authority;
    grpc_metadata *metadata; /* not owned */
    size_t metadata_count;
    uint64_t timeout_ms; /* if has_deadline: from the call's start to its deadline */
    uint32_t attempts;
} evener_grpc_rpc;

/* Checks what a call was given, and stores its options (`given` may be NULL, or an older program's) as this library
 * knows them in *options; FAILED_PRECONDITION, INVALID_ARGUMENT. Any thread. */
evener_status_code evener_grpc_rpc_check(evener_channel *channel, const char *method, const evener_call_options *given,
                                         evener_call_options *options, evener_status *status);

/* Fills `rpc`. The metadata are the caller's to set. Ended with evener_grpc_rpc_clear(). */
void evener_grpc_rpc_init(evener_grpc_rpc *rpc, evener_channel *channel, const char *method,
                          const evener_call_options *options);
void evener_grpc_rpc_clear(evener_grpc_rpc *rpc);

/* Before every pick: sets the time that is left; false when none is. */
bool evener_grpc_rpc_pick_time(evener_grpc_rpc *rpc);

/* The status of a call whose time is up between two picks. */
evener_status_code evener_grpc_rpc_deadline_status(const evener_grpc_rpc *rpc, evener_status *status);

/* Return how long to wait before the next attempt; 0 for the first ones. */
uint64_t evener_grpc_rpc_pause_ns(const evener_grpc_rpc *rpc);

/* Wait that long: for blocking calls. UNAVAILABLE where the wait would keep the control thread from learning what is
 * wrong: on that thread itself, or where it is the caller who drives the loop. */
evener_status_code evener_grpc_rpc_pause(const evener_grpc_rpc *rpc, evener_status *status);

/* Metadata of a blocking call as the core wants them. They point to the caller's texts: the batch that sends them is over,
 * and with it the core's use of them, before the call returns. */
#define EVENER_GRPC_METADATA_INLINE 8
typedef struct evener_grpc_borrowed_metadata {
    grpc_metadata *items;
    grpc_metadata inlined[EVENER_GRPC_METADATA_INLINE];
} evener_grpc_borrowed_metadata;
evener_status_code evener_grpc_rpc_borrow_metadata(evener_grpc_rpc *rpc, const evener_call_options *options,
                                                   evener_grpc_borrowed_metadata *borrowed, evener_status *status);
void evener_grpc_rpc_end_borrowing(evener_grpc_rpc *rpc, evener_grpc_borrowed_metadata *borrowed);

/* One attempt: the pick, the core's call, and what it receives. Zeroed memory is an attempt that has not begun. */
typedef struct evener_grpc_attempt {
    evener_pick pick;
    grpc_call *call;
    grpc_byte_buffer *request;
    grpc_byte_buffer *response;
    grpc_metadata_array initial_metadata;
    grpc_metadata_array trailing_metadata;
    grpc_status_code code;
    grpc_slice message;
    const char *error_string;  /* the core's, with a status that is not OK; to be freed with gpr_free() */
    bool message_received;     /* of a stream; a unary call's is `response` */
    uint64_t first_message_ns; /* of a stream: evener_done_info.first_message_ns */
} evener_grpc_attempt;

/* The core's call on a connection that the calling thread has entered. */
grpc_call *evener_grpc_rpc_create_core_call(const evener_grpc_rpc *rpc, const evener_connection *connection,
                                            grpc_completion_queue *queue);

/* Creates the core's call on the connection picked, and stays inside the connection: evener_grpc_attempt_start() follows
 * at once. On failure (the connection is gone or given up) the pick is ended as not sent, and the RPC can be picked again. */
bool evener_grpc_attempt_begin(evener_grpc_attempt *attempt, evener_grpc_rpc *rpc, grpc_completion_queue *queue);

/* Starts the call's first batch, and leaves the connection. Not before: a call whose first batch came after
 * grpc_channel_destroy() would wait for a resolution that never comes, until its deadline (the core's
 * client_channel.cc, CheckResolutionLocked: it fails the calls that wait for a pick, not these). */
grpc_call_error evener_grpc_attempt_start(evener_grpc_attempt *attempt, const grpc_op *operations, size_t count,
                                          void *tag);

/* Starts a unary call's one batch. Errors: INVALID_ARGUMENT (metadata); then the attempt is to be dropped. */
evener_status_code evener_grpc_attempt_start_unary(evener_grpc_attempt *attempt, const evener_grpc_rpc *rpc,
                                                   grpc_slice request, void *tag, evener_status *status);

/* Fills the operation that sends the RPC's metadata, and the one that receives the status. */
void evener_grpc_attempt_send_metadata_op(const evener_grpc_rpc *rpc, grpc_op *operation);
void evener_grpc_attempt_status_op(evener_grpc_attempt *attempt, grpc_op *operation);

/* The reason for which the core refuses the metadata. */
evener_status_code evener_grpc_rpc_bad_metadata(const evener_grpc_rpc *rpc, evener_status *status);

/* When the status has come: whether the RPC is to be picked again, as no transport took it (grpc_fate.h). If so, the
 * attempt is ended, its pick as not sent. If not, evener_grpc_attempt_finish() is to follow. */
bool evener_grpc_attempt_pick_again(evener_grpc_attempt *attempt);

/* Takes what was received: fills `status`, the details if asked for, ends the pick and frees the attempt, but for the
 * response, which is moved to *response (NULL: dropped). Returns the code. */
evener_status_code evener_grpc_attempt_finish(evener_grpc_attempt *attempt, const evener_grpc_rpc *rpc,
                                              evener_call_details *details, evener_bytes *response,
                                              evener_status *status);

/* Ends an attempt whose batch was never started: not sent. */
void evener_grpc_attempt_drop(evener_grpc_attempt *attempt);

#endif
