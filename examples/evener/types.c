#include "examples/evener/types.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/reflection.h>

#include "examples/evener/cli.h"

#define INDENT 2

evener_call_options cli_call_options(const cli_options *options)
{
    return (evener_call_options){
        .size = sizeof(evener_call_options),
        .timeout_ms = options->timeout_ms,
        .wait_for_ready = options->wait_for_ready ? EVENER_WAIT_FOR_READY_YES : EVENER_WAIT_FOR_READY_DEFAULT,
        .metadata = options->headers,
        .metadata_count = options->header_count,
    };
}

bool cli_types_open(const cli_options *options, const cli_service *service, const char *symbol,
                    evener_descriptors **types, evener_status *unreached)
{
    evener_status status;
    *types = NULL;
    evener_status_clear(unreached);
    if (evener_descriptors_create(types, &status) != EVENER_STATUS_OK) {
        return cli_error("%s", status.message);
    }
    for (size_t i = 0; i < options->protoset_count; i++) {
        if (evener_descriptors_add_set_file(*types, options->protosets[i], &status) != EVENER_STATUS_OK) {
            return cli_error("%s", status.message);
        }
    }
    if (options->protoset_count > 0 || symbol == NULL) {
        return true;
    }
    const evener_call_options call = cli_call_options(options);
    const evener_status_code code = evener_reflection_add(service->channel, symbol, &call, *types, &status);
    if (code == EVENER_STATUS_OK) {
        return true;
    }
    const bool reached = code != EVENER_STATUS_UNAVAILABLE && code != EVENER_STATUS_DEADLINE_EXCEEDED;
    if (!reached && unreached != NULL) {
        *unreached = status;
        return false;
    }
    cli_error("%s", status.message);
    if (code == EVENER_STATUS_UNIMPLEMENTED) {
        cli_error(
            "--protoset FILE takes the types from a file; bytes need none: /package.Service/Method --data-hex HEX");
    } else if (!reached) {
        cli_service_hint(options, service, status.message);
    }
    return false;
}

char *cli_service_name(const char *method)
{
    method += method[0] == '/';
    const char *end = strchr(method, '/');
    end = end != NULL ? end : strrchr(method, '.');
    char *name = strndup(method, end != NULL ? (size_t)(end - method) : strlen(method));
    if (name == NULL) {
        cli_error("out of memory");
    }
    return name;
}

const evener_method *cli_types_method(const cli_options *options, const evener_descriptors *types)
{
    const evener_method *method = evener_descriptors_method(types, options->method);
    if (method == NULL) {
        cli_error("%s: no such method%s", options->method + 1,
                  options->protoset_count > 0 ? " in the descriptor sets" : "");
    }
    return method;
}

/* ---- printing ---- */

/* Decode a character of UTF-8 that is known to be valid, and return its length. */
static size_t decode(const char *text, unsigned *c)
{
    const unsigned char *t = (const unsigned char *)text;
    if (t[0] < 0x80) {
        *c = t[0];
        return 1;
    }
    const size_t length = t[0] >= 0xf0 ? 4 : t[0] >= 0xe0 ? 3 : 2;
    *c = t[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        *c = *c << 6 | (t[i] & 0x3f);
    }
    return length;
}

/* Whether a character controls a terminal or the direction of writing: the list of lb/base/printable.h. */
static bool is_control(unsigned c)
{
    return (c >= 0x7f && c <= 0x9f) || c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

void cli_print_json_text(const char *json)
{
    while (*json != '\0') {
        unsigned c;
        const size_t length = decode(json, &c);
        if (is_control(c)) {
            printf("\\u%04x", c); /* they stand in strings only: all else of JSON is ASCII */
        } else {
            fwrite(json, 1, length, stdout);
        }
        json += length;
    }
}

bool cli_print_message(const cli_options *options, const evener_message_type *type, const evener_bytes *message)
{
    const evener_json_options json = {
        .size = sizeof json,
        .emit_defaults = options->emit_defaults,
        .opaque_any = true,
        .indent = options->json ? 0 : INDENT,
    };
    evener_status status;
    char *text;
    if (evener_json_from_bytes(type, message, &json, &text, NULL, &status) != EVENER_STATUS_OK) {
        return cli_error("the answer is not of its type, %s: %s", type->full_name, status.message);
    }
    if (options->json) {
        fputs("{\"response\":", stdout);
    }
    cli_print_json_text(text);
    puts(options->json ? "}" : "");
    free(text);
    return true;
}
