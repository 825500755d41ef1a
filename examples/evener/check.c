/* evener check FILE: is this factory file good, and what does it mean? */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "examples/evener/cli.h"
#include "examples/evener/commands.h"

static const char help[] = "usage: evener check [--quiet] FILE...\n"
                           "\n"
                           "Reads factory files as a program would, without connecting to anything, and prints each\n"
                           "channel with its target, authority, credentials and policy. A mistake is told with file,\n"
                           "line and field; the exit status is then 1.\n"
                           "  --quiet                   print mistakes only\n";

static void print_channel(void *arg, const evener_factory_entry *entry)
{
    (void)arg;
    printf("  %-20s ", entry->name); /* libconfig's names are letters, digits, '-', '_' and '*' */
    cli_puts_foreign(stdout, entry->target);
    printf("\n  %-20s authority ", "");
    cli_puts_foreign(stdout, entry->verifies_addresses ? "of each backend" : entry->authority);
    printf(", %s\n", entry->credentials);
    if (entry->service_config != NULL) {
        printf("  %-20s ", "");
        cli_puts_foreign(stdout, entry->service_config);
        putchar('\n');
    }
}

static void count_channel(void *arg, const evener_factory_entry *entry)
{
    (void)entry;
    (*(unsigned *)arg)++;
}

int evener_cli_check(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'}, {"quiet", no_argument, NULL, 'q'}, {NULL, 0, NULL, 0}};
    bool quiet = false;
    int failed = 0;
    int option;
    while ((option = getopt_long(argc, argv, "hq", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return EXIT_SUCCESS;
        }
        if (option != 'q') {
            return EXIT_USAGE;
        }
        quiet = true;
    }
    if (optind == argc) {
        fputs(help, stderr);
        return EXIT_USAGE;
    }
    for (int i = optind; i < argc; i++) {
        const evener_factory_options never = {.size = sizeof never, .watch_interval_ms = EVENER_NEVER_MS};
        evener_factory *factory;
        evener_status status;
        if (evener_factory_open(argv[i], &never, &factory, &status) != EVENER_STATUS_OK) {
            cli_error("%s", status.message);
            failed++;
            continue;
        }
        unsigned count = 0;
        evener_factory_visit(factory, count_channel, &count);
        if (!quiet) {
            printf("%s: ok, %u channel%s\n", argv[i], count, count == 1 ? "" : "s");
            evener_factory_visit(factory, print_channel, NULL);
        }
        evener_factory_close(factory);
    }
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
