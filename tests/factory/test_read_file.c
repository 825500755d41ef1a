/* Reading regular files: limits, refusals, and that the reader never blocks. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lb/base/read_file.h"

static char folder[] = "/tmp/evener-read-XXXXXX";
static char path[64];

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
}

static void tear_down(void)
{
    unlink(path);
    rmdir(folder);
}

TestSuite(read_file, .init = set_up, .fini = tear_down);

static void write_bytes(const char *bytes, size_t count)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, count, file), count);
    fclose(file);
}

static void expect_refusal(const char *name, size_t bytes_max, evener_status_code code, const char *reason)
{
    char *text = NULL;
    size_t bytes = 77;
    evener_status status;
    cr_expect_eq(evener_read_regular_file(name, bytes_max, &text, &bytes, &status), code, "%s", status.message);
    cr_expect_eq(strncmp(status.message, name, strlen(name)), 0, "%s", status.message);
    cr_expect_not_null(strstr(status.message, reason), "%s", status.message);
    cr_expect_null(text);
    cr_expect_eq(bytes, 77);
}

Test(read_file, gives_all_bytes_and_a_nul_after_them)
{
    static const char bytes[] = "a\0b\n";
    write_bytes(bytes, sizeof bytes - 1);
    char *text;
    size_t count;
    evener_status status;
    cr_assert_eq(evener_read_regular_file(path, 100, &text, &count, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(count, sizeof bytes - 1);
    cr_expect_eq(memcmp(text, bytes, sizeof bytes), 0);
    free(text);
}

Test(read_file, an_empty_file_is_an_empty_text)
{
    write_bytes("", 0);
    char *text;
    size_t count;
    cr_assert_eq(evener_read_regular_file(path, 0, &text, &count, NULL), EVENER_STATUS_OK);
    cr_expect_eq(count, 0);
    cr_expect_str_eq(text, "");
    free(text);
}

Test(read_file, a_size_of_zero_is_not_believed)
{
    char *text;
    size_t count;
    evener_status status;
    cr_assert_eq(evener_read_regular_file("/proc/version", 4096, &text, &count, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_expect_gt(count, 10);
    cr_expect_eq(text[count], '\0');
    free(text);
    expect_refusal("/proc/version", 10, EVENER_STATUS_INVALID_ARGUMENT, "larger than 10 bytes");
}

/* Larger than the first buffer for a file without a size. */
Test(read_file, a_long_file_without_a_size_is_read_to_its_end)
{
    char *text;
    size_t count;
    evener_status status;
    cr_assert_eq(evener_read_regular_file("/proc/self/smaps", (size_t)1 << 24, &text, &count, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    cr_expect_gt(count, 5000);
    cr_expect_not_null(strstr(text, "VmFlags"));
    free(text);
}

Test(read_file, the_limit_is_the_largest_size)
{
    char *text;
    size_t count;
    write_bytes("12345", 5);
    cr_assert_eq(evener_read_regular_file(path, 5, &text, &count, NULL), EVENER_STATUS_OK);
    cr_expect_str_eq(text, "12345");
    free(text);
    expect_refusal(path, 4, EVENER_STATUS_INVALID_ARGUMENT, "larger than 4 bytes");
}

Test(read_file, what_is_no_regular_file_is_named)
{
    expect_refusal(path, 100, EVENER_STATUS_NOT_FOUND, "cannot be read: No such file");
    expect_refusal(folder, 100, EVENER_STATUS_INVALID_ARGUMENT, "a directory; a regular file is needed");
    expect_refusal("/dev/null", 100, EVENER_STATUS_INVALID_ARGUMENT, "a device; a regular file is needed");
    const int listening = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, path);
    cr_assert_eq(bind(listening, (struct sockaddr *)&name, sizeof name), 0);
    expect_refusal(path, 100, EVENER_STATUS_INVALID_ARGUMENT, "no regular file");
    close(listening);
}

/* L4: an open() that waits for a writer would stop the control thread, and with it all channels. */
Test(read_file, a_fifo_without_a_writer_is_refused_at_once, .timeout = 60)
{
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_refusal(path, 100, EVENER_STATUS_INVALID_ARGUMENT, "a FIFO; a regular file is needed");
}
