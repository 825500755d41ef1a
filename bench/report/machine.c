/* Describes the machine of a run and how reliable its figures are.
 *
 *     bench_machine [--at-end] [--output=FILE]
 *
 * --at-end: only measure the noise, after the benches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/support/measure.h"
#include "bench/support/output.h"

#define NOISE_PASSES BENCH_PASSES_MAX
#define NOISE_STEPS 1000000

/* Read the first line of a file that starts with `key` (or the first line), without key and colon; "" if there is
 * none. */
static void read_line(const char *path, const char *key, char *text, size_t text_bytes)
{
    FILE *file = fopen(path, "r");
    char line[4096];
    text[0] = '\0';
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            const char *value = line + strlen(key);
            value += strspn(value, " \t:");
            snprintf(text, text_bytes, "%.*s", (int)strcspn(value, "\n"), value);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

/* Repeat the same work: time above the shortest pass is caused by others. */
static bench_figure measure_noise(void)
{
    bench_figure us = {0};
    for (unsigned pass = 0; pass < NOISE_PASSES; pass++) {
        uint64_t from_ns = bench_now_ns(), value = 1;
        for (unsigned i = 0; i < NOISE_STEPS; i++) {
            value = value * UINT64_C(6364136223846793005) + 1442695040888963407u;
            bench_keep(value);
        }
        bench_figure_add(&us, (double)(bench_now_ns() - from_ns) / 1e3);
    }
    return us;
}

/* Return the frequency in GHz per pass, from a chain of additions of one cycle each. */
static bench_figure measure_frequency(void)
{
    bench_figure ghz = {0};
    for (unsigned pass = 0; pass < NOISE_PASSES; pass++) {
        uint64_t value = pass;
        uint64_t from_ns = bench_now_ns();
        for (unsigned i = 0; i < NOISE_STEPS; i += 8) {
            for (unsigned j = 0; j < 8; j++) {
                value += i;
                __asm__ volatile("" : "+r"(value));
            }
        }
        bench_figure_add(&ghz, NOISE_STEPS / (double)(bench_now_ns() - from_ns));
    }
    return ghz;
}

static double greatest(const bench_figure *figure)
{
    double most = 0;
    for (unsigned i = 0; i < figure->count; i++) {
        most = figure->values[i] > most ? figure->values[i] : most;
    }
    return most;
}

static double rounded(double value, double unit)
{
    return (double)(long)(value / unit + 0.5) * unit;
}

static double noise_percent(void)
{
    bench_figure us = measure_noise();
    return rounded((bench_figure_median(&us) / bench_figure_min(&us) - 1) * 100, 0.1);
}

static json_t *describe(void)
{
    char cpu[256], flags[4096], governor[64], clock[64], load[64], frequency[160];
    read_line("/proc/cpuinfo", "model name", cpu, sizeof cpu);
    read_line("/proc/cpuinfo", "flags", flags, sizeof flags);
    read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "", governor, sizeof governor);
    read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", "", clock, sizeof clock);
    read_line("/proc/loadavg", "", load, sizeof load);
    struct utsname names;
    uname(&names);
    const bool is_virtual = strstr(flags, "hypervisor") != NULL;
    const bool is_steady = strstr(flags, "constant_tsc") != NULL && strstr(flags, "nonstop_tsc") != NULL;
    const bench_figure ghz = measure_frequency();
    snprintf(frequency, sizeof frequency, "%s: %s", governor[0] != '\0' ? governor : "governor not visible",
             strcmp(governor, "performance") == 0 ? "held high" : "not known to be held: compare only within one run");
    return json_pack("{s:s, s:i, s:b, s:s, s:s, s:s, s:s, s:s, s:f, s:f, s:s, s:f}", "cpu", cpu, "processors",
                     (int)sysconf(_SC_NPROCESSORS_ONLN), "virtual_machine", is_virtual, "kernel", names.release,
                     "compiler", "gcc " __VERSION__, "clock_source", clock, "time_stamp_counter",
                     is_steady ? "steady: intervals can be trusted"
                               : "not known to be steady: percentiles may be wrong",
                     "frequency_governor", frequency, "frequency_ghz_seen_median",
                     rounded(bench_figure_median(&ghz), 0.01), "frequency_ghz_seen_max", rounded(greatest(&ghz), 0.01),
                     "load_at_start", load, "noise_percent", noise_percent());
}

int main(int argc, char **argv)
{
    const char *output = NULL, *value;
    bool at_end = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--at-end") == 0) {
            at_end = true;
        } else if ((value = bench_option(argv[i], "--output")) != NULL) {
            output = value;
        } else {
            fprintf(stderr, "bench_machine: unknown argument %s\n", argv[i]);
            return 2;
        }
    }
    json_t *machine = at_end ? json_pack("{s:f}", "noise_percent_at_end", noise_percent()) : describe();
    const char *cpu = json_string_value(json_object_get(machine, "cpu"));
    bench_progress("machine %s noise %.1f %%", cpu != NULL ? cpu : "at the end:",
                   json_number_value(json_object_get(machine, at_end ? "noise_percent_at_end" : "noise_percent")));
    return bench_finish(json_pack("{s:o}", "machine", machine), output);
}
