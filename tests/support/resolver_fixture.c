#include "tests/support/resolver_fixture.h"

#include <stdio.h>
#include <stdlib.h>

resolver_fixture *resolver_fixture_create(void)
{
    resolver_fixture *f = calloc(1, sizeof *f);
    if (f == NULL) {
        abort();
    }
    f->loop = virtual_loop_create(1);
    f->default_port = 443;
    recording_sink_init(&f->sink);
    const evener_runtime_options options = {.size = sizeof options, .loop = virtual_loop_loop(f->loop)};
    if (evener_runtime_create(&options, &f->runtime, &f->status) != EVENER_STATUS_OK) {
        fprintf(stderr, "resolver fixture: %s\n", f->status.message);
        abort();
    }
    return f;
}

evener_status_code resolver_fixture_build(resolver_fixture *f, const char *target)
{
    resolver_fixture_close(f);
    const evener_resolver_builder *builder;
    evener_status_clear(&f->status);
    evener_status_code code = evener_resolver_lookup(&f->set, target, &f->target, &builder, &f->status);
    if (code == EVENER_STATUS_OK && builder->check != NULL) {
        code = builder->check(builder, f->target, f->default_port, &f->status);
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
    }
    if (code != EVENER_STATUS_OK) {
        resolver_fixture_close(f);
    }
    return code;
}

void resolver_fixture_open(resolver_fixture *f, const char *target)
{
    if (resolver_fixture_build(f, target) != EVENER_STATUS_OK) {
        fprintf(stderr, "resolver fixture: %s\n", f->status.message);
        abort();
    }
    f->resolver->vtable->start(f->resolver);
}

void resolver_fixture_close(resolver_fixture *f)
{
    if (f->resolver != NULL) {
        f->resolver->vtable->close(f->resolver);
    }
    evener_target_destroy(f->target);
    f->resolver = NULL;
    f->target = NULL;
}

void resolver_fixture_destroy(resolver_fixture *f)
{
    resolver_fixture_close(f);
    evener_runtime_unref(f->runtime);
    virtual_loop_destroy(f->loop);
    recording_sink_clear(&f->sink);
    free(f);
}
