/* dns: with scripted answers on the virtual loop: targets, refreshes, backoff, number of queries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "resolver/dns/system.h"
#include "tests/support/fake_dns_client.h"
#include "tests/support/resolver_fixture.h"

struct scene {
    fake_dns_client dns;
    resolver_fixture *f;
};

static struct scene *scene_create(void)
{
    struct scene *s = calloc(1, sizeof *s);
    cr_assert_not_null(s);
    fake_dns_client_init(&s->dns);
    s->f = resolver_fixture_create();
    s->f->set = s->dns.set;
    return s;
}

static void scene_destroy(struct scene *s)
{
    resolver_fixture_destroy(s->f);
    cr_assert_eq(s->dns.in_flight, 0, "a query outlived its resolver");
    free(s);
}

static void open_now(struct scene *s, const char *target)
{
    resolver_fixture_open(s->f, target);
    virtual_loop_run_until_idle(s->f->loop);
}

static void fails(const char *target, const char *reason)
{
    struct scene *s = scene_create();
    cr_assert_eq(resolver_fixture_build(s->f, target), EVENER_STATUS_INVALID_ARGUMENT, "%s", target);
    cr_assert_not_null(strstr(s->f->status.message, reason), "\"%s\": %s", target, s->f->status.message);
    scene_destroy(s);
}

static void literal(const char *target, const char *address)
{
    struct scene *s = scene_create();
    open_now(s, target);
    cr_assert_str_eq(s->f->sink.addresses, address);
    cr_assert_eq(s->dns.asked, 0);
    virtual_loop_advance_ms(s->f->loop, 3600 * 1000);
    cr_assert_eq(s->f->sink.update_count, 1);
    scene_destroy(s);
}

/* docs/semantics.md, Targets: a literal address answers once */
Test(dns_target, literal_is_not_asked)
{
    literal("dns:///10.0.0.1:80", "10.0.0.1:80");
    literal("10.0.0.1", "10.0.0.1:443");
    literal("[::1]", "[::1]:443");
    literal("[::1]:80", "[::1]:80");
    literal("dns:///::1", "[::1]:443");
}

Test(dns_target, bad_ones_are_refused)
{
    fails("dns:///host:", "a ':' without a port");
    fails("dns:///", "no host");
    fails("dns://localhost:80",
          "\"localhost:80\" was taken for the DNS server; dns:///localhost:80 is meant"); /* N15 */
    fails("dns:///host:0", "1 to 65535");
    fails("dns:///host:65536", "1 to 65535");
    fails("dns:///host:http", "1 to 65535");
    fails("dns:///[::1", "not closed");
    fails("dns:///[host]:80", "no IPv6 address");
    fails("dns:///a..b", "empty label");
    fails("dns:///a%0Ab", "only letters");
    fails("dns:///10.0.0", "IPv4");
    fails("dns://server/host", "IP address");
    fails("dns://10.0.0.1:x/host", "1 to 65535");
}

static void resolves(const char *target, const char *name, const char *address)
{
    struct scene *s = scene_create();
    const evener_dns_texts texts = {.hosts = "10.0.0.1 localhost\n"};
    s->dns.base.texts = &texts;
    fake_dns_set(&s->dns, EVENER_DNS_A, name, "10.0.0.1", 30);
    open_now(s, target);
    cr_assert_str_eq(s->f->sink.addresses, address, "%s: %s", target, s->f->sink.addresses);
    scene_destroy(s);
}

Test(dns_target, names_and_ports)
{
    resolves("dns:///orders.prod:50051", "orders.prod", "10.0.0.1:50051");
    resolves("dns://8.8.8.8/orders.prod", "orders.prod", "10.0.0.1:443");
    resolves("orders.prod", "orders.prod", "10.0.0.1:443");
    resolves(":80", "localhost", "10.0.0.1:80");
    resolves("dns:orders.prod.:1", "orders.prod", "10.0.0.1:1");
}

