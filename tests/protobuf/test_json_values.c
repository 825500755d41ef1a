/* JSON values and text below the messages: each form at its limits, and one step beyond. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "lb/protobuf/json_text.h"
#include "lb/protobuf/json_values.h"

/* ---- numbers ---- */

static void expect_integer(const char *text, const char *expected)
{
    bool negative = false;
    uint64_t magnitude = 0;
    char got[64] = "refused";
    if (evener_integer_read(text, strlen(text), &negative, &magnitude)) {
        (void)snprintf(got, sizeof got, "%s%" PRIu64, negative ? "-" : "", magnitude);
    }
    cr_assert_str_eq(got, expected, "%s: %s, not %s", text, got, expected);
}

Test(json_values, integers_are_read_in_all_forms_that_are_whole)
{
    static const char *const same[] = {
        "0", "7", "10", "9", "-1", "-90", "100", "18446744073709551615", "-0", "-18446744073709551615"};
    static const char *const other[][2] = {
        {"7.0", "7"},
        {"0.0", "0"},
        {"7e0", "7"},
        {"7E+2", "700"},
        {"1.25e2", "125"},
        {"1.250e2", "125"},
        {"0.007e3", "7"},
        {"1200e-2", "12"},
        {"-10e-1", "-1"},
        {"1e19", "10000000000000000000"},
        {"1844674407370955161.5e1", "18446744073709551615"},
        {"0e100000", "0"},
        {"0.000000000000000000000000000001e30", "1"},
        {"100000000000000000000000000000e-29", "1"},
        {"9e00000000000000000000001", "90"},
    };
    static const char *const refused[] = {"",
                                          "-",
                                          "+1",
                                          "01",
                                          "00",
                                          "-01",
                                          ".5",
                                          "1.",
                                          "1.e1",
                                          "1e",
                                          "1e+",
                                          "1e-",
                                          "1x",
                                          "1e1x",
                                          "1.5",
                                          "1e-1",
                                          "125e-2",
                                          "1.25e1",
                                          "18446744073709551616",
                                          "18446744073709551620",
                                          "1844674407370955162e1",
                                          "1e20",
                                          "1e21",
                                          "123456789012345678901",
                                          "1e999999999999999999999",
                                          "1e-999999999999999999999",
                                          "/",
                                          ":",
                                          "1/",
                                          "1:"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        expect_integer(same[i], same[i]);
    }
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        expect_integer(other[i][0], other[i][1]);
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        expect_integer(refused[i], "refused");
    }
}

Test(json_values, only_the_given_characters_of_a_number_are_read)
{
    bool negative;
    uint64_t magnitude;
    cr_assert(evener_integer_read("1.5", 1, &negative, &magnitude));
    cr_assert_eq(magnitude, 1);
    cr_assert(evener_integer_read("2e5", 1, &negative, &magnitude));
    cr_assert_eq(magnitude, 2);
    cr_assert_not(evener_integer_read("-1", 0, &negative, &magnitude));
    cr_assert_not(evener_integer_read("-1", 1, &negative, &magnitude));
    cr_assert_not(evener_integer_read("1.5", 2, &negative, &magnitude));
    cr_assert_not(evener_integer_read("1e5", 2, &negative, &magnitude));
    cr_assert_not(evener_integer_read("1e-5", 3, &negative, &magnitude));
}

Test(json_values, doubles_are_finite_numbers_or_words_where_these_are_allowed)
{
    double value = 0;
    cr_assert(evener_double_read("-1.25e2", 7, false, &value));
    cr_assert(value == -125);
    cr_assert(evener_double_read("1.7976931348623157e308", 22, false, &value));
    cr_assert_not(evener_double_read("1e309", 5, false, &value));
    cr_assert_not(evener_double_read("0x10", 4, false, &value));
    cr_assert_not(evener_double_read("nan", 3, true, &value));
    cr_assert(evener_double_read("NaN", 3, true, &value) && isnan(value));
    cr_assert(evener_double_read("Infinity", 8, true, &value) && value > 0 && isinf(value));
    cr_assert(evener_double_read("-Infinity", 9, true, &value) && value < 0 && isinf(value));
    cr_assert_not(evener_double_read("Infinit", 7, true, &value));
    cr_assert_not(evener_double_read("NaN", 3, false, &value));
    cr_assert_not(evener_double_read("Infinity", 8, false, &value));
    cr_assert_not(evener_double_read("-Infinity", 9, false, &value));
}

