/* The watch of the factory's files (lb/factory/watch.h): what counts as a change, and when it is reported. The loop is
 * virtual, the files are real. */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb/factory/watch.h"
#include "tests/support/virtual_loop.h"

static char folder[] = "/tmp/evener-watch-XXXXXX";
static char first[64], second[64];
static virtual_loop *loop;
static evener_factory_watch watch;
static unsigned changes;
static evener_status_code result; /* of reading the files */

static void changed(void *arg)
{
    cr_assert_eq(arg, &changes);
    changes++;
    evener_factory_watch_mark(&watch);
    evener_factory_watch_note_result(&watch, result);
}

/* Write the text and set the time of the change of the content back to a fixed one. */
static void write_text(const char *path, const char *text, time_t seconds)
{
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
    const struct timespec times[] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static int64_t changed_ns(const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 ? (int64_t)file.st_ctim.tv_sec * 1000000000 + file.st_ctim.tv_nsec : 0;
}

/* Wait until the files count as old: more than 20 ms by the clock of the file system. */
static void let_files_age(void)
{
    char other[80];
    (void)snprintf(other, sizeof other, "%s.tick", first);
    const int64_t one_ns = changed_ns(first), two_ns = changed_ns(second);
    do {
        write_text(other, "", 1);
    } while (changed_ns(other) - (one_ns > two_ns ? one_ns : two_ns) < 30000000);
    cr_assert_eq(unlink(other), 0);
}

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(first, sizeof first, "%s/first", folder);
    (void)snprintf(second, sizeof second, "%s/second", folder);
    write_text(first, "one", 1000);
    write_text(second, "two", 1000);
    loop = virtual_loop_create(1);
    watch = (evener_factory_watch){
        .loop = virtual_loop_loop(loop), .interval_ns = EVENER_NS_PER_S, .changed = changed, .arg = &changes};
    let_files_age();
}

static void tear_down(void)
{
    evener_factory_watch_stop(&watch);
    virtual_loop_destroy(loop);
    (void)unlink(first);
    (void)unlink(second);
    cr_expect_eq(rmdir(folder), 0);
}

static void start(char *const *files, size_t count)
{
    evener_factory_watch_set_files(&watch, files, count);
    evener_factory_watch_start(&watch);
    virtual_loop_advance_ms(loop, 5000);
    cr_assert_eq(changes, 0, "nothing has changed");
}

static void expect_one_change(const char *what)
{
    changes = 0;
    virtual_loop_advance_ms(loop, 1050);
    cr_expect_eq(changes, 1, "%s: %u changes", what, changes);
    let_files_age();
    virtual_loop_advance_ms(loop, 10000); /* it was young when it was read, perhaps: then it is read once more */
    cr_expect_leq(changes, 2, "%s: %u changes", what, changes);
    changes = 0;
    virtual_loop_advance_ms(loop, 10000);
    cr_expect_eq(changes, 0, "%s", what);
}

Test(factory_watch, every_kind_of_change_is_one, .init = set_up, .fini = tear_down)
{
    char *files[] = {first, second};
    start(files, 2);
    write_text(first, "longer", 1000);
    expect_one_change("another length");
    write_text(first, "equals", 1000);
    expect_one_change("equal length and time");
    write_text(second, "2", 1000);
    expect_one_change("the second file");
    cr_assert_eq(unlink(second), 0);
    expect_one_change("a file that goes");
    write_text(second, "2", 1000);
    expect_one_change("a file that comes");
    char other[80];
    (void)snprintf(other, sizeof other, "%s.new", first);
    write_text(other, "equals", 1000);
    cr_assert_eq(rename(other, first), 0);
    expect_one_change("a file that takes its place");
}

/* Files count as written when they have stayed the same for 50 ms. */
Test(factory_watch, a_file_that_is_being_written_is_left_alone, .init = set_up, .fini = tear_down)
{
    char *files[] = {first};
    start(files, 1);
    char text[64] = "";
    virtual_loop_advance_ms(loop, 999);
    for (int i = 0; i < 10; i++) {
        strcat(text, "more ");
        write_text(first, text, 2000 + i);
        virtual_loop_advance_ms(loop, i == 0 ? 40 : 50);
        cr_assert_eq(changes, 0, "%d", i);
    }
    virtual_loop_advance_ms(loop, 10);
    cr_expect_eq(changes, 0);
    virtual_loop_advance_ms(loop, 50);
    cr_expect_eq(changes, 1);
}

/* A change would be lost that cannot be read for a reason that passes without a further change. */
Test(factory_watch, files_that_could_not_be_read_are_read_again, .init = set_up, .fini = tear_down)
{
    static const struct {
        evener_status_code code;
        bool may_pass;
    } rows[] = {
        {EVENER_STATUS_OK, false},
        {EVENER_STATUS_RESOURCE_EXHAUSTED, true},
        {EVENER_STATUS_UNAVAILABLE, true},
        {EVENER_STATUS_INVALID_ARGUMENT, false},
        {EVENER_STATUS_NOT_FOUND, false},
        {EVENER_STATUS_PERMISSION_DENIED, false},
        {EVENER_STATUS_FAILED_PRECONDITION, false},
    };
    char *files[] = {first};
    start(files, 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "change %zu", i);
        write_text(first, text, 1000);
        let_files_age();
        changes = 0;
        result = rows[i].code;
        virtual_loop_advance_ms(loop, 10450);
        cr_expect_eq(changes, rows[i].may_pass ? 10 : 1, "%d: %u changes", (int)rows[i].code, changes);
        result = EVENER_STATUS_OK;
        changes = 0;
        virtual_loop_advance_ms(loop, 9600); /* with the 50 ms of a change, whole intervals */
        cr_expect_eq(changes, rows[i].may_pass ? 1 : 0, "%d: then %u changes", (int)rows[i].code, changes);
    }
}

Test(factory_watch, without_an_interval_nothing_is_looked_at, .init = set_up, .fini = tear_down)
{
    char *files[] = {first};
    watch.interval_ns = UINT64_MAX;
    evener_factory_watch_set_files(&watch, files, 1);
    evener_factory_watch_start(&watch);
    cr_expect_eq(virtual_loop_next_deadline_ns(loop), UINT64_MAX);
    evener_factory_watch_stop(&watch);
}

/* Another list of files is no change by itself; its files are those that are looked at from then on. */
Test(factory_watch, the_files_are_those_of_the_latest_list, .init = set_up, .fini = tear_down)
{
    char *one[] = {first}, *other[] = {second}, *both[] = {first, second};
    start(one, 1);
    evener_factory_watch_set_files(&watch, both, 2);
    virtual_loop_advance_ms(loop, 5000);
    cr_expect_eq(changes, 0, "a longer list");
    write_text(second, "changed", 1000);
    expect_one_change("a file that was added");
    evener_factory_watch_set_files(&watch, one, 1);
    virtual_loop_advance_ms(loop, 5000);
    cr_expect_eq(changes, 0, "a shorter list");
    write_text(second, "and again", 1000);
    virtual_loop_advance_ms(loop, 5000);
    cr_expect_eq(changes, 0, "it is not watched any more");
    evener_factory_watch_set_files(&watch, other, 1);
    evener_factory_watch_mark(&watch);
    let_files_age();
    virtual_loop_advance_ms(loop, 5000);
    changes = 0;
    write_text(second, "once more", 1000);
    expect_one_change("the only file of another list");
    write_text(first, "not watched", 1000);
    virtual_loop_advance_ms(loop, 5000);
    cr_expect_eq(changes, 0);
}
