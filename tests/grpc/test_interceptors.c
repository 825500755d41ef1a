/* Interceptors over the built-in transports: blocking calls, with retries and the server's headers. */
#include <criterion/criterion.h>

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
