/* Certificates for tests, made by openssl(1) in a folder of their own. */
#ifndef TESTS_GRPC_CERTIFICATES_H
#define TESTS_GRPC_CERTIFICATES_H

/* One authority; a server certificate for the name "orders.test" and a client certificate, both signed by it; and
 * another authority that signed nothing. All are PEM texts. */
typedef struct certificates {
    char *authority;
    char *other_authority;
    char *server_certificate;
    char *server_key;
    char *client_certificate;
    char *client_key;
} certificates;

/* Aborts the test program when openssl fails. */
void certificates_make(certificates *made);
void certificates_free(certificates *made);

#endif
