/* One thread serves all connections with poll(). A stream has a position in its script, and continues whenever
 * something arrives that a step may have waited for. */
#include "tests/support/h2_script_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/h2_frames.h"

#define PREFACE_BYTES 24
#define WINDOW_DEFAULT 65535 /* RFC 9113, section 6.9.2 */
#define CONNECTIONS_MAX 64
#define READ_BYTES 65536
#define WAIT_S 20

typedef struct stream {
    uint32_t id;
    const h2_step *step;
    size_t data_sent; /* of an H2_DATA step under way */
    int64_t window;
    bool request_ended;
    bool reset;
} stream;

typedef struct connection {
    int fd; /* -1: a free place */
    bool preface_read;
    bool closing; /* once all is written; what comes meanwhile is dropped */
    bool closed;  /* for writing */
    bool aborted;
    h2_buffer in, out;
    int64_t window;
    int64_t initial_window;
    stream *streams;
    size_t stream_count, stream_capacity;
} connection;

struct h2_script_server {
    h2_script_server_options options;
    int fd;
    int wake_fd;
    uint16_t port;
    pthread_t thread;
    atomic_bool stop, released, hang_up;
    connection connections[CONNECTIONS_MAX]; /* the thread's */
    size_t script;                           /* likewise: the one that the next request gets */
    uint64_t played;                         /* likewise: in a row */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t counts[H2_COUNTS]; /* under mutex */
};

static void fail(const char *what)
{
    fprintf(stderr, "h2 script server: %s: %s\n", what, strerror(errno));
    abort();
}

static void count(h2_script_server *server, h2_count what)
{
    pthread_mutex_lock(&server->mutex);
    server->counts[what]++;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->mutex);
}

/* ---- scripts ---- */

/* False: the windows do not allow more now. */
static bool put_data(connection *c, stream *s, const h2_step *step)
{
    static const uint8_t zeros[H2_FRAME_BYTES_MAX];
    do {
        const size_t left = step->data_bytes - s->data_sent;
        size_t bytes = left < H2_FRAME_BYTES_MAX ? left : H2_FRAME_BYTES_MAX;
        const int64_t window = c->window < s->window ? c->window : s->window;
        if (bytes > 0 && window <= 0) {
            return false;
        }
        if (bytes > 0 && (int64_t)bytes > window) {
            bytes = (size_t)window;
        }
        const bool is_last = bytes == left;
        h2_put_frame(&c->out, H2_FRAME_DATA, is_last && step->end_stream ? H2_FLAG_END_STREAM : 0, s->id,
                     step->data == NULL ? zeros : (const uint8_t *)step->data + s->data_sent, bytes);
        c->window -= (int64_t)bytes;
        s->window -= (int64_t)bytes;
        s->data_sent += bytes;
    } while (s->data_sent < step->data_bytes);
    s->data_sent = 0;
    return true;
}

/* Play one step. False: it has to wait. */
static bool play_step(const h2_script_server *server, connection *c, stream *s)
{
    const h2_step *step = s->step;
    switch (step->kind) {
    case H2_END:
        return false;
    case H2_HEADERS:
        h2_put_headers(&c->out, s->id, step->headers, step->end_stream);
        return true;
    case H2_DATA:
        return put_data(c, s, step);
    case H2_RST_STREAM:
        h2_put_rst_stream(&c->out, s->id, step->code);
        return true;
    case H2_GOAWAY:
        h2_put_goaway(&c->out, step->last_stream == H2_THIS_STREAM ? s->id : step->last_stream, step->code);
        return true;
    case H2_SETTINGS:
        h2_put_settings(&c->out, step->settings);
        return true;
    case H2_CLOSE:
        c->closing = true;
        return true;
    case H2_ABORT:
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
        c->closing = true;
        c->aborted = true;
        return true;
    case H2_PAUSE:
        (void)h2_buffer_flush(&c->out, c->fd);
        (void)nanosleep(
            &(struct timespec){.tv_sec = step->pause_ms / 1000, .tv_nsec = (long)(step->pause_ms % 1000) * 1000000},
            NULL);
        return true;
    case H2_AWAIT_END_STREAM:
        return s->request_ended;
    case H2_AWAIT_RST_STREAM:
        return s->reset;
    case H2_AWAIT_RELEASE:
        return atomic_load(&server->released);
    }
    abort();
}

