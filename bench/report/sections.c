#include "bench/report/sections.h"

#include <stdio.h>
#include <string.h>

#include "bench/report/compare.h"
#include "bench/report/tables.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ONE_THREAD                                                                                                     \
    {"threads", "1"},                                                                                                  \
    {                                                                                                                  \
        "updates_per_s", "0"                                                                                           \
    }
#define TEN                                                                                                            \
    {                                                                                                                  \
        "backends", "10"                                                                                               \
    }
#define NOISE_PERCENT_MAX 5

static const char *plots_folder;

static void plot(const char *name, const char *title)
{
    if (plots_folder != NULL) {
        printf("\n![%s](%s/%s.svg)\n", title, plots_folder, name);
    }
}

/* ---- the machine ---- */

static void print_machine(const json_t *machine)
{
    const char *key;
    json_t *value;
    printf("\n## The machine\n\n");
    json_object_foreach((json_t *)machine, key, value)
    {
        printf("- %s: ", key);
        if (json_is_string(value)) {
            printf("%s\n", json_string_value(value));
        } else if (json_is_boolean(value)) {
            printf("%s\n", json_is_true(value) ? "yes" : "no");
        } else {
            printf("%g\n", json_number_value(value));
        }
    }
    const double before = json_number_value(json_object_get(machine, "noise_percent"));
    const double after = json_number_value(json_object_get(machine, "noise_percent_at_end"));
    const bool is_quiet = before <= NOISE_PERCENT_MAX && after <= NOISE_PERCENT_MAX;
    printf("\nNoise is how much longer the same work takes at the median than at best, before and after the "
           "run: %.1f %% and %.1f %%. %s\n",
           before, after,
           is_quiet
               ? "The machine was quiet: the medians are reliable."
               : "**The machine was not quiet: the figures in brackets (the best passes) are more reliable than the "
                 "medians.**");
}

/* ---- picks ---- */

static void print_pivot(const json_t *rows, const char *title, const pivot_spec *spec)
{
    printf("\n%s\n", title);
    table_print_pivot(rows, spec);
}

/* Calls of the peers' clients; nothing without them. */
static void print_peer_calls(const json_t *calls)
{
    static const char *const keys[TABLE_KEYS_MAX] = {"system",      "policy",          "in_flight", "payload_bytes",
                                                     "calls_per_s", "cpu_us_per_call", "p50_us",    "p99_us"};
    static const table_only all[TABLE_ONLY_MAX];
    if (json_array_size(calls) > 0) {
        printf(
            "\n**Calls of their clients** over loopback to three demo servers, in the same run: compare with \"Calls "
            "over loopback\".\n");
        table_print_rows(calls, keys, all);
    }
}

static void print_connected_picks(const json_t *rows)
{
    static const char *const keys[TABLE_KEYS_MAX] = {"policy",  "transport",       "one_thread_ns", "two_threads_ns",
                                                     "speedup", "speedup_quarter", "over_bare"};
    static const table_only all[TABLE_ONLY_MAX];
    printf(
        "\n**Picks over connections**: pick + done with 10 backends READY on `http2`, in turns with the bare picker, "
        "which is the same over a transport that carries nothing (ns of the clock on the wall, of all threads "
        "together). `speedup` is one thread's time over that of two, `over_bare` the time of one thread over the bare "
        "picker's in the same pass; medians of the passes.\n");
    table_print_rows(rows, keys, all);
}

/* What connections and channels cost. */
static void print_scale(const json_t *rows)
{
    static const struct {
        const char *title;
        const char *keys[TABLE_KEYS_MAX];
        table_only only[TABLE_ONLY_MAX];
    } tables[] = {
        {"**From the first function to the first answer** of a process: create a channel to one backend, connect, call "
         "(us; the core's `grpc_init()` is part of it, the loading of the program is not)",
         {"client", "wall_us", "wall_us_min", "cpu_us"},
         {{"what", "start"}}},
        {"**1,000 channels to the same 10 backends**: time until all are READY, time to close them one after the other "
         "(us), growth of the resident memory (KiB), and connections at the server",
         {"client", "wall_us", "wall_us_min", "close_us", "close_us_min", "kib", "connections"},
         {{"what", "channels"}}},
        {"**3,000 backends of one channel**: per backend, until all are connected (us)",
         {"client", "wall_us", "wall_us_min", "cpu_us", "cpu_us_min", "connections"},
         {{"what", "connect"}}}};
    printf("\n## Connections and channels\n\nBeside the plain C core with round_robin, in turns in one run; each "
           "measurement in a process of its own, whose program links only what the client needs.\n");
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        printf("\n%s\n", tables[i].title);
        table_print_rows(rows, tables[i].keys, tables[i].only);
    }
}

