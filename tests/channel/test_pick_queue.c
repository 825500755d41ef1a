/* Waiting picks: asynchronous ones on the virtual loop, blocking ones on a real runtime. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lb/channel/channel_internal.h"
#include "tests/support/channel_fixture.h"

#define A "127.0.0.1:1"

typedef struct wait {
    evener_pick_request request;
    evener_pick pick;
    int order; /* 0: not called back */
    evener_status_code code;
    evener_status status;
} wait;

static int order;

static void called_back(void *arg, evener_status_code code, const evener_status *status)
{
    wait *w = arg;
    cr_assert_eq(w->order, 0, "exactly once");
    w->order = ++order;
    w->code = code;
    w->status = *status;
}

static evener_pick_outcome start(fixture *f, wait *w, const evener_pick_args *args)
{
    memset(w, 0, sizeof *w);
    w->request =
        (evener_pick_request){.size = sizeof(evener_pick_request), .pick = &w->pick, .callback = called_back, .arg = w};
    return evener_channel_pick_async(f->channel, args, &w->request, &w->status);
}

Test(pick_queue, waiting_picks_are_served_in_order)
{
    fixture *f = fixture_create(NULL);
    wait waits[100];
    order = 0;
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(start(f, &waits[i], NULL), EVENER_PICK_QUEUE);
    }
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(waits[0].order, 0);
    fixture_push(f, A);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(waits[i].order, i + 1);
        cr_assert_eq(waits[i].code, EVENER_STATUS_OK);
        evener_pick_done(&waits[i].pick, NULL);
    }
    cr_assert_eq(start(f, &waits[0], NULL), EVENER_PICK_COMPLETE, "at once if it can");
    evener_pick_done(&waits[0].pick, NULL);
    fixture_destroy(f);
}

