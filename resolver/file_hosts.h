/* The host names of an endpoint file: one resolver of the scheme `dns` per name, and their results. */
#ifndef EVENER_RESOLVER_FILE_HOSTS_H
#define EVENER_RESOLVER_FILE_HOSTS_H

#include <stdbool.h>

#include <evener/resolver.h>

#include "resolver/file_endpoints.h"

typedef struct evener_file_hosts evener_file_hosts;

/* Create an empty set. `args` is copied; the memory it points to must outlive the set. `changed(arg)` runs when the
 * result of a name changes; never from inside a function of this header except evener_file_hosts_resolve_now(), which
 * may cause a push. NULL: out of memory. Control thread, as all functions here. */
evener_file_hosts *evener_file_hosts_create(const evener_resolver_args *args, evener_task_fn changed, void *arg);

/* Start a resolver for each new name of the entries and close the resolvers of removed names. Must not be called from
 * inside a push. On an error nothing changes. Errors: those of the builder; UNIMPLEMENTED without a resolver for `dns`;
 * the messages name file and line. */
evener_status_code evener_file_hosts_follow(evener_file_hosts *hosts, const char *path,
                                            const evener_file_endpoints *endpoints, evener_status *status);

/* Return whether a name has neither addresses nor an error yet. */
bool evener_file_hosts_waiting(const evener_file_hosts *hosts);

/* Return the last good addresses of a name (owned by `hosts`, valid until the next change). */
const evener_address *const *evener_file_hosts_addresses(const evener_file_hosts *hosts, const char *name,
                                                         size_t *count);

/* Return the error of the first name that has an error and no addresses; NULL: none. */
const evener_status *evener_file_hosts_error(const evener_file_hosts *hosts);

/* Return the shortest validity of a result in ms; 0: unknown. */
uint64_t evener_file_hosts_ttl_ms(const evener_file_hosts *hosts);

/* Pass the hint on to each resolver. */
void evener_file_hosts_resolve_now(evener_file_hosts *hosts);

/* Let each resolver retry now. */
void evener_file_hosts_reset_backoff(evener_file_hosts *hosts);

/* Close all resolvers and free the set. NULL is allowed. Must not be called from inside a push. */
void evener_file_hosts_destroy(evener_file_hosts *hosts);

#endif
