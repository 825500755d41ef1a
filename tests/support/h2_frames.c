#include "tests/support/h2_frames.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void h2_buffer_append(h2_buffer *to, const void *bytes, size_t length)
{
    if (to->length + length > to->capacity) {
        to->capacity = 2 * (to->length + length);
        to->bytes = realloc(to->bytes, to->capacity);
        if (to->bytes == NULL) {
            fputs("h2 frames: out of memory\n", stderr);
            abort();
        }
    }
    if (length > 0) {
        memcpy(to->bytes + to->length, bytes, length);
    }
    to->length += length;
}

bool h2_buffer_flush(h2_buffer *from, int fd)
{
    size_t sent = 0;
    bool open = true;
    while (open && sent < from->length) {
        const ssize_t bytes = send(fd, from->bytes + sent, from->length - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        open = bytes > 0;
        sent += bytes > 0 ? (size_t)bytes : 0;
    }
    if (sent > 0) {
        from->length -= sent;
        memmove(from->bytes, from->bytes + sent, from->length);
    }
    return open;
}

static void put_u32(uint8_t to[4], uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

uint32_t h2_get_u32(const uint8_t from[4])
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

void h2_put_frame(h2_buffer *to, h2_frame_type type, int flags, uint32_t stream, const void *payload, size_t bytes)
{
    uint8_t head[H2_FRAME_HEADER_BYTES] = {(uint8_t)(bytes >> 16), (uint8_t)(bytes >> 8), (uint8_t)bytes, (uint8_t)type,
                                           (uint8_t)flags};
    put_u32(head + 5, stream);
    h2_buffer_append(to, head, sizeof head);
    h2_buffer_append(to, payload, bytes);
}

/* A string without Huffman code (RFC 7541, section 5.2): its length in 7 bits, or 127 and the rest in groups of 7
 * bits. */
static void put_string(h2_buffer *to, const char *text)
{
    const size_t length = strlen(text);
    uint8_t head[8] = {(uint8_t)(length < 127 ? length : 127)};
    size_t used = 1;
    if (length >= 127) {
        size_t rest = length - 127;
        for (; rest >= 128; rest >>= 7) {
            head[used++] = (uint8_t)(rest % 128 + 128);
        }
        head[used++] = (uint8_t)rest;
    }
    h2_buffer_append(to, head, used);
    h2_buffer_append(to, text, length);
}

void h2_put_headers(h2_buffer *to, uint32_t stream, const h2_header headers[H2_HEADERS_MAX], bool end_stream)
{
    static const uint8_t literal_without_indexing_new_name = 0; /* RFC 7541, section 6.2.2 */
    h2_buffer block = {0};
    for (size_t i = 0; i < H2_HEADERS_MAX && headers[i].name != NULL; i++) {
        h2_buffer_append(&block, &literal_without_indexing_new_name, 1);
        put_string(&block, headers[i].name);
        put_string(&block, headers[i].value);
    }
    if (block.length > H2_FRAME_BYTES_MAX) {
        fputs("h2 frames: a header block does not fit a frame\n", stderr);
        abort();
    }
    h2_put_frame(to, H2_FRAME_HEADERS, H2_FLAG_END_HEADERS | (end_stream ? H2_FLAG_END_STREAM : 0), stream, block.bytes,
                 block.length);
    free(block.bytes);
}

void h2_put_settings(h2_buffer *to, const h2_setting settings[H2_SETTINGS_MAX])
{
    uint8_t payload[6 * H2_SETTINGS_MAX];
    size_t bytes = 0;
    for (size_t i = 0; i < H2_SETTINGS_MAX && settings[i].id != 0; i++, bytes += 6) {
        payload[bytes] = (uint8_t)(settings[i].id >> 8);
        payload[bytes + 1] = (uint8_t)settings[i].id;
        put_u32(payload + bytes + 2, settings[i].value);
    }
    h2_put_frame(to, H2_FRAME_SETTINGS, 0, 0, payload, bytes);
}

void h2_put_rst_stream(h2_buffer *to, uint32_t stream, uint32_t code)
{
    uint8_t payload[4];
    put_u32(payload, code);
    h2_put_frame(to, H2_FRAME_RST_STREAM, 0, stream, payload, sizeof payload);
}

void h2_put_goaway(h2_buffer *to, uint32_t last_stream, uint32_t code)
{
    uint8_t payload[8];
    put_u32(payload, last_stream);
    put_u32(payload + 4, code);
    h2_put_frame(to, H2_FRAME_GOAWAY, 0, 0, payload, sizeof payload);
}

void h2_put_window_update(h2_buffer *to, uint32_t stream, uint32_t bytes)
{
    uint8_t payload[4];
    put_u32(payload, bytes);
    h2_put_frame(to, H2_FRAME_WINDOW_UPDATE, 0, stream, payload, sizeof payload);
}
