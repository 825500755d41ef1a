#include "lb/call/interceptors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_BYTES 1024

/* An entry that was added, with its texts behind it. */
typedef struct added {
    struct added *next;
    evener_metadata entry;
    char texts[];
} added;

struct evener_interception {
    size_t count;
    const evener_interceptor *table[EVENER_INTERCEPTORS_MAX];
    void *states[EVENER_INTERCEPTORS_MAX];
    added *first, **last;
    size_t added_count;
    evener_metadata *metadata; /* the call's own and what was added; NULL: nothing was */
    evener_late *late;         /* a reference; NULL: nothing comes later */
};

struct evener_new_call {
    evener_interception *interception;
    evener_channel *channel;
    const char *method;
    const char *authority; /* the call's, or NULL */
    bool streaming;
    uint64_t timeout_ms;
};

/* ---- what `start` may ask for ---- */

const char *evener_new_call_method(const evener_new_call *call)
{
    return call->method;
}

const char *evener_new_call_authority(const evener_new_call *call)
{
    return call->authority != NULL ? call->authority : evener_channel_authority(call->channel);
}

bool evener_new_call_is_secure(const evener_new_call *call)
{
    const evener_transport *transport = evener_channel_transport(call->channel);
    const evener_transport_vtable *vtable = transport->vtable;
    return vtable->size >= offsetof(evener_transport_vtable, verifies_names) + sizeof vtable->verifies_names &&
           vtable->verifies_names != NULL && vtable->verifies_names(transport);
}

bool evener_new_call_is_streaming(const evener_new_call *call)
{
    return call->streaming;
}

evener_status_code evener_new_call_add_bytes(evener_new_call *call, const char *key, const void *value,
                                             size_t value_bytes, evener_status *status)
{
    evener_interception *interception = call->interception;
    const size_t key_bytes = strlen(key) + 1;
    added *made = malloc(sizeof *made + key_bytes + value_bytes + 1);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "call of %s: out of memory", call->method);
    }
    memcpy(made->texts, key, key_bytes);
    if (value_bytes > 0) {
        memcpy(made->texts + key_bytes, value, value_bytes);
    }
    made->texts[key_bytes + value_bytes] = '\0';
    made->entry = (evener_metadata){made->texts, made->texts + key_bytes, value_bytes};
    made->next = NULL;
    *interception->last = made;
    interception->last = &made->next;
    interception->added_count++;
    return EVENER_STATUS_OK;
}

evener_status_code evener_new_call_add(evener_new_call *call, const char *key, const char *value, evener_status *status)
{
    return evener_new_call_add_bytes(call, key, value, strlen(value), status);
}

evener_status_code evener_new_call_defer(evener_new_call *call, evener_late_metadata **late, evener_status *status)
{
    evener_interception *interception = call->interception;
    if (interception->late == NULL) {
        interception->late = evener_late_create();
    }
    evener_late_metadata *handle =
        interception->late != NULL ? evener_late_add_handle(interception->late, call->method) : NULL;
    if (handle == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "call of %s: out of memory", call->method);
    }
    *late = handle;
    return EVENER_STATUS_OK;
}

evener_late *evener_interception_late(const evener_interception *interception)
{
    return interception != NULL ? interception->late : NULL;
}

void evener_new_call_limit(evener_new_call *call, uint64_t timeout_ms)
{
    if (timeout_ms != 0 && (call->timeout_ms == 0 || timeout_ms < call->timeout_ms)) {
        call->timeout_ms = timeout_ms;
    }
}

/* ---- life ---- */

static void interception_free(evener_interception *interception)
{
    while (interception->first != NULL) {
        added *next = interception->first->next;
        free(interception->first);
        interception->first = next;
    }
    free(interception->metadata);
    evener_late_unref(interception->late);
    free(interception);
}

static evener_status_code no_memory(const char *method, evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "call of %s: out of memory", method);
}

/* Join the call's own metadata and what was added. */
static bool join_metadata(evener_interception *interception, evener_call_options *options)
{
    if (interception->added_count == 0) {
        return true;
    }
    const size_t count = options->metadata_count + interception->added_count;
    interception->metadata = malloc(count * sizeof *interception->metadata);
    if (interception->metadata == NULL) {
        return false;
    }
    evener_metadata *to = interception->metadata;
    if (options->metadata_count > 0) {
        memcpy(to, options->metadata, options->metadata_count * sizeof *to);
        to += options->metadata_count;
    }
    for (const added *a = interception->first; a != NULL; a = a->next) {
        *to++ = a->entry;
    }
    options->metadata = interception->metadata;
    options->metadata_count = count;
    return true;
}

