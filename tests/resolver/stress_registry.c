/* Register, look up and share addresses on many threads: a lookup always finds a registered builder, and an address
 * lives as long as a reference exists. */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <evener/resolver.h>

#define THREADS 4
#define ROUNDS 5000

static evener_status_code never_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                      evener_resolver **resolver, evener_status *status)
{
    (void)builder, (void)args, (void)resolver;
    return evener_status_set(status, EVENER_STATUS_INTERNAL, "not in this test");
}

static const evener_resolver_builder builders[THREADS] = {
    {.size = sizeof builders[0], .scheme = "mine", .build = never_build},
    {.size = sizeof builders[0], .scheme = "mine", .build = never_build},
    {.size = sizeof builders[0], .scheme = "mine", .build = never_build},
    {.size = sizeof builders[0], .scheme = "mine", .build = never_build},
};
static evener_address *shared;

static void *meddle(void *arg)
{
    const evener_resolver_builder *own = arg;
    for (int i = 0; i < ROUNDS; i++) {
        evener_status status;
        evener_target *target;
        const evener_resolver_builder *found;
        evener_address *same;
        assert(evener_resolver_register(own, &status) == EVENER_STATUS_OK);
        assert(evener_resolver_lookup(NULL, "mine:///x", &target, &found, &status) == EVENER_STATUS_OK);
        assert(found >= &builders[0] && found < &builders[THREADS]);
        evener_target_destroy(target);

        evener_address *held = evener_address_ref(shared);
        assert(evener_address_create("10.0.0.1:080", NULL, 0, &same, &status) == EVENER_STATUS_OK);
        assert(evener_address_same_backend(held, same));
        assert(evener_address_identity_hash(held) == evener_address_identity_hash(same));
        evener_address_unref(same);
        evener_address_unref(held);
    }
    evener_address_unref(shared); /* this thread's own reference; the last one frees it */
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    assert(evener_address_create("10.0.0.1:80", NULL, 0, &shared, NULL) == EVENER_STATUS_OK);
    for (int i = 1; i < THREADS; i++) {
        (void)evener_address_ref(shared);
    }
    for (int i = 0; i < THREADS; i++) {
        assert(pthread_create(&threads[i], NULL, meddle, (void *)(uintptr_t)&builders[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%d threads, %d rounds\n", THREADS, ROUNDS);
    return 0;
}
