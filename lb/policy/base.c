/* Base policy: one subchannel per address, connected at all times, and a picker from those that are READY.
 *
 * Lists. An update makes a list of entries; entries are found again by the address's identity, so that an address in
 * two lists has one subchannel. A new list waits as `pending` while the `current` one serves: it takes over when the
 * current one has no READY entry, or when it has one itself and all its members have reported a state (core:
 * round_robin.cc). Unlike core, a new list whose members all fail does not displace one that serves: a wrong update is
 * then no outage. A change of a few addresses costs the time of those few, and a copy of an array of pointers: the
 * update says which part of the list is as before, and the pending list is known by its difference to the current one.
 *
 * States. An entry that failed counts as failing until it is READY (A62, "sticky TRANSIENT_FAILURE"); after every
 * backoff it is connected again. READY if any entry is; else CONNECTING if any is; else TRANSIENT_FAILURE.
 *
 * Publishing. The first READY, a lost last one and a change of list are published at once. Further changes of the READY
 * set within a turn are joined into one picker by a posted task: 10,000 subchannels that get READY in one turn cost two
 * pickers, not 10,000. A replaced list is released after that picker is published. */
#include <evener/base_policy.h>
#include <evener/resolver.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/address_table.h"
#include "lb/policy/base_hold.h"
#include "lb/policy/base_lean.h"
#include "lb/policy/list_change.h"
#include "lb/policy/weights.h"

/* Delay before a picker that could not be built (out of memory) is built again. */
#define REBUILD_RETRY_NS (10 * EVENER_NS_PER_MS)
/* From this number of READY backends on, further ones are joined into one picker, which waits at most 1 us per READY
 * backend: 10 ms at 10,000. */
#define JOIN_FROM 1000
#define JOIN_NS_PER_READY EVENER_NS_PER_US
/* Entries to search in a change, per entry of the list; beyond that the list is made anew. */
#define SEARCHED_PER_ENTRY 4
#define INDEX_BITS 26
#define INDEX_MASK ((UINT32_C(1) << INDEX_BITS) - 1)
#define GENERATION_MASK ((UINT32_C(1) << 24) - 1)

typedef struct base base;

/* Lies in the subchannel's memory, behind the data of the policy that is built on this one; ends with its release. Few
 * bytes, as there is one per backend. */
typedef struct entry {
    union {
        struct {
            void *table_next;
            uint8_t table_tag;           /* in one word with the generation */
            uint32_t generation : 24;    /* of the newest list that holds it */
            uint32_t index : INDEX_BITS; /* in that list, or near it: a hint */
            bool in_current : 1;         /* the current list holds it */
            bool differs : 1;            /* of current and pending list, only one holds it */
            uint32_t state : 3;          /* as counted: CONNECTING, READY or TRANSIENT_FAILURE */
            bool reported : 1;           /* a state was reported */
        };
        evener_base_left left; /* from its release on */
    };
    /* The entries of a lean base end here (base_lean.h). */
    evener_subchannel *subchannel;
    evener_address *address; /* with the attributes as last set */
    uint64_t ready_since_ns;
} entry;

#define LEAN_ENTRY_BYTES offsetof(entry, subchannel)

_Static_assert(EVENER_RESOLVER_ADDRESSES_MAX < 1 << INDEX_BITS, "every index fits");

typedef struct list {
    entry **entries;
    size_t count;
    size_t ready, connecting, failing; /* sum: count */
    size_t unreported;
} list;

/* Entries in no order. */
typedef struct entry_set {
    entry **entries;
    size_t count;
} entry_set;