static void print_picks(const json_t *results, const json_t *published)
{
    static const char *const floor[TABLE_KEYS_MAX] = {"what", "threads", "ns", "ns_min"};
    static const char *const distribution[TABLE_KEYS_MAX] = {
        "policy",
        "distribution_ns.p1",
        "distribution_ns.p50",
        "distribution_ns.p90",
        "distribution_ns.p99",
        "distribution_ns.p999",
        "distribution_ns.p9999",
        "distribution_ns.max",
    };
    static const char *const speedup[TABLE_KEYS_MAX] = {
        "policy", "backends", "speedup", "speedup_quarter", "speedup_three_quarters", "passes_left_out"};
    static const table_only all[TABLE_ONLY_MAX], ten[TABLE_ONLY_MAX] = {TEN, ONE_THREAD};
    const json_t *picker = json_object_get(results, "picker");
    printf("\n## Picks\n\nThrough the public `evener_channel_try_pick` and `evener_pick_done`, over a transport "
           "that carries nothing. Nanoseconds of the clock on the wall, of all threads together. Two threads that do "
           "not disturb each other show half the figure of one; more threads than processors cannot show less. "
           "Median of the passes, with the best "
           "pass in brackets. The bench fails if a picking thread allocates memory or if the share of a backend "
           "is not what its policy promises.\n");
    plot("picker", "pick + done by backends");
    print_pivot(picker, "**pick + done, one thread, by backends** (ns)",
                &(pivot_spec){{"policy"}, {"backends"}, "pick_done_ns", {ONE_THREAD}, false});
    print_pivot(picker, "**pick alone, one thread, by backends** (ns): batches of 256 picks, whose ends are not timed",
                &(pivot_spec){{"policy"}, {"backends"}, "pick_ns", {ONE_THREAD}, false});
    print_pivot(picker,
                "**pick + done with 64 picks in flight, one thread, by backends** (ns): in-flight counts are not "
                "zero, and branches cannot be predicted",
                &(pivot_spec){{"policy"}, {"backends"}, "outstanding_ns", {ONE_THREAD}, false});
    plot("threads", "operations per second by threads");
    print_pivot(picker, "**pick + done, 10 backends, by threads** (ns): more threads than processors take turns",
                &(pivot_spec){{"policy"}, {"threads"}, "pick_done_ns", {TEN, {"updates_per_s", "0"}}, false});
    if (json_array_size(json_object_get(results, "picker_crowd")) > 0) {
        print_pivot(json_object_get(results, "picker_crowd"),
                    "**pick + done, 10 backends, 32 threads that have picked, by threads that pick now** (ns of all "
                    "threads together): the others are idle",
                    &(pivot_spec){{"policy"}, {"threads"}, "pick_done_ns", {{NULL, NULL}}, false});
    }
    printf("\n**Two threads over one**: how many times as much two threads do as one, in interleaved passes; "
           "the median, and the middle half. The first line is the machine's result for two threads that share "
           "nothing: a picker can exceed it only by waiting less. Passes before or after which the machine did "
           "not reach that result (another guest used a processor, or both were on one core) are left out, "
           "unless there were too many.\n");
    table_print_rows(json_object_get(results, "picker_speedup"), speedup, all);
    print_pivot(picker, "**pick + done, one thread, by lists per second that a writer publishes** (ns)",
                &(pivot_spec){{"policy", "backends"}, {"updates_per_s"}, "pick_done_ns", {{"threads", "1"}}, true});
    plot("latency", "distribution of single picks");
    printf("\n**Distribution of single pick + done pairs, 10 backends, one thread** (ns): each pair includes "
           "two reads of the time stamp counter (see below), so it takes longer here than on average above. The "
           "maximum is caused by the operating system.\n");
    table_print_rows(picker, distribution, ten);
    printf("\n**Instructions of pick + done**, counted by callgrind as the difference of two runs: independent "
           "of the speed of the machine.\n");
    table_print_pivot(json_object_get(results, "instructions"),
                      &(pivot_spec){{"policy"}, {"backends"}, "instructions", {{NULL, NULL}}, false});
    printf("\n**The machine's cost of the pieces of a pick**, measured in the same run (ns). If two threads are "
           "much less than twice as fast at plain arithmetic, the machine's two processors share a core.\n");
    table_print_rows(json_object_get(results, "floor"), floor, all);
    print_connected_picks(json_object_get(results, "connected_picks"));
    const json_t *peers = json_object_get(results, "peers_here");
    if (json_array_size(peers) > 0) {
        const json_t *machine = json_object_get(results, "peers_machine");
        printf("\n**Compared with other systems**, minimum/median in ns of all threads together, all measured in this "
               "run, by `bench/peers` (%s) and by the benches above.\n",
               json_string_value(json_object_get(machine, "go")));
        compare_print_peers(peers, picker);
        print_peer_calls(json_object_get(results, "peers_calls"));
    } else if (published != NULL) {
        printf("\n**Compared with other systems**, minimum/median in ns of all threads together. The others were "
               "measured once, in six passes, on a machine of this kind (2 vCPU, AMD EPYC Zen 3; gcc 12 -O2, Go "
               "1.19), **not in this run**; evener's lines are from this run. `bench/run.sh --peers` measures Go's in "
               "the same run.\n");
        compare_print_peers(json_object_get(published, "peers"), picker);
    }
}

