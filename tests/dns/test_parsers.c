/* The parsers below the DNS resolver, each at its limits: names, servers, resolv.conf, hosts files, nsswitch.conf, the
 * choice of a service config. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "resolver/dns/choice.h"
#include "resolver/dns/hosts_file.h"
#include "resolver/dns/name.h"
#include "resolver/dns/nsswitch.h"
#include "resolver/dns/resolv_conf.h"

/* ---- names ---- */

/* Write a name of labels of 63 bytes, and a last one, of `bytes` bytes in total. */
static char *long_name(size_t bytes, char name[512])
{
    for (size_t i = 0; i < bytes; i++) {
        name[i] = i % 64 == 63 ? '.' : 'a';
    }
    name[bytes] = '\0';
    return name;
}

Test(dns_names, names_are_letters_digits_hyphens_and_labels_of_63)
{
    static const char *const good[] = {"a", "z", "A", "Z", "0", "9", "-", "_", "a.b", "a.", "_grpc._tcp.a.b."};
    static const char *const bad[] = {"",  ".", "..", ".a", "a..b", "a..",   "@",        "[",
                                      "`", "{", "/",  ":",  "a b",  "a\x01", "\xc3\xa9", "a,b"};
    char name[512];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert_null(evener_dns_name_problem(good[i]), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not_null(evener_dns_name_problem(bad[i]), "%s", bad[i]);
    }
    cr_assert_null(evener_dns_name_problem(long_name(63, name)));
    cr_assert_null(evener_dns_name_problem(long_name(253, name)));
    cr_assert_str_eq(evener_dns_name_problem(long_name(254, name)), "it is longer than 253 bytes");
    cr_assert_str_eq(evener_dns_name_problem(long_name(255, name)), "it is longer than 253 bytes");
    long_name(254, name)[253] = '.';
    cr_assert_null(evener_dns_name_problem(name));
    long_name(255, name)[254] = '.';
    cr_assert_str_eq(evener_dns_name_problem(name), "it is longer than 253 bytes");
    long_name(64, name)[63] = 'a';
    cr_assert_str_eq(evener_dns_name_problem(name), "a label is longer than 63 bytes");
}

Test(dns_names, services_begin_with_two_underscores)
{
    cr_assert(evener_dns_is_service("_grpc._tcp.orders.prod"));
    cr_assert(evener_dns_is_service("_grpc._tcp.a"));
    cr_assert_not(evener_dns_is_service("_grpc._tcp"));
    cr_assert_not(evener_dns_is_service("grpc._tcp.a"));
    cr_assert_not(evener_dns_is_service("_grpc.tcp.a"));
    cr_assert_not(evener_dns_is_service("_grpc"));
}

static void expect_host(const char *text, const char *expected)
{
    evener_dns_host host;
    evener_status status;
    char got[400] = "refused";
    if (evener_dns_host_parse(text, 443, &host, &status) == EVENER_STATUS_OK) {
        (void)snprintf(got, sizeof got, "%s %u%s", host.name, host.port, host.literal ? " literal" : "");
    } else {
        cr_assert_eq(status.code, EVENER_STATUS_INVALID_ARGUMENT);
    }
    cr_assert_str_eq(got, expected, "%s: %s", text, got);
}

Test(dns_names, hosts_with_and_without_ports)
{
    char name[512], text[600], expected[600];
    expect_host("a", "a 443");
    expect_host("a:1", "a 1");
    expect_host("a:65535", "a 65535");
    expect_host("a:00080", "a 80");
    expect_host("a.b.", "a.b. 443");
    expect_host(":80", "localhost 80");
    expect_host("10.0.0.1", "10.0.0.1 443 literal");
    expect_host("10.0.0.1:81", "10.0.0.1 81 literal");
    expect_host("::1", "::1 443 literal");
    expect_host("[::1]", "::1 443 literal");
    expect_host("[::1]:82", "::1 82 literal");
    expect_host("[fe80::1%lo]:82", "fe80::1%lo 82 literal");
    expect_host("a1", "a1 443");
    static const char *const refused[] = {"",       "a:",    "a:0",        "a:65536",  "a:000080",  "a:100000",
                                          "a:x",    "a:8x",  "a:-1",       "a:+1",     "[::1",      "[::1]x",
                                          "[::1]:", "[]",    "[]:80",      "[a]",      "[1.2.3.4]", "[::1]80",
                                          "1",      "1.2.3", "1.2.3.4.5",  "1.2.3:80", "256.1.1.1", "::1%[",
                                          "a b",    "a..b",  "1.2.3.4%lo", "[::1]:0"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        expect_host(refused[i], "refused");
    }
    (void)snprintf(text, sizeof text, "%s:65535", long_name(253, name));
    (void)snprintf(expected, sizeof expected, "%s 65535", name);
    expect_host(text, expected);
    expect_host(long_name(300, name), "refused");
}

