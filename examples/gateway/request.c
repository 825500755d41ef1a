#include "examples/gateway/gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/whole_message.h"

void gateway_request_ref(gateway_request *request)
{
    atomic_fetch_add_explicit(&request->references, 1, memory_order_relaxed);
}

void gateway_request_unref(gateway_request *request)
{
    /* acq_rel: the other holder's accesses happen before the end. */
    if (atomic_fetch_sub_explicit(&request->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    evener_http_match_destroy(request->match);
    evener_call_details_clear(&request->details);
    evener_bytes_clear(&request->response);
    evener_call_unref(request->call);
    gateway_stream_free(request->stream);
    pthread_mutex_destroy(&request->mutex);
    free(request->target);
    free(request->query);
    free(request->body);
    free(request);
}

void gateway_request_sleep(gateway_request *request)
{
    request->suspended = true;
    MHD_suspend_connection(request->connection);
}

void gateway_request_wake(gateway_request *request)
{
    if (request->suspended && request->connection != NULL) {
        request->suspended = false;
        MHD_resume_connection(request->connection);
    }
}

void gateway_request_cancel(gateway_request *request)
{
    pthread_mutex_lock(&request->mutex);
    evener_call *call = request->call != NULL ? evener_call_ref(request->call) : NULL;
    gateway_stream *stream = request->stream;
    pthread_mutex_unlock(&request->mutex);
    if (call != NULL) {
        evener_call_cancel(call);
        evener_call_unref(call);
    }
    if (stream != NULL) {
        gateway_stream_cancel(stream);
    }
}

enum MHD_Result gateway_answer(gateway_request *request, unsigned http_status, char *json,
                               const evener_call_details *details)
{
    if (json == NULL) {
        return MHD_NO; /* closes the connection */
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(json), json, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(json);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    if (details != NULL) {
        gateway_headers_add(response, details);
    }
    if (http_status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        char verbs[128];
        evener_http_routes_allowed(request->owner->routes, request->target, verbs, sizeof verbs);
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, verbs);
    }
    pthread_mutex_lock(&request->owner->mutex);
    const bool stopping = request->owner->stopping;
    pthread_mutex_unlock(&request->owner->mutex);
    if (stopping) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    const enum MHD_Result queued = MHD_queue_response(request->connection, http_status, response);
    MHD_destroy_response(response);
    return queued;
}

char *gateway_error_json(const gateway_request *request, const evener_status *status,
                         const evener_call_details *details)
{
    const evener_bytes message = whole_message(status, details);
    const evener_metadata *rich =
        details != NULL ? evener_metadata_find(details->trailing_metadata, details->trailing_metadata_count,
                                               "grpc-status-details-bin")
                        : NULL;
    return evener_http_routes_error(request->owner->routes, status->code, (const char *)message.data, message.length,
                                    rich != NULL ? rich->value : NULL, rich != NULL ? rich->value_bytes : 0);
}

enum MHD_Result gateway_answer_error(gateway_request *request, unsigned http_status, const evener_status *status,
                                     const evener_call_details *details)
{
    return gateway_answer(request, http_status != 0 ? http_status : evener_http_status(status->code),
                          gateway_error_json(request, status, details), details);
}
