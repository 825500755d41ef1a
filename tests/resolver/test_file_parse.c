/* The two forms of a file of endpoints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "resolver/file_endpoints.h"

static evener_status_code parse(const char *text, evener_file_endpoints *endpoints, evener_status *status)
{
    char *copy = strdup(text);
    const evener_status_code code = evener_file_looks_like_config(text)
                                        ? evener_file_parse_config("f", copy, strlen(copy), endpoints, status)
                                        : evener_file_parse_lines("f", copy, strlen(copy), endpoints, status);
    free(copy);
    return code;
}

/* "LINE:address;key=value,..." with "host=name:port" for a name. */
static void expect(const char *text, const char *expected)
{
    evener_file_endpoints endpoints = {.entries = NULL};
    evener_status status;
    cr_assert_eq(parse(text, &endpoints, &status), EVENER_STATUS_OK, "%s", status.message);
    char *found = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&found, &bytes);
    for (size_t i = 0; i < endpoints.count; i++) {
        const evener_file_entry *entry = &endpoints.entries[i];
        fprintf(stream, "%s%zu:%s", i > 0 ? "," : "", entry->line,
                entry->host != NULL ? entry->host : evener_address_text(entry->address));
        for (size_t a = 0; a < evener_address_attribute_count(entry->address); a++) {
            const evener_attribute attribute = evener_address_attribute_at(entry->address, a);
            fprintf(stream, ";%s=%s", attribute.key, attribute.value);
        }
    }
    fclose(stream);
    cr_assert_str_eq(found, expected);
    free(found);
    evener_file_endpoints_clear(&endpoints);
}

static void expect_refused(const char *text, const char *place_and_reason)
{
    evener_file_endpoints endpoints = {.entries = NULL};
    evener_status status;
    cr_assert_neq(parse(text, &endpoints, &status), EVENER_STATUS_OK, "%s", text);
    cr_assert_not_null(strstr(status.message, place_and_reason), "%s: %s", text, status.message);
    evener_file_endpoints_clear(&endpoints);
}

Test(file_lines, endpoints_with_attributes_and_comments)
{
    expect("10.0.0.1:80\n10.0.0.2:80 weight=3 zone=a\n", "1:10.0.0.1:80,2:10.0.0.2:80;weight=3;zone=a");
    expect("# head\n\n  10.0.0.1:80\t# tail\n#10.0.0.2:80\n[::1]:81", "3:10.0.0.1:80,5:[::1]:81");
    expect("orders-1.prod:50051 weight=2\nlocalhost:1\n", "1:orders-1.prod:50051;weight=2,2:localhost:1");
    expect("unix:/run/x.sock\nunix-abstract:y\n", "1:unix:/run/x.sock,2:unix-abstract:y");
    expect("\xef\xbb\xbf"
           "10.0.0.1:80\r\n10.0.0.2:80\r\n",
           "1:10.0.0.1:80,2:10.0.0.2:80");
    expect("10.0.0.1:80 note=a%20b%23 url=x#y\n", "1:10.0.0.1:80;note=a b#;url=x#y");
    expect("endpoints:80\n", "1:endpoints:80");
    expect("", "");
    expect("\n# nothing\n", "");
}

Test(file_lines, which_texts_are_host_names)
{
    char text[400], expected[410];
    expect("a:1\nA-b_c.9z:2\n9a:3\na1:4\n", "1:a:1,2:A-b_c.9z:2,3:9a:3,4:a1:4");
    expect("orders.prod.:80\na.:1\n1.b.:2\n", "1:orders.prod.:80,2:a.:1,3:1.b.:2"); /* absolute names */
    static const char *const none[] = {".a:1",  "-a:1",  "a.1:1", "1.2.3.4.:1", "9:1",
                                       "9.:1",  ":1",    "a b:1", "a/b:1",      "a@b:1",
                                       "a`b:1", "a[b:1", "a{b:1", "\xc3\xa9:1", "a.12.:1"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        expect_refused(none[i], "f:1: ");
    }
    for (size_t bytes = 253; bytes <= 254; bytes++) {
        memset(text, 'h', bytes);
        (void)snprintf(text + bytes, sizeof text - bytes, ":80");
        if (bytes == 253) {
            (void)snprintf(expected, sizeof expected, "1:%s", text);
            expect(text, expected);
        } else {
            expect_refused(text, "f:1: ");
        }
    }
}

Test(file_lines, blanks_are_those_of_the_c_locale)
{
    expect("\t10.0.0.1:80\ta=1\vb=2\fc=3\r\n", "1:10.0.0.1:80;a=1;b=2;c=3");
    expect_refused("10.0.0.1:80\x08\n", "f:1: ");
    expect_refused("10.0.0.1:80\x0e\n", "f:1: ");
}

