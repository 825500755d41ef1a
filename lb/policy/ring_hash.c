/* ring_hash: calls of one hash go to one backend, and few of them move when the list changes (A42, A76; A61 for
 * states).
 *
 * Every endpoint has places on a ring of 64-bit hashes, as many as its weight says (lb/policy/hash_ring.h). A call's
 * hash is, in this order: that given with the call (evener_pick_args.hash); XXH64 of the header `requestHashHeader`; a
 * random number. The pick goes round the ring from the hash on: READY takes the call; IDLE is asked to connect, and the
 * call waits, as it does for CONNECTING; one that fails is passed over; when all fail, the call fails. A call with a
 * random hash takes the first READY one instead of waiting (A76).
 *
 * Endpoints connect on demand. So that a policy all of whose known endpoints fail finds one that works without being
 * asked, it connects one endpoint after the other by itself while it is failing.
 *
 * State: READY if any is; TRANSIENT_FAILURE if two or more fail; CONNECTING if any is, or if one of several fails; IDLE
 * if any is; else TRANSIENT_FAILURE. */
#include <evener/policy.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <evener/log.h>
#include <evener/policy_config.h>

#include "lb/policy/address_index.h"
#include "lb/policy/builtin.h"
#include "lb/policy/ring_picker.h"
#include "lb/policy/weights.h"

#define RING_SIZE_MIN_DEFAULT 1024
#define RING_SIZE_MAX_DEFAULT 65536 /* A42 has 4096, where 10,000 backends have no place each: 1 MiB */
#define RING_SIZE_LIMIT 8388608     /* A42 */
/* Delay before a picker that could not be made (out of memory) is made again. */
#define RETRY_NS (10 * EVENER_NS_PER_MS)

typedef struct ring_hash_config {
    uint32_t size_min, size_max;
    char header[HEADER_BYTES]; /* "": none */
    double load_factor_max;    /* 0: no bound */
} ring_hash_config;

static const ring_hash_config default_config = {RING_SIZE_MIN_DEFAULT, RING_SIZE_MAX_DEFAULT, "", 0};

typedef struct ring_hash ring_hash;

typedef struct endpoint {
    ring_hash *owner;
    evener_address *address;
    evener_subchannel *subchannel;
    evener_connectivity_state state; /* TRANSIENT_FAILURE is kept until READY (A62) */
    evener_address *stays_as;        /* during an update: its address in the new list, borrowed; NULL: new or gone */
} endpoint;

struct ring_hash {
    evener_policy policy;
    evener_policy_helper *helper;
    const ring_hash_config *config;
    endpoint **endpoints;
    size_t count;
    evener_hash_ring *ring;
    uint32_t without_place; /* endpoints that the ring has no room for */
    connect_request *request;
    ring_load *load;
    bool published;
    evener_connectivity_state state; /* as published */
    evener_status last_error;
    evener_task publish_task;
    evener_timer retry_timer;
    bool publish_pending, closed;
};

/* ---- the picker ---- */

static evener_picker *make_picker(ring_hash *r, const evener_status *error)
{
    ring_picker *picker = evener_picker_alloc(sizeof *picker + r->count * sizeof(target));
    if (picker == NULL) {
        return NULL;
    }
    evener_picker_init(&picker->base, &ring_picker_vtable);
    picker->ring = evener_hash_ring_ref(r->ring);
    picker->request = r->request;
    picker->request->references++;
    evener_lane_random_init(&picker->random, r->helper->loop);
    picker->error = *error;
    picker->count = (uint32_t)r->count;
    picker->any_connecting = false;
    picker->usable = 0;
    picker->load_factor_max = r->config->load_factor_max;
    picker->bounded = r->config->load_factor_max > 0;
    picker->load = r->load; /* lives as long as the subchannels' memory */
    memcpy(picker->header, r->config->header, sizeof picker->header);
    for (size_t i = 0; i < r->count; i++) {
        const endpoint *e = r->endpoints[i];
        picker->targets[i] = (target){.subchannel = evener_subchannel_ref(e->subchannel),
                                      .data = evener_subchannel_data(e->subchannel),
                                      .state = e->state};
        picker->any_connecting |= e->state == EVENER_CONNECTING;
        picker->usable += e->state != EVENER_TRANSIENT_FAILURE && picker->targets[i].data->places > 0;
    }
    return &picker->base;
}

/* ---- states ---- */

