/* Plans: what the files of the machine and the options make of one name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "resolver/dns/system.h"

static evener_dns_texts texts;
static evener_dns_options options;
static evener_dns_plan plan;

static void set_up(void)
{
    texts = (evener_dns_texts){.resolv_conf = "nameserver 10.0.0.2\n"};
    options = (evener_dns_options){.timeout_ms = 5000, .tries = 3};
}

static void tear_down(void)
{
    evener_dns_plan_clear(&plan);
}

TestSuite(dns_plan, .init = set_up, .fini = tear_down);

static void make(const char *name)
{
    evener_dns_system *system = evener_dns_system_create();
    cr_assert_not_null(system);
    evener_dns_plan_clear(&plan);
    cr_assert(evener_dns_system_plan(system, &texts, name, true, &options, &plan));
    evener_dns_system_destroy(system);
}

static const char *first(size_t family)
{
    return plan.local[family].record_count > 0 ? plan.local[family].records[0].text : plan.local[family].nothing;
}

Test(dns_plan, localhost_and_names_below_are_this_machine)
{
    static const char *const local[] = {"localhost", "LocalHost.", "a.localhost", "a.b.LOCALHOST."};
    static const char *const other[] = {"",         ".",          "t",           "localhos",
                                        "ocalhost", "alocalhost", "localhost.a", "localhost.."};
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++) {
        make(local[i]);
        cr_assert(plan.is_local, "%s", local[i]);
        cr_assert_str_eq(first(0), "127.0.0.1");
        cr_assert_eq(plan.local[0].record_count, 1);
        cr_assert_str_eq(plan.local[0].source, "localhost");
        cr_assert_eq(plan.names.count, 0);
    }
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        make(other[i]);
        cr_assert_not(plan.is_local, "%s", other[i]);
    }
}

Test(dns_plan, the_hosts_file_answers_for_both_families)
{
    texts.hosts = "10.0.0.9 a\nfd00::9 b\n10.0.0.8 localhost\n";
    make("a");
    cr_assert(plan.is_local);
    cr_assert_str_eq(first(0), "10.0.0.9");
    cr_assert_str_eq(first(1), "NODATA");
    cr_assert_null(plan.local[0].nothing);
    cr_assert_str_eq(plan.local[0].source, "hosts file");
    make("b");
    cr_assert_str_eq(first(0), "NODATA");
    cr_assert_str_eq(first(1), "fd00::9");
    make("localhost");
    cr_assert_str_eq(first(0), "10.0.0.8");
    make("c");
    cr_assert_not(plan.is_local);
    options.direct = true; /* a server in the target is asked itself */
    make("a");
    cr_assert_not(plan.is_local);
    options.direct = false;
    texts.nsswitch = "hosts: dns";
    make("a");
    cr_assert_not(plan.is_local);
    cr_assert_eq(plan.then_local, EVENER_DNS_NEVER_LOCAL);
    make("localhost");
    cr_assert_str_eq(first(0), "127.0.0.1");
}

Test(dns_plan, the_hosts_file_may_come_behind_dns)
{
    texts.hosts = "10.0.0.9 a localhost\n";
    texts.nsswitch = "hosts: dns files";
    make("a");
    cr_assert_not(plan.is_local);
    cr_assert_eq(plan.then_local, EVENER_DNS_THEN_LOCAL);
    cr_assert_str_eq(first(0), "10.0.0.9");
    cr_assert_eq(plan.names.count, 1);
    make("b");
    cr_assert_eq(plan.then_local, EVENER_DNS_NEVER_LOCAL);
    make("localhost"); /* DNS is not asked for it */
    cr_assert(plan.is_local);
    texts.nsswitch = "hosts: dns [!UNAVAIL=return] files";
    make("a");
    cr_assert_eq(plan.then_local, EVENER_DNS_IF_UNAVAILABLE);
    texts.nsswitch = "hosts: files dns";
    make("a");
    cr_assert(plan.is_local);
    cr_assert_eq(plan.then_local, EVENER_DNS_NEVER_LOCAL);
}

