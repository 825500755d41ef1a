#include "lb/channel/service_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lb/base/c_locale.h"
#include "lb/base/unknown_field.h"
#include "lb/channel/json_duration.h"
#include "lb/channel/method_state.h"

#define METHODS_MAX 10000

typedef struct method_entry {
    char *path; /* "/service/method", "/service/" or "" for the default */
    evener_method_settings settings;
} method_entry;

struct evener_service_config {
    uint32_t references;
    char *text;
    evener_policy_choice policy;
    method_entry *methods; /* sorted by path */
    size_t method_count;
    evener_throttle_config throttle;
    evener_retry_budget_config retry_budget;
    evener_limits_given limits;
    uint32_t connections_max;
};

/* ---- reading ---- */

/* Remove the members that are null: in a protobuf message's JSON that means absent. What is in `loadBalancingConfig`
 * stays, as only the policies know what it means. */
static void remove_nulls(json_t *value)
{
    const char *name;
    json_t *member;
    void *next;
    size_t i;
    json_object_foreach_safe(value, next, name, member)
    {
        if (json_is_null(member)) {
            (void)json_object_del(value, name);
        } else if (strcmp(name, "loadBalancingConfig") != 0) {
            remove_nulls(member);
        }
    }
    json_array_foreach(value, i, member)
    {
        remove_nulls(member);
    }
}

/* Read a google.protobuf.UInt32Value: a number, or its digits as a string. Absent: *value stays. `place` stands before
 * the name in messages. */
static evener_status_code read_uint32(const json_t *object, const char *place, const char *name, size_t *value,
                                      evener_status *status)
{
    const json_t *given = json_object_get(object, name);
    if (given == NULL) {
        return EVENER_STATUS_OK;
    }
    json_int_t number = json_is_integer(given) ? json_integer_value(given) : -1;
    if (json_is_string(given) && json_string_length(given) > 0 && json_string_length(given) <= 10 &&
        strspn(json_string_value(given), "0123456789") == json_string_length(given)) {
        number = strtoll(json_string_value(given), NULL, 10);
    }
    if (number < 0 || number > UINT32_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "service config: %s%s: a whole number from 0 to 4294967295 is needed", place, name);
    }
    *value = (size_t)number;
    return EVENER_STATUS_OK;
}

/* Read a limit of bytes; 0 stands for "not set". */
static evener_status_code read_bytes_max(const json_t *object, size_t index, const char *name, size_t *bytes,
                                         evener_status *status)
{
    char place[48];
    (void)evener_snprintf(place, sizeof place, "methodConfig[%zu].", index);
    size_t read = SIZE_MAX;
    const evener_status_code code = read_uint32(object, place, name, &read, status);
    if (code == EVENER_STATUS_OK && read != SIZE_MAX) {
        *bytes = read > 0 ? read : 1;
    }
    return code;
}

static evener_status_code read_settings(const json_t *object, size_t index, evener_method_settings *settings,
                                        evener_status *status)
{
    const json_t *timeout = json_object_get(object, "timeout");
    if (timeout != NULL) {
        double seconds;
        if (!evener_json_duration(timeout, &seconds)) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "service config: methodConfig[%zu].timeout: a duration like \"1.5s\" is needed",
                                     index);
        }
        const double ms = ceil(seconds * 1000);
        settings->timeout_ms = ms < 1 ? 1 : (uint64_t)ms;
    }
    const json_t *wait = json_object_get(object, "waitForReady");
    if (wait != NULL) {
        if (!json_is_boolean(wait)) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "service config: methodConfig[%zu].waitForReady: true or false is needed", index);
        }
        settings->has_wait_for_ready = true;
        settings->wait_for_ready = json_is_true(wait);
    }
    evener_status_code code =
        read_bytes_max(object, index, "maxRequestMessageBytes", &settings->request_bytes_max, status);
    if (code == EVENER_STATUS_OK) {
        code = read_bytes_max(object, index, "maxResponseMessageBytes", &settings->response_bytes_max, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = evener_call_policy_read(object, index, &settings->policy, status);
    }
    return code == EVENER_STATUS_OK ? evener_breaker_read(object, index, &settings->breaker_k, status) : code;
}

static char *path_of(const char *service, const char *method)
{
    if (service[0] == '\0') {
        return strdup("");
    }
    const size_t bytes = strlen(service) + strlen(method) + 3;
    char *path = malloc(bytes);
    if (path != NULL) {
        path[0] = '/';
        strcpy(path + 1, service);
        strcat(path, "/");
        strcat(path, method);
    }
    return path;
}

