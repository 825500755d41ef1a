/* The handle of a manual resolver is destroyed before, during and after the use of its channel. Meanwhile threads pick
 * rarely enough that the channel goes idle and rebuilds its resolver; another thread pushes while the handle exists.
 * Every pick gets a backend, and the sanitizers see no use after free. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/support/stress_scene.h"

#define ROUNDS 45
#define PICKERS 2
#define PICKS 20 /* per picker */
#define PICK_TIMEOUT_MS 60000

static stress_scene scene;
static uint64_t wake_ups; /* atomic: picks that found the channel idle */

static void sleep_us(unsigned us)
{
    const struct timespec pause = {.tv_nsec = (long)us * 1000};
    nanosleep(&pause, NULL);
}

static void *pick(void *arg)
{
    unsigned random = *(unsigned *)arg;
    for (int i = 0; i < PICKS; i++) {
        if (evener_channel_state(scene.channel, false) == EVENER_IDLE) {
            (void)__atomic_add_fetch(&wake_ups, 1, __ATOMIC_RELAXED);
        }
        const evener_pick_args args = {.size = sizeof args, .wait_for_ready = true, .timeout_ms = PICK_TIMEOUT_MS};
        evener_pick one;
        evener_status status;
        stress_check(&scene, evener_channel_pick(scene.channel, &args, &one, &status) == EVENER_STATUS_OK,
                     status.message);
        evener_pick_done(&one, NULL);
        sleep_us((unsigned)rand_r(&random) % 5000);
    }
    return NULL;
}

/* Push, and release the handle on this thread. */
static void *push_and_destroy(void *arg)
{
    unsigned random = *(unsigned *)arg;
    for (int i = rand_r(&random) % 30; i > 0; i--) {
        stress_push(&scene, 4, false, NULL, &random);
        sleep_us((unsigned)rand_r(&random) % 1000);
    }
    evener_manual_resolver_destroy(scene.resolver);
    return NULL;
}

int main(void)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        stress_open(&scene, "stress_manual_life",
                    &(evener_channel_options){.policy = "round_robin", .idle_timeout_ms = 1});
        unsigned random = round + 1;
        stress_push(&scene, 4, false, NULL, &random);
        const bool before = round % 3 == 0;
        const bool meanwhile = round % 3 == 1;
        if (before) {
            evener_manual_resolver_destroy(scene.resolver);
            scene.resolver = NULL;
        }
        pthread_t pickers[PICKERS];
        unsigned seeds[PICKERS];
        for (unsigned i = 0; i < PICKERS; i++) {
            seeds[i] = round * PICKERS + i;
            stress_check(&scene, pthread_create(&pickers[i], NULL, pick, &seeds[i]) == 0, "no thread");
        }
        pthread_t owner;
        if (meanwhile) {
            stress_check(&scene, pthread_create(&owner, NULL, push_and_destroy, &random) == 0, "no thread");
        }
        for (unsigned i = 0; i < PICKERS; i++) {
            pthread_join(pickers[i], NULL);
        }
        if (meanwhile) {
            pthread_join(owner, NULL);
            scene.resolver = NULL;
        }
        (void)stress_close(&scene); /* destroys the handle, if there is one, behind the channel */
    }
    stress_check(&scene, wake_ups > 0, "no channel was ever idle");
    printf("%d handles, %llu wake-ups\n", ROUNDS, (unsigned long long)wake_ups);
    return 0;
}
