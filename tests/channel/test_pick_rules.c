/* Rules of a pick that only a policy of one's own can provoke: status codes of the control plane, a change between a try
 * and the queue, and the end of a call as an older program reports it. */
#include <criterion/criterion.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <evener/base_policy.h>
#include <evener/log.h>

#include "lb/channel/channel_internal.h"
#include "tests/support/channel_fixture.h"

#define A "127.0.0.1:1"

typedef struct own_picker {
    evener_picker base;
    evener_subchannel *subchannel;
} own_picker;

/* What the picker answers; NULL: COMPLETE. */
static evener_pick_outcome (*answer)(const evener_pick_context *context);
static evener_done_info seen;
static bool notified;
static unsigned ends, unsent_ends; /* of which the latter say that nothing was sent */
static unsigned layers = 1;        /* of each pick */

static void done(void *data, uint64_t word, const evener_done_info *info, uint32_t lane)
{
    (void)data;
    (void)word;
    (void)lane;
    seen = *info;
    notified = true;
    ends++;
    unsent_ends += info->not_sent && info->code == EVENER_STATUS_UNAVAILABLE;
}

static evener_pick_outcome own_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    pick->subchannel = ((own_picker *)base)->subchannel;
    const evener_pick_outcome outcome = answer != NULL ? answer(context) : EVENER_PICK_COMPLETE;
    for (unsigned i = 0; outcome == EVENER_PICK_COMPLETE && i < layers; i++) {
        (void)evener_pick_add_layer(pick, done, evener_subchannel_data(pick->subchannel));
    }
    return outcome;
}

static void own_destroy(evener_picker *base)
{
    evener_subchannel_unref(((own_picker *)base)->subchannel);
    free(base);
}

static const evener_picker_vtable own_vtable = {.size = sizeof own_vtable, .pick = own_pick, .destroy = own_destroy};

static evener_picker *own_build_picker(const evener_base_ready *ready)
{
    own_picker *picker = evener_picker_alloc(sizeof *picker);
    evener_picker_init(&picker->base, &own_vtable);
    picker->subchannel = evener_subchannel_ref(ready->subchannels[0]);
    return &picker->base;
}

static const evener_base_policy own = {.size = sizeof own, .build_picker = own_build_picker};
static const evener_policy_builder own_builder = {
    .size = sizeof own_builder, .name = "own", .build = evener_base_policy_build, .user_data = (void *)&own};
static const evener_policy_builder *const policies[] = {&own_builder};

static fixture *f;

static void set_up(void)
{
    f = fixture_create(&(evener_channel_options){.policies = policies, .policy_count = 1, .policy = "own"});
    fixture_push(f, A);
    fixture_connect(f);
}

static void tear_down(void)
{
    fixture_destroy(f);
}

TestSuite(pick_rules, .init = set_up, .fini = tear_down);

/* ---- A54: restrict control plane status codes ---- */

static evener_status_code code;

static evener_pick_outcome fail_with_code(const evener_pick_context *context)
{
    evener_status_set(context->status, code, "says the policy");
    return EVENER_PICK_FAIL;
}

static evener_pick_outcome drop_with_code(const evener_pick_context *context)
{
    evener_status_set(context->status, code, "says the policy");
    return EVENER_PICK_DROP;
}

/* A54: an application takes these for its server's; from a policy they become INTERNAL. All others stay. */
Test(pick_rules, a54_a_policys_status_code_is_not_taken_for_a_servers)
{
    static const evener_status_code hidden[] = {EVENER_STATUS_OK,
                                                EVENER_STATUS_INVALID_ARGUMENT,
                                                EVENER_STATUS_NOT_FOUND,
                                                EVENER_STATUS_ALREADY_EXISTS,
                                                EVENER_STATUS_FAILED_PRECONDITION,
                                                EVENER_STATUS_ABORTED,
                                                EVENER_STATUS_OUT_OF_RANGE,
                                                EVENER_STATUS_DATA_LOSS};
    for (int i = 0; i <= 16; i++) {
        bool is_hidden = false;
        for (size_t j = 0; j < sizeof hidden / sizeof *hidden; j++) {
            is_hidden = is_hidden || (int)hidden[j] == i;
        }
        code = (evener_status_code)i;
        evener_pick pick;
        evener_status status;
        answer = fail_with_code;
        cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, &status), EVENER_PICK_FAIL);
        cr_expect_eq((int)status.code, is_hidden ? (int)EVENER_STATUS_INTERNAL : i, "%d became %d", i, status.code);
        cr_expect_not_null(strstr(status.message, "says the policy"));
        cr_expect_eq(strstr(status.message, evener_status_code_name(code)) != NULL, is_hidden, "%s", status.message);
        answer = drop_with_code;
        cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, &status), EVENER_PICK_DROP);
        cr_expect_eq((int)status.code, is_hidden ? (int)EVENER_STATUS_INTERNAL : i, "%d became %d", i, status.code);
    }
    answer = NULL;
}

