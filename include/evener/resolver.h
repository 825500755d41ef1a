/* Resolver: finds the endpoints behind a target and pushes updates.
 *
 * A program's own resolver is two small tables: a builder, chosen by scheme, and the functions of an instance. A
 * complete one:
 *
 *     struct mine { evener_resolver base; evener_resolver_sink *sink; };
 *
 *     static void mine_start(evener_resolver *self) {
 *         evener_address *address;
 *         evener_status status;
 *         if (evener_address_create("127.0.0.1:8898", NULL, 0, &address, &status) != EVENER_STATUS_OK) {
 *             evener_resolver_sink_error(((struct mine *)self)->sink, &status);
 *             return;
 *         }
 *         evener_address *list[] = {address};
 *         evener_resolver_update update = {.size = sizeof update, .addresses = list, .address_count = 1};
 *         evener_resolver_sink_update(((struct mine *)self)->sink, &update);
 *         evener_address_unref(address);
 *     }
 *     static void mine_close(evener_resolver *self) { free(self); }
 *     static const evener_resolver_vtable mine_vtable = {
 *         .size = sizeof mine_vtable, .start = mine_start, .close = mine_close};
 *
 *     static evener_status_code mine_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
 *                                          evener_resolver **resolver, evener_status *status) { ... }
 *     static const evener_resolver_builder mine = {.size = sizeof mine, .scheme = "dns", .build = mine_build};
 *
 * A builder with options or with rules for its targets also has a check(): see evener_resolver_builder.
 *
 * Everything here runs on the control thread, one call at a time, unless stated otherwise, and must not block. A
 * resolver that gets results on its own thread posts a task to args->loop. */
#ifndef EVENER_RESOLVER_H
#define EVENER_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>
#include <evener/loop.h>
#include <evener/runtime.h>
#include <evener/status.h>
#include <evener/target.h>

EVENER_BEGIN_DECLS

typedef struct evener_resolver evener_resolver;
typedef struct evener_resolver_sink evener_resolver_sink;
typedef struct evener_resolver_builder evener_resolver_builder;

#define EVENER_RESOLVER_ADDRESSES_MAX 1000000 /* a longer update is refused */

/* The result of a resolution. Everything is borrowed for the call: the receiver takes references or copies. */
typedef struct evener_resolver_update {
    size_t size; /* sizeof(evener_resolver_update) */
    /* The complete list. It replaces the previous one. NULL entries are refused; duplicates are dropped. An empty list
     * is an answer ("there are no backends"), not an error. */
    evener_address *const *addresses;
    size_t address_count;
    const char *service_config;                /* JSON text, or NULL for none */
    const evener_status *service_config_error; /* set when the service config exists but is unusable; or NULL */
    uint64_t ttl_ms;                           /* validity of the result; 0: unknown. For display only */
    const char *source;                        /* origin ("dns 10.0.0.2:53", "file /etc/x"); or NULL */
} evener_resolver_update;

typedef struct evener_resolver_sink_vtable {
    size_t size;
    bool (*update)(evener_resolver_sink *sink, const evener_resolver_update *update);
    void (*error)(evener_resolver_sink *sink, const evener_status *status);
} evener_resolver_sink_vtable;

/* Receives a resolver's updates: the channel, or a composite resolver. Valid until close() of the resolver. */
struct evener_resolver_sink {
    const evener_resolver_sink_vtable *vtable;
};

/* Push an update. Return whether it was accepted. If not (no policy can use it), the resolver backs off and retries
 * (grpc-go: ClientConn.UpdateState). May call back into resolve_now(), never into close(). Control thread. */
static inline bool evener_resolver_sink_update(evener_resolver_sink *sink, const evener_resolver_update *update)
{
    return sink->vtable->update(sink, update);
}

/* Report that resolution failed. The last good addresses stay in use. The resolver backs off by itself. Control
 * thread. */
