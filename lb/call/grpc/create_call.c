/* Calls of the core for programs that drive a completion queue of their own.
 *
 * Such a call stays inside its connection from its creation to evener_call_done(): when the program starts its first
 * batch is not known here, and the core never ends a call whose first batch comes after its channel was destroyed (see
 * evener_grpc_attempt_start()). A connection that is given up meanwhile closes when the last of them is done. */
#include <grpc/grpc.h>

#include <evener/call.h>

#include "lb/base/options.h"
#include "lb/call/grpc/rpc.h"
#include "lb/transport/grpc/fate.h"

evener_status_code evener_channel_create_call(evener_channel *channel, struct grpc_completion_queue *queue,
                                              const char *method, const evener_call_options *given, evener_pick *pick,
                                              struct grpc_call **call, evener_status *status)
{
    evener_call_options options;
    evener_status_code code = evener_grpc_rpc_check(channel, method, given, &options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (queue == NULL || pick == NULL || call == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "evener_channel_create_call: `%s` is NULL",
                                 queue == NULL  ? "queue"
                                 : pick == NULL ? "pick"
                                                : "call");
    }
    evener_grpc_rpc rpc;
    evener_grpc_rpc_init(&rpc, channel, method, &options);
    bool begun = false;
    while (code == EVENER_STATUS_OK && !begun) {
        if (!evener_grpc_rpc_pick_time(&rpc)) {
            code = evener_grpc_rpc_deadline_status(&rpc, status);
            break;
        }
        code = evener_channel_pick(channel, &rpc.pick_args, pick, status);
        if (code == EVENER_STATUS_OK) {
            rpc.attempts++;
            begun = !evener_grpc_connection_is_gone(pick->connection) && evener_grpc_connection_enter(pick->connection);
            if (begun) {
                *call = evener_grpc_rpc_create_core_call(&rpc, pick->connection, queue);
            } else {
                const evener_done_info info = {.size = sizeof info, .code = EVENER_STATUS_CANCELLED, .not_sent = true};
                evener_pick_done(pick, &info);
                code = evener_grpc_rpc_pause(&rpc, status);
            }
        }
    }
    evener_grpc_rpc_clear(&rpc);
    return code;
}

evener_status_code evener_pick_create_call(evener_channel *channel, evener_pick *pick,
                                           struct grpc_completion_queue *queue, const char *method,
                                           const evener_call_options *given, struct grpc_call **call,
                                           evener_status *status)
{
    evener_call_options options;
    evener_status_code code = evener_grpc_rpc_check(channel, method, given, &options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (queue == NULL || pick == NULL || call == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "evener_pick_create_call: `%s` is NULL",
                                 queue == NULL  ? "queue"
                                 : pick == NULL ? "pick"
                                                : "call");
    }
    evener_connection *connection = pick->connection;
    if (!evener_grpc_connection_enter(connection)) {
        return evener_status_set(status, EVENER_STATUS_UNAVAILABLE,
                                 "the connection picked for %s has been given up: end the pick and pick again", method);
    }
    evener_grpc_rpc rpc;
    evener_grpc_rpc_init(&rpc, channel, method, &options);
    *call = evener_grpc_rpc_create_core_call(&rpc, connection, queue);
    evener_grpc_rpc_clear(&rpc);
    return evener_status_clear(status);
}

bool evener_call_done(evener_channel *channel, evener_pick *pick, struct grpc_call *call, const evener_done_info *info)
{
    (void)channel;
    (void)call;
    evener_done_info known;
    evener_done_info_read(&known, info);
    known.not_sent = known.code != EVENER_STATUS_OK && evener_grpc_was_not_taken(known.error_string, known.answered);
    evener_grpc_connection_judge(pick->connection, known.code, known.not_sent);
    evener_grpc_connection_leave(pick->connection);
    evener_pick_done(pick, &known);
    return known.not_sent;
}
