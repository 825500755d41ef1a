/* Options structs of programs that were built against another version of evener. A shorter one, of an older version,
 * gets defaults for the fields that it lacks. A longer one, of a newer version, is accepted if its unknown fields are
 * unset. */
#include <criterion/criterion.h>

#include <stddef.h>
#include <string.h>

#include <evener/evener.h>

#include "lb/base/options.h"

typedef struct sample_options {
    size_t size;
    uint64_t first;
    const char *second;
    uint64_t third;
} sample_options;

static evener_status_code read_sample(sample_options *own, const void *given, evener_status *status)
{
    return evener_options_read(own, sizeof *own, given, "sample", "sample_options", status);
}

Test(options, a_shorter_struct_leaves_the_rest_at_its_default)
{
    const sample_options given = {.size = offsetof(sample_options, third), .first = 7, .second = "s", .third = 9};
    sample_options own = {.third = 1};
    evener_status status;
    cr_assert_eq(read_sample(&own, &given, &status), EVENER_STATUS_OK);
    cr_expect_eq(own.size, sizeof own);
    cr_expect_eq(own.first, 7);
    cr_expect_str_eq(own.second, "s");
    cr_expect_eq(own.third, 0);
}

Test(options, none_are_the_defaults)
{
    sample_options own = {.first = 1, .third = 1};
    evener_status status;
    cr_assert_eq(read_sample(&own, NULL, &status), EVENER_STATUS_OK);
    cr_expect(own.size == sizeof own && own.first == 0 && own.second == NULL && own.third == 0);
}