static inline void evener_resolver_sink_error(evener_resolver_sink *sink, const evener_status *status)
{
    sink->vtable->error(sink, status);
}

typedef struct evener_resolver_vtable {
    size_t size; /* sizeof(evener_resolver_vtable) */
    /* Start resolving; called once. May push from inside. */
    void (*start)(evener_resolver *resolver);
    /* Take a hint that the addresses may be stale (a connection broke). The resolver may coalesce and rate-limit hints
     * (dns: at most one query per 30 s by default). NULL: hints are ignored. */
    void (*resolve_now)(evener_resolver *resolver);
    /* Stop and free the resolver. The sink must not be used afterwards. Never called from inside a push. */
    void (*close)(evener_resolver *resolver);
    /* Retry now if in a backoff, and start the backoff sequence again: the network may be back
     * (evener_channel_reset_connect_backoff()). May come from inside a push: must not push from inside. NULL: the
     * resolver has no backoff. Use evener_resolver_reset_backoff() to call it: tables of older programs end before this
     * member. */
    void (*reset_backoff)(evener_resolver *resolver);
} evener_resolver_vtable;

/* Embedded first in every resolver. */
struct evener_resolver {
    const evener_resolver_vtable *vtable;
};

/* Call reset_backoff() of a started resolver if it has one. Control thread. */
static inline void evener_resolver_reset_backoff(evener_resolver *resolver)
{
    const size_t bytes = offsetof(evener_resolver_vtable, reset_backoff) + sizeof(void (*)(evener_resolver *));
    if (resolver->vtable->size >= bytes && resolver->vtable->reset_backoff != NULL) {
        resolver->vtable->reset_backoff(resolver);
    }
}

/* The arguments of check() and build(). In build(), members marked so live until close(); the rest is borrowed for the
 * call. In check(), everything is borrowed for the call, and sink, runtime and loop are NULL. */
typedef struct evener_resolver_args {
    size_t size;                 /* sizeof(evener_resolver_args) */
    const evener_target *target; /* lives until close() */
    evener_resolver_sink *sink;  /* lives until close() */
    evener_runtime *runtime;     /* lives until close() */
    evener_loop *loop;           /* the runtime's; lives until close() */
    uint32_t default_port;       /* for endpoints without a port; 443 unless the channel sets another */
    /* The channel's resolver options ("dns.min_refresh_ms" = "1000"); live until close(). Keys of other schemes are
     * present and must be ignored. A bad value of an own key is an error that names the key. */
    const evener_attribute *options;
    size_t option_count;
    /* For composite resolvers: the builders visible to this channel; live until close(). */
    const struct evener_resolver_set *resolvers;
} evener_resolver_args;

/* Return the value of an option by key, or NULL. */
EVENER_API const char *evener_resolver_option(const evener_resolver_args *args, const char *key);

/* Read an option that is an integer from `minimum` to `maximum`. Without the option *value is unchanged. Errors:
 * INVALID_ARGUMENT naming key and range. */
EVENER_API evener_status_code evener_resolver_option_u64(const evener_resolver_args *args, const char *key,
                                                         uint64_t minimum, uint64_t maximum, uint64_t *value,
                                                         evener_status *status);

/* The names against which TLS verifies a target's backends when the application sets no options.authority. A backend's
 * attribute "authority" takes precedence over the target's host and over the address. */
typedef enum evener_server_names {
    /* The target names a host, which default_authority returns ("dns:///orders.prod:50051"). */
    EVENER_SERVER_NAMES_TARGET = 0,
    /* The target is a list of addresses, or the location of one: each backend is verified against its own IP
     * address. */
    EVENER_SERVER_NAMES_ADDRESSES = 1,
    /* As ADDRESSES, but one backend has no name: a file system socket without the attribute "authority". A channel with
     * TLS is refused. */
    EVENER_SERVER_NAMES_MISSING = 2
} evener_server_names;

