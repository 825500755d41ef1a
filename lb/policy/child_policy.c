#include "lb/policy/child_policy.h"

#include <stdlib.h>

#include <evener/log.h>

#include "lb/base/options.h"

#define CACHE_LINE 64
#define UNKNOWN_OFFSET SIZE_MAX
/* The wrapper's memory lies at one offset in all subchannels of a child, so that a picker knows it. This much is left to
 * every child: one that is a wrapper itself may ask for more or less as its own child changes. */
#define CHILD_BYTES_MIN 256

/* One policy, with the helper through which it sees the wrapper. */
typedef struct slot {
    evener_policy_helper helper;
    evener_child_policy *owner;
    const evener_policy_builder *builder;
    evener_policy *policy;
    size_t data_offset; /* of the wrapper's memory, behind the child's own */
    /* what it published last, while it waits to take over */
    evener_connectivity_state state;
    evener_status status;
    evener_picker *picker;
    struct slot *next; /* among those to be closed */
} slot;

struct evener_child_policy {
    evener_policy_helper *parent;
    const evener_child_hooks *hooks;
    void *owner;
    slot *current, *pending; /* pending only beside a current one */
    slot *closing;           /* replaced: closed in a turn of their own, as they may be on the stack now */
    evener_task close_task;
    bool close_posted, destroyed;
};

static void slot_destroy(slot *s)
{
    if (s != NULL) {
        s->policy->vtable->close(s->policy);
        evener_picker_unref(s->picker);
        free(s);
    }
}

static void close_replaced(void *arg)
{
    evener_child_policy *child = arg;
    child->close_posted = false;
    while (child->closing != NULL) {
        slot *s = child->closing;
        child->closing = s->next;
        slot_destroy(s);
    }
    if (child->destroyed) {
        free(child);
    }
}

static void close_later(evener_child_policy *child, slot *s)
{
    if (s == NULL) {
        return;
    }
    s->next = child->closing;
    child->closing = s;
    if (!child->close_posted) {
        child->close_posted = true;
        evener_loop_post(child->parent->loop, &child->close_task);
    }
}

/* ---- the helper that a child sees ---- */

