/* HTTP/2 transport: what its files share.
 *
 *     engine ─┬─ I/O thread ─┬─ connection ─┬─ call (one stream)
 *             │              │              └─ nghttp2 session, timers, output
 *             └─ seats       └─ epoll, timers, ready queue
 *
 * Ownership. Everything of a connection that is marked "owner's" belongs to one thread at a time, which took the word
 * `owner` from FREE by compare-and-swap: its I/O thread (IO), or a blocking caller inside call_wait (BLOCKING). While
 * the latter waits for the socket (POLLING), another blocking caller may take the word for a moment (GUEST) to send its
 * own call, so that the owner need not wake for that. Other threads put operations into the connection's wait-free
 * queue and then read the word:
 *     FREE             they schedule the connection on its I/O thread
 *     IO, GUEST        nothing: the thread that gives the word back reads the queue afterwards
 *     BLOCKING         nothing: the owner reads the queue before it polls or leaves
 *     POLLING          they wake the owner
 * Both sides write first and read second, with sequentially consistent accesses: at least one of them sees the
 * other.
 *
 * A blocking caller runs nothing of other calls than blocking ones, as what their callbacks wait for may need this very
 * caller: while the connection has other calls (`nonblocking`) it gives way to the I/O thread, and it leaves their
 * operations in the queue. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_INTERNAL_H
#define EVENER_LB_TRANSPORT_HTTP2_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <nghttp2/nghttp2.h>

#include <evener/loop.h>
#include <evener/runtime.h>
#include <evener/transport.h>

#include "lb/base/memory.h"
#include "lb/runtime/timer_heap.h"
#include "lb/transport/http2/headers.h"
#include "lb/transport/http2/link.h"
#include "lb/transport/http2/memory_pool.h"
#include "lb/transport/http2/nghttp2_compat.h"
#include "lb/transport/http2/output.h"
#include "lb/transport/http2/queue.h"
#include "lb/transport/http2/transport.h"

#define EVENER_HTTP2_THREADS_MAX 64
#define EVENER_HTTP2_THREADS_DEFAULT_MAX 4
/* Connections of a channel stay together on an I/O thread up to this number: a callback that begins the next call then
 * wakes no other thread, and a turn serves more calls per system call. Measured with three backends and 64 calls in
 * flight: 3.4 us and 0.3 system calls per call together, 5.0 us and 0.5 on two threads. */
#define EVENER_HTTP2_CONNECTIONS_TOGETHER 8
#define EVENER_HTTP2_READ_BYTES (64 * 1024)
/* A connection that blocking callers use stays out of epoll this long after the last of them left. */
#define EVENER_HTTP2_LINGER_NS (2 * EVENER_NS_PER_MS)
#define EVENER_HTTP2_MESSAGE_BYTES_DEFAULT ((size_t)4 << 20)
#define EVENER_HTTP2_PREFIX_BYTES 5 /* PROTOCOL-HTTP2.md: compressed flag, length */

struct evener_http2_engine;
struct evener_http2_tls;
struct evener_http2_health;
struct evener_http2_proxy;
struct evener_http2_group;                              /* group.c */
typedef struct evener_http2_lookup evener_http2_lookup; /* tunnel.c */
typedef struct evener_http2_transport evener_http2_transport;

/* ---- seats: what a thread needs while it owns a connection ---- */

/* The buffers and the wake-up of an owner. Never freed before the engine, so that a late wake-up finds memory. */
typedef struct evener_http2_seat {
    int event_fd;
    _Atomic uint32_t asleep; /* 1: about to wait or waiting; the thread that exchanges it for 0 writes to event_fd */
    struct evener_http2_seat *next_free;
    evener_http2_output output;
    uint8_t input[EVENER_HTTP2_READ_BYTES];
} evener_http2_seat;

/* ---- operations: requests of other threads to a connection's owner ---- */

enum {
    EVENER_HTTP2_OP_BEGIN = 1,
    EVENER_HTTP2_OP_WRITE = 2,
    EVENER_HTTP2_OP_HALF_CLOSE = 4,
    EVENER_HTTP2_OP_READ = 8,
    EVENER_HTTP2_OP_CANCEL = 16,
    EVENER_HTTP2_OP_CONNECT = 32, /* of the connection */
    EVENER_HTTP2_OP_DISCONNECT = 64,
    EVENER_HTTP2_OP_DISPATCH = 128, /* of the connection: its turn looks for room for calls that wait (group.c) */
    EVENER_HTTP2_OP_LIVE = 1 << 30  /* not an operation: operations are taken. Cleared when a call ends */
};

