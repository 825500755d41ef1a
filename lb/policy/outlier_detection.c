/* outlier_detection: takes backends that fail more than others out of service for a time (A50).
 *
 * It wraps any policy (`childPolicy`). Each call's end is counted, by lane, in memory behind the child's own in the
 * subchannel. Every `interval` the counts since the last time go to the algorithms (lb/policy/outlier_algorithms.h). A
 * backend that they eject is TRANSIENT_FAILURE to the child, whatever its connection does, which stays; it comes back
 * after baseEjectionTime times the number of its ejections, at most maxEjectionTime, and then gets its real state.
 * An interval without ejection reduces that number by one.
 *
 * Only OK counts as a success and only a code of `failureCodes` as a failure. A call that its caller cancelled, one
 * that was not sent and one with another code, such as NOT_FOUND, say nothing of the backend's health.
 *
 * While less than `panicThresholdPercent` of the backends are READY and not ejected, ejected ones are used as well: too
 * few would be overloaded by the calls of all.
 *
 * Lists. The child may keep an older list in service while no backend of a new one is READY. So a backend that left the
 * list is counted and ejected as before, until the child has released its subchannels; when it returns before that, its
 * ejection goes on. All shares (the percentages, minimumHosts, panic) are of the backends in service: until the child
 * has released all of an older list, backends that came with a newer one count for nothing. Otherwise a long list that
 * cannot be reached would allow to eject every backend that serves, or begin a panic. */
#include <evener/policy.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/child_policy.h>
#include <evener/log.h>
#include <evener/policy_config.h>
#include <evener/wrapping_policy.h>

#include "lb/base/address_table.h"
#include "lb/policy/builtin.h"
#include "lb/policy/failure_codes.h"
#include "lb/policy/outlier_algorithms.h"

typedef struct outlier_config {
    evener_outlier_config outlier;
    evener_policy_choice child;
} outlier_config;

#define OUTLIER_DEFAULTS                                                                                               \
    {                                                                                                                  \
        .interval_ns = 10 * EVENER_NS_PER_S, .base_ejection_ns = 30 * EVENER_NS_PER_S,                                 \
        .max_ejection_ns = 300 * EVENER_NS_PER_S, .max_ejection_percent = 10,                                          \
        .failure_codes = EVENER_FAILURE_CODES_DEFAULT                                                                  \
    }
static const evener_outlier_config outlier_defaults = OUTLIER_DEFAULTS;

/* The wrapper's memory in a subchannel: calls ended, by lane. Every backend has it, so it is small: half the distance
 * that lanes have elsewhere (EVENER_LANE_BYTES), and one row for all lanes from COUNT_ROW_SHARED on. */
#define COUNT_ROWS 8
#define COUNT_ROW_SHARED (COUNT_ROWS - 1)

typedef struct call_counts {
    struct {
        _Alignas(64) uint64_t successes;
        uint64_t failures;
    } rows[COUNT_ROWS];
    /* Of all lanes; written by failures, and by the first success after one. */
    _Alignas(64) uint32_t run; /* failures in a row */
    uint32_t longest_run;      /* since the last sweep */
} call_counts;

typedef struct outlier outlier;
typedef struct wrapped wrapped;

/* One backend: of the last list, or one that the child still has a subchannel of. */
typedef struct endpoint {
    void *table_next;
    struct endpoint *next; /* of all, in the order in which they were made */
    outlier *owner;
    evener_address *address;
    wrapped *subchannels;
    bool listed; /* by the last update */
    bool waits;  /* it came with a list that is not in service yet: it counts for nothing */
    bool ejected;
    uint8_t table_tag;
    uint64_t ejected_ns;
    uint32_t multiplier;
    char reason[EVENER_OUTLIER_REASON_BYTES];
} endpoint;

/* One subchannel of the child. */
struct wrapped {
    evener_wrapped_subchannel *base;
    endpoint *endpoint;
    wrapped *next; /* of the endpoint */
    call_counts *counts;
    uint64_t successes, failures; /* as of the last sweep */
    evener_status status;         /* with the real state */
    bool hidden;                  /* the child was notified that it is ejected */
};

