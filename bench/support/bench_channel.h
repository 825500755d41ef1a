/* A channel over many backends that need no network: a policy to be measured. */
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
    size_t next_index; /* of the next address that is new */
    unsigned weight;
} bench_channel;

/* Opens it, waits until every backend that the policy connects is ready (with `pick_first`: one) and its picker is in
 * force. Returns false and says why on stderr. */
bool bench_channel_open(bench_channel *bench, const char *policy, size_t backends);
void bench_channel_close(bench_channel *bench);

/* What an update changes of the backends it touches. */
typedef enum bench_change {
    BENCH_CHANGE_WEIGHT, /* the attribute "weight" */
    BENCH_CHANGE_ADDRESS /* the backend: another one comes in its place */
} bench_change;

/* What an update took on the control thread, in ns from its push. */
typedef struct bench_update_times {
    uint64_t in_force_ns; /* until the picker with all that it changed was in force; 0: it failed */
    uint64_t settled_ns;  /* until what it replaced was let go as well, and nothing was left to do */
} bench_update_times;

/* Pushes the list with the first `changed` backends changed, and waits until all that follows from it is done. */
bench_update_times bench_channel_update(bench_channel *bench, bench_change change, size_t changed);

/* Waits until the control thread has done all that is to be done now. */
void bench_channel_settle(bench_channel *bench);

#endif
