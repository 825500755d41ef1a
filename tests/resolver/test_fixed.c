/* static:, ipv4:, ipv6:, unix:, unix-abstract: */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/support/resolver_fixture.h"

static void succeeds(const char *target, const char *addresses)
{
    resolver_fixture *f = resolver_fixture_create();
    resolver_fixture_open(f, target);
    cr_assert_eq(f->sink.update_count, 1);
    cr_assert_eq(f->sink.error_count, 0);
    cr_assert_str_eq(f->sink.addresses, addresses);
    resolver_fixture_destroy(f);
}

static void fails(const char *target, const char *reason)
{
    resolver_fixture *f = resolver_fixture_create();
    cr_assert_eq(resolver_fixture_build(f, target), EVENER_STATUS_INVALID_ARGUMENT, "%s", target);
    cr_assert_not_null(strstr(f->status.message, reason), "\"%s\": %s", target, f->status.message);
    resolver_fixture_destroy(f);
}

/* core: sockaddr_resolver_test.cc, test_succeeds */
Test(sockaddr_resolver_test, succeeds)
{
    succeeds("ipv4:10.2.1.1:1234", "10.2.1.1:1234");
    succeeds("ipv4:10.2.1.1:1234,127.0.0.1:4321", "10.2.1.1:1234,127.0.0.1:4321");
    succeeds("ipv4:///10.2.1.1:1234", "10.2.1.1:1234");
    succeeds("ipv6:[::]:1234", "[::]:1234");
    succeeds("unix:///tmp/sockaddr_resolver_test", "unix:/tmp/sockaddr_resolver_test");
    succeeds("unix-abstract:sockaddr_resolver_test", "unix-abstract:sockaddr_resolver_test");
    succeeds("vsock:2:50051", "vsock:2:50051");
    succeeds("vsock:///2:50051,3:50051", "vsock:2:50051,vsock:3:50051");
}

/* core: sockaddr_resolver_test.cc, test_fails */
Test(sockaddr_resolver_test, fails)
{
    fails("ipv4:10.2.1.1", "no port");
    fails("ipv4:10.2.1.1:123456", "larger than 65535");
    fails("ipv4:www.google.com", "host name");
    fails("ipv4:[", "not closed");
    fails("ipv4://8.8.8.8/8.8.8.8:8888", "authority");
    fails("ipv6:[", "not closed");
    fails("ipv6:[::]", "no port");
    fails("ipv6:[::]:123456", "larger than 65535");
    fails("ipv6:www.google.com", "host name");
}

Test(sockaddr, families_are_kept_apart)
{
    fails("ipv4:[::1]:80", "not an IPv4 address");
    fails("ipv6:1.2.3.4:80", "not an IPv6 address");
    fails("ipv4:unix:/x", "not an IPv4 address");
    fails("unix://host/path", "authority");
    fails("unix:", "no address");
    fails("vsock:2", "vsock:CID:PORT");
    fails("vsock://host/2:80", "authority");
    fails("ipv4:,,", "no address");
    fails("ipv4:10.0.0.1:80;weight=3", "not a number");
}

/* docs/semantics.md, Targets: empty list items are skipped */
Test(sockaddr, empty_items_are_skipped_and_duplicates_dropped)
{
    succeeds("ipv4:,10.0.0.1:1,,10.0.0.2:2,10.0.0.1:1,", "10.0.0.1:1,10.0.0.2:2");
    succeeds("ipv6:[::1]:1,[0:0::1]:1", "[::1]:1");
    succeeds("ipv6:[fe80::1%25eth0]:1", "[fe80::1%eth0]:1");
    succeeds("unix:/a,/b", "unix:/a,unix:/b");
    succeeds("unix:relative", "unix:relative");
}

