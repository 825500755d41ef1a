/* The snapshot of a channel: what it counts, and the sizes that a caller of any version gives. */
#include <criterion/criterion.h>

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <evener/stats.h>

#include "lb/channel/channel_internal.h"
#include "tests/support/channel_fixture.h"

#define A "127.0.0.1:1"
#define B "127.0.0.1:2"

static evener_status_code get(fixture *f, size_t size, size_t stride)
{
    static union {
        evener_channel_stats stats;
        char room[65536 + 8];
    } u;
    memset(&u, 0x5a, sizeof u);
    u.stats.size = size;
    u.stats.subchannel_bytes = stride;
    evener_status status;
    const evener_status_code code = evener_channel_get_stats(f->channel, &u.stats, &status);
    for (size_t i = size < sizeof u.stats ? sizeof u.stats : size; i < sizeof u; i++) {
        cr_assert_eq(u.room[i], 0x5a, "byte %zu is not of the struct", i);
    }
    if (code == EVENER_STATUS_OK) {
        cr_assert_eq(u.stats.size, size);
        cr_assert_eq(u.stats.subchannel_bytes, stride);
        cr_assert_eq(u.stats.subchannel_count, 2);
        for (size_t i = sizeof u.stats; i < size; i++) {
            cr_assert_eq(u.room[i], 0, "byte %zu is not known", i);
        }
        const char *second = (const char *)u.stats.subchannels + stride;
        cr_assert_str_eq(((const evener_subchannel_stats *)(const void *)second)->address, B);
        evener_channel_stats_clear(&u.stats);
        cr_assert_null(u.stats.subchannels);
        cr_assert_eq(u.stats.subchannel_count, 0);
        cr_assert_eq(u.stats.size, size);
        cr_assert_eq(u.stats.subchannel_bytes, stride);
    }
    return code;
}

