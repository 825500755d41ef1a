#include "lb/call/details.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The size of the first version; and a size that no version will reach. */
#define DETAILS_BYTES_MIN (offsetof(evener_call_details, memory) + sizeof(void *))
#define DETAILS_BYTES_MAX 65536

evener_status_code evener_details_check(const evener_call_details *details, evener_status *status)
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
    put_details(details, (evener_call_details){.peer = "", .status_message = ""});
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

size_t evener_details_peer(const char *address, char *to, size_t bytes)
{
    const bool has_scheme = strncmp(address, "unix", strlen("unix")) == 0 || strncmp(address, "vsock:", 6) == 0;
    const char *family = address[0] == '[' ? "ipv6:" : has_scheme ? "" : "ipv4:";
    return (size_t)snprintf(to, bytes, "%s%s", family, address);
}

/* ---- one block holds it all: the two arrays, then the texts ---- */

static size_t texts_bytes(const evener_metadata *metadata, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += strlen(metadata[i].key) + metadata[i].value_bytes + 2;
    }
    return bytes;
}

/* Copy a text with a NUL behind it, for those who print it. */
static const char *put(char **at, const void *text, size_t bytes)
{
    char *copy = *at;
    if (bytes > 0) {
        memcpy(copy, text, bytes);
    }
    copy[bytes] = '\0';
    *at += bytes + 1;
    return copy;
}

static void copy_metadata(const evener_metadata *from, size_t count, evener_metadata *to, char **at)
{
    for (size_t i = 0; i < count; i++) {
        to[i].key = put(at, from[i].key, strlen(from[i].key));
        to[i].value = put(at, from[i].value, from[i].value_bytes);
        to[i].value_bytes = from[i].value_bytes;
    }
}

/* `end` NULL: only headers are known. */
static void fill(evener_call_details *details, const evener_metadata *initial, size_t initial_count,
                 const evener_details_at_end *end)
{
    static const evener_details_at_end none = {.message = ""};
    const size_t peer_bytes = end != NULL ? evener_details_peer(end->address, NULL, 0) + 1 : 0;
    const evener_details_at_end *known = end != NULL ? end : &none;
    evener_metadata *memory =
        malloc((initial_count + known->trailing_count) * sizeof *memory + texts_bytes(initial, initial_count) +
               texts_bytes(known->trailing, known->trailing_count) + peer_bytes + known->message_bytes + 1);
    if (memory == NULL) {
        return;
    }
    char *at = (char *)(memory + initial_count + known->trailing_count);
    copy_metadata(initial, initial_count, memory, &at);
    copy_metadata(known->trailing, known->trailing_count, memory + initial_count, &at);
    const char *message = put(&at, known->message, known->message_bytes);
    if (end != NULL) {
        (void)evener_details_peer(end->address, at, peer_bytes);
    }
    void *old = details->memory;
    put_details(details, (evener_call_details){
                             .peer = end != NULL ? at : "",
                             .initial_metadata = memory,
                             .initial_metadata_count = initial_count,
                             .trailing_metadata = memory + initial_count,
                             .trailing_metadata_count = known->trailing_count,
                             .attempts = details->attempts,
                             .memory = memory,
                             .status_message = message,
                             .status_message_bytes = known->message_bytes,
                         });
    free(old);
}

void evener_details_begin(evener_call_details *details, uint32_t attempts)
{
    if (details != NULL) {
        evener_call_details_clear(details);
        put_details(details, (evener_call_details){.peer = "", .attempts = attempts, .status_message = ""});
    }
}

void evener_details_headers(evener_call_details *details, const evener_metadata *metadata, size_t count)
{
    if (details != NULL) {
        fill(details, metadata, count, NULL);
    }
}

void evener_details_end(evener_call_details *details, const evener_details_at_end *end)
{
    if (details != NULL) {
        fill(details, details->initial_metadata, details->initial_metadata_count, end);
    }
}

void evener_details_move(evener_call_details *from, evener_call_details *to)
{
    evener_call_details_clear(to);
    put_details(to, *from);
    from->memory = NULL;
    evener_call_details_clear(from);
}
