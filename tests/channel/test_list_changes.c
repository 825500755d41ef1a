/* N6: updates that change a few addresses of many, pushed as the same objects. Only the difference is processed,
 * and what is picked, connected and released is as after a full update. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "lb/channel/channel_internal.h"
#include "tests/support/channel_fixture.h"

#define LENGTH_MAX 96

/* What the program has pushed. */
typedef struct model {
    fixture *f;
    evener_address *list[LENGTH_MAX];
    size_t count;
    unsigned serial; /* of the next new address */
} model;

static evener_address *make(unsigned number, const char *weight)
{
    char text[32];
    evener_address *address;
    evener_status status;
    const evener_attribute attribute = {"weight", weight};
    (void)snprintf(text, sizeof text, "10.0.%u.%u:80", number / 250, number % 250 + 1);
    cr_assert_eq(evener_address_create(text, &attribute, weight != NULL ? 1 : 0, &address, &status), EVENER_STATUS_OK,
                 "%s", status.message);
    return address;
}

static void push(model *m)
{
    const evener_resolver_update update = {.size = sizeof update, .addresses = m->list, .address_count = m->count};
    evener_status status;
    cr_assert_eq(evener_manual_resolver_update(m->f->resolver, &update, &status), EVENER_STATUS_OK, "%s",
                 status.message);
}

static void insert(model *m, size_t at, evener_address *address)
{
    memmove(m->list + at + 1, m->list + at, (m->count - at) * sizeof *m->list);
    m->list[at] = address;
    m->count++;
}

static void take_out(model *m, size_t at)
{
    evener_address_unref(m->list[at]);
    m->count--;
    memmove(m->list + at, m->list + at + 1, (m->count - at) * sizeof *m->list);
}

static void replace(model *m, size_t at, evener_address *address)
{
    evener_address_unref(m->list[at]);
    m->list[at] = address;
}

static model model_create(const char *policy, size_t count)
{
    model m = {.f = fixture_create(&(evener_channel_options){.policy = policy}), .count = count};
    for (size_t i = 0; i < count; i++) {
        m.list[i] = make(m.serial++, NULL);
    }
    push(&m);
    fixture_connect(m.f);
    return m;
}

static void model_destroy(model *m)
{
    fixture_destroy(m->f);
    while (m->count > 0) {
        evener_address_unref(m->list[--m->count]);
    }
}

/* The channel's list, its connections and a round of picks are those of the model. */
static void expect_all(model *m)
{
    const evener_update_list *list = &m->f->channel->control.list;
    cr_assert_eq(list->count, m->count);
    for (size_t i = 0; i < m->count; i++) {
        cr_assert_eq(list->addresses[i], m->list[i], "position %zu", i);
    }
    cr_assert_eq(fake_transport_open_count(m->f->transport, NULL), m->count);
    for (size_t i = 0; i < m->count; i++) {
        const char *picked = fixture_pick(m->f);
        size_t at = 0;
        while (at < m->count && strcmp(evener_address_text(m->list[at]), picked) != 0) {
            at++;
        }
        cr_assert_lt(at, m->count, "%s is not in the list", picked);
    }
}

Test(list_changes, n6_one_address_is_replaced_added_removed)
{
    model m = model_create("round_robin", 64);
    expect_all(&m);
    replace(&m, 30, make(m.serial++, NULL));
    push(&m);
    virtual_loop_advance_ms(m.f->loop, 1);
    const evener_update_list *list = &m.f->channel->control.list;
    cr_assert(list->same_first == 30 && list->same_last == 33, "%zu %zu", list->same_first, list->same_last);
    virtual_loop_advance_ms(m.f->loop, 2000);
    expect_all(&m);
    insert(&m, 10, make(m.serial++, NULL));
    push(&m);
    virtual_loop_advance_ms(m.f->loop, 2000);
    expect_all(&m);
    take_out(&m, 0);
    push(&m);
    virtual_loop_advance_ms(m.f->loop, 2000);
    expect_all(&m);
    model_destroy(&m);
}

/* A list without a READY backend does not displace one that serves; the next changes are relative to the waiting
 * list. */
