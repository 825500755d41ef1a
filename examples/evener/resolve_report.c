#include "examples/evener/resolve_report.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "examples/evener/cli.h"

#define TIME_BYTES 40
#define TARGET_BYTES_SHOWN 200

/* Write the local time with its offset from UTC: "2026-11-28 15:30:00.123+0100". */
static void time_of_day(char text[TIME_BYTES])
{
    struct timespec now;
    struct tm local;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    const size_t bytes = strftime(text, TIME_BYTES, "%Y-%m-%d %H:%M:%S", &local);
    char zone[8];
    strftime(zone, sizeof zone, "%z", &local);
    snprintf(text + bytes, TIME_BYTES - bytes, ".%03ld%s", now.tv_nsec / 1000000, zone);
}

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Return the age of the last list, when another one comes. */
static double age_s(const resolve_report *report)
{
    return (double)(monotonic_ns() - report->changed_ns) / 1e9;
}

/* ---- differences of two lists ---- */

static const char *authority_of(const evener_address *address)
{
    const char *authority = evener_address_authority(address);
    return authority != NULL ? authority : "";
}

static int compare(const evener_address *a, const evener_address *b)
{
    const int order = strcmp(evener_address_text(a), evener_address_text(b));
    return order != 0 ? order : strcmp(authority_of(a), authority_of(b));
}

static int compare_elements(const void *a, const void *b)
{
    return compare(*(evener_address *const *)a, *(evener_address *const *)b);
}

typedef enum change { ADDED, REMOVED, CHANGED } change;

/* Call `visit` for each difference, in the order of the addresses. `old` is NULL for an added address, `new` for a
 * removed one. Return the number of differences. */
static size_t compare_lists(evener_address *const *old, size_t old_count, evener_address *const *new, size_t new_count,
                            void (*visit)(change what, const evener_address *old, const evener_address *new, void *arg),
                            void *arg)
{
    size_t differences = 0;
    for (size_t o = 0, n = 0; o < old_count || n < new_count;) {
        const int order = o == old_count ? 1 : n == new_count ? -1 : compare(old[o], new[n]);
        if (order < 0) {
            visit(REMOVED, old[o++], NULL, arg);
        } else if (order > 0) {
            visit(ADDED, NULL, new[n++], arg);
        } else if (!evener_address_equal(old[o++], new[n++])) {
            visit(CHANGED, old[o - 1], new[n - 1], arg);
        } else {
            continue;
        }
        differences++;
    }
    return differences;
}

static void ignore(change what, const evener_address *old, const evener_address *new, void *arg)
{
    (void)what, (void)old, (void)new, (void)arg;
}

/* ---- as text ---- */

static void print_attributes(const evener_address *address)
{
    for (size_t i = 0; i < evener_address_attribute_count(address); i++) {
        const evener_attribute attribute = evener_address_attribute_at(address, i);
        fputs(i == 0 ? "  " : " ", stdout);
        cli_puts_foreign(stdout, attribute.key);
        putchar('=');
        cli_puts_foreign(stdout, attribute.value);
    }
}

static void print_address(char mark, const evener_address *address)
{
    printf("%c ", mark);
    cli_puts_foreign(stdout, evener_address_text(address));
    print_attributes(address);
    putchar('\n');
}

static void print_difference(change what, const evener_address *old, const evener_address *new, void *arg)
{
    (void)arg;
    if (what == REMOVED) {
        print_address('-', old);
    } else if (what == ADDED) {
        print_address('+', new);
    } else {
        fputs("~ ", stdout);
        cli_puts_foreign(stdout, evener_address_text(new));
        print_attributes(new);
        printf("  (was:");
        print_attributes(old);
        puts(")");
    }
}

static void print_head(const resolve_report *report, const evener_resolver_update *update)
{
    char now[TIME_BYTES];
    if (report->watch) {
        time_of_day(now);
        printf("%s  ", now);
    }
    printf("%zu address%s", update->address_count, update->address_count == 1 ? "" : "es");
    if (update->source != NULL) {
        fputs(" from ", stdout);
        cli_puts_foreign(stdout, update->source);
    }
    if (update->ttl_ms > 0) {
        printf(", TTL %.3g s", (double)update->ttl_ms / 1000);
    }
    if (report->any) {
        printf(", after %.3f s", age_s(report));
    }
    putchar('\n');
}

static void print_text(const resolve_report *report, const evener_resolver_update *update,
                       evener_address *const *sorted, bool config_changed)
{
    print_head(report, update);
    if (report->any) {
        compare_lists(report->addresses, report->address_count, sorted, update->address_count, print_difference, NULL);
    } else {
        for (size_t i = 0; i < update->address_count; i++) {
            print_address(' ', update->addresses[i]); /* in the resolver's order, which pick_first uses */
        }
    }
    if (config_changed) {
        fputs("  service config: ", stdout);
        cli_puts_foreign(stdout, update->service_config != NULL ? update->service_config : "none");
        putchar('\n');
    }
}