/* Queued once for any number of bits: the thread that sets the first bit queues it, and the one that takes it out takes
 * all bits. */
typedef struct evener_http2_op {
    evener_http2_queue_node node;
    _Atomic uint32_t bits; /* release: what the operation needs is written before */
    bool is_call;
} evener_http2_op;

/* ---- calls ---- */

#define EVENER_HTTP2_ENCODING_UNKNOWN 0xff
#define EVENER_HTTP2_END_TEXT_BYTES 256

typedef enum evener_http2_call_phase {
    EVENER_HTTP2_CALL_NONE = 0,    /* no call under way, or it has not reached the owner */
    EVENER_HTTP2_CALL_WAITING = 1, /* for room below MAX_CONCURRENT_STREAMS */
    EVENER_HTTP2_CALL_OPEN = 2,    /* submitted to nghttp2 */
    EVENER_HTTP2_CALL_ENDING = 3,  /* `ended` is delivered after the output under way was written */
    EVENER_HTTP2_CALL_QUEUED = 4   /* `ended` is delivered when its last operation comes out of the queue */
} evener_http2_call_phase;

typedef struct evener_http2_call {
    evener_transport_call base;
    evener_http2_op op;

    /* set by call_begin, then constant */
    const char *method;
    const char *authority;
    const evener_metadata *metadata;
    size_t metadata_count;
    uint64_t deadline_ns;
    size_t receive_bytes_max;
    size_t send_bytes_max;
    uint32_t previous_attempts;
    uint8_t compression;
    bool unary;
    bool blocking;
    bool wants_metadata;
    bool is_background;          /* no caller waits for it: see `foreground` */
    evener_connection *picked;   /* which call_begin was called for */
    bool is_assigned;            /* counted by its connection's group, with a reference. Changed by the owner */
    uint32_t *_Atomic wait_word; /* of the thread in call_wait; may be looked at until `ended` */

    /* of call_write, call_cancel; read by the owner after the operation's bit */
    const evener_bytes *next_message;
    bool next_is_last;
    evener_status_code cancel_code;
    const char *cancel_message;

    /* the owner's */
    evener_http2_link link; /* in `waiting`, `open` or `ending` of the connection */
    evener_http2_call_phase phase;
    int32_t stream_id;
    char timeout_text[EVENER_HTTP2_TIMEOUT_BYTES];
    char attempts_text[12];
    uint64_t headers_at; /* where its HEADERS frame starts in the connection's output; UINT64_MAX: not yet made */
    evener_timer timer;

    /* sending */
    const evener_bytes *sending; /* NULL: none */
    evener_bytes compressed;     /* what `sending` points to if compressed */
    size_t sent_bytes;           /* of prefix and message */
    bool sending_is_compressed;
    bool send_closed; /* END_STREAM goes with, or follows `sending` */
    bool send_deferred;
    bool end_stream_sent;
    bool written_due; /* in `written` of the connection */
    evener_http2_link written_link;
    bool is_narrow; /* in `narrow` of the connection: its window is too small for a frame worth sending */
    evener_http2_link narrow_link;

    /* receiving */
    bool reading;      /* a message is wanted */
    bool answered;     /* final headers arrived */
    bool headers_came; /* and they were gRPC's, with more to follow */
    bool remote_ended; /* END_STREAM */
    bool reset_by_peer;
    bool local_failure; /* `end_*` hold why the stream was reset here */
    bool content_is_grpc;
    bool has_grpc_status;
    uint8_t encoding;      /* evener_compression of compressed messages; EVENER_HTTP2_ENCODING_UNKNOWN */
    uint16_t http_status;  /* of the current header block */
    uint16_t final_status; /* of the final headers */
    uint32_t grpc_status;
    uint32_t header_list_bytes;
    uint8_t prefix[EVENER_HTTP2_PREFIX_BYTES];
    uint8_t prefix_bytes;
    bool has_message; /* unary: `message` is complete */
    size_t message_bytes;
    uint8_t *message_at; /* where `message` lies; writable */
    evener_bytes message;
    uint8_t *held; /* received and not asked for */
    size_t held_bytes, held_capacity, held_from;
    evener_http2_metadata_in received; /* of the current header block */

    /* the end, between the decision and its event */
    evener_status_code end_code;
    bool timed_out; /* by its own deadline */
    evener_fate end_fate;
    const char *end_message;
    size_t end_message_bytes;
    char *grpc_message; /* decoded, owned */
    size_t grpc_message_bytes;
    uint8_t *load_report; /* owned */
    size_t load_report_bytes;
    char end_text[EVENER_HTTP2_END_TEXT_BYTES]; /* a message that is made here */
} evener_http2_call;

