/* Path templates of google.api.http: their syntax, what they match, and their order. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "lb/protobuf/path_template.h"

static evener_path_template parse(const char *text)
{
    evener_path_template parsed;
    evener_status status;
    cr_assert_eq(evener_path_template_parse(text, &parsed, &status), EVENER_STATUS_OK, "%s: %s", text, status.message);
    return parsed;
}

/* Match, and write the values as "field=value;..." into `values`. */
static bool match(const char *text, const char *path, char values[256])
{
    evener_path_template parsed = parse(text);
    evener_path_value found[EVENER_PATH_VARIABLES_MAX];
    char *memory;
    const bool matched = evener_path_template_match(&parsed, path, found, &memory) == EVENER_STATUS_OK;
    values[0] = '\0';
    for (size_t i = 0; matched && i < parsed.variable_count; i++) {
        cr_assert_eq(strlen(found[i].value), found[i].length);
        strcat(values, parsed.variables[i].field_path);
        strcat(values, "=");
        strcat(values, found[i].value);
        strcat(values, ";");
    }
    free(memory);
    evener_path_template_clear(&parsed);
    return matched;
}

static void expect_match(const char *text, const char *path, const char *expected)
{
    char values[256];
    cr_expect(match(text, path, values), "%s does not match %s", text, path);
    cr_expect_str_eq(values, expected, "%s, %s: %s", text, path, values);
}

static void expect_no_match(const char *text, const char *path)
{
    char values[256];
    cr_expect_not(match(text, path, values), "%s matches %s", text, path);
}

static void expect_refused(const char *text, const char *reason)
{
    evener_path_template parsed;
    evener_status status;
    cr_expect_eq(evener_path_template_parse(text, &parsed, &status), EVENER_STATUS_INVALID_ARGUMENT, "%s", text);
    cr_expect(strstr(status.message, reason) != NULL, "%s: %s", text, status.message);
}

Test(path_template, words_and_stars)
{
    expect_match("/v1/call", "/v1/call", "");
    expect_no_match("/v1/call", "/v1/call/");
    expect_no_match("/v1/call", "/v1/Call");
    expect_no_match("/v1/call", "/v1/cal");
    expect_no_match("/v1/call", "/v1/calls");
    expect_no_match("/v1/call", "/v1/xall");
    expect_no_match("/v1/call", "/v1/calx");
    expect_no_match("/v1/call", "/v1/cal%6c%6c");
    expect_match("/v1/call", "/%761/%63%61%6c%6C", "");
    expect_match("/v1/~a.b-c_", "/v1/~a.b-c_", "");
    expect_no_match("/v1/call", "/v1");
    expect_no_match("/v1/call", "v1/call");
    expect_no_match("/v1/call", "");
    expect_match("/v1/*", "/v1/a", "");
    expect_no_match("/v1/*", "/v1/");
    expect_no_match("/v1/*", "/v1/a/b");
    expect_match("/v1/**", "/v1", "");
    expect_match("/v1/**", "/v1/a/b/c", "");
    expect_no_match("/v1/**", "/v2/a");
}

Test(path_template, variables)
{
    expect_match("/v1/{id}", "/v1/7", "id=7;");
    expect_match("/v1/{a.b_c}/x/{d=*}", "/v1/7/x/8", "a.b_c=7;d=8;");
    expect_match("/v1/{name=shelves/*/books/*}", "/v1/shelves/1/books/2", "name=shelves/1/books/2;");
    expect_no_match("/v1/{name=shelves/*/books/*}", "/v1/shelves/1/books");
    expect_match("/v1/{name=shelves/**}", "/v1/shelves/1/2", "name=shelves/1/2;");
    expect_match("/v1/{name=shelves/**}", "/v1/shelves", "name=shelves;");
    expect_match("/v1/{name=**}", "/v1", "name=;");
    expect_match("/{name=**}", "/", "name=;");
    expect_match("/v1/{name=a/*}/b", "/v1/a/7/b", "name=a/7;");
}

Test(path_template, names_of_fields_have_letters_digits_and_underscores)
{
    expect_match("/{a0}", "/x", "a0=x;");
    expect_match("/{a9.z_Z}", "/x", "a9.z_Z=x;");
    expect_match("/{_a.A1}", "/x", "_a.A1=x;");
    static const char *const no_part[] = {"/{a/}", "/{a:}", "/{a@}", "/{a[}", "/{a`}", "/{a|}", "/{a^}"};
    static const char *const no_beginning[] = {"/{0}", "/{9}", "/{@}", "/{[}", "/{`}", "/{|}", "/{a.0}", "/{.a}"};
    for (size_t i = 0; i < sizeof no_part / sizeof no_part[0]; i++) {
        expect_refused(no_part[i], "at 4: \"}\" is needed");
    }
    for (size_t i = 0; i < sizeof no_beginning / sizeof no_beginning[0]; i++) {
        expect_refused(no_beginning[i], "at 3: the path of a field is needed");
    }
}