Test(json_values, a_number_may_have_hundreds_of_digits)
{
    for (size_t digits = 505; digits < 520; digits++) { /* around the size of the copy on the stack */
        char text[1024];
        memset(text, '0', sizeof text);
        memcpy(text, "1.", 2);
        memcpy(text + digits - 2, "e2", 2);
        text[digits] = '7'; /* behind the number: not read */
        double value = 0;
        cr_assert(evener_double_read(text, digits, false, &value));
        cr_assert(value == 100, "%zu: %g", digits, value);
    }
}

Test(json_values, the_fewest_digits_that_give_the_same_number_are_written)
{
    char text[EVENER_NUMBER_BYTES];
    static const struct {
        double value;
        const char *as_double, *as_float;
    } cases[] = {
        {0.1, "0.1", "0.1"},
        {1.0 / 3, "0.3333333333333333", "0.33333334"},
        {5e-324, "4.94065645841247e-324", "0"},
        {1.7976931348623157e308, "1.7976931348623157e+308", "\"Infinity\""},
        {-2.5, "-2.5", "-2.5"},
        {(double)INFINITY, "\"Infinity\"", "\"Infinity\""},
        {-(double)INFINITY, "\"-Infinity\"", "\"-Infinity\""},
        {(double)NAN, "\"NaN\"", "\"NaN\""},
        {16777217, "16777217", "16777216"},
        {3.4028234663852886e38, "3.4028234663852886e+38", "3.4028235e+38"}, /* as a double it needs all digits */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        evener_double_write(cases[i].value, text);
        cr_assert_str_eq(text, cases[i].as_double);
        evener_float_write((float)cases[i].value, text);
        cr_assert_str_eq(text, cases[i].as_float);
    }
}

/* ---- base64 ---- */

static void expect_base64(const char *text, const char *expected)
{
    evener_wire_buffer to = {0};
    const bool ok = evener_base64_read(text, strlen(text), &to);
    cr_assert_eq(ok, expected != NULL, "%s", text);
    if (ok) {
        cr_assert_eq(to.length, strlen(expected), "%s", text);
        cr_assert_eq(memcmp(to.length > 0 ? (const void *)to.data : "", expected, to.length), 0, "%s", text);
    }
    evener_wire_clear(&to);
}

Test(json_values, base64_of_both_alphabets_is_read_with_and_without_padding)
{
    expect_base64("", "");
    expect_base64("Zg==", "f");
    expect_base64("Zg", "f");
    expect_base64("Zm8=", "fo");
    expect_base64("Zm8", "fo");
    expect_base64("Zm9v", "foo");
    expect_base64("Zm9vYg", "foob");
    expect_base64("+/+/", "\xfb\xff\xbf");
    expect_base64("-_-_", "\xfb\xff\xbf");
    expect_base64("Aa", "\x01");
    expect_base64("PT09", "===");
    static const char *const refused[] = {"Z",    "Zg=",   "Zm8==", "Zm9v=", "Zm9v==", "Zm9vY", "=",
                                          "==",   "Zg===", "Z===",  "Zm@v",  "Zm[v",   "Zm`v",  "Zm{v",
                                          "Zm:v", "Zm.v",  "Zm,v",  "Zm v",  "Z=g="};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        expect_base64(refused[i], NULL);
    }
}