/* ---- updates, memory, resolvers, calls ---- */

static void print_costs(const json_t *results)
{
    static const char *const memory[TABLE_KEYS_MAX] = {
        "policy", "transport", "backends", "bytes_per_backend", "connect_us_per_backend", "cpu_us_per_backend"};
    static const char *const resolver[TABLE_KEYS_MAX] = {"what", "form", "endpoints", "ms", "ms_min"};
    static const table_only all[TABLE_ONLY_MAX];
    printf("\n## Updates and memory\n\nFrom the push of a list until its picker is published (us). One backend, "
           "one in a hundred, or all of them get a different weight or are replaced. The transport takes no "
           "time.\n");
    table_print_pivot(json_object_get(results, "update"),
                      &(pivot_spec){{"policy", "share", "what"}, {"backends"}, "us", {{NULL, NULL}}, false});
    printf("\nThe same, until everything that was replaced is released and the control thread has no work left "
           "(us).\n");
    table_print_pivot(json_object_get(results, "update"),
                      &(pivot_spec){{"policy", "share", "what"}, {"backends"}, "settled_us", {{NULL, NULL}}, false});
    printf("\nMemory per backend, as counted by malloc: of evener alone, and with a connection of each transport "
           "over loopback (there also the time and this process's CPU time per connection made).\n");
    table_print_rows(json_object_get(results, "memory"), memory, all);
    printf("\n## Resolvers\n\nParsing in processor time; a change from the rename of the new file to the "
           "update, including the settling time.\n");
    table_print_rows(json_object_get(results, "resolver"), resolver, all);
    printf("\n## Calls over loopback\n\nUnary calls to three server processes on the same machine. Clients: `evener` "
           "over the C core's transport, `http2` evener over its own HTTP/2 transport, and the core's own policy; they "
           "take turns in one run, and CPU time is the client's. The core is used as an experienced user would: "
           "registered methods, one completion queue per thread for blocking calls, two threads on one queue for "
           "asynchronous ones. All clients return the response in one piece. p2c_ewma has no counterpart in the core "
           "and is compared with its round_robin. A ratio is the median over pairs of passes, in which each client "
           "is first in turn; the middle half of the pairs is in brackets. Compare clients by these ratios, as the "
           "machine's noise affects different rows differently. Per call: system calls for input, output and waiting "
           "(without those of libc's mutexes and condition variables, which the core uses), hand-overs (voluntary "
           "context switches), and allocations, one of which is the bench's in each asynchronous call.\n");
    plot("rpc", "calls per second by calls in flight");
    compare_print_rpc(json_object_get(results, "rpc"));
    if (json_object_get(results, "rpc_transports") != NULL) {
        printf("\n**Transports under other loads**, with p2c_ewma: more threads, larger messages, TLS.\n");
        compare_print_rpc(json_object_get(results, "rpc_transports"));
    }
    if (json_object_get(results, "refused") != NULL) {
        static const char *const refused[TABLE_KEYS_MAX] = {"transport",       "calls", "compared_calls_per_s",
                                                            "calls_per_s",     "ratio", "ratio_best",
                                                            "compared_failed", "failed"};
        printf("\n**Refused streams**: one backend refuses 2 %% of the streams with REFUSED_STREAM, 8 calls are in "
               "flight, and their deadline is 100 ms. `grpc` is compared with the plain core at the same server, "
               "`http2` with itself at a server that refuses nothing.\n");
        table_print_rows(json_object_get(results, "refused"), refused, all);
    }
    if (json_object_get(results, "rpc_instructions") != NULL) {
        printf(
            "\n**Instructions of a blocking call** of 10 bytes in the client, over each transport, and of the core's "
            "client, counted by callgrind as the difference of two runs: independent of the speed of the machine.\n");
        table_print_pivot(json_object_get(results, "rpc_instructions"),
                          &(pivot_spec){{"policy"}, {"client"}, "instructions", {{NULL, NULL}}, false});
    }
}

