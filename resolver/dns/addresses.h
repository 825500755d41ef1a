/* Addresses of DNS answers. */
#ifndef EVENER_RESOLVER_DNS_ADDRESSES_H
#define EVENER_RESOLVER_DNS_ADDRESSES_H

#include "resolver/list.h"

/* Add an IP address with a port and attributes to a list. Errors: RESOURCE_EXHAUSTED; INVALID_ARGUMENT for a text that
 * is no IP address. */
evener_status_code evener_dns_list_add(evener_list *list, const char *ip, uint32_t port,
                                       const evener_attribute *attributes, size_t attribute_count,
                                       evener_status *status);

#endif
