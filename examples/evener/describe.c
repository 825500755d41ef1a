/* evener list and evener describe: the services of a server, or of descriptor sets, and what they are declared as. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/reflection.h>

#include "examples/evener/cli.h"
#include "examples/evener/commands.h"
#include "examples/evener/declaration.h"
#include "examples/evener/types.h"

static void print_name(const cli_options *options, const char *kind, const char *name)
{
    if (options->json) {
        cli_print_json(json_pack("{s:o}", kind, cli_json_text(name, strlen(name))));
    } else {
        cli_puts_foreign(stdout, name);
        putchar('\n');
    }
}

/* Find a declaration of any kind. */
static bool print_symbol(const cli_options *options, const evener_descriptors *types, const char *symbol)
{
    const evener_service_type *service = evener_descriptors_service(types, symbol);
    const evener_method *method = evener_descriptors_method(types, symbol);
    const evener_message_type *message = evener_descriptors_message(types, symbol);
    const evener_enum_type *enumeration = evener_descriptors_enum(types, symbol);
    char *text = service != NULL       ? declaration_of_service(service)
                 : method != NULL      ? declaration_of_method(method)
                 : message != NULL     ? declaration_of_message(message)
                 : enumeration != NULL ? declaration_of_enum(enumeration)
                                       : NULL;
    if (service == NULL && method == NULL && message == NULL && enumeration == NULL) {
        return cli_error("%s: no such service, method, message or enum", symbol);
    }
    if (text == NULL) {
        return cli_error("out of memory");
    }
    const char *kind = service != NULL ? "service" : method != NULL ? "method" : message != NULL ? "message" : "enum";
    if (options->json) {
        cli_print_json(json_pack("{s:s, s:o, s:o}", "kind", kind, "name", cli_json_text(symbol, strlen(symbol)),
                                 "declaration", cli_json_text(text, strlen(text))));
    } else {
        for (const char *line = text; *line != '\0';) { /* line by line: a comment may hold anything */
            const size_t length = strcspn(line, "\n");
            cli_print_foreign(stdout, line, length);
            putchar('\n');
            line += length + (line[length] == '\n');
        }
    }
    free(text);
    return true;
}

static bool list_services(const cli_options *options, const cli_service *service, const evener_descriptors *types)
{
    size_t count;
    if (options->protoset_count > 0) {
        const evener_service_type *const *services = evener_descriptors_services(types, &count);
        for (size_t i = 0; i < count; i++) {
            print_name(options, "service", services[i]->full_name);
        }
        return true;
    }
    const evener_call_options call = cli_call_options(options);
    evener_status status;
    char **names;
    if (evener_reflection_services(service->channel, &call, &names, &count, &status) != EVENER_STATUS_OK) {
        cli_error("%s", status.message);
        cli_service_hint(options, service, status.message);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        print_name(options, "service", names[i]);
    }
    free(names);
    return true;
}

static bool list_methods(const cli_options *options, const evener_descriptors *types, const char *symbol)
{
    const evener_service_type *service = evener_descriptors_service(types, symbol);
    if (service == NULL) {
        return cli_error("%s: no such service", symbol);
    }
    for (size_t i = 0; i < service->method_count; i++) {
        print_name(options, "method", service->methods[i]->path + 1); /* as `evener call` takes it */
    }
    return true;
}

/* Return a copy of a symbol as descriptors have it: also as declarations and lists print it (".pkg.Message",
 * "pkg.Service/Method"). To be freed; NULL if out of memory. */
static char *symbol_name(const char *symbol)
{
    char *name = strdup(symbol + (symbol[0] == '.' || symbol[0] == '/'));
    char *slash = name != NULL ? strrchr(name, '/') : NULL;
    if (name == NULL) {
        cli_error("out of memory");
    } else if (slash != NULL) {
        *slash = '.';
    }
    return name;
}

/* Open the service, unless descriptor sets have the types, and run one of the two commands. */
static int run(const cli_options *options, bool describe)
{
    cli_service service = {0};
    evener_descriptors *types = NULL;
    char *symbol = options->symbol != NULL ? symbol_name(options->symbol) : NULL;
    bool ok = (options->symbol == NULL || symbol != NULL) &&
              (options->protoset_count > 0 || cli_service_open(options, &service)) &&
              cli_types_open(options, &service, symbol, &types, NULL);
    if (ok && describe) {
        ok = print_symbol(options, types, symbol);
    } else if (ok) {
        ok = symbol != NULL ? list_methods(options, types, symbol) : list_services(options, &service, types);
    }
    free(symbol);
    evener_descriptors_destroy(types);
    cli_service_close(&service);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int cli_list(const cli_options *options)
{
    return run(options, false);
}

int cli_describe(const cli_options *options)
{
    return run(options, true);
}
