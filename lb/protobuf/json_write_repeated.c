/* Bytes to JSON: lists and maps. Of the entries of a map that have one key the last one counts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/protobuf/json_values.h"
#include "lb/protobuf/json_write.h"

bool evener_json_write_list(evener_json_output *out, const evener_json_path *path, size_t first, size_t count,
                            const evener_field *field)
{
    evener_json_path element = {.up = path};
    if (!evener_json_write_enter(out, path)) {
        return false;
    }
    evener_json_open(&out->writer, '[');
    for (size_t i = first; i < first + count; i++) {
        const evener_wire_field wire = out->items[i].wire; /* the items may move */
        if (wire.type == evener_field_wire_type(field->kind)) {
            evener_json_element(&out->writer);
            if (!evener_json_write_element(out, &element, field, &wire)) {
                return false;
            }
            out->writer.separate = true;
            element.length++;
            continue;
        }
        evener_wire_reader reader = evener_wire_read(wire.data, wire.length);
        evener_wire_field one = {0};
        evener_wire_result result;
        while ((result = evener_wire_next_packed(&reader, evener_field_wire_type(field->kind), &one.value)) ==
               EVENER_WIRE_FIELD) {
            if (!evener_json_is_unknown_value(field, one.value)) {
                evener_json_element(&out->writer);
                (void)evener_json_write_element(out, &element, field, &one); /* a number: cannot fail */
                element.length++;
            }
        }
        if (result == EVENER_WIRE_MALFORMED) {
            return evener_json_write_malformed(out, path);
        }
    }
    evener_json_close(&out->writer, ']');
    out->depth--;
    return true;
}

typedef struct map_entry {
    const evener_field *key_field;
    int64_t number;
    evener_json_span text;
    evener_wire_field value; /* start NULL: not set */
    const uint8_t *start;
} map_entry;

static int compare_keys(const map_entry *l, const map_entry *r)
{
    if (l->key_field->kind == EVENER_FIELD_STRING) {
        const size_t shorter = l->text.length < r->text.length ? l->text.length : r->text.length;
        const int difference = shorter > 0 ? memcmp(l->text.data, r->text.data, shorter) : 0;
        return difference != 0 ? difference : (l->text.length > r->text.length) - (l->text.length < r->text.length);
    }
    if (l->key_field->kind == EVENER_FIELD_UINT64 || l->key_field->kind == EVENER_FIELD_FIXED64) {
        return ((uint64_t)l->number > (uint64_t)r->number) - ((uint64_t)l->number < (uint64_t)r->number);
    }
    return (l->number > r->number) - (l->number < r->number);
}

static int compare_entries(const void *left, const void *right)
{
    const map_entry *l = left, *r = right;
    const int difference = compare_keys(l, r);
    return difference != 0 ? difference : (l->start > r->start) - (l->start < r->start);
}

/* Read an entry. False: malformed. *keep: false if its value is an unknown value of a closed enum. */
static bool read_entry(const evener_message_type *type, const evener_wire_field *from, map_entry *entry, bool *keep)
{
    evener_wire_reader reader = evener_wire_read(from->data, from->length);
    evener_wire_field f;
    evener_wire_result result;
    const evener_field *key = type->fields[0], *value = type->fields[1];
    *entry = (map_entry){.key_field = key, .start = from->start};
    *keep = true;
    while ((result = evener_wire_next(&reader, &f)) == EVENER_WIRE_FIELD) {
        if (f.number == 1 && f.type == evener_field_wire_type(key->kind)) {
            entry->number = evener_json_integer_of(key->kind, f.value);
            entry->text = (evener_json_span){f.data, f.length};
        } else if (f.number == 2 && f.type == evener_field_wire_type(value->kind)) {
            entry->value = f;
            *keep = !evener_json_is_unknown_value(value, f.value);
        }
    }
    return result == EVENER_WIRE_END;
}

static bool write_entry(evener_json_output *out, const evener_json_path *path, const evener_message_type *type,
                        const map_entry *entry)
{
    char text[EVENER_NUMBER_BYTES];
    const char *key = (const char *)entry->text.data;
    size_t length = entry->text.length;
    if (entry->key_field->kind == EVENER_FIELD_BOOL) {
        length = (size_t)snprintf(text, sizeof text, "%s", entry->number != 0 ? "true" : "false");
        key = text;
    } else if (entry->key_field->kind != EVENER_FIELD_STRING) {
        const bool is_unsigned =
            entry->key_field->kind == EVENER_FIELD_UINT64 || entry->key_field->kind == EVENER_FIELD_FIXED64;
        length = (size_t)snprintf(text, sizeof text, is_unsigned ? "%llu" : "%lld", (long long)entry->number);
        key = text;
    } else if (!evener_utf8_is_valid(entry->text.data, length)) {
        return evener_json_wrong(path, EVENER_STATUS_INVALID_ARGUMENT, "a key is not UTF-8", out->status);
    }
    const evener_json_path member = {path, key != NULL ? key : "", length};
    const evener_field *value = type->fields[1];
    evener_json_member(&out->writer, key, length);
    if (entry->value.start == NULL && value->message == NULL) {
        if (!evener_json_write_default(out, &member, value)) {
            return false;
        }
    } else if (!evener_json_write_element(out, &member, value, &entry->value)) {
        return false;
    }
    out->writer.separate = true;
    return true;
}

static bool write_entries(evener_json_output *out, const evener_json_path *path, size_t first, size_t count,
                          const evener_message_type *type, map_entry *entries)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool keep;
        if (!read_entry(type, &out->items[first + i].wire, &entries[kept], &keep)) {
            return evener_json_write_malformed(out, path);
        }
        kept += keep;
    }
    if (kept > 0) {
        qsort(entries, kept, sizeof entries[0], compare_entries);
    }
    evener_json_open(&out->writer, '{');
    for (size_t i = 0; i < kept; i++) {
        const bool last_of_key = i + 1 == kept || compare_keys(&entries[i], &entries[i + 1]) != 0;
        if (last_of_key && !write_entry(out, path, type, &entries[i])) {
            return false;
        }
    }
    evener_json_close(&out->writer, '}');
    return true;
}

bool evener_json_write_map(evener_json_output *out, const evener_json_path *path, size_t first, size_t count,
                           const evener_field *field)
{
    map_entry *entries = malloc(count * sizeof *entries + 1);
    if (entries == NULL) {
        evener_json_no_room(false, &out->options, out->status);
        return false;
    }
    const bool ok =
        evener_json_write_enter(out, path) && write_entries(out, path, first, count, field->message, entries);
    out->depth--;
    free(entries);
    return ok;
}

bool evener_json_has_element(const evener_field *field, const evener_wire_field *wire)
{
    if (field->message != NULL && field->message->map_entry) {
        map_entry entry;
        bool keep;
        return !read_entry(field->message, wire, &entry, &keep) || keep;
    }
    if (wire->type == evener_field_wire_type(field->kind)) {
        return true;
    }
    evener_wire_reader reader = evener_wire_read(wire->data, wire->length);
    uint64_t value;
    evener_wire_result result;
    do {
        result = evener_wire_next_packed(&reader, evener_field_wire_type(field->kind), &value);
    } while (result == EVENER_WIRE_FIELD && evener_json_is_unknown_value(field, value));
    return result != EVENER_WIRE_END;
}
