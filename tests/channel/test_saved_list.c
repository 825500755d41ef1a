/* The saved list: what is written is read again, what is damaged is refused, and a killed writer harms nothing. */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lb/channel/saved_list.h"

static evener_saved_list example(size_t count, const char *zone)
{
    evener_saved_list list = {.time_ms = 1234, .target = strdup("orders:///a b%=\n"), .count = count};
    list.service_config = strdup("{ \"loadBalancingPolicy\" : \"round_robin\" }");
    list.addresses = calloc(count, sizeof *list.addresses);
    for (size_t i = 0; i < count; i++) {
        char text[64];
        const evener_attribute attributes[] = {{"weight", "3"}, {"zone", zone}, {"empty", ""}};
        evener_status status;
        snprintf(text, sizeof text, i % 2 == 0 ? "10.0.%zu.%zu:80" : "unix:/run/a b/%zu.%zu", i / 250, i % 250);
        cr_assert_eq(evener_address_create(text, attributes, 3, &list.addresses[i], &status), EVENER_STATUS_OK, "%s",
                     status.message);
    }
    return list;
}

static char *encode(const evener_saved_list *list, size_t *bytes, uint64_t *content)
{
    char *text = NULL;
    cr_assert(evener_saved_list_encode(list, &text, bytes, content));
    return text;
}

Test(saved_list, is_read_as_it_was_written)
{
    evener_saved_list list = example(1000, "caf\xc3\xa9 %41=\t1");
    size_t bytes;
    uint64_t content;
    char *text = encode(&list, &bytes, &content);
    evener_saved_list read = {0};
    evener_status status;
    cr_assert_eq(evener_saved_list_parse(text, bytes, &read, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(read.time_ms, 1234);
    cr_expect_str_eq(read.target, list.target);
    cr_expect_str_eq(read.service_config, list.service_config);
    cr_assert_eq(read.count, list.count);
    for (size_t i = 0; i < read.count; i++) {
        cr_assert(evener_address_equal(read.addresses[i], list.addresses[i]), "%zu", i);
    }
    free(text);
    evener_saved_list_clear(&read);
    evener_saved_list_clear(&list);
}

Test(saved_list, its_hash_is_of_everything_but_the_time)
{
    evener_saved_list list = example(3, "a");
    evener_saved_list other = example(3, "b");
    uint64_t first, later, different;
    size_t bytes;
    free(encode(&list, &bytes, &first));
    list.time_ms++;
    free(encode(&list, &bytes, &later));
    free(encode(&other, &bytes, &different));
    cr_expect_eq(first, later);
    cr_expect_neq(first, different);
    evener_saved_list_clear(&list);
    evener_saved_list_clear(&other);
}

Test(saved_list, any_changed_byte_and_any_cut_is_refused)
{
    evener_saved_list list = example(3, "a");
    size_t bytes;
    uint64_t content;
    char *text = encode(&list, &bytes, &content);
    char *copy = malloc(bytes);
    for (size_t i = 0; i < 2 * bytes; i++) {
        memcpy(copy, text, bytes);
        const size_t length = i < bytes ? bytes : i - bytes;
        copy[i < bytes ? i : 0] ^= i < bytes ? 1 : 0;
        evener_saved_list read = {0};
        evener_status status;
        cr_assert_eq(evener_saved_list_parse(copy, length, &read, &status), EVENER_STATUS_INVALID_ARGUMENT, "%zu", i);
        cr_assert_not_null(strstr(status.message, "damaged: the checksum"), "%s", status.message);
        cr_assert_null(read.addresses);
    }
    free(copy);
    free(text);
    evener_saved_list_clear(&list);
}

/* ---- the file ---- */

static char folder[64], path[96], beside[112];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/evener-saved-list-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.list", folder);
    snprintf(beside, sizeof beside, "%s.new", path);
}

static void remove_folder(void)
{
    (void)unlink(path);
    (void)unlink(beside);
    cr_expect_eq(rmdir(folder), 0);
}

TestSuite(saved_list_file, .init = make_folder, .fini = remove_folder);

Test(saved_list_file, says_what_the_system_refuses)
{
    evener_status status;
    evener_saved_list list = {0};
    cr_expect_eq(evener_saved_list_read(path, &list, &status), EVENER_STATUS_NOT_FOUND);
    cr_expect_eq(evener_saved_list_write("/no/such/folder/a.list", "x", 1, &status), EVENER_STATUS_NOT_FOUND);
    cr_expect_not_null(strstr(status.message, "/no/such/folder/a.list"), "%s", status.message);
    cr_expect_eq(evener_saved_list_write(path, "evener-list 1\n", 14, &status), EVENER_STATUS_OK);
    cr_expect_eq(evener_saved_list_read(path, &list, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, path), "%s", status.message);
}

/* Write two lists in turn until killed. */
static void write_for_ever(void)
{
    evener_saved_list lists[] = {example(200, "a"), example(300, "b")};
    for (unsigned i = 0;; i++) {
        char *text = NULL;
        size_t bytes;
        uint64_t content;
        evener_status status;
        if (!evener_saved_list_encode(&lists[i % 2], &text, &bytes, &content) ||
            evener_saved_list_write(path, text, bytes, &status) != EVENER_STATUS_OK) {
            _exit(1);
        }
        free(text);
    }
}

/* Read the file until it is there; every reading must succeed. Return false if `child` ended by itself. */
static bool wait_for_file(pid_t child)
{
    evener_saved_list list = {0};
    evener_status status;
    while (evener_saved_list_read(path, &list, &status) == EVENER_STATUS_NOT_FOUND) {
        if (waitpid(child, NULL, WNOHANG) == child) {
            return false;
        }
        usleep(100);
    }
    cr_assert_eq(status.code, EVENER_STATUS_OK, "%s", status.message);
    evener_saved_list_clear(&list);
    return true;
}

Test(saved_list_file, a_thousand_killed_writers_leave_a_good_file, .timeout = 250)
{
    uint64_t random = 12345;
    unsigned counts[2] = {0};
    for (unsigned i = 0; i < 1000; i++) {
        const pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0) {
            write_for_ever();
        }
        cr_assert(wait_for_file(child), "the writer failed");
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        usleep((useconds_t)(random >> 33) % 3000);
        kill(child, SIGKILL);
        cr_assert_eq(waitpid(child, NULL, 0), child);
        evener_saved_list list = {0};
        evener_status status;
        cr_assert_eq(evener_saved_list_read(path, &list, &status), EVENER_STATUS_OK, "after kill %u: %s", i,
                     status.message);
        cr_assert(list.count == 200 || list.count == 300);
        counts[list.count == 300]++;
        evener_saved_list_clear(&list);
    }
    cr_log_info("%u, %u", counts[0], counts[1]);
}

