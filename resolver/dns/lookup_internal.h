/* Lookup, the internal part: its state, shared by lookup.c (who watches what) and round.c (one round of queries). */
#ifndef EVENER_RESOLVER_DNS_LOOKUP_INTERNAL_H
#define EVENER_RESOLVER_DNS_LOOKUP_INTERNAL_H

#include <evener/backoff.h>

#include "resolver/dns/lookup.h"
#include "resolver/dns/own_thread.h"
#include "resolver/dns/queue.h"
#include "resolver/dns/system.h"

#define EVENER_DNS_PARTS_MAX 2
#define EVENER_DNS_BUCKETS 1024 /* 10,000 names: ten per bucket */

typedef enum lookup_phase {
    LOOKUP_NEW,
    LOOKUP_ASKING,
    LOOKUP_PARTLY_ANSWERED,
    LOOKUP_WAITING,
    LOOKUP_BACKING_OFF,
} lookup_phase;

/* The state of a record type's query in this round: UNASKED -> ASKING -> ANSWERED or FAILED -> ASKING (next round). */
typedef enum part_phase {
    PART_UNASKED,
    PART_ASKING, /* `query` is in flight */
    PART_ANSWERED,
    PART_FAILED, /* `error` says why */
} part_phase;

/* One record type of a lookup. */
struct evener_dns_part {
    struct evener_dns_lookup *lookup;
    evener_dns_type type;
    part_phase phase;
    evener_dns_query *query;  /* ASKING */
    evener_dns_ticket ticket; /* ASKING: waits for its turn, or `query` runs */
    evener_status error;      /* FAILED */
    bool server_error;        /* FAILED: a server answered, with an error code */
    evener_dns_answer fresh;  /* ANSWERED: of this candidate, until the round takes it over */
    bool has_fresh;
    evener_dns_answer answer;                          /* last good answer */
    uint64_t answered_ns;                              /* time of `answer`; 0: never */
    uint64_t failed_ns;                                /* first failure since `answer`; 0: none */
    char answered_name[EVENER_DNS_NAME_BYTES_MAX + 1]; /* the candidate that `answer` is of */
};

struct evener_dns_lookup {
    struct evener_dns_cache *cache;
    struct evener_dns_lookup *next; /* in its bucket */
    uint32_t bucket;
    char *key;
    char name[EVENER_DNS_NAME_BYTES_MAX + 1];
    evener_dns_options options;
    evener_dns_client *client;
    evener_loop *loop;
    struct evener_dns_part parts[EVENER_DNS_PARTS_MAX];
    size_t part_count;
    evener_dns_watch *first, *last;
    evener_dns_watch *cursor; /* the next watch to notify */
    bool notifying;           /* a watch is being called: do not free the lookup yet */
    lookup_phase phase;       /* changed by enter_phase() only */
    evener_timer refresh;     /* begins the next round */
    evener_timer settle;      /* the resolution delay */
    evener_dns_plan plan;     /* of this round */
    size_t candidate;         /* index of the name that is asked for */
    bool saw_nodata;          /* a candidate exists, without addresses */
    bool search_failed;       /* servers answered with an error for a candidate */
    char tried[360];          /* what became of the candidates, for messages */
    bool restarted;           /* reset_backoff has begun this round */
    uint64_t round_ns;        /* when the last round began */
    bool known;               /* an answer has been reported since the start */
    evener_status error;      /* of the last round; OK if it was answered */
    evener_backoff backoff;
};

/* One per runtime. */
struct evener_dns_cache {
    evener_loop *loop;
    evener_dns_system *system;
    evener_dns_own_thread *own_thread; /* asks if the loop is not libuv's; NULL: not used yet */
    evener_dns_queue queue;
    struct evener_dns_lookup *buckets[EVENER_DNS_BUCKETS];
};

/* ---- lookup.c ---- */

void evener_dns_lookup_destroy(struct evener_dns_lookup *lookup);

/* Report a result to one watch, unless it has it already. `print`: its fingerprint. */
void evener_dns_notify_watch(evener_dns_watch *watch, const evener_dns_result *result, uint64_t print);

/* Notify every watch. A watch may stop others and start new ones; new ones are notified when they start. `result` NULL:
 * report lookup->error. Return whether a watch accepts the result. */
bool evener_dns_notify(struct evener_dns_lookup *lookup, const evener_dns_result *result);

uint64_t evener_dns_fingerprint(const evener_dns_result *result);

/* ---- round.c ---- */

/* Prepare a new lookup's parts and timers. */
void evener_dns_round_init(struct evener_dns_lookup *lookup);

/* Begin a round; the timer `refresh` calls it. `arg` is the lookup. */
void evener_dns_round_begin(void *arg);

/* End queries and free answers. */
void evener_dns_round_stop(struct evener_dns_lookup *lookup);

/* Combine the answers of the parts. The caller frees result->records. False: out of memory. */
bool evener_dns_round_result(struct evener_dns_lookup *lookup, evener_dns_result *result, bool *ttl_known);

/* A query of this round is in flight or waits for its turn. */
bool evener_dns_round_is_asking(const struct evener_dns_lookup *lookup);

/* Let the next round begin within this time. */
void evener_dns_round_within(struct evener_dns_lookup *lookup, uint64_t delay_ns);

/* No watch accepts the answer: the next round begins after a backoff. */
void evener_dns_round_refused(struct evener_dns_lookup *lookup);

#endif
