/* The gRPC transport by itself, without a channel: connections to real servers, whose reports are recorded. */
#ifndef TESTS_GRPC_TRANSPORT_FIXTURE_H
#define TESTS_GRPC_TRANSPORT_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include <evener/evener.h>

#define EVENTS_MAX 16

typedef struct transport_fixture {
    evener_runtime *runtime;
    evener_transport *transport;
} transport_fixture;

/* One connection; lives until fixture_forget(). */
typedef struct followed {
    transport_fixture *fixture;
    evener_connection *connection;
    evener_status connect_status;
    bool disconnect_in_report; /* gives the connection up from inside its first event */
    bool disconnected;
    uint32_t event_count; /* under the fixture's lock */
    evener_connectivity_state events[EVENTS_MAX];
    evener_status last_status;
    uint32_t health_count;
    evener_connectivity_state health[EVENTS_MAX];
    evener_status health_status;
} followed;

/* Open runtime and transport. The credentials stay the caller's. `loop`: the runtime's; NULL: one of its own. */
void fixture_open(transport_fixture *fixture, const evener_credentials *credentials);
void fixture_open_on(transport_fixture *fixture, const evener_credentials *credentials, evener_loop *loop);
/* End transport and runtime. Every connection must have been given up. */
void fixture_close(transport_fixture *fixture);

followed *fixture_connect(transport_fixture *fixture, const char *address, const char *authority);
/* Wait until `count` events have come (10 s at most) and return the last of them; -1 if they did not come. */
int followed_wait(followed *connection, uint32_t count);
int followed_wait_health(followed *connection, uint32_t count);
void followed_watch_health(followed *connection, const char *service);
void followed_disconnect(followed *connection);
/* Disconnects if that was not done, and frees the record. */
void followed_forget(followed *connection);
uint32_t followed_count(followed *connection);
uint32_t followed_health_count(followed *connection);

/* "127.0.0.1:PORT". A static buffer of the calling thread. */
const char *address_of_port(uint16_t port);
/* Return a port on which no process listens, nor will while this process lives. */
uint16_t free_port(void);
/* Threads of this process with names of their own, as evener's and the core's have: what the test framework starts
 * bears the program's name. Waits until there is none, 10 s at most. */
unsigned named_threads_left(void);

#endif
