/* evener: resolve names, check configurations, make calls and send load from a shell. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef EVENER_HAS_ETCD
#include <evener/etcd.h>
#endif
#include <evener/version.h>

#include "examples/evener/cli.h"
#include "examples/evener/commands.h"

static const struct {
    const char *name;
    cli_command command;
    int (*run)(const cli_options *options);
    const char *summary;
} commands[] = {
    {"resolve", CLI_RESOLVE, cli_resolve, "print the addresses behind a target, and follow their changes"},
    {"check", CLI_CHECK, cli_check, "check factory files"},
    {"call", CLI_CALL, cli_call, "make one call, its messages as JSON or as bytes"},
    {"load", CLI_LOAD, cli_load, "send load, and print each backend's share and latencies"},
    {"list", CLI_LIST, cli_list, "list the services of a server, or the methods of a service"},
    {"describe", CLI_DESCRIBE, cli_describe, "print the declaration of a service, method, message or enum"},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void usage(FILE *to)
{
    fputs("usage: evener COMMAND [OPTION...] ...\n\n", to);
    for (size_t i = 0; i < COMMANDS; i++) {
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    fputs("  help       print this help, or with a command that command's\n"
          "\n"
          "  -h, --help     print this help\n"
          "  -V, --version  print the version\n"
          "\n"
          "Exit status: 0 success; 1 failure; 2 wrong command line; 64 + N: the call of `evener call` ended with\n"
          "status code N (4 DEADLINE_EXCEEDED: 68, 14 UNAVAILABLE: 78, ...). `evener load` ends with 1 if more calls\n"
          "fail than --max-failures allows.\n"
          "\n"
          "EVENER_LOG=debug prints what the library does, GRPC_VERBOSITY=ERROR the log of the gRPC core.\n",
          to);
}

/* Return the index of a command, COMMANDS if there is none of that name. */
static size_t find(const char *name)
{
    size_t i = 0;
    while (i < COMMANDS && strcmp(name, commands[i].name) != 0) {
        i++;
    }
    return i;
}

static int run(int argc, char **argv)
{
    const bool help = argc > 1 && strcmp(argv[1], "help") == 0;
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || (help && argc == 2)) {
        usage(stdout);
        return EXIT_SUCCESS;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("evener %s\n", evener_version_string());
        return EXIT_SUCCESS;
    }
    if (help && (strcmp(argv[2], "help") == 0 || strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0)) {
        usage(stdout);
        return EXIT_SUCCESS;
    }
    const size_t command = find(argv[help ? 2 : 1]);
    if (command == COMMANDS) {
        cli_error("unknown command \"%s\"", argv[help ? 2 : 1]);
        usage(stderr);
        return EXIT_USAGE;
    }
    if (help) {
        cli_options_help(commands[command].command);
        return EXIT_SUCCESS;
    }
    cli_options options;
    int status = EXIT_USAGE;
    switch (cli_options_parse(commands[command].command, argc - 1, argv + 1, &options)) {
    case CLI_RUN:
        status = commands[command].run(&options);
        break;
    case CLI_DONE:
        status = EXIT_SUCCESS;
        break;
    case CLI_WRONG:
        break;
    case CLI_UNREADABLE:
        status = EXIT_FAILURE;
        break;
    }
    cli_options_clear(&options);
    return status;
}

/* Occupy the standard descriptors that the caller has closed: a file or socket that got one of these numbers would be
 * read as the input, or receive the output. Use of the occupied ones fails. The sanitizers may not have begun yet. */
__attribute__((no_sanitize("address", "thread", "undefined"))) static void occupy_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) == -1) {
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY); /* takes the lowest free number: fd */
        }
    }
}

/* Run it before the constructors of the libraries, some of which open descriptors. */
__attribute__((section(".preinit_array"), used)) static void (*before_libraries)(void) = occupy_standard_descriptors;

int main(int argc, char **argv)
{
    (void)setenv("GRPC_VERBOSITY", "NONE", 0); /* before any thread; the user's own value wins */
#ifdef EVENER_HAS_ETCD
    (void)evener_etcd_register_resolver(NULL); /* fails only on out of memory: then etcd: is unknown */
#endif
    const int status = run(argc, argv);
    /* A full disk or a closed pipe may show only here. */
    int error;
    const bool failed = !cli_flush(&error);
    if (failed) {
        cli_error("standard output: %s", error != 0 ? strerror(error) : "write error");
    }
    return failed && status == EXIT_SUCCESS ? EXIT_FAILURE : status;
}
