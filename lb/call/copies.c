#include "lb/call/copies.h"

#include <stdalign.h>
#include <string.h>

_Static_assert(alignof(evener_pick_trace) <= sizeof(void *), "the copies are aligned to pointers");

size_t evener_copies_bytes(const char *method, const evener_call_options *options)
{
    size_t bytes = options->metadata_count * sizeof *options->metadata + strlen(method) + 1;
    if (options->trace != NULL) {
        bytes += sizeof *options->trace;
    }
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

/* An older program's trace is shorter, a newer one's longer. */
static void copy_trace(evener_pick_trace *to, const evener_pick_trace *from)
{
    memset(to, 0, sizeof *to);
    memcpy(to, from, from->size < sizeof *to ? from->size : sizeof *to);
    to->size = sizeof *to;
}

void evener_copies_make(evener_rpc *rpc, void *block)
{
    evener_pick_args *args = &rpc->pick_args;
    evener_metadata *copies = block;
    char *at = (char *)(copies + args->metadata_count);
    if (args->trace != NULL) {
        evener_pick_trace *trace = (evener_pick_trace *)(void *)at;
        copy_trace(trace, args->trace);
        args->trace = trace;
        at += sizeof *trace;
    }
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
