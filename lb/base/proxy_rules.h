/* Which targets go past the HTTP CONNECT proxy that the environment names, as the gRPC C core chooses
 * (src/core/ext/filters/client_channel/http_proxy.cc):
 *
 *     grpc_proxy, or https_proxy, or http_proxy            the proxy
 *     no_grpc_proxy, or no_proxy                           targets without it: endings of names, addresses, subnets
 *
 * For all transports: evener resolves the target itself, so a transport sees addresses, and the names of `no_proxy` can
 * be matched with the channel's target only. */
#ifndef EVENER_LB_BASE_PROXY_RULES_H
#define EVENER_LB_BASE_PROXY_RULES_H

#include <stdbool.h>
#include <stddef.h>

#include "lb/base/sibling.h"

#define EVENER_PROXY_HOST_BYTES 256
#define EVENER_PROXY_PORT_BYTES 8

/* Look a name up in the environment; evener_proxy_getenv() outside tests. */
typedef const char *(*evener_proxy_environment)(const char *name);

/* getenv(). */
EVENER_SIBLING const char *evener_proxy_getenv(const char *name);

/* Return the first variable that names a proxy, and its value; NULL: none does. `*name` is written on success. */
const char *evener_proxy_setting(evener_proxy_environment environment, const char **name);

/* Return the list of exceptions in force; NULL: none. */
EVENER_SIBLING const char *evener_proxy_exceptions(evener_proxy_environment environment);

/* Return whether the environment names a proxy, whatever targets it is for. Any thread. */
EVENER_SIBLING bool evener_proxy_is_named(evener_proxy_environment environment);

/* Return whether the environment names a proxy, and its exceptions the host of this channel target
 * ("dns:///orders.test:443", "orders.test:443"). Any thread. */
EVENER_SIBLING bool evener_proxy_excepts_target(const char *target, evener_proxy_environment environment);

/* Store the host of a channel's target. False: it has none, as a Unix socket. */
bool evener_proxy_target_host(const char *target, char host[EVENER_PROXY_HOST_BYTES]);

/* Split "HOST:PORT", "[V6]:PORT" or "HOST" into a host without brackets, and a port ("": none). False: too long. */
bool evener_proxy_split(const char *text, size_t bytes, char host[EVENER_PROXY_HOST_BYTES],
                        char port[EVENER_PROXY_PORT_BYTES]);

/* Return whether the list (NULL: empty) excepts a host, which is a name or an IP address without brackets. */
bool evener_proxy_list_has(const char *exceptions, const char *host);

/* Return whether the list (NULL: empty) excepts the host of "HOST:PORT" or "[V6]:PORT". Any thread. */
EVENER_SIBLING bool evener_proxy_list_has_address(const char *exceptions, const char *address);

#endif
