/* The HTTP/2 transport against scripted servers, case by case over whole ranges: every HTTP status, every code of a
 * reset, every last id of a GOAWAY, limits that change while streams are open, headers that are none. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http2/raw_scene.h"

TestSuite(http2_scripts, .init = raw_scene_open, .fini = raw_scene_close, .timeout = 120);

/* Connect in place of the connection that there is, if any. */
static void connect_anew(void)
{
    if (peer != NULL) {
        h2_forget(peer);
        raw_close(&raw);
    }
    raw_scene_connect();
}

static h2_call *start(const h2_call_options *options)
{
    evener_status status;
    h2_call *made = h2_call_start(peer, options, &status);
    cr_assert_not_null(made, "%s", status.message);
    return made;
}

static h2_call *start_hello(void)
{
    return start(&(h2_call_options){HELLO});
}

/* ---- answers that are not gRPC's ---- */

/* grpc: doc/http-grpc-status-mapping.md */
static evener_status_code code_of_http(unsigned status)
{
    switch (status) {
    case 400:
        return EVENER_STATUS_INTERNAL;
    case 401:
        return EVENER_STATUS_UNAUTHENTICATED;
    case 403:
        return EVENER_STATUS_PERMISSION_DENIED;
    case 404:
        return EVENER_STATUS_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return EVENER_STATUS_UNAVAILABLE;
    default:
        return EVENER_STATUS_UNKNOWN;
    }
}

Test(http2_scripts, every_http_status_with_and_without_a_body)
{
    raw_scene_connect();
    uint32_t requests = 0;
    for (unsigned status = 200; status <= 599; status++) {
        for (int with_body = 0; with_body < 2; with_body++) {
            char text[16];
            snprintf(text, sizeof text, "%u", status);
            h2_call *call = start_hello();
            const uint32_t stream = raw_read_call(&raw, &frame);
            cr_assert_eq(stream, 2 * requests + 1, "%s: a request more than calls", text);
            requests++;
            raw_send_headers(&raw, with_body ? 0 : RAW_END_STREAM, stream, ":status", text, "content-type", "text/html",
                             NULL);
            if (with_body) {
                raw_send(&raw, RAW_DATA, RAW_END_STREAM, stream, "<html>", 6);
            }
            const h2_result *result = h2_call_wait(call);
            cr_expect_eq(result->code, code_of_http(status), "%s: %d", text, (int)result->code);
            cr_expect_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED, "%s", text);
            cr_expect(strstr(result->message, text) != NULL, "%s: %s", text, result->message);
            h2_call_free(call);
        }
    }
}

Test(http2_scripts, every_reset_behind_headers_may_have_been_processed)
{
    raw_scene_connect();
    for (uint32_t code = 0; code <= 14; code++) {
        h2_call *call = start_hello();
        const uint32_t stream = raw_read_call(&raw, &frame);
        raw_send_grpc_headers(&raw, stream);
        raw_send_reset(&raw, stream, code);
        const h2_result *result = h2_call_wait(call);
        cr_expect_neq(result->code, EVENER_STATUS_OK, "code %u", code);
        cr_expect_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED, "code %u", code);
        cr_expect_not(result->connection_gone, "code %u", code);
        h2_call_free(call);
    }
}

/* ---- GOAWAY ---- */

#define STREAMS 100

