/* A policy that wraps another one and records when its latest picker was published. */
#ifndef BENCH_SUPPORT_TIMED_POLICY_H
#define BENCH_SUPPORT_TIMED_POLICY_H

#include <stdint.h>

#include <evener/policy.h>

typedef struct timed_policy {
    evener_policy_builder builder; /* for evener_channel_options.policies */
    const evener_policy_builder *timed;
    uint64_t in_force_ns; /* by bench_now_ns(); 0: not yet. Control thread */
} timed_policy;

/* Initialise a builder with the name of `timed`, without configuration. It must outlive the channel. */
void timed_policy_init(timed_policy *self, const evener_policy_builder *timed);

#endif
