/* Blocking unary calls over the whole library, to real servers in this process. */
#include <criterion/criterion.h>

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "grpc/call_fixture.h"
#include "grpc/transport_fixture.h"
#include "support/transport_choice.h"

Test(unary, echo)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    const evener_bytes request = bytes_of("hello");
    evener_bytes response;
    evener_status status;
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, &request, NULL, &response, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_expect(bytes_equal(&response, "hello"));
    evener_bytes_clear(&response);
    call_fixture_close(&f);
}

Test(unary, owned_request_is_sent_any_number_of_times)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_bytes request;
    memcpy(evener_bytes_create(5, &request), "again", 5);
    for (int i = 0; i < 10; i++) {
        evener_bytes response;
        cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, &request, NULL, &response, NULL), EVENER_STATUS_OK);
        cr_expect(bytes_equal(&response, "again"));
        evener_bytes_clear(&response);
    }
    evener_bytes_clear(&request);
    cr_expect_null(request.owner);
    evener_bytes_clear(&request);
    evener_bytes_clear(NULL);
    call_fixture_close(&f);
}

Test(unary, empty_and_large_messages)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_bytes response;
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, NULL, &response, NULL), EVENER_STATUS_OK);
    cr_expect_eq(response.length, 0);
    cr_expect_not_null(response.data);
    evener_bytes_clear(&response);
    evener_bytes request;
    enum { LARGE = 3 * 1024 * 1024 };
    uint8_t *to = evener_bytes_create(LARGE, &request);
    for (size_t i = 0; i < LARGE; i++) {
        to[i] = (uint8_t)(i * 2654435761u >> 24);
    }
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, &request, NULL, &response, NULL), EVENER_STATUS_OK);
    cr_expect(response.length == LARGE && memcmp(response.data, request.data, LARGE) == 0);
    evener_bytes_clear(&response);
    evener_bytes_clear(&request);
    call_fixture_close(&f);
}

Test(unary, round_robin_over_two_backends)
{
    call_fixture f;
    call_fixture_open(&f, 2, NULL);
    cr_assert_eq(evener_channel_wait_ready(f.channel, 10000, NULL), EVENER_STATUS_OK);
    while (demo_server_calls(f.servers[0]) == 0 || demo_server_calls(f.servers[1]) == 0) {
        cr_assert_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, NULL, NULL, NULL), EVENER_STATUS_OK);
    }
    uint64_t first = demo_server_calls(f.servers[0]);
    uint64_t second = demo_server_calls(f.servers[1]);
    for (int i = 0; i < 20; i++) {
        cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, NULL, NULL, NULL), EVENER_STATUS_OK);
    }
    cr_expect_eq(demo_server_calls(f.servers[0]) - first, 10);
    cr_expect_eq(demo_server_calls(f.servers[1]) - second, 10);
    call_fixture_close(&f);
}

Test(unary, the_servers_status_comes_through)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    demo_server_set_failure(f.servers[0], GRPC_STATUS_NOT_FOUND, "no such order");
    evener_bytes response = {0};
    evener_status status;
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, NULL, &response, &status), EVENER_STATUS_NOT_FOUND);
    cr_expect_eq(status.code, EVENER_STATUS_NOT_FOUND);
    cr_expect_str_eq(status.message, "no such order");
    cr_expect_null(response.data);
    cr_expect_eq(demo_server_calls(f.servers[0]), 1);
    call_fixture_close(&f);
}

/* A call that a server has answered UNAVAILABLE is not picked again: only its own retry policy might. */
Test(unary, unavailable_of_the_server_is_not_picked_again)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    demo_server_set_failure(f.servers[0], GRPC_STATUS_UNAVAILABLE, "overloaded");
    evener_status status;
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, NULL, NULL, &status), EVENER_STATUS_UNAVAILABLE);
    cr_expect_str_eq(status.message, "overloaded");
    cr_expect_eq(demo_server_calls(f.servers[0]), 1);
    call_fixture_close(&f);
}

Test(unary, metadata_both_ways)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    const char binary[] = {0, 1, (char)0xff, 10};
    const evener_metadata metadata[] = {{"echo-name", "evener", 6}, {"echo-raw-bin", binary, sizeof binary}};
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {
        .size = sizeof options, .metadata = metadata, .metadata_count = 2, .details = &details};
    cr_assert_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, &options, NULL, NULL), EVENER_STATUS_OK);
    const evener_metadata *name =
        evener_metadata_find(details.initial_metadata, details.initial_metadata_count, "echo-name");
    cr_assert_not_null(name);
    cr_expect_str_eq(name->value, "evener");
    const evener_metadata *raw =
        evener_metadata_find(details.trailing_metadata, details.trailing_metadata_count, "echo-raw-bin");
    cr_assert_not_null(raw);
    cr_expect(raw->value_bytes == sizeof binary && memcmp(raw->value, binary, sizeof binary) == 0);
    cr_expect_null(evener_metadata_find(details.trailing_metadata, details.trailing_metadata_count, "grpc-status"));
    char peer[64];
    snprintf(peer, sizeof peer, "ipv4:127.0.0.1:%u", (unsigned)demo_server_port(f.servers[0]));
    cr_expect_str_eq(details.peer, peer);
    cr_expect_eq(details.attempts, 1);
    evener_call_details_clear(&details);
    evener_call_details_clear(NULL);
    call_fixture_close(&f);
}

