/* cache_file: the last good list on disk. The channels run on a virtual loop, where the disk is read and written at
 * once. */
#include <criterion/criterion.h>

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <evener/log.h>
#include <evener/stats.h>

#include "lb/base/memory.h"
#include "lb/channel/channel_internal.h"
#include "lb/channel/reconfigure.h"
#include "tests/support/channel_fixture.h"

#define A "127.0.0.1:1"
#define B "127.0.0.1:2"
#define C "127.0.0.1:3"
#define HOUR_MS (UINT64_C(3600) * 1000)

static char folder[64], path[96], beside[112];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/evener-cache-XXXXXX");
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

TestSuite(cache, .init = make_folder, .fini = remove_folder);

static uint64_t wall_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / EVENER_NS_PER_MS;
}

/* Write a file as a process would have left it. */
static void leave_file(const char *target, const char *address, const char *service_config, uint64_t age_ms)
{
    evener_address *addresses[1];
    evener_status status;
    const evener_attribute weight = {"weight", "7"};
    cr_assert_eq(evener_address_create(address, &weight, 1, &addresses[0], &status), EVENER_STATUS_OK);
    const evener_saved_list list = {.time_ms = wall_clock_ms() - age_ms,
                                    .target = (char *)target,
                                    .service_config = (char *)service_config,
                                    .addresses = addresses,
                                    .count = 1};
    char *text = NULL;
    size_t bytes;
    uint64_t content;
    cr_assert(evener_saved_list_encode(&list, &text, &bytes, &content));
    cr_assert_eq(evener_saved_list_write(path, text, bytes, &status), EVENER_STATUS_OK, "%s", status.message);
    free(text);
    evener_address_unref(addresses[0]);
}

static evener_saved_list read_file(void)
{
    evener_saved_list list = {0};
    evener_status status;
    cr_assert_eq(evener_saved_list_read(path, &list, &status), EVENER_STATUS_OK, "%s", status.message);
    return list;
}

static fixture *open_channel(void)
{
    return fixture_create(&(evener_channel_options){.policy = "round_robin", .cache_file = path});
}

static void fail(fixture *f)
{
    evener_status error;
    evener_status_set(&error, EVENER_STATUS_UNAVAILABLE, "discovery is down");
    evener_manual_resolver_error(f->resolver, &error);
    virtual_loop_run_until_idle(f->loop);
}

static evener_channel_stats stats_of(fixture *f)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    cr_assert_eq(evener_channel_get_stats(f->channel, &stats, NULL), EVENER_STATUS_OK);
    return stats;
}

static void expect_cache_error(fixture *f, const char *part)
{
    evener_channel_stats stats = stats_of(f);
    cr_expect_not_null(strstr(stats.last_cache_error, part), "\"%s\" does not say \"%s\"", stats.last_cache_error,
                       part);
    evener_channel_stats_clear(&stats);
}

static void expect_age(fixture *f, bool is_cached)
{
    evener_channel_stats stats = stats_of(f);
    cr_expect_eq(stats.cached_list_age_ms != 0, is_cached);
    cr_expect_eq(strstr(stats.list_source, "cache file /tmp/") != NULL, is_cached, "%s", stats.list_source);
    evener_channel_stats_clear(&stats);
}

/* ---- reading ---- */

