/* Credentials: how the connections of a channel are secured, independent of any transport. A transport converts them
 * to its own form when the channel is created. */
#ifndef EVENER_LB_BASE_CREDENTIALS_H
#define EVENER_LB_BASE_CREDENTIALS_H

#include <evener/credentials.h>

#include "lb/base/sibling.h"

typedef enum evener_credentials_kind {
    EVENER_CREDENTIALS_INSECURE = 0, /* plain text, named as such */
    EVENER_CREDENTIALS_TLS = 1,      /* PEM texts that were checked */
    EVENER_CREDENTIALS_FOREIGN = 2   /* an object of one transport's library, which no other transport can use */
} evener_credentials_kind;

/* Return another reference; give it back with evener_credentials_destroy(). Any thread. */
EVENER_SIBLING evener_credentials *evener_credentials_ref(const evener_credentials *credentials);

EVENER_SIBLING evener_credentials_kind evener_credentials_get_kind(const evener_credentials *credentials);

/* Return the texts of TLS credentials; they live as long as the reference. `root_certificates` NULL: the transport's
 * default roots. */
EVENER_SIBLING const evener_tls_options *evener_credentials_tls(const evener_credentials *credentials);

/* Return the object of FOREIGN credentials that were made for `transport_name`; NULL for all others. Borrowed. */
EVENER_SIBLING void *evener_credentials_foreign(const evener_credentials *credentials, const char *transport_name);

/* Make FOREIGN credentials for the transport of that name (a static string). `release` frees the object with the last
 * reference; on failure the object stays the caller's. Errors: RESOURCE_EXHAUSTED. Any thread. */
EVENER_SIBLING evener_status_code evener_credentials_create_foreign(const char *transport_name, void *object,
                                                                    void (*release)(void *object),
                                                                    evener_credentials **credentials,
                                                                    evener_status *status);

/* Like evener_credentials_create_tls(), for options that evener_tls_pems_check() has accepted. */
evener_status_code evener_credentials_create_tls_checked(const evener_tls_options *options,
                                                         evener_credentials **credentials, evener_status *status);

#endif
