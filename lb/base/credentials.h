/* Credentials, as the gRPC transport sees them. */
#ifndef EVENER_LB_BASE_CREDENTIALS_H
#define EVENER_LB_BASE_CREDENTIALS_H

#include <stdbool.h>

#include <evener/credentials.h>

/* Another reference to the same credentials, to be given back with evener_credentials_destroy(). Any thread. */
evener_credentials *evener_credentials_ref(const evener_credentials *credentials);

/* The core's handle; borrowed. */
struct grpc_channel_credentials *evener_credentials_core(const evener_credentials *credentials);

/* Whether they were made by evener_credentials_create_insecure(). All others may verify the server's name: the core does
 * not say which kind its own are. Any thread. */
bool evener_credentials_are_insecure(const evener_credentials *credentials);

/* As evener_credentials_create_tls(), for options that evener_tls_pems_check() has found good already. */
evener_status_code evener_credentials_create_tls_checked(const evener_tls_options *options,
                                                         evener_credentials **credentials, evener_status *status);

#endif