Test(dns_names, a_refusal_shows_at_most_79_bytes_of_the_text_and_no_control_characters)
{
    evener_dns_host host;
    evener_status status;
    char text[512], expected[600];
    memset(text, 'x', 400);
    text[0] = '\x1f';
    text[1] = '\x7f';
    text[2] = ' ';
    text[400] = '\0';
    (void)evener_dns_host_parse(text, 443, &host, &status);
    memcpy(text, "?? ", 3);
    (void)snprintf(expected, sizeof expected, "dns: \"%.79s\": it is longer than a name can be", text);
    cr_assert_str_eq(status.message, expected);
}

static void expect_servers(const char *text, const char *expected)
{
    char servers[EVENER_DNS_SERVERS_BYTES_MAX] = "refused";
    evener_status status;
    (void)evener_dns_servers_parse(text, servers, &status);
    cr_assert_str_eq(servers, expected, "%s: %s", text, servers);
}

Test(dns_names, servers_are_addresses_with_ports)
{
    expect_servers("10.0.0.2", "10.0.0.2:53");
    expect_servers("10.0.0.2:54,[fd00::2]:55 fd00::3", "10.0.0.2:54,[fd00::2]:55,[fd00::3]:53");
    expect_servers(", 10.0.0.2 ,,", "10.0.0.2:53");
    expect_servers("0.0.0.0", "127.0.0.1:53");
    expect_servers("::", "[::1]:53");
    expect_servers("[::]:54", "[::1]:54");
    expect_servers("::1", "[::1]:53");
    expect_servers("fe80::1%lo", "[fe80::1%lo]:53");
    expect_servers("fe80::1%1", "[fe80::1%1]:53");
    static const char *const refused[] = {"",
                                          " ,",
                                          "dns.example",
                                          ":53",
                                          "10.0.0.2,dns.example",
                                          "fe80::1",
                                          "fe80::1%no-such-interface",
                                          "fe80::1%",
                                          "fe80::1%1x",
                                          "10.0.0.1,fe80::1"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        expect_servers(refused[i], "refused");
    }
}

Test(dns_names, a_list_of_servers_fits_or_is_refused)
{
    static const char *const last[] = {"[fd00::1:111]:53", "[fd00::1:1111]:53", "[fd00::11:1111]:53"};
    char text[600] = "";
    size_t used = 0;
    for (int i = 0; i < 38; i++) { /* 13 bytes each */
        used += (size_t)snprintf(text + used, sizeof text - used, "10.0.0.1%d:53,", i % 10);
    }
    for (size_t i = 0; i < 3; i++) { /* 510, 511 and 512 bytes */
        char servers[EVENER_DNS_SERVERS_BYTES_MAX] = "unchanged";
        evener_status status;
        (void)snprintf(text + used, sizeof text - used, "%s", last[i]);
        const bool fits = strlen(text) < sizeof servers;
        cr_assert_eq(fits, i < 2);
        cr_assert_eq(evener_dns_servers_parse(text, servers, &status) == EVENER_STATUS_OK, fits, "%zu", strlen(text));
        cr_assert_str_eq(servers, fits ? text : "unchanged");
    }
}

/* ---- resolv.conf ---- */

static evener_dns_resolv_conf conf; /* large */

static void read_conf(const char *text, const char *local_domain, const char *options, const char *hostname)
{
    const evener_dns_environment environment = {local_domain, options, hostname};
    memset(&conf, 'x', sizeof conf);
    evener_dns_resolv_conf_parse(text, &environment, &conf);
}

