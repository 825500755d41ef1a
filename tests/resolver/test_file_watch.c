/* file: on a real loop: inotify detects every way to change a file. The poll interval is an hour. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <evener/log.h>

#include "tests/support/resolver_fixture.h"

static struct {
    resolver_fixture *f;
    char directory[64];
    char target[160];
} s;

static const evener_attribute no_poll = {"file.poll_ms", "3600000"};

static void set_up(void)
{
    strcpy(s.directory, "/tmp/evener-watch-XXXXXX");
    cr_assert_not_null(mkdtemp(s.directory));
    s.f = resolver_fixture_create_on_thread();
    s.f->options = &no_poll;
    s.f->option_count = 1;
}

static void tear_down(void)
{
    char command[128];
    resolver_fixture_destroy(s.f);
    snprintf(command, sizeof command, "rm -rf '%s'", s.directory);
    cr_assert_eq(system(command), 0);
}

TestSuite(file_watch, .init = set_up, .fini = tear_down);

/* Return a path in the test's directory; a few may be in use at a time. */
static const char *in(const char *name)
{
    static char paths[4][160];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", s.directory, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(in(name), "w");
    cr_assert_not_null(file, "%s", name);
    fputs(text, file);
    fclose(file);
}

static void open_file(const char *name)
{
    snprintf(s.target, sizeof s.target, "file://%s", in(name));
    resolver_fixture_open(s.f, s.target);
}

static void expect(const char *addresses)
{
    cr_assert(resolver_fixture_wait_addresses(s.f, addresses), "have \"%s\", want \"%s\"", s.f->sink.addresses,
              addresses);
}

static bool has_error(const recording_sink *sink, void *arg)
{
    return sink->last_was_error && strstr(sink->error.message, arg) != NULL;
}

static void expect_error(char *part)
{
    cr_assert(resolver_fixture_wait(s.f, has_error, part), "have \"%s\"", s.f->sink.error.message);
}

static void rename_over(const char *from, const char *to)
{
    cr_assert_eq(rename(in(from), in(to)), 0);
}

static void link_to(const char *to, const char *name)
{
    cr_assert_eq(symlink(to, in(name)), 0);
}

Test(file_watch, written_in_place)
{
    write_file("list", "10.0.0.1:80\n");
    open_file("list");
    expect("10.0.0.1:80");
    write_file("list", "10.0.0.2:80\n");
    expect("10.0.0.2:80");
    FILE *file = fopen(in("list"), "a");
    fputs("10.0.0.3:80\n", file);
    fclose(file);
    expect("10.0.0.2:80,10.0.0.3:80");
}

/* What editors and deploy tools do */
Test(file_watch, renamed_over)
{
    write_file("list", "10.0.0.1:80\n");
    open_file("list");
    expect("10.0.0.1:80");
    write_file("new", "10.0.0.2:80\n");
    rename_over("new", "list");
    expect("10.0.0.2:80");
    write_file("new", "10.0.0.3:80\n");
    rename_over("new", "list");
    expect("10.0.0.3:80");
    write_file("list", "10.0.0.4:80\n"); /* the new file is followed, too */
    expect("10.0.0.4:80");
}

/* Kubernetes' ConfigMap: list -> ..data/list, ..data -> ..1; the new directory is linked by renaming */
Test(file_watch, config_map_is_swapped)
{
    mkdir(in("..1"), 0700);
    write_file("..1/list", "10.0.0.1:80\n");
    link_to("..1", "..data");
    link_to("..data/list", "list");
    open_file("list");
    expect("10.0.0.1:80");
    mkdir(in("..2"), 0700);
    write_file("..2/list", "10.0.0.2:80\n");
    link_to("..2", "..data_tmp");
    rename_over("..data_tmp", "..data");
    unlink(in("..1/list"));
    rmdir(in("..1"));
    expect("10.0.0.2:80");
    write_file("..2/list", "10.0.0.3:80\n");
    expect("10.0.0.3:80");
}

/* Releases: the path contains a link to a directory */
Test(file_watch, link_on_the_way_is_turned)
{
    mkdir(in("one"), 0700);
    mkdir(in("two"), 0700);
    write_file("one/list", "10.0.0.1:80\n");
    write_file("two/list", "10.0.0.2:80\n");
    link_to("one", "current");
    open_file("current/list");
    expect("10.0.0.1:80");
    link_to("two", "next");
    rename_over("next", "current");
    expect("10.0.0.2:80");
    write_file("two/list", "10.0.0.3:80\n");
    expect("10.0.0.3:80");
}

Test(file_watch, target_of_a_link_elsewhere_is_written)
{
    mkdir(in("elsewhere"), 0700);
    write_file("elsewhere/real", "10.0.0.1:80\n");
    link_to(in("elsewhere/real"), "list");
    open_file("list");
    expect("10.0.0.1:80");
    write_file("elsewhere/real", "10.0.0.2:80\n");
    expect("10.0.0.2:80");
}

