/* Reads one group of settings of a factory file: names, types and ranges.
 *
 * A group overrides the shared defaults: plain values, `policy`, `service_config` and `credentials` are replaced as a
 * whole; `backoff`, `keepalive` and `resolver` are merged name by name. */
#include "lb/base/c_locale.h"
#include "lb/base/secret.h"
#include "lb/factory/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/tls_pem.h"

#define PEM_BYTES_MAX ((size_t)1024 * 1024)
#define PEM_NAME_BYTES 160 /* of a file name in a message; longer names are cut */
#define IO_THREADS_MAX 64
#define NAMES_BYTES 320 /* of the settings that a message lists: the place in the file has to fit beside them */
#define TIME_MS_MAX (INT64_C(365) * 24 * 3600 * 1000)

typedef struct reading {
    const evener_factory_parse *parse;
    evener_factory_settings *settings;
    bool is_defaults;
} reading;

typedef struct field field;
struct field {
    const char *name;
    evener_status_code (*read)(const reading *r, const field *f, const config_setting_t *setting);
    size_t offset;    /* of the member of evener_factory_settings */
    int64_t min, max; /* numbers: the range */
    const char *word; /* numbers: the text that stands for UINT64_MAX; NULL: none does */
};

static evener_status_code bad(const reading *r, const config_setting_t *setting, const char *reason)
{
    return evener_factory_refuse(r->parse, setting, EVENER_STATUS_INVALID_ARGUMENT, "%s", reason);
}

