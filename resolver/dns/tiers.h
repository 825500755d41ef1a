/* Tiers: the addresses of a service, from its SRV records and their resolved targets (RFC 2782). */
#ifndef EVENER_RESOLVER_DNS_TIERS_H
#define EVENER_RESOLVER_DNS_TIERS_H

#include <stdbool.h>
#include <stddef.h>

#include "resolver/dns/query.h"
#include "resolver/list.h"

/* One SRV record with the known addresses of its target. */
typedef struct evener_dns_service {
    evener_dns_record srv;           /* `text` borrowed */
    const evener_dns_answer *target; /* A and AAAA records; borrowed */
    bool pending;                    /* the target has not answered yet */
} evener_dns_service;

/* Sort by priority, lowest first; stable. */
void evener_dns_services_sort(evener_dns_service *services, size_t count);

/* Fill `list` with the addresses of the first tier (priority) that has any; with `all_tiers` of every tier in order.
 * Attributes: "priority" is the tier's number from 0; "weight" follows RFC 2782: a target's weight is shared among
 * its addresses, and 0 becomes the smallest share. *waiting: a tier up to the first one with addresses (all_tiers:
 * any tier) is incomplete. Errors: RESOURCE_EXHAUSTED. */
evener_status_code evener_dns_tiers_fill(evener_list *list, const evener_dns_service *services, size_t count,
                                         bool all_tiers, bool *waiting, evener_status *status);

#endif
