/* Values of fields in texts: what path variables and query parameters mean. They become JSON, so that all kinds of
 * fields have the syntax that they have there. */
#include "lb/protobuf/http_routes_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/protobuf/json_read.h"

void evener_http_put_text(evener_wire_buffer *to, const char *text)
{
    evener_wire_put(to, text, strlen(text));
}

/* Return the bytes of the UTF-8 character here; 0: it is none. */
static size_t character_bytes(const uint8_t *text, size_t length)
{
    for (size_t bytes = 1; bytes <= 4 && bytes <= length; bytes++) {
        if (evener_utf8_is_valid(text, bytes)) {
            return bytes;
        }
    }
    return 0;
}

void evener_http_put_string(evener_wire_buffer *to, const char *text, size_t length)
{
    evener_wire_put_byte(to, '"');
    for (size_t i = 0; i < length;) {
        const uint8_t c = (uint8_t)text[i];
        const size_t bytes = character_bytes((const uint8_t *)text + i, length - i);
        if (bytes == 0) {
            evener_http_put_text(to, "\\ufffd");
        } else if (c == '"' || c == '\\') {
            evener_wire_put_byte(to, '\\');
            evener_wire_put_byte(to, c);
        } else if (c < ' ' || c == 0x7f) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
            evener_http_put_text(to, escape);
        } else {
            evener_wire_put(to, text + i, bytes);
        }
        i += bytes > 0 ? bytes : 1;
    }
    evener_wire_put_byte(to, '"');
}

/* Return whether the field is a map whose key stands in brackets behind the name, and take it out. */
static bool take_map_key(const char *name, size_t *length, evener_http_field_path *path)
{
    const char *bracket = memchr(name, '[', *length);
    if (bracket == NULL || name[*length - 1] != ']') {
        return false;
    }
    path->map_key = bracket + 1;
    path->map_key_bytes = (size_t)(name + *length - 1 - path->map_key);
    *length = (size_t)(bracket - name);
    return true;
}

evener_status_code evener_http_field_path_find(const evener_message_type *message, const char *text, size_t length,
                                               const char *what, evener_http_field_path *path, evener_status *status)
{
    *path = (evener_http_field_path){0};
    const char *at = text;
    const char *const end = text + length;
    for (;;) {
        const char *bracket = memchr(at, '[', (size_t)(end - at));
        const char *dot = memchr(at, '.', (size_t)((bracket != NULL ? bracket : end) - at));
        size_t name_bytes = (size_t)((dot != NULL ? dot : end) - at);
        const bool has_key = dot == NULL && name_bytes > 0 && take_map_key(at, &name_bytes, path);
        const evener_field *field =
            message != NULL ? evener_message_type_field_by_json_name(message, at, name_bytes) : NULL;
        if (field == NULL) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s%.*s: %s has no field %.*s", what,
                                     (int)length, text, message != NULL ? message->full_name : "a value",
                                     (int)name_bytes, at);
        }
        if (path->depth == EVENER_HTTP_FIELD_DEPTH_MAX) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s%.*s: deeper than %d", what,
                                     (int)length, text, EVENER_HTTP_FIELD_DEPTH_MAX);
        }
        const bool is_map = field->message != NULL && field->message->map_entry;
        if (has_key != is_map || (dot != NULL && field->repeated)) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s%.*s: %.*s is %s", what, (int)length,
                                     text, (int)name_bytes, at,
                                     is_map    ? "a map, whose key stands in brackets"
                                     : has_key ? "no map"
                                               : "a list");
        }
        path->fields[path->depth++] = field;
        if (dot == NULL) {
            return EVENER_STATUS_OK;
        }
        message = field->message;
        at = dot + 1;
    }
}

static bool is_number(const char *text, size_t length)
{
    const size_t sign = length > 0 && text[0] == '-';
    for (size_t i = sign; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
    }
    return length > sign && length < 12;
}

static bool equals(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

/* Add the JSON value that the text means for a field. Numbers may be strings in JSON. */
static void put_value(evener_wire_buffer *json, const evener_field *field, const char *text, size_t length)
{
    const bool is_bool =
        field->kind == EVENER_FIELD_BOOL ||
        (field->message != NULL && strcmp(field->message->full_name, "google.protobuf.BoolValue") == 0);
    if ((is_bool && (equals(text, length, "true") || equals(text, length, "false"))) ||
        (field->kind == EVENER_FIELD_ENUM && is_number(text, length))) {
        evener_wire_put(json, text, length);
    } else {
        evener_http_put_string(json, text, length);
    }
}

evener_status_code evener_http_add_value(const evener_message_type *message, const evener_http_field_path *path,
                                         const char *text, size_t length, evener_wire_buffer *into,
                                         evener_status *status)
{
    evener_wire_buffer json = {0};
    const evener_field *field = path->fields[path->depth - 1];
    for (size_t i = 0; i < path->depth; i++) {
        evener_wire_put_byte(&json, '{');
        evener_http_put_string(&json, path->fields[i]->json_name, strlen(path->fields[i]->json_name));
        evener_wire_put_byte(&json, ':');
    }
    const bool has_key = path->map_key != NULL;
    if (has_key) {
        evener_wire_put_byte(&json, '{');
        evener_http_put_string(&json, path->map_key, path->map_key_bytes);
        evener_wire_put_byte(&json, ':');
        put_value(&json, field->message->fields[1], text, length);
        evener_wire_put_byte(&json, '}');
    } else {
        evener_http_put_text(&json, field->repeated ? "[" : "");
        put_value(&json, field, text, length);
        evener_http_put_text(&json, field->repeated ? "]" : "");
    }
    for (size_t i = 0; i < path->depth; i++) {
        evener_wire_put_byte(&json, '}');
    }
    evener_status_code code;
    if (json.failed) {
        code = evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    } else if (!evener_utf8_is_valid((const uint8_t *)text, length)) {
        code =
            evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: the value is not UTF-8", field->json_name);
    } else {
        evener_bytes bytes;
        code = evener_json_to_replacing_bytes(message, (const char *)json.data, json.length, &bytes, status);
        if (code == EVENER_STATUS_OK) {
            evener_wire_put(into, bytes.data, bytes.length);
            evener_bytes_clear(&bytes);
        }
    }
    evener_wire_clear(&json);
    return code;
}
