/* Reads a file of endpoints, and tells one state of it from another. */
#ifndef EVENER_RESOLVER_FILE_READ_H
#define EVENER_RESOLVER_FILE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <evener/status.h>

/* Which file it is and when it was changed last; all zero: none. */
typedef struct evener_file_state {
    dev_t device;
    ino_t inode;
    off_t bytes;
    struct timespec modified;
    struct timespec changed;
    /* The last change is so long ago that a further one would show in the times. They count in steps, of some
     * milliseconds on a disk and up to 2 s on some network and FAT file systems ("racy git"). */
    bool settled;
} evener_file_state;

/* The state of what the path leads to; all zero if it cannot be had. */
evener_file_state evener_file_state_of(const char *path);

/* Whether both are certainly the same content. */
bool evener_file_state_same(const evener_file_state *a, const evener_file_state *b);

/* Reads all of it, with a NUL behind. On success stores memory that free() ends, its length, and the state; `*torn` says
 * whether the file changed meanwhile, so that what was read may be a mixture. Errors: NOT_FOUND, PERMISSION_DENIED,
 * UNAVAILABLE, and RESOURCE_EXHAUSTED for one that is too large; all name the file and the reason. */
evener_status_code evener_file_read(const char *path, char **text, size_t *bytes, evener_file_state *state, bool *torn,
                                    evener_status *status);

#endif
