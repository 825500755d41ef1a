#include "http2/raw_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

#define PREFACE_BYTES 24
#define HEAD_BYTES 9
#define BLOCK_BYTES_MAX 131072

static void die(const char *what)
{
    perror(what);
    abort();
}

void raw_listen(raw_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server->fd, (struct sockaddr *)&address, bytes) != 0 || listen(server->fd, 16) != 0 ||
        getsockname(server->fd, (struct sockaddr *)&address, &bytes) != 0) {
        die("raw server: listen");
    }
    server->port = ntohs(address.sin_port);
}

void raw_stop(raw_server *server)
{
    close(server->fd);
}

void raw_accept(raw_server *server, raw_peer *peer)
{
    const struct timeval patience = {.tv_sec = 10};
    setsockopt(server->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    peer->fd = accept(server->fd, NULL, NULL);
    if (peer->fd < 0) {
        die("raw server: accept");
    }
    setsockopt(peer->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* an answer is several writes */
    nghttp2_hd_inflater *inflater;
    if (nghttp2_hd_inflate_new(&inflater) != 0) {
        die("raw server: inflater");
    }
    peer->inflater = inflater;
}

void raw_close(raw_peer *peer)
{
    if (peer->fd >= 0) {
        shutdown(peer->fd, SHUT_RDWR);
        close(peer->fd);
        nghttp2_hd_inflate_del(peer->inflater);
        peer->fd = -1;
    }
}

void raw_reset(raw_peer *peer)
{
    const struct linger at_once = {.l_onoff = 1};
    setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(peer->fd);
    nghttp2_hd_inflate_del(peer->inflater);
    peer->fd = -1;
}

static bool read_all(int fd, void *to, size_t bytes)
{
    for (char *at = to; bytes > 0;) {
        const ssize_t got = read(fd, at, bytes);
        if (got < 0) {
            if (errno == ECONNRESET) {
                return false;
            }
            die("raw server: read");
        }
        if (got == 0) {
            return false;
        }
        at += got;
        bytes -= (size_t)got;
    }
    return true;
}

static void inflate(raw_peer *peer, raw_frame *frame)
{
    const uint8_t *at = frame->payload;
    size_t left = frame->bytes;
    size_t used = 0;
    for (;;) {
        nghttp2_nv field;
        int flags = 0;
        const ssize_t taken = nghttp2_hd_inflate_hd2(peer->inflater, &field, &flags, at, left, 1);
        if (taken < 0) {
            die("raw server: a header block that cannot be read");
        }
        at += taken;
        left -= (size_t)taken;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
            used += (size_t)snprintf(frame->headers + used, sizeof frame->headers - used, "%.*s: %.*s\n",
                                     (int)field.namelen, (const char *)field.name, (int)field.valuelen,
                                     (const char *)field.value);
        }
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
            nghttp2_hd_inflate_end_headers(peer->inflater);
            return;
        }
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && left == 0) {
            return;
        }
    }
}

bool raw_read_any(raw_peer *peer, raw_frame *frame)
{
    uint8_t head[HEAD_BYTES];
    if (!read_all(peer->fd, head, sizeof head)) {
        return false;
    }
    frame->bytes = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    frame->type = head[3];
    frame->flags = head[4];
    frame->stream = (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8];
    frame->headers[0] = '\0';
    if (frame->bytes > sizeof frame->payload) {
        die("raw server: frame too large");
    }
    if (!read_all(peer->fd, frame->payload, frame->bytes)) {
        return false;
    }
    if (frame->type == RAW_HEADERS) {
        inflate(peer, frame);
    }
    return true;
}

bool raw_read(raw_peer *peer, raw_frame *frame)
{
    while (raw_read_any(peer, frame)) {
        if (frame->type != RAW_SETTINGS && frame->type != RAW_WINDOW_UPDATE &&
            !(frame->type == RAW_PING && (frame->flags & RAW_ACK) != 0)) {
            return true;
        }
    }
    return false;
}

uint32_t raw_read_call(raw_peer *peer, raw_frame *frame)
{
    do {
        if (!raw_read(peer, frame)) {
            errno = 0;
            die("raw server: the client closed where a call was to come");
        }
    } while (frame->type != RAW_HEADERS);
    return frame->stream;
}

bool raw_read_to_end(raw_peer *peer)
{
    char ignored[4096];
    ssize_t got;
    while ((got = read(peer->fd, ignored, sizeof ignored)) > 0) {
    }
    return got == 0 || errno == ECONNRESET;
}

void raw_send_bytes(raw_peer *peer, const void *bytes, size_t count)
{
    for (const char *at = bytes; count > 0;) {
        const ssize_t sent = send(peer->fd, at, count, MSG_NOSIGNAL);
        if (sent <= 0) {
            return; /* the client is gone: the test sees */
        }
        at += sent;
        count -= (size_t)sent;
    }
}

