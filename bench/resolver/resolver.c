/* Resolvers: how long a long list takes to parse, and how long a change of a watched file takes to arrive.
 *
 *     bench_resolver [--quick] [--output=FILE]
 *
 * Parsing is measured in processor time. "arrive" is the time from the rename of the new file to the update,
 * including the settling time. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <evener/resolver.h>
#include <evener/runtime.h>

#include "bench/support/measure.h"
#include "bench/support/output.h"
#include "resolver/file_endpoints.h"
#include "resolver/list.h"

#define ENDPOINTS 100000
#define ARRIVE_TIMEOUT_S 10

/* ---- parsing ---- */

enum form { LINES, LIBCONFIG, LIST, FORMS };
static const char *const form_names[] = {[LINES] = "lines", [LIBCONFIG] = "libconfig", [LIST] = "list"};

/* Return a list as text. `salt` becomes part of the last endpoint. */
static char *make_text(enum form form, size_t endpoints, unsigned salt, size_t *bytes)
{
    static const char *const formats[] = {
        [LINES] = "10.%u.%u.%u:%u weight=%u zone=z%u\n",
        [LIBCONFIG] = "{ address = \"10.%u.%u.%u:%u\"; weight = %u; zone = \"z%u\"; }",
        [LIST] = "10.%u.%u.%u:%u;weight=%u;zone=z%u,",
    };
    char *text = NULL;
    FILE *stream = open_memstream(&text, bytes);
    fputs(form == LIBCONFIG ? "endpoints = (\n" : "", stream);
    for (unsigned i = 0; i < endpoints; i++) {
        const unsigned port = i + 1 == endpoints ? 1 + salt % 60000 : 50051;
        fprintf(stream, formats[form], i >> 16, (i >> 8) & 255, i & 255, port, i % 9 + 1, i % 3);
        fputs(form == LIBCONFIG && i + 1 < endpoints ? ",\n" : "", stream);
    }
    fputs(form == LIBCONFIG ? " );\n" : "", stream);
    fclose(stream);
    return text;
}

static bool parse(enum form form, char *text, size_t bytes)
{
    evener_file_endpoints endpoints = {.entries = NULL};
    evener_list list = EVENER_LIST_INIT;
    evener_status status = {.code = EVENER_STATUS_OK};
    const evener_status_code code = form == LINES ? evener_file_parse_lines("bench", text, bytes, &endpoints, &status)
                                    : form == LIBCONFIG
                                        ? evener_file_parse_config("bench", text, bytes, &endpoints, &status)
                                        : evener_list_parse(&list, "bench", text, &status);
    bench_keep(endpoints.count + list.count);
    evener_file_endpoints_clear(&endpoints);
    evener_list_clear(&list);
    return code == EVENER_STATUS_OK;
}

static void measure_parsing(json_t *rows, unsigned passes)
{
    for (enum form form = LINES; form < FORMS; form++) {
        bench_figure ms = {0};
        for (unsigned pass = 0; pass < passes; pass++) {
            size_t bytes;
            char *text = make_text(form, ENDPOINTS, pass, &bytes);
            const uint64_t began_ns = bench_cpu_ns();
            if (!parse(form, text, bytes)) {
                bench_complain("a list in the form %s does not parse", form_names[form]);
            }
            bench_figure_add(&ms, (double)(bench_cpu_ns() - began_ns) / 1e6);
            free(text);
        }
        json_t *row =
            json_pack("{s:s, s:s, s:i}", "what", "parse and free", "form", form_names[form], "endpoints", ENDPOINTS);
        bench_set_figure(row, "ms", &ms);
        json_array_append_new(rows, row);
        bench_progress("parse   %-10s %6d endpoints %9.1f ms", form_names[form], ENDPOINTS, bench_figure_median(&ms));
    }
}

/* ---- a watched file ---- */

struct watched {
    evener_resolver_sink sink;
    evener_resolver *resolver;
    pthread_mutex_t lock;
    pthread_cond_t pushed;
    unsigned updates;
    uint64_t arrived_ns;
};

static bool watched_update(evener_resolver_sink *sink, const evener_resolver_update *update)
{
    struct watched *watched = (struct watched *)sink;
    (void)update;
    pthread_mutex_lock(&watched->lock);
    watched->updates++;
    watched->arrived_ns = bench_now_ns();
    pthread_cond_signal(&watched->pushed);
    pthread_mutex_unlock(&watched->lock);
    return true;
}

static void watched_error(evener_resolver_sink *sink, const evener_status *status)
{
    (void)sink;
    bench_complain("%s", status->message);
}