Test(unary, many_metadata_and_authority)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    char keys[20][16];
    evener_metadata metadata[20];
    for (int i = 0; i < 20; i++) {
        snprintf(keys[i], sizeof keys[i], "echo-%d", i);
        metadata[i] = (evener_metadata){keys[i], "v", 1};
    }
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {.size = sizeof options,
                                         .metadata = metadata,
                                         .metadata_count = 20,
                                         .authority = "orders.test",
                                         .details = &details};
    cr_assert_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, &options, NULL, NULL), EVENER_STATUS_OK);
    cr_expect_not_null(evener_metadata_find(details.trailing_metadata, details.trailing_metadata_count, "echo-19"));
    const evener_metadata *host =
        evener_metadata_find(details.initial_metadata, details.initial_metadata_count, "host-seen");
    cr_assert_not_null(host);
    cr_expect_str_eq(host->value, "orders.test");
    evener_call_details_clear(&details);
    call_fixture_close(&f);
}

Test(unary, bad_metadata_are_named)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_status status;
    const evener_metadata upper[] = {{"Bad Key", "x", 1}};
    evener_call_options options = {.size = sizeof options, .metadata = upper, .metadata_count = 1};
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, &options, NULL, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(strstr(status.message, "\"Bad Key\"") != NULL, "%s", status.message);
    const evener_metadata raw[] = {{"name", "\x01\x02", 2}};
    options.metadata = raw;
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, &options, NULL, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(strstr(status.message, "\"name\"") != NULL && strstr(status.message, "\"-bin\"") != NULL, "%s",
              status.message);
    static const char *const methods[] = {"/a.B/c d", "/a.B/c\r\nx: y", "/a.B/\303\244", "a.B/c", ""};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        cr_expect_eq(evener_unary_call(f.channel, methods[i], NULL, NULL, NULL, &status),
                     EVENER_STATUS_INVALID_ARGUMENT, "%s", methods[i]);
        cr_expect_not_null(strstr(status.message, "\"/package.Service/Method\""));
    }
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, NULL, NULL, &status), EVENER_STATUS_OK);
    call_fixture_close(&f);
}

static uint64_t failed_at(evener_channel *channel, size_t index)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof(evener_subchannel_stats)};
    cr_assert_eq(evener_channel_get_stats(channel, &stats, NULL), EVENER_STATUS_OK);
    const uint64_t failed = stats.subchannels[index].failed;
    evener_channel_stats_clear(&stats);
    return failed;
}

Test(unary, deadline)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    demo_server_set_delay_ms(f.servers[0], DEMO_SERVER_NEVER_MS);
    /* The backend is named, and charged (grpc-java 10749). */
    cr_assert_eq(evener_channel_wait_ready(f.channel, 20000, NULL), EVENER_STATUS_OK);
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 1000, .details = &details};
    evener_status status;
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, &options, NULL, &status),
                 EVENER_STATUS_DEADLINE_EXCEEDED);
    char expected[96];
    snprintf(expected, sizeof expected, "deadline exceeded after 1.000 s at %s",
             address_of_port(demo_server_port(f.servers[0])));
    cr_expect_str_eq(status.message, expected);
    snprintf(expected, sizeof expected, "ipv4:%s", address_of_port(demo_server_port(f.servers[0])));
    cr_expect_str_eq(details.peer, expected);
    cr_expect_eq(failed_at(f.channel, 0), 1);
    evener_call_details_clear(&details);
    call_fixture_close(&f);
}

/* Return whether a message says so: the core in the words of the locale, evener in English. */
static bool says_refused(const char *message)
{
    return strstr(message, strerror(ECONNREFUSED)) != NULL || strstr(message, "Connection refused") != NULL;
}

