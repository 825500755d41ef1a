/* A real DNS server: dnsmasq on 127.0.0.1, with the names of a hosts file that a test changes while it runs. */
#ifndef EVENER_TESTS_SUPPORT_DNSMASQ_H
#define EVENER_TESTS_SUPPORT_DNSMASQ_H

#include <stdbool.h>
#include <stdint.h>

typedef struct dnsmasq dnsmasq;

/* Whether the program is there. */
bool dnsmasq_is_installed(void);

/* Starts it on a free port; every record of its hosts file, "127.0.0.1 orders.test\n", has the TTL. NULL on failure. */
dnsmasq *dnsmasq_create(const char *hosts, uint32_t ttl_s);
void dnsmasq_destroy(dnsmasq *server);

uint16_t dnsmasq_port(const dnsmasq *server);

/* Changes the hosts file; a running server reads it again. */
void dnsmasq_set_hosts(dnsmasq *server, const char *hosts);

/* Ends the program and starts it again on its port. */
void dnsmasq_kill(dnsmasq *server);
bool dnsmasq_start(dnsmasq *server);

#endif
