#include "lb/transport/http2/request_headers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/metadata_rules.h"

#define BORROWED (NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE)
#define FIXED_MAX 12
#define ON_STACK_MAX 48

#define NV(name_text, value_text)                                                                                      \
    {                                                                                                                  \
        .name = (uint8_t *)(uintptr_t)(name_text), .value = (uint8_t *)(uintptr_t)(value_text),                        \
        .namelen = sizeof(name_text) - 1, .valuelen = sizeof(value_text) - 1, .flags = BORROWED                        \
    }

static nghttp2_nv borrowed(const char *name, size_t name_bytes, const char *value, size_t value_bytes)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .namelen = name_bytes,
                        .value = (uint8_t *)(uintptr_t)value,
                        .valuelen = value_bytes,
                        .flags = BORROWED};
}

/* Add the caller's metadata; base64 goes to *text. Return the number of headers. */
static size_t put_metadata(const evener_http2_call *call, nghttp2_nv *to, char *text)
{
    for (size_t i = 0; i < call->metadata_count; i++) {
        const evener_metadata *entry = &call->metadata[i];
        const size_t key_bytes = strlen(entry->key);
        if (!evener_metadata_key_is_binary(entry->key, key_bytes)) {
            to[i] = borrowed(entry->key, key_bytes, entry->value != NULL ? entry->value : "", entry->value_bytes);
            continue;
        }
        const size_t bytes = evener_http2_base64_encode((const uint8_t *)entry->value, entry->value_bytes, text);
        to[i] = borrowed(entry->key, key_bytes, text, bytes);
        to[i].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME; /* `text` is gone before the frame is made */
        text += bytes;
    }
    return call->metadata_count;
}

static size_t base64_room(const evener_http2_call *call)
{
    size_t bytes = 1;
    for (size_t i = 0; i < call->metadata_count; i++) {
        if (evener_metadata_key_is_binary(call->metadata[i].key, strlen(call->metadata[i].key))) {
            bytes += EVENER_HTTP2_BASE64_BYTES(call->metadata[i].value_bytes);
        }
    }
    return bytes;
}

static size_t put_fixed(const evener_connection *connection, evener_http2_call *call, uint64_t timeout_ns,
                        nghttp2_nv *to)
{
    static const nghttp2_nv method = NV(":method", "POST");
    static const nghttp2_nv http = NV(":scheme", "http");
    static const nghttp2_nv https = NV(":scheme", "https");
    static const nghttp2_nv te = NV("te", "trailers");
    static const nghttp2_nv content_type = NV("content-type", "application/grpc");
    static const nghttp2_nv accept_encoding = NV("grpc-accept-encoding", "identity,deflate,gzip");
    static const nghttp2_nv gzip = NV("grpc-encoding", "gzip");
    static const nghttp2_nv deflate = NV("grpc-encoding", "deflate");
    const evener_http2_transport *transport = connection->transport;
    size_t count = 0;
    to[count++] = method;
    to[count++] = transport->tls != NULL ? https : http;
    to[count++] = borrowed(":path", 5, call->method, strlen(call->method));
    to[count++] = call->authority != NULL
                      ? borrowed(":authority", 10, call->authority, strlen(call->authority))
                      : borrowed(":authority", 10, connection->authority, connection->authority_bytes);
    to[count++] = te;
    if (call->deadline_ns != UINT64_MAX) {
        const size_t bytes = evener_http2_timeout_write(timeout_ns, call->timeout_text);
        to[count] = borrowed("grpc-timeout", 12, call->timeout_text, bytes);
        to[count++].flags |= NGHTTP2_NV_FLAG_NO_INDEX; /* hardly any is sent twice: keep it out of HPACK's table */
    }
    to[count++] = content_type;
    to[count++] = borrowed("user-agent", 10, transport->user_agent, transport->user_agent_bytes);
    to[count++] = accept_encoding;
    if (call->compression != EVENER_COMPRESSION_NONE) {
        to[count++] = call->compression == EVENER_COMPRESSION_GZIP ? gzip : deflate;
    }
    if (call->previous_attempts > 0) {
        const int bytes = snprintf(call->attempts_text, sizeof call->attempts_text, "%u", call->previous_attempts);
        to[count++] = borrowed("grpc-previous-rpc-attempts", 26, call->attempts_text, (size_t)bytes);
    }
    return count;
}

int32_t evener_http2_request_submit(evener_connection *connection, evener_http2_call *call, uint64_t timeout_ns)
{
    nghttp2_nv on_stack[ON_STACK_MAX];
    nghttp2_nv *headers = on_stack;
    char *text = NULL;
    if (call->metadata_count > 0) {
        if (call->metadata_count > ON_STACK_MAX - FIXED_MAX) {
            headers = malloc((call->metadata_count + FIXED_MAX) * sizeof *headers);
        }
        const size_t room = base64_room(call);
        text = room > 1 ? malloc(room) : NULL;
        if (headers == NULL || (room > 1 && text == NULL)) {
            free(text);
            if (headers != on_stack) {
                free(headers);
            }
            return NGHTTP2_ERR_NOMEM;
        }
    }
    size_t count = put_fixed(connection, call, timeout_ns, headers);
    count += put_metadata(call, headers + count, text);
    const evener_nghttp2_data_provider provider = {.source.ptr = NULL, .read_callback = evener_http2_on_read};
    const int32_t stream_id = evener_nghttp2_submit_request(connection->session, headers, count, &provider, call);
    free(text);
    if (headers != on_stack) {
        free(headers);
    }
    return stream_id;
}
