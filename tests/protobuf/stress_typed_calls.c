/* Typed calls of every kind, stubs and server reflection from several threads at once, cancelled at any moment, on
 * channels that close meanwhile and whose servers end their connections: every callback that is due comes exactly once.
 * A plain program, so that it also runs under ThreadSanitizer. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <evener/reflection.h>
#include <grpcdemo/grpcdemo.evener.h>

#include "demo_server/server.h"

#define ROUNDS 10
#define CALLS 60
#define SERVERS 2

typedef struct round_state {
    evener_channel *channel;
    unsigned seed;
    atomic_uint started, ended, wrong;
} round_state;

static const evener_call_options short_call = {.size = sizeof short_call, .timeout_ms = 100};

static void pause_us(unsigned us)
{
    const struct timespec pause = {.tv_nsec = (long)us * 1000};
    nanosleep(&pause, NULL);
}

/* ---- streams both ways, without waiting ---- */

typedef struct exchange {
    round_state *round;
    grpcdemo_grpc_demo_exchange_async stream;
    unsigned ends; /* of callbacks only, which come one at a time */
} exchange;

static void send_one(exchange *self)
{
    Grpcdemo__ExchangeReq request = GRPCDEMO__EXCHANGE_REQ__INIT;
    request.first_name = (char *)"Ada";
    (void)grpcdemo_grpc_demo_exchange_send(&self->stream, &request);
}

static void exchange_message(void *arg, Grpcdemo__ExchangeResp *message)
{
    exchange *self = arg;
    if (message == NULL || self->ends != 0) {
        atomic_fetch_add(&self->round->wrong, 1);
    }
    grpcdemo__exchange_resp__free_unpacked(message, NULL);
    (void)grpcdemo_grpc_demo_exchange_ask(&self->stream);
}

static void exchange_written(void *arg)
{
    send_one(arg);
}

static void exchange_ended(void *arg, const evener_status *status)
{
    (void)status;
    exchange *self = arg;
    if (self->ends++ != 0) {
        atomic_fetch_add(&self->round->wrong, 1);
    }
    atomic_fetch_add(&self->round->ended, 1);
}

static void *exchange_and_cancel(void *arg)
{
    static const grpcdemo_grpc_demo_exchange_callbacks callbacks = {
        .written = exchange_written, .message = exchange_message, .ended = exchange_ended};
    round_state *round = arg;
    unsigned seed = round->seed + 1;
    exchange *list = calloc(CALLS, sizeof *list); /* freed when all have ended */
    for (int i = 0; i < CALLS; i++) {
        exchange *self = &list[i];
        self->round = round;
        if (grpcdemo_grpc_demo_exchange_start(round->channel, &short_call, &callbacks, self, &self->stream, NULL) !=
            EVENER_STATUS_OK) {
            continue;
        }
        atomic_fetch_add(&round->started, 1);
        (void)grpcdemo_grpc_demo_exchange_ask(&self->stream);
        send_one(self);
        pause_us((unsigned)rand_r(&seed) % 1000);
        if (rand_r(&seed) % 2 == 0) {
            (void)grpcdemo_grpc_demo_exchange_send_done(&self->stream);
        } else {
            grpcdemo_grpc_demo_exchange_async_cancel(&self->stream);
        }
    }
    return list;
}

/* The handles are given back when no callback uses them any more. */
static void exchanges_free(exchange *list)
{
    for (int i = 0; i < CALLS; i++) {
        grpcdemo_grpc_demo_exchange_async_unref(&list[i].stream);
    }
    free(list);
}

/* ---- client streams, whose handles are given back at once ---- */

static void push_answered(void *arg, const evener_status *status, Grpcdemo__PushDataResp *response)
{
    round_state *round = arg;
    if ((status->code == EVENER_STATUS_OK) != (response != NULL)) {
        atomic_fetch_add(&round->wrong, 1);
    }
    grpcdemo__push_data_resp__free_unpacked(response, NULL);
    atomic_fetch_add(&round->ended, 1);
}

static void *push_and_forget(void *arg)
{
    static const grpcdemo_grpc_demo_push_data_callbacks callbacks = {.answered = push_answered};
    round_state *round = arg;
    unsigned seed = round->seed + 2;
    for (int i = 0; i < CALLS; i++) {
        grpcdemo_grpc_demo_push_data_async stream;
        if (grpcdemo_grpc_demo_push_data_start(round->channel, &short_call, &callbacks, round, &stream, NULL) !=
            EVENER_STATUS_OK) {
            continue;
        }
        atomic_fetch_add(&round->started, 1);
        Grpcdemo__PushDataReq part = GRPCDEMO__PUSH_DATA_REQ__INIT;
        part.foo = (char *)"part";
        (void)grpcdemo_grpc_demo_push_data_send(&stream, &part);
        (void)grpcdemo_grpc_demo_push_data_send_done(&stream);
        if (rand_r(&seed) % 3 == 0) {
            grpcdemo_grpc_demo_push_data_async_cancel(&stream);
        }
        grpcdemo_grpc_demo_push_data_async_unref(&stream);
    }
    return NULL;
}

/* ---- stubs ---- */

static void stub_answered(const Grpcdemo__CustomMessage *message, void *arg)
{
    round_state *round = arg;
    const evener_status *status = evener_protobuf_c_status();
    if (status == NULL || (status->code == EVENER_STATUS_OK) != (message != NULL)) {
        atomic_fetch_add(&round->wrong, 1);
    }
    atomic_fetch_add(&round->ended, 1);
}

