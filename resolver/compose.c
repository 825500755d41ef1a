#include "resolver/compose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/base/c_locale.h"
#include "resolver/target.h"

#define SEPARATOR '|'
#define WAIT_MS 5000 /* as long as DNS tries by default */
#define WAIT_MS_MAX 600000

/* ---- updates of children ---- */

static bool take_list(evener_compose_child *child, const evener_resolver_update *update)
{
    evener_list list = EVENER_LIST_INIT;
    for (size_t i = 0; i < update->address_count; i++) {
        const evener_status_code code =
            update->addresses[i] == NULL
                ? evener_status_set(&child->error, EVENER_STATUS_INTERNAL, "its resolver pushed NULL as address %zu",
                                    i + 1)
                : evener_list_add(&list, evener_address_ref(update->addresses[i]), &child->error);
        if (code != EVENER_STATUS_OK) {
            evener_list_clear(&list);
            return false;
        }
    }
    evener_list_clear(&child->list);
    child->list = list;
    return true;
}

static bool child_update(evener_resolver_sink *sink, const evener_resolver_update *update)
{
    evener_compose_child *child = (evener_compose_child *)sink;
    char *config = update->service_config != NULL ? strdup(update->service_config) : NULL;
    if (update->service_config != NULL && config == NULL) {
        return false; /* the child retries */
    }
    if (!take_list(child, update)) {
        free(config);
        (void)child->compose->changed(child->compose, child);
        return false;
    }
    free(child->service_config);
    child->service_config = config;
    evener_status_clear(&child->service_config_error);
    if (update->service_config_error != NULL) {
        child->service_config_error = *update->service_config_error;
    }
    child->ttl_ms = update->ttl_ms;
    snprintf(child->source, sizeof child->source, "%s", update->source != NULL ? update->source : "");
    child->answered = true;
    evener_status_clear(&child->error);
    return child->compose->changed(child->compose, child);
}

static void child_error(evener_resolver_sink *sink, const evener_status *status)
{
    evener_compose_child *child = (evener_compose_child *)sink;
    child->error = *status;
    (void)child->compose->changed(child->compose, child);
}

static const evener_resolver_sink_vtable child_sink = {
    .size = sizeof child_sink,
    .update = child_update,
    .error = child_error,
};

/* ---- pushing ---- */

/* Ask the targets without addresses again: they have heard that their answers were accepted. */
static void ask_again(evener_compose *compose)
{
    for (size_t i = 0; i < compose->count; i++) {
        evener_compose_child *child = &compose->children[i];
        if (child->started && child->resolver != NULL && !evener_compose_has_addresses(child) &&
            child->resolver->vtable->resolve_now != NULL) {
            child->resolver->vtable->resolve_now(child->resolver);
        }
    }
}

static void backoff_ends(void *arg)
{
    evener_compose *compose = arg;
    compose->push_again(compose);
    if (compose->refused.timer.active) {
        ask_again(compose);
    }
}

bool evener_compose_push(evener_compose *compose, const evener_resolver_update *update)
{
    const bool accepted = evener_resolver_sink_update(compose->args.sink, update);
    if (accepted) {
        evener_retry_end(&compose->refused);
    } else {
        evener_retry_later(&compose->refused);
    }
    return accepted;
}

bool evener_compose_push_child(evener_compose *compose, const evener_compose_child *child)
{
    const evener_resolver_update update = {
        .size = sizeof update,
        .addresses = child->list.addresses,
        .address_count = child->list.count,
        .service_config = child->service_config,
        .service_config_error =
            child->service_config_error.code != EVENER_STATUS_OK ? &child->service_config_error : NULL,
        .ttl_ms = child->ttl_ms,
        .source = child->source[0] != '\0' ? child->source : NULL,
    };
    return evener_compose_push(compose, &update);
}

