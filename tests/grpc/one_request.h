/* One call to one scripted HTTP/2 server, made in each of the ways in which a program can make it, and what is known of
 * it afterwards. */
#ifndef TESTS_GRPC_ONE_REQUEST_H
#define TESTS_GRPC_ONE_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/evener.h>

#include "tests/support/h2_script_server.h"

typedef enum calling_way {
    CALLING_UNARY,       /* evener_unary_call() */
    CALLING_START,       /* evener_call_start() */
    CALLING_STREAM,      /* evener_stream_open() to evener_stream_finish() */
    CALLING_CREATE_CALL, /* evener_channel_create_call() to evener_call_done() */
    CALLING_WAYS
} calling_way;

extern const char *const calling_way_names[CALLING_WAYS];

typedef struct one_request_options {
    const h2_step *steps;  /* what the server answers each request with */
    uint64_t timeout_ms;   /* of the call; 0: the 5 s that keep a broken client from calling for ever */
    bool cancel_at_server; /* the program cancels the call once the server has it; not with CALLING_UNARY */
} one_request_options;

typedef struct one_request_result {
    evener_status status;
    uint64_t requests;      /* at the server */
    char server[64];        /* "ipv4:127.0.0.1:PORT" */
    char peer[64];          /* of evener_call_details; with CALLING_CREATE_CALL "" */
    char stream_peer[64];   /* of evener_stream_peer(); "" with the others */
    uint32_t attempts;      /* of evener_call_details; with CALLING_CREATE_CALL 1 */
    bool not_sent;          /* what evener_call_done() returned */
    uint64_t picks, failed; /* the backend's statistics */
} one_request_result;

/* Abort the test program when anything but the call fails. */
one_request_result make_one_request(calling_way way, const one_request_options *options);

#endif
