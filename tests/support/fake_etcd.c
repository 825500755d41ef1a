/* The store and the calls of the scripted etcd. */
#include "tests/support/fake_etcd.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/fake_etcd_internal.h"

typedef struct entry {
    char *key;
    uint8_t *value;
    size_t value_bytes;
    int64_t revision, lease;
    bool is_delete; /* in the history */
} entry;

typedef struct entry_list {
    entry *items;
    size_t count, room;
} entry_list;

typedef struct failure {
    char method[32], message[160];
    unsigned count;
    int code;
} failure;

struct fake_etcd {
    pthread_mutex_t mutex;
    pthread_cond_t counted;
    fake_server *server;
    entry_list store, history; /* the store is sorted by key */
    int64_t revision, compacted, last_lease;
    int64_t leases[64]; /* alive */
    size_t lease_count;
    uint64_t cluster_id;
    failure failure;
    unsigned fragment, refusals;
    char refusal[160];
    const void *range_answer;
    size_t range_answer_bytes;
    char user[32], password[64];
    uint64_t first_token, next_token;
    uint64_t counts[FAKE_ETCD_COUNTS];
};

void fake_etcd_note(fake_etcd *etcd, fake_etcd_count what)
{
    etcd->counts[what]++;
    pthread_cond_broadcast(&etcd->counted);
}

/* ---- the store ---- */

static entry *add(entry_list *list, size_t index)
{
    if (list->count == list->room) {
        list->room = list->room > 0 ? list->room * 2 : 64;
        list->items = realloc(list->items, list->room * sizeof *list->items);
        assert(list->items != NULL);
    }
    memmove(&list->items[index + 1], &list->items[index], (list->count - index) * sizeof *list->items);
    list->count++;
    list->items[index] = (entry){0};
    return &list->items[index];
}

static void set_entry(entry *e, const char *key, const void *value, size_t bytes, int64_t revision, int64_t lease)
{
    free(e->key);
    free(e->value);
    *e = (entry){
        .key = strdup(key), .value = malloc(bytes + 1), .value_bytes = bytes, .revision = revision, .lease = lease};
    assert(e->key != NULL && e->value != NULL);
    if (bytes > 0) {
        memcpy(e->value, value, bytes);
    }
}

static void clear_list(entry_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].key);
        free(list->items[i].value);
    }
    free(list->items);
    *list = (entry_list){0};
}