/* ---- tails ---- */

static void print_tails(const json_t *results)
{
    const json_t *tail = json_object_get(results, "tail");
    printf("\n## Tail latency with real servers\n\nFour servers answer after 1 ms. Calls start at a fixed rate "
           "(1,000 per second, Poisson) whether or not earlier ones have been answered. Latency counts from a "
           "call's intended start, so queueing is included. Deadline 1 s; a failed call counts as 1 s. Healthy "
           "and slow: all rows take turns of 600 calls. Where a server hangs, joins or is killed, this happens "
           "after a third of the second. The machine adds the lateness of the sender to all rows: see "
           "`bench/tail/tail.c`.\n");
    plot("tail", "99th percentile by scenario");
    static const struct {
        const char *title, *key;
    } parts[] = {{"**99th percentile** (us)", "p99_us"},
                 {"**median** (us)", "p50_us"},
                 {"**99.9th percentile** (us): the second worst of a little over 1,000 calls", "p999_us"},
                 {"**lateness of the sender**, 99th percentile (us)", "late_p99_us"},
                 {"**99th percentile over that of healthy servers** in the same turn", "p99_over_healthy"},
                 {"**calls to slow servers** (%)", "slow_percent"},
                 {"**failed calls** of all passes", "failed"}};
    for (size_t i = 0; i < COUNT(parts); i++) {
        print_pivot(tail, parts[i].title,
                    &(pivot_spec){{"scenario"}, {"client", "policy"}, parts[i].key, {{NULL, NULL}}, false});
    }
}

/* ---- the simulator ---- */

static bool has_failures(const json_t *sim, const char *scenario)
{
    size_t index;
    const json_t *row;
    json_array_foreach(sim, index, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "scenario")), scenario) == 0 &&
            json_number_value(json_object_get(row, "ok_percent")) < 100) {
            return true;
        }
    }
    return false;
}

static const char *program_of(const json_t *row)
{
    return json_object_get(row, "attempts_percent") != NULL ? "bench_sim_calls" : "bench_sim";
}

