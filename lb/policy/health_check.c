/* health_check: a backend takes calls only while its server says that it serves (A17).
 *
 * It wraps any policy (`childPolicy`). On each connection `grpc.health.v1.Health/Watch` is asked for `serviceName`. To
 * the child a connected backend is CONNECTING until the first answer, then READY while it serves and TRANSIENT_FAILURE
 * while it does not; the connection stays. A server that knows no health checking, or a transport without it, counts as
 * healthy. With pick_first as the child nothing is watched (A17: pick_first has no use for it). */
#include <evener/wrapping_policy.h>

#include <string.h>

#include <evener/log.h>

#include "lb/base/address_table.h"
#include "lb/policy/builtin.h"

#define SERVICE_NAME_BYTES 256

typedef struct health_config {
    char service[SERVICE_NAME_BYTES];
} health_config;

typedef struct health_check health_check;

/* One subchannel of the child. While one child replaces another, there may be two or more of an address. */
typedef struct wrapped {
    evener_wrapped_subchannel *base;
    health_check *owner;
    evener_address *address;      /* a reference */
    struct wrapped *next, **link; /* of all */
    struct wrapped *sibling;      /* the next one of the address; the first one is in the table */
    void *table_next;
    uint8_t table_tag;
    evener_connectivity_state health; /* while the connection is READY */
    evener_connectivity_state shown;  /* to the child */
} wrapped;

struct health_check {
    evener_policy_helper *helper;
    char service[SERVICE_NAME_BYTES];
    bool watching; /* the child uses health */
    wrapped *subchannels;
    evener_address_table by_address;
};

static evener_connectivity_state state_of(const wrapped *w)
{
    return evener_wrapped_subchannel_state(w->base);
}

static void show(wrapped *w, evener_connectivity_state state, const evener_status *status)
{
    if (w->shown != state || state == EVENER_TRANSIENT_FAILURE) {
        w->shown = state;
        evener_wrapped_subchannel_notify(w->base, state, status);
    }
}

static void health_changed(void *arg, evener_subchannel *subchannel, evener_connectivity_state health,
                           const evener_status *status)
{
    wrapped *w = arg;
    w->health = health;
    if (state_of(w) != EVENER_READY || !w->owner->watching) {
        return;
    }
    if (health != EVENER_TRANSIENT_FAILURE) {
        show(w, health, status);
        return;
    }
    evener_status reason;
    evener_status_set(&reason, EVENER_STATUS_UNAVAILABLE, "%s: unhealthy: %s",
                      evener_subchannel_address_text(subchannel), status->message);
    show(w, EVENER_TRANSIENT_FAILURE, &reason);
}

/* Ask for the health over the connection that is up. */
static void watch(wrapped *w)
{
    evener_status status;
    evener_status_clear(&status);
    w->health = EVENER_CONNECTING;
    evener_subchannel *subchannel = evener_wrapped_subchannel_get(w->base);
    switch (evener_subchannel_watch_health(subchannel, w->owner->service, health_changed, w, &status)) {
    case EVENER_STATUS_OK:
    case EVENER_STATUS_FAILED_PRECONDITION: /* lost meanwhile; the notification of its state follows */
        break;
    case EVENER_STATUS_UNIMPLEMENTED:
        w->health = EVENER_READY;
        break;
    default: /* use it without a health check rather than not at all */
        evener_log(EVENER_LOG_WARNING, "health_check", "%s: %s: health is not watched: %s", w->owner->helper->target,
                   evener_subchannel_address_text(subchannel), status.message);
        w->health = EVENER_READY;
        break;
    }
}

static void connection_changed(evener_wrapped_subchannel *base, const evener_status *status)
{
    wrapped *w = evener_wrapped_subchannel_data(base);
    if (state_of(w) != EVENER_READY || !w->owner->watching) {
        show(w, state_of(w), status);
        return;
    }
    watch(w);
    show(w, w->health, status);
}

/* Add one as the first of its address; the table has room. */
static void enter(wrapped *w)
{
    w->sibling = evener_address_table_find(&w->owner->by_address, w->address);
    if (w->sibling != NULL) {
        evener_address_table_leave(&w->owner->by_address, w->sibling);
    }
    evener_address_table_enter(&w->owner->by_address, w);
}

static void leave(const wrapped *w)
{
    wrapped *first = evener_address_table_find(&w->owner->by_address, w->address);
    if (first != w) {
        while (first->sibling != w) {
            first = first->sibling;
        }
        first->sibling = w->sibling;
        return;
    }
    evener_address_table_leave(&w->owner->by_address, w);
    if (w->sibling != NULL) {
        evener_address_table_enter(&w->owner->by_address, w->sibling);
    }
}

static void unlink_released(evener_wrapped_subchannel *base)
{
    wrapped *w = evener_wrapped_subchannel_data(base);
    leave(w);
    evener_address_unref(w->address);
    *w->link = w->next;
    if (w->next != NULL) {
        w->next->link = w->link;
    }
}

