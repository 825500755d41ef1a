/* Calls of every kind from eight threads over both transports at once: submitted, cancelled, ended by their deadline
 * and by the channel's close, on connections that end meanwhile, plain, with retries and hedged. Each call ends exactly
 * once, and an answer is the call's own. A plain program, so that it also runs under ThreadSanitizer. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/evener.h>

#include "demo_server/server.h"

#define ROUNDS 9
#define THREADS 8
#define CALLS 40 /* per thread and round */
#define SERVERS 2
#define MESSAGES_MAX 20

#define UNARY "/evener.demo.Echo/Unary"
#define STREAM "/evener.demo.Echo/Stream"

/* One per round, in turn. While calls have a policy the second server fails every call. */
static const char *const configs[] = {
    NULL,
    "{\"methodConfig\": [{\"name\": [{}], \"retryPolicy\": {\"maxAttempts\": 4, \"initialBackoff\": \"0.001s\", "
    "\"maxBackoff\": \"0.01s\", \"backoffMultiplier\": 2, \"retryableStatusCodes\": [\"UNAVAILABLE\"], "
    "\"perAttemptRecvTimeout\": \"0.1s\"}, \"evenerBreaker\": {\"k\": 10}}], \"retryThrottling\": {\"maxTokens\": "
    "1000, "
    "\"tokenRatio\": 1}}",
    "{\"methodConfig\": [{\"name\": [{}], \"hedgingPolicy\": {\"maxAttempts\": 3, \"hedgingDelay\": \"0.001s\", "
    "\"nonFatalStatusCodes\": [\"UNAVAILABLE\"], \"evenerHedgingQuantile\": 0.9}}], \"evenerRetryBudget\": {\"ratio\": "
    "1}}"};
#define CONFIGS (sizeof configs / sizeof configs[0])

static atomic_uint started, ended, wrong;

static void pause_us(unsigned us)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

static void expect(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "stress_calls: %s\n", what);
        atomic_fetch_add(&wrong, 1);
    }
}

/* ---- kinds of calls ---- */

typedef struct caller {
    evener_channel *channel;
    unsigned seed;
} caller;

static unsigned any_of(caller *c, unsigned count)
{
    return (unsigned)rand_r(&c->seed) % count;
}

static evener_call_options options_of(caller *c)
{
    return (evener_call_options){.size = sizeof(evener_call_options),
                                 .timeout_ms = 1 + any_of(c, any_of(c, 2) == 0 ? 10 : 200),
                                 .wait_for_ready =
                                     any_of(c, 2) == 0 ? EVENER_WAIT_FOR_READY_YES : EVENER_WAIT_FOR_READY_NO};
}

static void call_blocking(caller *c)
{
    char text[32];
    const int bytes = snprintf(text, sizeof text, "%u", any_of(c, 1000000));
    const evener_bytes request = {.data = (const uint8_t *)text, .length = (size_t)bytes};
    const evener_call_options options = options_of(c);
    evener_bytes response = {0};
    if (evener_unary_call(c->channel, UNARY, &request, &options, &response, NULL) == EVENER_STATUS_OK) {
        expect(response.length == request.length && memcmp(response.data, text, request.length) == 0,
               "a blocking call has another call's answer");
        evener_bytes_clear(&response);
    }
}

typedef struct started_call {
    atomic_uint ends;
    char text[32];
} started_call;

static void on_call_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    started_call *call = arg;
    expect(atomic_fetch_add(&call->ends, 1) == 0, "a callback comes twice");
    expect(status->code != EVENER_STATUS_OK ||
               (response->length == strlen(call->text) && memcmp(response->data, call->text, response->length) == 0),
           "an asynchronous call has another call's answer");
    free(call);
    atomic_fetch_add(&ended, 1);
}

static void call_start(caller *c)
{
    started_call *own = calloc(1, sizeof *own);
    const int bytes = snprintf(own->text, sizeof own->text, "%u", any_of(c, 1000000));
    const evener_bytes request = {.data = (const uint8_t *)own->text, .length = (size_t)bytes};
    const evener_call_options options = options_of(c);
    evener_call *call;
    atomic_fetch_add(&started, 1);
    if (evener_call_start(c->channel, UNARY, &request, &options, on_call_ended, own, &call, NULL) != EVENER_STATUS_OK) {
        free(own);
        atomic_fetch_add(&ended, 1);
        return;
    }
    if (any_of(c, 2) == 0) {
        pause_us(any_of(c, 300));
        evener_call_cancel(call);
    }
    evener_call_unref(call);
}

static void stream_blocking(caller *c)
{
    const evener_call_options options = options_of(c);
    evener_stream *stream;
    if (evener_stream_open(c->channel, STREAM, NULL, &options, &stream, NULL) != EVENER_STATUS_OK) {
        return;
    }
    const evener_bytes request = {.data = (const uint8_t *)"to and fro", .length = 10};
    for (unsigned i = any_of(c, MESSAGES_MAX); i > 0 && evener_stream_write(stream, &request); i--) {
        evener_bytes message;
        if (!evener_stream_read(stream, &message)) {
            break;
        }
        expect(message.length == request.length, "a stream has another one's message");
        evener_bytes_clear(&message);
    }
    if (any_of(c, 3) == 0) {
        evener_stream_cancel(stream);
    } else if (any_of(c, 2) == 0) {
        (void)evener_stream_finish(stream, NULL);
    }
    evener_stream_unref(stream);
}

