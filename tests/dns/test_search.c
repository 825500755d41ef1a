/* How one name becomes the names that are asked for: rows N1 to N15 of the cases from the field, with scripted answers
 * and scripted system files on the virtual loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "resolver/dns/nsswitch.h"
#include "resolver/dns/system.h"
#include "tests/support/fake_dns_client.h"
#include "tests/support/resolver_fixture.h"

struct scene {
    fake_dns_client dns;
    evener_dns_texts texts;
    resolver_fixture *f;
    evener_attribute options[3];
};

static struct scene *scene_create(const char *resolv_conf, const char *hosts)
{
    struct scene *s = calloc(1, sizeof *s);
    cr_assert_not_null(s);
    fake_dns_client_init(&s->dns);
    s->texts = (evener_dns_texts){.resolv_conf = resolv_conf, .hosts = hosts};
    s->dns.base.texts = &s->texts;
    s->f = resolver_fixture_create();
    s->f->set = s->dns.set;
    s->f->options = s->options;
    return s;
}

static void scene_destroy(struct scene *s)
{
    resolver_fixture_destroy(s->f);
    cr_assert_eq(s->dns.in_flight, 0, "a query outlived its resolver");
    free(s);
}

static void set_option(struct scene *s, const char *key, const char *value)
{
    s->options[s->f->option_count++] = (evener_attribute){key, value};
}

static void open_now(struct scene *s, const char *target)
{
    resolver_fixture_open(s->f, target);
    virtual_loop_run_until_idle(s->f->loop);
}

/* A says `a` and AAAA says `aaaa`; NULL: NXDOMAIN. */
static void set(struct scene *s, const char *name, const char *a, const char *aaaa)
{
    fake_dns_set(&s->dns, EVENER_DNS_A, name, a != NULL ? a : "NXDOMAIN", 30);
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, name, aaaa != NULL ? aaaa : "NXDOMAIN", 30);
}

static void expect(struct scene *s, const char *addresses)
{
    cr_assert_eq(s->f->sink.error_count, 0, "%s", s->f->sink.error.message);
    cr_assert_eq(s->f->sink.update_count, 1);
    cr_assert_str_eq(s->f->sink.addresses, addresses, "%s", s->f->sink.addresses);
    scene_destroy(s);
}

#define KUBERNETES                                                                                                     \
    "search prod.svc.cluster.local svc.cluster.local cluster.local corp.example\n"                                     \
    "options ndots:5\n"                                                                                                \
    "nameserver 10.96.0.10\n"

/* ---- N1: one name for both families ---- */

Test(search, n1_both_families_are_of_one_candidate)
{
    struct scene *s = scene_create("search corp.example\n", NULL);
    set(s, "orders.prod", "10.0.1.1", "");
    set(s, "orders.prod.corp.example", NULL, "fd00::99");
    open_now(s, "dns:///orders.prod:50051");
    expect(s, "10.0.1.1:50051");
}

Test(search, n1_suffix_first_below_ndots)
{
    struct scene *s = scene_create("search corp.example\noptions ndots:2\n", NULL);
    set(s, "orders.prod", "10.0.1.1", "fd00::1");
    set(s, "orders.prod.corp.example", "", "fd00::99");
    open_now(s, "dns:///orders.prod:1");
    expect(s, "[fd00::99]:1");
}

Test(search, n1_hosts_file_is_not_mixed_with_dns)
{
    struct scene *s = scene_create("", "10.9.9.9 orders.prod Orders\n10.9.9.8 x orders.prod # orders\n");
    set(s, "orders.prod", "10.0.1.1", "fd00::1");
    open_now(s, "dns:///ORDERS.prod:1");
    cr_assert_eq(s->dns.asked, 0);
    cr_assert_str_eq(s->f->sink.source, "hosts file");
    expect(s, "10.9.9.9:1,10.9.9.8:1");
}

