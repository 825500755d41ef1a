/* Limits of calls in flight, per channel and per backend: who is picked, who waits, and for how long. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#include "lb/backend/in_flight.h"
#include "lb/channel/channel_internal.h"
#include "tests/support/channel_fixture.h"

#define BACKENDS "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"
#define PICKS_MAX 32

typedef struct waiting {
    evener_pick_request request;
    evener_pick pick;
    unsigned ends;
    evener_status status;
    unsigned *order; /* counts the ends of all */
    unsigned place;
} waiting;

static void wait_ended(void *arg, evener_status_code code, const evener_status *status)
{
    waiting *w = arg;
    w->ends++;
    w->place = w->order != NULL ? ++*w->order : 0;
    evener_status_set(&w->status, code, "%s", code == EVENER_STATUS_OK ? "" : status->message);
}

static evener_pick_outcome ask_with(fixture *f, waiting *w, evener_pick_args args)
{
    unsigned *order = w->order;
    *w = (waiting){.order = order};
    w->request = (evener_pick_request){.size = sizeof w->request, .pick = &w->pick, .callback = wait_ended, .arg = w};
    args.size = sizeof args;
    const evener_pick_outcome outcome = evener_channel_pick_async(f->channel, &args, &w->request, &w->status);
    virtual_loop_run_until_idle(f->loop);
    return outcome;
}

static evener_pick_outcome ask(fixture *f, waiting *w, uint64_t timeout_ms)
{
    return ask_with(f, w, (evener_pick_args){.timeout_ms = timeout_ms});
}

static void end(fixture *f, evener_pick *pick)
{
    evener_pick_done(pick, NULL);
    virtual_loop_run_until_idle(f->loop);
}

static fixture *connected(evener_channel_options options)
{
    fixture *f = fixture_create(&options);
    fixture_push(f, BACKENDS);
    fixture_connect(f);
    return f;
}

static evener_channel_stats stats_of(fixture *f)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    evener_status status;
    cr_assert_eq(evener_channel_get_stats(f->channel, &stats, &status), EVENER_STATUS_OK);
    evener_channel_stats found = stats;
    evener_channel_stats_clear(&stats);
    found.subchannels = NULL;
    return found;
}

/* Every policy fills its backends and then picks none. */
Test(limits, a_full_backend_is_not_picked)
{
    static const char *const policies[] = {"round_robin",   "random",          "p2c_ewma", "weighted_round_robin",
                                           "least_request", "weighted_random", "ring_hash"};
    for (size_t p = 0; p < sizeof policies / sizeof *policies; p++) {
        fixture *f = connected((evener_channel_options){
            .policy = policies[p], .backend_calls_in_flight_max = 2, .calls_waiting_max = EVENER_NO_CALLS_WAITING});
        evener_pick picks[PICKS_MAX];
        size_t count = 0;
        waiting w = {0};
        for (uint64_t i = 1; i < 64; i++) { /* ring_hash connects a backend with its first pick */
            const evener_pick_args args = {.size = sizeof args, .hash = i << 58, .has_hash = true};
            evener_status status;
            if (evener_channel_try_pick(f->channel, &args, &w.pick, &status) == EVENER_PICK_COMPLETE) {
                evener_pick_done(&w.pick, NULL);
            }
            virtual_loop_run_until_idle(f->loop);
        }
        while (count < 6 && ask_with(f, &w, (evener_pick_args){.hash = 7, .has_hash = true}) == EVENER_PICK_COMPLETE) {
            picks[count++] = w.pick;
        }
        cr_assert_eq(count, 6, "%s: %zu picks", policies[p], count);
        for (unsigned i = 1; i <= 3; i++) {
            char address[] = "127.0.0.1:0";
            address[10] = (char)('0' + i);
            cr_expect_eq(fixture_stats(f, address).in_flight, 2, "%s: %s", policies[p], address);
        }
        cr_expect_eq(ask(f, &w, 0), EVENER_PICK_DROP, "%s", policies[p]);
        cr_expect_eq(w.status.code, EVENER_STATUS_UNAVAILABLE);
        cr_expect_not_null(strstr(w.status.message, "6 calls in flight"), "%s", w.status.message);
        cr_expect_not_null(strstr(w.status.message, "raise the limits"), "%s", w.status.message);
        evener_pick_done(&picks[3], NULL);
        const char *freed = evener_subchannel_address_text(picks[3].subchannel);
        cr_expect_eq(ask(f, &w, 0), EVENER_PICK_COMPLETE, "%s", policies[p]);
        cr_expect_str_eq(evener_subchannel_address_text(w.pick.subchannel), freed, "%s", policies[p]);
        picks[3] = w.pick;
        for (size_t i = 0; i < count; i++) {
            evener_pick_done(&picks[i], NULL);
        }
        cr_expect_eq(stats_of(f).limited_calls_in_flight, 0);
        fixture_destroy(f);
    }
}

