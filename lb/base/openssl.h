/* OpenSSL, loaded with the first TLS credentials instead of with this library: a program that uses no TLS pays neither
 * its 1.7 MB of memory nor the time to relocate it. Include this header instead of OpenSSL's own, and call
 * evener_openssl_load() before any of its functions.
 *
 * The functions are called by their own names, through a table. One that is missing here is an undefined symbol when
 * the shared library is linked: add it to the list and to the names below. */
#ifndef EVENER_LB_BASE_OPENSSL_H
#define EVENER_LB_BASE_OPENSSL_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <evener/status.h>

/* Load OpenSSL, if no earlier call did. Errors: FAILED_PRECONDITION, which names the package. Any thread. */
evener_status_code evener_openssl_load(evener_status *status);

/* Begin, end a use of OpenSSL that may take locks of the process's: contexts, keys, handshakes (not records). A fork()
 * waits for the end of all of them, so that these locks are free in the child. Not nested. Any thread. */
void evener_openssl_begin(void);
void evener_openssl_end(void);

/* clang-format off */
#define EVENER_OPENSSL_FUNCTIONS(F) \
    F(BIO_ctrl) F(BIO_ctrl_pending) F(BIO_free) F(BIO_new) F(BIO_new_mem_buf) F(BIO_new_socket) F(BIO_s_mem) \
    F(CRYPTO_get_ex_new_index) F(ERR_clear_error) F(ERR_error_string_n) F(ERR_peek_last_error) \
    F(ERR_pop_to_mark) F(ERR_reason_error_string) F(ERR_set_mark) F(EVP_PKEY_free) F(PEM_read_bio_PrivateKey) \
    F(PEM_read_bio_X509) F(PEM_read_bio_X509_AUX) F(SSL_CTX_check_private_key) F(SSL_CTX_ctrl) F(SSL_CTX_free) \
    F(SSL_CTX_get_cert_store) F(SSL_CTX_new) F(SSL_CTX_sess_set_new_cb) F(SSL_CTX_set_alpn_protos) \
    F(SSL_CTX_set_default_verify_paths) F(SSL_CTX_set_options) F(SSL_CTX_set_verify) F(SSL_CTX_use_PrivateKey) \
    F(SSL_CTX_use_certificate) F(SSL_SESSION_free) F(SSL_ctrl) F(SSL_do_handshake) F(SSL_free) \
    F(SSL_get0_alpn_selected) F(SSL_get0_param) F(SSL_get_error) F(SSL_get_ex_data) F(SSL_get_verify_result) \
    F(SSL_has_pending) F(SSL_new) F(SSL_read) F(SSL_session_reused) F(SSL_set1_host) F(SSL_set_bio) \
    F(SSL_set_connect_state) F(SSL_set_ex_data) F(SSL_set_hostflags) F(SSL_set_session) F(SSL_write) \
    F(TLS_client_method) F(X509_NAME_oneline) F(X509_STORE_add_cert) F(X509_VERIFY_PARAM_set1_ip_asc) \
    F(X509_check_private_key) F(X509_free) F(X509_get_subject_name) F(X509_verify_cert_error_string)

typedef struct evener_openssl_table {
#define EVENER_OPENSSL_MEMBER(name) __typeof__(name) *name##_;
    EVENER_OPENSSL_FUNCTIONS(EVENER_OPENSSL_MEMBER)
#undef EVENER_OPENSSL_MEMBER
} evener_openssl_table;

extern evener_openssl_table evener_openssl; /* set by evener_openssl_load(), constant afterwards */

