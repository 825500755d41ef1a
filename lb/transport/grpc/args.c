#include "lb/transport/grpc/args.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>

#include <evener/version.h>

#include "lb/base/proxy_rules.h"

/* An attempt ends when evener's own timeout disconnects it; the core's timeout must not come first. The core keeps the
 * socket of such an attempt until its own timeout. */
#define CORE_TIMEOUT_AFTER_MS 5000
/* The core's own backoff. Evener destroys the channel of a failed attempt long before it ends. It is short, as a timer
 * of the core keeps the memory of a failed attempt until then, some 7 KB each, and the core's threads (1.51: the end of
 * a subchannel does not stop its retry timer). */
#define CORE_BACKOFF_MS 1000

/* Arguments that a separate connection per attempt depends on: the user's values are ignored. */
static const char *const own_keys[] = {
    GRPC_ARG_DEFAULT_AUTHORITY,
    GRPC_ARG_ENABLE_RETRIES,
    GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,
    GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS,
    GRPC_ARG_SERVICE_CONFIG,
    GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION,
    GRPC_ARG_LB_POLICY_NAME,
    GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
    GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
    GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
};

/* Room for our own: the fixed ones, the user agent, the four of keepalive, proxy, header list and message limit. */
#define OWN_ARGS_MAX 12

static grpc_arg integer(const char *key, uint64_t value)
{
    grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key};
    arg.value.integer = value > INT_MAX ? INT_MAX : (int)value;
    return arg;
}

static grpc_arg string(const char *key, const char *value)
{
    grpc_arg arg = {.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)key};
    arg.value.string = (char *)(uintptr_t)value;
    return arg;
}

static void arg_clear(grpc_arg *arg)
{
    if (arg->type == GRPC_ARG_STRING) {
        free(arg->value.string);
    } else if (arg->type == GRPC_ARG_POINTER) {
        arg->value.pointer.vtable->destroy(arg->value.pointer.p);
    }
    free(arg->key);
}

/* Append a deep copy to `args`, which has room for it. */
static bool append(evener_grpc_args *args, const grpc_arg *source)
{
    grpc_arg copy = *source;
    copy.key = strdup(source->key);
    if (copy.key == NULL) {
        return false;
    }
    if (copy.type == GRPC_ARG_STRING) {
        copy.value.string = strdup(source->value.string);
        if (copy.value.string == NULL) {
            free(copy.key);
            return false;
        }
    } else if (copy.type == GRPC_ARG_POINTER) {
        copy.value.pointer.p = copy.value.pointer.vtable->copy(copy.value.pointer.p);
    }
    args->items[args->count++] = copy;
    return true;
}

