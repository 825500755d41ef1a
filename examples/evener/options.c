#include "examples/evener/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/evener/cli.h"
#include "examples/evener/load_schedule.h"
#include "lb/base/metadata_rules.h"

#define TYPES (CLI_LIST | CLI_DESCRIBE)
#define MESSAGES (CLI_CALL | CLI_LOAD)
#define CALLS (MESSAGES | TYPES) /* reflection is a call */
#define SERVICE (CLI_RESOLVE | CALLS)
#define ALL (SERVICE | CLI_CHECK)
#define TIMEOUT_MS_DEFAULT 10000
#define RESOLVE_TIMEOUT_MS_DEFAULT 30000
#define CONCURRENCY_MAX 100000
#define CALLS_MAX UINT64_C(1000000000000000)
#define DURATION_MS_MAX (UINT64_C(365) * 24 * 3600 * 1000)
#define FIRST_LONG_ONLY 1000 /* getopt's value of an option without a letter is this and its index */

typedef struct entry entry;
typedef bool take_fn(const entry *e, cli_options *options, char *value);

struct entry {
    const char *name;
    char letter;          /* 0: none */
    const char *argument; /* its name in the help; NULL: the option is a flag */
    unsigned commands;
    take_fn *take;    /* NULL: help */
    size_t offset;    /* of the member that `take` sets */
    uint64_t maximum; /* of numbers; the minimum is 1 unless zero_allowed */
    bool zero_allowed;
    const char *help;
};

static void *member(const entry *e, cli_options *options)
{
    return (char *)options + e->offset;
}

/* ---- values ---- */

static bool take_flag(const entry *e, cli_options *options, char *value)
{
    (void)value;
    *(bool *)member(e, options) = true;
    return true;
}

static bool take_text(const entry *e, cli_options *options, char *value)
{
    *(const char **)member(e, options) = value;
    return true;
}

static bool take_number(const entry *e, cli_options *options, char *value)
{
    char *end;
    errno = 0;
    const unsigned long long number = strtoull(value, &end, 10);
    const uint64_t minimum = e->zero_allowed ? 0 : 1;
    if (!isdigit((unsigned char)value[0]) || *end != '\0' || errno != 0 || number < minimum || number > e->maximum) {
        return cli_error("--%s %s: a whole number from %llu to %llu is needed", e->name, value,
                         (unsigned long long)minimum, (unsigned long long)e->maximum);
    }
    *(uint64_t *)member(e, options) = number;
    return true;
}

bool cli_duration_parse(const char *text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"", 1000}, {"s", 1000}, {"ms", 1}, {"us", 1e-3}, {"m", 60000}, {"h", 3600000}};
    const size_t unit_count = sizeof units / sizeof units[0];
    const char *whole = text;
    double sum_ms = 0;
    do {
        const size_t digits = strspn(text, "0123456789.");
        char *end;
        const double number = strtod(text, &end);
        if (digits == 0 || end != text + digits) {
            return false; /* a sign, an exponent, "0x", "inf" */
        }
        const size_t letters = strcspn(end, "0123456789.");
        size_t i = 0;
        while (i < unit_count && (strlen(units[i].unit) != letters || strncmp(end, units[i].unit, letters) != 0)) {
            i++;
        }
        if (i == unit_count || (letters == 0 && text != whole)) {
            return false; /* only a whole duration may go without a unit */
        }
        sum_ms += number * units[i].ms;
        text = end + letters;
    } while (*text != '\0');
    if (sum_ms > (double)DURATION_MS_MAX) {
        return false;
    }
    *ms = (uint64_t)ceil(sum_ms);
    return true;
}

static bool take_duration(const entry *e, cli_options *options, char *value)
{
    uint64_t *ms = member(e, options);
    if (!cli_duration_parse(value, ms) || (*ms == 0 && !e->zero_allowed)) {
        return cli_error("--%s %s: a duration is needed, as in 500ms, 10s or 2m", e->name, value);
    }
    return true;
}

