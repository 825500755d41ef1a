/* Streams, and calls of the core's own, over the whole library, to real servers in this process. */
#include <criterion/criterion.h>

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/support/alloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "grpc/call_fixture.h"
#include "grpc/transport_fixture.h"
#include "tests/support/transport_choice.h"

Test(stream, bidirectional_in_turns)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_stream *stream;
    evener_status status;
    cr_assert_eq(evener_stream_open(f.channel, ECHO_STREAM, NULL, NULL, &stream, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    char peer[64];
    snprintf(peer, sizeof peer, "ipv4:127.0.0.1:%u", (unsigned)demo_server_port(f.servers[0]));
    cr_expect_str_eq(evener_stream_peer(stream), peer);
    for (int i = 0; i < 10; i++) {
        char text[16];
        snprintf(text, sizeof text, "message %d", i);
        const evener_bytes message = bytes_of(text);
        cr_assert(evener_stream_write(stream, &message));
        evener_bytes answer;
        cr_assert(evener_stream_read(stream, &answer));
        cr_expect(bytes_equal(&answer, text));
        evener_bytes_clear(&answer);
    }
    cr_expect(evener_stream_writes_done(stream));
    cr_expect_not(evener_stream_writes_done(stream));
    cr_expect_not(evener_stream_write(stream, &(evener_bytes){0}));
    evener_bytes answer;
    cr_expect_not(evener_stream_read(stream, &answer));
    cr_expect_eq(evener_stream_finish(stream, &status), EVENER_STATUS_OK);
    cr_expect_eq(evener_stream_finish(stream, &status), EVENER_STATUS_OK);
    evener_stream_unref(stream);
    evener_stream_unref(NULL);
    call_fixture_close(&f);
}

typedef struct reader {
    evener_stream *stream;
    unsigned count;
} reader;

static void *read_all(void *arg)
{
    reader *r = arg;
    evener_bytes message;
    while (evener_stream_read(r->stream, &message)) {
        r->count++;
        evener_bytes_clear(&message);
    }
    return NULL;
}

Test(stream, one_thread_reads_while_another_writes)
{
    enum { MESSAGES = 2000 };
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_stream *stream;
    cr_assert_eq(evener_stream_open(f.channel, ECHO_STREAM, NULL, NULL, &stream, NULL), EVENER_STATUS_OK);
    reader r = {.stream = evener_stream_ref(stream)};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, read_all, &r), 0);
    const evener_bytes message = bytes_of("written by one, read by the other");
    for (int i = 0; i < MESSAGES; i++) {
        cr_assert(evener_stream_write(stream, &message));
    }
    cr_expect(evener_stream_writes_done(stream));
    pthread_join(thread, NULL);
    cr_expect_eq(r.count, MESSAGES);
    cr_expect_eq(evener_stream_finish(stream, NULL), EVENER_STATUS_OK);
    evener_stream_unref(r.stream);
    evener_stream_unref(stream);
    call_fixture_close(&f);
}

Test(stream, only_request_goes_with_the_opening)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    const evener_bytes request = bytes_of("the only one");
    evener_stream *stream;
    cr_assert_eq(evener_stream_open(f.channel, ECHO_STREAM, &request, NULL, &stream, NULL), EVENER_STATUS_OK);
    evener_bytes answer;
    cr_expect(evener_stream_read(stream, &answer));
    cr_expect(bytes_equal(&answer, "the only one"));
    evener_bytes_clear(&answer);
    cr_expect_not(evener_stream_read(stream, &answer));
    cr_expect_eq(evener_stream_finish(stream, NULL), EVENER_STATUS_OK);
    evener_stream_unref(stream);
    call_fixture_close(&f);
}

Test(stream, finish_drops_what_was_not_read)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_stream *stream;
    evener_call_details details = {.size = sizeof details};
    const evener_metadata metadata[] = {{"echo-x", "y", 1}};
    const evener_call_options options = {
        .size = sizeof options, .metadata = metadata, .metadata_count = 1, .details = &details};
    cr_assert_eq(evener_stream_open(f.channel, ECHO_STREAM, NULL, &options, &stream, NULL), EVENER_STATUS_OK);
    const evener_bytes message = bytes_of("unread");
    for (int i = 0; i < 5; i++) {
        cr_assert(evener_stream_write(stream, &message));
    }
    cr_expect_eq(evener_stream_finish(stream, NULL), EVENER_STATUS_OK);
    cr_expect_not_null(evener_metadata_find(details.initial_metadata, details.initial_metadata_count, "echo-x"));
    cr_expect_not_null(evener_metadata_find(details.trailing_metadata, details.trailing_metadata_count, "echo-x"));
    evener_call_details_clear(&details);
    evener_stream_unref(stream);
    call_fixture_close(&f);
}