Test(cache, serves_from_the_file_when_the_resolver_fails)
{
    leave_file("orders:///x", A, NULL, HOUR_MS);
    fixture *f = open_channel();
    fixture_connect(f);
    cr_expect_str_eq(fixture_pick(f), "queue");
    fail(f);
    virtual_loop_run_until_idle(f->loop);
    cr_expect_str_eq(fixture_pick(f), A);
    expect_age(f, true);
    evener_channel_stats stats = stats_of(f);
    cr_expect_geq(stats.cached_list_age_ms, HOUR_MS);
    cr_expect_eq(stats.resolver_errors, 1);
    evener_channel_stats_clear(&stats);
    cr_expect_str_eq(evener_address_attribute(f->channel->control.list.addresses[0], "weight"), "7");
    fail(f);
    cr_expect_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

Test(cache, serves_from_the_file_when_the_resolver_is_silent_and_not_before)
{
    leave_file("orders:///x", A, NULL, 0);
    fixture *f = open_channel();
    fixture_connect(f);
    virtual_loop_advance_ms(f->loop, EVENER_CACHE_SILENCE_MS - 1);
    cr_expect_str_eq(fixture_pick(f), "queue");
    virtual_loop_advance_ms(f->loop, 1);
    cr_expect_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

Test(cache, a_failure_before_the_file_was_read_fails_no_call)
{
    leave_file("orders:///x", A, NULL, 0);
    fixture *f = open_channel();
    evener_channel_connect(f->channel);
    evener_status error;
    evener_status_set(&error, EVENER_STATUS_UNAVAILABLE, "discovery is down");
    evener_manual_resolver_error(f->resolver, &error);
    virtual_loop_run_until_idle(f->loop);
    cr_expect_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

Test(cache, without_a_file_a_failure_is_reported_as_ever)
{
    fixture *f = open_channel();
    fixture_connect(f);
    fail(f);
    cr_expect_not_null(strstr(fixture_pick(f), "discovery is down"), "%s", f->picked);
    expect_cache_error(f, "");
    fixture_push(f, A);
    cr_expect_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

Test(cache, the_first_answer_replaces_the_saved_list)
{
    leave_file("orders:///x", A, NULL, 0);
    fixture *f = open_channel();
    fixture_connect(f);
    fail(f);
    cr_expect_str_eq(fixture_pick(f), A);
    fixture_push(f, B);
    cr_expect_str_eq(fixture_pick(f), B);
    expect_age(f, false);
    fixture_destroy(f);
}

Test(cache, an_answer_in_time_leaves_the_file_unused)
{
    leave_file("orders:///x", A, NULL, 0);
    fixture *f = open_channel();
    fixture_connect(f);
    fixture_push(f, B);
    virtual_loop_advance_ms(f->loop, 1000);
    cr_expect_str_eq(fixture_pick(f), B);
    cr_expect_eq(f->channel->control.list.count, 1);
    expect_age(f, false);
    fixture_destroy(f);
}

Test(cache, a_saved_list_outlives_an_empty_answer_for_as_long_as_any_list)
{
    leave_file("orders:///x", A, NULL, 0);
    fixture *f = open_channel();
    fixture_connect(f);
    fixture_push(f, ""); /* before the saved list was needed */
    cr_expect_str_eq(fixture_pick(f), A);
    expect_age(f, true);
    virtual_loop_advance_ms(f->loop, UINT64_C(5) * 60 * 1000);
    cr_expect_str_neq(fixture_pick(f), A);
    cr_expect_eq(f->channel->control.cache.in_force_time_ms, 0, "none is in force any more");
    fixture_destroy(f);
    f = fixture_create(&(evener_channel_options){.cache_file = path, .empty_update = EVENER_EMPTY_UPDATE_FAIL});
    fixture_connect(f);
    fixture_push(f, "");
    virtual_loop_advance_ms(f->loop, 1000);
    cr_expect_str_neq(fixture_pick(f), A);
    fixture_destroy(f);
}

Test(cache, the_service_config_is_kept_too)
{
    leave_file("orders:///x", A, "{\"loadBalancingPolicy\":\"p2c_ewma\"}", 0);
    fixture *f = open_channel();
    fixture_connect(f);
    fail(f);
    evener_channel_stats stats = stats_of(f);
    cr_expect_str_eq(stats.policy, "p2c_ewma");
    evener_channel_stats_clear(&stats);
    fixture_push(f, B); /* without one */
    stats = stats_of(f);
    cr_expect_str_eq(stats.policy, "round_robin");
    evener_channel_stats_clear(&stats);
    fixture_destroy(f);
}

Test(cache, goes_idle_and_starts_again_from_the_file)
{
    fixture *f = fixture_create(&(evener_channel_options){.cache_file = path, .idle_timeout_ms = 1000});
    fixture_connect(f);
    fixture_push(f, A);
    cr_expect_str_eq(fixture_pick(f), A);
    virtual_loop_advance_ms(f->loop, 10000);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_IDLE);
    fixture_destroy(f);
    f = open_channel();
    fixture_connect(f);
    fail(f);
    cr_expect_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

/* A channel that starts again does not use what it read before. */
Test(cache, of_two_reads_the_second_one_counts)
{
    fixture *f = open_channel();
    fixture_connect(f);
    leave_file("orders:///x", A, NULL, 0);
    evener_channel_cache_start(&f->channel->control.cache);
    leave_file("orders:///x", B, NULL, 0);
    evener_channel_cache_start(&f->channel->control.cache);
    virtual_loop_run_until_idle(f->loop);
    fail(f);
    cr_expect_str_eq(fixture_pick(f), B);
    virtual_loop_advance_ms(f->loop, 60000);
    cr_expect_str_eq(fixture_pick(f), B);
    fixture_destroy(f);
}

/* After it went idle there is no list, whatever was in force before. */
Test(cache, an_idle_channel_has_no_saved_list_in_force)
{
    leave_file("orders:///x", A, NULL, HOUR_MS);
    fixture *f = fixture_create(&(evener_channel_options){.cache_file = path, .idle_timeout_ms = 1000});
    fixture_connect(f);
    fail(f);
    cr_expect_str_eq(fixture_pick(f), A);
    cr_expect_neq(evener_channel_cache_age_ms(&f->channel->control.cache), 0);
    virtual_loop_advance_ms(f->loop, 10000);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_IDLE);
    cr_expect_eq(evener_channel_cache_age_ms(&f->channel->control.cache), 0);
    fixture_push(f, B);
    fixture_connect(f);
    cr_expect_str_eq(fixture_pick(f), B);
    expect_age(f, false);
    evener_saved_list list = read_file();
    cr_expect_str_eq(evener_address_text(list.addresses[0]), B);
    evener_saved_list_clear(&list);
    fixture_destroy(f);
}

/* The resolver's list is in force also when its service config is not, and the last one stays. */
Test(cache, a_saved_list_does_not_replace_one_with_a_bad_service_config)
{
    fixture *f = fixture_create(&(evener_channel_options){.cache_file = path, .idle_timeout_ms = 1200000});
    fixture_connect(f);
    fixture_push_config(f, A, "{\"loadBalancingPolicy\":\"round_robin\"}");
    cr_expect_str_eq(fixture_pick(f), A);
    virtual_loop_advance_ms(f->loop, 2500000);
    cr_assert_eq(evener_channel_state(f->channel, false), EVENER_IDLE);
    fixture_push_config(f, B, "{");
    fixture_connect(f);
    cr_expect_str_eq(fixture_pick(f), B);
    virtual_loop_advance_ms(f->loop, 100);
    cr_expect_str_eq(fixture_pick(f), B);
    expect_age(f, false);
    virtual_loop_advance_ms(f->loop, 360000);
    cr_expect_str_eq(fixture_pick(f), B);
    evener_saved_list list = read_file();
    cr_expect_str_eq(evener_address_text(list.addresses[0]), A, "what was not accepted is not written");
    evener_saved_list_clear(&list);
    fixture_destroy(f);
}

/* ---- refusals ---- */

static void expect_refused(const char *part)
{
    fixture *f = open_channel();
    fixture_connect(f);
    fail(f);
    cr_expect_not_null(strstr(fixture_pick(f), "discovery is down"), "%s", f->picked);
    expect_cache_error(f, part);
    expect_cache_error(f, path);
    expect_age(f, false);
    fixture_push(f, B);
    cr_expect_str_eq(fixture_pick(f), B);
    fixture_destroy(f);
}

Test(cache, a_damaged_file_is_refused_with_the_reason)
{
    leave_file("orders:///x", A, NULL, 0);
    FILE *file = fopen(path, "r+");
    cr_assert_not_null(file);
    fseek(file, 20, SEEK_SET);
    fputc('x', file);
    fclose(file);
    expect_refused("checksum");
}

Test(cache, too_old_a_file_is_refused_with_the_reason)
{
    leave_file("orders:///x", A, NULL, 25 * HOUR_MS);
    expect_refused("the limit is 86400 s");
}

static char said[8192];

static void collect(void *arg, evener_log_level level, const char *category, const char *message)
{
    (void)arg, (void)category;
    if (level >= EVENER_LOG_WARNING && strlen(said) + strlen(message) + 2 < sizeof said) {
        strcat(strcat(said, message), "\n");
    }
}

/* Return the number that follows `words` in what was logged. */
static long number_after(const char *words)
{
    const char *at = strstr(said, words);
    cr_assert_not_null(at, "\"%s\" does not say \"%s\"", said, words);
    return strtol(at + strlen(words), NULL, 10);
}

/* Serve from a file of this age, or try to. What is logged is in `said`. */
static void start_from(const evener_channel_options *options, uint64_t age_ms, bool is_used)
{
    leave_file("orders:///x", A, NULL, age_ms);
    said[0] = '\0';
    evener_log_set_sink(collect, NULL, EVENER_LOG_WARNING);
    fixture *f = fixture_create(options);
    fixture_connect(f);
    fail(f);
    cr_expect_eq(strcmp(fixture_pick(f), A) == 0, is_used, "%s", f->picked);
    evener_log_set_sink(NULL, NULL, EVENER_LOG_NONE);
    fixture_destroy(f);
}

Test(cache, ages_are_logged_in_seconds)
{
    const evener_channel_options options = {.policy = "round_robin", .cache_file = path};
    start_from(&options, 1000 * HOUR_MS, false);
    const long too_old_s = number_after("is refused: it is ");
    cr_expect(too_old_s >= 3600000 && too_old_s < 3600000 + 600, "%ld", too_old_s);
    start_from(&options, 20 * HOUR_MS, true);
    const long age_s = number_after("1 addresses, confirmed ");
    cr_expect(age_s >= 72000 && age_s < 72000 + 600, "%ld", age_s);
    cr_expect_null(strstr(said, "is the clock right?"));
    cr_expect_not_null(strstr(said, "s ago): discovery is down\n"), "%s", said);
    cr_expect_null(strstr(said, "there are no addresses"), "%s", said);
}

/* A failure that the saved list has answered is none, however long nothing else comes. */
Test(cache, a_failure_that_the_saved_list_answers_is_not_reported)
{
    leave_file("orders:///x", A, NULL, 0);
    evener_log_set_sink(collect, NULL, EVENER_LOG_WARNING);
    fixture *f = open_channel();
    evener_channel_connect(f->channel);
    evener_status error;
    evener_status_set(&error, EVENER_STATUS_UNAVAILABLE, "discovery is down");
    evener_manual_resolver_error(f->resolver, &error);
    virtual_loop_advance_ms(f->loop, 60000);
    cr_expect_str_eq(fixture_pick(f), A);
    evener_log_set_sink(NULL, NULL, EVENER_LOG_NONE);
    cr_expect_null(strstr(said, "there are no addresses"), "%s", said);
    cr_expect_null(strstr(said, "could not be read within"), "%s", said);
    fixture_destroy(f);
}

/* A clock may have been set back since. */
Test(cache, a_file_from_the_future_is_used_with_a_warning)
{
    const evener_channel_options options = {.policy = "round_robin", .cache_file = path};
    start_from(&options, (uint64_t)0 - 1000 * HOUR_MS, true);
    const long ahead_s = number_after("is of a time ");
    cr_expect(ahead_s <= 3600000 && ahead_s > 3600000 - 600, "%ld", ahead_s);
    cr_expect_not_null(strstr(said, " s from now: is the clock right?"), "%s", said);
    cr_expect_eq(number_after("1 addresses, confirmed "), 0);
}

Test(cache, a_limit_of_the_age_holds)
{
    evener_channel_options options = {.policy = "round_robin", .cache_file = path, .cache_max_age_ms = 10 * HOUR_MS};
    start_from(&options, 9 * HOUR_MS, true);
    start_from(&options, 10 * HOUR_MS + 1, false);
    cr_expect_not_null(strstr(said, "and the limit is 36000 s (cache_max_age_ms)"), "%s", said);
    options.cache_max_age_ms = 30 * HOUR_MS;
    start_from(&options, 29 * HOUR_MS, true);
}

/* The failure came first, and then there was nothing to read: the calls fail with it. */
Test(cache, a_failure_held_for_a_file_that_is_of_no_use_is_reported)
{
    for (int damaged = 0; damaged < 2; damaged++) {
        if (damaged == 1) {
            FILE *file = fopen(path, "w");
            cr_assert_not_null(file);
            cr_assert_gt(fputs("no list", file), 0);
            cr_assert_eq(fclose(file), 0);
        }
        fixture *f = open_channel();
        evener_channel_connect(f->channel);
        evener_status error;
        evener_status_set(&error, EVENER_STATUS_UNAVAILABLE, "discovery is down");
        evener_manual_resolver_error(f->resolver, &error);
        virtual_loop_run_until_idle(f->loop);
        cr_expect_not_null(strstr(fixture_pick(f), "discovery is down"), "%s", f->picked);
        cr_expect_eq(evener_channel_state(f->channel, false), EVENER_TRANSIENT_FAILURE);
        fixture_push(f, A);
        cr_expect_str_eq(fixture_pick(f), A);
        fixture_destroy(f);
        cr_assert_eq(unlink(path), 0);
    }
}

Test(cache, any_age_is_good_if_asked_for)
{
    leave_file("orders:///x", A, NULL, 1000 * HOUR_MS);
    fixture *f = fixture_create(&(evener_channel_options){.cache_file = path, .cache_max_age_ms = EVENER_NEVER_MS});
    fixture_connect(f);
    fail(f);
    cr_expect_str_eq(fixture_pick(f), A);
    fixture_destroy(f);
}

Test(cache, a_file_of_another_target_is_refused_with_the_reason)
{
    leave_file("orders:///y", A, NULL, 0);
    expect_refused("is of the target orders:///y");
}

Test(cache, a_service_config_that_is_bad_now_refuses_the_file)
{
    leave_file("orders:///x", A, "{\"loadBalancingPolicy\":\"gone\"}", 0);
    fixture *f = open_channel();
    fixture_connect(f);
    fail(f);
    cr_expect_not_null(strstr(fixture_pick(f), "discovery is down"), "%s", f->picked);
    expect_cache_error(f, "gone");
    expect_age(f, false);
    fixture_destroy(f);
}

Test(cache, a_path_that_names_no_file_is_refused_at_creation)
{
    fixture *f = fixture_create(NULL);
    evener_channel_options options = {.size = sizeof options,
                                      .runtime = f->runtime,
                                      .transport = fake_transport_transport(f->transport),
                                      .cache_file = "/tmp/"};
    evener_channel *channel = NULL;
    evener_status status;
    cr_expect_eq(evener_channel_create("static:" A, &options, &channel, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "cache_file"), "%s", status.message);
    fixture_destroy(f);
}

/* ---- writing ---- */

Test(cache, an_accepted_list_is_written_at_once_and_a_fast_second_one_a_second_later)
{
    fixture *f = open_channel();
    fixture_connect(f);
    fixture_push_config(f, A ";weight=5", "{\"loadBalancingPolicy\":\"random\"}");
    evener_saved_list list = read_file();
    cr_expect_eq(list.count, 1);
    cr_expect_str_eq(evener_address_attribute(list.addresses[0], "weight"), "5");
    cr_expect_str_eq(list.service_config, "{\"loadBalancingPolicy\":\"random\"}");
    cr_expect_str_eq(list.target, "orders:///x");
    evener_saved_list_clear(&list);
    fixture_push(f, A "," B);
    fixture_push(f, A "," B "," C);
    list = read_file();
    cr_expect_eq(list.count, 1);
    evener_saved_list_clear(&list);
    virtual_loop_advance_ms(f->loop, 10000); /* twenty times the duration of the first write, at most */
    list = read_file();
    cr_expect_eq(list.count, 3);
    evener_saved_list_clear(&list);
    fixture_destroy(f);
}

Test(cache, what_was_not_written_is_when_the_channel_closes)
{
    fixture *f = open_channel();
    fixture_connect(f);
    fixture_push(f, A);
    fixture_push(f, A "," B);
    fixture_destroy(f);
    evener_saved_list list = read_file();
    cr_expect_eq(list.count, 2);
    evener_saved_list_clear(&list);
}

Test(cache, neither_an_empty_list_nor_a_saved_one_is_written)
{
    leave_file("orders:///x", A, NULL, HOUR_MS);
    fixture *f = open_channel();
    fixture_connect(f);
    fail(f);
    cr_expect_str_eq(fixture_pick(f), A);
    fixture_push(f, "");
    virtual_loop_advance_ms(f->loop, UINT64_C(10) * 60 * 1000);
    fixture_destroy(f);
    evener_saved_list list = read_file();
    cr_expect_eq(list.count, 1);
    cr_expect_leq(list.time_ms, wall_clock_ms() - HOUR_MS);
    evener_saved_list_clear(&list);
}

Test(cache, a_list_that_stays_is_written_only_to_renew_its_time)
{
    fixture *f = fixture_create(&(evener_channel_options){.cache_file = path, .idle_timeout_ms = EVENER_NEVER_MS});
    fixture_connect(f);
    for (int i = 0; i < 20; i++) {
        fixture_push(f, A);
        virtual_loop_advance_ms(f->loop, 60000);
    }
    evener_channel_stats stats = stats_of(f);
    cr_expect_eq(stats.cache_writes, 1);
    evener_channel_stats_clear(&stats);
    virtual_loop_advance_ms(f->loop, 12 * HOUR_MS); /* a watching resolver has nothing to say */
    stats = stats_of(f);
    cr_expect_geq(stats.cache_writes, 4);
    cr_expect_leq(stats.cache_writes, 6);
    const uint64_t writes = stats.cache_writes;
    evener_channel_stats_clear(&stats);
    fail(f); /* from here on nobody confirms the list */
    virtual_loop_advance_ms(f->loop, 12 * HOUR_MS);
    stats = stats_of(f);
    cr_expect_eq(stats.cache_writes, writes);
    evener_channel_stats_clear(&stats);
    fixture_destroy(f);
}

Test(cache, a_write_that_fails_is_counted_and_tried_again)
{
    char away[96];
    snprintf(away, sizeof away, "%s.away", folder);
    cr_assert_eq(rename(folder, away), 0);
    fixture *f = open_channel();
    fixture_connect(f);
    fixture_push(f, A);
    cr_expect_str_eq(fixture_pick(f), A);
    expect_cache_error(f, path);
    evener_channel_stats stats = stats_of(f);
    cr_expect_eq(stats.cache_write_errors, 1);
    evener_channel_stats_clear(&stats);
    cr_assert_eq(rename(away, folder), 0);
    virtual_loop_advance_ms(f->loop, 60000);
    evener_saved_list list = read_file();
    cr_expect_eq(list.count, 1);
    evener_saved_list_clear(&list);
    fixture_destroy(f);
}

/* A file that is written late has the time when the resolver was last known to confirm the list. */
Test(cache, a_write_that_is_tried_again_does_not_renew_the_time_while_the_resolver_fails)
{
    char away[96];
    snprintf(away, sizeof away, "%s.away", folder);
    cr_assert_eq(rename(folder, away), 0);
    fixture *f = open_channel();
    fixture_connect(f);
    fixture_push(f, A);
    fail(f);
    const uint64_t failed_ms = wall_clock_ms();
    while (wall_clock_ms() <= failed_ms) { /* until a later time would be seen */
    }
    fail(f);
    cr_assert_eq(rename(away, folder), 0);
    virtual_loop_advance_ms(f->loop, 60000);
    evener_saved_list list = read_file();
    cr_expect_eq(list.count, 1);
    cr_expect_leq(list.time_ms, failed_ms);
    evener_saved_list_clear(&list);
    fixture_destroy(f);
}

/* As a factory does when `cache_file` has changed. */
static void set_cache_file(fixture *f, const char *name)
{
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(f->resolver)};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = f->runtime,
                                            .transport = fake_transport_transport(f->transport),
                                            .policy = "round_robin",
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .cache_file = name};
    evener_channel *prepared = NULL;
    evener_status status;
    cr_assert_eq(evener_channel_create("orders:///x", &options, &prepared, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_channel_reconfigure(f->channel, prepared, false, false, &status), EVENER_STATUS_OK);
    evener_channel_unref(prepared);
    virtual_loop_run_until_idle(f->loop);
}

Test(cache, a_file_that_is_set_while_the_resolver_fails_has_the_time_of_the_list)
{
    fixture *f = fixture_create(NULL);
    fixture_connect(f);
    fixture_push(f, A);
    fail(f);
    const uint64_t failed_ms = wall_clock_ms();
    while (wall_clock_ms() <= failed_ms) { /* until a later time would be seen */
    }
    set_cache_file(f, path);
    evener_saved_list list = read_file();
    cr_expect_eq(list.count, 1);
    cr_expect_leq(list.time_ms, failed_ms);
    evener_saved_list_clear(&list);
    fixture_destroy(f);
}

static unsigned warnings;

static void count_warning(void *arg, evener_log_level level, const char *category, const char *message)
{
    (void)arg, (void)category;
    warnings += level == EVENER_LOG_WARNING && strstr(message, "no/such") != NULL;
}

Test(cache, a_failure_that_stays_is_one_warning)
{
    evener_log_set_sink(count_warning, NULL, EVENER_LOG_DEBUG);
    fixture *f = fixture_create(&(evener_channel_options){
        .policy = "round_robin", .cache_file = "/no/such/folder/a.list", .idle_timeout_ms = EVENER_NEVER_MS});
    fixture_connect(f);
    fixture_push(f, A);
    cr_expect_eq(warnings, 1);
    virtual_loop_advance_ms(f->loop, 600000);
    evener_channel_stats stats = stats_of(f);
    cr_expect_gt(stats.cache_write_errors, 2);
    cr_expect_eq(stats.cache_writes, 0);
    evener_channel_stats_clear(&stats);
    cr_expect_eq(warnings, 1);
    fixture_destroy(f);
    evener_log_set_sink(NULL, NULL, EVENER_LOG_NONE);
}

Test(cache, a_factory_may_set_move_and_remove_it_on_a_live_channel)
{
    fixture *f = fixture_create(NULL);
    fixture_connect(f);
    fixture_push(f, A);
    const char *const paths[] = {path, beside, NULL, path};
    for (size_t i = 0; i < 4; i++) {
        (void)unlink(path);
        (void)unlink(beside);
        set_cache_file(f, paths[i]);
        virtual_loop_advance_ms(f->loop, 100000);
        cr_expect_eq(access(path, F_OK) == 0, paths[i] == path, "%zu", i);
        cr_expect_eq(access(beside, F_OK) == 0, paths[i] == beside, "%zu", i);
    }
    fixture_destroy(f);
}

/* A reload of a factory file, most of whose settings are as before. */
Test(cache, a_reload_with_the_same_file_writes_nothing)
{
    fixture *f = fixture_create(
        &(evener_channel_options){.policy = "round_robin",
                                  .cache_file = path,
                                  .default_service_config = "{\"loadBalancingConfig\":[{\"random\":{}}]}"});
    fixture_connect(f);
    fixture_push(f, A);
    const evener_service_config *config = f->channel->control.published_config;
    for (int i = 0; i < 3; i++) {
        const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(f->resolver)};
        const evener_channel_options options = {.size = sizeof options,
                                                .runtime = f->runtime,
                                                .transport = fake_transport_transport(f->transport),
                                                .policy = "round_robin",
                                                .resolvers = resolvers,
                                                .resolver_count = 1,
                                                .cache_file = path,
                                                .cache_max_age_ms = 7 * HOUR_MS,
                                                .default_service_config =
                                                    i < 2 ? "{\"loadBalancingConfig\":[{\"random\":{}}]}" : NULL};
        evener_channel *prepared = NULL;
        evener_status status;
        cr_assert_eq(evener_channel_create("orders:///x", &options, &prepared, &status), EVENER_STATUS_OK);
        cr_assert_eq(evener_channel_reconfigure(f->channel, prepared, false, false, &status), EVENER_STATUS_OK);
        evener_channel_unref(prepared);
        virtual_loop_advance_ms(f->loop, 60000);
        cr_expect_eq(f->channel->control.published_config == config, i < 2, "the same config stays in force");
        cr_expect_eq(f->channel->control.cache.writes, 1);
        cr_expect_eq(f->channel->control.cache.age_ms_max, 7 * HOUR_MS);
        cr_expect_str_eq(f->channel->control.cache.path, path);
    }
    fixture_destroy(f);
}

/* ---- on threads ---- */

struct hang {
    evener_work work;
    sem_t begun, end;
};

static void hang(evener_work *work)
{
    struct hang *self = EVENER_CONTAINER_OF(work, struct hang, work);
    sem_post(&self->begun);
    while (sem_wait(&self->end) != 0) {
    }
}

/* A channel with a cache file, on a runtime whose disk thread stands still. */
typedef struct hung_scene {
    evener_runtime *runtime;
    evener_manual_resolver *manual;
    evener_channel *channel;
    evener_credentials *insecure;
    struct hang disk;
} hung_scene;

static void hung_open(hung_scene *h)
{
    evener_status status;
    *h = (hung_scene){.disk.work.run = hang};
    sem_init(&h->disk.begun, 0, 0);
    sem_init(&h->disk.end, 0, 0);
    cr_assert_eq(evener_runtime_create(NULL, &h->runtime, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_manual_resolver_create("orders", &h->manual, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_credentials_create_insecure(&h->insecure, NULL), EVENER_STATUS_OK);
    evener_work_threads *threads = evener_work_threads_get_disk(h->runtime, &status);
    cr_assert_not_null(threads);
    evener_work_threads_put(threads, &h->disk.work);
    while (sem_wait(&h->disk.begun) != 0) {
    }
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(h->manual)};
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = h->runtime,
                                            .credentials = h->insecure,
                                            .resolvers = resolvers,
                                            .resolver_count = 1,
                                            .cache_file = path};
    cr_assert_eq(evener_channel_create("orders:///x", &options, &h->channel, &status), EVENER_STATUS_OK, "%s",
                 status.message);
}

/* After the end of the channel. */
static void hung_close(hung_scene *h)
{
    evener_credentials_destroy(h->insecure);
    evener_manual_resolver_destroy(h->manual);
    evener_runtime_unref(h->runtime);
    sem_destroy(&h->disk.begun);
    sem_destroy(&h->disk.end);
}

/* The disk thread stands still, as one that reads from a file system that hangs. */
Test(cache, a_file_system_that_hangs_holds_back_no_failure_and_a_late_list_is_used, .timeout = 60)
{
    evener_status status;
    hung_scene h;
    leave_file("orders:///x", A, NULL, 0);
    hung_open(&h);
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "discovery is down");
    evener_manual_resolver_error(h.manual, &status);
    evener_channel_connect(h.channel);
    evener_connectivity_state state = EVENER_IDLE;
    while (state != EVENER_TRANSIENT_FAILURE) {
        state = evener_channel_wait_for_state_change(h.channel, state, 0);
    }
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    cr_assert_eq(evener_channel_get_stats(h.channel, &stats, &status), EVENER_STATUS_OK);
    cr_expect_eq(stats.subchannel_count, 0);
    sem_post(&h.disk.end);
    do { /* until the saved list is there */
        evener_channel_stats_clear(&stats);
        cr_assert_eq(evener_channel_get_stats(h.channel, &stats, &status), EVENER_STATUS_OK);
    } while (stats.subchannel_count == 0);
    cr_expect_neq(stats.cached_list_age_ms, 0);
    evener_channel_stats_clear(&stats);
    evener_channel_unref(h.channel);
    hung_close(&h);
}

