/* Retries by policy (A6, client retries) over the simulated transport, on the virtual loop: when, how often, and when
 * not. The names follow the core's end-to-end tests where there is one. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/call/retry.h"
#include "tests/call/call_storm.h"
#include "tests/call/retry_scene.h"

#define UNAVAILABLE                                                                                                    \
    {                                                                                                                  \
        .kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE                                                    \
    }
#define OK                                                                                                             \
    {                                                                                                                  \
        .kind = FAKE_CALL_ANSWER                                                                                       \
    }

static const fake_call_outcome fails_once[] = {UNAVAILABLE, OK};
static const fake_call_outcome fails_always[] = {UNAVAILABLE};

static void expect_between(uint64_t value, uint64_t low, uint64_t high)
{
    cr_expect(value >= low && value <= high, "%llu is not in %llu to %llu", (unsigned long long)value,
              (unsigned long long)low, (unsigned long long)high);
}

Test(retries_sim, retry)
{
    retry_scene *s = retry_scene_create(RETRY_CONFIG("3"), fails_once, 2);
    retry_scene_start(s, 10000);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(s->attempts, 2);
    cr_expect_eq(s->details.attempts, 2);
    cr_expect_eq(s->seen[0].previous_attempts, 0);
    cr_expect_eq(s->seen[1].previous_attempts, 1);
    expect_between(s->seen[1].at_ms, 80, 120);
    expect_between(s->seen[1].timeout_ms, 10000 - 120, 10000 - 80); /* one deadline over all attempts */
    retry_scene_destroy(s);
}

/* Beyond A6: an attempt never goes to a backend that failed the call before while another one is READY. */
Test(retries_sim, retries_go_to_backends_that_were_not_tried)
{
    static const char *const policies[] = {"round_robin",          "random",         "least_request", "p2c_ewma",
                                           "weighted_round_robin", "weighted_random"};
    for (size_t p = 0; p < sizeof policies / sizeof policies[0]; p++) {
        retry_scene *s = retry_scene_create_with((evener_channel_options){.policy = policies[p]}, RETRY_CONFIG("4"),
                                                 fails_always, 1);
        for (int i = 0; i < 20; i++) {
            retry_scene_start(s, 0);
            retry_scene_finish(s, 10000);
            cr_assert_eq(s->attempts, 4);
            cr_expect_str_neq(s->seen[1].address, s->seen[0].address, "%s", policies[p]);
            cr_expect_str_neq(s->seen[2].address, s->seen[0].address, "%s", policies[p]);
            cr_expect_str_neq(s->seen[2].address, s->seen[1].address, "%s", policies[p]);
        }
        retry_scene_destroy(s);
    }
}

Test(retries_sim, without_a_policy_nothing_is_retried)
{
    retry_scene *s = retry_scene_create("{}", fails_once, 2);
    retry_scene_start(s, 10000);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    retry_scene_destroy(s);
}

Test(retries_sim, retry_non_retriable_status)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_INVALID_ARGUMENT}, OK};
    retry_scene *s = retry_scene_create(RETRY_CONFIG("3"), outcomes, 2);
    retry_scene_start(s, 10000);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_INVALID_ARGUMENT);
    retry_scene_destroy(s);
}

Test(retries_sim, retry_too_many_attempts)
{
    retry_scene *s = retry_scene_create(RETRY_CONFIG("4"), fails_always, 1);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->attempts, 4);
    cr_expect_eq(s->executions, 4);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_str_eq(s->status.message, "the server says no");
    for (uint32_t i = 0; i < 4; i++) {
        cr_expect_eq(s->seen[i].previous_attempts, i);
    }
    expect_between(s->seen[2].at_ms - s->seen[1].at_ms, 160, 240);
    expect_between(s->seen[3].at_ms - s->seen[2].at_ms, 320, 480);
    retry_scene_destroy(s);
}

Test(retries_sim, backoff_is_bounded_and_scattered)
{
    retry_scene *s =
        retry_scene_create_with((evener_channel_options){.attempts_max = 30}, RETRY_CONFIG("30"), fails_always, 1);
    uint64_t sum = 0;
    bool differ = false;
    retry_scene_start(s, 0);
    retry_scene_finish(s, 30000);
    cr_assert_eq(s->attempts, 30);
    for (uint32_t i = 4; i < 30; i++) {
        const uint64_t backoff_ms = s->seen[i].at_ms - s->seen[i - 1].at_ms;
        expect_between(backoff_ms, 319, 480);
        differ = differ || backoff_ms != s->seen[4].at_ms - s->seen[3].at_ms;
        sum += backoff_ms;
    }
    cr_expect(differ);
    expect_between(sum / 26, 370, 430);
    retry_scene_destroy(s);
}

