#include "lb/base/fork.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint32_t evener_fork_generation;

/* By level. Under `hooks_lock`, which is held over a fork: libevener-grpc may be loaded meanwhile. */
static evener_fork_hook *first_hook;
static pthread_mutex_t hooks_lock = PTHREAD_MUTEX_INITIALIZER;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static evener_fork_object objects = {.previous = &objects, .next = &objects}; /* a ring; under `lock` */

/* Bit n: descriptor n is closed in the child. Under `lock`. */
#define WORD_BITS (sizeof(unsigned long) * CHAR_BIT)
static unsigned long *descriptors;
static size_t descriptor_words;

evener_status_code evener_fork_refuse(evener_status *status, const char *what)
{
    return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                             "the %s was made before fork(), in the parent of this process: make a new one here", what);
}

/* ---- hooks ---- */

static void before_fork(void)
{
    pthread_mutex_lock(&hooks_lock);
    for (const evener_fork_hook *hook = first_hook; hook != NULL; hook = hook->next) {
        hook->before();
    }
}

static void after_fork_in_parent(void)
{
    for (const evener_fork_hook *hook = first_hook; hook != NULL; hook = hook->next) {
        hook->in_parent();
    }
    pthread_mutex_unlock(&hooks_lock);
}

static void after_fork_in_child(void)
{
    evener_fork_generation++;
    for (const evener_fork_hook *hook = first_hook; hook != NULL; hook = hook->next) {
        hook->in_child();
    }
    pthread_mutex_unlock(&hooks_lock);
}

void evener_fork_add_hook(evener_fork_hook *hook)
{
    pthread_mutex_lock(&hooks_lock);
    if (first_hook == NULL) {
        (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); /* fails only without memory */
    }
    evener_fork_hook **at = &first_hook;
    while (*at != NULL && (*at)->level <= hook->level) {
        at = &(*at)->next;
    }
    hook->next = *at;
    *at = hook;
    pthread_mutex_unlock(&hooks_lock);
}

/* ---- objects ---- */

void evener_fork_enlist(evener_fork_object *object)
{
    pthread_mutex_lock(&lock);
    object->previous = &objects;
    object->next = objects.next;
    objects.next->previous = object;
    objects.next = object;
    pthread_mutex_unlock(&lock);
}

void evener_fork_delist(evener_fork_object *object)
{
    pthread_mutex_lock(&lock);
    if (object->next != NULL) {
        object->previous->next = object->next;
        object->next->previous = object->previous;
        object->next = NULL;
    }
    pthread_mutex_unlock(&lock);
}

void evener_fork_for_each(void (*cut_off)(evener_fork_object *object), void (*fn)(evener_fork_object *, void *),
                          void *arg)
{
    pthread_mutex_lock(&lock);
    for (evener_fork_object *object = objects.next; object != &objects; object = object->next) {
        if (object->cut_off == cut_off) {
            fn(object, arg);
        }
    }
    pthread_mutex_unlock(&lock);
}

/* ---- descriptors ---- */

static bool make_room(size_t word)
{
    if (word < descriptor_words) {
        return true;
    }
    const size_t words = 2 * word + 8;
    unsigned long *more = realloc(descriptors, words * sizeof *more);
    if (more == NULL) {
        return false;
    }
    memset(more + descriptor_words, 0, (words - descriptor_words) * sizeof *more);
    descriptors = more;
    descriptor_words = words;
    return true;
}

void evener_fork_close_in_child(int descriptor)
{
    const size_t word = (size_t)descriptor / WORD_BITS;
    pthread_mutex_lock(&lock);
    if (make_room(word)) {
        descriptors[word] |= 1UL << ((size_t)descriptor % WORD_BITS);
    }
    pthread_mutex_unlock(&lock);
}

/* Closed under the lock: otherwise a fork in between could close, in the child, a descriptor of the same number that is
 * somebody else's. */
void evener_fork_close(int descriptor)
{
    const size_t word = (size_t)descriptor / WORD_BITS;
    pthread_mutex_lock(&lock);
    if (word < descriptor_words) {
        descriptors[word] &= ~(1UL << ((size_t)descriptor % WORD_BITS));
    }
    (void)close(descriptor);
    pthread_mutex_unlock(&lock);
}

/* ---- the child ---- */

static void cut_off(void)
{
    for (evener_fork_object *object = objects.next; object != &objects; object = object->next) {
        object->cut_off(object);
    }
    /* They are never freed here: what follows is the child's own list. */
    objects.next = &objects;
    objects.previous = &objects;
    for (size_t word = 0; word < descriptor_words; word++) {
        for (unsigned long bits = descriptors[word]; bits != 0; bits &= bits - 1) {
            (void)close((int)(word * WORD_BITS) + __builtin_ctzl(bits));
        }
        descriptors[word] = 0;
    }
}

EVENER_FORK_LOCK(lock, EVENER_FORK_OBJECTS, cut_off)