struct evener_resolver_builder {
    size_t size;        /* sizeof(evener_resolver_builder) */
    const char *scheme; /* lower case: "dns" */
    /* Create a resolver without starting it; must not push. Called when the channel starts to connect, after a
     * check() that succeeded. It fails only for reasons that check() cannot see (out of memory, no file
     * descriptors). The channel then counts a resolver error and calls build() again after a backoff (1 s x 1.6 +-20
     * %, at most 120 s). Control thread. */
    evener_status_code (*build)(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                evener_resolver **resolver, evener_status *status);
    /* Check the target and the options before a channel is created. evener_channel_create() fails with this error; its
     * message should name the option or the position in the target. Must not resolve, open files, or block. Also called
     * for the children of a composite resolver, and, without options, by evener_resolver_lookup() to find out whether a
     * text is a name. NULL: every target and option is accepted. Any thread. */
    evener_status_code (*check)(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                evener_status *status);
    /* Write the default :authority of the target into `buffer`. NULL: the target's endpoint, percent-encoded
     * (docs/semantics.md, Targets). Any thread. */
    evener_status_code (*default_authority)(const evener_resolver_builder *builder, const evener_target *target,
                                            char *buffer, size_t buffer_bytes, evener_status *status);
    void *user_data; /* the builder's own */
    /* For a builder that is not static. A channel or factory that gets the builder calls `ref` before its own creation
     * returns. It calls `unref` when it will not build again, after closing the last resolver. Until then it may build
     * at any time (a channel that was idle does). Both NULL: the builder outlives its users. Any thread; must not
     * block. */
    void (*ref)(const evener_resolver_builder *builder);
    void (*unref)(const evener_resolver_builder *builder);
    /* Return the kind of names that the backends of a checked target have. NULL: TARGET, unless default_authority
     * returns "". Any thread. */
    evener_server_names (*server_names)(const evener_resolver_builder *builder, const evener_target *target);
};

/* Take or release a reference to each of `count` builders. NULL builders, builders without `ref`, and a NULL list are
 * skipped. Any thread. */
EVENER_API void evener_resolver_builders_ref(const evener_resolver_builder *const *builders, size_t count);
EVENER_API void evener_resolver_builders_unref(const evener_resolver_builder *const *builders, size_t count);

/* Register a builder for the whole process, or replace the builder of its scheme. The builder must stay valid (static,
 * or counted: a reference is taken and never released). Existing channels keep the builder they were created with.
 * Built in: static, ipv4, ipv6, unix, unix-abstract, vsock, dns, srv, native, file, fallback, merge.
 * Errors: INVALID_ARGUMENT (no scheme, no build, an invalid scheme). Any thread. */
EVENER_API evener_status_code evener_resolver_register(const evener_resolver_builder *builder, evener_status *status);

/* Return builder->server_names() of a target, or TARGET if the builder has no such function. Any thread. */
EVENER_API evener_server_names evener_resolver_server_names(const evener_resolver_builder *builder,
                                                            const evener_target *target);

/* The builders visible to one channel: its own first, then the process-wide ones. */
typedef struct evener_resolver_set {
    const evener_resolver_builder *const *own;
    size_t own_count;
} evener_resolver_set;

/* Return the builder for a scheme, or NULL. `set` NULL: only the process-wide registry. Any thread. */
EVENER_API const evener_resolver_builder *evener_resolver_find(const evener_resolver_set *set, const char *scheme);

/* Parse a target and find its builder. A text without a scheme, or with an unknown scheme, is retried as `dns:///` +
 * text (grpc: client_channel_specification.md). On success store an owned target and a borrowed builder; the builders
 * of `set` must outlive the target, whose parts may be theirs (fallback:, merge:). Errors: INVALID_ARGUMENT naming the
 * scheme or the position. Any thread. */
EVENER_API evener_status_code evener_resolver_lookup(const evener_resolver_set *set, const char *target_text,
                                                     evener_target **target, const evener_resolver_builder **builder,
                                                     evener_status *status);

EVENER_END_DECLS

#endif