/* Play a stream's script as far as it goes now, and forget the stream at its end. */
static void play(const h2_script_server *server, connection *c, stream *s)
{
    /* On a stream that the client has reset only a script that waits for that goes on. */
    while (!c->closing && (!s->reset || s->step->kind == H2_AWAIT_RST_STREAM) && play_step(server, c, s)) {
        if (s->step->kind == H2_AWAIT_RST_STREAM) {
            s->reset = false;
        }
        s->step++;
    }
    if (s->step->kind == H2_END || s->reset) {
        *s = c->streams[--c->stream_count];
    }
}

static void play_all(const h2_script_server *server, connection *c)
{
    for (size_t i = c->stream_count; i > 0; i--) {
        play(server, c, &c->streams[i - 1]);
    }
}

/* Take the script of the next request. */
static const h2_step *next_script(h2_script_server *server)
{
    const h2_script_server_options *options = &server->options;
    const size_t script = server->script;
    const h2_script *chosen = &options->scripts[script];
    server->played++;
    if (chosen->plays != 0 && server->played >= chosen->plays && (options->cycle || script + 1 < options->count)) {
        server->script = (script + 1) % options->count;
        server->played = 0;
    }
    count(server, (h2_count)(H2_REQUESTS_OF_SCRIPT + script));
    count(server, H2_REQUESTS);
    return chosen->steps;
}

/* ---- reading ---- */

static stream *find_stream(const connection *c, uint32_t id)
{
    for (size_t i = 0; i < c->stream_count; i++) {
        if (c->streams[i].id == id) {
            return &c->streams[i];
        }
    }
    return NULL;
}

static stream *add_stream(connection *c, uint32_t id, const h2_step *steps)
{
    if (c->stream_count == c->stream_capacity) {
        c->stream_capacity = c->stream_capacity == 0 ? 16 : 2 * c->stream_capacity;
        c->streams = realloc(c->streams, c->stream_capacity * sizeof *c->streams);
        if (c->streams == NULL) {
            fail("realloc");
        }
    }
    stream *s = &c->streams[c->stream_count++];
    *s = (stream){.id = id, .step = steps, .window = c->initial_window};
    return s;
}

static void settings_came(connection *c, const uint8_t *payload, size_t bytes)
{
    for (size_t at = 0; at + 6 <= bytes; at += 6) {
        if ((payload[at] << 8 | payload[at + 1]) == H2_SETTINGS_INITIAL_WINDOW_SIZE) {
            const int64_t initial_window = h2_get_u32(payload + at + 2);
            for (size_t i = 0; i < c->stream_count; i++) {
                c->streams[i].window += initial_window - c->initial_window;
            }
            c->initial_window = initial_window;
        }
    }
    h2_put_frame(&c->out, H2_FRAME_SETTINGS, H2_FLAG_ACK, 0, NULL, 0);
}