static void print_scenario(const json_t *sim, const json_t *with_published, const char *scenario, const char *note)
{
    static const char *const large[TABLE_KEYS_MAX] = {
        "policy",    "window",         "p50_us",          "p99_us",
        "p999_us",   "busy_share_max", "busy_share_mean", "calls_max_over_mean",
        "ok_percent"};
    const table_only only[TABLE_ONLY_MAX] = {{"scenario", scenario}};
    const json_t *row = table_find(sim, only, 1);
    const json_int_t seeds = json_integer_value(json_object_get(row, "seeds"));
    printf("\n### %s\n\n%s (`bench/sim/%s.cfg`). %lld seed%s from %lld on: `%s --seeds=%lld "
           "bench/sim/%s.cfg`\n",
           scenario, note, scenario, (long long)seeds, seeds == 1 ? "" : "s",
           (long long)json_integer_value(json_object_get(row, "seed")), program_of(row), (long long)seeds, scenario);
    if (strcmp(scenario, "prequal_ramp") == 0) {
        plot("ramp", "percentiles over load");
    } else if (strcmp(scenario, "slow_of_four") == 0) {
        plot("slow", "99th percentile over time");
    } else if (strcmp(scenario, "joining") == 0) {
        plot("joining", "load of the joining backend over time");
    } else if (strstr(scenario, "thousand") != NULL || strcmp(scenario, "full_mesh") == 0) {
        table_print_rows(sim, large, only);
        return;
    }
    printf("\n99th percentile (us):\n");
    table_print_pivot(with_published, &(pivot_spec){{"policy"}, {"window"}, "p99_us", {{"scenario", scenario}}, false});
    printf("\n99.9th percentile (us):\n");
    table_print_pivot(sim, &(pivot_spec){{"policy"}, {"window"}, "p999_us", {{"scenario", scenario}}, false});
    if (has_failures(sim, scenario)) {
        printf("\nCalls that succeed (%%):\n");
        table_print_pivot(with_published,
                          &(pivot_spec){{"policy"}, {"window"}, "ok_percent", {{"scenario", scenario}}, false});
    }
    if (json_object_get(row, "attempts_percent") != NULL) {
        printf("\nAttempts (%% of the calls):\n");
        table_print_pivot(sim,
                          &(pivot_spec){{"policy"}, {"window"}, "attempts_percent", {{"scenario", scenario}}, false});
        printf("\nAttempts at a backend that the call had tried before:\n");
        table_print_pivot(sim, &(pivot_spec){{"policy"}, {"window"}, "repeated", {{"scenario", scenario}}, false});
    }
}

static void print_simulations(const json_t *results, const json_t *published)
{
    const json_t *sim = json_object_get(results, "sim"), *series = json_object_get(results, "sim_series"), *one;
    json_t *both = json_copy((json_t *)sim);
    const char *last = "";
    size_t index;
    json_array_extend(both, json_object_get(published, "sim"));
    printf(
        "\n## Simulation\n\nThe library's own object code in virtual time: the policies alone, or, where it says so, "
        "whole channels with "
        "their connectors, pick queue and calls. One file per scenario under "
        "`bench/sim/` describes clients, servers with queues, and events. The same seed gives the same "
        "figures on every machine, so noise does not affect them. Each figure is the **median over the seeds**, with "
        "the least and the greatest in brackets; without brackets, all seeds have the same figure. Percentiles are "
        "within 0.4 %%; a call that fails counts with the time until it failed, one that is over its timeout with "
        "the timeout. Columns of the largest scenarios: `busy_share` is the part of the window in which a worker of "
        "a server had a call, for the busiest server (`_max`) and on average (`_mean`); `calls_max_over_mean` is "
        "the highest number of calls at a server over the mean. `bench/sim/run.sh --document` runs all scenarios "
        "with their seeds, with names only those, and `bench/sim/run.sh --further` checks that the medians of 20 "
        "further seeds are inside "
        "the ranges. Lines that begin with \"published\" are "
        "figures that others published for their machines and loads: compare the differences between "
        "neighbouring columns, not the values.\n");
    json_array_foreach(series, index, one)
    {
        const char *scenario = json_string_value(json_object_get(one, "scenario"));
        if (strcmp(scenario, last) != 0) {
            print_scenario(sim, both, scenario, json_string_value(json_object_get(one, "note")));
            last = scenario;
        }
    }
    json_decref(both);
}

void sections_print_measured(const json_t *results, const json_t *published, const char *plots)
{
    plots_folder = plots;
    print_machine(json_object_get(results, "machine"));
    print_picks(results, published);
    print_costs(results);
    print_scale(json_object_get(results, "scale"));
    print_tails(results);
}

void sections_print_simulated(const json_t *results, const json_t *published, const char *plots)
{
    plots_folder = plots;
    print_simulations(results, published);
}
