/* How gRPC writes things into headers: the pure functions. */
#include <criterion/criterion.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lb/transport/http2/compression.h"
#include "lb/transport/http2/headers.h"

Test(http2_headers, a_timeout_has_at_most_eight_digits_and_is_never_shorter)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } all[] = {{0, "0n"},
               {1, "1n"},
               {99999999, "99999999n"},
               {100000000, "100000u"},
               {100000001, "100001u"},
               {UINT64_C(99999999000), "99999999u"},
               {UINT64_C(99999999001), "100000m"},
               {UINT64_C(3600000000000), "3600000m"},
               {UINT64_C(99999999000000000), "99999999S"},
               {UINT64_C(99999999000000001), "1666667M"}, /* 1e8 s do not fit */
               {UINT64_C(5999999940000000000), "99999999M"},
               {UINT64_C(5999999940000000001), "1666667H"},
               {UINT64_MAX, "5124096H"}};
    char text[EVENER_HTTP2_TIMEOUT_BYTES];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const size_t bytes = evener_http2_timeout_write(all[i].ns, text);
        cr_assert_str_eq(text, all[i].text);
        cr_assert_eq(bytes, strlen(text));
    }
}

static void decodes(const char *from, const char *to)
{
    uint8_t text[64];
    const size_t bytes = evener_http2_percent_decode((const uint8_t *)from, strlen(from), text);
    cr_assert_eq(bytes, strlen(to));
    cr_assert_eq(memcmp(text, to, bytes), 0, "%s", from);
}

Test(http2_headers, percent_encoding_is_decoded_and_what_is_none_stays)
{
    decodes("", "");
    decodes("plain", "plain");
    decodes("a%20b%C3%a4", "a b\xc3\xa4");
    decodes("100%", "100%");
    decodes("%4", "%4");
    decodes("%zz%41", "%zzA");
    decodes("%%41", "%A");
    /* A text need not end with NUL: what follows it does not belong to it. */
    uint8_t text[8];
    cr_assert_eq(evener_http2_percent_decode((const uint8_t *)"a%20", 3, text), 3);
    cr_assert_eq(memcmp(text, "a%2", 3), 0);
}

Test(http2_headers, base64_is_read_with_and_without_padding_and_written_without)
{
    static const uint8_t data[] = {0xfb, 0xff, 0, 1};
    static const char *const written[] = {"", "+w", "+/8", "+/8A", "+/8AAQ"};
    static const char *const padded[] = {"", "+w==", "+/8=", "+/8A", "+/8AAQ=="};
    for (size_t i = 0; i <= 4; i++) {
        char text[16] = {0};
        uint8_t back[16];
        size_t bytes;
        const size_t length = evener_http2_base64_encode(data, i, text);
        cr_assert_eq(length, strlen(written[i]));
        cr_assert_str_eq(text, written[i]);
        cr_assert(evener_http2_base64_decode((const uint8_t *)written[i], length, back, &bytes));
        cr_assert(bytes == i && memcmp(back, data, i) == 0);
        cr_assert(evener_http2_base64_decode((const uint8_t *)padded[i], strlen(padded[i]), back, &bytes));
        cr_assert(bytes == i && memcmp(back, data, i) == 0);
    }
    static const char *const none[] = {"A", "AAAAA", "AA=A", "A===", "!AAA", "AA AA", "===="};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        uint8_t back[16];
        size_t bytes;
        cr_assert_not(evener_http2_base64_decode((const uint8_t *)none[i], strlen(none[i]), back, &bytes), "%s",
                      none[i]);
    }
}

Test(http2_headers, a_percent_sign_is_decoded_before_two_hexadecimal_digits_only)
{
    static const char digits[] = "0123456789abcdef";
    for (int c = 1; c < 256; c++) {
        const char *found = strchr("0123456789ABCDEF", c);
        const char *lower = strchr(digits, c);
        const int value = found != NULL   ? (int)(found - "0123456789ABCDEF")
                          : lower != NULL ? (int)(lower - digits)
                                          : -1;
        const uint8_t high[] = {'%', (uint8_t)c, '1'}, low[] = {'%', '1', (uint8_t)c};
        uint8_t text[3];
        cr_expect_eq(evener_http2_percent_decode(high, 3, text), value >= 0 ? 1 : 3, "%%%c1", c);
        cr_expect_eq(text[0], value >= 0 ? value << 4 | 1 : '%', "%%%c1", c);
        cr_expect_eq(evener_http2_percent_decode(low, 3, text), value >= 0 ? 1 : 3, "%%1%c", c);
        cr_expect_eq(text[0], value >= 0 ? 0x10 | value : '%', "%%1%c", c);
    }
}

