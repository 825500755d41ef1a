#include "examples/evener/cli.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/printable.h"

#define DATA_BYTES_MAX (64 * 1024 * 1024)

const char cli_service_help[] =
    "The service:\n"
    "  --plaintext               no TLS (the default is TLS)\n"
    "  --cacert FILE             trust these roots (PEM) in the place of the system's\n"
    "  --cert FILE, --key FILE   the client's certificate and key (PEM), for mTLS\n"
    "  --authority NAME          :authority and name to verify, of every backend\n"
    "  --policy POLICY           round_robin, p2c_ewma, ... or '{\"p2c_ewma\": {\"choices\": 4}}'\n"
    "  --service-config JSON     a whole service config; @FILE reads it from a file\n"
    "  --resolver-option K=V     dns.min_refresh_ms=1000, ...; any number of times\n"
    "  --factory FILE            TARGET is the name of a channel in this factory file\n"
    "  --connect-timeout S       how long to wait for the first connection (10)\n"
    "The call:\n"
    "  --data-hex HEX            the request's bytes; empty if none are given\n"
    "  --data-file FILE          the same from a file; - is standard input\n"
    "  --header 'NAME: VALUE'    any number of times\n"
    "  --timeout S               deadline of a call (10; 0: none)\n"
    "  --wait-for-ready          calls wait for a connection in the place of failing\n";

bool cli_error(const char *format, ...)
{
    va_list arguments;
    char *message = NULL;
    va_start(arguments, format);
    const int length = vasprintf(&message, format, arguments);
    va_end(arguments);
    fputs("evener: ", stderr);
    if (length >= 0) {
        cli_print_foreign(stderr, message, (size_t)length);
        free(message);
    } else {
        fputs("out of memory", stderr);
    }
    fputc('\n', stderr);
    return false;
}

void cli_print_foreign(FILE *to, const char *text, size_t bytes)
{
    char piece[512];
    while (bytes > 0) {
        const size_t printed = evener_printable(text, bytes, piece, sizeof piece);
        fputs(piece, to);
        text += printed;
        bytes -= printed;
    }
}

void cli_puts_foreign(FILE *to, const char *text)
{
    cli_print_foreign(to, text, strlen(text));
}

char *cli_read_file(const char *path, size_t *length)
{
    const bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    char *text = NULL;
    size_t used = 0;
    size_t room = 4096;
    if (file == NULL) {
        cli_error("%s: %s", path, strerror(errno));
        return NULL;
    }
    for (;;) {
        char *grown = realloc(text, room);
        if (grown == NULL || room > DATA_BYTES_MAX) {
            cli_error("%s: larger than %d bytes", path, DATA_BYTES_MAX);
            break;
        }
        text = grown;
        used += fread(text + used, 1, room - used - 1, file);
        if (ferror(file)) {
            cli_error("%s: %s", path, strerror(errno));
            break;
        }
        if (feof(file)) {
            text[used] = '\0';
            *length = used;
            if (!standard) {
                fclose(file);
            }
            return text;
        }
        room *= 2;
    }
    if (!standard) {
        fclose(file);
    }
    free(text);
    return NULL;
}

bool cli_number(const char *option, const char *text, double *value)
{
    char *end;
    const double number = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(number) || number < 0) {
        return cli_error("--%s %s: a number is needed", option, text);
    }
    *value = number;
    return true;
}

bool cli_method(const char *text, const char **method)
{
    const char *slash = text[0] == '/' ? strchr(text + 1, '/') : NULL;
    if (slash == NULL || slash == text + 1 || slash[1] == '\0') {
        return cli_error("\"%s\": a method is written /package.Service/Method", text);
    }
    *method = text;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_hex(cli_service *service, const char *text)
{
    size_t digits = 0;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c != ' ' && hex_digit(*c) < 0) {
            return cli_error("--data-hex: \"%c\" is no hexadecimal digit", *c);
        }
        digits += *c != ' ';
    }
    if (digits % 2 != 0) {
        return cli_error("--data-hex: %zu digits are not whole bytes", digits);
    }
    evener_bytes_clear(&service->request);
    uint8_t *to = evener_bytes_create(digits / 2, &service->request);
    size_t at = 0;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == ' ') {
            continue;
        }
        to[at / 2] = (uint8_t)(at % 2 == 0 ? hex_digit(*c) << 4 : to[at / 2] | hex_digit(*c));
        at++;
    }
    return true;
}