struct base {
    evener_policy policy;
    const evener_base_policy *kind;
    evener_policy_helper *helper;
    bool is_lean;        /* base_lean.h */
    size_t entry_offset; /* in the subchannels' memory */
    void *state;
    const evener_policy_config *config;
    list current, pending;
    bool has_pending;
    entry_set removed, added;   /* the entries that differ: only the current, only the pending list holds them */
    entry_set leaving;          /* no list holds them since this turn: see take_over() */
    uint64_t leaving_last_hold; /* the last one made before */
    uint64_t list_id;           /* of the last update, whose addresses the newest list has one by one; 0: it has not */
    evener_address_table table; /* all entries, each as its subchannel's memory */
    uint32_t generation;        /* of the newest list; 24 bits */
    bool published;
    evener_connectivity_state published_state;
    evener_status last_error;
    evener_base_holds holds;
    evener_task turn_task; /* for joined changes, and for what leaves */
    bool turn_task_pending;
    uint64_t turn_ns;    /* when it was posted */
    bool publish_wanted; /* by that task */
    evener_timer rebuild_timer;
    evener_timer join_timer; /* likewise, when there are many */
    bool join_timer_runs;
    bool closed; /* and turn_task is to free this */
};

static entry *entry_of(const base *b, evener_subchannel *subchannel)
{
    return (entry *)(void *)((char *)evener_subchannel_data(subchannel) + b->entry_offset);
}

/* Return the subchannel's memory, which begins with the data of the policy: an item of the table. */
static void *item_of(const base *b, const entry *e)
{
    return (char *)(uintptr_t)e - b->entry_offset;
}

/* Return the entry of an item; NULL for NULL. */
static entry *entry_at(const base *b, void *item)
{
    return item != NULL ? (entry *)(void *)((char *)item + b->entry_offset) : NULL;
}

/* Return the subchannel of a lean base's item. */
static evener_subchannel *lean_subchannel(const void *item)
{
    return *(evener_subchannel *const *)item;
}

static const evener_address *lean_address(const void *item)
{
    return evener_subchannel_address(lean_subchannel(item));
}

static evener_subchannel *subchannel_of(const base *b, const entry *e)
{
    return b->is_lean ? lean_subchannel(item_of(b, e)) : e->subchannel;
}

static const evener_address *address_of(const base *b, const entry *e)
{
    return b->is_lean ? lean_address(item_of(b, e)) : e->address;
}

/* `last_hold`: the number of the last one that may have the entry. */
static void entry_release(base *b, entry *e, uint64_t last_hold)
{
    evener_subchannel *subchannel = subchannel_of(b, e);
    evener_address_table_leave(&b->table, item_of(b, e));
    if (!b->is_lean) {
        evener_address_unref(e->address);
    }
    evener_base_hold_release(&b->holds, last_hold, &e->left, subchannel); /* perhaps the end of the entry's memory */
}

/* ---- counting ---- */

static void count_entry(list *l, const entry *e, size_t step)
{
    switch (e->state) {
    case EVENER_READY:
        l->ready += step;
        break;
    case EVENER_TRANSIENT_FAILURE:
        l->failing += step;
        break;
    default:
        l->connecting += step;
        break;
    }
    l->unreported += e->reported ? 0 : step;
}

/* `step` is 1 or (size_t)-1. */
static void count_in_lists(base *b, const entry *e, size_t step)
{
    if (e->in_current) {
        count_entry(&b->current, e, step);
    }
    if (b->has_pending && e->in_current != e->differs) {
        count_entry(&b->pending, e, step);
    }
}

/* ---- publishing ---- */

/* Leave out those of weight 0, unless all are. Return how many remain. */
static size_t leave_out_drained(evener_subchannel **subchannels, uint64_t *since_ns, size_t count)
{
    size_t kept = 0;
    while (kept < count && evener_is_drained(evener_subchannel_address(subchannels[kept]))) {
        kept++;
    }
    if (kept == count) {
        return count;
    }
    kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (!evener_is_drained(evener_subchannel_address(subchannels[i]))) {
            if (since_ns != NULL) {
                since_ns[kept] = since_ns[i];
            }
            subchannels[kept++] = subchannels[i];
        }
    }
    return kept;
}

