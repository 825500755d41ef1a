/* Percent-encoding (RFC 3986 section 2.1) of targets, lists and files. */
#ifndef EVENER_RESOLVER_PERCENT_H
#define EVENER_RESOLVER_PERCENT_H

#include <stdbool.h>

/* Return the value of a hexadecimal digit; -1 for other characters. */
static inline int evener_percent_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Decode in place. False if a '%' is not followed by two hexadecimal digits, or at %00. */
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
