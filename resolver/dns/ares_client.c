/* Queries by c-ares 1.18, driven by the control loop: c-ares says which sockets it waits for, uv_poll watches them, and
 * a timer of the loop follows ares_timeout().
 *
 * Every query has an ares_channel of its own. It costs some 0.1 ms, and buys what one channel for all cannot give with
 * this version: a single query can be cancelled, resolv.conf and the hosts file are followed as they change, and each
 * query leaves from a source port of its own (RFC 5452). */
#include "resolver/dns/query.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <uv.h>

#include "resolver/dns/ares_compat.h"
#include "resolver/dns/reply.h"

#define EDNS_BYTES 1232 /* of a UDP answer: fits any path (DNS flag day 2020) */
#define ANY_PORT 53     /* for a look at the routing table; nothing is sent */

/* One socket of c-ares'. */
struct watched {
    uv_poll_t handle;
    struct evener_dns_query *query; /* NULL: closing */
    ares_socket_t fd;
    struct watched *next;
};

struct evener_dns_query {
    evener_loop *loop;
    evener_dns_type type;
    char *name;
    uint64_t timeout_ms;
    uint32_t tries;
    evener_dns_answer_fn fn;
    void *arg;
    ares_channel channel; /* NULL: not open */
    struct watched *sockets;
    evener_timer retry;    /* when c-ares wants to look at its timeouts */
    evener_timer deadline; /* of all tries together */
    evener_task deliver;
    bool networked; /* a server was asked; else it is the hosts file's answer */
    bool ended;     /* `answer` is final */
    bool posted;    /* `deliver` will run */
    bool cancelled;
    char servers[96]; /* for people */
    evener_dns_answer answer;
};

static void set_retry_timer(struct evener_dns_query *query);

/* ---- the end of a query ---- */

static void query_free(struct evener_dns_query *query)
{
    evener_timer_stop(query->loop, &query->retry);
    evener_timer_stop(query->loop, &query->deadline);
    query->ended = true; /* ares_destroy() reports what is under way */
    if (query->channel != NULL) {
        ares_destroy(query->channel); /* closes the sockets, by socket_state() */
    }
    evener_dns_answer_clear(&query->answer);
    free(query->name);
    free(query);
}

static void deliver(void *arg)
{
    struct evener_dns_query *query = arg;
    evener_dns_answer answer = query->answer;
    const evener_dns_answer_fn fn = query->cancelled ? NULL : query->fn;
    void *fn_arg = query->arg;
    query->answer.records = NULL;
    query->answer.record_count = 0;
    query_free(query);
    if (fn != NULL) {
        fn(fn_arg, &answer);
    }
    evener_dns_answer_clear(&answer);
}

/* The answer is complete. It is delivered later: this runs inside of c-ares, or of start(). */
static void end(struct evener_dns_query *query)
{
    evener_dns_answer *answer = &query->answer;
    query->ended = true;
    (void)snprintf(answer->source, sizeof answer->source,
                   query->networked         ? "dns %.96s"
                   : query->channel != NULL ? "hosts file"
                                            : "localhost",
                   query->servers);
    if (answer->status.code != EVENER_STATUS_OK && query->networked) {
        const bool several = strchr(query->servers, ',') != NULL;
        (void)evener_status_set(&answer->status, answer->status.code, "%.300s (server%s %s)", answer->status.message,
                                several ? "s" : "", query->servers);
    }
    if (!query->posted) {
        query->posted = true;
        (void)evener_loop_post(query->loop, &query->deliver);
    }
}

static void fail(struct evener_dns_query *query, const char *reason)
{
    (void)evener_status_set(&query->answer.status, EVENER_STATUS_UNAVAILABLE, "%s", reason);
    end(query);
}

static void time_out(struct evener_dns_query *query)
{
    char reason[80];
    (void)snprintf(reason, sizeof reason, "%s: timed out after %g s, %u tries", evener_dns_type_name(query->type),
                   (double)query->timeout_ms / 1000.0, query->tries);
    fail(query, reason);
}

