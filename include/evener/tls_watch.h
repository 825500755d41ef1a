/* TLS watch: credentials of a channel that follow PEM files.
 *
 *     evener_tls_files files = {.size = sizeof files, .root_certificates = "ca.pem"};
 *     evener_tls_files_read(&files, &credentials, &status);
 *     ... create the channel with them ...
 *     evener_tls_watch_start(channel, &files, &watch, &status);
 *     ...
 *     evener_tls_watch_stop(watch);
 *
 * Files that were replaced, all or one of them, are read, checked and put in force by evener_channel_set_credentials():
 * no call fails. What cannot be read, is no PEM, or is no pair (one file of two has been replaced) is refused; the last
 * good credentials stay in force, and a warning is logged, the same one again only after 1 minute, then 2, 4, ... up to
 * 1 hour. Where reading fails for a reason that may pass without a change of the files (no file descriptors, no
 * memory, an error of the disk), they are read again after each interval. Channels of a factory need no watch: the
 * factory has its own. */
#ifndef EVENER_TLS_WATCH_H
#define EVENER_TLS_WATCH_H

#include <stddef.h>
#include <stdint.h>

#include <evener/channel.h>
#include <evener/credentials.h>

EVENER_BEGIN_DECLS

/* Names of PEM files; NULL: none. A relative name is fixed to the working folder of the moment of the call. The
 * contents are those of evener_tls_options. A file has 1 MiB at most. */
typedef struct evener_tls_files {
    size_t size; /* sizeof(evener_tls_files) */
    const char *root_certificates;
    const char *certificate_chain;
    const char *private_key;
    uint64_t interval_ms; /* of looking at the files; 0: 1 s */
} evener_tls_files;

typedef struct evener_tls_watch evener_tls_watch;

typedef struct evener_tls_watch_stats {
    size_t size;                                  /* sizeof(evener_tls_watch_stats), set by the caller */
    uint64_t rotations;                           /* credentials that were put in force since the start */
    uint64_t refused;                             /* readings of changed files that were not put in force */
    char last_error[EVENER_STATUS_MESSAGE_BYTES]; /* "" if the files are in force */
} evener_tls_watch_stats;

/* Create credentials from the files as they are now. Errors: those of evener_credentials_create_tls(), NOT_FOUND,
 * PERMISSION_DENIED; the message names the file. Any thread; blocks for the disk only. */
EVENER_API evener_status_code evener_tls_files_read(const evener_tls_files *files, evener_credentials **credentials,
                                                    evener_status *status);

/* Watch the files for a channel, which must live until evener_tls_watch_stop(). What they hold now is put in force
 * first. On success store an owned handle. Errors: as evener_tls_files_read() and evener_channel_set_credentials(). Any
 * thread, but never while holding a lock that control-thread code takes. */
EVENER_API evener_status_code evener_tls_watch_start(evener_channel *channel, const evener_tls_files *files,
                                                     evener_tls_watch **watch, evener_status *status);

/* Read the files now, whether or not they have changed. Errors as evener_tls_watch_start(); the last good credentials
 * stay in force. Threads as there. */
EVENER_API evener_status_code evener_tls_watch_read_now(evener_tls_watch *watch, evener_status *status);

/* Take a snapshot of the watch's counters into *stats. Errors: INVALID_ARGUMENT (stats->size). Threads as evener_tls_watch_start(). */
EVENER_API evener_status_code evener_tls_watch_get_stats(evener_tls_watch *watch, evener_tls_watch_stats *stats,
                                                         evener_status *status);

/* Stop watching; the credentials in force stay. NULL is allowed. Threads as evener_tls_watch_start(). */
EVENER_API void evener_tls_watch_stop(evener_tls_watch *watch);

EVENER_END_DECLS

#endif
