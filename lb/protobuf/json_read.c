/* JSON to bytes: messages, lists, maps. The text is read once, from the front, and each field is appended as it comes;
 * the length of a message is inserted when it ends. */
#include "lb/protobuf/json_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/protobuf/json_values.h"

#define SEEN_ONEOF 0x80000000u /* an entry of `seen` is a oneof's index, not a field's */

/* ---- errors, depth ---- */

bool evener_json_read_wrong(evener_json_input *in, const evener_json_path *path, const char *problem)
{
    if (in->reader.problem != NULL) {
        evener_json_malformed(&in->reader, in->status);
        return false;
    }
    return evener_json_wrong(path, EVENER_STATUS_INVALID_ARGUMENT, problem, in->status);
}

bool evener_json_read_other(evener_json_input *in, const evener_json_path *path, const char *needed)
{
    evener_json_reader ahead = in->reader;
    bool deep = false;
    if (!evener_json_skip(&ahead, in->options.depth_max - in->depth, &deep) && !deep) {
        in->reader = ahead;
    }
    return evener_json_read_wrong(in, path, needed);
}

bool evener_json_read_malformed(evener_json_input *in)
{
    evener_json_malformed(&in->reader, in->status);
    return false;
}

static bool too_deep(evener_json_input *in, const evener_json_path *path)
{
    char problem[64];
    snprintf(problem, sizeof problem, "more than %u levels", in->options.depth_max);
    return evener_json_wrong(path, EVENER_STATUS_RESOURCE_EXHAUSTED, problem, in->status);
}

bool evener_json_read_enter(evener_json_input *in, const evener_json_path *path)
{
    return ++in->depth <= in->options.depth_max || too_deep(in, path);
}

static bool skip_value(evener_json_input *in, const evener_json_path *path)
{
    bool deep = false;
    if (!evener_json_skip(&in->reader, in->options.depth_max - in->depth, &deep)) {
        return deep ? too_deep(in, path) : evener_json_read_malformed(in);
    }
    return true;
}

/* ---- lists and maps ---- */

/* Whether null is a value of the field, instead of "not set". */
static bool takes_null(const evener_field *field)
{
    return evener_json_is_null_value(field) ||
           (field->kind == EVENER_FIELD_MESSAGE && evener_message_node_of(field->message)->known == EVENER_KNOWN_VALUE);
}

static bool refuse_null(evener_json_input *in, const evener_json_path *path, const evener_field *field)
{
    return evener_json_peek(&in->reader) != 'n' || takes_null(field) ||
           evener_json_read_other(in, path, "null is not allowed here");
}

static bool read_list(evener_json_input *in, const evener_json_path *path, const evener_field *field)
{
    bool first = true;
    const size_t before = in->out.length;
    if (!evener_json_take(&in->reader, '[')) {
        return evener_json_read_other(in, path, "a list is needed");
    }
    if (!evener_json_read_enter(in, path)) {
        return false;
    }
    if (field->packed) {
        evener_wire_put_tag(&in->out, field->number, EVENER_WIRE_BYTES);
    }
    const size_t start = in->out.length;
    evener_json_path element = {.up = path};
    for (; evener_json_next_element(&in->reader, ']', &first); element.length++) {
        uint64_t value;
        bool known;
        if (!refuse_null(in, &element, field)) {
            return false;
        }
        if (!field->packed) {
            if (!evener_json_read_single(in, &element, field, EVENER_JSON_TAGGED)) {
                return false;
            }
            continue;
        }
        if (!evener_json_read_simple(in, &element, field, &value, &known)) {
            return false;
        }
        if (known) {
            evener_json_put_simple(in, field->kind, value);
        }
    }
    if (in->reader.problem != NULL) {
        return evener_json_read_malformed(in);
    }
    if (field->packed && !in->out.failed) {
        if (in->out.length == start) {
            in->out.length = before; /* an empty list is not written */
        } else {
            evener_wire_close(&in->out, start);
        }
    }
    in->depth--;
    return true;
}

