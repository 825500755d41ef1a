/* The manual resolver with many threads: pushes while channels' resolvers are created and closed. Every resolver sees
 * growing numbers only, and a resolver that stays open sees the last number. */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/manual_resolver.h>
#include <evener/runtime.h>

#define PUSHING_THREADS 3
#define PUSHES 2000
#define LIVES 300 /* of resolvers that come and go */

struct instance {
    evener_resolver_sink base;
    evener_resolver *resolver;
    uint64_t last; /* control thread */
};

static evener_runtime *runtime;
static evener_manual_resolver *manual;
static evener_target *target;
static pthread_mutex_t push_lock = PTHREAD_MUTEX_INITIALIZER; /* the numbers grow in the order of the pushes */
static uint64_t pushed;

static bool sink_update(evener_resolver_sink *base, const evener_resolver_update *update)
{
    struct instance *instance = (struct instance *)base;
    assert(update->address_count == 1);
    assert(update->ttl_ms > instance->last);
    instance->last = update->ttl_ms;
    instance->resolver->vtable->resolve_now(instance->resolver);
    return true;
}

static void sink_error(evener_resolver_sink *base, const evener_status *status)
{
    (void)base;
    assert(strcmp(status->message, "now and then") == 0);
}

static const evener_resolver_sink_vtable sink_vtable = {
    .size = sizeof sink_vtable, .update = sink_update, .error = sink_error};

static void *push_many(void *arg)
{
    evener_address *address;
    evener_status status;
    assert(evener_address_create("127.0.0.1:80", NULL, 0, &address, &status) == EVENER_STATUS_OK);
    for (int i = 0; i < PUSHES; i++) {
        pthread_mutex_lock(&push_lock);
        const evener_resolver_update update = {
            .size = sizeof update, .addresses = &address, .address_count = 1, .ttl_ms = ++pushed};
        assert(evener_manual_resolver_update(manual, &update, &status) == EVENER_STATUS_OK);
        pthread_mutex_unlock(&push_lock);
        if (i % 7 == 0) {
            evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "now and then");
            evener_manual_resolver_error(manual, &status);
        }
    }
    evener_address_unref(address);
    return arg;
}

static void open_instance(void *arg)
{
    struct instance *instance = arg;
    const evener_resolver_builder *builder = evener_manual_resolver_builder(manual);
    *instance = (struct instance){.base = {.vtable = &sink_vtable}};
    const evener_resolver_args args = {
        .size = sizeof args,
        .target = target,
        .sink = &instance->base,
        .runtime = runtime,
        .loop = evener_runtime_loop(runtime),
    };
    assert(builder->build(builder, &args, &instance->resolver, NULL) == EVENER_STATUS_OK);
    instance->resolver->vtable->start(instance->resolver);
}

static void close_instance(void *arg)
{
    struct instance *instance = arg;
    instance->resolver->vtable->close(instance->resolver);
}

static void expect_last(void *arg)
{
    struct instance *instance = arg;
    assert(instance->last == pushed);
}

int main(void)
{
    evener_status status;
    assert(evener_runtime_create(NULL, &runtime, &status) == EVENER_STATUS_OK);
    assert(evener_manual_resolver_create("orders", &manual, &status) == EVENER_STATUS_OK);
    assert(evener_target_parse("orders:///x", &target, &status) == EVENER_STATUS_OK);

    struct instance staying;
    evener_runtime_call(runtime, open_instance, &staying);
    pthread_t threads[PUSHING_THREADS];
    for (int i = 0; i < PUSHING_THREADS; i++) {
        assert(pthread_create(&threads[i], NULL, push_many, NULL) == 0);
    }
    for (int i = 0; i < LIVES; i++) {
        struct instance *passing = malloc(sizeof *passing);
        assert(passing != NULL);
        evener_runtime_call(runtime, open_instance, passing);
        evener_runtime_call(runtime, close_instance, passing);
        free(passing); /* the sink is not used after close() */
    }
    for (int i = 0; i < PUSHING_THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    evener_runtime_call(runtime, expect_last, &staying); /* after every task that the pushes posted */
    evener_manual_resolver_destroy(manual);
    evener_runtime_call(runtime, close_instance, &staying);
    evener_target_destroy(target);
    evener_runtime_unref(runtime);
    printf("%d pushes, %d lives\n", PUSHING_THREADS * PUSHES, LIVES);
    return 0;
}
