/* SRV records and TXT service configs with scripted answers on the virtual loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "resolver/dns/choice.h"
#include "tests/support/failing_memory.h"
#include "tests/support/fake_dns_client.h"
#include "tests/support/resolver_fixture.h"

#define SERVICE "_grpc._tcp.orders.prod"

struct scene {
    fake_dns_client dns;
    resolver_fixture *f;
    evener_attribute options[2];
};

static struct scene *scene_create(void)
{
    struct scene *s = calloc(1, sizeof *s);
    cr_assert_not_null(s);
    fake_dns_client_init(&s->dns);
    s->f = resolver_fixture_create();
    s->f->set = s->dns.set;
    s->f->options = s->options;
    fake_dns_set(&s->dns, EVENER_DNS_A, "a.prod", "10.0.0.1", 30);
    fake_dns_set(&s->dns, EVENER_DNS_A, "b.prod", "10.0.0.2", 30);
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

static void expect(const char *records, const char *addresses)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, records, 30);
    open_now(s, "srv:///" SERVICE);
    cr_assert_str_eq(s->f->sink.addresses, addresses, "%s: %s", records, s->f->sink.addresses);
    cr_assert_eq(s->f->sink.ttl_ms, 30000);
    scene_destroy(s);
}

/* RFC 2782 */
Test(srv, ports_and_weights)
{
    expect("0 3 80 a.prod,0 1 81 b.prod", "10.0.0.1:80;priority=0;weight=3,10.0.0.2:81;priority=0;weight=1");
    expect("7 0 80 a.prod,7 0 80 b.prod", "10.0.0.1:80;priority=0;weight=1,10.0.0.2:80;priority=0;weight=1");
    expect("0 5 80 a.prod,0 0 80 b.prod", "10.0.0.1:80;priority=0;weight=500,10.0.0.2:80;priority=0;weight=1");
    expect("0 1 80 a.prod,0 1 81 a.prod", "10.0.0.1:80;priority=0;weight=1,10.0.0.1:81;priority=0;weight=1");
}

/* Nothing but a weight, a priority or a port changes: that is news, too. */
static void expect_after_refresh(const char *records, const char *addresses)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "0 3 80 a.prod,0 1 81 b.prod", 30);
    open_now(s, "srv:///" SERVICE);
    cr_assert_eq(s->f->sink.update_count, 1);
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, records, 30);
    virtual_loop_advance_ms(s->f->loop, 30001);
    cr_expect_str_eq(s->f->sink.addresses, addresses, "%s: %s", records, s->f->sink.addresses);
    scene_destroy(s);
}

Test(srv, a_change_of_one_number_is_pushed)
{
    expect_after_refresh("0 5 80 a.prod,0 1 81 b.prod",
                         "10.0.0.1:80;priority=0;weight=5,10.0.0.2:81;priority=0;weight=1");
    expect_after_refresh("0 3 80 a.prod,0 1 82 b.prod",
                         "10.0.0.1:80;priority=0;weight=3,10.0.0.2:82;priority=0;weight=1");
    expect_after_refresh("1 3 80 a.prod,0 1 81 b.prod", "10.0.0.2:81;priority=0;weight=1");
}

/* A target's weight is shared among its addresses. */
Test(srv, weight_is_shared_among_addresses)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_A, "a.prod", "10.0.0.1,10.0.0.3", 30);
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "0 1 80 a.prod,0 1 80 b.prod", 30);
    open_now(s, "dns:///" SERVICE);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:80;priority=0;weight=50,10.0.0.3:80;priority=0;weight=50,"
                                           "10.0.0.2:80;priority=0;weight=100");
    scene_destroy(s);
}

Test(srv, first_tier_with_addresses_serves)
{
    expect("20 1 80 b.prod,10 1 80 a.prod", "10.0.0.1:80;priority=0;weight=1");
    expect("20 1 80 b.prod,10 1 80 gone.prod", "10.0.0.2:80;priority=1;weight=1");
}

Test(srv, all_tiers_when_asked_for)
{
    struct scene *s = scene_create();
    s->options[0] = (evener_attribute){"dns.srv_tiers", "all"};
    s->f->option_count = 1;
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "20 1 80 b.prod,10 1 80 a.prod", 30);
    open_now(s, "srv:///" SERVICE);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:80;priority=0;weight=1,10.0.0.2:80;priority=1;weight=1");
    scene_destroy(s);
}