static bool take_data_file(cli_service *service, const char *path)
{
    size_t length;
    char *text = cli_read_file(path, &length);
    if (text == NULL) {
        return false;
    }
    evener_bytes_clear(&service->request);
    memcpy(evener_bytes_create(length, &service->request), text, length);
    free(text);
    return true;
}

static bool take_header(cli_service *service, char *text)
{
    char *colon = strchr(text, ':');
    if (colon == NULL || colon == text || service->header_count == CLI_HEADERS_MAX) {
        return cli_error("--header \"%s\": \"name: value\" is needed, at most %d of them", text, CLI_HEADERS_MAX);
    }
    *colon = '\0';
    const char *value = colon + 1 + strspn(colon + 1, " ");
    service->headers[service->header_count++] =
        (evener_metadata){.key = text, .value = value, .value_bytes = strlen(value)};
    return true;
}

static bool take_resolver_option(cli_service *service, char *text)
{
    char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || service->resolver_option_count == CLI_RESOLVER_OPTIONS_MAX) {
        return cli_error("--resolver-option \"%s\": key=value is needed, at most %d of them", text,
                         CLI_RESOLVER_OPTIONS_MAX);
    }
    *equals = '\0';
    service->resolver_options[service->resolver_option_count++] = (evener_attribute){.key = text, .value = equals + 1};
    return true;
}

static bool take_seconds(const char *option, const char *text, uint64_t *ms)
{
    double seconds = 0;
    if (!cli_number(option, text, &seconds)) {
        return false;
    }
    *ms = seconds > 1e9 ? UINT64_C(1000000000000) : (uint64_t)(seconds * 1000);
    return true;
}

bool cli_service_option(cli_service *service, int option, char *value)
{
    switch (option) {
    case CLI_OPTION_AUTHORITY:
        service->authority = value;
        return true;
    case CLI_OPTION_CACERT:
        service->cacert = value;
        return true;
    case CLI_OPTION_CERT:
        service->cert = value;
        return true;
    case CLI_OPTION_CONNECT_TIMEOUT:
        return take_seconds("connect-timeout", value, &service->connect_timeout_ms);
    case CLI_OPTION_DATA_FILE:
        return take_data_file(service, value);
    case CLI_OPTION_DATA_HEX:
        return take_hex(service, value);
    case CLI_OPTION_FACTORY:
        service->factory_path = value;
        return true;
    case CLI_OPTION_HEADER:
        return take_header(service, value);
    case CLI_OPTION_KEY:
        service->key = value;
        return true;
    case CLI_OPTION_PLAINTEXT:
        service->plaintext = true;
        return true;
    case CLI_OPTION_POLICY:
        service->policy = value;
        return true;
    case CLI_OPTION_RESOLVER_OPTION:
        return take_resolver_option(service, value);
    case CLI_OPTION_SERVICE_CONFIG:
        service->service_config = value;
        return true;
    case CLI_OPTION_TIMEOUT:
        return take_seconds("timeout", value, &service->timeout_ms);
    case CLI_OPTION_WAIT_FOR_READY:
        service->wait_for_ready = true;
        return true;
    default:
        return false; /* getopt has told */
    }
}

/* ---- opening ---- */