struct outlier {
    evener_policy policy;
    evener_policy_helper *helper;
    evener_child_policy *child;
    evener_outlier_config config;
    endpoint *endpoints, **endpoints_end;
    evener_address_table table; /* of endpoints */
    evener_timer timer;
    uint64_t swept_ns; /* when the current interval began; 0: there is none */
    bool panics;       /* ejected backends are used */
    /* as the child published last */
    evener_connectivity_state state;
    evener_status status;
    evener_picker *picker;
    size_t data_offset;
};

static bool is_counting(const outlier *o)
{
    return o->config.success_rate.enabled || o->config.failure_percentage.enabled || o->config.consecutive.enabled;
}

/* ---- the picker ---- */

static void count_failure(call_counts *counts)
{
    const uint32_t run = __atomic_add_fetch(&counts->run, 1, __ATOMIC_RELAXED);
    if (run > __atomic_load_n(&counts->longest_run, __ATOMIC_RELAXED)) {
        __atomic_store_n(&counts->longest_run, run,
                         __ATOMIC_RELAXED); /* of two threads one may lose its maximum; the next failure stores it */
    }
}

/* The word is the set of failure codes. */
static void call_done(void *data, uint64_t word, const evener_done_info *info, uint32_t lane)
{
    call_counts *counts = data;
    if (info->not_sent) {
        return;
    }
    const bool shared = lane >= COUNT_ROW_SHARED;
    const uint32_t row = shared ? COUNT_ROW_SHARED : lane;
    const uint32_t own = shared ? EVENER_LANE_SHARED : lane;
    if (info->code == EVENER_STATUS_OK) {
        evener_lane_add(&counts->rows[row].successes, 1, own);
        if (__atomic_load_n(&counts->run, __ATOMIC_RELAXED) != 0) {
            __atomic_store_n(&counts->run, 0, __ATOMIC_RELAXED);
        }
    } else if (evener_is_failure((uint32_t)word, info->code)) {
        evener_lane_add(&counts->rows[row].failures, 1, own);
        count_failure(counts);
    }
}

static evener_pick_outcome outlier_pick(evener_picker *base, const evener_pick_context *context, evener_pick *pick)
{
    const evener_wrapping_picker *picker = (const evener_wrapping_picker *)base;
    const evener_pick_outcome outcome = evener_wrapping_picker_pick(picker, context, pick);
    if (outcome == EVENER_PICK_COMPLETE) {
        (void)evener_pick_on_done(pick, call_done, evener_wrapping_picker_data(picker, pick), picker->word);
    }
    return outcome;
}

static const evener_picker_vtable picker_vtable = {
    .size = sizeof picker_vtable, .pick = outlier_pick, .destroy = evener_wrapping_picker_destroy};

/* Publish the child's last state and picker, with a picker that counts if an algorithm needs counts. */
static void publish(outlier *o)
{
    if (o->picker == NULL) {
        return;
    }
    evener_picker *published = is_counting(o) ? evener_wrapping_picker_create(&picker_vtable, o->picker, o->data_offset,
                                                                              o->config.failure_codes)
                                              : NULL;
    if (published == NULL) { /* also on out of memory: rather not counted than not published */
        published = evener_picker_ref(o->picker);
    }
    evener_policy_publish(o->helper, o->state, &o->status, published);
}

/* ---- endpoints ---- */

/* Return the endpoint of an address; NULL: out of memory. A new one is not listed, and comes behind all others. */
static endpoint *endpoint_obtain(outlier *o, const evener_address *address)
{
    endpoint *e = evener_address_table_find(&o->table, address);
    if (e != NULL || !evener_address_table_reserve(&o->table, 1)) {
        return e;
    }
    e = calloc(1, sizeof *e);
    if (e == NULL) {
        return NULL;
    }
    e->owner = o;
    e->address = evener_address_ref(address);
    evener_address_table_enter(&o->table, e);
    *o->endpoints_end = e;
    o->endpoints_end = &e->next;
    return e;
}

static void endpoint_free(endpoint *e)
{
    assert(e->subchannels == NULL);
    evener_address_unref(e->address);
    free(e);
}

/* Free the endpoints that have left the list and have no subchannel. When no other one has left, the last list is the
 * one in service, and all of it counts. */