/* Without connections that count their picks, picks usually take the shortest path. */
Test(limits, limits_hold_on_every_path)
{
    fixture *f = fixture_create_uncounted(&(evener_channel_options){.policy = "round_robin", .calls_in_flight_max = 2});
    fixture_push(f, BACKENDS);
    fixture_connect(f);
    evener_pick picks[3];
    evener_status status;
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &picks[i], &status), EVENER_PICK_COMPLETE);
    }
    cr_expect_eq(evener_channel_try_pick(f->channel, NULL, &picks[2], &status), EVENER_PICK_QUEUE);
    evener_status refusal;
    cr_expect_eq(evener_channel_pick(f->channel, NULL, &picks[2], &refusal), EVENER_STATUS_UNAVAILABLE,
                 "the thread that drives the loop cannot wait");
    const evener_done_info failed = {.size = sizeof failed, .code = EVENER_STATUS_INTERNAL};
    evener_pick_done(&picks[0], &failed);
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &picks[2], &status), EVENER_PICK_COMPLETE);
    evener_pick_done(&picks[1], NULL);
    evener_pick_done(&picks[2], NULL);
    fixture_destroy(f);
}

/* Calls wait in the order of their arrival, and a new one does not overtake them. */
Test(limits, calls_wait_in_order)
{
    fixture *f = connected((evener_channel_options){.policy = "round_robin", .calls_in_flight_max = 1});
    unsigned order = 0;
    waiting first = {0};
    waiting w[3] = {{.order = &order}, {.order = &order}, {.order = &order}};
    cr_assert_eq(ask(f, &first, 0), EVENER_PICK_COMPLETE);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(ask(f, &w[i], 0), EVENER_PICK_QUEUE);
    }
    evener_channel_stats stats = stats_of(f);
    cr_expect_eq(stats.limited_calls_in_flight, 1);
    cr_expect_eq(stats.limited_calls_waiting, 3);
    cr_expect_eq(stats.queued_picks, 3);
    evener_pick_done(&first.pick, NULL);
    evener_pick overtaking;
    evener_status status;
    cr_expect_eq(evener_channel_try_pick(f->channel, NULL, &overtaking, &status), EVENER_PICK_QUEUE,
                 "there is room, but others wait");
    virtual_loop_run_until_idle(f->loop);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(w[i].ends, 1);
        cr_expect_eq(w[i].place, i + 1);
        cr_expect_eq(w[i].status.code, EVENER_STATUS_OK, "%s", w[i].status.message);
        cr_expect(i == 2 || w[i + 1].ends == 0);
        end(f, &w[i].pick);
    }
    stats = stats_of(f);
    cr_expect_eq(stats.limited_calls_in_flight, 0);
    cr_expect_eq(stats.limited_calls_waiting, 0);
    cr_expect_eq(stats.limited_calls_refused + stats.limited_calls_expired, 0);
    fixture_destroy(f);
}

