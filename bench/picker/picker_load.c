#include "bench/picker/picker_load.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PICKS_AT_ONCE 256
#define OUTSTANDING 64
#define OPERATIONS_PER_LOOK 256 /* between two checks of the stop flag */

typedef struct worker {
    _Alignas(EVENER_LANE_BYTES) const picker_load *load; /* aligned: no false sharing between workers */
    picker_load_kind kind;
    pthread_barrier_t *start;
    atomic_uint *awake; /* threads that have passed the barrier */
    const atomic_bool *stop;
    histogram *ticks; /* one per worker */
    uint64_t operations, allocations, not_complete;
    uint64_t running_ns;
    uint64_t picking_ns; /* PICKER_LOAD_PICK: the picks alone */
    evener_pick_args args;
    uint64_t hash_step;
    unsigned index;
    pthread_t thread;
} worker;

static inline bool pick_one(worker *self, evener_pick *pick)
{
    /* Fibonacci hashing: visits all hashes without repetition. */
    self->args.hash += self->hash_step;
    if (evener_channel_try_pick(self->load->channel, &self->args, pick, NULL) == EVENER_PICK_COMPLETE) {
        return true;
    }
    self->not_complete++;
    return false;
}

/* Count operations, which another thread reads at the beginning and at the end of a pass. */
static void count(worker *self, uint64_t operations)
{
    __atomic_store_n(&self->operations, self->operations + operations, __ATOMIC_RELAXED);
}

static bool is_stopped(const worker *self)
{
    return atomic_load_explicit(self->stop, memory_order_relaxed);
}

static void run_pick_done(worker *self)
{
    do {
        for (unsigned i = 0; i < OPERATIONS_PER_LOOK; i++) {
            evener_pick pick;
            if (pick_one(self, &pick)) {
                evener_pick_done(&pick, NULL);
            }
        }
        count(self, OPERATIONS_PER_LOOK);
    } while (!is_stopped(self));
}

static void run_pick(worker *self)
{
    evener_pick picks[PICKS_AT_ONCE];
    do {
        bool complete[PICKS_AT_ONCE];
        uint64_t from_ns = bench_now_ns();
        for (unsigned i = 0; i < PICKS_AT_ONCE; i++) {
            complete[i] = pick_one(self, &picks[i]);
        }
        self->picking_ns += bench_now_ns() - from_ns;
        for (unsigned i = 0; i < PICKS_AT_ONCE; i++) {
            if (complete[i]) {
                evener_pick_done(&picks[i], NULL);
            }
        }
        count(self, PICKS_AT_ONCE);
    } while (!is_stopped(self));
}

static void run_outstanding(worker *self)
{
    evener_pick picks[OUTSTANDING];
    bool complete[OUTSTANDING] = {false};
    do {
        for (unsigned i = 0; i < OPERATIONS_PER_LOOK; i++) {
            unsigned at = i % OUTSTANDING;
            if (complete[at]) {
                evener_pick_done(&picks[at], NULL);
            }
            complete[at] = pick_one(self, &picks[at]);
        }
        count(self, OPERATIONS_PER_LOOK);
    } while (!is_stopped(self));
    for (unsigned i = 0; i < OUTSTANDING; i++) {
        if (complete[i]) {
            evener_pick_done(&picks[i], NULL);
        }
    }
}

static void run_each(worker *self)
{
    do {
        for (unsigned i = 0; i < OPERATIONS_PER_LOOK; i++) {
            evener_pick pick;
            uint64_t from = bench_ticks();
            if (pick_one(self, &pick)) {
                evener_pick_done(&pick, NULL);
            }
            histogram_add(self->ticks, bench_ticks() - from);
        }
        count(self, OPERATIONS_PER_LOOK);
    } while (!is_stopped(self));
}

static void *run_worker(void *arg)
{
    worker *self = arg;
    static void (*const runs[])(worker *) = {
        [PICKER_LOAD_PICK] = run_pick,
        [PICKER_LOAD_PICK_DONE] = run_pick_done,
        [PICKER_LOAD_OUTSTANDING] = run_outstanding,
        [PICKER_LOAD_EACH] = run_each,
    };
    bench_pin(self->load->first_processor + self->index, self->load->threads);
    evener_pick first; /* registers the thread */
    if (pick_one(self, &first)) {
        evener_pick_done(&first, NULL);
    }
    pthread_barrier_wait(self->start);
    atomic_fetch_add(self->awake, 1);
    const uint64_t allocations = bench_allocations();
    const uint64_t from_ns = bench_now_ns();
    runs[self->kind](self);
    self->running_ns = bench_now_ns() - from_ns;
    self->allocations = bench_allocations() - allocations;
    return NULL;
}

static void init_worker(worker *self, const picker_load *load, unsigned index)
{
    memset(self, 0, sizeof *self);
    self->load = load;
    self->index = index;
    self->args.size = sizeof self->args;
    self->args.has_hash = load->with_hash;
    self->args.hash = UINT64_C(0x2545f4914f6cdd1d) * (index + 1);
    self->hash_step = load->with_hash ? UINT64_C(0x9e3779b97f4a7c15) : 0;
}

static void sleep_ns(uint64_t ns)
{
    struct timespec pause = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    nanosleep(&pause, NULL);
}