Test(path_template, verbs)
{
    expect_match("/v1/{id}:read", "/v1/7:read", "id=7;");
    expect_no_match("/v1/{id}:read", "/v1/7");
    expect_no_match("/v1/{id}:read", "/v1/7:write");
    expect_no_match("/v1/{id}:read", "/v1/:read");
    expect_no_match("/v1/{id}:read", "/v1/7xread");
    expect_match("/v1/{name=**}:read", "/v1/a/b:read", "name=a/b;");
    expect_match("/v1/{id}", "/v1/7:read", "id=7:read;");
}

Test(path_template, percent_encoding)
{
    expect_match("/v1/{id}", "/v1/a%20b%2Fc%3a", "id=a b/c:;");
    expect_match("/v1/{name=**}", "/v1/a%2Fb/c%20d", "name=a%2Fb/c d;");
    expect_match("/v1/call", "/v1/c%61ll", "");
    expect_no_match("/v1/call", "/v1/c%6");
    expect_no_match("/v1/{id}", "/v1/%");
    expect_no_match("/v1/{id}", "/v1/%4");
    expect_no_match("/v1/{id}", "/v1/%zz");
    expect_no_match("/v1/{id}", "/v1/a%00b");
}

Test(path_template, errors_name_the_place)
{
    expect_refused("", "at 1: it begins with");
    expect_refused("v1", "at 1: it begins with");
    expect_refused("/", "at 2: a segment is needed");
    expect_refused("/v1//x", "at 5: a segment is needed");
    expect_refused("/v1/", "at 5: a segment is needed");
    expect_refused("/v1/{}", "at 6: the path of a field is needed");
    expect_refused("/v1/{a.}", "the path of a field is needed");
    expect_refused("/v1/{1a}", "the path of a field is needed");
    expect_refused("/v1/{a", "at 7: \"}\" is needed");
    expect_refused("/v1/{a={b}}", "variables do not nest");
    expect_refused("/v1/{a}/{a}", "two variables have this field");
    expect_refused("/v1/**/x", "nothing but a verb may follow");
    expect_refused("/v1/{a=**}/{b}", "nothing but a verb may follow");
    expect_refused("/v1:", "a verb is needed");
    expect_refused("/v1:a:b", "unexpected character");
    expect_refused("/v1:a/b", "unexpected character");
    expect_refused("/v1/a*", "unexpected character");
    expect_refused("/v1/a?b", "unexpected character");
    expect_refused("/v1/a%20", "unexpected character");
}

Test(path_template, limits)
{
    char text[EVENER_PATH_TEMPLATE_BYTES_MAX + 2];
    evener_path_template parsed;
    evener_status status;
    memset(text, 'a', sizeof text - 1);
    text[0] = '/';
    text[sizeof text - 1] = '\0';
    cr_expect_eq(evener_path_template_parse(text, &parsed, &status), EVENER_STATUS_RESOURCE_EXHAUSTED);
    text[sizeof text - 2] = '\0';
    evener_path_template_clear(&(evener_path_template){0});
    parsed = parse(text);
    evener_path_template_clear(&parsed);
    size_t at = 0;
    for (size_t i = 0; i < EVENER_PATH_SEGMENTS_MAX; i++) {
        text[at++] = '/';
        text[at++] = '*';
    }
    text[at] = '\0';
    char path[256];
    memcpy(path, text, at + 1);
    for (size_t i = 1; i < at; i += 2) {
        path[i] = 'x';
    }
    char values[256];
    cr_expect(match(text, path, values));
    strcat(path, "/x");
    cr_expect_not(match(text, path, values));
    strcat(text, "/x");
    expect_refused(text, "too many segments");
}

Test(path_template, the_more_specific_one_comes_first)
{
    static const char *const ordered[] = {"/v1/a/b", "/v1/a:read",      "/v1/a",      "/v1/{x}/b",
                                          "/v1/{x}", "/v1/{x=**}:read", "/v1/{x=**}", "/{x}/a"};
    const size_t count = sizeof ordered / sizeof *ordered;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            evener_path_template a = parse(ordered[i]);
            evener_path_template b = parse(ordered[j]);
            const int order = evener_path_template_compare(&a, &b);
            cr_expect(i == j  ? order == 0
                      : i < j ? order < 0
                              : order > 0,
                      "%s and %s: %d", ordered[i], ordered[j], order);
            evener_path_template_clear(&a);
            evener_path_template_clear(&b);
        }
    }
    evener_path_template a = parse("/v1/{a}");
    evener_path_template b = parse("/v1/{b=*}");
    cr_expect_eq(evener_path_template_compare(&a, &b), 0);
    evener_path_template_clear(&a);
    evener_path_template_clear(&b);
}
