/* Read file: whole regular files, read without blocking on a writer or a device. */
#ifndef EVENER_LB_BASE_READ_FILE_H
#define EVENER_LB_BASE_READ_FILE_H

#include <stddef.h>

#include <evener/status.h>

#include "lb/base/sibling.h"

/* Read the regular file `path` from its beginning to its end. The file is opened non-blocking, so that a FIFO without
 * a writer or a device cannot block the calling thread; anything but a regular file is refused. It is read to its end
 * whatever its size says: files of /proc have size 0, and a file may grow while it is read.
 *
 * On success *text holds its bytes and a NUL after them (malloc; the caller frees it), and *bytes their count, which
 * may be 0 and is at most `bytes_max`. On failure both are untouched. Errors, each message beginning with `path`:
 * NOT_FOUND (no such file), PERMISSION_DENIED, INVALID_ARGUMENT (a directory, FIFO, socket or device; more than
 * `bytes_max` bytes), RESOURCE_EXHAUSTED (memory, file descriptors), UNAVAILABLE (any other failure of the system).
 * Any thread; blocks only for the disk. */
EVENER_SIBLING evener_status_code evener_read_regular_file(const char *path, size_t bytes_max, char **text,
                                                           size_t *bytes, evener_status *status);

/* The two steps of evener_read_regular_file(), for callers with conditions and messages of their own. */

/* Open the file as above. Return the descriptor; -1: see errno. */
int evener_open_to_read(const char *path);

/* Read an open regular file as above. `expected` is its size according to fstat(). Return 0 or an errno value: EFBIG
 * for more than `bytes_max` bytes. On failure *text and *bytes are untouched. */
int evener_read_to_end(int descriptor, size_t expected, size_t bytes_max, char **text, size_t *bytes);

#endif
