/* Words that threads wait for: a futex each, with the bit EVENER_WAIT_SLEEPING for "a thread sleeps". */
#include <evener/transport.h>

#include <errno.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void evener_wait_word_set(uint32_t *word, uint32_t value)
{
    /* Release pairs with the acquire of the waiting thread; the exchange also shows whether a thread sleeps. */
    const uint32_t before = __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL);
    if ((before & EVENER_WAIT_SLEEPING) != 0) {
        (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
    }
}

void evener_wait_word_sleep(uint32_t *word, uint32_t value, uint64_t until_ns)
{
    uint32_t now = __atomic_load_n(word, __ATOMIC_ACQUIRE);
    if ((now & ~EVENER_WAIT_BITS) != value) {
        return;
    }
    if ((now & EVENER_WAIT_SLEEPING) == 0 && !__atomic_compare_exchange_n(word, &now, value | EVENER_WAIT_SLEEPING,
                                                                          false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        return;
    }
    struct timespec until = {.tv_sec = (time_t)(until_ns / EVENER_NS_PER_S),
                             .tv_nsec = (long)(until_ns % EVENER_NS_PER_S)};
    /* FUTEX_WAIT_BITSET takes an absolute time of CLOCK_MONOTONIC. It returns early when the word has changed. */
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value | EVENER_WAIT_SLEEPING,
                  until_ns == UINT64_MAX ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}
