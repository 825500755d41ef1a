#include "bench/rpc/load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bench/support/counts.h"
#include "examples/evener/histogram.h"

typedef struct rpc_load {
    bench_client *client;
    uint64_t end_ns;
    atomic_uint slots_running;
    atomic_uint_fast64_t failed;
    pthread_mutex_t mutex;
    pthread_cond_t idle;
} rpc_load;

/* One of the calls in flight: when it ends, the next one starts. */
typedef struct slot {
    rpc_load *load;
    uint64_t from_ns;
    histogram times; /* in ns */
    pthread_t thread;
} slot;

static void count(slot *self, bool ok)
{
    uint64_t now_ns = bench_now_ns();
    if (ok) {
        histogram_add(&self->times, now_ns - self->from_ns);
    } else {
        atomic_fetch_add_explicit(&self->load->failed, 1, memory_order_relaxed);
    }
    self->from_ns = now_ns;
}

static void slot_done(void *arg, bool ok)
{
    slot *self = arg;
    rpc_load *load = self->load;
    count(self, ok);
    if (self->from_ns < load->end_ns) {
        load->client->start(load->client, slot_done, self);
        return;
    }
    pthread_mutex_lock(&load->mutex);
    if (atomic_fetch_sub_explicit(&load->slots_running, 1, memory_order_acq_rel) == 1) {
        pthread_cond_signal(&load->idle);
    }
    pthread_mutex_unlock(&load->mutex);
}

static void *slot_thread(void *arg)
{
    slot *self = arg;
    self->from_ns = bench_now_ns();
    do {
        count(self, self->load->client->call(self->load->client));
    } while (self->from_ns < self->load->end_ns);
    return NULL;
}

static void run_slots(slot *slots, rpc_load *load, const rpc_case *rpc)
{
    if (rpc->blocking) {
        unsigned running = 0;
        while (running < rpc->in_flight &&
               pthread_create(&slots[running].thread, NULL, slot_thread, &slots[running]) == 0) {
            running++;
        }
        for (unsigned i = 0; i < running; i++) {
            pthread_join(slots[i].thread, NULL);
        }
        return;
    }
    atomic_store_explicit(&load->slots_running, rpc->in_flight, memory_order_relaxed);
    for (unsigned i = 0; i < rpc->in_flight; i++) {
        slots[i].from_ns = bench_now_ns();
        load->client->start(load->client, slot_done, &slots[i]);
    }
    pthread_mutex_lock(&load->mutex);
    while (atomic_load_explicit(&load->slots_running, memory_order_acquire) > 0) {
        pthread_cond_wait(&load->idle, &load->mutex);
    }
    pthread_mutex_unlock(&load->mutex);
}

void rpc_run_pass(bench_client *client, const rpc_case *rpc, uint64_t duration_ns, rpc_outcome *outcome)
{
    slot *slots = calloc(rpc->in_flight, sizeof *slots);
    histogram *all = calloc(1, sizeof *all);
    rpc_load load = {.client = client};
    if (slots == NULL || all == NULL) {
        abort();
    }
    pthread_mutex_init(&load.mutex, NULL);
    pthread_cond_init(&load.idle, NULL);
    for (unsigned i = 0; i < rpc->in_flight; i++) {
        slots[i].load = &load;
    }
    const bench_counts from = bench_counts_read();
    const uint64_t from_ns = bench_now_ns(), from_cpu_ns = bench_cpu_ns();
    load.end_ns = from_ns + duration_ns;
    run_slots(slots, &load, rpc);
    const double elapsed_ns = (double)(bench_now_ns() - from_ns), cpu_ns = (double)(bench_cpu_ns() - from_cpu_ns);
    const bench_counts to = bench_counts_read();
    for (unsigned i = 0; i < rpc->in_flight; i++) {
        histogram_merge(all, &slots[i].times);
    }
    const double calls = all->count > 0 ? (double)all->count : 1;
    bench_figure_add(&outcome->calls_per_s, calls / elapsed_ns * 1e9);
    bench_figure_add(&outcome->cpu_us_per_call, cpu_ns / calls / 1e3);
    bench_figure_add(&outcome->p50_us, (double)histogram_quantile(all, 0.5) / 1e3);
    bench_figure_add(&outcome->p99_us, (double)histogram_quantile(all, 0.99) / 1e3);
    bench_figure_add(&outcome->system_calls_per_call, (double)(to.system_calls - from.system_calls) / calls);
    bench_figure_add(&outcome->hand_overs_per_call, (double)(to.hand_overs - from.hand_overs) / calls);
    bench_figure_add(&outcome->allocations_per_call, (double)(to.allocations - from.allocations) / calls);
    outcome->failed += load.failed;
    pthread_cond_destroy(&load.idle);
    pthread_mutex_destroy(&load.mutex);
    free(all);
    free(slots);
}
