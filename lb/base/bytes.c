#include <evener/bytes.h>

#include <stdlib.h>
#include <string.h>

typedef struct plain_buffer {
    evener_buffer base;
    uint8_t data[];
} plain_buffer;

static void plain_release(evener_buffer *buffer)
{
    free(buffer);
}

uint8_t *evener_bytes_create(size_t length, evener_bytes *bytes)
{
    plain_buffer *buffer = length <= SIZE_MAX - sizeof *buffer ? malloc(sizeof *buffer + length) : NULL;
    if (buffer == NULL) {
        *bytes = (evener_bytes){0};
        return NULL;
    }
    buffer->base.references = 1;
    buffer->base.release = plain_release;
    *bytes = (evener_bytes){.data = buffer->data, .length = length, .owner = buffer};
    return buffer->data;
}

void evener_bytes_clear(evener_bytes *bytes)
{
    if (bytes == NULL) {
        return;
    }
    evener_buffer *buffer = bytes->owner;
    /* acq_rel: the thread that frees sees what the other holders did with the memory. */
    if (buffer != NULL && __atomic_sub_fetch(&buffer->references, 1, __ATOMIC_ACQ_REL) == 0) {
        buffer->release(buffer);
    }
    *bytes = (evener_bytes){0};
}

evener_bytes evener_bytes_ref(const evener_bytes *bytes)
{
    if (bytes->owner != NULL) {
        evener_buffer *buffer = bytes->owner;
        __atomic_fetch_add(&buffer->references, 1, __ATOMIC_RELAXED);
        return *bytes;
    }
    evener_bytes copy;
    uint8_t *to = evener_bytes_create(bytes->length, &copy);
    if (to != NULL && bytes->length > 0) {
        memcpy(to, bytes->data, bytes->length);
    }
    return copy;
}
