/* Child policy: what a policy that wraps another is made of.
 *
 * It holds the child and replaces it without a gap when the configuration names another policy (core and grpc-go:
 * graceful switch). The new policy takes over when it is not CONNECTING any more, or at once if the one in force is not
 * READY. Only the newest policy gets updates: the one in force keeps the list and the configuration that it has until
 * it is replaced. The channel itself and all wrapping policies of evener use it.
 *
 *     self->child = evener_child_policy_create(helper, &hooks, self);                      // in `build`
 *     return evener_child_policy_update(self->child, &config->child, update, status);      // in `update`
 *     evener_child_policy_destroy(self->child);                                            // in `close`
 *
 * Subchannels and pickers of the child pass through the hooks on their way to the wrapper's parent. A wrapper that
 * changes what its child sees of a connection creates wrapped subchannels, below.
 *
 * Control thread, all of it. docs/writing-plugins.md has a whole wrapping policy. */
#ifndef EVENER_CHILD_POLICY_H
#define EVENER_CHILD_POLICY_H

#include <stddef.h>

#include <evener/policy.h>
#include <evener/subchannel.h>

EVENER_BEGIN_DECLS

typedef struct evener_child_policy evener_child_policy;

/* Which policy made a subchannel: the one in force or its successor. An opaque mark, to be compared and handed back. */
typedef const void *evener_child_maker;

/* What the wrapper does with what its child does. */
typedef struct evener_child_hooks {
    size_t size; /* sizeof(evener_child_hooks) */
    /* See evener_policy_create_subchannel(). `options` are complete: options->data_bytes is of child and wrapper
     * together. NULL: it is created with the parent as it is. */
    evener_subchannel *(*create_subchannel)(void *owner, evener_child_maker maker, const evener_address *address,
                                            const evener_subchannel_options *options);
    /* See evener_policy_publish(): takes over the reference of `picker`, which may be NULL (out of memory: the last one
     * stays in force). The subchannels that `picker` picks have the wrapper's memory at `data_offset` of
     * evener_subchannel_data(). NULL: it is published with the parent as it is. */
    void (*publish)(void *owner, evener_connectivity_state state, const evener_status *status, evener_picker *picker,
                    size_t data_offset);
    /* Of the wrapper's own memory in each subchannel, zeroed and 64-byte aligned, the last `data_bytes` of the
     * subchannel's; or 0. */
    size_t data_bytes;
} evener_child_hooks;

/* Create one without a policy: the first update brings it. `parent` must outlive it; `hooks` are copied; `owner` is
 * their first argument. NULL: out of memory, or hooks->size is not set (logged). */
EVENER_API evener_child_policy *evener_child_policy_create(evener_policy_helper *parent,
                                                           const evener_child_hooks *hooks, void *owner);

/* Close the policies and free it. Not from inside a hook. No hook is called after. NULL is allowed. */
EVENER_API void evener_child_policy_destroy(evener_child_policy *child);

/* Hand the addresses and the choice's configuration to the policy that the choice names; update->config is not read.
 * Keep a reference to the configuration for as long as the policy needs it. (One that evener_policy_choose() did not
 * make must live until destroy.) Errors: those of the policy; RESOURCE_EXHAUSTED (then nothing has changed). `status`
 * may be NULL. */
EVENER_API evener_status_code evener_child_policy_update(evener_child_policy *child, const evener_policy_choice *choice,
                                                         const evener_policy_update *update, evener_status *status);

/* Hand the error to the newest policy; nothing without one. */
EVENER_API void evener_child_policy_resolver_error(evener_child_policy *child, const evener_status *status);

/* Connect if IDLE: the policy in force and its successor. */
EVENER_API void evener_child_policy_exit_idle(evener_child_policy *child);

/* Return the name of the policy in force, or "". Valid until the next update. */
EVENER_API const char *evener_child_policy_name(const evener_child_policy *child);

/* Write what the policy in force knows of a subchannel, "" if that is nothing or if it did not make it. `maker` NULL
 * (not known) counts as the policy in force while there is no other. */
EVENER_API void evener_child_policy_describe(evener_child_policy *child, evener_child_maker maker,
                                             evener_subchannel *subchannel, char *buffer, size_t buffer_bytes);

/* ---- wrapped subchannels ---- */

/* One subchannel of the child. The wrapper listens to it and notifies the child of what the child is to see. */
typedef struct evener_wrapped_subchannel evener_wrapped_subchannel;

typedef struct evener_wrapped_hooks {
    size_t size;       /* sizeof(evener_wrapped_hooks) */
    size_t data_bytes; /* of the wrapper's own data per wrapped subchannel */
    /* evener_wrapped_subchannel_state() is new. Never from inside create. NULL: the child is notified of it as it
     * is. */
    void (*state_changed)(evener_wrapped_subchannel *wrapped, const evener_status *status);
    /* The child has released it: the memory is freed when this returns. NULL: nothing to do. */
    void (*released)(evener_wrapped_subchannel *wrapped);
} evener_wrapped_hooks;

/* Create the subchannel that the child wants, in a create_subchannel hook, which returns
 * (evener_wrapped_subchannel_get()). It lives until the child releases that. `hooks` are copied. NULL: out of memory,
 * or a size is not set (logged). */
EVENER_API evener_wrapped_subchannel *evener_wrapped_subchannel_create(evener_policy_helper *parent,
                                                                       evener_child_maker maker,
                                                                       const evener_address *address,
                                                                       const evener_subchannel_options *options,
                                                                       const evener_wrapped_hooks *hooks);

EVENER_API evener_subchannel *evener_wrapped_subchannel_get(const evener_wrapped_subchannel *wrapped);

/* Return the wrapper's own data: hooks->data_bytes, zeroed at first, aligned for any type. */
EVENER_API void *evener_wrapped_subchannel_data(evener_wrapped_subchannel *wrapped);

/* Return the connection's state as last reported; the child may have been notified of another one. IDLE at first. */
EVENER_API evener_connectivity_state evener_wrapped_subchannel_state(const evener_wrapped_subchannel *wrapped);

/* Return which policy made it, for evener_child_policy_describe(). */
EVENER_API evener_child_maker evener_wrapped_subchannel_maker(const evener_wrapped_subchannel *wrapped);

/* Notify the child of a state. The child may release the subchannel meanwhile: `wrapped` may be freed when this
 * returns. Not from inside the child's create_subchannel. */
EVENER_API void evener_wrapped_subchannel_notify(evener_wrapped_subchannel *wrapped, evener_connectivity_state state,
                                                 const evener_status *status);

EVENER_END_DECLS

#endif
