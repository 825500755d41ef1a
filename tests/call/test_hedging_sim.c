/* Hedging (A6, client retries) over the simulated transport, on the virtual loop: when further attempts start, which
 * answer counts, and that no attempt is left behind. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/call/call_storm.h"
#include "tests/call/retry_scene.h"

#define HEDGING(attempts, delay)                                                                                       \
    "{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": " attempts                              \
    ", \"hedgingDelay\": \"" delay "\", \"nonFatalStatusCodes\": [\"UNAVAILABLE\"]}}]}"
#define THROTTLED(max)                                                                                                 \
    "{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 4, \"hedgingDelay\": \"0.1s\", "        \
    "\"nonFatalStatusCodes\": [\"UNAVAILABLE\"]}}], \"retryThrottling\": {\"maxTokens\": " max                         \
    ", \"tokenRatio\": 0.1}}"

#define MS(n) ((n)*EVENER_NS_PER_MS)
#define ANSWER(ms, status)                                                                                             \
    {                                                                                                                  \
        .kind = FAKE_CALL_ANSWER, .delay_ns = MS(ms), .code = EVENER_STATUS_##status                                   \
    }
#define SILENT                                                                                                         \
    {                                                                                                                  \
        .kind = FAKE_CALL_SILENT                                                                                       \
    }

Test(hedging_sim, a_quick_answer_needs_one_attempt)
{
    const fake_call_outcome outcomes[] = {ANSWER(50, OK)};
    retry_scene *s = retry_scene_create(HEDGING("3", "0.1s"), outcomes, 1);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK);
    virtual_loop_advance_ms(s->f->loop, 10000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->attempts, 1);
    cr_expect_eq(s->details.attempts, 1);
    retry_scene_destroy(s);
}

/* The first hangs: the second starts after the delay, at another backend, and its answer cancels the first. */
Test(hedging_sim, attempts_start_after_each_delay_and_the_first_answer_counts)
{
    const fake_call_outcome outcomes[] = {SILENT, SILENT, ANSWER(20, OK)};
    retry_scene *s = retry_scene_create(HEDGING("4", "0.1s"), outcomes, 3);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_assert_eq(s->attempts, 3);
    cr_expect_eq(s->details.attempts, 3);
    cr_expect_eq(s->ended_ms, 220);
    cr_expect(strstr(s->details.peer, s->seen[2].address) != NULL, "%s", s->details.peer);
    for (uint32_t i = 0; i < 3; i++) {
        cr_expect_eq(s->seen[i].at_ms, 100 * i);
        cr_expect_eq(s->seen[i].previous_attempts, i);
        cr_expect_str_neq(s->seen[i].address, s->seen[(i + 1) % 3].address);
    }
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(fake_transport_calls_under_way(s->f->transport), 0, "the others are cancelled");
    retry_scene_destroy(s);
}

Test(hedging_sim, without_a_delay_all_start_at_once)
{
    const fake_call_outcome outcomes[] = {ANSWER(30, OK), ANSWER(20, OK), ANSWER(10, OK)};
    retry_scene *s = retry_scene_create(
        "{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 3}}]}", outcomes, 3);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 3);
    cr_expect_eq(s->ended_ms, 10);
    cr_expect_eq(s->ends, 1);
    retry_scene_destroy(s);
}

Test(hedging_sim, a_non_fatal_status_sends_the_next_at_once)
{
    const fake_call_outcome outcomes[] = {ANSWER(10, UNAVAILABLE), ANSWER(10, UNAVAILABLE), ANSWER(10, OK)};
    retry_scene *s = retry_scene_create(HEDGING("3", "5s"), outcomes, 3);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(s->attempts, 3);
    cr_expect_eq(s->seen[1].at_ms, 10);
    cr_expect_eq(s->seen[2].at_ms, 20);
    cr_expect_eq(s->ended_ms, 30);
    retry_scene_destroy(s);
}

Test(hedging_sim, a_fatal_status_is_the_answer)
{
    const fake_call_outcome outcomes[] = {SILENT, ANSWER(10, INVALID_ARGUMENT)};
    retry_scene *s = retry_scene_create(HEDGING("4", "0.1s"), outcomes, 2);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(s->ended_ms, 110);
    virtual_loop_advance_ms(s->f->loop, 1000);
    cr_expect_eq(s->attempts, 2);
    retry_scene_destroy(s);
}

