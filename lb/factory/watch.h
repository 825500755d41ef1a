/* Factory watch: tells when one of a few files has changed, by looking at them from time to time.
 *
 * Looking sees what notifications miss: network file systems, a symlink swapped anywhere on the path, a file that
 * appears in a folder that was not there. Three stat() a second cost nothing. All on the control thread. */
#ifndef EVENER_LB_FACTORY_WATCH_H
#define EVENER_LB_FACTORY_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/loop.h>

typedef struct evener_factory_watch {
    evener_loop *loop;
    uint64_t interval_ns;
    void (*changed)(void *arg);
    void *arg;
    /* its own */
    char *const *files; /* borrowed until they are replaced */
    size_t file_count;
    uint64_t read_signature; /* of the files as they were last read */
    uint64_t seen_signature; /* as they were last seen; another: they are being written */
    bool young;              /* they had changed just before they were read: read once more to be sure */
    evener_timer timer;
} evener_factory_watch;

/* Begins with the first four members set. */
void evener_factory_watch_start(evener_factory_watch *watch);
void evener_factory_watch_stop(evener_factory_watch *watch);

/* To be called before the files are read: what changes from here on is told. */
void evener_factory_watch_mark(evener_factory_watch *watch);

/* Other files, or the same; borrowed until the next call or stop. */
void evener_factory_watch_set_files(evener_factory_watch *watch, char *const *files, size_t file_count);

#endif
