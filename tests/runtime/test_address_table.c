/* The table of addresses: a random sequence against a plain list, iteration with removal, growth. */
#include "lb/base/address_table.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#define ITEMS 600

typedef struct item {
    int number;
    struct item *next;
    evener_address *address;
    bool entered;
    uint8_t tag;
} item;

static item items[ITEMS];
static evener_address_table table = EVENER_ADDRESS_TABLE_INIT(item, next, address, tag);

static evener_address *make(int number)
{
    char text[64];
    evener_address *address;
    (void)snprintf(text, sizeof text, "10.0.%d.%d:80", number >> 8, number & 255);
    cr_assert_eq(evener_address_create(text, NULL, 0, &address, NULL), EVENER_STATUS_OK);
    return address;
}

static void set_up(void)
{
    for (int i = 0; i < ITEMS; i++) {
        items[i] = (item){.number = i, .address = make(i)};
    }
}

static void tear_down(void)
{
    evener_address_table_clear(&table);
    for (int i = 0; i < ITEMS; i++) {
        evener_address_unref(items[i].address);
    }
}

static void enter(item *one)
{
    cr_assert(evener_address_table_reserve(&table, 1));
    evener_address_table_enter(&table, one);
    one->entered = true;
}

static void leave(item *one)
{
    evener_address_table_leave(&table, one);
    one->entered = false;
}

/* Look up with other address objects: items are found by identity, not by pointer. */
static void expect_as_entered(void)
{
    size_t count = 0;
    for (int i = 0; i < ITEMS; i++) {
        evener_address *other = make(i);
        cr_assert_eq(evener_address_table_find(&table, other), items[i].entered ? (void *)&items[i] : NULL, "item %d",
                     i);
        count += items[i].entered ? 1 : 0;
        evener_address_unref(other);
    }
    cr_assert_eq(table.count, count);
}

TestSuite(address_table, .init = set_up, .fini = tear_down);

Test(address_table, an_empty_one_finds_nothing)
{
    expect_as_entered();
    cr_assert_null(evener_address_table_first(&table));
}

Test(address_table, entering_and_leaving_in_any_order)
{
    uint32_t random = 12345;
    for (int step = 0; step < 20000; step++) {
        random = random * 1103515245 + 12345;
        item *one = &items[(random >> 8) % ITEMS];
        (one->entered ? leave : enter)(one);
        if (step % 1000 == 0) {
            expect_as_entered();
        }
    }
    expect_as_entered();
}

/* A list that is replaced again and again: the table neither grows nor fills with traces of removed items. */
Test(address_table, its_size_depends_on_what_it_holds_only)
{
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 100; i++) {
            enter(&items[(round * 100 + i) % ITEMS]);
        }
        for (int i = 0; i < 100; i++) {
            leave(&items[(round * 100 + i) % ITEMS]);
        }
    }
    cr_assert_eq(table.bucket_count, 64);
    expect_as_entered();
}

Test(address_table, each_item_is_met_once)
{
    int met[ITEMS] = {0};
    for (int i = 0; i < ITEMS; i += 2) {
        enter(&items[i]);
    }
    for (const item *one = evener_address_table_first(&table); one != NULL;
         one = evener_address_table_next(&table, one)) {
        met[one->number]++;
    }
    for (int i = 0; i < ITEMS; i++) {
        cr_assert_eq(met[i], i % 2 == 0 ? 1 : 0);
    }
}

Test(address_table, all_can_leave_during_an_iteration)
{
    for (int i = 0; i < ITEMS; i++) {
        enter(&items[i]);
    }
    for (item *one = evener_address_table_first(&table), *next; one != NULL; one = next) {
        next = evener_address_table_next(&table, one);
        leave(one);
    }
    expect_as_entered();
}

Test(address_table, the_authority_is_part_of_the_identity)
{
    const evener_attribute authority = {"authority", "a.example"};
    evener_address *named;
    cr_assert_eq(evener_address_with_attributes(items[0].address, &authority, 1, &named, NULL), EVENER_STATUS_OK);
    item other = {.number = -1, .address = named};
    enter(&items[0]);
    cr_assert_null(evener_address_table_find(&table, named));
    enter(&other);
    cr_assert_eq(evener_address_table_find(&table, named), (void *)&other);
    cr_assert_eq(evener_address_table_find(&table, items[0].address), (void *)&items[0]);
    leave(&other);
    evener_address_unref(named);
}