static evener_status_code no_memory(const reading *r, const config_setting_t *setting)
{
    return evener_factory_refuse(r->parse, setting, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

static void *member_of(const reading *r, const field *f)
{
    return (char *)r->settings + f->offset;
}

/* List the settings that there are: all if `letter` is 0, else those that begin with it. Return whether all fit. */
static bool list_names(const field *fields, char letter, char *names, size_t bytes)
{
    size_t used = 0;
    names[0] = '\0';
    for (const field *known = fields; known->name != NULL && used < bytes; known++) {
        if (letter == 0 || known->name[0] == letter) {
            used += (size_t)snprintf(names + used, bytes - used, "%s%s", used > 0 ? ", " : "", known->name);
        }
    }
    return used < bytes;
}

static evener_status_code refuse_setting(const reading *r, const config_setting_t *setting, const field *fields)
{
    char names[NAMES_BYTES];
    const char letter = config_setting_name(setting)[0];
    if (list_names(fields, 0, names, sizeof names)) {
        return evener_factory_refuse(r->parse, setting, EVENER_STATUS_INVALID_ARGUMENT,
                                     "no such setting; there are: %s", names);
    }
    (void)list_names(fields, letter, names, sizeof names);
    return evener_factory_refuse(r->parse, setting, EVENER_STATUS_INVALID_ARGUMENT,
                                 names[0] != '\0' ? "no such setting; with this letter there are: %s"
                                                  : "no such setting; docs/factory.md lists them%s",
                                 names);
}

static evener_status_code read_fields(const reading *r, const config_setting_t *group, const field *fields);

/* ---- plain values ---- */

static evener_status_code read_number(const reading *r, const field *f, const config_setting_t *setting)
{
    const int type = config_setting_type(setting);
    const char *text = type == CONFIG_TYPE_STRING ? config_setting_get_string(setting) : "";
    if (f->word != NULL && strcmp(text, f->word) == 0) {
        *(uint64_t *)member_of(r, f) = UINT64_MAX;
        return EVENER_STATUS_OK;
    }
    const bool whole = type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
    const int64_t value = whole ? config_setting_get_int64(setting) : 0;
    if (!whole || value < f->min || value > f->max) {
        return evener_factory_refuse(r->parse, setting, EVENER_STATUS_INVALID_ARGUMENT,
                                     "a whole number from %" PRId64 " to %" PRId64 "%s%s%s is needed", f->min, f->max,
                                     f->word != NULL ? ", or \"" : "", f->word != NULL ? f->word : "",
                                     f->word != NULL ? "\"," : "");
    }
    *(uint64_t *)member_of(r, f) = (uint64_t)value;
    return EVENER_STATUS_OK;
}

static evener_status_code read_bool(const reading *r, const field *f, const config_setting_t *setting)
{
    if (config_setting_type(setting) != CONFIG_TYPE_BOOL) {
        return bad(r, setting, "true or false is needed");
    }
    *(bool *)member_of(r, f) = config_setting_get_bool(setting) != CONFIG_FALSE;
    return EVENER_STATUS_OK;
}

/* The key is a secret, all other strings are malloc()ed. */
static void free_string(const evener_factory_settings *settings, char **member)
{
    if (member == &settings->key) {
        evener_secret_free(*member);
    } else {
        free(*member);
    }
    *member = NULL;
}

static evener_status_code replace_string(const reading *r, const config_setting_t *setting, char **member, char *text)
{
    if (text == NULL) {
        return no_memory(r, setting);
    }
    if (member == &r->settings->key) {
        text = evener_secret_take(text);
        if (text == NULL) {
            return no_memory(r, setting);
        }
    }
    free_string(r->settings, member);
    *member = text;
    return EVENER_STATUS_OK;
}

static evener_status_code read_string(const reading *r, const field *f, const config_setting_t *setting)
{
    const char *text = config_setting_type(setting) == CONFIG_TYPE_STRING ? config_setting_get_string(setting) : NULL;
    if (text == NULL || text[0] == '\0') {
        return bad(r, setting, "a text in \"...\" is needed");
    }
    return replace_string(r, setting, member_of(r, f), strdup(text));
}

static evener_status_code read_target(const reading *r, const field *f, const config_setting_t *setting)
{
    if (r->is_defaults) {
        return bad(r, setting, "a target belongs to one channel, not to the defaults");
    }
    return read_string(r, f, setting);
}

/* A path relative to the folder of the factory file. */
static char *complete_path(const reading *r, const char *name)
{
    char *path = NULL;
    if (name[0] == '/') {
        return strdup(name);
    }
    return asprintf(&path, "%s/%s", r->parse->folder, name) >= 0 ? path : NULL;
}

static evener_status_code read_cache_file(const reading *r, const field *f, const config_setting_t *setting)
{
    const char *name = config_setting_type(setting) == CONFIG_TYPE_STRING ? config_setting_get_string(setting) : "";
    if (r->is_defaults) {
        return bad(r, setting, "a cache file belongs to one channel, not to the defaults");
    }
    if (name[0] == '\0' || name[strlen(name) - 1] == '/') {
        return bad(r, setting, "the name of a file in \"...\" is needed");
    }
    return replace_string(r, setting, member_of(r, f), complete_path(r, name));
}

static evener_status_code read_empty_update(const reading *r, const field *f, const config_setting_t *setting)
{
    (void)f;
    const char *text = config_setting_type(setting) == CONFIG_TYPE_STRING ? config_setting_get_string(setting) : "";
    if (strcmp(text, "keep") != 0 && strcmp(text, "fail") != 0) {
        return bad(r, setting, "\"keep\" or \"fail\" is needed");
    }
    r->settings->empty_update = text[0] == 'k' ? EVENER_EMPTY_UPDATE_KEEP : EVENER_EMPTY_UPDATE_FAIL;
    return EVENER_STATUS_OK;
}

static evener_status_code read_compression(const reading *r, const field *f, const config_setting_t *setting)
{
    (void)f;
    static const struct {
        const char *name;
        evener_compression value;
    } known[] = {
        {"none", EVENER_COMPRESSION_NONE}, {"gzip", EVENER_COMPRESSION_GZIP}, {"deflate", EVENER_COMPRESSION_DEFLATE}};
    const char *text = config_setting_type(setting) == CONFIG_TYPE_STRING ? config_setting_get_string(setting) : "";
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(text, known[i].name) == 0) {
            r->settings->compression = known[i].value;
            return EVENER_STATUS_OK;
        }
    }
    return bad(r, setting, "\"none\", \"gzip\" or \"deflate\" is needed");
}

/* ---- nested groups ---- */

static const char never[] = "never";
static const char unlimited[] = "unlimited";
static const char nobody[] = "none"; /* UINT64_MAX becomes EVENER_NO_CALLS_WAITING */

static const field backoff_fields[] = {
    {"initial_ms", read_number, offsetof(evener_factory_settings, backoff_initial_ms), 1, TIME_MS_MAX, NULL},
    {"max_ms", read_number, offsetof(evener_factory_settings, backoff_max_ms), 1, TIME_MS_MAX, NULL},
    {NULL, NULL, 0, 0, 0, NULL},
};

