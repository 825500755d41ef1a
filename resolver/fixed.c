#include "resolver/fixed.h"

#include <stdlib.h>

#include <evener/backoff.h>

/* `base` is the first member. */
struct fixed {
    evener_resolver base;
    evener_resolver_sink *sink;
    evener_loop *loop;
    evener_list list;
    const char *source;
    evener_timer again; /* pushes after a refusal; outside of resolve_now(), which may come from inside a push */
    evener_backoff backoff;
    bool accepted;
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
    self->accepted = evener_resolver_sink_update(self->sink, &update);
    evener_timer_stop(self->loop, &self->again);
    if (self->accepted) {
        evener_backoff_reset(&self->backoff);
    } else {
        evener_timer_start(self->loop, &self->again, evener_backoff_next_ns(&self->backoff, NULL, self->loop));
    }
}

static void fixed_start(evener_resolver *resolver)
{
    push(resolver);
}

/* The list never changes: push again only if it was not accepted, and do not wait. */
static void fixed_resolve_now(evener_resolver *resolver)
{
    struct fixed *self = (struct fixed *)resolver;
    if (!self->accepted) {
        evener_timer_start(self->loop, &self->again, 0);
    }
}

static void fixed_reset_backoff(evener_resolver *resolver)
{
    evener_backoff_reset(&((struct fixed *)resolver)->backoff);
    fixed_resolve_now(resolver);
}

static void fixed_close(evener_resolver *resolver)
{
    struct fixed *self = (struct fixed *)resolver;
    evener_timer_stop(self->loop, &self->again);
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
    *self = (struct fixed){
        .base = {.vtable = &fixed_vtable},
        .sink = args->sink,
        .loop = args->loop,
        .list = *list,
        .source = source,
        .again = EVENER_TIMER_INIT(push, self),
        .accepted = true, /* a resolve_now() from inside the first push asks for nothing */
    };
    *list = (evener_list)EVENER_LIST_INIT;
    *resolver = &self->base;
    return EVENER_STATUS_OK;
}