Test(json_values, every_base64_digit_has_its_value)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    evener_wire_buffer read = {0};
    evener_json_writer written = {0};
    cr_assert(evener_base64_read(alphabet, 64, &read));
    cr_assert_eq(read.length, 48);
    for (size_t i = 0; i < 64; i++) { /* digit i has the value i */
        const unsigned from = (unsigned)(6 * i);
        const unsigned two = (unsigned)read.data[from / 8] << 8 | (from / 8 + 1 < 48 ? read.data[from / 8 + 1] : 0);
        cr_assert_eq(two >> (10 - from % 8) & 63, i);
    }
    evener_json_put_base64(&written, read.data, read.length);
    cr_assert_eq(written.text.length, 66);
    cr_assert_eq(memcmp(written.text.data + 1, alphabet, 64), 0);
    written.text.length = 0;
    evener_json_put_base64(&written, (const uint8_t *)"\xff\xfe", 1);
    evener_json_put_base64(&written, (const uint8_t *)"\xff\xfe", 2);
    evener_json_put_base64(&written, NULL, 0);
    cr_assert_eq(written.text.length, 14);
    cr_assert_eq(memcmp(written.text.data, "\"/w==\"\"//4=\"\"\"", 14), 0);
    evener_wire_clear(&read);
    evener_wire_clear(&written.text);
}

/* ---- times ---- */

static void expect_timestamp(const char *text, bool ok, int64_t seconds, int32_t nanos)
{
    int64_t got_seconds = 0;
    int32_t got_nanos = 0;
    cr_assert_eq(evener_timestamp_read(text, strlen(text), &got_seconds, &got_nanos), ok, "%s", text);
    if (ok) {
        cr_assert_eq(got_seconds, seconds, "%s: %" PRId64, text, got_seconds);
        cr_assert_eq(got_nanos, nanos, "%s: %d", text, got_nanos);
    }
}

Test(json_values, timestamps_are_read_at_their_limits)
{
    static const struct {
        const char *text;
        int64_t seconds;
        int32_t nanos;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0, 0},
        {"1970-01-01T00:00:01.5Z", 1, 500000000},
        {"1970-01-01T23:59:59.123456789Z", 86399, 123456789},
        {"1970-01-01T00:00:00+01:30", -5400, 0},
        {"1970-01-01T00:00:00-23:59", 86340, 0},
        {"1970-01-01T00:00:00-00:00", 0, 0},
        {"1969-12-31T23:59:59.000000001Z", -1, 1},
        {"0001-01-01T00:00:00Z", INT64_C(-62135596800), 0},
        {"9999-12-31T23:59:59Z", INT64_C(253402300799), 0},
        {"9999-12-31T23:59:59.999999999Z", INT64_C(253402300799), 999999999},
        {"2000-02-29T12:00:00Z", 951825600, 0},
        {"2000-03-01T00:00:00Z", 951868800, 0},
        {"2024-02-29T00:00:00Z", 1709164800, 0},
        {"1900-02-28T00:00:00Z", INT64_C(-2203977600), 0},
    };
    static const char *const refused[] = {
        "",
        "1970",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "970-01-01T00:00:00Z",
        "1970-1-01T00:00:00Z",
        "1970-01-1T00:00:00Z",
        "1970-01-01T0:00:00Z",
        "1970-01-01T00:0:00Z",
        "1970-01-01T00:00:0Z",
        "1970/01-01T00:00:00Z",
        "1970-01/01T00:00:00Z",
        "1970-01-01 00:00:00Z",
        "1970-01-01t00:00:00Z",
        "1970-01-01T00-00:00Z",
        "1970-01-01T00:00-00Z",
        "1970-00-01T00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-01-00T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:60Z",
        "1970-01-01T00:00:00z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00.1234567890Z",
        "1970-01-01T00:00:00,5Z",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+23:60",
        "1970-01-01T00:00:00+0100",
        "1970-01-01T00:00:00+1:00",
        "1970-01-01T00:00:00+01:0",
        "1970-01-01T00:00:00 01:00",
        "1970-01-01T00:00:00ZZ",
        "1970-01-01T00:00:00+01:00Z",
        "1970-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2000-02-30T00:00:00Z",
        "0000-12-31T23:59:59Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "x970-01-01T00:00:00Z",
        "1970-01-01T00:00:0/Z",
        "1970-01-01T00:00:0:Z",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_timestamp(cases[i].text, true, cases[i].seconds, cases[i].nanos);
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        expect_timestamp(refused[i], false, 0, 0);
    }
}

