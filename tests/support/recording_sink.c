#include "tests/support/recording_sink.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *copy_or_empty(const char *text)
{
    char *copy = strdup(text != NULL ? text : "");
    assert(copy != NULL);
    return copy;
}

static char *addresses_text(const evener_resolver_update *update)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&text, &bytes);
    assert(stream != NULL);
    for (size_t i = 0; i < update->address_count; i++) {
        const evener_address *address = update->addresses[i];
        fprintf(stream, "%s%s", i > 0 ? "," : "", evener_address_text(address));
        for (size_t a = 0; a < evener_address_attribute_count(address); a++) {
            const evener_attribute attribute = evener_address_attribute_at(address, a);
            fprintf(stream, ";%s=%s", attribute.key, attribute.value);
        }
    }
    fclose(stream);
    return text;
}

static void pushed(const recording_sink *sink)
{
    if (sink->on_push != NULL) {
        sink->on_push(sink->on_push_arg);
    }
}

static bool record_update(evener_resolver_sink *base, const evener_resolver_update *update)
{
    recording_sink *sink = (recording_sink *)base;
    recording_sink_clear(sink);
    sink->update_count++;
    sink->last_was_error = false;
    sink->address_count = update->address_count;
    sink->addresses = addresses_text(update);
    sink->service_config = copy_or_empty(update->service_config);
    sink->source = copy_or_empty(update->source);
    sink->ttl_ms = update->ttl_ms;
    if (update->service_config_error != NULL) {
        sink->service_config_error = *update->service_config_error;
    } else {
        evener_status_clear(&sink->service_config_error);
    }
    pushed(sink);
    return !sink->refuse;
}

static void record_error(evener_resolver_sink *base, const evener_status *status)
{
    recording_sink *sink = (recording_sink *)base;
    sink->error_count++;
    sink->last_was_error = true;
    sink->error = *status;
    pushed(sink);
}

static const evener_resolver_sink_vtable vtable = {
    .size = sizeof(vtable),
    .update = record_update,
    .error = record_error,
};

void recording_sink_init(recording_sink *sink)
{
    *sink = (recording_sink){.base = {.vtable = &vtable}};
    sink->addresses = copy_or_empty(NULL);
    sink->service_config = copy_or_empty(NULL);
    sink->source = copy_or_empty(NULL);
}

void recording_sink_clear(recording_sink *sink)
{
    free(sink->addresses);
    free(sink->service_config);
    free(sink->source);
    sink->addresses = sink->service_config = sink->source = NULL;
}
