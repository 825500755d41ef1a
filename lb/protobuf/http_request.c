/* From an HTTP request's path, query and body to the message of its method. Each part becomes bytes of its own, and
 * these are joined: protobuf merges joined messages, and of two values of a field the last one counts. */
#include "lb/protobuf/http_routes_internal.h"

#include <evener/json.h>

#include <stdlib.h>
#include <string.h>

#define QUERY_PARAMETERS_MAX 1000

/* Add what was read and clear it. */
static void add_bytes(evener_wire_buffer *into, evener_bytes *bytes)
{
    evener_wire_put(into, bytes->data, bytes->length);
    evener_bytes_clear(bytes);
}

static evener_status_code add_json(const evener_message_type *message, const char *json, size_t length,
                                   evener_wire_buffer *into, evener_status *status)
{
    evener_bytes bytes;
    const evener_status_code code = evener_json_to_bytes(message, json, length, NULL, &bytes, status);
    if (code == EVENER_STATUS_OK) {
        add_bytes(into, &bytes);
    }
    return code;
}

static evener_status_code add_body(const evener_http_route_entry *entry, const char *body, size_t length,
                                   evener_wire_buffer *into, evener_status *status)
{
    if (entry->body_field == NULL) {
        return add_json(entry->route.method->input, body, length, into, status);
    }
    evener_bytes bytes;
    const evener_status_code code = evener_json_field_to_bytes(entry->body_field, body, length, NULL, &bytes, status);
    if (code == EVENER_STATUS_OK) {
        add_bytes(into, &bytes);
    }
    return code;
}

/* Decode a part of the query in place, where "+" is a space too. Return its length, or SIZE_MAX. */
static size_t decode_query(char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        text[i] = text[i] == '+' ? ' ' : text[i];
    }
    return evener_percent_decode(text, length, false);
}

/* Return whether the field is what a variable of the path sets, or inside of that. */
static bool is_in_path(const evener_http_match *match, const evener_http_field_path *field)
{
    const evener_path_template *template = &match->entry->template;
    for (size_t i = 0; i < template->variable_count; i++) {
        const char *name = template->variables[i].field_path;
        evener_http_field_path path;
        if (evener_http_field_path_find(match->entry->route.method->input, name, strlen(name), "", &path, NULL) ==
                EVENER_STATUS_OK &&
            path.depth <= field->depth && memcmp(path.fields, field->fields, path.depth * sizeof *path.fields) == 0) {
            return true;
        }
    }
    return false;
}

static evener_status_code add_parameter(const evener_http_match *match, char *name, char *end, evener_wire_buffer *into,
                                        evener_status *status)
{
    const evener_message_type *message = match->entry->route.method->input;
    char *equals = memchr(name, '=', (size_t)(end - name));
    char *value = equals != NULL ? equals + 1 : end;
    const size_t name_bytes = decode_query(name, (size_t)((equals != NULL ? equals : end) - name));
    const size_t value_bytes = decode_query(value, (size_t)(end - value));
    if (name_bytes == SIZE_MAX || value_bytes == SIZE_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "the query has a \"%%\" without two hexadecimal digits, or %%00");
    }
    evener_http_field_path path;
    const evener_status_code code =
        evener_http_field_path_find(message, name, name_bytes, "query parameter ", &path, status);
    return code != EVENER_STATUS_OK || is_in_path(match, &path)
               ? code
               : evener_http_add_value(message, &path, value, value_bytes, into, status);
}

static evener_status_code add_query(const evener_http_match *match, const char *query, evener_wire_buffer *into,
                                    evener_status *status)
{
    char *copy = strdup(query);
    if (copy == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    evener_status_code code = EVENER_STATUS_OK;
    size_t parameters = 0;
    for (char *at = copy; code == EVENER_STATUS_OK && *at != '\0';) {
        char *end = at + strcspn(at, "&");
        char *next = end + (*end == '&');
        if (end > at && ++parameters > QUERY_PARAMETERS_MAX) {
            code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "more than %d query parameters",
                                     QUERY_PARAMETERS_MAX);
        } else if (end > at) {
            code = add_parameter(match, at, end, into, status);
        }
        at = next;
    }
    free(copy);
    return code;
}

/* Copy a message without the field at a path, whose messages from `depth` on are inside. */
static void copy_without(const uint8_t *data, size_t length, const evener_http_field_path *path, size_t depth,
                         evener_wire_buffer *into)
{
    evener_wire_reader reader = evener_wire_read(data, length);
    evener_wire_field field;
    while (evener_wire_next(&reader, &field) == EVENER_WIRE_FIELD) {
        if (field.number != path->fields[depth]->number) {
            evener_wire_put(into, field.start, (size_t)(reader.at - field.start));
        } else if (depth + 1 < path->depth) {
            evener_wire_put_tag(into, field.number, field.type);
            const size_t start = into->length;
            copy_without(field.data, field.length, path, depth + 1, into);
            if (field.type == EVENER_WIRE_BYTES) {
                evener_wire_close(into, start);
            } else {
                evener_wire_put_tag(into, field.number, EVENER_WIRE_GROUP + 1); /* its end */
            }
        }
    }
}

/* Take a field out of a message. */
static void take_out(evener_wire_buffer *from, const evener_http_field_path *path)
{
    evener_wire_buffer rest = {.failed = from->failed};
    copy_without(from->data, from->length, path, 0, &rest);
    evener_wire_clear(from);
    *from = rest;
}

static evener_status_code add_path(const evener_http_match *match, evener_wire_buffer *into, evener_status *status)
{
    const evener_message_type *message = match->entry->route.method->input;
    const evener_path_template *template = &match->entry->template;
    evener_status_code code = EVENER_STATUS_OK;
    for (size_t i = 0; code == EVENER_STATUS_OK && i < template->variable_count; i++) {
        const char *name = template->variables[i].field_path;
        evener_http_field_path path;
        code = evener_http_field_path_find(message, name, strlen(name), "path variable ", &path, status);
        if (code == EVENER_STATUS_OK) {
            if (path.fields[path.depth - 1]->message != NULL) {
                take_out(into, &path); /* a message would be merged with the one of the body */
            }
            code = evener_http_add_value(message, &path, match->values[i].value, match->values[i].length, into, status);
        }
    }
    return code;
}

evener_status_code evener_http_match_request(const evener_http_match *match, const char *query, const char *body,
                                             size_t body_length, evener_bytes *message, evener_status *status)
{
    const evener_http_route *route = &match->entry->route;
    const bool whole_body = strcmp(route->body, "*") == 0;
    evener_wire_buffer packed = {0};
    evener_status_code code = EVENER_STATUS_OK;
    if (body_length > 0 && route->body[0] != '\0') {
        code = add_body(match->entry, body, body_length, &packed, status);
    }
    if (code == EVENER_STATUS_OK && !whole_body && query != NULL) {
        code = add_query(match, query, &packed, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = add_path(match, &packed, status);
    }
    if (code == EVENER_STATUS_OK) {
        uint8_t *to = packed.failed ? NULL : evener_bytes_create(packed.length, message);
        if (to == NULL) {
            code = evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        } else if (packed.length > 0) {
            memcpy(to, packed.data, packed.length);
        }
    }
    evener_wire_clear(&packed);
    return code == EVENER_STATUS_OK ? evener_status_clear(status) : code;
}
