/* OpenAPI 2.0 in YAML out of HTTP routes (spec.openapis.org/oas/v2.0). Strings are in double quotes, whose escapes
 * YAML shares with JSON. Messages are definitions by their full names; enums and well-known types stand where they
 * are used. */
#include "lb/protobuf/http_routes_internal.h"
#include "lb/protobuf/openapi_ids.h"

#include <stdlib.h>
#include <string.h>

#define QUERY_DEPTH_MAX 4     /* of messages inside messages whose fields become query parameters */
#define QUERY_FIELDS_MAX 1000 /* parameters of an operation, as many as a request may have */
#define STATUS_NAME "google.rpc.Status"

typedef struct document {
    const evener_http_routes *routes;
    evener_wire_buffer text;
    const evener_message_type **messages; /* the definitions, in the order in which they were first used */
    size_t message_count;
    bool failed;
} document;

/* ---- lines ---- */

static void indent(document *self, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++) {
        evener_http_put_text(&self->text, "  ");
    }
}

static void line(document *self, unsigned depth, const char *text)
{
    indent(self, depth);
    evener_http_put_text(&self->text, text);
    evener_http_put_text(&self->text, "\n");
}

/* Add `key: "value"`. */
static void string_line(document *self, unsigned depth, const char *key, const char *value, size_t length)
{
    indent(self, depth);
    evener_http_put_text(&self->text, key);
    evener_http_put_text(&self->text, ": ");
    evener_http_put_string(&self->text, value, length);
    evener_http_put_text(&self->text, "\n");
}

/* Add `"key":`. */
static void key_line(document *self, unsigned depth, const char *key, size_t length)
{
    indent(self, depth);
    evener_http_put_string(&self->text, key, length);
    evener_http_put_text(&self->text, ":\n");
}

/* Add a comment as a description, without the space with which each of its lines begins. */
static void comment_lines(document *self, unsigned depth, const char *key, const evener_comments *comments)
{
    const char *comment = comments->leading[0] != '\0' ? comments->leading : comments->trailing;
    char *text = strdup(comment);
    size_t length = 0;
    if (text == NULL) {
        self->failed = true;
        return;
    }
    for (const char *c = comment; *c != '\0'; c++) {
        if (*c != ' ' || (c > comment && c[-1] != '\n')) {
            text[length++] = *c;
        }
    }
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' ')) {
        length--;
    }
    if (length > 0) {
        string_line(self, depth, key, text, length);
    }
    free(text);
}

/* ---- types ---- */

typedef struct known_type {
    const char *name;
    const char *type; /* NULL: any JSON value */
    const char *format;
} known_type;

static const known_type known_types[] = {
    {"google.protobuf.Timestamp", "string", "date-time"},
    {"google.protobuf.Duration", "string", NULL},
    {"google.protobuf.FieldMask", "string", NULL},
    {"google.protobuf.Struct", "object", NULL},
    {"google.protobuf.Value", NULL, NULL},
    {"google.protobuf.BoolValue", "boolean", NULL},
    {"google.protobuf.StringValue", "string", NULL},
    {"google.protobuf.BytesValue", "string", "byte"},
    {"google.protobuf.Int32Value", "integer", "int32"},
    {"google.protobuf.UInt32Value", "integer", "int64"},
    {"google.protobuf.Int64Value", "string", "int64"},
    {"google.protobuf.UInt64Value", "string", "uint64"},
    {"google.protobuf.FloatValue", "number", "float"},
    {"google.protobuf.DoubleValue", "number", "double"},
};

static const known_type *find_known(const evener_message_type *message)
{
    for (size_t i = 0; message != NULL && i < sizeof known_types / sizeof *known_types; i++) {
        if (strcmp(message->full_name, known_types[i].name) == 0) {
            return &known_types[i];
        }
    }
    return NULL;
}