Test(limits, the_queue_is_bounded_in_length_and_time)
{
    fixture *f = connected((evener_channel_options){
        .policy = "round_robin", .calls_in_flight_max = 1, .calls_waiting_max = 2, .calls_wait_ms_max = 100});
    waiting first = {0};
    waiting w[3];
    memset(w, 0, sizeof w);
    cr_assert_eq(ask(f, &first, 0), EVENER_PICK_COMPLETE);
    cr_assert_eq(ask(f, &w[0], 0), EVENER_PICK_QUEUE);
    virtual_loop_advance_ms(f->loop, 60);
    cr_assert_eq(ask(f, &w[1], 0), EVENER_PICK_QUEUE);
    cr_assert_eq(ask(f, &w[2], 0), EVENER_PICK_DROP);
    cr_expect_eq(w[2].status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_not_null(strstr(w[2].status.message, "2 that wait"), "%s", w[2].status.message);
    virtual_loop_advance_ms(f->loop, 39);
    cr_expect_eq(w[0].ends, 0);
    virtual_loop_advance_ms(f->loop, 2);
    cr_expect_eq(w[0].ends, 1);
    cr_expect_eq(w[0].status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_not_null(strstr(w[0].status.message, "within 100 ms"), "%s", w[0].status.message);
    cr_expect_eq(w[1].ends, 0, "its own 100 ms are not over");
    virtual_loop_advance_ms(f->loop, 61);
    cr_expect_eq(w[1].ends, 1);
    const evener_channel_stats stats = stats_of(f);
    cr_expect_eq(stats.limited_calls_refused, 1);
    cr_expect_eq(stats.limited_calls_expired, 2);
    end(f, &first.pick);
    fixture_destroy(f);
}

/* Whoever leaves the queue without a pick leaves nobody behind who waited for it. */
Test(limits, deadline_and_cancellation_end_a_wait)
{
    fixture *f = connected(
        (evener_channel_options){.policy = "round_robin", .calls_in_flight_max = 1, .calls_wait_ms_max = 60000});
    waiting first = {0};
    waiting w[3];
    memset(w, 0, sizeof w);
    cr_assert_eq(ask(f, &first, 0), EVENER_PICK_COMPLETE);
    cr_assert_eq(ask(f, &w[0], 50), EVENER_PICK_QUEUE);
    cr_assert_eq(ask(f, &w[1], 0), EVENER_PICK_QUEUE);
    cr_assert_eq(ask(f, &w[2], 0), EVENER_PICK_QUEUE);
    virtual_loop_advance_ms(f->loop, 51);
    cr_expect_eq(w[0].status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_eq(stats_of(f).limited_calls_waiting, 2);
    evener_pick_request_cancel(&w[1].request);
    evener_pick_done(&first.pick, NULL);
    virtual_loop_run_until_idle(f->loop);
    cr_expect_eq(w[1].status.code, EVENER_STATUS_CANCELLED);
    cr_expect_eq(w[2].ends, 1);
    cr_expect_eq(w[2].status.code, EVENER_STATUS_OK);
    cr_expect_eq(stats_of(f).limited_calls_waiting, 0);
    end(f, &w[2].pick);
    fixture_destroy(f);
}

/* B8 for calls that wait because of a limit: many that expire at once end in short turns, and those behind them in time. */
#define MANY 10000
#define ENDS_PER_TURN_MAX 600

static struct {
    fixture *f;
    size_t ended, ended_before, most;
} expiry;

static void note_turn(void *arg);

static evener_task turn_task = EVENER_TASK_INIT(note_turn, NULL);

static void note_turn(void *arg)
{
    (void)arg;
    const size_t ends = expiry.ended - expiry.ended_before;
    expiry.most = ends > expiry.most ? ends : expiry.most;
    expiry.ended_before = expiry.ended;
    if (expiry.ended < MANY) {
        evener_loop_post(virtual_loop_loop(expiry.f->loop), &turn_task);
    }
}

static void expired(void *arg, evener_status_code code, const evener_status *status)
{
    (void)arg, (void)status;
    cr_assert_eq(code, EVENER_STATUS_UNAVAILABLE);
    if (expiry.ended++ == 0) {
        evener_loop_post(virtual_loop_loop(expiry.f->loop), &turn_task);
    }
}

Test(limits, b8_many_waits_that_expire_at_once_end_in_short_turns)
{
    fixture *f = connected((evener_channel_options){
        .policy = "round_robin", .calls_in_flight_max = 1, .calls_waiting_max = MANY + 1, .calls_wait_ms_max = 100});
    waiting first = {0}, last = {0};
    expiry.f = f;
    cr_assert_eq(ask(f, &first, 0), EVENER_PICK_COMPLETE);
    waiting *w = calloc(MANY, sizeof *w);
    for (size_t i = 0; i < MANY; i++) {
        w[i].request =
            (evener_pick_request){.size = sizeof w[i].request, .pick = &w[i].pick, .callback = expired, .arg = &w[i]};
        cr_assert_eq(evener_channel_pick_async(f->channel, NULL, &w[i].request, NULL), EVENER_PICK_QUEUE);
    }
    virtual_loop_advance_ms(f->loop, 50);
    cr_assert_eq(ask(f, &last, 0), EVENER_PICK_QUEUE);
    virtual_loop_advance_ms(f->loop, 50);
    cr_assert_eq(expiry.ended, MANY);
    cr_assert_leq(expiry.most, ENDS_PER_TURN_MAX, "%zu", expiry.most);
    virtual_loop_advance_ms(f->loop, 49);
    cr_assert_eq(last.ends, 0);
    virtual_loop_advance_ms(f->loop, 1);
    cr_assert_eq(last.ends, 1);
    cr_assert_eq(stats_of(f).limited_calls_waiting, 0);
    end(f, &first.pick);
    fixture_destroy(f);
    free(w);
}

/* Calls that waited for a backend are within the limits when there is one. */
Test(limits, calls_that_waited_for_a_backend_are_bounded_too)
{
    fixture *f = fixture_create(&(evener_channel_options){
        .policy = "round_robin", .calls_in_flight_max = 2, .calls_waiting_max = 1, .calls_wait_ms_max = 100});
    waiting w[5];
    memset(w, 0, sizeof w);
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(ask(f, &w[i], 0), EVENER_PICK_QUEUE);
    }
    cr_expect_eq(stats_of(f).limited_calls_waiting, 0, "they wait for a backend");
    fixture_push(f, BACKENDS);
    unsigned found = 0;
    unsigned refused = 0;
    unsigned waits = 0;
    for (unsigned i = 0; i < 5; i++) {
        found += w[i].ends == 1 && w[i].status.code == EVENER_STATUS_OK;
        refused += w[i].ends == 1 && w[i].status.code == EVENER_STATUS_UNAVAILABLE;
        waits += w[i].ends == 0;
    }
    cr_expect_eq(found, 2);
    cr_expect_eq(waits, 1);
    cr_expect_eq(refused, 2);
    virtual_loop_advance_ms(f->loop, 101);
    cr_expect_eq(w[2].ends, 1);
    cr_expect_eq(stats_of(f).limited_calls_expired, 1);
    end(f, &w[0].pick);
    end(f, &w[1].pick);
    fixture_destroy(f);
}

/* The same when nothing else happens after the backend is there: a retry alone found it full. */
Test(limits, a_call_that_a_retry_found_waiting_waits_for_its_time_only)
{
    fixture *f = fixture_create(&(evener_channel_options){
        .policy = "round_robin", .calls_in_flight_max = 1, .calls_waiting_max = 5, .calls_wait_ms_max = 100});
    fake_transport_set(f->transport, "127.0.0.1:1", FAKE_SILENT, 0);
    fixture_push(f, "127.0.0.1:1");
    fixture_connect(f);
    waiting w[3];
    memset(w, 0, sizeof w);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(ask(f, &w[i], 0), EVENER_PICK_QUEUE);
    }
    cr_assert(fake_transport_ready(f->transport, "127.0.0.1:1"));
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(w[0].ends, 1);
    cr_expect_eq(stats_of(f).limited_calls_waiting, 2);
    virtual_loop_advance_ms(f->loop, 101);
    cr_expect_eq(w[1].ends, 1);
    cr_expect_eq(w[2].ends, 1);
    cr_expect_eq(stats_of(f).limited_calls_expired, 2);
    end(f, &w[0].pick);
    fixture_destroy(f);
}

/* Calls that wait already are subject to a new time. */
Test(limits, a_shorter_wait_applies_at_once)
{
    fixture *f = fixture_create(
        &(evener_channel_options){.policy = "round_robin", .calls_in_flight_max = 1, .calls_wait_ms_max = 60000});
    fixture_push(f, BACKENDS);
    fixture_connect(f);
    waiting first = {0};
    waiting w = {0};
    cr_assert_eq(ask(f, &first, 0), EVENER_PICK_COMPLETE);
    cr_assert_eq(ask(f, &w, 0), EVENER_PICK_QUEUE);
    fixture_push_config(f, BACKENDS, "{\"evenerLimits\": {\"maxWait\": \"0.1s\"}}");
    virtual_loop_advance_ms(f->loop, 101);
    cr_expect_eq(w.ends, 1);
    cr_expect_eq(w.status.code, EVENER_STATUS_UNAVAILABLE);
    end(f, &first.pick);
    fixture_destroy(f);
}

/* A pick that finds the channel full gives the backend's place back: another pick may have found no room because of it,
 * and about to wait looks again. */
Test(limits, a_place_given_back_counts_as_an_end)
{
    fixture *f = connected(
        (evener_channel_options){.policy = "round_robin", .calls_in_flight_max = 1, .backend_calls_in_flight_max = 1});
    waiting first = {0};
    evener_pick other;
    evener_status status;
    cr_assert_eq(ask(f, &first, 0), EVENER_PICK_COMPLETE);
    evener_subchannel *one = first.pick.subchannel;
    end(f, &first.pick);
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &other, &status), EVENER_PICK_COMPLETE);
    cr_assert_neq(other.subchannel, one);
    evener_limits *limits = &f->channel->limits;
    const uint32_t ends = evener_limits_ends(limits);
    cr_assert_eq(evener_limits_begin(limits, one), EVENER_LIMIT_CHANNEL_FULL);
    cr_expect_neq(evener_limits_ends(limits), ends);
    cr_expect_eq(evener_in_flight(one), 0);
    end(f, &other);
    fixture_destroy(f);
}

