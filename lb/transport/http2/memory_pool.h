/* Memory pool: the memory that nghttp2 allocates for one connection.
 *
 * nghttp2 allocates four to six blocks per stream. They come from free lists per size class, so that a stream costs no
 * malloc once the connection has had as many streams. Blocks above the largest class come from malloc. One thread at a
 * time. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_MEMORY_POOL_H
#define EVENER_LB_TRANSPORT_HTTP2_MEMORY_POOL_H

#include <stddef.h>

#include <nghttp2/nghttp2.h>

#define EVENER_HTTP2_POOL_CLASSES 5             /* 64, 128, 256, 512, 1024 bytes */
#define EVENER_HTTP2_POOL_BYTES_MAX (64 * 1024) /* kept for reuse */

typedef struct evener_http2_memory_pool {
    void *free_blocks[EVENER_HTTP2_POOL_CLASSES];
    size_t kept_bytes;
} evener_http2_memory_pool;

/* Return the table for nghttp2; `pool` must outlive the session. */
nghttp2_mem evener_http2_memory_pool_table(evener_http2_memory_pool *pool);

/* Free the kept blocks; all blocks were given back. */
void evener_http2_memory_pool_clear(evener_http2_memory_pool *pool);

#endif
