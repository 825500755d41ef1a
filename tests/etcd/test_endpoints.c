/* Lists of endpoints (resolver/etcd/endpoints.h): changes are sorted, applied, appended and adopted as in a plain table of
 * keys, and what did not change keeps its address object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "resolver/etcd/endpoints.h"

static evener_etcd_layout layout; /* plain: a value is an address */

static void set_up(void)
{
    cr_assert(evener_etcd_layout_init(&layout, EVENER_ETCD_LAYOUT_PLAIN, "o", NULL));
}

static void tear_down(void)
{
    evener_etcd_layout_clear(&layout);
}

TestSuite(etcd_endpoints, .init = set_up, .fini = tear_down);

static evener_etcd_span span(const char *text)
{
    return (evener_etcd_span){(const uint8_t *)text, strlen(text)};
}

/* Add a change of "o/<key>"; `value` NULL: it was deleted. */
static void add(evener_etcd_entries *entries, const char *key, const char *value, int64_t revision)
{
    char whole[256];
    (void)snprintf(whole, sizeof whole, "o/%s", key);
    const evener_etcd_key_value kv = {span(whole), span(value != NULL ? value : ""), revision};
    cr_assert(evener_etcd_entries_add(entries, &layout, value == NULL, &kv));
}

/* Return the entries as text: "key=address@revision"; '-' before a deleted key, '?' behind one that cannot be read, '!'
 * behind one that is no endpoint. */
static const char *text_of(const evener_etcd_entries *entries)
{
    static const char *const kinds[] = {"=", "!", "?", "="};
    static char text[8192];
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < entries->count; i++) {
        const evener_etcd_entry *entry = &entries->items[i];
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s%.*s%s%s@%lld", i > 0 ? " " : "",
                                 entry->kind == EVENER_ETCD_ENTRY_DELETED ? "-" : "", (int)entry->key_bytes - 2,
                                 (const char *)entry->key + 2, kinds[entry->kind],
                                 entry->address != NULL ? evener_address_text(entry->address) : "",
                                 (long long)entry->mod_revision);
    }
    return text;
}

#define expect(entries, expected) cr_assert_str_eq(text_of(entries), expected, "%s", text_of(entries))

/* ---- sorting ---- */

Test(etcd_endpoints, of_changes_of_one_key_the_last_revision_counts)
{
    evener_etcd_entries changes = {0};
    evener_etcd_entries_sort(&changes);
    cr_assert_eq(changes.count, 0);
    add(&changes, "b", "10.0.0.1:1", 5);
    evener_etcd_entries_sort(&changes);
    expect(&changes, "b=10.0.0.1:1@5");
    add(&changes, "a", "10.0.0.2:1", 6);
    evener_etcd_entries_sort(&changes);
    expect(&changes, "a=10.0.0.2:1@6 b=10.0.0.1:1@5");
    add(&changes, "b", NULL, 8);
    add(&changes, "b", "10.0.0.3:1", 7);
    add(&changes, "a", "10.0.0.4:1", 9);
    evener_etcd_entries_sort(&changes);
    expect(&changes, "a=10.0.0.4:1@9 -b=@8");
    evener_etcd_entries_clear(&changes);
    cr_assert(changes.items == NULL && changes.count == 0 && changes.room == 0);
    add(&changes, "c", "10.0.0.1:1", 1);
    add(&changes, "c", "10.0.0.2:1", 2);
    evener_etcd_entries_sort(&changes);
    expect(&changes, "c=10.0.0.2:1@2");
    evener_etcd_entries_clear(&changes);
}

/* docs/etcd.md: a key whose value cannot be read keeps its last good value until it is deleted. Here several changes of
 * a key come at once, as after a resumption. */
