/* A connection of the HTTP/2 transport against a scripted server: how it fails and ends, the fate of its calls, and its
 * limits. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http2/raw_scene.h"
#include "lb/transport/http2/internal.h"
#include "tests/support/own_sockets.h"

TestSuite(http2_connection, .init = raw_scene_open, .fini = raw_scene_close, .timeout = 60);

/* ---- the end of the connection ---- */

Test(http2_connection, goaway_refuses_what_is_above_its_last_id_and_lets_the_rest_finish)
{
    raw_scene_connect();
    h2_call *calls[10];
    for (int i = 0; i < 10; i++) {
        calls[i] = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
        cr_assert_eq(raw_read_call(&raw, &frame), (uint32_t)(2 * i + 1));
    }
    raw_send_goaway(&raw, 9, 0, NULL);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    for (int i = 5; i < 10; i++) {
        const h2_result *result = h2_call_wait(calls[i]);
        cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE);
        cr_assert_eq(result->fate, EVENER_FATE_REFUSED);
        cr_assert(result->connection_gone);
    }
    for (int i = 0; i < 5; i++) {
        cr_assert_not(h2_call_has_ended(calls[i]));
        raw_answer(&raw, (uint32_t)(2 * i + 1), "done");
        cr_assert_eq(h2_call_wait(calls[i])->code, EVENER_STATUS_OK);
    }
    cr_assert(raw_read_to_end(&raw), "the client closes after its last call");
    cr_assert_eq(h2_state_count(peer), 2);
    for (int i = 0; i < 10; i++) {
        h2_call_free(calls[i]);
    }
}

Test(http2_connection, a_graceful_goaway_ends_new_calls_and_keeps_the_others)
{
    raw_scene_connect();
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    raw_send_goaway(&raw, 0x7fffffff, 0, NULL);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    evener_status status;
    cr_assert_null(h2_call_start(peer, &(h2_call_options){HELLO}, &status));
    cr_assert_eq(status.code, EVENER_STATUS_UNAVAILABLE);
    raw_send_goaway(&raw, stream, 0, NULL);
    raw_answer(&raw, stream, "done");
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_OK);
    h2_call_free(one);
    cr_assert(raw_read_to_end(&raw));
    cr_assert_eq(h2_state_count(peer), 2, "one replacement is made, not two");
}

Test(http2_connection, a_lost_connection_may_have_processed_what_left)
{
    raw_scene_connect();
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    (void)raw_read_call(&raw, &frame);
    raw_reset(&raw);
    const h2_result *result = h2_call_wait(one);
    cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED);
    cr_assert(result->connection_gone);
    h2_call_free(one);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
}

/* Answer a new stream with two messages and its status, none of which is read yet, and end the connection. */
static h2_call *answer_and_close(uint64_t timeout_ms)
{
    raw_scene_connect();
    h2_call *stream = h2_call_start(peer, &(h2_call_options){.stream = true, .timeout_ms = timeout_ms}, NULL);
    const uint32_t id = raw_read_call(&raw, &frame);
    raw_send_grpc_headers(&raw, id);
    raw_send_message(&raw, id, "one", 3);
    raw_send_message(&raw, id, "two", 3);
    raw_send_trailers(&raw, id, "0");
    raw_send_goaway(&raw, id, 0, NULL);
    cr_assert_eq(shutdown(raw.fd, SHUT_WR), 0);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    cr_assert(raw_read_to_end(&raw), "the client closes too");
    return stream;
}

