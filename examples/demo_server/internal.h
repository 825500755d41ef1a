/* The two structures of the demo's server: server.c has the server's life, knobs and lists, call.c one call's life. */
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
    pthread_mutex_t mutex;  /* for what follows; taken before a call's mutex */
    pthread_cond_t changed; /* the first timer or one of the next four */
    unsigned sitting_out;   /* serving threads that wait for `shutdown_begun` */
    bool shutdown_begun;    /* no call can come any more */
    bool shut_down;         /* no call is left */
    bool stopped;           /* the timer thread is to end */
    demo_call *first_timer; /* by deadline */
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
    /* read and written by themselves: nothing else depends on them */
    atomic_uint_fast64_t delay_ms;
    atomic_uint_fast64_t calls;
    atomic_uint_fast64_t calls_in_flight;
};

typedef enum demo_op_kind { DEMO_OP_OPENED, DEMO_OP_CLOSED, DEMO_OP_READ, DEMO_OP_WRITTEN } demo_op_kind;

/* The tag of a batch. Each batch under way holds a reference to its call. */
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
    grpc_byte_buffer *received; /* written by the core, then the one thread that processes it */
    char *text;                 /* demo_call_append_text(); the processing thread's */

    /* in the server's lists; under the server's mutex */
    demo_call *next, *previous;
    enum { DEMO_LIST_NONE, DEMO_LIST_TIMERS, DEMO_LIST_WATCHERS } list;
    uint64_t deadline_ns;
    char watched[128];
    bool is_closed;

    pthread_mutex_t mutex; /* for what follows */
    bool reading, processing, writing;
    bool read_ended;   /* the client sends no more */
    bool headers_sent; /* by us */
    bool finished;     /* by the method */
    bool status_sent;
    bool dead; /* cancelled, or the connection is gone: nothing more is sent or read */
    demo_reply *first_reply, **end_of_replies;
    grpc_byte_buffer *sending;
    grpc_status_code code;
    grpc_slice message;
    grpc_metadata *headers, *trailers;
    size_t header_count, trailer_count;
};

/* ---- call.c ---- */

/* Waits for one more call. */
void demo_call_request(demo_server *server);
void demo_call_event(demo_op *op, bool success);
/* Hands the message that has been read to the method. */
void demo_call_process(demo_call *call);
void demo_call_unref(demo_call *call);

/* ---- server.c ---- */

/* Processes the call's message after `delay_ms`; a call that has been closed, never. */
void demo_server_delay(demo_server *server, demo_call *call, uint64_t delay_ms);
/* Takes a call that has ended out of every list. */
void demo_server_forget(demo_server *server, demo_call *call);
/* What calls fail with now; GRPC_STATUS_OK: they do not. */
grpc_status_code demo_server_failure(demo_server *server, char message[128]);
/* The load report as a slice of its own; an empty one: none. */
grpc_slice demo_server_load_report(demo_server *server);

#endif