Test(hedging_sim, when_all_have_failed_the_last_status_is_the_answer)
{
    const fake_call_outcome outcomes[] = {ANSWER(500, UNAVAILABLE), ANSWER(10, UNAVAILABLE), ANSWER(20, UNAVAILABLE)};
    retry_scene *s = retry_scene_create(HEDGING("3", "0.1s"), outcomes, 3);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(s->attempts, 3);
    cr_expect_eq(s->ended_ms, 500);
    cr_expect(strstr(s->details.peer, s->seen[0].address) != NULL, "%s", s->details.peer);
    retry_scene_destroy(s);
}

Test(hedging_sim, headers_commit)
{
    const fake_call_outcome outcomes[] = {
        {.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE, .headers_came = true}, ANSWER(0, OK)};
    retry_scene *s = retry_scene_create(HEDGING("3", "0.1s"), outcomes, 2);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    retry_scene_destroy(s);
}

Test(hedging_sim, pushback_moves_the_next_attempt_or_forbids_it)
{
    fake_call_outcome outcomes[] = {ANSWER(10, UNAVAILABLE), ANSWER(10, OK)};
    outcomes[0].pushback = "300";
    retry_scene *s = retry_scene_create(HEDGING("3", "0.1s"), outcomes, 2);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(s->attempts, 2);
    cr_expect_eq(s->seen[1].at_ms, 310);

    retry_scene_start(s, 150); /* the deadline comes first */
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_eq(s->ended_ms, 150);
    cr_expect_eq(s->attempts, 1);

    s->outcomes[0].pushback = "-1";
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(s->attempts, 1);
    retry_scene_destroy(s);
}

/* Only above the half of the tokens: 3 of 4 after the first failure, 2 after the second. */
Test(hedging_sim, the_throttle_ends_hedging)
{
    const fake_call_outcome outcomes[] = {ANSWER(0, UNAVAILABLE)};
    retry_scene *s = retry_scene_create(THROTTLED("4"), outcomes, 1);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 2);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    s->outcomes[0] = (fake_call_outcome)SILENT;
    retry_scene_start(s, 1000);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1, "no hedge for a call that hangs");
    cr_expect_eq(s->status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_eq(s->ended_ms, 1000);
    retry_scene_destroy(s);
}

static evener_method_stats stats_of(retry_scene *s)
{
    evener_method_stats stats;
    cr_assert_eq(evener_channel_get_method_stats(s->f->channel, &stats, sizeof stats, 1), 1);
    return stats;
}

/* Losers are counted once the call has its answer, and hedges where they were made. */
Test(hedging_sim, losing_attempts_are_cancelled_and_counted)
{
    const fake_call_outcome outcomes[] = {SILENT, SILENT, ANSWER(1, OK)};
    retry_scene *s = retry_scene_create(HEDGING("3", "0.1s"), outcomes, 3);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK);
    const evener_method_stats stats = stats_of(s);
    cr_expect_eq(stats.attempts, 3);
    cr_expect_eq(stats.attempts_cancelled, 2);
    uint64_t hedges = 0;
    for (uint32_t i = 0; i < 3; i++) {
        const evener_subchannel_stats at = fixture_stats(s->f, s->seen[i].address);
        cr_expect_eq(at.hedges, i > 0, "%s", s->seen[i].address);
        cr_expect_eq(at.retries, 0);
        hedges += at.hedges;
    }
    cr_expect_eq(hedges, stats.hedges);
    s->outcomes[0] = s->outcomes[1] = s->outcomes[2] = (fake_call_outcome)SILENT;
    retry_scene_start(s, 0);
    virtual_loop_advance_ms(s->f->loop, 500);
    evener_call_cancel(s->call);
    retry_scene_finish(s, 10000);
    cr_expect_eq(stats_of(s).attempts_cancelled, 2, "the program has cancelled that call, not another attempt");
    retry_scene_start(s, 500);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_eq(stats_of(s).attempts_cancelled, 2, "the deadline has ended all three");
    retry_scene_destroy(s);
}