/* A family that failed is not filled up with an earlier round's addresses of another candidate. */
Test(search, n1_kept_family_is_of_the_same_candidate)
{
    struct scene *s = scene_create("search corp.example\n", NULL);
    set(s, "orders.prod", "10.0.1.1", "fd00::1");
    open_now(s, "dns:///orders.prod:1");
    set(s, "orders.prod", NULL, NULL);
    set(s, "orders.prod.corp.example", "10.0.2.2", "!timed out");
    virtual_loop_advance_ms(s->f->loop, 30000);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.2.2:1", "%s", s->f->sink.addresses);
    scene_destroy(s);
}

/* ---- N2: absolute names ---- */

Test(search, n2_trailing_dot_is_never_searched)
{
    struct scene *s = scene_create("search wild.example\noptions ndots:5\n", NULL);
    set(s, "node1.example.org", "10.0.0.1", "");
    set(s, "node1.example.org.wild.example", "10.0.66.66", "");
    open_now(s, "dns:///node1.example.org.:1");
    expect(s, "10.0.0.1:1");
}

Test(search, n2_srv_targets_are_never_searched_but_looked_up_in_the_hosts_file)
{
    struct scene *s = scene_create("search wild.example\noptions ndots:5\n", "10.0.0.7 node2.example.org\n");
    fake_dns_set(&s->dns, EVENER_DNS_SRV, "_grpc._tcp.orders", "0 1 80 node1.example.org,0 1 80 node2.example.org", 30);
    set(s, "node1.example.org", "10.0.0.1", "");
    set(s, "node1.example.org.wild.example", "10.0.66.66", "");
    open_now(s, "srv:///_grpc._tcp.orders");
    expect(s, "10.0.0.1:80;priority=0;weight=1,10.0.0.7:80;priority=0;weight=1");
}

Test(search, n2_server_in_the_target_is_asked_for_the_name_alone)
{
    struct scene *s = scene_create("search wild.example\noptions ndots:5\n", "10.9.9.9 orders.prod\n");
    set(s, "orders.prod", "10.0.0.1", "");
    set(s, "orders.prod.wild.example", "10.0.66.66", "");
    open_now(s, "dns://10.0.0.53/orders.prod:1");
    expect(s, "10.0.0.1:1");
}

/* ---- N3: the search goes on ---- */

Test(search, n3_servfail_goes_on)
{
    struct scene *s = scene_create(KUBERNETES, NULL);
    set(s, "orders.prod", "10.0.0.1", "");
    set(s, "orders.prod.prod.svc.cluster.local", "!SERVFAIL", "!SERVFAIL");
    set(s, "orders.prod.svc.cluster.local", "!REFUSED", "");
    open_now(s, "dns:///orders.prod:1");
    expect(s, "10.0.0.1:1");
}

Test(search, n3_failure_is_reported_if_nothing_succeeds)
{
    struct scene *s = scene_create("search a.example b.example\noptions ndots:5\n", NULL);
    set(s, "orders.a.example", "!SERVFAIL", "!SERVFAIL");
    open_now(s, "dns:///orders:1");
    cr_assert_eq(s->f->sink.update_count, 0);
    cr_assert_eq(s->f->sink.error_count, 1);
    cr_assert_str_eq(s->f->sink.error.message,
                     "dns: orders: orders.a.example: SERVFAIL; orders.b.example: NODATA; orders: NODATA");
    scene_destroy(s);
}

/* As glibc: no server would answer for the next name either. */
Test(search, n3_time_out_ends_the_search)
{
    struct scene *s = scene_create("search a.example\noptions ndots:5\n", NULL);
    set(s, "orders.a.example", "?", "?");
    set(s, "orders", "10.0.0.1", "");
    open_now(s, "dns:///orders:1");
    virtual_loop_advance_ms(s->f->loop, 5000);
    cr_assert_eq(s->f->sink.update_count, 0);
    cr_assert_not_null(strstr(s->f->sink.error.message, "orders.a.example: timed out"), "%s", s->f->sink.error.message);
    scene_destroy(s);
}

