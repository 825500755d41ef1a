/* Wrapping policy: for policies that wrap one child and only change what passes through them, picks or subchannels (as
 * evener/base_policy.h is for policies of READY subchannels). It reads `childPolicy`, holds and switches the child
 * (evener/child_policy.h), hands on updates and errors, and publishes the child's pickers, wrapped.
 *
 *     static const evener_wrapping_policy mine = {
 *         .size = sizeof mine, .config_bytes = sizeof(mine_config), .read_config = mine_read,
 *         .wrap_picker = mine_wrap};
 *     static const evener_policy_builder builder = {.size = sizeof builder,
 *                                                   .name = "mine",
 *                                                   .build = evener_wrapping_policy_build,
 *                                                   .parse_config = evener_wrapping_policy_parse_config,
 *                                                   .config_destroy = evener_wrapping_policy_config_destroy,
 *                                                   .user_data = (void *)&mine};
 *
 * examples/limit_policy.c is one of some 50 lines. */
#ifndef EVENER_WRAPPING_POLICY_H
#define EVENER_WRAPPING_POLICY_H

#include <evener/child_policy.h>
#include <evener/policy_config.h>

EVENER_BEGIN_DECLS

/* One instance, as its functions see it; borrowed, valid until state_destroy has returned. */
typedef struct evener_wrapping {
    size_t size;                  /* sizeof(evener_wrapping) of the library's evener */
    evener_policy_helper *helper; /* for the loop: random numbers, time, timers */
    const void *config;           /* what read_config filled in, as last updated; the defaults at first */
    void *state;                  /* the instance's own memory (state_bytes) */
} evener_wrapping;

/* Everything NULL or 0 is allowed: then the policy changes nothing. Control thread, except read_config (any). */
typedef struct evener_wrapping_policy {
    size_t size;                 /* sizeof(evener_wrapping_policy) */
    size_t config_bytes;         /* of the wrapper's own struct, plain memory that needs no end */
    const void *config_defaults; /* such a struct; NULL: all zero */
    /* Read the wrapper's own fields; `childPolicy` is read besides. */
    void (*read_config)(evener_policy_fields *fields, const evener_policy_set *policies, evener_policy_config *config);
    size_t state_bytes;                               /* zeroed memory per instance; or 0 */
    void (*state_destroy)(evener_wrapping *wrapping); /* stops timers and ends the state; the child is closed */
    /* wrapping->config is new; the child's update, with its builder's name `child_name`, comes after. */
    void (*configured)(evener_wrapping *wrapping, const char *child_name);
    /* Return a picker around the child's, of which it takes a reference of its own (evener_wrapping_picker_create()).
     * Called when the child publishes one and when the configuration is new. NULL, out of memory: the last one stays in
     * force. `data_offset` is where the wrapper's memory begins in the subchannels that `child` picks. */
    evener_picker *(*wrap_picker)(evener_wrapping *wrapping, evener_picker *child, size_t data_offset);
    /* As in evener_child_hooks, with the instance as owner. */
    evener_subchannel *(*create_subchannel)(evener_wrapping *wrapping, evener_child_maker maker,
                                            const evener_address *address, const evener_subchannel_options *options);
    size_t subchannel_data_bytes;
    /* Return who made a subchannel (evener_wrapped_subchannel_maker()); NULL: not known, then it is described only
     * while no child replaces another. */
    evener_child_maker (*maker_of)(evener_wrapping *wrapping, evener_subchannel *subchannel);
    /* Add to what the child has written of a subchannel. */
    void (*describe)(evener_wrapping *wrapping, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes);
} evener_wrapping_policy;

/* The three functions of a builder whose user_data is a `const evener_wrapping_policy *`. */
EVENER_API evener_policy *evener_wrapping_policy_build(const evener_policy_builder *builder,
                                                       evener_policy_helper *helper);
EVENER_API evener_status_code evener_wrapping_policy_parse_config(const evener_policy_builder *builder,
                                                                  const evener_policy_set *policies, const char *json,
                                                                  evener_policy_config **config, evener_status *status);
EVENER_API void evener_wrapping_policy_config_destroy(evener_policy_config *config);

/* ---- a picker around another ---- */

/* Its layout never changes. A wrapper with more to keep embeds an evener_picker in a struct of its own. */
typedef struct evener_wrapping_picker {
    evener_picker base;
    evener_picker *child; /* a reference */
    size_t data_offset;
    uint64_t word; /* the wrapper's own */
} evener_wrapping_picker;

/* Create one with a reference of `child`; `vtable` has the wrapper's pick and evener_wrapping_picker_destroy(). NULL:
 * out of memory. Control thread. */
EVENER_API evener_picker *evener_wrapping_picker_create(const evener_picker_vtable *vtable, evener_picker *child,
                                                        size_t data_offset, uint64_t word);
EVENER_API void evener_wrapping_picker_destroy(evener_picker *picker);

/* Let the child pick. Only inside pick(). */
static inline evener_pick_outcome evener_wrapping_picker_pick(const evener_wrapping_picker *picker,
                                                              const evener_pick_context *context, evener_pick *pick)
{
    return picker->child->vtable->pick(picker->child, context, pick);
}

/* Return the wrapper's memory in the subchannel that the child has picked. Only inside pick(). */
static inline void *evener_wrapping_picker_data(const evener_wrapping_picker *picker, const evener_pick *pick)
{
    return (char *)evener_subchannel_data(pick->subchannel) + picker->data_offset;
}

EVENER_END_DECLS

#endif