Test(srv, tier_comes_back)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_A, "a.prod", "NXDOMAIN", 2);
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "10 1 80 a.prod,20 1 80 b.prod", 60);
    open_now(s, "srv:///" SERVICE);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.2:80;priority=1;weight=1");
    fake_dns_set(&s->dns, EVENER_DNS_A, "a.prod", "10.0.0.1", 30);
    virtual_loop_advance_ms(s->f->loop, 2000);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:80;priority=0;weight=1");
    scene_destroy(s);
}

Test(srv, records_change)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "0 1 80 a.prod", 2);
    open_now(s, "srv:///" SERVICE);
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "0 1 80 b.prod,0 1 80 a.prod", 2);
    virtual_loop_advance_ms(s->f->loop, 2000);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.2:80;priority=0;weight=1,10.0.0.1:80;priority=0;weight=1");
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "0 1 80 b.prod", 2);
    virtual_loop_advance_ms(s->f->loop, 2000);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.2:80;priority=0;weight=1");
    scene_destroy(s);
}

/* The addresses of a target that another service has are known at once: the list is pushed once, when it is whole. */
Test(srv, targets_whose_addresses_are_known_are_pushed_once)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "0 1 80 a.prod,0 1 80 b.prod", 3600);
    fake_dns_set(&s->dns, EVENER_DNS_SRV, "_x._tcp.y", "0 1 81 a.prod", 2);
    fake_dns_set(&s->dns, EVENER_DNS_A, "a.prod", "10.0.0.1", 3600);
    fake_dns_set(&s->dns, EVENER_DNS_A, "b.prod", "10.0.0.2", 3600);
    open_now(s, "merge:srv:///" SERVICE "|srv:///_x._tcp.y");
    cr_assert_eq(s->f->sink.address_count, 3, "%s", s->f->sink.addresses);
    const size_t updates = s->f->sink.update_count;
    fake_dns_set(&s->dns, EVENER_DNS_SRV, "_x._tcp.y", "0 1 81 a.prod,0 1 81 b.prod", 3600);
    virtual_loop_advance_ms(s->f->loop, 2000);
    cr_assert_eq(s->f->sink.address_count, 4, "%s", s->f->sink.addresses);
    cr_assert_eq(s->f->sink.update_count, updates + 1);
    scene_destroy(s);
}

Test(srv, slow_target_holds_the_others_up_for_50_ms)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_A, "b.prod", "10.0.0.2", 30)->latency_ms = 900;
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "0 1 80 a.prod,0 1 80 b.prod", 30);
    open_now(s, "srv:///" SERVICE);
    cr_assert_eq(s->f->sink.update_count, 0);
    virtual_loop_advance_ms(s->f->loop, 50);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:80;priority=0;weight=1");
    virtual_loop_advance_ms(s->f->loop, 850);
    cr_assert_eq(s->f->sink.address_count, 2);
    scene_destroy(s);
}

Test(srv, nothing_is_empty_and_failure_an_error)
{
    struct scene *s = scene_create();
    open_now(s, "srv:///" SERVICE);
    cr_assert_eq(s->f->sink.update_count, 1);
    cr_assert_eq(s->f->sink.address_count, 0);
    resolver_fixture_close(s->f);
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "!SERVFAIL", 30);
    open_now(s, "srv:///" SERVICE);
    cr_assert_str_eq(s->f->sink.error.message, "dns: " SERVICE ": SERVFAIL");
    resolver_fixture_close(s->f);
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "0 1 80 c.prod", 30);
    fake_dns_set(&s->dns, EVENER_DNS_A, "c.prod", "!REFUSED", 30);
    fake_dns_set(&s->dns, EVENER_DNS_AAAA, "c.prod", "!REFUSED", 30);
    open_now(s, "srv:///" SERVICE);
    cr_assert_str_eq(s->f->sink.error.message, "dns: c.prod: REFUSED");
    scene_destroy(s);
}

