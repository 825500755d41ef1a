/* demo_server PORT...: serves the demo on each port until SIGTERM or SIGINT. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo_server/registration.h"
#include "demo_server/server.h"

#define GRACE_MS 5000
#define PEM_BYTES_MAX 65536

static int usage(FILE *to)
{
    fputs("usage: demo_server [OPTION...] PORT...\n"
          "Serves grpcdemo.GrpcDemo on 127.0.0.1 at each port; port 0 chooses a free one. Prints\n"
          "`listening on 127.0.0.1:PORT` for each. Ends gracefully on SIGTERM and SIGINT.\n"
          "  --host=ADDRESS  listen on this address instead of 127.0.0.1\n"
          "  --delay-ms=N    wait N milliseconds before each answer\n"
          "  --fail=CODE     fail calls with this status code (14: UNAVAILABLE)\n"
          "  --max-age-ms=N  end each connection gracefully after N milliseconds, +-10 %\n"
          "  --threads=N     serving threads per port (default 1)\n"
          "  --tls-certificate=FILE --tls-key=FILE\n"
          "                  serve TLS with this certificate chain and its key (PEM)\n"
          "  --register=ETCD --service=NAME\n"
          "                  register each port in etcd (\"etcd://127.0.0.1:2379\"), until the end\n"
          "  --register-option=KEY=VALUE\n"
          "                  an option of the resolver etcd: (\"etcd.layout=kratos\")\n",
          to);
    return 2;
}

static int parse_number(const char *text, unsigned long max, unsigned long *number)
{
    char *end;
    errno = 0;
    *number = strtoul(text, &end, 10);
    return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && *number <= max;
}

static char *read_file(const char *path)
{
    char *text = calloc(1, PEM_BYTES_MAX);
    FILE *file = fopen(path, "r");
    if (text == NULL || file == NULL || fread(text, 1, PEM_BYTES_MAX - 1, file) == 0) {
        fprintf(stderr, "demo_server: %s cannot be read\n", path);
        free(text);
        text = NULL;
    }
    if (file != NULL) {
        fclose(file);
    }
    return text;
}

/* Return NULL after printing the reason. */
static grpc_server_credentials *tls_credentials(const char *certificate_path, const char *key_path)
{
    grpc_server_credentials *credentials = NULL;
    char *certificate = certificate_path != NULL ? read_file(certificate_path) : NULL;
    char *key = key_path != NULL ? read_file(key_path) : NULL;
    if (certificate_path == NULL || key_path == NULL) {
        fputs("demo_server: --tls-certificate and --tls-key belong together\n", stderr);
    } else if (certificate != NULL && key != NULL) {
        grpc_ssl_pem_key_cert_pair pair = {.private_key = key, .cert_chain = certificate};
        credentials =
            grpc_ssl_server_credentials_create_ex(NULL, &pair, 1, GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, NULL);
    }
    free(certificate);
    free(key);
    return credentials;
}

/* Read "--name=VALUE", or "--name" and the argument after it. */
static const char *value_of(int argc, char **argv, int *index, const char *name)
{
    const size_t bytes = strlen(name);
    if (strncmp(argv[*index], name, bytes) != 0) {
        return NULL;
    }
    if (argv[*index][bytes] == '=') {
        return argv[*index] + bytes + 1;
    }
    return argv[*index][bytes] == '\0' && *index + 1 < argc ? argv[++*index] : NULL;
}

