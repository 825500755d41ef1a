#include "lb/protobuf/json_text.h"

#include <string.h>

/* ---- reading ---- */

static void skip_whitespace(evener_json_reader *reader)
{
    while (reader->at < reader->end &&
           (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' || *reader->at == '\r')) {
        reader->at++;
    }
}

char evener_json_peek(evener_json_reader *reader)
{
    skip_whitespace(reader);
    return reader->at < reader->end ? *reader->at : '\0';
}

bool evener_json_take(evener_json_reader *reader, char c)
{
    if (reader->at < reader->end && evener_json_peek(reader) == c && reader->at < reader->end) {
        reader->at++;
        return true;
    }
    return false;
}

bool evener_json_fail(evener_json_reader *reader, const char *problem)
{
    if (reader->problem == NULL) {
        reader->problem = problem;
    }
    return false;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Return the four hexadecimal digits at `text`, or -1. */
static int32_t hex4(const char *text, const char *end)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        const int digit = end - text > i ? hex_digit(text[i]) : -1;
        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

static bool is_high_surrogate(int32_t c)
{
    return c >= 0xd800 && c < 0xdc00;
}

static bool is_low_surrogate(int32_t c)
{
    return c >= 0xdc00 && c < 0xe000;
}

/* Check the escape behind a backslash, and step over it. */
static bool check_escape(evener_json_reader *reader)
{
    static const char escapes[] = {'"', '\\', '/', 'b', 'f', 'n', 'r', 't', 'u'};
    if (reader->at == reader->end || memchr(escapes, *reader->at, sizeof escapes) == NULL) {
        return evener_json_fail(reader, "the string has an unknown escape");
    }
    if (*reader->at++ != 'u') {
        return true;
    }
    const int32_t c = hex4(reader->at, reader->end);
    if (c < 0) {
        return evener_json_fail(reader, "four hexadecimal digits are needed after \\u");
    }
    if (is_low_surrogate(c) ||
        (is_high_surrogate(c) && !(reader->end - reader->at >= 10 && reader->at[4] == '\\' && reader->at[5] == 'u' &&
                                   is_low_surrogate(hex4(reader->at + 6, reader->end))))) {
        return evener_json_fail(reader, "the string has half of a surrogate pair");
    }
    reader->at += is_high_surrogate(c) ? 10 : 4;
    return true;
}

bool evener_json_string(evener_json_reader *reader, evener_json_slice *raw)
{
    if (!evener_json_take(reader, '"')) {
        return evener_json_fail(reader, "a string is needed");
    }
    const char *start = reader->at;
    bool ascii = true;
    while (reader->at < reader->end && *reader->at != '"') {
        const unsigned char c = (unsigned char)*reader->at;
        if (c < 0x20) {
            return evener_json_fail(reader, "a control character in a string is written as an escape");
        }
        reader->at++;
        ascii = ascii && c < 0x80;
        if (c == '\\' && !check_escape(reader)) {
            return false;
        }
    }
    if (reader->at == reader->end) {
        return evener_json_fail(reader, "the string does not end");
    }
    *raw = (evener_json_slice){start, (size_t)(reader->at - start)};
    if (!ascii && !evener_utf8_is_valid((const uint8_t *)start, raw->length)) {
        reader->at = start;
        return evener_json_fail(reader, "the string is not UTF-8");
    }
    reader->at++;
    return true;
}

static size_t encode_utf8(uint32_t c, uint8_t to[4])
{
    if (c < 0x80) {
        to[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (uint8_t)(0xc0 | c >> 6);
        to[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (uint8_t)(0xe0 | c >> 12);
        to[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        to[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    to[0] = (uint8_t)(0xf0 | c >> 18);
    to[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    to[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    to[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

/* Decode the escape at `text`, behind the backslash, and return how many characters it has. */
static size_t decode_escape(const char *text, const char *end, uint32_t *c)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (*text != 'u') {
        *c = (uint32_t)meanings[strchr(letters, *text) - letters];
        return 1;
    }
    const int32_t unit = hex4(text + 1, end);
    if (!is_high_surrogate(unit)) {
        *c = (uint32_t)unit;
        return 5;
    }
    *c = (uint32_t)(0x10000 + ((unit - 0xd800) << 10) + (hex4(text + 7, end) - 0xdc00));
    return 11;
}

void evener_json_unescape(evener_json_slice raw, evener_wire_buffer *to)
{
    const char *at = raw.text, *end = raw.text + raw.length;
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        const char *plain_end = escape != NULL ? escape : end;
        evener_wire_put(to, at, (size_t)(plain_end - at));
        at = plain_end;
        if (escape != NULL) {
            uint32_t c;
            uint8_t bytes[4];
            at += 1 + decode_escape(escape + 1, end, &c);
            evener_wire_put(to, bytes, encode_utf8(c, bytes));
        }
    }
}

bool evener_json_equals(evener_json_slice raw, const char *text)
{
    const char *at = raw.text, *end = raw.text + raw.length;
    while (at < end) {
        uint32_t c = (unsigned char)*at;
        if (c != '\\') {
            at++;
        } else {
            at += 1 + decode_escape(at + 1, end, &c);
        }
        if (*text == '\0' || c != (unsigned char)*text++) { /* `text` is ASCII */
            return false;
        }
    }
    return *text == '\0';
}

static bool is_digit(const evener_json_reader *reader)
{
    return reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9';
}

static bool take_digits(evener_json_reader *reader)
{
    if (!is_digit(reader)) {
        return evener_json_fail(reader, "a digit is needed");
    }
    while (is_digit(reader)) {
        reader->at++;
    }
    return true;
}

bool evener_json_number(evener_json_reader *reader, evener_json_slice *number)
{
    (void)evener_json_peek(reader);
    const char *start = reader->at;
    if (reader->at < reader->end && *reader->at == '-') {
        reader->at++;
    }
    const bool zero = reader->at < reader->end && *reader->at == '0';
    if (!take_digits(reader)) {
        return false;
    }
    if (zero && reader->at - start > (*start == '-') + 1) {
        return evener_json_fail(reader, "a number does not begin with 0");
    }
    if (reader->at < reader->end && *reader->at == '.') {
        reader->at++;
        if (!take_digits(reader)) {
            return false;
        }
    }
    if (reader->at < reader->end && (*reader->at == 'e' || *reader->at == 'E')) {
        reader->at++;
        if (reader->at < reader->end && (*reader->at == '+' || *reader->at == '-')) {
            reader->at++;
        }
        if (!take_digits(reader)) {
            return false;
        }
    }
    *number = (evener_json_slice){start, (size_t)(reader->at - start)};
    return true;
}

bool evener_json_word(evener_json_reader *reader, const char *word)
{
    const size_t length = strlen(word);
    (void)evener_json_peek(reader);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0) {
        return evener_json_fail(reader, "a value is needed");
    }
    reader->at += length;
    return true;
}

bool evener_json_next_element(evener_json_reader *reader, char close, bool *first)
{
    if (reader->problem != NULL || evener_json_take(reader, close)) {
        return false;
    }
    if (*first) {
        *first = false;
        return true;
    }
    if (!evener_json_take(reader, ',')) {
        return evener_json_fail(reader, close == '}' ? "',' or '}' is needed" : "',' or ']' is needed");
    }
    return true;
}

bool evener_json_key(evener_json_reader *reader, evener_json_slice *raw)
{
    if (evener_json_peek(reader) != '"') {
        return evener_json_fail(reader, "a name in quotes is needed");
    }
    return evener_json_string(reader, raw) &&
           (evener_json_take(reader, ':') || evener_json_fail(reader, "':' is needed"));
}

bool evener_json_skip(evener_json_reader *reader, unsigned depth, bool *too_deep)
{
    const char c = evener_json_peek(reader);
    evener_json_slice ignored;
    bool first = true;
    if (c == '{' || c == '[') {
        const char close = c == '{' ? '}' : ']';
        if (depth == 0) {
            *too_deep = true;
            return evener_json_fail(reader, "too many levels");
        }
        reader->at++;
        while (evener_json_next_element(reader, close, &first)) {
            if ((c == '{' && !evener_json_key(reader, &ignored)) || !evener_json_skip(reader, depth - 1, too_deep)) {
                return false;
            }
        }
        return reader->problem == NULL;
    }
    if (c == '"') {
        return evener_json_string(reader, &ignored);
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        return evener_json_number(reader, &ignored);
    }
    return evener_json_word(reader, c == 't' ? "true" : c == 'f' ? "false" : "null");
}

evener_status_code evener_json_malformed(const evener_json_reader *reader, evener_status *status)
{
    size_t line = 1, column = 1;
    for (const char *c = reader->begin; c < reader->at; c++) {
        column = *c == '\n' ? 1 : column + (((unsigned char)*c & 0xc0) != 0x80); /* characters, not bytes */
        line += *c == '\n';
    }
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "malformed JSON at line %zu, column %zu: %s%s",
                             line, column, reader->problem != NULL ? reader->problem : "a value is needed",
                             reader->at == reader->end ? " (the text has ended)" : "");
}

/* ---- writing ---- */

static void new_line(evener_json_writer *writer)
{
    if (writer->indent > 0) {
        evener_wire_put_byte(&writer->text, '\n');
        for (unsigned i = 0; i < writer->indent * writer->depth && !writer->text.failed; i++) {
            evener_wire_put_byte(&writer->text, ' ');
        }
    }
}

void evener_json_open(evener_json_writer *writer, char bracket)
{
    evener_wire_put_byte(&writer->text, (uint8_t)bracket);
    writer->depth++;
    writer->separate = false;
}

void evener_json_close(evener_json_writer *writer, char bracket)
{
    writer->depth--;
    if (writer->separate) {
        new_line(writer);
    }
    evener_wire_put_byte(&writer->text, (uint8_t)bracket);
    writer->separate = true;
}

void evener_json_element(evener_json_writer *writer)
{
    if (writer->separate) {
        evener_wire_put_byte(&writer->text, ',');
    }
    new_line(writer);
    writer->separate = true;
}

void evener_json_member(evener_json_writer *writer, const void *key, size_t length)
{
    evener_json_element(writer);
    evener_json_put_string(writer, key, length);
    evener_wire_put(&writer->text, ": ", writer->indent > 0 ? 2 : 1);
}

void evener_json_plain(evener_json_writer *writer, const char *text)
{
    evener_wire_put(&writer->text, text, strlen(text));
}

static void put_escape(evener_json_writer *writer, uint8_t c)
{
    static const char escaped[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    static const char digits[] = "0123456789abcdef";
    const char *found = c != '\0' ? strchr(escaped, c) : NULL;
    if (found != NULL) {
        evener_wire_put_byte(&writer->text, '\\');
        evener_wire_put_byte(&writer->text, (uint8_t)letters[found - escaped]);
    } else {
        const char text[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
        evener_wire_put(&writer->text, text, sizeof text);
    }
}

void evener_json_put_string(evener_json_writer *writer, const void *text, size_t length)
{
    const uint8_t *at = length > 0 ? text : (const uint8_t *)"", *end = at + length;
    evener_wire_put_byte(&writer->text, '"');
    while (at < end) {
        const uint8_t *plain = at;
        while (at < end && *at >= 0x20 && *at != '"' && *at != '\\' && *at != 0x7f) {
            at++;
        }
        evener_wire_put(&writer->text, plain, (size_t)(at - plain));
        if (at < end) {
            put_escape(writer, *at++);
        }
    }
    evener_wire_put_byte(&writer->text, '"');
}

void evener_json_put_base64(evener_json_writer *writer, const uint8_t *data, size_t length)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t digits = (length + 2) / 3 * 4;
    uint8_t *to = evener_wire_extend(&writer->text, digits + 2);
    if (to == NULL) {
        return;
    }
    *to++ = '"';
    for (size_t i = 0; i < length; i += 3) {
        const size_t left = length - i;
        const uint32_t bits = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                              (left > 2 ? (uint32_t)data[i + 2] : 0);
        *to++ = (uint8_t)alphabet[bits >> 18];
        *to++ = (uint8_t)alphabet[bits >> 12 & 63];
        *to++ = (uint8_t)(left > 1 ? alphabet[bits >> 6 & 63] : '=');
        *to++ = (uint8_t)(left > 2 ? alphabet[bits & 63] : '=');
    }
    *to = '"';
}
