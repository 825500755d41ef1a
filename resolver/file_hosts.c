#include "resolver/file_hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>

#include "resolver/list.h"

/* One host name. `sink` is the first member. */
struct host {
    evener_resolver_sink sink;
    evener_file_hosts *hosts;
    char *name; /* "name:port" */
    evener_target *target;
    evener_resolver *resolver;
    evener_list list; /* the last good answer */
    uint64_t ttl_ms;
    bool answered;
    evener_status error; /* the last error; OK after an answer */
    bool wanted;         /* used by evener_file_hosts_follow() */
};

struct evener_file_hosts {
    evener_resolver_args args;
    evener_task_fn changed;
    void *arg;
    struct host **all;
    size_t count;
    size_t capacity;
    uint32_t *slots;   /* open-addressed, by name: index + 1; 0 is free */
    size_t slot_count; /* a power of two, at least twice `capacity`; 0 with `capacity` */
    bool following;    /* results pushed from inside start() are handled afterwards */
};

/* ---- updates of a name's resolver ---- */

static void notify(const evener_file_hosts *hosts)
{
    if (!hosts->following) {
        hosts->changed(hosts->arg);
    }
}

static bool host_update(evener_resolver_sink *sink, const evener_resolver_update *update)
{
    struct host *host = (struct host *)sink;
    evener_list list = EVENER_LIST_INIT;
    evener_status_code code = EVENER_STATUS_OK;
    for (size_t i = 0; i < update->address_count && code == EVENER_STATUS_OK; i++) {
        if (update->addresses[i] == NULL) {
            code = evener_status_set(&host->error, EVENER_STATUS_INTERNAL, "its resolver pushed NULL as address %zu",
                                     i + 1);
        } else {
            code = evener_list_add(&list, evener_address_ref(update->addresses[i]), &host->error);
        }
    }
    host->answered = true;
    if (code != EVENER_STATUS_OK) {
        evener_list_clear(&list);
        notify(host->hosts);
        return false;
    }
    evener_status_clear(&host->error);
    evener_list_clear(&host->list);
    host->list = list;
    host->ttl_ms = update->ttl_ms;
    notify(host->hosts);
    return true;
}

static void host_error(evener_resolver_sink *sink, const evener_status *status)
{
    struct host *host = (struct host *)sink;
    host->answered = true;
    evener_status_set(&host->error, status->code, "host \"%.100s\": %s", host->name, status->message);
    evener_log(EVENER_LOG_WARNING, "resolver", "file: %s", host->error.message);
    notify(host->hosts);
}

static const evener_resolver_sink_vtable host_sink = {
    .size = sizeof host_sink,
    .update = host_update,
    .error = host_error,
};

/* ---- adding and removing names ---- */

static void host_destroy(struct host *host)
{
    if (host == NULL) {
        return;
    }
    if (host->resolver != NULL) {
        host->resolver->vtable->close(host->resolver);
    }
    evener_target_destroy(host->target);
    evener_list_clear(&host->list);
    free(host->name);
    free(host);
}

/* Build the resolver of a name, after a check (evener/resolver.h). */
static evener_status_code build(const evener_resolver_builder *builder, struct host *host, evener_status *status)
{
    evener_resolver_args args = host->hosts->args;
    args.target = host->target;
    args.sink = NULL;
    args.runtime = NULL;
    args.loop = NULL;
    if (builder->check != NULL) {
        const evener_status_code code = builder->check(builder, &args, status);
        if (code != EVENER_STATUS_OK) {
            return code;
        }
    }
    args.sink = &host->sink;
    args.runtime = host->hosts->args.runtime;
    args.loop = host->hosts->args.loop;
    return builder->build(builder, &args, &host->resolver, status);
}