Test(json_values, every_month_has_its_days)
{
    static const unsigned days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t expected = 1672531200; /* 2023-01-01 */
    for (unsigned month = 1; month <= 12; month++) {
        char text[32];
        for (unsigned day = 1; day <= days[month - 1]; day++, expected += 86400) {
            (void)snprintf(text, sizeof text, "2023-%02u-%02uT00:00:00Z", month, day);
            expect_timestamp(text, true, expected, 0);
        }
        (void)snprintf(text, sizeof text, "2023-%02u-%02uT00:00:00Z", month, days[month - 1] + 1);
        expect_timestamp(text, false, 0, 0);
    }
}

Test(json_values, every_day_of_ten_thousand_years_is_written_as_it_is_read)
{
    char text[EVENER_TIME_BYTES], before[EVENER_TIME_BYTES] = "";
    for (int64_t seconds = INT64_C(-62135596800); seconds <= INT64_C(253402300799); seconds += 86400) {
        cr_assert(evener_timestamp_write(seconds, 0, text));
        cr_assert_gt(strcmp(text, before), 0, "%s after %s", text, before);
        int64_t again = 0;
        int32_t nanos = 0;
        cr_assert(evener_timestamp_read(text, strlen(text), &again, &nanos), "%s", text);
        cr_assert_eq(again, seconds, "%s", text);
        memcpy(before, text, sizeof text);
    }
    cr_assert_str_eq(before, "9999-12-31T00:00:00Z");
}

