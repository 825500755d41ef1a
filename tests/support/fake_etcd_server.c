/* The HTTP/2 server of the scripted etcd: one thread, nghttp2. */
#include "tests/support/fake_etcd_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

#define CONNECTIONS_MAX 64

typedef struct connection {
    fake_server *server;
    int fd;
    nghttp2_session *session;
    fake_stream *streams;
} connection;

struct fake_server {
    fake_etcd *etcd;
    pthread_mutex_t *mutex;
    pthread_cond_t changed;
    pthread_t thread;
    int listener, wake;
    uint16_t port;
    connection *connections[CONNECTIONS_MAX];
    size_t count;
    bool stopping, wants_down, is_down;
    uint64_t hang_ups_wanted, hang_ups_done;
};

static void open_port(fake_server *server)
{
    const int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(server->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert(server->listener >= 0);
    setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server->listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(server->listener, 64) != 0) {
        perror("fake etcd: port");
        abort();
    }
    socklen_t bytes = sizeof address;
    getsockname(server->listener, (struct sockaddr *)&address, &bytes);
    server->port = ntohs(address.sin_port);
}

/* ---- streams ---- */

static ssize_t read_out(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t room, uint32_t *flags,
                        nghttp2_data_source *source, void *arg)
{
    (void)arg;
    fake_stream *stream = source->ptr;
    const size_t left = stream->out_used - stream->out_sent;
    if (left > 0) {
        const size_t bytes = left < room ? left : room;
        memcpy(buffer, stream->out + stream->out_sent, bytes);
        stream->out_sent += bytes;
        return (ssize_t)bytes;
    }
    if (!stream->ended) {
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    const nghttp2_nv trailers[] = {
        {(uint8_t *)"grpc-status", (uint8_t *)stream->status, 11, strlen(stream->status), NGHTTP2_NV_FLAG_NONE},
        {(uint8_t *)"grpc-message", (uint8_t *)stream->message, 12, strlen(stream->message), NGHTTP2_NV_FLAG_NONE}};
    nghttp2_submit_trailer(session, id, trailers, stream->message[0] != '\0' ? 2 : 1);
    return 0;
}

static void answer(fake_stream *stream)
{
    connection *c = stream->connection;
    if (stream->answered) {
        nghttp2_session_resume_data(c->session, stream->id);
        return;
    }
    stream->answered = true;
    const nghttp2_nv headers[] = {
        {(uint8_t *)":status", (uint8_t *)"200", 7, 3, NGHTTP2_NV_FLAG_NONE},
        {(uint8_t *)"content-type", (uint8_t *)"application/grpc", 12, 16, NGHTTP2_NV_FLAG_NONE}};
    const nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_out};
    nghttp2_submit_response(c->session, stream->id, headers, 2, &provider);
}

static void append(uint8_t **to, size_t *used, const void *bytes, size_t length)
{
    *to = realloc(*to, *used + length + 1);
    assert(*to != NULL);
    if (length > 0) {
        memcpy(*to + *used, bytes, length);
    }
    *used += length;
}

void fake_stream_send(fake_stream *stream, const void *bytes, size_t length)
{
    const uint8_t prefix[5] = {0, (uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8),
                               (uint8_t)length};
    if (stream->ended) {
        return;
    }
    if (stream->out_sent == stream->out_used) {
        stream->out_sent = stream->out_used = 0;
    }
    append(&stream->out, &stream->out_used, prefix, sizeof prefix);
    append(&stream->out, &stream->out_used, bytes, length);
    answer(stream);
}

void fake_stream_end(fake_stream *stream, int code, const char *message)
{
    if (!stream->ended) {
        snprintf(stream->status, sizeof stream->status, "%d", code);
        snprintf(stream->message, sizeof stream->message, "%s", message);
        stream->ended = true;
        answer(stream);
    }
}

static void free_stream(fake_stream *stream)
{
    free(stream->in);
    free(stream->out);
    free(stream->key);
    free(stream->end);
    free(stream);
}

