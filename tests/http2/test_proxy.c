/* HTTP CONNECT proxies: how they are chosen, what they are asked, and what their answers mean. */
#include <criterion/criterion.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http2/fixture.h"
#include "http2/raw_server.h"
#include "lb/transport/http2/proxy.h"

/* ---- choosing ---- */

static const char *const *variables; /* name, value, ..., NULL */

static const char *from_variables(const char *name)
{
    for (const char *const *at = variables; *at != NULL; at += 2) {
        if (strcmp(*at, name) == 0) {
            return at[1];
        }
    }
    return NULL;
}

#define FIND(target, ...)                                                                                              \
    (variables = (const char *const[]){__VA_ARGS__, NULL}, evener_http2_proxy_find(target, from_variables))

static void expect_proxy(evener_http2_proxy *proxy, const char *host, const char *port)
{
    cr_assert_not_null(proxy);
    cr_expect_str_eq(proxy->host, host);
    cr_expect_str_eq(proxy->port, port);
    evener_http2_proxy_free(proxy);
}

Test(http2_proxy, the_variables_have_the_cores_order)
{
    expect_proxy(FIND("orders.test:443", "grpc_proxy", "http://a:1", "https_proxy", "http://b:2", "http_proxy", "c:3"),
                 "a", "1");
    expect_proxy(FIND("orders.test:443", "grpc_proxy", "", "https_proxy", "http://b:2/", "http_proxy", "c:3"), "b",
                 "2");
    expect_proxy(FIND("orders.test:443", "http_proxy", "c:3"), "c", "3");
    expect_proxy(FIND("orders.test:443", "http_proxy", "http://c"), "c", "80");
    expect_proxy(FIND("orders.test:443", "http_proxy", "http://[::1]:8080"), "::1", "8080");
    cr_expect_null(FIND("orders.test:443", "no_proxy", "none"));
}

Test(http2_proxy, a_setting_that_cannot_be_read_is_ignored)
{
    cr_expect_null(FIND("orders.test:443", "https_proxy", "https://secure:443"));
    cr_expect_null(FIND("orders.test:443", "https_proxy", "http://:80"));
    cr_expect_null(FIND("orders.test:443", "https_proxy", "http://host:none"));
    cr_expect_null(FIND("orders.test:443", "https_proxy", "http://[::1:80"));
}

Test(http2_proxy, names_are_excepted_by_their_endings)
{
    static const char *const excepted[] = {"dns:///orders.test:443", "dns:orders.test", "ORDERS.TEST:443",
                                           "dns://8.8.8.8/a.orders.test:443"};
    for (size_t i = 0; i < sizeof excepted / sizeof *excepted; i++) {
        cr_expect_null(FIND(excepted[i], "http_proxy", "p:1", "no_proxy", "x.test, orders.test ,y"), "%s", excepted[i]);
    }
    expect_proxy(FIND("dns:///payments.test:443", "http_proxy", "p:1", "no_proxy", "orders.test"), "p", "1");
    expect_proxy(FIND("orders.test:443", "http_proxy", "p:1", "no_proxy", "a.orders.test"), "p", "1");
    expect_proxy(FIND("orders.test:443", "http_proxy", "p:1", "no_proxy", ","), "p", "1");
    /* no_grpc_proxy replaces no_proxy. */
    expect_proxy(FIND("orders.test:443", "http_proxy", "p:1", "no_grpc_proxy", "x", "no_proxy", "orders.test"), "p",
                 "1");
}

Test(http2_proxy, unix_sockets_have_none)
{
    cr_expect_null(FIND("unix:/run/orders.sock", "http_proxy", "p:1"));
    cr_expect_null(FIND("unix-abstract:orders", "http_proxy", "p:1"));
    evener_http2_proxy *proxy = FIND("orders.test:443", "http_proxy", "p:1");
    cr_expect_not(evener_http2_proxy_serves(proxy, "unix:/run/orders.sock"));
    evener_http2_proxy_free(proxy);
}