Test(http2_connection, a_complete_answer_is_read_after_the_end_of_the_connection)
{
    h2_call *stream = answer_and_close(0);
    evener_connection *connection = peer->connection;
    evener_http2_connection_ref(connection); /* as a pick has one */
    h2_disconnect(peer);
    cr_assert_not(h2_call_has_ended(stream));
    static const char *const messages[] = {"one", "two"};
    for (int i = 0; i < 2; i++) {
        char *message = h2_stream_read(stream, NULL);
        cr_assert_not_null(message);
        cr_assert_str_eq(message, messages[i]);
        free(message);
    }
    cr_assert_null(h2_stream_read(stream, NULL));
    const h2_result *result = h2_call_wait(stream);
    cr_assert_eq(result->code, EVENER_STATUS_OK, "%s", result->message);
    cr_assert(result->connection_gone);
    h2_call_free(stream);
    evener_http2_connection_unref(connection);
}

Test(http2_connection, a_complete_answer_that_nobody_reads_ends_with_its_deadline_after_the_connection)
{
    h2_call *stream = answer_and_close(300);
    cr_assert_eq(h2_call_wait(stream)->code, EVENER_STATUS_DEADLINE_EXCEEDED);
    h2_call_free(stream);
}

Test(http2_connection, a_closed_and_a_lost_connection_differ_in_the_message)
{
    raw_scene_connect();
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    (void)raw_read_call(&raw, &frame);
    cr_assert_eq(shutdown(raw.fd, SHUT_WR), 0);
    const char *message = h2_call_wait(one)->message;
    cr_expect_not_null(strstr(message, "the server closed the connection"), "%s", message);
    h2_call_free(one);
    h2_forget(peer);
    raw_close(&raw);
    raw_scene_connect();
    one = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    (void)raw_read_call(&raw, &frame);
    raw_reset(&raw);
    message = h2_call_wait(one)->message;
    cr_expect_not_null(strstr(message, "the connection was lost: "), "%s", message);
    h2_call_free(one);
}

/* Return whether an epoll descriptor of this process watches the socket with that inode number. */
static bool is_in_epoll(uint64_t inode)
{
    bool found = false;
    for (int descriptor = 0; descriptor < 1024; descriptor++) {
        char path[64], line[256];
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", descriptor);
        FILE *info = fopen(path, "r");
        while (info != NULL && fgets(line, sizeof line, info) != NULL) {
            const char *at = strncmp(line, "tfd:", 4) == 0 ? strstr(line, " ino:") : NULL; /* of epoll descriptors */
            found |= at != NULL && strtoull(at + 5, NULL, 16) == inode;
        }
        if (info != NULL) {
            fclose(info);
        }
    }
    return found;
}

/* A child has a copy of each socket from fork() until its handlers run, or until exec() where posix_spawn(), popen() or
 * system() made it: then close() alone does not take the socket out of epoll, whose events would come for a connection
 * that is freed. */
Test(http2_connection, a_copy_of_its_socket_brings_no_events_after_the_end)
{
    raw_scene_connect();
    struct stat socket_of;
    const int copy = dup(peer->connection->fd);
    cr_assert_eq(fstat(copy, &socket_of), 0);
    cr_assert(is_in_epoll(socket_of.st_ino), "the look finds what is watched");
    raw_reset(&raw); /* from now on the socket always has an event */
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    bool is_watched = true;
    for (int tries = 0; tries < 500 && is_watched; tries++) { /* the I/O thread closes it after the report */
        usleep(10000);
        is_watched = is_in_epoll(socket_of.st_ino);
    }
    cr_assert_not(is_watched, "the socket of a connection that has ended is still in epoll");
    close(copy);
}

