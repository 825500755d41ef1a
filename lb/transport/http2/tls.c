/* OpenSSL reads the socket itself, ahead of the record it needs. It writes to memory, from which one system call writes
 * to the socket. */
#include "lb/transport/http2/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lb/base/c_locale.h"
#include "lb/base/openssl.h"
#include "lb/transport/http2/internal.h"

#define NAME_BYTES_MAX 256

/* One session is kept per transport, the last one: the backends of a channel usually share one authority. OpenSSL does
 * not check the name when it resumes a session, so the name is kept with the session. */
struct evener_http2_tls_context {
    SSL_CTX *ssl;
    pthread_mutex_t lock;
    SSL_SESSION *session;
    char session_name[NAME_BYTES_MAX];
    _Atomic uint64_t resumptions;
};

struct evener_http2_tls {
    SSL *ssl;
    BIO *output;
    size_t output_from; /* bytes of `output` that were written */
    char name[NAME_BYTES_MAX];
};

static const unsigned char alpn[] = {2, 'h', '2'};

static int connection_index(void)
{
    static _Atomic int index; /* 0: none yet (OpenSSL itself uses 0) */
    int found = atomic_load(&index);
    if (found == 0) {
        int made = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
        if (made < 0) {
            return made; /* without memory: the next connection asks again */
        }
        int expected = 0;
        found = atomic_compare_exchange_strong(&index, &expected, made) ? made : expected;
    }
    return found;
}

/* ---- the context ---- */

static evener_status_code fail(evener_status *status, const char *what)
{
    char reason[128] = "no PEM in it";
    const unsigned long error = ERR_peek_last_error();
    if (error != 0) {
        ERR_error_string_n(error, reason, sizeof reason);
    }
    ERR_clear_error();
    return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "TLS: %s: %s", what, reason);
}

static BIO *text_bio(const char *pem)
{
    return BIO_new_mem_buf(pem, -1);
}

static evener_status_code use_roots(SSL_CTX *ssl, const char *pem, evener_status *status)
{
    if (pem == NULL) {
        return SSL_CTX_set_default_verify_paths(ssl) == 1 ? EVENER_STATUS_OK
                                                          : fail(status, "the system's root certificates");
    }
    BIO *bio = text_bio(pem);
    unsigned count = 0;
    X509 *certificate;
    while (bio != NULL && (certificate = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)) != NULL) {
        count += X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), certificate) == 1;
        X509_free(certificate);
    }
    BIO_free(bio);
    if (count == 0) {
        return fail(status, "root_certificates hold no certificate");
    }
    ERR_clear_error(); /* the end of the text is an error to OpenSSL */
    return EVENER_STATUS_OK;
}

static evener_status_code use_chain(SSL_CTX *ssl, const char *pem, evener_status *status)
{
    BIO *bio = text_bio(pem);
    X509 *certificate = bio != NULL ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : NULL;
    bool is_good = certificate != NULL && SSL_CTX_use_certificate(ssl, certificate) == 1;
    X509_free(certificate);
    X509 *next;
    while (is_good && (next = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        is_good = SSL_CTX_add0_chain_cert(ssl, next) == 1;
    }
    BIO_free(bio);
    if (!is_good) {
        return fail(status, "certificate_chain holds no usable certificate");
    }
    ERR_clear_error();
    return EVENER_STATUS_OK;
}

static evener_status_code use_key(SSL_CTX *ssl, const char *pem, evener_status *status)
{
    BIO *bio = text_bio(pem);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;
    BIO_free(bio);
    if (key == NULL) {
        return fail(status, "private_key holds no usable key");
    }
    const bool is_good = SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
    EVP_PKEY_free(key);
    return is_good ? EVENER_STATUS_OK : fail(status, "private_key does not belong to certificate_chain");
}

/* Keep a session that can be resumed; with TLS 1.3 it arrives some time after the handshake. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    evener_connection *connection = SSL_get_ex_data(ssl, connection_index());
    evener_http2_tls_context *context = connection->transport->tls;
    pthread_mutex_lock(&context->lock);
    SSL_SESSION *old = context->session;
    context->session = session;
    memcpy(context->session_name, connection->tls->name, sizeof context->session_name);
    pthread_mutex_unlock(&context->lock);
    SSL_SESSION_free(old);
    return 1; /* kept */
}

evener_status_code evener_http2_tls_context_create(const evener_http2_tls_options *options,
                                                   evener_http2_tls_context **context, evener_status *status)
{
    if ((options->certificate_chain == NULL) != (options->private_key == NULL)) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT,
                                 "TLS: certificate_chain and private_key go together: %s is missing",
                                 options->private_key == NULL ? "private_key" : "certificate_chain");
    }
    evener_status_code code = evener_openssl_load(status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    evener_openssl_begin();
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
    evener_http2_tls_context *made = calloc(1, sizeof *made);
    if (ssl == NULL || made == NULL) {
        evener_openssl_end();
        SSL_CTX_free(ssl);
        free(made);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "TLS: out of memory");
    }
    /* RFC 9113 section 9.2: TLS 1.2 or higher, no compression, no renegotiation. */
    (void)SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                    SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_alpn_protos(ssl, alpn, sizeof alpn);
    (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ssl, keep_session);
    code = use_roots(ssl, options->root_certificates, status);
    if (code == EVENER_STATUS_OK && options->certificate_chain != NULL) {
        code = use_chain(ssl, options->certificate_chain, status);
        if (code == EVENER_STATUS_OK) {
            code = use_key(ssl, options->private_key, status);
        }
    }
    evener_openssl_end();
    if (code != EVENER_STATUS_OK) {
        SSL_CTX_free(ssl);
        free(made);
        return code;
    }
    pthread_mutex_init(&made->lock, NULL);
    made->ssl = ssl;
    *context = made;
    return EVENER_STATUS_OK;
}