/* Collect the READY subchannels of the current list, to be freed by free_ready(); false: out of memory. */
static bool collect_ready(const base *b, evener_base_ready *ready)
{
    const size_t most = b->current.ready;
    evener_subchannel **subchannels =
        malloc((most > 0 ? most : 1) * (sizeof *subchannels + (b->is_lean ? 0 : sizeof(uint64_t))));
    if (subchannels == NULL) {
        return false;
    }
    uint64_t *since_ns = b->is_lean ? NULL : (uint64_t *)(void *)(subchannels + most);
    size_t count = 0;
    for (size_t i = 0; count < b->current.ready; i++) {
        const entry *e = b->current.entries[i];
        if (e->state == EVENER_READY) {
            if (since_ns != NULL) {
                since_ns[count] = e->ready_since_ns;
            }
            subchannels[count++] = subchannel_of(b, e);
        }
    }
    if (b->kind->size > offsetof(evener_base_policy, by_weight) && b->kind->by_weight) {
        count = leave_out_drained(subchannels, since_ns, count);
    }
    ready->subchannels = subchannels;
    ready->ready_since_ns = since_ns;
    ready->count = count;
    return true;
}

static void free_ready(evener_base_ready *ready)
{
    free((void *)(uintptr_t)ready->subchannels);
}

static evener_connectivity_state aggregate(const base *b)
{
    return b->current.ready > 0        ? EVENER_READY
           : b->current.connecting > 0 ? EVENER_CONNECTING
                                       : EVENER_TRANSIENT_FAILURE;
}

static evener_picker *make_picker(base *b, evener_connectivity_state state, evener_status *status,
                                  uint64_t *rebuild_after_ns)
{
    evener_base_ready ready = {.size = sizeof ready,
                               .config = b->config,
                               .helper = b->helper,
                               .state = b->state,
                               .rebuild_after_ns = rebuild_after_ns};
    switch (state) {
    case EVENER_READY: {
        ready.hold = evener_base_hold_create(&b->holds);
        evener_picker *picker = ready.hold != NULL && collect_ready(b, &ready) ? b->kind->build_picker(&ready) : NULL;
        free_ready(&ready);
        evener_base_hold_unref(ready.hold);
        return picker;
    }
    case EVENER_CONNECTING:
        return evener_picker_create_queue();
    default:
        evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "connections to all backends failing; last error: %s",
                          b->last_error.message);
        return evener_picker_create_fail(status);
    }
}

static void publish_now(base *b)
{
    if (b->join_timer_runs) {
        b->join_timer_runs = false;
        evener_timer_stop(b->helper->loop, &b->join_timer);
    }
    const evener_connectivity_state state = aggregate(b);
    evener_status status;
    evener_status_clear(&status);
    uint64_t rebuild_after_ns = 0;
    evener_picker *picker = make_picker(b, state, &status, &rebuild_after_ns);
    if (picker == NULL) {
        rebuild_after_ns = REBUILD_RETRY_NS;
    }
    if (rebuild_after_ns > 0) {
        evener_timer_start(b->helper->loop, &b->rebuild_timer, rebuild_after_ns);
    } else {
        evener_timer_stop(b->helper->loop, &b->rebuild_timer);
    }
    b->published = true;
    b->published_state = state;
    evener_policy_publish(b->helper, state, &status, picker);
}

static void publish_again(void *arg)
{
    publish_now(arg);
}

/* Publish that another backend is READY. With many backends each picker takes long to build, and backends get READY
 * turn by turn: then wait for a few of them. */
static void publish_joined_later(base *b)
{
    if (!b->join_timer_runs) {
        b->join_timer_runs = true;
        evener_timer_start(b->helper->loop, &b->join_timer, b->current.ready * JOIN_NS_PER_READY);
    }
}

static void publish_joined_now(void *arg)
{
    base *b = arg;
    b->join_timer_runs = false;
    publish_now(b);
}

