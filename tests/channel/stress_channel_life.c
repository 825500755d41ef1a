/* Channels, and with them the default runtime, come and go while other threads pick from them, close them and push
 * lists: every request is answered, and nothing is left at the end. */
#include <assert.h>
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "lb/runtime/random.h"

#define OWNERS 3
#define PICKERS 2 /* per channel */
#define ROUNDS 60

/* ---- a transport that connects at once; one connection is one posted task ---- */

struct evener_connection {
    evener_task task;
    void (*state_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    bool given_up; /* control thread only */
    bool reported;
};

static size_t connections; /* control thread only; of several runtimes in turn, therefore atomic */

static void drop(evener_connection *connection)
{
    (void)__atomic_sub_fetch(&connections, 1, __ATOMIC_RELAXED);
    free(connection);
}

static void report(void *arg)
{
    evener_connection *connection = arg;
    connection->reported = true;
    if (connection->given_up) {
        drop(connection);
    } else {
        connection->state_changed(connection->arg, EVENER_READY, NULL);
    }
}

typedef struct instant_transport {
    evener_transport base;
    evener_loop *loop;
} instant_transport;

static evener_status_code instant_connect(evener_transport *base, const evener_connect_args *args,
                                          evener_connection **connection, evener_status *status)
{
    (void)status;
    evener_connection *c = calloc(1, sizeof(*c));
    assert(c != NULL);
    (void)__atomic_add_fetch(&connections, 1, __ATOMIC_RELAXED);
    c->task = (evener_task)EVENER_TASK_INIT(report, c);
    c->state_changed = args->state_changed;
    c->arg = args->arg;
    evener_loop_post(((instant_transport *)base)->loop, &c->task);
    *connection = c;
    return EVENER_STATUS_OK;
}

static void instant_disconnect(evener_transport *base, evener_connection *connection)
{
    (void)base;
    connection->given_up = true;
    if (connection->reported) {
        drop(connection);
    }
}

static const evener_transport_vtable instant_vtable = {
    .size = sizeof(evener_transport_vtable), .connect = instant_connect, .disconnect = instant_disconnect};

static instant_transport transports[OWNERS * ROUNDS];
static size_t transport_count; /* atomic */

/* ---- one channel's life ---- */

typedef struct life {
    evener_channel *channel;
    evener_random random;
    pthread_t thread;
    uint64_t picked, refused;
} life;

static void *pick_until_closed(void *arg)
{
    life *self = arg;
    bool closed = false;
    while (!closed) {
        const bool wait = evener_random_next(&self->random) % 2 == 0;
        const evener_pick_args args = {
            .size = sizeof(args), .wait_for_ready = wait, .timeout_ms = 1 + evener_random_next(&self->random) % 20};
        evener_pick pick;
        evener_status status;
        const evener_status_code code = evener_channel_pick(self->channel, &args, &pick, &status);
        if (code == EVENER_STATUS_OK) {
            self->picked++;
            evener_pick_done(&pick, NULL);
        } else {
            assert(status.code == code && status.message[0] != '\0');
            assert(code == EVENER_STATUS_UNAVAILABLE || code == EVENER_STATUS_DEADLINE_EXCEEDED);
            self->refused++;
        }
        closed = evener_channel_state(self->channel, true) == EVENER_SHUTDOWN;
    }
    evener_channel_unref(self->channel); /* the last of these frees the channel */
    return NULL;
}

/* The owner's thread changes the channel meanwhile. */
static void meddle(evener_channel *channel, evener_manual_resolver *manual, evener_random *random)
{
    char list[64];
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    switch (evener_random_next(random) % 8) {
    case 0:
        (void)evener_channel_wait_ready(channel, 50, NULL);
        break;
    case 1:
        evener_channel_resolve_now(channel);
        evener_channel_reset_connect_backoff(channel);
        break;
    case 2:
        assert(evener_channel_get_stats(channel, &stats, NULL) == EVENER_STATUS_OK);
        evener_channel_stats_clear(&stats);
        break;
    case 3:
        assert(evener_channel_set_default_service_config(channel, "{\"loadBalancingConfig\":[{\"round_robin\":{}}]}",
                                                         NULL) == EVENER_STATUS_OK);
        break;
    case 4: { /* sometimes longer than the idle timeout */
        const struct timespec nap = {.tv_nsec = (long)(evener_random_next(random) % 5000000)};
        (void)nanosleep(&nap, NULL);
        break;
    }
    default:
        (void)snprintf(list, sizeof(list), "10.0.0.%d:1,10.0.0.%d:1", (int)(evener_random_next(random) % 4),
                       (int)(4 + evener_random_next(random) % 4));
        assert(evener_manual_resolver_set(manual, list, NULL, NULL) == EVENER_STATUS_OK);
    }
}

/* An asynchronous pick that holds a reference of its own, and gives it back on the control thread. */
typedef struct async_pick {
    evener_pick_request request;
    evener_pick pick;
    evener_channel *channel;
} async_pick;

static void async_done(void *arg, evener_status_code code, const evener_status *status)
{
    async_pick *a = arg;
    assert(status->code == code);
    if (code == EVENER_STATUS_OK) {
        evener_pick_done(&a->pick, NULL);
    }
    evener_channel_unref(a->channel);
    free(a);
}

static void pick_async(evener_channel *channel)
{
    async_pick *a = calloc(1, sizeof(*a));
    assert(a != NULL);
    a->request =
        (evener_pick_request){.size = sizeof(evener_pick_request), .pick = &a->pick, .callback = async_done, .arg = a};
    a->channel = evener_channel_ref(channel);
    evener_status status = {0};
    const evener_pick_outcome outcome = evener_channel_pick_async(channel, NULL, &a->request, &status);
    if (outcome != EVENER_PICK_QUEUE) {
        status.code = outcome == EVENER_PICK_COMPLETE ? EVENER_STATUS_OK : status.code;
        async_done(a, status.code, &status);
    }
}

static void live(uint64_t seed, life *sum)
{
    evener_random random;
    evener_random_seed(&random, seed);
    evener_runtime *runtime = NULL;
    assert(evener_runtime_default(&runtime, NULL) == EVENER_STATUS_OK);
    /* A channel may end after this function, on the control thread, so its transport must outlive it. */
    instant_transport *transport = &transports[__atomic_fetch_add(&transport_count, 1, __ATOMIC_RELAXED)];
    *transport = (instant_transport){{&instant_vtable}, evener_runtime_loop(runtime)};
    evener_manual_resolver *manual = NULL;
    assert(evener_manual_resolver_create("stress", &manual, NULL) == EVENER_STATUS_OK);
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(manual)};
    const evener_channel_options options = {.size = sizeof(options),
                                            .runtime = runtime,
                                            .transport = &transport->base,
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .policy = evener_random_next(&random) % 2 == 0 ? "round_robin" : NULL,
                                            .idle_timeout_ms = evener_random_next(&random) % 2 == 0 ? 2 : 0};
    evener_channel *channel = NULL;
    assert(evener_channel_create("stress:///x", &options, &channel, NULL) == EVENER_STATUS_OK);
    life pickers[PICKERS];
    for (size_t i = 0; i < PICKERS; i++) {
        pickers[i] = (life){.channel = evener_channel_ref(channel)};
        evener_random_seed(&pickers[i].random, evener_random_next(&random) | 1);
        assert(pthread_create(&pickers[i].thread, NULL, pick_until_closed, &pickers[i]) == 0);
    }
    for (uint64_t deeds = evener_random_next(&random) % 8; deeds > 0; deeds--) {
        meddle(channel, manual, &random);
    }
    if (evener_random_next(&random) % 2 == 0) {
        pick_async(channel);
    }
    evener_channel_close(channel);
    evener_channel_unref(channel);
    for (size_t i = 0; i < PICKERS; i++) {
        assert(pthread_join(pickers[i].thread, NULL) == 0);
        sum->picked += pickers[i].picked;
        sum->refused += pickers[i].refused;
    }
    evener_manual_resolver_destroy(manual);
    evener_runtime_unref(runtime);
}