static void expect_search(const char *expected)
{
    char got[4096] = "";
    for (size_t i = 0; i < conf.search_count; i++) {
        (void)snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i > 0 ? " " : "",
                       conf.search[i][0] != '\0' ? conf.search[i] : ".");
    }
    cr_assert_str_eq(got, expected);
}

Test(resolv_conf, an_empty_file_asks_this_machine)
{
    read_conf("", NULL, NULL, NULL);
    cr_assert_str_eq(conf.servers, "127.0.0.1:53");
    expect_search("");
    cr_assert_eq(conf.ndots, 1);
    cr_assert_eq(conf.timeout_s, 0);
    cr_assert_eq(conf.attempts, 0);
    cr_assert_not(conf.rotate || conf.use_vc || conf.no_aaaa || conf.no_tld_query);
    cr_assert_str_eq(conf.problem, "");
}

Test(resolv_conf, keywords_begin_the_line)
{
    read_conf("#nameserver 10.0.0.1\n;nameserver 10.0.0.2\n nameserver 10.0.0.3\n\tnameserver 10.0.0.4\n"
              "nameserver\n\nnameserver\t10.0.0.5 # behind\r\nnameservers 10.0.0.6\nnameserver   10.0.0.7",
              NULL, NULL, NULL);
    cr_assert_str_eq(conf.servers, "10.0.0.5:53,10.0.0.7:53");
    cr_assert_str_eq(conf.problem, "");
}

Test(resolv_conf, three_servers_are_used_and_the_first_problem_is_kept)
{
    read_conf("nameserver 10.0.0.1\nnameserver ::1\nnameserver 10.0.0.3\n", NULL, NULL, NULL);
    cr_assert_str_eq(conf.servers, "10.0.0.1:53,[::1]:53,10.0.0.3:53");
    cr_assert_str_eq(conf.problem, "");
    read_conf("nameserver 10.0.0.1\nnameserver ::1\nnameserver 10.0.0.3\nnameserver 10.0.0.4\nnameserver x\n", NULL,
              NULL, NULL);
    cr_assert_str_eq(conf.servers, "10.0.0.1:53,[::1]:53,10.0.0.3:53");
    cr_assert_str_eq(conf.problem, "line 4: \"10.0.0.4\" is ignored: at most 3 servers are used");
    read_conf("\nnameserver dns\x01\x7f\nnameserver 10.0.0.2", NULL, NULL, NULL);
    cr_assert_str_eq(conf.servers, "10.0.0.2:53");
    cr_assert_str_eq(conf.problem, "line 2: \"dns??\" is ignored: it is not an IP address");
    read_conf("nameserver fe80::1\n", NULL, NULL, NULL);
    cr_assert_str_eq(conf.servers, "127.0.0.1:53");
    cr_assert_not_null(strstr(conf.problem, "a link-local address needs its interface"), "%s", conf.problem);
    read_conf("nameserver 10.0.0.1,10.0.0.2\nnameserver [::1]\n", NULL, NULL, NULL);
    cr_assert_str_eq(conf.servers, "127.0.0.1:53");
}

Test(resolv_conf, a_long_word_is_shown_in_part)
{
    char text[600] = "nameserver ", expected[200];
    memset(text + 11, 'y', 500);
    read_conf(text, NULL, NULL, NULL);
    (void)snprintf(expected, sizeof expected, "line 1: \"%.63s\" is ignored: it is not an IP address", text + 11);
    cr_assert_str_eq(conf.problem, expected);
}

Test(resolv_conf, the_last_search_or_domain_line_counts)
{
    read_conf("search a.example b.example.\t.\ndomain c.example d.example\n", NULL, NULL, "me.host.example");
    expect_search("c.example");
    read_conf("domain c.example\nsearch a.example b.example. .\nsearch\nsearch  \n", NULL, NULL, "me.host.example");
    expect_search("a.example b.example .");
    read_conf("searching a.example\n", NULL, NULL, "me.host.example");
    expect_search("host.example");
    read_conf("", NULL, NULL, "me");
    expect_search("");
    read_conf("", NULL, NULL, "me.");
    expect_search("");
    read_conf("search a.example\n", "x.example y.example", NULL, "me.host.example");
    expect_search("x.example y.example");
    read_conf("search a.example\n", "", NULL, "me.host.example");
    expect_search("");
    read_conf("search a..example b.example\n", NULL, NULL, NULL);
    expect_search("b.example");
    cr_assert_str_eq(conf.problem, "line 1: \"a..example\" is ignored: it is not a domain");
}