/* What c-ares says in place of records. Returns whether there are some. */
static bool has_records(struct evener_dns_query *query, int result)
{
    char reason[80];
    switch (result) {
    case ARES_SUCCESS:
        return true;
    case ARES_ENOTFOUND:
        query->answer.nothing = "NXDOMAIN";
        end(query);
        return false;
    case ARES_ENODATA:
        query->answer.nothing = "NODATA";
        end(query);
        return false;
    case ARES_ETIMEOUT:
        time_out(query);
        return false;
    case ARES_ESERVFAIL:
        fail(query, "SERVFAIL");
        return false;
    case ARES_EREFUSED:
        fail(query, "REFUSED");
        return false;
    case ARES_ENOTIMP:
        fail(query, "NOTIMP");
        return false;
    case ARES_EFORMERR:
        fail(query, "FORMERR");
        return false;
    case ARES_EBADRESP:
        fail(query, "a malformed answer");
        return false;
    case ARES_ECONNREFUSED:
        fail(query, strchr(query->servers, ',') != NULL
                        ? "no server could be reached, or each one said SERVFAIL, REFUSED or NOTIMP"
                        : "the server cannot be reached");
        return false;
    default:
        (void)snprintf(reason, sizeof reason, "%.70s", ares_strerror(result));
        fail(query, reason);
        return false;
    }
}

/* ---- answers ---- */

/* Whether there is a route (RFC 6724 rule 1): connecting a datagram socket asks the kernel and sends nothing. */
static bool is_reachable(int family, const struct sockaddr *address, socklen_t bytes)
{
    struct sockaddr_storage with_port = {0};
    memcpy(&with_port, address, bytes < sizeof with_port ? bytes : sizeof with_port);
    if (family == AF_INET) {
        ((struct sockaddr_in *)&with_port)->sin_port = htons(ANY_PORT);
    } else {
        ((struct sockaddr_in6 *)&with_port)->sin6_port = htons(ANY_PORT);
    }
    const int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    const bool reachable = connect(fd, (const struct sockaddr *)&with_port, bytes) == 0;
    (void)close(fd);
    return reachable;
}

static void note_ttl(evener_dns_answer *answer, int ttl)
{
    const uint32_t ttl_s = ttl > 0 ? (uint32_t)ttl : 0;
    if (!answer->ttl_known || ttl_s < answer->ttl_s) {
        answer->ttl_s = ttl_s;
    }
    answer->ttl_known = true;
}

static bool add_address(evener_dns_answer *answer, const struct ares_addrinfo_node *node)
{
    char text[INET6_ADDRSTRLEN];
    const void *bytes = node->ai_family == AF_INET
                            ? (const void *)&((const struct sockaddr_in *)(const void *)node->ai_addr)->sin_addr
                            : (const void *)&((const struct sockaddr_in6 *)(const void *)node->ai_addr)->sin6_addr;
    evener_dns_record *record;
    if (inet_ntop(node->ai_family, bytes, text, sizeof text) == NULL) {
        return true;
    }
    if (answer->record_count == 0) {
        answer->reachable = is_reachable(node->ai_family, node->ai_addr, node->ai_addrlen);
    }
    return evener_dns_answer_add(answer, text, &record);
}

static void addresses_came(void *arg, int result, int timeouts, struct ares_addrinfo *info)
{
    (void)timeouts;
    struct evener_dns_query *query = arg;
    const int family = query->type == EVENER_DNS_A ? AF_INET : AF_INET6;
    bool added = true;
    if (!query->ended && has_records(query, result) && info != NULL) {
        for (const struct ares_addrinfo_node *node = info->nodes; node != NULL && added; node = node->ai_next) {
            if (node->ai_family == family) {
                added = add_address(&query->answer, node);
                if (query->networked) {
                    note_ttl(&query->answer, node->ai_ttl);
                }
            }
        }
        for (const struct ares_addrinfo_cname *cname = info->cnames; cname != NULL; cname = cname->next) {
            if (query->networked && query->answer.record_count > 0) {
                note_ttl(&query->answer, cname->ttl);
            }
        }
        if (!added) {
            fail(query, "out of memory");
        } else {
            query->answer.nothing = query->answer.record_count == 0 ? "NODATA" : NULL;
            end(query);
        }
    }
    ares_freeaddrinfo(info);
}

static void reply_came(void *arg, int result, int timeouts, unsigned char *bytes, int count)
{
    (void)timeouts;
    struct evener_dns_query *query = arg;
    if (query->ended) {
        return;
    }
    if (bytes != NULL && count > 0 && (result == ARES_ENOTFOUND || result == ARES_ENODATA)) {
        query->answer.ttl_known = evener_dns_reply_ttl(bytes, (size_t)count, &query->answer.ttl_s);
    }
    if (has_records(query, result)) {
        evener_dns_reply_read(query->type, bytes, count > 0 ? (size_t)count : 0, &query->answer);
        end(query);
    }
}

