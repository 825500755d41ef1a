/* What the files of HTTP routes share. */
#ifndef EVENER_LB_PROTOBUF_HTTP_ROUTES_INTERNAL_H
#define EVENER_LB_PROTOBUF_HTTP_ROUTES_INTERNAL_H

#include <evener/http_routes.h>

#include "lb/protobuf/http_rule.h"
#include "lb/protobuf/path_template.h"
#include "lb/protobuf/wire.h"

#define EVENER_HTTP_FIELD_DEPTH_MAX 32 /* of a field path, "a.b.c" */

typedef struct evener_http_route_entry {
    evener_http_route route; /* first: its texts are those of `rule` and `body` */
    evener_http_rule rule;
    evener_path_template template;
    const evener_field *body_field;          /* NULL: body is "*" or "" */
    const evener_field *response_body_field; /* NULL: "" */
} evener_http_route_entry;

struct evener_http_routes {
    const evener_descriptors *descriptors;
    const evener_http_route **list; /* the entries, in order */
    size_t count;
};

struct evener_http_match {
    const evener_http_routes *routes;
    const evener_http_route_entry *entry;
    char *memory;
    evener_path_value values[EVENER_PATH_VARIABLES_MAX];
};

/* A field path with its fields: those of the messages on the way, and the last one. */
typedef struct evener_http_field_path {
    const evener_field *fields[EVENER_HTTP_FIELD_DEPTH_MAX];
    size_t depth;
    const char *map_key; /* "attributes[color]": what is in the brackets; else NULL */
    size_t map_key_bytes;
} evener_http_field_path;

/* Find the fields of "a.b.c", by JSON names or names, in a message type. `what` begins the message of an error: "path
 * variable". Errors: INVALID_ARGUMENT. */
evener_status_code evener_http_field_path_find(const evener_message_type *message, const char *text, size_t length,
                                               const char *what, evener_http_field_path *path, evener_status *status);

/* Add the message in which the field at that path has the value that the text means, also if that is the default. As
 * messages merge when their bytes are joined, this sets the field; to a FieldMask it adds paths. `text` is decoded.
 * Errors: INVALID_ARGUMENT. */
evener_status_code evener_http_add_value(const evener_message_type *message, const evener_http_field_path *path,
                                         const char *text, size_t length, evener_wire_buffer *into,
                                         evener_status *status);

/* Add a text. */
void evener_http_put_text(evener_wire_buffer *to, const char *text);

/* Add a JSON string, quoted; bytes that are not UTF-8 become U+FFFD. */
void evener_http_put_string(evener_wire_buffer *to, const char *text, size_t length);

#endif