Test(http2_headers, base64_has_64_digits_and_no_others)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int c = 0; c < 256; c++) {
        const char *found = c != 0 ? strchr(digits, c) : NULL;
        const uint8_t text[] = {(uint8_t)c, 'A'};
        uint8_t byte[8];
        size_t bytes = 0;
        cr_expect_eq(evener_http2_base64_decode(text, 2, byte, &bytes), found != NULL, "digit %d", c);
        if (found != NULL) {
            char back[4] = {0};
            const uint8_t value = (uint8_t)((found - digits) << 2);
            cr_expect(bytes == 1 && byte[0] == value, "digit %c", c);
            cr_expect_eq(evener_http2_base64_encode(&value, 1, back), 2);
            cr_expect_eq(back[0], c);
        }
    }
}

Test(http2_headers, a_grpc_status_is_a_number_and_one_that_is_no_code_is_unknown)
{
    static const struct {
        const char *text;
        uint32_t code;
    } good[] = {{"0", 0},  {"00", 0},  {"7", 7},  {"016", 16},        {"16", 16},
                {"17", 2}, {"160", 2}, {"99", 2}, {"42949672960", 2}, {"18446744073709551616", 2}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint32_t code = 99;
        cr_expect(evener_http2_grpc_status_read((const uint8_t *)good[i].text, strlen(good[i].text), &code), "%s",
                  good[i].text);
        cr_expect_eq(code, good[i].code, "%s: %u", good[i].text, code);
    }
    static const char *const bad[] = {"", "-1", "1x", "/", ":", " 1", "0x10"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t code = 99;
        cr_expect_not(evener_http2_grpc_status_read((const uint8_t *)bad[i], strlen(bad[i]), &code), "%s", bad[i]);
        cr_expect_eq(code, 99);
    }
}

/* ---- received metadata ---- */

