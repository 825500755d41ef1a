#include "resolver/etcd/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/address.h>

#define DEFAULT_PAGE 10000
#define DEFAULT_TIMEOUT_MS 5000
#define DEFAULT_BACKOFF_MAX_MS 5000
#define SERVICE_BYTES_MAX 1024

void evener_etcd_options_clear(evener_etcd_options *options)
{
    char *const texts[] = {options->members, options->inner_target, options->user, options->password_file,
                           options->ca,      options->certificate,  options->key,  options->server_name};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        free(texts[i]);
    }
    if (options->password != NULL) {
        explicit_bzero(options->password, strlen(options->password));
    }
    free(options->password);
    evener_etcd_layout_clear(&options->layout);
    *options = (evener_etcd_options){0};
}

evener_etcd_shared_options *evener_etcd_shared_options_create(evener_etcd_options *options)
{
    evener_etcd_shared_options *shared = calloc(1, sizeof *shared);
    if (shared != NULL) {
        shared->references = 1;
        shared->options = *options;
        *options = (evener_etcd_options){0};
    }
    return shared;
}

evener_etcd_shared_options *evener_etcd_shared_options_ref(evener_etcd_shared_options *shared)
{
    shared->references++;
    return shared;
}

void evener_etcd_shared_options_unref(evener_etcd_shared_options *shared)
{
    if (shared != NULL && --shared->references == 0) {
        evener_etcd_options_clear(&shared->options);
        free(shared);
    }
}

static evener_status_code no_memory(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "etcd: out of memory");
}

/* ---- members ---- */

/* The inner target: `static:` for addresses, `dns:` for a name, `merge:` of both or of several names. */
typedef struct member_list {
    char *addresses; /* "10.0.0.1:2379,10.0.0.2:2379"; NULL: none */
    char *names;     /* "dns:///a:2379|dns:///b:2379" */
    unsigned address_count, name_count;
} member_list;

/* Append a text to another one, behind a separator. False: out of memory. */
static bool append(char **to, const char *separator, const char *before, const char *text)
{
    char *longer = NULL;
    if (asprintf(&longer, "%s%s%s%s", *to != NULL ? *to : "", *to != NULL ? separator : "", before, text) < 0) {
        return false;
    }
    free(*to);
    *to = longer;
    return true;
}

/* Write each '%' (the zone of an IPv6 address) as "%25", as a target is decoded. NULL: out of memory. */
static char *percent_encoded(const char *text)
{
    char *encoded = malloc(3 * strlen(text) + 1);
    char *to = encoded;
    for (; encoded != NULL && *text != '\0'; text++) {
        *to++ = *text;
        if (*text == '%') {
            *to++ = '2';
            *to++ = '5';
        }
    }
    if (encoded != NULL) {
        *to = '\0';
    }
    return encoded;
}

static bool is_name(const char *text)
{
    const size_t bytes = strlen(text);
    return bytes > 0 && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == bytes;
}

/* Split "host", "host:port", "[v6]" or "[v6]:port". The parts point into `member`. */
static bool split_member(char *member, char **host, const char **port)
{
    char *colon = NULL;
    *host = member;
    *port = NULL;
    if (member[0] == '[') {
        char *end = strchr(member, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':')) {
            return false;
        }
        colon = end[1] == ':' ? end + 1 : NULL;
    } else {
        colon = strrchr(member, ':');
        if (colon != NULL && strchr(member, ':') != colon) {
            return false; /* an IPv6 address needs brackets */
        }
    }
    if (colon != NULL) {
        *colon = '\0';
        *port = colon + 1;
    }
    return true;
}

static bool is_port(const char *text)
{
    const size_t bytes = strlen(text);
    const bool is_number = bytes > 0 && bytes <= 5 && strspn(text, "0123456789") == bytes;
    const unsigned long port = is_number ? strtoul(text, NULL, 10) : 0;
    return port >= 1 && port <= 65535;
}

