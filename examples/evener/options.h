/* The command line of `evener`: one table of options for all commands. Parsing, help and the checks of man page and
 * completion (tests/examples/check_cli_options.sh) follow from it. */
#ifndef EVENER_CLI_OPTIONS_H
#define EVENER_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/call.h>
#include <evener/resolver.h>

#define CLI_HEADERS_MAX 64
#define CLI_RESOLVER_OPTIONS_MAX 64
#define CLI_PROTOSETS_MAX 16

/* Commands, as bits of a table entry. */
typedef enum cli_command {
    CLI_RESOLVE = 1,
    CLI_CHECK = 2,
    CLI_CALL = 4,
    CLI_LOAD = 8,
    CLI_LIST = 16,
    CLI_DESCRIBE = 32
} cli_command;

/* The parsed command line. Strings are borrowed from argv, unless they say otherwise. */
typedef struct cli_options {
    /* the service: all commands but check */
    const char *target;        /* or a channel's name, with `factory_path` */
    char *method;              /* "/package.Service/Method", or with a dot instead of the last slash; owned */
    bool method_without_slash; /* it was written without a slash in front: the messages are JSON */
    const char *symbol;        /* list, describe; NULL: not given */
    const char *protosets[CLI_PROTOSETS_MAX];
    size_t protoset_count;
    const char *factory_path;
    const char *cacert, *cert, *key, *authority, *policy, *service_config, *transport;
    bool plaintext;
    uint64_t default_port; /* 0: the library's default */
    evener_attribute resolver_options[CLI_RESOLVER_OPTIONS_MAX];
    size_t resolver_option_count;
    /* the call: call, load */
    evener_bytes request;   /* owned */
    bool has_data, has_hex; /* how the request was given */
    const char *data_path;  /* while parsing: the file that has it, "-" standard input; NULL: none */
    bool standard_input;    /* it comes there, and is read message by message (messages.h) */
    bool emit_defaults, allow_unknown_fields;
    evener_metadata headers[CLI_HEADERS_MAX];
    size_t header_count;
    uint64_t timeout_ms, connect_timeout_ms;
    bool wait_for_ready;
    /* load */
    uint64_t calls_max, concurrency, duration_ms; /* 0: not given */
    double rate;                                  /* calls per second; 0: closed loop */
    bool has_failures_max;
    uint64_t failures_max;
    /* output */
    bool json, quiet, raw, verbose, watch;
    /* check */
    char **files;
    int file_count;
} cli_options;

typedef enum cli_parsed {
    CLI_RUN,        /* the options are complete: run the command */
    CLI_DONE,       /* help was printed */
    CLI_WRONG,      /* an error was printed: exit with EXIT_USAGE */
    CLI_UNREADABLE, /* an error was printed, of a file with data: exit with EXIT_FAILURE */
} cli_parsed;

/* Whether the method is called with its types: it is written without a slash in front, and no option asks for bytes. */
bool cli_is_typed(const cli_options *options);

/* Parse the arguments of a command; argv[0] is its name. Clear `options` with cli_options_clear() in any case. */
cli_parsed cli_options_parse(cli_command command, int argc, char **argv, cli_options *options);
void cli_options_clear(cli_options *options);

/* Print a command's help. */
void cli_options_help(cli_command command);

/* Parse "500ms", "10s", "1.5", "1m30s", "250us"; without a unit: seconds. Rounds up to milliseconds. False: not a
 * duration. */
bool cli_duration_parse(const char *text, uint64_t *ms);

#endif
