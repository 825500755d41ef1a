#include "lb/base/config_numbers.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Every number up to here fits; longer ones are read to see. */
#define SAFE_DIGITS 18
#define SAFE_HEX_DIGITS 15

/* Comparisons instead of strspn(), which makes a table of its set at each call: a list has millions of tokens. */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex_digit(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '*';
}

static bool is_name_byte(char c)
{
    return is_name_start(c) || is_digit(c) || c == '-';
}

static bool is_exponent_byte(char c)
{
    return is_digit(c) || c == 'e' || c == 'E' || c == '+' || c == '-';
}

static bool is_float_byte(char c)
{
    return is_exponent_byte(c) || c == '.';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static inline size_t span(const char *text, bool (*is_in)(char c))
{
    size_t bytes = 0;
    while (is_in(text[bytes])) {
        bytes++;
    }
    return bytes;
}

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
    const size_t digits = is_hex ? span(text + 2, is_hex_digit) : span(text + sign, is_digit);
    const size_t bytes = is_hex ? 2 + digits : sign + digits;
    if (digits == 0) {
        return (token){1, OTHER};
    }
    const char next = text[bytes];
    if (!is_hex && (next == '.' || next == 'e' || next == 'E')) {
        return (token){bytes + span(text + bytes, is_float_byte), OTHER};
    }
    if (digits > (is_hex ? SAFE_HEX_DIGITS : SAFE_DIGITS) && !fits(text, is_hex ? 16 : 10)) {
        return (token){bytes, TOO_LARGE};
    }
    if (is_name_byte(next)) {
        return (token){bytes + span(text + bytes, is_name_byte), OTHER};
    }
    return (token){bytes, WHOLE_NUMBER};
}

static token token_at(const char *text)
{
    if (is_blank(text[0])) {
        return (token){span(text, is_blank), OTHER};
    }
    const size_t comment = comment_bytes(text);
    if (comment > 0) {
        return (token){comment, OTHER};
    }
    if (text[0] == '"') {
        return (token){string_bytes(text), OTHER};
    }
    if (text[0] == '.') {
        return (token){1 + span(text + 1, is_exponent_byte), OTHER};
    }
    if (is_name_start(text[0])) {
        return (token){span(text, is_name_byte), OTHER};
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
    const size_t bytes = strlen(text);
    *bad_line = 0;
    /* With the separator or sign before it a number has at least two bytes. */
    char *widened = malloc(bytes + bytes / 2 + 2);
    char *to = widened;
    for (const char *at = text; widened != NULL && *at != '\0';) {
        const token found = token_at(at);
        if (found.kind == TOO_LARGE) {
            *bad_line = 1 + count_lines(text, at);
            free(widened);
            return NULL;
        }
        memcpy(to, at, found.bytes);
        to += found.bytes;
        at += found.bytes;
        if (found.kind == WHOLE_NUMBER) {
            *to++ = 'L';
        }
    }
    if (widened != NULL) {
        *to = '\0';
    }
    return widened;
}
