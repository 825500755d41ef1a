/* Text: a string that grows. */
#ifndef EVENER_LB_PROTOBUF_PLUGIN_TEXT_H
#define EVENER_LB_PROTOBUF_PLUGIN_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* All zero: empty. `data` is NULL or ends with NUL, and is to be freed. */
typedef struct text {
    char *data;
    size_t length;
    size_t room;
    bool failed; /* out of memory: the text is incomplete, and nothing more is added */
} text;

void text_add_bytes(text *to, const char *from, size_t length);
void text_add(text *to, const char *from);

/* A value for text_fill(). */
typedef struct text_value {
    char key;
    const char *value;
} text_value;

/* Add the pattern with each `$k` replaced by the value of key k, up to a value of key 0. */
void text_fill(text *to, const char *pattern, const text_value *values);

#endif
