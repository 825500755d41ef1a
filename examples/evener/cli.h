/* What the sub-commands of the program `evener` share: the options that say how to reach a service and what to send. */
#ifndef EVENER_CLI_H
#define EVENER_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <evener/evener.h>

#define CLI_HEADERS_MAX 64
#define CLI_RESOLVER_OPTIONS_MAX 64

typedef struct cli_service {
    /* from the command line */
    const char *target; /* or the channel's name, with `factory_path` */
    const char *method; /* "/package.Service/Method" */
    const char *factory_path;
    const char *cacert, *cert, *key, *authority, *policy, *service_config;
    bool plaintext;
    evener_attribute resolver_options[CLI_RESOLVER_OPTIONS_MAX];
    size_t resolver_option_count;
    evener_metadata headers[CLI_HEADERS_MAX];
    size_t header_count;
    uint64_t timeout_ms;
    uint64_t connect_timeout_ms;
    bool wait_for_ready;
    /* opened */
    evener_factory *factory;
    evener_channel *channel;
    evener_bytes request;
} cli_service;

/* The long options of a service, to be put into a sub-command's table; their values are above any character's. */
enum {
    CLI_OPTION_AUTHORITY = 1000,
    CLI_OPTION_CACERT,
    CLI_OPTION_CERT,
    CLI_OPTION_CONNECT_TIMEOUT,
    CLI_OPTION_DATA_FILE,
    CLI_OPTION_DATA_HEX,
    CLI_OPTION_FACTORY,
    CLI_OPTION_HEADER,
    CLI_OPTION_KEY,
    CLI_OPTION_PLAINTEXT,
    CLI_OPTION_POLICY,
    CLI_OPTION_RESOLVER_OPTION,
    CLI_OPTION_SERVICE_CONFIG,
    CLI_OPTION_TIMEOUT,
    CLI_OPTION_WAIT_FOR_READY
};
#define CLI_SERVICE_OPTIONS                                                                                            \
    {"authority", required_argument, NULL, CLI_OPTION_AUTHORITY},                                                      \
        {"cacert", required_argument, NULL, CLI_OPTION_CACERT}, {"cert", required_argument, NULL, CLI_OPTION_CERT},    \
        {"connect-timeout", required_argument, NULL, CLI_OPTION_CONNECT_TIMEOUT},                                      \
        {"data-file", required_argument, NULL, CLI_OPTION_DATA_FILE},                                                  \
        {"data-hex", required_argument, NULL, CLI_OPTION_DATA_HEX},                                                    \
        {"factory", required_argument, NULL, CLI_OPTION_FACTORY},                                                      \
        {"header", required_argument, NULL, CLI_OPTION_HEADER}, {"key", required_argument, NULL, CLI_OPTION_KEY},      \
        {"plaintext", no_argument, NULL, CLI_OPTION_PLAINTEXT},                                                        \
        {"policy", required_argument, NULL, CLI_OPTION_POLICY},                                                        \
        {"resolver-option", required_argument, NULL, CLI_OPTION_RESOLVER_OPTION},                                      \
        {"service-config", required_argument, NULL, CLI_OPTION_SERVICE_CONFIG},                                        \
        {"timeout", required_argument, NULL, CLI_OPTION_TIMEOUT},                                                      \
    {                                                                                                                  \
        "wait-for-ready", no_argument, NULL, CLI_OPTION_WAIT_FOR_READY                                                 \
    }

/* Their help, to be printed below a sub-command's own. */
extern const char cli_service_help[];

/* Takes one of them. False: it is none, or its value is bad (told). */
bool cli_service_option(cli_service *service, int option, char *value);

/* Opens the channel, or the factory and the channel of a name. False: told why. */
bool cli_service_open(cli_service *service);
void cli_service_close(cli_service *service);

/* Prints "evener: ..." to standard error, control characters escaped; returns false, to end with. */
bool cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Print what comes from servers, name servers or files: control characters are escaped (lb/base/printable.h). */
void cli_print_foreign(FILE *to, const char *text, size_t bytes);
void cli_puts_foreign(FILE *to, const char *text);

/* A whole file; to be freed. NULL: told why. */
char *cli_read_file(const char *path, size_t *length);

/* A number that is not negative, told if it is none: "1.5". */
bool cli_number(const char *option, const char *text, double *value);

/* "/package.Service/Method" of what may lack the first '/'; told if it is none. */
bool cli_method(const char *text, const char **method);

#endif
