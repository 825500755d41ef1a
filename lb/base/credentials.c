/* Credentials are counted, so that a program may give its handle back while channels live on. Private keys are wiped
 * before their memory is freed. */
#include "lb/base/credentials.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lb/base/options.h"
#include "lb/base/secret.h"
#include "lb/base/tls_pem.h"

struct evener_credentials {
    evener_credentials_kind kind;
    uint32_t references;    /* atomic */
    evener_tls_options tls; /* the texts are owned */
    const char *transport_name;
    void *object;
    void (*release)(void *object);
};

static evener_credentials *create(evener_credentials_kind kind, evener_status *status)
{
    evener_credentials *made = calloc(1, sizeof *made);
    if (made == NULL) {
        evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "credentials: out of memory");
        return NULL;
    }
    made->kind = kind;
    made->references = 1;
    made->tls.size = sizeof made->tls;
    return made;
}

evener_status_code evener_credentials_create_insecure(evener_credentials **credentials, evener_status *status)
{
    if (credentials == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "evener_credentials_create_insecure: `credentials` is NULL");
    }
    evener_credentials *made = create(EVENER_CREDENTIALS_INSECURE, status);
    if (made == NULL) {
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    *credentials = made;
    return evener_status_clear(status);
}

/* ---- TLS ---- */

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

/* Return false on out of memory. */
static bool copy_text(const char *text, const char **copy)
{
    *copy = text != NULL ? strdup(text) : NULL;
    return text == NULL || *copy != NULL;
}

evener_status_code evener_credentials_create_tls_checked(const evener_tls_options *options,
                                                         evener_credentials **credentials, evener_status *status)
{
    evener_credentials *made = create(EVENER_CREDENTIALS_TLS, status);
    if (made == NULL) {
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    if (!copy_text(options->root_certificates, &made->tls.root_certificates) ||
        !copy_text(options->certificate_chain, &made->tls.certificate_chain) ||
        (options->private_key != NULL && (made->tls.private_key = evener_secret_copy(options->private_key)) == NULL)) {
        evener_credentials_destroy(made);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "TLS credentials: out of memory");
    }
    *credentials = made;
    return evener_status_clear(status);
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

const evener_tls_options *evener_credentials_tls(const evener_credentials *credentials)
{
    return &credentials->tls;
}

/* ---- credentials of one transport's library ---- */

evener_status_code evener_credentials_create_foreign(const char *transport_name, void *object,
                                                     void (*release)(void *object), evener_credentials **credentials,
                                                     evener_status *status)
{
    evener_credentials *made = create(EVENER_CREDENTIALS_FOREIGN, status);
    if (made == NULL) {
        return EVENER_STATUS_RESOURCE_EXHAUSTED;
    }
    made->transport_name = transport_name;
    made->object = object;
    made->release = release;
    *credentials = made;
    return evener_status_clear(status);
}

void *evener_credentials_foreign(const evener_credentials *credentials, const char *transport_name)
{
    const bool is_its =
        credentials->kind == EVENER_CREDENTIALS_FOREIGN && strcmp(credentials->transport_name, transport_name) == 0;
    return is_its ? credentials->object : NULL;
}

/* ---- references ---- */

evener_credentials_kind evener_credentials_get_kind(const evener_credentials *credentials)
{
    return credentials->kind;
}

evener_credentials *evener_credentials_ref(const evener_credentials *credentials)
{
    evener_credentials *counted = (evener_credentials *)(uintptr_t)credentials;
    (void)__atomic_fetch_add(&counted->references, 1, __ATOMIC_RELAXED);
    return counted;
}

void evener_credentials_destroy(evener_credentials *credentials)
{
    /* acq_rel: all other uses of the handle happen before the free */
    if (credentials == NULL || __atomic_sub_fetch(&credentials->references, 1, __ATOMIC_ACQ_REL) != 0) {
        return;
    }
    if (credentials->release != NULL) {
        credentials->release(credentials->object);
    }
    free((char *)(uintptr_t)credentials->tls.root_certificates);
    free((char *)(uintptr_t)credentials->tls.certificate_chain);
    evener_secret_free((char *)(uintptr_t)credentials->tls.private_key);
    free(credentials);
}