/* Beyond A6: once enough latencies are known the delay is their quantile. Until then it is hedgingDelay. */
Test(hedging_sim, the_delay_follows_a_quantile_of_the_latencies)
{
    const fake_call_outcome outcomes[] = {ANSWER(10, OK), ANSWER(1, OK)};
    retry_scene *s =
        retry_scene_create("{\"methodConfig\": [{\"name\": [{\"service\": \"sim.Sim\"}], \"hedgingPolicy\": "
                           "{\"maxAttempts\": 2, \"hedgingDelay\": \"0.5s\", \"evenerHedgingQuantile\": "
                           "0.99}}]}",
                           outcomes, 1);
    s->outcomes[0] = (fake_call_outcome)SILENT;
    s->outcome_count = 2;
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->seen[1].at_ms, 500, "nothing is known yet");
    s->outcomes[0] = outcomes[0];
    for (int i = 0; i < 300; i++) {
        retry_scene_start(s, 0);
        retry_scene_finish(s, 10000);
        cr_assert_eq(s->attempts, 1);
    }
    evener_method_stats stats = stats_of(s);
    cr_expect(stats.quantile_ns >= MS(10) && stats.quantile_ns <= MS(10) * 9 / 8, "%llu ns",
              (unsigned long long)stats.quantile_ns);
    s->outcomes[0] = (fake_call_outcome)SILENT;
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect(s->seen[1].at_ms >= 10 && s->seen[1].at_ms <= 12, "%llu ms", (unsigned long long)s->seen[1].at_ms);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK);
    stats = stats_of(s);
    cr_expect_str_eq(stats.method, "/sim.Sim/");
    cr_expect_eq(stats.calls, 302);
    cr_expect_eq(stats.attempts, 304);
    cr_expect_eq(stats.hedges, 2);
    retry_scene_destroy(s);
}

/* Calls that hang are a part of the latencies: the quantile does not exceed hedgingDelay. */
Test(hedging_sim, the_quantile_is_bounded_by_the_configured_delay)
{
    const fake_call_outcome outcomes[] = {SILENT, ANSWER(1, OK)};
    retry_scene *s = retry_scene_create("{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 2, "
                                        "\"hedgingDelay\": \"0.05s\", \"evenerHedgingQuantile\": 0.9}}]}",
                                        outcomes, 2);
    for (int i = 0; i < 200; i++) {
        retry_scene_start(s, 0);
        retry_scene_finish(s, 10000);
        cr_assert_eq(s->ended_ms, 51);
    }
    cr_expect_gt(stats_of(s).quantile_ns, MS(50));
    retry_scene_destroy(s);
}

Test(hedging_sim, the_channels_limit_bounds_max_attempts)
{
    const fake_call_outcome outcomes[] = {SILENT};
    static const struct {
        uint32_t limit, attempts;
    } cases[] = {{0, 5}, {2, 2}, {1, 1}, {100, 16}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        retry_scene *s = retry_scene_create_with((evener_channel_options){.attempts_max = cases[i].limit},
                                                 HEDGING("50", "0.01s"), outcomes, 1);
        retry_scene_start(s, 1000);
        retry_scene_finish(s, 10000);
        cr_expect_eq(s->attempts, cases[i].attempts, "limit %u: %u", cases[i].limit, s->attempts);
        cr_expect_eq(s->ended_ms, 1000);
        retry_scene_destroy(s);
    }
}

Test(hedging_sim, transparent_retries_are_made_inside_an_attempt)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_NEVER_LEFT}, {.kind = FAKE_CALL_REFUSED}, ANSWER(10, OK)};
    retry_scene *s = retry_scene_create(HEDGING("2", "1s"), outcomes, 3);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(s->attempts, 3);
    cr_expect_eq(s->executions, 1);
    cr_expect_eq(s->seen[2].previous_attempts, 0);
    retry_scene_destroy(s);
}

/* Without any backend the policy applies to the picks, too. */
Test(hedging_sim, picks_that_fail_are_attempts)
{
    const fake_call_outcome outcomes[] = {ANSWER(0, OK)};
    retry_scene *s = retry_scene_create(HEDGING("3", "0.1s"), outcomes, 1);
    fake_transport_set_default(s->f->transport, FAKE_REFUSE, 0);
    fixture_push(s->f, "127.0.0.1:1");
    fake_transport_drop(s->f->transport, "127.0.0.1:1");
    virtual_loop_run_until_idle(s->f->loop);
    retry_scene_start(s, 0);
    cr_expect_eq(s->ends, 0, "never from inside evener_call_start()");
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(s->attempts, 0);
    retry_scene_destroy(s);
}

/* A hedge is a spare: an attempt under way still answers. */
Test(hedging_sim, a_hedge_that_the_closed_channel_refuses_leaves_the_first_attempt_alone)
{
    const fake_call_outcome outcomes[] = {ANSWER(200, OK)};
    retry_scene *s = retry_scene_create(HEDGING("3", "0.05s"), outcomes, 1);
    retry_scene_start(s, 0);
    virtual_loop_advance_ms(s->f->loop, 10);
    evener_channel_close(s->f->channel);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(s->ended_ms, 200);
    cr_expect_eq(s->attempts, 1);
    cr_expect(strstr(s->details.peer, s->seen[0].address) != NULL, "%s", s->details.peer);
    retry_scene_destroy(s);
}

