/* c-ares on a real loop against a faulty server: the faults of c-ares' own ares-test-mock-ai.cc. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/support/fake_dns.h"
#include "tests/support/resolver_fixture.h"

#define A 1
#define AAAA 28

struct scene {
    resolver_fixture *f;
    fake_dns *server;
    char target[128];
    char server_text[32];
    evener_attribute options[3];
};

static struct scene *scene_create(void)
{
    struct scene *s = calloc(1, sizeof *s);
    cr_assert_not_null(s);
    s->server = fake_dns_create();
    s->f = resolver_fixture_create_on_thread();
    (void)snprintf(s->server_text, sizeof s->server_text, "127.0.0.1:%u", fake_dns_port(s->server));
    (void)snprintf(s->target, sizeof s->target, "dns://%s/x.example:80", s->server_text);
    s->options[0] = (evener_attribute){"dns.timeout_ms", "400"};
    s->options[1] = (evener_attribute){"dns.tries", "2"};
    s->f->options = s->options;
    s->f->option_count = 2;
    fake_dns_set_answer(s->server, AAAA, "x.example", FAKE_DNS_GOOD, 30, "@ SOA 30");
    return s;
}

static void scene_destroy(struct scene *s)
{
    resolver_fixture_destroy(s->f);
    fake_dns_destroy(s->server);
    free(s);
}

static bool has_error(const recording_sink *sink, void *arg)
{
    return sink->error_count > 0 && strstr(sink->error.message, arg) != NULL;
}

static bool has_update(const recording_sink *sink, void *arg)
{
    (void)arg;
    return sink->update_count > 0;
}

static void answers(fake_dns_fault fault, const char *lines, const char *expected)
{
    struct scene *s = scene_create();
    fake_dns_set_answer(s->server, A, "x.example", fault, 30, lines);
    resolver_fixture_open(s->f, s->target);
    cr_assert(resolver_fixture_wait(s->f, has_update, NULL), "%s", s->f->sink.error.message);
    cr_assert(resolver_fixture_wait_addresses(s->f, expected), "%s", s->f->sink.addresses);
    scene_destroy(s);
}

static void errs(fake_dns_fault fault, const char *lines, const char *reason)
{
    struct scene *s = scene_create();
    fake_dns_set_answer(s->server, A, "x.example", fault, 30, lines);
    fake_dns_set_answer(s->server, AAAA, "x.example", fault, 30, lines);
    resolver_fixture_open(s->f, s->target);
    cr_assert(resolver_fixture_wait(s->f, has_error, (char *)(uintptr_t)reason), "%d: %s", (int)fault,
              s->f->sink.error.message);
    cr_assert_not_null(strstr(s->f->sink.error.message, "dns: x.example: "));
    cr_assert_not_null(strstr(s->f->sink.error.message, s->server_text), "%s", s->f->sink.error.message);
    scene_destroy(s);
}

Test(dns_ares, addresses_of_both_families_with_ttl_and_source)
{
    struct scene *s = scene_create();
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_GOOD, 30, "@ A 127.0.0.1\n@ A 127.0.0.2\n@ A 127.0.0.1");
    resolver_fixture_open(s->f, s->target);
    cr_assert(resolver_fixture_wait_addresses(s->f, "127.0.0.1:80,127.0.0.2:80"), "%s", s->f->sink.addresses);
    cr_assert_eq(s->f->sink.ttl_ms, 30000);
    cr_assert_not_null(strstr(s->f->sink.source, s->server_text), "%s", s->f->sink.source);
    scene_destroy(s);
}

Test(dns_ares, truncated_answer_is_asked_again_over_tcp)
{
    answers(FAKE_DNS_TRUNCATED, "@ A 10.0.0.1", "10.0.0.1:80");
    errs(FAKE_DNS_TRUNCATED_DEAF, "@ A 10.0.0.1", "");
}

Test(dns_ares, cname_chain_is_followed)
{
    answers(FAKE_DNS_GOOD, "@ CNAME y.example\ny.example CNAME z.example\nz.example A 10.0.0.1", "10.0.0.1:80");
}

Test(dns_ares, nothing_there)
{
    answers(FAKE_DNS_NXDOMAIN, "@ SOA 30", "");
    answers(FAKE_DNS_GOOD, "@ SOA 30", "");
}

Test(dns_ares, servers_that_say_no)
{
    errs(FAKE_DNS_SERVFAIL, "", "SERVFAIL");
    errs(FAKE_DNS_REFUSED, "", "REFUSED");
    errs(FAKE_DNS_NOTIMP, "", "NOTIMP");
    errs(FAKE_DNS_FORMERR, "", "FORMERR");
}

Test(dns_ares, answers_that_are_none)
{
    errs(FAKE_DNS_SILENT, "", "timed out after 0.4 s, 2 tries");
    errs(FAKE_DNS_WRONG_ID, "@ A 10.0.0.1", "timed out");
    errs(FAKE_DNS_WRONG_QUESTION, "@ A 10.0.0.1", "timed out");
    errs(FAKE_DNS_SHORT, "@ A 10.0.0.1", "malformed");
    errs(FAKE_DNS_GARBAGE, "@ A 10.0.0.1", "malformed");
    errs(FAKE_DNS_LOOP, "@ A 10.0.0.1", "malformed");
}

/* N5: a mistake of the server, and no answer that there are no addresses. */
Test(dns_ares, n5_cname_loop_is_an_error)
{
    errs(FAKE_DNS_GOOD, "@ CNAME y.example\ny.example CNAME x.example", "A: a loop of CNAME records");
}

