#include "protobuf/call_forms.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include <grpcdemo/grpcdemo.evener.h>

/* ---- messages ---- */

void call_messages_add(call_messages *messages, evener_bytes *message)
{
    if (messages->count == messages->room) {
        messages->room = 2 * messages->room + 16;
        messages->list = realloc(messages->list, messages->room * sizeof *messages->list);
        assert(messages->list != NULL);
    }
    messages->list[messages->count++] = *message;
    *message = (evener_bytes){0};
}

void call_messages_add_packed(call_messages *messages, const void *message)
{
    evener_bytes packed;
    assert(evener_protobuf_c_pack(message, &packed, NULL) == EVENER_STATUS_OK);
    call_messages_add(messages, &packed);
}

void call_messages_clear(call_messages *messages)
{
    for (size_t i = 0; i < messages->count; i++) {
        evener_bytes_clear(&messages->list[i]);
    }
    free(messages->list);
    *messages = (call_messages){0};
}

/* Unpack a request, to be freed with protobuf_c_message_free_unpacked(). */
static void *unpack(const ProtobufCMessageDescriptor *type, const evener_bytes *packed)
{
    ProtobufCMessage *message;
    assert(evener_protobuf_c_unpack(type, packed, "", &message, NULL) == EVENER_STATUS_OK);
    return message;
}

/* ---- by bytes ---- */

typedef struct byte_writer {
    evener_stream *stream;
    const call_messages *requests;
} byte_writer;

static void *write_bytes(void *arg)
{
    const byte_writer *w = arg;
    for (size_t i = 0; i < w->requests->count && evener_stream_write(w->stream, &w->requests->list[i]); i++) {
    }
    (void)evener_stream_writes_done(w->stream);
    return NULL;
}

void call_by_bytes(evener_channel *channel, const evener_method *method, const call_messages *requests,
                   call_messages *answers)
{
    evener_bytes message = {0};
    if (!method->client_streaming && !method->server_streaming) {
        answers->code = evener_unary_call(channel, method->path, &requests->list[0], NULL, &message, NULL);
        if (answers->code == EVENER_STATUS_OK) {
            call_messages_add(answers, &message);
        }
        return;
    }
    byte_writer writer = {.requests = requests};
    pthread_t thread;
    answers->code = evener_stream_open(channel, method->path, NULL, NULL, &writer.stream, NULL);
    assert(answers->code == EVENER_STATUS_OK);
    assert(pthread_create(&thread, NULL, write_bytes, &writer) == 0);
    while (evener_stream_read(writer.stream, &message)) {
        call_messages_add(answers, &message);
    }
    pthread_join(thread, NULL);
    answers->code = evener_stream_finish(writer.stream, NULL);
    evener_stream_unref(writer.stream);
}

/* ---- callbacks ---- */

/* Where callbacks put what they get, and what a caller waits for. */
typedef struct inbox {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    call_messages *answers;
    size_t written;
    bool ended;
    union {
        grpcdemo_grpc_demo_fetch_data_async fetch_data;
        grpcdemo_grpc_demo_exchange_async exchange;
    } stream;
} inbox;

#define INBOX(name, to)                                                                                                \
    inbox name = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .answers = (to)}

static void inbox_ended(void *arg, const evener_status *status)
{
    inbox *self = arg;
    pthread_mutex_lock(&self->mutex);
    self->answers->code = status->code;
    self->ended = true;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
}

/* The one answer, or NULL. */
static void inbox_answered(void *arg, const evener_status *status, const void *response)
{
    if (response != NULL) {
        call_messages_add_packed(((inbox *)arg)->answers, response);
    }
    inbox_ended(arg, status);
}

static void inbox_written(void *arg)
{
    inbox *self = arg;
    pthread_mutex_lock(&self->mutex);
    self->written++;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
}

static void inbox_wait_for_written(inbox *self, size_t count)
{
    pthread_mutex_lock(&self->mutex);
    while (self->written < count && !self->ended) {
        pthread_cond_wait(&self->changed, &self->mutex);
    }
    pthread_mutex_unlock(&self->mutex);
}

static void inbox_wait_for_end(inbox *self)
{
    pthread_mutex_lock(&self->mutex);
    while (!self->ended) {
        pthread_cond_wait(&self->changed, &self->mutex);
    }
    pthread_mutex_unlock(&self->mutex);
}