static evener_status_code add_method(evener_service_config *config, char *path, const evener_method_settings *settings,
                                     evener_status *status)
{
    method_entry *grown = path != NULL ? realloc(config->methods, (config->method_count + 1) * sizeof *grown) : NULL;
    if (grown == NULL) {
        free(path);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "service config: out of memory");
    }
    config->methods = grown;
    config->methods[config->method_count++] = (method_entry){path, *settings};
    return EVENER_STATUS_OK;
}

static evener_status_code read_name(evener_service_config *config, const json_t *name, size_t index, size_t name_index,
                                    const evener_method_settings *settings, evener_status *status)
{
    const json_t *service = json_object_get(name, "service");
    const json_t *method = json_object_get(name, "method");
    if (!json_is_object(name) || (service != NULL && !json_is_string(service)) ||
        (method != NULL && !json_is_string(method))) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "service config: methodConfig[%zu].name[%zu]: an object with the strings \"service\" "
                                 "and \"method\" is needed",
                                 index, name_index);
    }
    const char *service_text = service != NULL ? json_string_value(service) : "";
    const char *method_text = method != NULL ? json_string_value(method) : "";
    if (service_text[0] == '\0' && method_text[0] != '\0') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "service config: methodConfig[%zu].name[%zu]: \"method\" without \"service\"", index,
                                 name_index);
    }
    if (config->method_count >= METHODS_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "service config: methodConfig: more than %d names", METHODS_MAX);
    }
    return add_method(config, path_of(service_text, method_text), settings, status);
}

static int compare_methods(const void *a, const void *b)
{
    return strcmp(((const method_entry *)a)->path, ((const method_entry *)b)->path);
}

static evener_status_code read_methods(evener_service_config *config, const json_t *root, evener_status *status)
{
    const json_t *list = json_object_get(root, "methodConfig");
    if (list == NULL) {
        return EVENER_STATUS_OK;
    }
    if (!json_is_array(list)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "service config: methodConfig: a list is needed");
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const json_t *names = json_object_get(entry, "name");
        if (!json_is_object(entry) || (names != NULL && !json_is_array(names))) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "service config: methodConfig[%zu]: an object with a list \"name\" is needed", i);
        }
        evener_method_settings settings = {0};
        if (read_settings(entry, i, &settings, status) != EVENER_STATUS_OK) {
            return EVENER_STATUS_INVALID_ARGUMENT;
        }
        for (size_t j = 0; j < json_array_size(names); j++) {
            const evener_status_code code = read_name(config, json_array_get(names, j), i, j, &settings, status);
            if (code != EVENER_STATUS_OK) {
                return code;
            }
        }
    }
    if (config->method_count > 1) {
        qsort(config->methods, config->method_count, sizeof *config->methods, compare_methods);
    }
    for (size_t i = 1; i < config->method_count; i++) {
        if (strcmp(config->methods[i - 1].path, config->methods[i].path) == 0) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "service config: methodConfig: two entries for the name \"%s\"",
                                     config->methods[i].path);
        }
    }
    return EVENER_STATUS_OK;
}

static evener_status_code choose_from(const evener_policy_set *policies, const json_t *list, const char *where,
                                      evener_policy_choice *choice, evener_status *status)
{
    char *text = json_dumps(list, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "service config: out of memory");
    }
    const evener_status_code code = evener_policy_choose(policies, text, where, choice, status);
    free(text);
    return code;
}

/* Find the list of `loadBalancingConfig`, or make one of `loadBalancingPolicy` or the default. Store a new
 * reference; NULL with OK: no policy is named. */
