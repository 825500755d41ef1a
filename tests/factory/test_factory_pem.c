/* PEM files of a factory: each refusal with its message, and that the configuration in force stays. */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <evener/factory.h>
#include <evener/log.h>
#include <evener/stats.h>
#include <evener/tls_watch.h>

#include "tests/support/certificates.h"
#include "tests/support/fake_transport.h"
#include "tests/support/virtual_loop.h"

#define A "127.0.0.1:1001"
#define CONFIG                                                                                                         \
    "channels = {\n a = { target = \"static:" A "\"; policy = \"round_robin\";\n"                                      \
    " credentials = { ca = \"ca.pem\"; certificate = \"client.pem\"; key = \"client.key\"; }; }; };\n"

static virtual_loop *loop;
static evener_runtime *runtime;
static fake_transport *fake;
static evener_factory *factory;
static char folder[] = "/tmp/evener-pem-XXXXXX";
static certificates made;
static unsigned warnings;
static char last_warning[1024];

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    (void)unlink(path_of(name));
    FILE *file = fopen(path_of(name), "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void count_warnings(void *arg, evener_log_level level, const char *component, const char *message)
{
    (void)arg;
    if (level == EVENER_LOG_WARNING && strcmp(component, "factory") == 0) {
        warnings++;
        snprintf(last_warning, sizeof last_warning, "%s", message);
    }
}

static void set_up(void)
{
    certificates_make(&made);
    loop = virtual_loop_create(1);
    const evener_runtime_options options = {.size = sizeof options, .loop = virtual_loop_loop(loop)};
    cr_assert_eq(evener_runtime_create(&options, &runtime, NULL), EVENER_STATUS_OK);
    fake = fake_transport_create(virtual_loop_loop(loop), true);
    cr_assert_not_null(mkdtemp(folder));
    write_file("evener.cfg", CONFIG);
    write_file("ca.pem", made.authority);
    write_file("client.pem", made.client_certificate);
    write_file("client.key", made.client_key);
    evener_log_set_sink(count_warnings, NULL, EVENER_LOG_WARNING);
}

static void tear_down(void)
{
    evener_factory_close(factory);
    virtual_loop_advance_ms(loop, 1000);
    evener_runtime_unref(runtime);
    virtual_loop_run_until_idle(loop);
    fake_transport_destroy(fake);
    virtual_loop_destroy(loop);
    evener_log_set_sink(NULL, NULL, EVENER_LOG_NONE);
    static const char *const names[] = {"evener.cfg", "ca.pem", "client.pem", "client.key"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)unlink(path_of(names[i]));
        (void)rmdir(path_of(names[i]));
    }
    (void)rmdir(folder);
    certificates_free(&made);
}

TestSuite(factory_pem, .init = set_up, .fini = tear_down);

static evener_status_code open_factory(evener_status *status)
{
    evener_factory_options options = {
        .size = sizeof options, .runtime = runtime, .transport = fake_transport_transport(fake)};
    return evener_factory_open(path_of("evener.cfg"), &options, &factory, status);
}