Test(file_lines, percent_encoding_has_two_digits_and_no_nul)
{
    expect("10.0.0.1:80 a=%2f%2F%aF%Af%7e b%3d=%253d\n", "1:10.0.0.1:80;a=//\xaf\xaf~;b==%3d");
    static const char *const bad[] = {"%", "%4", "%4g", "%g4", "%00", "%4:", "%4/", "%@4", "%4`", "%4G", "x%"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "10.0.0.1:80 a=%s\n", bad[i]);
        expect_refused(text, "hexadecimal");
        (void)snprintf(text, sizeof text, "10.0.0.1:80 %s=a\n", bad[i]);
        expect_refused(text, "hexadecimal");
    }
    expect("10.0.0.1:80 a=x%09y\n", "1:10.0.0.1:80;a=x\ty");
    expect("10.0.0.1:80 a=%10%01\n", "1:10.0.0.1:80;a=\x10\x01");
}

Test(file_lines, sixty_four_attributes_are_the_most)
{
    for (int count = 64; count <= 65; count++) {
        char lines[2048] = "10.0.0.1:80", config[2048] = "endpoints = ( { address = \"10.0.0.1:80\";";
        for (int i = 0; i < count; i++) {
            (void)snprintf(lines + strlen(lines), sizeof lines - strlen(lines), " k%02d=%d", i, i);
            (void)snprintf(config + strlen(config), sizeof config - strlen(config), " k%02d = %d;", i, i);
        }
        (void)snprintf(config + strlen(config), sizeof config - strlen(config), " } );");
        if (count == 65) {
            expect_refused(lines, "f:1: more than 64 attributes");
            expect_refused(config, "has more than 64 attributes");
            continue;
        }
        char expected[2048] = "1:10.0.0.1:80";
        for (int i = 0; i < count; i++) {
            (void)snprintf(expected + strlen(expected), sizeof expected - strlen(expected), ";k%02d=%d", i, i);
        }
        expect(lines, expected);
        expect(config, expected); /* each number has its own text */
    }
}

Test(file_lines, what_is_wrong_is_named_with_its_line)
{
    expect_refused("10.0.0.1:80\n10.0.0.2\n", "file f:2: address \"10.0.0.2\": no port");
    expect_refused("10.0.0.1:80\n\n10.0.0.300:80\n", "file f:3: ");
    expect_refused("10.0.0:80\n", "f:1: ");
    expect_refused("host\n", "f:1: host \"host\": no port");
    expect_refused("host:0\n", "f:1: host \"host:0\": port 0");
    expect_refused("host:http\n", "not a number");
    expect_refused("ho_st/x:80\n", "f:1: ");
    expect_refused("10.0.0.1:80 weight=0\n", "f:1: weight=0: a weight is a whole number");
    expect_refused("10.0.0.1:80 weight\n", "key=value");
    expect_refused("10.0.0.1:80 =1\n", "key=value");
    expect_refused("10.0.0.1:80 10.0.0.2:80\n", "key=value");
    expect_refused("10.0.0.1:80 a=%x\n", "hexadecimal");
}

Test(file_lines, nul_byte_is_refused)
{
    char text[] = "10.0.0.1:80\n10.0\0.0.2:80\n";
    evener_file_endpoints endpoints = {.entries = NULL};
    evener_status status;
    cr_assert_neq(evener_file_parse_lines("f", text, sizeof text - 1, &endpoints, &status), EVENER_STATUS_OK);
    cr_assert_not_null(strstr(status.message, "f:2: a NUL byte"));
    evener_file_endpoints_clear(&endpoints);
}

Test(file_config, endpoints_with_attributes)
{
    expect("endpoints = ( { address = \"10.0.0.1:50051\"; weight = 3; },\n { address = \"host:1\"; zone = \"a\"; } );",
           "1:10.0.0.1:50051;weight=3,2:host:1;zone=a");
    expect("# c\n// c\n/* c\n */ endpoints: [ \"10.0.0.1:1\", \"10.0.0.2:2\" ];", "4:10.0.0.1:1,4:10.0.0.2:2");
    expect("endpoints = ( \"10.0.0.1:1\", { address = \"10.0.0.2:2\"; t = true; big = 4294967296L; half = 0.5; } )",
           "1:10.0.0.1:1,1:10.0.0.2:2;big=4294967296;half=0.5;t=true");
    expect("endpoints = ( ); other = { x = 1; };", "");
}

