/* What the files of the shared transport have in common; see shared_transport.h. Control thread, unless marked. */
#ifndef EVENER_LB_BACKEND_SHARED_H
#define EVENER_LB_BACKEND_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/queue.h>

#include "lb/backend/shared_transport.h"
#include "lb/base/address_table.h"

typedef struct evener_shared evener_shared;
typedef struct evener_shared_front evener_shared_front;
typedef struct evener_shared_place evener_shared_place;
typedef struct evener_shared_peer evener_shared_peer;
typedef struct evener_shared_connection evener_shared_connection;
typedef struct evener_shared_member evener_shared_member;
typedef struct evener_shared_watch evener_shared_watch;
typedef struct evener_shared_subscription evener_shared_subscription;
typedef LIST_HEAD(evener_shared_member_list, evener_shared_member) evener_shared_member_list;

/* The transport behind all fronts with equal arguments. */
struct evener_shared {
    evener_shared *next; /* in the list of those that channels find; guarded by its mutex */
    size_t references;   /* fronts and connections; guarded by the mutex */
    bool is_alone;       /* not in the list */
    bool has_grpc_args;  /* which are not kept */
    evener_transport *real;
    /* What must be equal. The pointers are copies or references; grpc_args is NULL. */
    const evener_transport_factory *factory;
    evener_transport_args args;
    bool target_matters; /* to the connections; otherwise targets may differ */

    evener_address_table places;
    LIST_HEAD(, evener_shared_front) fronts; /* that have connected */
};

struct evener_shared_front {
    evener_transport base;
    evener_shared *now;  /* of the connections made from now on; control thread */
    bool verifies_names; /* what `now` answers; atomic, as calls ask on any thread */
    bool is_listed;      /* in now->fronts */
    LIST_ENTRY(evener_shared_front) of_shared;
    void (*recovered)(void *arg, const evener_address *address);
    void *recovered_arg;
    uint32_t connections_max; /* of a peer (A105); 0: 1 */
};

/* The peers of one address and authority attribute. */
struct evener_shared_place {
    evener_shared_place *table_next;
    evener_address *address;
    uint8_t table_tag;
    LIST_HEAD(, evener_shared_peer) peers;
};

/* One backend as equal channels see it: its backoff, and the connection or the attempt that channels join. Lives while
 * it has one of the two, or failures to remember. */
struct evener_shared_peer {
    evener_shared *shared;
    evener_shared_place *place;
    LIST_ENTRY(evener_shared_peer) of_place;
    char *authority, *server_name; /* server_name may be NULL */
    uint64_t connect_timeout_ns;
    evener_backoff_options backoff_options;
    evener_shared_connection *current; /* to join; or NULL */
    evener_loop *loop;

    evener_backoff backoff;                         /* since the last success */
    uint64_t started_ns;                            /* the last attempt */
    uint64_t retry_at_ns;                           /* end of the backoff; 0: none */
    bool has_failed;                                /* since the last success */
    uint8_t short_lived;                            /* connections in a row that dropped soon */
    evener_status failure;                          /* the last one */
    TAILQ_HEAD(, evener_shared_connection) further; /* A105: beside `current`, the oldest first; with references */
    uint32_t further_count;
    bool is_adding;         /* the youngest of them is CONNECTING */
    uint64_t add_at_ns;     /* none is added before: the last one was dropped soon */
    evener_timer add_again; /* when there is no more to wait for */
    evener_timer forget;    /* without attempts, failures are remembered for this time */
};

/* An attempt to connect, and the connection that it becomes. */
struct evener_shared_connection {
    evener_shared *shared;
    evener_shared_peer *peer; /* NULL: nobody joins any more */
    evener_loop *loop;
    evener_connection *real;
    evener_connectivity_state state; /* CONNECTING, READY; IDLE and TRANSIENT_FAILURE: over */
    uint64_t since_ns;
    size_t references; /* members, and one while it reports */
    evener_shared_member_list members;
    evener_timer time_out;          /* of the attempt; of `is_kept` */
    evener_shared_peer *further_of; /* it is one of that peer's further connections; otherwise NULL */
    TAILQ_ENTRY(evener_shared_connection) of_further;
    bool is_kept; /* the peer's reference, which ends with `time_out`: its members are about to join */
    LIST_HEAD(, evener_shared_watch) watches;
};

