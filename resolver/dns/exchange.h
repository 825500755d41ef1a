/* Exchange: one question to one DNS server, once, through c-ares: no search list, no hosts file, no retries.
 *
 * Each exchange has an ares_channel with the one server. This costs some 20 us and gives what a shared channel cannot
 * give with c-ares 1.18: an exchange can be cancelled, and leaves from its own source port (RFC 5452). Control
 * thread. */
#ifndef EVENER_RESOLVER_DNS_EXCHANGE_H
#define EVENER_RESOLVER_DNS_EXCHANGE_H

#include <stdbool.h>

#include <evener/loop.h>

#include "resolver/dns/query.h"

typedef enum evener_dns_outcome {
    EVENER_DNS_ANSWERED,       /* the answer is valid */
    EVENER_DNS_TRUNCATED,      /* ask again over TCP */
    EVENER_DNS_SERVER_ERROR,   /* SERVFAIL or REFUSED, in `reason` */
    EVENER_DNS_NOT_UNDERSTOOD, /* NOTIMP or FORMERR, in `reason`: EDNS may be the cause */
    EVENER_DNS_UNREACHABLE,    /* no connection, or the server closed it */
    EVENER_DNS_FAILED          /* a malformed answer, out of memory ..., in `reason` */
} evener_dns_outcome;

typedef struct evener_dns_exchange evener_dns_exchange;

typedef struct evener_dns_exchange_args {
    evener_loop *loop;
    evener_dns_type type;
    const char *name;   /* absolute, with or without its last dot */
    const char *server; /* "10.0.0.2:53", "[fe80::1%eth0]:53" */
    bool tcp;
    bool edns;
    /* Called once, never from inside start() or of c-ares, unless the exchange is closed before. `answer` is valid if
     * ANSWERED; the callee may take over the records. `reason`: a static text or one that lives as long as the
     * exchange. Must close the exchange. */
    void (*ended)(void *arg, evener_dns_exchange *exchange, evener_dns_outcome outcome, const char *reason,
                  evener_dns_answer *answer);
    void *arg;
} evener_dns_exchange_args;

/* Send the question. The strings are borrowed for the call. There is no time limit: close the exchange. NULL: out of
 * memory, or no such server address. */
evener_dns_exchange *evener_dns_exchange_start(const evener_dns_exchange_args *args);

/* End and free the exchange. NULL is allowed. */
void evener_dns_exchange_close(evener_dns_exchange *exchange);

#endif