static void settle(outlier *o)
{
    bool is_in_service = true;
    endpoint **link = &o->endpoints;
    for (endpoint *e = *link; e != NULL; e = *link) {
        if (e->listed || e->subchannels != NULL) {
            is_in_service &= e->listed;
            link = &e->next;
        } else {
            *link = e->next;
            evener_address_table_leave(&o->table, e);
            endpoint_free(e);
        }
    }
    o->endpoints_end = link;
    for (endpoint *e = o->endpoints; is_in_service && e != NULL; e = e->next) {
        e->waits = false;
    }
}

/* ---- subchannels ---- */

static void notify_ejected(wrapped *w)
{
    evener_status status;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "%s: ejected by outlier detection: %s",
                      evener_subchannel_address_text(evener_wrapped_subchannel_get(w->base)), w->endpoint->reason);
    w->hidden = true;
    evener_wrapped_subchannel_notify(w->base, EVENER_TRANSIENT_FAILURE, &status);
}

static bool is_out(const endpoint *e)
{
    return e->ejected && !e->owner->panics;
}

static void wrapped_state_changed(evener_wrapped_subchannel *base, const evener_status *status)
{
    wrapped *w = evener_wrapped_subchannel_data(base);
    w->status = *status;
    if (!is_out(w->endpoint)) {
        evener_wrapped_subchannel_notify(base, evener_wrapped_subchannel_state(base), status);
    } else if (!w->hidden) {
        notify_ejected(w);
    }
}

/* The endpoint stays: this may happen within a walk over all endpoints. */
static void wrapped_released(evener_wrapped_subchannel *base)
{
    wrapped *w = evener_wrapped_subchannel_data(base);
    wrapped **link = &w->endpoint->subchannels;
    while (*link != w) {
        link = &(*link)->next;
    }
    *link = w->next;
}

static const evener_wrapped_hooks wrapped_hooks = {.size = sizeof wrapped_hooks,
                                                   .data_bytes = sizeof(wrapped),
                                                   .state_changed = wrapped_state_changed,
                                                   .released = wrapped_released};

static evener_subchannel *create_subchannel(void *owner, evener_child_maker maker, const evener_address *address,
                                            const evener_subchannel_options *options)
{
    outlier *o = owner;
    endpoint *e = endpoint_obtain(o, address);
    if (e == NULL) {
        return NULL;
    }
    evener_wrapped_subchannel *base =
        evener_wrapped_subchannel_create(o->helper, maker, address, options, &wrapped_hooks);
    if (base == NULL) {
        return NULL;
    }
    wrapped *w = evener_wrapped_subchannel_data(base);
    w->base = base;
    /* The last of the memory is the wrapper's own: the child's is a whole number of cache lines, and so is this. */
    char *data = evener_subchannel_data(evener_wrapped_subchannel_get(base));
    w->counts = (call_counts *)(void *)(data + options->data_bytes - sizeof(call_counts));
    w->endpoint = e;
    w->next = e->subchannels;
    e->subchannels = w;
    return evener_wrapped_subchannel_get(base);
}

static void child_publish(void *owner, evener_connectivity_state state, const evener_status *status,
                          evener_picker *picker, size_t data_offset)
{
    outlier *o = owner;
    o->state = state;
    if (status != NULL) {
        o->status = *status;
    } else {
        evener_status_clear(&o->status);
    }
    if (picker != NULL) {
        evener_picker_unref(o->picker);
        o->picker = picker;
        o->data_offset = data_offset;
    }
    publish(o);
}

static const evener_child_hooks hooks = {.size = sizeof hooks,
                                         .create_subchannel = create_subchannel,
                                         .publish = child_publish,
                                         .data_bytes = sizeof(call_counts)};

/* ---- ejection ---- */

/* Return the next one to notify. The list is searched again after each notification, as the child may release
 * subchannels. */
static wrapped *next_with(const endpoint *e, bool hidden)
{
    wrapped *w = e->subchannels;
    while (w != NULL && w->hidden != hidden) {
        w = w->next;
    }
    return w;
}

static void hide(endpoint *e)
{
    for (wrapped *w; (w = next_with(e, false)) != NULL;) {
        notify_ejected(w);
    }
}

static void show(endpoint *e)
{
    for (wrapped *w; (w = next_with(e, true)) != NULL;) {
        w->hidden = false;
        evener_wrapped_subchannel_notify(w->base, evener_wrapped_subchannel_state(w->base), &w->status);
    }
}