Test(pick_queue, deadline_reports_the_last_error)
{
    fixture *f = fixture_create(NULL);
    fake_transport_set_default(f->transport, FAKE_REFUSE, 0);
    fixture_push(f, A);
    wait soon;
    wait late;
    const evener_pick_args args = {.size = sizeof args, .wait_for_ready = true, .timeout_ms = 500};
    const evener_pick_args later = {.size = sizeof later, .wait_for_ready = true, .timeout_ms = 900000};
    cr_assert_eq(start(f, &late, &later), EVENER_PICK_QUEUE);
    cr_assert_eq(start(f, &soon, &args), EVENER_PICK_QUEUE);
    virtual_loop_advance_ms(f->loop, 499);
    cr_assert_eq(soon.order, 0);
    virtual_loop_advance_ms(f->loop, 1);
    cr_assert_neq(soon.order, 0);
    cr_assert_eq(soon.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert_not_null(strstr(soon.status.message, "connection refused"), "%s", soon.status.message);
    cr_assert_eq(late.order, 0);
    fake_transport_set_default(f->transport, FAKE_ACCEPT, 0);
    virtual_loop_advance_ms(f->loop, 5000);
    cr_assert_eq(late.code, EVENER_STATUS_OK);
    evener_pick_done(&late.pick, NULL);
    fixture_destroy(f);
}

/* grpc-java 10749: the message names what the call waited for. */
Test(pick_queue, deadline_names_the_backend_that_it_waits_for)
{
    fixture *f = fixture_create(NULL);
    fake_transport_set_default(f->transport, FAKE_ACCEPT, 3 * EVENER_NS_PER_S);
    fixture_push(f, A);
    wait soon;
    const evener_pick_args args = {.size = sizeof args, .timeout_ms = 1250};
    cr_assert_eq(start(f, &soon, &args), EVENER_PICK_QUEUE);
    virtual_loop_advance_ms(f->loop, 1250);
    cr_assert_eq(soon.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect(strncmp(soon.status.message, "deadline exceeded after 1.250 s: waiting for a backend of \"", 57) == 0,
              "%s", soon.status.message);
    cr_expect_not_null(strstr(soon.status.message, ": connecting to " A), "%s", soon.status.message);
    virtual_loop_advance_ms(f->loop, 3000); /* no attempt is in flight any more */
    fake_transport_set_default(f->transport, FAKE_REFUSE, 0);
    fixture_destroy(f);
}

/* grpc: doc/wait-for-ready.md */
Test(pick_queue, failing_ends_calls_that_do_not_wait_for_ready)
{
    fixture *f = fixture_create(NULL);
    fake_transport_set_default(f->transport, FAKE_REFUSE, 10 * EVENER_NS_PER_MS);
    fixture_push(f, A);
    wait plain;
    wait patient;
    const evener_pick_args args = {.size = sizeof args, .wait_for_ready = true};
    cr_assert_eq(start(f, &plain, NULL), EVENER_PICK_QUEUE);
    cr_assert_eq(start(f, &patient, &args), EVENER_PICK_QUEUE);
    virtual_loop_advance_ms(f->loop, 11);
    cr_assert_eq(plain.code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_not_null(strstr(plain.status.message, "connection refused"), "%s", plain.status.message);
    cr_assert_eq(patient.order, 0);
    fake_transport_set_default(f->transport, FAKE_ACCEPT, 0);
    virtual_loop_advance_ms(f->loop, 1300);
    cr_assert_neq(patient.order, 0);
    cr_assert_eq(patient.code, EVENER_STATUS_OK);
    evener_pick_done(&patient.pick, NULL);
    fixture_destroy(f);
}

Test(pick_queue, cancel)
{
    fixture *f = fixture_create(NULL);
    wait first;
    wait second;
    cr_assert_eq(start(f, &first, NULL), EVENER_PICK_QUEUE);
    cr_assert_eq(start(f, &second, NULL), EVENER_PICK_QUEUE);
    evener_pick_request_cancel(&first.request);
    cr_assert_eq(first.order, 0, "never from inside");
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(first.code, EVENER_STATUS_CANCELLED);
    cr_assert_eq(second.order, 0);
    fixture_push(f, A);
    cr_assert_eq(second.code, EVENER_STATUS_OK);
    evener_pick_done(&second.pick, NULL);
    fixture_destroy(f);
}

Test(pick_queue, cancelling_twice_is_cancelling_once)
{
    fixture *f = fixture_create(NULL);
    wait first, second, third;
    cr_assert_eq(start(f, &first, NULL), EVENER_PICK_QUEUE);
    cr_assert_eq(start(f, &second, NULL), EVENER_PICK_QUEUE);
    cr_assert_eq(start(f, &third, NULL), EVENER_PICK_QUEUE);
    for (int i = 0; i < 3; i++) {
        evener_pick_request_cancel(&second.request);
        cr_assert_eq(f->channel->queue.count, 2);
    }
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(second.code, EVENER_STATUS_CANCELLED);
    cr_assert_str_eq(second.status.message, "cancelled while waiting for a backend");
    cr_assert_eq(f->channel->queue.count, 2);
    fixture_push(f, A);
    cr_assert(first.order > second.order && third.order == first.order + 1);
    cr_assert_eq(first.code, EVENER_STATUS_OK);
    cr_assert_eq(third.code, EVENER_STATUS_OK);
    evener_pick_done(&first.pick, NULL);
    evener_pick_done(&third.pick, NULL);
    fixture_destroy(f);
}

#define OTHERS 80

static wait others[OTHERS];
static size_t cancelled_from, cancelled_to;

static void cancel_others(void *arg, evener_status_code code, const evener_status *status)
{
    called_back(arg, code, status);
    for (size_t i = cancelled_from; i < cancelled_to; i++) {
        evener_pick_request_cancel(&others[i].request);
    }
}

/* Both deadlines pass at once: the callback of the first pick cancels the second before its timer fires. */
Test(pick_queue, a_pick_that_is_cancelled_at_its_deadline_ends_once)
{
    fixture *f = fixture_create(NULL);
    const evener_pick_args args = {.size = sizeof args, .timeout_ms = 100};
    cancelled_from = 1, cancelled_to = 2;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(start(f, &others[i], &args), EVENER_PICK_QUEUE);
    }
    others[0].request.callback = cancel_others;
    virtual_loop_advance_ms(f->loop, 100);
    cr_assert_eq(others[0].code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(others[1].code, EVENER_STATUS_CANCELLED);
    cr_assert_eq(others[2].code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(others[1].order, 3, "by the task");
    cr_assert_eq(f->channel->queue.count, 0);
    fixture_destroy(f);
}

/* The task serves many in batches. The callback of one that it serves cancels some that it has not come to. */
Test(pick_queue, a_served_pick_may_cancel_those_behind_it)
{
    static const size_t ranges[][2] = {{1, 2}, {31, 33}, {32, 33}, {32, 40}, {33, 34}, {64, 65}, {79, 80}, {32, 80}};
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
        fixture *f = fixture_create(NULL);
        order = 0;
        cancelled_from = ranges[r][0], cancelled_to = ranges[r][1];
        for (size_t i = 0; i < OTHERS; i++) {
            cr_assert_eq(start(f, &others[i], NULL), EVENER_PICK_QUEUE);
        }
        others[0].request.callback = cancel_others;
        fixture_push(f, A);
        int last = 0;
        for (size_t i = 0; i < OTHERS; i++) {
            const bool too_late = i < 32; /* those of the first batch have their backend */
            if (i >= cancelled_from && i < cancelled_to && !too_late) {
                cr_assert_eq(others[i].code, EVENER_STATUS_CANCELLED, "%zu of %zu", i, r);
                continue;
            }
            cr_assert_eq(others[i].code, EVENER_STATUS_OK, "%zu of %zu", i, r);
            cr_assert_gt(others[i].order, last, "%zu of %zu", i, r);
            last = others[i].order;
            evener_pick_done(&others[i].pick, NULL);
        }
        cr_assert_eq(order, OTHERS);
        cr_assert_eq(f->channel->queue.count, 0);
        fixture_destroy(f);
    }
}

/* The task starts timers in batches. One that is cancelled before has none, and those behind it have theirs. */
Test(pick_queue, picks_cancelled_before_their_timer_is_set_leave_the_others_theirs)
{
    static const size_t ranges[][2] = {{0, 1}, {1, 2}, {0, 33}, {31, 34}, {79, 80}, {0, 80}};
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
        fixture *f = fixture_create(NULL);
        const evener_pick_args args = {.size = sizeof args, .timeout_ms = 100};
        for (size_t i = 0; i < OTHERS; i++) {
            cr_assert_eq(start(f, &others[i], &args), EVENER_PICK_QUEUE);
        }
        for (size_t i = ranges[r][0]; i < ranges[r][1]; i++) {
            evener_pick_request_cancel(&others[i].request);
        }
        virtual_loop_advance_ms(f->loop, 99);
        for (size_t i = 0; i < OTHERS; i++) {
            const bool was_cancelled = i >= ranges[r][0] && i < ranges[r][1];
            cr_assert_eq(others[i].order != 0, was_cancelled, "%zu of %zu", i, r);
        }
        virtual_loop_advance_ms(f->loop, 1);
        for (size_t i = 0; i < OTHERS; i++) {
            const bool was_cancelled = i >= ranges[r][0] && i < ranges[r][1];
            cr_assert_eq(others[i].code, was_cancelled ? EVENER_STATUS_CANCELLED : EVENER_STATUS_DEADLINE_EXCEEDED,
                         "%zu of %zu", i, r);
        }
        cr_assert_eq(f->channel->queue.count, 0);
        fixture_destroy(f);
    }
}

Test(pick_queue, closing_ends_all_that_wait)
{
    fixture *f = fixture_create(NULL);
    wait w;
    const evener_pick_args args = {.size = sizeof args, .wait_for_ready = true};
    cr_assert_eq(start(f, &w, &args), EVENER_PICK_QUEUE);
    evener_channel_close(f->channel);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(w.code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_str_eq(w.status.message, "channel closed");
    fixture_destroy(f);
}

Test(pick_queue, is_bounded)
{
    fixture *f = fixture_create(&(evener_channel_options){.queued_picks_max = 2});
    wait waits[3];
    cr_assert_eq(start(f, &waits[0], NULL), EVENER_PICK_QUEUE);
    cr_assert_eq(start(f, &waits[1], NULL), EVENER_PICK_QUEUE);
    cr_assert_eq(start(f, &waits[2], NULL), EVENER_PICK_DROP);
    cr_assert_eq(waits[2].status.code, EVENER_STATUS_RESOURCE_EXHAUSTED);
    evener_channel_close(f->channel);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(waits[1].code, EVENER_STATUS_UNAVAILABLE);
    fixture_destroy(f);
}

/* Nothing else happens meanwhile: the channel is CONNECTING before and after. */
Test(pick_queue, a_deadline_ends_a_pick_without_any_other_event)
{
    fixture *f = fixture_create(NULL);
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    fixture_push(f, A);
    fixture_connect(f);
    wait w;
    const evener_pick_args args = {.size = sizeof args, .timeout_ms = 100};
    cr_assert_eq(start(f, &w, &args), EVENER_PICK_QUEUE);
    virtual_loop_advance_ms(f->loop, 99);
    cr_assert_eq(w.order, 0);
    virtual_loop_advance_ms(f->loop, 1);
    cr_assert_neq(w.order, 0);
    cr_assert_eq(w.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    fixture_destroy(f);
}

/* However a pick ends, it frees its place in the queue, and the statistics count it no more. */
Test(pick_queue, a_pick_that_ended_does_not_count_as_waiting)
{
    fixture *f = fixture_create(&(evener_channel_options){.queued_picks_max = 1});
    fake_transport_set_default(f->transport, FAKE_SILENT, 0);
    fixture_push(f, A);
    fixture_connect(f);
    wait timed_out, cancelled, served;
    const evener_pick_args args = {.size = sizeof args, .timeout_ms = 100};
    cr_assert_eq(start(f, &timed_out, &args), EVENER_PICK_QUEUE);
    cr_assert_eq(f->channel->queue.count, 1);
    virtual_loop_advance_ms(f->loop, 100);
    cr_assert_eq(timed_out.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(f->channel->queue.count, 0);
    cr_assert_eq(start(f, &cancelled, NULL), EVENER_PICK_QUEUE, "the place is free again");
    evener_pick_request_cancel(&cancelled.request);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(cancelled.code, EVENER_STATUS_CANCELLED);
    cr_assert_eq(f->channel->queue.count, 0);
    cr_assert_eq(start(f, &served, NULL), EVENER_PICK_QUEUE, "the place is free again");
    cr_assert(fake_transport_ready(f->transport, A));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(served.code, EVENER_STATUS_OK);
    cr_assert_eq(f->channel->queue.count, 0);
    evener_pick_done(&served.pick, NULL);
    fixture_destroy(f);
}

Test(pick_queue, blocking_on_a_callers_loop_is_refused)
{
    fixture *f = fixture_create(NULL);
    evener_pick pick;
    evener_status status;
    cr_assert_eq(evener_channel_pick(f->channel, NULL, &pick, &status), EVENER_STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(strstr(status.message, "evener_channel_pick_async"));
    cr_assert_eq(evener_channel_wait_ready(f->channel, 1, &status), EVENER_STATUS_FAILED_PRECONDITION);
    virtual_loop_run_until_idle(f->loop);
    fixture_destroy(f);
}

/* ---- blocking, in real time ---- */

typedef struct real {
    evener_runtime *runtime;
    fake_transport *transport;
    evener_manual_resolver *resolver;
    evener_channel *channel;
} real;

static void real_open(real *r)
{
    evener_status status;
    cr_assert_eq(evener_runtime_create(NULL, &r->runtime, &status), EVENER_STATUS_OK);
    r->transport = fake_transport_create(evener_runtime_loop(r->runtime), true);
    cr_assert_eq(evener_manual_resolver_create("orders", &r->resolver, &status), EVENER_STATUS_OK);
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(r->resolver)};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = r->runtime,
                                            .transport = fake_transport_transport(r->transport),
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .policy = "round_robin"};
    cr_assert_eq(evener_channel_create("orders:///x", &options, &r->channel, &status), EVENER_STATUS_OK, "%s",
                 status.message);
}

static void real_close(real *r)
{
    evener_channel_unref(r->channel);
    fake_transport_destroy(r->transport);
    evener_manual_resolver_destroy(r->resolver);
    evener_runtime_unref(r->runtime);
}

typedef struct caller {
    real *r;
    pthread_t thread;
    evener_status_code code;
    evener_status status;
    uint64_t timeout_ms;
} caller;

static void *call(void *arg)
{
    caller *c = arg;
    evener_pick pick;
    const evener_pick_args args = {.size = sizeof args, .timeout_ms = c->timeout_ms};
    c->code = evener_channel_pick(c->r->channel, &args, &pick, &c->status);
    if (c->code == EVENER_STATUS_OK) {
        evener_pick_done(&pick, NULL);
    }
    return NULL;
}

static void wait_for_queue(real *r, uint32_t count)
{
    while (__atomic_load_n(&r->channel->queue.count, __ATOMIC_RELAXED) < count) {
        sched_yield();
    }
}

Test(pick_queue, blocking_picks_wait_for_a_backend)
{
    real r;
    real_open(&r);
    caller callers[8];
    for (int i = 0; i < 8; i++) {
        callers[i] = (caller){.r = &r, .timeout_ms = i % 2 == 0 ? 0 : 60000};
        pthread_create(&callers[i].thread, NULL, call, &callers[i]);
    }
    wait_for_queue(&r, 8);
    evener_manual_resolver_set(r.resolver, A, NULL, NULL);
    for (int i = 0; i < 8; i++) {
        pthread_join(callers[i].thread, NULL);
        cr_assert_eq(callers[i].code, EVENER_STATUS_OK, "%s", callers[i].status.message);
    }
    cr_assert_eq(evener_channel_wait_ready(r.channel, 0, NULL), EVENER_STATUS_OK);
    real_close(&r);
}

Test(pick_queue, blocking_picks_end_with_the_deadline_or_the_channel)
{
    real r;
    real_open(&r);
    caller short_one = {.r = &r, .timeout_ms = 20};
    caller endless = {.r = &r};
    pthread_create(&endless.thread, NULL, call, &endless);
    pthread_create(&short_one.thread, NULL, call, &short_one);
    pthread_join(short_one.thread, NULL);
    cr_assert_eq(short_one.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(evener_channel_wait_ready(r.channel, 5, NULL), EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(evener_channel_wait_for_state_change(r.channel, EVENER_CONNECTING, 5), EVENER_CONNECTING);
    wait_for_queue(&r, 1);
    evener_channel_close(r.channel);
    pthread_join(endless.thread, NULL);
    cr_assert_eq(endless.code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_str_eq(endless.status.message, "channel closed");
    real_close(&r);
}

typedef struct ready_waiter {
    real *r;
    pthread_t thread;
    uint32_t done; /* atomic */
    evener_status_code code;
} ready_waiter;

static void *wait_for_two(void *arg)
{
    ready_waiter *w = arg;
    w->code = evener_channel_wait_ready_backends(w->r->channel, 2, 0, NULL);
    __atomic_store_n(&w->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* The demo's calls came twice from one backend: both were READY by their statistics, the picker still knew one. */
Test(pick_queue, wait_ready_backends_waits_for_a_picker_that_knows_them)
{
    for (int round = 0; round < 20; round++) {
        real r;
        real_open(&r);
        ready_waiter waiter = {.r = &r};
        pthread_create(&waiter.thread, NULL, wait_for_two, &waiter);
        evener_manual_resolver_set(r.resolver, A, NULL, NULL);
        evener_status status;
        cr_assert_eq(evener_channel_wait_ready_backends(r.channel, 0, 0, &status), EVENER_STATUS_OK);
        cr_assert_eq(evener_channel_wait_ready_backends(r.channel, 2, 5, &status), EVENER_STATUS_DEADLINE_EXCEEDED);
        cr_assert(strstr(status.message, "is READY with 1 READY backends of 2 after 5 ms") != NULL, "%s",
                  status.message);
        cr_assert_not(__atomic_load_n(&waiter.done, __ATOMIC_ACQUIRE));
        evener_manual_resolver_set(r.resolver, A ",127.0.0.1:2", NULL, NULL);
        pthread_join(waiter.thread, NULL);
        cr_assert_eq(waiter.code, EVENER_STATUS_OK);
        const evener_subchannel *last = NULL;
        for (int i = 0; i < 6; i++) {
            evener_pick pick;
            cr_assert_eq(evener_channel_pick(r.channel, NULL, &pick, NULL), EVENER_STATUS_OK);
            cr_assert_neq(pick.subchannel, last, "round %d, pick %d", round, i);
            last = pick.subchannel;
            evener_pick_done(&pick, NULL);
        }
        evener_manual_resolver_set(r.resolver, A, NULL, NULL);
        while (evener_channel_wait_ready_backends(r.channel, 2, 1, NULL) == EVENER_STATUS_OK) {
            sched_yield();
        }
        evener_channel_close(r.channel);
        cr_assert_eq(evener_channel_wait_ready_backends(r.channel, 2, 0, &status), EVENER_STATUS_UNAVAILABLE);
        real_close(&r);
    }
}

#define MANY 1001

typedef struct counted_waiter {
    evener_channel *channel;
    evener_status_code code;
    evener_status status;
} counted_waiter;

static void *wait_for_many(void *arg)
{
    counted_waiter *w = arg;
    w->code = evener_channel_wait_ready_backends(w->channel, MANY, 1, &w->status);
    return NULL;
}

/* Wait on another thread, as the test's is the control thread. The virtual loop stands still meanwhile. */
static evener_status_code wait_on_a_thread(counted_waiter *w)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, wait_for_many, w), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    return w->code;
}

/* From 1,000 READY backends on, a further one is in a picker only a millisecond after it is READY: until then the picker
 * in force counts. */
Test(pick_queue, wait_ready_backends_counts_those_of_the_picker_in_force)
{
    static char list[MANY * 24];
    for (size_t i = 0, at = 0; i < MANY; i++) {
        at += (size_t)snprintf(list + at, sizeof list - at, "%s10.0.%zu.%zu:1", i > 0 ? "," : "", i / 256, i % 256);
    }
    fixture *f = fixture_create(&(evener_channel_options){.policy = "round_robin"});
    fake_transport_set(f->transport, "10.0.0.0:1", FAKE_SILENT, 0);
    fixture_push(f, list);
    fixture_connect(f);
    virtual_loop_advance_ms(f->loop, 10);
    f->channel->hot.caller_drives_loop = false; /* another thread may wait */
    counted_waiter w = {.channel = f->channel};
    cr_assert_eq(wait_on_a_thread(&w), EVENER_STATUS_DEADLINE_EXCEEDED, "%s", w.status.message);
    cr_assert_not_null(strstr(w.status.message, "with 1000 READY backends of 1001"), "%s", w.status.message);
    cr_assert(fake_transport_ready(f->transport, "10.0.0.0:1"));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(__atomic_load_n(&f->channel->pool.ready_count, __ATOMIC_RELAXED), MANY);
    cr_assert_eq(wait_on_a_thread(&w), EVENER_STATUS_DEADLINE_EXCEEDED, "no picker knows the last one yet: %s",
                 w.status.message);
    cr_assert_not_null(strstr(w.status.message, "with 1000 READY backends of 1001"), "%s", w.status.message);
    virtual_loop_advance_ms(f->loop, 2);
    cr_assert_eq(wait_on_a_thread(&w), EVENER_STATUS_OK, "%s", w.status.message);
    fixture_destroy(f);
}

/* A pick that starts before the drop of a connection is known does not wake the channel: a channel that becomes IDLE
 * while picks wait must connect again. */
Test(pick_queue, a_channel_that_becomes_idle_under_waiting_picks_connects_again)
{
    fixture *f = fixture_create(&(evener_channel_options){.policy = "pick_first"});
    fixture_push(f, A);
    fixture_connect(f);
    cr_assert_str_eq(fixture_pick(f), A);
    cr_assert(fake_transport_drop(f->transport, A)); /* the loop has not run since: the channel is still READY */
    wait w;
    cr_assert_eq(start(f, &w, NULL), EVENER_PICK_QUEUE);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_READY);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_neq(w.order, 0, "the pick is served");
    cr_assert_eq(w.code, EVENER_STATUS_OK);
    evener_pick_done(&w.pick, NULL);
    fixture_destroy(f);
}
