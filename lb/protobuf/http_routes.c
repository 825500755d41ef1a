/* HTTP routes: their creation from the rules of all methods, and the way from a request to its route. */
#include "lb/protobuf/http_routes_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/options.h"

static evener_status_code no_memory(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

static void free_entry(evener_http_route_entry *entry)
{
    if (entry == NULL) {
        return;
    }
    evener_http_rule_clear(&entry->rule);
    evener_path_template_clear(&entry->template);
    free(entry);
}

/* ---- creation ---- */

static evener_status_code with_method(const evener_method *method, evener_status *status)
{
    return status == NULL ? EVENER_STATUS_INVALID_ARGUMENT
                          : evener_status_set(status, status->code, "%s: %s", method->full_name, status->message);
}

/* Find the field that `body` or `response_body` names. */
static evener_status_code find_body_field(const evener_method *method, const evener_message_type *message,
                                          const char *option, const char *name, const evener_field **field,
                                          evener_status *status)
{
    *field = evener_message_type_field_by_name(message, name, strlen(name));
    if (*field == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: %s: \"%s\": %s has no such field",
                                 method->full_name, option, name, message->full_name);
    }
    return EVENER_STATUS_OK;
}

/* A variable of the path is a text without structure. */
static bool can_be_in_path(const evener_field *field)
{
    return !field->repeated && field->kind != EVENER_FIELD_GROUP &&
           (field->message == NULL || strncmp(field->message->full_name, "google.protobuf.", 16) == 0);
}

static evener_status_code check_variables(const evener_http_route_entry *entry, evener_status *status)
{
    const evener_method *method = entry->route.method;
    for (size_t i = 0; i < entry->template.variable_count; i++) {
        const char *name = entry->template.variables[i].field_path;
        evener_http_field_path path;
        const evener_status_code code =
            evener_http_field_path_find(method->input, name, strlen(name), "path variable ", &path, status);
        if (code != EVENER_STATUS_OK) {
            return with_method(method, status);
        }
        if (!can_be_in_path(path.fields[path.depth - 1])) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "%s: path variable %s: a message or a list cannot be in a path", method->full_name,
                                     name);
        }
    }
    return EVENER_STATUS_OK;
}

/* Fill a new entry; takes over what `rule` owns. */
static evener_status_code fill_entry(evener_http_route_entry *entry, const evener_method *method,
                                     evener_http_rule *rule, evener_status *status)
{
    entry->rule = *rule;
    *rule = (evener_http_rule){0};
    entry->route = (evener_http_route){.verb = entry->rule.verb,
                                       .path = entry->rule.path,
                                       .body = entry->rule.body,
                                       .response_body = entry->rule.response_body,
                                       .method = method};
    const evener_http_route *route = &entry->route;
    evener_status_code code = evener_path_template_parse(route->path, &entry->template, status);
    if (code != EVENER_STATUS_OK) {
        (void)with_method(method, status);
        return code;
    }
    code = check_variables(entry, status);
    if (code == EVENER_STATUS_OK && route->body[0] != '\0' && strcmp(route->body, "*") != 0) {
        code = find_body_field(method, method->input, "body", route->body, &entry->body_field, status);
    }
    if (code == EVENER_STATUS_OK && route->response_body[0] != '\0') {
        code = find_body_field(method, method->output, "response_body", route->response_body,
                               &entry->response_body_field, status);
    }
    return code;
}

static evener_status_code add_entry(evener_http_routes *routes, const evener_method *method, evener_http_rule *rule,
                                    evener_status *status)
{
    evener_http_route_entry *entry = calloc(1, sizeof *entry);
    const evener_http_route **list = realloc(routes->list, (routes->count + 1) * sizeof(*list));
    if (list != NULL) {
        routes->list = list;
    }
    if (entry == NULL || list == NULL) {
        free(entry);
        return no_memory(status);
    }
    const evener_status_code code = fill_entry(entry, method, rule, status);
    if (code != EVENER_STATUS_OK) {
        free_entry(entry);
        return code;
    }
    list[routes->count++] = &entry->route;
    return EVENER_STATUS_OK;
}

static evener_status_code add_method(evener_http_routes *routes, const evener_method *method, bool only_bound,
                                     evener_status *status)
{
    evener_http_rules rules;
    evener_status_code code = evener_http_rules_read(method, &rules, status);
    if (code == EVENER_STATUS_OK && rules.count == 0 && !only_bound) {
        evener_http_rule unbound = {strdup("POST"), strdup(method->path), strdup("*"), strdup("")};
        if (unbound.verb == NULL || unbound.path == NULL || unbound.body == NULL || unbound.response_body == NULL) {
            code = no_memory(status);
        } else {
            code = add_entry(routes, method, &unbound, status);
        }
        evener_http_rule_clear(&unbound);
    }
    for (size_t i = 0; code == EVENER_STATUS_OK && i < rules.count; i++) {
        code = add_entry(routes, method, &rules.rules[i], status);
    }
    evener_http_rules_clear(&rules);
    return code;
}

/* Return whether the rule is for all verbs: custom { kind: "*" }. */
static bool is_any_verb(const char *verb)
{
    return strcmp(verb, "*") == 0;
}

/* Of the same path, a route for any verb comes last. */
static int compare_verbs(const char *a, const char *b)
{
    return is_any_verb(a) != is_any_verb(b) ? (is_any_verb(a) ? 1 : -1) : strcmp(a, b);
}