/* A6: more than 5 count as 5, unless the client's limit says otherwise. */
Test(retries_sim, the_channels_limit_bounds_max_attempts)
{
    static const struct {
        uint32_t limit, attempts;
    } cases[] = {{0, 5}, {8, 8}, {3, 3}, {1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        retry_scene *s = retry_scene_create_with((evener_channel_options){.attempts_max = cases[i].limit},
                                                 RETRY_CONFIG("8"), fails_always, 1);
        retry_scene_start(s, 0);
        retry_scene_finish(s, 10000);
        cr_expect_eq(s->attempts, cases[i].attempts, "limit %u: %u attempts", cases[i].limit, s->attempts);
        retry_scene_destroy(s);
    }
}

Test(retries_sim, retry_server_pushback_delay)
{
    const fake_call_outcome outcomes[] = {
        {.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE},
        {.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE, .pushback = "2000"},
        {.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE, .pushback = "0"},
        {.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE}};
    retry_scene *s = retry_scene_create(RETRY_CONFIG("5"), outcomes, 4);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_assert_eq(s->attempts, 5);
    cr_expect_eq(s->seen[2].at_ms - s->seen[1].at_ms, 2000, "exactly then");
    cr_expect_eq(s->seen[3].at_ms - s->seen[2].at_ms, 0);
    expect_between(s->seen[4].at_ms - s->seen[3].at_ms, 80, 120); /* the backoff starts anew */
    retry_scene_destroy(s);
}

/* A server that says "now" is asked again in the same moment. */
Test(retries_sim, a_pushback_of_nothing_waits_for_nothing)
{
    const fake_call_outcome outcomes[] = {
        {.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE, .pushback = "0"}, OK};
    retry_scene *s = retry_scene_create(RETRY_CONFIG("3"), outcomes, 2);
    retry_scene_start(s, 1000);
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(s->attempts, 2);
    cr_expect_eq(s->seen[1].at_ms, 0);
    cr_expect_eq(s->seen[1].timeout_ms, 1000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    retry_scene_destroy(s);
}

Test(retries_sim, retry_server_pushback_disabled)
{
    static const char *const forbid[] = {"-1", "",  "soon", "1.5", "10ms", "2147483648", "99999999999999999999",
                                         "+5", " 5"};
    for (size_t i = 0; i < sizeof forbid / sizeof forbid[0]; i++) {
        const fake_call_outcome outcome = {
            .kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE, .pushback = forbid[i]};
        retry_scene *s = retry_scene_create(RETRY_CONFIG("5"), &outcome, 1);
        retry_scene_start(s, 0);
        retry_scene_finish(s, 10000);
        cr_expect_eq(s->attempts, 1, "\"%s\": %u attempts", forbid[i], s->attempts);
        retry_scene_destroy(s);
    }
}

/* A6: the response headers commit the call. */
Test(retries_sim, headers_commit)
{
    const fake_call_outcome outcomes[] = {
        {.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE, .headers_came = true}, OK};
    retry_scene *s = retry_scene_create(RETRY_CONFIG("3"), outcomes, 2);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    retry_scene_destroy(s);
}

Test(retries_sim, retry_exceeds_buffer_size_in_initial_batch)
{
    retry_scene *s = retry_scene_create(RETRY_CONFIG("3"), fails_always, 1);
    uint8_t *large = calloc(1, EVENER_RETRY_BUFFER_BYTES + 1);
    s->request = (evener_bytes){.data = large, .length = EVENER_RETRY_BUFFER_BYTES};
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 3, "up to the limit it is kept");
    s->request.length++;
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1);
    retry_scene_destroy(s);
    free(large);
}

