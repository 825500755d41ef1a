/* Calls of the core for programs that drive a completion queue of their own.
 *
 * Such a call stays inside its connection from its creation to evener_call_done(): when the program starts its first
 * batch is not known here, and the core never ends a call whose first batch comes after its channel was destroyed (see
 * evener_grpc_core_call_start()). A connection that is given up meanwhile closes when the last of them is done. */
#include <grpc/grpc.h>
#include <grpc/support/time.h>

#include <evener/grpc.h>

#include "lb/base/fork.h"
#include "lb/base/options.h"
#include "lb/call/rpc.h"
#include "lb/runtime/runtime_internal.h"
#include "lb/transport/grpc/connection.h"
#include "lb/transport/grpc/fate.h"
#include "lb/transport/grpc/transport.h"

static evener_status_code check(evener_channel *channel, const char *method, const evener_call_options *given,
                                evener_call_options *options, evener_status *status)
{
    const evener_status_code code = evener_rpc_check(channel, method, given, options, status);
    if (code == EVENER_STATUS_OK && !evener_transport_is_grpc(evener_channel_transport(channel))) {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "call of %s: the channel to %s has another transport, and calls of the gRPC core need "
                                 "the transport \"grpc\"",
                                 method, evener_channel_target(channel));
    }
    return code;
}

/* Create the call on a connection that the calling thread has entered. */
static grpc_call *create_core_call(const evener_rpc *rpc, const evener_connection *connection,
                                   grpc_completion_queue *queue)
{
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (rpc->deadline_ns != UINT64_MAX) {
        const uint64_t now_ns = evener_loop_now_ns(connection->loop);
        const uint64_t left_ns = rpc->deadline_ns > now_ns ? rpc->deadline_ns - now_ns : 0;
        deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos((int64_t)left_ns, GPR_TIMESPAN));
    }
    grpc_slice method = grpc_slice_from_copied_string(rpc->pick_args.method);
    grpc_slice authority = grpc_slice_from_copied_string(rpc->authority != NULL ? rpc->authority : "");
    grpc_call *call = grpc_channel_create_call(connection->channel, NULL, 0, queue, method,
                                               rpc->authority != NULL ? &authority : NULL, deadline, NULL);
    grpc_slice_unref(method);
    grpc_slice_unref(authority);
    return call;
}

evener_status_code evener_channel_create_call(evener_channel *channel, struct grpc_completion_queue *queue,
                                              const char *method, const evener_call_options *given, evener_pick *pick,
                                              struct grpc_call **call, evener_status *status)
{
    evener_call_options options;
    evener_status_code code = check(channel, method, given, &options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (queue == NULL || pick == NULL || call == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "evener_channel_create_call: `%s` is NULL",
                                 queue == NULL  ? "queue"
                                 : pick == NULL ? "pick"
                                                : "call");
    }
    evener_rpc rpc;
    evener_rpc_init(&rpc, channel, method, &options);
    for (;;) {
        if (!evener_rpc_set_pick_timeout(&rpc)) {
            return evener_rpc_deadline_status(&rpc, status);
        }
        code = evener_channel_pick(channel, &rpc.pick_args, pick, status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
        rpc.attempts++;
        if (evener_grpc_connection_enter(pick->connection)) {
            *call = create_core_call(&rpc, pick->connection, queue);
            return code;
        }
        evener_rpc_drop_pick(pick, EVENER_STATUS_UNAVAILABLE); /* given up meanwhile: no pick finds it again */
    }
}

evener_status_code evener_pick_create_call(evener_channel *channel, evener_pick *pick,
                                           struct grpc_completion_queue *queue, const char *method,
                                           const evener_call_options *given, struct grpc_call **call,
                                           evener_status *status)
{
    evener_call_options options;
    const evener_status_code code = check(channel, method, given, &options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (queue == NULL || pick == NULL || call == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "evener_pick_create_call: `%s` is NULL",
                                 queue == NULL  ? "queue"
                                 : pick == NULL ? "pick"
                                                : "call");
    }
    if (evener_runtime_is_older_than_fork(evener_channel_runtime(channel))) {
        return evener_fork_refuse(status, "channel");
    }
    evener_connection *connection = pick->connection;
    if (!evener_grpc_connection_enter(connection)) {
        return evener_status_set(status, EVENER_STATUS_UNAVAILABLE,
                                 "the connection picked for %s has been given up: end the pick and pick again", method);
    }
    evener_rpc rpc;
    evener_rpc_init(&rpc, channel, method, &options);
    *call = create_core_call(&rpc, connection, queue);
    return evener_status_clear(status);
}

bool evener_call_done(evener_channel *channel, evener_pick *pick, struct grpc_call *call, const evener_done_info *info)
{
    (void)call;
    evener_done_info known;
    evener_done_info_read(&known, info);
    if (evener_runtime_is_older_than_fork(evener_channel_runtime(channel))) {
        evener_pick_done(pick, &known);
        return false;
    }
    known.not_sent = known.code != EVENER_STATUS_OK && evener_grpc_was_not_taken(known.error_string, known.answered);
    evener_grpc_connection_judge(pick->connection, known.code, known.not_sent);
    evener_grpc_connection_leave(pick->connection);
    evener_pick_done(pick, &known);
    return known.not_sent;
}