Test(search, n3_time_limit_is_per_name)
{
    struct scene *s = scene_create(KUBERNETES, NULL);
    static const char *const names[] = {"orders.prod.svc.cluster.local", "orders.svc.cluster.local",
                                        "orders.cluster.local", "orders.corp.example"};
    for (size_t i = 0; i < 4; i++) {
        set(s, names[i], NULL, NULL);
        for (size_t j = 0; j < s->dns.script_count; j++) {
            s->dns.scripts[j].latency_ms = 1400;
        }
    }
    set(s, "orders", "10.0.0.1", "");
    open_now(s, "dns:///orders:1");
    virtual_loop_advance_ms(s->f->loop, 4 * 1400 + 100);
    expect(s, "10.0.0.1:1");
}

Test(search, n3_search_options_of_resolv_conf)
{
    static const struct {
        const char *resolv_conf, *local_domain, *res_options, *name, *candidates;
    } cases[] = {
        {"search .", NULL, NULL, "x", "x"},
        {"search . a.example\noptions ndots:3", NULL, NULL, "x.y", "x.y x.y.a.example"},
        {"search a.example. b.example", NULL, NULL, "x", "x.a.example x.b.example x"},
        {"search a.example\ndomain b.example", NULL, NULL, "x", "x.b.example x"},
        {"domain b.example\nsearch a.example", NULL, NULL, "x", "x.a.example x"},
        {"search a.example\noptions ndots:0", NULL, NULL, "x", "x x.a.example"},
        {"search a.example", "c.example d.example", NULL, "x", "x.c.example x.d.example x"},
        {"search a.example", NULL, "ndots:2", "x.y", "x.y.a.example x.y"},
        {"search a.example\noptions no-tld-query", NULL, NULL, "x", "x.a.example"},
        {"# search a.example\n;search b.example\n search c.example", NULL, NULL, "x", "x.host.example x"},
        {"search a.example\nsearch \nsearch\n", NULL, NULL, "x", "x.a.example x"},
        {"search a.example", "", NULL, "x", "x"},
        {"search\ta.example\r\noptions\tndots:2\r", NULL, NULL, "x.y", "x.y.a.example x.y"},
        {"search a.example\noptions ndots: ndots:x ndots:-1", NULL, NULL, "x.y", "x.y x.y.a.example"},
        {"search # a.example", NULL, NULL, "x", "x.a.example x"},
        {"\xef\xbb\xbfsearch a.example\nsearch b.example b.example B.Example", NULL, NULL, "x", "x.b.example x"},
        {"search a.example", NULL, NULL, "x.", "x"},
        {"options ndots:99\nsearch a.example", NULL, NULL, "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.x",
         "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.x 1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.x.a.example"},
        {"", NULL, NULL, "x", "x.host.example x"},
    };
    evener_dns_resolv_conf *conf = malloc(sizeof *conf);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const evener_dns_environment environment = {cases[i].local_domain, cases[i].res_options, "me.host.example"};
        evener_dns_candidates candidates;
        char all[600] = "";
        evener_dns_resolv_conf_parse(cases[i].resolv_conf, &environment, conf);
        cr_assert(evener_dns_candidates_make(conf, cases[i].name, false, &candidates));
        for (size_t j = 0; j < candidates.count; j++) {
            (void)snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", j > 0 ? " " : "", candidates.names[j]);
        }
        cr_assert_str_eq(all, cases[i].candidates, "%s: %s", cases[i].resolv_conf, all);
        evener_dns_candidates_clear(&candidates);
    }
    free(conf);
}

/* ---- N4: the network is back ---- */

static void network_returns(bool through_composition)
{
    struct scene *s = scene_create("", NULL);
    const evener_resolver_builder *own[] = {s->dns.own[0], s->dns.own[1]};
    s->f->set = (evener_resolver_set){own, 2};
    set(s, "orders", "?", "?");
    open_now(s, through_composition ? "merge:dns:///orders:1|dns:///orders:2" : "dns:///orders:1");
    virtual_loop_advance_ms(s->f->loop, 46000);
    cr_assert_gt(s->f->sink.error_count, 0);
    set(s, "orders", "10.0.0.1", "");
    evener_resolver_reset_backoff(s->f->resolver);
    virtual_loop_advance_ms(s->f->loop, 1000);
    cr_assert_str_eq(s->f->sink.addresses, through_composition ? "10.0.0.1:1,10.0.0.1:2" : "10.0.0.1:1");
    scene_destroy(s);
}