/* As many addresses as fit into one message. */
Test(dns_ares, thousands_of_addresses)
{
    struct scene *s = scene_create();
    char *lines = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&lines, &bytes);
    for (int i = 0; i < 4000; i++) {
        fprintf(stream, "@ A 10.1.%d.%d\n", i / 250, i % 250 + 1);
    }
    fclose(stream);
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_TRUNCATED, 30, lines);
    s->options[0].value = "5000";
    resolver_fixture_open(s->f, s->target);
    cr_assert(resolver_fixture_wait(s->f, has_update, NULL), "%s", s->f->sink.error.message);
    cr_assert_eq(s->f->sink.address_count, 4000);
    free(lines);
    scene_destroy(s);
}

Test(dns_ares, second_server_is_asked_when_the_first_is_silent)
{
    struct scene *s = scene_create();
    fake_dns *silent = fake_dns_create();
    char servers[64];
    fake_dns_set_answer(silent, A, "x.example", FAKE_DNS_SILENT, 0, "");
    fake_dns_set_answer(silent, AAAA, "x.example", FAKE_DNS_REFUSED, 0, "");
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_GOOD, 30, "@ A 10.0.0.1");
    (void)snprintf(servers, sizeof servers, "127.0.0.1:%u,%s", fake_dns_port(silent), s->server_text);
    s->options[2] = (evener_attribute){"dns.servers", servers};
    s->f->option_count = 3;
    resolver_fixture_open(s->f, "dns:///x.example.:80");
    cr_assert(resolver_fixture_wait_addresses(s->f, "10.0.0.1:80"), "%s", s->f->sink.error.message);
    scene_destroy(s);
    fake_dns_destroy(silent);
}

Test(dns_ares, all_of_several_servers_refuse)
{
    struct scene *s = scene_create();
    fake_dns *other = fake_dns_create();
    char servers[64];
    fake_dns_set_answer(other, A, "x.example", FAKE_DNS_REFUSED, 0, "");
    fake_dns_set_answer(other, AAAA, "x.example", FAKE_DNS_REFUSED, 0, "");
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_SERVFAIL, 30, "");
    (void)snprintf(servers, sizeof servers, "127.0.0.1:%u,%s", fake_dns_port(other), s->server_text);
    s->options[0].value = "60000"; /* a first try that timed out would be one more */
    s->options[2] = (evener_attribute){"dns.servers", servers};
    s->f->option_count = 3;
    resolver_fixture_open(s->f, "dns:///x.example.:80");
    cr_assert(resolver_fixture_wait(s->f, has_error, "SERVFAIL"), "%s", s->f->sink.error.message);
    cr_assert_not_null(strstr(s->f->sink.error.message, ": REFUSED; 127.0.0.1:"), "%s", s->f->sink.error.message);
    cr_assert_not_null(strstr(s->f->sink.error.message, ", 2 tries"), "%s", s->f->sink.error.message);
    scene_destroy(s);
    fake_dns_destroy(other);
}

/* RFC 6761 section 6.3 */
Test(dns_ares, localhost_is_this_machine)
{
    resolver_fixture *f = resolver_fixture_create_on_thread();
    resolver_fixture_open(f, "dns:///localhost:80");
    cr_assert(resolver_fixture_wait(f, has_update, NULL), "%s", f->sink.error.message);
    cr_assert_not_null(strstr(f->sink.addresses, "127.0.0.1:80"), "%s", f->sink.addresses);
    /* The hosts file comes first, where it has the name (N15). */
    cr_assert(strcmp(f->sink.source, "localhost") == 0 || strcmp(f->sink.source, "hosts file") == 0, "%s",
              f->sink.source);
    resolver_fixture_destroy(f);
}

