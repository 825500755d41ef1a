/* A custom policy: "weighted_dice". */
#ifndef EVENER_EXAMPLES_WEIGHTED_RANDOM_POLICY_H
#define EVENER_EXAMPLES_WEIGHTED_RANDOM_POLICY_H

#include <evener/evener.h>

extern const evener_policy_builder weighted_dice;

#endif
