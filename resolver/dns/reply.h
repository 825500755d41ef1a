/* Replies: SRV and TXT answers as they come from a server, which may be hostile. */
#ifndef EVENER_RESOLVER_DNS_REPLY_H
#define EVENER_RESOLVER_DNS_REPLY_H

#include <stddef.h>

#include "resolver/dns/query.h"

/* Reads a reply of SRV or TXT records into answer->records, ttl and nothing; a reply that is no good sets
 * answer->status. Records whose names DNS should not carry (control characters ...) are left out. Any thread. */
void evener_dns_reply_read(evener_dns_type type, const unsigned char *bytes, size_t count, evener_dns_answer *answer);

/* The shortest TTL among a reply's answers, the CNAMEs too; without answers that of its SOA record (RFC 2308 section 5:
 * the lesser of its TTL and its minimum). False if there is none, or the reply is malformed. Any thread. */
bool evener_dns_reply_ttl(const unsigned char *bytes, size_t count, uint32_t *ttl_s);

#endif
