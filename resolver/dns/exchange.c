#include "resolver/dns/exchange.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include "resolver/dns/ares_compat.h"
#include "resolver/dns/reply.h"

#define EDNS_BYTES 1232        /* of a UDP answer: fits any path (DNS flag day 2020) */
#define ARES_TIMEOUT_MS 600000 /* never reached: the caller closes the exchange */
#define HEADER_BYTES 12        /* RFC 1035 section 4.1.1 */
#define TRUNCATED_BIT 0x02u    /* TC, in the third byte */
#define ARES_KNOWS_ZONES (ARES_VERSION >= 0x011800)

/* One socket of the channel. */
struct watched {
    uv_poll_t handle;
    evener_dns_exchange *exchange; /* NULL: closing */
    ares_socket_t fd;
    struct watched *next;
};

struct evener_dns_exchange {
    evener_loop *loop;
    evener_dns_type type;
    bool tcp;
    uint32_t zone; /* of a link-local server: the interface's index; 0: none */
    ares_channel channel;
    struct watched *sockets;
    evener_timer report; /* calls `ended` outside of c-ares */
    bool done;           /* `outcome` to `answer` are final; also set while the channel is destroyed */
    evener_dns_outcome outcome;
    const char *reason;
    evener_dns_answer answer;
    void (*ended)(void *arg, evener_dns_exchange *exchange, evener_dns_outcome outcome, const char *reason,
                  evener_dns_answer *answer);
    void *arg;
};

/* ---- the result ---- */

static void finish(evener_dns_exchange *exchange, evener_dns_outcome outcome, const char *reason)
{
    exchange->done = true;
    exchange->outcome = outcome;
    exchange->reason = reason;
    evener_timer_start(exchange->loop, &exchange->report, 0); /* this runs inside c-ares */
}

static void report(void *arg)
{
    evener_dns_exchange *exchange = arg;
    exchange->ended(exchange->arg, exchange, exchange->outcome, exchange->reason, &exchange->answer);
}

static void reply_came(void *arg, int result, int timeouts, unsigned char *bytes, int count)
{
    evener_dns_exchange *exchange = arg;
    evener_dns_answer *answer = &exchange->answer;
    const size_t length = bytes != NULL && count > 0 ? (size_t)count : 0;
    (void)timeouts;
    if (exchange->done) {
        return;
    }
    if (!exchange->tcp && length >= HEADER_BYTES && (bytes[2] & TRUNCATED_BIT) != 0) {
        finish(exchange, EVENER_DNS_TRUNCATED, "the answer is truncated");
        return;
    }
    switch (result) {
    case ARES_SUCCESS:
        evener_dns_reply_read(exchange->type, bytes, length, answer);
        if (answer->status.code == EVENER_STATUS_OK) {
            finish(exchange, EVENER_DNS_ANSWERED, "");
        } else {
            finish(exchange, EVENER_DNS_FAILED, answer->status.message);
        }
        return;
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
        answer->nothing = result == ARES_ENOTFOUND ? "NXDOMAIN" : "NODATA";
        answer->ttl_known = length > 0 && evener_dns_reply_ttl(bytes, length, &answer->ttl_s);
        finish(exchange, EVENER_DNS_ANSWERED, "");
        return;
    case ARES_ESERVFAIL:
        finish(exchange, EVENER_DNS_SERVER_ERROR, "SERVFAIL");
        return;
    case ARES_EREFUSED:
        finish(exchange, EVENER_DNS_SERVER_ERROR, "REFUSED");
        return;
    case ARES_ENOTIMP:
        finish(exchange, EVENER_DNS_NOT_UNDERSTOOD, "NOTIMP");
        return;
    case ARES_EFORMERR:
        finish(exchange, EVENER_DNS_NOT_UNDERSTOOD, "FORMERR");
        return;
    case ARES_EBADRESP:
        finish(exchange, EVENER_DNS_FAILED, "a malformed answer");
        return;
    case ARES_ECONNREFUSED:
    case ARES_ETIMEOUT:
        finish(exchange, EVENER_DNS_UNREACHABLE, exchange->tcp ? "no answer over TCP" : "the server cannot be reached");
        return;
    default:
        finish(exchange, EVENER_DNS_FAILED, ares_strerror(result));
        return;
    }
}

/* ---- sockets ---- */

static void readable(uv_poll_t *handle, int error, int events)
{
    const struct watched *watched = handle->data;
    evener_dns_exchange *exchange = watched->exchange;
    if (exchange == NULL) {
        return;
    }
    const ares_socket_t fd = watched->fd; /* `watched` may be closed in between */
    const bool read = error != 0 || (events & UV_READABLE) != 0;
    const bool write = error != 0 || (events & UV_WRITABLE) != 0;
    ares_process_fd(exchange->channel, read ? fd : ARES_SOCKET_BAD, write ? fd : ARES_SOCKET_BAD);
}

static void closed(uv_handle_t *handle)
{
    free(handle->data);
}

static struct watched *watch(evener_dns_exchange *exchange, ares_socket_t fd)
{
    struct watched *watched = calloc(1, sizeof *watched);
    if (watched == NULL) {
        return NULL; /* the exchange runs into its caller's time limit */
    }
    if (uv_poll_init(evener_loop_uv(exchange->loop), &watched->handle, fd) != 0) {
        free(watched);
        return NULL;
    }
    watched->handle.data = watched;
    watched->exchange = exchange;
    watched->fd = fd;
    watched->next = exchange->sockets;
    exchange->sockets = watched;
    return watched;
}