static const field keepalive_fields[] = {
    {"permit_without_calls", read_bool, offsetof(evener_factory_settings, keepalive_permit_without_calls), 0, 0, NULL},
    {"time_ms", read_number, offsetof(evener_factory_settings, keepalive_time_ms), 1, INT32_MAX, never},
    {"timeout_ms", read_number, offsetof(evener_factory_settings, keepalive_timeout_ms), 1, INT32_MAX, NULL},
    {NULL, NULL, 0, 0, 0, NULL},
};

static evener_status_code read_backoff(const reading *r, const field *f, const config_setting_t *setting)
{
    (void)f;
    return read_fields(r, setting, backoff_fields);
}

static evener_status_code read_keepalive(const reading *r, const field *f, const config_setting_t *setting)
{
    (void)f;
    evener_status_code code = read_fields(r, setting, keepalive_fields);
    if (r->settings->keepalive_time_ms == EVENER_NEVER_MS) {
        r->settings->keepalive_time_ms = 0; /* the core's default: no pings */
    }
    return code;
}

static const field call_limit_fields[] = {
    {"backend_in_flight", read_number, offsetof(evener_factory_settings, backend_calls_in_flight_max), 1, 16777215,
     unlimited},
    {"in_flight", read_number, offsetof(evener_factory_settings, calls_in_flight_max), 1, UINT32_MAX - 1, unlimited},
    {"wait_ms", read_number, offsetof(evener_factory_settings, calls_wait_ms_max), 1, UINT32_MAX - 1, NULL},
    {"waiting", read_number, offsetof(evener_factory_settings, calls_waiting_max), 1, UINT32_MAX - 1, nobody},
    {NULL, NULL, 0, 0, 0, NULL},
};

static evener_status_code read_call_limits(const reading *r, const field *f, const config_setting_t *setting)
{
    (void)f;
    evener_factory_settings *settings = r->settings;
    const evener_status_code code = read_fields(r, setting, call_limit_fields);
    settings->backend_calls_in_flight_max =
        settings->backend_calls_in_flight_max != UINT64_MAX ? settings->backend_calls_in_flight_max : 0;
    settings->calls_in_flight_max = settings->calls_in_flight_max != UINT64_MAX ? settings->calls_in_flight_max : 0;
    return code;
}

/* ---- policy and service config ---- */

static void note_policy_line(const reading *r, const config_setting_t *setting)
{
    r->settings->policy_file = evener_factory_config_place(r->parse, setting, &r->settings->policy_line);
}

static evener_status_code replace_json(const reading *r, const config_setting_t *setting, char **member, json_t *json)
{
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(json);
    if (text == NULL) {
        return bad(r, setting, "cannot be written as JSON: is every text in it UTF-8 and every number finite?");
    }
    note_policy_line(r, setting);
    return replace_string(r, setting, member, text);
}

/* policy = "round_robin"; or { p2c_ewma = { choices = 4; }; }; or ( { first = {}; }, { second = {}; } ); */
static evener_status_code read_policy(const reading *r, const field *f, const config_setting_t *setting)
{
    (void)f;
    const int type = config_setting_type(setting);
    json_t *list;
    if (type == CONFIG_TYPE_STRING && config_setting_get_string(setting)[0] != '\0') {
        list = json_pack("[{s:{}}]", config_setting_get_string(setting));
    } else if (type == CONFIG_TYPE_GROUP && config_setting_length(setting) == 1) {
        list = json_pack("[o]", evener_factory_json(setting));
    } else if (type == CONFIG_TYPE_LIST && config_setting_length(setting) > 0) {
        list = evener_factory_json(setting);
    } else {
        return bad(r, setting,
                   "a policy is a name, \"round_robin\", or one name with its parameters, { round_robin = { }; }, or a "
                   "list of these in ( ) of which the first that is known is taken");
    }
    return replace_json(r, setting, &r->settings->policy, list);
}

static evener_status_code read_service_config(const reading *r, const field *f, const config_setting_t *setting)
{
    (void)f;
    if (!config_setting_is_group(setting)) {
        return bad(r, setting, "a group with the fields of gRPC's service config is needed");
    }
    return replace_json(r, setting, &r->settings->service_config, evener_factory_json(setting));
}

