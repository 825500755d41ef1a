#include "lb/protobuf/json_values.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/c_locale.h"

#define INTEGER_DIGITS_MAX 20 /* of 2^64 - 1 */
#define EXPONENT_MAX 100000   /* larger ones count as this */
#define NUMBER_TEXT_MAX 512   /* longer numbers are copied to the heap */

/* ---- numbers ---- */

/* The parts of a number in JSON's syntax. */
typedef struct number_parts {
    bool negative;
    const char *whole, *fraction; /* digits */
    size_t whole_digits, fraction_digits;
    int exponent;
} number_parts;

static size_t count_digits(const char *text, const char *end)
{
    size_t digits = 0;
    while (text + digits < end && text[digits] >= '0' && text[digits] <= '9') {
        digits++;
    }
    return digits;
}

static bool split_number(const char *text, size_t length, number_parts *parts)
{
    const char *at = text, *end = text + length;
    *parts = (number_parts){.negative = length > 0 && *at == '-'};
    at += parts->negative;
    parts->whole = at;
    parts->whole_digits = count_digits(at, end);
    if (parts->whole_digits == 0 || (parts->whole_digits > 1 && *at == '0')) {
        return false;
    }
    at += parts->whole_digits;
    if (at < end && *at == '.') {
        parts->fraction = at + 1;
        parts->fraction_digits = count_digits(at + 1, end);
        at += 1 + parts->fraction_digits;
        if (parts->fraction_digits == 0) {
            return false;
        }
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        const bool negative = at < end && *at == '-';
        at += at < end && (*at == '-' || *at == '+');
        const size_t digits = count_digits(at, end);
        if (digits == 0) {
            return false;
        }
        for (size_t i = 0; i < digits; i++) {
            parts->exponent = parts->exponent < EXPONENT_MAX ? 10 * parts->exponent + (at[i] - '0') : EXPONENT_MAX;
        }
        parts->exponent = negative ? -parts->exponent : parts->exponent;
        at += digits;
    }
    return at == end;
}

/* Return digit `i` of all digits, whole and fraction. */
static unsigned digit_at(const number_parts *parts, size_t i)
{
    return (unsigned)(i < parts->whole_digits ? parts->whole[i] : parts->fraction[i - parts->whole_digits]) - '0';
}

bool evener_integer_read(const char *text, size_t length, bool *negative, uint64_t *magnitude)
{
    number_parts parts;
    if (!split_number(text, length, &parts)) {
        return false;
    }
    size_t first = 0, digits = parts.whole_digits + parts.fraction_digits;
    int64_t scale = (int64_t)parts.exponent - (int64_t)parts.fraction_digits; /* of the last digit */
    while (digits > first && digit_at(&parts, digits - 1) == 0) {
        digits--;
        scale++;
    }
    while (first < digits && digit_at(&parts, first) == 0) {
        first++;
    }
    *negative = parts.negative;
    *magnitude = 0;
    if (first == digits) {
        return true; /* zero */
    }
    if (scale < 0 || digits - first > INTEGER_DIGITS_MAX || scale > INTEGER_DIGITS_MAX) {
        return false;
    }
    for (size_t i = first; i < digits + (size_t)scale; i++) {
        const unsigned digit = i < digits ? digit_at(&parts, i) : 0;
        if (*magnitude > (UINT64_MAX - digit) / 10) {
            return false;
        }
        *magnitude = *magnitude * 10 + digit;
    }
    return true;
}

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

bool evener_double_read(const char *text, size_t length, bool words, double *value)
{
    char copy[NUMBER_TEXT_MAX], *number = copy;
    number_parts parts;
    if (words && is_word(text, length, "NaN")) {
        *value = (double)NAN;
        return true;
    }
    if (words && (is_word(text, length, "Infinity") || is_word(text, length, "-Infinity"))) {
        *value = text[0] == '-' ? -(double)INFINITY : (double)INFINITY;
        return true;
    }
    if (!split_number(text, length, &parts)) {
        return false;
    }
    if (length >= sizeof copy && (number = malloc(length + 1)) == NULL) {
        return false;
    }
    memcpy(number, text, length);
    number[length] = '\0';
    *value = strtod_l(number, NULL, evener_c_locale());
    if (number != copy) {
        free(number);
    }
    return isfinite(*value);
}

