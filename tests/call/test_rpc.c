/* What a call takes from its options and its channel, and the statuses that it makes itself: by the functions of
 * lb/call/rpc.h, on the virtual loop. */
#include <criterion/criterion.h>

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#include "lb/call/retry.h"
#include "lb/call/rpc.h"
#include "lb/channel/channel_internal.h"
#include "tests/call/retry_scene.h"

#define MS EVENER_NS_PER_MS
#define METHOD SCENE_METHOD

static retry_scene *scene_with(evener_channel_options options, const char *config)
{
    static const fake_call_outcome answers[] = {{.kind = FAKE_CALL_ANSWER}};
    return retry_scene_create_with(options, config, answers, 1);
}

static retry_scene *scene(void)
{
    return scene_with((evener_channel_options){0}, "{}");
}

static evener_rpc rpc_of(const retry_scene *s, evener_call_options options)
{
    evener_rpc rpc;
    options.size = sizeof options;
    evener_rpc_init(&rpc, s->f->channel, METHOD, &options);
    return rpc;
}

static void pick_one(const retry_scene *s, evener_pick *pick)
{
    cr_assert_eq(evener_channel_try_pick(s->f->channel, NULL, pick, NULL), EVENER_PICK_COMPLETE);
}

/* ---- what is refused ---- */

