/* A call that reached a server is never sent again, whatever the server answers, and its failure is reported as it is:
 * with the right status, the backend's name and in the backend's statistics. Each answer is given to a call made in
 * each way that there is.
 *
 * The status of an HTTP answer: grpc, doc/http-grpc-status-mapping.md. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <stdio.h>
#include <string.h>

#include "grpc/one_request.h"
#include "tests/support/transport_choice.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Where a parameter is taken apart into: parameters of Criterion hold no pointers. */
typedef struct parameter {
    size_t row;
    size_t column;
} parameter;

static struct criterion_test_params grid(parameter *to, size_t rows, size_t columns)
{
    for (size_t i = 0; i < rows * columns; i++) {
        to[i] = (parameter){i / columns, i % columns};
    }
    return cr_make_param_array(parameter, to, rows * columns);
}

/* Make the call in each way and check all that holds of a call that the server had and that failed. `message` is part
 * of the messages of evener's own calls; NULL: not checked. Return the last result. */
static one_request_result expect_one_request_saying(const one_request_options *options, evener_status_code code,
                                                    const char *message, const char *what)
{
    one_request_result r;
    const calling_way ways = on_core() ? CALLING_WAYS : CALLING_CREATE_CALL;
    for (calling_way way = options->cancel_at_server ? CALLING_START : CALLING_UNARY; way < ways; way++) {
        r = make_one_request(way, options);
        char label[1024];
        snprintf(label, sizeof label, "%s, %s (%s: %s)", calling_way_names[way], what,
                 evener_status_code_name(r.status.code), r.status.message);
        cr_expect_eq(r.requests, 1, "%s: %llu requests", label, (unsigned long long)r.requests);
        cr_expect_eq(r.status.code, code, "%s: not %s", label, evener_status_code_name(code));
        cr_expect_eq(r.attempts, 1, "%s: %u attempts", label, r.attempts);
        cr_expect_not(r.not_sent, "%s: evener_call_done() says that it was not sent", label);
        cr_expect_eq(r.picks, 1, "%s: %llu picks", label, (unsigned long long)r.picks);
        cr_expect_eq(r.failed, 1, "%s: %llu failures of the backend", label, (unsigned long long)r.failed);
        if (way != CALLING_CREATE_CALL) {
            cr_expect(message == NULL || strstr(r.status.message, message) != NULL, "%s: not \"%s\"", label, message);
            cr_expect_str_eq(r.peer, r.server, "%s: peer \"%s\"", label, r.peer);
        }
        if (way == CALLING_STREAM) {
            cr_expect_str_eq(r.stream_peer, r.server, "%s: the stream's peer \"%s\"", label, r.stream_peer);
        }
    }
    return r;
}

static one_request_result expect_one_request(const one_request_options *options, evener_status_code code,
                                             const char *what)
{
    return expect_one_request_saying(options, code, NULL, what);
}

/* ---- answers of proxies ---- */

typedef struct http_answer {
    const char *status;
    evener_status_code code;
} http_answer;

static const http_answer http_answers[] = {
    {"400", EVENER_STATUS_INTERNAL},          {"401", EVENER_STATUS_UNAUTHENTICATED},
    {"403", EVENER_STATUS_PERMISSION_DENIED}, {"404", EVENER_STATUS_UNIMPLEMENTED},
    {"429", EVENER_STATUS_UNAVAILABLE},       {"500", EVENER_STATUS_UNKNOWN},
    {"502", EVENER_STATUS_UNAVAILABLE},       {"503", EVENER_STATUS_UNAVAILABLE},
    {"504", EVENER_STATUS_UNAVAILABLE},
};

typedef enum http_form {
    HTTP_BODY,           /* headers, then DATA that ends the stream */
    HTTP_BODY_AT_ONCE,   /* the same, without waiting for the request's end */
    HTTP_RESET,          /* headers, then RST_STREAM with INTERNAL_ERROR */
    HTTP_RESET_NO_ERROR, /* headers and DATA, then RST_STREAM with NO_ERROR */
    HTTP_NO_BODY,        /* headers that end the stream */
    HTTP_FORMS
} http_form;

