#include "tests/support/resolver_fixture.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_MS_MAX 10000

static resolver_fixture *create(bool on_thread)
{
    resolver_fixture *f = calloc(1, sizeof *f);
    if (f == NULL) {
        abort();
    }
    f->loop = on_thread ? NULL : virtual_loop_create(1);
    f->default_port = 443;
    recording_sink_init(&f->sink);
    const evener_runtime_options options = {
        .size = sizeof options,
        .loop = on_thread ? NULL : virtual_loop_loop(f->loop),
    };
    if (evener_runtime_create(&options, &f->runtime, &f->status) != EVENER_STATUS_OK) {
        fprintf(stderr, "resolver fixture: %s\n", f->status.message);
        abort();
    }
    return f;
}

resolver_fixture *resolver_fixture_create(void)
{
    return create(false);
}

resolver_fixture *resolver_fixture_create_on_thread(void)
{
    return create(true);
}

evener_status_code resolver_fixture_build(resolver_fixture *f, const char *target)
{
    resolver_fixture_close(f);
    const evener_resolver_builder *builder;
    evener_status_clear(&f->status);
    evener_status_code code = evener_resolver_lookup(&f->set, target, &f->target, &builder, &f->status);
    if (code == EVENER_STATUS_OK && builder->check != NULL) {
        const evener_resolver_args args = {
            .size = sizeof args,
            .target = f->target,
            .default_port = f->default_port,
            .options = f->options,
            .option_count = f->option_count,
            .resolvers = &f->set,
        };
        code = builder->check(builder, &args, &f->status);
    }
    if (code == EVENER_STATUS_OK) {
        const evener_resolver_args args = {
            .size = sizeof args,
            .target = f->target,
            .sink = &f->sink.base,
            .runtime = f->runtime,
            .loop = evener_runtime_loop(f->runtime),
            .default_port = f->default_port,
            .options = f->options,
            .option_count = f->option_count,
            .resolvers = &f->set,
        };
        code = builder->build(builder, &args, &f->resolver, &f->status);
        if (code == EVENER_STATUS_INVALID_ARGUMENT) { /* a channel would have been created, and would never connect */
            fprintf(stderr, "%s: check() accepted what build() refuses: %s\n", target, f->status.message);
            abort();
        }
    }
    if (code != EVENER_STATUS_OK) {
        resolver_fixture_close(f);
    }
    return code;
}

static void start(void *arg)
{
    resolver_fixture *f = arg;
    f->resolver->vtable->start(f->resolver);
}

void resolver_fixture_open(resolver_fixture *f, const char *target)
{
    if (resolver_fixture_build(f, target) != EVENER_STATUS_OK) {
        fprintf(stderr, "resolver fixture: %s\n", f->status.message);
        abort();
    }
    evener_runtime_call(f->runtime, start, f);
}

static void close_resolver(void *arg)
{
    resolver_fixture *f = arg;
    f->resolver->vtable->close(f->resolver);
}

void resolver_fixture_close(resolver_fixture *f)
{
    if (f->resolver != NULL) {
        evener_runtime_call(f->runtime, close_resolver, f);
    }
    evener_target_destroy(f->target);
    f->resolver = NULL;
    f->target = NULL;
}

struct question {
    const recording_sink *sink;
    bool (*condition)(const recording_sink *sink, void *arg);
    void *arg;
    bool holds;
};

static void ask(void *arg)
{
    struct question *question = arg;
    question->holds = question->condition(question->sink, question->arg);
}

bool resolver_fixture_wait(resolver_fixture *f, bool (*condition)(const recording_sink *sink, void *arg), void *arg)
{
    struct question question = {&f->sink, condition, arg, false};
    for (int waited_ms = 0; waited_ms < WAIT_MS_MAX && !question.holds; waited_ms++) {
        evener_runtime_call(f->runtime, ask, &question);
        if (!question.holds) {
            nanosleep(&(struct timespec){.tv_nsec = (long)EVENER_NS_PER_MS}, NULL);
        }
    }
    return question.holds;
}

static bool has_addresses(const recording_sink *sink, void *arg)
{
    return strcmp(sink->addresses, arg) == 0;
}

bool resolver_fixture_wait_addresses(resolver_fixture *f, const char *addresses)
{
    return resolver_fixture_wait(f, has_addresses, (char *)(uintptr_t)addresses);
}

void resolver_fixture_destroy(resolver_fixture *f)
{
    resolver_fixture_close(f);
    assert(f->loop == NULL ||
           virtual_loop_next_deadline_ns(f->loop) == UINT64_MAX); /* no timer outlives its resolver */
    evener_runtime_unref(f->runtime);
    virtual_loop_destroy(f->loop);
    recording_sink_clear(&f->sink);
    free(f);
}
