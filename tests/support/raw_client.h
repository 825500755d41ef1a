/* A client on the C core alone, for tests: one blocking call of any shape on its own channel. It shows the server's
 * behaviour without evener. */
#ifndef TESTS_SUPPORT_RAW_CLIENT_H
#define TESTS_SUPPORT_RAW_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include <grpc/grpc.h>

#define RAW_MESSAGES_MAX 16
#define RAW_MESSAGE_BYTES_MAX 256

typedef struct raw_message {
    size_t bytes;
    uint8_t data[RAW_MESSAGE_BYTES_MAX];
} raw_message;

typedef struct raw_result {
    grpc_status_code code;
    char message[256];
    size_t response_count;
    raw_message responses[RAW_MESSAGES_MAX];
    char host_seen[128]; /* the header "host-seen"; "" if absent */
    size_t trailer_count;
} raw_result;

typedef struct raw_call {
    const char *target; /* "ipv4:127.0.0.1:8898" */
    const char *authority;
    const char *method;
    const raw_message *requests;
    size_t request_count;
    const char *header, *header_value; /* one header to send; or NULL */
    uint64_t timeout_ms;               /* 0: 10 s */
} raw_call;

/* Send all requests, read all responses, and return how the call ended. */
void raw_call_run(const raw_call *call, raw_result *result);

#endif
