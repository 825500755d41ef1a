/* gateway: HTTP/JSON in front of gRPC services.
 *
 *     gateway [--listen ADDRESS:PORT] [--tls-cert FILE --tls-key FILE] [--plaintext] [--protoset FILE] TARGET
 *
 * The services of TARGET are found by reflection, or in a descriptor set. Their methods answer at the paths of their
 * google.api.http options, the others at POST /package.Service/Method. GET /openapi.yaml describes all, and GET / is
 * a page to try them. SIGTERM and SIGINT let requests under way end. docs/gateway.md says more. */
#include "examples/gateway/gateway.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/credentials.h>
#include <evener/descriptors.h>
#include <evener/reflection.h>

#include "lb/base/printable.h"

#define LISTEN_DEFAULT "127.0.0.1:10080"
#define GRACE_MS 10000
#define PEM_BYTES_MAX (256 * 1024)

typedef struct arguments {
    const char *listen;
    const char *tls_cert, *tls_key;
    bool plaintext;
    const char *protoset;
    const char *target;
} arguments;

static int usage(FILE *to, int result)
{
    fputs(
        "usage: gateway [OPTION...] TARGET\n"
        "  --listen ADDRESS:PORT  where to serve HTTP/1.1 (default: " LISTEN_DEFAULT "; port 0: a free one)\n"
        "  --tls-cert FILE        serve HTTPS with this certificate chain (PEM)\n"
        "  --tls-key FILE         and this key (PEM)\n"
        "  --plaintext            connect to the backends without TLS\n"
        "  --protoset FILE        a descriptor set (protoc --include_imports --descriptor_set_out=FILE); without, the\n"
        "                         server's reflection is asked\n"
        "  -h, --help             print this help\n",
        to);
    return result;
}

/* Return -1, or the exit status. */
static int parse(int argc, char **argv, arguments *into)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"tls-cert", required_argument, NULL, 'c'},
                                            {"tls-key", required_argument, NULL, 'k'},
                                            {"plaintext", no_argument, NULL, 'p'},
                                            {"protoset", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    *into = (arguments){.listen = LISTEN_DEFAULT};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (option) {
        case 'l':
            into->listen = optarg;
            break;
        case 'c':
            into->tls_cert = optarg;
            break;
        case 'k':
            into->tls_key = optarg;
            break;
        case 'p':
            into->plaintext = true;
            break;
        case 's':
            into->protoset = optarg;
            break;
        case 'h':
            return usage(stdout, 0);
        default:
            return usage(stderr, 2);
        }
    }
    if (optind + 1 != argc || (into->tls_cert == NULL) != (into->tls_key == NULL)) {
        return usage(stderr, 2);
    }
    into->target = argv[optind];
    return -1;
}

static evener_status_code open_channel(const arguments *given, evener_channel **channel, evener_status *status)
{
    evener_credentials *credentials;
    evener_status_code code = given->plaintext ? evener_credentials_create_insecure(&credentials, status)
                                               : evener_credentials_create_tls(NULL, &credentials, status);
    if (code == EVENER_STATUS_OK) {
        const evener_channel_options options = {.size = sizeof options,
                                                .credentials = credentials,
                                                .default_service_config = "{\"loadBalancingPolicy\":\"round_robin\"}"};
        code = evener_channel_create(given->target, &options, channel, status);
        evener_credentials_destroy(credentials);
    }
    return code;
}

/* Print a line for the user. The text may be the server's: what would control a terminal is escaped. */
static void report(const char *text)
{
    char piece[256];
    size_t left = strlen(text);
    fputs("gateway: ", stderr);
    while (left > 0) {
        const size_t printed = evener_printable(text, left, piece, sizeof piece);
        fputs(piece, stderr);
        text += printed;
        left -= printed;
    }
    fputc('\n', stderr);
}

/* Ask the server for the types of its services, except those about itself. A service that its reflection lists and
 * then does not know is left out. */
