/* Says what machine a run was made on, and how far it can be trusted.
 *
 *     bench_machine [--output=FILE] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/support/measure.h"
#include "bench/support/output.h"

#define NOISE_PASSES BENCH_PASSES_MAX
#define NOISE_STEPS 1000000

/* The first line of a file that starts with `key` (or just the first), without key and colon; "" if there is none. */
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

/* The same work again and again: what takes longer than the shortest pass is somebody else's doing. */
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

int main(int argc, char **argv)
{
    const char *output = argc > 1 ? bench_option(argv[1], "--output") : NULL;
    char cpu[256], flags[4096], governor[64], clock[64], load[64];
    read_line("/proc/cpuinfo", "model name", cpu, sizeof cpu);
    read_line("/proc/cpuinfo", "flags", flags, sizeof flags);
    read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "", governor, sizeof governor);
    read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", "", clock, sizeof clock);
    read_line("/proc/loadavg", "", load, sizeof load);
    struct utsname names;
    uname(&names);
    bench_figure noise = measure_noise();
    double noise_percent = (bench_figure_median(&noise) / bench_figure_min(&noise) - 1) * 100;
    bool tsc_is_steady = strstr(flags, "constant_tsc") != NULL && strstr(flags, "nonstop_tsc") != NULL;
    json_t *machine = json_pack(
        "{s:s, s:i, s:s, s:s, s:s, s:b, s:s, s:s, s:f}", "cpu", cpu, "processors", (int)sysconf(_SC_NPROCESSORS_ONLN),
        "kernel", names.release, "compiler", "gcc " __VERSION__, "clock_source", clock, "time_stamp_counter_is_steady",
        tsc_is_steady, "frequency_governor", governor[0] != '\0' ? governor : "not visible (a virtual machine?)",
        "load_at_start", load, "noise_percent", (double)(long)(noise_percent * 10 + 0.5) / 10);
    bench_progress("machine %s, %ld processors, load %s, noise %.1f %%", cpu, sysconf(_SC_NPROCESSORS_ONLN), load,
                   noise_percent);
    return bench_finish(json_pack("{s:o}", "machine", machine), output);
}