/* ---- sockets and time ---- */

static void readable(uv_poll_t *handle, int error, int events)
{
    struct watched *watched = handle->data;
    struct evener_dns_query *query = watched->query;
    if (query == NULL) {
        return;
    }
    const bool read = error != 0 || (events & UV_READABLE) != 0;
    const bool write = error != 0 || (events & UV_WRITABLE) != 0;
    ares_process_fd(query->channel, read ? watched->fd : ARES_SOCKET_BAD, write ? watched->fd : ARES_SOCKET_BAD);
    set_retry_timer(query);
}

static void closed(uv_handle_t *handle)
{
    free(handle->data);
}

static struct watched *watch(struct evener_dns_query *query, ares_socket_t fd)
{
    struct watched *watched = calloc(1, sizeof *watched);
    if (watched == NULL) {
        return NULL; /* the query runs into its timeout */
    }
    if (uv_poll_init(evener_loop_uv(query->loop), &watched->handle, fd) != 0) {
        free(watched);
        return NULL;
    }
    watched->handle.data = watched;
    watched->query = query;
    watched->fd = fd;
    watched->next = query->sockets;
    query->sockets = watched;
    return watched;
}

/* c-ares opens, wants and closes (neither readable nor writable) a socket. */
static void socket_state(void *arg, ares_socket_t fd, int want_read, int want_write)
{
    struct evener_dns_query *query = arg;
    struct watched **link = &query->sockets;
    while (*link != NULL && (*link)->fd != fd) {
        link = &(*link)->next;
    }
    struct watched *watched = *link;
    query->networked = true;
    if (!want_read && !want_write) {
        if (watched != NULL) {
            *link = watched->next;
            watched->query = NULL;
            uv_close((uv_handle_t *)&watched->handle, closed);
        }
        return;
    }
    if (watched == NULL) {
        watched = watch(query, fd);
    }
    if (watched != NULL) {
        (void)uv_poll_start(&watched->handle, (want_read ? UV_READABLE : 0) | (want_write ? UV_WRITABLE : 0), readable);
    }
}