static void expect_authority(const char *target_text, const char *expected)
{
    evener_target *target;
    const evener_resolver_builder *builder;
    char authority[256] = "";
    cr_assert_eq(evener_resolver_lookup(NULL, target_text, &target, &builder, NULL), EVENER_STATUS_OK);
    cr_assert_eq(builder->default_authority(builder, target, authority, sizeof authority, NULL), EVENER_STATUS_OK);
    cr_assert_str_eq(authority, expected);
    cr_assert_neq(builder->default_authority(builder, target, authority, 3, NULL), EVENER_STATUS_OK);
    evener_target_destroy(target);
}

Test(dns_target, default_authority)
{
    expect_authority("orders.prod:80", "orders.prod:80");
    expect_authority(":80", "localhost:80");
    expect_authority("[fe80::1%25eth0]:80", "[fe80::1]:80");
}

static void bad_option(const char *key, const char *value)
{
    struct scene *s = scene_create();
    const evener_attribute option = {key, value};
    s->f->options = &option;
    s->f->option_count = 1;
    cr_assert_eq(resolver_fixture_build(s->f, "dns:///x"), EVENER_STATUS_INVALID_ARGUMENT, "%s=%s", key, value);
    cr_assert_not_null(strstr(s->f->status.message, key), "%s", s->f->status.message);
    scene_destroy(s);
}

Test(dns_options, bad_ones_are_named)
{
    bad_option("dns.min_refresh_ms", "99");
    bad_option("dns.min_refresh_ms", "x");
    bad_option("dns.min_refresh_ms", "300001");
    bad_option("dns.max_refresh_ms", "-1");
    bad_option("dns.resolve_now_min_ms", "999");
    bad_option("dns.timeout_ms", "");
    bad_option("dns.tries", "0");
    bad_option("dns.tries", "11");
    bad_option("dns.servers", "ns.example");
    bad_option("dns.servers", "");
    bad_option("dns.txt_service_config", "yes");
    bad_option("dns.srv_tiers", "some");
}

/* docs/semantics.md, Resolving again: refresh at TTL x U(0.8, 1.0); no connection has to break */
Test(dns_refresh, new_backend_is_found_within_ttl)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1", 2);
    open_now(s, "dns:///x:1");
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:1");
    cr_assert_eq(s->f->sink.ttl_ms, 2000);
    cr_assert_str_eq(s->f->sink.source, "dns fake");
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1,10.0.0.2", 2);
    virtual_loop_advance_ms(s->f->loop, 1599);
    cr_assert_eq(s->f->sink.update_count, 1);
    virtual_loop_advance_ms(s->f->loop, 402);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:1,10.0.0.2:1");
    cr_assert_eq(s->f->sink.update_count, 2);
    virtual_loop_advance_ms(s->f->loop, 60000);
    cr_assert_eq(s->f->sink.update_count, 2, "an unchanged answer is not pushed again");
    scene_destroy(s);
}

/* Addresses that have waited for the TXT record are refused when it has come, or failed: they are the ones that are asked
 * for again, after a backoff. */
Test(dns_refresh, a_list_that_is_refused_after_the_txt_record_is_asked_for_again)
{
    static const char *const records[] = {"", "!SERVFAIL"};
    static const char *const lists[] = {"10.0.0.1", ""}; /* the second one: a channel refuses an empty first list */
    const evener_attribute option = {"dns.txt_service_config", "true"};
    for (size_t i = 0; i < 4; i++) {
        struct scene *s = scene_create();
        fake_dns_set(&s->dns, EVENER_DNS_A, "x", lists[i / 2], 300)->latency_ms = 5;
        fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "", 300)->latency_ms = 5;
        fake_dns_set(&s->dns, EVENER_DNS_TXT, "_grpc_config.x", records[i % 2], 300)->latency_ms = 50;
        s->f->options = &option;
        s->f->option_count = 1;
        s->f->sink.refuse = true;
        resolver_fixture_open(s->f, "dns:///x:1");
        virtual_loop_advance_ms(s->f->loop, 200);
        cr_assert_eq(s->f->sink.update_count, 1);
        s->f->sink.refuse = false;
        fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1", 300);
        virtual_loop_advance_ms(s->f->loop, 2000); /* 1 s with jitter, and the answers */
        cr_assert_eq(s->f->sink.update_count, 2, "case %zu: %zu", i, s->f->sink.update_count);
        cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:1");
        scene_destroy(s);
    }
}