Test(json_values, timestamps_are_written_at_their_limits)
{
    static const struct {
        int64_t seconds;
        int32_t nanos;
        const char *text; /* NULL: refused */
    } cases[] = {
        {0, 0, "1970-01-01T00:00:00Z"},
        {-1, 999999999, "1969-12-31T23:59:59.999999999Z"},
        {-86400, 0, "1969-12-31T00:00:00Z"},
        {86399, 1, "1970-01-01T23:59:59.000000001Z"},
        {3661, 1000, "1970-01-01T01:01:01.000001Z"},
        {59, 999000, "1970-01-01T00:00:59.000999Z"},
        {60, 1000000, "1970-01-01T00:01:00.001Z"},
        {3600, 500000000, "1970-01-01T01:00:00.500Z"},
        {INT64_C(-62135596800), 0, "0001-01-01T00:00:00Z"},
        {INT64_C(253402300799), 999999999, "9999-12-31T23:59:59.999999999Z"},
        {INT64_C(-62135596801), 0, NULL},
        {INT64_C(253402300800), 0, NULL},
        {0, -1, NULL},
        {0, 1000000000, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[EVENER_TIME_BYTES];
        cr_assert_eq(evener_timestamp_write(cases[i].seconds, cases[i].nanos, text), cases[i].text != NULL, "%zu", i);
        if (cases[i].text != NULL) {
            cr_assert_str_eq(text, cases[i].text);
        }
    }
}

Test(json_values, durations_are_read_and_written_at_their_limits)
{
    static const struct {
        const char *text;
        int64_t seconds;
        int32_t nanos;
    } both[] = {
        {"0s", 0, 0},
        {"1s", 1, 0},
        {"-1s", -1, 0},
        {"1.500s", 1, 500000000},
        {"-1.500s", -1, -500000000},
        {"-0.000000001s", 0, -1},
        {"0.999999999s", 0, 999999999},
        {"-0.999999999s", 0, -999999999},
        {"315576000000s", INT64_C(315576000000), 0},
        {"-315576000000s", INT64_C(-315576000000), 0},
    };
    static const char *const refused[] = {"",
                                          "s",
                                          "-s",
                                          "1",
                                          "1.s",
                                          ".5s",
                                          "+1s",
                                          "--1s",
                                          "1 s",
                                          "1ss",
                                          "1.5",
                                          "1.1234567890s",
                                          "1e1s",
                                          "1/s",
                                          "1:s",
                                          "/s",
                                          ":s",
                                          "315576000001s",
                                          "-315576000001s",
                                          "0315576000000s"};
    static const struct {
        int64_t seconds;
        int32_t nanos;
    } unwritable[] = {
        {INT64_C(315576000001), 0}, {INT64_C(-315576000001), 0}, {0, 1000000000}, {0, -1000000000}, {1, -1}, {-1, 1}};
    char text[EVENER_TIME_BYTES];
    int64_t seconds = 0;
    int32_t nanos = 0;
    for (size_t i = 0; i < sizeof both / sizeof both[0]; i++) {
        cr_assert(evener_duration_read(both[i].text, strlen(both[i].text), &seconds, &nanos), "%s", both[i].text);
        cr_assert_eq(seconds, both[i].seconds, "%s", both[i].text);
        cr_assert_eq(nanos, both[i].nanos, "%s", both[i].text);
        cr_assert(evener_duration_write(both[i].seconds, both[i].nanos, text), "%s", both[i].text);
        cr_assert_str_eq(text, both[i].text);
    }
    cr_assert(evener_duration_read("007s", 4, &seconds, &nanos));
    cr_assert_eq(seconds, 7);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        cr_assert_not(evener_duration_read(refused[i], strlen(refused[i]), &seconds, &nanos), "%s", refused[i]);
    }
    for (size_t i = 0; i < sizeof unwritable / sizeof unwritable[0]; i++) {
        cr_assert_not(evener_duration_write(unwritable[i].seconds, unwritable[i].nanos, text), "%zu", i);
    }
}

/* ---- field masks ---- */

static void expect_mask(bool read, const char *text, const char *expected)
{
    evener_wire_buffer to = {0};
    const bool ok =
        read ? evener_mask_path_read(text, strlen(text), &to) : evener_mask_path_write(text, strlen(text), &to);
    cr_assert_eq(ok, expected != NULL, "%s", text);
    if (ok) {
        cr_assert_eq(to.length, strlen(expected), "%s", text);
        evener_wire_put_byte(&to, '\0');
        cr_assert_str_eq((const char *)to.data, expected);
    }
    evener_wire_clear(&to);
}

Test(json_values, mask_paths_go_both_ways)
{
    static const char *const both[][2] = {{"a", "a"},   {"fooBar", "foo_bar"}, {"fooA.bZ", "foo_a.b_z"},
                                          {"x1", "x1"}, {"A", "_a"},           {"Z", "_z"}};
    static const char *const unwritable[] = {"a_", "_", "a__b", "a_1", "a_B", "aB", "A", "Z", "a,b", "a_`", "a_{"};
    for (size_t i = 0; i < sizeof both / sizeof both[0]; i++) {
        expect_mask(true, both[i][0], both[i][1]);
        expect_mask(false, both[i][1], both[i][0]);
    }
    expect_mask(true, "a_b", NULL);
    expect_mask(true, "@[", "@[");
    expect_mask(false, "@[", "@[");
    for (size_t i = 0; i < sizeof unwritable / sizeof unwritable[0]; i++) {
        expect_mask(false, unwritable[i], NULL);
    }
}

/* ---- text ---- */

