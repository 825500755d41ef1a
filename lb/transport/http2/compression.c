#include "lb/transport/http2/compression.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

/* zlib: 15 bits of window; 16 more for gzip's frame. */
#define WINDOW_BITS 15
#define GZIP_BITS 16
#define MEMORY_LEVEL 8
#define FIRST_ROOM 1024

static int window_bits(uint8_t compression)
{
    return compression == EVENER_COMPRESSION_GZIP ? WINDOW_BITS + GZIP_BITS : WINDOW_BITS;
}

bool evener_http2_compression_named(const uint8_t *name, size_t bytes, uint8_t *compression)
{
    static const struct {
        const char *name;
        uint8_t compression;
    } known[] = {{"identity", EVENER_COMPRESSION_NONE},
                 {"gzip", EVENER_COMPRESSION_GZIP},
                 {"deflate", EVENER_COMPRESSION_DEFLATE}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i].name) == bytes && memcmp(known[i].name, name, bytes) == 0) {
            *compression = known[i].compression;
            return true;
        }
    }
    return false;
}

bool evener_http2_compress(uint8_t compression, const evener_bytes *from, evener_bytes *to)
{
    if (from->length < 2 || from->length > UINT32_MAX) {
        return false;
    }
    z_stream stream = {0};
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, window_bits(compression), MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        return false;
    }
    const size_t room = from->length - 1; /* a result that does not fit is not smaller */
    uint8_t *buffer = malloc(room);
    bool is_smaller = false;
    if (buffer != NULL) {
        stream.next_in = (Bytef *)(uintptr_t)from->data;
        stream.avail_in = (uInt)from->length;
        stream.next_out = buffer;
        stream.avail_out = (uInt)room;
        is_smaller = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    }
    evener_bytes smaller;
    uint8_t *data = is_smaller ? evener_bytes_create(stream.total_out, &smaller) : NULL;
    is_smaller = data != NULL; /* without memory the message is sent as it is */
    if (is_smaller) {
        memcpy(data, buffer, stream.total_out);
        *to = smaller;
    }
    free(buffer);
    (void)deflateEnd(&stream);
    return is_smaller;
}

evener_status_code evener_http2_decompress(uint8_t compression, const evener_bytes *from, size_t bytes_max,
                                           evener_bytes *to)
{
    z_stream stream = {0};
    if (inflateInit2(&stream, window_bits(compression)) != Z_OK) {
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    stream.next_in = (Bytef *)(uintptr_t)from->data;
    stream.avail_in = (uInt)from->length;
    uint8_t *buffer = NULL;
    size_t capacity = 0;
    size_t used = 0;
    int result = Z_OK;
    evener_status_code code = EVENER_STATUS_OK;
    while (result == Z_OK && code == EVENER_STATUS_OK) {
        if (used == capacity) {
            capacity = capacity > 0 ? capacity * 2 : FIRST_ROOM;
            uint8_t *larger = used <= bytes_max ? realloc(buffer, capacity) : NULL;
            if (larger == NULL) {
                code = EVENER_STATUS_RESOURCE_EXHAUSTED;
                break;
            }
            buffer = larger;
        }
        stream.next_out = buffer + used;
        stream.avail_out = (uInt)(capacity - used);
        result = inflate(&stream, Z_NO_FLUSH);
        used = capacity - stream.avail_out;
    }
    if (code == EVENER_STATUS_OK && (result != Z_STREAM_END || stream.avail_in > 0)) {
        code = EVENER_STATUS_INTERNAL;
    }
    if (code == EVENER_STATUS_OK && used > bytes_max) {
        code = EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    if (code == EVENER_STATUS_OK) {
        evener_bytes whole;
        uint8_t *data = evener_bytes_create(used, &whole);
        if (data == NULL) {
            code = EVENER_STATUS_RESOURCE_EXHAUSTED;
        } else {
            if (used > 0) {
                memcpy(data, buffer, used);
            }
            *to = whole;
        }
    }
    free(buffer);
    (void)inflateEnd(&stream);
    return code;
}
