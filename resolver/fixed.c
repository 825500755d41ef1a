#include "resolver/fixed.h"

#include <stdlib.h>

#include "resolver/retry.h"

/* `base` is the first member. */
struct fixed {
    evener_resolver base;
    evener_resolver_sink *sink;
    evener_list list;
    const char *source;
    evener_retry refused; /* the list never changes: it is pushed again only if it was not accepted */
};

static void push(void *arg)
{
    struct fixed *self = arg;
    const evener_resolver_update update = {
        .size = sizeof update,
        .addresses = self->list.addresses,
        .address_count = self->list.count,
        .source = self->source,
    };
    if (evener_resolver_sink_update(self->sink, &update)) {
        evener_retry_end(&self->refused);
    } else {
        evener_retry_later(&self->refused);
    }
}

static void fixed_start(evener_resolver *resolver)
{
    push(resolver);
}

static void fixed_resolve_now(evener_resolver *resolver)
{
    evener_retry_soon(&((struct fixed *)resolver)->refused);
}

static void fixed_reset_backoff(evener_resolver *resolver)
{
    evener_retry_reset(&((struct fixed *)resolver)->refused);
}

static void fixed_close(evener_resolver *resolver)
{
    struct fixed *self = (struct fixed *)resolver;
    evener_retry_end(&self->refused);
    evener_list_clear(&self->list);
    free(self);
}

static const evener_resolver_vtable fixed_vtable = {
    .size = sizeof fixed_vtable,
    .start = fixed_start,
    .resolve_now = fixed_resolve_now,
    .close = fixed_close,
    .reset_backoff = fixed_reset_backoff,
};

evener_status_code evener_fixed_resolver_create(const evener_resolver_args *args, evener_list *list, const char *source,
                                                evener_resolver **resolver, evener_status *status)
{
    struct fixed *self = malloc(sizeof *self);
    if (self == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "%s: out of memory", source);
    }
    *self = (struct fixed){.base = {.vtable = &fixed_vtable}, .sink = args->sink, .list = *list, .source = source};
    evener_retry_init(&self->refused, args->loop, push, self);
    *list = (evener_list)EVENER_LIST_INIT;
    *resolver = &self->base;
    return EVENER_STATUS_OK;
}
