/* IMPLEMENTATION NOTES
 *
 * A query is a series of tries, each an exchange with one server. Try k goes to server k modulo the number of servers
 * (the start is rotated with `rotate`). A try has first_ms << round: 1/7 of the time limit for three rounds, however
 * many servers there are. A server that answers with an error is not asked again; the next one is asked at once. The
 * query ends with the first answer, when every server has answered with an error, or at the time limit.
 *
 * - A try whose time is over is kept for one more try while few are: the answer of a slow server still counts, and the
 *   server is not asked twice without need.
 * - A truncated answer is asked for over TCP at the same server, with all time that is left.
 * - The last try is sent without EDNS: some middleboxes drop what they do not know (golang 65197). So is a second try
 *   at a server that answers NOTIMP or FORMERR. */
#include "resolver/dns/query.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/fork.h"
#include "resolver/dns/exchange.h"
#include "resolver/dns/order.h"

#define SERVERS_MAX 8
#define SERVER_BYTES (EVENER_DNS_IP_BYTES_MAX + 32)
#define KEPT_MAX 16 /* tries beyond their time, of the whole process: each holds a descriptor */
#define REASON_BYTES 96

struct server {
    char text[SERVER_BYTES];
    char reason[REASON_BYTES]; /* of its last failure; "": it has not failed */
    bool failed;               /* not to be asked again */
    bool plain;                /* without EDNS from now on */
    bool server_error;         /* it answered with an error code */
};

struct evener_dns_query {
    evener_loop *loop;
    evener_dns_type type;
    char name[EVENER_DNS_NAME_BYTES_MAX + 1];
    evener_dns_answer_fn fn;
    void *arg;
    struct server servers[SERVERS_MAX];
    size_t server_count;
    size_t first;      /* server of the first try */
    size_t next;       /* number of the next try */
    size_t tries_max;  /* rounds times servers */
    uint32_t sent;     /* tries made, TCP included */
    uint64_t first_ms; /* time of a try in the first round */
    bool constant;     /* every round has the same time */
    bool use_tcp;      /* from the start */
    uint64_t timeout_ms;
    uint64_t began_ns;
    evener_dns_exchange *current;
    size_t current_server;
    bool current_tcp;
    evener_dns_exchange *kept; /* the try before, beyond its time; NULL: none */
    size_t kept_server;
    evener_timer try_end;
    evener_timer deadline;
    evener_task deliver;
    bool posted; /* `deliver` will run: `answer` is final */
    bool cancelled;
    evener_dns_answer answer;
};

static atomic_size_t kept_count;
static atomic_size_t rotation;

/* The queries that keep tries are the parent's. */
static void forget_kept(void)
{
    atomic_store_explicit(&kept_count, 0, memory_order_relaxed);
}

EVENER_FORK_CHILD(forget_kept)

static void next_try(struct evener_dns_query *query);

/* ---- the end of a query ---- */

static void drop_kept(struct evener_dns_query *query)
{
    if (query->kept != NULL) {
        evener_dns_exchange_close(query->kept);
        query->kept = NULL;
        (void)atomic_fetch_sub_explicit(&kept_count, 1, memory_order_relaxed); /* a counter */
    }
}

static void stop_tries(struct evener_dns_query *query)
{
    evener_timer_stop(query->loop, &query->try_end);
    evener_timer_stop(query->loop, &query->deadline);
    drop_kept(query);
    evener_dns_exchange_close(query->current);
    query->current = NULL;
}

static void query_free(struct evener_dns_query *query)
{
    stop_tries(query);
    evener_dns_answer_clear(&query->answer);
    free(query);
}

static void deliver(void *arg)
{
    struct evener_dns_query *query = arg;
    evener_dns_answer answer = query->answer;
    const evener_dns_answer_fn fn = query->cancelled ? NULL : query->fn;
    void *fn_arg = query->arg;
    query->answer = (evener_dns_answer){.records = NULL};
    query_free(query);
    if (fn != NULL) {
        fn(fn_arg, &answer);
    }
    evener_dns_answer_clear(&answer);
}

static void end(struct evener_dns_query *query)
{
    stop_tries(query);
    if (!query->posted) {
        query->posted = true;
        (void)evener_loop_post(query->loop, &query->deliver);
    }
}

