/* Fake transport: scripted connections, for tests, benches and simulation. Everything happens on the loop's control
 * thread, and never inside connect(). */
#ifndef EVENER_TESTS_SUPPORT_FAKE_TRANSPORT_H
#define EVENER_TESTS_SUPPORT_FAKE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/loop.h>
#include <evener/transport.h>

typedef struct fake_transport fake_transport;

/* What an attempt to connect meets. */
typedef enum fake_behaviour {
    FAKE_SILENT = 0, /* nothing, until the test says: fake_transport_ready(), _fail() */
    FAKE_ACCEPT = 1, /* READY after the delay */
    FAKE_REFUSE = 2, /* "connection refused" after the delay */
    FAKE_THROW = 3   /* connect() itself fails */
} fake_behaviour;

/* With `counted`, picks hold references to connections, as with the gRPC transport. The default behaviour is ACCEPT
 * without delay. */
fake_transport *fake_transport_create(evener_loop *loop, bool counted);
/* Destroy the transport. Every connection must have been given up. */
void fake_transport_destroy(fake_transport *fake);
evener_transport *fake_transport_transport(fake_transport *fake);

/* Set the behaviour of further attempts: to all addresses without one of their own, or to one address. */
void fake_transport_set_default(fake_transport *fake, fake_behaviour behaviour, uint64_t delay_ns);
void fake_transport_set(fake_transport *fake, const char *address, fake_behaviour behaviour, uint64_t delay_ns);

/* Act on the address's newest attempt or connection in a fitting state; return false if there is none. */
bool fake_transport_ready(fake_transport *fake, const char *address);
/* READY, but it takes no call any more: a GOAWAY came with the server's first bytes. */
bool fake_transport_ready_too_late(fake_transport *fake, const char *address);
bool fake_transport_fail(fake_transport *fake, const char *address, const char *message);
bool fake_transport_drop(fake_transport *fake, const char *address);
/* A17: what a health watch reports. */
bool fake_transport_health(fake_transport *fake, const char *address, evener_connectivity_state health);

/* Return the number of attempts so far, and the time of the last one. */
uint32_t fake_transport_attempts(const fake_transport *fake, const char *address);
uint64_t fake_transport_last_attempt_ns(const fake_transport *fake, const char *address);
/* Return the authority of the last attempt; "" without one. */
const char *fake_transport_authority(const fake_transport *fake, const char *address);
/* Return the service of the health watch on the newest connection; NULL without one. */
const char *fake_transport_watched_service(const fake_transport *fake, const char *address);
/* Return the number of attempts and connections that were not given up, of one address or (NULL) of all. */
size_t fake_transport_open_count(const fake_transport *fake, const char *address);
/* Return the number of connections that were given up and whose memory is not freed yet. */
uint64_t fake_transport_unfreed(const fake_transport *fake);
/* Let the newest READY connection take no further call, without a report. Return whether there is one. */
bool fake_transport_close_to_calls(fake_transport *fake, const char *address);
/* Return whether the connection's memory was not freed yet: for what holds one. Any thread. */
bool fake_connection_is_alive(const evener_connection *connection);

/* ---- calls ---- */

/* What a call meets, as the script says. */
typedef enum fake_call_kind {
    FAKE_CALL_ANSWER = 0,     /* the server executes it and answers with the code */
    FAKE_CALL_NEVER_LEFT = 1, /* not a byte of it is written */
    FAKE_CALL_REFUSED = 2,    /* REFUSED_STREAM */
    FAKE_CALL_LOST = 3,       /* the server executes it, then the answer is lost: UNAVAILABLE, perhaps processed */
    FAKE_CALL_SILENT = 4,     /* nothing, until its deadline or until it is cancelled */
    FAKE_CALL_NOT_BEGUN = 5   /* call_begin returns UNAVAILABLE: the connection was lost since the pick */
} fake_call_kind;

typedef struct fake_call_outcome {
    fake_call_kind kind;
    uint64_t delay_ns;       /* of a stream's ANSWER with OK: until it takes messages, and echoes them */
    evener_status_code code; /* of an ANSWER */
    bool headers_came;       /* before an ANSWER that is not OK: it is not Trailers-Only */
    const char *pushback;    /* of an ANSWER that is not OK: grpc-retry-pushback-ms; NULL: none */
    bool empty_headers;      /* of a LOST stream: headers without an entry are reported before its end */
    bool headers;            /* of a stream that takes messages: headers with an entry come first */
    bool connection_ends;    /* the connection takes no further call from then on, and reports IDLE a moment later */
    uint64_t cancel_ns;      /* from a cancellation to the end */
} fake_call_outcome;

/* Return the outcome of an attempt; called once per attempt, from inside call_begin. */
typedef fake_call_outcome (*fake_call_script)(void *arg, const char *address, const evener_call_begin_args *args);

/* Make a counted transport carry calls. An answer to a unary call is its request; a stream's messages come back one by
 * one, and OK after the last. A stream that is LOST takes messages until then. */
void fake_transport_carry_calls(fake_transport *fake, fake_call_script script, void *arg);

/* Return the number of calls that were begun and have not ended. */
size_t fake_transport_calls_under_way(const fake_transport *fake);

#endif
