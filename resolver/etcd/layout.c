#include "resolver/etcd/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define NUMBER_BYTES 32

static const char *const names[] = {
    [EVENER_ETCD_LAYOUT_NAMING] = "naming",
    [EVENER_ETCD_LAYOUT_GO_ZERO] = "go-zero",
    [EVENER_ETCD_LAYOUT_KRATOS] = "kratos",
    [EVENER_ETCD_LAYOUT_PLAIN] = "plain",
};

bool evener_etcd_layout_find(const char *name, evener_etcd_layout_kind *kind)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) {
            *kind = (evener_etcd_layout_kind)i;
            return true;
        }
    }
    return false;
}

bool evener_etcd_layout_init(evener_etcd_layout *layout, evener_etcd_layout_kind kind, const char *service,
                             const char *name_space)
{
    *layout = (evener_etcd_layout){.kind = kind, .service = strdup(service), .scheme = "grpc"};
    const bool is_kratos = kind == EVENER_ETCD_LAYOUT_KRATOS;
    const char *folder = is_kratos && name_space == NULL ? "/microservices" : name_space;
    if (asprintf(&layout->prefix, "%s%s%s/", is_kratos ? folder : "", is_kratos ? "/" : "", service) < 0) {
        layout->prefix = NULL;
    }
    return layout->service != NULL && layout->prefix != NULL;
}

void evener_etcd_layout_clear(evener_etcd_layout *layout)
{
    free(layout->service);
    free(layout->prefix);
    *layout = (evener_etcd_layout){0};
}

/* ---- reading ---- */

static evener_status_code bad(evener_status *status, const char *reason)
{
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s", reason);
}

/* Attributes out of JSON. Numbers are written into `numbers`. */
typedef struct attributes {
    evener_attribute items[EVENER_ADDRESS_ATTRIBUTES_MAX];
    char numbers[EVENER_ADDRESS_ATTRIBUTES_MAX][NUMBER_BYTES];
    size_t count;
} attributes;

/* Add a value that is a text, a number or a boolean; leave out everything else, and what exceeds a limit. */
static void add_attribute(attributes *to, const char *key, const json_t *value)
{
    const char *text = NULL;
    if (to->count == EVENER_ADDRESS_ATTRIBUTES_MAX || key[0] == '\0' || strlen(key) > EVENER_ATTRIBUTE_BYTES_MAX) {
        return;
    }
    if (json_is_string(value)) {
        text = json_string_length(value) <= EVENER_ATTRIBUTE_BYTES_MAX ? json_string_value(value) : NULL;
    } else if (json_is_boolean(value)) {
        text = json_is_true(value) ? "true" : "false";
    } else if (json_is_number(value)) {
        const double number = json_number_value(value);
        char *buffer = to->numbers[to->count];
        if (number >= -9e15 && number <= 9e15 && number == (double)(int64_t)number) {
            snprintf(buffer, NUMBER_BYTES, "%" PRId64, (int64_t)number); /* Go writes 3 as 3 or as 3.0 */
            text = buffer;
        }
    }
    if (text != NULL) {
        to->items[to->count++] = (evener_attribute){.key = key, .value = text};
    }
}

static void add_attributes(attributes *to, json_t *object)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(object, key, value)
    {
        add_attribute(to, key, value);
    }
}

static evener_status_code read_naming(json_t *value, evener_address **address, evener_status *status)
{
    const json_t *operation = json_object_get(value, "Op");
    const char *text = json_string_value(json_object_get(value, "Addr"));
    if (operation != NULL && (!json_is_integer(operation) || json_integer_value(operation) != 0)) {
        *address = NULL; /* 1: deleted */
        return EVENER_STATUS_OK;
    }
    if (text == NULL) {
        return bad(status, "the member \"Addr\" is no text");
    }
    attributes found = {.count = 0};
    add_attributes(&found, json_object_get(value, "Metadata"));
    return evener_address_create(text, found.items, found.count, address, status);
}

