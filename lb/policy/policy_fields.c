#include <evener/policy_config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <evener/loop.h>

#include "lb/base/c_locale.h"
#include "lb/base/options.h"
#include "lb/base/unknown_field.h"

#define SECONDS_MAX 315576000000.0 /* of google.protobuf.Duration */
#define PLACE_BYTES 256

/* An object that was entered. */
typedef struct level {
    const char *name; /* NULL: the outermost */
    json_t *object;   /* borrowed from the root */
    json_t *known;    /* an object with a member per field that was asked for */
} level;

struct evener_policy_fields {
    json_t *root;
    level levels[EVENER_POLICY_FIELDS_DEPTH_MAX];
    size_t depth; /* of `levels`; 0: the text was no object */
    evener_status error;
    char unknown[PLACE_BYTES]; /* the place of the first field that was not read; "": none yet */
};

/* ---- places ---- */

/* Write "slowStartConfig.window", truncated to the buffer. */
static void write_place(const evener_policy_fields *fields, const char *name, char *place, size_t bytes)
{
    size_t used = 0;
    place[0] = '\0';
    for (size_t i = 1; i < fields->depth && used < bytes; i++) {
        used += (size_t)snprintf(place + used, bytes - used, "%s.", fields->levels[i].name);
    }
    if (used < bytes) {
        snprintf(place + used, bytes - used, "%s", name);
    }
}

static bool has_failed(const evener_policy_fields *fields)
{
    return fields == NULL || fields->error.code != EVENER_STATUS_OK;
}

void evener_policy_fields_fail(evener_policy_fields *fields, evener_status_code code, const char *name,
                               const char *format, ...)
{
    if (has_failed(fields)) {
        return;
    }
    char place[PLACE_BYTES];
    char text[EVENER_STATUS_MESSAGE_BYTES];
    va_list arguments;
    write_place(fields, name, place, sizeof place);
    va_start(arguments, format);
    (void)evener_vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    evener_status_set(&fields->error, code != EVENER_STATUS_OK ? code : EVENER_STATUS_INVALID_ARGUMENT, "%s: %s", place,
                      text);
}

static bool is_needed(evener_policy_fields *fields, const char *name, const char *wanted)
{
    evener_policy_fields_fail(fields, EVENER_STATUS_INVALID_ARGUMENT, name, "%s is needed", wanted);
    return false;
}

/* ---- life ---- */

