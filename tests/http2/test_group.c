/* Connections that share their calls, turn by turn: the test is the owner and the server of each. */
#include <criterion/criterion.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http2/bare_connection.h"
#include "lb/transport/http2/group.h"

enum { HEADERS = 1, SETTINGS = 4, PING = 6, GOAWAY = 7 };
enum { END_STREAM = 1, END_HEADERS = 4 };
enum { MAX_CONCURRENT_STREAMS = 3 };
#define CALLS_MAX 8
#define MEMBERS_MAX (EVENER_HTTP2_GROUP_MAX + 2)

static bare_connection members[MEMBERS_MAX];
static unsigned member_count;
static evener_http2_call calls[CALLS_MAX];
static bool has_ended[CALLS_MAX];
static evener_status_code end_codes[CALLS_MAX];

static void on_ended(evener_transport_call *base, const evener_call_end *end)
{
    const size_t index = (size_t)((evener_http2_call *)base - calls);
    cr_assert_not(has_ended[index]);
    has_ended[index] = true;
    end_codes[index] = end->code;
}

static const evener_call_events events = {.size = sizeof events, .ended = on_ended};
static const evener_bytes request = {.data = (const uint8_t *)"hello", .length = 5};

static void nothing(void *arg)
{
    (void)arg;
}

static void set_limit(unsigned member, uint8_t streams_max)
{
    const uint8_t entry[] = {0, MAX_CONCURRENT_STREAMS, 0, 0, 0, streams_max};
    bare_connection_feed(&members[member], SETTINGS, 0, 0, entry, sizeof entry);
}

static evener_connection *member(unsigned index)
{
    return members[index].connection;
}

/* Open a connection whose server allows that many calls at once, beside the first one. */
static void open_member(uint8_t streams_max)
{
    const unsigned index = member_count++;
    bare_connection_open(&members[index], -1);
    set_limit(index, streams_max);
    member(index)->more_wanted = nothing;
    if (index > 0) {
        cr_assert(evener_http2_group_join(member(index), member(0)));
        evener_http2_group_opened(member(index));
    }
}

static void work_all(void)
{
    for (unsigned i = 0; i < member_count; i++) {
        bare_connection_work(&members[i]);
    }
}

static void begin(unsigned call)
{
    has_ended[call] = false;
    bare_connection_begin(&members[0], &calls[call], &events, &request);
}

/* End a call by its server: trailers only, with status RESOURCE_EXHAUSTED. */
static void answer(unsigned call)
{
    static const char block[] = "\x88\x0f\x10\x10"
                                "application/grpc"
                                "\0\x0b"
                                "grpc-status"
                                "\x01"
                                "8";
    for (unsigned i = 0; i < member_count; i++) {
        if (member(i) == calls[call].base.connection) {
            bare_connection_feed(&members[i], HEADERS, END_HEADERS | END_STREAM, (uint32_t)calls[call].stream_id, block,
                                 sizeof block - 1);
        }
    }
    cr_assert(has_ended[call]);
    cr_assert_eq(end_codes[call], EVENER_STATUS_RESOURCE_EXHAUSTED);
}

static bool runs_on(unsigned call, unsigned index)
{
    return calls[call].base.connection == member(index) && calls[call].phase == EVENER_HTTP2_CALL_OPEN;
}

static bool waits_on(unsigned call, unsigned index)
{
    return calls[call].base.connection == member(index) && calls[call].phase == EVENER_HTTP2_CALL_WAITING;
}

/* The references that a connection has beside its creator's; MORE_WANTED is on its way with one more. */
static uint64_t references(unsigned index)
{
    return atomic_load(&member(index)->references) - 1;
}

static bool takes_news(unsigned index)
{
    const bool is_news = (atomic_exchange(&member(index)->events, 0) & EVENER_HTTP2_EVENT_MORE_WANTED) != 0;
    if (is_news) {
        evener_http2_connection_unref(member(index)); /* as the control thread does with each event */
    }
    virtual_loop_run_until_idle(members[index].loop);
    return is_news;
}

static void open_first(void)
{
    open_member(1);
    virtual_loop_run_until_idle(members[0].loop);
    atomic_store(&member(0)->events, 0);
    atomic_store(&member(0)->references, 1); /* READY was not taken */
}

static void open_next(uint8_t streams_max)
{
    open_member(streams_max);
    const unsigned index = member_count - 1;
    virtual_loop_run_until_idle(members[index].loop);
    atomic_store(&member(index)->events, 0);
    atomic_store(&member(index)->references, 2); /* its creator's and the group's */
}

static void close_all(void)
{
    for (unsigned i = member_count; i > 0; i--) {
        struct evener_http2_group *group = evener_http2_group_of(member(i - 1));
        bare_connection_close(&members[i - 1]);
        evener_http2_group_unref(group);
    }
}

TestSuite(http2_group, .init = open_first, .fini = close_all);

