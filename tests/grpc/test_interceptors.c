/* Interceptors over the built-in transports: blocking calls, with retries and the server's headers. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/call_fixture.h"
#include "support/transport_choice.h"

typedef struct counts {
    uint32_t started, headers, sent, received, done;
    evener_status_code code;
    char echoed[32];
} counts;

static evener_status_code on_start(void *arg, evener_new_call *call, void **state, evener_status *status)
{
    counts *c = arg;
    *state = c;
    c->started++;
    return evener_new_call_add(call, "echo-name", "evener", status);
}

static void on_headers(void *arg, void *state, const evener_metadata *metadata, size_t count)
{
    counts *c = state;
    (void)arg;
    c->headers++;
    const evener_metadata *name = evener_metadata_find(metadata, count, "echo-name");
    if (name != NULL) {
        strncpy(c->echoed, name->value, sizeof c->echoed - 1);
    }
}

static void on_message(void *arg, void *state, bool sent, const evener_bytes *message)
{
    counts *c = state;
    (void)arg;
    cr_expect(bytes_equal(message, "hello"));
    c->sent += sent;
    c->received += !sent;
}

static void on_done(void *arg, void *state, const evener_status *status, const evener_metadata *trailing,
                    size_t trailing_count)
{
    counts *c = state;
    (void)arg;
    (void)trailing;
    (void)trailing_count;
    c->done++;
    c->code = status->code;
}

Test(interceptors, a_blocking_call_is_seen_from_its_start_to_its_end)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    counts c = {0};
    const evener_interceptor counting = {.size = sizeof counting,
                                         .arg = &c,
                                         .start = on_start,
                                         .headers = on_headers,
                                         .message = on_message,
                                         .done = on_done};
    const evener_interceptor *const list[] = {&counting};
    const evener_call_options options = {.size = sizeof options, .interceptors = list, .interceptor_count = 1};
    const evener_bytes request = bytes_of("hello");
    evener_bytes response;
    evener_status status;
    cr_assert_eq(evener_unary_call(f.channel, ECHO_UNARY, &request, &options, &response, &status), EVENER_STATUS_OK,
                 "%s", status.message);
    cr_expect(bytes_equal(&response, "hello"));
    evener_bytes_clear(&response);
    cr_expect_eq(c.started, 1);
    cr_expect_eq(c.headers, 1);
    cr_expect_eq(c.sent, 1);
    cr_expect_eq(c.received, 1);
    cr_expect_eq(c.done, 1);
    cr_expect_eq(c.code, EVENER_STATUS_OK);
    cr_expect_str_eq(c.echoed, "evener", "what was added was sent, and came back");

    cr_assert_eq(evener_unary_call(f.channel, ECHO_UNARY, &request, &options, NULL, NULL), EVENER_STATUS_OK);
    cr_expect_eq(c.received, 2, "also if the program drops the answer");
    demo_server_set_failure(f.servers[0], 5, "no such order");
    cr_assert_eq(evener_unary_call(f.channel, ECHO_UNARY, &request, &options, NULL, NULL), EVENER_STATUS_NOT_FOUND);
    cr_expect_eq(c.done, 3);
    cr_expect_eq(c.code, EVENER_STATUS_NOT_FOUND);
    call_fixture_close(&f);
}

/* ---- credentials that answer later ---- */

static void *answer_later(void *arg)
{
    evener_late_metadata *late = arg;
    evener_status status;
    (void)evener_late_metadata_add(late, "echo-name", "later", &status);
    evener_late_metadata_answer(late, NULL);
    return NULL;
}

static evener_status_code ask_thread(void *arg, evener_new_call *call, const char *url, evener_status *status)
{
    evener_late_metadata *late;
    (void)url;
    cr_assert_eq(evener_new_call_defer(call, &late, status), EVENER_STATUS_OK);
    cr_assert_eq(pthread_create(arg, NULL, answer_later, late), 0);
    return EVENER_STATUS_OK;
}

static evener_status_code ask_nobody(void *arg, evener_new_call *call, const char *url, evener_status *status)
{
    (void)url;
    return evener_new_call_defer(call, arg, status);
}

Test(interceptors, a_blocking_call_waits_for_its_credentials)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    counts c = {0};
    pthread_t thread;
    evener_late_metadata *unanswered;
    const evener_call_credentials threaded = {
        .size = sizeof threaded, .arg = &thread, .add = ask_thread, .allow_insecure = true};
    const evener_call_credentials silent = {
        .size = sizeof silent, .arg = &unanswered, .add = ask_nobody, .allow_insecure = true};
    const evener_interceptor auth = EVENER_CALL_CREDENTIALS(&threaded);
    const evener_interceptor no_auth = EVENER_CALL_CREDENTIALS(&silent);
    const evener_interceptor counting = {.size = sizeof counting, .arg = &c, .start = NULL, .headers = NULL};
    const evener_interceptor *const list[] = {&auth, &counting};
    const evener_interceptor *const silent_list[] = {&no_auth};
    evener_call_details details = {.size = sizeof details};
    evener_call_options options = {
        .size = sizeof options, .interceptors = list, .interceptor_count = 2, .details = &details};
    const evener_bytes request = bytes_of("hello");
    evener_status status;
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(evener_unary_call(f.channel, ECHO_UNARY, &request, &options, NULL, &status), EVENER_STATUS_OK,
                     "%s", status.message);
        pthread_join(thread, NULL);
        const evener_metadata *name =
            evener_metadata_find(details.initial_metadata, details.initial_metadata_count, "echo-name");
        cr_assert_not_null(name);
        cr_expect_str_eq(name->value, "later", "what came later was sent");
    }
    evener_call_details_clear(&details);
    options = (evener_call_options){
        .size = sizeof options, .interceptors = silent_list, .interceptor_count = 1, .timeout_ms = 20};
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, &request, &options, NULL, &status),
                 EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect_not_null(strstr(status.message, "waiting for metadata"), "%s", status.message);
    evener_late_metadata_answer(unanswered, NULL);
    call_fixture_close(&f);
}