void evener_compose_push_errors(evener_compose *compose, const char *what)
{
    char text[EVENER_STATUS_MESSAGE_BYTES] = "";
    size_t used = 0;
    for (size_t i = 0; i < compose->count; i++) {
        const evener_compose_child *child = &compose->children[i];
        const char *reason = child->error.code != EVENER_STATUS_OK ? child->error.message
                             : child->answered                     ? "no addresses"
                                                                   : "no answer yet";
        const int bytes = snprintf(text + used, sizeof text - used, "%s%.200s", i > 0 ? "; " : "", reason);
        used += bytes > 0 && (size_t)bytes < sizeof text - used ? (size_t)bytes : 0;
    }
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s: %.480s", what, text);
    evener_retry_end(&compose->refused);
    evener_resolver_sink_error(compose->args.sink, &status);
}

void evener_compose_resolve_now(evener_resolver *base)
{
    evener_compose *compose = (evener_compose *)base;
    evener_retry_soon(&compose->refused);
    evener_retry_soon(&compose->unbuilt);
    for (size_t i = 0; i < compose->count; i++) {
        evener_resolver *resolver = compose->children[i].started ? compose->children[i].resolver : NULL;
        if (resolver != NULL && resolver->vtable->resolve_now != NULL) {
            resolver->vtable->resolve_now(resolver);
        }
    }
}

void evener_compose_reset_backoff(evener_resolver *base)
{
    evener_compose *compose = (evener_compose *)base;
    evener_retry_reset(&compose->refused);
    evener_retry_reset(&compose->unbuilt);
    for (size_t i = 0; i < compose->count; i++) {
        evener_compose_child *child = &compose->children[i];
        if (child->started && child->resolver != NULL) {
            evener_resolver_reset_backoff(child->resolver);
        }
    }
}

/* ---- adding and removing children ---- */

/* As evener_target_parse() does, in any case of letters. */
static bool has_scheme(const char *text, const char *scheme)
{
    return strncasecmp_l(text, scheme, strlen(scheme), evener_c_locale()) == 0;
}

/* Call `each` with every item of the list; `each` may modify the item. Errors: those of `each`. */
static evener_status_code cut(const char *scheme, const char *endpoint,
                              evener_status_code (*each)(void *arg, size_t index, char *text, evener_status *status),
                              void *arg, evener_status *status)
{
    char *copy = strdup(endpoint);
    if (copy == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: out of memory", scheme);
    }
    evener_status_code code = EVENER_STATUS_OK;
    size_t count = 0;
    for (char *text = copy; text != NULL && code == EVENER_STATUS_OK; count++) {
        char *separator = strchr(text, SEPARATOR);
        if (separator != NULL) {
            *separator = '\0';
        }
        const bool nested = has_scheme(text, "fallback:") || has_scheme(text, "merge:");
        if (count == EVENER_COMPOSE_CHILDREN_MAX) {
            code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: more than %d targets", scheme,
                                     EVENER_COMPOSE_CHILDREN_MAX);
        } else if (text[0] == '\0') {
            code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "%s: target %zu is empty; write %s:TARGET%cTARGET", scheme, count + 1, scheme,
                                     SEPARATOR);
        } else if (nested && strlen(text) > EVENER_COMPOSE_NESTED_BYTES_MAX) {
            code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "%s: target %zu is a composition of more than %d bytes", scheme, count + 1,
                                     EVENER_COMPOSE_NESTED_BYTES_MAX);
        } else {
            code = each(arg, count, text, status);
        }
        text = separator != NULL ? separator + 1 : NULL;
    }
    free(copy);
    if (code == EVENER_STATUS_OK && count < 2) {
        code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "%s: at least two targets are required; write %s:TARGET%cTARGET", scheme, scheme,
                                 SEPARATOR);
    }
    return code;
}

static evener_status_code check_authority(const evener_target *target, evener_status *status)
{
    const char *scheme = evener_target_scheme(target);
    if (evener_target_authority(target)[0] == '\0') {
        return EVENER_STATUS_OK;
    }
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                             "%s: an authority (\"%.100s\") has no meaning here; write %s:TARGET%cTARGET", scheme,
                             evener_target_authority(target), scheme, SEPARATOR);
}

static evener_status_code build(evener_compose_child *child, evener_status *status)
{
    evener_resolver_args args = child->compose->args;
    args.target = child->target;
    args.sink = &child->sink;
    const evener_resolver_builder *builder = child->builder;
    evener_status_code code = EVENER_STATUS_OK;
    if (builder->check != NULL) {
        code = builder->check(builder, &args, status);
    }
    return code == EVENER_STATUS_OK ? builder->build(builder, &args, &child->resolver, status) : code;
}