/* The service config narrows the limits of the options, and can be replaced. */
Test(limits, a_service_config_sets_limits)
{
    fixture *f = fixture_create(&(evener_channel_options){.policy = "round_robin", .calls_in_flight_max = 3});
    fixture_push_config(f, BACKENDS,
                        "{\"evenerLimits\": {\"maxInFlight\": 2, \"maxInFlightPerBackend\": 1, \"maxWaiting\": 1, "
                        "\"maxWait\": \"5s\"}}");
    fixture_connect(f);
    waiting w[5];
    memset(w, 0, sizeof w);
    cr_assert_eq(ask(f, &w[0], 0), EVENER_PICK_COMPLETE);
    cr_assert_eq(ask(f, &w[1], 0), EVENER_PICK_COMPLETE);
    cr_assert_eq(ask(f, &w[2], 0), EVENER_PICK_QUEUE);
    cr_assert_eq(ask(f, &w[3], 0), EVENER_PICK_DROP);
    fixture_push_config(f, BACKENDS, "{\"loadBalancingConfig\": [{\"round_robin\": {}}]}");
    cr_expect_eq(w[2].ends, 1, "the options allow three");
    cr_expect_eq(w[2].status.code, EVENER_STATUS_OK);
    cr_assert_eq(ask(f, &w[3], 0), EVENER_PICK_QUEUE);
    evener_channel_close(f->channel);
    virtual_loop_run_until_idle(f->loop);
    cr_expect_eq(w[3].status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_not_null(strstr(w[3].status.message, "closed"), "%s", w[3].status.message);
    cr_expect_eq(ask(f, &w[4], 0), EVENER_PICK_DROP, "a closed channel does not let calls wait");
    for (unsigned i = 0; i < 3; i++) {
        evener_pick_done(&w[i].pick, NULL);
    }
    fixture_destroy(f);
}

/* A backend that was tried is better than one that is full. */
Test(limits, a_tried_backend_is_picked_when_the_others_are_full)
{
    fixture *f = connected((evener_channel_options){
        .policy = "round_robin", .backend_calls_in_flight_max = 1, .calls_waiting_max = EVENER_NO_CALLS_WAITING});
    waiting w[4];
    memset(w, 0, sizeof w);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(ask(f, &w[i], 0), EVENER_PICK_COMPLETE);
    }
    const char *const tried[] = {evener_subchannel_address_text(w[1].pick.subchannel)};
    end(f, &w[1].pick);
    cr_assert_eq(ask_with(f, &w[3], (evener_pick_args){.tried = tried, .tried_count = 1}), EVENER_PICK_COMPLETE);
    cr_expect_str_eq(evener_subchannel_address_text(w[3].pick.subchannel), tried[0]);
    end(f, &w[0].pick);
    end(f, &w[2].pick);
    end(f, &w[3].pick);
    fixture_destroy(f);
}

