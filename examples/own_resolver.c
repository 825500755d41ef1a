#define _POSIX_C_SOURCE 200809L /* strdup() and strtok_r() in C11 */
/* A custom resolver: `env:NAME` reads the backends from an environment variable.
 *
 *     ORDERS='127.0.0.1:50051 127.0.0.1:50052' own_resolver env:ORDERS */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/evener.h>

#define BACKENDS_MAX 16

/* The instance of one channel. The resolver is the first member, so that an evener_resolver * can be cast to an env
 * *. */
struct env {
    evener_resolver base;
    evener_resolver_sink *sink;
    const char *name; /* owned by the target, which lives until close() */
};

/* Push the variable's list, or an error with its reason. Control thread. */
static void env_start(evener_resolver *resolver)
{
    struct env *self = (struct env *)resolver;
    evener_address *backends[BACKENDS_MAX];
    size_t count = 0;
    evener_status status = {.code = EVENER_STATUS_OK};
    const char *value = getenv(self->name);
    char *words = strdup(value != NULL ? value : "");
    char *rest = NULL;
    for (char *word = words != NULL ? strtok_r(words, " ", &rest) : NULL;
         word != NULL && count < BACKENDS_MAX && status.code == EVENER_STATUS_OK; word = strtok_r(NULL, " ", &rest)) {
        /* Attributes ("weight", "zone", any key) would be passed here. */
        if (evener_address_create(word, NULL, 0, &backends[count], &status) == EVENER_STATUS_OK) {
            count++;
        }
    }
    free(words);
    if (status.code == EVENER_STATUS_OK && count == 0) {
        evener_status_set(&status, EVENER_STATUS_NOT_FOUND, "env: no backend in the variable %s", self->name);
    }
    if (status.code != EVENER_STATUS_OK) {
        evener_resolver_sink_error(self->sink, &status);
    } else {
        const evener_resolver_update update = {
            .size = sizeof update,
            .addresses = backends,
            .address_count = count,
            .source = "environment",
        };
        evener_resolver_sink_update(self->sink, &update); /* takes its own references */
    }
    while (count > 0) {
        evener_address_unref(backends[--count]);
    }
}

static void env_close(evener_resolver *resolver)
{
    free(resolver);
}

static const evener_resolver_vtable env_vtable = {
    .size = sizeof env_vtable,
    .start = env_start,
    .close = env_close, /* no resolve_now: the variable does not change */
};

static evener_status_code env_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                    evener_resolver **resolver, evener_status *status)
{
    (void)builder;
    struct env *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "env: out of memory");
    }
    self->base.vtable = &env_vtable;
    self->sink = args->sink;
    self->name = evener_target_endpoint(args->target);
    *resolver = &self->base;
    return EVENER_STATUS_OK;
}

/* Any thread, before a channel is created: opens nothing. */
static evener_status_code env_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                    evener_status *status)
{
    (void)builder;
    if (evener_target_endpoint(args->target)[0] == '\0') {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "env: no variable is named; write env:NAME");
    }
    return EVENER_STATUS_OK;
}

static const evener_resolver_builder env = {
    .size = sizeof env, .scheme = "env", .build = env_build, .check = env_check};

int main(int argc, char **argv)
{
    evener_status status;
    evener_credentials *insecure;
    evener_channel *channel;
    if (argc != 2) {
        fprintf(stderr, "usage: %s env:NAME\n", argv[0]);
        return 2;
    }
    /* For the whole process; options.resolvers would add it to one channel only. */
    if (evener_resolver_register(&env, &status) != EVENER_STATUS_OK ||
        evener_credentials_create_insecure(&insecure, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return 1;
    }
    const evener_channel_options options = {.size = sizeof options, .credentials = insecure, .policy = "round_robin"};
    evener_status_code code = evener_channel_create(argv[1], &options, &channel, &status);
    evener_credentials_destroy(insecure);
    if (code == EVENER_STATUS_OK) {
        code = evener_channel_wait_ready(channel, 10000, &status);
        evener_channel_unref(channel);
    }
    if (code != EVENER_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", evener_status_code_name(code), status.message);
        return 1;
    }
    puts("ready");
    return 0;
}