static void *own_channels(void *arg)
{
    life *self = arg;
    for (int i = 0; i < ROUNDS; i++) {
        live(evener_random_next(&self->random) | 1, self);
    }
    return NULL;
}

/* Count threads by the names that the library gives them: sanitizers have threads of their own. */
static size_t threads_of_evener(void)
{
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert(tasks != NULL);
    for (const struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        char path[300];
        char name[32] = "";
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file != NULL) {
            count += fgets(name, sizeof(name), file) != NULL && strncmp(name, "evener", 6) == 0;
            (void)fclose(file);
        }
    }
    (void)closedir(tasks);
    return count;
}

int main(void)
{
    life owners[OWNERS];
    for (size_t i = 0; i < OWNERS; i++) {
        owners[i] = (life){.picked = 0};
        evener_random_seed(&owners[i].random, i + 1);
        assert(pthread_create(&owners[i].thread, NULL, own_channels, &owners[i]) == 0);
    }
    uint64_t picked = 0;
    uint64_t refused = 0;
    for (size_t i = 0; i < OWNERS; i++) {
        assert(pthread_join(owners[i].thread, NULL) == 0);
        picked += owners[i].picked;
        refused += owners[i].refused;
    }
    assert(picked > 0 && refused > 0);
    while (threads_of_evener() > 0) { /* a joined thread's entry goes shortly after; ctest has a timeout */
        sched_yield();
    }
    assert(connections == 0);
    printf("%llu picks, %llu refused\n", (unsigned long long)picked, (unsigned long long)refused);
    return 0;
}
