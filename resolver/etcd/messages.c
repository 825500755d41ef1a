#include "resolver/etcd/messages.h"

#include <stdlib.h>
#include <string.h>

#include "lb/base/memory.h"
#include "resolver/etcd/wire.h"

size_t evener_etcd_prefix_end(evener_etcd_span prefix, uint8_t *end)
{
    size_t length = prefix.length;
    while (length > 0 && prefix.bytes[length - 1] == 0xff) {
        length--;
    }
    if (length == 0) {
        end[0] = 0;
        return 1;
    }
    memcpy(end, prefix.bytes, length);
    end[length - 1]++;
    return length;
}

/* ---- requests ---- */

bool evener_etcd_range_request(const evener_etcd_range *range, evener_bytes *message)
{
    evener_etcd_writer writer = {0};
    evener_etcd_put_bytes(&writer, 1, range->key.bytes, range->key.length);
    evener_etcd_put_bytes(&writer, 2, range->end.bytes, range->end.length);
    evener_etcd_put_number(&writer, 3, (uint64_t)range->limit);
    evener_etcd_put_number(&writer, 4, (uint64_t)range->revision);
    evener_etcd_put_number(&writer, 8, range->keys_only);
    evener_etcd_put_number(&writer, 9, range->count_only);
    return evener_etcd_finish(&writer, message);
}

bool evener_etcd_watch_request(evener_etcd_span key, evener_etcd_span end, int64_t start_revision,
                               evener_bytes *message)
{
    evener_etcd_writer create = {0};
    evener_etcd_writer writer = {0};
    evener_etcd_put_bytes(&create, 1, key.bytes, key.length);
    evener_etcd_put_bytes(&create, 2, end.bytes, end.length);
    evener_etcd_put_number(&create, 3, (uint64_t)start_revision);
    evener_etcd_put_number(&create, 4, true); /* progress_notify */
    evener_etcd_put_number(&create, 8, true); /* fragment */
    evener_etcd_put_message(&writer, 1, &create);
    return evener_etcd_finish(&writer, message);
}

bool evener_etcd_put_request(evener_etcd_span key, evener_etcd_span value, int64_t lease, evener_bytes *message)
{
    evener_etcd_writer writer = {0};
    evener_etcd_put_bytes(&writer, 1, key.bytes, key.length);
    evener_etcd_put_bytes(&writer, 2, value.bytes, value.length);
    evener_etcd_put_number(&writer, 3, (uint64_t)lease);
    return evener_etcd_finish(&writer, message);
}

bool evener_etcd_lease_grant_request(int64_t ttl_s, evener_bytes *message)
{
    evener_etcd_writer writer = {0};
    evener_etcd_put_number(&writer, 1, (uint64_t)ttl_s);
    return evener_etcd_finish(&writer, message);
}

bool evener_etcd_lease_request(int64_t lease, evener_bytes *message)
{
    evener_etcd_writer writer = {0};
    evener_etcd_put_number(&writer, 1, (uint64_t)lease);
    return evener_etcd_finish(&writer, message);
}

bool evener_etcd_authenticate_request(const char *user, const char *password, evener_bytes *message)
{
    evener_etcd_writer writer = {0};
    evener_etcd_put_bytes(&writer, 1, user, strlen(user));
    evener_etcd_put_bytes(&writer, 2, password, strlen(password));
    return evener_etcd_finish(&writer, message);
}

/* ---- responses ---- */

static evener_etcd_reader read_message(const evener_bytes *message)
{
    static const uint8_t nothing;
    const uint8_t *bytes = message->length > 0 ? message->data : &nothing;
    return (evener_etcd_reader){.next = bytes, .end = bytes + message->length};
}

static evener_etcd_reader read_field(const evener_etcd_field *field)
{
    return (evener_etcd_reader){.next = field->bytes, .end = field->bytes + field->length};
}

static evener_etcd_span span_of(const evener_etcd_field *field)
{
    return (evener_etcd_span){.bytes = field->bytes, .length = field->length};
}

static bool parse_header(const evener_etcd_field *field, evener_etcd_header *header)
{
    evener_etcd_reader reader = read_field(field);
    for (evener_etcd_field f; evener_etcd_next(&reader, &f);) {
        if (f.number == 1) {
            header->cluster_id = f.value;
        } else if (f.number == 3) {
            header->revision = (int64_t)f.value;
        }
    }
    return !reader.bad;
}