static evener_status_code add_child(void *arg, size_t index, char *text, evener_status *status)
{
    evener_compose *compose = arg;
    const char *scheme = evener_target_scheme(compose->args.target);
    evener_compose_child *child = &compose->children[index];
    evener_status reason;
    child->sink.vtable = &child_sink;
    child->compose = compose;
    child->index = index;
    evener_status_code code =
        evener_resolver_lookup(compose->args.resolvers, text, &child->target, &child->builder, &reason);
    if (code == EVENER_STATUS_OK) {
        compose->count = index + 1;
        evener_target_inherit_directory(child->target, compose->args.target);
        code = build(child, &reason);
    }
    return code == EVENER_STATUS_OK
               ? code
               : evener_status_set(status, code, "%s: target %zu: %.400s", scheme, index + 1, reason.message);
}

static bool is_unbuilt(const evener_compose_child *child)
{
    return child->started && child->resolver == NULL;
}

static void build_and_start(evener_compose_child *child)
{
    evener_status status;
    if (child->resolver == NULL && build(child, &status) != EVENER_STATUS_OK) {
        child_error(&child->sink, &status);
    } else {
        child->resolver->vtable->start(child->resolver);
    }
}

static void build_again(void *arg)
{
    evener_compose *compose = arg;
    bool unbuilt = false;
    for (size_t i = 0; i < compose->count; i++) {
        if (is_unbuilt(&compose->children[i])) {
            build_and_start(&compose->children[i]);
        }
    }
    for (size_t i = 0; i < compose->count; i++) { /* one that was started may have led to the start of others */
        unbuilt = unbuilt || is_unbuilt(&compose->children[i]);
    }
    if (unbuilt) {
        evener_retry_later(&compose->unbuilt);
    } else {
        evener_retry_end(&compose->unbuilt);
    }
}

/* Read the option "SCHEME.wait_ms". */
static evener_status_code read_wait(const evener_resolver_args *args, const char *scheme, uint64_t *wait_ms,
                                    evener_status *status)
{
    char key[64];
    snprintf(key, sizeof key, "%s.wait_ms", scheme);
    *wait_ms = WAIT_MS;
    return evener_resolver_option_u64(args, key, 1, WAIT_MS_MAX, wait_ms, status);
}

evener_status_code evener_compose_create(size_t bytes, const evener_resolver_vtable *vtable,
                                         const evener_resolver_args *args,
                                         bool (*changed)(evener_compose *compose, evener_compose_child *child),
                                         void (*push_again)(evener_compose *compose), evener_compose **compose,
                                         evener_status *status)
{
    const char *scheme = evener_target_scheme(args->target);
    uint64_t wait_ms;
    evener_status_code code = read_wait(args, scheme, &wait_ms, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_compose *made = calloc(1, bytes);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: out of memory", scheme);
    }
    *made = (evener_compose){
        .base.vtable = vtable, .args = *args, .wait_ms = wait_ms, .changed = changed, .push_again = push_again};
    made->args.size = sizeof made->args;
    evener_retry_init(&made->refused, args->loop, backoff_ends, made);
    evener_retry_init(&made->unbuilt, args->loop, build_again, made);
    code = check_authority(args->target, status);
    if (code == EVENER_STATUS_OK) {
        code = cut(scheme, evener_target_endpoint(args->target), add_child, made, status);
    }
    if (code != EVENER_STATUS_OK) {
        evener_compose_destroy(made);
        return code;
    }
    *compose = made;
    return code;
}

void evener_compose_start(evener_compose_child *child)
{
    if (!child->started) {
        child->started = true;
        build_and_start(child);
        if (is_unbuilt(child)) {
            evener_retry_later(&child->compose->unbuilt);
        }
    }
}

void evener_compose_stop(evener_compose_child *child)
{
    if (child->resolver != NULL) {
        child->resolver->vtable->close(child->resolver);
    }
    child->resolver = NULL;
    child->started = false;
    child->answered = false;
    evener_list_clear(&child->list);
    free(child->service_config);
    child->service_config = NULL;
    evener_status_clear(&child->service_config_error);
    evener_status_clear(&child->error);
}

