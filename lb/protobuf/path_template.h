/* Path templates of google.api.http: "/v1/{name}/books/{book.id=**}:read".
 *
 *     Template = "/" Segments [ ":" Literal ]
 *     Segments = Segment { "/" Segment }
 *     Segment  = "*" | "**" | Literal | Variable
 *     Variable = "{" FieldPath [ "=" Segments ] "}"
 *
 * (googleapis: google/api/http.proto, "Path template syntax".) "*" is one
 * segment, "**" any number of segments, none included, and only the last one of
 * a template. "{field}" means "{field=*}". */
#ifndef EVENER_LB_PROTOBUF_PATH_TEMPLATE_H
#define EVENER_LB_PROTOBUF_PATH_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include <evener/status.h>

#define EVENER_PATH_TEMPLATE_BYTES_MAX 1024
#define EVENER_PATH_SEGMENTS_MAX 64 /* of a template */
#define EVENER_PATH_VARIABLES_MAX 16

typedef enum evener_path_segment_kind {
    EVENER_PATH_LITERAL,
    EVENER_PATH_ANY, /* "*" */
    EVENER_PATH_REST /* "**" */
} evener_path_segment_kind;

typedef struct evener_path_segment {
    evener_path_segment_kind kind;
    const char *literal; /* of EVENER_PATH_LITERAL */
} evener_path_segment;

/* A variable takes the segments from `first` to before `end`. */
typedef struct evener_path_variable {
    const char *field_path; /* "book.name" */
    size_t first;
    size_t end;
} evener_path_variable;

/* A parsed template. Owns what it points to. All zero: empty. */
typedef struct evener_path_template {
    char *text; /* the template as it was given */
    char *memory;
    evener_path_segment segments[EVENER_PATH_SEGMENTS_MAX];
    size_t segment_count;
    evener_path_variable variables[EVENER_PATH_VARIABLES_MAX];
    size_t variable_count;
    const char *verb; /* behind ":", or NULL */
} evener_path_template;

/* What a variable has matched: `length` bytes at `value`, decoded. */
typedef struct evener_path_value {
    const char *value;
    size_t length;
} evener_path_value;

/* Parse a template into *parsed, to be cleared. Errors: INVALID_ARGUMENT (with
 * the position in the message), RESOURCE_EXHAUSTED (a limit, or memory). */
evener_status_code evener_path_template_parse(const char *text, evener_path_template *parsed, evener_status *status);

/* Free what a template owns. */
void evener_path_template_clear(evener_path_template *template);

/* Match the path of a request: it begins with "/", is still percent-encoded,
 * and has neither query nor fragment. Store the variables' values in
 * values[variable_count], in memory of *memory, to be freed. Otherwise *memory
 * is NULL. Errors: NOT_FOUND (no match, or the path is malformed),
 * RESOURCE_EXHAUSTED (memory).
 *
 * Values of one segment are decoded. In those of several segments "%2F" stays,
 * as its meaning differs from that of "/" (google/api/http.proto). */
evener_status_code evener_path_template_match(const evener_path_template *template, const char *path,
                                              evener_path_value *values, char **memory);

/* Order templates from specific to general, as routes are tried: literals
 * before "*" before "**", longer before shorter ones, with a verb before
 * without. 0: they match the same paths. */
int evener_path_template_compare(const evener_path_template *a, const evener_path_template *b);

/* Decode percent-encoding in place; with `keep_slash` "%2F" stays. Return the
 * new length, or SIZE_MAX: malformed, or a NUL byte. */
size_t evener_percent_decode(char *text, size_t length, bool keep_slash);

#endif
