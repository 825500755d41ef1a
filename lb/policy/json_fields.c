#include "lb/policy/json_fields.h"

#include <stdlib.h>
#include <string.h>

#include <evener/loop.h>

#define SECONDS_MAX 315576000000.0 /* of google.protobuf.Duration */

static evener_status_code bad(evener_status *status, const char *name, const char *wanted)
{
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: %s is needed", name, wanted);
}

evener_status_code evener_json_object(const char *json, json_t **object, evener_status *status)
{
    json_error_t error;
    json_t *root = json_loads(json, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (root == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "line %d, column %d: %s", error.line,
                                 error.column, error.text);
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "a JSON object is needed");
    }
    *object = root;
    return EVENER_STATUS_OK;
}

evener_status_code evener_json_bool(const json_t *object, const char *name, bool *value, evener_status *status)
{
    const json_t *field = json_object_get(object, name);
    if (field == NULL) {
        return EVENER_STATUS_OK;
    }
    if (!json_is_boolean(field)) {
        return bad(status, name, "true or false");
    }
    *value = json_is_true(field);
    return EVENER_STATUS_OK;
}

evener_status_code evener_json_u32(const json_t *object, const char *name, uint32_t min, uint32_t max, uint32_t *value,
                                   evener_status *status)
{
    const json_t *field = json_object_get(object, name);
    if (field == NULL) {
        return EVENER_STATUS_OK;
    }
    const json_int_t number = json_is_integer(field) ? json_integer_value(field) : -1;
    if (number < (json_int_t)min || number > (json_int_t)max) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: a whole number from %u to %u is needed",
                                 name, min, max);
    }
    *value = (uint32_t)number;
    return EVENER_STATUS_OK;
}

evener_status_code evener_json_double(const json_t *object, const char *name, double min, double max, double *value,
                                      evener_status *status)
{
    const json_t *field = json_object_get(object, name);
    if (field == NULL) {
        return EVENER_STATUS_OK;
    }
    if (!json_is_number(field) || !(json_number_value(field) >= min && json_number_value(field) <= max)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: a number from %g to %g is needed", name,
                                 min, max);
    }
    *value = json_number_value(field);
    return EVENER_STATUS_OK;
}

static bool parse_duration(const char *text, double *seconds)
{
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    char *end;
    const double value = strtod(text, &end);
    if (strspn(text, "0123456789.") != (size_t)(end - text) || strcmp(end, "s") != 0 || !(value <= SECONDS_MAX)) {
        return false;
    }
    *seconds = value;
    return true;
}

evener_status_code evener_json_duration(const json_t *object, const char *name, uint64_t min_ns, uint64_t max_ns,
                                        uint64_t *value_ns, evener_status *status)
{
    const json_t *field = json_object_get(object, name);
    if (field == NULL) {
        return EVENER_STATUS_OK;
    }
    double seconds;
    if (!json_is_string(field) || !parse_duration(json_string_value(field), &seconds)) {
        return bad(status, name, "a duration like \"1.5s\"");
    }
    const double ns = seconds * (double)EVENER_NS_PER_S;
    if (ns < (double)min_ns || ns > (double)max_ns) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: a duration from %gs to %gs is needed",
                                 name, (double)min_ns / (double)EVENER_NS_PER_S,
                                 (double)max_ns / (double)EVENER_NS_PER_S);
    }
    *value_ns = (uint64_t)ns;
    return EVENER_STATUS_OK;
}

evener_status_code evener_json_string(const json_t *object, const char *name, char *value, size_t bytes,
                                      evener_status *status)
{
    const json_t *field = json_object_get(object, name);
    if (field == NULL) {
        return EVENER_STATUS_OK;
    }
    if (!json_is_string(field)) {
        return bad(status, name, "a string");
    }
    if (json_string_length(field) >= bytes) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: at most %zu bytes are allowed", name,
                                 bytes - 1);
    }
    memcpy(value, json_string_value(field), json_string_length(field) + 1);
    return EVENER_STATUS_OK;
}

evener_status_code evener_json_nested(const json_t *object, const char *name, const json_t **value,
                                      evener_status *status)
{
    *value = json_object_get(object, name);
    if (*value != NULL && !json_is_object(*value)) {
        return bad(status, name, "a JSON object");
    }
    return EVENER_STATUS_OK;
}

evener_status_code evener_json_config(const char *json, const void *defaults, size_t bytes,
                                      evener_json_config_reader read, evener_policy_config **config,
                                      evener_status *status)
{
    json_t *object = NULL;
    evener_status_code code = evener_json_object(json, &object, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_policy_config *parsed = malloc(bytes);
    if (parsed == NULL) {
        code = evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    } else {
        memcpy(parsed, defaults, bytes);
        code = read(object, parsed, status);
    }
    json_decref(object);
    if (code != EVENER_STATUS_OK) {
        free(parsed);
        return code;
    }
    *config = parsed;
    return EVENER_STATUS_OK;
}

evener_status_code evener_json_child_policy(const json_t *object, const evener_policy_set *policies,
                                            evener_policy_choice *choice, evener_status *status)
{
    const json_t *list = json_object_get(object, "childPolicy");
    if (list == NULL) {
        return bad(status, "childPolicy", "a list like [{\"round_robin\": {}}]");
    }
    char *text = json_dumps(list, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "childPolicy: out of memory");
    }
    const evener_status_code code = evener_policy_choose(policies, text, "childPolicy", choice, status);
    free(text);
    return code;
}
