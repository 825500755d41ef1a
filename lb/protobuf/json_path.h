/* JSON path: where a reader or writer of JSON is, for errors: "items[2].price". Frames live on the stack, each of them
 * pointing to the one that it is inside of; NULL is the message itself. */
#ifndef EVENER_LB_PROTOBUF_JSON_PATH_H
#define EVENER_LB_PROTOBUF_JSON_PATH_H

#include <stddef.h>

#include <evener/json.h>
#include <evener/status.h>

typedef struct evener_json_path {
    const struct evener_json_path *up;
    const char *name; /* of a field or key; NULL: an index */
    size_t length;    /* of the name, or the index */
} evener_json_path;

/* Fail with "PATH: PROBLEM", or "PROBLEM" at the message itself. Return false. */
bool evener_json_wrong(const evener_json_path *path, evener_status_code code, const char *problem,
                       evener_status *status);

/* Read the options of a program: fill in defaults. Errors: INVALID_ARGUMENT. */
evener_status_code evener_json_options_read(const evener_json_options *given, evener_json_options *options,
                                            evener_status *status);

/* Fail because a result is too long, or for memory. Return the code. */
evener_status_code evener_json_no_room(bool too_long, const evener_json_options *options, evener_status *status);

#endif
