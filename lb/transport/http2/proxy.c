#include "lb/transport/http2/proxy.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <evener/log.h>

#include "lb/base/c_locale.h"
#include "lb/transport/http2/headers.h"

#define PORT_DEFAULT "80"
#define ADDRESS_BYTES_MAX 16
#define SEPARATORS ", \t"

/* ---- the target's name ---- */

/* Split "HOST:PORT", "[V6]:PORT" or "HOST" into a host without brackets, and a port ("": none). False: too long. */
static bool split_host_port(const char *text, size_t bytes, char host[EVENER_HTTP2_PROXY_HOST_BYTES], char port[8])
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
    if (host_bytes == 0 || host_bytes >= EVENER_HTTP2_PROXY_HOST_BYTES || port_bytes >= 8) {
        return false;
    }
    memcpy(host, text, host_bytes);
    host[host_bytes] = '\0';
    memcpy(port, colon != NULL ? colon + 1 : "", port_bytes);
    port[port_bytes] = '\0';
    return true;
}

/* Store the target's host, which follows "SCHEME:", "SCHEME:///" or "SCHEME://SERVER/". False: it has none. */
static bool target_host(const char *target, char host[EVENER_HTTP2_PROXY_HOST_BYTES])
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
    char port[8];
    return strncasecmp_l(target, "unix:", 5, evener_c_locale()) != 0 &&
           strncasecmp_l(target, "unix-abstract:", 14, evener_c_locale()) != 0 &&
           strncasecmp_l(target, "vsock:", 6, evener_c_locale()) != 0 &&
           split_host_port(name, strlen(name), host, port);
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

