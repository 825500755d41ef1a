/* A list of addresses without duplicates, and its text form: what `static:` targets and the manual resolver take.
 *
 *     10.0.0.1:80;weight=3;zone=a, [::1]:80, unix:/run/x.sock
 *
 * Items are separated by ',', an item's attributes by ';'. Blanks around an item and empty items are skipped. In a key
 * or value "%2C" stands for ',', "%3B" for ';' and "%25" for '%'. */
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

/* Gives everything back; the list is empty then and can be used again. */
void evener_list_clear(evener_list *list);

/* Adds an address, whose reference it takes in any case. One whose backend is in the list already is dropped: the first
 * one stays. Amortised O(1). Errors: RESOURCE_EXHAUSTED; also above EVENER_RESOLVER_ADDRESSES_MAX. */
evener_status_code evener_list_add(evener_list *list, evener_address *address, evener_status *status);

/* Whether both hold equal addresses with equal attributes in the same order. */
bool evener_list_equal(const evener_list *a, const evener_list *b);

/* What is wrong with the value of a well-known attribute, for a message; NULL: nothing. */
const char *evener_list_attribute_problem(const char *key, const char *value);

/* Adds the addresses of a text to the list. `what` begins the messages. Errors: INVALID_ARGUMENT naming the item by
 * number and byte offset; RESOURCE_EXHAUSTED. Whatever was added before the error stays. */
evener_status_code evener_list_parse(evener_list *list, const char *what, const char *text, evener_status *status);

/* The same for a list without attributes whose items all get `prefix` ("unix:", or "") and must be of one family. */
evener_status_code evener_list_parse_family(evener_list *list, const char *what, const char *prefix,
                                            evener_address_family family, const char *text, evener_status *status);

#endif
