/* Factory config: what a factory file says, read and checked; no channel is made here.
 *
 *   factory_include.c   the file and what it includes as one text (factory_include.h)
 *   factory_config.c    the text as a whole: defaults and channels
 *   factory_settings.c  one group of settings: names, types, ranges and defaults
 *   factory_json.c      libconfig's values as JSON, for policies and service configs */
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
    EVENER_FACTORY_TLS = 0, /* the default: nobody speaks plain text by forgetting a line */
    EVENER_FACTORY_INSECURE = 1
} evener_factory_security;

/* The settings of one channel. Strings are owned; NULL: not set. Numbers of 0 stand for the channel's own defaults. */
typedef struct evener_factory_settings {
    char *target;
    char *authority;
    char *user_agent;
    evener_factory_security security;
    char *roots, *certificate, *key; /* PEM texts */
    char *policy;                    /* a `loadBalancingConfig` list as JSON */
    char *service_config;            /* the `service_config` group as JSON, without the policy */
    json_t *resolver;                /* options: object of strings, "dns.min_refresh_ms" -> "1000"; NULL: none */
    uint64_t idle_timeout_ms, connect_timeout_ms;
    uint64_t backoff_initial_ms, backoff_max_ms;
    uint64_t keepalive_time_ms, keepalive_timeout_ms;
    uint64_t empty_update_keep_ms;
    uint64_t default_port, queued_picks_max;
    evener_empty_update empty_update;
    bool wait_for_ready, ignore_service_config;
    unsigned policy_line; /* where policy or service config is written, for messages; 0: nowhere */
    const char *policy_file;
} evener_factory_settings;

typedef struct evener_factory_channel_config {
    char *name;
    const char *file; /* one of the config's */
    unsigned line;
    evener_factory_settings settings;
    char *full_service_config; /* policy and service_config in one; NULL: neither is set */
} evener_factory_channel_config;

typedef struct evener_factory_config {
    evener_factory_channel_config *channels; /* sorted by name */
    size_t channel_count;
    /* Everything that was read: the file itself first, what it includes, PEM files. Set as far as it was read also when
     * reading failed: to be watched for the repair. */
    evener_factory_files files;
} evener_factory_config;

/* Where a parser is, for messages and for the names of files. */
typedef struct evener_factory_parse {
    const char *path;   /* of the main file, as it was given */
    const char *folder; /* of the main file: what relative names are relative to */
    const evener_factory_text *text;
    const evener_factory_reader *reader;
    evener_factory_config *config;
    evener_status *status;
} evener_factory_parse;

/* Reads the file. On failure `config` holds nothing but `files`. To be ended with evener_factory_config_clear() either
 * way. Errors as evener_factory_open(). */
evener_status_code evener_factory_config_read(const char *path, evener_factory_config *config, evener_status *status);

/* The same from a text in memory; `path` names it in messages, and other files (included ones, PEM) are relative to its
 * folder and read by `reader` (NULL: the real files). */
evener_status_code evener_factory_config_parse(const char *path, const char *text, size_t length,
                                               const evener_factory_reader *reader, evener_factory_config *config,
                                               evener_status *status);

void evener_factory_config_clear(evener_factory_config *config);

/* Read a file that the config names, and remember it among the config's files. As evener_factory_reader; the status has
 * no place. */
evener_status_code evener_factory_config_load(const evener_factory_parse *parse, const char *path, size_t bytes_max,
                                              char **text, size_t *bytes, evener_status *status);

/* Return the file that a setting is written in, in memory of the config, and store its line. */
const char *evener_factory_config_place(const evener_factory_parse *parse, const config_setting_t *setting,
                                        unsigned *line);

/* Fills parse->status with "file:line: field: reason" and returns the code. */
evener_status_code evener_factory_refuse(const evener_factory_parse *parse, const config_setting_t *setting,
                                         evener_status_code code, const char *format, ...) EVENER_PRINTF(4, 5);

/* ---- factory_settings.c ---- */

/* Reads a group over what `settings` holds already. With `is_defaults`, a target is refused. */
evener_status_code evener_factory_settings_read(const evener_factory_parse *parse, const config_setting_t *group,
                                                bool is_defaults, evener_factory_settings *settings);
bool evener_factory_settings_copy(const evener_factory_settings *from, evener_factory_settings *to);
void evener_factory_settings_clear(evener_factory_settings *settings);

/* The policy and the service config in one JSON text, to be freed; *text NULL: neither is set. */
evener_status_code evener_factory_settings_service_config(const evener_factory_settings *settings, char **text,
                                                          evener_status *status);

/* Whether the connections, and whether the resolver, would be made alike. */
bool evener_factory_settings_same_connection(const evener_factory_settings *a, const evener_factory_settings *b);
bool evener_factory_settings_same_resolver(const evener_factory_settings *a, const evener_factory_settings *b);
/* Whether all is alike. */
bool evener_factory_settings_equal(const evener_factory_settings *a, const evener_factory_settings *b);

/* ---- factory_json.c ---- */

/* A setting as JSON: group -> object, list and array -> array, int and int64 -> integer, float -> real, bool, string.
 * NULL: without memory, or a string that is no UTF-8. */
json_t *evener_factory_json(const config_setting_t *setting);

#endif
