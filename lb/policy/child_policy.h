/* Child policy: what a policy that wraps another is made of. It holds the child, and replaces it without a gap when the
 * configuration names another policy: the new one takes over when it is not CONNECTING any more, or at once if the old
 * one is not READY. Subchannels and pickers pass through the wrapper's hands on their way. Control thread. */
#ifndef EVENER_LB_POLICY_CHILD_POLICY_H
#define EVENER_LB_POLICY_CHILD_POLICY_H

#include <evener/policy.h>

typedef struct evener_child_policy evener_child_policy;

/* What the wrapper does with what its child does. */
typedef struct evener_child_hooks {
    /* See evener_policy_create_subchannel(). `data_offset` is where the wrapper's own memory begins, of which the
     * subchannel has `data_bytes`: options->data_bytes is of child and wrapper together already. */
    evener_subchannel *(*create_subchannel)(void *owner, const evener_address *address,
                                            const evener_subchannel_options *options);
    /* See evener_policy_publish(). The subchannels that `picker` picks have the wrapper's memory at `data_offset`. */
    void (*publish)(void *owner, evener_connectivity_state state, const evener_status *status, evener_picker *picker,
                    size_t data_offset);
    size_t data_bytes; /* of the wrapper's own memory in each subchannel; or 0 */
} evener_child_hooks;

/* `hooks` must stay. NULL without memory. */
evener_child_policy *evener_child_policy_create(evener_policy_helper *parent, const evener_child_hooks *hooks,
                                                void *owner);

/* Closes the child. Not from inside one of the hooks. */
void evener_child_policy_destroy(evener_child_policy *child);

/* Hands addresses and the choice's configuration to the child that the choice names. update->config is not read. */
evener_status_code evener_child_policy_update(evener_child_policy *child, const evener_policy_choice *choice,
                                              const evener_policy_update *update, evener_status *status);

void evener_child_policy_resolver_error(evener_child_policy *child, const evener_status *status);
void evener_child_policy_exit_idle(evener_child_policy *child);
void evener_child_policy_describe(evener_child_policy *child, evener_subchannel *subchannel, char *buffer,
                                  size_t buffer_bytes);

#endif