static const evener_resolver_sink_vtable watched_sink = {
    .size = sizeof watched_sink, .update = watched_update, .error = watched_error};

static bool wait_for_update(struct watched *watched, unsigned number)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ARRIVE_TIMEOUT_S;
    int error = 0;
    pthread_mutex_lock(&watched->lock);
    while (watched->updates < number && error == 0) {
        error = pthread_cond_timedwait(&watched->pushed, &watched->lock, &until);
    }
    pthread_mutex_unlock(&watched->lock);
    return error == 0;
}

static void start(void *arg)
{
    struct watched *watched = arg;
    watched->resolver->vtable->start(watched->resolver);
}

static void stop(void *arg)
{
    struct watched *watched = arg;
    watched->resolver->vtable->close(watched->resolver);
}

/* Write the list to a file beside `path` and rename it to `path`. Return the time of the rename. */
static uint64_t replace(const char *path, size_t endpoints, unsigned salt)
{
    char beside[64];
    size_t bytes;
    char *text = make_text(LINES, endpoints, salt, &bytes);
    snprintf(beside, sizeof beside, "%s.new", path);
    FILE *file = fopen(beside, "w");
    if (file == NULL || fwrite(text, 1, bytes, file) != bytes || fclose(file) != 0) {
        bench_complain("cannot write %s", beside);
    }
    free(text);
    const uint64_t now_ns = bench_now_ns();
    if (rename(beside, path) != 0) {
        bench_complain("cannot rename %s", beside);
    }
    return now_ns;
}

static void measure_arrival(json_t *rows, evener_runtime *runtime, size_t endpoints, unsigned passes)
{
    struct watched watched = {
        .sink = {.vtable = &watched_sink}, .lock = PTHREAD_MUTEX_INITIALIZER, .pushed = PTHREAD_COND_INITIALIZER};
    char directory[] = "/tmp/evener-bench-XXXXXX";
    char path[64], text[96];
    evener_target *target;
    const evener_resolver_builder *builder;
    evener_status status;
    if (mkdtemp(directory) == NULL) {
        bench_complain("cannot create a directory in /tmp");
        return;
    }
    snprintf(path, sizeof path, "%s/list", directory);
    snprintf(text, sizeof text, "file://%s", path);
    (void)replace(path, endpoints, 0);
    evener_resolver_args args = {
        .size = sizeof args, .sink = &watched.sink, .runtime = runtime, .loop = evener_runtime_loop(runtime)};
    if (evener_resolver_lookup(NULL, text, &target, &builder, &status) != EVENER_STATUS_OK) {
        bench_complain("%s", status.message);
        return;
    }
    args.target = target;
    if (builder->build(builder, &args, &watched.resolver, &status) != EVENER_STATUS_OK) {
        bench_complain("%s", status.message);
    } else {
        evener_runtime_call(runtime, start, &watched);
        bench_figure ms = {0};
        for (unsigned pass = 1; pass <= passes; pass++) {
            const uint64_t changed_ns = replace(path, endpoints, pass);
            if (!wait_for_update(&watched, pass + 1)) {
                bench_complain("a change of %s did not arrive", path);
                break;
            }
            bench_figure_add(&ms, (double)(watched.arrived_ns - changed_ns) / 1e6);
        }
        evener_runtime_call(runtime, stop, &watched);
        json_t *row = json_pack("{s:s, s:s, s:I}", "what", "one line changed, until the update", "form", "lines",
                                "endpoints", (json_int_t)endpoints);
        bench_set_figure(row, "ms", &ms);
        json_array_append_new(rows, row);
        bench_progress("arrive  %-10s %6zu endpoints %9.1f ms", "lines", endpoints, bench_figure_median(&ms));
    }
    evener_target_destroy(target);
    (void)unlink(path);
    (void)rmdir(directory);
}

int main(int argc, char **argv)
{
    bool quick;
    const char *output;
    if (!bench_arguments(argc, argv, "bench_resolver", &quick, &output)) {
        return 2;
    }
    const unsigned passes = quick ? 3 : 10;
    json_t *rows = json_array();
    evener_runtime *runtime;
    evener_status status;
    measure_parsing(rows, passes);
    if (evener_runtime_create(NULL, &runtime, &status) == EVENER_STATUS_OK) {
        measure_arrival(rows, runtime, 1, passes);
        measure_arrival(rows, runtime, ENDPOINTS, passes);
        evener_runtime_unref(runtime);
    } else {
        bench_complain("%s", status.message);
    }
    return bench_finish(json_pack("{s:o}", "resolver", rows), output);
}