/* Transparent retries are no attempts of the policy, carry no number, and take no token. */
Test(retries_sim, transparent_retries_are_counted_apart)
{
    const fake_call_outcome outcomes[] = {
        {.kind = FAKE_CALL_NEVER_LEFT}, {.kind = FAKE_CALL_REFUSED}, UNAVAILABLE, {.kind = FAKE_CALL_NEVER_LEFT}, OK};
    retry_scene *s = retry_scene_create("{\"methodConfig\": [{\"name\": [{}], " RETRY_FIELDS(
                                            "2") "}], \"retryThrottling\": {\"maxTokens\": 4, \"tokenRatio\": 1}}",
                                        outcomes, 5);
    for (int i = 0; i < 3; i++) { /* one token less and one more: never at half of 4 */
        retry_scene_start(s, 0);
        retry_scene_finish(s, 10000);
        cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
        cr_expect_eq(s->attempts, 5);
        cr_expect_eq(s->executions, 2);
        cr_expect_eq(s->seen[2].previous_attempts, 0);
        cr_expect_eq(s->seen[3].previous_attempts, 1);
        cr_expect_eq(s->seen[4].previous_attempts, 1);
    }
    retry_scene_destroy(s);
}

/* Refused twice: A6 allows one transparent retry, then the policy decides. */
Test(retries_sim, what_is_refused_again_is_up_to_the_policy)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_REFUSED}, {.kind = FAKE_CALL_REFUSED}, OK};
    retry_scene *s = retry_scene_create(RETRY_CONFIG("2"), outcomes, 3);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(s->attempts, 3);
    expect_between(s->seen[2].at_ms, 80, 120);
    retry_scene_destroy(s);
}

/* ---- throttling ---- */

#define THROTTLED(max, ratio)                                                                                          \
    "{\"methodConfig\": [{\"name\": [{}], " RETRY_FIELDS("5") "}], \"retryThrottling\": {\"maxTokens\": " max          \
                                                              ", \"tokenRatio\": " ratio "}}"

/* The core's case: with 2 tokens the first failure leaves 1, which is not above the half. */
Test(retries_sim, retry_throttled)
{
    retry_scene *s = retry_scene_create(THROTTLED("2", "1"), fails_once, 2);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    retry_scene_destroy(s);
}

Test(retries_sim, tokens_come_back_with_successes)
{
    retry_scene *s = retry_scene_create(THROTTLED("4", "0.5"), fails_once, 1);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 2, "3 tokens are above the half, 2 are not");
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1, "1 token");
    for (int i = 0; i < 4; i++) { /* to 3 */
        s->outcomes[0] = (fake_call_outcome)OK;
        retry_scene_start(s, 0);
        retry_scene_finish(s, 10000);
    }
    s->outcomes[0] = fails_always[0];
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1, "3 - 1 tokens");
    s->outcomes[0] = (fake_call_outcome)OK;
    for (int i = 0; i < 8; i++) { /* full */
        retry_scene_start(s, 0);
        retry_scene_finish(s, 10000);
    }
    s->outcomes[0] = fails_always[0];
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 2);
    retry_scene_destroy(s);
}

/* A pushback that forbids takes a token even with a code that is not retryable. */
Test(retries_sim, a_pushback_that_forbids_takes_a_token)
{
    const fake_call_outcome forbids = {.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_INTERNAL, .pushback = "-1"};
    retry_scene *s = retry_scene_create(THROTTLED("4", "0.001"), &forbids, 1);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    s->outcomes[0] = fails_always[0];
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1, "4 - 1 - 1 is not above the half");
    retry_scene_destroy(s);
}

/* A change of the configuration keeps the share of tokens. */
Test(retries_sim, a_changed_throttle_keeps_its_share)
{
    retry_scene *s = retry_scene_create(THROTTLED("4", "0.001"), fails_always, 1);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 2);
    evener_status status;
    cr_assert_eq(evener_channel_set_default_service_config(s->f->channel, THROTTLED("1000", "0.001"), &status),
                 EVENER_STATUS_OK);
    virtual_loop_run_until_idle(s->f->loop);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1, "half of the tokens are still gone");
    cr_assert_eq(evener_channel_set_default_service_config(s->f->channel, RETRY_CONFIG("5"), &status),
                 EVENER_STATUS_OK);
    virtual_loop_run_until_idle(s->f->loop);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 5, "no throttling any more");
    retry_scene_destroy(s);
}

