/* Replies: parsers of DNS messages from servers, which may be hostile. */
#ifndef EVENER_RESOLVER_DNS_REPLY_H
#define EVENER_RESOLVER_DNS_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "resolver/dns/query.h"

/* Parse a reply into answer->records, glue (SRV), ttl and nothing. A malformed reply sets answer->status.
 * Records with invalid names (control characters ...) are dropped. Any thread. */
void evener_dns_reply_read(evener_dns_type type, const unsigned char *bytes, size_t count, evener_dns_answer *answer);

/* Find the shortest TTL of the reply's answers, CNAMEs included; without answers that of the SOA record (RFC 2308
 * section 5: the lesser of its TTL and its minimum). False if there is none, or the reply is malformed. Any thread. */
bool evener_dns_reply_ttl(const unsigned char *bytes, size_t count, uint32_t *ttl_s);

#endif
