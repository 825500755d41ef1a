/* XXH64 (xxHash, specification 0.1.1 section "XXH64 Algorithm Description"): what A42 puts addresses on the ring
 * with. */
#ifndef EVENER_LB_POLICY_XXH64_H
#define EVENER_LB_POLICY_XXH64_H

#include <stddef.h>
#include <stdint.h>

uint64_t evener_xxh64(const void *bytes, size_t size, uint64_t seed);

#endif
