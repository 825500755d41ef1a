/* The one switch of policies.
 *
 *     current NULL -- update --> current
 *     current -- update that names another policy --> current + pending
 *     pending -- update that names a third one --> closing; the third one is pending
 *     pending -- published, and not CONNECTING or current is not READY --> current; the old one is closing
 *     closing -- a turn of its own --> closed (it may be on the stack when it is replaced) */
#include <evener/child_policy.h>

#include <stdlib.h>

#include <evener/log.h>

#include "lb/base/options.h"
#include "lb/policy/choice.h"

#define CACHE_LINE 64
#define UNKNOWN_OFFSET SIZE_MAX
/* The wrapper's memory lies at one offset in all subchannels of a child, so that a picker knows it. At least this many
 * bytes before it belong to the child: a child that is a wrapper itself asks for more or less as its own child
 * changes. */
#define CHILD_BYTES_MIN 256

/* One policy, with the helper through which it sees the wrapper. */
typedef struct slot {
    evener_policy_helper helper; /* first */
    evener_child_policy *owner;
    const evener_policy_builder *builder;
    evener_policy *policy;
    void *config;       /* a reference of the configuration in force (choice.h); or NULL */
    size_t data_offset; /* of the wrapper's memory, behind the child's own */
    /* as published last, while pending */
    evener_connectivity_state state;
    evener_status status;
    evener_picker *picker;
    struct slot *next; /* in `closing` */
} slot;

struct evener_child_policy {
    evener_policy_helper *parent;
    evener_child_hooks hooks;
    void *owner;
    slot *current, *pending; /* pending only beside a current one */
    slot *closing;
    evener_task close_task;
    bool close_posted, destroyed;
};

/* ---- a policy's end ---- */

static void slot_destroy(slot *s)
{
    if (s != NULL) {
        s->policy->vtable->close(s->policy);
        evener_picker_unref(s->picker);
        evener_policy_shared_unref(s->config);
        free(s);
    }
}

static void destroy_closing(evener_child_policy *child)
{
    while (child->closing != NULL) {
        slot *s = child->closing;
        child->closing = s->next;
        slot_destroy(s);
    }
}

static void close_replaced(void *arg)
{
    evener_child_policy *child = arg;
    child->close_posted = false;
    destroy_closing(child);
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
    const evener_child_hooks *hooks = &s->owner->hooks;
    if (hooks->create_subchannel == NULL && hooks->data_bytes == 0) {
        return evener_policy_create_subchannel(s->owner->parent, address, options);
    }
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
    return hooks->create_subchannel != NULL ? hooks->create_subchannel(s->owner->owner, s, address, &both)
                                            : evener_policy_create_subchannel(s->owner->parent, address, &both);
}

static void hand_on(evener_child_policy *child, const slot *s, evener_connectivity_state state,
                    const evener_status *status, evener_picker *picker)
{
    if (child->hooks.publish != NULL) {
        child->hooks.publish(child->owner, state, status, picker, s->data_offset);
    } else {
        evener_policy_publish(child->parent, state, status, picker);
    }
}

static void take_over(evener_child_policy *child)
{
    slot *next = child->pending;
    evener_log(EVENER_LOG_INFO, "policy", "%s: policy %s takes over from %s (%s)", child->parent->target,
               next->builder->name, child->current->builder->name, evener_connectivity_state_name(next->state));
    close_later(child, child->current);
    child->current = next;
    child->pending = NULL;
    evener_picker *picker = next->picker;
    next->picker = NULL;
    hand_on(child, next, next->state, &next->status, picker);
}

static void keep_published(slot *s, const evener_status *status, evener_picker *picker)
{
    if (status != NULL) {
        s->status = *status;
    } else {
        evener_status_clear(&s->status);
    }
    evener_picker_unref(s->picker);
    s->picker = picker;
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
    if (s == child->pending && picker == NULL) {
        return; /* out of memory: the policy tries again */
    }
    s->state = state;
    if (s == child->current) {
        hand_on(child, s, state, status, picker);
    } else {
        keep_published(s, status, picker);
    }
    if (child->pending != NULL && child->pending->picker != NULL &&
        (child->pending->state != EVENER_CONNECTING || child->current->state != EVENER_READY)) {
        take_over(child);
    }
}

static slot *newest_of(const evener_child_policy *child)
{
    return child->pending != NULL ? child->pending : child->current;
}

static void slot_request_reresolution(evener_policy_helper *helper)
{
    const slot *s = (const slot *)helper;
    if (s == newest_of(s->owner)) {
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
    evener_policy_helper_init(&s->helper, child->parent, &slot_helper_vtable);
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

/* ---- the switch ---- */

evener_child_policy *evener_child_policy_create(evener_policy_helper *parent, const evener_child_hooks *hooks,
                                                void *owner)
{
    evener_status status;
    evener_child_policy *child = calloc(1, sizeof *child);
    if (child == NULL) {
        return NULL;
    }
    if (evener_options_read(&child->hooks, sizeof child->hooks, hooks, "child hooks", "evener_child_hooks", &status) !=
        EVENER_STATUS_OK) {
        evener_log(EVENER_LOG_ERROR, "policy", "%s: %s", parent->target, status.message);
        free(child);
        return NULL;
    }
    child->parent = parent;
    child->owner = owner;
    child->close_task = (evener_task)EVENER_TASK_INIT(close_replaced, child);
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
    destroy_closing(child); /* now: their helper's parent goes */
    child->destroyed = true;
    if (!child->close_posted) {
        free(child);
    }
}

/* Return the newest slot if it is of that builder, otherwise a new one. NULL: out of memory, nothing has changed. */
static slot *slot_for(evener_child_policy *child, const evener_policy_builder *builder)
{
    slot *newest = newest_of(child);
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
    evener_policy_update own;
    const evener_status_code read =
        evener_options_read(&own, sizeof own, update, "policy update", "evener_policy_update", status);
    if (read != EVENER_STATUS_OK) {
        return read;
    }
    slot *s = slot_for(child, choice->builder);
    if (s == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "policy %s: out of memory",
                                 choice->builder->name);
    }
    evener_policy_helper_init(&s->helper, child->parent, &slot_helper_vtable); /* target and authority may be new */
    void *old = s->config;
    s->config = evener_policy_shared_ref(choice->shared);
    own.config = choice->config;
    const evener_status_code code = s->policy->vtable->update(s->policy, &own, status);
    evener_policy_shared_unref(old);
    return code;
}

void evener_child_policy_resolver_error(evener_child_policy *child, const evener_status *status)
{
    slot *newest = newest_of(child);
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

const char *evener_child_policy_name(const evener_child_policy *child)
{
    return child->current != NULL ? child->current->builder->name : "";
}

void evener_child_policy_describe(evener_child_policy *child, evener_child_maker maker, evener_subchannel *subchannel,
                                  char *buffer, size_t buffer_bytes)
{
    const slot *current = child->current;
    const bool only_one = child->pending == NULL && child->closing == NULL;
    if (buffer_bytes > 0) {
        buffer[0] = '\0';
    }
    if (current != NULL && (maker == current || (maker == NULL && only_one)) &&
        current->policy->vtable->describe != NULL) {
        current->policy->vtable->describe(current->policy, subchannel, buffer, buffer_bytes);
    }
}
