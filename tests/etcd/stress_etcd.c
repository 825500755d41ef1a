/* Channels that follow a scripted etcd, and servers that register there, while it changes, hangs up, is compacted and
 * loses its leader: nothing races, and each channel ends with the list of etcd. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <evener/channel.h>
#include <evener/etcd.h>
#include <evener/stats.h>

#include "tests/support/fake_etcd.h"

#define CHANNELS 3
#define REGISTRATIONS 3
#define ROUNDS 120

static void require(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "stress_etcd: %s\n", what);
        abort();
    }
}

static size_t count_addresses(evener_channel *channel)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    require(evener_channel_get_stats(channel, &stats, NULL) == EVENER_STATUS_OK, "stats");
    const size_t count = stats.subchannel_count;
    evener_channel_stats_clear(&stats);
    return count;
}

static void disturb(fake_etcd *etcd, unsigned round)
{
    char key[32], value[64];
    snprintf(key, sizeof key, "orders/%u", round % 7);
    snprintf(value, sizeof value, "{\"Addr\":\"127.0.0.2:%u\"}", round % 13 + 1);
    switch (round % 8) {
    case 0:
        fake_etcd_hang_up(etcd);
        break;
    case 1:
        fake_etcd_compact(etcd);
        break;
    case 2:
        fake_etcd_end_watches(etcd, 14, "etcdserver: no leader");
        break;
    case 3:
        fake_etcd_expire_tokens(etcd);
        break;
    case 4:
        fake_etcd_delete(etcd, key);
        break;
    default:
        fake_etcd_put(etcd, key, value);
        break;
    }
    usleep(2000);
}

int main(void)
{
    fake_etcd *etcd = fake_etcd_start();
    evener_runtime *runtime = NULL;
    evener_credentials *insecure = NULL;
    evener_channel *channels[CHANNELS];
    evener_etcd_registration *registrations[REGISTRATIONS];
    evener_status status;
    char target[64];
    const evener_resolver_builder *builders[] = {evener_etcd_resolver()};
    const evener_attribute resolver_options[] = {
        {"etcd.user", "u"}, {"etcd.password", "p"}, {"etcd.backoff_max_ms", "200"}};
    fake_etcd_set_user(etcd, "u", "p");
    snprintf(target, sizeof target, "etcd://127.0.0.1:%u/orders", fake_etcd_port(etcd));
    require(evener_runtime_create(NULL, &runtime, &status) == EVENER_STATUS_OK, "runtime");
    evener_credentials_create_insecure(&insecure, NULL);
    for (unsigned i = 0; i < REGISTRATIONS; i++) {
        char address[32];
        snprintf(address, sizeof address, "127.0.0.3:%u", i + 1);
        const evener_etcd_registration_options options = {.size = sizeof options,
                                                          .runtime = runtime,
                                                          .target = target,
                                                          .address = address,
                                                          .resolver_options = resolver_options,
                                                          .resolver_option_count = 3,
                                                          .ttl_s = 1};
        require(evener_etcd_register(&options, &registrations[i], &status) == EVENER_STATUS_OK, status.message);
    }
    for (unsigned i = 0; i < CHANNELS; i++) {
        const evener_channel_options options = {.size = sizeof options,
                                                .runtime = runtime,
                                                .credentials = insecure,
                                                .transport_name = "http2",
                                                .resolvers = builders,
                                                .resolver_count = 1,
                                                .resolver_options = resolver_options,
                                                .resolver_option_count = 3};
        require(evener_channel_create(target, &options, &channels[i], &status) == EVENER_STATUS_OK, status.message);
        evener_channel_connect(channels[i]);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        disturb(etcd, round);
    }
    for (unsigned i = 0; i < REGISTRATIONS; i++) {
        (void)evener_etcd_unregister(registrations[i], 20000, &status);
    }
    fake_etcd_expire_lease(etcd, 0);
    for (unsigned i = 0; i < 7; i++) {
        char key[32];
        snprintf(key, sizeof key, "orders/%u", i);
        fake_etcd_delete(etcd, key);
    }
    fake_etcd_put(etcd, "orders/last", "{\"Addr\":\"127.0.0.4:1\"}");
    for (unsigned i = 0; i < CHANNELS; i++) {
        for (unsigned waited = 0; count_addresses(channels[i]) != 1; waited++) {
            require(waited < 6000, "the list is not that of etcd");
            usleep(10000);
        }
        evener_channel_unref(channels[i]);
    }
    evener_credentials_destroy(insecure);
    evener_runtime_unref(runtime);
    fake_etcd_stop(etcd);
    return 0;
}