static void post_turn_task(base *b)
{
    if (!b->turn_task_pending) {
        b->turn_task_pending = true;
        b->turn_ns = evener_loop_now_ns(b->helper->loop);
        evener_loop_post(b->helper->loop, &b->turn_task);
    }
}

/* Publish what changed: `picker_changed` when the READY set, its attributes or the last error did. */
static void publish_change(base *b, bool picker_changed, bool may_wait)
{
    if (!b->published || aggregate(b) != b->published_state) {
        publish_now(b);
    } else if (picker_changed && may_wait && b->current.ready >= JOIN_FROM) {
        publish_joined_later(b);
    } else if (picker_changed) {
        b->publish_wanted = true;
        post_turn_task(b);
    }
}

/* ---- lists ---- */

static void list_free(list *l)
{
    free(l->entries);
    *l = (list){0};
}

static void set_free(entry_set *set)
{
    free(set->entries);
    *set = (entry_set){0};
}

/* Make room for `count` entries and keep those present. Return false if out of memory. */
static bool set_reserve(entry_set *set, size_t count)
{
    entry **entries = realloc(set->entries, (count > 0 ? count : 1) * sizeof *entries);
    if (entries != NULL) {
        set->entries = entries;
    }
    return entries != NULL;
}

static void set_remove(entry_set *set, const entry *e)
{
    size_t i = 0;
    while (i < set->count && set->entries[i] != e) {
        i++;
    }
    if (i < set->count) {
        set->entries[i] = set->entries[--set->count];
    }
}

static void release_all(base *b)
{
    for (void *item = evener_address_table_first(&b->table), *next; item != NULL; item = next) {
        next = evener_address_table_next(&b->table, item);
        entry_release(b, entry_at(b, item), b->holds.made);
    }
    list_free(&b->current);
    list_free(&b->pending);
    set_free(&b->removed);
    set_free(&b->added);
    set_free(&b->leaving);
}

/* Release the entries that left with the last list. */
static void release_leaving(base *b)
{
    for (size_t i = 0; i < b->leaving.count; i++) {
        entry_release(b, b->leaving.entries[i], b->leaving_last_hold);
    }
    set_free(&b->leaving);
}

static bool pending_may_take_over(const base *b)
{
    return b->has_pending && (b->current.ready == 0 || (b->pending.ready > 0 && b->pending.unreported == 0));
}

/* Publish first, then release: no picker in force holds a subchannel without a connection. What is replaced is let go
 * only at the end of the turn, when the new list's others that got READY in it are in the picker, too. */
static void take_over(base *b)
{
    release_leaving(b); /* of another change in this turn */
    for (size_t i = 0; i < b->removed.count; i++) {
        b->removed.entries[i]->in_current = false;
        b->removed.entries[i]->differs = false;
    }
    for (size_t i = 0; i < b->added.count; i++) {
        b->added.entries[i]->in_current = true;
        b->added.entries[i]->differs = false;
    }
    b->leaving = b->removed;
    b->leaving_last_hold = b->holds.made;
    b->removed = (entry_set){0};
    set_free(&b->added);
    list_free(&b->current);
    b->current = b->pending;
    b->pending = (list){0};
    b->has_pending = false;
    publish_now(b);
    if (b->leaving.count > 0) {
        post_turn_task(b);
    }
}

static void end_turn(void *arg)
{
    base *b = arg;
    b->turn_task_pending = false;
    if (b->closed) {
        free(b);
        return;
    }
    if (b->publish_wanted && b->current.count > 0) {
        publish_now(b);
    }
    b->publish_wanted = false;
    release_leaving(b);
}

/* Return the list that the last update made. */
static const list *newest(const base *b)
{
    return b->has_pending ? &b->pending : &b->current;
}

/* ---- states ---- */