static evener_status_code reflect(evener_channel *channel, evener_descriptors *types, evener_status *status)
{
    const evener_call_options options = {.size = sizeof options,
                                         .timeout_ms = EVENER_REFLECTION_TIMEOUT_MS,
                                         .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    char **names;
    size_t count;
    evener_status_code code = evener_reflection_services(channel, &options, &names, &count, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    for (size_t i = 0; code == EVENER_STATUS_OK && i < count; i++) {
        if (strncmp(names[i], "grpc.", 5) != 0) {
            code = evener_reflection_add(channel, names[i], &options, types, status);
        }
        if (code == EVENER_STATUS_NOT_FOUND) {
            evener_status skipped;
            evener_status_set(&skipped, status->code, "%s: %s", names[i], status->message);
            report(skipped.message);
            code = EVENER_STATUS_OK;
        }
    }
    free(names);
    return code;
}

static evener_status_code read_types(const arguments *given, evener_channel *channel, evener_descriptors *types,
                                     evener_status *status)
{
    if (given->protoset != NULL) {
        return evener_descriptors_add_set_file(types, given->protoset, status);
    }
    const evener_status_code code = reflect(channel, types, status);
    if (code == EVENER_STATUS_UNIMPLEMENTED) {
        return evener_status_set(status, code, "%s offers no reflection: --protoset FILE is needed", given->target);
    }
    return code;
}

static int fail(const char *what)
{
    report(what);
    return 1;
}

/* Read a PEM file, to be freed. NULL: the reason was printed. */
static char *read_pem(const char *path)
{
    char *text = calloc(1, PEM_BYTES_MAX + 1);
    FILE *file = fopen(path, "rb");
    char problem[512];
    errno = file == NULL ? errno : 0;
    const size_t length = text != NULL && file != NULL ? fread(text, 1, PEM_BYTES_MAX + 1, file) : 0;
    const bool ok = length > 0 && length <= PEM_BYTES_MAX && !ferror(file);
    if (!ok) {
        snprintf(problem, sizeof problem, "%s: %s", path,
                 length > PEM_BYTES_MAX ? "is no certificate or key"
                 : errno != 0           ? strerror(errno)
                                        : "is empty");
        report(problem);
        free(text);
    }
    if (file != NULL) {
        fclose(file);
    }
    return ok ? text : NULL;
}

/* Serve until a signal comes. */
static int serve(const arguments *given, gateway *server, const sigset_t *stop_signals)
{
    char error[512];
    if (!gateway_start(server, given->listen, error, sizeof error)) {
        return fail(error);
    }
    printf("gateway: listening on port %u\n", (unsigned)server->port);
    fflush(stdout);
    int signal_number;
    sigwait(stop_signals, &signal_number);
    gateway_stop(server, GRACE_MS);
    puts("gateway: stopped");
    return 0;
}

/* The same, with TLS if there is a certificate. */
static int serve_with_tls(const arguments *given, gateway *server, const sigset_t *stop_signals)
{
    int result = 1;
    char *certificate = NULL, *key = NULL;
    if (given->tls_cert == NULL ||
        ((certificate = read_pem(given->tls_cert)) != NULL && (key = read_pem(given->tls_key)) != NULL)) {
        server->certificate = certificate;
        server->key = key;
        result = serve(given, server, stop_signals);
    }
    if (key != NULL) {
        explicit_bzero(key, strlen(key));
    }
    free(key);
    free(certificate);
    return result;
}

int main(int argc, char **argv)
{
    arguments given;
    const int done = parse(argc, argv, &given);
    if (done >= 0) {
        return done;
    }
    /* Before any thread starts: all inherit the mask. */
    sigset_t stop_signals;
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGTERM);
    sigaddset(&stop_signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop_signals, NULL);
    signal(SIGPIPE, SIG_IGN);

    gateway server = {0};
    evener_descriptors *types = NULL;
    evener_http_routes *routes = NULL;
    evener_status status;
    int result = 1;
    evener_status_code code = open_channel(&given, &server.channel, &status);
    if (code == EVENER_STATUS_OK) {
        code = evener_descriptors_create(&types, &status);
    }
    if (code == EVENER_STATUS_OK) {
        code = read_types(&given, server.channel, types, &status);
    }
    if (code == EVENER_STATUS_OK) {
        code = evener_http_routes_create(types, NULL, &routes, &status);
    }
    if (code == EVENER_STATUS_OK) {
        server.routes = routes;
        server.page = gateway_page(routes);
        code = evener_http_routes_openapi(routes, given.target, &server.openapi, &status);
    }
    if (code != EVENER_STATUS_OK) {
        fail(status.message);
    } else if (server.page == NULL) {
        fail("out of memory");
    } else {
        result = serve_with_tls(&given, &server, &stop_signals);
    }
    free(server.page);
    free(server.openapi);
    evener_http_routes_destroy(routes);
    evener_descriptors_destroy(types);
    evener_channel_unref(server.channel);
    return result;
}