Test(list_changes, n6_changes_on_top_of_a_list_that_has_not_taken_over)
{
    model m = model_create("round_robin", 64);
    evener_address *old = evener_address_ref(m.list[5]);
    for (size_t i = 0; i < m.count; i++) {
        replace(&m, i, make(m.serial++, NULL));
    }
    fake_transport_set_default(m.f->transport, FAKE_SILENT, 0);
    push(&m);
    virtual_loop_advance_ms(m.f->loop, 100);
    insert(&m, 40, make(m.serial++, NULL));
    push(&m);
    virtual_loop_advance_ms(m.f->loop, 100);
    take_out(&m, 20);
    push(&m);
    virtual_loop_advance_ms(m.f->loop, 100);
    cr_assert_eq(fake_transport_open_count(m.f->transport, NULL), 64 + 64,
                 "connections of the old list, attempts of the new one");
    cr_assert_not_null(fixture_pick(m.f));
    fake_transport_set_default(m.f->transport, FAKE_ACCEPT, 0);
    replace(&m, 5, old); /* a backend of the old list is READY: the waiting list takes over */
    push(&m);
    virtual_loop_advance_ms(m.f->loop, 300 * 1000);
    expect_all(&m);
    model_destroy(&m);
}

/* Duplicates, and the same backend as another object, are found although the rest of the list is not looked at. */
Test(list_changes, n6_a_twin_of_an_unchanged_address_is_dropped)
{
    model m = model_create("round_robin", 64);
    insert(&m, 30, make(3, NULL)); /* the backend at position 3 */
    push(&m);
    virtual_loop_advance_ms(m.f->loop, 2000);
    cr_assert_eq(m.f->channel->control.list.count, 64);
    take_out(&m, 30);
    push(&m);
    virtual_loop_advance_ms(m.f->loop, 2000);
    expect_all(&m);
    model_destroy(&m);
}

static void push_now(model *m)
{
    push(m);
    virtual_loop_run_until_idle(m->f->loop);
}

/* Wherever the twin is, and however often the list has changed before: what is known of unchanged addresses is kept. */
Test(list_changes, n6_a_twin_is_dropped_wherever_it_is)
{
    model m = model_create("round_robin", 90);
    for (unsigned number = 0; number < 90; number += number == 0 || number == 88 ? 1 : 29) {
        replace(&m, 40, make(1000 + number, NULL)); /* a change by itself */
        push_now(&m);
        cr_assert_eq(m.f->channel->control.list.count, 90);
        if (number != 40) {
            insert(&m, 45, make(number, NULL));
            push_now(&m);
            cr_assert_eq(m.f->channel->control.list.count, 90, "a twin of address %u", number);
            take_out(&m, 45);
            push_now(&m);
            cr_assert_eq(m.f->channel->control.list.count, 90);
        }
    }
    virtual_loop_advance_ms(m.f->loop, 300 * 1000);
    expect_all(&m);
    model_destroy(&m);
}

Test(list_changes, n6_a_twin_is_dropped_from_a_short_list)
{
    for (size_t count = 1; count <= 4; count++) {
        for (unsigned number = 0; number < count; number++) {
            for (size_t at = 0; at <= count; at++) {
                model m = model_create("round_robin", count);
                insert(&m, at, make(number, NULL));
                push_now(&m);
                cr_assert_eq(m.f->channel->control.list.count, count, "a twin of %u at %zu of %zu", number, at, count);
                take_out(&m, at);
                push_now(&m);
                expect_all(&m);
                model_destroy(&m);
            }
        }
    }
}

/* Few and many addresses that have moved, with a twin among them or without. */
Test(list_changes, n6_a_twin_is_dropped_however_many_have_moved)
{
    for (size_t moved = 1; moved <= 80; moved += moved < 10 || (moved > 60 && moved < 66) ? 1 : 5) {
        for (int twin = 0; twin < 3; twin++) { /* none, of one that stays, of one that is new as well */
            model m = model_create("round_robin", 90);
            for (size_t i = 0; i < moved; i++) {
                replace(&m, 5 + i, make(100 + (unsigned)i, NULL));
            }
            if (twin != 0) {
                replace(&m, 4 + moved, make(twin == 1 ? 89 : 100, NULL));
            }
            push_now(&m);
            const size_t dropped = twin == 1 || (twin == 2 && moved > 1) ? 1 : 0;
            cr_assert_eq(m.f->channel->control.list.count, 90 - dropped, "%zu have moved, twin %d", moved, twin);
            model_destroy(&m);
        }
    }
}

