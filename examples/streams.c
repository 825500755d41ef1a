/* streams PORT: the three kinds of streams: client, server and bidirectional. */
#include <stdio.h>

#include <evener/evener.h>

#include "grpcdemo/grpcdemo.evener.h"

static const evener_call_options options = {.size = sizeof options, .timeout_ms = 5000};

/* Return 0 for OK; else print the status. */
static int report(const char *method, const evener_status *status)
{
    if (status->code != EVENER_STATUS_OK) {
        fprintf(stderr, "%s: %s: %s\n", method, evener_status_code_name(status->code), status->message);
    }
    return status->code == EVENER_STATUS_OK ? 0 : 1;
}

/* Client stream: many requests, one response. */
static int push_data(evener_channel *channel)
{
    grpcdemo_grpc_demo_push_data_stream stream;
    evener_status status;
    if (grpcdemo_grpc_demo_push_data_open(channel, &options, &stream, &status) != EVENER_STATUS_OK) {
        return report("PushData", &status);
    }
    for (int i = 0; i < 3; i++) {
        char text[16];
        snprintf(text, sizeof text, "part %d ", i);
        Grpcdemo__PushDataReq part = GRPCDEMO__PUSH_DATA_REQ__INIT;
        part.foo = text;
        grpcdemo_grpc_demo_push_data_write(&stream, &part); /* false if the call has ended: finish() has the reason */
    }
    Grpcdemo__PushDataResp *response;
    if (grpcdemo_grpc_demo_push_data_finish(&stream, &response, &status) == EVENER_STATUS_OK) {
        printf("PushData: \"%s\"\n", response->foo);
        grpcdemo__push_data_resp__free_unpacked(response, NULL);
    }
    return report("PushData", &status);
}

/* Server stream: one request, many responses. */
static int fetch_data(evener_channel *channel)
{
    Grpcdemo__FetchDataReq request = GRPCDEMO__FETCH_DATA_REQ__INIT;
    request.msg = (char *)"books";
    request.notice_way_case = GRPCDEMO__FETCH_DATA_REQ__NOTICE_WAY_EMAIL;
    request.email = (char *)"reader@example.org";
    grpcdemo_grpc_demo_fetch_data_stream stream;
    evener_status status;
    if (grpcdemo_grpc_demo_fetch_data_open(channel, &request, &options, &stream, &status) != EVENER_STATUS_OK) {
        return report("FetchData", &status);
    }
    for (Grpcdemo__FetchDataResp *book; (book = grpcdemo_grpc_demo_fetch_data_read(&stream)) != NULL;) {
        printf("FetchData: \"%s\"\n", book->fav_book);
        grpcdemo__fetch_data_resp__free_unpacked(book, NULL);
    }
    grpcdemo_grpc_demo_fetch_data_finish(&stream, &status);
    return report("FetchData", &status);
}

/* Bidirectional stream: one response per request. One thread may read while another writes; here one thread
 * alternates. */
static int exchange(evener_channel *channel)
{
    static const char *const names[] = {"Ada", "Alan", "Grace"};
    grpcdemo_grpc_demo_exchange_stream stream;
    evener_status status;
    if (grpcdemo_grpc_demo_exchange_open(channel, &options, &stream, &status) != EVENER_STATUS_OK) {
        return report("Exchange", &status);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        Grpcdemo__ExchangeReq request = GRPCDEMO__EXCHANGE_REQ__INIT;
        request.first_name = (char *)names[i];
        Grpcdemo__ExchangeResp *answer;
        if (!grpcdemo_grpc_demo_exchange_write(&stream, &request) ||
            (answer = grpcdemo_grpc_demo_exchange_read(&stream)) == NULL) {
            break;
        }
        printf("Exchange: %s %s\n", names[i], answer->last_name);
        grpcdemo__exchange_resp__free_unpacked(answer, NULL);
    }
    grpcdemo_grpc_demo_exchange_finish(&stream, &status);
    return report("Exchange", &status);
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
    const evener_channel_options channel_options = {.size = sizeof channel_options, .credentials = insecure};
    if (evener_channel_create(target, &channel_options, &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return 1;
    }
    int failed = push_data(channel) + fetch_data(channel) + exchange(channel);
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
    return failed == 0 ? 0 : 1;
}
