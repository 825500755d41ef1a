/* The clients that are compared: evener over each of its transports, and the C core with its own policies. The bench
 * drives all of them through this interface. */
#ifndef BENCH_RPC_CLIENT_H
#define BENCH_RPC_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_METHOD "/evener.demo.Echo/Unary"

typedef struct bench_client bench_client;
typedef void (*bench_done)(void *arg, bool ok);

typedef struct bench_client_options {
    const char *servers; /* "127.0.0.1:P1,127.0.0.1:P2" */
    const char *policy;
    const char *transport;         /* of evener: "grpc" or "http2"; NULL: the default */
    const char *root_certificates; /* PEM; NULL: plain text */
    unsigned threads;              /* threads for asynchronous calls; 0: no such calls are made */
    const void *payload;           /* borrowed until close */
    size_t payload_bytes;
    uint64_t timeout_ms;        /* per call; 0: none */
    const char *service_config; /* of evener; names no policy. NULL: none */
} bench_client_options;

struct bench_client {
    /* Make a blocking call. Any thread. */
    bool (*call)(bench_client *client);
    /* Start an asynchronous call. `done` runs once, on one of `threads`, and may start the next call. */
    void (*start)(bench_client *client, bench_done done, void *arg);
    /* Return how many calls were sent to this server ("127.0.0.1:P1"). NULL: the client does not know. Any thread. */
    uint64_t (*calls_to)(bench_client *client, const char *server);
    /* Close the client. No call may be in flight. */
    void (*close)(bench_client *client);
};

/* The server certificate's name; the servers are reached by address. */
#define BENCH_SERVER_NAME "localhost"

/* Open a client and wait until it is connected to at least one server. NULL: the reason is on stderr. */
bench_client *bench_client_open_evener(const bench_client_options *options);
bench_client *bench_client_open_core(const bench_client_options *options);

#endif
