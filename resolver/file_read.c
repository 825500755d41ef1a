#include "resolver/file_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lb/base/c_locale.h"
#include "lb/base/read_file.h"

#define SETTLED_S 3 /* coarser than the timestamps of any file system */

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
    return evener_status_set(status, code, "file %.200s: %s", path, strerror_l(error, evener_c_locale()));
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
    int error = evener_read_to_end(descriptor, (size_t)before.st_size, bytes_max, &buffer, &count);
    struct stat after;
    if (error == 0 && fstat(descriptor, &after) != 0) {
        error = errno;
        free(buffer);
    }
    if (error != 0) {
        return error == ENOMEM
                   ? evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                       "file %.200s: out of memory for %lld bytes", path, (long long)before.st_size)
               : error == EFBIG ? too_large(path, (long long)bytes_max, bytes_max, status)
                                : failed(path, error, status);
    }
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
    const int descriptor = evener_open_to_read(path);
    if (descriptor < 0) {
        return failed(path, errno, status);
    }
    const evener_status_code code = read_open(path, descriptor, bytes_max, text, bytes, state, torn, status);
    (void)close(descriptor);
    return code;
}