static char logged[512];

static void collect(void *arg, evener_log_level level, const char *component, const char *message)
{
    (void)arg;
    if (level == EVENER_LOG_DEBUG && strcmp(component, "pick") == 0) {
        strncat(strncat(logged, message, sizeof logged / 4), "\n", 2);
    }
}

Test(pick_rules, a_pick_that_fails_is_logged_with_its_reason)
{
    const evener_pick_args args = {.size = sizeof args, .method = "/a.B/C"};
    evener_pick pick;
    evener_status status;
    code = EVENER_STATUS_UNAVAILABLE;
    evener_log_set_sink(collect, NULL, EVENER_LOG_DEBUG);
    answer = fail_with_code;
    cr_assert_eq(evener_channel_try_pick(f->channel, &args, &pick, &status), EVENER_PICK_FAIL);
    answer = drop_with_code;
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, &status), EVENER_PICK_DROP);
    evener_log_set_sink(NULL, NULL, EVENER_LOG_NONE);
    cr_expect_str_eq(logged, "orders:///x: /a.B/C: failed: UNAVAILABLE: says the policy\n"
                             "orders:///x: dropped: UNAVAILABLE: says the policy\n");
    answer = NULL;
}

/* ---- how often a picker is asked ---- */

static unsigned picks;

static evener_pick_outcome count_pick(const evener_pick_context *context)
{
    (void)context;
    picks++;
    return EVENER_PICK_COMPLETE;
}

static void expect_picks(fixture *of, const evener_pick_args *args, evener_pick_outcome outcome, unsigned expected)
{
    evener_pick pick;
    evener_status status;
    picks = ends = unsent_ends = 0;
    cr_expect_eq(evener_channel_try_pick(of->channel, args, &pick, &status), outcome);
    cr_expect_eq(picks, expected, "%u", picks);
    cr_expect_eq(ends, expected, "the policy learns that each came to nothing: %u", ends);
    cr_expect_eq(unsent_ends, expected, "%u", unsent_ends);
}

/* The policy learns soon that the connection is lost; until then it may choose it again. */
Test(pick_rules, a_lost_backend_is_chosen_eight_times_at_most)
{
    cr_assert(fake_transport_close_to_calls(f->transport, A));
    answer = count_pick;
    expect_picks(f, NULL, EVENER_PICK_QUEUE, 8);
    answer = NULL;
    cr_assert(fake_transport_drop(f->transport, A));
}