static void state_changed(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                          const evener_status *status)
{
    base *b = arg;
    entry *e = entry_of(b, subchannel);
    const evener_connectivity_state old = (evener_connectivity_state)e->state;
    if (state == EVENER_SHUTDOWN || (!e->in_current && !e->differs)) { /* it leaves with this turn */
        return;
    }
    count_in_lists(b, e, (size_t)-1);
    e->reported = true;
    if (state == EVENER_READY && old != EVENER_READY) {
        post_turn_task(b);
        if (!b->is_lean) {
            e->ready_since_ns = b->turn_ns; /* of thousands in one turn the clock is read for the first one only */
        }
    }
    if (state == EVENER_READY || state == EVENER_TRANSIENT_FAILURE) {
        e->state = (unsigned)state & 7U;
    } else if (old != EVENER_TRANSIENT_FAILURE) {
        e->state = EVENER_CONNECTING;
    }
    count_in_lists(b, e, 1);
    bool picker_changed = e->in_current && (old == EVENER_READY) != (e->state == EVENER_READY);

    if (state == EVENER_TRANSIENT_FAILURE) {
        b->last_error = *status;
        picker_changed |= aggregate(b) == EVENER_TRANSIENT_FAILURE;
    }
    if (state == EVENER_IDLE) {
        evener_subchannel_connect(subchannel);
    }
    if (state == EVENER_TRANSIENT_FAILURE || (old == EVENER_READY && state != EVENER_READY)) {
        evener_policy_request_reresolution(b->helper);
    }
    if (pending_may_take_over(b)) {
        take_over(b); /* may end `e` */
    } else {
        publish_change(b, picker_changed, e->state == EVENER_READY);
    }
}

/* ---- updates ---- */

static entry *entry_create(base *b, evener_address *address, const evener_base_ready *peers)
{
    if (!evener_address_table_reserve(&b->table, 1)) {
        return NULL;
    }
    const evener_subchannel_options options = {.size = sizeof options,
                                               .state_changed = state_changed,
                                               .arg = b,
                                               .arg_is_common = true,
                                               .data_bytes =
                                                   b->entry_offset + (b->is_lean ? LEAN_ENTRY_BYTES : sizeof(entry)),
                                               .data_destroy = b->kind->subchannel_data_destroy};
    evener_subchannel *subchannel = evener_policy_create_subchannel(b->helper, address, &options);
    if (subchannel == NULL) {
        return NULL;
    }
    entry *e = entry_of(b, subchannel);
    e->state = EVENER_CONNECTING;
    if (b->is_lean) {
        *(evener_subchannel **)item_of(b, e) = subchannel;
        if (!evener_address_same_backend(evener_subchannel_address(subchannel), address)) { /* a wrapping policy's */
            evener_subchannel_set_address(subchannel, address);
        }
    } else {
        e->subchannel = subchannel;
        e->address = evener_address_ref(address);
    }
    evener_address_table_enter(&b->table, item_of(b, e));
    if (b->kind->subchannel_created != NULL) {
        b->kind->subchannel_created(peers, subchannel);
    }
    evener_subchannel_connect(subchannel);
    return e;
}

/* Return the entry of an address, or NULL. `*hint` is where in the newest list the address is expected: lists mostly
 * keep their order, and then the table is not read. */
static entry *find_hinted(const base *b, const evener_address *address, size_t *hint)
{
    const list *l = newest(b);
    if (*hint < l->count && evener_address_same_backend(address_of(b, l->entries[*hint]), address)) {
        return l->entries[(*hint)++];
    }
    entry *e = entry_at(b, evener_address_table_find(&b->table, address));
    if (e != NULL) {
        *hint = e->index + 1;
    }
    return e;
}

/* Counters of one update. */
typedef struct list_work {
    evener_base_ready peers; /* for subchannel_created(); collected when it is first needed */
    uint64_t unused_ns;
    bool has_peers;
    bool attributes_changed;
    size_t left_out; /* as memory ran out */
    size_t kept;     /* entries of the current list among those made */
} list_work;

