/* Load reports of real servers: in the trailers of calls, and out of band (A51); weighted_round_robin follows both. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "grpc/call_fixture.h"
#include "support/transport_choice.h"

#define SERVERS 3
#define WAIT_S 60

/* A report of 100 requests per second at this utilization. */
static void put_report(uint8_t report[18], double utilization)
{
    const double rps = 100;
    report[0] = 6 << 3 | 1;
    memcpy(report + 1, &rps, 8);
    report[9] = 9 << 3 | 1;
    memcpy(report + 10, &utilization, 8);
}

static void stream_report(demo_server *server, double utilization)
{
    uint8_t report[18];
    put_report(report, utilization);
    demo_server_stream_load_report(server, report, sizeof report);
}

static evener_channel *open_channel(const call_fixture *f, const char *config)
{
    char target[256] = "ipv4:";
    for (size_t i = 0; i < f->server_count; i++) {
        const size_t used = strlen(target);
        snprintf(target + used, sizeof target - used, "%s127.0.0.1:%u", i > 0 ? "," : "",
                 (unsigned)demo_server_port(f->servers[i]));
    }
    char service_config[512];
    snprintf(service_config, sizeof service_config, "{\"loadBalancingConfig\":[{\"weighted_round_robin\":%s}]}",
             config);
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = f->runtime,
                                            .credentials = f->insecure,
                                            .backoff_initial_ms = 20,
                                            .default_service_config = service_config};
    evener_channel *channel = NULL;
    evener_status status;
    cr_assert_eq(evener_channel_create(target, &options, &channel, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_channel_wait_ready_backends(channel, (uint32_t)f->server_count, WAIT_S * 1000, &status),
                 EVENER_STATUS_OK, "%s", status.message);
    return channel;
}

