/* Certificates renewed under load, against real servers with mTLS: no call fails, whichever of the two files is
 * replaced first and whether or not servers accept the new credentials. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <evener/evener.h>

#include "demo_server/server.h"
#include "tests/support/certificates.h"
#include "tests/support/transport_choice.h"

#define THREADS 4
#define SERVERS 2

static certificates made;
static evener_factory *factory;
static evener_channel *channel;
static evener_runtime *runtime;
static demo_server *servers[SERVERS];
static char folder[] = "/tmp/evener-rotation-XXXXXX";
static pthread_t threads[THREADS];
static bool stopping; /* atomic */
static bool callers_run;
static uint64_t calls, failures; /* atomic */
static char first_failure[EVENER_STATUS_MESSAGE_BYTES];

static void write_file(const char *name, const char *text)
{
    char path[128];
    char next[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(next, sizeof next, "%s/next", folder);
    FILE *file = fopen(next, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    cr_assert_eq(rename(next, path), 0);
}

static char *joined(const char *first, const char *second)
{
    char *text;
    cr_assert_geq(asprintf(&text, "%s%s", first, second), 0);
    return text;
}

static demo_server *serve(const char *clients_authority)
{
    grpc_ssl_pem_key_cert_pair pair = {made.address_key, made.address_certificate};
    grpc_server_credentials *credentials = grpc_ssl_server_credentials_create_ex(
        clients_authority, &pair, 1, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, NULL);
    char error[DEMO_SERVER_ERROR_BYTES];
    const demo_server_options options = {.credentials = credentials};
    demo_server *server = demo_server_start(&options, error);
    cr_assert(server != NULL, "%s", error);
    grpc_server_credentials_release(credentials);
    return server;
}

static void *keep_calling(void *arg)
{
    while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
        evener_status status;
        const evener_call_options options = {.size = sizeof options, .timeout_ms = 60000};
        if (evener_unary_call(channel, "/evener.demo.Echo/Unary", NULL, &options, NULL, &status) != EVENER_STATUS_OK &&
            __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED) == 0) {
            snprintf(first_failure, sizeof first_failure, "%s", status.message);
        }
        (void)__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    }
    return arg;
}

static void start_callers(void)
{
    stopping = false;
    for (size_t i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, keep_calling, NULL), 0);
    }
    callers_run = true;
}