static void eject(endpoint *e, const char *reason, uint64_t now_ns)
{
    e->ejected = true;
    e->ejected_ns = now_ns;
    e->multiplier++;
    snprintf(e->reason, sizeof e->reason, "%s", reason);
    evener_log(EVENER_LOG_INFO, "outlier_detection", "%s: %s is ejected: %s", e->owner->helper->target,
               evener_address_text(e->address), e->reason);
    if (is_out(e)) {
        hide(e);
    }
}

static void uneject(endpoint *e)
{
    if (!e->ejected) {
        return;
    }
    e->ejected = false;
    evener_log(EVENER_LOG_INFO, "outlier_detection", "%s: %s is back", e->owner->helper->target,
               evener_address_text(e->address));
    show(e);
}

static bool is_healthy(const endpoint *e)
{
    const wrapped *w = e->subchannels;
    while (w != NULL && evener_wrapped_subchannel_state(w->base) != EVENER_READY) {
        w = w->next;
    }
    return w != NULL && !e->ejected;
}

/* Begin or end the panic, if the number of healthy backends says so. */
static void look_for_panic(outlier *o)
{
    size_t healthy = 0, count = 0;
    for (const endpoint *e = o->endpoints; e != NULL; e = e->next) {
        healthy += !e->waits && is_healthy(e);
        count += !e->waits;
    }
    const bool panics = healthy * 100 < count * (size_t)o->config.panic_percent;
    if (panics == o->panics) {
        return;
    }
    evener_log(EVENER_LOG_WARNING, "outlier_detection", "%s: %zu of %zu backends are healthy: ejected ones are %s",
               o->helper->target, healthy, count, panics ? "used, too" : "left out again");
    o->panics = panics;
    for (endpoint *e = o->endpoints; e != NULL; e = e->next) {
        if (e->ejected && panics) {
            show(e);
        } else if (e->ejected) {
            hide(e);
        }
    }
}

/* Store the counts of the calls since the last sweep. */
static void take_counts(const endpoint *e, evener_outlier_host *host)
{
    for (wrapped *w = e->subchannels; w != NULL; w = w->next) {
        uint64_t successes = 0, failures = 0;
        for (uint32_t row = 0; row < COUNT_ROWS; row++) {
            successes += __atomic_load_n(&w->counts->rows[row].successes, __ATOMIC_RELAXED);
            failures += __atomic_load_n(&w->counts->rows[row].failures, __ATOMIC_RELAXED);
        }
        host->successes += successes - w->successes;
        host->failures += failures - w->failures;
        w->successes = successes;
        w->failures = failures;
        const uint32_t run = __atomic_exchange_n(&w->counts->longest_run, 0, __ATOMIC_RELAXED);
        host->run = run > host->run ? run : host->run;
    }
}

static uint32_t random_percent(void *arg)
{
    outlier *o = arg;
    return (uint32_t)evener_loop_random_below(o->helper->loop, 100);
}

static uint64_t ejection_ns(const outlier *o, const endpoint *e)
{
    const double wanted_ns = (double)o->config.base_ejection_ns * (double)e->multiplier;
    const uint64_t most_ns =
        o->config.max_ejection_ns > o->config.base_ejection_ns ? o->config.max_ejection_ns : o->config.base_ejection_ns;
    return wanted_ns < (double)most_ns ? (uint64_t)wanted_ns : most_ns;
}

static void apply_verdict(endpoint *e, const evener_outlier_host *host, uint64_t now_ns)
{
    if (host->ejected && !e->ejected) {
        eject(e, host->reason, now_ns);
    } else if (!e->ejected && e->multiplier > 0) {
        e->multiplier--;
    } else if (e->ejected && now_ns >= e->ejected_ns + ejection_ns(e->owner, e)) {
        uneject(e);
    }
}