static known_type scalar(evener_field_kind kind)
{
    switch (kind) {
    case EVENER_FIELD_DOUBLE:
        return (known_type){NULL, "number", "double"};
    case EVENER_FIELD_FLOAT:
        return (known_type){NULL, "number", "float"};
    case EVENER_FIELD_INT64:
    case EVENER_FIELD_SFIXED64:
    case EVENER_FIELD_SINT64:
        return (known_type){NULL, "string", "int64"}; /* as proto3 JSON writes them */
    case EVENER_FIELD_UINT64:
    case EVENER_FIELD_FIXED64:
        return (known_type){NULL, "string", "uint64"};
    case EVENER_FIELD_INT32:
    case EVENER_FIELD_SFIXED32:
    case EVENER_FIELD_SINT32:
        return (known_type){NULL, "integer", "int32"};
    case EVENER_FIELD_UINT32:
    case EVENER_FIELD_FIXED32:
        return (known_type){NULL, "integer", "int64"};
    case EVENER_FIELD_BOOL:
        return (known_type){NULL, "boolean", NULL};
    case EVENER_FIELD_BYTES:
        return (known_type){NULL, "string", "byte"};
    default:
        return (known_type){NULL, "string", NULL};
    }
}

static void type_lines(document *self, unsigned depth, const known_type *type)
{
    if (type->type == NULL) {
        line(self, depth, "description: \"Any JSON value.\"");
        return;
    }
    string_line(self, depth, "type", type->type, strlen(type->type));
    if (type->format != NULL) {
        string_line(self, depth, "format", type->format, strlen(type->format));
    }
}

/* Note that the document needs the message's definition. */
static void use_message(document *self, const evener_message_type *message)
{
    for (size_t i = 0; i < self->message_count; i++) {
        if (self->messages[i] == message) {
            return;
        }
    }
    const evener_message_type **messages = realloc(self->messages, (self->message_count + 1) * sizeof(*messages));
    if (messages == NULL) {
        self->failed = true;
        return;
    }
    self->messages = messages;
    messages[self->message_count++] = message;
}

static void reference_line(document *self, unsigned depth, const char *name)
{
    indent(self, depth);
    evener_http_put_text(&self->text, "$ref: \"#/definitions/");
    evener_http_put_text(&self->text, name);
    evener_http_put_text(&self->text, "\"\n");
}

static void message_lines(document *self, unsigned depth, const evener_message_type *message)
{
    const known_type *known = find_known(message);
    if (known != NULL) {
        type_lines(self, depth, known);
    } else if (strcmp(message->full_name, "google.protobuf.ListValue") == 0) {
        line(self, depth, "type: \"array\"");
        line(self, depth, "items: {}");
    } else {
        reference_line(self, depth, message->full_name);
        use_message(self, message);
    }
}

static void enum_lines(document *self, unsigned depth, const evener_enum_type *enumeration)
{
    line(self, depth, "type: \"string\"");
    line(self, depth, "enum:");
    for (size_t i = 0; i < enumeration->value_count; i++) {
        indent(self, depth);
        evener_http_put_text(&self->text, "- ");
        evener_http_put_string(&self->text, enumeration->values[i]->name, strlen(enumeration->values[i]->name));
        evener_http_put_text(&self->text, "\n");
    }
}

/* Add the schema of one value of the field. */
static void value_lines(document *self, unsigned depth, const evener_field *field)
{
    if (field->message != NULL) {
        message_lines(self, depth, field->message);
    } else if (field->enumeration != NULL) {
        enum_lines(self, depth, field->enumeration);
    } else {
        const known_type type = scalar(field->kind);
        type_lines(self, depth, &type);
    }
}

static void field_lines(document *self, unsigned depth, const evener_field *field)
{
    if (field->message != NULL && field->message->map_entry) {
        line(self, depth, "type: \"object\"");
        line(self, depth, "additionalProperties:");
        value_lines(self, depth + 1, field->message->fields[1]);
    } else if (field->repeated) {
        line(self, depth, "type: \"array\"");
        line(self, depth, "items:");
        value_lines(self, depth + 1, field);
    } else {
        value_lines(self, depth, field);
    }
}

/* ---- operations ---- */