/* Without a backend a limit changes nothing: a call that is not to wait fails, the others wait. */
Test(limits, without_a_backend_calls_fail_or_wait_as_ever)
{
    fixture *f = fixture_create(&(evener_channel_options){.policy = "round_robin", .calls_in_flight_max = 5});
    fake_transport_set_default(f->transport, FAKE_REFUSE, 0);
    fixture_push(f, BACKENDS);
    fixture_connect(f);
    waiting w = {0};
    cr_expect_eq(ask(f, &w, 0), EVENER_PICK_FAIL);
    cr_expect_eq(w.status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_not_null(strstr(w.status.message, "connection refused"), "%s", w.status.message);
    cr_expect(evener_pick_was_failed(&w.pick));
    cr_expect_not(evener_pick_was_full(&w.pick));
    waiting patient = {0};
    cr_assert_eq(ask_with(f, &patient, (evener_pick_args){.wait_for_ready = true}), EVENER_PICK_QUEUE);
    cr_expect_eq(stats_of(f).queued_picks, 1);
    cr_expect_eq(stats_of(f).limited_calls_waiting, 0, "not because of a limit");
    fake_transport_set_default(f->transport, FAKE_ACCEPT, 0);
    virtual_loop_advance_ms(f->loop, 10000);
    cr_assert_eq(patient.ends, 1);
    cr_expect_eq(patient.status.code, EVENER_STATUS_OK);
    cr_expect_eq(stats_of(f).limited_calls_in_flight, 1);
    end(f, &patient.pick);
    cr_expect_eq(stats_of(f).limited_calls_in_flight, 0);
    fixture_destroy(f);
}

/* A call that waits for a limit when the backends go away waits for a backend from then on, as those behind it. */
Test(limits, a_wait_for_a_limit_becomes_one_for_a_backend)
{
    fixture *f = fixture_create(&(evener_channel_options){.policy = "round_robin", .calls_in_flight_max = 1});
    fixture_push(f, "127.0.0.1:1");
    fixture_connect(f);
    evener_status status;
    static waiting limited, behind, ready[4], failing;
    evener_pick first;
    const evener_pick_args waits = {.wait_for_ready = true};
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &first, &status), EVENER_PICK_COMPLETE);
    cr_assert_eq(ask_with(f, &limited, waits), EVENER_PICK_QUEUE);
    cr_assert_eq(ask_with(f, &behind, waits), EVENER_PICK_QUEUE);
    fake_transport_set(f->transport, "127.0.0.1:1", FAKE_REFUSE, 0);
    fake_transport_drop(f->transport, "127.0.0.1:1");
    virtual_loop_run_until_idle(f->loop);
    end(f, &first);
    cr_expect_eq(stats_of(f).limited_calls_waiting, 0);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(ask_with(f, &ready[i], waits), EVENER_PICK_QUEUE);
        virtual_loop_advance_ms(f->loop, 400);
    }
    cr_expect_neq(ask(f, &failing, 0), EVENER_PICK_QUEUE, "without wait_for_ready it fails at once");
    cr_expect_eq(stats_of(f).limited_calls_expired, 0);
    fake_transport_set(f->transport, "127.0.0.1:1", FAKE_ACCEPT, 0);
    for (unsigned i = 0; i < 3000 && limited.ends == 0; i++) { /* until the backoff is over */
        virtual_loop_advance_ms(f->loop, 100);
    }
    waiting *const all[] = {&limited, &behind, &ready[0], &ready[1], &ready[2], &ready[3]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        cr_assert_eq(all[i]->ends, 1, "%zu", i);
        cr_expect_eq(all[i]->status.code, EVENER_STATUS_OK, "%zu: %s", i, all[i]->status.message);
        end(f, &all[i]->pick);
    }
    fixture_destroy(f);
}