/* ---- resolver options: resolver = { dns = { min_refresh_ms = 1000; }; } becomes "dns.min_refresh_ms" = "1000" ---- */

static json_t *option_value(const config_setting_t *setting)
{
    char text[64];
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        snprintf(text, sizeof text, "%lld", config_setting_get_int64(setting));
        return json_string(text);
    case CONFIG_TYPE_FLOAT:
        evener_snprintf(text, sizeof text, "%.17g", config_setting_get_float(setting));
        return json_string(text);
    case CONFIG_TYPE_BOOL:
        return json_string(config_setting_get_bool(setting) ? "true" : "false");
    case CONFIG_TYPE_STRING:
        return json_string(config_setting_get_string(setting));
    default:
        return NULL;
    }
}

static evener_status_code read_options_of_scheme(const reading *r, const config_setting_t *group, json_t *options)
{
    if (!config_setting_is_group(group)) {
        return bad(r, group,
                   "a group with the options of one resolver is needed, as in dns = { min_refresh_ms = 1000; };");
    }
    for (unsigned i = 0; i < (unsigned)config_setting_length(group); i++) {
        const config_setting_t *option = config_setting_get_elem(group, i);
        json_t *value = option_value(option);
        if (value == NULL) {
            return bad(r, option, "a number, true, false or a text (UTF-8) in \"...\" is needed");
        }
        char key[EVENER_ATTRIBUTE_BYTES_MAX];
        const int length = snprintf(key, sizeof key, "%s.%s", config_setting_name(group), config_setting_name(option));
        if (length >= (int)sizeof key) {
            json_decref(value);
            return bad(r, option, "the name is too long");
        }
        if (json_object_set_new(options, key, value) != 0) {
            return no_memory(r, option);
        }
    }
    return EVENER_STATUS_OK;
}

static evener_status_code read_resolver(const reading *r, const field *f, const config_setting_t *setting)
{
    (void)f;
    if (!config_setting_is_group(setting)) {
        return bad(r, setting, "a group is needed, as in resolver = { dns = { min_refresh_ms = 1000; }; };");
    }
    /* Copy on write: the defaults' object may be shared with other channels. */
    json_t *options = r->settings->resolver != NULL ? json_copy(r->settings->resolver) : json_object();
    if (options == NULL) {
        return no_memory(r, setting);
    }
    evener_status_code code = EVENER_STATUS_OK;
    for (unsigned i = 0; code == EVENER_STATUS_OK && i < (unsigned)config_setting_length(setting); i++) {
        code = read_options_of_scheme(r, config_setting_get_elem(setting, i), options);
    }
    if (code != EVENER_STATUS_OK) {
        json_decref(options);
        return code;
    }
    json_decref(r->settings->resolver);
    r->settings->resolver = options;
    return EVENER_STATUS_OK;
}

/* ---- credentials ---- */

static evener_status_code read_pem(const reading *r, const field *f, const config_setting_t *setting)
{
    const char *name = config_setting_type(setting) == CONFIG_TYPE_STRING ? config_setting_get_string(setting) : "";
    if (name[0] == '\0') {
        return bad(r, setting, "the name of a PEM file in \"...\" is needed");
    }
    char *path = complete_path(r, name);
    if (path == NULL) {
        return no_memory(r, setting);
    }
    evener_status reason;
    size_t length = 0;
    char *text = NULL;
    const evener_status_code code = evener_factory_config_load(r->parse, path, PEM_BYTES_MAX, &text, &length, &reason);
    free(path);
    if (code != EVENER_STATUS_OK) {
        return evener_factory_refuse(r->parse, setting, code, "%s", reason.message);
    }
    if (strlen(text) != length || strstr(text, "-----BEGIN ") == NULL) {
        evener_secret_wipe(text);
        return evener_factory_refuse(r->parse, setting, EVENER_STATUS_INVALID_ARGUMENT,
                                     "\"%s\" holds no PEM text (-----BEGIN ...)", name);
    }
    return replace_string(r, setting, member_of(r, f), text);
}

static evener_status_code read_security(const reading *r, const field *f, const config_setting_t *setting)
{
    (void)f;
    const char *text = config_setting_type(setting) == CONFIG_TYPE_STRING ? config_setting_get_string(setting) : "";
    if (strcmp(text, "tls") != 0 && strcmp(text, "insecure") != 0) {
        return bad(r, setting, "\"tls\" or \"insecure\" is needed");
    }
    r->settings->security = text[0] == 't' ? EVENER_FACTORY_TLS : EVENER_FACTORY_INSECURE;
    return EVENER_STATUS_OK;
}