static void stop_cache(void *arg)
{
    evener_channel_cache_stop(arg);
}

/* Set a list, and wait until the channel has taken it. */
static void set_and_wait(evener_manual_resolver *manual, evener_channel *channel, const char *list, size_t count)
{
    evener_status status;
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    cr_assert_eq(evener_manual_resolver_set(manual, list, NULL, &status), EVENER_STATUS_OK);
    size_t now;
    do {
        cr_assert_eq(evener_channel_get_stats(channel, &stats, &status), EVENER_STATUS_OK);
        now = stats.subchannel_count;
        evener_channel_stats_clear(&stats);
    } while (now != count);
}

/* The disk thread stands still while the channel goes to rest twice, each time with another list to write. */
Test(cache, of_lists_that_wait_for_the_disk_the_last_one_is_written, .timeout = 60)
{
    hung_scene h;
    hung_open(&h);
    evener_channel_cache *cache = &h.channel->control.cache;
    evener_channel_connect(h.channel);
    set_and_wait(h.manual, h.channel, A, 1); /* its write is with the disk thread */
    set_and_wait(h.manual, h.channel, A "," B, 2);
    evener_runtime_call(h.runtime, stop_cache, cache);
    set_and_wait(h.manual, h.channel, A "," B "," C, 3);
    evener_runtime_call(h.runtime, stop_cache, cache);
    cr_expect_eq(access(path, F_OK), -1);
    sem_post(&h.disk.end);
    evener_channel_unref(h.channel); /* waits for the writes */
    evener_saved_list list = read_file();
    cr_expect_eq(list.count, 3);
    evener_saved_list_clear(&list);
    hung_close(&h);
}

