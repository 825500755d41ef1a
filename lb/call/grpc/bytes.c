#include "lb/call/grpc/bytes.h"

#include <string.h>

#include <grpc/byte_buffer_reader.h>

/* The core keeps small slices inside the value, which would move with every assignment: an owned message always lies
 * in counted memory, and its owner is the counter. */
static void own(grpc_slice slice, evener_bytes *bytes)
{
    bytes->data = GRPC_SLICE_START_PTR(slice);
    bytes->length = GRPC_SLICE_LENGTH(slice);
    bytes->owner = slice.refcount;
}

static grpc_slice slice_of(const evener_bytes *bytes)
{
    grpc_slice slice = {.refcount = bytes->owner};
    slice.data.refcounted.bytes = (uint8_t *)(uintptr_t)bytes->data;
    slice.data.refcounted.length = bytes->length;
    return slice;
}

uint8_t *evener_bytes_create(size_t length, evener_bytes *bytes)
{
    grpc_slice slice = grpc_slice_malloc_large(length);
    own(slice, bytes);
    return slice.data.refcounted.bytes; /* a large one is always counted */
}

void evener_bytes_clear(evener_bytes *bytes)
{
    if (bytes == NULL) {
        return;
    }
    if (bytes->owner != NULL) {
        grpc_slice_unref(slice_of(bytes));
    }
    *bytes = (evener_bytes){0};
}

grpc_slice evener_grpc_bytes_to_slice(const evener_bytes *bytes)
{
    if (bytes == NULL || bytes->length == 0) {
        return grpc_empty_slice();
    }
    if (bytes->owner != NULL) {
        return grpc_slice_ref(slice_of(bytes));
    }
    /* Not borrowed: a call that is cancelled returns before the core has let go of what it was writing. */
    return grpc_slice_from_copied_buffer((const char *)bytes->data, bytes->length);
}

/* The whole message as one slice with a reference, copied only if it came in pieces. */
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

void evener_grpc_bytes_receive(grpc_byte_buffer *buffer, evener_bytes *bytes)
{
    static const uint8_t nothing[1];
    *bytes = (evener_bytes){.data = nothing};
    if (buffer == NULL) {
        return;
    }
    grpc_slice whole = whole_slice(buffer);
    grpc_byte_buffer_destroy(buffer);
    if (whole.refcount != NULL) {
        own(whole, bytes);
    } else if (GRPC_SLICE_LENGTH(whole) > 0) {
        memcpy(evener_bytes_create(GRPC_SLICE_LENGTH(whole), bytes), GRPC_SLICE_START_PTR(whole),
               GRPC_SLICE_LENGTH(whole));
    }
}