/* Return the template as OpenAPI writes it, to be freed: "/v1/{name=shelves/..}" is "/v1/{name}". */
static char *plain_path(const char *template)
{
    char *plain = strdup(template);
    size_t length = 0;
    for (const char *c = template; plain != NULL && *c != '\0'; c++) {
        if (*c == '=') {
            c += strcspn(c, "}");
        }
        plain[length++] = *c;
    }
    if (plain != NULL) {
        plain[length] = '\0';
    }
    return plain;
}

static bool is_in_path(const evener_http_route_entry *entry, const char *name)
{
    for (size_t i = 0; i < entry->template.variable_count; i++) {
        if (strcmp(entry->template.variables[i].field_path, name) == 0) {
            return true;
        }
    }
    return false;
}

static void parameter_head(document *self, const char *name, const char *place, bool required)
{
    indent(self, 3);
    evener_http_put_text(&self->text, "- name: ");
    evener_http_put_string(&self->text, name, strlen(name));
    evener_http_put_text(&self->text, "\n");
    string_line(self, 4, "in", place, strlen(place));
    line(self, 4, required ? "required: true" : "required: false");
}

/* Parameters outside of the body have a type, but no schema. */
static void parameter_type(document *self, const evener_field *field)
{
    const known_type *known = find_known(field->message);
    const known_type string = {NULL, "string", NULL};
    const unsigned depth = field->repeated ? 5 : 4;
    if (field->repeated) {
        line(self, 4, "type: \"array\"");
        line(self, 4, "collectionFormat: \"multi\"");
        line(self, 4, "items:");
    }
    if (field->message != NULL) {
        type_lines(self, depth, known != NULL && known->type != NULL ? known : &string);
    } else {
        value_lines(self, depth, field);
    }
}

/* The messages around a field; the innermost first. */
typedef struct enclosing {
    const evener_message_type *message;
    const struct enclosing *outer;
} enclosing;

static bool is_enclosed_by(const enclosing *around, const evener_message_type *message)
{
    while (around != NULL && around->message != message) {
        around = around->outer;
    }
    return around != NULL;
}

/* Add the fields of a message, and those of messages in it, except of messages inside of themselves. At most
 * `fields_max`: messages inside get equal shares of what its own fields leave. */
static void query_parameters(document *self, const evener_http_route_entry *entry, const evener_message_type *message,
                             const char *prefix, unsigned depth, size_t fields_max, const enclosing *outer)
{
    const enclosing around = {message, outer};
    const size_t own = message->field_count < fields_max ? message->field_count : fields_max;
    const size_t share = own > 0 ? (fields_max - own) / own : 0;
    for (size_t i = 0; i < own; i++) {
        const evener_field *field = message->fields[i];
        evener_wire_buffer name = {0};
        evener_http_put_text(&name, prefix);
        evener_http_put_text(&name, field->name);
        evener_wire_put_byte(&name, '\0');
        if (name.failed) {
            evener_wire_clear(&name);
            self->failed = true;
            return;
        }
        const char *text = (const char *)name.data;
        if ((depth == 0 && field == entry->body_field) || is_in_path(entry, text)) {
            /* not in the query */
        } else if (field->message == NULL || find_known(field->message) != NULL) {
            parameter_head(self, text, "query", false);
            comment_lines(self, 4, "description", &field->comments);
            parameter_type(self, field);
        } else if (!field->repeated && depth < QUERY_DEPTH_MAX && !is_enclosed_by(&around, field->message) &&
                   strcmp(field->message->full_name, "google.protobuf.Any") != 0) {
            name.data[name.length - 1] = '.';
            evener_wire_put_byte(&name, '\0');
            if (!name.failed) {
                query_parameters(self, entry, field->message, (const char *)name.data, depth + 1, share, &around);
            }
            self->failed = self->failed || name.failed;
        }
        evener_wire_clear(&name);
    }
}

