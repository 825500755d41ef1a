#include "bench/support/bench_channel.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/support/measure.h"
#include "lb/backend/slots.h"

/* A task's posts run after those that were posted before: a few rounds reach the end of each chain. */
#define SETTLE_ROUNDS 4
#define ASK_ROUNDS 64u
#define LANES_IN_USE 8
#define ASK_PICKS 65536u
#define READY_WAIT_NS (UINT64_C(120) * EVENER_NS_PER_S)

static evener_address *make_address(size_t index, unsigned weight, evener_status *status)
{
    char text[32], weight_text[16];
    snprintf(text, sizeof text, "10.%u.%u.%u:50051", (unsigned)(index >> 16) & 255, (unsigned)(index >> 8) & 255,
             (unsigned)index & 255);
    snprintf(weight_text, sizeof weight_text, "%u", weight);
    evener_attribute attribute = {"weight", weight_text};
    evener_address *address = NULL;
    evener_address_create(text, &attribute, 1, &address, status);
    return address;
}

static evener_address *with_weight(const evener_address *address, unsigned weight, evener_status *status)
{
    char weight_text[16];
    snprintf(weight_text, sizeof weight_text, "%u", weight);
    evener_attribute attribute = {"weight", weight_text};
    evener_address *changed = NULL;
    evener_address_with_attributes(address, &attribute, 1, &changed, status);
    return changed;
}

/* Return the mapped memory of the backends' slots, which malloc does not count, with `lanes` lanes in use. */
static size_t slot_bytes(size_t backends, size_t lanes)
{
    return (backends + EVENER_SLOT_ROW - 1) / EVENER_SLOT_ROW * (2 + lanes) * EVENER_SLOT_PAGE_BYTES;
}

double bench_channel_bytes_per_backend(const bench_channel *bench, size_t before)
{
    /* The bench's own memory per backend: a pointer in its list, and a connection that carries nothing. */
    const size_t own = bench->backends * sizeof(evener_address *) + instant_transport_bytes(&bench->transport);
    const size_t bytes = bench_bytes_in_use() - before - own + slot_bytes(bench->backends, LANES_IN_USE);
    return (double)bytes / (double)bench->backends;
}

static void pause_ns(long ns)
{
    struct timespec pause = {.tv_nsec = ns};
    nanosleep(&pause, NULL);
}

static void nothing(void *arg)
{
    (void)arg;
}

void bench_channel_settle(bench_channel *bench)
{
    for (int i = 0; i < SETTLE_ROUNDS; i++) {
        evener_runtime_call(bench->runtime, nothing, NULL);
    }
}

static bool push(bench_channel *bench, evener_status *status)
{
    evener_resolver_update update = {
        .size = sizeof update, .addresses = bench->addresses, .address_count = bench->backends};
    return evener_manual_resolver_update(bench->resolver, &update, status) == EVENER_STATUS_OK;
}

/* Wait until every backend is READY or, for a policy that connects fewer, until no more become READY. */
static bool wait_until_ready(bench_channel *bench, evener_status *status)
{
    if (evener_channel_wait_ready(bench->channel, READY_WAIT_NS / EVENER_NS_PER_MS, status) != EVENER_STATUS_OK) {
        return false;
    }
    uint64_t end_ns = bench_now_ns() + READY_WAIT_NS, seen, now;
    do {
        seen = atomic_load_explicit(&bench->transport.ready, memory_order_acquire);
        bench_channel_settle(bench);
        now = atomic_load_explicit(&bench->transport.ready, memory_order_acquire);
        if (now == seen && now < bench->backends) {
            pause_ns(20000000);
            bench_channel_settle(bench);
            now = atomic_load_explicit(&bench->transport.ready, memory_order_acquire);
        }
    } while (now != seen && now < bench->backends && bench_now_ns() < end_ns);
    bench_channel_settle(bench);
    return true;
}

/* ring_hash connects a backend when a pick needs it: pick until the whole ring is connected. */
static void pick_each(bench_channel *bench)
{
    evener_pick_args args = {.size = sizeof args, .has_hash = true};
    for (uint64_t i = 0, missed = 0; i < ASK_ROUNDS * ASK_PICKS; i++) {
        evener_pick pick;
        args.hash += UINT64_C(0x9e3779b97f4a7c15);
        if (evener_channel_try_pick(bench->channel, &args, &pick, NULL) == EVENER_PICK_COMPLETE) {
            evener_pick_done(&pick, NULL);
        } else {
            missed++;
        }
        if ((i + 1) % ASK_PICKS == 0) {
            bench_channel_settle(bench);
            if (missed == 0) {
                return;
            }
            missed = 0;
        }
    }
}