static const char *const http_form_names[HTTP_FORMS] = {
    "headers and a body", "headers and a body before the request's end", "headers and RST_STREAM INTERNAL_ERROR",
    "headers, DATA and RST_STREAM NO_ERROR", "headers only"};

static void put_http_answer(h2_step *to, const char *status, http_form form)
{
    const h2_step headers = {.kind = H2_HEADERS,
                             .headers = {{":status", status}, {"content-type", "text/html"}},
                             .end_stream = form == HTTP_NO_BODY};
    const h2_step body = {
        .kind = H2_DATA, .data = "<html>no</html>", .data_bytes = 15, .end_stream = form != HTTP_RESET_NO_ERROR};
    if (form != HTTP_BODY_AT_ONCE) {
        *to++ = (h2_step){.kind = H2_AWAIT_END_STREAM};
    }
    *to++ = headers;
    if (form == HTTP_BODY || form == HTTP_BODY_AT_ONCE || form == HTTP_RESET_NO_ERROR) {
        *to++ = body;
    }
    if (form == HTTP_RESET || form == HTTP_RESET_NO_ERROR) {
        *to++ = (h2_step){.kind = H2_RST_STREAM, .code = form == HTTP_RESET ? H2_INTERNAL_ERROR : H2_NO_ERROR};
    }
    *to = (h2_step){.kind = H2_END};
}

ParameterizedTestParameters(one_request, http_answer_is_reported_once)
{
    static parameter all[COUNT(http_answers) * HTTP_FORMS];
    return grid(all, COUNT(http_answers), HTTP_FORMS);
}

ParameterizedTest(parameter *p, one_request, http_answer_is_reported_once)
{
    const http_answer *answer = &http_answers[p->row];
    h2_step steps[6];
    char what[96];
    put_http_answer(steps, answer->status, (http_form)p->column);
    snprintf(what, sizeof what, "%s with %s", answer->status, http_form_names[p->column]);
    char message[32];
    snprintf(message, sizeof message, "HTTP status %s", answer->status);
    expect_one_request_saying(&(one_request_options){.steps = steps}, answer->code, message, what);
}

/* ---- statuses whose text is one of the core's own ---- */

static const char *const texts_of_the_core[] = {
    "GOAWAY received",
    "failed to connect to all addresses",
    ("failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: "
     "Connection refused"),
    "connections to all backends failing; last error: UNAVAILABLE: Connection refused",
    "Channel Destroyed",
    "Endpoint read failed",
    "Endpoint closing",
    "Socket closed",
    "Transport closed",
    "Connection reset by peer",
    "Broken pipe",
    "keepalive watchdog timeout",
    "Cancelling all calls",
    "CANCELLED",
    "Received RST_STREAM with error code 7",
    "Stream refused by server",
    "",
};

static const struct {
    const char *text;
    evener_status_code code;
} statuses[] = {{"1", EVENER_STATUS_CANCELLED},
                {"2", EVENER_STATUS_UNKNOWN},
                {"13", EVENER_STATUS_INTERNAL},
                {"14", EVENER_STATUS_UNAVAILABLE}};

