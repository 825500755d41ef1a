/* Base policy: for policies that only need "build a picker from the READY subchannels" (as grpc-go's balancer/base).
 *
 * The base keeps one subchannel per address, connected at all times, aggregates their states, keeps a failing
 * subchannel failing through its retries (A62), and calls `build_picker` with every change of the READY set or of its
 * attributes. examples/weighted_dice.c is a weighted random policy on it.
 *
 *     static const evener_base_policy mine = {
 *         .size = sizeof mine, .build_picker = mine_build_picker};
 *     static const evener_policy_builder builder = {
 *         .size = sizeof builder, .name = "weighted_dice", .build = evener_base_policy_build, .user_data = &mine}; */
#ifndef EVENER_BASE_POLICY_H
#define EVENER_BASE_POLICY_H

#include <evener/policy.h>

EVENER_BEGIN_DECLS

/* Keeps subchannels valid for a picker. Control thread. */
typedef struct evener_base_hold evener_base_hold;

/* What build_picker is given; borrowed for the call. */
typedef struct evener_base_ready {
    size_t size;                           /* sizeof(evener_base_ready) */
    evener_subchannel *const *subchannels; /* READY ones, in the order of the address list; at least one */
    size_t count;
    const evener_policy_config *config; /* of the policy's own parse_config; NULL: defaults */
    evener_policy_helper *helper;       /* for the loop: random numbers, time */
    void *state;                        /* the policy instance's own memory (state_bytes) */
    const uint64_t *ready_since_ns;     /* when each got READY, on the loop's clock */
    /* After this time the picker is built again at the latest: for one whose weights move. 0, its value at first:
     * only with the next change. */
    uint64_t *rebuild_after_ns;
    /* Of `subchannels`: a picker that takes a reference of it needs none of the single subchannels. With 1,000,000
     * backends those cost 20 ms per picker. NULL where no picker is built (subchannel_created). */
    evener_base_hold *hold;
} evener_base_ready;

/* Take a reference of a hold, and give it back when the picker is destroyed; NULL is allowed there. Control thread. */
EVENER_API evener_base_hold *evener_base_hold_ref(evener_base_hold *hold);
EVENER_API void evener_base_hold_unref(evener_base_hold *hold);

typedef struct evener_base_policy {
    size_t size; /* sizeof(evener_base_policy) */
    /* Make a picker that holds references to the subchannels it can pick, or one to `ready->hold`. NULL if out of memory: the last picker stays
     * in force and the base tries again. Control thread. */
    evener_picker *(*build_picker)(const evener_base_ready *ready);
    size_t subchannel_data_bytes;                /* evener_subchannel_options.data_bytes */
    void (*subchannel_data_destroy)(void *data); /* or NULL */
    size_t state_bytes;                          /* zeroed memory per instance of the policy, freed with it; or 0 */
    void (*state_destroy)(void *state);          /* ends its contents; or NULL */
    /* Called once for every new subchannel, before it connects; or NULL. Control thread. */
    void (*subchannel_created)(const evener_base_ready *peers, evener_subchannel *subchannel);
    /* For evener_channel_get_stats(); or NULL. */
    void (*describe)(void *state, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes);
    /* The policy goes by the attribute "weight": READY subchannels of weight 0 are left out of `subchannels`, so that
     * they drain, unless all have weight 0. */
    bool by_weight;
} evener_base_policy;

/* The `build` of a builder whose user_data is a `const evener_base_policy *`. */
EVENER_API evener_policy *evener_base_policy_build(const evener_policy_builder *builder, evener_policy_helper *helper);

EVENER_END_DECLS

#endif
