/* evener resolve TARGET: what a channel opened with this target would see. It is a resolver without a channel: a
 * runtime, the builder found for the target, and a sink of its own. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <evener/resolver.h>
#include <evener/runtime.h>

#include "examples/evener/cli.h"
#include "examples/evener/commands.h"
#include "examples/evener/resolve_report.h"

#define OPTIONS_MAX 32
#define DEFAULT_PORT 443
#define TIMEOUT_S_DEFAULT 30

static const char usage[] =
    "usage: evener resolve TARGET [--watch] [--json] [--timeout=SECONDS] [--default-port=PORT]\n"
    "                      [--option=KEY=VALUE]...\n"
    "\n"
    "Prints the addresses behind a target (dns:///orders.prod:50051, file:///etc/orders.endpoints,\n"
    "static:10.0.0.1:80, ...) with their attributes, where they come from and how long they hold.\n"
    "\n"
    "  --watch         goes on until interrupted, and prints each change: + added, - removed, ~ other attributes\n"
    "  --json          one JSON object a line\n"
    "  --timeout       how long the first answer is waited for without --watch (default 30)\n"
    "  --default-port  for names without a port (default 443)\n"
    "  --option        a resolver's option, as dns.min_refresh_ms=1000\n"
    "\n"
    "Errors go to stderr. Exit status: 0 an answer with addresses, 1 an error or no address, 2 wrong arguments.\n";

/* `sink` is the first member. */
struct resolve {
    evener_resolver_sink sink;
    evener_runtime *runtime;
    evener_resolver *resolver;
    resolve_report report;
    /* Command line. */
    const char *target;
    bool watch, json;
    unsigned timeout_s;
    uint32_t default_port;
    evener_attribute options[OPTIONS_MAX];
    size_t option_count;
    /* The first result: from the control thread to main's. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool answered;
    bool failed;
};

/* ---- the command line ---- */

static const char *value_of(const char *argument, const char *name)
{
    const size_t bytes = strlen(name);
    return strncmp(argument, name, bytes) == 0 && argument[bytes] == '=' ? argument + bytes + 1 : NULL;
}

static bool parse_number(const char *text, unsigned long maximum, unsigned long *number)
{
    char *end;
    errno = 0;
    *number = strtoul(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *number > 0 && *number <= maximum;
}

static bool parse_option(struct resolve *self, char *text)
{
    char *value = strchr(text, '=');
    if (value == NULL || value == text || self->option_count == OPTIONS_MAX) {
        return false;
    }
    *value = '\0';
    self->options[self->option_count++] = (evener_attribute){text, value + 1};
    return true;
}

static bool parse_argument(struct resolve *self, char *argument)
{
    unsigned long number = 0;
    const char *value;
    if (strcmp(argument, "--watch") == 0) {
        self->watch = true;
    } else if (strcmp(argument, "--json") == 0) {
        self->json = true;
    } else if ((value = value_of(argument, "--timeout")) != NULL && parse_number(value, 86400, &number)) {
        self->timeout_s = (unsigned)number;
    } else if ((value = value_of(argument, "--default-port")) != NULL && parse_number(value, 65535, &number)) {
        self->default_port = (uint32_t)number;
    } else if (value_of(argument, "--option") != NULL) {
        return parse_option(self, argument + strlen("--option="));
    } else if (argument[0] != '-' && self->target == NULL) {
        self->target = argument;
    } else {
        return false;
    }
    return true;
}

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
    if (!self->watch && self->answered) {
        return true; /* between the first answer and close() */
    }
    for (size_t i = 0; i < update->address_count; i++) {
        if (update->addresses[i] == NULL) {
            fprintf(stderr, "evener: resolve: the resolver pushed NULL as address %zu\n", i + 1);
            return false;
        }
    }
    if (!self->watch && update->address_count == 0) {
        evener_status none;
        evener_status_set(&none, EVENER_STATUS_NOT_FOUND, "no address%s%s", update->source != NULL ? ", says " : "",
                          update->source != NULL ? update->source : "");
        resolve_report_error(&self->report, &none);
        answered(self, true);
        return true;
    }
    const bool taken = resolve_report_update(&self->report, update);
    answered(self, !taken);
    return taken;
}

static void sink_error(evener_resolver_sink *sink, const evener_status *status)
{
    struct resolve *self = (struct resolve *)sink;
    if (self->watch || !self->answered) {
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

/* Until the first answer; false after the timeout. */
static bool wait_for_answer(struct resolve *self)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)self->timeout_s;
    int error = 0;
    pthread_mutex_lock(&self->lock);
    while (!self->answered && error == 0) {
        error = pthread_cond_timedwait(&self->changed, &self->lock, &until);
    }
    const bool done = self->answered;
    pthread_mutex_unlock(&self->lock);
    return done;
}

static int follow(struct resolve *self, const sigset_t *interrupts)
{
    evener_runtime_call(self->runtime, start, self);
    int status = EXIT_SUCCESS;
    if (self->watch) {
        int signal_number;
        sigwait(interrupts, &signal_number);
    } else if (!wait_for_answer(self)) {
        cli_error("resolve %.200s: no answer within %u s", self->target, self->timeout_s);
        status = EXIT_FAILURE;
    } else if (self->failed) {
        status = EXIT_FAILURE;
    }
    evener_runtime_call(self->runtime, stop, self);
    return status;
}

static int run(struct resolve *self)
{
    /* Before there are threads, so that none but main's sees them. Without --watch they end the program, as ever. */
    sigset_t interrupts;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigaddset(&interrupts, SIGTERM);
    if (self->watch) {
        pthread_sigmask(SIG_BLOCK, &interrupts, NULL);
    }

    const evener_resolver_set set = {.own = NULL};
    evener_target *target = NULL;
    const evener_resolver_builder *builder;
    evener_status status;
    int exit_status = EXIT_FAILURE;
    evener_status_code code = evener_runtime_create(NULL, &self->runtime, &status);
    if (code == EVENER_STATUS_OK) {
        code = evener_resolver_lookup(&set, self->target, &target, &builder, &status);
    }
    if (code == EVENER_STATUS_OK) {
        const evener_resolver_args args = {
            .size = sizeof args,
            .target = target,
            .sink = &self->sink,
            .runtime = self->runtime,
            .loop = evener_runtime_loop(self->runtime),
            .default_port = self->default_port,
            .options = self->options,
            .option_count = self->option_count,
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

int evener_cli_resolve(int argc, char **argv)
{
    struct resolve self = {
        .sink = {.vtable = &sink_vtable},
        .timeout_s = TIMEOUT_S_DEFAULT,
        .default_port = DEFAULT_PORT,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
    };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        }
        if (!parse_argument(&self, argv[i])) {
            fprintf(stderr, "evener: resolve: \"%s\" is not understood\n\n%s", argv[i], usage);
            return EXIT_USAGE;
        }
    }
    if (self.target == NULL) {
        fprintf(stderr, "evener: resolve: no target\n\n%s", usage);
        return EXIT_USAGE;
    }
    self.report = (resolve_report){.target = self.target, .json = self.json, .watch = self.watch};
    const int status = run(&self);
    resolve_report_clear(&self.report);
    return status;
}
