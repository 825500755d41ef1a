/* HTTP CONNECT proxies: any bytes as an answer, as a setting, as exceptions and as a target. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lb/transport/http2/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *input;

static const char *as_setting(const char *name)
{
    return strcmp(name, "http_proxy") == 0 ? input : NULL;
}

static const char *as_exceptions(const char *name)
{
    return strcmp(name, "http_proxy") == 0 ? "proxy:80" : strcmp(name, "no_proxy") == 0 ? input : NULL;
}

static void use(evener_http2_proxy *proxy)
{
    char request[512];
    if (proxy != NULL) {
        assert(*proxy->host != '\0' && *proxy->port != '\0');
        (void)evener_http2_proxy_serves(proxy, "10.1.2.3:443");
        (void)evener_http2_proxy_serves(proxy, "[2001:db8::1]:443");
        assert(evener_http2_proxy_request(proxy, "10.1.2.3:443", request, sizeof request) < sizeof request);
        evener_http2_proxy_free(proxy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t header_bytes = 0;
    unsigned status = 0;
    const evener_http2_proxy_answer answer = evener_http2_proxy_parse(data, size, &header_bytes, &status);
    assert(answer != EVENER_HTTP2_PROXY_DONE || (status / 100 == 2 && header_bytes <= size));
    assert(answer != EVENER_HTTP2_PROXY_MORE || size < EVENER_HTTP2_PROXY_ANSWER_BYTES_MAX);
    char *text = malloc(size + 1);
    if (text == NULL) {
        return 0;
    }
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    input = text;
    use(evener_http2_proxy_find("dns:///orders.test:443", as_setting));
    use(evener_http2_proxy_find("dns:///orders.test:443", as_exceptions));
    input = "proxy:80";
    use(evener_http2_proxy_find(text, as_setting));
    free(text);
    return 0;
}