/* ---- connections ---- */

typedef enum evener_http2_phase {
    EVENER_HTTP2_PHASE_NEW = 0,
    EVENER_HTTP2_PHASE_CONNECTING = 1, /* TCP */
    EVENER_HTTP2_PHASE_PROXY = 2,      /* waits for the answer to CONNECT */
    EVENER_HTTP2_PHASE_TLS = 3,
    EVENER_HTTP2_PHASE_SETTINGS = 4, /* waits for the server's SETTINGS */
    EVENER_HTTP2_PHASE_OPEN = 5,     /* READY was reported */
    EVENER_HTTP2_PHASE_CLOSED = 6    /* failed, dropped or given up; the socket goes at the end of the turn */
} evener_http2_phase;

typedef enum evener_http2_owner {
    EVENER_HTTP2_OWNER_FREE = 0,
    EVENER_HTTP2_OWNER_IO = 1,
    EVENER_HTTP2_OWNER_BLOCKING = 2,
    EVENER_HTTP2_OWNER_POLLING = 3,
    EVENER_HTTP2_OWNER_GUEST = 4,
    EVENER_HTTP2_OWNER_GUEST_AWAITED = 5 /* the owner sleeps on the word until the guest is gone */
} evener_http2_owner;

/* Events on their way to the control thread, as bits. */
enum {
    EVENER_HTTP2_EVENT_READY = 1,
    EVENER_HTTP2_EVENT_FAILED = 2,
    EVENER_HTTP2_EVENT_DROPPED = 4,
    EVENER_HTTP2_EVENT_MORE_WANTED = 8
};

typedef struct evener_http2_io_thread evener_http2_io_thread;

struct evener_connection {
    /* any thread */
    evener_http2_queue operations;
    _Alignas(64) _Atomic uint32_t owner;        /* evener_http2_owner */
    _Atomic uint32_t closed_to_calls;           /* no further call begins: GOAWAY, given up, or gone */
    _Atomic uint32_t nonblocking;               /* calls under way whose events only the I/O thread may deliver */
    _Atomic uint32_t new_sleeper;               /* a caller fell asleep since an owner last looked for one */
    _Atomic uint32_t is_crowded;                /* the I/O thread serves the blocking calls too. Written by the owner */
    _Atomic uint32_t lingers;                   /* linger_timer runs; otherwise a caller that leaves schedules a turn */
    _Atomic uint32_t scheduled;                 /* in the ready queue of the I/O thread, with a reference */
    _Atomic(evener_http2_seat *) seat;          /* of blocking owners; given back when they have stayed away */
    _Atomic uint32_t blocking_turns;            /* how often a blocking caller took the word */
    _Atomic(struct evener_http2_group *) group; /* with a reference; or NULL */
    _Atomic uint32_t assigned;                  /* calls that the group has counted */
    _Atomic uint32_t waits;                     /* calls wait for room; written by the owner */
    _Atomic uint32_t streams_limit;             /* `streams_max` for other threads */
    evener_http2_queue_node ready_node;
    _Alignas(64) _Atomic uint64_t references;

    /* constant */
    evener_http2_transport *transport;
    struct evener_http2_engine *engine;
    evener_http2_io_thread *thread;
    evener_loop *loop;
    char *address; /* canonical text */
    char *authority;
    size_t authority_bytes;
    evener_http2_op op; /* CONNECT, DISCONNECT, HEALTH */

