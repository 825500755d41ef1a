#include "lb/protobuf/http_rule.h"

#include <stdlib.h>
#include <string.h>

#include "lb/base/memory.h"
#include "lb/protobuf/wire.h"

#define OPTION_HTTP 72295728

enum {
    RULE_GET = 2,
    RULE_PUT = 3,
    RULE_POST = 4,
    RULE_DELETE = 5,
    RULE_PATCH = 6,
    RULE_BODY = 7,
    RULE_CUSTOM = 8,
    RULE_ADDITIONAL = 11,
    RULE_RESPONSE_BODY = 12,
    CUSTOM_KIND = 1,
    CUSTOM_PATH = 2
};

static const char *const verbs[] = {
    [RULE_GET] = "GET", [RULE_PUT] = "PUT", [RULE_POST] = "POST", [RULE_DELETE] = "DELETE", [RULE_PATCH] = "PATCH"};

static evener_status_code no_memory(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

static evener_status_code malformed(const evener_method *method, evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: its option google.api.http is malformed",
                             method->full_name);
}

/* Replace *to by the field's text. Errors: INVALID_ARGUMENT (it contains NUL), RESOURCE_EXHAUSTED (memory). */
static evener_status_code set_text(char **to, const void *text, size_t length)
{
    if (memchr(text, '\0', length) != NULL) {
        return EVENER_STATUS_INVALID_ARGUMENT;
    }
    char *copy = evener_text_copy(text, length);
    if (copy == NULL) {
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    free(*to);
    *to = copy;
    return EVENER_STATUS_OK;
}

static evener_status_code read_custom(const evener_wire_field *field, evener_http_rule *rule)
{
    evener_wire_reader reader = {field->data, field->data + field->length};
    evener_wire_field part;
    evener_wire_result result;
    evener_status_code code = EVENER_STATUS_OK;
    while (code == EVENER_STATUS_OK && (result = evener_wire_next(&reader, &part)) == EVENER_WIRE_FIELD) {
        if (part.type == EVENER_WIRE_BYTES && part.number == CUSTOM_KIND) {
            code = set_text(&rule->verb, part.data, part.length);
        } else if (part.type == EVENER_WIRE_BYTES && part.number == CUSTOM_PATH) {
            code = set_text(&rule->path, part.data, part.length);
        }
    }
    return code == EVENER_STATUS_OK && result != EVENER_WIRE_END ? EVENER_STATUS_INVALID_ARGUMENT : code;
}

static evener_status_code read_part(const evener_wire_field *part, evener_http_rule *rule)
{
    evener_status_code code;
    switch (part->number) {
    case RULE_GET:
    case RULE_PUT:
    case RULE_POST:
    case RULE_DELETE:
    case RULE_PATCH:
        code = set_text(&rule->verb, verbs[part->number], strlen(verbs[part->number]));
        return code == EVENER_STATUS_OK ? set_text(&rule->path, part->data, part->length) : code;
    case RULE_CUSTOM:
        return read_custom(part, rule);
    case RULE_BODY:
        return set_text(&rule->body, part->data, part->length);
    case RULE_RESPONSE_BODY:
        return set_text(&rule->response_body, part->data, part->length);
    default:
        return EVENER_STATUS_OK;
    }
}

static evener_status_code read_rule(const evener_method *method, const evener_wire_field *option, bool is_additional,
                                    evener_http_rules *into, evener_status *status)
{
    evener_http_rule *rules = realloc(into->rules, (into->count + 1) * sizeof *rules);
    if (rules == NULL) {
        return no_memory(status);
    }
    into->rules = rules;
    const size_t own = into->count++;
    rules[own] = (evener_http_rule){strdup(""), strdup(""), strdup(""), strdup("")};
    if (rules[own].verb == NULL || rules[own].path == NULL || rules[own].body == NULL ||
        rules[own].response_body == NULL) {
        return no_memory(status);
    }
    evener_wire_reader reader = {option->data, option->data + option->length};
    evener_wire_field part;
    evener_wire_result result;
    evener_status_code code = EVENER_STATUS_OK;
    while (code == EVENER_STATUS_OK && (result = evener_wire_next(&reader, &part)) == EVENER_WIRE_FIELD) {
        if (part.type != EVENER_WIRE_BYTES) {
            continue;
        }
        if (part.number == RULE_ADDITIONAL) {
            code = is_additional ? evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                                     "%s: additional_bindings do not nest", method->full_name)
                                 : read_rule(method, &part, true, into, status);
        } else if ((code = read_part(&part, &into->rules[own])) != EVENER_STATUS_OK) {
            code = code == EVENER_STATUS_RESOURCE_EXHAUSTED ? no_memory(status) : malformed(method, status);
        }
    }
    if (code == EVENER_STATUS_OK &&
        (result != EVENER_WIRE_END || into->rules[own].path[0] == '\0' || into->rules[own].verb[0] == '\0')) {
        code =
            result != EVENER_WIRE_END
                ? malformed(method, status)
                : evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                    "%s: its option google.api.http has no path: set get, post, put, patch, delete or "
                                    "custom",
                                    method->full_name);
    }
    return code;
}

evener_status_code evener_http_rules_read(const evener_method *method, evener_http_rules *rules, evener_status *status)
{
    *rules = (evener_http_rules){0};
    evener_wire_reader reader = {method->options.data, method->options.data + method->options.length};
    evener_wire_field option;
    evener_wire_result result = EVENER_WIRE_END;
    evener_status_code code = EVENER_STATUS_OK;
    while (code == EVENER_STATUS_OK && method->options.length > 0 &&
           (result = evener_wire_next(&reader, &option)) == EVENER_WIRE_FIELD) {
        if (option.number == OPTION_HTTP && option.type == EVENER_WIRE_BYTES) {
            code = read_rule(method, &option, false, rules, status);
        }
    }
    if (code == EVENER_STATUS_OK && result == EVENER_WIRE_MALFORMED) {
        code = malformed(method, status);
    }
    if (code != EVENER_STATUS_OK) {
        evener_http_rules_clear(rules);
        return code;
    }
    return evener_status_clear(status);
}

void evener_http_rule_clear(evener_http_rule *rule)
{
    free(rule->verb);
    free(rule->path);
    free(rule->body);
    free(rule->response_body);
    *rule = (evener_http_rule){0};
}

void evener_http_rules_clear(evener_http_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        evener_http_rule_clear(&rules->rules[i]);
    }
    free(rules->rules);
    *rules = (evener_http_rules){0};
}