static bool is_excepted(const char *exceptions, const char *host)
{
    uint8_t address[ADDRESS_BYTES_MAX];
    const size_t address_bytes = read_ip(host, address), host_bytes = strlen(host);
    for (const char *entry = exceptions; entry != NULL && *entry != '\0';) {
        entry += strspn(entry, SEPARATORS);
        char text[EVENER_HTTP2_PROXY_HOST_BYTES];
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

bool evener_http2_proxy_serves(const evener_http2_proxy *proxy, const char *address)
{
    char host[EVENER_HTTP2_PROXY_HOST_BYTES], port[8];
    return strncmp(address, "unix", 4) != 0 && strncmp(address, "vsock:", 6) != 0 &&
           split_host_port(address, strlen(address), host, port) && !is_excepted(proxy->exceptions, host);
}

/* ---- settings ---- */

static const char *first_set(evener_http2_environment environment, const char *const *names, const char **name)
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

/* Set the user and the password, which come percent-encoded. False: out of memory. */
static bool set_authorization(evener_http2_proxy *proxy, const char *text, size_t bytes)
{
    uint8_t *plain = malloc(bytes + 1);
    proxy->authorization = malloc(EVENER_HTTP2_BASE64_BYTES(bytes) + 4);
    if (plain == NULL || proxy->authorization == NULL) {
        free(plain);
        return false;
    }
    const size_t plain_bytes = evener_http2_percent_decode((const uint8_t *)text, bytes, plain);
    size_t length = evener_http2_base64_encode(plain, plain_bytes, proxy->authorization);
    for (; length % 4 != 0; length++) {
        proxy->authorization[length] = '='; /* RFC 7617 pads, gRPC's metadata does not */
    }
    proxy->authorization[length] = '\0';
    free(plain);
    return true;
}

/* Read the setting. Return what is wrong with it, or NULL. */
static const char *read_setting(evener_http2_proxy *proxy, const char *value)
{
    const char *scheme_end = strstr(value, "://");
    if (scheme_end != NULL && strncasecmp_l(value, "http://", 7, evener_c_locale()) != 0) {
        return "only http:// proxies are supported";
    }
    const char *authority = scheme_end != NULL ? scheme_end + 3 : value;
    size_t bytes = strcspn(authority, "/?#");
    for (size_t at = bytes; at > 0; at--) {
        if (authority[at - 1] == '@') {
            if (!set_authorization(proxy, authority, at - 1)) {
                return "out of memory";
            }
            authority += at;
            bytes -= at;
            break;
        }
    }
    if (!split_host_port(authority, bytes, proxy->host, proxy->port)) {
        return "there is no HOST:PORT in it";
    }
    if (strspn(proxy->port, "0123456789") != strlen(proxy->port)) {
        return "the port is no number";
    }
    if (*proxy->port == '\0') {
        memcpy(proxy->port, PORT_DEFAULT, sizeof PORT_DEFAULT);
    }
    return NULL;
}

static const char *const proxies[] = {"grpc_proxy", "https_proxy", "http_proxy", NULL};

bool evener_http2_proxy_is_named(evener_http2_environment environment)
{
    const char *name = "";
    return first_set(environment, proxies, &name) != NULL;
}

evener_http2_proxy *evener_http2_proxy_find(const char *target, evener_http2_environment environment)
{
    static const char *const exceptions[] = {"no_grpc_proxy", "no_proxy", NULL};
    const char *name = "", *exceptions_name;
    char host[EVENER_HTTP2_PROXY_HOST_BYTES];
    const char *value = first_set(environment, proxies, &name);
    if (value == NULL || !target_host(target, host)) {
        return NULL;
    }
    const char *excepted = first_set(environment, exceptions, &exceptions_name);
    if (is_excepted(excepted, host)) {
        return NULL;
    }
    evener_http2_proxy *proxy = calloc(1, sizeof *proxy);
    if (proxy == NULL) {
        return NULL;
    }
    const char *wrong = read_setting(proxy, value);
    if (wrong == NULL && excepted != NULL && (proxy->exceptions = strdup(excepted)) == NULL) {
        wrong = "out of memory";
    }
    if (wrong != NULL) {
        /* Not the value: it may hold a password. */
        evener_log(EVENER_LOG_WARNING, "http2", "%s in the environment is ignored: %s", name, wrong);
        evener_http2_proxy_free(proxy);
        return NULL;
    }
    return proxy;
}

void evener_http2_proxy_free(evener_http2_proxy *proxy)
{
    if (proxy != NULL) {
        free(proxy->authorization);
        free(proxy->exceptions);
        free(proxy);
    }
}

/* ---- CONNECT ---- */

size_t evener_http2_proxy_request(const evener_http2_proxy *proxy, const char *address, char *to, size_t to_bytes)
{
    const bool has_authorization = proxy->authorization != NULL;
    const int bytes = snprintf(to, to_bytes, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", address, address,
                               has_authorization ? "Proxy-Authorization: Basic " : "",
                               has_authorization ? proxy->authorization : "", has_authorization ? "\r\n" : "");
    return bytes < 0 || (size_t)bytes >= to_bytes ? 0 : (size_t)bytes;
}

evener_http2_proxy_answer evener_http2_proxy_parse(const uint8_t *data, size_t bytes, size_t *header_bytes,
                                                   unsigned *status)
{
    static const char start[] = "HTTP/1.";
    const size_t start_bytes = bytes < sizeof start - 1 ? bytes : sizeof start - 1;
    if (bytes == 0) {
        return EVENER_HTTP2_PROXY_MORE;
    }
    if (memcmp(data, start, start_bytes) != 0) {
        return EVENER_HTTP2_PROXY_MALFORMED;
    }
    const uint8_t *end = memmem(data, bytes, "\r\n\r\n", 4);
    if (end == NULL) {
        return bytes < EVENER_HTTP2_PROXY_ANSWER_BYTES_MAX ? EVENER_HTTP2_PROXY_MORE : EVENER_HTTP2_PROXY_MALFORMED;
    }
    *header_bytes = (size_t)(end - data) + 4;
    /* "HTTP/1.x SSS" */
    const uint8_t *digits = data + 9;
    if (*header_bytes < 16 || data[8] != ' ') {
        return EVENER_HTTP2_PROXY_MALFORMED;
    }
    *status = 0;
    for (int i = 0; i < 3; i++) {
        if (digits[i] < '0' || digits[i] > '9') {
            return EVENER_HTTP2_PROXY_MALFORMED;
        }
        *status = *status * 10 + (unsigned)(digits[i] - '0');
    }
    if (digits[3] != ' ' && digits[3] != '\r') {
        return EVENER_HTTP2_PROXY_MALFORMED;
    }
    return *status / 100 == 2 ? EVENER_HTTP2_PROXY_DONE : EVENER_HTTP2_PROXY_REFUSED;
}
