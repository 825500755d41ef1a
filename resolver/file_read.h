/* Read an endpoint file, and detect whether it has changed. */
#ifndef EVENER_RESOLVER_FILE_READ_H
#define EVENER_RESOLVER_FILE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <evener/status.h>

/* The identity and last modification of a file; all zero: no file. */
typedef struct evener_file_state {
    dev_t device;
    ino_t inode;
    off_t bytes;
    struct timespec modified;
    struct timespec changed;
    /* The last change is old enough that another change would alter the timestamps. Their granularity is some
     * milliseconds on a disk and up to 2 s on some network and FAT file systems ("racy git"). */
    bool settled;
} evener_file_state;

/* Return the state of the file at the path; all zero if it cannot be read. */
evener_file_state evener_file_state_of(const char *path);

/* Return whether both states certainly have the same content. */
bool evener_file_state_same(const evener_file_state *a, const evener_file_state *b);

/* Read the whole file, at most `bytes_max`, and append a NUL. On success store memory to be freed with free(), its
 * length, and the state; `*torn` says whether the file changed during the read, so that the content may be mixed.
 * Errors: NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE, RESOURCE_EXHAUSTED (file too large); all name the file and the
 * reason. */
evener_status_code evener_file_read(const char *path, size_t bytes_max, char **text, size_t *bytes,
                                    evener_file_state *state, bool *torn, evener_status *status);

#endif
