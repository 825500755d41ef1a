/* streams PORT: the three kinds of streams: client, server and bidirectional. */
#include <stdio.h>

#include <evener/evener.h>

#include "grpcdemo/grpcdemo.pb-c.h"

static int finish(evener_stream *stream, const char *what)
{
    evener_status status;
    evener_status_code code = evener_stream_finish(stream, &status);
    evener_stream_unref(stream);
    if (code != EVENER_STATUS_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, evener_status_code_name(code), status.message);
    }
    return code == EVENER_STATUS_OK ? 0 : 1;
}

static evener_stream *open_stream(evener_channel *channel, const char *method, const evener_bytes *only_request)
{
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 5000};
    evener_stream *stream = NULL;
    evener_status status;
    if (evener_stream_open(channel, method, only_request, &options, &stream, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", method, status.message);
    }
    return stream;
}

/* Client stream: many requests, one response. */
static int push_data(evener_channel *channel)
{
    evener_stream *stream = open_stream(channel, "/grpcdemo.GrpcDemo/PushData", NULL);
    if (stream == NULL) {
        return 1;
    }
    for (int i = 0; i < 3; i++) {
        char text[16];
        snprintf(text, sizeof text, "part %d ", i);
        Grpcdemo__PushDataReq part = GRPCDEMO__PUSH_DATA_REQ__INIT;
        part.foo = text;
        evener_bytes message;
        grpcdemo__push_data_req__pack(&part,
                                      evener_bytes_create(grpcdemo__push_data_req__get_packed_size(&part), &message));
        evener_stream_write(stream, &message); /* false if the call has ended: finish() returns the reason */
        evener_bytes_clear(&message);
    }
    evener_stream_writes_done(stream);
    evener_bytes answer;
    if (evener_stream_read(stream, &answer)) {
        Grpcdemo__PushDataResp *resp = grpcdemo__push_data_resp__unpack(NULL, answer.length, answer.data);
        if (resp != NULL) {
            printf("PushData: \"%s\"\n", resp->foo);
            grpcdemo__push_data_resp__free_unpacked(resp, NULL);
        }
        evener_bytes_clear(&answer);
    }
    return finish(stream, "PushData");
}

/* Server stream: one request, many responses. */
static int fetch_data(evener_channel *channel)
{
    Grpcdemo__FetchDataReq wanted = GRPCDEMO__FETCH_DATA_REQ__INIT;
    wanted.msg = (char *)"books";
    wanted.notice_way_case = GRPCDEMO__FETCH_DATA_REQ__NOTICE_WAY_EMAIL;
    wanted.email = (char *)"reader@example.org";
    evener_bytes request;
    grpcdemo__fetch_data_req__pack(&wanted,
                                   evener_bytes_create(grpcdemo__fetch_data_req__get_packed_size(&wanted), &request));
    evener_stream *stream = open_stream(channel, "/grpcdemo.GrpcDemo/FetchData", &request);
    evener_bytes_clear(&request);
    if (stream == NULL) {
        return 1;
    }
    evener_bytes message;
    while (evener_stream_read(stream, &message)) {
        Grpcdemo__FetchDataResp *resp = grpcdemo__fetch_data_resp__unpack(NULL, message.length, message.data);
        if (resp != NULL) {
            printf("FetchData: \"%s\"\n", resp->fav_book);
            grpcdemo__fetch_data_resp__free_unpacked(resp, NULL);
        }
        evener_bytes_clear(&message);
    }
    return finish(stream, "FetchData");
}

/* Bidirectional stream: one response per request. One thread may read while another writes; here one thread
 * alternates. */
static int exchange(evener_channel *channel)
{
    static const char *const names[] = {"Ada", "Alan", "Grace"};
    evener_stream *stream = open_stream(channel, "/grpcdemo.GrpcDemo/Exchange", NULL);
    if (stream == NULL) {
        return 1;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        Grpcdemo__ExchangeReq req = GRPCDEMO__EXCHANGE_REQ__INIT;
        req.first_name = (char *)names[i];
        evener_bytes message;
        grpcdemo__exchange_req__pack(&req,
                                     evener_bytes_create(grpcdemo__exchange_req__get_packed_size(&req), &message));
        bool written = evener_stream_write(stream, &message);
        evener_bytes_clear(&message);
        evener_bytes answer;
        if (!written || !evener_stream_read(stream, &answer)) {
            break;
        }
        Grpcdemo__ExchangeResp *resp = grpcdemo__exchange_resp__unpack(NULL, answer.length, answer.data);
        if (resp != NULL) {
            printf("Exchange: %s %s\n", names[i], resp->last_name);
            grpcdemo__exchange_resp__free_unpacked(resp, NULL);
        }
        evener_bytes_clear(&answer);
    }
    return finish(stream, "Exchange");
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: streams PORT\n");
        return 2;
    }
    char target[64];
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%s", argv[1]);
    evener_credentials *insecure;
    evener_channel *channel;
    evener_status status;
    evener_credentials_create_insecure(&insecure, NULL);
    const evener_channel_options options = {.size = sizeof options, .credentials = insecure};
    if (evener_channel_create(target, &options, &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return 1;
    }
    int failed = push_data(channel) + fetch_data(channel) + exchange(channel);
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
    return failed == 0 ? 0 : 1;
}