/* ---- nghttp2's callbacks ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    connection *c = arg;
    fake_stream *stream = calloc(1, sizeof *stream);
    assert(stream != NULL);
    stream->connection = c;
    stream->id = frame->hd.stream_id;
    stream->next = c->streams;
    c->streams = stream;
    nghttp2_session_set_stream_user_data(session, stream->id, stream);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_bytes,
                     const uint8_t *value, size_t value_bytes, uint8_t flags, void *arg)
{
    (void)flags, (void)arg;
    fake_stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (stream == NULL) {
        return 0;
    }
    if (name_bytes == 5 && memcmp(name, ":path", 5) == 0) {
        snprintf(stream->path, sizeof stream->path, "%.*s", (int)value_bytes, (const char *)value);
    } else if (name_bytes == 5 && memcmp(name, "token", 5) == 0) {
        snprintf(stream->token, sizeof stream->token, "%.*s", (int)value_bytes, (const char *)value);
    } else if (name_bytes == 9 && memcmp(name, "hasleader", 9) == 0) {
        stream->has_leader = true;
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t length, void *arg)
{
    (void)flags;
    connection *c = arg;
    fake_stream *stream = nghttp2_session_get_stream_user_data(session, id);
    if (stream == NULL) {
        return 0;
    }
    append(&stream->in, &stream->in_used, data, length);
    for (;;) {
        const uint8_t *in = stream->in;
        if (stream->in_used < 5) {
            return 0;
        }
        const size_t bytes = (size_t)in[1] << 24 | (size_t)in[2] << 16 | (size_t)in[3] << 8 | in[4];
        if (stream->in_used < 5 + bytes) {
            return 0;
        }
        fake_etcd_handle(c->server->etcd, stream, in + 5, bytes);
        stream->in_used -= 5 + bytes;
        memmove(stream->in, stream->in + 5 + bytes, stream->in_used);
    }
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    (void)session, (void)code;
    connection *c = arg;
    for (fake_stream **at = &c->streams; *at != NULL; at = &(*at)->next) {
        if ((*at)->id == id) {
            fake_stream *stream = *at;
            *at = stream->next;
            free_stream(stream);
            break;
        }
    }
    return 0;
}

/* ---- connections ---- */

static void close_connection(fake_server *server, size_t index)
{
    connection *c = server->connections[index];
    nghttp2_session_del(c->session); /* calls no callback of streams */
    while (c->streams != NULL) {
        fake_stream *stream = c->streams;
        c->streams = stream->next;
        free_stream(stream);
    }
    close(c->fd);
    free(c);
    server->connections[index] = server->connections[--server->count];
}

static void accept_connection(fake_server *server)
{
    const int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    assert(server->count < CONNECTIONS_MAX);
    connection *c = calloc(1, sizeof *c);
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    c->server = server;
    c->fd = fd;
    nghttp2_session_server_new(&c->session, callbacks, c);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000}};
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 1);
    server->connections[server->count++] = c;
    fake_etcd_note(server->etcd, FAKE_ETCD_CONNECTIONS);
}

/* Write what there is to a socket that blocks for a moment at most. False: the connection is gone. */
static bool flush(connection *c)
{
    const uint8_t *data = NULL;
    ssize_t bytes = 0;
    while ((bytes = nghttp2_session_mem_send(c->session, &data)) > 0) {
        while (bytes > 0) {
            const ssize_t sent = send(c->fd, data, (size_t)bytes, MSG_NOSIGNAL);
            if (sent < 0 && errno == EAGAIN) {
                struct pollfd out = {.fd = c->fd, .events = POLLOUT};
                if (poll(&out, 1, 10000) <= 0) {
                    return false;
                }
            } else if (sent < 0) {
                return false;
            } else {
                data += sent;
                bytes -= sent;
            }
        }
    }
    return bytes == 0;
}

static bool receive(connection *c)
{
    uint8_t buffer[65536];
    const ssize_t bytes = recv(c->fd, buffer, sizeof buffer, 0);
    if (bytes < 0) {
        return errno == EAGAIN;
    }
    return bytes > 0 && nghttp2_session_mem_recv(c->session, buffer, (size_t)bytes) == bytes;
}