static h2_step trailers_only(const char *status, const char *message)
{
    h2_step step = {.kind = H2_HEADERS,
                    .headers = {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", status}},
                    .end_stream = true};
    if (*message != '\0') {
        step.headers[3] = (h2_header){"grpc-message", message};
    }
    return step;
}

ParameterizedTestParameters(one_request, text_of_the_core_proves_nothing)
{
    static parameter all[COUNT(texts_of_the_core) * COUNT(statuses)];
    return grid(all, COUNT(texts_of_the_core), COUNT(statuses));
}

ParameterizedTest(parameter *p, one_request, text_of_the_core_proves_nothing)
{
    const char *const text = texts_of_the_core[p->row];
    const h2_step steps[] = {{.kind = H2_AWAIT_END_STREAM}, trailers_only(statuses[p->column].text, text), {0}};
    char what[320];
    snprintf(what, sizeof what, "\"%s\" with the status %s", text, statuses[p->column].text);
    one_request_result r = expect_one_request(&(one_request_options){.steps = steps}, statuses[p->column].code, what);
    cr_expect_str_eq(r.status.message, text, "%s: the message is \"%s\"", what, r.status.message);
}

/* The same after an answer has begun. */
Test(one_request, text_of_the_core_behind_headers_proves_nothing)
{
    static const h2_step steps[] = {
        {.kind = H2_AWAIT_END_STREAM},
        {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},
        {.kind = H2_HEADERS,
         .headers = {{"grpc-status", "14"}, {"grpc-message", "failed to connect to all addresses"}},
         .end_stream = true},
        {.kind = H2_END}};
    expect_one_request(&(one_request_options){.steps = steps}, EVENER_STATUS_UNAVAILABLE, "trailers behind headers");
}

/* ---- servers that drain ---- */

/* The GOAWAY says that the server had the stream. `pause_ms`: between status and GOAWAY. */
static void expect_draining_one_request(const char *message, uint32_t last_stream, uint32_t pause_ms, bool goaway_first,
                                        const char *what)
{
    const h2_step goaway = {.kind = H2_GOAWAY, .last_stream = last_stream};
    const h2_step status = trailers_only("1", message);
    const h2_step steps[] = {{.kind = H2_AWAIT_END_STREAM},
                             goaway_first ? goaway : status,
                             {.kind = H2_PAUSE, .pause_ms = pause_ms},
                             goaway_first ? status : goaway,
                             {.kind = H2_END}};
    expect_one_request(&(one_request_options){.steps = steps}, EVENER_STATUS_CANCELLED, what);
}

Test(one_request, cancelled_by_a_server_that_drains)
{
    expect_draining_one_request("CANCELLED", H2_THIS_STREAM, 0, false, "CANCELLED, GOAWAY right behind");
    expect_draining_one_request("CANCELLED", H2_ALL_STREAMS, 20, false, "CANCELLED, GOAWAY of all streams after 20 ms");
    expect_draining_one_request("CANCELLED", H2_ALL_STREAMS, 0, true, "GOAWAY of all streams, then CANCELLED");
    expect_draining_one_request("", H2_THIS_STREAM, 0, false, "no message, GOAWAY right behind");
}

/* ---- ends that the client makes ---- */

/* The core's limit is 4 MiB. */
Test(one_request, answer_over_the_limit)
{
    static const uint8_t prefix[5] = {0, 0, 0x50, 0, 0};
    static const h2_step steps[] = {
        {.kind = H2_AWAIT_END_STREAM},
        {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},
        {.kind = H2_DATA, .data = prefix, .data_bytes = sizeof prefix},
        {.kind = H2_DATA, .data_bytes = 0x500000},
        {.kind = H2_HEADERS, .headers = {{"grpc-status", "0"}}, .end_stream = true},
        {.kind = H2_END}};
    expect_one_request(&(one_request_options){.steps = steps}, EVENER_STATUS_RESOURCE_EXHAUSTED, "5 MiB");
}

Test(one_request, cancelled_by_the_program)
{
    static const h2_step silence[] = {{.kind = H2_END}};
    static const h2_step headers_only[] = {
        {.kind = H2_AWAIT_END_STREAM},
        {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},
        {.kind = H2_END}};
    expect_one_request(&(one_request_options){.steps = silence, .cancel_at_server = true}, EVENER_STATUS_CANCELLED,
                       "silence");
    expect_one_request(&(one_request_options){.steps = headers_only, .cancel_at_server = true}, EVENER_STATUS_CANCELLED,
                       "headers");
}

/* C4: a backend that does not answer is named, and its failure is counted. */
Test(one_request, deadline_passes_at_the_server)
{
    static const h2_step silence[] = {{.kind = H2_END}};
    static const h2_step headers[] = {
        {.kind = H2_AWAIT_END_STREAM},
        {.kind = H2_HEADERS,
         .headers = {{":status", "200"}, {"content-type", "application/grpc"}, {"server", "envoy"}}},
        {.kind = H2_END}};
    static const h2_step half_a_message[] = {
        {.kind = H2_AWAIT_END_STREAM},
        {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},
        {.kind = H2_DATA, .data_bytes = 3},
        {.kind = H2_END}};
    const h2_step *const scripts[] = {silence, headers, half_a_message};
    const char *const names[] = {"silence", "headers", "half a message"};
    for (size_t i = 0; i < COUNT(scripts); i++) {
        expect_one_request_saying(&(one_request_options){.steps = scripts[i], .timeout_ms = 500},
                                  EVENER_STATUS_DEADLINE_EXCEEDED,
                                  "deadline exceeded after 0.500 s at 127.0.0.1:", names[i]);
    }
}

/* ---- ends without a status ---- */

Test(one_request, connection_lost_at_the_server)
{
    static const h2_step closes[] = {{.kind = H2_AWAIT_END_STREAM}, {.kind = H2_CLOSE}, {.kind = H2_END}};
    static const h2_step closes_behind_headers[] = {
        {.kind = H2_AWAIT_END_STREAM},
        {.kind = H2_HEADERS, .headers = {{":status", "200"}, {"content-type", "application/grpc"}}},
        {.kind = H2_PAUSE, .pause_ms = 1},
        {.kind = H2_CLOSE},
        {.kind = H2_END}};
    static const h2_step drains_and_closes[] = {{.kind = H2_AWAIT_END_STREAM},
                                                {.kind = H2_GOAWAY, .last_stream = H2_THIS_STREAM},
                                                {.kind = H2_PAUSE, .pause_ms = 1},
                                                {.kind = H2_CLOSE},
                                                {.kind = H2_END}};
    static const h2_step aborts[] = {{.kind = H2_AWAIT_END_STREAM}, {.kind = H2_ABORT}, {.kind = H2_END}};
    expect_one_request(&(one_request_options){.steps = closes}, EVENER_STATUS_UNAVAILABLE, "close");
    expect_one_request(&(one_request_options){.steps = aborts}, EVENER_STATUS_UNAVAILABLE, "TCP reset");
    expect_one_request(&(one_request_options){.steps = closes_behind_headers}, EVENER_STATUS_UNAVAILABLE,
                       "headers and close");
    expect_one_request(&(one_request_options){.steps = drains_and_closes}, EVENER_STATUS_UNAVAILABLE,
                       "GOAWAY of this stream and close");
}

/* doc/PROTOCOL-HTTP2.md, "Errors": INTERNAL_ERROR and NO_ERROR are INTERNAL, CANCEL is CANCELLED, ENHANCE_YOUR_CALM is
 * RESOURCE_EXHAUSTED. REFUSED_STREAM: test_refused.c. */
Test(one_request, reset_by_the_server)
{
    static const struct {
        uint32_t error;
        evener_status_code code;
    } resets[] = {{H2_NO_ERROR, EVENER_STATUS_INTERNAL},
                  {H2_INTERNAL_ERROR, EVENER_STATUS_INTERNAL},
                  {H2_CANCEL, EVENER_STATUS_CANCELLED},
                  {H2_ENHANCE_YOUR_CALM, EVENER_STATUS_RESOURCE_EXHAUSTED}};
    for (size_t i = 0; i < COUNT(resets); i++) {
        const h2_step steps[] = {
            {.kind = H2_AWAIT_END_STREAM}, {.kind = H2_RST_STREAM, .code = resets[i].error}, {.kind = H2_END}};
        char what[64];
        snprintf(what, sizeof what, "RST_STREAM with error code %u", (unsigned)resets[i].error);
        expect_one_request(&(one_request_options){.steps = steps}, resets[i].code, what);
    }
}
