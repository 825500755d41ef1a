/* nghttp2 before and from 1.64 (Debian 13) on, which deprecates the functions with ssize_t: others, whose names end in
 * 2, replace them. */
#ifndef EVENER_LB_TRANSPORT_HTTP2_NGHTTP2_COMPAT_H
#define EVENER_LB_TRANSPORT_HTTP2_NGHTTP2_COMPAT_H

#include <stddef.h>
#include <stdint.h>

#include <nghttp2/nghttp2.h>

#if NGHTTP2_VERSION_NUM >= 0x014000 /* 1.64.0 */

typedef nghttp2_ssize evener_nghttp2_length;
typedef nghttp2_data_provider2 evener_nghttp2_data_provider;

static inline evener_nghttp2_length evener_nghttp2_receive(nghttp2_session *session, const uint8_t *data, size_t bytes)
{
    return nghttp2_session_mem_recv2(session, data, bytes);
}

static inline evener_nghttp2_length evener_nghttp2_send(nghttp2_session *session, const uint8_t **data)
{
    return nghttp2_session_mem_send2(session, data);
}

static inline int32_t evener_nghttp2_submit_request(nghttp2_session *session, const nghttp2_nv *headers, size_t count,
                                                    const evener_nghttp2_data_provider *provider, void *stream_data)
{
    return nghttp2_submit_request2(session, NULL, headers, count, provider, stream_data);
}

#else

typedef ssize_t evener_nghttp2_length;
typedef nghttp2_data_provider evener_nghttp2_data_provider;

static inline evener_nghttp2_length evener_nghttp2_receive(nghttp2_session *session, const uint8_t *data, size_t bytes)
{
    return nghttp2_session_mem_recv(session, data, bytes);
}

static inline evener_nghttp2_length evener_nghttp2_send(nghttp2_session *session, const uint8_t **data)
{
    return nghttp2_session_mem_send(session, data);
}

static inline int32_t evener_nghttp2_submit_request(nghttp2_session *session, const nghttp2_nv *headers, size_t count,
                                                    const evener_nghttp2_data_provider *provider, void *stream_data)
{
    return nghttp2_submit_request(session, NULL, headers, count, provider, stream_data);
}

#endif

#endif
