/* Options structs of programs that were built against another evener: an older, shorter one works, with defaults for
 * what it does not know; a newer, longer one works as long as it asks for nothing that is not known here. */
#include <criterion/criterion.h>

#include <stddef.h>
#include <string.h>

#include <evener/evener.h>

#include "lb/options.h"

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

/* As before the last field was there. What is set in it is not looked at. */
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
    /* Nobody listens: what counts is that the short options are taken, and the deadline that they name. */
    call = (evener_call_options){
        .size = offsetof(evener_call_options, wait_for_ready), .timeout_ms = 50, .metadata_count = 5};
    const evener_status_code code = evener_unary_call(channel, "/a.B/C", NULL, &call, NULL, &status);
    cr_expect(code == EVENER_STATUS_DEADLINE_EXCEEDED || code == EVENER_STATUS_UNAVAILABLE, "%s", status.message);

    evener_channel_unref(channel);
    evener_credentials_destroy(credentials);
    evener_runtime_unref(runtime);
}
