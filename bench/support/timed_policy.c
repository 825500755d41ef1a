#include "bench/support/timed_policy.h"

#include <stdlib.h>

#include "bench/support/measure.h"

typedef struct instance {
    evener_policy policy;
    evener_policy_helper helper; /* the helper that the timed policy gets */
    evener_policy_helper *channel;
    timed_policy *owner;
    evener_policy *timed;
} instance;

static instance *of_helper(evener_policy_helper *helper)
{
    return (instance *)(void *)((char *)helper - offsetof(instance, helper));
}

static evener_subchannel *create_subchannel(evener_policy_helper *helper, const evener_address *address,
                                            const evener_subchannel_options *options)
{
    return evener_policy_create_subchannel(of_helper(helper)->channel, address, options);
}

static void publish(evener_policy_helper *helper, evener_connectivity_state state, const evener_status *status,
                    evener_picker *picker)
{
    instance *self = of_helper(helper);
    evener_policy_publish(self->channel, state, status, picker);
    self->owner->in_force_ns = bench_now_ns();
}

static void request_reresolution(evener_policy_helper *helper)
{
    evener_policy_request_reresolution(of_helper(helper)->channel);
}

static const evener_policy_helper_vtable helper_vtable = {
    .size = sizeof helper_vtable,
    .create_subchannel = create_subchannel,
    .publish = publish,
    .request_reresolution = request_reresolution,
};

static evener_status_code update(evener_policy *policy, const evener_policy_update *given, evener_status *status)
{
    evener_policy *timed = ((instance *)policy)->timed;
    return timed->vtable->update(timed, given, status);
}

static void resolver_error(evener_policy *policy, const evener_status *status)
{
    evener_policy *timed = ((instance *)policy)->timed;
    timed->vtable->resolver_error(timed, status);
}

static void exit_idle(evener_policy *policy)
{
    evener_policy *timed = ((instance *)policy)->timed;
    if (timed->vtable->exit_idle != NULL) {
        timed->vtable->exit_idle(timed);
    }
}

static void end(evener_policy *policy)
{
    instance *self = (instance *)policy;
    self->timed->vtable->close(self->timed);
    free(self);
}

static const evener_policy_vtable vtable = {
    .size = sizeof vtable,
    .update = update,
    .resolver_error = resolver_error,
    .exit_idle = exit_idle,
    .close = end,
};

static evener_policy *build(const evener_policy_builder *builder, evener_policy_helper *helper)
{
    timed_policy *owner = builder->user_data;
    instance *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->policy.vtable = &vtable;
    self->channel = helper;
    self->owner = owner;
    evener_policy_helper_init(&self->helper, helper, &helper_vtable);
    self->timed = owner->timed->build(owner->timed, &self->helper);
    if (self->timed == NULL) {
        free(self);
        return NULL;
    }
    return &self->policy;
}

void timed_policy_init(timed_policy *self, const evener_policy_builder *timed)
{
    *self = (timed_policy){
        .builder = {.size = sizeof self->builder, .name = timed->name, .build = build, .user_data = self},
        .timed = timed,
    };
}
