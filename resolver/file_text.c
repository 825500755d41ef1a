/* The line format of an endpoint file:
 *
 *     # the orders service
 *     10.0.0.1:50051 weight=3 zone=a
 *     orders-2.prod:50051            # resolved by DNS
 *
 * Lines end with LF or CRLF; a byte order mark is skipped. A '#' begins a comment at the start of a line or behind a
 * blank. */
#include <stdbool.h>
#include <string.h>

#include "resolver/file_endpoints.h"
#include "resolver/percent.h"

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

static evener_status_code refuse(evener_file_place place, evener_status *status, const char *reason)
{
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "file %.200s:%zu: %s", place.path, place.line,
                             reason);
}

/* Not strspn() or strcspn(): they build a table of 256 entries per call, and a line needs ten calls. */
static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Split off the next word, in place. NULL at the end of the line or at a comment. */
static char *next_word(char **rest)
{
    char *word = *rest;
    while (is_blank(*word)) {
        word++;
    }
    if (*word == '\0' || *word == '#') {
        return NULL;
    }
    char *end = word;
    while (*end != '\0' && !is_blank(*end)) {
        end++;
    }
    *rest = end;
    if (*end != '\0') {
        *end = '\0';
        *rest = end + 1;
    }
    return word;
}

static evener_status_code parse_line(evener_file_place place, char *line, evener_file_endpoints *endpoints,
                                     evener_status *status)
{
    char *endpoint = next_word(&line);
    if (endpoint == NULL) {
        return EVENER_STATUS_OK;
    }
    evener_attribute attributes[EVENER_ADDRESS_ATTRIBUTES_MAX];
    size_t count = 0;
    for (char *word; (word = next_word(&line)) != NULL;) {
        char *value = strchr(word, '=');
        if (value == NULL || value == word) {
            return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                     "file %.200s:%zu: \"%.60s\": behind the endpoint come attributes, key=value, or a "
                                     "comment",
                                     place.path, place.line, word);
        }
        *value++ = '\0';
        if (!evener_percent_decode(word) || !evener_percent_decode(value)) {
            return refuse(place, status, "a '%' without two hexadecimal digits; a '%' itself is written %25");
        }
        if (count == EVENER_ADDRESS_ATTRIBUTES_MAX) {
            return refuse(place, status, "more than 64 attributes");
        }
        attributes[count++] = (evener_attribute){word, value};
    }
    return evener_file_endpoints_add(endpoints, place, endpoint, attributes, count, status);
}

evener_status_code evener_file_parse_lines(const char *path, char *text, size_t bytes, evener_file_endpoints *endpoints,
                                           evener_status *status)
{
    char *const end = text + bytes;
    if (strncmp(text, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0) {
        text += strlen(BYTE_ORDER_MARK);
    }
    evener_file_place place = {.path = path};
    evener_status_code code = EVENER_STATUS_OK;
    for (char *line = text; line < end && code == EVENER_STATUS_OK;) {
        char *line_end = memchr(line, '\n', (size_t)(end - line));
        if (line_end == NULL) {
            line_end = end;
        }
        *line_end = '\0';
        place.line++;
        code = strlen(line) == (size_t)(line_end - line) ? parse_line(place, line, endpoints, status)
                                                         : refuse(place, status, "a NUL byte; this is no text file");
        line = line_end + 1;
    }
    return code;
}