static const field credentials_fields[] = {
    {"ca", read_pem, offsetof(evener_factory_settings, roots), 0, 0, NULL},
    {"certificate", read_pem, offsetof(evener_factory_settings, certificate), 0, 0, NULL},
    {"key", read_pem, offsetof(evener_factory_settings, key), 0, 0, NULL},
    {"type", read_security, 0, 0, 0, NULL},
    {NULL, NULL, 0, 0, 0, NULL},
};

/* Return the file name of a PEM setting in quotes, for a message. */
static const char *quoted_name(const config_setting_t *credentials, const char *field_name, char *buffer, size_t bytes)
{
    const char *name = "";
    (void)config_setting_lookup_string(credentials, field_name, &name);
    snprintf(buffer, bytes, "\"%s\"", name);
    return buffer;
}

/* Check that key and certificate belong together. A renewal replaces one file before the other; until both are written,
 * the reload is refused and the old pair stays in force. */
static evener_status_code check_pems(const reading *r, const config_setting_t *setting)
{
    const evener_factory_settings *s = r->settings;
    char roots[PEM_NAME_BYTES];
    char certificate[PEM_NAME_BYTES];
    char key[PEM_NAME_BYTES];
    evener_status reason;
    const evener_tls_pems pems = {
        .roots = {s->roots, quoted_name(setting, "ca", roots, sizeof roots)},
        .chain = {s->certificate, quoted_name(setting, "certificate", certificate, sizeof certificate)},
        .key = {s->key, quoted_name(setting, "key", key, sizeof key)},
        .hint = "",
    };
    const evener_status_code code = evener_tls_pems_check(&pems, &reason);
    return code == EVENER_STATUS_OK ? code : evener_factory_refuse(r->parse, setting, code, "%s", reason.message);
}

static evener_status_code read_credentials(const reading *r, const field *f, const config_setting_t *setting)
{
    evener_factory_settings *s = r->settings;
    free(s->roots);
    free(s->certificate);
    evener_secret_free(s->key);
    s->roots = s->certificate = s->key = NULL;
    s->security = EVENER_FACTORY_TLS;
    if (!config_setting_is_group(setting)) {
        return read_security(r, f, setting);
    }
    const evener_status_code code = read_fields(r, setting, credentials_fields);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if ((s->certificate == NULL) != (s->key == NULL)) {
        return bad(r, setting, "certificate and key belong together: one of them is missing");
    }
    if (s->security == EVENER_FACTORY_INSECURE && (s->roots != NULL || s->certificate != NULL)) {
        return bad(r, setting, "\"insecure\" uses no ca, certificate or key: take them out, or set type = \"tls\"");
    }
    return check_pems(r, setting);
}

/* ---- table of settings ---- */

#define MEMBER(name) offsetof(evener_factory_settings, name)