Test(static_resolver, list_carries_attributes)
{
    succeeds("static:10.0.0.1:80;weight=3;zone=a,10.0.0.2:80", "10.0.0.1:80;weight=3;zone=a,10.0.0.2:80");
    succeeds("static:///10.0.0.1:80, [::1]:80 ;b=2 ; a=1;, unix:/x", "10.0.0.1:80,[::1]:80;a=1;b=2,unix:/x");
    succeeds("static:10.0.0.1:80;note=a%252Cb%253Bc=%2525", "10.0.0.1:80;note=a,b;c=%");
    succeeds("static:10.0.0.1:80;weight=1,10.0.0.1:80;weight=2", "10.0.0.1:80;weight=1");
    succeeds("static:10.0.0.1:80;authority=a,10.0.0.1:80;authority=b",
             "10.0.0.1:80;authority=a,10.0.0.1:80;authority=b");
}

Test(static_resolver, error_names_the_item)
{
    fails("static:10.0.0.1:80,10.0.0.2:80,,10.0.0.3", "item 3 of the list, at byte 25: address \"10.0.0.3\": no port");
    fails("static:10.0.0.1:80;weight=0", "weight is a whole number");
    fails("static:10.0.0.1:80;weight=x", "weight is a whole number");
    fails("static:10.0.0.1:80;priority=-1", "priority is a whole number");
    fails("static:10.0.0.1:80;weight", "key=value");
    fails("static:10.0.0.1:80;=3", "key=value");
    fails("static:10.0.0.1:80;a=%25zz", "hexadecimal");
    fails("static:", "no address");
    fails("static://host/10.0.0.1:80", "authority");
}

Test(static_resolver, numbers_of_attributes_have_32_bits)
{
    succeeds("static:10.0.0.1:80;weight=1", "10.0.0.1:80;weight=1");
    succeeds("static:10.0.0.1:80;weight=4294967295;priority=0", "10.0.0.1:80;priority=0;weight=4294967295");
    succeeds("static:10.0.0.1:80;priority=4294967295", "10.0.0.1:80;priority=4294967295");
    static const char *const bad[] = {"", "4294967296", "99999999999999999999", "-1", "+1", "1 2", "1x", "1:", "1/"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char target[128];
        (void)snprintf(target, sizeof target, "static:10.0.0.1:80;weight=%s", bad[i]);
        fails(target, "a weight is a whole number of 1 to 4294967295");
        (void)snprintf(target, sizeof target, "static:10.0.0.1:80;priority=%s", bad[i]);
        fails(target, "a priority is a whole number of 0 to 4294967295");
    }
}

Test(static_resolver, sixty_four_attributes_are_the_most)
{
    for (int count = 64; count <= 65; count++) {
        char target[2048] = "static:10.0.0.1:80", expected[2048] = "10.0.0.1:80";
        for (int i = 0; i < count; i++) {
            (void)snprintf(target + strlen(target), sizeof target - strlen(target), ";k%02d=%d", i, i);
            (void)snprintf(expected + strlen(expected), sizeof expected - strlen(expected), ";k%02d=%d", i, i);
        }
        if (count == 64) {
            succeeds(target, expected);
        } else {
            fails(target, "item 1 of the list, at byte 0: ");
            fails(target, "more than 64 attributes");
        }
    }
}

Test(static_resolver, blanks_around_items_and_attributes_do_not_count)
{
    succeeds("static:  10.0.0.1:80  ;  a=1  ,  10.0.0.2:80  ,  ,   ", "10.0.0.1:80;a=1,10.0.0.2:80");
    fails("static:   ", "no address");
    fails("static:10.0.0.1:80 , x", "item 2 of the list, at byte 14: ");
    fails("static:10.0.0.1:80;a", "key=value");
    succeeds("static:10.0.0.1:80;a=;;b=2", "10.0.0.1:80;a=;b=2");
}

static void expect_authority(const char *target_text, const char *expected)
{
    evener_target *target;
    const evener_resolver_builder *builder;
    char authority[256] = "";
    cr_assert_eq(evener_resolver_lookup(NULL, target_text, &target, &builder, NULL), EVENER_STATUS_OK);
    cr_assert_not_null(builder->default_authority);
    cr_assert_eq(builder->default_authority(builder, target, authority, sizeof authority, NULL), EVENER_STATUS_OK);
    cr_assert_str_eq(authority, expected);
    cr_assert_neq(builder->default_authority(builder, target, authority, 3, NULL), EVENER_STATUS_OK);
    evener_target_destroy(target);
}

