/* Bytes to JSON: what json_write.c (messages and fields), json_write_repeated.c (lists, maps) and json_write_known.c
 * (messages with forms of their own) share. */
#ifndef EVENER_LB_PROTOBUF_JSON_WRITE_H
#define EVENER_LB_PROTOBUF_JSON_WRITE_H

#include "lb/protobuf/json_path.h"
#include "lb/protobuf/json_text.h"
#include "lb/protobuf/pool.h"

typedef struct evener_json_span {
    const uint8_t *data;
    size_t length;
} evener_json_span;

/* A field as it stands in a message. */
typedef struct evener_json_occurrence {
    const evener_field *field;
    evener_wire_field wire;
} evener_json_occurrence;

/* A conversion under way. Functions return false after they have set `status`. */
typedef struct evener_json_output {
    evener_json_writer writer;
    evener_json_options options;
    evener_json_occurrence *items; /* a stack of the fields of the open messages */
    size_t item_count, item_room;
    unsigned depth;
    evener_status *status;
} evener_json_output;

/* Write the form of a message whose content is `from`. */
bool evener_json_write_message(evener_json_output *out, const evener_json_path *path, const evener_message_type *type,
                               evener_json_span from);

/* Write the members of an object, without its brackets. */
bool evener_json_write_members(evener_json_output *out, const evener_json_path *path, const evener_message_type *type,
                               evener_json_span from);

/* Write a value that is no message; of a string or bytes the content is `bytes`. */
bool evener_json_write_scalar(evener_json_output *out, const evener_json_path *path, const evener_field *field,
                              uint64_t value, evener_json_span bytes);

/* Write the value of a field that is not set and is no message: the declared default; of an enum the first value. */
bool evener_json_write_default(evener_json_output *out, const evener_json_path *path, const evener_field *field);

/* Write one value of a field, as it stands in a message. */
bool evener_json_write_element(evener_json_output *out, const evener_json_path *path, const evener_field *field,
                               const evener_wire_field *wire);

/* Write the list or map that the `count` items from `first` on are. */
bool evener_json_write_list(evener_json_output *out, const evener_json_path *path, size_t first, size_t count,
                            const evener_field *field);
bool evener_json_write_map(evener_json_output *out, const evener_json_path *path, size_t first, size_t count,
                           const evener_field *field);

/* Whether a wire field of a list or map has an element to write. Malformed ones count, so that they are reported. */
bool evener_json_has_element(const evener_field *field, const evener_wire_field *wire);

/* Whether a closed enum does not have a value: then it counts as an unknown field. */
bool evener_json_is_unknown_value(const evener_field *field, uint64_t value);

/* Return the value of an integer as it is, not as it is encoded. */
int64_t evener_json_integer_of(evener_field_kind kind, uint64_t value);

/* Write the value of a map, the field `field` of the message whose content is `from`. */
bool evener_json_write_map_field(evener_json_output *out, const evener_json_path *path, const evener_field *field,
                                 evener_json_span from);

/* Write a message with a form of its own. */
bool evener_json_write_known(evener_json_output *out, const evener_json_path *path, const evener_message_type *type,
                             evener_known_type known, evener_json_span from);

/* Fail because bytes are not a message of their type. */
bool evener_json_write_malformed(evener_json_output *out, const evener_json_path *path);

/* Enter one more level; out->depth-- leaves it. */
bool evener_json_write_enter(evener_json_output *out, const evener_json_path *path);

#endif