static void refuses(evener_channel *channel, const char *method, const evener_call_options *given, const char *expected)
{
    evener_call_options options;
    evener_status status;
    cr_expect_eq(evener_rpc_check(channel, method, given, &options, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(status.message, expected);
    cr_expect_eq(status.code, EVENER_STATUS_INVALID_ARGUMENT);
}

Test(rpc, a_call_without_channel_or_method_is_refused)
{
    retry_scene *s = scene();
    evener_channel *channel = s->f->channel;
    refuses(NULL, NULL, NULL, "call of (no method): the channel is NULL");
    refuses(NULL, METHOD, NULL, "call of " METHOD ": the channel is NULL");
    refuses(channel, NULL, NULL, "call: the method is NULL: it is to be \"/package.Service/Method\"");
    refuses(channel, "x", NULL, "call: the method is \"x\": it is to be \"/package.Service/Method\"");
    refuses(channel, "", NULL, "call: the method is \"\": it is to be \"/package.Service/Method\"");
    static const char *const texts[] = {"/a b", "/a\tb", "/a\n", "/\x7f"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        refuses(channel, texts[i], NULL,
                "call: the method holds bytes that cannot be sent in a path: it is to be \"/package.Service/Method\"");
    }
    retry_scene_destroy(s);
}

Test(rpc, each_entry_of_the_metadata_is_checked)
{
    retry_scene *s = scene();
    for (size_t i = 0; i < 3; i++) {
        evener_metadata entries[] = {{"a", "1", 1}, {"b", NULL, 0}, {"c", "3", 1}};
        const evener_call_options options = {.size = sizeof options, .metadata = entries, .metadata_count = 3};
        evener_call_options read;
        char expected[96];
        cr_expect_eq(evener_rpc_check(s->f->channel, METHOD, &options, &read, NULL), EVENER_STATUS_OK);
        cr_expect_eq(read.metadata, entries);
        entries[i].value = NULL;
        entries[i].value_bytes = 1;
        (void)snprintf(expected, sizeof expected, "call of " METHOD ": options.metadata[%zu]: the value is NULL", i);
        refuses(s->f->channel, METHOD, &options, expected);
        entries[i].key = NULL;
        (void)snprintf(expected, sizeof expected, "call of " METHOD ": options.metadata[%zu]: the key is NULL", i);
        refuses(s->f->channel, METHOD, &options, expected);
    }
    evener_call_options options = {.size = sizeof options, .metadata_count = 2};
    refuses(s->f->channel, METHOD, &options,
            "call of " METHOD ": options.metadata is NULL and options.metadata_count is 2");
    options.metadata_count = 0;
    const evener_call_options highest = {.size = sizeof highest, .compression = EVENER_COMPRESSION_IDENTITY};
    evener_call_options read;
    cr_expect_eq(evener_rpc_check(s->f->channel, METHOD, &highest, &read, NULL), EVENER_STATUS_OK);
    options.compression = (evener_compression)(EVENER_COMPRESSION_IDENTITY + 1);
    cr_expect_eq(evener_rpc_check(s->f->channel, METHOD, &options, &read, NULL), EVENER_STATUS_INVALID_ARGUMENT);
    retry_scene_destroy(s);
}

Test(rpc, a_transport_without_calls_is_named)
{
    fixture *f = fixture_create(NULL);
    evener_call_options read;
    evener_status status;
    cr_expect_eq(evener_rpc_check(f->channel, METHOD, NULL, &read, &status), EVENER_STATUS_FAILED_PRECONDITION);
    cr_expect_str_eq(status.message,
                     "call of " METHOD ": the transport of the channel to orders:///x carries no calls: "
                     "use evener_channel_pick() there");
    fixture_destroy(f);
}

/* ---- what a call takes from its options, the service config and the channel ---- */

/* 0: not set. Both set: the smaller one. */
Test(rpc, the_smaller_limit_of_messages_counts)
{
    static const struct {
        size_t of_channel, of_config, expected;
    } rows[] = {{0, 0, 0}, {100, 0, 100}, {0, 200, 200}, {100, 200, 100}, {300, 200, 200}, {200, 200, 200}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char config[160] = "{}";
        if (rows[i].of_config > 0) {
            (void)snprintf(config, sizeof config,
                           "{\"methodConfig\": [{\"name\": [{}], \"maxRequestMessageBytes\": %zu, "
                           "\"maxResponseMessageBytes\": %zu}]}",
                           rows[i].of_config, rows[i].of_config);
        }
        retry_scene *s = scene_with((evener_channel_options){0}, config);
        s->f->channel->calls.receive_bytes_max = rows[i].of_channel;
        s->f->channel->calls.send_bytes_max = rows[i].of_channel;
        const evener_rpc rpc = rpc_of(s, (evener_call_options){0});
        cr_expect_eq(rpc.receive_bytes_max, rows[i].expected, "%zu: %zu", i, rpc.receive_bytes_max);
        cr_expect_eq(rpc.send_bytes_max, rows[i].expected, "%zu: %zu", i, rpc.send_bytes_max);
        retry_scene_destroy(s);
    }
}

Test(rpc, the_shorter_timeout_counts)
{
    static const struct {
        uint64_t of_call_ms, of_config_ms, expected_ms;
    } rows[] = {{0, 0, 0},          {1500, 0, 1500},          {0, 2500, 2500},
                {1500, 2500, 1500}, {3500, 2500, 2500},       {UINT64_C(1) << 40, 0, 0},
                {1, 0, 1},          {UINT64_MAX, 2500, 2500}, {(UINT64_C(1) << 40) - 1, 0, (UINT64_C(1) << 40) - 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        retry_scene *s = scene_with(
            (evener_channel_options){0},
            rows[i].of_config_ms == 0 ? "{}" : "{\"methodConfig\": [{\"name\": [{}], \"timeout\": \"2.5s\"}]}");
        const evener_rpc rpc = rpc_of(s, (evener_call_options){.timeout_ms = rows[i].of_call_ms});
        const uint64_t expected_ns = virtual_loop_now_ns(s->f->loop) + rows[i].expected_ms * MS;
        cr_expect_eq(rpc.timeout_ms, rows[i].expected_ms, "%zu", i);
        cr_expect_eq(rpc.deadline_ns, rows[i].expected_ms == 0 ? UINT64_MAX : expected_ns, "%zu", i);
        retry_scene_destroy(s);
    }
}

Test(rpc, wait_for_ready_is_the_calls_then_the_configs_then_the_channels)
{
    static const char *const configs[] = {"{}", "{\"methodConfig\": [{\"name\": [{}], \"waitForReady\": true}]}",
                                          "{\"methodConfig\": [{\"name\": [{}], \"waitForReady\": false}]}"};
    static const evener_wait_for_ready of_call[] = {EVENER_WAIT_FOR_READY_DEFAULT, EVENER_WAIT_FOR_READY_YES,
                                                    EVENER_WAIT_FOR_READY_NO};
    for (unsigned i = 0; i < 18; i++) {
        const unsigned of_config = i / 3 % 3;
        const bool of_channel = i >= 9;
        retry_scene *s = scene_with((evener_channel_options){.wait_for_ready = of_channel}, configs[of_config]);
        const evener_rpc rpc = rpc_of(s, (evener_call_options){.wait_for_ready = of_call[i % 3]});
        const bool expected = i % 3 != 0 ? i % 3 == 1 : of_config != 0 ? of_config == 1 : of_channel;
        cr_expect_eq(rpc.pick_args.wait_for_ready, expected, "%u", i);
        retry_scene_destroy(s);
    }
}

Test(rpc, compression_is_the_calls_then_the_channels)
{
    static const struct {
        evener_compression of_call, of_channel, expected;
    } rows[] = {{EVENER_COMPRESSION_NONE, EVENER_COMPRESSION_NONE, EVENER_COMPRESSION_NONE},
                {EVENER_COMPRESSION_NONE, EVENER_COMPRESSION_GZIP, EVENER_COMPRESSION_GZIP},
                {EVENER_COMPRESSION_DEFLATE, EVENER_COMPRESSION_GZIP, EVENER_COMPRESSION_DEFLATE},
                {EVENER_COMPRESSION_IDENTITY, EVENER_COMPRESSION_GZIP, EVENER_COMPRESSION_NONE},
                {EVENER_COMPRESSION_NONE, EVENER_COMPRESSION_IDENTITY, EVENER_COMPRESSION_NONE}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        retry_scene *s = scene_with((evener_channel_options){.compression = rows[i].of_channel}, "{}");
        const evener_rpc rpc = rpc_of(s, (evener_call_options){.compression = rows[i].of_call});
        cr_expect_eq(rpc.compression, rows[i].expected, "%zu", i);
        retry_scene_destroy(s);
    }
}

/* The least factor that a service config may set is a breaker too. */
Test(rpc, a_breaker_with_a_factor_of_1_rejects)
{
    retry_scene *s =
        scene_with((evener_channel_options){0}, "{\"methodConfig\": [{\"name\": [{\"service\": \"sim.Sim\"}], "
                                                "\"evenerBreaker\": {\"k\": 1}}]}");
    unsigned rejected = 0;
    for (int i = 0; i < 1000; i++) {
        evener_rpc rpc = rpc_of(s, (evener_call_options){0});
        evener_status status;
        cr_assert_eq(rpc.breaker_k, 1);
        const evener_status_code code = evener_rpc_admit(&rpc, &status);
        if (code == EVENER_STATUS_OK) {
            evener_rpc_report(&rpc, EVENER_STATUS_UNAVAILABLE);
        } else {
            cr_assert_eq(code, EVENER_STATUS_UNAVAILABLE);
            cr_assert_not_null(strstr(status.message, "breaker"), "%s", status.message);
            rejected++;
        }
    }
    cr_expect_gt(rejected, 500, "%u", rejected);
    cr_expect_lt(rejected, 1000, "%u", rejected);
    retry_scene_destroy(s);
}

/* ---- time ---- */

Test(rpc, a_pick_has_the_time_that_is_left_in_whole_milliseconds)
{
    retry_scene *s = scene();
    evener_rpc rpc = rpc_of(s, (evener_call_options){.timeout_ms = 10});
    cr_expect(evener_rpc_set_pick_timeout(&rpc));
    cr_expect_eq(rpc.pick_args.timeout_ms, 10);
    virtual_loop_advance_ns(s->f->loop, 1);
    cr_expect(evener_rpc_set_pick_timeout(&rpc));
    cr_expect_eq(rpc.pick_args.timeout_ms, 10, "rounded up");
    virtual_loop_advance_ns(s->f->loop, MS - 1);
    cr_expect(evener_rpc_set_pick_timeout(&rpc));
    cr_expect_eq(rpc.pick_args.timeout_ms, 9);
    virtual_loop_advance_ns(s->f->loop, 9 * MS - 1);
    cr_expect(evener_rpc_set_pick_timeout(&rpc));
    cr_expect_eq(rpc.pick_args.timeout_ms, 1);
    for (int i = 0; i < 2; i++) {
        virtual_loop_advance_ns(s->f->loop, 1);
        cr_expect_not(evener_rpc_set_pick_timeout(&rpc));
        cr_expect_eq(rpc.pick_args.timeout_ms, 0);
    }
    rpc = rpc_of(s, (evener_call_options){0});
    cr_expect(evener_rpc_set_pick_timeout(&rpc));
    cr_expect_eq(rpc.pick_args.timeout_ms, 0, "no deadline");
    retry_scene_destroy(s);
}

Test(rpc, an_attempt_ends_by_its_own_timeout_or_the_calls_deadline)
{
    retry_scene *s = scene();
    evener_pick pick;
    pick_one(s, &pick);
    static const struct {
        uint64_t timeout_ms, attempt_ms, expected_ms;
    } rows[] = {{0, 0, 0}, {100, 0, 100}, {0, 30, 30}, {100, 30, 30}, {20, 30, 20}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int is_unary = 0; is_unary < 2; is_unary++) {
            evener_rpc rpc = rpc_of(s, (evener_call_options){.timeout_ms = rows[i].timeout_ms, .authority = "a"});
            rpc.policy.attempt_timeout_ns = rows[i].attempt_ms * MS;
            evener_call_begin_args args = {.unary = is_unary == 1};
            const uint64_t now_ns = virtual_loop_now_ns(s->f->loop);
            evener_rpc_fill_begin_args(&rpc, &pick, &args);
            const uint64_t ms = is_unary == 1 ? rows[i].expected_ms : rows[i].timeout_ms; /* a stream's has a timer */
            cr_expect_eq(args.deadline_ns, ms == 0 ? UINT64_MAX : now_ns + ms * MS, "%zu", i);
            cr_expect_eq(rpc.attempt_deadline_ns, args.deadline_ns);
            cr_expect_str_eq(args.method, METHOD);
            cr_expect_str_eq(args.authority, "a");
            cr_expect_eq(args.previous_attempts, 0);
        }
    }
    evener_pick_done(&pick, NULL);
    retry_scene_destroy(s);
}

/* A server may be 5 ms early. */
Test(rpc, a_deadline_is_near_5_ms_before)
{
    retry_scene *s = scene();
    const evener_rpc rpc = rpc_of(s, (evener_call_options){.timeout_ms = 100});
    virtual_loop_advance_ns(s->f->loop, 95 * MS - 1);
    cr_expect_not(evener_rpc_is_about(&rpc, rpc.deadline_ns));
    virtual_loop_advance_ns(s->f->loop, 1);
    cr_expect(evener_rpc_is_about(&rpc, rpc.deadline_ns));
    virtual_loop_advance_ns(s->f->loop, 10 * MS);
    cr_expect(evener_rpc_is_about(&rpc, rpc.deadline_ns));
    retry_scene_destroy(s);
}

/* ---- statuses ---- */

Test(rpc, a_deadline_without_a_backend_names_what_the_call_waited_for)
{
    retry_scene *s = scene();
    evener_status status;
    evener_rpc rpc = rpc_of(s, (evener_call_options){.timeout_ms = 12034});
    rpc.attempts = 3;
    cr_expect_eq(evener_rpc_deadline_status(&rpc, &status), EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_str_eq(status.message, "deadline exceeded after 12.034 s: waiting for a backend of \"orders:///x\"; "
                                     "3 connections that were picked had been lost");
    struct evener_retry retry = {0};
    evener_status_set(&retry.last, EVENER_STATUS_ABORTED, "why");
    rpc.retry = &retry;
    rpc.retries = 2;
    cr_expect_eq(evener_rpc_deadline_status(&rpc, &status), EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_str_eq(status.message,
                     "deadline exceeded after 12.034 s: between attempts at \"orders:///x\"; attempt 2 ended at why");
    retry_scene_destroy(s);
}

typedef struct ending {
    uint64_t at_ms; /* after the start, of a timeout of 5004 ms */
    evener_call_end end;
    const char *expected; /* message; its %s is the backend */
    evener_status_code code;
} ending;

Test(rpc, a_deadline_at_a_backend_names_it_and_what_else_the_server_says)
{
    static const ending rows[] = {
        {100, {.code = EVENER_STATUS_OK, .message = "", .timed_out = true}, "", EVENER_STATUS_OK},
        {100, {.code = EVENER_STATUS_ABORTED, .message = "no"}, "no", EVENER_STATUS_ABORTED},
        {100, {.code = EVENER_STATUS_DEADLINE_EXCEEDED, .message = "mine"}, "mine", EVENER_STATUS_DEADLINE_EXCEEDED},
        {5004,
         {.code = EVENER_STATUS_DEADLINE_EXCEEDED, .message = "", .timed_out = true},
         "deadline exceeded after 5.004 s at %s",
         EVENER_STATUS_DEADLINE_EXCEEDED},
        {5004,
         {.code = EVENER_STATUS_UNAVAILABLE, .message = "the transport's", .timed_out = true},
         "deadline exceeded after 5.004 s at %s",
         EVENER_STATUS_DEADLINE_EXCEEDED},
        {5000,
         {.code = EVENER_STATUS_DEADLINE_EXCEEDED, .message = ""},
         "deadline exceeded after 5.004 s at %s",
         EVENER_STATUS_DEADLINE_EXCEEDED},
        {5000,
         {.code = EVENER_STATUS_DEADLINE_EXCEEDED, .message = "Deadline Exceeded"},
         "deadline exceeded after 5.004 s at %s",
         EVENER_STATUS_DEADLINE_EXCEEDED},
        {5000,
         {.code = EVENER_STATUS_DEADLINE_EXCEEDED, .message = "the table is locked"},
         "deadline exceeded after 5.004 s at %s: the table is locked",
         EVENER_STATUS_DEADLINE_EXCEEDED},
        {5000, {.code = EVENER_STATUS_ABORTED, .message = "no"}, "no", EVENER_STATUS_ABORTED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        retry_scene *s = scene();
        evener_pick pick;
        evener_status status;
        char expected[160];
        pick_one(s, &pick);
        (void)snprintf(expected, sizeof expected, rows[i].expected, evener_subchannel_address_text(pick.subchannel));
        evener_rpc rpc = rpc_of(s, (evener_call_options){.timeout_ms = 5004});
        rpc.attempt_deadline_ns = rpc.deadline_ns;
        virtual_loop_advance_ms(s->f->loop, rows[i].at_ms);
        evener_rpc_set_status(&rpc, &pick, &rows[i].end, &status);
        cr_expect_eq(status.code, rows[i].code, "%zu", i);
        cr_expect_str_eq(status.message, expected, "%zu: %s", i, status.message);
        evener_pick_done(&pick, NULL);
        retry_scene_destroy(s);
    }
}

/* Without a deadline of the call a server's DEADLINE_EXCEEDED is the server's own. */
Test(rpc, an_attempts_timeout_has_a_status_of_its_own)
{
    retry_scene *s = scene();
    evener_pick pick;
    evener_status status;
    char expected[160];
    pick_one(s, &pick);
    const evener_call_end end = {
        .size = sizeof end, .code = EVENER_STATUS_DEADLINE_EXCEEDED, .message = "x", .message_bytes = 1};
    evener_rpc rpc = rpc_of(s, (evener_call_options){0});
    rpc.attempt_deadline_ns = rpc.deadline_ns;
    evener_rpc_set_status(&rpc, &pick, &end, &status);
    cr_expect_str_eq(status.message, "x");

    rpc.retries = 1;
    rpc.policy.attempt_timeout_ns = 1250 * MS;
    rpc.attempt_deadline_ns = virtual_loop_now_ns(s->f->loop) + 6 * MS;
    evener_rpc_set_status(&rpc, &pick, &end, &status);
    cr_expect_str_eq(status.message, "x", "it is not near");
    virtual_loop_advance_ms(s->f->loop, 1);
    evener_rpc_set_status(&rpc, &pick, &end, &status);
    (void)snprintf(expected, sizeof expected, "attempt 2 timed out after 1250 ms at %s",
                   evener_subchannel_address_text(pick.subchannel));
    cr_expect_str_eq(status.message, expected);
    evener_pick_done(&pick, NULL);
    retry_scene_destroy(s);
}

/* Details have the whole message of the transport, however long, or the status that was made of more. */
Test(rpc, details_have_the_whole_message)
{
    retry_scene *s = scene();
    evener_pick pick;
    pick_one(s, &pick);
    char *text = malloc(5001);
    memset(text, 'm', 5000);
    text[5000] = '\0';
    const evener_metadata trailing[] = {{"t", "two", 3}};
    evener_call_end end = {.size = sizeof end,
                           .code = EVENER_STATUS_ABORTED,
                           .message = text,
                           .message_bytes = 5000,
                           .trailing = trailing,
                           .trailing_count = 1};
    evener_call_details details = {.size = sizeof details};
    evener_status status;
    evener_status_set(&status, end.code, "%s", text);
    cr_assert_lt(strlen(status.message), 5000);
    evener_rpc_fill_details(&pick, &end, &status, NULL);
    evener_rpc_fill_details(&pick, &end, &status, &details);
    cr_expect_str_eq(details.status_message, text);
    cr_expect_eq(details.status_message_bytes, 5000);
    cr_assert_eq(details.trailing_metadata_count, 1);
    cr_expect_str_eq(details.trailing_metadata[0].value, "two");
    cr_expect_eq(strncmp(details.peer, "ipv4:127.0.0.1:", 15), 0, "%s", details.peer);
    evener_status_set(&status, end.code, "made of more");
    evener_rpc_fill_details(&pick, &end, &status, &details);
    cr_expect_str_eq(details.status_message, "made of more");
    cr_expect_eq(details.status_message_bytes, 12);
    end.code = EVENER_STATUS_OK;
    end.message = "";
    end.message_bytes = 0;
    evener_status_clear(&status);
    evener_rpc_fill_details(&pick, &end, &status, &details);
    cr_expect_str_eq(details.status_message, "");
    cr_expect_eq(details.status_message_bytes, 0);
    evener_call_details_clear(&details);
    free(text);
    evener_pick_done(&pick, NULL);
    retry_scene_destroy(s);
}

/* ---- retries ---- */

/* The bits are those of splitmix64, whose first numbers for the state 0 are published. */
Test(retry, random_numbers_are_spread_as_splitmix64_spreads_them)
{
    static const uint64_t published[] = {UINT64_C(0xE220A8397B1DCDAF), UINT64_C(0x6E789E6AA1B965F4),
                                         UINT64_C(0x06C45D188009454F), UINT64_C(0xF88BB8A8724C81EC)};
    retry_scene *s = scene();
    s->f->channel->retries.random = 0;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        cr_expect_eq(evener_retry_random(s->f->channel), (double)(published[i] >> 11) / 9007199254740992.0, "%zu", i);
    }
    retry_scene_destroy(s);
}

Test(retry, a_pushback_is_a_whole_number_of_milliseconds_or_never)
{
    static const struct {
        const char *text;
        int32_t ms;
    } rows[] = {{"0", 0},
                {"1", 1},
                {"007", 7},
                {"60000", 60000},
                {"2147483647", INT32_MAX},
                {"2147483648", -1},
                {"000000000000009", 9},
                {"0000000000000009", -1}, /* longer than any number */
                {"99999999999999", -1},
                {"-1", -1},
                {"-0", -1},
                {"+1", -1},
                {" 1", -1},
                {"1 ", -1},
                {"1x", -1},
                {"x", -1},
                {"9", 9},
                {"/", -1},
                {":", -1},
                {"", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const evener_metadata trailing[] = {{"other", "5", 1},
                                            {"grpc-retry-pushback-ms", rows[i].text, strlen(rows[i].text)}};
        const evener_call_end end = {.size = sizeof end, .trailing = trailing, .trailing_count = 2};
        int32_t ms = 7777;
        cr_expect(evener_retry_pushback(&end, &ms));
        cr_expect_eq(ms, rows[i].ms, "\"%s\": %d", rows[i].text, ms);
        const evener_call_end none = {.size = sizeof none, .trailing = trailing, .trailing_count = 1};
        ms = 7777;
        cr_expect_not(evener_retry_pushback(&none, &ms));
        cr_expect_eq(ms, 7777);
    }
    const evener_metadata with_nul[] = {{"grpc-retry-pushback-ms", "1\0", 2}};
    const evener_call_end end = {.size = sizeof end, .trailing = with_nul, .trailing_count = 1};
    int32_t ms = 0;
    cr_expect(evener_retry_pushback(&end, &ms));
    cr_expect_eq(ms, -1);
}

/* A transport that does not know the member may have delivered headers. */
Test(retry, an_end_without_the_member_counts_as_one_with_headers)
{
    const size_t size = offsetof(evener_call_end, headers_came) + sizeof(bool);
    cr_expect(evener_retry_headers_came(&(evener_call_end){.size = size, .headers_came = true}));
    cr_expect_not(evener_retry_headers_came(&(evener_call_end){.size = size, .headers_came = false}));
    cr_expect(evener_retry_headers_came(&(evener_call_end){.size = size - 1, .headers_came = false}));
}