static const field channel_fields[] = {
    {"authority", read_string, MEMBER(authority), 0, 0, NULL},
    {"backoff", read_backoff, 0, 0, 0, NULL},
    {"cache_file", read_cache_file, MEMBER(cache_file), 0, 0, NULL},
    {"cache_max_age_ms", read_number, MEMBER(cache_max_age_ms), 1, TIME_MS_MAX, never},
    {"callbacks_on_call_threads", read_bool, MEMBER(callbacks_on_call_threads), 0, 0, NULL},
    {"compression", read_compression, 0, 0, 0, NULL},
    {"connect_timeout_ms", read_number, MEMBER(connect_timeout_ms), 1, TIME_MS_MAX, NULL},
    {"credentials", read_credentials, 0, 0, 0, NULL},
    {"default_port", read_number, MEMBER(default_port), 1, 65535, NULL},
    {"empty_update", read_empty_update, 0, 0, 0, NULL},
    {"empty_update_keep_ms", read_number, MEMBER(empty_update_keep_ms), 1, TIME_MS_MAX, never},
    {"header_list_bytes_max", read_number, MEMBER(header_list_bytes_max), 1, INT32_MAX, NULL},
    {"idle_timeout_ms", read_number, MEMBER(idle_timeout_ms), 1, TIME_MS_MAX, never},
    {"ignore_http_proxy", read_bool, MEMBER(ignore_http_proxy), 0, 0, NULL},
    {"ignore_service_config", read_bool, MEMBER(ignore_service_config), 0, 0, NULL},
    {"attempts_max", read_number, MEMBER(attempts_max), 1, UINT32_MAX, NULL},
    {"call_limits", read_call_limits, 0, 0, 0, NULL},
    {"connections_per_backend_max", read_number, MEMBER(connections_per_backend_max), 1,
     EVENER_CONNECTIONS_PER_BACKEND_MAX, NULL},
    {"io_threads", read_number, MEMBER(io_threads), 1, IO_THREADS_MAX, NULL},
    {"keepalive", read_keepalive, 0, 0, 0, NULL},
    {"own_connections", read_bool, MEMBER(own_connections), 0, 0, NULL},
    {"policy", read_policy, 0, 0, 0, NULL},
    {"queued_picks_max", read_number, MEMBER(queued_picks_max), 1, UINT32_MAX, NULL},
    {"receive_bytes_max", read_number, MEMBER(receive_bytes_max), 1, UINT32_MAX, unlimited},
    {"resolver", read_resolver, 0, 0, 0, NULL},
    {"send_bytes_max", read_number, MEMBER(send_bytes_max), 1, UINT32_MAX, unlimited},
    {"service_config", read_service_config, 0, 0, 0, NULL},
    {"target", read_target, MEMBER(target), 0, 0, NULL},
    {"transport", read_string, MEMBER(transport), 0, 0, NULL},
    {"user_agent", read_string, MEMBER(user_agent), 0, 0, NULL},
    {"wait_for_ready", read_bool, MEMBER(wait_for_ready), 0, 0, NULL},
    {NULL, NULL, 0, 0, 0, NULL},
};

static evener_status_code read_fields(const reading *r, const config_setting_t *group, const field *fields)
{
    if (!config_setting_is_group(group)) {
        return bad(r, group, "a group, { ... }, is needed");
    }
    for (unsigned i = 0; i < (unsigned)config_setting_length(group); i++) {
        const config_setting_t *setting = config_setting_get_elem(group, i);
        const field *f = fields;
        while (f->name != NULL && strcmp(f->name, config_setting_name(setting)) != 0) {
            f++;
        }
        if (f->name == NULL) {
            return refuse_setting(r, setting, fields);
        }
        const evener_status_code code = f->read(r, f, setting);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
    }
    return EVENER_STATUS_OK;
}

evener_status_code evener_factory_settings_read(const evener_factory_parse *parse, const config_setting_t *group,
                                                bool is_defaults, evener_factory_settings *settings)
{
    const reading r = {.parse = parse, .settings = settings, .is_defaults = is_defaults};
    const evener_status_code code = read_fields(&r, group, channel_fields);
    if (code == EVENER_STATUS_OK && settings->backoff_initial_ms != 0 && settings->backoff_max_ms != 0 &&
        settings->backoff_max_ms < settings->backoff_initial_ms) {
        const config_setting_t *backoff = config_setting_get_member((config_setting_t *)group, "backoff");
        return bad(&r, backoff != NULL ? backoff : group, "max_ms is less than initial_ms");
    }
    return code;
}

/* ---- values ---- */

/* Offsets of all owned strings. */
static const size_t string_members[] = {
    MEMBER(target),      MEMBER(authority), MEMBER(user_agent), MEMBER(transport),      MEMBER(roots),
    MEMBER(certificate), MEMBER(key),       MEMBER(policy),     MEMBER(service_config), MEMBER(cache_file)};
#define STRING_MEMBERS (sizeof string_members / sizeof string_members[0])

static char **string_at(const evener_factory_settings *settings, size_t index)
{
    return (char **)((char *)(uintptr_t)settings + string_members[index]);
}

bool evener_factory_settings_copy(const evener_factory_settings *from, evener_factory_settings *to)
{
    *to = *from;
    json_incref(to->resolver);
    bool ok = true;
    for (size_t i = 0; i < STRING_MEMBERS; i++) {
        char *text = *string_at(from, i);
        const bool is_key = string_at(from, i) == &from->key;
        *string_at(to, i) = text == NULL ? NULL : is_key ? evener_secret_copy(text) : strdup(text);
        ok = ok && (text == NULL || *string_at(to, i) != NULL);
    }
    return ok;
}