/* Another channel of the runtime, with the same config. */
static evener_channel *second_channel(retry_scene *s, const char *authority)
{
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(s->f->resolver)};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = s->f->runtime,
                                            .transport = fake_transport_transport(s->f->transport),
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .policy = "round_robin",
                                            .authority = authority,
                                            .default_service_config = THROTTLED("4", "0.001")};
    evener_channel *channel;
    evener_status status;
    cr_assert_eq(evener_channel_create("orders:///x", &options, &channel, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    evener_channel_connect(channel);
    virtual_loop_run_until_idle(s->f->loop);
    return channel;
}

/* A6: per server name. */
Test(retries_sim, throttling_is_shared_by_the_channels_of_a_server_name)
{
    retry_scene *s = retry_scene_create(THROTTLED("4", "0.001"), fails_always, 1);
    evener_channel *same = second_channel(s, NULL);
    evener_channel *other = second_channel(s, "other.example");
    evener_channel *first = s->f->channel;
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 2, "3 tokens are above the half, 2 are not");
    s->f->channel = same;
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1, "the tokens of the server name are gone");
    s->f->channel = other;
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 2, "another server name has its own");
    evener_status status;
    cr_assert_eq(evener_channel_set_default_service_config(same, RETRY_CONFIG("5"), &status), EVENER_STATUS_OK);
    virtual_loop_run_until_idle(s->f->loop);
    s->f->channel = same;
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 5, "a channel without retryThrottling takes no part");
    s->f->channel = first;
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1, "and does not end that of others");
    evener_channel_unref(same);
    evener_channel_unref(other);
    retry_scene_destroy(s);
}

/* In a total outage the additional load ends when the tokens are out. */
Test(retries_sim, in_a_total_outage_there_are_hardly_more_attempts_than_calls)
{
    retry_scene *s = retry_scene_create(THROTTLED("10", "0.1"), fails_always, 1);
    uint32_t attempts = 0;
    const uint32_t calls = 1000;
    for (uint32_t i = 0; i < calls; i++) {
        retry_scene_start(s, 0);
        retry_scene_finish(s, 10000);
        attempts += s->attempts;
    }
    cr_expect_leq(attempts, calls + calls / 10, "%u attempts of %u calls", attempts, calls);
    cr_expect_geq(attempts, calls + 4, "%u attempts", attempts);
    retry_scene_destroy(s);
}

static uint64_t transparent_retries_of_backends(evener_channel *channel)
{
    evener_status status;
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    cr_assert_eq(evener_channel_get_stats(channel, &stats, &status), EVENER_STATUS_OK, "%s", status.message);
    uint64_t count = 0;
    for (size_t i = 0; i < stats.subchannel_count; i++) {
        count += stats.subchannels[i].transparent_retries;
    }
    evener_channel_stats_clear(&stats);
    return count;
}

/* Statistics of the names that have a policy. */
Test(retries_sim, attempts_are_counted_per_method)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_NEVER_LEFT}, UNAVAILABLE, OK};
    retry_scene *s = retry_scene_create(THROTTLED("2", "0.001"), outcomes, 3);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    evener_method_stats stats;
    cr_assert_eq(evener_channel_get_method_stats(s->f->channel, &stats, sizeof stats, 1), 1);
    cr_expect_str_eq(stats.method, "");
    cr_expect_eq(stats.calls, 1);
    cr_expect_eq(stats.attempts, 2);
    cr_expect_eq(stats.attempts_cancelled, 0);
    cr_expect_eq(stats.transparent_retries, 1);
    cr_expect_eq(stats.throttled, 1);
    cr_expect_eq(stats.retries, 0);
    cr_expect_eq(transparent_retries_of_backends(s->f->channel), 1);
    evener_status status;
    cr_assert_eq(evener_channel_set_default_service_config(s->f->channel, RETRY_CONFIG("3"), &status),
                 EVENER_STATUS_OK);
    virtual_loop_run_until_idle(s->f->loop);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_assert_eq(evener_channel_get_method_stats(s->f->channel, &stats, sizeof stats, 1), 1);
    cr_expect_eq(stats.calls, 2, "they outlive a change of the config");
    cr_expect_eq(stats.retries, 1);
    cr_expect_eq(stats.attempts, 5);
    retry_scene_destroy(s);
}

/* ---- beyond A6: budget and breaker ---- */

