/* Interposes libc's functions: the program's definitions come first for all shared libraries too. Each thread counts in
 * a cache line of its own, so that counting disturbs what is measured as little as possible. A separate file, as
 * linking it changes the program. */
#include "bench/support/counts.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The build hides symbols; these are to be found by shared libraries. */
#define INTERPOSED __attribute__((visibility("default")))

#define LINES 512 /* more threads share lines */

static struct {
    _Alignas(64) atomic_uint_fast64_t system_calls;
    atomic_uint_fast64_t allocations;
} lines[LINES];
static atomic_uint lines_taken;
static _Thread_local unsigned own_line; /* 0: none yet */

static unsigned line(void)
{
    if (own_line == 0) {
        own_line = 1 + atomic_fetch_add_explicit(&lines_taken, 1, memory_order_relaxed) % LINES;
    }
    return own_line - 1;
}

static void count_system_call(void)
{
    atomic_fetch_add_explicit(&lines[line()].system_calls, 1, memory_order_relaxed);
}

bench_counts bench_counts_read(void)
{
    bench_counts counts = {0};
    struct rusage usage;
    for (unsigned i = 0; i < LINES; i++) {
        counts.system_calls += atomic_load_explicit(&lines[i].system_calls, memory_order_relaxed);
        counts.allocations += atomic_load_explicit(&lines[i].allocations, memory_order_relaxed);
    }
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        counts.hand_overs = (uint64_t)usage.ru_nvcsw;
    }
    return counts;
}

/* ---- system calls ---- */

/* Define `name`, which counts and then calls libc's own. The address is looked up at its first call. */
#define COUNTED(type, name, parameters, arguments)                                                                     \
    INTERPOSED type name parameters                                                                                    \
    {                                                                                                                  \
        static type(*_Atomic next) parameters;                                                                         \
        type(*own) parameters = atomic_load_explicit(&next, memory_order_relaxed);                                     \
        if (own == NULL) {                                                                                             \
            *(void **)(&own) = dlsym(RTLD_NEXT, #name);                                                                \
            atomic_store_explicit(&next, own, memory_order_relaxed);                                                   \
        }                                                                                                              \
        count_system_call();                                                                                           \
        return own arguments;                                                                                          \
    }

COUNTED(ssize_t, read, (int fd, void *to, size_t bytes), (fd, to, bytes))
COUNTED(ssize_t, write, (int fd, const void *from, size_t bytes), (fd, from, bytes))
COUNTED(ssize_t, readv, (int fd, const struct iovec *pieces, int count), (fd, pieces, count))
COUNTED(ssize_t, writev, (int fd, const struct iovec *pieces, int count), (fd, pieces, count))
COUNTED(ssize_t, recv, (int fd, void *to, size_t bytes, int flags), (fd, to, bytes, flags))
COUNTED(ssize_t, send, (int fd, const void *from, size_t bytes, int flags), (fd, from, bytes, flags))
COUNTED(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
COUNTED(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
COUNTED(int, epoll_ctl, (int epoll, int operation, int fd, struct epoll_event *event), (epoll, operation, fd, event))
COUNTED(int, epoll_wait, (int epoll, struct epoll_event *events, int max, int timeout_ms),
        (epoll, events, max, timeout_ms))
COUNTED(int, poll, (struct pollfd * fds, nfds_t count, int timeout_ms), (fds, count, timeout_ms))
COUNTED(int, ppoll, (struct pollfd * fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask),
        (fds, count, timeout, mask))
COUNTED(int, sched_yield, (void), ())

INTERPOSED long syscall(long number, ...)
{
    static long (*_Atomic next)(long, ...);
    long (*own)(long, ...) = atomic_load_explicit(&next, memory_order_relaxed);
    if (own == NULL) {
        *(void **)(&own) = dlsym(RTLD_NEXT, "syscall");
        atomic_store_explicit(&next, own, memory_order_relaxed);
    }
    long of[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++) {
        of[i] = va_arg(arguments, long); /* six registers, whether or not they were set */
    }
    va_end(arguments);
    count_system_call();
    return own(number, of[0], of[1], of[2], of[3], of[4], of[5]);
}

/* ---- allocations ---- */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static void count_allocation(void)
{
    atomic_fetch_add_explicit(&lines[line()].allocations, 1, memory_order_relaxed);
}

INTERPOSED void *malloc(size_t bytes)
{
    count_allocation();
    return __libc_malloc(bytes);
}

INTERPOSED void *calloc(size_t count, size_t bytes)
{
    count_allocation();
    return __libc_calloc(count, bytes);
}

INTERPOSED void *realloc(void *memory, size_t bytes)
{
    count_allocation();
    return __libc_realloc(memory, bytes);
}

INTERPOSED void *aligned_alloc(size_t alignment, size_t bytes)
{
    count_allocation();
    return __libc_memalign(alignment, bytes);
}

INTERPOSED int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    count_allocation();
    void *made = __libc_memalign(alignment, bytes);
    if (made == NULL) {
        return ENOMEM;
    }
    *memory = made;
    return 0;
}

#endif
