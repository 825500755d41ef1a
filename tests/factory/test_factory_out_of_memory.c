/* Every allocation of a reload fails in turn: the reload says so or has done its work, and the next one does it. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <evener/factory.h>

#include "tests/support/failing_memory.h"
#include "tests/support/virtual_loop.h"

static const char *const texts[] = {
    "channels = { a = { target = \"static:127.0.0.1:1\"; credentials = \"insecure\"; transport = \"http2\"; }; };\n",
    "channels = { a = { target = \"static:127.0.0.1:2\"; authority = \"other.test\"; credentials = \"insecure\";\n"
    "  transport = \"http2\"; service_config = { loadBalancingPolicy = \"round_robin\"; }; }; };\n"};
static const char *const targets[] = {"static:127.0.0.1:1", "static:127.0.0.1:2"};
static const char *const authorities[] = {"127.0.0.1:1", "other.test"};

static char path[64];

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void expect_settings(evener_channel *channel, size_t which)
{
    cr_assert_str_eq(evener_channel_target(channel), targets[which]);
    cr_assert_str_eq(evener_channel_authority(channel), authorities[which]);
}

Test(factory_memory, a_reload_fails_or_has_changed_the_channel)
{
    virtual_loop *loop = virtual_loop_create(1);
    evener_runtime *runtime;
    evener_factory *factory;
    evener_channel *channel;
    evener_status status;
    const evener_runtime_options runtime_options = {.size = sizeof runtime_options, .loop = virtual_loop_loop(loop)};
    cr_assert_eq(evener_runtime_create(&runtime_options, &runtime, &status), EVENER_STATUS_OK, "%s", status.message);
    snprintf(path, sizeof path, "/tmp/evener_factory_memory_%ld.cfg", (long)getpid());
    write_file(texts[0]);
    const evener_factory_options options = {
        .size = sizeof options, .runtime = runtime, .watch_interval_ms = UINT64_MAX};
    cr_assert_eq(evener_factory_open(path, &options, &factory, &status), EVENER_STATUS_OK, "%s", status.message);
    cr_assert_eq(evener_factory_channel(factory, "a", &channel, &status), EVENER_STATUS_OK);
    unsigned failed = 0, kept = 0;
    bool has_failed = true; /* an allocation */
    for (uint64_t fail_at = 1; has_failed; fail_at++) {
        const size_t next = fail_at % 2;
        write_file(texts[next]);
        failing_memory_arm(fail_at, false);
        const evener_status_code code = evener_factory_reload(factory, &status);
        has_failed = failing_memory_disarm() >= fail_at;
        virtual_loop_run_until_idle(loop);
        if (code != EVENER_STATUS_OK) {
            cr_assert_eq(code, EVENER_STATUS_RESOURCE_EXHAUSTED, "allocation %llu: %s", (unsigned long long)fail_at,
                         status.message);
            failed++;
            kept += strstr(status.message, "channel a keeps its settings") != NULL;
            cr_assert_eq(evener_factory_reload(factory, &status), EVENER_STATUS_OK, "%s", status.message);
            virtual_loop_run_until_idle(loop);
        }
        expect_settings(channel, next);
    }
    cr_expect_gt(failed, 20);
    cr_expect_gt(kept, 0);
    evener_channel_unref(channel);
    evener_factory_close(factory);
    virtual_loop_run_until_idle(loop);
    evener_runtime_unref(runtime);
    virtual_loop_destroy(loop);
    (void)unlink(path);
}