/* Write the reason of every server, how long it took and how many tries. */
static void fail(struct evener_dns_query *query)
{
    evener_dns_answer *answer = &query->answer;
    const uint64_t took_ms = (evener_loop_now_ns(query->loop) - query->began_ns) / EVENER_NS_PER_MS;
    const double took_s = (double)(took_ms - took_ms % 10) / 1000.0;
    const char *type = evener_dns_type_name(query->type);
    const char *plural = query->sent == 1 ? "try" : "tries";
    bool answered = false;
    for (size_t i = 0; i < query->server_count; i++) {
        answered = answered || query->servers[i].server_error;
    }
    if (query->server_count == 1 && query->servers[0].failed) {
        evener_status_set(&answer->status, EVENER_STATUS_UNAVAILABLE, "%s: %s (server %s)", type,
                          query->servers[0].reason, query->servers[0].text);
    } else if (query->server_count == 1) {
        evener_status_set(&answer->status, EVENER_STATUS_UNAVAILABLE, "%s: timed out after %g s, %u %s (server %s)",
                          type, took_s, query->sent, plural, query->servers[0].text);
    } else {
        char reasons[300] = "";
        size_t used = 0;
        for (size_t i = 0; i < query->server_count; i++) {
            const struct server *server = &query->servers[(query->first + i) % query->server_count];
            const char *reason = server->reason[0] != '\0' ? server->reason : "not asked";
            const int bytes =
                snprintf(reasons + used, sizeof reasons - used, "%s%s: %s", i > 0 ? "; " : "", server->text, reason);
            used += bytes > 0 && (size_t)bytes < sizeof reasons - used ? (size_t)bytes : 0;
        }
        evener_status_set(&answer->status, EVENER_STATUS_UNAVAILABLE, "%s: no server answered in %g s, %u %s (%s)",
                          type, took_s, query->sent, plural, reasons);
    }
    answer->server_error = answered;
    end(query);
}

/* ---- tries ---- */

static uint64_t left_ms(const struct evener_dns_query *query)
{
    const uint64_t took_ms = (evener_loop_now_ns(query->loop) - query->began_ns) / EVENER_NS_PER_MS;
    return took_ms < query->timeout_ms ? query->timeout_ms - took_ms : 0;
}

static void fail_server(struct server *server, const char *reason)
{
    snprintf(server->reason, sizeof server->reason, "%s", reason);
}

static void exchange_ended(void *arg, evener_dns_exchange *exchange, evener_dns_outcome outcome, const char *reason,
                           evener_dns_answer *answer);

/* Send the question to a server as the current try. */
static void send_try(struct evener_dns_query *query, size_t at, bool tcp, bool edns, uint64_t time_ms)
{
    const evener_dns_exchange_args args = {
        .loop = query->loop,
        .type = query->type,
        .name = query->name,
        .server = query->servers[at].text,
        .tcp = tcp,
        .edns = edns && !query->servers[at].plain,
        .ended = exchange_ended,
        .arg = query,
    };
    query->sent++;
    query->current_server = at;
    query->current_tcp = tcp;
    query->current = evener_dns_exchange_start(&args);
    if (query->current == NULL) {
        fail_server(&query->servers[at], "out of memory or of descriptors, or no such address");
        query->servers[at].failed = true;
        time_ms = 0; /* the next try, not from inside */
    }
    evener_timer_start(query->loop, &query->try_end, time_ms * EVENER_NS_PER_MS);
}

/* Return the server of the next try and count the try; SERVERS_MAX: there is none. */
static size_t choose_server(struct evener_dns_query *query)
{
    for (; query->next < query->tries_max; query->next++) {
        const size_t at = (query->first + query->next) % query->server_count;
        if (!query->servers[at].failed) {
            query->next++;
            return at;
        }
    }
    return SERVERS_MAX;
}

static void next_try(struct evener_dns_query *query)
{
    const uint64_t left = left_ms(query);
    const size_t at = choose_server(query);
    if (at == SERVERS_MAX || left == 0) {
        if (query->kept != NULL && left > 0) {
            return; /* until the deadline */
        }
        fail(query);
        return;
    }
    const size_t number = query->next - 1;
    const size_t round = number / query->server_count;
    uint64_t time_ms = query->constant ? query->first_ms : query->first_ms << round;
    const bool last = query->next == query->tries_max || left < time_ms + query->first_ms;
    time_ms = last || time_ms > left ? left : time_ms;
    send_try(query, at, query->use_tcp, !last || number == 0, time_ms);
}

/* The time of the current try is over. */
static void try_ended(void *arg)
{
    struct evener_dns_query *query = arg;
    drop_kept(query);
    if (query->current != NULL) {
        fail_server(&query->servers[query->current_server], query->current_tcp ? "timed out over TCP" : "timed out");
        if (atomic_fetch_add_explicit(&kept_count, 1, memory_order_relaxed) < KEPT_MAX) {
            query->kept = query->current;
            query->kept_server = query->current_server;
        } else {
            (void)atomic_fetch_sub_explicit(&kept_count, 1, memory_order_relaxed);
            evener_dns_exchange_close(query->current);
        }
        query->current = NULL;
    }
    next_try(query);
}