void evener_factory_settings_clear(evener_factory_settings *settings)
{
    for (size_t i = 0; i < STRING_MEMBERS; i++) {
        free_string(settings, string_at(settings, i));
    }
    json_decref(settings->resolver);
    *settings = (evener_factory_settings){0};
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool evener_factory_settings_same_connection(const evener_factory_settings *a, const evener_factory_settings *b)
{
    return a->security == b->security && same_text(a->roots, b->roots) && same_text(a->certificate, b->certificate) &&
           same_text(a->key, b->key) && same_text(a->user_agent, b->user_agent) &&
           a->keepalive_time_ms == b->keepalive_time_ms && a->keepalive_timeout_ms == b->keepalive_timeout_ms &&
           a->keepalive_permit_without_calls == b->keepalive_permit_without_calls &&
           a->ignore_http_proxy == b->ignore_http_proxy && a->own_connections == b->own_connections &&
           a->header_list_bytes_max == b->header_list_bytes_max && a->receive_bytes_max == b->receive_bytes_max;
}

bool evener_factory_settings_same_resolver(const evener_factory_settings *a, const evener_factory_settings *b)
{
    return same_text(a->target, b->target) && a->default_port == b->default_port &&
           (a->resolver == b->resolver ||
            (a->resolver != NULL && b->resolver != NULL && json_equal(a->resolver, b->resolver)));
}

bool evener_factory_settings_equal(const evener_factory_settings *a, const evener_factory_settings *b)
{
    return evener_factory_settings_same_connection(a, b) && evener_factory_settings_same_resolver(a, b) &&
           same_text(a->authority, b->authority) && same_text(a->policy, b->policy) &&
           same_text(a->service_config, b->service_config) && a->idle_timeout_ms == b->idle_timeout_ms &&
           a->connect_timeout_ms == b->connect_timeout_ms && a->backoff_initial_ms == b->backoff_initial_ms &&
           a->backoff_max_ms == b->backoff_max_ms && a->empty_update_keep_ms == b->empty_update_keep_ms &&
           a->send_bytes_max == b->send_bytes_max && a->compression == b->compression &&
           a->callbacks_on_call_threads == b->callbacks_on_call_threads && a->io_threads == b->io_threads &&
           a->attempts_max == b->attempts_max && a->calls_in_flight_max == b->calls_in_flight_max &&
           a->backend_calls_in_flight_max == b->backend_calls_in_flight_max &&
           a->calls_waiting_max == b->calls_waiting_max && a->calls_wait_ms_max == b->calls_wait_ms_max &&
           a->connections_per_backend_max == b->connections_per_backend_max && same_text(a->transport, b->transport) &&
           same_text(a->cache_file, b->cache_file) && a->cache_max_age_ms == b->cache_max_age_ms &&
           a->queued_picks_max == b->queued_picks_max && a->empty_update == b->empty_update &&
           a->wait_for_ready == b->wait_for_ready && a->ignore_service_config == b->ignore_service_config;
}

evener_status_code evener_factory_settings_service_config(const evener_factory_settings *settings, char **text,
                                                          evener_status *status)
{
    *text = NULL;
    if (settings->policy == NULL && settings->service_config == NULL) {
        return evener_status_clear(status);
    }
    json_t *whole = settings->service_config != NULL ? json_loads(settings->service_config, 0, NULL) : json_object();
    json_t *policy = settings->policy != NULL ? json_loads(settings->policy, 0, NULL) : NULL;
    evener_status_code code =
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "factory file: out of memory");
    if (policy != NULL && (json_object_get(whole, "loadBalancingConfig") != NULL ||
                           json_object_get(whole, "loadBalancingPolicy") != NULL)) {
        code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "%s:%u: the policy is named twice, in policy and in service_config: keep one",
                                 settings->policy_file, settings->policy_line);
    } else if (whole != NULL &&
               (settings->policy == NULL || json_object_set(whole, "loadBalancingConfig", policy) == 0)) {
        *text = json_dumps(whole, JSON_COMPACT | JSON_SORT_KEYS);
        code = *text != NULL ? evener_status_clear(status) : code;
    }
    json_decref(policy);
    json_decref(whole);
    return code;
}
