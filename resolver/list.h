/* A list of addresses without duplicates, and its text form for `static:` targets and the manual resolver.
 *
 *     10.0.0.1:80;weight=3;zone=a, [::1]:80, unix:/run/x.sock
 *
 * Items are separated by ',', an item's attributes by ';'. Blanks around an item and empty items are skipped. In a key
 * or value "%2C" means ',', "%3B" means ';' and "%25" means '%'. */
#ifndef EVENER_RESOLVER_LIST_H
#define EVENER_RESOLVER_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>
#include <evener/status.h>

typedef struct evener_list {
    evener_address **addresses; /* owned references, in the order of adding */
    size_t count;
    size_t capacity;
    uint32_t *slots;   /* open-addressed, by identity: index + 1; 0 is free */
    size_t slot_count; /* a power of two, at least twice `capacity` */
} evener_list;
#define EVENER_LIST_INIT                                                                                               \
    {                                                                                                                  \
        NULL, 0, 0, NULL, 0                                                                                            \
    }

/* Release all addresses and memory. The list is then empty and can be reused. */
void evener_list_clear(evener_list *list);

/* Add an address. The reference is consumed, also on an error. If the backend is already in the list the first entry
 * stays. Amortised O(1). Errors: RESOURCE_EXHAUSTED; also above EVENER_RESOLVER_ADDRESSES_MAX. */
evener_status_code evener_list_add(evener_list *list, evener_address *address, evener_status *status);

/* Return whether both have equal addresses with equal attributes in the same order. */
bool evener_list_equal(const evener_list *a, const evener_list *b);

/* Return why the value of a well-known attribute is invalid, for a message; NULL: it is valid. */
const char *evener_list_attribute_problem(const char *key, const char *value);

/* Add the addresses of a text to the list. Messages begin with `what`. Errors: INVALID_ARGUMENT naming the item by
 * number and byte offset; RESOURCE_EXHAUSTED. Addresses added before the error stay. */
evener_status_code evener_list_parse(evener_list *list, const char *what, const char *text, evener_status *status);

/* Add the addresses of a list without attributes. Every item gets `prefix` ("unix:", or "") and must be of `family`. */
evener_status_code evener_list_parse_family(evener_list *list, const char *what, const char *prefix,
                                            evener_address_family family, const char *text, evener_status *status);

#endif
