/* Channels come and go, and picks wait and are cancelled by their deadlines, while the process is brought to rest and
 * goes on again and again: every pick is answered, and everything ends, the threads too. */
#include <assert.h>
#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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

/* Return the number of threads that have another name than the program: evener's. */
static size_t count_threads(void)
{
    char own[32] = "";
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert(tasks != NULL);
    for (const struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        char path[64], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", entry->d_name);
        FILE *file = entry->d_name[0] != '.' ? fopen(path, "r") : NULL;
        if (file != NULL) {
            (void)!fgets(name, sizeof name, file);
            fclose(file);
        }
        if (own[0] == '\0') {
            strcpy(own, name); /* the main thread comes first */
        }
        count += name[0] != '\0' && strcmp(name, own) != 0;
    }
    closedir(tasks);
    return count;
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
    while (count_threads() > 0) { /* a runtime that is never given back keeps its thread until the test's time is up */
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    }
    printf("%zu rests\n", rests);
    return 0;
}
