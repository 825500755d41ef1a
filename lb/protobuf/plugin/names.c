#include "lb/protobuf/plugin/names.h"

#include <stddef.h>
#include <string.h>

/* Not those of ctype.h, which depend on the locale. */
static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_letter(char c)
{
    return is_upper(c) || (c >= 'a' && c <= 'z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void add_char(text *to, char c)
{
    text_add_bytes(to, &c, 1);
}

void names_add_type(text *to, const char *full_name)
{
    bool starts_word = true;
    for (const char *c = full_name; *c != '\0'; c++) {
        if (*c == '.') {
            text_add(to, "__");
            starts_word = true;
        } else if (*c == '_') {
            starts_word = true;
        } else {
            add_char(to, starts_word && *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c);
            starts_word = false;
        }
    }
}

void names_add_lower(text *to, const char *full_name, const char *separator)
{
    bool was_upper = true; /* no underscore before the first letter */
    for (const char *c = full_name; *c != '\0'; c++) {
        if (*c == '.') {
            text_add(to, separator);
            was_upper = true;
        } else {
            if (is_upper(*c) && !was_upper) {
                add_char(to, '_');
            }
            was_upper = is_upper(*c);
            add_char(to, was_upper ? (char)(*c - 'A' + 'a') : *c);
        }
    }
}

bool names_is_identifier(const char *name)
{
    if (name == NULL || !is_letter(name[0])) {
        return false;
    }
    while (is_letter(*name) || is_digit(*name)) {
        name++;
    }
    return *name == '\0';
}

bool names_is_full(const char *name)
{
    for (;; name++) {
        if (name == NULL || !is_letter(*name)) {
            return false;
        }
        while (is_letter(*name) || is_digit(*name)) {
            name++;
        }
        if (*name != '.') {
            return *name == '\0';
        }
    }
}

bool names_is_reserved(const char *identifier)
{
    static const char *const reserved[] = {
        "and_eq",           "atomic_load",   "atomic_store", "co_await",     "co_return",
        "co_yield",         "const_cast",    "dynamic_cast", "not_eq",       "or_eq",
        "reinterpret_cast", "static_assert", "static_cast",  "thread_local", "typeof_unqual",
        "va_arg",           "va_copy",       "va_end",       "va_start",     "xor_eq",
    };
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcmp(identifier, reserved[i]) == 0) {
            return true;
        }
    }
    const size_t length = strlen(identifier); /* types of the C library and of POSIX */
    return length > 2 && strcmp(identifier + length - 2, "_t") == 0;
}
