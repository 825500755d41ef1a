/* Failing memory: makes an allocation of the library fail, to test how the library handles it.
 *
 * A program that uses it is linked with --wrap=malloc and so on (tests/CMakeLists.txt: test_out_of_memory). That
 * redirects the allocations of its own objects and of libevener.a, but not those of shared libraries. One thread. */
#ifndef EVENER_TESTS_SUPPORT_FAILING_MEMORY_H
#define EVENER_TESTS_SUPPORT_FAILING_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Start counting allocations. Allocation number `fail_at` (1: the next one) fails; with `for_good` all later ones
 * fail too. */
void failing_memory_arm(uint64_t fail_at, bool for_good);

/* Let allocations succeed again. Return how many there were since arm. */
uint64_t failing_memory_disarm(void);

#endif