static size_t find(const fake_etcd *etcd, const char *key)
{
    size_t low = 0;
    size_t high = etcd->store.count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(etcd->store.items[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_at(const fake_etcd *etcd, size_t index, const char *key)
{
    return index < etcd->store.count && strcmp(etcd->store.items[index].key, key) == 0;
}

static void put_at(fake_etcd *etcd, const char *key, const void *value, size_t bytes, int64_t revision, int64_t lease)
{
    const size_t index = find(etcd, key);
    entry *e = is_at(etcd, index, key) ? &etcd->store.items[index] : add(&etcd->store, index);
    set_entry(e, key, value, bytes, revision, lease);
    set_entry(add(&etcd->history, etcd->history.count), key, value, bytes, revision, lease);
}

static void remove_at(fake_etcd *etcd, size_t index, int64_t revision)
{
    entry *e = &etcd->store.items[index];
    entry *event = add(&etcd->history, etcd->history.count);
    set_entry(event, e->key, "", 0, revision, 0);
    event->is_delete = true;
    free(e->key);
    free(e->value);
    etcd->store.count--;
    memmove(e, e + 1, (etcd->store.count - index) * sizeof *e);
}

/* ---- messages ---- */

static void put_header(const fake_etcd *etcd, evener_etcd_writer *to)
{
    evener_etcd_writer header = {0};
    evener_etcd_put_number(&header, 1, etcd->cluster_id);
    evener_etcd_put_number(&header, 2, 1);
    evener_etcd_put_number(&header, 3, (uint64_t)etcd->revision);
    evener_etcd_put_message(to, 1, &header);
}

static void put_key_value(const entry *e, evener_etcd_writer *to, uint32_t number)
{
    evener_etcd_writer kv = {0};
    evener_etcd_put_bytes(&kv, 1, e->key, strlen(e->key));
    evener_etcd_put_number(&kv, 3, (uint64_t)e->revision);
    evener_etcd_put_bytes(&kv, 5, e->value, e->value_bytes);
    evener_etcd_put_number(&kv, 6, (uint64_t)e->lease);
    evener_etcd_put_message(to, number, &kv);
}

static void send_message(fake_stream *stream, evener_etcd_writer *message)
{
    assert(!message->failed);
    fake_stream_send(stream, message->bytes, message->used);
    free(message->bytes);
    *message = (evener_etcd_writer){0};
}

static void send_and_end(fake_stream *stream, evener_etcd_writer *message)
{
    send_message(stream, message);
    fake_stream_end(stream, 0, "");
}

static int compare_start(const char *key, size_t key_bytes, const char *with, size_t with_bytes)
{
    return memcmp(key, with, key_bytes < with_bytes ? key_bytes : with_bytes);
}

/* Without `to`: the one key `from`. */
static bool is_in_range(const char *key, const char *from, size_t from_bytes, const char *to, size_t to_bytes)
{
    const size_t bytes = strlen(key);
    const int low = compare_start(key, bytes, from, from_bytes);
    if (to == NULL) {
        return bytes == from_bytes && low == 0;
    }
    const int high = compare_start(key, bytes, to, to_bytes);
    return (low > 0 || (low == 0 && bytes >= from_bytes)) && (high < 0 || (high == 0 && bytes < to_bytes));
}

/* ---- watches ---- */

static void send_events(fake_etcd *etcd, fake_stream *watch)
{
    evener_etcd_writer message = {0};
    size_t events = 0;
    for (size_t i = 0; i < etcd->history.count; i++) {
        const entry *e = &etcd->history.items[i];
        if (e->revision < watch->next_revision ||
            !is_in_range(e->key, watch->key, watch->key_bytes, watch->end, watch->end_bytes)) {
            continue;
        }
        if (etcd->fragment > 0 && events == etcd->fragment) {
            evener_etcd_put_number(&message, 7, true);
            send_message(watch, &message);
            events = 0;
        }
        if (events++ == 0) {
            put_header(etcd, &message);
        }
        evener_etcd_writer event = {0};
        evener_etcd_put_number(&event, 1, e->is_delete);
        put_key_value(e, &event, 2);
        evener_etcd_put_message(&message, 11, &event);
    }
    watch->next_revision = etcd->revision + 1 > watch->next_revision ? etcd->revision + 1 : watch->next_revision;
    if (events > 0) {
        send_message(watch, &message);
    }
    free(message.bytes);
}

static void visit_events(void *arg, fake_stream *stream)
{
    if (stream->is_watch) {
        send_events(arg, stream);
    }
}

static void publish(fake_etcd *etcd)
{
    fake_server_visit(etcd->server, visit_events, etcd);
    fake_server_wake(etcd->server);
}

static char *copy_bytes(const evener_etcd_field *field, size_t *bytes)
{
    char *copy = malloc(field->length + 1);
    assert(copy != NULL);
    memcpy(copy, field->bytes, field->length);
    copy[field->length] = '\0';
    *bytes = field->length;
    return copy;
}

static evener_etcd_reader reader_of(const uint8_t *bytes, size_t length)
{
    return (evener_etcd_reader){.next = bytes, .end = bytes + length};
}

static void handle_watch(fake_etcd *etcd, fake_stream *stream, evener_etcd_reader reader)
{
    evener_etcd_field f;
    if (!evener_etcd_next(&reader, &f) || f.number != 1 || f.bytes == NULL || stream->is_watch) {
        return;
    }
    fake_etcd_note(etcd, FAKE_ETCD_WATCHES);
    stream->next_revision = etcd->revision + 1;
    evener_etcd_reader create = reader_of(f.bytes, f.length);
    while (evener_etcd_next(&create, &f)) {
        if (f.number == 1) {
            stream->key = copy_bytes(&f, &stream->key_bytes);
        } else if (f.number == 2) {
            stream->end = copy_bytes(&f, &stream->end_bytes);
        } else if (f.number == 3) {
            stream->next_revision = (int64_t)f.value;
        }
    }
    assert(stream->key != NULL && stream->end != NULL);
    stream->is_watch = true;
    evener_etcd_writer message = {0};
    put_header(etcd, &message);
    evener_etcd_put_number(&message, 3, true);
    if (etcd->refusals > 0) {
        etcd->refusals--;
        evener_etcd_put_number(&message, 4, true);
        evener_etcd_put_bytes(&message, 6, etcd->refusal, strlen(etcd->refusal));
        stream->is_watch = false;
        send_message(stream, &message);
        return;
    }
    send_message(stream, &message);
    if (stream->next_revision <= etcd->compacted) {
        put_header(etcd, &message);
        evener_etcd_put_number(&message, 4, true);
        evener_etcd_put_number(&message, 5, (uint64_t)etcd->compacted);
        stream->is_watch = false;
        send_message(stream, &message);
        return;
    }
    send_events(etcd, stream);
}

/* ---- unary calls ---- */

/* End the stream if the next calls of this method fail. Return whether they do. */
static bool fails(fake_etcd *etcd, fake_stream *stream, const char *method)
{
    if (etcd->failure.count == 0 || strcmp(etcd->failure.method, method) != 0) {
        return false;
    }
    etcd->failure.count--;
    if (etcd->failure.code != FAKE_ETCD_SILENT) {
        fake_stream_end(stream, etcd->failure.code, etcd->failure.message);
    }
    return true;
}

static void handle_range(fake_etcd *etcd, fake_stream *stream, evener_etcd_reader reader)
{
    char *key = NULL;
    char *end = NULL;
    size_t key_bytes = 0;
    size_t end_bytes = 0;
    int64_t limit = 0;
    int64_t revision = 0;
    bool keys_only = false;
    bool count_only = false;
    for (evener_etcd_field f; evener_etcd_next(&reader, &f);) {
        if (f.number == 1) {
            key = copy_bytes(&f, &key_bytes);
        } else if (f.number == 2) {
            end = copy_bytes(&f, &end_bytes);
        } else if (f.number == 3) {
            limit = (int64_t)f.value;
        } else if (f.number == 4) {
            revision = (int64_t)f.value;
        } else if (f.number == 8) {
            keys_only = true;
        } else if (f.number == 9) {
            count_only = true;
        }
    }
    const bool is_list = end != NULL && !count_only;
    if (is_list || count_only) {
        fake_etcd_note(etcd, is_list ? FAKE_ETCD_RANGES : FAKE_ETCD_CHECKS);
    }
    if (is_list && fails(etcd, stream, "List")) {
        /* only requests for several keys */
    } else if (etcd->range_answer != NULL) {
        fake_stream_send(stream, etcd->range_answer, etcd->range_answer_bytes);
        fake_stream_end(stream, 0, "");
    } else if (revision != 0 && revision < etcd->compacted) {
        fake_stream_end(stream, 11, "etcdserver: mvcc: required revision has been compacted");
    } else {
        /* The store as of now, without what is newer than the revision: enough for tests that only add keys. */
        evener_etcd_writer message = {0};
        int64_t count = 0;
        bool more = false;
        put_header(etcd, &message);
        for (size_t i = 0; i < etcd->store.count && !more; i++) {
            entry e = etcd->store.items[i];
            if ((revision == 0 || e.revision <= revision) && is_in_range(e.key, key, key_bytes, end, end_bytes)) {
                more = limit != 0 && count == limit;
                e.value_bytes = keys_only ? 0 : e.value_bytes;
                count += !more;
                if (!more && !count_only) {
                    put_key_value(&e, &message, 2);
                }
            }
        }
        evener_etcd_put_number(&message, 3, more);
        evener_etcd_put_number(&message, 4, (uint64_t)count);
        send_and_end(stream, &message);
    }
    free(key);
    free(end);
}

static size_t lease_index(const fake_etcd *etcd, int64_t lease)
{
    size_t index = 0;
    while (index < etcd->lease_count && etcd->leases[index] != lease) {
        index++;
    }
    return index;
}

static void handle_put(fake_etcd *etcd, fake_stream *stream, evener_etcd_reader reader)
{
    char *key = NULL;
    char *value = NULL;
    size_t key_bytes = 0;
    size_t value_bytes = 0;
    int64_t lease = 0;
    fake_etcd_note(etcd, FAKE_ETCD_PUTS);
    for (evener_etcd_field f; evener_etcd_next(&reader, &f);) {
        if (f.number == 1) {
            key = copy_bytes(&f, &key_bytes);
        } else if (f.number == 2) {
            value = copy_bytes(&f, &value_bytes);
        } else if (f.number == 3) {
            lease = (int64_t)f.value;
        }
    }
    if (lease != 0 && lease_index(etcd, lease) == etcd->lease_count) {
        fake_stream_end(stream, 5, "etcdserver: requested lease not found");
    } else {
        evener_etcd_writer message = {0};
        put_at(etcd, key, value, value_bytes, ++etcd->revision, lease);
        put_header(etcd, &message);
        send_and_end(stream, &message);
        publish(etcd);
    }
    free(key);
    free(value);
}

static void end_lease(fake_etcd *etcd, int64_t lease)
{
    const size_t index = lease_index(etcd, lease);
    if (index < etcd->lease_count) {
        etcd->leases[index] = etcd->leases[--etcd->lease_count];
    }
    const int64_t revision = ++etcd->revision;
    for (size_t i = etcd->store.count; i-- > 0;) {
        if (etcd->store.items[i].lease == lease) {
            remove_at(etcd, i, revision);
        }
    }
    publish(etcd);
}

static void handle_lease(fake_etcd *etcd, fake_stream *stream, const char *method, evener_etcd_reader reader)
{
    int64_t first = 0;
    for (evener_etcd_field f; evener_etcd_next(&reader, &f);) {
        first = f.number == 1 ? (int64_t)f.value : first;
    }
    evener_etcd_writer message = {0};
    if (strcmp(method, "LeaseGrant") == 0) {
        fake_etcd_note(etcd, FAKE_ETCD_GRANTS);
        assert(etcd->lease_count < 64);
        etcd->leases[etcd->lease_count++] = ++etcd->last_lease;
        put_header(etcd, &message);
        evener_etcd_put_number(&message, 2, (uint64_t)etcd->last_lease);
        evener_etcd_put_number(&message, 3, (uint64_t)first);
        send_and_end(stream, &message);
    } else if (strcmp(method, "LeaseRevoke") == 0) {
        fake_etcd_note(etcd, FAKE_ETCD_REVOKES);
        end_lease(etcd, first);
        put_header(etcd, &message);
        send_and_end(stream, &message);
    } else {
        fake_etcd_note(etcd, FAKE_ETCD_KEEP_ALIVES);
        if (!stream->is_frozen) {
            put_header(etcd, &message);
            evener_etcd_put_number(&message, 2, (uint64_t)first);
            evener_etcd_put_number(&message, 3, lease_index(etcd, first) < etcd->lease_count ? 10 : 0);
            send_message(stream, &message);
        }
    }
}

static void handle_authenticate(fake_etcd *etcd, fake_stream *stream, evener_etcd_reader reader)
{
    char *name = strdup("");
    char *password = strdup("");
    size_t bytes = 0;
    fake_etcd_note(etcd, FAKE_ETCD_AUTHENTICATIONS);
    for (evener_etcd_field f; evener_etcd_next(&reader, &f);) {
        char **to = f.number == 1 ? &name : &password;
        free(*to);
        *to = copy_bytes(&f, &bytes);
    }
    if (etcd->user[0] == '\0') {
        fake_stream_end(stream, 9, "etcdserver: authentication is not enabled");
    } else if (strcmp(name, etcd->user) != 0 || strcmp(password, etcd->password) != 0) {
        fake_stream_end(stream, 3, "etcdserver: authentication failed, invalid user ID or password");
    } else {
        char token[32];
        evener_etcd_writer message = {0};
        snprintf(token, sizeof token, "token.%llu", (unsigned long long)etcd->next_token++);
        put_header(etcd, &message);
        evener_etcd_put_bytes(&message, 2, token, strlen(token));
        send_and_end(stream, &message);
    }
    free(name);
    free(password);
}

static bool token_is_good(const fake_etcd *etcd, const char *token)
{
    return etcd->user[0] == '\0' ||
           (strncmp(token, "token.", 6) == 0 && strtoull(token + 6, NULL, 10) >= etcd->first_token);
}

void fake_etcd_handle(fake_etcd *etcd, fake_stream *stream, const uint8_t *bytes, size_t length)
{
    const char *method = strrchr(stream->path, '/');
    method = method != NULL ? method + 1 : "";
    const evener_etcd_reader reader = reader_of(bytes, length);
    if (!stream->has_leader) {
        fake_etcd_note(etcd, FAKE_ETCD_WITHOUT_HASLEADER);
    }
    if (fails(etcd, stream, method)) {
        /* as the test wants */
    } else if (strcmp(method, "Authenticate") == 0) {
        handle_authenticate(etcd, stream, reader);
    } else if (!token_is_good(etcd, stream->token)) {
        fake_etcd_note(etcd, FAKE_ETCD_REFUSED_TOKENS);
        fake_stream_end(stream, stream->token[0] != '\0' ? 16 : 3,
                        stream->token[0] != '\0' ? "etcdserver: invalid auth token" : "etcdserver: user name is empty");
    } else if (strcmp(method, "Range") == 0) {
        handle_range(etcd, stream, reader);
    } else if (strcmp(method, "Watch") == 0) {
        handle_watch(etcd, stream, reader);
    } else if (strcmp(method, "Put") == 0) {
        handle_put(etcd, stream, reader);
    } else if (strncmp(method, "Lease", 5) == 0) {
        handle_lease(etcd, stream, method, reader);
    } else {
        fake_stream_end(stream, 12, "unknown method");
    }
}

/* ---- the test's side ---- */

fake_etcd *fake_etcd_start(void)
{
    fake_etcd *etcd = calloc(1, sizeof *etcd);
    pthread_condattr_t attributes;
    assert(etcd != NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&etcd->counted, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&etcd->mutex, NULL);
    etcd->revision = 1;
    etcd->cluster_id = 0xc0ffee;
    etcd->next_token = etcd->first_token = 1;
    etcd->last_lease = 0x1000;
    etcd->server = fake_server_start(etcd, &etcd->mutex);
    return etcd;
}

void fake_etcd_stop(fake_etcd *etcd)
{
    fake_server_stop(etcd->server);
    clear_list(&etcd->store);
    clear_list(&etcd->history);
    pthread_cond_destroy(&etcd->counted);
    pthread_mutex_destroy(&etcd->mutex);
    free(etcd);
}

uint16_t fake_etcd_port(const fake_etcd *etcd)
{
    return fake_server_port(etcd->server);
}

void fake_etcd_set_down(fake_etcd *etcd, bool is_down)
{
    fake_server_set_down(etcd->server, is_down);
}

void fake_etcd_hang_up(fake_etcd *etcd)
{
    fake_server_hang_up(etcd->server);
}

static void lock(fake_etcd *etcd)
{
    pthread_mutex_lock(&etcd->mutex);
}

static void unlock(fake_etcd *etcd)
{
    fake_server_wake(etcd->server);
    pthread_mutex_unlock(&etcd->mutex);
}

static void visit_freeze(void *arg, fake_stream *stream)
{
    (void)arg;
    stream->is_frozen = true;
}

void fake_etcd_freeze_streams(fake_etcd *etcd)
{
    lock(etcd);
    fake_server_visit(etcd->server, visit_freeze, NULL);
    unlock(etcd);
}

typedef struct ending {
    int code;
    const char *message;
} ending;

static void visit_end(void *arg, fake_stream *stream)
{
    const ending *e = arg;
    if (stream->is_watch) {
        fake_stream_end(stream, e->code, e->message);
    }
}

void fake_etcd_end_watches(fake_etcd *etcd, int code, const char *message)
{
    ending e = {code, message};
    lock(etcd);
    fake_server_visit(etcd->server, visit_end, &e);
    unlock(etcd);
}

void fake_etcd_put_bytes(fake_etcd *etcd, const char *key, const void *value, size_t bytes)
{
    lock(etcd);
    put_at(etcd, key, value, bytes, ++etcd->revision, 0);
    publish(etcd);
    unlock(etcd);
}

void fake_etcd_put(fake_etcd *etcd, const char *key, const char *value)
{
    fake_etcd_put_bytes(etcd, key, value, strlen(value));
}

void fake_etcd_put_many(fake_etcd *etcd, const char *prefix, unsigned first, unsigned count)
{
    lock(etcd);
    const int64_t revision = ++etcd->revision;
    for (unsigned i = first; i < first + count; i++) {
        char key[128];
        char value[128];
        snprintf(key, sizeof key, "%s%08u", prefix, i);
        const int bytes = snprintf(value, sizeof value, "{\"Op\":0,\"Addr\":\"127.%u.%u.%u:80\",\"Metadata\":null}",
                                   i / 62500 + 1, i / 250 % 250, i % 250 + 1);
        put_at(etcd, key, value, (size_t)bytes, revision, 0);
    }
    publish(etcd);
    unlock(etcd);
}

void fake_etcd_delete(fake_etcd *etcd, const char *key)
{
    lock(etcd);
    const size_t index = find(etcd, key);
    if (is_at(etcd, index, key)) {
        remove_at(etcd, index, ++etcd->revision);
        publish(etcd);
    }
    unlock(etcd);
}

bool fake_etcd_get(fake_etcd *etcd, const char *key, char *value, size_t room)
{
    lock(etcd);
    const size_t index = find(etcd, key);
    const bool found = is_at(etcd, index, key);
    if (found) {
        snprintf(value, room, "%.*s", (int)etcd->store.items[index].value_bytes,
                 (const char *)etcd->store.items[index].value);
    }
    unlock(etcd);
    return found;
}

bool fake_etcd_find(fake_etcd *etcd, const char *prefix, char *key, size_t room)
{
    lock(etcd);
    const size_t index = find(etcd, prefix);
    const bool found = index < etcd->store.count && strncmp(etcd->store.items[index].key, prefix, strlen(prefix)) == 0;
    if (found) {
        snprintf(key, room, "%s", etcd->store.items[index].key);
    }
    unlock(etcd);
    return found;
}

void fake_etcd_compact(fake_etcd *etcd)
{
    lock(etcd);
    etcd->compacted = etcd->revision;
    clear_list(&etcd->history);
    unlock(etcd);
}

void fake_etcd_restore(fake_etcd *etcd, uint64_t cluster_id, int64_t revision)
{
    lock(etcd);
    clear_list(&etcd->store);
    clear_list(&etcd->history);
    etcd->cluster_id = cluster_id;
    etcd->revision = revision;
    etcd->compacted = 0;
    unlock(etcd);
    fake_etcd_hang_up(etcd);
}

void fake_etcd_fail(fake_etcd *etcd, const char *method, unsigned count, int code, const char *message)
{
    lock(etcd);
    etcd->failure = (failure){.count = count, .code = code};
    snprintf(etcd->failure.method, sizeof etcd->failure.method, "%s", method);
    snprintf(etcd->failure.message, sizeof etcd->failure.message, "%s", message);
    unlock(etcd);
}

void fake_etcd_fragment(fake_etcd *etcd, unsigned events)
{
    lock(etcd);
    etcd->fragment = events;
    unlock(etcd);
}

void fake_etcd_answer_ranges(fake_etcd *etcd, const void *bytes, size_t length)
{
    lock(etcd);
    etcd->range_answer = bytes;
    etcd->range_answer_bytes = length;
    unlock(etcd);
}

typedef struct raw_message {
    const void *bytes;
    size_t length;
} raw_message;

static void visit_raw(void *arg, fake_stream *stream)
{
    const raw_message *raw = arg;
    if (stream->is_watch) {
        fake_stream_send(stream, raw->bytes, raw->length);
    }
}

void fake_etcd_send_to_watches(fake_etcd *etcd, const void *bytes, size_t length)
{
    raw_message raw = {bytes, length};
    lock(etcd);
    fake_server_visit(etcd->server, visit_raw, &raw);
    unlock(etcd);
}

void fake_etcd_send_progress(fake_etcd *etcd)
{
    evener_etcd_writer message = {0};
    lock(etcd);
    put_header(etcd, &message);
    raw_message raw = {message.bytes, message.used};
    fake_server_visit(etcd->server, visit_raw, &raw);
    unlock(etcd);
    free(message.bytes);
}

void fake_etcd_refuse_watches(fake_etcd *etcd, unsigned count, const char *reason)
{
    lock(etcd);
    etcd->refusals = count;
    snprintf(etcd->refusal, sizeof etcd->refusal, "%s", reason);
    unlock(etcd);
}

void fake_etcd_set_user(fake_etcd *etcd, const char *user, const char *password)
{
    lock(etcd);
    snprintf(etcd->user, sizeof etcd->user, "%s", user);
    snprintf(etcd->password, sizeof etcd->password, "%s", password);
    unlock(etcd);
}

void fake_etcd_expire_tokens(fake_etcd *etcd)
{
    lock(etcd);
    etcd->first_token = etcd->next_token;
    unlock(etcd);
}

void fake_etcd_expire_lease(fake_etcd *etcd, int64_t lease)
{
    lock(etcd);
    if (lease != 0) {
        end_lease(etcd, lease);
    }
    while (lease == 0 && etcd->lease_count > 0) {
        end_lease(etcd, etcd->leases[0]);
    }
    unlock(etcd);
}

uint64_t fake_etcd_count_of(fake_etcd *etcd, fake_etcd_count what)
{
    lock(etcd);
    const uint64_t count = etcd->counts[what];
    unlock(etcd);
    return count;
}

bool fake_etcd_wait(fake_etcd *etcd, fake_etcd_count what, uint64_t wanted)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += 20;
    lock(etcd);
    while (etcd->counts[what] < wanted && pthread_cond_timedwait(&etcd->counted, &etcd->mutex, &deadline) == 0) {
    }
    const bool reached = etcd->counts[what] >= wanted;
    unlock(etcd);
    return reached;
}
