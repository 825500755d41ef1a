/* The resolver `etcd:` and registration against Debian's etcd: one member and three. Without the package each test says
 * that it was skipped. EVENER_ETCD_OPERATIONS is the number of random operations (300). */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <evener/call.h>
#include <evener/etcd.h>
#include <evener/stats.h>

#include "demo_server/server.h"
#include "tests/support/certificates.h"
#include "tests/support/real_etcd.h"
#include "tests/support/resolver_fixture.h"

#define A "{\"Op\":0,\"Addr\":\"127.0.0.1:1\"}"
#define B "{\"Op\":0,\"Addr\":\"127.0.0.1:2\"}"
#define C "{\"Op\":0,\"Addr\":\"127.0.0.1:3\"}"

typedef struct scene {
    real_etcd *etcd;
    resolver_fixture *f;
    evener_attribute options[8];
    const evener_resolver_builder *builders[1];
} scene;

static scene *scene_create(unsigned members, const real_etcd_options *options)
{
    scene *s = calloc(1, sizeof *s);
    s->etcd = real_etcd_start(members, options);
    if (s->etcd == NULL) {
        free(s);
        cr_skip_test("etcd-server and etcd-client are not installed: skipped");
    }
    s->f = resolver_fixture_create_on_thread();
    s->builders[0] = evener_etcd_resolver();
    s->f->set = (evener_resolver_set){.own = s->builders, .own_count = 1};
    s->f->options = s->options;
    s->options[0] = (evener_attribute){"etcd.backoff_max_ms", "500"};
    s->f->option_count = 1;
    return s;
}

static void set_option(scene *s, const char *key, const char *value)
{
    s->options[s->f->option_count++] = (evener_attribute){key, value};
}

static void scene_open(scene *s, const char *service)
{
    char target[400];
    snprintf(target, sizeof target, "etcd://%s/%s", real_etcd_members(s->etcd), service);
    resolver_fixture_open(s->f, target);
}

static void scene_destroy(scene *s)
{
    resolver_fixture_destroy(s->f);
    real_etcd_stop(s->etcd);
    free(s);
}

static bool has_addresses(const recording_sink *sink, void *arg)
{
    return strcmp(sink->addresses, arg) == 0;
}

/* Wait, 60 s at most: elections take a while on a busy machine. */
static void expect_list(scene *s, const char *addresses)
{
    bool reached = false;
    for (int i = 0; i < 6 && !reached; i++) {
        reached = resolver_fixture_wait(s->f, has_addresses, (void *)(uintptr_t)addresses);
    }
    cr_assert(reached, "the list is %s, %s", s->f->sink.addresses, s->f->sink.error.message);
}

static bool has_errors(const recording_sink *sink, void *arg)
{
    return sink->error_count >= *(size_t *)arg;
}

static void ctl(scene *s, const char *arguments, const char *wanted)
{
    char *output = real_etcd_ctl(s->etcd, arguments);
    cr_assert_not_null(strstr(output, wanted), "etcdctl %s: %s", arguments, output);
    free(output);
}

Test(real_etcd, etcdctl_puts_changes_and_deletes)
{
    scene *s = scene_create(1, NULL);
    scene_open(s, "orders");
    expect_list(s, "");
    ctl(s, "put orders/a '" A "'", "OK");
    expect_list(s, "127.0.0.1:1");
    ctl(s, "put orders/b '" B "'", "OK");
    expect_list(s, "127.0.0.1:1,127.0.0.1:2");
    ctl(s, "put orders/a '" C "'", "OK");
    expect_list(s, "127.0.0.1:3,127.0.0.1:2");
    ctl(s, "del orders/b", "1");
    expect_list(s, "127.0.0.1:3");
    int64_t lease = 0;
    real_etcd_put_leased(s->etcd, "orders/leased", B, 5, &lease);
    expect_list(s, "127.0.0.1:3,127.0.0.1:2");
    expect_list(s, "127.0.0.1:3"); /* when the lease ends */
    scene_destroy(s);
}

static void count_state(void *arg, evener_etcd_state state, const evener_status *status)
{
    (void)status;
    (void)__atomic_add_fetch((uint32_t *)arg + state, 1, __ATOMIC_RELEASE); /* pairs with the acquire below */
}

