#include "resolver/etcd/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "lb/base/memory.h"

#define FRAGMENT_BYTES_MAX ((size_t)128 * 1024 * 1024) /* of one revision's events */

struct evener_etcd_watch {
    evener_etcd_stream stream;
    evener_etcd_shared_options *shared;
    const evener_etcd_watch_events *events;
    void *arg;
    bool stopped;
    /* of the last message: written on a call thread, read on the control thread before it asks for the next */
    evener_etcd_watch_response response;
    char cancel_reason[160];
    evener_etcd_entries changes;
    int64_t last_revision;
    size_t fragment_bytes;
    const char *defect; /* NULL: none */
};

typedef struct decoding {
    const evener_etcd_layout *layout;
    evener_etcd_entries *changes;
    int64_t *last_revision;
    bool no_memory;
} decoding;

static bool visit(void *arg, bool is_delete, const evener_etcd_key_value *kv)
{
    decoding *into = arg;
    if (kv->mod_revision > *into->last_revision) {
        *into->last_revision = kv->mod_revision;
    }
    into->no_memory = into->changes->count >= EVENER_RESOLVER_ADDRESSES_MAX ||
                      !evener_etcd_entries_add(into->changes, into->layout, is_delete, kv);
    return !into->no_memory;
}

bool evener_etcd_watch_decode(const evener_etcd_layout *layout, const evener_bytes *message,
                              evener_etcd_watch_response *response, evener_etcd_entries *changes,
                              int64_t *last_revision)
{
    decoding into = {.layout = layout, .changes = changes, .last_revision = last_revision};
    return evener_etcd_watch_parse(message, response, visit, &into) && !into.no_memory;
}

static evener_etcd_watch *of(evener_etcd_stream *stream)
{
    return EVENER_CONTAINER_OF(stream, evener_etcd_watch, stream);
}

/* On a call thread. */
static void decode(evener_etcd_stream *stream, const evener_bytes *message)
{
    evener_etcd_watch *watch = of(stream);
    if (!evener_etcd_watch_decode(&watch->shared->options.layout, message, &watch->response, &watch->changes,
                                  &watch->last_revision)) {
        watch->defect = "a message is malformed, or there is no memory for it";
        return;
    }
    const evener_etcd_span reason = watch->response.cancel_reason;
    const size_t shown = reason.length < sizeof watch->cancel_reason ? reason.length : sizeof watch->cancel_reason - 1;
    if (shown > 0) {
        memcpy(watch->cancel_reason, reason.bytes, shown);
    }
    watch->cancel_reason[shown] = '\0';
    watch->fragment_bytes += message->length;
    if (watch->fragment_bytes > FRAGMENT_BYTES_MAX) {
        watch->defect = "fragments without an end";
    }
    if (!watch->response.fragment) {
        watch->fragment_bytes = 0;
        evener_etcd_entries_sort(&watch->changes);
    }
}

static void log_warning(const evener_etcd_watch *watch)
{
    if (watch->changes.unreadable > 0) {
        evener_log(EVENER_LOG_WARNING, "etcd", "%s: skipped: %s (%zu in this message)", watch->shared->options.members,
                   watch->changes.warning, watch->changes.unreadable);
    }
}

static void message(evener_etcd_stream *stream)
{
    evener_etcd_watch *watch = of(stream);
    const evener_etcd_watch_response *response = &watch->response;
    evener_status status;
    if (watch->defect != NULL) {
        evener_status_set(&status, EVENER_STATUS_INTERNAL, "the watch: %s", watch->defect);
        watch->events->lost(watch->arg, &status);
    } else if (response->compact_revision != 0) {
        evener_status_set(&status, EVENER_STATUS_OUT_OF_RANGE, "the watch: compacted up to revision %lld",
                          (long long)response->compact_revision);
        watch->events->lost(watch->arg, &status);
    } else if (response->canceled) {
        evener_status_set(&status, EVENER_STATUS_FAILED_PRECONDITION, "the watch was refused: %s",
                          watch->cancel_reason);
        watch->events->lost(watch->arg, &status);
    } else if (response->created) {
        watch->events->created(watch->arg, &response->header);
    } else if (!response->fragment) {
        const int64_t revision = watch->changes.count > 0 ? watch->last_revision : response->header.revision;
        log_warning(watch);
        watch->events->changed(watch->arg, &watch->changes, revision);
        evener_etcd_entries_clear(&watch->changes);
    }
    if (!watch->stopped) {
        evener_etcd_stream_next(stream);
    }
}

static void ended(evener_etcd_stream *stream)
{
    evener_etcd_watch *watch = of(stream);
    evener_status status;
    evener_status_set(&status,
                      stream->status.code != EVENER_STATUS_OK ? stream->status.code : EVENER_STATUS_UNAVAILABLE,
                      "the watch has ended: %s", stream->status.message);
    if (stream->status.code == EVENER_STATUS_RESOURCE_EXHAUSTED) { /* the same message would come again */
        watch->events->lost(watch->arg, &status);
    } else {
        watch->events->ended(watch->arg, &status);
    }
}

static void release(evener_etcd_stream *stream)
{
    evener_etcd_watch *watch = of(stream);
    evener_etcd_entries_clear(&watch->changes);
    evener_etcd_shared_options_unref(watch->shared);
    free(watch);
}

evener_status_code evener_etcd_watch_start(evener_etcd_client *client, evener_etcd_shared_options *shared,
                                           int64_t start_revision, const evener_etcd_watch_events *events, void *arg,
                                           evener_etcd_watch **watch, evener_status *status)
{
    const char *prefix = shared->options.layout.prefix;
    const evener_etcd_span key = {(const uint8_t *)prefix, strlen(prefix)};
    evener_bytes first = {0};
    evener_etcd_watch *made = calloc(1, sizeof *made);
    uint8_t *end = malloc(key.length + 1);
    const bool ready = made != NULL && end != NULL &&
                       evener_etcd_watch_request(key, (evener_etcd_span){end, evener_etcd_prefix_end(key, end)},
                                                 start_revision, &first);
    free(end);
    if (!ready) {
        free(made);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    made->events = events;
    made->arg = arg;
    made->stream.decode = decode;
    made->stream.message = message;
    made->stream.ended = ended;
    made->stream.release = release;
    made->shared = shared;
    const evener_status_code code = evener_etcd_client_open(client, EVENER_ETCD_WATCH, &made->stream, &first, status);
    if (code != EVENER_STATUS_OK) {
        free(made);
        return code;
    }
    (void)evener_etcd_shared_options_ref(shared);
    *watch = made;
    return code;
}

void evener_etcd_watch_stop(evener_etcd_watch *watch)
{
    if (watch != NULL) {
        watch->stopped = true;
        evener_etcd_stream_detach(&watch->stream);
    }
}

const char *evener_etcd_watch_peer(const evener_etcd_watch *watch)
{
    return watch->stream.stream != NULL ? evener_stream_peer(watch->stream.stream) : "";
}
