#include "lb/transport/http2/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <evener/log.h>

#include "lb/base/c_locale.h"
#include "lb/transport/http2/headers.h"

#define PORT_DEFAULT "80"

bool evener_http2_proxy_serves(const evener_http2_proxy *proxy, const char *address)
{
    char host[EVENER_PROXY_HOST_BYTES], port[EVENER_PROXY_PORT_BYTES];
    return strncmp(address, "unix", 4) != 0 && strncmp(address, "vsock:", 6) != 0 &&
           evener_proxy_split(address, strlen(address), host, port) && !evener_proxy_list_has(proxy->exceptions, host);
}

/* ---- settings ---- */

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
    if (!evener_proxy_split(authority, bytes, proxy->host, proxy->port)) {
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

evener_http2_proxy *evener_http2_proxy_find(const char *target, evener_proxy_environment environment)
{
    const char *name = "";
    const char *value = evener_proxy_setting(environment, &name);
    const char *excepted = evener_proxy_exceptions(environment);
    char host[EVENER_PROXY_HOST_BYTES];
    if (value == NULL || !evener_proxy_target_host(target, host) || evener_proxy_list_has(excepted, host)) {
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
