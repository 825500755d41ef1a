/* A non-blocking socket on the runtime's own libuv loop. evener has the timeout, the backoff and the states. */
#include "tcp_transport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

struct evener_connection {
    uv_poll_t watch;
    evener_connect_args args; /* state_changed and arg are used later */
    int fd;
    unsigned references; /* atomic: the loop's, and one for all picks */
    bool is_ready;
};

static bool tcp_ref(evener_connection *connection)
{
    return __atomic_fetch_add(&connection->references, 1, __ATOMIC_RELAXED) > 0; /* true: picks may use it */
}

static void tcp_unref(evener_connection *connection)
{
    if (__atomic_sub_fetch(&connection->references, 1, __ATOMIC_ACQ_REL) == 0) {
        close(connection->fd);
        free(connection);
    }
}

static void watch_closed(uv_handle_t *watch)
{
    tcp_unref(watch->data);
}

/* Writable: the attempt has ended. Once connected, a hang-up means that the server has gone. */
static void socket_changed(uv_poll_t *watch, int uv_error, int events)
{
    evener_connection *self = watch->data;
    evener_status status = {.code = EVENER_STATUS_OK};
    int error = uv_error < 0 ? -uv_error : 0;
    (void)events;
    uv_poll_stop(watch);
    (void)(error == 0 && getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}));
    if (self->is_ready) { /* the last call: evener disconnects, perhaps from inside */
        self->args.state_changed(self->args.arg, EVENER_IDLE, NULL);
    } else if (error != 0) {
        evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "tcp: %s", strerror(error));
        self->args.state_changed(self->args.arg, EVENER_TRANSIENT_FAILURE, &status);
    } else {
        self->is_ready = true;
        uv_poll_start(watch, UV_DISCONNECT, socket_changed);
        self->args.state_changed(self->args.arg, EVENER_READY, NULL);
    }
}

static evener_status_code tcp_connect(evener_transport *transport, const evener_connect_args *args,
                                      evener_connection **connection, evener_status *status)
{
    (void)transport;
    struct sockaddr_storage to;
    uint32_t bytes;
    evener_connection *self = calloc(1, sizeof *self);
    const evener_status_code code = evener_address_get_sockaddr(args->address, &to, &bytes, status);
    const int fd = code == EVENER_STATUS_OK ? socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
    if (self == NULL || fd < 0 || (connect(fd, (struct sockaddr *)&to, bytes) != 0 && errno != EINPROGRESS) ||
        uv_poll_init(evener_loop_uv(args->loop), &self->watch, fd) != 0) {
        free(self);
        (void)(fd >= 0 && close(fd));
        return code != EVENER_STATUS_OK ? code
                                        : evener_status_set(status, EVENER_STATUS_UNAVAILABLE, "tcp: cannot connect");
    }
    self->watch.data = self;
    self->args = *args;
    self->fd = fd;
    self->references = 1;
    uv_poll_start(&self->watch, UV_WRITABLE, socket_changed);
    *connection = self;
    return EVENER_STATUS_OK;
}

static void tcp_disconnect(evener_transport *transport, evener_connection *connection)
{
    (void)transport;
    uv_close((uv_handle_t *)&connection->watch, watch_closed); /* nothing is reported from here on */
}

int tcp_connection_socket(const evener_connection *connection)
{
    return connection->fd;
}

static const evener_transport_vtable vtable = {.size = sizeof vtable,
                                               .connect = tcp_connect,
                                               .disconnect = tcp_disconnect,
                                               .connection_ref = tcp_ref,
                                               .connection_unref = tcp_unref};

evener_transport tcp_transport = {.vtable = &vtable};
