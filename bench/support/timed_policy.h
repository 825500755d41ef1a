/* A policy that lets another one do everything, and notes when the last picker of it was put in force. */
#ifndef BENCH_SUPPORT_TIMED_POLICY_H
#define BENCH_SUPPORT_TIMED_POLICY_H

#include <stdint.h>

#include <evener/policy.h>

typedef struct timed_policy {
    evener_policy_builder builder; /* for evener_channel_options.policies */
    const evener_policy_builder *timed;
    uint64_t in_force_ns; /* by bench_now_ns(); 0: never yet. Control thread */
} timed_policy;

/* Prepares a builder of the same name as `timed`, without a configuration. It must outlive the channel. */
void timed_policy_init(timed_policy *self, const evener_policy_builder *timed);

#endif
