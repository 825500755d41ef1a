/* Measured (EPYC Zen 3): clock_gettime 29 ns; the fast clock (fast_clock.h) 11 ns, 10 of them rdtsc itself;
 * CLOCK_MONOTONIC_COARSE also 10 ns, but its 4 ms steps hide the latency of a fast backend. */
#include "lb/runtime/clock.h"

#include <stdbool.h>
#include <time.h>

#include <evener/loop.h>

uint64_t evener_clock_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* fails only for an unknown clock */
    const uint64_t now_ns = (uint64_t)now.tv_sec * EVENER_NS_PER_S + (uint64_t)now.tv_nsec;
    return now_ns != 0 ? now_ns : 1;
}

#if defined(__x86_64__)

#include <cpuid.h>
#include <pthread.h>
#include <x86intrin.h>

#include "lb/runtime/fast_clock.h"

static _Thread_local evener_fast_clock thread;

static pthread_once_t counter_once = PTHREAD_ONCE_INIT;
static bool even_counter;       /* written once, in look_at_counter() */
static uint64_t published_rate; /* of evener_fast_clock_anchor() */

static void look_at_counter(void)
{
    /* AMD APM volume 3, Intel SDM volume 2A, CPUID: leaf 0x80000007, EDX bit 8, "invariant TSC": a constant rate in
     * every power state. */
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    even_counter = __get_cpuid(0x80000007u, &eax, &ebx, &ecx, &edx) != 0 && (edx & (1u << 8)) != 0;
}

/* Read CLOCK_MONOTONIC, and make it the thread's anchor. Not inlined: keeps the fast path short. */
static __attribute__((noinline)) uint64_t anchor(void)
{
    (void)pthread_once(&counter_once, look_at_counter);
    if (!even_counter) {
        return evener_clock_now_ns();
    }
    const uint64_t counter = __rdtsc();
    return evener_fast_clock_anchor(&thread, &published_rate, counter, evener_clock_now_ns());
}

uint64_t evener_clock_now_fast_ns(void)
{
    uint64_t now_ns;
    return evener_fast_clock_read(&thread, __rdtsc(), &now_ns) ? now_ns : anchor();
}

#else

uint64_t evener_clock_now_fast_ns(void)
{
    return evener_clock_now_ns();
}

#endif

struct timespec evener_clock_deadline(uint64_t timeout_ms)
{
    const uint64_t seconds_max = 1000000000;
    const uint64_t seconds = timeout_ms / 1000;
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += (time_t)(seconds < seconds_max ? seconds : seconds_max);
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    return deadline;
}