/* grpc: naming.md */
Test(sockaddr, default_authority)
{
    expect_authority("unix:///tmp/x", "localhost");
    expect_authority("unix-abstract:x", "localhost");
    expect_authority("vsock:2:50051", "localhost");
    expect_authority("static:10.0.0.1:80;weight=3,10.0.0.2:80", "10.0.0.1:80");
    expect_authority("static:unix:/x", "localhost");
    expect_authority("static:[fe80::1%25eth0]:80", "localhost");
    /* The endpoint part: the channel does it. */
    cr_assert_null(evener_resolver_find(NULL, "ipv4")->default_authority);
    cr_assert_null(evener_resolver_find(NULL, "ipv6")->default_authority);
}

Test(static_resolver, refused_list_is_pushed_again_when_asked_for)
{
    resolver_fixture *f = resolver_fixture_create();
    f->sink.refuse = true;
    resolver_fixture_open(f, "static:10.0.0.1:80");
    f->resolver->vtable->resolve_now(f->resolver);
    cr_assert_eq(f->sink.update_count, 1, "never from inside resolve_now()");
    f->sink.refuse = false;
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(f->sink.update_count, 2);
    f->resolver->vtable->resolve_now(f->resolver);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(f->sink.update_count, 2, "it was accepted");
    resolver_fixture_destroy(f);
}

/* include/evener/resolver.h: a resolver whose update is not accepted backs off and retries. */
Test(static_resolver, refused_list_is_pushed_again_until_it_is_accepted)
{
    resolver_fixture *f = resolver_fixture_create();
    f->sink.refuse = true;
    resolver_fixture_open(f, "static:10.0.0.1:80");
    virtual_loop_advance_ms(f->loop, 500);
    cr_assert_eq(f->sink.update_count, 1);
    virtual_loop_advance_ms(f->loop, 750);
    cr_assert_eq(f->sink.update_count, 2);
    virtual_loop_advance_ms(f->loop, 2000);
    cr_assert_eq(f->sink.update_count, 3);
    f->sink.refuse = false;
    virtual_loop_advance_ms(f->loop, 3200);
    cr_assert_eq(f->sink.update_count, 4);
    virtual_loop_advance_ms(f->loop, 1000000);
    cr_assert_eq(f->sink.update_count, 4, "it was accepted");
    resolver_fixture_destroy(f);
}

Test(static_resolver, refused_list_is_pushed_again_at_once_when_the_backoff_is_reset)
{
    resolver_fixture *f = resolver_fixture_create();
    f->sink.refuse = true;
    resolver_fixture_open(f, "static:10.0.0.1:80");
    virtual_loop_advance_ms(f->loop, 1000000);
    const size_t pushes = f->sink.update_count;
    evener_resolver_reset_backoff(f->resolver);
    cr_assert_eq(f->sink.update_count, pushes, "never from inside reset_backoff()");
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(f->sink.update_count, pushes + 1);
    virtual_loop_advance_ms(f->loop, 1250);
    cr_assert_eq(f->sink.update_count, pushes + 2, "the intervals are short again");
    resolver_fixture_destroy(f);
}

Test(static_resolver, close_right_after_resolve_now)
{
    resolver_fixture *f = resolver_fixture_create();
    f->sink.refuse = true;
    resolver_fixture_open(f, "static:10.0.0.1:80");
    f->resolver->vtable->resolve_now(f->resolver);
    resolver_fixture_close(f);
    virtual_loop_run_until_idle(f->loop);
    cr_assert_eq(f->sink.update_count, 1);
    resolver_fixture_destroy(f);
}

/* issue: 100,000 addresses; each twice, so that a quadratic search for duplicates would be seen */
Test(static_resolver, hundred_thousand_addresses)
{
    char *target = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&target, &bytes);
    fputs("static:", stream);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100000; i++) {
            fprintf(stream, "10.%d.%d.%d:80,", i >> 16, (i >> 8) & 255, i & 255);
        }
    }
    fclose(stream);
    resolver_fixture *f = resolver_fixture_create();
    resolver_fixture_open(f, target);
    cr_assert_eq(f->sink.address_count, 100000);
    resolver_fixture_destroy(f);
    free(target);
}
