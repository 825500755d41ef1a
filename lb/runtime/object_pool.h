/* Object pool: memory of calls that end on other threads than they began on, without malloc in the steady state.
 *
 * Objects come in size classes of EVENER_POOL_STEP_BYTES. Each lane keeps a private list per class, which only its
 * thread touches. What is given back goes onto one shared stack per class. A lane whose list is empty takes the whole
 * stack with one exchange: no element is ever popped from a stack that others see, so the ABA problem cannot arise.
 * Threads on the shared lane share one list behind a lock. The pool belongs to the process and is never freed. */
#ifndef EVENER_LB_RUNTIME_OBJECT_POOL_H
#define EVENER_LB_RUNTIME_OBJECT_POOL_H

#include <stdbool.h>
#include <stddef.h>

#define EVENER_POOL_STEP_BYTES 256
/* Larger objects are not kept. */
#define EVENER_POOL_BYTES_MAX 8192

/* Return memory of at least `bytes`, aligned to a cache line; NULL if out of memory. New memory is zeroed and *is_new
 * is set; otherwise it has the contents that its last user of the same class left. Any thread. */
void *evener_pool_take(size_t bytes, bool *is_new);

/* Give memory back that was taken with the same `bytes`. NULL is allowed. Any thread. */
void evener_pool_give_back(void *memory, size_t bytes);

#endif