static bool make_credentials(const cli_service *service, evener_credentials **credentials)
{
    evener_status status;
    if (service->plaintext) {
        if (service->cacert != NULL || service->cert != NULL || service->key != NULL) {
            return cli_error("--plaintext does not go with --cacert, --cert or --key");
        }
        return evener_credentials_create_insecure(credentials, &status) == EVENER_STATUS_OK ||
               cli_error("%s", status.message);
    }
    const char *const paths[] = {service->cacert, service->cert, service->key};
    char *texts[3] = {NULL, NULL, NULL};
    bool ok = true;
    for (size_t i = 0; ok && i < 3; i++) {
        size_t length;
        ok = paths[i] == NULL || (texts[i] = cli_read_file(paths[i], &length)) != NULL;
    }
    const evener_tls_options tls = {
        .size = sizeof tls, .root_certificates = texts[0], .certificate_chain = texts[1], .private_key = texts[2]};
    if (ok && evener_credentials_create_tls(&tls, credentials, &status) != EVENER_STATUS_OK) {
        ok = cli_error("%s", status.message);
    }
    for (size_t i = 0; i < 3; i++) {
        free(texts[i]);
    }
    return ok;
}

/* What --policy and --service-config say, as one service config; to be freed. */
static bool make_service_config(const cli_service *service, char **config)
{
    *config = NULL;
    if (service->policy != NULL && service->service_config != NULL) {
        return cli_error(
            "--policy does not go with --service-config: write the policy into that, as loadBalancingConfig");
    }
    if (service->service_config != NULL && service->service_config[0] == '@') {
        size_t length;
        *config = cli_read_file(service->service_config + 1, &length);
        return *config != NULL;
    }
    int made = 0;
    if (service->service_config != NULL) {
        *config = strdup(service->service_config);
    } else if (service->policy != NULL && service->policy[0] == '{') {
        made = asprintf(config, "{\"loadBalancingConfig\":[%s]}", service->policy);
    } else if (service->policy != NULL && strpbrk(service->policy, "\"\\") == NULL) {
        made = asprintf(config, "{\"loadBalancingConfig\":[{\"%s\":{}}]}", service->policy);
    } else if (service->policy != NULL) {
        return cli_error("--policy %s: a name is needed, or one with parameters as JSON", service->policy);
    } else {
        return true;
    }
    return (made >= 0 && *config != NULL) || cli_error("out of memory");
}

static bool open_factory(cli_service *service)
{
    evener_status status;
    if (service->plaintext || service->cacert != NULL || service->cert != NULL || service->key != NULL ||
        service->authority != NULL || service->policy != NULL || service->service_config != NULL ||
        service->resolver_option_count > 0) {
        return cli_error("--factory: how the service is reached is said in the file, not by options");
    }
    if (evener_factory_open(service->factory_path, NULL, &service->factory, &status) != EVENER_STATUS_OK ||
        evener_factory_channel(service->factory, service->target, &service->channel, &status) != EVENER_STATUS_OK) {
        return cli_error("%s", status.message);
    }
    return true;
}

bool cli_service_open(cli_service *service)
{
    if (service->factory_path != NULL) {
        return open_factory(service);
    }
    evener_credentials *credentials = NULL;
    char *config = NULL;
    evener_status status;
    bool ok = make_service_config(service, &config) && make_credentials(service, &credentials);
    if (ok) {
        const evener_channel_options options = {
            .size = sizeof options,
            .credentials = credentials,
            .authority = service->authority,
            .default_service_config = config,
            .ignore_service_config = config != NULL,
            .resolver_options = service->resolver_options,
            .resolver_option_count = service->resolver_option_count,
        };
        ok = evener_channel_create(service->target, &options, &service->channel, &status) == EVENER_STATUS_OK ||
             cli_error("%s", status.message);
    }
    evener_credentials_destroy(credentials);
    free(config);
    return ok;
}

void cli_service_close(cli_service *service)
{
    evener_bytes_clear(&service->request);
    evener_channel_unref(service->channel);
    evener_factory_close(service->factory);
    service->channel = NULL;
    service->factory = NULL;
}