static void retry(void *arg)
{
    struct evener_dns_query *query = arg;
    ares_process_fd(query->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_retry_timer(query);
}

static void set_retry_timer(struct evener_dns_query *query)
{
    struct timeval left;
    if (query->ended || ares_timeout(query->channel, NULL, &left) == NULL) {
        evener_timer_stop(query->loop, &query->retry);
        return;
    }
    /* One microsecond more than c-ares says: it counts in those, and looks at its own clock. */
    const uint64_t left_us = (uint64_t)left.tv_sec * 1000000 + (uint64_t)left.tv_usec + 1;
    evener_timer_start(query->loop, &query->retry, left_us * EVENER_NS_PER_US);
}

static void deadline_passed(void *arg)
{
    struct evener_dns_query *query = arg;
    if (!query->ended) {
        time_out(query);
    }
}

/* ---- the beginning ---- */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void library_init(void)
{
    (void)ares_library_init(ARES_LIB_INIT_ALL);
}

/* c-ares doubles the time of a try with each round over the servers: n rounds take (2^n - 1) times the first. */
static int first_try_ms(const evener_dns_question *question, size_t server_count)
{
    const uint64_t shares = ((UINT64_C(1) << question->tries) - 1) * (server_count > 0 ? server_count : 1);
    const uint64_t first_ms = question->timeout_ms / shares;
    return first_ms > 0 ? (int)first_ms : 1;
}

/* NOCHECKRESP: SERVFAIL, REFUSED and NOTIMP are told as such. Without it c-ares goes on to the next server, which is
 * wanted as soon as there is one, and says "connection refused" when all have said so. */
static int open_channel(struct evener_dns_query *query, const evener_dns_question *question, size_t server_count)
{
    char lookups[] = "b"; /* DNS alone */
    struct ares_options options = {
        .flags = ARES_FLAG_EDNS | (question->direct ? ARES_FLAG_NOSEARCH : 0) |
                 (server_count == 1 ? ARES_FLAG_NOCHECKRESP : 0),
        .timeout = first_try_ms(question, server_count),
        .tries = (int)question->tries,
        .ednspsz = EDNS_BYTES,
        .lookups = lookups,
        .sock_state_cb = socket_state,
        .sock_state_cb_data = query,
    };
    const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB |
                     (question->direct ? ARES_OPT_LOOKUPS : 0);
    int result = ares_init_options(&query->channel, &options, mask);
    if (result != ARES_SUCCESS) {
        query->channel = NULL;
        return result;
    }
    if (question->servers[0] != '\0') {
        result = ares_set_servers_ports_csv(query->channel, question->servers);
    }
    return result;
}

/* The number of the system's servers is known when a channel is open, and decides how long a try may take. */
static int open_for_servers(struct evener_dns_query *query, const evener_dns_question *question)
{
    int result = open_channel(query, question, 1);
    const size_t servers =
        result == ARES_SUCCESS ? evener_ares_servers(query->channel, query->servers, sizeof query->servers) : 1;
    if (servers > 1) {
        ares_destroy(query->channel);
        result = open_channel(query, question, servers);
    }
    return result;
}

static void ask(struct evener_dns_query *query)
{
    if (query->type == EVENER_DNS_A || query->type == EVENER_DNS_AAAA) {
        const struct ares_addrinfo_hints hints = {
            .ai_family = query->type == EVENER_DNS_A ? AF_INET : AF_INET6,
            .ai_socktype = SOCK_STREAM,
        };
        ares_getaddrinfo(query->channel, query->name, NULL, &hints, addresses_came, query);
    } else {
        evener_ares_search(query->channel, query->name, query->type == EVENER_DNS_SRV ? ns_t_srv : ns_t_txt, EDNS_BYTES,
                           reply_came, query);
    }
}

/* "localhost" is this machine, whatever a file or a server says (RFC 6761 section 6.3). c-ares 1.18 would say so
 * too, and lose ten bytes each time. */
static bool is_localhost(const char *name)
{
    static const char localhost[] = "localhost";
    size_t bytes = strlen(name);
    bytes -= bytes > 0 && name[bytes - 1] == '.' ? 1 : 0;
    const size_t own = sizeof localhost - 1;
    return bytes >= own && strncasecmp(name + bytes - own, localhost, own) == 0 &&
           (bytes == own || name[bytes - own - 1] == '.');
}

static void answer_localhost(struct evener_dns_query *query)
{
    const struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    evener_dns_record *record;
    bool added = true;
    if (query->type == EVENER_DNS_A) {
        query->answer.reachable = is_reachable(AF_INET, (const struct sockaddr *)&v4, sizeof v4);
        added = evener_dns_answer_add(&query->answer, "127.0.0.1", &record);
    } else if (query->type == EVENER_DNS_AAAA && is_reachable(AF_INET6, (const struct sockaddr *)&v6, sizeof v6)) {
        query->answer.reachable = true;
        added = evener_dns_answer_add(&query->answer, "::1", &record);
    }
    query->answer.nothing = query->answer.record_count == 0 ? "NODATA" : NULL;
    if (added) {
        end(query);
    } else {
        fail(query, "out of memory");
    }
}

static evener_dns_query *start(evener_dns_client *client, evener_loop *loop, const evener_dns_question *question,
                               evener_dns_answer_fn fn, void *arg)
{
    (void)client;
    (void)pthread_once(&library_once, library_init);
    struct evener_dns_query *query = calloc(1, sizeof *query);
    if (query == NULL || (query->name = strdup(question->name)) == NULL) {
        free(query);
        return NULL;
    }
    query->loop = loop;
    query->type = question->type;
    query->timeout_ms = question->timeout_ms;
    query->tries = question->tries;
    query->fn = fn;
    query->arg = arg;
    query->retry = (evener_timer)EVENER_TIMER_INIT(retry, query);
    query->deadline = (evener_timer)EVENER_TIMER_INIT(deadline_passed, query);
    query->deliver = (evener_task)EVENER_TASK_INIT(deliver, query);
    if (is_localhost(query->name)) {
        answer_localhost(query);
        return query;
    }
    if (open_for_servers(query, question) != ARES_SUCCESS) {
        fail(query, "c-ares could not be set up: out of memory, or no /etc/resolv.conf that can be read");
        return query;
    }
    evener_timer_start(loop, &query->deadline, question->timeout_ms * EVENER_NS_PER_MS);
    ask(query);
    set_retry_timer(query);
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