static bool take_rate(const entry *e, cli_options *options, char *value)
{
    char *end;
    const double rate = strtod(value, &end);
    if (end == value || *end != '\0' || !(rate >= LOAD_RATE_MIN && rate <= LOAD_RATE_MAX)) {
        return cli_error("--%s %s: 0.000001 to 10,000,000 calls per second are needed", e->name, value);
    }
    options->rate = rate;
    return true;
}

static bool take_failures(const entry *e, cli_options *options, char *value)
{
    options->has_failures_max = take_number(e, options, value);
    return options->has_failures_max;
}

/* ---- the request ---- */

static void set_request(cli_options *options, const void *bytes, size_t count)
{
    options->data_path = NULL;
    evener_bytes_clear(&options->request);
    uint8_t *to = evener_bytes_create(count, &options->request);
    if (count > 0) {
        memcpy(to, bytes, count);
    }
}

static bool take_data_file(const entry *e, cli_options *options, char *value)
{
    (void)e;
    set_request(options, "", 0);
    options->has_data = true;
    options->data_path = value;
    return true;
}

/* Read the request's file, when all options are known. False: the error was printed. */
static bool read_data_file(cli_command command, cli_options *options)
{
    size_t length;
    options->standard_input = strcmp(options->data_path, "-") == 0 && command == CLI_CALL && cli_is_typed(options);
    if (options->standard_input) {
        return true;
    }
    char *text = cli_read_file(options->data_path, &length);
    if (text != NULL) {
        set_request(options, text, length);
    }
    free(text);
    return text != NULL;
}

static bool take_data(const entry *e, cli_options *options, char *value)
{
    if (value[0] == '@') {
        static char standard[] = "-";
        return take_data_file(e, options, value[1] == '\0' ? standard : value + 1);
    }
    options->has_data = true;
    set_request(options, value, strlen(value));
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

static bool take_hex(const entry *e, cli_options *options, char *value)
{
    size_t digits = 0;
    for (const char *c = value; *c != '\0'; c++) {
        if (*c != ' ' && hex_digit(*c) < 0) {
            return cli_error("--%s: \"%c\" is no hexadecimal digit", e->name, *c);
        }
        if (*c != ' ') {
            value[digits++] = *c; /* argv may be changed */
        }
    }
    if (digits % 2 != 0) {
        return cli_error("--%s: %zu digits are not whole bytes", e->name, digits);
    }
    for (size_t i = 0; i < digits / 2; i++) {
        value[i] = (char)(hex_digit(value[2 * i]) << 4 | hex_digit(value[2 * i + 1]));
    }
    options->has_hex = true;
    set_request(options, value, digits / 2);
    return true;
}

/* Decode base64 (RFC 4648 sections 4 and 5, padding optional) in place. False: it is not base64; `text` is
 * unchanged. */
static bool base64_decode(char *text, size_t *bytes)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
    const size_t digits = strspn(text, alphabet);
    const size_t padding = strlen(text) - digits;
    if (digits % 4 == 1 || strspn(text + digits, "=") != padding || (padding > 0 && (digits + padding) % 4 != 0) ||
        padding > 2) {
        return false;
    }
    uint32_t bits = 0;
    size_t written = 0;
    for (size_t i = 0; i < digits; i++) {
        const size_t digit = (size_t)(strchr(alphabet, text[i]) - alphabet);
        bits = bits << 6 | (uint32_t)(digit < 64 ? digit : digit - 2); /* "-_" are "+/" */
        if (i % 4 != 0) {
            text[written++] = (char)(bits >> (6 - 2 * (i % 4)));
        }
    }
    *bytes = written;
    return true;
}

