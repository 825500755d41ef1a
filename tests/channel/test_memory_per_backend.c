/* Memory per backend, in the measurement of bench_update. */
#include <criterion/criterion.h>

#include "bench/support/bench_channel.h"
#include "bench/support/measure.h"

#define BACKENDS 10000
#define BYTES_MAX 512 /* docs/architecture.md has the account */

static void stays_below_the_limit(const char *policy)
{
    bench_channel bench;
    const size_t before = bench_bytes_in_use();
    cr_assert(bench_channel_open(&bench, policy, BACKENDS));
    const double bytes = bench_channel_bytes_per_backend(&bench, before);
    bench_channel_close(&bench);
    cr_expect_leq(bytes, BYTES_MAX, "%s takes %.1f bytes per backend", policy, bytes);
    cr_expect_geq(bytes, 128, "%s: %.1f bytes per backend are not measured", policy, bytes);
}

Test(memory_per_backend, b7_p2c_ewma_takes_at_most_512_bytes)
{
    stays_below_the_limit("p2c_ewma");
}

Test(memory_per_backend, b7_round_robin_takes_at_most_512_bytes)
{
    stays_below_the_limit("round_robin");
}
