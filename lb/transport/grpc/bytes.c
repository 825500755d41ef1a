#include "lb/transport/grpc/bytes.h"

#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer_reader.h>

/* The core keeps slices up to some 20 bytes inside the slice itself: copying is cheaper than counting. */
#define COPIED_BYTES_MAX 64

/* A received message: the core's memory, held by its slice. */
typedef struct slice_buffer {
    evener_buffer base;
    grpc_slice slice;
} slice_buffer;

static void slice_buffer_release(evener_buffer *buffer)
{
    grpc_slice_unref(((slice_buffer *)buffer)->slice);
    free(buffer);
}

static void unref_bytes(void *owner)
{
    evener_bytes bytes = {.owner = owner};
    evener_bytes_clear(&bytes);
}

grpc_slice evener_grpc_bytes_to_slice(const evener_bytes *bytes)
{
    if (bytes == NULL || bytes->length == 0) {
        return grpc_empty_slice();
    }
    /* A message without an owner is copied: a cancelled call returns before the core has finished its write. */
    if (bytes->owner == NULL || bytes->length <= COPIED_BYTES_MAX) {
        return grpc_slice_from_copied_buffer((const char *)bytes->data, bytes->length);
    }
    const evener_bytes held = evener_bytes_ref(bytes);
    return grpc_slice_new_with_user_data((void *)(uintptr_t)held.data, held.length, unref_bytes, held.owner);
}

/* Return the whole message as one slice with a reference; copy only if it came in pieces. */
static grpc_slice whole_slice(grpc_byte_buffer *buffer)
{
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, buffer)) {
        return grpc_empty_slice();
    }
    grpc_slice *first = NULL;
    grpc_slice whole;
    if (grpc_byte_buffer_reader_peek(&reader, &first) && GRPC_SLICE_LENGTH(*first) == grpc_byte_buffer_length(buffer)) {
        whole = grpc_slice_ref(*first);
    } else {
        grpc_byte_buffer_reader_destroy(&reader);
        (void)grpc_byte_buffer_reader_init(&reader, buffer);
        whole = grpc_byte_buffer_reader_readall(&reader);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return whole;
}

/* Take over the slice. False: there is no memory, and the slice is released. */
static bool own(grpc_slice slice, evener_bytes *bytes)
{
    slice_buffer *buffer = malloc(sizeof *buffer);
    if (buffer == NULL) {
        grpc_slice_unref(slice);
        return false;
    }
    *buffer = (slice_buffer){.base = {.references = 1, .release = slice_buffer_release}, .slice = slice};
    /* From the copy: the bytes of a short slice lie inside it. */
    bytes->data = GRPC_SLICE_START_PTR(buffer->slice);
    bytes->length = GRPC_SLICE_LENGTH(buffer->slice);
    bytes->owner = buffer;
    return true;
}

bool evener_grpc_bytes_receive(grpc_byte_buffer *buffer, evener_bytes *bytes)
{
    static const uint8_t nothing[1];
    *bytes = (evener_bytes){.data = nothing};
    if (buffer == NULL) {
        return true;
    }
    grpc_slice whole = whole_slice(buffer);
    grpc_byte_buffer_destroy(buffer);
    if (GRPC_SLICE_LENGTH(whole) > 0) {
        return own(whole, bytes);
    }
    grpc_slice_unref(whole);
    return true;
}