Test(etcd_endpoints, a_value_that_cannot_be_read_keeps_the_last_good_one_of_the_same_changes)
{
    evener_etcd_entries list = {0}, changes = {0};
    add(&list, "10.0.0.1:1", "up", 1);
    add(&list, "a", "10.0.0.1:1", 1);
    add(&list, "b", "10.0.0.2:1", 1);
    add(&list, "c", "10.0.0.3:1", 1);
    add(&changes, "a", "10.0.0.4:1", 2);
    add(&changes, "a", "up", 3);
    add(&changes, "b", NULL, 4);
    add(&changes, "b", "up", 5);
    add(&changes, "b", "down", 6);
    add(&changes, "c", NULL, 7);
    add(&changes, "c", "10.0.0.5:1", 8);
    add(&changes, "c", "up", 9);
    add(&changes, "d", "10.0.0.6:1", 10);
    add(&changes, "d", "up", 11);
    evener_etcd_entries_sort(&changes);
    expect(&changes, "a?10.0.0.4:1@3 b?@6 c?10.0.0.5:1@9 d?10.0.0.6:1@11");
    cr_assert(evener_etcd_entries_apply(&list, &changes));
    expect(&list, "10.0.0.1:1=10.0.0.1:1@1 a?10.0.0.4:1@3 b?@6 c?10.0.0.5:1@9 d?10.0.0.6:1@11");
    evener_etcd_entries_clear(&list);
}

Test(etcd_endpoints, keys_are_in_the_order_of_their_bytes_and_a_shorter_one_comes_first)
{
    static const char *const keys[] = {"b\xff", "b", "\xff", "ba", "a", "b\x01", "bab", ""};
    evener_etcd_entries changes = {0};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        add(&changes, keys[i], "10.0.0.1:1", 1);
    }
    evener_etcd_entries_sort(&changes);
    expect(&changes, "=10.0.0.1:1@1 a=10.0.0.1:1@1 b=10.0.0.1:1@1 b\x01=10.0.0.1:1@1 ba=10.0.0.1:1@1 "
                     "bab=10.0.0.1:1@1 b\xff=10.0.0.1:1@1 \xff=10.0.0.1:1@1");
    evener_etcd_entries_clear(&changes);
}

/* ---- reading ---- */

Test(etcd_endpoints, what_cannot_be_read_is_counted_and_the_first_of_it_named)
{
    evener_etcd_entries entries = {0};
    char key[160], expected[200];
    const evener_etcd_key_value other = {span("p/a"), span("10.0.0.1:1"), 3};
    const evener_etcd_key_value none = {{(const uint8_t *)"", 0}, span("10.0.0.1:1"), 3};
    cr_assert(evener_etcd_entries_add(&entries, &layout, false, &other)); /* of another prefix */
    cr_assert_eq(entries.items[0].kind, EVENER_ETCD_ENTRY_OTHER);
    cr_assert_not(evener_etcd_entries_add(&entries, &layout, false, &none));
    cr_assert_eq(entries.count, 1);
    cr_assert_eq(entries.unreadable, 0);
    cr_assert_str_eq(entries.warning, "");
    add(&entries, "10.0.0.2:2", "up", 4); /* the key has the address */
    add(&entries, "bad", "up", 5);
    add(&entries, "worse", "down", 6);
    expect(&entries, "a!@3 10.0.0.2:2=10.0.0.2:2@4 bad?@5 worse?@6");
    cr_assert_eq(entries.unreadable, 2);
    cr_assert_eq(strncmp(entries.warning, "key o/bad: address \"up\"", 23), 0, "%s", entries.warning);
    evener_etcd_entries_clear(&entries);
    for (int bytes = 119; bytes <= 121; bytes++) { /* of the whole key */
        memset(key, 'k', sizeof key);
        key[bytes - 2] = '\0';
        add(&entries, key, "up", 1);
        (void)snprintf(expected, sizeof expected, "key o/%.118s%s: address", key, bytes > 120 ? "..." : "");
        cr_assert_eq(strncmp(entries.warning, expected, strlen(expected)), 0, "%s", entries.warning);
        evener_etcd_entries_clear(&entries);
        cr_assert_str_eq(entries.warning, "");
    }
}

/* ---- applying ---- */

#define KEYS 40

