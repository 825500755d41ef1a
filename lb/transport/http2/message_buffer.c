#include "lb/transport/http2/message_buffer.h"

#include <stdbool.h>

#include "lb/base/memory.h"
#include "lb/runtime/object_pool.h"

typedef struct pooled_buffer {
    evener_buffer base;
    size_t bytes; /* of this memory */
    uint8_t data[];
} pooled_buffer;

static void pooled_release(evener_buffer *base)
{
    pooled_buffer *buffer = EVENER_CONTAINER_OF(base, pooled_buffer, base);
    evener_pool_give_back(buffer, buffer->bytes);
}

uint8_t *evener_http2_message_create(size_t length, evener_bytes *bytes)
{
    if (length > EVENER_POOL_BYTES_MAX - sizeof(pooled_buffer)) {
        return evener_bytes_create(length, bytes);
    }
    bool is_new;
    pooled_buffer *buffer = evener_pool_take(sizeof *buffer + length, &is_new);
    if (buffer == NULL) {
        *bytes = (evener_bytes){0};
        return NULL;
    }
    buffer->base.references = 1;
    buffer->base.release = pooled_release;
    buffer->bytes = sizeof *buffer + length;
    *bytes = (evener_bytes){.data = buffer->data, .length = length, .owner = &buffer->base};
    return buffer->data;
}
