#include "lb/factory/include.h"

#include <search.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/factory.h>

#include "lb/base/c_locale.h"

#define DIRECTIVE "@include"

/* A file being read. */
typedef struct frame {
    const struct frame *parent; /* the file that includes it; NULL: the main file */
    const char *file;
    const char *content;
    size_t bytes;
    size_t at;     /* offset of the next byte */
    unsigned line; /* line of the next byte, from 1 */
    unsigned depth;
    bool at_line_start; /* only blanks since the start of the line */
} frame;

typedef struct expander {
    evener_factory_text out;
    size_t room;        /* capacity of out.text, including its NUL */
    size_t lines_room;  /* capacity of out.lines */
    unsigned text_line; /* line of the next byte of out.text */
    unsigned nesting;   /* open brackets */
    unsigned includes;
    const char *folder;
    const evener_factory_reader *reader;
    evener_factory_files *files;
    evener_status *status;
} expander;

/* ---- names of files ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void leave(void *name)
{
    (void)name; /* `names` owns it */
}

/* Make room for one more name. The capacity is the next power of two. */
static bool grow(evener_factory_files *files)
{
    if ((files->count & (files->count - 1)) != 0) {
        return true;
    }
    char **grown = realloc(files->names, (files->count != 0 ? 2 * files->count : 1) * sizeof *grown);
    if (grown != NULL) {
        files->names = grown;
    }
    return grown != NULL;
}

const char *evener_factory_files_add(evener_factory_files *files, const char *name)
{
    char *const *known = tfind(name, &files->tree, by_text);
    if (known != NULL) {
        return *known;
    }
    char *copy = grow(files) ? strdup(name) : NULL;
    if (copy == NULL || tsearch(copy, &files->tree, by_text) == NULL) {
        free(copy);
        return NULL;
    }
    return files->names[files->count++] = copy;
}

void evener_factory_files_clear(evener_factory_files *files)
{
    tdestroy(files->tree, leave);
    for (size_t i = 0; i < files->count; i++) {
        free(files->names[i]);
    }
    free(files->names);
    *files = (evener_factory_files){0};
}

char *evener_factory_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return strdup(".");
    }
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* ---- messages ---- */

static evener_status_code no_memory(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "factory file: out of memory");
}

static evener_status_code refuse(const expander *e, const frame *f, unsigned line, const char *format, ...)
    EVENER_PRINTF(4, 5);