static void parameters(document *self, const evener_http_route_entry *entry)
{
    const evener_http_route *route = &entry->route;
    const bool whole_body = strcmp(route->body, "*") == 0;
    if (entry->template.variable_count == 0 && route->body[0] == '\0' && route->method->input->field_count == 0) {
        return;
    }
    const size_t before = self->text.length;
    line(self, 3, "parameters:");
    const size_t first = self->text.length;
    for (size_t i = 0; i < entry->template.variable_count; i++) {
        const char *name = entry->template.variables[i].field_path;
        evener_http_field_path path;
        if (evener_http_field_path_find(route->method->input, name, strlen(name), "", &path, NULL) ==
            EVENER_STATUS_OK) {
            parameter_head(self, name, "path", true);
            parameter_type(self, path.fields[path.depth - 1]);
        }
    }
    if (route->body[0] != '\0') {
        parameter_head(self, "body", "body", true);
        line(self, 4, "schema:");
        if (whole_body) {
            message_lines(self, 5, route->method->input);
        } else {
            field_lines(self, 5, entry->body_field);
        }
    }
    if (!whole_body) {
        query_parameters(self, entry, route->method->input, "", 0, QUERY_FIELDS_MAX, NULL);
    }
    if (self->text.length == first && !self->text.failed) {
        self->text.length = before; /* none */
    }
}

static void operation(document *self, const evener_http_route_entry *entry, const char *verb, const char *id)
{
    const evener_http_route *route = &entry->route;
    const evener_method *method = route->method;
    indent(self, 2);
    evener_http_put_text(&self->text, verb);
    evener_http_put_text(&self->text, ":\n");
    comment_lines(self, 3, "summary", &method->comments);
    string_line(self, 3, "operationId", id, strlen(id));
    line(self, 3, "tags:");
    indent(self, 3);
    evener_http_put_text(&self->text, "- ");
    evener_http_put_string(&self->text, method->service->full_name, strlen(method->service->full_name));
    evener_http_put_text(&self->text, "\n");
    if (self->text.failed) {
        return;
    }
    parameters(self, entry);
    line(self, 3, "responses:");
    line(self, 4, "\"200\":");
    line(self, 5,
         method->server_streaming
             ? "description: \"One JSON object per line: {\\\"result\\\": ...}, or last {\\\"error\\\": ...}.\""
             : "description: \"The answer.\"");
    line(self, 5, "schema:");
    unsigned depth = 6;
    if (method->server_streaming) {
        line(self, 6, "type: \"object\"");
        line(self, 6, "properties:");
        line(self, 7, "error:");
        reference_line(self, 8, STATUS_NAME);
        line(self, 7, "result:");
        depth = 8;
    }
    if (entry->response_body_field != NULL) {
        field_lines(self, depth, entry->response_body_field);
    } else {
        message_lines(self, depth, method->output);
    }
    line(self, 4, "default:");
    line(self, 5, "description: \"An error.\"");
    line(self, 5, "schema:");
    reference_line(self, 6, STATUS_NAME);
}

/* Return OpenAPI's key of a verb; NULL: it has none. */
static const char *verb_key(const char *verb)
{
    static const char *const known[][2] = {{"GET", "get"},        {"PUT", "put"},     {"POST", "post"},
                                           {"DELETE", "delete"},  {"PATCH", "patch"}, {"HEAD", "head"},
                                           {"OPTIONS", "options"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(verb, known[i][0]) == 0) {
            return known[i][1];
        }
    }
    return NULL;
}

/* Add the operations of all routes that have the path of route `first`. Templates may differ only in what a variable
 * matches: OpenAPI then knows the more specific one only. */
static void path_item(document *self, char *const *paths, char *const *ids, size_t count, size_t first)
{
    const evener_http_routes *routes = self->routes;
    key_line(self, 1, paths[first], strlen(paths[first]));
    for (size_t i = first; i < count; i++) {
        const char *verb = verb_key(routes->list[i]->verb);
        bool is_new = verb != NULL && strcmp(paths[i], paths[first]) == 0;
        for (size_t j = first; is_new && j < i; j++) {
            is_new = strcmp(paths[j], paths[i]) != 0 || strcmp(routes->list[j]->verb, routes->list[i]->verb) != 0;
        }
        if (is_new) {
            operation(self, (const evener_http_route_entry *)routes->list[i], verb, ids[i]);
        }
    }
}

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; texts != NULL && i < count; i++) {
        free(texts[i]);
    }
    free(texts);
}

