/* The demo's server: a gRPC server on the C core that serves grpcdemo/grpcdemo.proto, grpc.health.v1.Health and an echo,
 * and that misbehaves on request. `demo_server` is a program around it; tests and benches run any number of them inside
 * their own process.
 *
 *     demo_server_options options = {.port = 0};
 *     char error[DEMO_SERVER_ERROR_BYTES];
 *     demo_server *server = demo_server_start(&options, error);
 *     ... connect to 127.0.0.1:demo_server_port(server) ...
 *     demo_server_set_delay_ms(server, 5);
 *     demo_server_stop(server, 1000);
 *
 * Methods (all functions may be called from any thread):
 *   /grpcdemo.GrpcDemo/..., /grpcdemo.GrpcGatewayDemo/...   see the proto
 *   /grpc.health.v1.Health/Check, /Watch                    the services set by demo_server_set_health(); "" is SERVING
 *   /evener.demo.Echo/Unary, /Stream                        answer each message with itself
 * Request headers whose names start with "echo-" come back as headers and as trailers, and with them the headers
 * "served-by", the server's port, and "host-seen", the :authority that the server was called by. */
#ifndef DEMO_SERVER_SERVER_H
#define DEMO_SERVER_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#define DEMO_SERVER_ERROR_BYTES 256
#define DEMO_SERVER_NEVER_MS UINT64_MAX

typedef struct demo_server demo_server;

/* Everything zero is the default. */
typedef struct demo_server_options {
    uint16_t port;                        /* 0: a free one */
    const char *address;                  /* in the place of 127.0.0.1:port: "unix:/path", "[::1]:0" */
    unsigned threads;                     /* that serve; 0: 1 */
    grpc_server_credentials *credentials; /* borrowed; NULL: insecure */
    uint64_t max_connection_age_ms;       /* a GOAWAY after so long; 0: never */
    uint64_t max_connection_age_grace_ms; /* 0: without limit */
    uint32_t max_concurrent_streams;      /* a connection; 0: without limit */
} demo_server_options;

/* Starts a server. NULL when it cannot listen: then `error` says why. */
demo_server *demo_server_start(const demo_server_options *options, char error[DEMO_SERVER_ERROR_BYTES]);

/* Ends it and frees it. Gracefully: says GOAWAY, lets calls end for `grace_ms` (DEMO_SERVER_NEVER_MS: without limit),
 * then cancels them. With 0 at once. NULL is allowed. */
void demo_server_stop(demo_server *server, uint64_t grace_ms);

uint16_t demo_server_port(const demo_server *server);

/* How long each message waits before it is answered; DEMO_SERVER_NEVER_MS: it never is. For messages from now on. */
void demo_server_set_delay_ms(demo_server *server, uint64_t delay_ms);

/* Answers calls with this status from now on, health calls excepted; GRPC_STATUS_OK: not any more. */
void demo_server_set_failure(demo_server *server, grpc_status_code code, const char *message);

/* A17: the health of a service; who watches it is told. A service that was never set is SERVICE_UNKNOWN. */
typedef enum demo_server_health {
    DEMO_SERVER_SERVING = 1,
    DEMO_SERVER_NOT_SERVING = 2,
    DEMO_SERVER_SERVICE_UNKNOWN = 3
} demo_server_health;
void demo_server_set_health(demo_server *server, const char *service, demo_server_health health);

/* Sends this under "endpoint-load-metrics-bin" (A58), and under "x-endpoint-load-metrics-bin", with each call's trailers;
 * NULL: not any more. */
void demo_server_set_load_report(demo_server *server, const void *report, size_t report_bytes);

/* Calls that have reached the server since its start, health calls excepted; and those of them that have not ended. */
uint64_t demo_server_calls(const demo_server *server);
uint64_t demo_server_calls_in_flight(const demo_server *server);

#endif