Test(saved_list_file, of_two_writers_at_once_each_file_is_whole)
{
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        cr_assert_geq(children[i], 0);
        if (children[i] == 0) {
            evener_saved_list list = example(i == 0 ? 200 : 300, "a");
            char *text = NULL;
            size_t bytes;
            uint64_t content;
            evener_status status;
            cr_assert(evener_saved_list_encode(&list, &text, &bytes, &content));
            for (;;) {
                (void)evener_saved_list_write(path, text, bytes, &status); /* the other one may be writing */
            }
        }
    }
    evener_status status;
    for (unsigned good = 0; good < 500;) {
        evener_saved_list list = {0};
        const evener_status_code code = evener_saved_list_read(path, &list, &status);
        cr_assert(code == EVENER_STATUS_OK || (code == EVENER_STATUS_NOT_FOUND && good == 0), "%s", status.message);
        good += code == EVENER_STATUS_OK;
        evener_saved_list_clear(&list);
    }
    for (int i = 0; i < 2; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
}

/* ---- a fork during a write ---- */

static int child_waits[2] = {-1, -1}; /* the child lives until the parent closes its end */
static int child_runs[2] = {-1, -1};  /* the child writes a byte when it runs */
static bool fork_at_sync, die_at_sync;
static unsigned file_syncs;
static ino_t synced_folder; /* 0: none */
static int sync_error;      /* 0: none */

static void make_pipes(void)
{
    cr_assert_eq(pipe(child_waits), 0);
    cr_assert_eq(pipe(child_runs), 0);
}

static void close_pipes(void)
{
    for (int i = 0; i < 2; i++) {
        close(child_waits[i]);
        close(child_runs[i]);
    }
}

/* The write calls it while it holds its lock. */
int fsync(int descriptor)
{
    struct stat is;
    if (fstat(descriptor, &is) == 0 && S_ISDIR(is.st_mode)) {
        synced_folder = is.st_ino;
    } else {
        file_syncs++;
    }
    if (fork_at_sync) {
        fork_at_sync = false;
        char byte = 0;
        if (fork() == 0) {
            close(child_waits[1]);
            (void)!write(child_runs[1], &byte, 1);
            _exit((int)read(child_waits[0], &byte, 1));
        }
        /* Only then has the child closed its copies: its handlers of fork() run in it, after fork() returns here. */
        (void)!read(child_runs[0], &byte, 1);
        if (die_at_sync) {
            _exit(0);
        }
    }
    errno = sync_error;
    return sync_error != 0 ? -1 : (int)syscall(SYS_fsync, descriptor);
}

