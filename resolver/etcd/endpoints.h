/* Endpoints: what a prefix of etcd holds, sorted by key.
 *
 * A list is an array without holes: pages of a listing are appended, a few changes move the rest, many are merged in
 * one pass. An entry that did not change keeps its address object, which is what makes a small change of a large list
 * cheap for the channel. Not thread-safe. */
#ifndef EVENER_RESOLVER_ETCD_ENDPOINTS_H
#define EVENER_RESOLVER_ETCD_ENDPOINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/address.h>

#include "resolver/etcd/layout.h"

typedef enum evener_etcd_entry_kind {
    EVENER_ETCD_ENTRY_ENDPOINT = 0,
    EVENER_ETCD_ENTRY_OTHER,      /* no endpoint of the service: `address` is NULL */
    EVENER_ETCD_ENTRY_UNREADABLE, /* `address` is that of the last good value, or NULL */
    EVENER_ETCD_ENTRY_DELETED,    /* in a list of changes only */
} evener_etcd_entry_kind;

typedef struct evener_etcd_entry {
    uint8_t *key; /* owned */
    evener_address *address;
    int64_t mod_revision;
    uint32_t key_bytes;
    uint16_t kind;    /* an evener_etcd_entry_kind */
    bool was_deleted; /* in a list of changes: the key was deleted before; it has no older value */
} evener_etcd_entry;

/* Zeroed: empty. */
typedef struct evener_etcd_entries {
    evener_etcd_entry *items;
    size_t count, room;
    size_t unreadable;                         /* that were added */
    char warning[EVENER_STATUS_MESSAGE_BYTES]; /* the first of them: key and reason; "" if there is none */
} evener_etcd_entries;

void evener_etcd_entries_clear(evener_etcd_entries *entries);

/* Read a key and append it, in any order. False: no memory. */
bool evener_etcd_entries_add(evener_etcd_entries *entries, const evener_etcd_layout *layout, bool is_delete,
                             const evener_etcd_key_value *kv);

/* Sort changes by key; of several changes of one key keep the last, with the address of the last good value before it
 * if it cannot be read. */
void evener_etcd_entries_sort(evener_etcd_entries *changes);

/* Move all of `more` behind the entries, and empty it. False: no memory, or not in order; both are unchanged then. */
bool evener_etcd_entries_append(evener_etcd_entries *entries, evener_etcd_entries *more);

/* Apply sorted changes, and empty them. False: no memory; then nothing has changed. */
bool evener_etcd_entries_apply(evener_etcd_entries *entries, evener_etcd_entries *changes);

/* Take over from an older list what is the same: address objects, and the last good address of what cannot be read
 * now. `old` stays valid and is to be cleared. */
void evener_etcd_entries_adopt(evener_etcd_entries *entries, evener_etcd_entries *old);

#endif