/* A channel's share of a connection. What it has missed by joining late comes from a timer that rings at once. */
struct evener_shared_member {
    evener_shared_connection *connection;
    LIST_ENTRY(evener_shared_member) of_connection;
    void (*state_changed)(void *arg, evener_connectivity_state state, const evener_status *status);
    void *arg;
    uint64_t *retry_at_ns;
    evener_loop *loop;
    evener_timer late;
    bool ready_due, idle_due;
    LIST_HEAD(, evener_shared_subscription) subscriptions;
};

/* A connection that lived shorter was dropped soon. */
#define EVENER_SHARED_SHORT_LIVED_NS (100 * EVENER_NS_PER_MS)

/* Return whether a member that the reader may not know is there: programs compiled with an older evener. */
#define EVENER_SHARED_HAS(vtable, member)                                                                              \
    ((vtable)->size >= offsetof(evener_transport_vtable, member) + sizeof(vtable)->member && (vtable)->member != NULL)

/* Move all items to another list, in reverse order. Notified items go back one by one, so that those which were not
 * notified yet are known, whatever a notified one does. */
#define EVENER_SHARED_TAKE_ALL(from, to, field)                                                                        \
    do {                                                                                                               \
        LIST_INIT(to);                                                                                                 \
        while (!LIST_EMPTY(from)) {                                                                                    \
            __typeof__(LIST_FIRST(from)) taken = LIST_FIRST(from);                                                     \
            LIST_REMOVE(taken, field);                                                                                 \
            LIST_INSERT_HEAD(to, taken, field);                                                                        \
        }                                                                                                              \
    } while (0)

static inline bool evener_shared_same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* ---- shared_transport.c ---- */

/* The first on any thread, the second on the control thread. */
void evener_shared_ref(evener_shared *shared);
void evener_shared_unref(evener_shared *shared);

/* ---- shared_peer.c ---- */

/* As connect() and disconnect() of a transport. */
evener_status_code evener_shared_connect(evener_shared *shared, const evener_shared_connect_args *args,
                                         evener_shared_member **member, evener_status *status);
void evener_shared_disconnect(evener_shared_member *member);
/* Give back a reference of the connection; the last one disconnects it. */
void evener_shared_connection_unref(evener_shared_connection *self);
/* Let nobody join the connections and attempts of now, and forget failures: the credentials have changed. */
void evener_shared_join_no_more(evener_shared *shared);
/* Free the peers that are left, which have no connection. */
void evener_shared_clear_places(evener_shared *shared);

/* Start an attempt of the peer's with these arguments; `args->arg` is the returned connection, without references and
 * not yet the peer's. NULL: it failed at once, which the peer has noted. */
evener_shared_connection *evener_shared_start_attempt(evener_shared_peer *peer, const evener_connect_args *args,
                                                      evener_task_fn timed_out, evener_status *status);
/* As state_changed of a transport, for the current connection `arg`. */
void evener_shared_on_state(void *arg, evener_connectivity_state state, const evener_status *status);
/* Note how an attempt of the peer's has ended. */
void evener_shared_attempt_failed(evener_shared_peer *peer, const evener_status *status);
void evener_shared_attempt_succeeded(evener_shared_peer *peer);
/* No front uses the transport for further connections: let go of what no member holds. */
void evener_shared_release_kept(evener_shared *shared);

/* ---- shared_scale.c ---- */

/* As more_wanted of a transport, for the connection `arg`. */
void evener_shared_more_wanted(void *arg);
/* Add a connection if one is needed and allowed. */
void evener_shared_consider(evener_shared_peer *peer);
void evener_shared_consider_all(evener_shared *shared);
/* Put the oldest further connection into the place of the current one, which is lost. False: there is none. */
bool evener_shared_promote(evener_shared_peer *peer);
/* Give all further connections up. */
void evener_shared_end_further(evener_shared_peer *peer);

/* ---- shared_health.c ---- */

/* As watch_health() of a transport. */
evener_status_code evener_shared_watch_health(evener_shared_member *member, const char *service,
                                              void (*health_changed)(void *arg, evener_connectivity_state health,
                                                                     const evener_status *status),
                                              void *arg);
void evener_shared_end_watches(evener_shared_member *member);
/* Return whether a watch that the member has joined late has a report for it. */
bool evener_shared_health_is_due(const evener_shared_member *member);
/* Make one such report, which may give the member up. */
void evener_shared_report_health(evener_shared_member *member);

#endif
