/* A real DNS server: dnsmasq on 127.0.0.1, with the names of a hosts file that a test can change at any time. */
#ifndef EVENER_TESTS_SUPPORT_DNSMASQ_H
#define EVENER_TESTS_SUPPORT_DNSMASQ_H

#include <stdbool.h>
#include <stdint.h>

typedef struct dnsmasq dnsmasq;

/* Return whether the program is installed. */
bool dnsmasq_is_installed(void);

/* Start it on a free port with a hosts file ("127.0.0.1 orders.test\n"); all records have this TTL. NULL on failure. */
dnsmasq *dnsmasq_create(const char *hosts, uint32_t ttl_s);
void dnsmasq_destroy(dnsmasq *server);

uint16_t dnsmasq_port(const dnsmasq *server);

/* Replace the hosts file; a running server reads it again. */
void dnsmasq_set_hosts(dnsmasq *server, const char *hosts);

/* Kill the server; start it again on its port. */
void dnsmasq_kill(dnsmasq *server);
bool dnsmasq_start(dnsmasq *server);

#endif