/* Read an option of the registration. */
static bool take_registration(int argc, char **argv, int *index, demo_registration_options *options)
{
    const char *value;
    if ((value = value_of(argc, argv, index, "--register")) != NULL) {
        options->etcd = value;
    } else if ((value = value_of(argc, argv, index, "--service")) != NULL) {
        options->service = value;
    } else if ((value = value_of(argc, argv, index, "--register-option")) != NULL &&
               options->option_count < sizeof options->options / sizeof options->options[0]) {
        options->options[options->option_count++] = value;
    } else {
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    /* Block the signals before any thread starts: all threads inherit the mask, and only sigwait() gets the signals. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    demo_server **servers = calloc((size_t)argc, sizeof(demo_server *));
    if (servers == NULL) {
        return 1;
    }
    const char *host = "127.0.0.1", *certificate_path = NULL, *key_path = NULL;
    grpc_server_credentials *credentials = NULL;
    unsigned long delay_ms = 0, threads = 0, failure = 0, max_age_ms = 0;
    int count = 0, status = 0;
    demo_registration_options registration = {0};
    demo_registrations *registrations = NULL;
    for (int i = 1; i < argc && status == 0; i++) {
        unsigned long port;
        char error[DEMO_SERVER_ERROR_BYTES];
        if (strcmp(argv[i], "--help") == 0) {
            usage(stdout);
            free(servers);
            return 0;
        }
        if ((strncmp(argv[i], "--delay-ms=", 11) == 0 && parse_number(argv[i] + 11, 3600000, &delay_ms)) ||
            (strncmp(argv[i], "--fail=", 7) == 0 && parse_number(argv[i] + 7, 16, &failure)) ||
            (strncmp(argv[i], "--max-age-ms=", 13) == 0 && parse_number(argv[i] + 13, INT_MAX, &max_age_ms)) ||
            (strncmp(argv[i], "--threads=", 10) == 0 && parse_number(argv[i] + 10, 256, &threads))) {
            continue;
        }
        if (take_registration(argc, argv, &i, &registration)) {
            continue;
        }
        if (strncmp(argv[i], "--host=", 7) == 0) {
            host = argv[i] + 7;
            continue;
        }
        if (strncmp(argv[i], "--tls-certificate=", 18) == 0) {
            certificate_path = argv[i] + 18;
            continue;
        }
        if (strncmp(argv[i], "--tls-key=", 10) == 0) {
            key_path = argv[i] + 10;
            continue;
        }
        if (!parse_number(argv[i], 65535, &port)) {
            fprintf(stderr, "demo_server: \"%s\" is neither a port nor an option\n", argv[i]);
            status = usage(stderr);
            break;
        }
        if (credentials == NULL && (certificate_path != NULL || key_path != NULL)) {
            credentials = tls_credentials(certificate_path, key_path);
            if (credentials == NULL) {
                status = 1;
                break;
            }
        }
        char address[128];
        snprintf(address, sizeof address, "%s:%lu", host, port);
        demo_server_options options = {.address = address,
                                       .threads = (unsigned)threads,
                                       .credentials = credentials,
                                       .max_connection_age_ms = max_age_ms};
        servers[count] = demo_server_start(&options, error);
        if (servers[count] == NULL) {
            fprintf(stderr, "demo_server: %s\n", error);
            status = 1;
            break;
        }
        demo_server_set_delay_ms(servers[count], delay_ms);
        if (failure != 0) {
            demo_server_set_failure(servers[count], (grpc_status_code)failure, "failing on request (--fail)");
        }
        printf("listening on %s:%u\n", host, (unsigned)demo_server_port(servers[count]));
        fflush(stdout);
        char reachable[160];
        snprintf(reachable, sizeof reachable, "%s:%u", host, (unsigned)demo_server_port(servers[count]));
        count++;
        if ((registration.etcd == NULL) != (registration.service == NULL)) {
            fputs("demo_server: --register and --service belong together, before the ports\n", stderr);
            status = 2;
        } else if (registration.etcd != NULL && !demo_register(&registration, reachable, &registrations)) {
            status = 1;
        }
    }
    if (status == 0 && count == 0) {
        status = usage(stderr);
    }
    if (status == 0) {
        int caught;
        sigwait(&signals, &caught);
    }
    demo_unregister(registrations); /* first, so that clients stop sending */
    for (int i = 0; i < count; i++) {
        demo_server_stop(servers[i], status == 0 ? GRACE_MS : 0);
    }
    grpc_server_credentials_release(credentials);
    free(servers);
    return status;
}
