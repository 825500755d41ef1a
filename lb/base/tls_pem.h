/* Checks of PEM texts before the gRPC core gets them: the core parses them with every connection only, says no more
 * than that a handshake failed, and its public API has no check of a pair. */
#ifndef EVENER_LB_BASE_TLS_PEM_H
#define EVENER_LB_BASE_TLS_PEM_H

#include <evener/status.h>

/* One text, and what messages call it: the name of a field or of a file, with its quotes. */
typedef struct evener_tls_pem {
    const char *text; /* NULL: none */
    const char *name;
} evener_tls_pem;

typedef struct evener_tls_pems {
    evener_tls_pem roots, chain, key;
    const char *hint; /* what to do about a text without a PEM block, after the reason; "" or " (...)" */
} evener_tls_pems;

/* Check that every certificate of roots and chain can be parsed (X.509 in PEM, RFC 7468), that the key can and is not
 * encrypted, and that it belongs to the chain's first certificate (the leaf, RFC 8446 section 4.4.2: the sender's own
 * certificate comes first). Chain and key come both or not at all. Errors: INVALID_ARGUMENT naming the text, or both
 * of a pair; RESOURCE_EXHAUSTED. Any thread; leaves nothing in the thread's error queue of OpenSSL. */
evener_status_code evener_tls_pems_check(const evener_tls_pems *pems, evener_status *status);

#endif