static void sweep(void *arg)
{
    outlier *o = arg;
    const uint64_t now_ns = evener_loop_now_ns(o->helper->loop);
    o->swept_ns = now_ns;
    evener_timer_start(o->helper->loop, &o->timer, o->config.interval_ns);
    settle(o);
    evener_outlier_host *hosts = calloc(o->table.count > 0 ? o->table.count : 1, sizeof *hosts);
    if (hosts == NULL) {
        return; /* the next sweep has the calls of both intervals */
    }
    size_t count = 0;
    for (const endpoint *e = o->endpoints; e != NULL; e = e->next) {
        if (!e->waits) {
            hosts[count].ejected = e->ejected;
            take_counts(e, &hosts[count++]);
        }
    }
    evener_outlier_sweep(&o->config, hosts, count, random_percent, o);
    size_t i = 0; /* the child may create endpoints meanwhile, behind these */
    for (endpoint *e = o->endpoints; i < count; e = e->next) {
        if (!e->waits) {
            apply_verdict(e, &hosts[i++], now_ns);
        }
    }
    free(hosts);
    look_for_panic(o);
}

/* ---- updates ---- */

/* Find or make the endpoints of a list. False if out of memory: some may be made. */
static bool obtain_endpoints(outlier *o, const evener_policy_update *update, endpoint **found)
{
    (void)evener_address_table_reserve(&o->table, update->address_count); /* at once instead of in steps */
    for (size_t i = 0; i < update->address_count; i++) {
        found[i] = endpoint_obtain(o, update->addresses[i]);
        if (found[i] == NULL) {
            return false;
        }
    }
    return true;
}

static void list_endpoints(outlier *o, endpoint *const *found, size_t count)
{
    for (endpoint *e = o->endpoints; e != NULL; e = e->next) {
        e->waits |= !e->listed && e->subchannels == NULL; /* made for this list */
        e->listed = false;
    }
    for (size_t i = 0; i < count; i++) {
        found[i]->listed = true;
    }
}

/* Replace the list. False if out of memory: nothing has changed. */
static bool replace_list(outlier *o, const evener_policy_update *update)
{
    endpoint **found = malloc((update->address_count > 0 ? update->address_count : 1) * sizeof(endpoint *));
    settle(o); /* what is without a subchannel and not listed from here on is made for this list */
    const bool is_complete = found != NULL && obtain_endpoints(o, update, found);
    if (is_complete) {
        list_endpoints(o, found, update->address_count);
    }
    settle(o);
    free(found);
    return is_complete;
}

/* Set the timer for a new configuration. A50: a changed interval counts from the start of the current one. Without an
 * algorithm no backend stays ejected. */
static void restart_timer(outlier *o, bool was_counting)
{
    const uint64_t now_ns = evener_loop_now_ns(o->helper->loop);
    if (!is_counting(o)) {
        evener_timer_stop(o->helper->loop, &o->timer);
        o->swept_ns = 0;
        for (endpoint *e = o->endpoints; e != NULL; e = e->next) {
            uneject(e);
            e->multiplier = 0;
        }
        return;
    }
    if (o->swept_ns == 0 || !was_counting) {
        o->swept_ns = now_ns;
        for (const endpoint *e = o->endpoints; e != NULL; e = e->next) {
            evener_outlier_host forgotten = {0};
            take_counts(e, &forgotten);
        }
    }
    const uint64_t due_ns = o->swept_ns + o->config.interval_ns;
    evener_timer_start(o->helper->loop, &o->timer, due_ns > now_ns ? due_ns - now_ns : 0);
}

static evener_status_code outlier_update(evener_policy *policy, const evener_policy_update *update,
                                         evener_status *status)
{
    outlier *o = (outlier *)policy;
    const outlier_config *config = update->config;
    const bool was_counting = is_counting(o);
    const uint32_t old_codes = o->config.failure_codes;
    const evener_policy_choice fallback = {.builder = evener_policy_find(o->helper->policies, "round_robin")};
    if (!replace_list(o, update)) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED, "out of memory for a list of %zu addresses",
                                 update->address_count);
    }
    o->config = config != NULL ? config->outlier : outlier_defaults;
    restart_timer(o, was_counting);
    if (was_counting != is_counting(o) || old_codes != o->config.failure_codes) {
        publish(o);
    }
    const evener_status_code code =
        evener_child_policy_update(o->child, config != NULL ? &config->child : &fallback, update, status);
    settle(o);
    return code;
}

static void outlier_resolver_error(evener_policy *policy, const evener_status *status)
{
    evener_child_policy_resolver_error(((outlier *)policy)->child, status);
}

static void outlier_exit_idle(evener_policy *policy)
{
    evener_child_policy_exit_idle(((outlier *)policy)->child);
}

