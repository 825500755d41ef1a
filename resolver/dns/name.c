#include "resolver/dns/name.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/address.h>

#define LABEL_BYTES_MAX 63 /* RFC 1035 section 2.3.4 */
#define DNS_PORT 53
#define PORT_MAX 65535

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '_';
}

const char *evener_dns_name_problem(const char *name)
{
    const size_t bytes = strnlen(name, EVENER_DNS_NAME_BYTES_MAX + 1);
    if (bytes == 0) {
        return "it is empty";
    }
    if (bytes > EVENER_DNS_NAME_BYTES_MAX || (bytes == EVENER_DNS_NAME_BYTES_MAX && name[bytes - 1] != '.')) {
        return "it is longer than 253 bytes";
    }
    size_t label = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (name[i] == '.') {
            if (label == 0) {
                return "it has an empty label";
            }
            label = 0;
        } else if (!is_name_byte(name[i])) {
            return "only letters, digits, '-', '_' and '.' are names (write others in Punycode, \"xn--...\")";
        } else if (++label > LABEL_BYTES_MAX) {
            return "a label is longer than 63 bytes";
        }
    }
    return NULL;
}

bool evener_dns_is_service(const char *name)
{
    const char *second = strchr(name, '.');
    return name[0] == '_' && second != NULL && strncmp(second, "._", 2) == 0 && strchr(second + 1, '.') != NULL;
}

bool evener_dns_is_ip(const char *text)
{
    unsigned char bytes[16];
    char copy[EVENER_DNS_IP_BYTES_MAX];
    const size_t length = strcspn(text, "%"); /* zone excluded */
    if (length >= sizeof copy) {
        return false;
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (text[length + strcspn(text + length, "[], ")] != '\0') {
        return false; /* a zone with it could not be written between brackets, nor in a list */
    }
    return inet_pton(AF_INET6, copy, bytes) == 1 || (text[length] == '\0' && inet_pton(AF_INET, copy, bytes) == 1);
}

static bool parse_port(const char *text, uint32_t *port)
{
    uint32_t value = 0;
    const size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0') {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    if (value == 0 || value > PORT_MAX) {
        return false;
    }
    *port = value;
    return true;
}

/* Split the text into host and port; `*port` is NULL without a port. False if a bracket is not closed. */
static bool split(char *text, char **host, char **port)
{
    *host = text;
    *port = NULL;
    if (text[0] == '[') {
        char *end = strchr(text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':')) {
            return false;
        }
        *end = '\0';
        *host = text + 1;
        *port = end[1] == ':' ? end + 2 : NULL;
        return true;
    }
    char *colon = strchr(text, ':');
    if (colon != NULL && strchr(colon + 1, ':') == NULL) {
        *colon = '\0';
        *port = colon + 1;
    }
    return true;
}

/* Set an error whose copy of the text is safe to print. */
static evener_status_code refuse(evener_status *status, const char *text, const char *reason)
{
    char shown[80];
    size_t i = 0;
    for (; text[i] != '\0' && i + 1 < sizeof shown; i++) {
        shown[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
    }
    shown[i] = '\0';
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "dns: \"%s\": %s", shown, reason);
}