bool evener_grpc_args_has(const evener_grpc_args *args, const char *key)
{
    for (size_t i = 0; i < args->count; i++) {
        if (strcmp(args->items[i].key, key) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_own(const char *key)
{
    for (size_t i = 0; i < sizeof own_keys / sizeof own_keys[0]; i++) {
        if (strcmp(own_keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static bool append_own(evener_grpc_args *args, const evener_transport_args *options)
{
    const grpc_arg fixed[] = {
        integer(GRPC_ARG_ENABLE_RETRIES, 0), /* costs 12 to 21 % of a call: docs/architecture.md */
        integer(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        integer(GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS, INT_MAX),
        integer(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        if (!append(args, &fixed[i])) {
            return false;
        }
    }
    grpc_arg user_agent = string(GRPC_ARG_PRIMARY_USER_AGENT_STRING,
                                 options->user_agent != NULL ? options->user_agent : "evener/" EVENER_VERSION_STRING);
    if (options->user_agent != NULL || !evener_grpc_args_has(args, GRPC_ARG_PRIMARY_USER_AGENT_STRING)) {
        if (!append(args, &user_agent)) {
            return false;
        }
    }
    grpc_arg keepalive_time = integer(GRPC_ARG_KEEPALIVE_TIME_MS, options->keepalive_time_ms);
    grpc_arg keepalive_timeout = integer(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, options->keepalive_timeout_ms);
    if ((options->keepalive_time_ms != 0 && !append(args, &keepalive_time)) ||
        (options->keepalive_timeout_ms != 0 && !append(args, &keepalive_timeout))) {
        return false;
    }
    /* The core matches no_proxy with the target of its channel, which is a backend's address here. */
    const bool excepted = options->target != NULL && evener_proxy_excepts_target(options->target, evener_proxy_getenv);
    const struct {
        bool is_set;
        grpc_arg arg;
    } others[] = {
        {options->keepalive_permit_without_calls, integer(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1)},
        {options->ignore_http_proxy || excepted, integer(GRPC_ARG_ENABLE_HTTP_PROXY, 0)},
        {options->header_list_bytes_max != 0, integer(GRPC_ARG_MAX_METADATA_SIZE, options->header_list_bytes_max)},
        {options->receive_bytes_max != 0, integer(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, options->receive_bytes_max)},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (others[i].is_set && !append(args, &others[i].arg)) {
            return false;
        }
    }
    /* The core stops its pings after two without data in between (1.51), and a silent connection is what they are
     * for. */
    const grpc_arg pings_without_data = integer(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    return !evener_grpc_args_has(args, GRPC_ARG_KEEPALIVE_TIME_MS) ||
           evener_grpc_args_has(args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA) || append(args, &pings_without_data);
}

evener_status_code evener_grpc_args_create(const evener_transport_args *options, evener_grpc_args *args,
                                           evener_status *status)
{
    const grpc_channel_args *users = options->grpc_args;
    size_t user_count = users == NULL ? 0 : users->num_args;
    evener_grpc_args made = {.items = calloc(user_count + OWN_ARGS_MAX, sizeof *made.items)};
    if (made.items == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "grpc_args: out of memory");
    }
    for (size_t i = 0; i < user_count; i++) {
        const grpc_arg *arg = &users->args[i];
        bool empty = (arg->type == GRPC_ARG_STRING && arg->value.string == NULL) ||
                     (arg->type == GRPC_ARG_POINTER && arg->value.pointer.vtable == NULL);
        if (arg->key == NULL || empty) {
            evener_grpc_args_clear(&made);
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "grpc_args[%zu] has no %s", i,
                                     arg->key == NULL ? "key" : "value (or a pointer without its vtable)");
        }
        if (!is_own(arg->key) && !append(&made, arg)) {
            evener_grpc_args_clear(&made);
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "grpc_args: out of memory");
        }
    }
    const char *exceptions = evener_proxy_exceptions(evener_proxy_getenv);
    if (!append_own(&made, options) || (exceptions != NULL && (made.proxy_exceptions = strdup(exceptions)) == NULL)) {
        evener_grpc_args_clear(&made);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "grpc_args: out of memory");
    }
    *args = made;
    return EVENER_STATUS_OK;
}

void evener_grpc_args_clear(evener_grpc_args *args)
{
    for (size_t i = 0; i < args->count; i++) {
        arg_clear(&args->items[i]);
    }
    free(args->items);
    free(args->proxy_exceptions);
    *args = (evener_grpc_args){0};
}

grpc_channel *evener_grpc_args_create_channel(const evener_grpc_args *args, const char *target, const char *address,
                                              const char *authority, uint64_t timeout_ms,
                                              grpc_channel_credentials *credentials)
{
    /* The core of Debian 12 (1.51) knows no subnets. */
    const bool excepted = evener_proxy_list_has_address(args->proxy_exceptions, address);
    const grpc_arg own[] = {
        string(GRPC_ARG_DEFAULT_AUTHORITY, authority),
        integer(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, CORE_BACKOFF_MS),
        integer(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, timeout_ms + CORE_TIMEOUT_AFTER_MS),
        integer(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, CORE_BACKOFF_MS),
        integer(GRPC_ARG_ENABLE_HTTP_PROXY, 0), /* if excepted */
    };
    const size_t own_count = sizeof own / sizeof own[0] - (excepted ? 0 : 1);
    grpc_arg *all = malloc((args->count + own_count) * sizeof *all);
    if (all == NULL) {
        return NULL;
    }
    memcpy(all, args->items, args->count * sizeof *all);
    memcpy(all + args->count, own, own_count * sizeof *own);
    grpc_channel_args core_args = {.num_args = args->count + own_count, .args = all};
    grpc_channel *channel = grpc_channel_create(target, credentials, &core_args);
    free(all);
    return channel;
}

/* ---- targets ---- */

static char *format(const char *scheme, const char *first, const char *rest)
{
    size_t bytes = strlen(scheme) + strlen(first) + strlen(rest) + 1;
    char *text = malloc(bytes);
    if (text != NULL) {
        snprintf(text, bytes, "%s%s%s", scheme, first, rest);
    }
    return text;
}

/* Return the target of a Unix socket: its path with all bytes except unreserved ones percent-encoded, and the first one
 * always: two slashes would begin a URI's authority. */
static char *unix_target(const char *scheme, const char *path)
{
    char *text = malloc(strlen(scheme) + 3 * strlen(path) + 1);
    if (text == NULL) {
        return NULL;
    }
    char *end = stpcpy(text, scheme);
    for (const char *at = path; *at != '\0'; at++) {
        bool plain = at != path && ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                                    (*at >= '0' && *at <= '9') || strchr("/._-~", *at) != NULL);
        if (plain) {
            *end++ = *at;
        } else {
            end += sprintf(end, "%%%02X", (unsigned)(unsigned char)*at);
        }
    }
    *end = '\0';
    return text;
}

/* "[fe80::1%eth0]:80": the zone's sign is a URI's escape. */
static char *ipv6_target(const char *address)
{
    const char *zone = strchr(address, '%');
    if (zone == NULL) {
        return format("ipv6:///", address, "");
    }
    char before[EVENER_ADDRESS_BYTES_MAX];
    snprintf(before, sizeof before, "%.*s%%25", (int)(zone - address), address);
    return format("ipv6:///", before, zone + 1);
}

char *evener_grpc_target_of(const evener_address *address)
{
    const char *text = evener_address_text(address);
    switch (evener_address_get_family(address)) {
    case EVENER_FAMILY_IPV6:
        return ipv6_target(text);
    case EVENER_FAMILY_UNIX:
        return unix_target("unix:", text + strlen("unix:"));
    case EVENER_FAMILY_UNIX_ABSTRACT:
        return unix_target("unix-abstract:", text + strlen("unix-abstract:"));
    case EVENER_FAMILY_VSOCK:
        return strdup(text); /* as a core that has a resolver for it reads it */
    case EVENER_FAMILY_IPV4:
        break;
    }
    return format("ipv4:///", text, "");
}

char *evener_grpc_peer_of(const evener_address *address)
{
    const char *text = evener_address_text(address);
    switch (evener_address_get_family(address)) {
    case EVENER_FAMILY_IPV4:
        return format("ipv4:", text, "");
    case EVENER_FAMILY_IPV6:
        return format("ipv6:", text, "");
    case EVENER_FAMILY_UNIX:
    case EVENER_FAMILY_UNIX_ABSTRACT:
    case EVENER_FAMILY_VSOCK:
        break; /* bears its scheme */
    }
    return strdup(text);
}