void raw_send(raw_peer *peer, int type, int flags, uint32_t stream, const void *payload, size_t bytes)
{
    uint8_t *frame = malloc(HEAD_BYTES + bytes);
    const uint8_t head[HEAD_BYTES] = {(uint8_t)(bytes >> 16),  (uint8_t)(bytes >> 8),  (uint8_t)bytes,
                                      (uint8_t)type,           (uint8_t)flags,         (uint8_t)(stream >> 24),
                                      (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    memcpy(frame, head, sizeof head);
    if (bytes > 0) {
        memcpy(frame + sizeof head, payload, bytes);
    }
    raw_send_bytes(peer, frame, HEAD_BYTES + bytes);
    free(frame);
}

void raw_handshake(raw_peer *peer, const uint32_t (*settings)[2], size_t count)
{
    uint8_t preface[PREFACE_BYTES];
    if (!read_all(peer->fd, preface, sizeof preface)) {
        die("raw server: preface");
    }
    uint8_t payload[6 * 16];
    for (size_t i = 0; i < count; i++) {
        const uint32_t id = settings[i][0], value = settings[i][1];
        const uint8_t entry[6] = {(uint8_t)(id >> 8),     (uint8_t)id,           (uint8_t)(value >> 24),
                                  (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
        memcpy(payload + 6 * i, entry, 6);
    }
    raw_send(peer, RAW_SETTINGS, 0, 0, payload, 6 * count);
}

static size_t put_length(uint8_t *to, size_t length)
{
    if (length < 127) {
        to[0] = (uint8_t)length;
        return 1;
    }
    to[0] = 127; /* RFC 7541 section 5.1 */
    length -= 127;
    size_t used = 1;
    while (length >= 128) {
        to[used++] = (uint8_t)(length % 128 + 128);
        length /= 128;
    }
    to[used++] = (uint8_t)length;
    return used;
}

static size_t put_header(uint8_t *to, const char *name, const char *value)
{
    size_t used = 0;
    to[used++] = 0; /* a literal without indexing */
    used += put_length(to + used, strlen(name));
    memcpy(to + used, name, strlen(name));
    used += strlen(name);
    used += put_length(to + used, strlen(value));
    memcpy(to + used, value, strlen(value));
    return used + strlen(value);
}

/* In HEADERS and CONTINUATION frames of 16 KiB. */
static void send_block(raw_peer *peer, int flags, uint32_t stream, const uint8_t *block, size_t bytes)
{
    int type = RAW_HEADERS;
    do {
        const size_t part = bytes < 16384 ? bytes : 16384;
        bytes -= part;
        raw_send(peer, type, (type == RAW_HEADERS ? flags & RAW_END_STREAM : 0) | (bytes == 0 ? RAW_END_HEADERS : 0),
                 stream, block, part);
        block += part;
        type = RAW_CONTINUATION;
    } while (bytes > 0);
}

void raw_send_headers(raw_peer *peer, int flags, uint32_t stream, ...)
{
    uint8_t *block = malloc(BLOCK_BYTES_MAX);
    size_t bytes = 0;
    va_list fields;
    va_start(fields, stream);
    for (const char *name = va_arg(fields, const char *); name != NULL; name = va_arg(fields, const char *)) {
        bytes += put_header(block + bytes, name, va_arg(fields, const char *));
    }
    va_end(fields);
    send_block(peer, flags, stream, block, bytes);
    free(block);
}

void raw_send_grpc_headers(raw_peer *peer, uint32_t stream)
{
    raw_send_headers(peer, 0, stream, ":status", "200", "content-type", "application/grpc", NULL);
}

void raw_send_message(raw_peer *peer, uint32_t stream, const void *message, size_t bytes)
{
    uint8_t *framed = malloc(5 + bytes);
    const uint8_t prefix[5] = {0, (uint8_t)(bytes >> 24), (uint8_t)(bytes >> 16), (uint8_t)(bytes >> 8),
                               (uint8_t)bytes};
    memcpy(framed, prefix, 5);
    memcpy(framed + 5, message, bytes);
    raw_send(peer, RAW_DATA, 0, stream, framed, 5 + bytes);
    free(framed);
}

void raw_send_trailers(raw_peer *peer, uint32_t stream, const char *grpc_status)
{
    raw_send_headers(peer, RAW_END_STREAM, stream, "grpc-status", grpc_status, NULL);
}

void raw_answer(raw_peer *peer, uint32_t stream, const char *message)
{
    raw_send_grpc_headers(peer, stream);
    raw_send_message(peer, stream, message, strlen(message));
    raw_send_trailers(peer, stream, "0");
}

static void put_u32(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}

void raw_send_reset(raw_peer *peer, uint32_t stream, uint32_t error_code)
{
    uint8_t payload[4];
    put_u32(payload, error_code);
    raw_send(peer, RAW_RST_STREAM, 0, stream, payload, sizeof payload);
}

void raw_send_goaway(raw_peer *peer, uint32_t last_stream, uint32_t error_code, const char *debug)
{
    uint8_t payload[128];
    const size_t debug_bytes = debug != NULL ? strlen(debug) : 0;
    put_u32(payload, last_stream);
    put_u32(payload + 4, error_code);
    if (debug_bytes > 0) {
        memcpy(payload + 8, debug, debug_bytes);
    }
    raw_send(peer, RAW_GOAWAY, 0, 0, payload, 8 + debug_bytes);
}