Test(http2_proxy, addresses_are_excepted_by_subnet)
{
    static const struct {
        const char *exceptions, *address;
        bool is_served;
    } all[] = {
        {"10.0.0.0/8", "10.1.2.3:80", false},
        {"10.0.0.0/8", "11.1.2.3:80", true},
        {"10.1.2.0/23", "10.1.3.255:80", false},
        {"10.1.2.0/23", "10.1.4.0:80", true},
        {"0.0.0.0/0", "1.2.3.4:80", false},
        {"1.2.3.4/32", "1.2.3.5:80", true},
        {"10.0.0.0/33", "10.0.0.1:80", true},
        {"10.0.0.0/", "10.0.0.1:80", true},
        {"10.0.0.0/x", "10.0.0.1:80", true},
        {"127.0.0.1", "127.0.0.1:80", false},
        {"2001:db8::/32", "[2001:db8:1::2]:80", false},
        {"2001:db8::/32", "[2001:db9::2]:80", true},
        {"10.0.0.0/8", "[::1]:80", true},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        evener_http2_proxy *proxy = FIND("orders.test", "http_proxy", "p:1", "no_proxy", all[i].exceptions);
        cr_assert_not_null(proxy);
        cr_expect_eq(evener_http2_proxy_serves(proxy, all[i].address), all[i].is_served, "%s of %s", all[i].address,
                     all[i].exceptions);
        evener_http2_proxy_free(proxy);
    }
    cr_expect_null(FIND("10.2.3.4:443", "http_proxy", "p:1", "no_proxy", "10.0.0.0/8"));
}

/* ---- the request ---- */

Test(http2_proxy, connect_carries_user_and_password)
{
    char text[512];
    evener_http2_proxy *proxy = FIND("orders.test:443", "http_proxy", "http://user:p%40ss@p:1");
    cr_assert_not_null(proxy);
    cr_expect_gt(evener_http2_proxy_request(proxy, "10.0.0.1:443", text, sizeof text), 0);
    cr_expect_str_eq(text, "CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: 10.0.0.1:443\r\n"
                           "Proxy-Authorization: Basic dXNlcjpwQHNz\r\n\r\n");
    cr_expect_eq(evener_http2_proxy_request(proxy, "10.0.0.1:443", text, 40), 0);
    evener_http2_proxy_free(proxy);
}

/* ---- the answer ---- */

Test(http2_proxy, answers_are_parsed_at_every_cut)
{
    static const struct {
        const char *text;
        evener_http2_proxy_answer answer;
        unsigned status;
    } all[] = {
        {"HTTP/1.1 200 Connection established\r\nVia: p\r\n\r\n", EVENER_HTTP2_PROXY_DONE, 200},
        {"HTTP/1.0 200\r\n\r\n", EVENER_HTTP2_PROXY_DONE, 200},
        {"HTTP/1.1 407 Auth\r\n\r\n", EVENER_HTTP2_PROXY_REFUSED, 407},
        {"HTTP/1.1 2x0 OK\r\n\r\n", EVENER_HTTP2_PROXY_MALFORMED, 0},
        {"HTTP/1.1 2000 OK\r\n\r\n", EVENER_HTTP2_PROXY_MALFORMED, 0},
        {"HTTP/1.\r\n\r\n", EVENER_HTTP2_PROXY_MALFORMED, 0},
        {"SSH-2.0-x\r\n\r\n", EVENER_HTTP2_PROXY_MALFORMED, 0},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const size_t bytes = strlen(all[i].text);
        size_t header_bytes = 0;
        unsigned status = 0;
        cr_expect_eq(evener_http2_proxy_parse((const uint8_t *)all[i].text, bytes, &header_bytes, &status),
                     all[i].answer, "%s", all[i].text);
        if (all[i].answer != EVENER_HTTP2_PROXY_MALFORMED) {
            cr_expect_eq(status, all[i].status);
            cr_expect_eq(header_bytes, bytes);
            for (size_t cut = 0; cut < bytes; cut++) {
                cr_expect_eq(evener_http2_proxy_parse((const uint8_t *)all[i].text, cut, &header_bytes, &status),
                             EVENER_HTTP2_PROXY_MORE);
            }
        }
    }
}

/* ---- the tunnel: a scripted proxy, which becomes the backend ---- */

static raw_server proxy_server;
static raw_peer raw;
static raw_frame frame;
static h2_fixture fixture;
static h2_peer *peer;

static void read_connect(char *to, size_t bytes)
{
    size_t length = 0;
    while (length < 4 || memcmp(to + length - 4, "\r\n\r\n", 4) != 0) {
        cr_assert_lt(length, bytes - 1);
        cr_assert_eq(recv(raw.fd, to + length, 1, 0), 1);
        length++;
    }
    to[length] = '\0';
}

static _Atomic unsigned detached;

/* The thread of a lookup is not joined: unless it is detached, what it had remains after its end. */
__attribute__((visibility("default"))) int pthread_detach(pthread_t thread)
{
    int (*next)(pthread_t);
    void *found = dlsym(RTLD_NEXT, "pthread_detach");
    memcpy(&next, &found, sizeof next);
    detached++;
    return next(thread);
}

