/* evener check FILE...: check factory files and print their channels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/factory.h>

#include "examples/evener/cli.h"
#include "examples/evener/commands.h"

static const char *authority_of(const evener_factory_entry *entry)
{
    return entry->verifies_addresses ? "of each backend" : entry->authority;
}

static void print_channel(void *arg, const evener_factory_entry *entry)
{
    (void)arg;
    printf("  %-20s ", entry->name); /* libconfig's names are letters, digits, '-', '_' and '*' */
    cli_puts_foreign(stdout, entry->target);
    printf("\n  %-20s authority ", "");
    cli_puts_foreign(stdout, authority_of(entry));
    printf(", %s\n", entry->credentials);
    if (entry->service_config != NULL) {
        printf("  %-20s ", "");
        cli_puts_foreign(stdout, entry->service_config);
        putchar('\n');
    }
}

static json_t *text_or_null(const char *text)
{
    return text != NULL ? cli_json_text(text, strlen(text)) : json_null();
}

static void add_channel(void *arg, const evener_factory_entry *entry)
{
    json_t *service_config = entry->service_config != NULL ? json_loads(entry->service_config, 0, NULL) : json_null();
    json_array_append_new(arg, json_pack("{s:o, s:o, s:o, s:s, s:o, s:o, s:i}", "name", text_or_null(entry->name),
                                         "target", text_or_null(entry->target), "authority",
                                         entry->verifies_addresses ? json_null() : text_or_null(entry->authority),
                                         "credentials", entry->credentials, "service_config",
                                         service_config != NULL ? service_config : json_null(), "file",
                                         text_or_null(entry->file), "line", (int)entry->line));
}

static void count_channel(void *arg, const evener_factory_entry *entry)
{
    (void)entry;
    (*(unsigned *)arg)++;
}

static void print_file(const cli_options *options, const char *path, evener_factory *factory)
{
    unsigned count = 0;
    if (options->quiet) {
        return;
    }
    evener_factory_visit(factory, count_channel, &count);
    if (options->json) {
        json_t *channels = json_array();
        evener_factory_visit(factory, add_channel, channels);
        cli_print_json(json_pack("{s:o, s:b, s:o}", "file", text_or_null(path), "ok", 1, "channels", channels));
    } else {
        cli_puts_foreign(stdout, path);
        printf(": ok, %u channel%s\n", count, count == 1 ? "" : "s");
        evener_factory_visit(factory, print_channel, NULL);
    }
}

int cli_check(const cli_options *options)
{
    int failed = 0;
    for (int i = 0; i < options->file_count; i++) {
        const evener_factory_options never = {.size = sizeof never, .watch_interval_ms = EVENER_NEVER_MS};
        evener_factory *factory;
        evener_status status;
        if (evener_factory_open(options->files[i], &never, &factory, &status) == EVENER_STATUS_OK) {
            print_file(options, options->files[i], factory);
            evener_factory_close(factory);
            continue;
        }
        failed++;
        if (options->json) {
            cli_print_json(json_pack("{s:o, s:b, s:o}", "file", text_or_null(options->files[i]), "ok", 0, "error",
                                     text_or_null(status.message)));
        } else {
            cli_error("%s", status.message);
        }
    }
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