static void *cancel_soon(void *arg)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    nanosleep(&pause, NULL);
    evener_stream_cancel(arg);
    return NULL;
}

Test(stream, cancelled_from_another_thread)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_stream *stream;
    cr_assert_eq(evener_stream_open(f.channel, ECHO_STREAM, NULL, NULL, &stream, NULL), EVENER_STATUS_OK);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, cancel_soon, stream), 0);
    evener_bytes message;
    cr_expect_not(evener_stream_read(stream, &message));
    pthread_join(thread, NULL);
    cr_expect_not(evener_stream_write(stream, &(evener_bytes){0}));
    evener_status status;
    cr_expect_eq(evener_stream_finish(stream, &status), EVENER_STATUS_CANCELLED);
    evener_stream_cancel(stream); /* after the end: nothing */
    evener_stream_unref(stream);
    call_fixture_close(&f);
}

Test(stream, unref_cancels_what_was_not_finished)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    for (int i = 0; i < 5; i++) {
        evener_stream *stream;
        cr_assert_eq(evener_stream_open(f.channel, ECHO_STREAM, NULL, NULL, &stream, NULL), EVENER_STATUS_OK);
        evener_stream_unref(stream);
    }
    const struct timespec pause = {.tv_nsec = 1000 * 1000};
    for (int i = 0; i < 10000 && demo_server_calls_in_flight(f.servers[0]) > 0; i++) {
        nanosleep(&pause, NULL);
    }
    cr_expect_eq(demo_server_calls_in_flight(f.servers[0]), 0);
    call_fixture_close(&f);
}

Test(stream, deadline)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    cr_assert_eq(evener_channel_wait_ready(f.channel, 20000, NULL), EVENER_STATUS_OK);
    evener_stream *stream;
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 500};
    cr_assert_eq(evener_stream_open(f.channel, ECHO_STREAM, NULL, &options, &stream, NULL), EVENER_STATUS_OK);
    evener_bytes message;
    cr_expect_not(evener_stream_read(stream, &message));
    cr_expect_eq(evener_stream_finish(stream, NULL), EVENER_STATUS_DEADLINE_EXCEEDED);
    evener_stream_unref(stream);
    call_fixture_close(&f);
}