/* ---- as JSON, one object per line ---- */

static json_t *address_json(const evener_address *address)
{
    json_t *attributes = json_object();
    for (size_t i = 0; i < evener_address_attribute_count(address); i++) {
        const evener_attribute attribute = evener_address_attribute_at(address, i);
        json_t *key = cli_json_text(attribute.key, strlen(attribute.key)); /* escaped where it is not UTF-8 */
        json_object_set_new(attributes, json_is_string(key) ? json_string_value(key) : "",
                            cli_json_text(attribute.value, strlen(attribute.value)));
        json_decref(key);
    }
    const char *text = evener_address_text(address);
    return json_pack("{s:o, s:o}", "address", cli_json_text(text, strlen(text)), "attributes", attributes);
}

static void collect_difference(change what, const evener_address *old, const evener_address *new, void *arg)
{
    static const char *const names[] = {[ADDED] = "added", [REMOVED] = "removed", [CHANGED] = "changed"};
    json_array_append_new(json_object_get(arg, names[what]), address_json(what == REMOVED ? old : new));
}

static void print_json(const resolve_report *report, const evener_resolver_update *update,
                       evener_address *const *sorted)
{
    char now[TIME_BYTES];
    time_of_day(now);
    json_t *addresses = json_array();
    for (size_t i = 0; i < update->address_count; i++) {
        json_array_append_new(addresses, address_json(update->addresses[i]));
    }
    const char *source = update->source;
    json_t *object = json_pack("{s:s, s:o, s:o, s:I, s:o}", "time", now, "target",
                               cli_json_text(report->target, strlen(report->target)), "source",
                               source != NULL ? cli_json_text(source, strlen(source)) : json_null(), "ttl_ms",
                               (json_int_t)update->ttl_ms, "addresses", addresses);
    if (update->service_config != NULL) {
        json_t *config = json_loads(update->service_config, JSON_DECODE_ANY, NULL);
        json_object_set_new(object, "service_config",
                            config != NULL ? config
                                           : cli_json_text(update->service_config, strlen(update->service_config)));
    }
    if (report->any) {
        json_object_set_new(object, "added", json_array());
        json_object_set_new(object, "removed", json_array());
        json_object_set_new(object, "changed", json_array());
        json_object_set_new(object, "age_s", json_real(age_s(report)));
        compare_lists(report->addresses, report->address_count, sorted, update->address_count, collect_difference,
                      object);
    }
    cli_print_json(object);
}

/* ---- both ---- */

static bool differs(const char *a, const char *b)
{
    return (a == NULL) != (b == NULL) || (a != NULL && strcmp(a, b) != 0);
}

bool resolve_report_update(resolve_report *report, const evener_resolver_update *update)
{
    const size_t count = update->address_count;
    evener_address **sorted = malloc((count > 0 ? count : 1) * sizeof *sorted);
    char *config = update->service_config != NULL ? strdup(update->service_config) : NULL;
    if (sorted == NULL || (update->service_config != NULL && config == NULL)) {
        free(sorted);
        free(config);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i] = evener_address_ref(update->addresses[i]);
    }
    qsort(sorted, count, sizeof *sorted, compare_elements);

    const bool config_changed = differs(report->service_config, config);
    if (!report->any || config_changed ||
        compare_lists(report->addresses, report->address_count, sorted, count, ignore, NULL) > 0) {
        if (report->json) {
            print_json(report, update, sorted);
        } else {
            print_text(report, update, sorted, config_changed);
        }
        report->changed_ns = monotonic_ns();
        int error;
        (void)cli_flush(&error); /* for a reader at the other end of a pipe; the caller checks for errors */
    }
    if (update->service_config_error != NULL) {
        resolve_report_error(report, update->service_config_error);
    }
    resolve_report_clear(report);
    report->any = true;
    report->addresses = sorted;
    report->address_count = count;
    report->service_config = config;
    return true;
}

void resolve_report_error(const resolve_report *report, const evener_status *status)
{
    char now[TIME_BYTES] = "";
    if (report->watch) {
        time_of_day(now);
        strcat(now, "  ");
    }
    fprintf(stderr, "%sevener: resolve ", now);
    cli_print_foreign(stderr, report->target, strnlen(report->target, TARGET_BYTES_SHOWN));
    fprintf(stderr, ": %s: ", evener_status_code_name(status->code));
    cli_puts_foreign(stderr, status->message);
    fputc('\n', stderr);
}

void resolve_report_clear(resolve_report *report)
{
    for (size_t i = 0; i < report->address_count; i++) {
        evener_address_unref(report->addresses[i]);
    }
    free(report->addresses);
    free(report->service_config);
    report->addresses = NULL;
    report->address_count = 0;
    report->service_config = NULL;
    report->any = false;
}