/* Append one member to the inner target, as one target of a `merge:`. */
static evener_status_code add_member(char *member, member_list *list, evener_status *status)
{
    char *host = NULL;
    const char *port = NULL;
    char shown[80];
    char text[320];
    snprintf(shown, sizeof shown, "%.64s", member);
    if (!split_member(member, &host, &port) || (port != NULL && !is_port(port)) || strlen(host) > 255) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "etcd: the member \"%s\" is none: write host:port, with an IPv6 address in brackets",
                                 shown);
    }
    if (port != NULL) {
        snprintf(text, sizeof text, "%s:%s", host, port);
    } else {
        snprintf(text, sizeof text, "%s:%d", host, EVENER_ETCD_DEFAULT_PORT);
    }
    evener_address *address = NULL;
    const evener_status_code code = evener_address_create(text, NULL, 0, &address, NULL);
    if (code == EVENER_STATUS_RESOURCE_EXHAUSTED) {
        return no_memory(status); /* it may be an address */
    }
    const bool is_address = code == EVENER_STATUS_OK && evener_address_get_family(address) <= EVENER_FAMILY_IPV6;
    evener_address_unref(address);
    if (!is_address && !is_name(host)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "etcd: the member \"%s\" is neither a name nor an address", shown);
    }
    if (list->address_count + list->name_count == EVENER_ETCD_MEMBERS_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "etcd: more than %d members",
                                 EVENER_ETCD_MEMBERS_MAX);
    }
    list->address_count += is_address;
    list->name_count += !is_address;
    if (list->name_count + (list->address_count > 0) > EVENER_ETCD_NAMES_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "etcd: more than %d members by name; all addresses count as one",
                                 EVENER_ETCD_NAMES_MAX);
    }
    return (is_address ? append(&list->addresses, ",", "", text) : append(&list->names, "|", "dns:///", text))
               ? EVENER_STATUS_OK
               : no_memory(status);
}

/* The result of several targets is decoded twice: by the parser of `merge:`, and by that of the target in it. */
static char *inner_target(const member_list *list)
{
    char *target = NULL;
    const bool is_merged = list->name_count > 1 || (list->address_count > 0 && list->name_count > 0);
    char *once = percent_encoded(list->address_count > 0 ? list->addresses : "");
    char *addresses = is_merged && once != NULL ? percent_encoded(once) : once;
    if (addresses == NULL ||
        asprintf(&target, "%s%s%s%s%s", is_merged ? "merge:" : "", list->address_count > 0 ? "static:" : "", addresses,
                 list->address_count > 0 && list->name_count > 0 ? "|" : "",
                 list->name_count > 0 ? list->names : "") < 0) {
        target = NULL;
    }
    if (addresses != once) {
        free(addresses);
    }
    free(once);
    return target;
}

/* Check what the client's channel will be given: its errors would come late, and again and again. */
static evener_status_code check_members(const evener_etcd_options *options, evener_status *status)
{
    const evener_resolver_builder *builder;
    evener_target *target = NULL;
    evener_status reason;
    evener_status_code code = evener_resolver_lookup(NULL, options->inner_target, &target, &builder, &reason);
    if (code == EVENER_STATUS_OK && builder->check != NULL) {
        const evener_resolver_args args = {
            .size = sizeof args, .target = target, .default_port = EVENER_ETCD_DEFAULT_PORT};
        code = builder->check(builder, &args, &reason);
    }
    evener_target_destroy(target);
    return code == EVENER_STATUS_OK
               ? code
               : evener_status_set(status, code, "etcd: the members \"%.120s\": %s", options->members, reason.message);
}

static evener_status_code read_members(const char *text, evener_etcd_options *options, evener_status *status)
{
    member_list list = {0};
    char *copy = strdup(text);
    char *rest = NULL;
    evener_status_code code = copy != NULL ? EVENER_STATUS_OK : no_memory(status);
    for (char *member = copy != NULL ? strtok_r(copy, ",", &rest) : NULL; code == EVENER_STATUS_OK && member != NULL;
         member = strtok_r(NULL, ",", &rest)) {
        code = add_member(member, &list, status);
    }
    free(copy);
    options->named_members = list.name_count;
    options->has_several_members = list.address_count + list.name_count > 1;
    if (code == EVENER_STATUS_OK && list.address_count + list.name_count == 0) {
        code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "etcd: no members: write etcd://host:2379,host:2379/service");
    } else if (code == EVENER_STATUS_OK) {
        options->inner_target = inner_target(&list);
        options->members = strdup(text);
        code = options->members != NULL && options->inner_target != NULL ? check_members(options, status)
                                                                         : no_memory(status);
    }
    free(list.addresses);
    free(list.names);
    return code;
}

/* ---- options ---- */

static bool copy_option(const evener_resolver_args *args, const char *key, char **member)
{
    const char *value = evener_resolver_option(args, key);
    if (value != NULL && value[0] != '\0') {
        *member = strdup(value);
        return *member != NULL;
    }
    return true;
}

