/* Failing memory: makes an allocation of the library fail, to see what becomes of it.
 *
 * A program that uses it is linked with --wrap=malloc and so on (tests/CMakeLists.txt: test_out_of_memory), which leads
 * the allocations of its own objects and of libevener.a here; those of shared libraries are not touched. One thread. */
#ifndef EVENER_TESTS_SUPPORT_FAILING_MEMORY_H
#define EVENER_TESTS_SUPPORT_FAILING_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* From now on allocations are counted; the one of number `fail_at` (1: the next) fails, and with `for_good` all after
 * it. */
void failing_memory_arm(uint64_t fail_at, bool for_good);

/* Memory is plenty again. Returns how many allocations there were since arm. */
uint64_t failing_memory_disarm(void);

#endif
