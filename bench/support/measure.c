#include "bench/support/measure.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t bench_cpu_ns(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

double bench_ns_per_tick(void)
{
    static double ns_per_tick;
    if (ns_per_tick == 0) {
        uint64_t from_ns = bench_now_ns(), from = bench_ticks(), now_ns;
        do {
            now_ns = bench_now_ns();
        } while (now_ns - from_ns < 20000000);
        ns_per_tick = (double)(now_ns - from_ns) / (double)(bench_ticks() - from);
    }
    return ns_per_tick;
}

void bench_figure_add(bench_figure *figure, double value)
{
    if (figure->count < BENCH_PASSES_MAX) {
        figure->values[figure->count++] = value;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_figure_min(const bench_figure *figure)
{
    double least = figure->count > 0 ? figure->values[0] : 0;
    for (unsigned i = 1; i < figure->count; i++) {
        least = figure->values[i] < least ? figure->values[i] : least;
    }
    return least;
}

double bench_figure_share(const bench_figure *figure, double share)
{
    double sorted[BENCH_PASSES_MAX];
    if (figure->count == 0) {
        return 0;
    }
    memcpy(sorted, figure->values, figure->count * sizeof *sorted);
    qsort(sorted, figure->count, sizeof *sorted, compare_doubles);
    const double place = share * (figure->count - 1);
    const unsigned below = (unsigned)place;
    const unsigned above = below + 1 < figure->count ? below + 1 : below;
    return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

double bench_figure_median(const bench_figure *figure)
{
    return bench_figure_share(figure, 0.5);
}

size_t bench_bytes_in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

void bench_pin(unsigned index, unsigned threads)
{
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || threads > (unsigned)CPU_COUNT(&allowed)) {
        return;
    }
    unsigned left = index % (unsigned)CPU_COUNT(&allowed);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && left-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            /* on failure the figures are only less exact */
            (void)pthread_setaffinity_np(pthread_self(), sizeof one, &one);
            return;
        }
    }
}
