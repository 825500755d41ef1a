/* What fake_transport.c and fake_calls.c share. */
#ifndef EVENER_TESTS_SUPPORT_FAKE_TRANSPORT_INTERNAL_H
#define EVENER_TESTS_SUPPORT_FAKE_TRANSPORT_INTERNAL_H

#include "tests/support/fake_transport.h"

#define FAKE_BUCKETS 16384

typedef struct fake_backend {
    struct fake_backend *next;
    char *address;
    char *authority;
    bool own_behaviour;
    fake_behaviour behaviour;
    uint64_t delay_ns;
    uint32_t attempts;
    uint64_t last_attempt_ns;
    size_t open;
    evener_connection *newest; /* of those not given up; by `older` */
} fake_backend;

#define FAKE_CONNECTION_MARK UINT32_C(0x600dc044)

struct evener_connection {
    fake_transport *fake;
    uint32_t mark; /* FAKE_CONNECTION_MARK until it is freed */
    fake_backend *to;
    evener_connection *older;
    evener_connectivity_state state; /* CONNECTING, READY, or SHUTDOWN: has made its last report */
    fake_behaviour behaviour;
    evener_timer timer;
    void (*state_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    uint64_t references; /* atomic */
    char *service;
    evener_connectivity_state health;
    bool health_known;
    void (*health_changed)(void *arg, evener_connectivity_state health, const evener_status *status);
    void *health_arg;
    evener_task health_task;
    bool gone;           /* takes no further call */
    uint32_t never_left; /* calls in a row */
};

struct fake_transport {
    evener_transport base;
    evener_loop *loop;
    fake_behaviour behaviour;
    uint64_t delay_ns;
    size_t open;
    uint64_t unfreed; /* atomic: connections given up whose memory is still there */
    fake_backend *backends[FAKE_BUCKETS];
    fake_call_script script; /* NULL: carries no calls */
    void *script_arg;
    size_t calls; /* under way */
};

/* End a READY connection. */
void fake_connection_drop(evener_connection *connection);

void fake_connection_ref(evener_connection *connection);
void fake_connection_unref(evener_connection *connection);

extern const evener_transport_calls fake_calls;

#endif
