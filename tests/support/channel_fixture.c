#include "tests/support/channel_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/stats.h>

static void require(evener_status_code code, const evener_status *status)
{
    if (code != EVENER_STATUS_OK) {
        fprintf(stderr, "channel fixture: %s\n", status->message);
        abort();
    }
}

static fixture *create(const evener_channel_options *options, bool counted, fake_call_script script, void *arg)
{
    fixture *f = calloc(1, sizeof *f);
    evener_status status;
    f->loop = virtual_loop_create(1);
    const evener_runtime_options runtime_options = {.size = sizeof runtime_options, .loop = virtual_loop_loop(f->loop)};
    require(evener_runtime_create(&runtime_options, &f->runtime, &status), &status);
    f->transport = fake_transport_create(virtual_loop_loop(f->loop), counted);
    if (script != NULL) {
        fake_transport_carry_calls(f->transport, script, arg);
    }
    require(evener_manual_resolver_create("orders", &f->resolver, &status), &status);
    const evener_resolver_builder *resolvers[] = {evener_manual_resolver_builder(f->resolver)};
    evener_channel_options own = {.policy = "round_robin"};
    if (options != NULL) {
        own = *options;
    }
    own.size = sizeof own;
    own.runtime = f->runtime;
    own.transport = fake_transport_transport(f->transport);
    own.resolvers = resolvers;
    own.resolver_count = 1;
    require(evener_channel_create("orders:///x", &own, &f->channel, &status), &status);
    return f;
}

fixture *fixture_create(const evener_channel_options *options)
{
    return create(options, true, NULL, NULL);
}

fixture *fixture_create_uncounted(const evener_channel_options *options)
{
    return create(options, false, NULL, NULL);
}

fixture *fixture_create_calling(const evener_channel_options *options, fake_call_script script, void *arg)
{
    return create(options, true, script, arg);
}

void fixture_destroy(fixture *f)
{
    evener_channel_unref(f->channel);
    virtual_loop_run_until_idle(f->loop);
    if (fake_transport_unfreed(f->transport) != 0) {
        fprintf(stderr, "channel fixture: a connection given up was never freed\n");
        abort();
    }
    fake_transport_destroy(f->transport);
    evener_manual_resolver_destroy(f->resolver);
    evener_runtime_unref(f->runtime);
    virtual_loop_destroy(f->loop);
    free(f);
}

void fixture_push(fixture *f, const char *addresses)
{
    fixture_push_config(f, addresses, NULL);
}

void fixture_push_config(fixture *f, const char *addresses, const char *service_config)
{
    evener_status status;
    require(evener_manual_resolver_set(f->resolver, addresses, service_config, &status), &status);
    virtual_loop_run_until_idle(f->loop);
}

void fixture_connect(fixture *f)
{
    evener_channel_connect(f->channel);
    virtual_loop_run_until_idle(f->loop);
}

const char *fixture_call(fixture *f, evener_status_code code)
{
    evener_pick pick;
    evener_status status;
    const evener_done_info info = {.size = sizeof info, .code = code};
    switch (evener_channel_try_pick(f->channel, NULL, &pick, &status)) {
    case EVENER_PICK_COMPLETE:
        snprintf(f->picked, sizeof f->picked, "%s", evener_subchannel_address_text(pick.subchannel));
        evener_pick_done(&pick, &info);
        break;
    case EVENER_PICK_QUEUE:
        snprintf(f->picked, sizeof f->picked, "queue");
        break;
    case EVENER_PICK_FAIL:
    case EVENER_PICK_DROP:
    default:
        snprintf(f->picked, sizeof f->picked, "%s: %.200s", evener_status_code_name(status.code), status.message);
        break;
    }
    return f->picked;
}

const char *fixture_pick(fixture *f)
{
    return fixture_call(f, EVENER_STATUS_OK);
}

evener_subchannel_stats fixture_stats(fixture *f, const char *address)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    evener_status status;
    require(evener_channel_get_stats(f->channel, &stats, &status), &status);
    for (size_t i = 0; i < stats.subchannel_count; i++) {
        if (strcmp(stats.subchannels[i].address, address) == 0) {
            const evener_subchannel_stats found = stats.subchannels[i];
            evener_channel_stats_clear(&stats);
            return found;
        }
    }
    fprintf(stderr, "channel fixture: %s is not in the list\n", address);
    abort();
}
