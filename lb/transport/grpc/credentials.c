#include "lb/transport/grpc/credentials.h"

#include <grpc/grpc_security.h>

#include <evener/grpc.h>

#include "lb/base/credentials.h"

/* Release the core's credentials. Each handle keeps the core initialised, as it may exist before the first channel and
 * after the last. */
static void release_foreign(void *object)
{
    grpc_channel_credentials_release(object);
    grpc_shutdown();
}

evener_status_code evener_credentials_from_grpc(struct grpc_channel_credentials *core, evener_credentials **credentials,
                                                evener_status *status)
{
    if (core == NULL || credentials == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "evener_credentials_from_grpc: `%s` is NULL",
                                 core == NULL ? "core" : "credentials");
    }
    const evener_status_code code =
        evener_credentials_create_foreign(EVENER_GRPC_TRANSPORT_NAME, core, release_foreign, credentials, status);
    if (code == EVENER_STATUS_OK) {
        grpc_init();
    }
    return code;
}

static grpc_channel_credentials *make_tls(const evener_tls_options *options)
{
    grpc_ssl_pem_key_cert_pair pair = {.private_key = options->private_key, .cert_chain = options->certificate_chain};
    return grpc_ssl_credentials_create(options->root_certificates, options->private_key == NULL ? NULL : &pair, NULL,
                                       NULL);
}

evener_status_code evener_grpc_credentials_make(const evener_credentials *credentials, evener_grpc_credentials *made,
                                                evener_status *status)
{
    grpc_channel_credentials *core = NULL;
    bool is_own = true;
    grpc_init(); /* until clear() */
    switch (evener_credentials_get_kind(credentials)) {
    case EVENER_CREDENTIALS_INSECURE:
        core = grpc_insecure_credentials_create();
        break;
    case EVENER_CREDENTIALS_TLS:
        core = make_tls(evener_credentials_tls(credentials));
        break;
    case EVENER_CREDENTIALS_FOREIGN: /* the core's public API takes no reference: the handle keeps it */
        core = evener_credentials_foreign(credentials, EVENER_GRPC_TRANSPORT_NAME);
        is_own = false;
        break;
    }
    if (core == NULL) {
        grpc_shutdown();
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "credentials: %s",
                                 is_own ? "the gRPC core refuses them: without root_certificates it needs its default "
                                          "roots (GRPC_DEFAULT_SSL_ROOTS_FILE_PATH, or the system's)"
                                        : "they are another transport's, and the gRPC core cannot use them");
    }
    *made = (evener_grpc_credentials){.handle = evener_credentials_ref(credentials), .core = core, .is_own = is_own};
    return evener_status_clear(status);
}

void evener_grpc_credentials_clear(evener_grpc_credentials *credentials)
{
    if (credentials->is_own) {
        grpc_channel_credentials_release(credentials->core);
    }
    evener_credentials_destroy(credentials->handle);
    grpc_shutdown();
}
