/* Unary calls. Their callback runs on evener's I/O thread, so it only keeps the answer; JSON is made on a thread of
 * the HTTP server. */
#include "examples/gateway/gateway.h"

static void ended(void *arg, const evener_status *status, evener_bytes *response)
{
    gateway_request *request = arg;
    pthread_mutex_lock(&request->mutex);
    request->status = *status;
    request->response = *response;
    response->owner = NULL; /* kept */
    request->call_ended = true;
    gateway_request_wake(request);
    pthread_mutex_unlock(&request->mutex);
    gateway_request_unref(request);
}

evener_status_code gateway_unary_start(gateway_request *request, const evener_bytes *message,
                                       const evener_call_options *options, evener_status *status)
{
    const char *path = evener_http_match_route(request->match)->method->path;
    gateway_request_ref(request); /* the call's */
    pthread_mutex_lock(&request->mutex);
    gateway_request_sleep(request);
    const evener_status_code code =
        evener_call_start(request->owner->channel, path, message, options, ended, request, &request->call, status);
    if (code != EVENER_STATUS_OK) {
        gateway_request_wake(request);
        gateway_request_unref(request);
    }
    request->call_started = code == EVENER_STATUS_OK;
    pthread_mutex_unlock(&request->mutex);
    return code;
}

enum MHD_Result gateway_unary_answer(gateway_request *request)
{
    pthread_mutex_lock(&request->mutex);
    evener_status status = request->status;
    pthread_mutex_unlock(&request->mutex);
    char *json = NULL;
    if (status.code == EVENER_STATUS_OK) {
        evener_http_routes_response(request->owner->routes, evener_http_match_route(request->match), &request->response,
                                    &json, &status);
    }
    return status.code == EVENER_STATUS_OK ? gateway_answer(request, MHD_HTTP_OK, json, &request->details)
                                           : gateway_answer_error(request, 0, &status, &request->details);
}