static bool take_header(const entry *e, cli_options *options, char *value)
{
    char *colon = strchr(value, ':');
    if (colon == NULL || colon == value || options->header_count == CLI_HEADERS_MAX) {
        return cli_error("--%s \"%s\": \"name: value\" is needed, at most %d of them", e->name, value, CLI_HEADERS_MAX);
    }
    *colon = '\0';
    for (char *c = value; *c != '\0'; c++) { /* HTTP/2 has lower-case names only (RFC 9113 section 8.2) */
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c);
    }
    char *text = colon + 1 + strspn(colon + 1, " \t");
    size_t bytes = strlen(text);
    while (bytes > 0 && strchr(" \t", text[bytes - 1]) != NULL) { /* no part of a value (RFC 9110 section 5.5) */
        text[--bytes] = '\0';
    }
    const size_t name_bytes = (size_t)(colon - value);
    if (name_bytes > 4 && strcmp(colon - 4, "-bin") == 0 && !base64_decode(text, &bytes)) {
        return cli_error("--%s \"%s: %s\": the value of a -bin header is needed in base64", e->name, value, text);
    }
    const evener_metadata header = {.key = value, .value = text, .value_bytes = bytes};
    evener_status status;
    if (!evener_metadata_check(&header, 1, &status)) {
        return cli_error("--%s: %s", e->name, status.message);
    }
    options->headers[options->header_count++] = header;
    return true;
}

static bool take_protoset(const entry *e, cli_options *options, char *value)
{
    if (options->protoset_count == CLI_PROTOSETS_MAX) {
        return cli_error("--%s: at most %d of them", e->name, CLI_PROTOSETS_MAX);
    }
    options->protosets[options->protoset_count++] = value;
    return true;
}

static bool take_resolver_option(const entry *e, cli_options *options, char *value)
{
    char *equals = strchr(value, '=');
    if (equals == NULL || equals == value || options->resolver_option_count == CLI_RESOLVER_OPTIONS_MAX) {
        return cli_error("--%s \"%s\": key=value is needed, at most %d of them", e->name, value,
                         CLI_RESOLVER_OPTIONS_MAX);
    }
    *equals = '\0';
    options->resolver_options[options->resolver_option_count++] = (evener_attribute){.key = value, .value = equals + 1};
    return true;
}

/* ---- the table ---- */

#define AT(name) offsetof(cli_options, name)

