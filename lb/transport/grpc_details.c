/* One block holds it all: the two arrays, then the texts. */
#include "lb/transport/grpc_details.h"

#include <stdlib.h>
#include <string.h>

#include <grpc/support/alloc.h>

void evener_call_details_clear(evener_call_details *details)
{
    if (details == NULL) {
        return;
    }
    free(details->memory);
    *details = (evener_call_details){.size = sizeof *details, .peer = ""};
}

const evener_metadata *evener_metadata_find(const evener_metadata *metadata, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(metadata[i].key, key) == 0) {
            return &metadata[i];
        }
    }
    return NULL;
}

static size_t texts_bytes(const grpc_metadata_array *metadata)
{
    size_t bytes = 0;
    for (size_t i = 0; i < metadata->count; i++) {
        bytes += GRPC_SLICE_LENGTH(metadata->metadata[i].key) + GRPC_SLICE_LENGTH(metadata->metadata[i].value) + 2;
    }
    return bytes;
}

/* Copies a text with a NUL behind it, for those who print it. */
static const char *put(char **at, const void *text, size_t bytes)
{
    char *copy = *at;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    *at += bytes + 1;
    return copy;
}

static void copy_metadata(const grpc_metadata_array *from, evener_metadata *to, char **at)
{
    for (size_t i = 0; i < from->count; i++) {
        const grpc_metadata *entry = &from->metadata[i];
        to[i].key = put(at, GRPC_SLICE_START_PTR(entry->key), GRPC_SLICE_LENGTH(entry->key));
        to[i].value = put(at, GRPC_SLICE_START_PTR(entry->value), GRPC_SLICE_LENGTH(entry->value));
        to[i].value_bytes = GRPC_SLICE_LENGTH(entry->value);
    }
}

void evener_grpc_details_fill_unsent(evener_call_details *details, uint32_t attempts)
{
    evener_call_details_clear(details);
    details->attempts = attempts;
}

void evener_grpc_details_fill(evener_call_details *details, const evener_grpc_attempt *attempt, uint32_t attempts)
{
    evener_grpc_details_fill_unsent(details, attempts);
    char *peer = grpc_call_get_peer(attempt->call);
    size_t initial_count = attempt->initial_metadata.count;
    size_t trailing_count = attempt->trailing_metadata.count;
    evener_metadata *memory =
        malloc((initial_count + trailing_count) * sizeof *memory + texts_bytes(&attempt->initial_metadata) +
               texts_bytes(&attempt->trailing_metadata) + strlen(peer) + 1);
    if (memory != NULL) {
        char *at = (char *)(memory + initial_count + trailing_count);
        copy_metadata(&attempt->initial_metadata, memory, &at);
        copy_metadata(&attempt->trailing_metadata, memory + initial_count, &at);
        bool never_left = strcmp(peer, attempt->pick.connection->target) == 0;
        details->memory = memory;
        details->peer = never_left ? "" : put(&at, peer, strlen(peer));
        details->initial_metadata = memory;
        details->initial_metadata_count = initial_count;
        details->trailing_metadata = memory + initial_count;
        details->trailing_metadata_count = trailing_count;
    }
    gpr_free(peer);
}