static void outlier_close(evener_policy *policy)
{
    outlier *o = (outlier *)policy;
    evener_timer_stop(o->helper->loop, &o->timer);
    evener_child_policy_destroy(o->child);
    for (endpoint *e = o->endpoints, *next; e != NULL; e = next) {
        next = e->next;
        endpoint_free(e);
    }
    evener_address_table_clear(&o->table);
    evener_picker_unref(o->picker);
    free(o);
}

/* Return who made a subchannel of the endpoint; NULL: not known. */
static evener_child_maker maker_of(const endpoint *e, const evener_subchannel *subchannel)
{
    const wrapped *w = e != NULL ? e->subchannels : NULL;
    while (w != NULL && evener_wrapped_subchannel_get(w->base) != subchannel) {
        w = w->next;
    }
    return w != NULL ? evener_wrapped_subchannel_maker(w->base) : NULL;
}

static void outlier_describe(evener_policy *policy, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes)
{
    outlier *o = (outlier *)policy;
    const endpoint *e = evener_address_table_find(&o->table, evener_subchannel_address(subchannel));
    evener_child_policy_describe(o->child, maker_of(e, subchannel), subchannel, buffer, buffer_bytes);
    const size_t used = strlen(buffer);
    if (e != NULL && e->ejected && used < buffer_bytes) {
        snprintf(buffer + used, buffer_bytes - used, "%sejected for %llu ms: %s", used > 0 ? " " : "",
                 (unsigned long long)((evener_loop_now_ns(o->helper->loop) - e->ejected_ns) / EVENER_NS_PER_MS),
                 e->reason);
    }
}

static const evener_policy_vtable outlier_vtable = {
    .size = sizeof outlier_vtable,
    .update = outlier_update,
    .resolver_error = outlier_resolver_error,
    .exit_idle = outlier_exit_idle,
    .close = outlier_close,
    .describe = outlier_describe,
};

static evener_policy *outlier_build(const evener_policy_builder *builder, evener_policy_helper *helper)
{
    (void)builder;
    outlier *o = calloc(1, sizeof *o);
    if (o == NULL) {
        return NULL;
    }
    o->child = evener_child_policy_create(helper, &hooks, o);
    if (o->child == NULL) {
        free(o);
        return NULL;
    }
    o->policy.vtable = &outlier_vtable;
    o->helper = helper;
    o->config = outlier_defaults;
    o->endpoints_end = &o->endpoints;
    o->table = (evener_address_table)EVENER_ADDRESS_TABLE_INIT(endpoint, table_next, address, table_tag);
    o->timer = (evener_timer)EVENER_TIMER_INIT(sweep, o);
    return &o->policy;
}

/* ---- configuration ---- */

static void config_destroy(evener_policy_config *parsed)
{
    outlier_config *config = parsed;
    evener_policy_choice_clear(&config->child);
    free(config);
}

static void read_config(evener_policy_fields *fields, const evener_policy_set *policies, evener_policy_config *parsed)
{
    outlier_config *config = parsed;
    evener_outlier_read(fields, &config->outlier);
    evener_policy_fields_get_child_policy(fields, "childPolicy", policies, &config->child);
}

static const outlier_config config_defaults = {.outlier = OUTLIER_DEFAULTS};
static const evener_policy_config_type config_type = {.size = sizeof config_type,
                                                      .config_bytes = sizeof(outlier_config),
                                                      .defaults = &config_defaults,
                                                      .read = read_config,
                                                      .destroy = config_destroy};

static evener_status_code parse_config(const evener_policy_builder *builder, const evener_policy_set *policies,
                                       const char *json, evener_policy_config **config, evener_status *status)
{
    (void)builder;
    return evener_policy_config_parse(&config_type, policies, json, config, status);
}

/* A50's name in service configs is the second one. */
const evener_policy_builder evener_policy_outlier_detection = {
    .size = sizeof evener_policy_outlier_detection,
    .name = "outlier_detection",
    .build = outlier_build,
    .parse_config = parse_config,
    .config_destroy = config_destroy,
};

const evener_policy_builder evener_policy_outlier_detection_experimental = {
    .size = sizeof evener_policy_outlier_detection_experimental,
    .name = "outlier_detection_experimental",
    .build = outlier_build,
    .parse_config = parse_config,
    .config_destroy = config_destroy,
};
