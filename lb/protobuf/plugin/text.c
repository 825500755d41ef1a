#include "lb/protobuf/plugin/text.h"

#include <stdlib.h>
#include <string.h>

void text_add_bytes(text *to, const char *from, size_t length)
{
    if (to->failed) {
        return;
    }
    if (length >= to->room - to->length) {
        const size_t room = 2 * to->room + length + 64;
        char *data = realloc(to->data, room);
        if (data == NULL) {
            to->failed = true;
            return;
        }
        to->data = data;
        to->room = room;
    }
    memcpy(to->data + to->length, from, length);
    to->length += length;
    to->data[to->length] = '\0';
}

void text_add(text *to, const char *from)
{
    text_add_bytes(to, from, strlen(from));
}

void text_fill(text *to, const char *pattern, const text_value *values)
{
    for (const char *dollar; (dollar = strchr(pattern, '$')) != NULL; pattern = dollar + 2) {
        text_add_bytes(to, pattern, (size_t)(dollar - pattern));
        const text_value *value = values;
        while (value->key != dollar[1] && value->key != '\0') {
            value++;
        }
        text_add(to, value->value);
    }
    text_add(to, pattern);
}
