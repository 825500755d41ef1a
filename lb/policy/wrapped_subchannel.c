#include <evener/child_policy.h>

#include <stdlib.h>

#include <evener/log.h>

#include "lb/base/options.h"

struct evener_wrapped_subchannel {
    evener_subchannel *subchannel;
    evener_connectivity_state state; /* of the connection */
    evener_child_maker maker;
    evener_wrapped_hooks hooks;
    evener_subchannel_options child; /* what the child asked for: its listener */
    _Alignas(max_align_t) unsigned char data[];
};

static void state_changed(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                          const evener_status *status)
{
    evener_wrapped_subchannel *wrapped = arg;
    (void)subchannel;
    wrapped->state = state;
    if (wrapped->hooks.state_changed != NULL) {
        wrapped->hooks.state_changed(wrapped, status);
    } else {
        evener_wrapped_subchannel_notify(wrapped, state, status);
    }
}

static void released(void *arg, evener_subchannel *subchannel)
{
    evener_wrapped_subchannel *wrapped = arg;
    if (wrapped->child.released != NULL) {
        wrapped->child.released(wrapped->child.arg, subchannel);
    }
    if (wrapped->hooks.released != NULL) {
        wrapped->hooks.released(wrapped);
    }
    free(wrapped);
}

evener_wrapped_subchannel *evener_wrapped_subchannel_create(evener_policy_helper *parent, evener_child_maker maker,
                                                            const evener_address *address,
                                                            const evener_subchannel_options *options,
                                                            const evener_wrapped_hooks *hooks)
{
    evener_wrapped_hooks own_hooks;
    evener_subchannel_options own;
    evener_status status;
    if (evener_options_read(&own_hooks, sizeof own_hooks, hooks, "wrapped hooks", "evener_wrapped_hooks", &status) !=
            EVENER_STATUS_OK ||
        evener_options_read(&own, sizeof own, options, "subchannel options", "evener_subchannel_options", &status) !=
            EVENER_STATUS_OK) {
        evener_log(EVENER_LOG_ERROR, "policy", "%s: %s", parent->target, status.message);
        return NULL;
    }
    evener_wrapped_subchannel *wrapped = calloc(1, sizeof *wrapped + own_hooks.data_bytes);
    if (wrapped == NULL) {
        return NULL;
    }
    wrapped->state = EVENER_IDLE;
    wrapped->maker = maker;
    wrapped->hooks = own_hooks;
    wrapped->child = own;
    own.state_changed = state_changed;
    own.released = released;
    own.arg = wrapped;
    own.arg_is_common = false;
    wrapped->subchannel = evener_policy_create_subchannel(parent, address, &own);
    if (wrapped->subchannel == NULL) {
        free(wrapped);
        return NULL;
    }
    return wrapped;
}

evener_subchannel *evener_wrapped_subchannel_get(const evener_wrapped_subchannel *wrapped)
{
    return wrapped->subchannel;
}

void *evener_wrapped_subchannel_data(evener_wrapped_subchannel *wrapped)
{
    return wrapped->data;
}

evener_connectivity_state evener_wrapped_subchannel_state(const evener_wrapped_subchannel *wrapped)
{
    return wrapped->state;
}

evener_child_maker evener_wrapped_subchannel_maker(const evener_wrapped_subchannel *wrapped)
{
    return wrapped->maker;
}

void evener_wrapped_subchannel_notify(evener_wrapped_subchannel *wrapped, evener_connectivity_state state,
                                      const evener_status *status)
{
    if (wrapped->child.state_changed != NULL) {
        wrapped->child.state_changed(wrapped->child.arg, wrapped->subchannel, state, status);
    }
}