static evener_connectivity_state aggregate(const ring_hash *r, bool *connect_one)
{
    size_t counts[EVENER_SHUTDOWN + 1] = {0};
    for (size_t i = 0; i < r->count; i++) {
        counts[r->endpoints[i]->state]++;
    }
    *connect_one = false;
    if (counts[EVENER_READY] > 0) {
        return EVENER_READY;
    }
    *connect_one = counts[EVENER_TRANSIENT_FAILURE] > 0 && counts[EVENER_CONNECTING] == 0;
    if (counts[EVENER_TRANSIENT_FAILURE] >= 2) {
        return EVENER_TRANSIENT_FAILURE;
    }
    if (counts[EVENER_CONNECTING] > 0 || (counts[EVENER_TRANSIENT_FAILURE] == 1 && r->count > 1)) {
        return EVENER_CONNECTING;
    }
    return counts[EVENER_IDLE] > 0 ? EVENER_IDLE : EVENER_TRANSIENT_FAILURE;
}

static void publish_now(ring_hash *r)
{
    bool connect_one;
    evener_status status;
    r->state = aggregate(r, &connect_one);
    r->published = true;
    evener_status_set(&status, EVENER_STATUS_UNAVAILABLE, "no backend of the ring can be reached; last error: %s",
                      r->last_error.message);
    evener_picker *picker = make_picker(r, &status);
    if (picker == NULL) {
        evener_timer_start(r->helper->loop, &r->retry_timer, RETRY_NS);
    }
    evener_policy_publish(r->helper, r->state, &status, picker);
    for (size_t i = 0; connect_one && i < r->count; i++) {
        if (r->endpoints[i]->state == EVENER_IDLE) {
            evener_subchannel_connect(r->endpoints[i]->subchannel);
            connect_one = false;
        }
    }
}

static void publish_again(void *arg)
{
    ring_hash *r = arg;
    if (r->count > 0) {
        publish_now(r);
    }
}

static void publish_joined(void *arg)
{
    ring_hash *r = arg;
    r->publish_pending = false;
    if (r->closed) {
        free(r);
    } else if (r->count > 0) {
        publish_now(r);
    }
}

/* Publish at the end of the turn: its changes are joined into one picker. */
static void publish_soon(ring_hash *r)
{
    if (!r->publish_pending) {
        r->publish_pending = true;
        evener_loop_post(r->helper->loop, &r->publish_task);
    }
}

static void state_changed(void *arg, evener_subchannel *subchannel, evener_connectivity_state state,
                          const evener_status *status)
{
    endpoint *e = arg;
    ring_hash *r = e->owner;
    const evener_connectivity_state old = e->state;
    if (state == EVENER_TRANSIENT_FAILURE) {
        r->last_error = *status;
    }
    if (state == EVENER_TRANSIENT_FAILURE || (old == EVENER_READY && state != EVENER_READY)) {
        evener_policy_request_reresolution(r->helper);
    }
    if (old == EVENER_TRANSIENT_FAILURE && state == EVENER_IDLE) {
        evener_subchannel_connect(subchannel); /* its backoff is over */
    }
    if (old != EVENER_TRANSIENT_FAILURE || state == EVENER_READY) {
        e->state = state;
    }
    if (old != e->state || state == EVENER_TRANSIENT_FAILURE) {
        publish_soon(r);
    }
}

static void connect_wanted(void *arg)
{
    connect_request *request = arg;
    /* Acquire: earlier requests are seen; later ones post again. */
    (void)__atomic_exchange_n(&request->posted, 0, __ATOMIC_ACQ_REL);
    if (request->references == 0) {
        free(request);
        return;
    }
    ring_hash *r = request->policy;
    for (size_t i = 0; r != NULL && i < r->count; i++) {
        endpoint_data *data = evener_subchannel_data(r->endpoints[i]->subchannel);
        if (__atomic_load_n(&data->wanted, __ATOMIC_RELAXED) != 0) {
            __atomic_store_n(&data->wanted, 0, __ATOMIC_RELAXED);
            evener_subchannel_connect(r->endpoints[i]->subchannel);
        }
    }
}

/* ---- updates ---- */

static void endpoint_end(endpoint *e)
{
    evener_subchannel_release(e->subchannel);
    evener_address_unref(e->address);
    free(e);
}

static void endpoints_end(endpoint **endpoints, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        endpoint_end(endpoints[i]);
    }
    free(endpoints);
}

