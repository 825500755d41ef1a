/* The two structures of the demo server. server.c: start and stop, settings, lists of calls. call.c: a single call. */
#ifndef DEMO_SERVER_INTERNAL_H
#define DEMO_SERVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "demo_server/service.h"

#define HEALTH_SERVICES_MAX 16
#define LOAD_REPORT_BYTES_MAX 512

struct demo_server {
    grpc_server *core;
    grpc_completion_queue *queue;
    uint16_t port;
    unsigned poller_count;
    pthread_t *pollers;
    pthread_t timer_thread;
    pthread_mutex_t mutex;   /* for the members below; taken before a call's mutex */
    pthread_cond_t changed;  /* signals changes of first_timer and of the next four members, and the last call's end */
    unsigned paused_threads; /* serving threads that wait for `shutdown_begun` */
    bool shutdown_begun;     /* no new call can arrive */
    bool shut_down;          /* no connection is left; events of calls may still follow */
    bool stopped;            /* the timer thread must end */
    demo_call *first_timer;  /* by deadline */
    demo_call *watchers;
    struct {
        char service[128];
        demo_server_health health;
    } healths[HEALTH_SERVICES_MAX];
    size_t health_count;
    grpc_status_code failure;
    char failure_message[128];
    uint8_t load_report[LOAD_REPORT_BYTES_MAX];
    size_t load_report_bytes;
    uint8_t streamed_report[LOAD_REPORT_BYTES_MAX];
    size_t streamed_report_bytes;
    bool streams_reports;
    /* Calls in memory, also those that wait for a client. After `shut_down` it falls to 0 for good: only the handling
     * of an event makes a call, and that event's call is counted. */
    atomic_uint_fast64_t calls_alive;
    /* independent of all other members: no mutex needed */
    atomic_uint_fast64_t delay_ms;
    atomic_uint_fast64_t calls;
    atomic_uint_fast64_t calls_in_flight;
    atomic_uint_fast64_t load_streams;
};

typedef enum demo_op_kind { DEMO_OP_OPENED, DEMO_OP_CLOSED, DEMO_OP_READ, DEMO_OP_WRITTEN } demo_op_kind;

/* The tag of a batch. Each batch in flight holds a reference to its call. */
typedef struct demo_op {
    demo_call *call;
    demo_op_kind kind;
} demo_op;

typedef struct demo_reply {
    struct demo_reply *next;
    grpc_byte_buffer *buffer;
} demo_reply;

struct demo_call {
    demo_server *server;
    atomic_uint references;
    demo_op opened, closed, read, written;
    grpc_call *core;
    grpc_call_details details;
    grpc_metadata_array request_headers;
    const demo_method *method;
    int cancelled;              /* written by the core */
    grpc_byte_buffer *received; /* written by the core, then owned by the processing thread */
    char *text;                 /* demo_call_append_text(); owned by the processing thread */

    /* list membership, under the server's mutex */
    demo_call *next, *previous;
    enum { DEMO_LIST_NONE, DEMO_LIST_TIMERS, DEMO_LIST_WATCHERS } list;
    uint64_t deadline_ns;
    char watched[128];
    bool is_closed;

    pthread_mutex_t mutex; /* for the members below */
    bool reading, processing, writing;
    bool read_ended;   /* the client has closed its side */
    bool headers_sent; /* the server's headers */
    bool finished;     /* the method has finished */
    bool status_sent;
    bool dead; /* cancelled or disconnected: nothing more is sent or read */
    demo_reply *first_reply, **end_of_replies;
    grpc_byte_buffer *sending;
    grpc_status_code code;
    grpc_slice message;
    grpc_metadata *headers, *trailers;
    size_t header_count, trailer_count;
};

/* ---- call.c ---- */

/* Request one more call from the core. */
void demo_call_request(demo_server *server);
void demo_call_event(demo_op *op, bool success);
/* Pass the received message to the method. */
void demo_call_process(demo_call *call);
void demo_call_unref(demo_call *call);

/* ---- server.c ---- */

/* Process the call's message after `delay_ms`, unless the call has been closed by then. */
void demo_server_delay(demo_server *server, demo_call *call, uint64_t delay_ms);
/* Remove an ended call from all lists. */
void demo_server_forget(demo_server *server, demo_call *call);
/* Return the status that calls fail with now; GRPC_STATUS_OK: they do not fail. */
grpc_status_code demo_server_failure(demo_server *server, char message[128]);
/* Return the load report as a slice that the caller owns; empty: none. */
grpc_slice demo_server_load_report(demo_server *server);

#endif