/* Copy the address out of "grpc://10.0.0.1:80?isSecure=true", if it is an endpoint to be taken. */
static bool take_endpoint(const evener_etcd_layout *layout, const char *url, char *address)
{
    const size_t scheme_bytes = strlen(layout->scheme);
    if (strncmp(url, layout->scheme, scheme_bytes) != 0) {
        return false;
    }
    url += scheme_bytes;
    const bool has_s = *url == 's';
    url += has_s;
    if (strncmp(url, "://", 3) != 0) {
        return false;
    }
    url += 3;
    const size_t bytes = strcspn(url, "/?#");
    const bool is_secure = has_s || strstr(url + bytes, "isSecure=true") != NULL;
    if (bytes > EVENER_ADDRESS_BYTES_MAX || is_secure != layout->secure) {
        return false;
    }
    memcpy(address, url, bytes);
    address[bytes] = '\0';
    return true;
}

static evener_status_code read_kratos(const evener_etcd_layout *layout, json_t *value, evener_address **address,
                                      evener_status *status)
{
    const char *name = json_string_value(json_object_get(value, "name"));
    const json_t *endpoints = json_object_get(value, "endpoints");
    if (name == NULL || !json_is_array(endpoints)) {
        return bad(status, "the members \"name\" and \"endpoints\" are needed");
    }
    if (strcmp(name, layout->service) != 0) {
        *address = NULL;
        return EVENER_STATUS_OK;
    }
    attributes found = {.count = 0};
    add_attributes(&found, json_object_get(value, "metadata"));
    const json_t *version = json_object_get(value, "version");
    if (version != NULL) {
        add_attribute(&found, "version", version);
    }
    for (size_t i = 0; i < json_array_size(endpoints); i++) {
        const char *url = json_string_value(json_array_get(endpoints, i));
        char text[EVENER_ADDRESS_BYTES_MAX + 1];
        if (url != NULL && take_endpoint(layout, url, text)) {
            return evener_address_create(text, found.items, found.count, address, status);
        }
    }
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "no endpoint is a %s one %s TLS (etcd.secure)",
                             layout->scheme, layout->secure ? "with" : "without");
}

/* Copy a span as text. False: too long, or with a NUL. */
static bool copy_text(evener_etcd_span span, char *text, size_t room)
{
    if (span.length >= room || memchr(span.bytes, '\0', span.length) != NULL) {
        return false;
    }
    memcpy(text, span.bytes, span.length);
    text[span.length] = '\0';
    return true;
}

static evener_status_code read_text(evener_etcd_span value, evener_address **address, evener_status *status)
{
    char text[EVENER_ADDRESS_BYTES_MAX + 1];
    if (value.length == 0 || !copy_text(value, text, sizeof text)) {
        return bad(status, "an address with its port is needed");
    }
    return evener_address_create(text, NULL, 0, address, status);
}

static evener_status_code read_plain(const evener_etcd_layout *layout, const evener_etcd_key_value *kv,
                                     evener_address **address, evener_status *status)
{
    const size_t prefix_bytes = strlen(layout->prefix);
    const evener_etcd_span rest = {kv->key.bytes + prefix_bytes, kv->key.length - prefix_bytes};
    evener_status of_key;
    if (read_text(kv->value, address, status) == EVENER_STATUS_OK ||
        read_text(rest, address, &of_key) == EVENER_STATUS_OK) {
        return evener_status_clear(status);
    }
    return status->code;
}

