#include "bench/picker/floor.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include <urcu/urcu-bp.h>

#include "bench/support/measure.h"
#include "bench/support/output.h"

#define THREADS_MAX 16
#define OPERATIONS_PER_LOOK 1024

static atomic_uint_fast64_t shared_counter;

static void add_shared(void)
{
    atomic_fetch_add_explicit(&shared_counter, 1, memory_order_relaxed);
}

static void add_own(void)
{
    static _Thread_local atomic_uint_fast64_t counter;
    atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);
}

static void read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    bench_keep((uint64_t)now.tv_nsec);
}

static void read_monotonic(void)
{
    read_clock(CLOCK_MONOTONIC);
}

static void read_coarse(void)
{
    read_clock(CLOCK_MONOTONIC_COARSE);
}

static void read_ticks(void)
{
    bench_keep(bench_ticks());
}

static void rcu_section(void)
{
    urcu_bp_read_lock();
    urcu_bp_read_unlock();
}

static void nothing(void)
{
    __asm__ volatile("");
}

/* Four independent dependency chains without memory accesses keep a core's arithmetic units busy. The time of two
 * threads shows whether the machine's two processors are two cores or share one. */
static void calculate(void)
{
    static _Thread_local uint64_t a = 1, b = 2, c = 3, d = 4;
    uint64_t w = a, x = b, y = c, z = d;
    for (unsigned step = 0; step < 16; step++) {
        w = w * 31 + step;
        x ^= x << 7;
        y += y >> 3;
        z = (z ^ step) * 17;
        __asm__ volatile("" : "+r"(w), "+r"(x), "+r"(y), "+r"(z));
    }
    a = w;
    b = x;
    c = y;
    d = z;
}

static const struct {
    const char *what;
    void (*operation)(void);
} pieces[] = {
    {"call of an empty function", nothing},          {"atomic add, own counter", add_own},
    {"atomic add, shared counter", add_shared},      {"empty RCU section", rcu_section},
    {"clock read, time stamp counter", read_ticks},  {"clock read, CLOCK_MONOTONIC_COARSE", read_coarse},
    {"clock read, CLOCK_MONOTONIC", read_monotonic}, {"arithmetic alone, 16 x 4 steps", calculate},
};

typedef struct floor_worker {
    void (*operation)(void);
    const atomic_bool *stop;
    uint64_t operations; /* atomic */
    atomic_uint *awake;  /* threads that run */
    unsigned index, threads;
    pthread_t thread;
} floor_worker;

static void *run(void *arg)
{
    floor_worker *self = arg;
    uint64_t operations = 0;
    bench_pin(self->index, self->threads);
    atomic_fetch_add(self->awake, 1);
    while (!atomic_load_explicit(self->stop, memory_order_relaxed)) {
        for (unsigned i = 0; i < OPERATIONS_PER_LOOK; i++) {
            self->operation();
        }
        operations += OPERATIONS_PER_LOOK;
        __atomic_store_n(&self->operations, operations, __ATOMIC_RELAXED);
    }
    return NULL;
}

static uint64_t operations_of(const floor_worker *workers, unsigned count)
{
    uint64_t operations = 0;
    for (unsigned i = 0; i < count; i++) {
        operations += __atomic_load_n(&workers[i].operations, __ATOMIC_RELAXED);
    }
    return operations;
}

/* Return the time of the clock on the wall per operation of all threads, as in picker_load.c. */
static double measure(void (*operation)(void), unsigned first_processor, unsigned threads, uint64_t duration_ns)
{
    floor_worker workers[THREADS_MAX];
    atomic_bool stop = false;
    atomic_uint awake = 0;
    unsigned running = 0;
    while (running < threads && running < THREADS_MAX) {
        workers[running] = (floor_worker){.operation = operation,
                                          .stop = &stop,
                                          .awake = &awake,
                                          .index = first_processor + running,
                                          .threads = threads};
        if (pthread_create(&workers[running].thread, NULL, run, &workers[running]) != 0) {
            break;
        }
        running++;
    }
    while (atomic_load(&awake) < running) {
        (void)sched_yield();
    }
    const uint64_t before = operations_of(workers, running);
    const uint64_t from_ns = bench_now_ns();
    struct timespec pause = {.tv_sec = (time_t)(duration_ns / 1000000000u),
                             .tv_nsec = (long)(duration_ns % 1000000000u)};
    uint64_t operations;
    do { /* on a busy machine none may have run */
        nanosleep(&pause, NULL);
        operations = operations_of(workers, running) - before;
    } while (operations == 0 && running > 0);
    const uint64_t taken_ns = bench_now_ns() - from_ns;
    atomic_store_explicit(&stop, true, memory_order_relaxed);
    for (unsigned i = 0; i < running; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    return operations > 0 ? (double)taken_ns / (double)operations : 0;
}

void bench_floors(json_t *rows, unsigned threads, unsigned passes, uint64_t duration_ns)
{
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        bench_figure figure = {0};
        for (unsigned pass = 0; pass < passes; pass++) {
            bench_figure_add(&figure, measure(pieces[i].operation, 0, threads, duration_ns));
        }
        json_t *row = json_pack("{s:s, s:i}", "what", pieces[i].what, "threads", (int)threads);
        bench_set_figure(row, "ns", &figure);
        json_array_append_new(rows, row);
        bench_progress("floor   %-36s %2u threads %7.2f ns", pieces[i].what, threads, bench_figure_median(&figure));
    }
}

double bench_arithmetic_speedup(uint64_t duration_ns)
{
    const double first = 1 / measure(calculate, 0, 1, duration_ns);
    const double second = 1 / measure(calculate, 1, 1, duration_ns);
    const double both = 1 / measure(calculate, 0, 2, duration_ns);
    return 2 * both / (first + second);
}
