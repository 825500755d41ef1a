/* @include: the syntax of directives, the expanded text, the mapping of lines to files, and each error. The files are
 * in memory. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libconfig.h>

#include "lb/factory/include.h"

struct memory_file {
    const char *path;
    const char *content;
};

struct disk {
    const struct memory_file *files;
    size_t count;
    unsigned reads;
};

static evener_status_code read_memory(void *arg, const char *path, size_t bytes_max, char **text, size_t *bytes,
                                      evener_status *status)
{
    struct disk *disk = arg;
    disk->reads++;
    for (size_t i = 0; i < disk->count; i++) {
        if (strcmp(disk->files[i].path, path) == 0) {
            *bytes = strlen(disk->files[i].content);
            cr_assert_leq(*bytes, bytes_max);
            *text = strdup(disk->files[i].content);
            return EVENER_STATUS_OK;
        }
    }
    return evener_status_set(status, EVENER_STATUS_NOT_FOUND, "%s: cannot be read: it is not there", path);
}

struct scene {
    struct disk disk;
    evener_factory_files files;
    evener_factory_text text;
    evener_status status;
};

static evener_status_code expand(struct scene *s, const char *content)
{
    const evener_factory_reader reader = {.read = read_memory, .arg = &s->disk};
    return evener_factory_text_expand(&s->text, "/etc/main.cfg", content, strlen(content), &reader, &s->files,
                                      &s->status);
}

static void clear(struct scene *s)
{
    evener_factory_text_clear(&s->text);
    evener_factory_files_clear(&s->files);
}

#define SCENE(...)                                                                                                     \
    {                                                                                                                  \
        .disk = {.files = (const struct memory_file[]){__VA_ARGS__},                                                   \
                 .count = sizeof((const struct memory_file[]){__VA_ARGS__}) / sizeof(struct memory_file)},             \
    }

static void expect_text(struct scene *s, const char *content, const char *expanded)
{
    cr_assert_eq(expand(s, content), EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_str_eq(s->text.text, expanded);
    cr_expect_eq(s->text.bytes, strlen(expanded));
    clear(s);
}

static void expect_refused(struct scene *s, const char *content, evener_status_code code, const char *message)
{
    cr_expect_eq(expand(s, content), code, "%s", s->status.message);
    cr_expect_eq(strncmp(s->status.message, message, strlen(message)), 0, "\"%s\"\n is not\n\"%s...\"\n for %s",
                 s->status.message, message, content);
    cr_expect_null(s->text.text);
    clear(s);
}

/* ---- the expanded text ---- */

Test(factory_include, a_file_stands_where_the_directive_stood)
{
    struct scene s = SCENE({"/etc/b.cfg", "b = 2;"}, {"/srv/c.cfg", "c = 3;\n"});
    expect_text(&s, "a = 1;\n@include \"b.cfg\"\nd = 4;\n", "a = 1;\nb = 2;\n\nd = 4;\n");
    expect_text(&s, "a = 1;\n \t@include\t \"/srv/c.cfg\" d = 4;", "a = 1;\n \t\nc = 3;\n d = 4;");
    expect_text(&s, "", "");
}

Test(factory_include, names_are_relative_to_the_main_file_in_included_files_too)
{
    struct scene s = SCENE({"/etc/sub/b.cfg", "@include \"c.cfg\""}, {"/etc/c.cfg", "c = 3;"});
    expect_text(&s, "@include \"sub/b.cfg\"", "c = 3;\n");
}

Test(factory_include, a_name_may_have_quotes_and_backslashes)
{
    struct scene s = SCENE({"/etc/a\"b\\c.cfg", "c = 3;"});
    expect_text(&s, "@include \"a\\\"b\\\\c.cfg\"", "c = 3;\n");
    expect_refused(&s, "@include \"a\\b\"", EVENER_STATUS_INVALID_ARGUMENT, "/etc/main.cfg:1: @include: after a back");
}