static bool read_map(evener_json_input *in, const evener_json_path *path, const evener_field *field)
{
    const evener_field *key = field->message->fields[0], *value = field->message->fields[1];
    bool first = true;
    if (!evener_json_take(&in->reader, '{')) {
        return evener_json_read_other(in, path, "an object is needed");
    }
    if (!evener_json_read_enter(in, path)) {
        return false;
    }
    while (evener_json_next_element(&in->reader, '}', &first)) {
        evener_json_slice raw;
        if (!evener_json_key(&in->reader, &raw)) {
            return evener_json_read_malformed(in);
        }
        const evener_json_path entry = {path, raw.text, raw.length};
        const size_t before = in->out.length;
        in->text.length = 0;
        evener_json_unescape(raw, &in->text);
        evener_wire_put_tag(&in->out, field->number, EVENER_WIRE_BYTES);
        const size_t start = in->out.length;
        if (!evener_json_put_key(in, &entry, key) || !refuse_null(in, &entry, value)) {
            return false;
        }
        const size_t before_value = in->out.length;
        if (!evener_json_read_single(in, &entry, value, EVENER_JSON_TAGGED)) {
            return false;
        }
        if (in->out.failed) {
            continue;
        }
        if (in->out.length == before_value) {
            in->out.length = before; /* an unknown enum value that is ignored */
        } else {
            evener_wire_close(&in->out, start);
        }
    }
    in->depth--;
    return in->reader.problem == NULL || evener_json_read_malformed(in);
}

/* ---- fields and objects ---- */

static bool note_seen(evener_json_input *in, uint32_t what)
{
    if (in->seen_count == in->seen_room) {
        const size_t room = in->seen_room == 0 ? 32 : 2 * in->seen_room;
        uint32_t *grown = realloc(in->seen, room * sizeof *grown);
        if (grown == NULL) {
            evener_json_no_room(false, &in->options, in->status);
            return false;
        }
        in->seen = grown;
        in->seen_room = room;
    }
    in->seen[in->seen_count++] = what;
    return true;
}

static bool read_field(evener_json_input *in, const evener_json_path *path, const evener_field *field)
{
    if (!note_seen(in, field->index)) {
        return false;
    }
    if (evener_json_peek(&in->reader) == 'n' && (field->repeated || !takes_null(field))) {
        return evener_json_word(&in->reader, "null") || evener_json_read_malformed(in);
    }
    if (field->oneof != NULL && !note_seen(in, SEEN_ONEOF | field->oneof->index)) {
        return false;
    }
    if (field->repeated) {
        return field->message != NULL && field->message->map_entry ? read_map(in, path, field)
                                                                   : read_list(in, path, field);
    }
    return evener_json_read_single(
        in, path, field, field->has_presence || in->write_defaults ? EVENER_JSON_TAGGED : EVENER_JSON_IMPLICIT);
}

static int compare_seen(const void *left, const void *right)
{
    const uint32_t l = *(const uint32_t *)left, r = *(const uint32_t *)right;
    return (l > r) - (l < r);
}

/* Fail if an object has had a field twice, or two of a oneof. Drop its entries of `seen`, which begin at `base`. */
static bool check_seen(evener_json_input *in, const evener_json_path *path, const evener_message_type *type,
                       size_t base)
{
    const size_t count = in->seen_count - base;
    in->seen_count = base;
    if (count < 2) {
        return true;
    }
    qsort(in->seen + base, count, sizeof in->seen[0], compare_seen);
    for (size_t i = base + 1; i < base + count; i++) {
        const uint32_t what = in->seen[i];
        if (what != in->seen[i - 1]) {
            continue;
        }
        const char *name =
            (what & SEEN_ONEOF) != 0 ? type->oneofs[what & ~SEEN_ONEOF]->name : type->fields[what]->json_name;
        const evener_json_path twice = {path, name, strlen(name)};
        return evener_json_read_wrong(in, &twice,
                                      (what & SEEN_ONEOF) != 0 ? "two fields of the oneof are set" : "it comes twice");
    }
    return true;
}

static const evener_field *find_field(evener_json_input *in, const evener_message_type *type, evener_json_slice raw)
{
    if (raw.length == 0 || memchr(raw.text, '\\', raw.length) == NULL) {
        return evener_message_type_field_by_json_name(type, raw.text, raw.length);
    }
    in->text.length = 0;
    evener_json_unescape(raw, &in->text);
    if (in->text.failed || memchr(in->text.data, '\0', in->text.length) != NULL) {
        return NULL;
    }
    return evener_message_type_field_by_json_name(type, (const char *)in->text.data, in->text.length);
}

