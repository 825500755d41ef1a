#include "lb/protobuf/path_template.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- parsing ---- */

typedef struct parser {
    const char *text;
    const char *at;
    char *to; /* where literals and field paths are copied to; as long as the text
             */
    evener_path_template *into;
    evener_status *status;
} parser;

static evener_status_code refuse(const parser *self, const char *what)
{
    return evener_status_set(self->status, EVENER_STATUS_INVALID_ARGUMENT, "path template \"%s\", at %zu: %s",
                             self->text, (size_t)(self->at - self->text) + 1, what);
}

/* Copy `length` bytes from here, and go on behind them. */
static const char *take(parser *self, size_t length)
{
    const char *taken = self->to;
    memcpy(self->to, self->at, length);
    self->to[length] = '\0';
    self->to += length + 1;
    self->at += length;
    return taken;
}

static evener_status_code add_segment(parser *self, evener_path_segment_kind kind, const char *literal)
{
    evener_path_template *into = self->into;
    if (into->segment_count > 0 && into->segments[into->segment_count - 1].kind == EVENER_PATH_REST) {
        return refuse(self, "nothing but a verb may follow \"**\"");
    }
    if (into->segment_count == EVENER_PATH_SEGMENTS_MAX) {
        return refuse(self, "too many segments");
    }
    into->segments[into->segment_count++] = (evener_path_segment){kind, literal};
    return EVENER_STATUS_OK;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Return the length of the field path here: identifiers, separated by dots. 0:
 * none. */
static size_t field_path_length(const char *at)
{
    size_t length = 0;
    for (;;) {
        if (!is_letter(at[length])) {
            return 0;
        }
        while (is_letter(at[length]) || (at[length] >= '0' && at[length] <= '9')) {
            length++;
        }
        if (at[length] != '.') {
            return length;
        }
        length++;
    }
}

static evener_status_code parse_segments(parser *self, bool in_variable);

static evener_status_code parse_variable(parser *self)
{
    evener_path_template *into = self->into;
    self->at++; /* "{" */
    const size_t length = field_path_length(self->at);
    if (length == 0) {
        return refuse(self, "the path of a field is needed");
    }
    if (into->variable_count == EVENER_PATH_VARIABLES_MAX) {
        return refuse(self, "too many variables");
    }
    evener_path_variable *variable = &into->variables[into->variable_count++];
    *variable = (evener_path_variable){.field_path = take(self, length), .first = into->segment_count};
    for (const evener_path_variable *other = into->variables; other < variable; other++) {
        if (strcmp(other->field_path, variable->field_path) == 0) {
            return refuse(self, "two variables have this field");
        }
    }
    evener_status_code code;
    if (*self->at == '=') {
        self->at++;
        code = parse_segments(self, true);
    } else {
        code = add_segment(self, EVENER_PATH_ANY, NULL);
    }
    variable->end = into->segment_count;
    if (code == EVENER_STATUS_OK && *self->at != '}') {
        return refuse(self, "\"}\" is needed");
    }
    self->at += code == EVENER_STATUS_OK;
    return code;
}

static evener_status_code parse_segment(parser *self, bool in_variable)
{
    if (*self->at == '{') {
        return in_variable ? refuse(self, "variables do not nest") : parse_variable(self);
    }
    if (*self->at == '*') {
        const bool rest = self->at[1] == '*';
        self->at += rest ? 2 : 1;
        return add_segment(self, rest ? EVENER_PATH_REST : EVENER_PATH_ANY, NULL);
    }
    const size_t length = strcspn(self->at, "/:{}*=?#%");
    if (length == 0) {
        return refuse(self, "a segment is needed: a word, \"*\", \"**\" or \"{field}\"");
    }
    return add_segment(self, EVENER_PATH_LITERAL, take(self, length));
}

static evener_status_code parse_segments(parser *self, bool in_variable)
{
    for (;;) {
        const evener_status_code code = parse_segment(self, in_variable);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
        if (*self->at != '/') {
            return EVENER_STATUS_OK;
        }
        self->at++;
    }
}

static evener_status_code parse_all(parser *self)
{
    if (*self->at != '/') {
        return refuse(self, "it begins with \"/\"");
    }
    self->at++;
    const evener_status_code code = parse_segments(self, false);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    if (*self->at == ':') {
        self->at++;
        const size_t length = strcspn(self->at, "/:{}*=?#%");
        if (length == 0) {
            return refuse(self, "a verb is needed behind \":\"");
        }
        self->into->verb = take(self, length);
    }
    return *self->at == '\0' ? EVENER_STATUS_OK : refuse(self, "unexpected character");
}

evener_status_code evener_path_template_parse(const char *text, evener_path_template *parsed, evener_status *status)
{
    const size_t length = strlen(text);
    if (length > EVENER_PATH_TEMPLATE_BYTES_MAX) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "a path template of %zu bytes; at most %d",
                                 length, EVENER_PATH_TEMPLATE_BYTES_MAX);
    }
    *parsed = (evener_path_template){.text = strdup(text), .memory = malloc(2 * length + 2)};
    parser self = {.text = text, .at = text, .to = parsed->memory, .into = parsed, .status = status};
    evener_status_code code;
    if (parsed->text == NULL || parsed->memory == NULL) {
        code = evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    } else {
        code = parse_all(&self);
    }
    if (code != EVENER_STATUS_OK) {
        evener_path_template_clear(parsed);
        return code;
    }
    return evener_status_clear(status);
}

void evener_path_template_clear(evener_path_template *template)
{
    free(template->text);
    free(template->memory);
    *template = (evener_path_template){0};
}

