/* `dns:` on a program's own event loop, which is not libuv's. Here that is the virtual loop, driven by the clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "tests/support/fake_dns.h"
#include "tests/support/resolver_fixture.h"

#define A 1
#define AAAA 28
#define SRV 33
#define SERVICE "_orders._tcp.x.example"
#define WAIT_MS_MAX 20000

struct scene {
    resolver_fixture *f;
    fake_dns *server;
    char target[128];
    evener_attribute options[2];
};

static struct scene *scene_create(const char *scheme)
{
    struct scene *s = calloc(1, sizeof *s);
    cr_assert_not_null(s);
    s->server = fake_dns_create();
    s->f = resolver_fixture_create();
    (void)snprintf(s->target, sizeof s->target, "%s://127.0.0.1:%u/%s", scheme, fake_dns_port(s->server),
                   strcmp(scheme, "dns") == 0 ? "x.example:80" : SERVICE);
    s->options[0] = (evener_attribute){"dns.min_refresh_ms", "100"};
    s->options[1] = (evener_attribute){"dns.timeout_ms", "60000"};
    s->f->options = s->options;
    s->f->option_count = 2;
    fake_dns_set_answer(s->server, AAAA, "x.example", FAKE_DNS_GOOD, 1, "@ SOA 1");
    return s;
}

static void scene_destroy(struct scene *s)
{
    resolver_fixture_destroy(s->f);
    fake_dns_destroy(s->server);
    free(s);
}

/* Drive the loop, as a program's own loop would; its time runs faster, so that records expire soon. */
static void drive(struct scene *s)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)EVENER_NS_PER_MS}, NULL);
    (void)virtual_loop_advance_ms(s->f->loop, 5);
}

static bool becomes(struct scene *s, const char *addresses)
{
    for (int i = 0; i < WAIT_MS_MAX && strcmp(s->f->sink.addresses, addresses) != 0; i++) {
        drive(s);
    }
    return strcmp(s->f->sink.addresses, addresses) == 0;
}

Test(dns_own_loop, answers_come_and_changes_follow)
{
    struct scene *s = scene_create("dns");
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_GOOD, 1, "@ A 127.0.0.1");
    resolver_fixture_open(s->f, s->target);
    cr_assert(becomes(s, "127.0.0.1:80"), "%s; %s", s->f->sink.addresses, s->f->sink.error.message);
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_GOOD, 1, "@ A 127.0.0.1\n@ A 127.0.0.2");
    cr_assert(becomes(s, "127.0.0.1:80,127.0.0.2:80"), "%s", s->f->sink.addresses);
    scene_destroy(s);
}

Test(dns_own_loop, srv_follows_its_targets)
{
    struct scene *s = scene_create("srv");
    fake_dns_set_answer(s->server, SRV, SERVICE, FAKE_DNS_GOOD, 1, "@ SRV 0 5 81 y.example");
    fake_dns_set_answer(s->server, A, "y.example", FAKE_DNS_GOOD, 1, "@ A 127.0.0.3");
    resolver_fixture_open(s->f, s->target);
    cr_assert(becomes(s, "127.0.0.3:81;priority=0;weight=5"), "%s; %s", s->f->sink.addresses, s->f->sink.error.message);
    scene_destroy(s);
}

Test(dns_own_loop, errors_are_reported)
{
    struct scene *s = scene_create("dns");
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_REFUSED, 1, "");
    fake_dns_set_answer(s->server, AAAA, "x.example", FAKE_DNS_REFUSED, 1, "");
    resolver_fixture_open(s->f, s->target);
    for (int i = 0; i < WAIT_MS_MAX && s->f->sink.error_count == 0; i++) {
        drive(s);
    }
    cr_assert_not_null(strstr(s->f->sink.error.message, "REFUSED"), "%s", s->f->sink.error.message);
    scene_destroy(s);
}

/* Closed before the answer, after it has been sent, and when it is on its way from one thread to the other: nothing
 * comes after the close, and nothing is lost (AddressSanitizer). */
Test(dns_own_loop, closed_at_any_time_of_a_query)
{
    struct scene *s = scene_create("dns");
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_GOOD, 1, "@ A 127.0.0.1");
    for (int round = 0; round < 60; round++) {
        resolver_fixture_open(s->f, s->target);
        for (int i = 0; i < round / 3 % 5; i++) {
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL); /* the other thread goes on */
            if (round % 2 == 0) {
                (void)virtual_loop_run_until_idle(s->f->loop);
            }
        }
        resolver_fixture_close(s->f);
        const size_t updates = s->f->sink.update_count;
        (void)virtual_loop_advance_ms(s->f->loop, 10);
        cr_assert_eq(s->f->sink.update_count, updates);
    }
    scene_destroy(s);
}

/* The runtime ends at once while a server is silent: its query is cancelled, and no task of it comes back. */
Test(dns_own_loop, the_runtime_ends_during_a_query)
{
    struct scene *s = scene_create("dns");
    fake_dns_set_answer(s->server, A, "x.example", FAKE_DNS_SILENT, 1, "");
    fake_dns_set_answer(s->server, AAAA, "x.example", FAKE_DNS_SILENT, 1, "");
    resolver_fixture_open(s->f, s->target);
    for (int i = 0; i < WAIT_MS_MAX && fake_dns_asked(s->server) < 2; i++) {
        drive(s);
    }
    cr_assert_eq(fake_dns_asked(s->server), 2);
    resolver_fixture_close(s->f);
    evener_runtime_unref(s->f->runtime);
    s->f->runtime = NULL;
    cr_assert_eq(virtual_loop_run_until_idle(s->f->loop), 0);
    scene_destroy(s);
}
