/* Find the builder of a scheme: the channel's own, then registered ones, then built-in ones. */
#include <evener/resolver.h>

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/fork.h"
#include "resolver/builtin.h"
#include "resolver/target.h"

#define DEFAULT_SCHEME_PREFIX "dns:///" /* grpc: client_channel_specification.md */
#define DEFAULT_PORT 443
/* sizeof(evener_resolver_builder) of the first version, which ended with user_data. */
#define BUILDER_BYTES_MIN                                                                                              \
    (offsetof(evener_resolver_builder, user_data) + sizeof(((evener_resolver_builder *)0)->user_data))

static const evener_resolver_builder *const built_in[] = {
    &evener_dns_resolver,    &evener_fallback_resolver,      &evener_file_resolver,   &evener_ipv4_resolver,
    &evener_ipv6_resolver,   &evener_merge_resolver,         &evener_native_resolver, &evener_srv_resolver,
    &evener_static_resolver, &evener_unix_abstract_resolver, &evener_unix_resolver,   &evener_vsock_resolver,
};

/* The registered builders: one entry per scheme, never freed (process-wide). */
struct entry {
    const evener_resolver_builder *builder;
    struct entry *next;
};
static pthread_mutex_t registered_lock = PTHREAD_MUTEX_INITIALIZER;
EVENER_FORK_LOCK(registered_lock, EVENER_FORK_REGISTRY, NULL)
static struct entry *registered;

static struct entry *find_entry(const char *scheme)
{
    struct entry *entry = registered;
    while (entry != NULL && strcmp(entry->builder->scheme, scheme) != 0) {
        entry = entry->next;
    }
    return entry;
}

/* RFC 3986 section 3.1, in lower case as in a parsed target. */
static bool is_scheme(const char *scheme)
{
    if (scheme[0] < 'a' || scheme[0] > 'z') {
        return false;
    }
    return scheme[strspn(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.")] == '\0';
}

evener_status_code evener_resolver_register(const evener_resolver_builder *builder, evener_status *status)
{
    if (builder == NULL || builder->scheme == NULL || builder->build == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "resolver: the builder%s",
                                 builder == NULL           ? " is NULL"
                                 : builder->scheme == NULL ? " has no scheme"
                                                           : "'s function build is NULL");
    }
    if (builder->size < BUILDER_BYTES_MIN) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "resolver \"%.40s\": set .size = sizeof(evener_resolver_builder)", builder->scheme);
    }
    if (!is_scheme(builder->scheme)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "resolver \"%.40s\": not a scheme; take a letter, then letters, digits, '+', '-' and "
                                 "'.', all in lower case",
                                 builder->scheme);
    }
    evener_status_code code = EVENER_STATUS_OK;
    pthread_mutex_lock(&registered_lock);
    struct entry *entry = find_entry(builder->scheme);
    evener_resolver_builders_ref(&builder, 1);
    if (entry != NULL) {
        entry->builder = builder;
    } else if ((entry = malloc(sizeof *entry)) != NULL) {
        *entry = (struct entry){.builder = builder, .next = registered};
        registered = entry;
    } else {
        evener_resolver_builders_unref(&builder, 1);
        code = evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "resolver \"%.40s\": out of memory",
                                 builder->scheme);
    }
    pthread_mutex_unlock(&registered_lock);
    return code;
}

const evener_resolver_builder *evener_resolver_find(const evener_resolver_set *set, const char *scheme)
{
    if (scheme == NULL) {
        return NULL;
    }
    for (size_t i = 0; set != NULL && i < set->own_count; i++) {
        if (set->own[i] != NULL && strcmp(set->own[i]->scheme, scheme) == 0) {
            return set->own[i];
        }
    }
    pthread_mutex_lock(&registered_lock);
    const struct entry *entry = find_entry(scheme);
    const evener_resolver_builder *builder = entry != NULL ? entry->builder : NULL;
    pthread_mutex_unlock(&registered_lock);
    for (size_t i = 0; builder == NULL && i < sizeof built_in / sizeof built_in[0]; i++) {
        if (strcmp(built_in[i]->scheme, scheme) == 0) {
            builder = built_in[i];
        }
    }
    return builder;
}

/* Retry the text as a DNS name. `first` is the reason why it is no complete target. */
static evener_status_code lookup_by_default(const evener_resolver_set *set, const char *text,
                                            const evener_status *first, evener_target **target,
                                            const evener_resolver_builder **builder, evener_status *status)
{
    const evener_resolver_builder *found = evener_resolver_find(set, "dns");
    if (found == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s; and no resolver serves \"dns\"",
                                 first->message);
    }
    const size_t bytes = strlen(DEFAULT_SCHEME_PREFIX) + strlen(text) + 1;
    char *name = malloc(bytes);
    if (name == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "target: out of memory");
    }
    snprintf(name, bytes, DEFAULT_SCHEME_PREFIX "%s", text);
    evener_target *parsed = NULL;
    evener_status second;
    evener_status_code code = evener_target_parse(name, &parsed, &second);
    free(name);
    if (code == EVENER_STATUS_OK && found->check != NULL) {
        const evener_resolver_args args = {
            .size = sizeof args, .target = parsed, .default_port = DEFAULT_PORT, .resolvers = set};
        code = found->check(found, &args, &second);
    }
    if (code != EVENER_STATUS_OK) {
        evener_target_destroy(parsed);
        return evener_status_set(status, code, "%.250s; nor is it a name: %.250s", first->message, second.message);
    }
    evener_target_set_resolvers(parsed, set);
    *target = parsed;
    *builder = found;
    return EVENER_STATUS_OK;
}

evener_server_names evener_resolver_server_names(const evener_resolver_builder *builder, const evener_target *target)
{
    const size_t bytes = offsetof(evener_resolver_builder, server_names) + sizeof builder->server_names;
    return builder->size >= bytes && builder->server_names != NULL ? builder->server_names(builder, target)
                                                                   : EVENER_SERVER_NAMES_TARGET;
}

evener_status_code evener_resolver_lookup(const evener_resolver_set *set, const char *target_text,
                                          evener_target **target, const evener_resolver_builder **builder,
                                          evener_status *status)
{
    if (target_text == NULL || target_text[0] == '\0' || target == NULL || builder == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "target: %s",
                                 target_text == NULL      ? "it is NULL"
                                 : target_text[0] == '\0' ? "it is empty"
                                                          : "where to store it is NULL");
    }
    evener_target *parsed = NULL;
    evener_status first;
    const evener_status_code code = evener_target_parse(target_text, &parsed, &first);
    if (code == EVENER_STATUS_RESOURCE_EXHAUSTED) {
        return evener_status_set(status, code, "%s", first.message);
    }
    if (code == EVENER_STATUS_OK) {
        const evener_resolver_builder *found = evener_resolver_find(set, evener_target_scheme(parsed));
        if (found != NULL) {
            evener_target_set_resolvers(parsed, set);
            *target = parsed;
            *builder = found;
            return EVENER_STATUS_OK;
        }
        evener_status_set(&first, EVENER_STATUS_INVALID_ARGUMENT,
                          "target \"%.100s\": no resolver serves the scheme \"%.40s\"", target_text,
                          evener_target_scheme(parsed));
        evener_target_destroy(parsed);
    }
    return lookup_by_default(set, target_text, &first, target, builder, status);
}
