/* Factory config: reads and checks a factory file. Creates no channel.
 *
 *   include.c   expands the file and its includes to one text (include.h)
 *   config.c    reads that text: defaults and channels
 *   settings.c  reads one group of settings: names, types, ranges and defaults
 *   json.c      converts libconfig's values to JSON, for policies and service configs */
#ifndef EVENER_LB_FACTORY_CONFIG_H
#define EVENER_LB_FACTORY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <libconfig.h>

#include <evener/channel.h>
#include <evener/factory.h>
#include <evener/status.h>

#include "lb/factory/include.h"

typedef enum evener_factory_security {
    EVENER_FACTORY_TLS = 0, /* the default: plain text must be requested */
    EVENER_FACTORY_INSECURE = 1
} evener_factory_security;

/* The settings of one channel. Strings are owned; NULL: not set. A number of 0 selects the channel's own default. */
typedef struct evener_factory_settings {
    char *target;
    char *authority;
    char *user_agent;
    char *transport;  /* its name */
    char *cache_file; /* its path, complete */
    evener_factory_security security;
    char *roots, *certificate, *key; /* PEM texts */
    char *policy;                    /* a `loadBalancingConfig` list as JSON */
    char *service_config;            /* the `service_config` group as JSON, without the policy */
    json_t *resolver;                /* options: object of strings, "dns.min_refresh_ms" -> "1000"; NULL: none */
    uint64_t idle_timeout_ms, connect_timeout_ms;
    uint64_t backoff_initial_ms, backoff_max_ms;
    uint64_t keepalive_time_ms, keepalive_timeout_ms;
    uint64_t empty_update_keep_ms;
    uint64_t cache_max_age_ms;
    uint64_t default_port, queued_picks_max;
    uint64_t receive_bytes_max, send_bytes_max, header_list_bytes_max; /* UINT64_MAX: no limit */
    uint64_t io_threads;
    uint64_t attempts_max;
    uint64_t calls_in_flight_max, backend_calls_in_flight_max, calls_waiting_max, calls_wait_ms_max;
    uint64_t connections_per_backend_max;
    evener_compression compression;
    evener_empty_update empty_update;
    bool wait_for_ready, ignore_service_config;
    bool keepalive_permit_without_calls, ignore_http_proxy, own_connections, callbacks_on_call_threads;
    unsigned policy_line; /* place of policy or service config, for messages; 0: neither is set */
    const char *policy_file;
} evener_factory_settings;

typedef struct evener_factory_channel_config {
    char *name;
    const char *file; /* one of the config's */
    unsigned line;
    evener_factory_settings settings;
    char *full_service_config; /* policy and service_config merged; NULL: neither is set */
} evener_factory_channel_config;

typedef struct evener_factory_config {
    evener_factory_channel_config *channels; /* sorted by name */
    size_t channel_count;
    /* All files that were read: the main file first, then includes and PEM files. Also set, as far as reading got, when
     * reading failed, so that the watch notices the repair. */
    evener_factory_files files;
} evener_factory_config;

/* The context of a parser: places for messages, folder for file names, reader, results. */
typedef struct evener_factory_parse {
    const char *path;   /* of the main file, as given */
    const char *folder; /* of the main file: the base of relative names */
    const evener_factory_text *text;
    const evener_factory_reader *reader;
    evener_factory_config *config;
    evener_status *status;
} evener_factory_parse;

/* Read a file. On failure `config` holds only `files`. Clear it with evener_factory_config_clear() in both cases.
 * Errors as evener_factory_open(). */
evener_status_code evener_factory_config_read(const char *path, evener_factory_config *config, evener_status *status);

/* Parse a text in memory. `path` names it in messages; other files (includes, PEM) are relative to its folder and read
 * by `reader` (NULL: from the file system). Result and errors as evener_factory_config_read(). */
evener_status_code evener_factory_config_parse(const char *path, const char *text, size_t length,
                                               const evener_factory_reader *reader, evener_factory_config *config,
                                               evener_status *status);

void evener_factory_config_clear(evener_factory_config *config);

/* Read a file that the config names, and add it to the config's files. As evener_factory_reader.read; the message names
 * no line. */
evener_status_code evener_factory_config_load(const evener_factory_parse *parse, const char *path, size_t bytes_max,
                                              char **text, size_t *bytes, evener_status *status);

/* Return the name of the file that contains a setting, and store its line. The name lives as long as the config. */
const char *evener_factory_config_place(const evener_factory_parse *parse, const config_setting_t *setting,
                                        unsigned *line);

/* Set parse->status to "file:line: field: reason" and return the code. */
evener_status_code evener_factory_refuse(const evener_factory_parse *parse, const config_setting_t *setting,
                                         evener_status_code code, const char *format, ...) EVENER_PRINTF(4, 5);

/* ---- settings.c ---- */

/* Read a group into `settings`, over the values there. With `is_defaults`, a target is refused. */
evener_status_code evener_factory_settings_read(const evener_factory_parse *parse, const config_setting_t *group,
                                                bool is_defaults, evener_factory_settings *settings);
bool evener_factory_settings_copy(const evener_factory_settings *from, evener_factory_settings *to);
void evener_factory_settings_clear(evener_factory_settings *settings);

/* Store policy and service config as one JSON text, to be freed; *text NULL: neither is set. */
evener_status_code evener_factory_settings_service_config(const evener_factory_settings *settings, char **text,
                                                          evener_status *status);

/* Return whether both settings give the same connections, or the same resolver. */
bool evener_factory_settings_same_connection(const evener_factory_settings *a, const evener_factory_settings *b);
bool evener_factory_settings_same_resolver(const evener_factory_settings *a, const evener_factory_settings *b);
bool evener_factory_settings_equal(const evener_factory_settings *a, const evener_factory_settings *b);

/* ---- json.c ---- */

/* Return a setting as JSON: group -> object, list and array -> array, int and int64 -> integer, float -> real, bool,
 * string. NULL: out of memory, or a string is not UTF-8. */
json_t *evener_factory_json(const config_setting_t *setting);

#endif
