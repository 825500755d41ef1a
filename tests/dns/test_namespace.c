/* dns: through c-ares with the system's own files, in a network and mount namespace of the test's own: rows N1 to N15
 * of the cases from the field. The oracle is `getent` in the same namespace, where it applies. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/support/fake_dns.h"
#include "tests/support/own_network.h"
#include "tests/support/resolver_fixture.h"

#define A 1
#define AAAA 28
#define SRV 33

struct scene {
    resolver_fixture *f;
    fake_dns *server;
    evener_attribute options[2];
};

static struct scene *scene_create(const char *resolv_conf, const char *hosts, const char *nsswitch)
{
    if (!own_network_enter(resolv_conf, hosts, nsswitch)) {
        cr_skip_test("a network and mount namespace is not permitted here (run as root): row not tested");
    }
    struct scene *s = calloc(1, sizeof *s);
    cr_assert_not_null(s);
    s->server = fake_dns_create_on_port_53();
    s->f = resolver_fixture_create_on_thread();
    s->f->options = s->options;
    return s;
}

static void scene_destroy(struct scene *s)
{
    resolver_fixture_destroy(s->f);
    fake_dns_destroy(s->server);
    free(s);
}

static void set(struct scene *s, const char *name, const char *a, const char *aaaa)
{
    fake_dns_set_answer(s->server, A, name, FAKE_DNS_GOOD, 30, a != NULL ? a : "@ SOA 30");
    fake_dns_set_answer(s->server, AAAA, name, FAKE_DNS_GOOD, 30, aaaa != NULL ? aaaa : "@ SOA 30");
}

static bool has_answer(const recording_sink *sink, void *arg)
{
    (void)arg;
    return sink->update_count > 0 || sink->error_count > 0;
}

static bool has_error(const recording_sink *sink, void *arg)
{
    return sink->error_count > 0 && strstr(sink->error.message, arg) != NULL;
}

static void expect(struct scene *s, const char *target, const char *addresses)
{
    s->f->sink.update_count = 0; /* no push happens now */
    resolver_fixture_open(s->f, target);
    cr_assert(resolver_fixture_wait(s->f, has_answer, NULL));
    cr_assert_eq(s->f->sink.error_count, 0, "%s", s->f->sink.error.message);
    cr_assert_str_eq(s->f->sink.addresses, addresses, "%s", s->f->sink.addresses);
    resolver_fixture_close(s->f);
}

/* evener finds what getent finds: `addresses` are both. */
static void expect_as_getent(struct scene *s, const char *name, const char *address)
{
    char found[256], target[300], expected[300];
    own_network_getent("ahosts", name, found, sizeof found);
    cr_assert_str_eq(found, address, "getent: %s", found);
    (void)snprintf(target, sizeof target, "dns:///%s:80", name);
    (void)snprintf(expected, sizeof expected, strchr(address, ':') != NULL ? "[%s]:80" : "%s:80", address);
    expect(s, target, address[0] != '\0' ? expected : "");
}

#define NSSWITCH "hosts: files dns\n"
#define HOSTS "127.0.0.1 localhost\n"

Test(dns_namespace, n1_one_name_for_both_families)
{
    struct scene *s = scene_create("search corp.example\nnameserver 127.0.0.1\n", HOSTS "10.9.9.9 held\n", NSSWITCH);
    set(s, "orders.prod", "@ A 10.0.1.1", NULL);
    set(s, "orders.prod.corp.example", NULL, "@ AAAA fd00::99");
    set(s, "held", "@ A 10.0.0.1", "@ AAAA fd00::1");
    expect_as_getent(s, "orders.prod", "10.0.1.1");
    expect_as_getent(s, "held", "10.9.9.9");
    scene_destroy(s);
}

