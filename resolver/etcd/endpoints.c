#include "resolver/etcd/endpoints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FEW 8 /* up to this many changes are applied one by one */

static void clear_entry(evener_etcd_entry *entry)
{
    free(entry->key);
    evener_address_unref(entry->address);
}

void evener_etcd_entries_clear(evener_etcd_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        clear_entry(&entries->items[i]);
    }
    free(entries->items);
    *entries = (evener_etcd_entries){0};
}

static bool reserve(evener_etcd_entries *entries, size_t count)
{
    if (entries->room >= count) {
        return true;
    }
    size_t room = entries->room > 0 ? entries->room * 2 : 16;
    room = room < count ? count : room;
    evener_etcd_entry *grown = realloc(entries->items, room * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    entries->items = grown;
    entries->room = room;
    return true;
}

static int compare(const evener_etcd_entry *a, const evener_etcd_entry *b)
{
    const size_t least = a->key_bytes < b->key_bytes ? a->key_bytes : b->key_bytes;
    const int order = memcmp(a->key, b->key, least);
    return order != 0 ? order : (a->key_bytes > b->key_bytes) - (a->key_bytes < b->key_bytes);
}

/* ---- reading ---- */

static void warn(evener_etcd_entries *entries, const evener_etcd_key_value *kv, const evener_status *reason)
{
    if (entries->unreadable++ == 0) {
        const int shown = kv->key.length < 120 ? (int)kv->key.length : 120;
        snprintf(entries->warning, sizeof entries->warning, "key %.*s%s: %.300s", shown, (const char *)kv->key.bytes,
                 kv->key.length > 120 ? "..." : "", reason->message);
    }
}

bool evener_etcd_entries_add(evener_etcd_entries *entries, const evener_etcd_layout *layout, bool is_delete,
                             const evener_etcd_key_value *kv)
{
    if (kv->key.length == 0 || kv->key.length > UINT32_MAX || !reserve(entries, entries->count + 1)) {
        return false;
    }
    evener_etcd_entry entry = {.mod_revision = kv->mod_revision, .key_bytes = (uint32_t)kv->key.length};
    entry.key = malloc(kv->key.length);
    if (entry.key == NULL) {
        return false;
    }
    memcpy(entry.key, kv->key.bytes, kv->key.length);
    evener_status status;
    if (is_delete) {
        entry.kind = EVENER_ETCD_ENTRY_DELETED;
    } else if (evener_etcd_layout_read(layout, kv, &entry.address, &status) != EVENER_STATUS_OK) {
        entry.kind = EVENER_ETCD_ENTRY_UNREADABLE;
        warn(entries, kv, &status);
    } else {
        entry.kind = entry.address != NULL ? EVENER_ETCD_ENTRY_ENDPOINT : EVENER_ETCD_ENTRY_OTHER;
    }
    entries->items[entries->count++] = entry;
    return true;
}

/* ---- order ---- */

/* Of changes of one key: by revision, as a revision changes a key once at most. */
static int compare_changes(const void *a, const void *b)
{
    const evener_etcd_entry *x = a;
    const evener_etcd_entry *y = b;
    const int order = compare(x, y);
    return order != 0 ? order : (x->mod_revision > y->mod_revision) - (x->mod_revision < y->mod_revision);
}

/* Keep of the old entry what the new one of the same key does not change. */
static void inherit(evener_etcd_entry *fresh, const evener_etcd_entry *old)
{
    const bool keeps =
        fresh->kind == EVENER_ETCD_ENTRY_UNREADABLE
            ? fresh->address == NULL && !fresh->was_deleted
            : fresh->address != NULL && old->address != NULL && evener_address_equal(fresh->address, old->address);
    if (keeps) {
        evener_address_unref(fresh->address);
        fresh->address = evener_address_ref(old->address);
    }
}

void evener_etcd_entries_sort(evener_etcd_entries *changes)
{
    if (changes->count < 2) {
        return;
    }
    qsort(changes->items, changes->count, sizeof *changes->items, compare_changes);
    size_t kept = 0;
    for (size_t i = 0; i < changes->count; i++) {
        if (i + 1 < changes->count && compare(&changes->items[i], &changes->items[i + 1]) == 0) {
            const evener_etcd_entry *earlier = &changes->items[i];
            changes->items[i + 1].was_deleted = earlier->kind == EVENER_ETCD_ENTRY_DELETED ||
                                                (earlier->kind == EVENER_ETCD_ENTRY_UNREADABLE && earlier->was_deleted);
            inherit(&changes->items[i + 1], earlier);
            clear_entry(&changes->items[i]);
        } else {
            changes->items[kept++] = changes->items[i];
        }
    }
    changes->count = kept;
}

/* Return the index of the first entry that is not before `key`. */
static size_t find(const evener_etcd_entries *entries, const evener_etcd_entry *key, bool *is_there)
{
    size_t low = 0;
    size_t high = entries->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare(&entries->items[middle], key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *is_there = low < entries->count && compare(&entries->items[low], key) == 0;
    return low;
}

static void forget_items(evener_etcd_entries *entries)
{
    free(entries->items);
    *entries = (evener_etcd_entries){0};
}

bool evener_etcd_entries_append(evener_etcd_entries *entries, evener_etcd_entries *more)
{
    for (size_t i = 0; i < more->count; i++) {
        const evener_etcd_entry *before = i > 0                ? &more->items[i - 1]
                                          : entries->count > 0 ? &entries->items[entries->count - 1]
                                                               : NULL;
        if (before != NULL && compare(before, &more->items[i]) >= 0) {
            return false;
        }
    }
    if (!reserve(entries, entries->count + more->count)) {
        return false;
    }
    if (entries->items != NULL && more->items != NULL) { /* both are, if there is more */
        memcpy(entries->items + entries->count, more->items, more->count * sizeof *more->items);
        entries->count += more->count;
    }
    if (entries->unreadable == 0) {
        memcpy(entries->warning, more->warning, sizeof entries->warning);
    }
    entries->unreadable += more->unreadable;
    forget_items(more);
    return true;
}

/* ---- changes ---- */

static void apply_one(evener_etcd_entries *entries, evener_etcd_entry *change)
{
    bool is_there = false;
    const size_t index = find(entries, change, &is_there);
    evener_etcd_entry *place = &entries->items[index];
    if (change->kind == EVENER_ETCD_ENTRY_DELETED) {
        clear_entry(change);
        if (is_there) {
            clear_entry(place);
            entries->count--;
            memmove(place, place + 1, (entries->count - index) * sizeof *place);
        }
        return;
    }
    if (is_there) {
        inherit(change, place);
        clear_entry(place);
    } else {
        memmove(place + 1, place, (entries->count - index) * sizeof *place);
        entries->count++;
    }
    *place = *change;
}

static bool merge(evener_etcd_entries *entries, evener_etcd_entries *changes)
{
    const size_t room = entries->count + changes->count;
    evener_etcd_entry *merged = malloc(room * sizeof *merged);
    if (merged == NULL) {
        return false;
    }
    size_t count = 0;
    size_t i = 0;
    for (size_t k = 0; k < changes->count; k++) {
        evener_etcd_entry *change = &changes->items[k];
        int order = -1;
        while (i < entries->count && (order = compare(&entries->items[i], change)) < 0) {
            merged[count++] = entries->items[i++];
        }
        if (i < entries->count && order == 0) {
            if (change->kind != EVENER_ETCD_ENTRY_DELETED) {
                inherit(change, &entries->items[i]);
            }
            clear_entry(&entries->items[i++]);
        }
        if (change->kind == EVENER_ETCD_ENTRY_DELETED) {
            clear_entry(change);
        } else {
            merged[count++] = *change;
        }
    }
    while (i < entries->count) {
        merged[count++] = entries->items[i++];
    }
    free(entries->items);
    entries->items = merged;
    entries->count = count;
    entries->room = room;
    return true;
}

bool evener_etcd_entries_apply(evener_etcd_entries *entries, evener_etcd_entries *changes)
{
    if (changes->count > FEW) {
        if (!merge(entries, changes)) {
            return false;
        }
    } else {
        if (!reserve(entries, entries->count + changes->count)) {
            return false;
        }
        for (size_t i = 0; i < changes->count; i++) {
            apply_one(entries, &changes->items[i]);
        }
    }
    forget_items(changes);
    return true;
}

void evener_etcd_entries_adopt(evener_etcd_entries *entries, evener_etcd_entries *old)
{
    size_t k = 0;
    for (size_t i = 0; i < entries->count; i++) {
        int order = -1;
        while (k < old->count && (order = compare(&old->items[k], &entries->items[i])) < 0) {
            k++;
        }
        if (k < old->count && order == 0) {
            inherit(&entries->items[i], &old->items[k]);
        }
    }
}