/* N11: all targets are used; how many queries are in flight is bounded (N6). */
Test(srv, n11_more_than_64_targets_are_followed)
{
    struct scene *s = scene_create();
    char records[1024] = "";
    for (int i = 0; i < 80; i++) {
        (void)snprintf(records + strlen(records), sizeof records - strlen(records), "%s0 0 1 t%d", i > 0 ? "," : "", i);
    }
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, records, 30);
    fake_dns_set(&s->dns, EVENER_DNS_A, "t79", "10.0.0.79", 30);
    open_now(s, "srv:///" SERVICE);
    cr_assert_eq(s->dns.asked, 1 + 2 * 80);
    cr_assert_eq(s->dns.in_flight_most, 64);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.79:1;priority=0;weight=1");
    scene_destroy(s);
}

/* Return how many allocations it takes to follow targets that answer one by one, within the time that a tier settles. */
static uint64_t allocations_for(int targets)
{
    struct scene *s = scene_create();
    char records[1024] = "", name[16], address[32];
    for (int i = 0; i < targets; i++) {
        (void)snprintf(records + strlen(records), sizeof records - strlen(records), "%s0 0 1 t%d", i > 0 ? "," : "", i);
        (void)snprintf(name, sizeof name, "t%d", i);
        (void)snprintf(address, sizeof address, "10.0.0.%d", i);
        fake_dns_set(&s->dns, EVENER_DNS_A, name, address, 30)->latency_ms = 1 + (uint64_t)i / 2;
    }
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, records, 30);
    failing_memory_arm(0, false);
    open_now(s, "srv:///" SERVICE);
    virtual_loop_advance_ms(s->f->loop, 100);
    const uint64_t allocations = failing_memory_disarm();
    cr_assert_eq(s->f->sink.update_count, 1);
    cr_assert_eq(s->f->sink.address_count, (size_t)targets);
    scene_destroy(s);
    return allocations;
}

Test(srv, the_work_for_targets_that_answer_one_by_one_is_linear)
{
    cr_assert_lt(allocations_for(60), 6 * allocations_for(15));
}

/* ---- refused updates ---- */

/* include/evener/resolver.h: a resolver whose update is not accepted backs off and retries. Here the lookups know
 * nothing of the refusal: the push comes from the timer that waits for slow targets, or with a target's error. */
static void expect_pushed_again_until_accepted(const char *b_answer, uint64_t b_latency_ms)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_A, "a.prod", "10.0.0.1", 3600);
    fake_dns_set(&s->dns, EVENER_DNS_A, "b.prod", b_answer, 3600)->latency_ms = b_latency_ms;
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "0 1 80 a.prod,0 1 80 b.prod", 3600);
    s->f->sink.refuse = true;
    open_now(s, "srv:///" SERVICE);
    virtual_loop_advance_ms(s->f->loop, 50);
    cr_assert_eq(s->f->sink.update_count, 1);
    virtual_loop_advance_ms(s->f->loop, 700);
    cr_assert_eq(s->f->sink.update_count, 1);
    virtual_loop_advance_ms(s->f->loop, 600);
    cr_assert_eq(s->f->sink.update_count, 2);
    s->f->sink.refuse = false;
    virtual_loop_advance_ms(s->f->loop, 2000);
    cr_assert_eq(s->f->sink.update_count, 3);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:80;priority=0;weight=1");
    virtual_loop_advance_ms(s->f->loop, 600000);
    cr_assert_eq(s->f->sink.update_count, 3, "it was accepted");
    scene_destroy(s);
}

Test(srv, refused_list_is_pushed_again_until_it_is_accepted)
{
    expect_pushed_again_until_accepted("NXDOMAIN", 3000000); /* pushed without it after 50 ms */
    expect_pushed_again_until_accepted("!REFUSED", 20);      /* pushed when it fails */
}

Test(srv, hints_end_the_backoff_of_a_refused_list)
{
    for (size_t i = 0; i < 2; i++) {
        struct scene *s = scene_create();
        fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "0 1 80 a.prod,0 1 80 b.prod", 3600);
        fake_dns_set(&s->dns, EVENER_DNS_A, "b.prod", "!REFUSED", 3600)->latency_ms = 20;
        s->f->sink.refuse = true;
        open_now(s, "srv:///" SERVICE);
        virtual_loop_advance_ms(s->f->loop, 20);
        cr_assert_eq(s->f->sink.update_count, 1);
        s->f->sink.refuse = false;
        if (i == 0) {
            s->f->resolver->vtable->resolve_now(s->f->resolver);
        } else {
            evener_resolver_reset_backoff(s->f->resolver);
        }
        cr_assert_eq(s->f->sink.update_count, 1, "never from inside");
        virtual_loop_run_until_idle(s->f->loop);
        cr_assert_eq(s->f->sink.update_count, 2);
        scene_destroy(s);
    }
}

