/* Factory watch: polls a few files and reports changes.
 *
 * Polling also sees what inotify misses: network file systems, a symlink replaced anywhere on the path, a file that
 * appears in a folder that did not exist. The cost is one stat() per file and interval. Control thread only. */
#ifndef EVENER_LB_FACTORY_WATCH_H
#define EVENER_LB_FACTORY_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <evener/loop.h>
#include <evener/status.h>

typedef struct evener_factory_watch {
    evener_loop *loop;
    uint64_t interval_ns;
    void (*changed)(void *arg);
    void *arg;
    /* private */
    char *const *files; /* borrowed until they are replaced */
    size_t file_count;
    uint64_t read_signature; /* of the files when they were last read */
    uint64_t seen_signature; /* at the last poll; differs between polls while files are being written */
    bool young;              /* the files changed just before they were read: read them once more */
    bool unread;             /* they could not be read, for a reason that may pass: read them again */
    evener_timer timer;
} evener_factory_watch;

/* Start polling. Set the first four members before. */
void evener_factory_watch_start(evener_factory_watch *watch);
void evener_factory_watch_stop(evener_factory_watch *watch);

/* Note the state of the files. Call it before reading them: later changes are reported. */
void evener_factory_watch_mark(evener_factory_watch *watch);

/* Note how the reading after evener_factory_watch_mark() ended. RESOURCE_EXHAUSTED (file descriptors, memory) and
 * UNAVAILABLE (an error of the disk) pass without a change of the files: they are reported as changed again after each
 * interval. Every other failure is repaired by a change of the files. */
void evener_factory_watch_note_result(evener_factory_watch *watch, evener_status_code code);

/* Set the files to watch. They are borrowed until the next call or stop. */
void evener_factory_watch_set_files(evener_factory_watch *watch, char *const *files, size_t file_count);

#endif
