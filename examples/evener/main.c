/* evener: look at what evener sees, from a shell. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/version.h>

#include "examples/evener/commands.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *does;
} commands[] = {
    {"resolve", evener_cli_resolve, "print the addresses behind a target, and follow them as they change"},
    {"check", evener_cli_check, "check a factory file"},
    {"call", evener_cli_call, "make one call"},
    {"load", evener_cli_load, "drive load, and show what each backend got and how fast it was"},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static void usage(FILE *to)
{
    fputs("usage: evener COMMAND ...\n\n", to);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].does);
    }
    fputs("\n`evener COMMAND --help` says more; `evener --version` tells the version.\n"
          "EVENER_LOG=debug shows what the library does.\n",
          to);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0) {
        usage(stdout);
        return EXIT_SUCCESS;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("evener %s\n", evener_version_string());
        return EXIT_SUCCESS;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "evener: unknown command \"%s\"\n\n", argv[1]);
    usage(stderr);
    return EXIT_USAGE;
}