static void stop_callers(void)
{
    __atomic_store_n(&stopping, true, __ATOMIC_RELAXED);
    for (size_t i = 0; callers_run && i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    callers_run = false;
}

static void more_calls(uint64_t count)
{
    const uint64_t until = __atomic_load_n(&calls, __ATOMIC_RELAXED) + count;
    while (__atomic_load_n(&calls, __ATOMIC_RELAXED) < until) {
        usleep(1000);
    }
}

/* Return the number of calls that the first server has served. */
static evener_subchannel_stats stats_now(void)
{
    evener_channel_stats stats = {.size = sizeof stats, .subchannel_bytes = sizeof(evener_subchannel_stats)};
    cr_assert_eq(evener_channel_get_stats(channel, &stats, NULL), EVENER_STATUS_OK);
    const evener_subchannel_stats first = stats.subchannels[0];
    evener_channel_stats_clear(&stats);
    return first;
}

static void reload(evener_status_code expected, evener_status *status)
{
    cr_assert_eq(evener_factory_reload(factory, status), expected, "%s", status->message);
}

/* The first server accepts clients of both authorities. The second accepts only those of the authority that signed the
 * renewed certificate: it gets calls if and only if the renewed pair is in use. */
static void set_up(void)
{
    certificates_make(&made);
    grpc_init();
    cr_assert_not_null(mkdtemp(folder));
    char *both = joined(made.authority, made.other_authority);
    servers[0] = serve(both);
    servers[1] = serve(made.other_authority);
    free(both);
    write_file("ca.pem", made.authority);
    write_file("client.pem", made.client_certificate);
    write_file("client.key", made.client_key);
    char text[512];
    snprintf(text, sizeof text,
             "channels = { a = { target = \"static:127.0.0.1:%u,127.0.0.1:%u\"; policy = \"round_robin\";\n"
             " backoff = { initial_ms = 20; max_ms = 50; };\n"
             " credentials = { ca = \"ca.pem\"; certificate = \"client.pem\"; key = \"client.key\"; }; }; };\n",
             demo_server_port(servers[0]), demo_server_port(servers[1]));
    write_file("evener.cfg", text);
    cr_assert_eq(evener_runtime_create(NULL, &runtime, NULL), EVENER_STATUS_OK);
    char path[128];
    snprintf(path, sizeof path, "%s/evener.cfg", folder);
    evener_status status;
    const evener_factory_options options = {
        .size = sizeof options, .runtime = runtime, .watch_interval_ms = EVENER_NEVER_MS};
    cr_assert_eq(evener_factory_open(path, &options, &factory, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_factory_channel(factory, "a", &channel, &status), EVENER_STATUS_OK);
    cr_assert_eq(evener_channel_wait_ready(channel, 60000, &status), EVENER_STATUS_OK, "%s", status.message);
    start_callers();
    more_calls(200);
}

static void tear_down(void)
{
    stop_callers();
    cr_expect_eq(failures, 0, "%llu of %llu calls failed: %s", (unsigned long long)failures, (unsigned long long)calls,
                 first_failure);
    evener_channel_unref(channel);
    evener_factory_close(factory);
    evener_runtime_unref(runtime);
    for (size_t i = 0; i < SERVERS; i++) {
        demo_server_stop(servers[i], 0);
    }
    grpc_shutdown();
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    (void)!system(command);
    certificates_free(&made);
}

TestSuite(rotation, .init = set_up, .fini = tear_down, .timeout = 240);

/* C7: the certificate is replaced first, any time before its key. */
Test(rotation, a_certificate_before_its_key_fails_no_call)
{
    evener_status status;
    cr_assert_eq(demo_server_calls(servers[1]), 0);
    write_file("client.pem", made.renewed_certificate);
    reload(EVENER_STATUS_INVALID_ARGUMENT, &status);
    cr_expect_not_null(strstr(status.message, "the private key in \"client.key\" does not belong to the certificate"));
    cr_expect_not_null(strstr(status.message, "in \"client.pem\""), "%s", status.message);
    more_calls(1000);
    cr_expect_eq(stats_now().connects, 1, "the old pair serves");
    cr_expect_eq(demo_server_calls(servers[1]), 0);
    write_file("client.key", made.renewed_key);
    reload(EVENER_STATUS_OK, &status);
    while (demo_server_calls(servers[1]) < 100 || stats_now().connects < 2) {
        more_calls(10);
    }
    more_calls(1000);
    cr_expect_eq(stats_now().connects, 2);
}

/* The new roots fit no server: each new connection fails, and the working one is kept. */
Test(rotation, credentials_that_never_connect_fail_no_call)
{
    evener_status status;
    write_file("ca.pem", made.other_authority);
    reload(EVENER_STATUS_OK, &status);
    while (stats_now().connect_failures < 5) {
        more_calls(10);
    }
    more_calls(1000);
    const evener_subchannel_stats stats = stats_now();
    cr_expect_eq(stats.state, EVENER_READY);
    cr_expect_eq(stats.connects, 1);
    cr_expect_not_null(strstr(stats.last_error, on_core() ? "certificate verify failed" : "self-signed certificate"),
                       "%s", stats.last_error);
    write_file("ca.pem", made.authority);
    reload(EVENER_STATUS_OK, &status);
    while (stats_now().connects < 2) {
        more_calls(10);
    }
    more_calls(200);
}

Test(rotation, an_authority_that_no_server_bears_fails_no_call)
{
    evener_status status;
    char path[128];
    snprintf(path, sizeof path, "%s/evener.cfg", folder);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    char text[1024] = "";
    cr_assert_gt(fread(text, 1, sizeof text - 1, file), 0);
    fclose(file);
    char *changed = joined("defaults = { authority = \"billing.test\"; };\n", text);
    write_file("evener.cfg", changed);
    reload(EVENER_STATUS_OK, &status);
    while (stats_now().connect_failures < 5) {
        more_calls(10);
    }
    cr_expect_not_null(strstr(stats_now().last_error, "billing.test"), "%s", stats_now().last_error);
    cr_expect_eq(stats_now().connects, 1);
    write_file("evener.cfg", text);
    reload(EVENER_STATUS_OK, &status);
    while (stats_now().connects < 2) {
        more_calls(10);
    }
    free(changed);
}

#define ROTATIONS 1000

/* What a file of the folder may hold, by the draw. The last two are no PEM at all, and cut in the middle. */
enum { FIRST, SECOND, NO_PEM, CUT, CONTENTS };

typedef struct rotated_file {
    const char *name;
    const char *first, *second;
    int now; /* one of the contents */
} rotated_file;

static void write_content(rotated_file *file, int content)
{
    char *half = strndup(file->first, strlen(file->first) / 2);
    file->now = content;
    write_file(file->name, content == FIRST    ? file->first
                           : content == SECOND ? file->second
                           : content == NO_PEM ? "not a PEM text\n"
                                               : half);
    free(half);
}

/* C7: what is not a pair, or not PEM, is refused; whatever is accepted, no call fails. */
Test(rotation, a_thousand_random_rotations_fail_no_call_and_the_last_good_pair_is_in_force)
{
    rotated_file files[] = {{"ca.pem", made.authority, made.other_authority, FIRST},
                            {"client.pem", made.client_certificate, made.renewed_certificate, FIRST},
                            {"client.key", made.client_key, made.renewed_key, FIRST}};
    unsigned seed = 20;
    unsigned taken = 0;
    evener_status status;
    for (int i = 0; i < ROTATIONS; i++) {
        write_content(&files[rand_r(&seed) % 3], rand_r(&seed) % CONTENTS);
        const bool is_good =
            files[0].now <= SECOND && files[1].now <= SECOND && files[2].now <= SECOND && files[1].now == files[2].now;
        reload(is_good ? EVENER_STATUS_OK : EVENER_STATUS_INVALID_ARGUMENT, &status);
        taken += is_good;
        more_calls(1);
    }
    cr_assert(taken > 20 && taken < ROTATIONS / 2, "%u rotations were good: the draw is no test", taken);
    write_content(&files[0], FIRST);
    write_content(&files[1], SECOND);
    write_content(&files[2], SECOND);
    reload(EVENER_STATUS_OK, &status);
    const uint64_t before = demo_server_calls(servers[1]);
    while (demo_server_calls(servers[1]) < before + 100) {
        more_calls(10); /* only the second pair is accepted there */
    }
    write_content(&files[2], FIRST);
    reload(EVENER_STATUS_INVALID_ARGUMENT, &status);
    const uint64_t with_last_good = demo_server_calls(servers[1]);
    while (demo_server_calls(servers[1]) < with_last_good + 100) {
        more_calls(10);
    }
}

static evener_credentials *credentials_of(const char *chain, const char *key)
{
    evener_status status;
    evener_credentials *credentials = NULL;
    const evener_tls_options texts = {
        .size = sizeof texts, .root_certificates = made.authority, .certificate_chain = chain, .private_key = key};
    cr_assert_eq(evener_credentials_create_tls(&texts, &credentials, &status), EVENER_STATUS_OK, "%s", status.message);
    return credentials;
}

/* Let the callers use a channel that no factory has made, with the first pair. */
static void use_own_channel(void)
{
    char target[64];
    evener_status status;
    evener_channel *own = NULL;
    evener_credentials *first = credentials_of(made.client_certificate, made.client_key);
    const evener_channel_options options = {.size = sizeof options,
                                            .runtime = runtime,
                                            .credentials = first,
                                            .policy = "round_robin",
                                            .backoff_initial_ms = 20,
                                            .backoff_max_ms = 50};
    snprintf(target, sizeof target, "static:127.0.0.1:%u,127.0.0.1:%u", demo_server_port(servers[0]),
             demo_server_port(servers[1]));
    cr_assert_eq(evener_channel_create(target, &options, &own, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(first);
    cr_assert_eq(evener_channel_wait_ready(own, 60000, &status), EVENER_STATUS_OK, "%s", status.message);
    stop_callers();
    evener_channel_unref(channel);
    channel = own;
    start_callers();
    cr_assert_eq(demo_server_calls(servers[1]), 0);
}

static void wait_for_second_pair(void)
{
    const uint64_t before = demo_server_calls(servers[1]);
    while (demo_server_calls(servers[1]) < before + 100) {
        more_calls(10); /* only the second pair is accepted there */
    }
}

Test(rotation, credentials_of_any_channel_are_replaced_without_a_failed_call)
{
    evener_status status;
    use_own_channel();
    evener_credentials *second = credentials_of(made.renewed_certificate, made.renewed_key);
    cr_assert_eq(evener_channel_set_credentials(channel, second, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(second);
    wait_for_second_pair();
    cr_expect_eq(stats_now().connects, 2);
    cr_expect_eq(evener_channel_set_credentials(channel, NULL, &status), EVENER_STATUS_INVALID_ARGUMENT);
    evener_channel_close(channel);
    evener_credentials *third = credentials_of(made.client_certificate, made.client_key);
    stop_callers(); /* their last calls fail: the channel is closed */
    failures = 0;
    cr_expect_eq(evener_channel_set_credentials(channel, third, &status), EVENER_STATUS_UNAVAILABLE);
    evener_credentials_destroy(third);
}

static evener_tls_watch_stats stats_of(evener_tls_watch *watch)
{
    evener_tls_watch_stats stats = {.size = sizeof stats};
    cr_assert_eq(evener_tls_watch_get_stats(watch, &stats, NULL), EVENER_STATUS_OK);
    return stats;
}

Test(rotation, a_watch_follows_files_and_refuses_half_a_pair)
{
    evener_status status;
    evener_tls_watch *watch = NULL;
    char names[3][128];
    static const char *const parts[] = {"ca.pem", "client.pem", "client.key"};
    for (int i = 0; i < 3; i++) {
        snprintf(names[i], sizeof names[i], "%s/%s", folder, parts[i]);
    }
    use_own_channel();
    const evener_tls_files files = {.size = sizeof files,
                                    .root_certificates = names[0],
                                    .certificate_chain = names[1],
                                    .private_key = names[2],
                                    .interval_ms = 5};
    cr_assert_eq(evener_tls_watch_start(channel, &files, &watch, &status), EVENER_STATUS_OK, "%s", status.message);
    write_file("client.pem", made.renewed_certificate);
    while (stats_of(watch).refused == 0) {
        more_calls(1);
    }
    cr_expect_not_null(strstr(stats_of(watch).last_error, "does not belong"), "%s", stats_of(watch).last_error);
    cr_expect_eq(evener_tls_watch_read_now(watch, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(demo_server_calls(servers[1]), 0);
    write_file("client.key", made.renewed_key);
    wait_for_second_pair();
    while (stats_of(watch).last_error[0] != '\0') {
        more_calls(1);
    }
    cr_expect_eq(stats_of(watch).rotations, 1, "a file that is read twice rotates once");
    evener_tls_watch_stop(watch);
}

Test(rotation, files_that_are_no_pair_are_named)
{
    evener_status status;
    evener_credentials *credentials = NULL;
    char chain[128];
    char key[128];
    snprintf(chain, sizeof chain, "%s/client.pem", folder);
    snprintf(key, sizeof key, "%s/missing.key", folder);
    evener_tls_files files = {.size = sizeof files, .certificate_chain = chain, .private_key = key};
    cr_expect_eq(evener_tls_files_read(&files, &credentials, &status), EVENER_STATUS_NOT_FOUND);
    cr_expect_not_null(strstr(status.message, "missing.key"), "%s", status.message);
    files.private_key = NULL;
    cr_expect_eq(evener_tls_files_read(&files, &credentials, &status), EVENER_STATUS_INVALID_ARGUMENT);
    snprintf(key, sizeof key, "%s/client.key", folder);
    files.private_key = key;
    cr_expect_eq(evener_tls_files_read(&files, &credentials, &status), EVENER_STATUS_OK, "%s", status.message);
    evener_credentials_destroy(credentials);
}