Test(srv, a_list_that_follows_a_refused_one_is_pushed_once)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "0 1 80 a.prod,0 1 80 b.prod", 3600);
    fake_dns_set(&s->dns, EVENER_DNS_A, "a.prod", "10.0.0.1", 3600);
    fake_dns_set(&s->dns, EVENER_DNS_A, "b.prod", "10.0.0.2", 3600)->latency_ms = 500;
    s->f->sink.refuse = true;
    open_now(s, "srv:///" SERVICE);
    virtual_loop_advance_ms(s->f->loop, 50);
    cr_assert_eq(s->f->sink.update_count, 1);
    s->f->sink.refuse = false;
    virtual_loop_advance_ms(s->f->loop, 450);
    cr_assert_eq(s->f->sink.address_count, 2);
    virtual_loop_advance_ms(s->f->loop, 10000);
    cr_assert_eq(s->f->sink.update_count, 2);
    scene_destroy(s);
}

Test(srv, close_while_a_list_is_refused)
{
    struct scene *s = scene_create();
    fake_dns_set(&s->dns, EVENER_DNS_SRV, SERVICE, "0 1 80 a.prod", 3600);
    s->f->sink.refuse = true;
    open_now(s, "srv:///" SERVICE);
    resolver_fixture_close(s->f);
    virtual_loop_advance_ms(s->f->loop, 10000);
    cr_assert_eq(s->f->sink.update_count, 1);
    scene_destroy(s);
}

static void fails(const char *target, const char *reason)
{
    struct scene *s = scene_create();
    cr_assert_eq(resolver_fixture_build(s->f, target), EVENER_STATUS_INVALID_ARGUMENT, "%s", target);
    cr_assert_not_null(strstr(s->f->status.message, reason), "\"%s\": %s", target, s->f->status.message);
    scene_destroy(s);
}

Test(srv, bad_targets)
{
    fails("srv:///orders.prod", "_service._protocol.name");
    fails("srv:///" SERVICE ":80", "no port");
    fails("srv://ns/" SERVICE, "IP address");
    fails("srv:///_a._b.c%01d", "only letters");
}

Test(srv, authority_is_the_domain)
{
    static const char *const targets[] = {"srv:///" SERVICE, "dns:///" SERVICE};
    for (size_t i = 0; i < 2; i++) {
        evener_target *target;
        const evener_resolver_builder *builder;
        char authority[64];
        cr_assert_eq(evener_resolver_lookup(NULL, targets[i], &target, &builder, NULL), EVENER_STATUS_OK);
        cr_assert_eq(builder->default_authority(builder, target, authority, sizeof authority, NULL), EVENER_STATUS_OK);
        cr_assert_str_eq(authority, "orders.prod");
        evener_target_destroy(target);
    }
}

/* ---- A2 ---- */