    /* the owner's */
    evener_http2_phase phase;
    int fd;
    struct evener_http2_tls *tls;
    nghttp2_session *session;
    evener_http2_memory_pool pool;
    evener_timer_heap timers;
    uint64_t polled_until_ns; /* when the owner wakes by itself; POLLING */
    evener_http2_link waiting, open, ending, written, narrow;
    uint64_t ended_count;
    size_t foreground;           /* calls under way that a caller waits for */
    size_t foreground_max;       /* since the crowd was judged last */
    uint64_t crowd_judged_ended; /* `ended_count` then */
    uint64_t bulk_ended;         /* since then: calls with a large message */
    bool is_bulky;               /* most were, in the period before */
    size_t streams;              /* known to nghttp2 */
    uint32_t streams_max;
    bool goaway_received;
    int32_t goaway_last_id;
    bool draining; /* closes when the last call has ended */
    bool in_send;  /* inside nghttp2_session_mem_send: events wait */
    bool reported_dropped;
    bool is_stalled;             /* the session failed: frames out, none in */
    bool wants_tunnel;           /* the socket leads to a proxy */
    evener_http2_output *output; /* of the flush under way */
    uint64_t output_total;       /* bytes of frames made */
    uint64_t written_total;      /* bytes of them handed to the socket */
    uint8_t *unsent;             /* what the socket did not take */
    size_t unsent_bytes, unsent_from;
    /* Why it is closed, or takes no call, beginning with "ADDRESS: "; written before the event bit. NULL: open */
    evener_status *failure;
    evener_status *drain_failure; /* what `failure` was before it was closed; or NULL */
    evener_http2_lookup *lookup;
    uint8_t *early; /* PROXY: first bytes of the answer */
    size_t early_bytes;

    /* flow_control.c */
    uint64_t received_bytes; /* DATA since the last estimate */
    uint32_t window_bytes;   /* of a stream */
    evener_timer narrow_timer;
    bool sends_narrow; /* narrow windows have waited long enough */
    bool bdp_ping_out;

    /* keepalive.c */
    evener_timer keepalive;
    uint64_t last_received_ns;
    uint64_t ping_sent_ns; /* of the PING that is out */
    bool keepalive_ping_out;

    /* the I/O thread's */
    evener_http2_link thread_link;
    evener_http2_link dirty_link;
    bool is_attached, is_dirty;
    bool is_watched;  /* the socket is in epoll */
    bool is_disarmed; /* out of epoll: blocking owners poll the socket */
    uint32_t armed;   /* epoll events asked for */
    uint32_t blocking_turns_seen;
    evener_timer wake_timer; /* not later than the first of `timers` when a turn of the I/O thread ends */
    evener_timer linger_timer;

    /* control thread */
    bool given_up;
    struct evener_http2_health *health;
    void (*state_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void (*more_wanted)(void *arg);
    void *state_arg; /* of both; constant, as they are */
    _Atomic uint32_t events;
    evener_task events_task;
    evener_task free_task;
};

/* ---- the engine: what the transports of one runtime share ---- */

struct evener_http2_io_thread {
    struct evener_http2_engine *engine;
    pthread_t pthread;
    bool is_running;
    int epoll_fd;            /* -1 until the first start */
    evener_http2_seat *seat; /* NULL until then */
    _Atomic uint32_t stopping;
    evener_http2_queue ready;

