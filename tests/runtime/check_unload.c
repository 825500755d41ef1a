/* check_unload PLUGIN: a plug-in that links evener is unloaded while a thread that picked with it lives on. At its
 * end the thread runs the destructors of its thread-local variables: their code must still be mapped. */
#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>

static int (*plugin_pick)(void);
static sem_t picked, unloaded;

static void *pick_and_stay(void *arg)
{
    assert(plugin_pick() == 0);
    sem_post(&picked);
    sem_wait(&unloaded);
    return arg;
}

int main(int argc, char **argv)
{
    assert(argc == 2);
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    *(void **)&plugin_pick = dlsym(plugin, "plugin_pick");
    assert(plugin_pick != NULL);
    sem_init(&picked, 0, 0);
    sem_init(&unloaded, 0, 0);
    pthread_t thread;
    assert(pthread_create(&thread, NULL, pick_and_stay, NULL) == 0);
    sem_wait(&picked);
    assert(dlclose(plugin) == 0);
    sem_post(&unloaded);
    assert(pthread_join(thread, NULL) == 0);
    puts("unloaded before the thread's end");
    return 0;
}