static size_t draw(unsigned *random, size_t below)
{
    return (size_t)rand_r(random) % below;
}

static void one_change(model *m, unsigned *random)
{
    const size_t at = draw(random, m->count);
    switch (draw(random, 6)) {
    case 0:
        if (m->count < LENGTH_MAX) {
            insert(m, at, make(m->serial++, NULL));
        }
        break;
    case 1:
        if (m->count > 8) {
            take_out(m, at);
        }
        break;
    case 2:
        replace(m, at, make(m->serial++, NULL));
        break;
    case 3: { /* another weight */
        const evener_attribute weight = {"weight", draw(random, 2) != 0 ? "2" : "3"};
        evener_address *changed;
        cr_assert_eq(evener_address_with_attributes(m->list[at], &weight, 1, &changed, NULL), EVENER_STATUS_OK);
        replace(m, at, changed);
        break;
    }
    case 4: { /* two change places */
        const size_t other = draw(random, m->count);
        evener_address *moved = m->list[at];
        m->list[at] = m->list[other];
        m->list[other] = moved;
        break;
    }
    default: /* the same backend as another object */
        replace(m, at, evener_address_ref(m->list[at]));
        break;
    }
}

static void change_at_random(const char *policy)
{
    model m = model_create(policy, 48);
    unsigned random = 7;
    for (unsigned round = 0; round < 1500; round++) {
        one_change(&m, &random);
        if (draw(&random, 4) == 0) {
            one_change(&m, &random);
        }
        if (draw(&random, 8) == 0) { /* one that does not answer at first */
            const char *silent = evener_address_text(m.list[draw(&random, m.count)]);
            fake_transport_set(m.f->transport, silent, FAKE_REFUSE, 50 * EVENER_NS_PER_MS);
            (void)fake_transport_drop(m.f->transport, silent);
            push(&m);
            virtual_loop_advance_ms(m.f->loop, draw(&random, 200));
            fake_transport_set(m.f->transport, silent, FAKE_ACCEPT, 0);
        }
        push(&m);
        if (draw(&random, 3) != 0) { /* otherwise the next change meets this one half done */
            virtual_loop_advance_ms(m.f->loop, 1);
        }
        if (round % 16 == 15) {
            virtual_loop_advance_ms(m.f->loop, 300 * 1000);
            expect_all(&m);
        }
    }
    model_destroy(&m);
}

/* An update that is refused changes nothing, and its plan may be discarded as any other. */
Test(list_changes, the_plan_of_a_refused_update_is_empty)
{
    evener_address *one = make(0, NULL);
    evener_address *with_hole[] = {one, NULL, one};
    const struct {
        evener_address **addresses;
        size_t count;
        const char *reason;
    } refused[] = {{with_hole, EVENER_RESOLVER_ADDRESSES_MAX + 1, "at most"},
                   {NULL, 1, "no list of them"},
                   {with_hole, 3, "entry 1 of 3 is NULL"}};
    const evener_update_list list = {0};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const evener_resolver_update update = {
            .size = sizeof update, .addresses = refused[i].addresses, .address_count = refused[i].count};
        evener_update_plan plan;
        memset(&plan, 0xa5, sizeof plan);
        evener_status status;
        cr_assert_eq(evener_update_list_prepare(&list, &update, &plan, &status), EVENER_STATUS_INVALID_ARGUMENT);
        cr_expect_not_null(strstr(status.message, refused[i].reason), "%s", status.message);
        cr_expect_null(plan.addresses, "%zu", i);
        cr_expect_null(plan.hashes, "%zu", i);
        cr_expect_eq(plan.count, 0, "%zu", i);
        cr_assert_eq(plan.first + plan.last, 0, "%zu", i);
        evener_update_plan_discard(&plan);
    }
    evener_address_unref(one);
}

Test(list_changes, n6_random_changes_leave_what_a_full_update_leaves)
{
    change_at_random("round_robin");
}

Test(list_changes, n6_random_changes_with_statistics_per_backend)
{
    change_at_random("p2c_ewma");
}
