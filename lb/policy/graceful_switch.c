#include "lb/policy/graceful_switch.h"

#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/backend/subchannel_pool.h"

/* One policy, with the helper through which it sees the channel. */
typedef struct child {
    evener_policy_helper helper;
    evener_graceful_switch *owner;
    const evener_policy_builder *builder;
    evener_policy *policy;
    evener_service_config *source; /* of the configuration in force; or NULL */
    /* What it published last, while it is pending. */
    evener_connectivity_state state;
    evener_status status;
    evener_picker *picker;
    struct child *next; /* in `closing` */
} child;

struct evener_graceful_switch {
    evener_policy_helper *helper;
    child *current, *pending; /* either may be NULL; pending only with a current */
    child *closing;           /* replaced: to be closed in a turn of their own, as they may be on the stack now */
    evener_task close_task;
    bool destroyed;
};

/* ---- a child's end ---- */

static void child_destroy(child *c)
{
    if (c->policy != NULL) {
        c->policy->vtable->close(c->policy);
    }
    evener_picker_unref(c->picker);
    evener_service_config_unref(c->source);
    free(c);
}

static void close_replaced(void *arg)
{
    evener_graceful_switch *gs = arg;
    while (gs->closing != NULL) {
        child *c = gs->closing;
        gs->closing = c->next;
        child_destroy(c);
    }
    if (gs->destroyed) {
        free(gs);
    }
}

static void close_later(evener_graceful_switch *gs, child *c)
{
    if (c == NULL) {
        return;
    }
    c->next = gs->closing;
    gs->closing = c;
    evener_loop_post(gs->helper->loop, &gs->close_task);
}

/* ---- the helper that a child sees ---- */

static child *child_of(evener_policy_helper *helper)
{
    return (child *)helper;
}

static evener_subchannel *child_create_subchannel(evener_policy_helper *helper, const evener_address *address,
                                                  const evener_subchannel_options *options)
{
    evener_subchannel *subchannel = evener_policy_create_subchannel(child_of(helper)->owner->helper, address, options);
    if (subchannel != NULL) {
        evener_subchannel_set_owner(subchannel, child_of(helper));
    }
    return subchannel;
}

static void swap(evener_graceful_switch *gs)
{
    child *next = gs->pending;
    evener_log(EVENER_LOG_INFO, "channel", "%s: policy %s takes over from %s (%s)", gs->helper->target,
               next->builder->name, gs->current->builder->name, evener_connectivity_state_name(next->state));
    close_later(gs, gs->current);
    gs->current = next;
    gs->pending = NULL;
    evener_picker *picker = next->picker;
    next->picker = NULL;
    evener_policy_publish(gs->helper, next->state, &next->status, picker);
}

static void child_publish(evener_policy_helper *helper, evener_connectivity_state state, const evener_status *status,
                          evener_picker *picker)
{
    child *c = child_of(helper);
    evener_graceful_switch *gs = c->owner;
    if (c != gs->current && c != gs->pending) {
        evener_picker_unref(picker);
        return;
    }
    if (picker == NULL && c == gs->pending) {
        return;
    }
    c->state = state;
    if (c == gs->current) {
        evener_policy_publish(gs->helper, state, status, picker);
    } else {
        if (status != NULL) {
            c->status = *status;
        } else {
            evener_status_clear(&c->status);
        }
        evener_picker_unref(c->picker);
        c->picker = picker;
    }
    if (gs->pending != NULL && gs->pending->picker != NULL &&
        (gs->pending->state != EVENER_CONNECTING || gs->current->state != EVENER_READY)) {
        swap(gs);
    }
}

static void child_request_reresolution(evener_policy_helper *helper)
{
    child *c = child_of(helper);
    child *newest = c->owner->pending != NULL ? c->owner->pending : c->owner->current;
    if (c == newest) {
        evener_policy_request_reresolution(c->owner->helper);
    }
}