evener_status_code evener_dns_host_parse(const char *text, uint32_t default_port, evener_dns_host *host,
                                         evener_status *status)
{
    char copy[EVENER_DNS_NAME_BYTES_MAX + 16];
    if (strlen(text) >= sizeof copy) {
        return refuse(status, text, "it is longer than a name can be");
    }
    snprintf(copy, sizeof copy, "%s", text);
    char localhost[] = "localhost";
    char *name;
    char *port_text;
    if (!split(copy, &name, &port_text)) {
        return refuse(status, text, "a '[' is not closed, or something but a port follows");
    }
    uint32_t port = default_port;
    if (port_text != NULL && port_text[0] == '\0') {
        return refuse(status, text, "a ':' without a port; leave it out for the default");
    }
    if (port_text != NULL && !parse_port(port_text, &port)) {
        return refuse(status, text, "the port is a whole number of 1 to 65535");
    }
    if (name[0] == '\0' && port_text == NULL) {
        return refuse(status, text, "no host");
    }
    if (name[0] == '\0') {
        name = text[0] == '[' ? name : localhost; /* grpc: ":80" is localhost:80 */
    }
    const bool literal = evener_dns_is_ip(name);
    if (text[0] == '[' && (!literal || strchr(name, ':') == NULL)) {
        return refuse(status, text, "between '[' and ']' is no IPv6 address");
    }
    const char *problem = literal ? NULL : evener_dns_name_problem(name);
    if (problem == NULL && !literal && name[strspn(name, "0123456789.")] == '\0') {
        problem = "neither a name nor a complete IPv4 address";
    }
    if (problem != NULL) {
        return refuse(status, text, problem);
    }
    evener_dns_host result = {.port = port, .literal = literal};
    snprintf(result.name, sizeof result.name, "%.*s", EVENER_DNS_NAME_BYTES_MAX, name);
    *host = result;
    return EVENER_STATUS_OK;
}

/* The server is written as evener_dns_servers_parse() does: "[fe80::1%eth0]:53". */
const char *evener_dns_server_problem(const char *server)
{
    struct in6_addr address;
    char copy[EVENER_DNS_IP_BYTES_MAX + 16];
    if (server[0] != '[') {
        return NULL;
    }
    snprintf(copy, sizeof copy, "%.*s", (int)strcspn(server + 1, "]"), server + 1);
    char *zone = strchr(copy, '%');
    if (zone != NULL) {
        *zone++ = '\0';
    }
    if (inet_pton(AF_INET6, copy, &address) != 1) {
        return "it is not an IP address";
    }
    if (zone != NULL && if_nametoindex(zone) == 0 && (zone[0] == '\0' || zone[strspn(zone, "0123456789")] != '\0')) {
        return "its zone, behind '%', is no network interface of this machine";
    }
    return zone == NULL && IN6_IS_ADDR_LINKLOCAL(&address)
               ? "a link-local address needs its interface: write fe80::1%eth0"
               : NULL;
}

evener_status_code evener_dns_servers_parse(const char *text, char *servers, evener_status *status)
{
    char result[EVENER_DNS_SERVERS_BYTES_MAX] = "";
    size_t used = 0;
    for (const char *item = text; *item != '\0';) {
        const size_t bytes = strcspn(item, ", ");
        char one[EVENER_DNS_NAME_BYTES_MAX] = "";
        if (bytes >= sizeof one) {
            return refuse(status, item, "too long for a server");
        }
        memcpy(one, item, bytes);
        item += bytes + (item[bytes] != '\0' ? 1 : 0);
        if (bytes == 0) {
            continue;
        }
        evener_dns_host host;
        const evener_status_code code = evener_dns_host_parse(one, DNS_PORT, &host, status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
        if (!host.literal || (one[0] == ':' && one[1] != ':')) {
            return refuse(status, one, "a DNS server is named by its IP address, as in 10.0.0.2 or [fd00::2]:53");
        }
        /* "Any address" is this machine, as in resolv.conf(5); a reply comes from the loopback address. */
        if (strcmp(host.name, "0.0.0.0") == 0 || strcmp(host.name, "::") == 0) {
            snprintf(host.name, sizeof host.name, "%s", host.name[0] == '0' ? "127.0.0.1" : "::1");
        }
        const bool v6 = strchr(host.name, ':') != NULL;
        const int length = snprintf(result + used, sizeof result - used, "%s%s%.64s%s:%u", used > 0 ? "," : "",
                                    v6 ? "[" : "", host.name, v6 ? "]" : "", host.port);
        if (length < 0 || (size_t)length >= sizeof result - used) {
            return refuse(status, text, "too many servers");
        }
        const char *problem = evener_dns_server_problem(result + used + (used > 0 ? 1 : 0));
        if (problem != NULL) {
            return refuse(status, one, problem);
        }
        used += (size_t)length;
    }
    if (used == 0) {
        return refuse(status, text, "no server in the list");
    }
    memcpy(servers, result, used + 1);
    return EVENER_STATUS_OK;
}
