/* Blocking unary calls: pick, one batch, pluck, done. All on the caller's stack, and on its thread's own queue. */
#include <grpc/grpc.h>

#include <evener/call.h>

#include "lb/call/grpc/bytes.h"
#include "lb/call/grpc/details.h"
#include "lb/call/grpc/rpc.h"

static evener_status_code unsent(const evener_grpc_rpc *rpc, evener_call_details *details, evener_status_code code)
{
    if (details != NULL) {
        evener_grpc_details_fill_unsent(details, rpc->attempts);
    }
    return code;
}

static evener_status_code run(evener_grpc_rpc *rpc, grpc_slice request, evener_call_details *details,
                              evener_bytes *response, evener_status *status)
{
    evener_grpc_attempt attempt;
    attempt.call = NULL;
    for (;;) {
        if (!evener_grpc_rpc_pick_time(rpc)) {
            return unsent(rpc, details, evener_grpc_rpc_deadline_status(rpc, status));
        }
        evener_status_code code = evener_channel_pick(rpc->channel, &rpc->pick_args, &attempt.pick, status);
        if (code != EVENER_STATUS_OK) {
            return unsent(rpc, details, code);
        }
        grpc_completion_queue *queue = evener_grpc_queues_of_thread(attempt.pick.connection->engine->queues);
        if (queue == NULL) {
            evener_grpc_attempt_drop(&attempt);
            return unsent(rpc, details,
                          evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "call of %s: out of memory",
                                            rpc->pick_args.method));
        }
        if (evener_grpc_attempt_begin(&attempt, rpc, queue)) {
            code = evener_grpc_attempt_start_unary(&attempt, rpc, request, &attempt, status);
            if (code != EVENER_STATUS_OK) {
                evener_grpc_attempt_drop(&attempt);
                return unsent(rpc, details, code);
            }
            (void)grpc_completion_queue_pluck(queue, &attempt, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
            if (!evener_grpc_attempt_pick_again(&attempt)) {
                return evener_grpc_attempt_finish(&attempt, rpc, details, response, status);
            }
        }
        code = evener_grpc_rpc_pause(rpc, status);
        if (code != EVENER_STATUS_OK) {
            return unsent(rpc, details, code);
        }
    }
}

evener_status_code evener_unary_call(evener_channel *channel, const char *method, const evener_bytes *request,
                                     const evener_call_options *given, evener_bytes *response, evener_status *status)
{
    evener_call_options options;
    evener_status_code code = evener_grpc_rpc_check(channel, method, given, &options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_grpc_rpc rpc;
    evener_grpc_rpc_init(&rpc, channel, method, &options);
    evener_grpc_borrowed_metadata borrowed;
    code = evener_grpc_rpc_borrow_metadata(&rpc, &options, &borrowed, status);
    if (code == EVENER_STATUS_OK) {
        grpc_slice request_slice = evener_grpc_bytes_to_slice(request);
        code = run(&rpc, request_slice, options.details, response, status);
        grpc_slice_unref(request_slice);
        evener_grpc_rpc_end_borrowing(&rpc, &borrowed);
    }
    evener_grpc_rpc_clear(&rpc);
    return code;
}
