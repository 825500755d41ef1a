#include "resolver/dns/addresses.h"

#include <stdio.h>
#include <string.h>

evener_status_code evener_dns_list_add(evener_list *list, const char *ip, uint32_t port,
                                       const evener_attribute *attributes, size_t attribute_count,
                                       evener_status *status)
{
    char text[EVENER_ADDRESS_BYTES_MAX];
    const bool v6 = strchr(ip, ':') != NULL;
    snprintf(text, sizeof text, "%s%.200s%s:%u", v6 ? "[" : "", ip, v6 ? "]" : "", port);
    evener_address *address;
    const evener_status_code code = evener_address_create(text, attributes, attribute_count, &address, status);
    return code == EVENER_STATUS_OK ? evener_list_add(list, address, status) : code;
}