/* Of a stub. */
static void inbox_closure(const ProtobufCMessage *message, void *arg)
{
    inbox_answered(arg, evener_protobuf_c_status(), message);
}

/* ---- unary methods ---- */

/* `function` of the generated code, `stub` and `service` of protoc-c's; types of request and answer, and the prefixes of
 * their functions. */
#define UNARY(function, stub, service, Request, request, Response, response)                                           \
    static void function##_by_blocking(evener_channel *channel, const call_messages *requests, call_messages *answers) \
    {                                                                                                                  \
        Request *message = unpack(&request##__descriptor, &requests->list[0]);                                         \
        Response *answer;                                                                                              \
        answers->code = function(channel, message, NULL, &answer, NULL);                                               \
        if (answers->code == EVENER_STATUS_OK) {                                                                       \
            call_messages_add_packed(answers, answer);                                                                 \
            response##__free_unpacked(answer, NULL);                                                                   \
        }                                                                                                              \
        request##__free_unpacked(message, NULL);                                                                       \
    }                                                                                                                  \
    static void function##_answered(void *arg, const evener_status *status, Response *answer)                          \
    {                                                                                                                  \
        inbox_answered(arg, status, answer);                                                                           \
        response##__free_unpacked(answer, NULL);                                                                       \
    }                                                                                                                  \
    static void function##_by_async(evener_channel *channel, const call_messages *requests, call_messages *answers)    \
    {                                                                                                                  \
        INBOX(in, answers);                                                                                            \
        Request *message = unpack(&request##__descriptor, &requests->list[0]);                                         \
        assert(function##_start(channel, message, NULL, function##_answered, &in, NULL, NULL) == EVENER_STATUS_OK);    \
        request##__free_unpacked(message, NULL);                                                                       \
        inbox_wait_for_end(&in);                                                                                       \
    }                                                                                                                  \
    static void function##_by_stub(evener_channel *channel, const call_messages *requests, call_messages *answers)     \
    {                                                                                                                  \
        INBOX(in, answers);                                                                                            \
        Request *message = unpack(&request##__descriptor, &requests->list[0]);                                         \
        ProtobufCService *made = evener_protobuf_c_service(channel, &service##__descriptor);                           \
        stub(made, message, (Response##_Closure)inbox_closure, &in);                                                   \
        request##__free_unpacked(message, NULL);                                                                       \
        inbox_wait_for_end(&in);                                                                                       \
        protobuf_c_service_destroy(made);                                                                              \
    }

UNARY(grpcdemo_grpc_demo_unary_call, grpcdemo__grpc_demo__unary_call, grpcdemo__grpc_demo, Google__Protobuf__Empty,
      google__protobuf__empty, Grpcdemo__UnaryCallResp, grpcdemo__unary_call_resp)
UNARY(grpcdemo_grpc_demo_demo_import, grpcdemo__grpc_demo__demo_import, grpcdemo__grpc_demo,
      Grpcdemo__Folder__ImportedMessage, grpcdemo__folder__imported_message, Grpcdemo__CustomMessage,
      grpcdemo__custom_message)
UNARY(grpcdemo_grpc_demo_call_grpc_gateway, grpcdemo__grpc_demo__call_grpc_gateway, grpcdemo__grpc_demo,
      Grpcdemo__CallGrpcGatewayReq, grpcdemo__call_grpc_gateway_req, Grpcdemo__CallGrpcGatewayResp,
      grpcdemo__call_grpc_gateway_resp)
UNARY(grpcdemo_grpc_gateway_demo_call_grpc_gateway_demo, grpcdemo__grpc_gateway_demo__call_grpc_gateway_demo,
      grpcdemo__grpc_gateway_demo, Grpcdemo__CallGrpcGatewayDemoReq, grpcdemo__call_grpc_gateway_demo_req,
      Grpcdemo__CallGrpcGatewayDemoResp, grpcdemo__call_grpc_gateway_demo_resp)

/* ---- PushData: a client stream ---- */

static void push_data_by_blocking(evener_channel *channel, const call_messages *requests, call_messages *answers)
{
    grpcdemo_grpc_demo_push_data_stream stream;
    Grpcdemo__PushDataResp *answer;
    assert(grpcdemo_grpc_demo_push_data_open(channel, NULL, &stream, NULL) == EVENER_STATUS_OK);
    for (size_t i = 0; i < requests->count; i++) {
        Grpcdemo__PushDataReq *message = unpack(&grpcdemo__push_data_req__descriptor, &requests->list[i]);
        assert(grpcdemo_grpc_demo_push_data_write(&stream, message));
        grpcdemo__push_data_req__free_unpacked(message, NULL);
    }
    answers->code = grpcdemo_grpc_demo_push_data_finish(&stream, &answer, NULL);
    if (answers->code == EVENER_STATUS_OK) {
        call_messages_add_packed(answers, answer);
        grpcdemo__push_data_resp__free_unpacked(answer, NULL);
    }
}

static void push_data_answered(void *arg, const evener_status *status, Grpcdemo__PushDataResp *answer)
{
    inbox_answered(arg, status, answer);
    grpcdemo__push_data_resp__free_unpacked(answer, NULL);
}

static void push_data_by_async(evener_channel *channel, const call_messages *requests, call_messages *answers)
{
    static const grpcdemo_grpc_demo_push_data_callbacks callbacks = {.written = inbox_written,
                                                                     .answered = push_data_answered};
    INBOX(in, answers);
    grpcdemo_grpc_demo_push_data_async stream;
    assert(grpcdemo_grpc_demo_push_data_start(channel, NULL, &callbacks, &in, &stream, NULL) == EVENER_STATUS_OK);
    for (size_t i = 0; i < requests->count; i++) {
        Grpcdemo__PushDataReq *message = unpack(&grpcdemo__push_data_req__descriptor, &requests->list[i]);
        assert(grpcdemo_grpc_demo_push_data_send(&stream, message));
        grpcdemo__push_data_req__free_unpacked(message, NULL);
        inbox_wait_for_written(&in, i + 1);
    }
    (void)grpcdemo_grpc_demo_push_data_send_done(&stream);
    inbox_wait_for_end(&in);
    grpcdemo_grpc_demo_push_data_async_unref(&stream);
}

/* ---- FetchData: a server stream ---- */

static void fetch_data_by_blocking(evener_channel *channel, const call_messages *requests, call_messages *answers)
{
    Grpcdemo__FetchDataReq *message = unpack(&grpcdemo__fetch_data_req__descriptor, &requests->list[0]);
    grpcdemo_grpc_demo_fetch_data_stream stream;
    assert(grpcdemo_grpc_demo_fetch_data_open(channel, message, NULL, &stream, NULL) == EVENER_STATUS_OK);
    for (Grpcdemo__FetchDataResp *book; (book = grpcdemo_grpc_demo_fetch_data_read(&stream)) != NULL;) {
        call_messages_add_packed(answers, book);
        grpcdemo__fetch_data_resp__free_unpacked(book, NULL);
    }
    answers->code = grpcdemo_grpc_demo_fetch_data_finish(&stream, NULL);
    grpcdemo__fetch_data_req__free_unpacked(message, NULL);
}

static void book_came(void *arg, Grpcdemo__FetchDataResp *book)
{
    inbox *in = arg;
    call_messages_add_packed(in->answers, book);
    grpcdemo__fetch_data_resp__free_unpacked(book, NULL);
    (void)grpcdemo_grpc_demo_fetch_data_ask(&in->stream.fetch_data);
}

static void fetch_data_by_async(evener_channel *channel, const call_messages *requests, call_messages *answers)
{
    static const grpcdemo_grpc_demo_fetch_data_callbacks callbacks = {.message = book_came, .ended = inbox_ended};
    INBOX(in, answers);
    Grpcdemo__FetchDataReq *message = unpack(&grpcdemo__fetch_data_req__descriptor, &requests->list[0]);
    assert(grpcdemo_grpc_demo_fetch_data_start(channel, message, NULL, &callbacks, &in, &in.stream.fetch_data, NULL) ==
           EVENER_STATUS_OK);
    grpcdemo__fetch_data_req__free_unpacked(message, NULL);
    (void)grpcdemo_grpc_demo_fetch_data_ask(&in.stream.fetch_data);
    inbox_wait_for_end(&in);
    grpcdemo_grpc_demo_fetch_data_async_unref(&in.stream.fetch_data);
}

/* ---- Exchange: streams both ways ---- */

typedef struct exchange_writer {
    grpcdemo_grpc_demo_exchange_stream stream;
    const call_messages *requests;
} exchange_writer;

static void *write_exchange(void *arg)
{
    exchange_writer *w = arg;
    for (size_t i = 0; i < w->requests->count; i++) {
        Grpcdemo__ExchangeReq *message = unpack(&grpcdemo__exchange_req__descriptor, &w->requests->list[i]);
        assert(grpcdemo_grpc_demo_exchange_write(&w->stream, message));
        grpcdemo__exchange_req__free_unpacked(message, NULL);
    }
    (void)grpcdemo_grpc_demo_exchange_writes_done(&w->stream);
    return NULL;
}

static void exchange_by_blocking(evener_channel *channel, const call_messages *requests, call_messages *answers)
{
    exchange_writer writer = {.requests = requests};
    pthread_t thread;
    assert(grpcdemo_grpc_demo_exchange_open(channel, NULL, &writer.stream, NULL) == EVENER_STATUS_OK);
    assert(pthread_create(&thread, NULL, write_exchange, &writer) == 0);
    for (Grpcdemo__ExchangeResp *answer; (answer = grpcdemo_grpc_demo_exchange_read(&writer.stream)) != NULL;) {
        call_messages_add_packed(answers, answer);
        grpcdemo__exchange_resp__free_unpacked(answer, NULL);
    }
    pthread_join(thread, NULL);
    answers->code = grpcdemo_grpc_demo_exchange_finish(&writer.stream, NULL);
}

static void exchanged(void *arg, Grpcdemo__ExchangeResp *answer)
{
    inbox *in = arg;
    call_messages_add_packed(in->answers, answer);
    grpcdemo__exchange_resp__free_unpacked(answer, NULL);
    (void)grpcdemo_grpc_demo_exchange_ask(&in->stream.exchange);
}

static void exchange_by_async(evener_channel *channel, const call_messages *requests, call_messages *answers)
{
    static const grpcdemo_grpc_demo_exchange_callbacks callbacks = {
        .written = inbox_written, .message = exchanged, .ended = inbox_ended};
    INBOX(in, answers);
    assert(grpcdemo_grpc_demo_exchange_start(channel, NULL, &callbacks, &in, &in.stream.exchange, NULL) ==
           EVENER_STATUS_OK);
    (void)grpcdemo_grpc_demo_exchange_ask(&in.stream.exchange);
    for (size_t i = 0; i < requests->count; i++) {
        Grpcdemo__ExchangeReq *message = unpack(&grpcdemo__exchange_req__descriptor, &requests->list[i]);
        assert(grpcdemo_grpc_demo_exchange_send(&in.stream.exchange, message));
        grpcdemo__exchange_req__free_unpacked(message, NULL);
        inbox_wait_for_written(&in, i + 1);
    }
    (void)grpcdemo_grpc_demo_exchange_send_done(&in.stream.exchange);
    inbox_wait_for_end(&in);
    grpcdemo_grpc_demo_exchange_async_unref(&in.stream.exchange);
}

#define UNARY_FORMS(function) function##_by_blocking, function##_by_async, function##_by_stub

const call_method call_methods[CALL_METHODS] = {
    {"/grpcdemo.GrpcDemo/UnaryCall", UNARY_FORMS(grpcdemo_grpc_demo_unary_call)},
    {"/grpcdemo.GrpcDemo/DemoImport", UNARY_FORMS(grpcdemo_grpc_demo_demo_import)},
    {"/grpcdemo.GrpcDemo/PushData", push_data_by_blocking, push_data_by_async, NULL},
    {"/grpcdemo.GrpcDemo/FetchData", fetch_data_by_blocking, fetch_data_by_async, NULL},
    {"/grpcdemo.GrpcDemo/Exchange", exchange_by_blocking, exchange_by_async, NULL},
    {"/grpcdemo.GrpcDemo/CallGrpcGateway", UNARY_FORMS(grpcdemo_grpc_demo_call_grpc_gateway)},
    {"/grpcdemo.GrpcGatewayDemo/CallGrpcGatewayDemo", UNARY_FORMS(grpcdemo_grpc_gateway_demo_call_grpc_gateway_demo)},
};
