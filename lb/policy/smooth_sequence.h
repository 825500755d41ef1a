/* Smooth sequence: an order in which each index occurs in proportion to its weight, spread as evenly as possible.
 *
 * Weights 6, 3, 1 give ten places with six, three and one of each, and no bursts. Going round the sequence is then a
 * weighted round robin in constant time. Whole weights whose sum, freed of common divisors, is at most
 * EVENER_SEQUENCE_EXACT_MAX (or 16 times their number) come exactly; others are rounded to places of 1/4096 (or 1/16th
 * of the mean weight), and each index gets at least one. */
#ifndef EVENER_LB_POLICY_SMOOTH_SEQUENCE_H
#define EVENER_LB_POLICY_SMOOTH_SEQUENCE_H

#include <stdint.h>

#define EVENER_SEQUENCE_EXACT_MAX 65536
#define EVENER_SEQUENCE_ROUNDED_MIN 4096
#define EVENER_SEQUENCE_PLACES_PER_WEIGHT 16

/* Return the sequence for weights[0 .. count), all above 0, and store its length in *length. NULL if out of
 * memory; freed with free(). */
uint32_t *evener_smooth_sequence(const double *weights, uint32_t count, uint32_t *length);

#endif
