/* scheme ":" [ "//" authority "/" ] endpoint, split as in RFC 3986, with two differences: blanks are allowed (lists
 * and paths have them), and there is no query and no fragment, so that a '?' or '#' in a path is not cut off silently:
 * it is refused and has to be written %3F or %23. */
#include "resolver/target.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "resolver/percent.h"

struct evener_target {
    const char *scheme;
    const char *authority;
    const char *path;
    const char *endpoint; /* into `path` */
    const char *text;
    char *directory; /* see evener_target_directory() */
    evener_resolver_set resolvers;
    char strings[]; /* storage of the strings */
};

static evener_status_code refuse(evener_status *status, const char *text, size_t offset, const char *reason)
{
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "target \"%.100s%s\": byte %zu: %s", text,
                             strlen(text) > 100 ? "..." : "", offset, reason);
}

/* ASCII only, independent of the locale. */
static char lower_case(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_letter(char c)
{
    return lower_case(c) >= 'a' && lower_case(c) <= 'z';
}

/* Return the length of the scheme; 0: no scheme. RFC 3986 section 3.1 */
static size_t scheme_bytes(const char *text)
{
    if (!is_letter(text[0])) {
        return 0;
    }
    size_t bytes = 1;
    while (is_letter(text[bytes]) || (text[bytes] != '\0' && strchr("0123456789+-.", text[bytes]) != NULL)) {
        bytes++;
    }
    return text[bytes] == ':' ? bytes : 0;
}

/* Decode text[from..to) to `*end`, append a NUL and advance `*end`. */
static evener_status_code decode(const char *text, size_t from, size_t to, char **end, evener_status *status)
{
    char *out = *end;
    for (size_t i = from; i < to; i++) {
        if (text[i] != '%') {
            *out++ = text[i];
            continue;
        }
        const int high = i + 2 < to ? evener_percent_digit(text[i + 1]) : -1;
        const int low = high >= 0 ? evener_percent_digit(text[i + 2]) : -1;
        if (low < 0) {
            return refuse(status, text, i, "a '%' without two hexadecimal digits; a '%' itself is written %25");
        }
        if (high == 0 && low == 0) {
            return refuse(status, text, i, "%00 is not allowed");
        }
        *out++ = (char)(high * 16 + low);
        i += 2;
    }
    *out = '\0';
    *end = out + 1;
    return EVENER_STATUS_OK;
}

static evener_status_code check_text(const char *text, evener_status *status)
{
    const size_t bytes = strnlen(text, EVENER_TARGET_BYTES_MAX + 1);
    if (bytes == 0) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "target: it is empty");
    }
    if (bytes > EVENER_TARGET_BYTES_MAX) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "target: longer than %d bytes",
                                 EVENER_TARGET_BYTES_MAX);
    }
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) {
            /* Without the text, which would end up in a log. */
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "target: byte %zu is a control character",
                                     i);
        }
        if (text[i] == '?' || text[i] == '#') {
            return refuse(status, text, i, "a target has no query and no fragment; write '?' as %3F and '#' as %23");
        }
    }
    return EVENER_STATUS_OK;
}

static bool needs_directory(const evener_target *target)
{
    return (strcmp(target->scheme, "file") == 0 && target->path[0] != '/') || strcmp(target->scheme, "merge") == 0 ||
           strcmp(target->scheme, "fallback") == 0;
}

evener_status_code evener_target_parse(const char *text, evener_target **target, evener_status *status)
{
    if (text == NULL || target == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "target: %s is NULL",
                                 text == NULL ? "the text" : "where to store it");
    }
    evener_status_code code = check_text(text, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    const size_t scheme = scheme_bytes(text);
    if (scheme == 0) {
        return refuse(status, text, 0, "no scheme; write scheme:endpoint or scheme://authority/endpoint");
    }
    const size_t bytes = strlen(text);
    size_t authority = scheme + 1;
    size_t path = authority;
    if (strncmp(text + path, "//", 2) == 0) {
        authority += 2;
        path = authority + strcspn(text + authority, "/");
    }

    /* Decoding never lengthens: scheme, authority, path and the text with four NULs fit into twice the text. */
    evener_target *made = calloc(1, sizeof *made + 2 * bytes + 4);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "target: out of memory for its %zu bytes",
                                 bytes);
    }
    char *end = made->strings;
    made->scheme = end;
    for (size_t i = 0; i < scheme; i++) {
        *end++ = lower_case(text[i]);
    }
    *end++ = '\0';
    made->authority = end;
    code = decode(text, authority, path, &end, status);
    if (code == EVENER_STATUS_OK) {
        made->path = end;
        code = decode(text, path, bytes, &end, status);
    }
    if (code != EVENER_STATUS_OK) {
        free(made);
        return code;
    }
    made->endpoint = made->path + (made->path[0] == '/' ? 1 : 0);
    made->text = memcpy(end, text, bytes + 1);
    if (needs_directory(made)) {
        made->directory = getcwd(NULL, 0);
    }
    *target = made;
    return EVENER_STATUS_OK;
}

void evener_target_destroy(evener_target *target)
{
    if (target != NULL) {
        free(target->directory);
        free(target);
    }
}

const char *evener_target_text(const evener_target *target)
{
    return target->text;
}

const char *evener_target_scheme(const evener_target *target)
{
    return target->scheme;
}

const char *evener_target_authority(const evener_target *target)
{
    return target->authority;
}

const char *evener_target_endpoint(const evener_target *target)
{
    return target->endpoint;
}

const char *evener_target_path(const evener_target *target)
{
    return target->path;
}

const char *evener_target_directory(const evener_target *target)
{
    return target->directory;
}

void evener_target_inherit_directory(evener_target *part, const evener_target *whole)
{
    char *copy = whole->directory != NULL && needs_directory(part) ? strdup(whole->directory) : NULL;
    if (copy != NULL) {
        free(part->directory);
        part->directory = copy;
    }
}

void evener_target_set_resolvers(evener_target *target, const evener_resolver_set *set)
{
    target->resolvers = set != NULL ? *set : (evener_resolver_set){0};
}

const evener_resolver_set *evener_target_resolvers(const evener_target *target)
{
    return &target->resolvers;
}
