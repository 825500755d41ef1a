/* evener call TARGET /package.Service/Method: one unary call with bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/evener/cli.h"
#include "examples/evener/commands.h"

static const char help[] = "usage: evener call [OPTION...] TARGET /package.Service/Method\n"
                           "\n"
                           "Makes one unary call and prints the response's bytes in hexadecimal.\n"
                           "  --raw                     print the response as it is\n"
                           "  -v, --verbose             tell backend, headers and trailers on standard error\n";

static void print_metadata(const char *what, const evener_metadata *metadata, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fprintf(stderr, "%s ", what);
        cli_puts_foreign(stderr, metadata[i].key);
        fputs(": ", stderr);
        const size_t key_length = strlen(metadata[i].key);
        const bool binary = key_length > 4 && strcmp(metadata[i].key + key_length - 4, "-bin") == 0;
        if (!binary) {
            cli_print_foreign(stderr, metadata[i].value, metadata[i].value_bytes);
        }
        for (size_t j = 0; binary && j < metadata[i].value_bytes; j++) {
            fprintf(stderr, "%02x", (unsigned char)metadata[i].value[j]);
        }
        fputc('\n', stderr);
    }
}

static void print_hex(const evener_bytes *bytes)
{
    for (size_t i = 0; i < bytes->length; i++) {
        printf("%02x%s", bytes->data[i], i % 32 == 31 ? "\n" : "");
    }
    if (bytes->length % 32 != 0) {
        putchar('\n');
    }
}

static int make_call(cli_service *service, bool raw, bool verbose)
{
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {
        .size = sizeof options,
        .timeout_ms = service->timeout_ms,
        .wait_for_ready = service->wait_for_ready ? EVENER_WAIT_FOR_READY_YES : EVENER_WAIT_FOR_READY_DEFAULT,
        .metadata = service->headers,
        .metadata_count = service->header_count,
        .details = &details,
    };
    evener_bytes response = {0};
    evener_status status;
    const evener_status_code code =
        evener_unary_call(service->channel, service->method, &service->request, &options, &response, &status);
    if (verbose) {
        fputs("backend ", stderr);
        cli_puts_foreign(stderr, details.peer != NULL && details.peer[0] != '\0' ? details.peer : "(none)");
        fprintf(stderr, ", %u attempt%s\n", details.attempts, details.attempts == 1 ? "" : "s");
        print_metadata("header", details.initial_metadata, details.initial_metadata_count);
        print_metadata("trailer", details.trailing_metadata, details.trailing_metadata_count);
    }
    evener_call_details_clear(&details);
    if (code != EVENER_STATUS_OK) {
        cli_error("%s: %s", evener_status_code_name(code), status.message);
        return EXIT_FAILURE;
    }
    if (raw) {
        fwrite(response.data, 1, response.length, stdout);
    } else {
        print_hex(&response);
    }
    evener_bytes_clear(&response);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int evener_cli_call(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"raw", no_argument, NULL, 'r'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            CLI_SERVICE_OPTIONS,
                                            {NULL, 0, NULL, 0}};
    cli_service service = {.timeout_ms = 10000, .connect_timeout_ms = 10000};
    bool raw = false;
    bool verbose = false;
    int result = EXIT_USAGE;
    int option;
    while ((option = getopt_long(argc, argv, "hv", options, NULL)) != -1) {
        if (option == 'h') {
            printf("%s%s", help, cli_service_help);
            result = EXIT_SUCCESS;
            goto done;
        } else if (option == 'r') {
            raw = true;
        } else if (option == 'v') {
            verbose = true;
        } else if (!cli_service_option(&service, option, optarg)) {
            goto done;
        }
    }
    if (argc - optind != 2) {
        fprintf(stderr, "%s%s", help, cli_service_help);
        goto done;
    }
    service.target = argv[optind];
    if (!cli_method(argv[optind + 1], &service.method)) {
        goto done;
    }
    result = cli_service_open(&service) ? make_call(&service, raw, verbose) : EXIT_FAILURE;
done:
    cli_service_close(&service);
    return result;
}
