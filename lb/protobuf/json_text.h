/* JSON text, read strictly (RFC 8259), token by token; and written. Knows nothing of messages. */
#ifndef EVENER_LB_PROTOBUF_JSON_TEXT_H
#define EVENER_LB_PROTOBUF_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/status.h>

#include "lb/protobuf/wire.h"

/* ---- reading ---- */

/* Where a reader is in a text. Copying it is a way to come back. Start with evener_json_read(). */
typedef struct evener_json_reader {
    const char *begin, *at, *end;
    const char *problem; /* why the text is malformed at `at`; NULL: it was not yet */
} evener_json_reader;

/* Return a reader at the beginning; `text` may be NULL if it is empty. */
static inline evener_json_reader evener_json_read(const char *text, size_t length)
{
    text = text != NULL ? text : "";
    return (evener_json_reader){text, text, text + length, NULL};
}

typedef struct evener_json_slice {
    const char *text;
    size_t length;
} evener_json_slice;

/* Skip whitespace and return the next character, which is not consumed; '\0': the text has ended. */
char evener_json_peek(evener_json_reader *reader);

/* Consume `c`, after whitespace. False: something else is there, and nothing was consumed. */
bool evener_json_take(evener_json_reader *reader, char c);

/* Set the problem, at the current place. Return false. */
bool evener_json_fail(evener_json_reader *reader, const char *problem);

/* Read a string and store what is between its quotes, with escapes, and checked. False: malformed. */
bool evener_json_string(evener_json_reader *reader, evener_json_slice *raw);

/* Append the text of a string's `raw` form, of which `evener_json_string()` was the source. */
void evener_json_unescape(evener_json_slice raw, evener_wire_buffer *to);

/* Whether a string's text is `text`. */
bool evener_json_equals(evener_json_slice raw, const char *text);

/* Read a number and store its characters. False: malformed. */
bool evener_json_number(evener_json_reader *reader, evener_json_slice *number);

/* Read `true`, `false` or `null`: the first character was seen. False: malformed. */
bool evener_json_word(evener_json_reader *reader, const char *word);

/* Begin or go on with an array or object: true if there is an element. `first` is of the caller, true to begin with.
 * False with reader->problem set: malformed. */
bool evener_json_next_element(evener_json_reader *reader, char close, bool *first);

/* Read the key of a member and the colon behind it. False: malformed. */
bool evener_json_key(evener_json_reader *reader, evener_json_slice *raw);

/* Read any value. False: malformed, or deeper than `depth`: then *too_deep is set, too. */
bool evener_json_skip(evener_json_reader *reader, unsigned depth, bool *too_deep);

/* Fail with "malformed JSON at line 1, column 2: PROBLEM". */
evener_status_code evener_json_malformed(const evener_json_reader *reader, evener_status *status);

/* ---- writing ---- */

typedef struct evener_json_writer {
    evener_wire_buffer text;
    unsigned indent; /* spaces per level; 0: one line */
    unsigned depth;
    bool separate; /* a value precedes in the same array or object */
} evener_json_writer;

void evener_json_open(evener_json_writer *writer, char bracket);
void evener_json_close(evener_json_writer *writer, char bracket);
/* Begin an element of an array. */
void evener_json_element(evener_json_writer *writer);
/* Begin a member of an object: write its key. */
void evener_json_member(evener_json_writer *writer, const void *key, size_t length);
/* Write text as it is. */
void evener_json_plain(evener_json_writer *writer, const char *text);
/* Write a string, which is UTF-8. */
void evener_json_put_string(evener_json_writer *writer, const void *text, size_t length);
/* Write bytes as a string in base64 (RFC 4648 section 4). */
void evener_json_put_base64(evener_json_writer *writer, const uint8_t *data, size_t length);

#endif