Test(resolv_conf, thirty_two_search_domains_are_used)
{
    char text[2048] = "search";
    for (int i = 0; i < 33; i++) {
        if (i == 32) {
            read_conf(text, NULL, NULL, NULL);
            cr_assert_eq(conf.search_count, 32);
            cr_assert_str_eq(conf.problem, "");
        }
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), " d%d.example", i);
    }
    read_conf(text, NULL, NULL, NULL);
    cr_assert_eq(conf.search_count, 32);
    cr_assert_str_eq(conf.search[31], "d31.example");
    cr_assert_str_eq(conf.problem, "line 1: \"d32.example\" is ignored: at most 32 search domains are used");
}

Test(resolv_conf, options_have_limits)
{
    read_conf("options ndots:0 timeout:0 attempts:0\n", NULL, NULL, NULL);
    cr_assert_eq(conf.ndots, 0);
    cr_assert_eq(conf.timeout_s, 1);
    cr_assert_eq(conf.attempts, 1);
    read_conf("options ndots:15 timeout:30 attempts:5\n", NULL, NULL, NULL);
    cr_assert_eq(conf.ndots, 15);
    cr_assert_eq(conf.timeout_s, 30);
    cr_assert_eq(conf.attempts, 5);
    read_conf("options ndots:16 timeout:31 attempts:6\n", NULL, NULL, NULL);
    cr_assert_eq(conf.ndots, 15);
    cr_assert_eq(conf.timeout_s, 30);
    cr_assert_eq(conf.attempts, 5);
    read_conf("options ndots:99999999999999999999999 timeout:x attempts: ndots\n", NULL, NULL, NULL);
    cr_assert_eq(conf.ndots, 15);
    cr_assert_eq(conf.timeout_s, 0);
    cr_assert_eq(conf.attempts, 0);
    read_conf("options ndots:/ timeout:: attempts:9x\n", NULL, "ndots:3 timeout:9", NULL);
    cr_assert_eq(conf.ndots, 3);
    cr_assert_eq(conf.timeout_s, 9);
    cr_assert_eq(conf.attempts, 5);
}

Test(resolv_conf, each_flag_is_its_own)
{
    static const char *const flags[] = {"rotate", "use-vc", "no-aaaa", "no-tld-query", "rotated"};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "options %s other\noptions ndots:2", flags[i]);
        read_conf(text, NULL, NULL, NULL);
        cr_assert_eq(conf.rotate, i == 0);
        cr_assert_eq(conf.use_vc, i == 1);
        cr_assert_eq(conf.no_aaaa, i == 2);
        cr_assert_eq(conf.no_tld_query, i == 3);
        cr_assert_eq(conf.ndots, 2);
    }
}

static void expect_candidates(const char *name, bool absolute, const char *expected)
{
    evener_dns_candidates candidates;
    char got[4096] = "";
    cr_assert(evener_dns_candidates_make(&conf, name, absolute, &candidates));
    for (size_t i = 0; i < candidates.count; i++) {
        (void)snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i > 0 ? " " : "", candidates.names[i]);
    }
    evener_dns_candidates_clear(&candidates);
    cr_assert_null(candidates.names);
    cr_assert_str_eq(got, expected, "%s: %s", name, got);
}

Test(resolv_conf, candidates_follow_the_dots)
{
    char name[512];
    read_conf("search x.y z\noptions ndots:2\n", NULL, NULL, NULL);
    expect_candidates("a", false, "a.x.y a.z a");
    expect_candidates("a.b", false, "a.b.x.y a.b.z a.b");
    expect_candidates("a.b.c", false, "a.b.c a.b.c.x.y a.b.c.z");
    expect_candidates("a.b.c.", false, "a.b.c");
    expect_candidates("a.", false, "a");
    expect_candidates("a", true, "a");
    read_conf("search x X .\noptions no-tld-query\n", NULL, NULL, NULL);
    expect_candidates("a", false, "a.x a");
    expect_candidates("a.b", false, "a.b a.b.x");
    read_conf("search x\noptions no-tld-query\n", NULL, NULL, NULL);
    expect_candidates("a", false, "a.x");
    read_conf("options no-tld-query\n", NULL, NULL, NULL);
    expect_candidates("a", false, "a");
    read_conf("search xy\n", NULL, NULL, NULL);
    (void)long_name(253, name);
    expect_candidates(name, false, name);
    (void)long_name(251, name);
    expect_candidates(name, false, name);
    char both[1100];
    (void)long_name(250, name);
    (void)snprintf(both, sizeof both, "%s %s.xy", name, name);
    expect_candidates(name, false, both);
}