static void *call_stubs(void *arg)
{
    round_state *round = arg;
    Grpcdemo__Folder__ImportedMessage request = GRPCDEMO__FOLDER__IMPORTED_MESSAGE__INIT;
    for (int i = 0; i < CALLS / 10; i++) {
        ProtobufCService *demo = evener_protobuf_c_service(round->channel, &grpcdemo__grpc_demo__descriptor);
        (void)evener_protobuf_c_service_set_options(demo, &short_call, NULL);
        for (int k = 0; k < 10; k++) {
            atomic_fetch_add(&round->started, 1);
            grpcdemo__grpc_demo__demo_import(demo, &request, stub_answered, round);
        }
        protobuf_c_service_destroy(demo); /* its calls are under way */
    }
    return NULL;
}

/* ---- calls that wait, and reflection ---- */

static void *read_books(void *arg)
{
    const round_state *round = arg;
    for (int i = 0; i < CALLS / 2; i++) {
        grpcdemo_grpc_demo_fetch_data_stream stream;
        Grpcdemo__UnaryCallResp *answer;
        if (grpcdemo_grpc_demo_fetch_data_open(round->channel, NULL, &short_call, &stream, NULL) == EVENER_STATUS_OK) {
            grpcdemo__fetch_data_resp__free_unpacked(grpcdemo_grpc_demo_fetch_data_read(&stream), NULL);
            if (i % 2 == 0) {
                grpcdemo_grpc_demo_fetch_data_cancel(&stream);
            }
            (void)grpcdemo_grpc_demo_fetch_data_finish(&stream, NULL);
        }
        if (grpcdemo_grpc_demo_unary_call(round->channel, NULL, &short_call, &answer, NULL) == EVENER_STATUS_OK) {
            grpcdemo__unary_call_resp__free_unpacked(answer, NULL);
        }
    }
    return NULL;
}

static void *reflect(void *arg)
{
    round_state *round = arg;
    for (int i = 0; i < CALLS / 10; i++) {
        evener_descriptors *own;
        char **names = NULL;
        size_t count;
        if (evener_descriptors_create(&own, NULL) == EVENER_STATUS_OK &&
            evener_reflection_add(round->channel, "grpcdemo.GrpcDemo", &short_call, own, NULL) == EVENER_STATUS_OK &&
            evener_descriptors_method(own, "grpcdemo.GrpcDemo/Exchange") == NULL) {
            atomic_fetch_add(&round->wrong, 1);
        }
        evener_descriptors_destroy(own);
        if (evener_reflection_services(round->channel, &short_call, &names, &count, NULL) == EVENER_STATUS_OK) {
            free(names);
        }
    }
    return NULL;
}

/* ---- a round: a channel, its callers, and a close in their midst ---- */

static bool run_round(unsigned number, demo_server *const *servers, const evener_credentials *credentials)
{
    static void *(*const kinds[])(void *) = {exchange_and_cancel, push_and_forget, call_stubs,
                                             read_books,          reflect,         reflect};
    round_state round = {.seed = number * 10};
    char target[128];
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%u,127.0.0.1:%u", (unsigned)demo_server_port(servers[0]),
             (unsigned)demo_server_port(servers[1]));
    const evener_channel_options options = {
        .size = sizeof options, .credentials = credentials, .policy = "round_robin", .backoff_initial_ms = 5};
    evener_status status;
    if (evener_channel_create(target, &options, &round.channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return false;
    }
    pthread_t threads[sizeof kinds / sizeof kinds[0]];
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        pthread_create(&threads[i], NULL, kinds[i], &round);
    }
    if (number % 3 == 2) {
        pause_us(30000);
        evener_channel_close(round.channel);
    }
    exchange *exchanges = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        void *result;
        pthread_join(threads[i], &result);
        exchanges = i == 0 ? result : exchanges;
    }
    evener_channel_unref(round.channel);
    for (int i = 0; i < 20000 && atomic_load(&round.ended) < atomic_load(&round.started); i++) {
        pause_us(1000);
    }
    pause_us(2000); /* a second end of a call would come now */
    const unsigned started = atomic_load(&round.started), ended = atomic_load(&round.ended);
    const unsigned wrong = atomic_load(&round.wrong);
    if (started != ended || wrong > 0) {
        fprintf(stderr, "round %u: %u calls started, %u ended, %u wrong\n", number, started, ended, wrong);
        return false;
    }
    exchanges_free(exchanges);
    return true;
}

int main(void)
{
    demo_server *servers[SERVERS];
    for (int i = 0; i < SERVERS; i++) {
        char error[DEMO_SERVER_ERROR_BYTES];
        servers[i] = demo_server_start(&(demo_server_options){.max_connection_age_ms = 50}, error);
        if (servers[i] == NULL) {
            fprintf(stderr, "%s\n", error);
            return 1;
        }
        demo_server_set_delay_ms(servers[i], i == 0 ? 0 : 1);
    }
    evener_credentials *insecure;
    evener_status status;
    if (evener_credentials_create_insecure(&insecure, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return 1;
    }
    bool ok = true;
    for (unsigned number = 0; number < ROUNDS && ok; number++) {
        ok = run_round(number, servers, insecure);
    }
    evener_credentials_destroy(insecure);
    for (int i = 0; i < SERVERS; i++) {
        demo_server_stop(servers[i], 0);
    }
    printf("stress_typed_calls: %s\n", ok ? "ok" : "FAILED");
    return ok ? 0 : 1;
}