static size_t asked_in(const char *ttl_key, const char *value, uint32_t ttl_s, uint64_t ms)
{
    struct scene *s = scene_create();
    const evener_attribute option = {ttl_key, value};
    s->f->options = &option;
    s->f->option_count = 1;
    fake_dns_script *script = fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1", ttl_s);
    open_now(s, "dns:///x:1");
    virtual_loop_advance_ms(s->f->loop, ms);
    const size_t asked = script->asked - 1;
    scene_destroy(s);
    return asked;
}

Test(dns_refresh, minimum_and_maximum)
{
    size_t asked = asked_in("other", "", 0, 100000);
    cr_assert(asked >= 100 && asked <= 125, "TTL 0 counts as 1 s: %zu", asked);
    asked = asked_in("dns.min_refresh_ms", "10000", 0, 100000);
    cr_assert(asked >= 10 && asked <= 12, "%zu", asked);
    asked = asked_in("other", "", 86400, 3600000);
    cr_assert(asked >= 12 && asked <= 15, "a day counts as 5 min: %zu", asked);
    asked = asked_in("dns.max_refresh_ms", "1000", 86400, 100000);
    cr_assert(asked >= 100 && asked <= 125, "%zu", asked);
}

/* docs/semantics.md, Resolving again: 1 s x 1.6 +-20 %, at most 120 s, reset by success; the error carries a reason */
Test(dns_backoff, errors_back_off_and_clear_nothing)
{
    struct scene *s = scene_create();
    fake_dns_script *script = fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1", 1);
    open_now(s, "dns:///x:1");
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "!SERVFAIL (server 10.0.0.9:53)", 0);
    virtual_loop_advance_ms(s->f->loop, 1000);
    cr_assert_eq(s->f->sink.error_count, 1);
    cr_assert_eq(s->f->sink.update_count, 1);
    cr_assert_str_eq(s->f->sink.error.message, "dns: x: SERVFAIL (server 10.0.0.9:53)");
    cr_assert_eq(s->f->sink.error.code, EVENER_STATUS_UNAVAILABLE);
    /* 1, 1.6, 2.56, 4.1, 6.55, 10.5, 16.8, 26.8, 42.9, 68.7, 110, 120, 120 ... */
    size_t before = script->asked;
    virtual_loop_advance_ms(s->f->loop, 3000);
    cr_assert(script->asked - before >= 1 && script->asked - before <= 3, "%zu", script->asked - before);
    virtual_loop_advance_ms(s->f->loop, 600000);
    before = script->asked;
    virtual_loop_advance_ms(s->f->loop, 1200000);
    cr_assert(script->asked - before >= 8 && script->asked - before <= 13, "%zu", script->asked - before);
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1", 1);
    virtual_loop_advance_ms(s->f->loop, 144000);
    cr_assert_eq(s->f->sink.update_count, 2, "the same addresses, but an error came between");
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "!SERVFAIL", 0);
    virtual_loop_advance_ms(s->f->loop, 1001);
    const size_t errors = s->f->sink.error_count;
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.2", 1);
    virtual_loop_advance_ms(s->f->loop, 1200);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.2:1", "the backoff began anew after success");
    cr_assert_eq(s->f->sink.error_count, errors);
    scene_destroy(s);
}

/* docs/semantics.md, Resolving again: NXDOMAIN and NODATA are answers */
Test(dns_answers, nothing_is_an_empty_list)
{
    struct scene *s = scene_create();
    open_now(s, "dns:///x");
    cr_assert_eq(s->f->sink.update_count, 1);
    cr_assert_eq(s->f->sink.address_count, 0);
    cr_assert_eq(s->f->sink.error_count, 0);
    cr_assert_str_eq(s->f->sink.source, "dns fake (NXDOMAIN)");
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "fd00::1", 9);
    virtual_loop_advance_ms(s->f->loop, 6000);
    cr_assert_str_eq(s->f->sink.addresses, "[fd00::1]:443");
    scene_destroy(s);
}