Test(cache, on_a_runtime_of_its_own_the_disk_is_used_on_a_work_thread)
{
    for (int round = 0; round < 2; round++) {
        evener_runtime *runtime;
        evener_manual_resolver *manual;
        evener_channel *channel;
        evener_status status;
        cr_assert_eq(evener_runtime_create(NULL, &runtime, &status), EVENER_STATUS_OK);
        cr_assert_eq(evener_manual_resolver_create("orders", &manual, &status), EVENER_STATUS_OK);
        const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(manual)};
        evener_credentials *insecure;
        evener_credentials_create_insecure(&insecure, NULL);
        const evener_channel_options options = {.size = sizeof options,
                                                .runtime = runtime,
                                                .credentials = insecure,
                                                .resolvers = resolvers,
                                                .resolver_count = 1,
                                                .cache_file = path};
        cr_assert_eq(evener_channel_create("orders:///x", &options, &channel, &status), EVENER_STATUS_OK, "%s",
                     status.message);
        if (round == 0) {
            cr_assert_eq(evener_manual_resolver_set(manual, A, NULL, &status), EVENER_STATUS_OK);
        }
        evener_channel_connect(channel);
        evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
        do { /* round 0: until the list is there; round 1: until the saved one is */
            evener_channel_stats_clear(&stats);
            cr_assert_eq(evener_channel_get_stats(channel, &stats, &status), EVENER_STATUS_OK);
        } while (stats.subchannel_count == 0);
        cr_expect_eq(stats.cached_list_age_ms != 0, round == 1);
        evener_channel_stats_clear(&stats);
        evener_channel_unref(channel); /* waits for the write */
        evener_saved_list list = read_file();
        cr_expect_eq(list.count, 1);
        evener_saved_list_clear(&list);
        evener_credentials_destroy(insecure);
        evener_manual_resolver_destroy(manual);
        evener_runtime_unref(runtime);
    }
}