static void connect_by_proxy(const char *proxy_host)
{
    char url[64], request[512];
    raw_listen(&proxy_server);
    snprintf(url, sizeof url, "http://%s:%u", proxy_host, (unsigned)proxy_server.port);
    unsetenv("https_proxy");
    unsetenv("no_proxy");
    unsetenv("no_grpc_proxy");
    setenv("grpc_proxy", url, 1);
    h2_open(&fixture, &(evener_http2_transport_options){.size = sizeof(evener_http2_transport_options),
                                                        .target = "dns:///orders.test:443"});
    peer = h2_connect(&fixture, "192.0.2.1:443", NULL); /* TEST-NET-1: only the proxy reaches it */
    raw_accept(&proxy_server, &raw);
    read_connect(request, sizeof request);
    cr_assert_str_eq(request, "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n");
}

static void close_all(void)
{
    h2_forget(peer);
    raw_close(&raw);
    raw_stop(&proxy_server);
    h2_close(&fixture);
}

TestSuite(http2_tunnel, .fini = close_all, .timeout = 60);

static void expect_call(void)
{
    raw_handshake(&raw, NULL, 0);
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_READY, "%s", h2_state_message(peer, 1));
    h2_call *call = h2_call_start(peer, &(h2_call_options){0}, NULL);
    raw_answer(&raw, raw_read_call(&raw, &frame), "through");
    cr_assert_eq(h2_call_wait(call)->code, EVENER_STATUS_OK);
    h2_call_free(call);
}

Test(http2_tunnel, calls_go_through_it)
{
    static const char answer[] = "HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n";
    connect_by_proxy("127.0.0.1");
    for (size_t i = 0; i < sizeof answer - 1; i++) {
        raw_send_bytes(&raw, answer + i, 1);
    }
    expect_call();
}

Test(http2_tunnel, a_proxy_is_found_by_its_name)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\n\r\n";
    connect_by_proxy("localhost");
    raw_send_bytes(&raw, answer, sizeof answer - 1);
    expect_call();
    cr_expect_eq(detached, 1);
}

/* Serve a call for this target at the scripted server, while the environment names a proxy that refuses. */
static void expect_no_proxy(const char *target, const char *exceptions)
{
    char address[64];
    raw_listen(&proxy_server);
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)proxy_server.port);
    unsetenv("grpc_proxy");
    unsetenv("no_grpc_proxy");
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    setenv("no_proxy", exceptions, 1);
    h2_open(&fixture,
            &(evener_http2_transport_options){.size = sizeof(evener_http2_transport_options), .target = target});
    peer = h2_connect(&fixture, address, NULL);
    raw_accept(&proxy_server, &raw);
    expect_call();
}

/* N7: the target's name is matched, though the connection is to an address. */
Test(http2_tunnel, n7_a_target_named_in_no_proxy_is_connected_directly)
{
    expect_no_proxy("dns:///localhost:9999", "localhost");
}

Test(http2_tunnel, n7_a_domain_named_in_no_proxy_is_connected_directly)
{
    expect_no_proxy("dns://10.0.0.53/orders.prod.corp.example:443", "10.0.0.0/8,.corp.example");
}

/* The backend's first frame may come in one piece with the proxy's answer. */
Test(http2_tunnel, what_follows_the_answer_is_the_backends)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\n\r\n\0\0\0\4\0\0\0\0\0";
    connect_by_proxy("127.0.0.1");
    raw_send_bytes(&raw, answer, sizeof answer - 1);
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_READY, "%s", h2_state_message(peer, 1));
}

static void fails_with(const char *answer, size_t bytes, const char *message)
{
    connect_by_proxy("127.0.0.1");
    raw_send_bytes(&raw, answer, bytes);
    if (bytes == 0) {
        raw_close(&raw);
    }
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(h2_state_message(peer, 1), message), "%s", h2_state_message(peer, 1));
}

Test(http2_tunnel, a_refusal_is_named)
{
    fails_with("HTTP/1.1 403 Forbidden\r\n\r\n", 26, "HTTP status 403");
}

Test(http2_tunnel, garbage_is_named)
{
    fails_with("garbage", 7, "no HTTP/1.1 response");
}

Test(http2_tunnel, an_answer_without_end_is_given_up)
{
    char endless[EVENER_HTTP2_PROXY_ANSWER_BYTES_MAX + 1];
    memset(endless, 'x', sizeof endless);
    memcpy(endless, "HTTP/1.1 200 ", 13);
    fails_with(endless, sizeof endless, "no HTTP/1.1 response");
}

Test(http2_tunnel, a_proxy_that_closes_is_named)
{
    fails_with("", 0, "closed the connection without an answer");
}