/* Return the paths of all routes as OpenAPI writes them; NULL: out of memory. */
static char **plain_paths(const evener_http_routes *routes, size_t count)
{
    char **paths = calloc(count + 1, sizeof *paths);
    for (size_t i = 0; paths != NULL && i < count; i++) {
        paths[i] = plain_path(routes->list[i]->path);
        if (paths[i] == NULL) {
            free_texts(paths, count);
            return NULL;
        }
    }
    return paths;
}

static void paths_section(document *self)
{
    const evener_http_routes *routes = self->routes;
    const size_t count = routes->count;
    char **paths = plain_paths(routes, count);
    char **ids = evener_openapi_ids(routes);
    if (paths == NULL || ids == NULL) {
        free_texts(paths, count);
        free_texts(ids, count);
        self->failed = true;
        return;
    }
    line(self, 0, count > 0 ? "paths:" : "paths: {}");
    for (size_t i = 0; i < count; i++) {
        bool is_first = verb_key(routes->list[i]->verb) != NULL;
        for (size_t j = 0; is_first && j < i; j++) {
            is_first = verb_key(routes->list[j]->verb) == NULL || strcmp(paths[j], paths[i]) != 0;
        }
        if (is_first) {
            path_item(self, paths, ids, count, i);
        }
    }
    free_texts(paths, count);
    free_texts(ids, count);
}

/* ---- definitions ---- */

static void definition(document *self, const evener_message_type *message)
{
    key_line(self, 1, message->full_name, strlen(message->full_name));
    line(self, 2, "type: \"object\"");
    comment_lines(self, 2, "description", &message->comments);
    if (strcmp(message->full_name, "google.protobuf.Any") == 0) {
        line(self, 2, "properties:");
        line(self, 3, "\"@type\":");
        line(self, 4, "type: \"string\"");
        line(self, 2, "additionalProperties: {}");
        return;
    }
    if (message->field_count > 0) {
        line(self, 2, "properties:");
    }
    for (size_t i = 0; i < message->field_count && !self->text.failed; i++) {
        const evener_field *field = message->fields[i];
        key_line(self, 3, field->json_name, strlen(field->json_name));
        field_lines(self, 4, field);
        /* Members beside $ref have no effect. */
        if (field->repeated || field->message == NULL) {
            comment_lines(self, 4, "description", &field->comments);
        }
    }
}

static void definitions_section(document *self)
{
    line(self, 0, "definitions:");
    key_line(self, 1, STATUS_NAME, strlen(STATUS_NAME));
    line(self, 2, "type: \"object\"");
    line(self, 2, "properties:");
    line(self, 3, "code:");
    line(self, 4, "type: \"integer\"");
    line(self, 4, "format: \"int32\"");
    line(self, 3, "message:");
    line(self, 4, "type: \"string\"");
    line(self, 3, "details:");
    line(self, 4, "type: \"array\"");
    line(self, 4, "items:");
    line(self, 5, "type: \"object\"");
    for (size_t i = 0; i < self->message_count && !self->text.failed; i++) { /* the list grows meanwhile */
        if (strcmp(self->messages[i]->full_name, STATUS_NAME) != 0) {
            definition(self, self->messages[i]);
        }
    }
}

evener_status_code evener_http_routes_openapi(const evener_http_routes *routes, const char *title, char **yaml,
                                              evener_status *status)
{
    document self = {.routes = routes};
    const char *name = title != NULL ? title : "gateway";
    line(&self, 0, "swagger: \"2.0\"");
    line(&self, 0, "info:");
    string_line(&self, 1, "title", name, strlen(name));
    line(&self, 1, "version: \"1\"");
    line(&self, 0, "consumes:\n- \"application/json\"");
    line(&self, 0, "produces:\n- \"application/json\"");
    paths_section(&self);
    definitions_section(&self);
    evener_wire_put_byte(&self.text, '\0');
    free(self.messages);
    if (self.failed || self.text.failed) {
        evener_wire_clear(&self.text);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "OpenAPI: out of memory");
    }
    *yaml = (char *)self.text.data;
    return evener_status_clear(status);
}
