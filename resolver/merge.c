/* `merge:TARGET|TARGET...` - the addresses of all targets together, in their order; an address that is in several lists
 * has the attributes of the first.
 *
 * The first update waits until every target has answered or failed, at most "merge.wait_ms", so that a channel does not
 * start with half of its backends. After that each change of a target is pushed immediately. A target that fails keeps
 * its last list. A target that never had a list is left out while others have one. */
#include <stdlib.h>

#include <evener/log.h>
#include <evener/resolver.h>

#include "resolver/builtin.h"
#include "resolver/compose.h"

/* `compose` is the first member. */
struct merge {
    evener_compose compose;
    evener_timer patience;
    bool impatient;
    bool starting;
};

static bool is_waiting(const struct merge *self)
{
    for (size_t i = 0; i < self->compose.count && !self->impatient; i++) {
        if (evener_compose_is_pending(&self->compose.children[i])) {
            return true;
        }
    }
    return false;
}

/* Return whether a target has not answered or has failed, so that an empty union is not an answer. */
static bool is_uncertain(const struct merge *self)
{
    bool uncertain = false;
    for (size_t i = 0; i < self->compose.count; i++) {
        const evener_compose_child *child = &self->compose.children[i];
        uncertain = uncertain || !child->answered || child->error.code != EVENER_STATUS_OK;
    }
    return uncertain;
}

static evener_status_code unite(const struct merge *self, evener_list *list, evener_status *status)
{
    evener_status_code code = EVENER_STATUS_OK;
    for (size_t i = 0; i < self->compose.count; i++) {
        const evener_list *part = &self->compose.children[i].list;
        for (size_t j = 0; j < part->count && code == EVENER_STATUS_OK; j++) {
            code = evener_list_add(list, evener_address_ref(part->addresses[j]), status);
        }
    }
    return code;
}

static bool push(struct merge *self)
{
    evener_list list = EVENER_LIST_INIT;
    evener_status status;
    bool accepted = true;
    if (unite(self, &list, &status) != EVENER_STATUS_OK) {
        evener_resolver_sink_error(self->compose.args.sink, &status);
        evener_retry_later(&self->compose.refused);
        accepted = false;
    } else if (list.count == 0 && is_uncertain(self)) {
        evener_compose_push_errors(&self->compose, "merge"); /* each target retries by itself */
    } else {
        evener_resolver_update update = {
            .size = sizeof update, .addresses = list.addresses, .address_count = list.count, .source = "merge"};
        for (size_t i = 0; i < self->compose.count; i++) {
            const evener_compose_child *child = &self->compose.children[i];
            if (update.service_config == NULL && update.service_config_error == NULL) {
                update.service_config = child->service_config;
                update.service_config_error =
                    child->service_config_error.code != EVENER_STATUS_OK ? &child->service_config_error : NULL;
            }
            if (child->ttl_ms != 0 && (update.ttl_ms == 0 || child->ttl_ms < update.ttl_ms)) {
                update.ttl_ms = child->ttl_ms;
            }
        }
        accepted = evener_compose_push(&self->compose, &update);
    }
    evener_list_clear(&list);
    return accepted;
}

static bool changed(evener_compose *compose, evener_compose_child *child)
{
    struct merge *self = (struct merge *)compose;
    if (self->starting || is_waiting(self)) {
        return true;
    }
    const bool failed = child->error.code != EVENER_STATUS_OK;
    if (failed) {
        evener_log(EVENER_LOG_WARNING, "resolver", "merge: target %zu: %s", child->index + 1, child->error.message);
    }
    /* The first push contains everything, whichever target answered last. */
    const bool first = self->patience.active;
    evener_timer_stop(self->compose.args.loop, &self->patience);
    self->impatient = true;
    if (failed && !first && evener_compose_has_addresses(child)) {
        evener_resolver_sink_error(self->compose.args.sink, &child->error);
        return true;
    }
    return push(self);
}

static void push_again(evener_compose *compose)
{
    (void)push((struct merge *)compose);
}

static void patience_ends(void *arg)
{
    struct merge *self = arg;
    self->impatient = true;
    (void)push(self);
}

static void merge_start(evener_resolver *resolver)
{
    struct merge *self = (struct merge *)resolver;
    evener_timer_start(self->compose.args.loop, &self->patience, self->compose.wait_ms * EVENER_NS_PER_MS);
    self->starting = true;
    for (size_t i = 0; i < self->compose.count; i++) {
        evener_compose_start(&self->compose.children[i]);
    }
    self->starting = false;
    if (!is_waiting(self)) {
        evener_timer_stop(self->compose.args.loop, &self->patience);
        self->impatient = true;
        (void)push(self);
    }
}

static void merge_close(evener_resolver *resolver)
{
    struct merge *self = (struct merge *)resolver;
    evener_timer_stop(self->compose.args.loop, &self->patience);
    evener_compose_destroy(&self->compose);
}

static const evener_resolver_vtable merge_vtable = {
    .size = sizeof merge_vtable,
    .start = merge_start,
    .resolve_now = evener_compose_resolve_now,
    .close = merge_close,
    .reset_backoff = evener_compose_reset_backoff,
};

static evener_status_code merge_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                      evener_resolver **resolver, evener_status *status)
{
    (void)builder;
    evener_compose *compose;
    const evener_status_code code =
        evener_compose_create(sizeof(struct merge), &merge_vtable, args, changed, push_again, &compose, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    struct merge *self = (struct merge *)compose;
    self->patience = (evener_timer)EVENER_TIMER_INIT(patience_ends, self);
    *resolver = &compose->base;
    return EVENER_STATUS_OK;
}

const evener_resolver_builder evener_merge_resolver = {
    .size = sizeof evener_merge_resolver,
    .scheme = "merge",
    .build = merge_build,
    .check = evener_compose_check,
    .default_authority = evener_compose_authority,
    .server_names = evener_compose_server_names,
};