static void frame_came(h2_script_server *server, connection *c, const uint8_t *head, const uint8_t *payload,
                       size_t bytes)
{
    const int flags = head[4];
    const uint32_t id = h2_get_u32(head + 5) & H2_WINDOW_MAX;
    stream *s = id != 0 ? find_stream(c, id) : NULL;
    switch (head[3]) {
    case H2_FRAME_HEADERS:
    case H2_FRAME_DATA:
        if (s == NULL && head[3] == H2_FRAME_HEADERS) {
            s = add_stream(c, id, next_script(server));
        }
        if (s != NULL) {
            s->request_ended = s->request_ended || (flags & H2_FLAG_END_STREAM) != 0;
        }
        break;
    case H2_FRAME_RST_STREAM:
        count(server, H2_RESETS);
        if (s != NULL) {
            s->reset = true;
        }
        break;
    case H2_FRAME_SETTINGS:
        if ((flags & H2_FLAG_ACK) == 0) {
            settings_came(c, payload, bytes);
            play_all(server, c);
        }
        break;
    case H2_FRAME_PING:
        if ((flags & H2_FLAG_ACK) == 0) {
            count(server, H2_PINGS);
            h2_put_frame(&c->out, H2_FRAME_PING, H2_FLAG_ACK, 0, payload, bytes);
        }
        break;
    case H2_FRAME_WINDOW_UPDATE:
        if (s != NULL) {
            s->window += h2_get_u32(payload);
        } else if (id == 0) {
            c->window += h2_get_u32(payload);
            play_all(server, c);
        }
        break;
    default:
        break; /* PRIORITY, CONTINUATION, GOAWAY: nothing in them is needed */
    }
    if (s != NULL) {
        play(server, c, s);
    }
}

/* Take whole frames out of the buffer. */
static void parse(h2_script_server *server, connection *c)
{
    size_t at = 0;
    if (!c->preface_read && c->in.length >= PREFACE_BYTES) {
        c->preface_read = true;
        at = PREFACE_BYTES;
    }
    while (c->preface_read && !c->closing && c->in.length - at >= H2_FRAME_HEADER_BYTES) {
        const uint8_t *head = c->in.bytes + at;
        const size_t bytes = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        if (c->in.length - at - H2_FRAME_HEADER_BYTES < bytes) {
            break;
        }
        frame_came(server, c, head, head + H2_FRAME_HEADER_BYTES, bytes);
        at += H2_FRAME_HEADER_BYTES + bytes;
    }
    c->in.length -= at;
    if (at > 0) {
        memmove(c->in.bytes, c->in.bytes + at, c->in.length);
    }
}

/* ---- connections ---- */

static void connection_close(connection *c)
{
    close(c->fd);
    free(c->in.bytes);
    free(c->out.bytes);
    free(c->streams);
    *c = (connection){.fd = -1};
}

/* Unread bytes would make a close() a reset, and what was written last might be lost with it: the rest waits for the
 * client's end. False: it does not. */
static bool close_for_writing(connection *c)
{
    if (!c->closed && !c->aborted) {
        c->closed = shutdown(c->fd, SHUT_WR) == 0;
    }
    return c->closed;
}

static void accept_one(h2_script_server *server)
{
    connection *c = server->connections;
    while (c < server->connections + CONNECTIONS_MAX && c->fd >= 0) {
        c++;
    }
    const int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (c == server->connections + CONNECTIONS_MAX) {
        errno = EMFILE;
        fail("more connections than places");
    }
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *c = (connection){.fd = fd, .window = WINDOW_DEFAULT, .initial_window = WINDOW_DEFAULT};
    count(server, H2_CONNECTIONS);
    h2_put_settings(&c->out, server->options.settings);
    h2_put_settings(&c->out, (h2_setting[H2_SETTINGS_MAX]){{H2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW_MAX}});
    h2_put_window_update(&c->out, 0, H2_WINDOW_MAX - WINDOW_DEFAULT);
}

/* Read what has come. False: the connection has ended. */
static bool receive(h2_script_server *server, connection *c)
{
    static _Thread_local uint8_t bytes[READ_BYTES];
    const ssize_t length = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    if (length <= 0) {
        return false;
    }
    if (!c->closing) {
        h2_buffer_append(&c->in, bytes, (size_t)length);
        parse(server, c);
    }
    return true;
}

