/* The libconfig format of an endpoint file:
 *
 *     endpoints = ( { address = "10.0.0.1:50051"; weight = 3; zone = "a"; },
 *                   { address = "orders-2.prod:50051"; },
 *                   "10.0.0.3:50051" );
 *
 * Every setting of a group but `address` becomes an attribute. Other settings of the file are left alone, so that the
 * list may live in a program's own configuration. */
#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/c_locale.h"
#include "lb/base/config_numbers.h"
#include "resolver/file_endpoints.h"

#define NESTING_MAX 16 /* libconfig frees its tree recursively */
#define NUMBER_BYTES 32
#define INT_DIGITS 9 /* always fit into an int */

/* ---- checks before libconfig sees the text ---- */

/* Return the position after the comment at `text`, or after one byte if there is no comment. */
static const char *skip_comment(const char *text)
{
    if (text[0] == '#' || (text[0] == '/' && text[1] == '/')) {
        return text + strcspn(text, "\n");
    }
    if (text[0] == '/' && text[1] == '*') {
        const char *end = strstr(text + 2, "*/");
        return end != NULL ? end + 2 : text + strlen(text);
    }
    return text + 1;
}

static const char *skip_string(const char *text)
{
    for (text++; *text != '\0' && *text != '"'; text++) {
        if (*text == '\\' && text[1] != '\0') {
            text++;
        }
    }
    return *text == '"' ? text + 1 : text;
}

static bool begins_include(const char *text, const char *start)
{
    if (strncmp(text, "@include", strlen("@include")) != 0) {
        return false;
    }
    while (text > start && (text[-1] == ' ' || text[-1] == '\t')) {
        text--;
    }
    return text == start || text[-1] == '\n';
}

static size_t digits_at(const char *text)
{
    size_t count = 0;
    while (text[count] >= '0' && text[count] <= '9') {
        count++;
    }
    return count;
}

/* Return whether every version of libconfig reads these digits alike, as an int. After a first zero that is not so:
 * 1.7 reads 010 as 8, and 010L as 10. */
static bool is_plain(const char *text, size_t digits)
{
    return digits <= INT_DIGITS && (text[0] != '0' || (digits == 1 && text[1] != 'x' && text[1] != 'X'));
}

/* Refuse @include (included files would not be watched) and nesting deeper than an endpoint list can have,
 * before libconfig does anything with it. Set *plain to whether libconfig reads all numbers right without a suffix. */
static evener_status_code scan(const char *path, const char *text, bool *plain, evener_status *status)
{
    *plain = true;
    evener_file_place place = {.path = path, .line = 1};
    int nesting = 0;
    const char *at = text;
    while (*at != '\0') {
        const char *next = at + 1;
        switch (*at) {
        case '\n':
            place.line++;
            break;
        case '"':
            next = skip_string(at);
            break;
        case '#':
        case '/':
            next = skip_comment(at);
            break;
        case '(':
        case '[':
        case '{':
            nesting++;
            break;
        case ')':
        case ']':
        case '}':
            nesting--;
            break;
        case '@':
            if (begins_include(at, text)) {
                return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                         "file %.200s:%zu: an @include is not taken: that file would not be watched",
                                         place.path, place.line);
            }
            break;
        default:
            if (*at >= '0' && *at <= '9') {
                next = at + digits_at(at);
                *plain = *plain && is_plain(at, (size_t)(next - at));
            }
            break;
        }
        if (nesting > NESTING_MAX) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "file %.200s:%zu: brackets nested deeper than %d", place.path, place.line,
                                     NESTING_MAX);
        }
        for (at++; at < next; at++) {
            place.line += *at == '\n';
        }
    }
    return EVENER_STATUS_OK;
}

bool evener_file_looks_like_config(const char *text)
{
    static const char name[] = "endpoints";
    text += strspn(text, " \t\r\n\f");
    while (*text == '#' || *text == '/') {
        text = skip_comment(text);
        text += strspn(text, " \t\r\n\f");
    }
    if (strncmp(text, name, strlen(name)) != 0) {
        return false;
    }
    text += strlen(name);
    text += strspn(text, " \t\r\n\f");
    if (*text != '=' && *text != ':') {
        return false;
    }
    if (*text == '=') {
        return true;
    }
    text++;
    text += strspn(text, " \t\r\n\f");
    return *text == '(' || *text == '['; /* "endpoints:50051" is a host of that name */
}

/* ---- the parsed settings ---- */

static evener_file_place place_of(const char *path, const config_setting_t *setting)
{
    return (evener_file_place){.path = path, .line = config_setting_source_line(setting)};
}

static evener_status_code refuse(evener_file_place place, const char *name, evener_status *status, const char *reason)
{
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "file %.200s:%zu: %.60s %s", place.path,
                             place.line, name != NULL ? name : "an element of endpoints", reason);
}

