#include "lb/call/copies.h"

#include <string.h>

size_t evener_copies_bytes(const char *method, const evener_call_options *options)
{
    size_t bytes = options->metadata_count * sizeof *options->metadata + strlen(method) + 1;
    if (options->authority != NULL) {
        bytes += strlen(options->authority) + 1;
    }
    for (size_t i = 0; i < options->metadata_count; i++) {
        bytes += strlen(options->metadata[i].key) + options->metadata[i].value_bytes + 2;
    }
    return (bytes + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
}

/* Copy a text with a NUL behind it. */
static const char *put(char **at, const char *text, size_t bytes)
{
    char *copy = *at;
    if (bytes > 0) {
        memcpy(copy, text, bytes);
    }
    copy[bytes] = '\0';
    *at += bytes + 1;
    return copy;
}

void evener_copies_make(evener_rpc *rpc, void *block)
{
    evener_pick_args *args = &rpc->pick_args;
    evener_metadata *copies = block;
    char *at = (char *)(copies + args->metadata_count);
    for (size_t i = 0; i < args->metadata_count; i++) {
        const evener_metadata *entry = &args->metadata[i];
        copies[i].key = put(&at, entry->key, strlen(entry->key));
        copies[i].value = put(&at, entry->value, entry->value_bytes);
        copies[i].value_bytes = entry->value_bytes;
    }
    args->metadata = args->metadata_count > 0 ? copies : NULL;
    args->method = put(&at, args->method, strlen(args->method));
    if (rpc->authority != NULL) {
        rpc->authority = put(&at, rpc->authority, strlen(rpc->authority));
    }
}