static evener_status_code named_policies(json_t *root, const char *default_policy, json_t **list, const char **where,
                                         evener_status *status)
{
    *where = "service config: loadBalancingConfig";
    json_t *given = json_object_get(root, "loadBalancingConfig");
    if (given != NULL) {
        *list = json_incref(given);
        return EVENER_STATUS_OK;
    }
    *where = "service config: loadBalancingPolicy";
    const json_t *name = json_object_get(root, "loadBalancingPolicy");
    if (name == NULL) {
        *list = default_policy != NULL ? json_pack("[{s:{}}]", default_policy) : NULL;
        return EVENER_STATUS_OK;
    }
    if (!json_is_string(name)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: a string is needed", *where);
    }
    /* gRPC accepts the old field's name in any case ("ROUND_ROBIN"). */
    char lower[64] = "";
    for (size_t i = 0; i < sizeof lower - 1 && json_string_value(name)[i] != '\0'; i++) {
        const char c = json_string_value(name)[i];
        lower[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
        lower[i + 1] = '\0';
    }
    *list = json_pack("[{s:{}}]", lower);
    return *list != NULL
               ? EVENER_STATUS_OK
               : evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: no policy of that name", *where);
}

/* Find `healthCheckConfig.serviceName` (A17, client-side health checking), or NULL. */
static evener_status_code health_service(const json_t *root, const char **service, evener_status *status)
{
    const json_t *health = json_object_get(root, "healthCheckConfig");
    const json_t *name = json_object_get(health, "serviceName");
    *service = NULL;
    if ((health != NULL && !json_is_object(health)) || (name != NULL && !json_is_string(name))) {
        return evener_status_set(
            status, EVENER_STATUS_INVALID_ARGUMENT,
            "service config: healthCheckConfig: an object with the string \"serviceName\" is needed");
    }
    if (name != NULL) {
        *service = json_string_value(name);
    }
    return EVENER_STATUS_OK;
}

static evener_status_code read_policy(evener_service_config *config, const evener_policy_set *policies, json_t *root,
                                      const char *default_policy, evener_status *status)
{
    const char *service;
    const char *where;
    json_t *list = NULL;
    evener_status_code code = health_service(root, &service, status);
    if (code == EVENER_STATUS_OK) {
        code = named_policies(root, service != NULL ? default_policy : NULL, &list, &where, status);
    }
    if (code != EVENER_STATUS_OK || list == NULL) {
        return code;
    }
    if (service != NULL) {
        list = json_pack("[{s:{s:s, s:o}}]", "health_check", "serviceName", service, "childPolicy", list);
    }
    code = list != NULL ? choose_from(policies, list, where, &config->policy, status)
                        : evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "service config: out of memory");
    json_decref(list);
    return code;
}

/* Read connectionScaling.maxConnectionsPerSubchannel (A105), a google.protobuf.UInt32Value. */
static evener_status_code read_connections_max(evener_service_config *config, const json_t *root, evener_status *status)
{
    const json_t *scaling = json_object_get(root, "connectionScaling");
    if (scaling != NULL && !json_is_object(scaling)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "service config: connectionScaling: an object is needed");
    }
    size_t max = 1;
    const evener_status_code code =
        read_uint32(scaling, "connectionScaling.", "maxConnectionsPerSubchannel", &max, status);
    config->connections_max = max > 0 ? (uint32_t)max : 1;
    return code;
}

/* Warn of fields of `object` that are not in `known`, a list that ends with NULL. */
static void warn_of_unknown(const json_t *object, const char *place, const char *const *known)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        size_t i = 0;
        while (known[i] != NULL && strcmp(known[i], name) != 0) {
            i++;
        }
        if (known[i] == NULL) {
            char whole[96];
            snprintf(whole, sizeof whole, "%s%s", place, name);
            evener_warn_of_unknown_field("service config", whole);
        }
    }
}

/* grpc: service_config.proto, and what the resolvers of evener add. */
static void warn_of_unknown_fields(const json_t *root)
{
    static const char *const of_root[] = {"loadBalancingConfig", "loadBalancingPolicy", "methodConfig",
                                          "retryThrottling",     "healthCheckConfig",   "connectionScaling",
                                          "evenerRetryBudget",   "evenerLimits",        NULL};
    static const char *const of_method[] = {
        "name",          "waitForReady",  "timeout", "maxRequestMessageBytes", "maxResponseMessageBytes", "retryPolicy",
        "hedgingPolicy", "evenerBreaker", NULL};
    static const char *const of_name[] = {"service", "method", NULL};
    static const char *const of_health[] = {"serviceName", NULL};
    warn_of_unknown(root, "", of_root);
    warn_of_unknown(json_object_get(root, "healthCheckConfig"), "healthCheckConfig.", of_health);
    const json_t *methods = json_object_get(root, "methodConfig");
    for (size_t i = 0; i < json_array_size(methods); i++) {
        const json_t *method = json_array_get(methods, i);
        const json_t *names = json_object_get(method, "name");
        warn_of_unknown(method, "methodConfig.", of_method);
        for (size_t n = 0; n < json_array_size(names); n++) {
            warn_of_unknown(json_array_get(names, n), "methodConfig.name.", of_name);
        }
    }
}

/* ---- the object ---- */

static void destroy(evener_service_config *config)
{
    evener_policy_choice_clear(&config->policy);
    for (size_t i = 0; i < config->method_count; i++) {
        free(config->methods[i].path);
    }
    free(config->methods);
    free(config->text);
    free(config);
}

