/* `srv:[//server[:53]/]_service._protocol.name` - a service by its SRV records (RFC 2782). `dns:` with such a name is
 * the same, because it cannot be a host name.
 *
 * Every target in the records is watched through its own lookup, which other channels may share. Priorities are
 * failover tiers: the first tier that has addresses is pushed (tiers.h). */
#include "resolver/dns/srv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <evener/log.h>

#include "lb/base/c_locale.h"
#include "lb/base/memory.h"
#include "resolver/builtin.h"
#include "resolver/dns/config.h"
#include "resolver/dns/lookup.h"
#include "resolver/dns/name.h"
#include "resolver/dns/options.h"
#include "resolver/dns/order.h"
#include "resolver/dns/tiers.h"
#include "resolver/retry.h"

#define SERVICES_MAX 1024        /* SRV records used */
#define TARGETS_MAX SERVICES_MAX /* distinct names that one answer may cause this machine to query */
#define SETTLE_MS 50             /* how long known addresses wait for the tier's other targets */

/* One target's name. */
struct srv_target {
    evener_dns_watch watch;
    struct srv *srv;
    char name[EVENER_DNS_NAME_BYTES_MAX + 1];
    evener_dns_answer addresses; /* last good answer */
    uint64_t ttl_ms;
    bool pending;
    bool wanted;
    bool has_glue;       /* the addresses came with the SRV records: the name is not watched */
    evener_status error; /* while there are no addresses */
};

/* `base` is the first member. */
struct srv {
    evener_resolver base;
    evener_dns_watch watch;
    evener_resolver_sink *sink;
    evener_runtime *runtime;
    evener_loop *loop;
    evener_dns_client *client;
    evener_dns_options options;
    char name[EVENER_DNS_NAME_BYTES_MAX + 1];
    evener_dns_config config;
    evener_dns_answer records; /* the SRV records */
    uint64_t ttl_ms;
    bool known; /* `records` and `source` are */
    char source[128];
    struct srv_target *targets[TARGETS_MAX]; /* sorted by name */
    size_t target_count;
    struct srv_target *of_record[SERVICES_MAX]; /* the target of each of `records`; NULL: left out or missing */
    bool following; /* targets are being added and removed; their answers are handled afterwards */
    evener_timer settle;
    size_t missing;         /* targets that there was no memory for */
    evener_retry unstarted; /* active: the SRV records, or a target, could not be watched */
    evener_retry refused;   /* active: the last update was not accepted, or there was no memory for it */
};

/* ---- pushing ---- */

