/* Policy: load-balancing policy. Takes updates and state changes, creates and drops subchannels, publishes pickers.
 *
 * A policy is two small tables: a builder, chosen by name, and what an instance does. One that only needs "build a
 * picker from the READY subchannels" uses evener/base_policy.h instead and is some 50 lines.
 *
 * Everything here runs on the control thread, one call at a time, and must not block; only pickers run elsewhere. */
#ifndef EVENER_POLICY_H
#define EVENER_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <evener/address.h>
#include <evener/connectivity.h>
#include <evener/loop.h>
#include <evener/picker.h>
#include <evener/status.h>
#include <evener/subchannel.h>

EVENER_BEGIN_DECLS

typedef struct evener_policy evener_policy;
typedef struct evener_policy_helper evener_policy_helper;
typedef struct evener_policy_builder evener_policy_builder;
typedef struct evener_policy_set evener_policy_set;

/* ---- what a policy is given ---- */

typedef struct evener_policy_helper_vtable {
    size_t size; /* sizeof(evener_policy_helper_vtable) */
    evener_subchannel *(*create_subchannel)(evener_policy_helper *helper, const evener_address *address,
                                            const evener_subchannel_options *options);
    void (*publish)(evener_policy_helper *helper, evener_connectivity_state state, const evener_status *status,
                    evener_picker *picker);
    void (*request_reresolution)(evener_policy_helper *helper);
} evener_policy_helper_vtable;

/* The channel, as its policy sees it; or a wrapping policy, as its child sees it. Valid until close() of the policy. A
 * wrapper that embeds one of its own fills it with evener_policy_helper_init(); most need none, as
 * evener/child_policy.h has it. Members are only added at the end: one that a newer evener added is there if `size`
 * says so. */
struct evener_policy_helper {
    size_t size; /* sizeof(evener_policy_helper) of its creator */
    const evener_policy_helper_vtable *vtable;
    evener_loop *loop;                 /* time, timers, random numbers */
    const evener_policy_set *policies; /* the builders this channel sees, for children */
    const char *target;                /* the channel's target, for logs */
    const char *authority;             /* the channel's :authority */
    const char *list_source;           /* what the resolver says of its last list ("dns 10.0.0.53:53 (NXDOMAIN)"); "" */
};

/* Give `helper` the contents of `parent`, with functions of the caller's own. `helper` may be of an
 * older or a newer evener than `parent`: what only one of them knows is left out, or zero. `vtable` must stay valid.
 * Control thread. */
static inline void evener_policy_helper_init(evener_policy_helper *helper, const evener_policy_helper *parent,
                                             const evener_policy_helper_vtable *vtable)
{
    memset(helper, 0, sizeof *helper);
    memcpy(helper, parent, parent->size < sizeof *helper ? parent->size : sizeof *helper);
    helper->size = sizeof *helper;
    helper->vtable = vtable;
}

/* Create a subchannel in state IDLE or, if the channel has the address already, in its state (reported by state_changed
 * soon after). NULL if out of memory. A wrapper may change `options` (listen first, then notify its child). Ended with
 * evener_subchannel_release(). */
static inline evener_subchannel *evener_policy_create_subchannel(evener_policy_helper *helper,
                                                                 const evener_address *address,
                                                                 const evener_subchannel_options *options)
{
    return helper->vtable->create_subchannel(helper, address, options);
}

/* Publish the policy's state and the picker for it, replacing the last; take over the caller's reference of `picker`.
 * `status` is the reason with TRANSIENT_FAILURE, otherwise it may be NULL. A NULL picker (out of memory) keeps the last
 * one. In the same turn as a release, publish may come before or after it. */
static inline void evener_policy_publish(evener_policy_helper *helper, evener_connectivity_state state,
                                         const evener_status *status, evener_picker *picker)
{
    helper->vtable->publish(helper, state, status, picker);
}

/* Answer an update with an empty list as every policy must: publish TRANSIENT_FAILURE with a picker that fails. The
 * message names the target and what the resolver says of the list. Return UNAVAILABLE and fill `status`, which may be
 * NULL, for `update` to return. The policy releases its
 * subchannels itself. */
EVENER_API evener_status_code evener_policy_fail_empty(evener_policy_helper *helper, evener_status *status);

/* Ask for a new resolution: the addresses may be stale. */
static inline void evener_policy_request_reresolution(evener_policy_helper *helper)
{
    helper->vtable->request_reresolution(helper);
}

/* A parsed configuration, made by the builder's parse_config and ended by its config_destroy; NULL: defaults. */
typedef void evener_policy_config;

