/* Asynchronous calls over the simulated transport on a virtual loop, for counting the instructions of the call layer:
 * every run takes the same path. Run under callgrind; the difference of two counts of calls is the cost of a call, with
 * what the simulated transport and the loop take of it.
 *
 *     bench_instructions_calls unary|stream CALLS [SERVICE_CONFIG]
 *
 * Three backends, round_robin, every call is answered at once. Exit status 1 if a call fails. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#include "tests/support/fake_transport.h"
#include "tests/support/virtual_loop.h"

#define WARM_UP_CALLS 1000

static uint64_t answered;

static fake_call_outcome answer(void *arg, const char *address, const evener_call_begin_args *args)
{
    (void)arg;
    (void)address;
    (void)args;
    return (fake_call_outcome){.kind = FAKE_CALL_ANSWER};
}

static void call_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    (void)arg;
    (void)response;
    answered += status->code == EVENER_STATUS_OK;
}

static void stream_message(void *arg, evener_bytes *message)
{
    (void)arg;
    evener_bytes_clear(message);
}

static void stream_ended(void *arg, const evener_status *status)
{
    (void)arg;
    answered += status->code == EVENER_STATUS_OK;
}

static void make_calls(evener_channel *channel, virtual_loop *loop, bool streams, uint64_t count)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 1000};
    const evener_bytes request = {.data = (const uint8_t *)"hello", .length = 5};
    const evener_stream_callbacks callbacks = {
        .size = sizeof callbacks, .message = stream_message, .ended = stream_ended};
    evener_status status;
    for (uint64_t i = 0; i < count; i++) {
        if (streams) {
            evener_stream *stream;
            if (evener_stream_start(channel, "/bench.Bench/Run", &request, &options, &callbacks, NULL, &stream,
                                    &status) == EVENER_STATUS_OK) {
                (void)evener_stream_ask(stream);
                virtual_loop_run_until_idle(loop);
                (void)evener_stream_ask(stream);
                virtual_loop_run_until_idle(loop);
                evener_stream_unref(stream);
            }
        } else {
            (void)evener_call_start(channel, "/bench.Bench/Run", &request, &options, call_ended, NULL, NULL, &status);
        }
        virtual_loop_run_until_idle(loop);
    }
}

int main(int argc, char **argv)
{
    if (argc < 3 || (strcmp(argv[1], "unary") != 0 && strcmp(argv[1], "stream") != 0)) {
        fprintf(stderr, "usage: bench_instructions_calls unary|stream CALLS [SERVICE_CONFIG]\n");
        return 2;
    }
    virtual_loop *loop = virtual_loop_create(1);
    const evener_runtime_options runtime_options = {.size = sizeof runtime_options, .loop = virtual_loop_loop(loop)};
    evener_runtime *runtime;
    evener_manual_resolver *resolver;
    evener_channel *channel;
    evener_status status;
    if (evener_runtime_create(&runtime_options, &runtime, &status) != EVENER_STATUS_OK ||
        evener_manual_resolver_create("bench", &resolver, &status) != EVENER_STATUS_OK ||
        evener_manual_resolver_set(resolver, "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3", NULL, &status) !=
            EVENER_STATUS_OK) {
        fprintf(stderr, "bench_instructions_calls: %s\n", status.message);
        return 1;
    }
    fake_transport *transport = fake_transport_create(virtual_loop_loop(loop), true);
    fake_transport_carry_calls(transport, answer, NULL);
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(resolver)};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = runtime,
                                            .transport = fake_transport_transport(transport),
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .policy = "round_robin",
                                            .default_service_config = argc > 3 ? argv[3] : NULL};
    if (evener_channel_create("bench:///backends", &options, &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "bench_instructions_calls: %s\n", status.message);
        return 1;
    }
    evener_channel_connect(channel);
    virtual_loop_run_until_idle(loop);
    const bool streams = strcmp(argv[1], "stream") == 0;
    const uint64_t calls = strtoull(argv[2], NULL, 10);
    make_calls(channel, loop, streams, WARM_UP_CALLS);
    make_calls(channel, loop, streams, calls);
    evener_channel_unref(channel);
    virtual_loop_run_until_idle(loop);
    evener_manual_resolver_destroy(resolver);
    evener_runtime_unref(runtime);
    fake_transport_destroy(transport);
    virtual_loop_destroy(loop);
    if (answered != calls + WARM_UP_CALLS) {
        fprintf(stderr, "bench_instructions_calls: %llu of %llu calls were answered\n", (unsigned long long)answered,
                (unsigned long long)calls + WARM_UP_CALLS);
        return 1;
    }
    return 0;
}
