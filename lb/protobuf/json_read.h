/* JSON to bytes: what json_read.c (messages, lists, maps), json_read_single.c (single values) and json_read_known.c
 * (messages with forms of their own) share. */
#ifndef EVENER_LB_PROTOBUF_JSON_READ_H
#define EVENER_LB_PROTOBUF_JSON_READ_H

#include "lb/protobuf/json_path.h"
#include "lb/protobuf/json_text.h"
#include "lb/protobuf/pool.h"

/* A conversion under way. Functions return false after they have set `status`. */
typedef struct evener_json_input {
    evener_json_reader reader;
    evener_json_options options;
    evener_wire_buffer out;
    evener_wire_buffer text; /* scratch: an unescaped string */
    uint32_t *seen;          /* a stack of the fields that the open objects have had */
    size_t seen_count, seen_room;
    unsigned depth;
    bool write_defaults; /* also where there is no presence: the bytes replace what others set */
    evener_status *status;
} evener_json_input;

typedef enum evener_json_mode {
    EVENER_JSON_TAGGED,  /* write the tag, and every value */
    EVENER_JSON_IMPLICIT /* write the tag; leave out a default value */
} evener_json_mode;

/* Read the form of a message and append its content. */
bool evener_json_read_message(evener_json_input *in, const evener_json_path *path, const evener_message_type *type);

/* Read the members of an object as fields of `type`. `skip`: a name to ignore, or NULL. */
bool evener_json_read_object(evener_json_input *in, const evener_json_path *path, const evener_message_type *type,
                             const char *skip);

/* Read a single value of a field that is not repeated, or an element, and append it. With `ignore_unknown` an unknown
 * enum value appends nothing. */
bool evener_json_read_single(evener_json_input *in, const evener_json_path *path, const evener_field *field,
                             evener_json_mode mode);

/* Read a number, boolean or enum value and store its 64-bit form; with *known false nothing is to be written. */
bool evener_json_read_simple(evener_json_input *in, const evener_json_path *path, const evener_field *field,
                             uint64_t *value, bool *known);

/* Append such a value, without a tag. */
void evener_json_put_simple(evener_json_input *in, evener_field_kind kind, uint64_t value);

/* Append a map's key, whose text is in in->text. */
bool evener_json_put_key(evener_json_input *in, const evener_json_path *path, const evener_field *key);

/* Whether the field's values are google.protobuf.NullValue's. */
bool evener_json_is_null_value(const evener_field *field);

/* Read a message with a form of its own. */
bool evener_json_read_known(evener_json_input *in, const evener_json_path *path, const evener_message_type *type,
                            evener_known_type known);

/* Read a string into in->text. */
bool evener_json_read_text(evener_json_input *in, const evener_json_path *path, const char *needed);

/* Fail with the reader's problem. */
bool evener_json_read_malformed(evener_json_input *in);

/* Fail at a path, or, if the text is malformed, with that. */
bool evener_json_read_wrong(evener_json_input *in, const evener_json_path *path, const char *problem);

/* Fail at a path because the value that comes next is of another type, or with its place if it is not JSON at all. */
bool evener_json_read_other(evener_json_input *in, const evener_json_path *path, const char *needed);

/* Like evener_json_to_bytes() without options, but values that are defaults are written, too: joined behind other bytes
 * of the message, they replace what those set. Only the paths of a FieldMask are added instead. */
evener_status_code evener_json_to_replacing_bytes(const evener_message_type *type, const char *json, size_t length,
                                                  evener_bytes *message, evener_status *status);

/* Enter one more level, and leave it. */
bool evener_json_read_enter(evener_json_input *in, const evener_json_path *path);

#endif
