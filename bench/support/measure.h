/* Measuring for all benches: fast time stamps, repeated figures, allocation counts. */
#ifndef BENCH_SUPPORT_MEASURE_H
#define BENCH_SUPPORT_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Return CLOCK_MONOTONIC in ns. */
uint64_t bench_now_ns(void);

/* Return the processor's time stamp counter if it has one, otherwise bench_now_ns(). For timing single operations. */
static inline uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return bench_now_ns();
#endif
}

/* Return the length of a tick in ns. Measured once per process, in 20 ms. */
double bench_ns_per_tick(void);

/* ---- repeated figures ---- */

#define BENCH_PASSES_MAX 64

typedef struct bench_figure {
    unsigned count;
    double values[BENCH_PASSES_MAX];
} bench_figure;

void bench_figure_add(bench_figure *figure, double value);
double bench_figure_min(const bench_figure *figure);
double bench_figure_median(const bench_figure *figure);
/* Return the quantile at `share` (0.25: the lower quartile), interpolated between two values. */
double bench_figure_share(const bench_figure *figure, double share);

/* ---- allocations ---- */

/* Return how many times this thread has called malloc, calloc, realloc or a similar function. Always 0 under
 * sanitizers. */
uint64_t bench_allocations(void);
/* Return the bytes that the process has allocated and not freed, as counted by malloc. */
size_t bench_bytes_in_use(void);

/* ---- the processor ---- */

/* Return the processor time of the process in ns. */
uint64_t bench_cpu_ns(void);

/* Pin the calling thread, one of `threads` that are measured together, to the index-th processor (modulo their
 * number), if there are enough processors. Otherwise the scheduler may leave two threads on one processor for
 * milliseconds. */
void bench_pin(unsigned index, unsigned threads);

/* Keep the compiler from removing the computation of `value`. */
static inline void bench_keep(uint64_t value)
{
    __asm__ volatile("" : : "r"(value) : "memory");
}

#endif
