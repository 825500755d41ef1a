/* The line `hosts:` of nsswitch.conf(5): which of the hosts file and DNS are asked, and in which order. */
#ifndef EVENER_RESOLVER_DNS_NSSWITCH_H
#define EVENER_RESOLVER_DNS_NSSWITCH_H

#include <stdbool.h>

/* When the hosts file is looked at. */
typedef enum evener_dns_hosts_when {
    EVENER_DNS_HOSTS_NO,
    EVENER_DNS_HOSTS_FIRST,
    EVENER_DNS_HOSTS_LAST,       /* if DNS has no addresses, or fails */
    EVENER_DNS_HOSTS_UNAVAILABLE /* if DNS fails */
} evener_dns_hosts_when;

typedef struct evener_dns_services {
    evener_dns_hosts_when hosts;
    bool dns;
    char line[120]; /* for messages */
} evener_dns_services;

/* Parse a file's text. Services that evener does not have are left out, with their actions; without a line that names
 * one that it has, the hosts file and then DNS are asked. `resolve` (systemd-resolved) reads the hosts file and asks DNS
 * itself. Any thread. */
void evener_dns_services_parse(const char *text, evener_dns_services *services);

#endif