static bool parse_key_value(const evener_etcd_field *field, evener_etcd_key_value *kv)
{
    evener_etcd_reader reader = read_field(field);
    *kv = (evener_etcd_key_value){0};
    for (evener_etcd_field f; evener_etcd_next(&reader, &f);) {
        if (f.number == 1 && f.bytes != NULL) {
            kv->key = span_of(&f);
        } else if (f.number == 3) {
            kv->mod_revision = (int64_t)f.value;
        } else if (f.number == 5 && f.bytes != NULL) {
            kv->value = span_of(&f);
        }
    }
    return !reader.bad && kv->key.length > 0;
}

bool evener_etcd_range_parse(const evener_bytes *message, evener_etcd_range_response *response,
                             bool (*visit)(void *arg, const evener_etcd_key_value *kv), void *arg)
{
    evener_etcd_reader reader = read_message(message);
    *response = (evener_etcd_range_response){0};
    for (evener_etcd_field f; evener_etcd_next(&reader, &f);) {
        evener_etcd_key_value kv;
        if (f.number == 1 && f.bytes != NULL && !parse_header(&f, &response->header)) {
            return false;
        }
        if (f.number == 2 && f.bytes != NULL) {
            if (!parse_key_value(&f, &kv)) {
                return false;
            }
            if (!visit(arg, &kv)) {
                return true;
            }
        } else if (f.number == 3) {
            response->more = f.value != 0;
        } else if (f.number == 4) {
            response->count = f.value;
        }
    }
    return !reader.bad;
}

typedef struct event_visitor {
    bool (*visit)(void *arg, bool is_delete, const evener_etcd_key_value *kv);
    void *arg;
    bool stopped;
} event_visitor;

static bool parse_event(const evener_etcd_field *field, event_visitor *visitor)
{
    evener_etcd_reader reader = read_field(field);
    evener_etcd_key_value kv = {0};
    bool is_delete = false;
    for (evener_etcd_field f; evener_etcd_next(&reader, &f);) {
        if (f.number == 1) {
            is_delete = f.value == 1;
        } else if (f.number == 2 && f.bytes != NULL && !parse_key_value(&f, &kv)) {
            return false;
        }
    }
    if (reader.bad || kv.key.length == 0) {
        return false;
    }
    visitor->stopped = !visitor->visit(visitor->arg, is_delete, &kv);
    return true;
}

bool evener_etcd_watch_parse(const evener_bytes *message, evener_etcd_watch_response *response,
                             bool (*visit)(void *arg, bool is_delete, const evener_etcd_key_value *kv), void *arg)
{
    evener_etcd_reader reader = read_message(message);
    event_visitor visitor = {.visit = visit, .arg = arg};
    *response = (evener_etcd_watch_response){0};
    for (evener_etcd_field f; !visitor.stopped && evener_etcd_next(&reader, &f);) {
        if (f.number == 1 && f.bytes != NULL && !parse_header(&f, &response->header)) {
            return false;
        }
        if (f.number == 11 && f.bytes != NULL && !parse_event(&f, &visitor)) {
            return false;
        }
        response->created |= f.number == 3 && f.value != 0;
        response->canceled |= f.number == 4 && f.value != 0;
        response->fragment |= f.number == 7 && f.value != 0;
        response->events += f.number == 11;
        if (f.number == 5) {
            response->compact_revision = (int64_t)f.value;
        } else if (f.number == 6 && f.bytes != NULL) {
            response->cancel_reason = span_of(&f);
        }
    }
    return !reader.bad;
}

bool evener_etcd_lease_parse(const evener_bytes *message, evener_etcd_lease_response *response)
{
    evener_etcd_reader reader = read_message(message);
    *response = (evener_etcd_lease_response){0};
    for (evener_etcd_field f; evener_etcd_next(&reader, &f);) {
        if (f.number == 2) {
            response->lease = (int64_t)f.value;
        } else if (f.number == 3) {
            response->ttl_s = (int64_t)f.value;
        } else if (f.number == 4 && f.bytes != NULL) {
            response->error = span_of(&f);
        }
    }
    return !reader.bad;
}

static bool is_printable(evener_etcd_span text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (text.bytes[i] <= ' ' || text.bytes[i] >= 0x7f) {
            return false;
        }
    }
    return text.length > 0;
}

bool evener_etcd_authenticate_parse(const evener_bytes *message, char **token)
{
    evener_etcd_reader reader = read_message(message);
    evener_etcd_span found = {0};
    for (evener_etcd_field f; evener_etcd_next(&reader, &f);) {
        if (f.number == 2 && f.bytes != NULL) {
            found = span_of(&f);
        }
    }
    if (reader.bad || found.bytes == NULL || !is_printable(found)) {
        return false;
    }
    char *copy = evener_text_copy(found.bytes, found.length);
    if (copy == NULL) {
        return false;
    }
    *token = copy;
    return true;
}
