/* Sockets of the HTTP/2 transport: families, options, and certificates for addresses. */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "demo_server/server.h"
#include "http2/fixture.h"
#include "lb/base/c_locale.h"
#include "lb/transport/http2/internal.h"
#include "support/certificates.h"

static demo_server *server;
static h2_fixture fixture;
static h2_peer *peer;

static void serve(const char *address, grpc_server_credentials *credentials)
{
    char error[DEMO_SERVER_ERROR_BYTES];
    server = demo_server_start(&(demo_server_options){.address = address, .credentials = credentials}, error);
    cr_assert_not_null(server, "%s", error);
}

static void end(void)
{
    h2_forget(peer);
    h2_close(&fixture);
    demo_server_stop(server, 0);
}

static void call_succeeds(void)
{
    h2_result result;
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_READY, "%s", h2_state_message(peer, 1));
    cr_assert_eq(h2_call_blocking(peer, &(h2_call_options){.request = "hello", .request_bytes = 5}, &result),
                 EVENER_STATUS_OK, "%s", result.message);
    cr_assert_eq(result.response_bytes, 5);
    h2_result_clear(&result);
}

TestSuite(http2_sockets, .fini = end, .timeout = 60);

Test(http2_sockets, a_unix_socket_carries_calls)
{
    char address[64];
    snprintf(address, sizeof address, "unix:/tmp/evener_h2_%ld.sock", (long)getpid());
    serve(address, NULL);
    h2_open(&fixture, NULL);
    peer = h2_connect(&fixture, address, NULL);
    call_succeeds();
}

Test(http2_sockets, an_abstract_unix_socket_carries_calls)
{
    char address[64];
    snprintf(address, sizeof address, "unix-abstract:evener_h2_%ld", (long)getpid());
    serve(address, NULL);
    h2_open(&fixture, NULL);
    peer = h2_connect(&fixture, address, NULL);
    call_succeeds();
}

static unsigned own_context_id(void)
{
    unsigned id = VMADDR_CID_LOCAL;
    const int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &id);
        close(fd);
    }
    return id;
}

/* N14: what the kernel says of a vsock address that nobody listens at. A connection needs a host or the module
 * vsock_loopback, which test machines seldom have. */
Test(http2_vsock, n14_is_connected_to, .timeout = 60)
{
    const struct sockaddr_vm raw = {.svm_family = AF_VSOCK, .svm_cid = own_context_id(), .svm_port = 1};
    const int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && (connect(fd, (const struct sockaddr *)&raw, sizeof raw) == 0 || errno == EINPROGRESS)) {
        close(fd);
        cr_skip_test("vsock connects to this machine itself: not the case that is tested");
    }
    const int error = errno;
    char address[64];
    (void)snprintf(address, sizeof address, "vsock:%u:1", raw.svm_cid);
    h2_open(&fixture, NULL);
    peer = h2_connect(&fixture, address, NULL);
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(h2_state_message(peer, 1), strerror_l(error, evener_c_locale())), "%s",
                       h2_state_message(peer, 1));
    h2_forget(peer);
    h2_close(&fixture);
}

/* A18: the keepalive timeout is TCP_USER_TIMEOUT, while keepalive is on. */
static unsigned user_timeout_ms(const evener_http2_transport_options *options)
{
    unsigned timeout_ms = 0;
    socklen_t bytes = sizeof timeout_ms;
    serve(NULL, NULL);
    h2_open(&fixture, options);
    peer = h2_connect_port(&fixture, demo_server_port(server));
    call_succeeds();
    cr_assert_eq(getsockopt(peer->connection->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, &bytes), 0);
    return timeout_ms;
}

Test(http2_sockets, tcp_user_timeout_is_the_keepalive_timeout)
{
    const evener_http2_transport_options options = {
        .size = sizeof options, .keepalive_time_ms = 60000, .keepalive_timeout_ms = 7000};
    cr_assert_eq(user_timeout_ms(&options), 7000);
}

Test(http2_sockets, a_tcp_user_timeout_is_as_long_as_the_system_allows)
{
    const evener_http2_transport_options options = {
        .size = sizeof options, .keepalive_time_ms = 60000, .keepalive_timeout_ms = (UINT64_C(1) << 32) + 1};
    cr_assert_eq(user_timeout_ms(&options), INT_MAX);
}

Test(http2_sockets, without_keepalive_there_is_no_tcp_user_timeout)
{
    cr_assert_eq(user_timeout_ms(NULL), 0);
}

static void connect_to_address_certificate(const char *authority)
{
    certificates made;
    certificates_make(&made);
    grpc_ssl_pem_key_cert_pair pair = {.private_key = made.address_key, .cert_chain = made.address_certificate};
    grpc_server_credentials *credentials =
        grpc_ssl_server_credentials_create_ex(NULL, &pair, 1, GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, NULL);
    serve(NULL, credentials);
    grpc_server_credentials_release(credentials);
    const evener_http2_tls_options tls = {.root_certificates = made.authority};
    h2_open(&fixture, &(evener_http2_transport_options){.size = sizeof(evener_http2_transport_options), .tls = &tls});
    certificates_free(&made);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)demo_server_port(server));
    peer = h2_connect(&fixture, address, authority);
}

Test(http2_sockets, an_address_is_verified_against_the_certificates_addresses)
{
    connect_to_address_certificate("127.0.0.1:443");
    call_succeeds();
}

Test(http2_sockets, an_ipv6_address_is_verified_too)
{
    connect_to_address_certificate("[::1]:443");
    call_succeeds();
}

Test(http2_sockets, another_address_than_the_certificates_is_refused)
{
    connect_to_address_certificate("127.0.0.2:443");
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(h2_state_message(peer, 1), "IP address mismatch"), "%s", h2_state_message(peer, 1));
}