void evener_compose_destroy(evener_compose *compose)
{
    evener_retry_end(&compose->refused);
    evener_retry_end(&compose->unbuilt);
    for (size_t i = 0; i < compose->count; i++) {
        evener_compose_stop(&compose->children[i]);
        evener_target_destroy(compose->children[i].target);
    }
    free(compose);
}

/* ---- builders' functions ---- */

static evener_status_code check_child(void *arg, size_t index, char *text, evener_status *status)
{
    const evener_resolver_args *parent = arg;
    evener_resolver_args args = *parent;
    evener_target *target = NULL;
    const evener_resolver_builder *builder;
    evener_status reason;
    evener_status_code code = evener_resolver_lookup(parent->resolvers, text, &target, &builder, &reason);
    if (code == EVENER_STATUS_OK && builder->check != NULL) {
        args.target = target;
        code = builder->check(builder, &args, &reason);
    }
    evener_target_destroy(target);
    return code == EVENER_STATUS_OK
               ? code
               : evener_status_set(status, code, "%s: target %zu: %.400s", evener_target_scheme(parent->target),
                                   index + 1, reason.message);
}

evener_status_code evener_compose_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_status *status)
{
    evener_resolver_args own = *args;
    uint64_t wait_ms;
    evener_status_code code = check_authority(args->target, status);
    if (code == EVENER_STATUS_OK) {
        code = cut(builder->scheme, evener_target_endpoint(args->target), check_child, &own, status);
    }
    return code == EVENER_STATUS_OK ? read_wait(args, builder->scheme, &wait_ms, status) : code;
}

struct authority {
    const evener_resolver_set *resolvers;
    char *buffer;
    size_t bytes;
};

struct names {
    const evener_resolver_set *resolvers;
    evener_server_names names;
};

static evener_status_code first_authority(void *arg, size_t index, char *text, evener_status *status)
{
    const struct authority *authority = arg;
    evener_target *target;
    const evener_resolver_builder *builder;
    if (index > 0) {
        return EVENER_STATUS_OK;
    }
    evener_status_code code = evener_resolver_lookup(authority->resolvers, text, &target, &builder, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (builder->default_authority != NULL) {
        code = builder->default_authority(builder, target, authority->buffer, authority->bytes, status);
    } else {
        /* The first item of a list. A path names no host. */
        const char *endpoint = evener_target_endpoint(target);
        const size_t item = strcspn(endpoint, ",;% /");
        const bool host = item > 0 && (endpoint[item] == '\0' || endpoint[item] == ',');
        const int bytes =
            snprintf(authority->buffer, authority->bytes, "%.*s", host ? (int)item : 9, host ? endpoint : "localhost");
        if (bytes < 0 || (size_t)bytes >= authority->bytes) {
            code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "no room for the authority");
        }
    }
    evener_target_destroy(target);
    return code;
}

static evener_status_code first_server_names(void *arg, size_t index, char *text, evener_status *status)
{
    struct names *first = arg;
    evener_target *target;
    const evener_resolver_builder *builder;
    if (index > 0) {
        return EVENER_STATUS_OK;
    }
    const evener_status_code code = evener_resolver_lookup(first->resolvers, text, &target, &builder, status);
    if (code == EVENER_STATUS_OK) {
        first->names = evener_resolver_server_names(builder, target);
        evener_target_destroy(target);
    }
    return code;
}

/* The other children are substitutes for the first, so their backends must have its name. */
evener_server_names evener_compose_server_names(const evener_resolver_builder *builder, const evener_target *target)
{
    struct names first = {evener_target_resolvers(target), EVENER_SERVER_NAMES_ADDRESSES};
    evener_status status;
    (void)cut(builder->scheme, evener_target_endpoint(target), first_server_names, &first, &status);
    return first.names;
}

evener_status_code evener_compose_authority(const evener_resolver_builder *builder, const evener_target *target,
                                            char *buffer, size_t buffer_bytes, evener_status *status)
{
    struct authority authority = {evener_target_resolvers(target), buffer, buffer_bytes};
    return cut(builder->scheme, evener_target_endpoint(target), first_authority, &authority, status);
}
