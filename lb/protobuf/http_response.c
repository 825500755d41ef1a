/* From a method's answer, or its status, to the body of an HTTP answer. */
#include "lb/protobuf/http_routes_internal.h"

#include <evener/json.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- statuses ---- */

unsigned evener_http_status(evener_status_code code)
{
    switch (code) {
    case EVENER_STATUS_OK:
        return 200;
    case EVENER_STATUS_INVALID_ARGUMENT:
    case EVENER_STATUS_FAILED_PRECONDITION:
    case EVENER_STATUS_OUT_OF_RANGE:
        return 400;
    case EVENER_STATUS_UNAUTHENTICATED:
        return 401;
    case EVENER_STATUS_PERMISSION_DENIED:
        return 403;
    case EVENER_STATUS_NOT_FOUND:
        return 404;
    case EVENER_STATUS_ALREADY_EXISTS:
    case EVENER_STATUS_ABORTED:
        return 409;
    case EVENER_STATUS_RESOURCE_EXHAUSTED:
        return 429;
    case EVENER_STATUS_CANCELLED:
        return 499;
    case EVENER_STATUS_UNIMPLEMENTED:
        return 501;
    case EVENER_STATUS_UNAVAILABLE:
        return 503;
    case EVENER_STATUS_DEADLINE_EXCEEDED:
        return 504;
    default:
        return 500;
    }
}

/* ---- bodies ---- */

evener_status_code evener_http_routes_response(const evener_http_routes *routes, const evener_http_route *route,
                                               const evener_bytes *message, char **json, evener_status *status)
{
    (void)routes;
    const evener_http_route_entry *entry = (const evener_http_route_entry *)route;
    const evener_json_options options = {.size = sizeof options, .emit_defaults = true, .opaque_any = true};
    const evener_status_code code =
        entry->response_body_field != NULL
            ? evener_json_field_from_bytes(entry->response_body_field, message, &options, json, NULL, status)
            : evener_json_from_bytes(route->method->output, message, &options, json, NULL, status);
    /* The message came from the server: the caller of the gateway has done nothing wrong. */
    return code == EVENER_STATUS_INVALID_ARGUMENT && status != NULL
               ? evener_status_set(status, EVENER_STATUS_INTERNAL, "%s: the answer is malformed: %s",
                                   route->method->path, status->message)
           : code == EVENER_STATUS_INVALID_ARGUMENT ? EVENER_STATUS_INTERNAL
                                                    : code;
}

/* Fields of google.rpc.Status. */
#define STATUS_DETAILS 3

/* Add the details as the members of a JSON list. What is malformed or of unknown types is left out. */
static void put_details(const evener_http_routes *routes, const uint8_t *details, size_t length, evener_wire_buffer *to)
{
    const evener_message_type *any = evener_descriptors_message(routes->descriptors, "google.protobuf.Any");
    evener_wire_reader reader = {details, details + length};
    evener_wire_field field;
    bool first = true;
    while (any != NULL && length > 0 && evener_wire_next(&reader, &field) == EVENER_WIRE_FIELD) {
        if (field.number == STATUS_DETAILS && field.type == EVENER_WIRE_BYTES) {
            const evener_bytes one = {.data = field.data, .length = field.length};
            char *json;
            if (evener_json_from_bytes(any, &one, NULL, &json, NULL, NULL) == EVENER_STATUS_OK) {
                evener_http_put_text(to, first ? "" : ",");
                evener_http_put_text(to, json);
                free(json);
                first = false;
            }
        }
    }
}

char *evener_http_routes_error(const evener_http_routes *routes, evener_status_code code, const char *message,
                               size_t message_bytes, const void *details, size_t details_bytes)
{
    evener_wire_buffer json = {0};
    char head[32];
    snprintf(head, sizeof head, "{\"code\":%d,\"message\":", (int)code);
    evener_http_put_text(&json, head);
    evener_http_put_string(&json, message, message_bytes);
    evener_http_put_text(&json, ",\"details\":[");
    if (details != NULL) {
        put_details(routes, details, details_bytes, &json);
    }
    evener_http_put_text(&json, "]}");
    evener_wire_put_byte(&json, '\0');
    if (json.failed) {
        evener_wire_clear(&json);
    }
    return (char *)json.data; /* NULL: failed */
}
