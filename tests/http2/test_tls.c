/* The HTTP/2 transport over TLS, against a server of the gRPC core. */
#include <criterion/criterion.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo_server/server.h"
#include "http2/fixture.h"
#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/tls.h"
#include "tests/support/certificates.h"

static certificates made;
static demo_server *server;
static h2_fixture fixture;
static h2_peer *peer;

static void serve(bool wants_client_certificate)
{
    certificates_make(&made);
    grpc_ssl_pem_key_cert_pair pair = {.private_key = made.server_key, .cert_chain = made.server_certificate};
    grpc_server_credentials *credentials = grpc_ssl_server_credentials_create_ex(
        wants_client_certificate ? made.authority : NULL, &pair, 1,
        wants_client_certificate ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                 : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
        NULL);
    char error[DEMO_SERVER_ERROR_BYTES];
    server = demo_server_start(&(demo_server_options){.port = 0, .credentials = credentials}, error);
    cr_assert_not_null(server, "%s", error);
    grpc_server_credentials_release(credentials);
}

static void connect_as(const char *authority, const evener_http2_tls_options *tls)
{
    const evener_http2_transport_options options = {.size = sizeof options, .tls = tls};
    h2_open(&fixture, &options);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)demo_server_port(server));
    peer = h2_connect(&fixture, address, authority);
}

static void end(void)
{
    h2_forget(peer);
    h2_close(&fixture);
    demo_server_stop(server, 0);
    certificates_free(&made);
}

static void call_succeeds(size_t bytes)
{
    uint8_t *text = malloc(bytes);
    memset(text, 't', bytes);
    h2_result result;
    cr_assert_eq(h2_call_blocking(peer, &(h2_call_options){.request = text, .request_bytes = bytes}, &result),
                 EVENER_STATUS_OK, "%s", result.message);
    cr_assert(result.response_bytes == bytes && memcmp(result.response, text, bytes) == 0);
    h2_result_clear(&result);
    h2_call *call = h2_call_start(peer, &(h2_call_options){.request = text, .request_bytes = bytes}, NULL);
    cr_assert_eq(h2_call_wait(call)->code, EVENER_STATUS_OK);
    h2_call_free(call);
    free(text);
}

/* Return the last error in this thread's queue of OpenSSL's; 0: it is empty. The library of OpenSSL is loaded. */
static unsigned long last_error(void)
{
    unsigned long (*peek)(void);
    void *library = dlopen("libssl.so.3", RTLD_LAZY | RTLD_NOLOAD);
    cr_assert_not_null(library);
    void *found = dlsym(library, "ERR_peek_last_error");
    cr_assert_not_null(found);
    memcpy(&peek, &found, sizeof peek);
    const unsigned long error = peek();
    dlclose(library);
    return error;
}

TestSuite(http2_tls, .timeout = 60);

Test(http2_tls, calls_go_over_a_verified_connection)
{
    serve(false);
    connect_as("orders.test.:443", &(evener_http2_tls_options){.root_certificates = made.authority});
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_READY, "%s", h2_state_message(peer, 1));
    call_succeeds(10);
    for (size_t bytes = 60000; bytes < 1000000; bytes = bytes * 3 / 2 + 1) {
        call_succeeds(bytes); /* the last record of an answer must not stay inside OpenSSL */
    }
    end();
}

/* What is sent next: all; half of a large one; an error. */
static enum { SEND_ALL, SEND_HALF, SEND_FAILS } next_send;

ssize_t __real_send(int fd, const void *data, size_t bytes, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t bytes, int flags);

ssize_t __wrap_send(int fd, const void *data, size_t bytes, int flags)
{
    if (next_send == SEND_FAILS) {
        next_send = SEND_ALL;
        errno = ECONNRESET;
        return -1;
    }
    if (next_send == SEND_HALF && bytes > 4096) {
        next_send = SEND_FAILS;
        bytes /= 2;
    }
    return __real_send(fd, data, bytes, flags);
}

