/* Compose: what resolvers made of resolvers have in common - the children, and what each has pushed last.
 *
 * The endpoint of such a target is a list of targets, separated by '|':
 *
 *     fallback:dns:///orders.prod:50051|static:10.0.0.1:50051,10.0.0.2:50051
 *
 * It is percent-decoded once before it is cut, as every endpoint is: a '%' of a child is written %25, and a '|' inside
 * of a child (a composition within a composition) %257C. Control thread, but for evener_compose_check(). */
#ifndef EVENER_RESOLVER_COMPOSE_H
#define EVENER_RESOLVER_COMPOSE_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/resolver.h>

#include "resolver/list.h"

#define EVENER_COMPOSE_CHILDREN_MAX 16
/* A child that is a composition itself may not be longer: it bounds how deep they nest. */
#define EVENER_COMPOSE_NESTED_BYTES_MAX 4096

typedef struct evener_compose evener_compose;

typedef struct evener_compose_child {
    evener_resolver_sink sink; /* what its resolver pushes into */
    evener_compose *compose;
    size_t index;
    evener_target *target;
    const evener_resolver_builder *builder;
    evener_resolver *resolver; /* NULL: stopped */
    bool started;
    bool answered; /* an update came; the next five are of the last one */
    evener_list list;
    char *service_config;
    evener_status service_config_error;
    uint64_t ttl_ms;
    char source[128];
    evener_status error; /* the last one, if it came after the last update; else OK */
} evener_compose_child;

struct evener_compose {
    evener_resolver_args args; /* a copy */
    evener_compose_child children[EVENER_COMPOSE_CHILDREN_MAX];
    size_t count;
    /* An update (then it returns whether it was accepted) or an error of a child came; the child holds it. */
    bool (*changed)(void *arg, evener_compose_child *child);
    void *arg;
};

/* Cuts the endpoint, looks the children up and builds them; starts none. Errors: INVALID_ARGUMENT naming the child by
 * number, or what its builder says; RESOURCE_EXHAUSTED. On an error nothing is left. */
evener_status_code evener_compose_init(evener_compose *compose, const evener_resolver_args *args,
                                       bool (*changed)(void *arg, evener_compose_child *child), void *arg,
                                       evener_status *status);

/* Starts a child that is not, building it anew if it was stopped; what fails there is the child's error. May push from
 * inside. */
void evener_compose_start(evener_compose_child *child);

/* Closes a child's resolver, if it is started, and forgets what it had pushed. Not from inside its own push. */
void evener_compose_stop(evener_compose_child *child);

/* A child has something to use. */
static inline bool evener_compose_has_addresses(const evener_compose_child *child)
{
    return child->list.count > 0;
}

/* Neither an update nor an error has come yet. */
static inline bool evener_compose_is_pending(const evener_compose_child *child)
{
    return !child->answered && child->error.code == EVENER_STATUS_OK;
}

/* Pushes a child's list as it came. Returns whether it was accepted. */
bool evener_compose_push_child(evener_compose *compose, const evener_compose_child *child);

/* Pushes one error that names every child's reason. */
void evener_compose_push_errors(evener_compose *compose, const char *what);

void evener_compose_resolve_now(evener_compose *compose);

/* Stops all and frees what they hold. */
void evener_compose_clear(evener_compose *compose);

/* As builders' functions. Check the target and every child, with the channel's own builders and options. Write the first
 * child's authority. */
evener_status_code evener_compose_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_status *status);
evener_server_names evener_compose_server_names(const evener_resolver_builder *builder, const evener_target *target);
evener_status_code evener_compose_authority(const evener_resolver_builder *builder, const evener_target *target,
                                            char *buffer, size_t buffer_bytes, evener_status *status);

#endif
