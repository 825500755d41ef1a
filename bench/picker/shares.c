#include "bench/picker/shares.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#include "bench/support/output.h"

#define PICKS_PER_BACKEND 5000
#define BACKENDS_MAX 64

/* Return the allowed deviation of a backend's count from the mean. Negative: the count only has to be above zero. */
static double tolerance(const char *policy)
{
    if (strcmp(policy, "round_robin") == 0 || strcmp(policy, "weighted_round_robin") == 0) {
        return 2;
    }
    if (strcmp(policy, "ring_hash") == 0 || strcmp(policy, "p2c_ewma") == 0) {
        return -1;
    }
    return PICKS_PER_BACKEND / 10;
}

typedef struct counts {
    const evener_subchannel *subchannels[BACKENDS_MAX];
    uint64_t picks[BACKENDS_MAX];
    size_t used;
} counts;

static void count(counts *all, const evener_subchannel *subchannel)
{
    size_t i = 0;
    while (i < all->used && all->subchannels[i] != subchannel) {
        i++;
    }
    if (i == all->used) {
        if (i == BACKENDS_MAX) {
            return;
        }
        all->subchannels[all->used++] = subchannel;
    }
    all->picks[i]++;
}

void bench_check_shares(evener_channel *channel, const char *policy, size_t backends)
{
    counts all = {.used = 0};
    evener_pick_args args = {.size = sizeof args, .has_hash = strcmp(policy, "ring_hash") == 0};
    for (size_t i = 0; i < backends * PICKS_PER_BACKEND; i++) {
        evener_pick pick;
        args.hash += args.has_hash ? UINT64_C(0x9e3779b97f4a7c15) : 0;
        if (evener_channel_try_pick(channel, &args, &pick, NULL) == EVENER_PICK_COMPLETE) {
            count(&all, pick.subchannel);
            evener_pick_done(&pick, NULL);
        }
    }
    const size_t wanted = strcmp(policy, "pick_first") == 0 ? 1 : backends;
    if (all.used != wanted) {
        bench_complain("%s: %zu of %zu backends were picked, expected %zu", policy, all.used, backends, wanted);
        return;
    }
    for (size_t i = 0; i < all.used && wanted > 1; i++) {
        const double off = fabs((double)all.picks[i] - PICKS_PER_BACKEND);
        if (tolerance(policy) >= 0 && off > tolerance(policy)) {
            bench_complain("%s: a backend gets %llu of %zu picks, not %d", policy, (unsigned long long)all.picks[i],
                           backends * PICKS_PER_BACKEND, PICKS_PER_BACKEND);
        }
    }
}
