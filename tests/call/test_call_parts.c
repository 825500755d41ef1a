/* Parts of the call layer by themselves: messages, details, the object pool. */
#include <criterion/criterion.h>

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "lb/call/details.h"
#include "lb/call/late_metadata.h"
#include "lb/call/retry.h"
#include "lb/channel/channel_internal.h"
#include "lb/runtime/lane.h"
#include "lb/runtime/object_pool.h"
#include "tests/support/channel_fixture.h"

/* ---- messages ---- */

Test(bytes, an_owned_message_lives_until_its_last_reference)
{
    evener_bytes first;
    uint8_t *to = evener_bytes_create(5, &first);
    cr_assert_not_null(to);
    memcpy(to, "hello", 5);
    evener_bytes second = evener_bytes_ref(&first);
    cr_expect_eq(second.data, first.data, "no copy");
    evener_bytes_clear(&first);
    cr_expect_eq(first.length, 0);
    cr_expect_eq(memcmp(second.data, "hello", 5), 0);
    evener_bytes_clear(&second);
}

Test(bytes, a_borrowed_message_is_copied_when_it_is_kept)
{
    char text[] = "hello";
    evener_bytes borrowed = {.data = (const uint8_t *)text, .length = 5};
    evener_bytes kept = evener_bytes_ref(&borrowed);
    evener_bytes_clear(&borrowed);
    memset(text, 'x', 5);
    cr_expect_eq(kept.length, 5);
    cr_expect_eq(memcmp(kept.data, "hello", 5), 0);
    evener_bytes_clear(&kept);
    evener_bytes_clear(NULL);
}

Test(bytes, a_length_beyond_memory_is_refused)
{
    evener_bytes bytes = {.length = 7};
    cr_expect_null(evener_bytes_create(SIZE_MAX, &bytes));
    cr_expect_eq(bytes.length, 0);
    cr_expect_null(bytes.owner);
}

/* ---- details ---- */

Test(details, headers_come_first_and_trailers_with_the_end)
{
    const evener_metadata headers[] = {{"h", "1", 1}, {"b-bin", "\0x", 2}};
    const evener_metadata trailing[] = {{"t", "two", 3}};
    evener_call_details details = {.size = sizeof details};
    evener_details_begin(&details, 2);
    evener_details_headers(&details, headers, 2);
    evener_details_end(
        &details,
        &(evener_details_at_end){
            .address = "[::1]:80", .message = "whole", .message_bytes = 5, .trailing = trailing, .trailing_count = 1});
    cr_expect_str_eq(details.peer, "ipv6:[::1]:80");
    cr_expect_eq(details.attempts, 2);
    cr_expect_eq(details.initial_metadata_count, 2);
    cr_expect_eq(details.initial_metadata[1].value_bytes, 2);
    cr_expect_eq(memcmp(details.initial_metadata[1].value, "\0x", 2), 0);
    cr_expect_str_eq(evener_metadata_find(details.trailing_metadata, 1, "t")->value, "two");
    evener_call_details moved = {.size = sizeof moved};
    evener_details_move(&details, &moved);
    cr_expect_eq(details.initial_metadata_count, 0);
    cr_expect_str_eq(moved.peer, "ipv6:[::1]:80");
    cr_expect_str_eq(moved.status_message, "whole");
    cr_expect_str_eq(details.status_message, "");
    evener_call_details_clear(&moved);
    evener_call_details_clear(&details);
}

static size_t end_of(const char *text, size_t bytes, const void *memory)
{
    return (size_t)(text + bytes + 1 - (const char *)memory);
}

