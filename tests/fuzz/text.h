/* An input as a text. */
#ifndef EVENER_TESTS_FUZZ_TEXT_H
#define EVENER_TESTS_FUZZ_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Return a NUL-terminated copy in a block of its own, so that a sanitizer reports reads past it. To be freed. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (text == NULL) {
        abort();
    }
    if (size > 0) { /* libFuzzer's empty input may be NULL */
        memcpy(text, data, size);
    }
    text[size] = '\0';
    return text;
}

#endif