#define BIO_ctrl evener_openssl.BIO_ctrl_
#define BIO_ctrl_pending evener_openssl.BIO_ctrl_pending_
#define BIO_free evener_openssl.BIO_free_
#define BIO_new evener_openssl.BIO_new_
#define BIO_new_mem_buf evener_openssl.BIO_new_mem_buf_
#define BIO_new_socket evener_openssl.BIO_new_socket_
#define BIO_s_mem evener_openssl.BIO_s_mem_
#define CRYPTO_get_ex_new_index evener_openssl.CRYPTO_get_ex_new_index_
#define ERR_clear_error evener_openssl.ERR_clear_error_
#define ERR_error_string_n evener_openssl.ERR_error_string_n_
#define ERR_peek_last_error evener_openssl.ERR_peek_last_error_
#define ERR_pop_to_mark evener_openssl.ERR_pop_to_mark_
#define ERR_reason_error_string evener_openssl.ERR_reason_error_string_
#define ERR_set_mark evener_openssl.ERR_set_mark_
#define EVP_PKEY_free evener_openssl.EVP_PKEY_free_
#define PEM_read_bio_PrivateKey evener_openssl.PEM_read_bio_PrivateKey_
#define PEM_read_bio_X509 evener_openssl.PEM_read_bio_X509_
#define PEM_read_bio_X509_AUX evener_openssl.PEM_read_bio_X509_AUX_
#define SSL_CTX_check_private_key evener_openssl.SSL_CTX_check_private_key_
#define SSL_CTX_ctrl evener_openssl.SSL_CTX_ctrl_
#define SSL_CTX_free evener_openssl.SSL_CTX_free_
#define SSL_CTX_get_cert_store evener_openssl.SSL_CTX_get_cert_store_
#define SSL_CTX_new evener_openssl.SSL_CTX_new_
#define SSL_CTX_sess_set_new_cb evener_openssl.SSL_CTX_sess_set_new_cb_
#define SSL_CTX_set_alpn_protos evener_openssl.SSL_CTX_set_alpn_protos_
#define SSL_CTX_set_default_verify_paths evener_openssl.SSL_CTX_set_default_verify_paths_
#define SSL_CTX_set_options evener_openssl.SSL_CTX_set_options_
#define SSL_CTX_set_verify evener_openssl.SSL_CTX_set_verify_
#define SSL_CTX_use_PrivateKey evener_openssl.SSL_CTX_use_PrivateKey_
#define SSL_CTX_use_certificate evener_openssl.SSL_CTX_use_certificate_
#define SSL_SESSION_free evener_openssl.SSL_SESSION_free_
#define SSL_ctrl evener_openssl.SSL_ctrl_
#define SSL_do_handshake evener_openssl.SSL_do_handshake_
#define SSL_free evener_openssl.SSL_free_
#define SSL_get0_alpn_selected evener_openssl.SSL_get0_alpn_selected_
#define SSL_get0_param evener_openssl.SSL_get0_param_
#define SSL_get_error evener_openssl.SSL_get_error_
#define SSL_get_ex_data evener_openssl.SSL_get_ex_data_
#define SSL_get_verify_result evener_openssl.SSL_get_verify_result_
#define SSL_has_pending evener_openssl.SSL_has_pending_
#define SSL_new evener_openssl.SSL_new_
#define SSL_read evener_openssl.SSL_read_
#define SSL_session_reused evener_openssl.SSL_session_reused_
#define SSL_set1_host evener_openssl.SSL_set1_host_
#define SSL_set_bio evener_openssl.SSL_set_bio_
#define SSL_set_connect_state evener_openssl.SSL_set_connect_state_
#define SSL_set_ex_data evener_openssl.SSL_set_ex_data_
#define SSL_set_hostflags evener_openssl.SSL_set_hostflags_
#define SSL_set_session evener_openssl.SSL_set_session_
#define SSL_write evener_openssl.SSL_write_
#define TLS_client_method evener_openssl.TLS_client_method_
#define X509_NAME_oneline evener_openssl.X509_NAME_oneline_
#define X509_STORE_add_cert evener_openssl.X509_STORE_add_cert_
#define X509_VERIFY_PARAM_set1_ip_asc evener_openssl.X509_VERIFY_PARAM_set1_ip_asc_
#define X509_check_private_key evener_openssl.X509_check_private_key_
#define X509_free evener_openssl.X509_free_
#define X509_get_subject_name evener_openssl.X509_get_subject_name_
#define X509_verify_cert_error_string evener_openssl.X509_verify_cert_error_string_
/* clang-format on */

#endif
