/* The demo server: a gRPC server on the C core that serves grpcdemo/grpcdemo.proto, grpc.health.v1.Health and an
 * echo method, and that injects faults on request. `demo_server` is a program around it; tests and benches run any
 * number of them in their own process.
 *
 *     demo_server_options options = {.port = 0};
 *     char error[DEMO_SERVER_ERROR_BYTES];
 *     demo_server *server = demo_server_start(&options, error);
 *     ... connect to 127.0.0.1:demo_server_port(server) ...
 *     demo_server_set_delay_ms(server, 5);
 *     demo_server_stop(server, 1000);
 *
 * Any thread may call any of the functions. Methods:
 *   /grpcdemo.GrpcDemo/..., /grpcdemo.GrpcGatewayDemo/...   see the proto
 *   /grpc.health.v1.Health/Check, /Watch                    the services set by demo_server_set_health(); "" is SERVING
 *   /grpc.reflection.v1.ServerReflection/ServerReflectionInfo, and v1alpha: the types of grpcdemo
 *   /xds.service.orca.v3.OpenRcaService/StreamCoreMetrics   the report of demo_server_stream_load_report()
 *   /evener.demo.Echo/Unary, /Stream                        answer each message with itself
 * Request headers whose names start with "echo-" are returned as headers and as trailers, together with the headers
 * "served-by" (the server's port) and "host-seen" (the :authority of the call). */
#ifndef DEMO_SERVER_SERVER_H
#define DEMO_SERVER_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#define DEMO_SERVER_ERROR_BYTES 256
#define DEMO_SERVER_NEVER_MS UINT64_MAX

typedef struct demo_server demo_server;

/* All zero is the default. */
typedef struct demo_server_options {
    uint16_t port;                        /* 0: a free one */
    const char *address;                  /* replaces 127.0.0.1:port: "unix:/path", "[::1]:0" */
    unsigned threads;                     /* serving threads; 0: 1 */
    grpc_server_credentials *credentials; /* borrowed; NULL: insecure */
    uint64_t max_connection_age_ms;       /* age at which a connection gets a GOAWAY; 0: never */
    uint64_t max_connection_age_grace_ms; /* 0: unlimited */
    uint32_t max_concurrent_streams;      /* per connection; 0: unlimited */
    uint32_t message_bytes_max;           /* limit of a received message; 0: the core's, 4 MiB */
} demo_server_options;

/* Start a server. Return NULL and set `error` if it cannot listen. */
demo_server *demo_server_start(const demo_server_options *options, char error[DEMO_SERVER_ERROR_BYTES]);

/* Stop and free the server: send GOAWAY, let calls end for `grace_ms` (0: none; DEMO_SERVER_NEVER_MS: unlimited),
 * then cancel them. NULL is allowed. */
void demo_server_stop(demo_server *server, uint64_t grace_ms);

uint16_t demo_server_port(const demo_server *server);

/* Set the delay before each answer; DEMO_SERVER_NEVER_MS: do not answer. For messages received from now on. */
void demo_server_set_delay_ms(demo_server *server, uint64_t delay_ms);

/* Fail calls, except health calls, with this status from now on; GRPC_STATUS_OK: stop failing them. */
void demo_server_set_failure(demo_server *server, grpc_status_code code, const char *message);

/* A17 (client-side health checking): set the health of a service and notify its watchers. A service that was never
 * set is SERVICE_UNKNOWN. */
typedef enum demo_server_health {
    DEMO_SERVER_SERVING = 1,
    DEMO_SERVER_NOT_SERVING = 2,
    DEMO_SERVER_SERVICE_UNKNOWN = 3
} demo_server_health;
void demo_server_set_health(demo_server *server, const char *service, demo_server_health health);

/* Send this load report with each call's trailers, as "endpoint-load-metrics-bin" (A58, weighted_round_robin) and as
 * "x-endpoint-load-metrics-bin". NULL: stop sending it. */
void demo_server_set_load_report(demo_server *server, const void *report, size_t report_bytes);

/* A51 (out-of-band load reports): stream this load report to clients that ask for it, at once and after every change,
 * whatever interval they ask for. NULL: answer UNIMPLEMENTED to those that ask from now on. */
void demo_server_stream_load_report(demo_server *server, const void *report, size_t report_bytes);
/* Return the number of such streams that were asked for since the start, and how many of them have not ended. */
uint64_t demo_server_load_streams(const demo_server *server);
uint64_t demo_server_load_streams_open(demo_server *server);

/* Return the number of calls since the start, without health calls and load reports; and how many of them have not
 * ended. */
uint64_t demo_server_calls(const demo_server *server);
uint64_t demo_server_calls_in_flight(const demo_server *server);

#endif