Test(file_watch, deleted_and_made_again)
{
    write_file("list", "10.0.0.1:80\n");
    open_file("list");
    expect("10.0.0.1:80");
    unlink(in("list"));
    expect_error("No such file");
    write_file("list", "10.0.0.2:80\n");
    expect("10.0.0.2:80");
}

Test(file_watch, directories_appear_later)
{
    open_file("not/yet/list");
    expect_error("No such file");
    mkdir(in("not"), 0700);
    mkdir(in("not/yet"), 0700);
    write_file("not/yet/list", "10.0.0.1:80\n");
    expect("10.0.0.1:80");
}

Test(file_watch, directory_is_replaced)
{
    mkdir(in("d"), 0700);
    write_file("d/list", "10.0.0.1:80\n");
    open_file("d/list");
    expect("10.0.0.1:80");
    unlink(in("d/list"));
    rmdir(in("d"));
    expect_error("No such file");
    mkdir(in("d"), 0700);
    write_file("d/list", "10.0.0.2:80\n");
    expect("10.0.0.2:80");
    write_file("d/list", "10.0.0.3:80\n");
    expect("10.0.0.3:80");
}

#define SETTLE_MS 1000

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Each content is whole: a file written in place is empty for as long as its writer is held up. A burst that lasted
 * longer than the file has to be quiet is not one burst, and is made again. */
Test(file_watch, burst_is_settled_into_one_update)
{
    static const evener_attribute slow[] = {{"file.poll_ms", "3600000"}, {"file.settle_ms", "1000"}};
    s.f->options = slow;
    s.f->option_count = 2;
    write_file("list", "10.0.0.1:80\n");
    open_file("list");
    expect("10.0.0.1:80");
    uint64_t took_ms = SETTLE_MS;
    for (int round = 0; round < 20 && took_ms >= SETTLE_MS; round++) {
        char text[32];
        const size_t before = s.f->sink.update_count;
        const uint64_t began_ms = now_ms();
        for (int i = 0; i < 20; i++) {
            snprintf(text, sizeof text, "10.0.%d.%d:80\n", round + 1, i);
            write_file("new", text);
            cr_assert_eq(rename(in("new"), in("list")), 0);
        }
        took_ms = now_ms() - began_ms;
        text[strlen(text) - 1] = '\0';
        expect(text);
        cr_assert(took_ms >= SETTLE_MS || s.f->sink.update_count == before + 1, "%zu updates after %zu",
                  s.f->sink.update_count, before);
        cr_assert_eq(s.f->sink.error_count, 0);
    }
    cr_assert_lt(took_ms, SETTLE_MS, "each burst was held up");
}

Test(file_watch, other_files_in_the_directory_are_nobodys_business)
{
    write_file("list", "10.0.0.1:80\n");
    open_file("list");
    expect("10.0.0.1:80");
    for (int i = 0; i < 100; i++) {
        write_file("other", "nonsense");
    }
    write_file("list", "10.0.0.2:80\n");
    expect("10.0.0.2:80");
    cr_assert_eq(s.f->sink.update_count, 2);
}

/* ---- rows of the cases from the field ---- */

static unsigned inotify_lines; /* control thread until the resolver is closed */

static void count_line(void *arg, evener_log_level level, const char *component, const char *message)
{
    (void)arg;
    (void)level;
    (void)component;
    inotify_lines += strstr(message, "inotify") != NULL ? 1 : 0;
}

static bool has_many_errors(const recording_sink *sink, void *arg)
{
    (void)arg;
    return sink->error_count > 0 && strstr(sink->error.message, "Too many open files") != NULL;
}

/* Without a descriptor for inotify the poll has to do. It is said once, not with each poll. */
Test(file_watch, n13_loss_of_inotify_is_logged_once)
{
    static const evener_attribute quick = {"file.poll_ms", "10"};
    struct rlimit limit, none;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const int next = dup(0);
    cr_assert_geq(next, 0);
    close(next);
    none = (struct rlimit){(rlim_t)next, limit.rlim_max};
    s.f->options = &quick;
    write_file("list", "10.0.0.1:80\n");
    evener_log_set_sink(count_line, NULL, EVENER_LOG_WARNING);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    open_file("list");
    cr_assert(resolver_fixture_wait(s.f, has_many_errors, NULL), "%s", s.f->sink.error.message);
    for (int i = 0; i < 20; i++) { /* polls go on meanwhile */
        (void)resolver_fixture_wait(s.f, has_many_errors, NULL);
        usleep(10000);
    }
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert(resolver_fixture_wait_addresses(s.f, "10.0.0.1:80"));
    resolver_fixture_close(s.f);
    evener_log_set_sink(NULL, NULL, EVENER_LOG_WARNING);
    cr_assert_eq(inotify_lines, 1);
}