Test(dns_answers, nothing_in_one_family_and_an_error_in_the_other_is_an_error)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "", 9);
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "!SERVFAIL", 9);
    open_now(s, "dns:///x");
    cr_assert_eq(s->f->sink.update_count, 0);
    cr_assert_eq(s->f->sink.error_count, 1);
    scene_destroy(s);
}

Test(dns_answers, duplicates_are_dropped_and_families_ordered)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1,10.0.0.2,10.0.0.1", 9);
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "fd00::1,fd00::1", 9);
    open_now(s, "dns:///x:1");
    /* RFC 6724 rule 6 */
    cr_assert_str_eq(s->f->sink.addresses, "[fd00::1]:1,10.0.0.1:1,10.0.0.2:1");
    scene_destroy(s);
}

/* RFC 8305; grpc 35638 took over 20 s */
Test(dns_families, silent_aaaa_costs_50_ms)
{
    struct scene *s = scene_create();
    fake_dns_script *a = fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1", 2);
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "?", 0);
    open_now(s, "dns:///x:1");
    virtual_loop_advance_ms(s->f->loop, 49);
    cr_assert_eq(s->f->sink.update_count, 0);
    virtual_loop_advance_ms(s->f->loop, 1);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:1");
    virtual_loop_advance_ms(s->f->loop, 2000);
    cr_assert_geq(a->asked, 2, "nor is the next refresh held up");
    cr_assert_eq(s->f->sink.error_count, 0);
    scene_destroy(s);
}

Test(dns_families, late_aaaa_is_added)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1", 30);
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "fd00::1", 30)->latency_ms = 300;
    open_now(s, "dns:///x:1");
    virtual_loop_advance_ms(s->f->loop, 299);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:1");
    virtual_loop_advance_ms(s->f->loop, 1);
    cr_assert_str_eq(s->f->sink.addresses, "[fd00::1]:1,10.0.0.1:1");
    cr_assert_eq(s->f->sink.update_count, 2);
    scene_destroy(s);
}

static struct scene *scene_of_both_families(void)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1", 10);
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "fd00::1", 10);
    open_now(s, "dns:///x:1");
    return s;
}

/* N5: NXDOMAIN of one family is no answer while the other family's query failed (RFC 4074 section 4.2). */
Test(dns_families, n5_nxdomain_beside_a_failure_empties_nothing)
{
    struct scene *s = scene_of_both_families();
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "NXDOMAIN", 10);
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "!SERVFAIL", 0);
    virtual_loop_advance_ms(s->f->loop, 10000);
    cr_assert_geq(s->f->sink.error_count, 1);
    cr_assert_str_eq(s->f->sink.addresses, "[fd00::1]:1,10.0.0.1:1");
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "NXDOMAIN", 10);
    virtual_loop_advance_ms(s->f->loop, 10000);
    cr_assert_eq(s->f->sink.address_count, 0);
    scene_destroy(s);
}

/* One failed family does not halve the list. */
Test(dns_families, failing_family_is_kept_for_a_while)
{
    struct scene *s = scene_of_both_families();
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "!SERVFAIL", 0);
    virtual_loop_advance_ms(s->f->loop, 280000);
    cr_assert_str_eq(s->f->sink.addresses, "[fd00::1]:1,10.0.0.1:1");
    virtual_loop_advance_ms(s->f->loop, 40000);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:1");
    cr_assert_eq(s->f->sink.error_count, 0);
    scene_destroy(s);
}