static evener_subchannel *slot_create_subchannel(evener_policy_helper *helper, const evener_address *address,
                                                 const evener_subchannel_options *options)
{
    slot *s = (slot *)helper;
    const evener_child_hooks *hooks = s->owner->hooks;
    evener_subchannel_options both;
    evener_status status;
    if (evener_options_read(&both, sizeof both, options, "subchannel options", "evener_subchannel_options", &status) !=
        EVENER_STATUS_OK) {
        evener_log(EVENER_LOG_ERROR, "policy", "%s: %s: %s", helper->target, s->builder->name, status.message);
        return NULL;
    }
    if (hooks->data_bytes > 0) {
        const size_t child_bytes = (both.data_bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
        if (s->data_offset == UNKNOWN_OFFSET) {
            s->data_offset = child_bytes > CHILD_BYTES_MIN ? child_bytes : CHILD_BYTES_MIN;
        }
        if (child_bytes > s->data_offset) {
            evener_log(EVENER_LOG_ERROR, "policy",
                       "%s: %s asks for %zu bytes in a subchannel, %zu is the most: refused", helper->target,
                       s->builder->name, child_bytes, s->data_offset);
            return NULL;
        }
        both.data_bytes = s->data_offset + hooks->data_bytes;
    }
    return hooks->create_subchannel(s->owner->owner, address, &both);
}

static void hand_on(evener_child_policy *child, slot *s, evener_connectivity_state state, const evener_status *status,
                    evener_picker *picker)
{
    child->hooks->publish(child->owner, state, status, picker, s->data_offset);
}

static void take_over(evener_child_policy *child)
{
    slot *next = child->pending;
    close_later(child, child->current);
    child->current = next;
    child->pending = NULL;
    evener_picker *picker = next->picker;
    next->picker = NULL;
    hand_on(child, next, next->state, &next->status, picker);
}

static void slot_publish(evener_policy_helper *helper, evener_connectivity_state state, const evener_status *status,
                         evener_picker *picker)
{
    slot *s = (slot *)helper;
    evener_child_policy *child = s->owner;
    if (s != child->current && s != child->pending) {
        evener_picker_unref(picker); /* replaced */
        return;
    }
    s->state = state;
    if (s == child->current) {
        hand_on(child, s, state, status, picker);
    } else if (picker != NULL) {
        if (status != NULL) {
            s->status = *status;
        } else {
            evener_status_clear(&s->status);
        }
        evener_picker_unref(s->picker);
        s->picker = picker;
    }
    if (child->pending != NULL && child->pending->picker != NULL &&
        (child->pending->state != EVENER_CONNECTING || child->current->state != EVENER_READY)) {
        take_over(child);
    }
}

static void slot_request_reresolution(evener_policy_helper *helper)
{
    slot *s = (slot *)helper;
    const slot *newest = s->owner->pending != NULL ? s->owner->pending : s->owner->current;
    if (s == newest) {
        evener_policy_request_reresolution(s->owner->parent);
    }
}

static const evener_policy_helper_vtable slot_helper_vtable = {
    .size = sizeof slot_helper_vtable,
    .create_subchannel = slot_create_subchannel,
    .publish = slot_publish,
    .request_reresolution = slot_request_reresolution,
};

static slot *slot_create(evener_child_policy *child, const evener_policy_builder *builder)
{
    slot *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->helper = *child->parent;
    s->helper.vtable = &slot_helper_vtable;
    s->owner = child;
    s->builder = builder;
    s->data_offset = UNKNOWN_OFFSET;
    s->state = EVENER_CONNECTING;
    evener_status_clear(&s->status);
    s->policy = builder->build(builder, &s->helper);
    if (s->policy == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

/* ---- the child ---- */

evener_child_policy *evener_child_policy_create(evener_policy_helper *parent, const evener_child_hooks *hooks,
                                                void *owner)
{
    evener_child_policy *child = calloc(1, sizeof *child);
    if (child != NULL) {
        child->parent = parent;
        child->hooks = hooks;
        child->owner = owner;
        child->close_task = (evener_task)EVENER_TASK_INIT(close_replaced, child);
    }
    return child;
}

void evener_child_policy_destroy(evener_child_policy *child)
{
    if (child == NULL) {
        return;
    }
    slot *slots[] = {child->pending, child->current};
    child->pending = NULL; /* from now on nothing is handed on */
    child->current = NULL;
    for (size_t i = 0; i < 2; i++) {
        slot_destroy(slots[i]);
    }
    while (child->closing != NULL) {
        slot *s = child->closing;
        child->closing = s->next;
        slot_destroy(s);
    }
    child->destroyed = true;
    if (!child->close_posted) {
        free(child);
    }
}

/* The slot of the builder's policy: the newest one if it is of that builder, else a new one. */
static slot *slot_for(evener_child_policy *child, const evener_policy_builder *builder)
{
    slot *newest = child->pending != NULL ? child->pending : child->current;
    if (newest != NULL && newest->builder == builder) {
        return newest;
    }
    slot *s = slot_create(child, builder);
    if (s == NULL) {
        return NULL;
    }
    if (child->current == NULL) {
        child->current = s;
    } else {
        close_later(child, child->pending);
        child->pending = s;
    }
    return s;
}

evener_status_code evener_child_policy_update(evener_child_policy *child, const evener_policy_choice *choice,
                                              const evener_policy_update *update, evener_status *status)
{
    slot *s = slot_for(child, choice->builder);
    if (s == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for a policy %s",
                                 choice->builder->name);
    }
    if (child->pending != NULL) {
        /* The one in force goes on with its list; its configuration goes with the parent's old one. */
        const evener_policy_update same = {.size = sizeof same,
                                           .addresses = update->addresses,
                                           .address_count = update->address_count,
                                           .config = NULL};
        (void)child->current->policy->vtable->update(child->current->policy, &same, NULL);
    }
    evener_policy_update own = *update;
    own.config = choice->config;
    return s->policy->vtable->update(s->policy, &own, status);
}

void evener_child_policy_resolver_error(evener_child_policy *child, const evener_status *status)
{
    slot *newest = child->pending != NULL ? child->pending : child->current;
    if (newest != NULL) {
        newest->policy->vtable->resolver_error(newest->policy, status);
    }
}

void evener_child_policy_exit_idle(evener_child_policy *child)
{
    slot *slots[] = {child->current, child->pending};
    for (size_t i = 0; i < 2; i++) {
        if (slots[i] != NULL && slots[i]->policy->vtable->exit_idle != NULL) {
            slots[i]->policy->vtable->exit_idle(slots[i]->policy);
        }
    }
}

void evener_child_policy_describe(evener_child_policy *child, evener_subchannel *subchannel, char *buffer,
                                  size_t buffer_bytes)
{
    /* While one replaces another it is not known whose subchannel this is: nothing is said. */
    if (child->pending == NULL && child->closing == NULL && child->current != NULL &&
        child->current->policy->vtable->describe != NULL) {
        child->current->policy->vtable->describe(child->current->policy, subchannel, buffer, buffer_bytes);
    }
}