/* What a list should be: a table of keys. Value 0: no such key; above 9: cannot be read. */
typedef struct table {
    int values[KEYS], good[KEYS]; /* the address that is in force */
    long long revisions[KEYS];
} table;

static const char *text_of_table(const table *t)
{
    static char text[8192];
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < KEYS; i++) {
        char address[32] = "";
        if (t->values[i] == 0) {
            continue;
        }
        if (t->good[i] != 0) {
            (void)snprintf(address, sizeof address, "10.0.0.%d:1", t->good[i]);
        }
        used += (size_t)snprintf(text + used, sizeof text - used, "%sk%02d%s%s@%lld", used > 0 ? " " : "", i,
                                 t->values[i] > 9 ? "?" : "=", address, t->revisions[i]);
    }
    return text;
}

static unsigned next_random(unsigned *state)
{
    *state = *state * 1103515245u + 12345u;
    return *state >> 16 & 0x7fff;
}

/* Few changes are applied one by one and many are merged: both are what a table would be. */
Test(etcd_endpoints, changes_of_any_number_are_applied_as_to_a_table)
{
    evener_etcd_entries list = {0};
    table t = {.values = {0}};
    unsigned state = 1;
    long long revision = 1;
    for (int round = 0; round < 400; round++) {
        evener_etcd_entries changes = {0};
        const unsigned count = next_random(&state) % 20;
        for (unsigned i = 0; i < count; i++) {
            const unsigned k = next_random(&state) % KEYS;
            const int value = (int)(next_random(&state) % 12);
            char key[8], address[32];
            (void)snprintf(key, sizeof key, "k%02u", k);
            (void)snprintf(address, sizeof address, value > 9 ? "bad" : "10.0.0.%d:1", value);
            revision++;
            add(&changes, key, value == 0 ? NULL : address, revision);
            t.values[k] = value;
            t.revisions[k] = revision;
            t.good[k] = value <= 9 ? value : t.good[k];
        }
        evener_etcd_entries_sort(&changes);
        cr_assert(evener_etcd_entries_apply(&list, &changes));
        cr_assert(changes.items == NULL && changes.count == 0);
        cr_assert_leq(list.count, list.room);
        cr_assert_str_eq(text_of(&list), text_of_table(&t), "round %d, %u changes: %s", round, count, text_of(&list));
    }
    evener_etcd_entries_clear(&list);
}

/* The same value again, and one that cannot be read, keep the address object; another value does not. */
Test(etcd_endpoints, an_unchanged_address_stays_the_same_object)
{
    for (int more = 0; more <= 20; more += 10) { /* applied one by one, and merged */
        evener_etcd_entries list = {0}, changes = {0};
        char key[16];
        for (int i = 0; i < 3; i++) {
            (void)snprintf(key, sizeof key, "a%d", i);
            add(&list, key, "10.0.0.1:1", 1);
        }
        evener_address *before[3];
        for (int i = 0; i < 3; i++) {
            before[i] = evener_address_ref(list.items[i].address);
        }
        add(&changes, "a0", "10.0.0.1:1", 2);
        add(&changes, "a1", "bad", 2);
        add(&changes, "a2", "10.0.0.2:1", 2);
        for (int i = 0; i < more; i++) {
            (void)snprintf(key, sizeof key, "b%02d", i);
            add(&changes, key, "10.0.0.3:1", 2);
        }
        cr_assert(evener_etcd_entries_apply(&list, &changes));
        cr_assert_eq(list.count, 3 + (size_t)more);
        cr_assert_eq(list.items[0].address, before[0]);
        cr_assert_eq(list.items[1].address, before[1]);
        cr_assert_neq(list.items[2].address, before[2]);
        cr_assert_eq(list.items[0].mod_revision, 2);
        cr_assert_eq(list.items[1].kind, EVENER_ETCD_ENTRY_UNREADABLE);
        for (int i = 0; i < 3; i++) {
            evener_address_unref(before[i]);
        }
        evener_etcd_entries_clear(&list);
    }
}

/* ---- pages and listings ---- */