    /* the thread's */
    evener_timer_heap timers;
    evener_http2_link attached, dirty;
    uint64_t now_ns;
    uint64_t ended_in_turn;   /* calls, by what was read */
    uint32_t yields_left_out; /* turns until a yield is tried again */
    uint32_t yield_pause;     /* the turns that the next slow yield leaves out */
};

typedef struct evener_http2_engine {
    evener_runtime *runtime;
    evener_loop *loop;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    pthread_mutex_t seats_lock;
    evener_http2_seat *free_seats;
    uint32_t thread_count;
    uint32_t next_thread;
    _Atomic size_t connections; /* not freed yet */
    bool runtime_ended;         /* control thread */
    evener_http2_io_thread threads[];
} evener_http2_engine;

/* Return the runtime's engine, created on first use with that number of threads (0: the default); NULL and a filled
 * status on failure. Control thread. */
evener_http2_engine *evener_http2_engine_get(evener_runtime *runtime, uint32_t threads, evener_status *status);

/* Return the index of the I/O thread that a transport's first connection goes to; each transport gets the next one.
 * Control thread. */
uint32_t evener_http2_engine_first_thread(evener_http2_engine *engine);

/* Return the I/O thread for a further connection of a transport that has `connections[i]` on thread i, in groups of
 * EVENER_HTTP2_CONNECTIONS_TOGETHER beginning at thread `first`. Control thread. */
evener_http2_io_thread *evener_http2_engine_choose_thread(evener_http2_engine *engine, uint32_t first,
                                                          const uint32_t *connections);

/* Note that a connection was freed. Control thread. */
void evener_http2_engine_connection_ended(evener_http2_engine *engine);

/* Return a new seat; NULL if out of memory or descriptors. Any thread. */
evener_http2_seat *evener_http2_seat_create(void);

/* Make a seat for a blocking owner in advance, if there is none; do nothing without memory or descriptors. Any
 * thread. */
void evener_http2_seat_spare(evener_http2_engine *engine);

/* Return a seat for a blocking owner; NULL if out of memory or descriptors. Any thread; takes a lock, but is rarely
 * called: see evener_connection.seat. */
evener_http2_seat *evener_http2_seat_take(evener_http2_engine *engine);

/* Give back the seat of the connection's blocking owners, if they have one. Owner, or the last one to know it. */
void evener_http2_seat_release(evener_connection *connection);

/* Wake the thread on the seat if it sleeps. Any thread. */
void evener_http2_seat_wake(evener_http2_seat *seat);

/* Forget a wake-up, after it and before the next wait. */
void evener_http2_seat_woken(evener_http2_seat *seat);

/* ---- io_thread.c ---- */

/* Set up a thread in memory of zeros; it starts with its first connection. */
void evener_http2_io_thread_init(evener_http2_io_thread *thread, evener_http2_engine *engine);

/* Connect a new connection of this thread. If the thread does not run yet, the control thread sends the socket's
 * connection request first and makes and starts the thread afterwards, so that the server answers meanwhile;
 * otherwise the thread does both. On failure the connection holds no socket, reports nothing, and has its creator's
 * reference only. Errors: RESOURCE_EXHAUSTED, INTERNAL. Control thread. */
evener_status_code evener_http2_io_thread_connect(evener_http2_io_thread *thread, evener_connection *connection,
                                                  evener_status *status);

/* End the thread: its connections break. Wait for it. Control thread. */
void evener_http2_io_thread_stop(evener_http2_io_thread *thread);

/* Handle narrow_timer: see flow_control.h. */
void evener_http2_narrow_rings(void *arg);

/* Handle timers of the I/O thread: see wake_timer and linger_timer. */
void evener_http2_wake_rings(void *arg);
void evener_http2_linger_rings(void *arg);

/* Give the connection a turn on its I/O thread. Any thread that holds a reference. */
void evener_http2_schedule(evener_connection *connection);

/* ---- connection.c: life, ownership, turns ---- */

static inline uint64_t evener_http2_now_ns(evener_connection *connection)
{
    return evener_loop_now_ns(connection->loop);
}

/* Set up a zeroed connection, with one reference; its names and its tasks are the caller's to set. */
void evener_http2_connection_init(evener_connection *connection, evener_http2_transport *transport,
                                  struct evener_http2_engine *engine);

void evener_http2_connection_ref(evener_connection *connection);

/* Take the word from FREE. Acquire: what the last owner did is seen. */
static inline bool evener_http2_take(evener_connection *connection, evener_http2_owner as)
{
    uint32_t expected = EVENER_HTTP2_OWNER_FREE;
    return atomic_load_explicit(&connection->owner, memory_order_relaxed) == EVENER_HTTP2_OWNER_FREE &&
           atomic_compare_exchange_strong(&connection->owner, &expected, (uint32_t)as);
}

/* Return whether operations wait, read after the caller's last sequentially consistent store. */
bool evener_http2_has_operations(evener_connection *connection);

/* Queue operations `bits` of a connection, or of a call that begins on it, and ensure that they are run, now or
 * (without `wake`) when a thread next owns the connection; do nothing if the operation is not live. Any thread that has
 * a reference, its own or the call's. */
void evener_http2_submit(evener_connection *connection, evener_http2_op *op, uint32_t bits, bool wake);

/* Likewise of a call, on the connection that it is at now; do nothing after its end. The caller needs a reference to
 * `picked` only. Any thread. */
void evener_http2_call_submit(evener_http2_call *call, uint32_t bits);

/* Let a call that waits begin again on another connection, which its new reference keeps. Owner of the former one. */
void evener_http2_call_begin_at(evener_http2_call *call, evener_connection *connection);

/* Ensure that queued operations are run. Any thread. */
void evener_http2_wake_owner(evener_connection *connection);

/* Do the owner's turn after reading: operations, timers, output. Delivers events. */
void evener_http2_connection_work(evener_connection *connection, evener_http2_seat *seat, uint64_t now_ns);

/* Run only the operations, for a connection without a socket. */
void evener_http2_connection_operate(evener_connection *connection);

/* Free everything except the struct itself. I/O thread that owns it. */
void evener_http2_connection_close(evener_connection *connection);

/* Read what the socket has and feed it to the session. Deliver events. */
void evener_http2_connection_receive(evener_connection *connection, evener_http2_seat *seat);

/* Feed received bytes to the session; what fuzzing drives. Owner. */
void evener_http2_connection_feed(evener_connection *connection, const uint8_t *data, size_t bytes);

/* End the connection and its calls, once: UNAVAILABLE for the calls. Those whose answer is complete remain, until they
 * have been read, cancelled, or their deadline passes. The address is put before the message. Owner. */
void evener_http2_connection_break(evener_connection *connection, evener_status_code code, const char *format, ...)
    EVENER_PRINTF(3, 4);

/* Free the failures, with the connection. */
void evener_http2_connection_free_failure(evener_connection *connection);

/* Let no further call begin; the connection ends with its last call. `report`: IDLE is reported. Owner. */
void evener_http2_connection_drain(evener_connection *connection, bool report);

/* Hand an event to the control thread. Owner. */
void evener_http2_connection_report(evener_connection *connection, uint32_t event);

/* Return when the first timer rings, UINT64_MAX: none. Owner. */
static inline uint64_t evener_http2_next_timer_ns(const evener_timer_heap *heap)
{
    return heap->first != NULL ? heap->first->deadline_ns : UINT64_MAX;
}

/* Run the timers that are due. */
void evener_http2_run_timers(evener_timer_heap *heap, uint64_t now_ns);

static inline bool evener_http2_has_calls(const evener_connection *connection)
{
    return !evener_http2_link_is_empty(&connection->open) || !evener_http2_link_is_empty(&connection->waiting);
}

/* ---- connect.c: from the socket to the session ---- */

/* Open the socket; on failure the connection is broken. I/O thread. */
void evener_http2_connect_start(evener_connection *connection);

/* Open a socket to the address (canonical text), which may be a proxy's. On failure the connection is broken. I/O
 * thread. */
void evener_http2_connect_socket(evener_connection *connection, const char *address);

/* Continue: the socket is writable or readable, before the session exists. I/O thread. */
void evener_http2_connect_continue(evener_connection *connection);

/* Judge the first bytes of a peer that may not speak HTTP/2. True: it does not, and the connection is broken. Owner. */
bool evener_http2_connect_judge(evener_connection *connection, const uint8_t *data, size_t bytes);

/* ---- wire.c: bytes in and out, plain or TLS ---- */

/* Read; return the bytes read, 0: none now; -1: end or error, `what` says which. */
ssize_t evener_http2_wire_read(evener_connection *connection, void *to, size_t bytes, char what[128]);

/* Write; return the bytes taken, 0: none now; -1: error. */
ssize_t evener_http2_wire_write(evener_connection *connection, const struct iovec *pieces, unsigned count,
                                char what[128]);

/* ---- session.c: what nghttp2 calls ---- */

nghttp2_session_callbacks *evener_http2_session_callbacks(void); /* NULL: out of memory */
nghttp2_option *evener_http2_session_option(void);

/* Make the session and its first frames. False: out of memory. Owner. */
bool evener_http2_session_start(evener_connection *connection);

/* ---- send.c ---- */

evener_nghttp2_length evener_http2_on_read(nghttp2_session *session, int32_t stream_id, uint8_t *buffer, size_t length,
                                           uint32_t *flags, nghttp2_data_source *source, void *user_data);
int evener_http2_on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *frame_header,
                              size_t length, nghttp2_data_source *source, void *user_data);

