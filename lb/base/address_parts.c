/* Splits addresses into parts, for transports. The text is canonical: address.c has checked it. */
#include <evener/address.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <linux/vm_sockets.h>

/* The text is canonical, so every part fits. */
static void copy_part(char *to, size_t to_bytes, const char *from, size_t bytes)
{
    bytes = bytes < to_bytes ? bytes : to_bytes - 1;
    memcpy(to, from, bytes);
    to[bytes] = '\0';
}

static void get_ipv4(const char *text, evener_address_parts *parts)
{
    const size_t host_bytes = strcspn(text, ":");
    copy_part(parts->host, sizeof parts->host, text, host_bytes);
    parts->port = (uint32_t)strtoul(text + host_bytes + 1, NULL, 10);
}

static void get_ipv6(const char *text, evener_address_parts *parts)
{
    const char *host = text + 1;
    const size_t host_bytes = strcspn(host, "%]");
    const char *zone = host + host_bytes + (host[host_bytes] == '%' ? 1 : 0);
    const size_t zone_bytes = strcspn(zone, "]");
    copy_part(parts->host, sizeof parts->host, host, host_bytes);
    copy_part(parts->zone, sizeof parts->zone, zone, zone_bytes);
    parts->port = (uint32_t)strtoul(zone + zone_bytes + strlen("]:"), NULL, 10);
}

static void take_apart(const evener_address *address, evener_address_parts *parts)
{
    const char *text = evener_address_text(address);
    *parts = (evener_address_parts){.size = sizeof *parts, .family = evener_address_get_family(address)};
    switch (parts->family) {
    case EVENER_FAMILY_IPV4:
        get_ipv4(text, parts);
        break;
    case EVENER_FAMILY_IPV6:
        get_ipv6(text, parts);
        break;
    case EVENER_FAMILY_UNIX:
    case EVENER_FAMILY_UNIX_ABSTRACT: {
        const char *name = strchr(text, ':') + 1;
        copy_part(parts->host, sizeof parts->host, name, strlen(name));
        break;
    }
    case EVENER_FAMILY_VSOCK:
        get_ipv4(strchr(text, ':') + 1, parts); /* likewise "HOST:PORT" */
        break;
    }
}

void evener_address_get_parts(const evener_address *address, evener_address_parts *parts)
{
    evener_address_parts all;
    take_apart(address, &all);
    all.size = parts->size < sizeof all ? parts->size : sizeof all;
    memcpy(parts, &all, all.size);
}

/* Return the scope of a zone, which is an interface's name or number (RFC 4007 section 11). 0: this machine has no
 * such interface. */
static uint32_t scope_of(const char *zone)
{
    const uint32_t index = if_nametoindex(zone);
    if (index != 0 || zone[strspn(zone, "0123456789")] != '\0') {
        return index;
    }
    const unsigned long number = strtoul(zone, NULL, 10);
    return number <= UINT32_MAX ? (uint32_t)number : 0;
}

static evener_status_code fill_ipv6(const evener_address *address, const evener_address_parts *parts,
                                    struct sockaddr_in6 *in6, evener_status *status)
{
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((uint16_t)parts->port);
    (void)inet_pton(AF_INET6, parts->host, &in6->sin6_addr);
    if (parts->zone[0] != '\0') {
        in6->sin6_scope_id = scope_of(parts->zone);
        if (in6->sin6_scope_id == 0) {
            return evener_status_set(status, EVENER_STATUS_NOT_FOUND,
                                     "address \"%s\": this machine has no interface \"%s\"",
                                     evener_address_text(address), parts->zone);
        }
    }
    return EVENER_STATUS_OK;
}

evener_status_code evener_address_get_sockaddr(const evener_address *address, struct sockaddr_storage *storage,
                                               uint32_t *storage_bytes, evener_status *status)
{
    union {
        struct sockaddr_storage storage;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_vm vm;
    } filled;
    evener_address_parts parts;
    size_t bytes = 0;
    evener_status_code code = EVENER_STATUS_OK;
    memset(&filled, 0, sizeof filled);
    take_apart(address, &parts);
    const size_t name_bytes = strlen(parts.host);
    switch (parts.family) {
    case EVENER_FAMILY_IPV4:
        filled.in.sin_family = AF_INET;
        filled.in.sin_port = htons((uint16_t)parts.port);
        (void)inet_pton(AF_INET, parts.host, &filled.in.sin_addr);
        bytes = sizeof filled.in;
        break;
    case EVENER_FAMILY_IPV6:
        code = fill_ipv6(address, &parts, &filled.in6, status);
        bytes = sizeof filled.in6;
        break;
    case EVENER_FAMILY_UNIX: /* including the NUL */
        filled.un.sun_family = AF_UNIX;
        memcpy(filled.un.sun_path, parts.host, name_bytes);
        bytes = offsetof(struct sockaddr_un, sun_path) + name_bytes + 1;
        break;
    case EVENER_FAMILY_UNIX_ABSTRACT: /* a NUL, then the name without a terminating NUL: unix(7) */
        filled.un.sun_family = AF_UNIX;
        memcpy(filled.un.sun_path + 1, parts.host, name_bytes);
        bytes = offsetof(struct sockaddr_un, sun_path) + 1 + name_bytes;
        break;
    case EVENER_FAMILY_VSOCK:
        filled.vm.svm_family = AF_VSOCK;
        filled.vm.svm_cid = (unsigned)strtoul(parts.host, NULL, 10);
        filled.vm.svm_port = parts.port;
        bytes = sizeof filled.vm;
        break;
    }
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    *storage = filled.storage;
    *storage_bytes = (uint32_t)bytes;
    return evener_status_clear(status);
}
