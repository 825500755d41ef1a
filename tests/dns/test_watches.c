/* Watches of a lookup (resolver/dns/lookup.h): who is notified of what, when refreshes happen, and the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "resolver/dns/lookup.h"
#include "tests/support/fake_dns_client.h"
#include "tests/support/resolver_fixture.h"

typedef struct watcher {
    evener_dns_watch watch;
    size_t answers, errors;
    char first[64];        /* the first record of the last answer */
    struct watcher *stops; /* is stopped by this one's next callback */
} watcher;

static fake_dns_client dns;
static resolver_fixture *f;
static evener_dns_options options;

static void set_up(void)
{
    fake_dns_client_init(&dns);
    f = resolver_fixture_create();
    evener_target *target;
    const evener_resolver_builder *builder;
    cr_assert_eq(evener_resolver_lookup(&dns.set, "dns:///x", &target, &builder, NULL), EVENER_STATUS_OK);
    const evener_resolver_args args = {.size = sizeof args, .target = target};
    cr_assert_eq(evener_dns_options_read(&args, &options, NULL), EVENER_STATUS_OK);
    evener_target_destroy(target);
}

static void tear_down(void)
{
    resolver_fixture_destroy(f);
    cr_assert_eq(dns.in_flight, 0, "a query outlived its watch");
}

TestSuite(dns_watches, .init = set_up, .fini = tear_down);

static void stop_the_other(watcher *w)
{
    if (w->stops != NULL) {
        evener_dns_watch_stop(&w->stops->watch);
        w->stops = NULL;
    }
}

static bool on_answer(evener_dns_watch *watch, const evener_dns_result *result)
{
    watcher *w = (watcher *)watch;
    w->answers++;
    snprintf(w->first, sizeof w->first, "%s", result->count > 0 ? result->records[0]->text : "");
    stop_the_other(w);
    return true;
}

static void on_error(evener_dns_watch *watch, const evener_status *status)
{
    (void)status;
    watcher *w = (watcher *)watch;
    w->errors++;
    stop_the_other(w);
}

static void start(watcher *w, const char *name)
{
    *w = (watcher){.watch = {.answer = on_answer, .error = on_error}};
    cr_assert_eq(evener_dns_watch_start(&w->watch, f->runtime, &dns.base, EVENER_DNS_HOST, name, &options, &f->status),
                 EVENER_STATUS_OK, "%s", f->status.message);
}

Test(dns_watches, one_that_another_stops_while_all_are_notified_hears_nothing)
{
    watcher w[4];
    fake_dns_set(&dns, EVENER_DNS_A, "x", "10.0.0.1", 10);
    for (size_t i = 0; i < 4; i++) {
        start(&w[i], "x");
    }
    w[0].stops = &w[1]; /* the next one */
    w[2].stops = &w[0]; /* one that was notified already */
    virtual_loop_run_until_idle(f->loop);
    cr_expect_eq(w[0].answers, 1);
    cr_expect_eq(w[1].answers, 0, "it was stopped");
    cr_expect_eq(w[2].answers, 1);
    cr_expect_eq(w[3].answers, 1);
    fake_dns_set(&dns, EVENER_DNS_A, "x", "!SERVFAIL", 0);
    fake_dns_set(&dns, EVENER_DNS_AAAA, "x", "!SERVFAIL", 0);
    w[2].stops = &w[3];
    virtual_loop_advance_ms(f->loop, 10000);
    cr_expect_eq(w[0].errors, 0);
    cr_expect_geq(w[2].errors, 1);
    cr_expect_eq(w[3].errors, 0, "it was stopped");
    evener_dns_watch_stop(&w[2].watch);
}

Test(dns_watches, the_last_one_to_stop_ends_the_lookup)
{
    watcher one, two;
    fake_dns_script *script = fake_dns_set(&dns, EVENER_DNS_A, "x", "10.0.0.1", 10);
    start(&one, "x");
    start(&two, "x");
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(script->asked, 1, "they share the lookup");
    evener_dns_watch_stop(&one.watch);
    virtual_loop_advance_ms(f->loop, 11000);
    cr_assert_eq(script->asked, 2, "refreshed for the one that is left");
    evener_dns_watch_stop(&two.watch);
    evener_dns_watch_stop(&two.watch); /* allowed */
    virtual_loop_advance_ms(f->loop, 86400000);
    cr_assert_eq(script->asked, 2, "nobody watches: nothing is asked");
    fake_dns_set(&dns, EVENER_DNS_A, "x", "10.0.0.2", 10);
    start(&one, "x");
    cr_assert_eq(one.answers, 0, "no answer from yesterday");
    virtual_loop_run_until_idle(f->loop);
    cr_assert_str_eq(one.first, "10.0.0.2");
    evener_dns_watch_stop(&one.watch);
}

/* Clients that started together drift apart: refreshes are spread over the last fifth of the TTL. */
Test(dns_watches, refreshes_of_names_with_one_ttl_are_spread)
{
    enum { COUNT = 40 };
    watcher w[COUNT];
    fake_dns_script *scripts[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        char name[8];
        snprintf(name, sizeof name, "x%zu", i);
        scripts[i] = fake_dns_set(&dns, EVENER_DNS_A, name, "10.0.0.1", 100);
        start(&w[i], name);
    }
    size_t refreshed[4];
    static const uint64_t steps_ms[4] = {80000, 3000, 13900, 3101}; /* at 80, 83, 96.9 and 100.001 s */
    for (size_t step = 0; step < 4; step++) {
        virtual_loop_advance_ms(f->loop, steps_ms[step]);
        refreshed[step] = 0;
        for (size_t i = 0; i < COUNT; i++) {
            refreshed[step] += scripts[i]->asked > 1;
        }
    }
    cr_expect_eq(refreshed[0], 0, "not before 80 %% of the TTL");
    cr_expect(refreshed[1] > 0 && refreshed[1] < COUNT / 2, "%zu", refreshed[1]);
    cr_expect(refreshed[2] > COUNT / 2 && refreshed[2] < COUNT, "%zu", refreshed[2]);
    cr_expect_eq(refreshed[3], COUNT, "all when the TTL has passed");
    for (size_t i = 0; i < COUNT; i++) {
        evener_dns_watch_stop(&w[i].watch);
    }
}

static void expect_first(bool v4_reachable, bool v6_reachable, const char *first)
{
    watcher w;
    fake_dns_set(&dns, EVENER_DNS_A, "both", "10.0.0.1", 10)->unreachable = !v4_reachable;
    fake_dns_set(&dns, EVENER_DNS_AAAA, "both", "fd00::1", 10)->unreachable = !v6_reachable;
    start(&w, "both");
    virtual_loop_run_until_idle(f->loop);
    cr_expect_str_eq(w.first, first, "IPv4 %s, IPv6 %s", v4_reachable ? "reachable" : "not",
                     v6_reachable ? "reachable" : "not");
    evener_dns_watch_stop(&w.watch);
}

/* RFC 6724 rule 1 (reachable first), then rule 6 (IPv6 has the higher precedence) */
Test(dns_watches, the_order_of_the_families_by_what_is_reachable)
{
    expect_first(true, true, "fd00::1");
    expect_first(false, true, "fd00::1");
    expect_first(true, false, "10.0.0.1");
    expect_first(false, false, "fd00::1");
}
