/* The order in which pick_first connects to the addresses of a list (A61, A62). */
#ifndef EVENER_LB_POLICY_ADDRESS_ORDER_H
#define EVENER_LB_POLICY_ADDRESS_ORDER_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/address.h>
#include <evener/loop.h>

/* Duplicates out, shuffled if wanted, families interleaved beginning with the first address's. An array of borrowed
 * addresses, freed with free(); *ordered_count may be less than `count`. NULL without memory. */
evener_address **evener_address_order(evener_address *const *addresses, size_t count, bool shuffle, evener_loop *loop,
                                      size_t *ordered_count);

#endif
