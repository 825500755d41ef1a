/* The host names of a file: one resolver of the scheme `dns` for each, and what they have found. */
#ifndef EVENER_RESOLVER_FILE_HOSTS_H
#define EVENER_RESOLVER_FILE_HOSTS_H

#include <stdbool.h>

#include <evener/resolver.h>

#include "resolver/file_endpoints.h"

typedef struct evener_file_hosts evener_file_hosts;

/* `args` is the file resolver's own and is copied; what it points to lives on. `changed(arg)` runs when a name has
 * another answer; never from inside a function of this page but for evener_file_hosts_resolve_now(), which may bring a
 * resolver to push. NULL without memory. Control thread, as everything here. */
evener_file_hosts *evener_file_hosts_create(const evener_resolver_args *args, evener_task_fn changed, void *arg);

/* Starts a resolver for each new name of the entries and closes those of names that are gone. Not from inside a push.
 * On an error all is as it was before. Errors: those of the builder; UNIMPLEMENTED without a resolver for `dns`; they
 * name file and line. */
evener_status_code evener_file_hosts_follow(evener_file_hosts *hosts, const char *path,
                                            const evener_file_endpoints *endpoints, evener_status *status);

/* Whether a name has had no answer yet, neither addresses nor an error. */
bool evener_file_hosts_waiting(const evener_file_hosts *hosts);

/* The last good addresses of a name (owned by `hosts`, until it changes). */
const evener_address *const *evener_file_hosts_addresses(const evener_file_hosts *hosts, const char *name,
                                                         size_t *count);

/* The first name's error that has no addresses; NULL if there is none. */
const evener_status *evener_file_hosts_error(const evener_file_hosts *hosts);

/* The shortest time that an answer holds; 0: not known. */
uint64_t evener_file_hosts_ttl_ms(const evener_file_hosts *hosts);

/* Passes the hint on to each. */
void evener_file_hosts_resolve_now(evener_file_hosts *hosts);

/* Closes all. NULL is allowed. Not from inside a push. */
void evener_file_hosts_destroy(evener_file_hosts *hosts);

#endif
