/* How gRPC writes things into headers: the pure functions. */
#include <criterion/criterion.h>

#include <stdint.h>
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
               {UINT64_C(99999999000000001), "1666667M"}, /* 1e8 s do not fit */
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