static void call(evener_channel *channel)
{
    const evener_bytes request = bytes_of("hello");
    evener_bytes response;
    evener_status status;
    cr_assert_eq(evener_unary_call(channel, ECHO_UNARY, &request, NULL, &response, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    evener_bytes_clear(&response);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void pause_ms(long ms)
{
    const struct timespec pause = {.tv_nsec = ms * 1000000};
    nanosleep(&pause, NULL);
}

/* Wait until the policy goes by the reports: until one round of 28 calls is shared 16, 8 and 4. */
static void wait_for_shares(call_fixture *f, evener_channel *channel)
{
    static const uint64_t wanted[SERVERS] = {16, 8, 4};
    const double give_up_s = now_s() + WAIT_S;
    bool shared = false;
    while (!shared) {
        cr_assert(now_s() < give_up_s, "the weights of the reports do not come into force");
        uint64_t before[SERVERS];
        for (size_t i = 0; i < SERVERS; i++) {
            before[i] = demo_server_calls(f->servers[i]);
        }
        for (int i = 0; i < 28; i++) {
            call(channel);
        }
        shared = true;
        for (size_t i = 0; i < SERVERS; i++) {
            const uint64_t calls = demo_server_calls(f->servers[i]) - before[i];
            shared = shared && calls + 1 >= wanted[i] && calls <= wanted[i] + 1;
        }
        pause_ms(10);
    }
}

/* Make calls, and check the shares 57 / 29 / 14 within 3 %. */
static void assert_shares(call_fixture *f, evener_channel *channel)
{
    static const double wanted[SERVERS] = {4 / 7.0, 2 / 7.0, 1 / 7.0};
    enum { CALLS = 1400 };
    uint64_t before[SERVERS];
    for (size_t i = 0; i < SERVERS; i++) {
        before[i] = demo_server_calls(f->servers[i]);
    }
    for (int i = 0; i < CALLS; i++) {
        call(channel);
    }
    for (size_t i = 0; i < SERVERS; i++) {
        const double share = (double)(demo_server_calls(f->servers[i]) - before[i]) / (double)CALLS;
        cr_expect_float_eq(share, wanted[i], 0.03 * wanted[i], "server %zu: %g", i, share);
    }
}

static const double utilizations[SERVERS] = {0.2, 0.4, 0.8};

/* A58: by trailer. Debian's core hides endpoint-load-metrics-bin; the demo servers send x-endpoint-load-metrics-bin
 * too, which evener reads over both. */
Test(load_reports, shares_follow_the_reports_in_trailers)
{
    call_fixture f;
    call_fixture_open(&f, SERVERS, NULL);
    for (size_t i = 0; i < SERVERS; i++) {
        uint8_t report[18];
        put_report(report, utilizations[i]);
        demo_server_set_load_report(f.servers[i], report, sizeof report);
    }
    evener_channel *channel = open_channel(&f, "{\"blackoutPeriod\":\"0s\",\"weightUpdatePeriod\":\"0.1s\"}");
    wait_for_shares(&f, channel);
    assert_shares(&f, channel);
    evener_channel_unref(channel);
    call_fixture_close(&f);
}

#define OUT_OF_BAND                                                                                                    \
    "{\"blackoutPeriod\":\"0s\",\"weightUpdatePeriod\":\"0.1s\",\"enableOobLoadReport\":true,"                         \
    "\"oobReportingPeriod\":\"1s\"}"

/* A51, A58: out of band; with one stream per backend, which ends with the channel */
Test(load_reports, shares_follow_the_reports_out_of_band)
{
    call_fixture f;
    call_fixture_open(&f, SERVERS, NULL);
    for (size_t i = 0; i < SERVERS; i++) {
        stream_report(f.servers[i], utilizations[SERVERS - 1 - i]);
    }
    evener_channel *channel = open_channel(&f, OUT_OF_BAND);
    for (size_t i = 0; i < SERVERS; i++) { /* a change is followed, over the same stream */
        stream_report(f.servers[i], utilizations[i]);
    }
    wait_for_shares(&f, channel);
    assert_shares(&f, channel);
    for (size_t i = 0; i < SERVERS; i++) {
        cr_expect_eq(demo_server_load_streams(f.servers[i]), 1);
        cr_expect_eq(demo_server_load_streams_open(f.servers[i]), 1);
    }
    evener_channel_unref(channel);
    const double give_up_s = now_s() + WAIT_S;
    for (size_t i = 0; i < SERVERS; i++) {
        while (demo_server_load_streams_open(f.servers[i]) > 0) {
            cr_assert(now_s() < give_up_s, "the stream of server %zu stays open", i);
            pause_ms(5);
        }
    }
    call_fixture_close(&f);
}

/* A51: a server that answers UNIMPLEMENTED is not asked again, over this connection */
Test(load_reports, a_server_without_the_service_is_asked_once)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_channel *channel = open_channel(&f, OUT_OF_BAND);
    const double give_up_s = now_s() + WAIT_S;
    while (demo_server_load_streams(f.servers[0]) == 0) {
        cr_assert(now_s() < give_up_s, "no stream was asked for");
        pause_ms(5);
    }
    for (int i = 0; i < 20; i++) { /* the backoff begins with 20 ms */
        call(channel);
        pause_ms(10);
    }
    cr_expect_eq(demo_server_load_streams(f.servers[0]), 1);
    evener_channel_unref(channel);
    call_fixture_close(&f);
}

/* A channel that closes while its streams begin leaves nothing behind. */
Test(load_reports, channels_close_at_any_moment)
{
    call_fixture f;
    call_fixture_open(&f, SERVERS, NULL);
    for (size_t i = 0; i < SERVERS; i++) {
        stream_report(f.servers[i], utilizations[i]);
    }
    for (int i = 0; i < 30; i++) {
        evener_channel *channel = open_channel(&f, OUT_OF_BAND);
        for (int calls = 0; calls < i % 5; calls++) {
            call(channel);
        }
        evener_channel_unref(channel);
    }
    call_fixture_close(&f);
}