Test(search, n4_reset_backoff_asks_at_once)
{
    network_returns(false);
}

Test(search, n4_reset_backoff_is_passed_on_by_compositions)
{
    network_returns(true);
}

Test(search, n4_resolve_now_ends_a_backoff)
{
    struct scene *s = scene_create("", NULL);
    set(s, "orders", "!SERVFAIL", "!SERVFAIL");
    open_now(s, "dns:///orders:1");
    virtual_loop_advance_ms(s->f->loop, 240000);
    set(s, "orders", "10.0.0.1", "");
    s->f->resolver->vtable->resolve_now(s->f->resolver);
    virtual_loop_advance_ms(s->f->loop, 5000);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:1");
    scene_destroy(s);
}

/* A round is not begun again and again: slow DNS still gets through. */
Test(search, n4_reset_backoff_in_a_loop_does_not_starve_a_slow_server)
{
    struct scene *s = scene_create("", NULL);
    set(s, "orders", "10.0.0.1", "");
    for (size_t i = 0; i < s->dns.script_count; i++) {
        s->dns.scripts[i].latency_ms = 1500;
    }
    open_now(s, "dns:///orders:1");
    for (int i = 0; i < 40; i++) {
        evener_resolver_reset_backoff(s->f->resolver);
        virtual_loop_advance_ms(s->f->loop, 100);
    }
    expect(s, "10.0.0.1:1");
}

/* ---- N5: a failure is no answer ---- */

Test(search, n5_one_family_nxdomain_though_the_other_exists)
{
    struct scene *s = scene_create("", NULL);
    set(s, "orders", "10.0.0.1", NULL);
    open_now(s, "dns:///orders:1");
    expect(s, "10.0.0.1:1");
}

Test(search, n5_compositions_keep_the_last_list)
{
    static const char *const targets[] = {"merge:dns:///orders:1|dns:///empty:1",
                                          "fallback:dns:///orders:1|dns:///empty:1"};
    for (size_t i = 0; i < 2; i++) {
        struct scene *s = scene_create("", NULL);
        set(s, "orders", "10.0.0.1", "");
        set(s, "empty", NULL, NULL);
        open_now(s, targets[i]);
        set(s, "orders", "!timed out", NULL);
        virtual_loop_advance_ms(s->f->loop, 60000);
        cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:1");
        cr_assert_gt(s->f->sink.error_count, 0);
        scene_destroy(s);
    }
}

/* ---- N10: servers with zones ---- */

