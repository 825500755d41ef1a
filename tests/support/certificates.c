#include "support/certificates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 512
#define ARGUMENTS_BYTES 2048
#define COMMAND_BYTES (ARGUMENTS_BYTES + PATH_BYTES)

static void run(const char *folder, const char *arguments)
{
    char command[COMMAND_BYTES];
    snprintf(command, sizeof command, "cd %s && openssl %s >openssl.log 2>&1 || { cat openssl.log >&2; exit 1; }",
             folder, arguments);
    if (system(command) != 0) {
        fprintf(stderr, "certificates: openssl %s failed\n", arguments);
        abort();
    }
}

static char *read_file(const char *folder, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        abort();
    }
    char *text = calloc(1, 65536);
    (void)fread(text, 1, 65535, file);
    fclose(file);
    return text;
}

static void make_authority(const char *folder, const char *name)
{
    char arguments[ARGUMENTS_BYTES];
    snprintf(arguments, sizeof arguments,
             "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=%s -keyout %s.key -out "
             "%s.pem",
             name, name, name);
    run(folder, arguments);
}

static void make_signed(const char *folder, const char *name, const char *subject, const char *names,
                        const char *authority)
{
    char arguments[ARGUMENTS_BYTES];
    snprintf(arguments, sizeof arguments,
             "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=%s -addext subjectAltName=%s -keyout "
             "%s.key -out %s.csr",
             subject, names, name, name);
    run(folder, arguments);
    snprintf(arguments, sizeof arguments,
             "x509 -req -in %s.csr -CA %s.pem -CAkey %s.key -CAcreateserial -days 2 -copy_extensions copy "
             "-out %s.pem",
             name, authority, authority, name);
    run(folder, arguments);
}

void certificates_make(certificates *made)
{
    char folder[] = "/tmp/evener-certificates-XXXXXX";
    if (mkdtemp(folder) == NULL) {
        perror(folder);
        abort();
    }
    make_authority(folder, "authority");
    make_authority(folder, "other");
    make_signed(folder, "server", "orders.test", "DNS:orders.test", "authority");
    make_signed(folder, "by_address", "by-address", "IP:127.0.0.1,IP:::1", "authority");
    make_signed(folder, "localhost", "localhost", "DNS:localhost", "authority");
    make_signed(folder, "client", "client.test", "DNS:client.test", "authority");
    make_signed(folder, "renewed", "renewed.test", "DNS:renewed.test", "other");
    run(folder, "pkey -in client.key -aes256 -passout pass:secret -out encrypted.key");
    made->authority = read_file(folder, "authority.pem");
    made->other_authority = read_file(folder, "other.pem");
    made->server_certificate = read_file(folder, "server.pem");
    made->server_key = read_file(folder, "server.key");
    made->client_certificate = read_file(folder, "client.pem");
    made->client_key = read_file(folder, "client.key");
    made->address_certificate = read_file(folder, "by_address.pem");
    made->address_key = read_file(folder, "by_address.key");
    made->localhost_certificate = read_file(folder, "localhost.pem");
    made->localhost_key = read_file(folder, "localhost.key");
    made->renewed_certificate = read_file(folder, "renewed.pem");
    made->renewed_key = read_file(folder, "renewed.key");
    made->encrypted_client_key = read_file(folder, "encrypted.key");
    char command[PATH_BYTES];
    snprintf(command, sizeof command, "rm -r %s", folder);
    (void)!system(command);
}

void certificates_free(certificates *made)
{
    free(made->authority);
    free(made->other_authority);
    free(made->server_certificate);
    free(made->server_key);
    free(made->client_certificate);
    free(made->client_key);
    free(made->address_certificate);
    free(made->address_key);
    free(made->localhost_certificate);
    free(made->localhost_key);
    free(made->renewed_certificate);
    free(made->renewed_key);
    free(made->encrypted_client_key);
}