/* ---- matching ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

size_t evener_percent_decode(char *text, size_t length, bool keep_slash)
{
    size_t to = 0;
    for (size_t from = 0; from < length; from++) {
        char c = text[from];
        if (c == '%') {
            const int high = from + 2 < length ? hex_digit(text[from + 1]) : -1;
            const int low = high >= 0 ? hex_digit(text[from + 2]) : -1;
            if (low < 0 || (high == 0 && low == 0)) {
                return SIZE_MAX;
            }
            c = (char)(high * 16 + low);
            if (c == '/' && keep_slash) {
                memmove(text + to, text + from, 3);
                to += 3;
                from += 2;
                continue;
            }
            from += 2;
        }
        text[to++] = c;
    }
    return to;
}

/* The path in pieces: segment i is `length[i]` bytes at `start[i]`. */
typedef struct split_path {
    const char *start[EVENER_PATH_SEGMENTS_MAX];
    size_t length[EVENER_PATH_SEGMENTS_MAX];
    size_t count; /* up to EVENER_PATH_SEGMENTS_MAX; the last of these contains
                   the rest of a longer path */
    const char *end;
} split_path;

static void split(const char *path, const char *end, split_path *into)
{
    into->count = 0;
    into->end = end;
    const char *at = path + 1;
    for (;;) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        const bool last = slash == NULL || into->count + 1 == EVENER_PATH_SEGMENTS_MAX;
        into->start[into->count] = at;
        into->length[into->count++] = (size_t)((last ? end : slash) - at);
        if (last) {
            return;
        }
        at = slash + 1;
    }
}

/* Compare a segment of a path with a literal, which has no percent sign. */
static bool is_literal(const char *segment, size_t length, const char *literal)
{
    size_t at = 0;
    for (; at < length && *literal != '\0'; literal++) {
        char c = segment[at++];
        if (c == '%') {
            const int high = at + 1 < length ? hex_digit(segment[at]) : -1;
            const int low = high >= 0 ? hex_digit(segment[at + 1]) : -1;
            if (low < 0) {
                return false;
            }
            c = (char)(high * 16 + low);
            at += 2;
        }
        if (c != *literal) {
            return false;
        }
    }
    return at == length && *literal == '\0';
}

/* Return where the path without the verb ends; NULL: it has another verb. */
static const char *find_end(const evener_path_template *template, const char *path)
{
    const char *end = path + strlen(path);
    if (template->verb == NULL) {
        return end;
    }
    const size_t length = strlen(template->verb) + 1;
    if ((size_t)(end - path) <= length || end[-(ptrdiff_t)length] != ':' ||
        memcmp(end - length + 1, template->verb, length - 1) != 0) {
        return NULL;
    }
    return end - length;
}

evener_status_code evener_path_template_match(const evener_path_template *template, const char *path,
                                              evener_path_value *values, char **memory)
{
    *memory = NULL;
    const char *end = path[0] == '/' ? find_end(template, path) : NULL;
    if (end == NULL) {
        return EVENER_STATUS_NOT_FOUND;
    }
    split_path parts;
    split(path, end, &parts);
    const bool has_rest =
        template->segment_count > 0 && template->segments[template->segment_count - 1].kind == EVENER_PATH_REST;
    const size_t single = template->segment_count - has_rest;
    if (has_rest ? parts.count < single : parts.count != single) {
        return EVENER_STATUS_NOT_FOUND;
    }
    for (size_t i = 0; i < single; i++) {
        /* "*" is one segment that is not empty. */
        if (template->segments[i].kind == EVENER_PATH_LITERAL
                ? !is_literal(parts.start[i], parts.length[i], template->segments[i].literal)
                : parts.length[i] == 0 || memchr(parts.start[i], '/', parts.length[i]) != NULL) {
            return EVENER_STATUS_NOT_FOUND;
        }
    }
    char *to = *memory = malloc((size_t)(end - path) * (template->variable_count + 1) + template->variable_count + 1);
    if (to == NULL) {
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    for (size_t i = 0; i < template->variable_count; i++) {
        const evener_path_variable *variable = &template->variables[i];
        const bool to_end = has_rest && variable->end == template->segment_count;
        const char *from = variable->first < parts.count ? parts.start[variable->first] : end;
        const char *until = to_end ? end : parts.start[variable->end - 1] + parts.length[variable->end - 1];
        size_t length = (size_t)(until - from);
        memcpy(to, from, length);
        const bool several = to_end || variable->end - variable->first > 1;
        length = evener_percent_decode(to, length, several);
        if (length == SIZE_MAX) {
            free(*memory);
            *memory = NULL;
            return EVENER_STATUS_NOT_FOUND;
        }
        values[i] = (evener_path_value){to, length};
        to[length] = '\0';
        to += length + 1;
    }
    return EVENER_STATUS_OK;
}

int evener_path_template_compare(const evener_path_template *a, const evener_path_template *b)
{
    for (size_t i = 0; i < a->segment_count && i < b->segment_count; i++) {
        const evener_path_segment *of_a = &a->segments[i];
        const evener_path_segment *of_b = &b->segments[i];
        if (of_a->kind != of_b->kind) {
            return of_a->kind < of_b->kind ? -1 : 1;
        }
        const int literals = of_a->kind == EVENER_PATH_LITERAL ? strcmp(of_a->literal, of_b->literal) : 0;
        if (literals != 0) {
            return literals;
        }
    }
    if (a->segment_count != b->segment_count) {
        return a->segment_count > b->segment_count ? -1 : 1;
    }
    if ((a->verb != NULL) != (b->verb != NULL)) {
        return a->verb != NULL ? -1 : 1;
    }
    return a->verb != NULL ? strcmp(a->verb, b->verb) : 0;
}
