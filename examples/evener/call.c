/* evener call TARGET [/]package.Service/Method: make one call, with JSON (typed_call.c) or, a unary one, with bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/evener/cli.h"
#include "examples/evener/commands.h"
#include "examples/evener/service.h"
#include "examples/evener/typed_call.h"
#include "examples/evener/types.h"
#include "examples/whole_message.h"

static bool is_binary(const char *key)
{
    const size_t bytes = strlen(key);
    return bytes > 4 && strcmp(key + bytes - 4, "-bin") == 0;
}

/* Return bytes in hexadecimal, to be freed; NULL: out of memory. */
static char *hex_of(const void *bytes, size_t count)
{
    char *text = malloc(2 * count + 1);
    for (size_t i = 0; text != NULL && i < count; i++) {
        snprintf(text + 2 * i, 3, "%02x", ((const unsigned char *)bytes)[i]);
    }
    if (text != NULL) {
        text[2 * count] = '\0';
    }
    return text;
}

static json_t *hex_json(const void *bytes, size_t count)
{
    char *text = hex_of(bytes, count);
    json_t *json = json_string(text != NULL ? text : "");
    free(text);
    return json;
}

static void print_metadata(const char *what, const evener_metadata *metadata, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fprintf(stderr, "%s ", what);
        cli_puts_foreign(stderr, metadata[i].key);
        fputs(": ", stderr);
        if (is_binary(metadata[i].key)) {
            char *text = hex_of(metadata[i].value, metadata[i].value_bytes);
            fputs(text != NULL ? text : "", stderr);
            free(text);
        } else {
            cli_print_foreign(stderr, metadata[i].value, metadata[i].value_bytes);
        }
        fputc('\n', stderr);
    }
}

static json_t *metadata_json(const evener_metadata *metadata, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *value = is_binary(metadata[i].key) ? hex_json(metadata[i].value, metadata[i].value_bytes)
                                                   : cli_json_text(metadata[i].value, metadata[i].value_bytes);
        json_array_append_new(list,
                              json_pack("[o, o]", cli_json_text(metadata[i].key, strlen(metadata[i].key)), value));
    }
    return list;
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

/* Print how a call ended as a JSON object. `response` NULL: its answers were printed before, each as an object. */
static void print_json(const evener_status *status, const evener_call_details *details, const evener_bytes *response)
{
    const evener_bytes message = whole_message(status, details);
    const bool has_backend = details->peer != NULL && details->peer[0] != '\0';
    json_t *object = json_pack(
        "{s:s, s:i, s:o, s:o, s:i, s:o, s:o}", "status", evener_status_code_name(status->code), "code",
        (int)status->code, "message", cli_json_text((const char *)message.data, message.length), "backend",
        has_backend ? cli_json_text(details->peer, strlen(details->peer)) : json_null(), "attempts",
        (int)details->attempts, "headers", metadata_json(details->initial_metadata, details->initial_metadata_count),
        "trailers", metadata_json(details->trailing_metadata, details->trailing_metadata_count));
    if (response != NULL) {
        json_object_set_new(object, "response_hex",
                            status->code == EVENER_STATUS_OK ? hex_json(response->data, response->length)
                                                             : json_null());
    }
    cli_print_json(object);
}

static void print_verbose(const evener_call_details *details)
{
    fputs("backend ", stderr);
    cli_puts_foreign(stderr, details->peer != NULL && details->peer[0] != '\0' ? details->peer : "(none)");
    fprintf(stderr, ", %u attempt%s\n", details->attempts, details->attempts == 1 ? "" : "s");
    print_metadata("header", details->initial_metadata, details->initial_metadata_count);
    print_metadata("trailer", details->trailing_metadata, details->trailing_metadata_count);
}

static evener_status_code call_with_bytes(const cli_options *options, const cli_service *service,
                                          evener_call_details *details, evener_status *status)
{
    evener_call_options call = cli_call_options(options);
    evener_bytes response = {0};
    call.details = details;
    const evener_status_code code =
        evener_unary_call(service->channel, options->method, &options->request, &call, &response, status);
    if (options->json) {
        print_json(status, details, &response);
    } else if (code == EVENER_STATUS_OK && options->raw) {
        fwrite(response.data, 1, response.length, stdout);
    } else if (code == EVENER_STATUS_OK) {
        print_hex(&response);
    }
    evener_bytes_clear(&response);
    return code;
}

static int make_call(const cli_options *options, const cli_service *service)
{
    evener_call_details details = {.size = sizeof details};
    evener_status status;
    bool failed = false;
    const bool typed = cli_is_typed(options);
    const evener_status_code code = typed ? cli_typed_call(options, service, &details, &failed, &status)
                                          : call_with_bytes(options, service, &details, &status);
    const bool ended = !failed || code != EVENER_STATUS_OK;
    if (options->verbose && ended) {
        print_verbose(&details);
    }
    if (options->json && typed && ended) {
        print_json(&status, &details, NULL);
    }
    if (!options->json && code != EVENER_STATUS_OK && !failed) {
        const evener_bytes message = whole_message(&status, &details);
        cli_error("%s: %.*s", evener_status_code_name(code), (int)message.length, (const char *)message.data);
    }
    if (code != EVENER_STATUS_OK && !failed && (details.peer == NULL || details.peer[0] == '\0')) {
        cli_service_hint(options, service, status.message);
    }
    evener_call_details_clear(&details);
    return failed ? EXIT_FAILURE : code == EVENER_STATUS_OK ? EXIT_SUCCESS : EXIT_CALL_BASE + (int)code;
}

int cli_call(const cli_options *options)
{
    cli_service service = {0};
    const int result = cli_service_open(options, &service) ? make_call(options, &service) : EXIT_FAILURE;
    cli_service_close(&service);
    return result;
}