Test(real_etcd, etcdctl_sees_what_was_registered)
{
    scene *s = scene_create(1, NULL);
    evener_etcd_registration *registration = NULL;
    evener_status status;
    uint32_t states[3] = {0};
    char target[400];
    const evener_attribute weight = {"weight", "3"};
    snprintf(target, sizeof target, "etcd://%s/orders", real_etcd_members(s->etcd));
    const evener_etcd_registration_options options = {.size = sizeof options,
                                                      .target = target,
                                                      .address = "127.0.0.1:7",
                                                      .attributes = &weight,
                                                      .attribute_count = 1,
                                                      .ttl_s = 5,
                                                      .changed = count_state,
                                                      .arg = states};
    scene_open(s, "orders");
    cr_assert_eq(evener_etcd_register(&options, &registration, &status), EVENER_STATUS_OK, "%s", status.message);
    expect_list(s, "127.0.0.1:7;weight=3");
    ctl(s, "get --prefix orders/",
        "orders/127.0.0.1:7\n{\"Op\":0,\"Addr\":\"127.0.0.1:7\",\"Metadata\":{\"weight\":3}}");
    ctl(s, "del orders/127.0.0.1:7", "1");
    expect_list(s, "");
    expect_list(s, "127.0.0.1:7;weight=3"); /* put again */
    real_etcd_kill(s->etcd, 0);
    sleep(1);
    real_etcd_revive(s->etcd, 0);
    sleep(7); /* longer than the TTL: the key stays only if it is kept alive */
    expect_list(s, "127.0.0.1:7;weight=3");
    cr_expect_eq(evener_etcd_unregister(registration, 20000, &status), EVENER_STATUS_OK, "%s", status.message);
    expect_list(s, "");
    cr_expect_geq(__atomic_load_n(&states[EVENER_ETCD_REGISTERED], __ATOMIC_ACQUIRE), 2);
    scene_destroy(s);
}

/* Return the member that the source names. */
static unsigned watched_member(scene *s)
{
    const char *at = strstr(s->f->sink.source, "etcd 127.0.0.1:");
    char members[256];
    char *rest = NULL;
    unsigned index = 0;
    snprintf(members, sizeof members, "%s", real_etcd_members(s->etcd));
    for (char *member = strtok_r(members, ",", &rest); at != NULL && member != NULL;
         member = strtok_r(NULL, ",", &rest), index++) {
        if (strncmp(at + 5, member, strlen(member)) == 0) {
            return index;
        }
    }
    return 0;
}

Test(real_etcd, a_killed_member_and_a_compaction_lose_nothing, .timeout = 250)
{
    scene *s = scene_create(3, NULL);
    char wanted[512] = "";
    scene_open(s, "orders");
    for (unsigned i = 0; i < 4; i++) {
        char key[32], value[64];
        snprintf(key, sizeof key, "orders/%u", i);
        snprintf(value, sizeof value, "{\"Addr\":\"127.0.0.1:%u\"}", i + 1);
        const unsigned victim = watched_member(s);
        real_etcd_kill(s->etcd, victim);
        real_etcd_put(s->etcd, key, value);
        real_etcd_put(s->etcd, "other", "x");
        real_etcd_compact(s->etcd);
        snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%s127.0.0.1:%u", i > 0 ? "," : "", i + 1);
        expect_list(s, wanted);
        real_etcd_revive(s->etcd, victim);
    }
    scene_destroy(s);
}

Test(real_etcd, all_members_down_and_back_with_other_data, .timeout = 250)
{
    scene *s = scene_create(1, NULL);
    real_etcd_put(s->etcd, "orders/a", A);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    const size_t updates = s->f->sink.update_count;
    real_etcd_kill(s->etcd, 0);
    sleep(2);
    cr_expect_eq(s->f->sink.update_count, updates, "%s", s->f->sink.addresses);
    real_etcd_reset(s->etcd, 0); /* another cluster, at revision 1 */
    real_etcd_put(s->etcd, "orders/b", B);
    expect_list(s, "127.0.0.1:2");
    scene_destroy(s);
}

Test(real_etcd, a_user_reads_over_the_end_of_its_tokens, .timeout = 250)
{
    scene *s = scene_create(1, &(real_etcd_options){.arguments = {"--auth-token-ttl", "1"}});
    ctl(s, "user add root:secret", "created");
    ctl(s, "user grant-role root root", "granted");
    ctl(s, "user add reader:pass", "created");
    ctl(s, "role add orders", "created");
    ctl(s, "role grant-permission orders --prefix=true read orders/", "updated");
    ctl(s, "user grant-role reader orders", "granted");
    ctl(s, "auth enable", "Enabled");
    set_option(s, "etcd.user", "reader");
    set_option(s, "etcd.password", "pass");
    ctl(s, "--user root:secret put orders/a '" A "'", "OK");
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    sleep(3); /* the token has expired */
    real_etcd_kill(s->etcd, 0);
    real_etcd_revive(s->etcd, 0);
    for (int i = 0; i < 100; i++) {
        char *output = real_etcd_ctl(s->etcd, "--user root:secret put orders/b '" B "'");
        const bool done = strstr(output, "OK") != NULL;
        free(output);
        if (done) {
            break;
        }
        usleep(100000);
    }
    expect_list(s, "127.0.0.1:1,127.0.0.1:2");
    scene_destroy(s);
}

