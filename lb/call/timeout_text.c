/* The text of grpc-timeout (grpc: PROTOCOL-HTTP2.md). */
#include <evener/call.h>

#define DIGITS_MAX 8

bool evener_timeout_parse(const char *text, uint64_t *timeout_ms)
{
    uint64_t number = 0;
    int digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9' && digits <= DIGITS_MAX; digits++) {
        number = number * 10 + (uint64_t)(text[digits] - '0');
    }
    if (digits == 0 || digits > DIGITS_MAX || text[digits] == '\0' || text[digits + 1] != '\0') {
        return false;
    }
    uint64_t ms;
    switch (text[digits]) {
    case 'H':
        ms = number * 3600000;
        break;
    case 'M':
        ms = number * 60000;
        break;
    case 'S':
        ms = number * 1000;
        break;
    case 'm':
        ms = number;
        break;
    case 'u':
        ms = (number + 999) / 1000;
        break;
    case 'n':
        ms = (number + 999999) / 1000000;
        break;
    default:
        return false;
    }
    *timeout_ms = ms > 0 ? ms : 1; /* 0 would be no timeout */
    return true;
}