Test(search, n10_servers_with_zones_are_used_or_refused)
{
    const evener_dns_environment none = {NULL, NULL, NULL};
    evener_dns_resolv_conf *conf = malloc(sizeof *conf);
    evener_dns_resolv_conf_parse("nameserver fe80::1%lo\nnameserver 10.0.0.2\n", &none, conf);
    cr_assert_str_eq(conf->servers, "[fe80::1%lo]:53,10.0.0.2:53", "%s", conf->servers);
    cr_assert_str_empty(conf->problem);
    evener_dns_resolv_conf_parse("nameserver fe80::1%nosuch0\n", &none, conf);
    cr_assert_str_eq(conf->servers, "127.0.0.1:53");
    cr_assert_str_eq(conf->problem, "line 1: \"fe80::1%nosuch0\" is ignored: its zone, behind '%', is no network "
                                    "interface of this machine");
    evener_dns_resolv_conf_parse("nameserver fe80::1\n", &none, conf);
    cr_assert_not_null(strstr(conf->problem, "needs its interface"));
    evener_dns_resolv_conf_parse("nameserver ::1\nnameserver :53\nnameserver ::ffff:10.0.0.3\n", &none, conf);
    cr_assert_str_eq(conf->servers, "[::1]:53,[::ffff:10.0.0.3]:53", "%s", conf->servers);
    evener_dns_resolv_conf_parse("nameserver 0.0.0.0\nnameserver ::\n nameserver 10.0.0.2\n", &none, conf);
    cr_assert_str_eq(conf->servers, "127.0.0.1:53,[::1]:53", "any address is this machine: %s", conf->servers);
    evener_dns_resolv_conf_parse("nameserver fe80::1%lo]\nnameserver 10.0.0.2\n", &none, conf);
    cr_assert_str_eq(conf->servers, "10.0.0.2:53", "%s", conf->servers);
    cr_assert_not_null(strstr(conf->problem, "fe80::1%lo]"), "%s", conf->problem);
    free(conf);
    struct scene *s = scene_create("", NULL);
    set_option(s, "dns.servers", "fe80::1%nosuch0");
    cr_assert_eq(resolver_fixture_build(s->f, "dns:///x"), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(s->f->status.message, "no network interface"), "%s", s->f->status.message);
    set_option(s, "dns.servers", "fe80::1%lo]");
    cr_assert_eq(resolver_fixture_build(s->f, "dns:///x"), EVENER_STATUS_INVALID_ARGUMENT);
    scene_destroy(s);
}

/* ---- N12: the grace counts from the first failure ---- */

Test(search, n12_family_is_kept_from_its_first_failure_on)
{
    struct scene *s = scene_create("", NULL);
    set_option(s, "dns.max_refresh_ms", "86400000");
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1", 400);
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "fd00::1", 400);
    open_now(s, "dns:///x:1");
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1", 40);
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "!SERVFAIL", 400);
    virtual_loop_advance_ms(s->f->loop, 401000);
    cr_assert_str_eq(s->f->sink.addresses, "[fd00::1]:1,10.0.0.1:1", "%s", s->f->sink.addresses);
    virtual_loop_advance_ms(s->f->loop, 200000);
    cr_assert_str_eq(s->f->sink.addresses, "[fd00::1]:1,10.0.0.1:1");
    virtual_loop_advance_ms(s->f->loop, 221000);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:1");
    scene_destroy(s);
}

/* Both families fail from 30 s on, and after `outage_ms` IPv4 is back: IPv6 is kept for 300 s from its first failure. */
static void after_an_outage(uint64_t outage_ms, const char *addresses)
{
    struct scene *s = scene_create("", NULL);
    set_option(s, "dns.max_refresh_ms", "86400000");
    set(s, "x", "10.0.0.1", "fd00::1");
    open_now(s, "dns:///x:1");
    set(s, "x", "!SERVFAIL", "!SERVFAIL");
    virtual_loop_advance_ms(s->f->loop, 30000);
    cr_assert_geq(s->f->sink.error_count, 1);
    cr_assert_eq(s->f->sink.update_count, 1);
    virtual_loop_advance_ms(s->f->loop, outage_ms);
    set(s, "x", "10.0.0.1", "!SERVFAIL");
    evener_resolver_reset_backoff(s->f->resolver);
    virtual_loop_run_until_idle(s->f->loop);
    cr_assert_eq(s->f->sink.update_count, 2);
    cr_assert_str_eq(s->f->sink.addresses, addresses, "%llu ms: %s", (unsigned long long)outage_ms,
                     s->f->sink.addresses);
    scene_destroy(s);
}

Test(search, n12_failures_of_both_families_count_too)
{
    after_an_outage(280000, "[fd00::1]:1,10.0.0.1:1");
    after_an_outage(301000, "10.0.0.1:1");
}

/* ---- N14: what users miss ---- */

static void family(const char *value, const char *addresses, size_t asked)
{
    struct scene *s = scene_create("", NULL);
    set_option(s, "dns.family", value);
    set(s, "x", "10.0.0.1", "fd00::1");
    open_now(s, "dns:///x:1");
    cr_assert_eq(s->dns.asked, asked, "%s", value);
    expect(s, addresses);
}