static void work_init(const base *b, list_work *work)
{
    *work = (list_work){.peers = {.size = sizeof work->peers, .config = b->config, .helper = b->helper}};
    work->peers.state = b->state;
    work->peers.rebuild_after_ns = &work->unused_ns;
}

static entry *obtain(base *b, evener_address *address, entry *e, list_work *work)
{
    if (e == NULL) {
        if (b->kind->subchannel_created != NULL && !work->has_peers) {
            work->has_peers = true;
            (void)collect_ready(b, &work->peers);
        }
        e = entry_create(b, address, &work->peers);
        work->left_out += e == NULL ? 1 : 0;
    } else if (address_of(b, e) != address && !evener_address_equal(address_of(b, e), address)) {
        evener_subchannel_set_address(subchannel_of(b, e), address);
        if (!b->is_lean) {
            evener_address_unref(e->address);
            e->address = evener_address_ref(address);
        }
        work->attributes_changed = true;
    }
    return e;
}

static void list_append(base *b, list *made, entry *e)
{
    e->generation = b->generation & GENERATION_MASK;
    e->index = (uint32_t)made->count & INDEX_MASK;
    count_entry(made, e, 1);
    made->entries[made->count++] = e;
}

/* Start another generation. When the numbers are used up, reset all entries: an entry that no change touched may still
 * have a number that would be used again. */
static uint32_t next_generation(base *b)
{
    b->generation = (b->generation + 1) & GENERATION_MASK;
    if (b->generation == 0) {
        for (void *item = evener_address_table_first(&b->table); item != NULL;
             item = evener_address_table_next(&b->table, item)) {
            entry_at(b, item)->generation = 0;
        }
        b->generation = 1;
    }
    return b->generation;
}

/* Make a list of the whole update. */
static void list_make(base *b, const evener_policy_update *update, list *made, list_work *work)
{
    size_t hint = 0;
    (void)next_generation(b);
    if (update->address_count > b->table.count) { /* at once instead of in steps */
        (void)evener_address_table_reserve(&b->table, update->address_count - b->table.count);
    }
    for (size_t i = 0; i < update->address_count; i++) {
        entry *e = find_hinted(b, update->addresses[i], &hint);
        if (e != NULL && e->generation == b->generation) {
            continue; /* a duplicate: the first one counts */
        }
        e = obtain(b, update->addresses[i], e, work);
        if (e != NULL) {
            work->kept += e->in_current ? 1 : 0;
            list_append(b, made, e);
        }
    }
}

/* Set which entries differ between the current list and the one made. Return false if out of memory: nothing has
 * changed then, and entries that were created are released. */
static bool compare_lists(base *b, const list *made, size_t kept)
{
    entry_set removed = {0}, added = {0};
    if (!set_reserve(&removed, b->current.count - kept) || !set_reserve(&added, made->count - kept)) {
        set_free(&removed);
        for (size_t i = 0; i < made->count; i++) {
            if (!made->entries[i]->in_current && !made->entries[i]->differs) {
                entry_release(b, made->entries[i], 0);
            }
        }
        return false;
    }
    for (size_t i = 0; i < b->removed.count; i++) {
        b->removed.entries[i]->differs = false;
    }
    for (size_t i = 0; i < b->added.count; i++) { /* of a pending list that never took over */
        if (b->added.entries[i]->generation != b->generation) {
            entry_release(b, b->added.entries[i], 0);
        }
    }
    for (size_t i = 0; i < b->current.count && removed.count < b->current.count - kept; i++) {
        entry *e = b->current.entries[i];
        if (e->generation != b->generation) {
            e->differs = true;
            removed.entries[removed.count++] = e;
        }
    }
    for (size_t i = 0; i < made->count && added.count < made->count - kept; i++) {
        entry *e = made->entries[i];
        if (!e->in_current) {
            e->differs = true;
            added.entries[added.count++] = e;
        }
    }
    set_free(&b->removed);
    set_free(&b->added);
    b->removed = removed;
    b->added = added;
    return true;
}