static void *serve(void *arg)
{
    h2_script_server *server = arg;
    while (!atomic_load(&server->stop)) {
        struct pollfd polled[CONNECTIONS_MAX + 2];
        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
            const connection *c = &server->connections[i];
            polled[i] = (struct pollfd){.fd = c->fd, .events = (short)(POLLIN | (c->out.length > 0 ? POLLOUT : 0))};
        }
        polled[CONNECTIONS_MAX] = (struct pollfd){.fd = server->fd, .events = POLLIN};
        polled[CONNECTIONS_MAX + 1] = (struct pollfd){.fd = server->wake_fd, .events = POLLIN};
        (void)poll(polled, CONNECTIONS_MAX + 2, -1);
        uint64_t wakes;
        const bool woken = read(server->wake_fd, &wakes, sizeof wakes) > 0;
        const bool hang_up = atomic_exchange(&server->hang_up, false);
        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
            connection *c = &server->connections[i];
            bool open = c->fd >= 0;
            c->closing = c->closing || (open && hang_up);
            if (open && polled[i].revents != 0) {
                open = receive(server, c);
            }
            if (open && woken) {
                play_all(server, c);
            }
            open = open && h2_buffer_flush(&c->out, c->fd);
            if (open && c->closing && c->out.length == 0) {
                open = close_for_writing(c);
            }
            if (c->fd >= 0 && !open) {
                connection_close(c);
            }
        }
        if (polled[CONNECTIONS_MAX].revents != 0) {
            accept_one(server);
        }
    }
    return NULL;
}

/* ---- life ---- */

h2_script_server *h2_script_server_start(const h2_script_server_options *options)
{
    h2_script_server *server = calloc(1, sizeof *server);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    if (server == NULL || options->count == 0 || options->count > H2_SCRIPTS_MAX) {
        fail("options");
    }
    server->options = *options;
    pthread_mutex_init(&server->mutex, NULL);
    pthread_cond_init(&server->changed, NULL);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        server->connections[i].fd = -1;
    }
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->wake_fd < 0 || bind(server->fd, (struct sockaddr *)&address, bytes) != 0 ||
        listen(server->fd, CONNECTIONS_MAX) != 0 || getsockname(server->fd, (struct sockaddr *)&address, &bytes) != 0) {
        fail("listen");
    }
    server->port = ntohs(address.sin_port);
    if (pthread_create(&server->thread, NULL, serve, server) != 0) {
        fail("thread");
    }
    return server;
}

static void wake(const h2_script_server *server)
{
    if (write(server->wake_fd, &(uint64_t){1}, sizeof(uint64_t)) != sizeof(uint64_t)) {
        fail("eventfd");
    }
}

void h2_script_server_stop(h2_script_server *server)
{
    if (server == NULL) {
        return;
    }
    atomic_store(&server->stop, true);
    wake(server);
    pthread_join(server->thread, NULL);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (server->connections[i].fd >= 0) {
            connection_close(&server->connections[i]);
        }
    }
    close(server->fd);
    close(server->wake_fd);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->mutex);
    free(server);
}

uint16_t h2_script_server_port(const h2_script_server *server)
{
    return server->port;
}

void h2_script_server_release(h2_script_server *server)
{
    atomic_store(&server->released, true);
    wake(server);
}

void h2_script_server_hang_up(h2_script_server *server)
{
    atomic_store(&server->hang_up, true);
    wake(server);
}

/* ---- what has come ---- */

uint64_t h2_script_server_count(h2_script_server *server, h2_count what)
{
    pthread_mutex_lock(&server->mutex);
    const uint64_t value = server->counts[what];
    pthread_mutex_unlock(&server->mutex);
    return value;
}

bool h2_script_server_wait(h2_script_server *server, h2_count what, uint64_t wanted)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&server->mutex);
    for (int error = 0; server->counts[what] < wanted && error == 0;) {
        error = pthread_cond_timedwait(&server->changed, &server->mutex, &until);
    }
    const bool came = server->counts[what] >= wanted;
    pthread_mutex_unlock(&server->mutex);
    return came;
}
