/* Channels come and go, and picks wait and are cancelled by their deadlines, while the process is brought to rest and
 * goes on again and again: every pick is answered, and everything ends. */
#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

#include <evener/evener.h>

#define OWNERS 3
#define ROUNDS 150

static size_t owners_left = OWNERS; /* atomic */

static void *own_channels(void *arg)
{
    const bool own_runtime = arg != NULL;
    for (int round = 0; round < ROUNDS; round++) {
        evener_status status;
        evener_runtime *runtime = NULL;
        evener_channel *channel = NULL;
        evener_credentials *insecure = NULL;
        evener_pick pick;
        const evener_pick_args args = {.size = sizeof args, .timeout_ms = 1, .wait_for_ready = true};
        assert(evener_credentials_create_insecure(&insecure, &status) == EVENER_STATUS_OK);
        assert(!own_runtime || evener_runtime_create(NULL, &runtime, &status) == EVENER_STATUS_OK);
        assert(evener_channel_create("ipv4:127.0.0.1:1",
                                     &(evener_channel_options){.size = sizeof(evener_channel_options),
                                                               .credentials = insecure,
                                                               .transport_name = "http2",
                                                               .runtime = runtime},
                                     &channel, &status) == EVENER_STATUS_OK);
        evener_credentials_destroy(insecure);
        assert(evener_channel_pick(channel, &args, &pick, &status) == EVENER_STATUS_DEADLINE_EXCEEDED);
        evener_channel_unref(channel);
        evener_runtime_unref(runtime);
    }
    (void)__atomic_sub_fetch(&owners_left, 1, __ATOMIC_RELAXED);
    return NULL;
}

int main(void)
{
    pthread_t owners[OWNERS];
    for (long i = 0; i < OWNERS; i++) {
        assert(pthread_create(&owners[i], NULL, own_channels, i == 0 ? &owners_left : NULL) == 0);
    }
    size_t rests = 0;
    for (size_t i = 0; __atomic_load_n(&owners_left, __ATOMIC_RELAXED) > 0; i++) {
        evener_status status;
        const evener_status_code code = evener_prefork(i % 4 == 0 ? 0 : 60000, &status);
        assert(code == EVENER_STATUS_OK || (i % 4 == 0 && code == EVENER_STATUS_DEADLINE_EXCEEDED));
        evener_postfork_parent();
        rests += code == EVENER_STATUS_OK;
    }
    for (int i = 0; i < OWNERS; i++) {
        pthread_join(owners[i], NULL);
    }
    printf("%zu rests\n", rests);
    return 0;
}
