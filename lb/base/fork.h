/* fork(): what the library does so that the parent notices nothing and the child can begin anew.
 *
 *     before     every lock of the process's is taken, so that the child finds consistent data behind each
 *     in parent  the locks are given back
 *     in child   the locks are given back; objects that need the parent's threads or sockets are cut off
 *
 * An object from before the fork stays in memory in the child: it answers and is never freed there, as the threads that
 * used it are gone and may have been in the middle of a change. */
#ifndef EVENER_LB_BASE_FORK_H
#define EVENER_LB_BASE_FORK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <evener/status.h>

#include "lb/base/sibling.h"

/* Number of forks between the process that loaded the library and this one. Changes in the child of a fork only, before
 * it has a second thread: plain reads everywhere. */
extern uint32_t evener_fork_generation;

/* Return whether an object that was made in that generation belongs to a parent of this process. */
static inline bool evener_fork_is_older(uint32_t generation)
{
    return __builtin_expect(generation != evener_fork_generation, 0);
}

/* Set FAILED_PRECONDITION for an object of the parent's and return it. `what` names the object. `status` may be
 * NULL. */
EVENER_SIBLING evener_status_code evener_fork_refuse(evener_status *status, const char *what);

/* ---- hooks: one per lock of the process's, or per counter ---- */

/* Order in which fork() takes locks: a thread that holds one takes only those of greater levels. */
typedef enum evener_fork_level {
    EVENER_FORK_RUNTIME,   /* the default runtime: held while a runtime is created */
    EVENER_FORK_TRANSPORT, /* the libraries that transports use */
    EVENER_FORK_REGISTRY,  /* what programs register */
    EVENER_FORK_OBJECTS,   /* lists of objects, lanes, pools */
    EVENER_FORK_REST,      /* that of evener_prefork() */
    EVENER_FORK_LOG,
    EVENER_FORK_RCU, /* last: liburcu blocks all signals from here on */
} evener_fork_level;

typedef struct evener_fork_hook {
    evener_fork_level level;
    void (*before)(void);
    void (*in_parent)(void);
    void (*in_child)(void);
    struct evener_fork_hook *next;
} evener_fork_hook;

/* Add a hook for the life of the process. While the library is loaded (a constructor). */
EVENER_SIBLING void evener_fork_add_hook(evener_fork_hook *hook);

/* Make fork() take a static mutex. IN_CHILD, a function or NULL, runs in the child while the mutex is held. */
#define EVENER_FORK_LOCK(MUTEX, LEVEL, IN_CHILD)                                                                       \
    static void fork_before(void)                                                                                      \
    {                                                                                                                  \
        pthread_mutex_lock(&(MUTEX));                                                                                  \
    }                                                                                                                  \
    static void fork_in_parent(void)                                                                                   \
    {                                                                                                                  \
        pthread_mutex_unlock(&(MUTEX));                                                                                \
    }                                                                                                                  \
    static void fork_in_child(void)                                                                                    \
    {                                                                                                                  \
        void (*const in_child)(void) = (IN_CHILD);                                                                     \
        if (in_child != NULL) {                                                                                        \
            in_child();                                                                                                \
        }                                                                                                              \
        pthread_mutex_unlock(&(MUTEX));                                                                                \
    }                                                                                                                  \
    static __attribute__((constructor)) void fork_add_hook(void)                                                       \
    {                                                                                                                  \
        static evener_fork_hook hook = {                                                                               \
            .level = (LEVEL), .before = fork_before, .in_parent = fork_in_parent, .in_child = fork_in_child};          \
        evener_fork_add_hook(&hook);                                                                                   \
    }

/* Call IN_CHILD, a function, in the child of each fork: only stores. For counters of what a child does not inherit. */
#define EVENER_FORK_CHILD(IN_CHILD)                                                                                    \
    static void fork_nothing(void)                                                                                     \
    {                                                                                                                  \
    }                                                                                                                  \
    static __attribute__((constructor)) void fork_add_child_hook(void)                                                 \
    {                                                                                                                  \
        static evener_fork_hook hook = {                                                                               \
            .level = EVENER_FORK_REST, .before = fork_nothing, .in_parent = fork_nothing, .in_child = (IN_CHILD)};     \
        evener_fork_add_hook(&hook);                                                                                   \
    }

/* ---- objects that are cut off in the child ---- */

/* Embedded in its owner. */
typedef struct evener_fork_object {
    void (*cut_off)(struct evener_fork_object *object); /* in the child, with one thread: only stores */
    struct evener_fork_object *previous, *next;         /* NULL: not enlisted */
} evener_fork_object;

/* Enlist an object; take it off the list before it is freed (nothing happens if it is not on it). Any thread. */
void evener_fork_enlist(evener_fork_object *object);
void evener_fork_delist(evener_fork_object *object);

/* Call fn(object, arg) for each object on the list whose cut_off is that function. Under the list's lock: `fn` neither
 * enlists nor delists. Any thread. */
void evener_fork_for_each(void (*cut_off)(evener_fork_object *object), void (*fn)(evener_fork_object *, void *),
                          void *arg);

/* ---- descriptors that are closed in the child ---- */

/* Close `descriptor` in the children of later forks: the copy in a child would keep a connection open that the parent
 * closes. Without memory for the entry it stays open there. Any thread. */
void evener_fork_close_in_child(int descriptor);

/* Close a descriptor that evener_fork_close_in_child() was called for. Any thread. */
void evener_fork_close(int descriptor);

#endif