/* Build a resolver without starting it. Messages contain the reason only. */
static evener_status_code host_create(evener_file_hosts *hosts, const char *name, struct host **out,
                                      evener_status *status)
{
    const evener_resolver_builder *dns = evener_resolver_find(hosts->args.resolvers, "dns");
    if (dns == NULL) {
        return evener_status_set(status, EVENER_STATUS_UNIMPLEMENTED,
                                 "\"%.100s\" is a host name, and no resolver serves \"dns\"", name);
    }
    struct host *host = calloc(1, sizeof *host);
    char text[300];
    snprintf(text, sizeof text, "dns:///%s", name);
    if (host == NULL || (host->name = strdup(name)) == NULL) {
        host_destroy(host);
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    host->sink.vtable = &host_sink;
    host->hosts = hosts;
    evener_status_code code = evener_target_parse(text, &host->target, status);
    if (code == EVENER_STATUS_OK) {
        code = build(dns, host, status);
    }
    if (code != EVENER_STATUS_OK) {
        host_destroy(host);
        return code;
    }
    *out = host;
    return EVENER_STATUS_OK;
}

/* Return the slot of a name, or the free slot where it belongs. */
static uint32_t *find_slot(const evener_file_hosts *hosts, const char *name)
{
    uint32_t hash = 0x811c9dc5u; /* FNV-1a */
    for (const char *at = name; *at != '\0'; at++) {
        hash = (hash ^ (unsigned char)*at) * 0x01000193u;
    }
    size_t slot = hash & (hosts->slot_count - 1);
    while (hosts->slots[slot] != 0 && strcmp(hosts->all[hosts->slots[slot] - 1]->name, name) != 0) {
        slot = (slot + 1) & (hosts->slot_count - 1);
    }
    return &hosts->slots[slot];
}

static struct host *find(const evener_file_hosts *hosts, const char *name)
{
    const uint32_t index = hosts->count > 0 ? *find_slot(hosts, name) : 0;
    return index != 0 ? hosts->all[index - 1] : NULL;
}

/* Fill the slots again. */
static void index_names(evener_file_hosts *hosts)
{
    if (hosts->slot_count > 0) {
        memset(hosts->slots, 0, hosts->slot_count * sizeof *hosts->slots);
    }
    for (size_t i = 0; i < hosts->count; i++) {
        *find_slot(hosts, hosts->all[i]->name) = (uint32_t)(i + 1);
    }
}

static bool reserve(evener_file_hosts *hosts, size_t capacity)
{
    if (capacity <= hosts->capacity) {
        return true;
    }
    size_t slot_count = 16;
    while (slot_count < 2 * capacity) {
        slot_count *= 2;
    }
    struct host **all = realloc(hosts->all, capacity * sizeof *all);
    if (all == NULL) {
        return false;
    }
    hosts->all = all;
    uint32_t *slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    free(hosts->slots);
    hosts->slots = slots;
    hosts->slot_count = slot_count;
    hosts->capacity = capacity;
    index_names(hosts);
    return true;
}

/* Close the unwanted resolvers from index `from` on. */
static void drop_unwanted(evener_file_hosts *hosts, size_t from)
{
    size_t kept = from;
    for (size_t i = from; i < hosts->count; i++) {
        if (hosts->all[i]->wanted) {
            hosts->all[kept++] = hosts->all[i];
        } else {
            host_destroy(hosts->all[i]);
        }
    }
    hosts->count = kept;
    index_names(hosts);
}

evener_status_code evener_file_hosts_follow(evener_file_hosts *hosts, const char *path,
                                            const evener_file_endpoints *endpoints, evener_status *status)
{
    if (!reserve(hosts, hosts->count + endpoints->host_count)) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "file %.200s: out of memory", path);
    }
    const size_t old_count = hosts->count;
    for (size_t i = 0; i < old_count; i++) {
        hosts->all[i]->wanted = false;
    }
    for (size_t i = 0; i < endpoints->count; i++) {
        const evener_file_entry *entry = &endpoints->entries[i];
        struct host *host = entry->host != NULL ? find(hosts, entry->host) : NULL;
        evener_status reason;
        if (entry->host != NULL && host == NULL) {
            const evener_status_code code = host_create(hosts, entry->host, &host, &reason);
            if (code != EVENER_STATUS_OK) {
                for (size_t j = old_count; j < hosts->count; j++) {
                    hosts->all[j]->wanted = false;
                }
                drop_unwanted(hosts, old_count);
                return evener_status_set(status, code, "file %.200s:%zu: %s", path, entry->line, reason.message);
            }
            hosts->all[hosts->count++] = host;
            *find_slot(hosts, host->name) = (uint32_t)hosts->count;
        }
        if (host != NULL) {
            host->wanted = true;
        }
    }
    hosts->following = true;
    for (size_t i = old_count; i < hosts->count; i++) {
        hosts->all[i]->resolver->vtable->start(hosts->all[i]->resolver);
    }
    drop_unwanted(hosts, 0);
    hosts->following = false;
    return EVENER_STATUS_OK;
}

evener_file_hosts *evener_file_hosts_create(const evener_resolver_args *args, evener_task_fn changed, void *arg)
{
    evener_file_hosts *hosts = calloc(1, sizeof *hosts);
    if (hosts != NULL) {
        hosts->args = *args;
        hosts->args.size = sizeof hosts->args;
        hosts->changed = changed;
        hosts->arg = arg;
    }
    return hosts;
}

void evener_file_hosts_destroy(evener_file_hosts *hosts)
{
    if (hosts == NULL) {
        return;
    }
    for (size_t i = 0; i < hosts->count; i++) {
        host_destroy(hosts->all[i]);
    }
    free(hosts->slots);
    free(hosts->all);
    free(hosts);
}

/* ---- results ---- */

bool evener_file_hosts_waiting(const evener_file_hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++) {
        if (!hosts->all[i]->answered) {
            return true;
        }
    }
    return false;
}

const evener_address *const *evener_file_hosts_addresses(const evener_file_hosts *hosts, const char *name,
                                                         size_t *count)
{
    const struct host *host = find(hosts, name);
    *count = host != NULL ? host->list.count : 0;
    return host != NULL ? (const evener_address *const *)host->list.addresses : NULL;
}

const evener_status *evener_file_hosts_error(const evener_file_hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++) {
        if (hosts->all[i]->error.code != EVENER_STATUS_OK && hosts->all[i]->list.count == 0) {
            return &hosts->all[i]->error;
        }
    }
    return NULL;
}

uint64_t evener_file_hosts_ttl_ms(const evener_file_hosts *hosts)
{
    uint64_t shortest = 0;
    for (size_t i = 0; i < hosts->count; i++) {
        const uint64_t ttl_ms = hosts->all[i]->ttl_ms;
        if (ttl_ms != 0 && (shortest == 0 || ttl_ms < shortest)) {
            shortest = ttl_ms;
        }
    }
    return shortest;
}

void evener_file_hosts_resolve_now(evener_file_hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++) {
        evener_resolver *resolver = hosts->all[i]->resolver;
        if (resolver->vtable->resolve_now != NULL) {
            resolver->vtable->resolve_now(resolver);
        }
    }
}

void evener_file_hosts_reset_backoff(evener_file_hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++) {
        evener_resolver_reset_backoff(hosts->all[i]->resolver);
    }
}
