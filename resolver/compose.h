/* Compose: the common part of composite resolvers - the children, and the last update of each.
 *
 * The endpoint of such a target is a list of targets, separated by '|':
 *
 *     fallback:dns:///orders.prod:50051|static:10.0.0.1:50051,10.0.0.2:50051
 *
 * Like every endpoint it is percent-decoded once before it is split: a '%' of a child is written %25, and a '|'
 * inside a child (a nested composition) is written %257C. Control thread, except evener_compose_check(). */
#ifndef EVENER_RESOLVER_COMPOSE_H
#define EVENER_RESOLVER_COMPOSE_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/resolver.h>

#include "resolver/list.h"
#include "resolver/retry.h"

#define EVENER_COMPOSE_CHILDREN_MAX 16
/* Maximum length of a child that is a composition itself; bounds the nesting depth. */
#define EVENER_COMPOSE_NESTED_BYTES_MAX 4096

typedef struct evener_compose evener_compose;

typedef struct evener_compose_child {
    evener_resolver_sink sink; /* receives the updates of the child's resolver */
    evener_compose *compose;
    size_t index;
    evener_target *target;
    const evener_resolver_builder *builder;
    evener_resolver *resolver; /* NULL: stopped, or `started` and it could not be built again yet */
    bool started;
    bool answered; /* an update came; `list` to `source` hold the latest */
    evener_list list;
    char *service_config;
    evener_status service_config_error;
    uint64_t ttl_ms;
    char source[128];
    evener_status error; /* the last error if it is newer than the last update, otherwise OK */
} evener_compose_child;

/* Embedded first in a composite resolver. */
struct evener_compose {
    evener_resolver base;
    evener_resolver_args args; /* a copy */
    uint64_t wait_ms;          /* option "SCHEME.wait_ms" */
    evener_compose_child children[EVENER_COMPOSE_CHILDREN_MAX];
    size_t count;
    /* Called when a child has a new update or error (stored in the child). Return whether an update was accepted. */
    bool (*changed)(evener_compose *compose, evener_compose_child *child);
    /* Called by timer while the last update is refused: push what is valid now. */
    void (*push_again)(evener_compose *compose);
    evener_retry refused; /* active: the last update was not accepted */
    evener_retry unbuilt; /* active: a started child could not be built */
};

/* Create a composite resolver of `bytes` zeroed bytes, which begins with an evener_compose: split the endpoint, look
 * the children up and build them; start none. Errors: INVALID_ARGUMENT (the option, or a child, named by number), the
 * error of a child's builder, RESOURCE_EXHAUSTED; *compose is untouched then. */
evener_status_code evener_compose_create(size_t bytes, const evener_resolver_vtable *vtable,
                                         const evener_resolver_args *args,
                                         bool (*changed)(evener_compose *compose, evener_compose_child *child),
                                         void (*push_again)(evener_compose *compose), evener_compose **compose,
                                         evener_status *status);

/* Start a child unless it is started. Build it again if it was stopped; a failure becomes the child's error, and the
 * child is built and started after a backoff. May push from inside. */
void evener_compose_start(evener_compose_child *child);

/* Close a child's resolver and forget its updates. Must not be called from inside the child's own push. */
void evener_compose_stop(evener_compose_child *child);

/* Return whether a child has addresses. */
static inline bool evener_compose_has_addresses(const evener_compose_child *child)
{
    return child->list.count > 0;
}

/* Return whether neither an update nor an error has come yet. */
static inline bool evener_compose_is_pending(const evener_compose_child *child)
{
    return !child->answered && child->error.code == EVENER_STATUS_OK;
}

/* Push an update. Return whether it was accepted. If not, push_again() is called after a backoff: the child that made
 * the update may have heard that it was accepted. */
bool evener_compose_push(evener_compose *compose, const evener_resolver_update *update);

/* Push a child's latest update unchanged; likewise. */
bool evener_compose_push_child(evener_compose *compose, const evener_compose_child *child);

/* Push one error that contains the reason of each child. There is then no update to push again. */
void evener_compose_push_errors(evener_compose *compose, const char *what);

/* Stop all children and free everything. */
void evener_compose_destroy(evener_compose *compose);

/* Functions for vtables: pass the hint on to every started child; let every started child retry now. Both also end the
 * backoffs of a refused update and of a child that could not be built. */
void evener_compose_resolve_now(evener_resolver *base);
void evener_compose_reset_backoff(evener_resolver *base);

/* Functions for builders: check the target, the option and every child with the channel's own builders and options;
 * write the first child's authority. */
evener_status_code evener_compose_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_status *status);
evener_server_names evener_compose_server_names(const evener_resolver_builder *builder, const evener_target *target);
evener_status_code evener_compose_authority(const evener_resolver_builder *builder, const evener_target *target,
                                            char *buffer, size_t buffer_bytes, evener_status *status);

#endif
