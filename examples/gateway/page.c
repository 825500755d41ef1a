/* The page: one form per route, with an example of its request. All in one document: no style, script or font from
 * elsewhere. / */
#include "examples/gateway/gateway.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXAMPLE_DEPTH_MAX 4
#define EXAMPLE_FIELDS_MAX 500

static const char page_head[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<title>gRPC gateway</title>\n"
    "<link rel=\"icon\" href=\"data:,\">\n"
    "<style>\n"
    "body { font: 16px/1.5 sans-serif; margin: 2em auto; max-width: 56em; padding: 0 1em; }\n"
    "textarea, input, pre { font: 14px/1.4 monospace; width: 100%; box-sizing: border-box; }\n"
    "pre { background: #f2f2f2; color: #111; padding: .6em; min-height: 1.4em; overflow: auto; white-space: pre-wrap; "
    "}\n"
    "section { border-top: 1px solid #999; padding: .5em 0; }\n"
    "h2 { font: bold 16px/1.4 monospace; margin: .3em 0; }\n"
    "p { margin: .3em 0; white-space: pre-line; }\n"
    "</style>\n"
    "</head>\n"
    "<body>\n"
    "<h1>gRPC gateway</h1>\n"
    "<p>Each section is a method. The same as a document: <a href=\"openapi.yaml\">openapi.yaml</a>.</p>\n"
    "<label>Headers, one per line, as <code>Grpc-Timeout: 500m</code> or <code>Grpc-Metadata-User: me</code>\n"
    "<textarea id=\"headers\" rows=\"2\"></textarea></label>\n"
    "<main id=\"methods\"></main>\n"
    "<script type=\"application/json\" id=\"routes\">";

static const char page_tail[] =
    "</script>\n"
    "<script>\n"
    "'use strict';\n"
    "function element(parent, name, text) {\n"
    "  const made = document.createElement(name);\n"
    "  if (text !== undefined) made.textContent = text;\n"
    "  parent.append(made);\n"
    "  return made;\n"
    "}\n"
    "function headers() {\n"
    "  const found = new Headers();\n"
    "  for (const line of document.getElementById('headers').value.split('\\n')) {\n"
    "    const colon = line.indexOf(':');\n"
    "    if (colon > 0) found.append(line.slice(0, colon).trim(), line.slice(colon + 1).trim());\n"
    "  }\n"
    "  return found;\n"
    "}\n"
    "async function call(route, path, body, output) {\n"
    "  output.textContent = '...';\n"
    "  try {\n"
    "    const options = {method: route.verb === '*' ? 'POST' : route.verb, headers: headers()};\n"
    "    if (body !== null) {\n"
    "      options.body = body;\n"
    "      options.headers.set('Content-Type', 'application/json');\n"
    "    }\n"
    "    const answer = await fetch(path, options);\n"
    "    output.textContent = answer.status + '\\n';\n"
    "    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();\n"
    "    for (let part = await reader.read(); !part.done; part = await reader.read()) output.append(part.value);\n"
    "  } catch (error) {\n"
    "    output.textContent = String(error);\n"
    "  }\n"
    "}\n"
    "for (const route of JSON.parse(document.getElementById('routes').textContent)) {\n"
    "  const section = element(document.getElementById('methods'), 'section');\n"
    "  section.id = route.method + ' ' + route.verb + ' ' + route.path;\n"
    "  element(section, 'h2', route.verb + ' ' + route.path);\n"
    "  element(section, 'p', route.method + (route.streams ? ' (a stream)' : '') + '\\n' + route.comment);\n"
    "  const path = element(section, 'input');\n"
    "  path.value = route.path;\n"
    "  path.setAttribute('aria-label', 'path');\n"
    "  let body = null;\n"
    "  if (route.body !== '') {\n"
    "    body = element(section, 'textarea');\n"
    "    body.rows = 4;\n"
    "    body.value = JSON.stringify(route.example, null, 2);\n"
    "    body.setAttribute('aria-label', 'body');\n"
    "  }\n"
    "  const button = element(section, 'button', 'Call');\n"
    "  const output = element(section, 'pre');\n"
    "  button.onclick = () => call(route, path.value, body === null ? null : body.value, output);\n"
    "}\n"
    "</script>\n"
    "</body>\n"
    "</html>\n";

/* ---- text that grows ---- */

static void put(FILE *to, const char *text)
{
    fputs(text, to);
}

/* A JSON string inside of a script element: "<" is escaped, so that nothing ends the element. */
static void put_string(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            fprintf(to, "\\%c", c);
        } else if (c < ' ' || c == '<' || c == '>' || c == '&' || c == 0x7f) {
            fprintf(to, "\\u%04x", c);
        } else {
            fputc(c, to);
        }
    }
    fputc('"', to);
}