static void close_all(fake_server *server)
{
    while (server->count > 0) {
        close_connection(server, 0);
    }
}

static void *serve(void *arg)
{
    fake_server *server = arg;
    pthread_mutex_lock(server->mutex);
    while (!server->stopping) {
        struct pollfd polled[CONNECTIONS_MAX + 2];
        const size_t count = server->count;
        polled[0] = (struct pollfd){.fd = server->wake, .events = POLLIN};
        polled[1] = (struct pollfd){.fd = server->is_down ? -1 : server->listener, .events = POLLIN};
        for (size_t i = 0; i < count; i++) {
            polled[i + 2] = (struct pollfd){.fd = server->connections[i]->fd, .events = POLLIN};
        }
        pthread_mutex_unlock(server->mutex);
        (void)poll(polled, count + 2, -1);
        uint64_t woken = 0;
        if ((polled[0].revents & POLLIN) != 0) {
            (void)!read(server->wake, &woken, sizeof woken);
        }
        pthread_mutex_lock(server->mutex);
        if (server->hang_ups_done != server->hang_ups_wanted || server->wants_down != server->is_down) {
            close_all(server);
            if (server->wants_down && !server->is_down) {
                close(server->listener);
            } else if (!server->wants_down && server->is_down) {
                open_port(server);
            }
            server->is_down = server->wants_down;
            server->hang_ups_done = server->hang_ups_wanted;
            pthread_cond_broadcast(&server->changed);
            continue;
        }
        for (size_t i = count; i-- > 0;) { /* backwards, as closing moves the last one */
            connection *c = server->connections[i];
            if ((polled[i + 2].revents != 0 && !receive(c)) || !flush(c)) {
                close_connection(server, i);
            }
        }
        if (!server->is_down && (polled[1].revents & POLLIN) != 0) {
            accept_connection(server);
            if (server->count > 0 && !flush(server->connections[server->count - 1])) {
                close_connection(server, server->count - 1);
            }
        }
    }
    close_all(server);
    pthread_mutex_unlock(server->mutex);
    return NULL;
}

/* ---- life ---- */

fake_server *fake_server_start(fake_etcd *etcd, pthread_mutex_t *mutex)
{
    fake_server *server = calloc(1, sizeof *server);
    assert(server != NULL);
    server->etcd = etcd;
    server->mutex = mutex;
    pthread_cond_init(&server->changed, NULL);
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    open_port(server);
    const int failed = pthread_create(&server->thread, NULL, serve, server);
    assert(failed == 0 && server->wake >= 0);
    (void)failed;
    return server;
}

void fake_server_wake(fake_server *server)
{
    const uint64_t one = 1;
    (void)!write(server->wake, &one, sizeof one);
}

void fake_server_stop(fake_server *server)
{
    pthread_mutex_lock(server->mutex);
    server->stopping = true;
    pthread_mutex_unlock(server->mutex);
    fake_server_wake(server);
    pthread_join(server->thread, NULL);
    if (!server->is_down) {
        close(server->listener);
    }
    close(server->wake);
    pthread_cond_destroy(&server->changed);
    free(server);
}

uint16_t fake_server_port(const fake_server *server)
{
    return server->port;
}

static void change_and_wait(fake_server *server, bool is_down)
{
    pthread_mutex_lock(server->mutex);
    const uint64_t number = ++server->hang_ups_wanted;
    server->wants_down = is_down;
    fake_server_wake(server);
    while (server->hang_ups_done < number) {
        pthread_cond_wait(&server->changed, server->mutex);
    }
    pthread_mutex_unlock(server->mutex);
}

void fake_server_hang_up(fake_server *server)
{
    change_and_wait(server, server->wants_down);
}

void fake_server_set_down(fake_server *server, bool is_down)
{
    change_and_wait(server, is_down);
}

void fake_server_visit(fake_server *server, void (*visit)(void *arg, fake_stream *stream), void *arg)
{
    for (size_t i = 0; i < server->count; i++) {
        for (fake_stream *stream = server->connections[i]->streams; stream != NULL; stream = stream->next) {
            visit(arg, stream);
        }
    }
}