static bool write_special(double value, char text[EVENER_NUMBER_BYTES])
{
    if (isfinite(value)) {
        return false;
    }
    strcpy(text, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    return true;
}

void evener_double_write(double value, char text[EVENER_NUMBER_BYTES])
{
    if (write_special(value, text)) {
        return;
    }
    for (int digits = DBL_DIG; digits <= DBL_DECIMAL_DIG; digits++) {
        evener_snprintf(text, EVENER_NUMBER_BYTES, "%.*g", digits, value);
        if (strtod_l(text, NULL, evener_c_locale()) == value) {
            return;
        }
    }
}

void evener_float_write(float value, char text[EVENER_NUMBER_BYTES])
{
    if (write_special((double)value, text)) {
        return;
    }
    for (int digits = FLT_DIG; digits <= FLT_DECIMAL_DIG; digits++) {
        evener_snprintf(text, EVENER_NUMBER_BYTES, "%.*g", digits, (double)value);
        if (strtof_l(text, NULL, evener_c_locale()) == value) {
            return;
        }
    }
}

/* ---- base64 ---- */

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+' || c == '-' ? 62
           : c == '/' || c == '_' ? 63
                                  : -1;
}

bool evener_base64_read(const char *text, size_t length, evener_wire_buffer *to)
{
    size_t padding = 0;
    while (padding < 2 && length > 0 && text[length - 1] == '=') {
        length--;
        padding++;
    }
    if (length % 4 == 1 || (padding > 0 && (length + padding) % 4 != 0)) {
        return false;
    }
    uint32_t bits = 0;
    for (size_t i = 0; i < length; i++) {
        const int digit = base64_digit(text[i]);
        if (digit < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 != 0) {
            evener_wire_put_byte(to, (uint8_t)(bits >> (6 - 2 * (i % 4))));
        }
    }
    return true;
}

/* ---- times ---- */

#define NANOS_PER_SECOND 1000000000
#define SECONDS_PER_DAY 86400
#define TIMESTAMP_MIN INT64_C(-62135596800) /* 0001-01-01T00:00:00Z */
#define TIMESTAMP_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define DURATION_MAX INT64_C(315576000000)  /* 10,000 years */

/* Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": days since 1970-01-01 of a Gregorian date. */
static int64_t days_of(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    const int64_t era = (year >= 0 ? year : year - 399) / 400;
    const unsigned of_era = (unsigned)(year - era * 400);
    const unsigned of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + (int64_t)(of_era * 365 + of_era / 4 - of_era / 100 + of_year) - 719468;
}

static void date_of(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    const unsigned of_era = (unsigned)(days - era * 146097);
    const unsigned years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const unsigned of_year = of_era - (365 * years + years / 4 - years / 100);
    const unsigned shifted = (5 * of_year + 2) / 153;
    *day = of_year - (153 * shifted + 2) / 5 + 1;
    *month = shifted < 10 ? shifted + 3 : shifted - 9;
    *year = (int64_t)years + era * 400 + (*month <= 2);
}

