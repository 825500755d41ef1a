/* Credentials: what is refused at once, and TLS to an address with the name of the authority verified. */
#include <criterion/criterion.h>

#include <string.h>

#include "demo_server/server.h"
#include "grpc/transport_fixture.h"
#include "support/certificates.h"

Test(credentials, text_that_is_no_pem_is_named)
{
    evener_status status;
    evener_credentials *made = NULL;
    const evener_tls_options roots = {.size = sizeof roots, .root_certificates = "/etc/ssl/roots.pem"};
    cr_expect_eq(evener_credentials_create_tls(&roots, &made, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(strstr(status.message, "`root_certificates`") != NULL, "%s", status.message);
    cr_expect(strstr(status.message, "not the name of a file") != NULL, "%s", status.message);
    const evener_tls_options swapped = {
        .size = sizeof swapped,
        .certificate_chain = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
        .private_key = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"};
    cr_expect_eq(evener_credentials_create_tls(&swapped, &made, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(strstr(status.message, "`private_key`") != NULL, "%s", status.message);
    cr_expect_null(made);
}

Test(credentials, chain_and_key_need_each_other)
{
    evener_status status;
    evener_credentials *made = NULL;
    const evener_tls_options options = {.size = sizeof options, .certificate_chain = "-----BEGIN CERTIFICATE-----"};
    cr_expect_eq(evener_credentials_create_tls(&options, &made, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(strstr(status.message, "`private_key` is missing") != NULL, "%s", status.message);
    cr_expect_null(made);
}

/* C7: the gRPC core would say so with each handshake only. */
Test(credentials, a_key_of_another_certificate_is_refused)
{
    certificates made;
    certificates_make(&made);
    evener_status status;
    evener_credentials *credentials = NULL;
    evener_tls_options options = {.size = sizeof options,
                                  .root_certificates = made.authority,
                                  .certificate_chain = made.renewed_certificate,
                                  .private_key = made.client_key};
    cr_expect_eq(evener_credentials_create_tls(&options, &credentials, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(status.message, "TLS credentials: the private key in `private_key` does not belong to the "
                                     "certificate \"/CN=renewed.test\" in `certificate_chain`: give two that were made "
                                     "together");
    options.private_key = made.encrypted_client_key;
    cr_expect_eq(evener_credentials_create_tls(&options, &credentials, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "`private_key` is encrypted"), "%s", status.message);
    cr_expect_null(credentials);
    options.private_key = made.renewed_key;
    cr_expect_eq(evener_credentials_create_tls(&options, &credentials, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    evener_credentials_destroy(credentials);
    certificates_free(&made);
}

Test(credentials, null_and_size_are_refused)
{
    evener_status status;
    evener_credentials *made = NULL;
    cr_expect_eq(evener_credentials_create_insecure(NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(evener_credentials_create_tls(NULL, NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(evener_credentials_from_grpc(NULL, &made, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(evener_credentials_create_tls(&(evener_tls_options){0}, &made, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_null(made);
    evener_credentials_destroy(NULL);
}

/* ---- against a server ---- */

/* Connect with TLS and return what becomes of it, in `status` too. */
static evener_connectivity_state tls_connection(const certificates *made, bool server_wants_client,
                                                const evener_tls_options *options, const char *authority,
                                                evener_status *status)
{
    grpc_init();
    grpc_ssl_pem_key_cert_pair pair = {.private_key = made->server_key, .cert_chain = made->server_certificate};
    grpc_server_credentials *server_credentials = grpc_ssl_server_credentials_create_ex(
        made->authority, &pair, 1,
        server_wants_client ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                            : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
        NULL);
    char error[DEMO_SERVER_ERROR_BYTES];
    const demo_server_options server_options = {.credentials = server_credentials};
    demo_server *server = demo_server_start(&server_options, error);
    cr_assert(server != NULL, "%s", error);
    evener_credentials *credentials;
    cr_assert_eq(evener_credentials_create_tls(options, &credentials, status), EVENER_STATUS_OK, "%s", status->message);
    transport_fixture fixture;
    fixture_open(&fixture, credentials);
    evener_credentials_destroy(credentials); /* the transport keeps what it needs */
    followed *connection = fixture_connect(&fixture, address_of_port(demo_server_port(server)), authority);
    int state = followed_wait(connection, 1);
    *status = connection->last_status;
    followed_forget(connection);
    fixture_close(&fixture);
    demo_server_stop(server, 0);
    grpc_server_credentials_release(server_credentials);
    grpc_shutdown();
    return (evener_connectivity_state)state;
}

/* design 6: the name that is verified is the authority's, though the connection goes to an address. */
Test(credentials, tls_verifies_the_authority)
{
    certificates made;
    certificates_make(&made);
    evener_status status;
    const evener_tls_options options = {.size = sizeof options, .root_certificates = made.authority};
    cr_expect_eq(tls_connection(&made, false, &options, "orders.test", &status), EVENER_READY, "%s", status.message);
    cr_expect_eq(tls_connection(&made, false, &options, "orders.test:50051", &status), EVENER_READY, "%s",
                 status.message);
    certificates_free(&made);
}

Test(credentials, tls_refuses_another_name)
{
    certificates made;
    certificates_make(&made);
    evener_status status;
    const evener_tls_options options = {.size = sizeof options, .root_certificates = made.authority};
    cr_expect_eq(tls_connection(&made, false, &options, "billing.test", &status), EVENER_TRANSIENT_FAILURE);
    cr_expect(strstr(status.message, "billing.test") != NULL, "%s", status.message);
    certificates_free(&made);
}

Test(credentials, tls_refuses_an_unknown_authority)
{
    certificates made;
    certificates_make(&made);
    evener_status status;
    const evener_tls_options options = {.size = sizeof options, .root_certificates = made.other_authority};
    cr_expect_eq(tls_connection(&made, false, &options, "orders.test", &status), EVENER_TRANSIENT_FAILURE);
    cr_expect(strstr(status.message, "certificate verify failed") != NULL, "%s", status.message);
    certificates_free(&made);
}

Test(credentials, mtls_shows_the_clients_certificate)
{
    certificates made;
    certificates_make(&made);
    evener_status status;
    const evener_tls_options with = {.size = sizeof with,
                                     .root_certificates = made.authority,
                                     .certificate_chain = made.client_certificate,
                                     .private_key = made.client_key};
    cr_expect_eq(tls_connection(&made, true, &with, "orders.test", &status), EVENER_READY, "%s", status.message);
    certificates_free(&made);
}

Test(credentials, the_cores_own_credentials_pass_through)
{
    certificates made;
    certificates_make(&made);
    grpc_init();
    evener_credentials *credentials;
    evener_status status;
    grpc_channel_credentials *core = grpc_ssl_credentials_create(made.authority, NULL, NULL, NULL);
    cr_assert_eq(evener_credentials_from_grpc(core, &credentials, &status), EVENER_STATUS_OK);
    evener_credentials_destroy(credentials);
    grpc_shutdown();
    certificates_free(&made);
}
