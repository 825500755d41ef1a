/* JSON: messages as JSON text and back, by the canonical mapping (protobuf.dev/programming-guides/json), straight
 * between text and wire bytes. In the library libevener-protobuf-c.
 *
 *     const evener_method *method = evener_descriptors_method(types, "orders.Orders/Get");
 *     static const char text[] = "{\"orderId\":\"17\"}";
 *     if (evener_json_to_bytes(method->input, text, strlen(text), NULL, &request, &status) == EVENER_STATUS_OK &&
 *         evener_unary_call(channel, method->path, &request, NULL, &response, &status) == EVENER_STATUS_OK &&
 *         evener_json_from_bytes(method->output, &response, NULL, &json, &length, &status) == EVENER_STATUS_OK)
 *         puts(json);
 *
 * Written: names in lowerCamelCase or as json_name says, fields in the order of their numbers, 64-bit integers as
 * strings, bytes in base64, enums by name, floating-point numbers with the fewest digits that give the same value, map
 * entries in the order of their keys. Any, Duration, FieldMask, ListValue, Struct, Timestamp, Value and the wrappers of
 * google/protobuf/ have their own forms. Fields that the type does not know are left out.
 * Read: in addition, original names, integers as strings and strings as integers where they are exact ("7", 7.0, 7e2),
 * enums by number, both alphabets of base64 with or without padding, null for "not set". JSON is read strictly
 * (RFC 8259, UTF-8): no comments, no duplicate fields, nothing after the value. Of a map key that comes twice the last
 * entry wins.
 *
 * Not checked: whether `required` fields of proto2 are there. Not read or written: extensions.
 *
 * Errors are INVALID_ARGUMENT with the path of the value, "items[2].price: a number is needed", or, if the text is not
 * JSON, with the place: "malformed JSON at line 3, column 14: ...". A limit that is exceeded is RESOURCE_EXHAUSTED.
 * Threads: any; the functions keep nothing. Descriptors are read only. Text and bytes may come from anyone. */
#ifndef EVENER_JSON_H
#define EVENER_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/bytes.h>
#include <evener/descriptors.h>
#include <evener/export.h>
#include <evener/status.h>

EVENER_BEGIN_DECLS

#define EVENER_JSON_DEPTH_DEFAULT 100
#define EVENER_JSON_DEPTH_MAX 1000
#define EVENER_JSON_BYTES_DEFAULT (64 * 1024 * 1024)

/* Everything zero is the documented default. */
typedef struct evener_json_options {
    size_t size; /* sizeof(evener_json_options) */
    /* Reading: ignore fields that the type does not have, and enum values whose names it does not have. Default:
     * refuse. */
    bool ignore_unknown;
    /* Writing: fields without presence that have their default value, too: 0, "", [], {}. */
    bool emit_defaults;
    bool original_names;   /* writing: names of fields as in the .proto */
    bool enums_as_numbers; /* writing */
    /* Both ways: an Any whose type the descriptors do not have is {"@type": "...", "@value": "<base64>"}. Default:
     * refuse. */
    bool opaque_any;
    unsigned indent;    /* writing: spaces per level; 0: everything on one line, without spaces */
    unsigned depth_max; /* of messages, lists and maps inside each other; 0: EVENER_JSON_DEPTH_DEFAULT; at most
                           EVENER_JSON_DEPTH_MAX */
    size_t bytes_max;   /* of the result; 0: EVENER_JSON_BYTES_DEFAULT */
} evener_json_options;

/* Read one JSON value, the form of a message of `type`, out of the `length` bytes at `json`, which need no NUL.
 * `options` may be NULL. On OK store an owned message, to be cleared, in *message. */
EVENER_API evener_status_code evener_json_to_bytes(const evener_message_type *type, const char *json, size_t length,
                                                   const evener_json_options *options, evener_bytes *message,
                                                   evener_status *status);

/* Write a message of `type` as JSON text. On OK store text that ends with NUL in *json, for free(), and its length
 * without the NUL in *length, which may be NULL. `options` may be NULL. */
EVENER_API evener_status_code evener_json_from_bytes(const evener_message_type *type, const evener_bytes *message,
                                                     const evener_json_options *options, char **json, size_t *length,
                                                     evener_status *status);

/* As evener_json_to_bytes(), but the JSON is the value of `field` alone: of its message, list, map or scalar. The
 * result is a message of field->parent with nothing but this field; wire bytes of messages of one type are merged by
 * appending them to each other. */
EVENER_API evener_status_code evener_json_field_to_bytes(const evener_field *field, const char *json, size_t length,
                                                         const evener_json_options *options, evener_bytes *message,
                                                         evener_status *status);

/* As evener_json_from_bytes(), but write only the value of `field` in a message of field->parent. If it is not set:
 * null for a message, else its default, also the one that proto2 declares. */
EVENER_API evener_status_code evener_json_field_from_bytes(const evener_field *field, const evener_bytes *message,
                                                           const evener_json_options *options, char **json,
                                                           size_t *length, evener_status *status);

/* Find the first of several JSON values that follow each other, separated by whitespace or nothing. On OK store where
 * it begins and ends; *start equal to *end: there is only whitespace left. Errors: INVALID_ARGUMENT (malformed),
 * RESOURCE_EXHAUSTED (deeper than EVENER_JSON_DEPTH_MAX). */
EVENER_API evener_status_code evener_json_next(const char *json, size_t length, size_t *start, size_t *end,
                                               evener_status *status);

EVENER_END_DECLS

#endif