/* Make frames of what is to be sent and write them. Deliver events. */
void evener_http2_flush(evener_connection *connection, evener_http2_seat *seat);

/* ---- call.c ---- */

/* Run the operations of a call. Owner. */
void evener_http2_call_operate(evener_connection *connection, evener_http2_call *call, uint32_t bits);

/* Submit calls that wait while there is room. False: out of room or calls. Owner. */
bool evener_http2_call_submit_next(evener_connection *connection);

/* End a call: resets its stream if it is open. `message` lives as long as the call. Owner. */
void evener_http2_call_end(evener_connection *connection, evener_http2_call *call, evener_status_code code,
                           evener_fate fate, const char *message, size_t message_bytes);

/* End a call with a formatted message, which is kept in the call. */
void evener_http2_call_fail(evener_connection *connection, evener_http2_call *call, evener_status_code code,
                            evener_fate fate, const char *format, ...) EVENER_PRINTF(5, 6);

/* End a call whose deadline has passed; its stream is closed, or reset by the caller. Owner. */
void evener_http2_call_time_out(evener_connection *connection, evener_http2_call *call, evener_fate fate);

/* Return the fate of a call whose stream is ended by this side now. */
evener_fate evener_http2_call_fate(const evener_connection *connection, const evener_http2_call *call);