bool evener_json_read_object(evener_json_input *in, const evener_json_path *path, const evener_message_type *type,
                             const char *skip)
{
    bool first = true;
    const size_t base = in->seen_count;
    if (!evener_json_take(&in->reader, '{')) {
        return evener_json_read_other(in, path, "an object is needed");
    }
    while (evener_json_next_element(&in->reader, '}', &first)) {
        evener_json_slice raw;
        if (!evener_json_key(&in->reader, &raw)) {
            return evener_json_read_malformed(in);
        }
        const evener_json_path member = {path, raw.text, raw.length};
        const evener_field *field = NULL;
        const bool ignored = skip != NULL && evener_json_equals(raw, skip);
        if (!ignored && (field = find_field(in, type, raw)) == NULL && !in->options.ignore_unknown) {
            char problem[256];
            snprintf(problem, sizeof problem, "the message %.128s has no such field", type->full_name);
            return evener_json_read_wrong(in, &member, problem);
        }
        if (!(field != NULL ? read_field(in, &member, field) : skip_value(in, &member))) {
            return false;
        }
    }
    return in->reader.problem != NULL ? evener_json_read_malformed(in) : check_seen(in, path, type, base);
}

bool evener_json_read_message(evener_json_input *in, const evener_json_path *path, const evener_message_type *type)
{
    const evener_known_type known = evener_message_node_of(type)->known;
    if (!evener_json_read_enter(in, path)) {
        return false;
    }
    const bool ok = known == EVENER_KNOWN_NONE || known == EVENER_KNOWN_EMPTY
                        ? evener_json_read_object(in, path, type, NULL)
                        : evener_json_read_known(in, path, type, known);
    in->depth--;
    return ok;
}

/* ---- the public functions ---- */

/* Convert the form of a message, or of one field. */
static evener_status_code convert(const evener_message_type *type, const evener_field *field, const char *json,
                                  size_t length, const evener_json_options *given, bool write_defaults,
                                  evener_bytes *message, evener_status *status)
{
    evener_status own;
    evener_json_input in = {.status = status != NULL ? status : &own, .write_defaults = write_defaults};
    in.reader = evener_json_read(json, length);
    evener_status_code code = evener_json_options_read(given, &in.options, in.status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_status_clear(in.status);
    in.out.bytes_max = in.options.bytes_max;
    bool ok;
    if (field != NULL) {
        const evener_json_path path = {NULL, field->json_name, strlen(field->json_name)};
        ok = read_field(&in, &path, field);
    } else {
        ok = evener_json_read_message(&in, NULL, type);
    }
    if (ok && (evener_json_peek(&in.reader) != '\0' || in.reader.at != in.reader.end)) {
        ok = evener_json_fail(&in.reader, "nothing may follow the value") || evener_json_read_malformed(&in);
    }
    if (ok && (in.out.failed || in.text.failed)) { /* in.text: also of a key, which is then empty */
        evener_json_no_room(in.out.too_long, &in.options, in.status);
        ok = false;
    }
    if (ok) {
        uint8_t *to = evener_bytes_create(in.out.length, message);
        if (to == NULL) {
            evener_json_no_room(false, &in.options, in.status);
        } else if (in.out.length > 0) {
            memcpy(to, in.out.data, in.out.length);
        }
    }
    code = in.status->code;
    evener_wire_clear(&in.out);
    evener_wire_clear(&in.text);
    free(in.seen);
    return code;
}

evener_status_code evener_json_to_bytes(const evener_message_type *type, const char *json, size_t length,
                                        const evener_json_options *options, evener_bytes *message,
                                        evener_status *status)
{
    return convert(type, NULL, json, length, options, false, message, status);
}

evener_status_code evener_json_to_replacing_bytes(const evener_message_type *type, const char *json, size_t length,
                                                  evener_bytes *message, evener_status *status)
{
    return convert(type, NULL, json, length, NULL, true, message, status);
}

evener_status_code evener_json_field_to_bytes(const evener_field *field, const char *json, size_t length,
                                              const evener_json_options *options, evener_bytes *message,
                                              evener_status *status)
{
    return convert(field->parent, field, json, length, options, false, message, status);
}

evener_status_code evener_json_next(const char *json, size_t length, size_t *start, size_t *end, evener_status *status)
{
    evener_json_reader reader = evener_json_read(json, length);
    bool deep = false;
    const bool some = evener_json_peek(&reader) != '\0' || reader.at != reader.end;
    const size_t begin = (size_t)(reader.at - reader.begin);
    if (some && !evener_json_skip(&reader, EVENER_JSON_DEPTH_MAX, &deep)) {
        return deep ? evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "more than %d levels",
                                        EVENER_JSON_DEPTH_MAX)
                    : evener_json_malformed(&reader, status);
    }
    *start = begin;
    *end = (size_t)(reader.at - reader.begin);
    return evener_status_clear(status);
}
