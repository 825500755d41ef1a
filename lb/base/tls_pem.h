/* TLS PEM: checks PEM texts when credentials are created. The gRPC core parses them only when it connects, reports no
 * more than a failed handshake, and has no public function that checks a pair. */
#ifndef EVENER_LB_BASE_TLS_PEM_H
#define EVENER_LB_BASE_TLS_PEM_H

#include <evener/status.h>

/* One PEM text, and how messages name it: a field or a file, in quotes. */
typedef struct evener_tls_pem {
    const char *text; /* NULL: none */
    const char *name;
} evener_tls_pem;

typedef struct evener_tls_pems {
    evener_tls_pem roots, chain, key;
    const char *hint; /* advice for a text without a PEM block, appended to the reason; "" or " (...)" */
} evener_tls_pems;

/* Check that every certificate of roots and chain can be parsed (X.509 in PEM, RFC 7468), that the key can be parsed
 * and is not encrypted, and that it belongs to the chain's first certificate (RFC 8446 section 4.4.2: the sender's
 * own certificate comes first). Chain and key come in a pair or not at all. Errors: INVALID_ARGUMENT naming the text,
 * or both texts of a pair; FAILED_PRECONDITION (OpenSSL cannot be loaded); RESOURCE_EXHAUSTED. Any thread; leaves
 * nothing in the thread's OpenSSL error queue. */
evener_status_code evener_tls_pems_check(const evener_tls_pems *pems, evener_status *status);

#endif