static evener_channel *open_ready_channel(void)
{
    evener_status status;
    evener_channel *channel;
    cr_assert_eq(open_factory(&status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_factory_channel(factory, "a", &channel, &status), EVENER_STATUS_OK);
    evener_channel_connect(channel);
    virtual_loop_advance_ms(loop, 10);
    cr_assert_eq(evener_channel_state(channel, false), EVENER_READY);
    return channel;
}

static void expect_refusal(const char *name, const char *text, const char *reason)
{
    evener_status status;
    write_file(name, text);
    cr_expect_eq(open_factory(&status), EVENER_STATUS_INVALID_ARGUMENT, "%s: %s", name, text);
    cr_expect_not_null(strstr(status.message, "evener.cfg:3: channels.a.credentials: "), "%s", status.message);
    cr_expect_not_null(strstr(status.message, reason), "%s", status.message);
    cr_expect_null(factory);
    write_file("ca.pem", made.authority);
    write_file("client.pem", made.client_certificate);
    write_file("client.key", made.client_key);
}

static char *joined(const char *first, const char *second)
{
    char *text;
    cr_assert_geq(asprintf(&text, "%s%s", first, second), 0);
    return text;
}

Test(factory_pem, garbage_is_named_with_its_file)
{
    static const char bad[] = "-----BEGIN CERTIFICATE-----\nMQ==\n-----END CERTIFICATE-----\n";
    expect_refusal("ca.pem", bad, "\"ca.pem\": certificate 1 of it cannot be parsed");
    expect_refusal("client.pem", bad, "\"client.pem\": certificate 1 of it cannot be parsed");
    expect_refusal("client.key", "-----BEGIN PRIVATE KEY-----\nMQ==\n-----END PRIVATE KEY-----\n",
                   "\"client.key\" holds no private key that can be parsed");
    char *text = joined(made.authority, bad);
    expect_refusal("ca.pem", text, "\"ca.pem\": certificate 2 of it cannot be parsed");
    free(text);
    /* A half-written file. */
    text = joined(made.authority, made.other_authority);
    text[strlen(made.authority) + 300] = '\0';
    expect_refusal("ca.pem", text, "\"ca.pem\": certificate 2 of it cannot be parsed");
    free(text);
    expect_refusal("client.key", made.client_certificate, "\"client.key\" holds no PEM block");
    expect_refusal("client.pem", made.client_key, "\"client.pem\" holds no PEM block");
    expect_refusal("client.key", made.encrypted_client_key, "\"client.key\" is encrypted");
}

Test(factory_pem, key_and_certificate_have_to_belong_together)
{
    expect_refusal("client.key", made.renewed_key,
                   "the private key in \"client.key\" does not belong to the certificate \"/CN=client.test\" in "
                   "\"client.pem\"");
    char *text = joined(made.authority, made.client_certificate);
    expect_refusal("client.pem", text,
                   "the private key in \"client.key\" belongs to certificate 2 in \"client.pem\": that one has to be "
                   "the first, which is \"/CN=authority\"");
    free(text);
    text = joined(made.client_certificate, made.authority);
    write_file("client.pem", text);
    free(text);
    evener_status status;
    cr_expect_eq(open_factory(&status), EVENER_STATUS_OK, "%s", status.message);
}

/* L4, files that would block the control thread */
Test(factory_pem, a_fifo_does_not_stop_the_control_thread, .timeout = 60)
{
    evener_channel *channel = open_ready_channel();
    cr_assert_eq(unlink(path_of("client.key")), 0);
    cr_assert_eq(mkfifo(path_of("client.key"), 0600), 0);
    evener_status status;
    cr_expect_eq(evener_factory_reload(factory, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "evener.cfg:3: channels.a.credentials.key: "), "%s", status.message);
    cr_expect_not_null(strstr(status.message, "client.key: it is a FIFO"), "%s", status.message);
    cr_assert_eq(unlink(path_of("client.key")), 0);
    cr_assert_eq(mkdir(path_of("client.key"), 0700), 0);
    cr_expect_eq(evener_factory_reload(factory, &status), EVENER_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(status.message, "client.key: it is a directory"), "%s", status.message);
    cr_expect_eq(fake_transport_attempts(fake, A), 1);
    evener_channel_unref(channel);
}

/* C7: a certificate is replaced some time before its key. */
Test(factory_pem, half_a_rotation_waits_for_the_other_half)
{
    evener_channel *channel = open_ready_channel();
    usleep(30000); /* older than the watch's YOUNG_NS: the files are not read a second time */
    virtual_loop_advance_ms(loop, 5000);
    const uint64_t reloads = evener_factory_reload_count(factory);
    write_file("client.pem", made.renewed_certificate);
    usleep(30000);
    virtual_loop_advance_ms(loop, 10000);
    cr_expect_eq(evener_factory_refused_count(factory), 1);
    cr_expect_eq(warnings, 1, "%u: %s", warnings, last_warning);
    cr_expect_not_null(strstr(last_warning, "\"client.key\""), "%s", last_warning);
    cr_expect_not_null(strstr(last_warning, "\"client.pem\""), "%s", last_warning);
    cr_expect_not_null(strstr(last_warning, "stays in force"), "%s", last_warning);
    cr_expect_eq(fake_transport_attempts(fake, A), 1, "the credentials in force stay");
    write_file("client.key", made.renewed_key);
    usleep(30000);
    virtual_loop_advance_ms(loop, 10000);
    cr_expect_eq(evener_factory_refused_count(factory), 1);
    cr_expect_eq(evener_factory_reload_count(factory), reloads + 1);
    cr_expect_eq(fake_transport_attempts(fake, A), 2, "the new pair");
    cr_expect_eq(evener_channel_state(channel, false), EVENER_READY);
    cr_expect_eq(warnings, 1);
    evener_channel_unref(channel);
}

/* Let no file be opened until it is undone. */
static struct rlimit use_up_descriptors(void)
{
    struct rlimit before;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    const int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_assert_geq(lowest, 0);
    close(lowest);
    const struct rlimit none = {.rlim_cur = (rlim_t)lowest, .rlim_max = before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    return before;
}

/* F4: a change that cannot be read is not lost, nor are those after it. */
Test(factory_pem, a_change_that_cannot_be_read_at_that_moment_is_read_later)
{
    evener_channel *channel = open_ready_channel();
    usleep(30000);
    virtual_loop_advance_ms(loop, 5000);
    const uint64_t reloads = evener_factory_reload_count(factory);
    write_file("ca.pem", made.other_authority);
    usleep(30000);
    const struct rlimit before = use_up_descriptors();
    virtual_loop_advance_ms(loop, 1100);
    cr_expect_eq(evener_factory_refused_count(factory), 1);
    cr_expect_not_null(strstr(last_warning, "evener.cfg: cannot be read: Too many open files"), "%s", last_warning);
    virtual_loop_advance_ms(loop, 50000);
    cr_expect_eq(evener_factory_refused_count(factory), 51, "it is read again with each interval");
    cr_expect_eq(warnings, 1, "but not warned of with each: %u warnings", warnings);
    virtual_loop_advance_ms(loop, 100000);
    cr_expect_eq(warnings, 2, "after 1 minute, then after 2: %u warnings", warnings);
    evener_status status;
    cr_expect_eq(evener_factory_reload(factory, &status), EVENER_STATUS_RESOURCE_EXHAUSTED);
    cr_expect_eq(warnings, 3, "a reload that was asked for warns: %u warnings", warnings);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    virtual_loop_advance_ms(loop, 1100);
    cr_expect_eq(evener_factory_reload_count(factory), reloads + 1);
    cr_expect_eq(fake_transport_attempts(fake, A), 2, "the new authority");
    virtual_loop_advance_ms(loop, 5000);
    write_file("ca.pem", made.authority);
    usleep(30000);
    virtual_loop_advance_ms(loop, 5000);
    cr_expect_eq(evener_factory_reload_count(factory), reloads + 2, "files are still watched, and once is enough");
    cr_expect_eq(fake_transport_attempts(fake, A), 3);
    evener_channel_unref(channel);
}

/* As long as the main file is missing or cannot be parsed, it names no PEM file. */
Test(factory_pem, files_in_force_are_watched_while_the_main_file_is_refused)
{
    evener_channel *channel = open_ready_channel();
    usleep(30000);
    virtual_loop_advance_ms(loop, 5000);
    write_file("evener.cfg", "channels = {");
    usleep(30000);
    virtual_loop_advance_ms(loop, 5000);
    cr_expect_eq(evener_factory_refused_count(factory), 1);
    write_file("client.key", made.renewed_key);
    usleep(30000);
    virtual_loop_advance_ms(loop, 5000);
    cr_expect_eq(evener_factory_refused_count(factory), 2);
    evener_channel_unref(channel);
}

/* The same for a watch of a single channel's files. */
Test(factory_pem, a_tls_watch_reads_later_what_cannot_be_read_at_that_moment)
{
    evener_status status;
    evener_channel *channel = NULL;
    evener_credentials *credentials = NULL;
    evener_tls_watch *watch = NULL;
    evener_tls_watch_stats stats = {.size = sizeof stats};
    char roots[128];
    snprintf(roots, sizeof roots, "%s", path_of("ca.pem"));
    const evener_tls_files files = {.size = sizeof files, .root_certificates = roots};
    cr_assert_eq(evener_tls_files_read(&files, &credentials, &status), EVENER_STATUS_OK, "%s", status.message);
    const evener_channel_options options = {
        .size = sizeof options, .runtime = runtime, .transport_name = "http2", .credentials = credentials};
    cr_assert_eq(evener_channel_create("static:" A, &options, &channel, &status), EVENER_STATUS_OK, "%s",
                 status.message);
    evener_credentials_destroy(credentials);
    cr_assert_eq(evener_tls_watch_start(channel, &files, &watch, &status), EVENER_STATUS_OK, "%s", status.message);
    usleep(30000);
    virtual_loop_advance_ms(loop, 5000);
    write_file("ca.pem", made.other_authority);
    usleep(30000);
    const struct rlimit before = use_up_descriptors();
    virtual_loop_advance_ms(loop, 1100);
    cr_assert_eq(evener_tls_watch_get_stats(watch, &stats, NULL), EVENER_STATUS_OK);
    cr_expect_eq(stats.refused, 1);
    cr_expect_not_null(strstr(stats.last_error, "Too many open files"), "%s", stats.last_error);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    virtual_loop_advance_ms(loop, 1100);
    cr_assert_eq(evener_tls_watch_get_stats(watch, &stats, NULL), EVENER_STATUS_OK);
    cr_expect_eq(stats.rotations, 1);
    cr_expect_str_eq(stats.last_error, "");
    write_file("ca.pem", made.authority);
    usleep(30000);
    virtual_loop_advance_ms(loop, 5000);
    cr_assert_eq(evener_tls_watch_get_stats(watch, &stats, NULL), EVENER_STATUS_OK);
    cr_expect_eq(stats.rotations, 2);
    cr_expect_eq(stats.refused, 1);
    evener_tls_watch_stop(watch);
    evener_channel_unref(channel);
}

/* Renewed under the same name. */
Test(factory_pem, another_content_of_a_file_connects_anew)
{
    evener_channel *channel = open_ready_channel();
    virtual_loop_advance_ms(loop, 5000);
    cr_expect_eq(fake_transport_attempts(fake, A), 1);
    write_file("ca.pem", made.other_authority);
    virtual_loop_advance_ms(loop, 1100);
    cr_expect_eq(fake_transport_attempts(fake, A), 2);
    evener_channel_unref(channel);
}
