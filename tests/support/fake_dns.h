/* A DNS server for tests: on loopback, UDP and TCP on one port that the system chooses, in its own thread. It
 * answers by script and can inject every fault in fake_dns_fault.
 *
 *     fake_dns *server = fake_dns_create();
 *     fake_dns_set_answer(server, 1, "orders.prod", FAKE_DNS_GOOD, 30, "@ A 10.0.0.1\n@ A 10.0.0.2");
 *     ... "dns://127.0.0.1:PORT/orders.prod" with fake_dns_port(server)
 *     fake_dns_destroy(server);
 *
 * A line is "OWNER TYPE DATA". OWNER "@" is the queried name. TYPE is A, AAAA, CNAME, SRV ("0 5 80 host"), TXT or
 * SOA (DATA: its minimum). A "+" before OWNER puts the record into the additional section; such lines come last. Names
 * without a script are NXDOMAIN. Any thread. */
#ifndef EVENER_TESTS_SUPPORT_FAKE_DNS_H
#define EVENER_TESTS_SUPPORT_FAKE_DNS_H

#include <stddef.h>
#include <stdint.h>

typedef enum fake_dns_fault {
    FAKE_DNS_GOOD,
    FAKE_DNS_SILENT,
    FAKE_DNS_FORMERR,
    FAKE_DNS_SERVFAIL,
    FAKE_DNS_NXDOMAIN,
    FAKE_DNS_NOTIMP,
    FAKE_DNS_REFUSED,
    FAKE_DNS_TRUNCATED,      /* truncated over UDP; complete over TCP */
    FAKE_DNS_TRUNCATED_DEAF, /* truncated over UDP; over TCP the connection is closed */
    FAKE_DNS_WRONG_ID,
    FAKE_DNS_WRONG_QUESTION,
    FAKE_DNS_SHORT,   /* the second half of the response is missing */
    FAKE_DNS_GARBAGE, /* random bytes after the header */
    FAKE_DNS_LOOP,    /* a compression pointer that points to itself */
    FAKE_DNS_NO_EDNS  /* queries with EDNS are dropped, as some middleboxes do */
} fake_dns_fault;

typedef struct fake_dns fake_dns;

fake_dns *fake_dns_create(void);

/* Start it on 127.0.0.1:53, for tests in a network namespace of their own. */
fake_dns *fake_dns_create_on_port_53(void);

void fake_dns_destroy(fake_dns *server);

uint16_t fake_dns_port(const fake_dns *server);

/* Set the answer to queries of a record type (1 A, 28 AAAA, 33 SRV, 16 TXT) for a name from now on; "*": for all names
 * that have none. */
void fake_dns_set_answer(fake_dns *server, unsigned type, const char *name, fake_dns_fault fault, uint32_t ttl_s,
                         const char *lines);

/* Return the number of queries: over UDP and TCP together; over TCP alone. */
size_t fake_dns_asked(fake_dns *server);
size_t fake_dns_asked_tcp(fake_dns *server);

/* Let answers over TCP take this long from now on. */
void fake_dns_set_tcp_delay_ms(fake_dns *server, unsigned delay_ms);

#endif
