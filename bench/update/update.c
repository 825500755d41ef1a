/* Updates and memory: how long a new list takes until its picker is published, and the memory per backend.
 *
 *     bench_update [--quick] [--output=FILE]
 *
 * The memory is that of a program with eight threads that pick.
 *
 * Times are measured on the control thread and begin with the push of the list. `us` ends when the picker with all
 * changes is published: from then on calls follow the new list. `settled_us` ends when everything the update
 * replaced is released and only work that waits for a grace period is left. Neither includes the creation of the
 * addresses.
 *
 * The transport is ready at once and takes its connections from preallocated memory
 * (bench/support/instant_transport.h). The bench thus measures evener: finding what is new, creating a backend with
 * its connection attempt and timer, handling READY, and building and publishing the picker. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/support/bench_channel.h"
#include "bench/support/measure.h"
#include "bench/support/output.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *const policies[] = {"round_robin", "p2c_ewma"};
static const size_t all_backends[] = {10, 100, 1000, 10000, 100000};
#define QUICK_BACKENDS_MAX 10000

static void measure_updates(json_t *rows, bench_channel *bench, const char *policy, unsigned passes)
{
    const size_t changed[] = {1, bench->backends / 100, bench->backends};
    static const char *const shares[] = {"1", "1 %", "all"};
    static const char *const kinds[] = {[BENCH_CHANGE_WEIGHT] = "weight", [BENCH_CHANGE_ADDRESS] = "address"};
    for (size_t c = 0; c < COUNT(changed); c++) {
        for (bench_change change = BENCH_CHANGE_WEIGHT; change <= BENCH_CHANGE_ADDRESS; change++) {
            if (changed[c] == 0 || (c > 0 && changed[c] == changed[c - 1])) {
                continue;
            }
            bench_figure us = {0}, settled_us = {0};
            for (unsigned pass = 0; pass < passes; pass++) {
                const bench_update_times times = bench_channel_update(bench, change, changed[c]);
                if (times.in_force_ns == 0) {
                    bench_complain("an update of %zu backends failed", bench->backends);
                    return;
                }
                bench_figure_add(&us, (double)times.in_force_ns / 1e3);
                bench_figure_add(&settled_us, (double)times.settled_ns / 1e3);
            }
            json_t *row =
                json_pack("{s:s, s:I, s:I, s:s, s:s}", "policy", policy, "backends", (json_int_t)bench->backends,
                          "changed", (json_int_t)changed[c], "share", shares[c], "what", kinds[change]);
            bench_set_figure(row, "us", &us);
            bench_set_figure(row, "settled_us", &settled_us);
            json_array_append_new(rows, row);
            bench_progress("update  %-12s %6zu backends, %6zu with another %-8s %9.0f us, best %.0f, settled %.0f",
                           policy, bench->backends, changed[c], kinds[change], bench_figure_median(&us),
                           bench_figure_min(&us), bench_figure_median(&settled_us));
        }
    }
}

static void measure_policy(json_t *updates, json_t *memory, const char *policy, size_t backends, unsigned passes)
{
    bench_channel bench;
    size_t before = bench_bytes_in_use();
    if (!bench_channel_open(&bench, policy, backends)) {
        bench_complain("a channel of %s over %zu backends does not open", policy, backends);
        return;
    }
    const double per_backend = bench_channel_bytes_per_backend(&bench, before);
    json_array_append_new(memory, json_pack("{s:s, s:I, s:I}", "policy", policy, "backends", (json_int_t)backends,
                                            "bytes_per_backend", (json_int_t)(per_backend + 0.5)));
    bench_progress("memory  %-12s %6zu backends %7.0f bytes per backend", policy, backends, per_backend);
    measure_updates(updates, &bench, policy, passes);
    bench_channel_close(&bench);
}

int main(int argc, char **argv)
{
    bool quick;
    const char *output;
    if (!bench_arguments(argc, argv, "bench_update", &quick, &output)) {
        return 2;
    }
    json_t *updates = json_array();
    json_t *memory = json_array();
    for (size_t p = 0; p < COUNT(policies); p++) {
        for (size_t b = 0; b < COUNT(all_backends); b++) {
            if (evener_policy_find(NULL, policies[p]) != NULL && (!quick || all_backends[b] <= QUICK_BACKENDS_MAX)) {
                measure_policy(updates, memory, policies[p], all_backends[b],
                               quick || all_backends[b] > QUICK_BACKENDS_MAX ? 3 : 25);
            }
        }
    }
    return bench_finish(json_pack("{s:o, s:o}", "update", updates, "memory", memory), output);
}