/* Called by c-ares when it opens, uses and closes (neither readable nor writable) a socket. */
static void socket_state(void *arg, ares_socket_t fd, int want_read, int want_write)
{
    evener_dns_exchange *exchange = arg;
    struct watched **link = &exchange->sockets;
    while (*link != NULL && (*link)->fd != fd) {
        link = &(*link)->next;
    }
    struct watched *watched = *link;
    if (!want_read && !want_write) {
        if (watched != NULL) {
            *link = watched->next;
            watched->exchange = NULL;
            uv_close((uv_handle_t *)&watched->handle, closed);
        }
        return;
    }
    if (watched == NULL) {
        watched = watch(exchange, fd);
    }
    if (watched != NULL) {
        (void)uv_poll_start(&watched->handle, (want_read ? UV_READABLE : 0) | (want_write ? UV_WRITABLE : 0), readable);
    }
}

#if !ARES_KNOWS_ZONES

/* c-ares 1.18 drops the zone of a link-local server: it is put in where the socket is connected. */
static ares_socket_t zone_socket(int family, int type, int protocol, void *arg)
{
    (void)arg;
    return socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
}

static int zone_close(ares_socket_t fd, void *arg)
{
    (void)arg;
    return close(fd);
}

static int zone_connect(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t bytes, void *arg)
{
    const evener_dns_exchange *exchange = arg;
    struct sockaddr_in6 with_zone;
    if (address->sa_family != AF_INET6 || bytes < (ares_socklen_t)sizeof with_zone) {
        return connect(fd, address, bytes);
    }
    memcpy(&with_zone, address, sizeof with_zone);
    with_zone.sin6_scope_id = exchange->zone;
    return connect(fd, (const struct sockaddr *)&with_zone, sizeof with_zone);
}

static ares_ssize_t zone_receive(ares_socket_t fd, void *buffer, size_t bytes, int flags, struct sockaddr *from,
                                 ares_socklen_t *from_bytes, void *arg)
{
    (void)arg;
    return recvfrom(fd, buffer, bytes, flags, from, from_bytes);
}

static ares_ssize_t zone_send(ares_socket_t fd, const struct iovec *pieces, int count, void *arg)
{
    (void)arg;
    return writev(fd, pieces, count);
}

static const struct ares_socket_functions zone_functions = {
    zone_socket, zone_close, zone_connect, zone_receive, zone_send,
};

#endif

/* ---- start and end ---- */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void library_init(void)
{
    (void)ares_library_init(ARES_LIB_INIT_ALL);
}

/* Set the channel's only server. */
static int set_server(evener_dns_exchange *exchange, const char *server)
{
    char text[EVENER_DNS_IP_BYTES_MAX + 32];
    snprintf(text, sizeof text, "%s", server);
    char *zone = strchr(text, '%');
    if (zone != NULL) {
        const size_t bytes = strcspn(zone, "]");
        char name[IF_NAMESIZE + 16];
        snprintf(name, sizeof name, "%.*s", (int)bytes - 1, zone + 1);
        exchange->zone = if_nametoindex(name);
        if (exchange->zone == 0) {
            exchange->zone = (uint32_t)strtoul(name, NULL, 10);
        }
#if !ARES_KNOWS_ZONES
        memmove(zone, zone + bytes, strlen(zone + bytes) + 1);
        ares_set_socket_functions(exchange->channel, &zone_functions, exchange);
#endif
    }
    return ares_set_servers_ports_csv(exchange->channel, text);
}

/* NOCHECKRESP: SERVFAIL, REFUSED and NOTIMP are reported as such. IGNTC: a truncated answer is reported, so that TCP
 * gets its own time limit. With all other settings given, c-ares reads no files. */
static int open_channel(evener_dns_exchange *exchange, const evener_dns_exchange_args *args)
{
    char lookups[] = "b"; /* DNS only */
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_NOCHECKRESP | ARES_FLAG_IGNTC |
                 (args->edns ? ARES_FLAG_EDNS : 0) | (args->tcp ? ARES_FLAG_USEVC : 0),
        .timeout = ARES_TIMEOUT_MS,
        .tries = 1,
        .ndots = 1,
        .ednspsz = EDNS_BYTES,
        .lookups = lookups,
        .sock_state_cb = socket_state,
        .sock_state_cb_data = exchange,
    };
    const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_EDNSPSZ |
                     ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS | ARES_OPT_SERVERS | ARES_OPT_DOMAINS |
                     ARES_OPT_SORTLIST;
    const int result = ares_init_options(&exchange->channel, &options, mask);
    if (result != ARES_SUCCESS) {
        exchange->channel = NULL;
        return result;
    }
    return set_server(exchange, args->server);
}

evener_dns_exchange *evener_dns_exchange_start(const evener_dns_exchange_args *args)
{
    (void)pthread_once(&library_once, library_init);
    evener_dns_exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL) {
        return NULL;
    }
    exchange->loop = args->loop;
    exchange->type = args->type;
    exchange->tcp = args->tcp;
    exchange->ended = args->ended;
    exchange->arg = args->arg;
    exchange->report = (evener_timer)EVENER_TIMER_INIT(report, exchange);
    if (open_channel(exchange, args) != ARES_SUCCESS) {
        evener_dns_exchange_close(exchange);
        return NULL;
    }
    evener_ares_query(exchange->channel, args->name, (int)args->type, reply_came, exchange);
    return exchange;
}

void evener_dns_exchange_close(evener_dns_exchange *exchange)
{
    if (exchange == NULL) {
        return;
    }
    evener_timer_stop(exchange->loop, &exchange->report);
    exchange->done = true; /* ares_destroy() reports the query in flight */
    if (exchange->channel != NULL) {
        ares_destroy(exchange->channel); /* closes the sockets, by socket_state() */
    }
    evener_dns_answer_clear(&exchange->answer);
    free(exchange);
}
