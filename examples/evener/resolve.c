/* evener resolve TARGET: print what a channel with this target would see. This is a resolver without a channel: a
 * runtime, the target's builder, and a sink of its own. */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <evener/resolver.h>
#include <evener/runtime.h>

#include "examples/evener/cli.h"
#include "examples/evener/commands.h"
#include "examples/evener/resolve_report.h"

#define DEFAULT_PORT 443

/* `sink` is the first member. */
struct resolve {
    evener_resolver_sink sink;
    evener_runtime *runtime;
    evener_resolver *resolver;
    resolve_report report;
    const cli_options *options;
    bool errors_only;
    /* The first result, from the control thread to the main thread. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool answered;
    bool failed;
};

/* ---- the sink: on the control thread ---- */

static void answered(struct resolve *self, bool failed)
{
    pthread_mutex_lock(&self->lock);
    if (!self->answered) {
        self->answered = true;
        self->failed = failed;
        pthread_cond_signal(&self->changed);
    }
    pthread_mutex_unlock(&self->lock);
}

static bool sink_update(evener_resolver_sink *sink, const evener_resolver_update *update)
{
    struct resolve *self = (struct resolve *)sink;
    if (!self->options->watch && self->answered) {
        return true; /* a further update before close() */
    }
    for (size_t i = 0; i < update->address_count; i++) {
        if (update->addresses[i] == NULL) {
            fprintf(stderr, "evener: resolve: the resolver pushed NULL as address %zu\n", i + 1);
            return false;
        }
    }
    if (!self->options->watch && update->address_count == 0) {
        evener_status none;
        evener_status_set(&none, EVENER_STATUS_NOT_FOUND, "no address%s%s", update->source != NULL ? ", says " : "",
                          update->source != NULL ? update->source : "");
        resolve_report_error(&self->report, &none);
        answered(self, true);
        return true;
    }
    const bool taken = self->errors_only || resolve_report_update(&self->report, update);
    int error;
    if (self->options->watch && !cli_flush(&error)) {
        (void)kill(getpid(), SIGTERM); /* ends the watch in follow(); main() reports the error */
    }
    answered(self, !taken);
    return taken;
}

static void sink_error(evener_resolver_sink *sink, const evener_status *status)
{
    struct resolve *self = (struct resolve *)sink;
    if (self->options->watch || !self->answered) {
        resolve_report_error(&self->report, status);
        answered(self, true);
    }
}

static const evener_resolver_sink_vtable sink_vtable = {
    .size = sizeof sink_vtable,
    .update = sink_update,
    .error = sink_error,
};

/* ---- the resolver's life ---- */

static void start(void *arg)
{
    struct resolve *self = arg;
    self->resolver->vtable->start(self->resolver);
}

static void stop(void *arg)
{
    struct resolve *self = arg;
    self->resolver->vtable->close(self->resolver);
}

/* Wait for the first answer. False: the timeout has passed. */
static bool wait_for_answer(struct resolve *self)
{
    const uint64_t timeout_ms = self->options->timeout_ms;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until); /* which self->changed waits by */
    until.tv_sec += (time_t)(timeout_ms / 1000);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    int error = 0;
    pthread_mutex_lock(&self->lock);
    while (!self->answered && error == 0) {
        error = timeout_ms > 0 ? pthread_cond_timedwait(&self->changed, &self->lock, &until)
                               : pthread_cond_wait(&self->changed, &self->lock);
    }
    const bool done = self->answered;
    pthread_mutex_unlock(&self->lock);
    return done;
}

static int follow(struct resolve *self, const sigset_t *interrupts)
{
    evener_runtime_call(self->runtime, start, self);
    int status = EXIT_SUCCESS;
    if (self->options->watch) {
        int signal_number;
        sigwait(interrupts, &signal_number);
    } else if (!wait_for_answer(self)) {
        cli_error("resolve %.200s: no answer within %.3g s", self->options->target,
                  (double)self->options->timeout_ms / 1000);
        status = EXIT_FAILURE;
    } else if (self->failed) {
        status = EXIT_FAILURE;
    }
    evener_runtime_call(self->runtime, stop, self);
    return status;
}

static int run(struct resolve *self)
{
    /* Before any thread starts, so that only sigwait() gets the signals. Without --watch they end the program. */
    sigset_t interrupts;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigaddset(&interrupts, SIGTERM);
    if (self->options->watch) {
        pthread_sigmask(SIG_BLOCK, &interrupts, NULL);
    }

    const evener_resolver_set set = {.own = NULL};
    evener_target *target = NULL;
    const evener_resolver_builder *builder;
    evener_status status;
    int exit_status = EXIT_FAILURE;
    evener_status_code code = evener_runtime_create(NULL, &self->runtime, &status);
    if (code == EVENER_STATUS_OK) {
        code = evener_resolver_lookup(&set, self->options->target, &target, &builder, &status);
    }
    if (code == EVENER_STATUS_OK) {
        const evener_resolver_args args = {
            .size = sizeof args,
            .target = target,
            .sink = &self->sink,
            .runtime = self->runtime,
            .loop = evener_runtime_loop(self->runtime),
            .default_port = self->options->default_port != 0 ? (uint32_t)self->options->default_port : DEFAULT_PORT,
            .options = self->options->resolver_options,
            .option_count = self->options->resolver_option_count,
            .resolvers = &set,
        };
        code = builder->check != NULL ? builder->check(builder, &args, &status) : code;
        if (code == EVENER_STATUS_OK) {
            code = builder->build(builder, &args, &self->resolver, &status);
        }
    }
    if (code == EVENER_STATUS_OK) {
        exit_status = follow(self, &interrupts);
    } else {
        resolve_report_error(&self->report, &status);
    }
    evener_target_destroy(target);
    evener_runtime_unref(self->runtime);
    return exit_status;
}

static int resolve(const cli_options *options, bool errors_only)
{
    struct resolve self = {
        .sink = {.vtable = &sink_vtable},
        .options = options,
        .errors_only = errors_only,
        .report = {.target = options->target, .json = options->json, .watch = options->watch},
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&self.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    const int status = run(&self);
    pthread_cond_destroy(&self.changed);
    resolve_report_clear(&self.report);
    return status;
}

int cli_resolve(const cli_options *options)
{
    return resolve(options, false);
}

bool cli_resolve_once(const cli_options *options)
{
    return resolve(options, true) == EXIT_SUCCESS;
}