#define BUDGET(ratio, per_second)                                                                                      \
    "{\"methodConfig\": [{\"name\": [{}], " RETRY_FIELDS("2") "}], \"evenerRetryBudget\": {\"ratio\": " ratio          \
                                                              ", \"minPerSecond\": " per_second "}}"

/* 2 per second at first, as ten seconds have earned 20; then one retry for every fifth call. */
Test(retries_sim, the_budget_bounds_retries)
{
    retry_scene *s = retry_scene_create(BUDGET("0.2", "2"), fails_always, 1);
    const uint64_t began_ns = virtual_loop_now_ns(s->f->loop);
    uint32_t retries = 0;
    const uint32_t calls = 500;
    for (uint32_t i = 0; i < calls; i++) {
        retry_scene_start(s, 0);
        retry_scene_finish(s, 10000);
        cr_assert_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
        retries += s->attempts - 1;
    }
    const uint64_t seconds = (virtual_loop_now_ns(s->f->loop) - began_ns) / EVENER_NS_PER_S;
    const uint64_t allowed = 20 + 2 * seconds + calls / 5;
    cr_expect_leq(retries, allowed + 1, "%u retries, %llu allowed", retries, (unsigned long long)allowed);
    cr_expect_geq(retries, allowed - 3, "%u retries, %llu allowed", retries, (unsigned long long)allowed);
    evener_method_stats stats;
    cr_assert_eq(evener_channel_get_method_stats(s->f->channel, &stats, sizeof stats, 1), 1);
    cr_expect_eq(stats.retries, retries);
    cr_expect_eq(stats.throttled, calls - retries);
    retry_scene_destroy(s);
}

Test(retries_sim, a_budget_of_nothing_allows_no_retry)
{
    retry_scene *s = retry_scene_create(BUDGET("0", "0"), fails_once, 2);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->attempts, 1);
    retry_scene_destroy(s);
}

/* Start a call that the breaker may reject; return whether it made an attempt. */
static bool is_let_through(retry_scene *s)
{
    const evener_call_options options = {.size = sizeof options};
    evener_status status;
    s->attempts = 0;
    s->ends = 0;
    evener_call_unref(s->call);
    s->call = NULL;
    const evener_status_code code =
        evener_call_start(s->f->channel, SCENE_METHOD, &s->request, &options, retry_scene_ended, s, NULL, &status);
    cr_assert(code == EVENER_STATUS_OK || strstr(status.message, "breaker") != NULL, "%s", status.message);
    virtual_loop_advance_ms(s->f->loop, 1);
    return code == EVENER_STATUS_OK;
}

Test(retries_sim, the_breaker_rejects_while_calls_fail_and_recovers)
{
    retry_scene *s = retry_scene_create(
        "{\"methodConfig\": [{\"name\": [{\"service\": \"sim.Sim\"}], \"evenerBreaker\": {\"k\": 2}}]}",
        (fake_call_outcome[]){OK}, 1);
    uint32_t through = 0;
    for (int i = 0; i < 200; i++) {
        through += is_let_through(s);
    }
    cr_expect_eq(through, 200, "none is rejected while all go well");
    s->outcomes[0] = fails_always[0];
    through = 0;
    for (int i = 0; i < 4000; i++) {
        through += is_let_through(s);
    }
    /* 200 good ones of 4,200 requests: in the end 9 of 10 are rejected; on average about 7. */
    cr_expect(through > 400 && through < 2000, "%u of 4000", through);
    evener_method_stats stats;
    cr_assert_eq(evener_channel_get_method_stats(s->f->channel, &stats, sizeof stats, 1), 1);
    cr_expect_eq(stats.breaker_rejections, 4000 - through);
    cr_expect_eq(stats.calls, 4200);
    virtual_loop_advance_ms(s->f->loop, 11000); /* ten seconds forget all */
    s->outcomes[0] = (fake_call_outcome)OK;
    through = 0;
    for (int i = 0; i < 100; i++) {
        through += is_let_through(s);
    }
    cr_expect_eq(through, 100);
    retry_scene_destroy(s);
}

