/* Foreign text on a terminal or in a log: one line, no control sequence for a terminal, UTF-8 as it is. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "lb/base/printable.h"

static const struct {
    const char *text;
    const char *printed;
} cases[] = {
    {"", ""},
    {"plain text, 50% \\ \"quoted\"", "plain text, 50% \\ \"quoted\""},
    {"Grüße, 東京, 🙂", "Grüße, 東京, 🙂"},
    {"\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"},
    {"one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"},
    {"\x01\x1f\x7f", "\\x01\\x1f\\x7f"},
    {"\xc2\x9b"
     "31m",
     "\\xc2\\x9b31m"}, /* CSI as a C1 control */
    {"\x9b"
     "31m",
     "\\x9b31m"}, /* the same for an 8-bit terminal */
    {"\xc2\xa0\xc2\x80", "\xc2\xa0\\xc2\\x80"},
    {"a\xe2\x80\xa8"
     "b\xe2\x80\xae"
     "c\xe2\x81\xa6",
     "a\\xe2\\x80\\xa8b\\xe2\\x80\\xaec\\xe2\\x81\\xa6"},
    {"\xc0\x8a \xe0\x80\x8a \xed\xa0\x80 \xf5\x80\x80\x80 \xc3", /* overlong line feeds, a surrogate, too high, cut */
     "\\xc0\\x8a \\xe0\\x80\\x8a \\xed\\xa0\\x80 \\xf5\\x80\\x80\\x80 \\xc3"},
};

Test(printable, controls_are_escaped_and_text_stays)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[256];
        const size_t bytes = strlen(cases[i].text);
        cr_expect_eq(evener_printable(cases[i].text, bytes, out, sizeof out), bytes);
        cr_expect_str_eq(out, cases[i].printed);
    }
}

Test(printable, zero_bytes_are_escaped)
{
    char out[16];
    cr_expect_eq(evener_printable("a\0b", 3, out, sizeof out), 3);
    cr_expect_str_eq(out, "a\\x00b");
}

/* With any room, the pieces together are the whole, and no piece ends inside a character or an escape. */
Test(printable, pieces_make_the_whole)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t room = 5; room < 20; room++) {
            char whole[256] = "";
            const char *text = cases[i].text;
            size_t left = strlen(text);
            while (left > 0) {
                char piece[32];
                memset(piece, '?', sizeof piece);
                const size_t taken = evener_printable(text, left, piece, room);
                cr_assert(taken > 0 && taken <= left);
                cr_assert_lt(strlen(piece), room);
                cr_assert_eq(piece[room], '?', "nothing is written past the room");
                strcat(whole, piece);
                text += taken;
                left -= taken;
            }
            cr_expect_str_eq(whole, cases[i].printed, "in pieces of %zu", room);
        }
    }
}
