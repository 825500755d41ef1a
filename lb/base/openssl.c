#include "lb/base/openssl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lb/base/fork.h"

#define LIBRARY "libssl.so.3" /* brings libcrypto.so.3 */

#if OPENSSL_VERSION_MAJOR != 3
#error "lb/base/openssl.c loads OpenSSL 3: adapt LIBRARY to the version of the headers"
#endif

evener_openssl_table evener_openssl;

/* ---- loading ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char failure[256]; /* why it could not be loaded; "": it was. Written once */

/* Store the function of that name. Return false if the library has none. */
static bool find(void *library, const char *name, void *function, size_t bytes)
{
    void *const found = dlsym(library, name);
    memcpy(function, &found, bytes); /* ISO C has no conversion from an object's address to a function's */
    return found != NULL;
}

static void load(void)
{
    /* It stays loaded: OpenSSL cleans up when the process exits. */
    void *const library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    bool is_complete = library != NULL;
#define FIND(name)                                                                                                     \
    is_complete = is_complete && find(library, #name, &evener_openssl.name##_, sizeof evener_openssl.name##_);
    EVENER_OPENSSL_FUNCTIONS(FIND)
#undef FIND
    if (!is_complete) {
        const char *reason = dlerror();
        (void)strncpy(failure, reason != NULL ? reason : LIBRARY " cannot be loaded", sizeof failure - 1);
    }
}

evener_status_code evener_openssl_load(evener_status *status)
{
    (void)pthread_once(&once, load);
    if (failure[0] != '\0') {
        return evener_status_set(status, EVENER_STATUS_FAILED_PRECONDITION,
                                 "TLS needs OpenSSL 3 (" LIBRARY ", package libssl3): %s", failure);
    }
    return EVENER_STATUS_OK;
}

/* ---- fork ---- */

/* Held to begin a use, and over a fork(): a fork that waits lets no further user in. */
static pthread_mutex_t entrance = PTHREAD_MUTEX_INITIALIZER;
/* Uses of OpenSSL under way, and one that is taken off by fork(): whoever takes off the last one knows that all are
 * over. */
static uint32_t uses = 1;
static sem_t all_over; /* posted by the last use, only while a fork() waits */

static void before_fork(void)
{
    pthread_mutex_lock(&entrance);
    /* Acquire pairs with the release in evener_openssl_end(): what the uses changed is complete in the child. */
    if (__atomic_sub_fetch(&uses, 1, __ATOMIC_ACQ_REL) > 0) {
        while (sem_wait(&all_over) != 0) { /* EINTR: the thread got a signal */
        }
    }
}

static void after_fork(void)
{
    __atomic_store_n(&uses, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&entrance);
}

static __attribute__((constructor)) void add_fork_hook(void)
{
    static evener_fork_hook hook = {
        .level = EVENER_FORK_TRANSPORT, .before = before_fork, .in_parent = after_fork, .in_child = after_fork};
    (void)sem_init(&all_over, 0, 0); /* fails only for values out of range */
    evener_fork_add_hook(&hook);
}

void evener_openssl_begin(void)
{
    pthread_mutex_lock(&entrance);
    (void)__atomic_add_fetch(&uses, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&entrance);
}

void evener_openssl_end(void)
{
    if (__atomic_sub_fetch(&uses, 1, __ATOMIC_ACQ_REL) == 0) {
        (void)sem_post(&all_over);
    }
}