/* Of a hundred streams `allowed` were let in. */
static void expect_goaway(unsigned allowed)
{
    h2_call *calls[STREAMS];
    connect_anew();
    for (unsigned i = 0; i < STREAMS; i++) {
        calls[i] = start_hello();
    }
    for (unsigned i = 0; i < STREAMS; i++) {
        cr_assert_eq(raw_read_call(&raw, &frame), 2 * i + 1);
    }
    raw_send_goaway(&raw, allowed > 0 ? 2 * allowed - 1 : 0, 0, NULL);
    for (unsigned i = allowed; i < STREAMS; i++) {
        const h2_result *result = h2_call_wait(calls[i]);
        cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE, "%u allowed, %u", allowed, i);
        cr_assert_eq(result->fate, EVENER_FATE_REFUSED, "%u allowed, %u", allowed, i);
    }
    for (unsigned i = 0; i < allowed; i++) {
        cr_assert_not(h2_call_has_ended(calls[i]), "%u allowed, %u", allowed, i);
        raw_answer(&raw, 2 * i + 1, "done");
        cr_assert_eq(h2_call_wait(calls[i])->code, EVENER_STATUS_OK, "%u allowed, %u", allowed, i);
    }
    cr_assert(raw_read_to_end(&raw), "%u allowed: the client closes", allowed);
    for (unsigned i = 0; i < STREAMS; i++) {
        h2_call_free(calls[i]);
    }
}

Test(http2_scripts, goaway_with_each_last_id_while_a_hundred_streams_are_in_flight)
{
    for (unsigned allowed = 0; allowed <= STREAMS; allowed++) {
        expect_goaway(allowed);
    }
}

/* ---- SETTINGS while streams are open ---- */

Test(http2_scripts, a_lowered_limit_holds_back_new_streams_only)
{
    h2_call *calls[4];
    raw_scene_connect();
    for (unsigned i = 0; i < 3; i++) {
        calls[i] = start_hello();
        cr_assert_eq(raw_read_call(&raw, &frame), 2 * i + 1);
    }
    raw_send(&raw, RAW_SETTINGS, 0, 0, "\0\3\0\0\0\1", 6);
    raw_answer(&raw, 1, "first");
    cr_assert_eq(h2_call_wait(calls[0])->code, EVENER_STATUS_OK); /* the client has read the SETTINGS before it */
    calls[3] = start_hello();
    raw_answer(&raw, 3, "second");
    cr_assert_eq(h2_call_wait(calls[1])->code, EVENER_STATUS_OK);
    const uint8_t ping[8] = {'m', 'a', 'r', 'k'};
    raw_send(&raw, RAW_PING, 0, 0, ping, sizeof ping);
    bool is_ponged = false;
    while (!is_ponged) { /* what the client sends until it has answered: nothing of the fourth call */
        cr_assert(raw_read_any(&raw, &frame));
        cr_assert_neq(frame.type, RAW_HEADERS, "a stream above the limit");
        is_ponged = frame.type == RAW_PING && (frame.flags & RAW_ACK) != 0;
    }
    raw_answer(&raw, 5, "third");
    cr_assert_eq(h2_call_wait(calls[2])->code, EVENER_STATUS_OK);
    cr_assert_eq(raw_read_call(&raw, &frame), 7);
    raw_answer(&raw, 7, "fourth");
    cr_assert_eq(h2_call_wait(calls[3])->code, EVENER_STATUS_OK);
    for (unsigned i = 0; i < 4; i++) {
        h2_call_free(calls[i]);
    }
}

/* RFC 9113 section 6.9.2: a smaller initial window can make a stream's window negative. */
Test(http2_scripts, a_window_that_shrinks_below_zero_holds_the_message_back)
{
    const uint32_t window[][2] = {{4, 2000}};
    enum { BYTES = 6000, WHOLE = BYTES + 5 };
    static char text[BYTES];
    raw_scene_connect_with(window, 1);
    h2_call *call = start(&(h2_call_options){.request = text, .request_bytes = sizeof text});
    const uint32_t stream = raw_read_call(&raw, &frame);
    size_t got = 0;
    while (got < 2000) {
        cr_assert(raw_read(&raw, &frame));
        cr_assert_eq(frame.type, RAW_DATA);
        got += frame.bytes;
    }
    cr_assert_eq(got, 2000);
    raw_send(&raw, RAW_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);         /* 0: the window is -2000 */
    raw_send(&raw, RAW_WINDOW_UPDATE, 0, stream, "\0\0\7\320", 4); /* 2000: it is 0 */
    raw_send(&raw, RAW_WINDOW_UPDATE, 0, stream, "\0\0\v\270", 4); /* 3000 */
    while (got < 5000) {
        cr_assert(raw_read(&raw, &frame));
        cr_assert_eq(frame.type, RAW_DATA);
        got += frame.bytes;
    }
    cr_assert_eq(got, 5000, "not more than the window");
    raw_send(&raw, RAW_SETTINGS, 0, 0, "\0\4\0\1\0\0", 6); /* 65536: the rest fits */
    while (got < WHOLE) {
        cr_assert(raw_read(&raw, &frame));
        got += frame.bytes;
    }
    cr_assert_eq(got, WHOLE);
    cr_assert((frame.flags & RAW_END_STREAM) != 0);
    raw_answer(&raw, stream, "whole");
    cr_assert_eq(h2_call_wait(call)->code, EVENER_STATUS_OK);
    h2_call_free(call);
}

