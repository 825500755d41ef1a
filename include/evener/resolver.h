/* Resolver: finds the endpoints behind a target and pushes updates.
 *
 * A program's own resolver is two small tables: a builder, chosen by scheme, and what an instance does. A complete one:
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
 * A builder with options or with rules for its targets has a check() too: see evener_resolver_builder.
 *
 * Everything here runs on the control thread, one call at a time, unless it says otherwise, and must not block. A
 * resolver that learns something on a thread of its own posts a task to args->loop. */
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

/* What a resolver found. All of it is borrowed for the call: the receiver takes references or copies. */
typedef struct evener_resolver_update {
    size_t size; /* sizeof(evener_resolver_update) */
    /* The whole list, replacing the last one; NULL entries are refused, duplicates are dropped. An empty list is an
     * answer ("there are no backends"), not an error. */
    evener_address *const *addresses;
    size_t address_count;
    const char *service_config;                /* JSON text, or NULL for none */
    const evener_status *service_config_error; /* set when there is one but it could not be had; or NULL */
    uint64_t ttl_ms;                           /* how long the answer holds; 0: not known. For display */
    const char *source;                        /* where it comes from ("dns 10.0.0.2:53", "file /etc/x"); or NULL */
} evener_resolver_update;

typedef struct evener_resolver_sink_vtable {
    size_t size;
    bool (*update)(evener_resolver_sink *sink, const evener_resolver_update *update);
    void (*error)(evener_resolver_sink *sink, const evener_status *status);
} evener_resolver_sink_vtable;

/* Where a resolver pushes to: the channel, or a resolver made of resolvers. Valid until close() of the resolver. */
struct evener_resolver_sink {
    const evener_resolver_sink_vtable *vtable;
};

/* Pushes an update. Returns whether it was accepted; if not (no policy can use it), the resolver backs off and tries
 * again (grpc-go: ClientConn.UpdateState). May call back into resolve_now(), never into close(). Control thread. */
static inline bool evener_resolver_sink_update(evener_resolver_sink *sink, const evener_resolver_update *update)
{
    return sink->vtable->update(sink, update);
}

/* Reports that resolving failed; the last good addresses serve on. The resolver then backs off by itself. Control
 * thread. */
static inline void evener_resolver_sink_error(evener_resolver_sink *sink, const evener_status *status)
{
    sink->vtable->error(sink, status);
}

typedef struct evener_resolver_vtable {
    size_t size; /* sizeof(evener_resolver_vtable) */
    /* Begins; called once. May push at once, from inside. */
    void (*start)(evener_resolver *resolver);
    /* A hint that the addresses may be stale (a connection broke). Joined and limited by the resolver as it sees fit
     * (dns: at most every 30 s by default). NULL if there is nothing to do. */
    void (*resolve_now)(evener_resolver *resolver);
    /* Ends and frees the resolver. The sink must not be used from here on; never called from inside a push. */
    void (*close)(evener_resolver *resolver);
} evener_resolver_vtable;

/* Embedded first in every resolver. */
struct evener_resolver {
    const evener_resolver_vtable *vtable;
};

/* What a resolver is checked and built with. In build(), members that say so live until close(); the rest is borrowed for
 * the call. In check(), everything is borrowed for the call, and sink, runtime and loop are NULL. */
typedef struct evener_resolver_args {
    size_t size;                 /* sizeof(evener_resolver_args) */
    const evener_target *target; /* lives until close() */
    evener_resolver_sink *sink;  /* lives until close() */
    evener_runtime *runtime;     /* lives until close() */
    evener_loop *loop;           /* the runtime's; lives until close() */
    uint32_t default_port;       /* for endpoints that name none; 443 unless the channel says otherwise */
    /* The channel's resolver options ("dns.min_refresh_ms" = "1000"); live until close(). Keys of other schemes are
     * there too and are ignored; a key of one's own with a bad value is an error that names it. */
    const evener_attribute *options;
    size_t option_count;
    /* For resolvers made of resolvers: the builders that this channel sees; live until close(). */
    const struct evener_resolver_set *resolvers;
} evener_resolver_args;

/* The value of an option by key, or NULL. */
EVENER_API const char *evener_resolver_option(const evener_resolver_args *args, const char *key);

/* Reads an option that is a whole number from `minimum` to `maximum`; without the option *value stays as it is. Errors:
 * INVALID_ARGUMENT naming key and range. */
EVENER_API evener_status_code evener_resolver_option_u64(const evener_resolver_args *args, const char *key,
                                                         uint64_t minimum, uint64_t maximum, uint64_t *value,
                                                         evener_status *status);

