/* HTTP/2 frames, written one by one into a growing buffer (RFC 9113, sections 4 and 6). Nothing is checked: what a test
 * asks for is written, right or wrong. Without memory the test program ends. */
#ifndef TESTS_SUPPORT_H2_FRAMES_H
#define TESTS_SUPPORT_H2_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define H2_FRAME_HEADER_BYTES 9
#define H2_FRAME_BYTES_MAX 16384 /* the least SETTINGS_MAX_FRAME_SIZE */
#define H2_WINDOW_MAX 0x7fffffff
#define H2_HEADERS_MAX 8  /* of one list */
#define H2_SETTINGS_MAX 4 /* likewise */

typedef enum h2_frame_type {
    H2_FRAME_DATA = 0,
    H2_FRAME_HEADERS = 1,
    H2_FRAME_RST_STREAM = 3,
    H2_FRAME_SETTINGS = 4,
    H2_FRAME_PING = 6,
    H2_FRAME_GOAWAY = 7,
    H2_FRAME_WINDOW_UPDATE = 8
} h2_frame_type;
enum { H2_FLAG_END_STREAM = 1, H2_FLAG_ACK = 1, H2_FLAG_END_HEADERS = 4 };

/* Error codes, section 7. */
enum {
    H2_NO_ERROR = 0,
    H2_PROTOCOL_ERROR = 1,
    H2_INTERNAL_ERROR = 2,
    H2_REFUSED_STREAM = 7,
    H2_CANCEL = 8,
    H2_ENHANCE_YOUR_CALM = 11
};
/* Settings, section 6.5.2. */
enum { H2_SETTINGS_MAX_CONCURRENT_STREAMS = 3, H2_SETTINGS_INITIAL_WINDOW_SIZE = 4 };

typedef struct h2_header {
    const char *name; /* NULL: the end of the list */
    const char *value;
} h2_header;

typedef struct h2_setting {
    uint16_t id; /* 0: the end of the list */
    uint32_t value;
} h2_setting;

typedef struct h2_buffer {
    uint8_t *bytes; /* freed by who holds the buffer */
    size_t length, capacity;
} h2_buffer;

void h2_buffer_append(h2_buffer *to, const void *bytes, size_t length);

/* Write to a socket what it takes without waiting. False: the connection is gone. */
bool h2_buffer_flush(h2_buffer *from, int fd);

uint32_t h2_get_u32(const uint8_t from[4]);

void h2_put_frame(h2_buffer *to, h2_frame_type type, int flags, uint32_t stream, const void *payload, size_t bytes);
/* One HEADERS frame. Lists end at their length limit or at an entry of zeros; a block over H2_FRAME_BYTES_MAX
 * aborts. */
void h2_put_headers(h2_buffer *to, uint32_t stream, const h2_header headers[H2_HEADERS_MAX], bool end_stream);
void h2_put_settings(h2_buffer *to, const h2_setting settings[H2_SETTINGS_MAX]);
void h2_put_rst_stream(h2_buffer *to, uint32_t stream, uint32_t code);
void h2_put_goaway(h2_buffer *to, uint32_t last_stream, uint32_t code);
void h2_put_window_update(h2_buffer *to, uint32_t stream, uint32_t bytes);

#endif
