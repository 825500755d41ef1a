/* Which name a server is verified against under TLS, and which :authority calls bear: against real servers.
 *
 * The certificates are made out to "orders.test", to "localhost", or to the addresses 127.0.0.1 and ::1. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "demo_server/server.h"
#include "grpc/call_fixture.h"
#include "support/certificates.h"
#include "support/transport_choice.h"

#define TIMEOUT_MS 20000

typedef enum names { ORDERS, LOCALHOST, ADDRESSES, PLAIN } names;

static certificates made;
static evener_runtime *runtime;
static evener_credentials *tls, *insecure;
static demo_server *servers[4];
static size_t server_count;
static char socket_path[64];
static char list_path[64];
static char seen[256]; /* the :authority of the last call */

static void set_up(void)
{
    certificates_make(&made);
    grpc_init();
    cr_assert_eq(evener_runtime_create(NULL, &runtime, NULL), EVENER_STATUS_OK);
    const evener_tls_options options = {.size = sizeof options, .root_certificates = made.authority};
    cr_assert_eq(evener_credentials_create_tls(&options, &tls, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_credentials_create_insecure(&insecure, NULL), EVENER_STATUS_OK);
    snprintf(socket_path, sizeof socket_path, "/tmp/evener-name-%ld.sock", (long)getpid());
    snprintf(list_path, sizeof list_path, "/tmp/evener-name-%ld.list", (long)getpid());
}

static void tear_down(void)
{
    for (size_t i = 0; i < server_count; i++) {
        demo_server_stop(servers[i], 0);
    }
    evener_credentials_destroy(tls);
    evener_credentials_destroy(insecure);
    evener_runtime_unref(runtime);
    grpc_shutdown();
    certificates_free(&made);
    unlink(socket_path);
    unlink(list_path);
}

TestSuite(server_name, .init = set_up, .fini = tear_down, .timeout = 120);

/* What the transport says of a certificate for other names. A static buffer. */
static const char *not_valid_for(const char *name)
{
    static char words[128];
    snprintf(words, sizeof words, on_core() ? "Peer name %s is not in" : "certificate is not valid for \"%s\"", name);
    return words;
}

/* Start a server with a certificate, at `address` or (NULL) at a free port of 127.0.0.1. Return its port. */
static unsigned serve(names certified, const char *address)
{
    grpc_ssl_pem_key_cert_pair pair = {made.server_key, made.server_certificate};
    if (certified == LOCALHOST) {
        pair = (grpc_ssl_pem_key_cert_pair){made.localhost_key, made.localhost_certificate};
    } else if (certified == ADDRESSES) {
        pair = (grpc_ssl_pem_key_cert_pair){made.address_key, made.address_certificate};
    }
    grpc_server_credentials *credentials =
        certified == PLAIN
            ? NULL
            : grpc_ssl_server_credentials_create_ex(NULL, &pair, 1, GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, NULL);
    char error[DEMO_SERVER_ERROR_BYTES];
    const demo_server_options options = {.address = address, .credentials = credentials};
    demo_server *server = demo_server_start(&options, error);
    cr_assert(server != NULL, "%s", error);
    servers[server_count++] = server;
    if (credentials != NULL) {
        grpc_server_credentials_release(credentials);
    }
    return demo_server_port(server);
}

static unsigned serve_socket(names certified)
{
    char address[80];
    snprintf(address, sizeof address, "unix:%s", socket_path);
    return serve(certified, address);
}

static evener_channel_options options_of(const evener_credentials *credentials, const char *authority)
{
    return (evener_channel_options){.size = sizeof(evener_channel_options),
                                    .runtime = runtime,
                                    .credentials = credentials,
                                    .policy = "round_robin",
                                    .authority = authority};
}

static evener_status_code call_once(evener_channel *channel, evener_status *status)
{
    evener_call_details details = {.size = sizeof details};
    const evener_metadata echo = {"echo-name", "v", 1}; /* the server sends its name only to a call that asks for it */
    const evener_call_options options = {
        .size = sizeof options, .timeout_ms = TIMEOUT_MS, .metadata = &echo, .metadata_count = 1, .details = &details};
    const evener_status_code code = evener_unary_call(channel, ECHO_UNARY, NULL, &options, NULL, status);
    const evener_metadata *host =
        evener_metadata_find(details.initial_metadata, details.initial_metadata_count, "host-seen");
    snprintf(seen, sizeof seen, "%s", host != NULL ? host->value : "");
    evener_call_details_clear(&details);
    return code;
}

/* One call over a fresh channel. */
static evener_status_code call_target(const char *target, const evener_channel_options *options, evener_status *status)
{
    evener_channel *channel;
    evener_status_code code = evener_channel_create(target, options, &channel, status);
    if (code == EVENER_STATUS_OK) {
        code = call_once(channel, status);
        evener_channel_unref(channel);
    }
    return code;
}

static void verified(const char *target, const char *authority, const char *name)
{
    evener_status status;
    const evener_channel_options options = options_of(tls, authority);
    cr_expect_eq(call_target(target, &options, &status), EVENER_STATUS_OK, "%s: %s", target, status.message);
    cr_expect_str_eq(seen, name, "%s: verified %s", target, seen);
}

static void refused(const char *target, const char *authority, evener_status_code code, const char *reason)
{
    evener_status status;
    const evener_channel_options options = options_of(tls, authority);
    cr_expect_eq(call_target(target, &options, &status), code, "%s: %s", target, status.message);
    cr_expect_not_null(strstr(status.message, reason), "%s: %s", target, status.message);
}

static const char *text(const char *format, unsigned a, unsigned b)
{
    static char buffers[4][256];
    static unsigned next;
    char *buffer = buffers[next++ % 4];
    snprintf(buffer, sizeof buffers[0], format, a, b);
    return buffer;
}

Test(server_name, of_a_list_is_each_backends_address)
{
    const unsigned a = serve(ADDRESSES, NULL);
    const unsigned b = serve(LOCALHOST, NULL);
    verified(text("static:127.0.0.1:%u", a, 0), NULL, text("127.0.0.1:%u", a, 0));
    verified(text("ipv4:127.0.0.1:%u", a, 0), NULL, text("127.0.0.1:%u", a, 0));
    refused(text("static:127.0.0.1:%u", b, 0), NULL, EVENER_STATUS_UNAVAILABLE, not_valid_for("127.0.0.1"));
    refused(text("ipv4:127.0.0.1:%u", b, 0), NULL, EVENER_STATUS_UNAVAILABLE, not_valid_for("127.0.0.1"));
}

/* Call until both names were seen: the turns of round_robin begin when the second is READY. */
static void both_verified(const char *target, const char *first, const char *second)
{
    evener_status status;
    evener_channel *channel;
    const evener_channel_options options = options_of(tls, NULL);
    cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    bool first_seen = false;
    bool second_seen = false;
    for (unsigned calls = 0; !first_seen || !second_seen; calls++) {
        cr_assert_lt(calls, 100000, "%s: one of the two gets no calls", target);
        cr_assert_eq(call_once(channel, &status), EVENER_STATUS_OK, "%s: %s", target, status.message);
        first_seen |= strcmp(seen, first) == 0;
        second_seen |= strcmp(seen, second) == 0;
        cr_assert(strcmp(seen, first) == 0 || strcmp(seen, second) == 0, "%s: %s", target, seen);
    }
    evener_channel_unref(channel);
}

Test(server_name, of_several_addresses_is_no_common_one)
{
    const unsigned a = serve(ADDRESSES, NULL);
    const unsigned b = serve(ADDRESSES, NULL);
    const char *first = text("127.0.0.1:%u", a, 0);
    const char *second = text("127.0.0.1:%u", b, 0);
    both_verified(text("ipv4:127.0.0.1:%u,127.0.0.1:%u", a, b), first, second);
    both_verified(text("static:127.0.0.1:%u,127.0.0.1:%u", a, b), first, second);
}

/* F3: the whole list was verified against "localhost" when its first entry was a socket. */
Test(server_name, of_a_list_that_begins_with_a_socket)
{
    serve_socket(ORDERS);
    const unsigned b = serve(ADDRESSES, NULL);
    char target[256];
    snprintf(target, sizeof target, "static:unix:%s;authority=orders.test,127.0.0.1:%u", socket_path, b);
    both_verified(target, "orders.test", text("127.0.0.1:%u", b, 0));
    snprintf(target, sizeof target, "static:unix:%s,127.0.0.1:%u", socket_path, b);
    refused(target, NULL, EVENER_STATUS_INVALID_ARGUMENT, "a socket in the file system has none; set");
}

Test(server_name, of_a_socket_has_to_be_set)
{
    serve_socket(LOCALHOST);
    char target[128];
    snprintf(target, sizeof target, "unix:%s", socket_path);
    refused(target, NULL, EVENER_STATUS_INVALID_ARGUMENT, "options.authority");
    refused("unix-abstract:evener-name", NULL, EVENER_STATUS_INVALID_ARGUMENT, "options.authority");
    verified(target, "localhost", "localhost");
    refused(target, "orders.test", EVENER_STATUS_UNAVAILABLE, not_valid_for("orders.test"));
    snprintf(target, sizeof target, "static:unix:%s;authority=localhost", socket_path);
    verified(target, NULL, "localhost");
}

Test(server_name, of_ipv6_is_the_address_without_its_zone)
{
    const unsigned a = serve(ADDRESSES, "[::1]:0");
    const unsigned b = serve(LOCALHOST, "[::1]:0");
    verified(text("ipv6:[::1]:%u", a, 0), NULL, text("[::1]:%u", a, 0));
    verified(text("static:[::1]:%u", a, 0), NULL, text("[::1]:%u", a, 0));
    verified(text("static:[::1%%25lo]:%u", a, 0), NULL, text("[::1]:%u", a, 0));
    verified(text("ipv6:[::1%%25lo]:%u", a, 0), NULL, text("[::1]:%u", a, 0));
    refused(text("static:[::1%%25lo]:%u", b, 0), NULL, EVENER_STATUS_UNAVAILABLE, not_valid_for("::1"));
    refused(text("ipv6:[::1%%25lo]:%u", b, 0), NULL, EVENER_STATUS_UNAVAILABLE, not_valid_for("::1"));
}

static void write_list(const char *line)
{
    FILE *file = fopen(list_path, "w");
    cr_assert_not_null(file);
    fprintf(file, "%s\n", line);
    fclose(file);
}

Test(server_name, of_a_file_is_each_backends_address)
{
    const unsigned a = serve(ADDRESSES, NULL);
    char target[128];
    char line[128];
    snprintf(target, sizeof target, "file:%s", list_path);
    write_list(text("127.0.0.1:%u", a, 0));
    verified(target, NULL, text("127.0.0.1:%u", a, 0));
    serve_socket(LOCALHOST);
    snprintf(line, sizeof line, "unix:%s", socket_path);
    write_list(line);
    refused(target, NULL, EVENER_STATUS_UNAVAILABLE, line);
    refused(target, NULL, EVENER_STATUS_UNAVAILABLE, "options.authority");
    verified(target, "localhost", "localhost");
}

/* grpc: naming.md: the endpoint is the name, whatever the scheme; without one there is none. */
Test(server_name, of_a_programs_own_list_is_the_endpoint)
{
    const unsigned a = serve(ORDERS, NULL);
    evener_manual_resolver *manual;
    evener_status status;
    cr_assert_eq(evener_manual_resolver_create("own", &manual, NULL), EVENER_STATUS_OK);
    cr_assert_eq(evener_manual_resolver_set(manual, text("127.0.0.1:%u", a, 0), NULL, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    const evener_resolver_builder *builder = evener_manual_resolver_builder(manual);
    evener_channel_options options = options_of(tls, NULL);
    options.resolvers = &builder;
    options.resolver_count = 1;
    cr_expect_eq(call_target("own:///orders.test", &options, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_str_eq(seen, "orders.test");
    cr_expect_eq(call_target("own:///", &options, &status), EVENER_STATUS_UNAVAILABLE);
    cr_expect_not_null(strstr(status.message, not_valid_for("127.0.0.1")), "%s", status.message);
    evener_manual_resolver_destroy(manual);
}

Test(server_name, of_a_name_is_the_name)
{
    const unsigned a = serve(LOCALHOST, NULL);
    const unsigned b = serve(ADDRESSES, NULL);
    verified(text("dns:///localhost:%u", a, 0), NULL, text("localhost:%u", a, 0));
    refused(text("dns:///localhost:%u", b, 0), NULL, EVENER_STATUS_UNAVAILABLE, not_valid_for("localhost"));
    verified(text("dns:///127.0.0.1:%u", b, 0), NULL, text("127.0.0.1:%u", b, 0));
    verified(text("fallback:static:127.0.0.1:%u|dns:///localhost:%u", b, a), NULL, text("127.0.0.1:%u", b, 0));
}

/* N9: the last dot of a complete name is in no certificate and in no SNI (RFC 6066 section 3), whoever wrote it. */
Test(server_name, n9_has_no_last_dot)
{
    const unsigned a = serve(LOCALHOST, NULL);
    const unsigned b = serve(ORDERS, NULL);
    verified(text("dns:///localhost.:%u", a, 0), NULL, text("localhost:%u", a, 0));
    verified(text("localhost.:%u", a, 0), NULL, text("localhost:%u", a, 0));
    verified(text("fallback:dns:///localhost.:%u|static:127.0.0.1:%u", a, b), NULL, text("localhost:%u", a, 0));
    verified(text("static:127.0.0.1:%u;authority=orders.test.", b, 0), NULL, "orders.test");
    verified(text("static:127.0.0.1:%u", b, 0), "orders.test.", "orders.test");
    refused(text("dns:///localhost.:%u", b, 0), NULL, EVENER_STATUS_UNAVAILABLE, not_valid_for("localhost"));
}

/* N7: a proxy of the environment (nothing listens there) is not used for excepted targets, nor if the channel ignores
 * it. A channel that shared its connections with the one before would not be connected anew. */
Test(server_name, n7_proxies_can_be_excepted_by_name_and_ignored)
{
    evener_status status;
    evener_channel_options options = options_of(insecure, NULL);
    const unsigned port = serve(PLAIN, NULL);
    char target[128];
    snprintf(target, sizeof target, "dns:///localhost:%u", port);
    unsetenv("grpc_proxy");
    unsetenv("no_grpc_proxy");
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    setenv("no_proxy", "orders.test", 1);
    cr_expect_eq(call_target(target, &options, &status), EVENER_STATUS_UNAVAILABLE, "%s", status.message);
    options.ignore_http_proxy = true;
    cr_expect_eq(call_target(target, &options, &status), EVENER_STATUS_OK, "%s", status.message);
    options.ignore_http_proxy = false;
    setenv("no_proxy", "localhost", 1);
    cr_expect_eq(call_target(target, &options, &status), EVENER_STATUS_OK, "%s", status.message);
    setenv("no_proxy", "127.0.0.0/8, ::1", 1);
    cr_expect_eq(call_target(target, &options, &status), EVENER_STATUS_OK, "%s", status.message);
    setenv("no_grpc_proxy", "host", 1); /* wins over no_proxy, and is the end of the name */
    setenv("no_proxy", "orders.test", 1);
    cr_expect_eq(call_target(target, &options, &status), EVENER_STATUS_OK, "%s", status.message);
    setenv("no_grpc_proxy", "orders.test", 1);
    setenv("no_proxy", "localhost", 1);
    cr_expect_eq(call_target(target, &options, &status), EVENER_STATUS_UNAVAILABLE, "%s", status.message);
}

/* N7: two channels to the same backend, of which only one target is excepted, share no connection. */
Test(server_name, n7_an_excepted_target_shares_no_connection_with_one_that_is_not)
{
    evener_status status;
    evener_channel_options options = options_of(insecure, NULL);
    evener_channel *excepted = NULL;
    const unsigned port = serve(PLAIN, NULL);
    char target[128];
    unsetenv("grpc_proxy");
    unsetenv("no_grpc_proxy");
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    setenv("no_proxy", "localhost", 1);
    snprintf(target, sizeof target, "dns:///localhost:%u", port);
    cr_assert_eq(evener_channel_create(target, &options, &excepted, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(call_once(excepted, &status), EVENER_STATUS_OK, "%s", status.message);
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u", port);
    cr_expect_eq(call_target(target, &options, &status), EVENER_STATUS_UNAVAILABLE, "%s", status.message);
    evener_channel_unref(excepted);
}

/* N14: the cores of Debian 12 and 13 have no resolver for vsock, and would take it for a DNS name. */
Test(server_name, n14_vsock_on_a_core_without_it_says_what_to_use)
{
    evener_status status;
    const evener_channel_options options = options_of(insecure, NULL);
    if (!on_core()) {
        cr_skip_test("the transport is not the core");
    }
    cr_expect_eq(call_target("vsock:3:1", &options, &status), EVENER_STATUS_UNAVAILABLE, "%s", status.message);
    cr_expect_not_null(strstr(status.message, "use the transport \"http2\""), "%s", status.message);
}

/* C10: what the application sets wins over what a list says. */
Test(server_name, that_is_set_wins_over_a_backends_own)
{
    const unsigned a = serve(ORDERS, NULL);
    verified(text("static:127.0.0.1:%u;authority=orders.test", a, 0), NULL, "orders.test");
    verified(text("static:127.0.0.1:%u;authority=billing.test", a, 0), "orders.test", "orders.test");
    refused(text("static:127.0.0.1:%u;authority=orders.test", a, 0), "billing.test", EVENER_STATUS_UNAVAILABLE,
            not_valid_for("billing.test"));
    evener_status status;
    serve(PLAIN, NULL);
    const evener_channel_options options = options_of(insecure, "payments.prod");
    char target[128];
    snprintf(target, sizeof target, "static:127.0.0.1:%u;authority=orders.prod", demo_server_port(servers[1]));
    cr_expect_eq(call_target(target, &options, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_str_eq(seen, "payments.prod");
}

/* It is no name: what holds without it does. */
Test(server_name, that_is_empty_verifies_nothing_less)
{
    const unsigned a = serve(ORDERS, NULL);
    evener_status status;
    const evener_channel_options options = options_of(tls, "");
    cr_expect_eq(call_target(text("static:127.0.0.1:%u", a, 0), &options, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "authority is empty"), "%s", status.message);
    refused(text("static:127.0.0.1:%u;authority=", a, 0), NULL, EVENER_STATUS_UNAVAILABLE, not_valid_for("127.0.0.1"));
    write_list(text("127.0.0.1:%u authority=", a, 0));
    char target[128];
    snprintf(target, sizeof target, "file:%s", list_path);
    refused(target, NULL, EVENER_STATUS_UNAVAILABLE, not_valid_for("127.0.0.1"));
}

/* For all credentials but those known to be none: the core does not say what its own do. */
Test(server_name, has_to_be_set_for_the_cores_own_credentials)
{
    ONLY_ON_CORE("the core's credentials");
    serve_socket(LOCALHOST);
    char target[128];
    snprintf(target, sizeof target, "unix:%s", socket_path);
    evener_status status;
    evener_credentials *own;
    cr_assert_eq(
        evener_credentials_from_grpc(grpc_ssl_credentials_create(made.authority, NULL, NULL, NULL), &own, NULL),
        EVENER_STATUS_OK);
    evener_channel_options options = options_of(own, NULL);
    cr_expect_eq(call_target(target, &options, &status), EVENER_STATUS_INVALID_ARGUMENT);
    options.authority = "localhost";
    cr_expect_eq(call_target(target, &options, &status), EVENER_STATUS_OK, "%s", status.message);
    /* An argument of the core's that names the server for all is a name that was given. */
    grpc_arg override = {.type = GRPC_ARG_STRING, .key = (char *)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG};
    override.value.string = "localhost";
    const grpc_channel_args args = {.num_args = 1, .args = &override};
    options.authority = NULL;
    options.grpc_args = &args;
    cr_expect_eq(call_target(target, &options, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(own);
}

/* Plain text proves nothing: :authority is what gRPC sends. */
Test(server_name, over_plain_text_nothing_is_verified)
{
    const unsigned a = serve(PLAIN, NULL);
    serve_socket(PLAIN);
    const evener_channel_options options = options_of(insecure, NULL);
    char target[128];
    evener_status status;
    snprintf(target, sizeof target, "unix:%s", socket_path);
    cr_expect_eq(call_target(target, &options, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_str_eq(seen, "localhost");
    cr_expect_eq(call_target(text("static:127.0.0.1:%u,127.0.0.1:1", a, 0), &options, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_expect_str_eq(seen, text("127.0.0.1:%u", a, 0));
}