Test(etcd_endpoints, pages_are_appended_in_order_or_refused)
{
    evener_etcd_entries list = {0}, page = {0};
    cr_assert(evener_etcd_entries_append(&list, &page)); /* nothing to nothing */
    cr_assert_eq(list.count, 0);
    add(&page, "b", "10.0.0.1:1", 1);
    add(&page, "c", "bad", 2);
    cr_assert(evener_etcd_entries_append(&list, &page));
    cr_assert(page.items == NULL && page.count == 0);
    expect(&list, "b=10.0.0.1:1@1 c?@2");
    cr_assert_eq(list.unreadable, 1);
    cr_assert_not_null(strstr(list.warning, "o/c"));
    cr_assert(evener_etcd_entries_append(&list, &page)); /* an empty page */
    cr_assert_eq(list.count, 2);
    static const char *const refused[][2] = {{"c", "d"}, {"a", "d"}, {"d", "d"}, {"e", "d"}};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        add(&page, refused[i][0], "bad", 3);
        add(&page, refused[i][1], "10.0.0.2:1", 3);
        cr_assert_not(evener_etcd_entries_append(&list, &page), "%zu", i);
        cr_assert_eq(page.count, 2);
        expect(&list, "b=10.0.0.1:1@1 c?@2");
        cr_assert_eq(list.unreadable, 1);
        evener_etcd_entries_clear(&page);
    }
    add(&page, "d", "bad", 4);
    add(&page, "da", "10.0.0.4:1", 5);
    cr_assert(evener_etcd_entries_append(&list, &page));
    expect(&list, "b=10.0.0.1:1@1 c?@2 d?@4 da=10.0.0.4:1@5");
    cr_assert_eq(list.unreadable, 2);
    cr_assert_not_null(strstr(list.warning, "o/c"), "the first one is named: %s", list.warning);
    evener_etcd_entries_clear(&list);
}

Test(etcd_endpoints, a_new_listing_adopts_what_is_the_same)
{
    evener_etcd_entries old = {0}, list = {0};
    add(&old, "a", "10.0.0.1:1", 1);
    add(&old, "b", "10.0.0.2:1", 1);
    add(&old, "c", "10.0.0.3:1", 1);
    add(&old, "e", "10.0.0.5:1", 1);
    add(&old, "g", "10.0.0.7:1", 1);
    add(&list, "a", "10.0.0.1:1", 2);
    add(&list, "c", "bad", 2);
    add(&list, "d", "bad", 2); /* never was readable */
    add(&list, "e", "10.0.0.9:1", 2);
    add(&list, "f", "10.0.0.6:1", 2);
    add(&list, "g", "10.0.0.7:1", 2);
    add(&list, "h", "10.0.0.8:1", 2);
    evener_address *changed = list.items[3].address;
    evener_etcd_entries_adopt(&list, &old);
    expect(&list, "a=10.0.0.1:1@2 c?10.0.0.3:1@2 d?@2 e=10.0.0.9:1@2 f=10.0.0.6:1@2 g=10.0.0.7:1@2 h=10.0.0.8:1@2");
    cr_assert_eq(list.items[0].address, old.items[0].address);
    cr_assert_eq(list.items[1].address, old.items[2].address);
    cr_assert_eq(list.items[3].address, changed);
    cr_assert_eq(list.items[5].address, old.items[4].address);
    expect(&old, "a=10.0.0.1:1@1 b=10.0.0.2:1@1 c=10.0.0.3:1@1 e=10.0.0.5:1@1 g=10.0.0.7:1@1");
    evener_etcd_entries_clear(&old);
    expect(&list, "a=10.0.0.1:1@2 c?10.0.0.3:1@2 d?@2 e=10.0.0.9:1@2 f=10.0.0.6:1@2 g=10.0.0.7:1@2 h=10.0.0.8:1@2");
    evener_etcd_entries_adopt(&list, &old); /* of nothing */
    cr_assert_eq(list.count, 7);
    evener_etcd_entries_clear(&list);
}