Test(http2_group, a_call_that_waits_moves_to_a_member_with_room)
{
    begin(0);
    begin(1);
    cr_assert_not(evener_http2_connection_calls_wait(member(0)));
    work_all();
    cr_assert(runs_on(0, 0));
    cr_assert(waits_on(1, 0));
    cr_assert(takes_news(0), "a further connection is wanted");
    cr_assert(evener_http2_connection_calls_wait(member(0)));
    cr_assert_eq(member(0)->foreground, 2);
    work_all();
    cr_assert_not(takes_news(0), "once");
    open_next(1);
    work_all();
    cr_assert(runs_on(1, 1));
    cr_assert_not(evener_http2_connection_calls_wait(member(0)));
    cr_assert_eq(atomic_load(&member(0)->waits), 0);
    cr_expect_eq(member(0)->foreground, 1);
    cr_expect_eq(member(1)->foreground, 1);
    cr_expect_eq(atomic_load(&member(0)->assigned), 0, "one from before the group is not counted");
    cr_expect_eq(atomic_load(&member(1)->assigned), 1);
    cr_expect_eq(references(0), 1, "the group's");
    cr_expect_eq(references(1), 2, "the group's and the call's");
    /* Its deadline went with it. */
    cr_expect_eq(calls[1].timer.active, true);
    cr_expect_eq(evener_http2_next_timer_ns(&member(1)->timers), calls[1].deadline_ns);
    answer(0);
    cr_expect_eq(evener_http2_next_timer_ns(&member(0)->timers), UINT64_MAX);
    answer(1);
    cr_expect_eq(member(0)->foreground, 0);
    cr_expect_eq(member(1)->foreground, 0);
    cr_expect_eq(atomic_load(&member(1)->assigned), 0);
    cr_expect_eq(references(1), 1);
}

Test(http2_group, a_counted_call_moves_with_its_reference)
{
    open_next(1);
    begin(0);
    begin(1);
    begin(2);
    work_all();
    cr_assert(runs_on(0, 0) && runs_on(1, 1) && waits_on(2, 0));
    cr_assert(takes_news(0));
    cr_expect_eq(atomic_load(&member(0)->assigned), 2);
    cr_expect_eq(references(0), 3, "the group's and two calls'");
    answer(1); /* the group looks for calls that wait */
    cr_assert(evener_http2_has_operations(member(0)));
    work_all();
    work_all();
    cr_assert(runs_on(2, 1));
    cr_expect_eq(atomic_load(&member(0)->assigned), 1);
    cr_expect_eq(atomic_load(&member(1)->assigned), 1);
    cr_expect_eq(references(0), 2);
    cr_expect_eq(references(1), 2);
    cr_assert_not(takes_news(0));
    answer(0);
    answer(2);
    cr_expect_eq(references(0), 1);
    cr_expect_eq(references(1), 1);
}

Test(http2_group, calls_that_wait_come_before_new_ones)
{
    open_next(1);
    for (unsigned i = 0; i < 4; i++) {
        begin(i);
        work_all();
    }
    cr_assert(waits_on(2, 0) && waits_on(3, 0), "new calls join the queue of the oldest member");
    answer(1);
    begin(4); /* there is room on the second, for the call that waits longest */
    work_all();
    work_all();
    cr_assert(runs_on(2, 1) && waits_on(3, 0) && waits_on(4, 0));
    answer(0);
    work_all();
    cr_assert(runs_on(3, 0) && waits_on(4, 0), "the oldest member takes the next itself");
    answer(2);
    work_all();
    work_all();
    cr_assert(runs_on(4, 1));
    cr_assert_not(evener_http2_connection_calls_wait(member(0)));
}

Test(http2_group, the_oldest_member_with_room_is_chosen)
{
    open_next(2);
    open_next(1);
    for (unsigned i = 0; i < 4; i++) {
        begin(i);
    }
    work_all();
    cr_assert(runs_on(0, 0) && runs_on(1, 1) && runs_on(2, 1) && runs_on(3, 2));
    answer(1);
    answer(3);
    begin(4);
    begin(5);
    work_all();
    cr_assert(runs_on(4, 1) && runs_on(5, 2));
}

Test(http2_group, a_raised_limit_gives_room)
{
    open_next(1);
    for (unsigned i = 0; i < 4; i++) {
        begin(i);
    }
    work_all();
    cr_assert(waits_on(2, 0) && waits_on(3, 0));
    set_limit(1, 3);
    work_all();
    work_all();
    cr_assert(runs_on(2, 1) && runs_on(3, 1));
}

static void send_goaway(unsigned index, uint32_t last_stream)
{
    const uint8_t payload[] = {0, 0, 0, (uint8_t)last_stream, 0, 0, 0, 0};
    bare_connection_feed(&members[index], GOAWAY, 0, 0, payload, sizeof payload);
}

/* A call that waits at a member, because its socket takes nothing, makes others wait elsewhere. They look again when it
 * goes. */