Test(stream, errors_of_opening)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_stream *stream = NULL;
    evener_status status;
    cr_expect_eq(evener_stream_open(f.channel, ECHO_STREAM, NULL, NULL, NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    const evener_metadata bad[] = {{"Bad Key", "x", 1}};
    const evener_call_options options = {.size = sizeof options, .metadata = bad, .metadata_count = 1};
    cr_expect_eq(evener_stream_open(f.channel, ECHO_STREAM, NULL, &options, &stream, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    evener_channel_close(f.channel);
    cr_expect_eq(evener_stream_open(f.channel, ECHO_STREAM, NULL, NULL, &stream, &status), EVENER_STATUS_UNAVAILABLE);
    cr_expect_null(stream);
    call_fixture_close(&f);
}

/* ---- calls on the program's own queue ---- */

/* The error string is to be freed with gpr_free(). */
static evener_done_info run_on_own_queue(grpc_completion_queue *queue, grpc_call *call)
{
    evener_done_info info = {.size = sizeof info};
    grpc_metadata_array trailing_metadata;
    grpc_metadata_array_init(&trailing_metadata);
    grpc_metadata_array initial_metadata;
    grpc_metadata_array_init(&initial_metadata);
    grpc_status_code code = GRPC_STATUS_UNKNOWN;
    grpc_slice details = grpc_empty_slice();
    grpc_byte_buffer *response = NULL;
    grpc_slice text = grpc_slice_from_static_string("own queue");
    grpc_byte_buffer *request = grpc_raw_byte_buffer_create(&text, 1);
    grpc_op operations[6];
    memset(operations, 0, sizeof operations);
    operations[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    operations[1].op = GRPC_OP_SEND_MESSAGE;
    operations[1].data.send_message.send_message = request;
    operations[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    operations[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    operations[3].data.recv_initial_metadata.recv_initial_metadata = &initial_metadata;
    operations[4].op = GRPC_OP_RECV_MESSAGE;
    operations[4].data.recv_message.recv_message = &response;
    operations[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    operations[5].data.recv_status_on_client.trailing_metadata = &trailing_metadata;
    operations[5].data.recv_status_on_client.status = &code;
    operations[5].data.recv_status_on_client.status_details = &details;
    operations[5].data.recv_status_on_client.error_string = &info.error_string;
    cr_assert_eq(grpc_call_start_batch(call, operations, 6, call, NULL), GRPC_CALL_OK);
    grpc_event event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    cr_expect(event.type == GRPC_OP_COMPLETE && event.tag == call);
    info.code = (evener_status_code)code;
    info.answered = initial_metadata.count > 0 || trailing_metadata.count > 0 || response != NULL;
    grpc_byte_buffer_destroy(request);
    if (response != NULL) {
        grpc_byte_buffer_destroy(response);
    }
    grpc_slice_unref(details);
    grpc_metadata_array_destroy(&initial_metadata);
    grpc_metadata_array_destroy(&trailing_metadata);
    return info;
}

Test(create_call, on_the_programs_own_queue)
{
    ONLY_ON_CORE("calls of the core");
    grpc_init();
    call_fixture f;
    call_fixture_open(&f, 2, NULL);
    grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
    for (int i = 0; i < 10; i++) {
        evener_pick pick;
        grpc_call *call;
        evener_status status;
        const evener_call_options options = {.size = sizeof options, .timeout_ms = 10000};
        cr_assert_eq(evener_channel_create_call(f.channel, queue, ECHO_UNARY, &options, &pick, &call, &status),
                     EVENER_STATUS_OK, "%s", status.message);
        const evener_done_info info = run_on_own_queue(queue, call);
        cr_expect_eq(info.code, EVENER_STATUS_OK);
        cr_expect(info.answered);
        cr_expect_null(info.error_string);
        cr_expect_not(evener_call_done(f.channel, &pick, call, &info));
        grpc_call_unref(call);
    }
    evener_pick pick;
    cr_assert_eq(evener_channel_try_pick(f.channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    grpc_call *call;
    evener_status status;
    cr_assert_eq(evener_pick_create_call(f.channel, &pick, queue, ECHO_UNARY, NULL, &call, &status), EVENER_STATUS_OK,
                 "%s", status.message);
    cr_expect_eq(run_on_own_queue(queue, call).code, EVENER_STATUS_OK);
    cr_expect_not(evener_call_done(f.channel, &pick, call, NULL));
    grpc_call_unref(call);
    cr_expect_eq(evener_channel_create_call(f.channel, NULL, ECHO_UNARY, NULL, &pick, &call, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    evener_channel_close(f.channel);
    cr_expect_eq(evener_channel_create_call(f.channel, queue, ECHO_UNARY, NULL, &pick, &call, &status),
                 EVENER_STATUS_UNAVAILABLE);
    grpc_completion_queue_shutdown(queue);
    (void)grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_destroy(queue);
    call_fixture_close(&f);
    grpc_shutdown();
}

static void wait_until_lost(evener_channel *channel)
{
    evener_connectivity_state state = EVENER_READY;
    for (int i = 0; i < 5000 && state == EVENER_READY; i++) {
        evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof(evener_subchannel_stats)};
        cr_assert_eq(evener_channel_get_stats(channel, &stats, NULL), EVENER_STATUS_OK);
        state = stats.subchannels[0].state;
        evener_channel_stats_clear(&stats);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    cr_assert_neq(state, EVENER_READY);
}

/* Its connection is lost before the program starts the call: the core could not send it. */
Test(create_call, unsent_only_where_the_core_says_so)
{
    ONLY_ON_CORE("calls of the core");
    grpc_init();
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
    const evener_call_options options = {
        .size = sizeof options, .timeout_ms = 20000, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    for (int with_error_string = 0; with_error_string < 2; with_error_string++) {
        evener_pick pick;
        grpc_call *call;
        evener_status status;
        cr_assert_eq(evener_channel_create_call(f.channel, queue, ECHO_UNARY, &options, &pick, &call, &status),
                     EVENER_STATUS_OK, "%s", status.message);
        const demo_server_options same_port = {.port = demo_server_port(f.servers[0])};
        demo_server_stop(f.servers[0], 0);
        wait_until_lost(f.channel);
        evener_done_info info = run_on_own_queue(queue, call);
        cr_expect_eq(info.code, EVENER_STATUS_UNAVAILABLE);
        const char *const error_string = info.error_string;
        cr_expect_not_null(error_string);
        info.error_string = with_error_string != 0 ? error_string : NULL;
        cr_expect_eq(evener_call_done(f.channel, &pick, call, &info), with_error_string != 0, "%s", error_string);
        gpr_free((void *)(uintptr_t)error_string);
        grpc_call_unref(call);
        char error[DEMO_SERVER_ERROR_BYTES];
        f.servers[0] = demo_server_start(&same_port, error);
        cr_assert(f.servers[0] != NULL, "%s", error);
    }
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof(evener_subchannel_stats)};
    cr_assert_eq(evener_channel_get_stats(f.channel, &stats, NULL), EVENER_STATUS_OK);
    cr_expect_eq(stats.subchannels[0].failed, 1, "the unsent one is not charged");
    evener_channel_stats_clear(&stats);
    grpc_completion_queue_shutdown(queue);
    (void)grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_destroy(queue);
    call_fixture_close(&f);
    grpc_shutdown();
}