static void chooses(const char *text, const char *expected)
{
    char *config = NULL;
    evener_status status = {.message = ""};
    cr_assert_eq(evener_dns_choice_read(text, "web-1", 10, &config, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_str_eq(config != NULL ? config : "none", expected);
    free(config);
}

static void refuses(const char *text, const char *reason)
{
    char *config = NULL;
    evener_status status = {.message = ""};
    cr_assert_eq(evener_dns_choice_read(text, "web-1", 10, &config, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_not_null(strstr(status.message, reason), "%s", status.message);
    cr_assert_null(config);
}

Test(txt_choice, first_that_fits)
{
    chooses("[]", "none");
    chooses("[{\"serviceConfig\":{\"a\":1}},{\"serviceConfig\":{}}]", "{\"a\":1}");
    chooses("[{\"clientLanguage\":[\"java\"],\"serviceConfig\":{\"a\":1}},{\"serviceConfig\":{}}]", "{}");
    chooses("[{\"clientLanguage\":[\"go\",\"C++\"],\"serviceConfig\":{\"a\":1}}]", "{\"a\":1}");
    chooses("[{\"percentage\":10,\"serviceConfig\":{}}]", "none");
    chooses("[{\"percentage\":11,\"serviceConfig\":{}}]", "{}");
    chooses("[{\"percentage\":0,\"serviceConfig\":{}}]", "none");
    chooses("[{\"percentage\":100,\"serviceConfig\":{}}]", "{}");
    chooses("[{\"clientHostname\":[\"db-1\",\"WEB-1\"],\"serviceConfig\":{}}]", "{}");
    chooses("[{\"clientHostname\":[\"db-1\"],\"serviceConfig\":{}}]", "none");
    chooses("[{\"clientHostname\":[],\"later\":true,\"serviceConfig\":{}}]", "{}");
}

Test(txt_choice, malformed)
{
    refuses("", "byte");
    refuses("{}", "not a list");
    refuses("[1]", "choice 1: it is not an object");
    refuses("[{\"serviceConfig\":{}},{}]", "choice 2: serviceConfig is missing");
    refuses("[{\"percentage\":101,\"serviceConfig\":{}}]", "percentage");
    refuses("[{\"percentage\":\"1\",\"serviceConfig\":{}}]", "percentage");
    refuses("[{\"clientLanguage\":\"c\",\"serviceConfig\":{}}]", "clientLanguage is not a list");
    refuses("[{\"clientHostname\":[1],\"serviceConfig\":{}}]", "clientHostname contains something");
}

Test(txt, off_by_default)
{
    struct scene *s = scene_create();
    fake_dns_script *txt = fake_dns_set(&s->dns, EVENER_DNS_TXT, "_grpc_config.a.prod", "grpc_config=[]", 30);
    open_now(s, "dns:///a.prod");
    cr_assert_eq(txt->asked, 0);
    cr_assert_eq(s->f->sink.update_count, 1);
    scene_destroy(s);
}

Test(txt, config_comes_with_the_first_addresses_and_is_followed)
{
    struct scene *s = scene_create();
    s->options[0] = (evener_attribute){"dns.txt_service_config", "true"};
    s->f->option_count = 1;
    fake_dns_set(&s->dns, EVENER_DNS_TXT, "_grpc_config.a.prod",
                 "v=spf1\ngrpc_config=[{\"serviceConfig\":{\"loadBalancingPolicy\":\"round_robin\"}}]", 2)
        ->latency_ms = 100;
    open_now(s, "dns:///a.prod");
    cr_assert_eq(s->f->sink.update_count, 0);
    virtual_loop_advance_ms(s->f->loop, 100);
    cr_assert_eq(s->f->sink.update_count, 1);
    cr_assert_str_eq(s->f->sink.service_config, "{\"loadBalancingPolicy\":\"round_robin\"}");
    fake_dns_set(&s->dns, EVENER_DNS_TXT, "_grpc_config.a.prod", "grpc_config=[{\"serviceConfig\":{}}]", 2);
    virtual_loop_advance_ms(s->f->loop, 2200);
    cr_assert_str_eq(s->f->sink.service_config, "{}");
    fake_dns_set(&s->dns, EVENER_DNS_TXT, "_grpc_config.a.prod", "grpc_config=[", 2);
    virtual_loop_advance_ms(s->f->loop, 2200);
    cr_assert_eq(s->f->sink.service_config_error.code, EVENER_STATUS_INVALID_ARGUMENT);
    cr_assert_str_eq(s->f->sink.addresses, "10.0.0.1:443");
    scene_destroy(s);
}

/* As in the C core: without a TXT record the addresses are used. */
Test(txt, missing_or_failing_is_none)
{
    static const char *const answers[] = {"NXDOMAIN", "!SERVFAIL", "?"};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct scene *s = scene_create();
        s->options[0] = (evener_attribute){"dns.txt_service_config", "true"};
        s->f->option_count = 1;
        fake_dns_set(&s->dns, EVENER_DNS_TXT, "_grpc_config.a.prod", answers[i], 2);
        open_now(s, "dns:///a.prod");
        virtual_loop_advance_ms(s->f->loop, 5000);
        cr_assert_eq(s->f->sink.update_count, 1, "%s", answers[i]);
        cr_assert_eq(s->f->sink.service_config_error.code, EVENER_STATUS_OK);
        cr_assert_eq(s->f->sink.error_count, 0);
        scene_destroy(s);
    }
}