/* What a target says of the names of its backends, against which TLS verifies them when the application sets no
 * options.authority. (A backend's attribute "authority" wins over the target's host and over its address.) */
typedef enum evener_server_names {
    /* The target names a host, which default_authority gives ("dns:///orders.prod:50051"). */
    EVENER_SERVER_NAMES_TARGET = 0,
    /* The target is a list of addresses, or the place of one: each backend is verified against its own IP address. */
    EVENER_SERVER_NAMES_ADDRESSES = 1,
    /* As ADDRESSES, and the target has a backend without a name: a socket in the file system without an attribute
     * "authority". A channel with TLS is refused. */
    EVENER_SERVER_NAMES_MISSING = 2
} evener_server_names;

struct evener_resolver_builder {
    size_t size;        /* sizeof(evener_resolver_builder) */
    const char *scheme; /* lower case: "dns" */
    /* Makes a resolver without starting it; must not push. Called when the channel starts to connect, after a check()
     * that succeeded, so it fails only on what check() cannot foresee (out of memory, no file descriptors). The channel
     * then counts a resolver error and calls build() again after a backoff (1 s x 1.6 +-20 %, at most 120 s).
     * Control thread. */
    evener_status_code (*build)(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                evener_resolver **resolver, evener_status *status);
    /* Checks the target and the options before a channel is created: evener_channel_create() fails with this error,
     * whose message should name the option or the place in the target. Looks nothing up, opens nothing, does not block.
     * Also called for the children of a resolver made of resolvers, and, without options, by evener_resolver_lookup() to
     * learn whether a text is a name. NULL: every target and option is accepted. Any thread. */
    evener_status_code (*check)(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                evener_status *status);
    /* Writes the default :authority for the target into `buffer`; NULL: the target's endpoint, percent-encoded
     * (docs/semantics.md, Targets). Any thread. */
    evener_status_code (*default_authority)(const evener_resolver_builder *builder, const evener_target *target,
                                            char *buffer, size_t buffer_bytes, evener_status *status);
    void *user_data; /* the builder's own */
    /* For a builder that is not static: a channel or a factory that is given it calls `ref` before its creation returns
     * and `unref` when it will not build with it any more, after the last of its resolvers was closed. Until then it may
     * build again at any time (a channel that was idle does). NULL, both: the builder outlives all that use it. Any
     * thread; must not block. */
    void (*ref)(const evener_resolver_builder *builder);
    void (*unref)(const evener_resolver_builder *builder);
    /* Return whose names the backends of a (checked) target have; NULL: TARGET, unless default_authority gives "". Any
     * thread. */
    evener_server_names (*server_names)(const evener_resolver_builder *builder, const evener_target *target);
};

/* Take, and give back, a reference to each of `count` builders. Those that are NULL or not counted are left alone, as is
 * a list that is NULL. Any thread. */
EVENER_API void evener_resolver_builders_ref(const evener_resolver_builder *const *builders, size_t count);
EVENER_API void evener_resolver_builders_unref(const evener_resolver_builder *const *builders, size_t count);

/* Adds a builder for the whole process, or replaces that of its scheme; it must stay valid from then on (static, or
 * counted: a reference is taken and never given back). Channels that exist keep the one they were made with. Built in:
 * static, ipv4, ipv6, unix, unix-abstract, dns, srv, file, fallback, merge.
 * Errors: INVALID_ARGUMENT (no scheme, no build, an invalid scheme). Any thread. */
EVENER_API evener_status_code evener_resolver_register(const evener_resolver_builder *builder, evener_status *status);

/* Return what builder->server_names() says of a target, or TARGET without it. Any thread. */
EVENER_API evener_server_names evener_resolver_server_names(const evener_resolver_builder *builder,
                                                            const evener_target *target);

/* The builders one channel sees: its own first, then the process's. */
typedef struct evener_resolver_set {
    const evener_resolver_builder *const *own;
    size_t own_count;
} evener_resolver_set;

/* The builder for a scheme, or NULL. `set` may be NULL: only the process's registry. Any thread. */
EVENER_API const evener_resolver_builder *evener_resolver_find(const evener_resolver_set *set, const char *scheme);

/* Parses a target and finds its builder: a text without a scheme, or with one that nobody serves, is tried again as
 * `dns:///` + text (grpc: client_channel_specification.md). On success stores an owned target and a borrowed builder.
 * Errors: INVALID_ARGUMENT naming the scheme or the place. Any thread. */
EVENER_API evener_status_code evener_resolver_lookup(const evener_resolver_set *set, const char *target_text,
                                                     evener_target **target, const evener_resolver_builder **builder,
                                                     evener_status *status);

EVENER_END_DECLS

#endif