Test(search, n14_family)
{
    family("auto", "[fd00::1]:1,10.0.0.1:1", 2);
    family("ipv4", "10.0.0.1:1", 1);
    family("ipv6", "[fd00::1]:1", 1);
    family("ipv6-first", "[fd00::1]:1,10.0.0.1:1", 2);
    struct scene *s = scene_create("", NULL);
    set_option(s, "dns.family", "ipv5");
    cr_assert_eq(resolver_fixture_build(s->f, "dns:///x"), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(s->f->status.message, "dns.family"));
    scene_destroy(s);
    s = scene_create("", "::1 x\n10.9.9.9 x\n");
    set_option(s, "dns.family", "ipv4");
    open_now(s, "dns:///x:1");
    expect(s, "10.9.9.9:1");
}

/* A family that is not asked for says nothing about the name. */
Test(search, n14_a_family_that_is_not_wanted_is_no_nodata)
{
    struct scene *s = scene_create("search a.example\n", NULL);
    set_option(s, "dns.family", "ipv4");
    set(s, "x.a.example", NULL, "");
    set(s, "x", NULL, "");
    open_now(s, "dns:///x:1");
    cr_assert_str_eq(s->f->sink.source, "dns fake (NXDOMAIN)", "%s", s->f->sink.source);
    expect(s, "");
    s = scene_create("search a.example\n", NULL);
    set(s, "x.a.example", NULL, "");
    set(s, "x", NULL, NULL);
    open_now(s, "dns:///x:1");
    cr_assert_str_eq(s->f->sink.source, "dns fake (NODATA)", "%s", s->f->sink.source);
    expect(s, "");
}

Test(search, n14_no_aaaa_of_resolv_conf)
{
    struct scene *s = scene_create("options no-aaaa\n", NULL);
    set(s, "x", "10.0.0.1", "fd00::1");
    open_now(s, "dns:///x:1");
    cr_assert_eq(s->dns.asked, 1);
    expect(s, "10.0.0.1:1");
}

Test(search, n14_removed_addresses_are_kept_for_a_while)
{
    struct scene *s = scene_create("", NULL);
    set_option(s, "dns.keep_removed_ms", "60000");
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.1,10.0.0.2", 10);
    open_now(s, "dns:///x:1");
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "10.0.0.3", 10);
    virtual_loop_advance_ms(s->f->loop, 10000);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.3:1,10.0.0.1:1,10.0.0.2:1");
    virtual_loop_advance_ms(s->f->loop, 40000);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.3:1,10.0.0.1:1,10.0.0.2:1");
    virtual_loop_advance_ms(s->f->loop, 21000);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.3:1");
    fake_dns_set(&s->dns, EVENER_DNS_A, "x", "NXDOMAIN", 10);
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "x", "NXDOMAIN", 10);
    virtual_loop_advance_ms(s->f->loop, 11000);
    cr_assert_str_eq(s->f->sink.addresses, "", "a name that is gone has no addresses");
    scene_destroy(s);
}

/* ---- N15: small things ---- */

Test(search, n15_hosts_file_comes_before_the_rule_for_localhost)
{
    struct scene *s = scene_create("", "10.0.8.8 api.localhost\n");
    open_now(s, "dns:///api.localhost:1");
    expect(s, "10.0.8.8:1");
}

Test(search, n15_nsswitch_without_dns_says_so)
{
    struct scene *s = scene_create("", "10.0.0.1 a\n");
    s->texts.nsswitch = "passwd: files\nhosts: files # no dns\n";
    open_now(s, "dns:///b:1");
    cr_assert_eq(s->dns.asked, 0);
    cr_assert_eq(s->f->sink.update_count, 0);
    cr_assert_not_null(strstr(s->f->sink.error.message, "/etc/nsswitch.conf says \"hosts: files"), "%s",
                       s->f->sink.error.message);
    scene_destroy(s);
    s = scene_create("", NULL);
    s->texts.nsswitch = "hosts: files mymachines resolve [!UNAVAIL=return] dns myhostname\n";
    set(s, "b", "10.0.0.1", "");
    open_now(s, "dns:///b:1");
    expect(s, "10.0.0.1:1");
}