static void data_destroy(void *data)
{
    ring_load_unref(((endpoint_data *)data)->load);
}

static endpoint *endpoint_create(ring_hash *r, evener_address *address)
{
    endpoint *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return NULL;
    }
    const evener_subchannel_options options = {.size = sizeof options,
                                               .state_changed = state_changed,
                                               .arg = e,
                                               .data_bytes = sizeof(endpoint_data),
                                               .data_destroy = data_destroy};
    e->owner = r;
    e->state = EVENER_IDLE;
    e->subchannel = evener_policy_create_subchannel(r->helper, address, &options);
    if (e->subchannel == NULL) {
        free(e);
        return NULL;
    }
    e->address = evener_address_ref(address);
    ((endpoint_data *)evener_subchannel_data(e->subchannel))->load = r->load;
    r->load->references++;
    return e;
}

/* Create the endpoints of addresses that are new, and find those that stay. False, with what it made so far in
 * `made`: out of memory. A duplicate is left out: the first one counts. */
static bool gather_endpoints(ring_hash *r, const evener_policy_update *update, const evener_address_index *old,
                             const evener_address_index *own, endpoint **made, size_t *count)
{
    for (size_t i = 0; i < update->address_count; i++) {
        evener_address *address = update->addresses[i];
        if (evener_address_index_find(own, address) != i) {
            continue;
        }
        const size_t position = evener_address_index_find(old, address);
        endpoint *e = position != EVENER_NO_INDEX ? r->endpoints[position] : endpoint_create(r, address);
        if (e == NULL) {
            return false;
        }
        if (position != EVENER_NO_INDEX) {
            e->stays_as = address;
        }
        made[(*count)++] = e;
    }
    return true;
}

/* Undo gather_endpoints(). */
static void drop_gathered(endpoint **made, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (made[i]->stays_as != NULL) {
            made[i]->stays_as = NULL;
        } else {
            endpoint_end(made[i]);
        }
    }
    free(made);
}

static void warn_without_place(const ring_hash *r, uint32_t without_place, size_t count, uint32_t size)
{
    if (without_place > 0 && without_place != r->without_place) {
        evener_log(EVENER_LOG_WARNING, "ring_hash",
                   "%s: %u of %zu backends have no place on a ring of %u and get no calls: raise maxRingSize (%u) to "
                   "%u times the number of backends",
                   r->helper->target, without_place, count, size, r->config->size_max, EVENER_RING_PLACES_MIN);
    }
}

static evener_hash_ring *make_ring(const ring_hash *r, endpoint *const *endpoints, size_t count,
                                   uint32_t *without_place)
{
    const char **keys = malloc(count * sizeof(const char *));
    uint32_t *weights = malloc(count * sizeof(uint32_t));
    size_t weighted = 0;
    evener_hash_ring *ring = NULL;
    if (keys != NULL && weights != NULL) {
        for (size_t i = 0; i < count; i++) {
            const endpoint *e = endpoints[i];
            const evener_address *address = e->stays_as != NULL ? e->stays_as : e->address;
            const char *key = evener_address_attribute(address, "hash_key"); /* A76 */
            keys[i] = key != NULL && key[0] != '\0' ? key : evener_address_text(address);
            weights[i] = evener_is_drained(address) ? 0 : evener_static_weight_of(address);
            weighted += weights[i] > 0;
        }
        for (size_t i = 0; weighted == 0 && i < count; i++) {
            weights[i] = 1; /* all have weight 0: none drains */
        }
        ring = evener_hash_ring_create(keys, weights, (uint32_t)count, r->config->size_min, r->config->size_max,
                                       without_place);
    }
    free(keys);
    free(weights);
    if (ring != NULL) {
        warn_without_place(r, *without_place, count, ring->size);
    }
    return ring;
}

static void count_places(const ring_hash *r)
{
    for (size_t i = 0; i < r->count; i++) {
        ((endpoint_data *)evener_subchannel_data(r->endpoints[i]->subchannel))->places = 0;
    }
    for (uint32_t i = 0; i < r->ring->size; i++) {
        ((endpoint_data *)evener_subchannel_data(r->endpoints[r->ring->entries[i].endpoint]->subchannel))->places++;
    }
}

