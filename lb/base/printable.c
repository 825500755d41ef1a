#include "lb/base/printable.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Return the length of the UTF-8 sequence at the beginning of the text and store its character. 0: not UTF-8 (RFC
 * 3629: no overlong forms, no surrogates, nothing above U+10FFFF). */
static size_t decode(const unsigned char *text, size_t bytes, uint32_t *character)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char first = text[0];
    if (first < 0x80) {
        *character = first;
        return 1;
    }
    const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || length > bytes) {
        return 0;
    }
    uint32_t c = first & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = c << 6 | (text[i] & 0x3fu);
    }
    if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return 0;
    }
    *character = c;
    return length;
}

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x061c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* Write the escape of one byte and return its length. */
static size_t escape(unsigned char byte, char out[4])
{
    static const char hex[] = "0123456789abcdef";
    static const char names[] = "\tt\nn\rr";
    out[0] = '\\';
    for (size_t i = 0; i + 1 < sizeof names; i += 2) {
        if ((unsigned char)names[i] == byte) {
            out[1] = names[i + 1];
            return 2;
        }
    }
    out[1] = 'x';
    out[2] = hex[byte >> 4];
    out[3] = hex[byte & 15];
    return 4;
}

size_t evener_printable(const char *text, size_t bytes, char *out, size_t room)
{
    const unsigned char *in = (const unsigned char *)text;
    size_t at = 0;
    size_t used = 0;
    while (at < bytes) {
        uint32_t character = 0;
        const size_t length = decode(in + at, bytes - at, &character);
        char piece[4];
        size_t piece_bytes = length;
        if (length > 0 && !is_control(character)) {
            memcpy(piece, in + at, length);
        } else {
            piece_bytes = escape(in[at], piece); /* in a longer character, the bytes that follow are not UTF-8 either */
        }
        if (room - used <= piece_bytes) {
            break;
        }
        memcpy(out + used, piece, piece_bytes);
        used += piece_bytes;
        at += length > 0 && !is_control(character) ? length : 1;
    }
    out[used] = '\0';
    return at;
}

bool evener_is_header_text(const char *text)
{
    while (*text >= ' ' && *text <= '~') {
        text++;
    }
    return *text == '\0';
}

bool evener_is_authority(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-._~%!$&'()*+,;=:[]";
    return text[strspn(text, allowed)] == '\0';
}