/* Everything is in one block, which is as large as needed: at some length a byte less would be a smaller block. */
Test(details, all_texts_are_within_their_block)
{
    static const char text[] = "0123456789012345678901234567890123456789012345678901234567890123";
    for (size_t bytes = 0; bytes < 64; bytes++) {
        for (size_t of = 0; of < 5; of++) {
            const evener_metadata headers[] = {{text + 64 - (of == 0 ? bytes : 0), text, of == 1 ? bytes : 0}};
            const evener_metadata trailing[] = {{text + 64 - (of == 2 ? bytes : 0), text, of == 3 ? bytes : 0}};
            const size_t message_bytes = of == 4 ? bytes : 0;
            evener_call_details details = {.size = sizeof details};
            evener_details_begin(&details, 1);
            evener_details_headers(&details, headers, 1);
            const evener_metadata *h = details.initial_metadata;
            size_t room = malloc_usable_size(details.memory);
            cr_assert_leq(end_of(h->value, h->value_bytes, details.memory), room);
            cr_assert_leq(end_of(details.status_message, 0, details.memory), room, "%zu", bytes);
            evener_details_end(&details, &(evener_details_at_end){.address = "10.0.0.1:80",
                                                                  .message = text,
                                                                  .message_bytes = message_bytes,
                                                                  .trailing = trailing,
                                                                  .trailing_count = 1});
            h = details.initial_metadata;
            const evener_metadata *t = details.trailing_metadata;
            room = malloc_usable_size(details.memory);
            cr_assert_leq(end_of(details.peer, strlen(details.peer), details.memory), room, "%zu of %zu", bytes, of);
            cr_assert_leq(end_of(details.status_message, message_bytes, details.memory), room);
            cr_assert_eq(details.initial_metadata_count, 1);
            cr_assert_eq(details.trailing_metadata_count, 1);
            cr_assert_str_eq(h->key, headers[0].key);
            cr_assert_str_eq(t->key, trailing[0].key);
            cr_assert_eq(h->value_bytes, headers[0].value_bytes);
            cr_assert_eq(t->value_bytes, trailing[0].value_bytes);
            cr_assert_eq(memcmp(h->value, text, h->value_bytes) + h->value[h->value_bytes], 0);
            cr_assert_eq(memcmp(t->value, text, t->value_bytes) + t->value[t->value_bytes], 0);
            cr_assert_eq(details.status_message_bytes, message_bytes);
            cr_assert_eq(strlen(details.status_message), message_bytes);
            cr_assert_str_eq(details.peer, "ipv4:10.0.0.1:80");
            evener_call_details_clear(&details);
        }
    }
}

/* The first version's members are the least; what a newer program has more stays as it is. */
Test(details, a_size_that_is_none_is_refused_and_an_older_one_is_filled_as_far_as_it_goes)
{
    const size_t least = offsetof(evener_call_details, memory) + sizeof(void *);
    static const struct {
        size_t size;
        bool is_refused;
    } rows[] = {{0, true}, {1, true}, {65536, false}, {65537, true}, {SIZE_MAX, true}};
    evener_status status;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const evener_call_details details = {.size = rows[i].size};
        cr_expect_eq(evener_details_check(&details, &status),
                     rows[i].is_refused ? EVENER_STATUS_INVALID_ARGUMENT : EVENER_STATUS_OK, "%zu", i);
    }
    cr_expect_eq(evener_details_check(NULL, &status), EVENER_STATUS_OK);
    evener_call_details older = {.size = least, .status_message = "untouched", .status_message_bytes = 7};
    cr_expect_eq(evener_details_check(&older, &status), EVENER_STATUS_OK);
    older.size--;
    cr_expect_eq(evener_details_check(&older, &status), EVENER_STATUS_INVALID_ARGUMENT);
    older.size++;
    evener_details_begin(&older, 3);
    evener_details_end(&older, &(evener_details_at_end){.address = "unix:/x", .message = "m", .message_bytes = 1});
    cr_expect_eq(older.attempts, 3);
    cr_expect_str_eq(older.peer, "unix:/x");
    cr_expect_str_eq(older.status_message, "untouched");
    cr_expect_eq(older.status_message_bytes, 7);
    evener_call_details_clear(&older);
    cr_expect_str_eq(older.peer, "");
    cr_expect_eq(older.size, least);
    evener_call_details none = {.size = least - 1, .peer = "untouched"};
    evener_call_details_clear(&none);
    cr_expect_str_eq(none.peer, "untouched");
    evener_call_details_clear(NULL);
}

static void peer_is(const char *address, const char *expected)
{
    char peer[64];
    cr_expect_eq(evener_details_peer(address, peer, sizeof peer), strlen(expected));
    cr_expect_str_eq(peer, expected);
}

/* F8: one spelling of a peer everywhere. */
Test(details, a_peer_is_spelt_like_its_address)
{
    peer_is("127.0.0.1:80", "ipv4:127.0.0.1:80");
    peer_is("[fe80::1%eth0]:80", "ipv6:[fe80::1%eth0]:80");
    peer_is("unix:/run/x", "unix:/run/x");
    peer_is("unix-abstract:x", "unix-abstract:x");
    peer_is("vsock:2:80", "vsock:2:80");
}