Test(pick_rules, a_full_backend_is_chosen_once_and_once_around_the_full_ones)
{
    const char *const tried[] = {"127.0.0.1:9"};
    const evener_pick_args args = {.size = sizeof args, .tried = tried, .tried_count = 1};
    fixture *full = fixture_create(&(evener_channel_options){.policies = policies,
                                                             .policy_count = 1,
                                                             .policy = "own",
                                                             .backend_calls_in_flight_max = 1,
                                                             .calls_waiting_max = EVENER_NO_CALLS_WAITING});
    fixture_push(full, A);
    fixture_connect(full);
    evener_pick pick;
    cr_assert_eq(evener_channel_try_pick(full->channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    answer = count_pick;
    expect_picks(full, NULL, EVENER_PICK_QUEUE, 2);
    expect_picks(full, &args, EVENER_PICK_QUEUE, 3); /* at last also where it was tried */
    evener_pick_done(&pick, NULL);
    cr_assert(fake_transport_close_to_calls(full->transport, A));
    expect_picks(full, NULL, EVENER_PICK_QUEUE, 8);
    answer = NULL;
    cr_assert(fake_transport_drop(full->transport, A));
    fixture_destroy(full);
}

/* ---- a change between the try and the queue ---- */

static unsigned tries;

static evener_pick_outcome change_after_the_first_try(const evener_pick_context *context)
{
    (void)context;
    if (++tries > 1) {
        return EVENER_PICK_COMPLETE;
    }
    evener_pick_queue_wake(&f->channel->queue); /* as if a backend became READY just now, seen by nobody who waits */
    return EVENER_PICK_QUEUE;
}

static void called_back(void *arg, evener_status_code result, const evener_status *status)
{
    (void)result;
    (void)status;
    *(bool *)arg = true;
}

Test(pick_rules, a_change_between_the_try_and_the_queue_is_tried_again)
{
    bool called = false;
    evener_pick pick;
    evener_pick_request request = {.size = sizeof request, .pick = &pick, .callback = called_back, .arg = &called};
    tries = 0;
    answer = change_after_the_first_try;
    cr_assert_eq(evener_channel_pick_async(f->channel, NULL, &request, NULL), EVENER_PICK_COMPLETE);
    cr_expect_eq(tries, 2);
    cr_expect_not(called);
    evener_pick_done(&pick, NULL);
    answer = NULL;
}

static fixture *limited;
static evener_pick held;

/* Have a call end and another one begin while a pick looks for a backend. */
static evener_pick_outcome end_and_begin(const evener_pick_context *context)
{
    (void)context;
    if (++tries == 1) {
        cr_assert_eq(evener_channel_try_pick(limited->channel, NULL, &held, NULL), EVENER_PICK_COMPLETE);
        evener_pick_done(&held, NULL);
        cr_assert_eq(evener_channel_try_pick(limited->channel, NULL, &held, NULL), EVENER_PICK_COMPLETE);
    }
    return EVENER_PICK_COMPLETE;
}

Test(pick_rules, a_call_that_ends_between_the_try_and_the_queue_is_noticed)
{
    bool called = false;
    evener_pick pick;
    evener_pick_request request = {.size = sizeof request, .pick = &pick, .callback = called_back, .arg = &called};
    limited = fixture_create(
        &(evener_channel_options){.policies = policies, .policy_count = 1, .policy = "own", .calls_in_flight_max = 1});
    fixture_push(limited, A);
    fixture_connect(limited);
    tries = 0;
    answer = end_and_begin;
    cr_assert_eq(evener_channel_pick_async(limited->channel, NULL, &request, NULL), EVENER_PICK_QUEUE);
    cr_expect_eq(tries, 3);
    cr_expect_eq(limited->channel->limits.waiting, 1, "it has looked again, and waits once");
    cr_expect_eq(limited->channel->queue.count, 1);
    evener_pick_done(&held, NULL);
    virtual_loop_run_until_idle(limited->loop);
    cr_expect(called);
    cr_expect_eq(limited->channel->limits.waiting, 0);
    evener_pick_done(&pick, NULL);
    answer = NULL;
    fixture_destroy(limited);
}

static evener_pick served[3];

/* The first pick is served. It ends when the second one has found no room, and while the third one looks for some. */
static evener_pick_outcome end_the_first_in_the_third(const evener_pick_context *context)
{
    if (++tries == 4) {
        evener_pick_done(&served[0], NULL);
        evener_status_set(context->status, EVENER_STATUS_UNAVAILABLE, "not this one");
        return EVENER_PICK_DROP;
    }
    return EVENER_PICK_COMPLETE;
}

static evener_pick_outcome none_yet(const evener_pick_context *context)
{
    (void)context;
    return EVENER_PICK_QUEUE;
}

Test(pick_rules, a_call_that_ends_while_others_are_tried_is_noticed)
{
    bool called[3] = {false};
    evener_pick_request requests[3];
    limited = fixture_create(&(evener_channel_options){
        .policies = policies, .policy_count = 1, .policy = "own", .backend_calls_in_flight_max = 1});
    fixture_push(limited, A);
    fixture_connect(limited);
    answer = none_yet;
    for (int i = 0; i < 3; i++) {
        requests[i] = (evener_pick_request){
            .size = sizeof requests[i], .pick = &served[i], .callback = called_back, .arg = &called[i]};
        cr_assert_eq(evener_channel_pick_async(limited->channel, NULL, &requests[i], NULL), EVENER_PICK_QUEUE);
    }
    virtual_loop_run_until_idle(limited->loop);
    tries = 0;
    answer = end_the_first_in_the_third;
    evener_pick_queue_wake(&limited->channel->queue);
    virtual_loop_run_until_idle(limited->loop);
    cr_expect_eq(tries, 5, "%u", tries);
    cr_expect(called[0] && called[2]);
    cr_expect(called[1], "it waits for no further event");
    cr_expect_eq(limited->channel->limits.waiting, 0);
    evener_pick_done(&served[1], NULL);
    answer = NULL;
    fixture_destroy(limited);
}

/* Likewise with another one in the queue, which may have seen it waiting: it looks again as well. */
Test(pick_rules, a_call_that_looks_again_lets_those_in_the_queue_do_so)
{
    bool called[2] = {false};
    evener_pick_request requests[2];
    limited = fixture_create(
        &(evener_channel_options){.policies = policies, .policy_count = 1, .policy = "own", .calls_in_flight_max = 1});
    fixture_push(limited, A);
    fixture_connect(limited);
    for (int i = 0; i < 2; i++) {
        requests[i] = (evener_pick_request){
            .size = sizeof requests[i], .pick = &served[i], .callback = called_back, .arg = &called[i]};
    }
    answer = none_yet;
    cr_assert_eq(evener_channel_pick_async(limited->channel, NULL, &requests[0], NULL), EVENER_PICK_QUEUE);
    evener_pick_queue_wake(&limited->channel->queue);
    virtual_loop_run_until_idle(limited->loop);
    cr_expect_eq(limited->channel->limits.waiting, 0, "it waits for the policy");
    tries = 0;
    answer = end_and_begin;
    cr_assert_eq(evener_channel_pick_async(limited->channel, NULL, &requests[1], NULL), EVENER_PICK_QUEUE);
    virtual_loop_run_until_idle(limited->loop);
    cr_expect_eq(limited->channel->limits.waiting, 2, "both wait for the limit");
    evener_pick_done(&held, NULL);
    virtual_loop_run_until_idle(limited->loop);
    cr_expect(called[0] && !called[1]);
    evener_pick_done(&served[0], NULL);
    virtual_loop_run_until_idle(limited->loop);
    cr_expect(called[1]);
    evener_pick_done(&served[1], NULL);
    answer = NULL;
    fixture_destroy(limited);
}

/* A pick has room for the parts of four policies, and a limit needs one of them. */
Test(pick_rules, a_limit_takes_one_of_the_layers_of_a_pick)
{
    limited = fixture_create(
        &(evener_channel_options){.policies = policies, .policy_count = 1, .policy = "own", .calls_in_flight_max = 5});
    fixture_push(limited, A);
    fixture_connect(limited);
    evener_pick pick;
    evener_status status;
    for (layers = 0; layers < EVENER_PICK_LAYERS_MAX; layers++) {
        ends = unsent_ends = 0;
        cr_assert_eq(evener_channel_try_pick(limited->channel, NULL, &pick, &status), EVENER_PICK_COMPLETE);
        cr_expect_eq(ends, 0);
        cr_expect_eq((uint32_t)limited->channel->limits.word, 1, "it is in flight");
        evener_pick_done(&pick, NULL);
        cr_expect_eq(ends, layers);
        cr_expect_eq(unsent_ends, 0);
        cr_expect_eq((uint32_t)limited->channel->limits.word, 0);
    }
    ends = unsent_ends = 0;
    cr_assert_eq(evener_channel_try_pick(limited->channel, NULL, &pick, &status), EVENER_PICK_DROP);
    cr_expect_eq(status.code, EVENER_STATUS_INTERNAL, "FAILED_PRECONDITION could be a server's");
    cr_expect_not_null(strstr(status.message, "need one of the 4 layers of a pick: nest fewer policies"), "%s",
                       status.message);
    cr_expect_eq(unsent_ends, EVENER_PICK_LAYERS_MAX, "the policies learn of it");
    cr_expect_eq((uint32_t)limited->channel->limits.word, 0);
    cr_expect_eq(fixture_stats(limited, A).in_flight, 0);
    layers = 1;
    fixture_destroy(limited);
}

/* The one that came first waits for its policy, and finds the limit later than the one behind it. */
Test(pick_rules, a_call_waits_for_the_limit_from_the_time_that_it_meets_it)
{
    bool called[3] = {false};
    evener_pick_request requests[3];
    limited = fixture_create(&(evener_channel_options){
        .policies = policies, .policy_count = 1, .policy = "own", .calls_in_flight_max = 1, .calls_wait_ms_max = 100});
    fixture_push(limited, A);
    fixture_connect(limited);
    for (int i = 0; i < 3; i++) {
        requests[i] = (evener_pick_request){
            .size = sizeof requests[i], .pick = &served[i], .callback = called_back, .arg = &called[i]};
    }
    answer = none_yet;
    cr_assert_eq(evener_channel_pick_async(limited->channel, NULL, &requests[0], NULL), EVENER_PICK_QUEUE);
    evener_pick_queue_wake(&limited->channel->queue); /* so that nothing new is there when the second one comes */
    virtual_loop_run_until_idle(limited->loop);
    answer = NULL;
    cr_assert_eq(evener_channel_try_pick(limited->channel, NULL, &held, NULL), EVENER_PICK_COMPLETE);
    virtual_loop_advance_ms(limited->loop, 50);
    cr_assert_eq(evener_channel_pick_async(limited->channel, NULL, &requests[1], NULL), EVENER_PICK_QUEUE);
    virtual_loop_advance_ms(limited->loop, 30);
    evener_pick_queue_wake(&limited->channel->queue);
    virtual_loop_advance_ms(limited->loop, 10);
    cr_expect_eq(limited->channel->limits.waiting, 2);
    cr_assert_eq(evener_channel_pick_async(limited->channel, NULL, &requests[2], NULL), EVENER_PICK_QUEUE);
    virtual_loop_advance_ms(limited->loop, 59);
    cr_expect_not(called[0] || called[1] || called[2]);
    virtual_loop_advance_ms(limited->loop, 1);
    cr_expect(called[1], "at 150 ms");
    cr_expect_not(called[0] || called[2]);
    virtual_loop_advance_ms(limited->loop, 29);
    cr_expect_not(called[0] || called[2]);
    virtual_loop_advance_ms(limited->loop, 1);
    cr_expect(called[0], "at 180 ms");
    cr_expect_not(called[2]);
    virtual_loop_advance_ms(limited->loop, 9);
    cr_expect_not(called[2]);
    virtual_loop_advance_ms(limited->loop, 1);
    cr_expect(called[2], "at 190 ms");
    cr_expect_eq(limited->channel->limits.waiting, 0);
    cr_expect_eq(limited->channel->limits.expired, 3);
    evener_pick_done(&held, NULL);
    fixture_destroy(limited);
}

/* ---- the end of a call, from a program that was built against an older evener ---- */

/* End a pick with a report of `bytes` bytes that ends where readable memory ends. */
static void end_with_short_report(size_t bytes, evener_status_code result)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(pages, MAP_FAILED);
    cr_assert_eq(mprotect(pages + page, page, PROT_NONE), 0);
    const evener_done_info whole = {
        .size = bytes, .code = result, .load_report = pages, .load_report_bytes = 3, .first_message_ns = 77};
    void *report = pages + page - bytes;
    memcpy(report, &whole, bytes);
    evener_pick pick;
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    notified = false;
    evener_pick_done(&pick, report);
    cr_assert(notified);
    cr_expect_eq(seen.size, sizeof seen, "the policy gets the whole struct");
    cr_expect_eq(seen.code, result);
    cr_expect_eq(seen.load_report_bytes, 3);
    cr_expect_eq(seen.first_message_ns, 0, "the program does not know it");
    cr_expect_null(seen.error_string);
    munmap(pages, 2 * page);
}

Test(pick_rules, a_report_of_an_older_program_is_read_up_to_its_size)
{
    const size_t first_version = offsetof(evener_done_info, error_string);
    end_with_short_report(first_version, EVENER_STATUS_OK);
    end_with_short_report(first_version, EVENER_STATUS_UNAVAILABLE);
}