/* One of four backends answers UNAVAILABLE: with a retry policy no call fails, and no second attempt goes there. */
Test(retries_sim, one_backend_of_four_that_fails_costs_no_call)
{
    static const char *const policies[] = {"round_robin", "p2c_ewma", "least_request"};
    for (size_t p = 0; p < sizeof policies / sizeof policies[0]; p++) {
        retry_scene *s = retry_scene_create_with((evener_channel_options){.policy = policies[p]}, RETRY_CONFIG("2"),
                                                 (fake_call_outcome[]){OK}, 1);
        s->bad_address = "127.0.0.1:2";
        fixture_push(s->f, SCENE_BACKENDS ",127.0.0.1:4");
        uint32_t retried = 0;
        for (int i = 0; i < 400; i++) {
            retry_scene_start(s, 0);
            retry_scene_finish(s, 10000);
            cr_assert_eq(s->status.code, EVENER_STATUS_OK, "%s: %s", policies[p], s->status.message);
            cr_assert_leq(s->attempts, 2);
            retried += s->attempts == 2;
            if (s->attempts == 2) {
                cr_assert_str_eq(s->seen[0].address, s->bad_address);
                cr_assert_str_neq(s->seen[1].address, s->bad_address);
            }
        }
        cr_expect_gt(retried, 0, "%s: it was never picked", policies[p]);
        retry_scene_destroy(s);
    }
}

/* ---- picks ---- */

Test(retries_sim, retry_lb_fail)
{
    retry_scene *s = retry_scene_create(RETRY_CONFIG("3"), (fake_call_outcome[]){OK}, 1);
    fake_transport_set_default(s->f->transport, FAKE_REFUSE, 0);
    fixture_push(s->f, "127.0.0.1:1");
    fake_transport_drop(s->f->transport, "127.0.0.1:1");
    virtual_loop_run_until_idle(s->f->loop);
    retry_scene_start(s, 0);
    cr_expect_eq(s->ends, 0);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_UNAVAILABLE);
    cr_expect_eq(s->attempts, 0);
    expect_between(s->ended_ms, 240, 360); /* two backoffs: three picks */

    fake_transport_set_default(s->f->transport, FAKE_ACCEPT, 0);
    retry_scene_start(s, 0);
    fixture_push(s->f, "127.0.0.1:8");
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_expect_eq(s->seen[0].previous_attempts, 1, "a pick that failed is an attempt");
    retry_scene_destroy(s);
}

Test(retries_sim, retry_lb_drop)
{
    retry_scene *s = retry_scene_create(RETRY_CONFIG("3"), fails_once, 2);
    retry_scene_start(s, 0);
    virtual_loop_run_until_idle(s->f->loop);
    evener_channel_close(s->f->channel); /* whose picker drops */
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->attempts, 1);
    cr_expect_str_eq(s->status.message, "channel closed");
    expect_between(s->ended_ms, 80, 120); /* one backoff: the drop is not retried */
    retry_scene_destroy(s);
}

/* ---- deadlines and cancellation ---- */

Test(retries_sim, the_deadline_ends_a_backoff)
{
    const fake_call_outcome outcome = {
        .kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE, .pushback = "60000"};
    retry_scene *s = retry_scene_create(RETRY_CONFIG("3"), &outcome, 1);
    retry_scene_start(s, 1000);
    retry_scene_finish(s, 100000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->ended_ms, 1000);
    cr_expect_eq(s->attempts, 1);
    cr_expect_eq(s->status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_not_null(strstr(s->status.message, "UNAVAILABLE: the server says no"), "%s", s->status.message);
    cr_expect_not_null(strstr(s->status.message, s->seen[0].address), "%s", s->status.message);
    retry_scene_destroy(s);
}

Test(retries_sim, retry_per_attempt_recv_timeout)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_SILENT}, {.kind = FAKE_CALL_SILENT}, OK};
    retry_scene *s = retry_scene_create(
        "{\"methodConfig\": [{\"name\": [{}], \"retryPolicy\": {\"maxAttempts\": 3, \"initialBackoff\": \"0.1s\", "
        "\"maxBackoff\": \"0.1s\", \"backoffMultiplier\": 1, \"retryableStatusCodes\": [\"UNAVAILABLE\"], "
        "\"perAttemptRecvTimeout\": \"0.25s\"}}]}",
        outcomes, 3);
    retry_scene_start(s, 10000);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK, "%s", s->status.message);
    cr_assert_eq(s->attempts, 3);
    cr_expect_eq(s->seen[0].timeout_ms, 250);
    expect_between(s->seen[1].at_ms, 330, 370);
    expect_between(s->seen[2].at_ms, 660, 740);

    s->outcomes[2] = outcomes[0];
    retry_scene_start(s, 10000);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_not_null(strstr(s->status.message, "attempt 3 timed out after 250 ms at 127.0.0.1:"), "%s",
                       s->status.message);

    retry_scene_start(s, 400);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->ended_ms, 400, "the call's own deadline comes first");
    cr_expect_eq(s->attempts, 2);
    retry_scene_destroy(s);
}