static void expect_string(const char *json, const char *expected)
{
    evener_json_reader reader = evener_json_read(json, strlen(json));
    evener_json_slice raw;
    cr_assert(evener_json_string(&reader, &raw), "%s: %s", json, reader.problem);
    cr_assert_eq(reader.at, reader.end);
    evener_wire_buffer to = {0};
    evener_json_unescape(raw, &to);
    cr_assert_eq(to.length, strlen(expected), "%s", json);
    evener_wire_put_byte(&to, '\0');
    cr_assert_str_eq((const char *)to.data, expected);
    evener_wire_clear(&to);
}

Test(json_text, escapes_give_their_characters)
{
    expect_string("\"\"", "");
    expect_string("\"plain\"", "plain");
    expect_string("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t");
    expect_string("\"\\u0001\\u0041\\u007f\"", "\x01"
                                               "A\x7f");
    expect_string("\"\\u0080\\u00e9\\u07fF\"", "\xc2\x80\xc3\xa9\xdf\xbf");
    expect_string("\"\\u0800\\u20aC\\uABCD\\ud7ff\\ue000\\uffff\"",
                  "\xe0\xa0\x80\xe2\x82\xac\xea\xaf\x8d\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf");
    expect_string("\"\\ud800\\udc00\\ud83d\\ude00\\udbff\\udfff.\"",
                  "\xf0\x90\x80\x80\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf.");
    expect_string("\"a\\u0041b\\nc\"", "aAb\nc");
}

Test(json_text, a_string_is_compared_with_its_escapes_read)
{
    const evener_json_slice raw = {"a\\u0062\\/c", 11 - 1};
    cr_assert(evener_json_equals(raw, "ab/c"));
    cr_assert_not(evener_json_equals(raw, "ab/"));
    cr_assert_not(evener_json_equals(raw, "ab/cd"));
    cr_assert_not(evener_json_equals(raw, "xb/c"));
    cr_assert_not(evener_json_equals(raw, "ax/c"));
    cr_assert_not(evener_json_equals(raw, ""));
    cr_assert(evener_json_equals((evener_json_slice){"", 0}, ""));
}

static void expect_problem(const char *json, const char *problem)
{
    evener_json_reader reader = evener_json_read(json, strlen(json));
    bool too_deep = false;
    const bool ok = evener_json_skip(&reader, 5, &too_deep) && evener_json_peek(&reader) == '\0';
    cr_assert_eq(ok, problem == NULL, "%s: %s", json, reader.problem != NULL ? reader.problem : "no problem");
    if (problem != NULL && *problem != '\0') {
        cr_assert_str_eq(reader.problem, problem, "%s: %s", json, reader.problem);
    }
}