/* Return a scalar as text, possibly stored in `number`; NULL if the setting is no scalar. */
static const char *scalar_text(const config_setting_t *setting, char number[NUMBER_BYTES])
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_STRING:
        return config_setting_get_string(setting);
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        snprintf(number, NUMBER_BYTES, "%lld", config_setting_get_int64(setting));
        return number;
    case CONFIG_TYPE_FLOAT:
        (void)evener_snprintf(number, NUMBER_BYTES, "%.17g", config_setting_get_float(setting));
        return number;
    case CONFIG_TYPE_BOOL:
        return config_setting_get_bool(setting) != 0 ? "true" : "false";
    default:
        return NULL;
    }
}

static evener_status_code add_group(const char *path, const config_setting_t *group, evener_file_endpoints *endpoints,
                                    evener_status *status)
{
    evener_attribute attributes[EVENER_ADDRESS_ATTRIBUTES_MAX];
    char numbers[EVENER_ADDRESS_ATTRIBUTES_MAX][NUMBER_BYTES];
    size_t count = 0;
    const char *address = NULL;
    const int members = config_setting_length(group);
    for (int i = 0; i < members; i++) {
        const config_setting_t *member = config_setting_get_elem(group, (unsigned)i);
        const char *name = config_setting_name(member);
        if (strcmp(name, "address") == 0) {
            address = config_setting_get_string(member);
            if (address == NULL) {
                return refuse(place_of(path, member), name, status, "must be a text, \"HOST:PORT\"");
            }
            continue;
        }
        if (count == EVENER_ADDRESS_ATTRIBUTES_MAX) {
            return refuse(place_of(path, group), NULL, status, "has more than 64 attributes");
        }
        const char *value = scalar_text(member, numbers[count]);
        if (value == NULL) {
            return refuse(place_of(path, member), name, status, "must be a text, a number or a truth value");
        }
        attributes[count++] = (evener_attribute){name, value};
    }
    if (address == NULL) {
        return refuse(place_of(path, group), NULL, status, "has no address = \"HOST:PORT\"");
    }
    return evener_file_endpoints_add(endpoints, place_of(path, group), address, attributes, count, status);
}

static evener_status_code add_elements(const char *path, const config_t *config, evener_file_endpoints *endpoints,
                                       evener_status *status)
{
    const config_setting_t *list = config_lookup(config, "endpoints");
    if (list == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "file %.200s: no setting \"endpoints\"; write endpoints = ( { address = "
                                 "\"HOST:PORT\"; } );",
                                 path);
    }
    const int type = config_setting_type(list);
    if (type != CONFIG_TYPE_LIST && type != CONFIG_TYPE_ARRAY) {
        return refuse(place_of(path, list), "endpoints", status, "must be a list, ( ... )");
    }
    evener_status_code code = EVENER_STATUS_OK;
    const int length = config_setting_length(list);
    for (int i = 0; i < length && code == EVENER_STATUS_OK; i++) {
        const config_setting_t *element = config_setting_get_elem(list, (unsigned)i);
        if (config_setting_type(element) == CONFIG_TYPE_GROUP) {
            code = add_group(path, element, endpoints, status);
        } else if (config_setting_type(element) == CONFIG_TYPE_STRING) {
            code = evener_file_endpoints_add(endpoints, place_of(path, element), config_setting_get_string(element),
                                             NULL, 0, status);
        } else {
            code = refuse(place_of(path, element), NULL, status,
                          "must be a group, { address = \"HOST:PORT\"; }, or a text");
        }
    }
    return code;
}

evener_status_code evener_file_parse_config(const char *path, const char *text, size_t bytes,
                                            evener_file_endpoints *endpoints, evener_status *status)
{
    if (strlen(text) != bytes) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "file %.200s: a NUL byte; this is no text file", path);
    }
    bool plain;
    evener_status_code code = scan(path, text, &plain, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    size_t bad_line;
    char *widened = plain ? NULL : evener_config_widen_numbers(text, &bad_line);
    if (!plain && widened == NULL) {
        return bad_line == 0
                   ? evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "file %.200s: out of memory", path)
                   : evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                       "file %.200s:%zu: a number is out of range: 64 bits do not hold it", path,
                                       bad_line);
    }
    config_t config;
    config_init(&config);
    if (config_read_string(&config, plain ? text : widened) == CONFIG_TRUE) {
        code = add_elements(path, &config, endpoints, status);
    } else {
        code = evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "file %.200s:%d: %s (read as libconfig)", path,
                                 config_error_line(&config), config_error_text(&config));
    }
    config_destroy(&config);
    free(widened);
    return code;
}
