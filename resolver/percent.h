/* Percent-encoding (RFC 3986 section 2.1), as targets, lists and files use it. */
#ifndef EVENER_RESOLVER_PERCENT_H
#define EVENER_RESOLVER_PERCENT_H

#include <stdbool.h>

/* The value of a hexadecimal digit; -1 for anything else. */
static inline int evener_percent_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Decodes in place. False at a '%' without two hexadecimal digits, and at %00. */
static inline bool evener_percent_decode(char *text)
{
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        if (*in != '%') {
            *out++ = *in;
            continue;
        }
        const int high = evener_percent_digit(in[1]);
        const int low = high >= 0 ? evener_percent_digit(in[2]) : -1;
        if (low < 0 || high + low == 0) {
            return false;
        }
        *out++ = (char)(high * 16 + low);
        in += 2;
    }
    *out = '\0';
    return true;
}

#endif