Test(options, a_longer_struct_works_while_what_is_unknown_is_zero)
{
    struct {
        sample_options known;
        uint64_t newer;
    } given = {.known = {.size = sizeof given, .first = 7, .third = 9}};
    sample_options own = {.first = 1};
    evener_status status;
    cr_assert_eq(read_sample(&own, &given, &status), EVENER_STATUS_OK);
    cr_expect(own.size == sizeof own && own.first == 7 && own.third == 9);

    given.newer = 1;
    own.first = 1;
    cr_assert_eq(read_sample(&own, &given, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(strstr(status.message, "newer evener") != NULL, "%s", status.message);
    cr_expect_eq(own.first, 1, "a refusal has written");
}

Test(options, a_size_that_cannot_be_is_refused)
{
    sample_options own = {.first = 1};
    evener_status status;
    const size_t sizes[] = {0, 1, sizeof(size_t) - 1, 65537, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const sample_options given = {.size = sizes[i]};
        cr_expect_eq(read_sample(&own, &given, &status), EVENER_STATUS_INVALID_ARGUMENT);
        cr_expect_str_eq(strstr(status.message, "sizeof("), "sizeof(sample_options)", "%s", status.message);
    }
    cr_expect_eq(own.first, 1, "a refusal has written");
}

/* ---- every function that takes options ---- */

static void expect_refusal(evener_status_code code, const evener_status *status, const char *type)
{
    cr_expect_eq(code, EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(strstr(status->message, type) != NULL, "%s", status->message);
}

Test(options, no_size_is_refused_by_the_name_of_the_struct)
{
    evener_status status;
    evener_runtime *runtime = NULL;
    evener_credentials *credentials = NULL;
    evener_channel *channel = NULL;
    evener_factory *factory = NULL;
    expect_refusal(evener_runtime_create(&(evener_runtime_options){0}, &runtime, &status), &status,
                   "sizeof(evener_runtime_options)");
    expect_refusal(evener_credentials_create_tls(&(evener_tls_options){0}, &credentials, &status), &status,
                   "sizeof(evener_tls_options)");
    expect_refusal(evener_channel_create("static:127.0.0.1:1", &(evener_channel_options){0}, &channel, &status),
                   &status, "sizeof(evener_channel_options)");
    expect_refusal(evener_factory_open("/nowhere", &(evener_factory_options){0}, &factory, &status), &status,
                   "sizeof(evener_factory_options)");
    cr_expect(runtime == NULL && credentials == NULL && channel == NULL && factory == NULL);
}

/* As before the last field existed. Its value is ignored. */
Test(options, an_older_program_opens_everything)
{
    evener_status status;
    evener_runtime *runtime;
    cr_assert_eq(evener_runtime_create(&(evener_runtime_options){.size = offsetof(evener_runtime_options, thread_name),
                                                                 .thread_name = (const char *)(uintptr_t)1},
                                       &runtime, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    evener_credentials *credentials;
    cr_assert_eq(
        evener_credentials_create_tls(&(evener_tls_options){.size = offsetof(evener_tls_options, certificate_chain),
                                                            .certificate_chain = "not looked at"},
                                      &credentials, &status),
        EVENER_STATUS_OK, "%s", status.message);
    evener_channel *channel;
    cr_assert_eq(evener_channel_create("static:127.0.0.1:1",
                                       &(evener_channel_options){.size = offsetof(evener_channel_options, transport),
                                                                 .runtime = runtime,
                                                                 .credentials = credentials,
                                                                 .default_port = 70000},
                                       &channel, &status),
                 EVENER_STATUS_OK, "%s", status.message);

    evener_call_options call = {.size = 0};
    expect_refusal(evener_unary_call(channel, "/a.B/C", NULL, &call, NULL, &status), &status,
                   "sizeof(evener_call_options)");
    cr_expect(strstr(status.message, "/a.B/C") != NULL, "%s", status.message);
    /* No server listens: the test is that the short options are read, including their deadline. */
    call = (evener_call_options){
        .size = offsetof(evener_call_options, wait_for_ready), .timeout_ms = 50, .metadata_count = 5};
    const evener_status_code code = evener_unary_call(channel, "/a.B/C", NULL, &call, NULL, &status);
    cr_expect(code == EVENER_STATUS_DEADLINE_EXCEEDED || code == EVENER_STATUS_UNAVAILABLE, "%s", status.message);

    evener_channel_unref(channel);
    evener_credentials_destroy(credentials);
    evener_runtime_unref(runtime);
}

/* ---- a pick's two structs ---- */

static void expect_pick_refusal(evener_pick_outcome outcome, const evener_status *status)
{
    cr_expect_eq(outcome, EVENER_PICK_FAIL);
    expect_refusal(status->code, status, "sizeof(evener_pick_args)");
}

static void never_called(void *arg, evener_status_code code, const evener_status *status)
{
    (void)arg, (void)code, (void)status;
    cr_assert_fail("a pick that was refused was queued");
}

/* To a port without a listener. */
static evener_channel *unanswered_channel(void)
{
    evener_channel *channel;
    evener_status status;
    evener_credentials *credentials;
    cr_assert_eq(evener_credentials_create_insecure(&credentials, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_channel_create(
                     "static:127.0.0.1:1",
                     &(evener_channel_options){.size = sizeof(evener_channel_options), .credentials = credentials},
                     &channel, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(credentials);
    return channel;
}

/* Everything behind has_hash is unknown to the program: those bytes are neither a timeout nor a trace. */
Test(options, an_older_program_picks)
{
    evener_status status;
    evener_channel *channel = unanswered_channel();
    const evener_pick_args older = {.size = offsetof(evener_pick_args, has_hash),
                                    .method = "/a.B/C",
                                    .wait_for_ready = true,
                                    .trace = (const evener_pick_trace *)(uintptr_t)1};
    evener_pick pick;
    while (evener_channel_try_pick(channel, NULL, &pick, &status) == EVENER_PICK_QUEUE) {
        (void)evener_channel_wait_ready(channel, 5, &status); /* no server listens: until that is known */
    }
    /* A call that does not wait then fails; if it were taken for one that waits, it would be queued. */
    cr_expect_eq(evener_channel_try_pick(channel, &older, &pick, &status), EVENER_PICK_FAIL);
    cr_expect_eq(status.code, EVENER_STATUS_UNAVAILABLE, "%s", status.message);
    cr_expect_eq(evener_channel_pick(channel, &older, &pick, &status), EVENER_STATUS_UNAVAILABLE, "%s", status.message);

    const evener_pick_args no_size = {.method = "/a.B/C"};
    evener_pick_request request = {.size = sizeof request, .pick = &pick, .callback = never_called};
    expect_pick_refusal(evener_channel_try_pick(channel, &no_size, &pick, &status), &status);
    expect_pick_refusal(evener_channel_pick_async(channel, &no_size, &request, &status), &status);
    expect_refusal(evener_channel_pick(channel, &no_size, &pick, &status), &status, "sizeof(evener_pick_args)");
    evener_channel_unref(channel);
}

/* A waiting request embeds the arguments: its size says how many of them fit. */
Test(options, a_request_of_a_newer_program_is_taken)
{
    evener_status status;
    evener_pick pick;
    evener_channel *channel = unanswered_channel();
    struct {
        evener_pick_request request;
        uint64_t newer[4];
    } own = {.request = {.size = sizeof own, .pick = &pick, .callback = never_called}, .newer = {7, 7, 7, 7}};
    while (evener_channel_try_pick(channel, NULL, &pick, &status) == EVENER_PICK_QUEUE) {
        (void)evener_channel_wait_ready(channel, 5, &status);
    }
    cr_expect_eq(evener_channel_pick_async(channel, NULL, &own.request, &status), EVENER_PICK_FAIL);
    cr_expect_eq(status.code, EVENER_STATUS_UNAVAILABLE, "%s", status.message);
    cr_expect(own.newer[0] == 7 && own.newer[3] == 7, "what this evener does not know is not touched");
    cr_expect_eq(own.request.args.size, sizeof own.request.args);
    evener_channel_unref(channel);
}

Test(options, a_request_without_a_size_is_refused)
{
    evener_status status;
    evener_pick pick;
    evener_channel *channel = unanswered_channel();
    const size_t bad[] = {0, offsetof(evener_pick_request, args), 1 << 20};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        evener_pick_request request = {.size = bad[i], .pick = &pick, .callback = never_called};
        cr_expect_eq(evener_channel_pick_async(channel, NULL, &request, &status), EVENER_PICK_FAIL);
        expect_refusal(status.code, &status, "sizeof(evener_pick_request)");
    }
    evener_channel_unref(channel);
}

/* ---- stats: the caller's sizes are the layout ---- */

Test(options, stats_have_the_layout_of_the_callers_evener)
{
    evener_status status;
    evener_channel *channel = unanswered_channel();
    (void)evener_channel_wait_ready(channel, 5, &status); /* its backend is known then, or soon */
    typedef struct newer_subchannel {
        evener_subchannel_stats known;
        uint64_t newer[2];
    } newer_subchannel;
    struct {
        evener_channel_stats known;
        uint64_t newer;
    } stats = {.known = {.size = sizeof stats, .subchannel_bytes = sizeof(newer_subchannel)}, .newer = 7};
    do {
        evener_channel_stats_clear(&stats.known);
        cr_assert_eq(evener_channel_get_stats(channel, &stats.known, &status), EVENER_STATUS_OK, "%s", status.message);
    } while (stats.known.subchannel_count == 0);
    cr_expect_eq(stats.known.size, sizeof stats);
    cr_expect_eq(stats.newer, 0, "nothing is known of it");
    const newer_subchannel *backends = (const newer_subchannel *)(const void *)stats.known.subchannels;
    cr_expect_str_eq(backends[0].known.address, "127.0.0.1:1");
    cr_expect(backends[0].newer[0] == 0 && backends[0].newer[1] == 0);
    evener_channel_stats_clear(&stats.known);
    cr_expect(stats.known.subchannels == NULL && stats.known.size == sizeof stats &&
              stats.known.subchannel_bytes == sizeof(newer_subchannel));
    evener_channel_stats_clear(NULL);
    evener_channel_unref(channel);
}

Test(options, stats_without_sizes_are_refused)
{
    evener_status status;
    evener_channel *channel = unanswered_channel();
    evener_channel_stats none = {.size = 0};
    expect_refusal(evener_channel_get_stats(channel, &none, &status), &status, "sizeof(evener_channel_stats)");
    evener_channel_stats no_stride = {.size = sizeof no_stride, .subchannel_bytes = 8};
    expect_refusal(evener_channel_get_stats(channel, &no_stride, &status), &status, "sizeof(evener_subchannel_stats)");
    cr_expect_null(no_stride.subchannels);
    evener_channel_unref(channel);
}

Test(options, the_end_of_a_pick_is_read_as_far_as_it_goes)
{
    const struct {
        evener_done_info known;
        uint64_t newer;
    } given = {.known = {.size = sizeof given,
                         .code = EVENER_STATUS_UNAVAILABLE,
                         .not_sent = true,
                         .load_report = "x",
                         .load_report_bytes = 1},
               .newer = 7};
    evener_done_info own, older = given.known;
    evener_done_info_read(&own, &given.known);
    cr_expect(own.size == sizeof own && own.code == EVENER_STATUS_UNAVAILABLE && own.load_report_bytes == 1);

    older.size = offsetof(evener_done_info, load_report);
    evener_done_info_read(&own, &older);
    cr_expect(own.size == sizeof own && own.code == EVENER_STATUS_UNAVAILABLE && own.not_sent);
    cr_expect(own.load_report == NULL && own.load_report_bytes == 0);

    older = given.known;
    older.error_string = "UNKNOWN:Channel Destroyed";
    older.size = offsetof(evener_done_info, error_string);
    evener_done_info_read(&own, &older);
    cr_expect(own.load_report_bytes == 1 && own.error_string == NULL && !own.answered);

    older.size = 0; /* an end cannot be refused: read as the first version */
    evener_done_info_read(&own, &older);
    cr_expect(own.size == sizeof own && own.code == EVENER_STATUS_UNAVAILABLE && own.load_report_bytes == 1);

    evener_done_info_read(&own, NULL);
    cr_expect(own.size == sizeof own && own.code == EVENER_STATUS_OK && !own.not_sent && own.load_report == NULL);
}

/* ---- details: written, not read ---- */

Test(options, details_are_written_as_far_as_they_go)
{
    struct {
        evener_call_details known;
        uint64_t newer;
    } details = {.known = {.size = sizeof details}, .newer = 7};
    evener_status status;
    evener_channel *channel = unanswered_channel();
    evener_call_options options = {.size = sizeof options, .timeout_ms = 50, .details = &details.known};
    cr_expect_neq(evener_unary_call(channel, "/a.B/C", NULL, &options, NULL, &status), EVENER_STATUS_OK);
    cr_expect_str_eq(details.known.peer, "");
    cr_expect(details.known.size == sizeof details && details.newer == 7);
    evener_call_details_clear(&details.known);
    cr_expect(details.known.size == sizeof details && details.newer == 7);

    evener_call_details no_size = {.attempts = 5};
    options.details = &no_size;
    expect_refusal(evener_unary_call(channel, "/a.B/C", NULL, &options, NULL, &status), &status,
                   "sizeof(evener_call_details)");
    evener_call_details_clear(&no_size);
    cr_expect(no_size.size == 0 && no_size.attempts == 5, "a struct of no size was written to");
    evener_channel_unref(channel);
}