static bool open_channel(bench_channel *bench, const char *policy, evener_status *status)
{
    for (size_t i = 0; i < bench->backends; i++) {
        bench->addresses[i] = make_address(i, 1, status);
        if (bench->addresses[i] == NULL) {
            return false;
        }
    }
    if (evener_runtime_create(NULL, &bench->runtime, status) != EVENER_STATUS_OK ||
        evener_manual_resolver_create("bench", &bench->resolver, status) != EVENER_STATUS_OK || !push(bench, status)) {
        return false;
    }
    instant_transport_init(&bench->transport, evener_runtime_loop(bench->runtime));
    timed_policy_init(&bench->policy, evener_policy_find(NULL, policy));
    const evener_policy_builder *policies[] = {&bench->policy.builder};
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(bench->resolver)};
    evener_channel_options options = {
        .size = sizeof options,
        .runtime = bench->runtime,
        .transport = &bench->transport.base,
        .resolvers = resolvers,
        .resolver_count = 1,
        .policies = policies,
        .policy_count = 1,
        .policy = policy,
        .idle_timeout_ms = EVENER_NEVER_MS,
    };
    return evener_channel_create("bench:///backends", &options, &bench->channel, status) == EVENER_STATUS_OK &&
           wait_until_ready(bench, status);
}

/* Wait until nothing uses the transport, which is a member of `bench`. */
static void wait_until_gone(bench_channel *bench)
{
    do {
        pause_ns(1000000);
        bench_channel_settle(bench);
    } while (atomic_load_explicit(&bench->transport.alive, memory_order_acquire) > 0);
}

bool bench_channel_open(bench_channel *bench, const char *policy, size_t backends)
{
    evener_status status;
    evener_status_clear(&status);
    memset(bench, 0, sizeof *bench);
    bench->backends = backends;
    bench->next_index = backends;
    bench->weight = 1;
    bench->addresses = calloc(backends, sizeof(evener_address *));
    if (bench->addresses == NULL || !open_channel(bench, policy, &status)) {
        fprintf(stderr, "bench: %s over %zu backends: %s\n", policy, backends, status.message);
        bench_channel_close(bench);
        return false;
    }
    if (strcmp(policy, "ring_hash") == 0) {
        pick_each(bench);
    }
    return true;
}

void bench_channel_close(bench_channel *bench)
{
    if (bench->channel != NULL) {
        evener_channel_unref(bench->channel);
        wait_until_gone(bench);
    }
    evener_runtime_unref(bench->runtime);
    instant_transport_clear(&bench->transport);
    evener_manual_resolver_destroy(bench->resolver);
    for (size_t i = 0; bench->addresses != NULL && i < bench->backends; i++) {
        evener_address_unref(bench->addresses[i]);
    }
    free(bench->addresses);
    memset(bench, 0, sizeof *bench);
}

/* An update measured on the control thread: from its push until no work that follows from it is left. */
typedef struct measured_update {
    bench_channel *bench;
    evener_task task;
    uint64_t ready_wanted; /* connections that must have been made since the start */
    unsigned rounds_left;
    uint64_t from_ns, to_ns;
    atomic_bool is_over;
    evener_status status;
} measured_update;

static void look(void *arg)
{
    measured_update *self = arg;
    uint64_t made = atomic_load_explicit(&self->bench->transport.made, memory_order_relaxed);
    if (made >= self->ready_wanted) {
        self->rounds_left--;
        if (self->rounds_left == 0) {
            self->to_ns = bench_now_ns();
            atomic_store_explicit(&self->is_over, true, memory_order_release);
            return;
        }
    }
    evener_loop_post(evener_runtime_loop(self->bench->runtime), &self->task);
}

static void push_measured(void *arg)
{
    measured_update *self = arg;
    self->from_ns = bench_now_ns();
    if (push(self->bench, &self->status)) {
        evener_loop_post(evener_runtime_loop(self->bench->runtime), &self->task);
    } else {
        fprintf(stderr, "bench: %s\n", self->status.message);
        atomic_store_explicit(&self->is_over, true, memory_order_release);
    }
}

bench_update_times bench_channel_update(bench_channel *bench, bench_change change, size_t changed)
{
    measured_update update = {.bench = bench, .rounds_left = SETTLE_ROUNDS};
    update.task = (evener_task)EVENER_TASK_INIT(look, &update);
    bench->weight = bench->weight == 1 ? 2 : 1;
    for (size_t i = 0; i < changed && i < bench->backends; i++) {
        evener_address *address = change == BENCH_CHANGE_ADDRESS
                                      ? make_address(bench->next_index++, 1, &update.status)
                                      : with_weight(bench->addresses[i], bench->weight, &update.status);
        if (address == NULL) {
            fprintf(stderr, "bench: %s\n", update.status.message);
            return (bench_update_times){0};
        }
        evener_address_unref(bench->addresses[i]);
        bench->addresses[i] = address;
    }
    update.ready_wanted = atomic_load_explicit(&bench->transport.made, memory_order_relaxed) +
                          (change == BENCH_CHANGE_ADDRESS ? changed : 0);
    evener_runtime_call(bench->runtime, push_measured, &update);
    uint64_t end_ns = bench_now_ns() + READY_WAIT_NS;
    while (!atomic_load_explicit(&update.is_over, memory_order_acquire)) {
        pause_ns(100000);
        if (bench_now_ns() > end_ns) {
            fputs("bench: an update was never published\n", stderr);
            abort(); /* the control thread still uses `update` */
        }
    }
    const uint64_t in_force_ns = bench->policy.in_force_ns; /* published by the release store to is_over */
    if (update.to_ns == 0 || in_force_ns < update.from_ns) {
        return (bench_update_times){0};
    }
    return (bench_update_times){in_force_ns - update.from_ns, update.to_ns - update.from_ns};
}
