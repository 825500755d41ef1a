/* Wrapped subchannel: one subchannel of the child of a policy that wraps another. The wrapper listens to it in the
 * child's place and passes on to the child what that is to see. Control thread.
 *
 *     typedef struct mine { evener_wrapped_subchannel base; ... } mine;
 *     static const evener_wrapped_hooks hooks = {.bytes = sizeof(mine), .state_changed = ..., .released = ...};
 */
#ifndef EVENER_LB_POLICY_WRAPPED_SUBCHANNEL_H
#define EVENER_LB_POLICY_WRAPPED_SUBCHANNEL_H

#include <stddef.h>

#include <evener/policy.h>
#include <evener/subchannel.h>

typedef struct evener_wrapped_subchannel evener_wrapped_subchannel;

/* What the wrapper does with what its subchannels do. */
typedef struct evener_wrapped_hooks {
    size_t bytes; /* of the wrapper's own struct, that begins with an evener_wrapped_subchannel */
    /* wrapped->state is new. Never from inside evener_wrapped_subchannel_create(). */
    void (*state_changed)(evener_wrapped_subchannel *wrapped, const evener_status *status);
    void (*released)(evener_wrapped_subchannel *wrapped); /* the child was told; the memory goes next */
} evener_wrapped_hooks;

struct evener_wrapped_subchannel {
    evener_subchannel *subchannel;
    evener_connectivity_state state; /* of the connection, as told last */
    const evener_wrapped_hooks *hooks;
    evener_subchannel_options child; /* what the child asked for: its listener */
};

/* For a create_subchannel hook: creates the subchannel that the child wants. What `hooks` counts in bytes is zero behind
 * the base and lives until the subchannel is released; `hooks` must stay. NULL without memory. */
evener_wrapped_subchannel *evener_wrapped_subchannel_create(evener_policy_helper *helper, const evener_address *address,
                                                            const evener_subchannel_options *options,
                                                            const evener_wrapped_hooks *hooks);

/* Tells the child a state. The child may release the subchannel from inside: *wrapped may be gone afterwards. */
void evener_wrapped_subchannel_tell(evener_wrapped_subchannel *wrapped, evener_connectivity_state state,
                                    const evener_status *status);

#endif