/* ---- examples of requests ---- */

static void put_message(FILE *to, const evener_message_type *message, unsigned depth, size_t fields_max);

static void put_known(FILE *to, const char *name)
{
    put(to, strcmp(name, "Timestamp") == 0   ? "\"2026-01-01T00:00:00Z\""
            : strcmp(name, "Duration") == 0  ? "\"1s\""
            : strcmp(name, "FieldMask") == 0 ? "\"\""
            : strcmp(name, "Struct") == 0    ? "{}"
            : strcmp(name, "ListValue") == 0 ? "[]"
            : strcmp(name, "Empty") == 0     ? "{}"
                                             : "null");
}

static void put_value(FILE *to, const evener_field *field, unsigned depth, size_t fields_max)
{
    if (field->message != NULL && strncmp(field->message->full_name, "google.protobuf.", 16) == 0) {
        put_known(to, field->message->name);
    } else if (field->message != NULL) {
        put_message(to, field->message, depth + 1, fields_max);
    } else if (field->enumeration != NULL) {
        put_string(to, field->enumeration->values[0]->name);
    } else if (field->kind == EVENER_FIELD_BOOL) {
        put(to, "false");
    } else if (field->kind == EVENER_FIELD_STRING || field->kind == EVENER_FIELD_BYTES) {
        put(to, "\"\"");
    } else {
        put(to, "0");
    }
}

static void put_field(FILE *to, const evener_field *field, unsigned depth, size_t fields_max)
{
    if (field->message != NULL && field->message->map_entry) {
        put(to, field->message->fields[0]->kind == EVENER_FIELD_STRING ? "{\"name\":" : "{\"0\":");
        put_value(to, field->message->fields[1], depth, fields_max);
        put(to, "}");
    } else if (field->repeated) {
        put(to, "[");
        put_value(to, field, depth, fields_max);
        put(to, "]");
    } else {
        put_value(to, field, depth, fields_max);
    }
}

/* Put an object with all fields, but of each oneof only the first, none below a depth, and at most `fields_max` with
 * those of messages inside, which get equal shares of what its own leave. */
static void put_message(FILE *to, const evener_message_type *message, unsigned depth, size_t fields_max)
{
    const size_t own = message->field_count < fields_max ? message->field_count : fields_max;
    const size_t share = own > 0 ? (fields_max - own) / own : 0;
    bool first = true;
    put(to, "{");
    for (size_t i = 0; i < own && depth < EXAMPLE_DEPTH_MAX; i++) {
        const evener_field *field = message->fields[i];
        if (field->oneof == NULL || field->oneof->fields[0] == field) {
            put(to, first ? "" : ",");
            put_string(to, field->json_name);
            put(to, ":");
            put_field(to, field, depth, share);
            first = false;
        }
    }
    put(to, "}");
}

static void put_example(FILE *to, const evener_http_route *route)
{
    const evener_message_type *input = route->method->input;
    const evener_field *field = evener_message_type_field_by_name(input, route->body, strlen(route->body));
    if (strcmp(route->body, "*") != 0 && field != NULL) {
        put_field(to, field, 0, EXAMPLE_FIELDS_MAX);
    } else if (strncmp(input->full_name, "google.protobuf.", 16) == 0) {
        put_known(to, input->name);
    } else {
        put_message(to, input, 0, EXAMPLE_FIELDS_MAX);
    }
}

char *gateway_page(const evener_http_routes *routes)
{
    char *page = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&page, &bytes);
    if (to == NULL) {
        return NULL;
    }
    size_t count;
    const evener_http_route *const *list = evener_http_routes_list(routes, &count);
    bool first = true;
    put(to, page_head);
    put(to, "[");
    for (size_t i = 0; i < count; i++) {
        const evener_http_route *route = list[i];
        if (route->method->client_streaming) {
            continue; /* the gateway does not serve it */
        }
        put(to, first ? "\n{\"verb\":" : ",\n{\"verb\":");
        first = false;
        put_string(to, route->verb);
        put(to, ",\"path\":");
        put_string(to, route->path);
        put(to, ",\"method\":");
        put_string(to, route->method->full_name);
        put(to, ",\"body\":");
        put_string(to, route->body);
        put(to, route->method->server_streaming ? ",\"streams\":true,\"comment\":" : ",\"streams\":false,\"comment\":");
        put_string(to, route->method->comments.leading);
        put(to, ",\"example\":");
        put_example(to, route);
        put(to, "}");
    }
    put(to, "\n]");
    put(to, page_tail);
    const bool failed = ferror(to) != 0;
    if (fclose(to) != 0 || failed) {
        free(page);
        return NULL;
    }
    return page;
}