/* Remove an entry from the newest list, or add it: the sets have room. */
static void leave_newest(base *b, entry *e)
{
    e->differs = e->in_current;
    if (e->in_current) {
        b->removed.entries[b->removed.count++] = e;
    } else {
        set_remove(&b->added, e);
        entry_release(b, e, 0); /* in no picker yet */
    }
}

static void enter_newest(base *b, entry *e)
{
    if (e->in_current) {
        set_remove(&b->removed, e);
    } else {
        b->added.entries[b->added.count++] = e;
    }
    e->differs = !e->in_current;
}

static bool is_in_newest(const base *b, const entry *e)
{
    return b->has_pending ? e->in_current != e->differs : e->in_current;
}

/* Return whether changing the newest list is cheaper than making a new one, as leave_newest() and enter_newest() search
 * the sets of entries that differ. */
static bool is_cheap(const base *b, const evener_policy_update *update, const evener_list_change *change)
{
    const size_t same = change->first + change->last;
    return change->is_small &&
           (update->address_count - same + newest(b)->count - same) * (b->removed.count + b->added.count) <=
               SEARCHED_PER_ENTRY * update->address_count;
}

/* Make the list by changing the newest one: what stays is copied as pointers. Return false if out of memory. */
static bool list_change(base *b, const evener_policy_update *update, const evener_list_change *change, list *made,
                        list_work *work)
{
    const list *old = newest(b);
    const size_t old_end = old->count - change->last, end = update->address_count - change->last;
    if (!set_reserve(&b->removed, b->removed.count + old_end - change->first) ||
        !set_reserve(&b->added, b->added.count + end - change->first)) {
        return false;
    }
    entry **const entries = made->entries;
    *made = *old;
    made->entries = entries;
    made->count = change->first;
    memcpy(entries, old->entries, change->first * sizeof(entry *));
    const uint32_t old_part = next_generation(b); /* those that stay have the next one in the end */
    (void)next_generation(b);
    for (size_t i = change->first; i < old_end; i++) {
        count_entry(made, old->entries[i], (size_t)-1);
        old->entries[i]->generation = old_part & GENERATION_MASK;
    }
    size_t hint = change->first;
    for (size_t i = change->first; i < end; i++) {
        entry *e = find_hinted(b, update->addresses[i], &hint);
        if (e != NULL && is_in_newest(b, e) && e->generation != old_part) {
            continue; /* a duplicate */
        }
        e = obtain(b, update->addresses[i], e, work);
        if (e == NULL) {
            continue;
        }
        if (!is_in_newest(b, e)) {
            enter_newest(b, e);
        }
        list_append(b, made, e);
    }
    for (size_t i = change->first; i < old_end; i++) {
        if (old->entries[i]->generation == old_part) {
            leave_newest(b, old->entries[i]);
        }
    }
    memcpy(entries + made->count, old->entries + old_end, change->last * sizeof(entry *));
    made->count += change->last;
    return true;
}

static evener_status_code fail_empty(base *b, evener_status *status)
{
    b->published = true;
    b->published_state = EVENER_TRANSIENT_FAILURE;
    evener_timer_stop(b->helper->loop, &b->join_timer);
    b->join_timer_runs = false;
    evener_timer_stop(b->helper->loop, &b->rebuild_timer);
    const evener_status_code code = evener_policy_fail_empty(b->helper, status);
    release_all(b);
    b->has_pending = false;
    b->published = false; /* the next list is published whatever its state */
    return code;
}