/* A stream with callbacks: sends and asks in turn. */
typedef struct started_stream {
    evener_stream *_Atomic stream;
    unsigned left;
    atomic_uint ends;
} started_stream;

static void on_message(void *arg, evener_bytes *message)
{
    started_stream *own = arg;
    evener_stream *stream = atomic_load(&own->stream);
    expect(message->length == 10, "a stream has another one's message");
    if (--own->left > 0) {
        (void)evener_stream_send(stream, message);
    } else {
        (void)evener_stream_send_done(stream);
    }
    (void)evener_stream_ask(stream);
    evener_bytes_clear(message);
}

static void on_stream_ended(void *arg, const evener_status *status)
{
    (void)status;
    started_stream *own = arg;
    expect(atomic_fetch_add(&own->ends, 1) == 0, "a stream ends twice");
    atomic_fetch_add(&ended, 1);
}

static void stream_start(caller *c)
{
    static const evener_stream_callbacks callbacks = {
        .size = sizeof callbacks, .message = on_message, .ended = on_stream_ended};
    const evener_call_options options = options_of(c);
    started_stream own = {.left = 1 + any_of(c, MESSAGES_MAX)};
    evener_stream *stream;
    atomic_fetch_add(&started, 1);
    if (evener_stream_start(c->channel, STREAM, NULL, &options, &callbacks, &own, &stream, NULL) != EVENER_STATUS_OK) {
        atomic_fetch_add(&ended, 1);
        return;
    }
    atomic_store(&own.stream, stream);
    const evener_bytes request = {.data = (const uint8_t *)"to and fro", .length = 10};
    (void)evener_stream_send(stream, &request);
    (void)evener_stream_ask(stream); /* answered from here on */
    if (any_of(c, 3) == 0) {
        pause_us(any_of(c, 300));
        evener_stream_cancel(stream);
    }
    while (atomic_load(&own.ends) == 0) { /* its deadline ends it */
        pause_us(200);
    }
    evener_stream_unref(stream);
}

static void *make_calls(void *arg)
{
    static void (*const kinds[])(caller *) = {call_blocking, call_start, stream_blocking, stream_start};
    caller *c = arg;
    for (int i = 0; i < CALLS; i++) {
        kinds[any_of(c, 4)](c);
    }
    return NULL;
}

/* ---- a round: a channel per transport, their callers, and a close in their midst ---- */

static evener_channel *open_channel(const char *transport, demo_server *const *servers,
                                    const evener_credentials *credentials, const char *config)
{
    char target[128];
    evener_status status;
    evener_channel *channel;
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u,127.0.0.1:%u", (unsigned)demo_server_port(servers[0]),
             (unsigned)demo_server_port(servers[1]));
    const evener_channel_options options = {.size = sizeof options,
                                            .credentials = credentials,
                                            .policy = "round_robin",
                                            .transport_name = transport,
                                            .default_service_config = config,
                                            .backoff_initial_ms = 5};
    if (evener_channel_create(target, &options, &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        exit(1);
    }
    return channel;
}

static void run_round(unsigned number, demo_server *const *servers, const evener_credentials *credentials)
{
    const char *config = configs[number % CONFIGS];
    evener_channel *channels[] = {open_channel("grpc", servers, credentials, config),
                                  open_channel("http2", servers, credentials, config)};
    demo_server_set_failure(servers[1], config != NULL ? GRPC_STATUS_UNAVAILABLE : GRPC_STATUS_OK, "fails");
    caller callers[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        callers[i] = (caller){.channel = channels[i % 2], .seed = number * THREADS + i + 1};
        pthread_create(&threads[i], NULL, make_calls, &callers[i]);
    }
    if (number % 2 == 0) {
        pause_us(100000);
        evener_channel_close(channels[0]);
        evener_channel_close(channels[1]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    evener_channel_unref(channels[0]);
    evener_channel_unref(channels[1]);
    for (int i = 0; i < 20000 && atomic_load(&ended) < atomic_load(&started); i++) {
        pause_us(1000);
    }
    expect(atomic_load(&ended) == atomic_load(&started), "a call does not end");
}

int main(void)
{
    demo_server *servers[SERVERS];
    for (int i = 0; i < SERVERS; i++) {
        char error[DEMO_SERVER_ERROR_BYTES];
        servers[i] = demo_server_start(&(demo_server_options){.max_connection_age_ms = 150}, error);
        if (servers[i] == NULL) {
            fprintf(stderr, "%s\n", error);
            return 1;
        }
        demo_server_set_delay_ms(servers[i], i == 0 ? 0 : 1);
    }
    evener_credentials *insecure;
    if (evener_credentials_create_insecure(&insecure, NULL) != EVENER_STATUS_OK) {
        return 1;
    }
    for (unsigned number = 0; number < ROUNDS && atomic_load(&wrong) == 0; number++) {
        run_round(number, servers, insecure);
    }
    evener_credentials_destroy(insecure);
    for (int i = 0; i < SERVERS; i++) {
        demo_server_stop(servers[i], 0);
    }
    printf("stress_calls: %s, %u calls and streams with callbacks\n", atomic_load(&wrong) != 0 ? "FAILED" : "ok",
           atomic_load(&ended));
    return atomic_load(&wrong) != 0;
}