/* ---- headers that are none ---- */

/* The block of one field, as a literal without indexing (RFC 7541 section 6.2.2), behind :status 200. */
static void expect_bad_field(const char *name, const char *value)
{
    h2_call *call = start_hello();
    const uint32_t stream = raw_read_call(&raw, &frame);
    raw_send_headers(&raw, RAW_END_STREAM, stream, ":status", "200", "content-type", "application/grpc", "grpc-status",
                     "0", name, value, NULL);
    const h2_result *result = h2_call_wait(call);
    cr_expect_neq(result->code, EVENER_STATUS_OK, "%s", name);
    cr_expect_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED, "%s", name);
    h2_call_free(call);
}

Test(http2_scripts, malformed_fields_end_the_call_and_leave_the_connection)
{
    raw_scene_connect();
    expect_bad_field("Upper-Case", "x");
    expect_bad_field("connection", "close");
    expect_bad_field("transfer-encoding", "chunked");
    expect_bad_field(":status", "200");
    expect_bad_field(":path", "/");
    expect_bad_field("grpc-status", "zero");
    h2_call *call = start_hello();
    raw_answer(&raw, raw_read_call(&raw, &frame), "still here");
    cr_expect_eq(h2_call_wait(call)->code, EVENER_STATUS_OK);
    h2_call_free(call);
    cr_expect_eq(h2_state_count(peer), 1);
}

static void expect_broken_by(int type, int flags, bool on_the_calls_stream, const void *payload, size_t bytes)
{
    connect_anew();
    h2_call *call = start_hello();
    const uint32_t stream = raw_read_call(&raw, &frame);
    raw_send(&raw, type, flags, on_the_calls_stream ? stream : 0, payload, bytes);
    const h2_result *result = h2_call_wait(call);
    cr_expect_eq(result->code, EVENER_STATUS_UNAVAILABLE, "type %d: %s", type, result->message);
    cr_expect_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED, "type %d", type);
    cr_expect(result->connection_gone, "type %d", type);
    h2_call_free(call);
}

Test(http2_scripts, frames_that_break_the_session_break_the_connection)
{
    expect_broken_by(RAW_HEADERS, RAW_END_HEADERS, true, "\377\377\377\377\377\377", 6); /* HPACK: no such index */
    expect_broken_by(RAW_HEADERS, RAW_END_HEADERS, false, "\210", 1);                    /* on stream 0 */
    expect_broken_by(RAW_CONTINUATION, RAW_END_HEADERS, true, "\210", 1);                /* of no HEADERS */
    expect_broken_by(RAW_SETTINGS, 0, false, "\0\4\377\377\377\377", 6);                 /* a window of 2^32 - 1 */
    expect_broken_by(RAW_SETTINGS, 0, false, "\0\4", 2);
    expect_broken_by(RAW_WINDOW_UPDATE, 0, false, "\0\0\0\0", 4);
    expect_broken_by(RAW_PING, 0, false, "short", 5);
}
