#include "lb/base/config_numbers.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"
#define HEX_DIGITS DIGITS "abcdefABCDEF"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define NAME_BYTES LETTERS DIGITS "-_*"

typedef enum token_kind { OTHER, WHOLE_NUMBER, TOO_LARGE } token_kind;

typedef struct token {
    size_t bytes;
    token_kind kind;
} token;

static size_t string_bytes(const char *text)
{
    size_t at = 1;
    while (text[at] != '\0' && text[at] != '"') {
        at += text[at] == '\\' && text[at + 1] != '\0' ? 2 : 1;
    }
    return text[at] == '"' ? at + 1 : at;
}

/* Return the length of the comment at `text`, or 0. */
static size_t comment_bytes(const char *text)
{
    if (text[0] == '#' || (text[0] == '/' && text[1] == '/')) {
        return strcspn(text, "\n");
    }
    if (text[0] == '/' && text[1] == '*') {
        const char *end = strstr(text + 2, "*/");
        return end != NULL ? (size_t)(end - text) + 2 : strlen(text);
    }
    return 0;
}

static bool fits(const char *text, int base)
{
    const int before = errno;
    errno = 0;
    (void)strtoll(text, NULL, base);
    const bool fit = errno == 0;
    errno = before;
    return fit;
}

/* Return the number at `text`: OTHER for what libconfig takes for a float, has a suffix, or refuses. */
static token number_at(const char *text)
{
    const size_t sign = text[0] == '+' || text[0] == '-' ? 1 : 0;
    const bool is_hex = sign == 0 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const size_t digits = is_hex ? strspn(text + 2, HEX_DIGITS) : strspn(text + sign, DIGITS);
    const size_t bytes = is_hex ? 2 + digits : sign + digits;
    if (digits == 0) {
        return (token){1, OTHER};
    }
    const char next = text[bytes];
    if (!is_hex && (next == '.' || next == 'e' || next == 'E')) {
        return (token){bytes + strspn(text + bytes, DIGITS ".eE+-"), OTHER};
    }
    if (!fits(text, is_hex ? 16 : 10)) {
        return (token){bytes, TOO_LARGE};
    }
    if (next != '\0' && strchr(NAME_BYTES, next) != NULL) {
        return (token){bytes + strspn(text + bytes, NAME_BYTES), OTHER};
    }
    return (token){bytes, WHOLE_NUMBER};
}

static token token_at(const char *text)
{
    const size_t comment = comment_bytes(text);
    if (comment > 0) {
        return (token){comment, OTHER};
    }
    if (text[0] == '"') {
        return (token){string_bytes(text), OTHER};
    }
    if (text[0] == '.') {
        return (token){1 + strspn(text + 1, DIGITS "eE+-"), OTHER};
    }
    if (strchr(LETTERS "_*", text[0]) != NULL) {
        return (token){strspn(text, NAME_BYTES), OTHER};
    }
    return number_at(text);
}

static size_t count_lines(const char *from, const char *to)
{
    size_t lines = 0;
    for (; from < to; from++) {
        lines += *from == '\n';
    }
    return lines;
}

char *evener_config_widen_numbers(const char *text, size_t *bad_line)
{
    size_t numbers = 0;
    *bad_line = 0;
    for (const char *at = text; *at != '\0';) {
        const token found = token_at(at);
        if (found.kind == TOO_LARGE) {
            *bad_line = 1 + count_lines(text, at);
            return NULL;
        }
        numbers += found.kind == WHOLE_NUMBER;
        at += found.bytes;
    }
    char *widened = malloc(strlen(text) + numbers + 1);
    if (widened == NULL) {
        return NULL;
    }
    char *to = widened;
    for (const char *at = text; *at != '\0';) {
        const token found = token_at(at);
        memcpy(to, at, found.bytes);
        to += found.bytes;
        at += found.bytes;
        if (found.kind == WHOLE_NUMBER) {
            *to++ = 'L';
        }
    }
    *to = '\0';
    return widened;
}