/* Return the number of targets whose names come before this one. */
static size_t position(const struct srv *self, const char *name)
{
    size_t low = 0;
    size_t high = self->target_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(self->targets[middle]->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct srv_target *find_target(const struct srv *self, const char *name)
{
    const size_t at = position(self, name);
    return at < self->target_count && strcmp(self->targets[at]->name, name) == 0 ? self->targets[at] : NULL;
}

/* Return whether a target has not answered that would change the list: as evener_dns_tiers_fill(), without a list. */
static bool is_waiting(const struct srv *self)
{
    unsigned last = UINT16_MAX; /* priority of the first tier with addresses */
    for (size_t i = 0; i < self->records.record_count && !self->options.all_tiers; i++) {
        const struct srv_target *target = self->of_record[i];
        const unsigned priority = self->records.records[i].priority;
        last = target != NULL && target->addresses.record_count > 0 && priority < last ? priority : last;
    }
    for (size_t i = 0; i < self->records.record_count; i++) {
        const struct srv_target *target = self->of_record[i];
        if (target != NULL && target->pending && self->records.records[i].priority <= last) {
            return true;
        }
    }
    return false;
}

static evener_dns_service *gather(const struct srv *self, size_t *count)
{
    evener_dns_service *services = malloc((self->records.record_count + 1) * sizeof *services);
    *count = 0;
    for (size_t i = 0; services != NULL && i < self->records.record_count; i++) {
        const struct srv_target *target = self->of_record[i];
        if (target != NULL) {
            services[(*count)++] = (evener_dns_service){self->records.records[i], &target->addresses, target->pending};
        }
    }
    if (services != NULL) {
        evener_dns_services_sort(services, *count);
    }
    return services;
}

static bool push_list(struct srv *self, const evener_list *list)
{
    evener_resolver_update update = {
        .size = sizeof update,
        .addresses = list->addresses,
        .address_count = list->count,
        .ttl_ms = self->ttl_ms,
        .source = self->source,
    };
    for (size_t i = 0; i < self->target_count; i++) {
        const uint64_t ttl_ms = self->targets[i]->ttl_ms;
        update.ttl_ms = ttl_ms != 0 && (update.ttl_ms == 0 || ttl_ms < update.ttl_ms) ? ttl_ms : update.ttl_ms;
    }
    evener_dns_config_fill(&self->config, &update);
    return evener_resolver_sink_update(self->sink, &update);
}

/* No target has an address: report an error if a target failed or is missing, otherwise push the empty list. */
static bool push_nothing(struct srv *self)
{
    for (size_t i = 0; i < self->target_count; i++) {
        if (self->targets[i]->error.code != EVENER_STATUS_OK) {
            evener_resolver_sink_error(self->sink, &self->targets[i]->error);
            return true; /* the target's lookup backs off by itself */
        }
    }
    if (self->missing > 0) {
        evener_status status;
        evener_status_set(&status, EVENER_STATUS_RESOURCE_EXHAUSTED, "srv: %s: out of memory for %zu targets",
                          self->name, self->missing);
        evener_resolver_sink_error(self->sink, &status);
        return true; /* they are added after a backoff */
    }
    const evener_list empty = EVENER_LIST_INIT;
    return push_list(self, &empty);
}

/* Push the known addresses if they suffice. Return false only if the push was refused, which is then repeated after a
 * backoff: the lookup that caused it need not be the one whose answer was refused. */
static bool push(struct srv *self, bool patient)
{
    if (!self->known || self->following || self->config.waiting) {
        return true;
    }
    if (patient && self->settle.active && is_waiting(self)) {
        return true; /* its time has begun: 1,000 targets that answer one by one need not make 1,000 lists */
    }
    size_t count;
    evener_dns_service *services = gather(self, &count);
    evener_list list = EVENER_LIST_INIT;
    evener_status status;
    bool waiting = false;
    bool accepted = true;
    evener_status_code code = services != NULL ? EVENER_STATUS_OK
                                               : evener_status_set(&status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                                                   "srv: %s: out of memory", self->name);
    if (code == EVENER_STATUS_OK) {
        code = evener_dns_tiers_fill(&list, services, count, self->options.all_tiers, &waiting, &status);
    }
    if (code != EVENER_STATUS_OK) {
        evener_resolver_sink_error(self->sink, &status);
        accepted = false;
    } else if (waiting && (list.count == 0 || patient)) {
        if (list.count > 0 && !self->settle.active) {
            evener_timer_start(self->loop, &self->settle, SETTLE_MS * EVENER_NS_PER_MS);
        }
    } else {
        evener_timer_stop(self->loop, &self->settle);
        accepted = list.count > 0 ? push_list(self, &list) : push_nothing(self);
        if (accepted) {
            evener_retry_end(&self->refused);
        }
    }
    if (!accepted) {
        evener_retry_later(&self->refused);
    }
    evener_list_clear(&list);
    free(services);
    return accepted;
}

static void settled(void *arg)
{
    (void)push(arg, false);
}

static void push_again(void *arg)
{
    (void)push(arg, true);
}

static void config_changed(void *arg)
{
    struct srv *self = arg;
    if (!push(self, true)) {
        evener_dns_watch_refused(&self->watch);
    }
}

/* ---- copies of results ---- */

static bool copy_records(const evener_dns_result *result, size_t maximum, evener_dns_answer *copy)
{
    evener_dns_answer made = {.ttl_s = 0};
    for (size_t i = 0; i < result->count && i < maximum; i++) {
        evener_dns_record *record;
        if (!evener_dns_answer_add(&made, result->records[i]->text, &record)) {
            evener_dns_answer_clear(&made);
            return false;
        }
        if (record != NULL) {
            record->port = result->records[i]->port;
            record->priority = result->records[i]->priority;
            record->weight = result->records[i]->weight;
        }
    }
    evener_dns_answer_clear(copy);
    *copy = made;
    return true;
}

/* ---- targets ---- */

static bool target_answered(evener_dns_watch *watch, const evener_dns_result *result)
{
    struct srv_target *target = EVENER_CONTAINER_OF(watch, struct srv_target, watch);
    if (!copy_records(result, EVENER_DNS_RECORDS_MAX, &target->addresses)) {
        return false; /* retried after the backoff */
    }
    target->ttl_ms = result->ttl_ms;
    target->pending = false;
    evener_status_clear(&target->error);
    return push(target->srv, true);
}

static void target_failed(evener_dns_watch *watch, const evener_status *status)
{
    struct srv_target *target = EVENER_CONTAINER_OF(watch, struct srv_target, watch);
    const bool was_pending = target->pending;
    target->pending = false;
    if (target->addresses.record_count == 0) {
        target->error = *status;
    }
    if (was_pending) {
        (void)push(target->srv, true);
    }
}

static void target_destroy(struct srv_target *target)
{
    evener_dns_watch_stop(&target->watch);
    evener_dns_answer_clear(&target->addresses);
    free(target);
}

/* Take the addresses that came with the SRV records for a target. Return whether there are some. */
static bool take_glue(struct srv *self, struct srv_target *target, const evener_dns_result *result)
{
    const size_t name_bytes = strlen(target->name);
    const evener_dns_family family = self->options.family;
    evener_dns_answer made = {.records = NULL};
    for (size_t i = 0; i < result->glue_count; i++) {
        const char *text = result->glue[i].text;
        evener_dns_record *record;
        if (strncasecmp_l(text, target->name, name_bytes, evener_c_locale()) != 0 || text[name_bytes] != ' ') {
            continue;
        }
        const char *address = text + name_bytes + 1;
        const bool v6 = strchr(address, ':') != NULL;
        const bool wanted = !(v6 && family == EVENER_DNS_FAMILY_IPV4) && !(!v6 && family == EVENER_DNS_FAMILY_IPV6);
        if (wanted && !evener_dns_answer_add(&made, address, &record)) {
            evener_dns_answer_clear(&made);
            return false; /* ask for all of them */
        }
    }
    if (made.record_count == 0) {
        return false;
    }
    evener_dns_order(&made);
    evener_dns_answer_clear(&target->addresses);
    target->addresses = made;
    target->ttl_ms = 0; /* that of the SRV records covers it */
    target->pending = false;
    evener_status_clear(&target->error);
    return true;
}

/* Use what came with the SRV records, or ask for the target. `result` NULL: nothing new came. Return false if the name
 * could not be watched. */
static bool target_follow(struct srv *self, struct srv_target *target, const evener_dns_result *result)
{
    evener_status status;
    evener_dns_options options = self->options;
    options.absolute = true; /* RFC 2782: the target is a complete name */
    if (result != NULL) {
        target->has_glue = take_glue(self, target, result);
    }
    if (target->has_glue) {
        evener_dns_watch_stop(&target->watch);
    } else if (target->watch.lookup == NULL) {
        target->pending = target->addresses.record_count == 0;
        evener_status_clear(&target->error);
        if (evener_dns_watch_start(&target->watch, self->runtime, self->client, EVENER_DNS_HOST, target->name, &options,
                                   &status) != EVENER_STATUS_OK) {
            target_failed(&target->watch, &status);
            return false;
        }
    }
    return true;
}

static bool target_add(struct srv *self, const char *name)
{
    struct srv_target *target = calloc(1, sizeof *target);
    if (target == NULL) {
        return false;
    }
    target->srv = self;
    target->watch.answer = target_answered;
    target->watch.error = target_failed;
    target->pending = true;
    target->wanted = true;
    snprintf(target->name, sizeof target->name, "%s", name);
    const size_t at = position(self, name);
    memmove(&self->targets[at + 1], &self->targets[at], (self->target_count - at) * sizeof self->targets[0]);
    self->targets[at] = target;
    self->target_count++;
    return true;
}

/* Watch exactly the targets that the records name. `result`: as for target_follow(). Return false if one could not be
 * added or watched. */
static bool follow_targets(struct srv *self, const evener_dns_result *result)
{
    size_t left_out = 0;
    bool complete = true;
    self->following = true;
    self->missing = 0;
    for (size_t i = 0; i < self->target_count; i++) {
        self->targets[i]->wanted = false;
    }
    for (size_t i = 0; i < self->records.record_count; i++) {
        struct srv_target *target = find_target(self, self->records.records[i].text);
        if (target != NULL) {
            target->wanted = true;
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < self->target_count; i++) {
        if (self->targets[i]->wanted) {
            self->targets[kept++] = self->targets[i];
        } else {
            target_destroy(self->targets[i]);
        }
    }
    self->target_count = kept;
    for (size_t i = 0; i < self->records.record_count; i++) {
        const char *name = self->records.records[i].text;
        if (find_target(self, name) != NULL) {
            continue;
        }
        if (self->target_count == TARGETS_MAX) {
            left_out++;
        } else if (!target_add(self, name)) {
            self->missing++;
            complete = false;
        }
    }
    for (size_t i = 0; i < self->records.record_count; i++) {
        self->of_record[i] = find_target(self, self->records.records[i].text);
    }
    for (size_t i = 0; i < self->target_count; i++) {
        complete = target_follow(self, self->targets[i], result) && complete;
    }
    self->following = false;
    if (left_out > 0) {
        evener_log(EVENER_LOG_WARNING, "resolver", "srv: %s: names more than %d targets; %zu records are not used",
                   self->name, TARGETS_MAX, left_out);
    }
    return complete;
}

/* Follow the targets and push what is known of them. Return false only if the push was refused. */
static bool follow_and_push(struct srv *self, const evener_dns_result *result)
{
    const bool complete = follow_targets(self, result);
    const bool accepted = push(self, true);
    if (complete) {
        evener_retry_end(&self->unstarted);
    } else {
        evener_retry_later(&self->unstarted);
    }
    return accepted;
}

/* ---- the service itself ---- */

static bool answered(evener_dns_watch *watch, const evener_dns_result *result)
{
    struct srv *self = EVENER_CONTAINER_OF(watch, struct srv, watch);
    if (!copy_records(result, SERVICES_MAX, &self->records)) {
        return false;
    }
    self->known = true;
    self->ttl_ms = result->ttl_ms;
    evener_dns_result_source(result, self->source, sizeof self->source);
    return follow_and_push(self, result);
}

static void failed(evener_dns_watch *watch, const evener_status *status)
{
    struct srv *self = EVENER_CONTAINER_OF(watch, struct srv, watch);
    evener_resolver_sink_error(self->sink, status);
}

static void start_watch(struct srv *self)
{
    evener_status status;
    if (evener_dns_watch_start(&self->watch, self->runtime, self->client, EVENER_DNS_SERVICE, self->name,
                               &self->options, &status) != EVENER_STATUS_OK) {
        evener_resolver_sink_error(self->sink, &status);
        evener_retry_later(&self->unstarted);
    }
}

static void start_again(void *arg)
{
    struct srv *self = arg;
    if (self->watch.lookup == NULL) {
        start_watch(self);
    } else {
        (void)follow_and_push(self, NULL);
    }
}

static void srv_start(evener_resolver *resolver)
{
    struct srv *self = (struct srv *)resolver;
    evener_dns_config_start(&self->config, self->runtime, self->client, self->name, &self->options, config_changed,
                            self);
    start_watch(self);
}

static void srv_resolve_now(evener_resolver *resolver)
{
    struct srv *self = (struct srv *)resolver;
    evener_retry_soon(&self->unstarted);
    evener_retry_soon(&self->refused);
    evener_dns_watch_resolve_now(&self->watch);
    for (size_t i = 0; i < self->target_count; i++) {
        evener_dns_watch_resolve_now(&self->targets[i]->watch);
    }
}

static void srv_reset_backoff(evener_resolver *resolver)
{
    struct srv *self = (struct srv *)resolver;
    evener_retry_reset(&self->unstarted);
    evener_retry_reset(&self->refused);
    evener_dns_watch_reset_backoff(&self->watch);
    evener_dns_config_reset_backoff(&self->config);
    for (size_t i = 0; i < self->target_count; i++) {
        evener_dns_watch_reset_backoff(&self->targets[i]->watch);
    }
}

static void srv_close(evener_resolver *resolver)
{
    struct srv *self = (struct srv *)resolver;
    evener_timer_stop(self->loop, &self->settle);
    evener_retry_end(&self->unstarted);
    evener_retry_end(&self->refused);
    evener_dns_watch_stop(&self->watch);
    evener_dns_config_stop(&self->config);
    for (size_t i = 0; i < self->target_count; i++) {
        target_destroy(self->targets[i]);
    }
    evener_dns_answer_clear(&self->records);
    free(self);
}

static const evener_resolver_vtable srv_vtable = {
    .size = sizeof srv_vtable,
    .start = srv_start,
    .resolve_now = srv_resolve_now,
    .close = srv_close,
    .reset_backoff = srv_reset_backoff,
};

bool evener_dns_srv_serves(const evener_target *target)
{
    const char *endpoint = evener_target_endpoint(target);
    return evener_dns_is_service(endpoint) && strchr(endpoint, ':') == NULL;
}

static evener_status_code read_args(const evener_resolver_args *args, evener_dns_options *options,
                                    evener_status *status)
{
    const char *endpoint = evener_target_endpoint(args->target);
    const char *problem = strchr(endpoint, ':') != NULL      ? "no port belongs here: the records name them"
                          : !evener_dns_is_service(endpoint) ? "a service is named _service._protocol.name"
                                                             : evener_dns_name_problem(endpoint);
    if (problem != NULL) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "srv: \"%.80s\": %s",
                                 evener_dns_name_problem(endpoint) == NULL ? endpoint : "", problem);
    }
    return evener_dns_options_read(args, options, status);
}

evener_status_code evener_dns_srv_check(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_status *status)
{
    (void)builder;
    evener_dns_options options;
    return read_args(args, &options, status);
}

evener_status_code evener_dns_srv_build(const evener_resolver_builder *builder, const evener_resolver_args *args,
                                        evener_resolver **resolver, evener_status *status)
{
    evener_dns_options options;
    const evener_status_code code = read_args(args, &options, status);
    if (code != EVENER_STATUS_OK) {
        return code;
    }
    struct srv *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "srv: out of memory");
    }
    self->base.vtable = &srv_vtable;
    self->watch.answer = answered;
    self->watch.error = failed;
    self->sink = args->sink;
    self->runtime = args->runtime;
    self->loop = args->loop;
    self->client = builder->user_data;
    self->options = options;
    self->settle = (evener_timer)EVENER_TIMER_INIT(settled, self);
    evener_retry_init(&self->unstarted, args->loop, start_again, self);
    evener_retry_init(&self->refused, args->loop, push_again, self);
    snprintf(self->name, sizeof self->name, "%s", evener_target_endpoint(args->target));
    *resolver = &self->base;
    return EVENER_STATUS_OK;
}

/* The service's domain, without "_service._protocol.": certificates are issued for it (RFC 6125 section 6.2.1: the name
 * that the user gave, not the targets, which came from DNS). */
evener_status_code evener_dns_srv_authority(const evener_resolver_builder *builder, const evener_target *target,
                                            char *buffer, size_t buffer_bytes, evener_status *status)
{
    const char *name = evener_target_endpoint(target);
    for (int label = 0; label < 2 && strchr(name, '.') != NULL; label++) {
        name = strchr(name, '.') + 1;
    }
    const int bytes = snprintf(buffer, buffer_bytes, "%s", name);
    if (bytes < 0 || (size_t)bytes >= buffer_bytes) {
        return evener_status_set(status, EVENER_STATUS_INVALID_ARGUMENT, "%s: no room for the authority",
                                 builder->scheme);
    }
    return EVENER_STATUS_OK;
}

const evener_resolver_builder evener_srv_resolver = {
    .size = sizeof evener_srv_resolver,
    .scheme = "srv",
    .build = evener_dns_srv_build,
    .check = evener_dns_srv_check,
    .default_authority = evener_dns_srv_authority,
    .user_data = NULL, /* as for dns */
};