static const entry entries[] = {
    {"watch", 'w', NULL, CLI_RESOLVE, take_flag, AT(watch), 0, false,
     "go on until interrupted, print each change: + added, - removed, ~ other attributes"},
    {"raw", 0, NULL, CLI_CALL, take_flag, AT(raw), 0, false, "print the response's bytes as they are"},
    {"verbose", 'v', NULL, CLI_CALL, take_flag, AT(verbose), 0, false,
     "print backend, headers and trailers on standard error"},
    {"calls", 'n', "N", CLI_LOAD, take_number, AT(calls_max), CALLS_MAX, false, "stop after N calls"},
    {"duration", 'z', "TIME", CLI_LOAD, take_duration, AT(duration_ms), 0, false,
     "start calls for this time (10s, unless --calls is given)"},
    {"concurrency", 'c', "N", CLI_LOAD, take_number, AT(concurrency), CONCURRENCY_MAX, false,
     "keep N calls in flight (16); with --rate: the maximum (10000)"},
    {"rate", 'r', "R", CLI_LOAD, take_rate, 0, 0, false,
     "start R calls per second by the clock (open loop); at least 0.000001"},
    {"max-failures", 0, "N", CLI_LOAD, take_failures, AT(failures_max), CALLS_MAX, true,
     "exit with status 1 if more than N calls fail (no limit)"},
    {"json", 0, NULL, ALL, take_flag, AT(json), 0, false, "print the result as JSON, one object per line"},
    {"quiet", 'q', NULL, CLI_CHECK, take_flag, AT(quiet), 0, false, "print mistakes only"},
    {"quiet", 'q', NULL, CLI_LOAD, take_flag, AT(quiet), 0, false, "print no progress"},
    {"plaintext", 0, NULL, CALLS, take_flag, AT(plaintext), 0, false, "connect without TLS (the default is TLS)"},
    {"cacert", 0, "FILE", CALLS, take_text, AT(cacert), 0, false, "trust these roots (PEM) instead of the system's"},
    {"cert", 0, "FILE", CALLS, take_text, AT(cert), 0, false, "client certificate (PEM) for mTLS"},
    {"key", 0, "FILE", CALLS, take_text, AT(key), 0, false, "client key (PEM) for mTLS"},
    {"authority", 0, "NAME", CALLS, take_text, AT(authority), 0, false,
     ":authority, and name to verify, of every backend"},
    {"policy", 0, "POLICY", CALLS, take_text, AT(policy), 0, false,
     "round_robin, p2c_ewma, ... or '{\"p2c_ewma\": {\"choices\": 4}}'"},
    {"service-config", 0, "JSON", CALLS, take_text, AT(service_config), 0, false,
     "a whole service config; @FILE reads it from a file"},
    {"transport", 0, "NAME", CALLS, take_text, AT(transport), 0, false,
     "grpc or http2 (EVENER_TRANSPORT, otherwise grpc)"},
    {"factory", 0, "FILE", CALLS, take_text, AT(factory_path), 0, false,
     "TARGET is the name of a channel in this factory file"},
    {"resolver-option", 0, "KEY=VALUE", SERVICE, take_resolver_option, 0, 0, false,
     "dns.min_refresh_ms=1000, ...; may be repeated"},
    {"default-port", 0, "PORT", SERVICE, take_number, AT(default_port), 65535, false,
     "port of names without one (443)"},
    {"connect-timeout", 0, "TIME", CLI_LOAD, take_duration, AT(connect_timeout_ms), 0, false,
     "wait this long for the first connection (10s)"},
    {"data", 'd', "TEXT", MESSAGES, take_data, 0, 0, false,
     "the messages as JSON, or bytes; @FILE reads a file, @ standard input"},
    {"data-file", 0, "FILE", MESSAGES, take_data_file, 0, 0, false, "the same as --data @FILE"},
    {"data-hex", 0, "HEX", MESSAGES, take_hex, 0, 0, false, "the request's bytes in hexadecimal"},
    {"protoset", 0, "FILE", CALLS, take_protoset, 0, 0, false,
     "take types from this descriptor set, not from the server; repeatable"},
    {"emit-defaults", 0, NULL, CLI_CALL, take_flag, AT(emit_defaults), 0, false,
     "print fields that have their default values, too"},
    {"allow-unknown-fields", 0, NULL, MESSAGES, take_flag, AT(allow_unknown_fields), 0, false,
     "ignore fields of --data that the message does not have"},
    {"header", 'H', "'NAME: VALUE'", CALLS, take_header, 0, 0, false,
     "send this header, -bin ones in base64; may be repeated"},
    {"timeout", 0, "TIME", CLI_RESOLVE, take_duration, AT(timeout_ms), 0, true,
     "without --watch, wait this long for the first answer (30s; 0: no limit)"},
    {"timeout", 0, "TIME", CALLS, take_duration, AT(timeout_ms), 0, true, "deadline of each call (10s; 0: none)"},
    {"wait-for-ready", 0, NULL, CALLS, take_flag, AT(wait_for_ready), 0, false,
     "calls wait for a connection instead of failing"},
    {"help", 'h', NULL, ALL, NULL, 0, 0, false, "print this help"},
};
#define ENTRIES (sizeof entries / sizeof entries[0])

static const struct {
    cli_command command;
    const char *usage;
    const char *text;
} texts[] = {
    {CLI_RESOLVE, "resolve [OPTION...] TARGET",
     "Prints the addresses behind a target (dns:///orders.prod:50051, file:///etc/orders.endpoints,\n"
     "static:10.0.0.1:80, ...) with their attributes, source and TTL.\n"},
    {CLI_CHECK, "check [OPTION...] FILE...",
     "Reads factory files as a program would, without connecting, and prints each channel with\n"
     "its target, authority, credentials and policy. A mistake is reported with file, line and field.\n"},
    {CLI_CALL, "call [OPTION...] TARGET [/]package.Service/Method",
     "Makes one call of any kind, and prints its answers as JSON. The types are the server's (by reflection)\n"
     "or of --protoset. With a slash in front of the method, --raw or --data-hex: a unary call with bytes,\n"
     "printed in hexadecimal.\n"},
    {CLI_LOAD, "load [OPTION...] TARGET [/]package.Service/Method",
     "Sends calls and prints, for each backend, its calls, share, latencies, failures and state.\n"
     "The request is JSON; with a slash in front of the method, or --data-hex, it is bytes.\n"
     "Latencies are of all calls, with --rate from the time when a call was due; a failed call\n"
     "counts with the time until it failed. Calls per second are over the time\n"
     "for which calls were asked: see evener(1), which says how all figures are made.\n"},
    {CLI_LIST, "list [OPTION...] TARGET [SERVICE], list --protoset FILE [SERVICE]",
     "Lists the services of a server (by reflection) or a descriptor set, or the methods of a service.\n"},
    {CLI_DESCRIBE, "describe [OPTION...] TARGET SYMBOL, describe --protoset FILE SYMBOL",
     "Prints how a service, method, message or enum is declared, with its comments.\n"},
};