Test(http2_connection, calls_beyond_the_peers_limit_wait_and_never_left)
{
    const uint32_t one_stream[][2] = {{3, 1}};
    raw_scene_connect_with(one_stream, 1);
    h2_call *calls[4];
    for (int i = 0; i < 3; i++) {
        calls[i] = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    }
    calls[3] = h2_call_start(peer, &(h2_call_options){HELLO, .timeout_ms = 30}, NULL);
    cr_assert_eq(raw_read_call(&raw, &frame), 1);
    const h2_result *result = h2_call_wait(calls[3]);
    cr_assert_eq(result->code, EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_assert_eq(result->fate, EVENER_FATE_NEVER_LEFT);
    raw_answer(&raw, 1, "first");
    cr_assert_eq(h2_call_wait(calls[0])->code, EVENER_STATUS_OK);
    cr_assert_eq(raw_read_call(&raw, &frame), 3);
    cr_assert_not(h2_call_has_ended(calls[2]));
    raw_reset(&raw);
    result = h2_call_wait(calls[1]);
    cr_assert_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED);
    result = h2_call_wait(calls[2]);
    cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(result->fate, EVENER_FATE_NEVER_LEFT);
    for (int i = 0; i < 4; i++) {
        h2_call_free(calls[i]);
    }
}

Test(http2_connection, goaway_ends_waiting_calls_at_once_as_never_left)
{
    const uint32_t one_stream[][2] = {{3, 1}};
    raw_scene_connect_with(one_stream, 1);
    h2_call *first = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    h2_call *second = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    raw_send_goaway(&raw, stream, 0, NULL);
    const h2_result *result = h2_call_wait(second);
    cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(result->fate, EVENER_FATE_NEVER_LEFT);
    cr_assert(result->connection_gone);
    raw_answer(&raw, stream, "done");
    cr_assert_eq(h2_call_wait(first)->code, EVENER_STATUS_OK);
    h2_call_free(first);
    h2_call_free(second);
}

/* How many HEADERS frames have begun in what the client sent until it closed. */
static unsigned headers_begun(void)
{
    size_t room = 64u << 20, bytes = 0;
    uint8_t *all = malloc(room);
    ssize_t got;
    while ((got = read(raw.fd, all + bytes, room - bytes)) > 0) {
        bytes += (size_t)got;
    }
    unsigned count = 0;
    for (size_t at = 0; at < bytes;) {
        const size_t left = bytes - at;
        if (left < 4) { /* a frame of which not even the type has arrived: only HEADERS follow here */
            count++;
            break;
        }
        count += all[at + 3] == RAW_HEADERS;
        at += 9 + ((size_t)all[at] << 16 | (size_t)all[at + 1] << 8 | all[at + 2]);
    }
    free(all);
    return count;
}

#define MANY 30000

Test(http2_connection, a_call_never_left_exactly_when_no_byte_of_its_headers_did)
{
    raw_scene_connect();
    static char value[400];
    static h2_call *calls[MANY];
    memset(value, 'a', sizeof value);
    /* nghttp2 keeps an etag out of HPACK's table, so that each frame is as large again. */
    const evener_metadata metadata = {"etag", value, sizeof value};
    for (int i = 0; i < MANY; i++) {
        /* Streams: HEADERS frames and nothing else. */
        calls[i] =
            h2_call_start(peer, &(h2_call_options){.stream = true, .metadata = &metadata, .metadata_count = 1}, NULL);
        if (i == 0) {
            cr_assert_eq(raw_read_call(&raw, &frame), 1); /* then the server reads no more */
        }
    }
    /* The socket is full: what the client still has is in its own buffer, or no frame yet. */
    raw_send_goaway(&raw, 0x7fffffff, 0, NULL);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
    shutdown(raw.fd, SHUT_WR);
    unsigned left = 0, never_left = 0;
    for (int i = 0; i < MANY; i++) {
        const h2_result *result = h2_call_wait(calls[i]);
        cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE);
        left += result->fate == EVENER_FATE_PERHAPS_PROCESSED;
        never_left += result->fate == EVENER_FATE_NEVER_LEFT;
    }
    cr_assert_eq(left + never_left, MANY);
    cr_assert_gt(never_left, 0u);
    cr_assert_eq(left, headers_begun() + 1, "the first was read before");
    for (int i = 0; i < MANY; i++) {
        h2_call_free(calls[i]);
    }
}