/* A backend that takes no calls any more, which the policy is about to hear, is a matter of a moment: it is neither full nor
 * gone, and costs a call that waits for a limit nothing. */
Test(limits, a_backend_that_takes_no_calls_any_more_is_lost_and_not_full)
{
    fixture *f = connected((evener_channel_options){.policy = "p2c_ewma", .backend_calls_in_flight_max = 1});
    const evener_pick_args args = {.size = sizeof args, .wait_for_ready = true};
    evener_status status;
    evener_pick picks[3], pick;
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &picks[i], &status), EVENER_PICK_COMPLETE);
    }
    cr_assert_eq(evener_channel_pick_now(f->channel, &args, true, &pick, &status), EVENER_PICK_QUEUE);
    cr_expect(evener_pick_was_full(&pick));
    cr_expect_not(evener_pick_was_lost(&pick));
    size_t one = 0;
    while (one < 3 && strcmp(evener_subchannel_address_text(picks[one].subchannel), "127.0.0.1:1") != 0) {
        one++;
    }
    cr_assert_lt(one, 3);
    cr_assert(fake_transport_close_to_calls(f->transport, "127.0.0.1:1"));
    end(f, &picks[one]);
    cr_assert_eq(evener_channel_pick_now(f->channel, &args, true, &pick, &status), EVENER_PICK_QUEUE);
    cr_expect(evener_pick_was_lost(&pick));
    cr_expect_not(evener_pick_was_full(&pick));
    for (size_t i = 0; i < 3; i++) {
        if (i != one) {
            end(f, &picks[i]);
        }
    }
    fixture_destroy(f);
}

