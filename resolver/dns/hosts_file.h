/* hosts(5): the addresses of a name in the text of a hosts file. */
#ifndef EVENER_RESOLVER_DNS_HOSTS_FILE_H
#define EVENER_RESOLVER_DNS_HOSTS_FILE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct evener_dns_hosts evener_dns_hosts;

/* Index a hosts file. `text` is copied. NULL: out of memory. Any thread. */
evener_dns_hosts *evener_dns_hosts_create(const char *text);

/* Call `found(arg, address)` for each address of the name, in the order of the file; it returns whether to go on. The
 * comparison ignores case and a trailing dot. Return whether the name has a line. Any thread. */
bool evener_dns_hosts_find(const evener_dns_hosts *hosts, const char *name,
                           bool (*found)(void *arg, const char *address), void *arg);

/* NULL is allowed. */
void evener_dns_hosts_destroy(evener_dns_hosts *hosts);

#endif