Test(stats, sizes_of_any_version_are_taken)
{
    const size_t all = sizeof(evener_channel_stats), one = sizeof(evener_subchannel_stats);
    const size_t least = offsetof(evener_channel_stats, subchannels) + sizeof(evener_subchannel_stats *);
    const size_t least_one = offsetof(evener_subchannel_stats, last_error) + EVENER_STATUS_MESSAGE_BYTES;
    const size_t good[][2] = {{all, one},   {least, one}, {all, least_one},
                              {65536, one}, {all, 65536}, {all + 8, one + 8}};
    const size_t bad[][2] = {{0, one},         {least - 8, one}, {all, least_one - 8}, {65536 + 8, one},
                             {all, 65536 + 8}, {all + 4, one},   {all, one + 4},       {all, 0}};
    fixture *f = fixture_create(NULL);
    fixture_connect(f);
    fixture_push(f, A "," B);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_expect_eq(get(f, good[i][0], good[i][1]), EVENER_STATUS_OK, "%zu, %zu", good[i][0], good[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(get(f, bad[i][0], bad[i][1]), EVENER_STATUS_INVALID_ARGUMENT, "%zu, %zu", bad[i][0], bad[i][1]);
    }
    evener_channel_stats_clear(NULL);
    evener_channel_stats none = {.size = 0, .subchannel_bytes = 8};
    evener_channel_stats_clear(&none);
    cr_expect_eq(none.subchannel_bytes, 8, "a struct without a size is not touched");
    fixture_destroy(f);
}

Test(stats, a_backend_is_described)
{
    fixture *f = fixture_create(&(evener_channel_options){.policy = "round_robin", .backoff_initial_ms = 10000});
    fake_transport_set(f->transport, A, FAKE_ACCEPT, 0);
    fake_transport_set(f->transport, B, FAKE_SILENT, 0);
    fixture_push(f, A "," B);
    fixture_connect(f);
    virtual_loop_advance_ms(f->loop, 700);
    cr_expect_eq(fixture_stats(f, A).state, EVENER_READY);
    cr_expect_eq(fixture_stats(f, A).state_age_ms, 700);
    cr_expect_eq(fixture_stats(f, A).backoff_remaining_ms, 0);
    cr_expect_str_eq(fixture_stats(f, A).last_error, "");
    cr_expect_eq(fixture_stats(f, B).state, EVENER_CONNECTING);
    cr_expect_eq(fixture_stats(f, B).connects, 0);
    cr_assert(fake_transport_fail(f->transport, B, "no route"));
    virtual_loop_run_until_idle(f->loop);
    const uint64_t remaining_ms = fixture_stats(f, B).backoff_remaining_ms;
    cr_expect(remaining_ms > 7000 && remaining_ms <= 12000 - 700, "%lu", (unsigned long)remaining_ms);
    virtual_loop_advance_ms(f->loop, 300);
    cr_expect_eq(fixture_stats(f, B).backoff_remaining_ms, remaining_ms - 300);
    cr_expect_eq(fixture_stats(f, B).state_age_ms, 300);
    cr_expect_eq(fixture_stats(f, B).connect_failures, 1);
    cr_expect_not_null(strstr(fixture_stats(f, B).last_error, "no route"));

    fixture_call(f, EVENER_STATUS_OK);
    fixture_call(f, EVENER_STATUS_UNAVAILABLE);
    evener_pick pick;
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    evener_subchannel_stats a = fixture_stats(f, A);
    cr_expect_eq(a.picks, 3);
    cr_expect_eq(a.failed, 1);
    cr_expect_eq(a.in_flight, 1);
    cr_expect_eq(a.connects, 1);
    cr_expect_eq(a.connect_failures, 0);
    cr_expect_eq(a.retries + a.hedges + a.transparent_retries, 0);
    evener_pick_done(&pick, NULL);
    cr_expect_eq(fixture_stats(f, A).in_flight, 0);
    cr_expect_eq(fixture_stats(f, B).picks, 0);
    fixture_destroy(f);
}

Test(stats, a_channel_is_described)
{
    fixture *f = fixture_create(&(evener_channel_options){.policy = "round_robin"});
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    cr_assert_eq(evener_channel_get_stats(f->channel, &stats, NULL), EVENER_STATUS_OK);
    cr_expect_eq(stats.state, EVENER_IDLE);
    cr_expect_str_eq(stats.policy, "");
    cr_expect_str_eq(stats.list_source, "");
    cr_expect_str_eq(stats.last_resolver_error, "");
    cr_expect_eq(stats.subchannel_count, 0);
    cr_expect_not_null(stats.subchannels, "also of no backend");
    evener_channel_stats_clear(&stats);

    fixture_push(f, A "," B);
    fixture_connect(f);
    evener_status error;
    evener_status_set(&error, EVENER_STATUS_UNAVAILABLE, "discovery is down");
    evener_manual_resolver_error(f->resolver, &error);
    virtual_loop_run_until_idle(f->loop);
    fixture_push(f, B "," A);
    cr_assert_eq(evener_channel_get_stats(f->channel, &stats, NULL), EVENER_STATUS_OK);
    cr_expect_eq(stats.state, EVENER_READY);
    cr_expect_str_eq(stats.policy, "round_robin");
    cr_expect_eq(stats.resolver_updates, 2);
    cr_expect_eq(stats.resolver_errors, 1);
    cr_expect_not_null(strstr(stats.last_resolver_error, "discovery is down"));
    cr_assert_eq(stats.subchannel_count, 2);
    cr_expect_str_eq(stats.subchannels[0].address, B, "in the order of the list");
    cr_expect_str_eq(stats.subchannels[1].address, A);
    cr_expect_eq(stats.queued_picks, 0);
    cr_expect_eq(stats.cached_list_age_ms, 0);
    evener_channel_stats_clear(&stats);
    fixture_destroy(f);
}

/* ---- methods ---- */

#define STRIDES 3

Test(stats, methods_are_described_as_far_as_there_is_room)
{
    fixture *f = fixture_create(&(evener_channel_options){
        .default_service_config = "{\"methodConfig\": [{\"name\": [{\"service\": \"a\"}, {\"service\": \"b\"}, {}], "
                                  "\"hedgingPolicy\": {\"maxAttempts\": 2}}]}"});
    const evener_method_table *table = &f->channel->control.methods;
    cr_assert_eq(table->count, 3);
    for (size_t i = 0; i < 3; i++) {
        evener_method_state *state = table->states[i];
        state->calls = 100 * i + 1;
        state->attempts = 100 * i + 2;
        state->retries = 100 * i + 3;
        state->hedges = 100 * i + 4;
        state->transparent_retries = 100 * i + 5;
        state->throttled = 100 * i + 6;
        state->breaker.rejections = 100 * i + 7;
        state->quantile_ns = 100 * i + 8;
        state->losers = 100 * i + 9;
    }
    /* of this version, of an older one without the last counter, and of a newer one */
    const size_t strides[STRIDES] = {sizeof(evener_method_stats), sizeof(evener_method_stats) - sizeof(uint64_t),
                                     sizeof(evener_method_stats) + 16};
    for (size_t s = 0; s < STRIDES; s++) {
        const size_t stride = strides[s];
        for (size_t room = 0; room <= 4; room++) {
            static union {
                evener_method_stats first;
                char bytes[5 * (sizeof(evener_method_stats) + 16)];
            } u;
            memset(&u, 0x5a, sizeof u);
            cr_assert_eq(evener_channel_get_method_stats(f->channel, &u.first, stride, room), 3);
            const size_t written = room < 3 ? room : 3;
            for (size_t i = 0; i < written; i++) {
                evener_method_stats one = {.attempts_cancelled = 100 * i + 9};
                memcpy(&one, u.bytes + i * stride, stride < sizeof one ? stride : sizeof one);
                cr_expect_str_eq(one.method, table->states[i]->path);
                const uint64_t counters[] = {one.calls,
                                             one.attempts,
                                             one.retries,
                                             one.hedges,
                                             one.transparent_retries,
                                             one.throttled,
                                             one.breaker_rejections,
                                             one.quantile_ns,
                                             one.attempts_cancelled};
                for (size_t c = 0; c < sizeof counters / sizeof *counters; c++) {
                    cr_expect_eq(counters[c], 100 * i + c + 1, "counter %zu of %zu", c, i);
                }
                for (size_t b = sizeof one; b < stride; b++) {
                    cr_expect_eq(u.bytes[i * stride + b], 0, "byte %zu is not known", b);
                }
            }
            for (size_t b = written * stride; b < sizeof u; b++) {
                cr_assert_eq(u.bytes[b], 0x5a, "byte %zu behind %zu", b, written);
            }
        }
    }
    fixture_destroy(f);
}