static void count_candidate(void *arg, const char *address, double load, const char *note)
{
    (void)address;
    (void)load;
    (void)note;
    ++*(int *)arg;
}

static void drop_message(void *arg, evener_bytes *message)
{
    (void)arg;
    evener_bytes_clear(message);
}

static void stream_ended(void *arg, const evener_status *status)
{
    retry_scene *s = arg;
    s->ends++;
    s->status = *status;
}

/* Start a call, or (`stream` is not NULL) a stream, and take the trace away. */
static void start_traced(retry_scene *s, int *candidates, evener_stream **stream)
{
    static const evener_stream_callbacks callbacks = {
        .size = sizeof callbacks, .message = drop_message, .ended = stream_ended};
    evener_pick_trace *trace = malloc(sizeof *trace);
    *trace = (evener_pick_trace){.size = sizeof *trace, .arg = candidates, .candidate = count_candidate};
    const evener_call_options options = {.size = sizeof options, .trace = trace};
    evener_status status;
    const evener_status_code code =
        stream != NULL
            ? evener_stream_start(s->f->channel, SCENE_METHOD, &s->request, &options, &callbacks, s, stream, &status)
            : evener_call_start(s->f->channel, SCENE_METHOD, &s->request, &options, retry_scene_ended, s, &s->call,
                                &status);
    cr_assert_eq(code, EVENER_STATUS_OK, "%s", status.message);
    memset(trace, 0xff, sizeof *trace);
    free(trace);
}

/* The trace is borrowed only until the call was started, and reports the picks of later attempts all the same. */
Test(retries_sim, the_trace_is_copied)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_LOST, .delay_ns = EVENER_NS_PER_MS}};
    for (int as_stream = 0; as_stream < 2; as_stream++) {
        int candidates = 0;
        evener_stream *stream = NULL;
        retry_scene *s = retry_scene_create_with((evener_channel_options){.policy = "least_request"}, RETRY_CONFIG("3"),
                                                 outcomes, 1);
        start_traced(s, &candidates, as_stream != 0 ? &stream : NULL);
        const int first = candidates;
        cr_expect_gt(first, 0);
        virtual_loop_advance_ms(s->f->loop, 10000);
        cr_expect_eq(s->ends, 1);
        cr_expect_eq(s->attempts, 3);
        cr_expect_gt(candidates, first);
        evener_stream_unref(stream);
        retry_scene_destroy(s);
    }
}

Test(retries_sim, a_trace_without_a_size_is_refused)
{
    const evener_pick_trace trace = {.candidate = count_candidate};
    const evener_call_options options = {.size = sizeof options, .trace = &trace};
    evener_status status;
    retry_scene *s = retry_scene_create("{}", fails_always, 1);
    cr_expect_eq(
        evener_call_start(s->f->channel, SCENE_METHOD, &s->request, &options, retry_scene_ended, s, NULL, &status),
        EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "sizeof(evener_pick_trace)"), "%s", status.message);
    retry_scene_destroy(s);
}

/* A connection without a free stream: the attempt never leaves, and its timeout ends it. The policy limits it. */
Test(retries_sim, attempts_that_time_out_before_they_leave_are_limited)
{
    const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_NEVER_LEFT, .delay_ns = 3600 * EVENER_NS_PER_S}};
    retry_scene *s = retry_scene_create(
        "{\"methodConfig\": [{\"name\": [{}], \"retryPolicy\": {\"maxAttempts\": 3, \"initialBackoff\": \"0.1s\", "
        "\"maxBackoff\": \"0.1s\", \"backoffMultiplier\": 1, \"retryableStatusCodes\": [\"UNAVAILABLE\"], "
        "\"perAttemptRecvTimeout\": \"0.25s\"}}]}",
        outcomes, 1);
    retry_scene_start(s, 10000);
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->ends, 1);
    cr_expect_eq(s->attempts, 3);
    cr_expect_eq(s->status.code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_not_null(strstr(s->status.message, "attempt 3 timed out after 250 ms at 127.0.0.1:"), "%s",
                       s->status.message);
    expect_between(s->ended_ms, 3 * 250 + 2 * 80, 3 * 250 + 2 * 120);
    retry_scene_destroy(s);
}