/* Use the first entry of /etc/hosts that is neither localhost nor IPv6; skip the test without one. */
Test(dns_ares, hosts_file_is_read)
{
    char line[512], ip[64], name[200], target[256], expected[128];
    FILE *hosts = fopen("/etc/hosts", "r");
    bool found = false;
    while (hosts != NULL && !found && fgets(line, sizeof line, hosts) != NULL) {
        found = sscanf(line, "%63[0-9.] %199s", ip, name) == 2 && strstr(name, "localhost") == NULL;
    }
    if (hosts != NULL) {
        fclose(hosts);
    }
    if (!found) {
        cr_skip_test("no name in /etc/hosts to look for");
    }
    resolver_fixture *f = resolver_fixture_create_on_thread();
    (void)snprintf(target, sizeof target, "dns:///%s:80", name);
    (void)snprintf(expected, sizeof expected, "%s:80", ip);
    resolver_fixture_open(f, target);
    cr_assert(resolver_fixture_wait(f, has_update, NULL), "%s", f->sink.error.message);
    cr_assert_not_null(strstr(f->sink.addresses, expected), "%s", f->sink.addresses);
    cr_assert_str_eq(f->sink.source, "hosts file");
    cr_assert_eq(f->sink.ttl_ms, 0);
    resolver_fixture_destroy(f);
}

/* A record gains an address; the update comes within TTL + 1 s of wall time. */
Test(dns_ares, change_is_followed_and_a_dead_server_harms_nothing)
{
    struct scene *s = scene_create();
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_GOOD, 1, "@ A 10.0.0.1");
    resolver_fixture_open(s->f, s->target);
    cr_assert(resolver_fixture_wait_addresses(s->f, "10.0.0.1:80"));
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_SILENT, 1, "");
    cr_assert(resolver_fixture_wait(s->f, has_error, "timed out"));
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_GOOD, 1, "@ A 10.0.0.1\n@ A 10.0.0.2");
    cr_assert(resolver_fixture_wait_addresses(s->f, "10.0.0.1:80,10.0.0.2:80"));
    scene_destroy(s);
}

Test(dns_ares, closed_while_asking)
{
    struct scene *s = scene_create();
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_SILENT, 1, "");
    for (int i = 0; i < 20; i++) {
        resolver_fixture_open(s->f, s->target);
        resolver_fixture_close(s->f);
    }
    resolver_fixture_open(s->f, "dns:///localhost"); /* the answer is already posted */
    resolver_fixture_close(s->f);
    scene_destroy(s);
}

Test(dns_ares, nobody_listens)
{
    struct scene *s = scene_create();
    resolver_fixture_open(s->f, "dns://127.0.0.1:1/x.example");
    cr_assert(resolver_fixture_wait(s->f, has_error, "the server cannot be reached (server 127.0.0.1:1)"), "%s",
              s->f->sink.error.message);
    scene_destroy(s);
}

/* As many reasons as fit are in the message. */
Test(dns_ares, reasons_of_eight_servers_are_cut)
{
    struct scene *s = scene_create();
    char servers[300] = "", expected[400] = " tries (";
    for (int i = 0; i < 8; i++) {
        (void)snprintf(servers + strlen(servers), sizeof servers - strlen(servers), "%s127.100.100.10%d:1",
                       i > 0 ? "," : "", i);
        if (i < 6) {
            (void)snprintf(expected + strlen(expected), sizeof expected - strlen(expected),
                           "%s127.100.100.10%d:1: the server cannot be reached", i > 0 ? "; " : "", i);
        }
    }
    (void)snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "; 127.1)"); /* 299 bytes */
    s->options[0].value = "60000";                                                               /* no try times out */
    s->options[2] = (evener_attribute){"dns.servers", servers};
    s->f->option_count = 3;
    resolver_fixture_open(s->f, "dns:///x.example.:80");
    cr_assert(resolver_fixture_wait(s->f, has_error, expected), "%s", s->f->sink.error.message);
    scene_destroy(s);
}

/* Some middleboxes drop queries with EDNS: the last try goes without, but not the only one. */
Test(dns_ares, the_last_of_several_tries_is_without_edns)
{
    answers(FAKE_DNS_NO_EDNS, "@ A 10.0.0.1", "10.0.0.1:80");
    struct scene *s = scene_create();
    s->options[1].value = "1";
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_NO_EDNS, 30, "@ A 10.0.0.1");
    resolver_fixture_open(s->f, s->target);
    cr_assert(resolver_fixture_wait(s->f, has_error, ", 1 try (server "), "%s", s->f->sink.error.message);
    scene_destroy(s);
}