/* ---- the object pool ---- */

/* An object is as large as it was asked for, whatever was given back before. */
Test(object_pool, an_object_of_a_smaller_class_is_not_used)
{
    for (size_t bytes = 1; bytes <= EVENER_POOL_BYTES_MAX; bytes += bytes < 1000 ? 1 : 97) {
        bool is_new;
        void *smaller = evener_pool_take(bytes, &is_new);
        evener_pool_give_back(smaller, bytes);
        char *object = evener_pool_take(bytes + 1, &is_new);
        cr_assert_geq(malloc_usable_size(object), bytes + 1, "%zu", bytes);
        memset(object, 0xff, bytes + 1);
        evener_pool_give_back(object, bytes + 1);
    }
}

Test(object_pool, new_memory_is_zeroed_and_aligned)
{
    bool is_new;
    char *object = evener_pool_take(1000, &is_new);
    cr_assert_not_null(object);
    cr_expect(is_new);
    cr_expect_eq((uintptr_t)object % 64, 0);
    for (size_t i = 0; i < 1000; i++) {
        cr_assert_eq(object[i], 0);
    }
    evener_pool_give_back(object, 1000);
}

Test(object_pool, what_is_given_back_is_used_again)
{
    bool is_new;
    void *first = evener_pool_take(700, &is_new);
    evener_pool_give_back(first, 700);
    void *second = evener_pool_take(600, &is_new); /* of the same class */
    cr_expect_eq(first, second);
    cr_expect_not(is_new);
    evener_pool_give_back(second, 600);
}

Test(object_pool, too_large_an_object_is_not_kept)
{
    bool is_new;
    void *object = evener_pool_take(EVENER_POOL_BYTES_MAX + 1, &is_new);
    cr_expect(is_new);
    evener_pool_give_back(object, EVENER_POOL_BYTES_MAX + 1);
    object = evener_pool_take(EVENER_POOL_BYTES_MAX + 1, &is_new);
    cr_expect(is_new);
    evener_pool_give_back(object, EVENER_POOL_BYTES_MAX + 1);
}

static void *give_back(void *object)
{
    evener_pool_give_back(object, 300);
    return NULL;
}

Test(object_pool, memory_goes_round_between_threads)
{
    bool is_new;
    void *object = evener_pool_take(300, &is_new);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, give_back, object), 0);
    pthread_join(thread, NULL);
    void *again = evener_pool_take(300, &is_new);
    cr_expect_eq(again, object);
    cr_expect_not(is_new);
    evener_pool_give_back(again, 300);
}

typedef struct lane_thread {
    pthread_t thread;
    pthread_barrier_t *all_have_lanes;
    unsigned new_objects;
} lane_thread;

static void *take_and_give_back(void *arg)
{
    lane_thread *self = arg;
    bool is_new;
    (void)evener_lane_current();
    pthread_barrier_wait(self->all_have_lanes);
    for (int i = 0; i < 1000; i++) {
        void *object = evener_pool_take(5000, &is_new);
        self->new_objects += is_new;
        evener_pool_give_back(object, 5000);
    }
    return NULL;
}