static size_t text_of(cli_command command)
{
    size_t i = 0;
    while (texts[i].command != command) {
        i++;
    }
    return i;
}

void cli_options_help(cli_command command)
{
    const size_t text = text_of(command);
    printf("usage: evener %s\n\n%s\n", texts[text].usage, texts[text].text);
    for (size_t i = 0; i < ENTRIES; i++) {
        const entry *e = &entries[i];
        if ((e->commands & (unsigned)command) != 0) {
            char left[64];
            const char letter[] = {'-', e->letter, ',', ' ', '\0'};
            snprintf(left, sizeof left, "%s--%s%s%s", e->letter != 0 ? letter : "    ", e->name,
                     e->argument != NULL ? " " : "", e->argument != NULL ? e->argument : "");
            printf("  %-33s %s\n", left, e->help);
        }
    }
    if (command != CLI_CHECK) {
        puts("\nTIME is a number with us, ms, s, m or h, or a sum: 500ms, 10s, 1m30s. Without a unit: seconds.");
    }
    puts("Exit status: see evener(1), or `evener help`.");
}

/* ---- parsing ---- */

static const entry *entry_of(int value)
{
    for (size_t i = 0; i < ENTRIES; i++) {
        if (value == (entries[i].letter != 0 ? entries[i].letter : FIRST_LONG_ONLY + (int)i)) {
            return &entries[i];
        }
    }
    return NULL;
}

static cli_parsed wrong(cli_command command)
{
    fprintf(stderr, "usage: evener %s\n`evener help %s` lists the options.\n", texts[text_of(command)].usage,
            command == CLI_RESOLVE ? "resolve"
            : command == CLI_CHECK ? "check"
            : command == CLI_CALL  ? "call"
            : command == CLI_LOAD  ? "load"
            : command == CLI_LIST  ? "list"
                                   : "describe");
    return CLI_WRONG;
}

/* Store a method, to be freed. Without a slash in front it is called with its types, and may be written with a dot in
 * front of its name, as for other tools. */
static bool take_method(const char *text, cli_options *options)
{
    const bool bytes = text[0] == '/' || options->has_hex || options->raw;
    const char *name = text[0] == '/' ? text + 1 : text;
    const char *slash = strchr(name, '/');
    slash = slash == NULL && !bytes ? strrchr(name, '.') : slash;
    if (slash == NULL || slash == name || slash[1] == '\0') {
        return cli_error("\"%s\": a method is written package.Service/Method, or /package.Service/Method for bytes",
                         text);
    }
    options->method_without_slash = text[0] != '/';
    if (asprintf(&options->method, "/%s", name) < 0) {
        options->method = NULL;
        return cli_error("out of memory");
    }
    return true;
}

bool cli_is_typed(const cli_options *options)
{
    return options->method != NULL && options->method_without_slash && !options->raw && !options->has_hex;
}

/* Take [TARGET] [SYMBOL]: descriptor sets need no target. */
static cli_parsed take_symbol(cli_command command, int count, char **operands, cli_options *options)
{
    const int first = options->protoset_count == 0;
    if (count < first || count > first + 1) {
        cli_error(count < first ? "no target" : "\"%s\": too many arguments", count < first ? "" : operands[first + 1]);
        return wrong(command);
    }
    options->target = first ? operands[0] : NULL;
    options->symbol = count > first ? operands[first] : NULL;
    if (command == CLI_DESCRIBE && options->symbol == NULL) {
        cli_error("no symbol");
        return wrong(command);
    }
    return CLI_RUN;
}

