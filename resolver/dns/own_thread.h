/* Own thread: the DNS client of runtimes whose loop is not libuv's. Its queries run on a runtime of its own, and their
 * answers are posted back. */
#ifndef EVENER_RESOLVER_DNS_OWN_THREAD_H
#define EVENER_RESOLVER_DNS_OWN_THREAD_H

#include "resolver/dns/query.h"

typedef struct evener_dns_own_thread evener_dns_own_thread;

/* Start the thread. NULL with a filled status: out of memory, or no thread or loop could be made. Any thread. */
evener_dns_own_thread *evener_dns_own_thread_create(evener_status *status);

/* End the thread and wait for it. Every query has been answered or cancelled. NULL is allowed. */
void evener_dns_own_thread_destroy(evener_dns_own_thread *self);

/* Return the client. Borrowed. */
evener_dns_client *evener_dns_own_thread_client(evener_dns_own_thread *self);

#endif
