#include "resolver/etcd/verify.h"

#include <stdlib.h>
#include <string.h>

#include "lb/base/memory.h"

struct evener_etcd_verification {
    evener_etcd_operation operation;
    evener_etcd_client *client;
    int64_t revision;
    uint64_t wanted_count;
    uint8_t *last_key; /* NULL: the list is empty */
    size_t last_key_bytes;
    int64_t last_mod_revision;
    bool asks_for_key; /* the second request */
    /* of the response */
    uint64_t count;
    int64_t found_mod_revision;
    void (*ended)(void *arg, const evener_status *status); /* NULL: stopped */
    void *arg;
};

static bool visit(void *arg, const evener_etcd_key_value *kv)
{
    evener_etcd_verification *self = arg;
    self->found_mod_revision = kv->mod_revision;
    return true;
}

/* On a call thread. */
static evener_status_code decode(evener_etcd_operation *operation, const evener_bytes *response, evener_status *status)
{
    evener_etcd_verification *self = EVENER_CONTAINER_OF(operation, evener_etcd_verification, operation);
    evener_etcd_range_response range;
    self->found_mod_revision = 0;
    if (!evener_etcd_range_parse(response, &range, visit, self)) {
        return evener_status_set(status, EVENER_STATUS_INTERNAL, "the answer is malformed");
    }
    self->count = range.count;
    return EVENER_STATUS_OK;
}

static void done(evener_etcd_operation *operation);

static bool start(evener_etcd_verification *self, evener_etcd_span key, evener_etcd_span end)
{
    const evener_etcd_range range = {.key = key,
                                     .end = end,
                                     .revision = self->revision,
                                     .keys_only = self->asks_for_key,
                                     .count_only = !self->asks_for_key};
    self->operation = (evener_etcd_operation){.method = EVENER_ETCD_RANGE, .decode = decode, .done = done};
    if (!evener_etcd_range_request(&range, &self->operation.request)) {
        return false;
    }
    evener_etcd_client_start(self->client, &self->operation);
    return true;
}

static void done(evener_etcd_operation *operation)
{
    evener_etcd_verification *self = EVENER_CONTAINER_OF(operation, evener_etcd_verification, operation);
    evener_status status = operation->status;
    if (self->ended != NULL && status.code == EVENER_STATUS_OK) {
        const bool same = self->asks_for_key ? self->found_mod_revision == self->last_mod_revision
                                             : self->count == self->wanted_count;
        if (!same) {
            evener_status_set(&status, EVENER_STATUS_OUT_OF_RANGE, "etcd has other data than before, at revision %lld",
                              (long long)self->revision);
        } else if (!self->asks_for_key && self->last_key != NULL) {
            self->asks_for_key = true;
            if (start(self, (evener_etcd_span){self->last_key, self->last_key_bytes}, (evener_etcd_span){0})) {
                return;
            }
            evener_status_set(&status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        }
    }
    if (self->ended != NULL) {
        self->ended(self->arg, &status);
    }
    free(self->last_key);
    free(self);
}

/* Remember the key that was changed last. */
static bool take_last_key(evener_etcd_verification *self, const evener_etcd_entries *list)
{
    const evener_etcd_entry *last = NULL;
    for (size_t i = 0; i < list->count; i++) {
        if (last == NULL || list->items[i].mod_revision > last->mod_revision) {
            last = &list->items[i];
        }
    }
    self->wanted_count = list->count;
    if (last == NULL) {
        return true;
    }
    self->last_key = malloc(last->key_bytes);
    if (self->last_key != NULL) {
        memcpy(self->last_key, last->key, last->key_bytes);
        self->last_key_bytes = last->key_bytes;
        self->last_mod_revision = last->mod_revision;
    }
    return self->last_key != NULL;
}

evener_etcd_verification *evener_etcd_verify(evener_etcd_client *client, const evener_etcd_layout *layout,
                                             const evener_etcd_entries *list, int64_t revision,
                                             void (*ended)(void *arg, const evener_status *status), void *arg)
{
    const evener_etcd_span prefix = {(const uint8_t *)layout->prefix, strlen(layout->prefix)};
    uint8_t *end = malloc(prefix.length + 1);
    evener_etcd_verification *self = calloc(1, sizeof *self);
    bool ready = self != NULL && end != NULL && take_last_key(self, list);
    if (ready) {
        self->client = client;
        self->revision = revision;
        self->ended = ended;
        self->arg = arg;
        ready = start(self, prefix, (evener_etcd_span){end, evener_etcd_prefix_end(prefix, end)});
    }
    free(end);
    if (!ready) {
        free(self != NULL ? self->last_key : NULL);
        free(self);
        return NULL;
    }
    return self;
}

void evener_etcd_verify_stop(evener_etcd_verification *verification)
{
    if (verification != NULL) {
        verification->ended = NULL;
        evener_etcd_operation_cancel(&verification->operation);
    }
}
