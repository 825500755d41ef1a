/* DNS away and back, seen from a channel: on a virtual loop, with scripted DNS and a fake transport. */
#include <stdlib.h>

#include <criterion/criterion.h>

#include <evener/channel.h>

#include "resolver/dns/system.h"
#include "tests/support/fake_dns_client.h"
#include "tests/support/fake_transport.h"
#include "tests/support/virtual_loop.h"

struct scene {
    virtual_loop *loop;
    evener_runtime *runtime;
    fake_transport *transport;
    fake_dns_client dns;
    evener_dns_texts texts;
    evener_channel *channel;
};

static struct scene *scene_create(const char *target)
{
    struct scene *s = calloc(1, sizeof *s);
    evener_status status;
    cr_assert_not_null(s);
    fake_dns_client_init(&s->dns);
    s->texts = (evener_dns_texts){.resolv_conf = ""};
    s->dns.base.texts = &s->texts;
    s->loop = virtual_loop_create(1);
    const evener_runtime_options runtime_options = {.size = sizeof runtime_options, .loop = virtual_loop_loop(s->loop)};
    cr_assert_eq(evener_runtime_create(&runtime_options, &s->runtime, &status), EVENER_STATUS_OK);
    s->transport = fake_transport_create(virtual_loop_loop(s->loop), true);
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = s->runtime,
                                            .transport = fake_transport_transport(s->transport),
                                            .resolvers = s->dns.own,
                                            .resolver_count = 2,
                                            .policy = "round_robin"};
    cr_assert_eq(evener_channel_create(target, &options, &s->channel, &status), EVENER_STATUS_OK, "%s", status.message);
    return s;
}

static void scene_destroy(struct scene *s)
{
    evener_channel_unref(s->channel);
    virtual_loop_run_until_idle(s->loop);
    cr_assert_eq(s->dns.in_flight, 0, "a query outlived its channel");
    fake_transport_destroy(s->transport);
    evener_runtime_unref(s->runtime);
    virtual_loop_destroy(s->loop);
    free(s);
}

static void set(struct scene *s, const char *name, const char *a, const char *aaaa)
{
    (void)fake_dns_set(&s->dns, EVENER_DNS_A, name, a, 30);
    (void)fake_dns_set(&s->dns, EVENER_DNS_AAAA, name, aaaa, 30);
}

/* `outage`: what DNS answers for 46 s; "?" is silence. */
static void comes_back(const char *target, const char *outage)
{
    struct scene *s = scene_create(target);
    set(s, "orders", outage, outage);
    evener_channel_connect(s->channel);
    virtual_loop_advance_ms(s->loop, 46000);
    cr_assert_eq(evener_channel_state(s->channel, false), EVENER_TRANSIENT_FAILURE);
    set(s, "orders", "10.0.0.1", "");
    evener_channel_reset_connect_backoff(s->channel);
    virtual_loop_advance_ms(s->loop, 1000);
    cr_expect_eq(evener_channel_state(s->channel, false), EVENER_READY);
    scene_destroy(s);
}

Test(outage, n4_ready_within_1_s_after_46_s_of_silence)
{
    comes_back("dns:///orders:1", "?");
}

Test(outage, n4_ready_within_1_s_after_46_s_of_servfail)
{
    comes_back("dns:///orders:1", "!SERVFAIL");
}

Test(outage, n4_ready_within_1_s_through_compositions)
{
    comes_back("fallback:dns:///orders:1|merge:dns%3A///orders%3A2%257Cdns%3A///orders%3A3", "!SERVFAIL");
}

/* A list that is in force serves through the outage, also for longer than a family is kept; an idle channel would end. */
Test(outage, n5_the_last_list_serves_on)
{
    struct scene *s = scene_create("dns:///orders:1");
    set(s, "orders", "10.0.0.1", "");
    evener_channel_connect(s->channel);
    virtual_loop_advance_ms(s->loop, 1000);
    cr_assert_eq(evener_channel_state(s->channel, false), EVENER_READY);
    set(s, "orders", "!SERVFAIL", "NXDOMAIN");
    virtual_loop_advance_ms(s->loop, 1200000);
    cr_expect_eq(evener_channel_state(s->channel, false), EVENER_READY);
    scene_destroy(s);
}