static evener_status_code refuse(const expander *e, const frame *f, unsigned line, const char *format, ...)
{
    char reason[EVENER_STATUS_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    evener_vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return evener_status_set(e->status, EVENER_STATUS_INVALID_ARGUMENT, "%s:%u: %s", f->file, line, reason);
}

/* ---- the expanded text ---- */

static evener_status_code put(expander *e, const frame *f, const char *bytes, size_t count)
{
    if (count > EVENER_FACTORY_TEXT_BYTES_MAX - e->out.bytes) {
        return refuse(e, f, f->line, "with what is included, the configuration is larger than %d bytes",
                      EVENER_FACTORY_TEXT_BYTES_MAX);
    }
    if (e->room - e->out.bytes <= count) {
        const size_t room = e->out.bytes + count < 2048 ? 4096 : (e->out.bytes + count) * 2;
        char *grown = realloc(e->out.text, room);
        if (grown == NULL) {
            return no_memory(e->status);
        }
        e->out.text = grown;
        e->room = room;
    }
    memcpy(e->out.text + e->out.bytes, bytes, count);
    e->out.bytes += count;
    e->out.text[e->out.bytes] = '\0';
    for (size_t i = 0; i < count; i++) {
        e->text_line += bytes[i] == '\n';
    }
    return EVENER_STATUS_OK;
}

/* Start a new run of lines at the file's current line. Ends the expanded text's current line first. */
static evener_status_code begin_lines(expander *e, const frame *f)
{
    if (e->out.bytes > 0 && e->out.text[e->out.bytes - 1] != '\n') {
        const evener_status_code code = put(e, f, "\n", 1);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
    }
    if (e->out.line_count == e->lines_room) {
        const size_t room = e->lines_room == 0 ? 8 : e->lines_room * 2;
        evener_factory_lines *grown = realloc(e->out.lines, room * sizeof *grown);
        if (grown == NULL) {
            return no_memory(e->status);
        }
        e->out.lines = grown;
        e->lines_room = room;
    }
    e->out.lines[e->out.line_count++] =
        (evener_factory_lines){.text_line = e->text_line, .file_line = f->line, .file = f->file};
    return EVENER_STATUS_OK;
}

/* ---- tokens of libconfig's scanner ---- */

static char peek(const frame *f, size_t ahead)
{
    return f->bytes - f->at > ahead ? f->content[f->at + ahead] : '\0';
}

/* Copy one byte and advance. Refuses NUL, which would silently cut the text short. */
static evener_status_code copy_byte(expander *e, frame *f)
{
    const char c = f->content[f->at];
    if (c == '\0') {
        return refuse(e, f, f->line, "a zero byte");
    }
    const evener_status_code code = put(e, f, &c, 1);
    f->at++;
    if (c == '\n') {
        f->line++;
        f->at_line_start = true;
    } else if (c != ' ' && c != '\t') {
        f->at_line_start = false;
    }
    return code;
}

/* Copy a string, with each '@' replaced by the escape "\x40". libconfig takes a lone backslash literally; before an '@'
 * it is doubled, so that it does not combine with the backslash of the escape. */
static evener_status_code copy_string(expander *e, frame *f)
{
    const unsigned first_line = f->line;
    evener_status_code code = copy_byte(e, f);
    while (code == EVENER_STATUS_OK && f->at < f->bytes) {
        const char c = peek(f, 0);
        const char next = peek(f, 1);
        if (c == '"') {
            return copy_byte(e, f);
        }
        if (c == '@') {
            code = put(e, f, "\\x40", 4);
            f->at++;
        } else if (c == '\\' && next == '@') {
            code = put(e, f, "\\\\", 2);
            f->at++;
        } else {
            code = copy_byte(e, f);
            if (code == EVENER_STATUS_OK && c == '\\' && (next == '\\' || next == '"')) {
                code = copy_byte(e, f);
            }
        }
    }
    return code != EVENER_STATUS_OK ? code : refuse(e, f, first_line, "the string that begins here is not closed");
}

/* Skip a comment up to the end of its line. */
static evener_status_code skip_line_comment(expander *e, frame *f)
{
    while (f->at < f->bytes && peek(f, 0) != '\n') {
        if (peek(f, 0) == '\0') {
            return refuse(e, f, f->line, "a zero byte");
        }
        f->at++;
    }
    return EVENER_STATUS_OK;
}

/* Replace a comment by one blank (comments separate words) and its line ends. */
static evener_status_code skip_comment(expander *e, frame *f)
{
    const unsigned first_line = f->line;
    f->at += 2;
    f->at_line_start = false;
    evener_status_code code = put(e, f, " ", 1);
    while (code == EVENER_STATUS_OK && f->at < f->bytes) {
        if (peek(f, 0) == '*' && peek(f, 1) == '/') {
            f->at += 2;
            f->at_line_start = false; /* as in libconfig: after a comment, no directive may start */
            return EVENER_STATUS_OK;
        }
        if (peek(f, 0) == '\n' || peek(f, 0) == '\0') {
            code = copy_byte(e, f);
        } else {
            f->at++;
        }
    }
    return code != EVENER_STATUS_OK ? code : refuse(e, f, first_line, "the comment that begins here is not closed");
}

static evener_status_code copy_bracket(expander *e, frame *f)
{
    const char c = peek(f, 0);
    if (c == '{' || c == '(' || c == '[') {
        if (e->nesting == EVENER_FACTORY_NESTING_MAX) {
            return refuse(e, f, f->line, "more than %d brackets are open", EVENER_FACTORY_NESTING_MAX);
        }
        e->nesting++;
    } else if (e->nesting > 0) { /* libconfig refuses surplus closing brackets */
        e->nesting--;
    }
    return copy_byte(e, f);
}

/* ---- @include ---- */

static evener_status_code expand(expander *e, frame *f);

/* Parse the directive at the frame's position and store its name, to be freed. */
static evener_status_code read_directive(const expander *e, frame *f, char **name)
{
    const size_t keyword_bytes = sizeof DIRECTIVE - 1;
    size_t at = f->at;
    const bool keyword =
        f->at_line_start && f->bytes - at > keyword_bytes && memcmp(f->content + at, DIRECTIVE, keyword_bytes) == 0;
    const size_t blanks_at = at + keyword_bytes;
    for (at = blanks_at; keyword && at < f->bytes && (f->content[at] == ' ' || f->content[at] == '\t'); at++) {
    }
    if (!keyword || at == blanks_at || at == f->bytes || f->content[at] != '"') {
        return refuse(e, f, f->line,
                      "'@' stands in strings, or begins a line as in @include \"shared.cfg\", and nowhere else");
    }
    char *text = malloc(f->bytes - at);
    if (text == NULL) {
        return no_memory(e->status);
    }
    evener_status_code code = EVENER_STATUS_OK;
    size_t length = 0;
    for (at++; at < f->bytes && f->content[at] != '"'; at++) {
        char c = f->content[at];
        if (c == '\\') {
            at++;
            c = at < f->bytes ? f->content[at] : '\n';
            if (c != '\\' && c != '"' && c != '\n') {
                code = refuse(e, f, f->line, "@include: after a backslash, the name needs another one or a quote");
                break;
            }
        }
        if (c == '\n' || c == '\0') {
            break;
        }
        text[length++] = c;
    }
    text[length] = '\0';
    if (code == EVENER_STATUS_OK && (at >= f->bytes || f->content[at] != '"')) {
        code = refuse(e, f, f->line, "@include: the name is not closed with a quote on its line");
    } else if (code == EVENER_STATUS_OK && length == 0) {
        code = refuse(e, f, f->line, "@include: the name is empty; name a file, as in @include \"shared.cfg\"");
    }
    if (code != EVENER_STATUS_OK) {
        free(text);
        return code;
    }
    f->at = at + 1;
    f->at_line_start = false;
    *name = text;
    return EVENER_STATUS_OK;
}

static bool is_being_read(const frame *f, const char *path)
{
    for (; f != NULL; f = f->parent) {
        if (strcmp(f->file, path) == 0) {
            return true;
        }
    }
    return false;
}

/* Return the path of an included file, in memory of e->files; NULL: out of memory. */
static const char *path_of(const expander *e, const char *name)
{
    if (name[0] == '/') {
        return evener_factory_files_add(e->files, name);
    }
    char *path = NULL;
    if (asprintf(&path, "%s/%s", e->folder, name) < 0) {
        return NULL;
    }
    const char *known = evener_factory_files_add(e->files, path);
    free(path);
    return known;
}

static evener_status_code include_file(expander *e, frame *f, const char *name)
{
    const char *path = path_of(e, name);
    if (path == NULL) {
        return no_memory(e->status);
    }
    if (is_being_read(f, path)) {
        return refuse(e, f, f->line, "@include: %s includes itself", path);
    }
    if (f->depth == EVENER_FACTORY_INCLUDE_DEPTH_MAX) {
        return refuse(e, f, f->line, "@include: %s: more than %d files include one another", path,
                      EVENER_FACTORY_INCLUDE_DEPTH_MAX);
    }
    if (e->includes == EVENER_FACTORY_INCLUDES_MAX) {
        return refuse(e, f, f->line, "@include: %s: more than %d files are included", path,
                      EVENER_FACTORY_INCLUDES_MAX);
    }
    e->includes++;
    evener_status reason;
    char *content = NULL;
    frame inner = {.parent = f, .file = path, .line = 1, .depth = f->depth + 1, .at_line_start = true};
    evener_status_code code =
        e->reader->read(e->reader->arg, path, EVENER_FACTORY_FILE_BYTES_MAX, &content, &inner.bytes, &reason);
    if (code != EVENER_STATUS_OK) {
        return evener_status_set(e->status, code, "%s:%u: @include: %s", f->file, f->line, reason.message);
    }
    inner.content = content;
    code = begin_lines(e, &inner);
    if (code == EVENER_STATUS_OK) {
        code = expand(e, &inner);
    }
    free(content);
    return code == EVENER_STATUS_OK ? begin_lines(e, f) : code;
}

static evener_status_code follow_directive(expander *e, frame *f)
{
    char *name = NULL;
    evener_status_code code = read_directive(e, f, &name);
    if (code == EVENER_STATUS_OK) {
        code = include_file(e, f, name);
        free(name);
    }
    return code;
}

/* Append the rest of a file. Recurses at most EVENER_FACTORY_INCLUDE_DEPTH_MAX deep. */
static evener_status_code expand(expander *e, frame *f)
{
    evener_status_code code = EVENER_STATUS_OK;
    while (code == EVENER_STATUS_OK && f->at < f->bytes) {
        const char c = peek(f, 0);
        const char next = peek(f, 1);
        if (c == '"') {
            code = copy_string(e, f);
        } else if (c == '#' || (c == '/' && next == '/')) {
            code = skip_line_comment(e, f);
        } else if (c == '/' && next == '*') {
            code = skip_comment(e, f);
        } else if (c == '@') {
            code = follow_directive(e, f);
        } else if (c != '\0' && strchr("{}()[]", c) != NULL) {
            code = copy_bracket(e, f);
        } else {
            code = copy_byte(e, f);
        }
    }
    return code;
}

/* ---- public functions ---- */

evener_status_code evener_factory_text_expand(evener_factory_text *out, const char *path, const char *content,
                                              size_t bytes, const evener_factory_reader *reader,
                                              evener_factory_files *files, evener_status *status)
{
    char *folder = evener_factory_folder_of(path);
    frame whole = {.file = evener_factory_files_add(files, path),
                   .content = content,
                   .bytes = bytes,
                   .line = 1,
                   .at_line_start = true};
    expander e = {.text_line = 1, .folder = folder, .reader = reader, .files = files, .status = status};
    evener_status_code code;
    if (folder == NULL || whole.file == NULL) {
        code = no_memory(status);
    } else {
        code = put(&e, &whole, "", 0);
        code = code == EVENER_STATUS_OK ? begin_lines(&e, &whole) : code;
        code = code == EVENER_STATUS_OK ? expand(&e, &whole) : code;
    }
    free(folder);
    if (code == EVENER_STATUS_OK) {
        *out = e.out;
    } else {
        evener_factory_text_clear(&e.out);
    }
    return code;
}

const char *evener_factory_text_place(const evener_factory_text *text, unsigned text_line, unsigned *file_line)
{
    size_t low = 0; /* invariant: the last run that starts at or before text_line is in [low, high) */
    size_t high = text->line_count;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (text->lines[middle].text_line <= text_line) {
            low = middle;
        } else {
            high = middle;
        }
    }
    const evener_factory_lines *lines = &text->lines[low];
    *file_line = lines->file_line + (text_line > lines->text_line ? text_line - lines->text_line : 0);
    return lines->file;
}

void evener_factory_text_clear(evener_factory_text *text)
{
    free(text->text);
    free(text->lines);
    *text = (evener_factory_text){0};
}