Test(unary, no_backend_fails_with_the_connections_error)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    char target[64];
    snprintf(target, sizeof target, "ipv4:%s", address_of_port(free_port()));
    evener_channel *channel = call_fixture_channel(&f, target);
    evener_status status;
    cr_expect_eq(evener_unary_call(channel, ECHO_UNARY, NULL, NULL, NULL, &status), EVENER_STATUS_UNAVAILABLE);
    cr_expect(says_refused(status.message), "%s", status.message);
    /* grpc: doc/wait-for-ready.md */
    const evener_call_options waits = {
        .size = sizeof waits, .timeout_ms = 100, .wait_for_ready = EVENER_WAIT_FOR_READY_YES};
    cr_expect_eq(evener_unary_call(channel, ECHO_UNARY, NULL, &waits, NULL, &status), EVENER_STATUS_DEADLINE_EXCEEDED);
    cr_expect(says_refused(status.message), "%s", status.message);
    evener_channel_unref(channel);
    call_fixture_close(&f);
}

Test(unary, closed_channel)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_channel_close(f.channel);
    evener_status status;
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, NULL, NULL, &status), EVENER_STATUS_UNAVAILABLE);
    cr_expect_str_eq(status.message, "channel closed");
    call_fixture_close(&f);
}

Test(unary, wrong_arguments_are_named)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_status status;
    cr_expect_eq(evener_unary_call(NULL, ECHO_UNARY, NULL, NULL, NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(evener_unary_call(f.channel, NULL, NULL, NULL, NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(evener_unary_call(f.channel, "Echo", NULL, NULL, NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect(strstr(status.message, "/package.Service/Method") != NULL, "%s", status.message);
    const evener_call_options no_size = {.timeout_ms = 5};
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, &no_size, NULL, &status),
                 EVENER_STATUS_INVALID_ARGUMENT);
    call_fixture_close(&f);
}

/* A58: the report is for the policy; the application still sees the trailer, under the name that the core lets pass. */
Test(unary, load_report_is_a_trailer)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    demo_server_set_load_report(f.servers[0], "\x09\x00", 2);
    evener_call_details details = {.size = sizeof details};
    const evener_call_options options = {.size = sizeof options, .details = &details};
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, &options, NULL, NULL), EVENER_STATUS_OK);
    const evener_metadata *report =
        evener_metadata_find(details.trailing_metadata, details.trailing_metadata_count, "x-endpoint-load-metrics-bin");
    cr_assert_not_null(report);
    cr_expect_eq(report->value_bytes, 2);
    evener_call_details_clear(&details);
    call_fixture_close(&f);
}

static uint64_t connects_to(evener_channel *channel, size_t backend)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof(evener_subchannel_stats)};
    cr_assert_eq(evener_channel_get_stats(channel, &stats, NULL), EVENER_STATUS_OK);
    const uint64_t connects = stats.subchannels[backend].connects;
    evener_channel_stats_clear(&stats);
    return connects;
}

/* A GOAWAY (here of max_connection_age) costs no call on evener's own HTTP/2, which knows which calls it excludes. The
 * core cancels a call that it was about to begin on such a connection, and reports that ("GOAWAY received", "Transport
 * closed") as a status of the server: the call may have been processed, and is not sent again. So of the one call in
 * flight here at most one is lost per connection that ends, and the servers execute only those that are reported as OK,
 * each once. Connections that live shorter than 100 ms count as those of a server that drops them all. */
Test(unary, goaway_loses_no_call_that_a_transport_can_save)
{
    call_fixture f;
    const demo_server_options options = {.max_connection_age_ms = 150};
    call_fixture_open(&f, 2, &options);
    uint64_t ok = 0, lost = 0, connects[2] = {0};
    for (int i = 0; i < 2000 || connects[0] < 6 || connects[1] < 6; i++) {
        evener_status status;
        if (evener_unary_call(f.channel, ECHO_UNARY, NULL, NULL, NULL, &status) == EVENER_STATUS_OK) {
            ok++;
        } else {
            cr_assert(on_core(), "%d: %s", i, status.message);
            cr_assert_eq(status.code, EVENER_STATUS_UNAVAILABLE, "%d: %s", i, status.message);
            lost++;
        }
        connects[0] = connects_to(f.channel, 0);
        connects[1] = connects_to(f.channel, 1);
    }
    cr_expect_leq(lost, connects[0] + connects[1]);
    cr_expect_eq(demo_server_calls(f.servers[0]) + demo_server_calls(f.servers[1]), ok);
    call_fixture_close(&f);
}

Test(unary, no_thread_is_left)
{
    call_fixture f;
    call_fixture_open(&f, 2, NULL);
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, NULL, NULL, NULL), EVENER_STATUS_OK);
    call_fixture_close(&f);
    cr_expect_eq(named_threads_left(), 0);
}

