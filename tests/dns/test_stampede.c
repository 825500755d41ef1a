/* Many watches of one name: one query per refresh, and clients that started together drift apart. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/support/fake_dns_client.h"
#include "tests/support/recording_sink.h"
#include "tests/support/virtual_loop.h"

#define CLIENTS 1000
#define TTL_S 30

/* One resolver of a runtime. */
struct client {
    recording_sink sink;
    evener_target *target;
    evener_resolver *resolver;
};

static void client_open(struct client *c, evener_runtime *runtime, fake_dns_client *dns)
{
    const evener_resolver_builder *builder;
    recording_sink_init(&c->sink);
    cr_assert_eq(evener_resolver_lookup(&dns->set, "dns:///x:1", &c->target, &builder, NULL), EVENER_STATUS_OK);
    const evener_resolver_args args = {
        .size = sizeof args,
        .target = c->target,
        .sink = &c->sink.base,
        .runtime = runtime,
        .loop = evener_runtime_loop(runtime),
        .default_port = 443,
        .resolvers = &dns->set,
    };
    cr_assert_eq(builder->build(builder, &args, &c->resolver, NULL), EVENER_STATUS_OK);
    c->resolver->vtable->start(c->resolver);
}

static void client_close(struct client *c)
{
    c->resolver->vtable->close(c->resolver);
    evener_target_destroy(c->target);
    recording_sink_clear(&c->sink);
}

static evener_runtime *runtime_on(virtual_loop *loop)
{
    const evener_runtime_options options = {.size = sizeof options, .loop = virtual_loop_loop(loop)};
    evener_runtime *runtime;
    cr_assert_eq(evener_runtime_create(&options, &runtime, NULL), EVENER_STATUS_OK);
    return runtime;
}

/* issue: 1,000 channels on one name: one query per refresh */
Test(dns_stampede, a_thousand_channels_ask_once)
{
    static struct client clients[CLIENTS];
    fake_dns_client dns;
    fake_dns_client_init(&dns);
    virtual_loop *loop = virtual_loop_create(7);
    evener_runtime *runtime = runtime_on(loop);
    fake_dns_script *a = fake_dns_set(&dns, EVENER_DNS_A, "x", "10.0.0.1", TTL_S);
    for (size_t i = 0; i < CLIENTS; i++) {
        client_open(&clients[i], runtime, &dns);
    }
    virtual_loop_run_until_idle(loop);
    cr_assert_eq(a->asked, 1);
    a = fake_dns_set(&dns, EVENER_DNS_A, "x", "10.0.0.1,10.0.0.2", TTL_S);
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i].resolver->vtable->resolve_now(clients[i].resolver);
    }
    virtual_loop_advance_ms(loop, TTL_S * 1000);
    cr_assert_eq(a->asked, 2);
    for (size_t i = 0; i < CLIENTS; i++) {
        cr_assert_str_eq(clients[i].sink.addresses, "10.0.0.1:1,10.0.0.2:1");
        cr_assert_eq(clients[i].sink.update_count, 2);
    }
    struct client late;
    client_open(&late, runtime, &dns);
    cr_assert_eq(late.sink.update_count, 1, "a known answer is pushed at once");
    client_close(&late);
    for (size_t i = 0; i < CLIENTS; i++) {
        client_close(&clients[i]);
    }
    cr_assert_eq(dns.in_flight, 0);
    evener_runtime_unref(runtime);
    virtual_loop_destroy(loop);
}

/* issue: 1,000 clients started together: refreshes spread evenly over the jitter window after the first TTL */
Test(dns_stampede, a_thousand_clients_drift_apart)
{
    static struct client clients[CLIENTS];
    static evener_runtime *runtimes[CLIENTS];
    fake_dns_client dns;
    fake_dns_client_init(&dns);
    virtual_loop *loop = virtual_loop_create(7);
    fake_dns_script *a = fake_dns_set(&dns, EVENER_DNS_A, "x", "10.0.0.1", TTL_S);
    for (size_t i = 0; i < CLIENTS; i++) {
        runtimes[i] = runtime_on(loop);
        client_open(&clients[i], runtimes[i], &dns);
    }
    virtual_loop_run_until_idle(loop);
    cr_assert_eq(a->asked, CLIENTS);
    virtual_loop_advance_ms(loop, 24000 - 1); /* 0.8 of the TTL */
    cr_assert_eq(a->asked, CLIENTS);
    /* Ten slices of the window: 100 each +- five standard deviations (9.5). */
    for (int slice = 0; slice < 10; slice++) {
        const size_t before = a->asked;
        virtual_loop_advance_ms(loop, 600);
        const size_t asked = a->asked - before;
        cr_assert(asked > 52 && asked < 148, "slice %d: %zu", slice, asked);
    }
    virtual_loop_advance_ms(loop, 1);
    cr_assert_eq(a->asked, 2 * CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++) {
        client_close(&clients[i]);
        evener_runtime_unref(runtimes[i]);
    }
    virtual_loop_run_until_idle(loop);
    virtual_loop_destroy(loop);
}