evener_status_code evener_etcd_layout_read(const evener_etcd_layout *layout, const evener_etcd_key_value *kv,
                                           evener_address **address, evener_status *status)
{
    const size_t prefix_bytes = strlen(layout->prefix);
    if (kv->key.length < prefix_bytes || memcmp(kv->key.bytes, layout->prefix, prefix_bytes) != 0) {
        *address = NULL; /* not asked for */
        return evener_status_clear(status);
    }
    if (kv->value.length > EVENER_ETCD_VALUE_BYTES_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "the value has more than %zu bytes",
                                 EVENER_ETCD_VALUE_BYTES_MAX);
    }
    if (layout->kind == EVENER_ETCD_LAYOUT_GO_ZERO) {
        return read_text(kv->value, address, status);
    }
    if (layout->kind == EVENER_ETCD_LAYOUT_PLAIN) {
        return read_plain(layout, kv, address, status);
    }
    json_error_t error;
    json_t *value = json_loadb((const char *)kv->value.bytes, kv->value.length, 0, &error);
    evener_status_code code;
    if (!json_is_object(value)) {
        code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "the value is no JSON object%s%s",
                                 value == NULL ? ": " : "", value == NULL ? error.text : "");
    } else if (layout->kind == EVENER_ETCD_LAYOUT_NAMING) {
        code = read_naming(value, address, status);
    } else {
        code = read_kratos(layout, value, address, status);
    }
    json_decref(value);
    return code == EVENER_STATUS_OK ? evener_status_clear(status) : code;
}

/* ---- writing ---- */

/* A value that is a whole number is written as one: Go programs read `weight` so. */
static json_t *json_of(const char *value, bool as_text)
{
    char *rest = NULL;
    const bool digits = value[0] != '\0' && strspn(value, "0123456789") == strlen(value) && strlen(value) < 16 &&
                        (value[0] != '0' || value[1] == '\0');
    return digits && !as_text ? json_integer((json_int_t)strtoll(value, &rest, 10)) : json_string(value);
}

static json_t *json_of_attributes(const evener_attribute *items, size_t count, bool as_text)
{
    json_t *object = json_object();
    for (size_t i = 0; object != NULL && i < count; i++) {
        if (json_object_set_new(object, items[i].key, json_of(items[i].value, as_text)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *write_naming(const char *address, const evener_attribute *items, size_t count)
{
    json_t *metadata = count > 0 ? json_of_attributes(items, count, false) : json_null();
    return metadata != NULL ? json_pack("{s:i, s:s, s:o}", "Op", 0, "Addr", address, "Metadata", metadata) : NULL;
}

static json_t *write_kratos(const evener_etcd_layout *layout, const char *id, const char *address,
                            const evener_attribute *items, size_t count)
{
    char url[EVENER_ADDRESS_BYTES_MAX + 32];
    snprintf(url, sizeof url, "%s%s://%s", layout->scheme, layout->secure ? "s" : "", address);
    json_t *metadata = json_of_attributes(items, count, true);
    const char *version = "";
    for (size_t i = 0; i < count; i++) {
        version = strcmp(items[i].key, "version") == 0 ? items[i].value : version;
    }
    return metadata != NULL ? json_pack("{s:s, s:s, s:s, s:o, s:[s]}", "id", id, "name", layout->service, "version",
                                        version, "metadata", metadata, "endpoints", url)
                            : NULL;
}

evener_status_code evener_etcd_layout_write(const evener_etcd_layout *layout, const char *id, const char *address,
                                            const evener_attribute *attributes_given, size_t attribute_count,
                                            char **key, char **value, evener_status *status)
{
    char *made_key = NULL;
    char *made_value = NULL;
    if (layout->kind == EVENER_ETCD_LAYOUT_NAMING || layout->kind == EVENER_ETCD_LAYOUT_KRATOS) {
        json_t *json = layout->kind == EVENER_ETCD_LAYOUT_NAMING
                           ? write_naming(address, attributes_given, attribute_count)
                           : write_kratos(layout, id, address, attributes_given, attribute_count);
        made_value = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
        json_decref(json);
        if (made_value == NULL) {
            return bad(status, "the attributes cannot be written as JSON: is every text UTF-8?");
        }
    } else {
        made_value = strdup(address);
    }
    if (asprintf(&made_key, "%s%s", layout->prefix, id) < 0 || made_value == NULL) {
        free(made_value);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    *key = made_key;
    *value = made_value;
    return evener_status_clear(status);
}