/* libconfig's text must contain no '@', so that its scanner never includes a file itself. */
Test(factory_include, what_is_no_directive_is_left_out_or_disguised)
{
    struct scene s = SCENE({"/etc/x", "?"});
    expect_text(&s, "# @include \"x\"\na = 1;", "\na = 1;");
    expect_text(&s, "// @include \"x\"\n// end", "\n");
    expect_text(&s, "/*\n@include \"x\"\n*/ a = 1;", " \n\n a = 1;");
    expect_text(&s, "a = \"\n@include \\\"x\\\"\\n\";", "a = \"\n\\x40include \\\"x\\\"\\n\";");
    expect_text(&s, "a = \"\\@ \\\\@ \\\\\";", "a = \"\\\\\\x40 \\\\\\x40 \\\\\";");
    expect_text(&s, "a = \"# no /* comment\"; # one \"\n/* one \" */ b = 1;", "a = \"# no /* comment\"; \n  b = 1;");
    cr_expect_eq(s.disk.reads, 0);
}

static void expect_same_value(const char *literal)
{
    struct scene s = {.disk = {.count = 0}};
    char content[64];
    snprintf(content, sizeof content, "a = \"%s\";\n", literal);
    cr_assert_eq(expand(&s, content), EVENER_STATUS_OK, "%s", s.status.message);
    cr_expect_null(strchr(s.text.text, '@'));
    config_t plain, expanded;
    const char *value = NULL, *expanded_value = NULL;
    config_init(&plain);
    config_init(&expanded);
    cr_assert_eq(config_read_string(&plain, content), CONFIG_TRUE);
    cr_assert_eq(config_read_string(&expanded, s.text.text), CONFIG_TRUE);
    cr_assert_eq(config_lookup_string(&plain, "a", &value), CONFIG_TRUE);
    cr_assert_eq(config_lookup_string(&expanded, "a", &expanded_value), CONFIG_TRUE);
    cr_expect_str_eq(value, expanded_value);
    config_destroy(&plain);
    config_destroy(&expanded);
    clear(&s);
}

Test(factory_include, strings_keep_their_values)
{
    static const char *const literals[] = {"user@host", "@",          "\\@",        "\\\\@",   "\\\\\\@", "\\n@\\t",
                                           "\\q@",      "a\\\"@\\\"", "\\x41@\\x4", "\\\\x40", "\\x4@",   "@@\\\\"};
    for (size_t i = 0; i < sizeof literals / sizeof literals[0]; i++) {
        expect_same_value(literals[i]);
    }
}

/* ---- places ---- */

static void expect_place(const struct scene *s, const char *word, const char *file, unsigned line)
{
    const char *at = strstr(s->text.text, word);
    cr_assert_not_null(at, "%s", word);
    unsigned text_line = 1;
    for (const char *c = s->text.text; c < at; c++) {
        text_line += *c == '\n';
    }
    unsigned found = 0;
    cr_expect_str_eq(evener_factory_text_place(&s->text, text_line, &found), file, "%s", word);
    cr_expect_eq(found, line, "%s: line %u", word, found);
}

Test(factory_include, each_word_is_known_by_its_own_file_and_line)
{
    struct scene s = SCENE({"/etc/b.cfg", "b1 = 1;\n/* \n */ b2 = \"\n\n\"; b3 = 1;\n@include \"c.cfg\"\nb4 = 4;"},
                           {"/etc/c.cfg", "\nc1 = 1;"});
    cr_assert_eq(expand(&s, "a1 = 1;\n# comment\n@include \"b.cfg\" a2 = 2;\n@include \"c.cfg\"\na3 = 3;\n"),
                 EVENER_STATUS_OK, "%s", s.status.message);
    expect_place(&s, "a1", "/etc/main.cfg", 1);
    expect_place(&s, "b1", "/etc/b.cfg", 1);
    expect_place(&s, "b2", "/etc/b.cfg", 3);
    expect_place(&s, "b3", "/etc/b.cfg", 5);
    expect_place(&s, "c1", "/etc/c.cfg", 2);
    expect_place(&s, "b4", "/etc/b.cfg", 7);
    expect_place(&s, "a2", "/etc/main.cfg", 3);
    expect_place(&s, "a3", "/etc/main.cfg", 5);
    unsigned line = 0;
    cr_expect_str_eq(evener_factory_text_place(&s.text, 0, &line), "/etc/main.cfg");
    cr_expect_eq(line, 1);
    cr_expect_eq(s.files.count, 3, "a file that is included twice is one file");
    clear(&s);
}

/* ---- errors ---- */

