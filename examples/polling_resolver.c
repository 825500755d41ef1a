#include "polling_resolver.h"

#include <stdlib.h>
#include <string.h>

typedef struct polling {
    evener_resolver base; /* first */
    evener_resolver_sink *sink;
    evener_loop *loop;
    const char *name; /* the target's */
    polling_fetch fetch;
    uint64_t interval_ms;
    evener_timer timer;
    evener_backoff backoff;
} polling;

static bool fetch_and_push(const polling *self)
{
    char text[POLLING_TEXT_BYTES] = "";
    evener_address *list[POLLING_TEXT_BYTES / 8]; /* no address is as short */
    evener_resolver_update update = {.size = sizeof update, .addresses = list, .source = "poll"};
    evener_status status;
    evener_status_code code = self->fetch(self->name, text, &status);
    for (char *rest = NULL, *word = strtok_r(text, " ", &rest); word != NULL && code == EVENER_STATUS_OK;
         word = strtok_r(NULL, " ", &rest)) {
        code = evener_address_create(word, NULL, 0, &list[update.address_count], &status);
        update.address_count += code == EVENER_STATUS_OK ? 1 : 0;
    }
    const bool accepted = code == EVENER_STATUS_OK && evener_resolver_sink_update(self->sink, &update);
    if (code != EVENER_STATUS_OK) {
        evener_resolver_sink_error(self->sink, &status); /* the last good list serves on */
    }
    while (update.address_count > 0) {
        evener_address_unref(list[--update.address_count]);
    }
    return accepted;
}

static void poll_now(void *arg)
{
    polling *self = arg;
    const bool good = fetch_and_push(self);
    const uint64_t retry_ns = evener_backoff_next_ns(&self->backoff, NULL, self->loop);
    if (good) {
        evener_backoff_reset(&self->backoff);
    }
    evener_timer_start(self->loop, &self->timer, good ? self->interval_ms * EVENER_NS_PER_MS : retry_ns);
}

static void polling_start(evener_resolver *resolver)
{
    poll_now(resolver);
}

static void polling_close(evener_resolver *resolver)
{
    evener_timer_stop(((polling *)resolver)->loop, &((polling *)resolver)->timer);
    free(resolver);
}

static const evener_resolver_vtable vtable = {.size = sizeof vtable, .start = polling_start, .close = polling_close};

static evener_status_code read_interval(const evener_resolver_args *args, uint64_t *interval_ms, evener_status *status)
{
    *interval_ms = 5000;
    return evener_resolver_option_u64(args, "poll.interval_ms", 100, 3600000, interval_ms, status);
}

static evener_status_code polling_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_status *status)
{
    (void)builder; /* a failure here is one of evener_channel_create() */
    uint64_t interval_ms;
    return read_interval(args, &interval_ms, status);
}

static evener_status_code polling_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_resolver **resolver, evener_status *status)
{
    polling *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "poll: out of memory");
    }
    self->base.vtable = &vtable;
    self->sink = args->sink, self->loop = args->loop;
    self->name = evener_target_endpoint(args->target);
    self->fetch = *(polling_fetch *)builder->user_data;
    (void)read_interval(args, &self->interval_ms, NULL); /* polling_check() has seen it */
    self->timer = (evener_timer)EVENER_TIMER_INIT(poll_now, self);
    *resolver = &self->base;
    return EVENER_STATUS_OK;
}

void polling_resolver_init(evener_resolver_builder *builder, polling_fetch *fetch)
{
    *builder = (evener_resolver_builder){
        .size = sizeof *builder, .scheme = "poll", .build = polling_build, .check = polling_check, .user_data = fetch};
}