static cli_parsed take_operands(cli_command command, int count, char **operands, cli_options *options)
{
    if (command == CLI_CHECK) {
        options->files = operands;
        options->file_count = count;
        if (count == 0) {
            cli_error("check: no file");
            return wrong(command);
        }
        return CLI_RUN;
    }
    if ((command & TYPES) != 0) {
        return take_symbol(command, count, operands, options);
    }
    const int wanted = command == CLI_RESOLVE ? 1 : 2;
    if (count != wanted) {
        if (count > wanted) {
            cli_error("\"%s\": too many arguments", operands[wanted]);
        } else {
            cli_error("no %s", count == 0 ? "target" : "method");
        }
        return wrong(command);
    }
    options->target = operands[0];
    return wanted == 1 || take_method(operands[1], options) ? CLI_RUN : CLI_WRONG;
}

/* Check that the options go together. */
static bool check_combinations(const cli_options *options)
{
    const bool certificates = options->cacert != NULL || options->cert != NULL || options->key != NULL;
    if (options->factory_path != NULL &&
        (options->plaintext || certificates || options->authority != NULL || options->policy != NULL ||
         options->service_config != NULL || options->transport != NULL || options->default_port != 0 ||
         options->resolver_option_count > 0)) {
        return cli_error("--factory: the file says how to reach the service; remove the other options for that");
    }
    if (options->plaintext && certificates) {
        return cli_error("--plaintext does not go with --cacert, --cert or --key");
    }
    if ((options->cert != NULL) != (options->key != NULL)) {
        return cli_error("--cert needs --key, and --key needs --cert");
    }
    if (options->policy != NULL && options->service_config != NULL) {
        return cli_error(
            "--policy does not go with --service-config: write the policy into that, as loadBalancingConfig");
    }
    return true;
}

cli_parsed cli_options_parse(cli_command command, int argc, char **argv, cli_options *options)
{
    struct option longs[ENTRIES + 1] = {{0}};
    char letters[2 * ENTRIES + 1];
    size_t long_count = 0;
    size_t letter_count = 0;
    *options = (cli_options){
        .timeout_ms = command == CLI_RESOLVE ? RESOLVE_TIMEOUT_MS_DEFAULT : TIMEOUT_MS_DEFAULT,
        .connect_timeout_ms = TIMEOUT_MS_DEFAULT,
    };
    for (size_t i = 0; i < ENTRIES; i++) {
        const entry *e = &entries[i];
        if ((e->commands & (unsigned)command) == 0) {
            continue;
        }
        longs[long_count++] = (struct option){e->name, e->argument != NULL ? required_argument : no_argument, NULL,
                                              e->letter != 0 ? e->letter : FIRST_LONG_ONLY + (int)i};
        if (e->letter != 0) {
            letters[letter_count++] = e->letter;
            if (e->argument != NULL) {
                letters[letter_count++] = ':';
            }
        }
    }
    letters[letter_count] = '\0';
    int value;
    char name[] = "evener";
    argv[0] = name; /* begins getopt's messages */
    optind = 1;
    while ((value = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        const entry *e = entry_of(value);
        if (e == NULL) {
            return wrong(command); /* getopt_long() has printed the error */
        }
        if (e->take == NULL) {
            cli_options_help(command);
            return CLI_DONE;
        }
        if (!e->take(e, options, optarg)) {
            return CLI_WRONG;
        }
    }
    const cli_parsed result = take_operands(command, argc - optind, argv + optind, options);
    if (result != CLI_RUN) {
        return result;
    }
    if (!check_combinations(options)) {
        return CLI_WRONG;
    }
    return options->data_path == NULL || read_data_file(command, options) ? CLI_RUN : CLI_UNREADABLE;
}

void cli_options_clear(cli_options *options)
{
    free(options->method);
    evener_bytes_clear(&options->request);
}
