/* Private keys: what a core dump of a program with TLS credentials would show. */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <evener/evener.h>

#include "tests/support/certificates.h"

#define NEEDLE_BYTES 40
#define MASK 0x55

static char folder[] = "/tmp/evener-secrets-XXXXXX";
static char needle[NEEDLE_BYTES]; /* a part of the key, masked, so that the search does not find the test's own copy */

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    const int file = open(path_of(name), O_CREAT | O_WRONLY, 0600);
    const size_t bytes = strlen(text);
    cr_assert(file >= 0 && write(file, text, bytes) == (ssize_t)bytes);
    close(file);
}

/* In a child: no copy stays in this process. */
static void make_files(void)
{
    cr_assert_not_null(mkdtemp(folder));
    const pid_t child = fork();
    int status;
    if (child == 0) {
        certificates made;
        certificates_make(&made);
        write_file("ca.pem", made.authority);
        write_file("client.pem", made.client_certificate);
        write_file("client.key", made.client_key);
        _exit(0);
    }
    cr_assert(waitpid(child, &status, 0) == child && status == 0);
}

static void read_needle(void)
{
    char text[512];
    const int file = open(path_of("client.key"), O_RDONLY);
    const ssize_t bytes = read(file, text, sizeof text - 1);
    close(file);
    cr_assert_gt(bytes, 0);
    text[bytes] = '\0';
    const char *at = strchr(text, '\n');
    cr_assert(at != NULL && strlen(at) > NEEDLE_BYTES + 4);
    for (int i = 0; i < NEEDLE_BYTES; i++) {
        needle[i] = (char)(at[4 + i] ^ MASK);
    }
    explicit_bzero(text, sizeof text);
}

static size_t count_in(const char *memory, size_t bytes)
{
    size_t found = 0;
    for (size_t i = 0; i + NEEDLE_BYTES <= bytes; i++) {
        size_t same = 0;
        while (same < NEEDLE_BYTES && memory[i + same] == (char)(needle[same] ^ MASK)) {
            same++;
        }
        found += same == NEEDLE_BYTES;
    }
    return found;
}

typedef struct copies {
    size_t dumped, excluded; /* in memory that a core dump has, and in memory that it has not */
} copies;

/* Look through all private, writable memory. */
static copies find_copies(void)
{
    copies found = {0};
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    unsigned long begin = 0, end = 0;
    cr_assert_not_null(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        char rights[8];
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3) {
            const bool is_data = strncmp(rights, "rw-p", 4) == 0 && strstr(line, "[stack]") == NULL;
            begin = is_data ? from : 0;
            end = is_data ? to : 0;
        } else if (strncmp(line, "VmFlags:", 8) == 0 && end > begin) {
            const size_t count = count_in((const char *)begin, end - begin);
            *(strstr(line, " dd") != NULL ? &found.excluded : &found.dumped) += count;
        }
    }
    fclose(maps);
    return found;
}

static void tear_down(void)
{
    (void)unlink(path_of("ca.pem"));
    (void)unlink(path_of("client.pem"));
    (void)unlink(path_of("client.key"));
    (void)unlink(path_of("evener.cfg"));
    (void)rmdir(folder);
}

Test(secrets, a_key_read_from_files_is_in_no_core_dump_and_is_gone_with_its_credentials, .fini = tear_down)
{
    evener_status status;
    evener_credentials *credentials = NULL;
    make_files();
    read_needle();
    const evener_tls_files files = {.size = sizeof files,
                                    .root_certificates = path_of("ca.pem"),
                                    .certificate_chain = path_of("client.pem"),
                                    .private_key = path_of("client.key")};
    cr_assert_eq(evener_tls_files_read(&files, &credentials, &status), EVENER_STATUS_OK, "%s", status.message);
    const copies there = find_copies();
    cr_assert_eq(there.dumped, 0);
    cr_assert_eq(there.excluded, 1);
    evener_credentials_destroy(credentials);
    const copies gone = find_copies();
    cr_assert_eq(gone.dumped + gone.excluded, 0);
}

Test(secrets, a_factorys_key_is_in_no_core_dump, .fini = tear_down)
{
    evener_status status;
    evener_factory *factory = NULL;
    evener_channel *channel = NULL;
    make_files();
    read_needle();
    write_file("evener.cfg", "defaults = { transport = \"http2\"; credentials = { ca = \"ca.pem\";"
                             " certificate = \"client.pem\"; key = \"client.key\"; }; };\n"
                             "channels = { a = { target = \"static:127.0.0.1:1\"; }; };\n");
    cr_assert_eq(evener_factory_open(path_of("evener.cfg"), NULL, &factory, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_assert_eq(evener_factory_channel(factory, "a", &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    const copies there = find_copies();
    cr_assert_eq(there.dumped, 0, "%zu", there.dumped);
    cr_assert_gt(there.excluded, 0);
    evener_channel_unref(channel);
    evener_factory_close(factory);
    const copies gone = find_copies();
    cr_assert_eq(gone.dumped + gone.excluded, 0, "%zu and %zu", gone.dumped, gone.excluded);
}
