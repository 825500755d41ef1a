/* The channel factory on a virtual loop: names, sharing, and files that change under live channels. */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <evener/factory.h>
#include <evener/manual_resolver.h>
#include <evener/stats.h>

#include "tests/support/certificates.h"
#include "tests/support/fake_transport.h"
#include "tests/support/virtual_loop.h"

#define A "127.0.0.1:1001"
#define B "127.0.0.1:1002"
#define C "127.0.0.1:1003"

static virtual_loop *loop;
static evener_runtime *runtime;
static fake_transport *fake;
static char path[64];
static evener_factory *factory;
static evener_status last_status;
static unsigned notified;

static void write_to(const char *name, const char *text)
{
    char next[160];
    snprintf(next, sizeof next, "%s.next", name);
    FILE *file = fopen(next, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    cr_assert_eq(rename(next, name), 0);
}

static void write_file(const char *text)
{
    write_to(path, text);
}

/* Younger ones than the watch's YOUNG_NS are read a second time. */
static void let_files_age(void)
{
    usleep(30000);
}

static void note(void *arg, const evener_status *status)
{
    (void)arg;
    last_status = *status;
    notified++;
}

static evener_status_code open_factory(evener_status *status)
{
    evener_factory_options options = {
        .size = sizeof options, .runtime = runtime, .transport = fake_transport_transport(fake), .reloaded = note};
    return evener_factory_open(path, &options, &factory, status);
}

static void set_up(void)
{
    loop = virtual_loop_create(1);
    const evener_runtime_options options = {.size = sizeof options, .loop = virtual_loop_loop(loop)};
    cr_assert_eq(evener_runtime_create(&options, &runtime, NULL), EVENER_STATUS_OK);
    fake = fake_transport_create(virtual_loop_loop(loop), true);
    strcpy(path, "/tmp/evener-factory-XXXXXX");
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    factory = NULL;
    notified = 0;
}

static void tear_down(void)
{
    evener_factory_close(factory);
    virtual_loop_advance_ms(loop, 1000);
    evener_runtime_unref(runtime);
    virtual_loop_run_until_idle(loop);
    cr_expect_eq(fake_transport_open_count(fake, NULL), 0);
    fake_transport_destroy(fake);
    virtual_loop_destroy(loop);
    unlink(path);
}

static void open_with(const char *text)
{
    evener_status status;
    write_file(text);
    cr_assert_eq(open_factory(&status), EVENER_STATUS_OK, "%s", status.message);
}

static void reload_with(const char *text)
{
    evener_status status;
    write_file(text);
    cr_assert_eq(evener_factory_reload(factory, &status), EVENER_STATUS_OK, "%s", status.message);
    virtual_loop_run_until_idle(loop);
}

static evener_channel *channel_of(const char *name)
{
    evener_channel *channel = NULL;
    evener_status status;
    cr_assert_eq(evener_factory_channel(factory, name, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    return channel;
}

static evener_channel *ready_channel(const char *name)
{
    evener_channel *channel = channel_of(name);
    evener_channel_connect(channel);
    virtual_loop_advance_ms(loop, 10);
    cr_assert_eq(evener_channel_state(channel, false), EVENER_READY);
    return channel;
}

/* Pick, end the pick at once, and return the backend's address. */
static const char *pick(evener_channel *channel)
{
    static char text[EVENER_ADDRESS_BYTES_MAX];
    evener_pick one;
    evener_status status;
    cr_assert_eq(evener_channel_try_pick(channel, NULL, &one, &status), EVENER_PICK_COMPLETE, "%s", status.message);
    snprintf(text, sizeof text, "%s", evener_subchannel_address_text(one.subchannel));
    evener_pick_done(&one, NULL);
    return text;
}

#define ONE(settings) "channels = { a = { " settings " }; };"

TestSuite(factory, .init = set_up, .fini = tear_down);

Test(factory, resolver_options_reach_the_resolver)
{
    evener_status status;
    write_file(ONE("target = \"dns:///127.0.0.1:1001\"; resolver = { dns = { min_refresh_ms = 1; }; };"));
    cr_assert_eq(open_factory(&status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "dns.min_refresh_ms"), "%s", status.message);
}

Test(factory, all_who_ask_share_one_channel)
{
    open_with(ONE("target = \"static:" A "\";"));
    evener_channel *first = channel_of("a");
    evener_channel *second = channel_of("a");
    cr_expect_eq(first, second);
    evener_channel *none = NULL;
    evener_status status;
    cr_expect_eq(evener_factory_channel(factory, "b", &none, &status), EVENER_STATUS_NOT_FOUND);
    cr_expect_not_null(strstr(status.message, "no channel \"b\""));
    cr_expect_null(none);
    evener_channel_unref(first);
    evener_channel_unref(second);
}

Test(factory, nothing_connects_before_the_first_use)
{
    open_with(ONE("target = \"static:" A "\";"));
    virtual_loop_advance_ms(loop, 5000);
    cr_expect_eq(fake_transport_attempts(fake, A), 0);
}

static const struct {
    const char *text;
    const char *message;
} refused[] = {
    {"\n" ONE("target = \"nope:1.2.3\"; policy = \"no_such\";"), ":2: channels.a: "},
    {"\n" ONE("target = \"static:nope\";"), ":2: channels.a: "},
    {"\n" ONE("target = \"\\xff\";"), ":2: channels.a: "},
    {"\n" ONE("target = \"static:" A "\"; policy = { least_request = { choiceCount = \"x\"; }; };"), "choiceCount"},
    {"\n" ONE("target = \"static:" A "\"; service_config = { methodConfig = 3; };"), "methodConfig"},
    {"\n" ONE("target = \"static:" A "\"; service_config = { methodConfig = ( { timeout = 3; } ); };"), "timeout"},
};

Test(factory, a_file_that_no_channel_can_be_made_of_is_refused_with_its_place)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        evener_status status;
        write_file(refused[i].text);
        cr_expect_neq(open_factory(&status), EVENER_STATUS_OK, "accepted: %s", refused[i].text);
        cr_expect_not_null(strstr(status.message, refused[i].message), "\"%s\" is not in \"%s\"", refused[i].message,
                           status.message);
        cr_expect_eq(strncmp(status.message, path, strlen(path)), 0, "%s", status.message);
        cr_expect_null(factory);
    }
}

Test(factory, another_policy_keeps_connections_and_handle)
{
    open_with(ONE("target = \"static:" A "," B "\";"));
    evener_channel *channel = ready_channel("a");
    cr_expect_str_eq(pick(channel), A);
    reload_with(ONE("target = \"static:" A "," B "\"; policy = \"round_robin\";"));
    virtual_loop_advance_ms(loop, 10);
    evener_channel *again = channel_of("a");
    cr_expect_eq(channel, again);
    cr_expect_eq(fake_transport_attempts(fake, A), 1, "the connection stays");
    cr_expect_eq(fake_transport_attempts(fake, B), 1);
    char first[EVENER_ADDRESS_BYTES_MAX];
    strcpy(first, pick(channel));
    cr_expect_str_neq(pick(channel), first, "round_robin goes round");
    evener_channel_unref(again);
    evener_channel_unref(channel);
}

Test(factory, another_target_moves_the_channel_behind_its_handle)
{
    open_with(ONE("target = \"static:" A "\";"));
    evener_channel *channel = ready_channel("a");
    const char *old_target = evener_channel_target(channel);
    evener_pick held;
    cr_assert_eq(evener_channel_try_pick(channel, NULL, &held, NULL), EVENER_PICK_COMPLETE);
    write_file(ONE("target = \"static:" B "\"; policy = \"round_robin\";"));
    evener_status status;
    cr_assert_eq(evener_factory_reload(factory, &status), EVENER_STATUS_OK, "%s", status.message);
    virtual_loop_advance_ms(loop, 10);
    cr_expect_str_eq(pick(channel), B);
    cr_expect_str_eq(evener_channel_target(channel), "static:" B);
    cr_expect_str_eq(old_target, "static:" A, "a name that was given out lives on");
    cr_expect_eq(fake_transport_unfreed(fake), 1, "the call under way keeps its connection");
    evener_pick_done(&held, NULL);
    evener_channel_unref(channel);
}

/* The message names the pair that does not fit. */
Test(factory, builders_that_are_counted_but_absent_are_refused)
{
    static const evener_policy_builder policy = {.size = sizeof policy, .name = "own"};
    static const evener_policy_builder *const policies[] = {&policy};
    const struct {
        evener_factory_options options;
        const char *expected;
    } rows[] = {
        {{.resolver_count = 1}, "factory options: resolver_count is not 0, but resolvers is NULL"},
        {{.policy_count = 1}, "factory options: policy_count is not 0, but policies is NULL"},
        {{.resolver_count = 1, .policy_count = 1}, "factory options: resolver_count is not 0, but resolvers is NULL"},
        {{.resolver_count = 1, .policies = policies, .policy_count = 1},
         "factory options: resolver_count is not 0, but resolvers is NULL"},
    };
    write_file(ONE("target = \"static:" A "\";"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        evener_factory_options options = rows[i].options;
        evener_status status;
        options.size = sizeof options;
        options.runtime = runtime;
        cr_expect_eq(evener_factory_open(path, &options, &factory, &status), EVENER_STATUS_INVALID_ARGUMENT);
        cr_expect_str_eq(status.message, rows[i].expected, "%zu: %s", i, status.message);
    }
}

Test(factory, the_old_backends_serve_until_the_new_target_has_an_answer)
{
    evener_manual_resolver *manual;
    cr_assert_eq(evener_manual_resolver_create("slow", &manual, NULL), EVENER_STATUS_OK);
    const evener_resolver_builder *own[] = {evener_manual_resolver_builder(manual)};
    evener_factory_options options = {.size = sizeof options,
                                      .runtime = runtime,
                                      .transport = fake_transport_transport(fake),
                                      .resolvers = own,
                                      .resolver_count = 1};
    write_file(ONE("target = \"static:" A "\"; authority = \"me\";"));
    cr_assert_eq(evener_factory_open(path, &options, &factory, NULL), EVENER_STATUS_OK);
    evener_channel *channel = ready_channel("a");
    reload_with(ONE("target = \"slow:///x\"; authority = \"me\";"));
    virtual_loop_advance_ms(loop, 1000);
    cr_expect_str_eq(pick(channel), A);
    const evener_status error = {.code = EVENER_STATUS_UNAVAILABLE, .message = "not yet"};
    evener_manual_resolver_error(manual, &error);
    virtual_loop_advance_ms(loop, 1000);
    cr_expect_str_eq(pick(channel), A);
    evener_manual_resolver_set(manual, A "," B, NULL, NULL);
    virtual_loop_advance_ms(loop, 10);
    cr_expect_str_eq(pick(channel), A);
    cr_expect_eq(fake_transport_attempts(fake, A), 1, "what both lists name keeps its connection");
    evener_channel_unref(channel);
    evener_factory_close(factory);
    factory = NULL;
    virtual_loop_advance_ms(loop, 10);
    evener_manual_resolver_destroy(manual);
}

Test(factory, another_authority_connects_anew)
{
    open_with(ONE("target = \"static:" A "\"; authority = \"one\"; policy = \"round_robin\";"));
    evener_channel *channel = ready_channel("a");
    cr_expect_str_eq(fake_transport_authority(fake, A), "one");
    reload_with(ONE("target = \"static:" A "\"; authority = \"two\"; policy = \"round_robin\";"));
    virtual_loop_advance_ms(loop, 10);
    cr_expect_str_eq(fake_transport_authority(fake, A), "two");
    cr_expect_str_eq(evener_channel_authority(channel), "two");
    cr_expect_str_eq(pick(channel), A);
    cr_expect_eq(fake_transport_open_count(fake, A), 1, "the old connection has gone");
    evener_channel_unref(channel);
}

/* C10: an authority that first comes from the list and is then set explicitly connects anew, although the name is the
 * same: the explicit one holds for every backend. */
Test(factory, an_authority_that_is_set_wins_over_a_backends_own)
{
    open_with(ONE("target = \"static:" A ";authority=orders.prod\"; policy = \"round_robin\";"));
    evener_channel *channel = ready_channel("a");
    cr_expect_str_eq(fake_transport_authority(fake, A), "orders.prod");
    reload_with(
        ONE("target = \"static:" A ";authority=orders.prod\"; authority = \"" A "\"; policy = \"round_robin\";"));
    virtual_loop_advance_ms(loop, 10);
    cr_expect_str_eq(fake_transport_authority(fake, A), A);
    cr_expect_eq(fake_transport_attempts(fake, A), 2);
    reload_with(ONE("target = \"static:" A ";authority=orders.prod\"; policy = \"round_robin\";"));
    virtual_loop_advance_ms(loop, 10);
    cr_expect_str_eq(fake_transport_authority(fake, A), "orders.prod");
    cr_expect_eq(fake_transport_open_count(fake, A), 1);
    evener_channel_unref(channel);
}

/* Over the built-in transports: the file names them. */
Test(factory, a_file_chooses_the_transport_and_cannot_change_it_under_a_live_channel)
{
    const evener_factory_options options = {.size = sizeof options, .runtime = runtime, .reloaded = note};
    evener_status status;
    write_file(ONE("target = \"static:" A "\"; credentials = \"insecure\"; transport = \"pigeon\";"));
    cr_expect_eq(evener_factory_open(path, &options, &factory, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(strstr(status.message, "no transport \"pigeon\" is registered") != NULL, "%s", status.message);
    write_file(ONE("target = \"static:" A "\"; credentials = \"insecure\"; transport = \"http2\";"));
    cr_assert_eq(evener_factory_open(path, &options, &factory, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_channel *channel = channel_of("a");
    const evener_transport_vtable *http2 = evener_channel_transport(channel)->vtable;
    write_file(ONE("target = \"static:" B "\"; credentials = \"insecure\"; transport = \"grpc\";"));
    cr_expect_eq(evener_factory_reload(factory, &status), EVENER_STATUS_FAILED_PRECONDITION);
    cr_expect(strstr(status.message, "channels.a: the transport of a channel cannot change") != NULL, "%s",
              status.message);
    cr_expect_eq(evener_channel_transport(channel)->vtable, http2);
    cr_expect_str_eq(evener_channel_target(channel), "static:" A, "the good file serves on");
    reload_with(ONE("target = \"static:" B "\"; credentials = \"insecure\"; transport = \"http2\";"));
    cr_expect_str_eq(evener_channel_target(channel), "static:" B);
    evener_channel_unref(channel);
}

Test(factory, credentials_and_keepalive_connect_anew)
{
    open_with(ONE("target = \"static:" A "\"; credentials = \"insecure\"; policy = \"round_robin\";"));
    evener_channel *channel = ready_channel("a");
    reload_with(ONE("target = \"static:" A "\"; credentials = \"tls\"; policy = \"round_robin\";"));
    virtual_loop_advance_ms(loop, 10);
    cr_expect_eq(fake_transport_attempts(fake, A), 2);
    reload_with(ONE("target = \"static:" A "\"; keepalive = { time_ms = 10; }; policy = \"round_robin\";"));
    virtual_loop_advance_ms(loop, 10);
    cr_expect_eq(fake_transport_attempts(fake, A), 3);
    cr_expect_str_eq(pick(channel), A);
    evener_channel_unref(channel);
}

Test(factory, limits_and_timeouts_change_where_they_stand)
{
    open_with(ONE("target = \"static:" A "\"; policy = \"round_robin\";"));
    evener_channel *channel = ready_channel("a");
    reload_with(ONE("target = \"static:" A "\"; policy = \"round_robin\"; wait_for_ready = true;\n"
                    "backoff = { initial_ms = 5; max_ms = 10; }; connect_timeout_ms = 7; idle_timeout_ms = 2000;"));
    cr_expect(evener_channel_wait_for_ready_default(channel));
    cr_expect_eq(fake_transport_attempts(fake, A), 1);
    /* The new backoff is in force. */
    fake_transport_set(fake, A, FAKE_REFUSE, 0);
    cr_assert(fake_transport_drop(fake, A));
    virtual_loop_advance_ms(loop, 100);
    cr_expect_gt(fake_transport_attempts(fake, A), 5);
    /* And so is the idle timeout. */
    fake_transport_set(fake, A, FAKE_ACCEPT, 0);
    virtual_loop_advance_ms(loop, 5000);
    cr_expect_eq(evener_channel_state(channel, false), EVENER_IDLE);
    evener_channel_unref(channel);
}

Test(factory, a_bad_file_is_refused_whole_and_the_old_one_stays)
{
    open_with("channels = { a = { target = \"static:" A "\"; }; b = { target = \"static:" B "\"; }; };");
    evener_channel *channel = ready_channel("a");
    evener_status status;
    write_file("channels = { a = { target = \"static:" C "\"; };\n b = { target = \"static:" B "\"; policy = 3; }; };");
    cr_expect_eq(evener_factory_reload(factory, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, ":2: channels.b.policy: "), "%s", status.message);
    write_file("channels = { a = { target = \"static:" C "\"; };\n b = { target = \"static:" B
               "\"; policy = \"x\"; }; };");
    cr_expect_eq(evener_factory_reload(factory, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, ":2: channels.b: "), "%s", status.message);
    virtual_loop_advance_ms(loop, 10);
    cr_expect_str_eq(pick(channel), A);
    cr_expect_eq(evener_factory_refused_count(factory), 2);
    cr_expect_eq(evener_factory_reload_count(factory), 0);
    cr_expect_eq(last_status.code, EVENER_STATUS_INVALID_ARGUMENT);
    evener_channel_unref(channel);
}

/* Return how often the file has been opened since the watch began. */
static unsigned opened(int watch)
{
    unsigned count = 0;
    struct inotify_event events[16];
    for (;;) {
        const ssize_t bytes = read(watch, events, sizeof events);
        if (bytes <= 0) {
            return count;
        }
        for (size_t i = 0; i < (size_t)bytes / sizeof events[0]; i++) { /* without names: the watch is of a file */
            count += (events[i].mask & IN_OPEN) != 0;
        }
    }
}

/* F4: between its first reading and the first look at it an include could change unnoticed. */
Test(factory, a_new_include_is_read_again_after_its_state_was_noted)
{
    char part[80];
    char text[256];
    evener_status status;
    snprintf(part, sizeof part, "%s.part", path);
    FILE *file = fopen(part, "w");
    cr_assert_not_null(file);
    fputs("channels = { a = { target = \"static:" A "\"; }; };\n", file);
    fclose(file);
    /* With the ends of openings: equal events in a row would become one. */
    const int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    cr_assert_geq(inotify_add_watch(watch, part, IN_OPEN | IN_CLOSE), 0);
    snprintf(text, sizeof text, "@include \"%s\"\n", part);
    write_file(text);
    cr_assert_eq(open_factory(&status), EVENER_STATUS_OK, "%s", status.message);
    const unsigned first = opened(watch);
    cr_expect_eq(first, 2, "%u", first);
    cr_assert_eq(evener_factory_reload(factory, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(opened(watch), 1, "its state is noted before each further reading");
    close(watch);
    cr_expect_eq(unlink(part), 0);
}

/* libconfig's own scanner ends the process at each of these includes. */
Test(factory, an_include_that_cannot_be_read_is_refused_and_the_old_configuration_stays)
{
    char folder[96], fifo[128], loop_link[128], locked[128];
    snprintf(folder, sizeof folder, "%s.d", path);
    cr_assert_eq(mkdir(folder, 0700), 0);
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    snprintf(loop_link, sizeof loop_link, "%s/loop", folder);
    cr_assert_eq(symlink("loop", loop_link), 0);
    snprintf(locked, sizeof locked, "%s/locked", folder);
    const int fd = open(locked, O_CREAT | O_WRONLY | O_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    close(fd);
    const struct {
        const char *name;
        const char *reason;
    } bad[] = {
        {"", "the name is empty"},
        {folder, "it is a directory"},
        {fifo, "it is a FIFO"},
        {loop_link, "cannot be read: Too many levels of symbolic links"},
        {"/nowhere.cfg", "cannot be read: No such file"},
        {geteuid() != 0 ? locked : "/nowhere.cfg", "cannot be read: "}, /* root may read anything */
    };
    open_with("channels = { a = { target = \"static:" A
              "\"; credentials = \"insecure\"; policy = \"round_robin\"; }; };");
    evener_channel *channel = ready_channel("a");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[512], place[512];
        snprintf(text, sizeof text, "channels = { a = { target = \"static:" B "\";\n};\n@include \"%s\"\n};",
                 bad[i].name);
        write_file(text);
        evener_status status;
        cr_expect_neq(evener_factory_reload(factory, &status), EVENER_STATUS_OK, "%s", bad[i].name);
        snprintf(place, sizeof place, "%s:3: @include: ", path);
        cr_expect_eq(strncmp(status.message, place, strlen(place)), 0, "%s", status.message);
        cr_expect_not_null(strstr(status.message, bad[i].reason), "%s", status.message);
        cr_expect_str_eq(pick(channel), A);
    }
    /* The watch includes a file that could not be read, and notices its repair. */
    char part[128], text[512];
    snprintf(part, sizeof part, "%s/part.cfg", folder);
    snprintf(text, sizeof text, "@include \"%s\"\n", part);
    write_file(text);
    virtual_loop_advance_ms(loop, 2000);
    cr_expect_not_null(strstr(last_status.message, "/part.cfg: cannot be read"), "%s", last_status.message);
    FILE *file = fopen(part, "w");
    cr_assert_not_null(file);
    fputs("channels = { a = { target = \"static:" B "\"; credentials = \"insecure\"; policy = \"round_robin\"; }; };",
          file);
    fclose(file);
    virtual_loop_advance_ms(loop, 2000);
    cr_expect_eq(last_status.code, EVENER_STATUS_OK, "%s", last_status.message);
    cr_expect_str_eq(pick(channel), B);
    unlink(part);
    evener_channel_unref(channel);
    unlink(fifo);
    unlink(loop_link);
    unlink(locked);
    rmdir(folder);
}

/* Opening a FIFO would block until it has a writer, and with the control thread all channels. */
Test(factory, a_file_that_is_replaced_by_none_is_refused_and_the_old_configuration_stays)
{
    open_with("channels = { a = { target = \"static:" A "\"; credentials = \"insecure\"; }; };");
    evener_channel *channel = ready_channel("a");
    evener_status status;
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(evener_factory_reload(factory, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, ": it is a FIFO; a regular file is needed"), "%s", status.message);
    cr_expect_eq(strncmp(status.message, path, strlen(path)), 0, "%s", status.message);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    virtual_loop_advance_ms(loop, 2000);
    cr_expect_not_null(strstr(last_status.message, ": it is a directory; a regular file is needed"), "%s",
                       last_status.message);
    cr_expect_str_eq(pick(channel), A);
    evener_channel_unref(channel);
    cr_assert_eq(rmdir(path), 0);
}

Test(factory, names_come_and_go_while_holders_keep_theirs)
{
    open_with(ONE("target = \"static:" A "\";"));
    evener_channel *a = ready_channel("a");
    reload_with("channels = { b = { target = \"static:" B "\"; }; };");
    evener_channel *b = ready_channel("b");
    cr_expect_str_eq(pick(a), A);
    cr_expect_str_eq(pick(b), B);
    evener_channel *none = NULL;
    cr_expect_eq(evener_factory_channel(factory, "a", &none, NULL), EVENER_STATUS_NOT_FOUND);
    evener_channel_unref(a);
    evener_channel_unref(b);
}

Test(factory, the_watch_sees_a_change_and_its_repair)
{
    open_with(ONE("target = \"static:" A "\"; policy = \"round_robin\";"));
    evener_channel *channel = ready_channel("a");
    virtual_loop_advance_ms(loop, 5000);
    notified = 0;
    write_file("channels = {");
    virtual_loop_advance_ms(loop, 1100);
    cr_expect_geq(notified, 1);
    cr_expect_eq(last_status.code, EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_str_eq(pick(channel), A);
    write_file(ONE("target = \"static:" B "\"; policy = \"round_robin\";"));
    virtual_loop_advance_ms(loop, 1100);
    cr_expect_eq(last_status.code, EVENER_STATUS_OK, "%s", last_status.message);
    cr_expect_str_eq(pick(channel), B);
    unlink(path);
    virtual_loop_advance_ms(loop, 1100);
    cr_expect_eq(last_status.code, EVENER_STATUS_NOT_FOUND);
    cr_expect_str_eq(pick(channel), B);
    evener_channel_unref(channel);
}

Test(factory, a_file_to_and_fro_reuses_the_names_it_gave_out)
{
    open_with(ONE("target = \"static:" A "\";"));
    evener_channel *channel = ready_channel("a");
    const char *first = evener_channel_target(channel);
    reload_with(ONE("target = \"static:" B "\";"));
    const char *second = evener_channel_target(channel);
    reload_with(ONE("target = \"static:" A "\";"));
    cr_expect_eq(evener_channel_target(channel), first);
    reload_with(ONE("target = \"static:" B "\";"));
    cr_expect_eq(evener_channel_target(channel), second);
    evener_channel_unref(channel);
}

/* F6: made absolute when it is opened. */
Test(factory, a_factory_opened_by_a_relative_name_does_not_follow_chdir)
{
    evener_status status;
    char folder[96], part[128], pem[128], text[512];
    certificates made;
    certificates_make(&made);
    snprintf(folder, sizeof folder, "%s.d", path);
    snprintf(part, sizeof part, "%s/part.cfg", folder);
    snprintf(pem, sizeof pem, "%s/ca.pem", folder);
    cr_assert_eq(mkdir(folder, 0700), 0);
    cr_assert_eq(chdir(folder), 0);
    write_to("ca.pem", made.authority);
    write_to("part.cfg", "defaults = { credentials = { ca = \"ca.pem\"; }; };\n");
    write_to("evener.cfg", "@include \"part.cfg\"\n" ONE("target = \"static:" A "\"; policy = \"round_robin\";"));
    let_files_age();
    const evener_factory_options options = {
        .size = sizeof options, .runtime = runtime, .transport = fake_transport_transport(fake), .reloaded = note};
    cr_assert_eq(evener_factory_open("evener.cfg", &options, &factory, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_assert_eq(chdir("/"), 0);
    evener_channel *channel = ready_channel("a");
    virtual_loop_advance_ms(loop, 3000);
    cr_expect_eq(evener_factory_reload_count(factory), 0, "nothing has changed");
    write_to(part, "defaults = { credentials = { ca = \"ca.pem\"; }; authority = \"changed\"; };\n");
    let_files_age();
    virtual_loop_advance_ms(loop, 3000);
    cr_expect_eq(evener_factory_reload_count(factory), 1, "an include");
    cr_expect_str_eq(evener_channel_authority(channel), "changed");
    write_to(pem, made.other_authority);
    let_files_age();
    virtual_loop_advance_ms(loop, 3000);
    cr_expect_eq(evener_factory_reload_count(factory), 2, "a PEM file");
    cr_expect_eq(evener_factory_refused_count(factory), 0, "%s", last_status.message);
    /* Messages name the file that is meant. */
    snprintf(text, sizeof text, "%s/evener.cfg", folder);
    write_to(text, "channels = {");
    cr_expect_eq(evener_factory_reload(factory, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(strncmp(status.message, text, strlen(text)), 0, "%s", status.message);
    evener_channel_unref(channel);
    unlink(text);
    unlink(part);
    unlink(pem);
    cr_expect_eq(rmdir(folder), 0);
    certificates_free(&made);
}

struct seen {
    unsigned count;
    char text[512];
};

static void see(void *arg, const evener_factory_entry *entry)
{
    struct seen *seen = arg;
    seen->count++;
    snprintf(seen->text, sizeof seen->text, "%s %s %s %s %s %u", entry->name, entry->target, entry->authority,
             entry->credentials, entry->service_config, entry->line);
}

Test(factory, visiting_tells_what_is_in_force)
{
    open_with("channels = { b = { target = \"static:" A "\"; };\n"
              "a = { target = \"static:" B
              "\"; authority = \"me\"; credentials = \"insecure\"; policy = \"random\"; }; };");
    struct seen seen = {0};
    evener_factory_visit(factory, see, &seen);
    cr_expect_eq(seen.count, 2);
    cr_expect_not_null(strstr(seen.text, "b static:" A), "%s", seen.text);
}

Test(factory, bad_arguments_are_refused)
{
    evener_status status;
    evener_factory_options options = {0};
    cr_expect_eq(evener_factory_open(NULL, NULL, &factory, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(evener_factory_open("x", &options, &factory, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "sizeof(evener_factory_options)"));
    strcat(path, ".missing");
    cr_expect_eq(open_factory(&status), EVENER_STATUS_NOT_FOUND);
    cr_expect_null(factory);
    path[strlen(path) - strlen(".missing")] = '\0';
}