/* grpc: doc/service_config.md: methodConfig sets what a call does not. */
Test(unary, the_service_config_sets_timeout_and_wait_for_ready_of_a_method)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    const char *config = "{\"loadBalancingPolicy\":\"round_robin\",\"methodConfig\":[{\"name\":[{\"service\":"
                         "\"evener.demo.Echo\"}],\"timeout\":\"0.05s\",\"waitForReady\":true}]}";
    evener_status status;
    cr_assert_eq(evener_channel_set_default_service_config(f.channel, config, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    demo_server_set_delay_ms(f.servers[0], DEMO_SERVER_NEVER_MS);
    /* The change is seen shortly after; before it, the call's own deadline ends the wait. */
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 200};
    evener_call_details details = {.size = sizeof details};
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, &options, NULL, &status),
                     EVENER_STATUS_DEADLINE_EXCEEDED);
    }
    const evener_call_options endless = {.size = sizeof endless, .details = &details};
    cr_expect_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, &endless, NULL, &status),
                 EVENER_STATUS_DEADLINE_EXCEEDED, "the method's timeout ends a call that has none");
    evener_call_details_clear(&details);
    call_fixture_close(&f);
}

static void count_candidate(void *arg, const char *address, double load, const char *note)
{
    (void)load;
    (void)note;
    cr_expect_eq(strncmp(address, "127.0.0.1:", 10), 0);
    ++*(int *)arg;
}

Test(unary, a_traced_call_reports_what_was_weighed)
{
    call_fixture f;
    call_fixture_open(&f, 3, NULL);
    evener_status status;
    cr_assert_eq(
        evener_channel_set_default_service_config(f.channel, "{\"loadBalancingConfig\":[{\"p2c_ewma\":{}}]}", &status),
        EVENER_STATUS_OK, "%s", status.message);
    int candidates = 0;
    const evener_pick_trace trace = {.size = sizeof trace, .arg = &candidates, .candidate = count_candidate};
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 10000, .trace = &trace};
    for (int i = 0; i < 2000 && candidates == 0; i++) { /* until the policy is in force */
        cr_assert_eq(evener_unary_call(f.channel, ECHO_UNARY, NULL, &options, NULL, &status), EVENER_STATUS_OK);
    }
    cr_expect_geq(candidates, 2);
    call_fixture_close(&f);
}

/* ---- a server that answers as if the call were a stream ---- */

typedef struct ended_call {
    sem_t ended;
    evener_status status;
} ended_call;

static void call_ended(void *arg, const evener_status *status, evener_bytes *response)
{
    ended_call *e = arg;
    (void)response;
    e->status = *status;
    sem_post(&e->ended);
}

/* FetchData answers one request with three messages. Over the core the call ends after a second: see calls.c. */
Test(unary, several_answers_end_the_call_without_a_deadline_too)
{
    static const char method[] = "/grpcdemo.GrpcDemo/FetchData";
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    evener_status status;
    evener_bytes response;
    cr_expect_eq(evener_unary_call(f.channel, method, NULL, NULL, &response, &status), EVENER_STATUS_INTERNAL, "%s",
                 status.message);
    cr_expect_not_null(strstr(status.message, "second message"), "%s", status.message);
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 60000};
    cr_expect_eq(evener_unary_call(f.channel, method, NULL, &options, &response, &status), EVENER_STATUS_INTERNAL, "%s",
                 status.message);
    ended_call e;
    sem_init(&e.ended, 0, 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(
            evener_call_start(f.channel, method, NULL, i == 0 ? NULL : &options, call_ended, &e, NULL, &status),
            EVENER_STATUS_OK);
        while (sem_wait(&e.ended) != 0) {
        }
        cr_expect_eq(e.status.code, EVENER_STATUS_INTERNAL, "%s", e.status.message);
        cr_expect_not_null(strstr(e.status.message, "second message"), "%s", e.status.message);
    }
    sem_destroy(&e.ended);
    call_fixture_close(&f);
    cr_expect_eq(named_threads_left(), 0);
}

/* A call that takes long, and has one answer, is not disturbed. */
Test(unary, a_call_that_takes_long_has_its_answer)
{
    call_fixture f;
    call_fixture_open(&f, 1, NULL);
    demo_server_set_delay_ms(f.servers[0], 2500);
    const evener_bytes request = bytes_of("hello");
    evener_bytes response;
    evener_status status;
    cr_assert_eq(evener_unary_call(f.channel, ECHO_UNARY, &request, NULL, &response, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    cr_expect(bytes_equal(&response, "hello"));
    evener_bytes_clear(&response);
    ended_call e;
    sem_init(&e.ended, 0, 0);
    cr_assert_eq(evener_call_start(f.channel, ECHO_UNARY, &request, NULL, call_ended, &e, NULL, &status),
                 EVENER_STATUS_OK);
    while (sem_wait(&e.ended) != 0) {
    }
    cr_expect_eq(e.status.code, EVENER_STATUS_OK, "%s", e.status.message);
    sem_destroy(&e.ended);
    call_fixture_close(&f);
    cr_expect_eq(named_threads_left(), 0, "a look at it that came to nothing keeps no reference");
}