/* ---- a call that comes while another is retried ---- */

typedef struct late_call {
    fixture *f;
    waiting call;
    bool has_come;
} late_call;

/* In the middle of the other's pick, as another thread might. */
static void come_late(void *arg, const char *address, double load, const char *note)
{
    late_call *late = arg;
    (void)address;
    (void)load;
    (void)note;
    if (!late->has_come && late->f->channel->limits.waiting == 1) {
        static const evener_pick_args args = {.size = sizeof args};
        late->has_come = true;
        late->call.request = (evener_pick_request){
            .size = sizeof late->call.request, .pick = &late->call.pick, .callback = wait_ended, .arg = &late->call};
        cr_assert_eq(evener_channel_pick_async(late->f->channel, &args, &late->call.request, &late->call.status),
                     EVENER_PICK_QUEUE, "behind the one that is retried");
    }
}

Test(limits, a_call_that_comes_while_another_is_retried_is_retried_too)
{
    fixture *f = connected((evener_channel_options){.policy = "p2c_ewma", .calls_in_flight_max = 2});
    static late_call late;
    const evener_pick_trace trace = {.size = sizeof trace, .arg = &late, .candidate = come_late};
    evener_status status;
    evener_pick picks[2];
    waiting w = {0};
    late.f = f;
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &picks[i], &status), EVENER_PICK_COMPLETE);
    }
    late.has_come = true; /* not in the first pick of the call */
    cr_assert_eq(ask_with(f, &w, (evener_pick_args){.trace = &trace}), EVENER_PICK_QUEUE);
    late.has_come = false;
    evener_pick_done(&picks[0], NULL);
    evener_pick_done(&picks[1], NULL);
    virtual_loop_run_until_idle(f->loop);
    cr_assert(late.has_come);
    cr_assert_eq(w.ends, 1);
    cr_assert_eq(late.call.ends, 1, "there is room for it");
    cr_expect_eq(late.call.status.code, EVENER_STATUS_OK);
    end(f, &w.pick);
    end(f, &late.call.pick);
    fixture_destroy(f);
}

/* A backend that was neither tried nor is full is better than both. */
Test(limits, a_tried_backend_is_avoided_beside_a_full_one)
{
    fixture *f = fixture_create(&(evener_channel_options){
        .policy = "round_robin", .backend_calls_in_flight_max = 1, .calls_waiting_max = EVENER_NO_CALLS_WAITING});
    fixture_push(f, BACKENDS ",127.0.0.1:4");
    fixture_connect(f);
    waiting full = {0}, w = {0};
    cr_assert_eq(ask(f, &full, 0), EVENER_PICK_COMPLETE);
    const char *others[3];
    size_t count = 0;
    static const char *const all[] = {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(all[i], evener_subchannel_address_text(full.pick.subchannel)) != 0) {
            cr_assert_lt(count, 3);
            others[count++] = all[i];
        }
    }
    for (size_t i = 0; i < 24; i++) { /* round_robin begins anywhere */
        const char *const tried[] = {others[i % 3], others[(i + 1) % 3]};
        cr_assert_eq(ask_with(f, &w, (evener_pick_args){.tried = tried, .tried_count = 1}), EVENER_PICK_COMPLETE);
        cr_expect_str_neq(evener_subchannel_address_text(w.pick.subchannel), tried[0], "%zu", i);
        end(f, &w.pick);
        cr_assert_eq(ask_with(f, &w, (evener_pick_args){.tried = tried, .tried_count = 2}), EVENER_PICK_COMPLETE);
        cr_expect_str_eq(evener_subchannel_address_text(w.pick.subchannel), others[(i + 2) % 3], "%zu", i);
        end(f, &w.pick);
    }
    end(f, &full.pick);
    fixture_destroy(f);
}