static const evener_wrapped_hooks wrapped_hooks = {.size = sizeof wrapped_hooks,
                                                   .data_bytes = sizeof(wrapped),
                                                   .state_changed = connection_changed,
                                                   .released = unlink_released};

static evener_subchannel *create_subchannel(evener_wrapping *wrapping, evener_child_maker maker,
                                            const evener_address *address, const evener_subchannel_options *options)
{
    health_check *c = wrapping->state;
    if (!evener_address_table_reserve(&c->by_address, 1)) {
        return NULL;
    }
    evener_wrapped_subchannel *base =
        evener_wrapped_subchannel_create(c->helper, maker, address, options, &wrapped_hooks);
    if (base == NULL) {
        return NULL;
    }
    wrapped *w = evener_wrapped_subchannel_data(base);
    w->base = base;
    w->owner = c;
    w->address = evener_address_ref(address);
    w->shown = EVENER_IDLE;
    enter(w);
    w->next = c->subchannels;
    w->link = &c->subchannels;
    if (w->next != NULL) {
        w->next->link = &w->next;
    }
    c->subchannels = w;
    return evener_wrapped_subchannel_get(base);
}

/* ---- the policy ---- */

static void end_state(evener_wrapping *wrapping)
{
    health_check *c = wrapping->state;
    evener_address_table_clear(&c->by_address);
}

/* Watch the new service on the connections that are up. Until the first answer the old health counts: a change of the
 * parameter alone takes no backend out of service. */
static void configured(evener_wrapping *wrapping, const char *child_name)
{
    health_check *c = wrapping->state;
    const health_config *config = wrapping->config;
    const bool watching = strcmp(child_name, "pick_first") != 0;
    const bool changed = watching && (!c->watching || strcmp(c->service, config->service) != 0);
    if (c->helper == NULL) { /* the first one, before any subchannel */
        c->by_address = (evener_address_table)EVENER_ADDRESS_TABLE_INIT(wrapped, table_next, address, table_tag);
    }
    c->helper = wrapping->helper;
    memcpy(c->service, config->service, sizeof c->service);
    c->watching = watching;
    for (wrapped *w = c->subchannels; changed && w != NULL; w = w->next) {
        if (state_of(w) == EVENER_READY) {
            watch(w);
            if (w->health == EVENER_READY) { /* it cannot be watched: the old health may have been another one */
                evener_status ok;
                evener_status_clear(&ok);
                show(w, EVENER_READY, &ok);
            }
        }
    }
}

static const wrapped *find(const health_check *c, const evener_subchannel *subchannel)
{
    const wrapped *w = evener_address_table_find(&c->by_address, evener_subchannel_address(subchannel));
    while (w != NULL && evener_wrapped_subchannel_get(w->base) != subchannel) {
        w = w->sibling;
    }
    return w;
}

static evener_child_maker maker_of(evener_wrapping *wrapping, evener_subchannel *subchannel)
{
    const wrapped *w = find(wrapping->state, subchannel);
    return w != NULL ? evener_wrapped_subchannel_maker(w->base) : NULL;
}

static void describe(evener_wrapping *wrapping, evener_subchannel *subchannel, char *buffer, size_t buffer_bytes)
{
    static const char *const texts[] = {
        [EVENER_CONNECTING] = "health unknown", [EVENER_TRANSIENT_FAILURE] = "unhealthy"};
    const health_check *c = wrapping->state;
    const wrapped *w = find(c, subchannel);
    const size_t used = strlen(buffer);
    if (w != NULL && c->watching && state_of(w) == EVENER_READY && w->shown != EVENER_READY &&
        w->shown != EVENER_IDLE && used + strlen(texts[w->shown]) + 2 < buffer_bytes) {
        strcat(buffer, used > 0 ? " " : "");
        strcat(buffer, texts[w->shown]);
    }
}

static void read_config(evener_policy_fields *fields, const evener_policy_set *policies, evener_policy_config *parsed)
{
    (void)policies;
    health_config *config = parsed;
    evener_policy_fields_get_string(fields, "serviceName", config->service, sizeof config->service);
}

static const evener_wrapping_policy health_check_kind = {
    .size = sizeof health_check_kind,
    .config_bytes = sizeof(health_config),
    .read_config = read_config,
    .state_bytes = sizeof(health_check),
    .state_destroy = end_state,
    .configured = configured,
    .create_subchannel = create_subchannel,
    .maker_of = maker_of,
    .describe = describe,
};

const evener_policy_builder evener_policy_health_check = {
    .size = sizeof evener_policy_health_check,
    .name = "health_check",
    .build = evener_wrapping_policy_build,
    .parse_config = evener_wrapping_policy_parse_config,
    .config_destroy = evener_wrapping_policy_config_destroy,
    .user_data = (void *)&health_check_kind,
};
