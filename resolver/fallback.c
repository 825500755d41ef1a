/* `fallback:TARGET|TARGET...` - the first target that has addresses serves.
 *
 * The first target always runs. The second one is started only while the first has no addresses (an empty list, an
 * error before the first answer, or no answer within "fallback.wait_ms"), and so on. When an earlier target has
 * addresses again, later ones are closed. An error of the target in use changes nothing: its last good addresses
 * stay in use. */
#include <stdlib.h>

#include <evener/resolver.h>

#include "resolver/builtin.h"
#include "resolver/compose.h"

/* `compose` is the first member. */
struct fallback {
    evener_compose compose;
    evener_timer patience; /* how long the child started last may take */
    evener_timer tidy;     /* closes unneeded children; not from inside a push, which may be their own */
    size_t started;        /* children 0 to started - 1 are started */
    size_t serving;        /* the child whose addresses were pushed; `compose.count`: none */
    size_t given_up;       /* children before this index are no longer waited for */
    bool starting;
};

static bool has_ended(const struct fallback *self, size_t i)
{
    return i < self->given_up || !evener_compose_is_pending(&self->compose.children[i]);
}

/* No child has addresses. */
static bool push_nothing(struct fallback *self)
{
    self->serving = self->compose.count;
    for (size_t i = 0; i < self->compose.count; i++) {
        const evener_compose_child *child = &self->compose.children[i];
        if (child->error.code != EVENER_STATUS_OK || !child->answered) {
            evener_compose_push_errors(&self->compose, "fallback");
            return true; /* each child retries by itself */
        }
    }
    return evener_compose_push_child(&self->compose, &self->compose.children[self->compose.count - 1]);
}

static void start_next(struct fallback *self)
{
    evener_compose_child *child = &self->compose.children[self->started++];
    evener_timer_start(self->compose.args.loop, &self->patience, self->compose.wait_ms * EVENER_NS_PER_MS);
    evener_compose_start(child);
}

/* Return the first child with addresses; start children as needed. `compose.count`: none has addresses. SIZE_MAX: an
 * answer is pending. */
static size_t choose(struct fallback *self)
{
    for (size_t i = 0; i < self->compose.count; i++) {
        if (i == self->started) {
            self->starting = true; /* updates pushed from inside start() are handled below */
            start_next(self);
            self->starting = false;
        }
        if (evener_compose_has_addresses(&self->compose.children[i])) {
            return i;
        }
        if (!has_ended(self, i)) {
            return SIZE_MAX;
        }
    }
    return self->compose.count;
}

/* Choose a child and push its update. `child`: the one that changed; NULL: a timer fired. `again`: push it although
 * there is no news. */
static bool look(struct fallback *self, const evener_compose_child *child, bool again)
{
    if (self->starting) {
        return true;
    }
    const size_t started = self->started;
    const size_t chosen = choose(self);
    if (chosen == SIZE_MAX) {
        evener_timer_stop(self->compose.args.loop, &self->tidy); /* the one that is waited for stays */
        return true;
    }
    if (chosen == self->compose.count) {
        return push_nothing(self);
    }
    const evener_compose_child *best = &self->compose.children[chosen];
    const bool news = again || chosen != self->serving || started != self->started || child == best;
    self->serving = chosen;
    if (self->started > chosen + 1) {
        evener_timer_start(self->compose.args.loop, &self->tidy, 0);
    }
    if (!news) {
        return true;
    }
    if (child == best && best->error.code != EVENER_STATUS_OK) {
        evener_resolver_sink_error(self->compose.args.sink, &best->error);
        return true;
    }
    return evener_compose_push_child(&self->compose, best);
}

static bool changed(evener_compose *compose, evener_compose_child *child)
{
    return look((struct fallback *)compose, child, false);
}

static void push_again(evener_compose *compose)
{
    (void)look((struct fallback *)compose, NULL, true);
}

static void patience_ends(void *arg)
{
    struct fallback *self = arg;
    self->given_up = self->started;
    (void)look(self, NULL, false);
}

static void tidy_up(void *arg)
{
    struct fallback *self = arg;
    while (self->serving < self->compose.count && self->started > self->serving + 1) {
        evener_compose_stop(&self->compose.children[--self->started]);
    }
    if (self->given_up > self->started) {
        self->given_up = self->started;
    }
}

static void fallback_start(evener_resolver *resolver)
{
    (void)look((struct fallback *)resolver, NULL, false);
}

static void fallback_close(evener_resolver *resolver)
{
    struct fallback *self = (struct fallback *)resolver;
    evener_timer_stop(self->compose.args.loop, &self->patience);
    evener_timer_stop(self->compose.args.loop, &self->tidy);
    evener_compose_destroy(&self->compose);
}

static const evener_resolver_vtable fallback_vtable = {
    .size = sizeof fallback_vtable,
    .start = fallback_start,
    .resolve_now = evener_compose_resolve_now,
    .close = fallback_close,
    .reset_backoff = evener_compose_reset_backoff,
};

static evener_status_code fallback_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                         evener_resolver **resolver, evener_status *status)
{
    (void)builder;
    evener_compose *compose;
    const evener_status_code code =
        evener_compose_create(sizeof(struct fallback), &fallback_vtable, args, changed, push_again, &compose, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    struct fallback *self = (struct fallback *)compose;
    self->serving = self->compose.count;
    self->patience = (evener_timer)EVENER_TIMER_INIT(patience_ends, self);
    self->tidy = (evener_timer)EVENER_TIMER_INIT(tidy_up, self);
    *resolver = &compose->base;
    return EVENER_STATUS_OK;
}

const evener_resolver_builder evener_fallback_resolver = {
    .size = sizeof evener_fallback_resolver,
    .scheme = "fallback",
    .build = fallback_build,
    .check = evener_compose_check,
    .default_authority = evener_compose_authority,
    .server_names = evener_compose_server_names,
};