Test(factory_include, a_malformed_directive_is_refused)
{
    static const char *const bad[] = {"@include",         "@include\"x\"",         "@include x",
                                      "@include\n\"x\"",  "@includes \"x\"",       "@",
                                      "@INCLUDE \"x\"",   "a = @include \"x\"",    "/* */ @include \"x\"",
                                      "\r@include \"x\"", "\"\n\" @include \"x\"", "@include \"y\" @include \"y\""};
    struct scene s = SCENE({"/etc/x", "x = 1;"}, {"/etc/y", ""});
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect_refused(&s, bad[i], EVENER_STATUS_INVALID_ARGUMENT,
                       bad[i][0] == '"' ? "/etc/main.cfg:2: '@' stands in strings" : "/etc/main.cfg:1: '@' stands in");
    }
    expect_refused(&s, "\n@include \"\"", EVENER_STATUS_INVALID_ARGUMENT, "/etc/main.cfg:2: @include: the name is emp");
    expect_refused(&s, "@include \"x\n\"", EVENER_STATUS_INVALID_ARGUMENT, "/etc/main.cfg:1: @include: the name is no");
    expect_refused(&s, "@include \"x", EVENER_STATUS_INVALID_ARGUMENT, "/etc/main.cfg:1: @include: the name is not");
    expect_refused(&s, "@include \"x\\", EVENER_STATUS_INVALID_ARGUMENT, "/etc/main.cfg:1: @include: the name is not");
}

Test(factory_include, a_file_that_cannot_be_read_is_named_and_known)
{
    struct scene s = SCENE({"/etc/b.cfg", "\n\n@include \"c.cfg\""});
    cr_expect_eq(expand(&s, "@include \"b.cfg\""), EVENER_STATUS_NOT_FOUND);
    cr_expect_str_eq(s.status.message, "/etc/b.cfg:3: @include: /etc/c.cfg: cannot be read: it is not there");
    cr_assert_eq(s.files.count, 3, "its repair is to be seen");
    cr_expect_str_eq(s.files.names[2], "/etc/c.cfg");
    clear(&s);
}

Test(factory_include, strings_and_comments_end_in_their_own_file)
{
    struct scene s = SCENE({"/etc/b.cfg", "\na = \"x\n"}, {"/etc/c.cfg", "/* \n"}, {"/etc/d.cfg", "# no line end"});
    expect_refused(&s, "@include \"b.cfg\"\n\";", EVENER_STATUS_INVALID_ARGUMENT,
                   "/etc/b.cfg:2: the string that begins here is not closed");
    expect_refused(&s, "@include \"c.cfg\"\n*/", EVENER_STATUS_INVALID_ARGUMENT,
                   "/etc/c.cfg:1: the comment that begins here is not closed");
    expect_text(&s, "@include \"d.cfg\" a = 1;", " a = 1;");
}

Test(factory_include, files_that_include_themselves_are_refused)
{
    struct scene s = SCENE({"/etc/b.cfg", "@include \"c.cfg\""}, {"/etc/c.cfg", "\n@include \"b.cfg\""});
    expect_refused(&s, "@include \"b.cfg\"", EVENER_STATUS_INVALID_ARGUMENT,
                   "/etc/c.cfg:2: @include: /etc/b.cfg includes itself");
    expect_refused(&s, "@include \"main.cfg\"", EVENER_STATUS_INVALID_ARGUMENT,
                   "/etc/main.cfg:1: @include: /etc/main.cfg includes itself");
    /* Includes itself under different names, as through symlinks: the depth limit applies. */
    struct scene links = SCENE({"/etc/1", "@include \"2\""}, {"/etc/2", "@include \"3\""}, {"/etc/3", "@include \"4\""},
                               {"/etc/4", "@include \"5\""}, {"/etc/5", "@include \"6\""}, {"/etc/6", "@include \"7\""},
                               {"/etc/7", "@include \"8\""}, {"/etc/8", "@include \"9\""},
                               {"/etc/9", "@include \"10\""}, {"/etc/10", "a = 1;"});
    expect_text(&links, "@include \"1\"", "a = 1;\n");
    expect_text(&links, "@include \"2\"", "a = 1;\n");
    struct scene deeper =
        SCENE({"/etc/0", "@include \"1\""}, {"/etc/1", "@include \"2\""}, {"/etc/2", "@include \"3\""},
              {"/etc/3", "@include \"4\""}, {"/etc/4", "@include \"5\""}, {"/etc/5", "@include \"6\""},
              {"/etc/6", "@include \"7\""}, {"/etc/7", "@include \"8\""}, {"/etc/8", "@include \"9\""},
              {"/etc/9", "@include \"10\""}, {"/etc/10", "a = 1;"});
    expect_refused(&deeper, "@include \"0\"", EVENER_STATUS_INVALID_ARGUMENT,
                   "/etc/9:1: @include: /etc/10: more than 10 files include one another");
}

