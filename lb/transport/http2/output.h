/* Output: the frames of one turn, collected for one write.
 *
 * Small pieces are copied next to each other, large ones are referenced. Belongs to a seat and is used by one
 * connection at a time: bytes that the socket does not take are copied into the connection. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_OUTPUT_H
#define EVENER_LB_TRANSPORT_HTTP2_OUTPUT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#define EVENER_HTTP2_OUTPUT_COPY_BYTES (64 * 1024)
#define EVENER_HTTP2_OUTPUT_BYTES_MAX (256 * 1024)
#define EVENER_HTTP2_OUTPUT_PIECES 64
/* The largest piece that is added at once: a frame of 16 KiB with its header. */
#define EVENER_HTTP2_OUTPUT_PIECE_BYTES_MAX (16384 + 64)
/* Below this a copy costs less than a further piece for the kernel. */
#define EVENER_HTTP2_OUTPUT_REFER_BYTES 2048

typedef struct evener_http2_output {
    size_t bytes;
    size_t copied_bytes;
    unsigned piece_count;
    struct iovec pieces[EVENER_HTTP2_OUTPUT_PIECES];
    uint8_t copy[EVENER_HTTP2_OUTPUT_COPY_BYTES];
} evener_http2_output;

static inline void evener_http2_output_reset(evener_http2_output *output)
{
    output->bytes = 0;
    output->copied_bytes = 0;
    output->piece_count = 0;
}

/* Return whether another frame may not fit: header, prefix and payload can take three pieces. */
static inline bool evener_http2_output_is_full(const evener_http2_output *output)
{
    return output->bytes >= EVENER_HTTP2_OUTPUT_BYTES_MAX ||
           output->copied_bytes > EVENER_HTTP2_OUTPUT_COPY_BYTES - EVENER_HTTP2_OUTPUT_PIECE_BYTES_MAX ||
           output->piece_count > EVENER_HTTP2_OUTPUT_PIECES - 4;
}

static inline void evener_http2_output_copy(evener_http2_output *output, const void *data, size_t bytes)
{
    assert(bytes <= EVENER_HTTP2_OUTPUT_COPY_BYTES - output->copied_bytes);
    uint8_t *to = output->copy + output->copied_bytes;
    if (bytes > 0) {
        memcpy(to, data, bytes);
    }
    output->copied_bytes += bytes;
    output->bytes += bytes;
    struct iovec *last = &output->pieces[output->piece_count - (output->piece_count > 0 ? 1 : 0)];
    if (output->piece_count > 0 && (uint8_t *)last->iov_base + last->iov_len == to) {
        last->iov_len += bytes;
        return;
    }
    assert(output->piece_count < EVENER_HTTP2_OUTPUT_PIECES);
    output->pieces[output->piece_count++] = (struct iovec){.iov_base = to, .iov_len = bytes};
}

/* Append a reference to `data`, which must stay until the output was written. */
static inline void evener_http2_output_refer(evener_http2_output *output, const void *data, size_t bytes)
{
    assert(output->piece_count < EVENER_HTTP2_OUTPUT_PIECES);
    output->pieces[output->piece_count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    output->bytes += bytes;
}

/* Copy the bytes from `from` on to `to`, which has room for them. */
static inline void evener_http2_output_copy_rest(const evener_http2_output *output, size_t from, uint8_t *to)
{
    for (unsigned i = 0; i < output->piece_count; i++) {
        const struct iovec *piece = &output->pieces[i];
        if (from >= piece->iov_len) {
            from -= piece->iov_len;
            continue;
        }
        memcpy(to, (const uint8_t *)piece->iov_base + from, piece->iov_len - from);
        to += piece->iov_len - from;
        from = 0;
    }
}

#endif