/* Refused at once, or after it has waited for room. */
Test(hedging_sim, a_hedge_above_a_limit_leaves_the_first_attempt_alone)
{
    const fake_call_outcome outcomes[] = {ANSWER(200, OK)};
    static const uint32_t waiting_max[] = {EVENER_NO_CALLS_WAITING, 5};
    for (size_t i = 0; i < 2; i++) {
        retry_scene *s = retry_scene_create_with((evener_channel_options){.calls_in_flight_max = 1,
                                                                          .calls_waiting_max = waiting_max[i],
                                                                          .calls_wait_ms_max = 60},
                                                 HEDGING("3", "0.05s"), outcomes, 1);
        retry_scene_start(s, 0);
        retry_scene_finish(s, 10000);
        cr_expect_eq(s->ends, 1);
        cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
        cr_expect_eq(s->ended_ms, 200);
        cr_expect_eq(s->attempts, 1);
        retry_scene_destroy(s);
    }
}

/* Nothing else is under way then, so the channel's reason is the answer. */
Test(hedging_sim, without_any_attempt_under_way_the_channels_reason_is_the_answer)
{
    const fake_call_outcome outcomes[] = {ANSWER(20, UNAVAILABLE)};
    retry_scene *s = retry_scene_create(HEDGING("3", "0.05s"), outcomes, 1);
    retry_scene_start(s, 0);
    virtual_loop_advance_ms(s->f->loop, 10);
    evener_channel_close(s->f->channel);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_str_eq(s->status.message, "channel closed");
    cr_expect_eq(s->ended_ms, 20);
    retry_scene_destroy(s);
}

static void count_candidate(void *arg, const char *address, double load, const char *note)
{
    (void)address;
    (void)load;
    (void)note;
    ++*(int *)arg;
}

/* Attempts run side by side: only the first one's picks are traced. */
Test(hedging_sim, the_trace_is_of_the_first_attempt)
{
    const fake_call_outcome outcomes[] = {SILENT, SILENT, ANSWER(20, OK)};
    retry_scene *s =
        retry_scene_create_with((evener_channel_options){.policy = "least_request"}, HEDGING("4", "0.1s"), outcomes, 3);
    int candidates = 0;
    evener_pick_trace *trace = malloc(sizeof *trace);
    *trace = (evener_pick_trace){.size = sizeof *trace, .arg = &candidates, .candidate = count_candidate};
    const evener_call_options options = {.size = sizeof options, .trace = trace};
    evener_status status;
    cr_assert_eq(
        evener_call_start(s->f->channel, SCENE_METHOD, &s->request, &options, retry_scene_ended, s, &s->call, &status),
        EVENER_STATUS_OK, "%s", status.message);
    free(trace);
    const int first = candidates;
    cr_expect_gt(first, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->attempts, 3);
    cr_expect_eq(candidates, first);
    retry_scene_destroy(s);
}

Test(hedging_sim, cancelled_at_each_step)
{
    fake_call_outcome outcomes[] = {ANSWER(30, UNAVAILABLE), SILENT, ANSWER(60, UNAVAILABLE), SILENT};
    outcomes[0].pushback = "20";
    retry_scene *s = retry_scene_create(HEDGING("4", "0.05s"), outcomes, 4);
    for (uint64_t at_ms = 0; at_ms < 300; at_ms += 5) {
        retry_scene_start(s, 10000);
        virtual_loop_advance_ms(s->f->loop, at_ms);
        cr_assert_eq(s->ends, 0);
        evener_call_cancel(s->call);
        evener_call_cancel(s->call);
        const uint32_t attempts = s->attempts;
        virtual_loop_run_until_idle(s->f->loop);
        cr_assert_eq(s->ends, 1, "cancelled after %u ms", (unsigned)at_ms);
        cr_assert_eq(s->status.code, EVENER_STATUS_CANCELLED, "%s", s->status.message);
        cr_assert_eq(fake_transport_calls_under_way(s->f->transport), 0);
        virtual_loop_advance_ms(s->f->loop, 1000);
        cr_assert_eq(s->ends, 1);
        cr_assert_eq(s->attempts, attempts, "nothing comes after the end");
        evener_call_cancel(s->call);
    }
    retry_scene_destroy(s);
}

/* ---- many calls, at random, by seed ---- */

Test(hedging_sim, whatever_happens_each_call_ends_once_in_time_and_is_executed_as_often_as_its_policy_allows)
{
    static const call_storm storm = {.channel = {.policy = "p2c_ewma", .default_service_config = HEDGING("4", "0.01s")},
                                     .executions_max = 4,
                                     .timeout_ms_max = 300};
    for (uint64_t seed = 1; seed <= 60; seed++) {
        call_storm_run(&storm, seed);
    }
}
