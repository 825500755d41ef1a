#include "lb/base/proxy_rules.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lb/base/c_locale.h"

#define ADDRESS_BYTES_MAX 16
#define SEPARATORS ", \t"

/* ---- the target's name ---- */

bool evener_proxy_split(const char *text, size_t bytes, char host[EVENER_PROXY_HOST_BYTES],
                        char port[EVENER_PROXY_PORT_BYTES])
{
    const char *end = text + bytes;
    const char *host_end, *colon = NULL;
    if (bytes > 0 && *text == '[') {
        host_end = memchr(text, ']', bytes);
        if (host_end == NULL) {
            return false;
        }
        text++;
        colon = host_end + 1 < end && host_end[1] == ':' ? host_end + 1 : NULL;
    } else {
        colon = memchr(text, ':', bytes);
        if (colon != NULL && memchr(colon + 1, ':', (size_t)(end - colon - 1)) != NULL) {
            colon = NULL; /* an IPv6 address without brackets and port */
        }
        host_end = colon != NULL ? colon : end;
    }
    const size_t host_bytes = (size_t)(host_end - text);
    const size_t port_bytes = colon != NULL ? (size_t)(end - colon - 1) : 0;
    if (host_bytes == 0 || host_bytes >= EVENER_PROXY_HOST_BYTES || port_bytes >= EVENER_PROXY_PORT_BYTES) {
        return false;
    }
    memcpy(host, text, host_bytes);
    host[host_bytes] = '\0';
    memcpy(port, colon != NULL ? colon + 1 : "", port_bytes);
    port[port_bytes] = '\0';
    return true;
}

/* Store the target's host, which follows "SCHEME:", "SCHEME:///" or "SCHEME://SERVER/". False: it has none. */
bool evener_proxy_target_host(const char *target, char host[EVENER_PROXY_HOST_BYTES])
{
    const char *name = target;
    const char *colon = strchr(target, ':');
    if (colon != NULL && *target != '[' && colon[1] != '\0' && strspn(colon + 1, "0123456789") != strlen(colon + 1)) {
        name = colon + 1; /* no port follows */
        if (strncmp(name, "//", 2) == 0) {
            const char *slash = strchr(name + 2, '/');
            name = slash != NULL ? slash : name + 2;
        }
        name += *name == '/';
    }
    char port[EVENER_PROXY_PORT_BYTES];
    return strncasecmp_l(target, "unix:", 5, evener_c_locale()) != 0 &&
           strncasecmp_l(target, "unix-abstract:", 14, evener_c_locale()) != 0 &&
           strncasecmp_l(target, "vsock:", 6, evener_c_locale()) != 0 &&
           evener_proxy_split(name, strlen(name), host, port);
}

/* ---- exceptions ---- */

/* Store the bytes of an IP address and return their number; 0: not an IP address. */
static size_t read_ip(const char *text, uint8_t to[ADDRESS_BYTES_MAX])
{
    return inet_pton(AF_INET, text, to) == 1 ? 4 : inet_pton(AF_INET6, text, to) == 1 ? 16 : 0;
}

/* Return whether the IP address is in the subnet "ADDRESS/BITS". */
static bool is_in_subnet(const uint8_t *address, size_t address_bytes, const char *subnet)
{
    char text[INET6_ADDRSTRLEN + 4];
    uint8_t network[ADDRESS_BYTES_MAX];
    if (strlen(subnet) >= sizeof text) {
        return false;
    }
    memcpy(text, subnet, strlen(subnet) + 1);
    char *slash = strchr(text, '/');
    if (slash == NULL || slash[1] == '\0' || strspn(slash + 1, "0123456789") != strlen(slash + 1)) {
        return false;
    }
    *slash = '\0';
    const unsigned long bits = strtoul(slash + 1, NULL, 10);
    if (read_ip(text, network) != address_bytes || bits > address_bytes * 8) {
        return false;
    }
    const unsigned rest = bits % 8;
    const uint8_t mask = (uint8_t)(0xff00U >> rest);
    return memcmp(address, network, bits / 8) == 0 &&
           (rest == 0 || ((address[bits / 8] ^ network[bits / 8]) & mask) == 0);
}

bool evener_proxy_list_has(const char *exceptions, const char *host)
{
    uint8_t address[ADDRESS_BYTES_MAX];
    const size_t address_bytes = read_ip(host, address), host_bytes = strlen(host);
    for (const char *entry = exceptions; entry != NULL && *entry != '\0';) {
        entry += strspn(entry, SEPARATORS);
        char text[EVENER_PROXY_HOST_BYTES];
        const size_t bytes = strcspn(entry, SEPARATORS);
        if (bytes > 0 && bytes < sizeof text) {
            memcpy(text, entry, bytes);
            text[bytes] = '\0';
            if ((bytes <= host_bytes && strcasecmp_l(host + host_bytes - bytes, text, evener_c_locale()) == 0) ||
                (address_bytes > 0 && is_in_subnet(address, address_bytes, text))) {
                return true;
            }
        }
        entry += bytes;
    }
    return false;
}

bool evener_proxy_list_has_address(const char *exceptions, const char *address)
{
    char host[EVENER_PROXY_HOST_BYTES], port[EVENER_PROXY_PORT_BYTES];
    return evener_proxy_split(address, strlen(address), host, port) && evener_proxy_list_has(exceptions, host);
}

/* ---- the environment ---- */

static const char *first_set(evener_proxy_environment environment, const char *const *names, const char **name)
{
    for (; *names != NULL; names++) {
        const char *value = environment(*names);
        if (value != NULL && *value != '\0') {
            *name = *names;
            return value;
        }
    }
    return NULL;
}

const char *evener_proxy_getenv(const char *name)
{
    return getenv(name);
}

const char *evener_proxy_setting(evener_proxy_environment environment, const char **name)
{
    static const char *const proxies[] = {"grpc_proxy", "https_proxy", "http_proxy", NULL};
    return first_set(environment, proxies, name);
}

const char *evener_proxy_exceptions(evener_proxy_environment environment)
{
    static const char *const exceptions[] = {"no_grpc_proxy", "no_proxy", NULL};
    const char *name;
    return first_set(environment, exceptions, &name);
}

bool evener_proxy_is_named(evener_proxy_environment environment)
{
    const char *name;
    return evener_proxy_setting(environment, &name) != NULL;
}

bool evener_proxy_excepts_target(const char *target, evener_proxy_environment environment)
{
    char host[EVENER_PROXY_HOST_BYTES];
    return evener_proxy_is_named(environment) && evener_proxy_target_host(target, host) &&
           evener_proxy_list_has(evener_proxy_exceptions(environment), host);
}