static uint64_t operations_of(const worker *workers, unsigned count)
{
    uint64_t operations = 0;
    for (unsigned i = 0; i < count; i++) {
        operations += __atomic_load_n(&workers[i].operations, __ATOMIC_RELAXED);
    }
    return operations;
}

/* Let the threads run for a while. Store the time of the clock on the wall per operation of all of them: more threads
 * than processors take turns, and the sum of their own rates would count a processor several times. The time begins
 * when all have run, as a virtual machine may need a good part of a pass to wake one, and ends before they are stopped,
 * as each has to be scheduled once more to notice that. */
static void run_for(const worker *workers, unsigned count, const atomic_uint *awake, uint64_t duration_ns,
                    picker_result *result)
{
    while (atomic_load(awake) < count) {
        (void)sched_yield();
    }
    uint64_t operations = operations_of(workers, count);
    const uint64_t from_ns = bench_now_ns();
    do {
        sleep_ns(duration_ns);
    } while (operations_of(workers, count) == operations);
    result->timed = operations_of(workers, count) - operations;
    result->ns = (double)(bench_now_ns() - from_ns) / (double)result->timed;
}

static void gather(const worker *workers, unsigned count, picker_result *result, histogram *ticks)
{
    uint64_t picking_ns = 0, running_ns = 0;
    for (unsigned i = 0; i < count; i++) {
        result->operations += workers[i].operations;
        result->allocations += workers[i].allocations;
        result->not_complete += workers[i].not_complete;
        picking_ns += workers[i].picking_ns;
        running_ns += workers[i].running_ns;
        if (ticks != NULL) {
            histogram_merge(ticks, workers[i].ticks);
        }
    }
    if (picking_ns > 0) { /* picks alone: the part of the time that they took */
        result->ns *= (double)picking_ns / (double)running_ns;
    }
}

bool picker_load_run(const picker_load *load, picker_load_kind kind, picker_result *result, histogram *ticks)
{
    worker *workers = aligned_alloc(EVENER_LANE_BYTES, sizeof(worker) * load->threads);
    pthread_barrier_t start;
    atomic_bool stop = false;
    atomic_uint awake = 0;
    bool ok = workers != NULL && pthread_barrier_init(&start, NULL, load->threads + 1) == 0;
    unsigned running = 0;
    while (ok && running < load->threads) {
        worker *self = &workers[running];
        init_worker(self, load, running);
        self->kind = kind;
        self->start = &start;
        self->awake = &awake;
        self->stop = &stop;
        self->ticks = ticks != NULL ? calloc(1, sizeof *ticks) : NULL;
        ok = (ticks == NULL || self->ticks != NULL) && pthread_create(&self->thread, NULL, run_worker, self) == 0;
        running += ok;
    }
    if (!ok) { /* threads that wait at the barrier cannot be joined: the bench ends anyway */
        return false;
    }
    pthread_barrier_wait(&start);
    *result = (picker_result){.ns = 0};
    run_for(workers, running, &awake, load->duration_ns, result);
    atomic_store_explicit(&stop, true, memory_order_relaxed);
    for (unsigned i = 0; i < running; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    gather(workers, running, result, ticks);
    for (unsigned i = 0; i < running; i++) {
        free(workers[i].ticks);
    }
    pthread_barrier_destroy(&start);
    free(workers);
    return true;
}

/* ---- idle threads ---- */

struct picker_idlers {
    picker_load load;
    pthread_barrier_t step; /* all have picked; all may end */
    unsigned count;
    pthread_t threads[];
};

static void *run_idler(void *arg)
{
    picker_idlers *idlers = arg;
    worker self;
    init_worker(&self, &idlers->load, 0);
    evener_pick first;
    if (pick_one(&self, &first)) {
        evener_pick_done(&first, NULL);
    }
    pthread_barrier_wait(&idlers->step);
    pthread_barrier_wait(&idlers->step);
    return NULL;
}

picker_idlers *picker_idlers_start(evener_channel *channel, unsigned count)
{
    picker_idlers *idlers = calloc(1, sizeof *idlers + count * sizeof(pthread_t));
    if (idlers == NULL || pthread_barrier_init(&idlers->step, NULL, count + 1) != 0) {
        free(idlers);
        return NULL;
    }
    idlers->load.channel = channel;
    for (; idlers->count < count; idlers->count++) {
        if (pthread_create(&idlers->threads[idlers->count], NULL, run_idler, idlers) != 0) {
            return NULL; /* threads that wait at the barrier cannot be joined: the bench ends anyway */
        }
    }
    pthread_barrier_wait(&idlers->step);
    return idlers;
}

void picker_idlers_stop(picker_idlers *idlers)
{
    pthread_barrier_wait(&idlers->step);
    for (unsigned i = 0; i < idlers->count; i++) {
        pthread_join(idlers->threads[i], NULL);
    }
    pthread_barrier_destroy(&idlers->step);
    free(idlers);
}

void picker_load_count(evener_channel *channel, uint64_t operations, bool with_hash)
{
    picker_load load = {.channel = channel, .with_hash = with_hash};
    worker self;
    init_worker(&self, &load, 0);
    for (uint64_t i = 0; i < operations; i++) {
        evener_pick pick;
        if (pick_one(&self, &pick)) {
            evener_pick_done(&pick, NULL);
        }
    }
}