static void write_pem(const char *folder, const char *name, const char *text, char *path, size_t room)
{
    snprintf(path, room, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

Test(real_etcd, members_with_tls_that_ask_for_a_certificate, .timeout = 250)
{
    char folder[] = "/tmp/evener-etcd-pem-XXXXXX";
    char ca[64], server[64], server_key[64], client[64], client_key[64], command[96];
    certificates made;
    evener_credentials *credentials = NULL;
    evener_status status;
    size_t errors = 1;
    cr_assert_not_null(mkdtemp(folder));
    certificates_make(&made);
    write_pem(folder, "ca.pem", made.authority, ca, sizeof ca);
    write_pem(folder, "server.pem", made.address_certificate, server, sizeof server);
    write_pem(folder, "server.key", made.address_key, server_key, sizeof server_key);
    write_pem(folder, "client.pem", made.client_certificate, client, sizeof client);
    write_pem(folder, "client.key", made.client_key, client_key, sizeof client_key);
    const evener_tls_options tls = {.size = sizeof tls,
                                    .root_certificates = made.authority,
                                    .certificate_chain = made.client_certificate,
                                    .private_key = made.client_key};
    cr_assert_eq(evener_credentials_create_tls(&tls, &credentials, &status), EVENER_STATUS_OK, "%s", status.message);
    scene *s = scene_create(1, &(real_etcd_options){.arguments = {"--cert-file", server, "--key-file", server_key,
                                                                  "--trusted-ca-file", ca, "--client-cert-auth"},
                                                    .credentials = credentials});
    real_etcd_put(s->etcd, "orders/a", A);
    set_option(s, "etcd.ca", ca);
    scene_open(s, "orders"); /* without a certificate of its own */
    cr_expect(resolver_fixture_wait(s->f, has_errors, &errors));
    resolver_fixture_close(s->f);
    set_option(s, "etcd.certificate", client);
    set_option(s, "etcd.key", client_key);
    scene_open(s, "orders");
    expect_list(s, "127.0.0.1:1");
    scene_destroy(s);
    evener_credentials_destroy(credentials);
    certificates_free(&made);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_expect_eq(system(command), 0);
}

static bool has_count(const recording_sink *sink, void *arg)
{
    return sink->address_count == *(size_t *)arg;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

Test(real_etcd, a_hundred_thousand_endpoints_are_listed_and_followed, .timeout = 250)
{
    scene *s = scene_create(1, &(real_etcd_options){.arguments = {"--max-txn-ops", "5000"}});
    size_t wanted = 100000;
    real_etcd_put_many(s->etcd, "orders/", 100000);
    const uint64_t began_ms = now_ms();
    scene_open(s, "orders");
    cr_assert(resolver_fixture_wait(s->f, has_count, &wanted), "%zu", s->f->sink.address_count);
    cr_log_info("listed in %llu ms", (unsigned long long)(now_ms() - began_ms));
    real_etcd_put(s->etcd, "orders/00000500x", A);
    wanted++;
    cr_assert(resolver_fixture_wait(s->f, has_count, &wanted), "%zu", s->f->sink.address_count);
    real_etcd_delete(s->etcd, "orders/00099999");
    wanted--;
    cr_assert(resolver_fixture_wait(s->f, has_count, &wanted), "%zu", s->f->sink.address_count);
    scene_destroy(s);
}

/* ---- random operations under load ---- */

#define SERVERS 4
#define KEYS 12

typedef struct load {
    evener_channel *channel;
    bool stop; /* atomic */
    uint64_t calls, failed;
    char first_failure[EVENER_STATUS_MESSAGE_BYTES];
} load;

static void *call_all_the_time(void *arg)
{
    load *l = arg;
    while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE)) {
        evener_status status;
        const evener_call_options options = {.size = sizeof options, .timeout_ms = 20000};
        l->calls++;
        if (evener_unary_call(l->channel, "/evener.demo.Echo/Unary", NULL, &options, NULL, &status) !=
            EVENER_STATUS_OK) {
            if (l->failed++ == 0) {
                snprintf(l->first_failure, sizeof l->first_failure, "%s", status.message);
            }
        }
        usleep(500);
    }
    return NULL;
}

typedef struct port_set {
    bool has[65536];
} port_set;

static void add_port(void *arg, const char *key, const char *value)
{
    (void)key;
    const char *at = strstr(value, "127.0.0.1:");
    ((port_set *)arg)->has[at != NULL ? atoi(at + 10) : 0] = true;
}

/* Return whether the channel's list is etcd's. */
static bool is_same_list(scene *s, evener_channel *channel)
{
    port_set *of_etcd = calloc(1, sizeof *of_etcd);
    port_set *of_channel = calloc(1, sizeof *of_channel);
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof *stats.subchannels};
    real_etcd_visit(s->etcd, "orders/", add_port, of_etcd);
    cr_assert_eq(evener_channel_get_stats(channel, &stats, NULL), EVENER_STATUS_OK);
    for (size_t i = 0; i < stats.subchannel_count; i++) {
        of_channel->has[atoi(strchr(stats.subchannels[i].address, ':') + 1)] = true;
    }
    evener_channel_stats_clear(&stats);
    const bool same = memcmp(of_etcd, of_channel, sizeof *of_etcd) == 0;
    free(of_etcd);
    free(of_channel);
    return same;
}