/* The channel looks at the first 16 backends that were tried, and whatever their number it finds one that has room. */
Test(limits, any_number_of_tried_backends_may_be_given)
{
    fixture *f = connected((evener_channel_options){
        .policy = "round_robin", .backend_calls_in_flight_max = 1, .calls_waiting_max = EVENER_NO_CALLS_WAITING});
    waiting full = {0}, w = {0};
    cr_assert_eq(ask(f, &full, 0), EVENER_PICK_COMPLETE);
    const char *tried[40];
    for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
        tried[i] = "10.0.0.1:1";
    }
    tried[15] = strcmp(evener_subchannel_address_text(full.pick.subchannel), "127.0.0.1:1") != 0 ? "127.0.0.1:1"
                                                                                                 : "127.0.0.1:2";
    for (size_t count = 15; count <= sizeof tried / sizeof *tried; count++) {
        unsigned of_tried = 0;
        for (unsigned i = 0; i < 12; i++) {
            cr_assert_eq(ask_with(f, &w, (evener_pick_args){.tried = tried, .tried_count = count}),
                         EVENER_PICK_COMPLETE, "%zu", count);
            of_tried += strcmp(evener_subchannel_address_text(w.pick.subchannel), tried[15]) == 0;
            end(f, &w.pick);
        }
        cr_expect_eq(of_tried != 0, count == 15, "%zu: %u", count, of_tried);
    }
    /* The 17th is the one with room that is not avoided. */
    for (unsigned i = 1; i <= 3; i++) {
        static char text[] = "127.0.0.1:0";
        text[10] = (char)('0' + i);
        if (strcmp(text, tried[15]) != 0 && strcmp(text, evener_subchannel_address_text(full.pick.subchannel)) != 0) {
            tried[16] = text;
            break;
        }
    }
    for (unsigned i = 0; i < 12; i++) {
        cr_assert_eq(ask_with(f, &w, (evener_pick_args){.tried = tried, .tried_count = 17}), EVENER_PICK_COMPLETE);
        cr_expect_str_eq(evener_subchannel_address_text(w.pick.subchannel), tried[16]);
        end(f, &w.pick);
    }
    end(f, &full.pick);
    fixture_destroy(f);
}

/* A call that the full queue refuses does not count as one that waits because of a limit. */
Test(limits, a_full_queue_refuses_calls_before_the_limit_of_waiting_ones)
{
    fixture *f = connected((evener_channel_options){
        .policy = "round_robin", .queued_picks_max = 1, .calls_in_flight_max = 1, .calls_waiting_max = 3});
    waiting first = {0}, waits = {0}, refused = {0};
    cr_assert_eq(ask(f, &first, 0), EVENER_PICK_COMPLETE);
    cr_assert_eq(ask(f, &waits, 0), EVENER_PICK_QUEUE);
    for (unsigned i = 0; i < 4; i++) {
        const uint32_t generation = f->channel->queue.generation;
        cr_assert_eq(ask(f, &refused, 0), EVENER_PICK_DROP);
        cr_expect_eq(refused.status.code, EVENER_STATUS_RESOURCE_EXHAUSTED, "%u: %s", i, refused.status.message);
        cr_expect_not_null(strstr(refused.status.message, "1 calls wait"), "%s", refused.status.message);
        cr_expect_eq(stats_of(f).limited_calls_waiting, 1);
        cr_expect_neq(f->channel->queue.generation, generation, "whoever saw it waiting looks again");
    }
    cr_expect_eq(stats_of(f).limited_calls_refused, 0, "by no limit");
    end(f, &first.pick);
    cr_expect_eq(waits.ends, 1);
    cr_expect_eq(waits.status.code, EVENER_STATUS_OK);
    end(f, &waits.pick);
    cr_expect_eq(stats_of(f).limited_calls_waiting, 0);
    cr_expect_eq(ask(f, &first, 0), EVENER_PICK_COMPLETE, "nobody waits any more");
    end(f, &first.pick);
    fixture_destroy(f);
}

Test(limits, bad_limits_in_a_service_config_are_refused)
{
    static const char *const bad[] = {"7",
                                      "{\"maxInFlight\": 0}",
                                      "{\"maxInFlight\": 1.5}",
                                      "{\"maxInFlightPerBackend\": \"1\"}",
                                      "{\"maxWait\": \"0s\"}",
                                      "{\"maxWaiting\": -1}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char config[96];
        (void)snprintf(config, sizeof config, "{\"evenerLimits\": %s}", bad[i]);
        fixture *f = connected((evener_channel_options){.policy = "round_robin"});
        evener_status status;
        cr_expect_eq(evener_channel_set_default_service_config(f->channel, config, &status),
                     EVENER_STATUS_INVALID_ARGUMENT, "%s", config);
        cr_expect_not_null(strstr(status.message, "evenerLimits"), "%s", status.message);
        fixture_destroy(f);
    }
}
