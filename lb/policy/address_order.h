/* The order in which pick_first connects to the addresses of a list (A61, A62). */
#ifndef EVENER_LB_POLICY_ADDRESS_ORDER_H
#define EVENER_LB_POLICY_ADDRESS_ORDER_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/address.h>
#include <evener/loop.h>

/* Return the addresses without duplicates, shuffled if wanted, with the families interleaved, the first address's
 * family first: an array of borrowed addresses, to be freed with free(). *ordered_count may be less than `count`. NULL:
 * out of memory. */
evener_address **evener_address_order(evener_address *const *addresses, size_t count, bool shuffle, evener_loop *loop,
                                      size_t *ordered_count);

#endif
