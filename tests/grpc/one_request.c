#include "grpc/one_request.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>

#include "grpc/call_fixture.h"

#define METHOD "/any.Service/Method"
#define SAFETY_NET_MS 5000

const char *const calling_way_names[CALLING_WAYS] = {"unary call", "call start", "stream", "create call"};

typedef struct scene {
    const one_request_options *options;
    h2_script_server *server;
    evener_channel *channel;
    evener_call_options call_options;
    one_request_result *result;
} scene;

static void check(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "one request: %s\n", what);
        abort();
    }
}

static void await_server(const scene *s)
{
    check(h2_script_server_wait(s->server, H2_REQUESTS, 1), "no request came");
}

/* ---- the ways ---- */

static void call_unary(scene *s)
{
    evener_bytes response = {0};
    (void)evener_unary_call(s->channel, METHOD, NULL, &s->call_options, &response, &s->result->status);
    evener_bytes_clear(&response);
}

typedef struct pending {
    evener_status status;
    sem_t ended;
} pending;

static void call_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    pending *p = arg;
    (void)response;
    p->status = *status;
    sem_post(&p->ended);
}

static void call_start(scene *s)
{
    pending p;
    evener_call *call;
    sem_init(&p.ended, 0, 0);
    check(evener_call_start(s->channel, METHOD, NULL, &s->call_options, call_ended, &p, &call, &s->result->status) ==
              EVENER_STATUS_OK,
          s->result->status.message);
    if (s->options->cancel_at_server) {
        await_server(s);
        evener_call_cancel(call);
    }
    while (sem_wait(&p.ended) != 0) {
    }
    sem_destroy(&p.ended);
    evener_call_unref(call);
    s->result->status = p.status;
}

static void call_stream(scene *s)
{
    static const evener_bytes empty = {0};
    evener_stream *stream;
    if (evener_stream_open(s->channel, METHOD, &empty, &s->call_options, &stream, &s->result->status) !=
        EVENER_STATUS_OK) {
        return;
    }
    if (s->options->cancel_at_server) {
        await_server(s);
        evener_stream_cancel(stream);
    }
    for (evener_bytes message; evener_stream_read(stream, &message);) {
        evener_bytes_clear(&message);
    }
    (void)evener_stream_finish(stream, &s->result->status);
    snprintf(s->result->stream_peer, sizeof s->result->stream_peer, "%s", evener_stream_peer(stream));
    evener_stream_unref(stream);
}

/* Run the core's call as a program would: one batch, on its own queue. */
static void run_core_call(const scene *s, grpc_call *call, grpc_completion_queue *queue)
{
    grpc_metadata_array headers, trailers;
    grpc_metadata_array_init(&headers);
    grpc_metadata_array_init(&trailers);
    grpc_slice nothing = grpc_empty_slice();
    grpc_byte_buffer *request = grpc_raw_byte_buffer_create(&nothing, 1);
    grpc_byte_buffer *response = NULL;
    grpc_status_code code = GRPC_STATUS_UNKNOWN;
    grpc_slice message = grpc_empty_slice();
    grpc_op ops[6];
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = request;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &headers;
    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &response;
    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &trailers;
    ops[5].data.recv_status_on_client.status = &code;
    ops[5].data.recv_status_on_client.status_details = &message;
    check(grpc_call_start_batch(call, ops, 6, call, NULL) == GRPC_CALL_OK, "a batch did not start");
    if (s->options->cancel_at_server) {
        await_server(s);
        check(grpc_call_cancel(call, NULL) == GRPC_CALL_OK, "a call could not be cancelled");
    }
    (void)grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    evener_status_set(&s->result->status, (evener_status_code)code, "%.*s", (int)GRPC_SLICE_LENGTH(message),
                      (const char *)GRPC_SLICE_START_PTR(message));
    grpc_byte_buffer_destroy(request);
    grpc_byte_buffer_destroy(response);
    grpc_slice_unref(message);
    grpc_metadata_array_destroy(&headers);
    grpc_metadata_array_destroy(&trailers);
}

static void call_create_call(scene *s)
{
    evener_pick pick;
    grpc_call *call;
    evener_call_options options = s->call_options;
    options.details = NULL;
    grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
    check(evener_channel_create_call(s->channel, queue, METHOD, &options, &pick, &call, &s->result->status) ==
              EVENER_STATUS_OK,
          s->result->status.message);
    run_core_call(s, call, queue);
    const evener_done_info info = {.size = sizeof info, .code = s->result->status.code};
    s->result->not_sent = evener_call_done(s->channel, &pick, call, &info);
    grpc_call_unref(call);
    grpc_completion_queue_shutdown(queue);
    (void)grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_destroy(queue);
    s->result->attempts = 1;
}

/* ---- all of it ---- */

static void read_stats(scene *s)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof(evener_subchannel_stats)};
    check(evener_channel_get_stats(s->channel, &stats, NULL) == EVENER_STATUS_OK, "no statistics");
    check(stats.subchannel_count == 1, "not one backend");
    s->result->picks = stats.subchannels[0].picks;
    s->result->failed = stats.subchannels[0].failed;
    evener_channel_stats_clear(&stats);
}

one_request_result make_one_request(calling_way way, const one_request_options *options)
{
    static void (*const ways[CALLING_WAYS])(scene *) = {call_unary, call_start, call_stream, call_create_call};
    one_request_result result = {0};
    evener_call_details details = {.size = sizeof details};
    const h2_script script = {.steps = options->steps};
    scene s = {.options = options, .result = &result};
    call_fixture f;
    char target[96];
    s.server = h2_script_server_start(&(h2_script_server_options){.scripts = &script, .count = 1});
    snprintf(result.server, sizeof result.server, "ipv4:127.0.0.1:%u", (unsigned)h2_script_server_port(s.server));
    snprintf(target, sizeof target, "%s", result.server);
    call_fixture_open(&f, 0, NULL);
    s.channel = call_fixture_channel(&f, target);
    s.call_options = (evener_call_options){.size = sizeof s.call_options,
                                           .timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : SAFETY_NET_MS,
                                           .details = &details};
    if (options->timeout_ms != 0) { /* the deadline is that of the server, not of the connection */
        check(evener_channel_wait_ready(s.channel, SAFETY_NET_MS, NULL) == EVENER_STATUS_OK, "no connection");
    }
    ways[way](&s);
    if (way != CALLING_CREATE_CALL) {
        snprintf(result.peer, sizeof result.peer, "%s", details.peer != NULL ? details.peer : "(none)");
        result.attempts = details.attempts;
    }
    evener_call_details_clear(&details);
    read_stats(&s);
    evener_channel_unref(s.channel);
    call_fixture_close(&f);
    result.requests = h2_script_server_count(s.server, H2_REQUESTS);
    h2_script_server_stop(s.server);
    return result;
}
