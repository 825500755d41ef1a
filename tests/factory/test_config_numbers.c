/* Whole numbers of a libconfig file get the suffix L, and nothing else changes (lb/base/config_numbers.h). */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/config_numbers.h"

static void widens(const char *text, const char *expected)
{
    size_t bad_line = 99;
    /* The text ends with its memory, so that a read beyond it is noticed by AddressSanitizer. */
    char *given = strdup(text);
    char *widened = evener_config_widen_numbers(given, &bad_line);
    cr_assert_not_null(widened, "%s", text);
    cr_expect_str_eq(widened, expected, "%s: %s", text, widened);
    cr_expect_eq(bad_line, 0);
    free(widened);
    free(given);
}

static void stays(const char *text)
{
    widens(text, text);
}

Test(config_numbers, whole_numbers_get_a_suffix)
{
    widens("a = 1;", "a = 1L;");
    widens("a=1;b=22;", "a=1L;b=22L;");
    widens("a=5000000000", "a=5000000000L");
    widens("a=-1;b=+2;c = - 3;", "a=-1L;b=+2L;c = - 3L;");
    widens("a=0x1F;b=0Xa;c=0xabcdefABCDEF012;", "a=0x1FL;b=0XaL;c=0xabcdefABCDEF012L;");
    widens("[1,2 ,3\t,4\n,5\r]", "[1L,2L ,3L\t,4L\n,5L\r]");
    widens("(1)", "(1L)");
    widens("0", "0L");
    widens("9223372036854775807", "9223372036854775807L");
    widens("-9223372036854775808", "-9223372036854775808L");
    widens("0xffffffffffffff", "0xffffffffffffffL");
}

Test(config_numbers, what_is_no_whole_number_stays)
{
    stays("");
    stays(";");
    stays("=;:{}()[],");
    stays("a=1L;b=2LL;c=0x1FL;");
    stays("a=1.5;b=15e3;c=15E3;d=1.5e+300;e=.5;f=.5e-7;g=12.;h=123456.789e+10;");
    stays("a=1e+3000000000;b=1234567.5e-3000000000;c=1234567e9;d=5000000000.25;");
    stays("a1=b2;c-1=d_2;*3=x;");
    stays("_1=true;name-22=false;");
    stays("-;+;0x;0xg;-x;");
    stays("3x;3a-4;");
}

Test(config_numbers, texts_stay)
{
    stays("a=\"1\";");
    stays("\"a 1 \\\" 2 \\\\\"");
    widens("a=\"\\\\\";b=1;", "a=\"\\\\\";b=1L;");
    widens("a=\"\\\"\";b=1;", "a=\"\\\"\";b=1L;");
    widens("a=\"\";b=1;", "a=\"\";b=1L;");
    stays("\"1");
    stays("\"1\\");
    stays("\"");
}

Test(config_numbers, comments_stay)
{
    widens("# 1 \" 2\n3", "# 1 \" 2\n3L");
    widens("// 1 \" 2\n3", "// 1 \" 2\n3L");
    widens("//\n3", "//\n3L");
    widens("#\n3", "#\n3L");
    widens("/* 1 \"*/3", "/* 1 \"*/3L");
    widens("/* 1 \" 2 */ 3 /* \" */ 4", "/* 1 \" 2 */ 3L /* \" */ 4L");
    widens("/**/3/**/4", "/**/3L/**/4L");
    widens("/*/ 1 */ 2", "/*/ 1 */ 2L");
    widens("/*12*/34", "/*12*/34L");
    widens("/ 1", "/ 1L");
    widens("/ / 1", "/ / 1L");
    widens("/1/2", "/1L/2L");
    stays("# 1");
    stays("// 1");
    stays("/* 1");
    stays("/*/");
    stays("/* 1 *");
}

static void is_too_large(const char *text, size_t line)
{
    size_t bad_line = 0;
    cr_expect_null(evener_config_widen_numbers(text, &bad_line), "%s", text);
    cr_expect_eq(bad_line, line, "%s: %zu", text, bad_line);
}

Test(config_numbers, a_number_beyond_64_bits_is_named_by_its_line)
{
    is_too_large("9223372036854775808", 1);
    is_too_large("-9223372036854775809", 1);
    is_too_large("a = 1;\nb = 99999999999999999999;\n", 2);
    is_too_large("\n/* \n */\n\"\n\" 99999999999999999999", 5);
    is_too_large("a=1;\n\n\nb=0x10000000000000000;", 4);
    stays("\"99999999999999999999\" # 99999999999999999999");
    stays("a=99999999999999999999.0");
}

/* The caller's errno stays, whatever the number is. */
Test(config_numbers, errno_stays)
{
    static const char *const texts[] = {"a = 1;", "9223372036854775807", "99999999999999999999"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t bad_line;
        errno = ENOTTY;
        char *widened = evener_config_widen_numbers(texts[i], &bad_line);
        cr_expect_eq(errno, ENOTTY, "%zu: %d", i, errno);
        free(widened);
    }
}