Test(dns_namespace, n2_absolute_names_are_not_searched)
{
    struct scene *s = scene_create("search wild.example\noptions ndots:5\nnameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    set(s, "node1.example.org", "@ A 10.0.0.1", NULL);
    set(s, "node1.example.org.wild.example", "@ A 10.0.66.66", NULL);
    expect_as_getent(s, "node1.example.org.", "10.0.0.1");
    fake_dns_set_answer(s->server, SRV, "_grpc._tcp.orders.wild.example", FAKE_DNS_GOOD, 30,
                        "@ SRV 0 1 80 node1.example.org");
    expect(s, "srv:///_grpc._tcp.orders", "10.0.0.1:80;priority=0;weight=1");
    scene_destroy(s);
}

Test(dns_namespace, n3_servfail_of_a_suffix_goes_on)
{
    struct scene *s =
        scene_create("search a.example b.example\noptions ndots:5\nnameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    fake_dns_set_answer(s->server, A, "orders.prod.a.example", FAKE_DNS_SERVFAIL, 30, "");
    fake_dns_set_answer(s->server, AAAA, "orders.prod.a.example", FAKE_DNS_SERVFAIL, 30, "");
    set(s, "orders.prod", "@ A 10.0.0.1", NULL);
    expect_as_getent(s, "orders.prod", "10.0.0.1");
    scene_destroy(s);
}

Test(dns_namespace, n5_empty_is_an_answer_only_without_failures)
{
    struct scene *s = scene_create("nameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    fake_dns_set_answer(s->server, A, "x", FAKE_DNS_SERVFAIL, 30, "");
    fake_dns_set_answer(s->server, AAAA, "x", FAKE_DNS_NXDOMAIN, 30, "");
    resolver_fixture_open(s->f, "dns:///x");
    cr_assert(resolver_fixture_wait(s->f, has_error, "dns: x: A: SERVFAIL (server 127.0.0.1:53)"), "%s",
              s->f->sink.error.message);
    cr_assert_eq(s->f->sink.update_count, 0);
    scene_destroy(s);
}

static bool has_all(const recording_sink *sink, void *arg)
{
    return sink->address_count == *(const size_t *)arg;
}

static bool has_some_error(const recording_sink *sink, void *arg)
{
    (void)arg;
    return sink->error_count > 0;
}

/* 1,000 names with room for 64 + 16 descriptors: all are resolved, and no query fails because descriptors ran out. */
Test(dns_namespace, n6_thousand_names_with_few_descriptors)
{
    struct scene *s = scene_create("nameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    char path[] = "/tmp/evener-names-XXXXXX";
    char target[64];
    size_t all = 1000;
    struct rlimit limit;
    FILE *file = fdopen(mkstemp(path), "w");
    cr_assert_not_null(file);
    for (size_t i = 0; i < all; i++) {
        fprintf(file, "n%zu.example:%zu\n", i, i + 1);
    }
    fclose(file);
    fake_dns_set_answer(s->server, A, "*", FAKE_DNS_GOOD, 300, "@ A 10.0.0.1");
    fake_dns_set_answer(s->server, AAAA, "*", FAKE_DNS_GOOD, 300, "@ SOA 300");
    const int next = dup(0);
    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)next + 64 + 16 + 4; /* inotify, the file, a look at a route, one to spare */
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    (void)snprintf(target, sizeof target, "file://%s", path);
    resolver_fixture_open(s->f, target);
    cr_assert(resolver_fixture_wait(s->f, has_all, &all), "%zu: %s", s->f->sink.address_count,
              s->f->sink.error.message);
    cr_assert_eq(s->f->sink.error_count, 0, "%s", s->f->sink.error.message);
    cr_assert_geq(fake_dns_asked(s->server), 2 * all);
    resolver_fixture_close(s->f);
    unlink(path);
    scene_destroy(s);
}

/* 1,000 names whose server is silent, within the usual limit of 1,024 descriptors: another name is answered meanwhile,
 * and at most 64 queries with 16 tries beyond their time are open. */
Test(dns_namespace, n6_others_resolve_and_connect_while_a_thousand_names_wait)
{
    struct scene *s = scene_create("nameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    struct scene other = {.f = resolver_fixture_create_on_thread(), .server = s->server};
    char path[] = "/tmp/evener-names-XXXXXX";
    char target[64];
    struct rlimit limit;
    FILE *file = fdopen(mkstemp(path), "w");
    cr_assert_not_null(file);
    for (int i = 0; i < 1000; i++) {
        fprintf(file, "n%d.example:1\n", i);
    }
    fclose(file);
    set(s, "orders", "@ A 10.0.0.9", NULL);
    fake_dns_set_answer(s->server, A, "*", FAKE_DNS_SILENT, 0, "");
    fake_dns_set_answer(s->server, AAAA, "*", FAKE_DNS_SILENT, 0, "");
    s->options[0] = (evener_attribute){"dns.timeout_ms", "700"};
    s->f->option_count = 1;
    const int next = dup(0);
    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 1024;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    (void)snprintf(target, sizeof target, "file://%s", path);
    resolver_fixture_open(s->f, target);
    cr_assert(
        resolver_fixture_wait(s->f, has_some_error, NULL)); /* the first names have timed out, the queue is full */
    expect(&other, "dns:///orders:1", "10.0.0.9:1");
    const int now = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(now, 0);
    int most = now; /* the highest one in use */
    for (int fd = now + 1; fd < 1024; fd++) {
        most = fcntl(fd, F_GETFD) != -1 ? fd : most;
    }
    cr_assert_leq(most, next + 64 + 16 + 8, "descriptors up to %d are in use", most);
    close(now);
    resolver_fixture_close(s->f);
    unlink(path);
    resolver_fixture_destroy(other.f);
    scene_destroy(s);
}

Test(dns_namespace, n8_tcp_gets_the_rest_of_the_limit)
{
    struct scene *s = scene_create("nameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    fake_dns_set_tcp_delay_ms(s->server, 900);
    set(s, "x", NULL, NULL);
    fake_dns_set_answer(s->server, A, "x", FAKE_DNS_TRUNCATED, 30, "@ A 10.0.0.1");
    expect(s, "dns:///x:1", "10.0.0.1:1");
    cr_assert_eq(fake_dns_asked_tcp(s->server), 1);
    scene_destroy(s);
}

Test(dns_namespace, n8_last_try_is_without_edns)
{
    struct scene *s = scene_create("nameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    s->options[0] = (evener_attribute){"dns.timeout_ms", "1500"};
    s->f->option_count = 1;
    fake_dns_set_answer(s->server, A, "x", FAKE_DNS_NO_EDNS, 30, "@ A 10.0.0.1");
    fake_dns_set_answer(s->server, AAAA, "x", FAKE_DNS_NO_EDNS, 30, "@ SOA 30");
    expect(s, "dns:///x:1", "10.0.0.1:1");
    scene_destroy(s);
}

Test(dns_namespace, n8_use_vc_asks_over_tcp_alone)
{
    struct scene *s = scene_create("options use-vc\nnameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    set(s, "x", "@ A 10.0.0.1", NULL);
    expect(s, "dns:///x:1", "10.0.0.1:1");
    cr_assert_eq(fake_dns_asked_tcp(s->server), fake_dns_asked(s->server));
    scene_destroy(s);
}

Test(dns_namespace, n10_server_with_a_zone_is_asked)
{
    struct scene *s = scene_create("nameserver ::1%lo\nnameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    set(s, "x", "@ A 10.0.0.1", NULL);
    expect(s, "dns:///x:1", "10.0.0.1:1"); /* the first one refuses the connection: no server on ::1 */
    scene_destroy(s);
}

Test(dns_namespace, n11_additional_section_is_used)
{
    struct scene *s = scene_create("nameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    char lines[16384] = "";
    for (int i = 0; i < 100; i++) {
        (void)snprintf(lines + strlen(lines), sizeof lines - strlen(lines), "@ SRV 0 1 80 n%d.example\n", i);
    }
    for (int i = 0; i < 100; i++) {
        (void)snprintf(lines + strlen(lines), sizeof lines - strlen(lines), "+n%d.example A 10.0.1.%d\n", i, i + 1);
    }
    fake_dns_set_answer(s->server, SRV, "_grpc._tcp.orders.example", FAKE_DNS_TRUNCATED, 30, lines);
    resolver_fixture_open(s->f, "srv:///_grpc._tcp.orders.example.");
    cr_assert(resolver_fixture_wait(s->f, has_answer, NULL));
    cr_assert_eq(s->f->sink.address_count, 100, "%s", s->f->sink.error.message);
    cr_assert_eq(fake_dns_asked(s->server), 2, "the service over UDP and TCP, and no target");
    scene_destroy(s);
}

Test(dns_namespace, n14_no_aaaa)
{
    struct scene *s = scene_create("options no-aaaa\nnameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    set(s, "x", "@ A 10.0.0.1", "@ AAAA fd00::1");
    expect_as_getent(s, "x", "10.0.0.1");
    scene_destroy(s);
}

Test(dns_namespace, n15_hosts_file_before_localhost)
{
    struct scene *s = scene_create("nameserver 127.0.0.1\n", HOSTS "10.0.8.8 api.localhost\n", NSSWITCH);
    expect_as_getent(s, "api.localhost", "10.0.8.8");
    scene_destroy(s);
}

Test(dns_namespace, n15_nsswitch_without_dns)
{
    struct scene *s = scene_create("nameserver 127.0.0.1\n", HOSTS, "hosts: files\n");
    set(s, "x", "@ A 10.0.0.1", NULL);
    resolver_fixture_open(s->f, "dns:///x");
    cr_assert(resolver_fixture_wait(s->f, has_error, "nsswitch.conf says \"hosts: files\""), "%s",
              s->f->sink.error.message);
    cr_assert_eq(fake_dns_asked(s->server), 0);
    scene_destroy(s);
}

/* Three servers, two of them silent: gentle, and the message says who was asked. */
Test(dns_namespace, n15_three_servers)
{
    struct scene *s =
        scene_create("nameserver 127.0.0.2\nnameserver 127.0.0.3\nnameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    set(s, "x", "@ A 10.0.0.1", NULL);
    expect(s, "dns:///x:1", "10.0.0.1:1");
    cr_assert_eq(fake_dns_asked(s->server), 2, "one query per family");
    scene_destroy(s);
}

/* ---- further examples of the same kinds ---- */

Test(dns_namespace, n1_odd_lines_of_a_hosts_file)
{
    static const char hosts[] = "127.0.0.1 localhost\r\n10.1.1.1 crlf.test alias.test\r\n"
                                "10.1.1.2 a.test# hidden.test\n#10.1.1.9 hidden.test\n \t10.1.1.3\td.test\t\te.test\n"
                                "127.1 hidden.test\n10.1.1.9\n010.1.1.7 hidden.test\n;10.1.1.9 hidden.test\n"
                                "10.1.1.5 UPPER.Test\n10.1.1.6\vvt.test\n10.1.1.8 semi.test ; semi2.test\n"
                                "fd00:0:0::0010 long6.test\n10.1.1.4 last.test";
    static const char *const found[][2] = {
        {"crlf.test", "10.1.1.1"},  {"alias.test", "10.1.1.1"}, {"a.test", "10.1.1.2"},     {"hidden.test", ""},
        {"d.test", "10.1.1.3"},     {"e.test", "10.1.1.3"},     {"upper.test", "10.1.1.5"}, {"vt.test", "10.1.1.6"},
        {"semi2.test", "10.1.1.8"}, {"long6.test", "fd00::10"}, {"last.test", "10.1.1.4"},
    };
    struct scene *s = scene_create("nameserver 127.0.0.1\n", hosts, NSSWITCH);
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
        expect_as_getent(s, found[i][0], found[i][1]);
    }
    scene_destroy(s);
}

/* A file that a rename has replaced is another file: it is read at the next round. */
Test(dns_namespace, n1_replaced_files_are_read_again)
{
    struct scene *s = scene_create("search nope.example\nnameserver 127.0.0.1\n", HOSTS "10.1.1.1 held\n", NSSWITCH);
    set(s, "x.corp.example", "@ A 10.0.0.1", NULL);
    expect_as_getent(s, "held", "10.1.1.1");
    expect_as_getent(s, "x", "");
    cr_assert(own_network_replace("/etc/hosts", HOSTS "10.1.1.2 held\n"));
    cr_assert(own_network_replace("/etc/resolv.conf", "search corp.example\nnameserver 127.0.0.1\n"));
    expect_as_getent(s, "held", "10.1.1.2");
    expect_as_getent(s, "x", "10.0.0.1");
    scene_destroy(s);
}

/* What was read last holds while a file is there that cannot be read. */
Test(dns_namespace, n1_files_that_cannot_be_read_any_more_hold)
{
    static const char *const files[] = {"/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf"};
    struct scene *s = scene_create("search corp.example\nnameserver 127.0.0.1\n", HOSTS "10.1.1.1 held\n", NSSWITCH);
    set(s, "x.corp.example", "@ A 10.0.0.1", NULL);
    expect(s, "dns:///held:80", "10.1.1.1:80");
    expect(s, "dns:///x:80", "10.0.0.1:80");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        (void)umount2(files[i], MNT_DETACH);
        cr_assert_eq(mount("/dev/null", files[i], NULL, MS_BIND, NULL), 0); /* no regular file */
    }
    expect(s, "dns:///held:80", "10.1.1.1:80");
    expect(s, "dns:///x:80", "10.0.0.1:80");
    scene_destroy(s);
}

Test(dns_namespace, n2_length_of_a_candidate)
{
    char search[256], name[160];
    char label[61];
    memset(label, 'l', 60);
    label[60] = '\0';
    (void)snprintf(search, sizeof search, "search %s.%s.%s.example\nnameserver 127.0.0.1\n", label, label, label);
    (void)snprintf(name, sizeof name, "%s.%s.x", label, label); /* with the domain it is no name */
    struct scene *s = scene_create(search, HOSTS, NSSWITCH);
    set(s, name, "@ A 10.0.0.1", NULL);
    expect_as_getent(s, name, "10.0.0.1");
    scene_destroy(s);
}

Test(dns_namespace, n3_lines_of_resolv_conf)
{
    static const char *const texts[] = {
        "search corp.example\nsearch \nsearch\nnameserver 127.0.0.1\n",
        "domain nope.example\nsearch\tcorp.example.\t\nnameserver\t127.0.0.1\t",
        "search nope.example\ndomain corp.example other.example\nnameserver 127.0.0.1 garbage\n",
        "# x\n; y\n nameserver 127.0.0.9\nunknown z\nsearch . corp.example\nnameserver 127.0.0.1\n",
        "search corp.example\nnameserver 0.0.0.0\n",
        "search corp.example\n", /* without a server: this machine */
        "options ndots:0 ndots:x nonsense\nsearch nope.example corp.example\nnameserver 127.0.0.1\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct scene *s = scene_create(texts[i], HOSTS, NSSWITCH);
        set(s, "y.corp.example", "@ A 10.0.2.3", NULL);
        expect_as_getent(s, "y", "10.0.2.3");
        scene_destroy(s);
    }
}

Test(dns_namespace, n3_refused_of_a_suffix_goes_on)
{
    struct scene *s = scene_create("search a.example\nnameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    fake_dns_set_answer(s->server, A, "x.a.example", FAKE_DNS_REFUSED, 30, "");
    fake_dns_set_answer(s->server, AAAA, "x.a.example", FAKE_DNS_REFUSED, 30, "");
    set(s, "x", "@ A 10.0.0.1", NULL);
    expect_as_getent(s, "x", "10.0.0.1");
    scene_destroy(s);
}

Test(dns_namespace, n5_chains_of_cnames)
{
    struct scene *s = scene_create("nameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    set(s, "c", "@ CNAME c1\nc1 CNAME c2\nc2 CNAME c3\nc3 CNAME c4\nc4 A 10.0.0.1", "@ CNAME c1\nc1 SOA 30");
    set(s, "dangling", "@ CNAME nowhere", "@ CNAME nowhere");
    expect_as_getent(s, "c", "10.0.0.1");
    expect_as_getent(s, "dangling", "");
    scene_destroy(s);
}

/* A TTL of 0 counts as dns.min_refresh_ms, so the server is not asked in a loop. */
Test(dns_namespace, n6_ttl_0_is_no_loop)
{
    struct scene *s = scene_create("nameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    s->options[0] = (evener_attribute){"dns.min_refresh_ms", "86400000"};
    s->options[1] = (evener_attribute){"dns.max_refresh_ms", "86400000"};
    s->f->option_count = 2;
    fake_dns_set_answer(s->server, A, "x", FAKE_DNS_GOOD, 0, "@ A 10.0.0.1");
    fake_dns_set_answer(s->server, AAAA, "x", FAKE_DNS_GOOD, 0, "@ SOA 0");
    expect(s, "dns:///x:1", "10.0.0.1:1");
    expect(s, "dns:///x:1", "10.0.0.1:1");
    cr_assert_eq(fake_dns_asked(s->server), 4, "each opening asks once per family");
    scene_destroy(s);
}

Test(dns_namespace, n11_target_written_otherwise)
{
    struct scene *s = scene_create("search wild.example\noptions ndots:9\nnameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    fake_dns_set_answer(s->server, SRV, "_grpc._tcp.orders.example", FAKE_DNS_GOOD, 30,
                        "@ SRV 0 1 80 N1.Example.\n@ SRV 0 1 81 n2.example\n@ SRV 0 1 82 .\n+n1.example A 10.0.0.1");
    set(s, "n2.example", "@ A 10.0.0.2", NULL);
    set(s, "n2.example.wild.example", "@ A 10.0.66.66", NULL);
    expect(s, "srv:///_grpc._tcp.orders.example.", "10.0.0.1:80;priority=0;weight=1,10.0.0.2:81;priority=0;weight=1");
    scene_destroy(s);
}

Test(dns_namespace, n15_services_in_the_order_of_nsswitch)
{
    static const struct {
        const char *nsswitch, *both, *file_only, *dns_only;
    } cases[] = {
        {"hosts: dns files\n", "10.0.0.2", "10.0.0.1", "10.0.0.2"},
        {"hosts: files [NOTFOUND=return] dns\n", "10.0.0.1", "10.0.0.1", NULL},
        {"hosts: files [!UNAVAIL=return] dns\n", "10.0.0.1", "10.0.0.1", NULL},
        {"hosts: dns [NOTFOUND=return] files\n", "10.0.0.2", "", "10.0.0.2"},
        {"hosts:\tdns\n", "10.0.0.2", "", "10.0.0.2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scene *s = scene_create("nameserver 127.0.0.1\n", HOSTS "10.0.0.1 both file-only\n", cases[i].nsswitch);
        set(s, "both", "@ A 10.0.0.2", NULL);
        set(s, "dns-only", "@ A 10.0.0.2", NULL);
        expect_as_getent(s, "both", cases[i].both);
        expect_as_getent(s, "file-only", cases[i].file_only);
        if (cases[i].dns_only != NULL) {
            expect_as_getent(s, "dns-only", cases[i].dns_only);
        }
        scene_destroy(s);
    }
}

/* ---- native: ---- */

Test(dns_namespace, n14_native_finds_what_getaddrinfo_finds)
{
    struct scene *s = scene_create("nameserver 127.0.0.1\n", HOSTS "10.9.9.9 held\n10.9.9.8 held\n", NSSWITCH);
    set(s, "x", "@ A 10.0.0.1", NULL);
    expect(s, "native:held:80", "10.9.9.9:80,10.9.9.8:80");
    expect(s, "native:///x", "10.0.0.1:443");
    expect(s, "native:nosuch.example:80", "");
    expect(s, "native:[::1]:80", "[::1]:80");
    scene_destroy(s);
}

/* The thread of a lookup in flight frees what is left of it; the sanitizers look. */
Test(dns_namespace, n14_native_closed_while_asking)
{
    struct scene *s = scene_create("nameserver 127.0.0.1\n", HOSTS, NSSWITCH);
    set(s, "x", "@ A 10.0.0.1", NULL);
    for (int i = 0; i < 100; i++) {
        resolver_fixture_open(s->f, "native:x:80");
        resolver_fixture_close(s->f);
    }
    expect(s, "native:x:80", "10.0.0.1:80");
    scene_destroy(s);
}

Test(dns_namespace, n14_native_refuses_what_is_no_host)
{
    resolver_fixture *f = resolver_fixture_create();
    static const char *const bad[] = {"native:",        "native::80",   "native:x:0",
                                      "native:x:99999", "native://s/x", "native:[::1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(resolver_fixture_build(f, bad[i]), EVENER_STATUS_INVALID_ARGUMENT, "%s", bad[i]);
        cr_assert_not_null(strstr(f->status.message, "native: "), "%s", f->status.message);
    }
    resolver_fixture_destroy(f);
}
