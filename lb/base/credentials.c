/* Credentials: counted handles of the core's, so that a program may give its own back while channels live on. Each
 * holds the core initialised, because it may be made before the first channel and outlive the last. */
#include "lb/base/credentials.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "lb/base/options.h"
#include "lb/base/tls_pem.h"

struct evener_credentials {
    grpc_channel_credentials *core;
    bool is_insecure; /* made as such here: what the core's own are is not asked */
    _Atomic uint32_t references;
};

static evener_status_code wrap(grpc_channel_credentials *core, bool is_insecure, evener_credentials **credentials,
                               evener_status *status)
{
    evener_credentials *made = malloc(sizeof *made);
    if (made == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "credentials: out of memory");
    }
    made->core = core;
    made->is_insecure = is_insecure;
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
    if (wrap(core, true, credentials, status) != EVENER_STATUS_OK) {
        grpc_channel_credentials_release(core);
        grpc_shutdown();
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
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
    evener_status reason;
    const evener_tls_pems pems = {
        .roots = {options->root_certificates, "`root_certificates`"},
        .chain = {options->certificate_chain, "`certificate_chain`"},
        .key = {options->private_key, "`private_key`"},
        .hint = " (give the text itself, not the name of a file)",
    };
    const evener_status_code code = evener_tls_pems_check(&pems, &reason);
    return code == EVENER_STATUS_OK ? code : evener_status_set(status, code, "TLS credentials: %s", reason.message);
}

evener_status_code evener_credentials_create_tls_checked(const evener_tls_options *options,
                                                         evener_credentials **credentials, evener_status *status)
{
    grpc_init();
    grpc_ssl_pem_key_cert_pair pair = {.private_key = options->private_key, .cert_chain = options->certificate_chain};
    grpc_channel_credentials *core = grpc_ssl_credentials_create(
        options->root_certificates, options->private_key == NULL ? NULL : &pair, NULL, NULL);
    if (core == NULL) {
        grpc_shutdown();
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "TLS credentials: the gRPC core refused them: without root_certificates it needs its "
                                 "default roots (GRPC_DEFAULT_SSL_ROOTS_FILE_PATH, or the system's)");
    }
    if (wrap(core, false, credentials, status) != EVENER_STATUS_OK) {
        grpc_channel_credentials_release(core);
        grpc_shutdown();
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    return EVENER_STATUS_OK;
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
    return evener_credentials_create_tls_checked(&own, credentials, status);
}

evener_status_code evener_credentials_from_grpc(struct grpc_channel_credentials *core, evener_credentials **credentials,
                                                evener_status *status)
{
    if (core == NULL || credentials == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "evener_credentials_from_grpc: `%s` is NULL",
                                 core == NULL ? "core" : "credentials");
    }
    evener_status_code code = wrap(core, false, credentials, status);
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

bool evener_credentials_are_insecure(const evener_credentials *credentials)
{
    return credentials->is_insecure;
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