Test(http2_connection, a_raised_limit_lets_waiting_calls_go)
{
    const uint32_t no_stream[][2] = {{3, 0}};
    raw_scene_connect_with(no_stream, 1);
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    raw_send(&raw, RAW_SETTINGS, 0, 0, "\0\3\0\0\0\1", 6);
    cr_assert_eq(raw_read_call(&raw, &frame), 1);
    raw_answer(&raw, 1, "now");
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_OK);
    h2_call_free(one);
}

/* ---- flow control ---- */

Test(http2_connection, windows_that_open_in_steps_let_the_message_through)
{
    const uint32_t no_window[][2] = {{4, 0}};
    raw_scene_connect_with(no_window, 1);
    static char text[5000];
    h2_call *one = h2_call_start(peer, &(h2_call_options){.request = text, .request_bytes = sizeof text}, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    size_t got = 0;
    while (got < sizeof text + 5) {
        raw_send(&raw, RAW_WINDOW_UPDATE, 0, stream, "\0\0\4\0", 4); /* 1024 */
        cr_assert(raw_read(&raw, &frame));
        cr_assert_eq(frame.type, RAW_DATA);
        cr_assert_leq(frame.bytes, 1024);
        got += frame.bytes;
    }
    cr_assert_eq(frame.flags, RAW_END_STREAM);
    raw_answer(&raw, stream, "whole");
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_OK);
    h2_call_free(one);
}

Test(http2_connection, a_window_that_opens_byte_by_byte_makes_no_frames_of_a_byte)
{
    const uint32_t no_window[][2] = {{4, 0}};
    raw_scene_connect_with(no_window, 1);
    static char text[3000];
    h2_call *one = h2_call_start(peer, &(h2_call_options){.request = text, .request_bytes = sizeof text}, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    for (size_t i = 0; i < sizeof text + 5; i++) {
        raw_send(&raw, RAW_WINDOW_UPDATE, 0, stream, "\0\0\0\1", 4);
    }
    size_t got = 0;
    unsigned frames = 0;
    while (got < sizeof text + 5) {
        cr_assert(raw_read(&raw, &frame));
        cr_assert_eq(frame.type, RAW_DATA);
        got += frame.bytes;
        frames++;
    }
    cr_assert_leq(frames, 100u, "%u frames for %zu bytes", frames, got);
    raw_answer(&raw, stream, "whole");
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_OK);
    h2_call_free(one);
}

Test(http2_connection, a_narrow_window_that_stays_is_used_all_the_same)
{
    const uint32_t narrow[][2] = {{4, 10}};
    raw_scene_connect_with(narrow, 1);
    static char text[15];
    h2_call *one = h2_call_start(peer, &(h2_call_options){.request = text, .request_bytes = sizeof text}, NULL);
    const uint32_t stream = raw_read_call(&raw, &frame);
    cr_assert(raw_read(&raw, &frame));
    cr_assert_eq(frame.bytes, 10);
    raw_send(&raw, RAW_WINDOW_UPDATE, 0, stream, "\0\0\0\12", 4);
    cr_assert(raw_read(&raw, &frame));
    cr_assert_eq(frame.bytes, 10);
    raw_answer(&raw, stream, "whole");
    cr_assert_eq(h2_call_wait(one)->code, EVENER_STATUS_OK);
    h2_call_free(one);
}

/* ---- peers that never were HTTP/2 ---- */

static void fails_with(const char *bytes, size_t count, const char *message)
{
    peer = h2_connect_port(&fixture, server.port);
    raw_accept(&server, &raw);
    raw_send_bytes(&raw, bytes, count);
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(h2_state_message(peer, 1), message), "%s", h2_state_message(peer, 1));
}

Test(http2_connection, a_server_of_http_1_is_named)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    fails_with(answer, sizeof answer - 1, "the server speaks HTTP/1.1");
    cr_assert_null(strstr(h2_state_message(peer, 1), "127.0.0.1"), "policies say the address: %s",
                   h2_state_message(peer, 1));
}