/* The server may have had the whole call among the records that it got. */
Test(http2_tls, a_call_that_left_in_part_may_have_been_processed)
{
    static const uint8_t request[8192];
    serve(false);
    connect_as("orders.test", &(evener_http2_tls_options){.root_certificates = made.authority});
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_READY, "%s", h2_state_message(peer, 1));
    next_send = SEND_HALF;
    h2_call *call = h2_call_start(peer, &(h2_call_options){.request = request, .request_bytes = sizeof request}, NULL);
    const h2_result *result = h2_call_wait(call);
    cr_expect_eq(result->code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_not_null(strstr(result->message, "Connection reset by peer"), "%s", result->message);
    cr_expect_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED);
    h2_call_free(call);
    end();
}

Test(http2_tls, a_certificate_of_an_unknown_authority_is_named)
{
    serve(false);
    connect_as("orders.test", &(evener_http2_tls_options){.root_certificates = made.other_authority});
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(h2_state_message(peer, 1), "unable to get local issuer certificate"), "%s",
                       h2_state_message(peer, 1));
    end();
}

Test(http2_tls, a_certificate_of_another_name_is_named)
{
    serve(false);
    connect_as("payments.test", &(evener_http2_tls_options){.root_certificates = made.authority});
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(h2_state_message(peer, 1), "not valid for \"payments.test\": hostname mismatch"), "%s",
                       h2_state_message(peer, 1));
    end();
}

Test(http2_tls, a_client_certificate_is_shown_when_asked_for)
{
    serve(true);
    connect_as("orders.test", &(evener_http2_tls_options){.root_certificates = made.authority,
                                                          .certificate_chain = made.client_certificate,
                                                          .private_key = made.client_key});
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_READY, "%s", h2_state_message(peer, 1));
    call_succeeds(10);
    end();
}

Test(http2_tls, a_plain_text_server_is_hinted_at)
{
    certificates_make(&made);
    char error[DEMO_SERVER_ERROR_BYTES];
    server = demo_server_start(&(demo_server_options){.port = 0}, error);
    connect_as("orders.test", &(evener_http2_tls_options){.root_certificates = made.authority});
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(h2_state_message(peer, 1), "does not speak TLS"), "%s", h2_state_message(peer, 1));
    end();
}

Test(http2_tls, a_second_connection_resumes_the_session)
{
    serve(false);
    connect_as("orders.test", &(evener_http2_tls_options){.root_certificates = made.authority});
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_READY, "%s", h2_state_message(peer, 1));
    call_succeeds(10); /* the session has arrived with its answer */
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)demo_server_port(server));
    h2_peer *second = h2_connect(&fixture, address, "orders.test");
    cr_assert_eq(h2_wait_state(second, 1), EVENER_READY, "%s", h2_state_message(second, 1));
    const evener_http2_transport *transport = (const evener_http2_transport *)fixture.transport;
    cr_assert_eq(evener_http2_tls_context_resumptions(transport->tls), 1);
    h2_peer *first = peer;
    peer = second;
    call_succeeds(10);
    peer = first;
    h2_forget(second);
    end();
}