static unsigned random_below(uint64_t *random, unsigned bound)
{
    *random = *random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(*random >> 33) % bound;
}

static void write_value(char *value, size_t room, demo_server *const *servers, unsigned index)
{
    snprintf(value, room, "{\"Op\":0,\"Addr\":\"127.0.0.1:%u\"}", demo_server_port(servers[index]));
}

static void operate(scene *s, demo_server *const *servers, uint64_t *random, int *down)
{
    char key[32], value[64];
    snprintf(key, sizeof key, "orders/%u", random_below(random, KEYS));
    write_value(value, sizeof value, servers, random_below(random, SERVERS));
    const unsigned what = random_below(random, 1000);
    int64_t lease = 0;
    if (what < 500) {
        real_etcd_put(s->etcd, key, value);
    } else if (what < 940) {
        real_etcd_delete(s->etcd, key);
    } else if (what < 970) {
        real_etcd_put_leased(s->etcd, key, value, 1, &lease);
    } else if (what < 990) {
        real_etcd_compact(s->etcd);
    } else if (*down >= 0) {
        real_etcd_revive(s->etcd, (unsigned)*down);
        *down = -1;
    } else {
        *down = (int)random_below(random, 3);
        real_etcd_kill(s->etcd, (unsigned)*down);
    }
}

Test(real_etcd, random_operations_under_load_fail_no_call_and_end_with_the_list_of_etcd, .timeout = 280)
{
    const char *wanted = getenv("EVENER_ETCD_OPERATIONS");
    const unsigned operations = wanted != NULL ? (unsigned)atoi(wanted) : 300;
    scene *s = scene_create(3, NULL);
    demo_server *servers[SERVERS];
    char error[DEMO_SERVER_ERROR_BYTES], target[400], value[64];
    evener_credentials *insecure = NULL;
    evener_status status;
    load l = {0};
    pthread_t thread;
    uint64_t random = (uint64_t)getpid();
    int down = -1;
    for (unsigned i = 0; i < SERVERS; i++) {
        servers[i] = demo_server_start(&(demo_server_options){0}, error);
        cr_assert_not_null(servers[i], "%s", error);
    }
    write_value(value, sizeof value, servers, 0);
    real_etcd_put(s->etcd, "orders/always", value);
    evener_credentials_create_insecure(&insecure, NULL);
    snprintf(target, sizeof target, "etcd://%s/orders", real_etcd_members(s->etcd));
    const evener_channel_options options = {.size = sizeof options,
                                            .credentials = insecure,
                                            .transport_name = "http2",
                                            .policy = "round_robin",
                                            .resolvers = s->builders,
                                            .resolver_count = 1};
    cr_assert_eq(evener_channel_create(target, &options, &l.channel, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_channel_wait_ready(l.channel, 60000, &status), EVENER_STATUS_OK, "%s", status.message);
    pthread_create(&thread, NULL, call_all_the_time, &l);
    for (unsigned i = 0; i < operations; i++) {
        operate(s, servers, &random, &down);
    }
    if (down >= 0) {
        real_etcd_revive(s->etcd, (unsigned)down);
    }
    bool same = false;
    for (int i = 0; i < 300 && !same; i++) { /* leases end meanwhile */
        usleep(100000);
        same = is_same_list(s, l.channel);
    }
    cr_expect(same, "the channel's list is not that of etcd");
    __atomic_store_n(&l.stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    cr_expect_eq(l.failed, 0, "%llu of %llu calls failed, the first: %s", (unsigned long long)l.failed,
                 (unsigned long long)l.calls, l.first_failure);
    cr_expect_gt(l.calls, 100);
    evener_channel_unref(l.channel);
    evener_credentials_destroy(insecure);
    for (unsigned i = 0; i < SERVERS; i++) {
        demo_server_stop(servers[i], 0);
    }
    scene_destroy(s);
}