static evener_status_code read_flag(const evener_resolver_args *args, const char *key, bool *flag,
                                    evener_status *status)
{
    const char *value = evener_resolver_option(args, key);
    if (value == NULL) {
        return EVENER_STATUS_OK;
    }
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "resolver option %s: true or false is needed",
                                 key);
    }
    *flag = value[0] == 't';
    return EVENER_STATUS_OK;
}

static evener_status_code check_together(const evener_etcd_options *options, evener_status *status)
{
    const char *wrong = NULL;
    if ((options->certificate == NULL) != (options->key == NULL)) {
        wrong = "etcd.certificate and etcd.key need each other";
    } else if (options->user == NULL && (options->password != NULL || options->password_file != NULL)) {
        wrong = "etcd.password needs etcd.user";
    } else if (options->user != NULL && options->password == NULL && options->password_file == NULL) {
        wrong = "etcd.user needs etcd.password or etcd.password_file";
    } else if (options->password != NULL && options->password_file != NULL) {
        wrong = "etcd.password and etcd.password_file are both set: one is needed";
    } else if (!options->tls && (options->ca != NULL || options->certificate != NULL || options->server_name != NULL)) {
        wrong = "etcd.tls is false, but etcd.ca, etcd.certificate or etcd.server_name is set";
    } else if (options->tls && options->server_name == NULL && options->named_members > 0 &&
               options->has_several_members) {
        wrong = "etcd.server_name is needed for TLS to several members by name: one that all certificates have";
    }
    return wrong != NULL ? evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "resolver option %s", wrong)
                         : EVENER_STATUS_OK;
}

static evener_status_code read_options(const evener_resolver_args *args, evener_etcd_options *options,
                                       evener_status *status)
{
    if (!copy_option(args, "etcd.user", &options->user) || !copy_option(args, "etcd.password", &options->password) ||
        !copy_option(args, "etcd.password_file", &options->password_file) ||
        !copy_option(args, "etcd.ca", &options->ca) || !copy_option(args, "etcd.key", &options->key) ||
        !copy_option(args, "etcd.certificate", &options->certificate) ||
        !copy_option(args, "etcd.server_name", &options->server_name)) {
        return no_memory(status);
    }
    options->page = DEFAULT_PAGE;
    options->timeout_ms = DEFAULT_TIMEOUT_MS;
    options->backoff_max_ms = DEFAULT_BACKOFF_MAX_MS;
    options->tls = options->ca != NULL || options->certificate != NULL || options->server_name != NULL;
    evener_status_code code = read_flag(args, "etcd.tls", &options->tls, status);
    if (code == EVENER_STATUS_OK) {
        code = evener_resolver_option_u64(args, "etcd.page", 1, 1000000, &options->page, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = evener_resolver_option_u64(args, "etcd.timeout_ms", 1, 600000, &options->timeout_ms, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = evener_resolver_option_u64(args, "etcd.backoff_max_ms", 1, 600000, &options->backoff_max_ms, status);
    }
    return code == EVENER_STATUS_OK ? check_together(options, status) : code;
}

static evener_status_code read_layout(const evener_resolver_args *args, evener_etcd_options *options,
                                      evener_status *status)
{
    const char *service = evener_target_endpoint(args->target);
    const char *name = evener_resolver_option(args, "etcd.layout");
    evener_etcd_layout_kind kind = EVENER_ETCD_LAYOUT_NAMING;
    if (service[0] == '\0' || strlen(service) > SERVICE_BYTES_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "etcd: a service of 1 to %d bytes is needed: etcd://host:2379/service",
                                 SERVICE_BYTES_MAX);
    }
    if (name != NULL && !evener_etcd_layout_find(name, &kind)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "resolver option etcd.layout = \"%.60s\": naming, go-zero, kratos or plain is needed",
                                 name);
    }
    if (!evener_etcd_layout_init(&options->layout, kind, service, evener_resolver_option(args, "etcd.namespace"))) {
        return no_memory(status);
    }
    return read_flag(args, "etcd.secure", &options->layout.secure, status);
}

evener_status_code evener_etcd_options_read(const evener_resolver_args *args, evener_etcd_options *options,
                                            evener_status *status)
{
    evener_etcd_options read = {0};
    evener_status_code code = read_members(evener_target_authority(args->target), &read, status);
    if (code == EVENER_STATUS_OK) {
        code = read_layout(args, &read, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = read_options(args, &read, status);
    }
    if (code != EVENER_STATUS_OK) {
        evener_etcd_options_clear(&read);
        return code;
    }
    *options = read;
    return evener_status_clear(status);
}