static bool fill_table(evener_interception *interception, const evener_channel *channel,
                       const evener_call_options *options, const char *method, evener_status *status)
{
    const size_t of_channel = channel->calls.interceptor_count;
    if (of_channel + options->interceptor_count > EVENER_INTERCEPTORS_MAX ||
        options->interceptor_count > EVENER_INTERCEPTORS_MAX) {
        evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                          "call of %s: %zu interceptors of the channel and %zu of the call: at most %d are possible",
                          method, of_channel, options->interceptor_count, EVENER_INTERCEPTORS_MAX);
        return false;
    }
    for (size_t i = 0; i < of_channel; i++) {
        interception->table[i] = channel->settings.interceptors[i];
    }
    for (size_t i = 0; i < options->interceptor_count; i++) {
        const evener_interceptor *interceptor = options->interceptors != NULL ? options->interceptors[i] : NULL;
        if (interceptor == NULL || interceptor->size < sizeof *interceptor) {
            evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "call of %s: options.interceptors[%zu]: %s",
                              method, i, interceptor == NULL ? "it is NULL" : "set size to sizeof(evener_interceptor)");
            return false;
        }
        interception->table[of_channel + i] = interceptor;
    }
    return true;
}

evener_status_code evener_interception_begin(evener_channel *channel, const char *method, bool streaming,
                                             evener_call_options *options, evener_interception **interception,
                                             evener_status *status)
{
    evener_interception *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return no_memory(method, status);
    }
    made->last = &made->first;
    evener_status found;
    evener_status_clear(&found);
    if (!fill_table(made, channel, options, method, &found)) {
        interception_free(made);
        return evener_status_set(status, found.code, "%s", found.message);
    }
    evener_new_call call = {.interception = made,
                            .channel = channel,
                            .method = method,
                            .authority = options->authority,
                            .streaming = streaming,
                            .timeout_ms = options->timeout_ms};
    const size_t all = channel->calls.interceptor_count + options->interceptor_count;
    evener_status_code code = EVENER_STATUS_OK;
    for (; made->count < all && code == EVENER_STATUS_OK; made->count += code == EVENER_STATUS_OK) {
        const evener_interceptor *one = made->table[made->count];
        if (one->start != NULL) {
            code = one->start(one->arg, &call, &made->states[made->count], &found);
        }
    }
    if (code == EVENER_STATUS_OK && !join_metadata(made, options)) {
        code = no_memory(method, &found);
    }
    if (code != EVENER_STATUS_OK) {
        found.code = code;
        evener_interception_end(made, &found, NULL);
        return evener_status_set(status, code, "%s", found.message);
    }
    options->timeout_ms = call.timeout_ms;
    *interception = made;
    return EVENER_STATUS_OK;
}

/* ---- events ---- */

bool evener_interception_wants_headers(const evener_interception *interception)
{
    for (size_t i = 0; i < interception->count; i++) {
        if (interception->table[i]->headers != NULL) {
            return true;
        }
    }
    return false;
}

void evener_interception_headers(evener_interception *interception, const evener_metadata *metadata, size_t count)
{
    for (size_t i = 0; interception != NULL && i < interception->count; i++) {
        const evener_interceptor *one = interception->table[i];
        if (one->headers != NULL) {
            one->headers(one->arg, interception->states[i], metadata, count);
        }
    }
}

void evener_interception_message(evener_interception *interception, bool sent, const evener_bytes *message)
{
    for (size_t i = 0; interception != NULL && i < interception->count; i++) {
        const evener_interceptor *one = interception->table[i];
        if (one->message != NULL) {
            one->message(one->arg, interception->states[i], sent, message);
        }
    }
}

void evener_interception_end(evener_interception *interception, const evener_status *status,
                             const evener_call_details *details)
{
    if (interception == NULL) {
        return;
    }
    for (size_t i = interception->count; i > 0; i--) {
        const evener_interceptor *one = interception->table[i - 1];
        if (one->done != NULL) {
            one->done(one->arg, interception->states[i - 1], status,
                      details != NULL ? details->trailing_metadata : NULL,
                      details != NULL ? details->trailing_metadata_count : 0);
        }
    }
    interception_free(interception);
}

/* ---- per-call credentials ---- */

evener_status_code evener_call_credentials_start(void *arg, evener_new_call *call, void **state, evener_status *status)
{
    (void)state;
    const evener_call_credentials *credentials = arg;
    if (!credentials->allow_insecure && !evener_new_call_is_secure(call)) {
        return evener_status_set(status, EVENER_STATUS_UNAUTHENTICATED,
                                 "call of %s: its credentials are not sent over a channel without TLS: use TLS, or set "
                                 "allow_insecure",
                                 call->method);
    }
    char url[URL_BYTES];
    const char *last_slash = strrchr(call->method, '/');
    (void)snprintf(url, sizeof url, "https://%s%.*s", evener_new_call_authority(call), (int)(last_slash - call->method),
                   call->method);
    return credentials->add(credentials->arg, call, url, status);
}
