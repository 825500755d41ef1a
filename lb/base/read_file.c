#include "lb/base/read_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb/base/c_locale.h"

#define FIRST_ROOM 4096

/* ---- the steps ---- */

int evener_open_to_read(const char *path)
{
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

/* Read until the end or until `room` is full. Return 0 or an errno value. */
static int fill(int descriptor, char *buffer, size_t room, size_t *used)
{
    while (*used < room) {
        const ssize_t got = read(descriptor, buffer + *used, room - *used);
        if (got == 0) {
            return 0;
        }
        if (got > 0) {
            *used += (size_t)got;
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

int evener_read_to_end(int descriptor, size_t expected, size_t bytes_max, char **text, size_t *bytes)
{
    /* One byte of room more than expected, to see the end without growing; and one for the NUL. */
    size_t room = expected == 0 ? FIRST_ROOM : (expected < bytes_max ? expected : bytes_max) + 1;
    size_t used = 0;
    char *buffer = NULL;
    int error = 0;
    do {
        char *grown = realloc(buffer, room + 1);
        if (grown == NULL) {
            error = ENOMEM;
            break;
        }
        buffer = grown;
        error = fill(descriptor, buffer, room, &used);
        if (error != 0 || used < room) {
            break;
        }
        room = room < bytes_max / 2 ? room * 2 : bytes_max + 1;
    } while (used <= bytes_max);
    error = error == 0 && used > bytes_max ? EFBIG : error;
    if (error != 0) {
        free(buffer);
        return error;
    }
    buffer[used] = '\0';
    *text = buffer;
    *bytes = used;
    return 0;
}

/* ---- with messages ---- */

static evener_status_code failed(const char *path, int error, evener_status *status)
{
    evener_status_code code = EVENER_STATUS_UNAVAILABLE;
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        code = EVENER_STATUS_NOT_FOUND;
        break;
    case EACCES:
    case EPERM:
        code = EVENER_STATUS_PERMISSION_DENIED;
        break;
    case ENXIO: /* a socket in the file system, a device without a driver */
    case EISDIR:
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: it is no regular file", path);
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        code = EVENER_STATUS_RESOURCE_EXHAUSTED;
        break;
    default:
        break;
    }
    return evener_status_set(status, code, "%s: cannot be read: %s", path, strerror_l(error, evener_c_locale()));
}

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode) ? "a directory" : S_ISFIFO(mode) ? "a FIFO" : S_ISSOCK(mode) ? "a socket" : "a device";
}

static evener_status_code too_large(const char *path, size_t bytes_max, evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: larger than %zu bytes", path, bytes_max);
}

static evener_status_code read_open(int descriptor, const char *path, size_t bytes_max, char **text, size_t *bytes,
                                    evener_status *status)
{
    struct stat about;
    if (fstat(descriptor, &about) != 0) {
        return failed(path, errno, status);
    }
    if (!S_ISREG(about.st_mode)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: it is %s; a regular file is needed", path,
                                 kind_of(about.st_mode));
    }
    if ((uintmax_t)about.st_size > bytes_max) {
        return too_large(path, bytes_max, status);
    }
    const int error = evener_read_to_end(descriptor, (size_t)about.st_size, bytes_max, text, bytes);
    return error == 0       ? evener_status_clear(status)
           : error == EFBIG ? too_large(path, bytes_max, status)
                            : failed(path, error, status);
}

evener_status_code evener_read_regular_file(const char *path, size_t bytes_max, char **text, size_t *bytes,
                                            evener_status *status)
{
    const int descriptor = evener_open_to_read(path);
    if (descriptor < 0) {
        return failed(path, errno, status);
    }
    const evener_status_code code = read_open(descriptor, path, bytes_max, text, bytes, status);
    (void)close(descriptor);
    return code;
}