static bool push(evener_policy_fields *fields, const char *name, json_t *object)
{
    json_t *known = json_object();
    if (known == NULL) {
        evener_status_set(&fields->error, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return false;
    }
    fields->levels[fields->depth++] = (level){name, object, known};
    return true;
}

static void pop(evener_policy_fields *fields)
{
    const level *top = &fields->levels[fields->depth - 1];
    const char *name;
    json_t *value;
    json_object_foreach(top->object, name, value)
    {
        if (fields->unknown[0] == '\0' && json_object_get(top->known, name) == NULL) {
            write_place(fields, name, fields->unknown, sizeof fields->unknown);
        }
    }
    json_decref(top->known);
    fields->depth--;
}

evener_policy_fields *evener_policy_fields_open(const char *json)
{
    evener_policy_fields *fields = calloc(1, sizeof *fields);
    if (fields == NULL) {
        return NULL;
    }
    json_error_t error;
    fields->root = json_loads(json, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (fields->root == NULL) {
        evener_status_set(&fields->error, EVENER_STATUS_INVALID_ARGUMENT, "line %d, column %d: %s", error.line,
                          error.column, error.text);
    } else if (!json_is_object(fields->root)) {
        evener_status_set(&fields->error, EVENER_STATUS_INVALID_ARGUMENT, "a JSON object is needed");
    } else {
        (void)push(fields, NULL, fields->root);
    }
    return fields;
}

evener_status_code evener_policy_fields_close(evener_policy_fields *fields, evener_unknown_fields unknown,
                                              evener_status *status)
{
    if (fields == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    while (fields->depth > 0) {
        pop(fields);
    }
    if (!has_failed(fields) && unknown == EVENER_UNKNOWN_FIELDS_REFUSE && fields->unknown[0] != '\0') {
        evener_status_set(&fields->error, EVENER_STATUS_INVALID_ARGUMENT, "%s: there is no such field: remove it",
                          fields->unknown);
    }
    const evener_status_code code = fields->error.code;
    if (code == EVENER_STATUS_OK && fields->unknown[0] != '\0') {
        evener_warn_of_unknown_field("policy's configuration", fields->unknown);
    }
    if (code != EVENER_STATUS_OK) {
        evener_status_set(status, code, "%s", fields->error.message);
    }
    json_decref(fields->root);
    free(fields);
    return code == EVENER_STATUS_OK ? evener_status_clear(status) : code;
}

/* ---- fields ---- */

/* Return the field, or NULL if it is missing or there was an error. In a protobuf message's JSON null means missing. */
static json_t *find(evener_policy_fields *fields, const char *name)
{
    if (has_failed(fields)) {
        return NULL;
    }
    level *top = &fields->levels[fields->depth - 1];
    if (json_object_set_new(top->known, name, json_true()) != 0) {
        evener_policy_fields_fail(fields, EVENER_STATUS_RESOURCE_EXHAUSTED, name, "out of memory");
        return NULL;
    }
    json_t *field = json_object_get(top->object, name);
    return json_is_null(field) ? NULL : field;
}

bool evener_policy_fields_get_bool(evener_policy_fields *fields, const char *name, bool *value)
{
    const json_t *field = find(fields, name);
    if (field == NULL) {
        return false;
    }
    if (!json_is_boolean(field)) {
        return is_needed(fields, name, "true or false");
    }
    *value = json_is_true(field);
    return true;
}

bool evener_policy_fields_get_u32(evener_policy_fields *fields, const char *name, uint32_t min, uint32_t max,
                                  uint32_t *value)
{
    const json_t *field = find(fields, name);
    if (field == NULL) {
        return false;
    }
    const json_int_t number = json_is_integer(field) ? json_integer_value(field) : -1;
    if (number < (json_int_t)min || number > (json_int_t)max) {
        evener_policy_fields_fail(fields, EVENER_STATUS_INVALID_ARGUMENT, name,
                                  "a whole number from %u to %u is needed", min, max);
        return false;
    }
    *value = (uint32_t)number;
    return true;
}

bool evener_policy_fields_get_double(evener_policy_fields *fields, const char *name, double min, double max,
                                     double *value)
{
    const json_t *field = find(fields, name);
    if (field == NULL) {
        return false;
    }
    if (!json_is_number(field) || !(json_number_value(field) >= min && json_number_value(field) <= max)) {
        evener_policy_fields_fail(fields, EVENER_STATUS_INVALID_ARGUMENT, name, "a number from %g to %g is needed", min,
                                  max);
        return false;
    }
    *value = json_number_value(field);
    return true;
}

static bool parse_duration(const char *text, double *seconds)
{
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    char *end;
    const double value = strtod_l(text, &end, evener_c_locale());
    if (strspn(text, "0123456789.") != (size_t)(end - text) || strcmp(end, "s") != 0 || !(value <= SECONDS_MAX)) {
        return false;
    }
    *seconds = value;
    return true;
}

bool evener_policy_fields_get_duration(evener_policy_fields *fields, const char *name, uint64_t min_ns, uint64_t max_ns,
                                       uint64_t *value_ns)
{
    const json_t *field = find(fields, name);
    if (field == NULL) {
        return false;
    }
    double seconds;
    if (!json_is_string(field) || !parse_duration(json_string_value(field), &seconds)) {
        return is_needed(fields, name, "a duration like \"1.5s\"");
    }
    const double ns = seconds * (double)EVENER_NS_PER_S;
    if (ns < (double)min_ns || ns > (double)max_ns) {
        evener_policy_fields_fail(fields, EVENER_STATUS_INVALID_ARGUMENT, name, "a duration from %gs to %gs is needed",
                                  (double)min_ns / (double)EVENER_NS_PER_S, (double)max_ns / (double)EVENER_NS_PER_S);
        return false;
    }
    *value_ns = (uint64_t)ns;
    return true;
}

bool evener_policy_fields_get_string(evener_policy_fields *fields, const char *name, char *value, size_t bytes)
{
    const json_t *field = find(fields, name);
    if (field == NULL) {
        return false;
    }
    if (!json_is_string(field)) {
        return is_needed(fields, name, "a string");
    }
    if (json_string_length(field) >= bytes) {
        evener_policy_fields_fail(fields, EVENER_STATUS_INVALID_ARGUMENT, name, "at most %zu bytes are allowed",
                                  bytes - 1);
        return false;
    }
    memcpy(value, json_string_value(field), json_string_length(field) + 1);
    return true;
}

bool evener_policy_fields_get_strings(evener_policy_fields *fields, const char *name, char *value, size_t bytes,
                                      size_t *count)
{
    const json_t *list = find(fields, name);
    if (list == NULL) {
        return false;
    }
    bool is_good = json_is_array(list);
    size_t used = 0;
    size_t index;
    const json_t *item;
    json_array_foreach(list, index, item)
    {
        is_good = is_good && json_is_string(item) && json_string_length(item) > 0;
        used += is_good ? json_string_length(item) + 1 : 0;
    }
    if (!is_good) {
        return is_needed(fields, name, "a list of strings that are not empty");
    }
    if (used > bytes) {
        evener_policy_fields_fail(fields, EVENER_STATUS_INVALID_ARGUMENT, name,
                                  "at most %zu bytes in all are allowed, with one more per string", bytes);
        return false;
    }
    json_array_foreach(list, index, item)
    {
        memcpy(value, json_string_value(item), json_string_length(item) + 1);
        value += json_string_length(item) + 1;
    }
    *count = json_array_size(list);
    return true;
}

/* Return the code of a list's item; OK: not a code that may be in a list. */
static evener_status_code status_code_of(const json_t *item)
{
    for (int code = EVENER_STATUS_CANCELLED + 1; code <= EVENER_STATUS_UNAUTHENTICATED; code++) {
        if (json_is_integer(item)
                ? json_integer_value(item) == code
                : json_is_string(item) &&
                      strcmp(json_string_value(item), evener_status_code_name((evener_status_code)code)) == 0) {
            return (evener_status_code)code;
        }
    }
    return EVENER_STATUS_OK;
}

bool evener_policy_fields_get_status_codes(evener_policy_fields *fields, const char *name, uint32_t *codes)
{
    const json_t *list = find(fields, name);
    if (list == NULL) {
        return false;
    }
    if (!json_is_array(list)) {
        return is_needed(fields, name, "a list of status codes like [\"UNAVAILABLE\"]");
    }
    uint32_t found = 0;
    size_t index;
    const json_t *item;
    json_array_foreach(list, index, item)
    {
        const evener_status_code code = status_code_of(item);
        if (code == EVENER_STATUS_OK) {
            evener_policy_fields_fail(fields, EVENER_STATUS_INVALID_ARGUMENT, name,
                                      "item %zu is no status code that can count against a backend; write a name like "
                                      "\"UNAVAILABLE\", but neither \"OK\" nor \"CANCELLED\"",
                                      index);
            return false;
        }
        found |= UINT32_C(1) << (uint32_t)code;
    }
    *codes = found;
    return true;
}

bool evener_policy_fields_get_child_policy(evener_policy_fields *fields, const char *name,
                                           const evener_policy_set *policies, evener_policy_choice *choice)
{
    const json_t *list = find(fields, name);
    if (list == NULL) {
        return is_needed(fields, name, "a list like [{\"round_robin\": {}}]");
    }
    char place[PLACE_BYTES];
    write_place(fields, name, place, sizeof place);
    char *text = json_dumps(list, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL) {
        evener_policy_fields_fail(fields, EVENER_STATUS_RESOURCE_EXHAUSTED, name, "out of memory");
        return false;
    }
    const evener_status_code code = evener_policy_choose(policies, text, place, choice, &fields->error);
    free(text);
    return code == EVENER_STATUS_OK;
}

bool evener_policy_fields_enter(evener_policy_fields *fields, const char *name)
{
    json_t *object = find(fields, name);
    if (object == NULL) {
        return false;
    }
    if (!json_is_object(object)) {
        return is_needed(fields, name, "a JSON object");
    }
    if (fields->depth == EVENER_POLICY_FIELDS_DEPTH_MAX) {
        evener_policy_fields_fail(fields, EVENER_STATUS_INVALID_ARGUMENT, name, "objects nested deeper than %d",
                                  EVENER_POLICY_FIELDS_DEPTH_MAX);
        return false;
    }
    return push(fields, name, object);
}

void evener_policy_fields_leave(evener_policy_fields *fields)
{
    if (fields != NULL && fields->depth > 1) {
        pop(fields);
    }
}

/* ---- a configuration of one block ---- */

evener_status_code evener_policy_config_parse(const evener_policy_config_type *given, const evener_policy_set *policies,
                                              const char *json, evener_policy_config **config, evener_status *status)
{
    evener_policy_config_type type;
    const evener_status_code code =
        evener_options_read(&type, sizeof type, given, "policy configuration", "evener_policy_config_type", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (type.read == NULL || config == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "policy configuration: %s is NULL",
                                 type.read == NULL ? "`read`" : "where to store it");
    }
    evener_policy_config *parsed = calloc(1, type.config_bytes > 0 ? type.config_bytes : 1);
    if (parsed == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    if (type.defaults != NULL) {
        memcpy(parsed, type.defaults, type.config_bytes);
    }
    evener_policy_fields *fields = evener_policy_fields_open(json);
    type.read(fields, policies, parsed);
    const evener_status_code read = evener_policy_fields_close(fields, type.unknown, status);
    if (read == EVENER_STATUS_OK) {
        *config = parsed;
    } else if (type.destroy != NULL) {
        type.destroy(parsed);
    } else {
        free(parsed);
    }
    return read;
}
