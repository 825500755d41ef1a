#include "lb/call/late_metadata.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <evener/transport.h>

#include "lb/runtime/clock.h"

enum { WAITING = 0, READY = 1 };

/* An entry, with its texts behind it. */
typedef struct entry {
    struct entry *next;
    evener_metadata metadata;
    char texts[];
} entry;

struct evener_late {
    _Atomic uint32_t references;
    pthread_mutex_t mutex; /* protects the next ones */
    uint32_t unanswered;
    bool is_ready;
    evener_status failure; /* OK: none */
    void (*resume)(void *arg);
    void *arg;
    entry *first, **last;
    size_t count;
    evener_metadata *joined; /* made once it is ready */
    uint32_t word;           /* atomic: WAITING or READY, for blocking calls */
};

struct evener_late_metadata {
    evener_late *late; /* a reference */
    entry *first, **last;
    size_t count;
    char method[];
};

/* ---- life ---- */

evener_late *evener_late_create(void)
{
    evener_late *late = calloc(1, sizeof *late);
    if (late != NULL) {
        atomic_init(&late->references, 1);
        pthread_mutex_init(&late->mutex, NULL);
        late->last = &late->first;
    }
    return late;
}

evener_late *evener_late_ref(evener_late *late)
{
    if (late != NULL) {
        atomic_fetch_add_explicit(&late->references, 1, memory_order_relaxed);
    }
    return late;
}

static void free_entries(entry *first)
{
    while (first != NULL) {
        entry *next = first->next;
        free(first);
        first = next;
    }
}

void evener_late_unref(evener_late *late)
{
    /* acq_rel: the last one sees what the others did. */
    if (late != NULL && atomic_fetch_sub_explicit(&late->references, 1, memory_order_acq_rel) == 1) {
        free_entries(late->first);
        free(late->joined);
        pthread_mutex_destroy(&late->mutex);
        free(late);
    }
}

evener_late_metadata *evener_late_add_handle(evener_late *late, const char *method)
{
    const size_t bytes = strlen(method) + 1;
    evener_late_metadata *handle = calloc(1, sizeof *handle + bytes);
    if (handle != NULL) {
        memcpy(handle->method, method, bytes);
        handle->late = evener_late_ref(late);
        handle->last = &handle->first;
        pthread_mutex_lock(&late->mutex);
        late->unanswered++;
        if (late->is_ready && late->failure.code == EVENER_STATUS_OK) { /* the handles so far were answered at once */
            late->is_ready = false;
            __atomic_store_n(&late->word, WAITING, __ATOMIC_RELAXED);
        }
        pthread_mutex_unlock(&late->mutex);
    }
    return handle;
}

/* ---- the answer ---- */

evener_status_code evener_late_metadata_add_bytes(evener_late_metadata *handle, const char *key, const void *value,
                                                  size_t value_bytes, evener_status *status)
{
    const size_t key_bytes = strlen(key) + 1;
    entry *made = malloc(sizeof *made + key_bytes + value_bytes + 1);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "call of %s: out of memory", handle->method);
    }
    memcpy(made->texts, key, key_bytes);
    if (value_bytes > 0) {
        memcpy(made->texts + key_bytes, value, value_bytes);
    }
    made->texts[key_bytes + value_bytes] = '\0';
    made->metadata = (evener_metadata){made->texts, made->texts + key_bytes, value_bytes};
    made->next = NULL;
    *handle->last = made;
    handle->last = &made->next;
    handle->count++;
    return evener_status_clear(status);
}

evener_status_code evener_late_metadata_add(evener_late_metadata *handle, const char *key, const char *value,
                                            evener_status *status)
{
    return evener_late_metadata_add_bytes(handle, key, value, strlen(value), status);
}

void evener_late_metadata_answer(evener_late_metadata *handle, const evener_status *status)
{
    evener_late *late = handle->late;
    void (*resume)(void *arg) = NULL;
    void *arg = NULL;
    pthread_mutex_lock(&late->mutex);
    if (!late->is_ready && status != NULL && status->code != EVENER_STATUS_OK) {
        late->failure = *status;
        late->unanswered = 1; /* the others do not matter any more */
    }
    if (!late->is_ready && handle->first != NULL) {
        *late->last = handle->first;
        late->last = handle->last;
        late->count += handle->count;
        handle->first = NULL;
    }
    if (!late->is_ready && --late->unanswered == 0) {
        late->is_ready = true;
        resume = late->resume;
        arg = late->arg;
        evener_wait_word_set(&late->word, READY);
    }
    pthread_mutex_unlock(&late->mutex);
    if (resume != NULL) {
        resume(arg);
    }
    free_entries(handle->first);
    free(handle);
    evener_late_unref(late);
}

/* ---- the call's side ---- */

bool evener_late_is_ready(evener_late *late)
{
    pthread_mutex_lock(&late->mutex);
    const bool is_ready = late->is_ready;
    pthread_mutex_unlock(&late->mutex);
    return is_ready;
}

bool evener_late_on_ready(evener_late *late, void (*resume)(void *arg), void *arg)
{
    pthread_mutex_lock(&late->mutex);
    const bool is_ready = late->is_ready;
    if (!is_ready) {
        late->resume = resume;
        late->arg = arg;
    }
    pthread_mutex_unlock(&late->mutex);
    return is_ready;
}

bool evener_late_wait(evener_late *late, uint64_t until_ns)
{
    /* Acquire pairs with evener_wait_word_set(). */
    while ((__atomic_load_n(&late->word, __ATOMIC_ACQUIRE) & ~EVENER_WAIT_BITS) == WAITING) {
        if (until_ns != UINT64_MAX && evener_clock_now_ns() >= until_ns) {
            return false;
        }
        evener_wait_word_sleep(&late->word, WAITING, until_ns);
    }
    return true;
}

evener_status_code evener_late_take(evener_late *late, const evener_metadata **metadata, size_t *count,
                                    evener_status *status)
{
    if (late->failure.code != EVENER_STATUS_OK) { /* not changed any more, as the entries */
        return evener_status_set(status, late->failure.code, "%s", late->failure.message);
    }
    if (late->count == 0) {
        return evener_status_clear(status);
    }
    late->joined = malloc((*count + late->count) * sizeof *late->joined);
    if (late->joined == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "metadata of a call: out of memory");
    }
    evener_metadata *to = late->joined;
    if (*count > 0) {
        memcpy(to, *metadata, *count * sizeof *to);
        to += *count;
    }
    for (const entry *e = late->first; e != NULL; e = e->next) {
        *to++ = e->metadata;
    }
    *metadata = late->joined;
    *count += late->count;
    return evener_status_clear(status);
}
