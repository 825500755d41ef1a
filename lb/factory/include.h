/* Factory include: expands a factory file and its includes to one text that libconfig parses.
 *
 * libconfig's own @include ends the process when a file cannot be read (flex's YY_FATAL_ERROR calls exit(2)). So its
 * scanner must never see an @include: this module reads and expands the files, and the expanded text contains no '@'. A
 * table of lines maps places in the expanded text to files.
 *
 *     evener_factory_text text;
 *     code = evener_factory_text_expand(&text, "/etc/x.cfg", bytes, length, &reader, &files, status);
 *     config_read_string(&tree, text.text);
 *     const char *file = evener_factory_text_place(&text, config_error_line(&tree), &line);
 *     evener_factory_text_clear(&text);
 *
 * The language is libconfig's. A directive is `@include "name"` at the start of a line, after blanks only, outside
 * strings and comments. In the name, \\ and \" stand for \ and ". The rest of the line follows the included text. A
 * relative name is relative to the folder of the main file, also in included files. There are no wildcards. */
#ifndef EVENER_LB_FACTORY_INCLUDE_H
#define EVENER_LB_FACTORY_INCLUDE_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/status.h>

#define EVENER_FACTORY_INCLUDE_DEPTH_MAX 10              /* nested includes, libconfig's limit */
#define EVENER_FACTORY_INCLUDES_MAX 1000                 /* directives; a file included twice counts twice */
#define EVENER_FACTORY_TEXT_BYTES_MAX (16 * 1024 * 1024) /* of the expanded text */
#define EVENER_FACTORY_NESTING_MAX 64 /* open brackets: libconfig's parser and the walks over its tree recurse */

/* Reads files: evener_read_regular_file(), or files in memory in tests. The caller frees *text. The message of an error
 * begins with the path. */
typedef struct evener_factory_reader {
    evener_status_code (*read)(void *arg, const char *path, size_t bytes_max, char **text, size_t *bytes,
                               evener_status *status);
    void *arg;
} evener_factory_reader;

/* A list of file names without duplicates, in the order of addition; owned. Zeroed: empty. */
typedef struct evener_factory_files {
    char **names;
    size_t count;
    void *tree; /* of tsearch(): the same names, by which duplicates are found */
} evener_factory_files;

/* Return the list's copy of the name, which lives until the list is cleared; NULL: out of memory. Takes O(log count):
 * 10,000 channels may name three files each. */
const char *evener_factory_files_add(evener_factory_files *files, const char *name);
void evener_factory_files_clear(evener_factory_files *files);

/* A run of lines of one file in the expanded text. */
typedef struct evener_factory_lines {
    unsigned text_line; /* the first line's number in the expanded text, from 1 */
    unsigned file_line; /* its number in the file */
    const char *file;   /* borrowed from the files */
} evener_factory_lines;

typedef struct evener_factory_text {
    char *text; /* NUL-terminated; contains no other NUL */
    size_t bytes;
    evener_factory_lines *lines; /* sorted by text_line; at least one */
    size_t line_count;
} evener_factory_text;

/* Return the folder part of `path` ("." if it has none), to be freed; NULL: out of memory. */
char *evener_factory_folder_of(const char *path);

/* Expand the main file `path` with the given content. Adds `path` and each included file to `files`; an included file
 * is added before it is read, so that an unreadable file is watched too. On success the caller clears `out`; on failure
 * `out` is untouched. Errors, with file and line in the message: INVALID_ARGUMENT (a NUL byte, a malformed directive,
 * an open string or comment at the end of a file, a limit above exceeded), RESOURCE_EXHAUSTED, errors of the reader. */
evener_status_code evener_factory_text_expand(evener_factory_text *out, const char *path, const char *content,
                                              size_t bytes, const evener_factory_reader *reader,
                                              evener_factory_files *files, evener_status *status);

/* Return the file of a line of the expanded text, and store the line's number in that file. Any `text_line` is
 * allowed. */
const char *evener_factory_text_place(const evener_factory_text *text, unsigned text_line, unsigned *file_line);

void evener_factory_text_clear(evener_factory_text *text);

#endif
