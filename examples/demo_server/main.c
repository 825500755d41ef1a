/* demo_server PORT...: serves the demo on each port until SIGTERM or SIGINT. */
#include <errno.h>
#include <getopt.h>
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
          "`listening on 127.0.0.1:PORT` for each. Ends gracefully on SIGTERM and SIGINT. An option is for the ports\n"
          "after it.\n"
          "  --host ADDRESS               listen on this address instead of 127.0.0.1\n"
          "  --delay-ms N                 wait N milliseconds before each answer\n"
          "  --fail CODE                  fail calls with this status code (14: UNAVAILABLE)\n"
          "  --max-age-ms N               end each connection gracefully after N milliseconds, +-10 %\n"
          "  --threads N                  serving threads per port (default 1)\n"
          "  --tls-certificate FILE       serve TLS with this certificate chain (PEM); needs --tls-key\n"
          "  --tls-key FILE               its key (PEM)\n"
          "  --register ETCD              register each port in etcd (\"etcd://127.0.0.1:2379\"), until the end\n"
          "  --service NAME               under this name\n"
          "  --register-option KEY=VALUE  an option of the resolver etcd: (\"etcd.layout=kratos\"); may be repeated\n"
          "  -h, --help                   print this help\n",
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

/* What the options before a port say of it. */
typedef struct settings {
    const char *host, *certificate_path, *key_path;
    unsigned long delay_ms, failure, max_age_ms, threads;
    demo_registration_options registration;
} settings;

enum { HOST = 1000, DELAY, FAIL, MAX_AGE, THREADS, CERTIFICATE, KEY, REGISTER, SERVICE, REGISTER_OPTION };
#define A_PORT 1 /* getopt's value of what is no option */

static const struct option long_options[] = {
    {"host", required_argument, NULL, HOST},
    {"delay-ms", required_argument, NULL, DELAY},
    {"fail", required_argument, NULL, FAIL},
    {"max-age-ms", required_argument, NULL, MAX_AGE},
    {"threads", required_argument, NULL, THREADS},
    {"tls-certificate", required_argument, NULL, CERTIFICATE},
    {"tls-key", required_argument, NULL, KEY},
    {"register", required_argument, NULL, REGISTER},
    {"service", required_argument, NULL, SERVICE},
    {"register-option", required_argument, NULL, REGISTER_OPTION},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Take the value of an option. False: it is none; printed. */
static bool take(settings *own, int option, const char *value)
{
    bool good = true;
    switch (option) {
    case HOST:
        own->host = value;
        break;
    case DELAY:
        good = parse_number(value, 3600000, &own->delay_ms);
        break;
    case FAIL:
        good = parse_number(value, 16, &own->failure);
        break;
    case MAX_AGE:
        good = parse_number(value, INT_MAX, &own->max_age_ms);
        break;
    case THREADS:
        good = parse_number(value, 256, &own->threads);
        break;
    case CERTIFICATE:
        own->certificate_path = value;
        break;
    case KEY:
        own->key_path = value;
        break;
    case REGISTER:
        own->registration.etcd = value;
        break;
    case SERVICE:
        own->registration.service = value;
        break;
    case REGISTER_OPTION:
        good = own->registration.option_count < sizeof own->registration.options / sizeof own->registration.options[0];
        if (good) {
            own->registration.options[own->registration.option_count++] = value;
        }
        break;
    default: /* getopt has printed what is wrong */
        return false;
    }
    if (!good) {
        fprintf(stderr, "demo_server: --%s %s: out of range, or too many\n", long_options[option - HOST].name, value);
    }
    return good;
}

/* The servers that run. */
typedef struct running {
    demo_server **servers;
    int count;
    demo_registrations *registrations;
} running;

/* Start a server, and register it. Return the program's exit status, 0 on success. */
static int start(running *all, const settings *own, const char *port_text)
{
    unsigned long port;
    char error[DEMO_SERVER_ERROR_BYTES];
    if (!parse_number(port_text, 65535, &port)) {
        fprintf(stderr, "demo_server: \"%s\" is neither a port nor an option\n", port_text);
        return usage(stderr);
    }
    if ((own->registration.etcd == NULL) != (own->registration.service == NULL)) {
        fputs("demo_server: --register and --service belong together, before the ports\n", stderr);
        return 2;
    }
    grpc_server_credentials *credentials = NULL; /* plain text */
    if (own->certificate_path != NULL || own->key_path != NULL) {
        credentials = tls_credentials(own->certificate_path, own->key_path);
        if (credentials == NULL) {
            return 1;
        }
    }
    char address[160];
    snprintf(address, sizeof address, "%s:%lu", own->host, port);
    const demo_server_options options = {.address = address,
                                         .threads = (unsigned)own->threads,
                                         .credentials = credentials,
                                         .max_connection_age_ms = own->max_age_ms};
    demo_server *server = demo_server_start(&options, error);
    grpc_server_credentials_release(credentials); /* the server has its own reference */
    if (server == NULL) {
        fprintf(stderr, "demo_server: %s\n", error);
        return 1;
    }
    all->servers[all->count++] = server;
    demo_server_set_delay_ms(server, own->delay_ms);
    if (own->failure != 0) {
        demo_server_set_failure(server, (grpc_status_code)own->failure, "failing on request (--fail)");
    }
    snprintf(address, sizeof address, "%s:%u", own->host, (unsigned)demo_server_port(server));
    printf("listening on %s\n", address);
    fflush(stdout);
    return own->registration.etcd == NULL || demo_register(&own->registration, address, &all->registrations) ? 0 : 1;
}

int main(int argc, char **argv)
{
    /* Block the signals before any thread starts: all threads inherit the mask, and only sigwait() gets the signals. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    settings own = {.host = "127.0.0.1"};
    running all = {.servers = calloc((size_t)argc, sizeof(demo_server *))};
    if (all.servers == NULL) {
        return 1;
    }
    int status = 0;
    bool help = false;
    for (int option; status == 0 && !help && (option = getopt_long(argc, argv, "-h", long_options, NULL)) != -1;) {
        if (option == 'h') {
            help = true;
        } else if (option == A_PORT) {
            status = start(&all, &own, optarg);
        } else if (!take(&own, option, optarg)) {
            status = 2;
        }
    }
    for (; status == 0 && !help && optind < argc; optind++) { /* after "--" */
        status = start(&all, &own, argv[optind]);
    }
    if (help) {
        usage(stdout);
    } else if (status == 0 && all.count == 0) {
        status = usage(stderr);
    } else if (status == 0) {
        int caught;
        sigwait(&signals, &caught);
    }
    demo_unregister(all.registrations); /* first, so that clients stop sending */
    for (int i = 0; i < all.count; i++) {
        demo_server_stop(all.servers[i], status == 0 ? GRACE_MS : 0);
    }
    free(all.servers);
    return status;
}
