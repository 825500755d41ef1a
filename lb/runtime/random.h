/* Random numbers of a loop: fast, uniform, reproducible from a seed. Not for secrets. */
#ifndef EVENER_LB_RUNTIME_RANDOM_H
#define EVENER_LB_RUNTIME_RANDOM_H

#include <stdint.h>

typedef struct evener_random {
    uint64_t state[4];
} evener_random;

/* Seed the generator. The same seed gives the same numbers; 0 takes a seed from the system. */
void evener_random_seed(evener_random *random, uint64_t seed);

/* Return the next number, uniform over 64 bits. One thread at a time. */
uint64_t evener_random_next(evener_random *random);

#endif