/* ---- hosts files ---- */

typedef struct found {
    char text[1024];
    size_t count, count_max;
} found;

static bool keep(void *arg, const char *address)
{
    found *all = arg;
    (void)snprintf(all->text + strlen(all->text), sizeof all->text - strlen(all->text), "%s%s",
                   all->count > 0 ? " " : "", address);
    return ++all->count < all->count_max;
}

static void expect_found(const evener_dns_hosts *hosts, const char *name, const char *expected)
{
    found all = {.count_max = 100};
    cr_assert_eq(evener_dns_hosts_find(hosts, name, keep, &all), *expected != '\0', "%s", name);
    cr_assert_str_eq(all.text, expected, "%s", name);
}

Test(hosts_file, words_behind_an_address_are_its_names)
{
    evener_dns_hosts *hosts = evener_dns_hosts_create("10.0.0.1 a b\n"
                                                      "\t10.0.0.2\tA.\v c\f\r\n"
                                                      "10.0.0.3 d # e\n"
                                                      "#10.0.0.4 a\n"
                                                      "no-address a\n"
                                                      "10.0.0.5\n"
                                                      "\n"
                                                      "::1   b  \n"
                                                      "fe80::1%lo . zone\n"
                                                      "10.0.0.6 last");
    cr_assert_not_null(hosts);
    expect_found(hosts, "a", "10.0.0.1 10.0.0.2");
    expect_found(hosts, "A", "10.0.0.1 10.0.0.2");
    expect_found(hosts, "a.", "10.0.0.1 10.0.0.2");
    expect_found(hosts, "b", "10.0.0.1 ::1");
    expect_found(hosts, "c", "10.0.0.2");
    expect_found(hosts, "d", "10.0.0.3");
    expect_found(hosts, "e", "");
    expect_found(hosts, ".", "fe80::1%lo");
    expect_found(hosts, "zone", "fe80::1%lo");
    expect_found(hosts, "last", "10.0.0.6");
    expect_found(hosts, "las", "");
    expect_found(hosts, "lasts", "");
    expect_found(hosts, "10.0.0.1", "");
    expect_found(hosts, "", "");
    found one = {.count_max = 1};
    cr_assert(evener_dns_hosts_find(hosts, "a", keep, &one));
    cr_assert_eq(one.count, 1);
    evener_dns_hosts_destroy(hosts);
    evener_dns_hosts_destroy(NULL);
}

Test(hosts_file, thousands_of_names_are_found_in_the_order_of_the_file)
{
    enum { COUNT = 2000 };
    char *text = malloc(COUNT * 64);
    size_t used = 0;
    cr_assert_not_null(text);
    for (int i = 0; i < COUNT; i++) {
        used += (size_t)snprintf(text + used, COUNT * 64 - used, "10.0.%d.%d az-host-%d AZ-HOST-%d.\n", i / 250,
                                 i % 250, i, i / 2);
    }
    evener_dns_hosts *hosts = evener_dns_hosts_create(text);
    free(text);
    cr_assert_not_null(hosts);
    for (int i = 0; i < COUNT; i++) {
        char name[32], expected[128], own[32], halves[64] = "";
        (void)snprintf(name, sizeof name, "Az-Host-%d", i);
        (void)snprintf(own, sizeof own, "10.0.%d.%d", i / 250, i % 250);
        if (2 * i < COUNT) {
            const int first = 2 * i, second = first + 1;
            (void)snprintf(halves, sizeof halves, "10.0.%d.%d 10.0.%d.%d", first / 250, first % 250, second / 250,
                           second % 250);
        }
        /* Line i comes before the lines 2 i and 2 i + 1; the first two lines name themselves twice. */
        if (i == 0) {
            (void)snprintf(expected, sizeof expected, "%s %s", own, halves);
        } else {
            (void)snprintf(expected, sizeof expected, "%s%s%s", own, halves[0] != '\0' ? " " : "", halves);
        }
        expect_found(hosts, name, expected);
    }
    evener_dns_hosts_destroy(hosts);
}