evener_status_code evener_service_config_parse(const char *json, const evener_policy_set *policies,
                                               const char *default_policy, evener_service_config **config,
                                               evener_status *status)
{
    if (strnlen(json, EVENER_SERVICE_CONFIG_BYTES_MAX + 1) > EVENER_SERVICE_CONFIG_BYTES_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "service config: longer than %d bytes",
                                 EVENER_SERVICE_CONFIG_BYTES_MAX);
    }
    json_error_t error;
    json_t *root = json_loads(json, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(root)) {
        const bool syntax = root == NULL;
        json_decref(root);
        return syntax
                   ? evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "service config: line %d, column %d: %s",
                                       error.line, error.column, error.text)
                   : evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                       "service config: a JSON object is needed");
    }
    remove_nulls(root);
    evener_service_config *made = calloc(1, sizeof *made);
    evener_status_code code = EVENER_STATUS_RESOURCE_EXHAUSTED;
    if (made != NULL) {
        made->references = 1;
        made->text = strdup(json);
    }
    if (made == NULL || made->text == NULL) {
        evener_status_set(status, code, "service config: out of memory");
    } else {
        code = read_policy(made, policies, root, default_policy, status);
        if (code == EVENER_STATUS_OK) {
            code = read_methods(made, root, status);
        }
        if (code == EVENER_STATUS_OK) {
            code = evener_throttle_read(root, &made->throttle, status);
        }
        if (code == EVENER_STATUS_OK) {
            code = read_connections_max(made, root, status);
        }
        if (code == EVENER_STATUS_OK) {
            code = evener_retry_budget_read(root, &made->retry_budget, status);
        }
        if (code == EVENER_STATUS_OK) {
            code = evener_limits_read(root, &made->limits, status);
        }
    }
    if (code == EVENER_STATUS_OK) {
        warn_of_unknown_fields(root);
    }
    json_decref(root);
    if (code == EVENER_STATUS_OK) {
        *config = made;
    } else if (made != NULL) {
        destroy(made);
    }
    return code;
}

evener_service_config *evener_service_config_ref(evener_service_config *config)
{
    if (config != NULL) {
        (void)__atomic_fetch_add(&config->references, 1, __ATOMIC_RELAXED);
    }
    return config;
}

void evener_service_config_unref(evener_service_config *config)
{
    if (config != NULL && __atomic_sub_fetch(&config->references, 1, __ATOMIC_ACQ_REL) == 0) {
        destroy(config);
    }
}

const evener_policy_choice *evener_service_config_policy(const evener_service_config *config)
{
    return &config->policy;
}

void evener_service_config_bind(evener_service_config *config,
                                struct evener_method_state *(*state_of)(void *arg, const char *path), void *arg)
{
    for (size_t i = 0; i < config->method_count; i++) {
        evener_method_settings *settings = &config->methods[i].settings;
        if (settings->policy.kind != EVENER_CALL_POLICY_NONE || settings->breaker_k > 0) {
            settings->state = state_of(arg, config->methods[i].path);
            if (settings->state != NULL) {
                evener_method_state_want(settings->state, settings->policy.hedging_quantile);
            }
        }
    }
}

const evener_retry_budget_config *evener_service_config_retry_budget(const evener_service_config *config)
{
    return &config->retry_budget;
}

const evener_limits_given *evener_service_config_limits(const evener_service_config *config)
{
    return &config->limits;
}

const evener_throttle_config *evener_service_config_throttle(const evener_service_config *config)
{
    return &config->throttle;
}

uint32_t evener_service_config_connections_max(const evener_service_config *config)
{
    return config->connections_max;
}

const char *evener_service_config_text(const evener_service_config *config)
{
    return config->text;
}

static const method_entry *find_method(const evener_service_config *config, const char *path, size_t path_bytes)
{
    size_t low = 0;
    size_t high = config->method_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const method_entry *entry = &config->methods[middle];
        int order = strncmp(entry->path, path, path_bytes);
        if (order == 0) {
            order = entry->path[path_bytes] != '\0';
        }
        if (order == 0) {
            return entry;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

evener_method_settings evener_service_config_method(const evener_service_config *config, const char *method)
{
    const method_entry *entry = find_method(config, method, strlen(method));
    const char *slash = strrchr(method, '/');
    if (entry == NULL && slash != NULL) {
        entry = find_method(config, method, (size_t)(slash + 1 - method));
    }
    if (entry == NULL) {
        entry = find_method(config, "", 0);
    }
    return entry != NULL ? entry->settings : (evener_method_settings){0};
}
