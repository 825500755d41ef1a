#include "resolver/file_endpoints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/resolver.h>

#include "resolver/list.h"

#define FIRST_CAPACITY 64
#define HOST_BYTES_MAX 253 /* RFC 1035, in its text form */

void evener_file_endpoints_clear(evener_file_endpoints *endpoints)
{
    for (size_t i = 0; i < endpoints->count; i++) {
        evener_address_unref(endpoints->entries[i].address);
        free(endpoints->entries[i].host);
    }
    free(endpoints->entries);
    *endpoints = (evener_file_endpoints){.entries = NULL};
}

bool evener_file_endpoints_equal(const evener_file_endpoints *a, const evener_file_endpoints *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        const evener_file_entry *one = &a->entries[i];
        const evener_file_entry *other = &b->entries[i];
        if ((one->host == NULL) != (other->host == NULL) ||
            (one->host != NULL && strcmp(one->host, other->host) != 0) ||
            !evener_address_equal(one->address, other->address)) {
            return false;
        }
    }
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_host_byte(char c)
{
    const char lower = (char)(c | 0x20);
    return is_digit(c) || (lower >= 'a' && lower <= 'z') || c == '-' || c == '_' || c == '.';
}

/* Return whether the text before the last ':' is a host name. If the last label is a number it is a malformed IPv4
 * address rather than a name (WHATWG URL, "ends in a number"). */
static bool is_host(const char *text, size_t bytes)
{
    if (bytes == 0 || bytes > HOST_BYTES_MAX || text[0] == '.' || text[0] == '-') {
        return false;
    }
    const size_t end = text[bytes - 1] == '.' ? bytes - 1 : bytes;
    size_t label = end;
    bool number = true;
    while (label > 0 && text[label - 1] != '.') {
        label--;
        number = number && is_digit(text[label]);
    }
    for (size_t i = 0; i < end && !number; i++) {
        if (!is_host_byte(text[i])) {
            return false;
        }
    }
    return !number;
}

/* Store an owned address that holds port and attributes of a host name. */
static evener_status_code make_host(const char *text, const char *colon, const evener_attribute *attributes,
                                    size_t attribute_count, evener_address **address, evener_status *status)
{
    char stand_in[32];
    snprintf(stand_in, sizeof stand_in, "0.0.0.0%.20s", colon);
    evener_status reason;
    const evener_status_code code = evener_address_create(stand_in, attributes, attribute_count, address, &reason);
    if (code != EVENER_STATUS_OK) { /* the message names the placeholder address: keep the reason only */
        const char *because = strstr(reason.message, ": ");
        return evener_status_set(status, code, "host \"%.100s\"%s", text, because != NULL ? because : "");
    }
    return EVENER_STATUS_OK;
}

static evener_status_code append(evener_file_endpoints *endpoints, evener_file_entry entry, evener_status *status)
{
    if (endpoints->count == EVENER_RESOLVER_ADDRESSES_MAX) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "more than %d endpoints",
                                 EVENER_RESOLVER_ADDRESSES_MAX);
    }
    if (endpoints->count == endpoints->capacity) {
        const size_t capacity = endpoints->capacity > 0 ? endpoints->capacity * 2 : FIRST_CAPACITY;
        evener_file_entry *entries = realloc(endpoints->entries, capacity * sizeof *entries);
        if (entries == NULL) {
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for %zu endpoints",
                                     capacity);
        }
        endpoints->entries = entries;
        endpoints->capacity = capacity;
    }
    endpoints->entries[endpoints->count++] = entry;
    return EVENER_STATUS_OK;
}

/* Messages contain the reason only. */
static evener_status_code add(evener_file_endpoints *endpoints, size_t line, const char *text,
                              const evener_attribute *attributes, size_t attribute_count, evener_status *status)
{
    for (size_t i = 0; i < attribute_count; i++) {
        const char *wrong = evener_list_attribute_problem(attributes[i].key, attributes[i].value);
        if (wrong != NULL) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%.40s=%.40s: %s", attributes[i].key,
                                     attributes[i].value, wrong);
        }
    }
    evener_file_entry entry = {.line = line};
    const char *colon = strrchr(text, ':');
    const bool host = is_host(text, colon != NULL ? (size_t)(colon - text) : strlen(text));
    if (host && colon == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "host \"%.100s\": no port; write HOST:PORT",
                                 text);
    }
    evener_status_code code;
    /* "unix:/path" is no name: its "port" is no number, and evener_address_create() knows the prefix. */
    if (host && strncmp(text, "unix:", 5) != 0 && strncmp(text, "unix-abstract:", 14) != 0 &&
        strncmp(text, "vsock:", 6) != 0) {
        if (endpoints->host_count == EVENER_FILE_HOSTS_MAX) {
            return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "more than %d host names",
                                     EVENER_FILE_HOSTS_MAX);
        }
        code = make_host(text, colon, attributes, attribute_count, &entry.address, status);
        if (code == EVENER_STATUS_OK && (entry.host = strdup(text)) == NULL) {
            code = evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        }
    } else {
        code = evener_address_create(text, attributes, attribute_count, &entry.address, status);
    }
    if (code == EVENER_STATUS_OK) {
        code = append(endpoints, entry, status);
    }
    if (code == EVENER_STATUS_OK) {
        endpoints->host_count += entry.host != NULL;
    } else {
        evener_address_unref(entry.address);
        free(entry.host);
    }
    return code;
}

evener_status_code evener_file_endpoints_add(evener_file_endpoints *endpoints, evener_file_place place,
                                             const char *text, const evener_attribute *attributes,
                                             size_t attribute_count, evener_status *status)
{
    evener_status reason;
    const evener_status_code code = add(endpoints, place.line, text, attributes, attribute_count, &reason);
    if (code != EVENER_STATUS_OK) {
        evener_status_set(status, code, "file %.200s:%zu: %s", place.path, place.line, reason.message);
    }
    return code;
}
