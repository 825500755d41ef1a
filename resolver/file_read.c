#include "resolver/file_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "resolver/file_endpoints.h"

#define FIRST_BYTES 4096 /* of a file that does not say its size */
#define SETTLED_S 3      /* coarser than the timestamps of any file system */

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static evener_file_state state_of(const struct stat *about)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* file times use this clock, not the loop's */
    const time_t last = about->st_mtim.tv_sec > about->st_ctim.tv_sec ? about->st_mtim.tv_sec : about->st_ctim.tv_sec;
    return (evener_file_state){
        .device = about->st_dev,
        .inode = about->st_ino,
        .bytes = about->st_size,
        .modified = about->st_mtim,
        .changed = about->st_ctim,
        .settled = now.tv_sec - last >= SETTLED_S,
    };
}

evener_file_state evener_file_state_of(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 ? state_of(&about) : (evener_file_state){.bytes = 0};
}

static bool same_times(const evener_file_state *a, const evener_file_state *b)
{
    return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes &&
           same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}

bool evener_file_state_same(const evener_file_state *a, const evener_file_state *b)
{
    return a->settled && b->settled && same_times(a, b);
}

static evener_status_code failed(const char *path, int error, evener_status *status)
{
    const evener_status_code code = error == ENOENT || error == ENOTDIR ? EVENER_STATUS_NOT_FOUND
                                    : error == EACCES || error == EPERM ? EVENER_STATUS_PERMISSION_DENIED
                                                                        : EVENER_STATUS_UNAVAILABLE;
    return evener_status_set(status, code, "file %.200s: %s", path, strerror(error));
}

/* Read to the end, or to `room` bytes. Return 0 or an errno value. */
static int read_all(int descriptor, char *buffer, size_t room, size_t *bytes)
{
    while (*bytes < room) {
        const ssize_t got = read(descriptor, buffer + *bytes, room - *bytes);
        if (got == 0) {
            return 0;
        }
        if (got > 0) {
            *bytes += (size_t)got;
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

/* Read to the end of the file, whatever its size was said to be: files of procfs and FUSE have a size of 0. Return 0 or
 * an errno value: EFBIG beyond `bytes_max`. The buffer has room for one more byte. */
static int read_growing(int descriptor, size_t expected, size_t bytes_max, char **buffer, size_t *bytes)
{
    size_t room = (expected < bytes_max ? expected : bytes_max) + 1; /* one more, to see the end or growth */
    *buffer = NULL;
    *bytes = 0;
    for (;;) {
        char *more = realloc(*buffer, room + 1);
        if (more == NULL) {
            return ENOMEM;
        }
        *buffer = more;
        const int error = read_all(descriptor, *buffer, room, bytes);
        if (error != 0 || *bytes < room) {
            return error;
        }
        if (room > bytes_max) {
            return EFBIG;
        }
        room = room < FIRST_BYTES ? FIRST_BYTES : room * 2;
        room = room > bytes_max ? bytes_max + 1 : room;
    }
}

static evener_status_code too_large(const char *path, long long bytes, size_t bytes_max, evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                             "file %.200s: it has %s%lld bytes; at most %zu are read", path,
                             bytes > (long long)bytes_max ? "" : "more than ", bytes, bytes_max);
}

static evener_status_code read_open(const char *path, int descriptor, size_t bytes_max, char **text, size_t *bytes,
                                    evener_file_state *state, bool *torn, evener_status *status)
{
    struct stat before;
    if (fstat(descriptor, &before) != 0) {
        return failed(path, errno, status);
    }
    if (!S_ISREG(before.st_mode)) {
        return evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "file %.200s: it is no regular file", path);
    }
    if (before.st_size > 0 && (uintmax_t)before.st_size > bytes_max) {
        return too_large(path, (long long)before.st_size, bytes_max, status);
    }
    char *buffer;
    size_t count;
    int error = read_growing(descriptor, (size_t)before.st_size, bytes_max, &buffer, &count);
    struct stat after;
    if (error == 0 && fstat(descriptor, &after) != 0) {
        error = errno;
    }
    if (error != 0) {
        free(buffer);
        return error == ENOMEM
                   ? evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                       "file %.200s: out of memory for %lld bytes", path, (long long)before.st_size)
               : error == EFBIG ? too_large(path, (long long)bytes_max, bytes_max, status)
                                : failed(path, error, status);
    }
    buffer[count] = '\0';
    const evener_file_state old = state_of(&before);
    *state = state_of(&after);
    *torn = !same_times(&old, state) || (before.st_size != 0 && count != (size_t)before.st_size);
    *text = buffer;
    *bytes = count;
    return EVENER_STATUS_OK;
}

evener_status_code evener_file_read(const char *path, size_t bytes_max, char **text, size_t *bytes,
                                    evener_file_state *state, bool *torn, evener_status *status)
{
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (descriptor < 0) {
        return failed(path, errno, status);
    }
    const evener_status_code code = read_open(path, descriptor, bytes_max, text, bytes, state, torn, status);
    (void)close(descriptor);
    return code;
}
