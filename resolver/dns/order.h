/* Order: the addresses of one family in the order of RFC 6724 section 6. */
#ifndef EVENER_RESOLVER_DNS_ORDER_H
#define EVENER_RESOLVER_DNS_ORDER_H

#include "resolver/dns/query.h"

/* Sort A or AAAA records by the route that the kernel has to them, and set answer->reachable. Opens one socket and
 * sends nothing. Records that are no addresses stay where they are, at the end. Any thread. */
void evener_dns_order(evener_dns_answer *answer);

#endif
