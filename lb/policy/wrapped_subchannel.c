#include "lb/policy/wrapped_subchannel.h"

#include <stdlib.h>

static void state_changed(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                          const evener_status *status)
{
    evener_wrapped_subchannel *wrapped = arg;
    (void)subchannel;
    wrapped->state = state;
    wrapped->hooks->state_changed(wrapped, status);
}

static void released(void *arg, evener_subchannel *subchannel)
{
    evener_wrapped_subchannel *wrapped = arg;
    if (wrapped->child.released != NULL) {
        wrapped->child.released(wrapped->child.arg, subchannel);
    }
    wrapped->hooks->released(wrapped);
    free(wrapped);
}

evener_wrapped_subchannel *evener_wrapped_subchannel_create(evener_policy_helper *helper, const evener_address *address,
                                                            const evener_subchannel_options *options,
                                                            const evener_wrapped_hooks *hooks)
{
    evener_wrapped_subchannel *wrapped = calloc(1, hooks->bytes);
    if (wrapped == NULL) {
        return NULL;
    }
    wrapped->state = EVENER_IDLE;
    wrapped->hooks = hooks;
    wrapped->child = *options;
    evener_subchannel_options own = *options;
    own.state_changed = state_changed;
    own.released = released;
    own.arg = wrapped;
    wrapped->subchannel = evener_policy_create_subchannel(helper, address, &own);
    if (wrapped->subchannel == NULL) {
        free(wrapped);
        return NULL;
    }
    return wrapped;
}

void evener_wrapped_subchannel_tell(evener_wrapped_subchannel *wrapped, evener_connectivity_state state,
                                    const evener_status *status)
{
    wrapped->child.state_changed(wrapped->child.arg, wrapped->subchannel, state, status);
}