static evener_status_code base_update(evener_policy *policy, const evener_policy_update *update, evener_status *status)
{
    base *b = (base *)policy;
    const bool config_changed = b->config != update->config;
    const evener_list_change change = evener_list_change_of(update, b->list_id, newest(b)->count);
    b->config = update->config;
    b->list_id = 0;
    release_leaving(b); /* its entries are in no list, and must not come into one again */
    if (update->address_count == 0) {
        return fail_empty(b, status);
    }
    list_work work;
    list made = {.entries = malloc(update->address_count * sizeof(entry *))};
    work_init(b, &work);
    bool made_it = made.entries != NULL;
    if (made_it && is_cheap(b, update, &change)) {
        made_it = list_change(b, update, &change, &made, &work);
    } else if (made_it) {
        list_make(b, update, &made, &work);
        made_it = compare_lists(b, &made, work.kept);
    }
    free_ready(&work.peers);
    if (!made_it) {
        free(made.entries);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for a list of %zu addresses",
                                 update->address_count);
    }
    list_free(&b->pending);
    b->pending = made;
    b->has_pending = true;
    b->list_id = made.count == update->address_count ? change.list_id : 0;

    if (pending_may_take_over(b)) {
        take_over(b);
    } else {
        publish_change(b, config_changed || work.attributes_changed, false);
    }
    if (work.left_out > 0) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for %zu of %zu addresses",
                                 work.left_out, update->address_count);
    }
    return evener_status_clear(status);
}

static void base_resolver_error(evener_policy *policy, const evener_status *status)
{
    base *b = (base *)policy;
    if (b->current.count == 0) {
        evener_policy_publish(b->helper, EVENER_TRANSIENT_FAILURE, status, evener_picker_create_fail(status));
    }
}

static void base_close(evener_policy *policy)
{
    base *b = (base *)policy;
    evener_timer_stop(b->helper->loop, &b->join_timer);
    evener_timer_stop(b->helper->loop, &b->rebuild_timer);
    release_all(b);
    evener_base_holds_detach(&b->holds);
    evener_address_table_clear(&b->table);
    if (b->state != NULL && b->kind->state_destroy != NULL) {
        b->kind->state_destroy(b->state);
    }
    free(b->state);
    b->closed = true;
    if (!b->turn_task_pending) {
        free(b);
    }
}

static void base_describe(evener_policy *policy, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes)
{
    base *b = (base *)policy;
    if (b->kind->describe != NULL) {
        b->kind->describe(b->state, subchannel, buffer, buffer_bytes);
    }
}

static const evener_policy_vtable base_vtable = {
    .size = sizeof base_vtable,
    .update = base_update,
    .resolver_error = base_resolver_error,
    .close = base_close,
    .describe = base_describe,
};

static evener_policy *build(const evener_policy_builder *builder, evener_policy_helper *helper, bool is_lean)
{
    const evener_base_policy *kind = builder->user_data;
    base *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return NULL;
    }
    if (kind->state_bytes > 0) {
        b->state = calloc(1, kind->state_bytes);
        if (b->state == NULL) {
            free(b);
            return NULL;
        }
    }
    b->policy.vtable = &base_vtable;
    b->kind = kind;
    b->entry_offset = (kind->subchannel_data_bytes + _Alignof(entry) - 1) & ~(_Alignof(entry) - 1);
    b->is_lean = is_lean;
    b->table = (evener_address_table)EVENER_ADDRESS_TABLE_INIT(entry, table_next, address, table_tag);
    b->table.next_offset += b->entry_offset;
    b->table.address_offset += b->entry_offset;
    b->table.tag_offset += b->entry_offset;
    b->table.address_of = is_lean ? lean_address : NULL;
    b->helper = helper;
    b->turn_task = (evener_task)EVENER_TASK_INIT(end_turn, b);
    b->rebuild_timer = (evener_timer)EVENER_TIMER_INIT(publish_again, b);
    b->join_timer = (evener_timer)EVENER_TIMER_INIT(publish_joined_now, b);
    evener_status_clear(&b->last_error);
    return &b->policy;
}

evener_policy *evener_base_policy_build(const evener_policy_builder *builder, evener_policy_helper *helper)
{
    return build(builder, helper, false);
}

evener_policy *evener_base_policy_build_lean(const evener_policy_builder *builder, evener_policy_helper *helper)
{
    return build(builder, helper, true);
}