Test(http2_group, a_member_that_no_call_waits_at_any_more_has_room)
{
    static char junk[4096];
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    bare_connection_open(&members[member_count++], ends[0]);
    set_limit(1, 2);
    member(1)->more_wanted = nothing;
    cr_assert(evener_http2_group_join(member(1), member(0)));
    evener_http2_group_opened(member(1));
    begin(0);
    begin(1);
    begin(2);
    work_all();
    cr_assert(runs_on(0, 0) && runs_on(1, 1) && runs_on(2, 1));
    while (write(ends[0], junk, sizeof junk) > 0 || write(ends[0], junk, 1) > 0) {
    }
    bare_connection_feed(&members[1], PING, 0, 0, "12345678", 8); /* its answer stays unsent, as what follows it */
    bare_connection_work(&members[1]);
    for (unsigned i = 1; i < 3; i++) { /* their streams count until the resets are sent */
        evener_http2_calls.call_cancel(&calls[i].base, EVENER_STATUS_CANCELLED, "given up");
    }
    bare_connection_work(&members[1]);
    begin(3);
    bare_connection_work(&members[1]);
    cr_assert(waits_on(3, 1));
    begin(4);
    bare_connection_work(&members[0]);
    cr_assert(waits_on(4, 0));
    while (read(ends[1], junk, sizeof junk) > 0) {
    }
    bare_connection_work(&members[1]);
    cr_assert(runs_on(3, 1));
    cr_assert(evener_http2_has_operations(member(0)), "it is to look for room again");
    work_all();
    cr_assert(runs_on(4, 1));
    close(ends[1]);
}

Test(http2_group, a_member_that_takes_no_calls_leaves)
{
    open_next(1);
    open_next(1);
    begin(0);
    begin(1);
    work_all();
    cr_assert(runs_on(1, 1));
    send_goaway(1, 1);
    cr_expect_eq(references(1), 2, "the call's, and that of the event");
    begin(2);
    work_all();
    cr_assert(runs_on(1, 1), "what runs goes on");
    cr_assert(runs_on(2, 2));
    begin(3);
    work_all();
    cr_assert(waits_on(3, 0));
    answer(1);
    work_all();
    cr_assert(waits_on(3, 0), "its room is nobody's");
    send_goaway(0, 1); /* the oldest too: the calls that wait there were never sent */
    cr_assert(has_ended[3]);
    cr_assert_eq(end_codes[3], EVENER_STATUS_UNAVAILABLE);
    cr_assert(runs_on(2, 2) && runs_on(0, 0));
}

Test(http2_group, after_its_end_a_call_touches_the_picked_connection_only)
{
    open_next(1);
    begin(0);
    begin(1);
    work_all();
    cr_assert(runs_on(1, 1));
    struct evener_http2_group *group = evener_http2_group_of(member(1));
    member_count--;
    bare_connection_close(&members[1]); /* the memory goes too */
    evener_http2_group_unref(group);
    cr_assert(has_ended[1]);
    uint32_t word = 0; /* its caller has not seen the end yet */
    evener_http2_calls.call_wait(&calls[1].base, &word, 0, 0);
    evener_http2_calls.call_write(&calls[1].base, &request, true);
    evener_http2_calls.call_half_close(&calls[1].base);
    evener_http2_calls.call_read(&calls[1].base);
    evener_http2_calls.call_cancel(&calls[1].base, EVENER_STATUS_CANCELLED, "too late");
    work_all();
    cr_assert(runs_on(0, 0));
}

Test(http2_group, a_blocking_call_for_another_member_wakes_its_io_thread)
{
    open_next(1);
    begin(0);
    work_all();
    evener_http2_io_thread thread = {.seat = members[1].seat};
    evener_http2_io_thread_init(&thread, member(1)->engine);
    member(1)->thread = &thread;
    atomic_store(&member(1)->owner, EVENER_HTTP2_OWNER_FREE);
    begin(1);
    cr_assert_eq(atomic_load(&member(1)->scheduled), 1);
    cr_assert_not(evener_http2_queue_is_empty(&thread.ready));
    atomic_store(&member(1)->owner, EVENER_HTTP2_OWNER_IO);
    work_all();
    cr_assert(runs_on(1, 1));
}

Test(http2_group, a_call_for_a_connection_that_has_left_goes_to_the_others)
{
    open_next(2);
    begin(0);
    work_all();
    evener_http2_group_leave(member(0)); /* before its word that it takes no calls is seen */
    evener_http2_group_leave(member(0)); /* twice does nothing more */
    begin(1);
    work_all();
    cr_assert(runs_on(1, 1));
    cr_expect_eq(references(0), 1, "of the first call");
    evener_http2_group_leave(member(1));
    begin(2);
    work_all();
    cr_assert_eq(calls[2].base.connection, member(0), "without members it is the one that was picked");
}

Test(http2_group, has_no_more_members_than_connections_are_allowed)
{
    while (member_count < EVENER_HTTP2_GROUP_MAX) {
        open_next(1);
        cr_assert_eq(references(member_count - 1), 1);
    }
    open_member(1);
    atomic_store(&member(member_count - 1)->references, 1);
    evener_http2_group_opened(member(member_count - 1));
    cr_assert_eq(references(member_count - 1), 0, "one too many");
    evener_http2_group_leave(member(0));
    evener_http2_group_opened(member(member_count - 1));
    cr_assert_eq(references(member_count - 1), 1);
}
