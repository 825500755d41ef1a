/* Servers that flood, fall silent or do not read: each call ends in time, with the right status and fate. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "http2/raw_scene.h"

/* A flood comes in batches of whole frames, so that it is one on a slow machine too. One that is not stopped ends with
 * the deadline of its call, and fails the test. */
#define BATCH_FRAMES 1000
#define FRAME_HEAD_BYTES 9
#define PAYLOAD_BYTES_MAX 8
#define FLOOD_MS_MAX 45000

TestSuite(http2_hostile, .init = raw_scene_open, .fini = raw_scene_close, .timeout = 60);

/* ---- floods ---- */

static void flood(h2_call *call, int type, uint32_t stream, const void *payload, size_t bytes)
{
    const uint8_t head[FRAME_HEAD_BYTES] = {0, 0, (uint8_t)bytes, (uint8_t)type, 0, 0, 0, 0, (uint8_t)stream};
    static uint8_t batch[BATCH_FRAMES * (FRAME_HEAD_BYTES + PAYLOAD_BYTES_MAX)];
    uint8_t *to = batch;
    for (int i = 0; i < BATCH_FRAMES; i++) {
        memcpy(to, head, sizeof head);
        memcpy(to + sizeof head, payload, bytes);
        to += sizeof head + bytes;
    }
    while (h2_state_count(peer) < 2 && !h2_call_has_ended(call)) {
        raw_send_bytes(&raw, batch, (size_t)(to - batch));
    }
}

Test(http2_hostile, a_flood_of_continuations_breaks_the_connection)
{
    raw_scene_connect();
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO, .timeout_ms = FLOOD_MS_MAX}, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    raw_send(&raw, RAW_HEADERS, 0, stream, "\x88", 1);
    flood(one, RAW_CONTINUATION, stream, "\0\x01x\x01y", 5);
    const h2_result *result = h2_call_wait(one);
    cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE, "%d %s", result->code, result->message);
    cr_assert_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED);
    h2_call_free(one);
}

Test(http2_hostile, a_flood_of_settings_to_a_peer_that_does_not_read_breaks_the_connection)
{
    raw_scene_connect();
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO, .timeout_ms = FLOOD_MS_MAX}, NULL);
    (void)raw_read_call(&raw, &frame);
    flood(one, RAW_SETTINGS, 0, "", 0);
    const h2_result *result = h2_call_wait(one);
    cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE, "%d %s", result->code, result->message);
    h2_call_free(one);
}

/* ---- silence ---- */

Test(http2_hostile, silence_before_the_settings_lasts_until_the_attempt_is_given_up)
{
    peer = h2_connect_port(&fixture, server.port);
    raw_accept(&server, &raw);
    char preface[24];
    cr_assert_eq(recv(raw.fd, preface, sizeof preface, MSG_WAITALL), (ssize_t)sizeof preface);
    cr_assert_eq(h2_state_count(peer), 0);
    h2_disconnect(peer);
    cr_assert(raw_read_to_end(&raw));
}

/* What a server sends before it falls silent. */
static void expect_deadline(void (*serve)(uint32_t stream), bool blocking)
{
    const h2_call_options options = {HELLO,
                                     .timeout_ms = 1000}; /* the request leaves before, also if a thread stalls */
    raw_scene_connect();
    if (blocking) {
        h2_result result;
        cr_assert_eq(h2_call_blocking(peer, &options, &result), EVENER_STATUS_DEADLINE_EXCEEDED);
        cr_assert_eq(result.fate, EVENER_FATE_PERHAPS_PROCESSED);
        h2_result_clear(&result);
        return;
    }
    h2_call *one = h2_call_start(peer, &options, NULL);
    serve(raw_read_call(&raw, &frame));
    const h2_result *result = h2_call_wait(one);
    cr_assert_eq(result->code, EVENER_STATUS_DEADLINE_EXCEEDED, "%s", result->message);
    cr_assert_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED);
    h2_call_free(one);
    do { /* the server learns of it */
        cr_assert(raw_read(&raw, &frame));
    } while (frame.type != RAW_RST_STREAM);
}

static void say_nothing(uint32_t stream)
{
    (void)stream;
}

static void say_headers(uint32_t stream)
{
    raw_send_grpc_headers(&raw, stream);
}

static void say_half_a_header_block(uint32_t stream)
{
    raw_send(&raw, RAW_HEADERS, 0, stream, "\x88", 1);
}

static void say_half_a_frame(uint32_t stream)
{
    (void)stream;
    raw_send_bytes(&raw, "\0\0\x08\x06", 4);
}

static void say_half_a_message(uint32_t stream)
{
    raw_send_grpc_headers(&raw, stream);
    raw_send(&raw, RAW_DATA, 0, stream, "\0\0\0\0\x05he", 7);
}