void evener_http2_tls_context_destroy(evener_http2_tls_context *context)
{
    if (context != NULL) {
        SSL_SESSION_free(context->session);
        SSL_CTX_free(context->ssl);
        pthread_mutex_destroy(&context->lock);
        free(context);
    }
}

uint64_t evener_http2_tls_context_resumptions(const evener_http2_tls_context *context)
{
    return atomic_load_explicit(&context->resumptions, memory_order_relaxed);
}

/* ---- a connection ---- */

/* Store the authority without port, brackets and trailing dot. */
static bool read_name(const char *authority, char name[NAME_BYTES_MAX])
{
    const char *from = authority;
    size_t bytes;
    if (*from == '[') {
        from++;
        const char *end = strchr(from, ']');
        bytes = end != NULL ? (size_t)(end - from) : strlen(from);
    } else {
        const char *colon = strchr(from, ':');
        /* More than one colon: an IPv6 address without brackets. */
        bytes = colon != NULL && strchr(colon + 1, ':') == NULL ? (size_t)(colon - from) : strlen(from);
    }
    if (bytes > 0 && from[bytes - 1] == '.') {
        bytes--;
    }
    if (bytes == 0 || bytes >= NAME_BYTES_MAX) {
        return false;
    }
    memset(name, 0, NAME_BYTES_MAX);
    memcpy(name, from, bytes);
    return true;
}

static bool set_name(SSL *ssl, const char *name)
{
    struct in6_addr address;
    if (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1; /* RFC 6066: no SNI for addresses */
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

static void offer_session(evener_connection *connection)
{
    evener_http2_tls_context *context = connection->transport->tls;
    pthread_mutex_lock(&context->lock);
    if (context->session != NULL && strcmp(context->session_name, connection->tls->name) == 0) {
        (void)SSL_set_session(connection->tls->ssl, context->session);
    }
    pthread_mutex_unlock(&context->lock);
}

bool evener_http2_tls_start(evener_connection *connection)
{
    struct evener_http2_tls *tls = calloc(1, sizeof *tls);
    connection->tls = tls;
    if (tls == NULL) {
        evener_http2_connection_break(connection, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
        return false;
    }
    if (!read_name(connection->authority, tls->name)) {
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE,
                                      "TLS: the authority \"%s\" holds no name to verify", connection->authority);
        return false;
    }
    tls->ssl = SSL_new(connection->transport->tls->ssl);
    BIO *input = BIO_new_socket(connection->fd, BIO_NOCLOSE);
    tls->output = BIO_new(BIO_s_mem());
    if (tls->ssl == NULL || input == NULL || tls->output == NULL || !set_name(tls->ssl, tls->name) ||
        SSL_set_ex_data(tls->ssl, connection_index(), connection) != 1) {
        BIO_free(input);
        BIO_free(tls->output);
        tls->output = NULL;
        ERR_clear_error();
        evener_http2_connection_break(connection, EVENER_STATUS_RESOURCE_EXHAUSTED, "TLS: out of memory");
        return false;
    }
    SSL_set_bio(tls->ssl, input, tls->output); /* the SSL owns them now */
    SSL_set_connect_state(tls->ssl);
    offer_session(connection);
    return true;
}

bool evener_http2_tls_has_input(const evener_connection *connection)
{
    return connection->tls != NULL && connection->tls->ssl != NULL && SSL_has_pending(connection->tls->ssl) == 1;
}

bool evener_http2_tls_has_output(const evener_connection *connection)
{
    return connection->tls != NULL && connection->tls->output != NULL &&
           (size_t)BIO_ctrl_pending(connection->tls->output) > 0;
}

int evener_http2_tls_write_output(evener_connection *connection, char what[128])
{
    struct evener_http2_tls *tls = connection->tls;
    char *data;
    const size_t bytes = (size_t)BIO_get_mem_data(tls->output, &data);
    while (tls->output_from < bytes) {
        const ssize_t written = send(connection->fd, data + tls->output_from, bytes - tls->output_from, MSG_NOSIGNAL);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return 0;
        }
        if (written < 0) {
            snprintf(what, 128, "cannot write: %s", strerror_l(errno, evener_c_locale()));
            return -1;
        }
        tls->output_from += (size_t)written;
    }
    (void)BIO_reset(tls->output);
    tls->output_from = 0;
    return 1;
}

static void describe_failure(const evener_connection *connection, char what[128])
{
    const struct evener_http2_tls *tls = connection->tls;
    const long verified = SSL_get_verify_result(tls->ssl);
    const unsigned long error = ERR_peek_last_error();
    if (verified != X509_V_OK) {
        snprintf(what, 128, "TLS: the server's certificate is not valid for \"%.40s\": %s", tls->name,
                 X509_verify_cert_error_string(verified));
    } else if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_WRONG_VERSION_NUMBER) {
        snprintf(what, 128, "TLS: the server does not speak TLS (is it a plain-text server?)");
    } else if (error != 0) {
        const char *reason = ERR_reason_error_string(error);
        snprintf(what, 128, "TLS: the handshake failed: %s", reason != NULL ? reason : "unknown reason");
    } else {
        snprintf(what, 128, "TLS: the server closed the connection during the handshake");
    }
    ERR_clear_error();
}