Test(http2_connection, the_begin_of_an_answer_of_http_1_is_enough)
{
    fails_with("HTTP/1.", 7, "the server speaks HTTP/1.1");
}

Test(http2_connection, a_server_of_tls_is_named)
{
    fails_with("\x15\x03\x01\0\2\2\x46", 7, "the server speaks TLS");
}

Test(http2_connection, the_first_two_bytes_of_an_alert_are_enough)
{
    fails_with("\x15\x03", 2, "the server speaks TLS");
}

Test(http2_connection, what_only_resembles_another_protocol_is_a_frame)
{
    fails_with("\x15\x04\0\4\0\0\0\0\0", 9, "the connection was ended");
    h2_forget(peer);
    raw_close(&raw);
    fails_with("\x14\x03\0\4\0\0\0\0\0", 9, "the connection was ended");
    h2_forget(peer);
    raw_close(&raw);
    fails_with("HTTP/2.0 400", 12, "the connection was ended");
}

Test(http2_connection, a_server_that_closes_fails_the_attempt)
{
    peer = h2_connect_port(&fixture, server.port);
    raw_accept(&server, &raw);
    raw_close(&raw);
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
}

Test(http2_connection, a_refused_connection_is_named)
{
    raw_server closed;
    raw_listen(&closed);
    raw_stop(&closed);
    raw.fd = -1;
    peer = h2_connect_port(&fixture, closed.port);
    cr_assert_eq(h2_wait_state(peer, 1), EVENER_TRANSIENT_FAILURE);
    cr_assert_not_null(strstr(h2_state_message(peer, 1), "Connection refused"), "%s", h2_state_message(peer, 1));
}

Test(http2_connection, garbage_after_the_settings_breaks_the_connection)
{
    raw_scene_connect();
    h2_call *one = h2_call_start(peer, &(h2_call_options){HELLO}, NULL);
    (void)raw_read_call(&raw, &frame);
    raw_send_bytes(&raw, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
    const h2_result *result = h2_call_wait(one);
    cr_assert_eq(result->code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_eq(result->fate, EVENER_FATE_PERHAPS_PROCESSED);
    h2_call_free(one);
    cr_assert_eq(h2_wait_state(peer, 2), EVENER_IDLE);
}

/* ---- a server that does not read ---- */

/* What could not be sent is of calls that have ended: nothing would end the wait for it. */
Test(http2_connection, one_that_was_given_up_is_closed_although_the_server_does_not_read)
{
    enum { LARGE_BYTES = 32 << 20, WINDOW = 0x7fffffff, INITIAL_WINDOW_SIZE = 4 };
    static const uint32_t settings[][2] = {{INITIAL_WINDOW_SIZE, WINDOW}};
    static const uint8_t wider[] = {0x7f, 0xff, 0, 0};
    static uint8_t large[LARGE_BYTES];
    const int few_bytes = 4096;
    cr_assert_eq(setsockopt(server.fd, SOL_SOCKET, SO_RCVBUF, &few_bytes, sizeof few_bytes), 0);
    raw_scene_connect_with(settings, 1);
    raw_send(&raw, RAW_WINDOW_UPDATE, 0, 0, wider, sizeof wider);
    const unsigned before = own_descriptors_count("socket:");
    while (peer->connection->unsent_bytes == 0) { /* until the kernel takes no more */
        evener_status status;
        h2_call *call = h2_call_start(
            peer, &(h2_call_options){.request = large, .request_bytes = sizeof large, .timeout_ms = 200}, &status);
        cr_assert_eq(h2_call_wait(call)->code, EVENER_STATUS_DEADLINE_EXCEEDED);
        h2_call_free(call);
    }
    h2_disconnect(peer);
    while (own_descriptors_count("socket:") != before - 1) { /* or the suite's time-out */
        usleep(1000);
    }
}