static void take_attributes(endpoint *e)
{
    if (e->stays_as != NULL && !evener_address_equal(e->address, e->stays_as)) {
        evener_subchannel_set_address(e->subchannel, e->stays_as);
        evener_address_unref(e->address);
        e->address = evener_address_ref(e->stays_as);
    }
}

/* Replace list and ring. False: out of memory, nothing has changed. */
static bool replace_list(ring_hash *r, const evener_policy_update *update)
{
    evener_address_index old_index, own_index;
    bool room = evener_address_index_init(&old_index, r->count);
    room = evener_address_index_init(&own_index, update->address_count) && room; /* both: both are cleared below */
    endpoint **made = malloc(update->address_count * sizeof(endpoint *));
    size_t count = 0;
    evener_hash_ring *ring = NULL;
    uint32_t without_place = 0;
    if (room && made != NULL) {
        for (size_t i = 0; i < r->count; i++) {
            evener_address_index_add(&old_index, r->endpoints[i]->address, i);
        }
        for (size_t i = 0; i < update->address_count; i++) {
            evener_address_index_add(&own_index, update->addresses[i], i);
        }
        if (gather_endpoints(r, update, &old_index, &own_index, made, &count)) {
            ring = make_ring(r, made, count, &without_place);
        }
    }
    evener_address_index_clear(&old_index);
    evener_address_index_clear(&own_index);
    if (ring == NULL) {
        drop_gathered(made, count);
        return false;
    }
    endpoint **old = r->endpoints;
    const size_t old_count = r->count;
    r->endpoints = made;
    r->count = count;
    for (size_t i = 0; i < count; i++) {
        take_attributes(made[i]);
    }
    evener_hash_ring_unref(r->ring);
    r->ring = ring;
    r->without_place = without_place;
    count_places(r);
    publish_now(r);
    for (size_t i = 0; i < old_count; i++) {
        if (old[i]->stays_as == NULL) {
            endpoint_end(old[i]);
        } else {
            old[i]->stays_as = NULL;
        }
    }
    free(old);
    return true;
}

static evener_status_code fail_empty(ring_hash *r, evener_status *status)
{
    r->state = EVENER_TRANSIENT_FAILURE;
    const evener_status_code code = evener_policy_fail_empty(r->helper, status);
    endpoints_end(r->endpoints, r->count);
    r->endpoints = NULL;
    r->count = 0;
    return code;
}

/* Out of memory, the old list with its ring and its picker stays in force. */
static evener_status_code ring_hash_update(evener_policy *policy, const evener_policy_update *update,
                                           evener_status *status)
{
    ring_hash *r = (ring_hash *)policy;
    r->config = update->config != NULL ? update->config : &default_config;
    if (update->address_count == 0) {
        return fail_empty(r, status);
    }
    if (!replace_list(r, update)) {
        return evener_status_set(status, EVENER_STATUS_RESOURCE_EXHAUSTED,
                                 "out of memory for a list of %zu addresses%s", update->address_count,
                                 r->count > 0 ? ": the last list serves on" : "");
    }
    return evener_status_clear(status);
}

static void ring_hash_resolver_error(evener_policy *policy, const evener_status *status)
{
    ring_hash *r = (ring_hash *)policy;
    if (r->count == 0) {
        evener_policy_publish(r->helper, EVENER_TRANSIENT_FAILURE, status, evener_picker_create_fail(status));
    }
}

/* Connect one endpoint, unless a waiting call has requested its own already. */
static void ring_hash_exit_idle(evener_policy *policy)
{
    ring_hash *r = (ring_hash *)policy;
    for (size_t i = 0; i < r->count; i++) {
        if (evener_subchannel_state(r->endpoints[i]->subchannel) != EVENER_IDLE) {
            return;
        }
    }
    if (r->count > 0 && __atomic_load_n(&r->request->posted, __ATOMIC_ACQUIRE) == 0) {
        evener_subchannel_connect(r->endpoints[evener_loop_random_below(r->helper->loop, r->count)]->subchannel);
    }
}

static void ring_hash_close(evener_policy *policy)
{
    ring_hash *r = (ring_hash *)policy;
    evener_timer_stop(r->helper->loop, &r->retry_timer);
    endpoints_end(r->endpoints, r->count);
    evener_hash_ring_unref(r->ring);
    ring_load_unref(r->load);
    r->request->policy = NULL;
    connect_request_unref(r->request);
    r->closed = true;
    if (!r->publish_pending) {
        free(r);
    }
}

