#include "lb/base/tls_pem.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "lb/base/openssl.h"

#define SUBJECT_BYTES 128

/* Never ask on the terminal, which OpenSSL does by default. */
static int no_password(char *buffer, int bytes, int writing, void *arg)
{
    (void)buffer;
    (void)bytes;
    (void)writing;
    (void)arg;
    return -1;
}

static evener_status_code bad(evener_status *status, const evener_tls_pem *pem, const char *reason)
{
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s %s", pem->name, reason);
}

static evener_status_code no_memory(evener_status *status)
{
    return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "TLS credentials: out of memory");
}

static evener_status_code look_at_text(const evener_tls_pems *pems, const evener_tls_pem *pem, const char *label,
                                       evener_status *status)
{
    const char *begin = strstr(pem->text, "-----BEGIN ");
    const char *what = begin != NULL ? strstr(begin, label) : NULL;
    if (what == NULL || strstr(what, "-----END ") == NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "%s holds no PEM block -----BEGIN ...%s----- to -----END%s", pem->name, label,
                                 pems->hint);
    }
    return EVENER_STATUS_OK;
}

static BIO *open_text(const evener_tls_pem *pem)
{
    const size_t bytes = strlen(pem->text);
    return bytes <= INT_MAX ? BIO_new_mem_buf(pem->text, (int)bytes) : NULL;
}

/* Whether the last read found nothing but the end of the text. */
static bool at_end(void)
{
    const unsigned long error = ERR_peek_last_error();
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

typedef struct chain {
    X509 *leaf;           /* the first certificate, owned */
    const EVP_PKEY *key;  /* to look for; NULL: none */
    unsigned other_match; /* number of a later certificate that the key belongs to; 0: none */
} chain;

/* Parse every certificate of a text, and keep the first. */
static evener_status_code read_certificates(const evener_tls_pems *pems, const evener_tls_pem *pem, chain *found,
                                            evener_status *status)
{
    evener_status_code code = look_at_text(pems, pem, "CERTIFICATE", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    BIO *bio = open_text(pem);
    if (bio == NULL) {
        return no_memory(status);
    }
    for (unsigned number = 1; code == EVENER_STATUS_OK; number++) {
        X509 *certificate = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
        if (certificate == NULL) {
            if (number == 1 || !at_end()) {
                code = evener_status_set(
                    status, EVENER_STATUS_INVALID_ARGUMENT,
                    "%s: certificate %u of it cannot be parsed: the PEM text is damaged or cut off", pem->name, number);
            }
            break;
        }
        if (number == 1 && found != NULL) {
            found->leaf = certificate;
            continue;
        }
        if (found != NULL && found->key != NULL && found->other_match == 0 &&
            X509_check_private_key(certificate, found->key) == 1) {
            found->other_match = number;
        }
        X509_free(certificate);
    }
    BIO_free(bio);
    return code;
}

static evener_status_code read_key(const evener_tls_pems *pems, const evener_tls_pem *pem, EVP_PKEY **key,
                                   evener_status *status)
{
    const evener_status_code code = look_at_text(pems, pem, "PRIVATE KEY", status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    BIO *bio = open_text(pem);
    if (bio == NULL) {
        return no_memory(status);
    }
    *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    if (*key != NULL) {
        return EVENER_STATUS_OK;
    }
    const bool encrypted = strstr(pem->text, "ENCRYPTED") != NULL;
    return bad(status, pem,
               encrypted ? "is encrypted: a private key without a password is needed (openssl pkey -in KEY -out PLAIN)"
                         : "holds no private key that can be parsed: the PEM text is damaged or cut off");
}

static evener_status_code mismatch(const evener_tls_pems *pems, const chain *found, evener_status *status)
{
    char subject[SUBJECT_BYTES];
    if (X509_NAME_oneline(X509_get_subject_name(found->leaf), subject, sizeof subject) == NULL) {
        subject[0] = '\0';
    }
    if (found->other_match != 0) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "the private key in %s belongs to certificate %u in %s: that one has to be the first, "
                                 "which is \"%s\"",
                                 pems->key.name, found->other_match, pems->chain.name, subject);
    }
    return evener_status_set(
        status, EVENER_STATUS_INVALID_ARGUMENT,
        "the private key in %s does not belong to the certificate \"%s\" in %s: give two that were "
        "made together",
        pems->key.name, subject, pems->chain.name);
}

static evener_status_code check_pair(const evener_tls_pems *pems, evener_status *status)
{
    EVP_PKEY *key = NULL;
    chain found = {0};
    evener_status_code code = read_key(pems, &pems->key, &key, status);
    if (code == EVENER_STATUS_OK) {
        found.key = key;
        code = read_certificates(pems, &pems->chain, &found, status);
    }
    if (code == EVENER_STATUS_OK && X509_check_private_key(found.leaf, key) != 1) {
        code = mismatch(pems, &found, status);
    }
    X509_free(found.leaf);
    EVP_PKEY_free(key);
    return code;
}

evener_status_code evener_tls_pems_check(const evener_tls_pems *pems, evener_status *status)
{
    evener_status_code code = evener_openssl_load(status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_openssl_begin();
    (void)ERR_set_mark();
    if (pems->roots.text != NULL) {
        code = read_certificates(pems, &pems->roots, NULL, status);
    }
    if (code == EVENER_STATUS_OK && pems->chain.text != NULL) {
        code = check_pair(pems, status);
    }
    (void)ERR_pop_to_mark();
    evener_openssl_end();
    return code;
}