/* Cancelled at each step of a call with retries: on the wire, in a backoff, on the wire again. */
Test(retries_sim, retry_cancel_at_each_step)
{
    const fake_call_outcome outcomes[] = {
        {.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE, .delay_ns = 20 * EVENER_NS_PER_MS},
        {.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE, .delay_ns = 20 * EVENER_NS_PER_MS},
        {.kind = FAKE_CALL_SILENT}};
    retry_scene *s = retry_scene_create(RETRY_CONFIG("4"), outcomes, 3);
    for (uint64_t at_ms = 0; at_ms < 500; at_ms += 5) {
        retry_scene_start(s, 10000);
        virtual_loop_advance_ms(s->f->loop, at_ms);
        cr_assert_eq(s->ends, 0);
        evener_call_cancel(s->call);
        const uint32_t attempts = s->attempts;
        virtual_loop_run_until_idle(s->f->loop);
        cr_assert_eq(s->ends, 1, "cancelled after %u ms", (unsigned)at_ms);
        cr_assert_eq(s->status.code, EVENER_STATUS_CANCELLED);
        cr_assert_eq(s->attempts, attempts);
        cr_assert_eq(fake_transport_calls_under_way(s->f->transport), 0);
        virtual_loop_advance_ms(s->f->loop, 1000);
        cr_assert_eq(s->ends, 1);
        cr_assert_eq(s->attempts, attempts, "nothing comes after the end");
    }
    retry_scene_destroy(s);
}

/* A call that is given up and never ended by its owner frees everything with the channel. */
Test(retries_sim, a_handle_given_back_in_a_backoff_changes_nothing)
{
    retry_scene *s = retry_scene_create(RETRY_CONFIG("3"), fails_once, 2);
    retry_scene_start(s, 0);
    virtual_loop_run_until_idle(s->f->loop);
    evener_call_unref(s->call);
    s->call = NULL;
    retry_scene_finish(s, 10000);
    cr_expect_eq(s->status.code, EVENER_STATUS_OK);
    retry_scene_destroy(s);
}

/* ---- many calls, at random, by seed ---- */

Test(retries_sim, whatever_happens_each_call_ends_once_in_time_and_is_executed_as_often_as_its_policy_allows)
{
    static const call_storm storm = {.channel = {.policy = "round_robin", .default_service_config = RETRY_CONFIG("4")},
                                     .executions_max = 4,
                                     .timeout_ms_max = 600};
    for (uint64_t seed = 1; seed <= 60; seed++) {
        call_storm_run(&storm, seed);
    }
}

/* Eight backends are avoided: the oldest one comes into question again. */
Test(retries_sim, the_latest_eight_backends_are_avoided)
{
    static const fake_call_outcome outcomes[] = {{.kind = FAKE_CALL_ANSWER, .code = EVENER_STATUS_UNAVAILABLE}};
    retry_scene *s = retry_scene_create_with((evener_channel_options){.policy = "random", .attempts_max = 30},
                                             RETRY_CONFIG("30"), outcomes, 1);
    fixture_push(s->f, "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,127.0.0.1:4,127.0.0.1:5,127.0.0.1:6,127.0.0.1:7,"
                       "127.0.0.1:8,127.0.0.1:9,127.0.0.1:10");
    virtual_loop_run_until_idle(s->f->loop);
    retry_scene_start(s, 0);
    retry_scene_finish(s, 60000);
    cr_expect_eq(s->ends, 1);
    cr_assert_eq(s->attempts, 30);
    bool comes_back = false;
    for (size_t i = 0; i < 30; i++) {
        for (size_t j = i >= 8 ? i - 8 : 0; j < i; j++) {
            cr_expect_str_neq(s->seen[i].address, s->seen[j].address, "attempts %zu and %zu", i, j);
        }
        comes_back = comes_back || (i >= 9 && strcmp(s->seen[i].address, s->seen[i - 9].address) == 0);
    }
    cr_expect(comes_back, "the one before the eight");
    retry_scene_destroy(s);
}