Test(http2_headers, only_keys_that_end_with_bin_are_decoded)
{
    static const struct {
        const char *key, *value;
    } all[] = {{"x-bin", "a"},  {"a-b-bin", "a"}, {"-bin", "YQ"},  {"bin", "YQ"},    {"xxbin", "YQ"},   {"x-bim", "YQ"},
               {"x-ban", "YQ"}, {"x-din", "YQ"},  {"x_bin", "YQ"}, {"x-bins", "YQ"}, {"x-bin-x", "YQ"}, {"x", "YQ"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        evener_http2_metadata_in in = {0};
        evener_metadata entry;
        cr_assert(evener_http2_metadata_in_add(&in, (const uint8_t *)all[i].key, strlen(all[i].key),
                                               (const uint8_t *)"YQ", 2));
        cr_assert_eq(in.count, 1, "%s", all[i].key);
        evener_http2_metadata_in_list(&in, &entry);
        cr_expect_str_eq(entry.key, all[i].key);
        cr_expect_str_eq(entry.value, all[i].value, "%s", all[i].key);
        cr_expect_eq(entry.value_bytes, strlen(all[i].value), "%s", all[i].key);
        evener_http2_metadata_in_clear(&in);
        cr_expect(in.bytes == NULL && in.used == 0 && in.capacity == 0 && in.count == 0);
    }
}

Test(http2_headers, content_types_of_grpc)
{
    static const char *const good[] = {"application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"};
    static const char *const bad[] = {"", "text/html", "application/grpc-web", "application/grp", "application/json"};
    for (size_t i = 0; i < 3; i++) {
        cr_assert(evener_http2_content_type_is_grpc((const uint8_t *)good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < 5; i++) {
        cr_assert_not(evener_http2_content_type_is_grpc((const uint8_t *)bad[i], strlen(bad[i])), "%s", bad[i]);
    }
}

Test(http2_headers, received_metadata_is_kept_in_order_and_binary_parts_apart)
{
    evener_http2_metadata_in in = {0};
    char key[] = "k-000";
    for (int i = 0; i < 300; i++) {
        key[2] = (char)('0' + i / 100);
        key[3] = (char)('0' + i / 10 % 10);
        key[4] = (char)('0' + i % 10);
        cr_assert(evener_http2_metadata_in_add(&in, (const uint8_t *)key, 5, (const uint8_t *)"some value", 10));
    }
    cr_assert(evener_http2_metadata_in_add(&in, (const uint8_t *)"b-bin", 5, (const uint8_t *)"AA,AQ==,!,", 10));
    cr_assert_eq(in.count, 303); /* "!" is left out, and the end is an empty value */
    evener_metadata entries[303];
    evener_http2_metadata_in_list(&in, entries);
    cr_assert_str_eq(entries[299].key, "k-299");
    cr_assert_str_eq(entries[299].value, "some value");
    cr_assert(entries[300].value_bytes == 1 && entries[300].value[0] == 0);
    cr_assert(entries[301].value_bytes == 1 && entries[301].value[0] == 1);
    cr_assert_eq(entries[302].value_bytes, 0);
    evener_http2_metadata_in_clear(&in);
}

Test(http2_headers, what_was_compressed_is_decompressed_up_to_the_limit)
{
    static uint8_t text[100000];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (uint8_t)(i / 100);
    }
    const evener_bytes whole = {.data = text, .length = sizeof text};
    const uint8_t kinds[] = {EVENER_COMPRESSION_GZIP, EVENER_COMPRESSION_DEFLATE};
    for (size_t i = 0; i < 2; i++) {
        evener_bytes small, back;
        cr_assert(evener_http2_compress(kinds[i], &whole, &small));
        cr_assert_lt(small.length, sizeof text / 10);
        cr_assert_eq(evener_http2_decompress(kinds[i], &small, sizeof text, &back), EVENER_STATUS_OK);
        cr_assert(back.length == sizeof text && memcmp(back.data, text, sizeof text) == 0);
        evener_bytes_clear(&back);
        cr_assert_eq(evener_http2_decompress(kinds[i], &small, sizeof text - 1, &back),
                     EVENER_STATUS_RESOURCE_EXHAUSTED);
        const evener_bytes half = {.data = small.data, .length = small.length / 2};
        cr_assert_eq(evener_http2_decompress(kinds[i], &half, sizeof text, &back), EVENER_STATUS_INTERNAL);
        evener_bytes_clear(&small);
    }
    const evener_bytes random = {.data = (const uint8_t *)"q8#", .length = 3};
    evener_bytes untouched;
    cr_assert_not(evener_http2_compress(EVENER_COMPRESSION_GZIP, &random, &untouched));
}

Test(http2_headers, names_of_compressions)
{
    static const struct {
        const char *name;
        evener_compression compression;
    } all[] = {{"identity", EVENER_COMPRESSION_NONE},
               {"gzip", EVENER_COMPRESSION_GZIP},
               {"deflate", EVENER_COMPRESSION_DEFLATE}};
    uint8_t found;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const uint8_t *name = (const uint8_t *)all[i].name;
        const size_t bytes = strlen(all[i].name);
        found = 99;
        cr_expect(evener_http2_compression_named(name, bytes, &found));
        cr_expect_eq(found, all[i].compression);
        found = 99;
        cr_expect_not(evener_http2_compression_named(name, bytes - 1, &found));
        cr_expect_not(evener_http2_compression_named(name + 1, bytes - 1, &found));
        cr_expect_eq(found, 99);
    }
}

Test(http2_headers, what_is_cut_or_followed_by_more_is_not_decompressed)
{
    static const uint8_t text[2000];
    const evener_bytes whole = {.data = text, .length = sizeof text};
    const uint8_t kinds[] = {EVENER_COMPRESSION_GZIP, EVENER_COMPRESSION_DEFLATE};
    for (size_t i = 0; i < 2; i++) {
        evener_bytes small, back;
        uint8_t longer[200];
        cr_assert(evener_http2_compress(kinds[i], &whole, &small));
        cr_assert_lt(small.length, sizeof longer);
        memcpy(longer, small.data, small.length);
        longer[small.length] = 0;
        evener_bytes changed = {.data = longer, .length = small.length};
        for (; changed.length > 0; changed.length--) {
            cr_expect_eq(evener_http2_decompress(kinds[i], &changed, sizeof text, &back),
                         changed.length == small.length ? EVENER_STATUS_OK : EVENER_STATUS_INTERNAL, "%zu",
                         changed.length);
            if (changed.length == small.length) {
                cr_expect_eq(back.length, sizeof text);
                evener_bytes_clear(&back);
            }
        }
        changed.length = small.length + 1;
        cr_expect_eq(evener_http2_decompress(kinds[i], &changed, sizeof text, &back), EVENER_STATUS_INTERNAL);
        cr_expect_eq(evener_http2_decompress(kinds[1 - i], &small, sizeof text, &back), EVENER_STATUS_INTERNAL,
                     "the other kind");
        evener_bytes_clear(&small);
    }
}

Test(http2_headers, nothing_may_be_compressed)
{
    static const uint8_t nothing[] = {0x78, 0x9c, 3, 0, 0, 0, 0, 1};
    const evener_bytes compressed = {.data = nothing, .length = sizeof nothing};
    evener_bytes back = {.length = 99};
    cr_assert_eq(evener_http2_decompress(EVENER_COMPRESSION_DEFLATE, &compressed, 0, &back), EVENER_STATUS_OK);
    cr_expect_eq(back.length, 0);
    evener_bytes_clear(&back);
}