Test(saved_list_file, a_child_of_a_fork_during_a_write_that_fails_keeps_no_lock)
{
    evener_status status;
    make_pipes();
    cr_assert_eq(mkdir(path, 0755), 0); /* rename() fails */
    fork_at_sync = true;
    cr_expect_neq(evener_saved_list_write(path, "x", 1, &status), EVENER_STATUS_OK);
    cr_expect_not(fork_at_sync);
    cr_assert_eq(rmdir(path), 0);
    cr_expect_eq(evener_saved_list_write(path, "x", 1, &status), EVENER_STATUS_OK, "%s", status.message);
    close_pipes();
}

Test(saved_list_file, a_child_of_a_writer_that_is_killed_keeps_no_lock)
{
    evener_status status;
    make_pipes();
    const pid_t writer = fork();
    cr_assert_geq(writer, 0);
    if (writer == 0) {
        fork_at_sync = die_at_sync = true;
        (void)evener_saved_list_write(path, "x", 1, &status);
        _exit(1);
    }
    int how = 0;
    cr_assert_eq(waitpid(writer, &how, 0), writer);
    cr_expect(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    cr_expect_eq(evener_saved_list_write(path, "x", 1, &status), EVENER_STATUS_OK, "%s", status.message);
    close_pipes();
}

/* A power failure may come at any time: first the content is brought to the disk, then the name. */
Test(saved_list_file, is_synced_and_so_is_its_folder)
{
    evener_status status;
    struct stat is;
    cr_assert_eq(stat(folder, &is), 0);
    cr_expect_eq(evener_saved_list_write(path, "x", 1, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(file_syncs, 1);
    cr_expect_eq(synced_folder, is.st_ino);
    cr_assert_eq(chdir(folder), 0);
    synced_folder = 0;
    cr_expect_eq(evener_saved_list_write("a.list", "y", 1, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(file_syncs, 2);
    cr_expect_eq(synced_folder, is.st_ino, "a name without a folder is in the current one");
}

Test(saved_list_file, a_longer_one_is_replaced_as_a_whole)
{
    evener_status status;
    cr_expect_eq(evener_saved_list_write(path, "a longer text", 13, &status), EVENER_STATUS_OK, "%s", status.message);
    FILE *left = fopen(beside, "w"); /* by a writer that was killed */
    cr_assert_not_null(left);
    cr_assert_gt(fputs("another long text", left), 0);
    cr_assert_eq(fclose(left), 0);
    cr_expect_eq(evener_saved_list_write(path, "text", 4, &status), EVENER_STATUS_OK, "%s", status.message);
    struct stat is;
    cr_assert_eq(stat(path, &is), 0);
    cr_expect_eq(is.st_size, 4);
    cr_expect_eq(stat(beside, &is), -1);
}

/* ---- a system that does not do what it is asked for ---- */

static unsigned interrupts;             /* writes that a signal interrupts first */
static size_t bytes_at_once;            /* 0: all */
static int write_error, truncate_error; /* 0: none */
static bool name_is_taken;              /* between open and lock */

static bool is_regular(int descriptor)
{
    struct stat is;
    return fstat(descriptor, &is) == 0 && S_ISREG(is.st_mode);
}

ssize_t write(int descriptor, const void *bytes, size_t count)
{
    if ((interrupts > 0 || write_error != 0) && is_regular(descriptor)) {
        errno = interrupts > 0 ? EINTR : write_error;
        interrupts -= interrupts > 0;
        return -1;
    }
    if (bytes_at_once != 0 && count > bytes_at_once && is_regular(descriptor)) {
        count = bytes_at_once;
    }
    return syscall(SYS_write, descriptor, bytes, count);
}

int ftruncate(int descriptor, off_t bytes)
{
    errno = truncate_error;
    return truncate_error != 0 ? -1 : (int)syscall(SYS_ftruncate, descriptor, bytes);
}

int flock(int descriptor, int operation)
{
    if (name_is_taken && (operation & LOCK_EX) != 0) {
        name_is_taken = false;
        cr_assert_eq(rename(beside, path), 0); /* as another writer does with what it has written */
        const int other = open(beside, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        cr_assert_geq(other, 0);
        close(other);
    }
    return (int)syscall(SYS_flock, descriptor, operation);
}

static void expect_content(const char *text)
{
    char found[64] = "";
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(descriptor, 0);
    cr_assert_geq(read(descriptor, found, sizeof found - 1), 0);
    close(descriptor);
    cr_expect_str_eq(found, text);
}

Test(saved_list_file, a_write_that_is_interrupted_or_in_parts_goes_on)
{
    evener_status status;
    const char *const texts[] = {"", "a", "a line\n", "another, longer line\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (bytes_at_once = 0; bytes_at_once < 5; bytes_at_once++) {
            interrupts = i > 0 ? 3 : 0;
            cr_assert_eq(evener_saved_list_write(path, texts[i], strlen(texts[i]), &status), EVENER_STATUS_OK, "%s",
                         status.message);
            cr_expect_eq(interrupts, 0);
            expect_content(texts[i]);
        }
    }
}

static void expect_failure(int *error, int value, evener_status_code code, const char *step)
{
    evener_status status;
    char message[256];
    *error = value;
    cr_expect_eq(evener_saved_list_write(path, "new", 3, &status), code, "%s", status.message);
    *error = 0;
    (void)snprintf(message, sizeof message, "%s: %s: %s", beside, step, strerror(value));
    cr_expect_str_eq(status.message, message);
    expect_content("old");
}

/* The last good file stays, and nothing keeps a later write from succeeding. */
Test(saved_list_file, a_write_that_fails_says_where_and_changes_nothing)
{
    evener_status status;
    cr_assert_eq(evener_saved_list_write(path, "old", 3, &status), EVENER_STATUS_OK, "%s", status.message);
    expect_failure(&write_error, ENOSPC, EVENER_STATUS_UNAVAILABLE, "write");
    expect_failure(&write_error, EROFS, EVENER_STATUS_PERMISSION_DENIED, "write");
    expect_failure(&write_error, EPERM, EVENER_STATUS_PERMISSION_DENIED, "write");
    expect_failure(&write_error, EACCES, EVENER_STATUS_PERMISSION_DENIED, "write");
    expect_failure(&write_error, ENOENT, EVENER_STATUS_NOT_FOUND, "write");
    expect_failure(&sync_error, EIO, EVENER_STATUS_UNAVAILABLE, "fsync");
    expect_failure(&truncate_error, EIO, EVENER_STATUS_UNAVAILABLE, "truncate");
    cr_expect_eq(evener_saved_list_write(path, "new", 3, &status), EVENER_STATUS_OK, "%s", status.message);
    expect_content("new");
}

Test(saved_list_file, another_writers_file_is_left_alone)
{
    evener_status status;
    const int other = open(beside, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    cr_assert_geq(other, 0);
    cr_assert_eq(flock(other, LOCK_EX), 0);
    cr_expect_eq(evener_saved_list_write(path, "new", 3, &status), EVENER_STATUS_UNAVAILABLE);
    cr_expect_not_null(strstr(status.message, "a.list.new: another process writes it now"), "%s", status.message);
    cr_expect_eq(access(path, F_OK), -1);
    close(other);
    name_is_taken = true;
    cr_expect_eq(evener_saved_list_write(path, "new", 3, &status), EVENER_STATUS_UNAVAILABLE);
    cr_expect_not_null(strstr(status.message, "a.list.new: another process writes it now"), "%s", status.message);
    cr_expect_not(name_is_taken);
    expect_content(""); /* what the other one has written */
    cr_expect_eq(evener_saved_list_write(path, "new", 3, &status), EVENER_STATUS_OK, "%s", status.message);
    expect_content("new");
}

Test(saved_list_file, a_path_has_to_leave_room_for_the_name_beside_it)
{
    static char longest[PATH_MAX + 1];
    evener_status status;
    memset(longest, 'a', PATH_MAX);
    for (size_t i = 0; i < PATH_MAX; i += 200) {
        longest[i] = '/';
    }
    longest[PATH_MAX - 5] = '\0'; /* with ".new" and the NUL it is PATH_MAX bytes long */
    cr_expect_eq(evener_saved_list_write(longest, "x", 1, &status), EVENER_STATUS_NOT_FOUND, "%s", status.message);
    longest[PATH_MAX - 5] = 'a';
    longest[PATH_MAX - 4] = '\0';
    cr_expect_eq(evener_saved_list_write(longest, "x", 1, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "the path is too long"), "%s", status.message);
}
