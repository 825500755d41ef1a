/* Counts of what the process asks of the kernel and the allocator, over all threads: interposed functions of libc. */
#ifndef BENCH_SUPPORT_COUNTS_H
#define BENCH_SUPPORT_COUNTS_H

#include <stdint.h>

typedef struct bench_counts {
    /* System calls for input, output and waiting: read, write, send, recv and their kin, epoll, poll, and syscall(),
     * which futexes of this library go through. libc's own futexes (mutexes, condition variables) are not seen. */
    uint64_t system_calls;
    uint64_t hand_overs;  /* waits that gave the processor to another thread: voluntary context switches */
    uint64_t allocations; /* 0 under sanitizers */
} bench_counts;

/* Return the counts since the start of the process. Any thread. */
bench_counts bench_counts_read(void);

#endif