/* Row F5: a weight that would wrap to 3, and one that no weight can have. */
Test(file_config, f5_numbers_have_64_bits)
{
    expect_refused("endpoints = ( { address = \"10.0.0.1:1\"; weight = 4294967299; } );", "4294967295");
    expect_refused("endpoints = (\n { address = \"10.0.0.1:1\"; weight = 18446744073709551617; } );",
                   ":2: a number is out of range");
}

/* Without the suffix L, libconfig 1.7 reads 010 as 8 and refuses 08, and 1.5 wraps beyond 31 bits. */
Test(file_config, f5_numbers_of_any_form)
{
    static const struct {
        const char *number, *value;
    } cases[] = {
        {"7", "7"},
        {"0", "0"},
        {"-5", "-5"},
        {"+5", "5"},
        {"010", "10"},
        {"08", "8"},
        {"-08", "-8"},
        {"000000000009", "9"},
        {"0x1f", "31"},
        {"0X1F", "31"},
        {"0x80000000", "2147483648"},
        {"999999999", "999999999"},
        {"2147483648", "2147483648"},
        {"-2147483649", "-2147483649"},
        {"10L", "10"},
        {"0.25", "0.25"},
        {"1e3", "1000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128], expected[64];
        snprintf(text, sizeof text, "endpoints = ( { address = \"10.0.0.1:1\"; n = %s; } );", cases[i].number);
        snprintf(expected, sizeof expected, "1:10.0.0.1:1;n=%s", cases[i].value);
        expect(text, expected);
    }
    /* An array's numbers have one type. */
    expect("endpoints = ( { address = \"10.0.0.1:1\"; a = 7; b = 08; } ); other = [ 7, 4294967296 ];",
           "1:10.0.0.1:1;a=7;b=8");
}

Test(file_config, what_is_wrong_is_named_with_its_line)
{
    expect_refused("endpoints = (\n { address = \"10.0.0.1\"; } );", "file f:2: address \"10.0.0.1\": no port");
    expect_refused("endpoints = (\n { weight = 3; } );", "has no address");
    expect_refused("endpoints = ( { address = 3; } );", "f:1: address must be a text");
    expect_refused("endpoints = ( { address = \"10.0.0.1:1\"; weight = 0; } );", "weight=0");
    expect_refused("endpoints = ( { address = \"10.0.0.1:1\"; more = ( 1 ); } );", "more must be");
    expect_refused("endpoints = ( 3 );", "must be a group");
    expect_refused("endpoints = 3;", "must be a list");
    expect_refused("endpoints = (\n\n", "f:3: syntax error");
    expect_refused("endpoints = ();\n@include \"/etc/passwd\"\n", "f:2: an @include");
    expect_refused("endpoints = ((((((((((((((((((((", "nested deeper");
    evener_file_endpoints endpoints = {.entries = NULL};
    evener_status status;
    cr_assert_neq(evener_file_parse_config("f", "other = 1;", 10, &endpoints, &status), EVENER_STATUS_OK);
    cr_assert_not_null(strstr(status.message, "no setting \"endpoints\""));
}

Test(file_config, is_recognised_by_its_beginning)
{
    cr_assert(evener_file_looks_like_config("endpoints=("));
    cr_assert(evener_file_looks_like_config(" # x\n/* y */ endpoints\n= ("));
    cr_assert(evener_file_looks_like_config("endpoints : ("));
    cr_assert(!evener_file_looks_like_config("endpoints:80"));
    cr_assert(!evener_file_looks_like_config("endpoints.prod:80"));
    cr_assert(!evener_file_looks_like_config(""));
    cr_assert(!evener_file_looks_like_config("# endpoints = ("));
    cr_assert(!evener_file_looks_like_config("/* endpoints"));
}

/* issue: a list of 100,000 endpoints (how fast, is for the bench) */
Test(file_lines, hundred_thousand_endpoints)
{
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    for (int i = 0; i < 100000; i++) {
        fprintf(stream, "10.%d.%d.%d:50051 weight=%d zone=z%d\n", i >> 16, (i >> 8) & 255, i & 255, i % 9 + 1, i % 3);
    }
    fclose(stream);
    evener_file_endpoints endpoints = {.entries = NULL};
    evener_status status;
    cr_assert_eq(evener_file_parse_lines("f", text, bytes, &endpoints, &status), EVENER_STATUS_OK);
    cr_assert_eq(endpoints.count, 100000);
    cr_assert_str_eq(evener_address_attribute(endpoints.entries[99999].address, "zone"), "z0");
    evener_file_endpoints_clear(&endpoints);
    free(text);
}