static void deadline_passed(void *arg)
{
    struct evener_dns_query *query = arg;
    if (query->current != NULL) {
        fail_server(&query->servers[query->current_server], query->current_tcp ? "timed out over TCP" : "timed out");
    }
    fail(query);
}

static void answered(struct evener_dns_query *query, size_t server, evener_dns_answer *answer)
{
    query->answer = *answer;
    *answer = (evener_dns_answer){.records = NULL};
    snprintf(query->answer.source, sizeof query->answer.source, "dns %s", query->servers[server].text);
    if (query->type == EVENER_DNS_A || query->type == EVENER_DNS_AAAA) {
        evener_dns_order(&query->answer);
    }
    end(query);
}

static void exchange_ended(void *arg, evener_dns_exchange *exchange, evener_dns_outcome outcome, const char *reason,
                           evener_dns_answer *answer)
{
    struct evener_dns_query *query = arg;
    const bool late = exchange == query->kept;
    const size_t at = late ? query->kept_server : query->current_server;
    struct server *server = &query->servers[at];
    const bool tcp = !late && query->current_tcp;
    if (outcome == EVENER_DNS_ANSWERED) {
        answered(query, at, answer);
        return;
    }
    const bool plain = outcome == EVENER_DNS_NOT_UNDERSTOOD && !server->plain;
    if (outcome != EVENER_DNS_TRUNCATED && !plain) {
        fail_server(server, reason);
        server->failed = true;
        server->server_error = outcome == EVENER_DNS_SERVER_ERROR || outcome == EVENER_DNS_NOT_UNDERSTOOD;
    }
    server->plain = server->plain || plain;
    if (outcome == EVENER_DNS_TRUNCATED) {
        stop_tries(query);
        evener_timer_start(query->loop, &query->deadline, left_ms(query) * EVENER_NS_PER_MS);
        send_try(query, at, true, true, left_ms(query));
    } else if (late) {
        drop_kept(query);
        if (query->current == NULL) {
            next_try(query);
        }
    } else {
        evener_dns_exchange_close(query->current);
        query->current = NULL;
        evener_timer_stop(query->loop, &query->try_end);
        if (plain) {
            send_try(query, at, tcp, false, left_ms(query) < query->first_ms ? left_ms(query) : query->first_ms);
        } else {
            next_try(query);
        }
    }
}

/* ---- the beginning ---- */

static bool split_servers(struct evener_dns_query *query, const char *servers)
{
    while (*servers != '\0' && query->server_count < SERVERS_MAX) {
        const size_t bytes = strcspn(servers, ",");
        if (bytes > 0 && bytes < SERVER_BYTES) {
            char *text = query->servers[query->server_count++].text;
            memcpy(text, servers, bytes);
            text[bytes] = '\0';
        }
        servers += bytes + (servers[bytes] == ',' ? 1 : 0);
    }
    return query->server_count > 0;
}

static evener_dns_query *start(evener_dns_client *client, evener_loop *loop, const evener_dns_question *question,
                               evener_dns_answer_fn fn, void *arg)
{
    (void)client;
    struct evener_dns_query *query = calloc(1, sizeof *query);
    if (query == NULL || !split_servers(query, question->servers)) {
        free(query);
        return NULL;
    }
    query->loop = loop;
    query->type = question->type;
    query->fn = fn;
    query->arg = arg;
    query->timeout_ms = question->timeout_ms;
    query->tries_max = question->tries * query->server_count;
    query->constant = question->try_ms > 0;
    query->first_ms =
        question->try_ms > 0 ? question->try_ms : question->timeout_ms / ((UINT64_C(1) << question->tries) - 1);
    query->first_ms = query->first_ms > 0 ? query->first_ms : 1;
    query->use_tcp = question->use_tcp;
    if (question->rotate) {
        query->first = atomic_fetch_add_explicit(&rotation, 1, memory_order_relaxed) % query->server_count;
    }
    query->began_ns = evener_loop_now_ns(loop);
    query->try_end = (evener_timer)EVENER_TIMER_INIT(try_ended, query);
    query->deadline = (evener_timer)EVENER_TIMER_INIT(deadline_passed, query);
    query->deliver = (evener_task)EVENER_TASK_INIT(deliver, query);
    snprintf(query->name, sizeof query->name, "%s", question->name);
    evener_timer_start(loop, &query->deadline, query->timeout_ms * EVENER_NS_PER_MS);
    next_try(query);
    return query;
}

static void cancel(evener_dns_client *client, evener_dns_query *query)
{
    (void)client;
    if (query->posted) {
        query->cancelled = true; /* its task frees it */
    } else {
        query_free(query);
    }
}

evener_dns_client *evener_dns_ares_client(void)
{
    static const evener_dns_client_vtable vtable = {.start = start, .cancel = cancel};
    static evener_dns_client client = {.vtable = &vtable};
    return &client;
}