/* ---- nsswitch.conf ---- */

Test(nsswitch, the_line_says_what_is_asked)
{
    static const struct {
        const char *text;
        evener_dns_hosts_when hosts;
        bool dns;
    } cases[] = {
        {"", EVENER_DNS_HOSTS_FIRST, true},
        {"passwd: files\n", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: files dns", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: files", EVENER_DNS_HOSTS_FIRST, false},
        {"hosts:files", EVENER_DNS_HOSTS_FIRST, false},
        {"hosts:\tdns\n", EVENER_DNS_HOSTS_NO, true},
        {"  \thosts: dns\n", EVENER_DNS_HOSTS_NO, true},
        {"hosts : dns\n", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts dns\n", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: dns files", EVENER_DNS_HOSTS_LAST, true},
        {"hosts: DNS\tFiles\r\n", EVENER_DNS_HOSTS_LAST, true},
        {"hosts: files dns files", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: resolve", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: dns resolve", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: dns files resolve", EVENER_DNS_HOSTS_LAST, true},
        {"hosts: myhostname", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: # dns", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: dns # files", EVENER_DNS_HOSTS_NO, true},
        {"hosts: dns\nhosts: files\n", EVENER_DNS_HOSTS_FIRST, false},
        {"networks: dns files\nhosts: files\nnetworks: dns", EVENER_DNS_HOSTS_FIRST, false},
        {"hosts: files [NOTFOUND=return] dns", EVENER_DNS_HOSTS_FIRST, false},
        {"hosts: files[notfound=Return]dns", EVENER_DNS_HOSTS_FIRST, false},
        {"hosts: files [NOTFOUND=continue] dns", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: files [UNAVAIL=return] dns", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: files [!UNAVAIL=return] dns", EVENER_DNS_HOSTS_FIRST, false},
        {"hosts: files [!NOTFOUND=return] dns", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: files [NOTFOUND=return NOTFOUND=continue] dns", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: files [UNAVAIL=continue NOTFOUND=return] dns", EVENER_DNS_HOSTS_FIRST, false},
        {"hosts: files [ NOTFOUND = return ] dns", EVENER_DNS_HOSTS_FIRST, false},
        {"hosts: files [NOTFOUND=return", EVENER_DNS_HOSTS_FIRST, false},
        {"hosts: files [NOTFOUND=return NOTFOUND=] dns", EVENER_DNS_HOSTS_FIRST, false},
        {"hosts: files [NOTFOUND=return NOTFOUND= ] dns", EVENER_DNS_HOSTS_FIRST, false},
        {"hosts: files [NOTFOUND=return NOTFOUND] dns", EVENER_DNS_HOSTS_FIRST, false},
        {"hosts: files [NOTFOUND] dns", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: files [=] dns", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: files [ ] dns", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: files [NOTFOUND=\nhosts: dns", EVENER_DNS_HOSTS_NO, true},
        {"hosts: files [] dns", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: dns [!UNAVAIL=return] files", EVENER_DNS_HOSTS_UNAVAILABLE, true},
        {"hosts: dns [NOTFOUND=return] files", EVENER_DNS_HOSTS_UNAVAILABLE, true},
        {"hosts: files dns [NOTFOUND=return] files", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: resolve [!UNAVAIL=return] files dns", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: mymachines [NOTFOUND=return] files dns", EVENER_DNS_HOSTS_FIRST, true},
        {"hosts: mdns4_minimal [NOTFOUND=return] dns", EVENER_DNS_HOSTS_NO, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        evener_dns_services services;
        memset(&services, 'x', sizeof services);
        evener_dns_services_parse(cases[i].text, &services);
        cr_assert_eq(services.hosts, cases[i].hosts, "%s: %d", cases[i].text, services.hosts);
        cr_assert_eq(services.dns, cases[i].dns, "%s", cases[i].text);
    }
}

Test(nsswitch, messages_show_100_bytes_of_the_line)
{
    evener_dns_services services;
    char text[400] = "passwd: x\n  hosts: ", expected[200];
    evener_dns_services_parse("hosts: files # comment", &services);
    cr_assert_str_eq(services.line, "hosts: files ");
    memset(text + strlen(text), 'a', 300);
    evener_dns_services_parse(text, &services);
    (void)snprintf(expected, sizeof expected, "%.100s...", strstr(text, "hosts:"));
    cr_assert_str_eq(services.line, expected);
    strstr(text, "hosts:")[100] = '\0';
    evener_dns_services_parse(text, &services);
    cr_assert_str_eq(services.line, strstr(text, "hosts:"));
}

/* ---- the choice of a service config ---- */

static void expect_choice(const char *text, const char *expected)
{
    char *config = NULL;
    evener_status status = {EVENER_STATUS_OK, ""};
    const evener_status_code code = evener_dns_choice_read(text, "me", 42, &config, &status);
    const char *got = code != EVENER_STATUS_OK ? status.message : config != NULL ? config : "none";
    cr_assert_str_eq(got, expected, "%s: %s", text, got);
    free(config);
}

Test(txt_choice, each_condition_alone_decides)
{
#define CONFIG "\"serviceConfig\":{\"a\":1}}]"
    static const char *const taken[] = {
        "[{" CONFIG,
        "[{\"clientLanguage\":[]," CONFIG,
        "[{\"clientLanguage\":[\"go\",\"C\"]," CONFIG,
        "[{\"clientLanguage\":[\"C++\",\"go\"]," CONFIG,
        "[{\"percentage\":100," CONFIG,
        "[{\"percentage\":43," CONFIG,
        "[{\"clientHostname\":[\"ME\",\"you\"]," CONFIG,
        "[{\"clientHostname\":[\"you\"],\"serviceConfig\":{\"b\":1}},{\"clientHostname\":[\"me\"]," CONFIG,
        "[{\"percentage\":42,\"serviceConfig\":{\"b\":1}},{" CONFIG,
    };
    static const char *const left[] = {
        "[]",
        "[{\"clientLanguage\":[\"go\"]," CONFIG,
        "[{\"percentage\":0," CONFIG,
        "[{\"percentage\":42," CONFIG,
        "[{\"clientHostname\":[\"you\"]," CONFIG,
        "[{\"clientLanguage\":[\"go\"],\"clientHostname\":[\"me\"]," CONFIG,
        "[{\"clientLanguage\":[\"go\"],\"percentage\":100," CONFIG,
        "[{\"percentage\":1,\"clientHostname\":[\"me\"]," CONFIG,
    };
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        expect_choice(taken[i], "{\"a\":1}");
    }
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        expect_choice(left[i], "none");
    }
    expect_choice("[{\"serviceConfig\":{\"b\":1}},{" CONFIG, "{\"b\":1}");
}

Test(txt_choice, the_refused_key_is_named)
{
#define REFUSED "TXT service config: choice "
    expect_choice("{}", "TXT service config: it is not a list of choices");
    expect_choice("[1]", REFUSED "1: it is not an object");
    expect_choice("[{\"serviceConfig\":{}},1]", REFUSED "2: it is not an object");
    expect_choice("[{}]", REFUSED "1: serviceConfig is missing or not an object");
    expect_choice("[{\"serviceConfig\":1}]", REFUSED "1: serviceConfig is missing or not an object");
    expect_choice("[{\"clientLanguage\":1," CONFIG, REFUSED "1: clientLanguage is not a list");
    expect_choice("[{\"clientLanguage\":[1]," CONFIG,
                  REFUSED "1: clientLanguage contains something other than a string");
    expect_choice("[{\"clientHostname\":{}," CONFIG, REFUSED "1: clientHostname is not a list");
    expect_choice("[{\"percentage\":-1," CONFIG, REFUSED "1: percentage is not an integer from 0 to 100");
    expect_choice("[{\"percentage\":101," CONFIG, REFUSED "1: percentage is not an integer from 0 to 100");
    expect_choice("[{\"percentage\":1.5," CONFIG, REFUSED "1: percentage is not an integer from 0 to 100");
}