/* Send RST_STREAM if the call's stream is open. Owner. */
void evener_http2_call_reset(evener_connection *connection, evener_http2_call *call, uint32_t error_code);

/* Let a call whose answer is complete, and waits to be read, go on without its stream. Owner. */
void evener_http2_call_leave_stream(evener_connection *connection, evener_http2_call *call);

/* Let go of the message that a stream is sending, if any, as of one that was written: the server reads no more of it.
 * Owner. */
void evener_http2_call_drop_message(evener_connection *connection, evener_http2_call *call);

/* Deliver the ends that waited for the output. Owner. */
void evener_http2_call_deliver_ended(evener_connection *connection);

/* ---- receive.c: the answer of a call ---- */

/* Take a header of the current block; return what on_header returns. */
int evener_http2_receive_header(evener_connection *connection, evener_http2_call *call, const uint8_t *name,
                                size_t name_bytes, const uint8_t *value, size_t value_bytes);

/* Handle a complete block; `end_stream`: the answer is complete too. May end the call. */
void evener_http2_receive_headers_end(evener_connection *connection, evener_http2_call *call, bool end_stream);

/* Take DATA. May end the call. */
void evener_http2_receive_data(evener_connection *connection, evener_http2_call *call, const uint8_t *data,
                               size_t bytes);

/* Handle END_STREAM. May end the call. */
void evener_http2_receive_end(evener_connection *connection, evener_http2_call *call);

/* Deliver a message that was asked for, from the held bytes. May end the call. */
void evener_http2_receive_more(evener_connection *connection, evener_http2_call *call);

/* ---- wait.c: blocking owners ---- */

/* Hand the connection, which the calling thread owns, to a blocking caller that sleeps. False: it is still the calling
 * thread's; *is_awaited: a caller is awake in call_wait and will look at the owner. */
bool evener_http2_hand_over(evener_connection *connection, bool *is_awaited);

void evener_http2_call_wait(evener_transport_call *base, uint32_t *word, uint32_t value, uint64_t until_ns);

/* Note that a call began, for `is_crowded`. Owner. */
void evener_http2_crowd_grows(evener_connection *connection);

/* Count the end of a call whose messages had at most that many bytes each, for the same. Owner. */
void evener_http2_crowd_shrinks(evener_connection *connection, size_t message_bytes);

/* Decide whether the connection is crowded, after a number of calls. Owner. */
void evener_http2_crowd_judge(evener_connection *connection);

/* ---- transport.c ---- */

struct evener_http2_transport {
    evener_transport base;
    evener_runtime *runtime;              /* its channel's: not counted */
    struct evener_http2_tls_context *tls; /* NULL: plain text */
    struct evener_http2_proxy *proxy;     /* NULL: none */
    char *user_agent;
    size_t user_agent_bytes;
    uint64_t keepalive_timeout_ns;
    _Atomic uint64_t keepalive_time_ns; /* UINT64_MAX: never. Doubled by A8 */
    uint64_t keepalive_configured_ns;   /* what it began with */
    bool keepalive_permit_without_calls;
    uint32_t header_list_bytes_max;
    uint32_t window_bytes;
    uint32_t io_threads;
    _Atomic uint32_t references; /* itself and its connections */

    /* control thread: how its connections are spread over the engine's threads */
    bool has_first_thread;
    uint32_t first_thread;
    uint32_t connections[EVENER_HTTP2_THREADS_MAX];
};

void evener_http2_transport_unref(evener_http2_transport *transport);

#endif
