/* The registry of policies, and the reading of a `loadBalancingConfig` list. */
#include <evener/policy.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lb/base/fork.h"
#include "lb/policy/builtin.h"
#include "lb/policy/choice.h"

/* A policy inside a policy inside ...: deeper than any use, far from the end of the stack. */
#define NESTING_MAX 16

/* One line a policy, sorted by name. */
static const evener_policy_builder *const built_in[] = {
    &evener_policy_health_check,
    &evener_policy_least_request,
    &evener_policy_least_request_experimental,
    &evener_policy_outlier_detection,
    &evener_policy_outlier_detection_experimental,
    &evener_policy_p2c,
    &evener_policy_p2c_ewma,
    &evener_policy_pick_first,
    &evener_policy_random,
    &evener_policy_ring_hash,
    &evener_policy_ring_hash_experimental,
    &evener_policy_round_robin,
    &evener_policy_weighted_random,
    &evener_policy_weighted_round_robin,
};

/* What the program registered: takes precedence over built_in. Entries are added or replaced, never removed. */
static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static const evener_policy_builder **registered; /* under the mutex, as what follows */
static size_t registered_count, registered_capacity;
EVENER_FORK_LOCK(registry_mutex, EVENER_FORK_REGISTRY, NULL)

static const evener_policy_builder *find_in(const evener_policy_builder *const *builders, size_t count,
                                            const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(builders[i]->name, name) == 0) {
            return builders[i];
        }
    }
    return NULL;
}

static bool add_locked(const evener_policy_builder *builder)
{
    for (size_t i = 0; i < registered_count; i++) {
        if (strcmp(registered[i]->name, builder->name) == 0) {
            registered[i] = builder;
            return true;
        }
    }
    if (registered_count == registered_capacity) {
        const size_t capacity = registered_capacity == 0 ? 8 : registered_capacity * 2;
        const evener_policy_builder **grown = realloc(registered, capacity * sizeof(const evener_policy_builder *));
        if (grown == NULL) {
            return false;
        }
        registered = grown;
        registered_capacity = capacity;
    }
    registered[registered_count++] = builder;
    return true;
}

evener_status_code evener_policy_register(const evener_policy_builder *builder, evener_status *status)
{
    if (builder == NULL || builder->name == NULL || builder->name[0] == '\0') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "policy registry: a builder with a name is needed");
    }
    if (builder->build == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "policy registry: the builder of \"%s\" has no build function", builder->name);
    }
    pthread_mutex_lock(&registry_mutex);
    const bool added = add_locked(builder);
    pthread_mutex_unlock(&registry_mutex);
    if (!added) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "policy registry: out of memory for \"%s\"",
                                 builder->name);
    }
    return evener_status_clear(status);
}

const evener_policy_builder *evener_policy_find(const evener_policy_set *set, const char *name)
{
    if (name == NULL) {
        return NULL;
    }
    if (set != NULL) {
        const evener_policy_builder *own = find_in(set->own, set->own_count, name);
        if (own != NULL) {
            return own;
        }
    }
    pthread_mutex_lock(&registry_mutex);
    const evener_policy_builder *found = find_in(registered, registered_count, name);
    pthread_mutex_unlock(&registry_mutex);
    return found != NULL ? found : find_in(built_in, sizeof built_in / sizeof built_in[0], name);
}

/* ---- choosing ---- */

static evener_status_code parse_choice(const evener_policy_set *set, const evener_policy_builder *builder,
                                       const json_t *config, const char *where, evener_policy_choice *choice,
                                       evener_status *status)
{
    if (!json_is_object(config)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: %s: a JSON object is needed", where,
                                 builder->name);
    }
    evener_policy_config *parsed = NULL;
    if (builder->parse_config != NULL) {
        char *text = json_dumps(config, JSON_COMPACT);
        if (text == NULL) {
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: out of memory", where);
        }
        evener_status inner;
        evener_status_clear(&inner);
        const evener_status_code code = builder->parse_config(builder, set, text, &parsed, &inner);
        free(text);
        if (code != EVENER_STATUS_OK) {
            return evener_status_set(status, code, "%s: %s: %s", where, builder->name, inner.message);
        }
    }
    if (parsed != NULL && !evener_policy_choice_share(choice, builder, parsed)) {
        if (builder->config_destroy != NULL) {
            builder->config_destroy(parsed);
        }
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: out of memory", where);
    }
    choice->builder = builder;
    choice->config = parsed;
    return evener_status_clear(status);
}

static evener_status_code choose_from(const evener_policy_set *set, const json_t *list, const char *where,
                                      evener_policy_choice *choice, evener_status *status)
{
    if (!json_is_array(list)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "%s: a list like [{\"round_robin\": {}}] is needed", where);
    }
    char unknown[256] = "";
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *entry = json_array_get(list, i);
        if (!json_is_object(entry) || json_object_size(entry) != 1) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "%s[%zu]: an object with exactly one member, the policy's name, is needed", where,
                                     i);
        }
        void *member = json_object_iter(entry);
        const char *name = json_object_iter_key(member);
        const evener_policy_builder *builder = evener_policy_find(set, name);
        if (builder != NULL) {
            return parse_choice(set, builder, json_object_iter_value(member), where, choice, status);
        }
        const size_t used = strlen(unknown);
        if (used + strlen(name) + 5 < sizeof unknown) {
            strcat(unknown, used == 0 ? "\"" : ", \"");
            strcat(unknown, name);
            strcat(unknown, "\"");
        }
    }
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: no known policy%s%s; register it first",
                             where, unknown[0] != '\0' ? " among " : " in an empty list", unknown);
}

evener_status_code evener_policy_choose(const evener_policy_set *set, const char *json, const char *where,
                                        evener_policy_choice *choice, evener_status *status)
{
    static _Thread_local unsigned nesting;
    if (nesting >= NESTING_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: policies nested deeper than %d", where,
                                 NESTING_MAX);
    }
    json_error_t error;
    json_t *list = json_loads(json, JSON_REJECT_DUPLICATES, &error);
    if (list == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: line %d, column %d: %s", where,
                                 error.line, error.column, error.text);
    }
    nesting++;
    const evener_status_code code = choose_from(set, list, where, choice, status);
    nesting--;
    json_decref(list);
    return code;
}
