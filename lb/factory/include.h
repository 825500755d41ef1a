/* Factory include: a factory file and all it includes as one text, for libconfig to parse.
 *
 * libconfig's own @include ends the process when a file cannot be read (flex's YY_FATAL_ERROR calls exit(2)), so its
 * scanner must never see one: files are read and expanded here, and the text that comes out holds no '@' at all, in
 * which libconfig finds no directive whatever else it finds. A table of lines leads from the text back to the files.
 *
 *     evener_factory_text text;
 *     code = evener_factory_text_expand(&text, "/etc/x.cfg", bytes, length, &reader, &files, status);
 *     config_read_string(&tree, text.text);
 *     const char *file = evener_factory_text_place(&text, config_error_line(&tree), &line);
 *     evener_factory_text_clear(&text);
 *
 * The language is libconfig's: a directive is `@include "name"`, first on its line but for blanks, outside of strings
 * and comments; in the name stand \\ and \" for \ and ". What follows it on the line follows the included text. A name
 * that is not absolute is relative to the folder of the main file, in included files too. No wildcards. */
#ifndef EVENER_LB_FACTORY_INCLUDE_H
#define EVENER_LB_FACTORY_INCLUDE_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/status.h>

#define EVENER_FACTORY_INCLUDE_DEPTH_MAX 10              /* files that include one another, as libconfig's limit */
#define EVENER_FACTORY_INCLUDES_MAX 1000                 /* directives followed, a file named twice counted twice */
#define EVENER_FACTORY_TEXT_BYTES_MAX (16 * 1024 * 1024) /* of the expanded text */
#define EVENER_FACTORY_NESTING_MAX 64 /* open brackets: libconfig's parser and what walks its tree recurse */

/* How files are read: evener_read_regular_file(), or a test's own files. As that function: *text is to be freed, and
 * the message of an error begins with the path. */
typedef struct evener_factory_reader {
    evener_status_code (*read)(void *arg, const char *path, size_t bytes_max, char **text, size_t *bytes,
                               evener_status *status);
    void *arg;
} evener_factory_reader;

/* Names of files, each once, in the order in which they were added; owned. All zero: none yet. */
typedef struct evener_factory_files {
    char **names;
    size_t count;
} evener_factory_files;

/* Return the name's own copy, which lives until the files are cleared; NULL: out of memory. */
const char *evener_factory_files_add(evener_factory_files *files, const char *name);
void evener_factory_files_clear(evener_factory_files *files);

/* Lines of one file that follow one another in the expanded text. */
typedef struct evener_factory_lines {
    unsigned text_line; /* the first of them in the expanded text, from 1 */
    unsigned file_line; /* the same line in the file */
    const char *file;   /* borrowed from the files */
} evener_factory_lines;

typedef struct evener_factory_text {
    char *text; /* ends with NUL and holds no other */
    size_t bytes;
    evener_factory_lines *lines; /* sorted by text_line; at least one */
    size_t line_count;
} evener_factory_text;

/* Return the folder that names in the file `path` are relative to ("." if it has none), to be freed; NULL: out of
 * memory. */
char *evener_factory_folder_of(const char *path);

/* Expand the main file `path`, whose content is given. What is included is added to `files`, before it is read, so that
 * a file which cannot be read is known too; `path` as well. On success `out` is to be cleared, on failure it is
 * untouched. Errors, with file and line in the message: INVALID_ARGUMENT (a NUL byte, a malformed directive, an open
 * string or comment at the end of a file, one of the limits above), RESOURCE_EXHAUSTED, those of the reader. */
evener_status_code evener_factory_text_expand(evener_factory_text *out, const char *path, const char *content,
                                              size_t bytes, const evener_factory_reader *reader,
                                              evener_factory_files *files, evener_status *status);

/* Return the file of a line of the expanded text, and store the line in it. Any number is allowed. */
const char *evener_factory_text_place(const evener_factory_text *text, unsigned text_line, unsigned *file_line);

void evener_factory_text_clear(evener_factory_text *text);

#endif
