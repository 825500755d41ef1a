/* HTTP routes: which gRPC method an HTTP request calls, and how its parts become the method's messages and back, by
 * the rules of google.api.http (googleapis: google/api/http.proto). In the library libevener-protobuf-c. The server
 * of HTTP is the program's: examples/gateway is one.
 *
 *     evener_http_routes_create(descriptors, NULL, &routes, &status);
 *     evener_http_match *match;
 *     if (evener_http_routes_find(routes, "POST", "/v1/call", &match, &status) == EVENER_STATUS_OK &&
 *         evener_http_match_request(match, query, body, body_length, &request, &status) == EVENER_STATUS_OK) {
 *         const evener_http_route *route = evener_http_match_route(match);
 *         if (evener_unary_call(channel, route->method->path, &request, ...) == EVENER_STATUS_OK)
 *             evener_http_routes_response(routes, route, &response, &json, &status);
 *     }
 *
 * Rules are read from the methods' options. A method without a rule is at "POST /package.Service/Method", with its
 * whole message as body. Where several templates match, the more specific one wins, whatever their order: words
 * before "*", "*" before "**".
 *
 * Texts that functions store are ended by NUL, and to be freed with free(). Routes are constant after their
 * creation: any number of threads may use them. */
#ifndef EVENER_HTTP_ROUTES_H
#define EVENER_HTTP_ROUTES_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/bytes.h>
#include <evener/descriptors.h>
#include <evener/export.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

/* ---- routes ---- */

typedef struct evener_http_routes evener_http_routes;

/* One binding of a method. Owned by the routes. */
typedef struct evener_http_route {
    const char *verb;          /* "POST"; "*": any (custom { kind: "*" }), after routes that name theirs */
    const char *path;          /* the template: "/v1/books/{book.id}" */
    const char *body;          /* "*": the whole message; a field; "": there is no body */
    const char *response_body; /* the field of the answer that is sent; "": all of it */
    const evener_method *method;
} evener_http_route;

typedef struct evener_http_routes_options {
    size_t size;     /* sizeof(evener_http_routes_options) */
    bool only_bound; /* methods without a rule have no route */
    /* Services whose names begin with one of these, up to NULL, have no routes. NULL: those of "grpc.", which are
     * about the server itself (health, reflection). */
    const char *const *hidden_prefixes;
} evener_http_routes_options;

/* Read the rules of all services in the pool, which must outlive the routes and get no further files meanwhile.
 * Store the routes in *routes, to be destroyed. `options` may be NULL. Errors: INVALID_ARGUMENT (a rule is malformed
 * or names a field that does not exist), ALREADY_EXISTS (two methods have the same verb and template),
 * RESOURCE_EXHAUSTED (memory). The message names the method. */
EVENER_API evener_status_code evener_http_routes_create(const evener_descriptors *descriptors,
                                                        const evener_http_routes_options *options,
                                                        evener_http_routes **routes, evener_status *status);

/* Free the routes. NULL is allowed. */
EVENER_API void evener_http_routes_destroy(evener_http_routes *routes);

/* Return all routes in the order in which they are tried, and store their number. */
EVENER_API const evener_http_route *const *evener_http_routes_list(const evener_http_routes *routes, size_t *count);

/* ---- requests ---- */

/* A request's route and the values of its path. */
typedef struct evener_http_match evener_http_match;

/* Find the route of a request. `path` is that of the request line without query, percent-encoded as it came. On OK
 * store the match in *match, to be destroyed. Errors: NOT_FOUND (no route has the path: HTTP 404), UNIMPLEMENTED
 * (only other verbs have it: HTTP 405; evener_http_routes_allowed() says which), RESOURCE_EXHAUSTED (memory). */
EVENER_API evener_status_code evener_http_routes_find(const evener_http_routes *routes, const char *verb,
                                                      const char *path, evener_http_match **match,
                                                      evener_status *status);

/* Store the verbs with which a path has routes, as in the header Allow: "GET, POST". Truncated to `room` bytes. */
EVENER_API void evener_http_routes_allowed(const evener_http_routes *routes, const char *path, char *verbs,
                                           size_t room);

/* Return the match's route. */
EVENER_API const evener_http_route *evener_http_match_route(const evener_http_match *match);

/* Make the method's request out of path, query ("a=1&b.c=2", percent-encoded; NULL: none) and body, and store it in
 * *message, to be cleared. Where they disagree the path wins over the query, and that over the body. A query is ignored
 * when the body is the whole message. An empty body is an empty message. Errors: INVALID_ARGUMENT (malformed JSON, with
 * line and column; a wrong type or an unknown field, with its path: "config.name: ..."), RESOURCE_EXHAUSTED. */
EVENER_API evener_status_code evener_http_match_request(const evener_http_match *match, const char *query,
                                                        const char *body, size_t body_length, evener_bytes *message,
                                                        evener_status *status);

/* Free the match. NULL is allowed. */
EVENER_API void evener_http_match_destroy(evener_http_match *match);

/* ---- answers ---- */

/* Store the answer in JSON, on one line. Errors: INTERNAL (the bytes are no message of the method's type),
 * RESOURCE_EXHAUSTED. */
EVENER_API evener_status_code evener_http_routes_response(const evener_http_routes *routes,
                                                          const evener_http_route *route, const evener_bytes *message,
                                                          char **json, evener_status *status);

/* Store an error in JSON, as google.rpc.Status: {"code":5,"message":"not found","details":[]}. `message` of
 * `message_bytes` may be any bytes. `details` is the value of the trailer grpc-status-details-bin, or NULL: details
 * of types that the pool has are included. NULL: out of memory. */
EVENER_API char *evener_http_routes_error(const evener_http_routes *routes, evener_status_code code,
                                          const char *message, size_t message_bytes, const void *details,
                                          size_t details_bytes);

/* Return the HTTP status of a gRPC status (googleapis: google/rpc/code.proto): 404 for NOT_FOUND, 500 for UNKNOWN. */
EVENER_API unsigned evener_http_status(evener_status_code code);

/* ---- documents ---- */

/* Store a description of the routes as OpenAPI 2.0 in YAML. `title` NULL: "gateway". Errors: RESOURCE_EXHAUSTED. */
EVENER_API evener_status_code evener_http_routes_openapi(const evener_http_routes *routes, const char *title,
                                                         char **yaml, evener_status *status);

EVENER_END_DECLS

#endif
