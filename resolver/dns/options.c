#include "resolver/dns/options.h"

#include <stdlib.h>
#include <string.h>

/* The longest value that keeps "a new record is used within its TTL + 1 s" true for any TTL, also 0. */
#define MIN_REFRESH_MS 1000
/* Bounds the effect of a mistaken TTL ("a day"); costs one query per five minutes. */
#define MAX_REFRESH_MS 300000
/* grpc: at most one connection-triggered query per 30 s. */
#define RESOLVE_NOW_MIN_MS 30000
#define RESOLVE_NOW_FLOOR_MS 1000
#define TIMEOUT_MS 5000
#define TRIES 3
#define DAY_MS UINT64_C(86400000)
#define TIMEOUT_MS_MAX 120000
#define TRIES_MAX 10
#define IN_FLIGHT_MAX 64 /* per runtime */
#define IN_FLIGHT_MAX_MAX 4096

static evener_status_code choice(const evener_resolver_args *args, const char *key, const char *no, const char *yes,
                                 bool *value, evener_status *status)
{
    const char *text = evener_resolver_option(args, key);
    if (text == NULL) {
        return EVENER_STATUS_OK;
    }
    if (strcmp(text, no) != 0 && strcmp(text, yes) != 0) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "resolver option %s = \"%.40s\": it is \"%s\" or \"%s\"", key, text, no, yes);
    }
    *value = strcmp(text, yes) == 0;
    return EVENER_STATUS_OK;
}

static evener_status_code read_family(const evener_resolver_args *args, evener_dns_family *family,
                                      evener_status *status)
{
    static const char *const words[] = {
        [EVENER_DNS_FAMILY_AUTO] = "auto",
        [EVENER_DNS_FAMILY_IPV4] = "ipv4",
        [EVENER_DNS_FAMILY_IPV6] = "ipv6",
        [EVENER_DNS_FAMILY_IPV6_FIRST] = "ipv6-first",
    };
    const char *text = evener_resolver_option(args, "dns.family");
    for (size_t i = 0; text != NULL && i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *family = (evener_dns_family)i;
            return EVENER_STATUS_OK;
        }
    }
    return text == NULL ? EVENER_STATUS_OK
                        : evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                            "resolver option dns.family = \"%.40s\": it is \"auto\", \"ipv4\", "
                                            "\"ipv6\" or \"ipv6-first\"",
                                            text);
}

static evener_status_code read_servers(const evener_resolver_args *args, evener_dns_options *options,
                                       evener_status *status)
{
    const char *authority = evener_target_authority(args->target);
    const char *servers = evener_resolver_option(args, "dns.servers");
    evener_status reason;
    evener_status_code code = EVENER_STATUS_OK;
    if (servers != NULL) { /* checked even if the target's server takes precedence */
        code = evener_dns_servers_parse(servers, options->servers, &reason);
        if (code != EVENER_STATUS_OK) {
            return evener_status_set(status, code, "resolver option dns.servers: %s", reason.message);
        }
    }
    if (authority[0] != '\0') {
        options->direct = true;
        code = evener_dns_servers_parse(authority, options->servers, status);
    }
    return code;
}

evener_status_code evener_dns_options_read(const evener_resolver_args *args, evener_dns_options *options,
                                           evener_status *status)
{
    evener_dns_options read = {
        .min_refresh_ms = MIN_REFRESH_MS,
        .max_refresh_ms = MAX_REFRESH_MS,
        .resolve_now_min_ms = RESOLVE_NOW_MIN_MS,
        .timeout_ms = TIMEOUT_MS,
        .timeout_set = evener_resolver_option(args, "dns.timeout_ms") != NULL,
        .tries_set = evener_resolver_option(args, "dns.tries") != NULL,
        .owner = args->resolvers,
    };
    uint64_t tries = TRIES;
    uint64_t in_flight_max = IN_FLIGHT_MAX;
    const struct {
        const char *key;
        uint64_t minimum, maximum;
        uint64_t *value;
    } numbers[] = {
        {"dns.min_refresh_ms", 100, DAY_MS, &read.min_refresh_ms},
        {"dns.max_refresh_ms", 100, DAY_MS, &read.max_refresh_ms},
        {"dns.resolve_now_min_ms", RESOLVE_NOW_FLOOR_MS, DAY_MS, &read.resolve_now_min_ms},
        {"dns.timeout_ms", 100, TIMEOUT_MS_MAX, &read.timeout_ms},
        {"dns.tries", 1, TRIES_MAX, &tries},
        {"dns.keep_removed_ms", 0, DAY_MS, &read.keep_removed_ms},
        {"dns.in_flight_max", 1, IN_FLIGHT_MAX_MAX, &in_flight_max},
    };
    evener_status_code code = EVENER_STATUS_OK;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && code == EVENER_STATUS_OK; i++) {
        code = evener_resolver_option_u64(args, numbers[i].key, numbers[i].minimum, numbers[i].maximum,
                                          numbers[i].value, status);
    }
    if (code == EVENER_STATUS_OK && read.min_refresh_ms > read.max_refresh_ms) {
        code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "resolver option dns.min_refresh_ms = %llu is above dns.max_refresh_ms = %llu",
                                 (unsigned long long)read.min_refresh_ms, (unsigned long long)read.max_refresh_ms);
    }
    if (code == EVENER_STATUS_OK) {
        code = choice(args, "dns.txt_service_config", "false", "true", &read.txt_service_config, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = choice(args, "dns.srv_tiers", "first", "all", &read.all_tiers, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = read_family(args, &read.family, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = read_servers(args, &read, status);
    }
    if (code == EVENER_STATUS_OK) {
        read.tries = (uint32_t)tries;
        read.in_flight_max = (uint32_t)in_flight_max;
        *options = read;
    }
    return code;
}