Test(http2_tls, bad_texts_are_refused_at_creation)
{
    certificates_make(&made);
    evener_runtime *runtime;
    evener_status status;
    cr_assert_eq(evener_runtime_create(NULL, &runtime, &status), EVENER_STATUS_OK);
    const evener_http2_tls_options all[] = {
        {.root_certificates = "no PEM"},
        {.certificate_chain = made.client_certificate},
        {.private_key = made.client_key},
        {.certificate_chain = made.client_certificate, .private_key = made.server_key},
        {.certificate_chain = "no PEM", .private_key = made.client_key},
        {.certificate_chain = made.client_certificate, .private_key = "no PEM"},
    };
    static const char *const names[] = {
        "root_certificates", "private_key is missing",     "certificate_chain is missing",
        "does not belong",   "certificate_chain holds no", "private_key holds no"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        evener_transport *transport = NULL;
        const evener_http2_transport_options options = {.size = sizeof options, .tls = &all[i]};
        cr_assert_eq(evener_http2_transport_create(runtime, &options, &transport, &status),
                     EVENER_STATUS_INVALID_ARGUMENT);
        cr_assert_not_null(strstr(status.message, names[i]), "%s", status.message);
        cr_assert_null(transport);
        cr_expect_eq(last_error(), 0, "what is left confuses the program's own use of OpenSSL: %s", names[i]);
    }
    const evener_http2_tls_options good = {.root_certificates = made.authority,
                                           .certificate_chain = made.client_certificate,
                                           .private_key = made.client_key};
    const evener_http2_transport_options options = {.size = sizeof options, .tls = &good};
    evener_transport *transport = NULL;
    cr_assert_eq(evener_http2_transport_create(runtime, &options, &transport, &status), EVENER_STATUS_OK);
    cr_expect_eq(last_error(), 0, "the ends of the texts are errors to OpenSSL");
    transport->vtable->destroy(transport);
    evener_runtime_unref(runtime);
    certificates_free(&made);
}

/* ---- what OpenSSL keeps for a thread ---- */

static void note_error(void *arg)
{
    *(unsigned long *)arg = last_error();
}

/* Make a call in plain text, and return OpenSSL's last error of the I/O thread, which delivers its end. */
static unsigned long error_of_io_thread(h2_peer *plain)
{
    unsigned long error = 1;
    h2_call *call = h2_call_start(plain, &(h2_call_options){.ended = note_error, .arg = &error}, NULL);
    cr_assert_eq(h2_call_wait(call)->code, EVENER_STATUS_OK, "%s", h2_call_wait(call)->message);
    h2_call_free(call);
    call = h2_call_start(plain, &(h2_call_options){0}, NULL); /* ends there too, after `ended` of the first */
    cr_assert_eq(h2_call_wait(call)->code, EVENER_STATUS_OK, "%s", h2_call_wait(call)->message);
    h2_call_free(call);
    return error;
}

/* Callbacks run on I/O threads: SSL_get_error() of a program's own connection reads the queue of its thread. */
Test(http2_tls, a_failed_connection_leaves_no_error_to_the_callbacks)
{
    char error[DEMO_SERVER_ERROR_BYTES], address[32];
    serve(false);
    demo_server *plain_server = demo_server_start(&(demo_server_options){.port = 0}, error);
    const evener_http2_tls_options tls = {.root_certificates = made.authority};
    const evener_http2_transport_options options = {.size = sizeof options, .tls = &tls, .io_threads = 1};
    h2_open(&fixture, &options);
    h2_fixture plain_fixture = {.runtime = fixture.runtime};
    const evener_http2_transport_options plain_options = {.size = sizeof plain_options, .io_threads = 1};
    evener_status status;
    cr_assert_eq(evener_http2_transport_create(fixture.runtime, &plain_options, &plain_fixture.transport, &status),
                 EVENER_STATUS_OK);
    h2_peer *plain = h2_connect_port(&plain_fixture, demo_server_port(plain_server));
    cr_assert_eq(h2_wait_state(plain, 1), EVENER_READY);
    cr_assert_eq(error_of_io_thread(plain), 0);
    /* A certificate of another name, a server that speaks plain text, and one that ends. */
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)demo_server_port(server));
    peer = h2_connect(&fixture, address, "payments.test");
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
    cr_expect_eq(error_of_io_thread(plain), 0);
    h2_forget(peer);
    peer = h2_connect_port(&fixture, demo_server_port(plain_server));
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
    cr_expect_eq(error_of_io_thread(plain), 0);
    h2_forget(peer);
    peer = h2_connect(&fixture, address, "orders.test");
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_READY);
    demo_server_stop(server, 0);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    cr_expect_eq(error_of_io_thread(plain), 0);
    h2_forget(peer);
    h2_forget(plain);
    plain_fixture.transport->vtable->destroy(plain_fixture.transport);
    h2_close(&fixture);
    demo_server_stop(plain_server, 0);
    certificates_free(&made);
}
