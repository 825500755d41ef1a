/* Unary calls over a connection of the HTTP/2 transport without sockets or threads, against recorded bytes: for
 * counting instructions under callgrind, which are the same in every run.
 *
 *     count_instructions CALLS [IN_FLIGHT]
 *
 * Fails if a call fails. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http2/bare_connection.h"

#define IN_FLIGHT_MAX 64
#define DATA 0
#define HEADERS 1
#define END_STREAM 1
#define END_HEADERS 4

static unsigned long failed, answered;

static void on_ended(evener_transport_call *call, const evener_call_end *end)
{
    (void)call;
    answered++;
    failed += end->code != EVENER_STATUS_OK || end->response == NULL || end->response->length != 10;
}

static const evener_call_events events = {.size = sizeof events, .ended = on_ended};
static const evener_bytes request = {.data = (const uint8_t *)"0123456789", .length = 10};

/* What a server of the gRPC core sends, once its header table is warm: names and values by index. */
static void put_answer(uint8_t **to, uint32_t stream, bool is_first)
{
    /* :status 200 (static 8); content-type (static 31), then grpc-status: literals that enter the table, or its
     * indexes */
    static const uint8_t first_headers[] = "\x88\x5f\x10"
                                           "application/grpc";
    static const uint8_t first_trailers[] = "\x40\x0b"
                                            "grpc-status"
                                            "\x01"
                                            "0";
    static const uint8_t headers[] = {0x88, 0xbf}, trailers[] = {0xbe};
    static const uint8_t message[] = "\0\0\0\0\x0a"
                                     "0123456789";
    bare_put_frame(to, HEADERS, END_HEADERS, stream, is_first ? first_headers : headers,
                   is_first ? sizeof first_headers - 1 : sizeof headers);
    bare_put_frame(to, DATA, 0, stream, message, sizeof message - 1);
    bare_put_frame(to, HEADERS, END_HEADERS | END_STREAM, stream, is_first ? first_trailers : trailers,
                   is_first ? sizeof first_trailers - 1 : sizeof trailers);
}

int main(int argc, char **argv)
{
    static bare_connection bare;
    static evener_http2_call calls[IN_FLIGHT_MAX];
    static uint8_t bytes[IN_FLIGHT_MAX * 128];
    const unsigned long wanted = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    const unsigned in_flight = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 16;
    if (in_flight == 0 || in_flight > IN_FLIGHT_MAX) {
        fprintf(stderr, "count_instructions: 1 to %d calls in flight\n", IN_FLIGHT_MAX);
        return 2;
    }
    bare_connection_open(&bare, -1);
    for (uint32_t stream = 1; answered < wanted && failed == 0;) {
        uint8_t *to = bytes;
        for (unsigned i = 0; i < in_flight; i++) {
            bare_connection_begin(&bare, &calls[i], &events, &request);
            put_answer(&to, stream, stream == 1);
            stream += 2;
        }
        bare_connection_work(&bare);
        evener_http2_connection_feed(bare.connection, bytes, (size_t)(to - bytes));
    }
    bare_connection_close(&bare);
    if (failed > 0 || answered < wanted) {
        fprintf(stderr, "count_instructions: %lu of %lu calls failed\n", failed, answered);
        return 1;
    }
    return 0;
}
