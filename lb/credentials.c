/* Credentials: counted handles of the core's, so that a program may give its own back while channels live on. Each
 * holds the core initialised, because it may be made before the first channel and outlive the last. */
#include "lb/credentials.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "lb/options.h"

struct evener_credentials {
    grpc_channel_credentials *core;
    _Atomic uint32_t references;
};

static evener_status_code wrap(grpc_channel_credentials *core, evener_credentials **credentials, evener_status *status)
{
    evener_credentials *made = malloc(sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "credentials: out of memory");
    }
    made->core = core;
    atomic_init(&made->references, 1);
    *credentials = made;
    return evener_status_clear(status);
}

evener_status_code evener_credentials_create_insecure(evener_credentials **credentials, evener_status *status)
{
    if (credentials == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "evener_credentials_create_insecure: `credentials` is NULL");
    }
    grpc_init();
    grpc_channel_credentials *core = grpc_insecure_credentials_create();
    if (wrap(core, credentials, status) != EVENER_STATUS_OK) {
        grpc_channel_credentials_release(core);
        grpc_shutdown();
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    return EVENER_STATUS_OK;
}

/* The core reads PEM only when it connects, and then says no more than that the handshake failed: a wrong text is told
 * here, where it can still be named. */
static bool looks_like_pem(const char *text, const char *what)
{
    const char *begin = strstr(text, "-----BEGIN ");
    const char *label = begin == NULL ? NULL : strstr(begin, what);
    return label != NULL && strstr(label, "-----END ") != NULL;
}

static evener_status_code check_pem(const char *text, const char *what, const char *field, evener_status *status)
{
    if (text != NULL && !looks_like_pem(text, what)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "TLS credentials: `%s` holds no PEM block -----BEGIN ...%s----- to -----END (give the "
                                 "text itself, not the name of a file)",
                                 field, what);
    }
    return EVENER_STATUS_OK;
}

static evener_status_code check_tls_options(const evener_tls_options *options, evener_status *status)
{
    if ((options->certificate_chain == NULL) != (options->private_key == NULL)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "TLS credentials: `%s` is missing: mTLS needs certificate_chain and private_key, TLS "
                                 "neither",
                                 options->private_key == NULL ? "private_key" : "certificate_chain");
    }
    evener_status_code code = check_pem(options->root_certificates, "CERTIFICATE", "root_certificates", status);
    if (code == EVENER_STATUS_OK) {
        code = check_pem(options->certificate_chain, "CERTIFICATE", "certificate_chain", status);
    }
    if (code == EVENER_STATUS_OK) {
        code = check_pem(options->private_key, "PRIVATE KEY", "private_key", status);
    }
    return code;
}

evener_status_code evener_credentials_create_tls(const evener_tls_options *options, evener_credentials **credentials,
                                                 evener_status *status)
{
    if (credentials == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "evener_credentials_create_tls: `credentials` is NULL");
    }
    evener_tls_options own;
    evener_status_code code =
        evener_options_read(&own, sizeof own, options, "TLS options", "evener_tls_options", status);
    if (code == EVENER_STATUS_OK) {
        code = check_tls_options(&own, status);
    }
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    grpc_init();
    grpc_ssl_pem_key_cert_pair pair = {.private_key = own.private_key, .cert_chain = own.certificate_chain};
    grpc_channel_credentials *core =
        grpc_ssl_credentials_create(own.root_certificates, own.private_key == NULL ? NULL : &pair, NULL, NULL);
    if (core == NULL) {
        grpc_shutdown();
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "TLS credentials: the gRPC core refused them: without root_certificates it needs its "
                                 "default roots (GRPC_DEFAULT_SSL_ROOTS_FILE_PATH, or the system's)");
    }
    if (wrap(core, credentials, status) != EVENER_STATUS_OK) {
        grpc_channel_credentials_release(core);
        grpc_shutdown();
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    return EVENER_STATUS_OK;
}

evener_status_code evener_credentials_from_grpc(struct grpc_channel_credentials *core, evener_credentials **credentials,
                                                evener_status *status)
{
    if (core == NULL || credentials == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "evener_credentials_from_grpc: `%s` is NULL",
                                 core == NULL ? "core" : "credentials");
    }
    evener_status_code code = wrap(core, credentials, status);
    if (code == EVENER_STATUS_OK) {
        grpc_init();
    }
    return code;
}

evener_credentials *evener_credentials_ref(const evener_credentials *credentials)
{
    evener_credentials *counted = (evener_credentials *)(uintptr_t)credentials;
    atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    return counted;
}

struct grpc_channel_credentials *evener_credentials_core(const evener_credentials *credentials)
{
    return credentials->core;
}

void evener_credentials_destroy(evener_credentials *credentials)
{
    /* acq_rel: the last one sees what all others did with the handle. */
    if (credentials == NULL || atomic_fetch_sub_explicit(&credentials->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    grpc_channel_credentials_release(credentials->core);
    grpc_shutdown();
    free(credentials);
}
