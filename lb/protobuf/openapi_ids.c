/* Operation ids: "Service_Method", or "package_Service_Method" where another package has the same service and method;
 * the number of a further binding stands behind that. Different methods may still have one id: A_B/C and A/B_C, or Get2
 * and the second binding of Get. Then the number grows until the id is free; first bindings choose first. The order of
 * the routes decides everything else, so that the same routes have the same ids. Only letters, digits and underscores:
 * generators make names of functions out of ids. */
#include "lb/protobuf/openapi_ids.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_BYTES 24

/* Return how many routes before this one have the same method, and this one. */
static size_t binding_number(const evener_http_routes *routes, size_t index)
{
    size_t number = 1;
    for (size_t i = 0; i < index; i++) {
        number += routes->list[i]->method == routes->list[index]->method;
    }
    return number;
}

/* Return whether no other method has the names of this one and of its service, whatever the package. */
static bool is_unique_without_package(const evener_http_routes *routes, const evener_method *method)
{
    for (size_t i = 0; i < routes->count; i++) {
        const evener_method *other = routes->list[i]->method;
        if (other != method && strcmp(other->name, method->name) == 0 &&
            strcmp(other->service->name, method->service->name) == 0) {
            return false;
        }
    }
    return true;
}

static bool is_taken(char *const *ids, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] != NULL && strcmp(ids[i], id) == 0) {
            return true;
        }
    }
    return false;
}

/* Return an id that is not among the others; NULL: out of memory. */
static char *make_id(const evener_http_routes *routes, char *const *ids, size_t index, size_t number)
{
    const evener_method *method = routes->list[index]->method;
    const char *service =
        is_unique_without_package(routes, method) ? method->service->name : method->service->full_name;
    const size_t bytes = strlen(service) + 1 + strlen(method->name);
    char *id = malloc(bytes + NUMBER_BYTES);
    if (id == NULL) {
        return NULL;
    }
    snprintf(id, bytes + NUMBER_BYTES, "%s_%s", service, method->name);
    for (char *c = id; *c != '\0'; c++) {
        *c = *c == '.' ? '_' : *c;
    }
    if (number > 1) {
        snprintf(id + bytes, NUMBER_BYTES, "%zu", number);
    }
    while (is_taken(ids, routes->count, id)) {
        snprintf(id + bytes, NUMBER_BYTES, "%zu", ++number);
    }
    return id;
}

char **evener_openapi_ids(const evener_http_routes *routes)
{
    char **ids = calloc(routes->count + 1, sizeof *ids);
    bool failed = ids == NULL;
    for (int further = 0; !failed && further < 2; further++) {
        for (size_t i = 0; !failed && i < routes->count; i++) {
            const size_t number = binding_number(routes, i);
            if ((number > 1) == (further != 0)) {
                ids[i] = make_id(routes, ids, i, number);
                failed = ids[i] == NULL;
            }
        }
    }
    for (size_t i = 0; failed && ids != NULL && i < routes->count; i++) {
        free(ids[i]);
    }
    if (failed) {
        free(ids);
    }
    return failed ? NULL : ids;
}
