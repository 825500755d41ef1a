/* Tiers: the addresses of a service, out of its SRV records and what their targets resolve to (RFC 2782). */
#ifndef EVENER_RESOLVER_DNS_TIERS_H
#define EVENER_RESOLVER_DNS_TIERS_H

#include <stdbool.h>
#include <stddef.h>

#include "resolver/dns/query.h"
#include "resolver/list.h"

/* One SRV record with its target's addresses as they are known. */
typedef struct evener_dns_service {
    evener_dns_record srv;           /* `text` borrowed */
    const evener_dns_answer *target; /* A and AAAA records; borrowed */
    bool pending;                    /* the target has not answered yet */
} evener_dns_service;

/* Sorts by priority, the lowest first; the server's order within. */
void evener_dns_services_sort(evener_dns_service *services, size_t count);

/* Fills `list` with the addresses of the first tier (priority) that has some, or with `all_tiers` of every tier, the
 * first one first. Attributes: "priority" is the tier's number from 0, "weight" as RFC 2782 means it: a target's weight
 * is shared among its addresses; 0 is the smallest share that can be said. *waiting tells that a tier before the first
 * one with addresses, or of all of them, is not complete. Errors: RESOURCE_EXHAUSTED. */
evener_status_code evener_dns_tiers_fill(evener_list *list, const evener_dns_service *services, size_t count,
                                         bool all_tiers, bool *waiting, evener_status *status);

#endif