static unsigned days_in_month(int64_t year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

/* What is left of a text. */
typedef struct cursor {
    const char *at, *end;
} cursor;

static bool take(cursor *c, char expected)
{
    if (c->at < c->end && *c->at == expected) {
        c->at++;
        return true;
    }
    return false;
}

/* Read exactly `digits` digits. */
static bool take_number(cursor *c, size_t digits, unsigned *value)
{
    *value = 0;
    for (size_t i = 0; i < digits; i++, c->at++) {
        if (c->at == c->end || *c->at < '0' || *c->at > '9') {
            return false;
        }
        *value = *value * 10 + (unsigned)(*c->at - '0');
    }
    return true;
}

/* Read an optional fraction of 1 to 9 digits. */
static bool take_fraction(cursor *c, int32_t *nanos)
{
    *nanos = 0;
    if (!take(c, '.')) {
        return true;
    }
    const size_t digits = count_digits(c->at, c->end);
    unsigned value;
    if (digits < 1 || digits > 9 || !take_number(c, digits, &value)) {
        return false;
    }
    for (size_t i = digits; i < 9; i++) {
        value *= 10;
    }
    *nanos = (int32_t)value;
    return true;
}

bool evener_timestamp_read(const char *text, size_t length, int64_t *seconds, int32_t *nanos)
{
    cursor c = {text, text + length};
    unsigned year, month, day, hour, minute, second, offset_hours = 0, offset_minutes = 0;
    if (!take_number(&c, 4, &year) || !take(&c, '-') || !take_number(&c, 2, &month) || !take(&c, '-') ||
        !take_number(&c, 2, &day) || !take(&c, 'T') || !take_number(&c, 2, &hour) || !take(&c, ':') ||
        !take_number(&c, 2, &minute) || !take(&c, ':') || !take_number(&c, 2, &second) || !take_fraction(&c, nanos)) {
        return false;
    }
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 || minute > 59 ||
        second > 59) {
        return false;
    }
    int64_t offset_sign = 0;
    if (!take(&c, 'Z')) {
        offset_sign = take(&c, '+') ? 1 : take(&c, '-') ? -1 : 0;
        if (offset_sign == 0 || !take_number(&c, 2, &offset_hours) || !take(&c, ':') ||
            !take_number(&c, 2, &offset_minutes) || offset_hours > 23 || offset_minutes > 59) {
            return false;
        }
    }
    *seconds = days_of(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second -
               offset_sign * (int64_t)(offset_hours * 3600 + offset_minutes * 60);
    return c.at == c.end && *seconds >= TIMESTAMP_MIN && *seconds <= TIMESTAMP_MAX;
}

/* Append ".5", ".500" and so on: 0, 3, 6 or 9 digits. */
static void write_fraction(uint32_t nanos, char *to)
{
    if (nanos == 0) {
        *to = '\0';
    } else if (nanos % 1000000 == 0) {
        evener_snprintf(to, 12, ".%03u", nanos / 1000000);
    } else if (nanos % 1000 == 0) {
        evener_snprintf(to, 12, ".%06u", nanos / 1000);
    } else {
        evener_snprintf(to, 12, ".%09u", nanos);
    }
}

bool evener_timestamp_write(int64_t seconds, int32_t nanos, char text[EVENER_TIME_BYTES])
{
    if (seconds < TIMESTAMP_MIN || seconds > TIMESTAMP_MAX || nanos < 0 || nanos >= NANOS_PER_SECOND) {
        return false;
    }
    int64_t days = seconds / SECONDS_PER_DAY, of_day = seconds % SECONDS_PER_DAY, year;
    unsigned month, day;
    if (of_day < 0) {
        of_day += SECONDS_PER_DAY;
        days--;
    }
    date_of(days, &year, &month, &day);
    const unsigned rest = (unsigned)of_day;
    const int length = evener_snprintf(text, EVENER_TIME_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u", (unsigned)year, month,
                                       day, rest / 3600, rest / 60 % 60, rest % 60);
    write_fraction((uint32_t)nanos, text + length);
    strcat(text, "Z");
    return true;
}

bool evener_duration_read(const char *text, size_t length, int64_t *seconds, int32_t *nanos)
{
    cursor c = {text, text + length};
    const bool negative = take(&c, '-');
    const size_t digits = count_digits(c.at, c.end);
    if (digits < 1 || digits > 12) {
        return false;
    }
    *seconds = 0;
    for (size_t i = 0; i < digits; i++) {
        *seconds = *seconds * 10 + (*c.at++ - '0');
    }
    if (!take_fraction(&c, nanos) || !take(&c, 's') || c.at != c.end || *seconds > DURATION_MAX) {
        return false;
    }
    *seconds = negative ? -*seconds : *seconds;
    *nanos = negative ? -*nanos : *nanos;
    return true;
}

bool evener_duration_write(int64_t seconds, int32_t nanos, char text[EVENER_TIME_BYTES])
{
    if (seconds < -DURATION_MAX || seconds > DURATION_MAX || nanos <= -NANOS_PER_SECOND || nanos >= NANOS_PER_SECOND ||
        (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0)) {
        return false;
    }
    const bool negative = seconds < 0 || nanos < 0;
    const int length = evener_snprintf(text, EVENER_TIME_BYTES, "%s%lld", negative ? "-" : "",
                                       (long long)(seconds < 0 ? -seconds : seconds));
    write_fraction((uint32_t)(nanos < 0 ? -nanos : nanos), text + length);
    strcat(text, "s");
    return true;
}

/* ---- field masks ---- */

bool evener_mask_path_read(const char *text, size_t length, evener_wire_buffer *to)
{
    for (size_t i = 0; i < length; i++) {
        const char c = text[i];
        if (c == '_') {
            return false;
        }
        if (c >= 'A' && c <= 'Z') {
            evener_wire_put_byte(to, '_');
        }
        evener_wire_put_byte(to, (uint8_t)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c));
    }
    return true;
}

bool evener_mask_path_write(const char *text, size_t length, evener_wire_buffer *to)
{
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '_') {
            if (++i == length || text[i] < 'a' || text[i] > 'z') {
                return false;
            }
            c = (char)(text[i] - 'a' + 'A');
        } else if ((c >= 'A' && c <= 'Z') || c == ',') {
            return false;
        }
        evener_wire_put_byte(to, (uint8_t)c);
    }
    return true;
}
