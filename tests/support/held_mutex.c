/* Linked into every suite and stress program: an unlock of a mutex that no thread holds ends the program. With glibc it
 * would otherwise pass unnoticed, so a lock that is missing would show only when two threads meet.
 *
 * A program's own pthread_mutex_unlock() comes before the C library's, also for the shared libraries that it uses.
 * ThreadSanitizer reports such unlocks itself. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_THREAD__)

/* glibc stores the type in the lowest bits, and the thread that holds the mutex in the owner. */
#define TYPE_BITS 127

typedef int unlock_function(pthread_mutex_t *mutex);

static unlock_function *next_unlock;

static __attribute__((constructor(101))) void find_next(void)
{
    *(void **)&next_unlock = dlsym(RTLD_NEXT, "pthread_mutex_unlock");
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    if ((mutex->__data.__kind & TYPE_BITS) == PTHREAD_MUTEX_NORMAL && mutex->__data.__owner == 0) {
        fputs("a mutex is unlocked that no thread holds\n", stderr);
        abort();
    }
    if (next_unlock == NULL) { /* before the constructors */
        find_next();
    }
    return next_unlock(mutex);
}
#endif
