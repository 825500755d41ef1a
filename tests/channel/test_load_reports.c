/* The watch of out-of-band load reports (A51) on the virtual loop: intervals, backoff, connections that move. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#include "tests/support/channel_fixture.h"

#define A "10.0.0.1:1"

typedef struct scene {
    fixture *f;
    evener_pick pick;
    fake_call_kind kind; /* of streams */
    unsigned streams;
    char method[64];
    bool background;
    unsigned reports;
    uint8_t report[32];
    size_t report_bytes;
} scene;

static fake_call_outcome scripted(void *arg, const char *address, const evener_call_begin_args *args)
{
    scene *s = arg;
    (void)address;
    s->streams++;
    strncpy(s->method, args->method, sizeof s->method - 1);
    s->background = args->background;
    return (fake_call_outcome){.kind = s->kind};
}

static scene *scene_create(fake_call_kind kind)
{
    scene *s = calloc(1, sizeof *s);
    s->kind = kind;
    s->f = fixture_create_calling(
        &(evener_channel_options){.size = sizeof(evener_channel_options), .policy = "round_robin"}, scripted, s);
    fixture_push(s->f, A);
    fixture_connect(s->f);
    cr_assert_eq(evener_channel_try_pick(s->f->channel, NULL, &s->pick, NULL), EVENER_PICK_COMPLETE);
    return s;
}

static void scene_destroy(scene *s)
{
    evener_pick_done(&s->pick, NULL);
    fixture_destroy(s->f);
    free(s);
}

static void load_reported(void *arg, evener_subchannel *subchannel, const void *report, size_t report_bytes)
{
    scene *s = arg;
    cr_assert_eq(subchannel, s->pick.subchannel);
    cr_assert(report_bytes <= sizeof s->report);
    memcpy(s->report, report, report_bytes);
    s->report_bytes = report_bytes;
    s->reports++;
}

static void watch(scene *s, uint64_t interval_ms)
{
    evener_status status;
    cr_assert_eq(evener_subchannel_watch_load(s->pick.subchannel, interval_ms, load_reported, s, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    cr_expect_eq(s->reports, 0, "never from inside");
    virtual_loop_run_until_idle(s->f->loop);
}

/* The fake server sends the request back, which is a well-formed message. */
Test(load_reports, the_interval_is_asked_for_and_reports_are_passed_on)
{
    scene *s = scene_create(FAKE_CALL_ANSWER);
    watch(s, 2500);
    cr_expect_str_eq(s->method, "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics");
    cr_expect(s->background);
    cr_expect_eq(s->reports, 1);
    /* {report_interval: {seconds: 2, nanos: 500000000}} */
    static const uint8_t wanted[] = {0x0A, 8, 0x08, 2, 0x10, 0x80, 0xCA, 0xB5, 0xEE, 0x01};
    cr_expect_eq(s->report_bytes, sizeof wanted);
    cr_expect_arr_eq(s->report, wanted, sizeof wanted);
    scene_destroy(s);
}

/* A51: backoff, reset by any message */
Test(load_reports, a_stream_that_ends_is_opened_again_after_a_backoff)
{
    scene *s = scene_create(FAKE_CALL_ANSWER);
    watch(s, 1000);
    for (unsigned streams = 1; streams <= 5; streams++) { /* each sends a report, so the delay stays 1 s +- 20 % */
        unsigned waited_ms = 0;
        for (; s->streams == streams && waited_ms < 10000; waited_ms += 10) {
            virtual_loop_advance_ms(s->f->loop, 10);
        }
        cr_expect(waited_ms >= 800 && waited_ms <= 1210, "%u ms", waited_ms);
        cr_expect_eq(s->reports, streams + 1);
    }
    s->kind = FAKE_CALL_LOST; /* no report: the delay grows */
    virtual_loop_advance_ms(s->f->loop, 1300);
    const unsigned before = s->streams;
    virtual_loop_advance_ms(s->f->loop, 100000);
    cr_expect(s->streams > before && s->streams < before + 10, "%u streams", s->streams - before);
    scene_destroy(s);
}

Test(load_reports, the_watch_survives_its_connection)
{
    scene *s = scene_create(FAKE_CALL_SILENT);
    watch(s, 1000);
    cr_expect_eq(fake_transport_calls_under_way(s->f->transport), 1);
    fake_transport_drop(s->f->transport, A);
    virtual_loop_run_until_idle(s->f->loop);
    cr_expect_eq(s->streams, 2);
    cr_expect_eq(fake_transport_calls_under_way(s->f->transport), 1);
    scene_destroy(s);
}

Test(load_reports, another_interval_replaces_the_stream_and_0_ends_it)
{
    scene *s = scene_create(FAKE_CALL_SILENT);
    watch(s, 1000);
    watch(s, 1000);
    cr_expect_eq(s->streams, 1);
    watch(s, 500);
    cr_expect_eq(s->streams, 2);
    cr_expect_eq(fake_transport_calls_under_way(s->f->transport), 1);
    watch(s, 0);
    cr_expect_eq(fake_transport_calls_under_way(s->f->transport), 0);
    virtual_loop_advance_ms(s->f->loop, 100000);
    cr_expect_eq(s->streams, 2);
    scene_destroy(s);
}

Test(load_reports, a_transport_without_calls_has_none)
{
    fixture *f = fixture_create(NULL);
    fixture_push(f, A);
    fixture_connect(f);
    evener_pick pick;
    evener_status status;
    cr_assert_eq(evener_channel_try_pick(f->channel, NULL, &pick, NULL), EVENER_PICK_COMPLETE);
    cr_expect_eq(evener_subchannel_watch_load(pick.subchannel, 1000, load_reported, NULL, &status),
                 EVENER_STATUS_UNIMPLEMENTED);
    evener_pick_done(&pick, NULL);
    fixture_destroy(f);
}
