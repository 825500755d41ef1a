/* Credentials: how the connections of a channel are secured. They must be given: the built-in transports refuse a
 * channel without any. evener/grpc.h has credentials of the gRPC C core. */
#ifndef EVENER_CREDENTIALS_H
#define EVENER_CREDENTIALS_H

#include <stddef.h>

#include <evener/status.h>

EVENER_BEGIN_DECLS

typedef struct evener_credentials evener_credentials;

/* All PEM texts are copied; NULL means none. */
typedef struct evener_tls_options {
    size_t size;                   /* sizeof(evener_tls_options) */
    const char *root_certificates; /* PEM; NULL: the transport's default roots, on http2 OpenSSL's */
    const char *certificate_chain; /* PEM, for mTLS: the client's own certificate first; needs private_key */
    const char *private_key;       /* PEM without a password, for mTLS: of the first certificate of the chain */
} evener_tls_options;

/* Create credentials for plain text. On success store an owned handle. Errors: RESOURCE_EXHAUSTED. Any thread. */
EVENER_API evener_status_code evener_credentials_create_insecure(evener_credentials **credentials,
                                                                 evener_status *status);

/* Create credentials for TLS, or for mTLS with a certificate. Servers are verified against options.authority of the
 * channel, or the name that target and list give the backend (docs/resolvers.md). `options` may be NULL. Errors:
 * INVALID_ARGUMENT (only one of chain and key; a text without PEM, or with a certificate or key that cannot be
 * parsed; a key that is encrypted or does not belong to the chain's first certificate), FAILED_PRECONDITION (OpenSSL,
 * which is loaded with the first such credentials, is missing), RESOURCE_EXHAUSTED. Any thread. */
EVENER_API evener_status_code evener_credentials_create_tls(const evener_tls_options *options,
                                                            evener_credentials **credentials, evener_status *status);

/* Give the handle back. Channels created with it keep the contents. NULL is allowed. Any thread. */
EVENER_API void evener_credentials_destroy(evener_credentials *credentials);

EVENER_END_DECLS

#endif