static char *repeat(const char *piece, size_t count, const char *end)
{
    const size_t bytes = strlen(piece);
    char *text = malloc(bytes * count + strlen(end) + 1);
    cr_assert_not_null(text);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + i * bytes, piece, bytes);
    }
    strcpy(text + bytes * count, end);
    return text;
}

Test(factory_include, the_number_of_files_is_limited)
{
    struct scene s = SCENE({"/etc/b", ""});
    char *most = repeat("@include \"b\"\n", EVENER_FACTORY_INCLUDES_MAX, "");
    cr_expect_eq(expand(&s, most), EVENER_STATUS_OK, "%s", s.status.message);
    clear(&s);
    char *more = repeat("@include \"b\"\n", EVENER_FACTORY_INCLUDES_MAX, "@include \"b\"");
    expect_refused(&s, more, EVENER_STATUS_INVALID_ARGUMENT,
                   "/etc/main.cfg:1001: @include: /etc/b: more than 1000 files are included");
    free(most);
    free(more);
}

Test(factory_include, the_whole_text_is_limited)
{
    const size_t mib = 1024 * 1024;
    char *block = repeat("a", mib - 1, "\n");
    const struct memory_file file = {"/etc/b", block};
    struct scene s = {.disk = {.files = &file, .count = 1}};
    char *most = repeat("@include \"b\"\n", 15, "");
    cr_expect_eq(expand(&s, most), EVENER_STATUS_OK, "%s", s.status.message);
    cr_expect_leq(s.text.bytes, (size_t)EVENER_FACTORY_TEXT_BYTES_MAX);
    clear(&s);
    char *more = repeat("@include \"b\"\n", 17, "");
    expect_refused(&s, more, EVENER_STATUS_INVALID_ARGUMENT, "/etc/b:1: with what is included, the configuration is");
    free(most);
    free(more);
    free(block);
}

Test(factory_include, brackets_are_counted_outside_of_strings_and_comments)
{
    struct scene s = SCENE({"/etc/b", "((("});
    char *most = repeat("(", EVENER_FACTORY_NESTING_MAX, " # (((\n/* ((( */ \"(((\"");
    cr_expect_eq(expand(&s, most), EVENER_STATUS_OK, "%s", s.status.message);
    clear(&s);
    char *more = repeat("[", EVENER_FACTORY_NESTING_MAX - 2, "\n@include \"b\"");
    expect_refused(&s, more, EVENER_STATUS_INVALID_ARGUMENT, "/etc/b:1: more than 64 brackets are open");
    expect_text(&s, ")}]", ")}]");
    free(most);
    free(more);
}

/* A reload of 10,000 channels with their own PEM files adds 30,000 names. */
Test(factory_include, each_name_is_kept_once_in_the_order_of_addition)
{
    enum { NAMES = 30000 };
    evener_factory_files files = {0};
    static const char *kept[NAMES];
    char name[32];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < NAMES; i++) {
            snprintf(name, sizeof name, "/etc/%u.pem", i * 7919 % NAMES);
            const char *copy = evener_factory_files_add(&files, name);
            cr_assert_not_null(copy);
            cr_assert_str_eq(copy, name);
            cr_assert(round == 0 || copy == kept[i]);
            kept[i] = copy;
        }
        cr_assert_eq(files.count, NAMES);
    }
    for (unsigned i = 0; i < NAMES; i++) {
        cr_assert_eq(files.names[i], kept[i]);
    }
    evener_factory_files_clear(&files);
    cr_expect_null(files.names);
    cr_expect_eq(files.count, 0);
    cr_assert_not_null(evener_factory_files_add(&files, "again"));
    cr_expect_eq(files.count, 1);
    evener_factory_files_clear(&files);
}