static const evener_policy_helper_vtable child_helper_vtable = {
    .size = sizeof child_helper_vtable,
    .create_subchannel = child_create_subchannel,
    .publish = child_publish,
    .request_reresolution = child_request_reresolution,
};

static child *child_create(evener_graceful_switch *gs, const evener_policy_builder *builder)
{
    child *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->helper = *gs->helper;
    c->helper.vtable = &child_helper_vtable;
    c->owner = gs;
    c->builder = builder;
    c->state = EVENER_CONNECTING;
    c->policy = builder->build(builder, &c->helper);
    if (c->policy == NULL) {
        free(c);
        return NULL;
    }
    return c;
}

/* ---- the switch ---- */

evener_graceful_switch *evener_graceful_switch_create(evener_policy_helper *helper)
{
    evener_graceful_switch *gs = calloc(1, sizeof *gs);
    if (gs != NULL) {
        gs->helper = helper;
        gs->close_task = (evener_task)EVENER_TASK_INIT(close_replaced, gs);
    }
    return gs;
}

void evener_graceful_switch_destroy(evener_graceful_switch *gs)
{
    if (gs == NULL) {
        return;
    }
    child *current = gs->current;
    child *pending = gs->pending;
    gs->current = NULL; /* from now on nothing is handed on */
    gs->pending = NULL;
    if (pending != NULL) {
        child_destroy(pending);
    }
    if (current != NULL) {
        child_destroy(current);
    }
    gs->destroyed = true;
    if (gs->closing == NULL && gs->close_task.pending == 0) {
        free(gs);
        return;
    }
    /* The task is under way, and frees the switch. The replaced policies must not wait for it: their helper goes. */
    while (gs->closing != NULL) {
        child *c = gs->closing;
        gs->closing = c->next;
        child_destroy(c);
    }
}

static child *newest_child(const evener_graceful_switch *gs)
{
    return gs->pending != NULL ? gs->pending : gs->current;
}

evener_status_code evener_graceful_switch_update(evener_graceful_switch *gs, const evener_policy_builder *builder,
                                                 evener_service_config *source, const evener_policy_update *update,
                                                 evener_status *status)
{
    child *target = newest_child(gs);
    if (target == NULL || strcmp(target->builder->name, builder->name) != 0) {
        target = child_create(gs, builder);
        if (target == NULL) {
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "policy %s: out of memory",
                                     builder->name);
        }
        if (gs->current == NULL) {
            gs->current = target;
        } else {
            close_later(gs, gs->pending);
            gs->pending = target;
        }
    }
    evener_service_config *old = target->source;
    target->source = evener_service_config_ref(source);
    evener_policy_update with_config = *update;
    with_config.config = source != NULL ? evener_service_config_policy(source)->config : NULL;
    const evener_status_code code = target->policy->vtable->update(target->policy, &with_config, status);
    evener_service_config_unref(old);
    return code;
}

void evener_graceful_switch_resolver_error(evener_graceful_switch *gs, const evener_status *status)
{
    child *c = newest_child(gs);
    if (c != NULL) {
        c->policy->vtable->resolver_error(c->policy, status);
    }
}

void evener_graceful_switch_exit_idle(evener_graceful_switch *gs)
{
    child *c = newest_child(gs);
    if (c != NULL && c->policy->vtable->exit_idle != NULL) {
        c->policy->vtable->exit_idle(c->policy);
    }
}

const char *evener_graceful_switch_policy_name(const evener_graceful_switch *gs)
{
    return gs->current != NULL ? gs->current->builder->name : "";
}

const void *evener_graceful_switch_owner(const evener_graceful_switch *gs)
{
    return gs->current;
}

void evener_graceful_switch_describe(evener_graceful_switch *gs, evener_subchannel *subchannel, char *buffer,
                                     size_t buffer_bytes)
{
    buffer[0] = '\0';
    const evener_policy *policy = gs->current != NULL ? gs->current->policy : NULL;
    if (policy != NULL && policy->vtable->describe != NULL) {
        policy->vtable->describe(gs->current->policy, subchannel, buffer, buffer_bytes);
    }
}