Test(json_text, malformed_strings_and_numbers_are_refused)
{
    static const char *const escape = "the string has an unknown escape";
    static const char *const digits = "four hexadecimal digits are needed after \\u";
    static const char *const half = "the string has half of a surrogate pair";
    static const char *const control = "a control character in a string is written as an escape";
    static const struct {
        const char *json, *problem; /* NULL: it is none */
    } cases[] = {
        {"\"\\a\"", escape},
        {"\"\\", escape},
        {"\"\\U0041\"", escape},
        {"\"\\u\"", digits},
        {"\"\\u004\"", digits},
        {"\"\\u004", digits},
        {"\"\\u004g\"", digits},
        {"\"\\u004G\"", digits},
        {"\"\\u004/\"", digits},
        {"\"\\u004:\"", digits},
        {"\"\\u004@\"", digits},
        {"\"\\u004`\"", digits},
        {"\"\\ud800\"", half},
        {"\"\\ud800x\"", half},
        {"\"\\ud800\\n12345\"", half},
        {"\"\\ud800xu0000\"", half},
        {"\"\\ud800\\ud800\"", half},
        {"\"\\ud800\\udbff\"", half},
        {"\"\\ud800\\ue000\"", half},
        {"\"\\ud800\\udc0", half},
        {"\"\\udbff \\udc00\"", half},
        {"\"\\udc00\"", half},
        {"\"\\udfff\"", half},
        {"\"\x1f\"", control},
        {"\"\n\"", control},
        {"\" \"", NULL},
        {"\"\x7f\"", NULL},
        {"\"", "the string does not end"},
        {"\"abc", "the string does not end"},
        {"\"\\\"", "the string does not end"},
        {"\"\xff\"", "the string is not UTF-8"},
        {"\"\xc3\xa9\"", NULL},
        {"0", NULL},
        {"-0", NULL},
        {"10", NULL},
        {"9", NULL},
        {"-9", NULL},
        {"0.5", NULL},
        {"-0.50e+10", NULL},
        {"1E-0", NULL},
        {"1e9", NULL},
        {"00", "a number does not begin with 0"},
        {"-00", "a number does not begin with 0"},
        {"01", "a number does not begin with 0"},
        {"-", "a digit is needed"},
        {"-x", "a digit is needed"},
        {"1.", "a digit is needed"},
        {"1.x", "a digit is needed"},
        {"1./", "a digit is needed"},
        {"1.:", "a digit is needed"},
        {"1e", "a digit is needed"},
        {"1e+", "a digit is needed"},
        {"1e-", "a digit is needed"},
        {"+1", "a value is needed"},
        {"/", "a value is needed"},
        {":", "a value is needed"},
        {"", "a value is needed"},
        {" \t\r\n", "a value is needed"},
        {"true", NULL},
        {"\t\r\n false ", NULL},
        {"null", NULL},
        {"tru", "a value is needed"},
        {"fals", "a value is needed"},
        {"nul", "a value is needed"},
        {"truf", "a value is needed"},
        {"{}", NULL},
        {"[]", NULL},
        {"[1,2 , 3]", NULL},
        {"{\"a\":1,\"b\" : [{}]}", NULL},
        {"[1 2]", "',' or ']' is needed"},
        {"{\"a\":1 \"b\":2}", "',' or '}' is needed"},
        {"[1,]", "a value is needed"},
        {"[,1]", "a value is needed"},
        {"{\"a\":1,}", "a name in quotes is needed"},
        {"{a:1}", "a name in quotes is needed"},
        {"{\"a\" 1}", "':' is needed"},
        {"{\"a\":}", "a value is needed"},
        {"[1", "',' or ']' is needed"},
        {"[[[[[]]]]]", NULL},
        {"[[[[[[]]]]]]", "too many levels"},
        {"[[[[{\"a\":1}]]]]", NULL},
        {"[[[[[{\"a\":1}]]]]]", "too many levels"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_problem(cases[i].json, cases[i].problem);
    }
}

Test(json_text, the_place_is_a_line_and_a_character)
{
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"", "malformed JSON at line 1, column 1: a value is needed (the text has ended)"},
        {"[1,\n \"\xc3\xa9\", x]", "malformed JSON at line 2, column 7: a value is needed"},
        {"\n\n  [", "malformed JSON at line 3, column 4: a value is needed (the text has ended)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        evener_json_reader reader = evener_json_read(cases[i].json, strlen(cases[i].json));
        bool too_deep = false;
        evener_status status;
        cr_assert_not(evener_json_skip(&reader, 5, &too_deep));
        cr_assert_eq(evener_json_malformed(&reader, &status), EVENER_STATUS_INVALID_ARGUMENT);
        cr_assert_str_eq(status.message, cases[i].message);
    }
}

Test(json_text, written_strings_escape_what_must_be)
{
    evener_json_writer writer = {0};
    evener_json_put_string(&writer, "a\"\\\b\f\n\r\t\x01\x1f \x7f~\xc3\xa9\0z", 17);
    evener_wire_put_byte(&writer.text, '\0');
    cr_assert_str_eq((const char *)writer.text.data,
                     "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f \\u007f~\xc3\xa9\\u0000z\"");
    writer.text.length = 0;
    evener_json_put_string(&writer, NULL, 0);
    cr_assert_eq(writer.text.length, 2);
    evener_wire_clear(&writer.text);
}