static int compare_routes(const void *a, const void *b)
{
    const evener_http_route_entry *of_a = *(const evener_http_route_entry *const *)a;
    const evener_http_route_entry *of_b = *(const evener_http_route_entry *const *)b;
    const int paths = evener_path_template_compare(&of_a->template, &of_b->template);
    return paths != 0 ? paths : compare_verbs(of_a->route.verb, of_b->route.verb);
}

static evener_status_code check_order(const evener_http_routes *routes, evener_status *status)
{
    for (size_t i = 1; i < routes->count; i++) {
        if (compare_routes(&routes->list[i - 1], &routes->list[i]) == 0) {
            return evener_status_set(status, EVENER_STATUS_ALREADY_EXISTS, "%s and %s have the same route, %s %s",
                                     routes->list[i - 1]->method->full_name, routes->list[i]->method->full_name,
                                     routes->list[i]->verb, routes->list[i]->path);
        }
    }
    return EVENER_STATUS_OK;
}

static bool is_hidden(const char *service, const char *const *prefixes)
{
    static const char *const about_the_server[] = {"grpc.", NULL};
    for (prefixes = prefixes != NULL ? prefixes : about_the_server; *prefixes != NULL; prefixes++) {
        if (strncmp(service, *prefixes, strlen(*prefixes)) == 0) {
            return true;
        }
    }
    return false;
}

evener_status_code evener_http_routes_create(const evener_descriptors *descriptors,
                                             const evener_http_routes_options *options, evener_http_routes **routes,
                                             evener_status *status)
{
    evener_http_routes_options own;
    evener_status_code code =
        evener_options_read(&own, sizeof own, options, "HTTP routes", "evener_http_routes_options", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_http_routes *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return no_memory(status);
    }
    made->descriptors = descriptors;
    size_t service_count;
    const evener_service_type *const *services = evener_descriptors_services(descriptors, &service_count);
    for (size_t i = 0; code == EVENER_STATUS_OK && i < service_count; i++) {
        const bool hidden = is_hidden(services[i]->full_name, own.hidden_prefixes);
        for (size_t j = 0; !hidden && code == EVENER_STATUS_OK && j < services[i]->method_count; j++) {
            code = add_method(made, services[i]->methods[j], own.only_bound, status);
        }
    }
    if (code == EVENER_STATUS_OK && made->count > 0) {
        qsort(made->list, made->count, sizeof(*made->list), compare_routes);
        code = check_order(made, status);
    }
    if (code != EVENER_STATUS_OK) {
        evener_http_routes_destroy(made);
        return code;
    }
    *routes = made;
    return evener_status_clear(status);
}

void evener_http_routes_destroy(evener_http_routes *routes)
{
    if (routes == NULL) {
        return;
    }
    for (size_t i = 0; i < routes->count; i++) {
        free_entry((evener_http_route_entry *)routes->list[i]);
    }
    free(routes->list);
    free(routes);
}

const evener_http_route *const *evener_http_routes_list(const evener_http_routes *routes, size_t *count)
{
    *count = routes->count;
    return routes->list;
}

/* ---- from a request to its route ---- */

evener_status_code evener_http_routes_find(const evener_http_routes *routes, const char *verb, const char *path,
                                           evener_http_match **match, evener_status *status)
{
    evener_http_match *found = calloc(1, sizeof *found);
    if (found == NULL) {
        return no_memory(status);
    }
    bool has_other_verb = false;
    for (size_t i = 0; i < routes->count; i++) {
        const evener_http_route_entry *entry = (const evener_http_route_entry *)routes->list[i];
        const evener_status_code code =
            evener_path_template_match(&entry->template, path, found->values, &found->memory);
        if (code == EVENER_STATUS_RESOURCE_EXHAUSTED) { /* a less specific route would be another method */
            free(found);
            return no_memory(status);
        }
        if (code != EVENER_STATUS_OK) {
            continue;
        }
        if (strcmp(entry->route.verb, verb) == 0 || is_any_verb(entry->route.verb)) {
            found->routes = routes;
            found->entry = entry;
            *match = found;
            return evener_status_clear(status);
        }
        has_other_verb = true;
        free(found->memory);
    }
    free(found);
    return has_other_verb ? evener_status_set(status, EVENER_STATUS_UNIMPLEMENTED, "%s is not possible here", verb)
                          : evener_status_set(status, EVENER_STATUS_NOT_FOUND, "no method has this path");
}

void evener_http_routes_allowed(const evener_http_routes *routes, const char *path, char *verbs, size_t room)
{
    size_t used = 0;
    verbs[0] = '\0';
    for (size_t i = 0; i < routes->count; i++) {
        const evener_http_route_entry *entry = (const evener_http_route_entry *)routes->list[i];
        evener_path_value values[EVENER_PATH_VARIABLES_MAX];
        char *memory;
        if (evener_path_template_match(&entry->template, path, values, &memory) == EVENER_STATUS_OK) {
            free(memory);
            const size_t length = strlen(entry->route.verb);
            if (strstr(verbs, entry->route.verb) == NULL && used + length + 3 <= room) {
                used += (size_t)snprintf(verbs + used, room - used, "%s%s", used > 0 ? ", " : "", entry->route.verb);
            }
        }
    }
}

const evener_http_route *evener_http_match_route(const evener_http_match *match)
{
    return &match->entry->route;
}

void evener_http_match_destroy(evener_http_match *match)
{
    if (match != NULL) {
        free(match->memory);
        free(match);
    }
}