static void say_no_trailers(uint32_t stream)
{
    raw_send_grpc_headers(&raw, stream);
    raw_send_message(&raw, stream, "hello", 5);
}

Test(http2_hostile, silence_after_the_request_ends_with_the_deadline)
{
    expect_deadline(say_nothing, false);
}

Test(http2_hostile, silence_ends_a_blocking_call_with_the_deadline)
{
    expect_deadline(say_nothing, true);
}

Test(http2_hostile, silence_after_the_headers_ends_with_the_deadline)
{
    expect_deadline(say_headers, false);
}

Test(http2_hostile, silence_in_a_header_block_ends_with_the_deadline)
{
    expect_deadline(say_half_a_header_block, false);
}

Test(http2_hostile, silence_in_a_frame_ends_with_the_deadline)
{
    expect_deadline(say_half_a_frame, false);
}

Test(http2_hostile, silence_in_a_message_ends_with_the_deadline)
{
    expect_deadline(say_half_a_message, false);
}

Test(http2_hostile, silence_before_the_trailers_ends_with_the_deadline)
{
    expect_deadline(say_no_trailers, false);
}

/* ---- flow control ---- */

Test(http2_hostile, the_window_grows_with_the_bandwidth_delay_product)
{
    static uint8_t data[16384];
    raw_scene_connect();
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    raw_send(&raw, RAW_SETTINGS, RAW_ACK, 0, NULL, 0); /* from here on the first window is 256 KiB */
    raw_send_grpc_headers(&raw, stream);
    const uint32_t length = 3 << 20;
    memcpy(data, (uint8_t[]){0, (uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8), 0}, 5);
    uint64_t sent = 0, may_send = 256 * 1024; /* of the stream: its first window and its updates */
    uint64_t answer_at = UINT64_MAX;          /* bytes sent until the PING is answered */
    uint8_t ping[8];
    uint32_t window = 0;
    while (window == 0) {
        while (sent + sizeof data <= may_send && sent + sizeof data <= length) {
            raw_send(&raw, RAW_DATA, 0, stream, data, sizeof data);
            memset(data, 0, 5);
            sent += sizeof data;
        }
        if (sent >= answer_at) {
            raw_send(&raw, RAW_PING, RAW_ACK, 0, ping, sizeof ping);
            answer_at = UINT64_MAX;
        }
        cr_assert(raw_read_any(&raw, &frame), "%s", h2_call_wait(one)->message);
        const uint8_t *p = frame.payload;
        if (frame.type == RAW_PING && frame.flags == 0) {
            /* More than a window arrives while the PING is out: the bandwidth-delay product is above it. */
            memcpy(ping, p, sizeof ping);
            answer_at = sent + 256 * 1024;
        } else if (frame.type == RAW_WINDOW_UPDATE && frame.stream == stream) {
            may_send += (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        } else if (frame.type == RAW_SETTINGS && frame.flags == 0 && frame.bytes == 6 && p[1] == 4) {
            window = (uint32_t)p[2] << 24 | (uint32_t)p[3] << 16 | (uint32_t)p[4] << 8 | p[5];
        }
    }
    cr_assert_eq(window, 512 * 1024, "%u", window);
    raw_send_reset(&raw, stream, 8);
    (void)h2_call_wait(one);
    h2_call_free(one);
}

/* ---- a peer that does not read ---- */

Test(http2_hostile, a_flood_of_pings_to_a_peer_that_does_not_read_breaks_the_connection)
{
    raw_scene_connect();
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO, .timeout_ms = FLOOD_MS_MAX}, NULL);
    (void)raw_read_call(&raw, &frame);
    flood(one, RAW_PING, 0, "12345678", 8);
    const h2_result *result = h2_call_wait(one);
    cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE, "%d %s", result->code, result->message);
    h2_call_free(one);
}

Test(http2_hostile, a_deadline_holds_against_a_peer_that_does_not_read)
{
    const uint32_t wide[][2] = {{4, 0x7fffffff}};
    raw_scene_connect_with(wide, 1);
    raw_send(&raw, RAW_WINDOW_UPDATE, 0, 0, "\x7f\xff\0\0", 4);
    const size_t bytes = 64 << 20;
    char *text = calloc(1, bytes);
    h2_call *one =
        h2_call_start(peer, &(h2_call_options){.request = text, .request_bytes = bytes, .timeout_ms = 1000}, NULL);
    /* One that comes behind what the socket does not take. */
    h2_call *two = h2_call_start(peer, &(h2_call_options){HELLO, .timeout_ms = 1100}, NULL);
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(h2_call_wait(one)->fate, EVENER_FATE_PERHAPS_PROCESSED);
    cr_assert_eq(h2_call_wait(two)->code, EVENER_STATUS_DEADLINE_EXCEEDED);
    h2_call_free(one);
    h2_call_free(two);
    free(text);
}