typedef struct evener_policy_update {
    size_t size;                      /* sizeof(evener_policy_update) */
    evener_address *const *addresses; /* borrowed, no duplicates of one backend; the whole list */
    size_t address_count;
    const evener_policy_config *config; /* lives until the next update has returned, or close() */
    /* Difference to an earlier update: if the policy's last update was number `previous_list_id`, then the first
     * `same_first` and the last `same_last` addresses are the same objects as in that update. Policies may use this to
     * save work. 0: unknown. A wrapping policy that passes another list to its child sets these members to 0. */
    uint64_t list_id, previous_list_id;
    size_t same_first, same_last;
} evener_policy_update;

/* ---- what a policy does ---- */

typedef struct evener_policy_vtable {
    size_t size; /* sizeof(evener_policy_vtable) */
    /* Take a new list, a new configuration, or both. Return OK, or why it cannot be used: the resolver then backs off
     * and tries again. `status` may be NULL (evener_status_set() allows that). An empty list must be answered with
     * evener_policy_fail_empty() and the subchannels released. */
    evener_status_code (*update)(evener_policy *policy, const evener_policy_update *update, evener_status *status);
    /* Handle a failed resolution. With a list, ignore it; without one, publish TRANSIENT_FAILURE with the status. */
    void (*resolver_error)(evener_policy *policy, const evener_status *status);
    /* Connect if IDLE: a call is waiting, or the application asked. NULL if the policy is never IDLE. */
    void (*exit_idle)(evener_policy *policy);
    /* Release all subchannels and free the policy; the helper must not be used after. The published picker lives on
     * until it is replaced. Never called from inside the policy's own call of the helper. */
    void (*close)(evener_policy *policy);
    /* Write what the policy knows of a subchannel for evener_channel_get_stats(): "ewma_us=312 success=0.998".
     * Leave "" if nothing is known. May be NULL. */
    void (*describe)(evener_policy *policy, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes);
} evener_policy_vtable;

/* Embedded first in every policy. */
struct evener_policy {
    const evener_policy_vtable *vtable;
};

struct evener_policy_builder {
    size_t size;      /* sizeof(evener_policy_builder) */
    const char *name; /* as in a service config: "round_robin" */
    /* Make a policy; the first update follows. NULL if out of memory. Control thread. */
    evener_policy *(*build)(const evener_policy_builder *builder, evener_policy_helper *helper);
    /* Parse and check the policy's part of `loadBalancingConfig` (the text of one JSON object, never NULL). Unknown
     * fields are ignored; a known one with a bad type or value is INVALID_ARGUMENT with a message that names it (A21).
     * NULL: the policy has no parameters. `policies` is for children. Any thread. */
    evener_status_code (*parse_config)(const evener_policy_builder *builder, const evener_policy_set *policies,
                                       const char *json, evener_policy_config **config, evener_status *status);
    void (*config_destroy)(evener_policy_config *config); /* NULL is never given. Any thread */
    void *user_data;                                      /* the builder's own */
};

/* ---- registry ---- */

/* Add a builder for the whole process, or replace that of its name; it must stay valid from then on (static).
 * Errors: INVALID_ARGUMENT (no name, no build). Any thread. */
EVENER_API evener_status_code evener_policy_register(const evener_policy_builder *builder, evener_status *status);

/* The builders one channel sees: its own first, then the process's. */
struct evener_policy_set {
    const evener_policy_builder *const *own;
    size_t own_count;
};

/* Return the builder of a name, or NULL. `set` may be NULL: only the process's registry. Any thread. */
EVENER_API const evener_policy_builder *evener_policy_find(const evener_policy_set *set, const char *name);

/* ---- policies made of policies ---- */

/* A policy chosen, with its configuration: what `[{"round_robin": {}}]` means. Its layout never changes: what is added
 * goes behind `shared`. */
typedef struct evener_policy_choice {
    const evener_policy_builder *builder;
    evener_policy_config *config; /* owned; NULL: defaults */
    /* evener's: counts the users of `config`, so that a policy in force keeps it after the choice is cleared
     * (evener_child_policy_update()). NULL in a choice made by hand. */
    void *shared;
} evener_policy_choice;

/* Read the JSON text of a `loadBalancingConfig` list: the first entry whose policy is known wins; none known, or a bad
 * configuration of the first known, is an error (A24). `where` names the place for messages
 * ("loadBalancingConfig", "outlier_detection.childPolicy"). Ended with evener_policy_choice_clear(). Any thread. */
EVENER_API evener_status_code evener_policy_choose(const evener_policy_set *set, const char *json, const char *where,
                                                   evener_policy_choice *choice, evener_status *status);
/* Release what a choice holds, and empty it. NULL and an empty choice are allowed. Any thread. */
EVENER_API void evener_policy_choice_clear(evener_policy_choice *choice);

EVENER_END_DECLS

#endif