/* Whatever stands in the line `hosts:` of nsswitch.conf: each of both families comes from the expected service. */
Test(search, n15_services_of_nsswitch_in_their_order)
{
    static const struct {
        const char *line, *both, *file_only, *dns_only; /* where each name is found; "-": NXDOMAIN or an error */
    } cases[] = {
        {"hosts: files dns", "file", "file", "dns"},
        {"hosts:dns files", "dns", "file", "dns"},
        {"hosts: dns [!UNAVAIL=return] files", "dns", "-", "dns"},
        {"hosts: dns [NOTFOUND=return] files", "dns", "-", "dns"},
        {"hosts: dns [ UNAVAIL = return ] files", "dns", "file", "dns"},
        {"hosts: files [NOTFOUND=return] dns", "file", "file", "-"},
        {"hosts: files [!UNAVAIL=return] dns", "file", "file", "-"},
        {"hosts: files[notfound=RETURN]dns", "file", "file", "-"},
        {"hosts: files [SUCCESS=return NOTFOUND=continue] dns", "file", "file", "dns"},
        {"hosts: files mdns4_minimal [NOTFOUND=return] dns", "file", "file", "dns"},
        {"hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns", "file", "file", "dns"},
        {"hosts: dns", "dns", "-", "dns"},
        {"hosts: nis [NOTFOUND=return]", "file", "file", "dns"},
        {"hosts: files [NOTFOUND=return", "file", "file", "-"},
        {"hosts:", "file", "file", "dns"},
        {"#hosts: dns\r\n\thosts: dns files\r", "dns", "file", "dns"},
    };
    static const char *const names[] = {"both", "file-only", "dns-only"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *expected[] = {cases[i].both, cases[i].file_only, cases[i].dns_only};
        for (int j = 0; j < 3; j++) {
            struct scene *s = scene_create("", "10.0.0.1 both file-only\n");
            char target[64];
            s->texts.nsswitch = cases[i].line;
            set(s, "both", "10.0.0.2", "");
            set(s, "dns-only", "10.0.0.2", "");
            snprintf(target, sizeof target, "dns:///%s:1", names[j]);
            open_now(s, target);
            cr_expect_str_eq(s->f->sink.addresses,
                             strcmp(expected[j], "file") == 0  ? "10.0.0.1:1"
                             : strcmp(expected[j], "dns") == 0 ? "10.0.0.2:1"
                                                               : "",
                             "%s: %s: %s", cases[i].line, names[j], s->f->sink.addresses);
            scene_destroy(s);
        }
    }
}

/* A line that begins far to the right ends with its last word: the next line is not part of it. */
Test(search, n15_nsswitch_line_behind_many_blanks)
{
    char text[300];
    evener_dns_services services;
    snprintf(text, sizeof text, "%250shosts: dns\n files\n", "");
    evener_dns_services_parse(text, &services);
    cr_assert_str_eq(services.line, "hosts: dns", "%s", services.line);
    cr_assert_eq(services.hosts, EVENER_DNS_HOSTS_NO);
    cr_assert(services.dns);
}

/* A line of any length is read to its end; messages show its beginning. */
Test(search, n15_nsswitch_line_of_any_length)
{
    static const struct {
        const char *before, *after;
    } lines[] = {
        {"files", "[NOTFOUND=return] dns"},
        {"files [", "NOTFOUND=return] dns"},
        {"files [NOTFOUND=", "return] dns # dns"},
    };
    char text[5000];
    evener_dns_services services;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        snprintf(text, sizeof text, "hosts: %s%4000s%s\n", lines[i].before, "", lines[i].after);
        evener_dns_services_parse(text, &services);
        cr_expect_eq(services.hosts, EVENER_DNS_HOSTS_FIRST, "%zu", i);
        cr_expect_not(services.dns, "%zu", i);
        cr_expect_eq(strlen(services.line), 103, "%zu: %s", i, services.line);
    }
    int used = snprintf(text, sizeof text, "hosts:");
    for (int i = 0; i < 300; i++) {
        used += snprintf(text + used, sizeof text - (size_t)used, " service%d", i);
    }
    snprintf(text + used, sizeof text - (size_t)used, " dns files");
    evener_dns_services_parse(text, &services);
    cr_assert_eq(services.hosts, EVENER_DNS_HOSTS_LAST);
    cr_assert(services.dns);
}

