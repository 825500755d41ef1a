/* check_unload PLUGIN ROUNDS: a plug-in that links evener is loaded, three threads pick with it, it is unloaded, and
 * only then the threads end, in any order. At its end a thread runs the destructors of its thread-local variables:
 * their code must still be mapped. With a sanitizer this finds what a round leaves behind. */
#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 3

static int (*plugin_pick)(void);
static sem_t picked, unloaded;

static void *pick_and_stay(void *arg)
{
    assert(plugin_pick() == 0);
    sem_post(&picked);
    sem_wait(&unloaded);
    return arg;
}

static void run_round(const char *path)
{
    pthread_t threads[THREADS];
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    *(void **)&plugin_pick = dlsym(plugin, "plugin_pick");
    assert(plugin_pick != NULL);
    for (int i = 0; i < THREADS; i++) {
        assert(pthread_create(&threads[i], NULL, pick_and_stay, NULL) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        sem_wait(&picked);
    }
    assert(dlclose(plugin) == 0);
    assert(dlopen(path, RTLD_NOW | RTLD_NOLOAD) == NULL); /* the plug-in is gone, evener is not */
    for (int i = 0; i < THREADS; i++) {
        sem_post(&unloaded);
    }
    for (int i = 0; i < THREADS; i++) {
        assert(pthread_join(threads[i], NULL) == 0);
    }
}

int main(int argc, char **argv)
{
    assert(argc == 3);
    sem_init(&picked, 0, 0);
    sem_init(&unloaded, 0, 0);
    const int rounds = atoi(argv[2]);
    assert(rounds > 0);
    for (int i = 0; i < rounds; i++) {
        run_round(argv[1]);
    }
    printf("unloaded %d times before the threads' end\n", rounds);
    return 0;
}
