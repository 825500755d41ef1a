/* A query belongs to two threads: the caller's control thread, which starts, cancels and receives it, and the network's,
 * which asks. Whoever changes `phase` first decides what becomes of it:
 *
 *     ASKING -> ANSWERED (the network's thread): `deliver` is posted to the caller's loop, and frees it.
 *     ASKING -> CANCELLED (the caller's): `stop` is posted to the network's loop, and frees it there. Nothing of it is
 *     posted to the caller's loop any more, which may end.
 *
 * Tasks run in order of posting, so `begin` runs before `stop`. */
#include "resolver/dns/own_thread.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <evener/runtime.h>

#include "lb/base/memory.h"

typedef enum phase { ASKING, ANSWERED, CANCELLED } phase;

struct evener_dns_own_thread {
    evener_dns_client base;
    evener_runtime *network;
};

/* What the caller sees as an evener_dns_query. */
typedef struct carried {
    evener_loop *caller, *network;
    evener_dns_question question; /* with the strings below */
    char name[EVENER_DNS_NAME_BYTES_MAX + 1];
    char servers[EVENER_DNS_SERVERS_BYTES_MAX + 1];
    evener_dns_answer_fn fn;
    void *arg;
    _Atomic phase phase;
    bool dropped;            /* ANSWERED, then cancelled; the caller's thread */
    evener_dns_query *asked; /* the network's thread; NULL: ended */
    evener_dns_answer answer;
    evener_task begin, stop, deliver;
} carried;

/* ---- on the network's thread ---- */

static void answer_came(void *arg, evener_dns_answer *answer)
{
    carried *query = arg;
    query->asked = NULL;
    query->answer = *answer;
    *answer = (evener_dns_answer){.records = NULL};
    phase asking = ASKING;
    /* The post publishes the answer; a cancelled query is freed by `stop`, on this thread. */
    if (atomic_compare_exchange_strong_explicit(&query->phase, &asking, ANSWERED, memory_order_relaxed,
                                                memory_order_relaxed)) {
        (void)evener_loop_post(query->caller, &query->deliver);
    }
}

static void begin(void *arg)
{
    carried *query = arg;
    evener_dns_client *client = evener_dns_ares_client();
    query->asked = client->vtable->start(client, query->network, &query->question, answer_came, query);
    if (query->asked == NULL) {
        evener_dns_answer none = {.records = NULL};
        evener_status_set(&none.status, EVENER_STATUS_RESOURCE_EXHAUSTED, "dns: out of memory");
        answer_came(query, &none);
    }
}

static void stop(void *arg)
{
    carried *query = arg;
    evener_dns_client *client = evener_dns_ares_client();
    if (query->asked != NULL) {
        client->vtable->cancel(client, query->asked);
    }
    evener_dns_answer_clear(&query->answer);
    free(query);
}

/* ---- on the caller's control thread ---- */

static void deliver(void *arg)
{
    carried *query = arg;
    evener_dns_answer answer = query->answer;
    const evener_dns_answer_fn fn = query->dropped ? NULL : query->fn;
    void *fn_arg = query->arg;
    free(query);
    if (fn != NULL) {
        fn(fn_arg, &answer);
    }
    evener_dns_answer_clear(&answer);
}

static evener_dns_query *start(evener_dns_client *client, evener_loop *loop, const evener_dns_question *question,
                               evener_dns_answer_fn fn, void *arg)
{
    evener_dns_own_thread *self = EVENER_CONTAINER_OF(client, evener_dns_own_thread, base);
    carried *query = calloc(1, sizeof *query);
    if (query == NULL) {
        return NULL;
    }
    query->caller = loop;
    query->network = evener_runtime_loop(self->network);
    query->question = *question;
    snprintf(query->name, sizeof query->name, "%s", question->name);
    snprintf(query->servers, sizeof query->servers, "%s", question->servers);
    query->question.name = query->name;
    query->question.servers = query->servers;
    query->fn = fn;
    query->arg = arg;
    query->begin = (evener_task)EVENER_TASK_INIT(begin, query);
    query->stop = (evener_task)EVENER_TASK_INIT(stop, query);
    query->deliver = (evener_task)EVENER_TASK_INIT(deliver, query);
    (void)evener_loop_post(query->network, &query->begin);
    return (evener_dns_query *)query;
}

static void cancel(evener_dns_client *client, evener_dns_query *started)
{
    (void)client;
    carried *query = (carried *)started;
    phase asking = ASKING;
    if (atomic_compare_exchange_strong_explicit(&query->phase, &asking, CANCELLED, memory_order_relaxed,
                                                memory_order_relaxed)) {
        (void)evener_loop_post(query->network, &query->stop);
    } else {
        query->dropped = true; /* `deliver` is posted, or about to be */
    }
}

/* ---- create and destroy ---- */

evener_dns_own_thread *evener_dns_own_thread_create(evener_status *status)
{
    static const evener_dns_client_vtable vtable = {.start = start, .cancel = cancel};
    const evener_runtime_options options = {.size = sizeof options, .thread_name = "evener-dns"};
    evener_dns_own_thread *self = calloc(1, sizeof *self);
    if (self == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "dns: out of memory");
        return NULL;
    }
    self->base.vtable = &vtable;
    if (evener_runtime_create(&options, &self->network, status) != EVENER_STATUS_OK) {
        free(self);
        return NULL;
    }
    return self;
}

void evener_dns_own_thread_destroy(evener_dns_own_thread *self)
{
    if (self != NULL) {
        evener_runtime_unref(self->network);
        free(self);
    }
}

evener_dns_client *evener_dns_own_thread_client(evener_dns_own_thread *self)
{
    return &self->base;
}
