/* One block holds it all: the two arrays, then the texts. The struct is the caller's, and as long as its evener.h said:
 * no byte behind that is written, nor one that is not known here. */
#include "lb/call/grpc/details.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Of the first version: what every program has. And what no version will be as long as. */
#define DETAILS_BYTES_MIN (offsetof(evener_call_details, memory) + sizeof(void *))
#define DETAILS_BYTES_MAX 65536

evener_status_code evener_grpc_details_check(const evener_call_details *details, evener_status *status)
{
    if (details != NULL && (details->size < DETAILS_BYTES_MIN || details->size > DETAILS_BYTES_MAX)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "options.details: size is %zu: set it to sizeof(evener_call_details)", details->size);
    }
    return EVENER_STATUS_OK;
}

static void put_details(evener_call_details *details, evener_call_details known)
{
    known.size = details->size;
    memcpy(details, &known, known.size < sizeof known ? known.size : sizeof known);
}

void evener_call_details_clear(evener_call_details *details)
{
    if (details == NULL || details->size < DETAILS_BYTES_MIN) {
        return;
    }
    free(details->memory);
    put_details(details, (evener_call_details){.peer = ""});
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
    put_details(details, (evener_call_details){.peer = "", .attempts = attempts});
}

void evener_grpc_details_fill(evener_call_details *details, const evener_grpc_attempt *attempt, uint32_t attempts)
{
    evener_grpc_details_fill_unsent(details, attempts);
    const char *peer = attempt->pick.connection->peer;
    size_t initial_count = attempt->initial_metadata.count;
    size_t trailing_count = attempt->trailing_metadata.count;
    evener_metadata *memory =
        malloc((initial_count + trailing_count) * sizeof *memory + texts_bytes(&attempt->initial_metadata) +
               texts_bytes(&attempt->trailing_metadata) + strlen(peer) + 1);
    if (memory != NULL) {
        char *at = (char *)(memory + initial_count + trailing_count);
        copy_metadata(&attempt->initial_metadata, memory, &at);
        copy_metadata(&attempt->trailing_metadata, memory + initial_count, &at);
        put_details(details, (evener_call_details){
                                 .peer = put(&at, peer, strlen(peer)),
                                 .initial_metadata = memory,
                                 .initial_metadata_count = initial_count,
                                 .trailing_metadata = memory + initial_count,
                                 .trailing_metadata_count = trailing_count,
                                 .attempts = attempts,
                                 .memory = memory,
                             });
    }
}