Test(dns_plan, without_dns_only_servers_of_the_options_are_asked)
{
    texts.nsswitch = "hosts: files";
    make("a");
    cr_assert_eq(plan.status.code, EVENER_STATUS_UNAVAILABLE);
    cr_assert_not_null(strstr(plan.status.message, "says \"hosts: files\""), "%s", plan.status.message);
    cr_assert_eq(plan.names.count, 0);
    (void)snprintf(options.servers, sizeof options.servers, "10.0.0.3:53");
    make("a");
    cr_assert_eq(plan.status.code, EVENER_STATUS_OK);
    cr_assert_eq(plan.names.count, 1);
    cr_assert_str_eq(plan.servers, "10.0.0.3:53");
    options.servers[0] = '\0';
    texts.nsswitch = NULL;
    make("a");
    cr_assert_str_eq(plan.servers, "10.0.0.2:53");
}

Test(dns_plan, flags_of_resolv_conf_do_not_count_for_a_server_of_the_target)
{
    static const char *const flags[] = {"", "rotate", "use-vc", "no-aaaa"};
    for (size_t i = 0; i < 4; i++) {
        for (int direct = 0; direct < 2; direct++) {
            char text[64];
            (void)snprintf(text, sizeof text, "options %s\n", flags[i]);
            texts.resolv_conf = text;
            options.direct = direct == 1;
            make("a");
            cr_assert_eq(plan.rotate, i == 1 && !options.direct);
            cr_assert_eq(plan.use_tcp, i == 2 && !options.direct);
            cr_assert_eq(plan.no_aaaa, i == 3 && !options.direct);
        }
    }
}

Test(dns_plan, times_are_those_of_the_options_or_of_resolv_conf)
{
    make("a");
    cr_assert_eq(plan.tries, 3);
    cr_assert_eq(plan.timeout_ms, 5000);
    cr_assert_eq(plan.try_ms, 0);
    texts.resolv_conf = "nameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\noptions timeout:2 attempts:4\n";
    make("a");
    cr_assert_eq(plan.tries, 4);
    cr_assert_eq(plan.try_ms, 2000);
    cr_assert_eq(plan.timeout_ms, 2000 * 4 * 3);
    options.tries_set = true;
    make("a");
    cr_assert_eq(plan.tries, 3);
    cr_assert_eq(plan.timeout_ms, 2000 * 3 * 3);
    options.timeout_set = true;
    make("a");
    cr_assert_eq(plan.try_ms, 0);
    cr_assert_eq(plan.timeout_ms, 5000);
    options.tries_set = options.timeout_set = false;
    options.direct = true;
    make("a");
    cr_assert_eq(plan.tries, 3);
    cr_assert_eq(plan.try_ms, 0);
    cr_assert_eq(plan.timeout_ms, 5000);
}

Test(dns_plan, absolute_names_are_not_searched)
{
    texts.resolv_conf = "search x\n";
    make("a");
    cr_assert_eq(plan.names.count, 2);
    options.absolute = true;
    make("a");
    cr_assert_eq(plan.names.count, 1);
    options.absolute = false;
    options.direct = true;
    make("a");
    cr_assert_eq(plan.names.count, 1);
}

Test(dns_plan, a_cleared_plan_is_empty)
{
    texts.hosts = "10.0.0.9 a\n";
    make("a");
    cr_assert(plan.is_local);
    evener_dns_plan_clear(&plan);
    cr_assert_not(plan.is_local);
    cr_assert_eq(plan.local[0].record_count, 0);
    texts.nsswitch = "hosts: dns files";
    make("a");
    cr_assert_eq(plan.then_local, EVENER_DNS_THEN_LOCAL);
    evener_dns_plan_clear(&plan);
    cr_assert_eq(plan.then_local, EVENER_DNS_NEVER_LOCAL);
    cr_assert(plan.names.names == NULL && plan.names.count == 0);
}