/* Otherwise the pool grows with every call of a program that has more threads than there are lanes. */
Test(object_pool, threads_beyond_the_lanes_use_memory_again, .timeout = 60)
{
    enum { THREADS = EVENER_LANES + 8 };
    static lane_thread threads[THREADS];
    pthread_barrier_t all_have_lanes;
    unsigned new_objects = 0;
    pthread_barrier_init(&all_have_lanes, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        threads[i].all_have_lanes = &all_have_lanes;
        cr_assert_eq(pthread_create(&threads[i].thread, NULL, take_and_give_back, &threads[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
        new_objects += threads[i].new_objects;
    }
    /* Each lane may hold back what all threads had in use at some time. */
    cr_expect_leq(new_objects, THREADS * THREADS, "%u", new_objects);
    pthread_barrier_destroy(&all_have_lanes);
}

/* ---- metadata that came later ---- */

Test(late_metadata_parts, follow_those_of_the_call)
{
    static const evener_metadata own[] = {{"a", "1", 1}, {"b", "22", 2}};
    evener_status status;
    evener_late *late = evener_late_create();
    evener_late_metadata *first = evener_late_add_handle(late, "/m");
    evener_late_metadata *second = evener_late_add_handle(late, "/m");
    cr_assert_eq(evener_late_metadata_add(first, "c", "333", &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_late_metadata_add_bytes(second, "d-bin", "\0", 1, &status), EVENER_STATUS_OK);
    evener_late_metadata_answer(second, NULL);
    cr_expect_not(evener_late_is_ready(late));
    evener_late_metadata_answer(first, NULL);
    cr_expect(evener_late_is_ready(late));
    cr_expect(evener_late_wait(late, 0));
    const evener_metadata *all = own;
    size_t count = 2;
    cr_assert_eq(evener_late_take(late, &all, &count, &status), EVENER_STATUS_OK);
    cr_assert_eq(count, 4);
    static const char *const keys[] = {"a", "b", "d-bin", "c"};
    static const size_t sizes[] = {1, 2, 1, 3};
    for (size_t i = 0; i < 4; i++) {
        cr_expect_str_eq(all[i].key, keys[i]);
        cr_expect_eq(all[i].value_bytes, sizes[i]);
    }
    cr_expect_str_eq(all[1].value, "22");
    cr_expect_str_eq(all[3].value, "333");
    evener_late_unref(late);
}

Test(late_metadata_parts, none_change_nothing_and_a_failure_is_reported)
{
    static const evener_metadata own[] = {{"a", "1", 1}};
    const evener_metadata *all = own;
    size_t count = 1;
    evener_status status, failure;
    evener_late *late = evener_late_create();
    evener_late_metadata_answer(evener_late_add_handle(late, "/m"), NULL);
    cr_assert_eq(evener_late_take(late, &all, &count, &status), EVENER_STATUS_OK);
    cr_expect_eq(all, own);
    cr_expect_eq(count, 1);
    evener_late_unref(late);

    late = evener_late_create();
    evener_status_set(&failure, EVENER_STATUS_UNAUTHENTICATED, "no token");
    evener_late_metadata *second = evener_late_add_handle(late, "/m");
    evener_late_metadata_answer(evener_late_add_handle(late, "/m"), &failure);
    cr_expect(evener_late_is_ready(late), "it does not wait for the others");
    cr_assert_eq(evener_late_metadata_add(second, "b", "too late", &status), EVENER_STATUS_OK);
    evener_late_metadata_answer(second, NULL);
    cr_expect_eq(evener_late_take(late, &all, &count, &status), EVENER_STATUS_UNAUTHENTICATED);
    cr_expect_str_eq(status.message, "no token");
    cr_expect_eq(count, 1);
    evener_late_unref(late);
}

/* ---- the backoff of blocking callers ---- */

static uint64_t slept_ns;
static unsigned interruptions;

/* A signal comes first, as often as is set. */
int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    if (interruptions > 0) {
        interruptions--;
        *left = *wanted;
        left->tv_nsec--;
        slept_ns++;
        errno = EINTR;
        return -1;
    }
    slept_ns += (uint64_t)wanted->tv_sec * EVENER_NS_PER_S + (uint64_t)wanted->tv_nsec;
    return 0;
}

Test(retry_sleep, ends_with_the_delay_or_the_deadline)
{
    fixture *f = fixture_create(NULL);
    virtual_loop_advance_ms(f->loop, 1000);
    const uint64_t now_ns = virtual_loop_now_ns(f->loop), s = EVENER_NS_PER_S;
    const struct {
        uint64_t deadline_ns, delay_ns, slept_ns;
        bool in_time;
    } rows[] = {{UINT64_MAX, 2 * s + 7, 2 * s + 7, true},
                {now_ns + 3 * s, 3 * s - 1, 3 * s - 1, true},
                {now_ns + 3 * s, 3 * s, 3 * s, false},
                {now_ns + 3 * s, 4 * s, 3 * s, false},
                {now_ns + 1, 0, 0, true},
                {now_ns, 0, 0, false},
                {now_ns - 1, 5 * s, 0, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const evener_rpc rpc = {.channel = f->channel, .deadline_ns = rows[i].deadline_ns};
        for (unsigned signals = 0; signals < 3; signals++) {
            slept_ns = 0;
            interruptions = rows[i].slept_ns > 0 ? signals : 0;
            cr_expect_eq(evener_retry_sleep(&rpc, rows[i].delay_ns), rows[i].in_time, "%zu", i);
            cr_expect_eq(slept_ns, rows[i].slept_ns, "%zu: %lu", i, (unsigned long)slept_ns);
        }
    }
    fixture_destroy(f);
}
