/* What every bench measures with: cheap time stamps, repeated figures, latency distributions, counted allocations. */
#ifndef BENCH_SUPPORT_MEASURE_H
#define BENCH_SUPPORT_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC, in ns. */
uint64_t bench_now_ns(void);

/* The processor's time stamp where there is one, else bench_now_ns(): for one operation at a time. */
static inline uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return bench_now_ns();
#endif
}

/* How long a tick is, measured once for a process (it takes 20 ms). */
double bench_ns_per_tick(void);

/* ---- a figure that is measured several times ---- */

#define BENCH_PASSES_MAX 64

typedef struct bench_figure {
    unsigned count;
    double values[BENCH_PASSES_MAX];
} bench_figure;

void bench_figure_add(bench_figure *figure, double value);
double bench_figure_min(const bench_figure *figure);
double bench_figure_median(const bench_figure *figure);
/* The value that a share of all (0.25) do not exceed; between two of them where the share falls there. */
double bench_figure_share(const bench_figure *figure, double share);

/* ---- a latency distribution ---- */

/* Counts by value, exact below 64 and within 1/64 above. */
#define BENCH_HISTOGRAM_SUB 64
#define BENCH_HISTOGRAM_BUCKETS (BENCH_HISTOGRAM_SUB * 59)

typedef struct bench_histogram {
    uint64_t count;
    uint64_t max;
    uint64_t buckets[BENCH_HISTOGRAM_BUCKETS];
} bench_histogram;

void bench_histogram_add(bench_histogram *histogram, uint64_t value);
void bench_histogram_merge(bench_histogram *into, const bench_histogram *from);
/* The value that a share of all (0.99) do not exceed; 0 when it is empty. */
uint64_t bench_histogram_percentile(const bench_histogram *histogram, double share);

/* ---- allocations ---- */

/* How often this thread has called malloc, calloc, realloc or a function of their kind. Always 0 under sanitizers. */
uint64_t bench_allocations(void);
/* Bytes that the whole process has allocated and not given back, as malloc counts them. */
size_t bench_bytes_in_use(void);

/* ---- the processor ---- */

/* Time that the process has spent on processors, in ns. */
uint64_t bench_cpu_ns(void);

/* Keeps the calling thread, one of `threads` that measure together, on the index-th processor (counted round), if there are
 * as many: a scheduler may leave two threads on one for milliseconds, and then one waits for the other. */
void bench_pin(unsigned index, unsigned threads);

/* Keeps the compiler from dropping what made this value. */
static inline void bench_keep(uint64_t value)
{
    __asm__ volatile("" : : "r"(value) : "memory");
}

#endif