evener_http2_tls_progress evener_http2_tls_handshake(evener_connection *connection)
{
    struct evener_http2_tls *tls = connection->tls;
    char what[128];
    ERR_clear_error();
    evener_openssl_begin();
    const int result = SSL_do_handshake(tls->ssl);
    evener_openssl_end();
    const int reason = result == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, result);
    if (reason != SSL_ERROR_NONE && reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE) {
        describe_failure(connection, what);
        char ignored[128];
        (void)evener_http2_tls_write_output(connection, ignored); /* the alert with the reason */
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "%s", what);
        return EVENER_HTTP2_TLS_FAILED;
    }
    const int written = evener_http2_tls_write_output(connection, what);
    if (written < 0) {
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE, "TLS: %s", what);
        return EVENER_HTTP2_TLS_FAILED;
    }
    if (reason != SSL_ERROR_NONE) {
        return written == 0 ? EVENER_HTTP2_TLS_WANTS_WRITE : EVENER_HTTP2_TLS_WANTS_READ;
    }
    const unsigned char *chosen = NULL;
    unsigned chosen_bytes = 0;
    SSL_get0_alpn_selected(tls->ssl, &chosen, &chosen_bytes);
    if (chosen_bytes != 2 || memcmp(chosen, "h2", 2) != 0) {
        evener_http2_connection_break(connection, EVENER_STATUS_UNAVAILABLE,
                                      "TLS: the server does not offer HTTP/2 (ALPN h2)");
        return EVENER_HTTP2_TLS_FAILED;
    }
    if (SSL_session_reused(tls->ssl)) {
        (void)atomic_fetch_add_explicit(&connection->transport->tls->resumptions, 1, memory_order_relaxed);
    }
    return EVENER_HTTP2_TLS_DONE;
}

ssize_t evener_http2_tls_read(evener_connection *connection, void *to, size_t bytes, char what[128])
{
    struct evener_http2_tls *tls = connection->tls;
    ERR_clear_error();
    const int got = SSL_read(tls->ssl, to, bytes > INT_MAX ? INT_MAX : (int)bytes);
    if (got > 0) {
        return got;
    }
    switch (SSL_get_error(tls->ssl, got)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        snprintf(what, 128, "the server closed the connection");
        return -1;
    default: {
        const unsigned long error = ERR_peek_last_error();
        const char *reason = error != 0 ? ERR_reason_error_string(error) : NULL;
        snprintf(what, 128, "the connection was lost: %s",
                 reason != NULL ? reason
                 : errno != 0   ? strerror_l(errno, evener_c_locale())
                                : "closed without notice");
        ERR_clear_error();
        return -1;
    }
    }
}

ssize_t evener_http2_tls_write(evener_connection *connection, const struct iovec *pieces, unsigned count,
                               char what[128])
{
    struct evener_http2_tls *tls = connection->tls;
    size_t taken = 0;
    ERR_clear_error();
    /* A full socket is detected here, before more is encrypted: at most one output is buffered. */
    if (evener_http2_tls_has_output(connection)) {
        const int before = evener_http2_tls_write_output(connection, what);
        if (before <= 0) {
            return before;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        for (size_t from = 0; from < pieces[i].iov_len;) {
            const size_t rest = pieces[i].iov_len - from;
            const int wrote =
                SSL_write(tls->ssl, (const uint8_t *)pieces[i].iov_base + from, rest > INT_MAX ? INT_MAX : (int)rest);
            if (wrote <= 0) {
                snprintf(what, 128, "TLS: cannot encrypt");
                ERR_clear_error();
                return -1;
            }
            from += (size_t)wrote;
            taken += (size_t)wrote;
        }
    }
    if (evener_http2_tls_write_output(connection, what) < 0) {
        if (tls->output_from > 0) {
            connection->written_total += taken; /* which of it was among the bytes that left is not known */
        }
        return -1;
    }
    return (ssize_t)taken;
}

void evener_http2_tls_close(evener_connection *connection)
{
    struct evener_http2_tls *tls = connection->tls;
    if (tls != NULL) {
        SSL_free(tls->ssl); /* also frees its BIOs */
        free(tls);
        connection->tls = NULL;
    }
}
