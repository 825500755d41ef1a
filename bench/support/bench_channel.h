/* A channel over many backends without a network, for measuring a policy. */
#ifndef BENCH_SUPPORT_BENCH_CHANNEL_H
#define BENCH_SUPPORT_BENCH_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/evener.h>

#include "bench/support/instant_transport.h"
#include "bench/support/timed_policy.h"

typedef struct bench_channel {
    evener_runtime *runtime;
    instant_transport transport;
    timed_policy policy;
    evener_manual_resolver *resolver;
    evener_channel *channel;
    evener_address **addresses;
    size_t backends;
    size_t next_index; /* index of the next new address */
    unsigned weight;
} bench_channel;

/* Open the channel and wait until every backend that the policy connects is READY (with pick_first: one) and the
 * picker over them is published. Return false after printing the reason on stderr. */
bool bench_channel_open(bench_channel *bench, const char *policy, size_t backends);
void bench_channel_close(bench_channel *bench);

/* Return evener's memory per backend, as if eight threads picked; `before`: bench_bytes_in_use() before the channel was
 * opened. */
double bench_channel_bytes_per_backend(const bench_channel *bench, size_t before);

/* What an update changes in the backends it touches. */
typedef enum bench_change {
    BENCH_CHANGE_WEIGHT, /* the attribute "weight" */
    BENCH_CHANGE_ADDRESS /* the backend: a new one replaces it */
} bench_change;

/* The duration of an update on the control thread, in ns from its push. */
typedef struct bench_update_times {
    uint64_t in_force_ns; /* until the picker with all changes was published; 0: the update failed */
    uint64_t settled_ns;  /* until everything it replaced was released and no work was left */
} bench_update_times;

/* Push the list with the first `changed` backends changed, and wait until all work that follows is done. */
bench_update_times bench_channel_update(bench_channel *bench, bench_change change, size_t changed);

/* Wait until the control thread has no work left. */
void bench_channel_settle(bench_channel *bench);

#endif
