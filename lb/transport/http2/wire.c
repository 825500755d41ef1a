#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lb/base/c_locale.h"
#include "lb/transport/http2/internal.h"
#include "lb/transport/http2/tls.h"

#define WHAT_BYTES 128

ssize_t evener_http2_wire_read(evener_connection *connection, void *to, size_t bytes, char what[128])
{
    if (connection->tls != NULL) {
        return evener_http2_tls_read(connection, to, bytes, what);
    }
    ssize_t got;
    do {
        got = recv(connection->fd, to, bytes, 0);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        return got;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 0;
    }
    if (got == 0) {
        snprintf(what, WHAT_BYTES, "the server closed the connection");
    } else {
        snprintf(what, WHAT_BYTES, "the connection was lost: %s", strerror_l(errno, evener_c_locale()));
    }
    return -1;
}

ssize_t evener_http2_wire_write(evener_connection *connection, const struct iovec *pieces, unsigned count,
                                char what[128])
{
    if (connection->fd < 0) { /* driven by a test: accept everything */
        size_t bytes = 0;
        for (unsigned i = 0; i < count; i++) {
            bytes += pieces[i].iov_len;
        }
        return (ssize_t)bytes;
    }
    if (connection->tls != NULL) {
        return evener_http2_tls_write(connection, pieces, count, what);
    }
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = count};
    ssize_t written;
    do {
        written = count == 1 ? send(connection->fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL)
                             : sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    } while (written < 0 && errno == EINTR);
    if (written >= 0) {
        return written;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return 0;
    }
    snprintf(what, WHAT_BYTES, "cannot write: %s", strerror_l(errno, evener_c_locale()));
    return -1;
}