static void ring_hash_describe(evener_policy *policy, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes)
{
    const ring_hash *r = (const ring_hash *)policy;
    const endpoint_data *data = evener_subchannel_data(subchannel);
    snprintf(buffer, buffer_bytes, "places=%u ring_size=%u without_place=%u", data->places,
             r->ring != NULL ? r->ring->size : 0, r->without_place);
}

static const evener_policy_vtable ring_hash_vtable = {
    .size = sizeof ring_hash_vtable,
    .update = ring_hash_update,
    .resolver_error = ring_hash_resolver_error,
    .exit_idle = ring_hash_exit_idle,
    .close = ring_hash_close,
    .describe = ring_hash_describe,
};

static evener_policy *ring_hash_build(const evener_policy_builder *builder, evener_policy_helper *helper)
{
    (void)builder;
    ring_hash *r = calloc(1, sizeof *r);
    connect_request *request = calloc(1, sizeof *request);
    ring_load *load = calloc(1, sizeof *load);
    if (r == NULL || request == NULL || load == NULL) {
        free(r);
        free(request);
        free(load);
        return NULL;
    }
    load->references = 1;
    r->load = load;
    request->task = (evener_task)EVENER_TASK_INIT(connect_wanted, request);
    request->policy = r;
    request->references = 1;
    r->policy.vtable = &ring_hash_vtable;
    r->helper = helper;
    r->config = &default_config;
    r->request = request;
    r->publish_task = (evener_task)EVENER_TASK_INIT(publish_joined, r);
    r->retry_timer = (evener_timer)EVENER_TIMER_INIT(publish_again, r);
    evener_status_clear(&r->last_error);
    return &r->policy;
}

/* ---- configuration ---- */

static void read_config(evener_policy_fields *fields, const evener_policy_set *policies, evener_policy_config *parsed)
{
    (void)policies;
    ring_hash_config *config = parsed;
    const bool has_min = evener_policy_fields_get_u32(fields, "minRingSize", 1, RING_SIZE_LIMIT, &config->size_min);
    const bool has_max = evener_policy_fields_get_u32(fields, "maxRingSize", 1, RING_SIZE_LIMIT, &config->size_max);
    evener_policy_fields_get_double(fields, "maxLoadFactor", 1, 1000, &config->load_factor_max);
    evener_policy_fields_get_string(fields, "requestHashHeader", config->header, sizeof config->header);
    if (!has_min && config->size_min > config->size_max) {
        config->size_min = config->size_max; /* the default yields to the maximum */
    }
    if (!has_max && config->size_max < config->size_min) {
        config->size_max = config->size_min;
    }
    if (config->size_min > config->size_max) {
        evener_policy_fields_fail(fields, EVENER_STATUS_INVALID_ARGUMENT, "minRingSize",
                                  "%u is more than maxRingSize, %u", config->size_min, config->size_max);
    }
    const size_t header_bytes = strlen(config->header);
    if (header_bytes >= 4 && strcmp(config->header + header_bytes - 4, "-bin") == 0) { /* A76 */
        evener_policy_fields_fail(fields, EVENER_STATUS_INVALID_ARGUMENT, "requestHashHeader",
                                  "a binary header (\"-bin\") cannot be hashed");
    }
    for (size_t i = 0; i < header_bytes; i++) {
        const char c = config->header[i];
        config->header[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
}

static const evener_policy_config_type config_type = {.size = sizeof config_type,
                                                      .config_bytes = sizeof(ring_hash_config),
                                                      .defaults = &default_config,
                                                      .read = read_config};

static evener_status_code parse_config(const evener_policy_builder *builder, const evener_policy_set *policies,
                                       const char *json, evener_policy_config **config, evener_status *status)
{
    (void)builder;
    return evener_policy_config_parse(&config_type, policies, json, config, status);
}

/* A42's name in service configs is the second one. */
const evener_policy_builder evener_policy_ring_hash = {
    .size = sizeof evener_policy_ring_hash,
    .name = "ring_hash",
    .build = ring_hash_build,
    .parse_config = parse_config,
    .config_destroy = free,
};

const evener_policy_builder evener_policy_ring_hash_experimental = {
    .size = sizeof evener_policy_ring_hash_experimental,
    .name = "ring_hash_experimental",
    .build = ring_hash_build,
    .parse_config = parse_config,
    .config_destroy = free,
};
