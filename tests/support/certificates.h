/* Certificates for tests, made by openssl(1) in a folder of their own. */
#ifndef TESTS_SUPPORT_CERTIFICATES_H
#define TESTS_SUPPORT_CERTIFICATES_H

/* One authority, and what it signed: server certificates for the name "orders.test", for the addresses 127.0.0.1 and
 * ::1, and for "localhost", and a client certificate. And another authority, which signed only a client certificate to
 * renew the first one with. All are PEM texts. */
typedef struct certificates {
    char *authority;
    char *other_authority;
    char *server_certificate;
    char *server_key;
    char *client_certificate;
    char *client_key;
    char *address_certificate;
    char *address_key;
    char *localhost_certificate;
    char *localhost_key;
    char *renewed_certificate;
    char *renewed_key;
    char *encrypted_client_key; /* client_key with a password */
} certificates;

/* Abort the test program when openssl fails. */
void certificates_make(certificates *made);
void certificates_free(certificates *made);

#endif