/* A hosts file without addresses of the family that is wanted does not stand for an answer of DNS, nor for its error. */
Test(search, n15_hosts_file_of_the_other_family_behind_dns)
{
    static const char *const lines[] = {"hosts: dns files\n", "hosts: dns [!UNAVAIL=return] files\n"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct scene *s = scene_create("", "fd00::1 x\n");
        s->texts.nsswitch = lines[i];
        set_option(s, "dns.family", "ipv4");
        set(s, "x", "!SERVFAIL", NULL);
        open_now(s, "dns:///x:1");
        cr_assert_eq(s->f->sink.update_count, 0);
        cr_assert_str_eq(s->f->sink.error.message, "dns: x: SERVFAIL", "%s", s->f->sink.error.message);
        scene_destroy(s);
    }
}

/* The hosts file behind DNS is the answer also while DNS fails, and is asked last in each round. */
Test(search, n15_hosts_file_behind_a_dns_that_fails)
{
    struct scene *s = scene_create("search a.example\n", "10.0.0.1 x\n");
    s->texts.nsswitch = "hosts: dns [!UNAVAIL=return] files\n";
    set(s, "x.a.example", "!SERVFAIL", "!SERVFAIL");
    set(s, "x", "!SERVFAIL", "!SERVFAIL");
    open_now(s, "dns:///x:1");
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:1", "%s", s->f->sink.error.message);
    set(s, "x", "10.0.0.2", "");
    virtual_loop_advance_ms(s->f->loop, 30000);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.2:1", "%s", s->f->sink.addresses);
    scene_destroy(s);
}

/* ---- N6: many names ---- */

Test(search, n6_queries_in_flight_are_bounded_and_the_queue_is_fair)
{
    struct scene *s = scene_create("", NULL);
    char target[4096] = "merge:";
    set(s, "x", "?", "?");
    for (int i = 0; i < 16; i++) {
        (void)snprintf(target + strlen(target), sizeof target - strlen(target), "%sdns:///n%d:1", i > 0 ? "|" : "", i);
        char name[16];
        (void)snprintf(name, sizeof name, "n%d", i);
        set(s, name, "?", "?");
    }
    set_option(s, "dns.in_flight_max", "4");
    set_option(s, "merge.wait_ms", "600000");
    open_now(s, target);
    cr_assert_eq(s->dns.in_flight, 4);
    virtual_loop_advance_ms(s->f->loop, 5000);
    cr_assert_eq(s->dns.in_flight, 4);
    cr_assert_eq(s->dns.asked, 8);
    cr_assert_eq(s->dns.in_flight_most, 4);
    scene_destroy(s);
}

/* The names of a file end one after the other: the places that they give back start no queries of those that follow. */
Test(search, n6_closing_many_names_asks_for_none_of_them)
{
    struct scene *s = scene_create("", NULL);
    char path[64], target[80];
    (void)snprintf(path, sizeof path, "/tmp/evener-names-%ld", (long)getpid());
    (void)snprintf(target, sizeof target, "file://%s", path);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    for (int i = 0; i < 30; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%d", i);
        set(s, name, "?", "?");
        fprintf(file, "n%d:1\n", i);
    }
    fclose(file);
    set_option(s, "dns.in_flight_max", "4");
    open_now(s, target);
    cr_assert_eq(s->dns.asked, 4);
    resolver_fixture_close(s->f);
    virtual_loop_advance_ms(s->f->loop, 10000);
    cr_assert_eq(s->dns.asked, 4);
    unlink(path);
    scene_destroy(s);
}