/* core: dns_resolver_cooldown_test.cc */
Test(dns_resolve_now, joined_and_limited)
{
    struct scene *s = scene_create();
    fake_dns_script *a = fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1", 3600);
    open_now(s, "dns:///x:1");
    for (int i = 0; i < 100; i++) {
        s->f->resolver->vtable->resolve_now(s->f->resolver);
        virtual_loop_advance_ms(s->f->loop, 10);
    }
    cr_assert_eq(a->asked, 1);
    virtual_loop_advance_ms(s->f->loop, 28999);
    cr_assert_eq(a->asked, 1);
    virtual_loop_advance_ms(s->f->loop, 1);
    cr_assert_eq(a->asked, 2, "once, at the end of 30 s");
    virtual_loop_advance_ms(s->f->loop, 100000);
    cr_assert_eq(a->asked, 2);
    s->f->resolver->vtable->resolve_now(s->f->resolver);
    s->f->resolver->vtable->resolve_now(s->f->resolver);
    virtual_loop_run_until_idle(s->f->loop);
    cr_assert_eq(a->asked, 3, "at once after a quiet time");
    scene_destroy(s);
}

Test(dns_resolve_now, does_not_cut_a_backoff_short)
{
    struct scene *s = scene_create();
    fake_dns_script *a = fake_dns_set(&s->dns, EVENER_DNS_A, "x", "!REFUSED", 0);
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "!REFUSED", 0);
    open_now(s, "dns:///x:1");
    s->f->resolver->vtable->resolve_now(s->f->resolver);
    virtual_loop_advance_ms(s->f->loop, 799);
    cr_assert_eq(a->asked, 1);
    scene_destroy(s);
}

/* grpc-go: ClientConn.UpdateState's error makes the resolver back off */
Test(dns_backoff, refused_update_is_tried_again)
{
    struct scene *s = scene_create();
    s->f->sink.refuse = true;
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1", 3600);
    open_now(s, "dns:///x:1");
    virtual_loop_advance_ms(s->f->loop, 1200);
    cr_assert_eq(s->f->sink.update_count, 2);
    s->f->sink.refuse = false;
    virtual_loop_advance_ms(s->f->loop, 1920);
    cr_assert_eq(s->f->sink.update_count, 3);
    virtual_loop_advance_ms(s->f->loop, 200000);
    cr_assert_eq(s->f->sink.update_count, 3);
    scene_destroy(s);
}

/* One query at a time: closing ends A, and AAAA, which waits for its turn, must not begin or leave a timer behind. */
Test(dns_backoff, closed_while_a_query_waits_and_no_memory_is_left)
{
    struct scene *s = scene_create();
    const evener_attribute option = {"dns.in_flight_max", "1"};
    s->f->options = &option;
    s->f->option_count = 1;
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "?", 30);
    open_now(s, "dns:///x:1");
    cr_assert_eq(s->dns.asked, 1);
    s->dns.no_memory = true;
    resolver_fixture_close(s->f);
    virtual_loop_advance_ms(s->f->loop, 10000);
    cr_assert_eq(s->f->sink.error_count, 0);
    scene_destroy(s);
}

/* A query that could not be started takes no place of others, which need not wait until its name is asked for again. */
Test(dns_backoff, no_memory_for_a_query_frees_its_place)
{
    struct scene *s = scene_create();
    const evener_attribute option = {"dns.in_flight_max", "1"};
    s->f->options = &option;
    s->f->option_count = 1;
    fake_dns_set(&s->dns, EVENER_DNS_A, "y", "10.0.0.2", 30);
    s->dns.no_memory = true;
    resolver_fixture_open(s->f, "fallback:dns:///x:1|dns:///y:1");
    s->dns.no_memory = false;
    virtual_loop_run_until_idle(s->f->loop);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.2:1");
    scene_destroy(s);
}

Test(dns_backoff, no_memory_for_a_query)
{
    struct scene *s = scene_create();
    s->dns.no_memory = true;
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1", 3600);
    open_now(s, "dns:///x:1");
    cr_assert_eq(s->f->sink.error_count, 1);
    s->dns.no_memory = false;
    virtual_loop_advance_ms(s->f->loop, 1200);
    cr_assert_eq(s->f->sink.update_count, 1);
    scene_destroy(s);
}
